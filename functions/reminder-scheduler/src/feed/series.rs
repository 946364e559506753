//! From events to occurrences: a series with its exceptions, at the moments that its zone's clocks say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use tellonce_core::{
    appointment::Attendee,
    client_config::{CalendarConfig, ClientConfig},
    contact::{Phone, PhoneError},
};

use super::{
    event::{IcsEvent, IcsTime, IcsTimeZone},
    ics::{FeedOccurrence, IcsEventError, RuleBudget, TimeWindow},
    recurrence_rule,
    text_lines::FeedLines,
    zone::{self, EventZone, FeedZones},
};

/// How far one exception may move all that follow it.
const MAX_SHIFT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// More than the clocks of any two places differ.
const ZONE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// What a feed's events are read with.
pub(super) struct SeriesReader<'a> {
    country: &'a str,
    config: &'a ClientConfig,
    /// Where all appointments of the calendar take place, when the client says so.
    configured_zone: Option<String>,
    /// Whose clocks a time without a zone is told by.
    default_zone: EventZone,
    zones: FeedZones<'a>,
    window: TimeWindow,
    is_known: &'a dyn Fn(&str) -> bool,
    /// Numbers that were read before: a series says the same one again and again, and the plan of a country is slow.
    phones: HashMap<String, Result<Phone, PhoneError>>,
    pub(super) budget: RuleBudget,
}

/// A slot of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SeriesSlot {
    /// A whole day.
    Day(Date),
    /// A moment.
    At(Timestamp),
}

impl SeriesSlot {
    fn occurrence_id(self, uid: &str) -> String {
        match self {
            Self::Day(date) => format!("{uid}/{}", date.strftime("%Y%m%d")),
            Self::At(at) => format!("{uid}/{}", at.strftime("%Y%m%dT%H%M%SZ")),
        }
    }
}

/// An exception that speaks for all slots behind its own.
struct FollowingException<'e> {
    slot: Timestamp,
    event: &'e IcsEvent,
    /// Its zone, and how far it moves the clock; none if it makes them whole days.
    zone_and_shift: Option<(EventZone, SignedDuration)>,
}

impl<'a> SeriesReader<'a> {
    pub(super) fn new(
        lines: &'a FeedLines<'a>,
        calendar: &'a CalendarConfig,
        config: &'a ClientConfig,
        window: TimeWindow,
        is_known: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        let place_zone = |name: &str| {
            zone::find_known_zone(name).map(EventZone::from_time_zone).filter(|zone| zone.iana_place.is_some())
        };
        let configured = calendar.time_zone.as_deref().and_then(place_zone);
        let base = configured.clone().or_else(|| lines.calendar_zone.and_then(place_zone));
        Self {
            country: calendar.country.as_deref().unwrap_or(&config.country),
            config,
            configured_zone: configured.and_then(|zone| zone.iana_place),
            default_zone: base
                .unwrap_or_else(|| EventZone::from_time_zone(config.zone_or_default(None).unwrap_or(TimeZone::UTC))),
            zones: FeedZones::new(&lines.zones),
            window,
            is_known: is_known,
            phones: HashMap::new(),
            budget: RuleBudget::default(),
        }
    }

