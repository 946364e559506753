//! The endpoint for leads: each delivery of a form gets the right status and is stored once or not
//! at all.
//!
//! Long because it lists every sender of leads with its faults.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_core::inbox::MAX_BODY_BYTES;
use tellonce_samples::{SenderProof, WebhookPost, read_sample};

use crate::world::{
    ELEMENTOR_SECRET_PATH, GOOGLE_ADS_KEY, HUBSPOT_SECRET, HUBSPOT_TOKEN, JOTFORM_SECRET_PATH, META_SECRET, META_TOKEN,
    META_VERIFY_TOKEN, TALLY_SECRET, TYPEFORM_SECRET, WEB_TOKEN, WEBFLOW_SECRET, World, WorldSetup,
};

const HUBSPOT_URL: &str = "https://story.example/leads/hubspot";
const JSON: &str = "application/json";
const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=------------------------9051914041544843";

/// The body of a recorded delivery.
pub(crate) fn recorded_body(file: &str) -> Vec<u8> {
    read_sample(&format!("leads/{file}"))
}

/// A delivery of Typeform.
pub(crate) fn typeform_post(body: Vec<u8>) -> WebhookPost {
    WebhookPost::new("/leads/typeform", JSON, body).sign(SenderProof::Typeform, TYPEFORM_SECRET).unwrap()
}

/// A delivery of Google Ads; its key is in its body.
pub(crate) fn google_ads_post(body: Vec<u8>) -> WebhookPost {
    WebhookPost::new("/leads/google", JSON, body)
}

/// A delivery of Meta.
pub(crate) fn meta_post(body: Vec<u8>) -> WebhookPost {
    WebhookPost::new("/leads/meta", JSON, body).sign(SenderProof::Meta, META_SECRET).unwrap()
}

/// A delivery of Webflow, signed now.
pub(crate) fn webflow_post(world: &World, body: Vec<u8>) -> WebhookPost {
    let proof = SenderProof::Webflow { at: world.now() };
    WebhookPost::new("/leads/webflow", JSON, body).sign(proof, WEBFLOW_SECRET).unwrap()
}

/// A delivery of Tally.
pub(crate) fn tally_post(body: Vec<u8>) -> WebhookPost {
    WebhookPost::new("/leads/tally", JSON, body).sign(SenderProof::Tally, TALLY_SECRET).unwrap()
}

/// A delivery of `HubSpot`, signed now for the registered address.
pub(crate) fn hubspot_post(world: &World, body: Vec<u8>) -> WebhookPost {
    let proof = SenderProof::HubSpot { notification_url: HUBSPOT_URL, at: world.now() };
    WebhookPost::new("/leads/hubspot", JSON, body).sign(proof, HUBSPOT_SECRET).unwrap()
}

/// A delivery of Jotform, to the address that ends in `secret`.
pub(crate) fn jotform_post(secret: &str, body: Vec<u8>) -> WebhookPost {
    WebhookPost::new("/leads/jotform", MULTIPART, body).sign(SenderProof::SecretPath, secret).unwrap()
}

/// A delivery of Elementor.
pub(crate) fn elementor_post(body: Vec<u8>) -> WebhookPost {
    let post = WebhookPost::new("/leads/elementor", URLENCODED, body);
    post.sign(SenderProof::SecretPath, ELEMENTOR_SECRET_PATH).unwrap()
}

/// A delivery of the website's own form.
pub(crate) fn website_post(content_type: &str, body: Vec<u8>) -> WebhookPost {
    let proof = SenderProof::StaticHeader { header: "X-Webhook-Token" };
    WebhookPost::new("/leads/web", content_type, body).sign(proof, WEB_TOKEN).unwrap()
}

/// A delivery of the website's own form in JSON.
pub(crate) fn website_json_post(body: &Value) -> WebhookPost {
    website_post(JSON, body.to_string().into_bytes())
}

/// A lead of the website's own form, with consent.
pub(crate) fn website_lead_of(phone: &str) -> WebhookPost {
    website_json_post(&json!({ "name": "Noa Levi", "phone": phone, "consent": { "whatsapp": true } }))
}

fn typeform_response() -> WebhookPost {
    typeform_post(recorded_body("typeform/form_response.json"))
}

fn google_ads_lead() -> WebhookPost {
    google_ads_post(recorded_body("google_ads/lead_as_documented.json"))
}

