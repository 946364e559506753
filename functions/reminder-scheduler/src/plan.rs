//! Which reminder of an appointment is due when. A pure function of the configuration, the
//! appointment header and the current time.
//!
//! Main types: [`ReminderPlan`], [`DueReminder`].
//!
//! Each seat has one slot for each stage. A slot begins at the stage's time. It ends when the next
//! stage is due, when the appointment starts, or when the reminder is no longer useful, whichever
//! comes first. So an outage across two stages costs the older reminder and never both, and a late
//! reminder is true when it is sent. Each slot gets one outcome per start and seat, stored as a
//! [`StageOutcome`].

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tellonce_core::{
    appointment::{Appointment, AppointmentStatus, Attendee, AttendeeEntry, ReminderOutcome, StageOutcome},
    client_config::{
        CalendarConfig, ClientConfig, LateBookingRule, Precedence, QuietHoursRule, ReminderRule, ReminderStage,
    },
    ledger::{Content, IdempotencyKey, MessageContext, OutboundMessage},
    wording::{self, TemplateValues},
};

/// How long before quiet hours a reminder is sent that moves ahead of them. Long enough to send all
/// reminders of an evening at a line's rate, even if the line is down for some minutes.
const QUIET_HOURS_MARGIN: SignedDuration = SignedDuration::from_mins(30);
/// When to check an appointment again whose calendar is not in the configuration: it may return.
const MISSING_CALENDAR_RECHECK: SignedDuration = SignedDuration::from_hours(1);

/// A reminder that may be sent now.
#[derive(Debug, Clone)]
pub struct DueReminder<'a> {
    /// Its stage.
    pub stage: &'a ReminderStage,
    /// Its content and its rules.
    pub rule: &'a ReminderRule,
    /// The attendee's seat number.
    pub attendee_index: usize,
    /// When it became due.
    pub due_since: Timestamp,
    /// Until when it is useful.
    pub useful_until: Timestamp,
}

/// The reminders of an appointment at one moment.
#[derive(Debug, Clone)]
pub struct ReminderPlan<'a> {
    /// The reminders that may be sent now, the longest due first.
    pub due: Vec<DueReminder<'a>>,
    /// The slots that ended without a send.
    pub unsent: Vec<StageOutcome>,
    /// When to check the appointment next after that, and the priority of what is due then.
    pub next_check: Option<(Timestamp, u8)>,
}

/// A stage's slot for one seat.
enum ReminderSlot {
    /// The reminder may be sent from `at` until `until`.
    Open { at: Timestamp, until: Timestamp },
    /// The appointment was booked after the stage's time.
    Skipped,
    /// Quiet hours leave no time, or a stage nearer to the start falls on the same moment.
    NoTime,
}

/// Plans the reminders of an appointment at `now`.
pub fn plan_reminders<'a>(
    config: &ClientConfig,
    calendar: &'a CalendarConfig,
    appointment: &Appointment,
    now: Timestamp,
) -> ReminderPlan<'a> {
    let mut plan = ReminderPlan { due: Vec::new(), unsent: Vec::new(), next_check: None };
    if appointment.status != AppointmentStatus::Booked {
        return plan;
    }
    let Some(zone) = config.zone_or_default(Some(&appointment.zone)) else { return plan };
    let mut schedule_check = |at: Timestamp, rule: &ReminderRule| {
        let check = (at, rule.priority());
        plan.next_check = Some(plan.next_check.map_or(check, |next| if at < next.0 { check } else { next }));
    };
    for (index, seat) in appointment.attendees.iter().enumerate().filter(|(_, seat)| seat.attending) {
        for (stage, rule, slot) in compute_slots(config, calendar, appointment, seat, &zone) {
            let with_outcome =
                |outcome| StageOutcome { stage: stage.name(), start: appointment.start, attendee: index, outcome };
            if has_outcome(appointment, stage, index) {
                continue;
            }
            match slot {
                ReminderSlot::Skipped => plan.unsent.push(with_outcome(ReminderOutcome::Skipped)),
                ReminderSlot::NoTime => plan.unsent.push(with_outcome(ReminderOutcome::NoTime)),
                ReminderSlot::Open { until, .. } if until <= now => {
                    plan.unsent.push(with_outcome(ReminderOutcome::Missed));
                }
                ReminderSlot::Open { at, .. } if now < at => schedule_check(at, rule),
                ReminderSlot::Open { at, until } => {
                    match quiet_hours_end(config, appointment, seat, rule, now) {
                        // The reminder is late and therefore falls into quiet hours.
                        Some(end) => schedule_check(end.min(until), rule),
                        None => plan.due.push(DueReminder {
                            stage,
                            rule,
                            attendee_index: index,
                            due_since: at,
                            useful_until: until,
                        }),
                    }
                }
            }
        }
    }
    plan.due.sort_by_key(|reminder| (reminder.due_since, reminder.attendee_index));
    plan
}

