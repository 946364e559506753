//! webhook-receiver: checks a delivery's proof, puts it into the inbox unless it is there already, and answers.
//!
//! The story: [`WebhookReceiver::receive_request`] takes a request; [`route_request`] finds its [`WebhookSender`]; it is verified over its raw bytes
//! with each secret that counts now, as [`verify_request`] does without effects; the inbox of the sender's kind files it;
//! [`AcceptedReply`] and [`ReceiveError`] become HTTP. Meta asks something before it posts, which is answered and not filed.
//!
//! Promises that a 2xx is given only after the write succeeded, that whatever was not accepted leaves a log line with
//! its reason and nothing of what stood in its path or query, and that nothing a sender posts makes it panic. Does not
//! understand deliveries: that is the business of the function that the inbox's stream wakes. The body of an authentic
//! delivery may be anything.

mod handshake;
mod http_response;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use lambda_http::{Request, RequestExt as _, service_fn};
use tellonce_core::{
    bootstrap::{self, AwsClients, StartError},
    client_config::{ClientConfig, FormKind},
    clock::Clock,
    delivery::{self, DeliveryProof, Refusal, Unverified, VerificationOutcome, verify_delivery},
    inbox::{FileOutcome, Inbox, MAX_BODY_BYTES},
    secret::{Secret, SecretStore},
    telemetry,
};

use handshake::MetaHandshake;
pub use http_response::{AcceptedReply, ReceiveError};

/// What the receiver needs: the client, its webhook secrets, one inbox for each function that reads one.
pub struct WebhookReceiver {
    config: ClientConfig,
    secrets: SecretStore,
    store_inbox: Inbox,
    booking_inbox: Inbox,
    lead_inbox: Inbox,
    line_inbox: Inbox,
    clock: Clock,
}

/// What became of a request that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveOutcome {
    /// It is in the inbox.
    Filed(FileOutcome),
    /// It was only a trial call.
    Ping,
    /// It asked whether the address is ours, and knew the token.
    Handshake,
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_http::Error> {
    telemetry::start_logging();
    let receiver = WebhookReceiver::from_environment().await?;
    let receiver = &receiver;
    lambda_http::run(service_fn(move |request: Request| async move {
        Ok::<_, Infallible>(http_response::build_response(receiver.receive_request(&request).await))
    }))
    .await
}

