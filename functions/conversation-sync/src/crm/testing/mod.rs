//! Shared by the clients' tests: one fake API for all origins, and a table with one row.

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
use loopback::{FakeApi, http_response};
use serde_json::Value;
use tellonce_core::{bootstrap, client_config::CrmKind, contact::Phone, fault::error_chain, secret::Secret};

use super::{AccessTokenStore, CrmClient};
use crate::api_client::{ApiClient, ApiError, RateLimiter};

pub(super) const SECRET_NAME: &str = "tellonce/demo/crms/main";
/// A key for these tests. It belongs to no service account.
pub(super) const RSA_KEY: &str = include_str!("key.pem");

/// A fake table with one row.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeTable(Arc<Mutex<Option<Value>>>);

impl HttpConnector for FakeTable {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request_json: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let mut row = self.0.lock().unwrap();
        let response_json = if request.headers().get("x-amz-target").unwrap().ends_with(".PutItem") {
            *row = Some(request_json["Item"].clone());
            serde_json::json!({})
        } else {
            row.as_ref().map_or(serde_json::json!({}), |row| serde_json::json!({ "Item": row }))
        };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            200.try_into().unwrap(),
            SdkBody::from(response_json.to_string()),
        )))
    }
}

impl FakeTable {
    /// The row as JSON.
    pub(super) fn stored_row(&self) -> String {
        self.0.lock().unwrap().as_ref().map(Value::to_string).unwrap_or_default()
    }

    /// A token store of another instance over the same table.
    pub(super) fn token_store(&self) -> AccessTokenStore {
        let connector = SharedHttpConnector::new(self.clone());
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        AccessTokenStore::new(aws_sdk_dynamodb::Client::from_conf(config), "ledger".to_owned())
    }
}

/// Everything that a client needs, with the fake API that answers it.
pub(super) struct CrmClientFixture {
    fake_api: FakeApi,
    base_url: String,
    http: reqwest::Client,
    rate_limiter: RateLimiter,
    pub(super) access_tokens: AccessTokenStore,
}

impl CrmClientFixture {
    pub(super) async fn start() -> Self {
        let fake_api = FakeApi::start().await.unwrap();
        let base_url = fake_api.base_url().unwrap();
        let http = bootstrap::build_http_client().unwrap();
        Self {
            fake_api,
            base_url,
            http,
            rate_limiter: RateLimiter::per_minute(u32::MAX),
            access_tokens: FakeTable::default().token_store(),
        }
    }

    pub(super) fn build_api_client(&self) -> ApiClient<'_> {
        ApiClient {
            http: &self.http,
            base_url: Some(&self.base_url),
            rate_limiter: &self.rate_limiter,
            secret_name: SECRET_NAME,
        }
    }

    pub(super) fn build_client<'a>(&'a self, kind: &'a CrmKind, credential: &str) -> CrmClient<'a> {
        let credential = Secret::new(credential);
        CrmClient {
            name: "main",
            kind,
            api_client: self.build_api_client(),
            credential,
            access_tokens: &self.access_tokens,
        }
    }

    /// Answers one call with each reply. Returns the requests and the action's result.
    pub(super) async fn serve_replies<T>(
        &self,
        replies: &[String],
        action: impl Future<Output = T>,
    ) -> (Vec<String>, T) {
        let serving = async {
            let mut requests = Vec::new();
            for reply in replies {
                let request = tokio::time::timeout(Duration::from_secs(5), self.fake_api.reply_once(reply)).await;
                requests.push(request.expect("one call for each reply").unwrap());
            }
            requests
        };
        let (requests, done) = tokio::join!(serving, action);
        for request in &requests {
            let request = request.to_ascii_lowercase();
            assert!(!request.contains("owner") && !request.contains("assign"), "{request}");
        }
        (requests, done)
    }

    /// Stops the fake API.
    pub(super) fn stop_serving(self) -> (String, reqwest::Client, RateLimiter) {
        (self.base_url, self.http, self.rate_limiter)
    }
}

pub(super) fn ok_reply(body: &Value) -> String {
    http_response("200 OK", &body.to_string())
}

/// The head of a request.
pub(super) fn request_head(request: &str) -> String {
    request.split("\r\n\r\n").next().unwrap().to_owned()
}

/// The first line of a request, without the version.
pub(super) fn request_line(request: &str) -> &str {
    request.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
}

/// The body of a request.
pub(super) fn request_body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

pub(super) fn test_phone() -> Phone {
    Phone::from_e164("+972545550199").unwrap()
}

pub(super) fn test_now() -> Timestamp {
    "2026-11-19T10:00:05Z".parse().unwrap()
}

/// Asserts that an error reveals neither credential nor personal data.
pub(super) fn assert_reveals_nothing(error: &ApiError) {
    let shown = format!("{} {error:?}", error_chain(error));
    for secret in ["hunter2", "0545550199", "545550199", "Noa", "Levi", "wamid", "Hello", "conv-1"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
