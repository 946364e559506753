//! What a stack shows of the handover table of the provider: what was checked, and what was seen.
//!
//! Flow: [`ClientTables::read_evidence`] reads the facts, and asks a function for the health of
//! each line. `areas` judges them, without I/O.
//!
//! Promises: a check that was not made says so. No number, name, text or secret is in it. An id of
//! the provider that may contain a number is replaced by its hash.

mod areas;
mod check;
mod facts;

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::client_config::ClientConfig;

use crate::{
    client_stack::ClientStack,
    client_tables::ClientTables,
    table_scan::{ScanCost, ScanProgress},
};

pub use check::{EvidenceArea, EvidenceCheck, EvidenceResult};
pub use facts::EvidenceError;

/// What a stack shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StackEvidence {
    /// When it was read.
    pub at: Timestamp,
    /// The areas, in the order of the provider's table.
    pub areas: Vec<EvidenceArea>,
    /// What reading the ledger cost.
    pub ledger: ScanCost,
    /// What reading the events of the lines cost.
    pub line_events: ScanCost,
}

impl ClientTables {
    /// What the stack shows. Reads the whole ledger and all events of lines.
    pub async fn read_evidence(
        &self,
        stack: &ClientStack,
        config: &ClientConfig,
        on_progress: &ScanProgress<'_>,
    ) -> Result<StackEvidence, EvidenceError> {
        let facts = self.read_facts(stack, config, on_progress).await?;
        let (ledger, line_events) = (facts.ledger_cost, facts.event_cost);
        Ok(StackEvidence { at: facts.at, areas: areas::judge(&facts), ledger, line_events })
    }
}
