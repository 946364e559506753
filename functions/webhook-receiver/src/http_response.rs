//! The HTTP response to a sender: the one place that chooses a status and a body.

use http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use tellonce_core::{delivery::Refusal, fault::Panicked, inbox::InboxError, secret::SecretError};

use crate::{gateway_event::MalformedEvent, sender::WebhookSender};

/// The reply to an accepted request. Its status is always 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptedReply {
    /// An empty body.
    Empty,
    /// An empty JSON object.
    EmptyObject,
    /// The challenge of a handshake.
    Challenge(String),
}

impl AcceptedReply {
    /// The reply to a delivery.
    pub fn for_sender(sender: WebhookSender<'_>) -> Self {
        if sender.reads_reply { Self::EmptyObject } else { Self::Empty }
    }
}

/// Builds the HTTP response for an outcome.
pub(super) fn build_response(outcome: Result<AcceptedReply, ReceiveError>) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    match outcome {
        Ok(AcceptedReply::Empty) => Response::new(Body::Empty),
        Ok(AcceptedReply::EmptyObject) => text_response(json, "{}".to_owned()),
        Ok(AcceptedReply::Challenge(challenge)) => text_response(HeaderValue::from_static("text/plain"), challenge),
        Err(reason) => {
            let mut response =
                text_response(json, serde_json::json!({ "message": reason.public_message() }).to_string());
            *response.status_mut() = reason.status_code();
            if let Some(allowed) = reason.allowed_methods() {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            response
        }
    }
}

fn text_response(content_type: HeaderValue, text: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(text));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The event is not an HTTP request.
    #[error(transparent)]
    Malformed(#[from] MalformedEvent),
    /// Code panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The path is unknown: no store, calendar, form or line of this name is configured.
    #[error("no sender is configured for this path")]
    UnknownRoute,
    /// The path accepts only POST, and GET if its sender uses a handshake.
    #[error("this path accepts only POST{}", if *.allows_get { ", or GET for the handshake" } else { "" })]
    MethodNotAllowed {
        /// Whether the path accepts a handshake.
        allows_get: bool,
    },
    /// A handshake without its parameters.
    #[error("a handshake needs hub.mode=subscribe, hub.verify_token and hub.challenge")]
    InvalidHandshake,
    /// The token of the handshake does not match.
    #[error("the verify token does not match the token stored for this form")]
    WrongVerifyToken,
    /// The body exceeds the limit.
    #[error("body has {bytes} bytes; at most {} are accepted", tellonce_core::inbox::MAX_BODY_BYTES)]
    BodyTooLarge {
        /// The size of the body.
        bytes: usize,
    },
    /// The body does not have the content type of this sender. Holds the accepted types.
    #[error("unsupported content type; this sender must post {0}")]
    UnsupportedContentType(&'static str),
    /// The proof of the delivery is not valid.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The sender's secret could not be read.
    #[error("could not read the secret of this sender")]
    Secret(#[from] SecretError),
    /// The inbox failed.
    #[error("could not store the delivery")]
    Inbox(#[from] InboxError),
    /// The time of the invocation is up.
    #[error("could not store the delivery in time: Secrets Manager or the inbox is slow")]
    OutOfTime,
}

impl ReceiveError {
    /// The HTTP status. After 503 the sender retries.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::UnknownRoute => 404,
            Self::InvalidHandshake | Self::Malformed(_) => 400,
            Self::Panicked(_) => 500,
            Self::WrongVerifyToken => 403,
            Self::MethodNotAllowed { .. } => 405,
            Self::BodyTooLarge { .. } | Self::Inbox(InboxError::TooLarge(_)) => 413,
            Self::UnsupportedContentType(_) => 415,
            Self::Refused(refusal) => match refusal {
                Refusal::OtherShop | Refusal::OtherLine => 403,
                Refusal::LineHeaderMissing(_) => 400,
                // 404 hides from strangers that the path exists.
                Refusal::WrongAddress => 404,
                // The stored secret is unusable. The sender did nothing wrong and retries.
                Refusal::SecretUnusable(_) => 503,
                Refusal::HeaderMissing(_)
                | Refusal::HeaderMalformed(_)
                | Refusal::Unsigned
                | Refusal::ProofMismatch
                | Refusal::KeyMissing(_)
                | Refusal::TimestampOutOfRange { .. } => 401,
            },
            Self::Secret(_)
            | Self::OutOfTime
            | Self::Inbox(InboxError::Store(_) | InboxError::Record(_) | InboxError::Scan(_)) => 503,
        }
    }

    /// The same as a type of HTTP.
    pub(crate) fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The message to the sender: enough to correct the request, and nothing about the system.
    pub fn public_message(&self) -> String {
        match self {
            Self::Inbox(InboxError::TooLarge(_)) => "the body is too large".to_owned(),
            Self::Secret(_)
            | Self::Panicked(_)
            | Self::OutOfTime
            | Self::Inbox(InboxError::Store(_) | InboxError::Record(_) | InboxError::Scan(_))
            | Self::Refused(Refusal::SecretUnusable(_)) => "temporarily unavailable; please retry".to_owned(),
            Self::Refused(Refusal::WrongAddress) => Self::UnknownRoute.to_string(),
            Self::UnknownRoute
            | Self::Malformed(_)
            | Self::MethodNotAllowed { .. }
            | Self::InvalidHandshake
            | Self::WrongVerifyToken
            | Self::BodyTooLarge { .. }
            | Self::UnsupportedContentType(_)
            | Self::Refused(_) => self.to_string(),
        }
    }

    /// The accepted methods, if the request used another.
    pub fn allowed_methods(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allows_get: true } => Some("GET, POST"),
            Self::MethodNotAllowed { allows_get: false } => Some("POST"),
            _ => None,
        }
    }

    /// Whether an operator must act.
    pub fn needs_operator(&self) -> bool {
        match self {
            // A remembered error was logged when the secret was read.
            Self::Secret(error) => !error.is_remembered(),
            Self::Inbox(_) | Self::Panicked(_) | Self::OutOfTime | Self::Refused(Refusal::SecretUnusable(_)) => true,
            Self::UnknownRoute
            | Self::Malformed(_)
            | Self::MethodNotAllowed { .. }
            | Self::InvalidHandshake
            | Self::WrongVerifyToken
            | Self::BodyTooLarge { .. }
            | Self::UnsupportedContentType(_)
            | Self::Refused(_) => false,
        }
    }
}
