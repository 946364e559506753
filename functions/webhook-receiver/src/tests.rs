//! Tests of the response to a request, without effects: recorded deliveries and their faulty
//! variants.
//!
//! Long because it shows every answer of the receiver once.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use lambda_http::Body;
use tellonce_core::{
    client_config::ClientConfig,
    delivery::{Refusal, VerificationOutcome},
    inbox::{InboxError, MAX_BODY_BYTES},
    secret::{Secret, SecretError, SecretLayout},
};
use tellonce_samples::{WebhookPost, build_header_map};

use super::{
    AcceptedReply, ReceiveError, SenderKind, handshake::MetaHandshake, http_response::build_response, route_request,
    verify_request,
};

/// A client with every kind of calendar and form proof, under the secrets of the recorded
/// deliveries. A store and a form share a calendar's name.
const CLIENT_TOML: &str = r#"
client = "clinic"
name = "Clinic"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
messages = {}

[lines.main]
line_id = "line_clinic"
events = true

[lines.shop]
line_id = "line_shop"

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

/// The client's forms. A form without a signature has a secret address or a secret header.
const FORM_KINDS: &[(&str, &str)] = &[
    ("shop", "typeform"),
    ("ads", "google-ads"),
    ("page", "meta"),
    ("site", "webflow"),
    ("survey", "tally"),
    ("crm", "hubspot\"\nnotification_url = \"https://hooks.example.com/t/demo/hubspot"),
    ("jot", "jotform"),
    ("old", "elementor"),
    ("web", "web\"\nverify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }\nname = \"Web"),
    ("code", "web\"\nverify = { scheme = \"standard-webhooks\" }\nname = \"Code"),
    ("hand", "webflow\"\nverify = { scheme = \"secret-path\" }\nname = \"Hand"),
];

fn build_config() -> ClientConfig {
    let rest =
        "line = \"main\"\nconsent = { stated = \"…\" }\nfirst_touch = { useful_for = \"1d\", text = { en = \"Hi\" } }";
    let form = |(name, kind): &(&str, &str)| format!("\n[forms.{name}]\nkind = \"{kind}\"\n{rest}\n");
    let forms: String = FORM_KINDS.iter().map(form).collect();
    ClientConfig::parse(&(CLIENT_TOML.to_owned() + &forms)).unwrap()
}

/// A request and its time of arrival.
#[derive(Clone)]
struct PostedRequest {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
    secrets: Vec<Secret>,
    now: Timestamp,
}

impl PostedRequest {
    fn with_header(mut self, name: &str, value: Option<&str>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        match value {
            Some(value) => self.headers.insert(name, HeaderValue::from_str(value).unwrap()),
            None => self.headers.remove(name),
        };
        self
    }

    fn verify(&self) -> Result<String, ReceiveError> {
        let client = build_config();
        match verify_request(&client, &self.method, &self.path, &self.headers, &self.body, &self.secrets, self.now)? {
            VerificationOutcome::Verified(delivery) => Ok(delivery.delivery_id),
            VerificationOutcome::Ping => Ok("ping".to_owned()),
        }
    }

    /// The status and the message of a refusal.
    fn expect_refusal(&self) -> (u16, String) {
        let refused = self.verify().expect_err("accepted");
        (refused.http_status(), refused.public_message())
    }
}

/// A recorded delivery as it arrives.
fn recorded_booking(path: &str, system: &str, case: &str, secret: &str, now: &str) -> PostedRequest {
    recorded_request("bookings", path, system, case, secret, now)
}

fn recorded_request(folder: &str, path: &str, system: &str, case: &str, secret: &str, now: &str) -> PostedRequest {
    let post = WebhookPost::from_sample(&format!("{folder}/{system}/{case}"), path);
    PostedRequest {
        method: Method::POST,
        path: post.path,
        headers: build_header_map(&post.headers),
        body: post.body,
        secrets: vec![Secret::new(secret)],
        now: now.parse().unwrap(),
    }
}

const NOON: &str = "2026-11-19T12:00:00Z";

