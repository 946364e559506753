//! Conversations, message records and tasks: rows of the ledger's table, each with one JSON text.
//!
//! Every write names the version that it read. If two writers change a row at the same time, the
//! slower one repeats its change on the newer value ([`RecordStore::update_record`]). Rows that
//! wait for a time are in the table's `due` index, under the name of a queue.
//!
//! Another version of tellonce may work on the same rows. A write keeps the attributes and the JSON
//! members that this version does not know. A row that this version cannot read stays as it is.

pub(crate) mod e164;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{get_item::GetItemError, put_item::PutItemError, query::QueryError, update_item::UpdateItemError},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use tellonce_core::{
    attributes::{
        Item, ItemReader, ItemWriter, UnknownAttributes, number_value, replace_document, send_if_current, text_value,
        time_value,
    },
    client_config::ClientConfig,
    fault::{ClassifyFault, Fault},
};

/// How often a change is attempted while other writers are faster.
const MAX_UPDATE_ATTEMPTS: u32 = 12;

/// The ledger's table failed, or a row in it is unusable.
#[derive(Debug, thiserror::Error)]
pub enum RecordStoreError {
    /// A row could not be read.
    #[error("could not read a row of the ledger table")]
    GetFailed(#[source] Box<SdkError<GetItemError>>),
    /// The index of due rows could not be read.
    #[error("could not query the due rows of the ledger table")]
    QueryFailed(#[source] Box<SdkError<QueryError>>),
    /// A row could not be written.
    #[error("could not write a row of the ledger table")]
    PutFailed(#[source] Box<SdkError<PutItemError>>),
    /// A row could not be updated.
    #[error("could not update a row of the ledger table")]
    UpdateFailed(#[source] Box<SdkError<UpdateItemError>>),
    /// Others kept writing the same row.
    #[error("could not update row {0}: too many conflicting writes")]
    TooManyConflicts(ItemKey),
    /// A newer version of tellonce wrote the row, and only that version can read it.
    #[error("row {0} was written by a newer version of tellonce")]
    NewerVersion(ItemKey),
    /// The row's JSON does not parse. The parser's own message could quote the row.
    #[error("row {key} is damaged at column {column} of its `record`")]
    DamagedRow {
        /// The row.
        key: ItemKey,
        /// Where in the JSON.
        column: usize,
    },
}

impl ClassifyFault for RecordStoreError {
    fn fault(&self) -> Fault {
        match self {
            // The table will reject the same item next time, too.
            Self::PutFailed(error) if is_validation_error(error) => Fault::Permanent,
            Self::NewerVersion(_) => Fault::NewerVersion,
            Self::GetFailed(_)
            | Self::QueryFailed(_)
            | Self::PutFailed(_)
            | Self::UpdateFailed(_)
            | Self::TooManyConflicts(_) => Fault::Transient,
            Self::DamagedRow { .. } => Fault::Permanent,
        }
    }
}

impl RecordStoreError {
    /// The error of a row's JSON. A row that is JSON was written by another version.
    fn of_json(key: &ItemKey, error: &serde_json::Error) -> Self {
        if error.is_data() {
            Self::NewerVersion(key.clone())
        } else {
            Self::DamagedRow { key: key.clone(), column: error.column() }
        }
    }
}

fn is_validation_error(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(|service| service.meta().code() == Some("ValidationException"))
}

/// The key of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemKey {
    /// The table's partition key.
    pub subject: String,
    /// The table's sort key.
    pub stage: String,
}

impl ItemKey {
    /// The key of a subject and stage.
    pub fn new(subject: impl Into<String>, stage: impl Into<String>) -> Self {
        Self { subject: subject.into(), stage: stage.into() }
    }

    /// The key of a subject's state.
    pub fn for_state(subject: impl Into<String>) -> Self {
        Self::new(subject, "state")
    }
}

impl std::fmt::Display for ItemKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.subject, self.stage)
    }
}

/// The attributes of a row. The version has a name of its own: the index of due rows carries the
/// `version` of appointments, and would be written with every change of a row.
const ATTRIBUTES: [&str; 8] =
    ["subject", "stage", "record_version", "record", "ttl", "due_queue", "due_at", "waiting_since"];
