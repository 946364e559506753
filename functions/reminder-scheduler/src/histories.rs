//! Ten thousand random histories of appointments, lived through by the real decisions (`learn`, `planned`, `plan`,
//! `with_mark`, `news`) in a small world of our own, and judged by an oracle that computes everything another way.
//!
//! A history books, moves, moves back, cancels and books again, around the days on which clocks change, in zones all over
//! the world; its deliveries come late, twice and in the wrong order; the line goes down; `EZWhatsApp` asks for patience
//! after a reminder's row was opened. What must hold:
//!
//! 1. nobody is reminded of a start that is not current, as far as what has been delivered says, nor after a cancellation;
//! 2. at most one reminder goes out per stage, start and person;
//! 3. each goes out in its slot: from its time until the next stage's, and not if it was booked inside it;
//! 4. none is missing that was due while the line was up;
//! 5. no two messages share a key.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use shared::{
    appointment::{Appointment, Attendee, Details, Learned, Outcome, Report, Standing},
    client_config::ClientConfig,
    contact::Phone,
    ledger::Key,
};

use crate::plan::{news, plan, planned, with_mark};

/// How many histories are lived through.
const HISTORIES: u64 = 10_000;

/// Zones with clock changes in both hemispheres, of half an hour, at midnight, around Ramadan, and none at all.
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

/// A stage as the oracle understands it, beside how it is written.
#[derive(Clone, Copy)]
enum Naive {
    Hours(i64),
    DayBefore(Option<(i8, i8)>),
    SameDay(i8, i8),
}

/// The stages of the three calendars that histories choose from, furthest ahead first.
const STAGES: [&[(&str, Naive)]; 3] = [
    &[("24h", Naive::Hours(24)), ("2h", Naive::Hours(2))],
    &[("1d", Naive::DayBefore(None)), ("morning of at 08:00", Naive::SameDay(8, 0)), ("1h", Naive::Hours(1))],
    &[("day before at 18:00", Naive::DayBefore(Some((18, 0)))), ("3h", Naive::Hours(3))],
];

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// What one history is made of.
struct History {
    zone: &'static str,
    tz: TimeZone,
    stages: &'static [(&'static str, Naive)],
    /// Quiet hours: begin and end, in whole hours.
    quiet: Option<(i8, i8)>,
    send_inside: bool,
    earlier: bool,
    /// Whether a move gives the appointment a new id, as Cal.com and Calendly do.
    new_ids: bool,
    /// What happened, in its order.
    facts: Vec<Fact>,
    /// What arrives when: indexes of facts.
    deliveries: Vec<(Timestamp, usize)>,
    /// When the line is down.
    outages: Vec<(Timestamp, Timestamp)>,
}

/// What is known of an appointment that takes place.
#[derive(Debug, Clone, Copy)]
struct Known {
    start: Timestamp,
    seats: usize,
    since: (Timestamp, Timestamp),
}

#[derive(Clone)]
struct Fact {
    at: Timestamp,
    id: String,
    previous: Option<String>,
    /// None: cancelled.
    start: Option<Timestamp>,
    seats: usize,
    /// Whether they are named in the other order.
    turned: bool,
}

