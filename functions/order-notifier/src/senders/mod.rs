//! The parsers of the senders, one module per kind of store. Facts and sources: `docs/senders.md`.
//!
//! A parser turns a [`crate::order_event::OrderDelivery`] into a
//! [`crate::order_event::ParsedOrder`], or returns the reason why the delivery contains no event.
//! [`crate::order_parser`] chooses the parser.

pub(crate) mod custom;
pub(crate) mod shopify;
pub(crate) mod woocommerce;
