//! A conversation: its last messages, since when the customer waits, and when the team was alerted.
//!
//! The provider holds the full conversation. This module keeps what it takes to alert the team
//! once, with the messages that led to the alert. Messages arrive in any order, so all times are
//! those at which the messages were written.
//!
//! Main types: [`Conversation`], [`MessageRef`], [`OverdueAlert`].

mod merged_conversation;
pub(crate) mod received_message;
pub(crate) mod sent_history;

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    client_config::{ClientConfig, EscalationRule, EscalationTrigger, TextDetail, TimeSpan},
    contact::{Lid, Phone},
    ledger::IdempotencyKey,
    provider::ContentKind,
};

use crate::{
    line_event::{LineMessage, MessageDirection},
    notification::{DELETED_KIND, QuotedMessage},
    record_store::{ItemKey, Persisted, days_after},
};

/// How many last messages are kept for notifications.
const MAX_LAST_MESSAGES: usize = 6;
/// The longest text that is kept, in characters.
const MAX_TEXT_CHARS: usize = 500;
/// How long it takes to know who wrote an outbound message: see [`crate::message_record`].
const AUTHOR_CHECK_TIME: SignedDuration = SignedDuration::from_secs(150);
/// How long after an alert for a waiting customer its notifications are checked.
const ALERT_RETRY_DELAY: SignedDuration = SignedDuration::from_mins(2);
/// The queue of conversations in which a customer waits.
pub const CONVERSATION_QUEUE: &str = "queue:conversations";

/// One conversation of a line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The line, by its name in `client.toml`.
    pub line: String,
    /// The provider's id.
    pub id: Option<String>,
    /// The customer's number, E.164.
    pub phone: Option<String>,
    /// The private id that `WhatsApp` has for the customer: `235085806700321@lid`.
    #[serde(default)]
    pub lid: Option<String>,
    /// The customer's name, from the ledger.
    pub name: Option<String>,
    /// The customer's first message that tellonce received.
    pub first_message_id: Option<String>,
    /// The customer's message that was received last, with the delivery that reported it.
    #[serde(default)]
    pub last_received: Option<MessageRef>,
    /// The last messages, oldest first.
    pub last_messages: Vec<ConversationMessage>,
    /// Edits and deletions of messages, the newest last. They may arrive before their message.
    #[serde(default)]
    pub changes: Vec<MessageChange>,
    /// The message that began the customer's present wait.
    pub waiting_since: Option<MessageRef>,
    /// The time of the team's last reply.
    pub team_replied_at: Option<Timestamp>,
    /// Until then the author of the line's last message is unknown.
    pub author_unknown_until: Option<Timestamp>,
    /// The last alert of each escalation. The empty name holds the last acknowledgement.
    pub alerts: BTreeMap<String, MessageRef>,
    /// For each `unanswered` escalation, the message whose notifications were created.
    pub alerted_message_ids: BTreeMap<String, String>,
    /// When to check whether the customer still waits.
    pub check_at: Option<Timestamp>,
    /// The time of the newest message.
    pub last_activity_at: Timestamp,
    /// How long the row is kept, in days.
    pub retention_days: u16,
}

/// A message, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRef {
    /// The provider's id.
    pub message_id: String,
    /// When it was written, or when the alert was due.
    pub at: Timestamp,
    /// The delivery that reported it first. Empty if a status or the clock raised the alert.
    pub delivery_id: String,
    /// Whether that delivery holds no other message.
    pub is_sole_message: bool,
    /// The subject of the row in which it raised its alert, if the conversation moved since. Its
    /// notifications are found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_in: Option<String>,
}

impl MessageRef {
    /// Refers to a message without a delivery.
    pub fn new(message_id: &str, at: Timestamp) -> Self {
        let message_id = message_id.to_owned();
        Self { message_id, at, delivery_id: String::new(), is_sole_message: false, raised_in: None }
    }
}

/// An escalation that is due because no one answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverdueAlert {
    /// The escalation, by its name in `client.toml`.
    pub escalation: String,
    /// The message that began the wait, and when the alert was due.
    pub trigger: MessageRef,
}

/// An escalation that the present wait will raise.
struct PendingAlert {
    escalation: String,
    cooldown: TimeSpan,
    at: Timestamp,
}

/// An edit or a deletion of a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageChange {
    /// The provider's id of the message that changed.
    pub message_id: String,
    /// When it changed.
    pub at: Timestamp,
    /// The first 500 characters of the new text. None after a deletion.
    pub text: Option<String>,
    /// Whether the message was deleted.
    pub is_deletion: bool,
}

