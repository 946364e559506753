//! Shopify's classic webhooks: an order, a fulfilment, a carrier's scan, a refund, by topic.
//!
//! Bodies are the REST resources of the API version that the subscription was made with
//! (<https://shopify.dev/docs/api/webhooks>). Which time counts as the event's own differs by topic, because not every
//! fact has a time of its own in the body: see [`order::told`].
//!
//! Not promised: that a pickup is recognised. The body has no field for it; an order without a shipping address but
//! with a shipping line is taken for one.

mod order;
mod parcel;
mod refund;

use serde::Deserialize;
use shared::{
    client_config::Milestone,
    json::{self, Misread},
    observe::Label,
};

use self::order::Extent;
use crate::order_event::{Delivery, NothingBecause, PrivacyRequest, Reading, Values};

/// Reads a delivery by its topic (`X-Shopify-Topic`).
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let topic = delivery.topic.ok_or(NothingBecause::NotUnderstood(Misread::NoTopic))?;
    // Sent by "Send test notification"; the samples inside look real.
    if delivery.header("x-shopify-test").is_some_and(|test| test.eq_ignore_ascii_case("true")) {
        return Err(NothingBecause::TestOrder);
    }
    match topic {
        "orders/create" => order::told(delivery, Milestone::Received),
        "orders/paid" => order::told(delivery, Milestone::Paid),
        "orders/partially_fulfilled" => order::shipped(delivery, Extent::Part),
        "orders/fulfilled" => order::shipped(delivery, Extent::Whole),
        "orders/cancelled" => order::told(delivery, Milestone::Cancelled),
        "orders/updated" => Err(NothingBecause::UpdateWithoutTransition),
        "orders/delete" => Err(NothingBecause::Deleted),
        "fulfillments/create" => parcel::created(delivery),
        "fulfillments/update" => parcel::updated(delivery),
        "fulfillment_events/create" => parcel::scanned(delivery),
        "fulfillment_orders/line_items_prepared_for_pickup" => parcel::prepared_for_pickup(delivery),
        "refunds/create" => refund::made(delivery),
        "customers/redact" => Err(NothingBecause::PrivacyRequest(PrivacyRequest::CustomerRedact)),
        "customers/data_request" => Err(NothingBecause::PrivacyRequest(PrivacyRequest::CustomerDataRequest)),
        "shop/redact" => Err(NothingBecause::PrivacyRequest(PrivacyRequest::ShopRedact)),
        draft if draft.starts_with("draft_orders/") => Err(NothingBecause::Draft),
        other => Err(NothingBecause::UnknownTopic(Label::new(other))),
    }
}

fn put(values: &mut Values, name: &str, value: Option<String>) {
    if let Some(value) = value {
        values.insert(name.to_owned(), value);
    }
}

fn missing(pointer: &str) -> NothingBecause {
    NothingBecause::NotUnderstood(Misread::Missing(pointer.into()))
}

fn parse<'a, T: Deserialize<'a>>(delivery: &Delivery<'a>) -> Result<T, NothingBecause> {
    json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{event, read_as, received_at, sample};

    /// A sample with some members replaced.
    pub(super) fn changed(case: &str, members: &Value) -> String {
        let mut body = sample("shopify", case);
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    }

    pub(super) fn reason(reading: Reading) -> &'static str {
        match reading {
            Reading::Nothing(reason) => reason.code(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn nothing(topic: &str, case: &str, members: &Value) -> &'static str {
        reason(read_as("shop", Some(topic), changed(case, members)))
    }

    #[test]
    fn trials_drafts_and_sales_to_nobody_are_not_told() {
        assert_eq!(nothing("orders/create", "orders_create", &json!({"test": true})), "test-order");
        assert_eq!(nothing("draft_orders/create", "orders_create", &json!({})), "draft");
        assert_eq!(nothing("orders/delete", "orders_create", &json!({})), "deleted");
        assert_eq!(nothing("products/update", "orders_create", &json!({})), "unknown-topic");
        let counter =
            json!({"source_name": "pos", "customer": null, "shipping_address": null, "billing_address": null});
        assert_eq!(nothing("orders/create", "orders_create", &counter), "pos-without-customer");
    }

    #[test]
    fn ids_of_any_size_stay_as_they_were_written() {
        for (written, read) in [
            ("820982911946154508123456789", "820982911946154508123456789"),
            ("\"1.0E+6\"", "1.0E+6"),
            ("9007199254740993", "9007199254740993"),
        ] {
            let body =
                format!(r#"{{"id":{written},"phone":"+972545550199","created_at":"2026-11-18T10:15:02+02:00"}}"#);
            assert_eq!(event(read_as("shop", Some("orders/create"), body)).order_id, read);
        }
        assert_eq!(reason(read_as("shop", Some("orders/create"), r#"{"id":null}"#)), "not-understood");
        assert_eq!(reason(read_as("shop", None, r#"{"id":1}"#)), "not-understood");
    }

    #[test]
    fn a_clock_that_is_ahead_is_not_believed() {
        for (at, believed) in
            [("2026-11-21T00:09:00Z", "2026-11-21T00:09:00Z"), ("2126-11-18T10:15:02Z", "2026-11-21T00:00:00Z")]
        {
            let created = changed("orders_create", &json!({"created_at": at}));
            assert_eq!(event(read_as("shop", Some("orders/create"), created)).occurred_at, believed.parse().unwrap());
        }
        let said_nothing = changed("orders_create", &json!({"created_at": null}));
        assert_eq!(event(read_as("shop", Some("orders/create"), said_nothing)).occurred_at, received_at());
    }
}
