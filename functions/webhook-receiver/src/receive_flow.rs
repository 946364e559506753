//! The flow of one request: find its sender, verify it, store the delivery in the sender's inbox.
//! If the invocation's time is up before that, the sender is asked to retry.

use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::Timestamp;
use lambda_http::{Request, RequestExt as _};
use tellonce_core::{
    client_config::ClientConfig,
    clock::Deadline,
    delivery::{self, Refusal, Unverified, VerificationOutcome, verify_delivery},
    fault::error_chain,
    inbox::StoreOutcome,
    secret::Secret,
    telemetry::{Metric, count_metric},
};

use crate::{
    WebhookReceiver,
    handshake::MetaHandshake,
    http_response::{AcceptedReply, ReceiveError},
    routing::{check_body, find_sender, remove_address_segment, route_request},
    sender::{SenderKind, WebhookSender},
};

/// The part of an invocation's time that is left for the response and its log line.
const RESPONSE_TIME: Duration = Duration::from_millis(500);

/// How an accepted request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveOutcome {
    /// The delivery is in the inbox.
    Stored(StoreOutcome),
    /// The request was only a ping.
    Ping,
    /// The handshake presented the right token.
    Handshake,
}

impl WebhookReceiver {
    /// Verifies and stores a request, and logs a refusal.
    pub async fn receive_request(&self, request: &Request, deadline: Deadline) -> Result<AcceptedReply, ReceiveError> {
        let now = self.clock.now();
        let path = remove_address_segment(self.address_segment.as_ref(), request.uri().path());
        let sender = path.and_then(|path| find_sender(&self.config, path));
        // Only a configured name is logged, because a stranger chooses the path.
        let sender_name = sender.as_ref().ok().map(|sender| sender.name);
        let outcome = match sender {
            Ok(sender) => {
                let processed = deadline.run_until(RESPONSE_TIME, self.process_request(sender, request, now)).await;
                processed.unwrap_or(Err(ReceiveError::OutOfTime))
            }
            Err(reason) => Err(reason),
        };
        self.count_outcome(&outcome, now);
        match &outcome {
            // Accepted deliveries are in the inbox. A log line for each would cost more than the
            // function.
            Ok((accepted, _)) => {
                tracing::debug!(sender.name = sender_name, request.outcome = ?accepted, "accepted a delivery");
            }
            Err(reason) if reason.needs_operator() => {
                tracing::error!(
                    sender.name = sender_name,
                    http.status = reason.http_status(),
                    "{}",
                    error_chain(reason)
                );
            }
            Err(reason) => {
                tracing::warn!(
                    sender.name = sender_name,
                    http.status = reason.http_status(),
                    "refused a delivery: {reason}"
                );
            }
        }
        outcome.map(|(_, reply)| reply)
    }

    /// Counts what no table shows: a repeat, and a delivery that was not accepted.
    fn count_outcome(&self, outcome: &Result<(ReceiveOutcome, AcceptedReply), ReceiveError>, now: Timestamp) {
        let metric = match outcome {
            Ok((ReceiveOutcome::Stored(StoreOutcome::Duplicate), _)) => Metric::DeliveriesRepeated,
            Ok((ReceiveOutcome::Stored(StoreOutcome::New) | ReceiveOutcome::Ping | ReceiveOutcome::Handshake, _)) => {
                return;
            }
            Err(_) => Metric::DeliveriesRefused,
        };
        count_metric(&self.config.client, metric, now);
    }

    async fn process_request(
        &self,
        sender: WebhookSender<'_>,
        request: &Request,
        now: Timestamp,
    ) -> Result<(ReceiveOutcome, AcceptedReply), ReceiveError> {
        match *request.method() {
            Method::POST => {
                let accepted = self.accept_delivery(sender, request.headers(), request.body(), now).await?;
                Ok((accepted, AcceptedReply::for_sender(sender)))
            }
            Method::GET if sender.requires_handshake => {
                let query = request.query_string_parameters_ref();
                let handshake = MetaHandshake::from_query(|name| query?.first(name))?;
                self.verify_handshake(sender, handshake, now).await?;
                Ok((ReceiveOutcome::Handshake, AcceptedReply::Challenge(handshake.challenge.to_owned())))
            }
            _ => Err(ReceiveError::MethodNotAllowed { allows_get: sender.requires_handshake }),
        }
    }

