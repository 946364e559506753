//! Proofs of all senders: published vectors, recorded deliveries, and requests of strangers.
//!
//! Long because it shows the proof of every sender once.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;
use tellonce_samples::{
    SenderProof, WebhookPost, build_header_map, read_sample_json, sample_deliveries, sign_base64, sign_hex,
};

use super::*;
use crate::client_config::{
    AcuityCalendar, CalcomCalendar, CalendarKind, FallbackId, FormConfig, FormKind, JsonPointer, ShopifyStore,
    SquareCalendar, StoreKind, WooCommerceStore,
};

const KEY: &str = "a secret of the tests";
const SQUARE_URL: &str = "https://hooks.example.com/bookings/spa";
const HUBSPOT_URL: &str = "https://hooks.example.com/leads/crm";

fn test_now() -> Timestamp {
    "2026-11-19T10:00:00Z".parse().unwrap()
}

fn verify_at<'a>(
    proof: DeliveryProof<'_>,
    key: &str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    now: Timestamp,
) -> Result<VerificationOutcome<'a>, Refusal> {
    verify_delivery("clinic", proof, &Secret::new(key), Unverified { headers, body }, now)
}

/// The id of a delivery that is verified.
fn delivery_id_of(proof: DeliveryProof<'_>, pairs: &[(&str, &str)], body: &[u8]) -> Result<String, Refusal> {
    match verify_at(proof, KEY, &build_header_map(pairs), body, test_now())? {
        VerificationOutcome::Verified(verified) => {
            assert_eq!((verified.sender, verified.body), ("clinic", body));
            Ok(verified.delivery_id)
        }
        VerificationOutcome::Ping => panic!("a ping"),
    }
}

/// The same proof, bound to another account or address.
fn bind<'a>(proof: DeliveryProof<'_>, binding: &'a str) -> DeliveryProof<'a> {
    match proof {
        DeliveryProof::Signature { scheme, .. } => DeliveryProof::Signature { scheme, binding },
        other => panic!("{other:?}"),
    }
}

fn shopify(shop_domain: &str) -> DeliveryProof<'_> {
    bind(StoreKind::Shopify(ShopifyStore { shop_domain: String::new() }).proof(), shop_domain)
}

fn woocommerce(source: &str) -> DeliveryProof<'_> {
    let store = WooCommerceStore { source: String::new(), statuses: BTreeMap::new(), pickup_methods: Vec::new() };
    bind(StoreKind::WooCommerce(store).proof(), source)
}

fn calcom() -> DeliveryProof<'static> {
    static CALCOM: CalendarKind = CalendarKind::CalCom(CalcomCalendar { phone_question: None });
    CALCOM.proof().unwrap()
}

fn acuity() -> DeliveryProof<'static> {
    bind(CalendarKind::Acuity(AcuityCalendar { user_id: String::new() }).proof().unwrap(), "")
}

fn square(notification_url: &str) -> DeliveryProof<'_> {
    let calendar = SquareCalendar { notification_url: String::new() };
    bind(CalendarKind::Square(calendar).proof().unwrap(), notification_url)
}

fn own_proof(kind: FormKind) -> DeliveryProof<'static> {
    kind.facts().own_proof.unwrap().proof
}

fn hubspot(notification_url: &str) -> DeliveryProof<'_> {
    bind(own_proof(FormKind::HubSpot), notification_url)
}

fn published_vectors() -> Value {
    read_sample_json("stores/standardwebhooks/official_vectors.json")
}

// ----------------------------------------------------------------------------------------- vectors

#[test]
fn the_published_vectors_of_standard_webhooks_are_verified() {
    for vector in published_vectors()["vectors"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let seconds = vector["timestamp"].as_i64().unwrap();
        let stamp = seconds.to_string();
        let signed =
            [("webhook-id", text("id")), ("webhook-timestamp", &stamp), ("webhook-signature", text("signature"))];
        let headers = build_header_map(&signed);
        let (key, body) = (text("secret"), text("payload").as_bytes());
        let at = |offset: i64| Timestamp::from_second(seconds + offset).unwrap();
        let check = |body, offset| verify_at(DeliveryProof::StandardWebhooks, key, &headers, body, at(offset));
        for near in [-300, 0, 300] {
            let Ok(VerificationOutcome::Verified(verified)) = check(body, near) else { panic!("{near}") };
            assert_eq!(verified.delivery_id, text("id"));
        }
        assert_eq!(check(body, 301), Err(Refusal::TimestampOutOfRange { seconds: 301, tolerance: 300 }));
        assert_eq!(check(body, -301), Err(Refusal::TimestampOutOfRange { seconds: -301, tolerance: 300 }));
        assert_eq!(check(b"{}", 0), Err(Refusal::ProofMismatch));
    }
}

#[test]
fn the_published_vectors_are_verified_with_the_headers_of_svix_too() {
    let vectors = published_vectors();
    let vector = &vectors["vectors"][0];
    let text = |name: &str| vector[name].as_str().unwrap();
    let seconds = vector["timestamp"].as_i64().unwrap();
    let (stamp, at) = (seconds.to_string(), Timestamp::from_second(seconds).unwrap());
    let [id, signature] = ["id", "signature"].map(text);
    let check = |pairs: &[(&str, &str)], body: &[u8]| {
        let headers = build_header_map(pairs);
        verify_at(DeliveryProof::StandardWebhooks, text("secret"), &headers, body, at).map(|outcome| match outcome {
            VerificationOutcome::Verified(verified) => verified.delivery_id,
            VerificationOutcome::Ping => panic!("a ping"),
        })
    };
    let body = text("payload").as_bytes();
    let svix = [("svix-id", id), ("svix-timestamp", &*stamp), ("svix-signature", signature)];
    let standard = [("webhook-id", id), ("webhook-timestamp", &*stamp), ("webhook-signature", signature)];
    assert_eq!(check(&svix, body).as_deref(), Ok(id));
    assert_eq!(check(&svix, b"{}"), Err(Refusal::ProofMismatch));
    assert_eq!(check(&[svix, standard].concat(), body).as_deref(), Ok(id));
    // Two complete sets that differ, and parts of both.
    let other_id = [svix[1], svix[2], ("svix-id", "msg_other")];
    assert_eq!(check(&[standard, other_id].concat(), body), Err(Refusal::HeaderMalformed("svix-id")));
    for (mixed, missing) in [
        ([svix[0], standard[1], standard[2]], "webhook-id"),
        ([standard[0], svix[1], svix[2]], "webhook-timestamp"),
        ([svix[0], svix[1], standard[2]], "webhook-id"),
    ] {
        assert_eq!(check(&mixed, body), Err(Refusal::HeaderMissing(missing)), "{mixed:?}");
    }
    assert_eq!(check(&svix[..2], body), Err(Refusal::HeaderMissing("svix-signature")));
    assert_eq!(check(&[], body), Err(Refusal::HeaderMissing("webhook-id")));
    assert_eq!(check(&[standard.as_slice(), &svix[..1]].concat(), body).as_deref(), Ok(id));
    let malformed = [svix[0], ("svix-timestamp", "soon"), svix[2]];
    assert_eq!(check(&malformed, body), Err(Refusal::HeaderMalformed("svix-timestamp")));
}

