//! The names of queues that were ever configured: `queues` / `lines` and `queues` / `destinations`.
//!
//! The index of due items is read by the name of a queue. If a line, a CRM or a target is removed
//! from the configuration, what waits for it is found by the name that is kept here.

use std::{collections::BTreeSet, sync::PoisonError};

use aws_sdk_dynamodb::types::AttributeValue as Value;

use super::{
    Ledger, LedgerError,
    table::{Consistency, QueueKind},
};

const SUBJECT: &str = "queues";
const NAMES: &str = "queue_names";

/// The queue in which refused tasks of a queue wait for an operator.
pub fn refused_queue_name(queue: &str) -> String {
    format!("refused:{queue}")
}

impl Ledger {
    /// All queues of a kind that are or were configured. Remembers those that are. The table is
    /// read once in each process: another configuration comes with another process.
    pub async fn remember_queues(
        &self,
        kind: QueueKind,
        configured: BTreeSet<String>,
    ) -> Result<BTreeSet<String>, LedgerError> {
        if let Some(all) = self.known_queues.lock().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            return Ok(all.clone());
        }
        let item = self.get_item_with(SUBJECT, kind.stage(), Consistency::Eventual).await?;
        let known: BTreeSet<String> =
            item.as_ref().and_then(|item| item.get(NAMES)?.as_ss().ok()).into_iter().flatten().cloned().collect();
        let all: BTreeSet<String> = known.union(&configured).cloned().collect();
        if all != known {
            self.db
                .update_item()
                .table_name(&self.table)
                .key("subject", Value::S(SUBJECT.to_owned()))
                .key("stage", Value::S(kind.stage().to_owned()))
                // A set is added to, so two invocations lose no name.
                .update_expression("ADD #names :names")
                .expression_attribute_names("#names", NAMES)
                .expression_attribute_values(":names", Value::Ss(configured.into_iter().collect()))
                .send()
                .await
                .map_err(|error| LedgerError::Update(Box::new(error)))?;
        }
        self.known_queues.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, all.clone());
        Ok(all)
    }
}
