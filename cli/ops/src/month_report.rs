//! What became of the messages of one month, for the client: how many of each kind, how long they
//! waited, and what happened to them while a line could not send.
//!
//! Flow: [`ClientTables::read_month`] reads the ledger. [`summarize`] counts, without I/O.
//!
//! Not covered: repeats of deliveries, which leave no row, and how soon the team answers, of which
//! a conversation keeps only the present state.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tellonce_core::{
    ledger::{MessageState, StepCode},
    provider::DeliveryProgress,
};

use crate::{
    client_tables::{ClientTables, OpsError},
    table_scan::{ScanCost, ScanProgress, ScannedMessage},
};

/// Two waits of a line with a shorter pause between them are one outage.
const OUTAGE_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// A shorter wait is not counted: a line's rate makes messages wait for seconds.
const MIN_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// A kind of message, as a client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// About an order.
    OrderUpdate,
    /// About an appointment.
    Reminder,
    /// To a lead.
    FirstReply,
    /// The automatic reply of an escalation.
    Acknowledgement,
}

impl MessageKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::OrderUpdate, Self::Reminder, Self::FirstReply, Self::Acknowledgement];

    /// The kind of a message; `None` for the message of a line's test.
    fn of_message(message: &ScannedMessage) -> Option<Self> {
        Some(match message.key.subject().split(':').next()? {
            "order" => Self::OrderUpdate,
            "appointment" => Self::Reminder,
            "lead" => Self::FirstReply,
            "webhook-reply" => Self::Acknowledgement,
            _ => return None,
        })
    }
}

/// How many messages of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KindCounts {
    /// All that were due.
    pub messages: usize,
    /// The provider accepted them.
    pub sent: usize,
    /// They arrived on a phone, of those that were sent.
    pub arrived: usize,
    /// They were read, of those that arrived.
    pub read: usize,
    /// They were sent and did not arrive.
    pub failed: usize,
    /// They go out later.
    pub waiting: usize,
    /// They were not useful any more when they could go.
    pub expired: usize,
    /// A later fact made them untrue, or they were not to be sent.
    pub not_needed: usize,
    /// They were refused, lack a value, or only a person can decide.
    pub open: usize,
}

impl KindCounts {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            sent: self.sent + other.sent,
            arrived: self.arrived + other.arrived,
            read: self.read + other.read,
            failed: self.failed + other.failed,
            waiting: self.waiting + other.waiting,
            expired: self.expired + other.expired,
            not_needed: self.not_needed + other.not_needed,
            open: self.open + other.open,
        }
    }
}

/// Why messages waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    /// The line could not send, was stopped, or its token was refused.
    Line,
    /// The quiet hours, or the limit of first contacts.
    Planned,
    /// The line's rate, an older message, or a submit without a response.
    Queue,
}

impl WaitReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Line, Self::Planned, Self::Queue];

    fn of_code(code: &str) -> Option<Self> {
        Some(match StepCode::from_name(code)? {
            StepCode::LineDown | StepCode::LineStopped | StepCode::TokenRefused | StepCode::SecretUnreadable => {
                Self::Line
            }
            StepCode::QuietHours | StepCode::FirstContacts => Self::Planned,
            StepCode::InFlight
            | StepCode::RateLimit
            | StepCode::OutOfTime
            | StepCode::ProviderBusy
            | StepCode::NotSent
            | StepCode::OutcomeUnknown => Self::Queue,
            _ => return None,
        })
    }
}

/// How long messages waited for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WaitCounts {
    /// How many messages.
    pub messages: usize,
    /// Half of them waited for no longer.
    pub median_seconds: i64,
    /// The longest wait.
    pub longest_seconds: i64,
}

/// A time in which a line could not send, as far as messages met it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// The line.
    pub line: String,
    /// When the first message met it.
    pub from: Timestamp,
    /// When the last of its messages went out or ended; `None` if one still waits.
    pub until: Option<Timestamp>,
    /// How many messages waited.
    pub messages: usize,
    /// How many of them were sent.
    pub sent: usize,
    /// How many of them expired.
    pub expired: usize,
}

/// What became of the messages of a month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonthReport {
    /// When it was read.
    pub at: Timestamp,
    /// The begin of the month.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// The kinds that had messages.
    pub kinds: BTreeMap<MessageKind, KindCounts>,
    /// The waits of a minute and more.
    pub waits: BTreeMap<WaitReason, WaitCounts>,
    /// The messages whose submit got no response and was repeated under the same key.
    pub repeated_submits: usize,
    /// The outages, the earliest first.
    pub outages: Vec<Outage>,
    /// What reading it cost.
    pub cost: ScanCost,
}

/// A wait of a message.
struct MessageWait<'a> {
    message: &'a ScannedMessage,
    reason: WaitReason,
    from: Timestamp,
    /// `None` if it still waits.
    until: Option<Timestamp>,
}

