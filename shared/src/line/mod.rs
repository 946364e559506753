//! The state that all functions share about a `WhatsApp` line.
//!
//! Main types: [`LineState`] keeps rate, last health, breaker and kill switch of each line in one
//! row of the ledger's table; [`SlotReservation`] is the outcome of one conditional write per send;
//! [`LineBlocked`] says why a line takes no message now; [`LineStatus`] is what operators should
//! know.
//!
//! Promises: no message is sent above the line's rate, over a stopped line, or while the breaker is
//! open. Does **not** cover the calls themselves ([`crate::provider`]).

mod line_state;

pub use line_state::{LineBlocked, LineState, LineStateError, LineStatus, SlotReservation, slot_interval};
