//! Which zone a `TZID` means, and what its clocks show when.
//!
//! In this order: an IANA name; a name that Windows, Exchange or an old calendar gives a zone (`calcard` knows some
//! hundreds of them); the IANA name inside the feed's own `VTIMEZONE`; the rules of that `VTIMEZONE`. So a known zone
//! follows the rules of today and not those of the day the feed's generator was written. A name that is none of these is
//! no zone: a guess could be an hour or a day off.

use std::{collections::HashMap, rc::Rc, str::FromStr};

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

use super::{event::IcsTime, ics::RuleBudget, recurrence_rule, text_lines};

/// The most zones of its own that a feed may have rules for: there are some four hundred in the world.
const MAX_PRIVATE_ZONES: usize = 600;

/// A zone: its clocks, and its IANA name if it is the name of a place.
#[derive(Debug, Clone)]
pub(super) struct EventZone {
    /// `Asia/Jerusalem`; none for UTC, a plain offset, or rules that only the feed knows.
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

    /// The moment at which its clocks show this: what the clocks skip is behind the gap by its length, and of what they
    /// show twice it is the first.
    pub(super) fn to_instant(&self, local: DateTime) -> Option<Timestamp> {
        match &self.rules {
            // jiff's "compatible", which is RFC 5545's too.
            ZoneRules::Known(zone) => zone.to_timestamp(local).ok(),
            ZoneRules::Private(onsets) => onsets.to_instant(local),
        }
    }

    /// What its clocks show at this moment.
    pub(super) fn to_local(&self, at: Timestamp) -> DateTime {
        match &self.rules {
            ZoneRules::Known(zone) => zone.to_datetime(at),
            ZoneRules::Private(onsets) => onsets.offset_at(at).to_datetime(at),
        }
    }
}

/// Whether a zone's name says where: appointments take place somewhere, and nobody lives in UTC.
fn is_place_zone(name: &str) -> bool {
    const PLACELESS_ZONES: [&str; 9] =
        ["UTC", "UCT", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich", "Universal", "Zulu"];
    !name.starts_with("Etc/") && !PLACELESS_ZONES.contains(&name)
}

/// A zone by a name that is known without the feed.
pub(super) fn find_known_zone(name: &str) -> Option<TimeZone> {
    let name = name.trim();
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    // "(UTC+02:00) Jerusalem", as Windows shows it to people: the one of its names that the library lacks.
    let display_name = name.rsplit_once(')').map_or(name, |(_, shown)| shown.trim_start());
    if ["Jerusalem", "ירושלים"].contains(&display_name) {
        return TimeZone::get("Asia/Jerusalem").ok();
    }
    let Tz::Tz(zone) = Tz::from_str(name).ok()? else { return None };
    // Of "(UTC+02:00) Somewhere" the offset is only half of it: whether the clocks change is in a name we don't know.
    let guessed = name.starts_with('(') && zone.name().starts_with("Etc/");
    if guessed { None } else { TimeZone::get(zone.name()).ok() }
}

/// The zones of one feed.
pub(super) struct FeedZones<'a> {
    /// Lines of the feed's own zones, by their `TZID`.
    private_zones: HashMap<&'a str, &'a [&'a str]>,
    resolved: HashMap<String, Option<EventZone>>,
}

impl<'a> FeedZones<'a> {
    pub(super) fn new(zones: &'a [Vec<&'a str>]) -> Self {
        let id = |zone: &[&'a str]| {
            zone.iter()
                .find(|line| text_lines::property_name(line).eq_ignore_ascii_case("TZID"))
                .map(|line| text_lines::property_value(line))
        };
        let private_zones =
            zones.iter().take(MAX_PRIVATE_ZONES).filter_map(|zone| Some((id(zone)?, zone.as_slice()))).collect();
        Self { private_zones, resolved: HashMap::new() }
    }

    /// The zone that a `TZID` names. The rules of a private one are read up to `useful_until`.
    pub(super) fn resolve_zone(&mut self, id: &str, until: DateTime, budget: &mut RuleBudget) -> Option<EventZone> {
        if let Some(found) = self.resolved.get(id) {
            return found.clone();
        }
        let zone = find_known_zone(id)
            .map(EventZone::from_time_zone)
            .or_else(|| parse_private_zone(self.private_zones.get(id.trim())?, until, budget));
        self.resolved.insert(id.to_owned(), zone.clone());
        zone
    }
}

