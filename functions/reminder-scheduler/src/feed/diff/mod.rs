//! The changes of a feed: [`compare_feed`] compares a read with the last accepted one. Pure.
//!
//! Main types: [`FeedVerdict`], [`FeedChanges`], [`SuspectRead`].
//!
//! A feed contains the current state, so a removed event counts as cancelled. That makes a feed
//! dangerous that lost its events by mistake: a broken export, another calendar under the same
//! address, or a calendar that is shared without its details. Such a read is suspect: all or most
//! upcoming occurrences are missing or lost their attendee. Of a suspect read only new events, and
//! the moves and cancellations of remaining events, count. The rest stays as it was until an
//! operator sets `accept_next_read`.
//!
//! The opposite is a flood: a public booking page lets strangers fill a calendar. So after the
//! first read a feed may make `new_per_day` appointments a day. Further ones wait. They are not
//! stored, so the next read finds them again.
//!
//! A time that its series no longer has, while the series is in the feed, is a change by the client
//! and not suspicious. If a series is moved as a whole, its occurrences are moved (`identity`).
//!
//! Promises:
//!
//! - An unchanged occurrence is not reported again, whatever its event's `UID` is now.
//! - An event that could not be parsed, or begins after the window, does not count as removed.
//! - After an interruption at any point, the next read repeats the missing reports, whatever it
//!   contains. Every occurrence is saved before its report ([`FeedChanges::pending`]).
//! - An event without an attendee who can be messaged is reported only if it had one before.
//! - An event that the client did not make counts as cancelled, and does not make a read suspect.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    appointment::{AppointmentDetails, AppointmentReport, AppointmentStatus, LeftOutAttendees},
    client_config::{CalendarConfig, FeedRule},
    feed::{FeedSnapshot, KnownOccurrence},
    ledger::IdempotencyKey,
};

use super::{
    identity::{IdentifiedOccurrence, assign_ids},
    occurrence::{FeedOccurrence, ParsedFeed, TimeWindow},
};

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
    /// The rules of its feed.
    pub rule: &'a FeedRule,
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
    /// How many appointments become known and count for the limit per day.
    pub new_count: u32,
    /// How many new appointments wait, because the limit is reached.
    pub waiting_count: usize,
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

/// A read, and its occurrences by the ids under which they are known.
struct FeedRead<'f> {
    feed: &'f ParsedFeed,
    occurrences: BTreeMap<String, IdentifiedOccurrence<'f>>,
}

/// The known occurrences that a read does not contain.
struct MissingOccurrences<'s> {
    /// Those that the read cannot show: their event could not be parsed, or they begin after the
    /// window.
    unverifiable: BTreeMap<String, KnownOccurrence>,
    /// Those whose event or series is in the read and no longer has them.
    ended: Vec<(&'s String, &'s KnownOccurrence)>,
    /// Those that were removed with their event.
    removed: Vec<(&'s String, &'s KnownOccurrence)>,
    /// Those whose event the client did not make.
    foreign: Vec<(&'s String, &'s KnownOccurrence)>,
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
    let occurrences = assign_ids(&snapshot.occurrences, &feed.occurrences, now);
    let read = FeedRead { feed, occurrences };
    let MissingOccurrences { unverifiable, ended, removed, foreign, counts } =
        find_missing(snapshot, &read, window, now);
    let is_suspect = is_suspect(&counts, feed) && !snapshot.accept_next_read;
    let mut changes = if is_suspect {
        origin.changes_of_remaining(snapshot, &read, now)
    } else {
        origin.changes_of_known(snapshot, &read, unverifiable, now)
    };
    let gone = if is_suspect { ended } else { [foreign, ended, removed].concat() };
    for (id, known) in gone {
        changes.pending.insert(id.clone(), KnownOccurrence { fingerprint: None, ..known.clone() });
        let report = origin.build_report(id, AppointmentStatus::Cancelled, None, now);
        changes.changes.push(FeedChange { id: id.clone(), report, next_known: None });
    }
    origin.add_new(&mut changes, snapshot, &read, now);
    changes.changes.sort_by_key(|change| {
        (
            Reverse(change.report.status == AppointmentStatus::Cancelled),
            change.next_known.as_ref().map(|next| next.start),
        )
    });
    if is_suspect { FeedVerdict::Suspect(counts, changes) } else { FeedVerdict::Changes(changes) }
}

