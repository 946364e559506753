//! Parsing a feed: [`parse_feed`] turns the bytes of an iCalendar body (RFC 5545) into the
//! occurrences of a window. Pure.
//!
//! Flow:
//!
//! 1. `charset` decodes the body, `text_lines` unfolds it, and `outline` finds its events.
//! 2. `event` parses the events, one `UID` at a time.
//! 3. `series` makes the occurrences of all events with one `UID`. They are a series with its
//!    exceptions, revisions of which the newest counts, or appointments that share the `UID`
//!    (`revisions`).
//! 4. `recurrence_rule` names the local times of a series, and `zone` turns them into moments.
//!
//! An occurrence's id is its `UID`. In a series, and if its `UID` has other events, it is
//! `UID/20261123T070000Z`, with the slot that the series gave it, in UTC. Events without a `UID`
//! have such ids too. The comparison finds a known occurrence again if the feed gives it another id
//! (`identity`).
//!
//! Promises:
//!
//! - Every body gives a result, quickly.
//! - Its memory is bounded: the body, the `UID`s, the result, and the events of one `UID`.
//! - One `UID` cannot use up the limits of a feed.
//! - An exception of a slot that its series does not have, or excludes, replaces nothing.
//! - An event that could not be parsed does not affect the others. Its `UID` is reported, so that
//!   the comparison does not treat it as removed.
//! - A whole-day event is not an occurrence.
//! - Only the fields that the client's rules name contain phone numbers and names.
//! - An event that the client did not make is not expanded. It makes all events of its `UID`
//!   foreign.
//!
//! Not promised: that an event of the client is an appointment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, civil::Date, tz::Offset};
use tellonce_core::{appointment::AppointmentStatus, client_config::FeedRule};

use super::{
    charset,
    event::{EventParser, IcsEvent, MAX_DATES, SkippedEvent},
    occurrence::{FeedOccurrence, FeedScope, ParsedFeed, TimeWindow},
    organizer::{CalendarOwner, ForeignEvent},
    outline::{self, CalendarHeader, FeedOutline},
    parse_error::{FeedParseError, IcsEventError, MAX_BODY_BYTES, MAX_OCCURRENCES, UnparsedEvents},
    revisions::{WITHOUT_UID, is_placeholder_uid},
    series::SeriesReader,
    text_lines,
};

/// The most text of all events with one `UID`, in bytes of their kept lines: a series with hundreds
/// of exceptions.
const MAX_UID_BYTES: usize = 512 * 1024;

/// The slot that an event replaces.
const SLOT_PROPERTY: &str = "RECURRENCE-ID";

/// Parses a body. The result also contains occurrences outside the window whose id is known: they
/// were moved out of it.
pub fn parse_feed(body: Vec<u8>, scope: FeedScope<'_>) -> Result<ParsedFeed, FeedParseError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(FeedParseError::TooLarge);
    }
    let text = charset::decode_body(body, scope.charset)?;
    let outline = outline::outline_components(&text)?;
    let parsers = parsers_of(&outline, scope);
    let body = FeedBody { text: &text, outline: &outline, rule: scope.rule, parsers: &parsers };
    let mut reader = SeriesReader::new(&text, &outline, scope);
    let mut feed = ParsedFeed { event_count: outline.events.len(), ..ParsedFeed::default() };
    let EventNumbers { by_uid, ambiguous, mut first_error } = body.group_events();
    if let Some(error) = &first_error {
        feed.unparsed_events.insert(WITHOUT_UID.to_owned(), error.clone());
    }
    let mut parsed_count = 0;
    // One UID at a time, so that only its events are in memory.
    for (uid, numbers) in by_uid {
        // An event without a usable UID is alone.
        let is_alone = is_placeholder_uid(&uid);
        let is_ambiguous = ambiguous.contains(&uid);
        for numbers in numbers.chunks(if is_alone { 1 } else { numbers.len() }) {
            let events = body.parse_events(numbers);
            match events.and_then(|events| expand_events(&mut reader, &uid, events, is_ambiguous)) {
                Ok(found) => {
                    parsed_count += 1;
                    for (id, occurrence) in found {
                        occurrence.insert_into(&mut feed.occurrences, &id);
                    }
                }
                Err(SkippedEvent::Unparsed(error)) => {
                    first_error.get_or_insert_with(|| error.clone());
                    feed.unparsed_events.insert(uid.clone(), error);
                }
                Err(SkippedEvent::Foreign(event)) => {
                    let key = if is_alone { format!("{uid}#{}", numbers[0]) } else { uid.clone() };
                    feed.foreign_events.insert(key, event);
                }
            }
            reader.check_limits()?;
            if feed.occurrences.len() > MAX_OCCURRENCES {
                return Err(FeedParseError::TooManyOccurrences);
            }
        }
    }
    feed.unreachable = reader.unreachable;
    feed.standing_uids = reader.standing_uids;
    feed.ignored_events = reader.ignored_events;
    match first_error {
        Some(_) if parsed_count == 0 => {
            let unparsed = UnparsedEvents::new(feed.unparsed_events.iter());
            Err(FeedParseError::NoEventParsed(feed.event_count, unparsed))
        }
        _ => Ok(feed),
    }
}

