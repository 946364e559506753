//! A fake of the EZWhatsApp Channel API, for local runs and tests.
//!
//! The fake follows EZWhatsApp's documentation exactly: paths, bearer line tokens, the health
//! sample, 202 for a text, `wakeup` true unless it is `false`, the two known error codes, webhook
//! registration with its refusal of private networks, and the payloads and headers of deliveries.
//! Undocumented behaviour is a setting in [`FakeSettings`], marked **invented** there. EZWhatsApp
//! may differ from everything invented.
//!
//! The fake is also the customer's phone. It keeps every queued message with its key, so that a
//! test can assert that no key was sent twice ([`FakeProvider::max_messages_per_key`]).
//!
//! A key is queued at most once per line under every fault. With a state folder, queued messages
//! survive `kill -9`, and so do webhook events that were not posted
//! ([`FakeProvider::resume_deliveries`]). The fake does not imitate EZWhatsApp's timing, limits or
//! ids.

mod api;
mod control;
mod fake_core;
mod journal;
#[cfg(test)]
mod phone_tests;
mod records;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod validate;
mod webhook_delivery;
mod webhook_events;
mod webhook_queues;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::server::{bind_port, serve_router};

pub use records::{
    FakeCounters, InboundPhoneMessage, PhoneMessage, PhoneMessageDirection, RegisteredWebhook, WebhookAttempt,
};
pub use settings::{
    AcceptedBody, ErrorEnvelope, FakeSettings, FaultShare, HealthPreset, KeyConflictResponse, RepeatResponse,
    SendFault, WebhookSettings,
};
pub use validate::PhoneButton;

use fake_core::FakeCore;
use journal::open_journal;
use records::TEXT;
use state::FakeState;

/// The port of EZWhatsApp's own local runtime, and the default of the fake.
pub const DEFAULT_PORT: u16 = 3010;

/// A running fake. Clones share it, and it stops with the last of them.
#[derive(Clone, Debug)]
pub struct FakeProvider {
    core: Arc<FakeCore>,
    server: Arc<FakeServer>,
}

#[derive(Debug)]
struct FakeServer {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeProvider {
    /// Starts the fake on 127.0.0.1 (`port` 0: any free port). With a state folder it continues
    /// where the last run ended. Without one, its state is lost when it stops.
    #[expect(clippy::unused_async, reason = "async on purpose: it needs a runtime to serve on")]
    pub async fn start(port: u16, state_dir: Option<&Path>) -> anyhow::Result<Self> {
        let state = FakeState::new(state_dir.map(open_journal).transpose()?);
        let http = tellonce_core::bootstrap::build_http_client()?;
        let shared = Arc::new(FakeCore::new(state, http));
        shared.start_delivery_tasks();
        let listener = bind_port(port, "the fake EZWhatsApp", "--provider-port")?;
        let addr = listener.local_addr()?;
        let app = Router::new()
            .merge(api::build_router(&shared))
            .merge(control::build_router())
            .with_state(Arc::clone(&shared));
        let task = serve_router(app, listener, "the fake EZWhatsApp");
        Ok(Self { core: shared, server: Arc::new(FakeServer { addr, task }) })
    }

    /// `http://127.0.0.1:{port}`, the value of `PROVIDER_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    /// Replaces the accepted line tokens: token → line id. They are never written to disk.
    pub fn set_tokens(&self, tokens: BTreeMap<String, String>) {
        self.core.lock_state().tokens = tokens;
    }

    /// Ids of the lines that have a token.
    pub fn line_ids(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.core.read_state().tokens.values().cloned().collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// The current settings.
    pub fn settings(&self) -> FakeSettings {
        self.core.read_state().settings.clone()
    }

    /// Changes settings.
    pub fn change_settings(&self, change: impl FnOnce(&mut FakeSettings)) -> anyhow::Result<()> {
        self.core.change_settings(change)
    }

    /// Sets the health of one line, or of all lines with `None`.
    pub fn set_health(&self, line: Option<&str>, preset: HealthPreset) -> anyhow::Result<()> {
        self.core.set_health(line, preset)
    }

    /// Fails the next `count` sends that would have been accepted with `fault`. Calls queue up. A
    /// restart removes them.
    pub fn fail_next(&self, count: u32, fault: SendFault) {
        if count > 0 {
            self.core.lock_state().plan_faults(count, fault);
        }
    }

    /// Fails a share of all sends (0.0 to 1.0) with `fault`, after the sends of
    /// [`FakeProvider::fail_next`].
    pub fn fail_fraction(&self, probability: f64, fault: SendFault, seed: u64) -> anyhow::Result<()> {
        self.change_settings(|settings| settings.fault_share = Some(FaultShare { probability, fault, seed }))
    }

    /// Removes planned faults and the share.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.core.lock_state().forget_planned_faults();
        self.change_settings(|settings| settings.fault_share = None)
    }

    /// Sets a delay that is added to every response of the Channel API.
    pub fn set_latency(&self, latency: Duration) -> anyhow::Result<()> {
        let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.change_settings(|settings| settings.latency_ms = ms)
    }

    /// All messages in both directions, oldest first.
    pub fn messages(&self) -> Vec<PhoneMessage> {
        self.core.read_state().messages.clone()
    }

    /// The delivered messages on one customer's phone, oldest first.
    pub fn phone_messages(&self, contact: &str) -> Vec<PhoneMessage> {
        let mut delivered: Vec<PhoneMessage> = self.core.read_state().messages.clone();
        delivered.retain(|message| message.contact == contact && message.delivered_at.is_some());
        delivered
    }

