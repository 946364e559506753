//! A message before it is submitted: rendered, then as the bytes of a request.

use std::fmt;

use crate::contact::Phone;

/// A message with all values filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMessage {
    /// The text.
    pub text: String,
    /// A button below the text: its label and the link that it opens.
    pub button: Option<(String, String)>,
    /// URL of a document to send as an attachment. Only with `media = "attachment-experimental"`.
    pub document: Option<String>,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
pub enum Recipient<'a> {
    /// A customer's number.
    Phone(&'a Phone),
    /// A conversation, by the provider's id.
    Conversation(&'a str),
}

/// A message that breaks a limit of the provider. Found before any request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageRejected {
    /// The text is empty.
    #[error("the text is empty")]
    EmptyText,
    /// The text is too long.
    #[error("the text is longer than {max_chars} characters")]
    TextTooLong {
        /// The limit.
        max_chars: usize,
    },
    /// The button's text is empty or too long.
    #[error("the button's text must have 1 to {max_chars} characters")]
    InvalidButtonText {
        /// The limit.
        max_chars: usize,
    },
    /// A link is not an absolute https URL.
    #[error("a link is not an absolute https URL")]
    InvalidLink,
}

impl MessageRejected {
    /// The recorded code: stable, kebab-case.
    pub const fn code(self) -> &'static str {
        "text-not-sendable"
    }
}

/// A route of the API that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendRoute {
    /// Sends a text, with or without a button.
    Text,
    /// Sends a document by its URL.
    Media,
}

impl SendRoute {
    pub(super) const ALL: [Self; 2] = [Self::Text, Self::Media];
}

/// The exact bytes of a request. Written before the first submit and never changed after it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload {
    /// Where it is sent.
    pub route: SendRoute,
    /// The JSON body.
    pub body: String,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("route", &self.route).field("bytes", &self.body.len()).finish()
    }
}

/// The fields of a payload's body.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PayloadContents {
    /// The number, if the message is addressed by number.
    pub to: Option<String>,
    /// The text of a text message.
    pub text: Option<String>,
    /// The text below a document.
    pub caption: Option<String>,
    /// The button's label and link.
    pub button: Option<(String, String)>,
    /// URL of the document.
    pub document: Option<String>,
}

impl fmt::Debug for PayloadContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadContents").finish_non_exhaustive()
    }
}