/// The attribute with the version of a row.
pub(crate) const VERSION: &str = ATTRIBUTES[2];
/// The attribute with the JSON text of a row.
pub(crate) const RECORD: &str = ATTRIBUTES[3];

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord<T> {
    /// The value.
    pub value: T,
    version: u64,
    unknown_attributes: UnknownAttributes,
}

impl<T: Persisted> StoredRecord<T> {
    /// Reads the item of a row.
    pub fn from_item(key: &ItemKey, item: &Item) -> Result<Self, RecordStoreError> {
        let unknown_attributes = UnknownAttributes::of_item(item, &ATTRIBUTES);
        let item = ItemReader(item);
        let text = item.text(RECORD).unwrap_or_default();
        let value = serde_json::from_str(text).map_err(|error| RecordStoreError::of_json(key, &error))?;
        Ok(Self {
            unknown_attributes: unknown_attributes.with_document(RECORD, text, &value),
            version: item.number(VERSION).unwrap_or_default(),
            value,
        })
    }

    /// The JSON of the value that replaces this one.
    fn replace_value(&self, after: &T) -> serde_json::Result<String> {
        let text = self.unknown_attributes.document(RECORD);
        replace_document(after, text.map(|text| (text, &self.value)))
    }
}

/// A value that is stored as a row.
pub trait Persisted: Serialize + DeserializeOwned {
    /// The queue that it waits in, and when it is due.
    fn due_in_queue(&self) -> Option<(String, Timestamp)>;
    /// When the table deletes it, or never.
    fn expires_at(&self) -> Option<Timestamp>;
    /// Since when it should be done. For tasks: operators see how long the oldest waits.
    fn waiting_since(&self) -> Option<Timestamp> {
        None
    }
}

/// What has waited longest in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldestRecord {
    /// Its row.
    pub key: ItemKey,
    /// Since when it waits.
    pub since: Timestamp,
    /// How many rows wait.
    pub count: usize,
}

/// A page of the due rows of a queue.
#[derive(Debug)]
pub struct DuePage {
    /// The rows.
    pub keys: Vec<ItemKey>,
    /// Where the next page begins, if there may be one.
    pub next: Option<PageStart>,
}

/// Where a page of due rows begins.
#[derive(Debug)]
pub struct PageStart(Item);

/// A change to a row: the new value, if it changes, and the caller's result.
pub struct RecordUpdate<T, R> {
    next: Option<T>,
    result: R,
}

impl<T, R> RecordUpdate<T, R> {
    /// Writes a new value.
    pub fn write(next: T, result: R) -> Self {
        Self { next: Some(next), result }
    }

    /// Leaves the row as it is.
    pub fn keep(result: R) -> Self {
        Self { next: None, result }
    }
}

impl<T: Clone + PartialEq, R> RecordUpdate<T, R> {
    /// Writes a new value if it differs from the old one. The result is made from the new value.
    pub fn write_changed(before: Option<&T>, next: T, result: impl FnOnce(T) -> R) -> Self {
        let changed = (before != Some(&next)).then(|| next.clone());
        Self { next: changed, result: result(next) }
    }
}

/// How long conversations, records and tasks are kept, in days: as long as deliveries, and at least
/// 30.
pub fn retention_days(config: &ClientConfig) -> u16 {
    config.retention.inbox_days.max(30)
}

/// The moment so many days later, for [`Persisted::expires_at`].
pub fn days_after(at: Timestamp, days: u16) -> Option<Timestamp> {
    at.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).ok()
}

/// Reads and writes the rows.
#[derive(Debug, Clone)]
pub struct RecordStore {
    db: Client,
    table: String,
}

impl RecordStore {
    /// Uses the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// Reads a row consistently.
    pub async fn get_record<T: Persisted>(&self, key: &ItemKey) -> Result<Option<StoredRecord<T>>, RecordStoreError> {
        let get = self.db.get_item().table_name(&self.table).consistent_read(true);
        let get = get.key("subject", text_value(key.subject.as_str())).key("stage", text_value(key.stage.as_str()));
        let item = get.send().await.map_err(|error| RecordStoreError::GetFailed(Box::new(error)))?.item;
        item.as_ref().map(|item| StoredRecord::from_item(key, item)).transpose()
    }

