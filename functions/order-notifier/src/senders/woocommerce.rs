//! `WooCommerce`: an order as its REST API shows it. The client's configuration maps its statuses
//! to milestones.
//!
//! Core has neither a "shipped" nor a "ready" status, so the client chooses the milestone of each
//! status. A delivery shows the order when the delivery was *created*, not the change: the same
//! status arrives with every later edit, and a status that lasted a second may never arrive. The
//! ledger's key ensures that each milestone's message is sent once.
//!
//! Shape: `WooCommerce` REST API v1 to v3, orders; `class-wc-webhook.php` for the topics. Tracking
//! comes from the plugins around `_wc_shipment_tracking_items` and not from core. The language is
//! WPML's.
//!
//! Long because each rule of what an order's status proves has its cases below.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use tellonce_core::{
    client_config::{Milestone, WooCommerceStore},
    contact::{PhoneCandidate, build_full_name},
    json::{self, JsonError, RawJson},
    telemetry::LogLabel,
};

use crate::{
    amount::Amount,
    order_event::{CustomerContact, EventValues, OrderDelivery, OrderEvent, ParsedOrder},
    order_outcome::OrderSkipReason,
};

/// Parses a delivery by its topic (`X-WC-Webhook-Topic`).
pub(crate) fn parse_delivery(
    delivery: &OrderDelivery<'_>,
    store: &WooCommerceStore,
) -> Result<ParsedOrder, OrderSkipReason> {
    match delivery.topic {
        Some("order.created" | "order.updated" | "order.restored") => parse_order(delivery, store),
        Some("order.deleted") => Err(OrderSkipReason::Deleted),
        Some(action) if action.starts_with("action.") => Err(OrderSkipReason::ActionHook),
        Some(other) => Err(OrderSkipReason::UnknownTopic(LogLabel::new(other))),
        // `WooCommerce` sends this when the webhook is saved, without its usual headers.
        None if delivery.body.starts_with(b"webhook_id=") => Err(OrderSkipReason::Ping),
        None => Err(OrderSkipReason::NotUnderstood(JsonError::NoTopic)),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WooOrder<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    parent_id: RawJson<'a>,
    number: RawJson<'a>,
    order_key: RawJson<'a>,
    billing_period: RawJson<'a>,
    status: RawJson<'a>,
    currency: RawJson<'a>,
    total: RawJson<'a>,
    date_created_gmt: RawJson<'a>,
    date_modified_gmt: RawJson<'a>,
    payment_method: RawJson<'a>,
    #[serde(deserialize_with = "deserialize_given")]
    date_paid: Option<RawJson<'a>>,
    #[serde(deserialize_with = "deserialize_given")]
    date_paid_gmt: Option<RawJson<'a>>,
    date_completed_gmt: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    billing: Option<WooAddress<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    shipping: Option<WooAddress<'a>>,
    #[serde(deserialize_with = "deserialize_given_list")]
    shipping_lines: Option<Vec<WooShippingLine<'a>>>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    meta_data: Vec<WooMeta<'a>>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    refunds: Vec<WooRefund<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WooAddress<'a> {
    #[serde(borrow)]
    first_name: RawJson<'a>,
    last_name: RawJson<'a>,
    #[serde(deserialize_with = "deserialize_given")]
    address_1: Option<RawJson<'a>>,
    address_2: RawJson<'a>,
    city: RawJson<'a>,
    postcode: RawJson<'a>,
    phone: RawJson<'a>,
    country: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WooShippingLine<'a> {
    #[serde(borrow)]
    method_id: RawJson<'a>,
    method_title: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    meta_data: Vec<WooMeta<'a>>,
    /// Whether the client says that its method is a pickup.
    #[serde(skip)]
    is_configured_pickup: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WooMeta<'a> {
    #[serde(borrow)]
    key: RawJson<'a>,
    value: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WooRefund<'a> {
    #[serde(borrow)]
    total: RawJson<'a>,
}

/// One parcel in `_wc_shipment_tracking_items`. If the plugin knows the provider, the data contains
/// no link.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WooTrackingItem<'a> {
    #[serde(borrow)]
    tracking_provider: RawJson<'a>,
    custom_tracking_provider: RawJson<'a>,
    custom_tracking_link: RawJson<'a>,
    tracking_number: RawJson<'a>,
}

/// An order that was placed longer ago leads to a message only if the milestone has a time of its
/// own.
const MAX_ORDER_AGE: SignedDuration = SignedDuration::from_hours(60 * 24);

