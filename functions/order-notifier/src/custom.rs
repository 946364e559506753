//! Any other sender of JSON: the client's configuration says where the facts stand and what the events are called.
//!
//! Values are taken as they were written, numbers included; links only if they are `https`.

use std::collections::BTreeMap;

use shared::{
    client_config::{CustomFields, JsonPointer, Milestone},
    contact::Candidate,
    json::{self, Misread},
    observe::Label,
};

use crate::order_event::{Contact, Delivery, NothingBecause, OrderEvent, Reading, Values};

/// Reads a delivery.
pub(crate) fn read(
    delivery: &Delivery<'_>,
    fields: &CustomFields,
    events: &BTreeMap<String, Milestone>,
) -> Result<Reading, NothingBecause> {
    let document = json::document(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let at = |pointer: &JsonPointer| document.at(pointer.as_str());
    let maybe = |pointer: &Option<JsonPointer>| pointer.as_ref().map(at).unwrap_or_default();
    let needed = |pointer: &JsonPointer| {
        let nothing = || NothingBecause::NotUnderstood(Misread::Missing(pointer.as_str().into()));
        at(pointer).string().ok_or_else(nothing)
    };

    let event = needed(&fields.event)?;
    let milestone = *events.get(&event).ok_or_else(|| NothingBecause::EventNotMapped(Label::new(&event)))?;
    let order_id = needed(&fields.order_id)?;
    if maybe(&fields.test).is_true() {
        return Err(NothingBecause::TestOrder);
    }
    let (phone, phone_problem) =
        delivery.first_usable([Candidate { phone: at(&fields.phone), country: maybe(&fields.country) }]);
    let values: Values = fields
        .values
        .iter()
        .filter_map(|(name, pointer)| {
            let value = if name.ends_with("_url") { at(pointer).link() } else { at(pointer).string() };
            Some((name.clone(), value?))
        })
        .collect();
    let stated = maybe(&fields.occurred_at).string();
    let instance = maybe(&fields.instance).string().or_else(|| instance_of(milestone, &values, stated.as_deref()));
    Ok(Reading::Event(Box::new(OrderEvent {
        milestone,
        order_number: maybe(&fields.order_number).string().or_else(|| Some(order_id.clone())),
        order_id,
        thread: if is_of_a_parcel(milestone) { instance.clone() } else { None },
        instance,
        occurred_at: delivery.happened(maybe(&fields.occurred_at).time()),
        contact: Contact {
            phone,
            phone_problem,
            redacted: false,
            name: maybe(&fields.name).string(),
            locale: maybe(&fields.locale).string(),
        },
        values,
    })))
}

/// What tells events of one milestone and order apart when the configuration names no pointer for it: for those that
/// regularly happen twice, the value that is then another.
///
/// A delivery may be moved back to where it was, so when it was moved is part of that, if the sender says so.
fn instance_of(milestone: Milestone, values: &Values, stated: Option<&str>) -> Option<String> {
    match milestone {
        Milestone::DeliveryChanged => {
            let planned = values.get("delivery_to")?;
            Some(stated.map_or_else(|| planned.clone(), |stated| format!("{planned} {stated}")))
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

/// Whether an instance of this milestone is a parcel, so that the story of others goes on without it.
fn is_of_a_parcel(milestone: Milestone) -> bool {
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
    use crate::samples::{event, read_as, received_at};

    fn body(kind: &str, data: &Value) -> String {
        let mut data = data.clone();
        data["orderId"] = json!("SO-1/ב");
        data["customer"] = json!({"phone": "0585550142"});
        json!({"type": kind, "data": data}).to_string()
    }

    fn reason(reading: Reading) -> String {
        match reading {
            Reading::Nothing(reason) => reason.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_number_and_time_the_id_and_the_receipt_stand_in() {
        let ready = event(read_as("erp", None, body("order.ready_for_pickup", &json!({}))));
        assert_eq!((&*ready.order_id, ready.order_number.as_deref()), ("SO-1/ב", Some("SO-1/ב")));
        assert_eq!(ready.occurred_at, received_at());
        assert_eq!(ready.contact.reachable().unwrap().expose(), "+972585550142");
    }

    #[test]
    fn what_the_configuration_does_not_name_is_no_event() {
        assert!(reason(read_as("erp", None, body("stock.low", &json!({})))).contains("`stock.low`"));
        assert!(reason(read_as("erp", None, "{\"data\":{}}")).contains("/type"));
        assert!(reason(read_as("erp", None, r#"{"type":"order.shipped","data":{}}"#)).contains("/data/orderId"));
        assert!(
            reason(read_as("erp", None, r#"{"type":"order.shipped","data":{"orderId":{"a":1}}}"#))
                .contains("/data/orderId")
        );
        assert!(reason(read_as("erp", None, body("order.shipped", &json!({"test": true})))).contains("test order"));
    }

    #[test]
    fn a_parcel_is_a_thread_and_a_change_is_not() {
        let shipped = event(read_as("erp", None, body("order.shipped", &json!({"parcel": 2}))));
        assert_eq!((shipped.thread.as_deref(), shipped.instance.as_deref()), (Some("2"), Some("2")));
        let moved = json!({"delivery": {"to": "2026-11-21T09:00:00+02:00"}});
        let moved = event(read_as("erp", None, body("order.delivery_changed", &moved)));
        assert_eq!((moved.thread, moved.instance.as_deref()), (None, Some("2026-11-21T09:00:00+02:00")));
    }

    #[test]
    fn values_are_taken_as_written_and_links_only_if_secure() {
        let data = json!({"total": 412.5, "invoice": {"id": 10, "url": "http://store.example.com/x.pdf"}, "orderUrl": "https://store.example.com/x"});
        let invoice = event(read_as("erp", None, body("invoice.issued", &data)));
        assert_eq!((&*invoice.values["total"], &*invoice.values["invoice_id"]), ("412.5", "10"));
        assert!(!invoice.values.contains_key("invoice_url"));
        assert_eq!(invoice.values["order_url"], "https://store.example.com/x");
        assert_eq!(invoice.instance.as_deref(), Some("10"));
    }

    #[test]
    fn an_id_beyond_a_float_and_a_byte_order_mark_do_no_harm() {
        let body = "\u{feff}{\"type\":\"order.shipped\",\"data\":{\"orderId\":123456789012345678901234567890}}";
        assert_eq!(event(read_as("erp", None, body)).order_id, "123456789012345678901234567890");
    }
}