    /// The occurrences of all events with one `UID`, by their id.
    pub(super) fn expand_series(
        &mut self,
        uid: &str,
        events: Vec<IcsEvent>,
    ) -> Result<BTreeMap<String, FeedOccurrence>, IcsEventError> {
        let mut master: Option<IcsEvent> = None;
        let mut exception_events = Vec::new();
        for event in events {
            if event.recurrence_slot.is_some() {
                exception_events.push(event);
            } else if master.as_ref().is_none_or(|other| other.rank < event.rank) {
                master = Some(event);
            }
        }
        // What a slot or an exception says without a zone is told by the clocks of its series.
        let home = match master.as_ref().or(exception_events.first()).and_then(|event| event.start.as_ref()) {
            Some(IcsTime::Time { local, time_zone: clocks }) => Some((*local, self.resolve_zone(clocks)?)),
            Some(IcsTime::Day(_)) | None => None,
        };
        let mut exceptions: BTreeMap<SeriesSlot, IcsEvent> = BTreeMap::new();
        for event in exception_events {
            let Some(moment) = &event.recurrence_slot else { continue };
            let slot = match (
                self.resolve_slot(moment, home.as_ref().map(|(_, zone)| zone), "RECURRENCE-ID")?,
                &home,
                &master,
            ) {
                // Some name the slot of a timed series by its day.
                (SeriesSlot::Day(date), Some((start, zone)), Some(_)) => SeriesSlot::At(
                    zone.to_instant(date.to_datetime(start.time()))
                        .ok_or(IcsEventError::InvalidTime("RECURRENCE-ID"))?,
                ),
                (slot, ..) => slot,
            };
            if exceptions.get(&slot).is_none_or(|other| other.rank < event.rank) {
                exceptions.insert(slot, event);
            }
        }
        let mut following = Vec::new();
        for (slot, event) in &exceptions {
            if let (SeriesSlot::At(slot), true) = (*slot, event.applies_to_following) {
                following.push(FollowingException {
                    slot,
                    event,
                    zone_and_shift: self.exception_shift(slot, event, home.as_ref())?,
                });
            }
        }
        let mut found = BTreeMap::new();
        if let (Some(master), Some((start, zone))) = (&master, &home) {
            if master.rules.is_empty() && master.extra_times.is_empty() {
                let at = zone.to_instant(*start).ok_or(IcsEventError::InvalidTime("DTSTART"))?;
                self.insert_occurrence(&mut found, uid.to_owned(), at, zone, master);
            } else {
                for slot in self.collect_slots(master, *start, zone, &following)? {
                    if exceptions.contains_key(&SeriesSlot::At(slot)) {
                        continue;
                    }
                    let id = SeriesSlot::At(slot).occurrence_id(uid);
                    match following.iter().rev().find(|following| following.slot < slot) {
                        None => self.insert_occurrence(&mut found, id, slot, zone, master),
                        Some(FollowingException { event, zone_and_shift: Some((zone, shift)), .. }) => {
                            if let Some(at) = shift_slot(zone, slot, *shift) {
                                self.insert_occurrence(&mut found, id, at, zone, event);
                            }
                        }
                        Some(FollowingException { zone_and_shift: None, .. }) => {}
                    }
                }
            }
        }
        for (slot, event) in &exceptions {
            let base = home.as_ref().map_or_else(|| self.default_zone.clone(), |(_, zone)| zone.clone());
            let (at, zone) = match (&event.start, slot) {
                (Some(IcsTime::Time { local, time_zone: IcsTimeZone::Floating }), _) => (base.to_instant(*local), base),
                (Some(IcsTime::Time { local, time_zone: clocks }), _) => {
                    let zone = self.resolve_zone(clocks)?;
                    (zone.to_instant(*local), zone)
                }
                (None, SeriesSlot::At(at)) => (Some(*at), base),
                (Some(IcsTime::Day(_)), _) | (None, SeriesSlot::Day(_)) => continue,
            };
            self.insert_occurrence(
                &mut found,
                slot.occurrence_id(uid),
                at.ok_or(IcsEventError::InvalidTime("DTSTART"))?,
                &zone,
                event,
            );
        }
        if master.is_none_or(|master| master.start.is_none()) && exceptions.is_empty() {
            return Err(IcsEventError::NoStart);
        }
        Ok(found)
    }

    /// Puts an occurrence down if it matters: it lies in the window, or is known from an earlier one.
    fn insert_occurrence(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        id: String,
        start: Timestamp,
        zone: &EventZone,
        event: &IcsEvent,
    ) {
        if !self.window.contains(start) && !(self.is_known)(&id) {
            return;
        }
        let place =
            self.configured_zone.as_ref().or(zone.iana_place.as_ref()).or(self.default_zone.iana_place.as_ref());
        let occurrence = FeedOccurrence {
            start,
            zone: place.unwrap_or(&self.config.time_zone).clone(),
            status: event.status,
            attendee: self.parse_attendee(event),
            title: event.texts.title.clone(),
            place: event.texts.place.clone(),
        };
        found.insert(id, occurrence);
    }

    fn parse_attendee(&mut self, event: &IcsEvent) -> Result<Attendee, PhoneError> {
        let raw = event.texts.phone.as_deref().ok_or(PhoneError::Empty)?;
        let parse = || Phone::parse(raw, self.country, self.config.phones);
        let phone = self.phones.entry(raw.to_owned()).or_insert_with(parse).clone();
        Ok(Attendee { phone: phone?, name: event.texts.person.clone(), locale: None, zone: None })
    }

