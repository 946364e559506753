//! Why a lookup fails, and the limits that its messages name.

use std::time::Duration;

use tellonce_core::{
    fault::{ClassifyFault, Fault},
    json::JsonError,
    lookup::LookupTrouble,
};

/// The version of the Admin API that the query is written for. Shopify keeps a version for at least
/// twelve months and then answers with its oldest version. Version 2026-10 works until October
/// 2027. (<https://shopify.dev/docs/api/usage/versioning>)
pub(super) const API_VERSION: &str = "2026-10";

/// More than the largest possible response to the query.
pub(super) const MAX_RESPONSE_BYTES: usize = 256 * 1024;

/// Why an order could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum OrderLookupError {
    /// No response arrived.
    #[error("the store's API did not respond")]
    Unreachable(#[source] reqwest::Error),
    /// The query exceeds the API's cost budget.
    #[error("the store's API throttled the query{}", .retry_after.map(|wait| format!("; retry after {} s", wait.as_secs())).unwrap_or_default())]
    Throttled {
        /// The wait that the API asks for, if it names one.
        retry_after: Option<Duration>,
    },
    /// The store's API failed.
    #[error("the store's API failed (HTTP {status})")]
    StoreUnavailable {
        /// HTTP status, 5xx, or 200 with an internal error in the body.
        status: u16,
    },
    /// The API refuses the token.
    #[error("the store's API refused the token (HTTP {status}); store a valid one")]
    TokenRefused {
        /// HTTP status, 401 or 403.
        status: u16,
    },
    /// The token lacks an access scope.
    #[error("the store's token lacks {missing}")]
    MissingScope {
        /// Names of scopes, or other missing access.
        missing: String,
    },
    /// The shop is closed, frozen or deleted, or the API has another address.
    #[error("the store's API refused the query (HTTP {status}); check the shop domain")]
    Refused {
        /// HTTP status, 3xx or 4xx.
        status: u16,
    },
    /// The API does not know the query, because this API version has ended.
    #[error("the store's API does not support the query of version {API_VERSION}")]
    UnsupportedQuery,
    /// The response does not have the documented shape.
    #[error("unexpected response from the store's API: {0}")]
    UnexpectedResponse(#[from] JsonError),
    /// The response exceeds the size limit.
    #[error("the store's API sent a response of more than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
}

impl ClassifyFault for OrderLookupError {
    fn fault(&self) -> Fault {
        match self {
            // A lookup writes nothing, so an unknown outcome may be retried.
            Self::Unreachable(_) | Self::Throttled { .. } | Self::StoreUnavailable { .. } => Fault::Transient,
            Self::TokenRefused { .. }
            | Self::MissingScope { .. }
            | Self::Refused { .. }
            | Self::UnsupportedQuery
            | Self::UnexpectedResponse(_)
            | Self::TooLarge => Fault::Permanent,
        }
    }
}

impl OrderLookupError {
    /// What may pass; `None` if a repetition changes nothing.
    pub fn trouble(&self) -> Option<LookupTrouble> {
        match self {
            Self::Unreachable(_) => Some(LookupTrouble::NoResponse),
            Self::Throttled { retry_after } => Some(LookupTrouble::Throttled { retry_after: *retry_after }),
            Self::StoreUnavailable { .. } => Some(LookupTrouble::ServerError),
            // An operator stores a token that works.
            Self::TokenRefused { .. } | Self::MissingScope { .. } => Some(LookupTrouble::Credential),
            Self::Refused { .. } | Self::UnsupportedQuery | Self::UnexpectedResponse(_) | Self::TooLarge => None,
        }
    }
}
