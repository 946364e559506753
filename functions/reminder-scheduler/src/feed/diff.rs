//! What changed: [`compare_feed`] holds a read against what is remembered of the last good one. Pure.
//!
//! A feed says what is; what is gone from it was cancelled. That makes a feed that lost its events by mistake dangerous:
//! an export that broke, another calendar under the same address, one that is shared without its details. So of a read in
//! which all or most of what lay ahead is gone, or has lost whom to tell, only that counts which it says of what is left:
//! that it moved or was cancelled. The rest stays as it was until an operator believes it ([`SuspectRead`]).
//!
//! Promises that what did not change is not reported again; that what is not understood, or lies behind the window, is not
//! taken for gone; and that a read that was interrupted at any point is made up for by the next one, whatever that says:
//! every occurrence about to be reported is written down before ([`FeedChanges::pending`]). An event in which nobody can be
//! written to is nobody's appointment: it is not reported, unless somebody could before.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    appointment::{AppointmentDetails, AppointmentReport, AppointmentStatus},
    client_config::CalendarConfig,
    feed::{FactsFingerprint, FeedSnapshot, KnownOccurrence},
    ledger::IdempotencyKey,
};

use super::ics::{FeedOccurrence, ParsedFeed, TimeWindow};

/// Below so many occurrences ahead, most of them can be gone for good reason: two of three were cancelled today.
const MIN_UPCOMING_TO_SUSPECT: usize = 4;

/// The calendar that a feed is of.
#[derive(Debug, Clone, Copy)]
pub struct FeedOrigin<'a> {
    /// Its name in `client.toml`.
    pub name: &'a str,
    /// What stands there.
    pub calendar: &'a CalendarConfig,
}

/// What a read means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedVerdict {
    /// It is believed.
    Changes(FeedChanges),
    /// It is not. What it says of the events that are still there counts all the same.
    Suspect(SuspectRead, FeedChanges),
}

/// What has to be reported, and what is to be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedChanges {
    /// What to remember before the first report is taken.
    pub pending: BTreeMap<String, KnownOccurrence>,
    /// The reports, in the order to be taken: what ended first, then what begins soonest.
    pub changes: Vec<FeedChange>,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedChange {
    /// The occurrence.
    pub id: String,
    /// What to report of it.
    pub report: AppointmentReport,
    /// What to remember of it once the report is taken; nothing, of one that is gone.
    pub next_known: Option<KnownOccurrence>,
}

impl FeedChange {
    /// Remembers that the report was taken.
    pub fn record_reported(self, occurrences: &mut BTreeMap<String, KnownOccurrence>) {
        match self.next_known {
            Some(known) => occurrences.insert(self.id, known),
            None => occurrences.remove(&self.id),
        };
    }
}

/// Why a read is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspectRead {
    /// Occurrences that lay ahead.
    pub upcoming: usize,
    /// How many of them are gone, or have lost whom to tell.
    pub missing: usize,
}

impl fmt::Display for SuspectRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upcoming: ahead, missing: gone } = self;
        write!(
            f,
            "{gone} of the {ahead} appointments ahead are gone from the feed, or have lost whom to tell; they stay until \
             `believe` is set"
        )
    }
}

