//! The changes of a feed: [`compare_feed`] compares a read with the last accepted one. Pure.
//!
//! Main types: [`FeedVerdict`], [`FeedChanges`], [`SuspectRead`].
//!
//! A feed contains the current state, so a removed event counts as cancelled. That makes a feed
//! dangerous that lost its events by mistake: a broken export, another calendar under the same
//! address, or a calendar that is shared without its details. Such a read is suspect: all or most
//! upcoming occurrences are missing or lost their attendee. Of a suspect read only the moves and
//! cancellations of remaining events count. The rest stays as it was until an operator sets
//! `accept_next_read`.
//!
//! Promises:
//!
//! - An unchanged occurrence is not reported again.
//! - An event that could not be parsed, or begins after the window, does not count as removed.
//! - After an interruption at any point, the next read repeats the missing reports, whatever it
//!   contains. Every occurrence is saved before its report ([`FeedChanges::pending`]).
//! - An event without an attendee who can be messaged is reported only if it had one before.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    appointment::{AppointmentDetails, AppointmentReport, AppointmentStatus},
    client_config::CalendarConfig,
    feed::{FactsFingerprint, FeedSnapshot, KnownOccurrence},
    ledger::IdempotencyKey,
};

use super::occurrence::{FeedOccurrence, ParsedFeed, TimeWindow};

/// Fewer upcoming occurrences than this may lose most of them for good reason, such as two of three
/// that were cancelled today.
const MIN_UPCOMING_TO_SUSPECT: usize = 4;

/// The calendar of a feed.
#[derive(Debug, Clone, Copy)]
pub struct FeedOrigin<'a> {
    /// Its name in `client.toml`.
    pub name: &'a str,
    /// Its configuration.
    pub calendar: &'a CalendarConfig,
}

/// The result of comparing a read with the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedVerdict {
    /// The read is accepted.
    Changes(FeedChanges),
    /// The read is suspect. The changes of the remaining events still count.
    Suspect(SuspectRead, FeedChanges),
}

/// The reports of a read, and the snapshot to save before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedChanges {
    /// The known occurrences to save before the first report is applied.
    pub pending: BTreeMap<String, KnownOccurrence>,
    /// The reports, in the order in which they must be applied: cancelled occurrences first, then
    /// by start.
    pub changes: Vec<FeedChange>,
}

/// The report of one changed occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedChange {
    /// The occurrence's id.
    pub id: String,
    /// The report.
    pub report: AppointmentReport,
    /// What to save once the report is applied. `None` if the occurrence was removed.
    pub next_known: Option<KnownOccurrence>,
}

impl FeedChange {
    /// Saves that the report was applied.
    pub fn record_reported(self, occurrences: &mut BTreeMap<String, KnownOccurrence>) {
        match self.next_known {
            Some(known) => occurrences.insert(self.id, known),
            None => occurrences.remove(&self.id),
        };
    }
}

/// Why a read is suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspectRead {
    /// The number of known occurrences that are upcoming.
    pub upcoming: usize,
    /// How many of them are missing or lost their attendee.
    pub missing: usize,
}

impl fmt::Display for SuspectRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upcoming, missing } = self;
        write!(
            f,
            "{missing} of {upcoming} upcoming appointments left the feed or lost their attendee; they stay unchanged \
             until an operator sets `accept_next_read`"
        )
    }
}

/// The known occurrences that a read does not contain.
struct MissingOccurrences<'s> {
    /// Those that the read cannot show: their event could not be parsed, or they begin after the
    /// window.
    unverifiable: BTreeMap<String, KnownOccurrence>,
    /// Those that were removed.
    removed: Vec<(&'s String, &'s KnownOccurrence)>,
    /// The numbers of upcoming and of missing occurrences.
    counts: SuspectRead,
}

/// Compares a read with the snapshot. `now` is when the feed was requested.
pub fn compare_feed(
    snapshot: &FeedSnapshot,
    feed: &ParsedFeed,
    origin: FeedOrigin<'_>,
    window: TimeWindow,
    now: Timestamp,
) -> FeedVerdict {
    let MissingOccurrences { unverifiable, removed, counts } = find_missing(snapshot, feed, window, now);
    if is_suspect(&counts, feed) && !snapshot.accept_next_read {
        return FeedVerdict::Suspect(counts, origin.changes_of_remaining(snapshot, feed, now));
    }
    let mut pending = unverifiable;
    let mut changes = Vec::new();
    for (id, known) in removed {
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
            // An unknown event without an attendee or in the past is not reported.
            None if occurrence.attendee.is_err() || occurrence.start <= now => {}
            _ => {
                let (in_progress, change) = origin.build_change(id, occurrence, known, now);
                pending.insert(id.clone(), in_progress);
                changes.push(change);
            }
        }
    }
    changes.sort_by_key(|change| {
        (Reverse(change.report.status == AppointmentStatus::Cancelled), change.next_known.map(|next| next.start))
    });
    FeedVerdict::Changes(FeedChanges { pending, changes })
}

