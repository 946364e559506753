//! The responses of Acuity.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tellonce_samples::read_sample_json;

/// The recorded response, in which a [`FakeAcuityAppointment`] replaces fields.
const RECORDED_RESPONSE: &str = "bookings/acuity/_appointment.response.json";

/// An appointment in Acuity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeAcuityAppointment {
    /// Its id.
    pub id: u64,
    /// The start.
    pub start: Timestamp,
    /// The client's IANA time zone, in which Acuity writes the start.
    pub zone: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// The number as the customer typed it. May be empty.
    pub phone: String,
    /// Whether it is cancelled.
    pub canceled: bool,
}

impl FakeAcuityAppointment {
    /// An appointment of the person in the recorded response.
    pub fn from_recording(id: u64, start: Timestamp, zone: &str) -> Self {
        let recorded = read_sample_json(RECORDED_RESPONSE);
        let text = |name: &str| recorded[name].as_str().unwrap_or_default().to_owned();
        let (first_name, last_name, phone) = (text("firstName"), text("lastName"), text("phone"));
        Self { id, start, zone: zone.to_owned(), first_name, last_name, phone, canceled: false }
    }

    pub(super) fn response_body(&self) -> Value {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let start = self.start.to_zoned(zone);
        let end = start.saturating_add(jiff::Span::new().minutes(30));
        let mut body = read_sample_json(RECORDED_RESPONSE);
        for (name, value) in [
            ("id", json!(self.id)),
            ("firstName", json!(self.first_name)),
            ("lastName", json!(self.last_name)),
            ("phone", json!(self.phone)),
            ("date", json!(start.strftime("%B %-d, %Y").to_string())),
            ("time", json!(start.strftime("%H:%M").to_string())),
            ("endTime", json!(end.strftime("%H:%M").to_string())),
            ("datetime", json!(start.strftime("%Y-%m-%dT%H:%M:%S%z").to_string())),
            ("timezone", json!(self.zone)),
            ("canceled", json!(self.canceled)),
            ("formsText", json!(format!("Name: {} {}\nPhone: {}", self.first_name, self.last_name, self.phone))),
        ] {
            body[name] = value;
        }
        body
    }
}

pub(super) fn unauthorized_body() -> Value {
    json!({"status_code": 401, "message": "Unauthorized", "error": "unauthorized"})
}

pub(super) fn not_found_body(id: &str) -> Value {
    let message = format!("The appointment \"{id}\" does not exist.");
    json!({"status_code": 404, "message": message, "error": "not_found"})
}
