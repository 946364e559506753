//! The calendars of `events/unusual/ics`: what programs write against the standard or at its edge.
//! Each is read and compared with its manifest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tellonce_core::{
    appointment::AppointmentStatus, client_config::ClientConfig, content_type::find_charset, feed::FeedSnapshot,
};
use tellonce_samples::{assert_all_files_listed, read_sample, read_sample_json, read_sample_text};

use super::{
    diff::{FeedOrigin, FeedVerdict, compare_feed},
    ics::parse_feed,
    occurrence::{FeedScope, KnownIds, ParsedFeed, TimeWindow},
    poller::build_window,
    tests::{CLIENT_TOML, feed_rule},
};

const FOLDER: &str = "unusual/ics";

fn unusual_config() -> ClientConfig {
    ClientConfig::parse(&CLIENT_TOML.replacen("\"tel:\"", "\"tel:\", \"טלפון:\"", 1)).unwrap()
}

fn cases() -> Vec<Value> {
    read_sample_json(&format!("{FOLDER}/manifest.json"))["cases"].as_array().unwrap().clone()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().map(|text| text.as_str().unwrap()).collect()).unwrap_or_default()
}

/// Reads the body of a case at its time. Also returns the window.
fn read_case(config: &ClientConfig, case: &Value, known: &KnownIds<'_>) -> (ParsedFeed, TimeWindow) {
    let file = |name: &str| format!("{FOLDER}/{name}");
    let headers = case["headers_file"].as_str().map(|name| read_sample_text(&file(name)));
    let content_type =
        headers.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("Content-Type: "));
    let calendar = &config.calendars["clinic"];
    let window = build_window(calendar, parse_now(case));
    let charset = content_type.and_then(find_charset);
    let scope = FeedScope { rule: feed_rule(calendar), calendar, config, window, known, calendar_id: None, charset };
    let body = read_sample(&file(case["body_file"].as_str().unwrap()));
    (parse_feed(body, scope).unwrap_or_else(|error| panic!("{}: {error}", case["case"])), window)
}

fn parse_now(case: &Value) -> Timestamp {
    case["now"].as_str().unwrap().parse().unwrap()
}

#[test]
fn unusual_calendars_are_read_as_their_manifest_says() {
    let config = unusual_config();
    assert_all_files_listed(FOLDER, &[]);
    for case in cases() {
        let (feed, _) = read_case(&config, &case, &KnownIds::default());
        let booked = feed.occurrences.iter().filter(|(_, it)| it.status == AppointmentStatus::Booked);
        let booked: BTreeMap<&str, String> = booked.map(|(id, it)| (id.as_str(), it.start.to_string())).collect();
        let expected = case["occurrences"].as_object().unwrap().iter();
        let expected: BTreeMap<&str, String> =
            expected.map(|(id, start)| (id.as_str(), start.as_str().unwrap().to_owned())).collect();
        assert_eq!(booked, expected, "{}: {:?}", case["case"], feed.unparsed_events);
        let other = feed.occurrences.iter().filter(|(_, it)| it.status != AppointmentStatus::Booked);
        let cancelled: Vec<&str> =
            other.map(|(id, it)| (it.status == AppointmentStatus::Cancelled).then_some(id.as_str()).unwrap()).collect();
        assert_eq!(cancelled, texts(&case["cancelled"]), "{}", case["case"]);
        let not_understood: Vec<&str> = feed.unparsed_events.keys().map(String::as_str).collect();
        assert_eq!(not_understood, texts(&case["not_understood"]), "{}", case["case"]);
        assert!(feed.unreachable.is_empty() && feed.foreign_events.is_empty(), "{}", case["case"]);
        assert!(feed.occurrences.values().all(|it| it.attendee.is_ok()), "{}", case["case"]);
    }
}

#[test]
fn the_last_occurrence_of_an_ended_series_can_still_move_and_be_cancelled() {
    let config = unusual_config();
    let calendar = &config.calendars["clinic"];
    let mut snapshot = FeedSnapshot::default();
    let mut reports = Vec::new();
    for case in cases().iter().filter(|case| case["case"].as_str().unwrap().starts_with("last-lesson-moved")) {
        let now = parse_now(case);
        let known = KnownIds::of_upcoming(&snapshot, parse_now(case));
        let (feed, window) = read_case(&config, case, &known);
        let origin = FeedOrigin { name: "clinic", calendar, rule: feed_rule(calendar) };
        let FeedVerdict::Changes(changes) = compare_feed(&snapshot, &feed, origin, window, now) else { panic!() };
        snapshot.read_at = Some(now);
        snapshot.occurrences = changes.pending;
        for change in changes.changes {
            let start = change.report.details.as_ref().map(|details| details.start.to_string()).unwrap();
            reports.push(format!("{} {} {start}", change.id, change.report.status.name()));
            change.record_reported(&mut snapshot.occurrences);
        }
    }
    let course = "course/20261120T100000Z";
    let expected = [
        format!("{course} booked 2026-12-01T11:00:00Z"),
        "other booked 2026-12-03T10:00:00Z".to_owned(),
        format!("{course} booked 2026-12-02T15:00:00Z"),
        format!("{course} cancelled 2026-12-02T15:00:00Z"),
    ];
    assert_eq!(reports, expected);
}

#[test]
fn what_a_calendar_of_another_character_set_says_is_read() {
    let config = unusual_config();
    for name in ["windows_1255", "utf_16"] {
        let case = cases().into_iter().find(|case| case["case"] == name).unwrap();
        let (feed, _) = read_case(&config, &case, &KnownIds::default());
        let occurrence = feed.occurrences.values().next().unwrap();
        assert_eq!(occurrence.attendee.as_ref().unwrap().phone.expose(), "+972545550199", "{name}");
        let title = occurrence.title.as_deref().unwrap();
        assert!(["ייעוץ - נועה", "תור"].contains(&title), "{name}: {title}");
    }
}
