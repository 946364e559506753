//! Two reads of a feed, and the changes between them.
//!
//! Long because a model of random changes stands beside the examples.

use jiff::SignedDuration;
use proptest::prelude::*;
use tellonce_core::{
    appointment::{Appointment, Attendee, ReportResult},
    client_config::{CalendarKind, ClientConfig},
    contact::{Phone, PhoneError},
};

use super::*;
use crate::feed::{
    occurrence::KnownIds,
    parse_error::IcsEventError,
    tests::{calendar_ics, event_ics, feed_config, feed_rule, parse_events, parse_window, parse_with},
};

fn at_hour(hour: i64) -> Timestamp {
    "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
}

fn window_around(hour: i64) -> TimeWindow {
    TimeWindow { from: at_hour(hour - 24), until: at_hour(hour + 24 * 16) }
}

/// Compares a read like a poll that has time for `max_reports` reports.
fn read_feed_with_suspect(
    config: &ClientConfig,
    snapshot: &mut FeedSnapshot,
    feed: &ParsedFeed,
    hour: i64,
    max_reports: usize,
) -> (Vec<AppointmentReport>, Option<SuspectRead>) {
    let calendar = &config.calendars["clinic"];
    let origin = FeedOrigin { name: "clinic", calendar, rule: feed_rule(calendar) };
    let (suspect, FeedChanges { pending, changes, new_count, .. }) =
        match compare_feed(snapshot, feed, origin, window_around(hour), at_hour(hour)) {
            FeedVerdict::Suspect(suspect, changes) => (Some(suspect), changes),
            FeedVerdict::Changes(changes) => (None, changes),
        };
    snapshot.count_new(new_count, at_hour(hour));
    snapshot.occurrences = pending;
    snapshot.accept_next_read &= suspect.is_some();
    let mut reports = Vec::new();
    for change in changes.into_iter().take(max_reports) {
        reports.push(change.report.clone());
        change.record_reported(&mut snapshot.occurrences);
    }
    (reports, suspect)
}

/// Like [`read_feed_with_suspect`], for reads without changes of remaining events.
fn read_trusted_feed(
    config: &ClientConfig,
    snapshot: &mut FeedSnapshot,
    feed: &ParsedFeed,
    hour: i64,
    max_reports: usize,
) -> Result<Vec<AppointmentReport>, SuspectRead> {
    let (reports, suspect) = read_feed_with_suspect(config, snapshot, feed, hour, max_reports);
    match suspect {
        Some(suspect) => {
            assert_eq!(reports, vec![]);
            Err(suspect)
        }
        None => Ok(reports),
    }
}

fn describe_reports(reports: &[AppointmentReport]) -> Vec<String> {
    reports.iter().map(|report| format!("{} {}", report.subject, report.status.name())).collect()
}

fn feed_of_days(ids: std::ops::Range<i64>) -> ParsedFeed {
    let events: String = ids
        .map(|day| {
            event_ics(&format!("d{day}"), &format!("DTSTART:{}", at_hour(day * 24 + 8).strftime("%Y%m%dT%H%M%SZ")))
        })
        .collect();
    parse_events(&events, window_around(0))
}

#[test]
fn new_moved_cancelled_and_missing_events_are_reported_once() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    let first = read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..4), 0, 9).unwrap();
    assert_eq!(describe_reports(&first), ["appointment:d1 booked", "appointment:d2 booked", "appointment:d3 booked"]);
    let report = &first[0];
    assert_eq!((report.as_of, report.delivery.as_str(), report.line.as_str()), (at_hour(0), "feed:clinic", "main"));
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..4), 1, 9), Ok(vec![]));
    let mut changed = feed_of_days(1..3);
    changed.occurrences.get_mut("d1").unwrap().start = at_hour(40);
    changed.occurrences.get_mut("d2").unwrap().status = AppointmentStatus::Cancelled;
    let second = read_trusted_feed(&config, &mut snapshot, &changed, 2, 9).unwrap();
    assert_eq!(
        describe_reports(&second),
        ["appointment:d3 cancelled", "appointment:d2 cancelled", "appointment:d1 booked"]
    );
    assert_eq!(second[2].details.as_ref().unwrap().start, at_hour(40));
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &changed, 3, 9), Ok(vec![]));
    assert_eq!(snapshot.occurrences.keys().collect::<Vec<_>>(), ["d1", "d2"]);
    // A cancelled event that is removed was already reported. One that returns is booked.
    changed.occurrences.remove("d2");
    changed.occurrences.extend(feed_of_days(3..4).occurrences);
    assert_eq!(
        describe_reports(&read_trusted_feed(&config, &mut snapshot, &changed, 4, 9).unwrap()),
        ["appointment:d3 booked"]
    );
}

