//! Parses a delivery of a store to a [`ParsedOrder`], with the parser of the store's kind in
//! `senders`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::client_config::{ClientConfig, StoreConfig};

use crate::{
    order_event::{OrderDelivery, ParsedOrder},
    senders,
};

/// Parses a verified delivery of `store`. `topic` and `headers` are what the inbox stored.
/// `received_at` is when the delivery was accepted.
///
/// It never fails and never panics. A body that cannot be parsed is
/// `OrderSkipReason::NotUnderstood`, so it is recorded with its reason and does not block later
/// deliveries.
pub fn parse_order_event(
    store: &StoreConfig,
    config: &ClientConfig,
    topic: Option<&str>,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    received_at: Timestamp,
) -> ParsedOrder {
    let delivery = OrderDelivery {
        topic,
        headers,
        body,
        received_at,
        country: store.country.as_deref().unwrap_or(&config.country),
        phone_rule: config.phones,
    };
    senders::parse_delivery(&store.kind, &delivery).unwrap_or_else(ParsedOrder::Skipped)
}
