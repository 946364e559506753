//! What a sender is answered: the one place where our words become HTTP.

use http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use shared::{client_config::FormKind, delivery::Refusal, fault::Faulty, inbox::InboxError, secret::SecretError};

use super::SenderKind;

/// What is said to a sender whose request was accepted, which is always answered 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// An empty object.
    EmptyObject,
    /// What it asked us to repeat.
    Challenge(String),
}

impl Answer {
    /// To a delivery. Google Ads reads JSON; nobody else reads anything.
    pub fn to(sender: SenderKind) -> Self {
        match sender {
            SenderKind::Form(FormKind::GoogleAds) => Self::EmptyObject,
            SenderKind::Store | SenderKind::Calendar | SenderKind::Form(_) | SenderKind::Line => Self::Nothing,
        }
    }
}

/// As a response.
pub(super) fn response(outcome: Result<Answer, NotAccepted>) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    match outcome {
        Ok(Answer::Nothing) => Response::new(Body::Empty),
        Ok(Answer::EmptyObject) => text(json, "{}".to_owned()),
        Ok(Answer::Challenge(challenge)) => text(HeaderValue::from_static("text/plain"), challenge),
        Err(reason) => {
            let mut response = text(json, serde_json::json!({ "message": reason.message() }).to_string());
            *response.status_mut() = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if let Some(allowed) = reason.allowed() {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            response
        }
    }
}

fn text(content_type: HeaderValue, text: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(text));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Why a delivery was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// No store, calendar, form or line of this name is configured, or the path is none of ours.
    #[error("nothing is configured for this path")]
    UnknownRoute,
    /// Only POST is taken, and GET where somebody asks before posting.
    #[error("only POST{} is taken here", if *.asked_first { ", or GET for the handshake," } else { "" })]
    Method {
        /// Whether it is such a place.
        asked_first: bool,
    },
    /// A handshake without what belongs to one.
    #[error("a handshake has hub.mode=subscribe, hub.verify_token and hub.challenge")]
    NoHandshake,
    /// A handshake with another token than ours.
    #[error("the verify token is not the one that is stored for this form")]
    WrongToken,
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
            Self::NoHandshake => 400,
            Self::WrongToken => 403,
            Self::Method { .. } => 405,
            Self::TooLarge { .. } | Self::Inbox(InboxError::TooLarge(_)) => 413,
            Self::ContentType(_) => 415,
            Self::NotBelieved(refusal) => match refusal {
                Refusal::OtherShop | Refusal::OtherLine => 403,
                Refusal::Incomplete(_) => 400,
                // As if there were nothing: whoever tries addresses learns of none.
                Refusal::WrongAddress => 404,
                // Our own secret is unusable: the sender did nothing wrong, and shall come again.
                Refusal::SecretUnusable(_) => 503,
                Refusal::HeaderMissing(_)
                | Refusal::HeaderMalformed(_)
                | Refusal::Unsigned
                | Refusal::Mismatch
                | Refusal::KeyMissing(_)
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
            Self::NotBelieved(Refusal::WrongAddress) => Self::UnknownRoute.to_string(),
            Self::UnknownRoute
            | Self::Method { .. }
            | Self::NoHandshake
            | Self::WrongToken
            | Self::TooLarge { .. }
            | Self::ContentType(_)
            | Self::NotBelieved(_) => self.to_string(),
        }
    }

    /// The methods that are taken, if it was another.
    pub fn allowed(&self) -> Option<&'static str> {
        match self {
            Self::Method { asked_first: true } => Some("GET, POST"),
            Self::Method { asked_first: false } => Some("POST"),
            _ => None,
        }
    }

    /// Whether an operator has something to do.
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::Secret(error) => matches!(error.fault(), shared::fault::Fault::Transient),
            Self::Inbox(_) | Self::NotBelieved(Refusal::SecretUnusable(_)) => true,
            Self::UnknownRoute
            | Self::Method { .. }
            | Self::NoHandshake
            | Self::WrongToken
            | Self::TooLarge { .. }
            | Self::ContentType(_)
            | Self::NotBelieved(_) => false,
        }
    }
}
