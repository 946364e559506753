//! A faithful fake of the `EZWhatsApp` Channel API, for local runs and tests.
//!
//! What `EZWhatsApp` documents is followed to the letter: paths, bearer line tokens, the health sample, 202 for a text,
//! `wakeup` true unless it is `false`, the two known error codes, webhook registration with its refusal of inner networks, and
//! the payloads and headers of deliveries. What it doesn't document is a switch in [`Settings`], marked **invented** there;
//! nothing invented may be taken for `EZWhatsApp`'s behaviour.
//!
//! The fake also is the customer's phone: every queued message is remembered with its key, so that a test can assert what no
//! log can prove, namely that no key was told twice ([`FakeEzw::most_per_key`]).
//!
//! It promises: a key is queued at most once per line whatever faults strike; with a state folder, what was queued survives
//! `kill -9`. It does not promise: `EZWhatsApp`'s timing, limits or ids.

mod api;
mod control;
mod hooks;
mod journal;
#[cfg(test)]
mod phone_tests;
mod records;
mod settings;
#[cfg(test)]
mod tests;
mod validate;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::Router;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cord::{Cord, CordedListener};

pub use records::{Counters, Direction, HookAttempt, PhoneMessage, Webhook, Written};
pub use settings::{
    AcceptedBody, ChangedBody, ErrorEnvelope, Fault, FaultShare, HealthPreset, Replay, Settings, WebhookSettings,
};
pub use validate::Button;

use hooks::Raised;
use journal::Journal;
use records::TEXT;
use validate::{Text, WebhookRequest};
use world::{Hook, READ, Sent, World};

/// The address `EZWhatsApp`'s own local runtime uses, and so the fake's default.
pub const DEFAULT_PORT: u16 = 3010;

