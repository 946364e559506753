//! Ten thousand random histories of appointments. A small model runs each of them through the real
//! decisions (`apply_report`, `with_schedule`, `plan_reminders`, `with_stage_outcome`,
//! `build_reminder_message`). An oracle that computes everything another way checks the result.
//!
//! A history books, moves, moves back, cancels and books again. It happens around the days on which
//! clocks change, in zones of all continents. Its deliveries arrive late, twice and in the wrong
//! order. The line goes down, and the provider throttles after a reminder's row was opened.
//!
//! These must hold:
//!
//! 1. No customer is reminded of a start that the deliveries so far contradict, or after a
//!    cancellation.
//! 2. At most one reminder is sent per stage, start and attendee.
//! 3. Each is sent in its slot: from its time until the next stage's. By default it is not sent if
//!    the appointment was booked inside the slot.
//! 4. None is missing that was due while the line was up.
//! 5. No two messages share a key.
//!
//! Long because the oracle stands beside the histories that it checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tellonce_core::{
    appointment::{
        Appointment, AppointmentDetails, AppointmentReport, AppointmentStatus, Attendee, LeftOutAttendees,
        ReminderOutcome, ReportResult,
    },
    client_config::ClientConfig,
    contact::Phone,
    ledger::IdempotencyKey,
};

use crate::plan::{build_reminder_message, plan_reminders, with_schedule, with_stage_outcome};

/// How many histories are run.
const HISTORY_COUNT: u64 = 10_000;

/// Zones with clock changes in both hemispheres, by half an hour, at midnight, around Ramadan, and
/// zones without any.
const ZONES: [&str; 16] = [
    "Asia/Jerusalem",
    "Europe/London",
    "Europe/Berlin",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Havana",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
];
const PHONES: [&str; 2] = ["+972545550199", "+972525550101"];

/// A stage as the oracle computes it.
#[derive(Clone, Copy)]
enum NaiveStage {
    Hours(i64),
    DayBefore(Option<(i8, i8)>),
    SameDay(i8, i8),
}

/// The stages of the three calendars that histories choose from, the earliest first.
const CALENDAR_STAGES: [&[(&str, NaiveStage)]; 3] = [
    &[("24h", NaiveStage::Hours(24)), ("2h", NaiveStage::Hours(2))],
    &[
        ("1d", NaiveStage::DayBefore(None)),
        ("morning of at 08:00", NaiveStage::SameDay(8, 0)),
        ("1h", NaiveStage::Hours(1)),
    ],
    &[("day before at 18:00", NaiveStage::DayBefore(Some((18, 0)))), ("3h", NaiveStage::Hours(3))],
];

fn duration_minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// One history: its calendar, its facts and their deliveries.
struct AppointmentHistory {
    zone: &'static str,
    tz: TimeZone,
    stages: &'static [(&'static str, NaiveStage)],
    /// Quiet hours: start and end, in whole hours.
    quiet_hours: Option<(i8, i8)>,
    sends_inside: bool,
    moves_earlier: bool,
    /// Whether a move gives the appointment a new id, as Cal.com and Calendly do.
    changes_ids: bool,
    /// The facts, ordered by time.
    facts: Vec<HistoryFact>,
    /// The times of arrival, with the index of the fact.
    deliveries: Vec<(Timestamp, usize)>,
    /// When the line is down.
    outages: Vec<(Timestamp, Timestamp)>,
}

/// What the deliveries so far report about an appointment that takes place.
#[derive(Debug, Clone, Copy)]
struct KnownBooking {
    start: Timestamp,
    attendee_count: usize,
    booked_between: (Timestamp, Timestamp),
}

#[derive(Clone)]
struct HistoryFact {
    occurred_at: Timestamp,
    id: String,
    previous_id: Option<String>,
    /// `None` for a cancellation.
    start: Option<Timestamp>,
    attendee_count: usize,
    /// Whether the attendees are reported in reverse order.
    is_reversed: bool,
}

