//! From events to occurrences: expands a series with its exceptions into moments.
//!
//! Long because a series, its exceptions and their zones are read together.
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
    label::LabelledNumber,
    occurrence::{FeedOccurrence, FeedScope, KnownIds, TimeWindow},
    parse_error::{FeedParseError, IcsEventError, IgnoredEvent},
    recurrence_rule::{self, RuleBudget},
    revisions::EventGroup,
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
    known: &'a KnownIds<'a>,
    /// The numbers that were parsed before. A series repeats its number, and parsing one is slow.
    phones: HashMap<LabelledNumber, Result<Phone, PhoneError>>,
    budget: RuleBudget,
    /// Some of the unknown occurrences without an attendee who can be messaged.
    pub(super) unreachable: BTreeMap<String, (Timestamp, PhoneError)>,
    /// The known `UID`s that stand for one event or series.
    pub(super) standing_uids: BTreeSet<String>,
    /// The `UID`s of which an event does not count.
    pub(super) ignored_events: BTreeMap<String, IgnoredEvent>,
}

/// The most numbers that are kept.
const MAX_KEPT_PHONES: usize = 1_000;
/// The most occurrences of one `UID`: ten a day for three months.
const MAX_UID_OCCURRENCES: usize = 1_000;
/// The most occurrences without an attendee, and the most ignored events, that are kept for people.
const MAX_KEPT_FOR_PEOPLE: usize = 100;

/// How the id of a single event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdForm {
    /// As its `UID`.
    Plain,
    /// As a slot, because its `UID` has other events.
    BySlot,
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

/// An exception that also applies to all slots behind its own.
struct FollowingException<'e> {
    slot: Timestamp,
    event: &'e IcsEvent,
    /// Its zone, and how far it moves the local time. `None` if it makes the slots whole days.
    zone_and_shift: Option<(EventZone, SignedDuration)>,
}

impl<'a> SeriesReader<'a> {
    pub(super) fn new(text: &'a [u8], outline: &FeedOutline, scope: FeedScope<'a>) -> Self {
        let FeedScope { calendar, config, window, known, .. } = scope;
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
            known,
            phones: HashMap::new(),
            budget: RuleBudget::default(),
            unreachable: BTreeMap::new(),
            standing_uids: BTreeSet::new(),
            ignored_events: BTreeMap::new(),
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
        let phone_of = |event: &IcsEvent| self.parse_attendee(event).ok().map(|attendee| attendee.phone);
        let EventGroup { masters, exceptions, older } = EventGroup::new(events, phone_of);
        let mut found = BTreeMap::new();
        if masters.len() > 1 {
            if !exceptions.is_empty() {
                return Err(IcsEventError::SharedUid);
            }
            for master in &masters {
                self.expand_master(&mut found, (uid, IdForm::BySlot), Some(master), Vec::new())?;
            }
            return Ok(found);
        }
        // Of several events, none has the plain `UID`: which of them does not recur may change.
        let form = if exceptions.is_empty() { IdForm::Plain } else { IdForm::BySlot };
        // A list of single times may be incomplete.
        let is_complete = masters.first().is_some_and(|master| master.recurs() || exceptions.is_empty());
        self.expand_master(&mut found, (uid, form), masters.first(), exceptions)?;
        self.ignore_revisions(uid, &older);
        if is_complete && self.known.contains_uid(uid) {
            self.standing_uids.insert(uid.to_owned());
        }
        Ok(found)
    }

    /// The occurrences of an event whose `UID` tells nothing.
    pub(super) fn expand_alone(
        &mut self,
        uid: &str,
        event: &IcsEvent,
    ) -> Result<BTreeMap<String, FeedOccurrence>, IcsEventError> {
        self.budget.start_unit();
        let mut found = BTreeMap::new();
        self.expand_master(&mut found, (uid, IdForm::BySlot), Some(event), Vec::new())?;
        Ok(found)
    }

