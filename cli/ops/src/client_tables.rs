//! The tables of one client, and what is asked of them.

use aws_sdk_dynamodb::{Client, error::SdkError, operation::get_item::GetItemError};
use tellonce_core::{
    attributes::{ItemReader, text_value},
    fault::error_chain,
    ledger::{IdempotencyKey, LedgerError, SubjectRows, read_subject},
};

use crate::report::{DeliveryArrival, SubjectReport};

/// The most deliveries of a subject that are read, one request each.
const MAX_DELIVERIES: usize = 5;

/// The kinds of subjects that messages have.
const SUBJECT_KINDS: [&str; 4] = ["order", "appointment", "lead", "webhook-reply"];

/// The names of a client's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableNames {
    /// Messages, appointments, lines.
    pub(crate) ledger: String,
    /// Deliveries of stores.
    pub(crate) store_inbox: String,
    /// Deliveries of calendars.
    pub(crate) booking_inbox: String,
    /// Submissions of forms.
    pub(crate) lead_inbox: String,
    /// Events of lines.
    pub(crate) line_inbox: String,
}

impl TableNames {
    /// The names in the variables of a function's environment; `None` if one is missing.
    pub(crate) fn from_variables(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Some(Self {
            ledger: read("LEDGER_TABLE")?,
            store_inbox: read("STORE_INBOX_TABLE")?,
            booking_inbox: read("BOOKING_INBOX_TABLE")?,
            lead_inbox: read("LEAD_INBOX_TABLE")?,
            line_inbox: read("LINE_INBOX_TABLE")?,
        })
    }
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The ledger could not be read.
    #[error("the question could not be answered")]
    Ledger(#[from] LedgerError),
    /// An inbox could not be read.
    #[error("the inbox could not be read")]
    Inbox(#[source] Box<SdkError<GetItemError>>),
    /// The ledger has nothing under this name.
    #[error(
        "the ledger has no `{0}`; a subject looks like `order:1001`, `order:outlet..1001` in another id scope, \
         `appointment:88` or `lead:abc`, and a key like `order:1001:ready`; if a delivery led to no message, its outcome \
         in the inbox says why"
    )]
    NotFound(String),
}

/// The tables of one client.
#[derive(Debug, Clone)]
pub struct ClientTables {
    db: Client,
    pub(crate) names: TableNames,
}

impl ClientTables {
    pub(crate) fn new(db: Client, names: TableNames) -> Self {
        Self { db, names }
    }

    /// What happened to the messages of a subject (`order:1001`), or to the one of a key
    /// (`order:1001:ready`). At most six requests.
    pub async fn explain(&self, name: &str) -> Result<SubjectReport, OpsError> {
        let (subject, rows) = self.find_rows(name).await?;
        let mut deliveries: Vec<&str> = rows.messages.iter().map(|row| row.delivery.as_str()).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        let (mut arrivals, mut problems) = (Vec::new(), Vec::new());
        for delivery in deliveries.iter().take(MAX_DELIVERIES) {
            match self.read_arrival(&subject, delivery).await {
                Ok(arrival) => arrivals.extend(arrival),
                Err(error) => problems.push(format!("delivery {delivery}: {}", error_chain(&error))),
            }
        }
        if deliveries.len() > MAX_DELIVERIES {
            problems.push(format!("of {} deliveries, {MAX_DELIVERIES} were read; ask for a key", deliveries.len()));
        }
        let mut report = SubjectReport::new(&subject, &rows, &arrivals);
        report.unreadable.extend(problems);
        Ok(report)
    }

    /// The rows of a subject, or the one of a key.
    async fn find_rows(&self, name: &str) -> Result<(String, SubjectRows), OpsError> {
        let kind = name.split(':').next().unwrap_or_default();
        if !SUBJECT_KINDS.contains(&kind) {
            return Err(OpsError::NotFound(name.to_owned()));
        }
        let rows = read_subject(&self.db, &self.names.ledger, name).await?;
        if !rows.is_empty() {
            return Ok((name.to_owned(), rows));
        }
        if let Some(key) = IdempotencyKey::parse(name) {
            let mut rows = read_subject(&self.db, &self.names.ledger, key.subject()).await?;
            rows.messages.retain(|row| row.key == key);
            rows.unreadable.retain(|error| error.key() == name);
            rows.appointment = None;
            if !rows.is_empty() {
                return Ok((key.subject().to_owned(), rows));
            }
        }
        Err(OpsError::NotFound(name.to_owned()))
    }

    /// When a delivery came in; `None` if the inbox no longer has it, or for a feed, which is read
    /// and not delivered.
    async fn read_arrival(&self, subject: &str, delivery: &str) -> Result<Option<DeliveryArrival>, OpsError> {
        let inbox = match subject.split(':').next() {
            Some("order") => &self.names.store_inbox,
            Some("appointment") => &self.names.booking_inbox,
            Some("lead") => &self.names.lead_inbox,
            _ => return Ok(None),
        };
        if !delivery.contains('#') {
            return Ok(None);
        }
        let get = self.db.get_item().table_name(inbox).key("id", text_value(delivery));
        let get = get.projection_expression("id, sender, topic, received_at");
        let item = get.send().await.map_err(|error| OpsError::Inbox(Box::new(error)))?.item;
        Ok(item.and_then(|item| {
            let item = ItemReader(&item);
            Some(DeliveryArrival {
                delivery: delivery.to_owned(),
                sender: item.owned("sender")?,
                topic: item.owned("topic"),
                at: item.time("received_at")?,
            })
        }))
    }
}
