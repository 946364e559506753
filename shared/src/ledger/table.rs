//! The ledger's table.
//!
//! Promises: a row is written only over the version that was read. If the SDK loses the response of
//! a write and repeats the write, that counts as one success. Does **not** decide anything about
//! messages.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        batch_get_item::BatchGetItemError,
        delete_item::DeleteItemError,
        get_item::GetItemError,
        put_item::PutItemError,
        query::{QueryError, builders::QueryFluentBuilder},
        scan::ScanError,
        transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{AttributeValue as Value, ReturnValuesOnConditionCheckFailure},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    appointment_header,
    idempotency_key::IdempotencyKey,
    item::{LedgerItemError, from_item, to_item},
    row::LedgerRow,
};
use crate::{
    appointment::{Appointment, HEADER_STAGE},
    attributes::{Item, ItemReader},
    contact::{Lid, Phone},
    fault::{ClassifyFault, Fault},
    pseudonym::PseudonymKey,
};

/// The ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// An item could not be put.
    #[error("the ledger could not be written")]
    Write(#[source] Box<SdkError<PutItemError>>),
    /// A claim in a transaction failed.
    #[error("the ledger could not be written")]
    Transact(#[source] Box<SdkError<TransactWriteItemsError>>),
    /// Other invocations kept writing the same rows.
    #[error("the ledger could not be written: too many conflicting writes")]
    TooManyConflicts,
    /// The rows of a subject, or of an index, could not be read.
    #[error("the ledger could not be read")]
    Query(#[source] Box<SdkError<QueryError>>),
    /// An item could not be read.
    #[error("a row of the ledger could not be read")]
    Get(#[source] Box<SdkError<GetItemError>>),
    /// Several items could not be read.
    #[error("rows of the ledger could not be read")]
    BatchGet(#[source] Box<SdkError<BatchGetItemError>>),
    /// An item could not be updated.
    #[error("the ledger could not be written")]
    Update(#[source] Box<SdkError<UpdateItemError>>),
    /// A page of the table could not be read.
    #[error("the ledger could not be read")]
    Scan(#[source] Box<SdkError<ScanError>>),
    /// An item could not be deleted.
    #[error("the ledger could not be written")]
    Delete(#[source] Box<SdkError<DeleteItemError>>),
    /// The system has no random numbers for a new pseudonym key.
    #[error("could not create the pseudonym key: the system has no random numbers")]
    NoRandomNumbers,
    /// An item is damaged, or a newer version of tellonce wrote it.
    #[error(transparent)]
    InvalidItem(#[from] LedgerItemError),
}

impl ClassifyFault for LedgerError {
    fn fault(&self) -> Fault {
        match self {
            // An item that the table rejects once is rejected every time.
            Self::Write(error) if is_invalid(error) => Fault::Permanent,
            Self::Update(error) if is_invalid(error) => Fault::Permanent,
            Self::Transact(error) if is_invalid(error) || has_invalid_item(error) => Fault::Permanent,
            Self::Write(_)
            | Self::Transact(_)
            | Self::TooManyConflicts
            | Self::Query(_)
            | Self::Get(_)
            | Self::BatchGet(_)
            | Self::Update(_)
            | Self::Scan(_)
            | Self::Delete(_)
            | Self::NoRandomNumbers => Fault::Transient,
            Self::InvalidItem(error) => error.fault(),
        }
    }
}

fn is_invalid<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("ValidationException")
}

/// Whether the table rejects an item of a cancelled transaction.
fn has_invalid_item(error: &SdkError<TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return false;
    };
    cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some("ValidationError"))
}

/// The outcome of opening a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOutcome {
    /// The row is new, and the caller holds it.
    New,
    /// A row of this key exists.
    Exists(Box<LedgerRow>),
}

/// The outcome of writing a row or a header over the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveOutcome<T = LedgerRow> {
    /// It is written.
    Saved,
    /// Another invocation wrote first. This is the row or header now.
    Overtaken(Box<T>),
    /// It is gone: its ttl has passed.
    Gone,
}

/// The condition that an item does not exist.
pub(super) const IF_NEW: &str = "attribute_not_exists(subject)";

/// The condition that an item is unchanged since it was read.
pub(super) struct WriteCondition {
    pub(super) expression: &'static str,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

impl WriteCondition {
    /// The row has this version, and this owner if it is claimed.
    pub(super) fn row_unchanged(before: &LedgerRow) -> Self {
        let mut condition = Self::version_unchanged(before.version);
        if let Some(owner) = &before.owner {
            condition.expression = "#version = :version AND #owner = :owner";
            condition.names.insert("#owner".to_owned(), "owner".to_owned());
            condition.values.insert(":owner".to_owned(), Value::S(owner.0.clone()));
        }
        condition
    }

    /// The item does not exist.
    pub(super) fn is_new() -> Self {
        Self { expression: IF_NEW, names: HashMap::new(), values: Item::new() }
    }

    /// The item has this version.
    pub(super) fn version_unchanged(version: u64) -> Self {
        Self {
            expression: "#version = :version",
            names: [("#version".to_owned(), "version".to_owned())].into(),
            values: [(":version".to_owned(), Value::N(version.to_string()))].into(),
        }
    }
}

/// An update that writes an item and leaves attributes of other versions of tellonce as they are.
pub(super) struct ItemUpdate {
    pub(super) key: Item,
    pub(super) expression: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

impl ItemUpdate {
    /// Sets the attributes of the item, and removes the optional ones that it lacks. The names and
    /// values of the condition are added.
    pub(super) fn of_item(item: Item, optional: &[&str], condition: &WriteCondition) -> Self {
        let (mut names, mut values, mut key) = (condition.names.clone(), condition.values.clone(), Item::new());
        let mut expression = String::from("SET ");
        let missing: Vec<&str> = optional.iter().copied().filter(|name| !item.contains_key(*name)).collect();
        for (number, (name, value)) in item.into_iter().enumerate() {
            if matches!(name.as_str(), "subject" | "stage") {
                key.insert(name, value);
                continue;
            }
            let comma = if expression.len() > "SET ".len() { ", " } else { "" };
            expression = format!("{expression}{comma}#set{number} = :set{number}");
            names.insert(format!("#set{number}"), name);
            values.insert(format!(":set{number}"), value);
        }
        for (number, name) in missing.into_iter().enumerate() {
            let clause = if number == 0 { " REMOVE" } else { "," };
            expression = format!("{expression}{clause} #remove{number}");
            names.insert(format!("#remove{number}"), name.to_owned());
        }
        Self { key, expression, names, values }
    }
}

/// How fresh a read is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Consistency {
    /// As of the last write.
    Strong,
    /// Perhaps some moments old, for half the price.
    Eventual,
}

/// Which queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueKind {
    /// Messages of lines.
    Lines,
    /// Tasks of CRMs and targets.
    Destinations,
}

impl QueueKind {
    /// The stage of the row with their names.
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Destinations => "destinations",
        }
    }
}

/// The ledger's table.
#[derive(Debug)]
pub struct Ledger {
    pub(super) db: Client,
    pub(super) table: String,
    pub(super) pseudonyms: PseudonymKey,
    pub(super) retention_days: u16,
    /// The queues that this process has read.
    pub(super) known_queues: Mutex<BTreeMap<QueueKind, BTreeSet<String>>>,
}

impl Ledger {
    /// The key that turns personal values into pseudonyms.
    pub fn pseudonyms(&self) -> &PseudonymKey {
        &self.pseudonyms
    }

    /// The subject of a contact's opt-out and greetings, also the key in the index of messages by
    /// contact.
    pub fn contact_subject(&self, phone: &Phone) -> String {
        self.pseudonyms.contact_subject(phone)
    }

    /// The subject of what is known of a private id of `WhatsApp`.
    pub fn lid_subject(&self, lid: &Lid) -> String {
        self.pseudonyms.lid_subject(lid)
    }

    /// When the table forgets an item of this time, in seconds since 1970.
    pub(super) fn expiry_after(&self, at: Timestamp) -> i64 {
        at.as_second() + i64::from(self.retention_days) * 86_400
    }

    /// The item of a row.
    pub(super) fn row_to_item(&self, row: &LedgerRow) -> Item {
        let ttl = self.expiry_after(row.created_at);
        let contact = row.to.as_ref().map(|phone| self.contact_subject(phone));
        to_item(row, contact.as_deref(), ttl)
    }

    /// Writes a row that must be new.
    pub async fn open(&self, row: &LedgerRow) -> Result<OpenOutcome, LedgerError> {
        let item = self.row_to_item(row);
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression(IF_NEW)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match find_conflicting_item(put.send().await)? {
            None => Ok(OpenOutcome::New),
            // The SDK repeats a write when the response is lost. Then the conflicting row is the
            // same row.
            Some(before) if before == item => Ok(OpenOutcome::New),
            Some(before) => Ok(OpenOutcome::Exists(Box::new(from_item(&before)?))),
        }
    }

    /// Writes the next state of a row, only over the row that it follows from.
    pub async fn save(&self, before: &LedgerRow, after: &LedgerRow) -> Result<SaveOutcome, LedgerError> {
        let item = self.row_to_item(after);
        let condition = WriteCondition::row_unchanged(before);
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match find_conflicting_item(put.send().await)? {
            None => Ok(SaveOutcome::Saved),
            // The same row: the response to an earlier write was lost.
            Some(now) if now == item => Ok(SaveOutcome::Saved),
            Some(now) if now.is_empty() => Ok(SaveOutcome::Gone),
            Some(now) => Ok(SaveOutcome::Overtaken(Box::new(from_item(&now)?))),
        }
    }

    /// Reads the header of an appointment.
    pub async fn read_appointment(&self, subject: &str) -> Result<Option<Appointment>, LedgerError> {
        Ok(self.get_item(subject, HEADER_STAGE).await?.as_ref().map(appointment_header::from_item).transpose()?)
    }

    /// Writes the header of an appointment, only over `before`.
    pub async fn save_appointment(
        &self,
        before: Option<&Appointment>,
        after: &Appointment,
    ) -> Result<SaveOutcome<Appointment>, LedgerError> {
        let item = self.header_to_item(after);
        let condition = match before {
            None => WriteCondition::is_new(),
            Some(before) => WriteCondition::version_unchanged(before.version),
        };
        let ItemUpdate { key, expression, names, values } =
            ItemUpdate::of_item(item.clone(), &appointment_header::OPTIONAL_ATTRIBUTES, &condition);
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression(expression)
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let now = match update.send().await {
            Ok(_) => return Ok(SaveOutcome::Saved),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    refused.item().cloned().unwrap_or_default()
                }
                _ => return Err(LedgerError::Update(Box::new(error))),
            },
        };
        if now.is_empty() {
            return Ok(SaveOutcome::Gone);
        }
        // The same header: the response to an earlier write was lost.
        if item.iter().all(|(name, value)| now.get(name) == Some(value)) {
            return Ok(SaveOutcome::Saved);
        }
        Ok(SaveOutcome::Overtaken(Box::new(appointment_header::from_item(&now)?)))
    }

    /// The item of a header. Its retention begins when the appointment starts.
    pub(super) fn header_to_item(&self, appointment: &Appointment) -> Item {
        // For a booking in the year 9999 the retention begins after two years.
        let latest = appointment.updated_at.saturating_add(SignedDuration::from_hours(24 * 365 * 2));
        let from = appointment.start.min(latest.unwrap_or(Timestamp::MAX)).max(appointment.updated_at);
        appointment_header::to_item(appointment, self.expiry_after(from))
    }

    /// Reads one row, consistently.
    pub async fn read_row(&self, key: &IdempotencyKey) -> Result<Option<LedgerRow>, LedgerError> {
        Ok(self.get_item(key.subject(), key.stage()).await?.as_ref().map(from_item).transpose()?)
    }

    pub(super) async fn get_item(&self, subject: &str, stage: &str) -> Result<Option<Item>, LedgerError> {
        self.get_item_with(subject, stage, Consistency::Strong).await
    }

    pub(super) async fn get_item_with(
        &self,
        subject: &str,
        stage: &str,
        consistency: Consistency,
    ) -> Result<Option<Item>, LedgerError> {
        let get = self
            .db
            .get_item()
            .table_name(&self.table)
            .key("subject", Value::S(subject.to_owned()))
            .key("stage", Value::S(stage.to_owned()))
            .consistent_read(consistency == Consistency::Strong);
        get.send().await.map(|answer| answer.item).map_err(|error| LedgerError::Get(Box::new(error)))
    }
}