fn calcom_request() -> PostedRequest {
    recorded_booking("/bookings/shop", "calcom", "booking_created", "test-calcom-secret-1", NOON)
}

fn calendly_request() -> PostedRequest {
    recorded_booking("/bookings/consult", "calendly", "invitee_created", "test-calendly-signing-key-1", NOON)
}

fn acuity_request() -> PostedRequest {
    recorded_booking("/bookings/studio", "acuity", "changed", "test-acuity-api-key-1", NOON)
}

fn square_request() -> PostedRequest {
    recorded_booking("/bookings/spa", "square", "booking_created", "test-square-signature-key-1", NOON)
}

fn google_calendar_request(case: &str) -> PostedRequest {
    recorded_booking("/bookings/google", "google_calendar", case, "test-channel-token-1", NOON)
}

/// The last segment of a secret address.
const PATH_SECRET: &str = "jWqXz0-secret_of_an_address_0123456789";

fn recorded_lead(path: &str, system: &str, case: &str, secret: &str) -> PostedRequest {
    let now = match system {
        "webflow" => "2026-11-19T09:00:00Z",
        "hubspot" => "2026-11-19T09:10:01Z",
        _ => NOON,
    };
    recorded_request("leads", path, system, case, secret, now)
}

fn typeform_request() -> PostedRequest {
    recorded_lead("/leads/shop", "typeform", "form_response", "test-typeform-secret-1")
}

fn google_ads_request() -> PostedRequest {
    recorded_lead("/leads/ads", "google_ads", "lead_as_documented", "test-google-key-1")
}

fn meta_request() -> PostedRequest {
    recorded_lead("/leads/page", "meta", "leadgen", "test-meta-app-secret-1")
}

fn webflow_request() -> PostedRequest {
    recorded_lead("/leads/site", "webflow", "form_submission", "test-webflow-secret-1")
}

fn tally_request() -> PostedRequest {
    recorded_lead("/leads/survey", "tally", "form_response", "test-tally-signing-secret-1")
}

fn hubspot_request() -> PostedRequest {
    recorded_lead("/leads/crm", "hubspot", "contact_creation", "test-hubspot-client-secret-1")
}

fn web_request(case: &str) -> PostedRequest {
    recorded_lead("/leads/web", "web", case, "test-static-header-token-1")
}

fn jotform_request() -> PostedRequest {
    recorded_lead(&format!("/leads/jot/{PATH_SECRET}"), "jotform", "submission", PATH_SECRET)
}

fn elementor_request(case: &str) -> PostedRequest {
    recorded_lead(&format!("/leads/old/{PATH_SECRET}"), "wordpress", case, PATH_SECRET)
}

/// One request of each form.
fn all_lead_requests() -> Vec<PostedRequest> {
    let web = ["lead_json", "lead_form"].map(web_request);
    let signed = [
        typeform_request(),
        google_ads_request(),
        meta_request(),
        webflow_request(),
        tally_request(),
        hubspot_request(),
    ];
    signed.into_iter().chain(web).chain([jotform_request(), elementor_request("elementor_advanced")]).collect()
}

#[test]
fn each_form_is_accepted_only_at_its_own_path() {
    for (posted, id) in [
        (typeform_request(), Some("01HF7Z3V9QK2M4N6P8R0S2T4V6")),
        (google_ads_request(), Some("TeSter-lead-0003-aBcD")),
        (meta_request(), None),
        (webflow_request(), Some("65a5d3c8f7e2b40012345678")),
        (tally_request(), Some("a4cb511e-d513-4fa5-baee-b815d718dfd1")),
        (hubspot_request(), None),
        (web_request("lead_json"), None),
        (web_request("lead_form"), None),
        (jotform_request(), None),
        (elementor_request("elementor_advanced"), None),
        (elementor_request("elementor_simple"), None),
    ] {
        let verified_id = posted.verify().unwrap();
        assert!(id.is_none_or(|id| id == verified_id), "{}: {verified_id}", posted.path);
        for (elsewhere, _) in FORM_KINDS {
            let elsewhere = format!("/leads/{elsewhere}");
            if posted.path != elsewhere {
                let (status, _) = PostedRequest { path: elsewhere.clone(), ..posted.clone() }.expect_refusal();
                assert!(matches!(status, 401 | 404 | 415 | 503), "{} at {elsewhere}: {status}", posted.path);
            }
        }
    }
}

