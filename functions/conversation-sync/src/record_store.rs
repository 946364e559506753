//! Where conversations, messages and tasks are kept: rows of the ledger's table, one JSON text each.
//!
//! Every write names the version that it read, so of two that change a row at the same time one does it again on what the
//! other wrote ([`RecordStore::update_record`]). What waits for a time stands in the table's `due` index under the name of a queue.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{get_item::GetItemError, put_item::PutItemError, query::QueryError},
    types::AttributeValue as Value,
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tellonce_core::{
    clock::UnixMillis,
    fault::{ClassifyFault, Fault},
};

/// How often a change is made again that others overtook.
const MAX_UPDATE_ATTEMPTS: u32 = 12;

/// The table failed.
#[derive(Debug, thiserror::Error)]
pub enum RecordStoreError {
    /// A row could not be read.
    #[error("the ledger could not be read")]
    GetFailed(#[source] Box<SdkError<GetItemError>>),
    /// What is due could not be read.
    #[error("the ledger could not be read")]
    QueryFailed(#[source] Box<SdkError<QueryError>>),
    /// A row could not be written.
    #[error("the ledger could not be written")]
    PutFailed(#[source] Box<SdkError<PutItemError>>),
    /// Others kept writing the same row.
    #[error("the row {0} is written by others again and again")]
    TooManyConflicts(ItemKey),
    /// A row is not as we wrote it. What the reader says of it could quote it.
    #[error("the row {key} is damaged, at column {column}")]
    DamagedRow {
        /// Which.
        key: ItemKey,
        /// Where.
        column: usize,
    },
}

impl ClassifyFault for RecordStoreError {
    fn fault(&self) -> Fault {
        match self {
            // What the table does not take now it does not take the next time either.
            Self::PutFailed(error) if is_validation_error(error) => Fault::Permanent,
            Self::GetFailed(_) | Self::QueryFailed(_) | Self::PutFailed(_) | Self::TooManyConflicts(_) => {
                Fault::Transient
            }
            Self::DamagedRow { .. } => Fault::Permanent,
        }
    }
}

fn is_validation_error(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(|service| service.meta().code() == Some("ValidationException"))
}

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemKey {
    /// The table's partition key.
    pub subject: String,
    /// The table's sort key.
    pub stage: String,
}

impl ItemKey {
    /// The row of this subject and stage.
    pub fn new(subject: impl Into<String>, stage: impl Into<String>) -> Self {
        Self { subject: subject.into(), stage: stage.into() }
    }

    /// The row that says what is known of a subject.
    pub fn for_state(subject: impl Into<String>) -> Self {
        Self::new(subject, "state")
    }
}

impl std::fmt::Display for ItemKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.subject, self.stage)
    }
}

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord<T> {
    /// What it holds.
    pub value: T,
    version: u64,
}

/// What is kept as a row.
pub trait Persisted: Serialize + DeserializeOwned {
    /// The queue that it waits in, and until when.
    fn due_in_queue(&self) -> Option<(String, Timestamp)>;
    /// When the table forgets it; never if it says no time.
    fn expires_at(&self) -> Option<Timestamp>;
}

/// The rows.
#[derive(Debug, Clone)]
pub struct RecordStore {
    db: Client,
    table: String,
}

impl RecordStore {
    /// In the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// A row as it is now.
    pub async fn get_record<T: Persisted>(&self, key: &ItemKey) -> Result<Option<StoredRecord<T>>, RecordStoreError> {
        let get = self.db.get_item().table_name(&self.table).consistent_read(true);
        let get = get.key("subject", Value::S(key.subject.clone())).key("stage", Value::S(key.stage.clone()));
        let item = get.send().await.map_err(|error| RecordStoreError::GetFailed(Box::new(error)))?.item;
        item.as_ref().map(|item| parse_record(key, item)).transpose()
    }

