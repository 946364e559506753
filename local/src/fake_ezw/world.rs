//! What the fake remembers, and the rules by which it changes. No HTTP here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use anyhow::Context;
use rand::{Rng, SeedableRng, rngs::StdRng};
use ring::digest;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    hooks::Raised,
    journal::{Entry, Journal},
    records::{Counters, Direction, HookAttempt, PhoneMessage, Webhook, Written, text_kind},
    settings::{Fault, FaultShare, Settings},
    validate::{Recipient, Text, WebhookRequest},
};

/// Webhook deliveries kept for the console and for assertions.
const DELIVERIES_KEPT: usize = 500;
/// The status of a message that will never arrive. whapi.cloud's; `EZWhatsApp` only shows `delivered`.
pub(super) const FAILED: &str = "failed";
/// The status of a message that somebody has seen.
pub(super) const READ: &str = "read";

/// A message that came further on its way.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) message: PhoneMessage,
    /// The line's phone has it just now.
    pub(super) observed: bool,
    /// The customer's phone has it just now.
    pub(super) delivered: bool,
}

/// How a send ended inside the fake.
#[derive(Debug)]
pub(super) enum Sent {
    /// Queued now (`replay: false`) or earlier.
    Queued { id: String, replay: bool, fault: Option<Fault> },
    /// Nothing was queued because a fault struck first.
    Struck(Fault),
    /// The key was used with other bytes.
    Changed,
}

struct UsedKey {
    fingerprint: String,
    message_id: String,
}

pub(super) struct Hook {
    pub(super) webhook: Webhook,
    pub(super) queue: UnboundedSender<Raised>,
}

pub(super) struct World {
    pub(super) tokens: BTreeMap<String, String>,
    pub(super) settings: Settings,
    pub(super) messages: Vec<PhoneMessage>,
    pub(super) hooks: Vec<Hook>,
    pub(super) attempts: VecDeque<HookAttempt>,
    /// What was raised, and not delivered yet.
    pub(super) under_way: usize,
    pub(super) counters: Counters,
    next_faults: VecDeque<(u32, Fault)>,
    share_rng: Option<StdRng>,
    keys: HashMap<(String, String), UsedKey>,
    /// Numbers whose phones are switched off.
    pub(super) silent: BTreeSet<String>,
    journal: Option<Journal>,
}

/// Lower-case hex of SHA-256.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        text
    })
}

pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{:016x}", rand::rng().random::<u64>())
}

pub(super) fn default_tokens() -> BTreeMap<String, String> {
    BTreeMap::from([("ezw_line_demo".to_owned(), "line_demo".to_owned())])
}

/// The fake's own naming: stable per line and contact, and says nothing about either.
fn conversation_of(line: &str, contact: &str) -> String {
    format!("conv_{}", &fingerprint(format!("{line}\n{contact}").as_bytes())[..16])
}

impl World {
    /// A world with what the journal remembers. The returned webhooks have no queue yet.
    pub(super) fn new(journal: Option<(Journal, Vec<Entry>)>) -> (Self, Vec<Webhook>) {
        let mut world = Self {
            tokens: default_tokens(),
            settings: Settings::default(),
            messages: Vec::new(),
            hooks: Vec::new(),
            attempts: VecDeque::new(),
            under_way: 0,
            counters: Counters::default(),
            next_faults: VecDeque::new(),
            share_rng: None,
            keys: HashMap::new(),
            silent: BTreeSet::new(),
            journal: None,
        };
        let mut webhooks = Vec::new();
        if let Some((journal, entries)) = journal {
            for entry in entries {
                world.replay(entry, &mut webhooks);
            }
            world.journal = Some(journal);
        }
        (world, webhooks)
    }

