//! Zones of events: which local time they have at which moment.
//!
//! [`find_known_zone`] finds a zone by a name that is known everywhere, and [`parse_private_zone`]
//! reads the feed's own description of one. `feed_zones` decides which of them counts.

use std::{rc::Rc, str::FromStr};

use calcard::common::timezone::Tz;
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{
    ics_time::{IcsTime, parse_offset},
    recurrence_rule::{RecurrenceRule, RuleBudget},
    text_lines,
    time_property::TimeProperty,
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

    /// Whether it is a known zone without a place, such as UTC.
    pub(super) fn is_placeless(&self) -> bool {
        self.iana_place.is_none() && matches!(self.rules, ZoneRules::Known(_))
    }

    /// Whether both have the same rules.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.rules, &other.rules) {
            (ZoneRules::Known(one), ZoneRules::Known(other)) => one == other,
            (ZoneRules::Private(one), ZoneRules::Private(other)) => Rc::ptr_eq(one, other),
            _ => false,
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

/// How Windows displays zones that the library lacks, behind the offset.
const DISPLAYED_ZONES: [(&str, &str); 9] = [
    ("Jerusalem", "Asia/Jerusalem"),
    ("ירושלים", "Asia/Jerusalem"),
    ("Coordinated Universal Time", "UTC"),
    ("Koordinierte Weltzeit", "UTC"),
    ("Temps universel coordonné", "UTC"),
    ("Hora universal coordinada", "UTC"),
    ("Tempo coordinato universale", "UTC"), // spellchecker:disable-line
    ("זמן אוניברסלי מתואם", "UTC"),
    ("tzone://Microsoft/Utc", "UTC"),
];

/// A zone by a name that needs no description in the feed. That is an IANA name, also as the end of
/// a longer name (`/mozilla.org/20050126_1/Asia/Jerusalem`), or a name that Windows, Exchange or an
/// old calendar uses. `calcard` knows some hundreds of them.
pub(super) fn find_known_zone(name: &str) -> Option<TimeZone> {
    let name = name.trim();
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    // "(UTC+02:00) Jerusalem"
    let display_name = name.rsplit_once(')').map_or(name, |(_, shown)| shown.trim_start());
    let displayed = DISPLAYED_ZONES.iter().find(|(shown, _)| shown.eq_ignore_ascii_case(display_name));
    if let Some((_, zone)) = displayed {
        return TimeZone::get(zone).ok();
    }
    if let Some(zone) = find_zone_at_end(name) {
        return Some(zone);
    }
    let Tz::Tz(zone) = Tz::from_str(name).ok()? else { return None };
    // "(UTC+02:00) Somewhere" gives the offset, but whether the clocks change there is unknown.
    let is_guess = name.starts_with('(') && zone.name().starts_with("Etc/");
    if is_guess { None } else { TimeZone::get(zone.name()).ok() }
}

/// The zone whose IANA name ends a longer name with slashes, such as that of a registry.
fn find_zone_at_end(name: &str) -> Option<TimeZone> {
    let slashes: Vec<usize> = name.match_indices('/').map(|(at, _)| at).collect();
    // The IANA names of places have two or three parts.
    let starts = slashes.iter().rev().take(3).skip(1).rev();
    starts.filter_map(|at| name.get(at + 1..)).find_map(|end| TimeZone::get(end).ok())
}

/// The lines of a property.
pub(super) fn lines_named<'l>(lines: &'l str, name: &'static str) -> impl Iterator<Item = &'l str> {
    lines.lines().filter(move |line| text_lines::property_name(line).eq_ignore_ascii_case(name))
}

/// A zone from the feed's own description.
pub(super) fn parse_private_zone(lines: &str, until: DateTime, budget: &mut RuleBudget) -> Option<EventZone> {
    let iana_name = lines_named(lines, "X-LIC-LOCATION").next().map(text_lines::property_value);
    if let Some(zone) = iana_name.and_then(find_known_zone) {
        return Some(EventZone::from_time_zone(zone));
    }
    let mut changes = Vec::new();
    for observance in observances_of(lines) {
        changes.extend(parse_offset_changes(&observance, until, budget)?);
    }
    changes.sort_by_key(|change| change.at);
    let rules = ZoneRules::Private(Rc::new(OffsetChanges { initial_offset: changes.first()?.from, changes }));
    Some(EventZone { iana_place: None, rules })
}

/// The lines of each `STANDARD` and `DAYLIGHT` of a zone.
fn observances_of(lines: &str) -> Vec<String> {
    let mut observances: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in lines.lines() {
        let value = text_lines::property_value(line);
        let is_observance = ["STANDARD", "DAYLIGHT"].iter().any(|name| name.eq_ignore_ascii_case(value));
        match text_lines::property_name(line) {
            name if name.eq_ignore_ascii_case("BEGIN") && is_observance => {
                is_inside = true;
                observances.push(String::new());
            }
            name if name.eq_ignore_ascii_case("END") && is_observance => is_inside = false,
            _ if is_inside => {
                if let Some(observance) = observances.last_mut() {
                    observance.push_str(line);
                    observance.push('\n');
                }
            }
            _ => {}
        }
    }
    observances
}

/// All changes to standard or to summer time. `None` if one of them could not be parsed: half of a
/// zone's rules are worse than none.
fn parse_offset_changes(observance: &str, until: DateTime, budget: &mut RuleBudget) -> Option<Vec<OffsetChange>> {
    let offset = |name| lines_named(observance, name).next().map(text_lines::property_value).and_then(parse_offset);
    let (from, to) = (offset("TZOFFSETFROM")?, offset("TZOFFSETTO")?);
    let (start, _) = TimeProperty::parse_single(lines_named(observance, "DTSTART").next()?, "DTSTART").ok()?;
    let start = start.local();
    let mut locals = vec![start];
    for line in lines_named(observance, "RRULE") {
        let rule = RecurrenceRule::parse(line).ok()?;
        let bound = match &rule.until {
            // UNTIL is in UTC. A day is more than any offset.
            Some(until) => until.local().checked_add(SignedDuration::from_hours(24)).ok()?,
            None => until,
        };
        locals.extend(rule.expand(start, start, bound.min(until), budget).ok()?);
    }
    for line in lines_named(observance, "RDATE") {
        locals.extend(TimeProperty::parse(line, "RDATE").ok()?.times.iter().map(IcsTime::local));
    }
    locals.into_iter().map(|local| Some(OffsetChange { at: from.to_timestamp(local).ok()?, from, to })).collect()
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
