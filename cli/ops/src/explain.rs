//! What happened to the messages of a subject: reads its rows and its deliveries. Or what happened
//! to a delivery, if the name is the id of one.

use serde::Serialize;
use tellonce_core::{
    attributes::{Item, ItemReader, read_batch, text_value},
    client_config::ClientConfig,
    fault::error_chain,
    ledger::{IdempotencyKey, MESSAGE_KINDS, SubjectRows, read_subject},
};

use crate::{
    client_stack::ClientStack,
    client_tables::{ClientTables, DeliveryEntry, OpsError},
    delivery_trace::DeliveryTrace,
    inbox_kind::InboxKind,
    refusals::{FoundRefusals, RECENT, SenderRefusals},
    report::{AbsentMessage, DeliveryArrival, DeliveryReport, SubjectReport},
};

/// The most deliveries of a subject that are read, in one request.
const MAX_DELIVERIES: usize = 25;

/// The rows that an answer is about.
struct FoundRows {
    subject: String,
    rows: SubjectRows,
    /// The stage that was asked for, if it has no message.
    absent: Option<String>,
    /// The stages of the subject that have one then.
    other_stages: Vec<String>,
}

impl FoundRows {
    fn of_subject(subject: &str) -> Self {
        Self { subject: subject.to_owned(), rows: SubjectRows::default(), absent: None, other_stages: Vec::new() }
    }
}

/// What a name stands for, and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Explanation {
    /// The messages of an order, an appointment or a lead.
    Subject(Box<SubjectReport>),
    /// Deliveries with this id. Several senders may have used one id.
    Deliveries(Vec<DeliveryTrace>),
}

impl ClientTables {
    /// What happened to what a name stands for: a subject (`order:1001`), a key
    /// (`order:1001:ready`), or a delivery, by its key in the inbox (`shop#b54557e4`) or by the
    /// sender's own id. At most five requests for one subject or one delivery.
    pub async fn explain_name(
        &self,
        stack: &ClientStack,
        config: &ClientConfig,
        name: &str,
    ) -> Result<Explanation, OpsError> {
        let kind = name.split(':').next().unwrap_or_default();
        if MESSAGE_KINDS.contains(&kind) && !name.contains('#') {
            return Ok(Explanation::Subject(Box::new(self.explain(name).await?)));
        }
        if name.is_empty() || name.contains(':') && !name.contains('#') {
            return Err(OpsError::NotFound(name.to_owned()));
        }
        let traces = self.trace_delivery(stack, config, name).await?;
        if traces.is_empty() {
            let refusals = match stack.read_refusals(stack.now() - RECENT).await {
                Ok(refusals) => describe_refusals(&refusals),
                Err(error) => error_chain(&error),
            };
            return Err(OpsError::DeliveryNotFound { id: name.to_owned(), refusals });
        }
        Ok(Explanation::Deliveries(traces))
    }

    /// What happened to the messages of a subject (`order:1001`), or to the one of a key
    /// (`order:1001:ready`), and which deliveries about it led to no message. At most four
    /// requests.
    pub async fn explain(&self, name: &str) -> Result<SubjectReport, OpsError> {
        let found = self.find_rows(name).await?;
        let without_message = self.read_without_message(&found.subject).await?;
        if found.rows.is_empty() && found.other_stages.is_empty() && without_message.is_empty() {
            return Err(OpsError::NotFound(name.to_owned()));
        }
        let mut deliveries: Vec<&str> = found.rows.messages.iter().map(|row| row.delivery.as_str()).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        let mut problems = Vec::new();
        let read = &deliveries[..deliveries.len().min(MAX_DELIVERIES)];
        let arrivals = self.read_arrivals(&found.subject, read).await.unwrap_or_else(|error| {
            problems.push(format!("the deliveries: {}", error_chain(&error)));
            Vec::new()
        });
        if deliveries.len() > MAX_DELIVERIES {
            problems.push(format!("of {} deliveries, {MAX_DELIVERIES} were read; ask for a key", deliveries.len()));
        }
        let mut report = SubjectReport::new(&found.subject, &found.rows, &arrivals);
        report.absent = found.absent.map(|stage| AbsentMessage { stage, other_stages: found.other_stages });
        report.without_message = without_message.iter().map(DeliveryReport::of_entry).collect();
        report.unreadable.extend(problems);
        Ok(report)
    }

