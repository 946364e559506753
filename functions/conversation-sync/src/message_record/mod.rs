//! What is known of one message of a line by its id there, and which message of the ledger it is.
//!
//! Reports and the message itself arrive in any order, and the ledger's row may be written after all of them. So what is known
//! is kept ([`MessageRecord`]), in such a way that the order makes no difference, and [`find`] is asked again until it knows.
//!
//! `EZWhatsApp` publishes neither what the answer to a send holds nor how a status names it. So the id in that answer is tried
//! first; else one message that the line was seen saying to the same customer in the same words, at about the time of the
//! send, if there is only one: that link is *weak*, and said to be. A report that is missing means nothing.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    contact::Phone,
    hash::sha256_hex,
    ledger::{DeliveryStatus, IdempotencyKey, LedgerRow, MessageState},
    provider::Payload,
};

use crate::{
    crm::MessageDirection,
    line_event::{LineMessage, StatusReport},
    record_store::{ItemKey, Persisted},
};

/// How far the send and the sight of a message may lie apart to be taken for one. Assumed: `EZWhatsApp` publishes nothing
/// of the kind, and lines deliver within seconds.
pub const SEND_MATCH_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// When, after the first report, the ledger is looked through again for a message that is not found.
const CHECK_DELAYS: [SignedDuration; 6] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(3),
    SignedDuration::from_hours(12),
    SignedDuration::from_hours(24),
];
/// The queue of records that are to be looked at again.
pub const RECORD_QUEUE: &str = "queue:messages";

/// What is known of one message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// The line, by our name.
    pub line: String,
    /// The message's id there.
    pub message_id: String,
    /// What the line was seen saying, or hearing.
    pub observed: Option<ObservedMessage>,
    /// What was reported of it.
    pub delivery_status: DeliveryStatus,
    /// The latest report's time.
    pub delivery_status_at: Option<Timestamp>,
    /// The earliest time at which a phone is reported to have had it.
    pub arrived_at: Option<Timestamp>,
    /// Which message of the ledger it is.
    pub link: LedgerLink,
    /// As much of what was reported as that message was told.
    pub applied_status: Option<DeliveryStatus>,
    /// How often the clock had the ledger looked through.
    pub check_count: usize,
    /// When we first heard of it.
    pub first_seen_at: Timestamp,
    /// When we heard that the line was seen saying it.
    pub observed_at: Option<Timestamp>,
    /// For how many days it is remembered.
    pub retention_days: u16,
}

/// What the line was seen saying, or hearing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedMessage {
    /// Who wrote.
    pub direction: MessageDirection,
    /// When.
    pub sent_at: Timestamp,
    /// The customer's number.
    pub phone: Option<String>,
    /// The conversation's id.
    pub conversation_id: Option<String>,
    /// The text.
    pub text: Option<String>,
}

/// Which message of the ledger it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerLink {
    /// Not known yet.
    Unknown,
    /// This one.
    Row {
        /// Its subject.
        subject: String,
        /// Its stage.
        stage: String,
        /// Whether only time, customer and words say so.
        weak: bool,
    },
    /// None: a customer's, or of the team.
    Foreign,
}

impl fmt::Debug for MessageRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.message_id)
            .field("fate", &self.delivery_status)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl MessageRecord {
    /// Of a message that nothing is known of.
    pub fn new(line: &str, message_id: &str, retention_days: u16, now: Timestamp) -> Self {
        Self {
            line: line.to_owned(),
            message_id: message_id.to_owned(),
            observed: None,
            delivery_status: DeliveryStatus::default(),
            delivery_status_at: None,
            arrived_at: None,
            link: LedgerLink::Unknown,
            applied_status: None,
            check_count: 0,
            first_seen_at: now,
            observed_at: None,
            retention_days: retention_days,
        }
    }

    /// Where it stands.
    pub fn item_key(line: &str, message_id: &str) -> ItemKey {
        ItemKey::for_state(message_subject(line, message_id))
    }

    /// With the message itself, of which we hear now.
    #[must_use]
    pub fn with_message(mut self, message: &LineMessage, now: Timestamp) -> Self {
        if self.observed.is_none() {
            // What was not found without its words may be found with them.
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
        if message.direction == MessageDirection::In {
            self.link = LedgerLink::Foreign;
        }
        self
    }

    /// With a report.
    #[must_use]
    pub fn with_status(mut self, status_report: &StatusReport) -> Self {
        self.delivery_status = self.delivery_status.combine_with(status_report.delivery_status);
        self.delivery_status_at = self.delivery_status_at.max(Some(status_report.reported_at));
        if status_report.delivery_status.has_arrived() {
            self.arrived_at =
                Some(self.arrived_at.map_or(status_report.reported_at, |at| at.min(status_report.reported_at)));
        }
        self
    }

    /// Whether the ledger has to be looked through, or told.
    pub fn needs_check(&self) -> bool {
        match self.link {
            LedgerLink::Unknown => true,
            LedgerLink::Row { .. } => self.applied_status != Some(self.delivery_status),
            LedgerLink::Foreign => false,
        }
    }

    /// Whether it counts as the team's, and may still turn out to be ours.
    pub fn may_be_ours(&self) -> bool {
        self.link == LedgerLink::Foreign
            && self.observed.as_ref().is_some_and(|seen| seen.direction == MessageDirection::Out)
    }

    /// After a look that found this; `applied_status` if the message was told what is known. A look of the clock's counts.
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
                // The words were needed to find it.
                if let Some(observed) = &mut self.observed {
                    observed.text = None;
                }
            }
            // What the line says and is not ours is the team's. Not at once: the answer to our own send may not be written
            // down yet, or not show in the index.
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

    /// The key of the ledger's message that it is, if it is one.
    pub fn ledger_key(&self) -> Option<IdempotencyKey> {
        match &self.link {
            LedgerLink::Row { subject, stage, .. } => Some(IdempotencyKey::from_parts(subject, stage)),
            LedgerLink::Unknown | LedgerLink::Foreign => None,
        }
    }
}

/// The subject of everything about one message of a line. The provider's ids may hold a number, and keys are logged.
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
        let kept = SignedDuration::from_hours(24 * i64::from(self.retention_days));
        self.first_seen_at.saturating_add(kept).ok()
    }
}

/// What a look through the ledger found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerMatch {
    /// This message.
    Row {
        /// It.
        row: Box<LedgerRow>,
        /// Whether only time, customer and words say so.
        weak: bool,
    },
    /// One that somebody is at this moment sending, or several that look alike.
    Undecided,
    /// None.
    NoMatch,
}

/// Finds the message of the ledger that a record is of: among those with its id, else among those told to its customer.
pub fn find_match(record: &MessageRecord, rows_with_id: &[LedgerRow], sent_rows: &[LedgerRow]) -> LedgerMatch {
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
    let looks_alike = |row: &&LedgerRow| {
        row.payload.as_ref().is_some_and(|payload| has_text(payload, text))
            && row.message_id.as_ref().is_none_or(|id| *id == record.message_id)
            && row.to.as_ref().map(Phone::expose) == observed.phone.as_deref()
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

/// When a message was sent, or may have been; none if it was not.
fn assumed_sent_at(row: &LedgerRow) -> Option<Timestamp> {
    match row.state {
        MessageState::Accepted => row.accepted_at.or(Some(row.updated_at)),
        MessageState::Unknown | MessageState::NeedsHuman if row.may_have_arrived() => {
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

/// Whether a payload says just this.
fn has_text(payload: &Payload, text: &str) -> bool {
    payload.contents().text.is_some_and(|body| body.trim() == text.trim())
}

#[cfg(test)]
mod tests;
