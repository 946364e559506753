//! The Channel API over HTTP: `/api/v1/*`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::Response,
    routing::{delete, get, post},
};
use serde_json::{Value, json};

use crate::server::ConnectionAbort;

use super::{
    fake_core::FakeCore,
    records::RegisteredWebhook,
    settings::{AcceptedBody, ErrorEnvelope, KeyConflictResponse, RepeatResponse, SendFault},
    state::SendDecision,
    validate,
};

/// The only documented code of a refused token.
const BAD_TOKEN: &str = "invalid_channel_api_token";
/// The only documented code of a refused webhook.
const BAD_WEBHOOK: &str = "invalid_channel_webhook";

pub(super) fn build_router(shared: &Arc<FakeCore>) -> Router<Arc<FakeCore>> {
    Router::new()
        .route("/api/v1/health", get(get_health))
        .route("/api/v1/messages/text", post(send_text))
        .route("/api/v1/messages/media", post(send_media))
        .route("/api/v1/webhooks", post(create_webhook).get(list_webhooks))
        .route("/api/v1/webhooks/{id}", delete(delete_webhook))
        .method_not_allowed_fallback(reject_method)
        .fallback(reject_path)
        .layer(middleware::from_fn_with_state(Arc::clone(shared), count_request))
}

/// Counts every request and adds the latency in the settings.
async fn count_request(State(shared): State<Arc<FakeCore>>, request: Request, next: Next) -> Response {
    let latency = {
        let mut state = shared.lock_state();
        let name = format!("{} {}", request.method(), request.uri().path());
        *state.counters.requests.entry(name).or_default() += 1;
        state.settings.latency_ms
    };
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    next.run(request).await
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    response_with_body(status, "application/json", Body::from(body.to_string()))
}

fn response_with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn error_response(shared: &FakeCore, status: StatusCode, code: &str, message: &str) -> Response {
    let envelope = shared.lock_state().settings.error_envelope;
    match envelope {
        ErrorEnvelope::Code => json_response(status, &json!({"error": code, "message": message})),
        ErrorEnvelope::Object => json_response(status, &json!({"error": {"code": code, "message": message}})),
        ErrorEnvelope::PlainText => {
            response_with_body(status, "text/plain; charset=utf-8", Body::from(code.to_owned()))
        }
    }
}

/// The line of the bearer token.
fn authorize_line(shared: &FakeCore, headers: &HeaderMap) -> Result<String, Box<Response>> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let mut state = shared.lock_state();
    if let Some(line) = token.and_then(|token| state.tokens.get(token)) {
        return Ok(line.clone());
    }
    state.counters.unauthorized += 1;
    drop(state);
    Err(Box::new(error_response(
        shared,
        StatusCode::UNAUTHORIZED,
        BAD_TOKEN,
        "the token is missing or revoked, or its line is not active",
    )))
}

/// `wakeup` is true unless it is exactly `false`, as documented. Any `channel_type` is accepted.
async fn get_health(State(shared): State<Arc<FakeCore>>, uri: Uri, headers: HeaderMap) -> Response {
    let line = match authorize_line(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let without_wakeup = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "wakeup" && value == "false");
    let preset = {
        let mut state = shared.lock_state();
        if !without_wakeup {
            state.counters.wakeups += 1;
        }
        state.settings.health_of_line(&line)
    };
    let (status, body) = preset.health_response();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    body.map_or_else(
        || error_response(&shared, status, "service_unavailable", "invented: could not read the health"),
        |body| json_response(status, &body),
    )
}

async fn send_text(
    State(shared): State<Arc<FakeCore>>,
    ConnectInfo(connection): ConnectInfo<ConnectionAbort>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let line = match authorize_line(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::trim).unwrap_or_default();
    if key.is_empty() {
        shared.lock_state().counters.missing_key += 1;
        return error_response(
            &shared,
            StatusCode::BAD_REQUEST,
            "missing_idempotency_key",
            "invented: Idempotency-Key is required",
        );
    }
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let read = if json.is_some_and(|json| json.to_ascii_lowercase().starts_with("application/json")) {
        validate::parse_text(&bytes)
    } else {
        Err("Content-Type must be application/json")
    };
    let text = match read {
        Ok(text) => text,
        Err(reason) => {
            shared.lock_state().counters.invalid += 1;
            return error_response(&shared, StatusCode::BAD_REQUEST, "invalid_channel_message", reason);
        }
    };
    let sent = match shared.decide_send(&line, key, &bytes, text.clone()) {
        Ok(sent) => sent,
        Err(error) => {
            tracing::error!(%error, "the fake EZWhatsApp refused a message because it could not write its journal");
            return error_response(
                &shared,
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "could not write the fake's journal",
            );
        }
    };
    if let SendDecision::NotQueued(SendFault::AcceptLate { after_ms }) = sent {
        let (shared, key) = (Arc::clone(&shared), key.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            if let Err(error) = shared.decide_send(&line, &key, &bytes, text) {
                tracing::error!(%error, "the fake provider lost a late message: it could not write its journal");
            }
        });
    }
    respond_to_send(&shared, &connection, sent).await
}

