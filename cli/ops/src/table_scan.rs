//! Reads of a whole table, page by page: no index lists all messages by time. Only attributes
//! without personal data are read.

use aws_sdk_dynamodb::{
    operation::scan::builders::ScanFluentBuilder,
    types::{ReturnConsumedCapacity, Select},
};
use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    attributes::{Item, ItemReader},
    ledger::{DeliveryStatus, IdempotencyKey, MessageState},
    trail::Trail,
};

use crate::{
    client_tables::{ClientTables, OpsError},
    inbox_kind::InboxKind,
};

/// The attributes of a message that are read. A role of template.yaml allows these and no others.
const MESSAGE_ATTRIBUTES: [&str; 15] = [
    "subject",
    "stage",
    "state",
    "line",
    "created_at",
    "accepted_at",
    "attempts",
    "provider_id",
    "message_id",
    "conversation_id",
    "delivery_status",
    "failed",
    "delivery_status_at",
    "delivery",
    "trail",
];
/// The attributes of a delivery that are read.
const DELIVERY_ATTRIBUTES: [&str; 4] = ["id", "topic", "received_at", "outcome"];

/// How much of a table was read, and what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ScanCost {
    /// Rows of all kinds.
    pub rows: usize,
    /// Read units, as DynamoDB counts them.
    pub read_units: f64,
}

/// Hears how far a scan is, after each page.
pub type ScanProgress<'a> = dyn Fn(ScanCost) + Sync + 'a;

/// A message, without its text and its recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScannedMessage {
    pub(crate) key: IdempotencyKey,
    pub(crate) state: MessageState,
    pub(crate) line: String,
    pub(crate) created_at: Timestamp,
    pub(crate) accepted_at: Option<Timestamp>,
    /// Submits that may have arrived and had no usable response.
    pub(crate) attempts: u32,
    pub(crate) provider_id: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) conversation_id: Option<String>,
    pub(crate) delivery_status: DeliveryStatus,
    pub(crate) delivery_status_at: Option<Timestamp>,
    pub(crate) delivery: String,
    pub(crate) trail: Trail,
}

/// A delivery, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScannedDelivery {
    pub(crate) id: String,
    pub(crate) topic: Option<String>,
    pub(crate) received_at: Timestamp,
    pub(crate) outcome: Option<String>,
}

impl ScannedMessage {
    /// The message of a row; `None` if the row is not a message, or has a state of another version.
    fn of_item(item: &Item) -> Option<Self> {
        let item = ItemReader(item);
        let key = IdempotencyKey::from_parts(item.text("subject")?, item.text("stage")?);
        if !key.is_of_message() {
            return None;
        }
        let reached = item.text("delivery_status").and_then(DeliveryStatus::from_status).unwrap_or_default();
        Some(Self {
            key,
            state: MessageState::from_name(item.text("state")?)?,
            line: item.owned("line")?,
            created_at: item.time("created_at")?,
            accepted_at: item.time("accepted_at"),
            attempts: item.number("attempts").unwrap_or(0),
            provider_id: item.owned("provider_id"),
            message_id: item.owned("message_id"),
            conversation_id: item.owned("conversation_id"),
            delivery_status: DeliveryStatus { failed: item.flag("failed"), ..reached },
            delivery_status_at: item.time("delivery_status_at"),
            delivery: item.owned("delivery").unwrap_or_default(),
            trail: item.text("trail").map(Trail::from_attribute).unwrap_or_default(),
        })
    }
}

/// What a scan of the ledger found.
#[derive(Debug, Default)]
pub(crate) struct ScannedLedger {
    pub(crate) messages: Vec<ScannedMessage>,
    /// The subjects of the conversations with customers.
    pub(crate) conversations: Vec<String>,
    pub(crate) cost: ScanCost,
}

