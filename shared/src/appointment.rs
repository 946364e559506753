//! Appointments: what is known of one, in the header row of its story in the ledger.
//!
//! The cast: [`AppointmentReport`] is what somebody says of an appointment; [`Appointment::apply_report`] takes it into what is known;
//! [`StageOutcome`] says which of its reminders were opened, for which start and which [`AttendeeEntry`]. `generation` counts the changes
//! of the truth that reminders speak of, so that a reminder made for an older one is known by its number.
//!
//! Promises that of two reports the later one counts, by the sender's clock, in whatever order they arrive; that what was
//! cancelled stays so until a later report books it again; and that a seat keeps its number, and a mark its place, for as
//! long as the header lives. Does not plan anything: that is reminder-scheduler's `plan`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::contact::Phone;

/// The stage of the header row, beside those of the reminders.
pub const HEADER_STAGE: &str = "state";

/// Whether an appointment takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppointmentStatus {
    /// It takes place: reminded.
    Booked,
    /// It is asked for, and nobody has said yes.
    Unconfirmed,
    /// It does not take place.
    Cancelled,
    /// It goes on under another id.
    Moved,
}

impl AppointmentStatus {
    /// Its name in the table and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Unconfirmed => "unconfirmed",
            Self::Cancelled => "cancelled",
            Self::Moved => "moved",
        }
    }

    /// Whether nothing takes place any more, under this id at least.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Moved)
    }
}

/// Somebody who takes part and can be written to. [`fmt::Debug`] shows nothing that they or the sender typed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Attendee {
    /// Their number: who they are, to us.
    pub phone: Phone,
    /// Their name.
    pub name: Option<String>,
    /// Their language: `he`, `he-IL`.
    pub locale: Option<String>,
    /// The IANA zone that their clocks show, when the sender says it.
    pub zone: Option<String>,
}

impl fmt::Debug for Attendee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendee").field("phone", &self.phone).finish_non_exhaustive()
    }
}

/// A place at an appointment. Its number, the index in [`Appointment::attendees`], is part of keys instead of the number of
/// a phone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttendeeEntry {
    /// Who sits there.
    pub attendee: Attendee,
    /// Whether they still do.
    pub attending: bool,
}

/// What became of one reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReminderOutcome {
    /// Its row was opened: the row says what became of it.
    Opened,
    /// It was left out: the appointment was booked, or moved, when its time had passed.
    Skipped,
    /// Its time passed while nobody could send it.
    Missed,
    /// There was no time for it: quiet hours left no room, or one nearer to the start came at the same moment.
    NoTime,
    /// Whoever sits there does not want to be written to.
    OptedOut,
    /// An operator dropped what waited for the line.
    Dropped,
}

impl ReminderOutcome {
    /// Its name in the table, in logs and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::NoTime => "no-room",
            Self::OptedOut => "opted-out",
            Self::Dropped => "dropped",
        }
    }

    /// Whether it stays so when the same start is booked anew: somebody was told, or is not to be. Whether there was room or
    /// time follows from when it was booked, and is asked again.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Opened | Self::OptedOut | Self::Dropped => true,
            Self::Skipped | Self::Missed | Self::NoTime => false,
        }
    }
}

/// A reminder that was dealt with, for one start and one seat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StageOutcome {
    /// The stage's name, as in keys.
    pub stage: String,
    /// The start that it spoke of.
    pub start: Timestamp,
    /// The seat's number.
    pub attendee: usize,
    /// What became of it.
    pub outcome: ReminderOutcome,
}