    async fn accept_delivery(
        &self,
        sender: WebhookSender<'_>,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<ReceiveOutcome, ReceiveError> {
        check_body(sender, headers, body)?;
        let unverified = Unverified { headers, body };
        let secret_name = match sender.kind {
            SenderKind::Store | SenderKind::Calendar | SenderKind::Form => self.config.webhook_secret_name(sender.name),
            SenderKind::Line => self.config.line_webhook_secret_name(sender.name),
        };
        let verified = |secret: &Secret| verify_delivery(sender.name, sender.proof, secret, unverified, now);
        match self.try_each_secret(&secret_name, now, verified).await? {
            VerificationOutcome::Ping => Ok(ReceiveOutcome::Ping),
            VerificationOutcome::Verified(delivery) => {
                let inbox = match sender.kind {
                    SenderKind::Store => &self.store_inbox,
                    SenderKind::Calendar => &self.booking_inbox,
                    SenderKind::Form => &self.lead_inbox,
                    SenderKind::Line => &self.line_inbox,
                };
                Ok(ReceiveOutcome::Stored(inbox.store_delivery(&delivery, now).await?))
            }
        }
    }

    /// Verifies the token of a handshake.
    async fn verify_handshake(
        &self,
        sender: WebhookSender<'_>,
        handshake: MetaHandshake<'_>,
        now: Timestamp,
    ) -> Result<(), ReceiveError> {
        let secret_name = self.config.handshake_secret_name(sender.name);
        let knows_token = |secret: &Secret| delivery::verify_shown_secret(handshake.token, secret);
        self.try_each_secret(&secret_name, now, knows_token).await.map_err(|reason| match reason {
            ReceiveError::Refused(Refusal::ProofMismatch) => ReceiveError::WrongVerifyToken,
            other => other,
        })
    }

    /// Tries the cached value of a secret, then a newer value, then the previous value while it is
    /// still valid.
    async fn try_each_secret<T>(
        &self,
        name: &str,
        now: Timestamp,
        verify_with: impl Fn(&Secret) -> Result<T, Refusal>,
    ) -> Result<T, ReceiveError> {
        let current = self.secrets.get_current(name, now).await?;
        let mut refusal = match verify_with(&current) {
            Err(refusal) if refusal.depends_on_secret() => refusal,
            verdict => return Ok(verdict?),
        };
        if let Some(newer) = self.secrets.refetch_rate_limited(name, &current, now).await? {
            match verify_with(&newer) {
                Ok(verified) => return Ok(verified),
                Err(newer_refusal) => refusal = newer_refusal,
            }
        }
        match self.secrets.get_previous(name, now).await? {
            Some(older) => Ok(verify_with(&older)?),
            None => Err(refusal.into()),
        }
    }
}

/// Verifies a request without effects, for previews: finds its sender and checks its proof with
/// these secrets. [`WebhookReceiver::receive_request`] does the same and stores the delivery. A
/// handshake is refused.
pub fn verify_request<'a>(
    config: &'a ClientConfig,
    method: &Method,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    secrets: &[Secret],
    now: Timestamp,
) -> Result<VerificationOutcome<'a>, ReceiveError> {
    let sender = route_request(config, method, path)?;
    check_body(sender, headers, body)?;
    let unverified = Unverified { headers, body };
    let mut refusal = Refusal::SecretUnusable("no secret is stored");
    for secret in secrets {
        match verify_delivery(sender.name, sender.proof, secret, unverified, now) {
            Err(reason) if reason.depends_on_secret() => refusal = reason,
            verdict => return Ok(verdict?),
        }
    }
    Err(refusal.into())
}
