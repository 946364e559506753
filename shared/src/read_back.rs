//! Reading back: some senders report that something happened, and keep the rest for who asks.
//!
//! [`address`] says where to ask, [`ask`] carries the question, [`by_status`] says what a refusal means where HTTP alone
//! says it. What to ask for and what the answer means, each function knows of its own senders.
//!
//! Promised: of an answer nothing is written into an error but its numbers, of a question neither address nor credential.

use std::{fmt, time::Duration};

use reqwest::{RequestBuilder, Url};

use crate::{
    body,
    fault::{Fault, Faulty},
    json,
};

/// An answer takes well below a second; a function should not wait for an API that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than the largest appointment or lead, intake forms and all, could have.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// What a sender's API answered.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// What was asked for, as JSON.
    Found(Vec<u8>),
    /// There is no such thing, or no longer.
    NotThere,
}

/// The numbers of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// HTTP status.
    pub status: u16,
    /// The sender's own number for it, where it has one.
    pub code: Option<u32>,
}

impl From<u16> for Numbers {
    fn from(status: u16) -> Self {
        Self { status, code: None }
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        self.code.map_or(Ok(()), |code| write!(f, ", code {code}"))
    }
}

/// Why something could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// No answer came.
    #[error("the sender's API did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Too many questions.
    #[error("the sender's API asks for patience ({0})")]
    Throttled(Numbers),
    /// Trouble on the other side.
    #[error("the sender's API has trouble ({0})")]
    Trouble(Numbers),
    /// The credential is not accepted, or does not reach far enough.
    #[error("the sender's API does not accept our credential for this ({numbers}); store a valid one in {secret}")]
    Credential {
        /// What it said.
        numbers: Numbers,
        /// The name of the secret that it came from.
        secret: String,
    },
    /// Nothing that the API documents.
    #[error("the sender's API gave an answer that means nothing to us ({0})")]
    Unexpected(Numbers),
    /// The answer breaks off, or is no JSON at all.
    #[error("the sender's API gave an answer that is no JSON")]
    Broken,
    /// The answer doesn't end.
    #[error("the sender's API gave an answer of more than {LARGEST_ANSWER} bytes")]
    TooLarge,
    /// The configured address is none, or the sender has no API that we know.
    #[error("there is no address to ask the sender's API at")]
    Address,
}

impl Faulty for ReadBackError {
    fn fault(&self) -> Fault {
        match self {
            // Nothing is written by asking, so an unknown outcome is as good as none. A credential is mended from outside
            // while we run, and what the delivery reports must not be lost until then.
            Self::Unreachable(_) | Self::Throttled(_) | Self::Trouble(_) | Self::Credential { .. } | Self::Broken => {
                Fault::Transient
            }
            Self::Unexpected(_) | Self::TooLarge | Self::Address => Fault::Permanent,
        }
    }
}

/// An address below a sender's origin, or below the one that stands in for it in local runs and tests. An id in the path
/// stays one step of it, whatever is in it.
pub fn address(stand_in: Option<&str>, origin: &str, path: &[&str]) -> Result<Url, ReadBackError> {
    let mut url = Url::parse(stand_in.unwrap_or(origin)).map_err(|_| ReadBackError::Address)?;
    url.set_query(None);
    url.path_segments_mut().map_err(|()| ReadBackError::Address)?.clear().extend(path);
    Ok(url)
}

/// Asks. `refused` says what every answer but 200 means, by its status and its body, which is empty if it did not arrive.
pub async fn ask(
    question: RequestBuilder,
    refused: impl FnOnce(u16, &[u8]) -> Result<Answer, ReadBackError>,
) -> Result<Answer, ReadBackError> {
    let response = question.timeout(PATIENCE).send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let body = body::up_to(LARGEST_ANSWER, response).await;
    if status != 200 {
        return refused(status, &body.ok().flatten().unwrap_or_default());
    }
    let body = body.map_err(unreachable)?.ok_or(ReadBackError::TooLarge)?;
    // What breaks off would be read as if it said nothing.
    if json::document(&body).is_err() { Err(ReadBackError::Broken) } else { Ok(Answer::Found(body)) }
}

/// What a refusal means by its status. `secret` is the name of the secret that the credential is from.
pub fn by_status(numbers: impl Into<Numbers>, secret: &str) -> Result<Answer, ReadBackError> {
    let numbers = numbers.into();
    match numbers.status {
        404 => Ok(Answer::NotThere),
        429 => Err(ReadBackError::Throttled(numbers)),
        401 | 403 => Err(ReadBackError::Credential { numbers, secret: secret.to_owned() }),
        500.. => Err(ReadBackError::Trouble(numbers)),
        _ => Err(ReadBackError::Unexpected(numbers)),
    }
}

