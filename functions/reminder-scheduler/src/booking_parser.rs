//! Parses a delivery of a calendar to a [`ParsedBooking`], with the parser of the calendar's kind.
//!
//! Flow: [`parse_booking`] turns a verified delivery into a [`ParsedBooking`]. If the delivery
//! leaves out facts, [`parse_booking_response`] completes it with the response to the lookup. Both
//! are pure functions and never panic. A delivery that cannot be used becomes a
//! [`BookingSkipReason`](crate::booking_outcome::BookingSkipReason), which is recorded.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::{
    client_config::{CalendarConfig, CalendarKind, ClientConfig},
    lookup::LookupResponse,
};

use crate::{
    booking::{LookupRequest, ParsedBooking},
    senders::{
        BookingDelivery, CalendarContext, complete_acuity_booking, complete_square_booking, parse_acuity, parse_calcom,
        parse_calendly, parse_custom, parse_google_push, parse_square,
    },
};

/// Parses a verified delivery of a calendar. `headers` are those that the inbox stored, and
/// `received_at` is when the delivery was accepted.
pub fn parse_booking(
    calendar: &CalendarConfig,
    config: &ClientConfig,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    received_at: Timestamp,
) -> ParsedBooking {
    let delivery = BookingDelivery { context: CalendarContext { calendar, config }, headers, body, received_at };
    let parsed = match &calendar.kind {
        CalendarKind::CalCom(calcom) => parse_calcom(&delivery, calcom.phone_question.as_deref()),
        CalendarKind::Calendly(calendly) => parse_calendly(&delivery, calendly.phone_question.as_deref()),
        CalendarKind::Acuity(_) => parse_acuity(&delivery),
        CalendarKind::Square(_) => parse_square(&delivery),
        CalendarKind::Custom(custom) => parse_custom(&delivery, custom),
        CalendarKind::Ics(_) => parse_google_push(&delivery),
    };
    parsed.unwrap_or_else(ParsedBooking::Skipped)
}