impl History {
    fn of(random: &mut StdRng) -> Self {
        let zone = *ZONES.choose(random).expect("zones");
        let tz = TimeZone::get(zone).expect("a zone");
        let around = near_a_clock_change(random, &tz);
        let quiet = [None, None, Some((21, 8)), Some((22, 7)), Some((13, 15))].choose(random).copied().flatten();
        let new_ids = random.random_bool(0.4);
        // Starts are on quarters of an hour within some days of the change, mostly by day.
        let pool: Vec<Timestamp> = (0..random.random_range(2..4))
            .map(|_| {
                let date = around.checked_add(random.random_range(-1..3).days()).expect("a date");
                let hour =
                    if random.random_bool(0.9) { random.random_range(7..20) } else { random.random_range(0..24) };
                let time = date.at(hour, [0, 15, 30, 45][random.random_range(0..4)], 0, 0);
                time.to_zoned(tz.clone()).expect("a time").timestamp()
            })
            .collect();
        let first = pool[0] - minutes(random.random_range(30..60 * 24 * 6));
        let mut facts: Vec<Fact> = Vec::new();
        let (mut at, mut generation, mut seats) = (first, 0, random.random_range(1..=2));
        for step in 0..random.random_range(1..6) {
            let before = facts.last();
            let booked = before.is_some_and(|fact| fact.start.is_some());
            let id = |number: u32| if new_ids { format!("b{number}") } else { "88".to_owned() };
            let fact = if step > 0 && booked && random.random_bool(0.3) {
                Fact { at, id: id(generation), previous: None, start: None, seats, turned: false }
            } else {
                // Moves, moves back, moves to where it is, and books again after a cancellation.
                let previous = before.filter(|_| booked && new_ids).map(|fact| fact.id.clone());
                if before.is_some() && new_ids {
                    generation += 1;
                }
                if random.random_bool(0.1) {
                    seats = 3 - seats;
                }
                Fact {
                    at,
                    id: id(generation),
                    previous,
                    start: pool.choose(random).copied(),
                    seats,
                    turned: random.random_bool(0.3),
                }
            };
            facts.push(fact);
            at += minutes(random.random_range(1..60 * 30));
        }
        let tidy = new_ids;
        let mut deliveries = Vec::new();
        let mut behind = Timestamp::MIN;
        for (index, fact) in facts.iter().enumerate() {
            let late = if random.random_bool(0.7) { 0 } else { random.random_range(0..60 * 8) };
            let mut arrives = fact.at + minutes(late) + SignedDuration::from_secs(random.random_range(0..50));
            // Of ids that only a delivery in between connects, nobody can know that they are one appointment.
            if tidy {
                arrives = arrives.max(behind);
                behind = arrives + SignedDuration::from_secs(1);
            }
            deliveries.push((arrives, index));
            for _ in 0..random.random_range(0..3) {
                deliveries.push((arrives + minutes(random.random_range(0..60 * 20)), index));
            }
        }
        deliveries.sort_by_key(|(at, _)| *at);
        let outages = (0..random.random_range(0..3))
            .map(|_| {
                let from = first + minutes(random.random_range(0..60 * 24 * 5));
                (from, from + minutes(random.random_range(1..60 * 20)))
            })
            .collect();
        let stages = *STAGES.choose(random).expect("stages");
        let (send_inside, earlier) = (random.random_bool(0.3), random.random_bool(0.5));
        Self { zone, tz, stages, quiet, send_inside, earlier, new_ids, facts, deliveries, outages }
    }

    fn config(&self) -> ClientConfig {
        let quiet =
            self.quiet.map(|(from, to)| format!("quiet_hours = {{ from = \"{from:02}:00\", to = \"{to:02}:00\" }}"));
        let inside = if self.send_inside { "send" } else { "skip" };
        let quietly = if self.earlier { "earlier" } else { "later" };
        let reminder = |(stage, _): &(&str, Naive)| {
            format!(
                "[calendars.clinic.reminders.\"{stage}\"]\nbooked_inside = \"{inside}\"\nin_quiet_hours = \"{quietly}\"\n\
                 text.en = \"{stage} {{{{ start }}}}\"\n"
            )
        };
        let reminders = self.stages.iter().map(reminder).collect::<Vec<_>>().concat();
        let text = format!(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"UTC\"\nlanguages = [\"en\"]\n{}\n\
             [lines.main]\nline_id = \"l\"\n[calendars.clinic]\nkind = \"calcom\"\nline = \"main\"\n{reminders}",
            quiet.unwrap_or_default()
        );
        ClientConfig::parse(&text).expect("a configuration")
    }

    /// The id that an appointment began under: what is booked after a cancellation under a new id is another one.
    fn first_id<'h>(&'h self, id: &'h str) -> &'h str {
        let previous = self.facts.iter().find(|fact| fact.id == id).and_then(|fact| fact.previous.as_deref());
        previous.map_or(id, |previous| self.first_id(previous))
    }

    fn up(&self, at: Timestamp) -> bool {
        !self.outages.iter().any(|(from, to)| *from <= at && at < *to)
    }

    fn is_quiet(&self, at: Timestamp) -> bool {
        let Some((from, to)) = self.quiet else { return false };
        let hour = at.to_zoned(self.tz.clone()).hour();
        if from <= to { (from..to).contains(&hour) } else { hour >= from || hour < to }
    }

