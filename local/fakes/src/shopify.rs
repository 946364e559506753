//! A fake of Shopify's Admin API: it responds to the lookup of a sample's fulfilment order.
//!
//! Shopify's `fulfillment_order` webhooks contain only the id of a fulfilment order, so
//! order-notifier asks the API for its order. The fake keeps no list: the id of a sample's
//! fulfilment order contains the id of the order.

use axum::{Json, Router, extract::Path, routing::post};
use serde_json::{Value, json};
use tellonce_samples::read_sample_text;

/// The endpoint `POST /admin/api/{version}/graphql.json`.
pub fn build_router() -> Router {
    Router::new().route("/admin/api/{version}/graphql.json", post(reply_to_query))
}

/// Responds to a GraphQL query whose variable `id` is the id of an order or of a fulfilment order.
async fn reply_to_query(Path(version): Path<String>, Json(query): Json<Value>) -> Json<Value> {
    let id = query["variables"]["id"].as_str().unwrap_or_default();
    tracing::debug!(version, "the fake of Shopify's Admin API received a query");
    Json(response_body(id))
}

/// The response to a query for the fulfilment order with this GraphQL id.
pub fn response_body(id: &str) -> Value {
    let order = id.strip_prefix("gid://shopify/FulfillmentOrder/").and_then(order_from_fulfillment_id);
    let text = order.map(|order| {
        read_sample_text("stores/shopify/_graphql_fulfillment_order.response.json")
            .replace("gid://shopify/FulfillmentOrder/6820000000001", id)
            .replace("5223452934380", &order.to_string())
            .replace("#1050", &format!("#{}", order_number(order)))
    });
    let response = text.and_then(|text| serde_json::from_str(&text).ok());
    response.unwrap_or_else(|| json!({"data": {"fulfillmentOrder": null}}))
}

/// The order number of a sample order, as the customer sees it.
pub fn order_number(order: i64) -> i64 {
    1000 + order % 9000
}

/// The id of a sample order's fulfilment order.
pub fn fulfillment_order_id(order: i64) -> String {
    format!("{order}1")
}

/// The order of a fulfilment order id.
fn order_from_fulfillment_id(id: &str) -> Option<i64> {
    id.strip_suffix('1')?.parse().ok().filter(|order| *order > 1_000_000_000_000)
}
