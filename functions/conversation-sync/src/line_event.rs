//! What a delivery of a line reports.
//!
//! Main types: [`ParsedLineEvent`], [`LineMessage`], [`StatusReport`].

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    contact::{Lid, Phone},
    ledger::DeliveryStatus,
    provider::ContentKind,
};

/// From this age on, at its arrival, a message is old: the line reports what was written before it
/// was linked. Assumed: a linked phone that was offline catches up within a day, and a relinked one
/// reports weeks or months.
pub const OLD_MESSAGE_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Up to this age, at its arrival, a message opts its customer out. Assumed: a phone may be offline
/// for days. A message from before that is of a line that was linked again, and the customer may
/// have agreed since.
pub const MAX_OPT_OUT_AGE: SignedDuration = SignedDuration::from_hours(24 * 7);

/// The content of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedLineEvent {
    /// Messages in both directions.
    pub messages: Vec<LineMessage>,
    /// Delivery statuses of messages.
    pub status_reports: Vec<StatusReport>,
    /// Why items were skipped, for operators. The reasons quote nothing of the delivery.
    pub skip_reasons: Vec<&'static str>,
    /// Whether an item that should be readable is not.
    pub has_unreadable_items: bool,
    /// Whether a time could not be read, so that the time of receipt counts.
    pub has_unreadable_times: bool,
}

/// A message of a line.
#[derive(Clone, PartialEq, Eq)]
pub struct LineMessage {
    /// The provider's id.
    pub message_id: String,
    /// The provider's id of the conversation.
    pub conversation_id: Option<String>,
    /// The customer's number, if the line gives a valid one.
    pub phone: Option<Phone>,
    /// The private id that `WhatsApp` has for the customer, if the line gives one.
    pub lid: Option<Lid>,
    /// Who wrote.
    pub direction: MessageDirection,
    /// When it was written.
    pub sent_at: Timestamp,
    /// What it is. Only [`ContentKind::Written`] and [`ContentKind::Unknown`] are messages that a
    /// person wrote.
    pub content: ContentKind,
    /// One word for people: `text`, `image`, `reaction`, …
    pub kind: String,
    /// The text, cut at 10,000 characters: also a caption, the title of a tapped reply, the new
    /// text of an edit, or the emoji of a reaction.
    pub text: Option<String>,
    /// The id of the message that an edit, a deletion or a reaction is about.
    pub target: Option<String>,
    /// How old it was at its arrival.
    pub age: SignedDuration,
}

impl LineMessage {
    /// Whether it is [`OLD_MESSAGE_AGE`] old or older at its arrival.
    pub fn is_old(&self) -> bool {
        self.age >= OLD_MESSAGE_AGE
    }

    /// Whether the customer wrote it, now or earlier. A type that is not known, without a text, may
    /// be anything that a person sends: the team looks at it.
    pub fn is_of_customer(&self) -> bool {
        self.direction == MessageDirection::In && matches!(self.content, ContentKind::Written | ContentKind::Unknown)
    }

    /// Whether the customer writes it now. Only such a message is a first message, begins a wait or
    /// gets an acknowledgement.
    pub fn is_customer_writing(&self) -> bool {
        self.is_of_customer() && !self.is_old()
    }

    /// Whether it shows what the customer wants now. An edit replaces a text, so its words count.
    pub fn may_alert(&self) -> bool {
        self.is_customer_writing() || (self.has_customer_text() && !self.is_old())
    }

    /// Whether its text is of the customer, as a message or as an edit.
    pub fn has_customer_text(&self) -> bool {
        self.direction == MessageDirection::In && matches!(self.content, ContentKind::Written | ContentKind::Edit)
    }
}

impl fmt::Debug for LineMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.message_id)
            .field("direction", &self.direction)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageDirection {
    /// The customer.
    In,
    /// The line: the team or tellonce.
    Out,
}

impl MessageDirection {
    /// Its name in the table and in webhook bodies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// A delivery status that the line reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// The provider's id of the message.
    pub message_id: String,
    /// The status.
    pub delivery_status: DeliveryStatus,
    /// When the message reached it.
    pub reported_at: Timestamp,
    /// The private id of the recipient, if the line gives one.
    pub lid: Option<Lid>,
}
