//! Reading back: some booking systems report that something happened to an appointment and keep the rest for who asks.
//!
//! [`ReadBackClient::ask`] carries the question, [`complete`] makes the answer a [`Reading`]. Acuity is asked for the
//! appointment, Square for the customer.
//!
//! Promised: an answer is taken as what was true just before it was asked for.

use jiff::Timestamp;
use shared::{
    client_config::{Calendar, CalendarKind, ClientConfig},
    read_back::{self, Answer, ReadBackError},
    secret::Secret,
};

use crate::{
    booking::{ReadBack, Reading},
    senders::{self, Context},
};

/// Where Acuity's API is.
const ACUITY: &str = "https://acuityscheduling.com";
/// Where Square's API is.
const SQUARE: &str = "https://connect.squareup.com";
/// The version of Square's API that we read. An application's own default may be years older.
/// (<https://developer.squareup.com/docs/build-basics/versioning-overview>)
const SQUARE_VERSION: &str = "2026-09-16";

/// Asks booking systems.
#[derive(Debug, Clone)]
pub struct ReadBackClient {
    http: reqwest::Client,
    base_url: Option<String>,
}

impl ReadBackClient {
    /// Over the function's HTTP client. `base_url` stands in for the origins of the booking systems, for local runs and
    /// tests.
    pub fn new(http: reqwest::Client, base_url: Option<String>) -> Self {
        Self { http, base_url }
    }

    /// Asks for what a delivery of this calendar left out. `secret` is the name of the secret that `credential` is from:
    /// Acuity's API key, Square's access token.
    pub async fn ask(
        &self,
        calendar: &Calendar,
        what: &ReadBack,
        credential: &Secret,
        secret: &str,
    ) -> Result<Answer, ReadBackError> {
        let address = |origin, path: &[&str]| read_back::address(self.base_url.as_deref(), origin, path);
        let question = match what {
            ReadBack::Acuity { appointment_id, .. } => {
                let user = if let CalendarKind::Acuity { user_id } = &calendar.kind { user_id.as_str() } else { "" };
                let address = address(ACUITY, &["api", "v1", "appointments", appointment_id])?;
                self.http.get(address).basic_auth(user, Some(credential.expose()))
            }
            ReadBack::Square { customer_id, .. } => self
                .http
                .get(address(SQUARE, &["v2", "customers", customer_id])?)
                .bearer_auth(credential.expose())
                .header("Square-Version", SQUARE_VERSION),
        };
        read_back::ask(question, |status, _| read_back::by_status(status, secret)).await
    }
}

/// What the delivery says, with the answer. `asked_at` is the moment before the question. Never [`Reading::ReadBack`].
pub fn complete(
    what: ReadBack,
    answer: &Answer,
    asked_at: Timestamp,
    calendar: &Calendar,
    config: &ClientConfig,
) -> Reading {
    let context = Context { calendar, config };
    let answer = match answer {
        Answer::Found(answer) => Some(answer.as_slice()),
        Answer::NotThere => None,
    };
    let booking = match what {
        ReadBack::Acuity { appointment_id, kind } => {
            senders::acuity_completed(context, appointment_id, kind, answer, asked_at)
        }
        ReadBack::Square { booking, .. } => Ok(senders::square_completed(context, *booking, answer)),
    };
    booking.map_or_else(Reading::Nothing, |booking| Reading::Reports(vec![booking]))
}

#[cfg(test)]
pub(crate) mod tests {
    use loopback::{Peer, response};
    use serde_json::{Value, json};
    use shared::{
        appointment::Standing,
        fault::{Fault, Faulty},
    };

    use super::*;
    use crate::{
        booking::{Booking, Kind, NothingBecause},
        samples::{acuity_answer, at, booking, config, phone, read_as, reason, received_at, sample},
    };

    /// What Square answers.
    pub(crate) fn customer(members: &Value) -> Value {
        let mut customer = json!({
            "id": "EX2QSVGTZN4K1E5QE1CBFNVQ8M", "created_at": "2026-03-23T20:21:54.859Z", "given_name": "Lior",
            "family_name": "Ben-Ami", "email_address": "lior@example.com", "phone_number": "+972-54-555-0199",
            "address": {"address_line_1": "1 Main St", "country": "IL"}, "version": 0,
        });
        for (name, value) in members.as_object().unwrap() {
            customer[name] = value.clone();
        }
        json!({ "customer": customer })
    }

    fn asked(calendar: &str, body: impl AsRef<[u8]>) -> ReadBack {
        match read_as(calendar, body) {
            Reading::ReadBack(what) => what,
            other => panic!("needs nothing: {other:?}"),
        }
    }

    fn acuity(action: &str) -> ReadBack {
        asked("acuity", format!("action={action}&id=1126438001&calendarID=4210001"))
    }

    fn square() -> ReadBack {
        asked("salon", sample("square", "booking_created").to_string())
    }

    fn answered(calendar: &str, what: ReadBack, answer: Option<&Value>) -> Reading {
        let config = config();
        let answer = answer.map_or(Answer::NotThere, |answer| Answer::Found(answer.to_string().into_bytes()));
        complete(what, &answer, received_at(), &config.calendars[calendar], config)
    }

    fn changed(members: &Value) -> Value {
        let mut answer = acuity_answer();
        for (name, value) in members.as_object().unwrap() {
            answer[name] = value.clone();
        }
        answer
    }