impl AppointmentHistory {
    fn generate_history(random: &mut StdRng) -> Self {
        let zone = *ZONES.choose(random).expect("at least one zone");
        let tz = TimeZone::get(zone).expect("valid zone");
        let around = date_near_clock_change(random, &tz);
        let quiet_hours = [None, None, Some((21, 8)), Some((22, 7)), Some((13, 15))].choose(random).copied().flatten();
        let changes_ids = random.random_bool(0.4);
        let starts = generate_starts(random, around, &tz);
        let first = starts[0] - duration_minutes(random.random_range(30..60 * 24 * 6));
        let facts = generate_facts(random, first, &starts, changes_ids);
        let deliveries = generate_deliveries(random, &facts, changes_ids);
        let outages = (0..random.random_range(0..3))
            .map(|_| {
                let from = first + duration_minutes(random.random_range(0..60 * 24 * 5));
                (from, from + duration_minutes(random.random_range(1..60 * 20)))
            })
            .collect();
        let stages = *CALENDAR_STAGES.choose(random).expect("at least one calendar");
        let (sends_inside, moves_earlier) = (random.random_bool(0.3), random.random_bool(0.5));
        Self { zone, tz, stages, quiet_hours, sends_inside, moves_earlier, changes_ids, facts, deliveries, outages }
    }

    fn build_config(&self) -> ClientConfig {
        let quiet = self
            .quiet_hours
            .map(|(from, to)| format!("quiet_hours = {{ from = \"{from:02}:00\", to = \"{to:02}:00\" }}"));
        let inside = if self.sends_inside { "send" } else { "skip" };
        let quiet_hours_rule = if self.moves_earlier { "before" } else { "wait" };
        let reminder = |(stage, _): &(&str, NaiveStage)| {
            format!(
                "[calendars.clinic.reminders.\"{stage}\"]\nbooked_inside = \"{inside}\"\nquiet_hours = \"{quiet_hours_rule}\"\n\
                 text.en = \"{stage} {{{{ start }}}}\"\n"
            )
        };
        let reminders = self.stages.iter().map(reminder).collect::<Vec<_>>().concat();
        let text = format!(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"UTC\"\nlanguages = [\"en\"]\n{}\n\
             [lines.main]\nline_id = \"l\"\n[calendars.clinic]\nkind = \"calcom\"\nline = \"main\"\n{reminders}",
            quiet.unwrap_or_default()
        );
        ClientConfig::parse(&text).expect("valid configuration")
    }

    /// The first id of an appointment. A booking under a new id after a cancellation is another
    /// appointment.
    fn first_id<'h>(&'h self, id: &'h str) -> &'h str {
        let previous = self.facts.iter().find(|fact| fact.id == id).and_then(|fact| fact.previous_id.as_deref());
        previous.map_or(id, |previous| self.first_id(previous))
    }

    fn is_line_up(&self, at: Timestamp) -> bool {
        !self.outages.iter().any(|(from, to)| *from <= at && at < *to)
    }

    fn is_quiet(&self, at: Timestamp) -> bool {
        let Some((from, to)) = self.quiet_hours else { return false };
        let hour = at.to_zoned(self.tz.clone()).hour();
        if from <= to { (from..to).contains(&hour) } else { hour >= from || hour < to }
    }

    /// What is known of an id at a moment: the latest delivered fact about it, and since when that
    /// start has been booked, at the earliest and at the latest. A fact about an id that replaces
    /// it ends it.
    ///
    /// Two facts with the same start may arrive in the wrong order, or with a cancellation between
    /// them that arrives last. Then both times are possible. The fact that booked the start is
    /// known only after the earlier fact arrived, and by then the later one may have led to a
    /// reminder.
    fn known_booking(&self, id: &str, at: Timestamp) -> Option<KnownBooking> {
        let delivered: BTreeSet<usize> =
            self.deliveries.iter().filter(|(arrives, _)| *arrives <= at).map(|(_, index)| *index).collect();
        // Facts are ordered by time, so a set of indexes is too.
        let about = delivered
            .iter()
            .map(|index| &self.facts[*index])
            .filter(|fact| fact.id == id || fact.previous_id.as_deref() == Some(id));
        let first_came = |index: usize| self.deliveries.iter().find(|(_, it)| *it == index).map(|(at, _)| *at);
        let in_order = (0..self.facts.len()).is_sorted_by_key(first_came);
        let mut now: Option<KnownBooking> = None;
        for fact in about {
            now = fact.start.filter(|_| fact.id == id).map(|start| match now {
                Some(KnownBooking { start: before, booked_between: since, .. }) if before == start => KnownBooking {
                    start,
                    attendee_count: fact.attendee_count,
                    booked_between: (since.0, if in_order { since.1 } else { fact.occurred_at }),
                },
                _ => KnownBooking {
                    start,
                    attendee_count: fact.attendee_count,
                    booked_between: (fact.occurred_at, fact.occurred_at),
                },
            });
        }
        // A cancellation that arrives after the next booking is out of date and has no effect.
        let about_it = |fact: &&HistoryFact| fact.id == id && now.is_some_and(|now| fact.start == Some(now.start));
        let first = delivered.iter().map(|index| &self.facts[*index]).find(about_it).map(|fact| fact.occurred_at);
        match (&mut now, first) {
            (Some(known), Some(first)) if !in_order => known.booked_between.0 = first,
            _ => {}
        }
        now
    }

