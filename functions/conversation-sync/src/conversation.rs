//! A conversation: its last messages, since when the customer waits, and when the team was alerted.
//!
//! `EZWhatsApp` holds the full conversation. This module keeps what it takes to alert the team once,
//! with the messages that led to the alert. Messages arrive in any order, so all times are those at
//! which the messages were written.
//!
//! Main types: [`Conversation`], [`MessageRef`], [`OverdueAlert`].

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    client_config::{ClientConfig, EscalationRule, EscalationTrigger, TextDetail, TimeSpan},
    contact::Phone,
    ledger::IdempotencyKey,
};

use crate::{
    line_event::{LineMessage, MessageDirection},
    notification::QuotedMessage,
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
    /// `EZWhatsApp`'s id.
    pub id: Option<String>,
    /// The customer's number, E.164.
    pub phone: Option<String>,
    /// The customer's name, from the ledger.
    pub name: Option<String>,
    /// The customer's first message that tellonce received.
    pub first_message_id: Option<String>,
    /// The last messages, oldest first.
    pub last_messages: Vec<ConversationMessage>,
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
}

impl MessageRef {
    /// Refers to a message without a delivery.
    pub fn new(message_id: &str, at: Timestamp) -> Self {
        Self { message_id: message_id.to_owned(), at, delivery_id: String::new(), is_sole_message: false }
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
            name: None,
            first_message_id: None,
            last_messages: Vec::new(),
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

    /// The row's key: by the conversation's id, or by the customer's hash (`contact`) if the line gives
    /// no id.
    pub fn item_key(line: &str, id: Option<&str>, contact: Option<&str>) -> Option<ItemKey> {
        // No escaped id begins with a dot.
        let last = id.map(IdempotencyKey::escape_id).or_else(|| Some(format!(".p{}", contact?.rsplit(':').next()?)))?;
        Some(ItemKey::for_state(format!("conversation:{line}:{last}")))
    }

    /// The customer's number.
    pub fn phone(&self) -> Option<Phone> {
        Phone::from_e164(self.phone.as_deref()?).ok()
    }

    /// Adds a message. A known message changes nothing.
    pub fn add_message(&mut self, message: &LineMessage) {
        self.id = self.id.take().or_else(|| message.conversation_id.clone());
        self.phone = self.phone.take().or_else(|| message.phone.as_ref().map(|phone| phone.expose().to_owned()));
        self.last_activity_at = self.last_activity_at.max(message.sent_at);
        if message.direction == MessageDirection::In {
            self.first_message_id.get_or_insert_with(|| message.message_id.clone());
            let unanswered = self.team_replied_at.is_none_or(|answered| answered < message.sent_at);
            if unanswered && self.waiting_since.as_ref().is_none_or(|waiting| message.sent_at < waiting.at) {
                self.waiting_since = Some(MessageRef::new(&message.message_id, message.sent_at));
            }
        }
        if self.last_messages.iter().any(|known| known.id == message.message_id) {
            return;
        }
        let text = message.text.as_ref().map(|text| text.chars().take(MAX_TEXT_CHARS).collect());
        let entry = ConversationMessage {
            id: message.message_id.clone(),
            direction: message.direction,
            sent_at: message.sent_at,
            kind: message.kind.clone(),
            text,
        };
        let position =
            self.last_messages.partition_point(|other| (other.sent_at, &other.id) <= (entry.sent_at, &entry.id));
        self.last_messages.insert(position, entry);
        if self.last_messages.len() > MAX_LAST_MESSAGES {
            self.last_messages.remove(0);
        }
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
            let after =
                self.last_messages.iter().find(|known| known.direction == MessageDirection::In && known.sent_at > at);
            self.waiting_since = after.map(|message| MessageRef::new(&message.id, message.sent_at));
        }
    }

    /// Raises an alert for a message, unless another message raised it within the cooldown. Returns the
    /// trigger: the recorded one if the same message was read before.
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

