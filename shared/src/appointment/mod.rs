//! Appointment headers: all that is known of an appointment, in one row of the ledger.
//!
//! Main types: an [`AppointmentReport`] is what a delivery or a feed says about an appointment;
//! [`Appointment::apply_report`] merges it into the header; a [`StageOutcome`] records the outcome
//! of a reminder for one start and one [`AttendeeEntry`].
//!
//! `generation` counts the changes of what reminders depend on. It shows that a reminder was made
//! for an older generation.
//!
//! Promises: of two reports the later one counts, by the sender's clock and in any order of
//! arrival. A cancelled appointment stays cancelled until a later report books it again. A seat's
//! number never changes. A report without a person's phone number does not erase the known number.
//! Does **not** plan reminders: reminder-scheduler's `plan` does.

mod attendee;
mod erasure;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    attributes::UnknownAttributes,
    contact::Phone,
    trail::{Trail, TrailStep},
};

use attendee::truncate_text;
pub use attendee::{Attendee, AttendeeEntry, LeftOutAttendees, SeatHolder};

/// The stage of the header, beside the rows of the reminders.
pub const HEADER_STAGE: &str = "state";

/// The code of a step with another start under the same id.
pub const RESCHEDULED: &str = "rescheduled";
/// The code of a step with other attendees or another zone.
pub const ATTENDEES_CHANGED: &str = "attendees-changed";

/// Whether an appointment takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppointmentStatus {
    /// It takes place. Reminders are sent.
    Booked,
    /// It is requested and not confirmed.
    Unconfirmed,
    /// It does not take place.
    Cancelled,
    /// It continues under another id.
    Moved,
}

impl AppointmentStatus {
    /// The name in the table and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Unconfirmed => "unconfirmed",
            Self::Cancelled => "cancelled",
            Self::Moved => "moved",
        }
    }

    /// Whether it no longer takes place, at least not under this id.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Moved)
    }
}

/// The outcome of one reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReminderOutcome {
    /// Its row was opened. The row holds the result.
    Opened,
    /// Its time had passed when the appointment was booked or moved.
    Skipped,
    /// Its time passed before a function could send it.
    Missed,
    /// Quiet hours left no time for it, or a reminder nearer to the start was due at the same
    /// moment.
    NoTime,
    /// The attendee has opted out.
    OptedOut,
    /// An operator dropped all messages that waited for the line.
    Dropped,
    /// The number received as many reminders of this stage on this day as one number may.
    LimitReached,
}

impl ReminderOutcome {
    /// All outcomes.
    pub const ALL: [Self; 7] =
        [Self::Opened, Self::Skipped, Self::Missed, Self::NoTime, Self::OptedOut, Self::Dropped, Self::LimitReached];

    /// The name in the table, in logs and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::NoTime => "no-time",
            Self::OptedOut => "opted-out",
            Self::Dropped => "dropped",
            Self::LimitReached => "limit-reached",
        }
    }

    /// Whether it stays when the same start is booked again. A final reminder has a row or must not
    /// be sent. The others depend on the time of the booking and are decided again.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Opened | Self::OptedOut | Self::Dropped | Self::LimitReached => true,
            Self::Skipped | Self::Missed | Self::NoTime => false,
        }
    }
}

/// The outcome of a reminder, for one start and one seat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StageOutcome {
    /// The stage's name, as in keys.
    pub stage: String,
    /// The start that the reminder names.
    pub start: Timestamp,
    /// The seat's number.
    pub attendee: usize,
    /// The outcome.
    pub outcome: ReminderOutcome,
}

