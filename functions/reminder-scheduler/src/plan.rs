//! Which reminder of an appointment is due when. Pure: of the configuration, what is known of the appointment, and now.
//!
//! Each seat has a slot for each stage: from its time until the next stage's, the appointment's start, or the end of its
//! use, whichever comes first. So an outage that spans two stages costs the older one, never both, and whoever hears late
//! hears what is true then. A slot is dealt with once per start and seat, which its [`Mark`] remembers.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use shared::{
    appointment::{Appointment, Attendee, Mark, Outcome, Seat, Standing},
    client_config::{BookedInside, Calendar, ClientConfig, InQuietHours, Place, ReminderRule, Stage},
    ledger::{Context, Key, News, SPOKEN_ZONE, Words},
    wording::{self, Values},
};

/// How long before quiet hours a reminder goes out that is moved ahead of them: long enough for all of an evening to go out
/// at a line's pace, and for a line that is away for some minutes.
const BEFORE_QUIET: SignedDuration = SignedDuration::from_mins(30);
/// When to look again at an appointment whose calendar is not in the configuration: it may be back.
const CALENDAR_GONE: SignedDuration = SignedDuration::from_hours(1);

/// A reminder that may be sent now.
#[derive(Debug, Clone)]
pub struct Reminder<'a> {
    /// Its stage.
    pub stage: &'a Stage,
    /// What is said.
    pub rule: &'a ReminderRule,
    /// Who is told, by their seat's number.
    pub seat: usize,
    /// Since when it is due.
    pub at: Timestamp,
    /// Until when it is useful.
    pub until: Timestamp,
}

/// What is to be done about an appointment.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// What may be sent now, the longest due first.
    pub due: Vec<Reminder<'a>>,
    /// What is over without having been sent.
    pub over: Vec<Mark>,
    /// When to look again once that is done, and how useful what is due then is.
    pub next: Option<(Timestamp, u8)>,
}

/// A stage's slot for one seat.
enum Slot {
    /// From when until when.
    Open { at: Timestamp, until: Timestamp },
    /// It is left out: the appointment was booked when its time had passed.
    Skipped,
    /// There is no time for it: quiet hours leave no room, or one nearer to the start comes at the same moment.
    NoRoom,
}

/// What is to be done about an appointment now.
pub fn plan<'a>(config: &ClientConfig, calendar: &'a Calendar, appointment: &Appointment, now: Timestamp) -> Plan<'a> {
    let mut plan = Plan { due: Vec::new(), over: Vec::new(), next: None };
    if appointment.standing != Standing::Booked {
        return plan;
    }
    let Some(zone) = config.zone_or_own(Some(&appointment.zone)) else { return plan };
    let mut look_at = |at: Timestamp, rule: &ReminderRule| {
        let this = (at, rule.priority());
        plan.next = Some(plan.next.map_or(this, |next| if at < next.0 { this } else { next }));
    };
    for (number, seat) in appointment.seats.iter().enumerate().filter(|(_, seat)| seat.taken) {
        for (stage, rule, slot) in slots(config, calendar, appointment, seat, &zone) {
            let mark = |outcome| Mark { stage: stage.name(), start: appointment.start, seat: number, outcome };
            if is_marked(appointment, stage, number) {
                continue;
            }
            match slot {
                Slot::Skipped => plan.over.push(mark(Outcome::Skipped)),
                Slot::NoRoom => plan.over.push(mark(Outcome::NoRoom)),
                Slot::Open { until, .. } if until <= now => plan.over.push(mark(Outcome::Missed)),
                Slot::Open { at, .. } if now < at => look_at(at, rule),
                Slot::Open { at, until } => {
                    match quiet_until(config, appointment, seat, rule, now) {
                        // It is late, and comes into quiet hours by that.
                        Some(end) => look_at(end.min(until), rule),
                        None => plan.due.push(Reminder { stage, rule, seat: number, at, until }),
                    }
                }
            }
        }
    }
    plan.due.sort_by_key(|reminder| (reminder.at, reminder.seat));
    plan
}

/// An appointment with what is over marked, and with the time when the clock must look at it next.
#[must_use]
pub fn planned(config: &ClientConfig, mut appointment: Appointment, now: Timestamp) -> Appointment {
    let Some(calendar) = config.calendars.get(&appointment.calendar) else {
        let again = now.checked_add(CALENDAR_GONE).ok();
        return Appointment { due_at: again.filter(|again| *again < appointment.start), ..appointment };
    };
    let plan = plan(config, calendar, &appointment, now);
    let first = plan.due.first().map(|reminder| (reminder.at, reminder.rule.priority()));
    let next = first.or(plan.next);
    appointment.marks.extend(plan.over);
    appointment.due_at = next.map(|(at, _)| at);
    appointment.priority = next.map_or(0, |(_, priority)| priority);
    // The line that speaks for the calendar by now, whose index it has to be found in.
    appointment.line.clone_from(&calendar.line);
    appointment
}