/// The address holds an id, and says nothing that helps.
fn unreachable(error: reqwest::Error) -> ReadBackError {
    ReadBackError::Unreachable(error.without_url())
}

#[cfg(test)]
mod tests {
    use loopback::{Peer, response};

    use super::*;
    use crate::{cold_start, fault::chain};

    const ORIGIN: &str = "https://api.example.com";

    async fn answered(given: &str) -> Result<Answer, ReadBackError> {
        let peer = Peer::start().await.unwrap();
        let address = address(Some(&peer.url().unwrap()), ORIGIN, &["things", "id-7"]).unwrap();
        let question = cold_start::http_client().unwrap().get(address).bearer_auth("hunter2");
        let refused = |status: u16, _: &[u8]| by_status(status, "tellonce/demo/things");
        let (request, answer) = tokio::join!(peer.answer(given), ask(question, refused));
        assert!(request.unwrap().starts_with("GET /things/id-7 HTTP/1.1\r\n"));
        answer
    }

    #[tokio::test]
    async fn what_was_asked_for_comes_back_as_it_is_or_is_not_there() {
        assert!(matches!(answered(&response("200 OK", "{}")).await, Ok(Answer::Found(body)) if body == b"{}"));
        assert!(matches!(answered(&response("404 Not Found", "{}")).await, Ok(Answer::NotThere)));
    }

    #[tokio::test]
    async fn every_refusal_is_an_error_that_knows_whether_to_try_again() {
        let too_long = "x".repeat(LARGEST_ANSWER + 1);
        for (head, body, fault, says) in [
            ("429 Too Many Requests", "", Fault::Transient, "patience"),
            ("503 Service Unavailable", "", Fault::Transient, "503"),
            ("401 Unauthorized", "secret-5", Fault::Transient, "tellonce/demo/things"),
            ("403 Forbidden", &too_long, Fault::Transient, "tellonce/demo/things"),
            ("400 Bad Request", "", Fault::Permanent, "400"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere.example/", "", Fault::Permanent, "301"),
            ("200 OK", &too_long, Fault::Permanent, "bytes"),
            ("200 OK", "{\"phone\":\"secret-5", Fault::Transient, "no JSON"),
            ("200 OK", "", Fault::Transient, "no JSON"),
        ] {
            let Err(error) = answered(&response(head, body)).await else { panic!("{head}") };
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(says) && !format!("{error:?}").contains("secret-5"), "{head}: {error}");
        }
        for cut in ["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "no http"] {
            assert!(matches!(answered(cut).await, Err(ReadBackError::Unreachable(_))), "{cut}");
        }
    }

    #[tokio::test]
    async fn who_is_away_is_asked_again_and_the_error_tells_neither_address_nor_credential() {
        let away = Peer::start().await.unwrap().url().unwrap();
        let address = address(Some(&away), ORIGIN, &["id-7"]).unwrap();
        let question = cold_start::http_client().unwrap().get(address).bearer_auth("hunter2");
        let Err(error) = ask(question, |status, _| by_status(status, "s")).await else { panic!() };
        assert_eq!(error.fault(), Fault::Transient);
        let shown = format!("{} {error:?}", chain(&error));
        assert!(!shown.contains("hunter2") && !shown.contains("id-7"), "{shown}");
    }

    #[test]
    fn an_id_is_one_step_of_the_path_whatever_is_in_it() {
        let of = |id: &str| address(None, ORIGIN, &["things", id]).unwrap().to_string();
        assert_eq!(of("a/../b?c#d"), "https://api.example.com/things/a%2F..%2Fb%3Fc%23d");
        assert_eq!(of(".."), "https://api.example.com/things");
        let local = address(Some("http://127.0.0.1:9/ignored?path"), ORIGIN, &["things"]).unwrap();
        assert_eq!(local.as_str(), "http://127.0.0.1:9/things");
        assert!(matches!(address(Some("nowhere"), ORIGIN, &[]), Err(ReadBackError::Address)));
    }

    #[test]
    fn a_refusal_is_told_by_its_numbers() {
        assert_eq!(Numbers::from(400).to_string(), "HTTP 400");
        assert_eq!(Numbers { status: 400, code: Some(190) }.to_string(), "HTTP 400, code 190");
    }
}
