//! What a feed contains: the occurrences of a window.
//!
//! Main types: [`ParsedFeed`], [`FeedOccurrence`], [`TimeWindow`].

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    appointment::{AppointmentStatus, Attendee},
    contact::PhoneError,
};

use super::parse_error::IcsEventError;

/// A span of time that includes its start and excludes its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// The start, included.
    pub from: Timestamp,
    /// The end, excluded.
    pub until: Timestamp,
}

impl TimeWindow {
    /// Whether the window contains this moment.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// The content of a feed within a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedFeed {
    /// Every occurrence that begins in the window, by its id.
    pub occurrences: BTreeMap<String, FeedOccurrence>,
    /// The number of events in the body, inside and outside the window.
    pub event_count: usize,
    /// The `UID`s of events that could not be parsed, and why. Their occurrences are unknown.
    pub unparsed_events: BTreeMap<String, IcsEventError>,
}

impl ParsedFeed {
    /// Whether this id belongs to an event that could not be parsed.
    pub fn is_unparsed(&self, id: &str) -> bool {
        let uid = id.rsplit_once('/').map_or(id, |(uid, _)| uid);
        self.unparsed_events.contains_key(id) || self.unparsed_events.contains_key(uid)
    }
}

/// One occurrence. [`fmt::Debug`] shows neither names nor numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedOccurrence {
    /// When it begins.
    pub start: Timestamp,
    /// The IANA zone of its place.
    pub zone: String,
    /// Whether it takes place. Without a status it is booked.
    pub status: AppointmentStatus,
    /// The attendee, or why there is none who can be messaged.
    pub attendee: Result<Attendee, PhoneError>,
    /// What it is about.
    pub title: Option<String>,
    /// Where it takes place. A web address is not a place.
    pub place: Option<String>,
}

impl fmt::Debug for FeedOccurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedOccurrence")
            .field("start", &self.start)
            .field("zone", &self.zone)
            .field("status", &self.status)
            .field("attendee", &self.attendee)
            .finish_non_exhaustive()
    }
}
