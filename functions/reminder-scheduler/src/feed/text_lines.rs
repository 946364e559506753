//! From bytes to content lines (RFC 5545, section 3.1).
//!
//! A function has little memory, and strangers can make a feed grow. So a body is unfolded in
//! place, and the lines of one event at a time become text. Of an event, only the requested
//! properties are kept and no inner component: an alarm has a separate description, and attachments
//! can be most of a body.
//!
//! Some programs break a long text without folding it. A line that cannot be a property therefore
//! continues the text before it. [`RawLine::begins_property`] decides that.

use std::ops::{Range, RangeInclusive};

use super::parse_error::IcsEventError;

/// The largest event or zone, in bytes of its kept lines. Long descriptions have some thousands.
const MAX_COMPONENT_BYTES: usize = 64 * 1024;

/// Components by their names in the standard and its extensions. Others may exist.
const COMPONENTS: [&str; 14] = [
    "VCALENDAR",
    "VEVENT",
    "VTODO",
    "VJOURNAL",
    "VFREEBUSY",
    "VTIMEZONE",
    "STANDARD",
    "DAYLIGHT",
    "VALARM",
    "VAVAILABILITY",
    "AVAILABLE",
    "PARTICIPANT",
    "VLOCATION",
    "VRESOURCE",
];

/// Properties of events whose values are one token, one time or one address. Such a value is never
/// continued on another line without a fold.
const TOKEN_PROPERTIES: [&str; 29] = [
    "UID",
    "RECURRENCE-ID",
    "DTSTART",
    "DTEND",
    "DTSTAMP",
    "DURATION",
    "RRULE",
    "EXRULE",
    "RDATE",
    "EXDATE",
    "STATUS",
    "SEQUENCE",
    "CREATED",
    "LAST-MODIFIED",
    "TRANSP",
    "CLASS",
    "PRIORITY",
    "GEO",
    "PERCENT-COMPLETE",
    "COMPLETED",
    "DUE",
    "ORGANIZER",
    "ATTENDEE",
    "ATTACH",
    "URL",
    "RELATED-TO",
    "REQUEST-STATUS",
    "COLOR",
    "IMAGE",
];

/// The other properties of events in the standard and its extensions, whose values are texts.
const TEXT_PROPERTIES: [&str; 12] = [
    "SUMMARY",
    "DESCRIPTION",
    "LOCATION",
    "COMMENT",
    "CONTACT",
    "CATEGORIES",
    "RESOURCES",
    "CONFERENCE",
    "STYLED-DESCRIPTION",
    "STRUCTURED-DATA",
    "CONCEPT",
    "LINK",
];

/// The lengths of a line, in bytes, at which programs fold.
const FOLD_LENGTHS: RangeInclusive<usize> = 70..=76;

/// The most `\r`s before a `\n` that are one line end: some programs double the first.
const MAX_RETURNS: usize = 3;

