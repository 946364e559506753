//! Shopify's classic webhooks by topic: an order, a fulfilment, a carrier's scan, a refund.
//!
//! Bodies are the REST resources of the API version that the subscription was created with
//! (<https://shopify.dev/docs/api/webhooks>). The event's time differs by topic, because some
//! bodies contain no time for their event. See [`order::parse_order`].
//!
//! Shopify signs the body and neither the topic nor the headers. A copy of a signed body could name
//! any topic, at any time. So each parser requires the shape of its topic's body, and
//! [`body_checks::check_signed_time`] requires that the body is young.
//!
//! A pickup is a guess: the body has no field for it. An order without a shipping address and with
//! a shipping line counts as a pickup.

mod address;
mod body_checks;
mod imports;
mod order;
mod parcel;
mod refund;

use serde::Deserialize;
use tellonce_core::{
    client_config::Milestone,
    json::{self, JsonError, RawJson},
    telemetry::LogLabel,
};

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

/// The ids in a body: of an order, or of a part of one.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OrderIds<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    order_id: RawJson<'a>,
}

/// The id of the order that a delivery names: its own, or that of its fulfilment, scan or refund.
pub(crate) fn find_order_id(topic: &str, body: &[u8]) -> Option<String> {
    let ids = json::parse_object::<OrderIds<'_>>(body).ok()?;
    if topic.starts_with("orders/") { ids.id.owned_text() } else { ids.order_id.owned_text() }
}

/// The orders of a customer in a privacy request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RequestedOrders<'a> {
    #[serde(borrow)]
    orders_requested: RawJson<'a>,
    orders_to_redact: RawJson<'a>,
}

