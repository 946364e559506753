//! Reading a feed: [`read`] turns the bytes of an iCalendar body (RFC 5545) into the occurrences of a window. Pure.
//!
//! The way: `lines` unfolds, decodes and splits; `event` says what stands in one event; `series` makes the occurrences of
//! all events with one `UID`, which are a series with its exceptions, or copies of which the newest counts. `rule` names
//! the local times of a series, and `zone` says what moments those are.
//!
//! An occurrence's id is its `UID`; of a series `UID/20261123T070000Z`, with the slot that the series gave it, in UTC. So a
//! moved occurrence keeps its id, and a series that is moved as a whole gets new ones.
//!
//! Promises: a body of any content ends in an answer, quickly; one event that is not understood takes nothing with it, and
//! is named, so that whoever compares does not take it for gone; what takes a whole day is no occurrence; nothing is taken
//! for a phone number or a name that the client's rules don't say is one. Not promised: that an event is an appointment of
//! anybody's.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use shared::{
    appointment::{Attendee, Standing},
    client_config::{Calendar, ClientConfig, FeedRule},
    contact::PhoneError,
    observe::Label,
};

use super::{
    event::{Event, Source},
    lines,
    series::Reader,
};

/// The largest body that is read, in bytes. Years of a busy practice take two or three million.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// The most occurrences in one window: what is remembered of them must fit a table's item.
pub const MAX_OCCURRENCES: usize = 5_000;
/// The most local times that the rules of a whole feed may name: a quarter of a second of work on a whole processor.
const MAX_TIMES: usize = 1_000_000;
/// The most rules that may name no time at all up to the window's end, such as each 30th of February. The library looks
/// for one until the year 10,000, which takes some hundredths of a second.
const MAX_BARREN: usize = 20;

/// Why a body cannot be read at all. Holds nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// An error page, an empty answer, another format.
    #[error("it is not an iCalendar body: it does not begin with BEGIN:VCALENDAR")]
    NotACalendar,
    /// It ends too early, or its parts don't fit together.
    #[error("it is not whole: a component in it does not end where it should")]
    Torn,
    /// It is larger than [`MAX_BODY_BYTES`].
    #[error("it is larger than {MAX_BODY_BYTES} bytes; let the feed hold less of the past")]
    TooLarge,
    /// It has more events than we read.
    #[error("it holds more than {0} events; let the feed hold less of the past")]
    TooManyEvents(usize),
    /// It has more occurrences than can be remembered.
    #[error("more than {MAX_OCCURRENCES} occurrences lie ahead; feed this calendar in parts")]
    TooManyOccurrences,
    /// Its rules name too many times, or are looked through for too long.
    #[error("its recurrence rules name too many times, or none at all")]
    TooMuchWork,
    /// Of all its events none is understood.
    #[error("none of its {0} events is understood; of the first: {1}")]
    NothingUnderstood(usize, EventError),
}

/// Why one event is not understood. Holds nothing of it but the name of its zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// No `UID`, or one of more than a thousand bytes.
    #[error("an event has no usable UID")]
    Uid,
    /// Neither `DTSTART` nor a slot that it takes the place of.
    #[error("it does not say when it begins")]
    NoStart,
    /// A time that is none.
    #[error("the time in its {0} is not understood")]
    Time(&'static str),
    /// A zone that is neither known nor described.
    #[error("its time zone `{0}` is not known")]
    UnknownZone(Label),
    /// A recurrence rule that is against the standard, or of an extension.
    #[error("its recurrence rule is not understood")]
    Rule,
    /// It recurs by the minute.
    #[error("it recurs too often to be an appointment")]
    TooOften,
}

/// A span of time: from its beginning up to, and without, its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl Window {
    /// Whether this moment lies in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// What a feed says of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Everything that begins in the window, by its id.
    pub occurrences: BTreeMap<String, Occurrence>,
    /// How many events stand in the body, the past and the far future included.
    pub events: usize,
    /// The `UID`s of events that are not understood, and why: nothing is known of their occurrences.
    pub unreadable: BTreeMap<String, EventError>,
}

impl Feed {
    /// Whether this id is of an event that is not understood.
    pub fn cannot_tell(&self, id: &str) -> bool {
        let uid = id.rsplit_once('/').map_or(id, |(uid, _)| uid);
        self.unreadable.contains_key(id) || self.unreadable.contains_key(uid)
    }
}

/// One occurrence. [`fmt::Debug`] shows no name and no number.
#[derive(Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// When it begins.
    pub start: Timestamp,
    /// The IANA zone that it takes place in.
    pub zone: String,
    /// Whether it takes place: confirmed unless it says otherwise.
    pub standing: Standing,
    /// Who can be written to, or why nobody can.
    pub attendee: Result<Attendee, PhoneError>,
    /// What it is about.
    pub title: Option<String>,
    /// Where it takes place; an address on the web is none.
    pub place: Option<String>,
}

impl fmt::Debug for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Occurrence")
            .field("start", &self.start)
            .field("zone", &self.zone)
            .field("standing", &self.standing)
            .field("attendee", &self.attendee)
            .finish_non_exhaustive()
    }
}

/// How much was spent on rules.
#[derive(Debug, Default)]
pub(super) struct Work {
    times: usize,
    barren: usize,
}

impl Work {
    pub(super) fn spend(&mut self, times: usize) {
        self.times += times;
        self.barren += usize::from(times == 0);
    }

    fn check(&self) -> Result<(), FeedError> {
        if self.times > MAX_TIMES || self.barren > MAX_BARREN { Err(FeedError::TooMuchWork) } else { Ok(()) }
    }
}

/// Reads a body. An occurrence that is known by its id, and was moved out of the window, is read as well.
pub fn read(
    body: &[u8],
    rule: &FeedRule,
    calendar: &Calendar,
    config: &ClientConfig,
    window: Window,
    known: &dyn Fn(&str) -> bool,
) -> Result<Feed, FeedError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(FeedError::TooLarge);
    }
    let text = lines::unfold(body);
    let source = Source::new(rule);
    let lines = lines::split(&text, |name| source.wants(name))?;
    let mut by_uid = BTreeMap::<String, Vec<Event>>::new();
    let mut unreadable = BTreeMap::new();
    let mut first_error = None;
    for (number, lines) in lines.events.iter().enumerate() {
        match source.event(lines, number) {
            Ok(event) => by_uid.entry(event.uid.clone()).or_default().push(event),
            Err((uid, error)) => {
                first_error.get_or_insert_with(|| error.clone());
                unreadable.extend(uid.map(|uid| (uid, error)));
            }
        }
    }
    let mut reader = Reader::new(&lines, calendar, config, window, known);
    let mut occurrences = BTreeMap::new();
    let mut understood = 0;
    for (uid, events) in by_uid {
        if unreadable.contains_key(&uid) {
            continue;
        }
        match reader.series(&uid, events) {
            Ok(found) => {
                understood += 1;
                occurrences.extend(found);
            }
            Err(error) => {
                first_error.get_or_insert_with(|| error.clone());
                unreadable.insert(uid, error);
            }
        }
        reader.work.check()?;
        if occurrences.len() > MAX_OCCURRENCES {
            return Err(FeedError::TooManyOccurrences);
        }
    }
    match first_error {
        Some(error) if understood == 0 => Err(FeedError::NothingUnderstood(lines.events.len(), error)),
        _ => Ok(Feed { occurrences, events: lines.events.len(), unreadable }),
    }
}
