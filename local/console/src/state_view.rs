//! The state that the console shows, in one response, so that the page never mixes two moments.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tellonce_core::{
    appointment::HEADER_STAGE,
    client_config::{CalendarConfig, FormConfig},
    inbox::InboxItem,
};

use super::{
    console_state::{
        ConsoleError, ConsoleResponse, ConsoleState, DeliveryQuery, LEAD_INBOX, SharedConsole, TableCache,
    },
    leads::{can_flag_tests, can_post_leads, can_withhold_consent},
    samples::{ConsoleSample, SampleTargets},
};

/// The newest items of each kind are shown.
const MAX_DELIVERIES: usize = 200;
const MAX_LEADS: usize = 300;
const MAX_ROWS: usize = 400;
const MAX_APPOINTMENTS: usize = 100;
const MAX_MESSAGES: usize = 400;
/// The code of the outcome of a lead whose form is held.
const HELD_OUTCOME: &str = "held-for-review";
/// Last lines of each function's log.
const MAX_LOG_LINES: usize = 200;

pub(super) type DeliveriesAndRows = (Arc<Vec<Value>>, Arc<Vec<Value>>);

impl ConsoleState {
    /// Deliveries and ledger rows, newest first.
    pub(super) fn read_tables(&self) -> anyhow::Result<DeliveriesAndRows> {
        let writes = self.stack.dynamo().write_count();
        let mut tables = tellonce_fakes::lock_mutex(&self.table_cache);
        if tables.write_count != Some(writes) {
            let dynamo = self.stack.dynamo();
            let mut deliveries = Vec::new();
            for inbox in self.inbox_table_names() {
                deliveries.extend(dynamo.scan_items(inbox)?.into_iter().map(|mut delivery| {
                    delivery["inbox"] = json!(inbox);
                    delivery
                }));
            }
            for delivery in &mut deliveries {
                // The body is large, and shown only on demand.
                if let Some(Value::String(body)) = delivery.as_object_mut().and_then(|item| item.remove("body")) {
                    delivery["stored_bytes"] = json!(body.len() / 4 * 3);
                }
            }
            let mut rows = dynamo.scan_items(&self.table_name("Ledger")?)?;
            sort_newest_first(&mut deliveries, "received_at");
            sort_newest_first(&mut rows, "updated_at");
            *tables = TableCache { write_count: Some(writes), deliveries: Arc::new(deliveries), rows: Arc::new(rows) };
        }
        Ok((tables.deliveries.clone(), tables.rows.clone()))
    }

    /// The client's calendars, and the ledger rows of feeds.
    fn render_calendars(&self, rows: &[Value]) -> Vec<Value> {
        let Ok(client) = &self.client else { return Vec::new() };
        let calendar = |(name, calendar): (&String, &CalendarConfig)| {
            let secret = |name: &str| self.stack.secrets().current_value(name).is_some();
            let ready = (calendar.kind.proof().is_none() || secret(&client.webhook_secret_name(name)))
                && (calendar.kind.facts().credential.is_none() || secret(&client.calendar_secret_name(name)));
            let subject = format!("feed:{name}");
            json!({
                "name": name,
                "kind": calendar.kind.facts().name,
                "available": ready,
                "current_start": self.booking_samples.current_start(name).map(jiff::Timestamp::as_millisecond),
                "feed": rows.iter().find(|row| row["subject"] == subject.as_str()),
            })
        };
        client.calendars.iter().map(calendar).collect()
    }

