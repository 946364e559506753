//! What the clients' tests share: one peer that stands in for all origins, and a table that holds one row.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, http::HttpRequest};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpResponse,
};
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;
use loopback::{Peer, response};
use serde_json::Value;
use shared::{client_config::CrmKind, cold_start, contact::Phone, fault::chain, secret::Secret};

use super::{CrmClient, Tokens};
use crate::call::{CallError, Caller, Pace};

pub(super) const SECRET: &str = "tellonce/demo/crms/main";
/// The key of no service account; made for these tests.
pub(super) const RSA_KEY: &str = include_str!("key.pem");

/// A table of one row, which keeps what is put into it.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(Arc<Mutex<Option<Value>>>);

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let mut row = self.0.lock().unwrap();
        let answer = if request.headers().get("x-amz-target").unwrap().ends_with(".PutItem") {
            *row = Some(asked["Item"].clone());
            serde_json::json!({})
        } else {
            row.as_ref().map_or(serde_json::json!({}), |row| serde_json::json!({ "Item": row }))
        };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(answer.to_string()))))
    }
}

impl Table {
    /// What the row holds, as it travels.
    pub(super) fn shown(&self) -> String {
        self.0.lock().unwrap().as_ref().map(Value::to_string).unwrap_or_default()
    }

    /// Another instance's view of it.
    pub(super) fn tokens(&self) -> Tokens {
        let connector = SharedHttpConnector::new(self.clone());
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Tokens::new(aws_sdk_dynamodb::Client::from_conf(config), "ledger".to_owned())
    }
}

/// Everything that a client needs, and who answers it.
pub(super) struct Bench {
    peer: Peer,
    base: String,
    http: reqwest::Client,
    pace: Pace,
    pub(super) tokens: Tokens,
}

impl Bench {
    pub(super) async fn start() -> Self {
        let peer = Peer::start().await.unwrap();
        let base = peer.url().unwrap();
        let http = cold_start::http_client().unwrap();
        Self { peer, base, http, pace: Pace::per_minute(u32::MAX), tokens: Table::default().tokens() }
    }

    pub(super) fn caller(&self) -> Caller<'_> {
        Caller { http: &self.http, base_url: Some(&self.base), pace: &self.pace, secret: SECRET }
    }

    pub(super) fn client<'a>(&'a self, kind: &'a CrmKind, credential: &str) -> CrmClient<'a> {
        let credential = Secret::new(credential);
        CrmClient { name: "main", kind, caller: self.caller(), credential, tokens: &self.tokens }
    }

    /// Gives these answers, one to each call, and what was asked meanwhile.
    pub(super) async fn hears<T>(&self, answers: &[String], call: impl Future<Output = T>) -> (Vec<String>, T) {
        let answering = async {
            let mut requests = Vec::new();
            for answer in answers {
                let request = tokio::time::timeout(Duration::from_secs(5), self.peer.answer(answer)).await;
                requests.push(request.expect("a call for each answer").unwrap());
            }
            requests
        };
        let (requests, done) = tokio::join!(answering, call);
        for request in &requests {
            let request = request.to_ascii_lowercase();
            assert!(!request.contains("owner") && !request.contains("assign"), "{request}");
        }
        (requests, done)
    }

    /// Nobody is there any more.
    pub(super) fn leave(self) -> (String, reqwest::Client, Pace) {
        (self.base, self.http, self.pace)
    }
}

pub(super) fn ok(body: &Value) -> String {
    response("200 OK", &body.to_string())
}

/// What goes before the body of a request.
pub(super) fn head(request: &str) -> String {
    request.split("\r\n\r\n").next().unwrap().to_owned()
}

/// The first line of a request, without the version.
pub(super) fn line(request: &str) -> &str {
    request.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
}

/// The body of a request.
pub(super) fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

pub(super) fn phone() -> Phone {
    Phone::from_e164("+972545550199").unwrap()
}

pub(super) fn now() -> Timestamp {
    "2026-11-19T10:00:05Z".parse().unwrap()
}

/// That an error shows nothing of what it is about.
pub(super) fn reveals_nothing(error: &CallError) {
    let shown = format!("{} {error:?}", chain(error));
    for secret in ["hunter2", "0545550199", "545550199", "Noa", "Levi", "wamid", "Hello", "conv-1"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