#[test]
fn a_secret_address_works_only_for_the_form_that_uses_it() {
    let not_found = (404, "no sender is configured for this path".to_owned());
    for (posted, path) in [
        (jotform_request(), "/leads/jot".to_owned()),
        (jotform_request(), "/leads/jot/".to_owned()),
        (jotform_request(), format!("/leads/jot/{}", PATH_SECRET.to_lowercase())),
        (jotform_request(), format!("/leads/jot/{PATH_SECRET}/")),
        (jotform_request(), format!("/leads/jot//{PATH_SECRET}")),
        (jotform_request(), format!("/leads/jot/x/{PATH_SECRET}")),
        (jotform_request(), format!("/leads//{PATH_SECRET}")),
        (jotform_request(), format!("/leads/none/{PATH_SECRET}")),
        (jotform_request(), format!("/stores/jot/{PATH_SECRET}")),
        (typeform_request(), "/leads/shop/test-typeform-secret-1".to_owned()),
        (typeform_request(), "/leads/shop/".to_owned()),
        (web_request("lead_json"), "/leads/web/test-static-header-token-1".to_owned()),
        (webflow_request(), "/leads/hand".to_owned()),
    ] {
        assert_eq!(PostedRequest { path: path.clone(), ..posted }.expect_refusal(), not_found, "{path}");
    }
    // Only the log distinguishes the two cases.
    let wrong = PostedRequest { path: "/leads/jot/wrong".to_owned(), ..jotform_request() }.verify().unwrap_err();
    assert_eq!(wrong.to_string(), "the secret at the end of the address is not the stored secret");
    assert!(!wrong.needs_operator());
    // A sender that can sign is accepted at a secret address without a signature.
    let unsigned = recorded_lead(&format!("/leads/hand/{PATH_SECRET}"), "webflow", "form_submission", PATH_SECRET);
    assert!(unsigned.with_header("x-webflow-signature", None).verify().is_ok());
}

#[test]
fn each_form_accepts_the_content_types_of_its_sender() {
    let form = "application/x-www-form-urlencoded";
    let multipart = "multipart/form-data; boundary=x";
    let json = "application/json; charset=utf-8";
    for posted in all_lead_requests() {
        let path = posted.path.clone();
        let expected = match path.split('/').nth(2).unwrap() {
            "jot" => [false, true, true],
            "old" | "web" => [true; 3],
            _ => [true, false, false],
        };
        for (content_type, is_accepted) in [json, form, multipart].into_iter().zip(expected) {
            let result = posted.clone().with_header("content-type", Some(content_type)).verify();
            assert_eq!(result.is_ok(), is_accepted, "{path} {content_type}: {result:?}");
        }
        for odd in [None, Some(""), Some("text/plain"), Some("multipart/mixed"), Some("application/xml")] {
            assert_eq!(posted.clone().with_header("content-type", odd).expect_refusal().0, 415, "{path} {odd:?}");
        }
    }
    assert!(web_request("lead_json").with_header("content-type", Some("application/ld+json")).verify().is_ok());
    let message = jotform_request().with_header("content-type", Some(json)).expect_refusal().1;
    let forms = "a form (multipart/form-data or application/x-www-form-urlencoded)";
    assert_eq!(message, format!("unsupported content type; this sender must post {forms}"));
}

