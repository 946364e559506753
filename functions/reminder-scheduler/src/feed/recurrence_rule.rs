//! Recurrence rules (RFC 5545, section 3.3.10): which local times a rule names.
//!
//! `calcard` iterates them, over local times without a zone, so that the time of day stays what it is whatever the clocks
//! do; only then is a zone asked what moment that is. (Its own last step leaves a time that happens twice without a
//! zone.) What it would read otherwise than it is written, or iterate for too long, is refused before: [`validate_rule`].

use std::ops::RangeInclusive;

use calcard::{
    common::{PartialDateTime, timezone::Tz},
    icalendar::{
        ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarEntry, ICalendarFrequency, ICalendarProperty,
        ICalendarRecurrenceRule,
    },
};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::ics::{IcsEventError, RuleBudget};

/// The most times of one rule that are looked at, from its start or, when nothing is counted, from the window's. More than
/// fifty years of days.
const MAX_RULE_TIMES: usize = 20_000;
/// The most times a day of one rule: every quarter of an hour. It bounds what the library holds of one year.
const MAX_TIMES_A_DAY: usize = 96;

/// The parts of a rule that are numbers, with what they may be. Zero is never a place counted from the end or the start.
const NUMERIC_PARTS: [(&str, RangeInclusive<i32>); 10] = [
    ("COUNT", 1..=i32::MAX),
    ("INTERVAL", 1..=1000),
    ("BYSECOND", 0..=59),
    ("BYMINUTE", 0..=59),
    ("BYHOUR", 0..=23),
    ("BYMONTHDAY", -31..=31),
    ("BYYEARDAY", -366..=366),
    ("BYWEEKNO", -53..=53),
    ("BYMONTH", 1..=12),
    ("BYSETPOS", -366..=366),
];

/// Looks a rule over as it is written: whether every part is known and within the standard's bounds, and whether it is a
/// rule for appointments at all.
pub(super) fn validate_rule(written: &str) -> Result<(), IcsEventError> {
    let (mut hours, mut times_an_hour) = (None, 1);
    let mut frequency = None;
    let mut ordinals = false;
    for part in written.trim().split(';').filter(|part| !part.trim().is_empty()) {
        let (name, value) = part.split_once('=').ok_or(IcsEventError::InvalidRule)?;
        let (name, value) = (name.trim().to_ascii_uppercase(), value.trim().to_ascii_uppercase());
        if let Some((_, range)) = NUMERIC_PARTS.iter().find(|(number, _)| *number == name) {
            let mut count: usize = 0;
            for number in value.split(',') {
                let number: i32 = number.trim().parse().map_err(|_| IcsEventError::InvalidRule)?;
                if !range.contains(&number) || (number == 0 && *range.start() < 0) {
                    return Err(IcsEventError::InvalidRule);
                }
                count += 1;
            }
            match name.as_str() {
                "BYHOUR" => hours = Some(count),
                "BYMINUTE" | "BYSECOND" => times_an_hour = count.saturating_mul(times_an_hour),
                _ => {}
            }
            continue;
        }
        match (name.as_str(), value.as_str()) {
            ("FREQ", "YEARLY" | "MONTHLY" | "WEEKLY" | "DAILY" | "HOURLY") => frequency = Some(value),
            ("FREQ", "MINUTELY" | "SECONDLY") => return Err(IcsEventError::TooOften),
            ("BYDAY", days) => ordinals |= days.bytes().any(|byte| byte.is_ascii_digit()),
            ("UNTIL" | "WKST", _) => {}
            _ => return Err(IcsEventError::InvalidRule),
        }
    }
    let hours = hours.unwrap_or(if frequency.as_deref() == Some("HOURLY") { 24 } else { 1 });
    match frequency.as_deref() {
        None => Err(IcsEventError::InvalidRule),
        // The standard has them for these two only, and the library would read them as "every".
        Some("WEEKLY" | "DAILY" | "HOURLY") if ordinals => Err(IcsEventError::InvalidRule),
        Some(_) if hours.saturating_mul(times_an_hour) > MAX_TIMES_A_DAY => Err(IcsEventError::TooOften),
        Some(_) => Ok(()),
    }
}

/// The local times that a rule names from its start to `bound`. Those long before `from` may be left out when nothing is
/// counted. The start is the first of them, and counted, whether the rule fits it or not.
pub(super) fn expand_rule(
    rule: &ICalendarRecurrenceRule,
    start: DateTime,
    from: DateTime,
    bound: DateTime,
    budget: &mut RuleBudget,
) -> Result<Vec<DateTime>, IcsEventError> {
    if bound < start {
        return Ok(Vec::new());
    }
    let near_start = if rule.count.is_some() { start } else { start_near_window(rule, start, from) };
    let mut times = iterate_rule(rule, near_start, bound)?;
    if times.len() > MAX_RULE_TIMES {
        return Err(IcsEventError::TooOften);
    }
    budget.count_times(times.len());
    if times.first() != Some(&start) {
        times.insert(0, start);
    }
    if let Some(count) = rule.count {
        times.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    }
    Ok(times)
}

/// A start of the same rule that is not long before `from`.
fn start_near_window(rule: &ICalendarRecurrenceRule, start: DateTime, from: DateTime) -> DateTime {
    let every = i64::from(rule.interval.unwrap_or(1));
    let hours = match rule.freq {
        ICalendarFrequency::Weekly => every * 7 * 24,
        ICalendarFrequency::Daily => every * 24,
        ICalendarFrequency::Hourly => every,
        // Some thousand at most.
        _ => return start,
    };
    // Two steps to spare: the first week, or day, of a rule may be cut off by its start.
    let steps = from.duration_since(start).as_hours() / hours - 2;
    if steps < 1 { start } else { start.checked_add(SignedDuration::from_hours(steps * hours)).unwrap_or(start) }
}

fn iterate_rule(
    rule: &ICalendarRecurrenceRule,
    start: DateTime,
    bound: DateTime,
) -> Result<Vec<DateTime>, IcsEventError> {
    let rule = ICalendarRecurrenceRule { until: Some(to_partial_date_time(bound)?), ..rule.clone() };
    let mut event = ICalendarComponent::new(ICalendarComponentType::VEvent);
    event.entries.push(ICalendarEntry::new(ICalendarProperty::Dtstart).with_value(to_partial_date_time(start)?));
    event.entries.push(ICalendarEntry::new(ICalendarProperty::Rrule).with_value(rule));
    let calendar = ICalendar { components: vec![event] };
    let expanded = calendar.expand_dates(Tz::Floating, MAX_RULE_TIMES + 1);
    if !expanded.errors.is_empty() {
        return Err(IcsEventError::InvalidRule);
    }
    let local = |seconds| Some(TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).ok()?));
    expanded.events.iter().map(|event| local(event.timestamps().0).ok_or(IcsEventError::InvalidRule)).collect()
}

/// A local time as the library takes it.
fn to_partial_date_time(local: DateTime) -> Result<PartialDateTime, IcsEventError> {
    let seconds = Offset::UTC.to_timestamp(local).map_err(|_| IcsEventError::InvalidRule)?.as_second();
    Ok(PartialDateTime::from_naive_timestamp(seconds))
}
