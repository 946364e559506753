//! Shopify's classic webhooks: an order, a fulfilment, a carrier's scan, a refund, by topic.
//!
//! Bodies are the REST resources of the API version that the subscription was made with
//! (<https://shopify.dev/docs/api/webhooks>). Which time counts as the event's own differs by topic, because not every
//! fact has a time of its own in the body: see [`order`].
//!
//! Not promised: that a pickup is recognised. The body has no field for it; an order without a shipping address but
//! with a shipping line is taken for one.

use jiff::Timestamp;
use serde::Deserialize;
use shared::client_config::Milestone;

use crate::{
    amount::Amount,
    json::{self, Raw},
    order_event::{
        Contact, Delivery, Label, Misread, NothingBecause, OrderEvent, OrderRef, PartialEvent, PrivacyRequest, Reading,
        Values,
    },
    people::{self, Candidate},
};

/// Reads a delivery by its topic (`X-Shopify-Topic`).
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let topic = delivery.topic.ok_or(NothingBecause::NotUnderstood(Misread::NoTopic))?;
    // Sent by "Send test notification"; the samples inside look real.
    if delivery.header("x-shopify-test").is_some_and(|test| test.eq_ignore_ascii_case("true")) {
        return Err(NothingBecause::TestOrder);
    }
    match topic {
        "orders/create" => order(delivery, Milestone::Received),
        "orders/paid" => order(delivery, Milestone::Paid),
        "orders/partially_fulfilled" => shipped(delivery, Extent::Part),
        "orders/fulfilled" => shipped(delivery, Extent::Whole),
        "orders/cancelled" => order(delivery, Milestone::Cancelled),
        "orders/updated" => Err(NothingBecause::UpdateWithoutTransition),
        "orders/delete" => Err(NothingBecause::Deleted),
        "fulfillments/create" => fulfillment_created(delivery),
        "fulfillments/update" => fulfillment_updated(delivery),
        "fulfillment_events/create" => scan(delivery),
        "fulfillment_orders/line_items_prepared_for_pickup" => prepared_for_pickup(delivery),
        "refunds/create" => refund(delivery),
        "customers/redact" => Err(NothingBecause::PrivacyRequest(PrivacyRequest::CustomerRedact)),
        "customers/data_request" => Err(NothingBecause::PrivacyRequest(PrivacyRequest::CustomerDataRequest)),
        "shop/redact" => Err(NothingBecause::PrivacyRequest(PrivacyRequest::ShopRedact)),
        draft if draft.starts_with("draft_orders/") => Err(NothingBecause::Draft),
        other => Err(NothingBecause::UnknownTopic(Label::new(other))),
    }
}

/// The order resource: what we need of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Order<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    name: Raw<'a>,
    test: Raw<'a>,
    source_name: Raw<'a>,
    created_at: Raw<'a>,
    updated_at: Raw<'a>,
    cancelled_at: Raw<'a>,
    cancel_reason: Raw<'a>,
    customer_locale: Raw<'a>,
    currency: Raw<'a>,
    total_price: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    total_price_set: Option<MoneySet<'a>>,
    #[serde(rename = "order_status_url")]
    status_url: Raw<'a>,
    phone: Raw<'a>,
    email: Raw<'a>,
    contact_email: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    customer: Option<Customer<'a>>,
    #[serde(deserialize_with = "json::object")]
    shipping_address: Option<Address<'a>>,
    #[serde(deserialize_with = "json::object")]
    billing_address: Option<Address<'a>>,
    #[serde(deserialize_with = "json::list")]
    shipping_lines: Vec<ShippingLine<'a>>,
    #[serde(deserialize_with = "json::list")]
    fulfillments: Vec<Fulfillment<'a>>,
}

/// An amount in the shop's currency and in the one that the customer saw.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MoneySet<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    presentment_money: Option<Money<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Money<'a> {
    #[serde(borrow)]
    amount: Raw<'a>,
    currency_code: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Customer<'a> {
    #[serde(borrow)]
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    email: Raw<'a>,
    phone: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    default_address: Option<Address<'a>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Address<'a> {
    #[serde(borrow)]
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    name: Raw<'a>,
    phone: Raw<'a>,
    country_code: Raw<'a>,
}