#[test]
fn an_unproven_form_delivery_is_refused_without_revealing_the_secret() {
    let unsigned = "the delivery is not signed; set a secret for this webhook at the sender";
    for (posted, message) in [
        (typeform_request().with_header("typeform-signature", None), unsigned),
        (tally_request().with_header("tally-signature", None), unsigned),
        (meta_request().with_header("x-hub-signature-256", None), "the header x-hub-signature-256 is missing"),
        (webflow_request().with_header("x-webflow-signature", None), "the header x-webflow-signature is missing"),
        (hubspot_request().with_header("x-hubspot-signature-v3", None), "the header x-hubspot-signature-v3 is missing"),
        (
            web_request("lead_json").with_header("x-webhook-token", None),
            "the header that carries the secret is missing",
        ),
        (
            PostedRequest { body: b"{}".to_vec(), ..google_ads_request() },
            "the body has no google_key; set a key in the webhook settings of the sender",
        ),
    ] {
        assert_eq!(posted.expect_refusal(), (401, message.to_owned()), "{}", posted.path);
    }
    for posted in [typeform_request(), meta_request(), webflow_request(), tally_request(), hubspot_request()] {
        let mut changed = posted;
        changed.body.push(b' ');
        assert_eq!(changed.expect_refusal(), (401, Refusal::ProofMismatch.to_string()), "{}", changed.path);
    }
    let wrong_key = recorded_lead("/leads/ads", "google_ads", "lead_wrong_key", "test-google-key-1");
    assert_eq!(wrong_key.expect_refusal(), (401, Refusal::ProofMismatch.to_string()));
    for (late, max_age_seconds) in [(webflow_request(), 3600), (hubspot_request(), 300)] {
        let late = PostedRequest { now: NOON.parse().unwrap(), ..late };
        assert!(
            late.expect_refusal().1.ends_with(&format!("s ago; more than {max_age_seconds} s is refused")),
            "{}",
            late.path
        );
    }
}

#[test]
fn both_secret_addresses_work_during_a_rotation() {
    let two = |first: &str, second: &str| vec![Secret::new(first), Secret::new(second)];
    for secrets in [two("newer", PATH_SECRET), two(PATH_SECRET, "older")] {
        assert!(PostedRequest { secrets, ..jotform_request() }.verify().is_ok());
    }
    assert_eq!(PostedRequest { secrets: two("newer", "older"), ..jotform_request() }.expect_refusal().0, 404);
    assert_eq!(PostedRequest { secrets: vec![Secret::new("")], ..jotform_request() }.expect_refusal().0, 503);
}

#[test]
fn only_meta_may_use_get_for_a_handshake() {
    let client = build_config();
    for (path, allowed) in [
        ("/leads/page", "GET, POST"),
        ("/leads/shop", "POST"),
        (&format!("/leads/jot/{PATH_SECRET}"), "POST"),
        ("/stores/shop", "POST"),
    ] {
        for method in [Method::GET, Method::PUT, Method::HEAD] {
            let refused = route_request(&client, &method, path).unwrap_err();
            assert_eq!((refused.http_status(), refused.allowed_methods()), (405, Some(allowed)), "{method} {path}");
            let response = build_response(Err(refused));
            assert_eq!(response.headers()[header::ALLOW], allowed);
        }
    }
    let message = route_request(&client, &Method::PUT, "/leads/page").unwrap_err().public_message();
    assert_eq!(message, "this path accepts only POST, or GET for the handshake");
    assert_eq!(ReceiveError::UnknownRoute.allowed_methods(), None);
}

