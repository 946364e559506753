//! The `EZWhatsApp` Channel API: health and sends. Facts and their sources: `docs/ezwhatsapp.md`.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::health::LineHealth;
use crate::{
    contact::Phone,
    ledger::{IdempotencyKey, Payload, SendRoute},
    secret::Secret,
};

/// How long a send may take. Short enough that a function can still settle its claim, long enough for a slow day.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest text and button that are submitted, in characters: `WhatsApp`'s usual limits; `EZWhatsApp` publishes none.
const MAX_TEXT_CHARS: usize = 4096;
const MAX_BUTTON_CHARS: usize = 20;
/// The fields that `/messages/media` is assumed to take. `EZWhatsApp` publishes none of them: only the path is known.
pub const MEDIA_FIELDS: [&str; 4] = ["to", "mediaUrl", "caption", "filename"];

/// A message as `EZWhatsApp` takes it. Field names are its own.
#[derive(Serialize)]
struct EzwTextBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(rename = "conversationId", skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a str>,
    body: &'a str,
    #[serde(rename = "ctaUrlButton", skip_serializing_if = "Option::is_none")]
    button: Option<EzwButtonBody<'a>>,
}

#[derive(Serialize)]
struct EzwButtonBody<'a> {
    #[serde(rename = "displayText")]
    text: &'a str,
    url: &'a str,
}

/// What is to be said to whom, in our own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EzwMessage {
    /// The text.
    pub text: String,
    /// A button below it: what stands on it, and the link it opens.
    pub button: Option<(String, String)>,
    /// A document to send as such: its URL. Only with the `media = "attachment-experimental"` setting.
    pub document: Option<String>,
}

/// A message that `EZWhatsApp` would not take, found before asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EzwMessageError {
    /// The text is empty.
    #[error("the text is empty")]
    EmptyText,
    /// The text is too long.
    #[error("the text is longer than {MAX_TEXT_CHARS} characters")]
    TextTooLong,
    /// The button's text is empty or too long.
    #[error("the button's text must have 1 to {MAX_BUTTON_CHARS} characters")]
    InvalidButtonText,
    /// A link is not an absolute https URL.
    #[error("a link is not an absolute https URL")]
    InvalidLink,
}

impl EzwMessageError {
    /// What is recorded: stable, kebab-case.
    pub const fn code(self) -> &'static str {
        "text-not-sendable"
    }
}

