//! Calls to the provider.

use super::{
    PROVIDER, Provider, ezwhatsapp,
    message::Payload,
    response::{LineHealth, SendOutcome},
};
use crate::secret::Secret;

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
