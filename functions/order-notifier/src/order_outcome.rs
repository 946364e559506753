//! The outcome of an order delivery that the ledger's row does not explain.

use std::fmt;

use tellonce_core::ledger::{IdempotencyKey, MessageState};

use crate::order_event::SkipReason;

/// Why a delivery led to no new message. `Display` writes the text that is stored with the
/// delivery: a stable code, a colon and an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderOutcome {
    /// The configuration has no store of this name any more.
    StoreRemoved,
    /// The delivery or the lookup contains no event to send.
    Skipped(SkipReason),
    /// The customer gets no message about the event. Holds the reason that its row has too.
    NotSent(String),
    /// The message's row is already in the ledger, in this state.
    AlreadyKnown(IdempotencyKey, MessageState),
    /// The message's row is already in the ledger, in this state and with another text.
    PayloadConflict(IdempotencyKey, MessageState),
}

impl fmt::Display for OrderOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StoreRemoved => f.write_str("store-removed: this store is not in the configuration any more"),
            Self::Skipped(reason) => f.write_str(&reason.to_outcome()),
            Self::NotSent(reason) => f.write_str(reason),
            Self::AlreadyKnown(key, state) => write!(f, "already-known: {key} is {} in the ledger", state.name()),
            Self::PayloadConflict(key, state) => {
                write!(f, "already-known: {key} is {} in the ledger, with another text", state.name())
            }
        }
    }
}
