//! Topics about a parcel or a pickup: fulfilments, carriers' scans, fulfillment orders.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tellonce_core::{
    client_config::Milestone,
    contact::PhoneCandidate,
    json::{self, RawJson},
    telemetry::LogLabel,
};

use super::{
    address::ShopifyAddress,
    body_checks::{check_absent, check_signed_time},
};
use crate::{
    order_event::{
        CustomerContact, EventValues, OrderDelivery, OrderReference, ParsedOrder, PartialOrderEvent, insert_some,
    },
    order_outcome::OrderSkipReason,
};

/// The fulfilment resource, alone or within an order.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ShopifyFulfillment<'a> {
    #[serde(borrow)]
    pub(super) id: RawJson<'a>,
    order_id: RawJson<'a>,
    fulfillment_id: RawJson<'a>,
    transactions: RawJson<'a>,
    refund_line_items: RawJson<'a>,
    name: RawJson<'a>,
    service: RawJson<'a>,
    status: RawJson<'a>,
    shipment_status: RawJson<'a>,
    pub(super) created_at: RawJson<'a>,
    updated_at: RawJson<'a>,
    tracking_company: RawJson<'a>,
    tracking_number: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    tracking_numbers: Vec<RawJson<'a>>,
    tracking_url: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    tracking_urls: Vec<RawJson<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    destination: Option<ShopifyAddress<'a>>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    line_items: Vec<ShopifyLineItem<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyLineItem<'a> {
    #[serde(borrow)]
    requires_shipping: RawJson<'a>,
}

impl ShopifyFulfillment<'_> {
    /// Why the fulfilment is not a parcel on its way, if its status excludes that. The status is
    /// nullable, so a missing one counts as a success.
    pub(super) fn failure_reason(&self) -> Option<OrderSkipReason> {
        let status = self.status.text()?;
        (status != "success").then(|| OrderSkipReason::FulfillmentNotSuccessful(LogLabel::new(&status)))
    }

    /// Checks that the body of a topic is a fulfilment, and young. Scans, refunds, transactions and
    /// returns name their order too.
    fn check_shape(&self, delivery: &OrderDelivery<'_>) -> Result<(), OrderSkipReason> {
        check_absent([
            ("fulfillment_id", self.fulfillment_id),
            ("transactions", self.transactions),
            ("refund_line_items", self.refund_line_items),
        ])?;
        if !self.order_id.is_present() {
            return Err(OrderSkipReason::TopicContradictsBody("order_id"));
        }
        if self.line_items.is_empty() && self.destination.is_none() && !self.service.is_present() && !self.is_tracked()
        {
            return Err(OrderSkipReason::TopicContradictsBody("line_items"));
        }
        check_signed_time(delivery, [("updated_at", self.updated_at), ("created_at", self.created_at)])
    }

    pub(super) fn tracking_values(&self) -> EventValues {
        let mut values = EventValues::new();
        let number =
            self.tracking_number.owned_text().or_else(|| self.tracking_numbers.iter().find_map(|raw| raw.owned_text()));
        let url = self.tracking_url.owned_link().or_else(|| self.tracking_urls.iter().find_map(|raw| raw.owned_link()));
        insert_some(&mut values, "tracking_company", self.tracking_company.owned_text());
        insert_some(&mut values, "tracking_number", number);
        insert_some(&mut values, "tracking_url", url);
        values
    }

    pub(super) fn is_tracked(&self) -> bool {
        let tracking = self.tracking_values();
        tracking.contains_key("tracking_number") || tracking.contains_key("tracking_url")
    }

    /// Whether it is certain that the fulfilment contains nothing to ship: a gift card, a download.
    pub(super) fn is_not_shippable(&self) -> bool {
        let needs_no_shipping =
            |item: &ShopifyLineItem<'_>| item.requires_shipping.text().is_some_and(|text| text == "false");
        !self.line_items.is_empty() && self.line_items.iter().all(needs_no_shipping) && !self.is_tracked()
    }
}