/// Holds a read against what is remembered. `now` is when the feed was asked for.
pub fn compare_feed(
    snapshot: &FeedSnapshot,
    feed: &ParsedFeed,
    origin: FeedOrigin<'_>,
    window: TimeWindow,
    now: Timestamp,
) -> FeedVerdict {
    let mut pending = BTreeMap::new();
    let mut missing = Vec::new();
    let (mut upcoming, mut without_attendee) = (0, 0);
    for (id, known) in &snapshot.occurrences {
        let found = feed.occurrences.get(id);
        let is_present = found.is_some();
        let is_verifiable = !feed.is_unparsed(id) && known.start < window.until;
        if known.start > now && !known.cancelled && (is_present || is_verifiable) {
            upcoming += 1;
            without_attendee += usize::from(found.is_some_and(|it| is_changed(it, Some(known)) && has_no_attendee(it)));
        }
        if is_present {
            continue;
        }
        if !is_verifiable {
            pending.insert(id.clone(), *known);
        } else if known.start > now && !(known.cancelled && known.fingerprint.is_some()) {
            missing.push((id, known));
        }
    }
    let suspect = SuspectRead {
        upcoming,
        missing: without_attendee + missing.iter().filter(|(_, known)| !known.cancelled).count(),
    };
    let nothing_left = feed.event_count == 0 && upcoming > 0;
    let all_gone = upcoming > 1 && suspect.missing == upcoming;
    let most_gone = upcoming >= MIN_UPCOMING_TO_SUSPECT && suspect.missing * 2 > upcoming;
    if (nothing_left || all_gone || most_gone) && !snapshot.accept_next_read {
        let mut left = FeedChanges { pending: snapshot.occurrences.clone(), changes: Vec::new() };
        for (id, occurrence) in &feed.occurrences {
            if let Some(known) = snapshot.occurrences.get(id)
                && is_changed(occurrence, Some(known))
                && !has_no_attendee(occurrence)
            {
                let (in_progress, change) = origin.build_change(id, occurrence, Some(known), now);
                left.pending.insert(id.clone(), in_progress);
                left.changes.push(change);
            }
        }
        return FeedVerdict::Suspect(suspect, left);
    }
    let mut changes = Vec::new();
    for (id, known) in missing {
        pending.insert(id.clone(), KnownOccurrence { fingerprint: None, ..*known });
        let report = origin.build_report(id, AppointmentStatus::Cancelled, None, now);
        changes.push(FeedChange { id: id.clone(), report, next_known: None });
    }
    for (id, occurrence) in &feed.occurrences {
        let known = snapshot.occurrences.get(id);
        match known {
            Some(known) if !is_changed(occurrence, Some(known)) => {
                pending.insert(id.clone(), known_after_report(occurrence));
            }
            // Nobody's appointment, or nobody's any more.
            None if occurrence.attendee.is_err() || occurrence.start <= now => {}
            _ => {
                let (in_progress, change) = origin.build_change(id, occurrence, known, now);
                pending.insert(id.clone(), in_progress);
                changes.push(change);
            }
        }
    }
    changes.sort_by_key(|change| {
        (Reverse(change.report.status == AppointmentStatus::Cancelled), change.next_known.map(|then| then.start))
    });
    FeedVerdict::Changes(FeedChanges { pending, changes })
}

/// What is remembered of an occurrence once it is reported.
fn known_after_report(occurrence: &FeedOccurrence) -> KnownOccurrence {
    let cancelled = occurrence.status == AppointmentStatus::Cancelled;
    KnownOccurrence { start: occurrence.start, fingerprint: Some(compute_fingerprint(occurrence)), cancelled }
}

/// Whether an occurrence is another than the one that was reported.
fn is_changed(occurrence: &FeedOccurrence, known: Option<&KnownOccurrence>) -> bool {
    known.is_none_or(|known| known.fingerprint != Some(compute_fingerprint(occurrence)))
}

/// Whether nobody can be told of an occurrence that takes place.
fn has_no_attendee(occurrence: &FeedOccurrence) -> bool {
    occurrence.attendee.is_err() && occurrence.status != AppointmentStatus::Cancelled
}

impl FeedOrigin<'_> {
    /// What to remember while an occurrence is being reported, and the report.
    fn build_change(
        &self,
        id: &str,
        occurrence: &FeedOccurrence,
        known: Option<&KnownOccurrence>,
        now: Timestamp,
    ) -> (KnownOccurrence, FeedChange) {
        let next_known = known_after_report(occurrence);
        // Should this be interrupted: it lies ahead if it did before, so that it is looked for wherever it is.
        let start = known.map_or(next_known.start, |known| known.start.max(next_known.start));
        let in_progress =
            KnownOccurrence { start, fingerprint: None, cancelled: known.is_some_and(|known| known.cancelled) };
        let report = self.build_report(id, occurrence.status, Some(build_details(occurrence)), now);
        (in_progress, FeedChange { id: id.to_owned(), report, next_known: Some(next_known) })
    }

    fn build_report(
        &self,
        id: &str,
        standing: AppointmentStatus,
        details: Option<AppointmentDetails>,
        now: Timestamp,
    ) -> AppointmentReport {
        AppointmentReport {
            subject: IdempotencyKey::appointment_subject(self.calendar.id_scope(), id),
            calendar: self.name.to_owned(),
            line: self.calendar.line.clone(),
            status: standing,
            details,
            as_of: now,
            delivery: format!("feed:{}", self.name),
            attendees_unchanged: false,
            previous: None,
        }
    }
}

fn build_details(occurrence: &FeedOccurrence) -> AppointmentDetails {
    AppointmentDetails {
        start: occurrence.start,
        zone: occurrence.zone.clone(),
        attendees: occurrence.attendee.iter().cloned().collect(),
        title: occurrence.title.clone(),
        place: occurrence.place.clone(),
    }
}

