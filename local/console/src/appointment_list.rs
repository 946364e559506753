//! The page "Appointments".

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tellonce_core::appointment::HEADER_STAGE;

use super::{parts::ListPart, people::matches_search, snapshot::Snapshot};

impl Snapshot<'_> {
    /// The appointments from `offset`, the last changed first.
    pub(super) fn list_appointments(&self, search: &str, offset: usize, limit: usize) -> ListPart {
        let (mut total, mut rows) = (0, Vec::new());
        for row in self.view.appointments() {
            let Some(header) = read_header(row) else { continue };
            let attendees = header["attendees"].as_array().into_iter().flatten();
            let mut values = vec![header["subject"].as_str(), header["title"].as_str()];
            values.extend(attendees.flat_map(|attendee| [attendee["name"].as_str(), attendee["phone"].as_str()]));
            if !matches_search(search, &values) {
                continue;
            }
            if (offset..offset + limit).contains(&total) {
                rows.push(self.render_appointment(&header));
            }
            total += 1;
        }
        ListPart { head: json!({"total": total}), rows }
    }

    pub(super) fn render_appointment(&self, header: &Value) -> Value {
        let attendees = header["attendees"].as_array().into_iter().flatten();
        let person = |attendee: &Value| {
            let contact = attendee["phone"].as_str();
            let known = contact.and_then(|contact| self.people.of_contact(contact));
            json!({"name": attendee["name"], "phone": contact, "customer": known.map(|person| &person.id)})
        };
        let start = header["start"].as_str().and_then(|start| start.parse::<Timestamp>().ok());
        json!({
            "id": header["subject"], "status": header["status"], "calendar": header["calendar"],
            "title": header["title"], "when": self.appointment_words(header),
            "start": start.map(Timestamp::as_millisecond), "next": header["due_at"],
            "people": attendees.filter(|attendee| attendee["attending"] != false).map(person).collect::<Vec<_>>(),
        })
    }

    /// When an appointment begins, in its own zone: `Tue 24 Nov, 10:30`.
    pub(super) fn appointment_words(&self, header: &Value) -> String {
        let start = header["start"].as_str().and_then(|start| start.parse::<Timestamp>().ok());
        let Some(start) = start.filter(|start| *start != Timestamp::UNIX_EPOCH) else {
            return "no time known".to_owned();
        };
        let zone = header["zone"].as_str().and_then(|zone| TimeZone::get(zone).ok());
        let other = zone.filter(|zone| *zone != self.zone);
        let name = other.as_ref().and_then(TimeZone::iana_name).map(|name| format!(" {name}")).unwrap_or_default();
        let shown = start.to_zoned(other.unwrap_or_else(|| self.zone.clone()));
        let this_year = Timestamp::from_millisecond(self.now_ms).unwrap_or_default().to_zoned(self.zone.clone()).year();
        let format = if shown.year() == this_year { "%a %-d %b, %H:%M" } else { "%a %-d %b %Y, %H:%M" };
        format!("{}{name}", shown.strftime(format))
    }

    /// How an appointment stands, in one sentence.
    pub(super) fn appointment_headline(&self, header: &Value) -> String {
        let when = self.appointment_words(header);
        let next = header["due_at"].as_i64().map(|due| format!(" Next reminder {}.", self.clock_text(due)));
        let next = next.unwrap_or_else(|| " No further reminder.".to_owned());
        match header["status"].as_str().unwrap_or_default() {
            "booked" => format!("Takes place on {when}.{next}"),
            "unconfirmed" => format!("Requested for {when}, and not confirmed: no reminder goes out."),
            "cancelled" => "Does not take place: no further reminder goes out.".to_owned(),
            "moved" => "Moved: it continues under another id.".to_owned(),
            other => format!("{other}, {when}.{next}"),
        }
    }

    /// The header of an appointment.
    pub(super) fn find_header(&self, subject: &str) -> Option<Value> {
        read_header(self.view.message_row(self.tables(), subject, HEADER_STAGE)?)
    }

    /// The appointment that was last changed by a delivery.
    pub(super) fn find_appointment_of(&self, delivery: &str) -> Option<Value> {
        let named = |row: &&Value| row["appointment"].as_str().is_some_and(|text| text.contains(delivery));
        let mut headers = self.view.appointments().filter(named).filter_map(read_header);
        headers.find(|header| header["delivery"] == delivery)
    }
}

/// The header in a row, with its subject and when it is due.
fn read_header(row: &Value) -> Option<Value> {
    let mut header: Value = serde_json::from_str(row["appointment"].as_str()?).ok()?;
    for name in ["subject", "version", "due_at"] {
        header[name] = row[name].clone();
    }
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_from_its_row() {
        let row = json!({
            "subject": "appointment:88", "stage": "state", "version": 3, "due_at": 1_795_163_400_000_i64,
            "appointment": r#"{"status":"booked","start":"2026-11-21T08:30:00Z","zone":"Asia/Jerusalem","attendees":[]}"#,
        });
        let header = read_header(&row).unwrap();
        assert_eq!((&header["subject"], &header["status"]), (&json!("appointment:88"), &json!("booked")));
        assert_eq!((&header["version"], &header["due_at"]), (&json!(3), &json!(1_795_163_400_000_i64)));
        for other in [json!({"subject": "line:main", "stage": "state"}), json!({"appointment": "no JSON"})] {
            assert!(read_header(&other).is_none(), "{other}");
        }
    }
}