    /// The `unanswered` escalations that are due, with those whose notifications are not confirmed. Sets
    /// the time of the next check.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT_TOML: &str = r#"
client = "test"
name = "Shop"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
[[business_hours]]
days = ["sun", "mon", "tue", "wed", "thu"]
from = "09:00"
to = "18:00"
[lines.main]
line_id = "line_1"
events = true
[targets.team]
kind = "slack"
[escalations.slow]
when = { unanswered = "15m" }
to = ["team"]
"#;

    fn at_minute(minute: i64) -> Timestamp {
        // A Thursday, 12:00 in Jerusalem.
        "2026-11-19T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn build_message(id: &str, direction: MessageDirection, minute: i64) -> LineMessage {
        LineMessage {
            message_id: id.into(),
            conversation_id: Some("conv_1".into()),
            phone: None,
            direction,
            sent_at: at_minute(minute),
            kind: "text".into(),
            text: Some(format!("text of {id}")),
        }
    }

    fn new_conversation() -> Conversation {
        Conversation::new("main", Some("conv_1"), None, 30, at_minute(0))
    }

    fn test_config() -> ClientConfig {
        ClientConfig::parse(CLIENT_TOML).unwrap()
    }

    fn add_message_and_schedule(conversation: &mut Conversation, message: &LineMessage) {
        conversation.add_message(message);
        conversation.check_at = conversation.next_check(&test_config());
    }

    #[test]
    fn the_team_is_alerted_once_for_a_customer_who_waits_too_long() {
        let (config, mut conversation) = (test_config(), new_conversation());
        add_message_and_schedule(&mut conversation, &build_message("m1", MessageDirection::In, 0));
        add_message_and_schedule(&mut conversation, &build_message("m2", MessageDirection::In, 3));
        assert_eq!(conversation.due_in_queue(), Some((CONVERSATION_QUEUE.to_owned(), at_minute(15))));
        assert!(conversation.raise_overdue_alerts(&config, at_minute(14)).is_empty());
        let due = conversation.raise_overdue_alerts(&config, at_minute(15));
        assert_eq!((due.len(), due[0].trigger.message_id.as_str()), (1, "m1"));
        // If a run dies before it creates the notifications, the next one creates the same.
        assert_eq!(conversation.due_in_queue(), Some((CONVERSATION_QUEUE.to_owned(), at_minute(17))));
        assert_eq!(conversation.raise_overdue_alerts(&config, at_minute(17)), due);
        conversation.confirm_alert(&config, "slow", "m1");
        assert!(
            conversation.raise_overdue_alerts(&config, at_minute(600)).is_empty()
                && conversation.due_in_queue().is_none()
        );
    }

    #[test]
    fn a_wait_that_begins_during_a_cooldown_raises_an_alert_when_the_cooldown_ends() {
        let (config, mut conversation) = (test_config(), new_conversation());
        add_message_and_schedule(&mut conversation, &build_message("m1", MessageDirection::In, 0));
        assert_eq!(conversation.raise_overdue_alerts(&config, at_minute(15)).len(), 1);
        conversation.confirm_alert(&config, "slow", "m1");
        conversation.note_team_reply(at_minute(20));
        add_message_and_schedule(&mut conversation, &build_message("m3", MessageDirection::In, 21));
        assert!(conversation.raise_overdue_alerts(&config, at_minute(40)).is_empty());
        assert_eq!(conversation.due_in_queue(), Some((CONVERSATION_QUEUE.to_owned(), at_minute(15 + 240))));
        assert_eq!(conversation.raise_overdue_alerts(&config, at_minute(15 + 240)).len(), 1);
    }