#[test]
fn events_that_left_the_window_are_forgotten_and_events_beyond_it_stay_remembered() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..4), 0, 9).unwrap();
    let far =
        KnownOccurrence { start: at_hour(24 * 60), fingerprint: None, cancelled: false, person: None, feed_id: None };
    snapshot.occurrences.insert("far".to_owned(), far);
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(3..4), 24 * 2 + 9, 9), Ok(vec![]));
    assert_eq!(snapshot.occurrences.keys().collect::<Vec<_>>(), ["d3", "far"]);
}

#[test]
fn a_read_that_lost_most_or_all_events_changes_nothing_until_it_is_accepted() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    let mut shrunk = feed_of_days(3..4);
    shrunk.occurrences.extend(feed_of_days(7..9).occurrences);
    read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..7), 0, 9).unwrap();
    let before = snapshot.clone();
    assert_eq!(
        read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 1, 9),
        Err(SuspectRead { upcoming: 6, missing: 6 })
    );
    assert_eq!(snapshot, before);
    // New events count meanwhile.
    let (reports, suspect) = read_feed_with_suspect(&config, &mut snapshot.clone(), &shrunk, 1, 9);
    assert_eq!(suspect, Some(SuspectRead { upcoming: 6, missing: 5 }));
    assert_eq!(describe_reports(&reports), ["appointment:d7 booked", "appointment:d8 booked"]);
    let half = read_trusted_feed(&config, &mut snapshot.clone(), &feed_of_days(1..4), 1, 9).unwrap();
    assert_eq!(half.len(), 3, "half of the events may be removed");
    snapshot.accept_next_read = true;
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 1, 9).unwrap().len(), 6);
    assert!(snapshot.occurrences.is_empty());
    // Two of three events may be removed. An empty feed is suspect even after a single event.
    read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..4), 2, 9).unwrap();
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..2), 3, 9).unwrap().len(), 2);
    assert_eq!(
        read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 4, 9),
        Err(SuspectRead { upcoming: 1, missing: 1 })
    );
    // Without upcoming events no read is suspect.
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 24 * 2, 9), Ok(vec![]));
}

#[test]
fn a_read_that_lost_all_attendees_or_most_events_is_suspect_and_the_remaining_events_still_count() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..6), 0, 9).unwrap();
    let mut without_attendees = feed_of_days(1..6);
    for occurrence in without_attendees.occurrences.values_mut() {
        occurrence.attendee = Err(PhoneError::Empty);
    }
    assert_eq!(
        read_trusted_feed(&config, &mut snapshot, &without_attendees, 1, 9),
        Err(SuspectRead { upcoming: 5, missing: 5 })
    );
    let mut halved = feed_of_days(1..3);
    halved.occurrences.get_mut("d1").unwrap().start = at_hour(40);
    halved.occurrences.get_mut("d2").unwrap().status = AppointmentStatus::Cancelled;
    let (reports, suspect) = read_feed_with_suspect(&config, &mut snapshot, &halved, 2, 9);
    assert_eq!(suspect, Some(SuspectRead { upcoming: 5, missing: 3 }));
    assert_eq!(describe_reports(&reports), ["appointment:d2 cancelled", "appointment:d1 booked"]);
    assert_eq!(snapshot.occurrences.len(), 5);
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &halved, 3, 9), Err(SuspectRead { upcoming: 4, missing: 3 }));

    let mut few = FeedSnapshot::default();
    read_trusted_feed(&config, &mut few, &feed_of_days(1..4), 0, 9).unwrap();
    let (reports, suspect) = read_feed_with_suspect(&config, &mut few, &feed_of_days(9..10), 1, 9);
    assert_eq!(suspect, Some(SuspectRead { upcoming: 3, missing: 3 }));
    assert_eq!(describe_reports(&reports), ["appointment:d9 booked"]);
}

