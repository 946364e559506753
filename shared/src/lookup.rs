//! Lookups: requests to a sender's API for facts that a delivery leaves out.
//!
//! Flow: [`build_url`] builds the address; [`fetch_json`] sends the request; [`interpret_status`]
//! says what a status other than 200 means where HTTP alone defines it. Each function knows what to
//! request from its own senders, and what the response means.
//!
//! Main types: [`SenderApiError`] is why a lookup failed; [`LookupTrouble`] is a failure that may
//! pass.
//!
//! Promises: an error holds only the codes of a response, and neither the address nor the
//! credential of a request.

use std::{fmt, time::Duration};

use reqwest::{RequestBuilder, Url};

use crate::{
    fault::{ClassifyFault, Fault},
    http_body, json,
    secret::SecretError,
};

/// The largest accepted response, in bytes. The largest appointment or lead, with its intake forms,
/// takes less.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The result of a lookup.
#[derive(Clone, PartialEq, Eq)]
pub enum LookupResponse {
    /// The body of the response, which is JSON.
    Found(Vec<u8>),
    /// The requested item does not exist, or no longer exists.
    NotFound,
}

/// The codes of a response other than 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCodes {
    /// The HTTP status.
    pub status: u16,
    /// The sender's own error code, if it has one.
    pub code: Option<u32>,
}

impl From<u16> for ResponseCodes {
    fn from(status: u16) -> Self {
        Self { status, code: None }
    }
}

impl fmt::Display for ResponseCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        self.code.map_or(Ok(()), |code| write!(f, ", code {code}"))
    }
}

/// Trouble that keeps a lookup from succeeding now, and may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupTrouble {
    /// There was no response in time, or no connection.
    NoResponse,
    /// The API limits the rate.
    Throttled {
        /// The pause that it asks for.
        retry_after: Option<Duration>,
    },
    /// The API failed.
    ServerError,
    /// The credential is missing or refused. Only a person can end that.
    Credential,
    /// The invocation made no request.
    NotTried,
}

impl LookupTrouble {
    /// The trouble of a credential without a usable value. `None` if Secrets Manager failed.
    pub fn of_secret(error: &SecretError) -> Option<Self> {
        match error {
            SecretError::Missing { .. }
            | SecretError::Forbidden { .. }
            | SecretError::Empty { .. }
            | SecretError::Malformed { .. } => Some(Self::Credential),
            SecretError::Unavailable { .. } => None,
        }
    }
}

