//! Calls to the provider, and what their responses mean.

use jiff::SignedDuration;

use super::{PROVIDER, Payload, Provider, ezwhatsapp};
use crate::secret::Secret;

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
    /// Whether the line's token was refused.
    pub token_refused: bool,
    /// The reported states in one text line, for logs, reasons and the console.
    pub summary: String,
}

/// An HTTP client for the API of the lines' provider.
#[derive(Debug, Clone)]
pub struct ProviderClient {
    provider: Provider,
    http: reqwest::Client,
    base_url: String,
}

impl ProviderClient {
    /// Creates a client of [`PROVIDER`] for a base URL such as [`super::ProviderFacts::base_url`].
    pub fn new(http: reqwest::Client, base_url: &str) -> Self {
        Self { provider: PROVIDER, http, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// Requests a line's health without waking the line, and logs the raw states as evidence.
    ///
    /// A missing response counts as a line that cannot send.
    pub async fn get_health(&self, line: &str, token: &Secret) -> LineHealth {
        match self.provider {
            Provider::EzWhatsApp => ezwhatsapp::api::get_health(&self.http, &self.base_url, line, token).await,
        }
    }

    /// Submits a payload under its idempotency key, once. The caller decides whether to repeat it.
    pub async fn send_payload(&self, token: &Secret, key: &str, payload: &Payload) -> SendOutcome {
        match self.provider {
            Provider::EzWhatsApp => {
                ezwhatsapp::api::send_payload(&self.http, &self.base_url, token, key, payload).await
            }
        }
    }
}
