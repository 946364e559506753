//! Appointments: from a booking, or a feed, to the reminders that would be sent, through the very decisions of
//! `reminder_scheduler`.
//!
//! What is known lies in memory, and the line takes everything. Time passes only where the next delivery, or the end of
//! the preview, makes it pass; whatever is due before then goes out at its time.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use reminder_scheduler::{
    booking::{Booking, Kind, NothingBecause, ReadBack, Reading, read},
    feed::{
        diff::{Changes, Origin, Verdict, compare},
        ics, window,
    },
    plan::{news, plan, planned, with_mark},
    read_back::complete,
};
use serde::Serialize;
use serde_json::Value;
use shared::{
    appointment::{Appointment, Learned, Mark, Outcome, Report},
    client_config::{Calendar, CalendarKind, ClientConfig},
    delivery::Verified,
    feed::Memory,
    ledger::{Key, Owner, Row},
    read_back::Answer,
};

use super::{Door, EventShown, MessageShown, Shown, cases::Case, message};

#[derive(Serialize)]
pub(super) struct AppointmentShown {
    kind: &'static str,
    id: String,
    standing: &'static str,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_id: Option<String>,
    /// Masked.
    phones: Vec<String>,
}

/// A reminder that nobody would get.
#[derive(Serialize)]
pub(super) struct LeftOut {
    idempotency_key: String,
    start: Timestamp,
    why: &'static str,
}

/// What is known of appointments, and what was said of them.
struct Diary<'a> {
    config: &'a ClientConfig,
    known: BTreeMap<String, Appointment>,
    said: Vec<Said<MessageShown>>,
    unsaid: Vec<Said<LeftOut>>,
}

/// Something that was said, or left out.
struct Said<T> {
    /// The delivery that the appointment's truth came from.
    delivery: String,
    /// The appointment.
    subject: String,
    what: T,
}

impl<T> Said<T> {
    fn of(appointment: &Appointment, what: T) -> Self {
        Self { delivery: appointment.delivery.clone(), subject: appointment.subject.clone(), what }
    }
}

impl<'a> Diary<'a> {
    fn new(config: &'a ClientConfig) -> Self {
        Self { config, known: BTreeMap::new(), said: Vec::new(), unsaid: Vec::new() }
    }

    fn learn(&mut self, report: &Report, now: Timestamp) -> Learned {
        let learned = Appointment::learn(self.known.get(&report.subject), report, now);
        if let Learned::News(news) = &learned {
            let before = self.known.get(&report.subject).map(|known| known.marks.clone());
            self.keep(planned(self.config, news.as_ref().clone(), now), &before.unwrap_or_default());
        }
        learned
    }

    fn keep(&mut self, appointment: Appointment, before: &[Mark]) {
        for mark in appointment.marks.iter().filter(|mark| !before.contains(mark)) {
            let why = match mark.outcome {
                Outcome::Skipped => "it was booked, or moved, after this reminder's time",
                Outcome::Missed => "its time had passed",
                Outcome::NoRoom => {
                    "quiet hours leave no room for it, or one nearer to the start comes at the same moment"
                }
                Outcome::Opened | Outcome::OptedOut | Outcome::Dropped => continue,
            };
            let idempotency_key = Key::reminder(&appointment.subject, &mark.stage).to_string();
            let left_out = LeftOut { idempotency_key, start: mark.start, why };
            self.unsaid.push(Said::of(&appointment, left_out));
        }
        self.known.insert(appointment.subject.clone(), appointment);
    }

    /// Lets time pass: whatever is due before `until` goes out at its time.
    fn pass(&mut self, until: Timestamp) {
        loop {
            let due = self.known.values().filter_map(|known| Some((known.due_at.filter(|due| *due < until)?, known)));
            let Some((now, known)) = due.min_by_key(|(due, _)| *due).map(|(due, known)| (due, known.clone())) else {
                return;
            };
            let before = known.marks.clone();
            let calendar = self.config.calendars.get(&known.calendar);
            let planned_now = calendar.map(|calendar| (calendar, plan(self.config, calendar, &known, now)));
            let due = planned_now.as_ref().and_then(|(calendar, plan)| Some((calendar, plan, plan.due.first()?)));
            let after = match due {
                Some((calendar, plan, reminder)) => {
                    let news = news(self.config, calendar, &known, reminder);
                    let row = Row::open(&news, news.key.clone(), Owner("preview".to_owned()), now, now);
                    if let Some(payload) = &row.payload {
                        self.said.push(Said::of(&known, message(&row, payload, now)));
                    } else {
                        let left_out = LeftOut {
                            idempotency_key: row.key.to_string(),
                            start: known.start,
                            why: "its text cannot be made: a value is missing",
                        };
                        self.unsaid.push(Said::of(&known, left_out));
                    }
                    with_mark(self.config, &known, plan, reminder, Outcome::Opened, now)
                }
                None => planned(self.config, known, now),
            };
            self.keep(after, &before);
        }
    }