/// A zone by the feed's own description of it.
fn parse_private_zone(lines: &[&str], until: DateTime, budget: &mut RuleBudget) -> Option<EventZone> {
    for line in lines.iter().filter(|line| text_lines::property_name(line).eq_ignore_ascii_case("RRULE")) {
        recurrence_rule::validate_rule(text_lines::property_value(line)).ok()?;
    }
    let Entry::ICalendar(zone) = Parser::new(&lines.join("\n")).entry() else { return None };
    let named = zone.components.first()?.entries.iter().find_map(|entry| match &entry.name {
        ICalendarProperty::Other(name) if name.eq_ignore_ascii_case("X-LIC-LOCATION") => {
            entry.values.first()?.as_text()
        }
        _ => None,
    });
    if let Some(zone) = named.and_then(find_known_zone) {
        return Some(EventZone::from_time_zone(zone));
    }
    let observances = zone.components.iter().filter(|component| {
        matches!(component.component_type, ICalendarComponentType::Standard | ICalendarComponentType::Daylight)
    });
    let mut onsets = Vec::new();
    for observance in observances {
        onsets.extend(parse_offset_changes(observance, until, budget)?);
    }
    onsets.sort_by_key(|onset| onset.at);
    let clocks = ZoneRules::Private(Rc::new(OffsetChanges { initial_offset: onsets.first()?.from, changes: onsets }));
    Some(EventZone { iana_place: None, rules: clocks })
}

/// Every time that a change to standard or to summer time sets in. `OnlyMissing` if one of them is not understood: half of a
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
                        // UTC; a day is more than any offset.
                        Some(until) => parse_local_time(until)?.checked_add(SignedDuration::from_hours(24)).ok()?,
                        None => until,
                    };
                    locals.extend(recurrence_rule::expand_rule(rule, start, start, bound.min(until), budget).ok()?);
                }
                (ICalendarProperty::Rrule, _) => return None,
                (ICalendarProperty::Rdate, ICalendarValue::PartialDateTime(date)) => {
                    locals.push(parse_local_time(date)?)
                }
                _ => {}
            }
        }
    }
    locals.into_iter().map(|local| Some(OffsetChange { at: from.to_timestamp(local).ok()?, from, to })).collect()
}

/// A local time, as a zone's rules are written.
fn parse_local_time(written: &PartialDateTime) -> Option<DateTime> {
    match IcsTime::from_written(written, None)? {
        IcsTime::Day(date) => Some(date.at(0, 0, 0, 0)),
        IcsTime::Time { local, .. } => Some(local),
    }
}

/// `+0200`.
pub(super) fn parse_offset(written: &PartialDateTime) -> Option<Offset> {
    let seconds = i32::from(written.tz_hour?) * 3600 + i32::from(written.tz_minute.unwrap_or(0)) * 60;
    Offset::from_seconds(if written.tz_minus { -seconds } else { seconds }).ok()
}

/// Changes of the clocks, in order.
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
        let passed = self.changes.partition_point(|onset| onset.at <= at);
        passed.checked_sub(1).and_then(|last| self.changes.get(last)).map_or(self.initial_offset, |onset| onset.to)
    }

    fn to_instant(&self, local: DateTime) -> Option<Timestamp> {
        // Of the offsets around it: a day is more than any offset and less than the way between two changes.
        let about = Offset::UTC.to_timestamp(local).ok()?;
        let day = SignedDuration::from_hours(24);
        let before = self.offset_at(about.checked_sub(day).ok()?);
        let after = self.offset_at(about.checked_add(day).ok()?);
        let shown = |offset: Offset| offset.to_timestamp(local).ok().filter(|at| self.offset_at(*at) == offset);
        // The offset before a change gives the first of two, and in a gap what lies behind it.
        shown(before).or_else(|| shown(after)).or_else(|| before.to_timestamp(local).ok())
    }
}
