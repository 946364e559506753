//! Looking an order up: some Shopify deliveries name an order and say nothing about it.
//!
//! [`order_query`] asks for it in one read of the Admin GraphQL API, [`look_up`] carries the question, and
//! [`read_order_answer`] makes the answer an event. What the ledger already knows can take the place of all three:
//! [`complete_from_ledger`].
//!
//! The token needs `read_orders`; for pickups also `read_merchant_managed_fulfillment_orders` (or `read_assigned_…`,
//! `read_third_party_…`, after who fulfils), and access to protected customer data for name and phone. Which one is
//! missing, [`LookupError::Scope`] says.
//!
//! Promised: nothing of the order is written into an error, and neither is the token.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::{
    client_config::{ClientConfig, Milestone, Store},
    fault::{Fault, Faulty},
};

use crate::{
    json::{self, Raw},
    order_event::{Contact, Delivery, NothingBecause, OrderEvent, OrderRef, PartialEvent, Reading},
    people::{self, Candidate},
};

/// Version of the Admin API that the query is written for. Shopify keeps a version for at least twelve months and then
/// answers with the oldest it still has; that of 2026-10 is safe until October 2027.
/// (<https://shopify.dev/docs/api/usage/versioning>)
pub const API_VERSION: &str = "2026-10";

/// An answer takes well below a second; a function should not wait for a store that hangs.
const PATIENCE: Duration = Duration::from_secs(8);

/// More than the largest answer to our question could have.
const LARGEST_ANSWER: usize = 256 * 1024;

/// Why an order could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No answer came.
    #[error("the store's API did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Too many questions, by its cost budget.
    #[error("the store's API asks for patience{}", .retry_after.map(|wait| format!(" for {} s", wait.as_secs())).unwrap_or_default())]
    Throttled {
        /// For so long, if it says.
        retry_after: Option<Duration>,
    },
    /// Trouble on the store's side.
    #[error("the store's API answered {status}")]
    StoreTrouble {
        /// HTTP status, 5xx; or 200 with an internal error inside.
        status: u16,
    },
    /// The token is not accepted.
    #[error("the store's API does not accept the token (HTTP {status})")]
    Token {
        /// HTTP status, 401 or 403.
        status: u16,
    },
    /// The token does not reach far enough.
    #[error("the store's token lacks {missing}")]
    Scope {
        /// Names of scopes, or what else is missing.
        missing: String,
    },
    /// The shop is closed, frozen or gone, or the API is not where we look.
    #[error("the store's API refuses (HTTP {status})")]
    Refused {
        /// HTTP status, 3xx or 4xx.
        status: u16,
    },
    /// The store doesn't understand the question: this API version is gone.
    #[error("the store's API does not understand the query of version {API_VERSION}")]
    Query,
    /// Not what the API documents.
    #[error("the store's API gave an answer that is not understood: {0}")]
    Answer(#[from] crate::order_event::Misread),
    /// The answer doesn't end.
    #[error("the store's API gave an answer of more than {LARGEST_ANSWER} bytes")]
    TooLarge,
}

impl Faulty for LookupError {
    fn fault(&self) -> Fault {
        match self {
            // Nothing is written by a look-up, so an unknown outcome is as good as none.
            Self::Unreachable(_) | Self::Throttled { .. } | Self::StoreTrouble { .. } => Fault::Transient,
            Self::Token { .. }
            | Self::Scope { .. }
            | Self::Refused { .. }
            | Self::Query
            | Self::Answer(_)
            | Self::TooLarge => Fault::Permanent,
        }
    }
}

/// A GraphQL request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Query {
    query: String,
    variables: Variables,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Variables {
    id: String,
}

/// Of an order, what [`read_order_answer`] reads.
const ORDER_FIELDS: &str = "legacyResourceId name test cancelledAt phone email customerLocale statusPageUrl \
    totalPriceSet { presentmentMoney { amount currencyCode } } \
    customer { firstName lastName defaultPhoneNumber { phoneNumber } } \
    shippingAddress { name phone countryCodeV2 } billingAddress { name phone countryCodeV2 } \
    shippingLine { title }";