    #[test]
    fn acuitys_answer_says_when_where_and_who() {
        for (action, kind) in
            [("scheduled", Kind::Created), ("appointment.rescheduled", Kind::Rescheduled), ("changed", Kind::Changed)]
        {
            let answer = changed(&json!({"location": "Herzl 12, Haifa"}));
            let booked = booking(answered("acuity", acuity(action), Some(&answer)));
            assert_eq!((booked.kind, booked.standing, &*booked.id), (kind, Standing::Booked, "1126438001"));
            assert_eq!((booked.occurred_at, phone(&booked)), (received_at(), "+972525550101"));
            let details = booked.details.unwrap();
            assert_eq!((details.start, &*details.zone), (at("2026-11-24T10:30:00Z"), "Asia/Jerusalem"));
            assert_eq!(details.attendees[0].name.as_deref(), Some("Adi Sela"));
            assert_eq!(
                (details.title.as_deref(), details.place.as_deref()),
                (Some("Consultation"), Some("Herzl 12, Haifa"))
            );
        }
    }

    #[test]
    fn an_appointment_is_as_it_was_found_whatever_the_delivery_says() {
        let standing = |booking: &Booking| (booking.kind, booking.standing);
        let cancelled = changed(&json!({"canceled": true}));
        let late = booking(answered("acuity", acuity("scheduled"), Some(&cancelled)));
        assert_eq!(standing(&late), (Kind::Cancelled, Standing::Cancelled));
        let again = booking(answered("acuity", acuity("canceled"), Some(&acuity_answer())));
        assert_eq!(standing(&again), (Kind::Changed, Standing::Booked));
        let gone = booking(answered("acuity", acuity("changed"), None));
        assert_eq!((standing(&gone), gone.details), ((Kind::Cancelled, Standing::Cancelled), None));
    }

    #[test]
    fn an_answer_that_is_not_the_appointment_is_not_understood() {
        for answer in [changed(&json!({"id": 5})), json!([]), json!({}), changed(&json!({"datetime": "soon"}))] {
            assert_eq!(reason(answered("acuity", acuity("scheduled"), Some(&answer))).code(), "not-understood");
        }
        for answer in [json!([]), json!({}), json!({"customer": 5})] {
            let booked = booking(answered("salon", square(), Some(&answer)));
            assert_eq!(booked.unreachable.as_ref().map(NothingBecause::code), Some("look-up-failed"));
            assert!(booked.details.is_some(), "its new time counts all the same");
        }
    }

    #[test]
    fn the_customers_number_is_read_in_their_own_country() {
        let booked = booking(answered("salon", square(), Some(&customer(&json!({})))));
        assert_eq!((phone(&booked), booked.unreachable.as_ref()), ("+972545550199", None));
        assert_eq!(booked.details.as_ref().unwrap().attendees[0].name.as_deref(), Some("Lior Ben-Ami"));
        let american = customer(&json!({"phone_number": "(202) 555-0123", "address": {"country": "US"}}));
        assert_eq!(phone(&booking(answered("salon", square(), Some(&american)))), "+12025550123");
    }

    #[test]
    fn a_customer_who_cannot_be_written_to_leaves_the_reason() {
        for (answer, code) in [
            (Some(customer(&json!({"phone_number": null}))), "no-phone"),
            (Some(customer(&json!({"phone_number": "03-5550123"}))), "phone-unusable"),
            (None, "customer-not-found"),
        ] {
            let booked = booking(answered("salon", square(), answer.as_ref()));
            assert_eq!(booked.unreachable.as_ref().map(NothingBecause::code), Some(code));
            assert!(booked.details.unwrap().attendees.is_empty());
        }
    }

    async fn ask(calendar: &str, what: &ReadBack, given: &str) -> (String, Result<Answer, ReadBackError>) {
        let peer = Peer::start().await.unwrap();
        let client = ReadBackClient::new(shared::cold_start::http_client().unwrap(), Some(peer.url().unwrap()));
        let config = config();
        let credential = Secret::new("key-1");
        let secret = config.calendar_secret(calendar);
        let (request, answer) =
            tokio::join!(peer.answer(given), client.ask(&config.calendars[calendar], what, &credential, &secret));
        (request.unwrap(), answer)
    }

    #[tokio::test]
    async fn the_question_travels_with_its_credential_and_the_answer_comes_back() {
        let given = response("200 OK", &acuity_answer().to_string());
        let (request, answer) = ask("acuity", &acuity("scheduled"), &given).await;
        assert!(request.starts_with("GET /api/v1/appointments/1126438001 HTTP/1.1\r\n"), "{request}");
        // `13579:key-1`
        assert!(request.to_lowercase().contains("authorization: basic mtm1nzk6a2v5lte=\r\n"), "{request}");
        assert!(matches!(answer.unwrap(), Answer::Found(answer) if answer == acuity_answer().to_string().as_bytes()));

        let (request, answer) = ask("salon", &square(), &response("404 Not Found", "{}")).await;
        assert!(request.starts_with("GET /v2/customers/EX2QSVGTZN4K1E5QE1CBFNVQ8M HTTP/1.1\r\n"), "{request}");
        let request = request.to_lowercase();
        assert!(request.contains("authorization: bearer key-1\r\n"), "{request}");
        assert!(request.contains("square-version: 2026-09-16\r\n"), "{request}");
        assert!(matches!(answer.unwrap(), Answer::NotThere));
    }

    #[tokio::test]
    async fn a_credential_that_is_refused_is_named_and_may_be_mended_until_the_next_try() {
        for status in ["401 Unauthorized", "403 Forbidden"] {
            let (_, answer) = ask("acuity", &acuity("changed"), &response(status, "secret-5")).await;
            let Err(error) = answer else { panic!("{status}") };
            assert_eq!(error.fault(), Fault::Transient, "{status}");
            assert!(error.to_string().contains("tellonce/demo/calendars/acuity"), "{error}");
            assert!(!format!("{error:?}").contains("secret-5"), "{error:?}");
        }
    }
}