fn parse_order(delivery: &OrderDelivery<'_>, store: &WooCommerceStore) -> Result<ParsedOrder, OrderSkipReason> {
    let mut order: WooOrder<'_> = delivery.parse_body()?;
    order.mark_configured_pickups(&store.pickup_methods);
    let order_id = order.id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/id"))?;
    if let Some(parent) = order.parent() {
        return Err(OrderSkipReason::PartOfOrder(LogLabel::new(&parent)));
    }
    let status = order.status.text().ok_or_else(|| OrderSkipReason::missing_field("/status"))?;
    order.check_shape()?;
    let slug = status.strip_prefix("wc-").unwrap_or(&status);
    let milestone = find_milestone(slug, &store.statuses)?;
    let is_core = CORE_STATUSES.contains(&slug);
    if milestone == Milestone::Paid && is_core && order.is_unpaid() {
        return Err(OrderSkipReason::NotPaid);
    }
    // The milestone's own time if the order stores one, else the time of the change that caused
    // this delivery.
    let own_time = match (milestone, slug) {
        (Milestone::Paid, _) => order.date_paid_gmt.and_then(event_date),
        (_, "completed") => order.date_completed_gmt.as_utc_time(),
        _ => None,
    };
    // Every edit moves the time of change. An old, cancelled order that a plugin or an import edits
    // reached its status before tellonce ran, so its customer needs no message.
    let is_old =
        order.date_created_gmt.as_utc_time().is_some_and(|placed| placed < delivery.received_at - MAX_ORDER_AGE);
    if own_time.is_none() && is_old {
        return Err(OrderSkipReason::OldOrder);
    }
    let mut values = order.build_values();
    if milestone == Milestone::Refunded
        && let Some(refunded) = order.refunded_amount()
    {
        values.insert("refund_amount".to_owned(), refunded);
    }
    let event = Box::new(OrderEvent {
        milestone,
        order_number: order.number.owned_text().or_else(|| Some(order_id.clone())),
        order_id,
        parcel: None,
        instance: None,
        occurred_at: delivery.event_time(own_time.or_else(|| order.date_modified_gmt.as_utc_time())),
        contact: order.build_contact(delivery),
        values,
        is_repeated_by_changes: false,
    });
    // A status that the shop made for its parcels says itself that one is on its way.
    judge_transport(event, if is_core { order.find_transport() } else { Transport::Carrier })
}

/// The event, unless it reports a parcel that no carrier brings.
fn judge_transport(event: Box<OrderEvent>, transport: Transport) -> Result<ParsedOrder, OrderSkipReason> {
    match (event.milestone, transport) {
        (Milestone::Shipped | Milestone::OutForDelivery, Transport::Nothing) => Err(OrderSkipReason::NothingToShip),
        // The customer takes the order, so "on its way" was never true. A "ready" message must not
        // follow.
        (Milestone::Shipped | Milestone::OutForDelivery, Transport::Pickup) => {
            let event = Box::new(OrderEvent { milestone: Milestone::Delivered, ..*event });
            Ok(ParsedOrder::Suppressed(event, OrderSkipReason::PickupFulfilled))
        }
        _ => Ok(ParsedOrder::Event(event)),
    }
}

/// The milestone of a status.
fn find_milestone(slug: &str, statuses: &BTreeMap<String, Milestone>) -> Result<Milestone, OrderSkipReason> {
    match (statuses.get(slug), slug) {
        (Some(milestone), _) => Ok(*milestone),
        (None, "checkout-draft" | "auto-draft") => Err(OrderSkipReason::Draft),
        (None, "trash") => Err(OrderSkipReason::Deleted),
        (None, other) => Err(OrderSkipReason::StatusNotMapped(LogLabel::new(other))),
    }
}

/// The statuses of `WooCommerce` itself that a shop may map to "paid" or "shipped". It sets them
/// for downloads, for pickups and for orders without a payment, too. A status of the shop's own
/// means what its mapping says.
const CORE_STATUSES: [&str; 4] = ["pending", "on-hold", "processing", "completed"];

/// How an order comes to its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// A carrier brings it, or the body does not say.
    Carrier,
    /// The customer picks it up.
    Pickup,
    /// It has nothing to ship: downloads, services, vouchers.
    Nothing,
}

