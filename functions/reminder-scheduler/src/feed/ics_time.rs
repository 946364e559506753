//! Times as a feed writes them: [`IcsTime`], before a zone makes them moments.

use calcard::common::PartialDateTime;
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
    /// Converts a date, or a date with a time. `zone` is the `TZID` beside it.
    pub(super) fn from_written(written: &PartialDateTime, zone: Option<&str>) -> Option<Self> {
        let small = |number: Option<u8>| number.and_then(|number| i8::try_from(number).ok());
        let date = Date::new(written.year?.try_into().ok()?, small(written.month)?, small(written.day)?).ok()?;
        let Some(hour) = small(written.hour) else { return Some(Self::Day(date)) };
        // A leap second counts as the second before it: no appointment begins in one.
        let second = small(written.second).unwrap_or(0).min(59);
        let time = Time::new(hour, small(written.minute)?, second, 0).ok()?;
        let time_zone = match zone {
            _ if written.tz_hour.is_some() => IcsTimeZone::Offset(parse_offset(written)?),
            Some(id) if !id.trim().is_empty() => IcsTimeZone::Zone(id.to_owned()),
            _ => IcsTimeZone::Floating,
        };
        Some(Self::Time { local: date.to_datetime(time), time_zone })
    }
}

/// The offset of a written time, such as `+0200`.
pub(super) fn parse_offset(written: &PartialDateTime) -> Option<Offset> {
    let seconds = i32::from(written.tz_hour?) * 3600 + i32::from(written.tz_minute.unwrap_or(0)) * 60;
    Offset::from_seconds(if written.tz_minus { -seconds } else { seconds }).ok()
}
