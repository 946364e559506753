//! The control interface of the fake over HTTP: `/_fake/*`. EZWhatsApp has no such routes. It needs
//! no token. The console and people with curl use it.
//!
//! Bodies are `application/json`. A web page of another origin cannot send that without a CORS
//! preflight.
//!
//! - `GET /_fake/state`: settings, planned faults, counters, messages, webhooks, webhook attempts,
//!   and messages per key
//! - `PATCH /_fake/settings`: merges a part of `FakeSettings` (RFC 7396) and returns all settings
//! - `POST /_fake/health`: `{"preset": "qr", "line": "line_demo"}` sets the health of a line, or of
//!   all lines without `line`
//! - `POST /_fake/fail`: `{"fault": {"kind": …}, "next": 3}` or `{"fault": …, "probability": 0.2,
//!   "seed": 7}` plans faults
//! - `DELETE /_fake/fail`: removes planned faults and the share
//! - `POST /_fake/phone`: `{"from": "+972…", "text": "…", "line": "line_demo"}` writes as the
//!   customer. `"kind": "image"` sends a picture, `"group": "1203…"` writes in a group
//! - `POST /_fake/answer`: `{"to": "+972…", "text": "…", "line": "line_demo"}` replies as the team
//! - `POST /_fake/read`: `{"contact": "+972…"}` reads all messages as the customer
//! - `POST /_fake/silent`: `{"contact": "+972…", "silent": true}` switches the customer's phone
//!   off, or on with false
//! - `POST /_fake/status`: `{"id": "…", "status": "failed"}` reports the status of a message
//! - `POST /_fake/fresh`: `{}` removes everything but the line tokens

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, patch, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    fake_core::FakeCore,
    records::{InboundPhoneMessage, TEXT},
    settings::{FakeSettings, FaultShare, HealthPreset, SendFault},
    validate,
};

type ControlResponse = Result<Json<Value>, (StatusCode, Json<Value>)>;

pub(super) fn build_router() -> Router<Arc<FakeCore>> {
    Router::new()
        .route("/_fake/state", get(get_state))
        .route("/_fake/settings", patch(patch_settings))
        .route("/_fake/health", post(set_health))
        .route("/_fake/fail", post(plan_faults).delete(clear_faults))
        .route("/_fake/phone", post(write_from_phone))
        .route("/_fake/answer", post(reply_as_team))
        .route("/_fake/read", post(read_messages))
        .route("/_fake/silent", post(set_silent))
        .route("/_fake/status", post(report_status))
        .route("/_fake/fresh", post(reset_state))
}

async fn get_state(State(shared): State<Arc<FakeCore>>) -> Json<Value> {
    let mut state = shared.render_state(usize::MAX);
    state["per_key"] = json!(shared.read_state().messages_per_key());
    Json(state)
}

fn bad_request(message: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::BAD_REQUEST, Json(json!({"error": message})))
}

