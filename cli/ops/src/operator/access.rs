//! What the commands of an operator need: the stack, its tables and the client's settings.

use tellonce_core::{client_config::ClientConfig, inbox::Inbox, line::LineState};

use super::operator_error::OperatorError;
use crate::{client_stack::ClientStack, client_tables::ClientTables, inbox_kind::InboxKind};

/// How far a command is that needs several invocations of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The function.
    pub function: &'static str,
    /// How many deliveries it listed or changed until now.
    pub deliveries: usize,
}

/// A stack with the settings of its client.
#[derive(Clone, Copy)]
pub(super) struct StackAccess<'a> {
    pub(super) stack: &'a ClientStack,
    pub(super) tables: &'a ClientTables,
    pub(super) config: &'a ClientConfig,
    pub(super) on_progress: &'a (dyn Fn(Progress) + Sync),
}

impl StackAccess<'_> {
    /// The names of the senders of an inbox.
    pub(super) fn list_senders(&self, kind: InboxKind) -> Vec<&str> {
        kind.list_senders(self.config)
    }

    pub(super) fn inbox(&self, kind: InboxKind) -> Inbox {
        let days = self.config.retention.inbox_days;
        Inbox::new(self.stack.dynamodb.clone(), self.tables.inbox_table(kind).to_owned(), days)
    }

    pub(super) fn line_state(self) -> LineState {
        LineState::new(self.stack.dynamodb.clone(), self.tables.names.ledger.clone())
    }

    /// Checks that a name is configured.
    pub(super) fn require_known<'n>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), OperatorError> {
        let known: Vec<&str> = known.into_iter().collect();
        if known.contains(&name) {
            return Ok(());
        }
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        Err(OperatorError::UnknownName { what, name: name.to_owned(), known })
    }
}