    /// Inserts the occurrences of one event or series.
    fn expand_master(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        (uid, form): (&str, IdForm),
        master: Option<&IcsEvent>,
        exception_events: Vec<IcsEvent>,
    ) -> Result<(), IcsEventError> {
        // A slot or an exception without a zone has the zone of its series.
        let home = match master.or(exception_events.first()).and_then(|event| event.start.as_ref()) {
            Some(IcsTime::Time { local, time_zone }) => Some((*local, self.resolve_zone(time_zone)?)),
            Some(IcsTime::Day(_)) | None => None,
        };
        let mut exceptions = self.exceptions_by_slot(exception_events, home.as_ref(), master.is_some())?;
        if master.is_none_or(|master| master.start.is_none()) && exceptions.is_empty() {
            return Err(IcsEventError::NoStart);
        }
        if let (Some(master), Some(series_home)) = (master, &home) {
            let (start, zone) = series_home;
            if master.recurs() {
                let slots = self.keep_valid_exceptions(uid, master, series_home, &mut exceptions)?;
                let following = self.following_exceptions(&exceptions, home.as_ref())?;
                self.insert_series(found, uid, (master, zone), &slots, &exceptions, &following)?;
            } else {
                let at = zone.to_instant(*start).ok_or(IcsEventError::InvalidTime("DTSTART"))?;
                let slot = SeriesSlot::At(at);
                if !exceptions.contains_key(&slot) {
                    let id = if form == IdForm::Plain { uid.to_owned() } else { slot.occurrence_id(uid) };
                    self.insert_occurrence(found, (uid, id), at, zone, master)?;
                }
            }
        }
        self.insert_exceptions(found, uid, home.as_ref().map(|(_, zone)| zone), &exceptions)
    }

    /// The slots of a series, around the window and the exceptions that matter. Drops the
    /// exceptions whose slot the series does not have, or excludes: they replace nothing.
    fn keep_valid_exceptions(
        &mut self,
        uid: &str,
        master: &IcsEvent,
        home: &(DateTime, EventZone),
        exceptions: &mut BTreeMap<SeriesSlot, IcsEvent>,
    ) -> Result<BTreeSet<Timestamp>, IcsEventError> {
        let (start, zone) = home;
        let following = self.following_exceptions(exceptions, Some(home))?;
        let shifts = following.iter().filter_map(|following| following.zone_and_shift.as_ref());
        let margin = ZONE_MARGIN + shifts.map(|(_, shift)| shift.abs()).max().unwrap_or_default();
        let mut wide = TimeWindow {
            from: self.window.from.checked_sub(margin).unwrap_or(Timestamp::MIN),
            until: self.window.until.checked_add(margin).unwrap_or(Timestamp::MAX),
        };
        let mut checked = Vec::new();
        for (slot, event) in exceptions.iter() {
            let SeriesSlot::At(at) = *slot else { continue };
            let starts = self.exception_start(*slot, event, Some(zone))?.map(|(starts, _)| starts);
            let is_in_window = starts.is_some_and(|starts| self.window.contains(starts));
            let matters = is_in_window || event.applies_to_following || self.known.contains(&slot.occurrence_id(uid));
            if matters && wide.from.duration_since(at) < MAX_SHIFT && at.duration_since(wide.until) < MAX_SHIFT {
                checked.push((at, is_in_window));
            }
        }
        for (at, _) in &checked {
            wide.from = wide.from.min(*at);
            wide.until = wide.until.max(at.checked_add(SignedDuration::from_secs(1)).unwrap_or(*at));
        }
        let slots = self.collect_slots(master, *start, zone, wide)?;
        for (at, is_in_window) in checked.into_iter().filter(|(at, _)| !slots.contains(at)) {
            let stale = exceptions.remove(&SeriesSlot::At(at));
            if is_in_window
                && stale.is_some_and(|stale| !stale.texts.phone.is_missing())
                && !self.is_excluded(master, zone, at)?
            {
                self.ignore_event(uid, IgnoredEvent::StaleException);
            }
        }
        Ok(slots)
    }

