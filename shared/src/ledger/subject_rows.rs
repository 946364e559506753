//! All rows of one subject.

use aws_sdk_dynamodb::{Client, types::AttributeValue as Value};

use super::{
    IdempotencyKey, Ledger, LedgerError, LedgerItemError, LedgerRow, appointment_header,
    item::from_item,
    table::{is_header, read_all_pages},
};
use crate::{
    appointment::Appointment,
    attributes::{Item, read_batch},
};

impl Ledger {
    /// Reads the rows of all messages of a subject, consistently.
    pub async fn read_history(&self, subject: &str) -> Result<Vec<LedgerRow>, LedgerError> {
        let items = query_subject(&self.db, &self.table, subject).await?;
        Ok(items.iter().filter(|item| !is_header(item)).map(from_item).collect::<Result<_, _>>()?)
    }
}

/// Rows of the ledger: those of an order, an appointment or a lead, or those of some keys.
#[derive(Debug, Clone, Default)]
pub struct SubjectRows {
    /// The headers of appointments. A subject has one at most.
    pub appointments: Vec<Appointment>,
    /// The rows of its messages.
    pub messages: Vec<LedgerRow>,
    /// Rows that cannot be read.
    pub unreadable: Vec<LedgerItemError>,
}

impl SubjectRows {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.appointments.is_empty() && self.messages.is_empty() && self.unreadable.is_empty()
    }

    /// The header, if the rows are those of an appointment.
    pub fn appointment(&self) -> Option<&Appointment> {
        self.appointments.first()
    }

    fn add(&mut self, item: &Item) {
        let read = if is_header(item) {
            appointment_header::from_item(item).map(|header| self.appointments.push(header))
        } else {
            from_item(item).map(|row| self.messages.push(row))
        };
        self.unreadable.extend(read.err());
    }
}

/// Reads all rows of a subject, consistently, in one query. Needs no key of pseudonyms, so it works
/// with a role that may only read.
pub async fn read_subject(db: &Client, table: &str, subject: &str) -> Result<SubjectRows, LedgerError> {
    let items = query_subject(db, table, subject).await?;
    let mut rows = SubjectRows::default();
    for item in &items {
        rows.add(item);
    }
    Ok(rows)
}

/// Reads rows of messages by their keys, at most 100, in one request. A row that the table has
/// deleted is missing, and so is one that the table was too busy to read.
pub async fn read_rows(db: &Client, table: &str, keys: &[IdempotencyKey]) -> Result<SubjectRows, LedgerError> {
    let mut rows = SubjectRows::default();
    if keys.is_empty() {
        return Ok(rows);
    }
    let key_of = |key: &IdempotencyKey| {
        let part = |text: &str| Value::S(text.to_owned());
        Item::from([("subject".to_owned(), part(key.subject())), ("stage".to_owned(), part(key.stage()))])
    };
    for item in read_batch(db, table, keys.iter().map(key_of).collect(), None).await.map_err(LedgerError::BatchGet)? {
        rows.add(&item);
    }
    Ok(rows)
}

async fn query_subject(db: &Client, table: &str, subject: &str) -> Result<Vec<Item>, LedgerError> {
    let query = db
        .query()
        .table_name(table)
        .key_condition_expression("subject = :subject")
        .expression_attribute_values(":subject", Value::S(subject.to_owned()))
        .consistent_read(true);
    read_all_pages(query).await
}
