//! Records that a person settled what a message or a delivery needed.

use serde::Serialize;

use super::{access::StackAccess, operator_error::OperatorError};
use crate::needs::Need;

/// What a command will take from the list of what needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DonePlan {
    /// What is settled.
    pub need: Need,
}

pub(super) async fn plan(access: StackAccess<'_>, name: String) -> Result<DonePlan, OperatorError> {
    match access.tables.find_need(&name).await? {
        Some(need) => Ok(DonePlan { need }),
        None => Err(OperatorError::NeedsNobody(name)),
    }
}

pub(super) async fn run(access: StackAccess<'_>, plan: &DonePlan) -> Result<(), OperatorError> {
    let name = &plan.need.name;
    if access.tables.settle_need(name, access.stack.now()).await? {
        return Ok(());
    }
    Err(OperatorError::NeedsNobody(name.clone()))
}
