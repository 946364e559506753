//! The parsers of the senders, one module per kind of store. Facts and sources: `docs/senders.md`.
//!
//! A parser turns a [`crate::order_event::OrderDelivery`] into a
//! [`crate::order_event::ParsedOrder`], or returns the reason why the delivery contains no event.
//! [`parse_delivery`] chooses the parser.

mod custom;
mod shopify;
mod woocommerce;

use tellonce_core::client_config::StoreKind;

use crate::{
    order_event::{OrderDelivery, ParsedOrder},
    order_outcome::OrderSkipReason,
};

/// Parses a delivery with the parser of its store's kind.
pub(crate) fn parse_delivery(kind: &StoreKind, delivery: &OrderDelivery<'_>) -> Result<ParsedOrder, OrderSkipReason> {
    match kind {
        StoreKind::Shopify(_) => shopify::parse_delivery(delivery),
        StoreKind::WooCommerce(store) => woocommerce::parse_delivery(delivery, store),
        StoreKind::Custom(store) => custom::parse_delivery(delivery, &store.fields, &store.events),
    }
}

/// The ids of the orders that a privacy request names. Only Shopify posts such requests.
pub(crate) fn find_requested_orders(kind: &StoreKind, topic: Option<&str>, body: &[u8]) -> Vec<String> {
    match (kind, topic) {
        (StoreKind::Shopify(_), Some(topic)) => shopify::find_requested_orders(topic, body),
        (StoreKind::Shopify(_) | StoreKind::WooCommerce(_) | StoreKind::Custom(_), _) => Vec::new(),
    }
}

/// The id of the order that a delivery names, whatever the delivery leads to.
pub(crate) fn find_order_id(kind: &StoreKind, topic: Option<&str>, body: &[u8]) -> Option<String> {
    match kind {
        StoreKind::Shopify(_) => shopify::find_order_id(topic?, body),
        StoreKind::WooCommerce(_) => woocommerce::find_order_id(topic?, body),
        StoreKind::Custom(store) => custom::find_order_id(body, &store.fields),
    }
}
