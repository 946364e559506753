//! Parses every sample delivery of `events/stores` and compares it with the facts of its manifest.
//! Also parses corrupted samples.

use std::{collections::BTreeMap, ops::Deref, sync::LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use tellonce_core::client_config::{ClientConfig, Milestone};

use crate::{
    order_event::{OrderEvent, OrderReference, ParsedOrder, PartialOrderEvent},
    order_outcome::OrderSkipReason,
    order_parser::parse_order_event,
};
use tellonce_core::json::JsonError;

/// A client with one store of each kind.
const CLIENT_TOML: &str = r#"
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
events = { "order.ready_for_pickup" = "ready", "order.delivery_changed" = "delivery-changed", "invoice.issued" = "invoice", "order.shipped" = "shipped", "order.delivered" = "delivered", "order.paid" = "paid" }
[stores.erp.fields]
event = "/type"
order_id = "/data/orderId"
occurred_at = "/timestamp"
order_number = "/data/orderNumber"
phone = "/data/customer/phone"
country = "/data/customer/country"
name = "/data/customer/name"
locale = "/data/customer/locale"
parcel = "/data/parcel"
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

pub(crate) fn sample_config() -> ClientConfig {
    ClientConfig::parse(CLIENT_TOML).unwrap()
}

/// The time of receipt in the tests. It is later than every time in the samples.
pub(crate) fn received_at() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

/// Parses a body as a delivery to one of the client's stores.
pub(crate) fn parse_as(store: &str, topic: Option<&str>, body: impl AsRef<[u8]>) -> ParsedOrder {
    parse_with(&sample_config(), store, topic, body)
}

/// As [`parse_as`], for a store of any client.
pub(crate) fn parse_with(
    config: &ClientConfig,
    store: &str,
    topic: Option<&str>,
    body: impl AsRef<[u8]>,
) -> ParsedOrder {
    parse_order_event(&config.stores[store], config, topic, &BTreeMap::new(), body.as_ref(), received_at())
}

pub(crate) fn expect_event(parsed: ParsedOrder) -> OrderEvent {
    match parsed {
        ParsedOrder::Event(event) => *event,
        other => panic!("expected an event: {other:?}"),
    }
}

pub(crate) fn expect_partial(parsed: ParsedOrder) -> PartialOrderEvent {
    match parsed {
        ParsedOrder::NeedsLookup(event) => *event,
        other => panic!("expected an event that needs a lookup: {other:?}"),
    }
}

/// A sample's body as JSON, for changes.
pub(crate) fn sample_json(system: &str, case: &str) -> Value {
    tellonce_samples::read_sample_json(&format!("{}/{case}.json", sample_folder(system)))
}

fn sample_folder(system: &str) -> String {
    format!("stores/{system}")
}

struct OrderSample {
    store: &'static str,
    topic: Option<String>,
    headers: BTreeMap<String, String>,
    sample: tellonce_samples::SampleDelivery,
}

impl Deref for OrderSample {
    type Target = tellonce_samples::SampleDelivery;

    fn deref(&self) -> &tellonce_samples::SampleDelivery {
        &self.sample
    }
}

const SENDER_STORES: [(&str, &str); 4] =
    [("shopify", "shop"), ("woocommerce", "woo"), ("standardwebhooks", "erp"), ("static_header", "zap")];

fn sample_cases() -> Vec<OrderSample> {
    let mut cases = Vec::new();
    for (system, store) in SENDER_STORES {
        for sample in tellonce_samples::sample_deliveries(&sample_folder(system)) {
            let headers: BTreeMap<String, String> =
                sample.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
            let topic = headers.get("x-shopify-topic").or_else(|| headers.get("x-wc-webhook-topic")).cloned();
            cases.push(OrderSample { store, topic, headers, sample });
        }
    }
    cases
}

impl OrderSample {
    fn parse_sample(&self) -> ParsedOrder {
        let config = sample_config();
        parse_order_event(
            &config.stores[self.store],
            &config,
            self.topic.as_deref(),
            &self.headers,
            &self.body,
            received_at(),
        )
    }
}

/// The milestone for the `event_name` of a manifest.
fn expected_milestone(kind: &str) -> Option<Milestone> {
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
fn every_sample_parses_to_the_facts_of_its_manifest() {
    let mut events = 0;
    for case in sample_cases() {
        let name = case.full_name();
        match (case.parse_sample(), case.text_fact("kind")) {
            (ParsedOrder::Event(event), kind) => {
                events += 1;
                if let Some(kind) = kind {
                    assert_eq!(expected_milestone(kind), Some(event.milestone), "{name}");
                }
                check_event(&name, &case, &event);
            }
            (ParsedOrder::NeedsLookup(event), Some(kind)) => {
                events += 1;
                assert_eq!(expected_milestone(kind), Some(event.milestone), "{name}");
                assert!(case.text_fact("needs_lookup").is_some(), "{name}");
                check_partial(&name, &case, &event);
            }
            (ParsedOrder::Skipped(reason), Some(kind)) => {
                let expected = match kind {
                    "order.updated" if case.system == "shopify" => "update-without-transition",
                    "order.updated" => "status-not-mapped",
                    "order.deleted" => "deleted",
                    "privacy.customer_redact" => "privacy-request",
                    "ping" => "ping",
                    "order.ready_for_pickup" if case.name == "action_custom" => "action-hook",
                    other => panic!("{name}: a {other} is skipped: {reason}"),
                };
                assert_eq!(reason.code(), expected, "{name}");
            }
            (other, kind) => panic!("{name}: {kind:?} is parsed as {other:?}"),
        }
    }
    assert!(events >= 20, "only {events} samples are events");
}

fn check_event(name: &str, case: &OrderSample, event: &OrderEvent) {
    if case.text_fact("entity") == Some("fulfillment") {
        assert_eq!(event.parcel.as_deref(), case.text_fact("entity_id"), "{name}");
        assert_eq!(Some(&*event.order_id), case.text_fact("order_id"), "{name}");
        assert_eq!(event.order_number.as_deref(), Some("#1042"), "{name}");
    } else {
        if let Some(id) = case.text_fact("entity_id") {
            assert_eq!(event.order_id, id, "{name}");
        }
        if let Some(number) = case.text_fact("number") {
            assert_eq!(event.order_number.as_deref(), Some(number), "{name}");
        }
    }
    if let Some(at) = case.text_fact("occurred_at") {
        assert_eq!(event.occurred_at, at.parse::<Timestamp>().unwrap(), "{name}");
    }
    if let Some(phone) = case.text_fact("phone_e164") {
        assert_eq!(event.contact.require_phone().unwrap().expose(), phone, "{name}");
    }
    if let Some(customer) = case.text_fact("customer_name") {
        assert_eq!(event.contact.name.as_deref(), Some(customer), "{name}");
    }
    if case.facts.get("locale").is_some() {
        assert_eq!(event.contact.locale.as_deref(), case.text_fact("locale"), "{name}");
    }
    check_values(name, case, &event.values);
}

fn check_partial(name: &str, case: &OrderSample, event: &PartialOrderEvent) {
    if case.text_fact("entity") == Some("fulfillment_order") {
        assert_eq!(
            Some(&event.order),
            case.text_fact("entity_id").map(|gid| OrderReference::FulfillmentOrder(gid.into())).as_ref()
        );
    } else {
        assert_eq!(event.order.id(), case.text_fact("order_id"), "{name}");
    }
    if case.text_fact("entity") == Some("refund") {
        assert_eq!(event.instance.as_deref(), case.text_fact("entity_id"), "{name}");
    }
    assert_eq!(event.parcel.as_deref(), case.text_fact("fulfillment_id"), "{name}");
    match case.text_fact("occurred_at") {
        Some(at) => assert_eq!(event.occurred_at, at.parse::<Timestamp>().unwrap(), "{name}"),
        None => assert_eq!(event.occurred_at, case.headers["x-shopify-triggered-at"].parse().unwrap(), "{name}"),
    }
    assert!(event.contact.phone.is_none(), "{name}");
    check_values(name, case, &event.values);
}

fn check_values(name: &str, case: &OrderSample, values: &BTreeMap<String, String>) {
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
        if let Some(value) = case.text_fact(variable) {
            assert_eq!(values.get(variable).map(String::as_str), Some(value), "{name}: {variable}");
        }
    }
}

#[test]
fn a_repeated_delivery_parses_to_the_same_event() {
    let cases = sample_cases();
    for case in &cases {
        if let Some(first) = case.text_fact("duplicate_of") {
            let first = cases.iter().find(|other| other.system == case.system && other.name == first).unwrap();
            assert_eq!(case.parse_sample(), first.parse_sample(), "{}", case.name);
        }
    }
}

#[test]
fn every_sample_file_is_tested() {
    for (system, _) in SENDER_STORES {
        let unlisted: &[&str] = match system {
            // Used by the tests of `lookup`.
            "shopify" => &["_graphql_fulfillment_order.request.json", "_graphql_fulfillment_order.response.json"],
            // Used by the tests of `tellonce_core::delivery`.
            "standardwebhooks" => &["official_vectors.json"],
            _ => &[],
        };
        tellonce_samples::assert_all_files_listed(&sample_folder(system), unlisted);
    }
    tellonce_samples::assert_all_folders_known("stores", &SENDER_STORES.map(|(system, _)| system));
}

#[test]
fn unparsable_bodies_are_never_quoted() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "not JSON"),
        (b"{\"id\":\"secret-5\"", "not JSON"),
        (b"{\"id\":\"\xff\"}", "not UTF-8"),
        (b"[]", "shape"),
        (b"{\"id\":1,\"id\":2}", "shape"),
        (b"{\"id\":1,\"customer\":\"secret-5\"}", "shape"),
    ];
    for (body, expected_text) in cases {
        let ParsedOrder::Skipped(reason @ OrderSkipReason::NotUnderstood(_)) =
            parse_as("shop", Some("orders/paid"), body)
        else {
            panic!("{body:?} was parsed");
        };
        assert!(
            reason.to_string().contains(expected_text) && !format!("{reason} {reason:?}").contains("secret"),
            "{reason}"
        );
    }
    let bomb = format!("{{\"id\":1,\"customer\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        parse_as("shop", Some("orders/paid"), bomb),
        ParsedOrder::Skipped(OrderSkipReason::NotUnderstood(JsonError::Shape { .. }))
    ));
}