/// The ids of the orders that a privacy request names. It may name no number.
pub(crate) fn find_requested_orders(topic: &str, body: &[u8]) -> Vec<String> {
    if !topic.starts_with("customers/") {
        return Vec::new();
    }
    let Ok(orders) = json::parse_object::<RequestedOrders<'_>>(body) else { return Vec::new() };
    let lists = [orders.orders_requested, orders.orders_to_redact];
    lists.into_iter().filter_map(RawJson::list_elements).flatten().filter_map(RawJson::owned_text).collect()
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
    fn a_privacy_request_names_the_orders_of_its_customer() {
        let body = sample_json("shopify", "customers_redact").to_string();
        assert_eq!(find_requested_orders("customers/redact", body.as_bytes()), ["5223452934372"]);
        let request = br#"{"orders_requested": [299938, 280263], "customer": {"phone": null}}"#;
        assert_eq!(find_requested_orders("customers/data_request", request), ["299938", "280263"]);
        assert!(find_requested_orders("orders/create", request).is_empty());
        assert!(find_requested_orders("customers/redact", b"no JSON").is_empty());
    }

    const ORDER_TOPICS: [&str; 5] =
        ["orders/create", "orders/paid", "orders/partially_fulfilled", "orders/fulfilled", "orders/cancelled"];
    const FULFILLMENT_TOPICS: [&str; 2] = ["fulfillments/create", "fulfillments/update"];
    const SCAN_TOPIC: &str = "fulfillment_events/create";
    const PICKUP_TOPIC: &str = "fulfillment_orders/line_items_prepared_for_pickup";
    const REFUND_TOPIC: &str = "refunds/create";

    fn all_topics() -> impl Iterator<Item = &'static str> {
        ORDER_TOPICS.into_iter().chain(FULFILLMENT_TOPICS).chain([SCAN_TOPIC, PICKUP_TOPIC, REFUND_TOPIC])
    }

    fn assert_contradicts(topic: &str, body: &Value, what: &str) {
        let code = expect_skip_code(parse_as("shop", Some(topic), body.to_string()));
        // A body without the id that its topic needs is not understood.
        assert!(matches!(code, "topic-contradicts-body" | "not-understood"), "{what} as {topic}: {code}");
    }

    #[test]
    fn a_signed_body_fits_no_topic_of_another_resource() {
        for (case, own) in [
            ("orders_create", &ORDER_TOPICS[..]),
            ("orders_create.pickup", &ORDER_TOPICS),
            ("orders_paid", &ORDER_TOPICS),
            ("orders_fulfilled", &ORDER_TOPICS),
            ("orders_cancelled", &ORDER_TOPICS),
            ("fulfillments_create", &FULFILLMENT_TOPICS),
            ("fulfillments_update", &FULFILLMENT_TOPICS),
            ("fulfillment_events_create.delivered", &[SCAN_TOPIC]),
            ("fulfillment_events_create.out_for_delivery", &[SCAN_TOPIC]),
            ("fulfillment_orders_line_items_prepared_for_pickup", &[PICKUP_TOPIC]),
            ("refunds_create", &[REFUND_TOPIC]),
            ("customers_redact", &[]),
        ] {
            for topic in all_topics().filter(|topic| !own.contains(topic)) {
                assert_contradicts(topic, &sample_json("shopify", case), case);
            }
        }
    }

    #[test]
    fn signed_bodies_that_no_topic_of_ours_has_yield_no_event() {
        let at = "2026-11-20T10:00:00+02:00";
        let transaction = json!({"id": 1, "order_id": 2, "kind": "sale", "status": "success", "amount": "59.00",
            "gateway": "bogus", "created_at": at, "processed_at": at});
        let draft = json!({"id": 1, "order_id": null, "name": "#D1", "status": "open", "created_at": at,
            "updated_at": at, "invoice_url": "https://shop.example/1", "line_items": [{"id": 3}],
            "customer": {"id": 1, "phone": "+972545550199"}});
        let checkout = json!({"id": 1, "token": "t", "name": "#1", "created_at": at, "updated_at": at,
            "abandoned_checkout_url": "https://shop.example/1", "phone": "+972545550199", "line_items": [{"id": 3}]});
        let routed = json!({"fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/1", "status": "open"}});
        let on_hold = json!({"fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/1", "status": "on_hold",
            "delivery_method": {"method_type": "shipping"}}});
        for body in [transaction, draft, checkout, routed, on_hold] {
            for topic in all_topics() {
                assert_contradicts(topic, &body, &body.to_string());
            }
        }
    }

    #[test]
    fn a_signed_body_that_is_days_old_yields_no_event() {
        let aged = |case: &str, members: &[&str], at: &str| {
            let mut body = sample_json("shopify", case);
            for member in members {
                body[*member] = json!(at);
            }
            body.to_string()
        };
        for (topic, case, members) in [
            ("orders/create", "orders_create", &["created_at", "updated_at"][..]),
            ("orders/fulfilled", "orders_fulfilled", &["created_at", "updated_at"]),
            ("orders/cancelled", "orders_cancelled", &["created_at", "updated_at"]),
            ("fulfillments/create", "fulfillments_create", &["created_at", "updated_at"]),
            ("fulfillments/update", "fulfillments_update", &["created_at", "updated_at"]),
            (SCAN_TOPIC, "fulfillment_events_create.delivered", &["created_at", "updated_at", "happened_at"]),
            (REFUND_TOPIC, "refunds_create", &["created_at", "processed_at"]),
        ] {
            let parse = |at: &str| parse_as("shop", Some(topic), aged(case, members, at));
            assert_eq!(expect_skip_code(parse("2026-11-17T23:59:59Z")), "body-too-old", "{case}");
            assert_eq!(expect_skip_code(parse("soon")), "topic-contradicts-body", "{case}: no time to check");
            let just_young_enough = parse("2026-11-18T00:00:00Z");
            assert!(!matches!(just_young_enough, ParsedOrder::Skipped(_)), "{case}: {just_young_enough:?}");
        }
        let reported_late = aged("fulfillment_events_create.delivered", &["happened_at"], "2026-11-10T00:00:00Z");
        assert!(!matches!(parse_as("shop", Some(SCAN_TOPIC), reported_late), ParsedOrder::Skipped(_)));
    }

    #[test]
    fn ids_of_any_size_are_preserved_as_written() {
        for (id_text, expected_id) in [
            ("820982911946154508123456789", "820982911946154508123456789"),
            ("\"1.0E+6\"", "1.0E+6"),
            ("9007199254740993", "9007199254740993"),
        ] {
            let body = format!(
                r#"{{"id":{id_text},"phone":"+972545550199","created_at":"2026-11-18T10:15:02+02:00","order_number":1}}"#
            );
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
            let created = changed_sample("orders_create", &json!({"created_at": at, "processed_at": at}));
            assert_eq!(
                expect_event(parse_as("shop", Some("orders/create"), created)).occurred_at,
                expected.parse().unwrap()
            );
        }
        let without_time = changed_sample("orders_create", &json!({"created_at": null}));
        assert_eq!(expect_event(parse_as("shop", Some("orders/create"), without_time)).occurred_at, received_at());
    }
}