    /// The client's forms, with the number of leads that wait until an operator releases them.
    fn render_forms(&self, deliveries: &[Value], rows: &[Value]) -> Vec<Value> {
        let Ok(client) = &self.client else { return Vec::new() };
        let has_secret = |name: &str| self.stack.secrets().current_value(name).is_some();
        let form = |(name, form): (&String, &FormConfig)| {
            let subject = format!("form:{name}");
            let row = rows.iter().find(|row| row["subject"] == subject.as_str());
            json!({
                "name": name,
                "kind": form.kind.facts().name,
                "available": can_post_leads(client, name, form, has_secret),
                "has_submission": self.lead_samples.has_submission(name),
                "can_flag_tests": can_flag_tests(form),
                "can_withhold_consent": can_withhold_consent(form),
                "burst": form.limits.burst.leads,
                "held_since": row.and_then(|row| row["held_since"].as_i64()),
                "waiting": deliveries.iter().filter(|delivery| is_held_for_review(delivery, name)).count(),
            })
        };
        client.forms.iter().map(form).collect()
    }

    /// The newest leads with their outcomes and messages.
    fn render_leads(&self, deliveries: &[Value], rows: &[Value]) -> anyhow::Result<Vec<Value>> {
        let inbox = self.table_name(LEAD_INBOX)?;
        let of_forms = deliveries.iter().filter(|delivery| delivery["inbox"] == inbox.as_str());
        let mut rows_of: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for row in rows.iter().filter(|row| is_message_row(row)) {
            rows_of.entry(row["delivery"].as_str().unwrap_or_default()).or_default().push(row);
        }
        let rows_of = |delivery: &Value| rows_of.get(delivery["id"].as_str()?).map(Vec::as_slice);
        Ok(of_forms
            .take(MAX_LEADS)
            .map(|delivery| render_lead(delivery, rows_of(delivery).unwrap_or_default()))
            .collect())
    }

    /// Tomorrow at 10:30 in the client's time zone: the default time of a booking.
    fn default_booking_time(&self) -> Option<String> {
        let zone = self.client.as_ref().ok()?.zone_or_default(None)?;
        let now = jiff::Timestamp::from_millisecond(self.stack.clock().now_ms()).ok()?;
        let tomorrow = now.to_zoned(zone).date().tomorrow().ok()?;
        Some(tomorrow.at(10, 30, 0, 0).strftime("%FT%H:%M").to_string())
    }

    fn render_lines(&self, rows: &[Value]) -> Vec<Value> {
        let settings = self.stack.provider().settings();
        let Ok(client) = &self.client else { return Vec::new() };
        let line = |(name, line): (&String, &tellonce_core::client_config::LineConfig)| {
            let subject = format!("line:{name}");
            let row = rows.iter().find(|row| row["subject"] == subject.as_str());
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

    fn render_state(&self) -> anyhow::Result<Value> {
        self.sync_fake_clock()?;
        let (deliveries, rows) = self.read_tables()?;
        let mut provider = self.stack.provider().state_json();
        let mut messages = match provider.as_object_mut().and_then(|provider| provider.remove("messages")) {
            Some(Value::Array(messages)) => messages,
            _ => Vec::new(),
        };
        messages.drain(..messages.len().saturating_sub(MAX_MESSAGES));
        let message_rows = rows.iter().filter(|row| is_message_row(row));
        let appointments = rows.iter().filter(|row| is_state_row(row)).filter_map(render_appointment);
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
            "lines": self.render_lines(&rows),
            // Tables whose streams have records that no function has processed.
            "unprocessed_tables": self.stack.stream_states()?.into_iter().filter(|state| !state.is_caught_up()).map(|state| state.table).collect::<Vec<_>>(),
            "samples": self.render_samples(),
            "calendars": self.render_calendars(&rows),
            "forms": self.render_forms(&deliveries, &rows),
            "leads": self.render_leads(&deliveries, &rows)?,
            "zone": self.client.as_ref().ok().map(|client| &client.time_zone),
            "default_start": self.default_booking_time(),
            "appointments": appointments.take(MAX_APPOINTMENTS).collect::<Vec<_>>(),
            "next_due": find_next_due(&rows, self.stack.clock().now_ms()),
            "deliveries": deliveries.iter().take(MAX_DELIVERIES).collect::<Vec<_>>(),
            "rows": message_rows.take(MAX_ROWS).collect::<Vec<_>>(),
            "messages": messages,
            "conversations": self.render_conversations(),
            "provider": provider,
            "functions": self.render_functions(),
            "failures": failures,
            "requests": {"dynamo": dynamo, "secrets": self.stack.secrets().total_request_count()},
        }))
    }
}

