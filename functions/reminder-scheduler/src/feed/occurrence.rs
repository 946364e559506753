//! What a feed contains: the occurrences of a window, and what it is read with.
//!
//! Main types: [`ParsedFeed`], [`FeedOccurrence`], [`FeedScope`], [`TimeWindow`].

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    appointment::{AppointmentStatus, Attendee},
    client_config::{CalendarConfig, ClientConfig, FeedRule},
    contact::PhoneError,
};

use super::{organizer::ForeignEvent, parse_error::IcsEventError};

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

/// What a feed is read with.
#[derive(Clone, Copy)]
pub struct FeedScope<'a> {
    /// The rules of the feed.
    pub rule: &'a FeedRule,
    /// Its calendar.
    pub calendar: &'a CalendarConfig,
    /// The client.
    pub config: &'a ClientConfig,
    /// The occurrences to find.
    pub window: TimeWindow,
    /// Whether the id of an occurrence is known. Known occurrences are found outside the window
    /// too.
    pub is_known: &'a dyn Fn(&str) -> bool,
    /// The id of the calendar in the feed's address. It is its owner if it is an e-mail address.
    pub calendar_id: Option<&'a str>,
    /// The character set in the response's `Content-Type`. Without one, the body is UTF-8.
    pub charset: Option<&'a str>,
}

/// The content of a feed within a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedFeed {
    /// Every occurrence that begins in the window and has an attendee or is known, by its id.
    pub occurrences: BTreeMap<String, FeedOccurrence>,
    /// The number of events in the body, inside and outside the window.
    pub event_count: usize,
    /// The `UID`s of events that could not be parsed, and why. Their occurrences are unknown.
    pub unparsed_events: BTreeMap<String, IcsEventError>,
    /// Some of the unknown occurrences in the window without an attendee who can be messaged, by
    /// their id: when each begins, and why it has none.
    pub unreachable: BTreeMap<String, (Timestamp, PhoneError)>,
    /// The `UID`s of events that the client did not make. They have no occurrences.
    pub foreign_events: BTreeMap<String, ForeignEvent>,
}

impl ParsedFeed {
    /// Whether this id belongs to an event that could not be parsed.
    pub fn is_unparsed(&self, id: &str) -> bool {
        belongs_to(id, &self.unparsed_events)
    }

    /// Whether this id belongs to an event that the client did not make.
    pub fn is_foreign(&self, id: &str) -> bool {
        belongs_to(id, &self.foreign_events)
    }

    /// How many events would be appointments if the client had made them.
    pub fn foreign_appointment_count(&self) -> usize {
        self.foreign_events.values().filter(|event| event.looks_like_appointment).count()
    }
}

/// Whether the `UID` of an occurrence's id is a key.
fn belongs_to<V>(id: &str, events: &BTreeMap<String, V>) -> bool {
    let uid = id.rsplit_once('/').map_or(id, |(uid, _)| uid);
    events.contains_key(id) || events.contains_key(uid)
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
