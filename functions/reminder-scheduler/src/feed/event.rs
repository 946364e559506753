//! Parsing one event: its times as the feed writes them, and the texts that the client's rules
//! select.
//!
//! Main types: [`EventParser`], [`IcsEvent`].

use calcard::{
    Entry, Parser,
    common::PartialDateTime,
    icalendar::{
        ICalendarComponent, ICalendarEntry, ICalendarParameterName, ICalendarPeriod, ICalendarProperty,
        ICalendarRecurrenceRule, ICalendarValue,
    },
};
use jiff::civil::Date;
use tellonce_core::{
    appointment::AppointmentStatus,
    client_config::{FeedRule, FeedTextRule},
    hash::sha256_hex,
};

use super::{
    ics_time::IcsTime,
    label::{LabelledNumber, TextLabels},
    organizer::{CalendarOwner, ForeignEvent},
    parse_error::IcsEventError,
    recurrence_rule, text_lines,
};

/// The most further and excluded dates of all events with one `UID`: years of weekly exceptions.
pub(super) const MAX_DATES: usize = 2_000;
/// The longest accepted name of a zone, in bytes. Each date has a copy.
const MAX_ZONE_NAME_BYTES: usize = 255;
/// The longest text that is kept, in characters: as much as an appointment keeps. Each occurrence
/// has a copy.
const MAX_TEXT_CHARS: usize = 200;

/// The longest accepted `UID`, in bytes. Those of real calendars have some dozens.
const MAX_UID_BYTES: usize = 1000;

/// The length of the hash of a longer `UID`, in bytes.
const UID_HASH_BYTES: usize = 16;

/// The properties that are always parsed. The client's rules name further ones.
const READ_PROPERTIES: [&str; 17] = [
    "UID",
    "RECURRENCE-ID",
    "DTSTART",
    "RRULE",
    "EXRULE",
    "RDATE",
    "EXDATE",
    "STATUS",
    "SEQUENCE",
    "DTSTAMP",
    "LAST-MODIFIED",
    "SUMMARY",
    "LOCATION",
    "ORGANIZER",
    "ATTENDEE",
    ALL_DAY_PROPERTY,
    BUSY_STATUS_PROPERTY,
];

/// Exchange writes a whole-day event from midnight to midnight and marks it with this property.
const ALL_DAY_PROPERTY: &str = "X-MICROSOFT-CDO-ALLDAYEVENT";
/// A published calendar of Outlook names no organizers. An invitation that its owner has not
/// accepted is `TENTATIVE` here.
const BUSY_STATUS_PROPERTY: &str = "X-MICROSOFT-CDO-BUSYSTATUS";

/// Orders copies of one event, of which the greatest counts: `SEQUENCE`, then `DTSTAMP`, then
/// `LAST-MODIFIED`, then the position in the body.
type EventRank = (i64, Option<i64>, Option<i64>, usize);

/// The revision of an event. The later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventRevision {
    pub(super) sequence: i64,
    stamped: Option<i64>,
    modified: Option<i64>,
}

/// One event.
pub(super) struct IcsEvent {
    /// The slot of its series that this event replaces.
    pub(super) recurrence_slot: Option<IcsTime>,
    /// Whether it also applies to all later slots (`RANGE=THISANDFUTURE`).
    pub(super) applies_to_following: bool,
    pub(super) start: Option<IcsTime>,
    pub(super) rules: Vec<ICalendarRecurrenceRule>,
    pub(super) extra_times: Vec<IcsTime>,
    pub(super) excluded_times: Vec<IcsTime>,
    pub(super) status: AppointmentStatus,
    pub(super) rank: EventRank,
    pub(super) texts: EventTexts,
}

/// The texts of an event.
#[derive(Default)]
pub(super) struct EventTexts {
    /// What the client's rule for phone numbers selects.
    pub(super) phone: LabelledNumber,
    pub(super) person: Option<String>,
    pub(super) title: Option<String>,
    pub(super) place: Option<String>,
}

impl From<IcsEventError> for SkippedEvent {
    fn from(error: IcsEventError) -> Self {
        Self::Unparsed(error)
    }
}

/// An event that is not read further.
pub(super) enum SkippedEvent {
    /// It could not be parsed.
    Unparsed(IcsEventError),
    /// The client did not make it.
    Foreign(ForeignEvent),
}

