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

mod answer;

use std::time::Duration;

use serde::Serialize;
use shared::{
    body,
    fault::{Fault, Faulty},
};

pub use self::answer::read_order_answer;
use crate::order_event::{Contact, OrderEvent, OrderRef, PartialEvent};

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
    Answer(#[from] shared::json::Misread),
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
    let response = http
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
    body::up_to(LARGEST_ANSWER, response).await.map_err(unreachable)?.ok_or(LookupError::TooLarge)
}

/// The address says which shop, and nothing that helps.
fn unreachable(error: reqwest::Error) -> LookupError {
    LookupError::Unreachable(error.without_url())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use loopback::{Peer, response};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        order_event::Reading,
        samples::{config, event, partial, read_as, sample},
    };

    pub(super) fn scan() -> PartialEvent {
        let body = sample("shopify", "fulfillment_events_create.out_for_delivery").to_string();
        partial(read_as("shop", Some("fulfillment_events/create"), body))
    }

    pub(super) fn pickup() -> PartialEvent {
        let body = sample("shopify", "fulfillment_orders_line_items_prepared_for_pickup").to_string();
        partial(read_as("shop", Some("fulfillment_orders/line_items_prepared_for_pickup"), body))
    }

    pub(super) fn answered(event: &PartialEvent, answer: impl AsRef<[u8]>) -> Result<Reading, LookupError> {
        let config = config();
        read_order_answer(event, answer.as_ref(), &config.stores["shop"], &config)
    }

    pub(super) fn order(members: &Value) -> Value {
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

    pub(super) fn answer(members: &Value) -> String {
        json!({"data": {"order": order(members)}}).to_string()
    }

    #[test]
    fn the_question_asks_for_what_the_sample_question_asks_by_the_same_id() {
        let theirs: Value = serde_json::from_slice(
            &fs::read(events::folder("stores/shopify").join("_graphql_fulfillment_order.request.json")).unwrap(),
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

    #[tokio::test]
    async fn the_question_travels_with_its_token_and_the_answer_comes_back() {
        let peer = Peer::start().await.unwrap();
        let http = shared::cold_start::http_client().unwrap();
        let base = format!("{}/", peer.url().unwrap());
        let query = order_query(&scan());
        let given = response("200 OK", &answer(&json!({})));
        let (asked, answered_with) =
            tokio::join!(peer.answer(&given), look_up(&http, &base, "shpat_test", API_VERSION, &query));
        let asked = asked.unwrap();
        assert!(asked.starts_with("POST /admin/api/2026-10/graphql.json HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("x-shopify-access-token: shpat_test\r\n"), "{asked}");
        assert!(asked.ends_with(&serde_json::to_string(&query).unwrap()));
        assert!(matches!(answered(&scan(), answered_with.unwrap()).unwrap(), Reading::Event(_)));
    }

    #[tokio::test]
    async fn every_refusal_is_an_error_that_knows_whether_to_try_again() {
        let peer = Peer::start().await.unwrap();
        let http = shared::cold_start::http_client().unwrap();
        let base = peer.url().unwrap();
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
            let (_, answer) = tokio::join!(peer.answer(&given), look_up(&http, &base, "shpat_x", API_VERSION, &query));
            let error = answer.unwrap_err();
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(says), "{head}: {error}");
        }
        drop(peer);
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
