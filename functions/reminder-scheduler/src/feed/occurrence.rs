//! What a feed contains: the occurrences of a window, and what it is read with.
//!
//! Main types: [`ParsedFeed`], [`FeedOccurrence`], [`FeedScope`], [`KnownIds`], [`TimeWindow`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use tellonce_core::{
    appointment::{AppointmentStatus, Attendee},
    client_config::{CalendarConfig, ClientConfig, FeedRule},
    contact::PhoneError,
    feed::{FactsFingerprint, FeedSnapshot},
};

use super::{
    organizer::ForeignEvent,
    parse_error::{IcsEventError, IgnoredEvent},
};

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
    /// The known occurrences. They are found outside the window too.
    pub known: &'a KnownIds<'a>,
    /// The id of the calendar in the feed's address. It is its owner if it is an e-mail address.
    pub calendar_id: Option<&'a str>,
    /// The character set in the response's `Content-Type`. Without one, the body is UTF-8.
    pub charset: Option<&'a str>,
}

/// The ids that the feed gave to known occurrences.
#[derive(Debug, Default)]
pub struct KnownIds<'a> {
    ids: BTreeSet<&'a str>,
    uids: BTreeSet<&'a str>,
}

impl<'a> KnownIds<'a> {
    /// These ids.
    pub fn new(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let ids: BTreeSet<_> = ids.into_iter().collect();
        let uids = ids.iter().flat_map(|id| possible_uids(id)).collect();
        Self { ids, uids }
    }

    /// The upcoming occurrences of a snapshot at `now`.
    pub fn of_upcoming(snapshot: &'a FeedSnapshot, now: Timestamp) -> Self {
        let upcoming = snapshot.occurrences.iter().filter(|(_, known)| known.start > now);
        Self::new(upcoming.map(|(id, known)| known.id_in_feed(id)))
    }

    /// Whether an occurrence is known.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Whether an occurrence of this `UID` is known.
    pub(super) fn contains_uid(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

/// The `UID`s that an occurrence with this id may have: the whole id, or the part before the slot.
pub(super) fn possible_uids(id: &str) -> impl Iterator<Item = &str> {
    [Some(id), id.rsplit_once('/').map(|(uid, _)| uid)].into_iter().flatten()
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
    /// The known `UID`s that stand for one event or series here. A time that such a series no
    /// longer has is not lost by mistake.
    pub standing_uids: BTreeSet<String>,
    /// The `UID`s of which an event does not count, and why.
    pub ignored_events: BTreeMap<String, IgnoredEvent>,
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

    /// Whether this id belongs to an event or series that stands in the feed.
    pub(super) fn stands(&self, id: &str) -> bool {
        possible_uids(id).any(|uid| self.standing_uids.contains(uid))
    }

    /// How many events would be appointments if the client had made them.
    pub fn foreign_appointment_count(&self) -> usize {
        self.foreign_events.values().filter(|event| event.looks_like_appointment).count()
    }
}

/// Whether the `UID` of an occurrence's id is a key.
fn belongs_to<V>(id: &str, events: &BTreeMap<String, V>) -> bool {
    possible_uids(id).any(|uid| events.contains_key(uid))
}

/// One occurrence. [`fmt::Debug`] shows neither names nor numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedOccurrence {
    /// The `UID` of its event.
    pub uid: String,
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

impl FeedOccurrence {
    /// The fingerprint of its facts.
    pub(super) fn fingerprint(&self) -> FactsFingerprint {
        let attendee = self.attendee.as_ref().ok();
        FactsFingerprint::of_facts(&[
            Some(self.status.name()),
            Some(&self.start.to_string()),
            Some(&self.zone),
            attendee.map(|attendee| attendee.phone.canonical()).as_deref(),
            attendee.and_then(|attendee| attendee.name.as_deref()),
            self.title.as_deref(),
            self.place.as_deref(),
        ])
    }

    /// The fingerprint of its attendee's number.
    pub(super) fn person(&self) -> Option<FactsFingerprint> {
        let attendee = self.attendee.as_ref().ok()?;
        Some(FactsFingerprint::of_facts(&[Some(&attendee.phone.canonical())]))
    }

    /// Inserts it under an id, or under a further one if another person's occurrence has that id. A
    /// second occurrence of the same person is left out.
    pub(super) fn insert_into(self, occurrences: &mut BTreeMap<String, Self>, id: &str) {
        let mut number = 1;
        let mut free = id.to_owned();
        while let Some(other) = occurrences.get(&free) {
            if other.person() == self.person() {
                return;
            }
            number += 1;
            free = format!("{id}-{number}");
        }
        occurrences.insert(free, self);
    }
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
