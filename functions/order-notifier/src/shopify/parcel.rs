//! Topics about a parcel, or the goods that wait at the counter: fulfilments, carriers' scans, fulfillment orders.

use jiff::Timestamp;
use serde::Deserialize;
use shared::{
    client_config::Milestone,
    contact::Candidate,
    json::{self, Raw},
    observe::Label,
};

use super::{missing, order::Address, parse, put};
use crate::order_event::{Contact, Delivery, NothingBecause, OrderEvent, OrderRef, PartialEvent, Reading, Values};

/// The fulfilment resource, alone or within an order.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Fulfillment<'a> {
    #[serde(borrow)]
    pub(super) id: Raw<'a>,
    order_id: Raw<'a>,
    name: Raw<'a>,
    status: Raw<'a>,
    shipment_status: Raw<'a>,
    pub(super) created_at: Raw<'a>,
    updated_at: Raw<'a>,
    tracking_company: Raw<'a>,
    tracking_number: Raw<'a>,
    #[serde(deserialize_with = "json::list")]
    tracking_numbers: Vec<Raw<'a>>,
    tracking_url: Raw<'a>,
    #[serde(deserialize_with = "json::list")]
    tracking_urls: Vec<Raw<'a>>,
    #[serde(deserialize_with = "json::object")]
    destination: Option<Address<'a>>,
    #[serde(deserialize_with = "json::list")]
    line_items: Vec<LineItem<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LineItem<'a> {
    #[serde(borrow)]
    requires_shipping: Raw<'a>,
}

impl Fulfillment<'_> {
    /// Why it is no parcel on its way, if its status says so. Absent counts as made: the status is nullable.
    pub(super) fn not_made(&self) -> Option<NothingBecause> {
        let status = self.status.text()?;
        (status != "success").then(|| NothingBecause::FulfillmentNotMade(Label::new(&status)))
    }

    pub(super) fn tracking(&self) -> Values {
        let mut values = Values::new();
        let number =
            self.tracking_number.string().or_else(|| self.tracking_numbers.iter().find_map(|raw| raw.string()));
        let url = self.tracking_url.link().or_else(|| self.tracking_urls.iter().find_map(|raw| raw.link()));
        put(&mut values, "tracking_company", self.tracking_company.string());
        put(&mut values, "tracking_number", number);
        put(&mut values, "tracking_url", url);
        values
    }

    pub(super) fn is_tracked(&self) -> bool {
        let tracking = self.tracking();
        tracking.contains_key("tracking_number") || tracking.contains_key("tracking_url")
    }

    /// Whether it is certain that nothing in it travels: a gift card, a download.
    pub(super) fn is_immaterial(&self) -> bool {
        let stays = |item: &LineItem<'_>| item.requires_shipping.text().is_some_and(|text| text == "false");
        !self.line_items.is_empty() && self.line_items.iter().all(stays) && !self.is_tracked()
    }
}

/// What fulfilment topics have in common. Its time is the fulfilment's, its contact the parcel's destination: neither
/// language nor total is known.
fn of_parcel(
    delivery: &Delivery<'_>,
    fulfillment: &Fulfillment<'_>,
    milestone: Milestone,
    at: Option<Timestamp>,
) -> Result<PartialEvent, NothingBecause> {
    let order = fulfillment.order_id.string().ok_or_else(|| missing("/order_id"))?;
    let parcel = fulfillment.id.string().ok_or_else(|| missing("/id"))?;
    let to = fulfillment.destination.unwrap_or_default();
    let (phone, phone_problem) = delivery.first_usable([Candidate { phone: to.phone, country: to.country_code }]);
    Ok(PartialEvent {
        milestone,
        order: OrderRef::Id(order),
        thread: Some(parcel.clone()),
        instance: Some(parcel),
        occurred_at: delivery.happened(at),
        contact: Contact { phone, phone_problem, redacted: false, name: to.person(), locale: None },
        // `#1042.1` is the first fulfilment of `#1042`.
        order_number: fulfillment.name.text().and_then(|name| {
            let (number, nth) = name.rsplit_once('.')?;
            let counted = !number.is_empty() && !nth.is_empty() && nth.bytes().all(|byte| byte.is_ascii_digit());
            counted.then(|| number.to_owned())
        }),
        values: fulfillment.tracking(),
        certain: true,
    })
}

