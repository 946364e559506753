//! Table streams as event sources. One task reads each mapping of the template.
//!
//! Records are delivered at least once, in order, one batch at a time per mapping (the engine has
//! one shard per table). A batch is retried as Lambda would (see `batch`). Then it goes to the
//! on-failure queue and the stream moves on. The position is stored after each batch, so a killed
//! stack repeats at most its last batch.
//!
//! Differences from AWS: retries wait milliseconds, not up to minutes. Records never age out. The
//! on-failure queue keeps whole records, where SQS would get only their sequence numbers.

mod batch;
mod failures;
mod position;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use dynoxide::{
    Database,
    actions::{
        describe_stream::DescribeStreamRequest, get_records::GetRecordsRequest,
        get_shard_iterator::GetShardIteratorRequest,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

pub use failures::{FailedBatch, FailureLog};
pub(crate) use position::StreamPositions;

use crate::{
    ACCOUNT, REGION, dynamo::EmbeddedDynamo, functions::FunctionPool, metrics::MetricLog, template::StreamMapping,
};
use batch::{BatchFailure, BatchProgress, sequence_number};

/// Records per page.
const PAGE_SIZE: usize = 100;
/// Interval at which a reader checks the stream without a signal.
const IDLE_WAIT: Duration = Duration::from_millis(200);
/// The shortest time between two reads that find nothing. Each write to a table wakes its readers,
/// and most filters pass few of them.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(5);

/// Pauses between retries of a batch: each is twice as long as the one before, up to a limit.
#[derive(Debug, Clone, Copy)]
pub struct RetryBackoff {
    /// The pause before the first retry.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for RetryBackoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(2) }
    }
}

impl RetryBackoff {
    fn pause_before(self, attempt: u32) -> Duration {
        self.first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.longest)
    }
}

/// Progress of a mapping, for people and tests.
#[derive(Debug, Clone, Serialize)]
pub struct MappingState {
    /// `{function's logical id}/{event's name}`.
    pub id: String,
    /// The function it invokes.
    pub function: String,
    /// The table whose stream it reads.
    pub table: String,
    /// Sequence number of the last record that is done; empty before the first.
    pub position: String,
    /// Sequence number of the stream's last record; empty when there is none.
    pub end: String,
    /// Failed attempts of the current batch.
    pub attempts: u32,
    /// Whether it reads. A stopped mapping keeps its position.
    pub enabled: bool,
}

impl MappingState {
    /// Whether every record is done.
    pub fn is_caught_up(&self) -> bool {
        // All have the same length, so text order is number order.
        self.end.is_empty() || self.position >= self.end
    }
}

/// The reader of one mapping.
#[derive(Debug)]
pub(crate) struct StreamReader {
    pub(crate) mapping: StreamMapping,
    pub(crate) function: String,
    stream_arn: String,
    shard: String,
    position: Mutex<String>,
    attempts: AtomicU32,
    changes: AtomicU64,
    enabled: AtomicBool,
    dynamo: Arc<EmbeddedDynamo>,
    functions: Arc<FunctionPool>,
    positions: Arc<StreamPositions>,
    failures: Arc<FailureLog>,
    metrics: Arc<MetricLog>,
    backoff: RetryBackoff,
}

/// What the readers of a stack share.
#[derive(Debug, Clone)]
pub(crate) struct ReaderContext {
    pub(crate) dynamo: Arc<EmbeddedDynamo>,
    pub(crate) functions: Arc<FunctionPool>,
    pub(crate) positions: Arc<StreamPositions>,
    pub(crate) failures: Arc<FailureLog>,
    pub(crate) metrics: Arc<MetricLog>,
    pub(crate) backoff: RetryBackoff,
}

impl StreamReader {
    pub(crate) fn new(mapping: StreamMapping, function: &str, shared: ReaderContext) -> anyhow::Result<Self> {
        // The engine finds a stream by the table's name and ignores the label.
        let stream_arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{}/stream/local", mapping.table);
        let (shard_id, end) = describe_shard(shared.dynamo.db(), &stream_arn)?;
        let position = match shared.positions.get(&mapping.id) {
            Some(stored) => stored,
            None if mapping.from_start => String::new(),
            None => end,
        };
        let ReaderContext { dynamo, functions, positions, failures, metrics, backoff } = shared;
        Ok(Self {
            mapping,
            function: function.to_owned(),
            stream_arn,
            shard: shard_id,
            position: Mutex::new(position),
            attempts: AtomicU32::new(0),
            changes: AtomicU64::new(0),
            enabled: AtomicBool::new(true),
            dynamo,
            functions,
            positions,
            failures,
            metrics,
            backoff,
        })
    }

    pub(crate) fn read_state(&self) -> anyhow::Result<MappingState> {
        let (_, end) = describe_shard(self.dynamo.db(), &self.stream_arn)?;
        Ok(MappingState {
            id: self.mapping.id.clone(),
            function: self.function.clone(),
            table: self.mapping.table.clone(),
            position: tellonce_fakes::lock_mutex(&self.position).clone(),
            end,
            attempts: self.attempts.load(Ordering::SeqCst),
            enabled: self.enabled.load(Ordering::SeqCst),
        })
    }

