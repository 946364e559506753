//! The on-failure queue: batches that were given up, for people and tests.
//!
//! The queue is in memory, and in a file of JSON lines if the stack has a state folder. It survives
//! a restart, because a given-up record is the last trace of an accepted delivery.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// All batches that were given up.
#[derive(Debug)]
pub struct FailureLog {
    file: Option<PathBuf>,
    list: Mutex<Vec<FailedBatch>>,
}

impl FailureLog {
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut list = Vec::new();
        if let Some(path) = file.filter(|path| path.exists()) {
            let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
            // A kill may cut a line short. Its batch is not done yet and is delivered again.
            list.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
        }
        Ok(Self { file: file.map(Path::to_owned), list: Mutex::new(list) })
    }

    /// All batches, oldest first.
    pub fn list_batches(&self) -> Vec<FailedBatch> {
        tellonce_fakes::lock_mutex(&self.list).clone()
    }

    pub(super) fn add_batch(&self, failed: FailedBatch) -> anyhow::Result<()> {
        let mut list = tellonce_fakes::lock_mutex(&self.list);
        if let Some(path) = &self.file {
            let mut line = serde_json::to_string(&failed)?;
            line.push('\n');
            let file = File::options().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes()))
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        list.push(failed);
        Ok(())
    }
}
