//! From bytes to content lines, and from lines to components (RFC 5545, section 3.1).
//!
//! Promise: a body that ends early, or whose components do not nest, is an error and never a
//! shorter calendar.
//!
//! A function has little memory, and strangers can make a feed grow. So a body is unfolded in
//! place, an event or a zone is only a range of it, and the lines of one event at a time become
//! text. Of an event, only the requested properties are kept and no inner component: an alarm has a
//! separate description, and attachments can be most of a body.

use std::ops::Range;

use super::parse_error::{FeedParseError, IcsEventError};

/// The most events in a feed. A busy practice has some ten thousand appointments a year.
const MAX_EVENTS: usize = 50_000;
/// The most `VTIMEZONE`s of one feed. The world has some four hundred zones.
const MAX_ZONES: usize = 600;
/// The deepest nesting of components. The standard has three levels.
const MAX_DEPTH: usize = 16;
/// The largest event or zone, in bytes of its kept lines. Long descriptions have some thousands.
const MAX_COMPONENT_BYTES: usize = 64 * 1024;
/// The longest name of a calendar or its zone, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Where the relevant parts of an unfolded body are.
#[derive(Debug, Default)]
pub(super) struct FeedOutline {
    /// The lines of each event, without its own `BEGIN` and `END`.
    pub(super) events: Vec<Range<usize>>,
    /// The lines of each time zone, with its own `BEGIN` and `END`.
    pub(super) zones: Vec<Range<usize>>,
    /// The zone of the whole calendar: `X-WR-TIMEZONE`, written by Google, Apple and Outlook.
    pub(super) calendar_zone: Option<String>,
    /// What the calendar is called: `X-WR-CALNAME`, written by the same.
    pub(super) calendar_name: Option<String>,
}

/// Unfolds a body in place. Lines are folded at any byte, also inside a character, so unfolding
/// comes before decoding.
pub(super) fn unfold_lines(mut body: Vec<u8>) -> Vec<u8> {
    let (mut kept, mut at) = (0, 0);
    while let Some(length) = body[at..].iter().position(|byte| *byte == b'\n') {
        let line_end = at + length;
        let text_end = if body[at..line_end].last() == Some(&b'\r') { line_end - 1 } else { line_end };
        body.copy_within(at..text_end, kept);
        kept += text_end - at;
        at = line_end + 1;
        if matches!(body.get(at), Some(b' ' | b'\t')) {
            at += 1;
        } else {
            body[kept] = b'\n';
            kept += 1;
        }
    }
    body.copy_within(at.., kept);
    kept += body.len() - at;
    body.truncate(kept);
    body
}

/// The property name of a text line, as written.
pub(super) fn property_name(line: &str) -> &str {
    line.split([':', ';']).next().unwrap_or_default().trim()
}

/// The value of a text line whose parameters contain no colon.
pub(super) fn property_value(line: &str) -> &str {
    line.split_once(':').map_or("", |(_, value)| value.trim())
}

/// A content line, before it is decoded.
#[derive(Clone, Copy)]
struct RawLine<'a>(&'a [u8]);

impl<'a> RawLine<'a> {
    fn name(self) -> &'a [u8] {
        self.0.split(|byte| matches!(byte, b':' | b';')).next().unwrap_or_default().trim_ascii()
    }

    fn value(self) -> &'a [u8] {
        let colon = self.0.iter().position(|byte| *byte == b':');
        colon.map_or(&[], |colon| self.0[colon + 1..].trim_ascii())
    }

    fn is_named(self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    fn has_value(self, value: &str) -> bool {
        self.value().eq_ignore_ascii_case(value.as_bytes())
    }

    fn short_value(self) -> Option<String> {
        let value = String::from_utf8_lossy(self.value()).into_owned();
        (value.len() <= MAX_NAME_BYTES).then_some(value)
    }
}

/// The lines of a part of the body that are not empty, each with where it begins and where the next
/// one does.
fn lines_of(text: &[u8], part: Range<usize>) -> impl Iterator<Item = (RawLine<'_>, Range<usize>)> {
    let mut at = part.start;
    text[part].split_inclusive(|byte| *byte == b'\n').filter_map(move |line| {
        let place = at..at + line.len();
        at = place.end;
        let line = line.trim_ascii_end();
        (!line.trim_ascii().is_empty()).then_some((RawLine(line), place))
    })
}

