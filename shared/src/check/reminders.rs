//! The reminders of a calendar: when each is sent, and what it says.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use super::{Findings, is_plain_name, texts};
use crate::{
    client_config::{Calendar, ClientConfig, InQuietHours, QuietHours, ReminderRule, Stage},
    wording::Topic,
};

/// The longest name of a stage that comes out unchanged in keys.
const LONGEST_NAME: usize = 24;
/// A word on the day itself that comes after this is too late for many.
const LATE_ON_THE_DAY: civil::Time = civil::time(10, 0, 0, 0);
/// Two starts by which two stages are compared, at 12:00 and 17:45 UTC.
const STARTS: [Timestamp; 2] = [Timestamp::constant(1_795_521_600, 0), Timestamp::constant(1_795_542_300, 0)];

pub(super) fn look(config: &ClientConfig, name: &str, calendar: &Calendar, findings: &mut Findings<'_>) {
    if calendar.reminders.is_empty() {
        let remedy = format!("add [calendars.{name}.reminders.\"24h\"] with its text");
        findings.warn(&["calendars", name], "nobody is reminded of this calendar's appointments", remedy);
    }
    for (stage, rule) in &calendar.reminders {
        let at = ["calendars", name, "reminders", stage.written()];
        if !is_plain_name(&stage.name(), LONGEST_NAME) {
            let what = format!("`{stage}` cannot be part of keys as it is written");
            findings.error(&at, what, "write it like \"24h\", with nothing but a number and its unit");
        }
        timing(stage, rule, &at, findings);
        quiet_hours(config, stage, rule, &at, findings);
        texts::priority(rule.priority, &at, findings);
        texts::look(config, Topic::Appointment, &at, rule.texts(), findings);
    }
    twins(config, name, calendar, findings);
}

fn timing(stage: &Stage, rule: &ReminderRule, at: &[&str], findings: &mut Findings<'_>) {
    if let Some(useful_for) = rule.useful_for {
        let path = [at, &["useful_for"]].concat();
        texts::lasts(useful_for.0, &path, findings);
        if useful_for.0 > stage.lead() {
            let what = "this is longer than the appointment is away, and a reminder ends when it begins";
            findings.warn(
                &path,
                what,
                "make it shorter, or remove it: until the next reminder, or the start, is usual",
            );
        }
    }
    let on_the_day = stage.lead() <= SignedDuration::from_hours(24);
    if let Some(time) = stage.time_of_day()
        && on_the_day
        && time > LATE_ON_THE_DAY
    {
        let time = time.strftime("%H:%M");
        findings.warn(
            at,
            format!("nobody whose appointment begins at {time} or before hears this: it would come too late"),
            "write an earlier time, a time of the day before, or a span like \"2h\"",
        );
    }
}

/// What can be said of quiet hours beforehand: they are those of the reader's own clock.
fn quiet_hours(config: &ClientConfig, stage: &Stage, rule: &ReminderRule, at: &[&str], findings: &mut Findings<'_>) {
    let path = [at, &["in_quiet_hours"]].concat();
    let Some(hours) = config.quiet_hours else {
        if rule.in_quiet_hours != InQuietHours::Later {
            findings.warn(&path, "there are no quiet hours, so this means nothing", "add quiet_hours, or remove it");
        }
        return;
    };
    let Some(time) = stage.time_of_day().filter(|time| is_quiet(hours, *time)) else { return };
    let instead = match rule.in_quiet_hours {
        InQuietHours::Send => return,
        InQuietHours::Later => format!("at {}, when they end", hours.to.0.strftime("%H:%M")),
        InQuietHours::Earlier => format!("before {}, when they begin", hours.from.0.strftime("%H:%M")),
    };
    findings.warn(
        at,
        format!("{} lies in the quiet hours: this is always sent {instead}", time.strftime("%H:%M")),
        "write the time at which it shall be sent, or in_quiet_hours = \"send\"",
    );
}

fn is_quiet(hours: QuietHours, time: civil::Time) -> bool {
    let (from, to) = (hours.from.0, hours.to.0);
    if from <= to { from <= time && time < to } else { time >= from || time < to }
}

/// Two stages that are one in keys, or on the clock.
fn twins(config: &ClientConfig, name: &str, calendar: &Calendar, findings: &mut Findings<'_>) {
    let zone = calendar.time_zone.as_deref().unwrap_or(&config.time_zone);
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let times = |stage: &Stage| STARTS.map(|start| stage.at(start, &zone));
    let stages: Vec<&Stage> = calendar.reminders.keys().collect();
    for (place, stage) in stages.iter().enumerate() {
        let at = ["calendars", name, "reminders", stage.written()];
        for other in &stages[..place] {
            if other.name() == stage.name() {
                findings.error(
                    &at,
                    format!("`{other}` and `{stage}` are one stage, `{}`: only one of them is ever sent", stage.name()),
                    "keep one of them",
                );
            } else if times(other) == times(stage) {
                let what = format!("`{other}` goes out at the same time, and of two at one time only one is sent");
                findings.error(&at, what, "keep one of them");
            }
        }
    }
}