/// Of a parcel. An order has few; more than these are not looked through.
const PARCEL_FIELDS: &str =
    " fulfillments(first: 25) { legacyResourceId trackingInfo(first: 1) { company number url } }";

/// The question to ask about an event's order.
pub fn order_query(event: &PartialEvent) -> Query {
    let parcels = if event.thread.is_some() { PARCEL_FIELDS } else { "" };
    match &event.order {
        OrderRef::Id(id) => Query {
            query: format!("query EventOrder($id: ID!) {{ order(id: $id) {{ {ORDER_FIELDS}{parcels} }} }}"),
            variables: Variables { id: format!("gid://shopify/Order/{id}") },
        },
        OrderRef::FulfillmentOrder(gid) => Query {
            query: format!(
                "query PickupOrder($id: ID!) {{ fulfillmentOrder(id: $id) {{ \
                 assignedLocation {{ name address1 address2 city }} order {{ {ORDER_FIELDS} }} }} }}"
            ),
            variables: Variables { id: gid.clone() },
        },
    }
}

/// Asks the store. `base_url` is `https://{shop}.myshopify.com`, without a path.
pub async fn look_up(
    http: &reqwest::Client,
    base_url: &str,
    token: &str,
    api_version: &str,
    query: &Query,
) -> Result<Vec<u8>, LookupError> {
    let url = format!("{}/admin/api/{api_version}/graphql.json", base_url.trim_end_matches('/'));
    let mut response = http
        .post(url)
        .header("X-Shopify-Access-Token", token)
        .json(query)
        .timeout(PATIENCE)
        .send()
        .await
        .map_err(unreachable)?;
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|wait| wait.to_str().ok())
        // Shopify writes `2.0`.
        .and_then(|wait| wait.split('.').next()?.parse().ok())
        .map(Duration::from_secs);
    match status {
        200 => {}
        429 | 430 => return Err(LookupError::Throttled { retry_after }),
        401 | 403 => return Err(LookupError::Token { status }),
        500.. => return Err(LookupError::StoreTrouble { status }),
        _ => return Err(LookupError::Refused { status }),
    }
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if answer.len() + chunk.len() > LARGEST_ANSWER {
            return Err(LookupError::TooLarge);
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// The address says which shop, and nothing that helps.
fn unreachable(error: reqwest::Error) -> LookupError {
    LookupError::Unreachable(error.without_url())
}

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
    let problem = answer.errors.problem();
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
    let no_body = std::collections::BTreeMap::new();
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
        return Err(LookupError::Answer(crate::order_event::Misread::Missing("/data/…/order/legacyResourceId".into())));
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

/// Completes an event from what the ledger knows of its order, if that is enough: the order's id must be known, a
/// number too, and it must be certain what happened.
pub fn complete_from_ledger(event: &PartialEvent, known: &Contact, order_number: Option<&str>) -> Option<OrderEvent> {
    let order_id = event.order.id().filter(|_| event.certain)?;
    let complete = event.clone().with_order(order_id.to_owned(), known, order_number);
    complete.contact.phone.is_some().then_some(complete)
}

impl PartialEvent {
    fn with_order(self, order_id: String, known: &Contact, order_number: Option<&str>) -> OrderEvent {
        let mut event = OrderEvent {
            milestone: self.milestone,
            order_id,
            order_number: self.order_number,
            thread: self.thread,
            instance: self.instance,
            occurred_at: self.occurred_at,
            contact: self.contact,
            values: self.values,
        };
        event.fill_from(known, order_number);
        event
    }
}

impl Order<'_> {
    fn contact(&self, delivery: &Delivery<'_>) -> Contact {
        let shipping = self.shipping_address.unwrap_or_default();
        let billing = self.billing_address.unwrap_or_default();
        let customer = self.customer.as_ref();
        let own = customer.and_then(|customer| customer.default_phone_number.as_ref());
        let (phone, phone_problem) = people::first_usable(
            delivery,
            [
                Candidate { phone: self.phone, country: Raw::default() },
                Candidate { phone: shipping.phone, country: shipping.country_code_v2 },
                Candidate { phone: own.map(|own| own.phone_number).unwrap_or_default(), country: Raw::default() },
                Candidate { phone: billing.phone, country: billing.country_code_v2 },
            ],
        );
        let name = customer
            .and_then(|customer| people::full_name(customer.first_name, customer.last_name))
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

impl Raw<'_> {
    /// The gravest of an answer's `errors`, if there are any.
    fn problem(self) -> Option<LookupError> {
        if let Some(bare) = self.text() {
            return Some(if bare.to_ascii_lowercase().contains("throttled") {
                LookupError::Throttled { retry_after: None }
            } else {
                LookupError::Query
            });
        }
        let problems: Vec<Problem<'_>> = self.as_shape()?;
        problems.iter().map(Problem::meaning).min_by_key(|meaning| meaning.0).map(|(_, error)| error)
    }
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::samples::{config, event, folder, partial, read_as, sample};

    fn scan() -> PartialEvent {
        let body = sample("shopify", "fulfillment_events_create.out_for_delivery").to_string();
        partial(read_as("shop", Some("fulfillment_events/create"), body))
    }

    fn pickup() -> PartialEvent {
        let body = sample("shopify", "fulfillment_orders_line_items_prepared_for_pickup").to_string();
        partial(read_as("shop", Some("fulfillment_orders/line_items_prepared_for_pickup"), body))
    }

    fn answered(event: &PartialEvent, answer: impl AsRef<[u8]>) -> Result<Reading, LookupError> {
        let config = config();
        read_order_answer(event, answer.as_ref(), &config.stores["shop"], &config)
    }

    fn order(members: &Value) -> Value {
        let mut order = json!({
            "legacyResourceId": "5223452934372", "name": "#1042", "test": false, "cancelledAt": null, "phone": null,
            "email": "noa@example.com", "customerLocale": "he-IL", "statusPageUrl": "https://shop.example/o/1",
            "totalPriceSet": {"presentmentMoney": {"amount": "118.0", "currencyCode": "ILS"}},
            "customer": {"firstName": "Noa", "lastName": "Levi", "defaultPhoneNumber": null},
            "shippingAddress": {"name": "Noa Levi", "phone": "054-555-0199", "countryCodeV2": "IL"},
            "billingAddress": null, "shippingLine": {"title": "Home delivery"},
            "fulfillments": [
                {"legacyResourceId": "1", "trackingInfo": [{"number": "other"}]},
                {"legacyResourceId": "4670000000001", "trackingInfo": [
                    {"company": "Israel Post", "number": "RR1", "url": "https://track.example/RR1"}]},
            ],
        });
        for (name, value) in members.as_object().unwrap() {
            order[name] = value.clone();
        }
        order
    }

    fn answer(members: &Value) -> String {
        json!({"data": {"order": order(members)}}).to_string()
    }

    #[test]
    fn the_sample_answer_completes_the_sample_event() {
        let sample_answer = fs::read(folder("shopify").join("_graphql_fulfillment_order.response.json")).unwrap();
        let ready = event(answered(&pickup(), sample_answer).unwrap());
        assert_eq!((ready.milestone, &*ready.order_id), (Milestone::Ready, "5223452934380"));
        assert_eq!(ready.order_number.as_deref(), Some("#1050"));
        assert_eq!(ready.contact.reachable().unwrap().expose(), "+972525550101");
        assert_eq!((ready.contact.name.as_deref(), ready.contact.locale.as_deref()), (Some("Dana"), Some("en")));
        assert_eq!(ready.values["pickup_location"], "Dizengoff store");
        assert_eq!(ready.values["pickup_address"], "99 Dizengoff St, Tel Aviv-Yafo");
    }

    #[test]
    fn the_question_asks_for_what_the_sample_question_asks_by_the_same_id() {
        let theirs: Value = serde_json::from_slice(
            &fs::read(folder("shopify").join("_graphql_fulfillment_order.request.json")).unwrap(),
        )
        .unwrap();
        let ours = serde_json::to_value(order_query(&pickup())).unwrap();
        assert_eq!(ours["variables"], theirs["variables"]);
        for field in ["fulfillmentOrder(id: $id)", "assignedLocation", "customerLocale", "legacyResourceId"] {
            assert!(ours["query"].as_str().unwrap().contains(field), "{field}");
        }
        let by_id = serde_json::to_value(order_query(&scan())).unwrap();
        assert_eq!(by_id["variables"]["id"], "gid://shopify/Order/5223452934372");
        let balanced = |query: &Value| {
            let query = query["query"].as_str().unwrap();
            assert_eq!(query.matches('{').count(), query.matches('}').count(), "{query}");
        };
        balanced(&ours);
        balanced(&by_id);
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

    /// Answers one request and returns it.
    async fn once(listener: &TcpListener, response: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        // The question is its last part.
        while !request.ends_with(b"}}") {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).await.unwrap();
            assert!(read > 0, "the request ended early");
            request.extend_from_slice(&some[..read]);
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    }

    fn response(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn the_question_travels_with_its_token_and_the_answer_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = shared::cold_start::http_client().unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let query = order_query(&scan());
        let given = response("200 OK", &answer(&json!({})));
        let (asked, answered_with) =
            tokio::join!(once(&listener, &given), look_up(&http, &base, "shpat_test", API_VERSION, &query));
        assert!(asked.starts_with("POST /admin/api/2026-10/graphql.json HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("x-shopify-access-token: shpat_test\r\n"), "{asked}");
        assert!(asked.ends_with(&serde_json::to_string(&query).unwrap()));
        assert!(matches!(answered(&scan(), answered_with.unwrap()).unwrap(), Reading::Event(_)));
    }

    #[tokio::test]
    async fn every_refusal_is_an_error_that_knows_whether_to_try_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = shared::cold_start::http_client().unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let query = order_query(&scan());
        let too_long = "x".repeat(LARGEST_ANSWER + 1);
        for (head, body, fault, says) in [
            ("429 Too Many Requests\r\nretry-after: 2.0", "", Fault::Transient, "for 2 s"),
            ("503 Service Unavailable", "", Fault::Transient, "503"),
            ("401 Unauthorized", "", Fault::Permanent, "token"),
            ("402 Payment Required", "", Fault::Permanent, "402"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere.example/", "", Fault::Permanent, "301"),
            ("200 OK", &too_long, Fault::Permanent, "bytes"),
        ] {
            let given = response(head, body);
            let (_, answer) =
                tokio::join!(once(&listener, &given), look_up(&http, &base, "shpat_x", API_VERSION, &query));
            let error = answer.unwrap_err();
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(says), "{head}: {error}");
        }
        drop(listener);
        let gone = look_up(&http, &base, "shpat_secret", API_VERSION, &query).await.unwrap_err();
        assert_eq!(gone.fault(), Fault::Transient);
        let shown = shared::fault::chain(&gone);
        assert!(!shown.contains("127.0.0.1") || !shown.contains("graphql"), "{shown}");
        assert!(!format!("{shown} {gone:?}").contains("shpat_secret"));
    }

    #[test]
    fn the_ledger_is_enough_for_what_is_certain_and_has_an_id() {
        let known = event(answered(&scan(), answer(&json!({}))).unwrap()).contact;
        let out = complete_from_ledger(&scan(), &known, Some("#1042")).unwrap();
        assert_eq!((out.contact.clone(), out.order_number.as_deref()), (known.clone(), Some("#1042")));
        assert_eq!(complete_from_ledger(&PartialEvent { certain: false, ..scan() }, &known, None), None);
        assert_eq!(complete_from_ledger(&pickup(), &known, None), None, "the order's id is not known");
        assert_eq!(complete_from_ledger(&scan(), &Contact::default(), None), None);
    }
}
