//! Recurrence rules (RFC 5545, section 3.3.10): which local times a rule names.
//!
//! `calcard` iterates a rule over local times without a zone, so the time of day stays the same
//! when the clocks change. Afterwards `zone` turns each local time into a moment. (The library's
//! own last step leaves a time that occurs twice without a zone.) [`RecurrenceRule::parse`] rejects
//! rules that the library would misread or iterate for too long.

use std::ops::RangeInclusive;

use calcard::{
    Entry, Parser,
    common::{PartialDateTime, timezone::Tz},
    icalendar::{
        ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarEntry, ICalendarFrequency, ICalendarMonth,
        ICalendarProperty, ICalendarRecurrenceRule, ICalendarValue,
    },
};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{
    ics_time::IcsTime,
    parse_error::{FeedParseError, IcsEventError},
    text_lines,
};

/// The most times of one rule that are iterated. They are counted from the rule's start or, without
/// `COUNT`, from the window's start. More than fifty years of days.
const MAX_RULE_TIMES: usize = 20_000;
/// The most times a day of one rule: every quarter of an hour. It limits the memory that the
/// library needs for one year.
const MAX_TIMES_A_DAY: usize = 96;

/// The most local times that all rules of a feed may name: a quarter of a second of work on a whole
/// processor.
const MAX_FEED_TIMES: usize = 1_000_000;
/// The most rules that may never name a time, such as each 30th of February. The library searches
/// for one until the year 10,000, which takes some hundredths of a second.
const MAX_EMPTY_RULES: usize = 20;
/// The most local times that the rules of one `UID`, or of one zone, may name.
const MAX_UNIT_TIMES: usize = 2 * MAX_RULE_TIMES;
/// The most rules of one `UID`, or of one zone, that may never name a time.
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

    fn count_times(&mut self, times: usize, is_empty_rule: bool) -> Result<(), IcsEventError> {
        self.expanded_times += times;
        self.empty_rules += usize::from(is_empty_rule);
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

/// A rule of a series.
#[derive(Debug, Clone)]
pub(super) struct RecurrenceRule {
    /// The rule without its `UNTIL`, which needs a zone.
    rule: ICalendarRecurrenceRule,
    skip: SkippedDates,
    /// The last moment, included.
    pub(super) until: Option<IcsTime>,
}

/// What becomes of a day that a month lacks (`SKIP`, RFC 7529).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SkippedDates {
    /// It is left out, as without `SKIP`.
    Omit,
    /// The last day of the month counts.
    Backward,
    /// The first day of the next month counts.
    Forward,
}

/// What the text of a rule contains besides the parts that the library reads.
#[derive(Default)]
struct RuleText {
    frequency: Option<String>,
    hours: Option<usize>,
    times_an_hour: Option<usize>,
    has_ordinals: bool,
    skip: Option<SkippedDates>,
    until: Option<IcsTime>,
    /// The parts for the library.
    kept: Vec<String>,
}

impl RuleText {
    /// Reads one part, such as `INTERVAL=2`. Every part is known and within the standard's ranges.
    fn read_part(&mut self, part: &str) -> Result<(), IcsEventError> {
        let (name, value) = part.split_once('=').ok_or(IcsEventError::InvalidRule)?;
        let (name, value) = (name.trim().to_ascii_uppercase(), value.trim().to_ascii_uppercase());
        if let Some((_, range)) = NUMERIC_PARTS.iter().find(|(number, _)| *number == name) {
            let count = count_numbers(&value, range)?;
            match name.as_str() {
                "BYHOUR" => self.hours = Some(count),
                "BYMINUTE" | "BYSECOND" => {
                    self.times_an_hour = Some(count.saturating_mul(self.times_an_hour.unwrap_or(1)));
                }
                _ => {}
            }
            self.kept.push(format!("{name}={value}"));
            return Ok(());
        }
        match (name.as_str(), value.as_str()) {
            ("FREQ", "YEARLY" | "MONTHLY" | "WEEKLY" | "DAILY" | "HOURLY") => self.frequency = Some(value.clone()),
            ("FREQ", "MINUTELY" | "SECONDLY") => return Err(IcsEventError::TooOften),
            ("BYDAY", days) => self.has_ordinals |= days.bytes().any(|byte| byte.is_ascii_digit()),
            ("WKST", _) => {}
            ("UNTIL", until) => {
                self.until = Some(IcsTime::parse(until, None).ok_or(IcsEventError::InvalidRule)?);
                return Ok(());
            }
            // An addition of a program, which says nothing about the times.
            (name, _) if name.starts_with("X-") => return Ok(()),
            // The calendar that every rule without RSCALE has.
            ("RSCALE", "GREGORIAN" | "GREGORY") => return Ok(()),
            ("SKIP", skip) => {
                self.skip = Some(match skip {
                    "OMIT" => SkippedDates::Omit,
                    "BACKWARD" => SkippedDates::Backward,
                    "FORWARD" => SkippedDates::Forward,
                    _ => return Err(IcsEventError::InvalidRule),
                });
                return Ok(());
            }
            _ => return Err(IcsEventError::InvalidRule),
        }
        self.kept.push(format!("{name}={value}"));
        Ok(())
    }

