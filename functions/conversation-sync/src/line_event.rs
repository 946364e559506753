//! What a delivery of a line reports.
//!
//! Main types: [`ParsedLineEvent`], [`LineMessage`], [`StatusReport`].

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tellonce_core::{contact::Phone, ledger::DeliveryStatus};

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
    /// Who wrote.
    pub direction: MessageDirection,
    /// When it was written.
    pub sent_at: Timestamp,
    /// `text`, `image`, …
    pub kind: String,
    /// The text, cut at 10,000 characters.
    pub text: Option<String>,
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
}
