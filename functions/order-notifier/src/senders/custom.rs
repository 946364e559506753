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
    let stated_instance = optional_value(&fields.instance).owned_text();
    let parcel =
        find_parcel(milestone, fields, optional_value(&fields.parcel).owned_text(), stated_instance.as_deref());
    let instance =
        derive_instance(milestone, parcel.as_deref(), stated_instance.as_deref(), &values, stated_time.as_deref());
    Ok(ParsedOrder::Event(Box::new(OrderEvent {
        milestone,
        order_number: optional_value(&fields.order_number).owned_text().or_else(|| Some(order_id.clone())),
        order_id,
        parcel,
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
        is_repeated_by_changes: false,
    })))
}

/// The parcel that an event is about. A configuration may have no pointer for it. Then the instance
/// is the parcel, except in a change, whose instance tells the changes of a parcel apart.
fn find_parcel(
    milestone: Milestone,
    fields: &OrderFields,
    stated_parcel: Option<String>,
    stated_instance: Option<&str>,
) -> Option<String> {
    match milestone {
        Milestone::Ready | Milestone::Shipped | Milestone::OutForDelivery | Milestone::Delivered => {
            if fields.parcel.is_some() { stated_parcel } else { stated_instance.map(str::to_owned) }
        }
        Milestone::DeliveryChanged => stated_parcel,
        Milestone::Received | Milestone::Paid | Milestone::Cancelled | Milestone::Refunded | Milestone::Invoice => None,
    }
}

/// What tells the event apart from others of its milestone: its parcel, and the stated instance. A
/// milestone that regularly happens twice defaults to the value that then changes.
///
/// A delivery may be moved back to its earlier time, so the time of the move is part of the
/// instance if the sender reports it.
fn derive_instance(
    milestone: Milestone,
    parcel: Option<&str>,
    stated_instance: Option<&str>,
    values: &EventValues,
    stated_time: Option<&str>,
) -> Option<String> {
    let value_of = |name: &str| values.get(name).map(String::as_str);
    let stated = stated_instance.filter(|stated| Some(*stated) != parcel);
    let parts = match (stated, milestone) {
        (Some(stated), _) => [parcel, Some(stated), None],
        (None, Milestone::DeliveryChanged) => [parcel, value_of("delivery_to"), stated_time],
        (None, Milestone::Invoice) => [value_of("invoice_id"), None, None],
        (
            None,
            Milestone::Received
            | Milestone::Paid
            | Milestone::Ready
            | Milestone::Shipped
            | Milestone::OutForDelivery
            | Milestone::Delivered
            | Milestone::Cancelled
            | Milestone::Refunded,
        ) => [parcel, None, None],
    };
    let known: Vec<&str> = parts.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(" "))
}

/// The id of the order that a delivery names.
pub(crate) fn find_order_id(body: &[u8], fields: &OrderFields) -> Option<String> {
    json::parse_document(body).ok()?.at_pointer(fields.order_id.as_str()).owned_text()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use tellonce_core::client_config::StoreKind;

    use crate::samples::{expect_event, parse_as, parse_with, received_at, sample_config};

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
    fn every_event_of_a_parcel_names_it() {
        for (kind, instance) in [
            ("order.shipped", "2"),
            ("order.delivered", "2"),
            ("order.delivery_changed", "2 2026-11-24T09:00:00+02:00"),
        ] {
            let data = json!({"parcel": 2, "delivery": {"to": "2026-11-24T09:00:00+02:00"}});
            let event = expect_event(parse_as("erp", None, build_body(kind, &data)));
            assert_eq!((event.parcel.as_deref(), event.instance.as_deref()), (Some("2"), Some(instance)), "{kind}");
        }
        let paid = expect_event(parse_as("erp", None, build_body("order.paid", &json!({"parcel": 2}))));
        assert_eq!((paid.parcel, paid.instance), (None, None));
        let change = json!({"delivery": {"to": "2026-11-21T09:00:00+02:00"}});
        let change = expect_event(parse_as("erp", None, build_body("order.delivery_changed", &change)));
        assert_eq!((change.parcel, change.instance.as_deref()), (None, Some("2026-11-21T09:00:00+02:00")));
    }

    #[test]
    fn an_instance_is_the_parcel_only_if_no_field_names_parcels() {
        let pointer = |path: &str| serde_json::from_value::<JsonPointer>(json!(path)).ok();
        let parse = |parcel: Option<JsonPointer>, instance: Option<JsonPointer>, kind: &str, data: &Value| {
            let mut config = sample_config();
            let store = config.stores.get_mut("erp").unwrap();
            let StoreKind::Custom(custom) = &mut store.kind else { panic!("not a custom store") };
            (custom.fields.parcel, custom.fields.instance) = (parcel, instance);
            let body = build_body(kind, data);
            let event = expect_event(parse_with(&config, "erp", None, body));
            (event.parcel, event.instance)
        };
        let data = json!({"parcel": 2, "change": "c-7"});
        let [two, both, change] = ["2", "2 c-7", "c-7"].map(|text| Some(text.to_owned()));
        let (parcel, instance) = (|| pointer("/data/parcel"), || pointer("/data/change"));
        assert_eq!(parse(None, parcel(), "order.shipped", &data), (two.clone(), two.clone()));
        assert_eq!(parse(None, instance(), "order.delivery_changed", &data), (None, change));
        assert_eq!(parse(parcel(), instance(), "order.delivery_changed", &data), (two.clone(), both.clone()));
        assert_eq!(parse(parcel(), instance(), "order.shipped", &data), (two.clone(), both));
        assert_eq!(parse(parcel(), parcel(), "order.shipped", &data), (two.clone(), two));
        assert_eq!(parse(parcel(), None, "order.shipped", &json!({})), (None, None));
    }

    #[test]
    fn two_changes_without_a_planned_time_differ_by_their_own_times() {
        let change_at = |at: &str| {
            let mut body: Value = serde_json::from_str(&build_body("order.delivery_changed", &json!({}))).unwrap();
            body["timestamp"] = json!(at);
            expect_event(parse_as("erp", None, body.to_string())).instance
        };
        assert_ne!(change_at("2026-11-20T09:00:00Z"), change_at("2026-11-20T10:00:00Z"));
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
