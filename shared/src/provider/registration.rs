//! Registering a webhook: the outcome of the one call.

use super::PROVIDER;

/// A webhook that is registered.
#[derive(Debug, PartialEq, Eq)]
pub struct WebhookRegistration {
    /// The provider's id of the webhook, if the response holds one.
    pub id: Option<String>,
}

/// The webhook is not registered, or the outcome is unknown. Never holds the address or the token.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The request never left this process.
    #[error("{} could not be reached", PROVIDER.facts().name)]
    Unreachable(#[source] reqwest::Error),
    /// No response: the webhook may be registered.
    #[error("{} did not answer", PROVIDER.facts().name)]
    NoResponse(#[source] reqwest::Error),
    /// An error of the provider: the webhook may be registered.
    #[error("{} has trouble (HTTP {status})", PROVIDER.facts().name)]
    ServerError {
        /// HTTP status.
        status: u16,
    },
    /// The registration was refused.
    #[error("{} refuses it (HTTP {status}{})", PROVIDER.facts().name, code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// The provider's code for the reason, if it is a single word and not free text.
        code: Option<String>,
        /// What was refused.
        refusal: RegistrationRefusal,
    },
}

/// What a refused registration means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationRefusal {
    /// The address is not accepted.
    Address,
    /// The token is not accepted.
    Token,
    /// Too many calls.
    RateLimited,
    /// Something else.
    Other,
}

impl RegistrationError {
    /// Whether the webhook may be registered although the call failed.
    pub fn may_have_registered(&self) -> bool {
        match self {
            Self::NoResponse(_) | Self::ServerError { .. } => true,
            Self::Unreachable(_) | Self::Refused { .. } => false,
        }
    }
}
