//! Headers of appointments as items of the table, beside the rows of their reminders.
//!
//! Conditions and indexes use version, generation and due time, so these are attributes. The rest
//! is one JSON text. It is small enough for the index of due items to carry, so reminder-scheduler
//! needs no further read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::LedgerItemError;
use crate::{
    appointment::{Appointment, AppointmentStatus, Attendee, AttendeeEntry, HEADER_STAGE, SeatHolder, StageOutcome},
    attributes::{Item, ItemReader, ItemWriter, UnknownAttributes, replace_document},
    contact::Phone,
    trail::Trail,
};

/// Attributes of a header that it has only while something is due.
pub(super) const OPTIONAL_ATTRIBUTES: [&str; 3] = ["due_queue", "due_at", "priority"];

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
    #[serde(default, skip_serializing_if = "Trail::is_empty")]
    trail: Trail,
}

#[derive(Serialize, Deserialize)]
struct AttendeeDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    /// In place of the number, if the data of the person was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// The data aged. Without it, the person asked that it is erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    aged: bool,
    attending: bool,
}

/// The item of a header. `ttl` is when the table deletes it, in seconds since 1970.
pub(super) fn to_item(appointment: &Appointment, ttl: i64) -> Item {
    let before = appointment.unknown_attributes.document("appointment");
    let known = before.and_then(|text| Some((text, serde_json::from_str::<HeaderDocument>(text).ok()?)));
    let before = known.as_ref().map(|(text, known)| (*text, known));
    let mut item = ItemWriter::default();
    item.text("subject", appointment.subject.as_str());
    item.text("stage", HEADER_STAGE);
    item.text("state", appointment.status.name());
    item.number("version", appointment.version);
    item.number("generation", appointment.generation);
    item.time("useful_until", appointment.start);
    item.time("updated_at", appointment.updated_at);
    // Strings, numbers and lists only, so serialising cannot fail.
    let document = HeaderDocument::of_appointment(appointment);
    item.text("appointment", replace_document(&document, before).unwrap_or_default());
    item.number("ttl", ttl);
    if let Some(due) = appointment.due_at {
        item.text("due_queue", appointment.line.as_str());
        item.time("due_at", due);
        item.number("priority", appointment.priority);
    }
    item.into_item()
}

/// The header of an item, from the table or from the index of due items.
pub(super) fn from_item(item: &Item) -> Result<Appointment, LedgerItemError> {
    let item = ItemReader(item);
    let subject = item.owned("subject").unwrap_or_default();
    let key = || format!("{subject}:{HEADER_STAGE}");
    let missing = |attribute: &'static str| LedgerItemError::new(key(), attribute);
    let text = item.text("appointment").ok_or_else(|| missing("appointment"))?;
    let document: HeaderDocument =
        serde_json::from_str(text).map_err(|error| LedgerItemError::of_document(key(), "appointment", &error))?;
    let unknown_attributes = UnknownAttributes::default().with_document("appointment", text, &document);
    let attendees = document.attendees.into_iter().map(AttendeeDocument::into_entry).collect::<Option<_>>();
    Ok(Appointment {
        version: item.number("version").ok_or_else(|| missing("version"))?,
        calendar: document.calendar,
        line: document.line,
        generation: document.generation,
        status: document.status,
        start: document.start,
        zone: document.zone,
        attendees: attendees.ok_or_else(|| missing("appointment"))?,
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
        trail: document.trail,
        unknown_attributes,
        subject,
    })
}

impl HeaderDocument {
    fn of_appointment(appointment: &Appointment) -> Self {
        Self {
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
            trail: appointment.trail.clone(),
        }
    }
}

impl AttendeeDocument {
    fn from_entry(entry: &AttendeeEntry) -> Self {
        let attending = entry.attending;
        match entry.holder.clone() {
            SeatHolder::Known(Attendee { phone, name, locale, zone }) => Self {
                phone: Some(phone.expose().to_owned()),
                contact: None,
                name,
                locale,
                zone,
                aged: false,
                attending,
            },
            SeatHolder::Erased { contact, at_request } => {
                let (contact, aged) = (Some(contact), !at_request);
                Self { phone: None, contact, name: None, locale: None, zone: None, aged, attending }
            }
        }
    }

    fn into_entry(self) -> Option<AttendeeEntry> {
        let Self { phone, contact, name, locale, zone, aged, attending } = self;
        let Some(phone) = phone else {
            let holder = SeatHolder::Erased { contact: contact?, at_request: !aged };
            return Some(AttendeeEntry { holder, attending: false });
        };
        Some(AttendeeEntry::new(Attendee { phone: Phone::from_e164(&phone).ok()?, name, locale, zone }, attending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        appointment::ReminderOutcome,
        attributes::text_value,
        fault::{ClassifyFault as _, Fault},
    };

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
            attendees: vec![AttendeeEntry::new(attendee, true)],
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
            trail: Trail::from_attribute(r#"[[1,"booked","booked","2026-11-24T08:30:00Z"]]"#),
            unknown_attributes: UnknownAttributes::default(),
        };
        let mut item = to_item(&appointment, 1);
        assert_eq!(from_item(&item).unwrap(), appointment);
        assert!(item.contains_key("due_queue"));
        // Of a newer version: a further member is kept, an unknown word is not for this version.
        let text = item["appointment"].as_s().unwrap().clone();
        let newer = text.replacen('{', r#"{"room":"7","#, 1).replace(r#""phone":"#, r#""title":"Dr","phone":"#);
        item.insert("appointment".to_owned(), text_value(newer));
        let mut read = from_item(&item).unwrap();
        read.title = None;
        let written = to_item(&read, 1)["appointment"].as_s().unwrap().clone();
        assert!(written.contains(r#""room":"7""#) && !written.contains("Consultation"), "{written}");
        assert!(written.contains(r#""title":"Dr""#), "the attendee is the same: {written}");
        item.insert("appointment".to_owned(), text_value(text.replace("\"booked\"", "\"waitlisted\"")));
        assert_eq!(from_item(&item).unwrap_err().fault(), Fault::NewerVersion);
        item.insert("appointment".to_owned(), text_value(&text[..text.len() - 1]));
        assert_eq!(from_item(&item).unwrap_err().fault(), Fault::Permanent);
        let done = Appointment { due_at: None, ..appointment };
        assert!(!to_item(&done, 1).contains_key("due_queue") && !to_item(&done, 1).contains_key("due_at"));
        assert!(from_item(&Item::new()).is_err());
    }
}