/// Of everything that a report of it says.
fn compute_fingerprint(occurrence: &FeedOccurrence) -> FactsFingerprint {
    let attendee = occurrence.attendee.as_ref().ok();
    FactsFingerprint::of_facts(&[
        Some(occurrence.status.name()),
        Some(&occurrence.start.to_string()),
        Some(&occurrence.zone),
        attendee.map(|attendee| attendee.phone.expose()),
        attendee.and_then(|attendee| attendee.name.as_deref()),
        occurrence.title.as_deref(),
        occurrence.place.as_deref(),
    ])
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use tellonce_core::{
        appointment::{Appointment, Attendee, ReportResult},
        client_config::ClientConfig,
        contact::{Phone, PhoneError},
    };

    use super::*;
    use crate::feed::{
        ics::IcsEventError,
        tests::{event_ics, feed_config, parse_events, parse_window},
    };

    fn at_hour(hour: i64) -> Timestamp {
        "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    fn window_around(hour: i64) -> TimeWindow {
        TimeWindow { from: at_hour(hour - 24), until: at_hour(hour + 24 * 16) }
    }

    /// As a poll does it, with as many reports taken as there is time for.
    fn read_feed_with_suspect(
        config: &ClientConfig,
        snapshot: &mut FeedSnapshot,
        feed: &ParsedFeed,
        hour: i64,
        max_reports: usize,
    ) -> (Vec<AppointmentReport>, Option<SuspectRead>) {
        let origin = FeedOrigin { name: "clinic", calendar: &config.calendars["clinic"] };
        let (suspect, FeedChanges { pending, changes }) =
            match compare_feed(snapshot, feed, origin, window_around(hour), at_hour(hour)) {
                FeedVerdict::Suspect(suspect, changes) => (Some(suspect), changes),
                FeedVerdict::Changes(changes) => (None, changes),
            };
        snapshot.occurrences = pending;
        snapshot.accept_next_read &= suspect.is_some();
        let mut reports = Vec::new();
        for change in changes.into_iter().take(max_reports) {
            reports.push(change.report.clone());
            change.record_reported(&mut snapshot.occurrences);
        }
        (reports, suspect)
    }

    /// The same, of a read that is believed or says nothing of what is left.
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
        assert_eq!(
            describe_reports(&first),
            ["appointment:d1 booked", "appointment:d2 booked", "appointment:d3 booked"]
        );
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
        // What was cancelled and then goes was said already; what comes back is booked.
        assert_eq!(
            describe_reports(&read_trusted_feed(&config, &mut snapshot, &feed_of_days(3..4), 4, 9).unwrap()),
            ["appointment:d1 cancelled", "appointment:d3 booked"]
        );
    }

    #[test]
    fn events_that_left_the_window_are_forgotten_and_events_beyond_it_stay_remembered() {
        let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
        read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..4), 0, 9).unwrap();
        let far = KnownOccurrence { start: at_hour(24 * 60), fingerprint: None, cancelled: false };
        snapshot.occurrences.insert("far".to_owned(), far);
        assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(3..4), 24 * 2 + 9, 9), Ok(vec![]));
        assert_eq!(snapshot.occurrences.keys().collect::<Vec<_>>(), ["d3", "far"]);
    }

    #[test]
    fn a_read_that_lost_most_or_all_events_changes_nothing_until_it_is_accepted() {
        let (config, mut snapshot) = (feed_config(), FeedSnapshot::default());
        let mut with_news = feed_of_days(3..4);
        with_news.occurrences.extend(feed_of_days(7..9).occurrences);
        read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..7), 0, 9).unwrap();
        let before = snapshot.clone();
        assert_eq!(
            read_trusted_feed(&config, &mut snapshot, &with_news, 1, 9),
            Err(SuspectRead { upcoming: 6, missing: 5 })
        );
        assert_eq!(
            read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 1, 9),
            Err(SuspectRead { upcoming: 6, missing: 6 })
        );
        assert_eq!(snapshot, before);
        let half = read_trusted_feed(&config, &mut snapshot.clone(), &feed_of_days(1..4), 1, 9).unwrap();
        assert_eq!(half.len(), 3, "half of them may be gone for good");
        snapshot.accept_next_read = true;
        assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 1, 9).unwrap().len(), 6);
        assert!(snapshot.occurrences.is_empty());
        // Of three, two may be gone; of one that was alone, an empty feed is in doubt.
        read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..4), 2, 9).unwrap();
        assert_eq!(read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..2), 3, 9).unwrap().len(), 2);
        assert_eq!(
            read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 4, 9),
            Err(SuspectRead { upcoming: 1, missing: 1 })
        );
        // With nothing ahead there is nothing to doubt.
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
        assert_eq!(describe_reports(&reports), ["appointment:d1 booked", "appointment:d2 cancelled"]);
        assert_eq!(snapshot.occurrences.len(), 5);
        assert_eq!(
            read_trusted_feed(&config, &mut snapshot, &halved, 3, 9),
            Err(SuspectRead { upcoming: 4, missing: 3 })
        );

        let mut few = FeedSnapshot::default();
        read_trusted_feed(&config, &mut few, &feed_of_days(1..4), 0, 9).unwrap();
        let unrelated = feed_of_days(9..10);
        assert_eq!(
            read_trusted_feed(&config, &mut few, &unrelated, 1, 9),
            Err(SuspectRead { upcoming: 3, missing: 3 })
        );
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
        // What began before it was seen is over.
        assert_eq!(read_trusted_feed(&config, &mut FeedSnapshot::default(), &feed_of_days(0..1), 9, 9), Ok(vec![]));
    }

    #[test]
    fn an_appointments_subject_contains_its_calendars_id_scope() {
        let config = feed_config();
        let origin = FeedOrigin { name: "abroad", calendar: &config.calendars["abroad"] };
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

    /// What becomes of one appointment, or of the clock, before the next look.
    #[derive(Debug, Clone, Copy)]
    enum FeedStep {
        Write { id: usize, day: i64, standing: AppointmentStatus, phone: Option<usize> },
        Delete { id: usize },
        Damage { id: usize, damaged: bool },
        Wait { hours: i64 },
    }

    fn any_step() -> impl Strategy<Value = FeedStep> {
        let standing = prop::sample::select(vec![
            AppointmentStatus::Booked,
            AppointmentStatus::Booked,
            AppointmentStatus::Unconfirmed,
            AppointmentStatus::Cancelled,
        ]);
        prop_oneof![
            6 => (0usize..8, -1i64..30, standing, prop::option::weighted(0.8, 0usize..2))
                .prop_map(|(id, day, standing, phone)| FeedStep::Write { id, day, standing, phone }),
            3 => (0usize..8).prop_map(|id| FeedStep::Delete { id }),
            1 => (0usize..8, any::<bool>()).prop_map(|(id, damaged)| FeedStep::Damage { id, damaged }),
            2 => (1i64..100).prop_map(|hours| FeedStep::Wait { hours }),
        ]
    }

    #[derive(Default)]
    struct FeedModel {
        actual: BTreeMap<String, FeedOccurrence>,
        damaged_events: BTreeMap<String, IcsEventError>,
        hour: i64,
    }

    impl FeedModel {
        fn apply_step(&mut self, step: FeedStep) {
            match step {
                FeedStep::Write { id, day, standing, phone } => {
                    let phone = phone.map(|which| Phone::from_e164(["+972545550199", "+972525550101"][which]).unwrap());
                    let attendee = phone.map(|phone| Attendee { phone, name: None, locale: None, zone: None });
                    let start = at_hour(self.hour / 24 * 24 + day * 24 + 10);
                    let zone = "Asia/Jerusalem".to_owned();
                    let attendee = attendee.ok_or(PhoneError::Empty);
                    let occurrence =
                        FeedOccurrence { start, zone, status: standing, attendee, title: None, place: None };
                    self.actual.insert(format!("e{id}"), occurrence);
                }
                FeedStep::Delete { id } => drop(self.actual.remove(&format!("e{id}"))),
                FeedStep::Damage { id, damaged: true } => {
                    drop(self.damaged_events.insert(format!("e{id}"), IcsEventError::InvalidRule))
                }
                FeedStep::Damage { id, damaged: false } => drop(self.damaged_events.remove(&format!("e{id}"))),
                FeedStep::Wait { hours } => self.hour += hours,
            }
        }

        /// As [`super::super::ics::read`] would say it.
        fn build_feed(&self, snapshot: &FeedSnapshot) -> ParsedFeed {
            let (window, now) = (window_around(self.hour), at_hour(self.hour));
            let ahead = |id: &str| snapshot.occurrences.get(id).is_some_and(|known| known.start > now);
            let mut occurrences = self.actual.clone();
            occurrences
                .retain(|id, it| !self.damaged_events.contains_key(id) && (window.contains(it.start) || ahead(id)));
            ParsedFeed { occurrences, event_count: self.actual.len(), unparsed_events: self.damaged_events.clone() }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn known_appointments_converge_to_the_feed_whatever_happens(
            looks in prop::collection::vec((prop::collection::vec(any_step(), 0..6), 0usize..12, any::<bool>()), 1..25),
        ) {
            let config = feed_config();
            let (mut world, mut snapshot) = (FeedModel::default(), FeedSnapshot::default());
            let mut headers: BTreeMap<String, Appointment> = BTreeMap::new();
            for (steps, time_for, believe) in looks {
                for step in steps {
                    world.apply_step(step);
                }
                // Every look is later than the one before.
                world.hour += 1;
                snapshot.accept_next_read = believe;
                let before = snapshot.clone();
                let feed = world.build_feed(&snapshot);
                let (reports, suspect) = read_feed_with_suspect(&config, &mut snapshot, &feed, world.hour, time_for);
                for report in &reports {
                    prop_assert_eq!(report.as_of, at_hour(world.hour));
                    if let ReportResult::Updated(header) = Appointment::apply_report(headers.get(&report.subject), report, at_hour(world.hour)) {
                        headers.insert(report.subject.clone(), *header);
                    }
                }
                if suspect.is_some() {
                    prop_assert!(!believe);
                    prop_assert!(snapshot.occurrences.keys().eq(before.occurrences.keys()), "nothing is forgotten");
                    for report in &reports {
                        let details = report.details.as_ref();
                        let named = details.is_some_and(|details| !details.attendees.is_empty());
                        prop_assert!(named || report.status == AppointmentStatus::Cancelled, "{report:?}");
                        prop_assert!(details.is_some(), "{report:?} is not in the feed");
                    }
                    continue;
                }
                let span = at_hour(world.hour)..window_around(world.hour).until;
                // What lies behind the window can't be missed, but what is there can be seen there.
                let sure = before.occurrences.iter().filter(|(id, known)| {
                    let seen = feed.occurrences.contains_key(*id);
                    let ahead = span.start < known.start && !known.cancelled;
                    ahead && (seen || (known.start < span.end && !feed.is_unparsed(id)))
                });
                let (mut ahead, mut gone) = (0, 0);
                for (id, _) in sure {
                    let subject = IdempotencyKey::appointment_subject("main", id);
                    ahead += 1;
                    gone += reports.iter().filter(|report| report.subject == subject && report.details.is_none()).count();
                }
                prop_assert!(believe || ahead < MIN_UPCOMING_TO_SUSPECT || gone * 2 <= ahead, "{gone} of {ahead}");
                if snapshot.occurrences.values().any(|known| known.fingerprint.is_none()) {
                    continue; // interrupted
                }
                let now = at_hour(world.hour);
                prop_assert_eq!(read_trusted_feed(&config, &mut snapshot.clone(), &feed, world.hour, 99), Ok(vec![]), "the same again");
                for (id, occurrence) in &world.actual {
                    if world.damaged_events.contains_key(id) || occurrence.start <= now || !window_around(world.hour).contains(occurrence.start) {
                        continue;
                    }
                    let header = headers.get(&format!("appointment:{id}"));
                    let Ok(attendee) = &occurrence.attendee else {
                        let is_reminded = header.is_some_and(|header| {
                            let has_attendee = header.attendees.iter().any(|seat| seat.attending);
                            header.start > now && header.status != AppointmentStatus::Cancelled && has_attendee
                        });
                        prop_assert!(!is_reminded, "{id}");
                        continue;
                    };
                    let header = header.unwrap();
                    prop_assert_eq!((header.status, header.start), (occurrence.status, occurrence.start));
                    prop_assert!(header.attendees.iter().all(|seat| seat.attending == (seat.attendee.phone == attendee.phone)));
                }
                for (subject, header) in &headers {
                    let id = subject.strip_prefix("appointment:").unwrap();
                    // What lies behind the window is looked for when the window reaches it.
                    let near = header.start > now && header.start < window_around(world.hour).until;
                    let is_reminded = near && header.status == AppointmentStatus::Booked && header.attendees.iter().any(|seat| seat.attending);
                    if is_reminded && !world.damaged_events.contains_key(id) {
                        let truth = world.actual.get(id);
                        prop_assert!(truth.is_some_and(|it| it.start == header.start && it.status == AppointmentStatus::Booked), "{id}");
                    }
                }
            }
        }
    }
}
