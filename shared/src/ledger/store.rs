//! The ledger's table: reads rows, and writes them only over the version that was read.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        get_item::GetItemError, put_item::PutItemError, query::QueryError,
        transact_write_items::TransactWriteItemsError, update_item::UpdateItemError,
    },
    types::{AttributeValue as Value, ReturnValuesOnConditionCheckFailure},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    claim::contact_subject,
    header,
    item::{ItemError, from_item, to_item},
    key::Key,
    row::Row,
};
use crate::{
    appointment::{Appointment, HEADER_STAGE},
    clock::{UnixMillis, from_millis},
    contact::Phone,
    fault::{Fault, Faulty},
};

/// The ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A write did not go through.
    #[error("the ledger could not be written")]
    Write(#[source] Box<SdkError<PutItemError>>),
    /// A claim that has to agree with an appointment's header did not go through.
    #[error("the ledger could not be written")]
    Claim(#[source] Box<SdkError<TransactWriteItemsError>>),
    /// Others kept writing the same rows.
    #[error("the ledger could not be written: others write the same rows again and again")]
    Contended,
    /// The story of a subject, or what is due, could not be read.
    #[error("the ledger could not be read")]
    Query(#[source] Box<SdkError<QueryError>>),
    /// A row could not be read.
    #[error("a row of the ledger could not be read")]
    Get(#[source] Box<SdkError<GetItemError>>),
    /// A form's leads could not be counted, or a customer's wish not be written down.
    #[error("the ledger could not be written")]
    Count(#[source] Box<SdkError<UpdateItemError>>),
    /// A row is damaged.
    #[error(transparent)]
    Damaged(#[from] ItemError),
}

impl Faulty for LedgerError {
    fn fault(&self) -> Fault {
        match self {
            // An item that the table does not take is not taken the next time either.
            Self::Write(error) if is_invalid(error) => Fault::Permanent,
            Self::Write(_) | Self::Claim(_) | Self::Contended | Self::Query(_) | Self::Get(_) | Self::Count(_) => {
                Fault::Transient
            }
            Self::Damaged(_) => Fault::Permanent,
        }
    }
}

fn is_invalid(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(|service| service.meta().code() == Some("ValidationException"))
}

/// What opening a row did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The row is new and ours.
    New,
    /// There was one under this key.
    Exists(Box<Row>),
}

/// What saving a row did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is written.
    Yes,
    /// Somebody else wrote first; this is the row now.
    Overtaken(Box<Row>),
    /// The row is gone: its time had run out.
    Gone,
}

/// Something that waits, as the index of what is due shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its key.
    pub key: Key,
    /// What it is.
    pub what: Waiting,
    /// Since when it is due.
    pub due_at: Timestamp,
    /// Most useful first: 0 to 100.
    pub priority: u8,
    /// When it stops being useful.
    pub useful_until: Timestamp,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A message.
    Message,
    /// An appointment, with a reminder to be made of it.
    Appointment(Box<Appointment>),
}

/// The condition that an item still is what was read.
pub(super) struct Still {
    pub(super) condition: &'static str,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, Value>,
}

impl Still {
    /// A row of this version, and of this owner if it has one.
    pub(super) fn row(before: &Row) -> Self {
        let mut still = Self::version(before.version);
        if let Some(owner) = &before.owner {
            still.condition = "#version = :version AND #owner = :owner";
            still.names.insert("#owner".to_owned(), "owner".to_owned());
            still.values.insert(":owner".to_owned(), Value::S(owner.0.clone()));
        }
        still
    }

    /// An item of this version.
    pub(super) fn version(version: u64) -> Self {
        Self {
            condition: "#version = :version",
            names: [("#version".to_owned(), "version".to_owned())].into(),
            values: [(":version".to_owned(), Value::N(version.to_string()))].into(),
        }
    }
}

/// The ledger's table.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(super) db: Client,
    pub(super) table: String,
    client: String,
    keep_days: u16,
}

impl Ledger {
    /// Of a client, over a table.
    pub fn new(db: Client, table: String, client: String, keep_days: u16) -> Self {
        Self { db, table, client, keep_days }
    }

    /// Where the wish of whoever has this number is written down, and by what they are found.
    pub fn contact(&self, phone: &Phone) -> String {
        contact_subject(&self.client, phone)
    }

    /// The item of a row.
    pub(super) fn item(&self, row: &Row) -> HashMap<String, Value> {
        let ttl = row.created_at.as_second() + i64::from(self.keep_days) * 86_400;
        to_item(row, row.to.as_ref().map(|phone| self.contact(phone)), ttl)
    }

    /// Writes a row that must be new.
    pub async fn open(&self, row: &Row) -> Result<Opened, LedgerError> {
        let item = self.item(row);
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(subject)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match refused(put.send().await)? {
            None => Ok(Opened::New),
            // The SDK tries a write again when its answer is lost; then the row in the way is our own.
            Some(before) if before == item => Ok(Opened::New),
            Some(before) => Ok(Opened::Exists(Box::new(from_item(&before)?))),
        }
    }

    /// Writes the next state of a row over the one it came from, and over nothing else.
    pub async fn save(&self, before: &Row, after: &Row) -> Result<Saved, LedgerError> {
        let item = self.item(after);
        let still = Still::row(before);
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression(still.condition)
            .set_expression_attribute_names(Some(still.names))
            .set_expression_attribute_values(Some(still.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match refused(put.send().await)? {
            None => Ok(Saved::Yes),
            // As above: our own write, whose answer was lost.
            Some(now) if now == item => Ok(Saved::Yes),
            Some(now) if now.is_empty() => Ok(Saved::Gone),
            Some(now) => Ok(Saved::Overtaken(Box::new(from_item(&now)?))),
        }
    }

    /// What is known of an appointment, as it is now.
    pub async fn appointment(&self, subject: &str) -> Result<Option<Appointment>, LedgerError> {
        Ok(self.get(subject, HEADER_STAGE).await?.as_ref().map(header::from_item).transpose()?)
    }

    /// Writes what is known of an appointment over what was known before, and over nothing else. Gives what is known now
    /// if that is something else.
    pub async fn know(
        &self,
        before: Option<&Appointment>,
        after: &Appointment,
    ) -> Result<Result<(), Option<Box<Appointment>>>, LedgerError> {
        let item = self.header_item(after);
        let mut put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        put = match before {
            None => put.condition_expression("attribute_not_exists(subject)"),
            Some(before) => {
                let still = Still::version(before.version);
                put.condition_expression(still.condition)
                    .set_expression_attribute_names(Some(still.names))
                    .set_expression_attribute_values(Some(still.values))
            }
        };
        match refused(put.send().await)? {
            None => Ok(Ok(())),
            // Our own write, whose answer was lost.
            Some(now) if now == item => Ok(Ok(())),
            Some(now) if now.is_empty() => Ok(Err(None)),
            Some(now) => Ok(Err(Some(Box::new(header::from_item(&now)?)))),
        }
    }

    /// The item of a header. It is kept as long as a row that was made when the appointment begins.
    pub(super) fn header_item(&self, appointment: &Appointment) -> HashMap<String, Value> {
        // Whoever books for the year 9999 is not remembered until then.
        let latest = appointment.updated_at.saturating_add(SignedDuration::from_hours(24 * 365 * 2));
        let from = appointment.start.min(latest.unwrap_or(Timestamp::MAX)).max(appointment.updated_at);
        header::to_item(appointment, from.as_second() + i64::from(self.keep_days) * 86_400)
    }

    /// All rows of a subject, as they are now.
    pub async fn story(&self, subject: &str) -> Result<Vec<Row>, LedgerError> {
        let mut story = Vec::new();
        let mut from = None;
        loop {
            let answer = self
                .db
                .query()
                .table_name(&self.table)
                .key_condition_expression("subject = :subject")
                .expression_attribute_values(":subject", Value::S(subject.to_owned()))
                .consistent_read(true)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| LedgerError::Query(Box::new(error)))?;
            for item in answer.items().iter().filter(|item| !is_header(item)) {
                story.push(from_item(item)?);
            }
            match answer.last_evaluated_key {
                Some(key) => from = Some(key),
                None => return Ok(story),
            }
        }
    }

    /// One row, as it is now.
    pub async fn read(&self, key: &Key) -> Result<Option<Row>, LedgerError> {
        Ok(self.get(key.subject(), key.stage()).await?.as_ref().map(from_item).transpose()?)
    }

    pub(super) async fn get(&self, subject: &str, stage: &str) -> Result<Option<HashMap<String, Value>>, LedgerError> {
        let get = self
            .db
            .get_item()
            .table_name(&self.table)
            .key("subject", Value::S(subject.to_owned()))
            .key("stage", Value::S(stage.to_owned()))
            .consistent_read(true);
        get.send().await.map(|answer| answer.item).map_err(|error| LedgerError::Get(Box::new(error)))
    }

    /// Up to `limit` messages and appointments of a line that are due, the longest due first.
    ///
    /// The index lags the table by moments: read the row before acting on it.
    pub async fn due(&self, line: &str, now: Timestamp, limit: i32) -> Result<Vec<Due>, LedgerError> {
        let mut due = Vec::new();
        let mut from = None;
        loop {
            let answer = self
                .db
                .query()
                .table_name(&self.table)
                .index_name("due")
                .key_condition_expression("due_line = :line AND due_at <= :now")
                .expression_attribute_values(":line", Value::S(line.to_owned()))
                .expression_attribute_values(":now", Value::N(now.millis().to_string()))
                .limit(limit)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| LedgerError::Query(Box::new(error)))?;
            due.extend(answer.items().iter().filter_map(read_due));
            match answer.last_evaluated_key {
                Some(key) if due.len() < usize::try_from(limit).unwrap_or(usize::MAX) => from = Some(key),
                _ => return Ok(due),
            }
        }
    }
}

fn read_due(item: &HashMap<String, Value>) -> Option<Due> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok()).and_then(|n| n.parse::<i64>().ok());
    let what = if is_header(item) {
        match header::from_item(item) {
            Ok(appointment) => Waiting::Appointment(Box::new(appointment)),
            Err(error) => {
                tracing::error!("skipped an appointment that is due: {error}");
                return None;
            }
        }
    } else {
        Waiting::Message
    };
    Some(Due {
        key: Key::stored(text("subject")?, text("stage")?),
        what,
        due_at: from_millis(number("due_at")?),
        priority: number("priority").and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
        useful_until: from_millis(number("useful_until").unwrap_or(i64::MAX)),
    })
}

fn is_header(item: &HashMap<String, Value>) -> bool {
    item.get("stage").and_then(|stage| stage.as_s().ok()).is_some_and(|stage| stage == HEADER_STAGE)
}

/// The item that stood in the way of a conditional write, if the condition failed.
fn refused(
    answer: Result<aws_sdk_dynamodb::operation::put_item::PutItemOutput, SdkError<PutItemError>>,
) -> Result<Option<HashMap<String, Value>>, LedgerError> {
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
