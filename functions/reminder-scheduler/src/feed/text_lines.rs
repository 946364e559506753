//! From bytes to content lines, and from lines to components (RFC 5545, section 3.1).
//!
//! Promise: a body that ends early, or whose components do not nest, is an error and never a
//! shorter calendar.
//!
//! Of an event, only the requested properties are kept and no inner component: an alarm has a
//! separate description, and attachments can be most of a body.

use super::parse_error::FeedParseError;

/// The most events in a feed. A busy practice has some ten thousand appointments a year.
const MAX_EVENTS: usize = 50_000;

/// The relevant text lines of a body.
#[derive(Debug, Default)]
pub(super) struct FeedLines<'a> {
    /// The lines of each event, without those of inner components.
    pub(super) events: Vec<Vec<&'a str>>,
    /// The lines of each time zone, with its inner components and their `BEGIN` and `END`.
    pub(super) zones: Vec<Vec<&'a str>>,
    /// The zone of the whole calendar: `X-WR-TIMEZONE`, written by Google, Apple and Outlook.
    pub(super) calendar_zone: Option<&'a str>,
    /// What the calendar is called: `X-WR-CALNAME`, written by the same.
    pub(super) calendar_name: Option<&'a str>,
}

/// The unfolded text of a body. Lines are folded at any byte, also inside a character, so unfolding
/// comes before decoding. Bytes that are not UTF-8 become U+FFFD.
pub(super) fn unfold_lines(body: &[u8]) -> String {
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        rest = &rest[end + 1..];
        match rest.first() {
            Some(b' ' | b'\t') => rest = &rest[1..],
            _ => text.push(b'\n'),
        }
    }
    text.extend_from_slice(rest);
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The property name of a text line, as written.
pub(super) fn property_name(line: &str) -> &str {
    line.split([':', ';']).next().unwrap_or_default().trim()
}

/// The value of a text line whose parameters contain no colon.
pub(super) fn property_value(line: &str) -> &str {
    line.split_once(':').map_or("", |(_, value)| value.trim())
}

/// Splits an unfolded text. `is_read` returns whether an event's property is kept, by its name.
pub(super) fn split_components(text: &str, is_read: impl Fn(&str) -> bool) -> Result<FeedLines<'_>, FeedParseError> {
    let is_same = |text: &str, name: &str| text.eq_ignore_ascii_case(name);
    let mut lines = FeedLines::default();
    let mut open: Vec<&str> = Vec::new();
    let mut calendar_ended = false;
    for line in text.trim_start_matches('\u{feff}').lines() {
        if line.trim().is_empty() {
            continue;
        }
        let name = property_name(line);
        if is_same(name, "BEGIN") {
            open.push(property_value(line));
        }
        let inside = open.get(1).copied().unwrap_or_default();
        match open.len() {
            // Text that a server appends after the end, such as a warning, is ignored.
            0 if calendar_ended && !is_same(name, "END") => continue,
            0 if calendar_ended => return Err(FeedParseError::Truncated),
            0 => return Err(FeedParseError::NotCalendar),
            1 if is_same(name, "BEGIN") && !is_same(open[0], "VCALENDAR") => return Err(FeedParseError::NotCalendar),
            1 if is_same(name, "X-WR-TIMEZONE") => lines.calendar_zone = Some(property_value(line)),
            1 if is_same(name, "X-WR-CALNAME") => lines.calendar_name = Some(property_value(line)),
            2 if is_same(name, "BEGIN") && is_same(inside, "VEVENT") => {
                if lines.events.len() == MAX_EVENTS {
                    return Err(FeedParseError::TooManyEvents(MAX_EVENTS));
                }
                lines.events.push(Vec::new());
            }
            2 if is_same(inside, "VEVENT") && is_read(name) => {
                if let Some(event) = lines.events.last_mut() {
                    event.push(line);
                }
            }
            depth if is_same(inside, "VTIMEZONE") => {
                if depth == 2 && is_same(name, "BEGIN") {
                    lines.zones.push(Vec::new());
                }
                if let Some(zone) = lines.zones.last_mut() {
                    zone.push(line);
                }
            }
            _ => {}
        }
        if is_same(name, "END") {
            match open.pop() {
                Some(opened) if is_same(opened, property_value(line)) => calendar_ended |= open.is_empty(),
                _ => return Err(FeedParseError::Truncated),
            }
        }
    }
    match (open.is_empty(), calendar_ended) {
        (true, true) => Ok(lines),
        (true, false) => Err(FeedParseError::NotCalendar),
        (false, _) => Err(FeedParseError::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_lines(text: &str) -> Result<Vec<Vec<String>>, FeedParseError> {
        let lines = split_components(text, |name| ["UID", "SUMMARY"].contains(&name))?;
        Ok(lines.events.iter().map(|event| event.iter().map(|&line| line.to_owned()).collect()).collect())
    }

    #[test]
    fn lines_are_unfolded_before_they_are_decoded() {
        let hebrew = "SUMMARY:שלום".as_bytes();
        for cut in 0..=hebrew.len() {
            for fold in [&b"\r\n "[..], b"\n ", b"\r\n\t"] {
                let body = [&hebrew[..cut], fold, &hebrew[cut..], b"\r\nUID:1"].concat();
                assert_eq!(unfold_lines(&body), "SUMMARY:שלום\nUID:1", "{cut}");
            }
        }
        assert_eq!(unfold_lines(b"SUMMARY:\xf9\xec\nUID:1\n"), "SUMMARY:\u{fffd}\u{fffd}\nUID:1\n");
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
}
