//! Reading back: some booking systems report that something happened to an appointment and keep the rest for who asks.
//!
//! [`ReadBackClient::ask`] carries the question, [`complete`] makes the answer a [`Reading`]. Acuity is asked for the
//! appointment, Square for the customer.
//!
//! Promised: nothing of an answer is written into an error, and neither is the credential; an answer is taken as what was
//! true just before it was asked for.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use shared::{
    body,
    client_config::{Calendar, CalendarKind, ClientConfig},
    fault::{Fault, Faulty},
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

/// An answer takes well below a second; a function should not wait for a booking system that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than the largest appointment, intake forms and all, could have.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// What a booking system answered.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// What was asked for, as JSON.
    Found(Vec<u8>),
    /// There is no such thing, or no longer.
    NotThere,
}

/// Why something could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// No answer came.
    #[error("the booking system's API did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Too many questions.
    #[error("the booking system's API asks for patience (HTTP 429)")]
    Throttled,
    /// Trouble on the other side.
    #[error("the booking system's API answered {status}")]
    Trouble {
        /// HTTP status, 5xx.
        status: u16,
    },
    /// The credential is not accepted.
    #[error("the booking system's API does not accept our credential (HTTP {status}); store a valid one in {secret}")]
    Credential {
        /// HTTP status, 401 or 403.
        status: u16,
        /// The name of the secret that it came from.
        secret: String,
    },
    /// Nothing that the API documents.
    #[error("the booking system's API answered {status}, which means nothing to us")]
    Unexpected {
        /// HTTP status.
        status: u16,
    },
    /// The answer doesn't end.
    #[error("the booking system's API gave an answer of more than {LARGEST_ANSWER} bytes")]
    TooLarge,
    /// The configured address is none.
    #[error("the booking system's API is configured to be at an address that is none")]
    Address,
}

impl Faulty for ReadBackError {
    fn fault(&self) -> Fault {
        match self {
            // Nothing is written by asking, so an unknown outcome is as good as none. A credential is mended from outside
            // while we run, and what the delivery reports must not be lost until then.
            Self::Unreachable(_) | Self::Throttled | Self::Trouble { .. } | Self::Credential { .. } => Fault::Transient,
            Self::Unexpected { .. } | Self::TooLarge | Self::Address => Fault::Permanent,
        }
    }
}

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
        let request = match what {
            ReadBack::Acuity { appointment_id, .. } => {
                let user = if let CalendarKind::Acuity { user_id } = &calendar.kind { user_id.as_str() } else { "" };
                self.http
                    .get(self.url(ACUITY, &["api", "v1", "appointments", appointment_id])?)
                    .basic_auth(user, Some(credential.expose()))
            }
            ReadBack::Square { customer_id, .. } => self
                .http
                .get(self.url(SQUARE, &["v2", "customers", customer_id])?)
                .bearer_auth(credential.expose())
                .header("Square-Version", SQUARE_VERSION),
        };
        let response = request.timeout(PATIENCE).send().await.map_err(unreachable)?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(Answer::NotThere),
            429 => return Err(ReadBackError::Throttled),
            status @ (401 | 403) => return Err(ReadBackError::Credential { status, secret: secret.to_owned() }),
            status @ 500.. => return Err(ReadBackError::Trouble { status }),
            status => return Err(ReadBackError::Unexpected { status }),
        }
        let body = body::up_to(LARGEST_ANSWER, response).await.map_err(unreachable)?;
        body.map(Answer::Found).ok_or(ReadBackError::TooLarge)
    }

    /// An address below an origin, or below the one that stands in for it. An id in the path stays one step of it, whatever
    /// is in it.
    fn url(&self, origin: &str, path: &[&str]) -> Result<Url, ReadBackError> {
        let mut url = Url::parse(self.base_url.as_deref().unwrap_or(origin)).map_err(|_| ReadBackError::Address)?;
        url.path_segments_mut().map_err(|()| ReadBackError::Address)?.clear().extend(path);
        Ok(url)
    }
}

