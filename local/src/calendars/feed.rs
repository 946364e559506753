//! Feeds: a file, the events that the console wrote, and the conditional request.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use shared::digest::sha256_hex;

use crate::peers::Said;

/// An event that the console, or a test, wrote into a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its uid.
    pub uid: String,
    /// When it begins.
    pub start: Timestamp,
    /// Its IANA zone.
    pub zone: String,
    /// Counts its changes, from 0.
    pub sequence: u32,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// Its text properties by lower-case name: `summary`, `description`, `x-phone`.
    pub texts: BTreeMap<String, String>,
}

impl Event {
    fn write(&self, text: &mut String) {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let start = self.start.to_zoned(zone);
        let end = start.saturating_add(jiff::Span::new().minutes(30));
        let mut line = |line: String| {
            fold(&line, text);
            text.push_str("\r\n");
        };
        line("BEGIN:VEVENT".to_owned());
        line(format!("UID:{}", self.uid));
        line(format!("DTSTAMP:{}", self.changed_at.strftime("%Y%m%dT%H%M%SZ")));
        line(format!("LAST-MODIFIED:{}", self.changed_at.strftime("%Y%m%dT%H%M%SZ")));
        line(format!("SEQUENCE:{}", self.sequence));
        line(format!("DTSTART;TZID={}:{}", self.zone, start.strftime("%Y%m%dT%H%M%S")));
        line(format!("DTEND;TZID={}:{}", self.zone, end.strftime("%Y%m%dT%H%M%S")));
        for (name, value) in &self.texts {
            line(format!("{}:{}", name.to_ascii_uppercase(), escaped(value)));
        }
        line("STATUS:CONFIRMED".to_owned());
        line("END:VEVENT".to_owned());
    }
}

/// A line in pieces of at most 75 bytes, RFC 5545 section 3.1.
fn fold(line: &str, text: &mut String) {
    let mut length = 0;
    for c in line.chars() {
        if length + c.len_utf8() > 75 {
            text.push_str("\r\n ");
            length = 1;
        }
        text.push(c);
        length += c.len_utf8();
    }
}

/// A text value, RFC 5545 section 3.3.11.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,").replace('\n', "\\n")
}

const END: &str = "END:VCALENDAR";

/// A file's text with events put in at its end; a calendar of its own without a file. A file that is no calendar stays
/// as it is: whoever broke it wants to see what happens.
pub(super) fn with_events<'a>(file: Option<&str>, events: impl Iterator<Item = &'a Event>) -> String {
    let empty = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tellonce//local stack//EN\r\nEND:VCALENDAR\r\n";
    let file = file.unwrap_or(empty);
    let Some(end) = file.rfind(END) else { return file.to_owned() };
    let mut text = file[..end].to_owned();
    for event in events {
        event.write(&mut text);
    }
    text.push_str(&file[end..]);
    text
}

/// The feed, or 304 when whoever asks has it already.
pub(super) fn answer(text: &str, headers: &HeaderMap) -> Said {
    let etag = format!("\"{}\"", sha256_hex(text.as_bytes(), 8));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let same = known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag);
    let mut headers = vec![(header::ETAG, etag)];
    if same {
        return Said { status: StatusCode::NOT_MODIFIED, headers, body: Vec::new() };
    }
    headers.push((header::CONTENT_TYPE, "text/calendar; charset=utf-8".to_owned()));
    Said { status: StatusCode::OK, headers, body: text.as_bytes().to_vec() }
}
