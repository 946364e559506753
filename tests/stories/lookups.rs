//! Incomplete events: completed from the ledger, or with one lookup at the store.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, response::IntoResponse, routing::post};
use serde_json::{Value, json};

use crate::world::{World, WorldSetup};

const PHONE: &str = "+972525550101";

/// A shop's Admin API with prepared responses.
#[derive(Clone)]
struct FakeShopify {
    request_count: Arc<AtomicUsize>,
    responses: Arc<Mutex<Vec<(u16, Value)>>>,
}

impl FakeShopify {
    /// Starts the API. It repeats the last response.
    fn start(responses: Vec<(u16, Value)>) -> (Self, String) {
        let shop = Self { request_count: Arc::default(), responses: Arc::new(Mutex::new(responses)) };
        let listener = tellonce_fakes::server::bind_port(0, "a test", "").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router =
            Router::new().route("/admin/api/{version}/graphql.json", post(serve_graphql)).with_state(shop.clone());
        tellonce_fakes::server::serve_router(router, listener, "a test");
        (shop, url)
    }
}

async fn serve_graphql(State(shop): State<FakeShopify>, headers: HeaderMap) -> impl IntoResponse {
    shop.request_count.fetch_add(1, SeqCst);
    if headers.get("x-shopify-access-token").is_none_or(|token| token != "story-shop-api-token") {
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({ "errors": "[API] Invalid API key or access token" })));
    }
    let mut responses = shop.responses.lock().unwrap();
    let (status, body) = if responses.len() > 1 { responses.remove(0) } else { responses[0].clone() };
    (StatusCode::from_u16(status).unwrap(), axum::Json(body))
}

fn pickup_response() -> Value {
    tellonce_samples::read_sample_json("stores/shopify/_graphql_fulfillment_order.response.json")
}

fn prepared_body() -> Value {
    json!({ "fulfillment_order": { "id": "gid://shopify/FulfillmentOrder/6820000000001", "status": "in_progress",
        "preparable": true, "delivery_method": { "method_type": "pick_up" } } })
}

async fn start_world_with_shop(url: &str) -> World {
    World::start_with(WorldSetup {
        env: [("SHOPIFY_BASE_URL".to_owned(), url.to_owned())].into(),
        ..WorldSetup::default()
    })
    .await
}

const PREPARED_TOPIC: &str = "fulfillment_orders/line_items_prepared_for_pickup";

#[tokio::test]
async fn ready_for_pickup_is_sent_after_one_lookup_at_the_store() {
    let (shop, url) = FakeShopify::start(vec![(200, pickup_response())]);
    let world = start_world_with_shop(&url).await;
    world.deliver(world.shopify_post(PREPARED_TOPIC, "d-1", &prepared_body())).await;
    world.deliver(world.shopify_post(PREPARED_TOPIC, "d-1", &prepared_body())).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Dana, order #1050: ready."]);
    assert_eq!(world.message_state("order:5223452934380:ready"), "accepted");
    assert_eq!(shop.request_count.load(SeqCst), 1);
}

#[tokio::test]
async fn a_store_that_is_busy_for_a_moment_delays_the_message() {
    let throttled = json!({ "errors": [{ "message": "Throttled", "extensions": { "code": "THROTTLED" } }] });
    let (_, url) = FakeShopify::start(vec![(429, json!({})), (200, throttled), (200, pickup_response())]);
    let world = start_world_with_shop(&url).await;
    world.deliver(world.shopify_post(PREPARED_TOPIC, "d-1", &prepared_body())).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Dana, order #1050: ready."]);
}

#[tokio::test]
async fn an_order_unknown_to_the_store_records_a_reason() {
    let (_, url) = FakeShopify::start(vec![(200, json!({ "data": { "fulfillmentOrder": null } }))]);
    let world = start_world_with_shop(&url).await;
    world.deliver(world.shopify_post(PREPARED_TOPIC, "d-1", &prepared_body())).await;
    assert_eq!(world.delivery_outcome("shop#d-1").as_deref(), Some("order-not-found"));
    assert_eq!(world.messages(), []);
}

#[tokio::test]
async fn a_parcel_scan_is_sent_to_the_phone_in_the_ledger_without_a_lookup() {
    let (shop, url) = FakeShopify::start(vec![(500, json!({}))]);
    let world = start_world_with_shop(&url).await;
    let mut order = world.shopify_order(1001, PHONE);
    order["customer_locale"] = json!("he");
    world.deliver(world.shopify_post("orders/paid", "d-1", &order)).await;
    let scan = json!({ "id": 1, "fulfillment_id": 2, "order_id": 1001, "status": "out_for_delivery",
        "happened_at": world.now().to_string(), "created_at": world.now().to_string() });
    world.deliver(world.shopify_post("fulfillment_events/create", "d-2", &scan)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["הזמנה #1001 שולמה.", "הזמנה #1001 היום."]);
    assert_eq!(shop.request_count.load(SeqCst), 0);
}
