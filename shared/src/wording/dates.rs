//! A moment in the style of a language and a country.
//!
//! Words, their order and the clock of 12 or 24 hours come from the Unicode CLDR, through ICU4X.
//! Its data is compiled in.
//!
//! Promises: formatting never fails. A language that CLDR does not know is written as English in
//! the style of the country.

use icu_calendar::Gregorian;
use icu_datetime::{
    DateTimeFormatterPreferences, FixedCalendarDateTimeFormatter, fieldsets, input, options::TimePrecision,
};
use icu_locale_core::Locale;
use jiff::{Timestamp, civil, tz::TimeZone};

/// A moment in the words of a language.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FormattedMoment {
    /// `24 November`.
    pub(super) date: String,
    /// `10:30`.
    pub(super) time: String,
    /// `Tuesday`.
    pub(super) weekday: String,
    /// `Tuesday 24 November at 10:30`.
    pub(super) start: String,
}

/// Formats a moment as clocks in `zone` show it. `language` and `country` are codes: `he`, `IL`.
pub(super) fn format_moment(moment: Timestamp, zone: &TimeZone, language: &str, country: &str) -> FormattedMoment {
    let local = moment.to_zoned(zone.clone()).datetime();
    [format!("{language}-{country}"), language.to_owned(), format!("en-{country}"), "en".to_owned()]
        .iter()
        .filter_map(|tag| tag.parse().ok())
        .find_map(|locale| format_in_locale(local, &locale))
        .unwrap_or_else(|| format_in_digits(local))
}

/// `None` if CLDR has no words for this locale.
fn format_in_locale(local: civil::DateTime, locale: &Locale) -> Option<FormattedMoment> {
    let moment = input::DateTime {
        date: input::Date::try_new_gregorian(local.year().into(), as_u8(local.month())?, as_u8(local.day())?).ok()?,
        time: input::Time::try_new(as_u8(local.hour())?, as_u8(local.minute())?, 0, 0).ok()?,
    };
    let of = DateTimeFormatterPreferences::from;
    let day = |locale| {
        let format = FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(of(locale), fieldsets::MD::long()).ok()?;
        Some(format.format(&moment).to_string())
    };
    let date = day(locale)?;
    // ICU4X formats a locale without words of its own like the root locale: `M11 24`. No customer
    // reads that.
    let root = Locale::UNKNOWN;
    if day(&root).is_none_or(|unread| unread == date) {
        return None;
    }
    let time = FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(of(locale), fieldsets::T::hm()).ok()?;
    let weekday = FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(of(locale), fieldsets::E::long()).ok()?;
    let all = fieldsets::MDET::long().with_time_precision(TimePrecision::Minute);
    let start = FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(of(locale), all).ok()?;
    Some(FormattedMoment {
        date,
        time: time.format(&moment).to_string(),
        weekday: weekday.format(&moment).to_string(),
        start: start.format(&moment).to_string(),
    })
}

/// A month in the words of a language: `November 2026`.
pub fn format_month(month: civil::Date, language: &str, country: &str) -> String {
    let in_locale = |locale: &Locale| {
        let date = input::Date::try_new_gregorian(month.year().into(), as_u8(month.month())?, 1).ok()?;
        let format = |locale: &Locale| {
            let preferences = DateTimeFormatterPreferences::from(locale);
            let format = FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(preferences, fieldsets::YM::long());
            Some(format.ok()?.format(&date).to_string())
        };
        format(locale).filter(|text| format(&Locale::UNKNOWN).is_some_and(|root| root != *text))
    };
    [format!("{language}-{country}"), language.to_owned(), "en".to_owned()]
        .iter()
        .filter_map(|tag| tag.parse().ok())
        .find_map(|locale| in_locale(&locale))
        .unwrap_or_else(|| month.strftime("%Y-%m").to_string())
}

/// Digits, which every reader understands, in case CLDR's data fails.
fn format_in_digits(local: civil::DateTime) -> FormattedMoment {
    let (date, time) = (local.strftime("%-d.%-m.").to_string(), local.strftime("%H:%M").to_string());
    FormattedMoment { start: format!("{date} {time}"), weekday: date.clone(), date, time }
}