/// Parses the events of a client.
pub(super) struct EventParser<'a> {
    phone: (&'a FeedTextRule, TextLabels),
    person: Option<(&'a FeedTextRule, TextLabels)>,
    own_texts: bool,
    owner: CalendarOwner<'a>,
    /// An event that does not recur and begins before this day is over.
    first_day: Date,
}

impl<'a> EventParser<'a> {
    pub(super) fn new(rule: &'a FeedRule, owner: CalendarOwner<'a>, first_day: Date) -> Self {
        let FeedRule { phone, person, own_texts, .. } = rule;
        let with_labels = |rule| (rule, TextLabels::new(rule));
        let (phone, person) = (with_labels(phone), person.as_ref().map(with_labels));
        Self { phone, person, own_texts: *own_texts, owner, first_day }
    }

    /// Whether a property is parsed.
    pub(super) fn reads_property(rule: &FeedRule, name: &str) -> bool {
        let fields = [Some(&rule.phone), rule.person.as_ref()].into_iter().flatten().map(|rule| rule.field.as_str());
        READ_PROPERTIES.into_iter().chain(fields).any(|property| property.eq_ignore_ascii_case(name))
    }

    /// The `UID` in the lines of an event. In place of a very long one, its hash.
    pub(super) fn parse_uid(lines: &str) -> Option<String> {
        let component = parse_component(lines)?;
        let uid = component.uid().map(str::trim).filter(|uid| !uid.is_empty())?;
        Some(if uid.len() > MAX_UID_BYTES { sha256_hex(uid.as_bytes(), UID_HASH_BYTES) } else { uid.to_owned() })
    }

    /// Parses the lines of one event. `number` is its position in the body.
    pub(super) fn parse_event(&self, lines: &str, number: usize) -> Result<IcsEvent, SkippedEvent> {
        let component = parse_component(lines).ok_or(SkippedEvent::Unparsed(IcsEventError::InvalidUid))?;
        let rules = lines.lines().filter(|line| text_lines::property_name(line).eq_ignore_ascii_case("RRULE"));
        let event = rules
            .map(text_lines::property_value)
            .try_for_each(recurrence_rule::validate_rule)
            .and_then(|()| self.build_event(&component, number));
        if let Some(organizer) = self.owner.find_foreign_organizer(&component) {
            let looks_like_appointment = event.is_ok_and(|event| self.looks_like_appointment(&event));
            return Err(SkippedEvent::Foreign(ForeignEvent { organizer, looks_like_appointment }));
        }
        event.map_err(SkippedEvent::Unparsed)
    }

    fn looks_like_appointment(&self, event: &IcsEvent) -> bool {
        let is_over = |start: &IcsTime| match start {
            IcsTime::Day(_) => true,
            IcsTime::Time { local, .. } => event.rules.is_empty() && local.date() < self.first_day,
        };
        event.texts.phone.is_text() && event.start.as_ref().is_none_or(|start| !is_over(start))
    }

    fn build_event(&self, component: &ICalendarComponent, number: usize) -> Result<IcsEvent, IcsEventError> {
        let mut event = IcsEvent {
            recurrence_slot: None,
            applies_to_following: false,
            start: None,
            rules: Vec::new(),
            extra_times: Vec::new(),
            excluded_times: Vec::new(),
            status: AppointmentStatus::Booked,
            rank: (0, None, None, number),
            texts: EventTexts::default(),
        };
        for entry in &component.entries {
            event.read_property(entry)?;
            self.select_texts(&mut event.texts, entry);
        }
        if !self.own_texts {
            (event.texts.title, event.texts.place) = (None, None);
        }
        let is_marked = |marker, value| is_marked(component, marker, value);
        if let (true, Some(IcsTime::Time { local, .. })) = (is_marked(ALL_DAY_PROPERTY, "TRUE"), &event.start) {
            event.start = Some(IcsTime::Day(local.date()));
        }
        let is_unanswered = is_marked(BUSY_STATUS_PROPERTY, "TENTATIVE") || self.owner.has_not_accepted(component);
        if is_unanswered && event.status == AppointmentStatus::Booked {
            event.status = AppointmentStatus::Unconfirmed;
        }
        Ok(event)
    }

    /// Selects the texts that the client's rules point at. The first match of each rule counts.
    fn select_texts(&self, texts: &mut EventTexts, entry: &ICalendarEntry) {
        let matches = |rule: &FeedTextRule| rule.field.eq_ignore_ascii_case(entry.name.as_str());
        let (rule, labels) = &self.phone;
        if matches(rule) && !texts.phone.is_text() {
            texts.phone = match labels.find_number(&property_text(entry)) {
                // A longer text is not a number.
                LabelledNumber::Whole(text) if text.chars().count() > MAX_TEXT_CHARS => LabelledNumber::NoNumber,
                found => found,
            };
        }
        if let Some((_, person)) = self.person.as_ref().filter(|(rule, _)| matches(rule) && texts.person.is_none()) {
            texts.person = person.find_line(&property_text(entry), labels).as_deref().and_then(clean_text);
        }
    }
}

fn parse_component(lines: &str) -> Option<ICalendarComponent> {
    let text = format!("BEGIN:VEVENT\n{lines}END:VEVENT\n");
    match Parser::new(&text).entry() {
        Entry::ICalendar(parsed) => parsed.components.into_iter().next(),
        _ => None,
    }
}

impl IcsEvent {
    /// Its revision.
    pub(super) fn revision(&self) -> EventRevision {
        let (sequence, stamped, modified, _) = self.rank;
        EventRevision { sequence, stamped, modified }
    }

    /// Whether it is a series.
    pub(super) fn recurs(&self) -> bool {
        !self.rules.is_empty() || !self.extra_times.is_empty()
    }

    /// Whether it is a series or replaces a time of one.
    pub(super) fn is_part_of_series(&self) -> bool {
        self.recurs() || self.recurrence_slot.is_some()
    }

    /// How many further and excluded dates it names.
    pub(super) fn date_count(&self) -> usize {
        self.extra_times.len() + self.excluded_times.len()
    }

    /// Reads one of the properties that are always parsed.
    fn read_property(&mut self, entry: &ICalendarEntry) -> Result<(), IcsEventError> {
        let first = entry.values.first();
        let seconds = || first.and_then(ICalendarValue::as_partial_date_time).and_then(PartialDateTime::to_timestamp);
        match &entry.name {
            ICalendarProperty::Dtstart => self.start = Some(parse_time(entry, "DTSTART")?),
            ICalendarProperty::RecurrenceId => {
                self.recurrence_slot = Some(parse_time(entry, "RECURRENCE-ID")?);
                self.applies_to_following = entry.has_parameter(&ICalendarParameterName::Range);
            }
            ICalendarProperty::Rrule => {
                for value in &entry.values {
                    let ICalendarValue::RecurrenceRule(rule) = value else { return Err(IcsEventError::InvalidRule) };
                    self.rules.push((**rule).clone());
                }
            }
            // EXRULE belongs to an older standard. Without it, excluded times would get reminders.
            ICalendarProperty::Exrule => return Err(IcsEventError::InvalidRule),
            ICalendarProperty::Rdate => self.extra_times.extend(parse_times(entry, "RDATE")?),
            ICalendarProperty::Exdate => self.excluded_times.extend(parse_times(entry, "EXDATE")?),
            ICalendarProperty::Status => self.status = parse_status(first.and_then(ICalendarValue::as_text)),
            ICalendarProperty::Sequence => self.rank.0 = first.and_then(ICalendarValue::as_integer).unwrap_or(0),
            ICalendarProperty::Dtstamp => self.rank.1 = seconds(),
            ICalendarProperty::LastModified => self.rank.2 = seconds(),
            ICalendarProperty::Summary => self.texts.title = clean_text(&property_text(entry)),
            ICalendarProperty::Location => {
                self.texts.place = clean_text(&property_text(entry)).filter(|place| !place.contains("://"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a property of Exchange has this value. Of several, the last counts.
fn is_marked(component: &ICalendarComponent, property: &str, value: &str) -> bool {
    let is_marker = |entry: &&ICalendarEntry| matches!(&entry.name, ICalendarProperty::Other(name) if name.eq_ignore_ascii_case(property));
    let marker = component.entries.iter().rfind(is_marker);
    marker.is_some_and(|entry| property_text(entry).eq_ignore_ascii_case(value))
}

fn parse_time(entry: &ICalendarEntry, property: &'static str) -> Result<IcsTime, IcsEventError> {
    parse_times(entry, property)?.into_iter().next().ok_or(IcsEventError::InvalidTime(property))
}

fn parse_times(entry: &ICalendarEntry, property: &'static str) -> Result<Vec<IcsTime>, IcsEventError> {
    let zone = entry.tz_id();
    if entry.values.len() > MAX_DATES || zone.is_some_and(|zone| zone.len() > MAX_ZONE_NAME_BYTES) {
        return Err(IcsEventError::OverBudget);
    }
    let moment = |value: &ICalendarValue| match value {
        ICalendarValue::PartialDateTime(written) => IcsTime::from_written(written, zone),
        ICalendarValue::Period(ICalendarPeriod::Range { start, .. } | ICalendarPeriod::Duration { start, .. }) => {
            IcsTime::from_written(start, zone)
        }
        _ => None,
    };
    entry.values.iter().map(|value| moment(value).ok_or(IcsEventError::InvalidTime(property))).collect()
}

fn parse_status(status: Option<&str>) -> AppointmentStatus {
    let is = |name: &str| status.is_some_and(|status| status.trim().eq_ignore_ascii_case(name));
    if is("CANCELLED") || is("CANCELED") {
        AppointmentStatus::Cancelled
    } else if is("TENTATIVE") {
        AppointmentStatus::Unconfirmed
    } else {
        AppointmentStatus::Booked
    }
}

/// The unescaped text of a property. The library splits unknown properties at semicolons.
fn property_text(entry: &ICalendarEntry) -> String {
    let parts: Vec<&str> = entry.values.iter().filter_map(ICalendarValue::as_text).collect();
    parts.join(";")
}

/// A text on one line. `None` if it is empty or contains bytes that were not UTF-8.
fn clean_text(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words.join(" ").chars().take(MAX_TEXT_CHARS).collect();
    Some(text).filter(|text| !text.is_empty() && !text.contains('\u{fffd}'))
}