impl ClientTables {
    /// What became of the messages that were recorded from one time until another. Reads the whole
    /// ledger.
    pub async fn read_month(
        &self,
        from: Timestamp,
        until: Timestamp,
        now: Timestamp,
        on_progress: &ScanProgress<'_>,
    ) -> Result<MonthReport, OpsError> {
        let is_of_month = |message: &ScannedMessage| (from..until).contains(&message.created_at);
        let found = self.scan_ledger(is_of_month, on_progress).await?;
        Ok(summarize(&found.messages, from..until, found.cost, now))
    }
}

fn summarize(messages: &[ScannedMessage], month: Range<Timestamp>, cost: ScanCost, now: Timestamp) -> MonthReport {
    let mut kinds: BTreeMap<MessageKind, KindCounts> = BTreeMap::new();
    let known = messages.iter().filter_map(|message| Some((MessageKind::of_message(message)?, message)));
    let known: Vec<_> = known.collect();
    for (kind, message) in &known {
        count_message(kinds.entry(*kind).or_default(), message);
    }
    let waits: Vec<MessageWait<'_>> = known.iter().flat_map(|(_, message)| find_waits(message)).collect();
    MonthReport {
        at: now,
        from: month.start,
        until: month.end,
        kinds,
        waits: WaitReason::ALL
            .into_iter()
            .filter_map(|reason| Some((reason, count_waits(&waits, reason, now)?)))
            .collect(),
        repeated_submits: known.iter().filter(|(_, message)| message.attempts > 0).count(),
        outages: find_outages(&waits),
        cost,
    }
}

fn count_message(counts: &mut KindCounts, message: &ScannedMessage) {
    counts.messages += 1;
    let place = match message.state {
        MessageState::Accepted => &mut counts.sent,
        MessageState::Held | MessageState::Claimed | MessageState::Unknown => &mut counts.waiting,
        MessageState::Expired => &mut counts.expired,
        MessageState::Superseded | MessageState::Suppressed => &mut counts.not_needed,
        MessageState::Refused | MessageState::NeedsHuman | MessageState::Incomplete => &mut counts.open,
    };
    *place += 1;
    if message.state == MessageState::Accepted {
        let status = message.delivery_status;
        counts.arrived += usize::from(status.has_arrived());
        counts.read += usize::from(status.reached >= Some(DeliveryProgress::Read));
        counts.failed += usize::from(status.has_failed());
    }
}

/// The waits of a message: from a step that says why it waits until the next step of another
/// reason.
fn find_waits(message: &ScannedMessage) -> Vec<MessageWait<'_>> {
    let mut waits: Vec<MessageWait<'_>> = Vec::new();
    let mut is_open = false;
    for step in message.trail.steps() {
        let reason = WaitReason::of_code(&step.code);
        if let Some(last) = waits.last_mut().filter(|_| is_open) {
            // Another cause of the same reason continues the wait.
            if reason == Some(last.reason) {
                continue;
            }
            last.until = Some(step.at);
        }
        is_open = reason.is_some();
        waits.extend(reason.map(|reason| MessageWait { message, reason, from: step.at, until: None }));
    }
    waits
}

