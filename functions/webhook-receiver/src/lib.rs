//! webhook-receiver: believes a delivery only after verifying it, files it with one conditional write, and answers.
//!
//! The story: [`Receiver::receive`] takes a request; [`route`] finds its store; [`judge`] verifies it over its raw bytes
//! with each secret that counts now; the inbox files it; [`NotAccepted`] turns trouble into HTTP.
//!
//! Promises that a 2xx is given only after the write succeeded, that whatever was not accepted leaves a log line with
//! its reason, and that nothing a sender posts makes it panic. Does not understand deliveries: that is the business of
//! the function that the inbox's stream wakes. The body of an authentic delivery may be anything.

mod answer;

use std::convert::Infallible;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, service_fn};
use shared::{
    client_config::{ClientConfig, Store, StoreKind},
    clock::Clock,
    cold_start::{self, Aws, StartError},
    delivery::{Checked, Refusal, Unverified, verify},
    inbox::{Filed, Inbox, MAX_BODY_BYTES},
    observe,
    secret::{Secret, Secrets},
};

pub use answer::NotAccepted;

/// What the receiver needs: the client, its webhook secrets, the inbox.
pub struct Receiver {
    config: ClientConfig,
    secrets: Secrets,
    inbox: Inbox,
    clock: Clock,
}

/// What became of a request that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the inbox.
    Filed(Filed),
    /// It was only a trial call.
    Ping,
}

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_http::Error> {
    observe::start();
    let receiver = Receiver::start().await?;
    let receiver = &receiver;
    lambda_http::run(service_fn(
        move |request: Request| async move { Ok::<_, Infallible>(receiver.answer(&request).await) },
    ))
    .await
}

impl Receiver {
    /// Prepares everything before the first request: configuration, connections and secrets.
    async fn start() -> Result<Self, StartError> {
        let config = cold_start::client_config()?;
        let aws = Aws::from_environment(&cold_start::http_client()?)?;
        let secrets = Secrets::new(aws.secrets_manager());
        let inbox = Inbox::new(aws.dynamodb(), cold_start::required("STORE_INBOX_TABLE")?, config.keep.inbox_days);
        let receiver = Self { config, secrets, inbox, clock: Clock::from_environment() };
        tokio::join!(receiver.prepare(), aws.open_dynamodb());
        Ok(receiver)
    }

    /// Reads the secrets of the stores while initialisation still runs at full speed. A secret that is missing now is
    /// asked for again when its store posts.
    async fn prepare(&self) {
        let now = self.clock.now();
        let reads = self.config.stores.keys().map(|store| async move {
            if let Err(error) = self.secrets.current(&self.config.webhook_secret(store), now).await {
                tracing::warn!(store.name = store, "{}", shared::fault::chain(&error));
            }
        });
        futures::future::join_all(reads).await;
    }

    async fn answer(&self, request: &Request) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        if let Err(reason) = self.receive(request).await {
            *response.status_mut() = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            *response.body_mut() = Body::Text(serde_json::json!({ "message": reason.message() }).to_string());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
        }
        response
    }

    /// Verifies and files a request.
    pub async fn receive(&self, request: &Request) -> Result<Accepted, NotAccepted> {
        let now = self.clock.now();
        let path = request.uri().path();
        let outcome = self.accept(request.method(), path, request.headers(), request.body(), now).await;
        match &outcome {
            // What was accepted is in the inbox; a line in the log for each would cost more than the function.
            Ok(accepted) => tracing::debug!(outcome = ?accepted, "delivery accepted"),
            Err(reason) if reason.needs_operator() => {
                tracing::error!(http.status = reason.status(), "{}", shared::fault::chain(reason));
            }
            Err(reason) => tracing::warn!(http.status = reason.status(), "delivery refused: {reason}"),
        }
        outcome
    }

    async fn accept(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Accepted, NotAccepted> {
        let (name, store) = route(&self.config, method, path)?;
        acceptable(store, headers, body)?;
        let unverified = Unverified { headers, body };
        let secret_name = self.config.webhook_secret(name);
        let secret = self.secrets.current(&secret_name, now).await?;
        let checked = match verify(name, store, &secret, unverified, now) {
            Err(Refusal::Mismatch | Refusal::SecretUnusable(_)) => {
                self.with_other_secrets(name, store, &secret_name, unverified, now).await?
            }
            decided => decided?,
        };
        match checked {
            Checked::Ping => Ok(Accepted::Ping),
            Checked::Verified(delivery) => Ok(Accepted::Filed(self.inbox.file(&delivery, now).await?)),
        }
    }

    /// Tries the value that may have replaced ours, then the one that was replaced and still counts.
    async fn with_other_secrets<'a>(
        &self,
        name: &'a str,
        store: &Store,
        secret_name: &str,
        unverified: Unverified<'a>,
        now: Timestamp,
    ) -> Result<Checked<'a>, NotAccepted> {
        let mut refusal = Refusal::Mismatch;
        if let Some(newer) = self.secrets.refetch_for_stranger(secret_name, now).await? {
            match verify(name, store, &newer, unverified, now) {
                Ok(checked) => return Ok(checked),
                Err(newest) => refusal = newest,
            }
        }
        match self.secrets.previous(secret_name, now).await? {
            Some(older) => Ok(verify(name, store, &older, unverified, now)?),
            None => Err(refusal.into()),
        }
    }
}

/// The store that a request is for.
pub fn route<'a>(config: &'a ClientConfig, method: &Method, path: &str) -> Result<(&'a str, &'a Store), NotAccepted> {
    let name = path.strip_prefix("/stores/").ok_or(NotAccepted::UnknownRoute)?;
    let (name, store) = config.stores.get_key_value(name).ok_or(NotAccepted::UnknownRoute)?;
    if method == Method::POST { Ok((name, store)) } else { Err(NotAccepted::Method) }
}

/// Whether a body is of a size and a type that its store may send, before anything is computed over it.
fn acceptable(store: &Store, headers: &HeaderMap, body: &[u8]) -> Result<(), NotAccepted> {
    if body.len() > MAX_BODY_BYTES {
        return Err(NotAccepted::TooLarge { bytes: body.len() });
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    // WooCommerce posts its trial call as a form.
    let form = essence == "application/x-www-form-urlencoded" && matches!(store.kind, StoreKind::WooCommerce { .. });
    if json || form { Ok(()) } else { Err(NotAccepted::ContentType) }
}

/// Judges a request without any effect: the store it is for, and whether its proof holds with one of these secrets.
/// What [`Receiver::receive`] does, for previews.
pub fn judge<'a>(
    config: &'a ClientConfig,
    method: &Method,
    path: &str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    secrets: &[Secret],
    now: Timestamp,
) -> Result<Checked<'a>, NotAccepted> {
    let (name, store) = route(config, method, path)?;
    acceptable(store, headers, body)?;
    let unverified = Unverified { headers, body };
    let mut refusal = Refusal::SecretUnusable("known");
    for secret in secrets {
        match verify(name, store, secret, unverified, now) {
            // With another secret it may hold; any other reason is about the delivery itself.
            Err(reason @ (Refusal::Mismatch | Refusal::SecretUnusable(_))) => refusal = reason,
            decided => return Ok(decided?),
        }
    }
    Err(refusal.into())
}
