//! From events to occurrences: expands a series with its exceptions into moments.
//!
//! Main type: [`SeriesReader`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};
use tellonce_core::{
    appointment::Attendee,
    client_config::ClientConfig,
    contact::{Phone, PhoneError},
};

use super::{
    event::IcsEvent,
    feed_zones::FeedZones,
    ics_time::{IcsTime, IcsTimeZone},
    occurrence::{FeedOccurrence, FeedScope, TimeWindow},
    outline::{CalendarNumber, FeedOutline},
    parse_error::{FeedParseError, IcsEventError},
    recurrence_rule::RuleBudget,
    zone::EventZone,
};

/// How far one exception may move the slots behind it.
const MAX_SHIFT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// More than the local times of any two places differ.
const ZONE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// Expands the series of one feed.
pub(super) struct SeriesReader<'a> {
    country: &'a str,
    config: &'a ClientConfig,
    zones: FeedZones<'a>,
    window: TimeWindow,
    is_known: &'a dyn Fn(&str) -> bool,
    /// The numbers that were parsed before. A series repeats its number, and parsing one is slow.
    phones: HashMap<String, Result<Phone, PhoneError>>,
    budget: RuleBudget,
    /// Some of the unknown occurrences without an attendee who can be messaged.
    pub(super) unreachable: BTreeMap<String, (Timestamp, PhoneError)>,
}

/// The most numbers that are kept.
const MAX_KEPT_PHONES: usize = 1_000;
/// The most occurrences of one `UID`: ten a day for three months.
const MAX_UID_OCCURRENCES: usize = 1_000;
/// The most occurrences without an attendee that are kept, for people.
const MAX_UNREACHABLE: usize = 100;

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

/// Where a series is at home: its calendar, and its start and zone if it has a time of day.
struct SeriesHome {
    calendar: CalendarNumber,
    start: Option<(DateTime, EventZone)>,
}

impl SeriesHome {
    fn zone(&self) -> Option<&EventZone> {
        self.start.as_ref().map(|(_, zone)| zone)
    }
}

/// The slots of a series with the local time that its rule gives each. The moment has another local
/// time if the clocks skip this one.
type Slots = BTreeMap<Timestamp, DateTime>;

/// The slots that a series excludes.
#[derive(Default)]
struct ExcludedSlots {
    at: BTreeSet<Timestamp>,
    /// Some calendars exclude a timed occurrence by its day.
    days: BTreeSet<Date>,
}

impl ExcludedSlots {
    fn contains(&self, slot: SeriesSlot, zone: Option<&EventZone>) -> bool {
        match slot {
            SeriesSlot::Day(date) => self.days.contains(&date),
            SeriesSlot::At(at) => {
                self.at.contains(&at) || zone.is_some_and(|zone| self.days.contains(&zone.to_local(at).date()))
            }
        }
    }
}

/// An exception that also applies to all slots behind its own.
struct FollowingException<'e> {
    slot: Timestamp,
    event: &'e IcsEvent,
    /// Its zone, and how far it moves the local time. `None` if it makes the slots whole days.
    zone_and_shift: Option<(EventZone, SignedDuration)>,
}

impl<'a> SeriesReader<'a> {
    pub(super) fn new(text: &'a [u8], outline: &'a FeedOutline, scope: FeedScope<'a>) -> Self {
        let FeedScope { calendar, config, window, is_known, .. } = scope;
        let horizon = window.until.checked_add(MAX_SHIFT + ZONE_MARGIN).unwrap_or(Timestamp::MAX);
        Self {
            country: calendar.country.as_deref().unwrap_or(&config.country),
            config,
            zones: FeedZones::new(text, outline, calendar, config, Offset::UTC.to_datetime(horizon)),
            window,
            is_known,
            phones: HashMap::new(),
            budget: RuleBudget::default(),
            unreachable: BTreeMap::new(),
        }
    }

    /// Whether the rules of all events and zones so far are still within the limits of a feed.
    pub(super) fn check_limits(&self) -> Result<(), FeedParseError> {
        self.budget.check_limits().and_then(|()| self.zones.check_limits())
    }