/// The address holds an id, and says nothing that helps.
fn unreachable(error: reqwest::Error) -> ReadBackError {
    ReadBackError::Unreachable(error.without_url())
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
    use serde_json::{Value, json};
    use shared::appointment::Standing;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
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

    /// Answers one request and returns it.
    async fn once(listener: &TcpListener, response: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).await.unwrap();
            assert!(read > 0, "the request ended early");
            request.extend_from_slice(&some[..read]);
        }
        // Who has read enough hangs up.
        if let Err(error) = stream.write_all(response.as_bytes()).await {
            assert!(response.len() > LARGEST_ANSWER, "{error}");
        }
        String::from_utf8(request).unwrap()
    }

    fn response(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    async fn ask(
        listener: &TcpListener,
        calendar: &str,
        what: &ReadBack,
        given: &str,
    ) -> (String, Result<Answer, ReadBackError>) {
        let base = format!("http://{}/ignored?path", listener.local_addr().unwrap());
        let client = ReadBackClient::new(shared::cold_start::http_client().unwrap(), Some(base));
        let config = config();
        let credential = Secret::new("key-1");
        let secret = config.calendar_secret(calendar);
        tokio::join!(once(listener, given), client.ask(&config.calendars[calendar], what, &credential, &secret))
    }

    #[tokio::test]
    async fn the_question_travels_with_its_credential_and_the_answer_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let given = response("200 OK", &acuity_answer().to_string());
        let (request, answer) = ask(&listener, "acuity", &acuity("scheduled"), &given).await;
        assert!(request.starts_with("GET /api/v1/appointments/1126438001"), "{request}");
        // `13579:key-1`
        assert!(request.to_lowercase().contains("authorization: basic mtm1nzk6a2v5lte=\r\n"), "{request}");
        assert!(matches!(answer.unwrap(), Answer::Found(answer) if answer == acuity_answer().to_string().as_bytes()));

        let (request, answer) = ask(&listener, "salon", &square(), &response("404 Not Found", "{}")).await;
        assert!(request.starts_with("GET /v2/customers/EX2QSVGTZN4K1E5QE1CBFNVQ8M"), "{request}");
        let request = request.to_lowercase();
        assert!(request.contains("authorization: bearer key-1\r\n"), "{request}");
        assert!(request.contains("square-version: 2026-09-16\r\n"), "{request}");
        assert!(matches!(answer.unwrap(), Answer::NotThere));
    }

    #[test]
    fn an_id_is_one_step_of_the_path_whatever_is_in_it() {
        let client = ReadBackClient::new(shared::cold_start::http_client().unwrap(), None);
        let url = |id: &str| client.url(ACUITY, &["api", "v1", "appointments", id]).unwrap().to_string();
        assert_eq!(url("a/../b?c#d"), "https://acuityscheduling.com/api/v1/appointments/a%2F..%2Fb%3Fc%23d");
        assert_eq!(url(".."), "https://acuityscheduling.com/api/v1/appointments");
        let nowhere = ReadBackClient { base_url: Some("nowhere".to_owned()), ..client };
        assert!(matches!(nowhere.url(ACUITY, &[]), Err(ReadBackError::Address)));
    }

    #[tokio::test]
    async fn every_refusal_is_an_error_that_knows_whether_to_try_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let too_long = "x".repeat(LARGEST_ANSWER + 1);
        for (head, body, fault, says) in [
            ("429 Too Many Requests", "", Fault::Transient, "patience"),
            ("503 Service Unavailable", "", Fault::Transient, "503"),
            ("401 Unauthorized", "secret-5", Fault::Transient, "tellonce/demo/calendars/acuity"),
            ("403 Forbidden", "", Fault::Transient, "tellonce/demo/calendars/acuity"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere.example/", "", Fault::Permanent, "301"),
            ("200 OK", &too_long, Fault::Permanent, "bytes"),
        ] {
            let (_, answer) = ask(&listener, "acuity", &acuity("changed"), &response(head, body)).await;
            let Err(error) = answer else { panic!("{head}") };
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(says) && !format!("{error:?}").contains("secret-5"), "{head}: {error}");
        }
        let base = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = ReadBackClient::new(shared::cold_start::http_client().unwrap(), Some(base));
        let config = config();
        let gone = client.ask(&config.calendars["salon"], &square(), &Secret::new("hunter2"), "s").await;
        let Err(gone) = gone else { panic!() };
        assert_eq!(gone.fault(), Fault::Transient);
        let shown = format!("{} {gone:?}", shared::fault::chain(&gone));
        assert!(!shown.contains("hunter2") && !shown.contains("EX2QSV"), "{shown}");
    }
}
