//! From events to occurrences: expands a series with its exceptions into moments.
//!
//! Main type: [`SeriesReader`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use tellonce_core::{
    appointment::Attendee,
    client_config::ClientConfig,
    contact::{Phone, PhoneError},
};

use super::{
    event::IcsEvent,
    ics_time::{IcsTime, IcsTimeZone},
    occurrence::{FeedOccurrence, FeedScope, TimeWindow},
    parse_error::{FeedParseError, IcsEventError},
    recurrence_rule::{self, RuleBudget},
    text_lines::FeedOutline,
    zone::{self, EventZone, FeedZones},
};

/// How far one exception may move the slots behind it.
const MAX_SHIFT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// More than the local times of any two places differ.
const ZONE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// Expands the series of one feed.
pub(super) struct SeriesReader<'a> {
    country: &'a str,
    config: &'a ClientConfig,
    /// The zone of all appointments, if the client's configuration sets one.
    configured_zone: Option<String>,
    /// The zone of a time without a zone.
    default_zone: EventZone,
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

/// An exception that also applies to all slots behind its own.
struct FollowingException<'e> {
    slot: Timestamp,
    event: &'e IcsEvent,
    /// Its zone, and how far it moves the local time. `None` if it makes the slots whole days.
    zone_and_shift: Option<(EventZone, SignedDuration)>,
}

impl<'a> SeriesReader<'a> {
    pub(super) fn new(text: &'a [u8], outline: &FeedOutline, scope: FeedScope<'a>) -> Self {
        let FeedScope { calendar, config, window, is_known, .. } = scope;
        let place_zone = |name: &str| {
            zone::find_known_zone(name).map(EventZone::from_time_zone).filter(|zone| zone.iana_place.is_some())
        };
        let configured = calendar.time_zone.as_deref().and_then(place_zone);
        let base = configured.clone().or_else(|| outline.calendar_zone.as_deref().and_then(place_zone));
        Self {
            country: calendar.country.as_deref().unwrap_or(&config.country),
            config,
            configured_zone: configured.and_then(|zone| zone.iana_place),
            default_zone: base.unwrap_or_else(|| EventZone::from_time_zone(config.own_zone())),
            zones: FeedZones::new(text, &outline.zones),
            window,
            is_known,
            phones: HashMap::new(),
            budget: RuleBudget::default(),
            unreachable: BTreeMap::new(),
        }
    }

    /// Whether the rules of all events and zones so far are still within the limits of a feed.
    pub(super) fn check_limits(&self) -> Result<(), FeedParseError> {
        self.budget.check_limits().and_then(|()| self.zones.budget.check_limits())
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
        let home = match master.as_ref().or(exception_events.first()).and_then(|event| event.start.as_ref()) {
            Some(IcsTime::Time { local, time_zone }) => Some((*local, self.resolve_zone(time_zone)?)),
            Some(IcsTime::Day(_)) | None => None,
        };
        let exceptions = self.exceptions_by_slot(exception_events, home.as_ref(), master.is_some())?;
        let following = self.following_exceptions(&exceptions, home.as_ref())?;
        let mut found = BTreeMap::new();
        if let (Some(master), Some((start, zone))) = (&master, &home) {
            self.insert_series(&mut found, uid, master, (*start, zone), &exceptions, &following)?;
        }
        self.insert_exceptions(&mut found, uid, home.as_ref().map(|(_, zone)| zone), &exceptions)?;
        if master.is_none_or(|master| master.start.is_none()) && exceptions.is_empty() {
            return Err(IcsEventError::NoStart);
        }
        Ok(found)
    }