    /// The occurrences of all events with one `UID`, by their id.
    pub(super) fn expand_series(
        &mut self,
        uid: &str,
        events: Vec<IcsEvent>,
    ) -> Result<BTreeMap<String, FeedOccurrence>, IcsEventError> {
        self.budget.start_unit();
        let (master, exception_events) = split_master(events);
        // A slot or an exception without a zone has the zone of its series.
        let first = master.as_ref().or(exception_events.first());
        let home = match first.map(|event| (event.calendar, &event.start)) {
            Some((calendar, Some(IcsTime::Time { local, time_zone }))) => {
                SeriesHome { calendar, start: Some((*local, self.zones.resolve(time_zone, calendar)?)) }
            }
            Some((calendar, Some(IcsTime::Day(_)) | None)) => SeriesHome { calendar, start: None },
            None => SeriesHome { calendar: 0, start: None },
        };
        let exceptions = self.exceptions_by_slot(exception_events, &home, master.is_some())?;
        let (following, has_exceptions) = (self.following_exceptions(&exceptions, &home)?, !exceptions.is_empty());
        let excluded = self.excluded_slots(master.as_ref(), &home)?;
        let mut found = BTreeMap::new();
        if let (Some(master), Some((start, zone))) = (&master, &home.start) {
            let slots = self.collect_slots(master, *start, zone, &following)?;
            let is_taken = |slot| exceptions.contains_key(&slot) || excluded.contains(slot, Some(zone));
            let slots = slots.into_iter().filter(|(at, _)| !is_taken(SeriesSlot::At(*at))).collect();
            self.insert_series(&mut found, uid, (master, zone), slots, &following)?;
        }
        // An excluded slot stays excluded if an exception replaces it.
        let exceptions = exceptions.iter().filter(|(slot, _)| !excluded.contains(**slot, home.zone()));
        self.insert_exceptions(&mut found, uid, &home, exceptions)?;
        if master.is_none_or(|master| master.start.is_none()) && !has_exceptions {
            return Err(IcsEventError::NoStart);
        }
        Ok(found)
    }

    /// The newest exception of each slot.
    fn exceptions_by_slot(
        &mut self,
        events: Vec<IcsEvent>,
        home: &SeriesHome,
        has_master: bool,
    ) -> Result<BTreeMap<SeriesSlot, IcsEvent>, IcsEventError> {
        let mut exceptions: BTreeMap<SeriesSlot, IcsEvent> = BTreeMap::new();
        for event in events {
            let Some(time) = &event.recurrence_slot else { continue };
            let slot = self.resolve_slot(time, home.zone(), event.calendar, "RECURRENCE-ID")?;
            let slot = match (slot, &home.start) {
                // Some calendars name the slot of a timed series by its day.
                (SeriesSlot::Day(date), Some((start, zone))) if has_master => SeriesSlot::At(
                    zone.to_instant(date.to_datetime(start.time()))
                        .ok_or(IcsEventError::InvalidTime("RECURRENCE-ID"))?,
                ),
                (slot, _) => slot,
            };
            if exceptions.get(&slot).is_none_or(|other| other.rank < event.rank) {
                exceptions.insert(slot, event);
            }
        }
        Ok(exceptions)
    }

