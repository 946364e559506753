//! Lookups: the deliveries of some booking systems leave out facts, which their API returns.
//!
//! [`BookingLookupClient`] sends the request. Acuity returns the appointment, Square the customer.
//! [`crate::booking_parser`] parses the response.

use tellonce_core::{
    base_urls::BaseUrls,
    client_config::{CalendarConfig, CalendarKind},
    lookup::{self, LookupResponse, SenderApiError},
    secret::Secret,
};

use crate::booking::LookupRequest;

/// The origin of Acuity's API.
const ACUITY_ORIGIN: &str = "https://acuityscheduling.com";
/// The origin of Square's API.
const SQUARE_ORIGIN: &str = "https://connect.squareup.com";
/// The version of Square's API that the parser expects. An application's default may be years
/// older. (<https://developer.squareup.com/docs/build-basics/versioning-overview>)
const SQUARE_VERSION: &str = "2026-09-16";

/// Calls the APIs of booking systems.
#[derive(Debug, Clone)]
pub struct BookingLookupClient {
    http: reqwest::Client,
    base_urls: BaseUrls,
}

impl BookingLookupClient {
    /// Creates a client that uses the function's HTTP client. `base_urls` replace the origins of
    /// the booking systems in local runs and tests.
    pub fn new(http: reqwest::Client, base_urls: BaseUrls) -> Self {
        Self { http, base_urls }
    }

    /// Requests what a delivery of the calendar `name` leaves out. `secret` is the name of the
    /// secret that contains `credential`: Acuity's API key or Square's access token.
    pub async fn send_request(
        &self,
        name: &str,
        calendar: &CalendarConfig,
        request: &LookupRequest,
        credential: &Secret,
        secret: &str,
    ) -> Result<LookupResponse, SenderApiError> {
        let address = |origin, path: &[&str]| lookup::build_url(self.base_urls.for_name(name), origin, path);
        let http_request = match request {
            LookupRequest::Acuity { appointment_id, .. } => {
                let user = if let CalendarKind::Acuity(acuity) = &calendar.kind { acuity.user_id.as_str() } else { "" };
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

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};
    use tellonce_core::fault::{ClassifyFault, Fault};

    use super::*;
    use crate::{
        booking_parser::tests::{acuity_lookup, square_lookup},
        samples::{acuity_response, sample_config},
    };

    async fn send_lookup(
        calendar: &str,
        request: &LookupRequest,
        http_reply: &str,
    ) -> (String, Result<LookupResponse, SenderApiError>) {
        let api = FakeApi::start().await.unwrap();
        let client = BookingLookupClient::new(
            tellonce_core::bootstrap::build_http_client().unwrap(),
            BaseUrls::parse(&api.base_url().unwrap()),
        );
        let config = sample_config();
        let credential = Secret::new("key-1");
        let secret = config.calendar_secret_name(calendar);
        let (request, outcome) = tokio::join!(
            api.reply_once(http_reply),
            client.send_request(calendar, &config.calendars[calendar], request, &credential, &secret)
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