    /// What is known of an id at a moment: the latest fact about it among those delivered by then, and since when that
    /// start has been booked, at the earliest and at the latest. A fact about an id that follows it ends it.
    ///
    /// Two facts that say the same and come in the wrong order, or a cancellation between them that comes last, leave both
    /// answers open: which of them booked it is known only once the earlier has come, and by then the later may have been
    /// acted upon.
    fn known(&self, id: &str, at: Timestamp) -> Option<Known> {
        let delivered: BTreeSet<usize> =
            self.deliveries.iter().filter(|(arrives, _)| *arrives <= at).map(|(_, index)| *index).collect();
        // Facts come in the order of their times, so a set of indexes is in that order too.
        let about = delivered
            .iter()
            .map(|index| &self.facts[*index])
            .filter(|fact| fact.id == id || fact.previous.as_deref() == Some(id));
        let first_came = |index: usize| self.deliveries.iter().find(|(_, it)| *it == index).map(|(at, _)| *at);
        let in_order = (0..self.facts.len()).is_sorted_by_key(first_came);
        let mut now: Option<Known> = None;
        for fact in about {
            now = fact.start.filter(|_| fact.id == id).map(|start| match now {
                Some(Known { start: before, since, .. }) if before == start => {
                    Known { start, seats: fact.seats, since: (since.0, if in_order { since.1 } else { fact.at }) }
                }
                _ => Known { start, seats: fact.seats, since: (fact.at, fact.at) },
            });
        }
        // A cancellation that comes after the booking that follows it is old news: nobody ever heard that it was off.
        let about_it = |fact: &&Fact| fact.id == id && now.is_some_and(|now| fact.start == Some(now.start));
        let first = delivered.iter().map(|index| &self.facts[*index]).find(about_it).map(|fact| fact.at);
        match (&mut now, first) {
            (Some(known), Some(first)) if !in_order => known.since.0 = first,
            _ => {}
        }
        now
    }

    /// When a stage is due for a start that has been booked since then: from when until when, by looking at every minute
    /// instead of computing. None: never, or left out.
    fn naive_at(&self, stage: Naive, start: Timestamp, since: Timestamp) -> Option<Timestamp> {
        let zone = &self.tz;
        let local = start.to_zoned(zone.clone()).datetime();
        let on_the_wall = |date: Date, hour: i8, minute: i8| {
            date.at(hour, minute, 0, 0).to_zoned(zone.clone()).expect("a time").timestamp()
        };
        let mut at = match stage {
            Naive::Hours(hours) => start - SignedDuration::from_hours(hours),
            Naive::DayBefore(None) => on_the_wall(local.date().yesterday().ok()?, local.hour(), local.minute()),
            Naive::DayBefore(Some((hour, minute))) => on_the_wall(local.date().yesterday().ok()?, hour, minute),
            Naive::SameDay(hour, minute) => on_the_wall(local.date(), hour, minute),
        };
        if at >= start {
            return None;
        }
        if at < since {
            if !self.send_inside {
                return None;
            }
            at = since;
        }
        if !self.is_quiet(at) {
            return Some(at);
        }
        let mut end = at;
        while self.is_quiet(end) {
            // To the next whole minute, then minute by minute.
            end = Timestamp::from_second(end.as_second().div_euclid(60) * 60 + 60).expect("a time");
        }
        let mut begin = Timestamp::from_second(at.as_second().div_euclid(60) * 60).expect("a time");
        while self.is_quiet(begin - minutes(1)) {
            begin -= minutes(1);
        }
        let later = Some(end).filter(|end| *end < start);
        let earlier = Some(begin - minutes(30)).filter(|begin| *begin >= since);
        if self.earlier { earlier.or(later) } else { later.or(earlier) }
    }

    /// All stages for a start that has been booked since then: until the start, or until a stage is due that comes at the
    /// same time or later and is nearer to it.
    fn naive_slots(&self, start: Timestamp, since: Timestamp) -> Result<Vec<NaiveSlot>, String> {
        let at: Vec<_> = self.stages.iter().map(|(_, stage)| self.naive_at(*stage, start, since)).collect();
        let slot = |(index, (written, _)): (usize, &(&str, Naive))| {
            let later = |mine| {
                let others = at.iter().enumerate().filter_map(|(other, at)| Some((other, (*at)?)));
                let behind = others.filter(move |(other, at)| *at > mine || (*at == mine && *other > index));
                behind.map(|(_, at)| at).min().unwrap_or(start).min(start)
            };
            let name = written.parse::<shared::client_config::Stage>()?.name();
            Ok((name, at[index].map(|mine| (mine, later(mine)))))
        };
        self.stages.iter().enumerate().map(slot).collect()
    }
}