/// A running fake. Clones are handles of the same one; it stops with the last of them.
#[derive(Clone, Debug)]
pub struct FakeEzw {
    shared: Arc<Shared>,
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    world: Mutex<World>,
    http: reqwest::Client,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl FakeEzw {
    /// Starts the fake on 127.0.0.1 (`port` 0 = any free one). With a state folder it continues where the last one ended;
    /// without, it forgets everything when it stops.
    #[expect(clippy::unused_async, reason = "async on purpose: it needs a runtime to serve on")]
    pub async fn start(port: u16, state_dir: Option<&Path>) -> anyhow::Result<Self> {
        let journal = state_dir.map(Journal::open).transpose()?;
        let (world, webhooks) = World::new(journal);
        let http = shared::cold_start::http_client()?;
        let shared = Arc::new(Shared { world: Mutex::new(world), http });
        for webhook in webhooks {
            shared.start_hook(webhook);
        }
        let listener = crate::ports::bind(port, "the fake EZWhatsApp", "--ezw-port")?;
        let addr = listener.local_addr()?;
        let app = Router::new().merge(api::router(&shared)).merge(control::router()).with_state(Arc::clone(&shared));
        let service = app.into_make_service_with_connect_info::<Cord>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(CordedListener(listener), service).await {
                tracing::error!(%error, "the fake EZWhatsApp stopped");
            }
        });
        Ok(Self { shared, server: Arc::new(Server { addr, task }) })
    }

    /// `http://127.0.0.1:{port}`, the value of `EZW_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    /// Replaces the line tokens that are believed: token → line id. Never written to disk.
    pub fn set_tokens(&self, tokens: BTreeMap<String, String>) {
        self.shared.world().tokens = tokens;
    }

    /// Ids of the lines that have a token.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.shared.world().tokens.values().cloned().collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// The switchboard as it is.
    pub fn settings(&self) -> Settings {
        self.shared.world().settings.clone()
    }

    /// Turns any switches.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) -> anyhow::Result<()> {
        self.shared.change(change)
    }

    /// Health of one line, or of all lines alike with `None`.
    pub fn set_health(&self, line: Option<&str>, preset: HealthPreset) -> anyhow::Result<()> {
        self.shared.set_health(line, preset)
    }

    /// The next `count` sends that would have been accepted meet `fault`. Calls line up behind each other; not kept over a
    /// restart.
    pub fn fail_next(&self, count: u32, fault: Fault) {
        if count > 0 {
            self.shared.world().plan_faults(count, fault);
        }
    }

    /// From now on a share of all sends (0.0 to 1.0) meets `fault`, after those planned by [`FakeEzw::fail_next`].
    pub fn fail_fraction(&self, probability: f64, fault: Fault, seed: u64) -> anyhow::Result<()> {
        self.change(|settings| settings.share = Some(FaultShare { probability, fault, seed }))
    }

    /// Forgets planned faults and the share.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.shared.world().forget_planned_faults();
        self.change(|settings| settings.share = None)
    }

    /// Added to every answer of the Channel API.
    pub fn set_latency(&self, latency: Duration) -> anyhow::Result<()> {
        let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.change(|settings| settings.latency_ms = ms)
    }

    /// Everything both sides wrote, oldest first.
    pub fn messages(&self) -> Vec<PhoneMessage> {
        self.shared.world().messages.clone()
    }

    /// What one customer's phone shows: delivered messages only, oldest first.
    pub fn phone(&self, contact: &str) -> Vec<PhoneMessage> {
        let mut shown: Vec<PhoneMessage> = self.shared.world().messages.clone();
        shown.retain(|message| message.contact == contact && message.delivered_at.is_some());
        shown
    }

    /// Messages to customers by idempotency key, over all lines. No value may ever exceed one.
    pub fn per_key(&self) -> BTreeMap<String, usize> {
        self.shared.world().per_key()
    }

    /// The largest value of [`FakeEzw::per_key`]; zero when nothing was queued.
    pub fn most_per_key(&self) -> usize {
        self.per_key().into_values().max().unwrap_or(0)
    }

    /// What was asked of the fake since it started.
    pub fn counters(&self) -> Counters {
        self.shared.world().counters.clone()
    }

    /// Starts counting anew.
    pub fn reset_counters(&self) {
        self.shared.world().counters = Counters::default();
    }

    /// Registers a webhook as `POST /api/v1/webhooks` does, with the same refusals; `body` is its JSON.
    pub fn register_webhook(&self, line: &str, body: &Value) -> anyhow::Result<Webhook> {
        let allow_local = self.shared.world().settings.webhooks.allow_local_targets;
        let request = validate::webhook(body.to_string().as_bytes(), allow_local).map_err(anyhow::Error::msg)?;
        self.shared.register(line, request)
    }

    /// Registered webhooks, oldest first.
    pub fn webhooks(&self) -> Vec<Webhook> {
        self.shared.world().hooks.iter().map(|hook| hook.webhook.clone()).collect()
    }

    /// The last attempts to reach webhook targets, oldest first.
    pub fn webhook_attempts(&self) -> Vec<HookAttempt> {
        self.shared.world().attempts.iter().cloned().collect()
    }

    /// The stack's own webhook of a line, registered once: one that posts to the same place on this machine under another
    /// port or secret is directed to this one. Inner addresses are let through, whatever the settings say.
    pub fn direct_webhook(&self, line: &str, target_url: &str) -> anyhow::Result<Webhook> {
        self.shared.direct(line, target_url)
    }

    /// The customer writes a text to a line.
    pub fn write_from_phone(&self, contact: &str, text: &str, line: &str) -> anyhow::Result<PhoneMessage> {
        let written = Written { from: contact.to_owned(), text: text.to_owned(), kind: TEXT.to_owned(), group: None };
        self.shared.write(written, line)
    }

    /// The customer writes anything to a line: a picture, or in a group.
    pub fn write(&self, written: Written, line: &str) -> anyhow::Result<PhoneMessage> {
        self.shared.write(written, line)
    }

    /// Somebody of the team answers a customer in `EZWhatsApp`: webhooks see a message of the line that has no key of ours.
    pub fn answer_as_team(&self, contact: &str, text: &str, line: &str) -> anyhow::Result<PhoneMessage> {
        self.shared.answer(contact, text, line)
    }

    /// The customer reads everything that arrived. Returns how many messages that were.
    pub fn read(&self, contact: &str) -> anyhow::Result<usize> {
        self.shared.read(contact)
    }

    /// The customer's phone is switched off, or on again. While it is off, messages are taken and seen on the line, and neither
    /// arrive nor report anything; then they come all at once.
    pub fn set_silent(&self, contact: &str, silent: bool) -> anyhow::Result<()> {
        self.shared.set_silent(contact, silent)
    }

    /// The customer's phone reports any status for a message, for example `failed`, which only whapi.cloud documents.
    pub fn report_status(&self, id: &str, status: &str) -> anyhow::Result<()> {
        self.shared.report_status(id, status)
    }

    /// Numbers whose phones are switched off.
    pub fn silent(&self) -> BTreeSet<String> {
        self.shared.world().silent.clone()
    }

    /// Forgets messages, keys, webhooks, faults, counters and settings, here and on disk. Tokens stay.
    pub fn fresh(&self) -> anyhow::Result<()> {
        self.shared.world().wipe()
    }

    /// How much was raised for webhooks that their targets were not told of yet, once.
    pub fn under_way(&self) -> usize {
        self.shared.world().under_way
    }

    /// The HTTP client that deliveries are made with, for others on this machine that post to loopback too.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.shared.http
    }

    /// Everything a console shows, as `GET /_fake/state` answers it.
    pub fn state(&self) -> Value {
        self.shared.state()
    }

    /// Waits until `condition` holds, looking every 5 ms; false when `within` passes first.
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

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        // Nothing in the world is left half-changed by a panic: each change is one assignment or one push.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Settings)) -> anyhow::Result<()> {
        let mut world = self.world();
        let mut settings = world.settings.clone();
        change(&mut settings);
        world.set_settings(settings)?;
        Self::deliver(&mut world)
    }

    fn set_settings(self: &Arc<Self>, settings: Settings) -> anyhow::Result<()> {
        self.change(|now| *now = settings)
    }

    fn set_health(self: &Arc<Self>, line: Option<&str>, preset: HealthPreset) -> anyhow::Result<()> {
        self.change(|settings| {
            if let Some(line) = line {
                settings.line_health.insert(line.to_owned(), preset);
            } else {
                settings.line_health.clear();
                settings.health = preset;
            }
        })
    }

    fn send(&self, line: &str, key: &str, bytes: &[u8], text: Text) -> anyhow::Result<Sent> {
        let mut world = self.world();
        let sent = world.send(line, key, bytes, text)?;
        Self::deliver(&mut world)?;
        Ok(sent)
    }

    /// Lets waiting messages go on and tells the webhooks.
    fn deliver(world: &mut World) -> anyhow::Result<()> {
        for arrival in world.deliver_waiting()? {
            let settings = world.settings.webhooks.clone();
            if arrival.observed {
                Self::raise(world, &arrival.message.line, hooks::message_events(&arrival.message, &settings));
            }
            if arrival.delivered {
                for status in hooks::statuses(&settings) {
                    Self::status(world, &arrival.message.id, status)?;
                }
            }
        }
        Ok(())
    }

    fn status(world: &mut World, id: &str, status: &str) -> anyhow::Result<()> {
        let message = world.set_status(id, status)?;
        let event = hooks::status_event(&message, status, world.now(), &world.settings.webhooks);
        Self::raise(world, &message.line, vec![event]);
        Ok(())
    }

    fn report_status(&self, id: &str, status: &str) -> anyhow::Result<()> {
        Self::status(&mut self.world(), id, status)
    }

    fn write(&self, written: Written, line: &str) -> anyhow::Result<PhoneMessage> {
        let mut world = self.world();
        let message = world.write(written, line)?;
        let events = hooks::message_events(&message, &world.settings.webhooks);
        Self::raise(&mut world, line, events);
        // Whoever writes is there again.
        Self::deliver(&mut world)?;
        Ok(message)
    }

    fn answer(&self, contact: &str, text: &str, line: &str) -> anyhow::Result<PhoneMessage> {
        let mut world = self.world();
        let id = world.answer(contact, text, line)?;
        Self::deliver(&mut world)?;
        world.message(&id)
    }

    fn read(&self, contact: &str) -> anyhow::Result<usize> {
        let mut world = self.world();
        let unread = world.unread(contact);
        for id in &unread {
            Self::status(&mut world, id, READ)?;
        }
        Ok(unread.len())
    }

    fn set_silent(&self, contact: &str, silent: bool) -> anyhow::Result<()> {
        let mut world = self.world();
        world.set_silent(contact, silent)?;
        Self::deliver(&mut world)
    }

    fn raise(world: &mut World, line: &str, events: Vec<Raised>) {
        for raised in events {
            for hook in world.hooks.iter().filter(|hook| hooks::wants(&hook.webhook, line, &raised)) {
                if hook.queue.send(raised.clone()).is_ok() {
                    world.under_way += 1;
                } else {
                    tracing::debug!(webhook = hook.webhook.id, "the courier of this webhook has stopped");
                }
            }
        }
    }

    fn register(self: &Arc<Self>, line: &str, request: WebhookRequest) -> anyhow::Result<Webhook> {
        let webhook = self.world().new_webhook(line, request)?;
        self.start_hook(webhook.clone());
        Ok(webhook)
    }

    fn direct(self: &Arc<Self>, line: &str, target_url: &str) -> anyhow::Result<Webhook> {
        let place = hooks::place(target_url);
        let is_ours = |hook: &Hook| hook.webhook.line_id == line && hooks::place(&hook.webhook.target_url) == place;
        let known = self.world().hooks.iter().find(|hook| is_ours(hook)).map(|hook| hook.webhook.clone());
        let Some(known) = known else {
            let body = json!({"targetUrl": target_url}).to_string();
            return self.register(line, validate::webhook(body.as_bytes(), true).map_err(anyhow::Error::msg)?);
        };
        if known.target_url == target_url {
            return Ok(known);
        }
        let directed = {
            let mut world = self.world();
            world.hooks.retain(|hook| hook.webhook.id != known.id);
            world.redirect(&known, target_url)?
        };
        self.start_hook(directed.clone());
        Ok(directed)
    }

    fn start_hook(self: &Arc<Self>, webhook: Webhook) {
        let queue = hooks::courier(self, webhook.clone());
        self.world().hooks.push(Hook { webhook, queue });
    }

    fn state(&self) -> Value {
        let world = self.world();
        let planned: Vec<Value> =
            world.planned_faults().into_iter().map(|(left, fault)| json!({"left": left, "fault": fault})).collect();
        let mut lines: Vec<&String> = world.tokens.values().collect();
        lines.sort();
        lines.dedup();
        json!({
            "lines": lines,
            "settings": world.settings,
            "planned_faults": planned,
            "counters": world.counters,
            "messages": world.messages,
            "silent": world.silent,
            "webhooks": world.hooks.iter().map(|hook| &hook.webhook).collect::<Vec<_>>(),
            "webhook_attempts": world.attempts,
            "per_key": world.per_key(),
        })
    }
}
