//! What a line reported about one of its messages, and which ledger row the message has.
//!
//! A message whose ledger row has its id needs no record: the row holds what is reported. For all
//! others, statuses and the message itself arrive in any order, and the ledger row may be written
//! after all of them. [`MessageRecord`] holds what is known; the order makes no difference.
//! [`find_match`] runs again until it finds the row.
//!
//! The provider does not publish what the response to a send contains, nor how a status names the
//! message. So the id of that response is compared first. If it does not match, a row counts that
//! was sent to the same customer with the same text at about the same time, if there is only one.
//! Such a link is marked *weak*. A missing status never triggers anything.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    contact::{Lid, Phone},
    hash::sha256_hex,
    ledger::{DeliveryStatus, IdempotencyKey, LedgerRow, MessageState},
    provider::Payload,
};

use crate::{
    line_event::{LineMessage, MessageDirection, StatusReport},
    record_store::{ItemKey, Persisted, days_after},
};

/// The longest time between a send and the line's report of the same message. Assumed: The provider
/// publishes no such limit, and lines deliver within seconds.
pub const SEND_MATCH_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// When the ledger is searched again for a message without a row, counted from the first report.
const CHECK_DELAYS: [SignedDuration; 6] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(3),
    SignedDuration::from_hours(12),
    SignedDuration::from_hours(24),
];
/// The queue of records to check again.
pub const RECORD_QUEUE: &str = "queue:messages";

/// Everything that a line reported about one message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// The line, by its name in `client.toml`.
    pub line: String,
    /// The provider's id.
    pub message_id: String,
    /// The message itself, once the line reported it.
    pub observed: Option<ObservedMessage>,
    /// The combined status reports.
    pub delivery_status: DeliveryStatus,
    /// The private id of the customer, if a report gave one: `235085806700321@lid`.
    #[serde(default)]
    pub lid: Option<String>,
    /// The time of the latest report.
    pub delivery_status_at: Option<Timestamp>,
    /// The earliest reported time of arrival on a phone.
    pub arrived_at: Option<Timestamp>,
    /// The ledger row of the message.
    pub link: LedgerLink,
    /// The status that was last applied to the ledger row.
    pub applied_status: Option<DeliveryStatus>,
    /// How often the clock searched the ledger.
    pub check_count: usize,
    /// When tellonce received the first report.
    pub first_seen_at: Timestamp,
    /// When tellonce received the message itself.
    pub observed_at: Option<Timestamp>,
    /// How long the row is kept, in days.
    pub retention_days: u16,
}

/// A message as the line reported it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedMessage {
    /// Who wrote.
    pub direction: MessageDirection,
    /// When it was written.
    pub sent_at: Timestamp,
    /// The customer's number.
    pub phone: Option<String>,
    /// The conversation's id.
    pub conversation_id: Option<String>,
    /// The text.
    pub text: Option<String>,
}

/// The ledger row of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerLink {
    /// Not known yet.
    Unknown,
    /// This row.
    Row {
        /// The row's subject.
        subject: String,
        /// The row's stage.
        stage: String,
        /// Whether only time, customer and text match.
        weak: bool,
    },
    /// No row: the customer or the team wrote the message.
    Foreign,
}

impl ObservedMessage {
    /// The customer's number.
    pub fn phone(&self) -> Option<Phone> {
        Phone::from_e164(self.phone.as_deref()?).ok()
    }
}

/// Who wrote an outbound message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageAuthor {
    /// Tellonce: the ledger has the message.
    Tellonce,
    /// The team.
    Team,
    /// Not known yet.
    Unknown,
}