/// Unfolds a body in place. Lines are folded at any byte, also inside a character, so unfolding
/// comes before decoding. A line ends with `\n`, `\r`, or `\r`s before a `\n`.
pub(super) fn unfold_lines(mut body: Vec<u8>) -> Vec<u8> {
    let (mut kept, mut at) = (0, 0);
    while let Some(length) = body[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let line_end = at + length;
        body.copy_within(at..line_end, kept);
        kept += length;
        let returns = body[line_end..].iter().take(MAX_RETURNS).take_while(|byte| **byte == b'\r').count();
        at = match body.get(line_end + returns) {
            Some(b'\n') => line_end + returns + 1,
            _ => line_end + 1,
        };
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

/// A name without the quotes and backslashes around its special characters.
pub(super) fn unescape_name(written: &str) -> String {
    let mut name = String::with_capacity(written.len());
    let mut characters = written.trim().trim_matches('"').chars().peekable();
    while let Some(c) = characters.next() {
        match characters.peek() {
            Some(escaped @ (',' | ';' | '\\' | ':')) if c == '\\' => {
                name.push(*escaped);
                characters.next();
            }
            _ => name.push(c),
        }
    }
    name.trim().to_owned()
}

/// A content line, before it is decoded.
#[derive(Clone, Copy)]
pub(super) struct RawLine<'a>(&'a [u8]);

/// The first or the last line of a component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary<'a> {
    Begin(&'a [u8]),
    End(&'a [u8]),
}

/// Compares ASCII without case.
pub(super) fn is_name(written: &[u8], name: &str) -> bool {
    written.eq_ignore_ascii_case(name.as_bytes())
}

impl<'a> RawLine<'a> {
    /// The name before parameters and value.
    pub(super) fn name(self) -> &'a [u8] {
        self.0.split(|byte| matches!(byte, b':' | b';')).next().unwrap_or_default().trim_ascii()
    }

    fn raw_value(self) -> &'a [u8] {
        let colon = self.0.iter().position(|byte| *byte == b':');
        colon.map_or(&[], |colon| &self.0[colon + 1..])
    }

    /// The value of a line whose parameters contain no colon.
    pub(super) fn value(self) -> &'a [u8] {
        self.raw_value().trim_ascii()
    }

    /// Whether the line begins or ends a component. `End: 10:30` is a text.
    pub(super) fn boundary(self) -> Option<Boundary<'a>> {
        let (name, value) = (self.name(), self.value());
        let boundary = match () {
            () if is_name(name, "BEGIN") => Boundary::Begin(value),
            () if is_name(name, "END") => Boundary::End(value),
            () => return None,
        };
        let is_token = !value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        let is_listed = COMPONENTS.iter().any(|component| is_name(value, component));
        let is_plain = has_one_case(name) && self.raw_value().len() == value.len();
        (is_token && (is_listed || is_plain)).then_some(boundary)
    }

    /// Whether the line begins a property. Else it continues the text `before` it.
    ///
    /// After a property that is not a text, every line does. After a text, a line does that has the
    /// name of a known property, in upper case if the text's own name is. Labels in texts have a
    /// space behind their colon, which the values of properties seldom have.
    fn begins_property(self, before: Option<PropertyLine<'_>>, is_read: impl Fn(&str) -> bool) -> bool {
        let Some(before) = before.filter(PropertyLine::is_text) else { return true };
        let name = self.0.split(|byte| matches!(byte, b':' | b';')).next().unwrap_or_default();
        let is_token = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if name.is_empty() || !is_token || name.len() == self.0.len() {
            return false;
        }
        let Ok(text) = std::str::from_utf8(name) else { return false };
        let has_space = self.raw_value().starts_with(b" ");
        if is_extension(name) {
            return !has_space || is_upper_case(name);
        }
        if !is_listed_property(name) && !is_read(text) {
            // An extension without "X-".
            return is_upper_case(name) && !has_space && !before.is_continued;
        }
        let is_label = is_listed(&TOKEN_PROPERTIES, name) && has_space && !before.has_space;
        !is_label && (is_upper_case(name) || !is_upper_case(before.name))
    }
}

fn is_upper_case(name: &[u8]) -> bool {
    !name.iter().any(u8::is_ascii_lowercase)
}

fn has_one_case(name: &[u8]) -> bool {
    is_upper_case(name) || !name.iter().any(u8::is_ascii_uppercase)
}

fn is_extension(name: &[u8]) -> bool {
    name.get(..2).is_some_and(|prefix| is_name(prefix, "X-"))
}

fn is_listed(properties: &[&str], name: &[u8]) -> bool {
    properties.iter().any(|property| is_name(name, property))
}

fn is_listed_property(name: &[u8]) -> bool {
    is_listed(&TOKEN_PROPERTIES, name) || is_listed(&TEXT_PROPERTIES, name)
}

/// The property that the lines so far belong to.
#[derive(Clone, Copy)]
struct PropertyLine<'a> {
    name: &'a [u8],
    is_kept: bool,
    /// Whether its value begins with a space.
    has_space: bool,
    /// Whether it has more than one line.
    is_continued: bool,
}

impl PropertyLine<'_> {
    fn is_text(&self) -> bool {
        !is_listed(&TOKEN_PROPERTIES, self.name)
    }
}

/// The lines of a part of the body that are not empty, each with where it begins and where the next
/// one does.
pub(super) fn lines_of(text: &[u8], part: Range<usize>) -> impl Iterator<Item = (RawLine<'_>, Range<usize>)> {
    let mut at = part.start;
    text[part].split_inclusive(|byte| *byte == b'\n').filter_map(move |line| {
        let place = at..at + line.len();
        at = place.end;
        let line = line.trim_ascii_end();
        (!line.trim_ascii().is_empty()).then_some((RawLine(line), place))
    })
}

