//! webhook-receiver verifies a delivery, stores it in the inbox unless it is already there, and
//! responds.
//!
//! Flow: [`WebhookReceiver::receive_request`] takes a request. If the stack has an address segment,
//! every other address gets 404 before a secret is read. [`route_request`] finds its
//! [`WebhookSender`]. The proof is verified over the raw bytes with each valid secret, as
//! [`verify_request`] does without effects. The inbox of the sender's kind stores the delivery.
//! [`AcceptedReply`] and [`ReceiveError`] become HTTP. A handshake of Meta gets its response and
//! is not stored. A person whose browser posts the form itself gets a page (`browser`).
//!
//! A malformed event gets 400: `lambda_http` would panic on some of them, so `gateway_event` parses
//! the event first. A 2xx response is sent only after the write succeeded. A refused request leaves
//! a log line with its reason and without its path or query. No request causes a panic.
//!
//! A request ends before its invocation does: with 503 after 4.5 of the 5 s, if Secrets Manager or
//! a table hangs. So the process lives on, and the sender retries.
//!
//! Not covered: the content of deliveries. The function that the inbox's stream wakes parses it.
//! The body of a verified delivery may be anything.

mod browser;
mod gateway_event;
mod handshake;
mod http_response;
mod receive_flow;
mod routing;
mod sender;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use lambda_http::{LambdaEvent, aws_lambda_events::apigw::ApiGatewayV2httpResponse, lambda_runtime, service_fn};
use serde_json::value::RawValue;
use tellonce_core::{
    bootstrap::{self, AwsClients, AwsTimeouts, StartError},
    client_config::ClientConfig,
    clock::{Clock, Deadline},
    fault::{catch_panic, error_chain},
    inbox::Inbox,
    secret::{Secret, SecretError, SecretStore},
    telemetry,
};

pub use gateway_event::{MalformedEvent, parse_request};
pub use http_response::{AcceptedReply, ReceiveError};
pub use receive_flow::{ReceiveOutcome, verify_request};
pub use routing::route_request;
pub use sender::{SenderKind, WebhookSender};

/// How long a call to Secrets Manager or an inbox may take. `template.yaml` gives an invocation
/// 5 s. A delivery needs a read of a secret, if it is not cached, and one write: 4 s at most. A
/// refused proof may need two further reads, so the deadline of the invocation bounds the request
/// as a whole.
const AWS_TIMEOUTS: AwsTimeouts = AwsTimeouts { attempt: Duration::from_secs(1), operation: Duration::from_secs(2) };

/// The function's configuration, secrets and inboxes, one inbox per consuming function.
pub struct WebhookReceiver {
    pub(crate) config: ClientConfig,
    /// The first segment of every address, if the stack has one.
    pub(crate) address_segment: Option<Secret>,
    pub(crate) secrets: SecretStore,
    pub(crate) store_inbox: Inbox,
    pub(crate) booking_inbox: Inbox,
    pub(crate) lead_inbox: Inbox,
    pub(crate) line_inbox: Inbox,
    pub(crate) clock: Clock,
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_http::Error> {
    telemetry::start_logging();
    let receiver = WebhookReceiver::from_environment().await?;
    let receiver = &receiver;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        Ok::<_, Infallible>(receiver.receive_event(event.payload.get(), deadline).await)
    }))
    .await
}

impl WebhookReceiver {
    /// Receives the event of an invocation. No event ends the process: a malformed one gets 400,
    /// and a bug of tellonce gets 500.
    async fn receive_event(&self, payload: &str, deadline: Deadline) -> ApiGatewayV2httpResponse {
        let receive = async {
            match gateway_event::parse_request(payload) {
                Ok(request) => {
                    let browser = browser::find_browser(&self.config, self.address_segment.as_ref(), &request);
                    browser::build_response(self.receive_request(&request, deadline).await, browser)
                }
                Err(malformed) => {
                    tracing::warn!("refused a malformed request: {malformed}");
                    http_response::build_response(Err(malformed.into()))
                }
            }
        };
        // Boxed, because the future is already deep for the compiler to lay out.
        let response = catch_panic(Box::pin(receive)).await;
        let response = response.unwrap_or_else(|panicked| http_response::build_response(Err(panicked.into())));
        gateway_event::build_gateway_response(response)
    }

    /// Prepares everything before the first request: configuration and connections.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let aws = AwsClients::from_environment(&bootstrap::build_http_client()?)?.with_timeouts(AWS_TIMEOUTS);
        let secrets = SecretStore::new(aws.secrets_manager(), config.secrets);
        let (db, retention_days) = (aws.dynamodb(), config.retention.inbox_days);
        let store_inbox = Inbox::new(db.clone(), bootstrap::require_variable("STORE_INBOX_TABLE")?, retention_days);
        let booking_inbox = Inbox::new(db.clone(), bootstrap::require_variable("BOOKING_INBOX_TABLE")?, retention_days);
        let lead_inbox = Inbox::new(db.clone(), bootstrap::require_variable("LEAD_INBOX_TABLE")?, retention_days);
        let line_inbox = Inbox::new(db, bootstrap::require_variable("LINE_INBOX_TABLE")?, retention_days);
        let clock = Clock::from_environment();
        let address_segment = bootstrap::read_variable("ADDRESS_SEGMENT").map(Secret::new);
        let receiver =
            Self { config, address_segment, secrets, store_inbox, booking_inbox, lead_inbox, line_inbox, clock };
        tokio::join!(receiver.prepare_secrets(&aws), aws.preconnect_dynamodb());
        Ok(receiver)
    }

    /// Prepares the read of secrets while initialisation runs at full speed. If one secret holds
    /// all that this function needs, reads it. Otherwise only connects: the secret of a sender is
    /// read when that sender first posts, because each read is billed and most senders post rarely.
    async fn prepare_secrets(&self, aws: &AwsClients) {
        let calendars = self.config.calendars.iter().filter(|(_, calendar)| calendar.kind.proof().is_some());
        let senders = self.config.stores.keys().chain(calendars.map(|(name, _)| name)).chain(self.config.forms.keys());
        let lines = self.config.lines.iter().filter(|(_, line)| line.events);
        let lines = lines.map(|(name, _)| (name, self.config.line_webhook_secret_name(name)));
        let values: Vec<_> = senders.map(|name| (name, self.config.webhook_secret_name(name))).chain(lines).collect();
        let secrets: BTreeSet<String> =
            values.iter().map(|(_, name)| self.config.secrets.locate(name).secret).collect();
        if secrets.len() != 1 {
            return aws.preconnect_secrets_manager().await;
        }
        let now = self.clock.now();
        for (sender, name) in &values {
            match self.secrets.get_current(name, now).await {
                Err(error @ SecretError::Unavailable { .. }) => {
                    return tracing::error!("{}", error_chain(&error));
                }
                // The sender's deliveries get 503 until the value is there.
                Err(error) if !error.is_remembered() => {
                    tracing::error!(sender.name = sender, "{}", error_chain(&error));
                }
                Err(_) | Ok(_) => {}
            }
        }
    }
}
