//! Calls to the APIs of CRMs and targets: what a response means, and how fast calls follow each
//! other.
//!
//! Main types: [`ApiClient`] calls one CRM or target, at the rate of its [`RateLimiter`]. An
//! [`ApiResponse`] is a 2xx. An [`ApiError`] is everything else, and knows whether the call may
//! have taken effect.
//!
//! Promises: an error holds only the status and the reason code of a response, and neither address,
//! body nor credential of a call.

pub mod address_guard;
pub(crate) mod signed_webhook;

use std::{error::Error, sync::Mutex, time::Duration};

use jiff::SignedDuration;
use reqwest::{RequestBuilder, StatusCode, Url, header::RETRY_AFTER};
use serde::Deserialize;
use tellonce_core::{
    fault::{ClassifyFault, Fault},
    http_body, json,
    secret::SecretError,
};
use tokio::time::Instant;

/// How long a response may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response that is read: more than any page that is requested.
const MAX_RESPONSE_BYTES: usize = 2 * 1024 * 1024;
/// Why an address cannot be parsed.
pub(crate) const INVALID_URL: &str = "not a URL";

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The call was never sent.
    #[error("could not connect")]
    Unreachable(#[source] reqwest::Error),
    /// No response: the call may have taken effect.
    #[error("no response")]
    NoResponse(#[source] reqwest::Error),
    /// The call to an AWS service was never sent.
    #[error("could not connect")]
    AwsUnreachable(#[source] Box<dyn Error + Send + Sync>),
    /// No response from an AWS service: the call may have taken effect.
    #[error("no response")]
    AwsNoResponse(#[source] Box<dyn Error + Send + Sync>),
    /// The destination asks to wait; the call had no effect.
    #[error("asked to retry later (HTTP {status})")]
    Throttled {
        /// HTTP status.
        status: u16,
        /// How long to wait, if the destination states it.
        retry_after: Option<SignedDuration>,
    },
    /// The destination failed: the call may have taken effect.
    #[error("server error (HTTP {status})")]
    ServerError {
        /// HTTP status.
        status: u16,
    },
    /// The credential is not accepted or lacks rights; the call had no effect.
    #[error("credential rejected (HTTP {status}); store a valid one in {secret}")]
    CredentialRejected {
        /// HTTP status.
        status: u16,
        /// The name of the credential's secret.
        secret: String,
    },
    /// The destination blocks all our calls until an operator changes something: the role has no
    /// right, or the destination is switched off. The call had no effect.
    #[error("all calls are blocked (HTTP {status}, {code})")]
    Blocked {
        /// HTTP status.
        status: u16,
        /// The destination's reason code.
        code: String,
    },
    /// The destination refuses this call for good; it had no effect.
    #[error("request refused (HTTP {status}{})", code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// The destination's reason code, if it is one word and not free text.
        code: Option<String>,
    },
    /// The record that the call is about was deleted.
    #[error("record no longer exists")]
    Gone,
    /// A success status with an unreadable body: the call may have taken effect.
    #[error("unexpected response (HTTP {status})")]
    UnexpectedResponse {
        /// HTTP status.
        status: u16,
    },
    /// The secret could not be read.
    #[error(transparent)]
    SecretUnavailable(#[from] SecretError),
    /// The secret does not have the expected form.
    #[error("secret {secret} is not {expected}")]
    MalformedSecret {
        /// The secret's name.
        secret: String,
        /// The expected form.
        expected: &'static str,
    },
    /// The configured address must not be called.
    #[error("address not allowed: {0}")]
    AddressNotAllowed(&'static str),
}

impl ClassifyFault for ApiError {
    fn fault(&self) -> Fault {
        match self {
            // An operator may replace a credential at any time. Until then no task may be lost.
            Self::Unreachable(_)
            | Self::AwsUnreachable(_)
            | Self::Throttled { .. }
            | Self::CredentialRejected { .. }
            | Self::Blocked { .. }
            | Self::Gone
            | Self::SecretUnavailable(_)
            | Self::MalformedSecret { .. }
            | Self::AddressNotAllowed(_) => Fault::Transient,
            Self::NoResponse(_)
            | Self::AwsNoResponse(_)
            | Self::ServerError { .. }
            | Self::UnexpectedResponse { .. } => Fault::Ambiguous,
            Self::Refused { .. } => Fault::Permanent,
        }
    }
}

impl ApiError {
    /// Whether the call ended by [`TIMEOUT`].
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::NoResponse(error) if error.is_timeout())
    }

    /// Whether an operator must store another credential.
    pub fn needs_credential(&self) -> bool {
        matches!(self, Self::CredentialRejected { .. } | Self::MalformedSecret { .. } | Self::Blocked { .. })
    }

    /// Whether the next call would fail in the same way.
    pub fn is_system_wide(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::CredentialRejected { .. }
            | Self::Blocked { .. }
            | Self::SecretUnavailable(_)
            | Self::MalformedSecret { .. }
            | Self::AddressNotAllowed(_) => true,
            Self::Unreachable(_)
            | Self::AwsUnreachable(_)
            | Self::NoResponse(_)
            | Self::AwsNoResponse(_)
            | Self::ServerError { .. }
            | Self::Refused { .. }
            | Self::Gone
            | Self::UnexpectedResponse { .. } => false,
        }
    }
}

/// A response with a 2xx status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResponse {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl ApiResponse {
    /// The body as a JSON object of this shape.
    pub fn parse_json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        json::parse_object(&self.body).map_err(|_| ApiError::UnexpectedResponse { status: self.status })
    }
}