    /// When a stage is due for a start that was booked at `since`. It is found by testing every
    /// minute instead of computing. `None` if it is never due or skipped.
    fn naive_due_at(&self, stage: NaiveStage, start: Timestamp, since: Timestamp) -> Option<Timestamp> {
        let zone = &self.tz;
        let local = start.to_zoned(zone.clone()).datetime();
        let local_time = |date: Date, hour: i8, minute: i8| {
            date.at(hour, minute, 0, 0).to_zoned(zone.clone()).expect("valid time").timestamp()
        };
        let mut at = match stage {
            NaiveStage::Hours(hours) => start - SignedDuration::from_hours(hours),
            NaiveStage::DayBefore(None) => local_time(local.date().yesterday().ok()?, local.hour(), local.minute()),
            NaiveStage::DayBefore(Some((hour, minute))) => local_time(local.date().yesterday().ok()?, hour, minute),
            NaiveStage::SameDay(hour, minute) => local_time(local.date(), hour, minute),
        };
        if at >= start {
            return None;
        }
        if at < since {
            if !self.sends_inside {
                return None;
            }
            at = since;
        }
        if !self.is_quiet(at) {
            return Some(at);
        }
        let mut end = at;
        while self.is_quiet(end) {
            // First to the next whole minute, then minute by minute.
            end = Timestamp::from_second(end.as_second().div_euclid(60) * 60 + 60).expect("valid time");
        }
        let mut begin = Timestamp::from_second(at.as_second().div_euclid(60) * 60).expect("valid time");
        while self.is_quiet(begin - duration_minutes(1)) {
            begin -= duration_minutes(1);
        }
        let later = Some(end).filter(|end| *end < start);
        let earlier = Some(begin - duration_minutes(30)).filter(|begin| *begin >= since);
        if self.moves_earlier { earlier.or(later) } else { later.or(earlier) }
    }

    /// The slots of all stages for a start that was booked at `since`. A slot ends at the start, or
    /// when a stage is due that is nearer to the start and not earlier.
    fn naive_slots(&self, start: Timestamp, since: Timestamp) -> Result<Vec<NaiveSlot>, String> {
        let at: Vec<_> = self.stages.iter().map(|(_, stage)| self.naive_due_at(*stage, start, since)).collect();
        let slot = |(index, (written, _)): (usize, &(&str, NaiveStage))| {
            let later = |mine| {
                let others = at.iter().enumerate().filter_map(|(other, at)| Some((other, (*at)?)));
                let behind = others.filter(move |(other, at)| *at > mine || (*at == mine && *other > index));
                behind.map(|(_, at)| at).min().unwrap_or(start).min(start)
            };
            let name = written.parse::<tellonce_core::client_config::ReminderStage>()?.name();
            Ok((name, at[index].map(|mine| (mine, later(mine)))))
        };
        self.stages.iter().enumerate().map(slot).collect()
    }
}

/// Starts at quarters of an hour, within some days of the clock change, mostly by day.
fn generate_starts(random: &mut StdRng, around: Date, zone: &TimeZone) -> Vec<Timestamp> {
    (0..random.random_range(2..4))
        .map(|_| {
            let date = around.checked_add(random.random_range(-1..3).days()).expect("valid date");
            let hour = if random.random_bool(0.9) { random.random_range(7..20) } else { random.random_range(0..24) };
            let time = date.at(hour, [0, 15, 30, 45][random.random_range(0..4)], 0, 0);
            time.to_zoned(zone.clone()).expect("valid time").timestamp()
        })
        .collect()
}