    /// The exceptions that also apply to later slots, ordered by slot.
    fn following_exceptions<'e>(
        &mut self,
        exceptions: &'e BTreeMap<SeriesSlot, IcsEvent>,
        home: &SeriesHome,
    ) -> Result<Vec<FollowingException<'e>>, IcsEventError> {
        let mut following = Vec::new();
        for (slot, event) in exceptions {
            if let (SeriesSlot::At(slot), true) = (*slot, event.applies_to_following) {
                let zone_and_shift = self.exception_shift(slot, event, home)?;
                following.push(FollowingException { slot, event, zone_and_shift });
            }
        }
        Ok(following)
    }

    /// Inserts the occurrences of a single event or a series in these slots.
    fn insert_series(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        uid: &str,
        (master, zone): (&IcsEvent, &EventZone),
        slots: Slots,
        following: &[FollowingException<'_>],
    ) -> Result<(), IcsEventError> {
        let is_single = master.is_single();
        for (slot, local) in slots {
            let id = if is_single { uid.to_owned() } else { SeriesSlot::At(slot).occurrence_id(uid) };
            match following.iter().rev().find(|following| following.slot < slot) {
                None => self.insert_occurrence(found, id, slot, zone, master)?,
                Some(FollowingException { event, zone_and_shift: Some((moved_zone, shift)), .. }) => {
                    // The exception shifts the time that the rule gives, also on a day on which the
                    // clocks skip that time.
                    let local = if moved_zone.is_same(zone) { local } else { moved_zone.to_local(slot) };
                    if let Some(at) = local.checked_add(*shift).ok().and_then(|local| moved_zone.to_instant(local)) {
                        self.insert_occurrence(found, id, at, moved_zone, event)?;
                    }
                }
                Some(FollowingException { zone_and_shift: None, .. }) => {}
            }
        }
        Ok(())
    }

    /// Inserts the occurrences of exceptions.
    fn insert_exceptions<'e>(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        uid: &str,
        home: &SeriesHome,
        exceptions: impl Iterator<Item = (&'e SeriesSlot, &'e IcsEvent)>,
    ) -> Result<(), IcsEventError> {
        for (slot, event) in exceptions {
            let (at, zone) = match (&event.start, slot) {
                (Some(IcsTime::Time { local, time_zone }), _) => {
                    let zone = self.exception_zone(time_zone, event, home)?;
                    (zone.to_instant(*local), zone)
                }
                (None, SeriesSlot::At(at)) => (Some(*at), self.exception_zone(&IcsTimeZone::Floating, event, home)?),
                (Some(IcsTime::Day(_)), _) | (None, SeriesSlot::Day(_)) => continue,
            };
            let at = at.ok_or(IcsEventError::InvalidTime("DTSTART"))?;
            self.insert_occurrence(found, slot.occurrence_id(uid), at, &zone, event)?;
        }
        Ok(())
    }

    /// The zone of an exception's time.
    fn exception_zone(
        &mut self,
        time_zone: &IcsTimeZone,
        event: &IcsEvent,
        home: &SeriesHome,
    ) -> Result<EventZone, IcsEventError> {
        match (time_zone, home.zone()) {
            (IcsTimeZone::Floating, Some(zone)) => Ok(zone.clone()),
            (IcsTimeZone::Floating, None) => self.zones.default_zone(home.calendar),
            _ => self.zones.resolve(time_zone, event.calendar),
        }
    }

    /// Inserts an occurrence if it is known, or is in the window and has an attendee who can be
    /// messaged. Others are not appointments and must not use up the limits.
    fn insert_occurrence(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        id: String,
        start: Timestamp,
        zone: &EventZone,
        event: &IcsEvent,
    ) -> Result<(), IcsEventError> {
        let is_known = (self.is_known)(&id);
        if !self.window.contains(start) && !is_known {
            return Ok(());
        }
        let attendee = self.parse_attendee(event);
        if let (Err(problem), false) = (&attendee, is_known) {
            if self.unreachable.len() < MAX_UNREACHABLE {
                self.unreachable.insert(id, (start, *problem));
            }
            return Ok(());
        }
        if found.len() >= MAX_UID_OCCURRENCES {
            return Err(IcsEventError::OverBudget);
        }
        let occurrence = FeedOccurrence {
            start,
            zone: self.zones.place_of(zone, event.calendar),
            status: event.status,
            attendee,
            title: event.texts.title.clone(),
            place: event.texts.place.clone(),
        };
        found.insert(id, occurrence);
        Ok(())
    }

    fn parse_attendee(&mut self, event: &IcsEvent) -> Result<Attendee, PhoneError> {
        let raw = event.texts.phone.as_deref().ok_or(PhoneError::Empty)?;
        if self.phones.len() >= MAX_KEPT_PHONES {
            self.phones.clear();
        }
        let parse = || Phone::parse(raw, self.country, self.config.phones);
        let phone = self.phones.entry(raw.to_owned()).or_insert_with(parse).clone();
        Ok(Attendee { phone: phone?, name: event.texts.person.clone(), locale: None, zone: None })
    }

    /// The slots of a series in and around the window, including those that exceptions replace or
    /// that are excluded. The only slot of a single event is its start.
    fn collect_slots(
        &mut self,
        master: &IcsEvent,
        start: DateTime,
        zone: &EventZone,
        following: &[FollowingException<'_>],
    ) -> Result<Slots, IcsEventError> {
        let start_slot = || zone.to_instant(start).ok_or(IcsEventError::InvalidTime("DTSTART"));
        if master.is_single() {
            return Ok(Slots::from([(start_slot()?, start)]));
        }
        let shifts = following.iter().filter_map(|following| following.zone_and_shift.as_ref());
        let margin = ZONE_MARGIN + shifts.map(|(_, shift)| shift.abs()).max().unwrap_or_default();
        let wide = TimeWindow {
            from: self.window.from.checked_sub(margin).unwrap_or(Timestamp::MIN),
            until: self.window.until.checked_add(margin).unwrap_or(Timestamp::MAX),
        };
        let (from, bound) = (zone.to_local(wide.from), zone.to_local(wide.until));
        let mut slots = Slots::new();
        for rule in &master.rules {
            let until = rule.until.as_ref().map(|until| self.rule_end(until, zone, master.calendar)).transpose()?;
            // The library compares local times. One day of margin keeps every time before `until`.
            let last = until.map(|until| zone.to_local(until).checked_add(ZONE_MARGIN).unwrap_or(DateTime::MAX));
            let last = last.map_or(bound, |last| last.min(bound));
            for local in rule.expand(start, from, last, &mut self.budget)? {
                if local < from || bound < local {
                    continue;
                }
                let at = zone.to_instant(local).ok_or(IcsEventError::InvalidTime("RRULE"))?;
                if until.is_none_or(|until| at <= until) {
                    slots.insert(at, local);
                }
            }
        }
        if master.rules.is_empty() {
            slots.insert(start_slot()?, start);
        }
        for extra in &master.extra_times {
            if let SeriesSlot::At(at) = self.resolve_slot(extra, Some(zone), master.calendar, "RDATE")? {
                slots.entry(at).or_insert_with(|| zone.to_local(at));
            }
        }
        slots.retain(|at, _| wide.contains(*at));
        Ok(slots)
    }

    fn excluded_slots(&mut self, master: Option<&IcsEvent>, home: &SeriesHome) -> Result<ExcludedSlots, IcsEventError> {
        let mut excluded = ExcludedSlots::default();
        for time in master.into_iter().flat_map(|master| &master.excluded_times) {
            match self.resolve_slot(time, home.zone(), home.calendar, "EXDATE")? {
                SeriesSlot::At(at) => excluded.at.insert(at),
                SeriesSlot::Day(date) => excluded.days.insert(date),
            };
        }
        Ok(excluded)
    }

    /// The last moment of a rule.
    fn rule_end(
        &mut self,
        until: &IcsTime,
        zone: &EventZone,
        calendar: CalendarNumber,
    ) -> Result<Timestamp, IcsEventError> {
        match self.resolve_slot(until, Some(zone), calendar, "RRULE")? {
            SeriesSlot::At(at) => Ok(at),
            SeriesSlot::Day(date) => zone.to_instant(date.at(23, 59, 59, 0)).ok_or(IcsEventError::InvalidRule),
        }
    }

    /// How an exception moves the slots behind its own.
    fn exception_shift(
        &mut self,
        slot: Timestamp,
        event: &IcsEvent,
        home: &SeriesHome,
    ) -> Result<Option<(EventZone, SignedDuration)>, IcsEventError> {
        let (local, time_zone) = match &event.start {
            None => {
                let zone = self.exception_zone(&IcsTimeZone::Floating, event, home)?;
                return Ok(Some((zone, SignedDuration::ZERO)));
            }
            Some(IcsTime::Day(_)) => return Ok(None),
            Some(IcsTime::Time { local, time_zone }) => (*local, time_zone),
        };
        let zone = self.exception_zone(time_zone, event, home)?;
        // The clocks may skip the time of the slot. So the time that it was given counts.
        let slot_local = match &event.recurrence_slot {
            Some(IcsTime::Time { local, time_zone: slot_zone }) if slot_zone == time_zone => *local,
            _ => zone.to_local(slot),
        };
        let shift = local.duration_since(slot_local);
        if shift.abs() > MAX_SHIFT { Err(IcsEventError::InvalidTime("RECURRENCE-ID")) } else { Ok(Some((zone, shift))) }
    }

    /// Converts a time to a slot. A time without a zone has the zone `home`.
    fn resolve_slot(
        &mut self,
        moment: &IcsTime,
        home: Option<&EventZone>,
        calendar: CalendarNumber,
        property: &'static str,
    ) -> Result<SeriesSlot, IcsEventError> {
        let (local, zone) = match (moment, home) {
            (IcsTime::Day(date), _) => return Ok(SeriesSlot::Day(*date)),
            (IcsTime::Time { local, time_zone: IcsTimeZone::Floating }, Some(home)) => (*local, home.clone()),
            (IcsTime::Time { local, time_zone }, _) => (*local, self.zones.resolve(time_zone, calendar)?),
        };
        zone.to_instant(local).map(SeriesSlot::At).ok_or(IcsEventError::InvalidTime(property))
    }
}

/// The newest event of a series that is not an exception, and its exceptions.
fn split_master(events: Vec<IcsEvent>) -> (Option<IcsEvent>, Vec<IcsEvent>) {
    let mut master: Option<IcsEvent> = None;
    let mut exceptions = Vec::new();
    for event in events {
        if event.recurrence_slot.is_some() {
            exceptions.push(event);
        } else if master.as_ref().is_none_or(|other| other.rank < event.rank) {
            master = Some(event);
        }
    }
    (master, exceptions)
}