/// Limits how fast calls follow each other.
#[derive(Debug)]
pub struct RateLimiter {
    interval: Duration,
    next_turn: Mutex<Option<Instant>>,
}

impl RateLimiter {
    /// Allows so many calls a minute, spread evenly.
    pub fn per_minute(calls: u32) -> Self {
        Self { interval: Duration::from_mins(1) / calls.max(1), next_turn: Mutex::default() }
    }

    /// How long the next call must wait.
    pub fn remaining_wait(&self) -> Duration {
        let next = self.next_turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()))
    }

    /// Allows no call for so long.
    pub fn pause_for(&self, wait: Duration) {
        let mut next = self.next_turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *next = (*next).max(Some(Instant::now() + wait));
    }

    /// Waits for the next call's turn.
    pub async fn wait_for_turn(&self) {
        let turn = {
            let mut next = self.next_turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let turn = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            *next = Some(turn + self.interval);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

/// Calls one CRM or target.
#[derive(Debug)]
pub struct ApiClient<'a> {
    /// The function's HTTP client: follows no redirects.
    pub http: &'a reqwest::Client,
    /// Replaces all origins in local runs and tests.
    pub base_url: Option<&'a str>,
    /// How fast calls may follow each other.
    pub rate_limiter: &'a RateLimiter,
    /// The name of the credential's secret.
    pub secret_name: &'a str,
}

impl ApiClient<'_> {
    /// A URL below an origin, or below the base URL. A path segment stays one, whatever it
    /// contains.
    pub fn build_url(&self, origin: &str, path: &[&str]) -> Result<Url, ApiError> {
        let mut url =
            Url::parse(self.base_url.unwrap_or(origin)).map_err(|_| ApiError::AddressNotAllowed(INVALID_URL))?;
        url.set_query(None);
        url.path_segments_mut().map_err(|()| ApiError::AddressNotAllowed(INVALID_URL))?.clear().extend(path);
        Ok(url)
    }

    /// The URL at the base URL of local runs and tests, or unchanged if there is none.
    pub fn redirect_to_base_url(&self, url: Url) -> Result<Url, ApiError> {
        let Some(base_url) = self.base_url else { return Ok(url) };
        let mut local_url = Url::parse(base_url).map_err(|_| ApiError::AddressNotAllowed(INVALID_URL))?;
        local_url.set_path(url.path());
        local_url.set_query(url.query());
        Ok(local_url)
    }

    /// Makes a call when the rate limit allows it. `map_error_response` decides what a non-2xx
    /// response means, except for a 429. For most statuses it uses [`Self::error_for_status`].
    pub async fn send_with_fallback(
        &self,
        request: RequestBuilder,
        map_error_response: impl FnOnce(StatusCode, &[u8]) -> Result<ApiResponse, ApiError>,
    ) -> Result<ApiResponse, ApiError> {
        self.rate_limiter.wait_for_turn().await;
        let response = request.timeout(TIMEOUT).send().await.map_err(|error| {
            // The address may contain an id or a secret, and does not help.
            let error = error.without_url();
            if error.is_connect() || error.is_builder() {
                ApiError::Unreachable(error)
            } else {
                ApiError::NoResponse(error)
            }
        })?;
        let status = response.status();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = http_body::read_body_up_to(MAX_RESPONSE_BYTES, response).await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            let retry_after =
                retry_after.filter(|seconds| (0..=86_400).contains(seconds)).map(SignedDuration::from_secs);
            return Err(ApiError::Throttled { status: status.as_u16(), retry_after });
        }
        if !status.is_success() {
            return map_error_response(status, &body.ok().flatten().unwrap_or_default());
        }
        match body {
            Ok(Some(body)) => Ok(ApiResponse { status: status.as_u16(), body }),
            Ok(None) => Err(ApiError::UnexpectedResponse { status: status.as_u16() }),
            Err(error) => Err(ApiError::NoResponse(error.without_url())),
        }
    }

    /// The error of a non-2xx status by HTTP alone.
    pub fn error_for_status(&self, status: StatusCode) -> ApiError {
        let status = status.as_u16();
        match status {
            401 | 403 => ApiError::CredentialRejected { status, secret: self.secret_name.to_owned() },
            404 | 410 => ApiError::Gone,
            // These are about this call. Every other non-2xx status may change: a maintenance page,
            // an unpaid bill.
            400 | 413 | 414 | 415 | 422 | 431 => ApiError::Refused { status, code: None },
            408 | 409 | 425 | 500.. => ApiError::ServerError { status },
            _ => ApiError::Blocked { status, code: "unexpected status".to_owned() },
        }
    }
}