    /// Stops the reader after its current batch, or resumes it.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::SeqCst);
        self.dynamo.wake_readers();
    }

    /// How often the position moved.
    pub(crate) fn change_count(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Reads while the stack runs.
    pub(crate) async fn run_forever(self: Arc<Self>) {
        let mut writes = self.dynamo.watch_writes();
        loop {
            writes.mark_unchanged();
            if !self.enabled.load(Ordering::SeqCst) {
                drop(writes.changed().await);
                continue;
            }
            let read_at = tokio::time::Instant::now();
            match self.clone().read_page().await {
                Ok(0) => {
                    drop(tokio::time::timeout(IDLE_WAIT, writes.changed()).await);
                    tokio::time::sleep_until(read_at + MIN_READ_INTERVAL).await;
                }
                Ok(_) => {}
                Err(e) => {
                    tracing::warn!("{}: {e:#}", self.mapping.id);
                    tokio::time::sleep(IDLE_WAIT).await;
                }
            }
        }
    }

    /// Reads the next records, delivers those that pass the filters and returns how many it read.
    async fn read_page(self: Arc<Self>) -> anyhow::Result<usize> {
        let reader = self.clone();
        let records = tokio::task::spawn_blocking(move || reader.read_records()).await??;
        let mut batch = Vec::new();
        let last = records.len();
        for (n, record) in records.into_iter().enumerate() {
            let filters = &self.mapping.filters;
            if filters.is_empty() || filters.iter().any(|filter| filter.matches(&record)) {
                batch.push(record);
            } else if batch.is_empty() {
                // No record before it is open, so it is done. The position is stored at the page's
                // end: reading it twice is harmless.
                self.advance_position(sequence_number(&record), n + 1 == last)?;
            }
            if batch.len() == self.mapping.batch_size || (n + 1 == last && !batch.is_empty()) {
                self.deliver_batch(std::mem::take(&mut batch)).await?;
            }
        }
        Ok(last)
    }

    /// Delivers one batch until it is settled or in the on-failure queue.
    async fn deliver_batch(&self, records: Vec<Value>) -> anyhow::Result<()> {
        let mut open = batch::BatchPlan::new(records, &self.mapping);
        while let Some(records) = open.next_records() {
            let result = self.functions.invoke_json(&self.function, &json!({"Records": records})).await;
            if result == Err(crate::functions::InvokeError::Stopping) {
                // The batch did not fail, the stack stops: the position stays.
                std::future::pending::<()>().await;
            }
            match open.settle(result.map_err(|e| e.to_string())) {
                BatchProgress::Done { last } => {
                    self.attempts.store(0, Ordering::SeqCst);
                    self.advance_position(&last, true)?;
                }
                BatchProgress::Retry { done, attempt } => {
                    self.attempts.store(attempt, Ordering::SeqCst);
                    if let Some(done) = done {
                        self.advance_position(&done, true)?;
                    }
                    tokio::time::sleep(self.backoff.pause_before(attempt)).await;
                }
                BatchProgress::GaveUp(failure) => {
                    self.attempts.store(0, Ordering::SeqCst);
                    self.give_up(failure)?;
                }
            }
        }
        Ok(())
    }

    fn give_up(&self, BatchFailure { records, attempts, error }: BatchFailure) -> anyhow::Result<()> {
        let last = records.last().map_or("", sequence_number).to_owned();
        tracing::warn!(
            "{}: gave up on {} record(s) after {attempts} attempts: {error}",
            self.mapping.id,
            records.len()
        );
        let failed = FailedBatch {
            id: tellonce_fakes::generate_id(),
            queue: self.mapping.on_failure.clone(),
            mapping: self.mapping.id.clone(),
            function: self.function.clone(),
            at_ms: tellonce_fakes::system_now_ms(),
            attempts,
            error,
            records,
        };
        self.failures.add_batch(failed)?;
        if let Some(queue) = &self.mapping.on_failure {
            self.metrics.set_queue_depth(queue, self.failures.depth(queue));
        }
        self.advance_position(&last, true)
    }

    fn advance_position(&self, sequence_number: &str, store: bool) -> anyhow::Result<()> {
        sequence_number.clone_into(&mut tellonce_fakes::lock_mutex(&self.position));
        self.changes.fetch_add(1, Ordering::SeqCst);
        if store { self.positions.set(&self.mapping.id, sequence_number) } else { Ok(()) }
    }

    /// The next records in the form in which a function gets them.
    fn read_records(&self) -> anyhow::Result<Vec<Value>> {
        let position = tellonce_fakes::lock_mutex(&self.position).clone();
        let (kind, sequence_number) =
            if position.is_empty() { ("TRIM_HORIZON", None) } else { ("AFTER_SEQUENCE_NUMBER", Some(position)) };
        let db = self.dynamo.db();
        let iterator = db.get_shard_iterator(GetShardIteratorRequest {
            stream_arn: self.stream_arn.clone(),
            shard_id: self.shard.clone(),
            shard_iterator_type: kind.to_owned(),
            sequence_number,
        })?;
        let shard_iterator = iterator.shard_iterator.context("the engine gave no shard iterator")?;
        let page = db.get_records(GetRecordsRequest { shard_iterator, limit: Some(PAGE_SIZE) })?;
        page.records
            .into_iter()
            .map(|record| {
                let mut record = serde_json::to_value(record)?;
                record["awsRegion"] = json!(REGION);
                record["eventSourceARN"] = json!(self.stream_arn);
                Ok(record)
            })
            .collect()
    }
}

/// Shard of a stream and its last sequence number (empty: no records).
fn describe_shard(db: &Database, stream_arn: &str) -> anyhow::Result<(String, String)> {
    let request =
        DescribeStreamRequest { stream_arn: stream_arn.to_owned(), exclusive_start_shard_id: None, limit: None };
    let mut shards = db.describe_stream(request)?.stream_description.shards;
    let shard = shards.pop().context("the stream has no shard")?;
    anyhow::ensure!(shards.is_empty(), "the stream has several shards; the local stack reads one");
    Ok((shard.shard_id, shard.sequence_number_range.ending_sequence_number.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
