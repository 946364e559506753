//! The Channel API: health and sends.
//!
//! The HTTP status alone decides what a response means, because the form of an error's body is not
//! published.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;

use super::{FACTS, health::ReportedHealth, message::route_path};
use crate::{
    http_body,
    provider::{LineHealth, Payload, SendOutcome},
    secret::Secret,
};

const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response that is read. The documented ones have less than 1 kB.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Requests a line's health with `wakeup=false`: `wakeup` defaults to true, and waking a line is a
/// person's decision.
///
/// A missing response counts as HTTP status 0, which is not sendable. A refused token is a 401.
pub(in crate::provider) async fn get_health(http: &Client, base_url: &str, line: &str, token: &Secret) -> LineHealth {
    let url = format!("{base_url}/api/v1/health?wakeup=false&channel_type=web");
    let request = http.get(url).bearer_auth(token.expose()).timeout(HEALTH_TIMEOUT);
    let health = match request.send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            ReportedHealth::parse_response(status, &read_body(response).await)
        }
        Err(_) => ReportedHealth::default(),
    };
    health.log(line);
    health.to_line_health()
}

/// Submits a payload under its key, once.
pub(in crate::provider) async fn send_payload(
    http: &Client,
    base_url: &str,
    token: &Secret,
    key: &str,
    payload: &Payload,
) -> SendOutcome {
    let request = http
        .post(format!("{base_url}/api/v1{}", route_path(payload.route)))
        .bearer_auth(token.expose())
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .timeout(FACTS.send_timeout)
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
    let body = read_body(response).await;
    parse_send_response(status, retry_after, &body)
}

/// The body, or nothing if it breaks off or is too large. The status decides; a missing body only
/// loses the id or the reason, and a health without a body is not sendable.
pub(super) async fn read_body(response: Response) -> Vec<u8> {
    http_body::read_body_up_to(MAX_RESPONSE_BYTES, response).await.ok().flatten().unwrap_or_default()
}

fn parse_send_response(status: StatusCode, retry_after: Option<SignedDuration>, body: &[u8]) -> SendOutcome {
    let reason = || format!("EZWhatsApp answered {}{}", status.as_u16(), parse_error_code(body));
    match status.as_u16() {
        200..=299 => SendOutcome::Accepted { provider_id: parse_provider_id(body) },
        401 => SendOutcome::Unauthorized,
        429 => SendOutcome::RateLimited { retry_after },
        // Only a person can see whether the first use of the key arrived.
        409 | 422 => SendOutcome::Conflict(reason()),
        // A gateway or a worker may fail after the message was queued.
        408 | 500..=599 => SendOutcome::Unknown(reason()),
        _ => SendOutcome::Refused(reason()),
    }
}

/// The error code in a response if it is a short word. Free text could hold personal data and is
/// dropped.
fn parse_error_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ErrorBody {
        Text(String),
        Object { code: Option<String> },
    }
    #[derive(Deserialize)]
    struct ErrorResponse {
        error: Option<ErrorBody>,
        code: Option<String>,
    }
    let code = serde_json::from_slice::<ErrorResponse>(body).ok().and_then(|response| match response.error {
        Some(ErrorBody::Text(text)) => Some(text),
        Some(ErrorBody::Object { code }) => code.or(response.code),
        None => response.code,
    });
    let is_code = |code: &String| code.len() <= 60 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    code.filter(is_code).map(|code| format!(" {code}")).unwrap_or_default()
}

/// The id in the response to a send. Its name is not published; these are tried in order.
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
    use loopback::{FakeApi, http_response};

    use super::*;

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

    /// Responses with bodies above the limit: one that states its length, and one that has no end.
    fn oversized_responses(body: &str) -> [String; 2] {
        let body = format!("{body}{}", " ".repeat(MAX_RESPONSE_BYTES));
        [http_response("200 OK", &body), format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}")]
    }

    #[tokio::test]
    async fn the_status_of_a_send_counts_even_if_its_body_is_too_large() {
        let http = crate::bootstrap::build_http_client().unwrap();
        let payload = Payload { route: crate::provider::SendRoute::Text, body: "{}".to_owned() };
        let token = Secret::new("hunter2");
        for response in oversized_responses(r#"{"id":"m1"}"#) {
            let api = FakeApi::start().await.unwrap();
            let base = api.base_url().unwrap();
            let send = send_payload(&http, &base, &token, "order:1:ready", &payload);
            let (_, outcome) = tokio::join!(api.reply_once(&response), send);
            assert_eq!(outcome, SendOutcome::Accepted { provider_id: None });
        }
    }

    #[tokio::test]
    async fn a_health_that_is_too_large_allows_no_send() {
        let http = crate::bootstrap::build_http_client().unwrap();
        let good = r#"{"health":{"status":{"code":4,"text":"AUTH"}},"line":{"lifecycleState":"connected","effectiveSendState":"sendable","sendable":true}}"#;
        let [stated, endless] = oversized_responses(good);
        for (response, can_send) in [(http_response("200 OK", good), true), (stated, false), (endless, false)] {
            let api = FakeApi::start().await.unwrap();
            let base = api.base_url().unwrap();
            let token = Secret::new("hunter2");
            let (_, health) = tokio::join!(api.reply_once(&response), get_health(&http, &base, "main", &token));
            assert_eq!(health.sendable, can_send, "{health:?}");
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
