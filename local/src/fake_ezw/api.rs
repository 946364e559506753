//! The Channel API over HTTP: `/api/v1/*`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::cord::Cord;

use super::{
    Shared,
    records::Webhook,
    settings::{AcceptedBody, ChangedBody, ErrorEnvelope, Fault, Replay},
    validate,
    world::Sent,
};

/// The one documented code of a refused token.
const BAD_TOKEN: &str = "invalid_channel_api_token";
/// The one documented code of a refused webhook.
const BAD_WEBHOOK: &str = "invalid_channel_webhook";

pub(super) fn router(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/health", get(health))
        .route("/api/v1/messages/text", post(send_text))
        .route("/api/v1/messages/media", post(send_media))
        .route("/api/v1/webhooks", post(create_webhook).get(list_webhooks))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(Arc::clone(shared), counted))
}

/// Counts every request and adds the latency of the settings.
async fn counted(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let latency = {
        let mut world = shared.world();
        let name = format!("{} {}", request.method(), request.uri().path());
        *world.counters.requests.entry(name).or_default() += 1;
        world.settings.latency_ms
    };
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    next.run(request).await
}

fn answer(status: StatusCode, body: &Value) -> Response {
    with_body(status, "application/json", Body::from(body.to_string()))
}

fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refusal(shared: &Shared, status: StatusCode, code: &str, message: &str) -> Response {
    let envelope = shared.world().settings.error_envelope;
    match envelope {
        ErrorEnvelope::Code => answer(status, &json!({"error": code, "message": message})),
        ErrorEnvelope::Object => answer(status, &json!({"error": {"code": code, "message": message}})),
        ErrorEnvelope::PlainText => with_body(status, "text/plain; charset=utf-8", Body::from(code.to_owned())),
    }
}

/// The line of the bearer token.
fn line_of(shared: &Shared, headers: &HeaderMap) -> Result<String, Box<Response>> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let mut world = shared.world();
    if let Some(line) = token.and_then(|token| world.tokens.get(token)) {
        return Ok(line.clone());
    }
    world.counters.unauthorized += 1;
    drop(world);
    Err(Box::new(refusal(
        shared,
        StatusCode::UNAUTHORIZED,
        BAD_TOKEN,
        "the token is missing, revoked or of no active line",
    )))
}

/// `wakeup` is true unless it is literally `false`, as documented; `channel_type` is accepted as it comes.
async fn health(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let line = match line_of(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let quiet = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "wakeup" && value == "false");
    let preset = {
        let mut world = shared.world();
        if !quiet {
            world.counters.wakeups += 1;
        }
        world.settings.health_of(&line)
    };
    let (status, body) = preset.answer();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    body.map_or_else(
        || refusal(&shared, status, "service_unavailable", "invented: health can't be read now"),
        |body| answer(status, &body),
    )
}

async fn send_text(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cord): ConnectInfo<Cord>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let line = match line_of(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::trim).unwrap_or_default();
    if key.is_empty() {
        shared.world().counters.missing_key += 1;
        return refusal(
            &shared,
            StatusCode::BAD_REQUEST,
            "missing_idempotency_key",
            "invented: Idempotency-Key is required",
        );
    }
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let read = if json.is_some_and(|json| json.to_ascii_lowercase().starts_with("application/json")) {
        validate::text(&bytes)
    } else {
        Err("Content-Type must be application/json")
    };
    let text = match read {
        Ok(text) => text,
        Err(reason) => {
            shared.world().counters.invalid += 1;
            return refusal(&shared, StatusCode::BAD_REQUEST, "invalid_channel_message", reason);
        }
    };
    let sent = match shared.send(&line, key, &bytes, text) {
        Ok(sent) => sent,
        Err(error) => {
            tracing::error!(%error, "the fake EZWhatsApp can't remember a message, so it refuses it");
            return refusal(
                &shared,
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "the fake can't write its journal",
            );
        }
    };
    finish(&shared, &cord, sent).await
}

