//! Incomplete deliveries: completed from the ledger, or with a lookup at the sender, which waits
//! while the sender's API is down.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
};

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, response::IntoResponse, routing::post};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_fakes::{calendars::FakeSquareCustomer, leads::FakeMetaLead, services::FakeService};
use tellonce_samples::WebhookPost;

use crate::{
    booking_endpoint::square_post,
    calendars::{advance_to_day_before, recorded_body_with, whole_minute_in_hours},
    lead_endpoint::{meta_post, recorded_body, website_lead_of},
    world::{World, WorldSetup},
};

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
    assert_eq!(world.delivery_outcome("shop#d-1").as_deref(), Some("waiting-for-lookup"));
    change_row(&world, "shop#d-1", "SET of_newer_version = :any", &json!({ ":any": { "S": "any" } }));
    world.tick_after(SignedDuration::from_mins(1)).await;
    let row = &world.waiting_lookups()["shop#d-1"];
    assert_eq!((&row["tries"], &row["of_newer_version"]), (&json!(2), &json!("any")));
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(world.messages().len(), 0, "the second pause is longer");
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Dana, order #1050: ready."]);
    assert_eq!((world.delivery_outcome("shop#d-1"), world.waiting_lookups().len()), (None, 0));
    assert_never_retried(&world);
}

/// Changes the row of a waiting lookup.
fn change_row(world: &World, delivery: &str, expression: &str, values: &Value) {
    let mut update = json!({
        "TableName": world.table_name("Ledger"), "UpdateExpression": expression,
        "Key": { "subject": { "S": format!("lookup:store-inbox:{delivery}") }, "stage": { "S": "state" } },
    });
    if !values.is_null() {
        update["ExpressionAttributeValues"] = values.clone();
    }
    world.stack.dynamo().call_operation("UpdateItem", &update).unwrap();
}

