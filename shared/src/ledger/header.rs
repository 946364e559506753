//! Headers of appointments as items of the table, beside the rows of their reminders.
//!
//! What the table itself asks about (version, generation, when it is due) stands in attributes of its own; the rest is one
//! JSON text, small enough for the index of what is due to carry, so that the clock needs no further read.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue as Value;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::ItemError;
use crate::{
    appointment::{Appointment, Attendee, HEADER_STAGE, Mark, Seat, Standing},
    clock::UnixMillis,
    contact::Phone,
};

#[derive(Serialize, Deserialize)]
struct Document {
    calendar: String,
    line: String,
    generation: u64,
    standing: Standing,
    start: Timestamp,
    zone: String,
    seats: Vec<SeatDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    as_of: Timestamp,
    booked_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<Mark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    priority: u8,
    delivery: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SeatDocument {
    phone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    taken: bool,
}

/// The item of a header. `ttl` is when the table forgets it, in seconds since 1970.
pub(super) fn to_item(appointment: &Appointment, ttl: i64) -> HashMap<String, Value> {
    let document = Document {
        calendar: appointment.calendar.clone(),
        line: appointment.line.clone(),
        generation: appointment.generation,
        standing: appointment.standing,
        start: appointment.start,
        zone: appointment.zone.clone(),
        seats: appointment.seats.iter().map(SeatDocument::of).collect(),
        title: appointment.title.clone(),
        place: appointment.place.clone(),
        as_of: appointment.as_of,
        booked_at: appointment.booked_at,
        marks: appointment.marks.clone(),
        due_at: appointment.due_at,
        priority: appointment.priority,
        delivery: appointment.delivery.clone(),
        created_at: appointment.created_at,
        updated_at: appointment.updated_at,
    };
    let text = |value: &str| Value::S(value.to_owned());
    let number = |value: i64| Value::N(value.to_string());
    // Made of strings, numbers and lists: it cannot fail to be JSON.
    let document = serde_json::to_string(&document).unwrap_or_default();
    let mut item = HashMap::from([
        ("subject".to_owned(), text(&appointment.subject)),
        ("stage".to_owned(), text(HEADER_STAGE)),
        ("state".to_owned(), text(appointment.standing.name())),
        ("version".to_owned(), Value::N(appointment.version.to_string())),
        ("generation".to_owned(), Value::N(appointment.generation.to_string())),
        ("useful_until".to_owned(), number(appointment.start.millis())),
        ("updated_at".to_owned(), number(appointment.updated_at.millis())),
        ("appointment".to_owned(), Value::S(document)),
        ("ttl".to_owned(), number(ttl)),
    ]);
    if let Some(due) = appointment.due_at {
        item.insert("due_line".to_owned(), text(&appointment.line));
        item.insert("due_at".to_owned(), number(due.millis()));
        item.insert("priority".to_owned(), number(appointment.priority.into()));
    }
    item
}

/// The header of an item, be it from the table or from the index of what is due.
pub(super) fn from_item(item: &HashMap<String, Value>) -> Result<Appointment, ItemError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let subject = text("subject").cloned().unwrap_or_default();
    let missing = |attribute: &'static str| ItemError::new(format!("{subject}:{HEADER_STAGE}"), attribute);
    let version = item.get("version").and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok());
    let document = text("appointment").and_then(|text| serde_json::from_str::<Document>(text).ok());
    let document = document.ok_or(missing("appointment"))?;
    let seats = document.seats.into_iter().map(SeatDocument::seat).collect::<Option<_>>();
    Ok(Appointment {
        version: version.ok_or(missing("version"))?,
        calendar: document.calendar,
        line: document.line,
        generation: document.generation,
        standing: document.standing,
        start: document.start,
        zone: document.zone,
        seats: seats.ok_or(missing("appointment"))?,
        title: document.title,
        place: document.place,
        as_of: document.as_of,
        booked_at: document.booked_at,
        marks: document.marks,
        due_at: document.due_at,
        priority: document.priority,
        delivery: document.delivery,
        created_at: document.created_at,
        updated_at: document.updated_at,
        subject,
    })
}

impl SeatDocument {
    fn of(seat: &Seat) -> Self {
        let Attendee { phone, name, locale, zone } = seat.attendee.clone();
        Self { phone: phone.expose().to_owned(), name, locale, zone, taken: seat.taken }
    }

    fn seat(self) -> Option<Seat> {
        let Self { phone, name, locale, zone, taken } = self;
        Some(Seat { attendee: Attendee { phone: Phone::from_e164(&phone).ok()?, name, locale, zone }, taken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appointment::Outcome;

    #[test]
    fn a_header_reads_back_what_was_written_and_waits_in_the_index_only_while_something_is_to_come() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let attendee = Attendee {
            phone: Phone::from_e164("+972545550199").unwrap(),
            name: Some("נועה".into()),
            locale: Some("he-IL".into()),
            zone: None,
        };
        let appointment = Appointment {
            subject: "appointment:88".into(),
            calendar: "clinic".into(),
            line: "main".into(),
            version: 7,
            generation: 2,
            standing: Standing::Booked,
            start: at("2026-11-24T08:30:00Z"),
            zone: "Asia/Jerusalem".into(),
            seats: vec![Seat { attendee, taken: true }],
            title: Some("Consultation".into()),
            place: None,
            as_of: at("2026-11-19T10:00:00.538Z"),
            booked_at: at("2026-11-19T10:00:00.538Z"),
            marks: vec![Mark {
                stage: "24h".into(),
                start: at("2026-11-24T08:30:00Z"),
                seat: 0,
                outcome: Outcome::Opened,
            }],
            due_at: Some(at("2026-11-24T06:30:00Z")),
            priority: 70,
            delivery: "clinic#1".into(),
            created_at: at("2026-11-19T10:00:02Z"),
            updated_at: at("2026-11-23T08:30:05Z"),
        };
        let item = to_item(&appointment, 1);
        assert_eq!(from_item(&item).unwrap(), appointment);
        assert!(item.contains_key("due_line"));
        let done = Appointment { due_at: None, ..appointment };
        assert!(!to_item(&done, 1).contains_key("due_line") && !to_item(&done, 1).contains_key("due_at"));
        assert!(from_item(&HashMap::new()).is_err());
    }
}
