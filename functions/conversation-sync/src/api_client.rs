//! Calls to somebody else's API that change something there: what an answer means, and how fast they may follow each other.
//!
//! The cast: [`ApiClient`] makes the calls to one CRM or target, at its [`RateLimiter`]; a [`ApiResponse`] is a 2xx; a [`ApiError`] is
//! anything else, and knows whether the call may have taken effect.
//!
//! Promised: of an answer nothing is written into an error but its numbers and its reason code, of a call neither address nor
//! body nor credential.

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

/// How long an answer may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// More than the largest page of anything we ask for.
const MAX_RESPONSE_BYTES: usize = 2 * 1024 * 1024;

/// A call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It never left us.
    #[error("it could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No answer came: it may have taken effect.
    #[error("it did not answer")]
    NoResponse(#[source] reqwest::Error),
    /// The call to an AWS service never left us.
    #[error("it could not be reached")]
    AwsUnreachable(#[source] Box<dyn Error + Send + Sync>),
    /// No answer came from an AWS service: it may have taken effect.
    #[error("it did not answer")]
    AwsNoResponse(#[source] Box<dyn Error + Send + Sync>),
    /// Too many calls; nothing happened.
    #[error("it asks for patience (HTTP {status})")]
    Throttled {
        /// HTTP status.
        status: u16,
        /// For how long, if it says.
        retry_after: Option<SignedDuration>,
    },
    /// Trouble on the other side: it may have taken effect.
    #[error("it has trouble (HTTP {status})")]
    ServerError {
        /// HTTP status.
        status: u16,
    },
    /// Our credential is not accepted, or does not reach far enough; nothing happened.
    #[error("it does not accept our credential (HTTP {status}); store a valid one in {secret}")]
    CredentialRejected {
        /// HTTP status.
        status: u16,
        /// The name of the secret that it came from.
        secret: String,
    },
    /// It takes no calls from us until somebody opens it: our role may not call it, or it is switched off; nothing happened.
    #[error("it does not take our calls (HTTP {status}, {code})")]
    Blocked {
        /// HTTP status.
        status: u16,
        /// Its own word for the reason.
        code: String,
    },
    /// It refuses this very call, and will again; nothing happened.
    #[error("it refuses this (HTTP {status}{})", code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its own word for the reason, if that is a word and no free text.
        code: Option<String>,
    },
    /// What the call was about is gone: a contact that somebody deleted.
    #[error("what it was about is no longer there")]
    Gone,
    /// It said yes, and what else it said makes no sense: it may have taken effect.
    #[error("it gave an answer that means nothing to us (HTTP {status})")]
    UnexpectedResponse {
        /// HTTP status.
        status: u16,
    },
    /// The credential is not to be had.
    #[error(transparent)]
    SecretUnavailable(#[from] SecretError),
    /// The credential is not of the form that it should have.
    #[error("the secret {secret} is not {expected}")]
    MalformedSecret {
        /// Its name.
        secret: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The configured address is none that may be called.
    #[error("the address may not be called: {0}")]
    AddressNotAllowed(&'static str),
}

impl ClassifyFault for ApiError {
    fn fault(&self) -> Fault {
        match self {
            // A credential is mended from outside while we run, and nothing must be lost until then.
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
    /// Whether whoever was called let us wait until our patience ended.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::NoResponse(error) if error.is_timeout())
    }

    /// Whether somebody has to store another credential.
    pub fn needs_credential(&self) -> bool {
        matches!(self, Self::CredentialRejected { .. } | Self::MalformedSecret { .. } | Self::Blocked { .. })
    }

    /// Whether it is not this call but the whole system that does not work now: whatever comes next would meet the same.
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

/// A 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResponse {
    /// HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl ApiResponse {
    /// Its body as JSON of this shape.
    pub fn parse_json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        json::parse_object(&self.body).map_err(|_| ApiError::UnexpectedResponse { status: self.status })
    }
}

/// How fast calls may follow each other.
#[derive(Debug)]
pub struct RateLimiter {
    interval: Duration,
    next_turn: Mutex<Option<Instant>>,
}

impl RateLimiter {
    /// So many a minute, spread evenly.
    pub fn per_minute(calls: u32) -> Self {
        Self { interval: Duration::from_mins(1) / calls.max(1), next_turn: Mutex::default() }
    }

    /// How long the next call's turn is off.
    pub fn remaining_wait(&self) -> Duration {
        let next = self.next_turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()))
    }

    /// Lets no call have its turn for so long.
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

/// Makes calls to one CRM or target.
#[derive(Debug)]
pub struct ApiClient<'a> {
    /// The function's HTTP client: follows no redirects.
    pub http: &'a reqwest::Client,
    /// Stands in for all origins in local runs and tests.
    pub base_url: Option<&'a str>,
    /// How fast calls may follow each other.
    pub rate_limiter: &'a RateLimiter,
    /// The name of the secret that the credential is from.
    pub secret_name: &'a str,
}

impl ApiClient<'_> {
    /// An address below an origin, or below what stands in for it. A step of the path stays one, whatever is in it.
    pub fn build_url(&self, origin: &str, path: &[&str]) -> Result<Url, ApiError> {
        let not_a_url = "it is no URL";
        let mut url =
            Url::parse(self.base_url.unwrap_or(origin)).map_err(|_| ApiError::AddressNotAllowed(not_a_url))?;
        url.set_query(None);
        url.path_segments_mut().map_err(|()| ApiError::AddressNotAllowed(not_a_url))?.clear().extend(path);
        Ok(url)
    }

    /// Makes a call in its turn. What is no 2xx is an error, by its status: see [`Self::error_for_status`].
    pub async fn send_request(&self, request: RequestBuilder) -> Result<ApiResponse, ApiError> {
        self.send_with_fallback(request, |status, _| Err(self.error_for_status(status))).await
    }

    /// The same, where `refused` knows better what a status that is no 2xx means, or an answer's body. Of a 429 it is not asked.
    pub async fn send_with_fallback(
        &self,
        request: RequestBuilder,
        map_error_response: impl FnOnce(StatusCode, &[u8]) -> Result<ApiResponse, ApiError>,
    ) -> Result<ApiResponse, ApiError> {
        self.rate_limiter.wait_for_turn().await;
        let response = request.timeout(TIMEOUT).send().await.map_err(|error| {
            // The address may hold an id or a secret, and says nothing that helps.
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

    /// What a status that is no 2xx means where HTTP alone says it.
    pub fn error_for_status(&self, status: StatusCode) -> ApiError {
        let status = status.as_u16();
        match status {
            401 | 403 => ApiError::CredentialRejected { status, secret: self.secret_name.to_owned() },
            404 | 410 => ApiError::Gone,
            // About this very call. Everything else that is no 2xx may be otherwise tomorrow: a page that says that the
            // system is being worked on, a bill that was not paid.
            400 | 413 | 414 | 415 | 422 | 431 => ApiError::Refused { status, code: None },
            408 | 409 | 425 | 500.. => ApiError::ServerError { status },
            _ => ApiError::Blocked { status, code: "nothing that it says to one call".to_owned() },
        }
    }
}