/// The appointment with the outcomes of ended slots, and with the time of its next check.
#[must_use]
pub fn with_schedule(config: &ClientConfig, mut appointment: Appointment, now: Timestamp) -> Appointment {
    let Some(calendar) = config.calendars.get(&appointment.calendar) else {
        let recheck = now.checked_add(MISSING_CALENDAR_RECHECK).ok();
        return Appointment { due_at: recheck.filter(|recheck| *recheck < appointment.start), ..appointment };
    };
    let plan = plan_reminders(config, calendar, &appointment, now);
    let first = plan.due.first().map(|reminder| (reminder.due_since, reminder.rule.priority()));
    let next = first.or(plan.next_check);
    appointment.stage_outcomes.extend(plan.unsent);
    appointment.due_at = next.map(|(at, _)| at);
    appointment.priority = next.map_or(0, |(_, priority)| priority);
    // The calendar's line may have changed, and the header must be in that line's index.
    appointment.line.clone_from(&calendar.line);
    appointment
}

/// The slots of one seat, ordered by time.
fn compute_slots<'a>(
    config: &ClientConfig,
    calendar: &'a CalendarConfig,
    appointment: &Appointment,
    seat: &AttendeeEntry,
    zone: &TimeZone,
) -> Vec<(&'a ReminderStage, &'a ReminderRule, ReminderSlot)> {
    let mut slots = Vec::with_capacity(calendar.reminders.len());
    // Stages are ordered from the earliest. Of two at the same time, the one nearer to the start
    // comes last and counts.
    for (stage, rule) in &calendar.reminders {
        let Some(at) = stage.due_at(appointment.start, zone) else { continue };
        let slot = if at < appointment.booked_at && rule.booked_inside == LateBookingRule::Skip {
            ReminderSlot::Skipped
        } else {
            match move_out_of_quiet_hours(config, appointment, seat, rule, at.max(appointment.booked_at)) {
                Some(at) => {
                    let until = rule.useful_for.and_then(|span| at.checked_add(span.0).ok());
                    ReminderSlot::Open { at, until: until.unwrap_or(Timestamp::MAX).min(appointment.start) }
                }
                None => ReminderSlot::NoTime,
            }
        };
        slots.push((stage, rule, slot));
    }
    slots.sort_by_key(|(_, _, slot)| match slot {
        ReminderSlot::Open { at, .. } => *at,
        ReminderSlot::Skipped | ReminderSlot::NoTime => Timestamp::MIN,
    });
    let mut next_at = appointment.start;
    for (_, _, slot) in slots.iter_mut().rev() {
        if let ReminderSlot::Open { at, until } = slot {
            *until = (*until).min(next_at);
            next_at = *at;
            if until <= at {
                *slot = ReminderSlot::NoTime;
            }
        }
    }
    slots
}

/// The time of a reminder, moved out of the attendee's quiet hours. `None` if they leave no time.
fn move_out_of_quiet_hours(
    config: &ClientConfig,
    appointment: &Appointment,
    seat: &AttendeeEntry,
    rule: &ReminderRule,
    at: Timestamp,
) -> Option<Timestamp> {
    let Some(end) = quiet_hours_end(config, appointment, seat, rule, at) else { return Some(at) };
    let later = Some(end).filter(|end| *end < appointment.start);
    let begin = config
        .quiet_hours_start_in_zone(Some(attendee_zone(seat, appointment)), at)
        .and_then(|begin| begin.checked_sub(QUIET_HOURS_MARGIN).ok());
    let earlier = begin.filter(|begin| *begin >= appointment.booked_at);
    match rule.quiet_hours {
        QuietHoursRule::Before => earlier.or(later),
        QuietHoursRule::Wait | QuietHoursRule::Ignore => later.or(earlier),
    }
}