/// `None` if no message waited for this reason.
fn count_waits(waits: &[MessageWait<'_>], reason: WaitReason, now: Timestamp) -> Option<WaitCounts> {
    let mut by_message: BTreeMap<_, SignedDuration> = BTreeMap::new();
    for wait in waits.iter().filter(|wait| wait.reason == reason) {
        let length = wait.until.unwrap_or(now).duration_since(wait.from);
        *by_message.entry(&wait.message.key).or_default() += length;
    }
    let mut seconds: Vec<i64> =
        by_message.into_values().filter(|length| *length >= MIN_WAIT).map(|length| length.as_secs()).collect();
    seconds.sort_unstable();
    Some(WaitCounts {
        messages: seconds.len(),
        median_seconds: *seconds.get(seconds.len().saturating_sub(1) / 2)?,
        longest_seconds: *seconds.last()?,
    })
}

fn find_outages(waits: &[MessageWait<'_>]) -> Vec<Outage> {
    let mut by_line: BTreeMap<&str, Vec<&MessageWait<'_>>> = BTreeMap::new();
    for wait in waits.iter().filter(|wait| wait.reason == WaitReason::Line) {
        by_line.entry(&wait.message.line).or_default().push(wait);
    }
    let mut outages = Vec::new();
    for (line, mut waits) in by_line {
        waits.sort_by_key(|wait| wait.from);
        let mut of_line: Vec<Outage> = Vec::new();
        // A message may wait several times in one outage.
        let mut counted = BTreeSet::new();
        for wait in waits {
            let is_same = |outage: &Outage| outage.until.is_none_or(|until| wait.from <= until + OUTAGE_PAUSE);
            let mut outage = if let Some(outage) = of_line.pop_if(|outage| is_same(outage)) {
                Outage { until: outage.until.zip(wait.until).map(|(one, other)| one.max(other)), ..outage }
            } else {
                counted.clear();
                let (line, from, until) = (line.to_owned(), wait.from, wait.until);
                Outage { line, from, until, messages: 0, sent: 0, expired: 0 }
            };
            if counted.insert(&wait.message.key) {
                outage.messages += 1;
                outage.sent += usize::from(wait.message.state == MessageState::Accepted);
                outage.expired += usize::from(wait.message.state == MessageState::Expired);
            }
            of_line.push(outage);
        }
        outages.extend(of_line);
    }
    outages.sort_by(|one, other| (one.from, &one.line).cmp(&(other.from, &other.line)));
    outages
}

#[cfg(test)]
mod tests {
    use tellonce_core::{
        ledger::{DeliveryStatus, IdempotencyKey},
        trail::Trail,
    };

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn make_report(messages: &[ScannedMessage], now: Timestamp) -> MonthReport {
        summarize(messages, at(0)..now, ScanCost::default(), now)
    }

    fn message(key: &str, state: MessageState, status: &str, steps: &[(i64, &str)]) -> ScannedMessage {
        let steps: Vec<_> = steps.iter().map(|(minute, code)| (minute * 60_000, "held", *code)).collect();
        ScannedMessage {
            key: IdempotencyKey::parse(key).unwrap(),
            state,
            line: "main".to_owned(),
            created_at: at(0),
            accepted_at: None,
            attempts: u32::from(steps.iter().any(|(_, _, code)| *code == "outcome-unknown")),
            provider_id: None,
            message_id: None,
            conversation_id: None,
            delivery_status: DeliveryStatus::from_status(status).unwrap_or_default(),
            delivery_status_at: None,
            delivery: String::new(),
            trail: Trail::from_attribute(&serde_json::to_string(&steps).unwrap()),
        }
    }

    #[test]
    fn each_message_counts_once_and_what_arrived_was_sent() {
        let messages = [
            message("order:1:ready", MessageState::Accepted, "read", &[]),
            message("order:2:ready", MessageState::Accepted, "delivered", &[]),
            message("order:3:ready", MessageState::Accepted, "failed", &[]),
            message("order:4:ready", MessageState::Superseded, "", &[]),
            message("order:5:ready", MessageState::NeedsHuman, "", &[]),
            message("lead:a:first-touch", MessageState::Held, "", &[]),
            message("line-test:5f:repeat", MessageState::Accepted, "read", &[]),
        ];
        let report = make_report(&messages, at(10));
        let orders = KindCounts {
            messages: 5,
            sent: 3,
            arrived: 2,
            read: 1,
            failed: 1,
            not_needed: 1,
            open: 1,
            ..KindCounts::default()
        };
        let leads = KindCounts { messages: 1, waiting: 1, ..KindCounts::default() };
        assert_eq!(report.kinds, [(MessageKind::OrderUpdate, orders), (MessageKind::FirstReply, leads)].into());
    }

    #[test]
    fn waits_are_measured_by_reason_and_short_ones_do_not_count() {
        let messages = [
            message(
                "order:1:ready",
                MessageState::Accepted,
                "",
                &[(0, "line-down"), (1, "line-stopped"), (10, "accepted")],
            ),
            message(
                "order:2:ready",
                MessageState::Accepted,
                "",
                &[(0, "quiet-hours"), (60, "outcome-unknown"), (64, "accepted")],
            ),
            message("order:3:ready", MessageState::Accepted, "", &[(0, "rate-limit"), (0, "accepted")]),
            message("order:4:ready", MessageState::Held, "", &[(5, "created"), (5, "line-down")]),
        ];
        let report = make_report(&messages, at(25));
        let wait = |messages, median: i64, longest: i64| WaitCounts {
            messages,
            median_seconds: median * 60,
            longest_seconds: longest * 60,
        };
        let expected = [
            (WaitReason::Line, wait(2, 10, 20)),
            (WaitReason::Planned, wait(1, 60, 60)),
            (WaitReason::Queue, wait(1, 4, 4)),
        ];
        assert_eq!(report.waits, expected.into());
        assert_eq!(report.repeated_submits, 1);
    }

    #[test]
    fn an_outage_has_all_messages_that_met_it_and_another_one_begins_after_a_pause() {
        let messages = [
            message(
                "order:1:ready",
                MessageState::Accepted,
                "",
                &[(0, "line-down"), (5, "due"), (5, "line-down"), (30, "accepted")],
            ),
            message("order:2:ready", MessageState::Expired, "", &[(10, "line-down"), (33, "expired")]),
            message("order:3:ready", MessageState::Accepted, "", &[(36, "line-down"), (40, "accepted")]),
            message("order:4:ready", MessageState::Held, "", &[(50, "line-down")]),
        ];
        let outages = make_report(&messages, at(60)).outages;
        let outage = |from, until: Option<i64>, messages, sent, expired| Outage {
            line: "main".to_owned(),
            from: at(from),
            until: until.map(at),
            messages,
            sent,
            expired,
        };
        assert_eq!(outages, [outage(0, Some(40), 3, 2, 1), outage(50, None, 1, 0, 0)]);
    }
}
