//! Looking an order up: some Shopify deliveries name an order and say nothing about it.
//!
//! [`build_order_query`] asks for it in one read of the Admin GraphQL API, [`send_order_query`] carries the question, and
//! [`parse_order_response`] makes the answer an event. What the ledger already knows can take the place of all three:
//! [`complete_from_ledger`].
//!
//! The token needs `read_orders`; for pickups also `read_merchant_managed_fulfillment_orders` (or `read_assigned_…`,
//! `read_third_party_…`, after who fulfils), and access to protected customer data for name and phone. Which one is
//! missing, [`OrderLookupError::MissingScope`] says.
//!
//! Promised: nothing of the order is written into an error, and neither is the token.

mod order_response;

use std::time::Duration;

use serde::Serialize;
use tellonce_core::{
    fault::{ClassifyFault, Fault},
    http_body,
};

pub use self::order_response::parse_order_response;
use crate::order_event::{CustomerContact, OrderEvent, OrderReference, PartialOrderEvent};

/// Version of the Admin API that the query is written for. Shopify keeps a version for at least twelve months and then
/// answers with the oldest it still has; that of 2026-10 is safe until October 2027.
/// (<https://shopify.dev/docs/api/usage/versioning>)
pub const API_VERSION: &str = "2026-10";

/// An answer takes well below a second; a function should not wait for a store that hangs.
const TIMEOUT: Duration = Duration::from_secs(8);

/// More than the largest answer to our question could have.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;

/// Why an order could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum OrderLookupError {
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
    StoreUnavailable {
        /// HTTP status, 5xx; or 200 with an internal error inside.
        status: u16,
    },
    /// The token is not accepted.
    #[error("the store's API does not accept the token (HTTP {status})")]
    TokenRefused {
        /// HTTP status, 401 or 403.
        status: u16,
    },
    /// The token does not reach far enough.
    #[error("the store's token lacks {missing}")]
    MissingScope {
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
    UnsupportedQuery,
    /// Not what the API documents.
    #[error("the store's API gave an answer that is not understood: {0}")]
    UnexpectedResponse(#[from] tellonce_core::json::JsonError),
    /// The answer doesn't end.
    #[error("the store's API gave an answer of more than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
}

impl ClassifyFault for OrderLookupError {
    fn fault(&self) -> Fault {
        match self {
            // Nothing is written by a look-up, so an unknown outcome is as good as none.
            Self::Unreachable(_) | Self::Throttled { .. } | Self::StoreUnavailable { .. } => Fault::Transient,
            Self::TokenRefused { .. }
            | Self::MissingScope { .. }
            | Self::Refused { .. }
            | Self::UnsupportedQuery
            | Self::UnexpectedResponse(_)
            | Self::TooLarge => Fault::Permanent,
        }
    }
}

/// A GraphQL request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderQuery {
    query: String,
    variables: QueryVariables,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct QueryVariables {
    id: String,
}

/// Of an order, what [`parse_order_response`] reads.
const ORDER_FIELDS: &str = "legacyResourceId name test cancelledAt phone email customerLocale statusPageUrl \
    totalPriceSet { presentmentMoney { amount currencyCode } } \
    customer { firstName lastName defaultPhoneNumber { phoneNumber } } \
    shippingAddress { name phone countryCodeV2 } billingAddress { name phone countryCodeV2 } \
    shippingLine { title }";

/// Of a parcel. An order has few; more than these are not looked through.
const PARCEL_FIELDS: &str =
    " fulfillments(first: 25) { legacyResourceId trackingInfo(first: 1) { company number url } }";

/// The question to ask about an event's order.
pub fn build_order_query(event: &PartialOrderEvent) -> OrderQuery {
    let parcels = if event.parcel.is_some() { PARCEL_FIELDS } else { "" };
    match &event.order {
        OrderReference::Id(id) => OrderQuery {
            query: format!("query EventOrder($id: ID!) {{ order(id: $id) {{ {ORDER_FIELDS}{parcels} }} }}"),
            variables: QueryVariables { id: format!("gid://shopify/Order/{id}") },
        },
        OrderReference::FulfillmentOrder(gid) => OrderQuery {
            query: format!(
                "query PickupOrder($id: ID!) {{ fulfillmentOrder(id: $id) {{ \
                 assignedLocation {{ name address1 address2 city }} order {{ {ORDER_FIELDS} }} }} }}"
            ),
            variables: QueryVariables { id: gid.clone() },
        },
    }
}

/// Asks the store. `base_url` is `https://{shop}.myshopify.com`, without a path.
pub async fn send_order_query(
    http: &reqwest::Client,
    base_url: &str,
    token: &str,
    api_version: &str,
    query: &OrderQuery,
) -> Result<Vec<u8>, OrderLookupError> {
    let url = format!("{}/admin/api/{api_version}/graphql.json", base_url.trim_end_matches('/'));
    let response = http
        .post(url)
        .header("X-Shopify-Access-Token", token)
        .json(query)
        .timeout(TIMEOUT)
        .send()
        .await
        .map_err(unreachable_error)?;
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
        429 | 430 => return Err(OrderLookupError::Throttled { retry_after }),
        401 | 403 => return Err(OrderLookupError::TokenRefused { status }),
        500.. => return Err(OrderLookupError::StoreUnavailable { status }),
        _ => return Err(OrderLookupError::Refused { status }),
    }
    http_body::read_body_up_to(MAX_RESPONSE_BYTES, response)
        .await
        .map_err(unreachable_error)?
        .ok_or(OrderLookupError::TooLarge)
}