    /// Writes a row over what was read there, and over nothing else. Gives it as it then is, if it is written.
    pub async fn put_record<T: Persisted>(
        &self,
        key: &ItemKey,
        value: T,
        before: Option<&StoredRecord<T>>,
    ) -> Result<Option<StoredRecord<T>>, RecordStoreError> {
        let record = serde_json::to_string(&value)
            .map_err(|error| RecordStoreError::DamagedRow { key: key.clone(), column: error.column() })?;
        let version = before.map_or(1, |before| before.version + 1);
        let mut put = self
            .db
            .put_item()
            .table_name(&self.table)
            .item("subject", Value::S(key.subject.clone()))
            .item("stage", Value::S(key.stage.clone()))
            .item("version", Value::N(version.to_string()))
            .item("record", Value::S(record.clone()));
        if let Some(at) = value.expires_at() {
            put = put.item("ttl", Value::N(at.as_second().to_string()));
        }
        if let Some((queue, at)) = value.due_in_queue() {
            put = put.item("due_queue", Value::S(queue)).item("due_at", Value::N(at.unix_millis().to_string()));
        }
        put = match before {
            None => put.condition_expression("attribute_not_exists(subject)"),
            Some(before) => put
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", Value::N(before.version.to_string())),
        };
        put = put.return_values_on_condition_check_failure(
            aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld,
        );
        let written = match put.send().await {
            Ok(_) => true,
            Err(error) => match error.as_service_error() {
                // The SDK tries a write again when its answer is lost; then what stands in the way is our own.
                Some(PutItemError::ConditionalCheckFailedException(conflict)) => {
                    conflict.item().is_some_and(|existing| {
                        let same = |name: &str, value: Value| existing.get(name) == Some(&value);
                        same("version", Value::N(version.to_string())) && same("record", Value::S(record))
                    })
                }
                _ => return Err(RecordStoreError::PutFailed(Box::new(error))),
            },
        };
        Ok(written.then_some(StoredRecord { value, version }))
    }

    /// Changes a row, whatever others make of it meanwhile. `update_record` gives what it shall be, or nothing to leave it, beside
    /// what the caller wants to know; it may be asked more than once.
    pub async fn update_record<T: Persisted, R>(
        &self,
        key: &ItemKey,
        mut change: impl FnMut(Option<&T>) -> (Option<T>, R),
    ) -> Result<R, RecordStoreError> {
        for _ in 0..MAX_UPDATE_ATTEMPTS {
            let before = self.get_record::<T>(key).await?;
            let (after, result) = change(before.as_ref().map(|before| &before.value));
            match after {
                None => return Ok(result),
                Some(after) => {
                    if self.put_record(key, after, before.as_ref()).await?.is_some() {
                        return Ok(result);
                    }
                }
            }
        }
        Err(RecordStoreError::TooManyConflicts(key.clone()))
    }

    /// Up to `limit` rows of a queue that are due, the longest due first. The index lags the table by moments: read a row
    /// before acting on it.
    pub async fn list_due(&self, queue: &str, now: Timestamp, limit: i32) -> Result<Vec<ItemKey>, RecordStoreError> {
        let response = self
            .db
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("due_queue = :queue AND due_at <= :now")
            .expression_attribute_values(":queue", Value::S(queue.to_owned()))
            .expression_attribute_values(":now", Value::N(now.unix_millis().to_string()))
            .limit(limit)
            .send()
            .await
            .map_err(|error| RecordStoreError::QueryFailed(Box::new(error)))?;
        let text = |item: &HashMap<String, Value>, name: &str| item.get(name)?.as_s().ok().cloned();
        let parse_key = |item| Some(ItemKey::new(text(item, "subject")?, text(item, "stage")?));
        Ok(response.items().iter().filter_map(parse_key).collect())
    }
}

fn parse_record<T: Persisted>(
    key: &ItemKey,
    item: &HashMap<String, Value>,
) -> Result<StoredRecord<T>, RecordStoreError> {
    let record = item.get("record").and_then(|record| record.as_s().ok()).map(String::as_str).unwrap_or_default();
    let value = serde_json::from_str(record)
        .map_err(|error| RecordStoreError::DamagedRow { key: key.clone(), column: error.column() })?;
    let version = item.get("version").and_then(|version| version.as_n().ok()?.parse().ok()).unwrap_or_default();
    Ok(StoredRecord { value, version })
}