/// Answers a decided send, or doesn't.
async fn finish(shared: &Shared, cord: &Cord, sent: Sent) -> Response {
    match sent {
        Sent::Changed => {
            let status = match shared.world().settings.changed_body {
                ChangedBody::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
                ChangedBody::Conflict => StatusCode::CONFLICT,
            };
            refusal(shared, status, "idempotency_key_reused", "invented: this key was used with another body")
        }
        Sent::Struck(fault) => struck(shared, cord, fault).await,
        Sent::Queued { id, replay, fault } => match fault {
            Some(Fault::TimeoutAfterAccept { answer_after_ms: Some(ms) }) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                accepted(shared, &id, replay)
            }
            Some(Fault::TimeoutAfterAccept { answer_after_ms: None }) => std::future::pending().await,
            Some(fault) => struck(shared, cord, fault).await,
            None => accepted(shared, &id, replay),
        },
    }
}

async fn struck(shared: &Shared, cord: &Cord, fault: Fault) -> Response {
    match fault {
        Fault::DropBeforeAccept | Fault::DropAfterAccept => {
            cord.cut();
            std::future::pending().await
        }
        Fault::TooManyRequests { retry_after_s } => {
            let mut response =
                refusal(shared, StatusCode::TOO_MANY_REQUESTS, "rate_limited", "invented: too many requests");
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Fault::TimeoutAfterAccept { .. } | Fault::ServerErrorBeforeAccept | Fault::ServerErrorAfterAccept => {
            refusal(shared, StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "invented: something broke")
        }
    }
}

fn accepted(shared: &Shared, id: &str, replay: bool) -> Response {
    let (body, replay_style) = {
        let settings = &shared.world().settings;
        (settings.accepted_body, settings.replay)
    };
    let status = match replay_style {
        Replay::Conflict if replay => {
            return refusal(
                shared,
                StatusCode::CONFLICT,
                "idempotency_key_in_use",
                "invented: this key was used before",
            );
        }
        Replay::SameOk if replay => StatusCode::OK,
        Replay::SameAccepted | Replay::SameOk | Replay::Conflict => StatusCode::ACCEPTED,
    };
    match body {
        AcceptedBody::Flat => answer(status, &json!({"id": id, "status": "queued"})),
        AcceptedBody::NestedMessage => answer(status, &json!({"message": {"id": id, "status": "queued"}})),
        AcceptedBody::NestedData => answer(status, &json!({"data": {"id": id}})),
        AcceptedBody::Empty => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
    }
}

async fn send_media(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Err(refused) = line_of(&shared, &headers) {
        return *refused;
    }
    refusal(
        &shared,
        StatusCode::NOT_IMPLEMENTED,
        "media_contract_unconfirmed",
        "The fields of this route are not documented, so the fake doesn't guess them. Put a link into a text instead.",
    )
}

/// The status and body of a success are unknown; 201 with the stored webhook is invented.
async fn create_webhook(State(shared): State<Arc<Shared>>, headers: HeaderMap, bytes: Bytes) -> Response {
    let line = match line_of(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let allow_local = shared.world().settings.webhooks.allow_local_targets;
    let request = match validate::webhook(&bytes, allow_local) {
        Ok(request) => request,
        Err(reason) => return refusal(&shared, StatusCode::BAD_REQUEST, BAD_WEBHOOK, reason),
    };
    match shared.register(&line, request) {
        Ok(webhook) => answer(StatusCode::CREATED, &shown(&webhook)),
        Err(error) => {
            tracing::error!(%error, "the fake EZWhatsApp can't remember a webhook, so it refuses it");
            refusal(&shared, StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the fake can't write its journal")
        }
    }
}

/// A guess: listing exists, but neither its path nor its body is documented.
async fn list_webhooks(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let line = match line_of(&shared, &headers) {
        Ok(line) => line,
        Err(refused) => return *refused,
    };
    let world = shared.world();
    let hooks: Vec<Value> =
        world.hooks.iter().filter(|hook| hook.webhook.line_id == line).map(|hook| shown(&hook.webhook)).collect();
    drop(world);
    answer(StatusCode::OK, &json!({"webhooks": hooks, "guess": "this route is not documented by EZWhatsApp"}))
}

fn shown(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id, "lineId": webhook.line_id, "targetUrl": webhook.target_url, "events": webhook.events,
        "payloadFormat": webhook.payload_format, "enabled": webhook.enabled, "persistent": webhook.persistent
    })
}

async fn wrong_method(State(shared): State<Arc<Shared>>, method: Method) -> Response {
    let message = format!("{method} is not offered here");
    refusal(&shared, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
}

async fn unknown_path(State(shared): State<Arc<Shared>>) -> Response {
    refusal(&shared, StatusCode::NOT_FOUND, "not_found", "no such route")
}