/// Finds the components of an unfolded body.
pub(super) fn outline_components(text: &[u8]) -> Result<FeedOutline, FeedParseError> {
    let mut outline = FeedOutline::default();
    let mut open: Vec<&[u8]> = Vec::new();
    let mut begins_at = 0;
    let mut calendar_ended = false;
    let start = if text.starts_with("\u{feff}".as_bytes()) { "\u{feff}".len() } else { 0 };
    for (line, place) in lines_of(text, start..text.len()) {
        let (is_begin, is_end) = (line.is_named("BEGIN"), line.is_named("END"));
        if is_begin {
            open.push(line.value());
        }
        let inside = open.get(1).copied().unwrap_or_default();
        let is_inside = |name: &str| inside.eq_ignore_ascii_case(name.as_bytes());
        match open.len() {
            // Text that a server appends after the end, such as a warning, is ignored.
            0 if calendar_ended && !is_end => continue,
            0 if calendar_ended => return Err(FeedParseError::Truncated),
            0 => return Err(FeedParseError::NotCalendar),
            1 if is_begin && !line.has_value("VCALENDAR") => return Err(FeedParseError::NotCalendar),
            1 if line.is_named("X-WR-TIMEZONE") => outline.calendar_zone = line.short_value(),
            1 if line.is_named("X-WR-CALNAME") => outline.calendar_name = line.short_value(),
            2 if is_begin => begins_at = place.start,
            2 if is_end && is_inside("VEVENT") => {
                if outline.events.len() == MAX_EVENTS {
                    return Err(FeedParseError::TooManyEvents(MAX_EVENTS));
                }
                let begin_line = text[begins_at..].iter().position(|byte| *byte == b'\n').unwrap_or_default() + 1;
                outline.events.push(begins_at + begin_line..place.start);
            }
            2 if is_end && is_inside("VTIMEZONE") && outline.zones.len() < MAX_ZONES => {
                outline.zones.push(begins_at..place.end);
            }
            depth if depth > MAX_DEPTH => return Err(FeedParseError::Truncated),
            _ => {}
        }
        if is_end {
            match open.pop() {
                Some(opened) if opened.eq_ignore_ascii_case(line.value()) => calendar_ended |= open.is_empty(),
                _ => return Err(FeedParseError::Truncated),
            }
        }
    }
    match (open.is_empty(), calendar_ended) {
        (true, true) => Ok(outline),
        (true, false) => Err(FeedParseError::NotCalendar),
        (false, _) => Err(FeedParseError::Truncated),
    }
}

/// The requested lines of an event, without those of inner components. Bytes that are not UTF-8
/// become U+FFFD. `is_read` returns whether a property is kept, by its name.
pub(super) fn read_event_lines(
    text: &[u8],
    event: Range<usize>,
    is_read: impl Fn(&str) -> bool,
) -> Result<String, IcsEventError> {
    let mut kept = String::new();
    let mut depth = 0_usize;
    for (line, _) in lines_of(text, event) {
        if line.is_named("BEGIN") {
            depth += 1;
        } else if line.is_named("END") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && std::str::from_utf8(line.name()).is_ok_and(&is_read) {
            push_line(&mut kept, line)?;
        }
    }
    Ok(kept)
}

/// All lines of a zone.
pub(super) fn read_zone_lines(text: &[u8], zone: Range<usize>) -> Option<String> {
    let mut kept = String::new();
    lines_of(text, zone).try_for_each(|(line, _)| push_line(&mut kept, line)).ok()?;
    Some(kept)
}

