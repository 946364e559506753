//! What stands in one event, by itself: its times as they are written, and the words that the client's rules point at.

use calcard::{
    Entry, Parser,
    common::PartialDateTime,
    icalendar::{
        ICalendarComponent, ICalendarEntry, ICalendarParameterName, ICalendarPeriod, ICalendarProperty,
        ICalendarRecurrenceRule, ICalendarValue,
    },
};
use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use tellonce_core::{
    appointment::AppointmentStatus,
    client_config::{FeedRule, FeedTextRule},
};

use super::{ics::IcsEventError, recurrence_rule, text_lines, zone};

/// The longest `UID` that is taken, in bytes. Those of real calendars have some dozen.
const MAX_UID_BYTES: usize = 1000;

/// The properties that are read, beside those that the client's rules name.
const READ_PROPERTIES: [&str; 14] = [
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
    ALL_DAY_PROPERTY,
];

/// Exchange writes a whole day as one from midnight to midnight, and marks it with this.
const ALL_DAY_PROPERTY: &str = "X-MICROSOFT-CDO-ALLDAYEVENT";

/// A time as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IcsTime {
    /// A whole day.
    Day(Date),
    /// A time of day.
    Time {
        /// What the clocks show.
        local: DateTime,
        /// Which clocks.
        time_zone: IcsTimeZone,
    },
}

/// Which clocks a time is told by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IcsTimeZone {
    /// Those of whoever looks.
    Floating,
    /// UTC, or so far from it.
    Offset(Offset),
    /// Those of the zone with this `TZID`.
    Zone(String),
}

impl IcsTime {
    /// Reads a date or a date with a time.
    pub(super) fn from_written(written: &PartialDateTime, zone: Option<&str>) -> Option<Self> {
        let small = |number: Option<u8>| number.and_then(|number| i8::try_from(number).ok());
        let date = Date::new(written.year?.try_into().ok()?, small(written.month)?, small(written.day)?).ok()?;
        let Some(hour) = small(written.hour) else { return Some(Self::Day(date)) };
        // A leap second is the second before it: nothing begins in one.
        let second = small(written.second).unwrap_or(0).min(59);
        let time = Time::new(hour, small(written.minute)?, second, 0).ok()?;
        let clocks = match zone {
            _ if written.tz_hour.is_some() => IcsTimeZone::Offset(zone::parse_offset(written)?),
            Some(id) if !id.trim().is_empty() => IcsTimeZone::Zone(id.to_owned()),
            _ => IcsTimeZone::Floating,
        };
        Some(Self::Time { local: date.to_datetime(time), time_zone: clocks })
    }
}

/// Of several copies of one event the greatest counts: `SEQUENCE`, then `DTSTAMP`, then `MAX_LAST_MESSAGES-MODIFIED`, then the place
/// in the body.
type EventRank = (i64, Option<i64>, Option<i64>, usize);

/// One event.
pub(super) struct IcsEvent {
    pub(super) uid: String,
    /// The slot of its series that it takes the place of.
    pub(super) recurrence_slot: Option<IcsTime>,
    /// Whether it speaks for all slots behind that one as well.
    pub(super) applies_to_following: bool,
    pub(super) start: Option<IcsTime>,
    pub(super) rules: Vec<ICalendarRecurrenceRule>,
    pub(super) extra_times: Vec<IcsTime>,
    pub(super) excluded_times: Vec<IcsTime>,
    pub(super) status: AppointmentStatus,
    pub(super) rank: EventRank,
    pub(super) texts: EventTexts,
}

/// What an event says in words.
#[derive(Default)]
pub(super) struct EventTexts {
    /// What stands where the client says that a phone number is.
    pub(super) phone: Option<String>,
    pub(super) person: Option<String>,
    pub(super) title: Option<String>,
    pub(super) place: Option<String>,
}

/// How a client's events are read.
pub(super) struct EventParser<'a> {
    phone: &'a FeedTextRule,
    person: Option<&'a FeedTextRule>,
}

impl<'a> EventParser<'a> {
    pub(super) fn new(rule: &'a FeedRule) -> Self {
        Self { phone: &rule.phone, person: rule.person.as_ref() }
    }

