//! Table streams as event sources: every mapping of the template is read by a task of its own.
//!
//! Promises at-least-once, in order, one batch at a time per mapping (the engine has one shard per table). A batch is
//! retried as Lambda would (see `batch`), then it goes to the on-failure queue and the stream moves on. The position is
//! stored after each batch, so a stack that was killed repeats at most its last batch.
//!
//! Differences from the cloud: retries wait milliseconds, not up to minutes; records never age out; and the on-failure
//! queue keeps whole records, where SQS would get only their sequence numbers.

mod batch;
mod failures;
mod filter;
mod position;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
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

pub use failures::{FailedBatch, Failures};
pub use filter::Pattern;
pub(crate) use position::Positions;

use crate::{ACCOUNT, REGION, dynamo::Dynamo, functions::Functions, template::StreamMapping};
use batch::{Failure, Progress};

/// Records read at once.
const PAGE: usize = 100;
/// How long a reader waits for a write it wasn't told of.
const IDLE: Duration = Duration::from_millis(200);

/// Pauses between retries of a batch: doubled each time, up to a limit.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Before the first retry.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(2) }
    }
}

impl Backoff {
    fn pause(self, attempt: u32) -> Duration {
        self.first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.longest)
    }
}

/// How far a mapping has come, for people and tests.
#[derive(Debug, Clone, Serialize)]
pub struct MappingState {
    /// `{function's logical id}/{event's name}`.
    pub id: String,
    /// The function it invokes.
    pub function: String,
    /// The table whose stream it reads.
    pub table: String,
    /// Sequence number of the last record that is done with; empty before the first.
    pub position: String,
    /// Sequence number of the stream's last record; empty when there is none.
    pub end: String,
    /// Failed attempts at the batch in hand.
    pub attempts: u32,
}

impl MappingState {
    /// Whether every record is done with.
    pub fn caught_up(&self) -> bool {
        // of one length, so that text and number compare alike
        self.end.is_empty() || self.position >= self.end
    }
}

/// The reader of one mapping.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) mapping: StreamMapping,
    pub(crate) function: String,
    stream_arn: String,
    shard: String,
    position: Mutex<String>,
    attempts: AtomicU32,
    dynamo: Arc<Dynamo>,
    functions: Arc<Functions>,
    positions: Arc<Positions>,
    failures: Arc<Failures>,
    backoff: Backoff,
}

/// What the readers of a stack share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) dynamo: Arc<Dynamo>,
    pub(crate) functions: Arc<Functions>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) backoff: Backoff,
}

impl Reader {
    pub(crate) fn new(mapping: StreamMapping, function: &str, shared: Shared) -> anyhow::Result<Self> {
        // the engine finds a stream by its table's name; the label may be anything
        let stream_arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{}/stream/local", mapping.table);
        let (shard_id, end) = describe(shared.dynamo.db(), &stream_arn)?;
        let position = match shared.positions.get(&mapping.id) {
            Some(stored) => stored,
            None if mapping.from_start => String::new(),
            None => end,
        };
        let Shared { dynamo, functions, positions, failures, backoff } = shared;
        Ok(Self {
            mapping,
            function: function.to_owned(),
            stream_arn,
            shard: shard_id,
            position: Mutex::new(position),
            attempts: AtomicU32::new(0),
            dynamo,
            functions,
            positions,
            failures,
            backoff,
        })
    }

    pub(crate) fn state(&self) -> anyhow::Result<MappingState> {
        let (_, end) = describe(self.dynamo.db(), &self.stream_arn)?;
        Ok(MappingState {
            id: self.mapping.id.clone(),
            function: self.function.clone(),
            table: self.mapping.table.clone(),
            position: crate::lock(&self.position).clone(),
            end,
            attempts: self.attempts.load(Ordering::SeqCst),
        })
    }

