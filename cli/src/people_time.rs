//! Times as people at the client read them.

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use tellonce_core::client_config::ClientConfig;

/// Writes times in the client's zone.
pub(crate) struct PeopleTime<'a> {
    pub(crate) zone: TimeZone,
    /// The name of the zone.
    pub(crate) name: &'a str,
}

impl<'a> PeopleTime<'a> {
    pub(crate) fn of_client(config: &'a ClientConfig) -> anyhow::Result<Self> {
        let zone = TimeZone::get(&config.time_zone).context("the client's `time_zone` is unknown")?;
        Ok(Self { zone, name: &config.time_zone })
    }

    pub(crate) fn format(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %d %b %Y %H:%M:%S").to_string()
    }

    pub(crate) fn format_minute(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %d %b %Y %H:%M").to_string()
    }
}