#[test]
fn events_that_are_not_understood_stay_unchanged_and_are_not_counted() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..7), 0, 9).unwrap();
    let mut broken = feed_of_days(1..2);
    broken.unparsed_events.extend((2..7).map(|day| (format!("d{day}"), IcsEventError::InvalidRule)));
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &broken, 1, 9), Ok(vec![]));
    assert_eq!(snapshot.occurrences.len(), 6);
}

#[test]
fn an_event_without_an_attendee_is_reported_only_if_it_had_one_before() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    let mut without_attendees = feed_of_days(1..3);
    without_attendees.occurrences.get_mut("d2").unwrap().attendee = Err(PhoneError::Empty);
    assert_eq!(
        describe_reports(&read_trusted_feed(&config, &mut snapshot, &without_attendees, 0, 9).unwrap()),
        ["appointment:d1 booked"]
    );
    without_attendees.occurrences.get_mut("d1").unwrap().attendee = Err(PhoneError::Empty);
    let gone = read_trusted_feed(&config, &mut snapshot, &without_attendees, 1, 9).unwrap();
    assert!(gone.len() == 1 && gone[0].details.as_ref().unwrap().attendees.is_empty());
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &without_attendees, 2, 9), Ok(vec![]));
    // An event that began before its first read is not reported.
    assert_eq!(read_trusted_feed(&config, &mut FeedSnapshot::default(), &feed_of_days(0..1), 9, 9), Ok(vec![]));
}

#[test]
fn an_event_that_becomes_foreign_is_cancelled_and_many_at_once_are_suspect() {
    let foreign = |feed: &mut ParsedFeed, ids: std::ops::Range<i64>| {
        for day in ids {
            let organizer = format!("DTSTART:20261124T083000Z|ORGANIZER:mailto:eve{day}@evil.example");
            let parsed = parse_events(&event_ics(&format!("d{day}"), &organizer), window_around(0));
            feed.foreign_events.extend(parsed.foreign_events);
        }
    };
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..6), 0, 9).unwrap();
    // A wrong `organizers`, or a calendar that was renamed, disowns all events.
    let mut disowned = feed_of_days(5..6);
    foreign(&mut disowned, 1..5);
    let (reports, suspect) = read_feed_with_suspect(&config, &mut snapshot.clone(), &disowned, 1, 9);
    assert_eq!((describe_reports(&reports), suspect), (vec![], Some(SuspectRead { upcoming: 5, missing: 4 })));
    // One or two may well be invitations.
    let mut two = feed_of_days(3..6);
    foreign(&mut two, 1..3);
    let reports = read_trusted_feed(&config, &mut snapshot, &two, 1, 9).unwrap();
    assert_eq!(describe_reports(&reports), ["appointment:d1 cancelled", "appointment:d2 cancelled"]);
    assert_eq!(read_trusted_feed(&config, &mut snapshot, &two, 2, 9).unwrap(), vec![], "once");
    assert_eq!(snapshot.occurrences.keys().collect::<Vec<_>>(), ["d3", "d4", "d5"]);
}

