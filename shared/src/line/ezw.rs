//! The `EZWhatsApp` Channel API: health and sends. Facts and their sources: `docs/ezwhatsapp.md`.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::health::Health;
use crate::{
    contact::Phone,
    ledger::{Key, Payload, Route},
    secret::Secret,
};

/// How long a send may take. Short enough that a function can still settle its claim, long enough for a slow day.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest text and button that are submitted, in characters: `WhatsApp`'s usual limits; `EZWhatsApp` publishes none.
const MAX_TEXT: usize = 4096;
const MAX_BUTTON: usize = 20;
/// The fields that `/messages/media` is assumed to take. `EZWhatsApp` publishes none of them: only the path is known.
pub const MEDIA_FIELDS: [&str; 4] = ["to", "mediaUrl", "caption", "filename"];

/// A message as `EZWhatsApp` takes it. Field names are its own.
#[derive(Serialize)]
struct TextBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(rename = "conversationId", skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a str>,
    body: &'a str,
    #[serde(rename = "ctaUrlButton", skip_serializing_if = "Option::is_none")]
    button: Option<ButtonBody<'a>>,
}

#[derive(Serialize)]
struct ButtonBody<'a> {
    #[serde(rename = "displayText")]
    text: &'a str,
    url: &'a str,
}

/// What is to be said to whom, in our own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The text.
    pub text: String,
    /// A button below it: what stands on it, and the link it opens.
    pub button: Option<(String, String)>,
    /// A document to send as such: its URL. Only with the `media = "assumed"` setting.
    pub document: Option<String>,
}

/// A message that `EZWhatsApp` would not take, found before asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EzwError {
    /// The text is empty.
    #[error("the text is empty")]
    EmptyText,
    /// The text is too long.
    #[error("the text is longer than {MAX_TEXT} characters")]
    LongText,
    /// The button's text is empty or too long.
    #[error("the button's text must have 1 to {MAX_BUTTON} characters")]
    ButtonText,
    /// A link is not an absolute https URL.
    #[error("a link is not an absolute https URL")]
    Link,
}

impl EzwError {
    /// What is recorded: stable, kebab-case.
    pub const fn code(self) -> &'static str {
        "text-not-sendable"
    }
}

impl Message {
    /// Where it goes, and the very bytes that are sent, now and at every later attempt.
    pub fn payload(&self, to: &Phone) -> Result<Payload, EzwError> {
        self.check()?;
        let (route, body) = if let Some(url) = &self.document {
            let filename = url::Url::parse(url)
                .ok()
                .and_then(|url| url.path_segments()?.next_back().map(str::to_owned))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "document".to_owned());
            let values = [to.expose(), url.as_str(), self.text.as_str(), filename.as_str()];
            let fields = MEDIA_FIELDS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.into()));
            (Route::Media, serde_json::Value::Object(fields.collect()).to_string())
        } else {
            (Route::Text, self.text_body(Some(to.expose()), None))
        };
        Ok(Payload { route, body })
    }

    /// The same for an answer in a conversation that the line reported. Its id says better where the answer belongs than a
    /// number does. An answer has no document.
    pub fn payload_in(&self, conversation: &str) -> Result<Payload, EzwError> {
        self.check()?;
        Ok(Payload { route: Route::Text, body: self.text_body(None, Some(conversation)) })
    }

    fn text_body(&self, to: Option<&str>, conversation: Option<&str>) -> String {
        let button = self.button.as_ref().map(|(text, url)| ButtonBody { text: text.trim(), url });
        let body = TextBody { to, conversation, body: &self.text, button };
        // Strings only: this cannot fail to serialise; an empty body would be refused with a clear answer.
        serde_json::to_string(&body).unwrap_or_default()
    }

    fn check(&self) -> Result<(), EzwError> {
        if self.text.trim().is_empty() {
            return Err(EzwError::EmptyText);
        }
        if self.text.chars().count() > MAX_TEXT {
            return Err(EzwError::LongText);
        }
        if let Some((text, _)) = &self.button
            && !(1..=MAX_BUTTON).contains(&text.trim().chars().count())
        {
            return Err(EzwError::ButtonText);
        }
        for link in self.button.iter().map(|(_, url)| url).chain(&self.document) {
            let absolute = url::Url::parse(link).is_ok_and(|url| url.scheme() == "https" && url.has_host());
            if !absolute {
                return Err(EzwError::Link);
            }
        }
        Ok(())
    }
}

