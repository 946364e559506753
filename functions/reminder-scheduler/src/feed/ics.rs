//! Parsing a feed: [`parse_feed`] turns the bytes of an iCalendar body (RFC 5545) into the
//! occurrences of a window. Pure.
//!
//! Flow:
//!
//! 1. `text_lines` unfolds, decodes and splits the body.
//! 2. `event` parses each event.
//! 3. `series` makes the occurrences of all events with one `UID`. They are a series with its
//!    exceptions, or copies of which the newest counts.
//! 4. `recurrence_rule` names the local times of a series, and `zone` turns them into moments.
//!
//! An occurrence's id is its `UID`. In a series it is `UID/20261123T070000Z`, with the slot that
//! the series gave it, in UTC. So a moved occurrence keeps its id, and a series that is moved as a
//! whole gets new ids.
//!
//! Promises:
//!
//! - Every body gives a result, quickly.
//! - An event that could not be parsed does not affect the others. Its `UID` is reported, so that
//!   the comparison does not treat it as removed.
//! - A whole-day event is not an occurrence.
//! - Only the fields that the client's rules name contain phone numbers and names.
//!
//! - An event that the client did not make is not expanded. It makes all events of its `UID`
//!   foreign.
//!
//! Not promised: that an event of the client is an appointment.

use std::collections::BTreeMap;

use jiff::{SignedDuration, civil::Date, tz::Offset};

use super::{
    event::{EventParser, IcsEvent, SkippedEvent},
    occurrence::{FeedScope, ParsedFeed, TimeWindow},
    organizer::{CalendarOwner, ForeignEvent},
    parse_error::{FeedParseError, IcsEventError, MAX_BODY_BYTES, MAX_OCCURRENCES},
    series::SeriesReader,
    text_lines,
};

/// Parses a body. The result also contains occurrences outside the window whose id is known: they
/// were moved out of it.
pub fn parse_feed(body: &[u8], scope: FeedScope<'_>) -> Result<ParsedFeed, FeedParseError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(FeedParseError::TooLarge);
    }
    let text = text_lines::unfold_lines(body);
    let lines = text_lines::split_components(&text, |name| EventParser::reads_property(scope.rule, name))?;
    let owner = CalendarOwner::new(&scope.rule.organizers, [scope.calendar_id, lines.calendar_name]);
    let parser = EventParser::new(scope.rule, owner, first_day(scope.window));
    let mut by_uid = BTreeMap::<String, Vec<IcsEvent>>::new();
    let (mut unparsed_events, mut foreign_events) = (BTreeMap::new(), BTreeMap::<String, ForeignEvent>::new());
    let mut first_error = None;
    for (number, lines) in lines.events.iter().enumerate() {
        match parser.parse_event(lines, number) {
            Ok(event) => by_uid.entry(event.uid.clone()).or_default().push(event),
            Err(SkippedEvent::WithoutUid) => drop(first_error.get_or_insert(IcsEventError::InvalidUid)),
            Err(SkippedEvent::Unparsed { uid, error }) => {
                first_error.get_or_insert_with(|| error.clone());
                unparsed_events.insert(uid, error);
            }
            Err(SkippedEvent::Foreign { uid, event }) => {
                let looks_like_appointment = event.looks_like_appointment;
                foreign_events.entry(uid).or_insert(event).looks_like_appointment |= looks_like_appointment;
            }
        }
    }
    unparsed_events.retain(|uid, _| !foreign_events.contains_key(uid));
    by_uid.retain(|uid, _| !unparsed_events.contains_key(uid) && !foreign_events.contains_key(uid));
    let mut reader = SeriesReader::new(&lines, scope);
    let mut occurrences = BTreeMap::new();
    let mut parsed_count = 0;
    for (uid, events) in by_uid {
        match reader.expand_series(&uid, events) {
            Ok(found) => {
                parsed_count += 1;
                occurrences.extend(found);
            }
            Err(error) => {
                first_error.get_or_insert_with(|| error.clone());
                unparsed_events.insert(uid, error);
            }
        }
        reader.budget.check_limits()?;
        if occurrences.len() > MAX_OCCURRENCES {
            return Err(FeedParseError::TooManyOccurrences);
        }
    }
    match first_error {
        Some(error) if parsed_count == 0 => Err(FeedParseError::NoEventParsed(lines.events.len(), error)),
        _ => Ok(ParsedFeed { occurrences, event_count: lines.events.len(), unparsed_events, foreign_events }),
    }
}

/// The earliest day, in any zone, with an occurrence in the window.
fn first_day(window: TimeWindow) -> Date {
    let day_before = window.from.checked_sub(SignedDuration::from_hours(24)).unwrap_or(window.from);
    Offset::UTC.to_datetime(day_before).date()
}