    /// Reads for as long as the stack lives.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut writes = self.dynamo.watch_writes();
        loop {
            writes.mark_unchanged();
            match self.clone().read_page().await {
                Ok(0) => drop(tokio::time::timeout(IDLE, writes.changed()).await),
                Ok(_) => {}
                Err(e) => {
                    tracing::warn!("{}: {e:#}", self.mapping.id);
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
    }

    /// Reads the next records and delivers those that pass the filters. Returns how many were read.
    async fn read_page(self: Arc<Self>) -> anyhow::Result<usize> {
        let reader = self.clone();
        let records = tokio::task::spawn_blocking(move || reader.records()).await??;
        let mut batch = Vec::new();
        let last = records.len();
        for (n, record) in records.into_iter().enumerate() {
            let filters = &self.mapping.filters;
            if filters.is_empty() || filters.iter().any(|filter| filter.matches(&record)) {
                batch.push(record);
            } else if batch.is_empty() {
                // nothing before it is open: it is done with. Stored at the page's end only, it costs nothing to see it twice
                self.move_to(sequence_number(&record), n + 1 == last)?;
            }
            if batch.len() == self.mapping.batch_size || (n + 1 == last && !batch.is_empty()) {
                self.deliver(std::mem::take(&mut batch)).await?;
            }
        }
        Ok(last)
    }

    /// Sees one batch through: to its end, or into the on-failure queue.
    async fn deliver(&self, records: Vec<Value>) -> anyhow::Result<()> {
        let mut open = batch::Plan::new(records, &self.mapping);
        while let Some(records) = open.next() {
            let result = self.functions.invoke_json(&self.function, &json!({"Records": records})).await;
            if result == Err(crate::functions::InvokeError::Stopping) {
                // not the batch's fault: wait for the end of this task, the position stays
                std::future::pending::<()>().await;
            }
            match open.settle(result.map_err(|e| e.to_string())) {
                Progress::Done { last } => {
                    self.attempts.store(0, Ordering::SeqCst);
                    self.move_to(&last, true)?;
                }
                Progress::Retry { done, attempt } => {
                    self.attempts.store(attempt, Ordering::SeqCst);
                    if let Some(done) = done {
                        self.move_to(&done, true)?;
                    }
                    tokio::time::sleep(self.backoff.pause(attempt)).await;
                }
                Progress::GaveUp(failure) => {
                    self.attempts.store(0, Ordering::SeqCst);
                    self.give_up(failure)?;
                }
            }
        }
        Ok(())
    }

    fn give_up(&self, Failure { records, attempts, error }: Failure) -> anyhow::Result<()> {
        let (first, last) = (records.first().map_or("", sequence_number), records.last().map_or("", sequence_number));
        let last = last.to_owned();
        tracing::warn!(
            "{}: gave up on {} record(s) after {attempts} attempts: {error}",
            self.mapping.id,
            records.len()
        );
        let failed = FailedBatch {
            queue: self.mapping.on_failure.clone(),
            mapping: self.mapping.id.clone(),
            function: self.function.clone(),
            at_ms: crate::clock::system_now_ms(),
            attempts,
            error,
            shard: self.shard.clone(),
            first: first.to_owned(),
            last: last.clone(),
            records,
        };
        self.failures.add(failed)?;
        self.move_to(&last, true)
    }

    fn move_to(&self, sequence_number: &str, store: bool) -> anyhow::Result<()> {
        sequence_number.clone_into(&mut crate::lock(&self.position));
        if store { self.positions.set(&self.mapping.id, sequence_number) } else { Ok(()) }
    }

    /// The next records in the form a function gets them.
    fn records(&self) -> anyhow::Result<Vec<Value>> {
        let position = crate::lock(&self.position).clone();
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
        let page = db.get_records(GetRecordsRequest { shard_iterator, limit: Some(PAGE) })?;
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
fn describe(db: &Database, stream_arn: &str) -> anyhow::Result<(String, String)> {
    let request =
        DescribeStreamRequest { stream_arn: stream_arn.to_owned(), exclusive_start_shard_id: None, limit: None };
    let mut shards = db.describe_stream(request)?.stream_description.shards;
    let shard = shards.pop().context("the stream has no shard")?;
    anyhow::ensure!(shards.is_empty(), "the stream has several shards; the local stack reads one");
    Ok((shard.shard_id, shard.sequence_number_range.ending_sequence_number.unwrap_or_default()))
}

fn sequence_number(record: &Value) -> &str {
    record["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