/// The occurrences of the events of one `UID`, or of one event without a usable one.
fn expand_events(
    reader: &mut SeriesReader<'_>,
    uid: &str,
    mut events: Vec<IcsEvent>,
    is_ambiguous: bool,
) -> Result<BTreeMap<String, FeedOccurrence>, SkippedEvent> {
    if !is_placeholder_uid(uid) {
        return Ok(reader.expand_series(uid, events)?);
    }
    match events.pop() {
        Some(event) if is_ambiguous && event.is_part_of_series() => Err(IcsEventError::InvalidUid.into()),
        Some(event) => Ok(reader.expand_alone(uid, &event)?),
        None => Ok(BTreeMap::new()),
    }
}

/// The numbers of the events in a body.
#[derive(Default)]
struct EventNumbers {
    by_uid: BTreeMap<String, Vec<u32>>,
    /// The placeholders of a `UID` with an event that replaces another one: which one is unknown.
    ambiguous: BTreeSet<String>,
    /// The first problem of an event whose `UID` could not be read.
    first_error: Option<IcsEventError>,
}

/// An unfolded body and its parts.
#[derive(Clone, Copy)]
struct FeedBody<'a> {
    text: &'a [u8],
    outline: &'a FeedOutline,
    rule: &'a FeedRule,
    /// One for each calendar of the outline.
    parsers: &'a [EventParser<'a>],
}

/// The parsers for the events of each calendar of a body. Each calendar may have its own owner.
fn parsers_of<'a>(outline: &'a FeedOutline, scope: FeedScope<'a>) -> Vec<EventParser<'a>> {
    let FeedScope { rule, calendar_id, window, .. } = scope;
    let parser_of = |calendar: &'a CalendarHeader| {
        let owner = CalendarOwner::new(&rule.organizers, [calendar_id, calendar.name.as_deref()]);
        EventParser::new(rule, owner, first_day(window))
    };
    outline.calendars.iter().map(parser_of).collect()
}

impl FeedBody<'_> {
    /// The numbers of the events with each `UID`.
    fn group_events(self) -> EventNumbers {
        let mut found = EventNumbers::default();
        let is_read = |name: &str| ["UID", SLOT_PROPERTY].iter().any(|read| name.eq_ignore_ascii_case(read));
        for (number, event) in (0_u32..).zip(&self.outline.events) {
            match text_lines::read_event_lines(self.text, event.lines.clone(), is_read) {
                Ok(lines) => {
                    let uid = EventParser::parse_uid(&lines).unwrap_or_else(|| WITHOUT_UID.to_owned());
                    let is_slot = |line: &str| text_lines::property_name(line).eq_ignore_ascii_case(SLOT_PROPERTY);
                    if is_placeholder_uid(&uid) && lines.lines().any(is_slot) {
                        found.ambiguous.insert(uid.clone());
                    }
                    found.by_uid.entry(uid).or_default().push(number);
                }
                Err(error) => drop(found.first_error.get_or_insert(error)),
            }
        }
        found
    }

    /// Parses the events with these numbers, which have one `UID`. A foreign event decides for all
    /// of them, then one that could not be parsed.
    fn parse_events(self, numbers: &[u32]) -> Result<Vec<IcsEvent>, SkippedEvent> {
        let is_read = |name: &str| EventParser::reads_property(self.rule, name);
        let (mut events, mut first_error, mut foreign) = (Vec::new(), None, None::<ForeignEvent>);
        let (mut bytes, mut dates) = (0, 0);
        for number in numbers {
            let part = usize::try_from(*number).ok().and_then(|number| self.outline.events.get(number));
            let found = part.and_then(|part| {
                Some((part, self.outline.calendars.get(part.calendar)?, self.parsers.get(part.calendar)?))
            });
            let Some((part, calendar, parser)) = found else { continue };
            let parsed = text_lines::read_event_lines(self.text, part.lines.clone(), is_read)
                .map_err(SkippedEvent::Unparsed)
                .and_then(|lines| {
                    bytes += lines.len();
                    parser.parse_event(&lines, part)
                });
            match parsed {
                Ok(mut event) => {
                    dates += event.date_count();
                    if calendar.is_cancellation {
                        event.status = AppointmentStatus::Cancelled;
                    }
                    events.push(event);
                }
                Err(SkippedEvent::Unparsed(error)) => drop(first_error.get_or_insert(error)),
                Err(SkippedEvent::Foreign(event)) => {
                    let looks_like_appointment = event.looks_like_appointment;
                    foreign.get_or_insert(event).looks_like_appointment |= looks_like_appointment;
                }
            }
            if bytes > MAX_UID_BYTES || dates > MAX_DATES {
                first_error.get_or_insert(IcsEventError::OverBudget);
                break;
            }
        }
        match (foreign, first_error) {
            (Some(event), _) => Err(SkippedEvent::Foreign(event)),
            (None, Some(error)) => Err(SkippedEvent::Unparsed(error)),
            (None, None) => Ok(events),
        }
    }
}

/// The earliest day, in any zone, with an occurrence in the window.
fn first_day(window: TimeWindow) -> Date {
    let day_before = window.from.checked_sub(SignedDuration::from_hours(24)).unwrap_or(window.from);
    Offset::UTC.to_datetime(day_before).date()
}
