//! Shopify's classic webhooks by topic: an order, a fulfilment, a carrier's scan, a refund.
//!
//! Bodies are the REST resources of the API version that the subscription was created with
//! (<https://shopify.dev/docs/api/webhooks>). The event's time differs by topic, because some
//! bodies contain no time for their event. See [`order::parse_order`].
//!
//! A pickup is a guess: the body has no field for it. An order without a shipping address and with
//! a shipping line counts as a pickup.

mod address;
mod order;
mod parcel;
mod refund;

use tellonce_core::{client_config::Milestone, json::JsonError, telemetry::LogLabel};

use self::order::FulfillmentExtent;
use crate::{
    order_event::{OrderDelivery, ParsedOrder},
    order_outcome::{OrderSkipReason, PrivacyRequest},
};

/// Parses a delivery by its topic (`X-Shopify-Topic`).
pub(crate) fn parse_delivery(delivery: &OrderDelivery<'_>) -> Result<ParsedOrder, OrderSkipReason> {
    let topic = delivery.topic.ok_or(OrderSkipReason::NotUnderstood(JsonError::NoTopic))?;
    // "Send test notification" sends these, and their samples look real.
    if delivery.find_header("x-shopify-test").is_some_and(|test| test.eq_ignore_ascii_case("true")) {
        return Err(OrderSkipReason::TestOrder);
    }
    match topic {
        "orders/create" => order::parse_order(delivery, Milestone::Received),
        "orders/paid" => order::parse_order(delivery, Milestone::Paid),
        "orders/partially_fulfilled" => order::parse_shipped_order(delivery, FulfillmentExtent::Partial),
        "orders/fulfilled" => order::parse_shipped_order(delivery, FulfillmentExtent::Full),
        "orders/cancelled" => order::parse_order(delivery, Milestone::Cancelled),
        "orders/updated" => Err(OrderSkipReason::UpdateWithoutTransition),
        "orders/delete" => Err(OrderSkipReason::Deleted),
        "fulfillments/create" => parcel::parse_created_fulfillment(delivery),
        "fulfillments/update" => parcel::parse_updated_fulfillment(delivery),
        "fulfillment_events/create" => parcel::parse_scan(delivery),
        "fulfillment_orders/line_items_prepared_for_pickup" => parcel::parse_prepared_pickup(delivery),
        "refunds/create" => refund::parse_refund(delivery),
        "customers/redact" => Err(OrderSkipReason::PrivacyRequest(PrivacyRequest::CustomerRedact)),
        "customers/data_request" => Err(OrderSkipReason::PrivacyRequest(PrivacyRequest::CustomerDataRequest)),
        "shop/redact" => Err(OrderSkipReason::PrivacyRequest(PrivacyRequest::ShopRedact)),
        draft if draft.starts_with("draft_orders/") => Err(OrderSkipReason::Draft),
        other => Err(OrderSkipReason::UnknownTopic(LogLabel::new(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{expect_event, parse_as, received_at, sample_json};

    /// A sample with some members replaced.
    pub(super) fn changed_sample(case: &str, members: &Value) -> String {
        let mut body = sample_json("shopify", case);
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    }

    pub(super) fn expect_skip_code(parsed: ParsedOrder) -> &'static str {
        match parsed {
            ParsedOrder::Skipped(reason) => reason.code(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn skip_code_of_changed(topic: &str, case: &str, members: &Value) -> &'static str {
        expect_skip_code(parse_as("shop", Some(topic), changed_sample(case, members)))
    }

    #[test]
    fn drafts_test_orders_and_anonymous_counter_sales_are_skipped() {
        assert_eq!(skip_code_of_changed("orders/create", "orders_create", &json!({"test": true})), "test-order");
        assert_eq!(skip_code_of_changed("draft_orders/create", "orders_create", &json!({})), "draft");
        assert_eq!(skip_code_of_changed("orders/delete", "orders_create", &json!({})), "deleted");
        assert_eq!(skip_code_of_changed("products/update", "orders_create", &json!({})), "unknown-topic");
        let counter =
            json!({"source_name": "pos", "customer": null, "shipping_address": null, "billing_address": null});
        assert_eq!(skip_code_of_changed("orders/create", "orders_create", &counter), "pos-without-customer");
    }

    #[test]
    fn ids_of_any_size_are_preserved_as_written() {
        for (id_text, expected_id) in [
            ("820982911946154508123456789", "820982911946154508123456789"),
            ("\"1.0E+6\"", "1.0E+6"),
            ("9007199254740993", "9007199254740993"),
        ] {
            let body =
                format!(r#"{{"id":{id_text},"phone":"+972545550199","created_at":"2026-11-18T10:15:02+02:00"}}"#);
            assert_eq!(expect_event(parse_as("shop", Some("orders/create"), body)).order_id, expected_id);
        }
        assert_eq!(expect_skip_code(parse_as("shop", Some("orders/create"), r#"{"id":null}"#)), "not-understood");
        assert_eq!(expect_skip_code(parse_as("shop", None, r#"{"id":1}"#)), "not-understood");
    }

    #[test]
    fn a_time_in_the_future_is_replaced_by_the_time_of_receipt() {
        for (at, expected) in
            [("2026-11-21T00:09:00Z", "2026-11-21T00:09:00Z"), ("2126-11-18T10:15:02Z", "2026-11-21T00:00:00Z")]
        {
            let created = changed_sample("orders_create", &json!({"created_at": at}));
            assert_eq!(
                expect_event(parse_as("shop", Some("orders/create"), created)).occurred_at,
                expected.parse().unwrap()
            );
        }
        let without_time = changed_sample("orders_create", &json!({"created_at": null}));
        assert_eq!(expect_event(parse_as("shop", Some("orders/create"), without_time)).occurred_at, received_at());
    }
}