    fn is_excluded(&mut self, master: &IcsEvent, zone: &EventZone, slot: Timestamp) -> Result<bool, IcsEventError> {
        for excluded in &master.excluded_times {
            let is_it = match self.resolve_slot(excluded, Some(zone), "EXDATE")? {
                SeriesSlot::At(at) => at == slot,
                SeriesSlot::Day(date) => zone.to_local(slot).date() == date,
            };
            if is_it {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records that older revisions do not count, if one of them could be an appointment.
    fn ignore_revisions(&mut self, uid: &str, older: &[IcsEvent]) {
        let could_be_appointment = older.iter().filter(|event| !event.texts.phone.is_missing()).any(|event| {
            let Some(IcsTime::Time { local, time_zone }) = &event.start else { return false };
            let start = self.resolve_zone(time_zone).ok().and_then(|zone| zone.to_instant(*local));
            event.recurs() || start.is_some_and(|start| self.window.contains(start))
        });
        if could_be_appointment {
            self.ignore_event(uid, IgnoredEvent::OlderRevision);
        }
    }

    fn ignore_event(&mut self, uid: &str, reason: IgnoredEvent) {
        if self.ignored_events.len() < MAX_KEPT_FOR_PEOPLE {
            self.ignored_events.insert(uid.to_owned(), reason);
        }
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

    /// Inserts the occurrences of a series, without the slots that exceptions replace.
    fn insert_series(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        uid: &str,
        (master, zone): (&IcsEvent, &EventZone),
        slots: &BTreeSet<Timestamp>,
        exceptions: &BTreeMap<SeriesSlot, IcsEvent>,
        following: &[FollowingException<'_>],
    ) -> Result<(), IcsEventError> {
        for &slot in slots {
            if exceptions.contains_key(&SeriesSlot::At(slot)) {
                continue;
            }
            let id = SeriesSlot::At(slot).occurrence_id(uid);
            match following.iter().rev().find(|following| following.slot < slot) {
                None => self.insert_occurrence(found, (uid, id), slot, zone, master)?,
                Some(FollowingException { event, zone_and_shift: Some((zone, shift)), .. }) => {
                    if let Some(at) = shift_slot(zone, slot, *shift) {
                        self.insert_occurrence(found, (uid, id), at, zone, event)?;
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
            if let Some((at, zone)) = self.exception_start(*slot, event, home)? {
                self.insert_occurrence(found, (uid, slot.occurrence_id(uid)), at, &zone, event)?;
            }
        }
        Ok(())
    }

    /// When an exception begins, and its zone. `None` for a whole day.
    fn exception_start(
        &mut self,
        slot: SeriesSlot,
        event: &IcsEvent,
        home: Option<&EventZone>,
    ) -> Result<Option<(Timestamp, EventZone)>, IcsEventError> {
        let base = || home.unwrap_or(&self.default_zone).clone();
        let (at, zone) = match (&event.start, slot) {
            (Some(IcsTime::Time { local, time_zone: IcsTimeZone::Floating }), _) => {
                let base = base();
                (base.to_instant(*local), base)
            }
            (Some(IcsTime::Time { local, time_zone }), _) => {
                let zone = self.resolve_zone(time_zone)?;
                (zone.to_instant(*local), zone)
            }
            (None, SeriesSlot::At(at)) => (Some(at), base()),
            (Some(IcsTime::Day(_)), _) | (None, SeriesSlot::Day(_)) => return Ok(None),
        };
        Ok(Some((at.ok_or(IcsEventError::InvalidTime("DTSTART"))?, zone)))
    }

    /// Inserts an occurrence if it is known, or is in the window and has an attendee who can be
    /// messaged. Others are not appointments and must not use up the limits.
    fn insert_occurrence(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        (uid, id): (&str, String),
        start: Timestamp,
        zone: &EventZone,
        event: &IcsEvent,
    ) -> Result<(), IcsEventError> {
        let is_known = self.known.contains(&id);
        if !self.window.contains(start) && !is_known {
            return Ok(());
        }
        let attendee = self.parse_attendee(event);
        if let (Err(problem), false) = (&attendee, is_known) {
            if self.unreachable.len() < MAX_KEPT_FOR_PEOPLE {
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
            uid: uid.to_owned(),
            start,
            zone: place.unwrap_or(&self.config.time_zone).clone(),
            status: event.status,
            attendee,
            title: event.texts.title.clone(),
            place: event.texts.place.clone(),
        };
        occurrence.insert_into(found, &id);
        Ok(())
    }

    fn parse_attendee(&mut self, event: &IcsEvent) -> Result<Attendee, PhoneError> {
        let written = &event.texts.phone;
        if self.phones.len() >= MAX_KEPT_PHONES {
            self.phones.clear();
        }
        let (country, rule) = (self.country, self.config.phones);
        let phone = self.phones.entry(written.clone()).or_insert_with(|| written.parse(country, rule)).clone();
        Ok(Attendee { phone: phone?, name: event.texts.person.clone(), locale: None, zone: None })
    }

    /// The slots of a series in the window `wide`, including those that exceptions replace.
    fn collect_slots(
        &mut self,
        master: &IcsEvent,
        start: DateTime,
        zone: &EventZone,
        wide: TimeWindow,
    ) -> Result<BTreeSet<Timestamp>, IcsEventError> {
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

/// The moment of a slot whose local time was moved.
fn shift_slot(zone: &EventZone, slot: Timestamp, shift: SignedDuration) -> Option<Timestamp> {
    zone.to_instant(zone.to_local(slot).checked_add(shift).ok()?)
}
