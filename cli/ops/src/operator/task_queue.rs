//! Lets the refused tasks of a CRM or a target wait again.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tellonce_core::ledger::{destination_queues, refused_queue_name};

use super::{
    access::{Progress, StackAccess},
    operator_error::OperatorError,
};
use crate::inbox_kind::InboxKind;

/// What a command will do to a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetryPlan {
    /// The queue: `crm:sales`, `target:team`.
    pub queue: String,
    /// How many of its tasks are refused.
    pub refused: usize,
}

/// The response of the function.
#[derive(Deserialize)]
struct Retried {
    retried: usize,
    more: bool,
}

pub(super) async fn plan(access: StackAccess<'_>, queue: String) -> Result<RetryPlan, OperatorError> {
    let known = destination_queues(access.config);
    StackAccess::require_known("queue", &queue, known.iter().map(String::as_str))?;
    let refused = access.tables.count_due(&refused_queue_name(&queue), None).await?;
    Ok(RetryPlan { queue, refused })
}

/// Returns how many tasks wait again.
pub(super) async fn run(access: StackAccess<'_>, plan: &RetryPlan) -> Result<usize, OperatorError> {
    let function = InboxKind::Lines.function();
    let mut all = 0;
    loop {
        let Retried { retried, more } = access.stack.command(function, &json!({ "retry": plan.queue })).await?;
        all += retried;
        // A run without any would not end either.
        if !more || retried == 0 {
            return Ok(all);
        }
        (access.on_progress)(Progress { function, deliveries: all });
    }
}