/// What became of a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// Taken for delivery. The id's name is not published, so it may be absent.
    Accepted {
        /// The id in the answer.
        provider_id: Option<String>,
    },
    /// Too fast; nothing was sent.
    TooFast {
        /// How long to wait, if the answer says.
        retry_after: Option<SignedDuration>,
    },
    /// The line's token was refused; nothing was sent.
    Unauthorized,
    /// Refused for good; nothing was sent.
    Refused(String),
    /// The key is in use or was used for another message.
    Contested(String),
    /// It never left us.
    NotSent(String),
    /// Nobody knows.
    Unknown(String),
}

/// The Channel API.
#[derive(Debug, Clone)]
pub struct Ezw {
    http: reqwest::Client,
    base_url: String,
}

impl Ezw {
    /// At a base URL such as `https://app.ezw.solutions`, without `/api/v1`.
    pub fn new(http: reqwest::Client, base_url: &str) -> Self {
        Self { http, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// Asks for a line's health without waking it: `wakeup` defaults to true there, and waking is a human's decision.
    ///
    /// No answer at all reads as HTTP status 0, which is not sendable; a refused token reads as 401.
    pub async fn health(&self, token: &Secret) -> Health {
        let url = format!("{}/api/v1/health?wakeup=false&channel_type=web", self.base_url);
        let request = self.http.get(url).bearer_auth(token.expose()).timeout(HEALTH_TIMEOUT);
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                Health::read(status, &response.bytes().await.unwrap_or_default())
            }
            Err(_) => Health::default(),
        }
    }

    /// Submits a payload under its key, once. The caller decides whether to do it again.
    pub async fn send(&self, token: &Secret, key: &Key, payload: &Payload) -> SendOutcome {
        let request = self
            .http
            .post(format!("{}/api/v1{}", self.base_url, payload.route.path()))
            .bearer_auth(token.expose())
            .header("content-type", "application/json")
            .header("idempotency-key", key.to_string())
            .timeout(SEND_TIMEOUT)
            .body(payload.body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                return SendOutcome::NotSent("EZWhatsApp could not be reached".to_owned());
            }
            Err(error) if error.is_builder() => {
                return SendOutcome::Refused("the request could not be built".to_owned());
            }
            Err(error) if error.is_timeout() => {
                return SendOutcome::Unknown("EZWhatsApp did not answer in time".to_owned());
            }
            Err(_) => return SendOutcome::Unknown("the connection broke before the answer".to_owned()),
        };
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.trim().parse::<i64>().ok())
            .filter(|seconds| (0..=86_400).contains(seconds))
            .map(SignedDuration::from_secs);
        let body = response.bytes().await.unwrap_or_default();
        outcome(status, retry_after, &body)
    }
}

/// What an answer means. Decided on the HTTP status alone, because the form of an error's body is not published.
fn outcome(status: StatusCode, retry_after: Option<SignedDuration>, body: &[u8]) -> SendOutcome {
    let told = || format!("EZWhatsApp answered {}{}", status.as_u16(), error_code(body));
    match status.as_u16() {
        200..=299 => SendOutcome::Accepted { provider_id: provider_id(body) },
        401 => SendOutcome::Unauthorized,
        429 => SendOutcome::TooFast { retry_after },
        // Whether the first use of the key arrived, only a human can see.
        409 | 422 => SendOutcome::Contested(told()),
        // A gateway's or a worker's trouble may come after the message was queued.
        408 | 500..=599 => SendOutcome::Unknown(told()),
        _ => SendOutcome::Refused(told()),
    }
}

/// The error code in an answer, when it looks like one: a short word, never free text that could hold personal data.
fn error_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Error {
        Text(String),
        Object { code: Option<String> },
    }
    #[derive(Deserialize)]
    struct Answer {
        error: Option<Error>,
        code: Option<String>,
    }
    let code = serde_json::from_slice::<Answer>(body).ok().and_then(|answer| match answer.error {
        Some(Error::Text(text)) => Some(text),
        Some(Error::Object { code }) => code.or(answer.code),
        None => answer.code,
    });
    let is_code = |code: &String| code.len() <= 60 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    code.filter(is_code).map(|code| format!(" {code}")).unwrap_or_default()
}

