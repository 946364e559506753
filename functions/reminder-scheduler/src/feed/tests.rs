//! Tests of whole feeds: the sample, every relevant feature of the format, and truncated or hostile
//! bodies.
//!
//! Long because it shows every feature of the format once.

use std::{collections::BTreeMap, time::Instant};

use jiff::{Timestamp, ToSpan, civil::date, tz::TimeZone};
use proptest::prelude::*;
use serde_json::Value;
use tellonce_core::{
    appointment::AppointmentStatus,
    client_config::{CalendarConfig, CalendarKind, ClientConfig, FeedRule},
    contact::PhoneError,
};

use super::{
    ics::parse_feed,
    occurrence::{FeedScope, KnownIds, ParsedFeed, TimeWindow},
    parse_error::{FeedParseError, IcsEventError, MAX_BODY_BYTES},
};

pub(super) const CLIENT_TOML: &str = r#"
client = "demo"
name = "Demo"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line-1"

[calendars.clinic]
kind = "ics"
line = "main"
own_texts = true
phone = { field = "description", after = ["Phone:", "Phone", "tel:"] }
person = { field = "summary", after = [" - "] }

[calendars.clinic.reminders."24h"]
text.he = "x"

[calendars.team]
kind = "ics"
line = "main"
id_scope = "team"
phone = { field = "description", after = ["Phone:"] }
organizers = ["reception@clinic.example", "@branch.example"]

[calendars.abroad]
kind = "ics"
line = "main"
id_scope = "abroad"
time_zone = "America/New_York"
country = "US"
phone = { field = "x-phone" }
person = { field = "X-CLIENT-NAME" }
"#;

pub(super) fn feed_config() -> ClientConfig {
    ClientConfig::parse(CLIENT_TOML).unwrap()
}

pub(super) fn feed_rule(calendar: &CalendarConfig) -> &FeedRule {
    match &calendar.kind {
        CalendarKind::Ics(rule) => rule,
        other => panic!("{other:?}"),
    }
}

pub(super) fn parse_window(from: &str, until: &str) -> TimeWindow {
    TimeWindow { from: from.parse().unwrap(), until: until.parse().unwrap() }
}

/// November and December 2026.
pub(super) fn winter_window() -> TimeWindow {
    parse_window("2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z")
}

fn parse_as(calendar: &str, body: &[u8], window: TimeWindow, known: &[&str]) -> Result<ParsedFeed, FeedParseError> {
    let config = feed_config();
    let calendar = &config.calendars[calendar];
    parse_with(&config, calendar, body, window, known, None)
}

pub(super) fn parse_with(
    config: &ClientConfig,
    calendar: &CalendarConfig,
    body: &[u8],
    window: TimeWindow,
    known: &[&str],
    calendar_id: Option<&str>,
) -> Result<ParsedFeed, FeedParseError> {
    let known = KnownIds::new(known.iter().copied());
    let rule = feed_rule(calendar);
    let scope = FeedScope { rule, calendar, config, window, known: &known, calendar_id, charset: None };
    parse_feed(body.to_vec(), scope)
}

pub(super) fn calendar_ics(events: &str) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\n{events}END:VCALENDAR\n")
}

pub(super) fn event_ics(uid: &str, lines: &str) -> String {
    let lines: Vec<&str> = lines.split('|').map(str::trim).collect();
    let lines = lines.join("\n");
    format!("BEGIN:VEVENT\nUID:{uid}\n{lines}\nDESCRIPTION:Phone: 054-555-0199\nEND:VEVENT\n")
}

pub(super) fn parse_events(events: &str, window: TimeWindow) -> ParsedFeed {
    parse_as("clinic", calendar_ics(events).as_bytes(), window, &[]).unwrap()
}

fn ids_and_starts(feed: &ParsedFeed) -> Vec<(String, String)> {
    feed.occurrences.iter().map(|(id, occurrence)| (id.clone(), occurrence.start.to_string())).collect()
}

/// The starts of one event, without year and seconds: `11-24T08:30`.
fn event_starts(lines: &str) -> Vec<String> {
    let feed = parse_events(&event_ics("a", lines), winter_window());
    assert!(feed.unparsed_events.is_empty(), "{lines}: {:?}", feed.unparsed_events);
    let mut starts: Vec<_> = feed.occurrences.values().map(|occurrence| occurrence.start).collect();
    starts.sort();
    starts.iter().map(|start| start.strftime("%m-%dT%H:%M").to_string()).collect()
}

fn event_error(lines: &str) -> IcsEventError {
    let good = event_ics("good", "DTSTART:20261124T083000Z");
    let feed = parse_events(&(event_ics("a", lines) + &good), winter_window());
    assert!(feed.occurrences.contains_key("good") && feed.is_unparsed("a") && !feed.is_unparsed("good"), "{lines}");
    feed.unparsed_events["a"].clone()
}

fn sample_file(file: &str) -> Vec<u8> {
    tellonce_samples::read_sample(&format!("bookings/ics/{file}"))
}

