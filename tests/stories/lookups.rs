//! Events that say too little: completed from the ledger, or with one read at the store.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, response::IntoResponse, routing::post};
use serde_json::{Value, json};

use crate::world::{Setup, World};

const PHONE: &str = "+972525550101";

/// A shop's Admin API that answers one question.
#[derive(Clone)]
struct Shop {
    asked: Arc<AtomicUsize>,
    answers: Arc<Mutex<Vec<(u16, Value)>>>,
}

impl Shop {
    /// Starts it; the last answer is given again and again.
    async fn start(answers: Vec<(u16, Value)>) -> (Self, String) {
        let shop = Self { asked: Arc::default(), answers: Arc::new(Mutex::new(answers)) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/admin/api/{version}/graphql.json", post(answer)).with_state(shop.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (shop, url)
    }
}

async fn answer(State(shop): State<Shop>, headers: HeaderMap) -> impl IntoResponse {
    shop.asked.fetch_add(1, SeqCst);
    if headers.get("x-shopify-access-token").is_none_or(|token| token != "story-shop-api-token") {
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({ "errors": "[API] Invalid API key or access token" })));
    }
    let mut answers = shop.answers.lock().unwrap();
    let (status, body) = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
    (StatusCode::from_u16(status).unwrap(), axum::Json(body))
}

fn pickup() -> Value {
    let text = include_str!("../../events/stores/shopify/_graphql_fulfillment_order.response.json");
    serde_json::from_str(text).unwrap()
}

fn prepared() -> Value {
    json!({ "fulfillment_order": { "id": "gid://shopify/FulfillmentOrder/6820000000001", "status": "in_progress",
        "preparable": true, "delivery_method": { "method_type": "pick_up" } } })
}

async fn world_with(url: &str) -> World {
    World::start_with(Setup { env: [("SHOPIFY_BASE_URL".to_owned(), url.to_owned())].into(), ..Setup::default() }).await
}

const PREPARED: &str = "fulfillment_orders/line_items_prepared_for_pickup";

#[tokio::test]
async fn ready_for_pickup_is_told_after_one_read_at_the_store() {
    let (shop, url) = Shop::start(vec![(200, pickup())]).await;
    let world = world_with(&url).await;
    world.deliver(world.shopify(PREPARED, "d-1", &prepared())).await;
    world.deliver(world.shopify(PREPARED, "d-1", &prepared())).await;
    assert_eq!(world.texts(PHONE), ["Dana, order #1050: ready."]);
    assert_eq!(world.state("order:5223452934380:ready"), "accepted");
    assert_eq!(shop.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn a_store_that_is_busy_for_a_moment_delays_the_message() {
    let throttled = json!({ "errors": [{ "message": "Throttled", "extensions": { "code": "THROTTLED" } }] });
    let (_, url) = Shop::start(vec![(429, json!({})), (200, throttled), (200, pickup())]).await;
    let world = world_with(&url).await;
    world.deliver(world.shopify(PREPARED, "d-1", &prepared())).await;
    assert_eq!(world.texts(PHONE), ["Dana, order #1050: ready."]);
}

#[tokio::test]
async fn an_order_that_the_store_does_not_know_leaves_its_reason() {
    let (_, url) = Shop::start(vec![(200, json!({ "data": { "fulfillmentOrder": null } }))]).await;
    let world = world_with(&url).await;
    world.deliver(world.shopify(PREPARED, "d-1", &prepared())).await;
    let outcome = world.outcome("shop#d-1").unwrap();
    assert!(outcome.starts_with("order-not-found"), "{outcome}");
    assert_eq!(world.messages(), []);
}

#[tokio::test]
async fn a_parcels_scan_is_told_to_whom_the_ledger_knows_without_asking_the_store() {
    let (shop, url) = Shop::start(vec![(500, json!({}))]).await;
    let world = world_with(&url).await;
    let mut order = world.order(1001, PHONE);
    order["customer_locale"] = json!("he");
    world.deliver(world.shopify("orders/paid", "d-1", &order)).await;
    let scan = json!({ "id": 1, "fulfillment_id": 2, "order_id": 1001, "status": "out_for_delivery",
        "happened_at": world.now().to_string(), "created_at": world.now().to_string() });
    world.deliver(world.shopify("fulfillment_events/create", "d-2", &scan)).await;
    assert_eq!(world.texts(PHONE), ["הזמנה #1001 שולמה.", "הזמנה #1001 היום."]);
    assert_eq!(shop.asked.load(SeqCst), 0);
}