#[test]
fn new_appointments_beyond_the_limit_of_a_day_wait_for_the_next_day_or_an_operator() {
    let mut config = feed_config();
    let CalendarKind::Ics(rule) = &mut config.calendars.get_mut("clinic").unwrap().kind else { panic!() };
    rule.new_per_day = 2;
    let mut snapshot = FeedSnapshot::default();
    let read = |snapshot: &mut FeedSnapshot, ids, hour| {
        let reports = read_trusted_feed(&config, snapshot, &feed_of_days(ids), hour, 99).unwrap();
        (snapshot.read_at, snapshot.accept_next_read) = (Some(at_hour(hour)), false);
        describe_reports(&reports).join(" ").replace("appointment:", "").replace(" booked", "")
    };
    assert_eq!(read(&mut snapshot, 1..6, 0), "d1 d2 d3 d4 d5", "the first read has no limit");
    assert_eq!(read(&mut snapshot, 1..7, 1), "d6");
    assert_eq!(read(&mut snapshot, 1..10, 2), "d7", "the soonest");
    assert_eq!(read(&mut snapshot, 1..10, 24), "");
    assert_eq!(read(&mut snapshot.clone(), 1..10, 25), "d8 d9");
    snapshot.accept_next_read = true;
    assert_eq!(read(&mut snapshot, 1..12, 24), "d8 d9 d10 d11", "an operator decided");
    assert_eq!(read(&mut snapshot, 1..13, 26), "d12");
}

/// A feed of appointments: `UID`, start in hours, and the last digits of the number.
fn feed_of(appointments: &[(&str, i64, u32)]) -> ParsedFeed {
    let events = appointments.iter().map(|(uid, hour, phone)| {
        let start = at_hour(*hour).strftime("%Y%m%dT%H%M%SZ");
        event_ics(uid, &format!("DTSTART:{start}")).replace("054-555-0199", &format!("054-555-{phone:04}"))
    });
    parse_events(&events.collect::<String>(), window_around(0))
}

#[test]
fn an_appointment_with_another_uid_at_each_read_is_reported_once() {
    let mut config = feed_config();
    let CalendarKind::Ics(rule) = &mut config.calendars.get_mut("clinic").unwrap().kind else { panic!() };
    rule.new_per_day = 1;
    let mut snapshot = FeedSnapshot::default();
    let mut read = |appointments: &[(&str, i64, u32)], hour| {
        let reports = read_trusted_feed(&config, &mut snapshot, &feed_of(appointments), hour, 99).unwrap();
        snapshot.read_at = Some(at_hour(hour));
        describe_reports(&reports)
    };
    let first = read(&[("a1", 40, 1), ("a2", 40, 2), ("a3", 60, 1), ("a4", 80, 3), ("a5", 90, 4)], 0);
    assert_eq!(first.len(), 5);
    let no_reports: [&str; 0] = [];
    for (hour, x) in ["b", "c", "a"].into_iter().enumerate() {
        let uids: Vec<String> = (1..6).map(|number| format!("{x}{number}")).collect();
        // The list is in another order, too.
        let again =
            [(&*uids[4], 40, 1), (&*uids[0], 40, 2), (&*uids[1], 60, 1), (&*uids[2], 80, 3), (&*uids[3], 90, 4)];
        assert_eq!(read(&again, 1 + i64::try_from(hour).unwrap()), no_reports, "{x}");
    }
    // One is moved and one is cancelled while all get other names.
    let reports = read(&[("d1", 40, 1), ("d2", 40, 2), ("d3", 61, 1), ("d4", 80, 3)], 5);
    assert_eq!(reports, ["appointment:a5 cancelled", "appointment:a3 booked"]);
    // The names are positions in the list, and the first appointment is over.
    let mut snapshot = FeedSnapshot::default();
    let mut read = |appointments: &[(&str, i64, u32)], hour| {
        describe_reports(&read_trusted_feed(&feed_config(), &mut snapshot, &feed_of(appointments), hour, 99).unwrap())
    };
    assert_eq!(read(&[("1", 10, 1), ("2", 40, 2), ("3", 60, 3)], 0).len(), 3);
    assert_eq!(read(&[("1", 40, 2), ("2", 60, 3)], 12), no_reports);
    // One is moved and two people change places, while all get other names.
    let mut snapshot = FeedSnapshot::default();
    let mut read = |appointments: &[(&str, i64, u32)], hour| {
        describe_reports(&read_trusted_feed(&feed_config(), &mut snapshot, &feed_of(appointments), hour, 99).unwrap())
    };
    assert_eq!(read(&[("a", 40, 1), ("b", 60, 2), ("c", 80, 3)], 0).len(), 3);
    let moved = ["appointment:a booked", "appointment:c booked", "appointment:b booked"];
    assert_eq!(read(&[("x", 41, 1), ("y", 80, 2), ("z", 60, 3)], 1), moved);
    // A name that stays is a sign that the others are new.
    let reports = read(&[("x", 42, 1), ("new", 90, 2), ("z", 60, 3)], 2);
    assert_eq!(reports, ["appointment:b cancelled", "appointment:a booked", "appointment:new booked"]);
}