    fn replay(&mut self, entry: Entry, webhooks: &mut Vec<Webhook>) {
        match entry {
            Entry::Message { message, fingerprint } => self.insert(*message, fingerprint),
            Entry::Observed { id, at } => {
                if let Some(message) = self.message_mut(&id) {
                    message.observed_at = Some(at);
                }
            }
            Entry::Delivered { id, at } => {
                if let Some(message) = self.message_mut(&id) {
                    message.observed_at = message.observed_at.or(Some(at));
                    message.delivered_at = Some(at);
                }
            }
            Entry::Silent { contact, silent } => self.put_silent(contact, silent),
            Entry::Status { id, status } => {
                if let Some(message) = self.message_mut(&id) {
                    message.status = Some(status);
                }
            }
            Entry::Settings(settings) => self.put_settings(*settings),
            // The same id again: it was directed elsewhere.
            Entry::Webhook(webhook) => match webhooks.iter_mut().find(|known| known.id == webhook.id) {
                Some(known) => *known = webhook,
                None => webhooks.push(webhook),
            },
        }
    }

    pub(super) fn record(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.append(entry))
    }

    pub(super) fn wipe(&mut self) -> anyhow::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.wipe()?;
        }
        let tokens = std::mem::take(&mut self.tokens);
        let journal = self.journal.take();
        *self = Self { tokens, journal, ..Self::new(None).0 };
        Ok(())
    }

    /// Unix milliseconds on the fake's clock.
    pub(super) fn now(&self) -> i64 {
        crate::clock::system_now_ms().saturating_add(self.settings.clock_offset_ms)
    }

    pub(super) fn set_settings(&mut self, settings: Settings) -> anyhow::Result<()> {
        if settings != self.settings {
            self.record(&Entry::Settings(Box::new(settings.clone())))?;
            self.put_settings(settings);
        }
        Ok(())
    }

    fn put_settings(&mut self, settings: Settings) {
        if settings.share != self.settings.share {
            self.share_rng = settings.share.map(|share| StdRng::seed_from_u64(share.seed));
        }
        self.settings = settings;
    }

    pub(super) fn plan_faults(&mut self, count: u32, fault: Fault) {
        self.next_faults.push_back((count, fault));
    }

    pub(super) fn planned_faults(&self) -> Vec<(u32, Fault)> {
        self.next_faults.iter().copied().collect()
    }

    pub(super) fn forget_planned_faults(&mut self) {
        self.next_faults.clear();
    }

    /// Planned faults come first, the share after them.
    fn draw_fault(&mut self) -> Option<Fault> {
        if let Some((left, fault)) = self.next_faults.front_mut() {
            let fault = *fault;
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.next_faults.pop_front();
            }
            return Some(fault);
        }
        let FaultShare { probability, fault, .. } = self.settings.share?;
        let rng = self.share_rng.as_mut()?;
        (rng.random::<f64>() < probability).then_some(fault)
    }

    /// Decides a well-formed send. Everything that makes a key unique happens here, under one lock.
    pub(super) fn send(&mut self, line: &str, key: &str, bytes: &[u8], text: Text) -> anyhow::Result<Sent> {
        let print = fingerprint(bytes);
        let used = self.keys.get(&(line.to_owned(), key.to_owned()));
        if used.is_some_and(|used| used.fingerprint != print) {
            self.counters.changed += 1;
            return Ok(Sent::Changed);
        }
        let known = used.map(|used| used.message_id.clone());
        let fault = self.draw_fault();
        if let Some(fault) = fault {
            *self.counters.faults.entry(fault.name().to_owned()).or_default() += 1;
            match fault {
                Fault::DropBeforeAccept | Fault::TooManyRequests { .. } | Fault::ServerErrorBeforeAccept => {
                    return Ok(Sent::Struck(fault));
                }
                Fault::TimeoutAfterAccept { .. } | Fault::DropAfterAccept | Fault::ServerErrorAfterAccept => {}
            }
        }
        if let Some(id) = known {
            self.counters.replays += 1;
            return Ok(Sent::Queued { id, replay: true, fault });
        }
        let id = self.queue(line, key, print, text, fault)?;
        Ok(Sent::Queued { id, replay: false, fault })
    }

    fn queue(
        &mut self,
        line: &str,
        key: &str,
        print: String,
        text: Text,
        fault: Option<Fault>,
    ) -> anyhow::Result<String> {
        let id = new_id("queued");
        let (contact, conversation_id) = match text.recipient {
            Recipient::Phone(phone) => {
                let conversation = conversation_of(line, &phone);
                (phone, conversation)
            }
            Recipient::Conversation(conversation) => {
                let known = self.messages.iter().find(|message| message.conversation_id == conversation);
                (known.map_or_else(|| conversation.clone(), |message| message.contact.clone()), conversation)
            }
        };
        let message = PhoneMessage {
            provider_id: if self.settings.own_provider_ids { new_id("wamid") } else { id.clone() },
            id: id.clone(),
            line: line.to_owned(),
            contact,
            conversation_id,
            direction: Direction::ToCustomer,
            kind: text_kind(),
            group: None,
            body: text.body,
            button: text.button,
            key: Some(key.to_owned()),
            queued_at: self.now(),
            observed_at: None,
            delivered_at: None,
            status: None,
            fault: fault.map(|fault| fault.name().to_owned()),
        };
        self.add(message, Some(print))?;
        self.counters.queued += 1;
        let health = self.settings.health_of(line);
        if health != super::HealthPreset::Good {
            self.counters.queued_while_not_good += 1;
        }
        Ok(id)
    }

    /// The customer writes. Whoever writes has a phone that is on.
    pub(super) fn write(&mut self, written: Written, line: &str) -> anyhow::Result<PhoneMessage> {
        self.set_silent(&written.from, false)?;
        let Written { from, text, kind, group } = written;
        let (id, now) = (new_id("inbound"), self.now());
        let message = PhoneMessage {
            provider_id: id.clone(),
            id,
            line: line.to_owned(),
            conversation_id: conversation_of(line, group.as_deref().unwrap_or(&from)),
            contact: from,
            direction: Direction::FromCustomer,
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
        self.add(message.clone(), None)?;
        Ok(message)
    }

    /// Somebody of the team writes to a customer, in `EZWhatsApp` or on the line's own phone.
    pub(super) fn answer(&mut self, contact: &str, body: &str, line: &str) -> anyhow::Result<String> {
        let id = new_id("team");
        let message = PhoneMessage {
            provider_id: id.clone(),
            id: id.clone(),
            line: line.to_owned(),
            contact: contact.to_owned(),
            conversation_id: conversation_of(line, contact),
            direction: Direction::ToCustomer,
            kind: text_kind(),
            group: None,
            body: body.to_owned(),
            button: None,
            key: None,
            queued_at: self.now(),
            observed_at: None,
            delivered_at: None,
            status: None,
            fault: None,
        };
        self.add(message, None)?;
        Ok(id)
    }

    fn put_silent(&mut self, contact: String, silent: bool) {
        if silent {
            self.silent.insert(contact);
        } else {
            self.silent.remove(&contact);
        }
    }

    /// A phone is switched off or on.
    pub(super) fn set_silent(&mut self, contact: &str, silent: bool) -> anyhow::Result<()> {
        if self.silent.contains(contact) != silent {
            self.record(&Entry::Silent { contact: contact.to_owned(), silent })?;
            self.put_silent(contact.to_owned(), silent);
        }
        Ok(())
    }

    /// Ids of the messages to a customer that arrived and that nobody has read.
    pub(super) fn unread(&self, contact: &str) -> Vec<String> {
        let is_unread = |message: &&PhoneMessage| {
            message.contact == contact
                && message.direction == Direction::ToCustomer
                && message.delivered_at.is_some()
                && !matches!(message.status.as_deref(), Some(READ | FAILED))
        };
        self.messages.iter().filter(is_unread).map(|message| message.id.clone()).collect()
    }

    /// Journal first: what isn't on disk was never accepted.
    fn add(&mut self, message: PhoneMessage, fingerprint: Option<String>) -> anyhow::Result<()> {
        let entry = Entry::Message { message: Box::new(message), fingerprint };
        self.record(&entry)?;
        if let Entry::Message { message, fingerprint } = entry {
            self.insert(*message, fingerprint);
        }
        Ok(())
    }

    fn insert(&mut self, message: PhoneMessage, fingerprint: Option<String>) {
        if let (Some(key), Some(fingerprint)) = (&message.key, fingerprint) {
            let used = UsedKey { fingerprint, message_id: message.id.clone() };
            self.keys.insert((message.line.clone(), key.clone()), used);
        }
        self.messages.push(message);
    }

    fn message_mut(&mut self, id: &str) -> Option<&mut PhoneMessage> {
        self.messages.iter_mut().rev().find(|message| message.id == id)
    }

    pub(super) fn message(&self, id: &str) -> anyhow::Result<PhoneMessage> {
        let known = self.messages.iter().rev().find(|message| message.id == id);
        known.cloned().context("no message has this id")
    }

    /// Lets everything that waits come as far as it can now: to the line's phone unless the line is down, and to the customer's
    /// unless that is silent. What has failed goes nowhere. Returns what moved, oldest first.
    pub(super) fn deliver_waiting(&mut self) -> anyhow::Result<Vec<Arrival>> {
        let now = self.now();
        let (settings, silent) = (&self.settings, &self.silent);
        let can_move = |message: &&PhoneMessage| {
            message.delivered_at.is_none()
                && message.status.as_deref() != Some(FAILED)
                && settings.health_of(&message.line).reaches_the_phone()
                && (message.observed_at.is_none() || !silent.contains(&message.contact))
        };
        let waiting: Vec<(String, bool)> = self
            .messages
            .iter()
            .filter(can_move)
            .map(|message| (message.id.clone(), !silent.contains(&message.contact)))
            .collect();
        let mut arrived = Vec::with_capacity(waiting.len());
        for (id, delivered) in waiting {
            self.record(&if delivered {
                Entry::Delivered { id: id.clone(), at: now }
            } else {
                Entry::Observed { id: id.clone(), at: now }
            })?;
            if let Some(message) = self.message_mut(&id) {
                let observed = message.observed_at.is_none();
                message.observed_at = message.observed_at.or(Some(now));
                message.delivered_at = delivered.then_some(now);
                arrived.push(Arrival { message: message.clone(), observed, delivered });
            }
        }
        Ok(arrived)
    }

    pub(super) fn set_status(&mut self, id: &str, status: &str) -> anyhow::Result<PhoneMessage> {
        self.message_mut(id).context("no message has this id")?;
        self.record(&Entry::Status { id: id.to_owned(), status: status.to_owned() })?;
        let message = self.message_mut(id).context("no message has this id")?;
        message.status = Some(status.to_owned());
        Ok(message.clone())
    }

    pub(super) fn new_webhook(&mut self, line: &str, request: WebhookRequest) -> anyhow::Result<Webhook> {
        let webhook = Webhook {
            id: new_id("webhook"),
            line_id: line.to_owned(),
            target_url: request.target_url,
            events: request.events,
            payload_format: "whapi".to_owned(),
            enabled: request.enabled,
            persistent: request.persistent,
        };
        self.record(&Entry::Webhook(webhook.clone()))?;
        Ok(webhook)
    }

    /// Sends a webhook's deliveries elsewhere, as an operator would in `EZWhatsApp`'s workspace.
    pub(super) fn redirect(&mut self, webhook: &Webhook, target_url: &str) -> anyhow::Result<Webhook> {
        let webhook = Webhook { target_url: target_url.to_owned(), ..webhook.clone() };
        self.record(&Entry::Webhook(webhook.clone()))?;
        Ok(webhook)
    }

    pub(super) fn note_attempt(&mut self, attempt: HookAttempt) {
        if self.attempts.len() == DELIVERIES_KEPT {
            self.attempts.pop_front();
        }
        self.attempts.push_back(attempt);
    }

    /// Messages to customers by idempotency key, whatever the line.
    pub(super) fn per_key(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for key in self.messages.iter().filter_map(|message| message.key.as_ref()) {
            *counts.entry(key.clone()).or_default() += 1;
        }
        counts
    }
}
