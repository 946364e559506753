//! The endpoint for bookings: each delivery of a calendar gets the right status and is stored once
//! or not at all.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_core::inbox::MAX_BODY_BYTES;
use tellonce_samples::{SenderProof, WebhookPost, read_sample};

use crate::world::{
    ACUITY_KEY, CALCOM_SECRET, CALENDLY_SECRET, CRM_SECRET, GOOGLE_CHANNEL_TOKEN, SQUARE_SECRET, World, WorldSetup,
};

const SQUARE_URL: &str = "https://story.example/bookings/salon";

const JSON: &str = "application/json";

/// The body of a recorded delivery.
pub(crate) fn recorded_body(file: &str) -> Vec<u8> {
    read_sample(&format!("bookings/{file}"))
}

/// A delivery of Cal.com.
pub(crate) fn calcom_post(body: Vec<u8>) -> WebhookPost {
    WebhookPost::new("/bookings/clinic", JSON, body).sign(SenderProof::CalCom, CALCOM_SECRET).unwrap()
}

/// A delivery of Calendly, signed now.
pub(crate) fn calendly_post(world: &World, body: Vec<u8>) -> WebhookPost {
    let proof = SenderProof::Calendly { at: world.now() };
    WebhookPost::new("/bookings/intro", JSON, body).sign(proof, CALENDLY_SECRET).unwrap()
}

/// A delivery of Acuity.
pub(crate) fn acuity_post(body: Vec<u8>) -> WebhookPost {
    let post = WebhookPost::new("/bookings/studio", "application/x-www-form-urlencoded", body);
    post.sign(SenderProof::Acuity, ACUITY_KEY).unwrap()
}

/// A delivery of Square, signed for the registered address.
pub(crate) fn square_post(body: Vec<u8>) -> WebhookPost {
    let proof = SenderProof::Square { notification_url: SQUARE_URL };
    WebhookPost::new("/bookings/salon", JSON, body).sign(proof, SQUARE_SECRET).unwrap()
}

/// A notification of Google Calendar.
pub(crate) fn google_push(state: &str, number: u32) -> WebhookPost {
    WebhookPost { path: "/bookings/diary".into(), headers: Vec::new(), body: Vec::new() }
        .with_header("X-Goog-Channel-ID", Some("4ba78bf0"))
        .with_header("X-Goog-Resource-State", Some(state))
        .with_header("X-Goog-Message-Number", Some(&number.to_string()))
        .sign(SenderProof::GoogleChannel, GOOGLE_CHANNEL_TOKEN)
        .unwrap()
}

/// A delivery of the CRM.
pub(crate) fn crm_post(world: &World, id: &str) -> WebhookPost {
    let start = world.now() + SignedDuration::from_hours(72);
    let body = json!({
        "id": "a-1", "start": start.to_string(), "zone": "Asia/Jerusalem", "phone": "+972545550199",
        "name": "Noa Levi", "status": "booked", "at": world.now().to_string(),
    });
    world.standard_webhooks_post("/bookings/crm", CRM_SECRET, id, &body)
}

fn calcom_created() -> WebhookPost {
    calcom_post(recorded_body("calcom/booking_created.json"))
}

fn acuity_changed() -> WebhookPost {
    acuity_post(recorded_body("acuity/changed.form"))
}

fn square_booked() -> WebhookPost {
    square_post(recorded_body("square/booking_created.json"))
}