#[test]
fn the_secret_of_woocommerce_is_decoded_as_wordpress_does() {
    let body = br#"{"id":1}"#;
    for (stored, key) in [
        ("plain", "plain"),
        ("a &amp; b &lt;1&gt; &quot;2&quot; &#039;3&#39;", "a & b <1> \"2\" '3'"),
        ("&#38;&#038;&#x26;&#X0026;&#60;&#062;&#0034;&#x22;&#x27;", "&&&&<>\"\"'"),
        // Each entity once, from left to right.
        ("&amp;lt;&amp;amp;", "&lt;&amp;"),
        ("p&hearts;w-&apos;&eacute;&nbsp;&#x3c;&#8364;", "p&hearts;w-&apos;&eacute;&nbsp;&#x3c;&#8364;"),
        ("&AMP;&Lt;&amp &; &#; &#x; & &&amp;", "&AMP;&Lt;&amp &; &#; &#x; & &&"),
    ] {
        let signature = sign_base64(key, body);
        let headers = build_header_map(&[
            ("X-WC-Webhook-Source", "https://shop.example/"),
            ("X-WC-Webhook-Topic", "order.updated"),
            ("X-WC-Webhook-Delivery-ID", "d"),
            ("X-WC-Webhook-Signature", &signature),
        ]);
        let outcome = verify_at(woocommerce("https://shop.example/"), stored, &headers, body, test_now());
        assert!(outcome.is_ok(), "{stored}: {outcome:?}");
    }
}