    /// What was said because of a delivery, and what was left out.
    fn of_delivery(&mut self, delivery: &str) -> (Vec<MessageShown>, Vec<LeftOut>) {
        let said = self.said.extract_if(.., |said| said.delivery == delivery).map(|said| said.what).collect();
        (said, self.unsaid.extract_if(.., |unsaid| unsaid.delivery == delivery).map(|unsaid| unsaid.what).collect())
    }

    /// What was said of an appointment, and what was left out.
    fn of_appointment(&mut self, subject: &str) -> (Vec<MessageShown>, Vec<LeftOut>) {
        let said = self.said.extract_if(.., |said| said.subject == subject).map(|said| said.what).collect();
        (said, self.unsaid.extract_if(.., |unsaid| unsaid.subject == subject).map(|unsaid| unsaid.what).collect())
    }
}

/// Everything that a preview of deliveries needs.
pub(super) struct Desk<'a> {
    door: Door<'a>,
    calendar: &'a Calendar,
    diary: Diary<'a>,
    /// Keys in the inbox, by the number of the delivery.
    filed: Vec<Option<String>>,
}

impl<'a> Desk<'a> {
    /// For a calendar, through its door.
    pub(super) fn new(door: Door<'a>, calendar: &'a Calendar) -> Self {
        let diary = Diary::new(door.config);
        Self { door, calendar, diary, filed: Vec::new() }
    }

    /// One delivery: verify it, file it, read it, take it into what is known.
    pub(super) fn take(&mut self, case: &'a Case, now: Timestamp) -> Shown {
        self.diary.pass(now);
        match self.door.open(case, now) {
            Ok((verified, id, shown)) => {
                self.filed.push(Some(id.clone()));
                self.process(&verified, &id, now, shown)
            }
            Err(shown) => {
                self.filed.push(None);
                *shown
            }
        }
    }

    /// Lets everything that is due go out, and says of each delivery what became of it.
    pub(super) fn close(mut self, shown: &mut [Shown]) {
        self.diary.pass(Timestamp::MAX);
        for (delivery, id) in shown.iter_mut().zip(&self.filed) {
            let Some(id) = id else { continue };
            (delivery.messages, delivery.left_out) = self.diary.of_delivery(id);
        }
    }

    fn process(&mut self, delivery: &Verified<'_>, id: &str, now: Timestamp, shown: Shown) -> Shown {
        let headers = delivery.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let reading = match read(self.calendar, self.door.config, &headers, delivery.body, now) {
            Reading::ReadBack(what) => {
                let Some(answer) = self.answer(&what) else {
                    let because = match what {
                        ReadBack::Acuity { appointment_id, .. } => format!("appointment {appointment_id}"),
                        ReadBack::Square { customer_id, .. } => format!("customer {customer_id}"),
                    };
                    let because = format!(
                        "look-up-skipped: the delivery does not say enough; a preview asks nobody, so give the answer \
                         about {because} with --lookup FILE"
                    );
                    return Shown { nothing_because: Some(because), ..shown };
                };
                complete(what, &answer, now, self.calendar, self.door.config)
            }
            enough => enough,
        };
        match reading {
            Reading::Reports(bookings) => self.report(bookings, id, now, shown),
            Reading::SyncFeed => {
                let because = "sync-feed: the feed is asked for now; give it with --ics FILE instead";
                Shown { nothing_because: Some(because.to_owned()), ..shown }
            }
            Reading::Nothing(because) => Shown { nothing_because: Some(record(&because)), ..shown },
            // What is read back either completes a booking or ends it.
            Reading::ReadBack(_) => shown,
        }
    }

    fn report(&mut self, bookings: Vec<Booking>, id: &str, now: Timestamp, mut shown: Shown) -> Shown {
        for booking in bookings {
            let known = |id: &String| self.diary.known.get(&Key::appointment(self.calendar.book(), id)).cloned();
            let continues = booking.previous_id.as_ref().and_then(known);
            let report = booking.report(self.door.name, self.calendar, id, continues);
            shown.nothing_because = match self.diary.learn(&report, now) {
                Learned::News(_) => booking.unreachable.as_ref().map(record),
                nothing => nothing.outcome().map(str::to_owned),
            };
            // Of two halves the one that goes on is shown.
            if booking.kind != Kind::MovedAway || shown.event.is_none() {
                shown.event = Some(EventShown::Appointment(appointment(&booking)));
            }
        }
        shown
    }

