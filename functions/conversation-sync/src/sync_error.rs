//! Why a delivery or a due row could not be processed.

use tellonce_core::{
    dispatch::DispatchError,
    fault::{ClassifyFault, Fault, error_chain},
    inbox::InboxError,
    ledger::LedgerError,
};

use crate::record_store::RecordStoreError;

/// A delivery or a due row could not be processed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error(transparent)]
    Store(#[from] RecordStoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

impl ClassifyFault for SyncError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Dispatch(error) => error.fault(),
            Self::Inbox(error) => error.fault(),
        }
    }
}

/// A result, or `None` if only a newer version of tellonce can read a row. The log names what could
/// not be done then.
pub(crate) fn unless_newer_version<T, E: ClassifyFault>(action: &str, result: Result<T, E>) -> Result<Option<T>, E> {
    match result {
        Err(error) if error.fault() == Fault::NewerVersion => {
            tracing::warn!("could not {action}: {}", error_chain(&error));
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// The error of several steps that must not stop each other. An error that may pass counts most,
/// because its delivery must be processed again; then one that a newer version would not have.
#[derive(Default)]
pub(crate) struct StepErrors(Option<SyncError>);

impl StepErrors {
    /// Keeps the error of a step, or returns its value.
    pub(crate) fn collect<T>(&mut self, result: Result<T, SyncError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let weight = |error: &SyncError| match error.fault() {
                    Fault::Permanent => 0,
                    Fault::NewerVersion => 1,
                    Fault::Transient | Fault::Ambiguous => 2,
                };
                if self.0.as_ref().is_none_or(|kept| weight(kept) < weight(&error)) {
                    self.0 = Some(error);
                }
                None
            }
        }
    }

    pub(crate) fn into_result(self) -> Result<(), SyncError> {
        self.0.map_or(Ok(()), Err)
    }
}
