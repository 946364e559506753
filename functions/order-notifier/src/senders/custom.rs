//! Any other sender of JSON. The client's configuration maps the fields and the events.
//!
//! Values are stored as they are written, numbers included. A link must be `https`.

use std::collections::BTreeMap;

use tellonce_core::{
    client_config::{JsonPointer, Milestone, OrderFields},
    contact::PhoneCandidate,
    json,
    telemetry::LogLabel,
};

use crate::{
    order_event::{CustomerContact, EventValues, OrderDelivery, OrderEvent, ParsedOrder},
    order_outcome::OrderSkipReason,
};

pub(crate) fn parse_delivery(
    delivery: &OrderDelivery<'_>,
    fields: &OrderFields,
    events: &BTreeMap<String, Milestone>,
) -> Result<ParsedOrder, OrderSkipReason> {
    let document = json::parse_document(delivery.body).map_err(OrderSkipReason::NotUnderstood)?;
    let value_at = |pointer: &JsonPointer| document.at_pointer(pointer.as_str());
    let optional_value = |pointer: &Option<JsonPointer>| pointer.as_ref().map(value_at).unwrap_or_default();
    let required_string = |pointer: &JsonPointer| {
        value_at(pointer).owned_text().ok_or_else(|| OrderSkipReason::missing_field(pointer.as_str()))
    };

    let event = required_string(&fields.event)?;
    let milestone = *events.get(&event).ok_or_else(|| OrderSkipReason::EventNotMapped(LogLabel::new(&event)))?;
    let order_id = required_string(&fields.order_id)?;
    if optional_value(&fields.test).is_true() {
        return Err(OrderSkipReason::TestOrder);
    }
    let (phone, phone_problem) = delivery.first_usable_phone([PhoneCandidate {
        phone: value_at(&fields.phone),
        country: optional_value(&fields.country),
    }]);
    let values: EventValues = fields
        .values
        .iter()
        .filter_map(|(name, pointer)| {
            let value =
                if name.ends_with("_url") { value_at(pointer).owned_link() } else { value_at(pointer).owned_text() };
            Some((name.clone(), value?))
        })
        .collect();
    let stated_time = optional_value(&fields.occurred_at).owned_text();
    let instance = optional_value(&fields.instance)
        .owned_text()
        .or_else(|| derive_instance(milestone, &values, stated_time.as_deref()));
    Ok(ParsedOrder::Event(Box::new(OrderEvent {
        milestone,
        order_number: optional_value(&fields.order_number).owned_text().or_else(|| Some(order_id.clone())),
        order_id,
        parcel: if is_parcel_milestone(milestone) { instance.clone() } else { None },
        instance,
        occurred_at: delivery.event_time(optional_value(&fields.occurred_at).as_time()),
        contact: CustomerContact {
            phone,
            phone_problem,
            redacted: false,
            name: optional_value(&fields.name).owned_text(),
            locale: optional_value(&fields.locale).owned_text(),
        },
        values,
    })))
}

/// Derives the instance if the configuration has no pointer for it: for milestones that regularly
/// happen twice, the value that then changes.
///
/// A delivery may be moved back to its earlier time, so the time of the move is part of the
/// instance if the sender reports it.
fn derive_instance(milestone: Milestone, values: &EventValues, stated_time: Option<&str>) -> Option<String> {
    match milestone {
        Milestone::DeliveryChanged => {
            let planned_time = values.get("delivery_to")?;
            Some(stated_time.map_or_else(|| planned_time.clone(), |stated| format!("{planned_time} {stated}")))
        }
        Milestone::Invoice => values.get("invoice_id").cloned(),
        Milestone::Received
        | Milestone::Paid
        | Milestone::Ready
        | Milestone::Shipped
        | Milestone::OutForDelivery
        | Milestone::Delivered
        | Milestone::Cancelled
        | Milestone::Refunded => None,
    }
}

