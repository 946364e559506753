//! The webhooks of a line: registering one, the list, and deleting one.

use crate::secret::Secret;

/// A webhook that is registered.
#[derive(Debug, PartialEq, Eq)]
pub struct WebhookRegistration {
    /// The provider's id of the webhook, if the response holds one.
    pub id: Option<String>,
}

/// A webhook as the provider lists it.
#[derive(Debug)]
pub struct ListedWebhook {
    /// The provider's id.
    pub id: Option<String>,
    /// The whole address. Its end is a secret.
    pub target: Option<Secret>,
    /// The events that it gets.
    pub events: Vec<String>,
    /// Whether it is switched on.
    pub enabled: Option<bool>,
}

/// A request got no response.
#[derive(Debug, thiserror::Error)]
pub enum NoResponse {
    /// The request never left this process.
    #[error("{provider} could not be reached")]
    Unreachable {
        /// The provider's name.
        provider: &'static str,
        /// Why.
        source: reqwest::Error,
    },
    /// It may have had its effect.
    #[error("{provider} did not answer")]
    Lost {
        /// The provider's name.
        provider: &'static str,
        /// Why.
        source: reqwest::Error,
    },
}

/// Webhooks were not listed, or one was not deleted. Never holds an address or a token.
#[derive(Debug, thiserror::Error)]
pub enum WebhookCallError {
    /// No response. A webhook may be deleted if the request left.
    #[error(transparent)]
    NoResponse(#[from] NoResponse),
    /// Another response than 2xx.
    #[error("{provider} answered with HTTP {status}")]
    Status {
        /// The provider's name.
        provider: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// The list has another form.
    #[error("the answer of {provider} is not a list that this version can read")]
    Unreadable {
        /// The provider's name.
        provider: &'static str,
    },
}

/// The webhook is not registered, or the outcome is unknown. Never holds the address or the token.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// No response. The webhook may be registered if the request left.
    #[error(transparent)]
    NoResponse(#[from] NoResponse),
    /// An error of the provider: the webhook may be registered.
    #[error("{provider} failed (HTTP {status})")]
    ServerError {
        /// The provider's name.
        provider: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// The registration was refused.
    #[error("{provider} refused the registration (HTTP {status}{})", code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        /// The provider's name.
        provider: &'static str,
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
            Self::NoResponse(NoResponse::Lost { .. }) | Self::ServerError { .. } => true,
            Self::NoResponse(NoResponse::Unreachable { .. }) | Self::Refused { .. } => false,
        }
    }
}
