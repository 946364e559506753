//! The state that the console shows, in one response, so that the page never mixes two moments.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::Ordering,
};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tellonce_core::{
    client_config::{CalendarConfig, FormConfig},
    inbox::InboxItem,
};

use super::{
    console_state::{ConsoleError, ConsoleResponse, ConsoleState, DeliveryQuery, LastLook, SharedConsole},
    leads::{can_flag_tests, can_post_leads, can_withhold_consent},
    samples::{ConsoleSample, SampleTargets},
    tables_view::TablesView,
};

/// The newest items of each kind are shown.
const MAX_DELIVERIES: usize = 200;
const MAX_LEADS: usize = 300;
const MAX_ROWS: usize = 400;
const MAX_APPOINTMENTS: usize = 100;
const MAX_MESSAGES: usize = 400;
/// Last lines of each function's log.
const MAX_LOG_LINES: usize = 200;

impl ConsoleState {
    /// The client's calendars, and the ledger rows of feeds.
    fn render_calendars(&self, view: &TablesView) -> Vec<Value> {
        let Ok(client) = &self.client else { return Vec::new() };
        let calendar = |(name, calendar): (&String, &CalendarConfig)| {
            let secret = |name: &str| self.stack.secrets().current_value(name).is_some();
            let ready = (calendar.kind.proof().is_none() || secret(&client.webhook_secret_name(name)))
                && (calendar.kind.facts().credential.is_none() || secret(&client.calendar_secret_name(name)));
            json!({
                "name": name,
                "kind": calendar.kind.facts().name,
                "available": ready,
                "current_start": self.booking_samples.current_start(name).map(jiff::Timestamp::as_millisecond),
                "feed": view.state_row(&self.tables, &format!("feed:{name}")),
            })
        };
        client.calendars.iter().map(calendar).collect()
    }

    /// The client's forms, with the number of leads that wait until an operator releases them.
    fn render_forms(&self, view: &TablesView) -> Vec<Value> {
        let Ok(client) = &self.client else { return Vec::new() };
        let has_secret = |name: &str| self.stack.secrets().current_value(name).is_some();
        let form = |(name, form): (&String, &FormConfig)| {
            let row = view.state_row(&self.tables, &format!("form:{name}"));
            json!({
                "name": name,
                "kind": form.kind.facts().name,
                "available": can_post_leads(client, name, form, has_secret),
                "has_submission": self.lead_samples.has_submission(name),
                "can_flag_tests": can_flag_tests(form),
                "can_withhold_consent": can_withhold_consent(form),
                "burst": form.limits.burst.leads,
                "held_since": row.and_then(|row| row["held_since"].as_i64()),
                "waiting": view.held_leads(name),
            })
        };
        client.forms.iter().map(form).collect()
    }

    /// Tomorrow at 10:30 in the client's time zone: the default time of a booking.
    fn default_booking_time(&self) -> Option<String> {
        let zone = self.client.as_ref().ok()?.zone_or_default(None)?;
        let now = jiff::Timestamp::from_millisecond(self.stack.clock().now_ms()).ok()?;
        let tomorrow = now.to_zoned(zone).date().tomorrow().ok()?;
        Some(tomorrow.at(10, 30, 0, 0).strftime("%FT%H:%M").to_string())
    }

    fn render_lines(&self, view: &TablesView) -> Vec<Value> {
        let settings = self.stack.provider().settings();
        let Ok(client) = &self.client else { return Vec::new() };
        let line = |(name, line): (&String, &tellonce_core::client_config::LineConfig)| {
            let row = view.state_row(&self.tables, &format!("line:{name}"));
            json!({
                "name": name,
                "line_id": line.line_id,
                "health": settings.health_of_line(&line.line_id),
                "stopped": row.is_some_and(|row| row.get("stopped").is_some()),
                "row": row,
            })
        };
        client.lines.iter().map(line).collect()
    }

    fn render_samples(&self) -> Vec<Value> {
        let targets: Option<SampleTargets> = self.sample_targets().ok();
        ConsoleSample::ALL
            .iter()
            .map(|case| {
                json!({
                    "case": case, "label": case.label(), "expected_result": case.expected_result(), "group": case.group(),
                    "available": targets.as_ref().is_some_and(|targets| targets.has_store_for(*case)),
                })
            })
            .collect()
    }