/// A lookup failed.
#[derive(Debug, thiserror::Error)]
pub enum SenderApiError {
    /// There was no response.
    #[error("the sender's API did not respond")]
    Unreachable(#[source] reqwest::Error),
    /// The API limits the rate.
    #[error("the sender's API limits the rate ({codes})")]
    Throttled {
        /// The codes of the response.
        codes: ResponseCodes,
        /// The pause that the API asks for, if it names one in seconds.
        retry_after: Option<Duration>,
    },
    /// The API failed.
    #[error("the sender's API failed ({0})")]
    ServerError(ResponseCodes),
    /// The credential is invalid, or lacks a permission.
    #[error("the sender's API refused the credential ({codes}); store a valid credential in {secret_name}")]
    CredentialRefused {
        /// The codes of the response.
        codes: ResponseCodes,
        /// The name of the secret that holds the credential.
        secret_name: String,
    },
    /// The API does not document this response.
    #[error("unexpected response from the sender's API ({0})")]
    Unexpected(ResponseCodes),
    /// The response is cut off, or is not JSON.
    #[error("the response of the sender's API is not JSON")]
    NotJson,
    /// The response is larger than any lookup needs.
    #[error("the response of the sender's API has more than {MAX_RESPONSE_BYTES} bytes")]
    ResponseTooLarge,
    /// The configured address is not a URL, or tellonce knows no API of the sender.
    #[error("the address of the sender's API is missing or is not a URL")]
    InvalidAddress,
}

impl ClassifyFault for SenderApiError {
    fn fault(&self) -> Fault {
        match self {
            // A lookup writes nothing, so it may be repeated after an unknown outcome. An operator
            // can replace a credential without a deployment, and the delivery must not be lost
            // until then.
            Self::Unreachable(_)
            | Self::Throttled { .. }
            | Self::ServerError(_)
            | Self::CredentialRefused { .. }
            | Self::NotJson => Fault::Transient,
            Self::Unexpected(_) | Self::ResponseTooLarge | Self::InvalidAddress => Fault::Permanent,
        }
    }
}

impl SenderApiError {
    /// What may pass; `None` if a repetition changes nothing.
    pub fn trouble(&self) -> Option<LookupTrouble> {
        match self {
            Self::Unreachable(_) => Some(LookupTrouble::NoResponse),
            Self::Throttled { retry_after, .. } => Some(LookupTrouble::Throttled { retry_after: *retry_after }),
            Self::ServerError(_) | Self::NotJson => Some(LookupTrouble::ServerError),
            Self::CredentialRefused { .. } => Some(LookupTrouble::Credential),
            Self::Unexpected(_) | Self::ResponseTooLarge | Self::InvalidAddress => None,
        }
    }
}

/// An address below a sender's origin, or below `base_url` in local runs and tests. An id in the
/// path stays one segment, whatever it contains.
pub fn build_url(base_url: Option<&str>, origin: &str, path: &[&str]) -> Result<Url, SenderApiError> {
    let mut url = Url::parse(base_url.unwrap_or(origin)).map_err(|_| SenderApiError::InvalidAddress)?;
    url.set_query(None);
    url.path_segments_mut().map_err(|()| SenderApiError::InvalidAddress)?.clear().extend(path);
    Ok(url)
}

/// Sends a lookup. `refused` interprets every status but 200. Its second argument is the body,
/// which is empty if it could not be read.
pub async fn fetch_json(
    request: RequestBuilder,
    refused: impl FnOnce(u16, &[u8]) -> Result<LookupResponse, SenderApiError>,
) -> Result<LookupResponse, SenderApiError> {
    let response = request.send().await.map_err(to_unreachable_error)?;
    let status = response.status().as_u16();
    let retry_after = read_retry_after(&response);
    let body = http_body::read_body_up_to(MAX_RESPONSE_BYTES, response).await;
    if status != 200 {
        return match refused(status, &body.ok().flatten().unwrap_or_default()) {
            Err(SenderApiError::Throttled { codes, .. }) => Err(SenderApiError::Throttled { codes, retry_after }),
            other => other,
        };
    }
    let body = body.map_err(to_unreachable_error)?.ok_or(SenderApiError::ResponseTooLarge)?;
    // A response that is cut off would be read as a response without facts.
    if json::parse_document(&body).is_err() { Err(SenderApiError::NotJson) } else { Ok(LookupResponse::Found(body)) }
}

/// The pause that a response asks for in `Retry-After`. A date is not read. Shopify writes `2.0`.
pub fn read_retry_after(response: &reqwest::Response) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.split('.').next()?.trim().parse().ok().map(Duration::from_secs)
}

/// Interprets a status other than 200. `secret` is the name of the secret that holds the
/// credential.
pub fn interpret_status(codes: impl Into<ResponseCodes>, secret: &str) -> Result<LookupResponse, SenderApiError> {
    let codes = codes.into();
    match codes.status {
        404 => Ok(LookupResponse::NotFound),
        429 => Err(SenderApiError::Throttled { codes, retry_after: None }),
        401 | 403 => Err(SenderApiError::CredentialRefused { codes, secret_name: secret.to_owned() }),
        500.. => Err(SenderApiError::ServerError(codes)),
        _ => Err(SenderApiError::Unexpected(codes)),
    }
}