/// What is known of an appointment. Its `Debug` leaves out what somebody typed, as that of [`AppointmentDetails`] does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Appointment {
    /// The ledger's partition key: `appointment:{id}`.
    pub subject: String,
    /// The calendar it came from.
    pub calendar: String,
    /// The line that speaks for it.
    pub line: String,
    /// Counts writes: every write names the one it read.
    pub version: u64,
    /// Counts changes of what reminders speak of: standing, start, zone, who takes part.
    pub generation: u64,
    /// Whether it takes place.
    pub status: AppointmentStatus,
    /// When it begins; the epoch when only its end is known (a cancellation came first).
    pub start: Timestamp,
    /// Its IANA zone.
    pub zone: String,
    /// Everybody who takes part, or did. Never shrinks.
    pub attendees: Vec<AttendeeEntry>,
    /// What it is about.
    pub title: Option<String>,
    /// Where it takes place.
    pub place: Option<String>,
    /// When the newest fact became one, by the sender's clock.
    pub as_of: Timestamp,
    /// Since when it has been booked for this start, by the sender's clock.
    pub booked_at: Timestamp,
    /// What was dealt with, in this order.
    pub stage_outcomes: Vec<StageOutcome>,
    /// When the clock looks at it again, if anything is to come.
    pub due_at: Option<Timestamp>,
    /// How useful what is due then is beside everything else that waits, 0 to 100.
    pub priority: u8,
    /// The newest delivery that said something new, by its key in the inbox.
    pub delivery: String,
    /// When we learned of it.
    pub created_at: Timestamp,
    /// When its header was last written.
    pub updated_at: Timestamp,
}

impl fmt::Debug for Appointment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appointment")
            .field("subject", &self.subject)
            .field("version", &self.version)
            .field("generation", &self.generation)
            .field("status", &self.status)
            .field("start", &self.start)
            .field("zone", &self.zone)
            .field("attendees", &self.attendees)
            .field("as_of", &self.as_of)
            .field("booked_at", &self.booked_at)
            .field("stage_outcomes", &self.stage_outcomes)
            .field("due_at", &self.due_at)
            .finish_non_exhaustive()
    }
}

/// What somebody says of an appointment, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppointmentReport {
    /// The ledger's partition key.
    pub subject: String,
    /// The calendar it came from.
    pub calendar: String,
    /// The line that speaks for it.
    pub line: String,
    /// Whether it takes place.
    pub status: AppointmentStatus,
    /// When, where and with whom. A cancellation need not say it.
    pub details: Option<AppointmentDetails>,
    /// Whether the details leave out who takes part: whoever did still does.
    pub attendees_unchanged: bool,
    /// When this became a fact, by the sender's clock.
    pub as_of: Timestamp,
    /// The delivery that says so, by its key in the inbox; a feed's name for a feed.
    pub delivery: String,
    /// What is known of the appointment that this one continues under another id: what was told to whom under that id is
    /// not told again under this one.
    pub previous: Option<Box<Appointment>>,
}

/// When, where and with whom. Its `Debug` leaves out what somebody typed: a title may hold a name or a number.
#[derive(Clone, PartialEq, Eq)]
pub struct AppointmentDetails {
    /// When it begins.
    pub start: Timestamp,
    /// Its IANA zone.
    pub zone: String,
    /// Who can be written to.
    pub attendees: Vec<Attendee>,
    /// What it is about.
    pub title: Option<String>,
    /// Where it takes place.
    pub place: Option<String>,
}

impl fmt::Debug for AppointmentDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Details")
            .field("start", &self.start)
            .field("zone", &self.zone)
            .field("attendees", &self.attendees)
            .finish_non_exhaustive()
    }
}

/// What a report did to what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportResult {
    /// Something newer is known already.
    Stale,
    /// It says nothing new.
    Unchanged,
    /// This is known now. Its `due_at` is still that of before; plan anew.
    Updated(Box<Appointment>),
}

impl ReportResult {
    /// What to record beside a delivery that changed nothing: code and explanation.
    pub const fn skip_reason(&self) -> Option<&'static str> {
        match self {
            Self::Updated(_) => None,
            Self::Unchanged => Some("already-known: it says nothing new"),
            Self::Stale => Some("out-of-date: something newer is known of the appointment"),
        }
    }
}

