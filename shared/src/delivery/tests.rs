//! The proofs of all senders: by published vectors, by recorded deliveries, and against whatever a stranger may post.

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use ring::hmac;
use serde_json::Value;

use super::*;

const KEY: &str = "a secret of the tests";
const SQUARE_URL: &str = "https://hooks.example.com/bookings/spa";

fn now() -> Timestamp {
    "2026-11-19T10:00:00Z".parse().unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    pairs.iter().map(pair).collect()
}

fn sign(key: &[u8], content: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), content).as_ref().to_vec()
}

fn base64_of(key: &str, content: &[u8]) -> String {
    BASE64.encode(sign(key.as_bytes(), content))
}

fn hex_of(key: &str, content: &[u8]) -> String {
    crate::digest::hex(&sign(key.as_bytes(), content))
}

fn check_at<'a>(
    proof: Proof<'_>,
    key: &str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    now: Timestamp,
) -> Result<Checked<'a>, Refusal> {
    verify("clinic", proof, &Secret::new(key), Unverified { headers, body }, now)
}

/// The delivery id that comes of it.
fn id_of(proof: Proof<'_>, pairs: &[(&str, &str)], body: &[u8]) -> Result<String, Refusal> {
    match check_at(proof, KEY, &headers(pairs), body, now())? {
        Checked::Verified(verified) => {
            assert_eq!((verified.sender, verified.body), ("clinic", body));
            Ok(verified.delivery_id)
        }
        Checked::Ping => panic!("a ping"),
    }
}