/// The items of all pages of a query.
pub(super) async fn read_all_pages(query: QueryFluentBuilder) -> Result<Vec<Item>, LedgerError> {
    let items = query.into_paginator().items().send().collect::<Result<Vec<Item>, _>>().await;
    items.map_err(|error| LedgerError::Query(Box::new(error)))
}

pub(super) fn is_header(item: &Item) -> bool {
    ItemReader(item).text("stage") == Some(HEADER_STAGE)
}

/// The item that failed the condition of a write; `None` if the write succeeded.
pub(super) fn find_conflicting_item(
    answer: Result<aws_sdk_dynamodb::operation::put_item::PutItemOutput, SdkError<PutItemError>>,
) -> Result<Option<Item>, LedgerError> {
    match answer {
        Ok(_) => Ok(None),
        Err(error) => match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                Ok(Some(refused.item().cloned().unwrap_or_default()))
            }
            _ => Err(LedgerError::Write(Box::new(error))),
        },
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
    use loopback::{FakeApi, http_response};
    use serde_json::json;

    use super::*;
    use crate::bootstrap::tests::start_fake_aws;

    async fn fake_table() -> (FakeApi, Client) {
        let (fake_api, aws) = start_fake_aws().await;
        (fake_api, aws.dynamodb())
    }

    fn refusal(kind: &str, reasons: &[&str]) -> String {
        let reasons: Vec<_> = reasons.iter().map(|code| json!({ "Code": code })).collect();
        let kind = format!("com.amazonaws.dynamodb.v20120810#{kind}");
        let body = json!({ "__type": kind, "Message": "…", "CancellationReasons": reasons });
        http_response("400 Bad Request\r\ncontent-type: application/x-amz-json-1.0", &body.to_string())
    }

    #[tokio::test]
    async fn an_item_that_the_table_rejects_is_a_permanent_fault_of_every_write() {
        let (fake_api, client) = fake_table().await;
        let id = || Value::S("1".to_owned());
        let rejected = refusal("ValidationException", &[]);
        let put = client.put_item().table_name("Ledger").item("id", id()).send();
        let put = tokio::join!(fake_api.reply_once(&rejected), put).1.unwrap_err();
        assert_eq!(LedgerError::Write(Box::new(put)).fault(), Fault::Permanent);
        for (refusal, fault) in
            [(rejected, Fault::Permanent), (refusal("ResourceNotFoundException", &[]), Fault::Transient)]
        {
            let update = client.update_item().table_name("Ledger").key("id", id()).send();
            let update = tokio::join!(fake_api.reply_once(&refusal), update).1.unwrap_err();
            assert_eq!(LedgerError::Update(Box::new(update)).fault(), fault);
        }
        for (kind, reasons, fault) in [
            ("ValidationException", &[][..], Fault::Permanent),
            ("TransactionCanceledException", &["None", "ValidationError"], Fault::Permanent),
            ("TransactionCanceledException", &["ConditionalCheckFailed", "None"], Fault::Transient),
        ] {
            let put = Put::builder().table_name("Ledger").item("id", id()).build().unwrap();
            let items = vec![TransactWriteItem::builder().put(put).build()];
            let write = client.transact_write_items().set_transact_items(Some(items)).send();
            let reply = refusal(kind, reasons);
            let write = tokio::join!(fake_api.reply_once(&reply), write).1.unwrap_err();
            assert_eq!(LedgerError::Transact(Box::new(write)).fault(), fault, "{kind} {reasons:?}");
        }
    }
}
