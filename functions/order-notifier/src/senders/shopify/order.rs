//! Topics whose body is a whole order.

use jiff::Timestamp;
use serde::Deserialize;
use tellonce_core::{
    client_config::Milestone,
    contact::{PhoneCandidate, build_full_name},
    json::{self, RawJson},
};

use super::{
    address::ShopifyAddress,
    body_checks::{check_absent, check_signed_time},
    imports::find_import_mark,
    parcel::ShopifyFulfillment,
};
use crate::{
    order_event::{CustomerContact, EventValues, OrderDelivery, OrderEvent, ParsedOrder, insert_some},
    order_import::{ImportMark, OrderImport},
    order_outcome::OrderSkipReason,
};

/// The parts of the order resource that are used.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyOrder<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    order_id: RawJson<'a>,
    name: RawJson<'a>,
    order_number: RawJson<'a>,
    test: RawJson<'a>,
    source_name: RawJson<'a>,
    tags: RawJson<'a>,
    processed_at: RawJson<'a>,
    created_at: RawJson<'a>,
    updated_at: RawJson<'a>,
    closed_at: RawJson<'a>,
    cancelled_at: RawJson<'a>,
    cancel_reason: RawJson<'a>,
    financial_status: RawJson<'a>,
    fulfillment_status: RawJson<'a>,
    customer_locale: RawJson<'a>,
    currency: RawJson<'a>,
    total_price: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    total_price_set: Option<ShopifyMoneySet<'a>>,
    #[serde(rename = "order_status_url")]
    status_url: RawJson<'a>,
    phone: RawJson<'a>,
    email: RawJson<'a>,
    contact_email: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    customer: Option<ShopifyCustomer<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    shipping_address: Option<ShopifyAddress<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    billing_address: Option<ShopifyAddress<'a>>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    shipping_lines: Vec<ShopifyShippingLine<'a>>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    fulfillments: Vec<ShopifyFulfillment<'a>>,
}

/// An amount in the shop's currency and in the customer's currency.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyMoneySet<'a> {
    #[serde(borrow, deserialize_with = "json::deserialize_object_or_empty")]
    presentment_money: Option<ShopifyMoney<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyMoney<'a> {
    #[serde(borrow)]
    amount: RawJson<'a>,
    currency_code: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyCustomer<'a> {
    #[serde(borrow)]
    first_name: RawJson<'a>,
    last_name: RawJson<'a>,
    email: RawJson<'a>,
    phone: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    default_address: Option<ShopifyAddress<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyShippingLine<'a> {
    #[serde(borrow)]
    title: RawJson<'a>,
    is_removed: RawJson<'a>,
}

/// Parses an order topic about the whole order.
///
/// The body contains the times of creation and cancellation, but not of payment and fulfilment. For
/// those the event's time is the body's last change, because that change made Shopify send the
/// delivery.
pub(super) fn parse_order(delivery: &OrderDelivery<'_>, milestone: Milestone) -> Result<ParsedOrder, OrderSkipReason> {
    let order: ShopifyOrder<'_> = delivery.parse_body()?;
    let at = match milestone {
        Milestone::Received => order.created_at.as_time(),
        Milestone::Cancelled => order.cancelled_at.as_time().or_else(|| order.updated_at.as_time()),
        _ => order.updated_at.as_time(),
    };
    let event = order.build_event(delivery, milestone, at)?;
    order.check_milestone(milestone)?;
    Ok(order.judge_event(event, delivery))
}

