//! Feeds: a file, the events that the console added, and the conditional request.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tellonce_core::hash::sha256_hex;

use crate::services::FakeReply;

/// An event that the console or a test added to a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeFeedEvent {
    /// Its uid.
    pub uid: String,
    /// The start.
    pub start: Timestamp,
    /// Its IANA time zone.
    pub zone: String,
    /// The number of its changes, from 0.
    pub sequence: u32,
    /// The time of its last change.
    pub changed_at: Timestamp,
    /// Its text properties by lower-case name: `summary`, `description`, `x-phone`.
    pub texts: BTreeMap<String, String>,
}

impl FakeFeedEvent {
    fn write_ics(&self, text: &mut String) {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let start = self.start.to_zoned(zone);
        let end = start.saturating_add(jiff::Span::new().minutes(30));
        let mut push_line = |line: String| {
            fold_line(&line, text);
            text.push_str("\r\n");
        };
        push_line("BEGIN:VEVENT".to_owned());
        push_line(format!("UID:{}", self.uid));
        push_line(format!("DTSTAMP:{}", self.changed_at.strftime("%Y%m%dT%H%M%SZ")));
        push_line(format!("LAST-MODIFIED:{}", self.changed_at.strftime("%Y%m%dT%H%M%SZ")));
        push_line(format!("SEQUENCE:{}", self.sequence));
        push_line(format!("DTSTART;TZID={}:{}", self.zone, start.strftime("%Y%m%dT%H%M%S")));
        push_line(format!("DTEND;TZID={}:{}", self.zone, end.strftime("%Y%m%dT%H%M%S")));
        for (name, value) in &self.texts {
            push_line(format!("{}:{}", name.to_ascii_uppercase(), escape_text(value)));
        }
        push_line("STATUS:CONFIRMED".to_owned());
        push_line("END:VEVENT".to_owned());
    }
}

/// Folds a line into pieces of at most 75 bytes, RFC 5545 section 3.1.
fn fold_line(line: &str, text: &mut String) {
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

/// Escapes a text value, RFC 5545 section 3.3.11.
fn escape_text(value: &str) -> String {
    value.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,").replace('\n', "\\n")
}

const CALENDAR_END: &str = "END:VCALENDAR";

/// The text of a file with events added at its end, or a new calendar without a file.
///
/// A file that is not a calendar stays unchanged, so that a person can test a broken feed.
pub(super) fn insert_events<'a>(file: Option<&str>, events: impl Iterator<Item = &'a FakeFeedEvent>) -> String {
    let empty = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tellonce//local stack//EN\r\nEND:VCALENDAR\r\n";
    let file = file.unwrap_or(empty);
    let Some(end) = file.rfind(CALENDAR_END) else { return file.to_owned() };
    let mut text = file[..end].to_owned();
    for event in events {
        event.write_ics(&mut text);
    }
    text.push_str(&file[end..]);
    text
}

/// The feed, or 304 if the caller has this version.
pub(super) fn feed_reply(text: &str, headers: &HeaderMap) -> FakeReply {
    let etag = format!("\"{}\"", sha256_hex(text.as_bytes(), 8));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let same = known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag);
    let mut headers = vec![(header::ETAG, etag)];
    if same {
        return FakeReply { status: StatusCode::NOT_MODIFIED, headers, body: Vec::new() };
    }
    headers.push((header::CONTENT_TYPE, "text/calendar; charset=utf-8".to_owned()));
    FakeReply { status: StatusCode::OK, headers, body: text.as_bytes().to_vec() }
}
