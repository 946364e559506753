//! The ledger: what was told, what waits to be told, and what must not be told any more.
//!
//! The cast: a [`Row`] is one message under its idempotency [`IdempotencyKey`]; an [`crate::appointment::Appointment`] heads the
//! reminders of its subject; [`apply_change()`] says what may become of it;
//! [`decide()`] whether it may be sent beside the rest of its subject's story; [`Ledger`] executes both against the
//! table and holds no policy of its own.
//!
//! Promises: one row per key; every write names the version it read, so a writer that slept past its lease changes
//! nothing; every write after a claim is the owner's. Does **not** promise that `EZWhatsApp` honours its idempotency key,
//! on which "told at most once" rests when an answer is lost.

mod appointment_header;
mod claim;
mod contact_subject;
mod delivery_status;
mod greeting_history;
mod idempotency_key;
mod item;
mod lead_rate;
mod outbound_message;
mod row;
mod sent_messages;
mod table;
mod transition;
mod verdict;

#[cfg(test)]
mod model;

pub use claim::ClaimOutcome;
pub use contact_subject::contact_subject;
pub use delivery_status::{DeliveryProgress, DeliveryStatus};
pub use idempotency_key::{IdempotencyKey, MAX_KEY_LENGTH};
pub use outbound_message::{Content, OutboundMessage, QUIET_HOURS_REASON, TEXT_TIME_ZONE};
pub use row::{ClaimOwner, LedgerRow, MessageContext, MessageState};
pub use table::{DueItem, DueKind, Ledger, LedgerError, OpenOutcome, SaveOutcome};
pub use transition::{RowChange, TransitionRefused, apply_change};
pub use verdict::{MessageVerdict, decide_message};