#[test]
fn a_handshake_needs_three_parameters_and_its_challenge_is_returned_unchanged() {
    let parse = |query: &[(&'static str, &'static str)]| {
        MetaHandshake::from_query(|name| query.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
            .map(|handshake| (handshake.token, handshake.challenge))
    };
    let complete = &[("hub.mode", "subscribe"), ("hub.verify_token", "t"), ("hub.challenge", "0115")];
    assert_eq!(parse(complete).unwrap(), ("t", "0115"));
    for incomplete in [
        &[][..],
        &complete[1..],
        &complete[..2],
        &[complete[0], complete[2]],
        &[("hub.mode", "unsubscribe"), ("hub.verify_token", "t"), ("hub.challenge", "1")],
        &[("hub.mode", "subscribe"), ("hub.verify_token", ""), ("hub.challenge", "1")],
        &[("hub.mode", "subscribe"), ("hub.verify_token", "t"), ("hub.challenge", "")],
    ] {
        let refused = parse(incomplete).unwrap_err();
        assert_eq!((refused.http_status(), refused.allowed_methods()), (400, None), "{incomplete:?}");
    }
    assert_eq!(
        (ReceiveError::WrongVerifyToken.http_status(), ReceiveError::WrongVerifyToken.needs_operator()),
        (403, false)
    );
}

#[test]
fn each_sender_gets_its_own_kind_of_reply() {
    let client = build_config();
    let reply_to = |path| {
        let response =
            build_response(Ok(AcceptedReply::for_sender(route_request(&client, &Method::POST, path).unwrap())));
        let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
        (response.status().as_u16(), content_type, response.into_body())
    };
    let json = Some(HeaderValue::from_static("application/json"));
    assert_eq!(reply_to("/leads/ads"), (200, json.clone(), Body::Text("{}".to_owned())));
    for path in ["/leads/shop", "/leads/page", &format!("/leads/old/{PATH_SECRET}"), "/stores/shop", "/bookings/spa"] {
        assert_eq!(reply_to(path), (200, None, Body::Empty), "{path}");
    }
    let challenge_response = build_response(Ok(AcceptedReply::Challenge("<b>1158201444</b>".to_owned())));
    assert_eq!(challenge_response.headers()[header::CONTENT_TYPE], "text/plain");
    assert_eq!(challenge_response.into_body(), Body::Text("<b>1158201444</b>".to_owned()));
    let refused = build_response(Err(ReceiveError::Refused(Refusal::KeyMissing("google_key"))));
    assert_eq!((refused.status().as_u16(), refused.headers().get(header::CONTENT_TYPE).cloned()), (401, json));
}

#[test]
fn each_booking_system_is_accepted_only_at_its_own_path() {
    for (posted, id) in [
        (calcom_request(), None),
        (calendly_request(), None),
        (acuity_request(), None),
        (square_request(), Some("ac3ac95b-f97d-458c-a6e6-18981597e05f")),
        (google_calendar_request("push_exists"), Some("4ba78bf0-6a47-11e2-bcfd-0800200c9a66.10")),
        (google_calendar_request("push_sync"), Some("ping")),
    ] {
        let verified_id = posted.verify().unwrap();
        assert!(id.is_none_or(|id| id == verified_id), "{}: {verified_id}", posted.path);
        for elsewhere in ["shop", "consult", "studio", "spa", "google"].map(|name| format!("/bookings/{name}")) {
            if elsewhere != posted.path {
                let (status, _) = PostedRequest { path: elsewhere.clone(), ..posted.clone() }.expect_refusal();
                assert!(matches!(status, 401 | 415), "{} at {elsewhere}: {status}", posted.path);
            }
        }
    }
}

#[test]
fn only_configured_senders_that_post_have_a_route() {
    for path in [
        "/bookings/none",
        "/bookings/outlook", // a feed receives no posts
        "/bookings/",
        "/bookings",
        "/bookings/shop/",
        "/bookings//shop",
        "/bookings/Shop",
        "/Bookings/shop",
        "/bookings/%73hop",
        "/bookings/../stores/shop",
        "/stores/consult",
        "/leads/consult",
        "/leads/",
        "/leads",
        "/Leads/shop",
        "/leads/../stores/shop",
        "/shop",
        "/",
        "",
    ] {
        let refused = PostedRequest { path: path.to_owned(), ..calcom_request() }.expect_refusal();
        assert_eq!(refused, (404, "no sender is configured for this path".to_owned()), "{path}");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let refused = PostedRequest { method: method.clone(), ..calcom_request() }.expect_refusal();
        assert_eq!(refused, (405, "this path accepts only POST".to_owned()), "{method}");
        let unknown = PostedRequest { method, path: "/bookings/none".to_owned(), ..calcom_request() }.expect_refusal();
        assert_eq!(unknown.0, 404);
    }
}

#[test]
fn a_store_a_calendar_and_a_form_may_share_a_name() {
    let client = build_config();
    let kind = |path| route_request(&client, &Method::POST, path).unwrap().kind;
    assert_eq!(kind("/stores/shop"), SenderKind::Store);
    assert_eq!(kind("/bookings/shop"), SenderKind::Calendar);
    assert_eq!(kind("/leads/shop"), SenderKind::Form);
}

#[test]
fn a_line_event_gets_the_status_that_its_headers_require() {
    let client = build_config();
    let post_status = |path: &str, header_values: &[(&str, &str)], body: &[u8]| {
        let headers = build_header_map(header_values);
        let secrets = [Secret::new("a long and random value")];
        match verify_request(&client, &Method::POST, path, &headers, body, &secrets, Timestamp::UNIX_EPOCH) {
            Ok(_) => 200,
            Err(refused) => refused.http_status(),
        }
    };
    let complete =
        [("x-ezw-delivery-id", "dlv-1"), ("x-ezw-webhook-event", "messages.post"), ("x-ezw-line-id", "line_clinic")];
    let right = "/lines/main/a long and random value";
    for body in [&b"{}"[..], b"", b"not JSON", b"\xff"] {
        assert_eq!(post_status(right, &complete, body), 200);
    }
    for missing in 0..3 {
        let some: Vec<_> =
            complete.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, header)| *header).collect();
        assert_eq!(post_status(right, &some, b"{}"), 400, "without {}", complete[missing].0);
    }
    let other = [complete[0], complete[1], ("x-ezw-line-id", "line_other")];
    assert_eq!(post_status(right, &other, b"{}"), 403);
    // A guess, a missing secret, a line without events, and an unknown line.
    for path in
        ["/lines/main/a guess", "/lines/main", "/lines/main/", "/lines/shop/a long and random value", "/lines/x/y"]
    {
        assert_eq!(post_status(path, &complete, b"{}"), 404, "{path}");
        assert_eq!(post_status(path, &[], b"{}"), 404, "{path}");
    }
    assert_eq!(post_status(right, &complete, &vec![b'x'; MAX_BODY_BYTES + 1]), 413);
}