impl EzwMessage {
    /// Where it goes, and the very bytes that are sent, now and at every later attempt.
    pub fn build_payload(&self, to: &Phone) -> Result<Payload, EzwMessageError> {
        self.check_limits()?;
        let (route, body) = if let Some(url) = &self.document {
            let filename = url::Url::parse(url)
                .ok()
                .and_then(|url| url.path_segments()?.next_back().map(str::to_owned))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "document".to_owned());
            let values = [to.expose(), url.as_str(), self.text.as_str(), filename.as_str()];
            let fields = MEDIA_FIELDS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.into()));
            (SendRoute::Media, serde_json::Value::Object(fields.collect()).to_string())
        } else {
            (SendRoute::Text, self.build_text_body(Some(to.expose()), None))
        };
        Ok(Payload { route, body })
    }

    /// The same for an answer in a conversation that the line reported. Its id says better where the answer belongs than a
    /// number does. An answer has no document.
    pub fn build_payload_in_conversation(&self, conversation: &str) -> Result<Payload, EzwMessageError> {
        self.check_limits()?;
        Ok(Payload { route: SendRoute::Text, body: self.build_text_body(None, Some(conversation)) })
    }

    fn build_text_body(&self, to: Option<&str>, conversation: Option<&str>) -> String {
        let button = self.button.as_ref().map(|(text, url)| EzwButtonBody { text: text.trim(), url });
        let body = EzwTextBody { to, conversation, body: &self.text, button };
        // Strings only: this cannot fail to serialise; an empty body would be refused with a clear answer.
        serde_json::to_string(&body).unwrap_or_default()
    }

    fn check_limits(&self) -> Result<(), EzwMessageError> {
        if self.text.trim().is_empty() {
            return Err(EzwMessageError::EmptyText);
        }
        if self.text.chars().count() > MAX_TEXT_CHARS {
            return Err(EzwMessageError::TextTooLong);
        }
        if let Some((text, _)) = &self.button
            && !(1..=MAX_BUTTON_CHARS).contains(&text.trim().chars().count())
        {
            return Err(EzwMessageError::InvalidButtonText);
        }
        for link in self.button.iter().map(|(_, url)| url).chain(&self.document) {
            let absolute = url::Url::parse(link).is_ok_and(|url| url.scheme() == "https" && url.has_host());
            if !absolute {
                return Err(EzwMessageError::InvalidLink);
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
    RateLimited {
        /// How long to wait, if the answer says.
        retry_after: Option<SignedDuration>,
    },
    /// The line's token was refused; nothing was sent.
    Unauthorized,
    /// Refused for good; nothing was sent.
    Refused(String),
    /// The key is in use or was used for another message.
    Conflict(String),
    /// It never left us.
    NotSent(String),
    /// Nobody knows.
    Unknown(String),
}

/// The Channel API.
#[derive(Debug, Clone)]
pub struct EzwClient {
    http: reqwest::Client,
    base_url: String,
}

impl EzwClient {
    /// At a base URL such as `https://app.ezw.solutions`, without `/api/v1`.
    pub fn new(http: reqwest::Client, base_url: &str) -> Self {
        Self { http, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// Asks for a line's health without waking it: `wakeup` defaults to true there, and waking is a human's decision.
    ///
    /// No answer at all reads as HTTP status 0, which is not sendable; a refused token reads as 401.
    pub async fn get_health(&self, token: &Secret) -> LineHealth {
        let url = format!("{}/api/v1/health?wakeup=false&channel_type=web", self.base_url);
        let request = self.http.get(url).bearer_auth(token.expose()).timeout(HEALTH_TIMEOUT);
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                LineHealth::parse_response(status, &response.bytes().await.unwrap_or_default())
            }
            Err(_) => LineHealth::default(),
        }
    }

    /// Submits a payload under its key, once. The caller decides whether to do it again.
    pub async fn send_payload(&self, token: &Secret, key: &IdempotencyKey, payload: &Payload) -> SendOutcome {
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
        parse_send_response(status, retry_after, &body)
    }
}

/// What an answer means. Decided on the HTTP status alone, because the form of an error's body is not published.
fn parse_send_response(status: StatusCode, retry_after: Option<SignedDuration>, body: &[u8]) -> SendOutcome {
    let reason = || format!("EZWhatsApp answered {}{}", status.as_u16(), parse_error_code(body));
    match status.as_u16() {
        200..=299 => SendOutcome::Accepted { provider_id: parse_provider_id(body) },
        401 => SendOutcome::Unauthorized,
        429 => SendOutcome::RateLimited { retry_after },
        // Whether the first use of the key arrived, only a human can see.
        409 | 422 => SendOutcome::Conflict(reason()),
        // A gateway's or a worker's trouble may come after the message was queued.
        408 | 500..=599 => SendOutcome::Unknown(reason()),
        _ => SendOutcome::Refused(reason()),
    }
}

/// The error code in an answer, when it looks like one: a short word, never free text that could hold personal data.
fn parse_error_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum EzwErrorBody {
        Text(String),
        Object { code: Option<String> },
    }
    #[derive(Deserialize)]
    struct EzwErrorResponse {
        error: Option<EzwErrorBody>,
        code: Option<String>,
    }
    let code = serde_json::from_slice::<EzwErrorResponse>(body).ok().and_then(|response| match response.error {
        Some(EzwErrorBody::Text(text)) => Some(text),
        Some(EzwErrorBody::Object { code }) => code.or(response.code),
        None => response.code,
    });
    let is_code = |code: &String| code.len() <= 60 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    code.filter(is_code).map(|code| format!(" {code}")).unwrap_or_default()
}

/// The id in the answer to a send. Its name is not published; these are tried in order.
fn parse_provider_id(body: &[u8]) -> Option<String> {
    let response: serde_json::Value = serde_json::from_slice(body).ok()?;
    ["/id", "/messageId", "/message_id", "/attemptId", "/sendAttemptId", "/message/id", "/data/id"]
        .into_iter()
        .find_map(|pointer| match response.pointer(pointer)? {
            serde_json::Value::String(id) if !id.is_empty() && id.len() <= 200 => Some(id.clone()),
            serde_json::Value::Number(id) => Some(id.to_string()),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_phone() -> Phone {
        Phone::from_e164("+972545550199").unwrap()
    }

    fn text_message(text: &str) -> EzwMessage {
        EzwMessage { text: text.into(), button: None, document: None }
    }

    #[test]
    fn a_text_with_a_button_is_sent_in_the_published_fields() {
        let message = EzwMessage {
            button: Some(("Track".into(), "https://track.example.com/1".into())),
            ..text_message("Your order is on its way")
        };
        let payload = message.build_payload(&test_phone()).unwrap();
        assert_eq!(payload.route, SendRoute::Text);
        assert_eq!(
            payload.body,
            r#"{"to":"+972545550199","body":"Your order is on its way","ctaUrlButton":{"displayText":"Track","url":"https://track.example.com/1"}}"#
        );
    }

    #[test]
    fn an_acknowledgement_names_its_conversation_and_no_number() {
        let payload = text_message("Thanks!").build_payload_in_conversation("conv-1").unwrap();
        assert_eq!(
            (payload.route, payload.body.as_str()),
            (SendRoute::Text, r#"{"conversationId":"conv-1","body":"Thanks!"}"#)
        );
        assert_eq!(text_message(" ").build_payload_in_conversation("conv-1"), Err(EzwMessageError::EmptyText));
    }

    #[test]
    fn an_unsendable_message_is_refused_before_any_request() {
        assert_eq!(text_message(" \n").build_payload(&test_phone()), Err(EzwMessageError::EmptyText));
        assert_eq!(text_message(&"א".repeat(4097)).build_payload(&test_phone()), Err(EzwMessageError::TextTooLong));
        assert!(text_message(&"א".repeat(4096)).build_payload(&test_phone()).is_ok());
        for (label, url, error) in [
            ("", "https://a.example", EzwMessageError::InvalidButtonText),
            ("twenty-one characters", "https://a.example", EzwMessageError::InvalidButtonText),
            ("ok", "http://a.example", EzwMessageError::InvalidLink),
            ("ok", "/relative", EzwMessageError::InvalidLink),
        ] {
            let message = EzwMessage { button: Some((label.into(), url.into())), ..text_message("t") };
            assert_eq!(message.build_payload(&test_phone()), Err(error), "{label} {url}");
        }
    }

    #[test]
    fn a_document_is_sent_in_the_assumed_fields() {
        let message =
            EzwMessage { document: Some("https://shop.example/i/INV-1.pdf".into()), ..text_message("Your invoice") };
        let payload = message.build_payload(&test_phone()).unwrap();
        assert_eq!(payload.route, SendRoute::Media);
        let body: serde_json::Value = serde_json::from_str(&payload.body).unwrap();
        assert_eq!(body["filename"], "INV-1.pdf");
        assert_eq!(body["mediaUrl"], "https://shop.example/i/INV-1.pdf");
    }

    #[test]
    fn every_http_status_maps_to_its_send_outcome() {
        let of = |status: u16| {
            parse_send_response(StatusCode::from_u16(status).unwrap(), None, br#"{"error":"some_code","id":"m1"}"#)
        };
        for status in [200, 201, 202, 204] {
            assert_eq!(of(status), SendOutcome::Accepted { provider_id: Some("m1".into()) });
        }
        assert_eq!(of(401), SendOutcome::Unauthorized);
        assert_eq!(of(429), SendOutcome::RateLimited { retry_after: None });
        for status in [400, 403, 404, 413, 415, 302] {
            assert_eq!(of(status), SendOutcome::Refused(format!("EZWhatsApp answered {status} some_code")));
        }
        for status in [409, 422] {
            assert!(matches!(of(status), SendOutcome::Conflict(_)));
        }
        for status in [408, 500, 502, 503, 504, 599] {
            assert!(matches!(of(status), SendOutcome::Unknown(_)));
        }
    }

    #[test]
    fn provider_ids_are_found_in_every_known_field_and_may_be_absent() {
        for body in [r#"{"id":"x"}"#, r#"{"message":{"id":"x"}}"#, r#"{"data":{"id":"x"}}"#, r#"{"messageId":"x"}"#] {
            assert_eq!(parse_provider_id(body.as_bytes()).as_deref(), Some("x"), "{body}");
        }
        assert_eq!(parse_provider_id(br#"{"id":9007199254740993}"#).as_deref(), Some("9007199254740993"));
        for body in ["", "{}", "[]", "queued", r#"{"id":""}"#] {
            assert_eq!(parse_provider_id(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn only_text_that_looks_like_a_code_reaches_a_reason() {
        assert_eq!(parse_error_code(br#"{"error":"invalid_channel_api_token"}"#), " invalid_channel_api_token");
        assert_eq!(parse_error_code(br#"{"error":{"code":"rate_limited"}}"#), " rate_limited");
        assert_eq!(parse_error_code(br#"{"error":"number +972545550199 is not on WhatsApp"}"#), "");
        assert_eq!(parse_error_code(b"plain text"), "");
    }
}