    #[test]
    fn a_reply_ends_the_wait_and_a_possible_reply_delays_the_alert() {
        let (config, mut conversation) = (test_config(), new_conversation());
        conversation.add_message(&build_message("m1", MessageDirection::In, 0));
        conversation.note_possible_reply(at_minute(14));
        assert!(conversation.raise_overdue_alerts(&config, at_minute(15)).is_empty());
        assert!(conversation.check_at.unwrap() > at_minute(15));
        conversation.note_team_reply(at_minute(14));
        assert!(
            conversation.raise_overdue_alerts(&config, at_minute(60)).is_empty()
                && conversation.waiting_since.is_none()
        );
    }

    #[test]
    fn a_wait_outside_business_hours_raises_no_alert_before_they_begin() {
        let (config, mut conversation) = (test_config(), new_conversation());
        // Thursday, 20:00 in Jerusalem; then come Friday and Saturday.
        add_message_and_schedule(&mut conversation, &build_message("m1", MessageDirection::In, 8 * 60));
        assert!(conversation.raise_overdue_alerts(&config, at_minute(20 * 60)).is_empty());
        assert_eq!(conversation.check_at.unwrap().to_string(), "2026-11-22T07:15:00Z");
    }

    #[test]
    fn one_alert_covers_its_cooldown_and_the_same_message_read_again() {
        let mut conversation = new_conversation();
        let cooldown = "4h".parse().unwrap();
        let mut raise_alert = |escalation: &str, id: &str, minute, delivery: &str| {
            let trigger = MessageRef { delivery_id: delivery.into(), ..MessageRef::new(id, at_minute(minute)) };
            conversation.raise_alert(escalation, cooldown, trigger).map(|moment| moment.delivery_id)
        };
        assert_eq!(raise_alert("urgent", "m1", 0, "d1").as_deref(), Some("d1"));
        assert_eq!(raise_alert("urgent", "m1", 0, "d2").as_deref(), Some("d1"), "read again, in another delivery");
        assert_eq!(raise_alert("urgent", "m2", 10, "d3"), None);
        assert_eq!(raise_alert("urgent", "m0", -10, "d4"), None, "late, and older");
        assert_eq!(raise_alert("urgent", "m3", 240, "d5").as_deref(), Some("d5"));
        assert_eq!(raise_alert("other", "m2", 10, "d3").as_deref(), Some("d3"));
    }

    #[test]
    fn a_conversation_without_an_id_is_keyed_by_its_customer() {
        let subject_for = |id, contact| Conversation::item_key("main", id, contact).map(|place| place.subject);
        assert_eq!(subject_for(Some("conv_1"), None).as_deref(), Some("conversation:main:conv_1"));
        assert_eq!(subject_for(None, Some("contact:ab12")).as_deref(), Some("conversation:main:.pab12"));
        assert_eq!(subject_for(None, None), None);
    }

    proptest! {
        #[test]
        fn messages_in_any_order_and_any_number_of_times_make_the_same_conversation(
            mut received in prop::collection::vec((0..9usize, any::<bool>()), 0..20),
            seed in any::<u64>(),
        ) {
            // Of each message there is one version.
            received.sort_by_key(|(id, _)| *id);
            received.dedup_by_key(|(id, _)| *id);
            let received: Vec<LineMessage> = received
                .iter()
                .map(|(id, inbound)| {
                    let direction = if *inbound { MessageDirection::In } else { MessageDirection::Out };
                    build_message(&format!("m{id}"), direction, i64::try_from(*id).unwrap())
                })
                .collect();
            let take = |messages: &[LineMessage]| {
                let mut conversation = new_conversation();
                for message in messages {
                    conversation.add_message(message);
                }
                conversation.first_message_id = None;
                conversation
            };
            let mut shuffled = received.clone();
            let mut state = seed;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
            }
            let (one, other) = (take(&received), take(&shuffled));
            prop_assert_eq!(&one.waiting_since, &other.waiting_since);
            if received.len() <= MAX_LAST_MESSAGES {
                shuffled.extend_from_slice(&received);
                prop_assert_eq!(&one, &take(&shuffled));
            }
        }
    }
}