/// Bookings, moves, moves back, moves to the same start, cancellations, and bookings after a
/// cancellation.
fn generate_facts(random: &mut StdRng, first: Timestamp, starts: &[Timestamp], changes_ids: bool) -> Vec<HistoryFact> {
    let mut facts: Vec<HistoryFact> = Vec::new();
    let (mut at, mut generation, mut attendee_count) = (first, 0, random.random_range(1..=2));
    for step in 0..random.random_range(1..6) {
        let before = facts.last();
        let booked = before.is_some_and(|fact| fact.start.is_some());
        let id = |number: u32| if changes_ids { format!("b{number}") } else { "88".to_owned() };
        let fact = if step > 0 && booked && random.random_bool(0.3) {
            HistoryFact {
                occurred_at: at,
                id: id(generation),
                previous_id: None,
                start: None,
                attendee_count,
                is_reversed: false,
            }
        } else {
            let previous_id = before.filter(|_| booked && changes_ids).map(|fact| fact.id.clone());
            if before.is_some() && changes_ids {
                generation += 1;
            }
            if random.random_bool(0.1) {
                attendee_count = 3 - attendee_count;
            }
            HistoryFact {
                occurred_at: at,
                id: id(generation),
                previous_id,
                start: starts.choose(random).copied(),
                attendee_count,
                is_reversed: random.random_bool(0.3),
            }
        };
        facts.push(fact);
        at += duration_minutes(random.random_range(1..60 * 30));
    }
    facts
}

/// Deliveries that arrive late, repeatedly and, unless `in_order`, in the wrong order.
///
/// If only a delivery in between connects two ids, no reader can know that they are one
/// appointment. So histories that change ids arrive in order.
fn generate_deliveries(random: &mut StdRng, facts: &[HistoryFact], in_order: bool) -> Vec<(Timestamp, usize)> {
    let mut deliveries = Vec::new();
    let mut earliest = Timestamp::MIN;
    for (index, fact) in facts.iter().enumerate() {
        let delay = if random.random_bool(0.7) { 0 } else { random.random_range(0..60 * 8) };
        let mut arrives =
            fact.occurred_at + duration_minutes(delay) + SignedDuration::from_secs(random.random_range(0..50));
        if in_order {
            arrives = arrives.max(earliest);
            earliest = arrives + SignedDuration::from_secs(1);
        }
        deliveries.push((arrives, index));
        for _ in 0..random.random_range(0..3) {
            deliveries.push((arrives + duration_minutes(random.random_range(0..60 * 20)), index));
        }
    }
    deliveries.sort_by_key(|(at, _)| *at);
    deliveries
}

/// A stage's name, and from when until when its reminder may be sent.
type NaiveSlot = (String, Option<(Timestamp, Timestamp)>);

/// A date near a clock change of the years 2024 to 2030, or any date in zones without clock
/// changes.
fn date_near_clock_change(random: &mut StdRng, zone: &TimeZone) -> Date {
    let from: Timestamp = "2024-01-01T00:00:00Z".parse().expect("valid time");
    let to: Timestamp = "2030-12-31T00:00:00Z".parse().expect("valid time");
    let changes: Vec<_> = zone.following(from).map(|change| change.timestamp()).take_while(|at| *at < to).collect();
    let at = match changes.choose(random) {
        Some(at) if random.random_bool(0.8) => *at,
        _ => from + SignedDuration::from_hours(24 * random.random_range(0..2500)),
    };
    at.to_zoned(zone.clone()).date()
}

/// A reminder that was sent.
#[derive(Debug)]
struct SentReminder {
    sent_at: Timestamp,
    /// When its row was opened. Earlier than `sent_at` if the line was throttled.
    opened_at: Timestamp,
    id: String,
    stage: String,
    start: Timestamp,
    phone: String,
}

/// A reminder whose row is open and that is not sent yet.
struct OpenReminder {
    id: String,
    stage: String,
    start: Timestamp,
    instance: String,
    generation: u64,
    phone: Phone,
    until: Timestamp,
    opened_at: Timestamp,
    retry_at: Timestamp,
}