    /// The moments that a series names in and about the window, its exceptions included.
    fn collect_slots(
        &mut self,
        master: &IcsEvent,
        start: DateTime,
        zone: &EventZone,
        following: &[FollowingException<'_>],
    ) -> Result<BTreeSet<Timestamp>, IcsEventError> {
        let shifts = following.iter().filter_map(|following| following.zone_and_shift.as_ref());
        let margin = ZONE_MARGIN + shifts.map(|(_, shift)| shift.abs()).max().unwrap_or_default();
        let wide = TimeWindow {
            from: self.window.from.checked_sub(margin).unwrap_or(Timestamp::MIN),
            until: self.window.until.checked_add(margin).unwrap_or(Timestamp::MAX),
        };
        let (from, bound) = (zone.to_local(wide.from), zone.to_local(wide.until));
        let mut slots = BTreeSet::new();
        for rule in &master.rules {
            let until = match &rule.until {
                Some(until) => {
                    Some(self.rule_end(&IcsTime::from_written(until, None).ok_or(IcsEventError::InvalidRule)?, zone)?)
                }
                None => None,
            };
            // The library looks at local times; a day later no clock shows a time that is not later.
            let last = until.map(|until| zone.to_local(until).checked_add(ZONE_MARGIN).unwrap_or(DateTime::MAX));
            for local in recurrence_rule::expand_rule(
                rule,
                start,
                from,
                last.map_or(bound, |last| last.min(bound)),
                &mut self.budget,
            )? {
                if local < from || bound < local {
                    continue;
                }
                let at = zone.to_instant(local).ok_or(IcsEventError::InvalidTime("RRULE"))?;
                if until.is_none_or(|until| at <= until) {
                    slots.insert(at);
                }
            }
        }
        if master.rules.is_empty() {
            slots.insert(zone.to_instant(start).ok_or(IcsEventError::InvalidTime("DTSTART"))?);
        }
        for further in &master.extra_times {
            if let SeriesSlot::At(at) = self.resolve_slot(further, Some(zone), "RDATE")? {
                slots.insert(at);
            }
        }
        for except in &master.excluded_times {
            match self.resolve_slot(except, Some(zone), "EXDATE")? {
                SeriesSlot::At(at) => drop(slots.remove(&at)),
                // Some take a timed occurrence out by its day.
                SeriesSlot::Day(date) => slots.retain(|at| zone.to_local(*at).date() != date),
            }
        }
        slots.retain(|at| wide.contains(*at));
        Ok(slots)
    }

    /// The last moment of a rule.
    fn rule_end(&mut self, until: &IcsTime, zone: &EventZone) -> Result<Timestamp, IcsEventError> {
        match self.resolve_slot(until, Some(zone), "RRULE")? {
            SeriesSlot::At(at) => Ok(at),
            SeriesSlot::Day(date) => zone.to_instant(date.at(23, 59, 59, 0)).ok_or(IcsEventError::InvalidRule),
        }
    }

    /// What an exception does to the slots behind its own.
    fn exception_shift(
        &mut self,
        slot: Timestamp,
        event: &IcsEvent,
        home: Option<&(DateTime, EventZone)>,
    ) -> Result<Option<(EventZone, SignedDuration)>, IcsEventError> {
        let home = home.map_or_else(|| self.default_zone.clone(), |(_, zone)| zone.clone());
        let (local, zone) = match &event.start {
            None => return Ok(Some((home, SignedDuration::ZERO))),
            Some(IcsTime::Day(_)) => return Ok(None),
            Some(IcsTime::Time { local, time_zone: IcsTimeZone::Floating }) => (*local, home),
            Some(IcsTime::Time { local, time_zone: clocks }) => (*local, self.resolve_zone(clocks)?),
        };
        let shift = local.duration_since(zone.to_local(slot));
        if shift.abs() > MAX_SHIFT { Err(IcsEventError::InvalidTime("RECURRENCE-ID")) } else { Ok(Some((zone, shift))) }
    }

    /// A moment as a slot; without a zone of its own it is told by `home`'s clocks.
    fn resolve_slot(
        &mut self,
        moment: &IcsTime,
        home: Option<&EventZone>,
        property: &'static str,
    ) -> Result<SeriesSlot, IcsEventError> {
        let (local, zone) = match (moment, home) {
            (IcsTime::Day(date), _) => return Ok(SeriesSlot::Day(*date)),
            (IcsTime::Time { local, time_zone: IcsTimeZone::Floating }, Some(home)) => (*local, home.clone()),
            (IcsTime::Time { local, time_zone: clocks }, _) => (*local, self.resolve_zone(clocks)?),
        };
        zone.to_instant(local).map(SeriesSlot::At).ok_or(IcsEventError::InvalidTime(property))
    }

    fn resolve_zone(&mut self, clocks: &IcsTimeZone) -> Result<EventZone, IcsEventError> {
        match clocks {
            IcsTimeZone::Floating => Ok(self.default_zone.clone()),
            IcsTimeZone::Offset(offset) => Ok(EventZone::from_time_zone(TimeZone::fixed(*offset))),
            IcsTimeZone::Zone(id) => {
                let horizon = self.window.until.checked_add(MAX_SHIFT).unwrap_or(Timestamp::MAX);
                let horizon = self.default_zone.to_local(horizon);
                let unknown = || IcsEventError::UnknownZone(tellonce_core::telemetry::LogLabel::new(id));
                self.zones.resolve_zone(id, horizon, &mut self.budget).ok_or_else(unknown)
            }
        }
    }
}

/// A slot's moment after its clock time was moved.
fn shift_slot(zone: &EventZone, slot: Timestamp, shift: SignedDuration) -> Option<Timestamp> {
    zone.to_instant(zone.to_local(slot).checked_add(shift).ok()?)
}
