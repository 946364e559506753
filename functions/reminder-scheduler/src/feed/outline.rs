//! Where the calendars, events and zones of a body are.
//!
//! Promise: a body that ends early is an error and never a shorter calendar.
//!
//! A body may hold several calendars, each with a zone, a name and a method of its own. What stands
//! behind the end of a calendar belongs to that calendar.

use std::{collections::HashSet, ops::Range};

use super::{
    parse_error::FeedParseError,
    text_lines::{Boundary, RawLine, is_name, lines_of},
};

/// The most events in a feed. A busy practice has some ten thousand appointments a year.
const MAX_EVENTS: usize = 50_000;
/// The most different `VTIMEZONE`s of one feed. The world has some four hundred zones.
const MAX_ZONES: usize = 600;
/// The deepest nesting of components. The standard has three levels.
const MAX_DEPTH: usize = 16;
/// The longest name of a calendar or its zone, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Where the relevant parts of an unfolded body are.
#[derive(Debug, Default)]
pub(super) struct FeedOutline {
    pub(super) events: Vec<EventPart>,
    pub(super) zones: Vec<ZonePart>,
    /// The calendars that hold an event or a zone.
    pub(super) calendars: Vec<CalendarHeader>,
}

/// The number of a calendar in its body.
pub(super) type CalendarNumber = usize;

/// An event.
#[derive(Debug, Clone)]
pub(super) struct EventPart {
    /// Its lines, without its own `BEGIN` and `END`.
    pub(super) lines: Range<usize>,
    pub(super) calendar: CalendarNumber,
    /// Whether it, or a component in it, does not end where it should.
    pub(super) is_broken: bool,
}

/// A time zone.
#[derive(Debug, Clone)]
pub(super) struct ZonePart {
    /// Its lines, with its own `BEGIN` and `END`.
    pub(super) lines: Range<usize>,
    pub(super) calendar: CalendarNumber,
}

/// What a calendar says of all its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CalendarHeader {
    /// Its zone: `X-WR-TIMEZONE`, written by Google, Apple and Outlook.
    pub(super) zone: Option<String>,
    /// What it is called: `X-WR-CALNAME`, written by the same.
    pub(super) name: Option<String>,
    /// Whether its events are cancelled: `METHOD:CANCEL` (RFC 5546, section 3.2.5).
    pub(super) is_cancellation: bool,
}

impl CalendarHeader {
    fn read_property(&mut self, line: RawLine<'_>) {
        let short_value = || {
            let value = String::from_utf8_lossy(line.value()).into_owned();
            // Some programs write a name in quotes.
            let value = value.trim().trim_matches('"').to_owned();
            (value.len() <= MAX_NAME_BYTES).then_some(value)
        };
        match line.name() {
            name if is_name(name, "X-WR-TIMEZONE") => self.zone = short_value(),
            name if is_name(name, "X-WR-CALNAME") => self.name = short_value(),
            name if is_name(name, "METHOD") => self.is_cancellation = is_name(line.value(), "CANCEL"),
            _ => {}
        }
    }
}

/// Finds the components of an unfolded body.
pub(super) fn outline_components(text: &[u8]) -> Result<FeedOutline, FeedParseError> {
    let mut reader = OutlineReader { text, ..OutlineReader::default() };
    for (line, place) in lines_of(text, 0..text.len()) {
        match line.boundary() {
            Some(Boundary::Begin(name)) => reader.begin(name, place)?,
            Some(Boundary::End(name)) => reader.end(name, place)?,
            None => reader.read_line(line)?,
        }
    }
    reader.finish()
}

/// An open component.
struct OpenComponent<'a> {
    name: &'a [u8],
    begins_at: usize,
    /// Where the line after its `BEGIN` begins.
    lines_begin_at: usize,
}

/// Reads a body line by line.
#[derive(Default)]
struct OutlineReader<'a> {
    text: &'a [u8],
    outline: FeedOutline,
    open: Vec<OpenComponent<'a>>,
    /// The number of parts that the current calendar holds.
    current_parts: usize,
    /// Whether a calendar has ended.
    has_calendar: bool,
    /// Whether a component stands behind the end of the last calendar.
    has_part_behind_end: bool,
    /// Whether the last component was an event, and is now ended.
    is_behind_event: bool,
    different_zones: HashSet<&'a [u8]>,
}