/// Builds the event of a fulfilment topic. Its time is the fulfilment's time and its contact is the
/// destination. Language and total are unknown.
fn build_parcel_event(
    delivery: &OrderDelivery<'_>,
    fulfillment: &ShopifyFulfillment<'_>,
    milestone: Milestone,
    at: Option<Timestamp>,
) -> Result<PartialOrderEvent, OrderSkipReason> {
    let order = fulfillment.order_id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/order_id"))?;
    let parcel = fulfillment.id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/id"))?;
    let destination = fulfillment.destination.unwrap_or_default();
    let (phone, phone_problem) =
        delivery.first_usable_phone([PhoneCandidate { phone: destination.phone, country: destination.country_code }]);
    Ok(PartialOrderEvent {
        milestone,
        order: OrderReference::Id(order),
        parcel: Some(parcel.clone()),
        instance: Some(parcel),
        occurred_at: delivery.event_time(at),
        contact: CustomerContact {
            phone,
            phone_problem,
            redacted: false,
            name: destination.person_name(),
            locale: None,
        },
        // `#1042.1` is the first fulfilment of `#1042`.
        order_number: fulfillment.name.text().and_then(|name| {
            let (number, fulfillment_number) = name.rsplit_once('.')?;
            let counted = !number.is_empty()
                && !fulfillment_number.is_empty()
                && fulfillment_number.bytes().all(|byte| byte.is_ascii_digit());
            counted.then(|| number.to_owned())
        }),
        values: fulfillment.tracking_values(),
        is_certain: true,
        is_repeated_by_changes: false,
    })
}

/// The longest time for which a fulfilment is pending. An older one was only edited.
const MAX_PENDING: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The event of a successful fulfilment: its parcel is on its way.
fn parse_shipment(
    delivery: &OrderDelivery<'_>,
    fulfillment: &ShopifyFulfillment<'_>,
    at: Option<Timestamp>,
) -> Result<PartialOrderEvent, OrderSkipReason> {
    if fulfillment.is_not_shippable() {
        return Err(OrderSkipReason::NothingToShip);
    }
    let event = build_parcel_event(delivery, fulfillment, Milestone::Shipped, at)?;
    // Staff also fulfil a pickup order, without a destination.
    let is_certain = fulfillment.destination.is_some() || fulfillment.is_tracked();
    Ok(PartialOrderEvent { is_certain, ..event })
}

pub(super) fn parse_created_fulfillment(delivery: &OrderDelivery<'_>) -> Result<ParsedOrder, OrderSkipReason> {
    let fulfillment: ShopifyFulfillment<'_> = delivery.parse_body()?;
    fulfillment.check_shape(delivery)?;
    if let Some(reason) = fulfillment.failure_reason() {
        return Err(reason);
    }
    Ok(parse_shipment(delivery, &fulfillment, fulfillment.created_at.as_time())?.into_parsed())
}

/// Parses a change of a fulfilment. A fulfilment may be pending first, so a change may be the only
/// report of its success. Every later change shows the same, so the event is news only if no
/// message reported the parcel.
pub(super) fn parse_updated_fulfillment(delivery: &OrderDelivery<'_>) -> Result<ParsedOrder, OrderSkipReason> {
    let fulfillment: ShopifyFulfillment<'_> = delivery.parse_body()?;
    fulfillment.check_shape(delivery)?;
    if let Some(reason) = fulfillment.failure_reason() {
        return Err(reason);
    }
    let status = fulfillment.shipment_status.text();
    let (created_at, updated_at) = (fulfillment.created_at.as_time(), fulfillment.updated_at.as_time());
    let was_pending = match (created_at, updated_at) {
        (Some(created_at), Some(updated_at)) => updated_at.duration_since(created_at) <= MAX_PENDING,
        _ => true,
    };
    let milestone = match status.as_deref() {
        Some("out_for_delivery") => Milestone::OutForDelivery,
        Some("delivered") => Milestone::Delivered,
        // The carrier may have scanned the parcel before its success was reported.
        None
        | Some(
            "label_purchased" | "label_printed" | "confirmed" | "carrier_picked_up" | "in_transit" | "delayed"
            | "attempted_delivery",
        ) if was_pending => {
            let event = parse_shipment(delivery, &fulfillment, updated_at)?;
            return Ok(PartialOrderEvent { is_repeated_by_changes: true, ..event }.into_parsed());
        }
        // Other statuses have events of their own in `fulfillment_events/create`, with a time and
        // an id.
        other => return Err(OrderSkipReason::ShipmentStatusIgnored(LogLabel::new(other.unwrap_or("none")))),
    };
    Ok(build_parcel_event(delivery, &fulfillment, milestone, fulfillment.updated_at.as_time())?.into_parsed())
}

