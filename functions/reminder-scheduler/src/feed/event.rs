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
use shared::{
    appointment::Standing,
    client_config::{FeedRule, TextRule},
};

use super::{ics::EventError, lines, rule, zone};

/// The longest `UID` that is taken, in bytes. Those of real calendars have some dozen.
const MAX_UID_BYTES: usize = 1000;

/// The properties that are read, beside those that the client's rules name.
const WANTED: [&str; 14] = [
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
    ALL_DAY,
];

/// Exchange writes a whole day as one from midnight to midnight, and marks it with this.
const ALL_DAY: &str = "X-MICROSOFT-CDO-ALLDAYEVENT";

/// A time as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moment {
    /// A whole day.
    Day(Date),
    /// A time of day.
    Time {
        /// What the clocks show.
        local: DateTime,
        /// Which clocks.
        clocks: Clocks,
    },
}

/// Which clocks a time is told by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clocks {
    /// Those of whoever looks.
    Floating,
    /// UTC, or so far from it.
    Offset(Offset),
    /// Those of the zone with this `TZID`.
    Zone(String),
}

impl Moment {
    /// Reads a date or a date with a time.
    pub(super) fn of(written: &PartialDateTime, zone: Option<&str>) -> Option<Self> {
        let small = |number: Option<u8>| number.and_then(|number| i8::try_from(number).ok());
        let date = Date::new(written.year?.try_into().ok()?, small(written.month)?, small(written.day)?).ok()?;
        let Some(hour) = small(written.hour) else { return Some(Self::Day(date)) };
        // A leap second is the second before it: nothing begins in one.
        let second = small(written.second).unwrap_or(0).min(59);
        let time = Time::new(hour, small(written.minute)?, second, 0).ok()?;
        let clocks = match zone {
            _ if written.tz_hour.is_some() => Clocks::Offset(zone::offset(written)?),
            Some(id) if !id.trim().is_empty() => Clocks::Zone(id.to_owned()),
            _ => Clocks::Floating,
        };
        Some(Self::Time { local: date.to_datetime(time), clocks })
    }
}

/// Of several copies of one event the greatest counts: `SEQUENCE`, then `DTSTAMP`, then `LAST-MODIFIED`, then the place
/// in the body.
type Rank = (i64, Option<i64>, Option<i64>, usize);

/// One event.
pub(super) struct Event {
    pub(super) uid: String,
    /// The slot of its series that it takes the place of.
    pub(super) slot: Option<Moment>,
    /// Whether it speaks for all slots behind that one as well.
    pub(super) following: bool,
    pub(super) start: Option<Moment>,
    pub(super) rules: Vec<ICalendarRecurrenceRule>,
    pub(super) further: Vec<Moment>,
    pub(super) except: Vec<Moment>,
    pub(super) standing: Standing,
    pub(super) rank: Rank,
    pub(super) words: Words,
}

/// What an event says in words.
#[derive(Default)]
pub(super) struct Words {
    /// What stands where the client says that a phone number is.
    pub(super) phone: Option<String>,
    pub(super) person: Option<String>,
    pub(super) title: Option<String>,
    pub(super) place: Option<String>,
}

/// How a client's events are read.
pub(super) struct Source<'a> {
    phone: &'a TextRule,
    person: Option<&'a TextRule>,
}

impl<'a> Source<'a> {
    pub(super) fn new(rule: &'a FeedRule) -> Self {
        Self { phone: &rule.phone, person: rule.person.as_ref() }
    }

    /// Whether an event's property is read.
    pub(super) fn wants(&self, name: &str) -> bool {
        let fields = [Some(self.phone), self.person].into_iter().flatten().map(|rule| rule.field.as_str());
        WANTED.into_iter().chain(fields).any(|wanted| wanted.eq_ignore_ascii_case(name))
    }

    /// Reads one event's lines; `number` is its place in the body. An error comes with the `UID`, if there is one.
    pub(super) fn event(&self, lines: &[&str], number: usize) -> Result<Event, (Option<String>, EventError)> {
        let text = format!("BEGIN:VEVENT\n{}\nEND:VEVENT\n", lines.join("\n"));
        let Entry::ICalendar(parsed) = Parser::new(&text).entry() else { return Err((None, EventError::Uid)) };
        let component = parsed.components.into_iter().next().unwrap_or_default();
        let uid = component.uid().map(str::trim).filter(|uid| (1..=MAX_UID_BYTES).contains(&uid.len()));
        let Some(uid) = uid.map(str::to_owned) else { return Err((None, EventError::Uid)) };
        let rules = lines.iter().filter(|line| lines::name(line).eq_ignore_ascii_case("RRULE"));
        rules
            .map(|line| lines::value(line))
            .try_for_each(rule::vet)
            .and_then(|()| self.read(uid.clone(), &component, number))
            .map_err(|error| (Some(uid), error))
    }

