//! Appointments: what is known of one, in the header row of its story in the ledger.
//!
//! The cast: [`Report`] is what somebody says of an appointment; [`Appointment::learn`] takes it into what is known;
//! [`Mark`] says which of its reminders were opened, for which start and which [`Seat`]. `generation` counts the changes
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
pub enum Standing {
    /// It takes place: reminded.
    Booked,
    /// It is asked for, and nobody has said yes.
    Unconfirmed,
    /// It does not take place.
    Cancelled,
    /// It goes on under another id.
    Moved,
}

impl Standing {
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

/// A place at an appointment. Its number, the index in [`Appointment::seats`], is part of keys instead of the number of
/// a phone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seat {
    /// Who sits there.
    pub attendee: Attendee,
    /// Whether they still do.
    pub taken: bool,
}

/// What became of one reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its row was opened: the row says what became of it.
    Opened,
    /// It was left out: the appointment was booked, or moved, when its time had passed.
    Skipped,
    /// Its time passed while nobody could send it.
    Missed,
    /// There was no time for it: quiet hours left no room, or one nearer to the start came at the same moment.
    NoRoom,
    /// Whoever sits there does not want to be written to.
    OptedOut,
    /// An operator dropped what waited for the line.
    Dropped,
}

impl Outcome {
    /// Its name in the table, in logs and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::NoRoom => "no-room",
            Self::OptedOut => "opted-out",
            Self::Dropped => "dropped",
        }
    }

    /// Whether it stays so when the same start is booked anew: somebody was told, or is not to be. Whether there was room or
    /// time follows from when it was booked, and is asked again.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Opened | Self::OptedOut | Self::Dropped => true,
            Self::Skipped | Self::Missed | Self::NoRoom => false,
        }
    }
}

/// A reminder that was dealt with, for one start and one seat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The stage's name, as in keys.
    pub stage: String,
    /// The start that it spoke of.
    pub start: Timestamp,
    /// The seat's number.
    pub seat: usize,
    /// What became of it.
    pub outcome: Outcome,
}

/// What is known of an appointment. Its `Debug` leaves out what somebody typed, as that of [`Details`] does.
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
    pub standing: Standing,
    /// When it begins; the epoch when only its end is known (a cancellation came first).
    pub start: Timestamp,
    /// Its IANA zone.
    pub zone: String,
    /// Everybody who takes part, or did. Never shrinks.
    pub seats: Vec<Seat>,
    /// What it is about.
    pub title: Option<String>,
    /// Where it takes place.
    pub place: Option<String>,
    /// When the newest fact became one, by the sender's clock.
    pub as_of: Timestamp,
    /// Since when it has been booked for this start, by the sender's clock.
    pub booked_at: Timestamp,
    /// What was dealt with, in this order.
    pub marks: Vec<Mark>,
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
            .field("standing", &self.standing)
            .field("start", &self.start)
            .field("zone", &self.zone)
            .field("seats", &self.seats)
            .field("as_of", &self.as_of)
            .field("booked_at", &self.booked_at)
            .field("marks", &self.marks)
            .field("due_at", &self.due_at)
            .finish_non_exhaustive()
    }
}

/// What somebody says of an appointment, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The ledger's partition key.
    pub subject: String,
    /// The calendar it came from.
    pub calendar: String,
    /// The line that speaks for it.
    pub line: String,
    /// Whether it takes place.
    pub standing: Standing,
    /// When, where and with whom. A cancellation need not say it.
    pub details: Option<Details>,
    /// Whether the details leave out who takes part: whoever did still does.
    pub same_people: bool,
    /// When this became a fact, by the sender's clock.
    pub as_of: Timestamp,
    /// The delivery that says so, by its key in the inbox; a feed's name for a feed.
    pub delivery: String,
    /// What is known of the appointment that this one continues under another id: what was told to whom under that id is
    /// not told again under this one.
    pub continues: Option<Box<Appointment>>,
}

/// When, where and with whom. Its `Debug` leaves out what somebody typed: a title may hold a name or a number.
#[derive(Clone, PartialEq, Eq)]
pub struct Details {
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

impl fmt::Debug for Details {
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
pub enum Learned {
    /// Something newer is known already.
    Stale,
    /// It says nothing new.
    Same,
    /// This is known now. Its `due_at` is still that of before; plan anew.
    News(Box<Appointment>),
}

impl Learned {
    /// What to record beside a delivery that changed nothing: code and explanation.
    pub const fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::News(_) => None,
            Self::Same => Some("already-known: it says nothing new"),
            Self::Stale => Some("out-of-date: something newer is known of the appointment"),
        }
    }
}