/// Finds the known occurrences that a read does not contain, and counts those that lost their
/// attendee.
fn find_missing<'s>(
    snapshot: &'s FeedSnapshot,
    feed: &ParsedFeed,
    window: TimeWindow,
    now: Timestamp,
) -> MissingOccurrences<'s> {
    let mut unverifiable = BTreeMap::new();
    let mut removed = Vec::new();
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
            unverifiable.insert(id.clone(), *known);
        } else if known.start > now && !(known.cancelled && known.fingerprint.is_some()) {
            removed.push((id, known));
        }
    }
    let missing = without_attendee + removed.iter().filter(|(_, known)| !known.cancelled).count();
    MissingOccurrences { unverifiable, removed, counts: SuspectRead { upcoming, missing } }
}

/// Whether a read lost too much at once.
fn is_suspect(counts: &SuspectRead, feed: &ParsedFeed) -> bool {
    let SuspectRead { upcoming, missing } = *counts;
    let nothing_left = feed.event_count == 0 && upcoming > 0;
    let all_missing = upcoming > 1 && missing == upcoming;
    let most_missing = upcoming >= MIN_UPCOMING_TO_SUSPECT && missing * 2 > upcoming;
    nothing_left || all_missing || most_missing
}

/// What the snapshot contains of an occurrence after its report.
fn known_after_report(occurrence: &FeedOccurrence) -> KnownOccurrence {
    let cancelled = occurrence.status == AppointmentStatus::Cancelled;
    KnownOccurrence { start: occurrence.start, fingerprint: Some(compute_fingerprint(occurrence)), cancelled }
}

/// Whether an occurrence differs from its last report.
fn is_changed(occurrence: &FeedOccurrence, known: Option<&KnownOccurrence>) -> bool {
    known.is_none_or(|known| known.fingerprint != Some(compute_fingerprint(occurrence)))
}

/// Whether an occurrence takes place and has no attendee who can be messaged.
fn has_no_attendee(occurrence: &FeedOccurrence) -> bool {
    occurrence.attendee.is_err() && occurrence.status != AppointmentStatus::Cancelled
}

