//! The control surface over HTTP: `/_fake/*`. Not `EZWhatsApp`'s: it belongs to the fake alone, needs no token and is used by
//! the console and by hand with curl.
//!
//! | route | body | does |
//! | --- | --- | --- |
//! | `GET /_fake/state` | | everything: settings, planned faults, counters, phone, webhooks, webhook attempts, messages per key |
//! | `PATCH /_fake/settings` | any part of `Settings` | merges (RFC 7396) and answers the whole |
//! | `POST /_fake/health` | `{"preset": "qr", "line": "line_demo"}` | sets one line, or all lines without `line` |
//! | `POST /_fake/fail` | `{"fault": {"kind": …}, "next": 3}` or `{"fault": …, "probability": 0.2, "seed": 7}` | plans faults |
//! | `DELETE /_fake/fail` | | forgets planned faults and the share |
//! | `POST /_fake/phone` | `{"from": "+972…", "text": "…", "line": "line_demo"}` | the customer writes; `"kind": "image"` a picture, `"group": "1203…"` in a group |
//! | `POST /_fake/answer` | `{"to": "+972…", "text": "…", "line": "line_demo"}` | the team answers in EZWhatsApp |
//! | `POST /_fake/read` | `{"contact": "+972…"}` | the customer reads everything that arrived |
//! | `POST /_fake/silent` | `{"contact": "+972…", "silent": true}` | the customer's phone is switched off, or on again |
//! | `POST /_fake/status` | `{"id": "…", "status": "failed"}` | reports a status of a message |
//! | `POST /_fake/fresh` | `{}` | forgets everything but the line tokens |
//!
//! Bodies must be sent as `application/json`, which a page of another origin can't do unasked.

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
    Shared,
    records::{TEXT, Written},
    settings::{Fault, FaultShare, HealthPreset, Settings},
    validate,
};

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_fake/state", get(async |State(shared): State<Arc<Shared>>| Json(shared.state())))
        .route("/_fake/settings", patch(settings))
        .route("/_fake/health", post(health))
        .route("/_fake/fail", post(fail).delete(heal))
        .route("/_fake/phone", post(phone))
        .route("/_fake/answer", post(answer))
        .route("/_fake/read", post(read))
        .route("/_fake/silent", post(silent))
        .route("/_fake/status", post(status))
        .route("/_fake/fresh", post(fresh))
}

fn wrong(message: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::BAD_REQUEST, Json(json!({"error": message})))
}

fn broken(error: &anyhow::Error) -> (StatusCode, Json<Value>) {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": format!("{error:#}")})))
}

async fn settings(State(shared): State<Arc<Shared>>, Json(change): Json<Value>) -> Answer {
    let mut whole = json!(shared.world().settings);
    merge(&mut whole, change);
    let settings: Settings = serde_json::from_value(whole).map_err(|error| wrong(&error.to_string()))?;
    shared.set_settings(settings).map_err(|error| broken(&error))?;
    let now = json!(shared.world().settings);
    Ok(Json(now))
}

/// RFC 7396.
fn merge(target: &mut Value, change: Value) {
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
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

#[derive(Deserialize)]
struct Health {
    preset: HealthPreset,
    line: Option<String>,
}

async fn health(State(shared): State<Arc<Shared>>, Json(health): Json<Health>) -> Answer {
    shared.set_health(health.line.as_deref(), health.preset).map_err(|error| broken(&error))?;
    Ok(Json(json!({"ok": true})))
}

#[derive(Deserialize)]
struct Fail {
    fault: Fault,
    next: Option<u32>,
    probability: Option<f64>,
    #[serde(default)]
    seed: u64,
}

async fn fail(State(shared): State<Arc<Shared>>, Json(fail): Json<Fail>) -> Answer {
    match (fail.next, fail.probability) {
        (Some(count), None) if count > 0 => shared.world().plan_faults(count, fail.fault),
        (None, Some(probability)) if (0.0..=1.0).contains(&probability) => {
            let share = FaultShare { probability, fault: fail.fault, seed: fail.seed };
            shared.change(|settings| settings.share = Some(share)).map_err(|error| broken(&error))?;
        }
        _ => return Err(wrong("give either next (at least 1) or probability (0 to 1)")),
    }
    Ok(Json(json!({"ok": true})))
}

async fn heal(State(shared): State<Arc<Shared>>) -> Answer {
    shared.world().forget_planned_faults();
    shared.change(|settings| settings.share = None).map_err(|error| broken(&error))?;
    Ok(Json(json!({"ok": true})))
}

#[derive(Deserialize)]
struct Phone {
    #[serde(flatten)]
    written: Written,
    line: Option<String>,
}

fn line_or_first(shared: &Shared, line: Option<String>) -> Result<String, (StatusCode, Json<Value>)> {
    let line = line.or_else(|| shared.world().tokens.values().next().cloned());
    line.ok_or_else(|| wrong("the fake has no line; set its tokens first"))
}

async fn phone(State(shared): State<Arc<Shared>>, Json(phone): Json<Phone>) -> Answer {
    let Written { from, text, kind, .. } = &phone.written;
    if !validate::is_phone(from) || (text.trim().is_empty() && kind == TEXT) {
        return Err(wrong("from must be a number like +972501234567 and text must not be blank"));
    }
    let line = line_or_first(&shared, phone.line)?;
    let message = shared.write(phone.written, &line).map_err(|error| broken(&error))?;
    Ok(Json(json!(message)))
}

#[derive(Deserialize)]
struct Reply {
    to: String,
    text: String,
    line: Option<String>,
}

async fn answer(State(shared): State<Arc<Shared>>, Json(reply): Json<Reply>) -> Answer {
    if !validate::is_phone(&reply.to) || reply.text.trim().is_empty() {
        return Err(wrong("to must be a number like +972501234567 and text must not be blank"));
    }
    let line = line_or_first(&shared, reply.line)?;
    let message = shared.answer(&reply.to, &reply.text, &line).map_err(|error| broken(&error))?;
    Ok(Json(json!(message)))
}

#[derive(Deserialize)]
struct Reader {
    contact: String,
}

async fn read(State(shared): State<Arc<Shared>>, Json(reader): Json<Reader>) -> Answer {
    let read = shared.read(&reader.contact).map_err(|error| broken(&error))?;
    Ok(Json(json!({"read": read})))
}

#[derive(Deserialize)]
struct Silence {
    contact: String,
    silent: bool,
}

async fn silent(State(shared): State<Arc<Shared>>, Json(silence): Json<Silence>) -> Answer {
    shared.set_silent(&silence.contact, silence.silent).map_err(|error| broken(&error))?;
    Ok(Json(json!({"ok": true})))
}

#[derive(Deserialize)]
struct Status {
    id: String,
    status: String,
}

async fn status(State(shared): State<Arc<Shared>>, Json(status): Json<Status>) -> Answer {
    shared.report_status(&status.id, &status.status).map_err(|error| wrong(&format!("{error:#}")))?;
    Ok(Json(json!({"ok": true})))
}

async fn fresh(State(shared): State<Arc<Shared>>, Json(_confirm): Json<Value>) -> Answer {
    shared.world().wipe().map_err(|error| broken(&error))?;
    Ok(Json(json!({"ok": true})))
}
