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
use crate::{attributes::Item, client_config::ClientConfig};

/// The subject of the two rows.
pub const KNOWN_QUEUES_SUBJECT: &str = "queues";
const NAMES: &str = "queue_names";

/// The queue of a CRM.
pub fn crm_queue_name(name: &str) -> String {
    format!("crm:{name}")
}

/// The queue of a target.
pub fn target_queue_name(name: &str) -> String {
    format!("target:{name}")
}

/// The queues of the CRMs and the targets that are configured.
pub fn destination_queues(config: &ClientConfig) -> BTreeSet<String> {
    let crms = config.crms.keys().map(|name| crm_queue_name(name));
    crms.chain(config.targets.keys().map(|name| target_queue_name(name))).collect()
}

/// The names in a row; none if there is no row yet.
pub fn known_queue_names(row: Option<&Item>) -> BTreeSet<String> {
    row.and_then(|item| item.get(NAMES)?.as_ss().ok()).into_iter().flatten().cloned().collect()
}

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
        let item = self.get_item_with(KNOWN_QUEUES_SUBJECT, kind.stage(), Consistency::Eventual).await?;
        let known = known_queue_names(item.as_ref());
        let all: BTreeSet<String> = known.union(&configured).cloned().collect();
        if all != known {
            self.db
                .update_item()
                .table_name(&self.table)
                .key("subject", Value::S(KNOWN_QUEUES_SUBJECT.to_owned()))
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