/// Responds to a send, or breaks the connection.
async fn respond_to_send(shared: &FakeCore, connection: &ConnectionAbort, sent: SendDecision) -> Response {
    match sent {
        SendDecision::KeyConflict => {
            let status = match shared.lock_state().settings.key_conflict_response {
                KeyConflictResponse::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
                KeyConflictResponse::Conflict => StatusCode::CONFLICT,
            };
            error_response(shared, status, "idempotency_key_reused", "invented: this key was used with another body")
        }
        SendDecision::NotQueued(fault) => respond_with_fault(shared, connection, fault).await,
        SendDecision::Queued { id, repeated: replay, fault } => match fault {
            Some(SendFault::TimeoutAfterAccept { reply_after_ms: Some(ms) }) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                accepted_response(shared, &id, replay)
            }
            Some(SendFault::TimeoutAfterAccept { reply_after_ms: None }) => std::future::pending().await,
            Some(fault) => respond_with_fault(shared, connection, fault).await,
            None => accepted_response(shared, &id, replay),
        },
    }
}

async fn respond_with_fault(shared: &FakeCore, connection: &ConnectionAbort, fault: SendFault) -> Response {
    match fault {
        SendFault::DropBeforeAccept | SendFault::DropAfterAccept => {
            connection.abort();
            std::future::pending().await
        }
        SendFault::TooManyRequests { retry_after_s } => {
            let mut response =
                error_response(shared, StatusCode::TOO_MANY_REQUESTS, "rate_limited", "invented: too many requests");
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        SendFault::RefusedBeforeAccept => error_response(
            shared,
            StatusCode::BAD_REQUEST,
            "invalid_channel_message",
            "invented: this message is refused",
        ),
        SendFault::TimeoutAfterAccept { .. }
        | SendFault::ServerErrorBeforeAccept
        | SendFault::ServerErrorAfterAccept
        | SendFault::AcceptLate { .. } => {
            error_response(shared, StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "invented: internal error")
        }
    }
}

fn accepted_response(shared: &FakeCore, id: &str, replay: bool) -> Response {
    let (body, replay_style) = {
        let settings = &shared.lock_state().settings;
        (settings.accepted_body, settings.repeat_response)
    };
    let status = match replay_style {
        RepeatResponse::Conflict if replay => {
            return error_response(
                shared,
                StatusCode::CONFLICT,
                "idempotency_key_in_use",
                "invented: this key was used before",
            );
        }
        RepeatResponse::SameOk if replay => StatusCode::OK,
        RepeatResponse::SameAccepted | RepeatResponse::SameOk | RepeatResponse::Conflict => StatusCode::ACCEPTED,
    };
    match body {
        AcceptedBody::Flat => json_response(status, &json!({"id": id, "status": "queued"})),
        AcceptedBody::NestedMessage => json_response(status, &json!({"message": {"id": id, "status": "queued"}})),
        AcceptedBody::NestedData => json_response(status, &json!({"data": {"id": id}})),
        AcceptedBody::Empty => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
    }
}

async fn send_media(State(shared): State<Arc<FakeCore>>, headers: HeaderMap) -> Response {
    if let Err(refused) = authorize_line(&shared, &headers) {
        return *refused;
    }
    error_response(
        &shared,
        StatusCode::NOT_IMPLEMENTED,
        "media_contract_unconfirmed",
        "the fields of this route are not documented; put a link into a text instead",
    )
}

/// The status and body of a success are undocumented. 201 with the stored webhook is invented.
async fn create_webhook(State(shared): State<Arc<FakeCore>>, headers: HeaderMap, bytes: Bytes) -> Response {
    let line = match authorize_line(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let allow_local = shared.lock_state().settings.webhooks.allow_local_targets;
    let request = match validate::parse_webhook(&bytes, allow_local) {
        Ok(request) => request,
        Err(reason) => return error_response(&shared, StatusCode::BAD_REQUEST, BAD_WEBHOOK, reason),
    };
    match shared.register_webhook(&line, request) {
        Ok(webhook) => json_response(StatusCode::CREATED, &webhook_json(&webhook)),
        Err(error) => {
            tracing::error!(%error, "the fake EZWhatsApp refused a webhook because it could not write its journal");
            error_response(
                &shared,
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "could not write the fake's journal",
            )
        }
    }
}

/// Invented: a list exists, but neither its path nor its body is documented.
async fn list_webhooks(State(shared): State<Arc<FakeCore>>, headers: HeaderMap) -> Response {
    let line = match authorize_line(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let state = shared.lock_state();
    let hooks: Vec<Value> = state.webhooks.list().filter(|webhook| webhook.line_id == line).map(webhook_json).collect();
    drop(state);
    json_response(StatusCode::OK, &json!({"webhooks": hooks, "guess": "this route is not documented by EZWhatsApp"}))
}

/// Invented: neither the request nor its response is documented.
async fn delete_webhook(State(shared): State<Arc<FakeCore>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let line = match authorize_line(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    match shared.remove_webhook(&line, &id) {
        Ok(true) => json_response(StatusCode::OK, &json!({"guess": "this route is not documented by EZWhatsApp"})),
        Ok(false) => error_response(&shared, StatusCode::NOT_FOUND, "not_found", "invented: no such webhook"),
        Err(error) => {
            tracing::error!(%error, "the fake EZWhatsApp kept a webhook because it could not write its journal");
            let message = "could not write the fake's journal";
            error_response(&shared, StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
        }
    }
}

fn webhook_json(webhook: &RegisteredWebhook) -> Value {
    json!({
        "id": webhook.id, "lineId": webhook.line_id, "targetUrl": webhook.target_url, "events": webhook.events,
        "payloadFormat": webhook.payload_format, "enabled": webhook.enabled, "persistent": webhook.persistent
    })
}

async fn reject_method(State(shared): State<Arc<FakeCore>>, method: Method) -> Response {
    let message = format!("{method} is not supported");
    error_response(&shared, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
}

async fn reject_path(State(shared): State<Arc<FakeCore>>) -> Response {
    error_response(&shared, StatusCode::NOT_FOUND, "not_found", "no such route")
}