#[test]
fn a_body_of_another_type_is_refused_with_the_accepted_types() {
    let form = Some("application/x-www-form-urlencoded");
    let json = "unsupported content type; this sender must post JSON (application/json)";
    let cases = [
        (
            calcom_request().with_header("content-type", form),
            "unsupported content type; this sender must post JSON (application/json) without a custom template",
        ),
        (calendly_request().with_header("content-type", Some("text/json")), json),
        (calendly_request().with_header("content-type", None), json),
        (square_request().with_header("content-type", Some("")), json),
        (
            acuity_request().with_header("content-type", Some("application/json")),
            "unsupported content type; this sender must post a form (application/x-www-form-urlencoded)",
        ),
        (
            PostedRequest { body: b"{}".to_vec(), ..google_calendar_request("push_exists") },
            "unsupported content type; this sender must post a notification without a body",
        ),
        (
            PostedRequest { body: b" ".to_vec(), ..google_calendar_request("push_sync") },
            "unsupported content type; this sender must post a notification without a body",
        ),
    ];
    for (posted, message) in cases {
        assert_eq!(posted.expect_refusal(), (415, message.to_owned()), "{}", posted.path);
    }
    for same in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/cloudevents+json"] {
        assert!(calcom_request().with_header("content-type", Some(same)).verify().is_ok(), "{same}");
    }
    for any in [None, Some("application/json; utf-8"), Some("text/plain")] {
        assert!(
            google_calendar_request("push_exists").with_header("content-type", any).verify().is_ok(),
            "an empty body has no type: {any:?}"
        );
    }
    let mut odd = calcom_request();
    odd.headers.insert(header::CONTENT_TYPE, HeaderValue::from_bytes(b"application/json\xff").unwrap());
    assert_eq!(odd.expect_refusal().0, 415);
}

#[test]
fn a_body_over_the_limit_is_refused_before_verification() {
    let body = vec![b' '; MAX_BODY_BYTES + 1];
    for posted in [
        calcom_request(),
        calendly_request(),
        acuity_request(),
        square_request(),
        google_calendar_request("push_exists"),
    ] {
        let refused = PostedRequest { body: body.clone(), ..posted }.expect_refusal();
        assert_eq!(refused, (413, "body has 1048577 bytes; at most 1048576 are accepted".to_owned()));
    }
}