    /// Writes a row if it is still the one that was read. Returns the new row, or none if another
    /// writer was faster.
    pub async fn put_record<T: Persisted>(
        &self,
        key: &ItemKey,
        value: T,
        before: Option<&StoredRecord<T>>,
    ) -> Result<Option<StoredRecord<T>>, RecordStoreError> {
        let version = before.map_or(1, |before| before.version + 1);
        let item = build_item(key, &value, version, before)?;
        let mut put = self.db.put_item().table_name(&self.table).set_item(Some(item.clone()));
        put = match before {
            None => put.condition_expression("attribute_not_exists(subject)"),
            Some(before) => put
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":version", number_value(before.version)),
        };
        put = put.return_values_on_condition_check_failure(
            aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld,
        );
        let written = match put.send().await {
            Ok(_) => true,
            Err(error) => match error.as_service_error() {
                // The SDK repeats a write whose response was lost. The existing row may be ours.
                Some(PutItemError::ConditionalCheckFailedException(conflict)) => {
                    conflict.item().is_some_and(|existing| {
                        [VERSION, RECORD].iter().all(|name| existing.get(*name) == item.get(*name))
                    })
                }
                _ => return Err(RecordStoreError::PutFailed(Box::new(error))),
            },
        };
        if !written {
            return Ok(None);
        }
        // Only a row that had such attributes or members can still have them.
        let unknown_attributes = match before {
            Some(before) if !before.unknown_attributes.is_empty() => UnknownAttributes::of_item(&item, &ATTRIBUTES)
                .with_document(RECORD, ItemReader(&item).text(RECORD).unwrap_or_default(), &value),
            _ => UnknownAttributes::default(),
        };
        Ok(Some(StoredRecord { value, version, unknown_attributes }))
    }

    /// Replaces the JSON text of a row if it is still the one of `before`. Returns whether it is.
    pub(crate) async fn replace_record(
        &self,
        key: &ItemKey,
        before: &Item,
        record: &str,
    ) -> Result<bool, RecordStoreError> {
        let version: u64 = ItemReader(before).number(VERSION).unwrap_or_default();
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .key("subject", text_value(key.subject.as_str()))
            .key("stage", text_value(key.stage.as_str()))
            .update_expression("SET #record = :record, #version = :next")
            .condition_expression("#version = :version")
            .expression_attribute_names("#record", RECORD)
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":record", text_value(record))
            .expression_attribute_values(":version", number_value(version))
            .expression_attribute_values(":next", number_value(version + 1));
        send_if_current(update).await.map_err(RecordStoreError::UpdateFailed)
    }

    /// Changes a row, and repeats the change if another writer was faster. `change` may run several
    /// times.
    pub async fn update_record<T: Persisted, R>(
        &self,
        key: &ItemKey,
        mut change: impl FnMut(Option<&T>) -> RecordUpdate<T, R>,
    ) -> Result<R, RecordStoreError> {
        for _ in 0..MAX_UPDATE_ATTEMPTS {
            let before = self.get_record::<T>(key).await?;
            let RecordUpdate { next, result } = change(before.as_ref().map(|before| &before.value));
            match next {
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

    /// At most `limit` due rows of a queue, the longest due first, after the page before. The index
    /// lags behind the table by moments: read a row before acting on it.
    ///
    /// Rows that only a newer version can read stay due and come first. So a caller reads on while
    /// a page has nothing that it can work.
    pub async fn list_due(
        &self,
        queue: &str,
        now: Timestamp,
        limit: i32,
        from: Option<PageStart>,
    ) -> Result<DuePage, RecordStoreError> {
        let response = self
            .db
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("due_queue = :queue AND due_at <= :now")
            .expression_attribute_values(":queue", text_value(queue))
            .expression_attribute_values(":now", time_value(now))
            .limit(limit)
            .set_exclusive_start_key(from.map(|PageStart(key)| key))
            .send()
            .await
            .map_err(|error| RecordStoreError::QueryFailed(Box::new(error)))?;
        let keys = response.items().iter().filter_map(parse_key).collect();
        Ok(DuePage { keys, next: response.last_evaluated_key.map(PageStart) })
    }

    /// What has waited longest in a queue, due or not. A row that does not parse counts as well,
    /// because the index has its own copy of the time.
    pub async fn find_oldest(&self, queue: &str, now: Timestamp) -> Result<Option<OldestRecord>, RecordStoreError> {
        let query = self
            .db
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("due_queue = :queue")
            .expression_attribute_values(":queue", text_value(queue));
        let mut items = query.into_paginator().items().send();
        let mut oldest: Option<OldestRecord> = None;
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| RecordStoreError::QueryFailed(Box::new(error)))?;
            let Some(key) = parse_key(&item) else { continue };
            let item = ItemReader(&item);
            let since = item.time("waiting_since").or_else(|| item.time("due_at")).unwrap_or(Timestamp::UNIX_EPOCH);
            let count = oldest.as_ref().map_or(0, |oldest| oldest.count) + 1;
            oldest = Some(match oldest {
                Some(before) if before.since <= since => OldestRecord { count, ..before },
                _ => OldestRecord { key, since: since.min(now), count },
            });
        }
        Ok(oldest)
    }
}