impl WebhookReceiver {
    /// Prepares everything before the first request: configuration, connections and secrets.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let aws = AwsClients::from_environment(&bootstrap::build_http_client()?)?;
        let secrets = SecretStore::new(aws.secrets_manager());
        let (db, retention_days) = (aws.dynamodb(), config.retention.inbox_days);
        let store_inbox = Inbox::new(db.clone(), bootstrap::require_variable("STORE_INBOX_TABLE")?, retention_days);
        let booking_inbox = Inbox::new(db.clone(), bootstrap::require_variable("BOOKING_INBOX_TABLE")?, retention_days);
        let lead_inbox = Inbox::new(db.clone(), bootstrap::require_variable("LEAD_INBOX_TABLE")?, retention_days);
        let line_inbox = Inbox::new(db, bootstrap::require_variable("LINE_INBOX_TABLE")?, retention_days);
        let clock = Clock::from_environment();
        let receiver = Self { config, secrets, store_inbox, booking_inbox, lead_inbox, line_inbox, clock };
        tokio::join!(receiver.load_secrets(), aws.preconnect_dynamodb());
        Ok(receiver)
    }

    /// Reads the secrets of all senders while initialisation still runs at full speed. A secret that is missing now is
    /// asked for again when its sender posts.
    async fn load_secrets(&self) {
        let now = self.clock.now();
        let calendars = self.config.calendars.iter().filter(|(_, calendar)| calendar.kind.posts_webhooks());
        let senders = self.config.stores.keys().chain(calendars.map(|(name, _)| name)).chain(self.config.forms.keys());
        let lines = self.config.lines.iter().filter(|(_, line)| line.events);
        let lines = lines.map(|(name, _)| (name, self.config.line_webhook_secret_name(name)));
        let secrets = senders.map(|name| (name, self.config.webhook_secret_name(name))).chain(lines);
        let reads = secrets.map(|(sender, secret)| async move {
            if let Err(error) = self.secrets.get_current(&secret, now).await {
                tracing::warn!(sender.name = sender, "{}", tellonce_core::fault::error_chain(&error));
            }
        });
        futures::future::join_all(reads).await;
    }

    /// Verifies and files a request.
    pub async fn receive_request(&self, request: &Request) -> Result<AcceptedReply, ReceiveError> {
        let now = self.clock.now();
        let sender = find_sender(&self.config, request.uri().path());
        // Only a name that is configured: what a stranger wrote into the path is not for the log.
        let sender_name = sender.as_ref().ok().map(|sender| sender.name);
        let outcome = match sender {
            Ok(sender) => self.process_request(sender, request, now).await,
            Err(reason) => Err(reason),
        };
        match &outcome {
            // What was accepted is in the inbox; a line in the log for each would cost more than the function.
            Ok((accepted, _)) => tracing::debug!(sender.name = sender_name, outcome = ?accepted, "delivery accepted"),
            Err(reason) if reason.needs_operator() => {
                tracing::error!(
                    sender.name = sender_name,
                    http.status = reason.http_status(),
                    "{}",
                    tellonce_core::fault::error_chain(reason)
                );
            }
            Err(reason) => {
                tracing::warn!(
                    sender.name = sender_name,
                    http.status = reason.http_status(),
                    "delivery refused: {reason}"
                );
            }
        }
        outcome.map(|(_, reply)| reply)
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
                Ok((accepted, AcceptedReply::for_sender(sender.kind)))
            }
            Method::GET if sender.requires_handshake() => {
                let query = request.query_string_parameters_ref();
                let handshake = MetaHandshake::from_query(|name| query?.first(name))?;
                self.verify_handshake(sender, handshake, now).await?;
                Ok((ReceiveOutcome::Handshake, AcceptedReply::Challenge(handshake.challenge.to_owned())))
            }
            _ => Err(ReceiveError::MethodNotAllowed { allows_get: sender.requires_handshake() }),
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
            SenderKind::Store | SenderKind::Calendar | SenderKind::Form(_) => {
                self.config.webhook_secret_name(sender.name)
            }
            SenderKind::Line => self.config.line_webhook_secret_name(sender.name),
        };
        let verified = |secret: &Secret| verify_delivery(sender.name, sender.proof, secret, unverified, now);
        match self.try_each_secret(&secret_name, now, verified).await? {
            VerificationOutcome::Ping => Ok(ReceiveOutcome::Ping),
            VerificationOutcome::Verified(delivery) => {
                let inbox = match sender.kind {
                    SenderKind::Store => &self.store_inbox,
                    SenderKind::Calendar => &self.booking_inbox,
                    SenderKind::Form(_) => &self.lead_inbox,
                    SenderKind::Line => &self.line_inbox,
                };
                Ok(ReceiveOutcome::Filed(inbox.file_delivery(&delivery, now).await?))
            }
        }
    }

    /// Says whether somebody who asks first knows the token.
    async fn verify_handshake(
        &self,
        sender: WebhookSender<'_>,
        handshake: MetaHandshake<'_>,
        now: Timestamp,
    ) -> Result<(), ReceiveError> {
        let secret_name = self.config.handshake_secret_name(sender.name);
        let knows_token = |secret: &Secret| delivery::verify_handshake(handshake.token, secret);
        self.try_each_secret(&secret_name, now, knows_token).await.map_err(|reason| match reason {
            ReceiveError::Refused(Refusal::ProofMismatch) => ReceiveError::WrongVerifyToken,
            other => other,
        })
    }

    /// Tries the value of a secret that we have, then the one that may have replaced it, then the one that was replaced
    /// and still counts.
    async fn try_each_secret<T>(
        &self,
        name: &str,
        now: Timestamp,
        verify_with: impl Fn(&Secret) -> Result<T, Refusal>,
    ) -> Result<T, ReceiveError> {
        let mut refusal = match verify_with(&self.secrets.get_current(name, now).await?) {
            Err(refusal) if refusal.depends_on_secret() => refusal,
            verdict => return Ok(verdict?),
        };
        if let Some(newer) = self.secrets.refetch_rate_limited(name, now).await? {
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

/// Whoever a request may be from.
#[derive(Debug, Clone, Copy)]
pub struct WebhookSender<'a> {
    /// Its configured name.
    pub name: &'a str,
    /// What it is, and so which inbox its deliveries are for.
    pub kind: SenderKind,
    /// How it proves itself.
    pub proof: DeliveryProof<'a>,
}

impl WebhookSender<'_> {
    /// Whether it asks if the address is ours before it posts there.
    fn requires_handshake(&self) -> bool {
        self.kind == SenderKind::Form(FormKind::Meta)
    }
}

/// What posts to us. Each kind has an inbox of its own, because another function reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderKind {
    /// At `/stores/{store}`; read by order-notifier.
    Store,
    /// At `/booking_samples/{calendar}`; read by reminder-scheduler.
    Calendar,
    /// At `/all_lead_requests/{form}` or, for those with a secret address, `/all_lead_requests/{form}/{secret}`; read by lead-first-touch.
    Form(FormKind),
    /// A line of EZWhatsApp, at `/lines/{line}/{secret}`; read by conversation-sync.
    Line,
}