impl FeedOrigin<'_> {
    /// The changes of the known occurrences that a suspect read still contains with an attendee.
    fn changes_of_remaining(&self, snapshot: &FeedSnapshot, feed: &ParsedFeed, now: Timestamp) -> FeedChanges {
        let mut remaining = FeedChanges { pending: snapshot.occurrences.clone(), changes: Vec::new() };
        for (id, occurrence) in &feed.occurrences {
            if let Some(known) = snapshot.occurrences.get(id)
                && is_changed(occurrence, Some(known))
                && !has_no_attendee(occurrence)
            {
                let (in_progress, change) = self.build_change(id, occurrence, Some(known), now);
                remaining.pending.insert(id.clone(), in_progress);
                remaining.changes.push(change);
            }
        }
        remaining
    }

    /// What the snapshot contains of an occurrence while it is being reported, and the report.
    fn build_change(
        &self,
        id: &str,
        occurrence: &FeedOccurrence,
        known: Option<&KnownOccurrence>,
        now: Timestamp,
    ) -> (KnownOccurrence, FeedChange) {
        let next_known = known_after_report(occurrence);
        // After an interruption the occurrence still counts as upcoming if it was upcoming before.
        // So the next read searches for it in and outside the window.
        let start = known.map_or(next_known.start, |known| known.start.max(next_known.start));
        let in_progress =
            KnownOccurrence { start, fingerprint: None, cancelled: known.is_some_and(|known| known.cancelled) };
        let report = self.build_report(id, occurrence.status, Some(build_details(occurrence)), now);
        (in_progress, FeedChange { id: id.to_owned(), report, next_known: Some(next_known) })
    }

    fn build_report(
        &self,
        id: &str,
        status: AppointmentStatus,
        details: Option<AppointmentDetails>,
        now: Timestamp,
    ) -> AppointmentReport {
        AppointmentReport {
            subject: IdempotencyKey::appointment_subject(self.calendar.id_scope(), id),
            calendar: self.name.to_owned(),
            line: self.calendar.line.clone(),
            status,
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

/// The fingerprint of all facts in the report of an occurrence.
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
        appointment::{Appointment, Attendee, AttendeeEntry, ReportResult},
        client_config::ClientConfig,
        contact::{Phone, PhoneError},
    };

    use super::*;
    use crate::feed::{
        parse_error::IcsEventError,
        tests::{event_ics, feed_config, parse_events, parse_window},
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
        // A cancelled event that is removed was already reported. One that returns is booked.
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
        let mut shrunk = feed_of_days(3..4);
        shrunk.occurrences.extend(feed_of_days(7..9).occurrences);
        read_trusted_feed(&config, &mut snapshot, &feed_of_days(1..7), 0, 9).unwrap();
        let before = snapshot.clone();
        assert_eq!(
            read_trusted_feed(&config, &mut snapshot, &shrunk, 1, 9),
            Err(SuspectRead { upcoming: 6, missing: 5 })
        );
        assert_eq!(
            read_trusted_feed(&config, &mut snapshot, &feed_of_days(0..0), 1, 9),
            Err(SuspectRead { upcoming: 6, missing: 6 })
        );
        assert_eq!(snapshot, before);
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
        // An event that began before its first read is not reported.
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

    /// A change of one appointment, or of the clock, before the next read.
    #[derive(Debug, Clone, Copy)]
    enum FeedStep {
        Write { id: usize, day: i64, status: AppointmentStatus, phone: Option<usize> },
        Delete { id: usize },
        Damage { id: usize, damaged: bool },
        Wait { hours: i64 },
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
                FeedStep::Write { id, day, status, phone } => {
                    let phone = phone.map(|which| Phone::from_e164(["+972545550199", "+972525550101"][which]).unwrap());
                    let attendee = phone.map(|phone| Attendee { phone, name: None, locale: None, zone: None });
                    let start = at_hour(self.hour / 24 * 24 + day * 24 + 10);
                    let zone = "Asia/Jerusalem".to_owned();
                    let attendee = attendee.ok_or(PhoneError::Empty);
                    let occurrence = FeedOccurrence { start, zone, status, attendee, title: None, place: None };
                    self.actual.insert(format!("e{id}"), occurrence);
                }
                FeedStep::Delete { id } => drop(self.actual.remove(&format!("e{id}"))),
                FeedStep::Damage { id, damaged: true } => {
                    drop(self.damaged_events.insert(format!("e{id}"), IcsEventError::InvalidRule));
                }
                FeedStep::Damage { id, damaged: false } => drop(self.damaged_events.remove(&format!("e{id}"))),
                FeedStep::Wait { hours } => self.hour += hours,
            }
        }

        /// The feed as [`crate::feed::ics::parse_feed`] would parse it.
        fn build_feed(&self, snapshot: &FeedSnapshot) -> ParsedFeed {
            let (window, now) = (window_around(self.hour), at_hour(self.hour));
            let is_upcoming = |id: &str| snapshot.occurrences.get(id).is_some_and(|known| known.start > now);
            let mut occurrences = self.actual.clone();
            occurrences.retain(|id, it| {
                !self.damaged_events.contains_key(id) && (window.contains(it.start) || is_upcoming(id))
            });
            ParsedFeed { occurrences, event_count: self.actual.len(), unparsed_events: self.damaged_events.clone() }
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

    impl FeedModel {
        /// Every upcoming event in the window has the right header.
        fn check_actual_events(&self, headers: &BTreeMap<String, Appointment>) -> Result<(), TestCaseError> {
            let (now, window) = (at_hour(self.hour), window_around(self.hour));
            for (id, occurrence) in &self.actual {
                if self.damaged_events.contains_key(id) || occurrence.start <= now || !window.contains(occurrence.start)
                {
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
                let is_right = |seat: &AttendeeEntry| seat.attending == (seat.attendee.phone == attendee.phone);
                prop_assert!(header.attendees.iter().all(is_right));
            }
            Ok(())
        }

        /// Every header with upcoming reminders belongs to a booked event.
        fn check_reminded_headers(&self, headers: &BTreeMap<String, Appointment>) -> Result<(), TestCaseError> {
            let (now, window) = (at_hour(self.hour), window_around(self.hour));
            for (subject, header) in headers {
                let id = subject.strip_prefix("appointment:").unwrap();
                // An occurrence after the window is searched for when the window reaches it.
                let is_in_window = header.start > now && header.start < window.until;
                let is_reminded = is_in_window
                    && header.status == AppointmentStatus::Booked
                    && header.attendees.iter().any(|seat| seat.attending);
                if is_reminded && !self.damaged_events.contains_key(id) {
                    let is_booked =
                        |it: &FeedOccurrence| it.start == header.start && it.status == AppointmentStatus::Booked;
                    prop_assert!(self.actual.get(id).is_some_and(is_booked), "{id}");
                }
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
                    prop_assert!(snapshot.occurrences.keys().eq(before.occurrences.keys()), "a suspect read forgets nothing");
                    check_suspect_reports(&reports)?;
                    continue;
                }
                let span = at_hour(model.hour)..window_around(model.hour).until;
                // An occurrence after the window cannot be missing, but it may be present.
                let verifiable = before.occurrences.iter().filter(|(id, known)| {
                    let seen = feed.occurrences.contains_key(*id);
                    let is_upcoming = span.start < known.start && !known.cancelled;
                    is_upcoming && (seen || (known.start < span.end && !feed.is_unparsed(id)))
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
                model.check_actual_events(&headers)?;
                model.check_reminded_headers(&headers)?;
            }
        }
    }
}
