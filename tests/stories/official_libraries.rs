//! Signatures, compared with the official libraries of the vendors.
//!
//! `scripts/official_signatures` installs the libraries and runs this story.

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use tellonce_core::bootstrap::read_variable;
use tellonce_fakes::server::{bind_port, serve_router};
use tellonce_samples::{SenderProof, WebhookPost};
use tokio::io::AsyncWriteExt as _;

use crate::{
    conversations::settle_line_events,
    world::{ERP_SECRET, HUBSPOT_SECRET, SHOPIFY_SECRET, SQUARE_SECRET, WEBFLOW_SECRET, World, WorldSetup},
};

const HUBSPOT_URL: &str = "https://story.example/leads/hubspot";
const SQUARE_URL: &str = "https://story.example/bookings/salon";
const OUTGOING_SECRET: &str = "whsec_b2ZmaWNpYWwgbGlicmFyaWVzIHNlY3JldCAwMDE=";
/// The systems of which the samples sign a delivery, each with its path.
const SYSTEMS: [(&str, &str); 6] = [
    ("shopify", "/stores/shop"),
    ("square", "/bookings/salon"),
    ("hubspot", "/leads/hubspot"),
    ("webflow", "/leads/webflow"),
    ("standardwebhooks", "/stores/erp"),
    ("svix", "/stores/erp"),
];

/// A CRM that takes signed calls.
const CRM_TOML: &str = r#"
[crms.own]
kind = "webhook"
url = "https://crm.example.com/events"
requests_per_minute = 60000
text = "full"
"#;

/// What the program of the libraries returns.
#[derive(Deserialize)]
struct LibraryResults {
    posts: Vec<LibraryPost>,
    verified: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
}

/// A body that a library signed.
#[derive(Deserialize)]
struct LibraryPost {
    system: String,
    body: String,
    headers: BTreeMap<String, String>,
}

/// Bodies with what signing code may get wrong: escapes, scripts, signs beyond the BMP, spaces.
fn unusual_bodies() -> Vec<String> {
    let values = [
        json!("plain"),
        json!("שלום ₪ 50 🛍️ — Müller\u{2028}"),
        json!("\\ \" / <b>&amp;</b> %20 + = &"),
        json!("\u{0}\u{7f}\u{202e}\u{feff}"),
        json!({"deep": [[[{"a": [null, true, 1.50, -0.0, 1e30]}]]]}),
        json!("x".repeat(5_000)),
        json!("א".repeat(3_000)),
    ];
    let mut bodies: Vec<String> = values.iter().map(|value| json!({"value": value}).to_string()).collect();
    bodies.push("{}".to_owned());
    bodies.push("[ 1 ,\t2 ]\r\n ".to_owned());
    bodies.push(" {\"ascii\":\"\\u05d0\\/\\u003c\"}\n".to_owned());
    bodies.extend((0..15).map(|n| json!({"event_id": format!("e-{n}"), "n": n, "text": "ב".repeat(n)}).to_string()));
    bodies
}

/// A delivery of a system, as its sender would post it, without its proof.
fn unsigned_post(system: &str, body: &str, id: &str) -> WebhookPost {
    let path = SYSTEMS.iter().find(|(name, _)| *name == system).unwrap().1;
    let post = WebhookPost::new(path, "application/json", body);
    match system {
        "shopify" => post
            .with_header("X-Shopify-Topic", Some("orders/updated"))
            .with_header("X-Shopify-API-Version", Some("2026-10"))
            .with_header("X-Shopify-Shop-Domain", Some("story.myshopify.com"))
            .with_header("X-Shopify-Webhook-Id", Some(id)),
        _ => post,
    }
}

/// The same with the proof of the samples.
fn signed_post(world: &World, system: &str, body: &str, id: &str) -> WebhookPost {
    let at = world.now();
    let (proof, secret) = match system {
        "shopify" => (SenderProof::Shopify { shop_domain: "story.myshopify.com", webhook_id: id }, SHOPIFY_SECRET),
        "square" => (SenderProof::Square { notification_url: SQUARE_URL }, SQUARE_SECRET),
        "hubspot" => (SenderProof::HubSpot { notification_url: HUBSPOT_URL, at }, HUBSPOT_SECRET),
        "webflow" => (SenderProof::Webflow { at }, WEBFLOW_SECRET),
        "standardwebhooks" => (SenderProof::StandardWebhooks { id, at }, ERP_SECRET),
        "svix" => (SenderProof::Svix { id, at }, ERP_SECRET),
        other => panic!("{other}"),
    };
    unsigned_post(system, body, id).sign(proof, secret).unwrap()
}