/// All that is known of an appointment. `Debug` leaves out what a person typed, as for
/// [`AppointmentDetails`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Appointment {
    /// The ledger's partition key: `appointment:{id}`.
    pub subject: String,
    /// The calendar that it came from.
    pub calendar: String,
    /// The line that sends its reminders.
    pub line: String,
    /// Counts writes. Every write names the version that it read.
    pub version: u64,
    /// Counts changes of what reminders depend on: status, start, zone, attendees.
    pub generation: u64,
    /// Whether it takes place.
    pub status: AppointmentStatus,
    /// When it begins; the epoch if a cancellation came first, without a start.
    pub start: Timestamp,
    /// Its IANA zone.
    pub zone: String,
    /// Every present or former attendee. Never shrinks.
    pub attendees: Vec<AttendeeEntry>,
    /// What it is about.
    pub title: Option<String>,
    /// Where it takes place.
    pub place: Option<String>,
    /// When the newest fact became true, by the sender's clock.
    pub as_of: Timestamp,
    /// Since when it has been booked for this start, by the sender's clock.
    pub booked_at: Timestamp,
    /// The outcomes of its reminders, in the order in which they were recorded.
    pub stage_outcomes: Vec<StageOutcome>,
    /// When reminder-scheduler processes it again; `None` if nothing is due.
    pub due_at: Option<Timestamp>,
    /// How useful the due reminder is among all that waits, 0 to 100.
    pub priority: u8,
    /// The newest delivery that changed something, by its key in the inbox.
    pub delivery: String,
    /// When the header was created.
    pub created_at: Timestamp,
    /// When the header was last written.
    pub updated_at: Timestamp,
    /// When it was booked, moved and cancelled. The detail of a step is the start.
    pub trail: Trail,
    /// What another version of tellonce stored in the header's document. Every write keeps it.
    pub unknown_attributes: UnknownAttributes,
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

/// What a delivery or a feed says about an appointment, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppointmentReport {
    /// The ledger's partition key.
    pub subject: String,
    /// The calendar that it came from.
    pub calendar: String,
    /// The line that sends its reminders.
    pub line: String,
    /// Whether it takes place.
    pub status: AppointmentStatus,
    /// Time, place and attendees. A cancellation may leave them out.
    pub details: Option<AppointmentDetails>,
    /// What becomes of the known attendees that the details leave out.
    pub left_out: LeftOutAttendees,
    /// When this became true, by the sender's clock.
    pub as_of: Timestamp,
    /// The delivery with this report, by its key in the inbox; for a feed, the feed's name.
    pub delivery: String,
    /// The appointment that this one continues under another id. Reminders sent under the older id
    /// are not sent again under the new id.
    pub previous: Option<Box<Appointment>>,
}

/// Time, place and attendees. `Debug` leaves out what a person typed: a title may hold a name or a
/// number.
#[derive(Clone, PartialEq, Eq)]
pub struct AppointmentDetails {
    /// When it begins.
    pub start: Timestamp,
    /// Its IANA zone.
    pub zone: String,
    /// The attendees who can be messaged.
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

/// The effect of a report on the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportResult {
    /// A later report is already known.
    Stale,
    /// The report says nothing new.
    Unchanged,
    /// The new header. Its `due_at` is still the old time, so the caller plans it again.
    Updated(Box<Appointment>),
}

