//! The state of the fake and the rules of its changes. No HTTP here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::json_lines::JsonLines;
use anyhow::Context;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tellonce_core::hash::sha256_hex;

use super::{
    journal::JournalEntry,
    records::{
        FakeCounters, InboundPhoneMessage, PhoneMessage, PhoneMessageDirection, RegisteredWebhook, WebhookAttempt,
        new_id, text_kind,
    },
    settings::{FakeSettings, FaultShare, SendFault},
    validate::{TextRecipient, TextRequest, WebhookRequest},
    webhook_events::{self, WebhookEvent},
    webhook_queues::WebhookQueues,
};

/// Webhook attempts kept for the console and for assertions.
const MAX_ATTEMPTS_STORED: usize = 500;
/// The status of a message that will never arrive. It is whapi.cloud's: EZWhatsApp documents only
/// `delivered`.
pub(super) const FAILED: &str = "failed";
/// The status of a message that the customer has read.
pub(super) const READ: &str = "read";

/// The decision on one send.
#[derive(Debug)]
pub(super) enum SendDecision {
    /// Queued now, or with an earlier request (`repeated: true`).
    Queued { id: String, repeated: bool, fault: Option<SendFault> },
    /// A fault struck before the message was queued.
    NotQueued(SendFault),
    /// The key was used with another body.
    KeyConflict,
}

struct UsedKey {
    fingerprint: String,
    message_id: String,
}

pub(super) struct FakeState {
    pub(super) tokens: BTreeMap<String, String>,
    pub(super) settings: FakeSettings,
    pub(super) messages: Vec<PhoneMessage>,
    pub(super) webhooks: WebhookQueues,
    pub(super) attempts: VecDeque<WebhookAttempt>,
    pub(super) counters: FakeCounters,
    /// Goes up with every change, and with every access that may change something.
    pub(super) change_count: u64,
    planned_faults: VecDeque<(u32, SendFault)>,
    share_rng: Option<StdRng>,
    keys: HashMap<(String, String), UsedKey>,
    /// Keys of more than one message on a line. Must stay empty.
    repeated_keys: BTreeSet<String>,
    /// Numbers whose phones are switched off.
    pub(super) silent: BTreeSet<String>,
    journal: Option<JsonLines>,
}

pub(super) fn default_tokens() -> BTreeMap<String, String> {
    BTreeMap::from([("ezw_line_demo".to_owned(), "line_demo".to_owned())])
}

/// An invented id, stable per line and contact. It contains no data of either.
fn derive_conversation_id(line: &str, contact: &str) -> String {
    format!("conv_{}", sha256_hex(format!("{line}\n{contact}").as_bytes(), 8))
}

impl FakeState {
    /// The state that the journal describes. Its webhooks have no delivery task yet.
    pub(super) fn new(journal: Option<(JsonLines, Vec<JournalEntry>)>) -> Self {
        let mut state = Self {
            tokens: default_tokens(),
            settings: FakeSettings::default(),
            messages: Vec::new(),
            webhooks: WebhookQueues::default(),
            attempts: VecDeque::new(),
            counters: FakeCounters::default(),
            change_count: 0,
            planned_faults: VecDeque::new(),
            share_rng: None,
            keys: HashMap::new(),
            repeated_keys: BTreeSet::new(),
            silent: BTreeSet::new(),
            journal: None,
        };
        if let Some((journal, entries)) = journal {
            for entry in entries {
                state.apply_entry(entry);
            }
            state.journal = Some(journal);
        }
        state
    }