/// Leaves out the address, because it holds an id and does not help.
fn to_unreachable_error(error: reqwest::Error) -> SenderApiError {
    SenderApiError::Unreachable(error.without_url())
}

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};

    use super::*;
    use crate::{bootstrap, fault::error_chain};

    const ORIGIN: &str = "https://api.example.com";

    async fn fetch_from_fake(given: &str) -> Result<LookupResponse, SenderApiError> {
        let fake_api = FakeApi::start().await.unwrap();
        let url = build_url(Some(&fake_api.base_url().unwrap()), ORIGIN, &["things", "id-7"]).unwrap();
        let request = bootstrap::build_http_client().unwrap().get(url).bearer_auth("hunter2");
        let refused = |status: u16, _: &[u8]| interpret_status(status, "tellonce/demo/things");
        let (request, answer) = tokio::join!(fake_api.reply_once(given), fetch_json(request, refused));
        assert!(request.unwrap().starts_with("GET /things/id-7 HTTP/1.1\r\n"));
        answer
    }

    #[tokio::test]
    async fn a_response_is_returned_unchanged_or_as_not_found() {
        assert!(
            matches!(fetch_from_fake(&http_response("200 OK", "{}")).await, Ok(LookupResponse::Found(body)) if body == b"{}")
        );
        assert!(matches!(fetch_from_fake(&http_response("404 Not Found", "{}")).await, Ok(LookupResponse::NotFound)));
    }

    #[tokio::test]
    async fn every_refusal_is_an_error_with_its_fault() {
        let too_long = "x".repeat(MAX_RESPONSE_BYTES + 1);
        for (head, body, fault, says) in [
            ("429 Too Many Requests", "", Fault::Transient, "rate"),
            ("503 Service Unavailable", "", Fault::Transient, "503"),
            ("401 Unauthorized", "secret-5", Fault::Transient, "tellonce/demo/things"),
            ("403 Forbidden", &too_long, Fault::Transient, "tellonce/demo/things"),
            ("400 Bad Request", "", Fault::Permanent, "400"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere.example/", "", Fault::Permanent, "301"),
            ("200 OK", &too_long, Fault::Permanent, "bytes"),
            ("200 OK", "{\"phone\":\"secret-5", Fault::Transient, "not JSON"),
            ("200 OK", "", Fault::Transient, "not JSON"),
        ] {
            let Err(error) = fetch_from_fake(&http_response(head, body)).await else { panic!("{head}") };
            assert_eq!((error.fault(), error.trouble().is_some()), (fault, fault == Fault::Transient), "{head}");
            assert!(error.to_string().contains(says) && !format!("{error:?}").contains("secret-5"), "{head}: {error}");
        }
        for cut in ["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "no http"] {
            assert!(matches!(fetch_from_fake(cut).await, Err(SenderApiError::Unreachable(_))), "{cut}");
        }
    }

    #[tokio::test]
    async fn the_pause_that_an_api_asks_for_is_kept() {
        for (head, expected) in [
            ("429 Too Many Requests\r\nretry-after: 90", Some(Duration::from_secs(90))),
            ("429 Too Many Requests\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("429 Too Many Requests", None),
        ] {
            let Err(error) = fetch_from_fake(&http_response(head, "")).await else { panic!("{head}") };
            assert_eq!(error.trouble(), Some(LookupTrouble::Throttled { retry_after: expected }), "{head}");
        }
    }

    #[tokio::test]
    async fn an_unreachable_api_is_a_transient_error_without_address_or_credential() {
        let away = FakeApi::start().await.unwrap().base_url().unwrap();
        let url = build_url(Some(&away), ORIGIN, &["id-7"]).unwrap();
        let request = bootstrap::build_http_client().unwrap().get(url).bearer_auth("hunter2");
        let Err(error) = fetch_json(request, |status, _| interpret_status(status, "s")).await else { panic!() };
        assert_eq!(error.fault(), Fault::Transient);
        let shown = format!("{} {error:?}", error_chain(&error));
        assert!(!shown.contains("hunter2") && !shown.contains("id-7"), "{shown}");
    }

    #[test]
    fn any_id_stays_one_path_segment() {
        let of = |id: &str| build_url(None, ORIGIN, &["things", id]).unwrap().to_string();
        assert_eq!(of("a/../b?c#d"), "https://api.example.com/things/a%2F..%2Fb%3Fc%23d");
        assert_eq!(of(".."), "https://api.example.com/things");
        let local = build_url(Some("http://127.0.0.1:9/ignored?path"), ORIGIN, &["things"]).unwrap();
        assert_eq!(local.as_str(), "http://127.0.0.1:9/things");
        assert!(matches!(build_url(Some("nowhere"), ORIGIN, &[]), Err(SenderApiError::InvalidAddress)));
    }

    #[test]
    fn a_refusal_is_displayed_by_its_status_and_code() {
        assert_eq!(ResponseCodes::from(400).to_string(), "HTTP 400");
        assert_eq!(ResponseCodes { status: 400, code: Some(190) }.to_string(), "HTTP 400, code 190");
    }
}