/// Words in the ids of methods by which the customer fetches the order at the shop, without spaces
/// and signs. The first two are those of core, the others of plugins.
const PICKUP_WORDS: [&str; 23] = [
    "localpickup",
    "pickuplocation",
    "locationpickup",
    "storepickup",
    "pickupstore",
    "pickupinstore",
    "pickupatstore",
    "pickupfromstore",
    "shoppickup",
    "pickupshop",
    "pickupinshop",
    "branchpickup",
    "pickupbranch",
    "warehousepickup",
    "selfpickup",
    "customerpickup",
    "clickcollect",
    "clickandcollect",
    "clickncollect",
    "collectinstore",
    "collectatstore",
    "collectfromstore",
    "storecollect",
];
/// Words in the ids of methods by which a carrier brings the order to a place near the customer.
const CARRIER_WORDS: [&str; 8] = ["point", "locker", "parcel", "courier", "carrier", "deliver", "station", "relay"];
/// Carriers whose name may stand before `pickup_location`.
const CARRIERS: [&str; 16] = [
    "boxit",
    "bpost",
    "dhl",
    "dpd",
    "evri",
    "fedex",
    "gls",
    "hermes",
    "inpost",
    "mondial",
    "omniva",
    "packeta",
    "postnl",
    "postnord",
    "ups",
    "zasilkovna",
];

/// Whether the customer fetches an order of this method. Each plugin has ids of its own, so the
/// words of the id decide. An instance's number may follow.
fn is_pickup_method(method: &str) -> bool {
    let name = method.split_once(':').map_or(method, |(name, _)| name).to_ascii_lowercase();
    let words = || name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let joined: String = words().collect();
    let is_pickup = joined == "pickup" || PICKUP_WORDS.iter().any(|known| joined.contains(known));
    let is_brought =
        CARRIER_WORDS.iter().any(|known| joined.contains(known)) || words().any(|word| CARRIERS.contains(&word));
    is_pickup && !is_brought
}

/// The earliest time that is a date. PHP writes an empty one as one of year 0 or before.
const FIRST_DATE: Timestamp = Timestamp::constant(946_684_800, 0); // 2000-01-01

/// The time of a date, which may also be PHP's own form of one (`{"date":…,"timezone":…}`). `None`
/// for a date that is empty, however a plugin writes that.
fn event_date(date: RawJson<'_>) -> Option<Timestamp> {
    let at = date.as_utc_time().or_else(|| date.at_pointer("/date").as_utc_time());
    at.filter(|at| *at >= FIRST_DATE)
}

/// Methods whose order waits for its money when it is placed. Source: the gateways of core.
const LATER_PAYMENTS: [&str; 3] = ["cod", "bacs", "cheque"];

/// A value, also null, that is `None` if its member is missing.
fn deserialize_given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawJson<'de>>, D::Error> {
    RawJson::deserialize(deserializer).map(Some)
}

/// A list that is `None` if its member is missing.
fn deserialize_given_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    json::deserialize_list_or_null(deserializer).map(Some)
}

