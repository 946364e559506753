//! The door for bookings: whatever calendars post is answered rightly, and in the inbox once or not at all.

use std::{collections::BTreeSet, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::SignedDuration;
use ring::hmac;
use serde_json::{Value, json};
use shared::{digest::hex, inbox::MAX_BODY_BYTES};

use crate::world::{
    ACUITY_KEY, CALCOM_SECRET, CALENDLY_SECRET, CHANNEL_TOKEN, CRM_SECRET, Post, SQUARE_SECRET, Setup, World,
};

const SQUARE_URL: &str = "https://story.example/bookings/salon";

/// The body of a recorded delivery.
pub(crate) fn recorded(file: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events/bookings");
    fs::read(folder.join(file)).unwrap()
}

fn mac(key: &str, content: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), content).as_ref().to_vec()
}

fn posted(path: &str, content_type: &str, header: (&str, String), body: Vec<u8>) -> Post {
    let content_type = ("Content-Type".to_owned(), content_type.to_owned());
    Post { path: path.into(), headers: vec![content_type, (header.0.to_owned(), header.1)], body }
}

/// A delivery of Cal.com.
pub(crate) fn calcom(body: Vec<u8>) -> Post {
    let signature = hex(&mac(CALCOM_SECRET, &body));
    posted("/bookings/clinic", "application/json", ("X-Cal-Signature-256", signature), body)
}

/// A delivery of Calendly, signed now.
pub(crate) fn calendly(world: &World, body: Vec<u8>) -> Post {
    let stamp = world.now().as_second();
    let v1 = hex(&mac(CALENDLY_SECRET, &[format!("{stamp}.").as_bytes(), &body].concat()));
    let signature = format!("t={stamp},v1={v1}");
    posted("/bookings/intro", "application/json", ("Calendly-Webhook-Signature", signature), body)
}

/// A delivery of Acuity.
pub(crate) fn acuity(body: Vec<u8>) -> Post {
    let signature = BASE64.encode(mac(ACUITY_KEY, &body));
    posted("/bookings/studio", "application/x-www-form-urlencoded", ("X-Acuity-Signature", signature), body)
}

/// A delivery of Square, to the address that is registered there.
pub(crate) fn square(body: Vec<u8>) -> Post {
    let signature = BASE64.encode(mac(SQUARE_SECRET, &[SQUARE_URL.as_bytes(), &body].concat()));
    posted("/bookings/salon", "application/json", ("X-Square-HmacSha256-Signature", signature), body)
}

/// A notification of Google Calendar.
pub(crate) fn google(state: &str, number: u32) -> Post {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Post {
        path: "/bookings/diary".into(),
        headers: vec![
            header("X-Goog-Channel-ID", "4ba78bf0"),
            header("X-Goog-Channel-Token", CHANNEL_TOKEN),
            header("X-Goog-Resource-State", state),
            header("X-Goog-Message-Number", &number.to_string()),
        ],
        body: Vec::new(),
    }
}

/// A delivery of the CRM.
pub(crate) fn crm(world: &World, id: &str) -> Post {
    let start = world.now() + SignedDuration::from_hours(72);
    let body = json!({
        "id": "a-1", "start": start.to_string(), "zone": "Asia/Jerusalem", "phone": "+972545550199",
        "name": "Noa Levi", "status": "booked", "at": world.now().to_string(),
    });
    world.signed("/bookings/crm", CRM_SECRET, id, &body)
}

fn created() -> Post {
    calcom(recorded("calcom/booking_created.json"))
}

fn changed() -> Post {
    acuity(recorded("acuity/changed.form"))
}

fn booked() -> Post {
    square(recorded("square/booking_created.json"))
}

fn invited(world: &World) -> Post {
    calendly(world, recorded("calendly/invitee_created.json"))
}

