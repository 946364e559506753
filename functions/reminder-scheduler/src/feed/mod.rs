//! Calendar feeds: calendars that post nothing, and are asked for what they hold again and again.
//!
//! The way of a feed: [`FeedPoller::poll`] asks for those that are due (`fetch_feed`); [`ics::read`] says which occurrences lie in
//! the [`window`]; [`diff::compare_feed`] holds them against what is remembered of the last good read
//! ([`tellonce_core::feed::FeedSnapshot`]), and what changed is handed on as reports, like those of any booking system.
//!
//! Promises: what could not be had or read, or is too unlikely, cancels nothing, and is written down with its reason and
//! counted; a crash at any point only repeats reports; of two who look at one feed at the same time, the later look
//! counts. A feed says what is and not since when, so a fact is as old as the look that found it, and what was booked and
//! cancelled between two looks was never there.

pub mod diff;
mod event;
mod fetch;
pub mod ics;
mod poller;
mod recurrence_rule;
mod series;
#[cfg(test)]
mod tests;
mod text_lines;
mod zone;

pub use fetch::FeedFetchError;
pub use poller::{FeedPoller, PollSummary, build_window};
