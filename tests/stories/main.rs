//! Stories through the whole house: the real function binaries, as processes, against the embedded `DynamoDB` and the
//! fake `EZWhatsApp`.
//!
//! A story starts a [`start_world::World`], posts what a store would post, lets time pass, and looks at the customer's phone
//! and at the ledger. Nothing in a story sleeps for time to pass: the functions' clock is moved.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod architecture;
mod bad_input;
mod booking_endpoint;
mod budget;
mod calendars;
mod console;
mod conversations;
mod lead_endpoint;
mod leads;
mod lookups;
mod order_updates;
mod outages;
mod privacy;
mod reminders;
mod storm;
mod world;
