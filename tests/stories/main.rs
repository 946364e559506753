//! Stories: tests of the whole system. They run the real function binaries as processes, against
//! the embedded `DynamoDB` and the fake provider.
//!
//! A story starts a [`world::World`], posts deliveries as a sender would, lets time pass, and
//! checks the customer's phone and the ledger. A story does not sleep: it moves the functions'
//! clock.
//!
//! Seven modules check the sources instead: [`architecture`], [`builds`], [`figures`], [`modules`],
//! [`recipes`], [`reference_pages`] and [`words`].

#![expect(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod activity;
mod architecture;
mod assistant;
mod bad_input;
mod booking_endpoint;
mod budget;
mod builds;
mod calendars;
mod command_line;
mod console;
mod conversations;
mod costs;
mod deployment;
mod evidence;
mod explain;
mod feeds;
mod figures;
mod first_hour;
mod gauges;
mod heartbeats;
mod lead_endpoint;
mod leads;
mod line_contents;
mod local_access;
mod local_run;
mod lookups;
mod modules;
mod official_libraries;
mod operator;
mod order_updates;
mod outages;
mod overview;
mod pages;
mod person;
mod privacy;
mod real_systems;
mod recipes;
mod reference_pages;
mod reminders;
mod replays;
mod reports;
mod resends;
mod restarts;
mod secrets;
mod slow_systems;
mod sources;
mod storm;
mod two_versions;
mod words;
mod world;