/// When the quiet hours around a moment end for this attendee. `None` if the moment is outside
/// quiet hours, or if the rule ignores them.
fn quiet_hours_end(
    config: &ClientConfig,
    appointment: &Appointment,
    seat: &AttendeeEntry,
    rule: &ReminderRule,
    at: Timestamp,
) -> Option<Timestamp> {
    match rule.quiet_hours {
        QuietHoursRule::Ignore => None,
        QuietHoursRule::Wait | QuietHoursRule::Before => {
            config.quiet_hours_end_in_zone(Some(attendee_zone(seat, appointment)), at)
        }
    }
}

/// The zone whose quiet hours count: the attendee's if the sender reports it, else the
/// appointment's.
fn attendee_zone<'a>(seat: &'a AttendeeEntry, appointment: &'a Appointment) -> &'a str {
    seat.attendee().and_then(|attendee| attendee.zone.as_deref()).unwrap_or(&appointment.zone)
}

fn has_outcome(appointment: &Appointment, stage: &ReminderStage, seat: usize) -> bool {
    let name = stage.name();
    appointment
        .stage_outcomes
        .iter()
        .any(|outcome| outcome.stage == name && outcome.start == appointment.start && outcome.attendee == seat)
}

/// The appointment after one reminder of its plan got an outcome, with the outcomes of ended slots.
#[must_use]
pub fn with_stage_outcome(
    config: &ClientConfig,
    appointment: &Appointment,
    plan: &ReminderPlan<'_>,
    reminder: &DueReminder<'_>,
    outcome: ReminderOutcome,
    now: Timestamp,
) -> Appointment {
    let mut after = appointment.clone();
    after.stage_outcomes.extend(plan.unsent.iter().cloned());
    let stage = reminder.stage.name();
    after.stage_outcomes.push(StageOutcome {
        stage,
        start: appointment.start,
        attendee: reminder.attendee_index,
        outcome,
    });
    with_schedule(config, after, now).next_version(now)
}

/// The outbound message of a reminder, with its content.
pub fn build_reminder_message(
    config: &ClientConfig,
    calendar: &CalendarConfig,
    appointment: &Appointment,
    reminder: &DueReminder<'_>,
) -> OutboundMessage {
    let stage = reminder.stage.name();
    let instance = Appointment::reminder_instance(appointment.start, reminder.attendee_index);
    let key = IdempotencyKey::for_reminder(&appointment.subject, &stage);
    let is_opened =
        |stage_outcome: &StageOutcome| stage_outcome.stage == stage && stage_outcome.outcome == ReminderOutcome::Opened;
    let seat = appointment.attendees.get(reminder.attendee_index);
    let attendee = seat.and_then(AttendeeEntry::attendee);
    let content = attendee.map_or_else(
        || Content::Incomplete("attendee no longer takes part in the appointment".to_owned()),
        |attendee| render_content(config, calendar, appointment, reminder.rule, attendee),
    );
    OutboundMessage {
        // The first reminder of a stage has the plain key.
        key: if appointment.stage_outcomes.iter().any(is_opened) { key.with_instance(&instance) } else { key },
        precedence: Precedence::independent(),
        instance: Some(instance),
        generation: Some(appointment.generation),
        zone: seat.map(|seat| attendee_zone(seat, appointment).to_owned()),
        text_zone: Some(appointment.zone.clone()),
        consent: None,
        released_at: None,
        occurred_at: reminder.due_since,
        line: calendar.line.clone(),
        to: attendee.map(|attendee| attendee.phone.clone()),
        content,
        useful_until: reminder.useful_until,
        priority: reminder.rule.priority(),
        ignores_quiet_hours: reminder.rule.quiet_hours == QuietHoursRule::Ignore,
        not_before: None,
        delivery: appointment.delivery.clone(),
        context: MessageContext {
            name: attendee.and_then(|attendee| attendee.name.clone()),
            locale: attendee.and_then(|attendee| attendee.locale.clone()),
            ..MessageContext::default()
        },
    }
}

