//! `WooCommerce`: an order as its REST API shows it, and its status as the shop's own configuration reads it.
//!
//! Core knows neither "shipped" nor "ready", so which status is which milestone is the client's choice. A delivery says
//! what the order is like when the delivery was *made*, not what changed: the same status arrives with every later edit,
//! and one that lasted a second may never arrive. The ledger's key is what tells each milestone once.
//!
//! Shape: `WooCommerce` REST API v1 to v3, orders; `class-wc-webhook.php` for the topics. Tracking is not core's but
//! that of the plugins around `_wc_shipment_tracking_items`; the language is WPML's.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::SignedDuration;
use serde::Deserialize;
use shared::{
    client_config::Milestone,
    contact::{Candidate, full_name},
    json::{self, Misread, Raw},
    observe::Label,
};

use crate::{
    amount::Amount,
    order_event::{Contact, Delivery, NothingBecause, OrderEvent, Reading, Values},
};

/// Reads a delivery by its topic (`X-WC-Webhook-Topic`). `statuses`: order status → milestone.
pub(crate) fn read(delivery: &Delivery<'_>, statuses: &BTreeMap<String, Milestone>) -> Result<Reading, NothingBecause> {
    match delivery.topic {
        Some("order.created" | "order.updated" | "order.restored") => order(delivery, statuses),
        Some("order.deleted") => Err(NothingBecause::Deleted),
        Some(action) if action.starts_with("action.") => Err(NothingBecause::ActionHook),
        Some(other) => Err(NothingBecause::UnknownTopic(Label::new(other))),
        // Sent when the webhook is saved, without any of its headers.
        None if delivery.body.starts_with(b"webhook_id=") => Err(NothingBecause::Ping),
        None => Err(NothingBecause::NotUnderstood(Misread::NoTopic)),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Order<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    number: Raw<'a>,
    status: Raw<'a>,
    currency: Raw<'a>,
    total: Raw<'a>,
    date_created_gmt: Raw<'a>,
    date_modified_gmt: Raw<'a>,
    date_paid_gmt: Raw<'a>,
    date_completed_gmt: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    billing: Option<Person<'a>>,
    #[serde(deserialize_with = "json::object")]
    shipping: Option<Person<'a>>,
    #[serde(deserialize_with = "json::list")]
    shipping_lines: Vec<ShippingLine<'a>>,
    #[serde(deserialize_with = "json::list")]
    meta_data: Vec<Meta<'a>>,
    #[serde(deserialize_with = "json::list")]
    refunds: Vec<Refund<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Person<'a> {
    #[serde(borrow)]
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    phone: Raw<'a>,
    country: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShippingLine<'a> {
    #[serde(borrow)]
    method_id: Raw<'a>,
    method_title: Raw<'a>,
    #[serde(deserialize_with = "json::list")]
    meta_data: Vec<Meta<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta<'a> {
    #[serde(borrow)]
    key: Raw<'a>,
    value: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refund<'a> {
    #[serde(borrow)]
    total: Raw<'a>,
}

/// One parcel in `_wc_shipment_tracking_items`. With a provider that the plugin knows there is no link in the data.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parcel<'a> {
    #[serde(borrow)]
    tracking_provider: Raw<'a>,
    custom_tracking_provider: Raw<'a>,
    custom_tracking_link: Raw<'a>,
    tracking_number: Raw<'a>,
}

/// An order placed longer ago than this is news only with a time of its own.
const TOO_OLD_FOR_NEWS: SignedDuration = SignedDuration::from_hours(60 * 24);

fn order(delivery: &Delivery<'_>, statuses: &BTreeMap<String, Milestone>) -> Result<Reading, NothingBecause> {
    let order: Order<'_> = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let missing = |pointer: &str| NothingBecause::NotUnderstood(Misread::Missing(pointer.into()));
    let order_id = order.id.string().ok_or_else(|| missing("/id"))?;
    let status = order.status.text().ok_or_else(|| missing("/status"))?;
    let slug = status.strip_prefix("wc-").unwrap_or(&status);
    let milestone = match (statuses.get(slug), slug) {
        (Some(milestone), _) => *milestone,
        (None, "checkout-draft" | "auto-draft") => return Err(NothingBecause::Draft),
        (None, "trash") => return Err(NothingBecause::Deleted),
        (None, other) => return Err(NothingBecause::StatusNotMapped(Label::new(other))),
    };
    // The milestone's own time where the order keeps one, else that of the change that made this delivery.
    let own = match (milestone, slug) {
        (Milestone::Paid, _) => order.date_paid_gmt.utc_time(),
        (_, "completed") => order.date_completed_gmt.utc_time(),
        _ => None,
    };
    // Any edit moves the time of change. An order that nobody has touched for months and that is cancelled by all means was
    // so before we came: a plugin's or an import's sweep over it is no news to its customer.
    let old = order.date_created_gmt.utc_time().is_some_and(|placed| placed < delivery.received_at - TOO_OLD_FOR_NEWS);
    if own.is_none() && old {
        return Err(NothingBecause::OldOrder);
    }
    let mut values = order.values();
    if milestone == Milestone::Refunded
        && let Some(refunded) = order.refunded()
    {
        values.insert("refund_amount".to_owned(), refunded);
    }
    Ok(Reading::Event(Box::new(OrderEvent {
        milestone,
        order_number: order.number.string().or_else(|| Some(order_id.clone())),
        order_id,
        thread: None,
        instance: None,
        occurred_at: delivery.happened(own.or_else(|| order.date_modified_gmt.utc_time())),
        contact: order.contact(delivery),
        values,
    })))
}

