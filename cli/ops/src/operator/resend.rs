//! Sends a message again that ended without having been sent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tellonce_core::ledger::{IdempotencyKey, ResendDecision, read_rows, resend_row};

use super::{access::StackAccess, line_test::TESTING_FUNCTION, operator_error::OperatorError};
use crate::{client_tables::OpsError, report::report_message};

/// What a command will do to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResendPlan {
    /// Its key.
    pub key: String,
    /// Its line.
    pub line: String,
    /// The number, masked.
    pub to: Option<String>,
    /// Its state now: `refused`, `expired`, `needs-human`.
    pub state: &'static str,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// Until when it is useful then.
    pub useful_until: Timestamp,
    /// Whether the time is a new one.
    pub has_new_time: bool,
    /// Whether a person looked into the conversation and did not find it.
    pub is_absent: bool,
    /// The version of the row. If it changes, nothing is done.
    pub version: u64,
}

/// The response of the function.
#[derive(Deserialize)]
struct Resent {
    resent: String,
}

pub(super) async fn plan(
    access: StackAccess<'_>,
    name: String,
    decision: ResendDecision,
) -> Result<ResendPlan, OperatorError> {
    let not_found = || OperatorError::from(OpsError::NotFound(name.clone()));
    let key = IdempotencyKey::parse(&name).filter(IdempotencyKey::is_of_message).ok_or_else(not_found)?;
    let rows = read_rows(&access.tables.db, &access.tables.names.ledger, &[key]).await.map_err(OpsError::from)?;
    let row = rows.messages.first().ok_or_else(not_found)?;
    let next = resend_row(row, decision, access.stack.now())
        .map_err(|refused| OperatorError::NotResent { key: name.clone(), refused })?;
    let report = report_message(row, &[]);
    Ok(ResendPlan {
        key: report.key,
        line: report.line,
        to: report.to,
        state: report.state,
        reason: report.reason,
        useful_until: next.useful_until,
        has_new_time: decision.useful_until.is_some(),
        is_absent: decision.is_absent,
        version: row.version,
    })
}

/// Returns the key of the message.
pub(super) async fn run(access: StackAccess<'_>, plan: &ResendPlan) -> Result<String, OperatorError> {
    let useful_until = plan.has_new_time.then_some(plan.useful_until);
    let command = json!({ "resend": {
        "key": plan.key, "version": plan.version, "useful_until": useful_until, "is_absent": plan.is_absent,
    }});
    let Resent { resent } = access.stack.command(TESTING_FUNCTION, &command).await?;
    Ok(resent)
}