impl Appointment {
    /// Takes a report into what is known. Pure.
    pub fn learn(known: Option<&Self>, report: &Report, now: Timestamp) -> Learned {
        let Some(before) = known else { return Learned::News(Box::new(Self::begin(report, now))) };
        let later = match report.as_of.cmp(&before.as_of) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            // Of the same moment, an end is the later fact: nothing is booked and ended the other way round.
            std::cmp::Ordering::Equal => !before.standing.is_over() || report.standing.is_over(),
        };
        let mut after = before.clone();
        if let Some(older) = &report.continues {
            after.inherit(older);
        }
        if !later {
            // What was told under the older id counts whenever it is learned of; and so does who takes part, if nobody has
            // said so yet.
            let nobody_yet = after.seats.is_empty() && !before.standing.is_over() && !report.same_people;
            if let Some(details) = report.details.as_ref().filter(|_| nobody_yet) {
                after.seat(&details.attendees);
            }
            if after == *before {
                return Learned::Stale;
            }
            after.generation += u64::from(!after.tells_the_same_as(before));
            return Learned::News(Box::new(after.written(now)));
        }
        after.standing = report.standing;
        after.as_of = report.as_of;
        after.calendar.clone_from(&report.calendar);
        after.line.clone_from(&report.line);
        if let Some(details) = &report.details {
            after.start = details.start;
            after.zone.clone_from(&details.zone);
            if !report.same_people {
                after.seat(&details.attendees);
            }
            after.title = details.title.as_deref().map(short);
            after.place = details.place.as_deref().map(short);
        }
        let booked_anew =
            after.standing == Standing::Booked && (before.standing != Standing::Booked || after.start != before.start);
        if booked_anew {
            after.booked_at = report.as_of;
            // What had no room, or was too late, when it was booked before may have room now.
            after.marks.retain(|mark| mark.outcome.is_final());
        }
        if after == *before {
            return Learned::Same;
        }
        if !after.tells_the_same_as(before) {
            after.generation += 1;
        }
        after.delivery.clone_from(&report.delivery);
        Learned::News(Box::new(after.written(now)))
    }

    /// What tells a reminder apart from others of its stage: the start that it speaks of, and the seat unless it is the
    /// first. `20261124T0830Z`, `20261124T0830Z-1`.
    pub fn instance(start: Timestamp, seat: usize) -> String {
        let start = start.strftime("%Y%m%dT%H%MZ");
        if seat == 0 { start.to_string() } else { format!("{start}-{seat}") }
    }

    /// Whether a reminder of this instance for this phone is still true.
    pub fn still_holds(&self, instance: &str, phone: &Phone) -> bool {
        self.standing == Standing::Booked
            && self.seats.iter().enumerate().any(|(number, seat)| {
                seat.taken && seat.attendee.phone == *phone && Self::instance(self.start, number) == instance
            })
    }

    /// The next version of this header.
    #[must_use]
    pub fn written(mut self, now: Timestamp) -> Self {
        self.version += 1;
        self.updated_at = now;
        self
    }

    /// Whether reminders of both say the same to the same people.
    fn tells_the_same_as(&self, other: &Self) -> bool {
        self.standing == other.standing
            && self.start == other.start
            && self.zone == other.zone
            && self.seats == other.seats
    }

    fn begin(report: &Report, now: Timestamp) -> Self {
        let details = report.details.as_ref();
        let mut new = Self {
            subject: report.subject.clone(),
            calendar: report.calendar.clone(),
            line: report.line.clone(),
            version: 1,
            generation: 1,
            standing: report.standing,
            start: details.map_or(Timestamp::UNIX_EPOCH, |details| details.start),
            zone: details.map_or_else(|| "UTC".to_owned(), |details| details.zone.clone()),
            seats: Vec::new(),
            title: details.and_then(|details| details.title.as_deref().map(short)),
            place: details.and_then(|details| details.place.as_deref().map(short)),
            as_of: report.as_of,
            booked_at: report.as_of,
            marks: Vec::new(),
            due_at: None,
            priority: 0,
            delivery: report.delivery.clone(),
            created_at: now,
            updated_at: now,
        };
        if let Some(older) = &report.continues {
            new.inherit(older);
        }
        match (details, &report.continues) {
            (Some(_), Some(older)) if report.same_people => {
                let people = older.seats.iter().filter(|seat| seat.taken).map(|seat| seat.attendee.clone());
                new.seat(&people.collect::<Vec<_>>());
            }
            (Some(details), _) => new.seat(&details.attendees),
            (None, _) => {}
        }
        new
    }

    /// Takes over what was told under an older id. Whoever was told has a seat here too, taken or not, and the marks are
    /// those of that seat.
    fn inherit(&mut self, older: &Self) {
        // What the older one had no room for, this one may have: only what was told, or must not be, counts here.
        for mark in older.marks.iter().filter(|mark| mark.outcome.is_final()) {
            let Some(who) = older.seats.get(mark.seat) else { continue };
            let number = self.seats.iter().position(|seat| seat.attendee.phone == who.attendee.phone);
            let number = number.unwrap_or_else(|| {
                self.seats.push(Seat { attendee: who.attendee.clone(), taken: false });
                self.seats.len() - 1
            });
            let mark = Mark { seat: number, ..mark.clone() };
            if !self.marks.contains(&mark) {
                self.marks.push(mark);
            }
        }
    }

    /// Gives everybody a seat: whoever had one keeps its number, whoever is gone leaves theirs empty.
    fn seat(&mut self, attendees: &[Attendee]) {
        for seat in &mut self.seats {
            seat.taken = false;
        }
        for attendee in attendees {
            let attendee = Attendee { name: attendee.name.as_deref().map(short), ..attendee.clone() };
            match self.seats.iter_mut().find(|seat| seat.attendee.phone == attendee.phone) {
                Some(seat) => *seat = Seat { attendee, taken: true },
                None => self.seats.push(Seat { attendee, taken: true }),
            }
        }
    }
}

