//! Acuity Scheduling: a delivery says which appointment and what happened to it; the appointment itself is read back.
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

use super::{BookingDelivery, CalendarContext, ReportedAppointment, ReportedPerson};
use crate::booking::{Booking, BookingEventKind, LookupRequest, ParsedBooking, SkipReason};

/// Reads a delivery: a form.
pub(crate) fn parse_acuity(delivery: &BookingDelivery<'_>) -> Result<ParsedBooking, SkipReason> {
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(delivery.body);
        fields.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    };
    let action = field("action").ok_or(SkipReason::NotUnderstood(JsonError::NoTopic))?;
    // Webhooks that were made through the API write `build_appointment.` in front.
    let kind = match action.strip_prefix("appointment.").unwrap_or(&action) {
        "scheduled" => BookingEventKind::Created,
        "rescheduled" => BookingEventKind::Rescheduled,
        "canceled" => BookingEventKind::Cancelled,
        // Comes beside each of the others, and for changes of no interest.
        "changed" => BookingEventKind::Changed,
        _ => return Err(SkipReason::UnknownEvent(LogLabel::new(&action))),
    };
    let appointment_id = field("id").ok_or_else(|| SkipReason::missing_field("id"))?;
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
    /// With its offset.
    datetime: RawJson<'a>,
    /// The customer's zone.
    timezone: RawJson<'a>,
    calendar_timezone: RawJson<'a>,
    /// What customers know its type as.
    #[serde(rename = "type")]
    title: RawJson<'a>,
    location: RawJson<'a>,
    canceled: RawJson<'a>,
}

/// The appointment that was read back, or none if Acuity knows no such appointment. `asked_at` is the moment before it was
/// asked for: what became of it later is not in the answer.
pub(crate) fn complete_acuity_booking(
    context: CalendarContext<'_>,
    appointment_id: String,
    kind: BookingEventKind,
    body: Option<&[u8]>,
    asked_at: Timestamp,
) -> Result<Booking, SkipReason> {
    let appointment =
        body.map(json::parse_object::<AcuityAppointment<'_>>).transpose().map_err(SkipReason::NotUnderstood)?;
    if appointment.as_ref().is_some_and(|answer| answer.id.text().is_none_or(|id| id != appointment_id)) {
        return Err(SkipReason::missing_field("/id"));
    }
    // What the delivery says may be over: the appointment is as it is now.
    let (kind, standing) = match (&appointment, kind) {
        (Some(answer), _) if answer.canceled.is_true() => (BookingEventKind::Cancelled, AppointmentStatus::Cancelled),
        (None, _) => (BookingEventKind::Cancelled, AppointmentStatus::Cancelled),
        (Some(_), BookingEventKind::Cancelled) => (BookingEventKind::Changed, AppointmentStatus::Booked),
        (Some(_), kind) => (kind, AppointmentStatus::Booked),
    };
    let reported = appointment.map(|answer| answer.to_reported()).unwrap_or_default();
    let (details, unreachable) = context.build_details(standing, reported, "/datetime")?;
    Ok(Booking {
        kind,
        id: appointment_id,
        status: standing,
        details,
        occurred_at: asked_at,
        previous_id: None,
        unreachable_reason: unreachable,
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
            "not understood: nothing usable at `id`"
        );
        assert_eq!(expect_skip(parse_as("acuity", "{\"action\":\"scheduled\"}")).code(), "not-understood");
    }
}
