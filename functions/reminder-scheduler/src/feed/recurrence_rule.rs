//! Recurrence rules (RFC 5545, section 3.3.10): which local times a rule names.
//!
//! `calcard` iterates a rule over local times without a zone, so the time of day stays the same
//! when the clocks change. Afterwards `zone` turns each local time into a moment. (The library's
//! own last step leaves a time that occurs twice without a zone.) [`validate_rule`] rejects rules
//! that the library would misread or iterate for too long.

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

use super::parse_error::{FeedParseError, IcsEventError};

/// The most times of one rule that are iterated. They are counted from the rule's start or, without
/// `COUNT`, from the window's start. More than fifty years of days.
const MAX_RULE_TIMES: usize = 20_000;
/// The most times a day of one rule: every quarter of an hour. It limits the memory that the
/// library needs for one year.
const MAX_TIMES_A_DAY: usize = 96;

/// The most local times that all rules of a feed may name: a quarter of a second of work on a whole
/// processor.
const MAX_FEED_TIMES: usize = 1_000_000;
/// The most rules that may name no time up to the window's end, such as each 30th of February. The
/// library searches for one until the year 10,000, which takes some hundredths of a second.
const MAX_EMPTY_RULES: usize = 20;
/// The most local times that the rules of one `UID`, or of one zone, may name.
const MAX_UNIT_TIMES: usize = 2 * MAX_RULE_TIMES;
/// The most rules of one `UID`, or of one zone, that may name no time.
const MAX_UNIT_EMPTY_RULES: usize = 2;

/// The numeric parts of a rule, with their ranges. Zero is never a valid position.
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

/// How much work the rules of a feed have cost.
#[derive(Debug, Default)]
pub(super) struct RuleBudget {
    expanded_times: usize,
    empty_rules: usize,
    /// The same numbers before the current `UID` or zone.
    before_unit: (usize, usize),
}

impl RuleBudget {
    /// Begins the next `UID` or zone.
    pub(super) fn start_unit(&mut self) {
        self.before_unit = (self.expanded_times, self.empty_rules);
    }

    fn count_times(&mut self, times: usize) -> Result<(), IcsEventError> {
        self.expanded_times += times;
        self.empty_rules += usize::from(times == 0);
        let (times_before, empty_before) = self.before_unit;
        let is_over = self.expanded_times - times_before > MAX_UNIT_TIMES
            || self.empty_rules - empty_before > MAX_UNIT_EMPTY_RULES;
        if is_over { Err(IcsEventError::OverBudget) } else { Ok(()) }
    }

    pub(super) fn check_limits(&self) -> Result<(), FeedParseError> {
        if self.expanded_times > MAX_FEED_TIMES || self.empty_rules > MAX_EMPTY_RULES {
            Err(FeedParseError::RulesTooExpensive)
        } else {
            Ok(())
        }
    }
}

/// Validates the text of a rule: every part is known and within the standard's ranges, and the rule
/// does not recur too often for appointments.
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
        // The standard allows ordinals in MONTHLY and YEARLY only. Elsewhere the library would read
        // them as "every".
        Some("WEEKLY" | "DAILY" | "HOURLY") if ordinals => Err(IcsEventError::InvalidRule),
        Some(_) if hours.saturating_mul(times_an_hour) > MAX_TIMES_A_DAY => Err(IcsEventError::TooOften),
        Some(_) => Ok(()),
    }
}

/// The local times that a rule names from its start to `bound`. Without `COUNT`, times long before
/// `from` may be missing. The start is always the first time and counts, even if it does not match
/// the rule.
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
    if bound < near_start {
        // The rule ended long before the window.
        return Ok(vec![start]);
    }
    let mut times = iterate_rule(rule, near_start, bound)?;
    if times.len() > MAX_RULE_TIMES {
        return Err(IcsEventError::TooOften);
    }
    budget.count_times(times.len())?;
    if times.first() != Some(&start) {
        times.insert(0, start);
    }
    if let Some(count) = rule.count {
        times.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    }
    Ok(times)
}

/// A start of the same rule that is shortly before `from`.
fn start_near_window(rule: &ICalendarRecurrenceRule, start: DateTime, from: DateTime) -> DateTime {
    let interval = i64::from(rule.interval.unwrap_or(1));
    let hours = match rule.freq {
        ICalendarFrequency::Weekly => interval * 7 * 24,
        ICalendarFrequency::Daily => interval * 24,
        ICalendarFrequency::Hourly => interval,
        // Rarer rules name some thousand times at most.
        _ => return start,
    };
    // Two steps earlier than needed, because the start may cut off the first week or day of a rule.
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

/// A local time in the library's type.
fn to_partial_date_time(local: DateTime) -> Result<PartialDateTime, IcsEventError> {
    let seconds = Offset::UTC.to_timestamp(local).map_err(|_| IcsEventError::InvalidRule)?.as_second();
    Ok(PartialDateTime::from_naive_timestamp(seconds))
}
