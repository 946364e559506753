//! What the store answers, and what it means for the event.

use std::collections::BTreeMap;

use serde::Deserialize;
use shared::{
    client_config::{ClientConfig, Milestone, Store},
    contact::{Candidate, full_name},
    json::{self, Misread, Raw},
};

use super::LookupError;
use crate::order_event::{Contact, Delivery, NothingBecause, OrderEvent, PartialEvent, Reading};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    data: Option<Data<'a>>,
    /// A list of [`Problem`]s; for some refusals a bare text.
    errors: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    order: Option<Order<'a>>,
    #[serde(deserialize_with = "json::object")]
    fulfillment_order: Option<FulfillmentOrder<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FulfillmentOrder<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    assigned_location: Option<Location<'a>>,
    #[serde(deserialize_with = "json::object")]
    order: Option<Order<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location<'a> {
    #[serde(borrow)]
    name: Raw<'a>,
    address1: Raw<'a>,
    address2: Raw<'a>,
    city: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Order<'a> {
    #[serde(borrow)]
    legacy_resource_id: Raw<'a>,
    name: Raw<'a>,
    test: Raw<'a>,
    cancelled_at: Raw<'a>,
    phone: Raw<'a>,
    email: Raw<'a>,
    customer_locale: Raw<'a>,
    status_page_url: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    total_price_set: Option<MoneySet<'a>>,
    #[serde(deserialize_with = "json::object")]
    customer: Option<Customer<'a>>,
    #[serde(deserialize_with = "json::object")]
    shipping_address: Option<Address<'a>>,
    #[serde(deserialize_with = "json::object")]
    billing_address: Option<Address<'a>>,
    #[serde(deserialize_with = "json::object")]
    shipping_line: Option<ShippingLine<'a>>,
    #[serde(deserialize_with = "json::list")]
    fulfillments: Vec<Parcel<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MoneySet<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    presentment_money: Option<Money<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Money<'a> {
    #[serde(borrow)]
    amount: Raw<'a>,
    currency_code: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Customer<'a> {
    #[serde(borrow)]
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    default_phone_number: Option<CustomerPhone<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CustomerPhone<'a> {
    #[serde(borrow)]
    phone_number: Raw<'a>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Address<'a> {
    #[serde(borrow)]
    name: Raw<'a>,
    phone: Raw<'a>,
    country_code_v2: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShippingLine<'a> {
    #[serde(borrow)]
    title: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Parcel<'a> {
    #[serde(borrow)]
    legacy_resource_id: Raw<'a>,
    #[serde(deserialize_with = "json::list")]
    tracking_info: Vec<TrackingInfo<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TrackingInfo<'a> {
    #[serde(borrow)]
    company: Raw<'a>,
    number: Raw<'a>,
    url: Raw<'a>,
}

/// One entry of a GraphQL answer's `errors`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem<'a> {
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    extensions: Option<ProblemDetails<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProblemDetails<'a> {
    #[serde(borrow)]
    code: Raw<'a>,
    required_access: Raw<'a>,
}

