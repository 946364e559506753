//! The one call. Facts: `POST /api/v1/webhooks` with a line's token, `targetUrl`, `events`, `payloadFormat`, `enabled` and
//! `persistent`; 400 `invalid_channel_webhook`, 401 `invalid_channel_api_token` (<https://ezw.solutions/links/help/webhooks>). What a
//! success looks like is not published.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tellonce_core::{http_body, secret::Secret};
use url::Url;

/// What is asked for: messages, and what becomes of them. `chats.post` says nothing that these two do not.
pub(super) const WEBHOOK_EVENTS: [&str; 2] = ["messages.post", "statuses.post"];
/// The only format that there is.
pub(super) const PAYLOAD_FORMAT: &str = "whapi";
/// How long an answer may take: a human is waiting, and a call that is given up leaves them with a question.
const TIMEOUT: Duration = Duration::from_secs(30);
/// More than any answer to this is.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Where the webhook's id may stand in the answer. Its name is not published; these are tried in order.
const ID_POINTERS: [&str; 6] = ["/id", "/webhookId", "/webhook_id", "/webhook/id", "/data/id", "/data/webhook/id"];

/// A webhook as `EZWhatsApp` takes it. Field names are its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistrationRequest<'a> {
    target_url: &'a str,
    events: [&'static str; 2],
    payload_format: &'static str,
    enabled: bool,
    persistent: bool,
}

impl<'a> RegistrationRequest<'a> {
    /// One that reports to this address.
    pub(super) fn for_url(target_url: &'a str) -> Self {
        Self { target_url, events: WEBHOOK_EVENTS, payload_format: PAYLOAD_FORMAT, enabled: true, persistent: true }
    }
}

/// A webhook that is registered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebhookRegistration {
    /// Its id, if the answer named one.
    pub(super) id: Option<String>,
}

/// It is not registered, or nobody knows. Never holds the address or the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistrationError {
    /// It never left us.
    #[error("EZWhatsApp could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Nothing came back: it may be registered.
    #[error("EZWhatsApp did not answer")]
    NoResponse(#[source] reqwest::Error),
    /// Trouble on the other side: it may be registered.
    #[error("EZWhatsApp has trouble (HTTP {status})")]
    ServerError {
        /// HTTP status.
        status: u16,
    },
    /// It was refused.
    #[error("EZWhatsApp refuses it (HTTP {status}{})", code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its word for the reason, if that is a word and no free text.
        code: Option<String>,
    },
}

impl RegistrationError {
    /// Whether there may be a webhook now all the same.
    pub(super) fn may_have_registered(&self) -> bool {
        match self {
            Self::NoResponse(_) | Self::ServerError { .. } => true,
            Self::Unreachable(_) | Self::Refused { .. } => false,
        }
    }
}

/// Registers a webhook, in one call.
pub(super) async fn register_webhook(
    http: &Client,
    endpoint: &Url,
    token: &Secret,
    webhook: &RegistrationRequest<'_>,
) -> Result<WebhookRegistration, RegistrationError> {
    let request = http.post(endpoint.clone()).bearer_auth(token.expose()).json(webhook).timeout(TIMEOUT);
    let response = request.send().await.map_err(|error| {
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            RegistrationError::Unreachable(error)
        } else {
            RegistrationError::NoResponse(error)
        }
    })?;
    let status = response.status();
    // The status decides; a body that breaks off only costs the id, or the reason.
    let body = http_body::read_body_up_to(MAX_RESPONSE_BYTES, response).await.ok().flatten().unwrap_or_default();
    let reply: Value = serde_json::from_slice(&body).unwrap_or_default();
    interpret_response(status, &reply)
}

fn interpret_response(status: StatusCode, reply: &Value) -> Result<WebhookRegistration, RegistrationError> {
    let code = || {
        let code = ["/error/code", "/error", "/code"].iter().find_map(|at| reply.pointer(at)?.as_str())?;
        let is_word = code.len() <= 60 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_word.then(|| code.to_owned())
    };
    match status.as_u16() {
        200..=299 => Ok(WebhookRegistration { id: ID_POINTERS.iter().find_map(|at| extract_id(reply.pointer(at)?)) }),
        408 | 500..=599 => Err(RegistrationError::ServerError { status: status.as_u16() }),
        status => Err(RegistrationError::Refused { status, code: code() }),
    }
}

/// An id, if it looks like one: it is shown and kept.
fn extract_id(value: &Value) -> Option<String> {
    match value {
        Value::String(id) => {
            let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
            ((1..=100).contains(&id.len()) && plain).then(|| id.clone())
        }
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn interpret_status(status: u16, answer: &Value) -> Result<WebhookRegistration, RegistrationError> {
        interpret_response(StatusCode::from_u16(status).unwrap(), answer)
    }

    #[test]
    fn a_2xx_is_a_success_with_or_without_an_id() {
        for reply in [json!({"id": "wh_1"}), json!({"webhook": {"id": "wh_1"}}), json!({"data": {"id": "wh_1"}})] {
            assert_eq!(interpret_status(201, &reply).unwrap().id.as_deref(), Some("wh_1"));
        }
        assert_eq!(interpret_status(200, &json!({"webhookId": 7})).unwrap().id.as_deref(), Some("7"));
        for reply in [Value::Null, json!({"id": ""}), json!({"id": "https://a.example/lines/main/s3cret"}), json!([])] {
            assert_eq!(interpret_status(202, &reply).unwrap().id, None, "{reply}");
        }
    }

    #[test]
    fn only_timeouts_and_server_errors_may_have_registered() {
        for status in [408, 500, 502, 503, 504] {
            assert!(interpret_status(status, &Value::Null).unwrap_err().may_have_registered(), "{status}");
        }
        for status in [302, 400, 401, 403, 404, 409, 415, 422, 429] {
            assert!(!interpret_status(status, &Value::Null).unwrap_err().may_have_registered(), "{status}");
        }
    }

    #[test]
    fn a_reason_is_shown_only_if_it_is_a_word() {
        let error_text = |answer| interpret_status(400, &answer).unwrap_err().to_string();
        assert_eq!(error_text(json!({"error": {"code": "bad_url"}})), "EZWhatsApp refuses it (HTTP 400, bad_url)");
        assert_eq!(error_text(json!({"error": "bad_url"})), "EZWhatsApp refuses it (HTTP 400, bad_url)");
        assert_eq!(error_text(json!({"code": "at https://a.example/s3cret"})), "EZWhatsApp refuses it (HTTP 400)");
    }
}
