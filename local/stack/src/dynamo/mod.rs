//! DynamoDB on this machine: an embedded engine (`dynoxide`) behind a thin HTTP layer.
//!
//! The engine has an HTTP server, which is not used: this layer counts requests (per operation and
//! table, with their capacity) and injects faults. Signatures are not verified, but a function
//! needs the permission of its role ([`crate::iam`]). The engine has no throughput limits, so
//! throttling exists only as a fault.
//!
//! Durability: a file database runs with `synchronous = NORMAL`. It loses nothing if the process is
//! killed. A power cut may lose the last writes.

mod changes;
mod counters;
mod faults;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use dynoxide::Database;
pub use dynoxide::DynoxideError;
use http::{HeaderMap, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::watch;

pub use changes::{ItemKey, TableChanges};
pub use counters::{OperationCounters, OperationUsage};
pub use faults::{DynamoFault, DynamoFaults, FaultFrequency, FaultRule};

use crate::{
    clock::LocalClock,
    iam::{self, FunctionRoles},
    stored_deliveries::StoredDeliveries,
    template::TemplateTable,
};
use changes::ChangeLog;

/// Largest request body DynamoDB takes.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Indexes of the engine's stream records. Without them the engine reads all records of a stream
/// for every write and every read of it, so a stack would get slower with each message. The
/// expressions are those of the engine's queries.
const STREAM_INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS stream_records_by_number
        ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
    CREATE INDEX IF NOT EXISTS stream_records_by_shard
        ON _stream_records (table_name, shard_id, CAST(sequence_number AS INTEGER));";

/// The database of a stack: engine, counters, faults.
pub struct EmbeddedDynamo {
    db: Database,
    counters: OperationCounters,
    faults: DynamoFaults,
    changes: ChangeLog,
    /// Goes up with every write over HTTP and wakes the stream readers.
    writes: watch::Sender<u64>,
}

impl EmbeddedDynamo {
    /// Opens the database in `file`, or one in memory whose items expire by `clock`.
    ///
    /// The engine takes a clock only for databases in memory: items in a file expire by the
    /// system's clock.
    pub fn open(file: Option<&Path>, clock: Arc<LocalClock>) -> anyhow::Result<Self> {
        let db = match file {
            None => {
                let db = Database::memory_with_clock(clock)?;
                let folder = tempfile::tempdir()?;
                db.restore_from(path_text(&create_indexed_database(folder.path())?)?)?;
                db
            }
            Some(path) => {
                let text = path_text(path)?;
                let db = Database::new(text).with_context(|| format!("could not open {}", path.display()))?;
                index_stream_records(path)?;
                // Leaving bulk loading is the engine's only public switch to synchronous = NORMAL.
                db.enable_bulk_loading()?;
                db.disable_bulk_loading()?;
                db
            }
        };
        Ok(Self {
            db,
            counters: OperationCounters::default(),
            faults: DynamoFaults::default(),
            changes: ChangeLog::default(),
            writes: watch::Sender::new(0),
        })
    }

    /// Creates the missing tables.
    ///
    /// An existing table with another shape is an error. Only a person can decide whether to
    /// migrate or to drop its data.
    pub fn create_tables(&self, tables: &[TemplateTable]) -> anyhow::Result<()> {
        for table in tables {
            self.changes.add_table(&table.name, &table.definition);
            self.create_table(table).with_context(|| format!("table {}", table.name))?;
        }
        Ok(())
    }

    fn create_table(&self, table: &TemplateTable) -> anyhow::Result<()> {
        match self.call_operation("DescribeTable", &json!({"TableName": table.name})) {
            Ok(existing) => {
                let existing = &existing["Table"];
                for part in ["KeySchema", "GlobalSecondaryIndexes", "StreamSpecification"] {
                    ensure!(
                        comparable_shape(&existing[part]) == comparable_shape(&table.definition[part]),
                        "{part} in the template differs from the stored table; start with --fresh to throw the old one away"
                    );
                }
            }
            Err(DynoxideError::ResourceNotFoundException(_)) => {
                self.call_operation("CreateTable", &table.definition)?;
            }
            Err(e) => return Err(e.into()),
        }
        if let Some(attribute) = &table.ttl_attribute {
            let wanted = json!({"TableName": table.name, "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": true}});
            let present = self.call_operation("DescribeTimeToLive", &json!({"TableName": table.name}))?;
            if present["TimeToLiveDescription"]["AttributeName"] != attribute.as_str() {
                self.call_operation("UpdateTimeToLive", &wanted)?;
            }
        }
        Ok(())
    }

    /// The engine. Operations on it are not counted, meet no faults, and are not in
    /// [`Self::changes_since`].
    pub fn db(&self) -> &Database {
        &self.db
    }

    /// Counters of the requests over HTTP.
    pub fn counters(&self) -> &OperationCounters {
        &self.counters
    }

    /// Faults of the requests over HTTP.
    pub fn faults(&self) -> &DynamoFaults {
        &self.faults
    }

    /// Deletes expired items now and returns their number.
    pub fn sweep_ttl(&self) -> anyhow::Result<usize> {
        let expired = self.db.sweep_ttl()?;
        if expired > 0 {
            self.changes.forget();
        }
        Ok(expired)
    }

    /// Runs one operation with the JSON of DynamoDB's API, e.g. `call_operation("Scan", …)`. Not
    /// counted.
    pub fn call_operation(&self, operation: &str, request: &Value) -> Result<Value, DynoxideError> {
        self.apply_operation(operation, request.clone())
    }

    fn apply_operation(&self, operation: &str, request: Value) -> Result<Value, DynoxideError> {
        let written = self.changes.list_written(operation, &request);
        let answer = run_operation(&self.db, operation, request)?;
        self.changes.add(written);
        Ok(answer)
    }

    /// One item as plain JSON; `None` if it does not exist. Not counted.
    pub fn find_item(&self, item: &ItemKey) -> anyhow::Result<Option<Value>> {
        let request = json!({"TableName": item.table, "Key": item.key, "ConsistentRead": true});
        let answer = self.call_operation("GetItem", &request)?;
        answer.get("Item").filter(|found| found.is_object()).map(to_plain_item).transpose()
    }

    /// The position after the last change of any item. It changes with every write.
    pub fn change_position(&self) -> u64 {
        self.changes.position()
    }

    /// The items that changed since a position.
    pub fn changes_since(&self, position: u64) -> TableChanges {
        self.changes.changes_since(position)
    }

    /// All items of a table as plain JSON. Not counted.
    pub fn scan_items(&self, table: &str) -> anyhow::Result<Vec<Value>> {
        self.scan_typed_items(table)?.iter().map(to_plain_item).collect()
    }

    /// All items of a table in the form of `DynamoDB`'s API. Not counted.
    pub fn scan_typed_items(&self, table: &str) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut request = json!({"TableName": table});
        loop {
            let mut page =
                self.call_operation("Scan", &request).with_context(|| format!("could not read the table {table}"))?;
            if let Value::Array(found) = page["Items"].take() {
                items.extend(found);
            }
            match page["LastEvaluatedKey"].take() {
                Value::Null => return Ok(items),
                key => request["ExclusiveStartKey"] = key,
            }
        }
    }

    /// A receiver that changes with every write.
    pub(crate) fn watch_writes(&self) -> watch::Receiver<u64> {
        self.writes.subscribe()
    }

    /// Wakes the stream readers after a write that did not come over HTTP.
    pub fn wake_readers(&self) {
        self.writes.send_modify(|n| *n += 1);
    }

    /// The HTTP endpoint, for callers with these roles.
    pub(crate) fn build_router(
        self: Arc<Self>,
        roles: Arc<FunctionRoles>,
        tables: &[TemplateTable],
        stored: Arc<StoredDeliveries>,
    ) -> Router {
        let hash_keys = tables.iter().filter_map(|table| Some((table.name.clone(), table.hash_key()?))).collect();
        let endpoint = Arc::new(DynamoEndpoint { dynamo: self, roles, hash_keys, stored });
        Router::new().route("/", post(handle_http)).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(endpoint)
    }

    /// Serves a request over HTTP: faults first, then the engine. Every request is counted.
    /// `size` is that of its body, in bytes.
    async fn serve_request(self: Arc<Self>, operation: String, mut request: Value, size: usize) -> (StatusCode, Value) {
        let table = request_tables(&operation, &request);
        let plan = self.faults.plan_request(&operation, &table);
        tokio::time::sleep(plan.delay).await;
        if let Some(fault) = plan.refuse {
            let (status, answer) = fault.error_response(&operation, &request);
            self.counters.record_failure(&operation, &table, size, answer["__type"].as_str().unwrap_or_default());
            return (status, answer);
        }
        let asked_for_capacity = request.get("ReturnConsumedCapacity").is_some_and(|wanted| wanted != "NONE");
        if let Some(fields) = request.as_object_mut()
            && !asked_for_capacity
            && counters::capacity_kind(&operation).is_some()
        {
            fields.insert("ReturnConsumedCapacity".to_owned(), json!("TOTAL"));
        }
        let lost_response = plan.lose_response.map(|fault| fault.error_response(&operation, &request));
        let (dynamo, name) = (self.clone(), operation.clone());
        let result = tokio::task::spawn_blocking(move || dynamo.apply_operation(&name, request)).await;
        let result = result.unwrap_or_else(|e| Err(DynoxideError::InternalServerError(e.to_string())));
        match result {
            Ok(mut answer) => {
                let capacity = if asked_for_capacity {
                    answer.get("ConsumedCapacity").cloned()
                } else {
                    answer.as_object_mut().and_then(|fields| fields.remove("ConsumedCapacity"))
                };
                self.counters.record_success(&operation, &table, size, capacity.as_ref());
                if counters::capacity_kind(&operation) == Some(counters::CapacityKind::Write) {
                    self.wake_readers();
                }
                lost_response.unwrap_or((StatusCode::OK, answer))
            }
            Err(e) => {
                self.counters.record_failure(&operation, &table, size, e.error_type());
                let response = serde_json::from_str(&e.to_json()).unwrap_or(Value::Null);
                (StatusCode::from_u16(e.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), response)
            }
        }
    }
}

