//! The operations of the fake: each changes its state and queues the webhook events that follow.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::lock_mutex;

use super::{
    records::{InboundPhoneMessage, PhoneMessage, RegisteredWebhook},
    settings::{FakeSettings, HealthPreset},
    state::{FakeState, READ, SendDecision, WebhookQueue},
    validate::{self, TextRequest, WebhookRequest},
    webhook_delivery::start_delivery_task,
    webhook_events::{self, QueuedWebhookEvent},
};

pub(super) struct FakeCore {
    state: Arc<Mutex<FakeState>>,
    pub(super) http: reqwest::Client,
}

impl std::fmt::Debug for FakeCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl FakeCore {
    pub(super) fn new(state: FakeState, http: reqwest::Client) -> Self {
        Self { state: Arc::new(Mutex::new(state)), http }
    }

    pub(super) fn lock_state(&self) -> MutexGuard<'_, FakeState> {
        // A panic leaves the state valid: each change is one assignment or one push.
        lock_mutex(&self.state)
    }

    pub(super) fn change_settings(self: &Arc<Self>, change: impl FnOnce(&mut FakeSettings)) -> anyhow::Result<()> {
        let mut state = self.lock_state();
        let mut settings = state.settings.clone();
        change(&mut settings);
        state.set_settings(settings)?;
        Self::deliver_waiting(&mut state)
    }

    pub(super) fn set_settings(self: &Arc<Self>, settings: FakeSettings) -> anyhow::Result<()> {
        self.change_settings(|now| *now = settings)
    }

    pub(super) fn set_health(self: &Arc<Self>, line: Option<&str>, preset: HealthPreset) -> anyhow::Result<()> {
        self.change_settings(|settings| {
            if let Some(line) = line {
                settings.line_health.insert(line.to_owned(), preset);
            } else {
                settings.line_health.clear();
                settings.health = preset;
            }
        })
    }

    pub(super) fn decide_send(
        &self,
        line: &str,
        key: &str,
        bytes: &[u8],
        text: TextRequest,
    ) -> anyhow::Result<SendDecision> {
        let mut state = self.lock_state();
        let sent = state.decide_send(line, key, bytes, text)?;
        Self::deliver_waiting(&mut state)?;
        Ok(sent)
    }

    /// Delivers waiting messages and raises their webhook events.
    fn deliver_waiting(state: &mut FakeState) -> anyhow::Result<()> {
        for arrival in state.deliver_waiting()? {
            let settings = state.settings.webhooks.clone();
            if arrival.observed {
                Self::queue_events(
                    state,
                    &arrival.message.line,
                    webhook_events::build_message_events(&arrival.message, &settings),
                );
            }
            if arrival.delivered {
                for status in webhook_events::reported_statuses(&settings) {
                    Self::apply_status(state, &arrival.message.id, status)?;
                }
            }
        }
        Ok(())
    }

    fn apply_status(state: &mut FakeState, id: &str, status: &str) -> anyhow::Result<()> {
        let message = state.set_status(id, status)?;
        let event = webhook_events::build_status_event(&message, status, state.now_ms(), &state.settings.webhooks);
        Self::queue_events(state, &message.line, vec![event]);
        Ok(())
    }

    pub(super) fn report_status(&self, id: &str, status: &str) -> anyhow::Result<()> {
        Self::apply_status(&mut self.lock_state(), id, status)
    }

    pub(super) fn write_message(&self, written: InboundPhoneMessage, line: &str) -> anyhow::Result<PhoneMessage> {
        let mut state = self.lock_state();
        let message = state.write_from_customer(written, line)?;
        let events = webhook_events::build_message_events(&message, &state.settings.webhooks);
        Self::queue_events(&mut state, line, events);
        // A customer who writes has switched the phone on.
        Self::deliver_waiting(&mut state)?;
        Ok(message)
    }

    pub(super) fn reply_as_team(&self, contact: &str, text: &str, line: &str) -> anyhow::Result<PhoneMessage> {
        let mut state = self.lock_state();
        let id = state.write_from_team(contact, text, line)?;
        Self::deliver_waiting(&mut state)?;
        state.find_message(&id)
    }

    pub(super) fn read_messages(&self, contact: &str) -> anyhow::Result<usize> {
        let mut state = self.lock_state();
        let unread = state.unread_ids(contact);
        for id in &unread {
            Self::apply_status(&mut state, id, READ)?;
        }
        Ok(unread.len())
    }

    pub(super) fn set_silent(&self, contact: &str, silent: bool) -> anyhow::Result<()> {
        let mut state = self.lock_state();
        state.set_silent(contact, silent)?;
        Self::deliver_waiting(&mut state)
    }

    fn queue_events(state: &mut FakeState, line: &str, events: Vec<QueuedWebhookEvent>) {
        for event in events {
            for hook in state.webhooks.iter().filter(|hook| webhook_events::wants_event(&hook.webhook, line, &event)) {
                if hook.queue.send(event.clone()).is_ok() {
                    state.pending_deliveries += 1;
                } else {
                    tracing::debug!(webhook = hook.webhook.id, "the sender of this webhook stopped");
                }
            }
        }
    }

    pub(super) fn register_webhook(
        self: &Arc<Self>,
        line: &str,
        request: WebhookRequest,
    ) -> anyhow::Result<RegisteredWebhook> {
        let webhook = self.lock_state().new_webhook(line, request)?;
        self.start_webhook(webhook.clone());
        Ok(webhook)
    }

    pub(super) fn ensure_webhook(self: &Arc<Self>, line: &str, target_url: &str) -> anyhow::Result<RegisteredWebhook> {
        let target_path = webhook_events::local_target_path(target_url);
        let is_ours = |hook: &WebhookQueue| {
            hook.webhook.line_id == line && webhook_events::local_target_path(&hook.webhook.target_url) == target_path
        };
        let known = self.lock_state().webhooks.iter().find(|hook| is_ours(hook)).map(|hook| hook.webhook.clone());
        let Some(known) = known else {
            let body = json!({"targetUrl": target_url}).to_string();
            return self
                .register_webhook(line, validate::parse_webhook(body.as_bytes(), true).map_err(anyhow::Error::msg)?);
        };
        if known.target_url == target_url {
            return Ok(known);
        }
        let redirected = {
            let mut state = self.lock_state();
            state.webhooks.retain(|hook| hook.webhook.id != known.id);
            state.redirect_webhook(&known, target_url)?
        };
        self.start_webhook(redirected.clone());
        Ok(redirected)
    }

    pub(super) fn start_webhook(self: &Arc<Self>, webhook: RegisteredWebhook) {
        let queue = start_delivery_task(&self.state, &self.http, webhook.clone());
        self.lock_state().webhooks.push(WebhookQueue { webhook, queue });
    }

    pub(super) fn render_state(&self) -> Value {
        let state = self.lock_state();
        let planned: Vec<Value> =
            state.planned_faults().into_iter().map(|(left, fault)| json!({"left": left, "fault": fault})).collect();
        let mut lines: Vec<&String> = state.tokens.values().collect();
        lines.sort();
        lines.dedup();
        json!({
            "lines": lines,
            "settings": state.settings,
            "planned_faults": planned,
            "counters": state.counters,
            "messages": state.messages,
            "silent": state.silent,
            "webhooks": state.webhooks.iter().map(|hook| &hook.webhook).collect::<Vec<_>>(),
            "webhook_attempts": state.attempts,
            "per_key": state.messages_per_key(),
        })
    }
}