/// The address says which shop, and nothing that helps.
fn unreachable_error(error: reqwest::Error) -> OrderLookupError {
    OrderLookupError::Unreachable(error.without_url())
}

/// Completes an event from what the ledger knows of its order, if that is enough: the order's id must be known, a
/// number too, and it must be certain what happened.
pub fn complete_from_ledger(
    event: &PartialOrderEvent,
    known: &CustomerContact,
    order_number: Option<&str>,
) -> Option<OrderEvent> {
    let order_id = event.order.id().filter(|_| event.is_certain)?;
    let complete = event.clone().complete_with(order_id.to_owned(), known, order_number);
    complete.contact.phone.is_some().then_some(complete)
}

impl PartialOrderEvent {
    fn complete_with(self, order_id: String, known: &CustomerContact, order_number: Option<&str>) -> OrderEvent {
        let mut event = OrderEvent {
            milestone: self.milestone,
            order_id,
            order_number: self.order_number,
            parcel: self.parcel,
            instance: self.instance,
            occurred_at: self.occurred_at,
            contact: self.contact,
            values: self.values,
        };
        event.fill_missing_from(known, order_number);
        event
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use loopback::{FakeApi, http_response};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        order_event::ParsedOrder,
        samples::{expect_event, expect_partial, parse_as, sample_config, sample_json},
    };

    pub(super) fn sample_scan() -> PartialOrderEvent {
        let body = sample_json("shopify", "fulfillment_events_create.out_for_delivery").to_string();
        expect_partial(parse_as("shop", Some("fulfillment_events/create"), body))
    }

    pub(super) fn sample_pickup() -> PartialOrderEvent {
        let body = sample_json("shopify", "fulfillment_orders_line_items_prepared_for_pickup").to_string();
        expect_partial(parse_as("shop", Some("fulfillment_orders/line_items_prepared_for_pickup"), body))
    }

    pub(super) fn parse_response(
        event: &PartialOrderEvent,
        body: impl AsRef<[u8]>,
    ) -> Result<ParsedOrder, OrderLookupError> {
        let config = sample_config();
        parse_order_response(event, body.as_ref(), &config.stores["shop"], &config)
    }