impl PartialOrderEvent {
    /// The event, or a lookup if its data is incomplete.
    fn into_parsed(self) -> ParsedOrder {
        match self.order.id().map(str::to_owned) {
            Some(order_id) if self.is_certain && self.contact.phone.is_some() => {
                ParsedOrder::Event(Box::new(self.complete_with(order_id, &CustomerContact::default(), None)))
            }
            _ => ParsedOrder::NeedsLookup(Box::new(self)),
        }
    }
}

/// The fulfilment event resource: a carrier's scan.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyScan<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    order_id: RawJson<'a>,
    fulfillment_id: RawJson<'a>,
    status: RawJson<'a>,
    happened_at: RawJson<'a>,
    created_at: RawJson<'a>,
    updated_at: RawJson<'a>,
    estimated_delivery_at: RawJson<'a>,
}

pub(super) fn parse_scan(delivery: &OrderDelivery<'_>) -> Result<ParsedOrder, OrderSkipReason> {
    let scan: ShopifyScan<'_> = delivery.parse_body()?;
    let parcel = scan.fulfillment_id.owned_text().ok_or(OrderSkipReason::TopicContradictsBody("fulfillment_id"))?;
    let status = scan.status.text().ok_or_else(|| OrderSkipReason::missing_field("/status"))?.to_ascii_lowercase();
    let milestone = match status.as_str() {
        "out_for_delivery" => Milestone::OutForDelivery,
        "delivered" | "picked_up" => Milestone::Delivered,
        "ready_for_pickup" => Milestone::Ready,
        "attempted_delivery" | "delayed" => Milestone::DeliveryChanged,
        // carrier_picked_up, confirmed, failure, in_transit, label_printed, label_purchased
        other => return Err(OrderSkipReason::ShipmentStatusIgnored(LogLabel::new(other))),
    };
    let order = scan.order_id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/order_id"))?;
    // A carrier may report a scan late, so the time of the report counts.
    check_signed_time(
        delivery,
        [("updated_at", scan.updated_at), ("created_at", scan.created_at), ("happened_at", scan.happened_at)],
    )?;
    let mut values = EventValues::new();
    // A delivery attempt or a delay may happen to a parcel more than once. Other scans happen once.
    let instance = if milestone == Milestone::DeliveryChanged {
        insert_some(&mut values, "delivery_to", scan.estimated_delivery_at.owned_text());
        values.insert("delivery_status".to_owned(), status);
        scan.id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/id"))?
    } else {
        parcel.clone()
    };
    Ok(ParsedOrder::NeedsLookup(Box::new(PartialOrderEvent {
        milestone,
        order: OrderReference::Id(order),
        parcel: Some(parcel),
        instance: Some(instance),
        occurred_at: delivery.event_time(scan.happened_at.as_time().or_else(|| scan.created_at.as_time())),
        contact: CustomerContact::default(),
        order_number: None,
        values,
        is_certain: true,
        is_repeated_by_changes: false,
    })))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyPickupPrepared<'a> {
    #[serde(borrow, deserialize_with = "json::deserialize_object_or_empty")]
    fulfillment_order: Option<ShopifyFulfillmentOrder<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyFulfillmentOrder<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    status: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    delivery_method: Option<ShopifyDeliveryMethod<'a>>,
}

