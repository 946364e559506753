//! What the console shows: everything at once, so that the page never shows two moments side by side.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use anyhow::Context as _;
use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::inbox::Entry;

use super::{Answer, Case, Console, Failed, Shared, Targets, WithId};
use crate::dynamo::{Dynamo, plain_item};

/// Newest items of each kind that are shown.
const DELIVERIES: usize = 200;
const ROWS: usize = 400;
const MESSAGES: usize = 400;
/// Last lines of each function's log.
const LOG_LINES: usize = 200;

/// The tables as they were when so many writes had been made: reading them anew each second would slow the house down.
#[derive(Default)]
pub(super) struct Tables {
    read_at: Option<u64>,
    deliveries: Arc<Vec<Value>>,
    rows: Arc<Vec<Value>>,
}

type Read = (Arc<Vec<Value>>, Arc<Vec<Value>>);

impl Console {
    /// Deliveries and ledger rows, newest first.
    fn tables(&self) -> anyhow::Result<Read> {
        let writes = *self.stack.dynamo().watch_writes().borrow();
        let mut tables = crate::lock(&self.tables);
        if tables.read_at != Some(writes) {
            let dynamo = self.stack.dynamo();
            let mut deliveries = scan(dynamo, &self.table("StoreInbox")?)?;
            for delivery in &mut deliveries {
                // The body is large, and shown only on demand.
                if let Some(Value::String(body)) = delivery.as_object_mut().and_then(|item| item.remove("body")) {
                    delivery["stored_bytes"] = json!(body.len() / 4 * 3);
                }
            }
            let mut rows = scan(dynamo, &self.table("Ledger")?)?;
            newest_first(&mut deliveries, "received_at");
            newest_first(&mut rows, "updated_at");
            *tables = Tables { read_at: Some(writes), deliveries: Arc::new(deliveries), rows: Arc::new(rows) };
        }
        Ok((tables.deliveries.clone(), tables.rows.clone()))
    }

    fn lines(&self, rows: &[Value]) -> Vec<Value> {
        let settings = self.stack.ezw().settings();
        let Ok(client) = &self.client else { return Vec::new() };
        let line = |(name, line): (&String, &shared::client_config::Line)| {
            let subject = format!("line:{name}");
            let row = rows.iter().find(|row| row["subject"] == subject.as_str());
            json!({
                "name": name,
                "line_id": line.line_id,
                "health": settings.health_of(&line.line_id),
                "stopped": row.is_some_and(|row| row.get("stopped").is_some()),
                "can_stop": true,
                "row": row,
            })
        };
        client.lines.iter().map(line).collect()
    }

    fn samples(&self) -> Vec<Value> {
        let targets: Option<Targets> = self.targets().ok();
        Case::ALL
            .iter()
            .map(|case| {
                json!({
                    "case": case, "label": case.label(), "expect": case.expect(), "group": case.group(),
                    "available": targets.as_ref().is_some_and(|targets| targets.has(*case)),
                })
            })
            .collect()
    }

    fn functions(&self) -> Vec<Value> {
        let functions = self.stack.functions();
        functions
            .names()
            .into_iter()
            .map(|name| {
                let logs = self.stack.logs(&name);
                let last = &logs[logs.len().saturating_sub(LOG_LINES)..];
                json!({"name": name, "invocations": functions.invocations(&name), "logs": last})
            })
            .collect()
    }

    fn whole(&self) -> anyhow::Result<Value> {
        self.keep_time()?;
        let (deliveries, rows) = self.tables()?;
        let mut ezw = self.stack.ezw().state();
        let mut messages = match ezw.as_object_mut().and_then(|ezw| ezw.remove("messages")) {
            Some(Value::Array(messages)) => messages,
            _ => Vec::new(),
        };
        messages.drain(..messages.len().saturating_sub(MESSAGES));
        let told =
            rows.iter().filter(|row| !row["subject"].as_str().is_some_and(|subject| subject.starts_with("line:")));
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
                let mut shown = json!(failed);
                shown["title"] = json!(title);
                shown
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
            "offset_ms": self.stack.clock().offset(),
            "lines": self.lines(&rows),
            "samples": self.samples(),
            "deliveries": deliveries.iter().take(DELIVERIES).collect::<Vec<_>>(),
            "rows": told.take(ROWS).collect::<Vec<_>>(),
            "messages": messages,
            "ezw": ezw,
            "functions": self.functions(),
            "failures": failures,
            "requests": {"dynamo": dynamo, "secrets": self.stack.secrets().total_requests()},
        }))
    }
}

/// All items of a table as plain JSON. Not counted among the functions' requests.
fn scan(dynamo: &Dynamo, table: &str) -> anyhow::Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut request = json!({"TableName": table});
    loop {
        let mut page = dynamo.call("Scan", &request).with_context(|| format!("can't read the table {table}"))?;
        for item in page["Items"].as_array().into_iter().flatten() {
            items.push(plain_item(item)?);
        }
        match page["LastEvaluatedKey"].take() {
            Value::Null => return Ok(items),
            key => request["ExclusiveStartKey"] = key,
        }
    }
}

fn newest_first(items: &mut [Value], by: &str) {
    items.sort_by_key(|item| std::cmp::Reverse(item[by].as_i64().unwrap_or(0)));
}

#[derive(Deserialize)]
pub(super) struct Seen {
    #[serde(default)]
    seen: String,
}

/// The whole state, or 204 when the page has it already.
pub(super) async fn state(State(console): Shared, Query(seen): Query<Seen>) -> Result<Response, Failed> {
    let whole = tokio::task::spawn_blocking(move || console.whole()).await??;
    let mut hasher = DefaultHasher::new();
    whole.to_string().hash(&mut hasher);
    let version = format!("{:016x}", hasher.finish());
    if version == seen.seen {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut whole = whole;
    whole["version"] = json!(version);
    Ok(Json(whole).into_response())
}

/// The raw body of one delivery, laid out when it is JSON.
pub(super) async fn delivery(State(console): Shared, Query(wanted): WithId) -> Answer {
    let key = json!({"TableName": console.table("StoreInbox")?, "Key": {"id": {"S": wanted.id}}});
    let found = console.stack.dynamo().call("GetItem", &key)?;
    if found["Item"].is_null() {
        return Err(Failed {
            status: StatusCode::NOT_FOUND,
            said: "The inbox has forgotten this delivery.".to_owned(),
        });
    }
    let entry = Entry::from_image(&found["Item"].to_string())?;
    let body = match serde_json::from_slice::<Map<String, Value>>(&entry.body) {
        Ok(fields) => serde_json::to_string_pretty(&fields)?,
        Err(_) => String::from_utf8_lossy(&entry.body).into_owned(),
    };
    Ok(Json(json!({"body": body, "bytes": entry.body.len()})))
}
