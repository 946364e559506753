//! The shape of a line event: which fields a delivery has, before anything decides what they mean.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    contact::{Lid, Phone},
    json::RawJson,
};

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
#[derive(Clone)]
pub struct LineEventItem<'a> {
    /// The provider's id of the message.
    pub id: (RawJson<'a>, RawJson<'a>),
    /// The provider's id of the conversation.
    pub conversation: (RawJson<'a>, RawJson<'a>),
    /// The customer.
    pub contact: LineContact,
    /// Whether the line wrote the message.
    pub from_me: Option<bool>,
    /// When.
    pub timestamp: RawJson<'a>,
    /// What the message is.
    pub content: LineContent,
    /// The word of a status.
    pub status: RawJson<'a>,
}

/// The customer of an item. `Debug` masks both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineContact {
    /// The customer's number.
    pub phone: Option<Phone>,
    /// The private id that `WhatsApp` has for the customer.
    pub lid: Option<Lid>,
    /// Whether the chat is a group, a channel or a list.
    pub is_group: bool,
    /// Whether two spellings of the number contradict each other.
    pub is_contradictory: bool,
}

/// What a message of a line is, by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentKind {
    /// Its author wrote or sent something: a text, a picture, a tapped reply.
    Written,
    /// An earlier message has a new text.
    Edit,
    /// An earlier message was deleted.
    Deletion,
    /// A reaction to an earlier message.
    Reaction,
    /// Another action on an earlier message, of a type that is not known.
    Action,
    /// A poll, or a vote in one.
    Poll,
    /// A call, missed or not.
    Call,
    /// A notice of `WhatsApp` itself: encryption, a changed number, an event of a group.
    Notice,
    /// A text message without a text.
    Empty,
    /// A type that is not known, without a text. It may be anything that a person sends.
    Unknown,
}

impl ContentKind {
    /// Its name, for records of messages that are not written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Written => "message",
            Self::Edit => "edit",
            Self::Deletion => "deletion",
            Self::Reaction => "reaction",
            Self::Action => "action",
            Self::Poll => "poll",
            Self::Call => "call",
            Self::Notice => "notice",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }
}

/// What a message says. `Debug` omits the text.
#[derive(Clone, PartialEq, Eq)]
pub struct LineContent {
    /// What it is.
    pub kind: ContentKind,
    /// One short word for people: `text`, `image`, `reaction`, …
    pub name: String,
    /// The text, the caption, the title of a tapped reply, the new text of an edit, the emoji of a
    /// reaction.
    pub text: Option<String>,
    /// The provider's id of the message that an edit, a deletion or a reaction is about.
    pub target: Option<String>,
}

impl fmt::Debug for LineContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineContent").field("kind", &self.kind).field("name", &self.name).finish_non_exhaustive()
    }
}