impl Address<'_> {
    fn person(&self) -> Option<String> {
        people::full_name(self.first_name, self.last_name).or_else(|| self.name.string())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShippingLine<'a> {
    #[serde(borrow)]
    title: Raw<'a>,
    is_removed: Raw<'a>,
}

/// The fulfilment resource, alone or within an order.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fulfillment<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    order_id: Raw<'a>,
    name: Raw<'a>,
    status: Raw<'a>,
    shipment_status: Raw<'a>,
    created_at: Raw<'a>,
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
    fn not_made(&self) -> Option<NothingBecause> {
        let status = self.status.text()?;
        (status != "success").then(|| NothingBecause::FulfillmentNotMade(Label::new(&status)))
    }

    fn tracking(&self) -> Values {
        let mut values = Values::new();
        let number =
            self.tracking_number.string().or_else(|| self.tracking_numbers.iter().find_map(|raw| raw.string()));
        let url = self.tracking_url.link().or_else(|| self.tracking_urls.iter().find_map(|raw| raw.link()));
        put(&mut values, "tracking_company", self.tracking_company.string());
        put(&mut values, "tracking_number", number);
        put(&mut values, "tracking_url", url);
        values
    }

    fn is_tracked(&self) -> bool {
        let tracking = self.tracking();
        tracking.contains_key("tracking_number") || tracking.contains_key("tracking_url")
    }

    /// Whether it is certain that nothing in it travels: a gift card, a download.
    fn is_immaterial(&self) -> bool {
        let stays = |item: &LineItem<'_>| item.requires_shipping.text().is_some_and(|text| text == "false");
        !self.line_items.is_empty() && self.line_items.iter().all(stays) && !self.is_tracked()
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

/// An order topic that tells the order's own story.
///
/// The event's time: an order knows when it was created and when it was cancelled, but not when it was paid or
/// fulfilled; for those the body's last change is the best there is, because it is what made Shopify send it.
fn order(delivery: &Delivery<'_>, milestone: Milestone) -> Result<Reading, NothingBecause> {
    let order: Order<'_> = parse(delivery)?;
    let at = match milestone {
        Milestone::Received => order.created_at.time(),
        Milestone::Cancelled => order.cancelled_at.time().or_else(|| order.updated_at.time()),
        _ => order.updated_at.time(),
    };
    let event = order.event(delivery, milestone, at)?;
    Ok(Reading::Event(Box::new(event)))
}

/// How much of an order was fulfilled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Part,
    Whole,
}

/// An order of which something was fulfilled: shipped, unless nothing of it travels.
fn shipped(delivery: &Delivery<'_>, extent: Extent) -> Result<Reading, NothingBecause> {
    let order: Order<'_> = parse(delivery)?;
    let mut event = order.event(delivery, Milestone::Shipped, order.updated_at.time())?;
    let newest = order
        .fulfillments
        .iter()
        .filter(|fulfillment| fulfillment.not_made().is_none())
        // The later of two with the same time is the newer.
        .max_by_key(|fulfillment| fulfillment.created_at.time());
    if let Some(parcel) = newest {
        event.thread = parcel.id.string();
        event.instance.clone_from(&event.thread);
        event.values.extend(parcel.tracking());
    }
    let tracked = newest.is_some_and(Fulfillment::is_tracked);
    if newest.is_some_and(Fulfillment::is_immaterial) {
        return Err(NothingBecause::NothingToShip);
    }
    if order.shipping_address.is_some() || tracked {
        return Ok(Reading::Event(Box::new(event)));
    }
    if order.pickup_location().is_none() {
        return Err(NothingBecause::NothingToShip);
    }
    match extent {
        // Staff fulfil a pickup order when they hand it over: "ready" must not follow, and "shipped" was never true.
        Extent::Whole => {
            event.milestone = Milestone::Delivered;
            Ok(Reading::Quiet(Box::new(event), NothingBecause::PickupFulfilled))
        }
        Extent::Part => Err(NothingBecause::PickupFulfilled),
    }
}

