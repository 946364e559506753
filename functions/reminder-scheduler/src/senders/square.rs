//! Square Bookings: a delivery contains the appointment and only the id of its customer. The
//! customer is looked up.
//!
//! Shape: developer.squareup.com, webhooks `booking.created` and `booking.updated`, objects
//! `Booking` and `Customer`.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tellonce_core::{
    appointment::AppointmentStatus,
    contact::{PhoneCandidate, build_full_name},
    json::{self, JsonError, RawJson},
    telemetry::LogLabel,
};

use super::calendar_context::{
    BookingDelivery, BookingDetails, CalendarContext, ReachableAttendees, ReportedAppointment, ReportedPerson,
};
use crate::{
    booking::{Booking, BookingEventKind, LookupRequest, ParsedBooking},
    booking_outcome::BookingSkipReason,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct SquareWebhook<'a> {
    #[serde(borrow, rename = "type")]
    event: RawJson<'a>,
    created_at: RawJson<'a>,
    data: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SquareBooking<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    status: RawJson<'a>,
    updated_at: RawJson<'a>,
    /// The number of changes.
    version: RawJson<'a>,
    start_at: RawJson<'a>,
    customer_id: RawJson<'a>,
}

/// Parses a delivery.
pub(crate) fn parse_square(delivery: &BookingDelivery<'_>) -> Result<ParsedBooking, BookingSkipReason> {
    let envelope: SquareWebhook<'_> = json::parse_object(delivery.body).map_err(BookingSkipReason::NotUnderstood)?;
    let event = envelope.event.text().ok_or(BookingSkipReason::NotUnderstood(JsonError::NoTopic))?;
    let kind = match &*event {
        "booking.created" => BookingEventKind::Created,
        "booking.updated" => BookingEventKind::Changed,
        other => return Err(BookingSkipReason::UnknownEvent(LogLabel::new(other))),
    };
    let missing = |name: &str| BookingSkipReason::missing_field(&format!("/data/object/booking{name}"));
    let appointment: SquareBooking<'_> =
        envelope.data.at_pointer("/object/booking").deserialize_as().ok_or_else(|| missing(""))?;
    let id = appointment.id.owned_text().ok_or_else(|| missing("/id"))?;
    let status = appointment.status.text().ok_or_else(|| missing("/status"))?;
    let (kind, appointment_status) = match &*status {
        "ACCEPTED" => (kind, AppointmentStatus::Booked),
        "PENDING" => (kind, AppointmentStatus::Unconfirmed),
        "CANCELLED_BY_CUSTOMER" | "CANCELLED_BY_SELLER" | "DECLINED" | "NO_SHOW" => {
            (BookingEventKind::Cancelled, AppointmentStatus::Cancelled)
        }
        other => return Err(BookingSkipReason::StatusNotMapped(LogLabel::new(other))),
    };
    let reported = ReportedAppointment { start: appointment.start_at.as_time(), ..ReportedAppointment::default() };
    let BookingDetails { details, unreachable_reason, left_out } =
        delivery.context.build_details(appointment_status, reported, "/data/object/booking/start_at")?;
    let reported_at = appointment.updated_at.as_time().map(|at| add_version_millis(at, appointment.version));
    let occurred_at = delivery.event_time(reported_at.or_else(|| envelope.created_at.as_time()));
    let booking = Booking {
        kind,
        id,
        status: appointment_status,
        details,
        occurred_at,
        previous_id: None,
        unreachable_reason,
        left_out,
    };
    Ok(match appointment.customer_id.owned_text() {
        Some(customer_id) if !appointment_status.is_over() => {
            ParsedBooking::NeedsLookup(LookupRequest::Square { booking: Box::new(booking), customer_id })
        }
        _ => ParsedBooking::Bookings(vec![booking]),
    })
}

/// Adds the version to a time as milliseconds. Square's times have whole seconds, and a request is
/// often confirmed within the same second. Of two changes in one second, the one with the higher
/// version is later.
fn add_version_millis(at: Timestamp, version: RawJson<'_>) -> Timestamp {
    let version = version.text().and_then(|version| version.parse::<i64>().ok()).unwrap_or(0);
    at.checked_add(SignedDuration::from_millis(version.clamp(0, 999))).unwrap_or(at)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SquareCustomer<'a> {
    #[serde(borrow)]
    given_name: RawJson<'a>,
    family_name: RawJson<'a>,
    phone_number: RawJson<'a>,
    address: RawJson<'a>,
}

