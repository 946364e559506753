//! webhook-receiver: checks a delivery's proof, puts it into the inbox unless it is there already, and answers.
//!
//! The story: [`Receiver::receive`] takes a request; [`route`] finds its [`Sender`]; it is verified over its raw bytes
//! with each secret that counts now, as [`judge`] does without effects; the inbox of the sender's kind files it;
//! [`NotAccepted`] turns trouble into HTTP.
//!
//! Promises that a 2xx is given only after the write succeeded, that whatever was not accepted leaves a log line with
//! its reason, and that nothing a sender posts makes it panic. Does not understand deliveries: that is the business of
//! the function that the inbox's stream wakes. The body of an authentic delivery may be anything.

mod answer;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, service_fn};
use shared::{
    client_config::ClientConfig,
    clock::Clock,
    cold_start::{self, Aws, StartError},
    delivery::{Checked, Proof, Refusal, Unverified, verify},
    inbox::{Filed, Inbox, MAX_BODY_BYTES},
    observe,
    secret::{Secret, Secrets},
};

pub use answer::NotAccepted;

/// What the receiver needs: the client, its webhook secrets, one inbox for each function that reads one.
pub struct Receiver {
    config: ClientConfig,
    secrets: Secrets,
    store_inbox: Inbox,
    booking_inbox: Inbox,
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
        let (db, keep) = (aws.dynamodb(), config.keep.inbox_days);
        let store_inbox = Inbox::new(db.clone(), cold_start::required("STORE_INBOX_TABLE")?, keep);
        let booking_inbox = Inbox::new(db, cold_start::required("BOOKING_INBOX_TABLE")?, keep);
        let receiver = Self { config, secrets, store_inbox, booking_inbox, clock: Clock::from_environment() };
        tokio::join!(receiver.prepare(), aws.open_dynamodb());
        Ok(receiver)
    }

    /// Reads the secrets of all senders while initialisation still runs at full speed. A secret that is missing now is
    /// asked for again when its sender posts.
    async fn prepare(&self) {
        let now = self.clock.now();
        let calendars = self.config.calendars.iter().filter(|(_, calendar)| calendar.kind.posts());
        let senders = self.config.stores.keys().chain(calendars.map(|(name, _)| name));
        let reads = senders.map(|sender| async move {
            if let Err(error) = self.secrets.current(&self.config.webhook_secret(sender), now).await {
                tracing::warn!(sender.name = sender, "{}", shared::fault::chain(&error));
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
        let sender = route(&self.config, request.method(), request.uri().path());
        // Only a name that is configured: what a stranger wrote into the path is not for the log.
        let sender_name = sender.as_ref().ok().map(|sender| sender.name);
        let outcome = match sender {
            Ok(sender) => self.accept(sender, request.headers(), request.body(), now).await,
            Err(reason) => Err(reason),
        };
        match &outcome {
            // What was accepted is in the inbox; a line in the log for each would cost more than the function.
            Ok(accepted) => tracing::debug!(sender.name = sender_name, outcome = ?accepted, "delivery accepted"),
            Err(reason) if reason.needs_operator() => {
                tracing::error!(
                    sender.name = sender_name,
                    http.status = reason.status(),
                    "{}",
                    shared::fault::chain(reason)
                );
            }
            Err(reason) => {
                tracing::warn!(sender.name = sender_name, http.status = reason.status(), "delivery refused: {reason}");
            }
        }
        outcome
    }

    async fn accept(
        &self,
        sender: Sender<'_>,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Accepted, NotAccepted> {
        acceptable(sender.proof, headers, body)?;
        let unverified = Unverified { headers, body };
        let secret_name = self.config.webhook_secret(sender.name);
        let secret = self.secrets.current(&secret_name, now).await?;
        let checked = match verify(sender.name, sender.proof, &secret, unverified, now) {
            Err(Refusal::Mismatch | Refusal::SecretUnusable(_)) => {
                self.with_other_secrets(sender, &secret_name, unverified, now).await?
            }
            decided => decided?,
        };
        match checked {
            Checked::Ping => Ok(Accepted::Ping),
            Checked::Verified(delivery) => {
                let inbox = match sender.kind {
                    SenderKind::Store => &self.store_inbox,
                    SenderKind::Calendar => &self.booking_inbox,
                };
                Ok(Accepted::Filed(inbox.file(&delivery, now).await?))
            }
        }
    }

    /// Tries the value that may have replaced ours, then the one that was replaced and still counts.
    async fn with_other_secrets<'a>(
        &self,
        sender: Sender<'a>,
        secret_name: &str,
        unverified: Unverified<'a>,
        now: Timestamp,
    ) -> Result<Checked<'a>, NotAccepted> {
        let mut refusal = Refusal::Mismatch;
        if let Some(newer) = self.secrets.refetch_for_stranger(secret_name, now).await? {
            match verify(sender.name, sender.proof, &newer, unverified, now) {
                Ok(checked) => return Ok(checked),
                Err(newest) => refusal = newest,
            }
        }
        match self.secrets.previous(secret_name, now).await? {
            Some(older) => Ok(verify(sender.name, sender.proof, &older, unverified, now)?),
            None => Err(refusal.into()),
        }
    }
}

