//! The operations of the fake: each changes its state and queues the webhook events that follow.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::lock_mutex;

use super::{
    records::{InboundPhoneMessage, PhoneMessage, RegisteredWebhook},
    settings::{FakeSettings, HealthPreset},
    state::{FakeState, READ, SendDecision},
    validate::{self, TextRequest, WebhookRequest},
    webhook_delivery::start_delivery_task,
    webhook_events,
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
        let mut state = self.read_state();
        state.change_count += 1;
        state
    }

    /// The state for a reader that changes nothing.
    pub(super) fn read_state(&self) -> MutexGuard<'_, FakeState> {
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
        for (id, reaches_customer) in state.waiting_messages() {
            let arrival = state.plan_arrival(&id, reaches_customer)?;
            state.commit(arrival)?;
        }
        Ok(())
    }

    pub(super) fn report_status(&self, id: &str, status: &str) -> anyhow::Result<()> {
        let mut state = self.lock_state();
        let report = state.plan_status(&state.find_message(id)?, status);
        state.commit(report)
    }

    pub(super) fn write_message(&self, written: InboundPhoneMessage, line: &str) -> anyhow::Result<PhoneMessage> {
        let mut state = self.lock_state();
        let message = state.write_from_customer(written, line)?;
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
            let report = state.plan_status(&state.find_message(id)?, READ);
            state.commit(report)?;
        }
        Ok(unread.len())
    }

    pub(super) fn set_silent(&self, contact: &str, silent: bool) -> anyhow::Result<()> {
        let mut state = self.lock_state();
        state.set_silent(contact, silent)?;
        Self::deliver_waiting(&mut state)
    }

    pub(super) fn register_webhook(
        self: &Arc<Self>,
        line: &str,
        request: WebhookRequest,
    ) -> anyhow::Result<RegisteredWebhook> {
        let mut state = self.lock_state();
        let webhook = state.new_webhook(line, request)?;
        self.start_missing_tasks(&mut state);
        Ok(webhook)
    }

    /// Whether the line had such a webhook.
    pub(super) fn remove_webhook(&self, line: &str, id: &str) -> anyhow::Result<bool> {
        let mut state = self.lock_state();
        let is_known = state.webhooks.list().any(|webhook| webhook.line_id == line && webhook.id == id);
        if is_known {
            state.remove_webhook(id)?;
        }
        Ok(is_known)
    }

    pub(super) fn ensure_webhook(self: &Arc<Self>, line: &str, target_url: &str) -> anyhow::Result<RegisteredWebhook> {
        let target_path = webhook_events::local_target_path(target_url);
        let is_ours = |webhook: &&RegisteredWebhook| {
            webhook.line_id == line && webhook_events::local_target_path(&webhook.target_url) == target_path
        };
        let known = self.lock_state().webhooks.list().find(is_ours).cloned();
        let Some(known) = known else {
            let body = json!({"targetUrl": target_url}).to_string();
            return self
                .register_webhook(line, validate::parse_webhook(body.as_bytes(), true).map_err(anyhow::Error::msg)?);
        };
        if known.target_url == target_url {
            return Ok(known);
        }
        self.lock_state().redirect_webhook(&known, target_url)
    }

    pub(super) fn start_delivery_tasks(&self) {
        self.start_missing_tasks(&mut self.lock_state());
    }

    fn start_missing_tasks(&self, state: &mut FakeState) {
        state
            .webhooks
            .start_missing(|webhook| start_delivery_task(Arc::downgrade(&self.state), self.http.clone(), webhook));
    }

    pub(super) fn resume_deliveries(&self) -> anyhow::Result<()> {
        let mut state = self.lock_state();
        state.webhooks.queue_unposted();
        Self::deliver_waiting(&mut state)
    }

    /// The newest `max_messages` messages, and all else.
    pub(super) fn render_state(&self, max_messages: usize) -> Value {
        let state = self.read_state();
        let messages = &state.messages[state.messages.len().saturating_sub(max_messages)..];
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
            "messages": messages,
            "silent": state.silent,
            "webhooks": state.webhooks.list().collect::<Vec<_>>(),
            "webhook_attempts": state.attempts,
        })
    }
}