    fn render_functions(&self) -> Vec<Value> {
        let functions = self.stack.functions();
        functions
            .list_names()
            .into_iter()
            .map(|name| {
                let logs = self.stack.log_lines(&name);
                let last = &logs[logs.len().saturating_sub(MAX_LOG_LINES)..];
                json!({"name": name, "invocations": functions.invocation_counts(&name), "logs": last})
            })
            .collect()
    }

    /// What the state depends on, without the tables: it is the same as long as the state is.
    fn read_signature(&self) -> anyhow::Result<String> {
        let actions = self.action_count.load(Ordering::SeqCst);
        let changes = self.stack.change_count();
        // Both change as time passes.
        let next_due = self.look_at_tables()?.next_due(self.stack.clock().now_ms());
        Ok(format!("{actions} {changes} {next_due:?} {:?}", self.default_booking_time()))
    }

    /// The state and its version. Renders only if something changed since the last look.
    fn look(&self, known_version: &str) -> anyhow::Result<Option<Bytes>> {
        self.sync_fake_clock()?;
        let mut last = tellonce_fakes::lock_mutex(&self.last_look);
        let signature = self.read_signature()?;
        if last.signature.as_ref() != Some(&signature) {
            let mut state = self.render_state()?;
            let mut hasher = DefaultHasher::new();
            state.to_string().hash(&mut hasher);
            let version = format!("{:016x}", hasher.finish());
            state["version"] = json!(version);
            *last = LastLook { signature: Some(signature), version, text: state.to_string().into() };
        }
        Ok((last.version != known_version).then(|| last.text.clone()))
    }

    fn render_state(&self) -> anyhow::Result<Value> {
        let view = &*self.look_at_tables()?;
        let mut provider = self.stack.provider().overview_json(MAX_MESSAGES);
        let messages = provider.as_object_mut().and_then(|provider| provider.remove("messages"));
        let leads = view
            .leads()
            .take(MAX_LEADS)
            .map(|lead| render_lead(lead, &view.rows_of_delivery(lead["id"].as_str().unwrap_or_default())));
        let failures: Vec<Value> = self
            .stack
            .failures()
            .into_iter()
            .map(|failed| {
                let records = failed.records.len();
                let title = format!(
                    "{}: {records} record(s) after {} attempts. {}",
                    failed.function, failed.attempts, failed.error
                );
                let mut rendered = json!(failed);
                rendered["title"] = json!(title);
                rendered
            })
            .collect();
        let usage = self.stack.dynamo().counters().snapshot();
        let dynamo: Vec<Value> = usage
            .into_iter()
            .map(|((operation, table), usage)| {
                json!({"operation": operation, "table": table, "requests": usage.requests, "units": usage.units, "errors": usage.errors})
            })
            .collect();
        Ok(json!({
            "client": self.stack.client_id(),
            "problem": self.client.as_ref().err(),
            "gateway_url": self.stack.gateway_url(),
            "offset_ms": self.stack.clock().offset_ms(),
            "lines": self.render_lines(view),
            // Tables whose streams have records that no function has processed.
            "unprocessed_tables": self.stack.stream_states()?.into_iter().filter(|state| !state.is_caught_up()).map(|state| state.table).collect::<Vec<_>>(),
            "samples": self.render_samples(),
            "calendars": self.render_calendars(view),
            "forms": self.render_forms(view),
            "leads": leads.collect::<Vec<_>>(),
            "zone": self.client.as_ref().ok().map(|client| &client.time_zone),
            "default_start": self.default_booking_time(),
            "appointments": view.appointments().filter_map(render_appointment).take(MAX_APPOINTMENTS).collect::<Vec<_>>(),
            "next_due": view.next_due(self.stack.clock().now_ms()),
            "deliveries": view.deliveries().take(MAX_DELIVERIES).collect::<Vec<_>>(),
            "rows": view.message_rows().take(MAX_ROWS).collect::<Vec<_>>(),
            "messages": messages,
            "conversations": self.render_conversations(),
            "provider": provider,
            "functions": self.render_functions(),
            "failures": failures,
            "requests": {"dynamo": dynamo, "secrets": self.stack.secrets().total_request_count()},
        }))
    }
}