/// The content of the delivery, completed with the response. `asked_at` is the moment before the
/// request. The result is never [`ParsedBooking::NeedsLookup`].
pub fn parse_booking_response(
    request: LookupRequest,
    response: &LookupResponse,
    asked_at: Timestamp,
    calendar: &CalendarConfig,
    config: &ClientConfig,
) -> ParsedBooking {
    let context = CalendarContext { calendar, config };
    let body = match response {
        LookupResponse::Found(body) => Some(body.as_slice()),
        LookupResponse::NotFound => None,
    };
    let booking = match request {
        LookupRequest::Acuity { appointment_id, kind } => {
            complete_acuity_booking(context, appointment_id, kind, body, asked_at)
        }
        LookupRequest::Square { booking, .. } => Ok(complete_square_booking(context, *booking, body)),
    };
    booking.map_or_else(ParsedBooking::Skipped, |booking| ParsedBooking::Bookings(vec![booking]))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};
    use tellonce_core::appointment::AppointmentStatus;

    use super::*;
    use crate::{
        booking::{Booking, BookingEventKind},
        booking_outcome::BookingSkipReason,
        samples::{
            acuity_response, expect_booking, expect_skip, only_phone, parse_as, parse_time, received_at, sample_config,
            sample_json, square_customer,
        },
    };

    fn expect_lookup(calendar: &str, body: impl AsRef<[u8]>) -> LookupRequest {
        match parse_as(calendar, body) {
            ParsedBooking::NeedsLookup(request) => request,
            other => panic!("needs no lookup: {other:?}"),
        }
    }

    pub(crate) fn acuity_lookup(action: &str) -> LookupRequest {
        expect_lookup("acuity", format!("action={action}&id=1126438001&calendarID=4210001"))
    }

    pub(crate) fn square_lookup() -> LookupRequest {
        expect_lookup("salon", sample_json("square", "booking_created").to_string())
    }

    fn complete_with(calendar: &str, request: LookupRequest, response: Option<&Value>) -> ParsedBooking {
        let config = sample_config();
        let lookup_response =
            response.map_or(LookupResponse::NotFound, |body| LookupResponse::Found(body.to_string().into_bytes()));
        parse_booking_response(request, &lookup_response, received_at(), &config.calendars[calendar], config)
    }

    fn changed_acuity(members: &Value) -> Value {
        let mut response = acuity_response();
        for (name, value) in members.as_object().unwrap() {
            response[name] = value.clone();
        }
        response
    }

    #[test]
    fn acuitys_response_gives_time_place_and_customer() {
        for (action, kind) in [
            ("scheduled", BookingEventKind::Created),
            ("appointment.rescheduled", BookingEventKind::Rescheduled),
            ("changed", BookingEventKind::Changed),
        ] {
            let response = changed_acuity(&json!({"location": "Herzl 12, Haifa"}));
            let booked = expect_booking(complete_with("acuity", acuity_lookup(action), Some(&response)));
            assert_eq!((booked.kind, booked.status, &*booked.id), (kind, AppointmentStatus::Booked, "1126438001"));
            assert_eq!((booked.occurred_at, only_phone(&booked)), (received_at(), "+972525550101"));
            let details = booked.details.unwrap();
            assert_eq!((details.start, &*details.zone), (parse_time("2026-11-24T10:30:00Z"), "Asia/Jerusalem"));
            assert_eq!(details.attendees[0].name.as_deref(), Some("Adi Sela"));
            assert_eq!(
                (details.title.as_deref(), details.place.as_deref()),
                (Some("Consultation"), Some("Herzl 12, Haifa"))
            );
        }
    }

    #[test]
    fn the_looked_up_appointment_overrides_the_delivery() {
        let kind_and_status = |booking: &Booking| (booking.kind, booking.status);
        let cancelled = changed_acuity(&json!({"canceled": true}));
        let late = expect_booking(complete_with("acuity", acuity_lookup("scheduled"), Some(&cancelled)));
        assert_eq!(kind_and_status(&late), (BookingEventKind::Cancelled, AppointmentStatus::Cancelled));
        let again = expect_booking(complete_with("acuity", acuity_lookup("canceled"), Some(&acuity_response())));
        assert_eq!(kind_and_status(&again), (BookingEventKind::Changed, AppointmentStatus::Booked));
        let gone = expect_booking(complete_with("acuity", acuity_lookup("changed"), None));
        assert_eq!(
            (kind_and_status(&gone), gone.details),
            ((BookingEventKind::Cancelled, AppointmentStatus::Cancelled), None)
        );
    }

    #[test]
    fn a_response_without_the_appointment_or_customer_is_not_understood() {
        for response in
            [changed_acuity(&json!({"id": 5})), json!([]), json!({}), changed_acuity(&json!({"datetime": "soon"}))]
        {
            assert_eq!(
                expect_skip(complete_with("acuity", acuity_lookup("scheduled"), Some(&response))).code(),
                "not-understood"
            );
        }
        for response in [json!([]), json!({}), json!({"customer": 5})] {
            let booked = expect_booking(complete_with("salon", square_lookup(), Some(&response)));
            assert_eq!(booked.unreachable_reason.as_ref().map(BookingSkipReason::code), Some("lookup-failed"));
            assert!(booked.details.is_some(), "the new time still counts");
        }
    }

    #[test]
    fn the_customers_number_is_parsed_for_their_own_country() {
        let booked = expect_booking(complete_with("salon", square_lookup(), Some(&square_customer(&json!({})))));
        assert_eq!((only_phone(&booked), booked.unreachable_reason.as_ref()), ("+972545550199", None));
        assert_eq!(booked.details.as_ref().unwrap().attendees[0].name.as_deref(), Some("Lior Ben-Ami"));
        let american = square_customer(&json!({"phone_number": "(202) 555-0123", "address": {"country": "US"}}));
        assert_eq!(
            only_phone(&expect_booking(complete_with("salon", square_lookup(), Some(&american)))),
            "+12025550123"
        );
    }

    #[test]
    fn a_customer_who_cannot_be_messaged_has_a_reason() {
        for (response, code) in [
            (Some(square_customer(&json!({"phone_number": null}))), "no-phone"),
            (Some(square_customer(&json!({"phone_number": "03-5550123"}))), "phone-unusable"),
            (None, "customer-not-found"),
        ] {
            let booked = expect_booking(complete_with("salon", square_lookup(), response.as_ref()));
            assert_eq!(booked.unreachable_reason.as_ref().map(BookingSkipReason::code), Some(code));
            assert!(booked.details.unwrap().attendees.is_empty());
        }
    }
}
