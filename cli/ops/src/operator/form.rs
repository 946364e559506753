//! Greets or drops the leads of a held form.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tellonce_core::replay::ReplayCommand;

use super::{
    access::{Progress, StackAccess},
    operator_error::OperatorError,
    replay::walk,
};
use crate::inbox_kind::InboxKind;

/// The outcome of a lead of a held form.
const HELD_OUTCOME: &str = "held-for-review";

/// What a command will do to a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormPlan {
    /// The form.
    pub form: String,
    /// Whether its leads are greeted; else they are dropped.
    pub greets: bool,
    /// How many deliveries with leads are held.
    pub held: usize,
}

/// The response of the function.
#[derive(Deserialize)]
struct Decided {
    released: usize,
    dropped: usize,
    more: bool,
}

pub(super) async fn plan(access: StackAccess<'_>, form: String, greets: bool) -> Result<FormPlan, OperatorError> {
    StackAccess::require_known("form", &form, access.list_senders(InboxKind::Forms))?;
    let held = ReplayCommand {
        sender: Some(form.clone()),
        outcome: Some(HELD_OUTCOME.to_owned()),
        dry_run: true,
        ..ReplayCommand::default()
    };
    let held = walk(access, InboxKind::Forms, held).await?.matches();
    Ok(FormPlan { form, greets, held })
}

/// Returns how many deliveries were released or dropped.
pub(super) async fn run(access: StackAccess<'_>, plan: &FormPlan) -> Result<usize, OperatorError> {
    let FormPlan { form, greets, .. } = plan;
    let command = if *greets { json!({ "release": form }) } else { json!({ "drop": form }) };
    let function = InboxKind::Forms.function();
    let mut decided = 0;
    loop {
        let Decided { released, dropped, more } = access.stack.command(function, &command).await?;
        decided += released + dropped;
        if !more {
            return Ok(decided);
        }
        (access.on_progress)(Progress { function, deliveries: decided });
    }
}