/// The id in the answer to a send. Its name is not published; these are tried in order.
fn provider_id(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    ["/id", "/messageId", "/message_id", "/attemptId", "/sendAttemptId", "/message/id", "/data/id"]
        .into_iter()
        .find_map(|pointer| match answer.pointer(pointer)? {
            serde_json::Value::String(id) if !id.is_empty() && id.len() <= 200 => Some(id.clone()),
            serde_json::Value::Number(id) => Some(id.to_string()),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone() -> Phone {
        Phone::from_e164("+972545550199").unwrap()
    }

    fn text(text: &str) -> Message {
        Message { text: text.into(), button: None, document: None }
    }

    #[test]
    fn a_text_with_a_button_is_sent_in_the_published_fields() {
        let message = Message {
            button: Some(("Track".into(), "https://track.example.com/1".into())),
            ..text("Your order is on its way")
        };
        let payload = message.payload(&phone()).unwrap();
        assert_eq!(payload.route, Route::Text);
        assert_eq!(
            payload.body,
            r#"{"to":"+972545550199","body":"Your order is on its way","ctaUrlButton":{"displayText":"Track","url":"https://track.example.com/1"}}"#
        );
    }

    #[test]
    fn an_answer_names_its_conversation_and_no_number() {
        let payload = text("Thanks!").payload_in("conv-1").unwrap();
        assert_eq!(
            (payload.route, payload.body.as_str()),
            (Route::Text, r#"{"conversationId":"conv-1","body":"Thanks!"}"#)
        );
        assert_eq!(text(" ").payload_in("conv-1"), Err(EzwError::EmptyText));
    }

    #[test]
    fn what_could_not_be_sent_is_refused_before_asking() {
        assert_eq!(text(" \n").payload(&phone()), Err(EzwError::EmptyText));
        assert_eq!(text(&"א".repeat(4097)).payload(&phone()), Err(EzwError::LongText));
        assert!(text(&"א".repeat(4096)).payload(&phone()).is_ok());
        for (label, url, error) in [
            ("", "https://a.example", EzwError::ButtonText),
            ("twenty-one characters", "https://a.example", EzwError::ButtonText),
            ("ok", "http://a.example", EzwError::Link),
            ("ok", "/relative", EzwError::Link),
        ] {
            let message = Message { button: Some((label.into(), url.into())), ..text("t") };
            assert_eq!(message.payload(&phone()), Err(error), "{label} {url}");
        }
    }

    #[test]
    fn a_document_goes_out_in_the_assumed_fields() {
        let message = Message { document: Some("https://shop.example/i/INV-1.pdf".into()), ..text("Your invoice") };
        let payload = message.payload(&phone()).unwrap();
        assert_eq!(payload.route, Route::Media);
        let body: serde_json::Value = serde_json::from_str(&payload.body).unwrap();
        assert_eq!(body["filename"], "INV-1.pdf");
        assert_eq!(body["mediaUrl"], "https://shop.example/i/INV-1.pdf");
    }

    #[test]
    fn every_status_has_its_meaning() {
        let of =
            |status: u16| outcome(StatusCode::from_u16(status).unwrap(), None, br#"{"error":"some_code","id":"m1"}"#);
        for status in [200, 201, 202, 204] {
            assert_eq!(of(status), SendOutcome::Accepted { provider_id: Some("m1".into()) });
        }
        assert_eq!(of(401), SendOutcome::Unauthorized);
        assert_eq!(of(429), SendOutcome::TooFast { retry_after: None });
        for status in [400, 403, 404, 413, 415, 302] {
            assert_eq!(of(status), SendOutcome::Refused(format!("EZWhatsApp answered {status} some_code")));
        }
        for status in [409, 422] {
            assert!(matches!(of(status), SendOutcome::Contested(_)));
        }
        for status in [408, 500, 502, 503, 504, 599] {
            assert!(matches!(of(status), SendOutcome::Unknown(_)));
        }
    }

    #[test]
    fn ids_are_found_wherever_they_may_stand_and_missed_without_harm() {
        for body in [r#"{"id":"x"}"#, r#"{"message":{"id":"x"}}"#, r#"{"data":{"id":"x"}}"#, r#"{"messageId":"x"}"#] {
            assert_eq!(provider_id(body.as_bytes()).as_deref(), Some("x"), "{body}");
        }
        assert_eq!(provider_id(br#"{"id":9007199254740993}"#).as_deref(), Some("9007199254740993"));
        for body in ["", "{}", "[]", "queued", r#"{"id":""}"#] {
            assert_eq!(provider_id(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn only_words_that_look_like_codes_reach_a_reason() {
        assert_eq!(error_code(br#"{"error":"invalid_channel_api_token"}"#), " invalid_channel_api_token");
        assert_eq!(error_code(br#"{"error":{"code":"rate_limited"}}"#), " rate_limited");
        assert_eq!(error_code(br#"{"error":"number +972545550199 is not on WhatsApp"}"#), "");
        assert_eq!(error_code(b"plain text"), "");
    }
}
