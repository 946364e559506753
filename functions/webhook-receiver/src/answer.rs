//! What a sender is answered: the one place where our words become HTTP.

use shared::{delivery::Refusal, fault::Faulty, inbox::InboxError, secret::SecretError};

/// Why a delivery was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// No store or calendar of this name is configured, or the path is none of ours.
    #[error("nothing is configured for this path")]
    UnknownRoute,
    /// Only POST is taken.
    #[error("only POST is taken here")]
    Method,
    /// The body is larger than we take.
    #[error("the body has {bytes} bytes; at most {} are taken", shared::inbox::MAX_BODY_BYTES)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The body is not of the type that this sender uses, which is named here.
    #[error("from this sender only {0} is taken")]
    ContentType(&'static str),
    /// The proof did not hold.
    #[error(transparent)]
    NotBelieved(#[from] Refusal),
    /// The sender's secret is not to be had.
    #[error("the secret of this sender is not to be had")]
    Secret(#[from] SecretError),
    /// It could not be filed.
    #[error("it could not be filed")]
    Inbox(#[from] InboxError),
}

impl NotAccepted {
    /// The HTTP status that tells the sender what to do: come again (503), or not.
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownRoute => 404,
            Self::Method => 405,
            Self::TooLarge { .. } | Self::Inbox(InboxError::TooLarge(_)) => 413,
            Self::ContentType(_) => 415,
            Self::NotBelieved(refusal) => match refusal {
                Refusal::OtherShop => 403,
                // Our own secret is unusable: the sender did nothing wrong, and shall come again.
                Refusal::SecretUnusable(_) => 503,
                Refusal::HeaderMissing(_)
                | Refusal::HeaderMalformed(_)
                | Refusal::Unsigned
                | Refusal::Mismatch
                | Refusal::Stale { .. } => 401,
            },
            Self::Secret(_) | Self::Inbox(InboxError::File(_) | InboxError::Record(_) | InboxError::Look(_)) => 503,
        }
    }

    /// What the sender is told: enough to mend it, nothing about us.
    pub fn message(&self) -> String {
        match self {
            Self::Inbox(InboxError::TooLarge(_)) => "the body is larger than is taken".to_owned(),
            Self::Secret(_)
            | Self::Inbox(InboxError::File(_) | InboxError::Record(_) | InboxError::Look(_))
            | Self::NotBelieved(Refusal::SecretUnusable(_)) => {
                "temporarily unavailable; please send it again".to_owned()
            }
            Self::UnknownRoute | Self::Method | Self::TooLarge { .. } | Self::ContentType(_) | Self::NotBelieved(_) => {
                self.to_string()
            }
        }
    }

    /// Whether an operator has something to do.
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::Secret(error) => matches!(error.fault(), shared::fault::Fault::Transient),
            Self::Inbox(_) | Self::NotBelieved(Refusal::SecretUnusable(_)) => true,
            Self::UnknownRoute | Self::Method | Self::TooLarge { .. } | Self::ContentType(_) | Self::NotBelieved(_) => {
                false
            }
        }
    }
}