fn calendly_invited(world: &World) -> WebhookPost {
    calendly_post(world, recorded_body("calendly/invitee_created.json"))
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn unverifiable_bookings_are_refused_and_not_filed() {
    let world = World::start().await;
    let stale = calendly_invited(&world);
    world.advance_time(SignedDuration::from_hours(25) + SignedDuration::from_secs(5));
    let tampered = |mut post: WebhookPost| {
        post.body.push(b' ');
        post
    };
    let elsewhere = |path: &str, post: WebhookPost| WebhookPost { path: path.to_owned(), ..post };
    let unsigned = WebhookPost { body: recorded_body("calcom/booking_created.no_secret.json"), ..calcom_created() };
    let form = "application/x-www-form-urlencoded";
    let huge = "0".repeat(8_000);
    let many_signatures = format!("t={}{}", world.now().as_second(), ",v1=00".repeat(1_000));
    let cases: Vec<(&str, WebhookPost, u16, &str)> = vec![
        ("a changed booking", tampered(calcom_created()), 401, "the signature does not match"),
        ("a changed invitation", tampered(calendly_invited(&world)), 401, "the signature does not match"),
        ("a changed appointment", tampered(acuity_changed()), 401, "the signature does not match"),
        ("a changed booking of Square's", tampered(square_booked()), 401, "the signature does not match"),
        ("a changed delivery of the CRM's", tampered(crm_post(&world, "m-1")), 401, "the signature does not match"),
        (
            "another channel",
            google_push("exists", 2).with_header("X-Goog-Channel-Token", Some("other")),
            401,
            "the signature does not match",
        ),
        (
            "a handshake of another channel",
            google_push("sync", 1).with_header("X-Goog-Channel-Token", Some("other")),
            401,
            "the signature does not match",
        ),
        (
            "a webhook without a secret",
            unsigned.with_header("X-Cal-Signature-256", Some("no-secret-provided")),
            401,
            "the delivery is not signed; set a secret for this webhook at the sender",
        ),
        (
            "no signature",
            calcom_created().with_header("X-Cal-Signature-256", None),
            401,
            "x-cal-signature-256 is missing",
        ),
        (
            "no token",
            google_push("exists", 2).with_header("X-Goog-Channel-Token", None),
            401,
            "x-goog-channel-token is missing",
        ),
        (
            "an empty signature",
            acuity_changed().with_header("X-Acuity-Signature", Some("")),
            401,
            "x-acuity-signature is malformed",
        ),
        (
            "half a signature",
            calcom_created().with_header("X-Cal-Signature-256", Some("0f")),
            401,
            "the signature does not match",
        ),
        ("odd bytes", calcom_created().with_header("X-Cal-Signature-256", Some("\u{e9}\u{5d0}")), 401, "is malformed"),
        (
            "a huge signature",
            calcom_created().with_header("X-Cal-Signature-256", Some(&huge)),
            401,
            "the signature does not match",
        ),
        (
            "many signatures",
            calendly_invited(&world).with_header("Calendly-Webhook-Signature", Some(&many_signatures)),
            401,
            "the signature does not match",
        ),
        ("a signature of yesterday's", stale, 401, "s ago; more than 90000 s is refused"),
        (
            "no time of signature",
            calendly_invited(&world).with_header("Calendly-Webhook-Signature", Some("v1=00")),
            401,
            "calendly-webhook-signature is malformed",
        ),
        ("no message number", google_push("exists", 2).with_header("X-Goog-Message-Number", None), 401, "is missing"),
        ("an unknown calendar", elsewhere("/bookings/none", calcom_created()), 404, "no sender is configured"),
        ("a store's name", elsewhere("/bookings/shop", calcom_created()), 404, "no sender is configured"),
        (
            "a calendar's name among stores",
            elsewhere("/stores/clinic", calcom_created()),
            404,
            "no sender is configured",
        ),
        (
            "a form body of a sender of JSON",
            calcom_created().with_header("Content-Type", Some(form)),
            415,
            "without a custom template",
        ),
        (
            "JSON of a sender of forms",
            acuity_changed().with_header("Content-Type", Some("application/json")),
            415,
            "must post a form",
        ),
        ("no type", square_booked().with_header("Content-Type", None), 415, "must post JSON"),
        ("a push with a body", WebhookPost { body: b"{}".to_vec(), ..google_push("exists", 2) }, 415, "without a body"),
        (
            "a body over the limit",
            WebhookPost { body: vec![b' '; MAX_BODY_BYTES + 1], ..calcom_created() },
            413,
            "at most 1048576",
        ),
    ];
    for (case, post, status, expected_message) in cases {
        let (actual_status, text) = world.post_for_response(post).await;
        assert_eq!(actual_status, status, "{case}: {text}");
        let message = serde_json::from_str::<Value>(&text).unwrap()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected_message), "{case}: {message}");
    }
    assert_eq!(world.table_items("BookingInbox"), Vec::<Value>::new());
    assert_eq!(world.table_items("StoreInbox"), Vec::<Value>::new());
    let receiver = world.stack.invocation_counts("webhook-receiver");
    assert_eq!(receiver.failed, 0, "{receiver:?}");
    // Valid deliveries are accepted, so each case above fails for its own reason.
    for post in [
        calcom_created(),
        calendly_invited(&world),
        acuity_changed(),
        square_booked(),
        crm_post(&world, "m-1"),
        google_push("exists", 2),
    ] {
        let path = post.path.clone();
        assert_eq!(world.post_for_response(post).await, (200, String::new()), "{path}");
    }
    assert_eq!(world.table_items("BookingInbox").len(), 6);
}

#[tokio::test]
async fn verified_bookings_are_filed_once_under_their_calendar() {
    let world = World::start().await;
    let posts = [
        calcom_created(),
        calendly_invited(&world),
        square_booked(),
        crm_post(&world, "m-1"),
        google_push("exists", 10),
    ];
    for _ in 0..3 {
        for post in &posts {
            assert_eq!(world.post(post.clone()).await, 200, "{}", post.path);
        }
    }
    let items = world.table_items("BookingInbox");
    let ids: BTreeSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(items.len(), posts.len(), "{ids:?}");
    for known in ["salon#ac3ac95b-f97d-458c-a6e6-18981597e05f", "crm#m-1", "diary#4ba78bf0.10"] {
        assert!(ids.contains(known), "{known}: {ids:?}");
    }
    let senders: BTreeSet<&str> = items.iter().map(|item| item["sender"].as_str().unwrap()).collect();
    assert_eq!(senders, BTreeSet::from(["clinic", "intro", "salon", "crm", "diary"]));
    let push = items.iter().find(|item| item["sender"] == "diary").unwrap();
    assert_eq!(push["headers"], json!({ "x-goog-resource-state": "exists" }));
    assert_eq!(world.table_items("StoreInbox"), Vec::<Value>::new());
}