pub(super) fn created(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let fulfillment: Fulfillment<'_> = parse(delivery)?;
    if let Some(reason) = fulfillment.not_made() {
        return Err(reason);
    }
    if fulfillment.is_immaterial() {
        return Err(NothingBecause::NothingToShip);
    }
    let mut event = of_parcel(delivery, &fulfillment, Milestone::Shipped, fulfillment.created_at.time())?;
    // Handing over a pickup order makes a fulfilment too, to nowhere.
    event.certain = fulfillment.destination.is_some() || fulfillment.is_tracked();
    Ok(event.or_event())
}

pub(super) fn updated(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let fulfillment: Fulfillment<'_> = parse(delivery)?;
    if let Some(reason) = fulfillment.not_made() {
        return Err(reason);
    }
    let status = fulfillment.shipment_status.text();
    let milestone = match status.as_deref() {
        Some("out_for_delivery") => Milestone::OutForDelivery,
        Some("delivered") => Milestone::Delivered,
        // Others have an event of their own in `fulfillment_events/create`, with a time and an id.
        other => return Err(NothingBecause::ShipmentStatusNotTold(Label::new(other.unwrap_or("none")))),
    };
    Ok(of_parcel(delivery, &fulfillment, milestone, fulfillment.updated_at.time())?.or_event())
}

impl PartialEvent {
    /// An event, if nothing has to be looked up for it.
    fn or_event(self) -> Reading {
        match self.order.id().map(str::to_owned) {
            Some(order_id) if self.certain && self.contact.phone.is_some() => Reading::Event(Box::new(OrderEvent {
                milestone: self.milestone,
                order_id,
                order_number: self.order_number,
                thread: self.thread,
                instance: self.instance,
                occurred_at: self.occurred_at,
                contact: self.contact,
                values: self.values,
            })),
            _ => Reading::NeedsOrder(Box::new(self)),
        }
    }
}

/// The fulfilment event resource: a carrier's scan.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Scan<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    order_id: Raw<'a>,
    fulfillment_id: Raw<'a>,
    status: Raw<'a>,
    happened_at: Raw<'a>,
    created_at: Raw<'a>,
    estimated_delivery_at: Raw<'a>,
}

pub(super) fn scanned(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let scan: Scan<'_> = parse(delivery)?;
    let status = scan.status.text().ok_or_else(|| missing("/status"))?.to_ascii_lowercase();
    let milestone = match status.as_str() {
        "out_for_delivery" => Milestone::OutForDelivery,
        "delivered" | "picked_up" => Milestone::Delivered,
        "ready_for_pickup" => Milestone::Ready,
        "attempted_delivery" | "delayed" => Milestone::DeliveryChanged,
        // carrier_picked_up, confirmed, failure, in_transit, label_printed, label_purchased
        other => return Err(NothingBecause::ShipmentStatusNotTold(Label::new(other))),
    };
    let order = scan.order_id.string().ok_or_else(|| missing("/order_id"))?;
    let parcel = scan.fulfillment_id.string();
    let mut values = Values::new();
    // A parcel is tried or delayed more than once; everything else happens to it once.
    let instance = if milestone == Milestone::DeliveryChanged {
        put(&mut values, "delivery_to", scan.estimated_delivery_at.string());
        values.insert("delivery_status".to_owned(), status);
        Some(scan.id.string().ok_or_else(|| missing("/id"))?)
    } else {
        parcel.clone()
    };
    Ok(Reading::NeedsOrder(Box::new(PartialEvent {
        milestone,
        order: OrderRef::Id(order),
        thread: parcel,
        instance,
        occurred_at: delivery.happened(scan.happened_at.time().or_else(|| scan.created_at.time())),
        contact: Contact::default(),
        order_number: None,
        values,
        certain: true,
    })))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PreparedForPickup<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    fulfillment_order: Option<FulfillmentOrder<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FulfillmentOrder<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    status: Raw<'a>,
}

/// Global ids of fulfillment orders begin so.
const FULFILLMENT_ORDER: &str = "gid://shopify/FulfillmentOrder/";