impl Order<'_> {
    fn contact(&self, delivery: &Delivery<'_>) -> Contact {
        let people = [self.billing.as_ref(), self.shipping.as_ref()].into_iter().flatten();
        let candidates = people.clone().map(|person| Candidate { phone: person.phone, country: person.country });
        let (phone, phone_problem) = delivery.first_usable(candidates);
        let name = people.clone().find_map(Person::name);
        // What the personal data eraser leaves behind.
        let erased = name.as_deref().is_some_and(|name| name.contains("[deleted]"));
        Contact {
            redacted: erased && phone.is_none(),
            phone_problem: if erased { None } else { phone_problem },
            phone,
            name: name.filter(|_| !erased),
            locale: meta(&self.meta_data, "wpml_language").and_then(Raw::string),
        }
    }

    fn values(&self) -> Values {
        let tracking = meta(&self.meta_data, "_wc_shipment_tracking_items")
            .and_then(Raw::as_shape::<Vec<Parcel<'_>>>)
            // The plugins append; the last is the newest.
            .and_then(|items| items.into_iter().next_back())
            .unwrap_or_default();
        let pickup = self.shipping_lines.iter().find(|line| {
            line.method_id.text().is_some_and(|method| matches!(&*method, "local_pickup" | "pickup_location"))
        });
        let place = pickup.and_then(|line| {
            meta(&line.meta_data, "pickup_location").and_then(Raw::string).or_else(|| line.method_title.string())
        });
        let address = pickup.and_then(|line| meta(&line.meta_data, "pickup_address")).and_then(Raw::string);
        let company = tracking.custom_tracking_provider.string().or_else(|| tracking.tracking_provider.string());
        [
            ("total", self.total.string()),
            ("currency", self.currency.string()),
            ("tracking_company", company.map(|text| decoded(&text))),
            ("tracking_number", tracking.tracking_number.string()),
            ("tracking_url", tracking.custom_tracking_link.link()),
            ("pickup_location", place.map(|text| decoded(&text))),
            ("pickup_address", address.map(|text| decoded(&text))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// Sum of the refunds, which are written as negative totals.
    fn refunded(&self) -> Option<String> {
        let sum = self.refunds.iter().try_fold(Amount::default(), |sum, refund| {
            sum.plus(refund.total.text().and_then(|total| total.parse::<Amount>().ok())?.abs())
        });
        sum.filter(|sum| sum.is_positive()).map(|sum| sum.to_string())
    }
}

impl Person<'_> {
    fn name(&self) -> Option<String> {
        full_name(self.first_name, self.last_name).map(|name| decoded(&name)).filter(|name| !name.is_empty())
    }
}

/// The value of a meta key; the last one, since plugins append.
fn meta<'a>(list: &[Meta<'a>], key: &str) -> Option<Raw<'a>> {
    list.iter().rfind(|meta| meta.key.text().is_some_and(|name| name == key)).map(|meta| meta.value)
}