/// Completes an event from the store's answer. A [`Reading`], because the answer may show that there is nothing to tell
/// after all; never [`Reading::NeedsOrder`].
pub fn read_order_answer(
    event: &PartialEvent,
    answer: &[u8],
    store: &Store,
    config: &ClientConfig,
) -> Result<Reading, LookupError> {
    let answer: Answer<'_> = json::parse(answer)?;
    let problem = gravest(answer.errors);
    let data = answer.data.unwrap_or_default();
    let (order, place) = match data.fulfillment_order {
        Some(found) => (found.order, found.assigned_location),
        None => (data.order, None),
    };
    let Some(order) = order else {
        return match problem {
            Some(problem) => Err(problem),
            None => Ok(Reading::Nothing(NothingBecause::OrderNotFound)),
        };
    };
    if order.test.is_true() {
        return Ok(Reading::Nothing(NothingBecause::TestOrder));
    }
    let no_body = BTreeMap::new();
    let country = store.country.as_deref().unwrap_or(&config.country);
    let delivery = Delivery {
        topic: None,
        headers: &no_body,
        body: &[],
        received_at: event.occurred_at,
        country,
        phones: config.phones,
    };
    let mut found = order.contact(&delivery);
    // A partial answer: the order without the fields that the token may not see. Worth a message only with a number.
    if found.phone.is_none()
        && event.contact.phone.is_none()
        && let Some(problem) = problem
    {
        return Err(problem);
    }
    found.redacted |=
        found.phone.is_none() && found.phone_problem.is_none() && found.name.is_none() && order.email.text().is_none();
    let Some(order_id) = event.order.id().map(str::to_owned).or_else(|| order.legacy_resource_id.string()) else {
        return Err(LookupError::Answer(Misread::Missing("/data/…/order/legacyResourceId".into())));
    };
    let mut complete = event.clone().with_order(order_id, &found, order.name.text().as_deref());
    order.add_values(&mut complete);
    if let Some(location) = &place {
        location.add_values(&mut complete);
    }
    // Cancelled since: only news about the money or the cancellation itself is still true.
    let outlives = matches!(complete.milestone, Milestone::Refunded | Milestone::Cancelled | Milestone::Invoice);
    if order.cancelled_at.text().is_some() && !outlives {
        return Ok(Reading::Nothing(NothingBecause::StaleTransition));
    }
    if !event.certain && order.shipping_address.is_none() {
        complete.milestone = Milestone::Delivered;
        return Ok(if complete.values.contains_key("pickup_location") {
            Reading::Quiet(Box::new(complete), NothingBecause::PickupFulfilled)
        } else {
            Reading::Nothing(NothingBecause::NothingToShip)
        });
    }
    Ok(Reading::Event(Box::new(complete)))
}

impl Order<'_> {
    fn contact(&self, delivery: &Delivery<'_>) -> Contact {
        let shipping = self.shipping_address.unwrap_or_default();
        let billing = self.billing_address.unwrap_or_default();
        let customer = self.customer.as_ref();
        let own = customer.and_then(|customer| customer.default_phone_number.as_ref());
        let (phone, phone_problem) = delivery.first_usable([
            self.phone.into(),
            Candidate { phone: shipping.phone, country: shipping.country_code_v2 },
            own.map(|own| own.phone_number).unwrap_or_default().into(),
            Candidate { phone: billing.phone, country: billing.country_code_v2 },
        ]);
        let name = customer
            .and_then(|customer| full_name(customer.first_name, customer.last_name))
            .or_else(|| shipping.name.string())
            .or_else(|| billing.name.string());
        Contact { phone, phone_problem, redacted: false, name, locale: self.customer_locale.string() }
    }

    fn add_values(&self, event: &mut OrderEvent) {
        let total = self.total_price_set.as_ref().and_then(|set| set.presentment_money.as_ref());
        if let Some(money) = total
            && let (Some(total), Some(currency)) = (money.amount.string(), money.currency_code.string())
            // A refund in another currency than the order's: one variable can't name both.
            && event.values.get("currency").is_none_or(|known| *known == currency)
        {
            event.values.insert("total".to_owned(), total);
            event.values.insert("currency".to_owned(), currency);
        }
        let parcel = self.fulfillments.iter().find(|parcel| {
            event
                .thread
                .as_deref()
                .is_some_and(|thread| parcel.legacy_resource_id.text().is_some_and(|id| id == thread))
        });
        let tracking = parcel.and_then(|parcel| parcel.tracking_info.first());
        let place = self.shipping_line.as_ref().filter(|_| self.shipping_address.is_none());
        let more = [
            ("order_url", self.status_page_url.link()),
            ("tracking_company", tracking.and_then(|tracking| tracking.company.string())),
            ("tracking_number", tracking.and_then(|tracking| tracking.number.string())),
            ("tracking_url", tracking.and_then(|tracking| tracking.url.link())),
            ("pickup_location", place.and_then(|line| line.title.string())),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                event.values.entry(name.to_owned()).or_insert(value);
            }
        }
    }
}

impl Location<'_> {
    fn add_values(&self, event: &mut OrderEvent) {
        let lines = [self.address1, self.address2, self.city];
        let address: Vec<_> = lines.into_iter().filter_map(Raw::text).collect();
        if let Some(name) = self.name.string() {
            event.values.insert("pickup_location".to_owned(), name);
        }
        if !address.is_empty() {
            event.values.insert("pickup_address".to_owned(), address.join(", "));
        }
    }
}