fn path_text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the state directory's path is not UTF-8")
}

/// Creates an empty database with indexes, for a database in memory, which only the engine opens.
fn create_indexed_database(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("empty.db");
    drop(Database::new(path_text(&path)?)?);
    index_stream_records(&path)?;
    Ok(path)
}

fn index_stream_records(path: &Path) -> anyhow::Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch(STREAM_INDEXES).context("could not index the streams of the database")
}

impl std::fmt::Debug for EmbeddedDynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamo").field("counters", &self.counters).field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// The engine behind HTTP.
struct DynamoEndpoint {
    dynamo: Arc<EmbeddedDynamo>,
    roles: Arc<FunctionRoles>,
    /// Name of each table's partition key.
    hash_keys: BTreeMap<String, String>,
    stored: Arc<StoredDeliveries>,
}

async fn handle_http(State(endpoint): State<Arc<DynamoEndpoint>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let (status, answer) = answer_request(&endpoint, operation, &headers, &body).await;
    let id = tellonce_fakes::generate_id();
    (
        [(header::CONTENT_TYPE.as_str(), "application/x-amz-json-1.0"), ("x-amzn-requestid", id.as_str())],
        (status, answer.to_string()),
    )
        .into_response()
}

async fn answer_request(
    endpoint: &DynamoEndpoint,
    operation: String,
    headers: &HeaderMap,
    body: &[u8],
) -> (StatusCode, Value) {
    let Ok(request) = serde_json::from_slice(body) else {
        return (StatusCode::BAD_REQUEST, json!({"__type": "com.amazon.coral.service#SerializationException"}));
    };
    let actions = iam::table_actions(&operation, &request, &endpoint.hash_keys);
    if let Some(refusal) = endpoint.roles.check_request(headers, &actions) {
        return (StatusCode::BAD_REQUEST, refusal);
    }
    let inbox_write = endpoint.stored.find_write(&operation, headers, &request);
    // In a task, because a request that has arrived takes effect even if the caller gives up.
    let served = tokio::spawn(endpoint.dynamo.clone().serve_request(operation, request, body.len())).await;
    let (status, answer) = served.unwrap_or((StatusCode::INTERNAL_SERVER_ERROR, Value::Null));
    if let Some(write) = inbox_write {
        endpoint.stored.note_answer(write, status.is_success(), &answer);
    }
    (status, answer)
}