/// Whoever a request may be from.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Its configured name.
    pub name: &'a str,
    /// What it is, and so which inbox its deliveries are for.
    pub kind: SenderKind,
    /// How it proves itself.
    pub proof: Proof<'a>,
}

/// What posts to us. Each kind has an inbox of its own, because another function reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderKind {
    /// At `/stores/{store}`; read by order-notifier.
    Store,
    /// At `/bookings/{calendar}`; read by reminder-scheduler.
    Calendar,
}

/// The sender that a request's path names.
pub fn route<'a>(config: &'a ClientConfig, method: &Method, path: &str) -> Result<Sender<'a>, NotAccepted> {
    let store = |name| {
        let (name, store) = config.stores.get_key_value(name)?;
        Some(Sender { name, kind: SenderKind::Store, proof: Proof::of_store(store) })
    };
    let calendar = |name| {
        let (name, calendar) = config.calendars.get_key_value(name)?;
        Some(Sender { name, kind: SenderKind::Calendar, proof: Proof::of_calendar(calendar)? })
    };
    let sender = path.strip_prefix("/stores/").and_then(store);
    let sender = sender.or_else(|| path.strip_prefix("/bookings/").and_then(calendar));
    let sender = sender.ok_or(NotAccepted::UnknownRoute)?;
    if method == Method::POST { Ok(sender) } else { Err(NotAccepted::Method) }
}

/// Whether a body is of a size and a type that its sender may use, before anything is computed over it.
fn acceptable(proof: Proof<'_>, headers: &HeaderMap, body: &[u8]) -> Result<(), NotAccepted> {
    if body.len() > MAX_BODY_BYTES {
        return Err(NotAccepted::TooLarge { bytes: body.len() });
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let form = essence == "application/x-www-form-urlencoded";
    let (fits, takes) = match proof {
        // Its notifications have no body, and so nothing that would have to be of a type.
        Proof::GoogleChannel => (body.is_empty(), "a notification without a body"),
        Proof::Acuity => (form, "a form (application/x-www-form-urlencoded)"),
        // WooCommerce posts its trial call as a form.
        Proof::WooCommerce { .. } => (json || form, "JSON (application/json)"),
        // Somebody may have given the webhook a template of their own, which can make it a form.
        Proof::CalCom => (json, "JSON (application/json), in Cal.com's own form and not in a custom template's,"),
        Proof::Shopify { .. }
        | Proof::StandardWebhooks
        | Proof::StaticHeader { .. }
        | Proof::Calendly
        | Proof::Square { .. } => (json, "JSON (application/json)"),
    };
    if fits { Ok(()) } else { Err(NotAccepted::ContentType(takes)) }
}

/// Judges a request without any effect: the sender it is from, and whether its proof holds with one of these secrets.
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
    let sender = route(config, method, path)?;
    acceptable(sender.proof, headers, body)?;
    let unverified = Unverified { headers, body };
    let mut refusal = Refusal::SecretUnusable("known");
    for secret in secrets {
        match verify(sender.name, sender.proof, secret, unverified, now) {
            // With another secret it may hold; any other reason is about the delivery itself.
            Err(reason @ (Refusal::Mismatch | Refusal::SecretUnusable(_))) => refusal = reason,
            decided => return Ok(decided?),
        }
    }
    Err(refusal.into())
}
