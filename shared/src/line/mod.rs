//! A `WhatsApp` line: whether it can send, at what pace, and the sending itself.
//!
//! The cast: [`Ezw`] speaks HTTP to `EZWhatsApp` and turns answers into [`SendOutcome`]s; [`Health`] is what it says of
//! a line, with a strict gate; [`Desk`] keeps what all functions share about a line (pace, last health, breaker, kill
//! switch) in one row of the ledger's table, reserved with one conditional write per send.
//!
//! Promises: no send without an idempotency key, none to a line that is not known to be good, none above the line's
//! pace. Facts `EZWhatsApp` does not publish are constants here, each with its reason.

mod desk;
mod ezw;
mod health;

pub use desk::{Closed, Desk, DeskError, Reservation, interval};
pub use ezw::{Ezw, EzwError, MEDIA_FIELDS, Message, SEND_TIMEOUT, SendOutcome};
pub use health::{HEALTH_GOOD_SECONDS, Health};