/// The appointment with the customer that Square returned. A missing `body` means that Square does
/// not have the customer.
pub(crate) fn complete_square_booking(
    context: CalendarContext<'_>,
    mut booking: Booking,
    body: Option<&[u8]>,
) -> Booking {
    let Some(body) = body else {
        booking.unreachable_reason = Some(BookingSkipReason::CustomerNotFound);
        return booking;
    };
    // The facts about the appointment count, whatever the lookup of its customer gave.
    let customer = json::parse_document(body)
        .ok()
        .and_then(|document| document.at_pointer("/customer").deserialize_as::<SquareCustomer<'_>>());
    let Some(customer) = customer else {
        booking.unreachable_reason = Some(BookingSkipReason::LookupFailed);
        return booking;
    };
    let person = ReportedPerson {
        phones: vec![PhoneCandidate { phone: customer.phone_number, country: customer.address.at_pointer("/country") }],
        name: build_full_name(customer.given_name, customer.family_name),
        locale: None,
        zone: None,
    };
    let ReachableAttendees { attendees, unreachable_reason, left_out } = context.reachable_attendees(vec![person]);
    if let Some(details) = &mut booking.details {
        details.attendees = attendees;
    }
    booking.unreachable_reason = unreachable_reason;
    booking.left_out = left_out;
    booking
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{changed_sample, expect_booking, expect_skip, parse_as, parse_time};

    fn read_changed(members: &Value) -> ParsedBooking {
        parse_as("salon", changed_sample("square", "booking_created", "/data/object/booking", members))
    }

    #[test]
    fn the_higher_version_is_later_within_one_second() {
        let requested = read_changed(&json!({"status": "PENDING", "version": 0}));
        let confirmed = read_changed(&json!({"status": "ACCEPTED", "version": 1}));
        let at = |parsed: ParsedBooking| match parsed {
            ParsedBooking::NeedsLookup(LookupRequest::Square { booking, .. }) => booking.occurred_at,
            other => panic!("{other:?}"),
        };
        assert!(at(requested) < at(confirmed));
    }

    #[test]
    fn only_bookings_that_may_take_place_need_a_customer_lookup() {
        for (status, appointment_status) in
            [("ACCEPTED", AppointmentStatus::Booked), ("PENDING", AppointmentStatus::Unconfirmed)]
        {
            let ParsedBooking::NeedsLookup(LookupRequest::Square { booking, customer_id }) =
                read_changed(&json!({"status": status}))
            else {
                panic!("{status}");
            };
            assert_eq!((booking.status, &*customer_id), (appointment_status, "EX2QSVGTZN4K1E5QE1CBFNVQ8M"));
        }
        for status in ["CANCELLED_BY_CUSTOMER", "CANCELLED_BY_SELLER", "DECLINED", "NO_SHOW"] {
            let ended = expect_booking(read_changed(&json!({"status": status})));
            assert_eq!(
                (ended.kind, ended.status, ended.unreachable_reason),
                (BookingEventKind::Cancelled, AppointmentStatus::Cancelled, None)
            );
        }
        assert_eq!(expect_skip(read_changed(&json!({"status": "WAITLISTED"}))).code(), "status-not-mapped");
    }

    #[test]
    fn a_booking_without_a_customer_has_no_phone() {
        let no_customer = expect_booking(read_changed(&json!({"customer_id": null})));
        assert_eq!(
            (no_customer.status, no_customer.unreachable_reason),
            (AppointmentStatus::Booked, Some(BookingSkipReason::NoPhone))
        );
    }

    #[test]
    fn a_booking_is_as_old_as_its_last_change() {
        let updated = json!({"updated_at": "2026-11-20T08:00:00Z", "status": "DECLINED"});
        assert_eq!(expect_booking(read_changed(&updated)).occurred_at, parse_time("2026-11-20T08:00:00Z"));
        let without_update_time = json!({"updated_at": null, "status": "DECLINED"});
        assert_eq!(
            expect_booking(read_changed(&without_update_time)).occurred_at,
            parse_time("2026-11-19T10:40:00Z"),
            "the event's own time"
        );
    }

    #[test]
    fn other_events_are_skipped() {
        let body = changed_sample("square", "booking_created", "", &json!({"type": "payment.created", "data": null}));
        assert_eq!(expect_skip(parse_as("salon", body)).code(), "unknown-event");
    }
}
