//! The tables of one client, and the reads that several questions share.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        batch_get_item::BatchGetItemError,
        query::{QueryError, builders::QueryFluentBuilder},
        scan::ScanError,
        update_item::UpdateItemError,
    },
    types::Select,
};
use jiff::Timestamp;
use tellonce_core::{
    appointment::HEADER_STAGE,
    attributes::{Item, ItemReader, read_batch, text_value},
    ledger::{IdempotencyKey, LedgerError, MessageState},
};

use crate::inbox_kind::InboxKind;

/// The most pages of a list that are read. A page has up to a megabyte, so this is some ten
/// thousand entries.
const MAX_PAGES: usize = 10;

/// The names of a client's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// Messages, appointments, lines.
    pub ledger: String,
    /// Deliveries of stores.
    pub store_inbox: String,
    /// Deliveries of calendars.
    pub booking_inbox: String,
    /// Submissions of forms.
    pub lead_inbox: String,
    /// Events of lines.
    pub line_inbox: String,
}

impl TableNames {
    /// The names in the variables of a function's environment; `None` if one is missing.
    pub fn from_variables(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
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
    /// An index or the rows of a subject could not be read.
    #[error("the tables could not be read")]
    Query(#[source] Box<SdkError<QueryError>>),
    /// Items could not be read.
    #[error("the tables could not be read")]
    Batch(#[source] Box<SdkError<BatchGetItemError>>),
    /// A whole table could not be read.
    #[error("a table could not be read to its end")]
    Scan(#[source] Box<SdkError<ScanError>>),
    /// A row or a delivery could not be written.
    #[error("the tables could not be written")]
    Settle(#[source] Box<SdkError<UpdateItemError>>),
    /// The ledger has nothing under this name.
    #[error(
        "neither a message nor a delivery of `{0}` is stored; a subject looks like `order:1001`, `order:outlet..1001` in \
         another id scope, `appointment:88` or `lead:abc`, and a key like `order:1001:ready`; if the name is right, its \
         sender did not post it, the post was refused (the log of webhook-receiver says so), or its delivery could not \
         be read (`tellonce needs` lists it)"
    )]
    NotFound(String),
    /// No inbox has the delivery.
    #[error(
        "no inbox has the delivery `{id}`; its sender did not post it, the post was refused, or it is older than \
         `retention.inbox_days`; {refusals}"
    )]
    DeliveryNotFound {
        /// The id.
        id: String,
        /// What was refused lately, as a sentence without its full stop.
        refusals: String,
    },
    /// The name is not a key.
    #[error(
        "`{0}` is not the key of a message; a key looks like `order:1001:ready`, `appointment:88:24h` or `lead:abc:first-touch`"
    )]
    NotAKey(String),
}

/// The tables of one client.
#[derive(Debug, Clone)]
pub struct ClientTables {
    pub(crate) db: Client,
    pub(crate) names: TableNames,
}

/// Entries of an index.
#[derive(Debug, Default)]
pub(crate) struct Entries<T> {
    pub(crate) list: Vec<T>,
    /// Whether the index has more than were read.
    pub(crate) has_more: bool,
}

/// A row that waits in a queue of the ledger.
#[derive(Debug, Clone)]
pub(crate) struct QueueEntry {
    pub(crate) key: IdempotencyKey,
    /// When it is tried again.
    pub(crate) due_at: Timestamp,
    /// Since when it waits although it should have gone.
    pub(crate) waiting_since: Option<Timestamp>,
}

impl QueueEntry {
    /// Since when it should have gone; `None` if it waits for its time. What is due has waited
    /// since then.
    pub(crate) fn overdue_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.waiting_since.or((self.due_at <= now).then_some(self.due_at))
    }
}

/// A delivery that an index lists, with its outcome.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryEntry {
    pub(crate) id: String,
    pub(crate) topic: Option<String>,
    pub(crate) received_at: Timestamp,
    pub(crate) outcome: String,
    pub(crate) outcome_text: String,
    pub(crate) outcome_at: Timestamp,
}

impl ClientTables {
    pub(crate) fn new(db: Client, names: TableNames) -> Self {
        Self { db, names }
    }

    /// The table of an inbox.
    pub(crate) fn inbox_table(&self, kind: InboxKind) -> &str {
        match kind {
            InboxKind::Stores => &self.names.store_inbox,
            InboxKind::Calendars => &self.names.booking_inbox,
            InboxKind::Forms => &self.names.lead_inbox,
            InboxKind::Lines => &self.names.line_inbox,
        }
    }

    /// A query of a queue of the ledger.
    fn query_queue(&self, queue: &str) -> QueryFluentBuilder {
        self.db
            .query()
            .table_name(&self.names.ledger)
            .index_name("due")
            .key_condition_expression("due_queue = :queue")
            .expression_attribute_values(":queue", text_value(queue))
    }