    /// Whether the rule recurs too often for appointments, or has an ordinal where the standard
    /// allows none.
    fn validate(&self) -> Result<(), IcsEventError> {
        let hours = self.hours.unwrap_or(if self.frequency.as_deref() == Some("HOURLY") { 24 } else { 1 });
        match self.frequency.as_deref() {
            None => Err(IcsEventError::InvalidRule),
            // The standard allows ordinals in MONTHLY and YEARLY only. Elsewhere the library would
            // read them as "every".
            Some("WEEKLY" | "DAILY" | "HOURLY") if self.has_ordinals => Err(IcsEventError::InvalidRule),
            Some(_) if hours.saturating_mul(self.times_an_hour.unwrap_or(1)) > MAX_TIMES_A_DAY => {
                Err(IcsEventError::TooOften)
            }
            Some(_) => Ok(()),
        }
    }
}

/// How many numbers a list has, if each is within the range.
fn count_numbers(list: &str, range: &RangeInclusive<i32>) -> Result<usize, IcsEventError> {
    let mut count: usize = 0;
    for number in list.split(',') {
        let number: i32 = number.trim().parse().map_err(|_| IcsEventError::InvalidRule)?;
        if !range.contains(&number) || (number == 0 && *range.start() < 0) {
            return Err(IcsEventError::InvalidRule);
        }
        count += 1;
    }
    Ok(count)
}

impl RecurrenceRule {
    /// Parses the line of an `RRULE`.
    pub(super) fn parse(line: &str) -> Result<Self, IcsEventError> {
        let mut text = RuleText::default();
        let rule = text_lines::property_value(line).trim();
        // Some programs write the name of the property twice.
        let rule = rule.strip_prefix("RRULE:").unwrap_or(rule);
        for part in rule.split(';').filter(|part| !part.trim().is_empty()) {
            text.read_part(part)?;
        }
        text.validate()?;
        let RuleText { kept, skip, until, .. } = text;
        let event = format!("BEGIN:VEVENT\nRRULE:{}\nEND:VEVENT\n", kept.join(";"));
        let Entry::ICalendar(parsed) = Parser::new(&event).entry() else { return Err(IcsEventError::InvalidRule) };
        let mut values = parsed.components.into_iter().flat_map(|event| event.entries).flat_map(|entry| entry.values);
        match values.next() {
            Some(ICalendarValue::RecurrenceRule(rule)) => {
                Ok(Self { rule: *rule, skip: skip.unwrap_or(SkippedDates::Omit), until })
            }
            _ => Err(IcsEventError::InvalidRule),
        }
    }

