//! Bad input of stores: the sender gets the right status, the operator a recorded reason, and no
//! message is sent.

use serde_json::{Value, json};
use tellonce_core::inbox::MAX_BODY_BYTES;
use tellonce_samples::{SenderProof, WebhookPost};

use crate::world::{ERP_SECRET, SHOPIFY_SECRET, World, ZAP_HEADER_SECRET};

const PHONE: &str = "+972545550199";

#[tokio::test]
async fn unverifiable_deliveries_are_refused_with_their_status() {
    let world = World::start().await;
    let shopify = || world.shopify_post("orders/paid", "d-1", &world.shopify_order(1, PHONE));
    let erp = || world.erp_post("m-1", "ready", "SO-1", PHONE);
    let zap = |token: &str| {
        let body = r#"{"event":"ready","event_id":"z1","order":{"id":"1"},"customer":{"phone":"0545550199"}}"#;
        let proof = SenderProof::StaticHeader { header: "X-Webhook-Token" };
        WebhookPost::new("/stores/zap", "application/json", body).sign(proof, token).unwrap()
    };
    let mut tampered = shopify();
    tampered.body.push(b' ');
    let stale = erp();
    world.advance_time(jiff::SignedDuration::from_secs(301));
    let cases: Vec<(&str, WebhookPost, u16)> = vec![
        ("a changed body", tampered, 401),
        ("a wrong signature", shopify().with_header("X-Shopify-Hmac-Sha256", Some("d3Jvbmc=")), 401),
        ("a truncated signature", shopify().with_header("X-Shopify-Hmac-Sha256", Some("d3Jv")), 401),
        ("a signature that is not base64", shopify().with_header("X-Shopify-Hmac-Sha256", Some("***")), 401),
        ("an empty signature", shopify().with_header("X-Shopify-Hmac-Sha256", Some("")), 401),
        ("no signature", shopify().with_header("X-Shopify-Hmac-Sha256", None), 401),
        ("no delivery id", shopify().with_header("X-Shopify-Webhook-Id", None), 401),
        ("another shop", shopify().with_header("X-Shopify-Shop-Domain", Some("other.myshopify.com")), 403),
        ("a stale timestamp", stale, 401),
        ("a timestamp that is not a number", erp().with_header("webhook-timestamp", Some("soon")), 401),
        ("a signature of another version", erp().with_header("webhook-signature", Some("v1a,d3Jvbmc=")), 401),
        ("a wrong static header", zap("wrong"), 401),
        ("an empty static header", zap(""), 401),
        ("no static header", zap("x").with_header("X-Webhook-Token", None), 401),
        ("an unknown store", WebhookPost { path: "/stores/none".into(), ..shopify() }, 404),
        ("an unknown path", WebhookPost { path: "/elsewhere".into(), ..shopify() }, 404),
        ("another content type", shopify().with_header("Content-Type", Some("text/xml")), 415),
        ("no content type", shopify().with_header("Content-Type", None), 415),
        ("a body over the limit", WebhookPost { body: vec![b' '; MAX_BODY_BYTES + 1], ..shopify() }, 413),
        ("a ping to a store without pings", WebhookPost { path: "/stores/shop".into(), ..woocommerce_ping() }, 415),
    ];
    for (case, post, status) in cases {
        assert_eq!(world.post(post).await, status, "{case}");
    }
    world.settle().await;
    assert_eq!(world.table_items("StoreInbox"), Vec::<Value>::new());
    assert_eq!(world.messages(), []);
    // Valid deliveries are accepted, so each case above fails for its own reason. Headers that
    // proxies set, and a query, change nothing.
    assert_eq!(world.post(zap(ZAP_HEADER_SECRET)).await, 200);
    let proxied = shopify().with_header("x-forwarded-proto", Some("https,http"));
    let proxied = proxied.with_header("x-forwarded-port", Some("443,80"));
    assert_eq!(world.post(WebhookPost { path: "/stores/shop?a=\"b\"|`{}".into(), ..proxied }).await, 200);
    assert_eq!(world.post(woocommerce_ping()).await, 200);
    world.settle().await;
    assert_eq!(world.messages().len(), 2);
}

#[tokio::test]
async fn a_missing_secret_costs_one_read_and_one_error_however_often_strangers_post() {
    const SECRET_NAME: &str = "tellonce/story/webhooks/erp";
    let world = World::start().await;
    world.stack.secrets().remove(SECRET_NAME);
    world.stack.kill_function("webhook-receiver").await;
    world.stack.secrets().reset_requests();
    for number in 0..20 {
        let unsigned = world.erp_post(&format!("m-{number}"), "ready", "SO-1", PHONE);
        assert_eq!(world.post(unsigned.with_header("webhook-signature", None)).await, 503);
    }
    // One read of the secret that would hold it.
    assert_eq!(world.stack.secrets().total_request_count(), 1);
    let logs = world.stack.log_lines("webhook-receiver");
    let errors = logs.iter().filter(|line| line.text.contains("\"ERROR\"") && line.text.contains(SECRET_NAME)).count();
    assert!(errors <= 1, "{errors} errors");
    // A secret that is stored is found within half a minute.
    world.stack.secrets().rotate(SECRET_NAME, ERP_SECRET);
    world.advance_time(jiff::SignedDuration::from_secs(31));
    assert_eq!(world.post(world.erp_post("m-30", "ready", "SO-1", PHONE)).await, 200);
    world.settle().await;
    assert_eq!(world.messages().len(), 1);
}

