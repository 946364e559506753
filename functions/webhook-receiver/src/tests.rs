//! What is answered, without effects: recorded deliveries and what may be wrong with them.

use std::{fs, path::PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use shared::{
    client_config::ClientConfig,
    delivery::{Checked, Refusal},
    inbox::{InboxError, MAX_BODY_BYTES},
    secret::{Secret, SecretError},
};

use super::{NotAccepted, SenderKind, judge, route};

/// A client with the calendars that sign in their own ways, under the secrets of the recorded deliveries. A store has a calendar's name.
const CLIENT: &str = r#"
client = "clinic"
name = "Clinic"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
messages = {}

[lines.main]
line_id = "line_clinic"

[stores.shop]
kind = "shopify"
shop_domain = "clinic.myshopify.com"
line = "main"

[calendars.shop]
kind = "calcom"
line = "main"

[calendars.consult]
kind = "calendly"
line = "main"

[calendars.studio]
kind = "acuity"
user_id = "12345"
line = "main"

[calendars.spa]
kind = "square"
notification_url = "https://hooks.example.com/t/demo/square"
line = "main"

[calendars.google]
kind = "ics"
line = "main"
phone = { field = "description" }
google_push = true

[calendars.outlook]
kind = "ics"
line = "main"
phone = { field = "description" }
"#;

fn client() -> ClientConfig {
    ClientConfig::parse(CLIENT).unwrap()
}

/// A request, and when it came.
#[derive(Clone)]
struct Posted {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
    secrets: Vec<Secret>,
    now: Timestamp,
}

impl Posted {
    fn with(mut self, name: &str, value: Option<&str>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        match value {
            Some(value) => self.headers.insert(name, HeaderValue::from_str(value).unwrap()),
            None => self.headers.remove(name),
        };
        self
    }

    fn judged(&self) -> Result<String, NotAccepted> {
        let client = client();
        match judge(&client, &self.method, &self.path, &self.headers, &self.body, &self.secrets, self.now)? {
            Checked::Verified(delivery) => Ok(delivery.delivery_id),
            Checked::Ping => Ok("ping".to_owned()),
        }
    }

    /// Status and message of a refusal.
    fn answer(&self) -> (u16, String) {
        let refused = self.judged().expect_err("accepted");
        (refused.status(), refused.message())
    }
}

/// A recorded delivery, as it comes in.
fn recorded(path: &str, system: &str, case: &str, secret: &str, now: &str) -> Posted {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../events/bookings").join(system);
    let text = fs::read_to_string(folder.join(format!("{case}.headers.txt"))).unwrap();
    let pair =
        |(name, value): (&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    let body = ["json", "form"].iter().find_map(|kind| fs::read(folder.join(format!("{case}.{kind}"))).ok());
    Posted {
        method: Method::POST,
        path: path.to_owned(),
        headers: text.lines().filter_map(|line| line.split_once(": ")).map(pair).collect(),
        body: body.unwrap_or_default(),
        secrets: vec![Secret::new(secret)],
        now: now.parse().unwrap(),
    }
}

const NOON: &str = "2026-11-19T12:00:00Z";

fn calcom() -> Posted {
    recorded("/bookings/shop", "calcom", "booking_created", "test-calcom-secret-1", NOON)
}

fn calendly() -> Posted {
    recorded("/bookings/consult", "calendly", "invitee_created", "test-calendly-signing-key-1", NOON)
}

fn acuity() -> Posted {
    recorded("/bookings/studio", "acuity", "changed", "test-acuity-api-key-1", NOON)
}

fn square() -> Posted {
    recorded("/bookings/spa", "square", "booking_created", "test-square-signature-key-1", NOON)
}

fn google(case: &str) -> Posted {
    recorded("/bookings/google", "google_calendar", case, "test-channel-token-1", NOON)
}

#[test]
fn each_booking_system_is_believed_at_its_own_path() {
    for (posted, id) in [
        (calcom(), None),
        (calendly(), None),
        (acuity(), None),
        (square(), Some("ac3ac95b-f97d-458c-a6e6-18981597e05f")),
        (google("push_exists"), Some("4ba78bf0-6a47-11e2-bcfd-0800200c9a66.10")),
        (google("push_sync"), Some("ping")),
    ] {
        let judged = posted.judged().unwrap();
        assert!(id.is_none_or(|id| id == judged), "{}: {judged}", posted.path);
        for elsewhere in ["shop", "consult", "studio", "spa", "google"].map(|name| format!("/bookings/{name}")) {
            if elsewhere != posted.path {
                let (status, _) = Posted { path: elsewhere.clone(), ..posted.clone() }.answer();
                assert!(matches!(status, 401 | 415), "{} at {elsewhere}: {status}", posted.path);
            }
        }
    }
}

#[test]
fn only_what_is_configured_and_posts_has_an_address() {
    for path in [
        "/bookings/none",
        "/bookings/outlook", // a feed: nothing is posted for it
        "/bookings/",
        "/bookings",
        "/bookings/shop/",
        "/bookings//shop",
        "/bookings/Shop",
        "/Bookings/shop",
        "/bookings/%73hop",
        "/bookings/../stores/shop",
        "/stores/consult",
        "/shop",
        "/",
        "",
    ] {
        let refused = Posted { path: path.to_owned(), ..calcom() }.answer();
        assert_eq!(refused, (404, "nothing is configured for this path".to_owned()), "{path}");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let refused = Posted { method: method.clone(), ..calcom() }.answer();
        assert_eq!(refused, (405, "only POST is taken here".to_owned()), "{method}");
        let unknown = Posted { method, path: "/bookings/none".to_owned(), ..calcom() }.answer();
        assert_eq!(unknown.0, 404);
    }
}

#[test]
fn a_store_and_a_calendar_of_one_name_are_two_senders() {
    let client = client();
    let kind = |path| route(&client, &Method::POST, path).unwrap().kind;
    assert_eq!(kind("/stores/shop"), SenderKind::Store);
    assert_eq!(kind("/bookings/shop"), SenderKind::Calendar);
}

#[test]
fn a_body_of_another_type_is_refused_and_told_which_is_taken() {
    let form = Some("application/x-www-form-urlencoded");
    let json = "from this sender only JSON (application/json) is taken";
    let cases = [
        (
            calcom().with("content-type", form),
            "from this sender only JSON (application/json), in Cal.com's own form and not in a custom template's, is taken",
        ),
        (calendly().with("content-type", Some("text/json")), json),
        (calendly().with("content-type", None), json),
        (square().with("content-type", Some("")), json),
        (
            acuity().with("content-type", Some("application/json")),
            "from this sender only a form (application/x-www-form-urlencoded) is taken",
        ),
        (
            Posted { body: b"{}".to_vec(), ..google("push_exists") },
            "from this sender only a notification without a body is taken",
        ),
        (
            Posted { body: b" ".to_vec(), ..google("push_sync") },
            "from this sender only a notification without a body is taken",
        ),
    ];
    for (posted, message) in cases {
        assert_eq!(posted.answer(), (415, message.to_owned()), "{}", posted.path);
    }
    for same in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/cloudevents+json"] {
        assert!(calcom().with("content-type", Some(same)).judged().is_ok(), "{same}");
    }
    for any in [None, Some("application/json; utf-8"), Some("text/plain")] {
        assert!(google("push_exists").with("content-type", any).judged().is_ok(), "an empty body has no type: {any:?}");
    }
    let mut odd = calcom();
    odd.headers.insert(header::CONTENT_TYPE, HeaderValue::from_bytes(b"application/json\xff").unwrap());
    assert_eq!(odd.answer().0, 415);
}

#[test]
fn a_body_over_the_limit_is_refused_before_anything_is_computed() {
    let body = vec![b' '; MAX_BODY_BYTES + 1];
    for posted in [calcom(), calendly(), acuity(), square(), google("push_exists")] {
        let refused = Posted { body: body.clone(), ..posted }.answer();
        assert_eq!(refused, (413, "the body has 1048577 bytes; at most 1048576 are taken".to_owned()));
    }
}

#[test]
fn a_forgery_is_refused_and_nothing_of_the_secret_is_said() {
    let cases = [
        (calcom(), "x-cal-signature-256", "00"),
        (calendly(), "calendly-webhook-signature", "t=1795083000,v1=00"),
        (acuity(), "x-acuity-signature", "d3Jvbmc="),
        (square(), "x-square-hmacsha256-signature", "d3Jvbmc="),
        (google("push_exists"), "x-goog-channel-token", "wrong"),
        (google("push_sync"), "x-goog-channel-token", "wrong"),
    ];
    for (posted, name, wrong) in cases {
        let (path, expected) = (posted.path.clone(), posted.headers[name].clone());
        let (status, forged) = posted.with(name, Some(wrong)).answer();
        assert_eq!((status, forged.as_str()), (401, Refusal::Mismatch.to_string().as_str()), "{path}");
        assert!(!forged.contains(expected.to_str().unwrap()));
    }
    for (posted, name) in [
        (calcom(), "x-cal-signature-256"),
        (calendly(), "calendly-webhook-signature"),
        (acuity(), "x-acuity-signature"),
        (square(), "x-square-hmacsha256-signature"),
        (google("push_exists"), "x-goog-channel-token"),
    ] {
        assert_eq!(posted.with(name, None).answer(), (401, format!("the header {name} is missing")));
    }
    for posted in [calcom(), calendly(), acuity(), square()] {
        let mut changed = posted;
        changed.body.push(b' ');
        assert_eq!(changed.answer().0, 401, "{}", changed.path);
    }
}

#[test]
fn an_unsigned_webhook_is_told_to_set_a_secret() {
    let posted = recorded("/bookings/shop", "calcom", "booking_created.no_secret", "test-calcom-secret-1", NOON);
    let message = "it is not signed; set a secret for this webhook where it is sent from";
    assert_eq!(posted.answer(), (401, message.to_owned()));
}

#[test]
fn a_delivery_that_is_too_old_says_how_old() {
    let late = Posted { now: "2026-11-20T12:00:00Z".parse().unwrap(), ..calendly() };
    assert_eq!(late.answer(), (401, "it was signed 93000 s ago; more than 90000 s is refused".to_owned()));
}

#[test]
fn either_secret_counts_while_one_replaces_the_other() {
    let two = |first: &str, second: &str| vec![Secret::new(first), Secret::new(second)];
    assert!(Posted { secrets: two("newer", "test-calcom-secret-1"), ..calcom() }.judged().is_ok());
    assert!(Posted { secrets: two("test-channel-token-1", "older"), ..google("push_exists") }.judged().is_ok());
    assert_eq!(Posted { secrets: two("newer", "older"), ..calcom() }.answer().0, 401);
}

#[test]
fn what_is_our_own_fault_is_not_explained_and_may_be_sent_again() {
    let again = (503, "temporarily unavailable; please send it again".to_owned());
    assert_eq!(Posted { secrets: Vec::new(), ..calcom() }.answer(), again);
    assert_eq!(Posted { secrets: vec![Secret::new("")], ..calendly() }.answer(), again);
    let missing = NotAccepted::from(SecretError::Missing { name: "tellonce/clinic/webhooks/shop".to_owned() });
    assert_eq!((missing.status(), missing.message()), again);
    assert!(missing.needs_operator());
    // But not what will be too large each time it comes.
    let huge = NotAccepted::from(InboxError::TooLarge(400_000));
    assert_eq!((huge.status(), huge.message()), (413, "the body is larger than is taken".to_owned()));
}