    /// Whether an event's property is read.
    pub(super) fn reads_property(&self, name: &str) -> bool {
        let fields = [Some(self.phone), self.person].into_iter().flatten().map(|rule| rule.field.as_str());
        READ_PROPERTIES.into_iter().chain(fields).any(|wanted| wanted.eq_ignore_ascii_case(name))
    }

    /// Reads one event's lines; `number` is its place in the body. An error comes with the `UID`, if there is one.
    pub(super) fn parse_event(
        &self,
        lines: &[&str],
        number: usize,
    ) -> Result<IcsEvent, (Option<String>, IcsEventError)> {
        let text = format!("BEGIN:VEVENT\n{}\nEND:VEVENT\n", lines.join("\n"));
        let Entry::ICalendar(parsed) = Parser::new(&text).entry() else {
            return Err((None, IcsEventError::InvalidUid));
        };
        let component = parsed.components.into_iter().next().unwrap_or_default();
        let uid = component.uid().map(str::trim).filter(|uid| (1..=MAX_UID_BYTES).contains(&uid.len()));
        let Some(uid) = uid.map(str::to_owned) else { return Err((None, IcsEventError::InvalidUid)) };
        let rules = lines.iter().filter(|line| text_lines::property_name(line).eq_ignore_ascii_case("RRULE"));
        rules
            .map(|line| text_lines::property_value(line))
            .try_for_each(recurrence_rule::validate_rule)
            .and_then(|()| self.build_event(uid.clone(), &component, number))
            .map_err(|error| (Some(uid), error))
    }