fn parse_key(item: &Item) -> Option<ItemKey> {
    Some(ItemKey::new(ItemReader(item).text("subject")?, ItemReader(item).text("stage")?))
}

/// The item of a row that replaces `before`, with what another version stored there.
fn build_item<T: Persisted>(
    key: &ItemKey,
    value: &T,
    version: u64,
    before: Option<&StoredRecord<T>>,
) -> Result<Item, RecordStoreError> {
    let record = match before {
        None => serde_json::to_string(value),
        Some(before) => before.replace_value(value),
    };
    let mut item = ItemWriter::with_capacity(ATTRIBUTES.len());
    item.text("subject", key.subject.as_str());
    item.text("stage", key.stage.as_str());
    item.number(VERSION, version);
    item.text(RECORD, record.map_err(|error| RecordStoreError::of_json(key, &error))?);
    if let Some(at) = value.expires_at() {
        item.number("ttl", at.as_second());
    }
    if let Some((queue, at)) = value.due_in_queue() {
        item.text("due_queue", queue);
        item.time("due_at", at);
        item.optional_time("waiting_since", value.waiting_since());
    }
    if let Some(before) = before {
        before.unknown_attributes.add_to(&mut item);
    }
    Ok(item.into_item())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Parcel {
        state: ParcelState,
        address: Address,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum ParcelState {
        Packed,
        Sent,
    }

    #[derive(Serialize, Deserialize)]
    struct Address {
        city: String,
    }

    impl Persisted for Parcel {
        fn due_in_queue(&self) -> Option<(String, Timestamp)> {
            None
        }

        fn expires_at(&self) -> Option<Timestamp> {
            None
        }
    }

    fn read_parcel(record: &str) -> Result<StoredRecord<Parcel>, RecordStoreError> {
        let mut item = ItemWriter::default();
        item.text(RECORD, record);
        item.number(VERSION, 3);
        item.text("tomorrow", "a");
        StoredRecord::from_item(&ItemKey::new("a", "b"), &item.into_item())
    }

    #[test]
    fn a_row_keeps_what_another_version_stored_in_it_and_an_unknown_word_is_not_damage() {
        let stored = read_parcel(r#"{"state":"packed","address":{"city":"Haifa","floor":2},"colour":"red"}"#).unwrap();
        let address = Address { city: "Jaffa".into() };
        let written = stored.replace_value(&Parcel { state: ParcelState::Sent, address }).unwrap();
        let written: serde_json::Value = serde_json::from_str(&written).unwrap();
        let expected = serde_json::json!({"state": "sent", "address": {"city": "Jaffa", "floor": 2}, "colour": "red"});
        assert_eq!(written, expected);
        assert!(stored.version == 3 && !stored.unknown_attributes.is_empty());
        for (record, fault) in [
            (r#"{"state":"parked","address":{"city":"Haifa"}}"#, Fault::NewerVersion),
            (r#"{"state":"packed","address""#, Fault::Permanent),
        ] {
            assert_eq!(read_parcel(record).map(drop).unwrap_err().fault(), fault, "{record}");
        }
    }
}
