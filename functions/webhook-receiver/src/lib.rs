//! webhook-receiver: checks a delivery's proof, puts it into the inbox unless it is there already, and answers.
//!
//! The story: [`Receiver::receive`] takes a request; [`route`] finds its [`Sender`]; it is verified over its raw bytes
//! with each secret that counts now, as [`judge`] does without effects; the inbox of the sender's kind files it;
//! [`Answer`] and [`NotAccepted`] become HTTP. Meta asks something before it posts, which is answered and not filed.
//!
//! Promises that a 2xx is given only after the write succeeded, that whatever was not accepted leaves a log line with
//! its reason and nothing of what stood in its path or query, and that nothing a sender posts makes it panic. Does not
//! understand deliveries: that is the business of the function that the inbox's stream wakes. The body of an authentic
//! delivery may be anything.

mod answer;
mod handshake;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use lambda_http::{Request, RequestExt as _, service_fn};
use shared::{
    client_config::{ClientConfig, FormKind},
    clock::Clock,
    cold_start::{self, Aws, StartError},
    delivery::{self, Checked, Proof, Refusal, Unverified, verify},
    inbox::{Filed, Inbox, MAX_BODY_BYTES},
    observe,
    secret::{Secret, Secrets},
};

pub use answer::{Answer, NotAccepted};
use handshake::Handshake;

/// What the receiver needs: the client, its webhook secrets, one inbox for each function that reads one.
pub struct Receiver {
    config: ClientConfig,
    secrets: Secrets,
    store_inbox: Inbox,
    booking_inbox: Inbox,
    lead_inbox: Inbox,
    line_inbox: Inbox,
    clock: Clock,
}

