//! Every sample delivery of `events/stores`, read and held against the facts of its manifest; and samples torn apart.

use std::{collections::BTreeMap, ops::Deref, sync::LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use shared::client_config::{ClientConfig, Milestone};

use crate::order_event::{NothingBecause, OrderEvent, OrderRef, PartialEvent, Reading, read};
use shared::json::Misread;

/// A client with one store of each kind.
const CLIENT: &str = r#"
client = "demo"
name = "Demo"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line-1"

[stores.shop]
kind = "shopify"
line = "main"
shop_domain = "ezw-demo-il.myshopify.com"

[stores.woo]
kind = "woocommerce"
line = "main"
source = "https://shop.example.co.il/"
statuses = { processing = "received", completed = "shipped", ready-for-pickup = "ready", cancelled = "cancelled", refunded = "refunded", paid = "paid" }

[stores.erp]
kind = "custom"
line = "main"
verify = { scheme = "standard-webhooks" }
events = { "order.ready_for_pickup" = "ready", "order.delivery_changed" = "delivery-changed", "invoice.issued" = "invoice", "order.shipped" = "shipped" }
[stores.erp.fields]
event = "/type"
order_id = "/data/orderId"
occurred_at = "/timestamp"
order_number = "/data/orderNumber"
phone = "/data/customer/phone"
country = "/data/customer/country"
name = "/data/customer/name"
locale = "/data/customer/locale"
instance = "/data/parcel"
test = "/data/test"
[stores.erp.fields.values]
total = "/data/total"
currency = "/data/currency"
pickup_location = "/data/pickup/location"
delivery_status = "/data/delivery/status"
delivery_to = "/data/delivery/to"
invoice_id = "/data/invoice/id"
invoice_url = "/data/invoice/url"
order_url = "/data/orderUrl"

[stores.zap]
kind = "custom"
line = "main"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
events = { "order.ready" = "ready" }
[stores.zap.fields]
event = "/event"
delivery_id = "/event_id"
order_id = "/order/id"
order_number = "/order/number"
phone = "/customer/phone"
name = "/customer/name"
"#;

pub(crate) fn config() -> ClientConfig {
    ClientConfig::parse(CLIENT).unwrap()
}

/// When the deliveries of the tests are received: after everything in the samples.
pub(crate) fn received_at() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

/// Reads a body as a delivery to one of the client's stores.
pub(crate) fn read_as(store: &str, topic: Option<&str>, body: impl AsRef<[u8]>) -> Reading {
    let config = config();
    read(&config.stores[store], &config, topic, &BTreeMap::new(), body.as_ref(), received_at())
}

/// The event that was read.
pub(crate) fn event(reading: Reading) -> OrderEvent {
    match reading {
        Reading::Event(event) => *event,
        other => panic!("no event: {other:?}"),
    }
}

/// The event that was read, short of its order.
pub(crate) fn partial(reading: Reading) -> PartialEvent {
    match reading {
        Reading::NeedsOrder(event) => *event,
        other => panic!("needs no order: {other:?}"),
    }
}

/// A sample's body as JSON, to be changed.
pub(crate) fn sample(system: &str, case: &str) -> Value {
    events::json(&of(system), case)
}

fn of(system: &str) -> String {
    format!("stores/{system}")
}

struct Case {
    store: &'static str,
    topic: Option<String>,
    headers: BTreeMap<String, String>,
    sample: events::Case,
}

impl Deref for Case {
    type Target = events::Case;

    fn deref(&self) -> &events::Case {
        &self.sample
    }
}

const SYSTEMS: [(&str, &str); 4] =
    [("shopify", "shop"), ("woocommerce", "woo"), ("standardwebhooks", "erp"), ("static_header", "zap")];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (system, store) in SYSTEMS {
        for sample in events::cases(&of(system)) {
            let headers: BTreeMap<String, String> =
                sample.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
            let topic = headers.get("x-shopify-topic").or_else(|| headers.get("x-wc-webhook-topic")).cloned();
            cases.push(Case { store, topic, headers, sample });
        }
    }
    cases
}

impl Case {
    fn read(&self) -> Reading {
        let config = config();
        read(&config.stores[self.store], &config, self.topic.as_deref(), &self.headers, &self.body, received_at())
    }
}

/// What our own words for a manifest's `kind` are.
fn milestone(kind: &str) -> Option<Milestone> {
    Some(match kind {
        "order.created" => Milestone::Received,
        "order.paid" => Milestone::Paid,
        "order.ready_for_pickup" => Milestone::Ready,
        "order.fulfilled" | "order.shipped" => Milestone::Shipped,
        "order.out_for_delivery" => Milestone::OutForDelivery,
        "order.delivery_changed" => Milestone::DeliveryChanged,
        "order.delivered" => Milestone::Delivered,
        "order.cancelled" => Milestone::Cancelled,
        "order.refunded" => Milestone::Refunded,
        "invoice.issued" => Milestone::Invoice,
        _ => return None,
    })
}

