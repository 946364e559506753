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

use super::{event::Moment, ics::Work, lines, rule};

/// The most zones of its own that a feed may have rules for: there are some four hundred in the world.
const MAX_PRIVATE: usize = 600;

/// A zone: its clocks, and its IANA name if it is the name of a place.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    /// `Asia/Jerusalem`; none for UTC, a plain offset, or rules that only the feed knows.
    pub(super) place: Option<String>,
    clocks: Clocks,
}

#[derive(Debug, Clone)]
enum Clocks {
    Known(TimeZone),
    Private(Rc<Onsets>),
}

impl Zone {
    pub(super) fn of(zone: TimeZone) -> Self {
        Self { place: zone.iana_name().filter(|name| is_place(name)).map(str::to_owned), clocks: Clocks::Known(zone) }
    }

    /// The moment at which its clocks show this: what the clocks skip is behind the gap by its length, and of what they
    /// show twice it is the first.
    pub(super) fn instant(&self, local: DateTime) -> Option<Timestamp> {
        match &self.clocks {
            // jiff's "compatible", which is RFC 5545's too.
            Clocks::Known(zone) => zone.to_timestamp(local).ok(),
            Clocks::Private(onsets) => onsets.instant(local),
        }
    }

    /// What its clocks show at this moment.
    pub(super) fn local(&self, at: Timestamp) -> DateTime {
        match &self.clocks {
            Clocks::Known(zone) => zone.to_datetime(at),
            Clocks::Private(onsets) => onsets.offset_at(at).to_datetime(at),
        }
    }
}

/// Whether a zone's name says where: appointments take place somewhere, and nobody lives in UTC.
fn is_place(name: &str) -> bool {
    const NOWHERE: [&str; 9] = ["UTC", "UCT", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich", "Universal", "Zulu"];
    !name.starts_with("Etc/") && !NOWHERE.contains(&name)
}

/// A zone by a name that is known without the feed.
pub(super) fn known(name: &str) -> Option<TimeZone> {
    let name = name.trim();
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    // "(UTC+02:00) Jerusalem", as Windows shows it to people: the one of its names that the library lacks.
    let shown = name.rsplit_once(')').map_or(name, |(_, shown)| shown.trim_start());
    if ["Jerusalem", "ירושלים"].contains(&shown) {
        return TimeZone::get("Asia/Jerusalem").ok();
    }
    let Tz::Tz(zone) = Tz::from_str(name).ok()? else { return None };
    // Of "(UTC+02:00) Somewhere" the offset is only half of it: whether the clocks change is in a name we don't know.
    let guessed = name.starts_with('(') && zone.name().starts_with("Etc/");
    if guessed { None } else { TimeZone::get(zone.name()).ok() }
}

/// The zones of one feed.
pub(super) struct Zones<'a> {
    /// Lines of the feed's own zones, by their `TZID`.
    private: HashMap<&'a str, &'a [&'a str]>,
    found: HashMap<String, Option<Zone>>,
}

impl<'a> Zones<'a> {
    pub(super) fn new(zones: &'a [Vec<&'a str>]) -> Self {
        let id = |zone: &[&'a str]| {
            zone.iter().find(|line| lines::name(line).eq_ignore_ascii_case("TZID")).map(|line| lines::value(line))
        };
        let private = zones.iter().take(MAX_PRIVATE).filter_map(|zone| Some((id(zone)?, zone.as_slice()))).collect();
        Self { private, found: HashMap::new() }
    }

    /// The zone that a `TZID` names. The rules of a private one are read up to `until`.
    pub(super) fn get(&mut self, id: &str, until: DateTime, work: &mut Work) -> Option<Zone> {
        if let Some(found) = self.found.get(id) {
            return found.clone();
        }
        let zone = known(id).map(Zone::of).or_else(|| private(self.private.get(id.trim())?, until, work));
        self.found.insert(id.to_owned(), zone.clone());
        zone
    }
}

