//! The ledger: one row per message, with what happened to it and what may still happen.
//!
//! Main types: a [`LedgerRow`] is one message under its [`IdempotencyKey`]; an
//! [`crate::appointment::Appointment`] heads the reminders of its subject; [`OutboundMessage`]
//! becomes a row; [`Ledger`] is the table.
//!
//! Flow: [`apply_change()`] says which state follows from a change; [`decide_message()`] says
//! whether a message may be sent, given all rows of its subject; [`Ledger`] writes the result and
//! holds no policy.
//!
//! Promises: one row per key. Every write names the version that it read, so a writer changes
//! nothing after its lease has ended. Only the owner of a claim writes to a claimed row. Does
//! **not** promise that the provider honours its idempotency key. "At most once" depends on that
//! key when a response is lost.

mod appointment_header;
mod claim;
mod data_walk;
mod delivery_status;
mod due_items;
mod erasure;
mod greeting_history;
mod idempotency_key;
mod item;
mod known_queues;
mod lead_rate;
mod outbound_message;
mod pseudonym_key;
mod resend;
mod row;
mod row_erasure;
mod sent_messages;
mod subject_rows;
mod table;
mod trail;
mod transition;
mod verdict;

pub use claim::{ClaimOutcome, ReminderDay};
pub use delivery_status::DeliveryStatus;
pub use due_items::{DueItem, DueKind};
pub use erasure::{Erasure, ErasureCause};
pub use greeting_history::ContactState;
pub use idempotency_key::{IdempotencyKey, MAX_KEY_LENGTH, MESSAGE_KINDS};
pub use item::{LedgerItemError, NEEDS_PERSON_QUEUE};
pub use known_queues::{
    KNOWN_QUEUES_SUBJECT, crm_queue_name, destination_queues, known_queue_names, refused_queue_name, target_queue_name,
};
pub use outbound_message::{Content, OutboundMessage};
pub use resend::{ResendDecision, ResendOutcome, ResendRefused, resend_row};
#[cfg(test)]
pub(crate) use row::waiting_row;
pub use row::{ClaimOwner, Consent, LedgerRow, MessageContext, MessageState};
pub use row_erasure::{ErasureResult, LedgerEntry, LedgerPosition, RowInUse};
pub use subject_rows::{SubjectRows, read_rows, read_subject};
pub use table::{Ledger, LedgerError, OpenOutcome, QueueKind, SaveOutcome};
pub use trail::{Reason, StepCode};
pub use transition::{RowChange, TransitionRefused, apply_change};
pub use verdict::{MessageVerdict, decide_message};