/// One of the last messages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationMessage {
    /// The provider's id.
    pub id: String,
    /// Who wrote.
    pub direction: MessageDirection,
    /// When it was written.
    pub sent_at: Timestamp,
    /// `text`, `image`, …
    pub kind: String,
    /// The first 500 characters of the text.
    pub text: Option<String>,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("line", &self.line)
            .field("id", &self.id)
            .field("waiting", &self.waiting_since)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MessageChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageChange")
            .field("message_id", &self.message_id)
            .field("is_deletion", &self.is_deletion)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConversationMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConversationMessage")
            .field("id", &self.id)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

impl Conversation {
    /// A conversation without messages.
    pub fn new(line: &str, id: Option<&str>, phone: Option<&str>, retention_days: u16, now: Timestamp) -> Self {
        Self {
            line: line.to_owned(),
            id: id.map(str::to_owned),
            phone: phone.map(str::to_owned),
            lid: None,
            name: None,
            first_message_id: None,
            last_received: None,
            last_messages: Vec::new(),
            changes: Vec::new(),
            waiting_since: None,
            team_replied_at: None,
            author_unknown_until: None,
            alerts: BTreeMap::new(),
            alerted_message_ids: BTreeMap::new(),
            check_at: None,
            last_activity_at: now,
            retention_days,
        }
    }

    /// The row's key: by the conversation's id, or by the pseudonym of the customer's number or
    /// private id (`contact`) if the line gives no id.
    pub fn item_key(line: &str, id: Option<&str>, contact: Option<&str>) -> Option<ItemKey> {
        // No escaped id begins with a dot.
        let last = id.map(IdempotencyKey::escape_id).or_else(|| Some(format!(".p{}", contact?.rsplit(':').next()?)))?;
        Some(ItemKey::for_state(format!("conversation:{line}:{last}")))
    }

    /// The customer's number.
    pub fn phone(&self) -> Option<Phone> {
        Phone::from_e164(self.phone.as_deref()?).ok()
    }

    /// Adds a message, or what an edit or a deletion changes. A known message changes nothing.
    pub fn add_message(&mut self, message: &LineMessage) {
        self.id = self.id.take().or_else(|| message.conversation_id.clone());
        self.phone = self.phone.take().or_else(|| message.phone.as_ref().map(|phone| phone.expose().to_owned()));
        self.lid = message.lid.as_ref().map(Lid::address).or_else(|| self.lid.take());
        self.last_activity_at = self.last_activity_at.max(message.sent_at);
        match message.content {
            ContentKind::Written | ContentKind::Unknown => self.add_written_message(message),
            ContentKind::Edit => self.add_change(message, false),
            ContentKind::Deletion => self.add_change(message, true),
            ContentKind::Reaction
            | ContentKind::Action
            | ContentKind::Poll
            | ContentKind::Call
            | ContentKind::Notice
            | ContentKind::Empty => {}
        }
    }

    /// Records the delivery of what the customer wrote last. Deliveries come in any order, and
    /// again.
    pub fn note_received(&mut self, received: MessageRef) {
        if self.last_received.as_ref().is_none_or(|last| last.at < received.at) {
            self.last_received = Some(received);
        }
    }

    fn add_written_message(&mut self, message: &LineMessage) {
        if message.direction == MessageDirection::In {
            self.first_message_id.get_or_insert_with(|| message.message_id.clone());
            let unanswered = self.team_replied_at.is_none_or(|answered| answered < message.sent_at);
            let is_earliest = self.waiting_since.as_ref().is_none_or(|waiting| message.sent_at < waiting.at);
            if unanswered && is_earliest && !message.is_old() && !self.is_deleted(&message.message_id) {
                self.waiting_since = Some(MessageRef::new(&message.message_id, message.sent_at));
            }
        }
        if let Some(known) = self.last_messages.iter_mut().find(|known| known.id == message.message_id) {
            // A message that could not be read at first may come again with its text.
            if known.text.is_none() && message.text.is_some() && !known.is_deleted() {
                known.kind.clone_from(&message.kind);
                known.text = message.text.as_deref().map(cut_text);
            }
            return;
        }
        self.insert_message(ConversationMessage {
            id: message.message_id.clone(),
            direction: message.direction,
            sent_at: message.sent_at,
            kind: message.kind.clone(),
            text: message.text.as_deref().map(cut_text),
        });
    }