impl Order<'_> {
    fn event(
        &self,
        delivery: &Delivery<'_>,
        milestone: Milestone,
        at: Option<Timestamp>,
    ) -> Result<OrderEvent, NothingBecause> {
        let order_id = self.id.string().ok_or_else(|| missing("/id"))?;
        if self.test.is_true() {
            return Err(NothingBecause::TestOrder);
        }
        // A body is the order as it was when the webhook was made, so this one was cancelled before it was sent.
        if milestone != Milestone::Cancelled && self.cancelled_at.text().is_some() {
            return Err(NothingBecause::StaleTransition);
        }
        let contact = self.contact(delivery);
        let at_the_counter = self.customer.is_none() && self.source_name.text().is_some_and(|source| source == "pos");
        if at_the_counter && contact.phone.is_none() && contact.phone_problem.is_none() {
            return Err(NothingBecause::PosWithoutCustomer);
        }
        Ok(OrderEvent {
            milestone,
            order_id,
            order_number: self.name.string(),
            thread: None,
            instance: None,
            occurred_at: delivery.happened(at),
            contact,
            values: self.values(),
        })
    }

    fn contact(&self, delivery: &Delivery<'_>) -> Contact {
        let no_address = Address::default();
        let shipping = self.shipping_address.as_ref().unwrap_or(&no_address);
        let billing = self.billing_address.as_ref().unwrap_or(&no_address);
        let customer = self.customer.as_ref();
        let home = customer.and_then(|customer| customer.default_address.as_ref()).unwrap_or(&no_address);
        let (phone, phone_problem) = people::first_usable(
            delivery,
            [
                Candidate { phone: self.phone, country: Raw::default() },
                Candidate { phone: shipping.phone, country: shipping.country_code },
                Candidate {
                    phone: customer.map(|customer| customer.phone).unwrap_or_default(),
                    country: home.country_code,
                },
                Candidate { phone: billing.phone, country: billing.country_code },
                Candidate { phone: home.phone, country: home.country_code },
            ],
        );
        let name = customer
            .and_then(|customer| people::full_name(customer.first_name, customer.last_name))
            .or_else(|| shipping.person())
            .or_else(|| billing.person());
        let emails = [self.email, self.contact_email, customer.map(|customer| customer.email).unwrap_or_default()];
        Contact {
            // Every order has one of the three, so their absence is Shopify's doing.
            redacted: phone.is_none()
                && phone_problem.is_none()
                && name.is_none()
                && emails.iter().all(|email| email.text().is_none()),
            phone,
            phone_problem,
            name,
            locale: self.customer_locale.string(),
        }
    }

    fn values(&self) -> Values {
        let mut values = Values::new();
        // What the customer paid, in the currency that they saw; the shop's own where Shopify doesn't say.
        let seen = self.total_price_set.as_ref().and_then(|set| set.presentment_money.as_ref());
        let seen = seen.and_then(|money| Some((money.amount.string()?, money.currency_code.string()?)));
        let (total, currency) = match seen {
            Some((total, currency)) => (Some(total), Some(currency)),
            None => (self.total_price.string(), self.currency.string()),
        };
        put(&mut values, "total", total);
        put(&mut values, "currency", currency);
        put(&mut values, "order_url", self.status_url.link());
        put(&mut values, "cancel_reason", self.cancel_reason.string());
        put(&mut values, "pickup_location", self.pickup_location());
        values
    }

    /// Name of the place where the customer takes it, if they do.
    fn pickup_location(&self) -> Option<String> {
        if self.shipping_address.is_some() {
            return None;
        }
        self.shipping_lines.iter().filter(|line| !line.is_removed.is_true()).find_map(|line| line.title.string())
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
    let (phone, phone_problem) =
        people::first_usable(delivery, [Candidate { phone: to.phone, country: to.country_code }]);
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

fn fulfillment_created(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
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

fn fulfillment_updated(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
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

fn scan(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
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
fn prepared_for_pickup(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
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

/// The refund resource.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refund<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    order_id: Raw<'a>,
    created_at: Raw<'a>,
    processed_at: Raw<'a>,
    #[serde(deserialize_with = "json::list")]
    transactions: Vec<Transaction<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transaction<'a> {
    #[serde(borrow)]
    kind: Raw<'a>,
    status: Raw<'a>,
    test: Raw<'a>,
    amount: Raw<'a>,
    currency: Raw<'a>,
}

fn refund(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let refund: Refund<'_> = parse(delivery)?;
    let id = refund.id.string().ok_or_else(|| missing("/id"))?;
    let order = refund.order_id.string().ok_or_else(|| missing("/order_id"))?;
    let is = |raw: Raw<'_>, what: &str| raw.text().is_some_and(|text| text.eq_ignore_ascii_case(what));
    let paid: Vec<&Transaction<'_>> = refund
        .transactions
        .iter()
        .filter(|transaction| is(transaction.kind, "refund") && is(transaction.status, "success"))
        .collect();
    if !paid.is_empty() && paid.iter().all(|transaction| transaction.test.is_true()) {
        return Err(NothingBecause::TestOrder);
    }
    let sum = paid.iter().try_fold(Amount::default(), |sum, transaction| {
        sum.plus(transaction.amount.text().and_then(|amount| amount.parse().ok())?)
    });
    let amount = sum.ok_or_else(|| missing("/transactions/*/amount"))?;
    if !amount.is_positive() {
        return Err(NothingBecause::RefundWithoutMoney);
    }
    let mut values = Values::new();
    let currency = paid.first().and_then(|first| first.currency.string());
    // A sum over several currencies is no amount; the text then has none to show.
    if paid.iter().all(|transaction| transaction.currency.string() == currency) {
        values.insert("refund_amount".to_owned(), amount.to_string());
        put(&mut values, "currency", currency);
    }
    Ok(Reading::NeedsOrder(Box::new(PartialEvent {
        milestone: Milestone::Refunded,
        order: OrderRef::Id(order),
        thread: None,
        instance: Some(id),
        occurred_at: delivery.happened(refund.processed_at.time().or_else(|| refund.created_at.time())),
        contact: Contact::default(),
        order_number: None,
        values,
        certain: true,
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::contact::PhoneError;

    use super::*;
    use crate::samples::{event, partial, read_as, received_at, sample};

    /// A sample with some members replaced.
    fn changed(case: &str, members: &Value) -> String {
        let mut body = sample("shopify", case);
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    }

    fn reason(reading: Reading) -> &'static str {
        match reading {
            Reading::Nothing(reason) => reason.code(),
            other => panic!("{other:?}"),
        }
    }

    fn nothing(topic: &str, case: &str, members: &Value) -> &'static str {
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
    fn an_order_that_is_already_cancelled_is_no_other_news() {
        let cancelled = json!({"cancelled_at": "2026-11-18T12:00:00+02:00"});
        for topic in ["orders/create", "orders/paid", "orders/fulfilled"] {
            assert_eq!(nothing(topic, "orders_fulfilled", &cancelled), "stale-transition", "{topic}");
        }
    }

    #[test]
    fn withheld_personal_data_is_told_from_a_customer_without_a_number() {
        let without_numbers = json!({
            "phone": null,
            "shipping_address": {"country_code": "IL", "phone": null},
            "billing_address": {"country_code": "IL"},
        });
        let left_none = event(read_as("shop", Some("orders/create"), changed("orders_create", &without_numbers)));
        assert_eq!(left_none.contact.reachable(), Err(NothingBecause::NoPhone));

        let mut withheld = without_numbers;
        for (name, value) in [
            ("email", Value::Null),
            ("contact_email", Value::Null),
            ("customer", json!({"id": 1, "first_name": null, "last_name": null, "email": null, "phone": null})),
        ] {
            withheld[name] = value;
        }
        let withheld = event(read_as("shop", Some("orders/create"), changed("orders_create", &withheld)));
        assert_eq!(withheld.contact.reachable(), Err(NothingBecause::PersonalDataRedacted));
    }

    #[test]
    fn an_unusable_number_gives_way_to_the_next() {
        let shipping = json!({"shipping_address": {"phone": "555-555-SHIP", "country_code": "US"}});
        let billed = event(read_as("shop", Some("orders/create"), changed("orders_create", &shipping)));
        assert_eq!(billed.contact.reachable().unwrap().expose(), "+972545550199");

        let neither = json!({"shipping_address": {"phone": "555-555-SHIP", "country_code": "US"}, "billing_address": {"phone": "*2700"}});
        let neither = event(read_as("shop", Some("orders/create"), changed("orders_create", &neither)));
        assert_eq!(neither.contact.reachable(), Err(NothingBecause::PhoneUnusable(PhoneError::Letters)));
    }

    #[test]
    fn an_address_abroad_reads_its_number_there() {
        let abroad = json!({"shipping_address": {"phone": "(202) 555-0123", "country_code": "US"}});
        let abroad = event(read_as("shop", Some("orders/create"), changed("orders_create", &abroad)));
        assert_eq!(abroad.contact.reachable().unwrap().expose(), "+12025550123");
    }

    #[test]
    fn the_customer_reads_the_amount_that_the_customer_paid() {
        let paid = json!({"total_price_set": {
            "shop_money": {"amount": "118.00", "currency_code": "ILS"},
            "presentment_money": {"amount": "31.40", "currency_code": "USD"},
        }});
        let paid = event(read_as("shop", Some("orders/paid"), changed("orders_paid", &paid)));
        assert_eq!((&*paid.values["total"], &*paid.values["currency"]), ("31.40", "USD"));
    }

    #[test]
    fn the_newest_parcel_is_the_one_that_was_shipped() {
        let parcel = |id: u64, created: &str, status: &str| {
            json!({"id": id, "created_at": created, "status": status, "tracking_number": format!("T{id}"),
                "tracking_urls": ["http://insecure.example/", format!("https://track.example/{id}")]})
        };
        let parcels = json!({"fulfillments": [
            parcel(1, "2026-11-19T09:30:00+02:00", "success"),
            parcel(3, "2026-11-19T11:30:00+02:00", "success"),
            parcel(2, "2026-11-19T10:30:00+02:00", "success"),
            parcel(4, "2026-11-19T12:30:00+02:00", "cancelled"),
        ]});
        let shipped = event(read_as("shop", Some("orders/partially_fulfilled"), changed("orders_fulfilled", &parcels)));
        assert_eq!(shipped.milestone, Milestone::Shipped);
        assert_eq!((shipped.thread.as_deref(), shipped.instance.as_deref()), (Some("3"), Some("3")));
        assert_eq!(shipped.values["tracking_url"], "https://track.example/3");
    }

    #[test]
    fn an_order_that_was_picked_up_is_not_told_but_known() {
        let picked_up = changed("orders_create.pickup", &json!({"fulfillments": [{"id": 9, "status": "success"}]}));
        match read_as("shop", Some("orders/fulfilled"), &picked_up) {
            Reading::Quiet(event, NothingBecause::PickupFulfilled) => {
                assert_eq!(event.milestone, Milestone::Delivered);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(reason(read_as("shop", Some("orders/partially_fulfilled"), &picked_up)), "pickup-fulfilled");
        let download = json!({"shipping_lines": [], "fulfillments": [{"id": 9, "status": "success"}]});
        assert_eq!(nothing("orders/fulfilled", "orders_create.pickup", &download), "nothing-to-ship");
        let gift_card = json!({"fulfillments": [{"id": 9, "line_items": [{"requires_shipping": false}]}]});
        assert_eq!(nothing("orders/fulfilled", "orders_fulfilled", &gift_card), "nothing-to-ship");
    }

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
    fn only_money_that_went_back_is_a_refund() {
        let transaction = |kind: &str, status: &str, amount: &str, currency: &str| json!({"kind": kind, "status": status, "amount": amount, "currency": currency});
        let refund = |transactions: Value| {
            read_as("shop", Some("refunds/create"), changed("refunds_create", &json!({"transactions": transactions})))
        };
        let two = partial(refund(json!([
            transaction("refund", "success", "59.00", "ILS"),
            transaction("refund", "success", "0.9", "ILS"),
            transaction("refund", "failure", "7.00", "ILS"),
            transaction("void", "success", "8.00", "ILS"),
        ])));
        assert_eq!(two.values["refund_amount"], "59.90");
        for none in [
            json!([]),
            json!(null),
            json!([transaction("refund", "pending", "5.00", "ILS")]),
            json!([transaction("refund", "success", "0.00", "ILS")]),
        ] {
            assert_eq!(reason(refund(none)), "refund-without-money");
        }
        assert_eq!(reason(refund(json!([transaction("refund", "success", "five", "ILS")]))), "not-understood");
        let mixed = partial(refund(json!([
            transaction("refund", "success", "5.00", "ILS"),
            transaction("refund", "success", "5.00", "USD"),
        ])));
        assert!(!mixed.values.contains_key("refund_amount"), "shekels and dollars don't add up");
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