#[test]
fn the_published_vector_of_square_is_verified_for_its_url_only() {
    let vectors = published_vectors();
    let schemes = vectors["other_schemes"].as_array().unwrap();
    let vector = schemes.iter().find(|vector| vector["scheme"] == "square").unwrap();
    let text = |name: &str| vector[name].as_str().unwrap();
    assert_eq!((text("secret"), text("url")), ("asdf1234", "https://example.com/webhook"));
    let headers = build_header_map(&[("x-square-hmacsha256-signature", text("signature"))]);
    let check = |url: &str| verify_at(square(url), "asdf1234", &headers, br#"{"hello":"world"}"#, test_now()).is_ok();
    assert!(check("https://example.com/webhook"));
    for other in [
        "https://example.com/webhook/",
        "http://example.com/webhook",
        "https://Example.com/webhook",
        "https://example.com:443/webhook",
        "https://example.com/webhook?",
        "",
    ] {
        assert!(!check(other), "{other}");
    }
}

#[test]
fn the_published_vector_of_x_hub_signature_256_is_verified() {
    let vectors = published_vectors();
    let schemes = vectors["other_schemes"].as_array().unwrap();
    let vector = schemes.iter().find(|vector| vector["scheme"].as_str().unwrap().starts_with("hub sha256")).unwrap();
    let text = |name: &str| vector[name].as_str().unwrap();
    let headers = build_header_map(&[("X-Hub-Signature-256", text("signature"))]);
    let check = |body| verify_at(own_proof(FormKind::Meta), text("secret"), &headers, body, test_now());
    assert!(check(text("payload").as_bytes()).is_ok());
    assert_eq!(check(b"Hello, World"), Err(Refusal::ProofMismatch));
}

// -------------------------------------------------------------------------------------- recordings

#[test]
fn recorded_deliveries_of_booking_systems_are_verified_as_their_manifest_says() {
    let mut seen = Vec::new();
    for system in ["calcom", "calendly", "acuity", "square", "google_calendar"] {
        for sample in sample_deliveries(&format!("bookings/{system}")) {
            let (auth, facts, name) = (&sample.auth, &sample.facts, &sample.name);
            let (headers, body) = (build_header_map(&sample.headers), &sample.body);
            let at = auth["now"].as_i64().map_or(test_now(), |seconds| Timestamp::from_second(seconds).unwrap());
            let proof = match system {
                "calcom" => calcom(),
                "calendly" => DeliveryProof::Calendly,
                "acuity" => acuity(),
                "square" => square(auth["url"].as_str().unwrap()),
                _ => DeliveryProof::GoogleChannel,
            };
            match verify_at(proof, auth["secret"].as_str().unwrap(), &headers, body, at) {
                Ok(VerificationOutcome::Ping) => assert_eq!(facts["kind"], "handshake", "{name}"),
                Ok(VerificationOutcome::Verified(verified)) => {
                    assert_eq!(facts["verify"], true, "{name}");
                    if let Some(id) = facts["delivery_id"].as_str() {
                        assert_eq!(verified.delivery_id, id, "{name}");
                    }
                }
                Err(refusal) => assert_eq!((&facts["verify"], refusal), (&false.into(), Refusal::Unsigned), "{name}"),
            }
            assert!(verify_at(proof, "another secret", &headers, body, at).is_err(), "{name}");
            seen.push(sample.full_name());
        }
    }
    assert!(seen.len() >= 18, "{seen:?}");
}

#[test]
fn recorded_deliveries_of_forms_are_verified_as_their_manifest_says() {
    let mut seen = Vec::new();
    for system in ["typeform", "google_ads", "meta", "webflow", "tally", "hubspot", "jotform", "wordpress", "web"] {
        for sample in sample_deliveries(&format!("leads/{system}")) {
            let (auth, facts, name) = (&sample.auth, &sample.facts, &*sample.name);
            let (headers, body) = (build_header_map(&sample.headers), &sample.body);
            let at = auth["now_ms"].as_i64().map_or(test_now(), |millis| Timestamp::from_millisecond(millis).unwrap());
            let secret = auth["secret"].as_str().unwrap_or(KEY);
            let proof = match auth["scheme"].as_str().unwrap() {
                "typeform" => own_proof(FormKind::Typeform),
                "google-key-in-body" => DeliveryProof::GoogleAds,
                "meta-hub-256" => own_proof(FormKind::Meta),
                "webflow" => own_proof(FormKind::Webflow),
                "tally" => own_proof(FormKind::Tally),
                "hubspot-v3" => hubspot(auth["uri"].as_str().unwrap()),
                "static-header" => DeliveryProof::StaticHeader {
                    header: auth["header"].as_str().unwrap(),
                    delivery_id: None,
                    fallback_id: FallbackId::ByMinute,
                },
                // A sender that signs nothing has a secret address.
                _ => DeliveryProof::SecretPath(PathSecret(KEY)),
            };
            match verify_at(proof, secret, &headers, body, at) {
                Ok(VerificationOutcome::Verified(verified)) => {
                    assert_ne!(facts["verify"], false, "{name}");
                    assert_eq!(verified.headers["content-type"], headers["content-type"].to_str().unwrap(), "{name}");
                    let by_content = |id: &str| id.len() == 32 || id.split_once('.').is_some_and(|it| it.0.len() == 32);
                    match system {
                        "typeform" | "tally" => {
                            assert_eq!(verified.delivery_id, facts["delivery_id"].as_str().unwrap());
                        }
                        "google_ads" | "webflow" => {
                            assert_eq!(verified.delivery_id, facts["entity_id"].as_str().unwrap());
                        }
                        _ => assert!(by_content(&verified.delivery_id), "{name}: {}", verified.delivery_id),
                    }
                }
                Ok(VerificationOutcome::Ping) => panic!("{name}"),
                Err(refusal) => {
                    let expected = match name {
                        "form_response.unsigned" => Refusal::Unsigned,
                        "form_submission.unsigned" => Refusal::HeaderMissing("x-webflow-signature"),
                        _ => Refusal::ProofMismatch,
                    };
                    assert_eq!((&facts["verify"], refusal), (&false.into(), expected), "{name}");
                }
            }
            assert!(verify_at(proof, "another secret", &headers, body, at).is_err(), "{name}");
            seen.push(sample.full_name());
        }
    }
    assert!(seen.len() >= 19, "{seen:?}");
}

// ------------------------------------------------------------------------------------- each system

#[test]
fn cal_com_signatures_are_hex_in_either_case() {
    let body = br#"{"triggerEvent":"BOOKING_CREATED","payload":{"uid":"u1"}}"#;
    let check = |signature: &str| delivery_id_of(calcom(), &[("X-Cal-Signature-256", signature)], body);
    let right = sign_hex(KEY, body);
    let id = check(&right).unwrap();
    assert_eq!(id.len(), 32, "the body's hash: {id}");
    assert_eq!(check(&right.to_uppercase()), Ok(id));
    let malformed = Err(Refusal::HeaderMalformed("x-cal-signature-256"));
    for wrong in ["", "zz", &right[1..], &format!("sha256={right}"), &format!("{right} "), "é"] {
        assert_eq!(check(wrong), malformed, "{wrong}");
    }
    for wrong in ["00", &right[2..], &format!("{right}00"), &sign_hex("another", body), &sign_hex(KEY, b"{}")] {
        assert_eq!(check(wrong), Err(Refusal::ProofMismatch), "{wrong}");
    }
    assert_eq!(delivery_id_of(calcom(), &[], body), Err(Refusal::HeaderMissing("x-cal-signature-256")));
}

#[test]
fn cal_com_without_a_secret_is_unsigned_and_the_refusal_says_what_to_do() {
    let refused = delivery_id_of(calcom(), &[("X-Cal-Signature-256", "no-secret-provided")], b"{}").unwrap_err();
    assert_eq!(refused, Refusal::Unsigned);
    assert_eq!(refused.to_string(), "the delivery is not signed; set a secret for this webhook at the sender");
    // The literal is refused even if it is the secret and signs the body.
    let headers = build_header_map(&[("X-Cal-Signature-256", "no-secret-provided")]);
    assert_eq!(verify_at(calcom(), "no-secret-provided", &headers, b"{}", test_now()), Err(Refusal::Unsigned));
}

#[test]
fn calendly_signs_time_and_body_in_any_order_and_number_of_parts() {
    let body = br#"{"event":"invitee.created"}"#;
    let stamp = test_now().as_second();
    let v1 = sign_hex(KEY, [format!("{stamp}.").as_bytes(), body].concat());
    let check =
        |signature: &str| delivery_id_of(DeliveryProof::Calendly, &[("Calendly-Webhook-Signature", signature)], body);
    let id = check(&format!("t={stamp},v1={v1}"));
    assert!(id.is_ok());
    let other = sign_hex("another", body);
    for right in [
        format!("v1={v1},t={stamp}"),
        format!(" t={stamp} , v1={v1} "),
        format!("t={stamp},v1={},v0=x,,t2=5", v1.to_uppercase()),
        format!("t={stamp},v1={other},v1={v1}"),
        format!("t={stamp},v1={v1},v1=zz,v1="),
    ] {
        assert_eq!(check(&right), id, "{right}");
    }
    let malformed = Err(Refusal::HeaderMalformed("calendly-webhook-signature"));
    for wrong in [
        String::new(),
        v1.clone(),
        format!("v1={v1}"),
        format!("t={stamp}"),
        format!("t={stamp},v2={v1}"),
        format!("t={stamp},v1=zz"),
        format!("t=,v1={v1}"),
        format!("t=soon,v1={v1}"),
        format!("t={stamp}.5,v1={v1}"),
        format!("t= {stamp},v1={v1}"),
        format!("t={stamp}00000000000000000000,v1={v1}"),
        format!("t={stamp};v1={v1}"),
    ] {
        assert_eq!(check(&wrong), malformed, "{wrong}");
    }
    for wrong in [
        format!("t={},v1={v1}", stamp + 1),
        format!("t=0{stamp},v1={v1}"),
        format!("t={stamp},v1={other}"),
        format!("t={stamp},v1="),
    ] {
        assert_eq!(check(&wrong), Err(Refusal::ProofMismatch), "{wrong}");
    }
}

#[test]
fn calendly_may_repeat_what_it_signed_a_day_ago_and_no_longer() {
    let body = b"{}";
    let stamp = test_now().as_second();
    let v1 = sign_hex(KEY, [format!("{stamp}.").as_bytes(), body].concat());
    let headers = build_header_map(&[("Calendly-Webhook-Signature", &format!("t={stamp},v1={v1}"))]);
    let check = |span: SignedDuration| verify_at(DeliveryProof::Calendly, KEY, &headers, body, test_now() + span);
    assert!(check(SignedDuration::from_hours(24)).is_ok());
    assert!(check(SignedDuration::from_hours(25)).is_ok());
    let (seconds, tolerance) = (25 * 3600 + 1, 25 * 3600);
    let late = check(SignedDuration::from_secs(seconds)).unwrap_err();
    assert_eq!(late, Refusal::TimestampOutOfRange { seconds, tolerance });
    assert_eq!(late.to_string(), "the delivery was signed 90001 s ago; more than 90000 s is refused");
    let early = check(SignedDuration::from_secs(-seconds)).unwrap_err();
    assert_eq!(early.to_string(), "the delivery was signed 90001 s in the future; more than 90000 s is refused");
    // A forgery is reported as a forgery, at any age.
    let forged =
        verify_at(DeliveryProof::Calendly, "another", &headers, body, test_now() + SignedDuration::from_hours(50));
    assert_eq!(forged, Err(Refusal::ProofMismatch));
}

#[test]
fn every_receipt_from_acuity_is_a_separate_delivery() {
    let body = b"action=changed&id=1126438001&calendarID=1&appointmentTypeID=2";
    let headers = build_header_map(&[("X-Acuity-Signature", &sign_base64(KEY, body))]);
    let id_at = |millis: i64| match verify_at(
        acuity(),
        KEY,
        &headers,
        body,
        test_now() + SignedDuration::from_millis(millis),
    ) {
        Ok(VerificationOutcome::Verified(verified)) => verified.delivery_id,
        other => panic!("{other:?}"),
    };
    // An appointment that is moved twice repeats the same bytes.
    assert_ne!(id_at(0), id_at(1));
    assert_eq!(id_at(0), id_at(0));
    assert!(id_at(0).ends_with(".1795082400000"), "{}", id_at(0));
    for (wrong, refused) in [
        ("***", Refusal::HeaderMalformed("x-acuity-signature")),
        (&sign_hex(KEY, body)[1..], Refusal::HeaderMalformed("x-acuity-signature")),
        (&sign_base64(KEY, b"action=scheduled"), Refusal::ProofMismatch),
        (&sign_base64("another", body), Refusal::ProofMismatch),
    ] {
        assert_eq!(delivery_id_of(acuity(), &[("X-Acuity-Signature", wrong)], body), Err(refused), "{wrong}");
    }
}

#[test]
fn square_deliveries_are_identified_by_event_id_or_else_by_body() {
    let proof = square(SQUARE_URL);
    let id = |body: &str| {
        let signature = sign_base64(KEY, format!("{SQUARE_URL}{body}").as_bytes());
        delivery_id_of(proof, &[("X-Square-HmacSha256-Signature", &signature)], body.as_bytes()).unwrap()
    };
    assert_eq!(id(r#"{"merchant_id":"M","event_id":"ac3ac95b","data":{"event_id":"inner"}}"#), "ac3ac95b");
    assert_eq!(id(r#"{"event_id":"א/1"}"#), "א/1");
    let long = "x".repeat(MAX_DELIVERY_ID_BYTES);
    assert_eq!(id(&format!(r#"{{"event_id":"{long}"}}"#)), long);
    let deep = format!(r#"{{"event_id":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let longer = format!(r#"{{"event_id":"{long}x"}}"#);
    for odd in ["", "{}", "[]", r#"{"event_id":""}"#, r#"{"event_id":5}"#, r#"{"event_id":null}"#, &deep, &longer] {
        let short: String = odd.chars().take(40).collect();
        assert_eq!(id(odd).len(), 32, "{short}");
    }
    let forged = [("X-Square-HmacSha256-Signature", sign_base64(KEY, b"{}"))];
    assert_eq!(
        delivery_id_of(proof, &[(forged[0].0, &forged[0].1)], b"{}"),
        Err(Refusal::ProofMismatch),
        "the URL is signed too"
    );
}

#[test]
fn a_google_channel_is_verified_by_its_token_and_a_notification_identified_by_its_number() {
    let push = |token: &'static str, state: &'static str| {
        vec![
            ("X-Goog-Channel-ID", "4ba78bf0"),
            ("X-Goog-Channel-Token", token),
            ("X-Goog-Resource-State", state),
            ("X-Goog-Message-Number", "10"),
        ]
    };
    for state in ["exists", "not_exists"] {
        assert_eq!(delivery_id_of(DeliveryProof::GoogleChannel, &push(KEY, state), b"").as_deref(), Ok("4ba78bf0.10"));
    }
    let sync = build_header_map(&push(KEY, "sync"));
    assert_eq!(verify_at(DeliveryProof::GoogleChannel, KEY, &sync, b"", test_now()), Ok(VerificationOutcome::Ping));
    for token in ["another", "a secret of the tests ", "A secret of the tests", "a secret", "x"] {
        for state in ["exists", "sync"] {
            assert_eq!(
                delivery_id_of(DeliveryProof::GoogleChannel, &push(token, state), b""),
                Err(Refusal::ProofMismatch),
                "{token}"
            );
        }
    }
    for missing in ["x-goog-channel-id", "x-goog-channel-token", "x-goog-resource-state", "x-goog-message-number"] {
        let mut headers = build_header_map(&push(KEY, "exists"));
        headers.remove(missing);
        assert_eq!(
            verify_at(DeliveryProof::GoogleChannel, KEY, &headers, b"", test_now()),
            Err(Refusal::HeaderMissing(missing))
        );
    }
}

#[test]
fn a_booking_without_a_delivery_id_counts_each_time_and_such_an_order_counts_once() {
    let pointer: JsonPointer = serde_json::from_str("\"/id\"").unwrap();
    let token = ("X-Webhook-Token", KEY);
    let proof = |unnamed| DeliveryProof::StaticHeader {
        header: "X-Webhook-Token",
        delivery_id: Some(&pointer),
        fallback_id: unnamed,
    };
    let (order, booking) = (proof(FallbackId::ByBody), proof(FallbackId::ByReceipt));
    assert_eq!(delivery_id_of(order, &[token], b"{}").unwrap().len(), 32);
    assert!(delivery_id_of(booking, &[token], b"{}").unwrap().ends_with(".1795082400000"));
    for proof in [order, booking] {
        assert_eq!(delivery_id_of(proof, &[token], br#"{"id":"e1"}"#).as_deref(), Ok("e1"));
        assert_eq!(delivery_id_of(proof, &[token], br#"{"id":9007199254740993}"#).as_deref(), Ok("9007199254740993"));
        assert_eq!(delivery_id_of(proof, &[token, ("webhook-id", "m1")], br#"{"id":"e1"}"#).as_deref(), Ok("m1"));
        assert_eq!(delivery_id_of(proof, &[("X-Webhook-Token", "a secret")], b"{}"), Err(Refusal::ProofMismatch));
        let missing = delivery_id_of(proof, &[], b"{}").unwrap_err();
        assert_eq!(missing.to_string(), "the header that carries the secret is missing");
    }
    let nowhere = DeliveryProof::StaticHeader {
        header: "not a header's name",
        delivery_id: None,
        fallback_id: FallbackId::ByBody,
    };
    assert!(delivery_id_of(nowhere, &[token], b"{}").is_err());
}

#[test]
fn typeform_signs_in_base64_behind_a_prefix_or_not_at_all() {
    let body = br#"{"event_id":"01HF7Z3V9QK2M4N6P8R0S2T4V6","form_response":{"token":"t"}}"#;
    let check =
        |signature: &str| delivery_id_of(own_proof(FormKind::Typeform), &[("Typeform-Signature", signature)], body);
    let right = sign_base64(KEY, body);
    assert_eq!(check(&format!("sha256={right}")).as_deref(), Ok("01HF7Z3V9QK2M4N6P8R0S2T4V6"));
    assert_eq!(delivery_id_of(own_proof(FormKind::Typeform), &[], body), Err(Refusal::Unsigned));
    for wrong in ["", &right, "sha256", "sha256=*", &format!("SHA256={right}"), &format!("sha1={right}"), "é"] {
        assert_eq!(check(wrong), Err(Refusal::HeaderMalformed("typeform-signature")), "{wrong}");
    }
    for wrong in ["sha256=", "sha256=AAAA", &format!("sha256={}", sign_base64("another", body))] {
        assert_eq!(check(wrong), Err(Refusal::ProofMismatch), "{wrong}");
    }
}

#[test]
fn google_ads_is_verified_by_the_key_in_its_body_and_a_lead_identified_by_its_id() {
    let check = |body: &str| delivery_id_of(DeliveryProof::GoogleAds, &[], body.as_bytes());
    let with = |rest: &str| check(&format!(r#"{{"google_key":"{KEY}"{rest}}}"#));
    assert_eq!(with(r#","lead_id":"TeSter-1""#).as_deref(), Ok("TeSter-1"));
    assert_eq!(with(r#","lead_id":12345678901234567890123"#).as_deref(), Ok("12345678901234567890123"));
    assert_eq!(with(r#","lead_id":1.0E+6"#).as_deref(), Ok("1.0E+6"));
    for odd in ["", r#","lead_id":null"#, r#","lead_id":"""#, r#","lead_id":{"a":1}"#, r#","lead_id":"\ud800""#] {
        assert_eq!(with(odd).unwrap().len(), 32, "{odd}");
    }
    let key_missing = Err(Refusal::KeyMissing("google_key"));
    for without in [
        "",
        "{}",
        "[]",
        "null",
        "\u{1}",
        r#"{"google_key":5}"#,
        r#"{"google_key":null}"#,
        r#"{"key":"a secret"}"#,
        "{\"google_key\":",
    ] {
        assert_eq!(check(without), key_missing, "{without}");
    }
    for wrong in ["another", "", "A secret of the tests", "a secret of the tests ", "a secret"] {
        assert_eq!(check(&format!(r#"{{"google_key":"{wrong}"}}"#)), Err(Refusal::ProofMismatch), "{wrong}");
    }
    // JSON escapes do not change the key.
    assert!(check(r#"{"google_key":"a secret of the\u0020tests"}"#).is_ok());
    let refusal_text = Refusal::KeyMissing("google_key").to_string();
    assert_eq!(refusal_text, "the body has no google_key; set a key in the webhook settings of the sender");
}

#[test]
fn meta_signs_in_hex_behind_a_prefix_and_one_delivery_may_name_several_leads() {
    let body = br#"{"object":"page","entry":[{"changes":[{"value":{"leadgen_id":1}},{"value":{"leadgen_id":2}}]}]}"#;
    let check =
        |signature: &str| delivery_id_of(own_proof(FormKind::Meta), &[("X-Hub-Signature-256", signature)], body);
    let right = sign_hex(KEY, body);
    let id = check(&format!("sha256={right}")).unwrap();
    assert_eq!(id, crate::hash::sha256_hex(body, 16));
    assert_eq!(check(&format!("sha256={}", right.to_uppercase())), Ok(id));
    let malformed = Err(Refusal::HeaderMalformed("x-hub-signature-256"));
    for wrong in ["", &right, "sha256=zz", &format!("sha256={}", &right[1..]), &format!("sha1={right}")] {
        assert_eq!(check(wrong), malformed, "{wrong}");
    }
    for wrong in ["sha256=", &format!("sha256={}", sign_hex("another", body))] {
        assert_eq!(check(wrong), Err(Refusal::ProofMismatch), "{wrong}");
    }
    // The older signature beside it proves nothing.
    let older = [("X-Hub-Signature", "sha1=7848f96b9a8e70cbc2f38177d6665240c652bba2")];
    assert_eq!(
        delivery_id_of(own_proof(FormKind::Meta), &older, body),
        Err(Refusal::HeaderMissing("x-hub-signature-256"))
    );
}

#[test]
fn webflow_signs_milliseconds_and_body_and_puts_the_id_in_one_of_two_places() {
    let signed_at = test_now().as_millisecond();
    let pairs = |stamp: &str, body: &str| {
        let signature = sign_hex(KEY, format!("{stamp}:{body}").as_bytes());
        vec![("x-webflow-timestamp".to_owned(), stamp.to_owned()), ("x-webflow-signature".to_owned(), signature)]
    };
    let check = |stamp: &str, body: &str| {
        let pairs = pairs(stamp, body);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        delivery_id_of(own_proof(FormKind::Webflow), &pairs, body.as_bytes())
    };
    let stamp = signed_at.to_string();
    assert_eq!(check(&stamp, r#"{"payload":{"id":"65a5"},"_id":"old"}"#).as_deref(), Ok("65a5"));
    assert_eq!(check(&stamp, r#"{"name":"Form","_id":"6321"}"#).as_deref(), Ok("6321"));
    assert_eq!(check(&stamp, r#"{"payload":{"id":null}}"#).unwrap().len(), 32);
    for near in [-3_600_000, 3_600_000] {
        assert!(check(&(signed_at + near).to_string(), "{}").is_ok(), "{near}");
    }
    let stale = |seconds| Err(Refusal::TimestampOutOfRange { seconds, tolerance: 3600 });
    assert_eq!(check(&(signed_at - 3_601_000).to_string(), "{}"), stale(3601));
    assert_eq!(check(&(signed_at + 3_601_000).to_string(), "{}"), stale(-3601));
    // Read as milliseconds, a stamp in seconds is a day of 1970.
    assert!(matches!(check(&test_now().as_second().to_string(), "{}"), Err(Refusal::TimestampOutOfRange { .. })));
    for odd in ["soon", "1795082400000.5", "99999999999999999999", "+ 5"] {
        assert_eq!(check(odd, "{}"), Err(Refusal::HeaderMalformed("x-webflow-timestamp")), "{odd}");
    }
    let forged = [("x-webflow-timestamp", stamp.as_str()), ("x-webflow-signature", "00")];
    assert_eq!(delivery_id_of(own_proof(FormKind::Webflow), &forged, b"{}"), Err(Refusal::ProofMismatch));
    assert_eq!(
        delivery_id_of(own_proof(FormKind::Webflow), &forged[..1], b"{}"),
        Err(Refusal::HeaderMissing("x-webflow-signature"))
    );
    assert_eq!(
        delivery_id_of(own_proof(FormKind::Webflow), &forged[1..], b"{}"),
        Err(Refusal::HeaderMissing("x-webflow-timestamp"))
    );
}

#[test]
fn tally_signs_in_base64_or_not_at_all() {
    let id = |body: &str| {
        delivery_id_of(
            own_proof(FormKind::Tally),
            &[("Tally-Signature", &sign_base64(KEY, body.as_bytes()))],
            body.as_bytes(),
        )
        .unwrap()
    };
    assert_eq!(id(r#"{"eventId":"a4cb511e","data":{"eventId":"inner"}}"#), "a4cb511e");
    assert_eq!(id("{}").len(), 32);
    assert_eq!(delivery_id_of(own_proof(FormKind::Tally), &[], b"{}"), Err(Refusal::Unsigned));
    for (wrong, refused) in [
        ("*", Refusal::HeaderMalformed("tally-signature")),
        ("", Refusal::HeaderMalformed("tally-signature")),
        (&sign_hex(KEY, b"{}"), Refusal::ProofMismatch),
        (&sign_base64("another", b"{}"), Refusal::ProofMismatch),
    ] {
        assert_eq!(
            delivery_id_of(own_proof(FormKind::Tally), &[("Tally-Signature", wrong)], b"{}"),
            Err(refused),
            "{wrong}"
        );
    }
}

#[test]
fn hubspot_signs_its_url_with_some_characters_decoded() {
    let stamp = test_now().as_millisecond().to_string();
    let check = |registered: &str, signed: &str, stamp: &str| {
        let signature = sign_base64(KEY, format!("POST{signed}[]{stamp}").as_bytes());
        let pairs = [("X-HubSpot-Request-Timestamp", stamp), ("X-HubSpot-Signature-v3", signature.as_str())];
        delivery_id_of(hubspot(registered), &pairs, b"[]")
    };
    assert_eq!(check(HUBSPOT_URL, HUBSPOT_URL, &stamp), Ok(crate::hash::sha256_hex(b"[]", 16)));
    for (registered, signed) in [
        ("https://x.example/%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B", "https://x.example/:/?@!$'()*,;"),
        ("https://x.example/a%3ab%2fc?d=%2C", "https://x.example/a:b/c?d=,"),
        // All other characters stay, also invalid escapes, and nothing is decoded twice.
        ("https://x.example/%20%26%3D%2B%25%D7%90", "https://x.example/%20%26%3D%2B%25%D7%90"),
        ("https://x.example/%253A%", "https://x.example/%253A%"),
        ("https://x.example/%é%2", "https://x.example/%é%2"),
        ("https://x.example/%%3A", "https://x.example/%:"),
    ] {
        assert!(check(registered, signed, &stamp).is_ok(), "{registered}");
        assert_eq!(check(registered, "https://x.example/", &stamp), Err(Refusal::ProofMismatch), "{registered}");
    }
    let millis = test_now().as_millisecond();
    assert!(check(HUBSPOT_URL, HUBSPOT_URL, &(millis - 300_000).to_string()).is_ok());
    let late = check(HUBSPOT_URL, HUBSPOT_URL, &(millis - 301_000).to_string());
    assert_eq!(late, Err(Refusal::TimestampOutOfRange { seconds: 301, tolerance: 300 }));
    let odd = check(HUBSPOT_URL, HUBSPOT_URL, "soon");
    assert_eq!(odd, Err(Refusal::HeaderMalformed("x-hubspot-request-timestamp")));
}

#[test]
fn a_secret_address_is_verified_by_its_last_part_only_and_never_shows_it() {
    let proof_at =
        |given: &'static str| DeliveryProof::SecretPath(PathSecret::default()).with_path_secret(Some(given)).unwrap();
    assert!(delivery_id_of(proof_at(KEY), &[], b"anything").is_ok());
    for wrong in ["", "a secret", "a secret of the tests/", "/a secret of the tests", "A secret of the tests", "x"] {
        let refused = delivery_id_of(proof_at(wrong), &[], b"anything").unwrap_err();
        assert_eq!(refused, Refusal::WrongAddress, "{wrong}");
        assert!(refused.depends_on_secret());
    }
    assert_eq!(format!("{:?}", proof_at("hunter2")), "SecretPath(InPath(…))");
    assert!(!format!("{:?}", delivery_id_of(proof_at("hunter2"), &[], b"")).contains("hunter2"));
}

#[test]
fn an_event_of_a_line_is_verified_by_its_address_and_described_by_its_headers() {
    let proof_at = |given: &'static str| DeliveryProof::Line { line_id: "line_story", given: PathSecret(given) };
    let whole = [
        ("X-EZW-Delivery-Id", "dlv-1"),
        ("X-EZW-Webhook-Event", "messages.post"),
        ("X-EZW-Line-Id", "line_story"),
        ("X-EZW-Webhook-Id", "hook-1"),
    ];
    let posted = build_header_map(&whole);
    let Ok(VerificationOutcome::Verified(verified)) = verify_at(proof_at(KEY), KEY, &posted, b"no JSON", test_now())
    else {
        panic!()
    };
    assert_eq!((verified.delivery_id.as_str(), verified.topic.as_deref()), ("dlv-1", Some("messages.post")));
    assert_eq!(verified.headers["x-ezw-webhook-id"], "hook-1");
    for missing in 0..3 {
        let mut some = whole.to_vec();
        let (name, _) = some.remove(missing);
        let refused = delivery_id_of(proof_at(KEY), &some, b"").unwrap_err();
        assert!(
            matches!(refused, Refusal::LineHeaderMissing(header) if header == name.to_ascii_lowercase()),
            "{refused}"
        );
        assert!(!refused.depends_on_secret());
    }
    let mut other = whole;
    other[2].1 = "line_other";
    assert_eq!(delivery_id_of(proof_at(KEY), &other, b""), Err(Refusal::OtherLine));
    // A sender without the secret learns nothing else.
    assert_eq!(delivery_id_of(proof_at("a guess"), &other, b""), Err(Refusal::WrongAddress));
    assert_eq!(delivery_id_of(proof_at("a guess"), &[], b""), Err(Refusal::WrongAddress));
}

#[test]
fn the_same_body_is_one_lead_within_a_minute_and_another_lead_next_week() {
    let header =
        DeliveryProof::StaticHeader { header: "X-Webhook-Token", delivery_id: None, fallback_id: FallbackId::ByMinute };
    for proof in [header, DeliveryProof::SecretPath(PathSecret(KEY))] {
        let headers = build_header_map(&[("X-Webhook-Token", KEY)]);
        let id_at = |seconds: i64| match verify_at(
            proof,
            KEY,
            &headers,
            b"phone=054",
            test_now() + SignedDuration::from_secs(seconds),
        ) {
            Ok(VerificationOutcome::Verified(verified)) => verified.delivery_id,
            other => panic!("{other:?}"),
        };
        assert_eq!(id_at(0), id_at(59));
        assert_ne!(id_at(59), id_at(60));
        assert_ne!(id_at(0), id_at(7 * 24 * 3600));
        assert!(id_at(0).ends_with(".29918040"), "{}", id_at(0));
    }
    let token = ("X-Webhook-Token", KEY);
    assert_eq!(delivery_id_of(header, &[token, ("webhook-id", "m1")], b"{}").as_deref(), Ok("m1"));
}

#[test]
fn a_form_is_verified_as_configured_and_only_a_secret_address_has_a_further_path_part() {
    let form = |settings: &str| -> FormConfig {
        let rest = "line = \"main\"\nconsent = { stated = \"…\" }\nfirst_touch = { useful_for = \"1d\", text = { en = \"Hi\" } }";
        toml::from_str(&format!("{settings}\n{rest}")).unwrap()
    };
    let header = "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }";
    let cases = [
        ("kind = \"typeform\"".to_owned(), "typeform-signature for ``"),
        ("kind = \"google-ads\"".to_owned(), "GoogleAds"),
        ("kind = \"meta\"".to_owned(), "x-hub-signature-256 for ``"),
        ("kind = \"webflow\"".to_owned(), "x-webflow-signature for ``"),
        ("kind = \"tally\"".to_owned(), "tally-signature for ``"),
        (
            format!("kind = \"hubspot\"\nnotification_url = \"{HUBSPOT_URL}\""),
            "x-hubspot-signature-v3 for `https://hooks.example.com/leads/crm`",
        ),
        ("kind = \"web\"\nverify = { scheme = \"standard-webhooks\" }".to_owned(), "StandardWebhooks"),
        (
            format!("kind = \"wpforms\"\n{header}"),
            "StaticHeader { header: \"X-Webhook-Token\", delivery_id: None, fallback_id: ByMinute }",
        ),
    ];
    for (settings, expected) in cases {
        let form = form(&settings);
        let proof = form.proof();
        let shown = match proof {
            DeliveryProof::Signature { scheme, binding } => format!("{} for `{binding}`", scheme.header),
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected);
        assert!(proof.with_path_secret(None).is_some(), "{expected}");
        assert!(proof.with_path_secret(Some(KEY)).is_none(), "{expected}");
    }
    for kind in ["jotform", "elementor", "webflow"] {
        let form = form(&format!("kind = \"{kind}\"\nverify = {{ scheme = \"secret-path\" }}"));
        let proof = form.proof();
        assert!(proof.with_path_secret(None).is_none(), "{kind}");
        assert!(proof.with_path_secret(Some(KEY)).is_some(), "{kind}");
        assert_eq!(
            delivery_id_of(proof, &[], b"{}"),
            Err(Refusal::WrongAddress),
            "nothing passes without the secret in the address"
        );
    }
}

#[test]
fn the_content_type_of_a_body_is_stored_unchanged_if_it_is_valid() {
    let stored_content_type = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_bytes(value).unwrap());
        match verify_at(DeliveryProof::SecretPath(PathSecret(KEY)), KEY, &headers, b"", test_now()) {
            Ok(VerificationOutcome::Verified(verified)) => verified.headers.get("content-type").cloned(),
            other => panic!("{other:?}"),
        }
    };
    let multipart = "multipart/form-data; boundary=\"----WebKit 7\"";
    assert_eq!(stored_content_type(multipart.as_bytes()).as_deref(), Some(multipart));
    assert_eq!(stored_content_type(b"text/\xff"), None);
    assert_eq!(stored_content_type(&[b'x'; 257]), None);
}

#[test]
fn a_handshake_is_verified_by_its_token() {
    let secret = Secret::new(KEY);
    assert_eq!(verify_shown_secret(KEY, &secret), Ok(()));
    for wrong in ["", "nope", "a secret of the tests "] {
        assert_eq!(verify_shown_secret(wrong, &secret), Err(Refusal::ProofMismatch), "{wrong}");
    }
    assert_eq!(verify_shown_secret("", &Secret::new("")), Err(Refusal::SecretUnusable("not empty")));
}

#[test]
fn a_header_that_comes_twice_proves_nothing() {
    let right = sign_hex(KEY, b"{}");
    let mut headers = build_header_map(&[("X-Cal-Signature-256", &right)]);
    headers.append("x-cal-signature-256", HeaderValue::from_static("00"));
    let refused = verify_at(calcom(), KEY, &headers, b"{}", test_now());
    assert_eq!(refused, Err(Refusal::HeaderMalformed("x-cal-signature-256")));
}

#[test]
fn nothing_is_verified_without_a_key() {
    for proof in all_proofs() {
        let body = br#"{"google_key":""}"#;
        let headers = signed_headers(proof, "", body);
        let refused = verify_at(proof, "", &headers, body, test_now()).unwrap_err();
        assert!(matches!(refused, Refusal::SecretUnusable(_)), "{proof:?}: {refused}");
    }
}

// --------------------------------------------------------------------------------------- strangers

fn all_proofs() -> Vec<DeliveryProof<'static>> {
    let mut proofs = header_proofs();
    proofs.extend([
        DeliveryProof::GoogleAds,
        DeliveryProof::SecretPath(PathSecret("a guess of a stranger")),
        DeliveryProof::Line { line_id: "line_story", given: PathSecret("a guess of a stranger") },
    ]);
    proofs
}

/// Those whose proof stands in headers.
fn header_proofs() -> Vec<DeliveryProof<'static>> {
    vec![
        shopify("story.myshopify.com"),
        woocommerce("https://story.example/"),
        DeliveryProof::StandardWebhooks,
        DeliveryProof::StaticHeader {
            header: "x-webhook-token",
            delivery_id: None,
            fallback_id: FallbackId::ByReceipt,
        },
        calcom(),
        DeliveryProof::Calendly,
        acuity(),
        square(SQUARE_URL),
        DeliveryProof::GoogleChannel,
        own_proof(FormKind::Typeform),
        own_proof(FormKind::Meta),
        own_proof(FormKind::Webflow),
        own_proof(FormKind::Tally),
        hubspot(HUBSPOT_URL),
    ]
}

/// The headers that a sender with this key posts now.
fn signed_headers(proof: DeliveryProof<'_>, key: &str, body: &[u8]) -> HeaderMap {
    let at = test_now();
    let (sender, others): (SenderProof<'_>, &[(&str, &str)]) = match proof {
        DeliveryProof::Signature { scheme, binding } => match scheme.header {
            "x-shopify-hmac-sha256" => (
                SenderProof::Shopify { shop_domain: binding, webhook_id: "d-1" },
                &[("x-shopify-topic", "orders/paid")],
            ),
            "x-wc-webhook-signature" => (
                SenderProof::WooCommerce { source: binding, delivery_id: "d-1" },
                &[("x-wc-webhook-topic", "order.updated")],
            ),
            "x-cal-signature-256" => (SenderProof::CalCom, &[]),
            "x-acuity-signature" => (SenderProof::Acuity, &[]),
            "x-square-hmacsha256-signature" => (SenderProof::Square { notification_url: binding }, &[]),
            "typeform-signature" => (SenderProof::Typeform, &[]),
            "x-hub-signature-256" => (SenderProof::Meta, &[]),
            "x-webflow-signature" => (SenderProof::Webflow { at }, &[]),
            "tally-signature" => (SenderProof::Tally, &[]),
            "x-hubspot-signature-v3" => (SenderProof::HubSpot { notification_url: binding, at }, &[]),
            other => panic!("{other}"),
        },
        DeliveryProof::StandardWebhooks => (SenderProof::StandardWebhooks { id: "m1", at }, &[]),
        DeliveryProof::StaticHeader { header, .. } => (SenderProof::StaticHeader { header }, &[]),
        DeliveryProof::Calendly => (SenderProof::Calendly { at }, &[]),
        DeliveryProof::GoogleChannel => (
            SenderProof::GoogleChannel,
            &[("x-goog-channel-id", "c"), ("x-goog-resource-state", "exists"), ("x-goog-message-number", "2")],
        ),
        DeliveryProof::GoogleAds | DeliveryProof::SecretPath(_) => {
            return build_header_map(&[("content-type", "application/json")]);
        }
        DeliveryProof::Line { line_id, .. } => {
            (SenderProof::Line { line_id, event: "messages.post", delivery_id: "d-1" }, &[])
        }
    };
    // An empty token would be a malformed header.
    let key = if key.is_empty() && matches!(proof, DeliveryProof::GoogleChannel) { "x" } else { key };
    let others = others.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let post = WebhookPost { path: String::new(), headers: others, body: body.to_owned() };
    build_header_map(&post.sign(sender, key).unwrap().headers)
}

/// Any header value: bytes that HTTP allows, or a text close to an expected value.
fn any_header_value() -> impl Strategy<Value = HeaderValue> {
    let close = prop_oneof![
        "(t=-?[0-9]{0,20})?,?(v1=[0-9a-fA-F]{0,66},?){0,4}",
        "v1a?,[A-Za-z0-9+/]{0,44}={0,2}",
        "(sha256=)?[0-9a-fA-F]{0,66}",
        "(sha256=)?[A-Za-z0-9+/]{0,44}={0,2}",
        "[0-9a-f]{64}",
        "no-secret-provided|sync|exists|",
        "-?[0-9]{1,30}",
        "x{9000}",
    ];
    let bytes = prop::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff, Just(b'\t')], 0..200);
    prop_oneof![close.prop_map(String::into_bytes), bytes].prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

proptest! {
    #[test]
    fn anything_a_stranger_posts_is_refused_without_a_panic(
        proof in prop::sample::select(all_proofs()),
        replaced in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(any_header_value())), 1..4),
        body in prop::collection::vec(any::<u8>(), 0..300),
        seconds in -377_705_023_201_i64..253_402_207_200,
    ) {
        let key = "whsec_c3RyYW5nZXJzIGRvIG5vdCBrbm93IHRoaXMga2V5";
        // The best headers that a stranger can make. Then some of them get any value.
        let mut headers = signed_headers(proof, "whsec_YW5vdGhlciBrZXkgb2YgdHdlbnR5IGJ5dGVz", &body);
        let names: Vec<_> = headers.keys().cloned().collect();
        for (index, value) in replaced {
            let name = index.get(&names).clone();
            match value {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
        let refused = verify_at(proof, key, &headers, &body, Timestamp::from_second(seconds).unwrap());
        prop_assert!(refused.is_err(), "{refused:?}");
    }

    #[test]
    fn a_signed_body_is_verified_and_one_with_a_changed_byte_is_not(
        proof in prop::sample::select(header_proofs()),
        body in prop::collection::vec(any::<u8>(), 1..300),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let key = "whsec_c3RyYW5nZXJzIGRvIG5vdCBrbm93IHRoaXMga2V5";
        let headers = signed_headers(proof, key, &body);
        let checked = verify_at(proof, key, &headers, &body, test_now());
        let Ok(VerificationOutcome::Verified(verified)) = checked else { return Err(TestCaseError::fail(format!("{checked:?}"))) };
        prop_assert!(verified.delivery_id.len() <= MAX_DELIVERY_ID_BYTES);
        let signs_the_body = !matches!(proof, DeliveryProof::StaticHeader { .. } | DeliveryProof::GoogleChannel);
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= flip;
        let checked = verify_at(proof, key, &headers, &changed, test_now());
        prop_assert_eq!(checked == Err(Refusal::ProofMismatch), signs_the_body);
    }
    #[test]
    fn a_google_ads_lead_with_a_changed_byte_is_verified_or_refused_without_a_panic(
        lead_id in any::<String>(),
        at in any::<prop::sample::Index>(),
        flip in 0_u8..,
    ) {
        let lead_id = lead_id.as_str();
        let mut body = serde_json::json!({ "lead_id": lead_id, "google_key": KEY }).to_string().into_bytes();
        let headers = HeaderMap::new();
        let Ok(VerificationOutcome::Verified(verified)) = verify_at(DeliveryProof::GoogleAds, KEY, &headers, &body, test_now()) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert!(!verified.delivery_id.is_empty() && verified.delivery_id.len() <= MAX_DELIVERY_ID_BYTES);
        let index = at.index(body.len());
        body[index] ^= flip;
        match verify_at(DeliveryProof::GoogleAds, KEY, &headers, &body, test_now()) {
            Ok(VerificationOutcome::Verified(_)) | Err(Refusal::ProofMismatch | Refusal::KeyMissing(_)) => {}
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn any_url_registered_at_hubspot_is_signed_without_a_panic(url in any::<String>(), broken in "[%0-9a-fA-F:é]{0,20}") {
        for url in [url, broken] {
            let proof = hubspot(&url);
            prop_assert!(verify_at(proof, KEY, &signed_headers(proof, "another", b""), b"", test_now()).is_err());
        }
    }
}
