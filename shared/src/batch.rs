//! Batches of an inbox's stream: one record after the other, or several in parallel.
//!
//! Lambda passes the records of a shard in order. The response names the records that failed, and
//! Lambda repeats everything from the first of them.
//! Source: docs.aws.amazon.com, "Configuring partial batch response with DynamoDB and Lambda".
//!
//! Promises: a record that cannot be processed is recorded with its reason, counts as done, and
//! never blocks the records behind it. A heartbeat is recorded and not processed as a delivery.
//!
//! A batch ends before its invocation does. A call to a table that hangs ends after 8 s, with all
//! its attempts ([`AwsTimeouts`](crate::bootstrap::AwsTimeouts)), and its record fails. A record is
//! begun only if such a call would end in time, and is given up [`RESPONSE_TIME`] before the
//! deadline. Lambda repeats both. Does **not** make processing idempotent: the ledger's claims
//! do.

use futures::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    clock::{Clock, Deadline, RESPONSE_TIME},
    fault::{ClassifyFault, Fault, catch_panic, error_chain},
    heartbeat::{self, HeartbeatReceipts},
    inbox::{DeliveryOutcome, Inbox, InboxError, InboxItem, InboxItemError},
    telemetry::{self, Metric},
};

/// The code of a delivery that only a newer version of tellonce can process, because it changed a
/// row of it. An operator replays it when that version is back.
const NEWER_VERSION_CODE: &str = "newer-version";

/// The event of one invocation.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    /// The records, in order.
    #[serde(rename = "Records")]
    pub records: Vec<StreamRecord>,
}

/// One change of the table.
#[derive(Debug, Deserialize)]
pub struct StreamRecord {
    /// The stream that the record is from.
    #[serde(rename = "eventSourceARN", default)]
    pub event_source_arn: String,
    /// The change.
    pub dynamodb: StreamChange,
}

/// One change of the table.
#[derive(Debug, Deserialize)]
pub struct StreamChange {
    /// The record's position in the shard. A failure is named by it.
    #[serde(rename = "SequenceNumber")]
    pub sequence_number: String,
    /// The item after the change, in `DynamoDB`'s JSON; absent for deletions.
    #[serde(rename = "NewImage")]
    pub new_image: Option<Box<RawValue>>,
}

/// The records that Lambda must repeat.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchFailures {
    /// The records, by sequence number.
    #[serde(rename = "batchItemFailures")]
    pub failed: Vec<BatchItemFailure>,
}

/// A record that Lambda must repeat.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BatchItemFailure {
    /// Its sequence number.
    #[serde(rename = "itemIdentifier")]
    pub sequence_number: String,
}

impl BatchFailures {
    /// Adds a record.
    pub fn add_record(&mut self, record: StreamChange) {
        self.failed.push(BatchItemFailure { sequence_number: record.sequence_number });
    }
}

/// Processes the batches of one function.
pub struct BatchProcessor<'a> {
    /// The inbox of the deliveries and their outcomes.
    pub inbox: &'a Inbox,
    /// The receipts of the inbox's heartbeats.
    pub receipts: &'a HeartbeatReceipts,
    /// The client.
    pub client: &'a str,
    /// The source of the current time.
    pub clock: &'a Clock,
    /// When the invocation must have ended.
    pub deadline: Deadline,
}