fn server_error(error: &anyhow::Error) -> (StatusCode, Json<Value>) {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": format!("{error:#}")})))
}

async fn patch_settings(State(shared): State<Arc<FakeCore>>, Json(change): Json<Value>) -> ControlResponse {
    let mut whole = json!(shared.lock_state().settings);
    merge_patch(&mut whole, change);
    let settings: FakeSettings = serde_json::from_value(whole).map_err(|error| bad_request(&error.to_string()))?;
    shared.set_settings(settings).map_err(|error| server_error(&error))?;
    let now = json!(shared.lock_state().settings);
    Ok(Json(now))
}

/// A JSON merge patch (RFC 7396).
fn merge_patch(target: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *target = change;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(target) = target {
        for (name, value) in change {
            if value.is_null() {
                target.remove(&name);
            } else {
                merge_patch(target.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

#[derive(Deserialize)]
struct HealthRequest {
    preset: HealthPreset,
    line: Option<String>,
}

async fn set_health(State(shared): State<Arc<FakeCore>>, Json(health): Json<HealthRequest>) -> ControlResponse {
    shared.set_health(health.line.as_deref(), health.preset).map_err(|error| server_error(&error))?;
    Ok(Json(json!({"ok": true})))
}

#[derive(Deserialize)]
struct FailRequest {
    fault: SendFault,
    next: Option<u32>,
    probability: Option<f64>,
    #[serde(default)]
    seed: u64,
}

async fn plan_faults(State(shared): State<Arc<FakeCore>>, Json(fail): Json<FailRequest>) -> ControlResponse {
    match (fail.next, fail.probability) {
        (Some(count), None) if count > 0 => shared.lock_state().plan_faults(count, fail.fault),
        (None, Some(probability)) if (0.0..=1.0).contains(&probability) => {
            let share = FaultShare { probability, fault: fail.fault, seed: fail.seed };
            shared
                .change_settings(|settings| settings.fault_share = Some(share))
                .map_err(|error| server_error(&error))?;
        }
        _ => return Err(bad_request("give either next (at least 1) or probability (0 to 1)")),
    }
    Ok(Json(json!({"ok": true})))
}

async fn clear_faults(State(shared): State<Arc<FakeCore>>) -> ControlResponse {
    shared.lock_state().forget_planned_faults();
    shared.change_settings(|settings| settings.fault_share = None).map_err(|error| server_error(&error))?;
    Ok(Json(json!({"ok": true})))
}

#[derive(Deserialize)]
struct PhoneRequest {
    #[serde(flatten)]
    written: InboundPhoneMessage,
    line: Option<String>,
}

fn line_or_first(shared: &FakeCore, line: Option<String>) -> Result<String, (StatusCode, Json<Value>)> {
    let line = line.or_else(|| shared.lock_state().tokens.values().next().cloned());
    line.ok_or_else(|| bad_request("the fake has no line; set its tokens first"))
}

async fn write_from_phone(State(shared): State<Arc<FakeCore>>, Json(phone): Json<PhoneRequest>) -> ControlResponse {
    let InboundPhoneMessage { from, text, kind, .. } = &phone.written;
    if !validate::is_phone(from) || (text.trim().is_empty() && kind == TEXT) {
        return Err(bad_request("from must be a number like +972501234567 and text must not be blank"));
    }
    let line = line_or_first(&shared, phone.line)?;
    let message = shared.write_message(phone.written, &line).map_err(|error| server_error(&error))?;
    Ok(Json(json!(message)))
}

#[derive(Deserialize)]
struct TeamReplyRequest {
    to: String,
    text: String,
    line: Option<String>,
}

async fn reply_as_team(State(shared): State<Arc<FakeCore>>, Json(reply): Json<TeamReplyRequest>) -> ControlResponse {
    if !validate::is_phone(&reply.to) || reply.text.trim().is_empty() {
        return Err(bad_request("to must be a number like +972501234567 and text must not be blank"));
    }
    let line = line_or_first(&shared, reply.line)?;
    let message = shared.reply_as_team(&reply.to, &reply.text, &line).map_err(|error| server_error(&error))?;
    Ok(Json(json!(message)))
}

#[derive(Deserialize)]
struct ReadRequest {
    contact: String,
}

async fn read_messages(State(shared): State<Arc<FakeCore>>, Json(reader): Json<ReadRequest>) -> ControlResponse {
    let read = shared.read_messages(&reader.contact).map_err(|error| server_error(&error))?;
    Ok(Json(json!({"read": read})))
}

#[derive(Deserialize)]
struct SilenceRequest {
    contact: String,
    silent: bool,
}

async fn set_silent(State(shared): State<Arc<FakeCore>>, Json(silence): Json<SilenceRequest>) -> ControlResponse {
    shared.set_silent(&silence.contact, silence.silent).map_err(|error| server_error(&error))?;
    Ok(Json(json!({"ok": true})))
}

#[derive(Deserialize)]
struct StatusRequest {
    id: String,
    status: String,
}

async fn report_status(State(shared): State<Arc<FakeCore>>, Json(status): Json<StatusRequest>) -> ControlResponse {
    shared.report_status(&status.id, &status.status).map_err(|error| bad_request(&format!("{error:#}")))?;
    Ok(Json(json!({"ok": true})))
}

async fn reset_state(State(shared): State<Arc<FakeCore>>, Json(_confirm): Json<Value>) -> ControlResponse {
    shared.lock_state().wipe().map_err(|error| server_error(&error))?;
    Ok(Json(json!({"ok": true})))
}
