//! The lookup of an order: some Shopify deliveries name an order without its data.
//!
//! Flow: [`complete_from_ledger`] completes the event if the ledger already knows enough. Otherwise
//! [`build_order_query`] builds one query of the Admin GraphQL API, [`send_order_query`] sends it,
//! and [`parse_order_response`] completes the event from the response.
//!
//! The token needs `read_orders`. Pickups also need `read_merchant_managed_fulfillment_orders`, or
//! `read_assigned_…` or `read_third_party_…`, depending on who fulfils. Name and phone need access
//! to protected customer data. [`OrderLookupError::MissingScope`] names the missing access.
//!
//! No error contains the token or data of the order.

mod error;
mod order_response;

use serde::Serialize;
use tellonce_core::{http_body, lookup::read_retry_after};

use self::error::{API_VERSION, MAX_RESPONSE_BYTES};
pub use self::{error::OrderLookupError, order_response::parse_order_response};
use crate::order_event::{CustomerContact, OrderEvent, OrderReference, PartialOrderEvent};

/// The GraphQL request for one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderQuery {
    query: String,
    variables: QueryVariables,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct QueryVariables {
    id: String,
}

/// The fields of an order that [`parse_order_response`] reads.
const ORDER_FIELDS: &str = "legacyResourceId name test createdAt processedAt closedAt cancelledAt phone email customerLocale statusPageUrl \
    totalPriceSet { presentmentMoney { amount currencyCode } } \
    customer { firstName lastName defaultPhoneNumber { phoneNumber } } \
    shippingAddress { name phone countryCodeV2 } billingAddress { name phone countryCodeV2 } \
    shippingLine { title }";

/// The fields of a parcel. An order has few parcels. Only the first 25 are read.
const PARCEL_FIELDS: &str =
    " fulfillments(first: 25) { legacyResourceId trackingInfo(first: 1) { company number url } }";

/// Builds the query for an event's order.
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

/// Sends the query to the store. `base_url` is `https://{shop}.myshopify.com`, without a path.
pub async fn send_order_query(
    http: &reqwest::Client,
    base_url: &str,
    token: &str,
    query: &OrderQuery,
) -> Result<Vec<u8>, OrderLookupError> {
    let url = format!("{}/admin/api/{API_VERSION}/graphql.json", base_url.trim_end_matches('/'));
    let response =
        http.post(url).header("X-Shopify-Access-Token", token).json(query).send().await.map_err(unreachable_error)?;
    let status = response.status().as_u16();
    let retry_after = read_retry_after(&response);
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

/// The address names the shop and does not explain the error.
fn unreachable_error(error: reqwest::Error) -> OrderLookupError {
    OrderLookupError::Unreachable(error.without_url())
}

/// Completes an event from the ledger. Returns `None` unless the order's id, a number and the
/// milestone are certain.
pub fn complete_from_ledger(
    event: &PartialOrderEvent,
    known: &CustomerContact,
    order_number: Option<&str>,
) -> Option<OrderEvent> {
    let order_id = event.order.id().filter(|_| event.is_certain)?;
    let complete = event.clone().complete_with(order_id.to_owned(), known, order_number);
    complete.contact.phone.is_some().then_some(complete)
}

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};
    use serde_json::{Value, json};
    use tellonce_core::fault::{ClassifyFault as _, Fault};

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
        let expected = tellonce_samples::read_sample_json("stores/shopify/_graphql_fulfillment_order.request.json");
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
        let (request, result) =
            tokio::join!(fake_api.reply_once(&http_reply), send_order_query(&http, &base, "shpat_test", &query));
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
            ("429 Too Many Requests\r\nretry-after: 2.0", "", Fault::Transient, "after 2 s"),
            ("503 Service Unavailable", "", Fault::Transient, "503"),
            ("401 Unauthorized", "", Fault::Permanent, "token"),
            ("402 Payment Required", "", Fault::Permanent, "402"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere.example/", "", Fault::Permanent, "301"),
            ("200 OK", &too_long, Fault::Permanent, "bytes"),
        ] {
            let http_reply = http_response(head, body);
            let (_, result) =
                tokio::join!(fake_api.reply_once(&http_reply), send_order_query(&http, &base, "shpat_x", &query));
            let error = result.unwrap_err();
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(expected_text), "{head}: {error}");
        }
        drop(fake_api);
        let error = send_order_query(&http, &base, "shpat_secret", &query).await.unwrap_err();
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
        assert_eq!(complete_from_ledger(&sample_pickup(), &known, None), None, "the order's id is unknown");
        assert_eq!(complete_from_ledger(&sample_scan(), &CustomerContact::default(), None), None);
    }
}
