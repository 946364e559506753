//! DynamoDB on this machine: an embedded engine (`dynoxide`) behind our own thin HTTP layer.
//!
//! The engine brings an HTTP server of its own. Ours stands in its place because a request has to be counted (per
//! operation and table, with the capacity it consumed) and because faults have to be injected between a function and its
//! table. Requests aren't authenticated. What the engine has no notion of, throughput limits, exists only as a fault.
//!
//! Durability: a file database runs with `synchronous = NORMAL`, which loses nothing when the process is
//! killed; a power cut may lose the last writes.

mod counters;
mod faults;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use http::{HeaderMap, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::watch;

pub use counters::{Counters, Usage};
pub use faults::{Fault, FaultRule, Faults, Times};

use crate::{clock::Clock, template::Table};

/// Largest request body DynamoDB takes.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The database of a stack: the engine itself, what was asked of it, and what goes wrong with it.
pub struct Dynamo {
    db: Database,
    counters: Counters,
    faults: Faults,
    /// Goes up with every write that came over HTTP, so that stream readers needn't wait for their next look.
    writes: watch::Sender<u64>,
}

impl Dynamo {
    /// Opens the database in `file`, or one in memory whose expiry follows `clock`.
    ///
    /// The engine takes a clock only for databases in memory: items in a file expire by the system's clock.
    pub fn open(file: Option<&Path>, clock: Arc<Clock>) -> anyhow::Result<Self> {
        let db = match file {
            None => Database::memory_with_clock(clock)?,
            Some(path) => {
                let text = path.to_str().context("the state directory's path is not UTF-8")?;
                let db = Database::new(text).with_context(|| format!("can't open {}", path.display()))?;
                // the way back from bulk loading is the engine's only public switch to synchronous = NORMAL
                db.enable_bulk_loading()?;
                db.disable_bulk_loading()?;
                db
            }
        };
        Ok(Self { db, counters: Counters::default(), faults: Faults::default(), writes: watch::Sender::new(0) })
    }

    /// Creates the tables that don't exist yet. An existing table with another shape is an error: its data would have
    /// to be migrated or thrown away, and that is not ours to decide.
    pub fn create_tables(&self, tables: &[Table]) -> anyhow::Result<()> {
        for table in tables {
            self.create_table(table).with_context(|| format!("table {}", table.name))?;
        }
        Ok(())
    }

    fn create_table(&self, table: &Table) -> anyhow::Result<()> {
        match self.call("DescribeTable", &json!({"TableName": table.name})) {
            Ok(existing) => {
                let existing = &existing["Table"];
                for part in ["KeySchema", "GlobalSecondaryIndexes", "StreamSpecification"] {
                    ensure!(
                        shape(&existing[part]) == shape(&table.definition[part]),
                        "{part} in the template differs from the stored table; start with --fresh to throw the old one away"
                    );
                }
            }
            Err(DynoxideError::ResourceNotFoundException(_)) => {
                self.call("CreateTable", &table.definition)?;
            }
            Err(e) => return Err(e.into()),
        }
        if let Some(attribute) = &table.ttl_attribute {
            let wanted = json!({"TableName": table.name, "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": true}});
            let present = self.call("DescribeTimeToLive", &json!({"TableName": table.name}))?;
            if present["TimeToLiveDescription"]["AttributeName"] != attribute.as_str() {
                self.call("UpdateTimeToLive", &wanted)?;
            }
        }
        Ok(())
    }

    /// The engine, for looking at tables directly. What goes this way is neither counted nor subject to faults.
    pub fn db(&self) -> &Database {
        &self.db
    }

    /// What was asked over HTTP.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Deletes expired items now. Returns how many there were.
    pub fn sweep_ttl(&self) -> anyhow::Result<usize> {
        Ok(self.db.sweep_ttl()?)
    }

    /// One operation with request and response as the JSON of DynamoDB's API, e.g. `call("Scan", …)`. Not counted.
    pub fn call(&self, operation: &str, request: &Value) -> Result<Value, DynoxideError> {
        perform(&self.db, operation, request.clone())
    }

    /// A receiver that changes with every write.
    pub(crate) fn watch_writes(&self) -> watch::Receiver<u64> {
        self.writes.subscribe()
    }

    /// Tells the stream readers to look now, after a write that didn't come over HTTP.
    pub(crate) fn wake_readers(&self) {
        self.writes.send_modify(|n| *n += 1);
    }

    /// The HTTP endpoint.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new().route("/", post(answer)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(self)
    }

    /// A request as it came over HTTP: faults first, then the engine, counted in any case.
    async fn serve(self: Arc<Self>, operation: String, body: Bytes) -> (StatusCode, Value) {
        let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
            return (StatusCode::BAD_REQUEST, json!({"__type": "com.amazon.coral.service#SerializationException"}));
        };
        let table = tables_of(&operation, &request);
        let plan = self.faults.plan(&operation, &table);
        if let Some(delay) = plan.delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(fault) = plan.refuse {
            let (status, answer) = fault.answer();
            self.counters.failed(&operation, &table, body.len(), answer["__type"].as_str().unwrap_or_default());
            return (status, answer);
        }
        let asked_for_capacity = request.get("ReturnConsumedCapacity").is_some_and(|wanted| wanted != "NONE");
        if let Some(fields) = request.as_object_mut()
            && !asked_for_capacity
            && counters::kind(&operation).is_some()
        {
            fields.insert("ReturnConsumedCapacity".to_owned(), json!("TOTAL"));
        }
        let (engine, name) = (self.db.clone(), operation.clone());
        let result = tokio::task::spawn_blocking(move || perform(&engine, &name, request)).await;
        let result = result.unwrap_or_else(|e| Err(DynoxideError::InternalServerError(e.to_string())));
        match result {
            Ok(mut answer) => {
                let capacity = if asked_for_capacity {
                    answer.get("ConsumedCapacity").cloned()
                } else {
                    answer.as_object_mut().and_then(|fields| fields.remove("ConsumedCapacity"))
                };
                self.counters.done(&operation, &table, body.len(), capacity.as_ref());
                if counters::kind(&operation) == Some(counters::Kind::Write) {
                    self.wake_readers();
                }
                plan.lose_answer.map_or((StatusCode::OK, answer), Fault::answer)
            }
            Err(e) => {
                self.counters.failed(&operation, &table, body.len(), e.error_type());
                let answer = serde_json::from_str(&e.to_json()).unwrap_or(Value::Null);
                (StatusCode::from_u16(e.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), answer)
            }
        }
    }
}

