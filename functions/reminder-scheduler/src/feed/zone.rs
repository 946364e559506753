//! Which zone a `TZID` means, and which local time it has at which moment.
//!
//! The first match counts:
//!
//! 1. An IANA name.
//! 2. A name that Windows, Exchange or an old calendar uses. `calcard` knows some hundreds of them.
//! 3. The IANA name inside the feed's own `VTIMEZONE`.
//! 4. The rules of that `VTIMEZONE`.
//!
//! So a known zone follows today's rules, not those of the day when the feed's generator was
//! written. Any other name is an unknown zone: a guess could be an hour or a day off.

use std::{collections::HashMap, ops::Range, rc::Rc, str::FromStr};

use calcard::{
    Entry, Parser,
    common::{PartialDateTime, timezone::Tz},
    icalendar::{ICalendarComponent, ICalendarComponentType, ICalendarProperty, ICalendarValue},
};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{
    ics_time::{IcsTime, parse_offset},
    recurrence_rule::{self, RuleBudget},
    text_lines,
};

/// A zone: its rules, and its IANA name if that names a place.
#[derive(Debug, Clone)]
pub(super) struct EventZone {
    /// Such as `Asia/Jerusalem`. `None` for UTC, a fixed offset, or rules that only the feed
    /// contains.
    pub(super) iana_place: Option<String>,
    rules: ZoneRules,
}

#[derive(Debug, Clone)]
enum ZoneRules {
    Known(TimeZone),
    Private(Rc<OffsetChanges>),
}

impl EventZone {
    pub(super) fn from_time_zone(zone: TimeZone) -> Self {
        Self {
            iana_place: zone.iana_name().filter(|name| is_place_zone(name)).map(str::to_owned),
            rules: ZoneRules::Known(zone),
        }
    }

    /// The moment of a local time. One that the clocks skip lies behind the gap by the gap's
    /// length. Of one that occurs twice, it is the first.
    pub(super) fn to_instant(&self, local: DateTime) -> Option<Timestamp> {
        match &self.rules {
            // jiff's "compatible" disambiguation, which RFC 5545 requires too.
            ZoneRules::Known(zone) => zone.to_timestamp(local).ok(),
            ZoneRules::Private(changes) => changes.to_instant(local),
        }
    }

    /// The local time at this moment.
    pub(super) fn to_local(&self, at: Timestamp) -> DateTime {
        match &self.rules {
            ZoneRules::Known(zone) => zone.to_datetime(at),
            ZoneRules::Private(changes) => changes.offset_at(at).to_datetime(at),
        }
    }
}

/// Whether a zone's name is a place. Appointments take place somewhere, and UTC is not a place.
fn is_place_zone(name: &str) -> bool {
    const PLACELESS_ZONES: [&str; 9] =
        ["UTC", "UCT", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich", "Universal", "Zulu"];
    !name.starts_with("Etc/") && !PLACELESS_ZONES.contains(&name)
}

/// A zone by a name that needs no description in the feed.
pub(super) fn find_known_zone(name: &str) -> Option<TimeZone> {
    let name = name.trim();
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    // "(UTC+02:00) Jerusalem", as Windows displays it: the only such name that the library lacks.
    let display_name = name.rsplit_once(')').map_or(name, |(_, shown)| shown.trim_start());
    if ["Jerusalem", "ירושלים"].contains(&display_name) {
        return TimeZone::get("Asia/Jerusalem").ok();
    }
    let Tz::Tz(zone) = Tz::from_str(name).ok()? else { return None };
    // "(UTC+02:00) Somewhere" gives the offset, but whether the clocks change there is unknown.
    let is_guess = name.starts_with('(') && zone.name().starts_with("Etc/");
    if is_guess { None } else { TimeZone::get(zone.name()).ok() }
}

/// The zones of one feed.
pub(super) struct FeedZones<'a> {
    text: &'a [u8],
    /// Where the feed's own zones are in its text, by `TZID`.
    private_zones: HashMap<String, Range<usize>>,
    resolved: HashMap<String, Option<EventZone>>,
    /// What the rules of zones have cost.
    pub(super) budget: RuleBudget,
}

/// The most names of zones whose meaning is kept.
const MAX_RESOLVED_ZONES: usize = 1_000;

impl<'a> FeedZones<'a> {
    pub(super) fn new(text: &'a [u8], zones: &[Range<usize>]) -> Self {
        let id = |zone: &Range<usize>| {
            let lines = text_lines::read_zone_lines(text, zone.clone())?;
            let line = lines.lines().find(|line| text_lines::property_name(line).eq_ignore_ascii_case("TZID"))?;
            Some((text_lines::property_value(line).to_owned(), zone.clone()))
        };
        let private_zones = zones.iter().filter_map(id).collect();
        Self { text, private_zones, resolved: HashMap::new(), budget: RuleBudget::default() }
    }