impl Appointment {
    /// Takes a report into what is known. Pure.
    pub fn apply_report(known: Option<&Self>, report: &AppointmentReport, now: Timestamp) -> ReportResult {
        let Some(before) = known else { return ReportResult::Updated(Box::new(Self::from_report(report, now))) };
        let later = match report.as_of.cmp(&before.as_of) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            // Of the same moment, an end is the later fact: nothing is booked and ended the other way round.
            std::cmp::Ordering::Equal => !before.status.is_over() || report.status.is_over(),
        };
        let mut after = before.clone();
        if let Some(older) = &report.previous {
            after.inherit_outcomes(older);
        }
        if !later {
            // What was told under the older id counts whenever it is learned of; and so does who takes part, if nobody has
            // said so yet.
            let has_no_attendees_yet =
                after.attendees.is_empty() && !before.status.is_over() && !report.attendees_unchanged;
            if let Some(details) = report.details.as_ref().filter(|_| has_no_attendees_yet) {
                after.set_attendees(&details.attendees);
            }
            if after == *before {
                return ReportResult::Stale;
            }
            after.generation += u64::from(!after.has_same_facts_as(before));
            return ReportResult::Updated(Box::new(after.next_version(now)));
        }
        after.status = report.status;
        after.as_of = report.as_of;
        after.calendar.clone_from(&report.calendar);
        after.line.clone_from(&report.line);
        if let Some(details) = &report.details {
            after.start = details.start;
            after.zone.clone_from(&details.zone);
            if !report.attendees_unchanged {
                after.set_attendees(&details.attendees);
            }
            after.title = details.title.as_deref().map(truncate_text);
            after.place = details.place.as_deref().map(truncate_text);
        }
        let is_rebooked = after.status == AppointmentStatus::Booked
            && (before.status != AppointmentStatus::Booked || after.start != before.start);
        if is_rebooked {
            after.booked_at = report.as_of;
            // What had no room, or was too late, when it was booked before may have room now.
            after.stage_outcomes.retain(|stage_outcome| stage_outcome.outcome.is_final());
        }
        if after == *before {
            return ReportResult::Unchanged;
        }
        if !after.has_same_facts_as(before) {
            after.generation += 1;
        }
        after.delivery.clone_from(&report.delivery);
        ReportResult::Updated(Box::new(after.next_version(now)))
    }

    /// What tells a reminder apart from others of its stage: the start that it speaks of, and the seat unless it is the
    /// first. `20261124T0830Z`, `20261124T0830Z-1`.
    pub fn reminder_instance(start: Timestamp, attendee: usize) -> String {
        let start = start.strftime("%Y%m%dT%H%MZ");
        if attendee == 0 { start.to_string() } else { format!("{start}-{attendee}") }
    }

    /// Whether a reminder of this instance for this phone is still true.
    pub fn is_still_valid(&self, instance: &str, phone: &Phone) -> bool {
        self.status == AppointmentStatus::Booked
            && self.attendees.iter().enumerate().any(|(number, entry)| {
                entry.attending
                    && entry.attendee.phone == *phone
                    && Self::reminder_instance(self.start, number) == instance
            })
    }

    /// The next version of this header.
    #[must_use]
    pub fn next_version(mut self, now: Timestamp) -> Self {
        self.version += 1;
        self.updated_at = now;
        self
    }

    /// Whether reminders of both say the same to the same people.
    fn has_same_facts_as(&self, other: &Self) -> bool {
        self.status == other.status
            && self.start == other.start
            && self.zone == other.zone
            && self.attendees == other.attendees
    }

    fn from_report(report: &AppointmentReport, now: Timestamp) -> Self {
        let details = report.details.as_ref();
        let mut new = Self {
            subject: report.subject.clone(),
            calendar: report.calendar.clone(),
            line: report.line.clone(),
            version: 1,
            generation: 1,
            status: report.status,
            start: details.map_or(Timestamp::UNIX_EPOCH, |details| details.start),
            zone: details.map_or_else(|| "UTC".to_owned(), |details| details.zone.clone()),
            attendees: Vec::new(),
            title: details.and_then(|details| details.title.as_deref().map(truncate_text)),
            place: details.and_then(|details| details.place.as_deref().map(truncate_text)),
            as_of: report.as_of,
            booked_at: report.as_of,
            stage_outcomes: Vec::new(),
            due_at: None,
            priority: 0,
            delivery: report.delivery.clone(),
            created_at: now,
            updated_at: now,
        };
        if let Some(older) = &report.previous {
            new.inherit_outcomes(older);
        }
        match (details, &report.previous) {
            (Some(_), Some(older)) if report.attendees_unchanged => {
                let people = older.attendees.iter().filter(|entry| entry.attending).map(|seat| seat.attendee.clone());
                new.set_attendees(&people.collect::<Vec<_>>());
            }
            (Some(details), _) => new.set_attendees(&details.attendees),
            (None, _) => {}
        }
        new
    }

    /// Takes over what was told under an older id. Whoever was told has a seat here too, taken or not, and the marks are
    /// those of that seat.
    fn inherit_outcomes(&mut self, older: &Self) {
        // What the older one had no room for, this one may have: only what was told, or must not be, counts here.
        for stage_outcome in older.stage_outcomes.iter().filter(|mark| mark.outcome.is_final()) {
            let Some(older_entry) = older.attendees.get(stage_outcome.attendee) else { continue };
            let number = self.attendees.iter().position(|entry| entry.attendee.phone == older_entry.attendee.phone);
            let number = number.unwrap_or_else(|| {
                self.attendees.push(AttendeeEntry { attendee: older_entry.attendee.clone(), attending: false });
                self.attendees.len() - 1
            });
            let inherited = StageOutcome { attendee: number, ..stage_outcome.clone() };
            if !self.stage_outcomes.contains(&inherited) {
                self.stage_outcomes.push(inherited);
            }
        }
    }

    /// Gives everybody a seat: whoever had one keeps its number, whoever is gone leaves theirs empty.
    fn set_attendees(&mut self, attendees: &[Attendee]) {
        for entry in &mut self.attendees {
            entry.attending = false;
        }
        for attendee in attendees {
            let attendee = Attendee { name: attendee.name.as_deref().map(truncate_text), ..attendee.clone() };
            match self.attendees.iter_mut().find(|entry| entry.attendee.phone == attendee.phone) {
                Some(seat) => *seat = AttendeeEntry { attendee, attending: true },
                None => self.attendees.push(AttendeeEntry { attendee, attending: true }),
            }
        }
    }
}