/// Text without the HTML entities that `WordPress` stores.
fn decoded(text: &str) -> String {
    match html_escape::decode_html_entities(text) {
        Cow::Borrowed(same) => same.trim().to_owned(),
        Cow::Owned(plain) => plain.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::contact::PhoneError;

    use super::*;
    use crate::samples::{event, read_as, sample};

    fn changed(case: &str, members: &Value) -> String {
        let mut body = sample("woocommerce", case);
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    }

    fn read_changed(case: &str, members: &Value) -> Reading {
        read_as("woo", Some("order.updated"), changed(case, members))
    }

    fn reason(reading: Reading) -> &'static str {
        match reading {
            Reading::Nothing(reason) => reason.code(),
            other => panic!("{other:?}"),
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
            assert_eq!(reason(read_changed("order_updated.on_hold", &json!({"status": status}))), code, "{status}");
        }
        let prefixed = event(read_changed("order_updated.on_hold", &json!({"status": "wc-cancelled"})));
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
            assert_eq!(reason(read_as("woo", topic, "{\"id\":7276}")), code, "{topic:?}");
        }
        assert_eq!(reason(read_as("woo", None, "webhook_id=7")), "ping");
    }

    #[test]
    fn a_milestone_has_its_own_time_where_the_order_keeps_one() {
        let paid = event(read_changed("order_created.processing", &json!({"status": "paid"})));
        assert_eq!(paid.occurred_at, "2026-11-18T08:20:11Z".parse().unwrap());
        let edited = json!({"date_modified_gmt": "2026-11-20T07:00:00"});
        let completed = event(read_changed("order_updated.completed_tracking", &edited));
        assert_eq!(
            completed.occurred_at,
            "2026-11-19T07:31:00Z".parse().unwrap(),
            "a later edit doesn't make it newer"
        );
    }

    #[test]
    fn text_comes_without_its_html_entities() {
        let escaped = json!({"billing": {"first_name": "D&#039;Arcy", "last_name": "Cohen &amp; Sons", "phone": "052-555-0101", "country": "IL"}});
        let person = event(read_changed("order_created.processing", &escaped));
        assert_eq!(person.contact.name.as_deref(), Some("D'Arcy Cohen & Sons"));
    }

    #[test]
    fn who_ships_to_another_is_told_at_the_shipping_number_only_if_there_is_no_other() {
        let shipping = json!({
            "billing": {"first_name": "", "last_name": "", "phone": "03-5550123", "country": "IL"},
            "shipping": {"first_name": "Omer", "last_name": "", "phone": "(202) 555-0123", "country": "US"},
        });
        let contact = event(read_changed("order_created.processing", &shipping)).contact;
        assert_eq!(contact.reachable().unwrap().expose(), "+12025550123");
        assert_eq!(contact.name.as_deref(), Some("Omer"));
        let landline = json!({"billing": {"phone": "03-5550123", "country": "IL"}, "shipping": []});
        let contact = event(read_changed("order_created.processing", &landline)).contact;
        assert_eq!(contact.reachable(), Err(NothingBecause::PhoneUnusable(PhoneError::NotMobile)));
    }

    #[test]
    fn an_erased_customer_is_not_named() {
        let erased = json!({"billing": {"first_name": "[deleted]", "last_name": "[deleted]", "phone": "0000000000"}, "shipping": []});
        let contact = event(read_changed("order_created.processing", &erased)).contact;
        assert_eq!((contact.name.as_deref(), contact.reachable()), (None, Err(NothingBecause::PersonalDataRedacted)));
    }

    #[test]
    fn several_refunds_are_one_sum() {
        let refunds = json!({"refunds": [{"total": "-100.00"}, {"total": "-49.9"}]});
        assert_eq!(event(read_changed("order_updated.refunded", &refunds)).values["refund_amount"], "149.90");
        for none in [json!({"refunds": []}), json!({"refunds": [{"total": "x"}]}), json!({"refunds": null})] {
            assert!(!event(read_changed("order_updated.refunded", &none)).values.contains_key("refund_amount"));
        }
    }

    #[test]
    fn plugin_data_of_any_shape_is_taken_only_where_it_makes_sense() {
        let meta = json!({"meta_data": [
            {"key": "wpml_language", "value": "he"},
            {"key": "_wc_shipment_tracking_items", "value": [
                {"tracking_number": "OLD"},
                {"tracking_provider": "israel-post", "tracking_number": 12_345_678_901_u64, "custom_tracking_link": "http://insecure.example/"},
            ]},
        ]});
        let tracked = event(read_changed("order_updated.completed_tracking", &meta));
        assert_eq!(tracked.contact.locale.as_deref(), Some("he"));
        assert_eq!(tracked.values["tracking_number"], "12345678901");
        assert_eq!(tracked.values["tracking_company"], "israel-post");
        assert!(!tracked.values.contains_key("tracking_url"));
        for odd in [json!("a:1:{}"), json!(null), json!({"0": {}}), json!([])] {
            let meta = json!({"meta_data": [{"key": "_wc_shipment_tracking_items", "value": odd}, {"key": null}]});
            let values = event(read_changed("order_updated.completed_tracking", &meta)).values;
            assert!(!values.contains_key("tracking_number"));
        }
    }
}
