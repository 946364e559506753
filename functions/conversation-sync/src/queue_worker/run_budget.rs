//! How much one invocation may work on the queues.

use std::{collections::BTreeSet, time::Duration};

use tellonce_core::{clock::Deadline, dispatch::Invocation};

/// With less time left than this no task is started: most tasks take at most three calls.
const MIN_TIME_PER_TASK: Duration = Duration::from_secs(35);

/// How long and on what one invocation may work.
#[derive(Debug)]
pub struct RunBudget<'a> {
    /// The owner of leases and claims, and its deadline.
    pub invocation: &'a Invocation,
    /// When to start no further task: a slow CRM or target must not delay the records behind it.
    pub stop_at: Deadline,
    /// Whether to deliver all due tasks, or only new ones.
    pub include_due_tasks: bool,
    /// The queues in which nothing waits.
    pub empty_queues: BTreeSet<String>,
}

impl RunBudget<'_> {
    pub(super) fn has_time(&self) -> bool {
        self.invocation.deadline.remaining() > MIN_TIME_PER_TASK && !self.stop_at.remaining().is_zero()
    }

    pub(super) fn lease_owner(&self) -> &str {
        &self.invocation.owner.0
    }
}