/// `None` if negative, which parts of a date or time never are.
fn as_u8(part: i8) -> Option<u8> {
    u8::try_from(part).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn format_at(moment: &str, zone: &str, language: &str, country: &str) -> FormattedMoment {
        format_moment(moment.parse().unwrap(), &TimeZone::get(zone).unwrap(), language, country)
    }

    #[test]
    fn each_language_writes_its_own_way_and_each_country_its_own_clock() {
        let places = [
            ("he", "IL"),
            ("en", "IL"),
            ("en", "US"),
            ("en", "GB"),
            ("ar", "IL"),
            ("ar", "EG"),
            ("ar", "AE"),
            ("ru", "IL"),
            ("fr", "FR"),
            ("fr", "CA"),
            ("de", "DE"),
            ("de", "AT"),
            ("am", "IL"),
            ("uk", "UA"),
            ("es", "MX"),
            ("pt", "BR"),
        ];
        let mut all = String::new();
        for (language, country) in places {
            for moment in ["2026-11-24T08:30:00Z", "2027-03-01T12:05:59Z"] {
                let FormattedMoment { date, time, weekday, start } =
                    format_at(moment, "Asia/Jerusalem", language, country);
                writeln!(all, "{language}-{country}: {date} | {time} | {weekday} | {start}").unwrap();
            }
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn a_month_has_its_name_in_each_language_and_digits_nowhere() {
        let november = civil::date(2026, 11, 1);
        for (language, country, expected) in [
            ("en", "US", "November 2026"),
            ("he", "IL", "נובמבר 2026"),
            ("de", "DE", "November 2026"),
            ("es", "ES", "noviembre de 2026"),
            ("xx", "IL", "November 2026"),
        ] {
            assert_eq!(format_month(november, language, country), expected, "{language}");
        }
    }

    #[test]
    fn local_time_is_right_on_both_sides_of_a_clock_change() {
        let time = |moment, zone| format_at(moment, zone, "en", "GB").start;
        // Israel, 2027-03-26: 01:59 is followed by 03:00.
        assert_eq!(time("2027-03-25T23:59:00Z", "Asia/Jerusalem"), "Friday 26 March at 01:59");
        assert_eq!(time("2027-03-26T00:00:00Z", "Asia/Jerusalem"), "Friday 26 March at 03:00");
        // Israel, 2026-10-25: 01:30 happens twice, and both are written alike.
        assert_eq!(time("2026-10-24T22:30:00Z", "Asia/Jerusalem"), "Sunday 25 October at 01:30");
        assert_eq!(time("2026-10-24T23:30:00Z", "Asia/Jerusalem"), "Sunday 25 October at 01:30");
        // In another zone the same moment is on another day.
        assert_eq!(time("2026-11-24T23:30:00Z", "Pacific/Auckland"), "Wednesday 25 November at 12:30");
        assert_eq!(time("2026-11-24T23:30:00Z", "America/Los_Angeles"), "Tuesday 24 November at 15:30");
    }

    #[test]
    fn unknown_locales_are_formatted_in_english_for_the_country() {
        let english = format_at("2026-11-24T13:30:00Z", "UTC", "en", "US");
        for (language, country) in
            [("xx", "US"), ("zzz", "US"), ("und", "US"), ("", "US"), ("not a tag", "US"), ("en", "nowhere")]
        {
            assert_eq!(format_at("2026-11-24T13:30:00Z", "UTC", language, country), english, "{language}-{country}");
        }
        assert_eq!(format_at("2026-11-24T13:30:00Z", "UTC", "xx", "GB").time, "13:30");
        assert_eq!(format_at("2026-11-24T13:30:00Z", "UTC", "he", "XX").weekday, "יום שלישי");
    }

    proptest! {
        #[test]
        fn no_moment_and_no_locale_causes_a_panic(
            second in -377_705_023_201i64..253_402_207_200,
            language in "[a-z]{2,3}|\\PC{0,8}",
            country in "[A-Z]{2}|\\PC{0,4}",
        ) {
            let moment = Timestamp::from_second(second).unwrap();
            let FormattedMoment { date, time, weekday, start } = format_moment(moment, &TimeZone::UTC, &language, &country);
            for text in [date, time, weekday, start] {
                prop_assert!(!text.is_empty());
            }
        }
    }
}