/// The requested lines of an event, without those of inner components. Bytes that are not UTF-8
/// become U+FFFD. `is_read` returns whether a property is kept, by its name.
pub(super) fn read_event_lines(
    text: &[u8],
    event: Range<usize>,
    is_read: impl Fn(&str) -> bool,
) -> Result<String, IcsEventError> {
    let mut kept = String::new();
    let mut open: Vec<&[u8]> = Vec::new();
    let mut property: Option<PropertyLine<'_>> = None;
    let mut last_length = 0;
    for (line, _) in lines_of(text, event) {
        match (line.boundary(), open.last()) {
            (Some(Boundary::Begin(name)), _) => {
                open.push(name);
                property = None;
            }
            (Some(Boundary::End(name)), Some(inner)) if name.eq_ignore_ascii_case(inner) => drop(open.pop()),
            (_, Some(_)) => {}
            (boundary, None) if boundary.is_none() && line.begins_property(property, &is_read) => {
                let is_kept = std::str::from_utf8(line.name()).is_ok_and(&is_read);
                let has_space = line.raw_value().starts_with(b" ");
                property = Some(PropertyLine { name: line.name(), is_kept, has_space, is_continued: false });
                if is_kept {
                    push_line(&mut kept, "", line)?;
                }
            }
            (_, None) => {
                if let Some(property) = &mut property {
                    property.is_continued = true;
                }
                if property.is_some_and(|property| property.is_kept && property.is_text()) {
                    kept.pop();
                    let joint = joint(&kept, last_length, line);
                    push_line(&mut kept, joint, line)?;
                }
            }
        }
        last_length = line.0.len();
    }
    Ok(kept)
}