    /// How many messages to customers each idempotency key has, over all lines. No value may ever
    /// exceed one.
    pub fn messages_per_key(&self) -> BTreeMap<String, usize> {
        self.core.read_state().messages_per_key()
    }

    /// The largest value of [`FakeProvider::messages_per_key`]. Zero if nothing was queued.
    pub fn max_messages_per_key(&self) -> usize {
        self.messages_per_key().into_values().max().unwrap_or(0)
    }

    /// Requests and messages since the start, or since [`Self::reset_counters`].
    pub fn counters(&self) -> FakeCounters {
        self.core.read_state().counters.clone()
    }

    /// Resets the counters.
    pub fn reset_counters(&self) {
        self.core.lock_state().counters = FakeCounters::default();
    }

    /// Registers a webhook as `POST /api/v1/webhooks` does, with the same refusals. `body` is its
    /// JSON.
    pub fn register_webhook(&self, line: &str, body: &Value) -> anyhow::Result<RegisteredWebhook> {
        let allow_local = self.core.lock_state().settings.webhooks.allow_local_targets;
        let request = validate::parse_webhook(body.to_string().as_bytes(), allow_local).map_err(anyhow::Error::msg)?;
        self.core.register_webhook(line, request)
    }

    /// Registered webhooks, oldest first.
    pub fn webhooks(&self) -> Vec<RegisteredWebhook> {
        self.core.read_state().webhooks.list().cloned().collect()
    }

    /// The latest attempts to reach webhook targets, oldest first.
    pub fn webhook_attempts(&self) -> Vec<WebhookAttempt> {
        self.core.read_state().attempts.iter().cloned().collect()
    }

    /// Registers the stack's own webhook of a line once. A webhook that posts to the same path on
    /// this machine, with another port or secret, is redirected. Addresses on this machine are
    /// accepted with any settings.
    pub fn ensure_webhook(&self, line: &str, target_url: &str) -> anyhow::Result<RegisteredWebhook> {
        self.core.ensure_webhook(line, target_url)
    }

    /// The customer writes a text to a line.
    pub fn write_from_phone(&self, contact: &str, text: &str, line: &str) -> anyhow::Result<PhoneMessage> {
        let written =
            InboundPhoneMessage { from: contact.to_owned(), text: text.to_owned(), kind: TEXT.to_owned(), group: None };
        self.core.write_message(written, line)
    }

    /// The customer writes any message to a line, e.g. a picture or in a group.
    pub fn write_message(&self, written: InboundPhoneMessage, line: &str) -> anyhow::Result<PhoneMessage> {
        self.core.write_message(written, line)
    }

    /// The team replies to a customer in EZWhatsApp. Webhooks report a message of the line without
    /// a key.
    pub fn reply_as_team(&self, contact: &str, text: &str, line: &str) -> anyhow::Result<PhoneMessage> {
        self.core.reply_as_team(contact, text, line)
    }

    /// The customer reads all messages that arrived. Returns how many.
    pub fn read_messages(&self, contact: &str) -> anyhow::Result<usize> {
        self.core.read_messages(contact)
    }

    /// Switches a customer's phone off or on. While it is off, the line accepts messages, and they
    /// neither arrive nor report a status. When it is on again, all of them arrive.
    pub fn set_silent(&self, contact: &str, silent: bool) -> anyhow::Result<()> {
        self.core.set_silent(contact, silent)
    }

    /// The customer's phone reports a status of a message. Any status is accepted, e.g. `failed`,
    /// which only whapi.cloud documents.
    pub fn report_status(&self, id: &str, status: &str) -> anyhow::Result<()> {
        self.core.report_status(id, status)
    }

    /// Numbers whose phones are switched off.
    pub fn silent_contacts(&self) -> BTreeSet<String> {
        self.core.read_state().silent.clone()
    }

    /// Removes messages, keys, webhooks, faults, counters and settings, in memory and on disk.
    /// Tokens stay.
    pub fn reset_state(&self) -> anyhow::Result<()> {
        self.core.lock_state().wipe()
    }

    /// Continues what the last run left: delivers waiting messages, and posts the webhook events
    /// that it raised and did not post, with the same delivery ids. Call it when the targets are
    /// up.
    pub fn resume_deliveries(&self) -> anyhow::Result<()> {
        self.core.resume_deliveries()
    }

    /// How many raised events their webhook targets have not received yet.
    pub fn pending_deliveries(&self) -> usize {
        self.core.read_state().webhooks.pending_count
    }

    /// The HTTP client of webhook deliveries, also for other callers that post to the loopback.
    pub fn http(&self) -> &reqwest::Client {
        &self.core.http
    }

    /// The state for a console: as `GET /_fake/state` returns it, with the newest `max_messages`
    /// messages, and the keys of more than one message in `repeated_keys`.
    pub fn overview_json(&self, max_messages: usize) -> Value {
        let mut state = self.core.render_state(max_messages);
        state["repeated_keys"] = json!(self.core.read_state().repeated_keys());
        state
    }

    /// Reads all messages in both directions, oldest first, without a copy.
    pub fn read_all_messages<R>(&self, read: impl FnOnce(&[PhoneMessage]) -> R) -> R {
        read(&self.core.read_state().messages)
    }

    /// A number that changes with every request and every change.
    pub fn change_count(&self) -> u64 {
        self.core.read_state().change_count
    }

    /// Waits until `condition` holds. Checks every 5 ms, and returns false after `within`.
    pub async fn wait_for(&self, within: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let until = Instant::now() + within;
        while !condition(self) {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}