impl BatchProcessor<'_> {
    /// Processes a batch, `max_concurrent` deliveries in parallel, as long as there is time.
    /// Returns the records to repeat.
    ///
    /// `process` returns the outcome to record with a delivery, if any. Deliveries may run in
    /// parallel only if none depends on the outcome of another one.
    pub async fn process_batch<O: Into<DeliveryOutcome>, E: ClassifyFault>(
        &self,
        event: StreamEvent,
        max_concurrent: usize,
        process: impl AsyncFn(&InboxItem) -> Result<Option<O>, E>,
    ) -> BatchFailures {
        let process = &process;
        let each = event.records.into_iter().map(|record| async move {
            // Lambda repeats everything from the first failure on.
            let retry = !self.deadline.has_time_for_call() || self.process_in_time(&record.dynamodb, process).await;
            (retry, record.dynamodb)
        });
        let mut failures = BatchFailures::default();
        let mut done = futures::stream::iter(each).buffered(max_concurrent.max(1));
        while let Some((retry, record)) = done.next().await {
            if retry {
                failures.add_record(record);
            }
        }
        failures
    }

    /// Processes one delivery until the time is up. Returns whether Lambda must repeat it.
    async fn process_in_time<O: Into<DeliveryOutcome>, E: ClassifyFault>(
        &self,
        record: &StreamChange,
        process: &impl AsyncFn(&InboxItem) -> Result<Option<O>, E>,
    ) -> bool {
        let work = catch_panic(self.process_record(record, process));
        match self.deadline.run_until(RESPONSE_TIME, work).await {
            Some(Ok(retry)) => retry,
            // It panicked outside `process`, so it has no place for an outcome.
            Some(Err(panicked)) => {
                self.report_skipped(record, &panicked);
                false
            }
            None => {
                let number = &record.sequence_number;
                tracing::error!(record.sequence_number = number, "gave up inbox record {number}: the time was up");
                true
            }
        }
    }

    /// Processes one delivery. Returns whether Lambda must repeat it.
    async fn process_record<O: Into<DeliveryOutcome>, E: ClassifyFault>(
        &self,
        record: &StreamChange,
        process: &impl AsyncFn(&InboxItem) -> Result<Option<O>, E>,
    ) -> bool {
        let Some(image) = &record.new_image else { return false };
        if let Some(sent_at) = heartbeat::find_sent_at(image.get()) {
            self.receipts.record_heartbeat(sent_at, self.clock.now()).await;
            return false;
        }
        let delivery = match InboxItem::from_image(image.get()) {
            Ok(delivery) => delivery,
            Err(InboxItemError::Forgotten(id)) => return self.record_forgotten(&id).await,
            // An item that does not parse has no place for an outcome, and a repeat would not help.
            Err(error) => {
                self.report_skipped(record, &error);
                return false;
            }
        };
        let now = self.clock.now();
        let outcome = match catch_panic(process(&delivery)).await {
            Err(panicked) => Ok(Some(self.quarantine(&delivery, &panicked, now))),
            Ok(Err(error)) if error.fault() == Fault::Permanent => Ok(Some(self.quarantine(&delivery, &error, now))),
            Ok(Err(error)) if error.fault() == Fault::NewerVersion => {
                let outcome = self.quarantine(&delivery, &error, now);
                Ok(Some(DeliveryOutcome { code: NEWER_VERSION_CODE, ..outcome }))
            }
            Ok(processed) => processed.map(|outcome| outcome.map(Into::into)),
        };
        let retry_reason = match outcome {
            Ok(None) => None,
            Ok(Some(outcome)) => {
                self.record_outcome(&delivery, &outcome, now).await.err().map(|error| error_chain(&error))
            }
            Err(error) => Some(error_chain(&error)),
        };
        if let Some(why) = &retry_reason {
            tracing::warn!(delivery.id = delivery.id, "delivery {} will be retried: {why}", delivery.id);
        }
        retry_reason.is_some()
    }

    /// Records why a replay of a delivery whose body is deleted leads to nothing. Returns whether
    /// Lambda must repeat it.
    async fn record_forgotten(&self, id: &str) -> bool {
        let recorded = self.inbox.record_outcome(id, &DeliveryOutcome::forgotten(), self.clock.now()).await;
        if let Err(error) = &recorded {
            tracing::warn!(delivery.id = id, "delivery {id} will be retried: {}", error_chain(error));
        }
        recorded.is_err()
    }

    /// Counts a record that is skipped, because a repeat would not help.
    fn report_skipped(&self, record: &StreamChange, error: &dyn std::error::Error) {
        telemetry::count_metric(self.client, Metric::DeliveriesQuarantined, self.clock.now());
        tracing::error!(
            record.sequence_number = record.sequence_number,
            "skipped inbox record {}: {}",
            record.sequence_number,
            error_chain(error)
        );
    }

    /// Counts a delivery that can never be processed. Returns its outcome.
    fn quarantine(&self, delivery: &InboxItem, error: &dyn std::error::Error, now: Timestamp) -> DeliveryOutcome {
        let id = &delivery.id;
        tracing::error!(delivery.id = id, "could not process delivery {id}: {}", error_chain(error));
        telemetry::count_metric(self.client, Metric::DeliveriesQuarantined, now);
        DeliveryOutcome::failed(error)
    }

    async fn record_outcome(
        &self,
        delivery: &InboxItem,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<(), InboxError> {
        tracing::info!(
            delivery.id = delivery.id,
            delivery.outcome = outcome.code,
            delivery.outcome_text = outcome.text,
            "recorded outcome {} of delivery {}",
            outcome.code,
            delivery.id
        );
        self.inbox.record_outcome(&delivery.id, outcome, now).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Mutex,
        time::{Duration, Instant},
    };

    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    use loopback::{FakeApi, http_response};
    use serde_json::{Value, json};

    use super::*;
    use crate::{bootstrap::tests::start_fake_aws, fault::Panicked, heartbeat::HeartbeatPath};

    #[test]
    fn failures_are_serialized_as_lambda_expects_them() {
        let mut failures = BatchFailures::default();
        assert_eq!(serde_json::to_string(&failures).unwrap(), r#"{"batchItemFailures":[]}"#);
        failures.add_record(StreamChange { sequence_number: "42".into(), new_image: None });
        assert_eq!(serde_json::to_string(&failures).unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":"42"}]}"#);
    }

    fn sample_record(number: u8) -> Value {
        let body = BASE64.encode(miniz_oxide::deflate::compress_to_vec(b"{}", 1));
        json!({"dynamodb": {"SequenceNumber": number.to_string(), "NewImage": {
            "id": {"S": format!("shop#d-{number}")},
            "sender": {"S": "shop"},
            "received_at": {"N": "1796000000000"},
            "body": {"B": body},
        }}})
    }

    /// A fake database, the inbox in it, and its receipts.
    async fn start_database() -> (FakeApi, Inbox, HeartbeatReceipts) {
        let (fake_api, aws) = start_fake_aws().await;
        let receipts =
            HeartbeatReceipts::new(aws.dynamodb(), "Ledger".to_owned(), HeartbeatPath::StoreInbox, "dev".to_owned());
        (fake_api, Inbox::new(aws.dynamodb(), "Inbox".to_owned(), 30), receipts)
    }

    #[tokio::test]
    async fn a_heartbeat_is_recorded_and_a_failure_to_record_it_repeats_nothing() {
        let ((fake_api, inbox, receipts), clock) = (start_database().await, Clock::from_environment());
        let deadline = Deadline::from_now(Duration::from_mins(1));
        let batch = BatchProcessor { inbox: &inbox, receipts: &receipts, client: "demo", clock: &clock, deadline };
        let heartbeat = json!({"dynamodb": {"SequenceNumber": "1", "NewImage": {
            "id": {"S": "heartbeat"}, "sent_at": {"N": "1796000000000"},
        }}});
        for status in ["200 OK", "400 Bad Request"] {
            let event = serde_json::from_value(json!({ "Records": [heartbeat] })).unwrap();
            let process = async |_: &InboxItem| -> Result<Option<DeliveryOutcome>, Panicked> { panic!("no delivery") };
            let reply = http_response(&format!("{status}\r\ncontent-type: application/x-amz-json-1.0"), "{}");
            let (failures, written) = tokio::join!(batch.process_batch(event, 1, process), fake_api.reply_once(&reply));
            assert_eq!(failures, BatchFailures::default());
            let written = written.unwrap();
            assert!(written.contains("UpdateItem") && written.contains("store-inbox"), "{written}");
            assert!(written.contains("1796000000000"), "{written}");
        }
    }

    #[tokio::test]
    async fn a_record_that_panics_gets_an_outcome_and_stops_no_other_record() {
        let ((fake_api, inbox, receipts), clock) = (start_database().await, Clock::from_environment());
        let deadline = Deadline::from_now(Duration::from_mins(1));
        let batch = BatchProcessor { inbox: &inbox, receipts: &receipts, client: "demo", clock: &clock, deadline };
        let event = serde_json::from_value(json!({"Records": [sample_record(1), sample_record(2)]})).unwrap();
        let seen = Mutex::new(Vec::new());
        let process = async |delivery: &InboxItem| -> Result<Option<DeliveryOutcome>, Panicked> {
            seen.lock().unwrap().push(delivery.id.clone());
            assert_ne!(delivery.id, "shop#d-1", "a bug");
            Ok(None)
        };
        let reply = http_response("200 OK\r\ncontent-type: application/x-amz-json-1.0", "{}");
        let (failures, written) = tokio::join!(batch.process_batch(event, 1, process), fake_api.reply_once(&reply));
        assert_eq!(failures, BatchFailures::default());
        assert_eq!(*seen.lock().unwrap(), ["shop#d-1", "shop#d-2"]);
        let written = written.unwrap();
        assert!(written.contains("shop#d-1") && written.contains("failed") && written.contains("a bug in tellonce"));
    }

    #[tokio::test]
    async fn a_batch_that_hangs_returns_its_records_before_the_time_is_up() {
        // No request is made: all records hang before one.
        let ((_fake_api, inbox, receipts), clock) = (start_database().await, Clock::from_environment());
        let begun = Instant::now();
        let call = crate::bootstrap::AwsTimeouts::default().operation;
        let deadline = Deadline::from_now(call + RESPONSE_TIME + Duration::from_millis(200));
        let batch = BatchProcessor { inbox: &inbox, receipts: &receipts, client: "demo", clock: &clock, deadline };
        let records: Vec<Value> = (1..=4).map(sample_record).collect();
        let event = serde_json::from_value(json!({ "Records": records })).unwrap();
        let seen = Mutex::new(Vec::new());
        let process = async |delivery: &InboxItem| -> Result<Option<DeliveryOutcome>, Panicked> {
            seen.lock().unwrap().push(delivery.id.clone());
            tokio::time::sleep(if delivery.id == "shop#d-1" { Duration::from_millis(300) } else { Duration::ZERO })
                .await;
            Ok(None)
        };
        let failures = batch.process_batch(event, 1, process).await;
        // The first used up the time, so no other was begun.
        let failed: Vec<&str> = failures.failed.iter().map(|item| &item.sequence_number[..]).collect();
        assert_eq!((failed, seen.lock().unwrap().len()), (vec!["2", "3", "4"], 1));
        assert!(begun.elapsed() < Duration::from_secs(2));
        let deadline = Deadline::from_now(RESPONSE_TIME + Duration::from_millis(50));
        let batch = BatchProcessor { deadline, ..batch };
        let record = StreamChange { sequence_number: "5".into(), new_image: None };
        let image = sample_record(5)["dynamodb"]["NewImage"].to_string();
        let record = StreamChange { new_image: Some(RawValue::from_string(image).unwrap()), ..record };
        let hang = async |_: &InboxItem| -> Result<Option<DeliveryOutcome>, Panicked> {
            std::future::pending::<()>().await;
            Ok(None)
        };
        assert!(batch.process_in_time(&record, &hang).await, "it is repeated");
        assert!(!deadline.remaining().is_zero());
    }
}