/// What joins a text with the line that continues it: a line break. If a number may have been cut
/// where programs fold, a mark that no number contains.
fn joint(before: &str, last_length: usize, line: RawLine<'_>) -> &'static str {
    let is_number = |c: char| c.is_ascii_digit() || c == '-';
    let begins_with_number = line.0.first().is_some_and(|byte| is_number(char::from(*byte)));
    let may_be_cut = FOLD_LENGTHS.contains(&last_length) && before.ends_with(is_number) && begins_with_number;
    if may_be_cut { "\u{fffd}" } else { "\\n" }
}

/// All lines of a zone.
pub(super) fn read_zone_lines(text: &[u8], zone: Range<usize>) -> Option<String> {
    let mut kept = String::new();
    lines_of(text, zone).try_for_each(|(line, _)| push_line(&mut kept, "", line)).ok()?;
    Some(kept)
}

fn push_line(kept: &mut String, joint: &str, line: RawLine<'_>) -> Result<(), IcsEventError> {
    if kept.len() + joint.len() + line.0.len() > MAX_COMPONENT_BYTES {
        return Err(IcsEventError::OverBudget);
    }
    kept.push_str(joint);
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

    fn read(text: &str) -> Vec<String> {
        let is_read =
            |name: &str| ["UID", "SUMMARY", "DESCRIPTION", "LOCATION"].iter().any(|it| it.eq_ignore_ascii_case(name));
        let lines = read_event_lines(text.as_bytes(), 0..text.len(), is_read).unwrap();
        lines.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_unfolded_before_they_are_decoded() {
        let hebrew = "SUMMARY:שלום".as_bytes();
        for cut in 0..=hebrew.len() {
            for fold in [&b"\r\n "[..], b"\n ", b"\r\n\t", b"\r ", b"\r\r\n "] {
                let body = [&hebrew[..cut], fold, &hebrew[cut..], b"\r\nUID:1"].concat();
                assert_eq!(unfold(&body), "SUMMARY:שלום\nUID:1", "{cut}");
            }
        }
        assert_eq!(unfold(b"SUMMARY:\xf9\xec\nUID:1\n"), "SUMMARY:\u{fffd}\u{fffd}\nUID:1\n");
        assert_eq!(unfold(b"UID:1\rSUMMARY:x\r"), "UID:1\nSUMMARY:x\n", "line ends of old programs");
        assert_eq!(unfold(b"UID:1\r\r\nSUMMARY:x\r\r"), "UID:1\nSUMMARY:x\n\n");
    }

    #[test]
    fn a_line_that_is_no_property_continues_the_text_before_it() {
        let text = "UID:1\nDESCRIPTION:Booked online\nStart: 10:00\nEnd: 10:30\nPhone: 054-555-0199\n\nhttps://a.example/b\n\
                    Location: first floor\nRAV-KAV: yes\nsummary: none\nעם כלב: לא\nLOCATION:Herzl 5\nX-A:b\nSUMMARY:Cut\nNoa";
        let description = "DESCRIPTION:Booked online\\nStart: 10:00\\nEnd: 10:30\\nPhone: 054-555-0199\
                           \\nhttps://a.example/b\\nLocation: first floor\\nRAV-KAV: yes\\nsummary: none\\nעם כלב: לא";
        assert_eq!(read(text), ["UID:1", description, "LOCATION:Herzl 5", "SUMMARY:Cut\\nNoa"]);
        let ends =
            "UID:1\nDESCRIPTION:Copied:\nEND:VEVENT\nPhone: 1\nBEGIN:VALARM\nSUMMARY:Beep\nEND:VALARM\nSUMMARY:x\n";
        assert_eq!(read(ends), ["UID:1", "DESCRIPTION:Copied:\\nEND:VEVENT\\nPhone: 1", "SUMMARY:x"]);
    }

    #[test]
    fn names_of_properties_have_either_case_after_other_properties() {
        assert_eq!(read("UID:1\nsummary:x\nDescription:y\nuid:2"), ["UID:1", "summary:x", "Description:y", "uid:2"]);
        assert_eq!(read("UID:1\njunk\nSUMMARY:x\nUID:2"), ["UID:1", "SUMMARY:x", "UID:2"], "a token has one line");
        assert_eq!(read("SUMMARY:x\nX-Info:y\nDESCRIPTION:z"), ["SUMMARY:x", "DESCRIPTION:z"]);
        assert_eq!(read("SUMMARY:x\nX-ray: bring it\nSTATUS:y"), ["SUMMARY:x\\nX-ray: bring it"]);
        assert_eq!(read("SUMMARY:x\nCREATED-BY:y\nDESCRIPTION: z"), ["SUMMARY:x", "DESCRIPTION: z"]);
        assert_eq!(read("SUMMARY:x\nand y\nTEL:1"), ["SUMMARY:x\\nand y\\nTEL:1"]);
        let labels = "DESCRIPTION:x\nSTATUS: paid\nURL: https://a.example\nPhone: 1\nUID:2";
        assert_eq!(read(labels), ["DESCRIPTION:x\\nSTATUS: paid\\nURL: https://a.example\\nPhone: 1", "UID:2"]);
        assert_eq!(read("SUMMARY: x\nUID: 2"), ["SUMMARY: x", "UID: 2"], "a program that writes spaces");
    }

    #[test]
    fn a_number_that_may_be_cut_is_not_joined() {
        let long = format!("DESCRIPTION:{}", "x".repeat(50));
        let cut = |line: &str| read(&format!("{long}{line}")).concat().split_at(long.len()).1.to_owned();
        assert_eq!(cut("054-555-0\n199"), "054-555-0\u{fffd}199");
        assert_eq!(cut("054-555-0199\n199"), "054-555-0199\u{fffd}199");
        assert_eq!(cut("054-555-0199\nNoa"), "054-555-0199\\nNoa");
        assert_eq!(read("DESCRIPTION:054-555-0199\n2 people"), ["DESCRIPTION:054-555-0199\\n2 people"]);
    }

    #[test]
    fn only_components_begin_and_end() {
        let boundary = |line: &'static str| RawLine(line.as_bytes()).boundary().is_some();
        for component in ["BEGIN:VEVENT", "end:vevent", "End:VEvent", "BEGIN:X-COMP", "BEGIN:A", "END: VCALENDAR"] {
            assert!(boundary(component), "{component}");
        }
        for text in ["End: 10:30", "Begin: Haircut", "END:", "END: soon", "End:soon", "END:of the day", "ENDS:VEVENT"] {
            assert!(!boundary(text), "{text}");
        }
    }

    #[test]
    fn a_name_is_unescaped_and_unquoted() {
        for (written, name) in [
            (" Jerusalem\\, Israel ", "Jerusalem, Israel"),
            ("\"a\\;b\"", "a;b"),
            ("a\\\\b", "a\\b"),
            ("a\\nb\\", "a\\nb\\"),
        ] {
            assert_eq!(unescape_name(written), name);
        }
    }

    #[test]
    fn an_event_that_is_too_large_is_an_error() {
        let large = format!("UID:1\nSUMMARY:{}\n", "x".repeat(MAX_COMPONENT_BYTES));
        assert_eq!(read_event_lines(large.as_bytes(), 0..large.len(), |_| true), Err(IcsEventError::OverBudget));
        assert_eq!(read_event_lines(large.as_bytes(), 0..large.len(), |name| name == "UID"), Ok("UID:1\n".to_owned()));
    }
}
