//! Every sample of `events/unusual/ics-identity`: events without a `UID` of their own, exceptions
//! that replace nothing, and labels in unusual texts.

use jiff::Timestamp;
use serde_json::Value;
use tellonce_core::{
    client_config::{CalendarKind, ClientConfig, FeedTextRule},
    contact::PhoneError,
    feed::FeedSnapshot,
};

use super::{
    diff::{FeedChanges, FeedOrigin, FeedVerdict, compare_feed},
    occurrence::{ParsedFeed, TimeWindow},
    tests::{feed_config, feed_rule, parse_window, parse_with},
};

const FOLDER: &str = "unusual/ics-identity";

struct IdentitySample {
    name: String,
    body: String,
    facts: Value,
    window: TimeWindow,
}

fn samples() -> Vec<IdentitySample> {
    let manifest = tellonce_samples::read_sample_json(&format!("{FOLDER}/manifest.json"));
    let window = parse_window(manifest["window"][0].as_str().unwrap(), manifest["window"][1].as_str().unwrap());
    let cases = manifest["cases"].as_array().unwrap().iter();
    let samples = cases.map(|case| {
        let body = tellonce_samples::read_sample(&format!("{FOLDER}/{}", case["body_file"].as_str().unwrap()));
        let name = case["case"].as_str().unwrap().to_owned();
        IdentitySample { name, body: String::from_utf8(body).unwrap(), facts: case["facts"].clone(), window }
    });
    samples.collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().map(|text| text.as_str().unwrap()).collect()).unwrap_or_default()
}

impl IdentitySample {
    fn config(&self) -> ClientConfig {
        let mut config = feed_config();
        let CalendarKind::Ics(rule) = &mut config.calendars.get_mut("clinic").unwrap().kind else { panic!() };
        let after = texts(&self.facts["phone"]["after"]).into_iter().map(str::to_owned).collect();
        rule.phone = FeedTextRule { field: self.facts["phone"]["field"].as_str().unwrap().to_owned(), after };
        config
    }

    fn parse(&self, config: &ClientConfig, body: &str) -> ParsedFeed {
        parse_with(config, &config.calendars["clinic"], body.as_bytes(), self.window, &[], None).unwrap()
    }

    fn expected(&self) -> Vec<(Timestamp, String)> {
        let occurrences = self.facts["occurrences"].as_array().unwrap().iter();
        let facts = occurrences.map(|fact| {
            (fact["starts_at"].as_str().unwrap().parse().unwrap(), fact["phone_e164"].as_str().unwrap().to_owned())
        });
        facts.collect()
    }
}

fn starts_and_numbers(feed: &ParsedFeed) -> Vec<(Timestamp, String)> {
    let mut found: Vec<_> = feed
        .occurrences
        .values()
        .map(|it| (it.start, it.attendee.as_ref().unwrap().phone.expose().to_owned()))
        .collect();
    found.sort();
    found
}

#[test]
fn every_person_of_an_unusual_feed_is_found_or_the_feed_names_the_event() {
    for sample in samples() {
        let (config, name) = (sample.config(), &sample.name);
        let feed = sample.parse(&config, &sample.body);
        assert_eq!(starts_and_numbers(&feed), sample.expected(), "{name}");
        assert_eq!(feed.ignored_events.keys().collect::<Vec<_>>(), texts(&sample.facts["ignored"]), "{name}");
        assert_eq!(feed.unparsed_events.keys().collect::<Vec<_>>(), texts(&sample.facts["not_understood"]), "{name}");
        let unnumbered = feed.unreachable.iter().filter(|(_, (_, problem))| *problem != PhoneError::Empty);
        let mut unnumbered: Vec<&str> = unnumbered.map(|(id, _)| id.as_str()).collect();
        let mut expected = texts(&sample.facts["without_number"]);
        unnumbered.sort_unstable();
        expected.sort_unstable();
        assert_eq!(unnumbered, expected, "{name}");
    }
}

#[test]
fn an_unusual_feed_reports_each_appointment_once_even_under_other_uids() {
    for sample in samples() {
        let (config, name) = (sample.config(), &sample.name);
        let calendar = &config.calendars["clinic"];
        let origin = FeedOrigin { name: "clinic", calendar, rule: feed_rule(calendar) };
        let mut snapshot = FeedSnapshot::default();
        let mut read = |body: &str, minutes: i64| {
            let now = sample.window.from + jiff::SignedDuration::from_mins(minutes);
            let feed = sample.parse(&config, body);
            let verdict = compare_feed(&snapshot, &feed, origin, sample.window, now);
            let FeedVerdict::Changes(FeedChanges { pending, changes, new_count, .. }) = verdict else {
                panic!("{name}")
            };
            snapshot.occurrences = pending;
            snapshot.read_at = Some(now);
            let count = changes.len();
            for change in changes {
                change.record_reported(&mut snapshot.occurrences);
            }
            (count, new_count)
        };
        assert_eq!(read(&sample.body, 0), (sample.expected().len(), 0), "{name}");
        assert_eq!(read(&sample.body, 15), (0, 0), "{name}: unchanged");
        for (number, minutes) in [(1, 30), (2, 45), (3, 60)] {
            let renamed = sample.body.replace("UID:", &format!("UID:{number}-"));
            assert_eq!(read(&renamed, minutes), (0, 0), "{name}: other UIDs");
        }
        assert_eq!(read(&sample.body, 75), (0, 0), "{name}: the first UIDs again");
    }
}

#[test]
fn every_file_is_in_the_manifest() {
    tellonce_samples::assert_all_files_listed(FOLDER, &[]);
}