/// The topics that corrupted samples are parsed under.
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

fn sample_bodies() -> &'static [Vec<u8>] {
    static BODIES: LazyLock<Vec<Vec<u8>>> =
        LazyLock::new(|| sample_cases().into_iter().map(|case| case.sample.body).collect());
    &BODIES
}

fn check_promises(parsed: &ParsedOrder) {
    let (contact, values) = match parsed {
        ParsedOrder::Event(event) | ParsedOrder::Suppressed(event, _) => (&event.contact, &event.values),
        ParsedOrder::NeedsLookup(event) => (&event.contact, &event.values),
        ParsedOrder::Skipped(reason) => {
            assert!(!reason.code().is_empty() && !reason.to_string().is_empty());
            return;
        }
    };
    assert!(values.values().all(|value| !value.is_empty()));
    assert!(values.iter().all(|(name, value)| !name.ends_with("_url") || value.to_lowercase().starts_with("https://")));
    let debug_text = format!("{contact:?}");
    if let Some(name) = contact.name.as_deref().filter(|name| name.len() > 12) {
        assert!(!debug_text.contains(name));
    }
    if let Some(phone) = &contact.phone {
        assert!(!debug_text.contains(phone.expose()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn corrupted_bodies_never_panic(
        body in tellonce_samples::corrupted_body(sample_bodies()),
        topic in 0..TOPICS.len(),
        store in prop::sample::select(vec!["shop", "woo", "erp", "zap"]),
    ) {
        check_promises(&parse_as(store, TOPICS[topic], body));
    }

    #[test]
    fn any_value_in_any_field_never_panics(
        which in any::<prop::sample::Index>(),
        at in 0_usize..400,
        with in prop::sample::select(vec![
            "null", "[]", "{}", "\"\"", "true", "-1", "1e400", "\"1.0E+6\"", "\"<b>\\u202e&amp;\"", "[null]", "[[{}]]",
            "\"99999-12-31T23:59:60Z\"", "\"http://x.example/\"", "123456789012345678901234567890", "{\"a\":{\"b\":[]}}",
        ]),
        topic in 0..TOPICS.len(),
    ) {
        let cases = sample_cases();
        let case = which.get(&cases);
        // The ping is not JSON.
        if let Some(body) = tellonce_samples::replace_nth_value(&case.body, at, with) {
            check_promises(&parse_as(case.store, case.topic.as_deref(), &body));
            check_promises(&parse_as(case.store, TOPICS[topic], &body));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        topic in prop::option::of("\\PC{0,80}"),
        known in 0..TOPICS.len(),
        store in prop::sample::select(vec!["shop", "woo", "erp", "zap"]),
    ) {
        check_promises(&parse_as(store, topic.as_deref(), &body));
        check_promises(&parse_as(store, TOPICS[known], &body));
    }
}