/// A lead's delivery with its messages, and for each the time from the submission until the
/// provider accepted it.
fn render_lead(delivery: &Value, rows: &[&Value]) -> Value {
    let message = |row: &&Value| {
        let took = row["updated_at"].as_i64().zip(row["occurred_at"].as_i64());
        let took = took.filter(|_| row["state"] == "accepted").map(|(sent, submitted)| (sent - submitted).max(0));
        json!({
            "key": format!("{}:{}", row["subject"].as_str().unwrap_or_default(), row["stage"].as_str().unwrap_or_default()),
            "state": row["state"], "reason": row["reason"], "to": row["to"], "name": row["name"], "took_ms": took,
        })
    };
    json!({
        "id": delivery["id"], "form": delivery["sender"], "received_at": delivery["received_at"],
        "outcome": delivery["outcome"], "outcome_text": delivery["outcome_text"],
        "messages": rows.iter().map(message).collect::<Vec<_>>(),
    })
}

/// An appointment's header for the page.
fn render_appointment(row: &Value) -> Option<Value> {
    let mut rendered: Value = serde_json::from_str(row["appointment"].as_str()?).ok()?;
    for name in ["subject", "version", "due_at"] {
        rendered[name] = row[name].clone();
    }
    Some(rendered)
}

#[derive(Deserialize)]
pub(super) struct StateQuery {
    #[serde(default)]
    known_version: String,
}

/// The whole state, or 204 if the page has this version.
pub(super) async fn get_state(
    State(console): SharedConsole,
    Query(query): Query<StateQuery>,
) -> Result<Response, ConsoleError> {
    let look = tokio::task::spawn_blocking(move || console.look(&query.known_version)).await??;
    Ok(match look {
        Some(state) => ([(header::CONTENT_TYPE, "application/json")], state).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// The raw body of one delivery, indented if it is JSON.
pub(super) async fn get_delivery(State(console): SharedConsole, Query(wanted): DeliveryQuery) -> ConsoleResponse {
    let mut found = None;
    for inbox in console.inbox_table_names() {
        let key = json!({"TableName": inbox, "Key": {"id": {"S": wanted.id}}});
        let response = console.stack.dynamo().call_operation("GetItem", &key)?;
        found = found.or_else(|| response.get("Item").filter(|item| !item.is_null()).map(Value::to_string));
    }
    let Some(item) = found else {
        return Err(ConsoleError {
            status: StatusCode::NOT_FOUND,
            message: "The inbox has forgotten this delivery.".to_owned(),
        });
    };
    let entry = InboxItem::from_image(&item)?;
    let body = match serde_json::from_slice::<Map<String, Value>>(&entry.body) {
        Ok(fields) => serde_json::to_string_pretty(&fields)?,
        Err(_) => String::from_utf8_lossy(&entry.body).into_owned(),
    };
    Ok(Json(json!({"body": body, "bytes": entry.body.len()})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appointment_header_is_rendered() {
        let row = json!({
            "subject": "appointment:88", "stage": "state", "version": 3, "due_at": 1_795_163_400_000_i64,
            "appointment": r#"{"status":"booked","start":"2026-11-21T08:30:00Z","zone":"Asia/Jerusalem","attendees":[]}"#,
        });
        let shown = render_appointment(&row).expect("a header");
        assert_eq!((&shown["subject"], &shown["status"]), (&json!("appointment:88"), &json!("booked")));
        assert_eq!((&shown["version"], &shown["due_at"]), (&json!(3), &json!(1_795_163_400_000_i64)));
        for other in [json!({"subject": "line:main", "stage": "state"}), json!({"appointment": "no JSON"})] {
            assert!(render_appointment(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_lead_is_rendered_with_its_outcome_and_duration() {
        let delivery = json!({"id": "site#1", "sender": "site", "received_at": 1_200, "outcome": null});
        let row = json!({
            "subject": "lead:1", "stage": "first-touch", "state": "accepted", "occurred_at": 1_000, "updated_at": 2_300,
            "to": "+972525550101", "name": "Noa Levi", "delivery": "site#1",
        });
        let shown = render_lead(&delivery, &[&row]);
        assert_eq!(shown["messages"][0]["took_ms"], 1_300);
        assert_eq!(shown["messages"][0]["key"], "lead:1:first-touch");
        let suppressed =
            json!({"state": "suppressed", "reason": "already-greeted: …", "occurred_at": 1, "updated_at": 9});
        assert_eq!(render_lead(&delivery, &[&suppressed])["messages"][0]["took_ms"], Value::Null);
    }
}
