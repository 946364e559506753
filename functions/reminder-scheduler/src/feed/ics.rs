//! Reading a feed: [`read`] turns the bytes of an iCalendar body (RFC 5545) into the occurrences of a window. Pure.
//!
//! The way: `text_lines` unfolds, decodes and splits; `event` says what stands in one event; `expand_series` makes the occurrences of
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
use tellonce_core::{
    appointment::{AppointmentStatus, Attendee},
    client_config::{CalendarConfig, ClientConfig, FeedRule},
    contact::PhoneError,
    telemetry::LogLabel,
};

use super::{
    event::{EventParser, IcsEvent},
    series::SeriesReader,
    text_lines,
};

/// The largest body that is read, in bytes. Years of a busy practice take two or three million.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// The most occurrences in one window: what is remembered of them must fit a table's item.
pub const MAX_OCCURRENCES: usize = 5_000;
/// The most local times that the rules of a whole feed may name: a quarter of a second of work on a whole processor.
const MAX_FEED_TIMES: usize = 1_000_000;
/// The most rules that may name no time at all up to the window's end, such as each 30th of February. The library looks
/// for one until the year 10,000, which takes some hundredths of a second.
const MAX_EMPTY_RULES: usize = 20;

/// Why a body cannot be read at all. Holds nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedParseError {
    /// An error page, an empty answer, another format.
    #[error("it is not an iCalendar body: it does not begin with BEGIN:VCALENDAR")]
    NotCalendar,
    /// It ends too early, or its parts don't fit together.
    #[error("it is not whole: a component in it does not end where it should")]
    Truncated,
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
    RulesTooExpensive,
    /// Of all its events none is understood.
    #[error("none of its {0} events is understood; of the first: {1}")]
    NoEventParsed(usize, IcsEventError),
}

/// Why one event is not understood. Holds nothing of it but the name of its zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IcsEventError {
    /// No `UID`, or one of more than a thousand bytes.
    #[error("an event has no usable UID")]
    InvalidUid,
    /// Neither `DTSTART` nor a slot that it takes the place of.
    #[error("it does not say when it begins")]
    NoStart,
    /// A time that is none.
    #[error("the time in its {0} is not understood")]
    InvalidTime(&'static str),
    /// A zone that is neither known nor described.
    #[error("its time zone `{0}` is not known")]
    UnknownZone(LogLabel),
    /// A recurrence rule that is against the standard, or of an extension.
    #[error("its recurrence rule is not understood")]
    InvalidRule,
    /// It recurs by the minute.
    #[error("it recurs too often to be an appointment")]
    TooOften,
}

/// A span of time: from its beginning up to, and without, its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl TimeWindow {
    /// Whether this moment lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// What a feed says of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedFeed {
    /// Everything that begins in the window, by its id.
    pub occurrences: BTreeMap<String, FeedOccurrence>,
    /// How many events stand in the body, the past and the far future included.
    pub event_count: usize,
    /// The `UID`s of events that are not understood, and why: nothing is known of their occurrences.
    pub unparsed_events: BTreeMap<String, IcsEventError>,
}

impl ParsedFeed {
    /// Whether this id is of an event that is not understood.
    pub fn is_unparsed(&self, id: &str) -> bool {
        let uid = id.rsplit_once('/').map_or(id, |(uid, _)| uid);
        self.unparsed_events.contains_key(id) || self.unparsed_events.contains_key(uid)
    }
}

/// One occurrence. [`fmt::Debug`] shows no name and no number.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedOccurrence {
    /// When it begins.
    pub start: Timestamp,
    /// The IANA zone that it takes place in.
    pub zone: String,
    /// Whether it takes place: confirmed unless it says otherwise.
    pub status: AppointmentStatus,
    /// Who can be written to, or why nobody can.
    pub attendee: Result<Attendee, PhoneError>,
    /// What it is about.
    pub title: Option<String>,
    /// Where it takes place; an address on the web is none.
    pub place: Option<String>,
}

impl fmt::Debug for FeedOccurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Occurrence")
            .field("start", &self.start)
            .field("zone", &self.zone)
            .field("status", &self.status)
            .field("attendee", &self.attendee)
            .finish_non_exhaustive()
    }
}

/// How much was spent on rules.
#[derive(Debug, Default)]
pub(super) struct RuleBudget {
    expanded_times: usize,
    empty_rules: usize,
}

impl RuleBudget {
    pub(super) fn count_times(&mut self, times: usize) {
        self.expanded_times += times;
        self.empty_rules += usize::from(times == 0);
    }

    fn check_limits(&self) -> Result<(), FeedParseError> {
        if self.expanded_times > MAX_FEED_TIMES || self.empty_rules > MAX_EMPTY_RULES {
            Err(FeedParseError::RulesTooExpensive)
        } else {
            Ok(())
        }
    }
}

/// Reads a body. An occurrence that is known by its id, and was moved out of the window, is read as well.
pub fn parse_feed(
    body: &[u8],
    rule: &FeedRule,
    calendar: &CalendarConfig,
    config: &ClientConfig,
    window: TimeWindow,
    is_known: &dyn Fn(&str) -> bool,
) -> Result<ParsedFeed, FeedParseError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(FeedParseError::TooLarge);
    }
    let text = text_lines::unfold_lines(body);
    let parser = EventParser::new(rule);
    let lines = text_lines::split_components(&text, |name| parser.reads_property(name))?;
    let mut by_uid = BTreeMap::<String, Vec<IcsEvent>>::new();
    let mut unreadable = BTreeMap::new();
    let mut first_error = None;
    for (number, lines) in lines.events.iter().enumerate() {
        match parser.parse_event(lines, number) {
            Ok(event) => by_uid.entry(event.uid.clone()).or_default().push(event),
            Err((uid, error)) => {
                first_error.get_or_insert_with(|| error.clone());
                unreadable.extend(uid.map(|uid| (uid, error)));
            }
        }
    }
    let mut reader = SeriesReader::new(&lines, calendar, config, window, is_known);
    let mut occurrences = BTreeMap::new();
    let mut understood = 0;
    for (uid, events) in by_uid {
        if unreadable.contains_key(&uid) {
            continue;
        }
        match reader.expand_series(&uid, events) {
            Ok(found) => {
                understood += 1;
                occurrences.extend(found);
            }
            Err(error) => {
                first_error.get_or_insert_with(|| error.clone());
                unreadable.insert(uid, error);
            }
        }
        reader.budget.check_limits()?;
        if occurrences.len() > MAX_OCCURRENCES {
            return Err(FeedParseError::TooManyOccurrences);
        }
    }
    match first_error {
        Some(error) if understood == 0 => Err(FeedParseError::NoEventParsed(lines.events.len(), error)),
        _ => Ok(ParsedFeed { occurrences, event_count: lines.events.len(), unparsed_events: unreadable }),
    }
}
