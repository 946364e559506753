//! From events to occurrences: a series with its exceptions, at the moments that its zone's clocks say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use shared::{
    appointment::Attendee,
    client_config::{Calendar, ClientConfig},
    contact::{Phone, PhoneError},
};

use super::{
    event::{Clocks, Event, Moment},
    ics::{EventError, Occurrence, Window, Work},
    lines::Lines,
    rule,
    zone::{self, Zone, Zones},
};

/// How far one exception may move all that follow it.
const MAX_SHIFT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// More than the clocks of any two places differ.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a feed's events are read with.
pub(super) struct Reader<'a> {
    country: &'a str,
    config: &'a ClientConfig,
    /// Where all appointments of the calendar take place, when the client says so.
    configured: Option<String>,
    /// Whose clocks a time without a zone is told by.
    base: Zone,
    zones: Zones<'a>,
    window: Window,
    known: &'a dyn Fn(&str) -> bool,
    /// Numbers that were read before: a series says the same one again and again, and the plan of a country is slow.
    phones: HashMap<String, Result<Phone, PhoneError>>,
    pub(super) work: Work,
}

/// A slot of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    /// A whole day.
    Day(Date),
    /// A moment.
    At(Timestamp),
}

impl Slot {
    fn id(self, uid: &str) -> String {
        match self {
            Self::Day(date) => format!("{uid}/{}", date.strftime("%Y%m%d")),
            Self::At(at) => format!("{uid}/{}", at.strftime("%Y%m%dT%H%M%SZ")),
        }
    }
}