#[tokio::test]
async fn what_cannot_be_believed_is_refused_and_not_filed() {
    let world = World::start().await;
    let stale = invited(&world);
    world.pass(SignedDuration::from_hours(25) + SignedDuration::from_secs(5));
    let tampered = |mut post: Post| {
        post.body.push(b' ');
        post
    };
    let elsewhere = |path: &str, post: Post| Post { path: path.to_owned(), ..post };
    let unsigned = Post { body: recorded("calcom/booking_created.no_secret.json"), ..created() };
    let form = "application/x-www-form-urlencoded";
    let huge = "0".repeat(8_000);
    let many = format!("t={}{}", world.now().as_second(), ",v1=00".repeat(1_000));
    let cases: Vec<(&str, Post, u16, &str)> = vec![
        ("a changed booking", tampered(created()), 401, "the signature does not match"),
        ("a changed invitation", tampered(invited(&world)), 401, "the signature does not match"),
        ("a changed appointment", tampered(changed()), 401, "the signature does not match"),
        ("a changed booking of Square's", tampered(booked()), 401, "the signature does not match"),
        ("a changed delivery of the CRM's", tampered(crm(&world, "m-1")), 401, "the signature does not match"),
        (
            "another channel",
            google("exists", 2).with("X-Goog-Channel-Token", Some("other")),
            401,
            "the signature does not match",
        ),
        (
            "a handshake of another channel",
            google("sync", 1).with("X-Goog-Channel-Token", Some("other")),
            401,
            "the signature does not match",
        ),
        (
            "a webhook without a secret",
            unsigned.with("X-Cal-Signature-256", Some("no-secret-provided")),
            401,
            "it is not signed; set a secret for this webhook where it is sent from",
        ),
        ("no signature", created().with("X-Cal-Signature-256", None), 401, "x-cal-signature-256 is missing"),
        ("no token", google("exists", 2).with("X-Goog-Channel-Token", None), 401, "x-goog-channel-token is missing"),
        ("an empty signature", changed().with("X-Acuity-Signature", Some("")), 401, "x-acuity-signature is malformed"),
        ("half a signature", created().with("X-Cal-Signature-256", Some("0f")), 401, "the signature does not match"),
        ("odd bytes", created().with("X-Cal-Signature-256", Some("\u{e9}\u{5d0}")), 401, "is malformed"),
        ("a huge signature", created().with("X-Cal-Signature-256", Some(&huge)), 401, "the signature does not match"),
        (
            "many signatures",
            invited(&world).with("Calendly-Webhook-Signature", Some(&many)),
            401,
            "the signature does not match",
        ),
        ("a signature of yesterday's", stale, 401, "s ago; more than 90000 s is refused"),
        (
            "no time of signature",
            invited(&world).with("Calendly-Webhook-Signature", Some("v1=00")),
            401,
            "calendly-webhook-signature is malformed",
        ),
        ("no message number", google("exists", 2).with("X-Goog-Message-Number", None), 401, "is missing"),
        ("an unknown calendar", elsewhere("/bookings/none", created()), 404, "nothing is configured"),
        ("a store's name", elsewhere("/bookings/shop", created()), 404, "nothing is configured"),
        ("a calendar's name among stores", elsewhere("/stores/clinic", created()), 404, "nothing is configured"),
        ("a custom template's form", created().with("Content-Type", Some(form)), 415, "not in a custom template's"),
        ("JSON of a sender of forms", changed().with("Content-Type", Some("application/json")), 415, "only a form"),
        ("no type", booked().with("Content-Type", None), 415, "only JSON"),
        ("a push with a body", Post { body: b"{}".to_vec(), ..google("exists", 2) }, 415, "without a body"),
        ("a body over the limit", Post { body: vec![b' '; MAX_BODY_BYTES + 1], ..created() }, 413, "at most 1048576"),
    ];
    for (what, post, status, says) in cases {
        let (answered, text) = world.answer(post).await;
        assert_eq!(answered, status, "{what}: {text}");
        let message = serde_json::from_str::<Value>(&text).unwrap()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{what}: {message}");
    }
    assert_eq!(world.items("BookingInbox"), Vec::<Value>::new());
    assert_eq!(world.items("StoreInbox"), Vec::<Value>::new());
    let receiver = world.stack.invocations("webhook-receiver");
    assert_eq!(receiver.failed, 0, "{receiver:?}");
    // And what is right, is taken: the cases above fail for their reason, not for another.
    for post in [created(), invited(&world), changed(), booked(), crm(&world, "m-1"), google("exists", 2)] {
        let path = post.path.clone();
        assert_eq!(world.answer(post).await, (200, String::new()), "{path}");
    }
    assert_eq!(world.items("BookingInbox").len(), 6);
}