#[test]
fn a_forgery_is_refused_without_revealing_the_secret() {
    let cases = [
        (calcom_request(), "x-cal-signature-256", "00"),
        (calendly_request(), "calendly-webhook-signature", "t=1795083000,v1=00"),
        (acuity_request(), "x-acuity-signature", "d3Jvbmc="),
        (square_request(), "x-square-hmacsha256-signature", "d3Jvbmc="),
        (google_calendar_request("push_exists"), "x-goog-channel-token", "wrong"),
        (google_calendar_request("push_sync"), "x-goog-channel-token", "wrong"),
    ];
    for (posted, name, wrong) in cases {
        let (path, expected) = (posted.path.clone(), posted.headers[name].clone());
        let (status, message) = posted.with_header(name, Some(wrong)).expect_refusal();
        assert_eq!((status, message.as_str()), (401, Refusal::ProofMismatch.to_string().as_str()), "{path}");
        assert!(!message.contains(expected.to_str().unwrap()));
    }
    for (posted, name) in [
        (calcom_request(), "x-cal-signature-256"),
        (calendly_request(), "calendly-webhook-signature"),
        (acuity_request(), "x-acuity-signature"),
        (square_request(), "x-square-hmacsha256-signature"),
        (google_calendar_request("push_exists"), "x-goog-channel-token"),
    ] {
        assert_eq!(posted.with_header(name, None).expect_refusal(), (401, format!("the header {name} is missing")));
    }
    for posted in [calcom_request(), calendly_request(), acuity_request(), square_request()] {
        let mut changed = posted;
        changed.body.push(b' ');
        assert_eq!(changed.expect_refusal().0, 401, "{}", changed.path);
    }
}

#[test]
fn an_unsigned_webhook_is_refused_with_advice_to_set_a_secret() {
    let posted =
        recorded_booking("/bookings/shop", "calcom", "booking_created.no_secret", "test-calcom-secret-1", NOON);
    let message = "the delivery is not signed; set a secret for this webhook at the sender";
    assert_eq!(posted.expect_refusal(), (401, message.to_owned()));
}

#[test]
fn a_delivery_that_is_too_old_is_refused_with_its_age() {
    let late = PostedRequest { now: "2026-11-20T12:00:00Z".parse().unwrap(), ..calendly_request() };
    assert_eq!(
        late.expect_refusal(),
        (401, "the delivery was signed 93000 s ago; more than 90000 s is refused".to_owned())
    );
}

#[test]
fn both_secrets_work_during_a_rotation() {
    let two = |first: &str, second: &str| vec![Secret::new(first), Secret::new(second)];
    assert!(PostedRequest { secrets: two("newer", "test-calcom-secret-1"), ..calcom_request() }.verify().is_ok());
    assert!(
        PostedRequest { secrets: two("test-channel-token-1", "older"), ..google_calendar_request("push_exists") }
            .verify()
            .is_ok()
    );
    assert_eq!(PostedRequest { secrets: two("newer", "older"), ..calcom_request() }.expect_refusal().0, 401);
}

#[test]
fn an_internal_fault_is_not_explained_and_may_be_retried() {
    let again = (503, "temporarily unavailable; please retry".to_owned());
    assert_eq!(PostedRequest { secrets: Vec::new(), ..calcom_request() }.expect_refusal(), again);
    assert_eq!(PostedRequest { secrets: vec![Secret::new("")], ..calendly_request() }.expect_refusal(), again);
    let missing = ReceiveError::from(SecretError::Missing {
        location: SecretLayout::Separate.locate("tellonce/clinic/webhooks/shop"),
        remembered: false,
    });
    assert_eq!((missing.http_status(), missing.public_message()), again);
    assert!(missing.needs_operator());
    // A body that is too large stays too large, so a retry does not help.
    let huge = ReceiveError::from(InboxError::TooLarge(400_000));
    assert_eq!((huge.http_status(), huge.public_message()), (413, "the body is too large".to_owned()));
}