/// Runs one operation on the engine.
fn run_operation(db: &Database, operation: &str, request: Value) -> Result<Value, DynoxideError> {
    match operation {
        "PutItem" => run_typed(request, |r| db.put_item(r)),
        "UpdateItem" => run_typed(request, |r| db.update_item(r)),
        "DeleteItem" => run_typed(request, |r| db.delete_item(r)),
        "GetItem" => run_typed(request, |r| db.get_item(r)),
        "Query" => run_typed(request, |r| db.query(r)),
        "Scan" => run_typed(request, |r| db.scan(r)),
        "BatchGetItem" => run_typed(request, |r| db.batch_get_item(r)),
        "BatchWriteItem" => run_typed(request, |r| db.batch_write_item(r)),
        "TransactGetItems" => run_typed(request, |r| db.transact_get_items(r)),
        "TransactWriteItems" => run_typed(request, |r| db.transact_write_items(r)),
        "CreateTable" => run_typed(request, |r| db.create_table(r)),
        "DeleteTable" => run_typed(request, |r| db.delete_table(r)),
        "DescribeTable" => run_typed(request, |r| db.describe_table(r)),
        "ListTables" => run_typed(request, |r| db.list_tables(r)),
        "UpdateTimeToLive" => run_typed(request, |r| db.update_time_to_live(r)),
        "DescribeTimeToLive" => run_typed(request, |r| db.describe_time_to_live(r)),
        other => Err(DynoxideError::ValidationException(format!("the local stack has no DynamoDB operation {other}"))),
    }
}

