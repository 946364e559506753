//! Acuity Scheduling: a delivery contains the appointment's id and what happened. The appointment
//! itself is looked up.
//!
//! Shape: developers.acuityscheduling.com, "Webhooks" and "GET /appointments/:id".

use jiff::Timestamp;
use serde::Deserialize;
use tellonce_core::{
    appointment::AppointmentStatus,
    contact::build_full_name,
    json::{self, JsonError, RawJson},
    telemetry::LogLabel,
};
use url::form_urlencoded;

use super::calendar_context::{BookingDelivery, BookingDetails, CalendarContext, ReportedAppointment, ReportedPerson};
use crate::{
    booking::{Booking, BookingEventKind, LookupRequest, ParsedBooking},
    booking_outcome::BookingSkipReason,
};

/// Parses a delivery, which is a form.
pub(crate) fn parse_acuity(delivery: &BookingDelivery<'_>) -> Result<ParsedBooking, BookingSkipReason> {
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(delivery.body);
        fields.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    };
    let action = field("action").ok_or(BookingSkipReason::NotUnderstood(JsonError::NoTopic))?;
    // Webhooks that were created through the API have the prefix `appointment.`.
    let kind = match action.strip_prefix("appointment.").unwrap_or(&action) {
        "scheduled" => BookingEventKind::Created,
        "rescheduled" => BookingEventKind::Rescheduled,
        "canceled" => BookingEventKind::Cancelled,
        // Acuity sends this with each of the others, and for changes that do not matter here.
        "changed" => BookingEventKind::Changed,
        _ => return Err(BookingSkipReason::UnknownEvent(LogLabel::new(&action))),
    };
    let appointment_id = field("id").ok_or_else(|| BookingSkipReason::missing_field("id"))?;
    Ok(ParsedBooking::NeedsLookup(LookupRequest::Acuity { appointment_id, kind }))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AcuityAppointment<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    first_name: RawJson<'a>,
    last_name: RawJson<'a>,
    phone: RawJson<'a>,
    /// The start with its offset.
    datetime: RawJson<'a>,
    /// The customer's zone.
    timezone: RawJson<'a>,
    calendar_timezone: RawJson<'a>,
    /// The name of the appointment type that customers see.
    #[serde(rename = "type")]
    title: RawJson<'a>,
    location: RawJson<'a>,
    canceled: RawJson<'a>,
}

/// The appointment as Acuity returned it. A missing `body` means that Acuity does not have it: it
/// is cancelled. `asked_at` is the moment before the request. Later changes are not in the
/// response.
pub(crate) fn complete_acuity_booking(
    context: CalendarContext<'_>,
    appointment_id: String,
    kind: BookingEventKind,
    body: Option<&[u8]>,
    asked_at: Timestamp,
) -> Result<Booking, BookingSkipReason> {
    let appointment =
        body.map(json::parse_object::<AcuityAppointment<'_>>).transpose().map_err(BookingSkipReason::NotUnderstood)?;
    if appointment.as_ref().is_some_and(|found| found.id.text().is_none_or(|id| id != appointment_id)) {
        return Err(BookingSkipReason::missing_field("/id"));
    }
    // The delivery may be out of date. The looked-up appointment counts.
    let (kind, appointment_status) = match (&appointment, kind) {
        (Some(found), _) if found.canceled.is_true() => (BookingEventKind::Cancelled, AppointmentStatus::Cancelled),
        (None, _) => (BookingEventKind::Cancelled, AppointmentStatus::Cancelled),
        (Some(_), BookingEventKind::Cancelled) => (BookingEventKind::Changed, AppointmentStatus::Booked),
        (Some(_), kind) => (kind, AppointmentStatus::Booked),
    };
    let reported = appointment.map(|found| found.to_reported()).unwrap_or_default();
    let BookingDetails { details, unreachable_reason, left_out } =
        context.build_details(appointment_status, reported, "/datetime")?;
    Ok(Booking {
        kind,
        id: appointment_id,
        status: appointment_status,
        details,
        occurred_at: asked_at,
        previous_id: None,
        unreachable_reason,
        left_out,
    })
}

impl<'a> AcuityAppointment<'a> {
    fn to_reported(&self) -> ReportedAppointment<'a> {
        let person = ReportedPerson {
            phones: vec![self.phone.into()],
            name: build_full_name(self.first_name, self.last_name),
            locale: None,
            zone: self.timezone.owned_text(),
        };
        ReportedAppointment {
            start: self.datetime.as_time(),
            zone: person.zone.clone().or_else(|| self.calendar_timezone.owned_text()),
            attendees: vec![person],
            title: self.title.owned_text(),
            place: self.location.owned_text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{expect_skip, parse_as};

    #[test]
    fn both_ways_to_name_an_action_mean_the_same() {
        for (action, kind) in [
            ("scheduled", BookingEventKind::Created),
            ("rescheduled", BookingEventKind::Rescheduled),
            ("canceled", BookingEventKind::Cancelled),
            ("changed", BookingEventKind::Changed),
        ] {
            let expected = ParsedBooking::NeedsLookup(LookupRequest::Acuity { appointment_id: "7".to_owned(), kind });
            assert_eq!(parse_as("acuity", format!("action={action}&id=7")), expected);
            assert_eq!(parse_as("acuity", format!("id=7&action=appointment.{action}&id=8")), expected);
        }
    }

    #[test]
    fn orders_and_deliveries_without_an_appointment_id_need_no_lookup() {
        assert_eq!(expect_skip(parse_as("acuity", "action=order.completed&id=7")).code(), "unknown-event");
        assert_eq!(
            expect_skip(parse_as("acuity", "action=scheduled&id=")).to_string(),
            "not understood: no usable value at `id`"
        );
        assert_eq!(expect_skip(parse_as("acuity", "{\"action\":\"scheduled\"}")).code(), "not-understood");
    }
}