/// The slots of one seat, by their times.
fn slots<'a>(
    config: &ClientConfig,
    calendar: &'a Calendar,
    appointment: &Appointment,
    seat: &Seat,
    zone: &TimeZone,
) -> Vec<(&'a Stage, &'a ReminderRule, Slot)> {
    let mut slots = Vec::with_capacity(calendar.reminders.len());
    // The one furthest ahead first, so that of two at the same time the one nearer to the start comes last and counts.
    for (stage, rule) in &calendar.reminders {
        let Some(at) = stage.at(appointment.start, zone) else { continue };
        let slot = if at < appointment.booked_at && rule.booked_inside == BookedInside::Skip {
            Slot::Skipped
        } else {
            match outside_quiet_hours(config, appointment, seat, rule, at.max(appointment.booked_at)) {
                Some(at) => {
                    let until = rule.useful_for.and_then(|span| at.checked_add(span.0).ok());
                    Slot::Open { at, until: until.unwrap_or(Timestamp::MAX).min(appointment.start) }
                }
                None => Slot::NoRoom,
            }
        };
        slots.push((stage, rule, slot));
    }
    slots.sort_by_key(|(_, _, slot)| match slot {
        Slot::Open { at, .. } => *at,
        Slot::Skipped | Slot::NoRoom => Timestamp::MIN,
    });
    let mut next_at = appointment.start;
    for (_, _, slot) in slots.iter_mut().rev() {
        if let Slot::Open { at, until } = slot {
            *until = (*until).min(next_at);
            next_at = *at;
            if until <= at {
                *slot = Slot::NoRoom;
            }
        }
    }
    slots
}

/// The time of a reminder, moved out of the quiet hours of whoever reads it; none if they leave no room for it.
fn outside_quiet_hours(
    config: &ClientConfig,
    appointment: &Appointment,
    seat: &Seat,
    rule: &ReminderRule,
    at: Timestamp,
) -> Option<Timestamp> {
    let Some(end) = quiet_until(config, appointment, seat, rule, at) else { return Some(at) };
    let later = Some(end).filter(|end| *end < appointment.start);
    let begin = config
        .quiet_since_in(Some(zone_of(seat, appointment)), at)
        .and_then(|begin| begin.checked_sub(BEFORE_QUIET).ok());
    let earlier = begin.filter(|begin| *begin >= appointment.booked_at);
    match rule.in_quiet_hours {
        InQuietHours::Earlier => earlier.or(later),
        InQuietHours::Later | InQuietHours::Send => later.or(earlier),
    }
}

/// When the quiet hours that a moment falls into end, for whoever reads this reminder; none if it falls into none, or is
/// sent all the same.
fn quiet_until(
    config: &ClientConfig,
    appointment: &Appointment,
    seat: &Seat,
    rule: &ReminderRule,
    at: Timestamp,
) -> Option<Timestamp> {
    match rule.in_quiet_hours {
        InQuietHours::Send => None,
        InQuietHours::Later | InQuietHours::Earlier => config.quiet_until_in(Some(zone_of(seat, appointment)), at),
    }
}

/// Whose quiet hours are kept: those of the reader's own clocks, if the sender says what they show.
fn zone_of<'a>(seat: &'a Seat, appointment: &'a Appointment) -> &'a str {
    seat.attendee.zone.as_deref().unwrap_or(&appointment.zone)
}

fn is_marked(appointment: &Appointment, stage: &Stage, seat: usize) -> bool {
    let name = stage.name();
    appointment.marks.iter().any(|mark| mark.stage == name && mark.start == appointment.start && mark.seat == seat)
}

/// An appointment with one reminder of its plan dealt with, and what is over besides.
#[must_use]
pub fn with_mark(
    config: &ClientConfig,
    appointment: &Appointment,
    plan: &Plan<'_>,
    reminder: &Reminder<'_>,
    outcome: Outcome,
    now: Timestamp,
) -> Appointment {
    let mut after = appointment.clone();
    after.marks.extend(plan.over.iter().cloned());
    let stage = reminder.stage.name();
    after.marks.push(Mark { stage, start: appointment.start, seat: reminder.seat, outcome });
    planned(config, after, now).written(now)
}