/// What became of a request that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the inbox.
    Filed(Filed),
    /// It was only a trial call.
    Ping,
    /// It asked whether the address is ours, and knew the token.
    Handshake,
}

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_http::Error> {
    observe::start();
    let receiver = Receiver::start().await?;
    let receiver = &receiver;
    lambda_http::run(service_fn(move |request: Request| async move {
        Ok::<_, Infallible>(answer::response(receiver.receive(&request).await))
    }))
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
        let booking_inbox = Inbox::new(db.clone(), cold_start::required("BOOKING_INBOX_TABLE")?, keep);
        let lead_inbox = Inbox::new(db.clone(), cold_start::required("LEAD_INBOX_TABLE")?, keep);
        let line_inbox = Inbox::new(db, cold_start::required("LINE_INBOX_TABLE")?, keep);
        let clock = Clock::from_environment();
        let receiver = Self { config, secrets, store_inbox, booking_inbox, lead_inbox, line_inbox, clock };
        tokio::join!(receiver.prepare(), aws.open_dynamodb());
        Ok(receiver)
    }

    /// Reads the secrets of all senders while initialisation still runs at full speed. A secret that is missing now is
    /// asked for again when its sender posts.
    async fn prepare(&self) {
        let now = self.clock.now();
        let calendars = self.config.calendars.iter().filter(|(_, calendar)| calendar.kind.posts());
        let senders = self.config.stores.keys().chain(calendars.map(|(name, _)| name)).chain(self.config.forms.keys());
        let lines = self.config.lines.iter().filter(|(_, line)| line.events);
        let lines = lines.map(|(name, _)| (name, self.config.line_webhook_secret(name)));
        let secrets = senders.map(|name| (name, self.config.webhook_secret(name))).chain(lines);
        let reads = secrets.map(|(sender, secret)| async move {
            if let Err(error) = self.secrets.current(&secret, now).await {
                tracing::warn!(sender.name = sender, "{}", shared::fault::chain(&error));
            }
        });
        futures::future::join_all(reads).await;
    }

    /// Verifies and files a request.
    pub async fn receive(&self, request: &Request) -> Result<Answer, NotAccepted> {
        let now = self.clock.now();
        let sender = find(&self.config, request.uri().path());
        // Only a name that is configured: what a stranger wrote into the path is not for the log.
        let sender_name = sender.as_ref().ok().map(|sender| sender.name);
        let outcome = match sender {
            Ok(sender) => self.take(sender, request, now).await,
            Err(reason) => Err(reason),
        };
        match &outcome {
            // What was accepted is in the inbox; a line in the log for each would cost more than the function.
            Ok((accepted, _)) => tracing::debug!(sender.name = sender_name, outcome = ?accepted, "delivery accepted"),
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
        outcome.map(|(_, answer)| answer)
    }

    async fn take(
        &self,
        sender: Sender<'_>,
        request: &Request,
        now: Timestamp,
    ) -> Result<(Accepted, Answer), NotAccepted> {
        match *request.method() {
            Method::POST => {
                let accepted = self.accept(sender, request.headers(), request.body(), now).await?;
                Ok((accepted, Answer::to(sender.kind)))
            }
            Method::GET if sender.asks_first() => {
                let query = request.query_string_parameters_ref();
                let handshake = Handshake::read(|name| query?.first(name))?;
                self.greet(sender, handshake, now).await?;
                Ok((Accepted::Handshake, Answer::Challenge(handshake.challenge.to_owned())))
            }
            _ => Err(NotAccepted::Method { asked_first: sender.asks_first() }),
        }
    }

    async fn accept(
        &self,
        sender: Sender<'_>,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Accepted, NotAccepted> {
        acceptable(sender, headers, body)?;
        let unverified = Unverified { headers, body };
        let secret_name = match sender.kind {
            SenderKind::Store | SenderKind::Calendar | SenderKind::Form(_) => self.config.webhook_secret(sender.name),
            SenderKind::Line => self.config.line_webhook_secret(sender.name),
        };
        let verified = |secret: &Secret| verify(sender.name, sender.proof, secret, unverified, now);
        match self.with_each_secret(&secret_name, now, verified).await? {
            Checked::Ping => Ok(Accepted::Ping),
            Checked::Verified(delivery) => {
                let inbox = match sender.kind {
                    SenderKind::Store => &self.store_inbox,
                    SenderKind::Calendar => &self.booking_inbox,
                    SenderKind::Form(_) => &self.lead_inbox,
                    SenderKind::Line => &self.line_inbox,
                };
                Ok(Accepted::Filed(inbox.file(&delivery, now).await?))
            }
        }
    }

    /// Says whether somebody who asks first knows the token.
    async fn greet(&self, sender: Sender<'_>, handshake: Handshake<'_>, now: Timestamp) -> Result<(), NotAccepted> {
        let secret_name = self.config.handshake_secret(sender.name);
        let known = |secret: &Secret| delivery::handshake(handshake.token, secret);
        self.with_each_secret(&secret_name, now, known).await.map_err(|reason| match reason {
            NotAccepted::NotBelieved(Refusal::Mismatch) => NotAccepted::WrongToken,
            other => other,
        })
    }

    /// Tries the value of a secret that we have, then the one that may have replaced it, then the one that was replaced
    /// and still counts.
    async fn with_each_secret<T>(
        &self,
        name: &str,
        now: Timestamp,
        holds: impl Fn(&Secret) -> Result<T, Refusal>,
    ) -> Result<T, NotAccepted> {
        let mut refusal = match holds(&self.secrets.current(name, now).await?) {
            Err(refusal) if refusal.is_about_the_secret() => refusal,
            decided => return Ok(decided?),
        };
        if let Some(newer) = self.secrets.refetch_for_stranger(name, now).await? {
            match holds(&newer) {
                Ok(held) => return Ok(held),
                Err(newest) => refusal = newest,
            }
        }
        match self.secrets.previous(name, now).await? {
            Some(older) => Ok(holds(&older)?),
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

impl Sender<'_> {
    /// Whether it asks if the address is ours before it posts there.
    fn asks_first(&self) -> bool {
        self.kind == SenderKind::Form(FormKind::Meta)
    }
}

/// What posts to us. Each kind has an inbox of its own, because another function reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderKind {
    /// At `/stores/{store}`; read by order-notifier.
    Store,
    /// At `/bookings/{calendar}`; read by reminder-scheduler.
    Calendar,
    /// At `/leads/{form}` or, for those with a secret address, `/leads/{form}/{secret}`; read by lead-first-touch.
    Form(FormKind),
    /// A line of EZWhatsApp, at `/lines/{line}/{secret}`; read by conversation-sync.
    Line,
}

/// The sender that a delivery's path names.
pub fn route<'a>(config: &'a ClientConfig, method: &Method, path: &'a str) -> Result<Sender<'a>, NotAccepted> {
    let sender = find(config, path)?;
    if method == Method::POST { Ok(sender) } else { Err(NotAccepted::Method { asked_first: sender.asks_first() }) }
}

fn find<'a>(config: &'a ClientConfig, path: &'a str) -> Result<Sender<'a>, NotAccepted> {
    let store = |name| {
        let (name, store) = config.stores.get_key_value(name)?;
        Some(Sender { name, kind: SenderKind::Store, proof: Proof::of_store(store) })
    };
    let calendar = |name| {
        let (name, calendar) = config.calendars.get_key_value(name)?;
        Some(Sender { name, kind: SenderKind::Calendar, proof: Proof::of_calendar(calendar)? })
    };
    let form = |rest: &'a str| {
        let (name, secret) = rest.split_once('/').map_or((rest, None), |(name, secret)| (name, Some(secret)));
        let (name, form) = config.forms.get_key_value(name)?;
        Some(Sender { name, kind: SenderKind::Form(form.kind), proof: Proof::of_form(form).at(secret)? })
    };
    let line = |rest: &'a str| {
        let (name, given) = rest.split_once('/')?;
        let (name, line) = config.lines.get_key_value(name).filter(|(_, line)| line.events)?;
        Some(Sender { name, kind: SenderKind::Line, proof: Proof::of_line(line, given) })
    };
    let sender = path.strip_prefix("/stores/").and_then(store);
    let sender = sender.or_else(|| path.strip_prefix("/bookings/").and_then(calendar));
    let sender = sender.or_else(|| path.strip_prefix("/leads/").and_then(form));
    let sender = sender.or_else(|| path.strip_prefix("/lines/").and_then(line));
    sender.ok_or(NotAccepted::UnknownRoute)
}