#[tokio::test]
async fn a_lookup_that_fails_for_good_or_whose_store_is_removed_does_not_wait() {
    let (_, url) = FakeShopify::start(vec![(503, json!({})), (402, json!({})), (503, json!({}))]);
    let world = start_world_with_shop(&url).await;
    world.deliver(world.shopify_post(PREPARED_TOPIC, "d-1", &prepared_body())).await;
    assert_eq!(world.waiting_lookups().len(), 1);
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(world.delivery_outcome("shop#d-1").as_deref(), Some("failed"));
    assert_eq!(world.waiting_lookups().len(), 0);

    world.deliver(world.shopify_post(PREPARED_TOPIC, "d-2", &prepared_body())).await;
    assert_eq!(world.waiting_lookups().len(), 1);
    world.edit_config(|config| config.replace("[stores.shop", "[stores.renamed"));
    world.stack.kill_function("order-notifier").await;
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(world.delivery_outcome("shop#d-2").as_deref(), Some("store-removed"));
    assert_eq!(world.waiting_lookups().len(), 0);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_in_the_gauge_and_holds_up_no_other_delivery() {
    let (shop, url) = Shop::start(503);
    let world = start_world_with_shop(&url).await;
    for number in [1000, 1001] {
        world.deliver(pickup_post(&world, number)).await;
    }
    change_row(&world, "shop#d-1000", "REMOVE useful_until", &Value::Null);
    for minute in 1..=3 {
        world.tick_after(SignedDuration::from_mins(1)).await;
        let gauge = world.read_gauge("reminder-scheduler", "oldest_due_seconds");
        assert_eq!(gauge.is_some(), minute > 1, "a minute is usual");
    }
    let reasons = world.read_gauge("reminder-scheduler", "oldest_due_seconds").unwrap()["reasons"].to_string();
    assert!(reasons.contains("lookups of shop: ") && reasons.contains("503"), "{reasons}");
    assert!(reasons.contains("1 rows of waiting lookups cannot be read"), "{reasons}");
    shop.status.store(200, SeqCst);
    world.tick_after(SignedDuration::from_mins(5)).await;
    assert_eq!(world.texts_on_phone(&order_phone("1001")).len(), 1);
    assert_eq!(world.waiting_lookups().into_keys().collect::<Vec<_>>(), ["shop#d-1000"]);
}

#[tokio::test]
async fn in_quiet_hours_a_lookup_that_waits_is_in_no_gauge() {
    let (_, url) = Shop::start(503);
    let world = World::start_with(WorldSetup {
        env: [("SHOPIFY_BASE_URL".to_owned(), url)].into(),
        quiet_hours: Some(("00:00", "23:59")),
        ..WorldSetup::default()
    })
    .await;
    // The last minute of the day is not within the quiet hours.
    world.leave_hours("Asia/Jerusalem", 23..24);
    world.deliver(pickup_post(&world, 1000)).await;
    for _ in 0..3 {
        world.tick_after(SignedDuration::from_mins(5)).await;
        assert!(world.read_gauge("reminder-scheduler", "oldest_due_seconds").is_none());
    }
    assert_eq!(world.waiting_lookups().len(), 1);
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

/// No stream record failed for the trouble of a sender's API.
fn assert_never_retried(world: &World) {
    assert!(world.stack.failures().is_empty());
    for function in ["order-notifier", "lead-first-touch", "reminder-scheduler"] {
        let lines = world.stack.log_lines(function);
        let retried: Vec<_> = lines.iter().filter(|line| line.text.contains("will be retried")).collect();
        assert!(retried.is_empty(), "{retried:?}");
    }
}

/// A shop that knows every order, and answers with this status until it is changed; 0 hangs.
#[derive(Clone)]
struct Shop {
    status: Arc<AtomicU16>,
    request_count: Arc<AtomicUsize>,
}

impl Shop {
    fn start(status: u16) -> (Self, String) {
        let shop = Self { status: Arc::new(AtomicU16::new(status)), request_count: Arc::default() };
        let listener = tellonce_fakes::server::bind_port(0, "a test", "").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router =
            Router::new().route("/admin/api/{version}/graphql.json", post(serve_order)).with_state(shop.clone());
        tellonce_fakes::server::serve_router(router, listener, "a test");
        (shop, url)
    }
}

async fn serve_order(State(shop): State<Shop>, axum::Json(query): axum::Json<Value>) -> impl IntoResponse {
    shop.request_count.fetch_add(1, SeqCst);
    let status = shop.status.load(SeqCst);
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let number = query["variables"]["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut body = pickup_response();
    let order = &mut body["data"]["fulfillmentOrder"]["order"];
    order["legacyResourceId"] = json!(number);
    order["name"] = json!(format!("#{number}"));
    for holder in ["/phone", "/customer/defaultPhoneNumber", "/shippingAddress/phone", "/billingAddress/phone"] {
        if let Some(phone) = order.pointer_mut(holder) {
            *phone = Value::Null;
        }
    }
    order["phone"] = json!(order_phone(&number));
    (StatusCode::from_u16(status).unwrap(), axum::Json(body))
}

fn order_phone(number: &str) -> String {
    format!("+97252555{number}")
}

fn pickup_post(world: &World, number: usize) -> WebhookPost {
    let mut body = prepared_body();
    body["fulfillment_order"]["id"] = json!(format!("gid://shopify/FulfillmentOrder/{number}"));
    world.shopify_post(PREPARED_TOPIC, &format!("d-{number}"), &body)
}

fn lead_phone(number: usize) -> String {
    format!("+97254555{number}")
}

fn meta_lead_post(world: &World, number: usize) -> WebhookPost {
    let id = format!("44444444444{number}");
    let field = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    let lead = FakeMetaLead {
        id: id.clone(),
        form_id: "123123123000".into(),
        created_at: world.now(),
        fields: vec![field("full_name", "Shira Cohen"), field("phone_number", &lead_phone(number))],
        disclaimers: [("optional_1".to_owned(), true)].into(),
    };
    world.stack.leads().put_lead(lead).unwrap();
    let body = String::from_utf8(recorded_body("meta/leadgen.json")).unwrap();
    let body = body.replace("444444444444000", &id).replace("1795082400", &world.now().as_second().to_string());
    meta_post(body.into_bytes())
}

fn square_booking(world: &World, number: usize, start: jiff::Timestamp) -> WebhookPost {
    let customer = FakeSquareCustomer {
        id: format!("CUSTOMER{number}"),
        given_name: "Adi".into(),
        family_name: "Sela".into(),
        phone_number: Some(format!("+97253555{number}")),
    };
    world.stack.calendars().put_customer(customer).unwrap();
    let changes = [
        ("/data/object/booking/updated_at", json!(world.now().to_string())),
        ("/event_id", json!(format!("event-{number}"))),
        ("/data/object/booking/id", json!(format!("booking{number}"))),
        ("/data/object/booking/customer_id", json!(format!("CUSTOMER{number}"))),
        ("/data/object/booking/start_at", json!(start.to_string())),
    ];
    square_post(recorded_body_with("square/booking_created.json", &changes))
}

#[tokio::test]
async fn six_hours_without_a_lookup_lose_nothing_send_nothing_twice_and_hold_up_no_other_sender() {
    let (shop, url) = Shop::start(503);
    let world = start_world_with_shop(&url).await;
    let fakes = world.stack.fakes();
    let start = whole_minute_in_hours(&world, 50);
    for service in [FakeService::Graph, FakeService::Square] {
        fakes.fail_share(service, 1.0, 7);
    }
    // Useful for two hours, so its lookup ends during the outage.
    let scan = json!({ "id": 1, "fulfillment_id": 2, "order_id": 1001, "status": "out_for_delivery",
        "happened_at": world.now().to_string(), "created_at": world.now().to_string() });
    world.deliver(world.shopify_post("fulfillment_events/create", "scan", &scan)).await;
    let mut waiting = 0;
    for hour in 0..6 {
        for number in (0..4).map(|number| 1000 + 4 * hour + number) {
            world.deliver(pickup_post(&world, number)).await;
            world.deliver(meta_lead_post(&world, number)).await;
            waiting += 2;
        }
        world.deliver(square_booking(&world, 1000 + hour, start)).await;
        waiting += 1;
        // The others flow.
        let sent = world.messages().len();
        world.deliver(world.erp_post(&format!("m-{hour}"), "ready", &format!("e{hour}"), PHONE)).await;
        world.deliver(website_lead_of(&format!("+97250555100{hour}"))).await;
        assert_eq!(world.messages().len(), sent + 2);
        for _ in 0..6 {
            world.tick_after(SignedDuration::from_mins(10)).await;
        }
    }
    let lookups = [shop.request_count.load(SeqCst) as u64, fakes.request_count(FakeService::Graph)];
    println!("{waiting} deliveries wait; lookups at the shop and at Meta during the outage: {lookups:?}");
    assert!(lookups.iter().all(|count| *count <= 4 * 6 + 36 + 1), "one lookup each time, not one for each delivery");
    assert_eq!(world.waiting_lookups().len(), waiting);
    assert_eq!(world.delivery_outcome("shop#scan").as_deref(), Some("lookup-failed"));
    assert_eq!(world.metric_values("attention", 400), [0.0; 0], "the gauge has alerted");
    assert_eq!(world.messages().len(), 12);
    assert_never_retried(&world);

    shop.status.store(200, SeqCst);
    fakes.heal();
    let mut minutes = 0;
    while !world.waiting_lookups().is_empty() && minutes < 15 {
        world.tick_after(SignedDuration::from_mins(1)).await;
        minutes += 1;
    }
    println!("all were sent {minutes} minutes after the senders worked again");
    assert!(minutes <= 11, "{minutes}");
    for number in 1000..1024 {
        let order = format!("Dana, order #{number}: ready.");
        assert_eq!(world.texts_on_phone(&order_phone(&number.to_string())), [order], "{number}");
        assert_eq!(world.texts_on_phone(&lead_phone(number)).len(), 1, "{number}");
    }
    assert_eq!((world.messages().len(), world.stack.provider().max_messages_per_key()), (12 + 48, 1));
    assert_never_retried(&world);
    advance_to_day_before(&world, start).await;
    let reminded = |number: &usize| world.texts_on_phone(&format!("+97253555{number}")).len() == 1;
    assert_eq!((1000..1006).filter(reminded).count(), 6);
}

#[tokio::test]
async fn senders_that_never_respond_hold_up_no_batch() {
    let (shop, url) = Shop::start(0);
    let world = start_world_with_shop(&url).await;
    let fakes = world.stack.fakes();
    for service in [FakeService::Graph, FakeService::Square] {
        fakes.set_hanging(service, true);
    }
    let start = whole_minute_in_hours(&world, 50);
    let mut posts = Vec::new();
    for number in 1000..1005 {
        posts.push(pickup_post(&world, number));
        posts.push(meta_lead_post(&world, number));
        posts.push(square_booking(&world, number, start));
        posts.push(world.erp_post(&format!("m-{number}"), "ready", &format!("e{number}"), PHONE));
        posts.push(website_lead_of(&format!("+97250555{number}")));
    }
    for status in futures::future::join_all(posts.into_iter().map(|post| world.post(post))).await {
        assert_eq!(status, 200);
    }
    world.settle().await;
    assert_eq!((world.messages().len(), world.waiting_lookups().len()), (10, 15));
    let [graph, square] = [FakeService::Graph, FakeService::Square].map(|service| fakes.request_count(service));
    let requests = [shop.request_count.load(SeqCst) as u64, graph, square];
    // Leads of one batch are processed together, so each may ask before the first has failed.
    let limits = [2, 5, 2];
    let asks_no_more = requests.iter().zip(limits).all(|(count, limit)| *count <= limit);
    assert!(asks_no_more, "the deliveries behind the first: {requests:?}");
    assert_never_retried(&world);

    shop.status.store(200, SeqCst);
    fakes.heal();
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!((world.messages().len(), world.waiting_lookups().len()), (20, 0));
    assert_never_retried(&world);
}

#[tokio::test]
async fn a_table_that_fails_is_our_trouble_and_lambda_repeats_the_record() {
    let (shop, url) = Shop::start(503);
    let world = start_world_with_shop(&url).await;
    // The function has started.
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    // The row of the waiting lookup cannot be written: without it the delivery must not wait.
    world.stack.dynamo().faults().inject_rule(tellonce_stack::dynamo::FaultRule {
        operation: Some("UpdateItem".to_owned()),
        table: Some(world.table_name("Ledger")),
        fault: tellonce_stack::dynamo::DynamoFault::Throttle,
        frequency: tellonce_stack::dynamo::FaultFrequency::Next(9),
    });
    world.deliver(pickup_post(&world, 1000)).await;
    let lines = world.stack.log_lines("order-notifier");
    assert!(lines.iter().any(|line| line.text.contains("will be retried")), "{lines:?}");
    assert_eq!(world.delivery_outcome("shop#d-1000").as_deref(), Some("waiting-for-lookup"));
    assert_eq!(world.waiting_lookups().len(), 1);
    // The row of a record that was repeated and then succeeded is left over. It holds up nothing,
    // and it is settled.
    world.deliver(pickup_post(&world, 1001)).await;
    let left_over = json!({ "TableName": world.table_name("StoreInbox"), "Key": { "id": { "S": "shop#d-1000" } },
        "UpdateExpression": "SET outcome = :other", "ExpressionAttributeValues": { ":other": { "S": "other" } } });
    world.stack.dynamo().call_operation("UpdateItem", &left_over).unwrap();
    shop.status.store(200, SeqCst);
    world.tick_after(SignedDuration::from_mins(2)).await;
    assert_eq!(world.waiting_lookups().into_keys().collect::<Vec<_>>(), ["shop#d-1000"]);
    world.tick_after(SignedDuration::from_mins(9)).await;
    assert_eq!((world.waiting_lookups().len(), world.messages().len()), (0, 2));
    assert!(shop.request_count.load(SeqCst) >= 2, "the record was processed again");
}