/// The longest text that is kept, in characters: more than any message shows.
const LONGEST: usize = 200;

/// A sender may say anything at any length; a row of the ledger has its limits.
fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(hour: i64) -> Timestamp {
        "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    fn attendee(phone: &str) -> Attendee {
        Attendee { phone: Phone::from_e164(phone).unwrap(), name: Some("Noa".into()), locale: None, zone: None }
    }

    fn report(standing: Standing, start: Option<i64>, as_of: i64, phones: &[&str]) -> Report {
        Report {
            subject: "appointment:88".into(),
            calendar: "clinic".into(),
            line: "main".into(),
            standing,
            details: start.map(|start| Details {
                start: at(start),
                zone: "Asia/Jerusalem".into(),
                attendees: phones.iter().map(|phone| attendee(phone)).collect(),
                title: None,
                place: None,
            }),
            as_of: at(as_of),
            same_people: false,
            delivery: "clinic#1".into(),
            continues: None,
        }
    }

    fn news(learned: Learned) -> Appointment {
        match learned {
            Learned::News(appointment) => *appointment,
            other => panic!("{other:?}"),
        }
    }

    const NOA: &str = "+972545550199";
    const ADI: &str = "+972525550101";

    #[test]
    fn of_two_reports_the_later_counts_in_either_order() {
        let booked = report(Standing::Booked, Some(48), 1, &[NOA]);
        let moved = report(Standing::Booked, Some(72), 2, &[NOA]);
        let first = news(Appointment::learn(None, &booked, at(3)));
        let after = news(Appointment::learn(Some(&first), &moved, at(3)));
        assert_eq!((after.start, after.generation, after.version, after.booked_at), (at(72), 2, 2, at(2)));
        let moved_first = news(Appointment::learn(None, &moved, at(3)));
        assert_eq!(Appointment::learn(Some(&moved_first), &booked, at(3)), Learned::Stale);
    }

    #[test]
    fn a_cancellation_that_comes_first_is_not_undone_by_the_booking_behind_it() {
        let cancelled = news(Appointment::learn(None, &report(Standing::Cancelled, None, 2, &[]), at(3)));
        assert_eq!(
            Appointment::learn(Some(&cancelled), &report(Standing::Booked, Some(48), 1, &[NOA]), at(3)),
            Learned::Stale
        );
        assert_eq!(
            Appointment::learn(Some(&cancelled), &report(Standing::Booked, Some(48), 2, &[NOA]), at(3)),
            Learned::Stale
        );
        let again = news(Appointment::learn(Some(&cancelled), &report(Standing::Booked, Some(48), 3, &[NOA]), at(3)));
        assert_eq!((again.standing, again.booked_at), (Standing::Booked, at(3)));
    }

    #[test]
    fn a_repeat_says_nothing_new_and_a_newer_repeat_moves_only_the_time_of_knowledge() {
        let first = news(Appointment::learn(None, &report(Standing::Booked, Some(48), 1, &[NOA]), at(3)));
        assert_eq!(
            Appointment::learn(Some(&first), &report(Standing::Booked, Some(48), 1, &[NOA]), at(4)),
            Learned::Same
        );
        let later = news(Appointment::learn(Some(&first), &report(Standing::Booked, Some(48), 2, &[NOA]), at(4)));
        assert_eq!((later.generation, later.booked_at, later.as_of), (1, at(1), at(2)));
    }

    #[test]
    fn a_seat_keeps_its_number_when_others_come_and_go() {
        let two = news(Appointment::learn(None, &report(Standing::Booked, Some(48), 1, &[NOA, ADI]), at(3)));
        let one = news(Appointment::learn(Some(&two), &report(Standing::Booked, Some(48), 2, &[ADI]), at(3)));
        assert_eq!(one.seats.iter().map(|seat| seat.taken).collect::<Vec<_>>(), [false, true]);
        assert_eq!((one.seats[1].attendee.phone.expose(), one.generation), (ADI, 2));
    }

    fn told(appointment: &Appointment, seat: usize) -> Appointment {
        let mark = Mark { stage: "24h".into(), start: appointment.start, seat, outcome: Outcome::Opened };
        Appointment { marks: vec![mark], ..appointment.clone() }
    }

    #[test]
    fn what_was_told_under_the_older_id_counts_for_the_same_person_wherever_they_sit_now() {
        let older = news(Appointment::learn(None, &report(Standing::Booked, Some(48), 1, &[NOA, ADI]), at(3)));
        let older = told(&older, 1);
        let heir =
            Report { continues: Some(Box::new(older.clone())), ..report(Standing::Booked, Some(48), 2, &[ADI, NOA]) };
        let new = news(Appointment::learn(None, &heir, at(3)));
        let mark = &new.marks[0];
        assert_eq!(new.seats[mark.seat].attendee.phone.expose(), ADI);
        assert!(new.seats.iter().all(|seat| seat.taken), "{new:?}");
        // Who takes part is left out: whoever did still does.
        let same = Report { same_people: true, ..report(Standing::Booked, Some(72), 2, &[]) };
        let same = Report { continues: Some(Box::new(older)), ..same };
        let new = news(Appointment::learn(None, &same, at(3)));
        assert_eq!(new.seats.iter().filter(|seat| seat.taken).count(), 2);
    }

    #[test]
    fn what_was_told_under_the_older_id_counts_even_when_it_is_learned_of_late() {
        let older = news(Appointment::learn(None, &report(Standing::Booked, Some(48), 1, &[NOA]), at(3)));
        let older = told(&older, 0);
        let newer = news(Appointment::learn(None, &report(Standing::Cancelled, None, 9, &[]), at(9)));
        let heir = Report { continues: Some(Box::new(older)), ..report(Standing::Booked, Some(72), 2, &[NOA]) };
        let after = news(Appointment::learn(Some(&newer), &heir, at(9)));
        assert_eq!((after.standing, after.marks.len()), (Standing::Cancelled, 1));
        assert_eq!(Appointment::learn(Some(&after), &heir, at(9)), Learned::Stale, "and is learned once");
    }

    #[test]
    fn what_had_no_room_is_asked_again_when_the_same_start_is_booked_anew() {
        let marked = |outcome| {
            let mut known = news(Appointment::learn(None, &report(Standing::Booked, Some(48), 1, &[NOA]), at(3)));
            known.marks.push(Mark { stage: "24h".into(), start: at(48), seat: 0, outcome });
            known
        };
        for (outcome, stays) in
            [(Outcome::Opened, 1), (Outcome::Dropped, 1), (Outcome::NoRoom, 0), (Outcome::Skipped, 0)]
        {
            let known = marked(outcome);
            let off = news(Appointment::learn(Some(&known), &report(Standing::Cancelled, None, 2, &[]), at(4)));
            let on = news(Appointment::learn(Some(&off), &report(Standing::Booked, Some(48), 3, &[NOA]), at(5)));
            assert_eq!(on.marks.len(), stays, "{outcome:?}");
            let heir = Report { continues: Some(Box::new(known)), ..report(Standing::Booked, Some(48), 3, &[NOA]) };
            assert_eq!(news(Appointment::learn(None, &heir, at(5))).marks.len(), stays, "{outcome:?}");
        }
    }

    #[test]
    fn who_takes_part_counts_whenever_it_is_said_for_the_first_time() {
        let unsaid = Report { same_people: true, ..report(Standing::Booked, Some(72), 2, &[]) };
        let moved = news(Appointment::learn(None, &unsaid, at(3)));
        let booked = news(Appointment::learn(Some(&moved), &report(Standing::Booked, Some(48), 1, &[NOA]), at(3)));
        assert_eq!((booked.start, booked.seats.len(), booked.generation), (at(72), 1, 2));
    }

    #[test]
    fn nobody_shows_in_a_debug_text() {
        let mut report = report(Standing::Booked, Some(48), 1, &[NOA]);
        let details = report.details.as_mut().unwrap();
        details.title = Some("Call Noa on 0545550199".into());
        details.place = Some("545550199".into());
        details.attendees[0].locale = Some("+972545550199".into());
        let appointment = news(Appointment::learn(None, &report, at(3)));
        let shown = format!("{report:?} {appointment:?}");
        assert!(!shown.contains("545550199") && !shown.contains("Noa"), "{shown}");
    }
}
