//! Headers of appointments as items of the table, beside the rows of their reminders.
//!
//! What the table itself asks about (version, generation, when it is due) stands in attributes of its own; the rest is one
//! JSON text, small enough for the index of what is due to carry, so that the clock needs no further read.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue as Value;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::LedgerItemError;
use crate::{
    appointment::{Appointment, AppointmentStatus, Attendee, AttendeeEntry, HEADER_STAGE, StageOutcome},
    clock::UnixMillis,
    contact::Phone,
};

#[derive(Serialize, Deserialize)]
struct HeaderDocument {
    calendar: String,
    line: String,
    generation: u64,
    status: AppointmentStatus,
    start: Timestamp,
    zone: String,
    attendees: Vec<AttendeeDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    as_of: Timestamp,
    booked_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stage_outcomes: Vec<StageOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    priority: u8,
    delivery: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct AttendeeDocument {
    phone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    attending: bool,
}

/// The item of a header. `ttl` is when the table forgets it, in seconds since 1970.
pub(super) fn to_item(appointment: &Appointment, ttl: i64) -> HashMap<String, Value> {
    let document = HeaderDocument {
        calendar: appointment.calendar.clone(),
        line: appointment.line.clone(),
        generation: appointment.generation,
        status: appointment.status,
        start: appointment.start,
        zone: appointment.zone.clone(),
        attendees: appointment.attendees.iter().map(AttendeeDocument::from_entry).collect(),
        title: appointment.title.clone(),
        place: appointment.place.clone(),
        as_of: appointment.as_of,
        booked_at: appointment.booked_at,
        stage_outcomes: appointment.stage_outcomes.clone(),
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
        ("state".to_owned(), text(appointment.status.name())),
        ("version".to_owned(), Value::N(appointment.version.to_string())),
        ("generation".to_owned(), Value::N(appointment.generation.to_string())),
        ("useful_until".to_owned(), number(appointment.start.unix_millis())),
        ("updated_at".to_owned(), number(appointment.updated_at.unix_millis())),
        ("appointment".to_owned(), Value::S(document)),
        ("ttl".to_owned(), number(ttl)),
    ]);
    if let Some(due) = appointment.due_at {
        item.insert("due_queue".to_owned(), text(&appointment.line));
        item.insert("due_at".to_owned(), number(due.unix_millis()));
        item.insert("priority".to_owned(), number(appointment.priority.into()));
    }
    item
}

/// The header of an item, be it from the table or from the index of what is due.
pub(super) fn from_item(item: &HashMap<String, Value>) -> Result<Appointment, LedgerItemError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let subject = text("subject").cloned().unwrap_or_default();
    let missing = |attribute: &'static str| LedgerItemError::new(format!("{subject}:{HEADER_STAGE}"), attribute);
    let version = item.get("version").and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok());
    let document = text("appointment").and_then(|text| serde_json::from_str::<HeaderDocument>(text).ok());
    let document = document.ok_or(missing("appointment"))?;
    let attendees = document.attendees.into_iter().map(AttendeeDocument::into_entry).collect::<Option<_>>();
    Ok(Appointment {
        version: version.ok_or(missing("version"))?,
        calendar: document.calendar,
        line: document.line,
        generation: document.generation,
        status: document.status,
        start: document.start,
        zone: document.zone,
        attendees: attendees.ok_or(missing("appointment"))?,
        title: document.title,
        place: document.place,
        as_of: document.as_of,
        booked_at: document.booked_at,
        stage_outcomes: document.stage_outcomes,
        due_at: document.due_at,
        priority: document.priority,
        delivery: document.delivery,
        created_at: document.created_at,
        updated_at: document.updated_at,
        subject,
    })
}

impl AttendeeDocument {
    fn from_entry(entry: &AttendeeEntry) -> Self {
        let Attendee { phone, name, locale, zone } = entry.attendee.clone();
        Self { phone: phone.expose().to_owned(), name, locale, zone, attending: entry.attending }
    }

    fn into_entry(self) -> Option<AttendeeEntry> {
        let Self { phone, name, locale, zone, attending: taken } = self;
        Some(AttendeeEntry {
            attendee: Attendee { phone: Phone::from_e164(&phone).ok()?, name, locale, zone },
            attending: taken,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appointment::ReminderOutcome;

    #[test]
    fn a_header_round_trips_and_is_in_the_due_index_only_while_something_is_due() {
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
            status: AppointmentStatus::Booked,
            start: at("2026-11-24T08:30:00Z"),
            zone: "Asia/Jerusalem".into(),
            attendees: vec![AttendeeEntry { attendee, attending: true }],
            title: Some("Consultation".into()),
            place: None,
            as_of: at("2026-11-19T10:00:00.538Z"),
            booked_at: at("2026-11-19T10:00:00.538Z"),
            stage_outcomes: vec![StageOutcome {
                stage: "24h".into(),
                start: at("2026-11-24T08:30:00Z"),
                attendee: 0,
                outcome: ReminderOutcome::Opened,
            }],
            due_at: Some(at("2026-11-24T06:30:00Z")),
            priority: 70,
            delivery: "clinic#1".into(),
            created_at: at("2026-11-19T10:00:02Z"),
            updated_at: at("2026-11-23T08:30:05Z"),
        };
        let item = to_item(&appointment, 1);
        assert_eq!(from_item(&item).unwrap(), appointment);
        assert!(item.contains_key("due_queue"));
        let done = Appointment { due_at: None, ..appointment };
        assert!(!to_item(&done, 1).contains_key("due_queue") && !to_item(&done, 1).contains_key("due_at"));
        assert!(from_item(&HashMap::new()).is_err());
    }
}
