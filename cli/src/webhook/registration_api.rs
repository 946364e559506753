//! The one call to EZWhatsApp: `POST /api/v1/webhooks` with a line's token, `targetUrl`, `events`,
//! `payloadFormat`, `enabled` and `persistent`.
//!
//! Documented refusals: 400 `invalid_channel_webhook`, 401 `invalid_channel_api_token`
//! (<https://ezw.solutions/links/help/webhooks>). The body of a success is not published.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tellonce_core::{http_body, secret::Secret};
use url::Url;

/// Messages and their delivery statuses. `chats.post` adds nothing to these two.
pub(super) const WEBHOOK_EVENTS: [&str; 2] = ["messages.post", "statuses.post"];
/// The only published format.
pub(super) const PAYLOAD_FORMAT: &str = "whapi";
/// A person waits for the response, but a call that is given up has an unknown outcome.
const TIMEOUT: Duration = Duration::from_secs(30);
/// More than any response to this call needs.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Where the response may contain the webhook's id, in the order tried. The field is not published.
const ID_POINTERS: [&str; 6] = ["/id", "/webhookId", "/webhook_id", "/webhook/id", "/data/id", "/data/webhook/id"];

/// A webhook with `EZWhatsApp`'s field names.
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
    pub(super) fn for_url(target_url: &'a str) -> Self {
        Self { target_url, events: WEBHOOK_EVENTS, payload_format: PAYLOAD_FORMAT, enabled: true, persistent: true }
    }
}

/// A registered webhook.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebhookRegistration {
    /// None if the response has no id.
    pub(super) id: Option<String>,
}

/// Why a webhook is not registered, or may not be. Never holds the address or the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistrationError {
    /// The request was not sent.
    #[error("could not reach EZWhatsApp")]
    Unreachable(#[source] reqwest::Error),
    /// The webhook may be registered.
    #[error("EZWhatsApp did not respond")]
    NoResponse(#[source] reqwest::Error),
    /// The webhook may be registered.
    #[error("EZWhatsApp failed (HTTP {status})")]
    ServerError { status: u16 },
    /// The webhook is not registered.
    #[error("EZWhatsApp refused the webhook (HTTP {status}{})", code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        status: u16,
        /// `EZWhatsApp`'s code for the reason, unless it is free text.
        code: Option<String>,
    },
}

impl RegistrationError {
    /// Whether the webhook may exist despite the error.
    pub(super) fn may_have_registered(&self) -> bool {
        match self {
            Self::NoResponse(_) | Self::ServerError { .. } => true,
            Self::Unreachable(_) | Self::Refused { .. } => false,
        }
    }
}

/// Registers a webhook in one call.
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
    // The status decides. An incomplete body only loses the id or the reason.
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

/// An id of plain characters. Anything else is neither printed nor recorded.
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
        assert_eq!(
            error_text(json!({"error": {"code": "bad_url"}})),
            "EZWhatsApp refused the webhook (HTTP 400, bad_url)"
        );
        assert_eq!(error_text(json!({"error": "bad_url"})), "EZWhatsApp refused the webhook (HTTP 400, bad_url)");
        assert_eq!(
            error_text(json!({"code": "at https://a.example/s3cret"})),
            "EZWhatsApp refused the webhook (HTTP 400)"
        );
    }
}