/// Whether a body is of a size and a type that its sender may use, before anything is computed over it.
fn acceptable(sender: Sender<'_>, headers: &HeaderMap, body: &[u8]) -> Result<(), NotAccepted> {
    if body.len() > MAX_BODY_BYTES {
        return Err(NotAccepted::TooLarge { bytes: body.len() });
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let form = essence == "application/x-www-form-urlencoded";
    let multipart = essence == "multipart/form-data";
    let (fits, takes) = match (sender.kind, sender.proof) {
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
        (_, Proof::GoogleChannel) => (body.is_empty(), "a notification without a body"),
        (_, Proof::Acuity) => (form, "a form (application/x-www-form-urlencoded)"),
        // WooCommerce posts its trial call as a form.
        (_, Proof::WooCommerce { .. }) => (json || form, "JSON (application/json)"),
        // Somebody may have given the webhook a template of their own, which can make it a form.
        (_, Proof::CalCom) => (json, "JSON (application/json), in Cal.com's own form and not in a custom template's,"),
        (SenderKind::Store | SenderKind::Calendar | SenderKind::Form(_), _) => (json, "JSON (application/json)"),
    };
    if fits { Ok(()) } else { Err(NotAccepted::ContentType(takes)) }
}

/// Judges a request without any effect: the sender it is from, and whether its proof holds with one of these secrets.
/// What [`Receiver::receive`] does with a delivery, for previews. A handshake is none.
pub fn judge<'a>(
    config: &'a ClientConfig,
    method: &Method,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    secrets: &[Secret],
    now: Timestamp,
) -> Result<Checked<'a>, NotAccepted> {
    let sender = route(config, method, path)?;
    acceptable(sender, headers, body)?;
    let unverified = Unverified { headers, body };
    let mut refusal = Refusal::SecretUnusable("known");
    for secret in secrets {
        match verify(sender.name, sender.proof, secret, unverified, now) {
            Err(reason) if reason.is_about_the_secret() => refusal = reason,
            decided => return Ok(decided?),
        }
    }
    Err(refusal.into())
}
