//! Deliveries of stores and booking systems.

#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use order_notifier::order_parser::parse_order_event;
use reminder_scheduler::booking_parser::parse_booking;
use tellonce_core::json;
use tellonce_fuzz::{CONFIG, NOW, choose};

/// Topics of Shopify and `WooCommerce`. Other senders name the event in the body.
const TOPICS: [Option<&str>; 12] = [
    Some("orders/create"),
    Some("orders/paid"),
    Some("orders/cancelled"),
    Some("orders/fulfilled"),
    Some("fulfillments/create"),
    Some("fulfillments/update"),
    Some("fulfillment_events/create"),
    Some("refunds/create"),
    Some("order.updated"),
    Some("order.created"),
    Some("customers/redact"),
    None,
];

#[derive(Debug)]
enum Sender {
    Store(String),
    Calendar(String),
}

static SENDERS: LazyLock<Vec<Sender>> = LazyLock::new(|| {
    let stores = CONFIG.stores.keys().cloned().map(Sender::Store);
    stores.chain(CONFIG.calendars.keys().cloned().map(Sender::Calendar)).collect()
});

fuzz_target!(|input: &[u8]| {
    let Some((sender, rest)) = choose(&SENDERS, input) else { return };
    let Some((topic, body)) = choose(&TOPICS, rest) else { return };
    let headers = BTreeMap::new();
    match sender {
        Sender::Store(name) => drop(parse_order_event(&CONFIG.stores[name], &CONFIG, *topic, &headers, body, *NOW)),
        Sender::Calendar(name) => drop(parse_booking(&CONFIG.calendars[name], &CONFIG, &headers, body, *NOW)),
    }
    if let Ok(document) = json::parse_document(body) {
        drop((document.text(), document.as_time(), document.object_members(), document.list_elements()));
    }
});