#[tokio::test]
async fn a_leaked_secret_is_cut_off_when_the_new_one_is_stored_twice_and_the_receiver_restarts() {
    const SECRET_NAME: &str = "tellonce/story/webhooks/erp";
    const NEW_SECRET: &str = "whsec_c3RvcmllcyBvZiBhIG5ldyBzZWNyZXQsIDAwMDE=";
    let world = World::start().await;
    world.stack.secrets().rotate(SECRET_NAME, NEW_SECRET);
    let signed_with = |secret: &str, id: &str| world.erp_post_with_secret(secret, id, "ready", "SO-1", PHONE);
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-1")).await, 200, "an ordinary rotation keeps it for a day");
    world.stack.secrets().rotate(SECRET_NAME, NEW_SECRET);
    world.stack.kill_function("webhook-receiver").await;
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-2")).await, 401);
    assert_eq!(world.post(signed_with(NEW_SECRET, "m-3")).await, 200);
}

fn woocommerce_ping() -> WebhookPost {
    WebhookPost::new("/stores/woo", "application/x-www-form-urlencoded; charset=UTF-8", "webhook_id=7")
}

#[tokio::test]
async fn authentic_but_malformed_deliveries_are_accepted_and_record_a_reason() {
    let world = World::start().await;
    let signed_bytes = |id: &str, body: Vec<u8>| {
        // Signed with the bytes unchanged.
        let proof = SenderProof::Shopify { shop_domain: "story.myshopify.com", webhook_id: id };
        world.shopify_post("orders/paid", id, &Value::Null).with_body(body).sign(proof, SHOPIFY_SECRET).unwrap()
    };
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", b"".to_vec(), "not-understood"),
        ("text", b"hello".to_vec(), "not-understood"),
        ("utf8", b"{\"id\":\"\xff\xfe\"}".to_vec(), "not-understood"),
        ("deep", deep.into_bytes(), "not-understood"),
        ("list", b"[]".to_vec(), "not-understood"),
        ("nothing", b"{}".to_vec(), "not-understood"),
    ];
    for (id, body, _) in &cases {
        assert_eq!(world.post(signed_bytes(id, body.clone())).await, 200, "{id}");
    }
    world.settle().await;
    for (id, _, reason) in &cases {
        assert_eq!(world.delivery_outcome(&format!("shop#{id}")).as_deref(), Some(*reason), "{id}");
    }
    assert_eq!(world.messages(), []);
    assert_eq!(world.stack.failures().len(), 0);
}

#[tokio::test]
async fn orders_without_a_reachable_customer_send_nothing_and_record_a_reason() {
    let world = World::start().await;
    let paid_order_with = |id: u64, change: &dyn Fn(&mut Value)| {
        let mut order = world.shopify_order(id, PHONE);
        change(&mut order);
        world.shopify_post("orders/paid", &format!("d-{id}"), &order)
    };
    let cases: Vec<(WebhookPost, &str)> = vec![
        (paid_order_with(1, &|order| order["test"] = json!(true)), "test-order"),
        (paid_order_with(2, &|order| order["phone"] = json!("555-555-SHIP")), "phone-unusable"),
        (paid_order_with(3, &|order| order["phone"] = json!("*2700")), "phone-unusable"),
        (paid_order_with(4, &|order| order["phone"] = json!("03-5550123")), "phone-unusable"),
        (paid_order_with(5, &|order| order["phone"] = json!("0545550199 / 0545550188")), "phone-unusable"),
        (paid_order_with(6, &|order| order["phone"] = Value::Null), "no-phone"),
        (
            paid_order_with(7, &|order| {
                order["source_name"] = json!("pos");
                order["customer"] = Value::Null;
                order["phone"] = Value::Null;
            }),
            "pos-without-customer",
        ),
    ];
    for (post, _) in &cases {
        assert_eq!(world.post(post.clone()).await, 200);
    }
    world.settle().await;
    for (number, (_, reason)) in cases.iter().enumerate() {
        assert_eq!(
            world.delivery_outcome(&format!("shop#d-{}", number + 1)).as_deref(),
            Some(*reason),
            "{}",
            number + 1
        );
    }
    assert_eq!(world.messages(), []);
}

#[tokio::test]
async fn unusual_names_and_ids_are_treated_as_data() {
    let world = World::start().await;
    let huge = 9_007_199_254_740_993_u64;
    let mut order = world.shopify_order(huge, PHONE);
    order["name"] = json!("<b>#1\u{202e}042</b>\n");
    world.deliver(world.shopify_post("orders/paid", "d-1", &order)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Order <b>#1042</b>: paid."]);
    assert_eq!(
        world.message_state(&format!("order:{huge}:paid")),
        "accepted",
        "an id beyond 2^53 keeps all its digits"
    );

    for (id, name) in [("a", "{{ order_number }}"), ("b", "Win at evil.com now"), ("c", "נועה\u{200f} לוי")] {
        let mut post = world.erp_post(id, "ready", &format!("א/{id} 1.0E+6"), "+972525550101");
        post = sign_changed_body(&world, &post, |body| body["name"] = json!(name));
        world.deliver(post).await;
    }
    assert_eq!(
        world.texts_on_phone("+972525550101"),
        ["{{, order א/a 1.0E+6: ready.", "order א/b 1.0E+6: ready.", "נועה, order א/c 1.0E+6: ready."]
    );
    assert!(world.message_rows().keys().all(|key| key.is_ascii()), "{:?}", world.message_rows().keys());
}

/// A post of the ERP with a changed body, signed again.
fn sign_changed_body(world: &World, post: &WebhookPost, change: impl Fn(&mut Value)) -> WebhookPost {
    let mut body: Value = serde_json::from_slice(&post.body).unwrap();
    change(&mut body);
    world.erp_post_with_body(crate::world::ERP_SECRET, post.header("webhook-id").unwrap(), &body)
}