    /// The newest exception of each slot. `home` is the start and zone of the series.
    fn exceptions_by_slot(
        &mut self,
        events: Vec<IcsEvent>,
        home: Option<&(DateTime, EventZone)>,
        has_master: bool,
    ) -> Result<BTreeMap<SeriesSlot, IcsEvent>, IcsEventError> {
        let mut exceptions: BTreeMap<SeriesSlot, IcsEvent> = BTreeMap::new();
        for event in events {
            let Some(time) = &event.recurrence_slot else { continue };
            let slot = match (self.resolve_slot(time, home.map(|(_, zone)| zone), "RECURRENCE-ID")?, home) {
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
        home: Option<&(DateTime, EventZone)>,
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

    /// Inserts the occurrences of a single event or a series, without the slots that exceptions
    /// replace.
    fn insert_series(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        uid: &str,
        master: &IcsEvent,
        (start, zone): (DateTime, &EventZone),
        exceptions: &BTreeMap<SeriesSlot, IcsEvent>,
        following: &[FollowingException<'_>],
    ) -> Result<(), IcsEventError> {
        if master.rules.is_empty() && master.extra_times.is_empty() {
            let at = zone.to_instant(start).ok_or(IcsEventError::InvalidTime("DTSTART"))?;
            return self.insert_occurrence(found, uid.to_owned(), at, zone, master);
        }
        for slot in self.collect_slots(master, start, zone, following)? {
            if exceptions.contains_key(&SeriesSlot::At(slot)) {
                continue;
            }
            let id = SeriesSlot::At(slot).occurrence_id(uid);
            match following.iter().rev().find(|following| following.slot < slot) {
                None => self.insert_occurrence(found, id, slot, zone, master)?,
                Some(FollowingException { event, zone_and_shift: Some((zone, shift)), .. }) => {
                    if let Some(at) = shift_slot(zone, slot, *shift) {
                        self.insert_occurrence(found, id, at, zone, event)?;
                    }
                }
                Some(FollowingException { zone_and_shift: None, .. }) => {}
            }
        }
        Ok(())
    }

    /// Inserts the occurrences of exceptions. `home` is the zone of the series.
    fn insert_exceptions(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        uid: &str,
        home: Option<&EventZone>,
        exceptions: &BTreeMap<SeriesSlot, IcsEvent>,
    ) -> Result<(), IcsEventError> {
        for (slot, event) in exceptions {
            let base = home.unwrap_or(&self.default_zone).clone();
            let (at, zone) = match (&event.start, slot) {
                (Some(IcsTime::Time { local, time_zone: IcsTimeZone::Floating }), _) => (base.to_instant(*local), base),
                (Some(IcsTime::Time { local, time_zone }), _) => {
                    let zone = self.resolve_zone(time_zone)?;
                    (zone.to_instant(*local), zone)
                }
                (None, SeriesSlot::At(at)) => (Some(*at), base),
                (Some(IcsTime::Day(_)), _) | (None, SeriesSlot::Day(_)) => continue,
            };
            let at = at.ok_or(IcsEventError::InvalidTime("DTSTART"))?;
            self.insert_occurrence(found, slot.occurrence_id(uid), at, &zone, event)?;
        }
        Ok(())
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
        let place =
            self.configured_zone.as_ref().or(zone.iana_place.as_ref()).or(self.default_zone.iana_place.as_ref());
        let occurrence = FeedOccurrence {
            start,
            zone: place.unwrap_or(&self.config.time_zone).clone(),
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

    /// The slots of a series in and around the window, including those that exceptions replace.
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
            // The library compares local times. One day of margin keeps every time before `until`.
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
        for extra in &master.extra_times {
            if let SeriesSlot::At(at) = self.resolve_slot(extra, Some(zone), "RDATE")? {
                slots.insert(at);
            }
        }
        for excluded in &master.excluded_times {
            match self.resolve_slot(excluded, Some(zone), "EXDATE")? {
                SeriesSlot::At(at) => drop(slots.remove(&at)),
                // Some calendars exclude a timed occurrence by its day.
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

    /// How an exception moves the slots behind its own.
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
            Some(IcsTime::Time { local, time_zone }) => (*local, self.resolve_zone(time_zone)?),
        };
        let shift = local.duration_since(zone.to_local(slot));
        if shift.abs() > MAX_SHIFT { Err(IcsEventError::InvalidTime("RECURRENCE-ID")) } else { Ok(Some((zone, shift))) }
    }

    /// Converts a time to a slot. A time without a zone has the zone `home`.
    fn resolve_slot(
        &mut self,
        moment: &IcsTime,
        home: Option<&EventZone>,
        property: &'static str,
    ) -> Result<SeriesSlot, IcsEventError> {
        let (local, zone) = match (moment, home) {
            (IcsTime::Day(date), _) => return Ok(SeriesSlot::Day(*date)),
            (IcsTime::Time { local, time_zone: IcsTimeZone::Floating }, Some(home)) => (*local, home.clone()),
            (IcsTime::Time { local, time_zone }, _) => (*local, self.resolve_zone(time_zone)?),
        };
        zone.to_instant(local).map(SeriesSlot::At).ok_or(IcsEventError::InvalidTime(property))
    }

    fn resolve_zone(&mut self, time_zone: &IcsTimeZone) -> Result<EventZone, IcsEventError> {
        match time_zone {
            IcsTimeZone::Floating => Ok(self.default_zone.clone()),
            IcsTimeZone::Offset(offset) => Ok(EventZone::from_time_zone(TimeZone::fixed(*offset))),
            IcsTimeZone::Zone(id) => {
                let horizon = self.window.until.checked_add(MAX_SHIFT).unwrap_or(Timestamp::MAX);
                let horizon = self.default_zone.to_local(horizon);
                let unknown = || IcsEventError::UnknownZone(tellonce_core::telemetry::LogLabel::new(id));
                self.zones.resolve_zone(id, horizon).ok_or_else(unknown)
            }
        }
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

/// The moment of a slot whose local time was moved.
fn shift_slot(zone: &EventZone, slot: Timestamp, shift: SignedDuration) -> Option<Timestamp> {
    zone.to_instant(zone.to_local(slot).checked_add(shift).ok()?)
}