fn run_typed<Q: DeserializeOwned, A: Serialize>(
    request: Value,
    call: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> Result<Value, DynoxideError> {
    let request = serde_json::from_value(request).map_err(|e| {
        // The engine's mark for a request that it can read and that is not valid.
        let text = e.to_string();
        match text.strip_prefix("VALIDATION:") {
            Some(message) => DynoxideError::ValidationException(message.to_owned()),
            None => DynoxideError::SerializationException(text),
        }
    })?;
    serde_json::to_value(call(request)?).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

/// The table of a request; several tables are joined by commas.
fn request_tables(operation: &str, request: &Value) -> String {
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

/// The part of a table description that the template defines, in a comparable form.
fn comparable_shape(part: &Value) -> Value {
    match part {
        Value::Object(fields) => {
            let compared = [
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
                .filter(|(name, _)| compared.contains(&name.as_str()))
                .map(|(name, v)| (name.clone(), comparable_shape(v)))
                .collect()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(comparable_shape).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// The value of a typed attribute (`{"S": "x"}`) as plain JSON, for tests and the console.
///
/// Binary values stay base64 text. A number that fits into JSON becomes a number.
pub fn to_plain_value(attribute: &Value) -> anyhow::Result<Value> {
    let Some((kind, value)) = attribute.as_object().and_then(|fields| fields.iter().next()) else {
        bail!("not a typed attribute: {attribute}");
    };
    Ok(match (kind.as_str(), value) {
        ("N", Value::String(digits)) => serde_json::from_str(digits)?,
        ("L", Value::Array(items)) => items.iter().map(to_plain_value).collect::<anyhow::Result<_>>()?,
        ("M", fields @ Value::Object(_)) => to_plain_item(fields)?,
        ("NULL", _) => Value::Null,
        (_, value) => value.clone(),
    })
}

/// A whole item (attribute name → typed attribute) as plain JSON.
pub fn to_plain_item(item: &Value) -> anyhow::Result<Value> {
    let fields = item.as_object().context("not an item")?;
    fields.iter().map(|(name, attribute)| Ok((name.clone(), to_plain_value(attribute)?))).collect()
}

#[cfg(test)]
mod tests;
