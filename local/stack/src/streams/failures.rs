//! The on-failure queue: batches that were given up, for people and tests.
//!
//! The queue is in memory, and in a file of JSON lines if the stack has a state folder. It survives
//! a restart, because a given-up record is the last trace of an accepted delivery. A line of the
//! file is a batch, or says which batch was deleted.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tellonce_fakes::json_lines::JsonLines;

/// A batch that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedBatch {
    /// The id of its message in the queue.
    pub id: String,
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
    /// The records. SQS would not get them.
    pub records: Vec<Value>,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum QueueLine {
    Batch(Box<FailedBatch>),
    Deleted { deleted: String },
}

/// All batches that were given up, but those that an operator deleted.
#[derive(Debug)]
pub struct FailureLog {
    held: Mutex<HeldBatches>,
}

#[derive(Debug)]
struct HeldBatches {
    file: Option<JsonLines>,
    list: Vec<FailedBatch>,
    /// How many batches were ever added or deleted.
    changes: u64,
    /// Until when a batch that was received is hidden, by its id.
    hidden: BTreeMap<String, Instant>,
}

impl HeldBatches {
    fn append(&mut self, line: &QueueLine) -> anyhow::Result<()> {
        self.changes += 1;
        self.file.as_mut().map_or(Ok(()), |file| file.append(std::slice::from_ref(line)))
    }
}

impl FailureLog {
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        // A batch whose line was cut short is not done yet and is delivered again.
        let (file, lines) = match file.map(JsonLines::open).transpose()? {
            Some((file, lines)) => (Some(file), lines),
            None => (None, Vec::new()),
        };
        let mut list = Vec::new();
        for line in lines {
            match line {
                QueueLine::Batch(batch) => list.push(*batch),
                QueueLine::Deleted { deleted } => list.retain(|batch: &FailedBatch| batch.id != deleted),
            }
        }
        Ok(Self { held: Mutex::new(HeldBatches { file, list, changes: 0, hidden: BTreeMap::new() }) })
    }

    /// All batches, oldest first.
    pub fn list_batches(&self) -> Vec<FailedBatch> {
        tellonce_fakes::lock_mutex(&self.held).list.clone()
    }

    /// How many batches a queue holds.
    pub(crate) fn depth(&self, queue: &str) -> usize {
        let held = tellonce_fakes::lock_mutex(&self.held);
        held.list.iter().filter(|batch| batch.queue.as_deref() == Some(queue)).count()
    }

    /// A number that changes with the list.
    pub(crate) fn change_count(&self) -> u64 {
        tellonce_fakes::lock_mutex(&self.held).changes
    }

    pub(super) fn add_batch(&self, failed: FailedBatch) -> anyhow::Result<()> {
        let mut held = tellonce_fakes::lock_mutex(&self.held);
        held.append(&QueueLine::Batch(Box::new(failed.clone())))?;
        held.list.push(failed);
        Ok(())
    }

    /// The oldest batches of a queue that are not hidden, and hides them for this long.
    pub(crate) fn receive(&self, queue: &str, most: usize, hide_for: Duration) -> Vec<FailedBatch> {
        let held = &mut *tellonce_fakes::lock_mutex(&self.held);
        let now = Instant::now();
        let is_visible =
            |batch: &&FailedBatch| held.hidden.get(&batch.id).is_none_or(|hidden_until| *hidden_until <= now);
        let of_queue = held.list.iter().filter(|batch| batch.queue.as_deref() == Some(queue));
        let received: Vec<FailedBatch> = of_queue.filter(is_visible).take(most).cloned().collect();
        held.hidden.extend(received.iter().map(|batch| (batch.id.clone(), now + hide_for)));
        received
    }

    /// Hides a batch for this long from now.
    pub(crate) fn hide(&self, id: &str, hide_for: Duration) {
        tellonce_fakes::lock_mutex(&self.held).hidden.insert(id.to_owned(), Instant::now() + hide_for);
    }

    pub(crate) fn delete(&self, id: &str) -> anyhow::Result<()> {
        let mut held = tellonce_fakes::lock_mutex(&self.held);
        held.append(&QueueLine::Deleted { deleted: id.to_owned() })?;
        held.list.retain(|batch| batch.id != id);
        held.hidden.remove(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(id: &str) -> FailedBatch {
        FailedBatch {
            id: id.to_owned(),
            queue: Some("failures".to_owned()),
            mapping: "OrderNotifier/Inbox".to_owned(),
            function: "order-notifier".to_owned(),
            at_ms: 0,
            attempts: 11,
            error: "broken".to_owned(),
            records: Vec::new(),
        }
    }

    #[test]
    fn a_received_batch_is_hidden_and_a_deleted_one_is_gone_after_a_restart_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failures.jsonl");
        let failures = FailureLog::open(Some(&path)).unwrap();
        for id in ["a", "b", "c"] {
            failures.add_batch(batch(id)).unwrap();
        }
        let receive = |most| -> Vec<String> {
            let received = failures.receive("failures", most, Duration::from_mins(10));
            received.into_iter().map(|batch| batch.id).collect()
        };
        assert!(failures.receive("other", 10, Duration::ZERO).is_empty());
        assert_eq!((receive(2), receive(2), receive(2).len()), (vec!["a".into(), "b".into()], vec!["c".into()], 0));
        failures.hide("a", Duration::ZERO);
        failures.delete("b").unwrap();
        assert_eq!(receive(10), ["a"]);
        let reopened = FailureLog::open(Some(&path)).unwrap().list_batches();
        assert_eq!(reopened.iter().map(|batch| batch.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }
}