/// Whether an instance of this milestone is a parcel, so that other parcels have a history of their
/// own.
fn is_parcel_milestone(milestone: Milestone) -> bool {
    match milestone {
        Milestone::Ready | Milestone::Shipped | Milestone::OutForDelivery | Milestone::Delivered => true,
        Milestone::Received
        | Milestone::Paid
        | Milestone::DeliveryChanged
        | Milestone::Cancelled
        | Milestone::Refunded
        | Milestone::Invoice => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{expect_event, parse_as, received_at};

    fn build_body(kind: &str, data: &Value) -> String {
        let mut data = data.clone();
        data["orderId"] = json!("SO-1/ב");
        data["customer"] = json!({"phone": "0585550142"});
        json!({"type": kind, "data": data}).to_string()
    }

    fn expect_skip_text(parsed: ParsedOrder) -> String {
        match parsed {
            ParsedOrder::Skipped(reason) => reason.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_number_and_time_default_to_the_id_and_the_time_of_receipt() {
        let ready = expect_event(parse_as("erp", None, build_body("order.ready_for_pickup", &json!({}))));
        assert_eq!((&*ready.order_id, ready.order_number.as_deref()), ("SO-1/ב", Some("SO-1/ב")));
        assert_eq!(ready.occurred_at, received_at());
        assert_eq!(ready.contact.require_phone().unwrap().expose(), "+972585550142");
    }

    #[test]
    fn events_and_fields_that_are_not_configured_are_skipped() {
        assert!(expect_skip_text(parse_as("erp", None, build_body("stock.low", &json!({})))).contains("`stock.low`"));
        assert!(expect_skip_text(parse_as("erp", None, "{\"data\":{}}")).contains("/type"));
        assert!(
            expect_skip_text(parse_as("erp", None, r#"{"type":"order.shipped","data":{}}"#)).contains("/data/orderId")
        );
        assert!(
            expect_skip_text(parse_as("erp", None, r#"{"type":"order.shipped","data":{"orderId":{"a":1}}}"#))
                .contains("/data/orderId")
        );
        assert!(
            expect_skip_text(parse_as("erp", None, build_body("order.shipped", &json!({"test": true}))))
                .contains("test order")
        );
    }

    #[test]
    fn a_shipment_names_its_parcel_and_a_delivery_change_does_not() {
        let shipped = expect_event(parse_as("erp", None, build_body("order.shipped", &json!({"parcel": 2}))));
        assert_eq!((shipped.parcel.as_deref(), shipped.instance.as_deref()), (Some("2"), Some("2")));
        let moved = json!({"delivery": {"to": "2026-11-21T09:00:00+02:00"}});
        let moved = expect_event(parse_as("erp", None, build_body("order.delivery_changed", &moved)));
        assert_eq!((moved.parcel, moved.instance.as_deref()), (None, Some("2026-11-21T09:00:00+02:00")));
    }

    #[test]
    fn values_are_stored_as_written_and_links_only_if_secure() {
        let data = json!({"total": 412.5, "invoice": {"id": 10, "url": "http://store.example.com/x.pdf"}, "orderUrl": "https://store.example.com/x"});
        let invoice = expect_event(parse_as("erp", None, build_body("invoice.issued", &data)));
        assert_eq!((&*invoice.values["total"], &*invoice.values["invoice_id"]), ("412.5", "10"));
        assert!(!invoice.values.contains_key("invoice_url"));
        assert_eq!(invoice.values["order_url"], "https://store.example.com/x");
        assert_eq!(invoice.instance.as_deref(), Some("10"));
    }

    #[test]
    fn a_byte_order_mark_and_an_id_too_large_for_a_float_are_accepted() {
        let body = "\u{feff}{\"type\":\"order.shipped\",\"data\":{\"orderId\":123456789012345678901234567890}}";
        assert_eq!(expect_event(parse_as("erp", None, body)).order_id, "123456789012345678901234567890");
    }
}