/// The prefix of a fulfillment order's global id.
const FULFILLMENT_ORDER_GID_PREFIX: &str = "gid://shopify/FulfillmentOrder/";

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyDeliveryMethod<'a> {
    #[serde(borrow)]
    method_type: RawJson<'a>,
}

/// Staff pressed "ready for pickup". The body contains only the fulfillment order and no time, so
/// Shopify's time of the delivery is used, and the body's age cannot be checked. Bodies of other
/// topics about fulfillment orders lack the way of delivery.
pub(super) fn parse_prepared_pickup(delivery: &OrderDelivery<'_>) -> Result<ParsedOrder, OrderSkipReason> {
    let prepared = delivery.parse_body::<ShopifyPickupPrepared<'_>>()?.fulfillment_order.unwrap_or_default();
    let gid = prepared
        .id
        .owned_text()
        .map(|id| {
            if id.bytes().all(|byte| byte.is_ascii_digit()) {
                format!("{FULFILLMENT_ORDER_GID_PREFIX}{id}")
            } else {
                id
            }
        })
        .filter(|gid| {
            gid.strip_prefix(FULFILLMENT_ORDER_GID_PREFIX)
                .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .ok_or_else(|| OrderSkipReason::missing_field("/fulfillment_order/id"))?;
    let way = prepared.delivery_method.and_then(|method| method.method_type.text()).map(|way| way.to_ascii_lowercase());
    if !matches!(way.as_deref(), Some("pick_up" | "pickup_point")) {
        return Err(OrderSkipReason::TopicContradictsBody("delivery_method"));
    }
    if let Some(status) = prepared.status.text().map(|status| status.to_ascii_lowercase())
        && matches!(status.as_str(), "cancelled" | "closed" | "incomplete")
    {
        return Err(OrderSkipReason::FulfillmentNotSuccessful(LogLabel::new(&status)));
    }
    let triggered = delivery.find_header("x-shopify-triggered-at").and_then(|at| at.parse().ok());
    Ok(ParsedOrder::NeedsLookup(Box::new(PartialOrderEvent {
        milestone: Milestone::Ready,
        order: OrderReference::FulfillmentOrder(gid),
        parcel: None,
        instance: None,
        occurred_at: delivery.event_time(triggered),
        contact: CustomerContact::default(),
        order_number: None,
        values: EventValues::new(),
        is_certain: true,
        is_repeated_by_changes: false,
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        samples::{expect_event, expect_partial, parse_as, sample_json},
        senders::shopify::tests::{changed_sample, expect_skip_code, skip_code_of_changed},
    };

    #[test]
    fn a_fulfillment_without_destination_and_tracking_needs_a_lookup() {
        let nowhere = json!({"destination": null, "tracking_number": null, "tracking_numbers": [], "tracking_url": null, "tracking_urls": []});
        let unsure = expect_partial(parse_as(
            "shop",
            Some("fulfillments/create"),
            changed_sample("fulfillments_create", &nowhere),
        ));
        assert!(!unsure.is_certain);
        let tracked = expect_partial(parse_as(
            "shop",
            Some("fulfillments/create"),
            changed_sample("fulfillments_create", &json!({"destination": null})),
        ));
        assert!(tracked.is_certain && tracked.contact.phone.is_none());
    }

    #[test]
    fn only_a_successful_fulfillment_is_a_parcel() {
        for status in ["cancelled", "error", "failure", "pending", "open"] {
            for topic in ["fulfillments/create", "fulfillments/update"] {
                let code = skip_code_of_changed(topic, "fulfillments_create", &json!({"status": status}));
                assert_eq!(code, "fulfillment-not-successful", "{topic} {status}");
            }
        }
    }

    #[test]
    fn a_change_of_a_successful_fulfillment_reports_a_parcel_that_no_scan_reported() {
        let update = |members: &Value| {
            parse_as("shop", Some("fulfillments/update"), changed_sample("fulfillments_update", members))
        };
        for status in [json!(null), json!("label_printed"), json!("confirmed"), json!("in_transit"), json!("delayed")] {
            let shipped = expect_event(update(&json!({"shipment_status": status})));
            assert_eq!(shipped.milestone, Milestone::Shipped, "{status}");
            assert!(shipped.is_repeated_by_changes, "{status}");
        }
        for members in [
            json!({"shipment_status": "failure"}),
            json!({"shipment_status": "in_transit", "created_at": "2026-11-12T09:30:00+02:00"}),
            json!({"shipment_status": null, "created_at": "2026-11-12T09:30:00+02:00"}),
        ] {
            assert_eq!(expect_skip_code(update(&members)), "shipment-status-not-announced", "{members}");
        }
        let gift_card = json!({"shipment_status": null, "tracking_number": null, "tracking_numbers": [],
            "tracking_url": null, "tracking_urls": [], "line_items": [{"requires_shipping": false}]});
        assert_eq!(expect_skip_code(update(&gift_card)), "nothing-to-ship");
    }

    #[test]
    fn both_topics_yield_the_same_event_for_a_parcel() {
        let update = json!({"shipment_status": "delivered"});
        let by_update =
            expect_event(parse_as("shop", Some("fulfillments/update"), changed_sample("fulfillments_update", &update)));
        let by_scan = expect_partial(parse_as(
            "shop",
            Some("fulfillment_events/create"),
            sample_json("shopify", "fulfillment_events_create.delivered").to_string(),
        ));
        assert_eq!((by_update.milestone, &by_update.instance), (by_scan.milestone, &by_scan.instance));
        assert_eq!(by_scan.order.id(), Some(&*by_update.order_id));
    }

    #[test]
    fn each_scan_status_maps_to_its_milestone_or_is_skipped() {
        let scan = |status: &str| {
            let body = changed_sample(
                "fulfillment_events_create.delivered",
                &json!({"status": status, "estimated_delivery_at": "2026-11-23T12:00:00+02:00"}),
            );
            parse_as("shop", Some("fulfillment_events/create"), body)
        };
        for (status, milestone) in [
            ("picked_up", Milestone::Delivered),
            ("READY_FOR_PICKUP", Milestone::Ready),
            ("out_for_delivery", Milestone::OutForDelivery),
        ] {
            assert_eq!(expect_partial(scan(status)).milestone, milestone, "{status}");
        }
        for status in ["attempted_delivery", "delayed"] {
            let changed = expect_partial(scan(status));
            assert_eq!(changed.milestone, Milestone::DeliveryChanged, "{status}");
            assert_eq!(changed.instance.as_deref(), Some("94495600002"), "each scan is one change");
            assert_eq!(changed.parcel.as_deref(), Some("4670000000001"), "of one parcel");
            assert_eq!(changed.values["delivery_status"], status);
            assert_eq!(changed.values["delivery_to"], "2026-11-23T12:00:00+02:00");
        }
        for status in ["confirmed", "in_transit", "failure", "label_printed", "carrier_picked_up", "x\u{202e}y"] {
            assert_eq!(expect_skip_code(scan(status)), "shipment-status-not-announced", "{status}");
        }
    }

    #[test]
    fn only_an_open_fulfillment_order_with_a_valid_global_id_is_ready() {
        let read = |id: Value, status: &str| {
            let way = json!({"method_type": "pick_up"});
            let body = json!({"fulfillment_order": {"id": id, "status": status, "delivery_method": way}}).to_string();
            parse_as("shop", Some("fulfillment_orders/line_items_prepared_for_pickup"), body)
        };
        assert_eq!(
            expect_partial(read(json!(6_820_000_000_001_u64), "in_progress")).order,
            OrderReference::FulfillmentOrder("gid://shopify/FulfillmentOrder/6820000000001".into())
        );
        for id in [json!(null), json!("gid://shopify/Order/1"), json!("gid://shopify/FulfillmentOrder/1\"}"), json!("")]
        {
            assert_eq!(expect_skip_code(read(id, "in_progress")), "not-understood");
        }
        assert_eq!(expect_skip_code(read(json!(1), "CANCELLED")), "fulfillment-not-successful");
    }
}
