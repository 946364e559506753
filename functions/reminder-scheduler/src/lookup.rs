//! Lookups: the deliveries of some booking systems leave out facts, which their API returns.
//!
//! [`LookupClient::send_request`] calls the API, and [`complete_booking`] turns the response into a
//! [`ParsedBooking`]. Acuity returns the appointment, Square the customer.
//!
//! Promise: a response counts as what was true just before the request.

use jiff::Timestamp;
use tellonce_core::{
    client_config::{CalendarConfig, CalendarKind, ClientConfig},
    lookup::{self, LookupResponse, SenderApiError},
    secret::Secret,
};

use crate::{
    parsed_booking::{LookupRequest, ParsedBooking},
    senders::{CalendarContext, complete_acuity_booking, complete_square_booking},
};

/// The origin of Acuity's API.
const ACUITY_ORIGIN: &str = "https://acuityscheduling.com";
/// The origin of Square's API.
const SQUARE_ORIGIN: &str = "https://connect.squareup.com";
/// The version of Square's API that the parser expects. An application's default may be years
/// older. (<https://developer.squareup.com/docs/build-basics/versioning-overview>)
const SQUARE_VERSION: &str = "2026-09-16";

/// Calls the APIs of booking systems.
#[derive(Debug, Clone)]
pub struct LookupClient {
    http: reqwest::Client,
    base_url: Option<String>,
}

impl LookupClient {
    /// Creates a client that uses the function's HTTP client. `base_url` replaces the origins of
    /// the booking systems in local runs and tests.
    pub fn new(http: reqwest::Client, base_url: Option<String>) -> Self {
        Self { http, base_url }
    }

    /// Requests what a delivery of this calendar leaves out. `secret` is the name of the secret
    /// that contains `credential`: Acuity's API key or Square's access token.
    pub async fn send_request(
        &self,
        calendar: &CalendarConfig,
        request: &LookupRequest,
        credential: &Secret,
        secret: &str,
    ) -> Result<LookupResponse, SenderApiError> {
        let address = |origin, path: &[&str]| lookup::build_url(self.base_url.as_deref(), origin, path);
        let http_request = match request {
            LookupRequest::Acuity { appointment_id, .. } => {
                let user = if let CalendarKind::Acuity { user_id } = &calendar.kind { user_id.as_str() } else { "" };
                let address = address(ACUITY_ORIGIN, &["api", "v1", "appointments", appointment_id])?;
                self.http.get(address).basic_auth(user, Some(credential.expose()))
            }
            LookupRequest::Square { customer_id, .. } => self
                .http
                .get(address(SQUARE_ORIGIN, &["v2", "customers", customer_id])?)
                .bearer_auth(credential.expose())
                .header("Square-Version", SQUARE_VERSION),
        };
        lookup::fetch_json(http_request, |status, _| lookup::interpret_status(status, secret)).await
    }
}

/// The content of the delivery, completed with the response. `asked_at` is the moment before the
/// request. The result is never [`ParsedBooking::NeedsLookup`].
pub fn complete_booking(
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
mod tests {
    use loopback::{FakeApi, http_response};
    use serde_json::{Value, json};
    use tellonce_core::{
        appointment::AppointmentStatus,
        fault::{ClassifyFault, Fault},
    };

    use super::*;
    use crate::{
        parsed_booking::{Booking, BookingEventKind, SkipReason},
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

    fn acuity_lookup(action: &str) -> LookupRequest {
        expect_lookup("acuity", format!("action={action}&id=1126438001&calendarID=4210001"))
    }

    fn square_lookup() -> LookupRequest {
        expect_lookup("salon", sample_json("square", "booking_created").to_string())
    }

    fn complete_with(calendar: &str, request: LookupRequest, response: Option<&Value>) -> ParsedBooking {
        let config = sample_config();
        let lookup_response =
            response.map_or(LookupResponse::NotFound, |body| LookupResponse::Found(body.to_string().into_bytes()));
        complete_booking(request, &lookup_response, received_at(), &config.calendars[calendar], config)
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
            assert_eq!(booked.unreachable_reason.as_ref().map(SkipReason::code), Some("lookup-failed"));
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
            assert_eq!(booked.unreachable_reason.as_ref().map(SkipReason::code), Some(code));
            assert!(booked.details.unwrap().attendees.is_empty());
        }
    }

    async fn send_lookup(
        calendar: &str,
        request: &LookupRequest,
        http_reply: &str,
    ) -> (String, Result<LookupResponse, SenderApiError>) {
        let api = FakeApi::start().await.unwrap();
        let client =
            LookupClient::new(tellonce_core::bootstrap::build_http_client().unwrap(), Some(api.base_url().unwrap()));
        let config = sample_config();
        let credential = Secret::new("key-1");
        let secret = config.calendar_secret_name(calendar);
        let (request, outcome) = tokio::join!(
            api.reply_once(http_reply),
            client.send_request(&config.calendars[calendar], request, &credential, &secret)
        );
        (request.unwrap(), outcome)
    }

    #[tokio::test]
    async fn a_lookup_sends_its_credential_and_returns_the_response() {
        let http_reply = http_response("200 OK", &acuity_response().to_string());
        let (request, outcome) = send_lookup("acuity", &acuity_lookup("scheduled"), &http_reply).await;
        assert!(request.starts_with("GET /api/v1/appointments/1126438001 HTTP/1.1\r\n"), "{request}");
        // `13579:key-1`
        assert!(request.to_lowercase().contains("authorization: basic mtm1nzk6a2v5lte=\r\n"), "{request}");
        assert!(
            matches!(outcome.unwrap(), LookupResponse::Found(body) if body == acuity_response().to_string().as_bytes())
        );

        let (request, outcome) = send_lookup("salon", &square_lookup(), &http_response("404 Not Found", "{}")).await;
        assert!(request.starts_with("GET /v2/customers/EX2QSVGTZN4K1E5QE1CBFNVQ8M HTTP/1.1\r\n"), "{request}");
        let request = request.to_lowercase();
        assert!(request.contains("authorization: bearer key-1\r\n"), "{request}");
        assert!(request.contains("square-version: 2026-09-16\r\n"), "{request}");
        assert!(matches!(outcome.unwrap(), LookupResponse::NotFound));
    }

    #[tokio::test]
    async fn a_refused_credential_is_named_and_the_lookup_may_be_retried() {
        for status in ["401 Unauthorized", "403 Forbidden"] {
            let (_, outcome) =
                send_lookup("acuity", &acuity_lookup("changed"), &http_response(status, "secret-5")).await;
            let Err(error) = outcome else { panic!("{status}") };
            assert_eq!(error.fault(), Fault::Transient, "{status}");
            assert!(error.to_string().contains("tellonce/demo/calendars/acuity"), "{error}");
            assert!(!format!("{error:?}").contains("secret-5"), "{error:?}");
        }
    }
}
