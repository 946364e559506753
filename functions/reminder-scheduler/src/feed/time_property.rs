//! Properties that hold times: `EXDATE;TZID=Europe/Rome:20261124T103000,20261125T103000`.
//!
//! Main type: [`TimeProperty`].
//!
//! The library that parses the other properties ignores what it does not know in a time, and ends a
//! parameter at its first colon. So these lines are parsed here. Names of zones often contain
//! characters that must be quoted and are not, as in `TZID=(UTC+02:00) Jerusalem`. The value begins
//! after the first colon behind which there are only times.

use super::{ics_time::IcsTime, parse_error::IcsEventError, text_lines};

/// The longest accepted name of a zone, in bytes. Each time has a copy.
const MAX_ZONE_NAME_BYTES: usize = 255;
/// The most times of one property: years of weekly exceptions.
const MAX_TIMES: usize = 2_000;

/// A property whose value is a list of times.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimeProperty {
    /// Its times. An empty value has none.
    pub(super) times: Vec<IcsTime>,
    /// The parameter `RANGE`.
    pub(super) range: Option<String>,
}

impl TimeProperty {
    /// Parses a line. `property` names it in the error.
    pub(super) fn parse(line: &str, property: &'static str) -> Result<Self, IcsEventError> {
        let (parameters, value) = split_value(line).ok_or(IcsEventError::InvalidTime(property))?;
        let parameter = |name: &str| find_parameter(parameters, name);
        let zone = parameter("TZID").map(|zone| text_lines::unescape_name(&zone));
        if value.split(',').count() > MAX_TIMES || zone.as_ref().is_some_and(|zone| zone.len() > MAX_ZONE_NAME_BYTES) {
            return Err(IcsEventError::OverBudget);
        }
        let is_date = parameter("VALUE").is_some_and(|kind| kind.eq_ignore_ascii_case("DATE"));
        let parse = |item| parse_item(item, zone.as_deref(), is_date).ok_or(IcsEventError::InvalidTime(property));
        let times = items(value).map(parse).collect::<Result<_, _>>()?;
        Ok(Self { times, range: parameter("RANGE").filter(|range| !range.is_empty()) })
    }

    /// The only time of a property such as `DTSTART`.
    pub(super) fn parse_single(line: &str, property: &'static str) -> Result<(IcsTime, Option<String>), IcsEventError> {
        let Self { mut times, range } = Self::parse(line, property)?;
        match (times.pop(), times.is_empty()) {
            (Some(time), true) => Ok((time, range)),
            _ => Err(IcsEventError::InvalidTime(property)),
        }
    }
}

/// The times of a value as written. Some programs write an empty list, or a comma too many.
fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Parses a time or the start of a period.
fn parse_item(item: &str, zone: Option<&str>, is_date: bool) -> Option<IcsTime> {
    let start = item.split_once('/').map_or(item, |(start, _)| start);
    let time = IcsTime::parse(start, zone)?;
    // Some programs add midnight to the date of a whole day.
    let is_midnight = time.local().time() == jiff::civil::Time::midnight();
    Some(if is_date && is_midnight { IcsTime::Day(time.local().date()) } else { time })
}

/// The most colons up to the one before the value. The text behind each is read, so that many of
/// them would take long.
const MAX_COLONS: usize = 16;

/// Splits a line into its name with parameters, and its value: at the first colon behind which
/// there are only times.
fn split_value(line: &str) -> Option<(&str, &str)> {
    // A quote that is not closed is a part of a name.
    let has_quotes = line.matches('"').count().is_multiple_of(2);
    let mut is_quoted = false;
    let mut colons = 0;
    for (at, c) in line.char_indices() {
        is_quoted ^= c == '"' && has_quotes;
        if c != ':' || is_quoted {
            continue;
        }
        colons += 1;
        if colons > MAX_COLONS {
            return None;
        }
        let value = line.get(at + 1..)?;
        if items(value).all(|item| parse_item(item, None, false).is_some()) {
            return Some((line.get(..at)?, value));
        }
    }
    None
}

