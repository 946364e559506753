//! Why a privacy request was not carried out as a whole.

use tellonce_core::{contact::PhoneError, ledger::LedgerError, person::PersonError};

use crate::record_store::RecordStoreError;

/// A privacy request was not carried out as a whole. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum PersonSearchError {
    /// The command is not usable, or the inbox failed.
    #[error(transparent)]
    Person(#[from] PersonError),
    /// The command names no number.
    #[error(transparent)]
    InvalidPhone(#[from] PhoneError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The table failed.
    #[error(transparent)]
    Store(#[from] RecordStoreError),
}