    pub(super) fn order_json(members: &Value) -> Value {
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

    pub(super) fn response_body(members: &Value) -> String {
        json!({"data": {"order": order_json(members)}}).to_string()
    }

    #[test]
    fn the_query_requests_the_fields_and_the_id_of_the_sample_query() {
        let expected: Value = serde_json::from_slice(
            &fs::read(events::sample_folder("stores/shopify").join("_graphql_fulfillment_order.request.json")).unwrap(),
        )
        .unwrap();
        let actual = serde_json::to_value(build_order_query(&sample_pickup())).unwrap();
        assert_eq!(actual["variables"], expected["variables"]);
        for field in ["fulfillmentOrder(id: $id)", "assignedLocation", "customerLocale", "legacyResourceId"] {
            assert!(actual["query"].as_str().unwrap().contains(field), "{field}");
        }
        let by_id = serde_json::to_value(build_order_query(&sample_scan())).unwrap();
        assert_eq!(by_id["variables"]["id"], "gid://shopify/Order/5223452934372");
        let balanced = |query: &Value| {
            let query = query["query"].as_str().unwrap();
            assert_eq!(query.matches('{').count(), query.matches('}').count(), "{query}");
        };
        balanced(&actual);
        balanced(&by_id);
    }

    #[tokio::test]
    async fn a_query_sends_its_token_and_returns_the_response() {
        let fake_api = FakeApi::start().await.unwrap();
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let base = format!("{}/", fake_api.base_url().unwrap());
        let query = build_order_query(&sample_scan());
        let http_reply = http_response("200 OK", &response_body(&json!({})));
        let (request, result) = tokio::join!(
            fake_api.reply_once(&http_reply),
            send_order_query(&http, &base, "shpat_test", API_VERSION, &query)
        );
        let request = request.unwrap();
        assert!(request.starts_with("POST /admin/api/2026-10/graphql.json HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("x-shopify-access-token: shpat_test\r\n"), "{request}");
        assert!(request.ends_with(&serde_json::to_string(&query).unwrap()));
        assert!(matches!(parse_response(&sample_scan(), result.unwrap()).unwrap(), ParsedOrder::Event(_)));
    }

    #[tokio::test]
    async fn every_refusal_is_classified_as_transient_or_permanent() {
        let fake_api = FakeApi::start().await.unwrap();
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let base = fake_api.base_url().unwrap();
        let query = build_order_query(&sample_scan());
        let too_long = "x".repeat(MAX_RESPONSE_BYTES + 1);
        for (head, body, fault, expected_text) in [
            ("429 Too Many Requests\r\nretry-after: 2.0", "", Fault::Transient, "for 2 s"),
            ("503 Service Unavailable", "", Fault::Transient, "503"),
            ("401 Unauthorized", "", Fault::Permanent, "token"),
            ("402 Payment Required", "", Fault::Permanent, "402"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere.example/", "", Fault::Permanent, "301"),
            ("200 OK", &too_long, Fault::Permanent, "bytes"),
        ] {
            let http_reply = http_response(head, body);
            let (_, result) = tokio::join!(
                fake_api.reply_once(&http_reply),
                send_order_query(&http, &base, "shpat_x", API_VERSION, &query)
            );
            let error = result.unwrap_err();
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(expected_text), "{head}: {error}");
        }
        drop(fake_api);
        let error = send_order_query(&http, &base, "shpat_secret", API_VERSION, &query).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Transient);
        let error_text = tellonce_core::fault::error_chain(&error);
        assert!(!error_text.contains("127.0.0.1") || !error_text.contains("graphql"), "{error_text}");
        assert!(!format!("{error_text} {error:?}").contains("shpat_secret"));
    }

    #[test]
    fn the_ledger_completes_a_certain_event_with_a_known_order_id() {
        let known = expect_event(parse_response(&sample_scan(), response_body(&json!({}))).unwrap()).contact;
        let out = complete_from_ledger(&sample_scan(), &known, Some("#1042")).unwrap();
        assert_eq!((out.contact.clone(), out.order_number.as_deref()), (known.clone(), Some("#1042")));
        assert_eq!(complete_from_ledger(&PartialOrderEvent { is_certain: false, ..sample_scan() }, &known, None), None);
        assert_eq!(complete_from_ledger(&sample_pickup(), &known, None), None, "the order's id is not known");
        assert_eq!(complete_from_ledger(&sample_scan(), &CustomerContact::default(), None), None);
    }
}
