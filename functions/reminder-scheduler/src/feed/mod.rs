//! Calendar feeds: calendars that post nothing and are read on a schedule.
//!
//! Flow:
//!
//! 1. [`FeedPoller::poll_feeds`] fetches the feeds that are due.
//! 2. [`ics::parse_feed`] parses the occurrences of a window ([`build_window`]).
//! 3. [`diff::compare_feed`] finds which known occurrences they are (`identity`), and compares them
//!    with the last accepted read ([`tellonce_core::feed::FeedSnapshot`]).
//! 4. The changes are handed on as reports, like those of any booking system.
//!
//! Main types: [`FeedPoller`], [`PollSummary`], [`ParsedFeed`], [`diff::FeedVerdict`].
//!
//! Promises:
//!
//! - A feed that could not be fetched or parsed, or is suspect, cancels nothing. The reason is
//!   stored and counted.
//! - An event that the client did not make is not an appointment.
//! - A feed cannot make more new appointments in a day than the client allows.
//! - A crash at any point only repeats reports.
//! - If two readers read one feed at the same time, the later read counts.
//!
//! A feed contains the current state and no times of change. So a fact is as old as the read that
//! found it, and an appointment that is booked and cancelled between two reads is never seen.

mod called_off;
mod charset;
pub mod diff;
mod event;
mod feed_zones;
mod fetch;
pub mod ics;
mod ics_time;
mod identity;
#[cfg(test)]
mod identity_samples;
mod label;
#[cfg(test)]
mod memory;
mod occurrence;
mod organizer;
mod outline;
mod parse_error;
mod poller;
mod recurrence_rule;
mod revisions;
mod series;
#[cfg(test)]
mod tests;
mod text_lines;
mod time_property;
#[cfg(test)]
mod unusual_samples;
mod zone;

pub(crate) use fetch::FETCH_TIMEOUT;
pub use fetch::FeedFetchError;
pub use occurrence::{FeedOccurrence, FeedScope, KnownIds, ParsedFeed, TimeWindow};
pub use organizer::{ForeignEvent, OrganizerAddress};
pub use parse_error::{FeedParseError, IcsEventError, IgnoredEvent};
pub use poller::{FeedPoller, PollSummary, build_window};