impl<'a> OutlineReader<'a> {
    fn is_open(&self, name: &str) -> bool {
        self.open.iter().any(|component| is_name(component.name, name))
    }

    fn read_line(&mut self, line: RawLine<'_>) -> Result<(), FeedParseError> {
        match self.open.last() {
            Some(component) if is_name(component.name, "VCALENDAR") => {
                if let Some(calendar) = self.outline.calendars.last_mut() {
                    calendar.read_property(line);
                }
                Ok(())
            }
            // Text that a server appends after the end, such as a warning, is ignored.
            None if !self.has_calendar => Err(FeedParseError::NotCalendar),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, name: &'a [u8], place: Range<usize>) -> Result<(), FeedParseError> {
        // Only events have alarms: one behind an event is a part of it.
        self.is_behind_event &= is_name(name, "VALARM");
        let is_calendar = is_name(name, "VCALENDAR");
        if is_calendar || is_name(name, "VEVENT") {
            self.break_event(place.start)?;
        }
        if is_calendar {
            self.begin_calendar();
        } else if self.open.is_empty() {
            if !self.has_calendar {
                return Err(FeedParseError::NotCalendar);
            }
            self.has_part_behind_end = true;
        }
        self.open.push(OpenComponent { name, begins_at: place.start, lines_begin_at: place.end });
        if self.open.len() > MAX_DEPTH { Err(FeedParseError::Truncated) } else { Ok(()) }
    }

    fn begin_calendar(&mut self) {
        // A calendar without events and zones says nothing.
        if self.current_parts == 0 {
            self.outline.calendars.pop();
        }
        self.outline.calendars.push(CalendarHeader::default());
        (self.current_parts, self.has_part_behind_end) = (0, false);
    }

    /// Ends an open event that another component interrupts.
    fn break_event(&mut self, at: usize) -> Result<(), FeedParseError> {
        let event = self.open.iter().rposition(|component| is_name(component.name, "VEVENT"));
        if let Some(lines_begin_at) =
            event.and_then(|event| self.open.drain(event..).next()).map(|it| it.lines_begin_at)
        {
            self.add_event(lines_begin_at..at, true)?;
        }
        Ok(())
    }

    fn end(&mut self, name: &'a [u8], place: Range<usize>) -> Result<(), FeedParseError> {
        let Some(index) = self.open.iter().rposition(|component| component.name.eq_ignore_ascii_case(name)) else {
            return self.end_unopened(name, &place);
        };
        let is_innermost = index + 1 == self.open.len();
        let is_event = is_name(name, "VEVENT");
        if !is_innermost && !is_event {
            // Inside an event it may be text. Elsewhere, something is missing.
            let is_in_event = self.open.iter().skip(index + 1).any(|component| is_name(component.name, "VEVENT"));
            return if is_in_event && !is_name(name, "VCALENDAR") { Ok(()) } else { Err(FeedParseError::Truncated) };
        }
        let Some(OpenComponent { begins_at, lines_begin_at, .. }) = self.open.drain(index..).next() else {
            return Ok(());
        };
        if is_event {
            self.add_event(lines_begin_at..place.start, !is_innermost)?;
        } else if is_name(name, "VTIMEZONE") && !self.is_open("VEVENT") {
            self.add_zone(begins_at..place.end);
        }
        self.is_behind_event = is_event || (self.is_behind_event && is_name(name, "VALARM"));
        self.has_calendar |= self.open.is_empty();
        Ok(())
    }

    /// An `END` without its `BEGIN`.
    fn end_unopened(&mut self, name: &[u8], place: &Range<usize>) -> Result<(), FeedParseError> {
        if self.is_open("VEVENT") {
            // A line of a text that was broken.
            return Ok(());
        }
        match self.outline.events.last_mut() {
            // The `END` before was a line of a text that was broken.
            Some(event) if self.is_behind_event && is_name(name, "VEVENT") => {
                event.lines.end = place.start;
                Ok(())
            }
            _ if self.open.is_empty() && self.has_part_behind_end && is_name(name, "VCALENDAR") => Ok(()),
            _ if self.open.is_empty() && !self.has_calendar => Err(FeedParseError::NotCalendar),
            _ => Err(FeedParseError::Truncated),
        }
    }

    fn add_event(&mut self, lines: Range<usize>, is_broken: bool) -> Result<(), FeedParseError> {
        if self.outline.events.len() == MAX_EVENTS {
            return Err(FeedParseError::TooManyEvents(MAX_EVENTS));
        }
        self.outline.events.push(EventPart { lines, calendar: self.current_calendar(), is_broken });
        self.current_parts += 1;
        Ok(())
    }

    fn add_zone(&mut self, lines: Range<usize>) {
        // Some programs repeat a zone for each event.
        let is_allowed =
            self.different_zones.len() < MAX_ZONES || self.different_zones.contains(&self.text[lines.clone()]);
        if is_allowed && self.outline.zones.len() < MAX_EVENTS {
            self.different_zones.insert(&self.text[lines.clone()]);
            self.outline.zones.push(ZonePart { lines, calendar: self.current_calendar() });
            self.current_parts += 1;
        }
    }

    fn current_calendar(&self) -> CalendarNumber {
        self.outline.calendars.len().saturating_sub(1)
    }

    fn finish(self) -> Result<FeedOutline, FeedParseError> {
        match (self.open.is_empty(), self.has_calendar) {
            (true, true) => Ok(self.outline),
            (true, false) => Err(FeedParseError::NotCalendar),
            (false, _) => Err(FeedParseError::Truncated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::text_lines::read_event_lines;

    fn event_lines(text: &str) -> Result<Vec<Vec<String>>, FeedParseError> {
        let outline = outline_components(text.as_bytes())?;
        let is_read = |name: &str| ["UID", "SUMMARY", "DESCRIPTION"].contains(&name);
        let lines = |event: &EventPart| read_event_lines(text.as_bytes(), event.lines.clone(), is_read).unwrap();
        Ok(outline.events.iter().map(|event| lines(event).lines().map(str::to_owned).collect()).collect())
    }

    #[test]
    fn an_event_contains_its_own_lines_but_not_those_of_its_alarm() {
        let text = "\nBEGIN:VCALENDAR\nbegin:vevent\nUID:1\nATTACH:data:...\nBEGIN:VALARM\nSUMMARY:Beep\nEND:VALARM\n\
                    SUMMARY:Haircut\nEND:VEVENT\nBEGIN:VTODO\nUID:2\nEND:VTODO\nEND:VCALENDAR\n<b>Warning</b>";
        assert_eq!(event_lines(text).unwrap(), [["UID:1", "SUMMARY:Haircut"]]);
    }

    #[test]
    fn each_calendar_of_a_body_has_its_own_header() {
        let calendar = |header: &str, uid: u32| {
            format!("BEGIN:VCALENDAR\n{header}BEGIN:VEVENT\nUID:{uid}\nEND:VEVENT\nEND:VCALENDAR\n<br>\n")
        };
        let empty = "BEGIN:VCALENDAR\nMETHOD:CANCEL\nEND:VCALENDAR\n";
        let text = calendar("X-WR-TIMEZONE:Europe/Rome\nX-WR-CALNAME:a\n", 1) + empty + &calendar("METHOD:CANCEL\n", 2);
        let outline = outline_components(text.as_bytes()).unwrap();
        let rome = CalendarHeader { zone: Some("Europe/Rome".into()), name: Some("a".into()), is_cancellation: false };
        let cancellation = CalendarHeader { is_cancellation: true, ..CalendarHeader::default() };
        assert_eq!(outline.calendars, [rome, cancellation]);
        assert_eq!(outline.events.iter().map(|event| event.calendar).collect::<Vec<_>>(), [0, 1]);
        // Inside another one, without an end of its own in between.
        let nested = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nBEGIN:VCALENDAR\nX-WR-CALNAME:b\nBEGIN:VEVENT\n\
                      UID:2\nEND:VEVENT\nEND:VCALENDAR\nEND:VCALENDAR\n";
        let outline = outline_components(nested.as_bytes()).unwrap();
        assert_eq!((outline.events.len(), outline.calendars[1].name.as_deref()), (2, Some("b")));
    }

    #[test]
    fn parts_behind_the_end_belong_to_the_calendar_before() {
        let zone = "BEGIN:VTIMEZONE\nTZID:a\nBEGIN:STANDARD\nEND:STANDARD\nEND:VTIMEZONE\n";
        let event = "BEGIN:VEVENT\nUID:2\nEND:VEVENT\n";
        let calendar = "BEGIN:VCALENDAR\nX-WR-CALNAME:a\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n";
        for end in ["", "END:VCALENDAR\n"] {
            let outline = outline_components(format!("{calendar}{zone}{event}{end}").as_bytes()).unwrap();
            assert_eq!((outline.calendars.len(), outline.events.len(), outline.zones.len()), (1, 2, 1), "{end}");
            assert_eq!((outline.events[1].calendar, outline.zones[0].calendar), (0, 0));
        }
        let cut = format!("{calendar}{}", &zone[..40]);
        assert!(matches!(event_lines(&cut), Err(FeedParseError::Truncated)));
    }

    #[test]
    fn a_broken_text_may_contain_the_end_of_an_event() {
        let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDESCRIPTION:End of\nEND:VEVENT\nPhone: 1\n\
                    BEGIN:VALARM\nDESCRIPTION:Beep\nEND:VALARM\nEND:VEVENT\n\
                    BEGIN:VEVENT\nUID:2\nDESCRIPTION:x\nEND:VTODO\nEnd: 10:30\nEND:VEVENT\nEND:VCALENDAR\n";
        let first = ["UID:1", "DESCRIPTION:End of\\nEND:VEVENT\\nPhone: 1"];
        let second = ["UID:2", "DESCRIPTION:x\\nEND:VTODO\\nEnd: 10:30"];
        assert_eq!(event_lines(text).unwrap(), [first, second]);
    }

    #[test]
    fn an_event_that_does_not_end_is_broken_and_takes_no_other_with_it() {
        let is_broken = |text: &str| {
            let outline = outline_components(format!("BEGIN:VCALENDAR\n{text}END:VCALENDAR\n").as_bytes()).unwrap();
            outline.events.iter().map(|event| event.is_broken).collect::<Vec<_>>()
        };
        let whole = "BEGIN:VEVENT\nUID:2\nEND:VEVENT\n";
        assert_eq!(is_broken(&format!("BEGIN:VEVENT\nUID:1\n{whole}{whole}")), [true, false, false]);
        assert_eq!(is_broken(&format!("BEGIN:VEVENT\nUID:1\nBEGIN:VALARM\n{whole}{whole}")), [true, false, false]);
        assert_eq!(is_broken(&format!("BEGIN:VEVENT\nUID:1\nBEGIN:VALARM\nEND:VEVENT\n{whole}")), [true, false]);
    }

    #[test]
    fn a_truncated_body_or_another_format_is_an_error() {
        let whole = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nBEGIN:VALARM\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR";
        for (end, _) in whole.char_indices().skip("BEGIN:VCALENDAR".len()) {
            assert!(matches!(event_lines(&whole[..end]), Err(FeedParseError::Truncated)), "{end}");
        }
        assert!(event_lines(whole).is_ok());
        for no_calendar in [
            "",
            "  \n",
            "<!doctype html>",
            "{}",
            "BEGIN:VCARD\nEND:VCARD",
            "UID:1\nBEGIN:VCALENDAR",
            "BEGIN",
            "END:VEVENT",
        ] {
            assert!(matches!(event_lines(no_calendar), Err(FeedParseError::NotCalendar)), "{no_calendar}");
        }
        for crossed in [
            "BEGIN:VCALENDAR\nEND:VCALENDAR\nEND:VCALENDAR",
            "BEGIN:VCALENDAR\nEND:VEVENT\nEND:VCALENDAR",
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR",
            "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nEND:VCALENDAR",
        ] {
            assert!(matches!(event_lines(crossed), Err(FeedParseError::Truncated)), "{crossed}");
        }
    }

    #[test]
    fn a_zone_that_is_repeated_for_each_event_counts_once() {
        let zone = |name: usize| format!("BEGIN:VTIMEZONE\nTZID:{name}\nEND:VTIMEZONE\n");
        let body = |zones: String| format!("BEGIN:VCALENDAR\n{zones}END:VCALENDAR\n");
        let count = |zones| outline_components(body(zones).as_bytes()).unwrap().zones.len();
        assert_eq!((count(zone(1).repeat(1_000)), count((0..1_000).map(zone).collect())), (1_000, MAX_ZONES));
    }

    #[test]
    fn deep_nesting_is_an_error_of_the_body() {
        let nested = |depth| {
            let begin = "BEGIN:VCALENDAR\n".to_owned() + &"BEGIN:A\n".repeat(depth);
            begin + &"END:A\n".repeat(depth) + "END:VCALENDAR\n"
        };
        assert!(event_lines(&nested(MAX_DEPTH - 1)).is_ok() && event_lines(&nested(MAX_DEPTH)).is_err());
    }
}