/// Requires that a member of the body has one of the values that its topic implies.
fn require_status(member: &'static str, status: RawJson<'_>, fits: &[&str]) -> Result<(), OrderSkipReason> {
    match status.text() {
        Some(status) if fits.contains(&&*status) => Ok(()),
        _ => Err(OrderSkipReason::TopicContradictsBody(member)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FulfillmentExtent {
    Partial,
    Full,
}

/// Parses an order with a fulfilment. It counts as shipped, unless nothing is sent.
pub(super) fn parse_shipped_order(
    delivery: &OrderDelivery<'_>,
    extent: FulfillmentExtent,
) -> Result<ParsedOrder, OrderSkipReason> {
    let order: ShopifyOrder<'_> = delivery.parse_body()?;
    let mut event = order.build_event(delivery, Milestone::Shipped, order.updated_at.as_time())?;
    order.check_extent(extent)?;
    let newest = order
        .fulfillments
        .iter()
        .filter(|fulfillment| fulfillment.failure_reason().is_none())
        // Of two fulfilments with the same time, the later in the list is newer.
        .max_by_key(|fulfillment| fulfillment.created_at.as_time());
    if let Some(parcel) = newest {
        event.parcel = parcel.id.owned_text();
        event.instance.clone_from(&event.parcel);
        event.values.extend(parcel.tracking_values());
    }
    let tracked = newest.is_some_and(ShopifyFulfillment::is_tracked);
    if newest.is_some_and(ShopifyFulfillment::is_not_shippable) {
        return Err(OrderSkipReason::NothingToShip);
    }
    if order.shipping_address.is_some() || tracked {
        return Ok(order.judge_event(event, delivery));
    }
    if order.pickup_location().is_none() {
        return Err(OrderSkipReason::NothingToShip);
    }
    match extent {
        // Staff fulfil a pickup order when the customer takes it. A "ready" message must not
        // follow, and "shipped" was never true.
        FulfillmentExtent::Full => {
            event.milestone = Milestone::Delivered;
            Ok(ParsedOrder::Suppressed(Box::new(event), OrderSkipReason::PickupFulfilled))
        }
        FulfillmentExtent::Partial => Err(OrderSkipReason::PickupFulfilled),
    }
}

impl ShopifyOrder<'_> {
    /// Checks that the body is an order, and young. Fulfilments, refunds and transactions name
    /// their order. Drafts and checkouts have none of the members that only orders have.
    fn check_shape(&self, delivery: &OrderDelivery<'_>) -> Result<(), OrderSkipReason> {
        check_absent([("order_id", self.order_id)])?;
        let only_in_orders = [self.financial_status, self.fulfillment_status, self.order_number, self.status_url];
        if !only_in_orders.into_iter().any(RawJson::is_present) {
            return Err(OrderSkipReason::TopicContradictsBody("financial_status"));
        }
        check_signed_time(delivery, [("updated_at", self.updated_at), ("created_at", self.created_at)])
    }

    /// Checks that the body agrees with a topic about a milestone.
    fn check_milestone(&self, milestone: Milestone) -> Result<(), OrderSkipReason> {
        if milestone == Milestone::Cancelled && self.cancelled_at.as_time().is_none() {
            return Err(OrderSkipReason::TopicContradictsBody("cancelled_at"));
        }
        // An order may be created unpaid or paid. A body shows the order when it was sent: by then
        // some of the money may be refunded.
        if milestone == Milestone::Paid {
            let fits = ["paid", "partially_refunded", "refunded"];
            return require_status("financial_status", self.financial_status, &fits);
        }
        Ok(())
    }

    /// Checks that the body agrees with a topic about a fulfilment.
    fn check_extent(&self, extent: FulfillmentExtent) -> Result<(), OrderSkipReason> {
        let fits: &[&str] = match extent {
            FulfillmentExtent::Full => &["fulfilled"],
            // The rest may have been fulfilled meanwhile.
            FulfillmentExtent::Partial => &["partial", "fulfilled"],
        };
        require_status("fulfillment_status", self.fulfillment_status, fits)
    }

    fn build_event(
        &self,
        delivery: &OrderDelivery<'_>,
        milestone: Milestone,
        at: Option<Timestamp>,
    ) -> Result<OrderEvent, OrderSkipReason> {
        let order_id = self.id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/id"))?;
        self.check_shape(delivery)?;
        if self.test.is_true() {
            return Err(OrderSkipReason::TestOrder);
        }
        // The body shows the order at the time of the webhook, so the order was cancelled before
        // the delivery was sent.
        if milestone != Milestone::Cancelled && self.cancelled_at.text().is_some() {
            return Err(OrderSkipReason::StaleTransition);
        }
        let contact = self.build_contact(delivery);
        let at_the_counter = self.customer.is_none() && self.source_name.text().is_some_and(|source| source == "pos");
        if at_the_counter && contact.phone.is_none() && contact.phone_problem.is_none() {
            return Err(OrderSkipReason::PosWithoutCustomer);
        }
        Ok(OrderEvent {
            milestone,
            order_id,
            order_number: self.name.owned_text(),
            parcel: None,
            instance: None,
            occurred_at: delivery.event_time(at),
            contact,
            values: self.build_values(),
            is_repeated_by_changes: false,
        })
    }

    /// The event, unless the order was imported and this belongs to the import. The record of an
    /// import has the time of the purchase, so the ledger knows how old the order is.
    fn judge_event(&self, event: OrderEvent, delivery: &OrderDelivery<'_>) -> ParsedOrder {
        let import = self.find_import(delivery);
        let mut judged = OrderImport::judge_event(import, Box::new(event));
        if let (ParsedOrder::Suppressed(event, _), Some(import)) = (&mut judged, import)
            && event.milestone == Milestone::Received
        {
            event.occurred_at = import.purchased_at;
        }
        judged
    }

    /// The import of an order of the past.
    fn find_import(&self, delivery: &OrderDelivery<'_>) -> Option<OrderImport> {
        // A time in the future says nothing.
        let created_at = self.created_at.as_time().filter(|at| delivery.event_time(Some(*at)) == *at)?;
        let closed_at = self.closed_at.as_time();
        let happened_at = [self.processed_at.as_time(), closed_at, self.cancelled_at.as_time()];
        let is_fulfilled = self.fulfillment_status.text().is_some_and(|status| status == "fulfilled");
        let mark = find_import_mark(self.source_name, self.tags);
        let is_closed = is_fulfilled && mark == ImportMark::Marked;
        let at_creation = || OrderImport::at_creation(created_at, closed_at.filter(|_| is_closed));
        OrderImport::from_times(happened_at, Some(created_at), mark).or_else(at_creation)
    }

    fn build_contact(&self, delivery: &OrderDelivery<'_>) -> CustomerContact {
        let no_address = ShopifyAddress::default();
        let shipping = self.shipping_address.as_ref().unwrap_or(&no_address);
        let billing = self.billing_address.as_ref().unwrap_or(&no_address);
        let customer = self.customer.as_ref();
        let default_address = customer.and_then(|customer| customer.default_address.as_ref()).unwrap_or(&no_address);
        let (phone, phone_problem) = delivery.first_usable_phone([
            self.phone.into(),
            PhoneCandidate { phone: shipping.phone, country: shipping.country_code },
            PhoneCandidate {
                phone: customer.map(|customer| customer.phone).unwrap_or_default(),
                country: default_address.country_code,
            },
            PhoneCandidate { phone: billing.phone, country: billing.country_code },
            PhoneCandidate { phone: default_address.phone, country: default_address.country_code },
        ]);
        let name = customer
            .and_then(|customer| build_full_name(customer.first_name, customer.last_name))
            .or_else(|| shipping.person_name())
            .or_else(|| billing.person_name());
        let emails = [self.email, self.contact_email, customer.map(|customer| customer.email).unwrap_or_default()];
        CustomerContact {
            // Every order has one of the three. If all are missing, Shopify withheld them.
            redacted: phone.is_none()
                && phone_problem.is_none()
                && name.is_none()
                && emails.iter().all(|email| email.text().is_none()),
            phone,
            phone_problem,
            name,
            locale: self.customer_locale.owned_text(),
        }
    }

    fn build_values(&self) -> EventValues {
        let mut values = EventValues::new();
        // The amount that the customer paid, in the customer's currency, or in the shop's if
        // Shopify does not report it.
        let customer_total = self.total_price_set.as_ref().and_then(|set| set.presentment_money.as_ref());
        let customer_total =
            customer_total.and_then(|money| Some((money.amount.owned_text()?, money.currency_code.owned_text()?)));
        let (total, currency) = match customer_total {
            Some((total, currency)) => (Some(total), Some(currency)),
            None => (self.total_price.owned_text(), self.currency.owned_text()),
        };
        insert_some(&mut values, "total", total);
        insert_some(&mut values, "currency", currency);
        insert_some(&mut values, "order_url", self.status_url.owned_link());
        insert_some(&mut values, "cancel_reason", self.cancel_reason.owned_text());
        insert_some(&mut values, "pickup_location", self.pickup_location());
        values
    }

    /// The name of the pickup location, if the customer picks the order up.
    fn pickup_location(&self) -> Option<String> {
        if self.shipping_address.is_some() {
            return None;
        }
        self.shipping_lines.iter().filter(|line| !line.is_removed.is_true()).find_map(|line| line.title.owned_text())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tellonce_core::contact::PhoneError;

    use super::*;
    use crate::{
        samples::{expect_event, parse_as},
        senders::shopify::tests::{changed_sample, expect_skip_code, skip_code_of_changed},
    };

    #[test]
    fn a_cancelled_order_yields_no_other_event() {
        let cancelled = json!({"cancelled_at": "2026-11-18T12:00:00+02:00"});
        for topic in ["orders/create", "orders/paid", "orders/fulfilled"] {
            assert_eq!(skip_code_of_changed(topic, "orders_fulfilled", &cancelled), "stale-transition", "{topic}");
        }
    }

    #[test]
    fn a_topic_that_the_signed_body_contradicts_yields_no_event() {
        for (case, fits) in [
            ("orders_create", &["orders/create"][..]),
            ("orders_create.pickup", &["orders/create", "orders/paid"]),
            ("orders_paid", &["orders/create", "orders/paid"]),
            ("orders_cancelled", &["orders/cancelled"]),
            ("orders_fulfilled", &["orders/create", "orders/paid", "orders/partially_fulfilled", "orders/fulfilled"]),
        ] {
            for topic in
                ["orders/create", "orders/paid", "orders/partially_fulfilled", "orders/fulfilled", "orders/cancelled"]
            {
                match parse_as("shop", Some(topic), changed_sample(case, &json!({}))) {
                    ParsedOrder::Skipped(reason) if !fits.contains(&topic) => {
                        let code = reason.code();
                        assert!(
                            matches!(code, "topic-contradicts-body" | "stale-transition"),
                            "{case} {topic}: {code}"
                        );
                    }
                    ParsedOrder::Event(_) | ParsedOrder::Suppressed(..) if fits.contains(&topic) => {}
                    other => panic!("{case} {topic}: {other:?}"),
                }
            }
        }
        // A subscription that leaves the member out cannot be checked.
        let without = json!({"financial_status": null});
        assert_eq!(skip_code_of_changed("orders/paid", "orders_paid", &without), "topic-contradicts-body");
    }

    #[test]
    fn withheld_personal_data_is_distinguished_from_a_customer_without_a_number() {
        let without_numbers = json!({
            "phone": null,
            "shipping_address": {"country_code": "IL", "phone": null},
            "billing_address": {"country_code": "IL"},
        });
        let left_none =
            expect_event(parse_as("shop", Some("orders/create"), changed_sample("orders_create", &without_numbers)));
        assert_eq!(left_none.contact.require_phone(), Err(OrderSkipReason::NoPhone));

        let mut withheld = without_numbers;
        for (name, value) in [
            ("email", Value::Null),
            ("contact_email", Value::Null),
            ("customer", json!({"id": 1, "first_name": null, "last_name": null, "email": null, "phone": null})),
        ] {
            withheld[name] = value;
        }
        let withheld =
            expect_event(parse_as("shop", Some("orders/create"), changed_sample("orders_create", &withheld)));
        assert_eq!(withheld.contact.require_phone(), Err(OrderSkipReason::PersonalDataRedacted));
    }

    #[test]
    fn the_next_number_is_tried_if_one_is_unusable() {
        let shipping = json!({"shipping_address": {"phone": "555-555-SHIP", "country_code": "US"}});
        let billed = expect_event(parse_as("shop", Some("orders/create"), changed_sample("orders_create", &shipping)));
        assert_eq!(billed.contact.require_phone().unwrap().expose(), "+972545550199");

        let neither = json!({"shipping_address": {"phone": "555-555-SHIP", "country_code": "US"}, "billing_address": {"phone": "*2700"}});
        let neither = expect_event(parse_as("shop", Some("orders/create"), changed_sample("orders_create", &neither)));
        assert_eq!(neither.contact.require_phone(), Err(OrderSkipReason::PhoneUnusable(PhoneError::Letters)));
    }

    #[test]
    fn a_number_is_parsed_for_the_country_of_its_address() {
        let abroad = json!({"shipping_address": {"phone": "(202) 555-0123", "country_code": "US"}});
        let abroad = expect_event(parse_as("shop", Some("orders/create"), changed_sample("orders_create", &abroad)));
        assert_eq!(abroad.contact.require_phone().unwrap().expose(), "+12025550123");
    }

    #[test]
    fn the_total_is_in_the_currency_that_the_customer_paid() {
        let paid = json!({"total_price_set": {
            "shop_money": {"amount": "118.00", "currency_code": "ILS"},
            "presentment_money": {"amount": "31.40", "currency_code": "USD"},
        }});
        let paid = expect_event(parse_as("shop", Some("orders/paid"), changed_sample("orders_paid", &paid)));
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
        let shipped = expect_event(parse_as(
            "shop",
            Some("orders/partially_fulfilled"),
            changed_sample("orders_fulfilled", &parcels),
        ));
        assert_eq!(shipped.milestone, Milestone::Shipped);
        assert_eq!((shipped.parcel.as_deref(), shipped.instance.as_deref()), (Some("3"), Some("3")));
        assert_eq!(shipped.values["tracking_url"], "https://track.example/3");
    }

    #[test]
    fn a_picked_up_order_is_recorded_and_not_sent() {
        let picked_up = changed_sample(
            "orders_create.pickup",
            &json!({"fulfillments": [{"id": 9, "status": "success"}], "fulfillment_status": "fulfilled"}),
        );
        match parse_as("shop", Some("orders/fulfilled"), &picked_up) {
            ParsedOrder::Suppressed(event, OrderSkipReason::PickupFulfilled) => {
                assert_eq!(event.milestone, Milestone::Delivered);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            expect_skip_code(parse_as("shop", Some("orders/partially_fulfilled"), &picked_up)),
            "pickup-fulfilled"
        );
        let download = json!({"shipping_lines": [], "fulfillments": [{"id": 9, "status": "success"}], "fulfillment_status": "fulfilled"});
        assert_eq!(skip_code_of_changed("orders/fulfilled", "orders_create.pickup", &download), "nothing-to-ship");
        let gift_card = json!({"fulfillments": [{"id": 9, "line_items": [{"requires_shipping": false}]}]});
        assert_eq!(skip_code_of_changed("orders/fulfilled", "orders_fulfilled", &gift_card), "nothing-to-ship");
    }
}