impl Appointment {
    /// Merges a report into the header. Has no side effects.
    pub fn apply_report(known: Option<&Self>, report: &AppointmentReport, now: Timestamp) -> ReportResult {
        let Some(before) = known else {
            let mut new = Self::from_report(report, now);
            new.add_step(new.status.name());
            return ReportResult::Updated(Box::new(new));
        };
        let later = match report.as_of.cmp(&before.as_of) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            // At the same moment, an end is the later fact, because a booking comes before its end.
            std::cmp::Ordering::Equal => !before.status.is_over() || report.status.is_over(),
        };
        let mut after = before.clone();
        if let Some(older) = &report.previous {
            after.inherit_outcomes(older);
        }
        if !later {
            // Reminders sent under the older id count whenever tellonce learns of them. So do the
            // attendees, if no report has named any yet.
            let has_no_attendees_yet = after.attendees.is_empty() && !before.status.is_over();
            if let Some(details) = report.details.as_ref().filter(|_| has_no_attendees_yet) {
                after.set_attendees(&details.attendees, &report.left_out);
            }
            if after == *before {
                return ReportResult::Stale;
            }
            return ReportResult::Updated(Box::new(after.next_generation(before, now)));
        }
        after.status = report.status;
        after.as_of = report.as_of;
        after.calendar.clone_from(&report.calendar);
        after.line.clone_from(&report.line);
        if let Some(details) = &report.details {
            after.start = details.start;
            after.zone.clone_from(&details.zone);
            after.set_attendees(&details.attendees, &report.left_out);
            after.title = details.title.as_deref().map(truncate_text);
            after.place = details.place.as_deref().map(truncate_text);
        }
        let is_rebooked = after.status == AppointmentStatus::Booked
            && (before.status != AppointmentStatus::Booked || after.start != before.start);
        if is_rebooked {
            after.booked_at = report.as_of;
            // A reminder that had no time, or was too late, at the earlier booking may have time
            // now.
            after.stage_outcomes.retain(|stage_outcome| stage_outcome.outcome.is_final());
        }
        if after == *before {
            return ReportResult::Unchanged;
        }
        after.delivery.clone_from(&report.delivery);
        ReportResult::Updated(Box::new(after.next_generation(before, now)))
    }

    /// Distinguishes a reminder from others of its stage: by the start, and by the seat unless it
    /// is the first. `20261124T0830Z`, `20261124T0830Z-1`.
    pub fn reminder_instance(start: Timestamp, attendee: usize) -> String {
        let start = start.strftime("%Y%m%dT%H%MZ");
        if attendee == 0 { start.to_string() } else { format!("{start}-{attendee}") }
    }

    /// Whether a reminder of this instance for this phone is still true.
    pub fn is_still_valid(&self, instance: &str, phone: &Phone) -> bool {
        self.status == AppointmentStatus::Booked
            && self.attendees.iter().enumerate().any(|(number, entry)| {
                entry.attending && entry.is_of(phone) && Self::reminder_instance(self.start, number) == instance
            })
    }

    /// The next version of this header.
    #[must_use]
    pub fn next_version(mut self, now: Timestamp) -> Self {
        self.version += 1;
        self.updated_at = now;
        self
    }

    /// The next version of this header, with the next generation and a step if it has other facts
    /// than before.
    fn next_generation(self, before: &Self, now: Timestamp) -> Self {
        let mut next = self.next_version(now);
        if !next.has_same_facts_as(before) {
            next.generation += 1;
            let code = if next.status != before.status {
                next.status.name()
            } else if next.start == before.start {
                ATTENDEES_CHANGED
            } else {
                RESCHEDULED
            };
            next.add_step(code);
        }
        next
    }

    fn add_step(&mut self, code: &'static str) {
        let start = self.start.to_string();
        self.trail.add_step(TrailStep::new(self.updated_at, self.status.name(), code, Some(&start)));
    }

    /// Whether reminders of both have the same content and the same attendees.
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
            trail: Trail::default(),
            unknown_attributes: UnknownAttributes::default(),
        };
        if let Some(older) = &report.previous {
            new.inherit_outcomes(older);
        }
        if let Some(details) = details {
            let mut older: Vec<_> = report.previous.iter().flat_map(|older| older.attendees.clone()).collect();
            report.left_out.leave(&mut older);
            let staying =
                older.into_iter().filter(|entry| entry.attending).filter_map(|entry| entry.attendee().cloned());
            let people = staying.chain(details.attendees.iter().cloned());
            new.set_attendees(&people.collect::<Vec<_>>(), &LeftOutAttendees::Leave);
        }
        new
    }

    /// Whether an attendee who takes part can be messaged.
    pub fn has_attendees(&self) -> bool {
        self.attendees.iter().any(|entry| entry.attending)
    }

    /// Takes over the final outcomes under an older id. Each attendee with such an outcome gets a
    /// seat here, even an attendee who no longer takes part.
    fn inherit_outcomes(&mut self, older: &Self) {
        // A reminder that had no time under the older id may have time under this id. Only final
        // outcomes count.
        for stage_outcome in older.stage_outcomes.iter().filter(|mark| mark.outcome.is_final()) {
            let Some(older_entry) = older.attendees.get(stage_outcome.attendee) else { continue };
            let Some(older_attendee) = older_entry.attendee() else { continue };
            let number = self.attendees.iter().position(|entry| entry.is_of(&older_attendee.phone));
            let number = number.unwrap_or_else(|| {
                self.attendees.push(AttendeeEntry::new(older_attendee.clone(), false));
                self.attendees.len() - 1
            });
            let inherited = StageOutcome { attendee: number, ..stage_outcome.clone() };
            if !self.stage_outcomes.contains(&inherited) {
                self.stage_outcomes.push(inherited);
            }
        }
    }

    /// Gives every attendee a seat. A known attendee keeps the number, and the seat of a former
    /// attendee stays empty.
    fn set_attendees(&mut self, attendees: &[Attendee], left_out: &LeftOutAttendees) {
        left_out.leave(&mut self.attendees);
        for attendee in attendees {
            let attendee = Attendee { name: attendee.name.as_deref().map(truncate_text), ..attendee.clone() };
            match self.attendees.iter_mut().find(|entry| entry.is_of(&attendee.phone)) {
                Some(seat) => *seat = AttendeeEntry::new(attendee, true),
                None => self.attendees.push(AttendeeEntry::new(attendee, true)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
