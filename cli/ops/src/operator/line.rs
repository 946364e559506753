//! Stops and starts a line, and drops what waits for it.

use serde::Serialize;
use tellonce_core::ledger::MessageState;

use super::{access::StackAccess, operator_error::OperatorError};

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineAction {
    /// Nothing is sent from now on.
    Hold,
    /// Messages are sent again.
    Release,
    /// Messages that wait now are never sent.
    Drop,
}

/// What a command will do to a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinePlan {
    /// What happens.
    pub action: LineAction,
    /// The line.
    pub line: String,
    /// Why it is stopped now; `None` if it is not.
    pub stopped: Option<String>,
    /// How many messages wait and were not submitted.
    pub waiting: usize,
    /// How many messages may have arrived. They are tried again under their keys, and not dropped.
    pub unknown: usize,
    /// How many messages a minute go out at most.
    pub messages_per_minute: u32,
}

pub(super) async fn plan(access: StackAccess<'_>, action: LineAction, line: String) -> Result<LinePlan, OperatorError> {
    StackAccess::require_known("line", &line, access.config.lines.keys().map(String::as_str))?;
    let messages_per_minute = access.config.lines[&line].messages_per_minute;
    let stopped = access.line_state().read_stop(&line).await?;
    let waiting = access.tables.count_due(&line, Some(MessageState::Held)).await?;
    let unknown = access.tables.count_due(&line, Some(MessageState::Unknown)).await?;
    Ok(LinePlan { action, line, stopped, waiting, unknown, messages_per_minute })
}

/// `because` is the reason of a hold.
pub(super) async fn run(access: StackAccess<'_>, plan: &LinePlan, because: &str) -> Result<(), OperatorError> {
    let state = access.line_state();
    match plan.action {
        LineAction::Hold => state.stop(&plan.line, because).await?,
        LineAction::Release => state.start(&plan.line).await?,
        LineAction::Drop => state.drop_waiting(&plan.line, access.stack.now()).await?,
    }
    Ok(())
}