fn push_line(kept: &mut String, line: RawLine<'_>) -> Result<(), IcsEventError> {
    if kept.len() + line.0.len() > MAX_COMPONENT_BYTES {
        return Err(IcsEventError::OverBudget);
    }
    kept.push_str(&String::from_utf8_lossy(line.0));
    kept.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfold(body: &[u8]) -> String {
        String::from_utf8_lossy(&unfold_lines(body.to_vec())).into_owned()
    }

    fn event_lines(text: &str) -> Result<Vec<Vec<String>>, FeedParseError> {
        let outline = outline_components(text.as_bytes())?;
        let is_read = |name: &str| ["UID", "SUMMARY"].contains(&name);
        let lines = |event: &Range<usize>| read_event_lines(text.as_bytes(), event.clone(), is_read).unwrap();
        Ok(outline.events.iter().map(|event| lines(event).lines().map(str::to_owned).collect()).collect())
    }

    #[test]
    fn lines_are_unfolded_before_they_are_decoded() {
        let hebrew = "SUMMARY:שלום".as_bytes();
        for cut in 0..=hebrew.len() {
            for fold in [&b"\r\n "[..], b"\n ", b"\r\n\t"] {
                let body = [&hebrew[..cut], fold, &hebrew[cut..], b"\r\nUID:1"].concat();
                assert_eq!(unfold(&body), "SUMMARY:שלום\nUID:1", "{cut}");
            }
        }
        assert_eq!(unfold(b"SUMMARY:\xf9\xec\nUID:1\n"), "SUMMARY:\u{fffd}\u{fffd}\nUID:1\n");
    }

    #[test]
    fn an_event_contains_its_own_lines_but_not_those_of_its_alarm() {
        let text = "\u{feff}\nBEGIN:VCALENDAR\nbegin:vevent\nUID:1\nATTACH:data:...\nBEGIN:VALARM\nSUMMARY:Beep\nEND:VALARM\n\
                    SUMMARY:Haircut\nEND:VEVENT\nBEGIN:VTODO\nUID:2\nEND:VTODO\nEND:VCALENDAR\n<b>Warning</b>";
        assert_eq!(event_lines(text).unwrap(), [["UID:1", "SUMMARY:Haircut"]]);
    }

    #[test]
    fn several_calendars_in_one_body_are_one_feed() {
        let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n";
        assert_eq!(event_lines(&format!("{text}<br>\n{text}")).unwrap().len(), 2);
    }

    #[test]
    fn a_truncated_body_or_another_format_is_an_error() {
        let whole = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nBEGIN:VALARM\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR";
        for (end, _) in whole.char_indices().skip("BEGIN:VCALENDAR".len()) {
            assert!(matches!(event_lines(&whole[..end]), Err(FeedParseError::Truncated)), "{end}");
        }
        assert!(event_lines(whole).is_ok());
        for no_calendar in
            ["", "  \n", "<!doctype html>", "{}", "BEGIN:VCARD\nEND:VCARD", "UID:1\nBEGIN:VCALENDAR", "BEGIN"]
        {
            assert!(matches!(event_lines(no_calendar), Err(FeedParseError::NotCalendar)), "{no_calendar}");
        }
        for crossed in [
            "BEGIN:VCALENDAR\nEND:VCALENDAR\nEND:VCALENDAR",
            "BEGIN:VCALENDAR\nEND:VEVENT\nEND:VCALENDAR",
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR",
        ] {
            assert!(matches!(event_lines(crossed), Err(FeedParseError::Truncated)), "{crossed}");
        }
    }

    #[test]
    fn an_event_that_is_too_large_is_an_error_of_its_own_and_deep_nesting_one_of_the_body() {
        let large = format!("UID:1\nSUMMARY:{}\n", "x".repeat(MAX_COMPONENT_BYTES));
        assert_eq!(read_event_lines(large.as_bytes(), 0..large.len(), |_| true), Err(IcsEventError::OverBudget));
        assert_eq!(read_event_lines(large.as_bytes(), 0..large.len(), |name| name == "UID"), Ok("UID:1\n".to_owned()));
        let nested = |depth| {
            let begin = "BEGIN:VCALENDAR\n".to_owned() + &"BEGIN:A\n".repeat(depth);
            begin + &"END:A\n".repeat(depth) + "END:VCALENDAR\n"
        };
        assert!(event_lines(&nested(MAX_DEPTH - 1)).is_ok() && event_lines(&nested(MAX_DEPTH)).is_err());
    }
}
