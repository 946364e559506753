//! The on-failure queue: batches that were given up, for people and tests.
//!
//! The queue is in memory, and in a file of JSON lines if the stack has a state folder. It survives
//! a restart, because a given-up record is the last trace of an accepted delivery.

use std::{path::Path, sync::Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tellonce_fakes::json_lines::JsonLines;

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
    /// The records. SQS would not get them.
    pub records: Vec<Value>,
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