impl fmt::Debug for MessageRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRecord")
            .field("id", &self.message_id)
            .field("delivery_status", &self.delivery_status)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl MessageRecord {
    /// A record without reports.
    pub fn new(line: &str, message_id: &str, retention_days: u16, now: Timestamp) -> Self {
        Self {
            line: line.to_owned(),
            message_id: message_id.to_owned(),
            observed: None,
            delivery_status: DeliveryStatus::default(),
            lid: None,
            delivery_status_at: None,
            arrived_at: None,
            link: LedgerLink::Unknown,
            applied_status: None,
            check_count: 0,
            first_seen_at: now,
            observed_at: None,
            retention_days,
        }
    }

    /// The row's key.
    pub fn item_key(line: &str, message_id: &str) -> ItemKey {
        ItemKey::for_state(message_subject(line, message_id))
    }

    /// Adds the message itself.
    #[must_use]
    pub fn with_message(mut self, message: &LineMessage, now: Timestamp) -> Self {
        if self.observed.is_none() {
            // With the text a search may find what it did not find before.
            self.check_count = 0;
            self.observed_at = Some(now);
            self.observed = Some(ObservedMessage {
                direction: message.direction,
                sent_at: message.sent_at,
                phone: message.phone.as_ref().map(|phone| phone.expose().to_owned()),
                conversation_id: message.conversation_id.clone(),
                text: message.text.clone(),
            });
        }
        self.lid = self.lid.take().or_else(|| message.lid.as_ref().map(Lid::address));
        match message.direction {
            MessageDirection::In => self.link = LedgerLink::Foreign,
            // What the line shows was sent.
            MessageDirection::Out => self.delivery_status = self.delivery_status.combine_with(DeliveryStatus::sent()),
        }
        self
    }

    /// Adds a status report.
    #[must_use]
    pub fn with_status(mut self, status_report: &StatusReport) -> Self {
        self.delivery_status = self.delivery_status.combine_with(status_report.delivery_status);
        self.lid = self.lid.take().or_else(|| status_report.lid.as_ref().map(Lid::address));
        self.delivery_status_at = self.delivery_status_at.max(Some(status_report.reported_at));
        if status_report.delivery_status.has_arrived() {
            self.arrived_at =
                Some(self.arrived_at.map_or(status_report.reported_at, |at| at.min(status_report.reported_at)));
        }
        self
    }

    /// The private id of the customer.
    pub fn lid(&self) -> Option<Lid> {
        Lid::parse(self.lid.as_deref()?)
    }

    /// Whether the ledger must be searched or updated.
    pub fn needs_check(&self) -> bool {
        match self.link {
            LedgerLink::Unknown => true,
            LedgerLink::Row { .. } => self.applied_status != Some(self.delivery_status),
            // A failure alerts the team. If the response to our own submit was lost, the row gets
            // the message's id by a later submit, and perhaps no report follows.
            LedgerLink::Foreign => {
                let status = self.delivery_status;
                self.may_be_ours() && (status.has_failed() || status.is_contradictory())
            }
        }
    }

    /// Whether the message counts as the team's, and may still turn out to be ours.
    pub fn may_be_ours(&self) -> bool {
        self.link == LedgerLink::Foreign
            && self.observed.as_ref().is_some_and(|seen| seen.direction == MessageDirection::Out)
    }

    /// Adds the result of a search, and the status that was applied to the row. Only the clock's
    /// searches count.
    #[must_use]
    pub fn with_lookup(
        mut self,
        found: &LedgerMatch,
        applied_status: Option<DeliveryStatus>,
        is_scheduled: bool,
        now: Timestamp,
    ) -> Self {
        self.check_count += usize::from(is_scheduled);
        match found {
            LedgerMatch::Row { row, weak } => {
                self.link = LedgerLink::Row {
                    subject: row.key.subject().to_owned(),
                    stage: row.key.stage().to_owned(),
                    weak: *weak,
                };
                self.applied_status = applied_status.or(self.applied_status);
                // Only the search needed the text.
                if let Some(observed) = &mut self.observed {
                    observed.text = None;
                }
            }
            // An outbound message without a row is the team's. Not at once: the response to our own
            // send may not be recorded yet, or may not show in the index.
            LedgerMatch::NoMatch
                if self.link == LedgerLink::Unknown
                    && self.observed_at.is_some_and(|observed_at| observed_at + CHECK_DELAYS[0] <= now) =>
            {
                self.link = LedgerLink::Foreign;
                if let Some(observed) = &mut self.observed {
                    observed.text = None;
                }
            }
            LedgerMatch::NoMatch | LedgerMatch::Undecided => {}
        }
        self
    }

    /// Who wrote an outbound message, as far as it is known.
    pub fn author(&self) -> MessageAuthor {
        match self.link {
            LedgerLink::Row { .. } => MessageAuthor::Tellonce,
            LedgerLink::Foreign => MessageAuthor::Team,
            LedgerLink::Unknown => MessageAuthor::Unknown,
        }
    }

    /// The key of the message's ledger row, if it is known.
    pub fn ledger_key(&self) -> Option<IdempotencyKey> {
        match &self.link {
            LedgerLink::Row { subject, stage, .. } => Some(IdempotencyKey::from_parts(subject, stage)),
            LedgerLink::Unknown | LedgerLink::Foreign => None,
        }
    }
}

