//! Calendar feeds: calendars that post nothing, and are asked for what they hold again and again.
//!
//! The way of a feed: [`Poller::poll`] asks for those that are due (`fetch`); [`ics::read`] says which occurrences lie in
//! the [`window`]; [`diff::compare`] holds them against what is remembered of the last good read
//! ([`shared::feed::Memory`]), and what changed is handed on as reports, like those of any booking system.
//!
//! Promises: what could not be had or read, or is too unlikely, cancels nothing, and is written down with its reason and
//! counted; a crash at any point only repeats reports; of two who look at one feed at the same time, the later look
//! counts. A feed says what is and not since when, so a fact is as old as the look that found it, and what was booked and
//! cancelled between two looks was never there.

pub mod diff;
mod event;
mod fetch;
pub mod ics;
mod lines;
mod poll;
mod rule;
mod series;
#[cfg(test)]
mod tests;
mod zone;

pub use fetch::UnreadableFeed;
pub use poll::{Polled, Poller, window};
