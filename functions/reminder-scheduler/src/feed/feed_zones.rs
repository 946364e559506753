//! Which zone a time of a feed has.
//!
//! Of a `TZID`, the first match counts:
//!
//! 1. A name that is known everywhere ([`find_known_zone`]).
//! 2. A `VTIMEZONE` of that name: one of the event's own calendar, else one of another calendar in
//!    the same body, unless those differ. The IANA name inside it counts before its rules.
//! 3. The offset, if the name is an offset (`GMT+0200`).
//!
//! So a known zone follows today's rules, not those of the day when the feed's generator was
//! written. Any other name is an unknown zone: a guess could be an hour or a day off.
//!
//! A time without a zone has the calendar's zone in `client.toml`, else the `X-WR-TIMEZONE` of its
//! own calendar in the body, else the client's zone.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use jiff::{civil::DateTime, tz::TimeZone};
use tellonce_core::{
    client_config::{CalendarConfig, ClientConfig},
    telemetry::LogLabel,
};

use super::{
    ics_time::{IcsTimeZone, parse_named_offset},
    outline::{CalendarHeader, CalendarNumber, FeedOutline, ZonePart},
    parse_error::{FeedParseError, IcsEventError},
    recurrence_rule::RuleBudget,
    text_lines,
    zone::{EventZone, find_known_zone, lines_named, parse_private_zone},
};

/// The most names of zones whose meaning is kept.
const MAX_RESOLVED_ZONES: usize = 1_000;

/// The zones of one feed.
pub(super) struct FeedZones<'a> {
    text: &'a [u8],
    calendars: &'a [CalendarHeader],
    /// The zone of all appointments, if the client's configuration sets one.
    configured: Option<EventZone>,
    config: &'a ClientConfig,
    /// The rules of a private zone are expanded up to this time.
    horizon: DateTime,
    /// The feed's own zones, by `TZID` in lower case.
    private_zones: HashMap<String, DescribedZone>,
    known: HashMap<String, Option<EventZone>>,
    /// The feed's own zones by their text, which may be the same in several calendars.
    parsed: HashMap<&'a [u8], Option<EventZone>>,
    budget: RuleBudget,
}

/// Where the zones of one name are in the text of a feed.
#[derive(Default)]
struct DescribedZone {
    by_calendar: BTreeMap<CalendarNumber, Range<usize>>,
    /// Whether the descriptions differ. Then each counts in its own calendar only.
    differs: bool,
}

impl<'a> FeedZones<'a> {
    pub(super) fn new(
        text: &'a [u8],
        outline: &'a FeedOutline,
        calendar: &CalendarConfig,
        config: &'a ClientConfig,
        horizon: DateTime,
    ) -> Self {
        let mut private_zones: HashMap<String, DescribedZone> = HashMap::new();
        for ZonePart { lines: part, calendar } in &outline.zones {
            let Some(lines) = text_lines::read_zone_lines(text, part.clone()) else { continue };
            if let Some(line) = lines_named(&lines, "TZID").next() {
                let same_name = private_zones.entry(zone_key(text_lines::property_value(line))).or_default();
                let is_other = |first: &Range<usize>| text.get(first.clone()) != text.get(part.clone());
                same_name.differs |= same_name.by_calendar.values().next().is_some_and(is_other);
                same_name.by_calendar.insert(*calendar, part.clone());
            }
        }
        let configured = calendar.time_zone.as_deref().and_then(find_known_zone).map(EventZone::from_time_zone);
        Self {
            text,
            calendars: &outline.calendars,
            configured: configured.filter(|zone| zone.iana_place.is_some()),
            config,
            horizon,
            private_zones,
            known: HashMap::new(),
            parsed: HashMap::new(),
            budget: RuleBudget::default(),
        }
    }

    /// Whether the rules of all zones so far are still within the limits of a feed.
    pub(super) fn check_limits(&self) -> Result<(), FeedParseError> {
        self.budget.check_limits()
    }

    /// The zone of a time in a calendar.
    pub(super) fn resolve(
        &mut self,
        time_zone: &IcsTimeZone,
        calendar: CalendarNumber,
    ) -> Result<EventZone, IcsEventError> {
        match time_zone {
            IcsTimeZone::Floating => self.default_zone(calendar),
            IcsTimeZone::Offset(offset) => Ok(EventZone::from_time_zone(TimeZone::fixed(*offset))),
            IcsTimeZone::Zone(id) => self.find_zone(id, calendar).ok_or_else(|| unknown_zone(id)),
        }
    }

    /// The zone of a time without a zone. A name without a place, such as UTC, does not count: many
    /// programs write it into every calendar.
    pub(super) fn default_zone(&mut self, calendar: CalendarNumber) -> Result<EventZone, IcsEventError> {
        if let Some(zone) = &self.configured {
            return Ok(zone.clone());
        }
        let written = self.calendars.get(calendar).and_then(|header| header.zone.as_deref());
        let zone = match written.map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => Some(self.find_zone(name, calendar).ok_or_else(|| unknown_zone(name))?),
            None => None,
        };
        let zone = zone.filter(|zone| !zone.is_placeless());
        Ok(zone.unwrap_or_else(|| EventZone::from_time_zone(self.config.own_zone())))
    }

    /// The IANA name of the place where an event with this zone is.
    pub(super) fn place_of(&mut self, zone: &EventZone, calendar: CalendarNumber) -> String {
        let configured = self.configured.as_ref().and_then(|zone| zone.iana_place.clone());
        let named = configured.or_else(|| zone.iana_place.clone());
        let place = named.or_else(|| self.default_zone(calendar).ok()?.iana_place);
        place.unwrap_or_else(|| self.config.time_zone.clone())
    }

    fn find_zone(&mut self, id: &str, calendar: CalendarNumber) -> Option<EventZone> {
        if self.known.len() >= MAX_RESOLVED_ZONES {
            self.known.clear();
        }
        let find = || find_known_zone(id).map(EventZone::from_time_zone);
        if let Some(zone) = self.known.entry(id.to_owned()).or_insert_with(find) {
            return Some(zone.clone());
        }
        match self.find_private_zone(id, calendar) {
            Some(part) => self.parse_zone(part),
            None => parse_named_offset(id).map(|offset| EventZone::from_time_zone(TimeZone::fixed(offset))),
        }
    }

    /// Where the zone of this name is described: in the calendar itself, else in another one.
    fn find_private_zone(&self, id: &str, calendar: CalendarNumber) -> Option<Range<usize>> {
        let same_name = self.private_zones.get(&zone_key(id))?;
        let any = || if same_name.differs { None } else { same_name.by_calendar.values().next() };
        same_name.by_calendar.get(&calendar).or_else(any).cloned()
    }

    fn parse_zone(&mut self, part: Range<usize>) -> Option<EventZone> {
        let text = self.text.get(part.clone())?;
        if let Some(zone) = self.parsed.get(text) {
            return zone.clone();
        }
        self.budget.start_unit();
        let lines = text_lines::read_zone_lines(self.text, part);
        let zone = lines.and_then(|lines| parse_private_zone(&lines, self.horizon, &mut self.budget));
        self.parsed.insert(text, zone.clone());
        zone
    }
}

/// A `TZID` for comparison.
fn zone_key(id: &str) -> String {
    text_lines::unescape_name(id).to_lowercase()
}

fn unknown_zone(id: &str) -> IcsEventError {
    IcsEventError::UnknownZone(LogLabel::new(id))
}