    /// How many items are due in a queue now or later, in this state.
    pub(crate) async fn count_due(
        &self,
        queue: &str,
        state: Option<MessageState>,
    ) -> Result<usize, Box<SdkError<QueryError>>> {
        let mut query = self.query_queue(queue);
        if let Some(state) = state {
            query = query.filter_expression("#state = :state").expression_attribute_names("#state", "state");
            query = query.expression_attribute_values(":state", text_value(state.name()));
        }
        count_items(query).await
    }

    /// How many messages there are for a contact.
    pub(crate) async fn count_messages_to(&self, contact: &str) -> Result<usize, Box<SdkError<QueryError>>> {
        let query = self.db.query().table_name(&self.names.ledger).index_name("contact");
        let query = query.key_condition_expression("contact = :contact");
        count_items(query.expression_attribute_values(":contact", text_value(contact))).await
    }

    /// The rows in a queue of the ledger, the earliest due first. Appointments are left out: a line
    /// has one for each booking of the next weeks.
    pub(crate) async fn read_queue(&self, queue: &str) -> Result<Entries<QueueEntry>, OpsError> {
        let query = self.query_queue(queue).filter_expression("attribute_not_exists(appointment)");
        let items = read_pages(query).await?;
        let entry = |item: &Item| {
            let item = ItemReader(item);
            Some(QueueEntry {
                key: IdempotencyKey::from_parts(item.text("subject")?, item.text("stage")?),
                due_at: item.time("due_at").unwrap_or_default(),
                waiting_since: item.time("waiting_since"),
            })
        };
        Ok(Entries { list: items.list.iter().filter_map(entry).collect(), has_more: items.has_more })
    }

    /// Deliveries with an outcome, from an index of an inbox, the oldest first.
    pub(crate) async fn read_deliveries(
        &self,
        inbox: &str,
        index: &str,
        key: (&str, &str),
    ) -> Result<Entries<DeliveryEntry>, OpsError> {
        let query = self
            .db
            .query()
            .table_name(inbox)
            .index_name(index)
            .key_condition_expression("#key = :value")
            .expression_attribute_names("#key", key.0)
            .expression_attribute_values(":value", text_value(key.1));
        let items = read_pages(query).await?;
        let entry = |item: &Item| {
            let item = ItemReader(item);
            Some(DeliveryEntry {
                id: item.owned("id")?,
                topic: item.owned("topic"),
                received_at: item.time("received_at")?,
                outcome: item.owned("outcome")?,
                outcome_text: item.owned("outcome_text").unwrap_or_default(),
                outcome_at: item.time("outcome_at")?,
            })
        };
        Ok(Entries { list: items.list.iter().filter_map(entry).collect(), has_more: items.has_more })
    }

    /// The rows that hold the state of these subjects (`line:main`), by subject, in one request for
    /// up to 100.
    pub(crate) async fn read_states(&self, subjects: &[String]) -> Result<BTreeMap<String, Item>, OpsError> {
        let mut states = BTreeMap::new();
        for part in subjects.chunks(100) {
            let key = |subject: &String| {
                Item::from([
                    ("subject".to_owned(), text_value(subject.as_str())),
                    ("stage".to_owned(), text_value(HEADER_STAGE)),
                ])
            };
            let keys = part.iter().map(key).collect();
            let items = read_batch(&self.db, &self.names.ledger, keys, None).await.map_err(OpsError::Batch)?;
            states.extend(items.into_iter().filter_map(|item| Some((ItemReader(&item).owned("subject")?, item))));
        }
        Ok(states)
    }

    /// The rows under one subject of the ledger.
    pub(crate) async fn read_subject_items(&self, subject: &str) -> Result<Vec<Item>, OpsError> {
        let query = self
            .db
            .query()
            .table_name(&self.names.ledger)
            .key_condition_expression("subject = :subject")
            .expression_attribute_values(":subject", text_value(subject));
        Ok(read_pages(query).await?.list)
    }
}

async fn read_pages(query: QueryFluentBuilder) -> Result<Entries<Item>, OpsError> {
    let mut pages = query.into_paginator().send();
    let mut items = Entries::default();
    for _ in 0..MAX_PAGES {
        match pages.next().await {
            Some(Ok(page)) => {
                items.has_more = page.last_evaluated_key.is_some();
                items.list.extend(page.items.unwrap_or_default());
            }
            Some(Err(error)) => return Err(OpsError::Query(Box::new(error))),
            None => break,
        }
    }
    Ok(items)
}

/// The number of items of all pages of a query.
async fn count_items(query: QueryFluentBuilder) -> Result<usize, Box<SdkError<QueryError>>> {
    let mut pages = query.select(Select::Count).into_paginator().send();
    let mut all = 0;
    while let Some(page) = pages.next().await {
        all += usize::try_from(page.map_err(Box::new)?.count).unwrap_or(0);
    }
    Ok(all)
}
