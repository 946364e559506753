//! Parsing one event: its times as the feed writes them, and the texts that the client's rules
//! select.
//!
//! Main types: [`EventParser`], [`IcsEvent`].

use calcard::{
    Entry, Parser,
    icalendar::{ICalendarComponent, ICalendarEntry, ICalendarProperty, ICalendarValue},
};
use jiff::{Timestamp, civil::Date, tz::Offset};
use tellonce_core::{
    appointment::AppointmentStatus,
    client_config::{FeedRule, FeedTextRule},
    hash::sha256_hex,
};

use super::{
    called_off::is_called_off,
    ics_time::IcsTime,
    label::{LabelledNumber, TextLabels},
    organizer::{CalendarOwner, ForeignEvent},
    outline::{CalendarNumber, EventPart},
    parse_error::IcsEventError,
    recurrence_rule::RecurrenceRule,
    text_lines,
    time_property::TimeProperty,
};

/// The most further and excluded dates of all events with one `UID`: years of weekly exceptions.
pub(super) const MAX_DATES: usize = 2_000;
/// The longest text that is kept, in characters: as much as an appointment keeps. Each occurrence
/// has a copy.
const MAX_TEXT_CHARS: usize = 200;

/// The longest accepted `UID`, in bytes. Those of real calendars have some dozens.
const MAX_UID_BYTES: usize = 1000;

/// The length of the hash of a longer `UID`, in bytes.
const UID_HASH_BYTES: usize = 16;

/// The properties that are always parsed. The client's rules name further ones.
const READ_PROPERTIES: [&str; 18] = [
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
    "TRANSP",
    ALL_DAY_PROPERTY,
    BUSY_STATUS_PROPERTY,
];