/// The subject of all rows about one message of a line. The id is hashed: it may hold a phone
/// number, and keys are logged.
pub fn message_subject(line: &str, message_id: &str) -> String {
    format!("message:{line}:{}", sha256_hex(message_id.as_bytes(), 16))
}

impl Persisted for MessageRecord {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        let next = CHECK_DELAYS.get(self.check_count)?;
        let from = self.observed_at.unwrap_or(self.first_seen_at);
        self.needs_check().then(|| (RECORD_QUEUE.to_owned(), from + *next))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        days_after(self.first_seen_at, self.retention_days)
    }
}

/// The result of a search in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerMatch {
    /// One row.
    Row {
        /// The row.
        row: Box<LedgerRow>,
        /// Whether only time, customer and text match.
        weak: bool,
    },
    /// A row that is being sent now, or several that look alike.
    Undecided,
    /// No row.
    NoMatch,
}

/// Finds the ledger row of a record: among the rows with its id, else among the rows sent to its
/// customer, who has this number.
pub fn find_match(
    record: &MessageRecord,
    rows_with_id: &[LedgerRow],
    sent_rows: &[LedgerRow],
    phone: Option<&Phone>,
) -> LedgerMatch {
    let of_line = |row: &&LedgerRow| row.line == record.line;
    let mut strong = rows_with_id.iter().filter(of_line);
    match (strong.next(), strong.next()) {
        (Some(row), None) => return LedgerMatch::Row { row: Box::new(row.clone()), weak: false },
        (Some(_), Some(_)) => return LedgerMatch::Undecided,
        (None, _) => {}
    }
    let Some(observed) = record.observed.as_ref().filter(|seen| seen.direction == MessageDirection::Out) else {
        return LedgerMatch::NoMatch;
    };
    let Some(text) = &observed.text else { return LedgerMatch::NoMatch };
    let is_same_customer = |to: Option<&Phone>| match (to, phone) {
        (Some(to), Some(phone)) => to.is_same_contact(phone),
        (to, phone) => to.is_none() && phone.is_none(),
    };
    let looks_alike = |row: &&LedgerRow| {
        row.payload.as_ref().is_some_and(|payload| has_text(payload, text))
            && row.message_id.as_ref().is_none_or(|id| *id == record.message_id)
            && is_same_customer(row.to.as_ref())
            && assumed_sent_at(row).is_some_and(|at| at.duration_since(observed.sent_at).abs() <= SEND_MATCH_WINDOW)
    };
    let mut weak = sent_rows.iter().filter(of_line).filter(looks_alike);
    match (weak.next(), weak.next()) {
        (Some(row), None) if row.state == MessageState::Claimed => LedgerMatch::Undecided,
        (Some(row), None) => LedgerMatch::Row { row: Box::new(row.clone()), weak: true },
        (Some(_), Some(_)) => LedgerMatch::Undecided,
        (None, _) => LedgerMatch::NoMatch,
    }
}

/// When a message was or may have been sent; none if it was not.
fn assumed_sent_at(row: &LedgerRow) -> Option<Timestamp> {
    match row.state {
        MessageState::Accepted => row.accepted_at.or(Some(row.updated_at)),
        MessageState::Unknown | MessageState::NeedsHuman | MessageState::Superseded if row.may_have_arrived() => {
            row.first_attempt_at.or(Some(row.updated_at))
        }
        MessageState::Claimed => Some(row.updated_at),
        MessageState::Unknown
        | MessageState::NeedsHuman
        | MessageState::Held
        | MessageState::Refused
        | MessageState::Superseded
        | MessageState::Expired
        | MessageState::Suppressed
        | MessageState::Incomplete => None,
    }
}

/// Whether a payload contains exactly this text.
fn has_text(payload: &Payload, text: &str) -> bool {
    payload.contents().text.is_some_and(|body| body.trim() == text.trim())
}

#[cfg(test)]
mod tests;