/// A reminder as news for the ledger, complete with its words.
pub fn news(config: &ClientConfig, calendar: &Calendar, appointment: &Appointment, reminder: &Reminder<'_>) -> News {
    let stage = reminder.stage.name();
    let instance = Appointment::instance(appointment.start, reminder.seat);
    let key = Key::reminder(&appointment.subject, &stage);
    let spoken = |mark: &Mark| mark.stage == stage && mark.outcome == Outcome::Opened;
    let seat = appointment.seats.get(reminder.seat);
    let attendee = seat.map(|seat| &seat.attendee);
    let words = attendee.map_or_else(
        || Words::NotYet("nobody sits there any more".to_owned()),
        |attendee| words(config, calendar, appointment, reminder.rule, attendee),
    );
    News {
        // The first one of a stage has the plain key.
        key: if appointment.marks.iter().any(spoken) { key.for_instance(&instance) } else { key },
        place: Place::apart(),
        instance: Some(instance),
        generation: Some(appointment.generation),
        zone: seat.map(|seat| zone_of(seat, appointment).to_owned()),
        occurred_at: reminder.at,
        line: calendar.line.clone(),
        to: attendee.map(|attendee| attendee.phone.clone()),
        words,
        useful_until: reminder.until,
        priority: reminder.rule.priority(),
        any_hour: reminder.rule.in_quiet_hours == InQuietHours::Send,
        not_before: None,
        delivery: appointment.delivery.clone(),
        context: Context {
            values: [(SPOKEN_ZONE.to_owned(), appointment.zone.clone())].into(),
            name: attendee.and_then(|attendee| attendee.name.clone()),
            locale: attendee.and_then(|attendee| attendee.locale.clone()),
            ..Context::default()
        },
    }
}

