//! Where conversations, messages and tasks are kept: rows of the ledger's table, one JSON text each.
//!
//! Every write names the version that it read, so of two that change a row at the same time one does it again on what the
//! other wrote ([`Store::change`]). What waits for a time stands in the table's `due` index under the name of a queue.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{get_item::GetItemError, put_item::PutItemError, query::QueryError},
    types::AttributeValue as Value,
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    clock::UnixMillis,
    fault::{Fault, Faulty},
};

/// How often a change is made again that others overtook.
const TRIES: u32 = 12;

/// The table failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A row could not be read.
    #[error("the ledger could not be read")]
    Get(#[source] Box<SdkError<GetItemError>>),
    /// What is due could not be read.
    #[error("the ledger could not be read")]
    Query(#[source] Box<SdkError<QueryError>>),
    /// A row could not be written.
    #[error("the ledger could not be written")]
    Put(#[source] Box<SdkError<PutItemError>>),
    /// Others kept writing the same row.
    #[error("the row {0} is written by others again and again")]
    Contended(Place),
    /// A row is not as we wrote it. What the reader says of it could quote it.
    #[error("the row {place} is damaged, at column {column}")]
    Damaged {
        /// Which.
        place: Place,
        /// Where.
        column: usize,
    },
}

impl Faulty for StoreError {
    fn fault(&self) -> Fault {
        match self {
            // What the table does not take now it does not take the next time either.
            Self::Put(error) if is_invalid(error) => Fault::Permanent,
            Self::Get(_) | Self::Query(_) | Self::Put(_) | Self::Contended(_) => Fault::Transient,
            Self::Damaged { .. } => Fault::Permanent,
        }
    }
}

fn is_invalid(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(|service| service.meta().code() == Some("ValidationException"))
}

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The table's partition key.
    pub subject: String,
    /// The table's sort key.
    pub stage: String,
}

impl Place {
    /// The row of this subject and stage.
    pub fn new(subject: impl Into<String>, stage: impl Into<String>) -> Self {
        Self { subject: subject.into(), stage: stage.into() }
    }

    /// The row that says what is known of a subject.
    pub fn state(subject: impl Into<String>) -> Self {
        Self::new(subject, "state")
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.subject, self.stage)
    }
}

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// What it holds.
    pub value: T,
    version: u64,
}

/// What is kept as a row.
pub trait Kept: Serialize + DeserializeOwned {
    /// The queue that it waits in, and until when.
    fn due(&self) -> Option<(String, Timestamp)>;
    /// When the table forgets it; never if it says no time.
    fn forget_at(&self) -> Option<Timestamp>;
}

/// The rows.
#[derive(Debug, Clone)]
pub struct Store {
    db: Client,
    table: String,
}

impl Store {
    /// In the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// A row as it is now.
    pub async fn get<T: Kept>(&self, place: &Place) -> Result<Option<Stored<T>>, StoreError> {
        let get = self.db.get_item().table_name(&self.table).consistent_read(true);
        let get = get.key("subject", Value::S(place.subject.clone())).key("stage", Value::S(place.stage.clone()));
        let item = get.send().await.map_err(|error| StoreError::Get(Box::new(error)))?.item;
        item.as_ref().map(|item| read(place, item)).transpose()
    }

    /// Writes a row over what was read there, and over nothing else. Gives it as it then is, if it is written.
    pub async fn put<T: Kept>(
        &self,
        place: &Place,
        value: T,
        before: Option<&Stored<T>>,
    ) -> Result<Option<Stored<T>>, StoreError> {
        let record = serde_json::to_string(&value)
            .map_err(|error| StoreError::Damaged { place: place.clone(), column: error.column() })?;
        let version = before.map_or(1, |before| before.version + 1);
        let mut put = self
            .db
            .put_item()
            .table_name(&self.table)
            .item("subject", Value::S(place.subject.clone()))
            .item("stage", Value::S(place.stage.clone()))
            .item("version", Value::N(version.to_string()))
            .item("record", Value::S(record.clone()));
        if let Some(at) = value.forget_at() {
            put = put.item("ttl", Value::N(at.as_second().to_string()));
        }
        if let Some((queue, at)) = value.due() {
            put = put.item("due_line", Value::S(queue)).item("due_at", Value::N(at.millis().to_string()));
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
                Some(PutItemError::ConditionalCheckFailedException(refused)) => refused.item().is_some_and(|there| {
                    let same = |name: &str, value: Value| there.get(name) == Some(&value);
                    same("version", Value::N(version.to_string())) && same("record", Value::S(record))
                }),
                _ => return Err(StoreError::Put(Box::new(error))),
            },
        };
        Ok(written.then_some(Stored { value, version }))
    }

    /// Changes a row, whatever others make of it meanwhile. `change` gives what it shall be, or nothing to leave it, beside
    /// what the caller wants to know; it may be asked more than once.
    pub async fn change<T: Kept, R>(
        &self,
        place: &Place,
        mut change: impl FnMut(Option<&T>) -> (Option<T>, R),
    ) -> Result<R, StoreError> {
        for _ in 0..TRIES {
            let before = self.get::<T>(place).await?;
            let (after, result) = change(before.as_ref().map(|before| &before.value));
            match after {
                None => return Ok(result),
                Some(after) => {
                    if self.put(place, after, before.as_ref()).await?.is_some() {
                        return Ok(result);
                    }
                }
            }
        }
        Err(StoreError::Contended(place.clone()))
    }

    /// Up to `limit` rows of a queue that are due, the longest due first. The index lags the table by moments: read a row
    /// before acting on it.
    pub async fn due(&self, queue: &str, now: Timestamp, limit: i32) -> Result<Vec<Place>, StoreError> {
        let answer = self
            .db
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("due_line = :queue AND due_at <= :now")
            .expression_attribute_values(":queue", Value::S(queue.to_owned()))
            .expression_attribute_values(":now", Value::N(now.millis().to_string()))
            .limit(limit)
            .send()
            .await
            .map_err(|error| StoreError::Query(Box::new(error)))?;
        let text = |item: &HashMap<String, Value>, name: &str| item.get(name)?.as_s().ok().cloned();
        let place = |item| Some(Place::new(text(item, "subject")?, text(item, "stage")?));
        Ok(answer.items().iter().filter_map(place).collect())
    }
}

fn read<T: Kept>(place: &Place, item: &HashMap<String, Value>) -> Result<Stored<T>, StoreError> {
    let record = item.get("record").and_then(|record| record.as_s().ok()).map(String::as_str).unwrap_or_default();
    let value = serde_json::from_str(record)
        .map_err(|error| StoreError::Damaged { place: place.clone(), column: error.column() })?;
    let version = item.get("version").and_then(|version| version.as_n().ok()?.parse().ok()).unwrap_or_default();
    Ok(Stored { value, version })
}
