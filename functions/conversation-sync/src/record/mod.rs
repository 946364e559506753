//! What is known of one message of a line by its id there, and which message of the ledger it is.
//!
//! Reports and the message itself arrive in any order, and the ledger's row may be written after all of them. So what is known
//! is kept ([`Record`]), in such a way that the order makes no difference, and [`find`] is asked again until it knows.
//!
//! `EZWhatsApp` publishes neither what the answer to a send holds nor how a status names it. So the id in that answer is tried
//! first; else one message that the line was seen saying to the same customer in the same words, at about the time of the
//! send, if there is only one: that link is *weak*, and said to be. A report that is missing means nothing.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::{
    contact::Phone,
    digest::sha256_hex,
    ledger::{Fate, Key, Payload, Row, State},
};

use crate::{
    crm::Direction,
    event::{Message, Status},
    store::{Kept, Place},
};

/// How far the send and the sight of a message may lie apart to be taken for one. Assumed: `EZWhatsApp` publishes nothing
/// of the kind, and lines deliver within seconds.
pub const SAME_SEND: SignedDuration = SignedDuration::from_mins(10);
/// When, after the first report, the ledger is looked through again for a message that is not found.
const LOOKS: [SignedDuration; 6] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(3),
    SignedDuration::from_hours(12),
    SignedDuration::from_hours(24),
];
/// The queue of records that are to be looked at again.
pub const QUEUE: &str = "queue:messages";

/// What is known of one message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The line, by our name.
    pub line: String,
    /// The message's id there.
    pub id: String,
    /// What the line was seen saying, or hearing.
    pub seen: Option<Seen>,
    /// What was reported of it.
    pub fate: Fate,
    /// The latest report's time.
    pub fate_at: Option<Timestamp>,
    /// The earliest time at which a phone is reported to have had it.
    pub arrived_at: Option<Timestamp>,
    /// Which message of the ledger it is.
    pub link: Link,
    /// As much of what was reported as that message was told.
    pub applied: Option<Fate>,
    /// How often the clock had the ledger looked through.
    pub looks: usize,
    /// When we first heard of it.
    pub first_heard: Timestamp,
    /// When we heard that the line was seen saying it.
    pub heard_said: Option<Timestamp>,
    /// For how many days it is remembered.
    pub keep_days: u16,
}

/// What the line was seen saying, or hearing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who wrote.
    pub direction: Direction,
    /// When.
    pub at: Timestamp,
    /// The customer's number.
    pub phone: Option<String>,
    /// The conversation's id.
    pub conversation: Option<String>,
    /// The text.
    pub text: Option<String>,
}

/// Which message of the ledger it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
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
    Others,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id)
            .field("fate", &self.fate)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Record {
    /// Of a message that nothing is known of.
    pub fn new(line: &str, id: &str, keep_days: u16, now: Timestamp) -> Self {
        Self {
            line: line.to_owned(),
            id: id.to_owned(),
            seen: None,
            fate: Fate::default(),
            fate_at: None,
            arrived_at: None,
            link: Link::Unknown,
            applied: None,
            looks: 0,
            first_heard: now,
            heard_said: None,
            keep_days,
        }
    }

    /// Where it stands.
    pub fn place(line: &str, id: &str) -> Place {
        Place::state(subject(line, id))
    }

    /// With the message itself, of which we hear now.
    #[must_use]
    pub fn with_message(mut self, message: &Message, now: Timestamp) -> Self {
        if self.seen.is_none() {
            // What was not found without its words may be found with them.
            self.looks = 0;
            self.heard_said = Some(now);
            self.seen = Some(Seen {
                direction: message.direction,
                at: message.at,
                phone: message.phone.as_ref().map(|phone| phone.expose().to_owned()),
                conversation: message.conversation.clone(),
                text: message.text.clone(),
            });
        }
        if message.direction == Direction::In {
            self.link = Link::Others;
        }
        self
    }

    /// With a report.
    #[must_use]
    pub fn with_status(mut self, status: &Status) -> Self {
        self.fate = self.fate.with(status.fate);
        self.fate_at = self.fate_at.max(Some(status.at));
        if status.fate.arrived() {
            self.arrived_at = Some(self.arrived_at.map_or(status.at, |at| at.min(status.at)));
        }
        self
    }

    /// Whether the ledger has to be looked through, or told.
    pub fn needs_look(&self) -> bool {
        match self.link {
            Link::Unknown => true,
            Link::Row { .. } => self.applied != Some(self.fate),
            Link::Others => false,
        }
    }

    /// Whether it counts as the team's, and may still turn out to be ours.
    pub fn may_be_ours(&self) -> bool {
        self.link == Link::Others && self.seen.as_ref().is_some_and(|seen| seen.direction == Direction::Out)
    }

    /// After a look that found this; `applied` if the message was told what is known. A look of the clock's counts.
    #[must_use]
    pub fn looked(mut self, found: &Found, applied: Option<Fate>, of_the_clock: bool, now: Timestamp) -> Self {
        self.looks += usize::from(of_the_clock);
        match found {
            Found::Row { row, weak } => {
                self.link =
                    Link::Row { subject: row.key.subject().to_owned(), stage: row.key.stage().to_owned(), weak: *weak };
                self.applied = applied.or(self.applied);
                // The words were needed to find it.
                if let Some(seen) = &mut self.seen {
                    seen.text = None;
                }
            }
            // What the line says and is not ours is the team's. Not at once: the answer to our own send may not be written
            // down yet, or not show in the index.
            Found::Nothing
                if self.link == Link::Unknown && self.heard_said.is_some_and(|heard| heard + LOOKS[0] <= now) =>
            {
                self.link = Link::Others;
                if let Some(seen) = &mut self.seen {
                    seen.text = None;
                }
            }
            Found::Nothing | Found::NotYet => {}
        }
        self
    }

    /// The key of the ledger's message that it is, if it is one.
    pub fn key(&self) -> Option<Key> {
        match &self.link {
            Link::Row { subject, stage, .. } => Some(Key::stored(subject, stage)),
            Link::Unknown | Link::Others => None,
        }
    }
}