    fn insert_message(&mut self, mut entry: ConversationMessage) {
        for change in &self.changes {
            if change.message_id == entry.id {
                entry.apply_change(change);
            }
        }
        let position =
            self.last_messages.partition_point(|other| (other.sent_at, &other.id) <= (entry.sent_at, &entry.id));
        self.last_messages.insert(position, entry);
        if self.last_messages.len() > MAX_LAST_MESSAGES {
            self.last_messages.remove(0);
        }
    }

    /// Adds an edit or a deletion, and applies it to its message. Changes count in the order in
    /// which they were made, and nothing follows a deletion.
    fn add_change(&mut self, message: &LineMessage, is_deletion: bool) {
        let Some(target) = &message.target else { return };
        let change = MessageChange {
            message_id: target.clone(),
            at: message.sent_at,
            text: message.text.as_deref().map(cut_text).filter(|_| !is_deletion),
            is_deletion,
        };
        self.insert_change(change);
        if is_deletion && self.waiting_since.as_ref().is_some_and(|waiting| waiting.message_id == *target) {
            self.skip_deleted_wait();
        }
    }

    /// A deleted message waits for no answer. The next one may.
    fn skip_deleted_wait(&mut self) {
        let since = self.waiting_since.take().map(|waiting| waiting.at);
        let still_waits = |known: &&ConversationMessage| known.is_of_customer() && Some(known.sent_at) >= since;
        let next = self.last_messages.iter().find(still_waits);
        self.waiting_since = next.map(|message| MessageRef::new(&message.id, message.sent_at));
    }

    fn insert_change(&mut self, change: MessageChange) {
        if self.changes.contains(&change) {
            return;
        }
        let target = change.message_id.clone();
        let position =
            self.changes.partition_point(|other| (other.is_deletion, other.at) <= (change.is_deletion, change.at));
        self.changes.insert(position, change);
        if self.changes.len() > MAX_LAST_MESSAGES {
            self.changes.remove(0);
        }
        if let Some(entry) = self.last_messages.iter_mut().find(|known| known.id == target) {
            for change in self.changes.iter().filter(|change| change.message_id == target) {
                entry.apply_change(change);
            }
        }
    }

    fn is_deleted(&self, message_id: &str) -> bool {
        self.changes.iter().any(|change| change.is_deletion && change.message_id == message_id)
    }

    /// Notes an outbound message whose author is not known yet.
    pub fn note_possible_reply(&mut self, now: Timestamp) {
        self.author_unknown_until = Some(now + AUTHOR_CHECK_TIME);
    }

    /// Notes a reply of the team, and ends the waits that it answers.
    pub fn note_team_reply(&mut self, at: Timestamp) {
        self.team_replied_at = self.team_replied_at.max(Some(at));
        if let Some(waiting) = self.waiting_since.as_ref().filter(|waiting| waiting.at <= at) {
            // An alert without notifications starts no cooldown.
            let (message, alerted_message_ids) = (&waiting.message_id, &self.alerted_message_ids);
            self.alerts.retain(|name, alert| {
                alert.message_id != *message
                    || !alert.delivery_id.is_empty()
                    || alerted_message_ids.get(name) == Some(message)
            });
            // What the customer wrote after the reply still waits.
            self.waiting_since = self.find_message_after(at);
        }
    }

    /// The customer's first message after this time.
    fn find_message_after(&self, at: Timestamp) -> Option<MessageRef> {
        let still_waits = |known: &&ConversationMessage| known.is_of_customer() && known.sent_at > at;
        let after = self.last_messages.iter().find(still_waits)?;
        Some(MessageRef::new(&after.id, after.sent_at))
    }

    /// Raises an alert for a message, unless another message raised it within the cooldown. Returns
    /// the trigger: the recorded one if the same message was read before.
    pub fn raise_alert(&mut self, escalation: &str, cooldown: TimeSpan, trigger: MessageRef) -> Option<MessageRef> {
        if let Some(last_alert) = self.alerts.get(escalation) {
            if last_alert.message_id == trigger.message_id {
                return Some(last_alert.clone());
            }
            if trigger.at.duration_since(last_alert.at) < cooldown.0 {
                return None;
            }
        }
        self.alerts.insert(escalation.to_owned(), trigger.clone());
        Some(trigger)
    }