/// Staff pressed "ready for pickup". The body names the fulfillment order and nothing else, not even a time: Shopify's
/// own time of the delivery stands in for it.
pub(super) fn prepared_for_pickup(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let prepared = parse::<PreparedForPickup<'_>>(delivery)?.fulfillment_order.unwrap_or_default();
    let gid = prepared
        .id
        .string()
        .map(|id| if id.bytes().all(|byte| byte.is_ascii_digit()) { format!("{FULFILLMENT_ORDER}{id}") } else { id })
        .filter(|gid| {
            gid.strip_prefix(FULFILLMENT_ORDER)
                .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .ok_or_else(|| missing("/fulfillment_order/id"))?;
    if let Some(status) = prepared.status.text().map(|status| status.to_ascii_lowercase())
        && matches!(status.as_str(), "cancelled" | "closed" | "incomplete")
    {
        return Err(NothingBecause::FulfillmentNotMade(Label::new(&status)));
    }
    let triggered = delivery.header("x-shopify-triggered-at").and_then(|at| at.parse().ok());
    Ok(Reading::NeedsOrder(Box::new(PartialEvent {
        milestone: Milestone::Ready,
        order: OrderRef::FulfillmentOrder(gid),
        thread: None,
        instance: None,
        occurred_at: delivery.happened(triggered),
        contact: Contact::default(),
        order_number: None,
        values: Values::new(),
        certain: true,
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        samples::{event, partial, read_as, sample},
        shopify::tests::{changed, nothing, reason},
    };

    #[test]
    fn a_fulfilment_to_nowhere_without_tracking_must_be_looked_up() {
        let nowhere = json!({"destination": null, "tracking_number": null, "tracking_numbers": [], "tracking_url": null, "tracking_urls": []});
        let unsure = partial(read_as("shop", Some("fulfillments/create"), changed("fulfillments_create", &nowhere)));
        assert!(!unsure.certain);
        let tracked = partial(read_as(
            "shop",
            Some("fulfillments/create"),
            changed("fulfillments_create", &json!({"destination": null})),
        ));
        assert!(tracked.certain && tracked.contact.phone.is_none());
    }

    #[test]
    fn only_a_fulfilment_that_was_made_is_a_parcel() {
        for status in ["cancelled", "error", "failure", "pending", "open"] {
            for topic in ["fulfillments/create", "fulfillments/update"] {
                let code = nothing(topic, "fulfillments_create", &json!({"status": status}));
                assert_eq!(code, "fulfillment-not-made", "{topic} {status}");
            }
        }
    }

    #[test]
    fn a_parcel_says_the_same_through_either_topic() {
        let update = json!({"shipment_status": "delivered"});
        let by_update = event(read_as("shop", Some("fulfillments/update"), changed("fulfillments_update", &update)));
        let by_scan = partial(read_as(
            "shop",
            Some("fulfillment_events/create"),
            sample("shopify", "fulfillment_events_create.delivered").to_string(),
        ));
        assert_eq!((by_update.milestone, &by_update.instance), (by_scan.milestone, &by_scan.instance));
        assert_eq!(by_scan.order.id(), Some(&*by_update.order_id));
    }

    #[test]
    fn each_scan_is_its_milestone_or_none() {
        let scan = |status: &str| {
            let body = changed(
                "fulfillment_events_create.delivered",
                &json!({"status": status, "estimated_delivery_at": "2026-11-23T12:00:00+02:00"}),
            );
            read_as("shop", Some("fulfillment_events/create"), body)
        };
        for (status, milestone) in [
            ("picked_up", Milestone::Delivered),
            ("READY_FOR_PICKUP", Milestone::Ready),
            ("out_for_delivery", Milestone::OutForDelivery),
        ] {
            assert_eq!(partial(scan(status)).milestone, milestone, "{status}");
        }
        for status in ["attempted_delivery", "delayed"] {
            let changed = partial(scan(status));
            assert_eq!(changed.milestone, Milestone::DeliveryChanged, "{status}");
            assert_eq!(changed.instance.as_deref(), Some("94495600002"), "each of them is one change");
            assert_eq!(changed.thread.as_deref(), Some("4670000000001"), "of one parcel");
            assert_eq!(changed.values["delivery_status"], status);
            assert_eq!(changed.values["delivery_to"], "2026-11-23T12:00:00+02:00");
        }
        for status in ["confirmed", "in_transit", "failure", "label_printed", "carrier_picked_up", "x\u{202e}y"] {
            assert_eq!(reason(scan(status)), "shipment-status-not-told", "{status}");
        }
    }

    #[test]
    fn only_an_open_fulfillment_order_with_a_global_id_is_ready() {
        let read = |id: Value, status: &str| {
            let body = json!({"fulfillment_order": {"id": id, "status": status}}).to_string();
            read_as("shop", Some("fulfillment_orders/line_items_prepared_for_pickup"), body)
        };
        assert_eq!(
            partial(read(json!(6_820_000_000_001_u64), "in_progress")).order,
            OrderRef::FulfillmentOrder("gid://shopify/FulfillmentOrder/6820000000001".into())
        );
        for id in [json!(null), json!("gid://shopify/Order/1"), json!("gid://shopify/FulfillmentOrder/1\"}"), json!("")]
        {
            assert_eq!(reason(read(id, "in_progress")), "not-understood");
        }
        assert_eq!(reason(read(json!(1), "CANCELLED")), "fulfillment-not-made");
    }
}
