//! What a sender is answered: the one place where our words become HTTP.

use http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use tellonce_core::{
    client_config::FormKind, delivery::Refusal, fault::ClassifyFault, inbox::InboxError, secret::SecretError,
};

use super::SenderKind;

/// What is said to a sender whose request was accepted, which is always answered 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptedReply {
    /// Nothing.
    Empty,
    /// An empty object.
    EmptyObject,
    /// What it asked us to repeat.
    Challenge(String),
}

impl AcceptedReply {
    /// To a delivery. Google Ads reads JSON; nobody else reads anything.
    pub fn for_sender(sender: SenderKind) -> Self {
        match sender {
            SenderKind::Form(FormKind::GoogleAds) => Self::EmptyObject,
            SenderKind::Store | SenderKind::Calendar | SenderKind::Form(_) | SenderKind::Line => Self::Empty,
        }
    }
}

/// As a response.
pub(super) fn build_response(outcome: Result<AcceptedReply, ReceiveError>) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    match outcome {
        Ok(AcceptedReply::Empty) => Response::new(Body::Empty),
        Ok(AcceptedReply::EmptyObject) => text_response(json, "{}".to_owned()),
        Ok(AcceptedReply::Challenge(challenge)) => text_response(HeaderValue::from_static("text/plain"), challenge),
        Err(reason) => {
            let mut response =
                text_response(json, serde_json::json!({ "message": reason.public_message() }).to_string());
            *response.status_mut() =
                StatusCode::from_u16(reason.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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

/// Why a delivery was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// No store, calendar, form or line of this name is configured, or the path is none of ours.
    #[error("nothing is configured for this path")]
    UnknownRoute,
    /// Only POST is taken, and GET where somebody asks before posting.
    #[error("only POST{} is taken here", if *.allows_get { ", or GET for the handshake," } else { "" })]
    MethodNotAllowed {
        /// Whether it is such a place.
        allows_get: bool,
    },
    /// A handshake without what belongs to one.
    #[error("a handshake has hub.mode=subscribe, hub.verify_token and hub.challenge")]
    InvalidHandshake,
    /// A handshake with another token than ours.
    #[error("the verify token is not the one that is stored for this form")]
    WrongVerifyToken,
    /// The body is larger than we take.
    #[error("the body has {bytes} bytes; at most {} are taken", tellonce_core::inbox::MAX_BODY_BYTES)]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The body is not of the type that this sender uses, which is named here.
    #[error("from this sender only {0} is taken")]
    UnsupportedContentType(&'static str),
    /// The proof did not hold.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The sender's secret is not to be had.
    #[error("the secret of this sender is not to be had")]
    Secret(#[from] SecretError),
    /// It could not be filed.
    #[error("it could not be filed")]
    Inbox(#[from] InboxError),
}

impl ReceiveError {
    /// The HTTP status that tells the sender what to do: come again (503), or not.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::UnknownRoute => 404,
            Self::InvalidHandshake => 400,
            Self::WrongVerifyToken => 403,
            Self::MethodNotAllowed { .. } => 405,
            Self::BodyTooLarge { .. } | Self::Inbox(InboxError::TooLarge(_)) => 413,
            Self::UnsupportedContentType(_) => 415,
            Self::Refused(refusal) => match refusal {
                Refusal::OtherShop | Refusal::OtherLine => 403,
                Refusal::LineHeaderMissing(_) => 400,
                // As if there were nothing: whoever tries addresses learns of none.
                Refusal::WrongAddress => 404,
                // Our own secret is unusable: the sender did nothing wrong, and shall come again.
                Refusal::SecretUnusable(_) => 503,
                Refusal::HeaderMissing(_)
                | Refusal::HeaderMalformed(_)
                | Refusal::Unsigned
                | Refusal::ProofMismatch
                | Refusal::KeyMissing(_)
                | Refusal::TimestampOutOfRange { .. } => 401,
            },
            Self::Secret(_) | Self::Inbox(InboxError::File(_) | InboxError::Record(_) | InboxError::Scan(_)) => 503,
        }
    }

    /// What the sender is told: enough to mend it, nothing about us.
    pub fn public_message(&self) -> String {
        match self {
            Self::Inbox(InboxError::TooLarge(_)) => "the body is larger than is taken".to_owned(),
            Self::Secret(_)
            | Self::Inbox(InboxError::File(_) | InboxError::Record(_) | InboxError::Scan(_))
            | Self::Refused(Refusal::SecretUnusable(_)) => "temporarily unavailable; please send it again".to_owned(),
            Self::Refused(Refusal::WrongAddress) => Self::UnknownRoute.to_string(),
            Self::UnknownRoute
            | Self::MethodNotAllowed { .. }
            | Self::InvalidHandshake
            | Self::WrongVerifyToken
            | Self::BodyTooLarge { .. }
            | Self::UnsupportedContentType(_)
            | Self::Refused(_) => self.to_string(),
        }
    }

    /// The methods that are taken, if it was another.
    pub fn allowed_methods(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allows_get: true } => Some("GET, POST"),
            Self::MethodNotAllowed { allows_get: false } => Some("POST"),
            _ => None,
        }
    }

    /// Whether an operator has something to do.
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::Secret(error) => matches!(error.fault(), tellonce_core::fault::Fault::Transient),
            Self::Inbox(_) | Self::Refused(Refusal::SecretUnusable(_)) => true,
            Self::UnknownRoute
            | Self::MethodNotAllowed { .. }
            | Self::InvalidHandshake
            | Self::WrongVerifyToken
            | Self::BodyTooLarge { .. }
            | Self::UnsupportedContentType(_)
            | Self::Refused(_) => false,
        }
    }
}
