//! The reminders of a calendar: their times and texts.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use super::{FindingCollector, Severity, texts};
use tellonce_core::{
    client_config::{
        AppointmentTexts, CalendarConfig, CalendarKind, ClientConfig, QuietHours, QuietHoursRule, ReminderRule,
        ReminderStage, is_plain_name,
    },
    wording::{self, TemplateTopic},
};

/// The longest name of a stage that is unchanged in keys.
const MAX_STAGE_NAME_LENGTH: usize = 24;
/// A reminder on the day itself is too late for many customers after this time.
const LATE_TIME_OF_DAY: civil::Time = civil::time(10, 0, 0, 0);
/// Two stages are compared for these two starts, at 12:00 and 17:45 UTC.
const SAMPLE_STARTS: [Timestamp; 2] = [Timestamp::constant(1_795_521_600, 0), Timestamp::constant(1_795_542_300, 0)];

pub(super) fn check_reminders(
    config: &ClientConfig,
    name: &str,
    calendar: &CalendarConfig,
    findings: &mut FindingCollector<'_>,
) {
    if calendar.reminders.is_empty() {
        let remedy = format!("add [calendars.{name}.reminders.\"24h\"] with its text");
        findings.add_warning(&["calendars", name], "this calendar has no reminders, so none is ever sent", remedy);
    }
    for (stage, rule) in &calendar.reminders {
        let at = ["calendars", name, "reminders", stage.as_str()];
        if !is_plain_name(&stage.name(), MAX_STAGE_NAME_LENGTH) {
            let what = format!("`{stage}` cannot be part of a key");
            findings.add_error(&at, what, "write it like \"24h\", with nothing but a number and its unit");
        }
        check_timing(stage, rule, &at, findings);
        check_quiet_hours(config, stage, rule, &at, findings);
        texts::check_priority(rule.priority, &at, findings);
        texts::check_templates(config, TemplateTopic::Appointment, &at, rule.templates(), findings);
        check_appointment_texts(calendar, rule, &at, findings);
    }
    check_duplicates(config, name, calendar, findings);
}

fn check_timing(stage: &ReminderStage, rule: &ReminderRule, at: &[&str], findings: &mut FindingCollector<'_>) {
    if let Some(useful_for) = rule.useful_for {
        let path = [at, &["useful_for"]].concat();
        texts::check_minimum_duration(useful_for.0, &path, findings);
        if useful_for.0 > stage.lead_time() {
            let what = "this is longer than the time until the appointment, when a reminder expires";
            findings.add_warning(
                &path,
                what,
                "make it shorter, or remove it: until the next reminder, or the start, is usual",
            );
        }
    }
    let on_the_day = stage.lead_time() <= SignedDuration::from_hours(24);
    if let Some(time) = stage.time_of_day()
        && on_the_day
        && time > LATE_TIME_OF_DAY
    {
        let time = time.strftime("%H:%M");
        findings.add_warning(
            at,
            format!("no customer with an appointment at {time} or earlier gets this reminder: it would come too late"),
            "write an earlier time, a time of the day before, or a span like \"2h\"",
        );
    }
}

/// Checks what is known of quiet hours in advance. They follow the customer's own clock.
fn check_quiet_hours(
    config: &ClientConfig,
    stage: &ReminderStage,
    rule: &ReminderRule,
    at: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    let path = [at, &["quiet_hours"]].concat();
    let Some(hours) = config.quiet_hours else {
        if rule.quiet_hours != QuietHoursRule::Wait {
            findings.add_warning(
                &path,
                "there are no quiet hours, so this has no effect",
                "add quiet_hours, or remove it",
            );
        }
        return;
    };
    let Some(time) = stage.time_of_day().filter(|time| is_quiet(hours, *time)) else { return };
    let instead = match rule.quiet_hours {
        QuietHoursRule::Ignore => return,
        QuietHoursRule::Wait => format!("at {}, when they end", hours.to.0.strftime("%H:%M")),
        QuietHoursRule::Before => format!("before {}, when they begin", hours.from.0.strftime("%H:%M")),
    };
    findings.add_warning(
        at,
        format!("{} is in the quiet hours: this is always sent {instead}", time.strftime("%H:%M")),
        "write the time at which it shall be sent, or quiet_hours = \"ignore\"",
    );
}

fn is_quiet(hours: QuietHours, time: civil::Time) -> bool {
    let (from, to) = (hours.from.0, hours.to.0);
    if from <= to { from <= time && time < to } else { time >= from || time < to }
}

/// Reports texts that use a title or a place, if no appointment of the calendar has one.
fn check_appointment_texts(
    calendar: &CalendarConfig,
    rule: &ReminderRule,
    at: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    let AppointmentTexts { title, place } = calendar.kind.appointment_texts();
    let missing: Vec<&str> =
        [("title", title), ("place", place), ("place_url", place)].iter().filter(|it| !it.1).map(|it| it.0).collect();
    let remedy = match &calendar.kind {
        CalendarKind::Custom(_) => {
            "write own_texts = true and name the field in `fields`, if the client writes it and no customer; or remove it"
        }
        CalendarKind::Ics(_) => "write own_texts = true if the client writes all events of the feed; or remove it",
        _ => "remove it",
    };
    for (language, text) in rule.templates().text {
        let path = [at, &["text", language]].concat();
        let used = wording::used_variable_names(text).unwrap_or_default();
        for name in missing.iter().filter(|name| used.iter().any(|used| used == *name)) {
            let line = texts::line_of_name(text, name, &path, findings);
            let what = format!("no appointment of this calendar has a `{name}`");
            findings.add_finding(Severity::Warning, line, what, remedy.to_owned());
        }
    }
    if rule.templates().button.is_some_and(|button| missing.contains(&button.url.as_str())) {
        let what = "no appointment of this calendar has a `place_url`, so this button is never shown";
        findings.add_warning(&[at, &["button"]].concat(), what, remedy);
    }
}

/// Reports two stages with the same key or the same time.
fn check_duplicates(config: &ClientConfig, name: &str, calendar: &CalendarConfig, findings: &mut FindingCollector<'_>) {
    let zone = calendar.time_zone.as_deref().unwrap_or(&config.time_zone);
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let times = |stage: &ReminderStage| SAMPLE_STARTS.map(|start| stage.due_at(start, &zone));
    let stages: Vec<&ReminderStage> = calendar.reminders.keys().collect();
    for (place, stage) in stages.iter().enumerate() {
        let at = ["calendars", name, "reminders", stage.as_str()];
        for other in &stages[..place] {
            if other.name() == stage.name() {
                findings.add_error(
                    &at,
                    format!("`{other}` and `{stage}` are one stage, `{}`: only one of them is ever sent", stage.name()),
                    "keep one of them",
                );
            } else if times(other) == times(stage) {
                let what = format!("`{other}` is due at the same time, and only one of the two is sent");
                findings.add_error(&at, what, "keep one of them");
            }
        }
    }
}