/// Whether a row holds the state of a line, an appointment, a feed, a form or a customer, and not a
/// message.
fn is_state_row(row: &Value) -> bool {
    row["stage"] == HEADER_STAGE
}

/// Whether a row is a message. Only messages have a state: a row of greetings has none.
fn is_message_row(row: &Value) -> bool {
    !is_state_row(row) && row["state"].is_string()
}

/// Whether a delivery waits until an operator releases its form.
fn is_held_for_review(delivery: &Value, form: &str) -> bool {
    delivery["sender"] == form && delivery["outcome"] == HELD_OUTCOME
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

/// The next due time after `now_ms`, in unix milliseconds.
pub(super) fn find_next_due(rows: &[Value], now_ms: i64) -> Option<i64> {
    rows.iter().filter_map(|row| row["due_at"].as_i64()).filter(|due| *due > now_ms).min()
}

fn sort_newest_first(items: &mut [Value], by: &str) {
    items.sort_by_key(|item| std::cmp::Reverse(item[by].as_i64().unwrap_or(0)));
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
    let state = tokio::task::spawn_blocking(move || console.render_state()).await??;
    let mut hasher = DefaultHasher::new();
    state.to_string().hash(&mut hasher);
    let version = format!("{:016x}", hasher.finish());
    if version == query.known_version {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut state = state;
    state["version"] = json!(version);
    Ok(Json(state).into_response())
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
    fn an_appointment_header_is_rendered_and_is_not_a_message() {
        let row = json!({
            "subject": "appointment:88", "stage": "state", "version": 3, "due_at": 1_795_163_400_000_i64,
            "appointment": r#"{"status":"booked","start":"2026-11-21T08:30:00Z","zone":"Asia/Jerusalem","attendees":[]}"#,
        });
        assert!(is_state_row(&row) && !is_state_row(&json!({"subject": "appointment:88", "stage": "24h"})));
        let shown = render_appointment(&row).expect("a header");
        assert_eq!((&shown["subject"], &shown["status"]), (&json!("appointment:88"), &json!("booked")));
        assert_eq!((&shown["version"], &shown["due_at"]), (&json!(3), &json!(1_795_163_400_000_i64)));
        for other in [json!({"subject": "line:main", "stage": "state"}), json!({"appointment": "no JSON"})] {
            assert!(render_appointment(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn contact_and_form_rows_are_not_messages() {
        let greetings = json!({"subject": "contact:ab", "stage": "greetings", "version": 1, "greetings": "[]"});
        let form = json!({"subject": "form:site", "stage": "state", "leads": 3, "held_since": 5});
        let opt_out = json!({"subject": "contact:ab", "stage": "state", "opted_out_at": 1});
        for row in [&greetings, &form, &opt_out] {
            assert!(!is_message_row(row), "{row}");
        }
        assert_eq!(find_next_due(&[greetings, form, opt_out], 0), None);
        assert!(is_message_row(&json!({"subject": "lead:1", "stage": "first-touch", "state": "suppressed"})));
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
        let held = json!({"sender": "site", "outcome": "held-for-review", "outcome_text": "too many"});
        assert!(
            is_held_for_review(&held, "site")
                && !is_held_for_review(&held, "other")
                && !is_held_for_review(&delivery, "site")
        );
    }

    #[test]
    fn the_next_due_time_is_the_earliest_in_the_future() {
        let rows = [json!({"due_at": 5}), json!({"due_at": 30}), json!({"due_at": 20}), json!({"stage": "state"})];
        assert_eq!(find_next_due(&rows, 5), Some(20));
        assert_eq!(find_next_due(&rows, 30), None);
    }
}