/// Finds the known occurrences that a read does not contain, and counts those that lost their
/// attendee.
fn find_missing<'s>(
    snapshot: &'s FeedSnapshot,
    read: &FeedRead<'_>,
    window: TimeWindow,
    now: Timestamp,
) -> MissingOccurrences<'s> {
    let FeedRead { feed, occurrences } = read;
    let mut unverifiable = BTreeMap::new();
    let (mut ended, mut removed, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    let (mut upcoming, mut without_attendee) = (0, 0);
    for (id, known) in &snapshot.occurrences {
        let found = occurrences.get(id).map(|identified| identified.occurrence);
        let feed_id = known.id_in_feed(id);
        let is_present = found.is_some();
        let is_reminded = known.start > now && !(known.cancelled && known.fingerprint.is_some());
        if !is_present && feed.is_foreign(feed_id) {
            // Many at once are a wrong setting or a renamed calendar, not so many strangers.
            upcoming += usize::from(is_reminded && !known.cancelled);
            foreign.extend(is_reminded.then_some((id, known)));
            continue;
        }
        let is_verifiable = !feed.is_unparsed(feed_id) && known.start < window.until;
        if !is_present && is_verifiable && feed.stands(feed_id) {
            // The client changed the series, so this is not a sign of a broken feed.
            ended.extend(is_reminded.then_some((id, known)));
            continue;
        }
        if known.start > now && !known.cancelled && (is_present || is_verifiable) {
            upcoming += 1;
            without_attendee += usize::from(found.is_some_and(|it| has_no_attendee(it) && is_changed(it, known)));
        }
        if is_present {
            continue;
        }
        if !is_verifiable {
            unverifiable.insert(id.clone(), known.clone());
        } else if is_reminded {
            removed.push((id, known));
        }
    }
    let gone = removed.iter().chain(&foreign);
    let missing = without_attendee + gone.filter(|(_, known)| !known.cancelled).count();
    MissingOccurrences { unverifiable, ended, removed, foreign, counts: SuspectRead { upcoming, missing } }
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
fn known_after_report(id: &str, identified: IdentifiedOccurrence<'_>) -> KnownOccurrence {
    let IdentifiedOccurrence { feed_id, occurrence } = identified;
    KnownOccurrence {
        start: occurrence.start,
        fingerprint: Some(occurrence.fingerprint()),
        cancelled: occurrence.status == AppointmentStatus::Cancelled,
        person: occurrence.person(),
        feed_id: (feed_id != id).then(|| feed_id.to_owned()),
    }
}

/// Whether an occurrence differs from its last report.
fn is_changed(occurrence: &FeedOccurrence, known: &KnownOccurrence) -> bool {
    known.fingerprint != Some(occurrence.fingerprint())
}

/// Whether an occurrence takes place and has no attendee who can be messaged.
fn has_no_attendee(occurrence: &FeedOccurrence) -> bool {
    occurrence.attendee.is_err() && occurrence.status != AppointmentStatus::Cancelled
}

impl FeedOrigin<'_> {
    /// The changes of the known occurrences that a suspect read still contains with an attendee.
    fn changes_of_remaining(&self, snapshot: &FeedSnapshot, read: &FeedRead<'_>, now: Timestamp) -> FeedChanges {
        let mut remaining = FeedChanges { pending: snapshot.occurrences.clone(), ..FeedChanges::default() };
        for (id, identified) in &read.occurrences {
            let Some(known) = snapshot.occurrences.get(id) else { continue };
            if is_changed(identified.occurrence, known) && !has_no_attendee(identified.occurrence) {
                let (in_progress, change) = self.build_change(id, *identified, Some(known), now);
                remaining.pending.insert(id.clone(), in_progress);
                remaining.changes.push(change);
            } else if let Some(pending) = remaining.pending.get_mut(id) {
                pending.feed_id = known_after_report(id, *identified).feed_id;
            }
        }
        remaining
    }

    /// The changes of the known occurrences that an accepted read contains.
    fn changes_of_known(
        &self,
        snapshot: &FeedSnapshot,
        read: &FeedRead<'_>,
        unverifiable: BTreeMap<String, KnownOccurrence>,
        now: Timestamp,
    ) -> FeedChanges {
        let mut known_changes = FeedChanges { pending: unverifiable, ..FeedChanges::default() };
        for (id, identified) in &read.occurrences {
            let Some(known) = snapshot.occurrences.get(id) else { continue };
            if is_changed(identified.occurrence, known) {
                let (in_progress, change) = self.build_change(id, *identified, Some(known), now);
                known_changes.pending.insert(id.clone(), in_progress);
                known_changes.changes.push(change);
            } else {
                known_changes.pending.insert(id.clone(), known_after_report(id, *identified));
            }
        }
        known_changes
    }

    /// Adds the new appointments up to the limit per day, the soonest first. The first read, and a
    /// read that an operator accepts, has no limit.
    fn add_new(&self, changes: &mut FeedChanges, snapshot: &FeedSnapshot, read: &FeedRead<'_>, now: Timestamp) {
        // An unknown event without an attendee or in the past is not reported.
        let is_new = |(id, IdentifiedOccurrence { occurrence, .. }): &(&String, &IdentifiedOccurrence<'_>)| {
            !snapshot.occurrences.contains_key(*id) && occurrence.attendee.is_ok() && occurrence.start > now
        };
        let mut new: Vec<_> = read.occurrences.iter().filter(is_new).collect();
        if snapshot.read_at.is_some() && !snapshot.accept_next_read {
            let left = self.rule.new_per_day.saturating_sub(snapshot.recent_new_count(now));
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            new.sort_by_key(|(_, identified)| identified.occurrence.start);
            changes.waiting_count = new.len().saturating_sub(left);
            new.truncate(left);
            changes.new_count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        }
        for (id, identified) in new {
            let (in_progress, change) = self.build_change(id, *identified, None, now);
            changes.pending.insert(id.clone(), in_progress);
            changes.changes.push(change);
        }
    }

    /// What the snapshot contains of an occurrence while it is being reported, and the report.
    fn build_change(
        &self,
        id: &str,
        identified: IdentifiedOccurrence<'_>,
        known: Option<&KnownOccurrence>,
        now: Timestamp,
    ) -> (KnownOccurrence, FeedChange) {
        let next_known = known_after_report(id, identified);
        let occurrence = identified.occurrence;
        // After an interruption the occurrence still counts as upcoming if it was upcoming before.
        // So the next read searches for it in and outside the window.
        let start = known.map_or(next_known.start, |known| known.start.max(next_known.start));
        let in_progress = KnownOccurrence {
            start,
            fingerprint: None,
            cancelled: known.is_some_and(|known| known.cancelled),
            ..next_known.clone()
        };
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
            left_out: LeftOutAttendees::Leave,
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

#[cfg(test)]
mod tests;
