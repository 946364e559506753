//! Topics whose body is a whole order.

use jiff::Timestamp;
use serde::Deserialize;
use shared::{
    client_config::Milestone,
    contact::{Candidate, full_name},
    json::{self, Raw},
};

use super::{missing, parcel::Fulfillment, parse, put};
use crate::order_event::{Contact, Delivery, NothingBecause, OrderEvent, Reading, Values};

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
pub(super) struct Address<'a> {
    #[serde(borrow)]
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    name: Raw<'a>,
    pub(super) phone: Raw<'a>,
    pub(super) country_code: Raw<'a>,
}

impl Address<'_> {
    pub(super) fn person(&self) -> Option<String> {
        full_name(self.first_name, self.last_name).or_else(|| self.name.string())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShippingLine<'a> {
    #[serde(borrow)]
    title: Raw<'a>,
    is_removed: Raw<'a>,
}

/// An order topic that tells the order's own story.
///
/// The event's time: an order knows when it was created and when it was cancelled, but not when it was paid or
/// fulfilled; for those the body's last change is the best there is, because it is what made Shopify send it.
pub(super) fn told(delivery: &Delivery<'_>, milestone: Milestone) -> Result<Reading, NothingBecause> {
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
pub(super) enum Extent {
    Part,
    Whole,
}

/// An order of which something was fulfilled: shipped, unless nothing of it travels.
pub(super) fn shipped(delivery: &Delivery<'_>, extent: Extent) -> Result<Reading, NothingBecause> {
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
        let (phone, phone_problem) = delivery.first_usable([
            self.phone.into(),
            Candidate { phone: shipping.phone, country: shipping.country_code },
            Candidate {
                phone: customer.map(|customer| customer.phone).unwrap_or_default(),
                country: home.country_code,
            },
            Candidate { phone: billing.phone, country: billing.country_code },
            Candidate { phone: home.phone, country: home.country_code },
        ]);
        let name = customer
            .and_then(|customer| full_name(customer.first_name, customer.last_name))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::contact::PhoneError;

    use super::*;
    use crate::{
        samples::{event, read_as},
        shopify::tests::{changed, nothing, reason},
    };

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
}
