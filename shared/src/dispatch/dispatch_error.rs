//! Why dispatching a message failed.

use crate::{
    fault::{ClassifyFault, Fault},
    ledger::{IdempotencyKey, LedgerError},
    line::LineStateError,
};

/// Dispatching failed in the middle. The sweep finds a claimed row when its lease ends.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The line's row could not be read or written.
    #[error(transparent)]
    LineState(#[from] LineStateError),
    /// Other invocations kept writing the same row.
    #[error("could not update message {0}: too many conflicting writes")]
    TooManyConflicts(IdempotencyKey),
    /// The ledger names a line that the configuration does not know.
    #[error("message {key} is for the line `{line}`, which is not configured; add [lines.{line}] and deploy")]
    UnknownLine {
        /// Its key.
        key: IdempotencyKey,
        /// The line.
        line: String,
    },
}

impl ClassifyFault for DispatchError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ledger(error) => error.fault(),
            Self::LineState(error) => error.fault(),
            Self::TooManyConflicts(_) => Fault::Transient,
            Self::UnknownLine { .. } => Fault::Permanent,
        }
    }
}