#[test]
fn every_sample_says_what_its_manifest_says() {
    let mut events = 0;
    for case in cases() {
        let name = case.title();
        match (case.read(), case.fact("kind")) {
            (Reading::Event(event), kind) => {
                events += 1;
                if let Some(kind) = kind {
                    assert_eq!(milestone(kind), Some(event.milestone), "{name}");
                }
                check_event(&name, &case, &event);
            }
            (Reading::NeedsOrder(event), Some(kind)) => {
                events += 1;
                assert_eq!(milestone(kind), Some(event.milestone), "{name}");
                assert!(case.fact("needs_lookup").is_some(), "{name}");
                check_partial(&name, &case, &event);
            }
            (Reading::Nothing(reason), Some(kind)) => {
                let expected = match kind {
                    "order.updated" if case.system == "shopify" => "update-without-transition",
                    "order.updated" => "status-not-mapped",
                    "order.shipment_updated" => "shipment-status-not-told",
                    "order.deleted" => "deleted",
                    "privacy.customer_redact" => "privacy-request",
                    "ping" => "ping",
                    "order.ready_for_pickup" if case.name == "action_custom" => "action-hook",
                    other => panic!("{name}: a {other} is read as nothing: {reason}"),
                };
                assert_eq!(reason.code(), expected, "{name}");
            }
            (other, kind) => panic!("{name}: {kind:?} is read as {other:?}"),
        }
    }
    assert!(events >= 20, "only {events} samples are events");
}

fn check_event(name: &str, case: &Case, event: &OrderEvent) {
    if case.fact("entity") == Some("fulfillment") {
        assert_eq!(event.thread.as_deref(), case.fact("entity_id"), "{name}");
        assert_eq!(Some(&*event.order_id), case.fact("order_id"), "{name}");
        assert_eq!(event.order_number.as_deref(), Some("#1042"), "{name}");
    } else {
        if let Some(id) = case.fact("entity_id") {
            assert_eq!(event.order_id, id, "{name}");
        }
        if let Some(number) = case.fact("number") {
            assert_eq!(event.order_number.as_deref(), Some(number), "{name}");
        }
    }
    if let Some(at) = case.fact("occurred_at") {
        assert_eq!(event.occurred_at, at.parse::<Timestamp>().unwrap(), "{name}");
    }
    if let Some(phone) = case.fact("phone_e164") {
        assert_eq!(event.contact.reachable().unwrap().expose(), phone, "{name}");
    }
    if let Some(customer) = case.fact("customer_name") {
        assert_eq!(event.contact.name.as_deref(), Some(customer), "{name}");
    }
    if case.facts.get("locale").is_some() {
        assert_eq!(event.contact.locale.as_deref(), case.fact("locale"), "{name}");
    }
    check_values(name, case, &event.values);
}

fn check_partial(name: &str, case: &Case, event: &PartialEvent) {
    if case.fact("entity") == Some("fulfillment_order") {
        assert_eq!(
            Some(&event.order),
            case.fact("entity_id").map(|gid| OrderRef::FulfillmentOrder(gid.into())).as_ref()
        );
    } else {
        assert_eq!(event.order.id(), case.fact("order_id"), "{name}");
    }
    if case.fact("entity") == Some("refund") {
        assert_eq!(event.instance.as_deref(), case.fact("entity_id"), "{name}");
    }
    assert_eq!(event.thread.as_deref(), case.fact("fulfillment_id"), "{name}");
    match case.fact("occurred_at") {
        Some(at) => assert_eq!(event.occurred_at, at.parse::<Timestamp>().unwrap(), "{name}"),
        None => assert_eq!(event.occurred_at, case.headers["x-shopify-triggered-at"].parse().unwrap(), "{name}"),
    }
    assert!(event.contact.phone.is_none(), "{name}");
    check_values(name, case, &event.values);
}

fn check_values(name: &str, case: &Case, values: &BTreeMap<String, String>) {
    for variable in [
        "total",
        "currency",
        "tracking_company",
        "tracking_number",
        "tracking_url",
        "pickup_location",
        "pickup_address",
        "refund_amount",
        "cancel_reason",
        "invoice_id",
    ] {
        if let Some(value) = case.fact(variable) {
            assert_eq!(values.get(variable).map(String::as_str), Some(value), "{name}: {variable}");
        }
    }
}

#[test]
fn a_repeated_delivery_reads_the_same() {
    let cases = cases();
    for case in &cases {
        if let Some(first) = case.fact("duplicate_of") {
            let first = cases.iter().find(|other| other.system == case.system && other.name == first).unwrap();
            assert_eq!(case.read(), first.read(), "{}", case.name);
        }
    }
}

