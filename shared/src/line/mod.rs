//! A `WhatsApp` line: whether it can send, at what pace, and the sending itself.
//!
//! The cast: [`EzwClient`] speaks HTTP to `EZWhatsApp` and turns answers into [`SendOutcome`]s; [`LineHealth`] is what it says of
//! a line, with a strict gate; [`LineState`] keeps what all functions share about a line (pace, last health, breaker, kill
//! switch) in one row of the ledger's table, reserved with one conditional write per send.
//!
//! Promises: no send without an idempotency key, none to a line that is not known to be good, none above the line's
//! pace. Facts `EZWhatsApp` does not publish are constants here, each with its reason.

mod ezw;
mod health;
mod line_state;

pub use ezw::{EzwClient, EzwMessage, EzwMessageError, MEDIA_FIELDS, SEND_TIMEOUT, SendOutcome};
pub use health::{HEALTH_VALID_SECONDS, LineHealth};
pub use line_state::{LineBlocked, LineState, LineStateError, SlotReservation, slot_interval};