/// The value of a parameter, without its quotes. A part without `=` belongs to the parameter before
/// it: some names of zones contain a semicolon.
fn find_parameter(parameters: &str, name: &str) -> Option<String> {
    let mut found: Option<String> = None;
    let mut is_quoted = false;
    let parts = parameters.split(|c| {
        is_quoted ^= c == '"';
        c == ';' && !is_quoted
    });
    for part in parts.skip(1) {
        match (part.split_once('='), &mut found) {
            (Some((key, value)), None) if key.trim().eq_ignore_ascii_case(name) => {
                found = Some(value.trim().to_owned());
            }
            (Some(_) | None, None) => {}
            (Some(_), Some(_)) => break,
            (None, Some(value)) => {
                value.push(';');
                value.push_str(part);
            }
        }
    }
    found.map(|value| value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(line: &str) -> String {
        match TimeProperty::parse(line, "DTSTART") {
            Ok(TimeProperty { times, range }) => {
                let times: Vec<String> = times
                    .into_iter()
                    .map(|time| match time {
                        IcsTime::Day(date) => date.to_string(),
                        IcsTime::Time { local, time_zone } => format!("{local} {time_zone:?}"),
                    })
                    .collect();
                times.join(", ") + &range.unwrap_or_default()
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_zone_may_have_a_name_with_every_character() {
        for name in [
            "Asia/Jerusalem",
            "(UTC+02:00) Jerusalem",
            "tzone://Microsoft/Custom",
            "Jerusalem, Israel",
            "Greenwich Mean Time; Dublin, London",
            "http://zones.example:80/Europe/Rome",
            "local;VALUE=DATE-TIME",
        ] {
            let expected = format!("2026-11-24T10:00:00 Zone({name:?})");
            assert_eq!(show(&format!("DTSTART;TZID=\"{name}\":20261124T100000")), expected);
            if !name.contains('=') {
                assert_eq!(show(&format!("DTSTART;TZID={name}:20261124T100000")), expected);
                assert_eq!(show(&format!("DTSTART;VALUE=DATE-TIME;TZID={name};X-A=b:2026-11-24T10:00:00")), expected);
            }
        }
        assert_eq!(
            show("DTSTART;TZID=Jerusalem\\, Israel:20261124T10"),
            show("DTSTART;TZID=\"Jerusalem, Israel\":20261124T10")
        );
        assert_eq!(show("DTSTART;TZID=5\" Time:20261124T10"), "2026-11-24T10:00:00 Zone(\"5\\\" Time\")");
        assert_eq!(show("DTSTART;TZID=:20261124T10"), "2026-11-24T10:00:00 Floating");
        assert_eq!(
            show(&format!("DTSTART;TZID={}:20261124T10", "x".repeat(256))),
            IcsEventError::OverBudget.to_string()
        );
    }

    #[test]
    fn a_list_may_be_empty_and_a_period_counts_by_its_start() {
        for empty in
            ["EXDATE:", "EXDATE;TZID=Asia/Jerusalem:", "EXDATE;TZID=(UTC+02:00) Jerusalem: , ", "RDATE;VALUE=DATE:"]
        {
            assert_eq!(show(empty), "", "{empty}");
            assert!(TimeProperty::parse_single(empty, "DTSTART").is_err(), "{empty}");
        }
        assert_eq!(show("EXDATE:20261124,20261125,"), "2026-11-24, 2026-11-25");
        assert_eq!(show("RDATE;VALUE=PERIOD:20261124T10/PT1H"), "2026-11-24T10:00:00 Floating");
        assert!(TimeProperty::parse_single("DTSTART:20261124,20261125", "DTSTART").is_err());
        assert_eq!(show(&format!("EXDATE:{}", "20261124,".repeat(2_000))), IcsEventError::OverBudget.to_string());
    }

    #[test]
    fn a_whole_day_may_be_written_with_its_midnight() {
        assert_eq!(show("DTSTART;VALUE=DATE:20261124T000000Z"), "2026-11-24");
        assert_eq!(show("DTSTART;VALUE=DATE:20261124T103000"), "2026-11-24T10:30:00 Floating");
        assert_eq!(show("DTSTART;VALUE=DATE-TIME:20261124"), "2026-11-24");
    }

    #[test]
    fn what_is_no_time_names_its_property() {
        for line in ["DTSTART", "DTSTART:tomorrow", "DTSTART;TZID=x", "DTSTART:20261124T10 EST", "DTSTART:20261124T1"] {
            assert_eq!(show(line), "time in DTSTART could not be parsed", "{line}");
        }
        let (_, range) = TimeProperty::parse_single("RECURRENCE-ID;RANGE=THISANDFUTURE:20261124T10", "x").unwrap();
        assert_eq!(range.as_deref(), Some("THISANDFUTURE"));
    }
}