/// The sender that a delivery's path names.
pub fn route_request<'a>(
    config: &'a ClientConfig,
    method: &Method,
    path: &'a str,
) -> Result<WebhookSender<'a>, ReceiveError> {
    let sender = find_sender(config, path)?;
    if method == Method::POST {
        Ok(sender)
    } else {
        Err(ReceiveError::MethodNotAllowed { allows_get: sender.requires_handshake() })
    }
}

fn find_sender<'a>(config: &'a ClientConfig, path: &'a str) -> Result<WebhookSender<'a>, ReceiveError> {
    let store = |name| {
        let (name, store) = config.stores.get_key_value(name)?;
        Some(WebhookSender { name, kind: SenderKind::Store, proof: DeliveryProof::of_store(store) })
    };
    let calendar = |name| {
        let (name, calendar) = config.calendars.get_key_value(name)?;
        Some(WebhookSender { name, kind: SenderKind::Calendar, proof: DeliveryProof::of_calendar(calendar)? })
    };
    let form = |rest: &'a str| {
        let (name, secret) = rest.split_once('/').map_or((rest, None), |(name, secret)| (name, Some(secret)));
        let (name, form) = config.forms.get_key_value(name)?;
        Some(WebhookSender {
            name,
            kind: SenderKind::Form(form.kind),
            proof: DeliveryProof::of_form(form).with_path_secret(secret)?,
        })
    };
    let line = |rest: &'a str| {
        let (name, secret) = rest.split_once('/')?;
        let (name, line) = config.lines.get_key_value(name).filter(|(_, line)| line.events)?;
        Some(WebhookSender { name, kind: SenderKind::Line, proof: DeliveryProof::of_line(line, secret) })
    };
    let sender = path.strip_prefix("/stores/").and_then(store);
    let sender = sender.or_else(|| path.strip_prefix("/bookings/").and_then(calendar));
    let sender = sender.or_else(|| path.strip_prefix("/leads/").and_then(form));
    let sender = sender.or_else(|| path.strip_prefix("/lines/").and_then(line));
    sender.ok_or(ReceiveError::UnknownRoute)
}

/// Whether a body is of a size and a type that its sender may use, before anything is computed over it.
fn check_body(sender: WebhookSender<'_>, headers: &HeaderMap, body: &[u8]) -> Result<(), ReceiveError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(ReceiveError::BodyTooLarge { bytes: body.len() });
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let form = essence == "application/x-www-form-urlencoded";
    let multipart = essence == "multipart/form-data";
    let (fits, accepted_types) = match (sender.kind, sender.proof) {
        // Whoever knows the address is heard, whatever the body is: it is looked at later, where nothing is lost.
        (SenderKind::Line, _) => (true, "anything"),
        (SenderKind::Form(FormKind::Jotform), _) => {
            (multipart || form, "a form (multipart/form-data or application/x-www-form-urlencoded)")
        }
        // Their owners choose.
        (
            SenderKind::Form(
                FormKind::Elementor
                | FormKind::GravityForms
                | FormKind::WpForms
                | FormKind::ContactForm7
                | FormKind::Web,
            ),
            _,
        ) => (
            json || form || multipart,
            "JSON (application/json) or a form (application/x-www-form-urlencoded or multipart/form-data)",
        ),
        // Its notifications have no body, and so nothing that would have to be of a type.
        (_, DeliveryProof::GoogleChannel) => (body.is_empty(), "a notification without a body"),
        (_, DeliveryProof::Acuity) => (form, "a form (application/x-www-form-urlencoded)"),
        // WooCommerce posts its trial call as a form.
        (_, DeliveryProof::WooCommerce { .. }) => (json || form, "JSON (application/json)"),
        // Somebody may have given the webhook a template of their own, which can make it a form.
        (_, DeliveryProof::CalCom) => {
            (json, "JSON (application/json), in Cal.com's own form and not in a custom template's,")
        }
        (SenderKind::Store | SenderKind::Calendar | SenderKind::Form(_), _) => (json, "JSON (application/json)"),
    };
    if fits { Ok(()) } else { Err(ReceiveError::UnsupportedContentType(accepted_types)) }
}

/// Judges a request without any effect: the sender it is from, and whether its proof holds with one of these secrets.
/// What [`WebhookReceiver::receive_request`] does with a delivery, for previews. A handshake is none.
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
    let mut refusal = Refusal::SecretUnusable("known");
    for secret in secrets {
        match verify_delivery(sender.name, sender.proof, secret, unverified, now) {
            Err(reason) if reason.depends_on_secret() => refusal = reason,
            verdict => return Ok(verdict?),
        }
    }
    Err(refusal.into())
}
