//! Times as people at the client read and write them.

use anyhow::Context as _;
use jiff::{
    Span, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use tellonce_core::client_config::ClientConfig;

/// Times in the zone of a client.
pub(crate) struct PeopleTime<'a> {
    pub(crate) zone: TimeZone,
    pub(crate) name: &'a str,
}

impl<'a> PeopleTime<'a> {
    pub(crate) fn of_client(config: &'a ClientConfig) -> anyhow::Result<Self> {
        let name = config.time_zone.as_str();
        Ok(Self { zone: TimeZone::get(name).context("the client's `time_zone` is unknown")?, name })
    }

    pub(crate) fn format(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %d %b %Y %H:%M:%S").to_string()
    }

    pub(crate) fn format_minute(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %d %b %Y %H:%M").to_string()
    }

    /// A time that a person wrote, in the same ways; `2h` and `3d` are after now.
    pub(crate) fn parse_later(&self, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
        if let Some(at) = self.parse_moment(text)? {
            return Ok(at);
        }
        let span = self.parse_span(text, "two hours from now")?;
        Ok(now.to_zoned(self.zone.clone()).checked_add(span)?.timestamp())
    }

    /// A time that a person wrote: `2026-11-29T10:00:00Z`, `2026-11-29T10:00` or `2026-11-29` in
    /// the client's zone, or `2h` and `3d` for a time before now.
    pub(crate) fn parse(&self, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
        if let Some(at) = self.parse_moment(text)? {
            return Ok(at);
        }
        let span = self.parse_span(text, "two hours ago")?;
        Ok(now.to_zoned(self.zone.clone()).checked_sub(span)?.timestamp())
    }

    fn parse_moment(&self, text: &str) -> anyhow::Result<Option<Timestamp>> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Some(at));
        }
        let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|day| day.at(0, 0, 0, 0)));
        Ok(match civil {
            Ok(civil) => Some(civil.to_zoned(self.zone.clone())?.timestamp()),
            Err(_) => None,
        })
    }

    fn parse_span(&self, text: &str, two_hours: &str) -> anyhow::Result<Span> {
        let span = text.parse::<Span>().with_context(|| {
            format!(
                "`{text}` is not a time; write 2026-11-29T10:00 (in {}), 2026-11-29T10:00:00Z, or 2h for {two_hours}",
                self.name
            )
        })?;
        Ok(span.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_the_zone_of_the_client_or_before_now() {
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let now = "2026-11-29T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2026-11-29T10:00:00Z", "2026-11-29T10:00:00Z"),
            ("2026-11-29T12:00:00+02:00", "2026-11-29T10:00:00Z"),
            ("2026-11-29T10:00", "2026-11-29T08:00:00Z"),
            ("2026-11-29", "2026-11-28T22:00:00Z"),
            ("90m", "2026-11-29T10:30:00Z"),
            ("3d", "2026-11-26T12:00:00Z"),
        ] {
            assert_eq!(time.parse(text, now).unwrap().to_string(), at, "{text}");
        }
        assert_eq!(time.parse_later("90m", now).unwrap().to_string(), "2026-11-29T13:30:00Z");
        assert_eq!(time.parse_later("2026-11-30", now).unwrap().to_string(), "2026-11-29T22:00:00Z");
        let error = time.parse("yesterday", now).unwrap_err().to_string();
        assert!(error.contains("`yesterday` is not a time") && error.ends_with("two hours ago"), "{error}");
        let error = time.parse_later("tomorrow", now).unwrap_err().to_string();
        assert!(error.ends_with("2h for two hours from now"), "{error}");
    }
}