impl WooOrder<'_> {
    /// Checks that the body is an order. `WooCommerce` signs the body and not the topic, so a copy
    /// of a signed body could name any topic. Products and coupons have a status and no customer.
    /// A subscription of the plugin of that name is an order with a period.
    fn check_shape(&self) -> Result<(), OrderSkipReason> {
        if self.billing_period.is_present() {
            return Err(OrderSkipReason::TopicContradictsBody("billing_period"));
        }
        if self.billing.is_none() && !self.order_key.is_present() {
            return Err(OrderSkipReason::TopicContradictsBody("billing"));
        }
        Ok(())
    }

    /// The order that this order is a part of. Marketplaces make one order for the customer and one
    /// below it for each vendor. The customer knows only the first.
    fn parent(&self) -> Option<Cow<'_, str>> {
        self.parent_id.text().filter(|parent| !matches!(&**parent, "0" | "false"))
    }

    /// Whether the body of an order with a core status says that it is not paid. `WooCommerce` sets
    /// the date with `processing` or `completed`: for cash on delivery at completion, for a bank
    /// transfer when the shop confirms it. A body without the member proves nothing, except for
    /// the methods that are paid later.
    fn is_unpaid(&self) -> bool {
        let has_date =
            [self.date_paid, self.date_paid_gmt].into_iter().flatten().any(|date| event_date(date).is_some());
        let says_date = self.date_paid.is_some() || self.date_paid_gmt.is_some();
        let is_paid_later = self.payment_method.text().is_some_and(|method| LATER_PAYMENTS.contains(&&*method));
        !has_date && (says_date || is_paid_later)
    }

    /// Marks the lines whose method the client calls a pickup, with an instance or without.
    fn mark_configured_pickups(&mut self, methods: &[String]) {
        for line in self.shipping_lines.iter_mut().flatten() {
            let written = line.method_id.text().unwrap_or_default();
            let name = written.split_once(':').map_or(&*written, |(name, _)| name);
            line.is_configured_pickup = methods.iter().any(|method| *method == *written || *method == name);
        }
    }

    /// How the order comes to its customer. The checkout gives an order with something to ship a
    /// shipping line and an address. An order that staff or another program made, or of a shop
    /// without shipping methods, has only the address. An abbreviated body, without the lines or
    /// the address, proves nothing.
    fn find_transport(&self) -> Transport {
        let is_pickup = |line: &WooShippingLine<'_>| line.is_pickup();
        let has_no_address = self.shipping.as_ref().is_some_and(WooAddress::is_empty);
        match self.shipping_lines.as_deref() {
            _ if self.is_tracked() => Transport::Carrier,
            Some([]) if has_no_address => Transport::Nothing,
            Some(lines) if !lines.is_empty() && lines.iter().all(is_pickup) => Transport::Pickup,
            _ => Transport::Carrier,
        }
    }

    /// The newest parcel of the tracking plugins.
    fn find_tracking(&self) -> WooTrackingItem<'_> {
        let items = find_meta(&self.meta_data, "_wc_shipment_tracking_items").and_then(RawJson::php_list_elements);
        // The plugins append, so the last item is the newest.
        items.and_then(|items| items.last()?.deserialize_as()).unwrap_or_default()
    }

    fn is_tracked(&self) -> bool {
        let tracking = self.find_tracking();
        tracking.tracking_number.text().is_some() || tracking.custom_tracking_link.text().is_some()
    }

    fn build_contact(&self, delivery: &OrderDelivery<'_>) -> CustomerContact {
        let addresses = [self.billing.as_ref(), self.shipping.as_ref()].into_iter().flatten();
        let candidates =
            addresses.clone().map(|person| PhoneCandidate { phone: person.phone, country: person.country });
        let (phone, phone_problem) = delivery.first_usable_phone(candidates);
        let name = addresses.clone().find_map(WooAddress::customer_name);
        // The personal data eraser leaves this text.
        let erased = name.as_deref().is_some_and(|name| name.contains("[deleted]"));
        CustomerContact {
            redacted: erased && phone.is_none(),
            phone_problem: if erased { None } else { phone_problem },
            phone,
            name: name.filter(|_| !erased),
            locale: find_meta(&self.meta_data, "wpml_language").and_then(RawJson::owned_text),
        }
    }

    fn build_values(&self) -> EventValues {
        let tracking = self.find_tracking();
        let pickup = self.shipping_lines.iter().flatten().find(|line| line.is_pickup());
        let location = pickup.and_then(|line| {
            find_meta(&line.meta_data, "pickup_location")
                .and_then(RawJson::owned_text)
                .or_else(|| line.method_title.owned_text())
        });
        let address =
            pickup.and_then(|line| find_meta(&line.meta_data, "pickup_address")).and_then(RawJson::owned_text);
        let company =
            tracking.custom_tracking_provider.owned_text().or_else(|| tracking.tracking_provider.owned_text());
        [
            ("total", self.total.owned_text()),
            ("currency", self.currency.owned_text()),
            ("tracking_company", company.map(|text| decode_html(&text))),
            ("tracking_number", tracking.tracking_number.owned_text()),
            ("tracking_url", tracking.custom_tracking_link.owned_link()),
            ("pickup_location", location.map(|text| decode_html(&text))),
            ("pickup_address", address.map(|text| decode_html(&text))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// The sum of the refunds, which are stored as negative totals.
    fn refunded_amount(&self) -> Option<String> {
        let sum = self.refunds.iter().try_fold(Amount::default(), |sum, refund| {
            sum.checked_add(refund.total.text().and_then(|total| total.parse::<Amount>().ok())?.abs())
        });
        sum.filter(|sum| sum.is_positive()).map(|sum| sum.to_string())
    }
}

impl WooShippingLine<'_> {
    fn is_pickup(&self) -> bool {
        self.is_configured_pickup || self.method_id.text().is_some_and(|method| is_pickup_method(&method))
    }
}

impl WooAddress<'_> {
    /// Whether its lines are given and blank. Its country may be the shop's default.
    fn is_empty(&self) -> bool {
        let lines = [self.address_1.unwrap_or_default(), self.address_2, self.city, self.postcode];
        self.address_1.is_some() && lines.into_iter().all(|line| line.text().is_none())
    }

    fn customer_name(&self) -> Option<String> {
        build_full_name(self.first_name, self.last_name).map(|name| decode_html(&name)).filter(|name| !name.is_empty())
    }
}

/// The value of a meta key. Plugins append, so the last one counts.
fn find_meta<'a>(list: &[WooMeta<'a>], key: &str) -> Option<RawJson<'a>> {
    list.iter().rfind(|meta| meta.key.text().is_some_and(|name| name == key)).map(|meta| meta.value)
}

/// Decodes the HTML entities that `WordPress` stores.
fn decode_html(text: &str) -> String {
    match html_escape::decode_html_entities(text) {
        Cow::Borrowed(same) => same.trim().to_owned(),
        Cow::Owned(plain) => plain.trim().to_owned(),
    }
}

