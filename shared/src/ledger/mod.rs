//! The ledger: what was told, what waits to be told, and what must not be told any more.
//!
//! The cast: a [`Row`] is one message under its idempotency [`Key`]; an [`crate::appointment::Appointment`] heads the
//! reminders of its subject; [`transition()`] says what may become of it;
//! [`decide()`] whether it may be sent beside the rest of its subject's story; [`Ledger`] executes both against the
//! table and holds no policy of its own.
//!
//! Promises: one row per key; every write names the version it read, so a writer that slept past its lease changes
//! nothing; every write after a claim is the owner's. Does **not** promise that `EZWhatsApp` honours its idempotency key,
//! on which "told at most once" rests when an answer is lost.

mod claim;
mod decide;
mod fate;
mod header;
mod heard;
mod intake;
mod item;
mod key;
mod news;
mod row;
mod store;
mod told;
mod transition;

#[cfg(test)]
mod model;

pub use claim::{Claim, contact_subject};
pub use decide::{Verdict, decide};
pub use fate::{Fate, Reached};
pub use key::{Key, MAX_KEY_LENGTH};
pub use news::{News, QUIET_HOURS, SPOKEN_ZONE, Words};
pub use row::{Context, Owner, Payload, Route, Row, State};
pub use store::{Due, Ledger, LedgerError, Opened, Saved, Waiting};
pub use transition::{Change, MAX_ATTEMPTS, NotNow, UNKNOWN_WINDOW, transition};