    fn read(&self, uid: String, component: &ICalendarComponent, number: usize) -> Result<Event, EventError> {
        let mut event = Event {
            uid,
            slot: None,
            following: false,
            start: None,
            rules: Vec::new(),
            further: Vec::new(),
            except: Vec::new(),
            standing: Standing::Booked,
            rank: (0, None, None, number),
            words: Words::default(),
        };
        let mut all_day = false;
        for entry in &component.entries {
            let first = entry.values.first();
            let seconds =
                || first.and_then(ICalendarValue::as_partial_date_time).and_then(PartialDateTime::to_timestamp);
            match &entry.name {
                ICalendarProperty::Dtstart => event.start = Some(moment(entry, "DTSTART")?),
                ICalendarProperty::RecurrenceId => {
                    event.slot = Some(moment(entry, "RECURRENCE-ID")?);
                    event.following = entry.has_parameter(&ICalendarParameterName::Range);
                }
                ICalendarProperty::Rrule => {
                    for value in &entry.values {
                        let ICalendarValue::RecurrenceRule(rule) = value else { return Err(EventError::Rule) };
                        event.rules.push((**rule).clone());
                    }
                }
                // Of an older standard, and gone from this one: what it takes out we would remind of.
                ICalendarProperty::Exrule => return Err(EventError::Rule),
                ICalendarProperty::Rdate => event.further.extend(moments(entry, "RDATE")?),
                ICalendarProperty::Exdate => event.except.extend(moments(entry, "EXDATE")?),
                ICalendarProperty::Status => event.standing = standing(first.and_then(ICalendarValue::as_text)),
                ICalendarProperty::Sequence => event.rank.0 = first.and_then(ICalendarValue::as_integer).unwrap_or(0),
                ICalendarProperty::Dtstamp => event.rank.1 = seconds(),
                ICalendarProperty::LastModified => event.rank.2 = seconds(),
                ICalendarProperty::Summary => event.words.title = clean(&text(entry)),
                ICalendarProperty::Location => {
                    event.words.place = clean(&text(entry)).filter(|place| !place.contains("://"));
                }
                ICalendarProperty::Other(name) if name.eq_ignore_ascii_case(ALL_DAY) => {
                    all_day = text(entry).eq_ignore_ascii_case("TRUE");
                }
                _ => {}
            }
            let is = |rule: &TextRule| rule.field.eq_ignore_ascii_case(entry.name.as_str());
            if is(self.phone) && event.words.phone.is_none() {
                event.words.phone = pick(self.phone, &text(entry));
            }
            if let Some(rule) = self.person.filter(|rule| is(rule) && event.words.person.is_none()) {
                event.words.person = pick(rule, &text(entry)).as_deref().and_then(clean);
            }
        }
        if let (true, Some(Moment::Time { local, .. })) = (all_day, &event.start) {
            event.start = Some(Moment::Day(local.date()));
        }
        Ok(event)
    }
}

fn moment(entry: &ICalendarEntry, property: &'static str) -> Result<Moment, EventError> {
    moments(entry, property)?.into_iter().next().ok_or(EventError::Time(property))
}

fn moments(entry: &ICalendarEntry, property: &'static str) -> Result<Vec<Moment>, EventError> {
    let zone = entry.tz_id();
    let moment = |value: &ICalendarValue| match value {
        ICalendarValue::PartialDateTime(written) => Moment::of(written, zone),
        ICalendarValue::Period(ICalendarPeriod::Range { start, .. } | ICalendarPeriod::Duration { start, .. }) => {
            Moment::of(start, zone)
        }
        _ => None,
    };
    entry.values.iter().map(|value| moment(value).ok_or(EventError::Time(property))).collect()
}

fn standing(status: Option<&str>) -> Standing {
    let is = |name: &str| status.is_some_and(|status| status.trim().eq_ignore_ascii_case(name));
    if is("CANCELLED") || is("CANCELED") {
        Standing::Cancelled
    } else if is("TENTATIVE") {
        Standing::Unconfirmed
    } else {
        Standing::Booked
    }
}

/// The text of a property, unescaped. The library splits properties that it does not know at semicolons.
fn text(entry: &ICalendarEntry) -> String {
    let parts: Vec<&str> = entry.values.iter().filter_map(ICalendarValue::as_text).collect();
    parts.join(";")
}

/// A name for texts: on one line, and nothing if it was not decoded whole.
fn clean(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Some(words.join(" ")).filter(|text| !text.is_empty() && !text.contains('\u{fffd}'))
}

/// What a rule points at in a text. Descriptions that were typed into Google's or Microsoft's calendars are HTML, so a
/// value ends at a tag as it does at the end of its line, and tags between label and value are passed over.
fn pick(rule: &TextRule, text: &str) -> Option<String> {
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

    fn rule(after: &[&str]) -> TextRule {
        TextRule { field: "description".into(), after: after.iter().map(|&label| label.to_owned()).collect() }
    }

    #[test]
    fn a_value_is_what_follows_the_first_label_that_occurs_up_to_the_end_of_its_line() {
        let labels = rule(&["Phone:", "Phone", "tel:"]);
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
            assert_eq!(pick(&labels, text).as_deref(), value, "{text}");
        }
        assert_eq!(pick(&rule(&[]), " 054-555-0199\n").as_deref(), Some("054-555-0199"));
        assert_eq!(pick(&rule(&["טלפון:"]), "לקוח: נועה\nטלפון: 054-5550199").as_deref(), Some("054-5550199"));
    }

    #[test]
    fn tags_around_a_value_are_no_part_of_it() {
        let labels = rule(&["Phone:"]);
        for text in [
            "<b>Phone:</b> 054-555-0199<br>Name: Noa",
            "Phone:&nbsp;054-555-0199&nbsp;<br/>",
            "Phone: <a href=\"tel:+972545550199\">054-555-0199</a>",
            "<p>Phone: 054-555-0199</p><p>Noa</p>",
            "Phone: 054-555-0199\r\nNoa",
        ] {
            assert_eq!(pick(&labels, text).as_deref(), Some("054-555-0199"), "{text}");
        }
        assert_eq!(pick(&labels, "Phone:<br>054-555-0199"), None);
        assert_eq!(pick(&labels, "Phone: <unclosed"), None);
    }
}