    /// The rows of a subject, or the one of a key.
    async fn find_rows(&self, name: &str) -> Result<FoundRows, OpsError> {
        let kind = name.split(':').next().unwrap_or_default();
        if !MESSAGE_KINDS.contains(&kind) {
            return Err(OpsError::NotFound(name.to_owned()));
        }
        let rows = read_subject(&self.db, &self.names.ledger, name).await?;
        let key = IdempotencyKey::parse(name);
        let (true, Some(key)) = (rows.is_empty(), key) else {
            return Ok(FoundRows { rows, ..FoundRows::of_subject(name) });
        };
        let mut rows = read_subject(&self.db, &self.names.ledger, key.subject()).await?;
        let other_stages = rows.messages.iter().map(|row| row.key.stage().to_owned()).collect();
        rows.messages.retain(|row| row.key == key);
        rows.unreadable.retain(|error| error.key() == name);
        rows.appointments.clear();
        let found = FoundRows::of_subject(key.subject());
        if rows.is_empty() {
            return Ok(FoundRows { absent: Some(key.stage().to_owned()), other_stages, ..found });
        }
        Ok(FoundRows { rows, ..found })
    }

    /// The deliveries about a subject that led to no message, the oldest first.
    pub(crate) async fn read_without_message(&self, subject: &str) -> Result<Vec<DeliveryEntry>, OpsError> {
        match self.inbox_of(subject) {
            Some(inbox) => Ok(self.read_deliveries(inbox, "about", ("about", subject)).await?.list),
            None => Ok(Vec::new()),
        }
    }

    /// The inbox that has the deliveries about a subject.
    fn inbox_of(&self, subject: &str) -> Option<&str> {
        InboxKind::of_subject(subject).map(|kind| self.inbox_table(kind))
    }

    /// When deliveries came in. Those that the inbox no longer has are missing. A read of a feed is
    /// not a delivery.
    async fn read_arrivals(&self, subject: &str, deliveries: &[&str]) -> Result<Vec<DeliveryArrival>, OpsError> {
        let keys =
            deliveries.iter().filter(|id| id.contains('#')).map(|id| Item::from([("id".to_owned(), text_value(*id))]));
        let keys: Vec<Item> = keys.collect();
        let (Some(inbox), false) = (self.inbox_of(subject), keys.is_empty()) else { return Ok(Vec::new()) };
        let projection = Some("id, sender, topic, received_at");
        let items = read_batch(&self.db, inbox, keys, projection).await.map_err(OpsError::Batch)?;
        let arrival = |item: &Item| {
            let item = ItemReader(item);
            Some(DeliveryArrival {
                delivery: item.owned("id")?,
                sender: item.owned("sender")?,
                topic: item.owned("topic"),
                at: item.time("received_at")?,
            })
        };
        Ok(items.iter().filter_map(arrival).collect())
    }
}

fn describe_refusals(FoundRefusals { senders, has_more }: &FoundRefusals) -> String {
    match (senders.is_empty(), has_more) {
        (true, false) => return "no post was refused in the last 24 hours".to_owned(),
        (true, true) => {
            return "the log of the last 24 hours was not searched to its end, and no refused post was found so far"
                .to_owned();
        }
        (false, _) => {}
    }
    let senders = senders.iter().map(SenderRefusals::describe).collect::<Vec<_>>().join("; ");
    format!("in the last 24 hours, {senders}")
}
