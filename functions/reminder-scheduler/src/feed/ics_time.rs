//! Times as a feed writes them: [`IcsTime`], before a zone makes them moments.
//!
//! The standard has one form, `20261124T083000Z`. Programs also write hyphens and colons, leave out
//! the seconds, add a fraction of a second or write `UTC` in place of `Z`. Such a time is read if
//! it has one meaning. Else it is not a time. A mark of a zone is never ignored: without it, the
//! time would be a local one.

use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};

/// A time as the feed writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IcsTime {
    /// A whole day.
    Day(Date),
    /// A time of day.
    Time {
        /// The local time.
        local: DateTime,
        /// The zone of the local time.
        time_zone: IcsTimeZone,
    },
}

/// The zone of a local time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IcsTimeZone {
    /// No zone: the one of the reader.
    Floating,
    /// A fixed offset from UTC.
    Offset(Offset),
    /// The zone with this `TZID`.
    Zone(String),
}

impl IcsTime {
    /// Parses a date, or a date with a time. `zone` is the `TZID` beside it. A zone in the text
    /// itself counts before it.
    pub(super) fn parse(written: &str, zone: Option<&str>) -> Option<Self> {
        // A byte order mark may stand before a copied time.
        let (date, rest) = split_date(written.trim().trim_start_matches('\u{feff}'))?;
        if rest.is_empty() {
            return Some(Self::Day(date));
        }
        let clock = rest.strip_prefix(['T', 't', ' '])?;
        let end = clock.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(clock.len());
        let (clock, mark) = clock.split_at(end);
        let mark = mark.trim();
        let time_zone = match zone {
            _ if !mark.is_empty() => IcsTimeZone::Offset(parse_zone_mark(mark)?),
            Some(id) if !id.trim().is_empty() => IcsTimeZone::Zone(id.to_owned()),
            _ => IcsTimeZone::Floating,
        };
        Some(Self::Time { local: date.to_datetime(parse_clock(clock)?), time_zone })
    }

    /// The local time. A whole day begins at midnight.
    pub(super) fn local(&self) -> DateTime {
        match self {
            Self::Day(date) => date.at(0, 0, 0, 0),
            Self::Time { local, .. } => *local,
        }
    }
}

/// A number that consists of `count` digits.
fn parse_digits(text: &str, count: usize) -> Option<i16> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn parse_two_digits(text: &str) -> Option<i8> {
    parse_digits(text, 2).and_then(|number| i8::try_from(number).ok())
}

/// Splits `20261124` or `2026-11-24` off a text.
fn split_date(text: &str) -> Option<(Date, &str)> {
    let is_hyphenated = text.as_bytes().get(4) == Some(&b'-');
    let places: [(usize, usize); 3] = if is_hyphenated { [(0, 4), (5, 7), (8, 10)] } else { [(0, 4), (4, 6), (6, 8)] };
    if is_hyphenated && text.as_bytes().get(7) != Some(&b'-') {
        return None;
    }
    let [year, month, day] = places.map(|(from, to)| text.get(from..to));
    let date = Date::new(parse_digits(year?, 4)?, parse_two_digits(month?)?, parse_two_digits(day?)?).ok()?;
    Some((date, text.get(places[2].1..)?))
}

/// Parses `08`, `0830`, `083000`, `08:30` or `08:30:00`. The seconds may have a fraction, also
/// without a point: `083000000`. It does not count.
fn parse_clock(text: &str) -> Option<Time> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let parts: Vec<&str> = if clock.contains(':') {
        clock.split(':').collect()
    } else {
        let digits = if fraction.is_none() && clock.len() >= 9 { clock.get(..6)? } else { clock };
        (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2)).collect::<Option<_>>()?
    };
    let is_fraction = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.is_some_and(|fraction| parts.len() != 3 || !is_fraction(fraction)) || !clock.is_ascii() {
        return None;
    }
    if !clock.contains(':') && !is_fraction(clock) {
        return None;
    }
    let numbers = parts.into_iter().map(parse_two_digits).collect::<Option<Vec<i8>>>()?;
    match *numbers {
        [hour] if !clock.contains(':') => Time::new(hour, 0, 0, 0).ok(),
        [hour, minute] => Time::new(hour, minute, 0, 0).ok(),
        // A leap second counts as the second before it: no appointment begins in one.
        [hour, minute, second @ ..=60] => Time::new(hour, minute, second.min(59), 0).ok(),
        _ => None,
    }
}