/// An exception that speaks for all slots behind its own.
struct Following<'e> {
    slot: Timestamp,
    event: &'e Event,
    /// Its zone, and how far it moves the clock; none if it makes them whole days.
    moves: Option<(Zone, SignedDuration)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        lines: &'a Lines<'a>,
        calendar: &'a Calendar,
        config: &'a ClientConfig,
        window: Window,
        known: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        let place = |name: &str| zone::known(name).map(Zone::of).filter(|zone| zone.place.is_some());
        let configured = calendar.time_zone.as_deref().and_then(place);
        let base = configured.clone().or_else(|| lines.shown_in.and_then(place));
        Self {
            country: calendar.country.as_deref().unwrap_or(&config.country),
            config,
            configured: configured.and_then(|zone| zone.place),
            base: base.unwrap_or_else(|| Zone::of(config.zone_or_own(None).unwrap_or(TimeZone::UTC))),
            zones: Zones::new(&lines.zones),
            window,
            known,
            phones: HashMap::new(),
            work: Work::default(),
        }
    }

    /// The occurrences of all events with one `UID`, by their id.
    pub(super) fn series(&mut self, uid: &str, events: Vec<Event>) -> Result<BTreeMap<String, Occurrence>, EventError> {
        let mut master: Option<Event> = None;
        let mut copies = Vec::new();
        for event in events {
            if event.slot.is_some() {
                copies.push(event);
            } else if master.as_ref().is_none_or(|other| other.rank < event.rank) {
                master = Some(event);
            }
        }
        // What a slot or an exception says without a zone is told by the clocks of its series.
        let home = match master.as_ref().or(copies.first()).and_then(|event| event.start.as_ref()) {
            Some(Moment::Time { local, clocks }) => Some((*local, self.zone(clocks)?)),
            Some(Moment::Day(_)) | None => None,
        };
        let mut exceptions: BTreeMap<Slot, Event> = BTreeMap::new();
        for event in copies {
            let Some(moment) = &event.slot else { continue };
            let slot = match (self.slot(moment, home.as_ref().map(|(_, zone)| zone), "RECURRENCE-ID")?, &home, &master)
            {
                // Some name the slot of a timed series by its day.
                (Slot::Day(date), Some((start, zone)), Some(_)) => {
                    Slot::At(zone.instant(date.to_datetime(start.time())).ok_or(EventError::Time("RECURRENCE-ID"))?)
                }
                (slot, ..) => slot,
            };
            if exceptions.get(&slot).is_none_or(|other| other.rank < event.rank) {
                exceptions.insert(slot, event);
            }
        }
        let mut following = Vec::new();
        for (slot, event) in &exceptions {
            if let (Slot::At(slot), true) = (*slot, event.following) {
                following.push(Following { slot, event, moves: self.moves(slot, event, home.as_ref())? });
            }
        }
        let mut found = BTreeMap::new();
        if let (Some(master), Some((start, zone))) = (&master, &home) {
            if master.rules.is_empty() && master.further.is_empty() {
                let at = zone.instant(*start).ok_or(EventError::Time("DTSTART"))?;
                self.put(&mut found, uid.to_owned(), at, zone, master);
            } else {
                for slot in self.slots(master, *start, zone, &following)? {
                    if exceptions.contains_key(&Slot::At(slot)) {
                        continue;
                    }
                    let id = Slot::At(slot).id(uid);
                    match following.iter().rev().find(|following| following.slot < slot) {
                        None => self.put(&mut found, id, slot, zone, master),
                        Some(Following { event, moves: Some((zone, shift)), .. }) => {
                            if let Some(at) = shifted(zone, slot, *shift) {
                                self.put(&mut found, id, at, zone, event);
                            }
                        }
                        Some(Following { moves: None, .. }) => {}
                    }
                }
            }
        }
        for (slot, event) in &exceptions {
            let base = home.as_ref().map_or_else(|| self.base.clone(), |(_, zone)| zone.clone());
            let (at, zone) = match (&event.start, slot) {
                (Some(Moment::Time { local, clocks: Clocks::Floating }), _) => (base.instant(*local), base),
                (Some(Moment::Time { local, clocks }), _) => {
                    let zone = self.zone(clocks)?;
                    (zone.instant(*local), zone)
                }
                (None, Slot::At(at)) => (Some(*at), base),
                (Some(Moment::Day(_)), _) | (None, Slot::Day(_)) => continue,
            };
            self.put(&mut found, slot.id(uid), at.ok_or(EventError::Time("DTSTART"))?, &zone, event);
        }
        if master.is_none_or(|master| master.start.is_none()) && exceptions.is_empty() {
            return Err(EventError::NoStart);
        }
        Ok(found)
    }

    /// Puts an occurrence down if it matters: it lies in the window, or is known from an earlier one.
    fn put(
        &mut self,
        found: &mut BTreeMap<String, Occurrence>,
        id: String,
        start: Timestamp,
        zone: &Zone,
        event: &Event,
    ) {
        if !self.window.holds(start) && !(self.known)(&id) {
            return;
        }
        let place = self.configured.as_ref().or(zone.place.as_ref()).or(self.base.place.as_ref());
        let occurrence = Occurrence {
            start,
            zone: place.unwrap_or(&self.config.time_zone).clone(),
            standing: event.standing,
            attendee: self.attendee(event),
            title: event.words.title.clone(),
            place: event.words.place.clone(),
        };
        found.insert(id, occurrence);
    }

    fn attendee(&mut self, event: &Event) -> Result<Attendee, PhoneError> {
        let raw = event.words.phone.as_deref().ok_or(PhoneError::Empty)?;
        let parse = || Phone::parse(raw, self.country, self.config.phones);
        let phone = self.phones.entry(raw.to_owned()).or_insert_with(parse).clone();
        Ok(Attendee { phone: phone?, name: event.words.person.clone(), locale: None, zone: None })
    }

    /// The moments that a series names in and about the window, its exceptions included.
    fn slots(
        &mut self,
        master: &Event,
        start: DateTime,
        zone: &Zone,
        following: &[Following<'_>],
    ) -> Result<BTreeSet<Timestamp>, EventError> {
        let shifts = following.iter().filter_map(|following| following.moves.as_ref());
        let margin = DAY + shifts.map(|(_, shift)| shift.abs()).max().unwrap_or_default();
        let wide = Window {
            from: self.window.from.checked_sub(margin).unwrap_or(Timestamp::MIN),
            until: self.window.until.checked_add(margin).unwrap_or(Timestamp::MAX),
        };
        let (from, bound) = (zone.local(wide.from), zone.local(wide.until));
        let mut slots = BTreeSet::new();
        for rule in &master.rules {
            let until = match &rule.until {
                Some(until) => Some(self.last(&Moment::of(until, None).ok_or(EventError::Rule)?, zone)?),
                None => None,
            };
            // The library looks at local times; a day later no clock shows a time that is not later.
            let last = until.map(|until| zone.local(until).checked_add(DAY).unwrap_or(DateTime::MAX));
            for local in rule::expand(rule, start, from, last.map_or(bound, |last| last.min(bound)), &mut self.work)? {
                if local < from || bound < local {
                    continue;
                }
                let at = zone.instant(local).ok_or(EventError::Time("RRULE"))?;
                if until.is_none_or(|until| at <= until) {
                    slots.insert(at);
                }
            }
        }
        if master.rules.is_empty() {
            slots.insert(zone.instant(start).ok_or(EventError::Time("DTSTART"))?);
        }
        for further in &master.further {
            if let Slot::At(at) = self.slot(further, Some(zone), "RDATE")? {
                slots.insert(at);
            }
        }
        for except in &master.except {
            match self.slot(except, Some(zone), "EXDATE")? {
                Slot::At(at) => drop(slots.remove(&at)),
                // Some take a timed occurrence out by its day.
                Slot::Day(date) => slots.retain(|at| zone.local(*at).date() != date),
            }
        }
        slots.retain(|at| wide.holds(*at));
        Ok(slots)
    }

    /// The last moment of a rule.
    fn last(&mut self, until: &Moment, zone: &Zone) -> Result<Timestamp, EventError> {
        match self.slot(until, Some(zone), "RRULE")? {
            Slot::At(at) => Ok(at),
            Slot::Day(date) => zone.instant(date.at(23, 59, 59, 0)).ok_or(EventError::Rule),
        }
    }

    /// What an exception does to the slots behind its own.
    fn moves(
        &mut self,
        slot: Timestamp,
        event: &Event,
        home: Option<&(DateTime, Zone)>,
    ) -> Result<Option<(Zone, SignedDuration)>, EventError> {
        let home = home.map_or_else(|| self.base.clone(), |(_, zone)| zone.clone());
        let (local, zone) = match &event.start {
            None => return Ok(Some((home, SignedDuration::ZERO))),
            Some(Moment::Day(_)) => return Ok(None),
            Some(Moment::Time { local, clocks: Clocks::Floating }) => (*local, home),
            Some(Moment::Time { local, clocks }) => (*local, self.zone(clocks)?),
        };
        let shift = local.duration_since(zone.local(slot));
        if shift.abs() > MAX_SHIFT { Err(EventError::Time("RECURRENCE-ID")) } else { Ok(Some((zone, shift))) }
    }

    /// A moment as a slot; without a zone of its own it is told by `home`'s clocks.
    fn slot(&mut self, moment: &Moment, home: Option<&Zone>, property: &'static str) -> Result<Slot, EventError> {
        let (local, zone) = match (moment, home) {
            (Moment::Day(date), _) => return Ok(Slot::Day(*date)),
            (Moment::Time { local, clocks: Clocks::Floating }, Some(home)) => (*local, home.clone()),
            (Moment::Time { local, clocks }, _) => (*local, self.zone(clocks)?),
        };
        zone.instant(local).map(Slot::At).ok_or(EventError::Time(property))
    }

    fn zone(&mut self, clocks: &Clocks) -> Result<Zone, EventError> {
        match clocks {
            Clocks::Floating => Ok(self.base.clone()),
            Clocks::Offset(offset) => Ok(Zone::of(TimeZone::fixed(*offset))),
            Clocks::Zone(id) => {
                let horizon = self.window.until.checked_add(MAX_SHIFT).unwrap_or(Timestamp::MAX);
                let horizon = self.base.local(horizon);
                let unknown = || EventError::UnknownZone(shared::observe::Label::new(id));
                self.zones.get(id, horizon, &mut self.work).ok_or_else(unknown)
            }
        }
    }
}

/// A slot's moment after its clock time was moved.
fn shifted(zone: &Zone, slot: Timestamp, shift: SignedDuration) -> Option<Timestamp> {
    zone.instant(zone.local(slot).checked_add(shift).ok()?)
}
