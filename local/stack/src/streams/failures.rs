//! The on-failure queue: batches that were given up, for people and tests.
//!
//! The queue is in memory, and in a file of JSON lines if the stack has a state folder. It survives
//! a restart, because a given-up record is the last trace of an accepted delivery.

use std::{path::Path, sync::Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tellonce_fakes::json_lines::JsonLines;

use crate::{ACCOUNT, REGION};

/// A batch that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedBatch {
    /// Name of the queue in the template. `None` if the mapping has no queue: AWS would drop the
    /// records.
    pub queue: Option<String>,
    /// The mapping that gave up.
    pub mapping: String,
    /// The function that failed.
    pub function: String,
    /// When it was given up, in unix milliseconds.
    pub at_ms: i64,
    /// Failed attempts, the first included.
    pub attempts: u32,
    /// The last error.
    pub error: String,
    /// Shard of the stream.
    pub shard: String,
    /// Sequence number of the first record.
    pub first: String,
    /// Sequence number of the last record.
    pub last: String,
    /// The records. SQS would not get them.
    pub records: Vec<Value>,
}

impl FailedBatch {
    /// The message that the queue gets in the cloud: a pointer into the stream, without the
    /// records.
    /// Source: docs.aws.amazon.com, "Retain discarded records for a DynamoDB event source in
    /// Lambda".
    pub fn queue_message(&self) -> Value {
        let name = &self.function;
        let arrived_at = |record: Option<&Value>| {
            let seconds = record.and_then(|record| record["dynamodb"]["ApproximateCreationDateTime"].as_f64());
            let since_1970 = seconds.and_then(|seconds| jiff::SignedDuration::try_from_secs_f64(seconds).ok());
            let at = since_1970.and_then(|since| jiff::Timestamp::from_duration(since).ok());
            at.map_or_else(|| format_time(self.at_ms), |at| at.to_string())
        };
        json!({
            "requestContext": {
                "requestId": format!("{}-{}", self.mapping, self.first),
                "functionArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"),
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": self.attempts,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": null},
            "version": "1.0",
            "timestamp": format_time(self.at_ms),
            "DDBStreamBatchInfo": {
                "shardId": self.shard,
                "startSequenceNumber": self.first,
                "endSequenceNumber": self.last,
                "approximateArrivalOfFirstRecord": arrived_at(self.records.first()),
                "approximateArrivalOfLastRecord": arrived_at(self.records.last()),
                "batchSize": self.records.len(),
                "streamArn": self.records.first().map(|record| &record["eventSourceARN"]),
            },
        })
    }
}

fn format_time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default().to_string()
}

/// All batches that were given up.
#[derive(Debug)]
pub struct FailureLog {
    held: Mutex<HeldBatches>,
}

#[derive(Debug)]
struct HeldBatches {
    file: Option<JsonLines>,
    list: Vec<FailedBatch>,
}

impl FailureLog {
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        // A batch whose line was cut short is not done yet and is delivered again.
        let held = match file.map(JsonLines::open).transpose()? {
            Some((file, list)) => HeldBatches { file: Some(file), list },
            None => HeldBatches { file: None, list: Vec::new() },
        };
        Ok(Self { held: Mutex::new(held) })
    }

    /// All batches, oldest first.
    pub fn list_batches(&self) -> Vec<FailedBatch> {
        tellonce_fakes::lock_mutex(&self.held).list.clone()
    }

    pub(crate) fn batch_count(&self) -> u64 {
        tellonce_fakes::lock_mutex(&self.held).list.len() as u64
    }

    pub(super) fn add_batch(&self, failed: FailedBatch) -> anyhow::Result<()> {
        let mut held = tellonce_fakes::lock_mutex(&self.held);
        if let Some(file) = &mut held.file {
            file.append(std::slice::from_ref(&failed))?;
        }
        held.list.push(failed);
        Ok(())
    }
}