impl ClientTables {
    /// Reads all messages of the ledger that `keeps` wants, and the subjects of conversations.
    pub(crate) async fn scan_ledger(
        &self,
        keeps: impl Fn(&ScannedMessage) -> bool,
        on_progress: &ScanProgress<'_>,
    ) -> Result<ScannedLedger, OpsError> {
        let mut found = ScannedLedger::default();
        let scan = project(self.db.scan().table_name(&self.names.ledger), &MESSAGE_ATTRIBUTES);
        let (messages, conversations) = (&mut found.messages, &mut found.conversations);
        let read = |item: &Item| {
            messages.extend(ScannedMessage::of_item(item).filter(&keeps));
            let subject = ItemReader(item).owned("subject");
            let is_state = ItemReader(item).text("stage") == Some("state");
            conversations.extend(subject.filter(|subject| is_state && subject.starts_with("conversation:")));
        };
        found.cost = scan_pages(scan, read, on_progress).await?;
        Ok(found)
    }

    /// Reads all events of lines, and the cost of that.
    pub(crate) async fn scan_line_events(
        &self,
        on_progress: &ScanProgress<'_>,
    ) -> Result<(Vec<ScannedDelivery>, ScanCost), OpsError> {
        let scan = self.db.scan().table_name(self.inbox_table(InboxKind::Lines));
        let mut events = Vec::new();
        let read = |item: &Item| {
            let item = ItemReader(item);
            let event = || {
                Some(ScannedDelivery {
                    // An item without a sender in its key is not a delivery.
                    id: item.owned("id").filter(|id| id.contains('#'))?,
                    topic: item.owned("topic"),
                    received_at: item.time("received_at")?,
                    outcome: item.owned("outcome"),
                })
            };
            events.extend(event());
        };
        let cost = scan_pages(project(scan, &DELIVERY_ATTRIBUTES), read, on_progress).await?;
        Ok((events, cost))
    }
}

fn project(scan: ScanFluentBuilder, attributes: &[&str]) -> ScanFluentBuilder {
    let aliases: Vec<String> = attributes.iter().map(|name| format!("#{name}")).collect();
    let scan =
        aliases.iter().zip(attributes).fold(scan, |scan, (alias, name)| scan.expression_attribute_names(alias, *name));
    scan.select(Select::SpecificAttributes).projection_expression(aliases.join(", "))
}

async fn scan_pages(
    scan: ScanFluentBuilder,
    mut read: impl FnMut(&Item),
    on_progress: &ScanProgress<'_>,
) -> Result<ScanCost, OpsError> {
    let mut pages = scan.return_consumed_capacity(ReturnConsumedCapacity::Total).into_paginator().send();
    let mut cost = ScanCost::default();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| OpsError::Scan(Box::new(error)))?;
        page.items().iter().for_each(&mut read);
        cost.rows += page.items().len();
        cost.read_units += page.consumed_capacity.and_then(|capacity| capacity.capacity_units).unwrap_or(0.0);
        on_progress(cost);
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use tellonce_core::attributes::ItemWriter;

    use super::*;

    fn row(subject: &str, stage: &str) -> ItemWriter {
        let mut item = ItemWriter::with_capacity(8);
        for (name, text) in [("subject", subject), ("stage", stage), ("state", "accepted"), ("line", "main")] {
            item.text(name, text);
        }
        item.time("created_at", Timestamp::UNIX_EPOCH);
        item
    }

    #[test]
    fn rows_that_are_no_messages_and_states_of_other_versions_are_left_out() {
        let read = |item: ItemWriter| ScannedMessage::of_item(&item.into_item()).map(|message| message.key.to_string());
        assert_eq!(read(row("order:1", "ready")).as_deref(), Some("order:1:ready"));
        assert_eq!(read(row("line-test:5f", "repeat")).as_deref(), Some("line-test:5f:repeat"));
        for (subject, stage) in [("appointment:88", "state"), ("line:main", "state"), ("operations", "2026-x")] {
            assert_eq!(read(row(subject, stage)), None, "{subject}");
        }
        let mut newer = row("order:1", "ready");
        newer.text("state", "of-tomorrow");
        assert_eq!(read(newer), None);
    }

    #[test]
    fn a_message_that_failed_before_it_arrived_has_both() {
        let mut item = row("order:1", "ready");
        item.text("delivery_status", "sent");
        item.flag("failed", true);
        let message = ScannedMessage::of_item(&item.into_item()).unwrap();
        assert!(message.delivery_status.has_failed() && message.delivery_status.reached.is_some());
    }
}