/// The content for one attendee, or the reason why there is none.
fn render_content(
    config: &ClientConfig,
    calendar: &CalendarConfig,
    appointment: &Appointment,
    rule: &ReminderRule,
    attendee: &Attendee,
) -> Content {
    let language = config.language_for(attendee.locale.as_deref());
    let mut values = TemplateValues::new();
    values.set("business_name", calendar.name.as_deref().unwrap_or(&config.name));
    if let Some(zone) = config.zone_or_default(Some(&appointment.zone)) {
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
    match wording::build_message(rule.templates(), language, &values, media) {
        Ok(message) => match message.build_payload(&attendee.phone) {
            Ok(payload) => Content::Send(payload),
            Err(error) => Content::Incomplete(format!("{}: {error}", error.code())),
        },
        Err(error) => Content::Incomplete(format!("{}: {error}", error.code())),
    }
}

#[cfg(test)]
mod tests {
    use tellonce_core::{
        appointment::{AppointmentDetails, AppointmentReport, LeftOutAttendees, ReportResult},
        contact::Phone,
    };

    use super::*;

    fn parse_time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn build_config(quiet: &str, reminders: &str) -> ClientConfig {
        let text = format!(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"UTC\"\nlanguages = [\"en\"]\n{quiet}\n\
             [lines.main]\nline_id = \"l\"\n[calendars.clinic]\nkind = \"calcom\"\nline = \"main\"\n{reminders}"
        );
        ClientConfig::parse(&text).unwrap()
    }

    fn stage_toml(stage: &str, more: &str) -> String {
        format!("[calendars.clinic.reminders.\"{stage}\"]\ntext.en = \"{stage}: {{{{ start }}}}\"\n{more}\n")
    }

    /// An appointment on Tuesday, 2026-11-24, 10:30 in Jerusalem.
    fn build_appointment(booked_at: &str, phones: &[&str]) -> Appointment {
        let attendee =
            |phone: &&str| Attendee { phone: Phone::from_e164(phone).unwrap(), name: None, locale: None, zone: None };
        let report = AppointmentReport {
            subject: "appointment:88".into(),
            calendar: "clinic".into(),
            line: "main".into(),
            status: AppointmentStatus::Booked,
            details: Some(AppointmentDetails {
                start: parse_time("2026-11-24T08:30:00Z"),
                zone: "Asia/Jerusalem".into(),
                attendees: phones.iter().map(attendee).collect(),
                title: None,
                place: None,
            }),
            left_out: LeftOutAttendees::Leave,
            as_of: parse_time(booked_at),
            delivery: "clinic#1".into(),
            previous: None,
        };
        match Appointment::apply_report(None, &report, parse_time(booked_at)) {
            ReportResult::Updated(appointment) => *appointment,
            other => panic!("{other:?}"),
        }
    }

    const NOA: &str = "+972545550199";
    const ADI: &str = "+972525550101";

    /// All reminders that are sent if each check happens on time: time, key, and until when useful.
    fn simulate_reminders(config: &ClientConfig, appointment: Appointment, from: &str) -> Vec<String> {
        let calendar = &config.calendars["clinic"];
        let mut current = with_schedule(config, appointment, parse_time(from));
        let mut sent = Vec::new();
        while let Some(now) = current.due_at.map(|due| due.max(parse_time(from))) {
            let plan = plan_reminders(config, calendar, &current, now);
            current = match plan.due.first() {
                Some(reminder) => {
                    let message = build_reminder_message(config, calendar, &current, reminder);
                    sent.push(format!("{now} {} until {}", message.key, message.useful_until));
                    with_stage_outcome(config, &current, &plan, reminder, ReminderOutcome::Opened, now)
                }
                None => with_schedule(config, current, now),
            };
        }
        sent
    }

    #[test]
    fn each_attendee_gets_reminders_under_keys_without_phone_numbers() {
        let config = build_config("", &(stage_toml("24h", "") + &stage_toml("2h", "")));
        assert_eq!(
            simulate_reminders(&config, build_appointment("2026-11-20T08:00:00Z", &[NOA, ADI]), "2026-11-20T08:00:00Z"),
            [
                "2026-11-23T08:30:00Z appointment:88:24h until 2026-11-24T06:30:00Z",
                "2026-11-23T08:30:00Z appointment:88:24h-20261124T0830Z-1 until 2026-11-24T06:30:00Z",
                "2026-11-24T06:30:00Z appointment:88:2h until 2026-11-24T08:30:00Z",
                "2026-11-24T06:30:00Z appointment:88:2h-20261124T0830Z-1 until 2026-11-24T08:30:00Z",
            ]
        );
    }

    #[test]
    fn when_quiet_hours_move_two_stages_to_one_time_the_nearer_stage_is_sent() {
        // Quiet until 09:00 in Jerusalem. Three hours before is 07:30, two hours before is 08:30.
        let quiet = "quiet_hours = { from = \"21:00\", to = \"09:00\" }";
        let config = build_config(quiet, &(stage_toml("3h", "") + &stage_toml("2h", "")));
        assert_eq!(
            simulate_reminders(&config, build_appointment("2026-11-20T08:00:00Z", &[NOA]), "2026-11-20T08:00:00Z"),
            ["2026-11-24T07:00:00Z appointment:88:2h until 2026-11-24T08:30:00Z"]
        );
    }

    #[test]
    fn a_reminder_moves_before_quiet_hours_by_rule_or_when_no_time_is_left_after_them() {
        let quiet = "quiet_hours = { from = \"21:00\", to = \"09:00\" }";
        let until_noon = "quiet_hours = { from = \"21:00\", to = \"12:00\" }";
        let earlier = ["2026-11-23T18:30:00Z appointment:88:2h until 2026-11-24T08:30:00Z"];
        for config in [
            build_config(quiet, &stage_toml("2h", "quiet_hours = \"before\"")),
            build_config(until_noon, &stage_toml("2h", "")),
        ] {
            assert_eq!(
                simulate_reminders(&config, build_appointment("2026-11-20T08:00:00Z", &[NOA]), "2026-11-20T08:00:00Z"),
                earlier
            );
        }
        // An appointment that is booked in that night has no evening before.
        let config = build_config(until_noon, &stage_toml("2h", ""));
        let booked = build_appointment("2026-11-23T20:00:00Z", &[NOA]);
        assert_eq!(simulate_reminders(&config, booked.clone(), "2026-11-23T20:00:00Z"), Vec::<String>::new());
        assert_eq!(
            with_schedule(&config, booked, parse_time("2026-11-23T20:00:00Z")).stage_outcomes[0].outcome,
            ReminderOutcome::NoTime
        );
    }

    #[test]
    fn a_stage_that_had_passed_at_booking_is_skipped_or_sent_at_once_by_rule() {
        let late = build_appointment("2026-11-23T20:00:00Z", &[NOA]);
        let skip = build_config("", &stage_toml("24h", ""));
        assert_eq!(simulate_reminders(&skip, late.clone(), "2026-11-23T20:00:05Z"), Vec::<String>::new());
        let send = build_config("", &stage_toml("24h", "booked_inside = \"send\""));
        assert_eq!(
            simulate_reminders(&send, late, "2026-11-23T20:00:05Z"),
            ["2026-11-23T20:00:05Z appointment:88:24h until 2026-11-24T08:30:00Z"]
        );
    }

    #[test]
    fn a_reminder_that_comes_too_late_to_be_useful_is_missed() {
        let config = build_config("", &stage_toml("24h", "useful_for = \"3h\""));
        let booked = with_schedule(
            &config,
            build_appointment("2026-11-20T08:00:00Z", &[NOA]),
            parse_time("2026-11-20T08:00:00Z"),
        );
        let calendar = &config.calendars["clinic"];
        assert_eq!(plan_reminders(&config, calendar, &booked, parse_time("2026-11-23T11:29:00Z")).due.len(), 1);
        let late = plan_reminders(&config, calendar, &booked, parse_time("2026-11-23T11:30:00Z"));
        assert_eq!((late.due.len(), late.unsent[0].outcome, late.next_check), (0, ReminderOutcome::Missed, None));
    }

    #[test]
    fn appointments_that_are_not_booked_get_no_reminder() {
        let config = build_config("", &stage_toml("24h", ""));
        for status in [AppointmentStatus::Unconfirmed, AppointmentStatus::Cancelled, AppointmentStatus::Moved] {
            let appointment = Appointment { status, ..build_appointment("2026-11-20T08:00:00Z", &[NOA]) };
            assert_eq!(
                simulate_reminders(&config, appointment, "2026-11-20T08:00:00Z"),
                Vec::<String>::new(),
                "{status:?}"
            );
        }
    }
}