/// The gravest of an answer's `errors`, if there are any.
fn gravest(errors: Raw<'_>) -> Option<LookupError> {
    if let Some(bare) = errors.text() {
        return Some(if bare.to_ascii_lowercase().contains("throttled") {
            LookupError::Throttled { retry_after: None }
        } else {
            LookupError::Query
        });
    }
    let problems: Vec<Problem<'_>> = errors.as_shape()?;
    problems.iter().map(Problem::meaning).min_by_key(|meaning| meaning.0).map(|(_, error)| error)
}

impl Problem<'_> {
    /// What it means, and how much that says: an access problem explains more than what follows from it.
    fn meaning(&self) -> (u8, LookupError) {
        let details = self.extensions.as_ref();
        let code = details.and_then(|details| details.code.text()).unwrap_or_default();
        let message = self.message.text().unwrap_or_default();
        match &*code {
            "ACCESS_DENIED" => {
                let wanted = details.and_then(|details| details.required_access.text());
                (0, LookupError::Scope { missing: missing_access(wanted.as_deref().unwrap_or(&message)) })
            }
            "THROTTLED" => (1, LookupError::Throttled { retry_after: None }),
            "INTERNAL_SERVER_ERROR" | "TIMEOUT" => (2, LookupError::StoreTrouble { status: 200 }),
            "SHOP_INACTIVE" => (3, LookupError::Refused { status: 200 }),
            _ if message.eq_ignore_ascii_case("throttled") => (1, LookupError::Throttled { retry_after: None }),
            _ if message.contains("access") => (0, LookupError::Scope { missing: missing_access(&message) }),
            _ => (4, LookupError::Query),
        }
    }
}