#[test]
fn the_sample_feed_matches_its_manifest() {
    let manifest: Value = serde_json::from_slice(&sample_file("manifest.json")).unwrap();
    for case in manifest["cases"].as_array().unwrap() {
        let facts = &case["facts"];
        let window = parse_window(facts["window"][0].as_str().unwrap(), facts["window"][1].as_str().unwrap());
        let feed = parse_as("clinic", &sample_file(case["body_file"].as_str().unwrap()), window, &[]).unwrap();
        let expected: BTreeMap<String, (Timestamp, AppointmentStatus, String)> = facts["occurrences"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fact| {
                let uid = fact["uid"].as_str().unwrap();
                let id = match fact["recurrence_id"].as_str() {
                    Some(slot) => format!("{uid}/{}", slot.replace(['-', ':'], "")),
                    None => uid.to_owned(),
                };
                let status = match fact["status"].as_str().unwrap() {
                    "CONFIRMED" => AppointmentStatus::Booked,
                    "CANCELLED" => AppointmentStatus::Cancelled,
                    other => panic!("{other}"),
                };
                (id, (fact["starts_at"].as_str().unwrap().parse().unwrap(), status, fact["phone_e164"].to_string()))
            })
            .collect();
        let found = feed.occurrences.iter().map(|(id, occurrence)| {
            let phone = format!("{:?}", occurrence.attendee.as_ref().unwrap().phone.expose());
            (id.clone(), (occurrence.start, occurrence.status, phone))
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
        for ignored in facts["ignored"].as_array().unwrap() {
            assert!(!feed.occurrences.keys().any(|id| id.starts_with(ignored.as_str().unwrap())), "{ignored}");
        }
        assert!(feed.unparsed_events.is_empty());
    }
}

#[test]
fn the_sample_feed_gives_attendee_title_and_zone() {
    let window = parse_window("2026-11-20T00:00:00Z", "2026-12-10T00:00:00Z");
    let feed = parse_as("clinic", &sample_file("feed.ics"), window, &[]).unwrap();
    let first = &feed.occurrences["appt-1001@clinic.example.co.il"];
    assert_eq!(first.attendee.as_ref().unwrap().name.as_deref(), Some("Maya Bar"));
    assert_eq!((first.title.as_deref(), first.zone.as_str()), (Some("Consultation - Maya Bar"), "Asia/Jerusalem"));
    let moved = &feed.occurrences["series-7@clinic.example.co.il/20261123T070000Z"];
    assert_eq!(moved.title.as_deref(), Some("Physio - Adi Sela (moved)"));
    assert!(!format!("{feed:?}").contains("Maya") && !format!("{feed:?}").contains("5550199"), "{feed:?}");
}

#[test]
fn times_are_read_in_the_zone_that_they_name() {
    for (line, start, zone) in [
        ("DTSTART:20261124T083000Z", "11-24T08:30", "Asia/Jerusalem"),
        ("DTSTART;TZID=Asia/Jerusalem:20261124T103000", "11-24T08:30", "Asia/Jerusalem"),
        ("DTSTART;TZID=America/New_York:20261124T103000", "11-24T15:30", "America/New_York"),
        ("DTSTART;TZID=\"Israel Standard Time\":20261124T103000", "11-24T08:30", "Asia/Jerusalem"),
        ("DTSTART;TZID=W. Europe Standard Time:20261124T103000", "11-24T09:30", "Europe/Berlin"),
        ("DTSTART;TZID=GMT Standard Time:20261124T103000", "11-24T10:30", "Europe/London"),
        ("DTSTART;TZID=Eastern Standard Time:20261124T103000", "11-24T15:30", "America/New_York"),
        ("DTSTART;TZID=India Standard Time:20261124T103000", "11-24T05:00", "Asia/Calcutta"),
        ("DTSTART;TZID=/mozilla.org/20050126_1/Asia/Jerusalem:20261124T103000", "11-24T08:30", "Asia/Jerusalem"),
        ("DTSTART;TZID=\"(UTC+02:00) Jerusalem\":20261124T103000", "11-24T08:30", "Asia/Jerusalem"),
        ("DTSTART;TZID=UTC:20261124T103000", "11-24T10:30", "Asia/Jerusalem"),
        ("DTSTART;TZID=Asia/Jerusalem:20261124T103000Z", "11-24T10:30", "Asia/Jerusalem"),
        ("DTSTART:20261124T103000", "11-24T08:30", "Asia/Jerusalem"),
        ("DTSTART:20261124T103000+0530", "11-24T05:00", "Asia/Jerusalem"),
        ("dtstart;value=date-time;tzid=Asia/Jerusalem:20261124t103000", "11-24T08:30", "Asia/Jerusalem"),
    ] {
        let feed = parse_events(&event_ics("a", line), winter_window());
        assert!(feed.unparsed_events.is_empty(), "{line}: {:?}", feed.unparsed_events);
        let found = &feed.occurrences["a"];
        assert_eq!(
            (found.start.strftime("%m-%dT%H:%M").to_string().as_str(), found.zone.as_str()),
            (start, zone),
            "{line}"
        );
    }
}

#[test]
fn an_unknown_zone_is_an_error_and_not_guessed() {
    for zone in ["Clinic Time", "\"(UTC+02:00) Somewhere\"", "Customized Time Zone", "Asia/Atlantis"] {
        let error = event_error(&format!("DTSTART;TZID={zone}:20261124T103000"));
        assert!(matches!(error, IcsEventError::UnknownZone(_)), "{zone}: {error}");
    }
}

const PRIVATE_ZONE: &str = "BEGIN:VTIMEZONE\nTZID:Clinic Time\nBEGIN:STANDARD\nDTSTART:16010101T020000\n\
    RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0300\nTZOFFSETTO:+0200\nEND:STANDARD\nBEGIN:DAYLIGHT\n\
    DTSTART:16010101T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1FR\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0300\n\
    END:DAYLIGHT\nEND:VTIMEZONE\n";

#[test]
fn a_private_zone_follows_its_rules() {
    let daily = event_ics("a", "DTSTART;TZID=Clinic Time:20270324T023000|RRULE:FREQ=DAILY;COUNT=4");
    let spring =
        parse_events(&(PRIVATE_ZONE.to_owned() + &daily), parse_window("2027-03-01T00:00:00Z", "2027-04-01T00:00:00Z"));
    assert!(spring.unparsed_events.is_empty(), "{:?}", spring.unparsed_events);
    let found: Vec<_> = spring.occurrences.values().map(|occurrence| occurrence.start.to_string()).collect();
    // On the 26th, 02:30 does not exist; it lies behind the gap.
    let expected = ["2027-03-24T00:30:00Z", "2027-03-25T00:30:00Z", "2027-03-26T00:30:00Z", "2027-03-26T23:30:00Z"];
    assert_eq!(found, expected);
    assert!(
        spring.occurrences.values().all(|occurrence| occurrence.zone == "Asia/Jerusalem"),
        "the calendar's own zone"
    );
    // 01:30 happens twice on 2026-10-25: the first of the two.
    let twice = event_ics("a", "DTSTART;TZID=Clinic Time:20261025T013000");
    let autumn =
        parse_events(&(PRIVATE_ZONE.to_owned() + &twice), parse_window("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"));
    assert_eq!(autumn.occurrences["a"].start.to_string(), "2026-10-24T22:30:00Z");
}

#[test]
fn a_private_zone_is_read_by_its_iana_name_or_its_dates_or_not_at_all() {
    let starts = |zone: &str| {
        let event = event_ics("a", "DTSTART;TZID=Z1:20261124T103000");
        let feed = parse_as("clinic", calendar_ics(&(zone.to_owned() + &event)).as_bytes(), winter_window(), &[]);
        feed.ok()
            .map(|feed| (feed.occurrences["a"].start.strftime("%H:%M").to_string(), feed.occurrences["a"].zone.clone()))
    };
    let zone = |inside: &str| format!("BEGIN:VTIMEZONE\nTZID:Z1\n{inside}END:VTIMEZONE\n");
    let observance = |lines: &str| zone(&format!("BEGIN:STANDARD\n{lines}END:STANDARD\n"));
    let from_to = "TZOFFSETFROM:+0200\nTZOFFSETTO:+0530\n";
    assert_eq!(starts(&zone("X-LIC-LOCATION:Europe/Rome\n")), Some(("09:30".into(), "Europe/Rome".into())));
    let default_zone = |time: &str| Some((time.to_owned(), "Asia/Jerusalem".to_owned()));
    assert_eq!(starts(&observance(&format!("DTSTART:20200101T000000\n{from_to}"))), default_zone("05:00"));
    assert_eq!(
        starts(&observance(&format!("DTSTART:20270101T000000\n{from_to}"))),
        default_zone("08:30"),
        "the change is in the future"
    );
    let dates = format!("DTSTART:20270101T000000\nRDATE:20261101T000000\n{from_to}");
    assert_eq!(starts(&observance(&dates)), default_zone("05:00"));
    for broken in [
        zone(""),
        observance("DTSTART:20200101T000000\nTZOFFSETFROM:+0200\n"),
        observance(&format!("DTSTART:soon\n{from_to}")),
        observance(&format!("DTSTART:20200101T000000\nRRULE:FREQ=SECONDLY\n{from_to}")),
    ] {
        assert_eq!(starts(&broken), None, "{broken}");
    }
}

#[test]
fn the_default_zone_is_the_calendars_setting_then_the_feeds_then_the_clients() {
    let body = |shown: &str| calendar_ics(&format!("{shown}{}", event_ics("a", "DTSTART:20261124T103000")));
    let read = |calendar: &str, shown: &str| {
        let feed = parse_as(calendar, body(shown).as_bytes(), winter_window(), &["a"]).unwrap();
        (feed.occurrences["a"].start.strftime("%H:%M").to_string(), feed.occurrences["a"].zone.clone())
    };
    assert_eq!(read("abroad", "X-WR-TIMEZONE:Europe/Rome\n"), ("15:30".into(), "America/New_York".into()));
    assert_eq!(read("clinic", "X-WR-TIMEZONE:Europe/Rome\n"), ("09:30".into(), "Europe/Rome".into()));
    assert_eq!(read("clinic", "X-WR-TIMEZONE:UTC\n"), ("08:30".into(), "Asia/Jerusalem".into()), "UTC is not a place");
    assert_eq!(read("clinic", ""), ("08:30".into(), "Asia/Jerusalem".into()));
    // An event's zone determines the moment. The client's configuration determines the place.
    let abroad = calendar_ics(&event_ics("a", "DTSTART;TZID=Asia/Jerusalem:20261124T103000"));
    let abroad = parse_as("abroad", abroad.as_bytes(), winter_window(), &["a"]).unwrap();
    assert_eq!(abroad.occurrences["a"].start.to_string(), "2026-11-24T08:30:00Z");
    assert_eq!(abroad.occurrences["a"].zone, "America/New_York");
}

#[test]
fn a_whole_day_event_is_not_an_occurrence() {
    for lines in [
        "DTSTART;VALUE=DATE:20261124",
        "DTSTART:20261124",
        "DTSTART;VALUE=DATE:20261101|RRULE:FREQ=DAILY",
        "DTSTART;TZID=Asia/Jerusalem:20261124T000000|X-MICROSOFT-CDO-ALLDAYEVENT:TRUE",
    ] {
        assert!(event_starts(lines).is_empty(), "{lines}");
    }
    // An exception may give one of its days a time.
    let timed = event_ics("a", "DTSTART;VALUE=DATE:20261101|RRULE:FREQ=DAILY")
        + &event_ics("a", "RECURRENCE-ID;VALUE=DATE:20261105|DTSTART:20261105T100000Z");
    assert_eq!(
        ids_and_starts(&parse_events(&timed, winter_window())),
        [("a/20261105".into(), "2026-11-05T10:00:00Z".into())]
    );
}

#[test]
fn the_status_decides_whether_an_event_takes_place() {
    for (line, status) in [
        ("", AppointmentStatus::Booked),
        ("STATUS:CONFIRMED", AppointmentStatus::Booked),
        ("STATUS:TENTATIVE", AppointmentStatus::Unconfirmed),
        ("STATUS:CANCELLED", AppointmentStatus::Cancelled),
        ("status:Cancelled", AppointmentStatus::Cancelled),
        ("STATUS:CANCELED", AppointmentStatus::Cancelled),
        ("STATUS:NEEDS-ACTION", AppointmentStatus::Booked),
    ] {
        let feed = parse_events(&event_ics("a", &format!("DTSTART:20261124T083000Z|{line}")), winter_window());
        assert_eq!(feed.occurrences["a"].status, status, "{line}");
    }
}

/// A feed of Anna's calendar with one event that has these lines.
fn read_of_anna(calendar: &str, lines: &str, calendar_id: Option<&str>) -> ParsedFeed {
    let config = feed_config();
    let body = calendar_ics(&event_ics("a", &format!("DTSTART:20261124T083000Z|{lines}")));
    parse_with(&config, &config.calendars[calendar], body.as_bytes(), winter_window(), &[], calendar_id).unwrap()
}

const ANNA: Option<&str> = Some("anna@clinic.example");

#[test]
fn an_invitation_of_another_organizer_is_not_an_appointment() {
    for (calendar, organizer, is_own) in [
        ("clinic", "ORGANIZER;CN=Anna:mailto:anna@clinic.example", true),
        ("clinic", "ORGANIZER;CN=\"Dr: Anna\":MAILTO:Anna@Clinic.example", true),
        ("clinic", "ORGANIZER;EMAIL=anna@clinic.example:/1234/principal/", true),
        ("clinic", "ORGANIZER;CN=anna@clinic.example:mailto:eve@evil.example", false),
        ("clinic", "ORGANIZER;EMAIL=anna@clinic.example:mailto:eve@evil.example", false),
        ("clinic", "ORGANIZER;SENT-BY=\"mailto:anna@clinic.example\":mailto:eve@evil.example", false),
        ("clinic", "ORGANIZER:mailto:reception@clinic.example", false),
        ("clinic", "ORGANIZER:invalid:nomail", false),
        ("clinic", "ORGANIZER:", false),
        ("clinic", "ORGANIZER:mailto:anna@clinic.example|ORGANIZER:mailto:eve@evil.example", false),
        ("team", "ORGANIZER:mailto:reception@clinic.example", true),
        ("team", "ORGANIZER:mailto:dana@branch.example", true),
        ("team", "ORGANIZER:mailto:eve@sub.branch.example", false),
    ] {
        let feed = read_of_anna(calendar, organizer, ANNA);
        assert_eq!((feed.occurrences.len(), feed.is_foreign("a")), (usize::from(is_own), !is_own), "{organizer}");
        assert!(feed.unparsed_events.is_empty());
    }
    let eve = read_of_anna("clinic", "ORGANIZER:mailto:eve@evil.example", ANNA);
    assert_eq!(eve.foreign_events["a"].organizer.expose(), "eve@evil.example");
    assert!(!format!("{eve:?}").contains("eve@") && eve.foreign_appointment_count() == 1, "{eve:?}");
}

#[test]
fn a_quote_that_is_not_closed_hides_no_organizer() {
    let feed =
        read_of_anna("clinic", "DTSTART;TZID=\"Asia/Jerusalem:20261124T103000|ORGANIZER:mailto:eve@evil.example", ANNA);
    assert!(feed.is_foreign("a") && feed.occurrences.is_empty());
}

#[test]
fn the_owner_is_known_from_the_address_or_the_name_of_the_calendar_or_not_at_all() {
    let invited = "ORGANIZER:mailto:anna@clinic.example";
    assert_eq!(read_of_anna("clinic", invited, None).occurrences.len(), 0);
    let named = |name: &str| {
        let body = calendar_ics(&format!(
            "X-WR-CALNAME:{name}\n{}",
            event_ics("a", &format!("DTSTART:20261124T083000Z|{invited}"))
        ));
        parse_as("clinic", body.as_bytes(), winter_window(), &[]).unwrap().occurrences.len()
    };
    assert_eq!((named("Anna@clinic.example"), named("Anna"), named("eve@evil.example")), (1, 0, 0));
    // Google writes no organizer into an event without guests.
    assert_eq!(read_of_anna("clinic", "", None).occurrences.len(), 1);
}

#[test]
fn an_invitation_that_the_owner_has_not_accepted_is_unconfirmed() {
    let attendee = |address: &str, answer: &str| format!("ATTENDEE;CN=X;PARTSTAT={answer}:mailto:{address}");
    let anna = |answer| attendee("anna@clinic.example", answer);
    let status = |calendar: &str, lines: &[String]| {
        let lines = format!("ORGANIZER:mailto:dana@branch.example|{}", lines.join("|"));
        read_of_anna(calendar, &lines, ANNA).occurrences["a"].status
    };
    let (booked, unconfirmed) = (AppointmentStatus::Booked, AppointmentStatus::Unconfirmed);
    for (answer, expected) in [
        ("ACCEPTED", booked),
        ("accepted", booked),
        ("NEEDS-ACTION", unconfirmed),
        ("DECLINED", unconfirmed),
        ("TENTATIVE", unconfirmed),
        ("DELEGATED", unconfirmed),
        ("X-MAYBE", unconfirmed),
    ] {
        assert_eq!(status("team", &[anna(answer)]), expected, "{answer}");
        // The customer's own answer does not count.
        assert_eq!(status("team", &[attendee("noa@mail.example", answer), anna("ACCEPTED")]), booked, "{answer}");
        let colleague = attendee("dana@branch.example", "ACCEPTED");
        assert_eq!(status("team", &[anna(answer), colleague.clone()]), expected, "{answer}");
        // Anna is not invited: one acceptance of a listed person is enough.
        let other = attendee("reception@clinic.example", answer);
        assert_eq!(status("team", std::slice::from_ref(&other)), expected, "{answer}");
        assert_eq!(status("team", &[other, colleague]), booked, "{answer}");
    }
    assert_eq!(status("team", &["ATTENDEE:mailto:anna@clinic.example".to_owned()]), booked);
    let declined = anna("DECLINED") + "|STATUS:CANCELLED";
    assert_eq!(status("team", &[declined]), AppointmentStatus::Cancelled);
    // Outlook publishes no organizers and marks what its owner has not accepted.
    for (mark, expected) in [("TENTATIVE", unconfirmed), ("BUSY", booked), ("FREE", booked)] {
        let feed = read_of_anna("clinic", &format!("X-MICROSOFT-CDO-BUSYSTATUS:{mark}"), None);
        assert_eq!(feed.occurrences["a"].status, expected, "{mark}");
    }
}

#[test]
fn one_foreign_event_makes_all_events_of_its_uid_foreign() {
    let own = event_ics("a", "DTSTART:20261102T070000Z|RRULE:FREQ=WEEKLY;COUNT=4");
    let foreign = "ORGANIZER:mailto:eve@evil.example";
    for second in [
        format!("RECURRENCE-ID:20261109T070000Z|DTSTART:20261110T120000Z|{foreign}"),
        format!("SEQUENCE:9|DTSTART:20261110T120000Z|{foreign}"),
        format!("DTSTART:20261110T120000Z|RRULE:FREQ=DAILY|{foreign}"),
        format!("DTSTART:never|{foreign}"),
    ] {
        let feed = parse_events(&(own.clone() + &event_ics("a", &second)), winter_window());
        assert!(feed.occurrences.is_empty() && feed.unparsed_events.is_empty(), "{second}");
        assert!(feed.is_foreign("a/20261109T070000Z") && !feed.is_foreign("b"), "{second}");
    }
}

#[test]
fn only_foreign_events_that_could_be_appointments_are_counted() {
    let foreign = |uid: &str, lines: &str| event_ics(uid, &format!("ORGANIZER:mailto:eve@evil.example|{lines}"));
    let without_phone = foreign("e", "DTSTART:20261124T083000Z").replace("Phone:", "Room:");
    let body = foreign("a", "DTSTART:20261124T083000Z")
        + &foreign("b", "DTSTART:20200101T083000Z|RRULE:FREQ=WEEKLY")
        + &foreign("c", "DTSTART:20200101T083000Z")
        + &foreign("d", "DTSTART;VALUE=DATE:20261124")
        + &without_phone;
    let feed = parse_events(&body, winter_window());
    assert_eq!((feed.foreign_events.len(), feed.foreign_appointment_count()), (5, 2));
}

#[test]
fn a_series_follows_its_rule_its_further_dates_and_its_exceptions() {
    let monday = "DTSTART;TZID=Asia/Jerusalem:20261102T090000";
    for (lines, expected) in [
        // COUNT includes the times that EXDATE excludes.
        ("RRULE:FREQ=WEEKLY;COUNT=4|EXDATE;TZID=Asia/Jerusalem:20261109T090000", "11-02 11-16 11-23"),
        ("RRULE:FREQ=WEEKLY;COUNT=4|EXDATE:20261109T070000Z,20261116T070000Z", "11-02 11-23"),
        ("RRULE:FREQ=WEEKLY;COUNT=4|EXDATE:20261109T090000", "11-02 11-16 11-23"),
        ("RRULE:FREQ=WEEKLY;COUNT=4|EXDATE;VALUE=DATE:20261109", "11-02 11-16 11-23"),
        ("RRULE:FREQ=WEEKLY;COUNT=4|EXDATE;TZID=Europe/Rome:20261109T080000", "11-02 11-16 11-23"),
        ("RRULE:FREQ=WEEKLY;COUNT=4|EXDATE:20261109T070001Z", "11-02 11-09 11-16 11-23"),
        // UNTIL is in UTC and included.
        ("RRULE:FREQ=WEEKLY;UNTIL=20261123T070000Z", "11-02 11-09 11-16 11-23"),
        ("RRULE:FREQ=WEEKLY;UNTIL=20261123T065959Z", "11-02 11-09 11-16"),
        ("RRULE:FREQ=WEEKLY;UNTIL=20261123T090000", "11-02 11-09 11-16 11-23"),
        ("RRULE:FREQ=WEEKLY;UNTIL=20261123", "11-02 11-09 11-16 11-23"),
        ("RRULE:FREQ=WEEKLY;UNTIL=20261101T000000Z", ""),
        ("RDATE;TZID=Asia/Jerusalem:20261105T090000,20261106T090000", "11-02 11-05 11-06"),
        ("RDATE;VALUE=PERIOD:20261105T070000Z/PT1H,20261106T070000Z/20261106T080000Z", "11-02 11-05 11-06"),
        ("RRULE:FREQ=WEEKLY;COUNT=2|RDATE:20261105T070000Z,20261109T070000Z", "11-02 11-05 11-09"),
        ("RRULE:FREQ=WEEKLY;COUNT=2|RDATE:20261105T070000Z|EXDATE:20261105T070000Z", "11-02 11-09"),
        ("RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=3;BYDAY=MO,WE;WKST=SU", "11-02 11-04 11-16"),
        // The start is the first time of a series and counts, even if it does not match the rule.
        ("RRULE:FREQ=WEEKLY;BYDAY=TU;COUNT=3", "11-02 11-03 11-10"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=31", "11-02 12-31"),
        // Two rules make one series.
        ("RRULE:FREQ=WEEKLY;COUNT=2|RRULE:FREQ=DAILY;COUNT=3", "11-02 11-03 11-04 11-09"),
    ] {
        let expected: Vec<_> = expected.split_whitespace().map(|day| format!("{day}T07:00")).collect();
        assert_eq!(event_starts(&format!("{monday}|{lines}")), expected, "{lines}");
    }
}

#[test]
fn an_exception_replaces_its_slot() {
    let series = event_ics("a", "DTSTART;TZID=Asia/Jerusalem:20261102T090000|RRULE:FREQ=WEEKLY;COUNT=4");
    let with = |lines: &str| {
        let feed = parse_events(&(series.clone() + &event_ics("a", lines)), winter_window());
        assert!(feed.unparsed_events.is_empty(), "{lines}: {:?}", feed.unparsed_events);
        feed
    };
    for slot in [
        "RECURRENCE-ID;TZID=Asia/Jerusalem:20261109T090000",
        "RECURRENCE-ID:20261109T070000Z",
        "RECURRENCE-ID:20261109T090000",
        "RECURRENCE-ID;TZID=Europe/Rome:20261109T080000",
        "RECURRENCE-ID;VALUE=DATE:20261109",
    ] {
        let moved = with(&format!("{slot}|DTSTART:20261110T120000Z"));
        let expected = [
            ("a/20261102T070000Z".into(), "2026-11-02T07:00:00Z".into()),
            ("a/20261109T070000Z".into(), "2026-11-10T12:00:00Z".into()),
            ("a/20261116T070000Z".into(), "2026-11-16T07:00:00Z".into()),
            ("a/20261123T070000Z".into(), "2026-11-23T07:00:00Z".into()),
        ];
        assert_eq!(ids_and_starts(&moved), expected, "{slot}");
    }
    let cancelled = with("RECURRENCE-ID:20261109T070000Z|DTSTART:20261109T070000Z|STATUS:CANCELLED");
    assert_eq!(cancelled.occurrences["a/20261109T070000Z"].status, AppointmentStatus::Cancelled);
    assert_eq!(cancelled.occurrences.len(), 4);
    let bare = with("RECURRENCE-ID:20261109T070000Z|STATUS:CANCELLED");
    assert_eq!(bare.occurrences["a/20261109T070000Z"].start.to_string(), "2026-11-09T07:00:00Z");
    let whole_day = with("RECURRENCE-ID:20261109T070000Z|DTSTART;VALUE=DATE:20261109");
    assert!(!whole_day.occurrences.contains_key("a/20261109T070000Z") && whole_day.occurrences.len() == 3);
    let alone =
        parse_events(&event_ics("b", "RECURRENCE-ID:20261109T070000Z|DTSTART:20261110T120000Z"), winter_window());
    assert_eq!(ids_and_starts(&alone), [("b/20261109T070000Z".into(), "2026-11-10T12:00:00Z".into())]);
}

#[test]
fn an_occurrence_moved_into_the_window_is_read_and_one_moved_out_only_if_known() {
    let series = event_ics("a", "DTSTART;TZID=Asia/Jerusalem:20260907T090000|RRULE:FREQ=WEEKLY;UNTIL=20261231T000000Z");
    let week = parse_window("2026-11-08T00:00:00Z", "2026-11-15T00:00:00Z");
    let into = series.clone() + &event_ics("a", "RECURRENCE-ID:20260914T060000Z|DTSTART:20261110T120000Z");
    let into = ids_and_starts(&parse_events(&into, week));
    let expected = [
        ("a/20260914T060000Z".into(), "2026-11-10T12:00:00Z".into()),
        ("a/20261109T070000Z".into(), "2026-11-09T07:00:00Z".into()),
    ];
    assert_eq!(into, expected);
    let out = calendar_ics(
        &(series
            + &event_ics("a", "RECURRENCE-ID:20261109T070000Z|DTSTART:20270210T120000Z")
            + &event_ics("b", "DTSTART:20270601T100000Z")),
    );
    let unknown = parse_as("clinic", out.as_bytes(), week, &[]).unwrap();
    assert!(unknown.occurrences.is_empty());
    let known = parse_as("clinic", out.as_bytes(), week, &["a/20261109T070000Z", "b", "c"]).unwrap();
    let expected =
        [("a/20261109T070000Z".into(), "2027-02-10T12:00:00Z".into()), ("b".into(), "2027-06-01T10:00:00Z".into())];
    assert_eq!(ids_and_starts(&known), expected);
}

#[test]
fn a_this_and_future_exception_shifts_the_clock_times_behind_it() {
    // Across the clock change of 2026-10-25: the exception shifts local times.
    let series = event_ics("a", "DTSTART;TZID=Asia/Jerusalem:20261005T090000|RRULE:FREQ=WEEKLY;COUNT=6");
    let from_the_third = event_ics(
        "a",
        "RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Asia/Jerusalem:20261019T090000|DTSTART;TZID=Asia/Jerusalem:20261020T103000\
         |SUMMARY:Later - Noa",
    );
    let single =
        event_ics("a", "RECURRENCE-ID;TZID=Asia/Jerusalem:20261102T090000|DTSTART;TZID=Asia/Jerusalem:20261102T080000");
    let autumn = parse_window("2026-10-01T00:00:00Z", "2026-12-01T00:00:00Z");
    let found = parse_events(&(series.clone() + &from_the_third + &single), autumn);
    let expected = [
        ("a/20261005T060000Z", "2026-10-05T06:00:00Z"),
        ("a/20261012T060000Z", "2026-10-12T06:00:00Z"),
        ("a/20261019T060000Z", "2026-10-20T07:30:00Z"),
        ("a/20261026T070000Z", "2026-10-27T08:30:00Z"),
        ("a/20261102T070000Z", "2026-11-02T06:00:00Z"),
        ("a/20261109T070000Z", "2026-11-10T08:30:00Z"),
    ];
    assert_eq!(ids_and_starts(&found), expected.map(|(id, start)| (id.to_owned(), start.to_owned())));
    assert_eq!(found.occurrences["a/20261109T070000Z"].title.as_deref(), Some("Later - Noa"));
    let ended =
        event_ics("a", "RECURRENCE-ID;RANGE=THISANDFUTURE:20261019T060000Z|DTSTART:20261019T060000Z|STATUS:CANCELLED");
    let ended = parse_events(&(series.clone() + &ended), autumn);
    let takes_place =
        |feed: &ParsedFeed| feed.occurrences.values().filter(|it| it.status == AppointmentStatus::Booked).count();
    assert_eq!((takes_place(&ended), ended.occurrences.len()), (2, 6));
    // The exception of another slot moves one slot into the window and one out of it.
    let far = event_ics("a", "RECURRENCE-ID;RANGE=THISANDFUTURE:20261012T060000Z|DTSTART:20261026T060000Z");
    let narrow = parse_window("2026-10-25T00:00:00Z", "2026-11-03T00:00:00Z");
    let ids: Vec<_> = parse_events(&(series + &far), narrow).occurrences.into_keys().collect();
    assert_eq!(ids, ["a/20261012T060000Z", "a/20261019T060000Z"]);
}

#[test]
fn an_exception_counts_only_for_a_time_that_its_series_has() {
    let series = event_ics("a", "DTSTART:20261102T070000Z|RRULE:FREQ=WEEKLY;COUNT=4|EXDATE:20261116T070000Z");
    let with = |lines: &str, known: &[&str]| {
        let body = calendar_ics(&(series.clone() + &event_ics("a", lines)));
        parse_as("clinic", body.as_bytes(), winter_window(), known).unwrap()
    };
    let own = ["a/20261102T070000Z", "a/20261109T070000Z", "a/20261123T070000Z"];
    for (lines, is_named) in [
        ("RECURRENCE-ID:20261109T060000Z|DTSTART:20261109T110000Z", true),
        ("RECURRENCE-ID:20261109T060000Z|DTSTART:20261109T110000Z|STATUS:CANCELLED", true),
        ("RECURRENCE-ID:20261130T070000Z|DTSTART:20261130T110000Z", true),
        ("RECURRENCE-ID;RANGE=THISANDFUTURE:20261109T060000Z|DTSTART:20261109T110000Z", true),
        // Excluded is excluded, but the customer may expect it.
        ("RECURRENCE-ID:20261116T070000Z|DTSTART:20261117T110000Z", true),
        ("RECURRENCE-ID:20261116T070000Z|DTSTART:20270117T110000Z", false),
        // Outside the window.
        ("RECURRENCE-ID:20261109T060000Z|DTSTART:20270109T110000Z", false),
    ] {
        for known in [&[][..], &["a/20261109T060000Z", "a/20261130T070000Z", "a/20261116T070000Z"]] {
            let feed = with(lines, known);
            assert_eq!(feed.occurrences.keys().collect::<Vec<_>>(), own, "{lines}");
            assert_eq!(feed.ignored_events.contains_key("a"), is_named, "{lines}");
            assert!(feed.unparsed_events.is_empty(), "{lines}");
            assert_eq!(feed.standing_uids.len(), usize::from(!known.is_empty()), "{lines}");
        }
    }
    // A single event is replaced too, and other times of its UID are appointments.
    let single = event_ics("b", "DTSTART:20261109T070000Z");
    let moved = single.clone() + &event_ics("b", "RECURRENCE-ID:20261109T070000Z|DTSTART:20261110T070000Z");
    let found = ids_and_starts(&parse_events(&moved, winter_window()));
    assert_eq!(found, [("b/20261109T070000Z".into(), "2026-11-10T07:00:00Z".into())]);
    let two = single + &event_ics("b", "RECURRENCE-ID:20261110T070000Z|DTSTART:20261110T090000Z");
    let two = parse_as("clinic", calendar_ics(&two).as_bytes(), winter_window(), &["b/20261110T070000Z"]).unwrap();
    // A list of single times may be incomplete, so a missing one is suspicious.
    assert_eq!((two.occurrences.len(), two.standing_uids.len()), (2, 0));
}

#[test]
fn events_of_one_uid_are_revisions_or_appointments_of_their_own() {
    let event = |start: &str, phone: &str, lines: &str| {
        event_ics("a", &format!("DTSTART:202611{start}0000Z|{lines}")).replace("054-555-0199", phone)
    };
    let (noa, dana) = ("054-555-0199", "052-555-0101");
    let count = |events: &[String]| {
        let feed = parse_events(&events.concat(), winter_window());
        assert!(feed.unparsed_events.is_empty());
        (feed.occurrences.len(), feed.ignored_events.len())
    };
    // The revision rises from event to event, or falls.
    for lines in [["SEQUENCE:0", "SEQUENCE:1", "SEQUENCE:2"], ["SEQUENCE:2", "SEQUENCE:1", "SEQUENCE:0"]] {
        let events = [event("24T08", noa, lines[0]), event("25T08", noa, lines[1]), event("26T08", noa, lines[2])];
        assert_eq!(count(&events), (1, 1));
    }
    let (early, late) = ("DTSTAMP:20261101T000000Z", "DTSTAMP:20261102T000000Z");
    assert_eq!(count(&[event("24T08", noa, early), event("24T08", dana, late)]), (1, 1), "another number");
    assert_eq!(count(&[event("24T08", noa, early), event("24T08", noa, late)]), (1, 0), "the same facts");
    // Times of one person, and people at one time, with the same or unordered revisions.
    assert_eq!(count(&[event("24T08", noa, ""), event("25T08", noa, ""), event("25T08", noa, "")]), (2, 0));
    assert_eq!(count(&[event("24T08", noa, ""), event("24T08", dana, "")]), (2, 0));
    // Other people at other times are not a revision, whenever they were stamped.
    assert_eq!(count(&[event("24T08", noa, early), event("25T08", dana, late)]), (2, 0));
    assert_eq!(count(&[event("24T08", noa, "SEQUENCE:0"), event("25T08", dana, "SEQUENCE:1")]), (2, 0));
    // A series that was written out, an event at a time.
    let last = "DTSTAMP:20261103T000000Z";
    assert_eq!(count(&[event("24T08", noa, early), event("25T08", noa, late), event("26T08", noa, last)]), (3, 0));
    // Two that are known as appointments of their own stay, although the third is gone.
    let body = event("24T08", noa, "SEQUENCE:1") + &event("25T08", noa, "SEQUENCE:0");
    let known = ["a/20261124T080000Z", "a/20261125T080000Z"];
    let feed = parse_as("clinic", calendar_ics(&body).as_bytes(), winter_window(), &known).unwrap();
    assert_eq!((feed.occurrences.len(), feed.ignored_events.len()), (2, 0));
    // It is unclear whose time this one replaces.
    let shared =
        [event("24T08", noa, ""), event("24T08", dana, ""), event("25T08", noa, "RECURRENCE-ID:20261124T080000Z")];
    let feed = parse_events(&(shared.concat() + &event_ics("good", "DTSTART:20261124T083000Z")), winter_window());
    assert_eq!(feed.unparsed_events.get("a"), Some(&IcsEventError::SharedUid));
    assert_eq!(feed.occurrences.len(), 1);
}

#[test]
fn an_event_without_a_usable_uid_is_alone() {
    let broken = event_ics("none", "DTSTART:tomorrow");
    let foreign = event_ics("none", "DTSTART:20261124T120000Z|ORGANIZER:mailto:eve@evil.example");
    let good = event_ics("NONE", "DTSTART:20261124T100000Z") + &event_ics("none", "DTSTART:20261124T110000Z");
    let feed = parse_events(&(broken + &foreign + &good), winter_window());
    assert_eq!(feed.occurrences.keys().collect::<Vec<_>>(), ["NONE/20261124T100000Z", "none/20261124T110000Z"]);
    assert!(feed.is_unparsed("none/20261125T110000Z") && !feed.is_foreign("none/20261125T110000Z"));
    assert_eq!(feed.foreign_appointment_count(), 1);
    let unreadable = calendar_ics(&event_ics("", "DTSTART:tomorrow"));
    let error = parse_as("clinic", unreadable.as_bytes(), winter_window(), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "none of 1 events could be parsed: `without-uid` (time in DTSTART could not be parsed)"
    );
}

#[test]
fn the_newest_copy_of_an_event_counts() {
    let copy = |start: &str, lines: &str| event_ics("a", &format!("DTSTART:20261124T{start}0000Z|{lines}"));
    for (older, newer) in [
        ("SEQUENCE:1|DTSTAMP:20261120T000000Z", "SEQUENCE:2|DTSTAMP:20261101T000000Z"),
        ("DTSTAMP:20261120T000000Z", "SEQUENCE:1"),
        ("SEQUENCE:9", "SEQUENCE:10"),
        ("SEQUENCE:1|DTSTAMP:20261101T000000Z", "SEQUENCE:1|DTSTAMP:20261102T000000Z"),
        (
            "DTSTAMP:20261101T000000Z|LAST-MODIFIED:20261101T000000Z",
            "DTSTAMP:20261101T000000Z|LAST-MODIFIED:20261101T000001Z",
        ),
    ] {
        for body in [copy("08", older) + &copy("09", newer), copy("09", newer) + &copy("08", older)] {
            let found = parse_events(&body, winter_window());
            assert_eq!(ids_and_starts(&found), [("a".into(), "2026-11-24T09:00:00Z".into())], "{newer}");
        }
        let series = event_ics("b", "DTSTART:20261102T070000Z|RRULE:FREQ=WEEKLY;COUNT=2");
        let exception = |start: &str, lines: &str| {
            event_ics("b", &format!("RECURRENCE-ID:20261109T070000Z|DTSTART:20261109T{start}0000Z|{lines}"))
        };
        for body in [exception("08", older) + &exception("09", newer), exception("09", newer) + &exception("08", older)]
        {
            let found = parse_events(&(series.clone() + &body), winter_window());
            assert_eq!(found.occurrences["b/20261109T070000Z"].start.to_string(), "2026-11-09T09:00:00Z", "{newer}");
        }
    }
    let same = copy("08", "SEQUENCE:1|SUMMARY:x") + &copy("08", "SEQUENCE:1|SUMMARY:y");
    let same = parse_events(&same, winter_window());
    assert_eq!(ids_and_starts(&same), [("a".into(), "2026-11-24T08:00:00Z".into())]);
    assert_eq!(same.occurrences["a"].title.as_deref(), Some("y"), "the last of equal copies");
}

/// The examples of RFC 5545, section 3.8.5.3, with the expected dates: `1997: 9-2 9-3`.
#[test]
fn recurrence_rules_match_the_examples_of_the_standard() {
    let examples = [
        ("19970902", "FREQ=DAILY;COUNT=10", "1997: 9-2 9-3 9-4 9-5 9-6 9-7 9-8 9-9 9-10 9-11"),
        ("19970902", "FREQ=DAILY;INTERVAL=10;COUNT=5", "1997: 9-2 9-12 9-22 10-2 10-12"),
        ("19970902", "FREQ=WEEKLY;COUNT=10", "1997: 9-2 9-9 9-16 9-23 9-30 10-7 10-14 10-21 10-28 11-4"),
        (
            "19970902",
            "FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH",
            "1997: 9-2 9-4 9-9 9-11 9-16 9-18 9-23 9-25 9-30 10-2",
        ),
        (
            "19970901",
            "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
            "1997: 9-1 9-3 9-5 9-15 9-17 9-19 9-29 10-1 10-3 10-13 10-15 10-17 10-27 10-29 10-31 11-10 11-12 11-14 11-24 \
             11-26 11-28 12-8 12-10 12-12 12-22",
        ),
        ("19970905", "FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "1997: 9-5 10-3 11-7 12-5 1998: 1-2 2-6 3-6 4-3 5-1 6-5"),
        ("19970922", "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "1997: 9-22 10-20 11-17 12-22 1998: 1-19 2-16"),
        ("19970928", "FREQ=MONTHLY;BYMONTHDAY=-3;COUNT=6", "1997: 9-28 10-29 11-28 12-29 1998: 1-29 2-26"),
        (
            "19970902",
            "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15",
            "1997: 9-2 9-15 10-2 10-15 11-2 11-15 12-2 12-15 1998: 1-2 1-15",
        ),
        (
            "19970910",
            "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15",
            "1997: 9-10 9-11 9-12 9-13 9-14 9-15 1999: 3-10 3-11 3-12 3-13",
        ),
        (
            "19970610",
            "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
            "1997: 6-10 7-10 1998: 6-10 7-10 1999: 6-10 7-10 2000: 6-10 7-10 2001: 6-10 7-10",
        ),
        (
            "19970101",
            "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
            "1997: 1-1 4-10 7-19 2000: 1-1 4-9 7-18 2003: 1-1 4-10 7-19 2006: 1-1",
        ),
        ("19970519", "FREQ=YEARLY;BYDAY=20MO;COUNT=3", "1997: 5-19 1998: 5-18 1999: 5-17"),
        ("19970512", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;COUNT=3", "1997: 5-12 1998: 5-11 1999: 5-17"),
        (
            "19970913",
            "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13;COUNT=7",
            "1997: 9-13 10-11 11-8 12-13 1998: 1-10 2-7 3-7",
        ),
        (
            "19961105",
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8;COUNT=3",
            "1996: 11-5 2000: 11-7 2004: 11-2",
        ),
        ("19970904", "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "1997: 9-4 10-7 11-6"),
        (
            "19970929",
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2;COUNT=5",
            "1997: 9-29 10-30 11-27 12-30 1998: 1-29",
        ),
        ("19970805", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997: 8-5 8-10 8-19 8-24"),
        ("19970805", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997: 8-5 8-17 8-19 8-31"),
        ("20070115", "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "2007: 1-15 1-30 2-15 3-15 3-30"),
        (
            "19970902",
            "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=6",
            "1997: 9-2 1998: 2-13 3-13 11-13 1999: 8-13 2000: 10-13",
        ),
    ];
    let zone = TimeZone::get("America/New_York").unwrap();
    let window = parse_window("1996-01-01T00:00:00Z", "2010-01-01T00:00:00Z");
    for (start, rule, expected_text) in examples {
        let lines = format!("DTSTART;TZID=America/New_York:{start}T090000|RRULE:{rule}");
        let found: Vec<_> =
            parse_events(&event_ics("a", &lines), window).occurrences.values().map(|it| it.start).collect();
        let mut expected = Vec::new();
        let mut year = 0;
        for word in expected_text.split_whitespace() {
            if let Some(number) = word.strip_suffix(':') {
                year = number.parse().unwrap();
                continue;
            }
            let (month, day) = word.split_once('-').unwrap();
            let day = date(year, month.parse().unwrap(), day.parse().unwrap());
            expected.push(day.at(9, 0, 0, 0).to_zoned(zone.clone()).unwrap().timestamp());
        }
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn a_window_far_from_the_start_sees_the_same_series() {
    for rule in [
        "FREQ=DAILY;INTERVAL=3",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH,SU;WKST=SU",
        "FREQ=WEEKLY;INTERVAL=5;BYDAY=FR;WKST=TH",
        "FREQ=HOURLY;INTERVAL=23",
        "FREQ=MONTHLY;BYDAY=2WE",
        "FREQ=YEARLY;BYMONTH=5;BYDAY=-1SU",
        "FREQ=DAILY;BYDAY=MO,TU;BYMONTH=5",
        "FREQ=WEEKLY;BYDAY=MO,TU,WE;BYSETPOS=-1",
    ] {
        let lines = format!("DTSTART;TZID=Asia/Jerusalem:20250430T093000|RRULE:{rule}");
        let whole = parse_events(&event_ics("a", &lines), parse_window("2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"));
        for month in 1..12 {
            let part =
                parse_window(&format!("2026-{month:02}-01T00:00:00Z"), &format!("2026-{:02}-01T00:00:00Z", month + 1));
            let mut expected = whole.occurrences.clone();
            expected.retain(|_, occurrence| part.contains(occurrence.start));
            assert_eq!(parse_events(&event_ics("a", &lines), part).occurrences, expected, "{rule} in {month}");
        }
    }
}

#[test]
fn an_event_that_is_not_understood_is_named_and_the_others_still_count() {
    for (lines, error) in [
        ("SUMMARY:x", IcsEventError::NoStart),
        ("DTSTART:", IcsEventError::InvalidTime("DTSTART")),
        ("DTSTART:tomorrow", IcsEventError::InvalidTime("DTSTART")),
        ("DTSTART:20261124T1030 EST", IcsEventError::InvalidTime("DTSTART")),
        ("DTSTART:20261131T103000Z", IcsEventError::InvalidTime("DTSTART")),
        ("DTSTART:20261124T250000Z", IcsEventError::InvalidTime("DTSTART")),
        ("DTSTART:20261124T103000Z|RECURRENCE-ID:x", IcsEventError::InvalidTime("RECURRENCE-ID")),
        ("DTSTART:20261124T103000Z|EXDATE:x", IcsEventError::InvalidTime("EXDATE")),
        ("DTSTART:20261124T103000Z|RDATE:x", IcsEventError::InvalidTime("RDATE")),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=SECONDLY", IcsEventError::TooOften),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=MINUTELY;COUNT=3", IcsEventError::TooOften),
        (
            "DTSTART:20261124T103000Z|RRULE:FREQ=DAILY;BYHOUR=1,2,3,4,5,6,7;BYMINUTE=1,2,3,4,5,6,7;BYSECOND=1,2",
            IcsEventError::TooOften,
        ),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=HOURLY;BYMINUTE=0,10,20,30,40,50", IcsEventError::TooOften),
        ("DTSTART:19000101T103000Z|RRULE:FREQ=DAILY;COUNT=100000", IcsEventError::TooOften),
        ("DTSTART:20261124T103000Z|RRULE:COUNT=3", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|DTSTART:20261125T103000Z", IcsEventError::InvalidTime("DTSTART")),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=DAILY;COUNT=0", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=DAILY;COUNT=-3", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=DAILY;INTERVAL=0", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=DAILY;INTERVAL=65537", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=MONTHLY;BYMONTHDAY=0", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=MONTHLY;BYMONTHDAY=257", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=WEEKLY;BYDAY=1MO", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=WEEKLY;BYDAY=XX", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=WEEKLY;UNTIL=never", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:RSCALE=HEBREW;FREQ=YEARLY", IcsEventError::InvalidRule),
        ("DTSTART:20261124T103000Z|RRULE:FREQ=DAILY|EXRULE:FREQ=WEEKLY", IcsEventError::InvalidRule),
    ] {
        assert_eq!(event_error(lines), error, "{lines}");
    }
    // If no event can be parsed, the feed is an error.
    let error = |uid: &str| {
        let body = calendar_ics(&event_ics(uid, "SUMMARY:x"));
        parse_as("clinic", body.as_bytes(), winter_window(), &[]).unwrap_err().to_string()
    };
    assert_eq!(error("a@b"), "none of 1 events could be parsed: `a@b` (event has no start)");
    assert_eq!(error(""), "none of 1 events could be parsed: `without-uid` (event has no start)");
}

#[test]
fn an_exception_that_is_not_understood_makes_its_series_unknown() {
    let body = event_ics("a", "DTSTART:20261102T070000Z|RRULE:FREQ=WEEKLY")
        + &event_ics("a", "RECURRENCE-ID:20261109T070000Z|DTSTART;TZID=Nowhere:20261109T090000")
        + &event_ics("b", "DTSTART:20261124T103000Z");
    let feed = parse_events(&body, winter_window());
    assert!(feed.is_unparsed("a/20261109T070000Z") && feed.is_unparsed("a/20261116T070000Z"));
    assert_eq!(feed.occurrences.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn only_the_clients_rule_decides_which_number_is_messaged() {
    let body = |lines: &str| format!("BEGIN:VEVENT\nUID:a\nDTSTART:20261124T083000Z\n{lines}\nEND:VEVENT\n");
    let read = |calendar_name: &str, lines: &str| {
        let feed = parse_as(calendar_name, calendar_ics(&body(lines)).as_bytes(), winter_window(), &["a"]).unwrap();
        let attendee = feed.occurrences["a"].attendee.clone();
        attendee.map(|attendee| (attendee.phone.expose().to_owned(), attendee.name))
    };
    let noa = |name: Option<&str>| Ok(("+972545550199".to_owned(), name.map(str::to_owned)));
    assert_eq!(read("clinic", "DESCRIPTION:Phone: 054-555-0199\nSUMMARY:Haircut - Noa"), noa(Some("Noa")));
    assert_eq!(read("clinic", "DESCRIPTION:Hi\\nPhone: 054-555-0199\\nBye\\, Noa"), noa(None));
    assert_eq!(read("clinic", "DESCRIPTION:Pho\n ne: 054-555\n -0199"), noa(None));
    assert_eq!(read("clinic", "DESCRIPTION;ALTREP=\"cid:1\":Phone: 054-555-0199"), noa(None));
    // No other field of an event contains a number.
    for lines in
        ["SUMMARY:054-555-0199", "LOCATION:Phone: 054-555-0199", "DESCRIPTION:054-555-0199", "X-PHONE:054-555-0199"]
    {
        assert_eq!(read("clinic", lines), Err(PhoneError::Empty), "{lines}");
    }
    let alarm = "BEGIN:VALARM\nDESCRIPTION:Phone: 054-555-0199\nEND:VALARM";
    assert_eq!(read("clinic", alarm), Err(PhoneError::Empty));
    assert_eq!(read("clinic", "DESCRIPTION:Phone: 054-555-0199 / 052-555-0101"), noa(None));
    assert_eq!(read("clinic", "DESCRIPTION:Host Phone: 052-555-0101"), Err(PhoneError::NoNumber));
    assert_eq!(read("clinic", "DESCRIPTION:Phone: +1 202-555-0123\\,\\,123#"), Err(PhoneError::DialIn));
    assert_eq!(read("clinic", "DESCRIPTION:Phone: 03-555-0199"), Err(PhoneError::NotMobile));
    // The other calendar has another field and another country.
    let abroad = ("+12025550123".to_owned(), Some("Ann; Bee".to_owned()));
    assert_eq!(read("abroad", "X-PHONE:(202) 555-0123\nX-CLIENT-NAME:Ann\\; Bee"), Ok(abroad.clone()));
    assert_eq!(read("abroad", "X-Phone;VALUE=URI:tel:+1-202-555-0123\nX-Client-Name:Ann; Bee").unwrap().0, abroad.0);
}

#[test]
fn a_web_address_is_not_a_place() {
    for (location, place) in [
        ("12 Herzl St\\, Tel Aviv", Some("12 Herzl St, Tel Aviv")),
        ("Room 3\\n2nd floor", Some("Room 3 2nd floor")),
        ("https://meet.example.com/abc", None),
        ("Video: https://meet.example.com/abc", None),
        ("", None),
        ("  ", None),
    ] {
        let feed =
            parse_events(&event_ics("a", &format!("DTSTART:20261124T083000Z|LOCATION:{location}")), winter_window());
        assert_eq!(feed.occurrences["a"].place.as_deref(), place, "{location}");
    }
    let latin =
        [calendar_ics(&event_ics("a", "DTSTART:20261124T083000Z|SUMMARY:caf@|LOCATION:Rue")).into_bytes()].concat();
    let latin: Vec<u8> = latin.into_iter().map(|byte| if byte == b'@' { 0xe9 } else { byte }).collect();
    let feed = parse_as("clinic", &latin, winter_window(), &[]).unwrap();
    assert_eq!((feed.occurrences["a"].title.clone(), feed.occurrences["a"].place.as_deref()), (None, Some("Rue")));
}

#[test]
fn one_event_cannot_use_up_the_limits_of_a_feed() {
    let good = event_ics("good", "DTSTART:20261124T083000Z");
    let rules = |count: usize, rule: &str| vec![format!("RRULE:{rule}"); count].join("|");
    let dates = (0..2_001).map(|day| (date(2026, 1, 1) + day.days()).strftime("%Y%m%dT080000Z").to_string());
    let dates: Vec<String> = dates.collect();
    for lines in [
        "RRULE:FREQ=HOURLY;BYMINUTE=0,15,30,45".to_owned(),
        rules(60, "FREQ=DAILY;COUNT=16000"),
        rules(21, "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6"),
        format!("RDATE:{}", dates.join(",")),
        format!("EXDATE:{}|EXDATE:{}", dates[..1_001].join(","), dates[1_001..].join(",")),
        format!("SUMMARY:{}", "x".repeat(70_000)),
    ] {
        let hostile = event_ics("a", &format!("DTSTART:19900101T103000Z|{lines}"));
        let feed = parse_events(&(hostile + &good), winter_window());
        assert_eq!(feed.unparsed_events.get("a"), Some(&IcsEventError::OverBudget), "{}", &lines[..40]);
        assert_eq!(feed.occurrences.keys().collect::<Vec<_>>(), ["good"]);
    }
    let exceptions: String = (0..300)
        .map(|n| {
            event_ics(
                "a",
                &format!("RECURRENCE-ID:20261124T{:02}{:02}00Z|SUMMARY:{}", n / 60, n % 60, "x".repeat(2_000)),
            )
        })
        .collect();
    let feed = parse_events(&(exceptions + &good), winter_window());
    assert_eq!(feed.unparsed_events.get("a"), Some(&IcsEventError::OverBudget), "many events with one UID");
}

#[test]
fn occurrences_without_a_phone_number_do_not_count() {
    let without_phone = |n: u32| {
        event_ics(&format!("a{n}"), "DTSTART:20200101T103000Z|RRULE:FREQ=DAILY").replace("Phone: 054-555-0199", "Lunch")
    };
    let body: String = (0..200).map(without_phone).collect();
    let feed = parse_events(&(body + &event_ics("good", "DTSTART:20261124T083000Z")), winter_window());
    assert_eq!(feed.occurrences.keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(feed.unreachable.len(), 100, "some are kept for people");
}

#[test]
fn series_that_ended_cost_nothing() {
    let ended =
        |n: u32| event_ics(&format!("a{n}"), "DTSTART:20200101T103000Z|RRULE:FREQ=WEEKLY;UNTIL=20210101T000000Z");
    let body: String = (0..100).map(ended).collect();
    let feed = parse_events(&(body + &event_ics("good", "DTSTART:20261124T083000Z")), winter_window());
    assert_eq!((feed.occurrences.len(), feed.unparsed_events.len()), (1, 0));
}

/// Every kind of rule with every kind of end, far before to far behind the window. A rule that
/// ended is over, and one that has not names the same times as a rule without an end.
#[test]
fn a_series_that_ended_is_over_whatever_its_rule() {
    let rules = [
        "FREQ=HOURLY",
        "FREQ=HOURLY;BYHOUR=8,9",
        "FREQ=HOURLY;BYDAY=MO",
        "FREQ=DAILY",
        "FREQ=DAILY;BYDAY=MO,WE",
        "FREQ=DAILY;BYMONTHDAY=1,15",
        "FREQ=DAILY;BYMONTH=2",
        "FREQ=WEEKLY",
        "FREQ=WEEKLY;BYDAY=TU,FR;WKST=SU",
        "FREQ=WEEKLY;BYDAY=MO,TU,WE;BYSETPOS=-1",
        "FREQ=WEEKLY;BYMONTH=7",
        "FREQ=MONTHLY",
        "FREQ=MONTHLY;BYDAY=2WE",
        "FREQ=MONTHLY;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1",
        "FREQ=YEARLY",
        "FREQ=YEARLY;BYMONTH=2,3",
        "FREQ=YEARLY;BYWEEKNO=5;BYDAY=MO",
        "FREQ=YEARLY;BYYEARDAY=-1",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
    ];
    let intervals = [1, 2, 3, 7, 53];
    let ends = [
        "20231231T235959Z",
        "20240101",
        "20240101T080000Z",
        "20240102",
        "20240115T075959Z",
        "20240201",
        "20240229T080000Z",
        "20250101",
        "20260630T080000Z",
        "20261018",
        "20261029T080000Z",
        "20261030T080000Z",
        "20261031T075959Z",
        "20261031T080000Z",
        "20261101",
        "20261102T080000Z",
        "20261115T120000Z",
        "20270101",
    ];
    let window = parse_window("2026-11-01T00:00:00Z", "2026-11-29T00:00:00Z");
    let starts = |lines: &str| {
        let feed = parse_events(&event_ics("a", lines), window);
        assert!(feed.unparsed_events.is_empty(), "{lines}: {:?}", feed.unparsed_events);
        feed.occurrences.into_values().map(|it| it.start).collect::<Vec<_>>()
    };
    let end_of = |end: &str| -> Timestamp {
        let (date, time) = end.split_once('T').unwrap_or((end, "235959Z"));
        Timestamp::strptime("%Y%m%dT%H%M%S%z", format!("{date}T{}+0000", time.trim_end_matches('Z'))).unwrap()
    };
    let first_days = ["20240101", "20240229", "20241015", "20260815"];
    for (first_day, rule) in first_days.into_iter().flat_map(|first_day| rules.map(|rule| (first_day, rule))) {
        for interval in intervals {
            let written = format!("DTSTART:{first_day}T080000Z|RRULE:{rule};INTERVAL={interval}");
            let endless = starts(&written);
            for end in ends {
                let expected: Vec<_> = endless.iter().copied().filter(|start| *start <= end_of(end)).collect();
                assert_eq!(starts(&format!("{written};UNTIL={end}")), expected, "{written};UNTIL={end}");
            }
        }
    }
}

#[test]
fn a_feed_whose_series_all_ended_is_readable_and_empty() {
    let ended = event_ics("a", "DTSTART:20240101T080000Z|RRULE:FREQ=WEEKLY;UNTIL=20250630T080000Z")
        + &event_ics("b", "DTSTART:20240101T080000Z|RRULE:FREQ=DAILY;COUNT=3");
    let feed = parse_events(&ended, winter_window());
    assert!(feed.occurrences.is_empty() && feed.unparsed_events.is_empty() && feed.event_count == 2);
    // Rules that name no day but their start, and have ended too.
    let rare = |n: usize| {
        let rule = ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"][n % 2];
        event_ics(&format!("a{n}"), &format!("DTSTART:20240101T080000Z|RRULE:{rule};UNTIL=20250630T080000Z"))
    };
    let feed = parse_events(&(0..100).map(rare).collect::<String>(), winter_window());
    assert!(feed.occurrences.is_empty() && feed.unparsed_events.is_empty(), "{:?}", feed.unparsed_events);
}

#[test]
fn many_series_of_another_season_are_readable() {
    let summer = |n: usize| event_ics(&format!("a{n}"), "DTSTART:20240703T080000Z|RRULE:FREQ=WEEKLY;BYMONTH=7,8");
    let feed = parse_events(&(0..100).map(summer).collect::<String>(), winter_window());
    assert!(feed.occurrences.is_empty() && feed.unparsed_events.is_empty(), "{:?}", feed.unparsed_events);
}

#[test]
fn a_day_that_a_month_lacks_is_left_out_or_moved_back() {
    for (lines, expected) in [
        ("20260831|FREQ=MONTHLY;SKIP=OMIT", "12-31"),
        ("20260831|RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=BACKWARD", "11-30 12-31"),
        ("20260831|FREQ=MONTHLY;BYMONTHDAY=31;SKIP=BACKWARD;COUNT=4", "11-30"),
        ("20260829|FREQ=MONTHLY;SKIP=FORWARD;BYMONTHDAY=28", "11-28 12-28"),
        ("20241129|FREQ=YEARLY;SKIP=BACKWARD", "11-29"),
        ("20261101|FREQ=WEEKLY;SKIP=FORWARD;COUNT=2", "11-01 11-08"),
    ] {
        let (start, rule) = lines.split_once('|').unwrap();
        let expected: Vec<_> = expected.split_whitespace().map(|day| format!("{day}T08:00")).collect();
        assert_eq!(event_starts(&format!("DTSTART:{start}T080000Z|RRULE:{rule}")), expected, "{rule}");
    }
    let leap_day = event_ics("a", "DTSTART:20240229T080000Z|RRULE:FREQ=YEARLY;SKIP=BACKWARD");
    let feed = parse_events(&leap_day, parse_window("2026-02-01T00:00:00Z", "2028-03-02T00:00:00Z"));
    let days: Vec<_> = feed.occurrences.values().map(|it| it.start.strftime("%F").to_string()).collect();
    assert_eq!(days, ["2026-02-28", "2027-02-28", "2028-02-29"]);
    for rule in [
        "FREQ=MONTHLY;SKIP=FORWARD;BYMONTHDAY=31",
        "FREQ=MONTHLY;SKIP=BACKWARD;BYMONTHDAY=30,31",
        "FREQ=MONTHLY;SKIP=BACKWARD;BYMONTHDAY=-31",
        "FREQ=YEARLY;SKIP=BACKWARD;BYMONTH=2,4;BYMONTHDAY=30",
        "FREQ=YEARLY;SKIP=FORWARD;BYYEARDAY=366",
        "FREQ=MONTHLY;SKIP=SOMETIMES",
    ] {
        assert_eq!(
            event_error(&format!("DTSTART:20261124T080000Z|RRULE:{rule}")),
            IcsEventError::InvalidRule,
            "{rule}"
        );
    }
}

#[test]
fn a_range_that_is_not_this_and_future_is_not_understood() {
    let error = event_error("RECURRENCE-ID;RANGE=THISANDPRIOR:20261124T080000Z|DTSTART:20261124T090000Z");
    assert_eq!(error, IcsEventError::InvalidTime("RECURRENCE-ID"));
}

#[test]
fn a_floating_time_in_a_calendar_of_an_unknown_zone_is_not_guessed() {
    let body = |start: &str| calendar_ics(&format!("X-WR-TIMEZONE:Clinic Time\n{}", event_ics("a", start)));
    let read = |calendar: &str, body: &str| parse_as(calendar, body.as_bytes(), winter_window(), &["a"]);
    assert!(read("clinic", &body("DTSTART:20261124T103000")).is_err());
    assert!(read("clinic", &body("DTSTART:20261124T083000Z")).is_ok_and(|feed| feed.occurrences.len() == 1));
    assert!(read("abroad", &body("DTSTART:20261124T103000")).is_ok_and(|feed| feed.occurrences.len() == 1));
    let described = body("DTSTART:20261124T103000").replacen("BEGIN:VEVENT", &format!("{PRIVATE_ZONE}BEGIN:VEVENT"), 1);
    assert_eq!(read("clinic", &described).unwrap().occurrences["a"].start.to_string(), "2026-11-24T08:30:00Z");
}

#[test]
fn each_calendar_of_a_body_has_its_own_owner() {
    let calendar = |uid: &str, name: &str| {
        let event = event_ics(uid, "DTSTART:20261124T083000Z|ORGANIZER:mailto:anna@clinic.example");
        calendar_ics(&format!("X-WR-CALNAME:{name}\n{event}"))
    };
    let body = calendar("a", "anna@clinic.example") + &calendar("b", "dana@clinic.example");
    let feed = parse_as("clinic", body.as_bytes(), winter_window(), &[]).unwrap();
    assert_eq!((feed.occurrences.contains_key("a"), feed.occurrences.len(), feed.is_foreign("b")), (true, 1, true));
}

#[test]
fn an_excluded_slot_stays_excluded_if_an_exception_replaces_it() {
    let series = |excluded: &str| {
        event_ics("a", &format!("DTSTART;TZID=Asia/Jerusalem:20261102T090000|RRULE:FREQ=WEEKLY;COUNT=3|{excluded}"))
            + &event_ics("a", "RECURRENCE-ID:20261109T070000Z|DTSTART:20261110T120000Z")
    };
    for excluded in
        ["EXDATE:20261109T070000Z", "EXDATE;VALUE=DATE:20261109", "EXDATE;TZID=Asia/Jerusalem:20261109T090000"]
    {
        let ids: Vec<_> = parse_events(&series(excluded), winter_window()).occurrences.into_keys().collect();
        assert_eq!(ids, ["a/20261102T070000Z", "a/20261116T070000Z"], "{excluded}");
    }
    assert_eq!(parse_events(&series("EXDATE:"), winter_window()).occurrences.len(), 3);
    assert!(event_starts("DTSTART:20261109T070000Z|EXDATE:20261109T070000Z").is_empty(), "a single event");
}

#[test]
fn an_event_has_title_and_place_only_if_the_client_writes_them() {
    let lines = "SUMMARY:Call the bank|LOCATION:Herzl 12";
    let texts = |calendar: &str| {
        let occurrence = read_of_anna(calendar, lines, None).occurrences.remove("a").unwrap();
        (occurrence.title, occurrence.place)
    };
    assert_eq!(texts("clinic"), (Some("Call the bank".to_owned()), Some("Herzl 12".to_owned())));
    assert_eq!(texts("team"), (None, None));
}

#[test]
fn hostile_bodies_end_quickly_in_a_clear_error() {
    let error = |body: String| {
        let started = Instant::now();
        let error = parse_as("clinic", body.as_bytes(), winter_window(), &[]).unwrap_err();
        assert!(started.elapsed().as_secs() < 20, "{error}: {:?}", started.elapsed());
        error
    };
    assert_eq!(error("x".repeat(20 << 20)), FeedParseError::TooLarge);
    let many = "BEGIN:VEVENT\nUID:1\nDTSTART:20200101T1\nEND:VEVENT\n".repeat(100_000);
    assert!(many.len() < MAX_BODY_BYTES);
    assert!(matches!(error(calendar_ics(&many)), FeedParseError::TooManyEvents(_)));
    let colons = event_ics("a", &format!("DTSTART{}", ":a".repeat(30_000))).repeat(100);
    assert!(matches!(error(calendar_ics(&colons)), FeedParseError::NoEventParsed(100, _)));
    let secondly = event_ics("a", "DTSTART:20261124T103000Z|RRULE:FREQ=SECONDLY");
    assert!(matches!(error(calendar_ics(&secondly)), FeedParseError::NoEventParsed(1, _)));
    let daily: String =
        (0..200).map(|n| event_ics(&format!("a{n}"), "DTSTART:20200101T103000Z|RRULE:FREQ=DAILY")).collect();
    assert_eq!(error(calendar_ics(&daily)), FeedParseError::TooManyOccurrences);
    let counted = |n| event_ics(&format!("a{n}"), "DTSTART:19800101T103000Z|RRULE:FREQ=DAILY;COUNT=16000");
    assert_eq!(error(calendar_ics(&(0..200).map(counted).collect::<String>())), FeedParseError::RulesTooExpensive);
    let never = |n| event_ics(&format!("a{n}"), "DTSTART:20200101T103000Z|RRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6");
    assert_eq!(error(calendar_ics(&(0..1000).map(never).collect::<String>())), FeedParseError::RulesTooExpensive);
    let zones: String = (0..3000).map(|n| PRIVATE_ZONE.replace("Clinic Time", &format!("Z{n}"))).collect();
    let in_zones: String =
        (0..3000).map(|n| event_ics(&format!("a{n}"), &format!("DTSTART;TZID=Z{n}:20200101T103000"))).collect();
    let started = Instant::now();
    assert!(parse_as("clinic", calendar_ics(&(zones + &in_zones)).as_bytes(), winter_window(), &[]).is_ok());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

const ZONES: [&str; 14] = [
    "Asia/Jerusalem",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Bucharest",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_weekly_series_keeps_its_clock_time_from_2024_to_2030(
        zone in 0..ZONES.len(),
        first in 0i64..28,
        hour in 0i8..24,
        minute in prop::sample::select(vec![0i8, 15, 30, 59]),
        interval in 1i64..3,
    ) {
        let name = ZONES[zone];
        let zone = TimeZone::get(name).unwrap();
        let day = date(2024, 1, 1).checked_add(first.days()).unwrap();
        let lines = format!(
            "DTSTART;TZID={name}:{}T{hour:02}{minute:02}00|RRULE:FREQ=WEEKLY;INTERVAL={interval}",
            day.strftime("%Y%m%d")
        );
        let window = parse_window("2023-12-01T00:00:00Z", "2031-01-01T00:00:00Z");
        let found: Vec<Timestamp> = parse_events(&event_ics("a", &lines), window).occurrences.values().map(|it| it.start).collect();
        let mut expected = Vec::new();
        for week in (0..).step_by(usize::try_from(interval).unwrap()) {
            let local = day.checked_add((week * 7).days()).unwrap().at(hour, minute, 0, 0);
            let at = local.to_zoned(zone.clone()).unwrap();
            if at.timestamp() >= window.until {
                break;
            }
            // The time of day differs only where the clocks skip it.
            let offset = zone.to_ambiguous_zoned(local);
            prop_assert!(offset.is_ambiguous() || at.datetime() == local);
            expected.push(at.timestamp());
        }
        prop_assert_eq!(found, expected);
    }
}

/// The sample feed, truncated or with random pieces spliced in, or random bytes.
fn corrupted_feed() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "BEGIN:VEVENT\n",
        "END:VEVENT\n",
        "BEGIN:VTIMEZONE\n",
        "\r\n",
        "\n ",
        ";",
        ":",
        "=",
        ",",
        "\\",
        "\"",
        "RRULE:",
        "FREQ=YEARLY;",
        "FREQ=DAILY",
        "BYDAY=-1FR",
        "UNTIL=20261124T000000Z",
        "COUNT=9999999",
        "INTERVAL=999",
        "TZID=X",
        "VALUE=DATE",
        "VALUE=PERIOD",
        "P1D",
        "99999999T999999Z",
        "00000000",
        "00010101T000000",
        "99991231T235959",
        "-",
        "RANGE=THISANDFUTURE",
        "EXDATE:",
        "RDATE:",
        "RECURRENCE-ID:",
        "DTSTART:",
        "ENCODING=BASE64",
        "ENCODING=QUOTED-PRINTABLE",
        "é",
        "\u{feff}",
        "TZOFFSETTO:-2359\n",
    ]);
    let change = (
        any::<prop::sample::Index>(),
        0usize..30,
        prop_oneof![
            3 => pieces.prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ],
    );
    let whole = sample_file("feed.ics");
    prop_oneof![
        1 => any::<prop::sample::Index>().prop_map({ let whole = whole.clone(); move |at| whole[..at.index(whole.len())].to_vec() }),
        8 => prop::collection::vec(change, 1..8).prop_map(move |changes| {
            let mut body = whole.clone();
            for (at, cut, piece) in changes {
                let at = at.index(body.len() + 1);
                let end = (at + cut % 12).min(body.len());
                body.splice(at..end, piece);
            }
            body
        }),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_body_causes_a_panic(body in corrupted_feed(), from in -377_705_000_000i64..253_402_000_000, days in 0i64..400) {
        let from = Timestamp::from_second(from).unwrap();
        let until = from.checked_add(jiff::SignedDuration::from_hours(days * 24)).unwrap_or(Timestamp::MAX);
        for window in [TimeWindow { from, until }, winter_window()] {
            if let Ok(feed) = parse_as("clinic", &body, window, &[]) {
                prop_assert!(feed.occurrences.values().all(|occurrence| window.contains(occurrence.start)));
            }
        }
    }

    #[test]
    fn a_truncated_body_is_never_read_as_a_shorter_calendar(end in 0usize..1855) {
        let body = sample_file("feed.ics");
        // Only the whitespace after the last line may be missing.
        let whole = String::from_utf8(body.clone()).unwrap().trim_end().len();
        prop_assume!(end < whole);
        prop_assert!(parse_as("clinic", &body[..end], winter_window(), &[]).is_err());
    }
}
