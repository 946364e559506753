//! What the provider's responses mean.

use jiff::SignedDuration;

/// The outcome of a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// Accepted for delivery.
    Accepted {
        /// The provider's id of the message, if the response holds one.
        provider_id: Option<String>,
    },
    /// Too fast. Nothing was sent.
    RateLimited {
        /// How long to wait, if the response says so.
        retry_after: Option<SignedDuration>,
    },
    /// The line's token was refused. Nothing was sent.
    Unauthorized,
    /// Refused for good. Nothing was sent.
    Refused(String),
    /// The key is in use, or was used for another message.
    Conflict(String),
    /// The request never left this process.
    NotSent(String),
    /// The message may or may not have been sent.
    Unknown(String),
}

/// The result of a health request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineHealth {
    /// Whether a message may be sent over the line. True only if every known state says so.
    pub sendable: bool,
    /// Whether the line's token was accepted: the provider answered with these states.
    pub token_accepted: bool,
    /// Whether the line's token was refused.
    pub token_refused: bool,
    /// The reported states in one text line, for logs, reasons and the console.
    pub summary: String,
}