#[tokio::test]
async fn what_is_believed_is_filed_once_under_its_calendar() {
    let world = World::start().await;
    let posts = [created(), invited(&world), booked(), crm(&world, "m-1"), google("exists", 10)];
    for _ in 0..3 {
        for post in &posts {
            assert_eq!(world.post(post.clone()).await, 200, "{}", post.path);
        }
    }
    let items = world.items("BookingInbox");
    let ids: BTreeSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(items.len(), posts.len(), "{ids:?}");
    for known in ["salon#ac3ac95b-f97d-458c-a6e6-18981597e05f", "crm#m-1", "diary#4ba78bf0.10"] {
        assert!(ids.contains(known), "{known}: {ids:?}");
    }
    let senders: BTreeSet<&str> = items.iter().map(|item| item["sender"].as_str().unwrap()).collect();
    assert_eq!(senders, BTreeSet::from(["clinic", "intro", "salon", "crm", "diary"]));
    let push = items.iter().find(|item| item["sender"] == "diary").unwrap();
    assert_eq!(push["headers"], json!({ "x-goog-resource-state": "exists" }));
    assert_eq!(world.items("StoreInbox"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_storm_of_repeats_is_one_delivery_and_of_acuity_several() {
    let world = World::start().await;
    let statuses = futures::future::join_all((0..40).map(|_| world.post(created()))).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(world.items("BookingInbox").len(), 1);
    // What Acuity says of a second change is, byte for byte, what it said of the first.
    for _ in 0..3 {
        assert_eq!(world.post(changed()).await, 200);
        world.pass(SignedDuration::from_millis(1));
    }
    assert_eq!(world.items("BookingInbox").iter().filter(|item| item["sender"] == "studio").count(), 3);
}

#[tokio::test]
async fn the_handshake_of_a_channel_is_answered_and_not_filed() {
    let world = World::start().await;
    assert_eq!(world.answer(google("sync", 1)).await, (200, String::new()));
    assert_eq!(world.items("BookingInbox"), Vec::<Value>::new());
    for number in [2, 5, 5] {
        assert_eq!(world.post(google("exists", number)).await, 200);
    }
    assert_eq!(world.items("BookingInbox").len(), 2, "numbers rise, with gaps");
}

#[tokio::test]
async fn a_calendar_whose_secret_is_missing_is_asked_to_come_again() {
    let world = World::start().await;
    let secret = "tellonce/story/webhooks/clinic";
    world.stack.secrets().remove(secret);
    let (status, text) = world.answer(created()).await;
    assert_eq!(status, 503);
    assert_eq!(text, r#"{"message":"temporarily unavailable; please send it again"}"#);
    assert_eq!(world.post(invited(&world)).await, 200, "the others are not held up");
    assert_eq!(world.items("BookingInbox").len(), 1);
    let logged = world.stack.logs("webhook-receiver");
    let named = |line: &str| line.contains("\"level\":\"ERROR\"") && line.contains("clinic");
    assert!(logged.iter().any(|line| named(&line.text)), "an operator learns which one");
    world.stack.secrets().rotate(secret, CALCOM_SECRET);
    assert_eq!(world.post(created()).await, 200, "once it is there, it counts at once");
}

#[tokio::test]
async fn old_and_new_secrets_of_a_calendar_count_while_one_replaces_the_other() {
    let world = World::start().await;
    assert_eq!(world.post(google("exists", 1)).await, 200);
    world.stack.secrets().rotate("tellonce/story/webhooks/diary", "another-token");
    world.pass(SignedDuration::from_mins(1));
    let new = google("exists", 2).with("X-Goog-Channel-Token", Some("another-token"));
    assert_eq!(world.post(new).await, 200);
    assert_eq!(world.post(google("exists", 3)).await, 200);
    world.pass(SignedDuration::from_hours(25));
    assert_eq!(world.post(google("exists", 4)).await, 401);
}

#[tokio::test]
async fn nothing_that_is_posted_for_a_booking_shows_in_a_log_or_an_outcome() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = World::start_with(Setup { env, ..Default::default() }).await;
    let mut forged = created();
    forged.body.push(b' ');
    let unsigned = created().with("X-Cal-Signature-256", Some("no-secret-provided"));
    let other = google("exists", 3).with("X-Goog-Channel-Token", Some("token-of-a-stranger"));
    for (post, status) in [
        (created(), 200),
        (created(), 200),
        (invited(&world), 200),
        (changed(), 200),
        (booked(), 200),
        (crm(&world, "m-1"), 200),
        (google("sync", 1), 200),
        (google("exists", 2), 200),
        (forged, 401),
        (unsigned, 401),
        (other, 401),
        (Post { path: "/bookings/token-of-a-stranger".into(), ..created() }, 404),
        (created().with("Content-Type", Some("text/plain")), 415),
    ] {
        assert_eq!(world.post(post).await, status);
    }
    world.settle().await;
    let functions = ["webhook-receiver", "reminder-scheduler"];
    let lines: Vec<String> = functions.iter().flat_map(|name| world.stack.logs(name)).map(|line| line.text).collect();
    assert!(lines.iter().filter(|line| line.contains("accepted")).count() >= 8, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("delivery refused") && line.contains("clinic")), "{lines:?}");
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
        CHANNEL_TOKEN,
    ];
    let outcomes =
        world.items("BookingInbox").into_iter().filter_map(|item| item["outcome"].as_str().map(str::to_owned));
    for line in lines.iter().cloned().chain(outcomes) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