/// Starts a server that records calls, and returns its address and the calls.
fn start_recorder() -> (String, Arc<Mutex<Vec<Value>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let recorded = calls.clone();
    let record = move |headers: HeaderMap, body: Bytes| async move {
        let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
        let headers: BTreeMap<String, String> =
            headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = String::from_utf8(body.to_vec()).unwrap();
        recorded.lock().unwrap().push(json!({"system": "outgoing", "headers": headers, "body": body}));
    };
    let listener = bind_port(0, "the recorder", "").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(serve_router(Router::new().fallback(record), listener, "the recorder"));
    (address, calls)
}

/// Runs the program of the libraries.
async fn run_libraries(program: &str, input: &Value) -> LibraryResults {
    let mut node = tokio::process::Command::new("node");
    let node = node.arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut node = node.spawn().expect("node runs");
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = node.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node.js and the libraries: scripts/official_signatures"]
async fn official_libraries_and_tellonce_agree_about_signatures() {
    let program = read_variable("TELLONCE_OFFICIAL_LIBRARIES").expect("scripts/official_signatures sets this");
    let (recorder, calls) = start_recorder();
    let world = World::start_with(WorldSetup {
        extra_toml: CRM_TOML,
        line_events: true,
        extra_secrets: vec![("crms/own", OUTGOING_SECRET.to_owned())],
        env: [("CRM_BASE_URL".to_owned(), recorder)].into(),
        ..WorldSetup::default()
    })
    .await;
    let bodies = unusual_bodies();
    for body in &bodies {
        world.stack.provider().write_from_phone("+972545550199", body, "line_story").unwrap();
    }
    settle_line_events(&world).await;
    let mut signed = calls.lock().unwrap().clone();
    assert_eq!(signed.len(), bodies.len(), "each message is one call");
    for (system, path) in SYSTEMS {
        for (index, body) in bodies.iter().enumerate() {
            let post = signed_post(&world, system, body, &format!("sample-{system}-{index}"));
            let headers: BTreeMap<String, String> = post.headers.iter().cloned().collect();
            let url = format!("https://story.example{path}");
            signed.push(json!({"system": system, "headers": headers, "body": body, "url": url}));
            assert_eq!(world.post(post).await, 200, "{system}: {body}");
        }
    }
    let input = json!({
        "bodies": bodies, "signed": signed, "hubspot_url": HUBSPOT_URL, "now_ms": world.now().as_millisecond(),
        "secrets": {
            "shopify": SHOPIFY_SECRET, "square": SQUARE_SECRET, "hubspot": HUBSPOT_SECRET, "webflow": WEBFLOW_SECRET,
            "standardwebhooks": ERP_SECRET, "outgoing": OUTGOING_SECRET,
        },
    });
    let results = run_libraries(&program, &input).await;
    for system in SYSTEMS.iter().map(|(system, _)| *system).chain(["outgoing"]) {
        assert_eq!(results.verified.get(system), Some(&bodies.len()), "{system}");
        assert!(results.refused.get(system).is_some_and(|refused| *refused >= bodies.len()), "{system}");
    }
    let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut refused = 0;
    for (index, post) in results.posts.iter().enumerate() {
        let id = format!("library-{index}");
        let headers = post.headers.iter();
        let unsigned = unsigned_post(&post.system, &post.body, &id);
        let signed = headers.fold(unsigned, |post, (name, value)| post.with_header(name, Some(value)));
        let mut changed = signed.clone();
        let at = index % changed.body.len();
        changed.body[at] ^= 1;
        assert_eq!(world.post(changed).await, 401, "{}: a changed byte", post.system);
        refused += 1;
        assert_eq!(world.post(signed).await, 200, "{}: {}", post.system, post.body);
        *accepted.entry(&post.system).or_default() += 1;
    }
    assert_eq!(accepted.len(), 4, "{accepted:?}");
    assert!(accepted.values().all(|count| *count == bodies.len()), "{accepted:?}");
    let LibraryResults { verified, refused: refused_by_libraries, .. } = &results;
    eprintln!("the libraries verified {verified:?} and refused {refused_by_libraries:?} changed copies");
    eprintln!("the receiver verified {accepted:?} and refused {refused} changed copies");
}