/// What one attendee is told, or why it cannot be said.
fn words(
    config: &ClientConfig,
    calendar: &Calendar,
    appointment: &Appointment,
    rule: &ReminderRule,
    attendee: &Attendee,
) -> Words {
    let language = config.language_for(attendee.locale.as_deref());
    let mut values = Values::new();
    values.set("business_name", calendar.name.as_deref().unwrap_or(&config.name));
    if let Some(zone) = config.zone_or_own(Some(&appointment.zone)) {
        values.set_start(appointment.start, &zone, language, &config.country);
    }
    if let Some(name) = &attendee.name {
        values.set_customer(name);
    }
    if let Some(title) = &appointment.title {
        values.set("title", title);
    }
    if let Some(place) = &appointment.place {
        values.set_place(place);
    }
    let media = config.lines.get(&calendar.line).map(|line| line.media).unwrap_or_default();
    match wording::message(rule.texts(), language, &values, media) {
        Ok(message) => match message.payload(&attendee.phone) {
            Ok(payload) => Words::Say(payload),
            Err(refused) => Words::NotYet(format!("{}: {refused}", refused.code())),
        },
        Err(error) => Words::NotYet(format!("{}: {error}", error.code())),
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        appointment::{Details, Learned, Report},
        contact::Phone,
    };

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn config(quiet: &str, reminders: &str) -> ClientConfig {
        let text = format!(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"UTC\"\nlanguages = [\"en\"]\n{quiet}\n\
             [lines.main]\nline_id = \"l\"\n[calendars.clinic]\nkind = \"calcom\"\nline = \"main\"\n{reminders}"
        );
        ClientConfig::parse(&text).unwrap()
    }

    fn stage(stage: &str, more: &str) -> String {
        format!("[calendars.clinic.reminders.\"{stage}\"]\ntext.en = \"{stage}: {{{{ start }}}}\"\n{more}\n")
    }

    /// Booked for Tuesday, 2026-11-24, 10:30 in Jerusalem.
    fn appointment(booked_at: &str, phones: &[&str]) -> Appointment {
        let attendee =
            |phone: &&str| Attendee { phone: Phone::from_e164(phone).unwrap(), name: None, locale: None, zone: None };
        let report = Report {
            subject: "appointment:88".into(),
            calendar: "clinic".into(),
            line: "main".into(),
            standing: Standing::Booked,
            details: Some(Details {
                start: at("2026-11-24T08:30:00Z"),
                zone: "Asia/Jerusalem".into(),
                attendees: phones.iter().map(attendee).collect(),
                title: None,
                place: None,
            }),
            same_people: false,
            as_of: at(booked_at),
            delivery: "clinic#1".into(),
            continues: None,
        };
        match Appointment::learn(None, &report, at(booked_at)) {
            Learned::News(appointment) => *appointment,
            other => panic!("{other:?}"),
        }
    }

    const NOA: &str = "+972545550199";
    const ADI: &str = "+972525550101";

    /// Everything that goes out when the clock looks at every time that it is told to: time, key, until when useful.
    fn lived(config: &ClientConfig, appointment: Appointment, from: &str) -> Vec<String> {
        let calendar = &config.calendars["clinic"];
        let mut known = planned(config, appointment, at(from));
        let mut sent = Vec::new();
        while let Some(now) = known.due_at.map(|due| due.max(at(from))) {
            let plan = plan(config, calendar, &known, now);
            known = match plan.due.first() {
                Some(reminder) => {
                    let news = news(config, calendar, &known, reminder);
                    sent.push(format!("{now} {} until {}", news.key, news.useful_until));
                    with_mark(config, &known, &plan, reminder, Outcome::Opened, now)
                }
                None => planned(config, known, now),
            };
        }
        sent
    }

    #[test]
    fn each_seat_has_its_reminders_and_a_key_without_a_number_in_it() {
        let config = config("", &(stage("24h", "") + &stage("2h", "")));
        assert_eq!(
            lived(&config, appointment("2026-11-20T08:00:00Z", &[NOA, ADI]), "2026-11-20T08:00:00Z"),
            [
                "2026-11-23T08:30:00Z appointment:88:24h until 2026-11-24T06:30:00Z",
                "2026-11-23T08:30:00Z appointment:88:24h-20261124T0830Z-1 until 2026-11-24T06:30:00Z",
                "2026-11-24T06:30:00Z appointment:88:2h until 2026-11-24T08:30:00Z",
                "2026-11-24T06:30:00Z appointment:88:2h-20261124T0830Z-1 until 2026-11-24T08:30:00Z",
            ]
        );
    }

    #[test]
    fn of_two_stages_that_quiet_hours_move_to_one_moment_the_nearer_one_is_told() {
        // In Jerusalem: quiet until nine. Three hours before is half past seven, two hours before half past eight.
        let quiet = "quiet_hours = { from = \"21:00\", to = \"09:00\" }";
        let config = config(quiet, &(stage("3h", "") + &stage("2h", "")));
        assert_eq!(
            lived(&config, appointment("2026-11-20T08:00:00Z", &[NOA]), "2026-11-20T08:00:00Z"),
            ["2026-11-24T07:00:00Z appointment:88:2h until 2026-11-24T08:30:00Z"]
        );
    }

    #[test]
    fn a_reminder_moves_ahead_of_quiet_hours_by_rule_or_when_there_is_no_time_behind_them() {
        let quiet = "quiet_hours = { from = \"21:00\", to = \"09:00\" }";
        let until_noon = "quiet_hours = { from = \"21:00\", to = \"12:00\" }";
        let earlier = ["2026-11-23T18:30:00Z appointment:88:2h until 2026-11-24T08:30:00Z"];
        for config in
            [config(quiet, &stage("2h", "in_quiet_hours = \"earlier\"")), config(until_noon, &stage("2h", ""))]
        {
            assert_eq!(lived(&config, appointment("2026-11-20T08:00:00Z", &[NOA]), "2026-11-20T08:00:00Z"), earlier);
        }
        // Booked in the night itself there is no evening before.
        let config = config(until_noon, &stage("2h", ""));
        let booked = appointment("2026-11-23T20:00:00Z", &[NOA]);
        assert_eq!(lived(&config, booked.clone(), "2026-11-23T20:00:00Z"), Vec::<String>::new());
        assert_eq!(planned(&config, booked, at("2026-11-23T20:00:00Z")).marks[0].outcome, Outcome::NoRoom);
    }

    #[test]
    fn what_is_booked_inside_a_stage_is_skipped_or_sent_at_once_by_rule() {
        let late = appointment("2026-11-23T20:00:00Z", &[NOA]);
        let skip = config("", &stage("24h", ""));
        assert_eq!(lived(&skip, late.clone(), "2026-11-23T20:00:05Z"), Vec::<String>::new());
        let send = config("", &stage("24h", "booked_inside = \"send\""));
        assert_eq!(
            lived(&send, late, "2026-11-23T20:00:05Z"),
            ["2026-11-23T20:00:05Z appointment:88:24h until 2026-11-24T08:30:00Z"]
        );
    }

    #[test]
    fn a_reminder_that_comes_too_late_to_be_useful_is_missed() {
        let config = config("", &stage("24h", "useful_for = \"3h\""));
        let booked = planned(&config, appointment("2026-11-20T08:00:00Z", &[NOA]), at("2026-11-20T08:00:00Z"));
        let calendar = &config.calendars["clinic"];
        assert_eq!(plan(&config, calendar, &booked, at("2026-11-23T11:29:00Z")).due.len(), 1);
        let late = plan(&config, calendar, &booked, at("2026-11-23T11:30:00Z"));
        assert_eq!((late.due.len(), late.over[0].outcome, late.next), (0, Outcome::Missed, None));
    }

    #[test]
    fn nobody_is_reminded_of_what_is_not_booked() {
        let config = config("", &stage("24h", ""));
        for standing in [Standing::Unconfirmed, Standing::Cancelled, Standing::Moved] {
            let appointment = Appointment { standing, ..appointment("2026-11-20T08:00:00Z", &[NOA]) };
            assert_eq!(lived(&config, appointment, "2026-11-20T08:00:00Z"), Vec::<String>::new(), "{standing:?}");
        }
    }
}