/// The longest text that is kept, in characters: more than any message shows.
const MAX_TEXT_CHARS: usize = 200;

/// A sender may say anything at any length; a row of the ledger has its limits.
fn truncate_text(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at_hour(hour: i64) -> Timestamp {
        "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    fn build_attendee(phone: &str) -> Attendee {
        Attendee { phone: Phone::from_e164(phone).unwrap(), name: Some("Noa".into()), locale: None, zone: None }
    }

    fn build_report(standing: AppointmentStatus, start: Option<i64>, as_of: i64, phones: &[&str]) -> AppointmentReport {
        AppointmentReport {
            subject: "appointment:88".into(),
            calendar: "clinic".into(),
            line: "main".into(),
            status: standing,
            details: start.map(|start| AppointmentDetails {
                start: at_hour(start),
                zone: "Asia/Jerusalem".into(),
                attendees: phones.iter().map(|phone| build_attendee(phone)).collect(),
                title: None,
                place: None,
            }),
            as_of: at_hour(as_of),
            attendees_unchanged: false,
            delivery: "clinic#1".into(),
            previous: None,
        }
    }

    fn expect_updated(learned: ReportResult) -> Appointment {
        match learned {
            ReportResult::Updated(appointment) => *appointment,
            other => panic!("{other:?}"),
        }
    }

    const NOA: &str = "+972545550199";
    const ADI: &str = "+972525550101";

    #[test]
    fn the_later_of_two_reports_counts_in_either_order() {
        let booked = build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]);
        let moved = build_report(AppointmentStatus::Booked, Some(72), 2, &[NOA]);
        let first = expect_updated(Appointment::apply_report(None, &booked, at_hour(3)));
        let after = expect_updated(Appointment::apply_report(Some(&first), &moved, at_hour(3)));
        assert_eq!((after.start, after.generation, after.version, after.booked_at), (at_hour(72), 2, 2, at_hour(2)));
        let moved_first = expect_updated(Appointment::apply_report(None, &moved, at_hour(3)));
        assert_eq!(Appointment::apply_report(Some(&moved_first), &booked, at_hour(3)), ReportResult::Stale);
    }

    #[test]
    fn a_cancellation_that_arrives_first_is_not_undone_by_the_earlier_booking() {
        let cancelled = expect_updated(Appointment::apply_report(
            None,
            &build_report(AppointmentStatus::Cancelled, None, 2, &[]),
            at_hour(3),
        ));
        assert_eq!(
            Appointment::apply_report(
                Some(&cancelled),
                &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
                at_hour(3)
            ),
            ReportResult::Stale
        );
        assert_eq!(
            Appointment::apply_report(
                Some(&cancelled),
                &build_report(AppointmentStatus::Booked, Some(48), 2, &[NOA]),
                at_hour(3)
            ),
            ReportResult::Stale
        );
        let again = expect_updated(Appointment::apply_report(
            Some(&cancelled),
            &build_report(AppointmentStatus::Booked, Some(48), 3, &[NOA]),
            at_hour(3),
        ));
        assert_eq!((again.status, again.booked_at), (AppointmentStatus::Booked, at_hour(3)));
    }

    #[test]
    fn a_repeat_changes_nothing_and_a_newer_repeat_updates_only_its_time() {
        let first = expect_updated(Appointment::apply_report(
            None,
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
            at_hour(3),
        ));
        assert_eq!(
            Appointment::apply_report(
                Some(&first),
                &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
                at_hour(4)
            ),
            ReportResult::Unchanged
        );
        let later = expect_updated(Appointment::apply_report(
            Some(&first),
            &build_report(AppointmentStatus::Booked, Some(48), 2, &[NOA]),
            at_hour(4),
        ));
        assert_eq!((later.generation, later.booked_at, later.as_of), (1, at_hour(1), at_hour(2)));
    }

    #[test]
    fn an_attendee_retains_its_number_when_others_come_and_go() {
        let two = expect_updated(Appointment::apply_report(
            None,
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA, ADI]),
            at_hour(3),
        ));
        let one = expect_updated(Appointment::apply_report(
            Some(&two),
            &build_report(AppointmentStatus::Booked, Some(48), 2, &[ADI]),
            at_hour(3),
        ));
        assert_eq!(one.attendees.iter().map(|entry| entry.attending).collect::<Vec<_>>(), [false, true]);
        assert_eq!((one.attendees[1].attendee.phone.expose(), one.generation), (ADI, 2));
    }

    fn with_reminder_opened(appointment: &Appointment, attendee: usize) -> Appointment {
        let stage_outcome =
            StageOutcome { stage: "24h".into(), start: appointment.start, attendee, outcome: ReminderOutcome::Opened };
        Appointment { stage_outcomes: vec![stage_outcome], ..appointment.clone() }
    }

    #[test]
    fn a_reminder_sent_under_the_older_id_counts_for_the_same_person_at_any_number() {
        let older = expect_updated(Appointment::apply_report(
            None,
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA, ADI]),
            at_hour(3),
        ));
        let older = with_reminder_opened(&older, 1);
        let continuing = AppointmentReport {
            previous: Some(Box::new(older.clone())),
            ..build_report(AppointmentStatus::Booked, Some(48), 2, &[ADI, NOA])
        };
        let new = expect_updated(Appointment::apply_report(None, &continuing, at_hour(3)));
        let stage_outcome = &new.stage_outcomes[0];
        assert_eq!(new.attendees[stage_outcome.attendee].attendee.phone.expose(), ADI);
        assert!(new.attendees.iter().all(|entry| entry.attending), "{new:?}");
        // Who takes part is left out: whoever did still does.
        let same = AppointmentReport {
            attendees_unchanged: true,
            ..build_report(AppointmentStatus::Booked, Some(72), 2, &[])
        };
        let same = AppointmentReport { previous: Some(Box::new(older)), ..same };
        let new = expect_updated(Appointment::apply_report(None, &same, at_hour(3)));
        assert_eq!(new.attendees.iter().filter(|entry| entry.attending).count(), 2);
    }

    #[test]
    fn a_reminder_sent_under_the_older_id_counts_even_when_the_report_is_late() {
        let older = expect_updated(Appointment::apply_report(
            None,
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
            at_hour(3),
        ));
        let older = with_reminder_opened(&older, 0);
        let newer = expect_updated(Appointment::apply_report(
            None,
            &build_report(AppointmentStatus::Cancelled, None, 9, &[]),
            at_hour(9),
        ));
        let continuing = AppointmentReport {
            previous: Some(Box::new(older)),
            ..build_report(AppointmentStatus::Booked, Some(72), 2, &[NOA])
        };
        let after = expect_updated(Appointment::apply_report(Some(&newer), &continuing, at_hour(9)));
        assert_eq!((after.status, after.stage_outcomes.len()), (AppointmentStatus::Cancelled, 1));
        assert_eq!(
            Appointment::apply_report(Some(&after), &continuing, at_hour(9)),
            ReportResult::Stale,
            "and is learned once"
        );
    }

    #[test]
    fn a_reminder_skipped_for_lack_of_time_is_planned_again_when_the_same_start_is_rebooked() {
        let with_outcome = |outcome| {
            let mut known = expect_updated(Appointment::apply_report(
                None,
                &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
                at_hour(3),
            ));
            known.stage_outcomes.push(StageOutcome { stage: "24h".into(), start: at_hour(48), attendee: 0, outcome });
            known
        };
        for (outcome, stays) in [
            (ReminderOutcome::Opened, 1),
            (ReminderOutcome::Dropped, 1),
            (ReminderOutcome::NoTime, 0),
            (ReminderOutcome::Skipped, 0),
        ] {
            let known = with_outcome(outcome);
            let off = expect_updated(Appointment::apply_report(
                Some(&known),
                &build_report(AppointmentStatus::Cancelled, None, 2, &[]),
                at_hour(4),
            ));
            let on = expect_updated(Appointment::apply_report(
                Some(&off),
                &build_report(AppointmentStatus::Booked, Some(48), 3, &[NOA]),
                at_hour(5),
            ));
            assert_eq!(on.stage_outcomes.len(), stays, "{outcome:?}");
            let continuing = AppointmentReport {
                previous: Some(Box::new(known)),
                ..build_report(AppointmentStatus::Booked, Some(48), 3, &[NOA])
            };
            assert_eq!(
                expect_updated(Appointment::apply_report(None, &continuing, at_hour(5))).stage_outcomes.len(),
                stays,
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn the_first_report_of_attendees_counts_even_when_it_is_late() {
        let without_attendees = AppointmentReport {
            attendees_unchanged: true,
            ..build_report(AppointmentStatus::Booked, Some(72), 2, &[])
        };
        let moved = expect_updated(Appointment::apply_report(None, &without_attendees, at_hour(3)));
        let booked = expect_updated(Appointment::apply_report(
            Some(&moved),
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
            at_hour(3),
        ));
        assert_eq!((booked.start, booked.attendees.len(), booked.generation), (at_hour(72), 1, 2));
    }

    #[test]
    fn debug_output_shows_no_personal_data() {
        let mut report = build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]);
        let details = report.details.as_mut().unwrap();
        details.title = Some("Call Noa on 0545550199".into());
        details.place = Some("545550199".into());
        details.attendees[0].locale = Some("+972545550199".into());
        let appointment = expect_updated(Appointment::apply_report(None, &report, at_hour(3)));
        let debug_text = format!("{report:?} {appointment:?}");
        assert!(!debug_text.contains("545550199") && !debug_text.contains("Noa"), "{debug_text}");
    }
}