/// Parses what stands behind a time: `Z`, `UTC`, `+0200`, `GMT+02:00`.
fn parse_zone_mark(mark: &str) -> Option<Offset> {
    let is = |name: &str| mark.eq_ignore_ascii_case(name);
    if ["Z", "UTC", "GMT", "UT"].into_iter().any(is) { Some(Offset::UTC) } else { parse_named_offset(mark) }
}

/// Parses an offset with or without the name of UTC before it: `+0200`, `UTC+2`, `GMT +02:00`.
pub(super) fn parse_named_offset(text: &str) -> Option<Offset> {
    let text = text.trim();
    let named = ["UTC", "GMT"].into_iter().find_map(|name| {
        let (prefix, rest) = text.split_at_checked(name.len())?;
        prefix.eq_ignore_ascii_case(name).then_some(rest)
    });
    let offset = named.unwrap_or(text).trim();
    if offset.starts_with(['+', '-']) { parse_offset(offset) } else { None }
}

/// Parses an offset from UTC: `+0200`, `-05:30`, `+2`, `0200`.
pub(super) fn parse_offset(text: &str) -> Option<Offset> {
    let text = text.trim();
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, rest) = match digits.split_once(':') {
        Some((hours, rest)) => (hours, rest.replace(':', "")),
        None if digits.len() <= 2 => (digits, String::new()),
        None => digits.split_at_checked(2).map(|(hours, rest)| (hours, rest.to_owned()))?,
    };
    let hours = if hours.len() == 1 { parse_digits(hours, 1)? } else { parse_digits(hours, 2)? };
    let (minutes, seconds) = match rest.len() {
        0 => (0, 0),
        2 => (parse_digits(&rest, 2)?, 0),
        4 => (parse_digits(rest.get(..2)?, 2)?, parse_digits(rest.get(2..)?, 2)?),
        _ => return None,
    };
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let total = i32::from(hours) * 3600 + i32::from(minutes) * 60 + i32::from(seconds);
    Offset::from_seconds(if is_negative { -total } else { total }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(written: &str, zone: Option<&str>) -> Option<String> {
        IcsTime::parse(written, zone).map(|time| match time {
            IcsTime::Day(date) => date.to_string(),
            IcsTime::Time { local, time_zone: IcsTimeZone::Floating } => format!("{local} floating"),
            IcsTime::Time { local, time_zone: IcsTimeZone::Offset(offset) } => format!("{local}{offset}"),
            IcsTime::Time { local, time_zone: IcsTimeZone::Zone(zone) } => format!("{local} {zone}"),
        })
    }

    #[test]
    fn a_time_is_read_by_what_it_says() {
        let utc = Some("2026-12-01T08:00:00+00".to_owned());
        for written in [
            "20261201T080000Z",
            "20261201t080000z",
            "20261201T0800Z",
            "20261201T08Z",
            "20261201T080000.000Z",
            "20261201T080000.0000000Z",
            "20261201T080000000Z",
            "20261201T080000 UTC",
            "20261201T080000 Z",
            "20261201T080000UTC",
            "20261201T080000 GMT",
            "20261201T080000+0000",
            "20261201 080000Z",
            "2026-12-01T08:00:00Z",
            "2026-12-01T08:00Z",
            "2026-12-01 08:00:00 UTC",
            "2026-12-01T08:00:00.000Z",
            "2026-12-01T080000Z",
            "20261201T08:00:00Z",
        ] {
            assert_eq!(show(written, None), utc, "{written}");
            assert_eq!(show(written, Some("Asia/Jerusalem")), utc, "{written}: its own mark counts");
        }
        for (written, expected) in [
            ("20261201", "2026-12-01"),
            ("2026-12-01", "2026-12-01"),
            (" 20261201T080000 ", "2026-12-01T08:00:00 floating"),
            ("20261201T0800", "2026-12-01T08:00:00 floating"),
            ("20261201T080060", "2026-12-01T08:00:59 floating"),
            ("2026-12-01T08:00", "2026-12-01T08:00:00 floating"),
            ("20261201T100000+0200", "2026-12-01T10:00:00+02"),
            ("20261201T100000+02:00", "2026-12-01T10:00:00+02"),
            ("20261201T100000+02", "2026-12-01T10:00:00+02"),
            ("20261201T100000-0530", "2026-12-01T10:00:00-05:30"),
            ("20261201T100000 GMT+0200", "2026-12-01T10:00:00+02"),
            ("20261201T100000UTC+2", "2026-12-01T10:00:00+02"),
        ] {
            assert_eq!(show(written, None).as_deref(), Some(expected), "{written}");
        }
        assert_eq!(show("20261201T1000", Some("Europe/Rome")).as_deref(), Some("2026-12-01T10:00:00 Europe/Rome"));
        assert_eq!(show("20261201T1000", Some(" ")).as_deref(), Some("2026-12-01T10:00:00 floating"));
    }

    #[test]
    fn a_time_with_several_meanings_or_none_is_not_read() {
        for written in [
            "",
            "Z",
            "tomorrow",
            "2026",
            "202612",
            "2026121",
            "2026-12-1",
            "2026-1201",
            "202612-01",
            "20261301",
            "20261131T080000Z",
            "20261201Z",
            "20261201T",
            "20261201TZ",
            "20261201T::",
            "20261201T8Z",
            "20261201T800Z",
            "20261201T80000Z",
            "20261201T0800000Z",
            "20261201T08000000Z",
            "20261201T240000Z",
            "20261201T250000Z",
            "20261201T086000Z",
            "20261201T080061Z",
            "20261201T0800.5Z",
            "20261201T080000.Z",
            "20261201T080000.5.5Z",
            "20261201T08:Z",
            "20261201T08:0:00Z",
            "20261201T08:00:00:00Z",
            "20261201T080000ZZ",
            "20261201T080000 EST",
            "20261201T080000 Europe/Berlin",
            "20261201T080000+",
            "20261201T080000+0260",
            "20261201T080000+020",
            "20261201T080000+99",
            "20261201T080000Z 20261202T080000Z",
            "20261201X080000Z",
            "١٢٣٤٥٦٧٨",
            "2026é201T080000Z",
            "20261201T08é0",
        ] {
            assert_eq!(show(written, Some("Asia/Jerusalem")), None, "{written}");
        }
    }

    #[test]
    fn an_offset_has_hours_and_maybe_minutes() {
        for (text, seconds) in [
            ("+0200", Some(7_200)),
            ("-0530", Some(-19_800)),
            ("+02:00", Some(7_200)),
            ("+2", Some(7_200)),
            ("+2:30", Some(9_000)),
            ("0200", Some(7_200)),
            ("+022036", Some(8_436)),
            ("+0:0", None),
            ("+", None),
            ("", None),
            ("+ab", None),
        ] {
            assert_eq!(parse_offset(text).map(Offset::seconds), seconds, "{text}");
        }
        for (text, hours) in [
            ("GMT+0200", Some(2)),
            ("utc-3", Some(-3)),
            ("UTC +02:00", Some(2)),
            ("+02:00", Some(2)),
            ("GMT", None),
            ("0200", None),
            ("GMT+2 Jerusalem", None),
            ("é+2", None),
        ] {
            assert_eq!(parse_named_offset(text), hours.map(jiff::tz::offset), "{text}");
        }
    }
}