#[test]
fn no_sample_is_left_unread() {
    for (system, _) in SYSTEMS {
        let besides: &[&str] = match system {
            // Read by the tests of `lookup`.
            "shopify" => &["_graphql_fulfillment_order.request.json", "_graphql_fulfillment_order.response.json"],
            // By those of `shared::delivery`.
            "standardwebhooks" => &["official_vectors.json"],
            _ => &[],
        };
        events::assert_all_listed(&of(system), besides);
    }
    events::assert_all_known("stores", &SYSTEMS.map(|(system, _)| system));
}

#[test]
fn bodies_that_are_no_json_are_not_understood_and_quote_nothing() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "not JSON"),
        (b"{\"id\":\"secret-5\"", "not JSON"),
        (b"{\"id\":\"\xff\"}", "not UTF-8"),
        (b"[]", "shape"),
        (b"{\"id\":1,\"id\":2}", "shape"),
        (b"{\"id\":1,\"customer\":\"secret-5\"}", "shape"),
    ];
    for (body, says) in cases {
        let Reading::Nothing(reason @ NothingBecause::NotUnderstood(_)) = read_as("shop", Some("orders/paid"), body)
        else {
            panic!("{body:?} is understood");
        };
        assert!(reason.to_string().contains(says) && !format!("{reason} {reason:?}").contains("secret"), "{reason}");
    }
    let bomb = format!("{{\"id\":1,\"customer\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        read_as("shop", Some("orders/paid"), bomb),
        Reading::Nothing(NothingBecause::NotUnderstood(Misread::Shape { .. }))
    ));
}

/// Topics that a torn sample is read under.
const TOPICS: [Option<&str>; 12] = [
    Some("orders/create"),
    Some("orders/paid"),
    Some("orders/fulfilled"),
    Some("orders/cancelled"),
    Some("fulfillments/create"),
    Some("fulfillments/update"),
    Some("fulfillment_events/create"),
    Some("fulfillment_orders/line_items_prepared_for_pickup"),
    Some("refunds/create"),
    Some("order.updated"),
    Some("order.created"),
    None,
];

fn bodies() -> &'static [Vec<u8>] {
    static BODIES: LazyLock<Vec<Vec<u8>>> =
        LazyLock::new(|| cases().into_iter().map(|case| case.sample.body).collect());
    &BODIES
}

fn check_promises(reading: &Reading) {
    let (contact, values) = match reading {
        Reading::Event(event) | Reading::Quiet(event, _) => (&event.contact, &event.values),
        Reading::NeedsOrder(event) => (&event.contact, &event.values),
        Reading::Nothing(reason) => {
            assert!(!reason.code().is_empty() && !reason.to_string().is_empty());
            return;
        }
    };
    assert!(values.values().all(|value| !value.is_empty()));
    assert!(values.iter().all(|(name, value)| !name.ends_with("_url") || value.to_lowercase().starts_with("https://")));
    let shown = format!("{contact:?}");
    if let Some(name) = contact.name.as_deref().filter(|name| name.len() > 12) {
        assert!(!shown.contains(name));
    }
    if let Some(phone) = &contact.phone {
        assert!(!shown.contains(phone.expose()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn torn_bytes_never_make_it_panic(
        body in events::torn(bodies()),
        topic in 0..TOPICS.len(),
        store in prop::sample::select(vec!["shop", "woo", "erp", "zap"]),
    ) {
        check_promises(&read_as(store, TOPICS[topic], body));
    }

    #[test]
    fn any_value_in_any_place_never_makes_it_panic(
        which in any::<prop::sample::Index>(),
        at in 0_usize..400,
        with in prop::sample::select(vec![
            "null", "[]", "{}", "\"\"", "true", "-1", "1e400", "\"1.0E+6\"", "\"<b>\\u202e&amp;\"", "[null]", "[[{}]]",
            "\"99999-12-31T23:59:60Z\"", "\"http://x.example/\"", "123456789012345678901234567890", "{\"a\":{\"b\":[]}}",
        ]),
        topic in 0..TOPICS.len(),
    ) {
        let cases = cases();
        let case = which.get(&cases);
        // Ping is no JSON.
        if let Some(body) = events::with_value(&case.body, at, with) {
            check_promises(&read_as(case.store, case.topic.as_deref(), &body));
            check_promises(&read_as(case.store, TOPICS[topic], &body));
        }
    }

    #[test]
    fn any_bytes_never_make_it_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        topic in prop::option::of("\\PC{0,80}"),
        known in 0..TOPICS.len(),
        store in prop::sample::select(vec!["shop", "woo", "erp", "zap"]),
    ) {
        check_promises(&read_as(store, topic.as_deref(), &body));
        check_promises(&read_as(store, TOPICS[known], &body));
    }
}