/// A zone by the feed's own description of it.
fn private(lines: &[&str], until: DateTime, work: &mut Work) -> Option<Zone> {
    for line in lines.iter().filter(|line| lines::name(line).eq_ignore_ascii_case("RRULE")) {
        rule::vet(lines::value(line)).ok()?;
    }
    let Entry::ICalendar(zone) = Parser::new(&lines.join("\n")).entry() else { return None };
    let named = zone.components.first()?.entries.iter().find_map(|entry| match &entry.name {
        ICalendarProperty::Other(name) if name.eq_ignore_ascii_case("X-LIC-LOCATION") => {
            entry.values.first()?.as_text()
        }
        _ => None,
    });
    if let Some(zone) = named.and_then(known) {
        return Some(Zone::of(zone));
    }
    let observances = zone.components.iter().filter(|component| {
        matches!(component.component_type, ICalendarComponentType::Standard | ICalendarComponentType::Daylight)
    });
    let mut onsets = Vec::new();
    for observance in observances {
        onsets.extend(onsets_of(observance, until, work)?);
    }
    onsets.sort_by_key(|onset| onset.at);
    let clocks = Clocks::Private(Rc::new(Onsets { before: onsets.first()?.from, onsets }));
    Some(Zone { place: None, clocks })
}

/// Every time that a change to standard or to summer time sets in. `None` if one of them is not understood: half of a
/// zone's rules are worse than none.
fn onsets_of(observance: &ICalendarComponent, until: DateTime, work: &mut Work) -> Option<Vec<Onset>> {
    let first = |name: &ICalendarProperty| observance.property(name)?.values.first();
    let offset = |name| first(name)?.as_partial_date_time().and_then(offset);
    let (from, to) = (offset(&ICalendarProperty::Tzoffsetfrom)?, offset(&ICalendarProperty::Tzoffsetto)?);
    let start = first(&ICalendarProperty::Dtstart)?.as_partial_date_time().and_then(local)?;
    let mut locals = vec![start];
    for entry in &observance.entries {
        for value in &entry.values {
            match (&entry.name, value) {
                (ICalendarProperty::Rrule, ICalendarValue::RecurrenceRule(rule)) => {
                    let bound = match &rule.until {
                        // UTC; a day is more than any offset.
                        Some(until) => local(until)?.checked_add(SignedDuration::from_hours(24)).ok()?,
                        None => until,
                    };
                    locals.extend(rule::expand(rule, start, start, bound.min(until), work).ok()?);
                }
                (ICalendarProperty::Rrule, _) => return None,
                (ICalendarProperty::Rdate, ICalendarValue::PartialDateTime(date)) => locals.push(local(date)?),
                _ => {}
            }
        }
    }
    locals.into_iter().map(|local| Some(Onset { at: from.to_timestamp(local).ok()?, from, to })).collect()
}

/// A local time, as a zone's rules are written.
fn local(written: &PartialDateTime) -> Option<DateTime> {
    match Moment::of(written, None)? {
        Moment::Day(date) => Some(date.at(0, 0, 0, 0)),
        Moment::Time { local, .. } => Some(local),
    }
}

/// `+0200`.
pub(super) fn offset(written: &PartialDateTime) -> Option<Offset> {
    let seconds = i32::from(written.tz_hour?) * 3600 + i32::from(written.tz_minute.unwrap_or(0)) * 60;
    Offset::from_seconds(if written.tz_minus { -seconds } else { seconds }).ok()
}

/// Changes of the clocks, in order.
#[derive(Debug)]
struct Onsets {
    before: Offset,
    onsets: Vec<Onset>,
}

#[derive(Debug)]
struct Onset {
    at: Timestamp,
    from: Offset,
    to: Offset,
}

impl Onsets {
    fn offset_at(&self, at: Timestamp) -> Offset {
        let passed = self.onsets.partition_point(|onset| onset.at <= at);
        passed.checked_sub(1).and_then(|last| self.onsets.get(last)).map_or(self.before, |onset| onset.to)
    }

    fn instant(&self, local: DateTime) -> Option<Timestamp> {
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