/// The id of the order that a delivery names. A hook (`action.…`) has none that can be relied on.
pub(crate) fn find_order_id(topic: &str, body: &[u8]) -> Option<String> {
    let names_order = topic.starts_with("order.");
    json::parse_object::<WooOrder<'_>>(body).ok().filter(|_| names_order)?.id.owned_text()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tellonce_core::contact::PhoneError;

    use super::*;
    use tellonce_core::client_config::{ClientConfig, StoreKind};

    use crate::samples::{expect_event, parse_as, parse_with, sample_config, sample_json};

    /// The sample client with further meanings of statuses.
    fn config_with_statuses(statuses: &[(&str, Milestone)]) -> ClientConfig {
        let mut config = sample_config();
        let StoreKind::WooCommerce(shop) = &mut config.stores.get_mut("woo").unwrap().kind else { panic!("no shop") };
        shop.statuses.extend(statuses.iter().map(|(status, milestone)| ((*status).to_owned(), *milestone)));
        config
    }

    fn changed_sample(case: &str, members: &Value) -> String {
        let mut body = sample_json("woocommerce", case);
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    }

    fn parse_changed(case: &str, members: &Value) -> ParsedOrder {
        parse_as("woo", Some("order.updated"), changed_sample(case, members))
    }

    fn expect_skip_code(parsed: ParsedOrder) -> &'static str {
        match parsed {
            ParsedOrder::Skipped(reason) => reason.code(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_signed_body_that_is_not_an_order_yields_no_event() {
        let subscription = changed_sample(
            "order_updated.cancelled",
            &json!({"billing_period": "month", "billing_interval": "1", "status": "cancelled"}),
        );
        let product = json!({"id": 7, "name": "Mug", "status": "completed", "price": "59"}).to_string();
        for (body, member) in [(subscription, "billing_period"), (product, "billing")] {
            for topic in ["order.created", "order.updated", "order.restored"] {
                match parse_as("woo", Some(topic), &body) {
                    ParsedOrder::Skipped(reason) => {
                        assert_eq!(reason, OrderSkipReason::TopicContradictsBody(member), "{topic}");
                    }
                    other => panic!("{topic}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn only_a_status_that_the_client_maps_is_a_milestone() {
        for (status, code) in [
            ("on-hold", "status-not-mapped"),
            ("checkout-draft", "draft"),
            ("auto-draft", "draft"),
            ("trash", "deleted"),
            ("x\u{202e}y", "status-not-mapped"),
        ] {
            assert_eq!(
                expect_skip_code(parse_changed("order_updated.on_hold", &json!({"status": status}))),
                code,
                "{status}"
            );
        }
        let prefixed = expect_event(parse_changed("order_updated.on_hold", &json!({"status": "wc-cancelled"})));
        assert_eq!(prefixed.milestone, Milestone::Cancelled);
    }

    #[test]
    fn topics_about_other_things_are_named_in_the_reason() {
        for (topic, code) in [
            (Some("order.deleted"), "deleted"),
            (Some("action.woocommerce_order_status_completed"), "action-hook"),
            (Some("product.updated"), "unknown-topic"),
            (Some("customer.created"), "unknown-topic"),
            (None, "not-understood"),
        ] {
            assert_eq!(expect_skip_code(parse_as("woo", topic, "{\"id\":7276}")), code, "{topic:?}");
        }
        assert_eq!(expect_skip_code(parse_as("woo", None, "webhook_id=7")), "ping");
    }

    #[test]
    fn a_milestone_uses_the_orders_own_time_for_it() {
        let paid = expect_event(parse_changed("order_created.processing", &json!({"status": "paid"})));
        assert_eq!(paid.occurred_at, "2026-11-18T08:20:11Z".parse().unwrap());
        let edited = json!({"date_modified_gmt": "2026-11-20T07:00:00"});
        let completed = expect_event(parse_changed("order_updated.completed_tracking", &edited));
        assert_eq!(
            completed.occurred_at,
            "2026-11-19T07:31:00Z".parse().unwrap(),
            "a later edit does not change the time"
        );
    }

    #[test]
    fn an_order_with_a_core_status_is_paid_only_with_a_date_of_payment() {
        let core = ["pending", "on-hold", "processing", "completed"];
        let config = config_with_statuses(&core.map(|status| (status, Milestone::Paid)));
        let parse = |body: String| parse_with(&config, "woo", Some("order.updated"), body);
        let date = "2026-11-18T08:20:11";
        for status in core {
            let parse = |members: &Value| {
                let mut members = members.clone();
                members["status"] = json!(status);
                parse(changed_sample("order_created.processing", &members))
            };
            for (date_paid, date_paid_gmt) in [(json!(null), json!(date)), (json!(date), json!(null))] {
                let paid = expect_event(parse(&json!({"date_paid": date_paid, "date_paid_gmt": date_paid_gmt})));
                assert_eq!(paid.milestone, Milestone::Paid, "{status}");
            }
            for unpaid in [
                json!({"date_paid": null, "date_paid_gmt": null}),
                json!({"date_paid": "", "date_paid_gmt": null, "payment_method": "bacs"}),
            ] {
                assert_eq!(expect_skip_code(parse(&unpaid)), "not-paid", "{status}");
            }
        }
        // An abbreviated body has no date at all.
        let abbreviated = |method: &str| {
            let billing = json!({"phone": "0545550199"});
            json!({"id": 7, "status": "processing", "payment_method": method, "billing": billing}).to_string()
        };
        assert_eq!(expect_event(parse(abbreviated("stripe"))).milestone, Milestone::Paid);
        assert_eq!(expect_skip_code(parse(abbreviated("cod"))), "not-paid");
    }

    #[test]
    fn a_status_of_the_shops_own_means_paid_without_a_date() {
        let config = config_with_statuses(&[("bit-paid", Milestone::Paid)]);
        for status in ["paid", "wc-paid", "bit-paid"] {
            for method in ["cod", "bacs", "stripe"] {
                let unset =
                    json!({"status": status, "date_paid": null, "date_paid_gmt": null, "payment_method": method});
                let body = changed_sample("order_created.processing", &unset);
                let paid = expect_event(parse_with(&config, "woo", Some("order.updated"), body));
                assert_eq!(paid.milestone, Milestone::Paid, "{status} {method}");
                assert_eq!(paid.occurred_at, "2026-11-18T08:20:15Z".parse().unwrap(), "the time of the change");
            }
        }
    }

    #[test]
    fn an_order_is_on_its_way_only_if_a_carrier_brings_it() {
        let config = config_with_statuses(&[("on-the-way", Milestone::Shipped)]);
        let parse = |members: &Value| {
            parse_with(&config, "woo", Some("order.updated"), changed_sample("order_updated.on_hold", members))
        };
        let code = |members: &Value| match parse(members) {
            ParsedOrder::Event(event) => event.milestone.name().to_owned(),
            ParsedOrder::Suppressed(event, reason) => format!("{} {}", event.milestone.name(), reason.code()),
            ParsedOrder::Skipped(reason) => reason.code().to_owned(),
            other @ ParsedOrder::NeedsLookup(_) => panic!("{other:?}"),
        };
        let line = |method: &str| json!({"method_id": method, "method_title": "x", "meta_data": []});
        let empty = json!({"first_name": "", "address_1": "", "city": "", "country": ""});
        let tracked = json!([{"key": "_wc_shipment_tracking_items", "value": [{"tracking_number": "T1"}]}]);
        for (lines, meta, expected) in [
            (json!([line("flat_rate")]), json!([]), "shipped"),
            (json!([line("local_pickup")]), json!([]), "delivered pickup-fulfilled"),
            (json!([line("local_pickup:3")]), json!([]), "delivered pickup-fulfilled"),
            (json!([line("pickup_location"), line("local_pickup_plus")]), json!([]), "delivered pickup-fulfilled"),
            (json!([line("local_pickup"), line("flat_rate")]), json!([]), "shipped"),
            (json!([line("local_pickup_points")]), json!([]), "shipped"),
            (json!([line("local_pickup")]), tracked.clone(), "shipped"),
            (json!([]), json!([]), "nothing-to-ship"),
            (json!({}), json!([]), "nothing-to-ship"),
            (json!([]), tracked, "shipped"),
        ] {
            let members = json!({"status": "completed", "shipping_lines": lines, "meta_data": meta, "shipping": empty});
            assert_eq!(code(&members), expected, "{members}");
        }
        // Staff, another program, or a shop without shipping methods: an address and no line.
        for address in [
            json!({"address_1": "7 Invented St", "city": "Haifa", "country": "IL"}),
            json!({"address_1": "", "address_2": "Kibbutz Invented", "city": "", "postcode": "", "country": "IL"}),
            json!({"address_1": " ", "city": "Haifa", "country": "IL"}),
            json!({"address_1": null, "postcode": "3303110"}),
        ] {
            let members = json!({"status": "completed", "shipping_lines": [], "shipping": address});
            assert_eq!(code(&members), "shipped", "{members}");
        }
        let only_country = json!({"address_1": "", "city": " ", "postcode": null, "country": "IL"});
        let members = json!({"status": "completed", "shipping_lines": [], "shipping": only_country});
        assert_eq!(code(&members), "nothing-to-ship");
        // A status of the shop's own says that a parcel is on its way.
        for lines in [json!([]), json!([line("local_pickup")])] {
            let members = json!({"status": "on-the-way", "shipping_lines": lines, "shipping": empty});
            assert_eq!(code(&members), "shipped", "{members}");
        }
        // An abbreviated body proves nothing.
        let abbreviated = json!({"status": "completed", "shipping_lines": [], "shipping": {"country": "IL"}});
        assert_eq!(code(&abbreviated), "shipped");
        // A shop may map the status of a finished pickup itself.
        let ready = json!({"status": "ready-for-pickup", "shipping_lines": [line("local_pickup")]});
        assert_eq!(code(&ready), "ready");
    }

    #[test]
    fn a_date_of_payment_that_is_none_means_unpaid() {
        let is_unpaid = |members: &Value| {
            let body = changed_sample("order_created.processing", members);
            json::parse_object::<WooOrder<'_>>(body.as_bytes()).unwrap().is_unpaid()
        };
        let date = json!("2026-11-18T08:20:11");
        for none in [
            json!(null),
            json!(""),
            json!(false),
            json!(0),
            json!("0"),
            json!("null"),
            json!("0000-00-00T00:00:00"),
            json!("0000-00-00 00:00:00"),
            json!("-0001-11-30T00:00:00"),
            json!("-000001-11-30T00:00:00"),
            json!("1970-01-01T00:00:00"),
            json!({"date": "-0001-11-30 00:00:00.000000", "timezone": "UTC"}),
            json!([]),
        ] {
            let dates = |one: &Value, other: &Value| json!({"date_paid": one, "date_paid_gmt": other});
            assert!(is_unpaid(&dates(&none, &none)), "{none}");
            assert!(!is_unpaid(&dates(&date, &none)) && !is_unpaid(&dates(&none, &date)), "{none}");
        }
        let php = json!({"date": "2026-11-18 08:20:11.000000", "timezone_type": 3, "timezone": "UTC"});
        assert!(!is_unpaid(&json!({"date_paid": php, "date_paid_gmt": null})));
        for (method, is_later) in [("cod", true), ("bacs", true), ("cheque", true), ("stripe", false)] {
            let body = json!({"id": 7, "payment_method": method}).to_string();
            let order: WooOrder<'_> = json::parse_object(body.as_bytes()).unwrap();
            assert_eq!(order.is_unpaid(), is_later, "{method}: an abbreviated body has no date at all");
        }
    }

    #[test]
    fn the_words_of_a_method_tell_a_pickup_at_the_shop_from_one_at_a_carriers_point() {
        for method in [
            "local_pickup",
            "local_pickup:3",
            "local-pickup",
            "legacy_local_pickup",
            "blocks_local_pickup",
            "local_pickup_plus",
            "wc_local_pickup_plus",
            "jem_local_pickup",
            "LocalPickup",
            "pickup",
            "pick_up_in_store",
            "pickup_location:0",
            "wc_pickup_store",
            "woocommerce_store_pickup",
            "store_pickup",
            "in_store_pickup",
            "click_and_collect",
            "click-collect",
            "collect_in_store",
            "self_pickup",
        ] {
            assert!(is_pickup_method(method), "{method}");
        }
        for method in [
            "",
            "flat_rate",
            "free_shipping",
            "local_delivery",
            "store_delivery",
            "pickup_point",
            "inpost_pickup_point",
            "local_pickup_points",
            "packeta_pickup",
            "packeta_pickup_location",
            "ups_pickup_location",
            "dhl_pickup",
            "parcel_locker",
            "pickup_locker",
            "pickup_delivery_courier",
            "pickup_station",
            "collection_by_courier",
            "wbs:pickup",
        ] {
            assert!(!is_pickup_method(method), "{method}");
        }
    }

    #[test]
    fn a_method_that_the_client_names_is_a_pickup() {
        let lines = json!([{"method_id": "acme_counter:4", "method_title": "Counter", "meta_data": []}]);
        let body = changed_sample("order_updated.on_hold", &json!({"status": "completed", "shipping_lines": lines}));
        let mut order: WooOrder<'_> = json::parse_object(body.as_bytes()).unwrap();
        for (methods, transport) in [
            (&["acme_counter"][..], Transport::Pickup),
            (&["other", "acme_counter:4"], Transport::Pickup),
            (&["acme_counter:5"], Transport::Carrier),
            (&["acme"], Transport::Carrier),
            (&[], Transport::Carrier),
        ] {
            order.mark_configured_pickups(&methods.iter().map(|method| (*method).to_owned()).collect::<Vec<_>>());
            assert_eq!(order.find_transport(), transport, "{methods:?}");
        }
    }

    #[test]
    fn a_part_of_an_order_is_recorded_only() {
        for (parent, is_part) in [
            (json!(92010), true),
            (json!("92010"), true),
            (json!(0), false),
            (json!("0"), false),
            (json!(null), false),
            (json!(false), false),
            (json!(""), false),
        ] {
            let parsed = parse_changed("order_created.processing", &json!({"parent_id": parent}));
            if is_part {
                assert_eq!(expect_skip_code(parsed), "part-of-order", "{parent}");
            } else {
                let event = expect_event(parsed);
                assert_eq!((event.milestone, &*event.order_id), (Milestone::Received, "7271"), "{parent}");
            }
        }
        // A refund is a part of its order, and has no status.
        let refund = json!({"id": 93000, "parent_id": 92010, "amount": "10.00", "reason": "", "refunded_by": 1});
        assert_eq!(expect_skip_code(parse_as("woo", Some("order.updated"), refund.to_string())), "part-of-order");
    }

    #[test]
    fn html_entities_in_text_are_decoded() {
        let escaped = json!({"billing": {"first_name": "D&#039;Arcy", "last_name": "Cohen &amp; Sons", "phone": "052-555-0101", "country": "IL"}});
        let person = expect_event(parse_changed("order_created.processing", &escaped));
        assert_eq!(person.contact.name.as_deref(), Some("D'Arcy Cohen & Sons"));
    }

    #[test]
    fn the_shipping_number_is_used_only_if_no_other_number_is_usable() {
        let shipping = json!({
            "billing": {"first_name": "", "last_name": "", "phone": "03-5550123", "country": "IL"},
            "shipping": {"first_name": "Omer", "last_name": "", "phone": "(202) 555-0123", "country": "US"},
        });
        let contact = expect_event(parse_changed("order_created.processing", &shipping)).contact;
        assert_eq!(contact.require_phone().unwrap().expose(), "+12025550123");
        assert_eq!(contact.name.as_deref(), Some("Omer"));
        let landline = json!({"billing": {"phone": "03-5550123", "country": "IL"}, "shipping": []});
        let contact = expect_event(parse_changed("order_created.processing", &landline)).contact;
        assert_eq!(contact.require_phone(), Err(OrderSkipReason::PhoneUnusable(PhoneError::NotMobile)));
    }

    #[test]
    fn an_erased_customer_has_no_name_and_no_phone() {
        let erased = json!({"billing": {"first_name": "[deleted]", "last_name": "[deleted]", "phone": "0000000000"}, "shipping": []});
        let contact = expect_event(parse_changed("order_created.processing", &erased)).contact;
        assert_eq!(
            (contact.name.as_deref(), contact.require_phone()),
            (None, Err(OrderSkipReason::PersonalDataRedacted))
        );
    }

    #[test]
    fn several_refunds_are_one_sum() {
        let refunds = json!({"refunds": [{"total": "-100.00"}, {"total": "-49.9"}]});
        assert_eq!(expect_event(parse_changed("order_updated.refunded", &refunds)).values["refund_amount"], "149.90");
        for none in [json!({"refunds": []}), json!({"refunds": [{"total": "x"}]}), json!({"refunds": null})] {
            assert!(!expect_event(parse_changed("order_updated.refunded", &none)).values.contains_key("refund_amount"));
        }
    }

    #[test]
    fn plugin_data_of_unexpected_shape_is_ignored() {
        let meta = json!({"meta_data": [
            {"key": "wpml_language", "value": "he"},
            {"key": "_wc_shipment_tracking_items", "value": [
                {"tracking_number": "OLD"},
                {"tracking_provider": "israel-post", "tracking_number": 12_345_678_901_u64, "custom_tracking_link": "http://insecure.example/"},
            ]},
        ]});
        let tracked = expect_event(parse_changed("order_updated.completed_tracking", &meta));
        assert_eq!(tracked.contact.locale.as_deref(), Some("he"));
        assert_eq!(tracked.values["tracking_number"], "12345678901");
        assert_eq!(tracked.values["tracking_company"], "israel-post");
        assert!(!tracked.values.contains_key("tracking_url"));
        for odd in [json!("a:1:{}"), json!(null), json!({"0": {}}), json!({"x": {"tracking_number": "T"}}), json!([])] {
            let meta = json!({"meta_data": [{"key": "_wc_shipment_tracking_items", "value": odd}, {"key": null}]});
            let values = expect_event(parse_changed("order_updated.completed_tracking", &meta)).values;
            assert!(!values.contains_key("tracking_number"));
        }
    }
}