fn vectors() -> Value {
    let path = root().join("events/stores/standardwebhooks/official_vectors.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

// ---------------------------------------------------------------------------------------------------------------- vectors

#[test]
fn the_published_vectors_of_standard_webhooks_are_believed() {
    for vector in vectors()["vectors"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let seconds = vector["timestamp"].as_i64().unwrap();
        let stamp = seconds.to_string();
        let signed =
            [("webhook-id", text("id")), ("webhook-timestamp", &stamp), ("webhook-signature", text("signature"))];
        let headers = headers(&signed);
        let (key, body) = (text("secret"), text("payload").as_bytes());
        let at = |offset: i64| Timestamp::from_second(seconds + offset).unwrap();
        let check = |body, offset| check_at(Proof::StandardWebhooks, key, &headers, body, at(offset));
        for near in [-300, 0, 300] {
            let Ok(Checked::Verified(verified)) = check(body, near) else { panic!("{near}") };
            assert_eq!(verified.delivery_id, text("id"));
        }
        assert_eq!(check(body, 301), Err(Refusal::Stale { seconds: 301, tolerance: 300 }));
        assert_eq!(check(body, -301), Err(Refusal::Stale { seconds: -301, tolerance: 300 }));
        assert_eq!(check(b"{}", 0), Err(Refusal::Mismatch));
    }
}

#[test]
fn the_published_vector_of_square_is_believed_for_its_url_alone() {
    let vectors = vectors();
    let schemes = vectors["other_schemes"].as_array().unwrap();
    let vector = schemes.iter().find(|vector| vector["scheme"] == "square").unwrap();
    let text = |name: &str| vector[name].as_str().unwrap();
    assert_eq!((text("secret"), text("url")), ("asdf1234", "https://example.com/webhook"));
    let headers = headers(&[("x-square-hmacsha256-signature", text("signature"))]);
    let check = |url: &str| {
        check_at(Proof::Square { notification_url: url }, "asdf1234", &headers, br#"{"hello":"world"}"#, now()).is_ok()
    };
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

// ------------------------------------------------------------------------------------------------------------- recordings

#[test]
fn recorded_deliveries_of_booking_systems_are_believed_as_far_as_they_should_be() {
    let mut seen = Vec::new();
    for system in ["calcom", "calendly", "acuity", "square", "google_calendar"] {
        let folder = root().join("events/bookings").join(system);
        let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        for case in manifest["cases"].as_array().unwrap() {
            let name = case["case"].as_str().unwrap();
            let text = fs::read_to_string(folder.join(case["headers_file"].as_str().unwrap())).unwrap();
            let headers = headers(&text.lines().filter_map(|line| line.split_once(": ")).collect::<Vec<_>>());
            let body = case["body_file"].as_str().map(|file| fs::read(folder.join(file)).unwrap()).unwrap_or_default();
            let auth = &case["auth"];
            let at = auth["now"].as_i64().map_or(now(), |seconds| Timestamp::from_second(seconds).unwrap());
            let proof = match system {
                "calcom" => Proof::CalCom,
                "calendly" => Proof::Calendly,
                "acuity" => Proof::Acuity,
                "square" => Proof::Square { notification_url: auth["url"].as_str().unwrap() },
                _ => Proof::GoogleChannel,
            };
            let checked = check_at(proof, auth["secret"].as_str().unwrap(), &headers, &body, at);
            let facts = &case["facts"];
            match checked {
                Ok(Checked::Ping) => assert_eq!(facts["kind"], "handshake", "{name}"),
                Ok(Checked::Verified(verified)) => {
                    assert_eq!(facts["verify"], true, "{name}");
                    if let Some(id) = facts["delivery_id"].as_str() {
                        assert_eq!(verified.delivery_id, id, "{name}");
                    }
                }
                Err(refusal) => assert_eq!((&facts["verify"], refusal), (&false.into(), Refusal::Unsigned), "{name}"),
            }
            assert!(check_at(proof, "another secret", &headers, &body, at).is_err(), "{name}");
            seen.push(format!("{system}/{name}"));
        }
    }
    assert!(seen.len() >= 18, "{seen:?}");
}

// ------------------------------------------------------------------------------------------------------------ each system

#[test]
fn cal_com_signs_in_hex_whichever_case_it_is_written_in() {
    let body = br#"{"triggerEvent":"BOOKING_CREATED","payload":{"uid":"u1"}}"#;
    let check = |signature: &str| id_of(Proof::CalCom, &[("X-Cal-Signature-256", signature)], body);
    let right = hex_of(KEY, body);
    let id = check(&right).unwrap();
    assert_eq!(id.len(), 32, "the body's hash: {id}");
    assert_eq!(check(&right.to_uppercase()), Ok(id));
    let malformed = Err(Refusal::HeaderMalformed("x-cal-signature-256"));
    for wrong in ["", "zz", &right[1..], &format!("sha256={right}"), &format!("{right} "), "é"] {
        assert_eq!(check(wrong), malformed, "{wrong}");
    }
    for wrong in ["00", &right[2..], &format!("{right}00"), &hex_of("another", body), &hex_of(KEY, b"{}")] {
        assert_eq!(check(wrong), Err(Refusal::Mismatch), "{wrong}");
    }
    assert_eq!(id_of(Proof::CalCom, &[], body), Err(Refusal::HeaderMissing("x-cal-signature-256")));
}

#[test]
fn cal_com_without_a_secret_is_unsigned_and_is_told_what_to_do() {
    let refused = id_of(Proof::CalCom, &[("X-Cal-Signature-256", "no-secret-provided")], b"{}").unwrap_err();
    assert_eq!(refused, Refusal::Unsigned);
    assert_eq!(refused.to_string(), "it is not signed; set a secret for this webhook where it is sent from");
    // Not even if somebody takes it for the secret, and signs with it.
    let headers = headers(&[("X-Cal-Signature-256", "no-secret-provided")]);
    assert_eq!(check_at(Proof::CalCom, "no-secret-provided", &headers, b"{}", now()), Err(Refusal::Unsigned));
}

#[test]
fn calendly_signs_time_and_body_in_any_order_and_number_of_parts() {
    let body = br#"{"event":"invitee.created"}"#;
    let stamp = now().as_second();
    let v1 = hex_of(KEY, &[format!("{stamp}.").as_bytes(), body].concat());
    let check = |signature: &str| id_of(Proof::Calendly, &[("Calendly-Webhook-Signature", signature)], body);
    let id = check(&format!("t={stamp},v1={v1}"));
    assert!(id.is_ok());
    let other = hex_of("another", body);
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
        assert_eq!(check(&wrong), Err(Refusal::Mismatch), "{wrong}");
    }
}

#[test]
fn calendly_may_repeat_what_it_signed_a_day_ago_and_no_longer() {
    let body = b"{}";
    let stamp = now().as_second();
    let v1 = hex_of(KEY, &[format!("{stamp}.").as_bytes(), body].concat());
    let headers = headers(&[("Calendly-Webhook-Signature", &format!("t={stamp},v1={v1}"))]);
    let check = |span: SignedDuration| check_at(Proof::Calendly, KEY, &headers, body, now() + span);
    assert!(check(SignedDuration::from_hours(24)).is_ok());
    assert!(check(SignedDuration::from_hours(25)).is_ok());
    let (seconds, tolerance) = (25 * 3600 + 1, 25 * 3600);
    let late = check(SignedDuration::from_secs(seconds)).unwrap_err();
    assert_eq!(late, Refusal::Stale { seconds, tolerance });
    assert_eq!(late.to_string(), "it was signed 90001 s ago; more than 90000 s is refused");
    let early = check(SignedDuration::from_secs(-seconds)).unwrap_err();
    assert_eq!(early.to_string(), "it was signed 90001 s in the future; more than 90000 s is refused");
    // A forgery is called one, however old.
    let forged = check_at(Proof::Calendly, "another", &headers, body, now() + SignedDuration::from_hours(50));
    assert_eq!(forged, Err(Refusal::Mismatch));
}

#[test]
fn every_receipt_of_acuity_is_a_delivery_of_its_own() {
    let body = b"action=changed&id=1126438001&calendarID=1&appointmentTypeID=2";
    let headers = headers(&[("X-Acuity-Signature", &base64_of(KEY, body))]);
    let id_at =
        |millis: i64| match check_at(Proof::Acuity, KEY, &headers, body, now() + SignedDuration::from_millis(millis)) {
            Ok(Checked::Verified(verified)) => verified.delivery_id,
            other => panic!("{other:?}"),
        };
    // Moved and moved again, it says the same in the same bytes.
    assert_ne!(id_at(0), id_at(1));
    assert_eq!(id_at(0), id_at(0));
    assert!(id_at(0).ends_with(".1795082400000"), "{}", id_at(0));
    for (wrong, refused) in [
        ("***", Refusal::HeaderMalformed("x-acuity-signature")),
        (&hex_of(KEY, body)[1..], Refusal::HeaderMalformed("x-acuity-signature")),
        (&base64_of(KEY, b"action=scheduled"), Refusal::Mismatch),
        (&base64_of("another", body), Refusal::Mismatch),
    ] {
        assert_eq!(id_of(Proof::Acuity, &[("X-Acuity-Signature", wrong)], body), Err(refused), "{wrong}");
    }
}

#[test]
fn square_is_known_by_its_event_id_and_without_one_by_its_body() {
    let proof = Proof::Square { notification_url: SQUARE_URL };
    let id = |body: &str| {
        let signature = base64_of(KEY, format!("{SQUARE_URL}{body}").as_bytes());
        id_of(proof, &[("X-Square-HmacSha256-Signature", &signature)], body.as_bytes()).unwrap()
    };
    assert_eq!(id(r#"{"merchant_id":"M","event_id":"ac3ac95b","data":{"event_id":"inner"}}"#), "ac3ac95b");
    assert_eq!(id(r#"{"event_id":"א/1"}"#), "א/1");
    let long = "x".repeat(LONGEST_DELIVERY_ID);
    assert_eq!(id(&format!(r#"{{"event_id":"{long}"}}"#)), long);
    let deep = format!(r#"{{"event_id":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let longer = format!(r#"{{"event_id":"{long}x"}}"#);
    for odd in ["", "{}", "[]", r#"{"event_id":""}"#, r#"{"event_id":5}"#, r#"{"event_id":null}"#, &deep, &longer] {
        let short: String = odd.chars().take(40).collect();
        assert_eq!(id(odd).len(), 32, "{short}");
    }
    let forged = [("X-Square-HmacSha256-Signature", base64_of(KEY, b"{}"))];
    assert_eq!(id_of(proof, &[(forged[0].0, &forged[0].1)], b"{}"), Err(Refusal::Mismatch), "the URL is signed too");
}

#[test]
fn a_google_channel_is_known_by_its_token_and_a_notification_by_its_number() {
    let push = |token: &'static str, state: &'static str| {
        vec![
            ("X-Goog-Channel-ID", "4ba78bf0"),
            ("X-Goog-Channel-Token", token),
            ("X-Goog-Resource-State", state),
            ("X-Goog-Message-Number", "10"),
        ]
    };
    for state in ["exists", "not_exists"] {
        assert_eq!(id_of(Proof::GoogleChannel, &push(KEY, state), b"").as_deref(), Ok("4ba78bf0.10"));
    }
    let sync = headers(&push(KEY, "sync"));
    assert_eq!(check_at(Proof::GoogleChannel, KEY, &sync, b"", now()), Ok(Checked::Ping));
    for token in ["another", "a secret of the tests ", "A secret of the tests", "a secret", "x"] {
        for state in ["exists", "sync"] {
            assert_eq!(id_of(Proof::GoogleChannel, &push(token, state), b""), Err(Refusal::Mismatch), "{token}");
        }
    }
    for missing in ["x-goog-channel-id", "x-goog-channel-token", "x-goog-resource-state", "x-goog-message-number"] {
        let mut headers = headers(&push(KEY, "exists"));
        headers.remove(missing);
        assert_eq!(check_at(Proof::GoogleChannel, KEY, &headers, b"", now()), Err(Refusal::HeaderMissing(missing)));
    }
}

#[test]
fn a_booking_without_a_delivery_id_counts_each_time_and_an_order_once() {
    let pointer: JsonPointer = serde_json::from_str("\"/id\"").unwrap();
    let token = ("X-Webhook-Token", KEY);
    let proof = |body_is_id| Proof::StaticHeader { header: "X-Webhook-Token", delivery_id: Some(&pointer), body_is_id };
    let (order, booking) = (proof(true), proof(false));
    assert_eq!(id_of(order, &[token], b"{}").unwrap().len(), 32);
    assert!(id_of(booking, &[token], b"{}").unwrap().ends_with(".1795082400000"));
    for proof in [order, booking] {
        assert_eq!(id_of(proof, &[token], br#"{"id":"e1"}"#).as_deref(), Ok("e1"));
        assert_eq!(id_of(proof, &[token], br#"{"id":9007199254740993}"#).as_deref(), Ok("9007199254740993"));
        assert_eq!(id_of(proof, &[token, ("webhook-id", "m1")], br#"{"id":"e1"}"#).as_deref(), Ok("m1"));
        assert_eq!(id_of(proof, &[("X-Webhook-Token", "a secret")], b"{}"), Err(Refusal::Mismatch));
        let missing = id_of(proof, &[], b"{}").unwrap_err();
        assert_eq!(missing.to_string(), "the header that carries the secret is missing");
    }
    let nowhere = Proof::StaticHeader { header: "not a header's name", delivery_id: None, body_is_id: true };
    assert!(id_of(nowhere, &[token], b"{}").is_err());
}

#[test]
fn a_header_that_comes_twice_proves_nothing() {
    let right = hex_of(KEY, b"{}");
    let mut headers = headers(&[("X-Cal-Signature-256", &right)]);
    headers.append("x-cal-signature-256", HeaderValue::from_static("00"));
    let refused = check_at(Proof::CalCom, KEY, &headers, b"{}", now());
    assert_eq!(refused, Err(Refusal::HeaderMalformed("x-cal-signature-256")));
}

#[test]
fn nothing_is_believed_without_a_key() {
    for proof in PROOFS {
        let (headers, body) = (signed(proof, "", b"{}"), b"{}");
        let refused = check_at(proof, "", &headers, body, now()).unwrap_err();
        assert!(matches!(refused, Refusal::SecretUnusable(_)), "{proof:?}: {refused}");
    }
}

// --------------------------------------------------------------------------------------------------------------- anything

const PROOFS: [Proof<'static>; 9] = [
    Proof::Shopify { shop_domain: "story.myshopify.com" },
    Proof::WooCommerce { source: "https://story.example/" },
    Proof::StandardWebhooks,
    Proof::StaticHeader { header: "x-webhook-token", delivery_id: None, body_is_id: false },
    Proof::CalCom,
    Proof::Calendly,
    Proof::Acuity,
    Proof::Square { notification_url: SQUARE_URL },
    Proof::GoogleChannel,
];

/// The headers that a sender with this key would post now.
fn signed(proof: Proof<'_>, key: &str, body: &[u8]) -> HeaderMap {
    let stamp = now().as_second().to_string();
    let base64 = |content: &[u8]| base64_of(key, content);
    let pairs: Vec<(&str, String)> = match proof {
        Proof::Shopify { shop_domain } => vec![
            ("x-shopify-hmac-sha256", base64(body)),
            ("x-shopify-shop-domain", shop_domain.to_owned()),
            ("x-shopify-webhook-id", "d-1".to_owned()),
            ("x-shopify-topic", "orders/paid".to_owned()),
        ],
        Proof::WooCommerce { source } => vec![
            ("x-wc-webhook-signature", base64(body)),
            ("x-wc-webhook-source", source.to_owned()),
            ("x-wc-webhook-delivery-id", "d-1".to_owned()),
            ("x-wc-webhook-topic", "order.updated".to_owned()),
        ],
        Proof::StandardWebhooks => {
            let key = BASE64.decode(key.trim_start_matches("whsec_")).unwrap_or_default();
            let signature = BASE64.encode(sign(&key, &[format!("m1.{stamp}.").as_bytes(), body].concat()));
            vec![
                ("webhook-id", "m1".to_owned()),
                ("webhook-timestamp", stamp),
                ("webhook-signature", format!("v1,{signature}")),
            ]
        }
        Proof::StaticHeader { .. } => vec![("x-webhook-token", key.to_owned())],
        Proof::CalCom => vec![("x-cal-signature-256", hex_of(key, body))],
        Proof::Calendly => {
            let v1 = hex_of(key, &[format!("{stamp}.").as_bytes(), body].concat());
            vec![("calendly-webhook-signature", format!("t={stamp},v1={v1}"))]
        }
        Proof::Acuity => vec![("x-acuity-signature", base64(body))],
        Proof::Square { notification_url } => {
            vec![("x-square-hmacsha256-signature", base64(&[notification_url.as_bytes(), body].concat()))]
        }
        Proof::GoogleChannel => vec![
            ("x-goog-channel-token", if key.is_empty() { "x".to_owned() } else { key.to_owned() }),
            ("x-goog-channel-id", "c".to_owned()),
            ("x-goog-resource-state", "exists".to_owned()),
            ("x-goog-message-number", "2".to_owned()),
        ],
    };
    headers(&pairs.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

/// What a header may hold: any bytes that HTTP lets through, or something close to what is expected.
fn value() -> impl Strategy<Value = HeaderValue> {
    let close = prop_oneof![
        "(t=-?[0-9]{0,20})?,?(v1=[0-9a-fA-F]{0,66},?){0,4}",
        "v1a?,[A-Za-z0-9+/]{0,44}={0,2}",
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
    fn whatever_a_stranger_posts_is_refused_without_a_panic(
        proof in prop::sample::select(&PROOFS[..]),
        replaced in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(value())), 1..4),
        body in prop::collection::vec(any::<u8>(), 0..300),
        seconds in -377_705_023_201_i64..253_402_207_200,
    ) {
        let key = "whsec_c3RyYW5nZXJzIGRvIG5vdCBrbm93IHRoaXMga2V5";
        // As good as a stranger can make it, and then some of it anything at all.
        let mut headers = signed(proof, "whsec_YW5vdGhlciBrZXkgb2YgdHdlbnR5IGJ5dGVz", &body);
        let names: Vec<_> = headers.keys().cloned().collect();
        for (index, value) in replaced {
            let name = index.get(&names).clone();
            match value {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
        let refused = check_at(proof, key, &headers, &body, Timestamp::from_second(seconds).unwrap());
        prop_assert!(refused.is_err(), "{refused:?}");
    }

    #[test]
    fn what_is_signed_is_believed_and_with_any_byte_changed_is_not(
        proof in prop::sample::select(&PROOFS[..]),
        body in prop::collection::vec(any::<u8>(), 1..300),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let key = "whsec_c3RyYW5nZXJzIGRvIG5vdCBrbm93IHRoaXMga2V5";
        let headers = signed(proof, key, &body);
        let checked = check_at(proof, key, &headers, &body, now());
        let Ok(Checked::Verified(verified)) = checked else { return Err(TestCaseError::fail(format!("{checked:?}"))) };
        prop_assert!(verified.delivery_id.len() <= LONGEST_DELIVERY_ID);
        let signs_the_body = !matches!(proof, Proof::StaticHeader { .. } | Proof::GoogleChannel);
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= flip;
        let checked = check_at(proof, key, &headers, &changed, now());
        prop_assert_eq!(checked == Err(Refusal::Mismatch), signs_the_body);
    }
}