    /// The `unanswered` escalations that are due, with those whose notifications are not confirmed.
    /// Sets the time of the next check.
    pub fn raise_overdue_alerts(&mut self, config: &ClientConfig, now: Timestamp) -> Vec<OverdueAlert> {
        let mut due = Vec::new();
        for PendingAlert { escalation, cooldown, at } in self.list_pending_alerts(config) {
            let Some(waiting) = self.waiting_since.as_ref().filter(|_| at <= now) else { continue };
            let trigger = MessageRef::new(&waiting.message_id, at);
            let raised = self.raise_alert(&escalation, cooldown, trigger);
            due.extend(raised.map(|trigger| OverdueAlert { escalation, trigger }));
        }
        self.check_at = if due.is_empty() { self.next_check(config) } else { Some(now + ALERT_RETRY_DELAY) };
        due
    }

    /// Records that the notifications of an `unanswered` alert were created.
    pub fn confirm_alert(&mut self, config: &ClientConfig, escalation: &str, message_id: &str) {
        self.alerted_message_ids.insert(escalation.to_owned(), message_id.to_owned());
        self.check_at = self.next_check(config);
    }

    /// When to check again whether the customer waits; none if no alert is pending.
    pub fn next_check(&self, config: &ClientConfig) -> Option<Timestamp> {
        self.list_pending_alerts(config).into_iter().map(|pending| pending.at).min()
    }

    fn list_pending_alerts(&self, config: &ClientConfig) -> Vec<PendingAlert> {
        let Some(waiting) = &self.waiting_since else { return Vec::new() };
        let pending_alert = |(name, escalation): (&String, &EscalationRule)| {
            let EscalationTrigger::Unanswered(span) = &escalation.when else { return None };
            // One alert for each wait, however long it lasts.
            let is_alerted = self.alerted_message_ids.get(name).is_some_and(|message| *message == waiting.message_id);
            if is_alerted || !escalation.covers_line(&self.line) {
                return None;
            }
            let at = find_opening(config, waiting.at) + span.0;
            let at = self.author_unknown_until.map_or(at, |unsure| at.max(unsure));
            // An earlier alert covers this wait only until its cooldown ends.
            let last_alert = self.alerts.get(name).filter(|last| last.message_id != waiting.message_id);
            let at = last_alert.map_or(at, |last| at.max(last.at + escalation.cooldown.0));
            Some(PendingAlert { escalation: name.clone(), cooldown: escalation.cooldown, at })
        };
        config.escalations.iter().filter_map(pending_alert).collect()
    }

    /// The last messages, with as much text as the target allows.
    pub fn quote_messages(&self, text: TextDetail) -> Vec<QuotedMessage> {
        let quote = |message: &ConversationMessage| QuotedMessage {
            direction: message.direction,
            sent_at: message.sent_at,
            kind: message.kind.clone(),
            text: message.text.as_deref().and_then(|full_text| text.apply_to(full_text)),
        };
        self.last_messages.iter().map(quote).collect()
    }
}

impl ConversationMessage {
    fn apply_change(&mut self, change: &MessageChange) {
        if change.is_deletion {
            DELETED_KIND.clone_into(&mut self.kind);
            self.text = None;
        } else if change.text.is_some() && !self.is_deleted() {
            self.text.clone_from(&change.text);
        }
    }

    fn is_deleted(&self) -> bool {
        self.kind == DELETED_KIND
    }

    /// Whether the customer wrote it, and did not delete it.
    fn is_of_customer(&self) -> bool {
        self.direction == MessageDirection::In && !self.is_deleted()
    }
}

fn cut_text(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

/// The first moment from `at` on within business hours; `at` itself if none are configured.
pub fn find_opening(config: &ClientConfig, at: Timestamp) -> Timestamp {
    let Some(zone) = config.zone_or_default(None) else { return at };
    if config.business_hours.is_empty() || config.business_hours.iter().any(|hours| hours.contains(at, &zone)) {
        return at;
    }
    config.business_hours.iter().filter_map(|hours| find_next_opening(hours, at, &zone)).min().unwrap_or(at)
}

fn find_next_opening(
    hours: &tellonce_core::client_config::BusinessHours,
    at: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let mut date = at.to_zoned(zone.clone()).date();
    for _ in 0..8 {
        let opens = date.to_datetime(hours.from.0).to_zoned(zone.clone()).ok()?.timestamp();
        if opens >= at && hours.contains(opens, zone) {
            return Some(opens);
        }
        date = date.tomorrow().ok()?;
    }
    None
}

impl Persisted for Conversation {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        self.check_at.map(|at| (CONVERSATION_QUEUE.to_owned(), at))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        days_after(self.last_activity_at, self.retention_days)
    }
}

#[cfg(test)]
mod tests;