#[tokio::test]
async fn repeats_are_filed_as_one_delivery_and_those_of_acuity_as_several() {
    let world = World::start().await;
    let statuses = futures::future::join_all((0..40).map(|_| world.post(calcom_created()))).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(world.table_items("BookingInbox").len(), 1);
    // Acuity's deliveries about two changes have the same bytes.
    for _ in 0..3 {
        assert_eq!(world.post(acuity_changed()).await, 200);
        world.advance_time(SignedDuration::from_millis(1));
    }
    assert_eq!(world.table_items("BookingInbox").iter().filter(|item| item["sender"] == "studio").count(), 3);
}

#[tokio::test]
async fn the_handshake_of_a_channel_is_answered_and_not_filed() {
    let world = World::start().await;
    assert_eq!(world.post_for_response(google_push("sync", 1)).await, (200, String::new()));
    assert_eq!(world.table_items("BookingInbox"), Vec::<Value>::new());
    for number in [2, 5, 5] {
        assert_eq!(world.post(google_push("exists", number)).await, 200);
    }
    assert_eq!(world.table_items("BookingInbox").len(), 2, "message numbers rise with gaps");
}

#[tokio::test]
async fn a_sender_is_asked_to_retry_while_its_calendar_has_no_secret() {
    let world = World::start().await;
    let secret = "tellonce/story/webhooks/clinic";
    world.stack.secrets().remove(secret);
    let (status, text) = world.post_for_response(calcom_created()).await;
    assert_eq!(status, 503);
    assert_eq!(text, r#"{"message":"temporarily unavailable; please retry"}"#);
    assert_eq!(world.post(calendly_invited(&world)).await, 200, "other calendars are not affected");
    assert_eq!(world.table_items("BookingInbox").len(), 1);
    let logged = world.stack.log_lines("webhook-receiver");
    let names_the_calendar = |line: &str| line.contains("\"level\":\"ERROR\"") && line.contains("clinic");
    assert!(logged.iter().any(|line| names_the_calendar(&line.text)), "the log names the calendar");
    world.stack.secrets().rotate(secret, CALCOM_SECRET);
    world.advance_time(SignedDuration::from_secs(31));
    assert_eq!(world.post(calcom_created()).await, 200, "a new secret is used within half a minute");
}

#[tokio::test]
async fn old_and_new_calendar_secrets_are_both_valid_during_rotation() {
    let world = World::start().await;
    assert_eq!(world.post(google_push("exists", 1)).await, 200);
    world.stack.secrets().rotate("tellonce/story/webhooks/diary", "another-token");
    world.advance_time(SignedDuration::from_mins(1));
    let new = google_push("exists", 2).with_header("X-Goog-Channel-Token", Some("another-token"));
    assert_eq!(world.post(new).await, 200);
    assert_eq!(world.post(google_push("exists", 3)).await, 200);
    world.advance_time(SignedDuration::from_hours(25));
    assert_eq!(world.post(google_push("exists", 4)).await, 401);
}

#[tokio::test]
async fn logs_and_outcomes_hold_no_booking_data() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = World::start_with(WorldSetup { env, ..Default::default() }).await;
    let mut forged = calcom_created();
    forged.body.push(b' ');
    let unsigned = calcom_created().with_header("X-Cal-Signature-256", Some("no-secret-provided"));
    let other = google_push("exists", 3).with_header("X-Goog-Channel-Token", Some("token-of-a-stranger"));
    for (post, status) in [
        (calcom_created(), 200),
        (calcom_created(), 200),
        (calendly_invited(&world), 200),
        (acuity_changed(), 200),
        (square_booked(), 200),
        (crm_post(&world, "m-1"), 200),
        (google_push("sync", 1), 200),
        (google_push("exists", 2), 200),
        (forged, 401),
        (unsigned, 401),
        (other, 401),
        (WebhookPost { path: "/bookings/token-of-a-stranger".into(), ..calcom_created() }, 404),
        (calcom_created().with_header("Content-Type", Some("text/plain")), 415),
    ] {
        assert_eq!(world.post(post).await, status);
    }
    world.settle().await;
    let functions = ["webhook-receiver", "reminder-scheduler"];
    let lines: Vec<String> =
        functions.iter().flat_map(|name| world.stack.log_lines(name)).map(|line| line.text).collect();
    assert!(lines.iter().filter(|line| line.contains("accepted")).count() >= 8, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("refused a delivery") && line.contains("clinic")), "{lines:?}");
    let private = [
        "545550199",
        "54-555-0199",
        "525550101",
        "52-555-0101",
        "Noa",
        "Levi",
        "Yael",
        "Mizrahi",
        "example.com",
        "stranger",
        CALCOM_SECRET,
        CALENDLY_SECRET,
        ACUITY_KEY,
        SQUARE_SECRET,
        CRM_SECRET,
        GOOGLE_CHANNEL_TOKEN,
    ];
    let outcomes = world
        .table_items("BookingInbox")
        .into_iter()
        .filter_map(|item| item["outcome_text"].as_str().map(str::to_owned));
    for line in lines.iter().cloned().chain(outcomes) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
