//! Stories through the whole house: the real function binaries, as processes, against the embedded `DynamoDB` and the
//! fake `EZWhatsApp`.
//!
//! A story starts a [`world::World`], posts what a store would post, lets time pass, and looks at the customer's phone
//! and at the ledger. Nothing in a story sleeps for time to pass: the functions' clock is moved.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod bad_input;
mod bookings_door;
mod budget;
mod calendars;
mod console;
mod conversations;
mod house;
mod leads;
mod leads_door;
mod lookups;
mod outages;
mod privacy;
mod reminders;
mod storm;
mod telling;
mod world;