fn meta_lead_id() -> WebhookPost {
    meta_post(recorded_body("meta/leadgen.json"))
}

fn webflow_submission(world: &World) -> WebhookPost {
    webflow_post(world, recorded_body("webflow/form_submission.json"))
}

fn tally_response() -> WebhookPost {
    tally_post(recorded_body("tally/form_response.json"))
}

fn hubspot_contact(world: &World) -> WebhookPost {
    hubspot_post(world, recorded_body("hubspot/contact_creation.json"))
}

fn jotform_submission() -> WebhookPost {
    jotform_post(JOTFORM_SECRET_PATH, recorded_body("jotform/submission.multipart"))
}

fn elementor_submission() -> WebhookPost {
    elementor_post(recorded_body("wordpress/elementor_advanced.form"))
}

fn website_lead() -> WebhookPost {
    website_post(JSON, recorded_body("web/lead_json.json"))
}

/// One valid delivery of each sender.
fn one_of_each(world: &World) -> Vec<WebhookPost> {
    let signed = [
        typeform_response(),
        google_ads_lead(),
        meta_lead_id(),
        webflow_submission(world),
        tally_response(),
        hubspot_contact(world),
    ];
    signed
        .into_iter()
        .chain([
            jotform_submission(),
            elementor_submission(),
            website_lead(),
            website_post(URLENCODED, recorded_body("web/lead_form.form")),
        ])
        .collect()
}

fn meta_handshake_path(token: &str) -> String {
    format!("/leads/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}")
}

/// Lets time pass until a minute begins: the minute is part of the id of a lead without its own id.
fn advance_to_next_minute(world: &World) {
    world.advance_time(SignedDuration::from_secs(60 - world.now().as_second().rem_euclid(60)));
}