/// The properties that [`IcsEvent::read_line`] reads, and not the library.
const TIME_PROPERTIES: [&str; 8] =
    ["DTSTART", "RECURRENCE-ID", "RRULE", "EXRULE", "RDATE", "EXDATE", "DTSTAMP", "LAST-MODIFIED"];

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
    /// The calendar that it is in.
    pub(super) calendar: CalendarNumber,
    /// The slot of its series that this event replaces.
    pub(super) recurrence_slot: Option<IcsTime>,
    /// Whether it also applies to all later slots (`RANGE=THISANDFUTURE`).
    pub(super) applies_to_following: bool,
    pub(super) start: Option<IcsTime>,
    pub(super) rules: Vec<RecurrenceRule>,
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

    /// Parses the lines of one event. `part` is its place in the body.
    pub(super) fn parse_event(&self, lines: &str, part: &EventPart) -> Result<IcsEvent, SkippedEvent> {
        // The library reads no time: a quote that is not closed would swallow the lines behind it.
        let is_other = |line: &&str| !TIME_PROPERTIES.iter().any(|name| is_property(line, name));
        let others: String = lines.lines().filter(is_other).flat_map(|line| [line, "\n"]).collect();
        let component = parse_component(&others).ok_or(SkippedEvent::Unparsed(IcsEventError::InvalidUid))?;
        let event = self.build_event(&component, lines, part);
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

    fn build_event(
        &self,
        component: &ICalendarComponent,
        lines: &str,
        part: &EventPart,
    ) -> Result<IcsEvent, IcsEventError> {
        if part.is_broken {
            return Err(IcsEventError::Incomplete);
        }
        let mut event = IcsEvent {
            calendar: part.calendar,
            recurrence_slot: None,
            applies_to_following: false,
            start: None,
            rules: Vec::new(),
            extra_times: Vec::new(),
            excluded_times: Vec::new(),
            status: AppointmentStatus::Booked,
            rank: (0, None, None, part.lines.start),
            texts: EventTexts::default(),
        };
        lines.lines().try_for_each(|line| event.read_line(line))?;
        let mut is_garbled = false;
        for entry in &component.entries {
            event.read_property(entry);
            self.select_texts(&mut event.texts, entry);
            is_garbled |= self.phone.0.field.eq_ignore_ascii_case(entry.name.as_str()) && is_not_utf_8(entry);
        }
        if is_garbled && !event.texts.phone.is_text() {
            return Err(IcsEventError::UnknownCharset);
        }
        let has_mark = |property, value| has_value(lines, property, value);
        let is_free = has_mark(BUSY_STATUS_PROPERTY, "FREE") || has_mark("TRANSP", "TRANSPARENT");
        if is_free && event.texts.title.as_deref().is_some_and(is_called_off) {
            event.status = AppointmentStatus::Cancelled;
        }
        if !self.own_texts {
            (event.texts.title, event.texts.place) = (None, None);
        }
        if let (true, Some(IcsTime::Time { local, .. })) = (has_mark(ALL_DAY_PROPERTY, "TRUE"), &event.start) {
            event.start = Some(IcsTime::Day(local.date()));
        }
        let is_unanswered = has_mark(BUSY_STATUS_PROPERTY, "TENTATIVE") || self.owner.has_not_accepted(component);
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

    /// Reads a line if it holds times or a rule. [`TimeProperty`] says why the library does not.
    fn read_line(&mut self, line: &str) -> Result<(), IcsEventError> {
        match text_lines::property_name(line).to_ascii_uppercase().as_str() {
            // Of two starts, none is certain.
            "DTSTART" if self.start.is_some() => return Err(IcsEventError::InvalidTime("DTSTART")),
            "DTSTART" => self.start = Some(TimeProperty::parse_single(line, "DTSTART")?.0),
            "RECURRENCE-ID" => {
                let (slot, range) = TimeProperty::parse_single(line, "RECURRENCE-ID")?;
                self.applies_to_following = match range {
                    None => false,
                    Some(range) if range.eq_ignore_ascii_case("THISANDFUTURE") => true,
                    Some(_) => return Err(IcsEventError::InvalidTime("RECURRENCE-ID")),
                };
                self.recurrence_slot = Some(slot);
            }
            "RRULE" if text_lines::property_value(line).trim().is_empty() => {}
            "RRULE" => self.rules.push(RecurrenceRule::parse(line)?),
            // EXRULE belongs to an older standard. Without it, excluded times would get reminders.
            "EXRULE" => return Err(IcsEventError::InvalidRule),
            "RDATE" => self.extra_times.extend(TimeProperty::parse(line, "RDATE")?.times),
            "EXDATE" => self.excluded_times.extend(TimeProperty::parse(line, "EXDATE")?.times),
            "DTSTAMP" => self.rank.1 = parse_seconds(line),
            "LAST-MODIFIED" => self.rank.2 = parse_seconds(line),
            _ => {}
        }
        Ok(())
    }

    /// Reads one of the other properties that are always parsed.
    fn read_property(&mut self, entry: &ICalendarEntry) {
        let first = entry.values.first();
        match &entry.name {
            ICalendarProperty::Status => self.status = parse_status(first.and_then(ICalendarValue::as_text)),
            ICalendarProperty::Sequence => self.rank.0 = first.and_then(ICalendarValue::as_integer).unwrap_or(0),
            ICalendarProperty::Summary => self.texts.title = clean_text(&property_text(entry)),
            ICalendarProperty::Location => {
                self.texts.place = clean_text(&property_text(entry)).filter(|place| !place.contains("://"));
            }
            _ => {}
        }
    }
}

/// The seconds of a time that only orders copies, as if it were in UTC.
fn parse_seconds(line: &str) -> Option<i64> {
    let (time, _) = TimeProperty::parse_single(line, "DTSTAMP").ok()?;
    Offset::UTC.to_timestamp(time.local()).ok().map(Timestamp::as_second)
}

fn is_property(line: &str, name: &str) -> bool {
    text_lines::property_name(line).eq_ignore_ascii_case(name)
}

/// Whether a property has this value. Of several, the last counts.
fn has_value(lines: &str, property: &str, value: &str) -> bool {
    let line = lines.lines().rfind(|line| is_property(line, property));
    line.is_some_and(|line| text_lines::property_value(line).eq_ignore_ascii_case(value))
}

fn is_not_utf_8(entry: &ICalendarEntry) -> bool {
    property_text(entry).contains('\u{fffd}')
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