    fn apply_entry(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Message { message, fingerprint } => self.insert_message(*message, fingerprint),
            JournalEntry::Observed { id, at } => {
                if let Some(message) = self.message_mut(&id) {
                    message.observed_at = Some(at);
                }
            }
            JournalEntry::Delivered { id, at } => {
                if let Some(message) = self.message_mut(&id) {
                    message.observed_at = message.observed_at.or(Some(at));
                    message.delivered_at = Some(at);
                }
            }
            JournalEntry::Silent { contact, silent } => self.apply_silent(contact, silent),
            JournalEntry::Status { id, status } => {
                if let Some(message) = self.message_mut(&id) {
                    message.status = Some(status);
                }
            }
            JournalEntry::Settings(settings) => self.apply_settings(*settings),
            // The same id again means that the webhook was redirected.
            JournalEntry::Webhook(webhook) => self.webhooks.put(webhook),
            JournalEntry::WebhookRemoved { id } => self.webhooks.remove(&id),
            JournalEntry::Raised(event) => self.webhooks.raise(event),
            JournalEntry::Posted { ids } => self.webhooks.remove_posted(&ids),
        }
    }

    pub(super) fn remove_webhook(&mut self, id: &str) -> anyhow::Result<()> {
        self.commit(vec![JournalEntry::WebhookRemoved { id: id.to_owned() }])
    }

    /// Makes a change: writes all of it to the journal, and then applies it. A change that is not
    /// on disk has no effect.
    pub(super) fn commit(&mut self, entries: Vec<JournalEntry>) -> anyhow::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.append(&entries)?;
        }
        self.change_count += 1;
        for entry in entries {
            self.apply_entry(entry);
        }
        Ok(())
    }

    pub(super) fn wipe(&mut self) -> anyhow::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.clear()?;
        }
        let tokens = std::mem::take(&mut self.tokens);
        let journal = self.journal.take();
        let change_count = self.change_count + 1;
        *self = Self { tokens, change_count, journal, ..Self::new(None) };
        Ok(())
    }

    /// Unix milliseconds on the fake's clock.
    pub(super) fn now_ms(&self) -> i64 {
        crate::system_now_ms().saturating_add(self.settings.clock_offset_ms)
    }

    pub(super) fn set_settings(&mut self, settings: FakeSettings) -> anyhow::Result<()> {
        if settings != self.settings {
            self.commit(vec![JournalEntry::Settings(Box::new(settings))])?;
        }
        Ok(())
    }

    fn apply_settings(&mut self, settings: FakeSettings) {
        if settings.fault_share != self.settings.fault_share {
            self.share_rng = settings.fault_share.map(|share| StdRng::seed_from_u64(share.seed));
        }
        self.settings = settings;
    }

    pub(super) fn plan_faults(&mut self, count: u32, fault: SendFault) {
        self.planned_faults.push_back((count, fault));
    }

    pub(super) fn planned_faults(&self) -> Vec<(u32, SendFault)> {
        self.planned_faults.iter().copied().collect()
    }

    pub(super) fn forget_planned_faults(&mut self) {
        self.planned_faults.clear();
    }

    /// Planned faults come first, then the share.
    fn draw_fault(&mut self) -> Option<SendFault> {
        if let Some((left, fault)) = self.planned_faults.front_mut() {
            let fault = *fault;
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.planned_faults.pop_front();
            }
            return Some(fault);
        }
        let FaultShare { probability, fault, .. } = self.settings.fault_share?;
        let rng = self.share_rng.as_mut()?;
        (rng.random::<f64>() < probability).then_some(fault)
    }

    /// Decides a well-formed send. The whole check for a repeated key is here, under one lock.
    pub(super) fn decide_send(
        &mut self,
        line: &str,
        key: &str,
        bytes: &[u8],
        text: TextRequest,
    ) -> anyhow::Result<SendDecision> {
        let body_hash = sha256_hex(bytes, 32);
        let used = self.keys.get(&(line.to_owned(), key.to_owned()));
        if used.is_some_and(|used| used.fingerprint != body_hash) {
            self.counters.key_conflicts += 1;
            return Ok(SendDecision::KeyConflict);
        }
        let known = used.map(|used| used.message_id.clone());
        let fault = self.draw_fault();
        if let Some(fault) = fault {
            *self.counters.faults.entry(fault.name().to_owned()).or_default() += 1;
            match fault {
                SendFault::DropBeforeAccept
                | SendFault::TooManyRequests { .. }
                | SendFault::RefusedBeforeAccept
                | SendFault::ServerErrorBeforeAccept
                | SendFault::AcceptLate { .. } => {
                    return Ok(SendDecision::NotQueued(fault));
                }
                SendFault::TimeoutAfterAccept { .. }
                | SendFault::DropAfterAccept
                | SendFault::ServerErrorAfterAccept => {}
            }
        }
        if let Some(id) = known {
            self.counters.repeats += 1;
            return Ok(SendDecision::Queued { id, repeated: true, fault });
        }
        let id = self.queue_message(line, key, body_hash, text, fault)?;
        Ok(SendDecision::Queued { id, repeated: false, fault })
    }

    fn queue_message(
        &mut self,
        line: &str,
        key: &str,
        body_hash: String,
        text: TextRequest,
        fault: Option<SendFault>,
    ) -> anyhow::Result<String> {
        let id = new_id("queued");
        let (contact, conversation_id) = match text.recipient {
            TextRecipient::Phone(phone) => {
                let conversation = derive_conversation_id(line, &phone);
                (phone, conversation)
            }
            TextRecipient::Conversation(conversation) => {
                let known = self.messages.iter().find(|message| message.conversation_id == conversation);
                (known.map_or_else(|| conversation.clone(), |message| message.contact.clone()), conversation)
            }
        };
        let message = PhoneMessage {
            provider_id: if self.settings.separate_provider_ids { new_id("wamid") } else { id.clone() },
            id: id.clone(),
            line: line.to_owned(),
            contact,
            conversation_id,
            direction: PhoneMessageDirection::ToCustomer,
            kind: text_kind(),
            group: None,
            body: text.body,
            button: text.button,
            key: Some(key.to_owned()),
            queued_at: self.now_ms(),
            observed_at: None,
            delivered_at: None,
            status: None,
            fault: fault.map(|fault| fault.name().to_owned()),
        };
        self.commit(vec![JournalEntry::Message { message: Box::new(message), fingerprint: Some(body_hash) }])?;
        self.counters.queued += 1;
        let health = self.settings.health_of_line(line);
        if health != super::HealthPreset::Good {
            self.counters.queued_while_not_good += 1;
        }
        Ok(id)
    }

    /// The customer writes a message. This switches the customer's phone on.
    pub(super) fn write_from_customer(
        &mut self,
        written: InboundPhoneMessage,
        line: &str,
    ) -> anyhow::Result<PhoneMessage> {
        let mut entries = self.plan_silent(&written.from, false);
        let InboundPhoneMessage { from, text, kind, group } = written;
        let (id, now) = (new_id("inbound"), self.now_ms());
        let message = PhoneMessage {
            provider_id: id.clone(),
            id,
            line: line.to_owned(),
            conversation_id: derive_conversation_id(line, group.as_deref().unwrap_or(&from)),
            contact: from,
            direction: PhoneMessageDirection::FromCustomer,
            kind,
            group,
            body: text,
            button: None,
            key: None,
            queued_at: now,
            observed_at: Some(now),
            delivered_at: Some(now),
            status: None,
            fault: None,
        };
        entries.push(JournalEntry::Message { message: Box::new(message.clone()), fingerprint: None });
        let events = webhook_events::build_message_events(&message, &self.settings.webhooks);
        entries.extend(self.plan_events(line, &events));
        self.commit(entries)?;
        Ok(message)
    }

    /// The team writes to a customer, in EZWhatsApp or on the line's own phone.
    pub(super) fn write_from_team(&mut self, contact: &str, body: &str, line: &str) -> anyhow::Result<String> {
        let id = new_id("team");
        let message = PhoneMessage {
            provider_id: id.clone(),
            id: id.clone(),
            line: line.to_owned(),
            contact: contact.to_owned(),
            conversation_id: derive_conversation_id(line, contact),
            direction: PhoneMessageDirection::ToCustomer,
            kind: text_kind(),
            group: None,
            body: body.to_owned(),
            button: None,
            key: None,
            queued_at: self.now_ms(),
            observed_at: None,
            delivered_at: None,
            status: None,
            fault: None,
        };
        self.commit(vec![JournalEntry::Message { message: Box::new(message), fingerprint: None }])?;
        Ok(id)
    }

    fn apply_silent(&mut self, contact: String, silent: bool) {
        if silent {
            self.silent.insert(contact);
        } else {
            self.silent.remove(&contact);
        }
    }

    /// Switches a customer's phone off or on.
    pub(super) fn set_silent(&mut self, contact: &str, silent: bool) -> anyhow::Result<()> {
        self.commit(self.plan_silent(contact, silent))
    }

    fn plan_silent(&self, contact: &str, silent: bool) -> Vec<JournalEntry> {
        let changes = self.silent.contains(contact) != silent;
        changes.then(|| JournalEntry::Silent { contact: contact.to_owned(), silent }).into_iter().collect()
    }

    /// Ids of the messages that reached a customer and are unread.
    pub(super) fn unread_ids(&self, contact: &str) -> Vec<String> {
        let is_unread = |message: &&PhoneMessage| {
            message.contact == contact
                && message.direction == PhoneMessageDirection::ToCustomer
                && message.delivered_at.is_some()
                && !matches!(message.status.as_deref(), Some(READ | FAILED))
        };
        self.messages.iter().filter(is_unread).map(|message| message.id.clone()).collect()
    }

    fn insert_message(&mut self, message: PhoneMessage, fingerprint: Option<String>) {
        if let (Some(key), Some(fingerprint)) = (&message.key, fingerprint) {
            let used = UsedKey { fingerprint, message_id: message.id.clone() };
            if self.keys.insert((message.line.clone(), key.clone()), used).is_some() {
                self.repeated_keys.insert(key.clone());
            }
        }
        self.messages.push(message);
    }

    fn message_mut(&mut self, id: &str) -> Option<&mut PhoneMessage> {
        self.messages.iter_mut().rev().find(|message| message.id == id)
    }

    pub(super) fn find_message(&self, id: &str) -> anyhow::Result<PhoneMessage> {
        let known = self.messages.iter().rev().find(|message| message.id == id);
        known.cloned().context("no message has this id")
    }

    /// Each message that can move on, oldest first, and whether it reaches the customer: to the
    /// line's phone unless the line is down, and to the customer's phone unless it is off. A failed
    /// message stays.
    pub(super) fn waiting_messages(&self) -> Vec<(String, bool)> {
        let (settings, silent) = (&self.settings, &self.silent);
        let can_move = |message: &&PhoneMessage| {
            message.delivered_at.is_none()
                && message.status.as_deref() != Some(FAILED)
                && settings.health_of_line(&message.line).delivers_to_phone()
                && (message.observed_at.is_none() || !silent.contains(&message.contact))
        };
        let waiting = self.messages.iter().filter(can_move);
        waiting.map(|message| (message.id.clone(), !silent.contains(&message.contact))).collect()
    }

    /// A waiting message moves on: the change and the events that follow.
    pub(super) fn plan_arrival(&self, id: &str, reaches_customer: bool) -> anyhow::Result<Vec<JournalEntry>> {
        let (now, id) = (self.now_ms(), id.to_owned());
        let mut message = self.find_message(&id)?;
        let is_new = message.observed_at.is_none();
        message.observed_at = message.observed_at.or(Some(now));
        let mut entries = vec![if reaches_customer {
            JournalEntry::Delivered { id, at: now }
        } else {
            JournalEntry::Observed { id, at: now }
        }];
        if is_new {
            let events = webhook_events::build_message_events(&message, &self.settings.webhooks);
            entries.extend(self.plan_events(&message.line, &events));
        }
        if reaches_customer {
            for status in webhook_events::reported_statuses(&self.settings.webhooks) {
                entries.extend(self.plan_status(&message, status));
            }
        }
        Ok(entries)
    }

    /// A message gets a status: the change and the events that follow.
    pub(super) fn plan_status(&self, message: &PhoneMessage, status: &str) -> Vec<JournalEntry> {
        let mut entries = vec![JournalEntry::Status { id: message.id.clone(), status: status.to_owned() }];
        let event = webhook_events::build_status_event(message, status, self.now_ms(), &self.settings.webhooks);
        entries.extend(self.plan_events(&message.line, &[event]));
        entries
    }

    fn plan_events(&self, line: &str, events: &[WebhookEvent]) -> impl Iterator<Item = JournalEntry> {
        self.webhooks.plan_events(line, events).into_iter().map(JournalEntry::Raised)
    }

    /// Records that events were posted or given up. After a reset it records nothing.
    pub(super) fn record_posted(&mut self, ids: Vec<String>) -> anyhow::Result<()> {
        if self.webhooks.has_unposted(&ids) { self.commit(vec![JournalEntry::Posted { ids }]) } else { Ok(()) }
    }

    pub(super) fn new_webhook(&mut self, line: &str, request: WebhookRequest) -> anyhow::Result<RegisteredWebhook> {
        let webhook = RegisteredWebhook {
            id: new_id("webhook"),
            line_id: line.to_owned(),
            target_url: request.target_url,
            events: request.events,
            payload_format: "whapi".to_owned(),
            enabled: request.enabled,
            persistent: request.persistent,
        };
        self.commit(vec![JournalEntry::Webhook(webhook.clone())])?;
        Ok(webhook)
    }

    /// Redirects a webhook to another address, as an operator would in EZWhatsApp's workspace.
    pub(super) fn redirect_webhook(
        &mut self,
        webhook: &RegisteredWebhook,
        target_url: &str,
    ) -> anyhow::Result<RegisteredWebhook> {
        let webhook = RegisteredWebhook { target_url: target_url.to_owned(), ..webhook.clone() };
        self.commit(vec![JournalEntry::Webhook(webhook.clone())])?;
        Ok(webhook)
    }

    pub(super) fn record_attempt(&mut self, attempt: WebhookAttempt) {
        self.change_count += 1;
        if self.attempts.len() == MAX_ATTEMPTS_STORED {
            self.attempts.pop_front();
        }
        self.attempts.push_back(attempt);
    }

    pub(super) fn repeated_keys(&self) -> &BTreeSet<String> {
        &self.repeated_keys
    }

    /// How many messages to customers each idempotency key has, over all lines.
    pub(super) fn messages_per_key(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for key in self.messages.iter().filter_map(|message| message.key.as_ref()) {
            *counts.entry(key.clone()).or_default() += 1;
        }
        counts
    }
}
