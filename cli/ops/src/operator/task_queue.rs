//! Lets the refused tasks of a CRM or a target wait again, or drops what is not done yet.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tellonce_core::ledger::{destination_queues, refused_queue_name};

use super::{
    access::{Progress, StackAccess},
    operator_error::OperatorError,
};
use crate::inbox_kind::InboxKind;

/// What happens to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueAction {
    /// Its refused tasks wait again.
    Retry,
    /// Its waiting and its refused tasks are never done.
    Drop,
}

/// What a command will do to a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueuePlan {
    /// What happens.
    pub action: QueueAction,
    /// The queue: `crm:sales`, `target:team`.
    pub queue: String,
    /// How many of its tasks wait, or are attempted now.
    pub waiting: usize,
    /// How many of its tasks are refused.
    pub refused: usize,
}

/// The response of the function.
#[derive(Deserialize)]
struct ChangedTasks {
    #[serde(alias = "retried", alias = "dropped")]
    tasks: usize,
    more: bool,
}

impl QueuePlan {
    /// Whether the command would change no task.
    pub(super) fn changes_nothing(&self) -> bool {
        match self.action {
            QueueAction::Retry => self.refused == 0,
            QueueAction::Drop => self.waiting + self.refused == 0,
        }
    }
}

pub(super) async fn plan(
    access: StackAccess<'_>,
    action: QueueAction,
    queue: String,
) -> Result<QueuePlan, OperatorError> {
    let waiting = access.tables.count_due(&queue, None).await?;
    let refused = access.tables.count_due(&refused_queue_name(&queue), None).await?;
    let plan = QueuePlan { action, queue, waiting, refused };
    // The tasks of a CRM or a target that client.toml no longer has can only be dropped.
    if action == QueueAction::Retry || plan.changes_nothing() {
        let known = destination_queues(access.config);
        StackAccess::require_known("queue", &plan.queue, known.iter().map(String::as_str))?;
    }
    Ok(plan)
}

/// Returns how many tasks wait again or are dropped.
pub(super) async fn run(access: StackAccess<'_>, plan: &QueuePlan) -> Result<usize, OperatorError> {
    let function = InboxKind::Lines.function();
    let command = match plan.action {
        QueueAction::Retry => json!({ "retry": plan.queue }),
        QueueAction::Drop => json!({ "drop": plan.queue }),
    };
    let mut all = 0;
    loop {
        let ChangedTasks { tasks, more } = access.stack.command(function, &command).await?;
        all += tasks;
        // A run without any would not end either.
        if !more || tasks == 0 {
            return Ok(all);
        }
        (access.on_progress)(Progress { function, deliveries: all });
    }
}