/// The state while a history runs.
struct HistoryModel<'h> {
    history: &'h AppointmentHistory,
    config: ClientConfig,
    headers: BTreeMap<String, Appointment>,
    keys: BTreeSet<IdempotencyKey>,
    open: Vec<OpenReminder>,
    sent: Vec<SentReminder>,
    /// Opened and never sent, because they were no longer useful or true when the line took them.
    given_up: Vec<SentReminder>,
}

impl HistoryModel<'_> {
    fn run_history(history: &AppointmentHistory, random: &mut StdRng) -> Result<Vec<SentReminder>, String> {
        let mut model = HistoryModel {
            history,
            config: history.build_config(),
            headers: BTreeMap::new(),
            keys: BTreeSet::new(),
            open: Vec::new(),
            sent: Vec::new(),
            given_up: Vec::new(),
        };
        let end = history.facts.iter().filter_map(|fact| fact.start).max().unwrap_or(history.facts[0].occurred_at)
            + duration_minutes(60);
        let last = history.deliveries.last().map_or(end, |(at, _)| *at);
        let mut deliveries = history.deliveries.iter().peekable();
        let mut now = history.facts[0].occurred_at;
        // The minute schedule, at those minutes at which something can happen.
        while now < end.max(last) + duration_minutes(1) {
            while let Some((at, index)) = deliveries.next_if(|(at, _)| *at <= now) {
                model.deliver_fact(*index, *at);
            }
            if history.is_line_up(now) {
                model.sweep_due(now, random)?;
            }
            let due = model.headers.values().filter_map(|header| header.due_at).min();
            let retry = model.open.iter().map(|open| open.retry_at).min();
            let restored = history.outages.iter().map(|(_, to)| *to).filter(|to| *to > now).min();
            let next = [due, retry, restored, deliveries.peek().map(|(at, _)| *at)].into_iter().flatten().min();
            let Some(next) = next else { break };
            // A sweep starts at a full minute.
            let minute =
                |at: Timestamp| Timestamp::from_second(at.as_second().div_euclid(60) * 60).expect("valid time");
            now = minute(next + SignedDuration::from_secs(59)).max(minute(now) + duration_minutes(1));
        }
        let unsent = std::mem::take(&mut model.open);
        model.given_up.extend(unsent.iter().map(|open| open.to_sent(now)));
        model.check_sent(end)?;
        Ok(model.sent)
    }

    fn deliver_fact(&mut self, index: usize, now: Timestamp) {
        let fact = &self.history.facts[index];
        let report = |id: &str, status, details| AppointmentReport {
            subject: IdempotencyKey::appointment_subject("main", id),
            calendar: "clinic".into(),
            line: "main".into(),
            status,
            details,
            as_of: fact.occurred_at,
            left_out: LeftOutAttendees::Leave,
            delivery: String::new(),
            previous: None,
        };
        if let Some(previous) = &fact.previous_id {
            self.apply_report(previous, &report(previous, AppointmentStatus::Moved, None), now);
        }
        let previous = fact.previous_id.as_ref().and_then(|previous| self.headers.get(previous)).cloned().map(Box::new);
        let mut people: Vec<Attendee> =
            PHONES[..fact.attendee_count].iter().map(|phone| build_attendee(phone)).collect();
        if fact.is_reversed {
            people.reverse();
        }
        let details = fact.start.map(|start| AppointmentDetails {
            start,
            zone: self.history.zone.to_owned(),
            attendees: people,
            title: None,
            place: None,
        });
        let status = if fact.start.is_some() { AppointmentStatus::Booked } else { AppointmentStatus::Cancelled };
        let report = AppointmentReport { previous, ..report(&fact.id, status, details) };
        self.apply_report(&fact.id, &report, now);
    }

    fn apply_report(&mut self, id: &str, report: &AppointmentReport, now: Timestamp) {
        if let ReportResult::Updated(appointment) = Appointment::apply_report(self.headers.get(id), report, now) {
            self.headers.insert(id.to_owned(), with_schedule(&self.config, *appointment, now));
        }
    }

    fn sweep_due(&mut self, now: Timestamp, random: &mut StdRng) -> Result<(), String> {
        let is_due = |header: &Appointment| header.due_at.is_some_and(|due| due <= now);
        let ids: Vec<String> =
            self.headers.iter().filter(|(_, header)| is_due(header)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.send_due_reminders(&id, now, random)?;
        }
        self.retry_open(now);
        Ok(())
    }

    /// Opens every due reminder of an appointment. Most are sent at once; some are throttled.
    fn send_due_reminders(&mut self, id: &str, now: Timestamp, random: &mut StdRng) -> Result<(), String> {
        let calendar = self.config.calendars["clinic"].clone();
        for round in 0.. {
            let header = self.headers[id].clone();
            let plan = plan_reminders(&self.config, &calendar, &header, now);
            let Some(reminder) = plan.due.first() else {
                let after = with_schedule(&self.config, header.clone(), now);
                if after.due_at.is_some_and(|due| due <= now) {
                    return Err(format!("{id} stays due at {:?} without a due reminder", after.due_at));
                }
                self.headers.insert(id.to_owned(), after);
                break;
            };
            if round > 20 {
                return Err(format!("{id} always has another due reminder"));
            }
            let message = build_reminder_message(&self.config, &calendar, &header, reminder);
            if !self.keys.insert(message.key.clone()) {
                return Err(format!("{} is used twice", message.key));
            }
            let open = OpenReminder {
                id: id.to_owned(),
                stage: reminder.stage.name(),
                start: header.start,
                instance: message.instance.clone().unwrap_or_default(),
                generation: header.generation,
                phone: message.to.clone().ok_or("a reminder has no attendee")?,
                until: reminder.useful_until,
                opened_at: now,
                retry_at: now + duration_minutes(random.random_range(1..120)),
            };
            let after = with_stage_outcome(&self.config, &header, &plan, reminder, ReminderOutcome::Opened, now);
            self.headers.insert(id.to_owned(), after);
            if random.random_bool(0.1) { self.open.push(open) } else { self.send_reminder(&open, now) }
        }
        Ok(())
    }

    /// Sends the open reminders whose retry is due, or gives them up.
    fn retry_open(&mut self, now: Timestamp) {
        let (due, later) = std::mem::take(&mut self.open).into_iter().partition(|open| open.retry_at <= now);
        self.open = later;
        for open in due {
            let header = &self.headers[&open.id];
            let still_holds =
                header.generation == open.generation || header.is_still_valid(&open.instance, &open.phone);
            if !still_holds || now >= open.until {
                let sent = open.to_sent(now);
                self.given_up.push(sent);
            } else if self.history.is_quiet(now) {
                self.open.push(OpenReminder { retry_at: now + duration_minutes(1), ..open });
            } else {
                self.send_reminder(&open, now);
            }
        }
    }

    fn send_reminder(&mut self, open: &OpenReminder, now: Timestamp) {
        let sent = open.to_sent(now);
        self.sent.push(sent);
    }

    /// Compares the sent reminders with the expected ones.
    fn check_sent(&self, end: Timestamp) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for sent in &self.sent {
            let known = self.history.known_booking(&sent.id, sent.sent_at);
            let holds = |known: KnownBooking| {
                known.start == sent.start && PHONES[..known.attendee_count].contains(&&*sent.phone)
            };
            if !known.is_some_and(holds) {
                return Err(format!("{sent:?} was untrue: known was {known:?}"));
            }
            if sent.sent_at >= sent.start {
                return Err(format!("{sent:?} was sent after the start"));
            }
            if !self.is_in_slot(sent)? {
                return Err(format!("{sent:?} was sent outside its slot"));
            }
            if self.history.is_quiet(sent.sent_at) {
                return Err(format!("{sent:?} was sent in quiet hours"));
            }
            if !seen.insert((self.history.first_id(&sent.id), &sent.stage, sent.start, &sent.phone)) {
                return Err(format!("{sent:?} was sent twice"));
            }
        }
        self.check_none_missing(end)
    }

    /// Whether a reminder was sent in its slot, given what was known when its row was opened.
    fn is_in_slot(&self, sent: &SentReminder) -> Result<bool, String> {
        let Some(known) = self.history.known_booking(&sent.id, sent.opened_at) else { return Ok(false) };
        for since in [known.booked_between.0, known.booked_between.1] {
            for (name, slot) in self.history.naive_slots(known.start, since)? {
                let holds = |(at, until)| at <= sent.opened_at && sent.sent_at < until;
                if name == sent.stage && slot.is_some_and(holds) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn check_none_missing(&self, end: Timestamp) -> Result<(), String> {
        let history = self.history;
        let ids: BTreeSet<&str> = history.facts.iter().map(|fact| &*fact.id).collect();
        let mut moments: Vec<Timestamp> = history.deliveries.iter().map(|(at, _)| *at).collect();
        moments.push(end);
        for id in ids {
            for pair in moments.windows(2) {
                let (from, to) = (pair[0], pair[1]);
                let Some(KnownBooking { start, attendee_count, booked_between: since }) =
                    history.known_booking(id, from)
                else {
                    continue;
                };
                let slots = history.naive_slots(start, since.0)?;
                if slots != history.naive_slots(start, since.1)? {
                    continue;
                }
                for (name, slot) in slots {
                    let Some((at, until)) = slot else { continue };
                    if !self.could_send(at.max(from), until.min(to)) {
                        continue;
                    }
                    for phone in &PHONES[..attendee_count] {
                        let same = |sent: &SentReminder| history.first_id(&sent.id) == history.first_id(id);
                        let is_it = |sent: &SentReminder| {
                            same(sent) && sent.stage == name && sent.start == start && sent.phone == **phone
                        };
                        if !self.sent.iter().any(is_it) && !self.given_up.iter().any(is_it) {
                            return Err(format!("{name} of {id} for {start} was not sent between {at} and {until}"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a sweep could have sent a reminder at a full minute between these times.
    fn could_send(&self, from: Timestamp, to: Timestamp) -> bool {
        let mut minute = Timestamp::from_second((from.as_second() + 59).div_euclid(60) * 60).expect("valid time");
        while minute < to {
            if self.history.is_line_up(minute) && !self.history.is_quiet(minute) {
                return true;
            }
            minute += duration_minutes(1);
        }
        false
    }
}

impl OpenReminder {
    fn to_sent(&self, at: Timestamp) -> SentReminder {
        let (id, stage, phone) = (self.id.clone(), self.stage.clone(), self.phone.expose().to_owned());
        SentReminder { sent_at: at, opened_at: self.opened_at, id, stage, start: self.start, phone }
    }
}

fn build_attendee(phone: &str) -> Attendee {
    Attendee { phone: Phone::from_e164(phone).expect("valid phone number"), name: None, locale: None, zone: None }
}

#[test]
fn no_reminder_is_wrong_duplicated_or_missing() {
    let seed = tellonce_core::bootstrap::read_variable("HISTORIES_SEED")
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    // Written to standard error, because the test harness hides what a passing test prints.
    let print_line = |text: String| writeln!(std::io::stderr(), "{text}").expect("standard error");
    print_line(format!("histories: seed {seed} (HISTORIES_SEED={seed} runs the same ones again)"));
    let (mut sent, mut moved) = (0, 0);
    for number in 0..HISTORY_COUNT {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        let history = AppointmentHistory::generate_history(&mut random);
        match HistoryModel::run_history(&history, &mut random) {
            Ok(reminders) => sent += reminders.len(),
            Err(problem) => {
                let facts: Vec<String> = history
                    .facts
                    .iter()
                    .map(|fact| {
                        format!(
                            "{} {} {:?} from {:?}, {} attendees",
                            fact.occurred_at, fact.id, fact.start, fact.previous_id, fact.attendee_count
                        )
                    })
                    .collect();
                panic!(
                    "history {number} of seed {seed}: {problem}\nzone {}, quiet hours {:?}, sends inside {}, moves earlier {}, changes ids {}\n\
                     stages {:?}\nfacts {facts:#?}\ndeliveries {:#?}\noutages {:#?}",
                    history.zone,
                    history.quiet_hours,
                    history.sends_inside,
                    history.moves_earlier,
                    history.changes_ids,
                    history.stages.iter().map(|(stage, _)| stage).collect::<Vec<_>>(),
                    history.deliveries,
                    history.outages,
                );
            }
        }
        moved += usize::from(history.facts.len() > 1);
    }
    // Histories in which nothing happens would pass too.
    assert!(sent > 5_000 && moved > 5_000, "{sent} reminders sent, {moved} histories with changes");
    print_line(format!("histories: {HISTORY_COUNT} run, {moved} of them with changes, {sent} reminders sent"));
}