#[test]
fn a_moved_appointment_is_a_move_and_one_that_is_listed_twice_is_reported_once() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    let mut read = |appointments: &[(&str, i64, u32)], hour| {
        describe_reports(&read_trusted_feed(&config, &mut snapshot, &feed_of(appointments), hour, 99).unwrap())
    };
    assert_eq!(
        read(&[("a", 40, 1), ("b", 60, 2), ("twin", 60, 2)], 0),
        ["appointment:a booked", "appointment:b booked"]
    );
    assert_eq!(read(&[("a", 44, 1), ("b", 60, 2), ("twin", 60, 2)], 1), ["appointment:a booked"]);
    assert_eq!(read(&[("a", 44, 1), ("twin", 60, 2)], 2), [""; 0], "the other one stands for it");
    assert_eq!(read(&[("a", 44, 1), ("twin", 62, 2)], 3), ["appointment:b booked"]);
    assert_eq!(read(&[("a", 44, 7), ("twin", 62, 2)], 4), ["appointment:a booked"], "another number");
}

/// Series of ten people that begin so many hours after the start.
fn feed_of_series(snapshot: &FeedSnapshot, hour: i64, days: i64) -> ParsedFeed {
    let series = (0..10).map(|person| {
        let start = at_hour(24 + hour).strftime("%Y%m%dT%H%M%SZ");
        event_ics(&format!("p{person}"), &format!("DTSTART:{start}|RRULE:FREQ=DAILY;COUNT={days}"))
            .replace("054-555-0199", &format!("054-555-01{person:02}"))
    });
    let body = calendar_ics(&series.collect::<String>());
    let known: Vec<&str> = snapshot.occurrences.iter().map(|(id, known)| known.id_in_feed(id)).collect();
    let config = feed_config();
    parse_with(&config, &config.calendars["clinic"], body.as_bytes(), window_around(0), &known, None).unwrap()
}

#[test]
fn fifty_times_of_series_that_are_moved_as_a_whole_are_moves() {
    let mut config = feed_config();
    let CalendarKind::Ics(rule) = &mut config.calendars.get_mut("clinic").unwrap().kind else { panic!() };
    rule.new_per_day = 1;
    for hours in [1, -2, 24] {
        let mut snapshot = FeedSnapshot::default();
        let mut headers: BTreeMap<String, Appointment> = BTreeMap::new();
        let mut read = |first: i64, days: i64, hour| {
            let feed = feed_of_series(&snapshot, first, days);
            let reports = read_trusted_feed(&config, &mut snapshot, &feed, hour, 99).unwrap();
            snapshot.read_at = Some(at_hour(hour));
            for report in &reports {
                if let ReportResult::Updated(header) =
                    Appointment::apply_report(headers.get(&report.subject), report, at_hour(hour))
                {
                    headers.insert(report.subject.clone(), *header);
                }
            }
            let booked = headers.values().filter(|header| header.status == AppointmentStatus::Booked);
            let mut starts: Vec<_> = booked
                .map(|header| (header.start, header.attendees[0].attendee().unwrap().phone.expose().to_owned()))
                .collect();
            starts.sort();
            (reports.len(), starts)
        };
        let expected = |first: i64, days: i64| {
            let days = (0..days).flat_map(|day| (0..10).map(move |person| (day, person)));
            let slots = days.map(|(day, person)| (at_hour(24 + first + day * 24), format!("+9725455501{person:02}")));
            slots.collect::<Vec<_>>()
        };
        assert_eq!(read(8, 5, 0), (50, expected(8, 5)));
        let (reports, starts) = read(8 + hours, 5, 1);
        assert_eq!(starts, expected(8 + hours, 5), "{hours} hours");
        // A day's move changes only the first and the last day.
        assert_eq!(reports, if hours == 24 { 10 } else { 50 }, "{hours} hours");
        assert_eq!(read(8 + hours, 5, 2).0, 0, "{hours} hours");
        // The series end early: their times are cancelled, although most are gone.
        assert_eq!(read(8 + hours, 1, 3), (40, expected(8 + hours, 1)), "{hours} hours");
    }
}