fn error_message(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap()["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn unverifiable_submissions_are_refused_and_not_filed() {
    let world = World::start().await;
    let stale = [webflow_submission(&world), hubspot_contact(&world)];
    world.advance_time(SignedDuration::from_mins(61));
    let tampered = |mut post: WebhookPost| {
        post.body.push(b' ');
        post
    };
    let at_path = |path: &str, post: WebhookPost| WebhookPost { path: path.to_owned(), ..post };
    let [stale_webflow, stale_hubspot] = stale;
    let huge = format!("sha256={}", "0".repeat(8_000));
    let mismatch = "the signature does not match";
    let nothing = "no sender is configured for this path";
    let unsigned = "the delivery is not signed; set a secret for this webhook at the sender";
    let cases: Vec<(&str, WebhookPost, u16, &str)> = vec![
        ("a changed response", tampered(typeform_response()), 401, mismatch),
        ("a changed name of a lead", tampered(meta_lead_id()), 401, mismatch),
        ("a changed submission", tampered(webflow_submission(&world)), 401, mismatch),
        ("a changed answer", tampered(tally_response()), 401, mismatch),
        ("a changed contact", tampered(hubspot_contact(&world)), 401, mismatch),
        ("another key", google_ads_post(recorded_body("google_ads/lead_wrong_key.json")), 401, mismatch),
        ("no key", google_ads_post(b"{\"lead_id\":\"1\"}".to_vec()), 401, "the body has no google_key"),
        ("no JSON", google_ads_post(b"google_key=test-google-key-1".to_vec()), 401, "the body has no google_key"),
        ("another token", website_lead().with_header("X-Webhook-Token", Some("other")), 401, mismatch),
        (
            "no token",
            website_lead().with_header("X-Webhook-Token", None),
            401,
            "the header that carries the secret is missing",
        ),
        (
            "a form of Typeform's without a secret",
            typeform_response().with_header("Typeform-Signature", None),
            401,
            unsigned,
        ),
        ("a form of Tally's without a secret", tally_response().with_header("Tally-Signature", None), 401, unsigned),
        (
            "Meta's older signature alone",
            meta_lead_id().with_header("X-Hub-Signature-256", None),
            401,
            "x-hub-signature-256 is missing",
        ),
        ("half a signature", meta_lead_id().with_header("X-Hub-Signature-256", Some("sha256=0f")), 401, mismatch),
        ("odd bytes", meta_lead_id().with_header("X-Hub-Signature-256", Some("\u{e9}\u{5d0}")), 401, "is malformed"),
        ("a huge signature", meta_lead_id().with_header("X-Hub-Signature-256", Some(&huge)), 401, mismatch),
        ("a submission of a while ago", stale_webflow, 401, "s ago; more than 3600 s is refused"),
        ("a contact of a while ago", stale_hubspot, 401, "s ago; more than 300 s is refused"),
        ("an unknown form", at_path("/leads/none", typeform_response()), 404, nothing),
        ("a calendar's name", at_path("/leads/clinic", typeform_response()), 404, nothing),
        ("a form's name among calendars", at_path("/bookings/typeform", typeform_response()), 404, nothing),
        ("a form's name among stores", at_path("/stores/typeform", typeform_response()), 404, nothing),
        ("another address", jotform_post("nope", recorded_body("jotform/submission.multipart")), 404, nothing),
        (
            "another form's address",
            jotform_post(ELEMENTOR_SECRET_PATH, recorded_body("jotform/submission.multipart")),
            404,
            nothing,
        ),
        ("an address without its end", at_path("/leads/jotform", jotform_submission()), 404, nothing),
        (
            "a secret address of a sender that signs",
            at_path(&format!("/leads/typeform/{TYPEFORM_SECRET}"), typeform_response()),
            404,
            nothing,
        ),
        (
            "a form body of a sender of JSON",
            tally_response().with_header("Content-Type", Some(URLENCODED)),
            415,
            "must post JSON",
        ),
        (
            "JSON of a sender of form bodies",
            jotform_submission().with_header("Content-Type", Some(JSON)),
            415,
            "must post a form",
        ),
        (
            "a text",
            elementor_submission().with_header("Content-Type", Some("text/plain")),
            415,
            "must post JSON (application/json) or a form",
        ),
        ("no type", website_lead().with_header("Content-Type", None), 415, "must post JSON"),
        (
            "a body over the limit",
            WebhookPost { body: vec![b' '; MAX_BODY_BYTES + 1], ..jotform_submission() },
            413,
            "at most 1048576",
        ),
    ];
    for (case, post, status, expected_message) in cases {
        let (actual_status, text) = world.post_for_response(post).await;
        assert_eq!(actual_status, status, "{case}: {text}");
        assert!(error_message(&text).contains(expected_message), "{case}: {text}");
    }
    for inbox in ["LeadInbox", "BookingInbox", "StoreInbox"] {
        assert_eq!(world.table_items(inbox), Vec::<Value>::new(), "{inbox}");
    }
    let receiver = world.stack.invocation_counts("webhook-receiver");
    assert_eq!(receiver.failed, 0, "{receiver:?}");
    // Valid deliveries are accepted, so each case above fails for its own reason.
    for post in one_of_each(&world) {
        let path = post.path.clone();
        assert_eq!(world.post(post).await, 200, "{path}");
    }
    assert_eq!(world.table_items("LeadInbox").len(), 10);
}

#[tokio::test]
async fn verified_submissions_are_filed_once_under_their_form() {
    let world = World::start().await;
    advance_to_next_minute(&world);
    for _ in 0..3 {
        for post in one_of_each(&world) {
            let path = post.path.clone();
            assert_eq!(world.post(post).await, 200, "{path}");
        }
    }
    let items = world.table_items("LeadInbox");
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
    // A multipart body cannot be parsed without the boundary in its content type.
    let headers = |sender: &str| items.iter().find(|item| item["sender"] == sender).unwrap()["headers"].clone();
    assert_eq!(headers("jotform"), json!({ "content-type": MULTIPART }));
    assert_eq!(headers("typeform"), json!({ "content-type": JSON }));
    assert_eq!(world.table_items("StoreInbox"), Vec::<Value>::new());
    assert_eq!(world.table_items("BookingInbox"), Vec::<Value>::new());
}

#[tokio::test]
async fn google_ads_gets_an_empty_object_and_other_senders_an_empty_body() {
    let world = World::start().await;
    assert_eq!(world.post_for_response(google_ads_lead()).await, (200, "{}".to_owned()));
    for post in [
        typeform_response(),
        meta_lead_id(),
        tally_response(),
        jotform_submission(),
        elementor_submission(),
        website_lead(),
    ] {
        let path = post.path.clone();
        assert_eq!(world.post_for_response(post).await, (200, String::new()), "{path}");
    }
    // Elementor shows its visitor an error for anything but 200. So the receiver does not judge the
    // content.
    for body in [&b""[..], b"%%%", b"{", b"\xff\xfe", b"form_id=1"] {
        for content_type in [URLENCODED, JSON, MULTIPART] {
            let post = elementor_post(body.to_vec()).with_header("Content-Type", Some(content_type));
            assert_eq!(world.post_for_response(post).await, (200, String::new()), "{content_type} {body:?}");
        }
    }
}

#[tokio::test]
async fn repeats_are_one_lead_and_without_an_id_a_new_one_next_week() {
    let world = World::start().await;
    advance_to_next_minute(&world);
    let posts = (0..20).flat_map(|_| [typeform_response(), elementor_submission()]);
    let statuses = futures::future::join_all(posts.map(|post| world.post(post))).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let count_of_sender =
        |sender: &str| world.table_items("LeadInbox").iter().filter(|item| item["sender"] == sender).count();
    assert_eq!((count_of_sender("typeform"), count_of_sender("elementor")), (1, 1));
    // A submission with an id stays one lead. Without an id, the same content a week later is a new
    // lead.
    world.advance_time(SignedDuration::from_hours(7 * 24));
    advance_to_next_minute(&world);
    for post in [typeform_response(), elementor_submission(), elementor_submission()] {
        assert_eq!(world.post(post).await, 200);
    }
    assert_eq!((count_of_sender("typeform"), count_of_sender("elementor")), (1, 2));
}

#[tokio::test]
async fn meta_gets_its_challenge_back_only_with_the_verify_token() {
    let world = World::start().await;
    let (status, content_type, text) = world.get_path(&meta_handshake_path(META_VERIFY_TOKEN)).await;
    assert_eq!((status, text.as_str()), (200, "1158201444"));
    assert!(content_type.starts_with("text/plain"), "{content_type}");
    for (query, expected) in [
        (meta_handshake_path("nope"), 403),
        (meta_handshake_path(META_SECRET), 403),
        (meta_handshake_path(""), 400),
        ("/leads/meta".to_owned(), 400),
        (meta_handshake_path(META_VERIFY_TOKEN).replace("subscribe", "unsubscribe"), 400),
        (meta_handshake_path(META_VERIFY_TOKEN).replace("hub.challenge", "challenge"), 400),
        (meta_handshake_path(META_VERIFY_TOKEN).replace("/leads/meta", "/leads/typeform"), 405),
        (meta_handshake_path(META_VERIFY_TOKEN).replace("/leads/meta", "/leads/none"), 404),
    ] {
        let (status, _, text) = world.get_path(&query).await;
        assert_eq!(status, expected, "{query}: {text}");
        assert!(!text.contains("1158201444"), "{query}: {text}");
    }
    // The API answers a path without a route. The receiver does not run.
    assert_eq!(world.get_path(&format!("/leads/jotform/{JOTFORM_SECRET_PATH}")).await.0, 404);
    assert_eq!(world.table_items("LeadInbox"), Vec::<Value>::new());
}

#[tokio::test]
async fn old_and_new_form_secrets_are_both_valid_during_rotation() {
    // Two changes within a day: each value has a secret of its own, and so an old version.
    let world = World::start_with(WorldSetup { separate_secrets: true, ..WorldSetup::default() }).await;
    assert_eq!(
        (world.post(jotform_submission()).await, world.get_path(&meta_handshake_path(META_VERIFY_TOKEN)).await.0),
        (200, 200)
    );
    let (address, token) = ("another_address-0123456789abcdef0", "another-verify-token");
    world.stack.secrets().rotate("tellonce/story/webhooks/jotform", address);
    world.stack.secrets().rotate("tellonce/story/webhooks/meta/verify", token);
    world.advance_time(SignedDuration::from_mins(1));
    let at_new_address = || jotform_post(address, recorded_body("jotform/submission.multipart"));
    assert_eq!((world.post(at_new_address()).await, world.get_path(&meta_handshake_path(token)).await.0), (200, 200));
    assert_eq!(
        (world.post(jotform_submission()).await, world.get_path(&meta_handshake_path(META_VERIFY_TOKEN)).await.0),
        (200, 200)
    );
    world.advance_time(SignedDuration::from_hours(25));
    assert_eq!(
        (world.post(jotform_submission()).await, world.get_path(&meta_handshake_path(META_VERIFY_TOKEN)).await.0),
        (404, 403)
    );
    assert_eq!((world.post(at_new_address()).await, world.get_path(&meta_handshake_path(token)).await.0), (200, 200));
}

#[tokio::test]
async fn a_sender_is_asked_to_retry_while_its_form_has_no_secret() {
    let world = World::start().await;
    for secret in ["webhooks/jotform", "webhooks/meta/verify"] {
        world.stack.secrets().remove(&format!("tellonce/story/{secret}"));
    }
    let retry_body = r#"{"message":"temporarily unavailable; please retry"}"#;
    assert_eq!(world.post_for_response(jotform_submission()).await, (503, retry_body.to_owned()));
    let (status, _, text) = world.get_path(&meta_handshake_path(META_VERIFY_TOKEN)).await;
    assert_eq!((status, text.as_str()), (503, retry_body));
    assert_eq!(world.post(typeform_response()).await, 200, "other forms are not affected");
    let logged = world.stack.log_lines("webhook-receiver");
    let names_the_form = |line: &str| {
        line.contains("\"level\":\"ERROR\"") && line.contains("tellonce/story/webhooks (member `jotform`)")
    };
    assert!(logged.iter().any(|line| names_the_form(&line.text)), "the log names the form");
    world.stack.secrets().rotate("tellonce/story/webhooks/jotform", JOTFORM_SECRET_PATH);
    world.advance_time(SignedDuration::from_secs(31));
    assert_eq!(world.post(jotform_submission()).await, 200, "a new secret is used within half a minute");
}

#[tokio::test]
async fn logs_hold_neither_lead_data_nor_the_secret_in_an_address() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = World::start_with(WorldSetup { env, ..Default::default() }).await;
    for post in one_of_each(&world).into_iter().chain(one_of_each(&world)) {
        assert_eq!(world.post(post).await, 200);
    }
    let stranger = "address-of-a-stranger-0123456789";
    let mut forged = typeform_response();
    forged.body.push(b' ');
    for (post, status) in [
        (forged, 401),
        (typeform_response().with_header("Typeform-Signature", None), 401),
        (google_ads_post(recorded_body("google_ads/lead_wrong_key.json")), 401),
        (website_lead().with_header("X-Webhook-Token", Some(stranger)), 401),
        (jotform_post(stranger, recorded_body("jotform/submission.multipart")), 404),
        (WebhookPost { path: format!("/leads/{stranger}/{stranger}"), ..jotform_submission() }, 404),
        // The correct secret, in deliveries that are refused for another reason.
        (jotform_submission().with_header("Content-Type", Some("text/plain")), 415),
        (WebhookPost { body: vec![b' '; MAX_BODY_BYTES + 1], ..jotform_submission() }, 413),
        (WebhookPost { path: format!("/leads/typeform/{JOTFORM_SECRET_PATH}"), ..typeform_response() }, 404),
    ] {
        assert_eq!(world.post(post).await, status);
    }
    world.stack.secrets().remove("tellonce/story/webhooks/elementor");
    world.advance_time(SignedDuration::from_mins(16));
    assert_eq!(world.post(elementor_submission()).await, 503);
    for (query, status) in [
        (meta_handshake_path(META_VERIFY_TOKEN), 200),
        (meta_handshake_path(stranger), 403),
        (meta_handshake_path(META_VERIFY_TOKEN).replace("subscribe", stranger), 400),
    ] {
        assert_eq!(world.get_path(&query).await.0, status);
    }
    let lines: Vec<String> = world.stack.log_lines("webhook-receiver").into_iter().map(|line| line.text).collect();
    assert!(lines.iter().filter(|line| line.contains("accepted")).count() >= 20, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("refused a delivery") && line.contains("jotform")), "{lines:?}");
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
        GOOGLE_ADS_KEY,
        META_SECRET,
        META_VERIFY_TOKEN,
        META_TOKEN,
        WEBFLOW_SECRET,
        TALLY_SECRET,
        HUBSPOT_SECRET,
        HUBSPOT_TOKEN,
        JOTFORM_SECRET_PATH,
        ELEMENTOR_SECRET_PATH,
        WEB_TOKEN,
    ];
    for line in lines {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}