/// The subject of everything about one message of a line. The provider's ids may hold a number, and keys are logged.
pub fn subject(line: &str, id: &str) -> String {
    format!("message:{line}:{}", sha256_hex(id.as_bytes(), 16))
}

impl Kept for Record {
    fn due(&self) -> Option<(String, Timestamp)> {
        let next = LOOKS.get(self.looks)?;
        let from = self.heard_said.unwrap_or(self.first_heard);
        self.needs_look().then(|| (QUEUE.to_owned(), from + *next))
    }

    fn forget_at(&self) -> Option<Timestamp> {
        let kept = SignedDuration::from_hours(24 * i64::from(self.keep_days));
        self.first_heard.saturating_add(kept).ok()
    }
}

/// What a look through the ledger found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This message.
    Row {
        /// It.
        row: Box<Row>,
        /// Whether only time, customer and words say so.
        weak: bool,
    },
    /// One that somebody is at this moment sending, or several that look alike.
    NotYet,
    /// None.
    Nothing,
}

/// Finds the message of the ledger that a record is of: among those with its id, else among those told to its customer.
pub fn find(record: &Record, of_id: &[Row], told: &[Row]) -> Found {
    let of_line = |row: &&Row| row.line == record.line;
    let mut strong = of_id.iter().filter(of_line);
    match (strong.next(), strong.next()) {
        (Some(row), None) => return Found::Row { row: Box::new(row.clone()), weak: false },
        (Some(_), Some(_)) => return Found::NotYet,
        (None, _) => {}
    }
    let Some(seen) = record.seen.as_ref().filter(|seen| seen.direction == Direction::Out) else {
        return Found::Nothing;
    };
    let Some(text) = &seen.text else { return Found::Nothing };
    let alike = |row: &&Row| {
        row.payload.as_ref().is_some_and(|payload| says(payload, text))
            && row.message_id.as_ref().is_none_or(|id| *id == record.id)
            && row.to.as_ref().map(Phone::expose) == seen.phone.as_deref()
            && sent_at(row).is_some_and(|at| at.duration_since(seen.at).abs() <= SAME_SEND)
    };
    let mut weak = told.iter().filter(of_line).filter(alike);
    match (weak.next(), weak.next()) {
        (Some(row), None) if row.state == State::Claimed => Found::NotYet,
        (Some(row), None) => Found::Row { row: Box::new(row.clone()), weak: true },
        (Some(_), Some(_)) => Found::NotYet,
        (None, _) => Found::Nothing,
    }
}

/// When a message was sent, or may have been; none if it was not.
fn sent_at(row: &Row) -> Option<Timestamp> {
    match row.state {
        State::Accepted => row.accepted_at.or(Some(row.updated_at)),
        State::Unknown | State::NeedsHuman if row.may_have_arrived() => row.first_attempt_at.or(Some(row.updated_at)),
        State::Claimed => Some(row.updated_at),
        State::Unknown
        | State::NeedsHuman
        | State::Held
        | State::Refused
        | State::Superseded
        | State::Expired
        | State::Noted
        | State::Unsaid => None,
    }
}

/// Whether a payload says just this.
fn says(payload: &Payload, text: &str) -> bool {
    #[derive(Deserialize)]
    struct Body {
        body: Option<String>,
    }
    let body = serde_json::from_str::<Body>(&payload.body).ok().and_then(|body| body.body);
    body.is_some_and(|body| body.trim() == text.trim())
}

#[cfg(test)]
mod tests;
