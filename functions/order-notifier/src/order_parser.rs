//! Parses a delivery of a store to a [`ParsedOrder`], with the parser of the store's kind in
//! `senders`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ClientConfig, StoreConfig},
    ledger::IdempotencyKey,
};

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

/// The subject of the order that a delivery names, also if it leads to no message. `None` if it
/// names none.
pub(crate) fn find_subject(store: &StoreConfig, topic: Option<&str>, body: &[u8]) -> Option<String> {
    let order_id = senders::find_order_id(&store.kind, topic, body)?;
    Some(IdempotencyKey::order_subject(store.id_scope(), &order_id))
}

/// The subjects of the orders that a privacy request of a store names.
pub(crate) fn find_requested_subjects(store: &StoreConfig, topic: Option<&str>, body: &[u8]) -> Vec<String> {
    let orders = senders::find_requested_orders(&store.kind, topic, body);
    orders.iter().map(|order| IdempotencyKey::order_subject(store.id_scope(), order)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{sample_config, sample_json};

    #[test]
    fn a_delivery_names_its_order_whatever_it_leads_to() {
        let config = sample_config();
        let find =
            |store: &str, topic: Option<&str>, body: &str| find_subject(&config.stores[store], topic, body.as_bytes());
        let order = sample_json("shopify", "orders_create");
        let subject = Some(format!("order:{}", order["id"]));
        assert_eq!(find("shop", Some("orders/updated"), &order.to_string()), subject);
        let refund = r#"{"id": 7, "order_id": 450789469}"#;
        assert_eq!(find("shop", Some("refunds/create"), refund), Some("order:450789469".to_owned()));
        for unnamed in ["customers/redact", "draft_orders/create"] {
            assert_eq!(find("shop", Some(unnamed), r#"{"id": 7, "order_id": null}"#), None);
        }
        assert_eq!(find("woo", Some("order.updated"), r#"{"id": 727}"#).as_deref(), Some("order:727"));
        assert_eq!(find("woo", Some("action.wc_order"), r#"{"id": 727}"#), None);
        assert_eq!(find("erp", None, "not JSON"), None);
    }
}
