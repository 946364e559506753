//! The door for leads: whatever forms post is answered rightly, and in the inbox once or not at all.

use std::{collections::BTreeSet, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::SignedDuration;
use ring::hmac;
use serde_json::{Value, json};
use shared::{digest::hex, inbox::MAX_BODY_BYTES};

use crate::world::{
    ELEMENTOR_PATH, GOOGLE_KEY, HUBSPOT_SECRET, HUBSPOT_TOKEN, JOTFORM_PATH, META_SECRET, META_TOKEN,
    META_VERIFY_TOKEN, Post, Setup, TALLY_SECRET, TYPEFORM_SECRET, WEB_TOKEN, WEBFLOW_SECRET, World,
};

const HUBSPOT_URL: &str = "https://story.example/leads/hubspot";
const JSON: &str = "application/json";
const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=------------------------9051914041544843";

/// The body of a recorded delivery.
pub(crate) fn recorded(file: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events/leads");
    fs::read(folder.join(file)).unwrap()
}

fn mac(key: &str, content: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), content).as_ref().to_vec()
}

fn posted(path: &str, content_type: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Post {
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let headers = [("Content-Type", content_type)].iter().chain(headers).map(header).collect();
    Post { path: path.into(), headers, body }
}

/// A delivery of Typeform.
pub(crate) fn typeform(body: Vec<u8>) -> Post {
    let signature = format!("sha256={}", BASE64.encode(mac(TYPEFORM_SECRET, &body)));
    posted("/leads/typeform", JSON, &[("Typeform-Signature", &signature)], body)
}

/// A delivery of Google Ads; its key is in its body.
pub(crate) fn google(body: Vec<u8>) -> Post {
    posted("/leads/google", JSON, &[], body)
}

/// A delivery of Meta.
pub(crate) fn meta(body: Vec<u8>) -> Post {
    let signature = format!("sha256={}", hex(&mac(META_SECRET, &body)));
    posted("/leads/meta", JSON, &[("X-Hub-Signature-256", &signature)], body)
}

/// A delivery of Webflow, signed now.
pub(crate) fn webflow(world: &World, body: Vec<u8>) -> Post {
    let stamp = world.now().as_millisecond().to_string();
    let signature = hex(&mac(WEBFLOW_SECRET, &[stamp.as_bytes(), b":", &body].concat()));
    posted("/leads/webflow", JSON, &[("x-webflow-timestamp", &stamp), ("x-webflow-signature", &signature)], body)
}

/// A delivery of Tally.
pub(crate) fn tally(body: Vec<u8>) -> Post {
    let signature = BASE64.encode(mac(TALLY_SECRET, &body));
    posted("/leads/tally", JSON, &[("Tally-Signature", &signature)], body)
}

/// A delivery of `HubSpot`, signed now, to the address that is registered there.
pub(crate) fn hubspot(world: &World, body: Vec<u8>) -> Post {
    let stamp = world.now().as_millisecond().to_string();
    let content = [b"POST", HUBSPOT_URL.as_bytes(), &body, stamp.as_bytes()].concat();
    let signature = BASE64.encode(mac(HUBSPOT_SECRET, &content));
    let headers = [("X-HubSpot-Request-Timestamp", &stamp[..]), ("X-HubSpot-Signature-v3", &signature)];
    posted("/leads/hubspot", JSON, &headers, body)
}

/// A delivery of Jotform, to the address that ends in this.
pub(crate) fn jotform(secret: &str, body: Vec<u8>) -> Post {
    posted(&format!("/leads/jotform/{secret}"), MULTIPART, &[], body)
}

/// A delivery of Elementor.
pub(crate) fn elementor(body: Vec<u8>) -> Post {
    posted(&format!("/leads/elementor/{ELEMENTOR_PATH}"), URLENCODED, &[], body)
}

/// A delivery of the website's own form.
pub(crate) fn web(content_type: &str, body: Vec<u8>) -> Post {
    posted("/leads/web", content_type, &[("X-Webhook-Token", WEB_TOKEN)], body)
}

fn responded() -> Post {
    typeform(recorded("typeform/form_response.json"))
}

fn advertised() -> Post {
    google(recorded("google_ads/lead_as_documented.json"))
}

fn named() -> Post {
    meta(recorded("meta/leadgen.json"))
}

fn submitted(world: &World) -> Post {
    webflow(world, recorded("webflow/form_submission.json"))
}

fn answered() -> Post {
    tally(recorded("tally/form_response.json"))
}

fn created(world: &World) -> Post {
    hubspot(world, recorded("hubspot/contact_creation.json"))
}

fn sent() -> Post {
    jotform(JOTFORM_PATH, recorded("jotform/submission.multipart"))
}

fn asked() -> Post {
    elementor(recorded("wordpress/elementor_advanced.form"))
}

fn left() -> Post {
    web(JSON, recorded("web/lead_json.json"))
}

/// One of each, as it should be.
fn all(world: &World) -> Vec<Post> {
    let signed = [responded(), advertised(), named(), submitted(world), answered(), created(world)];
    signed.into_iter().chain([sent(), asked(), left(), web(URLENCODED, recorded("web/lead_form.form"))]).collect()
}

fn asks(token: &str) -> String {
    format!("/leads/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}")
}

/// Lets time pass until a minute begins: a form that has no ids of its own is known by it.
fn begin_a_minute(world: &World) {
    world.pass(SignedDuration::from_secs(60 - world.now().as_second().rem_euclid(60)));
}

fn message(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap()["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_cannot_be_believed_is_refused_and_not_filed() {
    let world = World::start().await;
    let stale = [submitted(&world), created(&world)];
    world.pass(SignedDuration::from_mins(61));
    let tampered = |mut post: Post| {
        post.body.push(b' ');
        post
    };
    let at = |path: &str, post: Post| Post { path: path.to_owned(), ..post };
    let [late, later] = stale;
    let huge = format!("sha256={}", "0".repeat(8_000));
    let mismatch = "the signature does not match";
    let nothing = "nothing is configured for this path";
    let unsigned = "it is not signed; set a secret for this webhook where it is sent from";
    let cases: Vec<(&str, Post, u16, &str)> = vec![
        ("a changed response", tampered(responded()), 401, mismatch),
        ("a changed name of a lead", tampered(named()), 401, mismatch),
        ("a changed submission", tampered(submitted(&world)), 401, mismatch),
        ("a changed answer", tampered(answered()), 401, mismatch),
        ("a changed contact", tampered(created(&world)), 401, mismatch),
        ("another key", google(recorded("google_ads/lead_wrong_key.json")), 401, mismatch),
        ("no key", google(b"{\"lead_id\":\"1\"}".to_vec()), 401, "the body has no google_key"),
        ("no JSON", google(b"google_key=test-google-key-1".to_vec()), 401, "the body has no google_key"),
        ("another token", left().with("X-Webhook-Token", Some("other")), 401, mismatch),
        ("no token", left().with("X-Webhook-Token", None), 401, "the header that carries the secret is missing"),
        ("a form of Typeform's without a secret", responded().with("Typeform-Signature", None), 401, unsigned),
        ("a form of Tally's without a secret", answered().with("Tally-Signature", None), 401, unsigned),
        (
            "Meta's older signature alone",
            named().with("X-Hub-Signature-256", None),
            401,
            "x-hub-signature-256 is missing",
        ),
        ("half a signature", named().with("X-Hub-Signature-256", Some("sha256=0f")), 401, mismatch),
        ("odd bytes", named().with("X-Hub-Signature-256", Some("\u{e9}\u{5d0}")), 401, "is malformed"),
        ("a huge signature", named().with("X-Hub-Signature-256", Some(&huge)), 401, mismatch),
        ("a submission of a while ago", late, 401, "s ago; more than 3600 s is refused"),
        ("a contact of a while ago", later, 401, "s ago; more than 300 s is refused"),
        ("an unknown form", at("/leads/none", responded()), 404, nothing),
        ("a calendar's name", at("/leads/clinic", responded()), 404, nothing),
        ("a form's name among calendars", at("/bookings/typeform", responded()), 404, nothing),
        ("a form's name among stores", at("/stores/typeform", responded()), 404, nothing),
        ("another address", jotform("nope", recorded("jotform/submission.multipart")), 404, nothing),
        ("another form's address", jotform(ELEMENTOR_PATH, recorded("jotform/submission.multipart")), 404, nothing),
        ("an address without its end", at("/leads/jotform", sent()), 404, nothing),
        ("a secret address of who signs", at(&format!("/leads/typeform/{TYPEFORM_SECRET}"), responded()), 404, nothing),
        ("a form of who posts JSON", answered().with("Content-Type", Some(URLENCODED)), 415, "only JSON"),
        ("JSON of who posts forms", sent().with("Content-Type", Some(JSON)), 415, "only a form"),
        ("a text", asked().with("Content-Type", Some("text/plain")), 415, "only JSON (application/json) or a form"),
        ("no type", left().with("Content-Type", None), 415, "only JSON"),
        ("a body over the limit", Post { body: vec![b' '; MAX_BODY_BYTES + 1], ..sent() }, 413, "at most 1048576"),
    ];
    for (what, post, status, says) in cases {
        let (answered, text) = world.answer(post).await;
        assert_eq!(answered, status, "{what}: {text}");
        assert!(message(&text).contains(says), "{what}: {text}");
    }
    for inbox in ["LeadInbox", "BookingInbox", "StoreInbox"] {
        assert_eq!(world.items(inbox), Vec::<Value>::new(), "{inbox}");
    }
    let receiver = world.stack.invocations("webhook-receiver");
    assert_eq!(receiver.failed, 0, "{receiver:?}");
    // And what is right, is taken: the cases above fail for their reason, not for another.
    for post in all(&world) {
        let path = post.path.clone();
        assert_eq!(world.post(post).await, 200, "{path}");
    }
    assert_eq!(world.items("LeadInbox").len(), 10);
}

#[tokio::test]
async fn what_is_believed_is_filed_once_under_its_form() {
    let world = World::start().await;
    begin_a_minute(&world);
    for _ in 0..3 {
        for post in all(&world) {
            let path = post.path.clone();
            assert_eq!(world.post(post).await, 200, "{path}");
        }
    }
    let items = world.items("LeadInbox");
    let ids: BTreeSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(items.len(), 10, "{ids:?}");
    for known in [
        "typeform#01HF7Z3V9QK2M4N6P8R0S2T4V6",
        "google#TeSter-lead-0003-aBcD",
        "webflow#65a5d3c8f7e2b40012345678",
        "tally#a4cb511e-d513-4fa5-baee-b815d718dfd1",
    ] {
        assert!(ids.contains(known), "{known}: {ids:?}");
    }
    let senders: BTreeSet<&str> = items.iter().map(|item| item["sender"].as_str().unwrap()).collect();
    let forms = ["typeform", "google", "meta", "webflow", "tally", "jotform", "elementor", "web", "hubspot"];
    assert_eq!(senders, BTreeSet::from(forms));
    // Without its boundary nobody could read it.
    let headers = |sender: &str| items.iter().find(|item| item["sender"] == sender).unwrap()["headers"].clone();
    assert_eq!(headers("jotform"), json!({ "content-type": MULTIPART }));
    assert_eq!(headers("typeform"), json!({ "content-type": JSON }));
    assert_eq!(world.items("StoreInbox"), Vec::<Value>::new());
    assert_eq!(world.items("BookingInbox"), Vec::<Value>::new());
}

#[tokio::test]
async fn google_ads_reads_an_empty_object_and_everybody_else_nothing() {
    let world = World::start().await;
    assert_eq!(world.answer(advertised()).await, (200, "{}".to_owned()));
    for post in [responded(), named(), answered(), sent(), asked(), left()] {
        let path = post.path.clone();
        assert_eq!(world.answer(post).await, (200, String::new()), "{path}");
    }
    // Elementor shows its visitor anything but 200: what is in a delivery is nothing for the door to judge.
    for body in [&b""[..], b"%%%", b"{", b"\xff\xfe", b"form_id=1"] {
        for content_type in [URLENCODED, JSON, MULTIPART] {
            let post = elementor(body.to_vec()).with("Content-Type", Some(content_type));
            assert_eq!(world.answer(post).await, (200, String::new()), "{content_type} {body:?}");
        }
    }
}

#[tokio::test]
async fn a_storm_of_repeats_is_one_lead_and_next_week_another() {
    let world = World::start().await;
    begin_a_minute(&world);
    let posts = (0..20).flat_map(|_| [responded(), asked()]);
    let statuses = futures::future::join_all(posts.map(|post| world.post(post))).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let of = |sender: &str| world.items("LeadInbox").iter().filter(|item| item["sender"] == sender).count();
    assert_eq!((of("typeform"), of("elementor")), (1, 1));
    // A response has an id, whenever it comes again. The same words in a form that has none are somebody's again.
    world.pass(SignedDuration::from_hours(7 * 24));
    begin_a_minute(&world);
    for post in [responded(), asked(), asked()] {
        assert_eq!(world.post(post).await, 200);
    }
    assert_eq!((of("typeform"), of("elementor")), (1, 2));
}

#[tokio::test]
async fn meta_is_repeated_what_it_asks_if_it_knows_the_token() {
    let world = World::start().await;
    let (status, content_type, text) = world.get(&asks(META_VERIFY_TOKEN)).await;
    assert_eq!((status, text.as_str()), (200, "1158201444"));
    assert!(content_type.starts_with("text/plain"), "{content_type}");
    for (query, expected) in [
        (asks("nope"), 403),
        (asks(META_SECRET), 403),
        (asks(""), 400),
        ("/leads/meta".to_owned(), 400),
        (asks(META_VERIFY_TOKEN).replace("subscribe", "unsubscribe"), 400),
        (asks(META_VERIFY_TOKEN).replace("hub.challenge", "challenge"), 400),
        (asks(META_VERIFY_TOKEN).replace("/leads/meta", "/leads/typeform"), 405),
        (asks(META_VERIFY_TOKEN).replace("/leads/meta", "/leads/none"), 404),
    ] {
        let (status, _, text) = world.get(&query).await;
        assert_eq!(status, expected, "{query}: {text}");
        assert!(!text.contains("1158201444"), "{query}: {text}");
    }
    // What is no route at all is turned away before the receiver.
    assert_eq!(world.get(&format!("/leads/jotform/{JOTFORM_PATH}")).await.0, 404);
    assert_eq!(world.items("LeadInbox"), Vec::<Value>::new());
}

#[tokio::test]
async fn old_and_new_secrets_count_while_one_replaces_the_other() {
    let world = World::start().await;
    assert_eq!((world.post(sent()).await, world.get(&asks(META_VERIFY_TOKEN)).await.0), (200, 200));
    let (address, token) = ("another_address-0123456789abcdef0", "another-verify-token");
    world.stack.secrets().rotate("tellonce/story/webhooks/jotform", address);
    world.stack.secrets().rotate("tellonce/story/webhooks/meta/verify", token);
    world.pass(SignedDuration::from_mins(1));
    let moved = || jotform(address, recorded("jotform/submission.multipart"));
    assert_eq!((world.post(moved()).await, world.get(&asks(token)).await.0), (200, 200));
    assert_eq!((world.post(sent()).await, world.get(&asks(META_VERIFY_TOKEN)).await.0), (200, 200));
    world.pass(SignedDuration::from_hours(25));
    assert_eq!((world.post(sent()).await, world.get(&asks(META_VERIFY_TOKEN)).await.0), (404, 403));
    assert_eq!((world.post(moved()).await, world.get(&asks(token)).await.0), (200, 200));
}

#[tokio::test]
async fn a_form_whose_secret_is_missing_is_asked_to_come_again() {
    let world = World::start().await;
    for secret in ["webhooks/jotform", "webhooks/meta/verify"] {
        world.stack.secrets().remove(&format!("tellonce/story/{secret}"));
    }
    let again = r#"{"message":"temporarily unavailable; please send it again"}"#;
    assert_eq!(world.answer(sent()).await, (503, again.to_owned()));
    let (status, _, text) = world.get(&asks(META_VERIFY_TOKEN)).await;
    assert_eq!((status, text.as_str()), (503, again));
    assert_eq!(world.post(responded()).await, 200, "the others are not held up");
    let logged = world.stack.logs("webhook-receiver");
    let named = |line: &str| line.contains("\"level\":\"ERROR\"") && line.contains("webhooks/jotform");
    assert!(logged.iter().any(|line| named(&line.text)), "an operator learns which one");
    world.stack.secrets().rotate("tellonce/story/webhooks/jotform", JOTFORM_PATH);
    assert_eq!(world.post(sent()).await, 200, "once it is there, it counts at once");
}

#[tokio::test]
async fn neither_a_lead_nor_the_secret_in_an_address_shows_in_a_log() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = World::start_with(Setup { env, ..Default::default() }).await;
    for post in all(&world).into_iter().chain(all(&world)) {
        assert_eq!(world.post(post).await, 200);
    }
    let stranger = "address-of-a-stranger-0123456789";
    let mut forged = responded();
    forged.body.push(b' ');
    for (post, status) in [
        (forged, 401),
        (responded().with("Typeform-Signature", None), 401),
        (google(recorded("google_ads/lead_wrong_key.json")), 401),
        (left().with("X-Webhook-Token", Some(stranger)), 401),
        (jotform(stranger, recorded("jotform/submission.multipart")), 404),
        (Post { path: format!("/leads/{stranger}/{stranger}"), ..sent() }, 404),
        // The right secret, in a delivery that is refused for something else.
        (sent().with("Content-Type", Some("text/plain")), 415),
        (Post { body: vec![b' '; MAX_BODY_BYTES + 1], ..sent() }, 413),
        (Post { path: format!("/leads/typeform/{JOTFORM_PATH}"), ..responded() }, 404),
    ] {
        assert_eq!(world.post(post).await, status);
    }
    world.stack.secrets().remove("tellonce/story/webhooks/elementor");
    world.pass(SignedDuration::from_mins(16));
    assert_eq!(world.post(asked()).await, 503);
    for (query, status) in [
        (asks(META_VERIFY_TOKEN), 200),
        (asks(stranger), 403),
        (asks(META_VERIFY_TOKEN).replace("subscribe", stranger), 400),
    ] {
        assert_eq!(world.get(&query).await.0, status);
    }
    let lines: Vec<String> = world.stack.logs("webhook-receiver").into_iter().map(|line| line.text).collect();
    assert!(lines.iter().filter(|line| line.contains("accepted")).count() >= 20, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("delivery refused") && line.contains("jotform")), "{lines:?}");
    let private = [
        "545550199",
        "54-555-0199",
        "555-0199",
        "535550110",
        "505550101",
        "525550101",
        "52-555-0101",
        "Roni",
        "Azulay",
        "Eitan",
        "Shalev",
        "Tamar",
        "Golan",
        "Gil",
        "Katz",
        "Lior",
        "Ben David",
        "Hila",
        "Regev",
        "Omer",
        "Dayan",
        "example.com",
        "198.51.100.9",
        "stranger",
        "1158201444",
        "wrong-key",
        TYPEFORM_SECRET,
        GOOGLE_KEY,
        META_SECRET,
        META_VERIFY_TOKEN,
        META_TOKEN,
        WEBFLOW_SECRET,
        TALLY_SECRET,
        HUBSPOT_SECRET,
        HUBSPOT_TOKEN,
        JOTFORM_PATH,
        ELEMENTOR_PATH,
        WEB_TOKEN,
    ];
    for line in lines {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