    fn build_event(
        &self,
        uid: String,
        component: &ICalendarComponent,
        number: usize,
    ) -> Result<IcsEvent, IcsEventError> {
        let mut event = IcsEvent {
            uid,
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
        let mut all_day = false;
        for entry in &component.entries {
            let first = entry.values.first();
            let seconds =
                || first.and_then(ICalendarValue::as_partial_date_time).and_then(PartialDateTime::to_timestamp);
            match &entry.name {
                ICalendarProperty::Dtstart => event.start = Some(parse_time(entry, "DTSTART")?),
                ICalendarProperty::RecurrenceId => {
                    event.recurrence_slot = Some(parse_time(entry, "RECURRENCE-ID")?);
                    event.applies_to_following = entry.has_parameter(&ICalendarParameterName::Range);
                }
                ICalendarProperty::Rrule => {
                    for value in &entry.values {
                        let ICalendarValue::RecurrenceRule(rule) = value else {
                            return Err(IcsEventError::InvalidRule);
                        };
                        event.rules.push((**rule).clone());
                    }
                }
                // Of an older standard, and gone from this one: what it takes out we would remind of.
                ICalendarProperty::Exrule => return Err(IcsEventError::InvalidRule),
                ICalendarProperty::Rdate => event.extra_times.extend(parse_times(entry, "RDATE")?),
                ICalendarProperty::Exdate => event.excluded_times.extend(parse_times(entry, "EXDATE")?),
                ICalendarProperty::Status => event.status = parse_status(first.and_then(ICalendarValue::as_text)),
                ICalendarProperty::Sequence => event.rank.0 = first.and_then(ICalendarValue::as_integer).unwrap_or(0),
                ICalendarProperty::Dtstamp => event.rank.1 = seconds(),
                ICalendarProperty::LastModified => event.rank.2 = seconds(),
                ICalendarProperty::Summary => event.texts.title = clean_text(&property_text(entry)),
                ICalendarProperty::Location => {
                    event.texts.place = clean_text(&property_text(entry)).filter(|place| !place.contains("://"));
                }
                ICalendarProperty::Other(name) if name.eq_ignore_ascii_case(ALL_DAY_PROPERTY) => {
                    all_day = property_text(entry).eq_ignore_ascii_case("TRUE");
                }
                _ => {}
            }
            let is = |rule: &FeedTextRule| rule.field.eq_ignore_ascii_case(entry.name.as_str());
            if is(self.phone) && event.texts.phone.is_none() {
                event.texts.phone = extract_value(self.phone, &property_text(entry));
            }
            if let Some(rule) = self.person.filter(|rule| is(rule) && event.texts.person.is_none()) {
                event.texts.person = extract_value(rule, &property_text(entry)).as_deref().and_then(clean_text);
            }
        }
        if let (true, Some(IcsTime::Time { local, .. })) = (all_day, &event.start) {
            event.start = Some(IcsTime::Day(local.date()));
        }
        Ok(event)
    }
}

fn parse_time(entry: &ICalendarEntry, property: &'static str) -> Result<IcsTime, IcsEventError> {
    parse_times(entry, property)?.into_iter().next().ok_or(IcsEventError::InvalidTime(property))
}

fn parse_times(entry: &ICalendarEntry, property: &'static str) -> Result<Vec<IcsTime>, IcsEventError> {
    let zone = entry.tz_id();
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

/// The text of a property, unescaped. The library splits properties that it does not know at semicolons.
fn property_text(entry: &ICalendarEntry) -> String {
    let parts: Vec<&str> = entry.values.iter().filter_map(ICalendarValue::as_text).collect();
    parts.join(";")
}

/// A name for texts: on one line, and nothing if it was not decoded whole.
fn clean_text(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Some(words.join(" ")).filter(|text| !text.is_empty() && !text.contains('\u{fffd}'))
}

/// What a rule points at in a text. Descriptions that were typed into Google's or Microsoft's calendars are HTML, so a
/// value ends at a tag as it does at the end of its line, and tags between label and value are passed over.
fn extract_value(rule: &FeedTextRule, text: &str) -> Option<String> {
    if rule.after.is_empty() {
        return Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    }
    let mut rest = rule.after.iter().find_map(|label| Some(text.split_once(label.as_str())?.1))?;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\u{a0}']);
        rest = match rest.strip_prefix("&nbsp;") {
            Some(behind) => behind,
            None => match rest.strip_prefix('<').and_then(|tag| tag.split_once('>')) {
                Some((tag, behind)) if !ends_line(tag) => behind,
                _ => break,
            },
        };
    }
    let value = rest.split(['\n', '\r', '<']).next().unwrap_or_default().replace("&nbsp;", " ");
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Whether what follows this tag stands on another line.
fn ends_line(tag: &str) -> bool {
    let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    ["br", "p", "div", "li", "ul", "ol", "tr", "td", "table", "h1", "h2", "h3"]
        .iter()
        .any(|line| line.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_rule(after: &[&str]) -> FeedTextRule {
        FeedTextRule { field: "description".into(), after: after.iter().map(|&label| label.to_owned()).collect() }
    }

    #[test]
    fn a_value_follows_the_first_matching_label_and_ends_with_its_line() {
        let labels = text_rule(&["Phone:", "Phone", "tel:"]);
        for (text, value) in [
            ("Phone: 054-555-0199\nBooked online, first visit", Some("054-555-0199")),
            ("tel:+972525550101", Some("+972525550101")),
            ("Phone 052-555-0101", Some("052-555-0101")),
            ("tel:1\nPhone: 2", Some("2")),
            ("phone: 054-555-0199", None),
            ("Phone:\n054-555-0199", None),
            ("Phone:", None),
            ("call me", None),
            ("", None),
        ] {
            assert_eq!(extract_value(&labels, text).as_deref(), value, "{text}");
        }
        assert_eq!(extract_value(&text_rule(&[]), " 054-555-0199\n").as_deref(), Some("054-555-0199"));
        assert_eq!(
            extract_value(&text_rule(&["טלפון:"]), "לקוח: נועה\nטלפון: 054-5550199").as_deref(),
            Some("054-5550199")
        );
    }

    #[test]
    fn tags_around_a_value_are_not_part_of_it() {
        let labels = text_rule(&["Phone:"]);
        for text in [
            "<b>Phone:</b> 054-555-0199<br>Name: Noa",
            "Phone:&nbsp;054-555-0199&nbsp;<br/>",
            "Phone: <a href=\"tel:+972545550199\">054-555-0199</a>",
            "<p>Phone: 054-555-0199</p><p>Noa</p>",
            "Phone: 054-555-0199\r\nNoa",
        ] {
            assert_eq!(extract_value(&labels, text).as_deref(), Some("054-555-0199"), "{text}");
        }
        assert_eq!(extract_value(&labels, "Phone:<br>054-555-0199"), None);
        assert_eq!(extract_value(&labels, "Phone: <unclosed"), None);
    }
}