impl std::fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamo").field("counters", &self.counters).field("faults", &self.faults).finish_non_exhaustive()
    }
}

async fn answer(State(dynamo): State<Arc<Dynamo>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let (status, body) = dynamo.serve(operation, body).await;
    let id = crate::new_id();
    (
        [(header::CONTENT_TYPE.as_str(), "application/x-amz-json-1.0"), ("x-amzn-requestid", id.as_str())],
        (status, body.to_string()),
    )
        .into_response()
}

/// Runs one operation on the engine.
fn perform(db: &Database, operation: &str, request: Value) -> Result<Value, DynoxideError> {
    match operation {
        "PutItem" => run(request, |r| db.put_item(r)),
        "UpdateItem" => run(request, |r| db.update_item(r)),
        "DeleteItem" => run(request, |r| db.delete_item(r)),
        "GetItem" => run(request, |r| db.get_item(r)),
        "Query" => run(request, |r| db.query(r)),
        "Scan" => run(request, |r| db.scan(r)),
        "BatchGetItem" => run(request, |r| db.batch_get_item(r)),
        "BatchWriteItem" => run(request, |r| db.batch_write_item(r)),
        "TransactGetItems" => run(request, |r| db.transact_get_items(r)),
        "TransactWriteItems" => run(request, |r| db.transact_write_items(r)),
        "CreateTable" => run(request, |r| db.create_table(r)),
        "DeleteTable" => run(request, |r| db.delete_table(r)),
        "DescribeTable" => run(request, |r| db.describe_table(r)),
        "ListTables" => run(request, |r| db.list_tables(r)),
        "UpdateTimeToLive" => run(request, |r| db.update_time_to_live(r)),
        "DescribeTimeToLive" => run(request, |r| db.describe_time_to_live(r)),
        other => Err(DynoxideError::ValidationException(format!("the local stack has no DynamoDB operation {other}"))),
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    request: Value,
    call: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> Result<Value, DynoxideError> {
    let request = serde_json::from_value(request).map_err(|e| {
        // the engine marks a request that reads but doesn't validate so
        let text = e.to_string();
        match text.strip_prefix("VALIDATION:") {
            Some(message) => DynoxideError::ValidationException(message.to_owned()),
            None => DynoxideError::SerializationException(text),
        }
    })?;
    serde_json::to_value(call(request)?).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

/// The table a request is about; several are joined by commas.
fn tables_of(operation: &str, request: &Value) -> String {
    if let Some(name) = request["TableName"].as_str() {
        return name.to_owned();
    }
    let mut names: Vec<&str> = match operation {
        "BatchGetItem" | "BatchWriteItem" => {
            request["RequestItems"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
        }
        "TransactGetItems" | "TransactWriteItems" => request["TransactItems"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_object()?.values().next()?["TableName"].as_str())
            .collect(),
        _ => Vec::new(),
    };
    names.sort_unstable();
    names.dedup();
    names.join(",")
}

/// The part of a description that a template decides, in a form that can be compared.
fn shape(part: &Value) -> Value {
    match part {
        Value::Object(fields) => {
            let kept = [
                "IndexName",
                "KeySchema",
                "Projection",
                "AttributeName",
                "KeyType",
                "ProjectionType",
                "NonKeyAttributes",
                "StreamViewType",
            ];
            fields
                .iter()
                .filter(|(name, _)| kept.contains(&name.as_str()))
                .map(|(name, v)| (name.clone(), shape(v)))
                .collect()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(shape).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// The value of a typed attribute (`{"S": "x"}`) as plain JSON, for reading rows in tests and at the console.
/// Binary values stay base64 text; numbers that fit are numbers.
pub fn plain(attribute: &Value) -> anyhow::Result<Value> {
    let Some((kind, value)) = attribute.as_object().and_then(|fields| fields.iter().next()) else {
        bail!("not a typed attribute: {attribute}");
    };
    Ok(match (kind.as_str(), value) {
        ("N", Value::String(digits)) => serde_json::from_str(digits)?,
        ("L", Value::Array(items)) => items.iter().map(plain).collect::<anyhow::Result<_>>()?,
        ("M", fields @ Value::Object(_)) => plain_item(fields)?,
        ("NULL", _) => Value::Null,
        (_, value) => value.clone(),
    })
}

/// A whole item (attribute name → typed attribute) as plain JSON.
pub fn plain_item(item: &Value) -> anyhow::Result<Value> {
    let fields = item.as_object().context("not an item")?;
    fields.iter().map(|(name, attribute)| Ok((name.clone(), plain(attribute)?))).collect()
}

#[cfg(test)]
mod tests;