    /// The answer that was given for this question.
    fn answer(&self, what: &ReadBack) -> Option<Answer> {
        let wanted = match what {
            ReadBack::Acuity { appointment_id, .. } => ("/id", appointment_id),
            ReadBack::Square { customer_id, .. } => ("/customer/id", customer_id),
        };
        let is_it = |answer: &Value| match answer.pointer(wanted.0) {
            Some(Value::String(id)) => id == wanted.1,
            Some(Value::Number(id)) => id.to_string() == *wanted.1,
            _ => false,
        };
        let found = self.door.lookups.iter().find(|(_, answer)| is_it(answer));
        found.map(|(bytes, _)| Answer::Found(bytes.clone()))
    }
}

fn appointment(booking: &Booking) -> AppointmentShown {
    let details = booking.details.as_ref();
    AppointmentShown {
        kind: booking.kind.name(),
        id: booking.id.clone(),
        standing: booking.standing.name(),
        occurred_at: booking.occurred_at,
        start: details.map(|details| details.start),
        time_zone: details.map(|details| details.zone.clone()),
        previous_id: booking.previous_id.clone(),
        phones: details.map_or_else(Vec::new, |details| {
            details.attendees.iter().map(|attendee| attendee.phone.to_string()).collect()
        }),
    }
}

fn record(because: &NothingBecause) -> String {
    format!("{}: {because}", because.code())
}

/// What would become of an appointment of a feed.
#[derive(Serialize)]
pub(super) struct InFeed {
    /// Which file said it last.
    case: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<AppointmentShown>,
    messages: Vec<MessageShown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
    nothing_because: Option<String>,
}

impl InFeed {
    fn nothing(case: &str, because: String) -> Self {
        let (messages, left_out) = (Vec::new(), Vec::new());
        Self { case: case.to_owned(), event: None, messages, left_out, nothing_because: Some(because) }
    }
}

/// Reads a feed again and again, a file each time, and shows what would become of each appointment in it.
pub(super) fn feed(
    config: &ClientConfig,
    name: &str,
    files: &[PathBuf],
    times: &[Timestamp],
) -> anyhow::Result<Vec<InFeed>> {
    let calendar = &config.calendars[name];
    let CalendarKind::Ics(rule) = &calendar.kind else {
        bail!("`{name}` is no feed: its bookings are posted, so preview their deliveries");
    };
    let mut diary = Diary::new(config);
    let mut memory = Memory::default();
    let mut shown: BTreeMap<String, InFeed> = BTreeMap::new();
    let mut remarks = Vec::new();
    for (file, now) in files.iter().zip(times) {
        diary.pass(*now);
        let case = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let body = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let window = window(calendar, *now);
        let known = |id: &str| memory.occurrences.contains_key(id);
        let feed = match ics::read(&body, rule, calendar, config, window, &known) {
            Ok(feed) => feed,
            Err(error) => {
                remarks.push(InFeed::nothing(&case, format!("unreadable: {error}; nothing is changed")));
                continue;
            }
        };
        for (uid, error) in &feed.unreadable {
            remarks.push(InFeed::nothing(&case, format!("not-understood: {uid}: {error}")));
        }
        for (id, occurrence) in &feed.occurrences {
            if let Err(problem) = &occurrence.attendee {
                remarks
                    .push(InFeed::nothing(&case, format!("nobody-to-tell: {id} at {}: {problem}", occurrence.start)));
            }
        }
        let changes = match compare(&memory, &feed, Origin { name, calendar }, window, *now) {
            Verdict::Changes(Changes { begun, changes }) => {
                memory.occurrences = begun;
                changes
            }
            Verdict::Doubtful(doubt, Changes { begun, changes }) => {
                remarks.push(InFeed::nothing(&case, format!("doubtful: {doubt}")));
                memory.occurrences = begun;
                changes
            }
        };
        for change in changes {
            diary.learn(&change.report, *now);
            let event = in_feed(&change.id, &change.report);
            let subject = change.report.subject.clone();
            let (messages, left_out) = (Vec::new(), Vec::new());
            let one = InFeed { case: case.clone(), event: Some(event), messages, left_out, nothing_because: None };
            shown.insert(subject, one);
            change.taken(&mut memory.occurrences);
        }
    }
    diary.pass(Timestamp::MAX);
    for (subject, one) in &mut shown {
        (one.messages, one.left_out) = diary.of_appointment(subject);
    }
    let mut all: Vec<InFeed> = shown.into_values().collect();
    all.sort_by_key(|one| one.event.as_ref().and_then(|event| event.start));
    all.extend(remarks);
    Ok(all)
}

fn in_feed(id: &str, report: &Report) -> AppointmentShown {
    let details = report.details.as_ref();
    AppointmentShown {
        kind: "appointment.in-feed",
        id: id.to_owned(),
        standing: report.standing.name(),
        occurred_at: report.as_of,
        start: details.map(|details| details.start),
        time_zone: details.map(|details| details.zone.clone()),
        previous_id: None,
        phones: details.map_or_else(Vec::new, |details| {
            details.attendees.iter().map(|attendee| attendee.phone.to_string()).collect()
        }),
    }
}