/// A stage's name, and from when until when it may go out.
type NaiveSlot = (String, Option<(Timestamp, Timestamp)>);

/// A date near a clock change of the years 2024 to 2030, or any date of them where clocks never change.
fn near_a_clock_change(random: &mut StdRng, zone: &TimeZone) -> Date {
    let from: Timestamp = "2024-01-01T00:00:00Z".parse().expect("a time");
    let to: Timestamp = "2030-12-31T00:00:00Z".parse().expect("a time");
    let changes: Vec<_> = zone.following(from).map(|change| change.timestamp()).take_while(|at| *at < to).collect();
    let at = match changes.choose(random) {
        Some(at) if random.random_bool(0.8) => *at,
        _ => from + SignedDuration::from_hours(24 * random.random_range(0..2500)),
    };
    at.to_zoned(zone.clone()).date()
}

/// Something that went out.
#[derive(Debug)]
struct Sent {
    at: Timestamp,
    /// When its row was opened; earlier than it went out if the line asked for patience.
    opened_at: Timestamp,
    id: String,
    stage: String,
    start: Timestamp,
    phone: String,
}

/// A reminder whose row is open and which is not out yet.
struct Open {
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

/// The world that a history is lived through in.
struct World<'h> {
    history: &'h History,
    config: ClientConfig,
    headers: BTreeMap<String, Appointment>,
    keys: BTreeSet<Key>,
    open: Vec<Open>,
    sent: Vec<Sent>,
    /// Opened and never out, for a reason that is nobody's fault: still waiting when it stopped being useful or true.
    given_up: Vec<Sent>,
}

