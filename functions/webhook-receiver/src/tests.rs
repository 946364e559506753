//! What is answered, without effects: recorded deliveries and what may be wrong with them.

use std::{fs, path::PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use lambda_http::Body;
use shared::{
    client_config::{ClientConfig, FormKind},
    delivery::{Checked, Refusal},
    inbox::{InboxError, MAX_BODY_BYTES},
    secret::{Secret, SecretError},
};

use super::{Answer, NotAccepted, SenderKind, answer::response, handshake::Handshake, judge, route};

/// A client with the calendars and forms that prove themselves in their own ways, under the secrets of the recorded deliveries. A
/// store and a form have a calendar's name.
const CLIENT: &str = r#"
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

/// Its forms. Those that sign nothing have a secret address or a secret header.
const FORMS: &[(&str, &str)] = &[
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

fn client() -> ClientConfig {
    let rest =
        "line = \"main\"\nconsent = { stated = \"…\" }\nfirst_touch = { useful_for = \"1d\", text = { en = \"Hi\" } }";
    let form = |(name, kind): &(&str, &str)| format!("\n[forms.{name}]\nkind = \"{kind}\"\n{rest}\n");
    let forms: String = FORMS.iter().map(form).collect();
    ClientConfig::parse(&(CLIENT.to_owned() + &forms)).unwrap()
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
    of_folder("bookings", path, system, case, secret, now)
}

fn of_folder(folder: &str, path: &str, system: &str, case: &str, secret: &str, now: &str) -> Posted {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../events").join(folder).join(system);
    let text = fs::read_to_string(folder.join(format!("{case}.headers.txt"))).unwrap();
    let pair =
        |(name, value): (&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    let body =
        ["json", "form", "multipart"].iter().find_map(|kind| fs::read(folder.join(format!("{case}.{kind}"))).ok());
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

/// What stands at the end of a secret address.
const IN_PATH: &str = "jWqXz0-secret_of_an_address_0123456789";

fn lead(path: &str, system: &str, case: &str, secret: &str) -> Posted {
    let now = match system {
        "webflow" => "2026-11-19T09:00:00Z",
        "hubspot" => "2026-11-19T09:10:01Z",
        _ => NOON,
    };
    of_folder("leads", path, system, case, secret, now)
}

fn typeform() -> Posted {
    lead("/leads/shop", "typeform", "form_response", "test-typeform-secret-1")
}

fn ads() -> Posted {
    lead("/leads/ads", "google_ads", "lead_as_documented", "test-google-key-1")
}

fn page() -> Posted {
    lead("/leads/page", "meta", "leadgen", "test-meta-app-secret-1")
}

fn webflow() -> Posted {
    lead("/leads/site", "webflow", "form_submission", "test-webflow-secret-1")
}

fn tally() -> Posted {
    lead("/leads/survey", "tally", "form_response", "test-tally-signing-secret-1")
}

fn hubspot() -> Posted {
    lead("/leads/crm", "hubspot", "contact_creation", "test-hubspot-client-secret-1")
}

fn web(case: &str) -> Posted {
    lead("/leads/web", "web", case, "test-static-header-token-1")
}

fn jotform() -> Posted {
    lead(&format!("/leads/jot/{IN_PATH}"), "jotform", "submission", IN_PATH)
}

fn elementor(case: &str) -> Posted {
    lead(&format!("/leads/old/{IN_PATH}"), "wordpress", case, IN_PATH)
}

/// One of each form.
fn leads() -> Vec<Posted> {
    let web = ["lead_json", "lead_form"].map(web);
    let signed = [typeform(), ads(), page(), webflow(), tally(), hubspot()];
    signed.into_iter().chain(web).chain([jotform(), elementor("elementor_advanced")]).collect()
}

#[test]
fn each_form_is_believed_at_its_own_path() {
    for (posted, id) in [
        (typeform(), Some("01HF7Z3V9QK2M4N6P8R0S2T4V6")),
        (ads(), Some("TeSter-lead-0003-aBcD")),
        (page(), None),
        (webflow(), Some("65a5d3c8f7e2b40012345678")),
        (tally(), Some("a4cb511e-d513-4fa5-baee-b815d718dfd1")),
        (hubspot(), None),
        (web("lead_json"), None),
        (web("lead_form"), None),
        (jotform(), None),
        (elementor("elementor_advanced"), None),
        (elementor("elementor_simple"), None),
    ] {
        let judged = posted.judged().unwrap();
        assert!(id.is_none_or(|id| id == judged), "{}: {judged}", posted.path);
        for (elsewhere, _) in FORMS {
            let elsewhere = format!("/leads/{elsewhere}");
            if posted.path != elsewhere {
                let (status, _) = Posted { path: elsewhere.clone(), ..posted.clone() }.answer();
                assert!(matches!(status, 401 | 404 | 415 | 503), "{} at {elsewhere}: {status}", posted.path);
            }
        }
    }
}

#[test]
fn a_secret_address_is_one_of_a_form_that_has_it_and_of_no_other() {
    let nothing = (404, "nothing is configured for this path".to_owned());
    for (posted, path) in [
        (jotform(), "/leads/jot".to_owned()),
        (jotform(), "/leads/jot/".to_owned()),
        (jotform(), format!("/leads/jot/{}", IN_PATH.to_lowercase())),
        (jotform(), format!("/leads/jot/{IN_PATH}/")),
        (jotform(), format!("/leads/jot//{IN_PATH}")),
        (jotform(), format!("/leads/jot/x/{IN_PATH}")),
        (jotform(), format!("/leads//{IN_PATH}")),
        (jotform(), format!("/leads/none/{IN_PATH}")),
        (jotform(), format!("/stores/jot/{IN_PATH}")),
        (typeform(), "/leads/shop/test-typeform-secret-1".to_owned()),
        (typeform(), "/leads/shop/".to_owned()),
        (web("lead_json"), "/leads/web/test-static-header-token-1".to_owned()),
        (webflow(), "/leads/hand".to_owned()),
    ] {
        assert_eq!(Posted { path: path.clone(), ..posted }.answer(), nothing, "{path}");
    }
    // Only the log says which of the two it was.
    let wrong = Posted { path: "/leads/jot/wrong".to_owned(), ..jotform() }.judged().unwrap_err();
    assert_eq!(wrong.to_string(), "the secret at the end of the address is not the one stored for it");
    assert!(!wrong.needs_operator());
    // One that could sign is taken at a secret address as it comes.
    let unsigned = lead(&format!("/leads/hand/{IN_PATH}"), "webflow", "form_submission", IN_PATH);
    assert!(unsigned.with("x-webflow-signature", None).judged().is_ok());
}

#[test]
fn each_form_posts_what_its_sender_can() {
    let form = "application/x-www-form-urlencoded";
    let multipart = "multipart/form-data; boundary=x";
    let json = "application/json; charset=utf-8";
    for posted in leads() {
        let path = posted.path.clone();
        let taken = match path.split('/').nth(2).unwrap() {
            "jot" => [false, true, true],
            "old" | "web" => [true; 3],
            _ => [true, false, false],
        };
        for (content_type, taken) in [json, form, multipart].into_iter().zip(taken) {
            let judged = posted.clone().with("content-type", Some(content_type)).judged();
            assert_eq!(judged.is_ok(), taken, "{path} {content_type}: {judged:?}");
        }
        for odd in [None, Some(""), Some("text/plain"), Some("multipart/mixed"), Some("application/xml")] {
            assert_eq!(posted.clone().with("content-type", odd).answer().0, 415, "{path} {odd:?}");
        }
    }
    assert!(web("lead_json").with("content-type", Some("application/ld+json")).judged().is_ok());
    let told = jotform().with("content-type", Some(json)).answer().1;
    let forms = "a form (multipart/form-data or application/x-www-form-urlencoded)";
    assert_eq!(told, format!("from this sender only {forms} is taken"));
}

#[test]
fn what_a_form_cannot_prove_is_refused_and_nothing_of_the_secret_is_said() {
    let unsigned = "it is not signed; set a secret for this webhook where it is sent from";
    for (posted, message) in [
        (typeform().with("typeform-signature", None), unsigned),
        (tally().with("tally-signature", None), unsigned),
        (page().with("x-hub-signature-256", None), "the header x-hub-signature-256 is missing"),
        (webflow().with("x-webflow-signature", None), "the header x-webflow-signature is missing"),
        (hubspot().with("x-hubspot-signature-v3", None), "the header x-hubspot-signature-v3 is missing"),
        (web("lead_json").with("x-webhook-token", None), "the header that carries the secret is missing"),
        (Posted { body: b"{}".to_vec(), ..ads() }, "the body has no google_key; set one where the webhook is set up"),
    ] {
        assert_eq!(posted.answer(), (401, message.to_owned()), "{}", posted.path);
    }
    for posted in [typeform(), page(), webflow(), tally(), hubspot()] {
        let mut changed = posted;
        changed.body.push(b' ');
        assert_eq!(changed.answer(), (401, Refusal::Mismatch.to_string()), "{}", changed.path);
    }
    let wrong_key = lead("/leads/ads", "google_ads", "lead_wrong_key", "test-google-key-1");
    assert_eq!(wrong_key.answer(), (401, Refusal::Mismatch.to_string()));
    for (late, most) in [(webflow(), 3600), (hubspot(), 300)] {
        let late = Posted { now: NOON.parse().unwrap(), ..late };
        assert!(late.answer().1.ends_with(&format!("s ago; more than {most} s is refused")), "{}", late.path);
    }
}

#[test]
fn either_secret_address_counts_while_one_replaces_the_other() {
    let two = |first: &str, second: &str| vec![Secret::new(first), Secret::new(second)];
    for secrets in [two("newer", IN_PATH), two(IN_PATH, "older")] {
        assert!(Posted { secrets, ..jotform() }.judged().is_ok());
    }
    assert_eq!(Posted { secrets: two("newer", "older"), ..jotform() }.answer().0, 404);
    assert_eq!(Posted { secrets: vec![Secret::new("")], ..jotform() }.answer().0, 503);
}

#[test]
fn only_meta_asks_before_it_posts() {
    let client = client();
    for (path, allowed) in [
        ("/leads/page", "GET, POST"),
        ("/leads/shop", "POST"),
        (&format!("/leads/jot/{IN_PATH}"), "POST"),
        ("/stores/shop", "POST"),
    ] {
        for method in [Method::GET, Method::PUT, Method::HEAD] {
            let refused = route(&client, &method, path).unwrap_err();
            assert_eq!((refused.status(), refused.allowed()), (405, Some(allowed)), "{method} {path}");
            let response = response(Err(refused));
            assert_eq!(response.headers()[header::ALLOW], allowed);
        }
    }
    let told = route(&client, &Method::PUT, "/leads/page").unwrap_err().message();
    assert_eq!(told, "only POST, or GET for the handshake, is taken here");
    assert_eq!(NotAccepted::UnknownRoute.allowed(), None);
}

#[test]
fn a_handshake_has_three_parts_and_is_repeated_as_it_is() {
    let read = |query: &[(&'static str, &'static str)]| {
        Handshake::read(|name| query.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
            .map(|handshake| (handshake.token, handshake.challenge))
    };
    let whole = &[("hub.mode", "subscribe"), ("hub.verify_token", "t"), ("hub.challenge", "0115")];
    assert_eq!(read(whole).unwrap(), ("t", "0115"));
    for torn in [
        &[][..],
        &whole[1..],
        &whole[..2],
        &[whole[0], whole[2]],
        &[("hub.mode", "unsubscribe"), ("hub.verify_token", "t"), ("hub.challenge", "1")],
        &[("hub.mode", "subscribe"), ("hub.verify_token", ""), ("hub.challenge", "1")],
        &[("hub.mode", "subscribe"), ("hub.verify_token", "t"), ("hub.challenge", "")],
    ] {
        let refused = read(torn).unwrap_err();
        assert_eq!((refused.status(), refused.allowed()), (400, None), "{torn:?}");
    }
    assert_eq!((NotAccepted::WrongToken.status(), NotAccepted::WrongToken.needs_operator()), (403, false));
}

#[test]
fn each_sender_is_answered_in_its_own_manner() {
    let client = client();
    let said = |path| {
        let response = response(Ok(Answer::to(route(&client, &Method::POST, path).unwrap().kind)));
        let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
        (response.status().as_u16(), content_type, response.into_body())
    };
    let json = Some(HeaderValue::from_static("application/json"));
    assert_eq!(said("/leads/ads"), (200, json.clone(), Body::Text("{}".to_owned())));
    for path in ["/leads/shop", "/leads/page", &format!("/leads/old/{IN_PATH}"), "/stores/shop", "/bookings/spa"] {
        assert_eq!(said(path), (200, None, Body::Empty), "{path}");
    }
    let repeated = response(Ok(Answer::Challenge("<b>1158201444</b>".to_owned())));
    assert_eq!(repeated.headers()[header::CONTENT_TYPE], "text/plain");
    assert_eq!(repeated.into_body(), Body::Text("<b>1158201444</b>".to_owned()));
    let refused = response(Err(NotAccepted::NotBelieved(Refusal::KeyMissing("google_key"))));
    assert_eq!((refused.status().as_u16(), refused.headers().get(header::CONTENT_TYPE).cloned()), (401, json));
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
        "/leads/consult",
        "/leads/",
        "/leads",
        "/Leads/shop",
        "/leads/../stores/shop",
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
fn a_store_a_calendar_and_a_form_of_one_name_are_three_senders() {
    let client = client();
    let kind = |path| route(&client, &Method::POST, path).unwrap().kind;
    assert_eq!(kind("/stores/shop"), SenderKind::Store);
    assert_eq!(kind("/bookings/shop"), SenderKind::Calendar);
    assert_eq!(kind("/leads/shop"), SenderKind::Form(FormKind::Typeform));
}

#[test]
fn a_line_s_event_gets_the_answer_that_its_headers_call_for() {
    let client = client();
    let posted = |path: &str, given: &[(&'static str, &str)], body: &[u8]| {
        let headers: HeaderMap = given
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let secrets = [Secret::new("a long and random value")];
        match judge(&client, &Method::POST, path, &headers, body, &secrets, Timestamp::UNIX_EPOCH) {
            Ok(_) => 200,
            Err(refused) => refused.status(),
        }
    };
    let whole =
        [("x-ezw-delivery-id", "dlv-1"), ("x-ezw-webhook-event", "messages.post"), ("x-ezw-line-id", "line_clinic")];
    let right = "/lines/main/a long and random value";
    for body in [&b"{}"[..], b"", b"not JSON", b"\xff"] {
        assert_eq!(posted(right, &whole, body), 200);
    }
    for missing in 0..3 {
        let some: Vec<_> =
            whole.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, header)| *header).collect();
        assert_eq!(posted(right, &some, b"{}"), 400, "without {}", whole[missing].0);
    }
    let other = [whole[0], whole[1], ("x-ezw-line-id", "line_other")];
    assert_eq!(posted(right, &other, b"{}"), 403);
    // A guess, no secret, a line that takes no events, and one that there is not.
    for path in
        ["/lines/main/a guess", "/lines/main", "/lines/main/", "/lines/shop/a long and random value", "/lines/x/y"]
    {
        assert_eq!(posted(path, &whole, b"{}"), 404, "{path}");
        assert_eq!(posted(path, &[], b"{}"), 404, "{path}");
    }
    assert_eq!(posted(right, &whole, &vec![b'x'; MAX_BODY_BYTES + 1]), 413);
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