#[test]
fn series_that_vanish_from_a_feed_are_suspect_but_their_ended_times_are_not() {
    let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
    let whole = feed_of_series(&snapshot, 8, 5);
    read_trusted_feed(&config, &mut snapshot, &whole, 0, 99).unwrap();
    let mut broken = whole;
    broken.occurrences.retain(|id, _| id.starts_with("p0/"));
    // One series stands and has one time less.
    broken.occurrences.pop_last();
    broken.standing_uids.insert("p0".to_owned());
    let (reports, suspect) = read_feed_with_suspect(&config, &mut snapshot, &broken, 1, 99);
    assert_eq!(suspect, Some(SuspectRead { upcoming: 49, missing: 45 }));
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].status, reports[0].details.is_none()), (AppointmentStatus::Cancelled, true));
    assert_eq!(snapshot.occurrences.len(), 49);
}

#[test]
fn an_appointments_subject_contains_its_calendars_id_scope() {
    let config = feed_config();
    let calendar = &config.calendars["abroad"];
    let origin = FeedOrigin { name: "abroad", calendar, rule: feed_rule(calendar) };
    let verdict = compare_feed(
        &FeedSnapshot::default(),
        &feed_of_days(1..2),
        origin,
        parse_window("2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        at_hour(0),
    );
    let FeedVerdict::Changes(changes) = verdict else { panic!("{verdict:?}") };
    assert_eq!(changes.changes[0].report.subject, "appointment:abroad..d1");
}

/// A change of one appointment, or of the clock, before the next read.
#[derive(Debug, Clone, Copy)]
enum FeedStep {
    Write {
        id: usize,
        day: i64,
        status: AppointmentStatus,
        phone: Option<usize>,
    },
    Delete {
        id: usize,
    },
    Damage {
        id: usize,
        damaged: bool,
    },
    Wait {
        hours: i64,
    },
    /// All events get other `UID`s.
    Rename,
}

fn any_step() -> impl Strategy<Value = FeedStep> {
    let status = prop::sample::select(vec![
        AppointmentStatus::Booked,
        AppointmentStatus::Booked,
        AppointmentStatus::Unconfirmed,
        AppointmentStatus::Cancelled,
    ]);
    prop_oneof![
        6 => (0usize..8, -1i64..30, status, prop::option::weighted(0.8, 0usize..2))
            .prop_map(|(id, day, status, phone)| FeedStep::Write { id, day, status, phone }),
        3 => (0usize..8).prop_map(|id| FeedStep::Delete { id }),
        1 => (0usize..8, any::<bool>()).prop_map(|(id, damaged)| FeedStep::Damage { id, damaged }),
        2 => (1i64..100).prop_map(|hours| FeedStep::Wait { hours }),
        1 => Just(FeedStep::Rename),
    ]
}

#[derive(Default)]
struct FeedModel {
    actual: BTreeMap<String, FeedOccurrence>,
    damaged_events: BTreeMap<String, IcsEventError>,
    hour: i64,
    /// How often all events were renamed.
    renamed: u32,
}

impl FeedModel {
    /// The current `UID` of an event.
    fn uid_of(&self, id: &str) -> String {
        if self.renamed == 0 { id.to_owned() } else { format!("{id}-{}", self.renamed) }
    }

    /// Whether the event with this `UID`, current or earlier, could not be parsed.
    fn is_damaged(&self, uid: &str) -> bool {
        self.damaged_events.contains_key(uid.split('-').next().unwrap())
    }

    fn apply_step(&mut self, step: FeedStep) {
        match step {
            FeedStep::Write { id, day, status, phone } => {
                let phone = phone.map(|which| Phone::from_e164(["+972545550199", "+972525550101"][which]).unwrap());
                let attendee = phone.map(|phone| Attendee { phone, name: None, locale: None, zone: None });
                let start = at_hour(self.hour / 24 * 24 + day * 24 + 10);
                let zone = "Asia/Jerusalem".to_owned();
                let attendee = attendee.ok_or(PhoneError::Empty);
                let uid = format!("e{id}");
                let occurrence =
                    FeedOccurrence { uid: uid.clone(), start, zone, status, attendee, title: None, place: None };
                self.actual.insert(uid, occurrence);
            }
            FeedStep::Delete { id } => drop(self.actual.remove(&format!("e{id}"))),
            FeedStep::Damage { id, damaged: true } => {
                drop(self.damaged_events.insert(format!("e{id}"), IcsEventError::InvalidRule));
            }
            FeedStep::Damage { id, damaged: false } => drop(self.damaged_events.remove(&format!("e{id}"))),
            FeedStep::Wait { hours } => self.hour += hours,
            FeedStep::Rename => self.renamed += 1,
        }
    }

    /// The feed as [`crate::feed::ics::parse_feed`] would parse it.
    fn build_feed(&self, snapshot: &FeedSnapshot) -> ParsedFeed {
        let (window, now) = (window_around(self.hour), at_hour(self.hour));
        let known = KnownIds::of_upcoming(snapshot, now);
        let mut occurrences = self.actual.clone();
        occurrences.retain(|id, it| {
            let is_known = known.contains(&self.uid_of(id));
            let is_found = window.contains(it.start) || is_known;
            !self.damaged_events.contains_key(id) && is_found && (it.attendee.is_ok() || is_known)
        });
        let renamed = occurrences.into_iter().map(|(id, it)| {
            let uid = self.uid_of(&id);
            (uid.clone(), FeedOccurrence { uid, ..it })
        });
        let occurrences = renamed.collect();
        let event_count = self.actual.len();
        let unparsed_events = self.damaged_events.iter().map(|(id, error)| (self.uid_of(id), error.clone())).collect();
        ParsedFeed { occurrences, event_count, unparsed_events, ..ParsedFeed::default() }
    }
}

/// A suspect read reports only changes of events that remain in the feed.
fn check_suspect_reports(reports: &[AppointmentReport]) -> Result<(), TestCaseError> {
    for report in reports {
        let details = report.details.as_ref();
        let has_attendee = details.is_some_and(|details| !details.attendees.is_empty());
        prop_assert!(has_attendee || report.status == AppointmentStatus::Cancelled, "{report:?}");
        prop_assert!(details.is_some(), "{report:?} is about a removed event");
    }
    Ok(())
}

/// Start, status and number.
type SlotFacts = (Timestamp, &'static str, String);

impl FeedModel {
    /// The upcoming events in the window that could be read and have a number, and how many of them
    /// have the same facts.
    fn readable_events(&self) -> BTreeMap<SlotFacts, usize> {
        let (now, window) = (at_hour(self.hour), window_around(self.hour));
        let mut facts = BTreeMap::new();
        for (id, it) in &self.actual {
            let is_upcoming = it.start > now && window.contains(it.start);
            if let (Ok(attendee), true, false) = (&it.attendee, is_upcoming, self.damaged_events.contains_key(id)) {
                *facts.entry((it.start, it.status.name(), attendee.phone.expose().to_owned())).or_default() += 1;
            }
        }
        facts
    }

    /// The facts of the upcoming headers of events that are not damaged.
    fn header_facts(&self, headers: &BTreeMap<String, Appointment>, snapshot: &FeedSnapshot) -> Vec<SlotFacts> {
        let (now, window) = (at_hour(self.hour), window_around(self.hour));
        let feed_ids = snapshot
            .occurrences
            .iter()
            .map(|(id, known)| (IdempotencyKey::appointment_subject("main", id), known.id_in_feed(id)));
        let feed_ids: BTreeMap<_, _> = feed_ids.collect();
        let mut facts = Vec::new();
        for (subject, header) in headers {
            let id = subject.strip_prefix("appointment:").unwrap();
            let feed_id = feed_ids.get(subject).copied().unwrap_or(id);
            // An occurrence after the window is searched for when the window reaches it.
            let is_in_window = header.start > now && header.start < window.until;
            if is_in_window && !self.is_damaged(feed_id) {
                let attending = header.attendees.iter().filter(|seat| seat.attending);
                let phones =
                    attending.filter_map(|seat| seat.attendee()).map(|attendee| attendee.phone.expose().to_owned());
                facts.extend(phones.map(|phone| (header.start, header.status.name(), phone)));
            }
        }
        facts
    }

    /// Every event has its header, and nothing else is reminded of, or more often.
    fn check_headers(
        &self,
        headers: &BTreeMap<String, Appointment>,
        snapshot: &FeedSnapshot,
    ) -> Result<(), TestCaseError> {
        let (events, facts) = (self.readable_events(), self.header_facts(headers, snapshot));
        for event in events.keys() {
            prop_assert!(facts.contains(event), "{event:?} has no header");
        }
        for reminded in facts.iter().filter(|(_, status, _)| *status == AppointmentStatus::Booked.name()) {
            let count = facts.iter().filter(|other| *other == reminded).count();
            prop_assert!(
                events.get(reminded).is_some_and(|most| count <= *most),
                "{reminded:?}: {count} of {events:?}"
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn known_appointments_converge_to_the_feed_whatever_happens(
        reads in prop::collection::vec((prop::collection::vec(any_step(), 0..6), 0usize..12, any::<bool>()), 1..25),
    ) {
        let config = feed_config();
        let (mut model, mut snapshot) = (FeedModel::default(), FeedSnapshot::default());
        let mut headers: BTreeMap<String, Appointment> = BTreeMap::new();
        for (steps, max_reports, accept_next_read) in reads {
            for step in steps {
                model.apply_step(step);
            }
            // Each read is later than the one before.
            model.hour += 1;
            snapshot.accept_next_read = accept_next_read;
            let before = snapshot.clone();
            let feed = model.build_feed(&snapshot);
            let (reports, suspect) = read_feed_with_suspect(&config, &mut snapshot, &feed, model.hour, max_reports);
            for report in &reports {
                prop_assert_eq!(report.as_of, at_hour(model.hour));
                if let ReportResult::Updated(header) = Appointment::apply_report(headers.get(&report.subject), report, at_hour(model.hour)) {
                    headers.insert(report.subject.clone(), *header);
                }
            }
            if suspect.is_some() {
                prop_assert!(!accept_next_read);
                let remembers = |id: &String| snapshot.occurrences.contains_key(id);
                prop_assert!(before.occurrences.keys().all(remembers), "a suspect read forgets nothing");
                check_suspect_reports(&reports)?;
                continue;
            }
            let span = at_hour(model.hour)..window_around(model.hour).until;
            // An occurrence after the window cannot be missing, but it may be present.
            let verifiable = before.occurrences.iter().filter(|(id, known)| {
                let seen = snapshot.occurrences.contains_key(*id);
                let is_upcoming = span.start < known.start && !known.cancelled;
                is_upcoming && (seen || (known.start < span.end && !feed.is_unparsed(known.id_in_feed(id))))
            });
            let (mut upcoming, mut removed) = (0, 0);
            for (id, _) in verifiable {
                let subject = IdempotencyKey::appointment_subject("main", id);
                upcoming += 1;
                removed += reports.iter().filter(|report| report.subject == subject && report.details.is_none()).count();
            }
            prop_assert!(accept_next_read || upcoming < MIN_UPCOMING_TO_SUSPECT || removed * 2 <= upcoming, "{removed} of {upcoming}");
            if snapshot.occurrences.values().any(|known| known.fingerprint.is_none()) {
                continue; // The time was up before all reports were applied.
            }
            prop_assert_eq!(read_trusted_feed(&config, &mut snapshot.clone(), &feed, model.hour, 99), Ok(vec![]), "the same feed reports nothing again");
            model.check_headers(&headers, &snapshot)?;
        }
    }
}