    /// The same rule without `SKIP`. The last day of a month that has no 31st is the last of its
    /// days from the 28th to the 31st.
    fn without_skip(&self, start: DateTime) -> Result<ICalendarRecurrenceRule, IcsEventError> {
        let mut rule = self.rule.clone();
        let names_days = !rule.byday.is_empty() || !rule.byyearday.is_empty() || !rule.byweekno.is_empty();
        let days = match rule.freq {
            ICalendarFrequency::Monthly | ICalendarFrequency::Yearly => {
                match (rule.bymonthday.as_slice(), names_days) {
                    ([], true) => Vec::new(),
                    ([], false) => vec![start.day()],
                    (days, _) => days.to_vec(),
                }
            }
            // A month that lacks a day only matters to rules that name days of months.
            _ => Vec::new(),
        };
        let names_last_day = rule.byyearday.iter().any(|day| day.abs() == 366);
        let every_month_has = |day: &i8| (-28..=28).contains(day);
        if self.skip == SkippedDates::Omit || (days.iter().all(every_month_has) && !names_last_day) {
            return Ok(rule);
        }
        let one_time_a_day = [&rule.byhour, &rule.byminute, &rule.bysecond].iter().all(|times| times.len() <= 1);
        let is_simple = !names_days && rule.bysetpos.is_empty() && one_time_a_day;
        let ([day @ 29..=31], SkippedDates::Backward, true) = (days.as_slice(), self.skip, is_simple) else {
            return Err(IcsEventError::InvalidRule);
        };
        if rule.freq == ICalendarFrequency::Yearly {
            match rule.bymonth.len() {
                0 => rule.bymonth = vec![ICalendarMonth::new(start.month().unsigned_abs(), false)],
                1 => {}
                _ => return Err(IcsEventError::InvalidRule),
            }
        }
        rule.bymonthday = (28..=*day).collect();
        rule.bysetpos = vec![-1];
        Ok(rule)
    }

    /// The local times that the rule names from its start to `bound`. Those before `from` may be
    /// missing. The start is always the first time and counts, even if it does not match the rule.
    pub(super) fn expand(
        &self,
        start: DateTime,
        from: DateTime,
        bound: DateTime,
        budget: &mut RuleBudget,
    ) -> Result<Vec<DateTime>, IcsEventError> {
        let rule = self.without_skip(start)?;
        // A rule that ended before the window costs nothing.
        if bound < start.max(from) {
            return Ok(Vec::new());
        }
        let near_start = if rule.count.is_some() { start } else { start_near(&rule, start, from) };
        let mut times = iterate_rule(&rule, near_start, Some(bound), MAX_RULE_TIMES + 1)?;
        if times.len() > MAX_RULE_TIMES {
            return Err(IcsEventError::TooOften);
        }
        // A rule of another season names a time behind the window.
        let is_empty = times.is_empty() && iterate_rule(&rule, near_start, None, 1)?.is_empty();
        budget.count_times(times.len(), is_empty)?;
        if times.first() != Some(&start) {
            times.insert(0, start);
        }
        if let Some(count) = rule.count {
            times.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        }
        Ok(times)
    }
}

/// A start of the same rule that is shortly before `at`.
fn start_near(rule: &ICalendarRecurrenceRule, start: DateTime, at: DateTime) -> DateTime {
    let interval = i64::from(rule.interval.unwrap_or(1));
    let hours = match rule.freq {
        ICalendarFrequency::Weekly => interval * 7 * 24,
        ICalendarFrequency::Daily => interval * 24,
        ICalendarFrequency::Hourly => interval,
        // Rarer rules name some thousand times at most.
        _ => return start,
    };
    // Two steps earlier than needed, because the start may cut off the first week or day of a rule.
    let steps = at.duration_since(start).as_hours() / hours - 2;
    if steps < 1 { start } else { start.checked_add(SignedDuration::from_hours(steps * hours)).unwrap_or(start) }
}

/// The first times of a rule, at most `limit`.
fn iterate_rule(
    rule: &ICalendarRecurrenceRule,
    start: DateTime,
    bound: Option<DateTime>,
    limit: usize,
) -> Result<Vec<DateTime>, IcsEventError> {
    let rule = ICalendarRecurrenceRule { until: bound.map(to_partial_date_time).transpose()?, ..rule.clone() };
    let mut event = ICalendarComponent::new(ICalendarComponentType::VEvent);
    event.entries.push(ICalendarEntry::new(ICalendarProperty::Dtstart).with_value(to_partial_date_time(start)?));
    event.entries.push(ICalendarEntry::new(ICalendarProperty::Rrule).with_value(rule));
    let calendar = ICalendar { components: vec![event] };
    let expanded = calendar.expand_dates(Tz::Floating, limit);
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