/// The scopes that a refusal names; its text itself is Shopify's and stays out of our logs.
fn missing_access(text: &str) -> String {
    let scopes: Vec<&str> = text
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| ["read_", "write_"].iter().any(|start| word.starts_with(start) && word.len() > start.len()))
        .collect();
    if scopes.is_empty() {
        "access to protected customer data, or a scope that the store doesn't name".to_owned()
    } else {
        format!("the access scope {}", scopes.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};
    use shared::fault::{Fault, Faulty};

    use super::*;
    use crate::{
        lookup::tests::{answer, answered, order, pickup, scan},
        samples::event,
    };

    #[test]
    fn the_sample_answer_completes_the_sample_event() {
        let sample_answer =
            fs::read(events::folder("stores/shopify").join("_graphql_fulfillment_order.response.json")).unwrap();
        let ready = event(answered(&pickup(), sample_answer).unwrap());
        assert_eq!((ready.milestone, &*ready.order_id), (Milestone::Ready, "5223452934380"));
        assert_eq!(ready.order_number.as_deref(), Some("#1050"));
        assert_eq!(ready.contact.reachable().unwrap().expose(), "+972525550101");
        assert_eq!((ready.contact.name.as_deref(), ready.contact.locale.as_deref()), (Some("Dana"), Some("en")));
        assert_eq!(ready.values["pickup_location"], "Dizengoff store");
        assert_eq!(ready.values["pickup_address"], "99 Dizengoff St, Tel Aviv-Yafo");
    }

    #[test]
    fn a_scan_learns_whom_to_tell_and_where_its_parcel_is() {
        let out = event(answered(&scan(), answer(&json!({}))).unwrap());
        assert_eq!((out.milestone, out.order_number.as_deref()), (Milestone::OutForDelivery, Some("#1042")));
        assert_eq!(out.contact.reachable().unwrap().expose(), "+972545550199");
        assert_eq!(out.contact.locale.as_deref(), Some("he-IL"));
        assert_eq!(
            (&*out.values["tracking_number"], &*out.values["tracking_url"]),
            ("RR1", "https://track.example/RR1")
        );
        assert_eq!((&*out.values["total"], &*out.values["currency"]), ("118.0", "ILS"));
    }

    #[test]
    fn what_the_order_became_since_decides() {
        let cancelled = json!({"cancelledAt": "2026-11-20T07:00:00Z"});
        assert_eq!(answered(&scan(), answer(&cancelled)).unwrap(), Reading::Nothing(NothingBecause::StaleTransition));
        assert_eq!(
            answered(&scan(), answer(&json!({"test": true}))).unwrap(),
            Reading::Nothing(NothingBecause::TestOrder)
        );
        let refunded = PartialEvent { milestone: Milestone::Refunded, ..scan() };
        assert!(matches!(answered(&refunded, answer(&cancelled)).unwrap(), Reading::Event(_)), "a refund outlives it");
    }

    #[test]
    fn an_unclear_fulfilment_is_a_parcel_only_with_an_address() {
        let unclear = PartialEvent { milestone: Milestone::Shipped, certain: false, ..scan() };
        assert!(matches!(answered(&unclear, answer(&json!({}))).unwrap(), Reading::Event(_)));
        let pickup = json!({"shippingAddress": null, "phone": "+972545550199"});
        assert!(matches!(
            answered(&unclear, answer(&pickup)).unwrap(),
            Reading::Quiet(event, NothingBecause::PickupFulfilled) if event.milestone == Milestone::Delivered
        ));
        let download = json!({"shippingAddress": null, "shippingLine": null});
        assert_eq!(answered(&unclear, answer(&download)).unwrap(), Reading::Nothing(NothingBecause::NothingToShip));
    }

    #[test]
    fn a_refusal_says_which_scope_is_missing_and_nothing_else() {
        let denied = json!({"data": {"fulfillmentOrder": null}, "errors": [
            {"message": "Throttled", "extensions": {"code": "THROTTLED"}},
            {"message": "Access denied for fulfillmentOrder field. Required access: `read_assigned_fulfillment_orders` \
                or `read_merchant_managed_fulfillment_orders`. Ask noa@example.com", "extensions": {"code": "ACCESS_DENIED"}},
        ]});
        let error = answered(&pickup(), denied.to_string()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store's token lacks the access scope read_assigned_fulfillment_orders or \
             read_merchant_managed_fulfillment_orders"
        );
        assert_eq!(error.fault(), Fault::Permanent);
        let customer = json!({"data": {"order": null}, "errors": [
            {"message": "This app is not approved to access the Customer object."}]});
        assert!(answered(&scan(), customer.to_string()).unwrap_err().to_string().contains("protected customer data"));
    }

    #[test]
    fn part_of_an_answer_is_enough_if_it_has_a_number() {
        let mut partial = json!({"data": {"order": order(&json!({"customer": null}))}});
        partial["errors"] = json!([{"message": "Access denied", "extensions": {"code": "ACCESS_DENIED"}}]);
        assert!(matches!(answered(&scan(), partial.to_string()).unwrap(), Reading::Event(_)));
        partial["data"]["order"]["shippingAddress"] = Value::Null;
        assert!(matches!(answered(&scan(), partial.to_string()), Err(LookupError::Scope { .. })));
    }

    #[test]
    fn every_other_answer_is_trouble_of_its_kind_or_no_order() {
        for (body, fault) in [
            (json!({"errors": [{"message": "Throttled"}], "extensions": {"cost": {}}}), Fault::Transient),
            (json!({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}), Fault::Transient),
            (json!({"errors": [{"message": "Field 'x' doesn't exist on type 'Order'"}]}), Fault::Permanent),
            (json!({"errors": "Not Found"}), Fault::Permanent),
            (json!([]), Fault::Permanent),
            (json!({"data": {"order": 5}}), Fault::Permanent),
        ] {
            assert_eq!(answered(&scan(), body.to_string()).unwrap_err().fault(), fault, "{body}");
        }
        for body in [json!({"data": {"order": null}}), json!({"data": null}), json!({})] {
            let reading = answered(&scan(), body.to_string()).unwrap();
            assert_eq!(reading, Reading::Nothing(NothingBecause::OrderNotFound), "{body}");
        }
        let withheld = json!({"email": null, "customer": null, "shippingAddress": null});
        let withheld = event(answered(&scan(), answer(&withheld)).unwrap());
        assert_eq!(withheld.contact.reachable(), Err(NothingBecause::PersonalDataRedacted));
    }
}
