//! From events to occurrences: expands a series with its exceptions into moments.
//!
//! Long because a series, its exceptions and their zones are read together.
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
    label::LabelledNumber,
    occurrence::{FeedOccurrence, FeedScope, KnownIds, TimeWindow},
    outline::{CalendarNumber, FeedOutline},
    parse_error::{FeedParseError, IcsEventError, IgnoredEvent},
    recurrence_rule::RuleBudget,
    revisions::EventGroup,
    zone::EventZone,
};

/// How far one exception may move the slots behind it.
const MAX_SHIFT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// The last year of a date.
const LAST_YEAR: i16 = 9999;
/// More than the local times of any two places differ.
const ZONE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// Expands the series of one feed.
pub(super) struct SeriesReader<'a> {
    country: &'a str,
    config: &'a ClientConfig,
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
        let FeedScope { calendar, config, window, known, .. } = scope;
        let horizon = window.until.checked_add(MAX_SHIFT + ZONE_MARGIN).unwrap_or(Timestamp::MAX);
        Self {
            country: calendar.country.as_deref().unwrap_or(&config.country),
            config,
            zones: FeedZones::new(text, outline, calendar, config, Offset::UTC.to_datetime(horizon)),
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
        self.budget.check_limits().and_then(|()| self.zones.check_limits())
    }

    /// The occurrences of all events with one `UID`, by their id.
    pub(super) fn expand_series(
        &mut self,
        uid: &str,
        events: Vec<IcsEvent>,
    ) -> Result<BTreeMap<String, FeedOccurrence>, IcsEventError> {
        self.budget.start_unit();
        let are_known = self.are_known_appointments(uid, &events);
        let phone_of = |event: &IcsEvent| self.parse_attendee(event).ok().map(|attendee| attendee.phone);
        let EventGroup { masters, exceptions, older } = EventGroup::new(events, are_known, phone_of);
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

    /// Whether several events of one `UID` are known as appointments of their own.
    fn are_known_appointments(&mut self, uid: &str, events: &[IcsEvent]) -> bool {
        if events.len() < 2 {
            return false;
        }
        let mut known = BTreeSet::new();
        for event in events.iter().filter(|event| event.recurrence_slot.is_none() && !event.recurs()) {
            let Some(IcsTime::Time { local, time_zone }) = &event.start else { continue };
            let zone = self.zones.resolve(time_zone, event.calendar).ok();
            let id = zone.and_then(|zone| zone.to_instant(*local)).map(|at| SeriesSlot::At(at).occurrence_id(uid));
            known.extend(id.filter(|id| self.known.contains(id)));
        }
        known.len() > 1
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
        let home = self.find_home(master.or(exception_events.first()))?;
        let mut exceptions = self.exceptions_by_slot(exception_events, &home, master.is_some())?;
        if master.is_none_or(|master| master.start.is_none()) && exceptions.is_empty() {
            return Err(IcsEventError::NoStart);
        }
        let excluded = self.excluded_slots(master, &home)?;
        if let (Some(master), Some((start, zone))) = (master, &home.start) {
            if master.recurs() {
                let mut slots = self.keep_valid_exceptions(uid, (master, &home), &excluded, &mut exceptions)?;
                let following = self.following_exceptions(&exceptions, &home)?;
                slots.retain(|at, _| !exceptions.contains_key(&SeriesSlot::At(*at)));
                self.insert_series(found, uid, (master, zone), slots, &following)?;
            } else {
                let at = zone.to_instant(*start).ok_or(IcsEventError::InvalidTime("DTSTART"))?;
                let slot = SeriesSlot::At(at);
                if !exceptions.contains_key(&slot) && !excluded.contains(slot, Some(zone)) {
                    let id = if form == IdForm::Plain { uid.to_owned() } else { slot.occurrence_id(uid) };
                    self.insert_occurrence(found, (uid, id), at, zone, master)?;
                }
            }
        }
        // An excluded slot stays excluded if an exception replaces it.
        let is_excluded = |slot: &SeriesSlot| excluded.contains(*slot, home.zone());
        for (slot, event) in exceptions.extract_if(.., |slot, _| is_excluded(slot)) {
            let start = self.exception_start(slot, &event, &home)?;
            if start.is_some_and(|(at, _)| self.window.contains(at)) && !event.texts.phone.is_missing() {
                self.ignore_event(uid, IgnoredEvent::ExcludedTime);
            }
        }
        self.insert_exceptions(found, uid, &home, &exceptions)
    }

    /// Where the events of a series are at home: where its first one is.
    fn find_home(&mut self, first: Option<&IcsEvent>) -> Result<SeriesHome, IcsEventError> {
        // A slot or an exception without a zone has the zone of its series.
        Ok(match first.map(|event| (event.calendar, &event.start)) {
            Some((calendar, Some(IcsTime::Time { local, time_zone }))) => {
                SeriesHome { calendar, start: Some((*local, self.zones.resolve(time_zone, calendar)?)) }
            }
            Some((calendar, Some(IcsTime::Day(_)) | None)) => SeriesHome { calendar, start: None },
            None => SeriesHome { calendar: 0, start: None },
        })
    }

    /// The slots of a series that are not excluded, around the window and the exceptions that
    /// matter. Drops the exceptions whose slot the series does not have: they replace nothing.
    fn keep_valid_exceptions(
        &mut self,
        uid: &str,
        (master, home): (&IcsEvent, &SeriesHome),
        excluded: &ExcludedSlots,
        exceptions: &mut BTreeMap<SeriesSlot, IcsEvent>,
    ) -> Result<Slots, IcsEventError> {
        let Some((start, zone)) = &home.start else { return Ok(Slots::new()) };
        let following = self.following_exceptions(exceptions, home)?;
        let shifts = following.iter().filter_map(|following| following.zone_and_shift.as_ref());
        let margin = ZONE_MARGIN + shifts.map(|(_, shift)| shift.abs()).max().unwrap_or_default();
        let mut wide = TimeWindow {
            from: self.window.from.checked_sub(margin).unwrap_or(Timestamp::MIN),
            until: self.window.until.checked_add(margin).unwrap_or(Timestamp::MAX),
        };
        let mut checked = Vec::new();
        for (slot, event) in exceptions.iter() {
            let SeriesSlot::At(at) = *slot else { continue };
            let starts = self.exception_start(*slot, event, home)?.map(|(starts, _)| starts);
            let is_in_window = starts.is_some_and(|starts| self.window.contains(starts));
            let matters = is_in_window || event.applies_to_following || self.known.contains(&slot.occurrence_id(uid));
            if matters && wide.from.duration_since(at) < MAX_SHIFT && at.duration_since(wide.until) < MAX_SHIFT {
                checked.push((at, is_in_window));
            }
        }
        for (at, _) in &checked {
            // The rule gives another local time than the slot's if the clocks skip it.
            wide.from = wide.from.min(at.checked_sub(ZONE_MARGIN).unwrap_or(Timestamp::MIN));
            wide.until = wide.until.max(at.checked_add(ZONE_MARGIN).unwrap_or(Timestamp::MAX));
        }
        let slots = self.collect_slots(master, *start, zone, wide)?;
        let is_excluded = |at: &Timestamp| excluded.contains(SeriesSlot::At(*at), Some(zone));
        for (at, is_in_window) in checked.into_iter().filter(|(at, _)| !slots.contains_key(at) && !is_excluded(at)) {
            let stale = exceptions.remove(&SeriesSlot::At(at));
            if is_in_window && stale.is_some_and(|stale| !stale.texts.phone.is_missing()) {
                self.ignore_event(uid, IgnoredEvent::StaleException);
            }
        }
        Ok(slots.into_iter().filter(|(at, _)| !is_excluded(at)).collect())
    }

    /// Records that older revisions do not count, if one of them could be an appointment.
    fn ignore_revisions(&mut self, uid: &str, older: &[IcsEvent]) {
        let could_be_appointment = older.iter().filter(|event| !event.texts.phone.is_missing()).any(|event| {
            let Some(IcsTime::Time { local, time_zone }) = &event.start else { return false };
            let start = self.zones.resolve(time_zone, event.calendar).ok().and_then(|zone| zone.to_instant(*local));
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

    /// Inserts the occurrences of a series in these slots.
    fn insert_series(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        uid: &str,
        (master, zone): (&IcsEvent, &EventZone),
        slots: Slots,
        following: &[FollowingException<'_>],
    ) -> Result<(), IcsEventError> {
        for (slot, local) in slots {
            let id = SeriesSlot::At(slot).occurrence_id(uid);
            match following.iter().rev().find(|following| following.slot < slot) {
                None => self.insert_occurrence(found, (uid, id), slot, zone, master)?,
                Some(FollowingException { event, zone_and_shift: Some((moved_zone, shift)), .. }) => {
                    // The exception shifts the time that the rule gives, also on a day on which the
                    // clocks skip that time.
                    let local = if moved_zone.is_same(zone) { local } else { moved_zone.to_local(slot) };
                    if let Some(at) = local.checked_add(*shift).ok().and_then(|local| moved_zone.to_instant(local)) {
                        self.insert_occurrence(found, (uid, id), at, moved_zone, event)?;
                    }
                }
                Some(FollowingException { zone_and_shift: None, .. }) => {}
            }
        }
        Ok(())
    }

    /// Inserts the occurrences of exceptions.
    fn insert_exceptions(
        &mut self,
        found: &mut BTreeMap<String, FeedOccurrence>,
        uid: &str,
        home: &SeriesHome,
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
        home: &SeriesHome,
    ) -> Result<Option<(Timestamp, EventZone)>, IcsEventError> {
        let (at, zone) = match (&event.start, slot) {
            (Some(IcsTime::Time { local, time_zone }), _) => {
                let zone = self.exception_zone(time_zone, event, home)?;
                (zone.to_instant(*local), zone)
            }
            (None, SeriesSlot::At(at)) => (Some(at), self.exception_zone(&IcsTimeZone::Floating, event, home)?),
            (Some(IcsTime::Day(_)), _) | (None, SeriesSlot::Day(_)) => return Ok(None),
        };
        Ok(Some((at.ok_or(IcsEventError::InvalidTime("DTSTART"))?, zone)))
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
        let occurrence = FeedOccurrence {
            uid: uid.to_owned(),
            start,
            zone: self.zones.place_of(zone, event.calendar),
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

    /// The slots of a series in the window `wide`, including those that exceptions replace or that
    /// are excluded.
    fn collect_slots(
        &mut self,
        master: &IcsEvent,
        start: DateTime,
        zone: &EventZone,
        wide: TimeWindow,
    ) -> Result<Slots, IcsEventError> {
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
            slots.insert(zone.to_instant(start).ok_or(IcsEventError::InvalidTime("DTSTART"))?, start);
        }
        for extra in &master.extra_times {
            let at = match self.resolve_slot(extra, Some(zone), master.calendar, "RDATE")? {
                SeriesSlot::At(at) => at,
                // Some calendars name a further time of a timed series by its day.
                SeriesSlot::Day(date) => {
                    zone.to_instant(date.to_datetime(start.time())).ok_or(IcsEventError::InvalidTime("RDATE"))?
                }
            };
            slots.entry(at).or_insert_with(|| zone.to_local(at));
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
        // `99991231T235959Z` means no end, and is later than every moment.
        if until.local().year() == LAST_YEAR {
            return Ok(Timestamp::MAX);
        }
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
