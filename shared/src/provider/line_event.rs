//! The shape of a line event: which fields a delivery has, before anything decides what they mean.

use serde::{Deserialize, Serialize};

use crate::json::RawJson;

/// The kind of a line event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEventKind {
    /// Messages that were written on the line.
    Messages,
    /// Reports of how far messages came.
    Statuses,
    /// Summaries of chats.
    Chats,
}

/// What a status reports of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedStatus {
    /// It got so far.
    Reached(DeliveryProgress),
    /// It was not delivered.
    Failed,
    /// It was deleted from the conversation.
    Deleted,
}

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryProgress {
    /// Not yet accepted by `WhatsApp`.
    Pending,
    /// Accepted by `WhatsApp`.
    Sent,
    /// On the phone.
    Delivered,
    /// Opened.
    Read,
    /// A voice message that was played.
    Played,
}

impl DeliveryProgress {
    const ALL: [Self; 5] = [Self::Pending, Self::Sent, Self::Delivered, Self::Read, Self::Played];

    /// The name in reports, in the table and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
        }
    }

    /// The progress of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reached| reached.name() == name)
    }
}

/// The body of a line event.
#[derive(Clone)]
pub struct LineEventBody<'a> {
    /// The name of the event, if the body holds one.
    pub event: Option<String>,
    /// List of messages.
    pub messages: RawJson<'a>,
    /// List of statuses.
    pub statuses: RawJson<'a>,
    /// List of chats.
    pub chats: RawJson<'a>,
}

/// The fields of one message or status. A pair holds two spellings of one field.
#[derive(Clone, Copy)]
pub struct LineEventItem<'a> {
    /// The provider's id of the message.
    pub id: (RawJson<'a>, RawJson<'a>),
    /// The provider's id of the conversation.
    pub conversation: (RawJson<'a>, RawJson<'a>),
    /// The customer's number.
    pub phone: (RawJson<'a>, RawJson<'a>),
    /// Whether the chat is a group, a channel or a list.
    pub is_group: bool,
    /// Whether the line wrote the message.
    pub from_me: RawJson<'a>,
    /// When.
    pub timestamp: RawJson<'a>,
    /// What the message is: text, image, …
    pub kind: RawJson<'a>,
    /// Where the text may be, the first usable one counts.
    pub texts: [RawJson<'a>; 3],
    /// The word of a status.
    pub status: RawJson<'a>,
}