/// Two forms whose page posts to them without a script: one has a page of its own.
const BROWSER_FORMS_TOML: &str = r#"
[forms.page]
kind = "web"
verify = { scheme = "secret-path" }
line = "main"
id_scope = "page"
thanks_url = "https://www.story.example/thanks"
consent = { field = "whatsapp_consent" }
first_touch = { useful_for = "1d", text = { en = "{% if first_name %}{{ first_name }}, {% endif %}thank you.", he = "תודה." } }

[forms.plain]
kind = "web"
verify = { scheme = "secret-path" }
line = "main"
id_scope = "plain"
name = "Story <Shop>"
language = "he"
consent = { field = "whatsapp_consent" }
first_touch = { useful_for = "1d", text = { en = "Thank you.", he = "{% if first_name %}{{ first_name }}, {% endif %}תודה." } }
"#;

const BROWSER_SECRET: &str = "story-browser_address-77c0d2b9ae41";

/// What a browser posts.
fn browser_post(form: &str, secret: &str, body: &[u8]) -> WebhookPost {
    WebhookPost::new(format!("/leads/{form}"), URLENCODED, body)
        .with_header("Accept", Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"))
        .with_header("Sec-Fetch-Mode", Some("navigate"))
        .with_header("Origin", Some("https://www.story.example"))
        .sign(SenderProof::SecretPath, secret)
        .unwrap()
}

#[tokio::test]
async fn a_browser_that_posts_a_form_gets_a_page_or_the_forms_own() {
    let secrets = ["webhooks/page", "webhooks/plain"].map(|name| (name, BROWSER_SECRET.to_owned()));
    let setup = WorldSetup { extra_toml: BROWSER_FORMS_TOML, extra_secrets: secrets.to_vec(), ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    let hebrew = read_sample("unusual/browser/form_in_windows-1255.form");
    let (status, headers, text) = world.post_for_headers(browser_post("page", BROWSER_SECRET, &hebrew)).await;
    assert_eq!(
        (status, headers.get("location").map(String::as_str), &*text),
        (303, Some("https://www.story.example/thanks"), "")
    );
    // The address of a request chooses nothing.
    let mut elsewhere = browser_post("page", BROWSER_SECRET, b"phone=0525550102&thanks_url=https://evil.example/");
    elsewhere.path.push_str("?thanks_url=https://evil.example/");
    let (status, headers, _) = world.post_for_headers(elsewhere).await;
    assert_eq!((status, &*headers["location"]), (303, "https://www.story.example/thanks"));
    let latin = read_sample("unusual/browser/form_in_iso-8859-1.form");
    let latin = String::from_utf8(latin).unwrap().replace("0406", "0407");
    let (status, headers, text) = world.post_for_headers(browser_post("plain", BROWSER_SECRET, latin.as_bytes())).await;
    assert_eq!((status, &*headers["content-type"]), (200, "text/html; charset=utf-8"));
    assert!(text.contains("<h1>תודה</h1>") && text.contains("Story &lt;Shop&gt;"), "{text}");
    assert!(!text.contains(BROWSER_SECRET) && headers["referrer-policy"] == "no-referrer", "{headers:?}");
    // A refusal is a page, too, and tells a stranger nothing.
    let (status, headers, text) = world.post_for_headers(browser_post("plain", "other", latin.as_bytes())).await;
    assert_eq!((status, &*headers["content-type"]), (404, "text/html; charset=utf-8"));
    assert!(text.contains("no sender is configured for this path"), "{text}");
    // A script of a page gets what a server gets, and its page may read it.
    let script = |secret: &str, origin: Option<&str>| {
        let post = browser_post("page", secret, b"phone=0525550103").with_header("Accept", Some("*/*"));
        post.with_header("Sec-Fetch-Mode", Some("cors")).with_header("Origin", origin)
    };
    let page = Some("https://www.story.example");
    for (secret, origin, status, readers) in
        [(BROWSER_SECRET, page, 200, Some("*")), ("other", page, 404, Some("*")), (BROWSER_SECRET, None, 200, None)]
    {
        let (answered, headers, _) = world.post_for_headers(script(secret, origin)).await;
        let readable_by = headers.get("access-control-allow-origin").map(String::as_str);
        assert_eq!((answered, readable_by), (status, readers), "{origin:?}");
        assert!(!headers.contains_key("location"), "{headers:?}");
    }
    world.settle().await;
    assert_eq!(world.texts_on_phone("+972545550406"), ["תודה."]);
    assert_eq!(world.texts_on_phone("+972545550407"), ["José, תודה."]);
    assert!(!format!("{:?}", world.message_rows()).contains(char::REPLACEMENT_CHARACTER));
}
