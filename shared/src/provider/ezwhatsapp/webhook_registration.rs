//! The webhooks of a line. Registering one: `POST /api/v1/webhooks` with a line's token,
//! `targetUrl`, `events`, `payloadFormat`, `enabled` and `persistent`.
//!
//! Errors: 400 `invalid_channel_webhook`, 401 `invalid_channel_api_token`
//! (<https://ezw.solutions/links/help/webhooks>). The form of a success is not published. Neither
//! are the requests that list webhooks and delete one: [`list`] and [`remove`] are assumptions (U21
//! in `docs/ezwhatsapp.md`), and only a person starts them.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{FACTS, api::read_body};
use crate::{
    provider::{
        ListedWebhook, NoResponse, RegistrationError, RegistrationRefusal, WebhookCallError, WebhookRegistration,
    },
    secret::Secret,
};

/// The path below the base URL, by its segments.
pub(in crate::provider) const PATH: [&str; 3] = ["api", "v1", "webhooks"];
/// The events that are requested. `chats.post` reports nothing that these two do not.
const WEBHOOK_EVENTS: [&str; 2] = ["messages.post", "statuses.post"];
/// The only format that exists.
const PAYLOAD_FORMAT: &str = "whapi";
/// Longest wait for a response. An operator waits, and a call that is given up leaves the outcome
/// unknown.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Where the webhook's id may be in the response. Its name is not published; these are tried in
/// order.
const ID_POINTERS: [&str; 6] = ["/id", "/webhookId", "/webhook_id", "/webhook/id", "/data/id", "/data/webhook/id"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationRequest<'a> {
    target_url: &'a str,
    events: [&'static str; 2],
    payload_format: &'static str,
    enabled: bool,
    persistent: bool,
}

/// The fields of the request for an operator, in order.
pub(in crate::provider) fn request_fields(target_url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("targetUrl", target_url.to_owned()),
        ("events", WEBHOOK_EVENTS.join(", ")),
        ("payloadFormat", PAYLOAD_FORMAT.to_owned()),
        ("enabled", true.to_string()),
        ("persistent", true.to_string()),
    ]
}

/// Registers a webhook, in one call.
pub(in crate::provider) async fn register(
    http: &Client,
    endpoint: &Url,
    token: &Secret,
    target_url: &str,
) -> Result<WebhookRegistration, RegistrationError> {
    let webhook = RegistrationRequest {
        target_url,
        events: WEBHOOK_EVENTS,
        payload_format: PAYLOAD_FORMAT,
        enabled: true,
        persistent: true,
    };
    let response = send(http.post(endpoint.clone()).json(&webhook), token).await?;
    let status = response.status();
    let body = read_body(response).await;
    let reply: Value = serde_json::from_slice(&body).unwrap_or_default();
    interpret_response(status, &reply)
}

/// Lists the webhooks of a token's line: `GET` of the address that registers them, an assumption.
pub(in crate::provider) async fn list(
    http: &Client,
    endpoint: &Url,
    token: &Secret,
) -> Result<Vec<ListedWebhook>, WebhookCallError> {
    let reply: Value = serde_json::from_slice(&call(http.get(endpoint.clone()), token).await?).unwrap_or_default();
    let lists = ["", "/webhooks", "/data", "/data/webhooks", "/items"];
    let listed = lists.iter().find_map(|at| reply.pointer(at)?.as_array());
    let listed = listed.ok_or(WebhookCallError::Unreadable { provider: FACTS.name })?;
    Ok(listed.iter().map(parse_listed).collect())
}

/// Deletes a webhook: `DELETE` of its id below that address, an assumption.
pub(in crate::provider) async fn remove(
    http: &Client,
    endpoint: &Url,
    token: &Secret,
    id: &str,
) -> Result<(), WebhookCallError> {
    let mut address = endpoint.clone();
    if let Ok(mut path) = address.path_segments_mut() {
        path.push(id);
    }
    call(http.delete(address), token).await.map(|_| ())
}

async fn send(request: RequestBuilder, token: &Secret) -> Result<Response, NoResponse> {
    request.bearer_auth(token.expose()).timeout(TIMEOUT).send().await.map_err(|error| {
        let source = error.without_url();
        if source.is_connect() || source.is_builder() {
            NoResponse::Unreachable { provider: FACTS.name, source }
        } else {
            NoResponse::Lost { provider: FACTS.name, source }
        }
    })
}

/// The body of a 2xx.
async fn call(request: RequestBuilder, token: &Secret) -> Result<Vec<u8>, WebhookCallError> {
    let response = send(request, token).await?;
    let status = response.status().as_u16();
    match status {
        200..=299 => Ok(read_body(response).await),
        _ => Err(WebhookCallError::Status { provider: FACTS.name, status }),
    }
}

fn parse_listed(webhook: &Value) -> ListedWebhook {
    let events = webhook.pointer("/events").and_then(Value::as_array).into_iter().flatten();
    ListedWebhook {
        id: ID_POINTERS.iter().find_map(|at| extract_id(webhook.pointer(at)?)),
        target: ["/targetUrl", "/target_url", "/url"]
            .iter()
            .find_map(|at| webhook.pointer(at)?.as_str())
            .map(Secret::new),
        events: events.filter_map(Value::as_str).filter(|event| is_event_name(event)).map(str::to_owned).collect(),
        enabled: webhook.pointer("/enabled").and_then(Value::as_bool),
    }
}

/// Only a name is shown.
fn is_event_name(event: &str) -> bool {
    event.len() <= 60 && event.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
}

fn interpret_response(status: StatusCode, reply: &Value) -> Result<WebhookRegistration, RegistrationError> {
    let code = || {
        let code = ["/error/code", "/error", "/code"].iter().find_map(|at| reply.pointer(at)?.as_str())?;
        let is_word = code.len() <= 60 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_word.then(|| code.to_owned())
    };
    match status.as_u16() {
        200..=299 => Ok(WebhookRegistration { id: ID_POINTERS.iter().find_map(|at| extract_id(reply.pointer(at)?)) }),
        408 | 500..=599 => Err(RegistrationError::ServerError { provider: FACTS.name, status: status.as_u16() }),
        status => {
            let refusal = match status {
                400 => RegistrationRefusal::Address,
                401 => RegistrationRefusal::Token,
                429 => RegistrationRefusal::RateLimited,
                _ => RegistrationRefusal::Other,
            };
            Err(RegistrationError::Refused { provider: FACTS.name, status, code: code(), refusal })
        }
    }
}

/// An id if it has the form of one, because it is shown and stored.
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
    fn a_listed_webhook_is_read_in_any_documented_spelling_and_shows_no_address() {
        let listed = parse_listed(&json!({
            "id": "wh_1", "targetUrl": "https://a.example/lines/main/hunter2", "enabled": true,
            "events": ["messages.post", "at https://a.example"],
        }));
        assert_eq!((listed.id.as_deref(), listed.enabled), (Some("wh_1"), Some(true)));
        assert_eq!(listed.events, ["messages.post"]);
        assert!(!format!("{listed:?}").contains("hunter2"), "{listed:?}");
        assert!(parse_listed(&json!({"url": 7})).target.is_none());
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
            "EZWhatsApp refused the registration (HTTP 400, bad_url)"
        );
        assert_eq!(error_text(json!({"error": "bad_url"})), "EZWhatsApp refused the registration (HTTP 400, bad_url)");
        assert_eq!(
            error_text(json!({"code": "at https://a.example/s3cret"})),
            "EZWhatsApp refused the registration (HTTP 400)"
        );
    }
}
