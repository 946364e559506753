//! Batches of an inbox's stream: record after record, or some side by side, and only the failed ones come again.
//!
//! Lambda hands over some records of a shard in order. What we answer names the records that failed; Lambda then
//! sends everything from the first of them again, so handling a record twice must be harmless (it is: the ledger's
//! claims see to that). A record that can never be handled is recorded by its function and counted as done, so that
//! it never blocks the ones behind it.
//! Source: docs.aws.amazon.com, "Configuring partial batch response with DynamoDB and Lambda".

use futures::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    clock::Clock,
    fault::{ClassifyFault, Fault, error_chain},
    inbox::{Inbox, InboxError, InboxItem},
    telemetry::{self, Metric},
};

/// What Lambda hands over.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    /// The records, in order.
    #[serde(rename = "Records")]
    pub records: Vec<StreamRecord>,
}

/// One change of the table.
#[derive(Debug, Deserialize)]
pub struct StreamRecord {
    /// The change.
    pub dynamodb: StreamChange,
}

/// One change of the table.
#[derive(Debug, Deserialize)]
pub struct StreamChange {
    /// The record's place in the shard, by which a failure is named.
    #[serde(rename = "SequenceNumber")]
    pub sequence_number: String,
    /// The item after the change, in `DynamoDB`'s JSON; absent for deletions.
    #[serde(rename = "NewImage")]
    pub new_image: Option<Box<RawValue>>,
}

/// Which records shall come again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchFailures {
    /// They, by sequence number.
    #[serde(rename = "batchItemFailures")]
    pub failed: Vec<BatchItemFailure>,
}

/// A record that shall come again.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BatchItemFailure {
    /// Its sequence number.
    #[serde(rename = "itemIdentifier")]
    pub sequence_number: String,
}

impl BatchFailures {
    /// Asks for a record again.
    pub fn add_record(&mut self, record: StreamChange) {
        self.failed.push(BatchItemFailure { sequence_number: record.sequence_number });
    }
}

/// What a function takes a batch through with.
pub struct BatchProcessor<'a> {
    /// Where the deliveries come from and their outcomes go.
    pub inbox: &'a Inbox,
    /// The client.
    pub client: &'a str,
    /// Where `test_now` comes from.
    pub clock: &'a Clock,
}

impl BatchProcessor<'_> {
    /// Takes a batch through, `at_once` deliveries side by side, for as long as there is time, and says which shall come
    /// again. `process` gives what is to be recorded beside a delivery, if anything. Only what does not depend on another
    /// delivery's outcome may be taken through side by side.
    pub async fn process_batch<E: ClassifyFault>(
        &self,
        event: StreamEvent,
        at_once: usize,
        has_time: impl Fn() -> bool,
        process: impl AsyncFn(&InboxItem) -> Result<Option<String>, E>,
    ) -> BatchFailures {
        let (has_time, process) = (&has_time, &process);
        let each = event.records.into_iter().map(|record| async move {
            // Lambda sends everything from the first failure on again.
            let retry = !has_time() || self.process_record(&record.dynamodb, process).await;
            (retry, record.dynamodb)
        });
        let mut failures = BatchFailures::default();
        let mut done = futures::stream::iter(each).buffered(at_once.max(1));
        while let Some((retry, record)) = done.next().await {
            if retry {
                failures.add_record(record);
            }
        }
        failures
    }

    /// Takes one delivery through. Says whether it shall come again.
    async fn process_record<E: ClassifyFault>(
        &self,
        record: &StreamChange,
        process: &impl AsyncFn(&InboxItem) -> Result<Option<String>, E>,
    ) -> bool {
        let Some(image) = &record.new_image else { return false };
        let entry = match InboxItem::from_image(image.get()) {
            Ok(entry) => entry,
            // Nothing can be recorded beside an item that we cannot read, and it will not read better next time.
            Err(error) => {
                telemetry::count_metric(self.client, Metric::DeliveriesQuarantined, self.clock.now());
                tracing::error!(
                    record.sequence_number = record.sequence_number,
                    "skipped a record of the inbox: {}",
                    error_chain(&error)
                );
                return false;
            }
        };
        let now = self.clock.now();
        let outcome = match process(&entry).await {
            Err(error) if error.fault() == Fault::Permanent => {
                tracing::error!(delivery.id = entry.id, "{}", error_chain(&error));
                telemetry::count_metric(self.client, Metric::DeliveriesQuarantined, now);
                Ok(Some(format!("failed: {}", error_chain(&error))))
            }
            processed => processed,
        };
        let retry_reason = match outcome {
            Ok(None) => None,
            Ok(Some(outcome)) => {
                self.record_outcome(&entry, &outcome, now).await.err().map(|error| error_chain(&error))
            }
            Err(error) => Some(error_chain(&error)),
        };
        if let Some(why) = &retry_reason {
            tracing::warn!(delivery.id = entry.id, "shall come again: {why}");
        }
        retry_reason.is_some()
    }

    async fn record_outcome(&self, entry: &InboxItem, outcome: &str, now: Timestamp) -> Result<(), InboxError> {
        tracing::info!(delivery.id = entry.id, delivery.outcome = outcome, "delivery led to no message of its own");
        self.inbox.record_outcome(&entry.id, outcome, now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_serialized_as_lambda_expects_them() {
        let mut failures = BatchFailures::default();
        assert_eq!(serde_json::to_string(&failures).unwrap(), r#"{"batchItemFailures":[]}"#);
        failures.add_record(StreamChange { sequence_number: "42".into(), new_image: None });
        assert_eq!(serde_json::to_string(&failures).unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":"42"}]}"#);
    }
}