impl World<'_> {
    fn live(history: &History, random: &mut StdRng) -> Result<Vec<Sent>, String> {
        let mut world = World {
            history,
            config: history.config(),
            headers: BTreeMap::new(),
            keys: BTreeSet::new(),
            open: Vec::new(),
            sent: Vec::new(),
            given_up: Vec::new(),
        };
        let end = history.facts.iter().filter_map(|fact| fact.start).max().unwrap_or(history.facts[0].at) + minutes(60);
        let last = history.deliveries.last().map_or(end, |(at, _)| *at);
        let mut deliveries = history.deliveries.iter().peekable();
        let mut now = history.facts[0].at;
        // The minute's schedule, at the minutes at which anything can happen.
        while now < end.max(last) + minutes(1) {
            while let Some((at, index)) = deliveries.next_if(|(at, _)| *at <= now) {
                world.deliver(*index, *at);
            }
            if history.up(now) {
                world.sweep(now, random)?;
            }
            let due = world.headers.values().filter_map(|header| header.due_at).min();
            let retry = world.open.iter().map(|open| open.retry_at).min();
            let restored = history.outages.iter().map(|(_, to)| *to).filter(|to| *to > now).min();
            let next = [due, retry, restored, deliveries.peek().map(|(at, _)| *at)].into_iter().flatten().min();
            let Some(next) = next else { break };
            // A sweep begins on the minute.
            let minute = |at: Timestamp| Timestamp::from_second(at.as_second().div_euclid(60) * 60).expect("a time");
            now = minute(next + SignedDuration::from_secs(59)).max(minute(now) + minutes(1));
        }
        let waiting = std::mem::take(&mut world.open);
        world.given_up.extend(waiting.iter().map(|open| open.sent(now)));
        world.judge(end)?;
        Ok(world.sent)
    }

    fn deliver(&mut self, index: usize, now: Timestamp) {
        let fact = &self.history.facts[index];
        let report = |id: &str, standing, details| Report {
            subject: Key::appointment("main", id),
            calendar: "clinic".into(),
            line: "main".into(),
            standing,
            details,
            as_of: fact.at,
            same_people: false,
            delivery: String::new(),
            continues: None,
        };
        if let Some(previous) = &fact.previous {
            self.learn(previous, &report(previous, Standing::Moved, None), now);
        }
        let continues = fact.previous.as_ref().and_then(|previous| self.headers.get(previous)).cloned().map(Box::new);
        let mut people: Vec<Attendee> = PHONES[..fact.seats].iter().map(|phone| attendee(phone)).collect();
        if fact.turned {
            people.reverse();
        }
        let details = fact.start.map(|start| Details {
            start,
            zone: self.history.zone.to_owned(),
            attendees: people,
            title: None,
            place: None,
        });
        let standing = if fact.start.is_some() { Standing::Booked } else { Standing::Cancelled };
        let report = Report { continues, ..report(&fact.id, standing, details) };
        self.learn(&fact.id, &report, now);
    }

    fn learn(&mut self, id: &str, report: &Report, now: Timestamp) {
        if let Learned::News(news) = Appointment::learn(self.headers.get(id), report, now) {
            self.headers.insert(id.to_owned(), planned(&self.config, *news, now));
        }
    }

    fn sweep(&mut self, now: Timestamp, random: &mut StdRng) -> Result<(), String> {
        let calendar = self.config.calendars["clinic"].clone();
        let ids: Vec<String> = self
            .headers
            .iter()
            .filter(|(_, header)| header.due_at.is_some_and(|due| due <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            for round in 0.. {
                let header = self.headers[&id].clone();
                let plan = plan(&self.config, &calendar, &header, now);
                let Some(reminder) = plan.due.first() else {
                    let after = planned(&self.config, header.clone(), now);
                    if after.due_at.is_some_and(|due| due <= now) {
                        return Err(format!("{id} stays due at {:?} without anything to do", after.due_at));
                    }
                    self.headers.insert(id.clone(), after);
                    break;
                };
                if round > 20 {
                    return Err(format!("{id} is never done"));
                }
                let news = news(&self.config, &calendar, &header, reminder);
                if !self.keys.insert(news.key.clone()) {
                    return Err(format!("{} is used twice", news.key));
                }
                let open = Open {
                    id: id.clone(),
                    stage: reminder.stage.name(),
                    start: header.start,
                    instance: news.instance.clone().unwrap_or_default(),
                    generation: header.generation,
                    phone: news.to.clone().ok_or("nobody is told")?,
                    until: reminder.until,
                    opened_at: now,
                    retry_at: now + minutes(random.random_range(1..120)),
                };
                self.headers
                    .insert(id.clone(), with_mark(&self.config, &header, &plan, reminder, Outcome::Opened, now));
                if random.random_bool(0.1) { self.open.push(open) } else { self.send(&open, now) }
            }
        }
        let (due, later) = std::mem::take(&mut self.open).into_iter().partition(|open| open.retry_at <= now);
        self.open = later;
        for open in due {
            let header = &self.headers[&open.id];
            let true_still = header.generation == open.generation || header.still_holds(&open.instance, &open.phone);
            if !true_still || now >= open.until {
                let sent = open.sent(now);
                self.given_up.push(sent);
            } else if self.history.is_quiet(now) {
                self.open.push(Open { retry_at: now + minutes(1), ..open });
            } else {
                self.send(&open, now);
            }
        }
        Ok(())
    }

    fn send(&mut self, open: &Open, now: Timestamp) {
        let sent = open.sent(now);
        self.sent.push(sent);
    }

    /// Holds what went out against what should have.
    fn judge(&self, end: Timestamp) -> Result<(), String> {
        let mut told = BTreeSet::new();
        for sent in &self.sent {
            let known = self.history.known(&sent.id, sent.at);
            let holds = |known: Known| known.start == sent.start && PHONES[..known.seats].contains(&&*sent.phone);
            if !known.is_some_and(holds) {
                return Err(format!("{sent:?} was untrue: known was {known:?}"));
            }
            if sent.at >= sent.start {
                return Err(format!("{sent:?} came after the start"));
            }
            if !self.is_in_its_slot(sent)? {
                return Err(format!("{sent:?} came at the wrong time"));
            }
            if self.history.is_quiet(sent.at) {
                return Err(format!("{sent:?} came in quiet hours"));
            }
            if !told.insert((self.history.first_id(&sent.id), &sent.stage, sent.start, &sent.phone)) {
                return Err(format!("{sent:?} was told twice"));
            }
        }
        self.none_is_missing(end)
    }

    /// Whether something went out in its slot, by what was known when its row was opened.
    fn is_in_its_slot(&self, sent: &Sent) -> Result<bool, String> {
        let Some(known) = self.history.known(&sent.id, sent.opened_at) else { return Ok(false) };
        for since in [known.since.0, known.since.1] {
            for (name, slot) in self.history.naive_slots(known.start, since)? {
                let holds = |(at, until)| at <= sent.opened_at && sent.at < until;
                if name == sent.stage && slot.is_some_and(holds) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn none_is_missing(&self, end: Timestamp) -> Result<(), String> {
        let history = self.history;
        let ids: BTreeSet<&str> = history.facts.iter().map(|fact| &*fact.id).collect();
        let mut moments: Vec<Timestamp> = history.deliveries.iter().map(|(at, _)| *at).collect();
        moments.push(end);
        for id in ids {
            for pair in moments.windows(2) {
                let (from, to) = (pair[0], pair[1]);
                let Some(Known { start, seats, since }) = history.known(id, from) else { continue };
                let slots = history.naive_slots(start, since.0)?;
                if slots != history.naive_slots(start, since.1)? {
                    continue;
                }
                for (name, slot) in slots {
                    let Some((at, until)) = slot else { continue };
                    if !self.could_go_out(at.max(from), until.min(to)) {
                        continue;
                    }
                    for phone in &PHONES[..seats] {
                        let same = |sent: &Sent| history.first_id(&sent.id) == history.first_id(id);
                        let is_it = |sent: &Sent| {
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

    /// Whether there is a minute in between at which a sweep could have sent something.
    fn could_go_out(&self, from: Timestamp, to: Timestamp) -> bool {
        let mut minute = Timestamp::from_second((from.as_second() + 59).div_euclid(60) * 60).expect("a time");
        while minute < to {
            if self.history.up(minute) && !self.history.is_quiet(minute) {
                return true;
            }
            minute += minutes(1);
        }
        false
    }
}

impl Open {
    fn sent(&self, at: Timestamp) -> Sent {
        let (id, stage, phone) = (self.id.clone(), self.stage.clone(), self.phone.expose().to_owned());
        Sent { at, opened_at: self.opened_at, id, stage, start: self.start, phone }
    }
}

fn attendee(phone: &str) -> Attendee {
    Attendee { phone: Phone::from_e164(phone).expect("a number"), name: None, locale: None, zone: None }
}

#[test]
fn nobody_is_reminded_wrongly_twice_or_not_at_all() {
    let seed = shared::cold_start::variable("HISTORIES_SEED")
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    // Past the test harness, which keeps what a test prints to itself unless it fails.
    let say = |what: String| writeln!(std::io::stderr(), "{what}").expect("standard error");
    say(format!("histories: seed {seed} (HISTORIES_SEED={seed} lives through the same ones again)"));
    let (mut sent, mut moved) = (0, 0);
    for number in 0..HISTORIES {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        let history = History::of(&mut random);
        match World::live(&history, &mut random) {
            Ok(reminders) => sent += reminders.len(),
            Err(trouble) => {
                let facts: Vec<String> = history
                    .facts
                    .iter()
                    .map(|fact| {
                        format!(
                            "{} {} {:?} from {:?}, {} seats",
                            fact.at, fact.id, fact.start, fact.previous, fact.seats
                        )
                    })
                    .collect();
                panic!(
                    "history {number} of seed {seed}: {trouble}\nzone {}, quiet {:?}, send inside {}, earlier {}, new ids {}\n\
                     stages {:?}\nfacts {facts:#?}\ndeliveries {:#?}\noutages {:#?}",
                    history.zone,
                    history.quiet,
                    history.send_inside,
                    history.earlier,
                    history.new_ids,
                    history.stages.iter().map(|(stage, _)| stage).collect::<Vec<_>>(),
                    history.deliveries,
                    history.outages,
                );
            }
        }
        moved += usize::from(history.facts.len() > 1);
    }
    // A world in which nothing happens would pass as well.
    assert!(sent > 5_000 && moved > 5_000, "{sent} reminders in histories of which {moved} changed");
    say(format!("histories: {HISTORIES} lived through, {moved} of them with changes, {sent} reminders sent"));
}