    /// The zone with this `TZID`. The rules of a private zone are expanded up to `until`.
    pub(super) fn resolve_zone(&mut self, id: &str, until: DateTime) -> Option<EventZone> {
        if let Some(found) = self.resolved.get(id) {
            return found.clone();
        }
        let zone = find_known_zone(id).map(EventZone::from_time_zone).or_else(|| {
            let lines = text_lines::read_zone_lines(self.text, self.private_zones.get(id.trim())?.clone())?;
            self.budget.start_unit();
            parse_private_zone(&lines, until, &mut self.budget)
        });
        if self.resolved.len() >= MAX_RESOLVED_ZONES {
            self.resolved.clear();
        }
        self.resolved.insert(id.to_owned(), zone.clone());
        zone
    }
}

/// A zone from the feed's own description.
fn parse_private_zone(lines: &str, until: DateTime, budget: &mut RuleBudget) -> Option<EventZone> {
    for line in lines.lines().filter(|line| text_lines::property_name(line).eq_ignore_ascii_case("RRULE")) {
        recurrence_rule::validate_rule(text_lines::property_value(line)).ok()?;
    }
    let Entry::ICalendar(zone) = Parser::new(lines).entry() else { return None };
    let iana_name = zone.components.first()?.entries.iter().find_map(|entry| match &entry.name {
        ICalendarProperty::Other(name) if name.eq_ignore_ascii_case("X-LIC-LOCATION") => {
            entry.values.first()?.as_text()
        }
        _ => None,
    });
    if let Some(zone) = iana_name.and_then(find_known_zone) {
        return Some(EventZone::from_time_zone(zone));
    }
    let observances = zone.components.iter().filter(|component| {
        matches!(component.component_type, ICalendarComponentType::Standard | ICalendarComponentType::Daylight)
    });
    let mut changes = Vec::new();
    for observance in observances {
        changes.extend(parse_offset_changes(observance, until, budget)?);
    }
    changes.sort_by_key(|change| change.at);
    let rules = ZoneRules::Private(Rc::new(OffsetChanges { initial_offset: changes.first()?.from, changes }));
    Some(EventZone { iana_place: None, rules })
}

/// All changes to standard or to summer time. `None` if one of them could not be parsed: half of a
/// zone's rules are worse than none.
fn parse_offset_changes(
    observance: &ICalendarComponent,
    until: DateTime,
    budget: &mut RuleBudget,
) -> Option<Vec<OffsetChange>> {
    let first = |name: &ICalendarProperty| observance.property(name)?.values.first();
    let offset = |name| first(name)?.as_partial_date_time().and_then(parse_offset);
    let (from, to) = (offset(&ICalendarProperty::Tzoffsetfrom)?, offset(&ICalendarProperty::Tzoffsetto)?);
    let start = first(&ICalendarProperty::Dtstart)?.as_partial_date_time().and_then(parse_local_time)?;
    let mut locals = vec![start];
    for entry in &observance.entries {
        for value in &entry.values {
            match (&entry.name, value) {
                (ICalendarProperty::Rrule, ICalendarValue::RecurrenceRule(rule)) => {
                    let bound = match &rule.until {
                        // UNTIL is in UTC. A day is more than any offset.
                        Some(until) => parse_local_time(until)?.checked_add(SignedDuration::from_hours(24)).ok()?,
                        None => until,
                    };
                    locals.extend(recurrence_rule::expand_rule(rule, start, start, bound.min(until), budget).ok()?);
                }
                (ICalendarProperty::Rrule, _) => return None,
                (ICalendarProperty::Rdate, ICalendarValue::PartialDateTime(date)) => {
                    locals.push(parse_local_time(date)?);
                }
                _ => {}
            }
        }
    }
    locals.into_iter().map(|local| Some(OffsetChange { at: from.to_timestamp(local).ok()?, from, to })).collect()
}

/// A local time in the rules of a zone.
fn parse_local_time(written: &PartialDateTime) -> Option<DateTime> {
    match IcsTime::from_written(written, None)? {
        IcsTime::Day(date) => Some(date.at(0, 0, 0, 0)),
        IcsTime::Time { local, .. } => Some(local),
    }
}

/// The offset changes of a zone, ordered by time.
#[derive(Debug)]
struct OffsetChanges {
    initial_offset: Offset,
    changes: Vec<OffsetChange>,
}

#[derive(Debug)]
struct OffsetChange {
    at: Timestamp,
    from: Offset,
    to: Offset,
}

impl OffsetChanges {
    fn offset_at(&self, at: Timestamp) -> Offset {
        let passed = self.changes.partition_point(|change| change.at <= at);
        passed.checked_sub(1).and_then(|last| self.changes.get(last)).map_or(self.initial_offset, |change| change.to)
    }

    fn to_instant(&self, local: DateTime) -> Option<Timestamp> {
        // The offset is one of those around the local time: a day is more than any offset and less
        // than the time between two changes.
        let about = Offset::UTC.to_timestamp(local).ok()?;
        let day = SignedDuration::from_hours(24);
        let before = self.offset_at(about.checked_sub(day).ok()?);
        let after = self.offset_at(about.checked_add(day).ok()?);
        let valid = |offset: Offset| offset.to_timestamp(local).ok().filter(|at| self.offset_at(*at) == offset);
        // The offset before a change gives the first of two moments, and in a gap the one behind
        // it.
        valid(before).or_else(|| valid(after)).or_else(|| before.to_timestamp(local).ok())
    }
}
