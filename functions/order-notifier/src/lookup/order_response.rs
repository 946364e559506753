//! Parses the store's response and completes the event with it.

use serde::Deserialize;
use tellonce_core::{
    client_config::{ClientConfig, Milestone, StoreConfig},
    contact::{self, PhoneCandidate, PhoneRule, build_full_name},
    json::{self, JsonError, RawJson},
};

use super::error::OrderLookupError;
use crate::{
    order_event::{CustomerContact, OrderEvent, ParsedOrder, PartialOrderEvent},
    order_import::{ImportMark, OrderImport},
    order_outcome::OrderSkipReason,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct OrderResponse<'a> {
    #[serde(borrow, deserialize_with = "json::deserialize_object_or_empty")]
    data: Option<OrderResponseData<'a>>,
    /// A list of [`GraphqlError`]s. Some refusals hold a plain text instead.
    errors: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OrderResponseData<'a> {
    #[serde(borrow, deserialize_with = "json::deserialize_object_or_empty")]
    order: Option<GraphqlOrder<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    fulfillment_order: Option<GraphqlFulfillmentOrder<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlFulfillmentOrder<'a> {
    #[serde(borrow, deserialize_with = "json::deserialize_object_or_empty")]
    assigned_location: Option<GraphqlLocation<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    order: Option<GraphqlOrder<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GraphqlLocation<'a> {
    #[serde(borrow)]
    name: RawJson<'a>,
    address1: RawJson<'a>,
    address2: RawJson<'a>,
    city: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlOrder<'a> {
    #[serde(borrow)]
    legacy_resource_id: RawJson<'a>,
    name: RawJson<'a>,
    test: RawJson<'a>,
    created_at: RawJson<'a>,
    processed_at: RawJson<'a>,
    closed_at: RawJson<'a>,
    cancelled_at: RawJson<'a>,
    phone: RawJson<'a>,
    email: RawJson<'a>,
    customer_locale: RawJson<'a>,
    status_page_url: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    total_price_set: Option<GraphqlMoneySet<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    customer: Option<GraphqlCustomer<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    shipping_address: Option<GraphqlAddress<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    billing_address: Option<GraphqlAddress<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    shipping_line: Option<GraphqlShippingLine<'a>>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    fulfillments: Vec<GraphqlFulfillment<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlMoneySet<'a> {
    #[serde(borrow, deserialize_with = "json::deserialize_object_or_empty")]
    presentment_money: Option<GraphqlMoney<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlMoney<'a> {
    #[serde(borrow)]
    amount: RawJson<'a>,
    currency_code: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlCustomer<'a> {
    #[serde(borrow)]
    first_name: RawJson<'a>,
    last_name: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    default_phone_number: Option<GraphqlCustomerPhone<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlCustomerPhone<'a> {
    #[serde(borrow)]
    phone_number: RawJson<'a>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlAddress<'a> {
    #[serde(borrow)]
    name: RawJson<'a>,
    phone: RawJson<'a>,
    country_code_v2: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GraphqlShippingLine<'a> {
    #[serde(borrow)]
    title: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlFulfillment<'a> {
    #[serde(borrow)]
    legacy_resource_id: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    tracking_info: Vec<GraphqlTrackingInfo<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GraphqlTrackingInfo<'a> {
    #[serde(borrow)]
    company: RawJson<'a>,
    number: RawJson<'a>,
    url: RawJson<'a>,
}

/// One entry of `errors` in a GraphQL response.
#[derive(Default, Deserialize)]
#[serde(default)]
struct GraphqlError<'a> {
    #[serde(borrow)]
    message: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    extensions: Option<GraphqlErrorExtensions<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GraphqlErrorExtensions<'a> {
    #[serde(borrow)]
    code: RawJson<'a>,
    required_access: RawJson<'a>,
}

/// Completes an event from the store's response. The result may be [`ParsedOrder::Skipped`],
/// because the response may show that the customer needs no message. It is never
/// [`ParsedOrder::NeedsLookup`].
pub fn parse_order_response(
    event: &PartialOrderEvent,
    body: &[u8],
    store: &StoreConfig,
    config: &ClientConfig,
) -> Result<ParsedOrder, OrderLookupError> {
    let response: OrderResponse<'_> = json::parse_object(body)?;
    let problem = find_worst_error(response.errors);
    let data = response.data.unwrap_or_default();
    let (order, pickup_location) = match data.fulfillment_order {
        Some(found) => (found.order, found.assigned_location),
        None => (data.order, None),
    };
    let Some(order) = order else {
        return match problem {
            Some(problem) => Err(problem),
            None => Ok(ParsedOrder::Skipped(OrderSkipReason::OrderNotFound)),
        };
    };
    if order.test.is_true() {
        return Ok(ParsedOrder::Skipped(OrderSkipReason::TestOrder));
    }
    let country = store.country.as_deref().unwrap_or(&config.country);
    let mut found = order.build_contact(country, config.phones);
    // A partial response omits the fields that the token may not read. It is useful only if a
    // number is known.
    if found.phone.is_none()
        && event.contact.phone.is_none()
        && let Some(problem) = problem
    {
        return Err(problem);
    }
    found.redacted |=
        found.phone.is_none() && found.phone_problem.is_none() && found.name.is_none() && order.email.text().is_none();
    let Some(order_id) = event.order.id().map(str::to_owned).or_else(|| order.legacy_resource_id.owned_text()) else {
        return Err(OrderLookupError::UnexpectedResponse(JsonError::Missing("/data/…/order/legacyResourceId".into())));
    };
    let mut complete = event.clone().complete_with(order_id, &found, order.name.text().as_deref());
    order.add_values(&mut complete);
    if let Some(location) = &pickup_location {
        location.add_values(&mut complete);
    }
    // The order was cancelled since.
    if order.cancelled_at.text().is_some() && !complete.milestone.stays_true_after_cancellation() {
        return Ok(ParsedOrder::Skipped(OrderSkipReason::StaleTransition));
    }
    if !event.is_certain && order.shipping_address.is_none() {
        complete.milestone = Milestone::Delivered;
        return Ok(if complete.values.contains_key("pickup_location") {
            ParsedOrder::Suppressed(Box::new(complete), OrderSkipReason::PickupFulfilled)
        } else {
            ParsedOrder::Skipped(OrderSkipReason::NothingToShip)
        });
    }
    Ok(order.judge_event(Box::new(complete)))
}

impl GraphqlOrder<'_> {
    /// The event, unless the order was imported and this belongs to the import.
    fn judge_event(&self, event: Box<OrderEvent>) -> ParsedOrder {
        let happened_at = [self.processed_at, self.closed_at, self.cancelled_at].map(RawJson::as_time);
        let import = OrderImport::from_times(happened_at, self.created_at.as_time(), ImportMark::Unmarked);
        OrderImport::judge_event(import, event)
    }

    fn build_contact(&self, country: &str, rule: PhoneRule) -> CustomerContact {
        let shipping = self.shipping_address.unwrap_or_default();
        let billing = self.billing_address.unwrap_or_default();
        let customer = self.customer.as_ref();
        let default_phone = customer.and_then(|customer| customer.default_phone_number.as_ref());
        let candidates = [
            self.phone.into(),
            PhoneCandidate { phone: shipping.phone, country: shipping.country_code_v2 },
            default_phone.map(|own| own.phone_number).unwrap_or_default().into(),
            PhoneCandidate { phone: billing.phone, country: billing.country_code_v2 },
        ];
        let (phone, phone_problem) = contact::first_usable_phone(candidates, country, rule);
        let name = customer
            .and_then(|customer| build_full_name(customer.first_name, customer.last_name))
            .or_else(|| shipping.name.owned_text())
            .or_else(|| billing.name.owned_text());
        CustomerContact { phone, phone_problem, redacted: false, name, locale: self.customer_locale.owned_text() }
    }

    fn add_values(&self, event: &mut OrderEvent) {
        let total = self.total_price_set.as_ref().and_then(|set| set.presentment_money.as_ref());
        if let Some(money) = total
            && let (Some(total), Some(currency)) = (money.amount.owned_text(), money.currency_code.owned_text())
            // If the refund has another currency than the order, one variable cannot hold both.
            && event.values.get("currency").is_none_or(|known| *known == currency)
        {
            event.values.insert("total".to_owned(), total);
            event.values.insert("currency".to_owned(), currency);
        }
        let parcel = self.fulfillments.iter().find(|parcel| {
            event
                .parcel
                .as_deref()
                .is_some_and(|parcel_id| parcel.legacy_resource_id.text().is_some_and(|id| id == parcel_id))
        });
        let tracking = parcel.and_then(|parcel| parcel.tracking_info.first());
        let pickup_line = self.shipping_line.as_ref().filter(|_| self.shipping_address.is_none());
        let more = [
            ("order_url", self.status_page_url.owned_link()),
            ("tracking_company", tracking.and_then(|tracking| tracking.company.owned_text())),
            ("tracking_number", tracking.and_then(|tracking| tracking.number.owned_text())),
            ("tracking_url", tracking.and_then(|tracking| tracking.url.owned_link())),
            ("pickup_location", pickup_line.and_then(|line| line.title.owned_text())),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                event.values.entry(name.to_owned()).or_insert(value);
            }
        }
    }
}

impl GraphqlLocation<'_> {
    fn add_values(&self, event: &mut OrderEvent) {
        let lines = [self.address1, self.address2, self.city];
        let address: Vec<_> = lines.into_iter().filter_map(RawJson::text).collect();
        if let Some(name) = self.name.owned_text() {
            event.values.insert("pickup_location".to_owned(), name);
        }
        if !address.is_empty() {
            event.values.insert("pickup_address".to_owned(), address.join(", "));
        }
    }
}

/// The most serious of a response's `errors`, if there are any.
fn find_worst_error(errors: RawJson<'_>) -> Option<OrderLookupError> {
    if let Some(error_text) = errors.text() {
        return Some(if error_text.to_ascii_lowercase().contains("throttled") {
            OrderLookupError::Throttled { retry_after: None }
        } else {
            OrderLookupError::UnsupportedQuery
        });
    }
    let problems: Vec<GraphqlError<'_>> = errors.deserialize_as()?;
    problems.iter().map(GraphqlError::to_lookup_error).min_by_key(|meaning| meaning.0).map(|(_, error)| error)
}

impl GraphqlError<'_> {
    /// The meaning of the error and its rank. An access error explains the errors that follow from
    /// it, so its rank is lowest.
    fn to_lookup_error(&self) -> (u8, OrderLookupError) {
        let details = self.extensions.as_ref();
        let code = details.and_then(|details| details.code.text()).unwrap_or_default();
        let message = self.message.text().unwrap_or_default();
        match &*code {
            "ACCESS_DENIED" => {
                let required_access = details.and_then(|details| details.required_access.text());
                (
                    0,
                    OrderLookupError::MissingScope {
                        missing: describe_missing_scope(required_access.as_deref().unwrap_or(&message)),
                    },
                )
            }
            "THROTTLED" => (1, OrderLookupError::Throttled { retry_after: None }),
            "INTERNAL_SERVER_ERROR" | "TIMEOUT" => (2, OrderLookupError::StoreUnavailable { status: 200 }),
            "SHOP_INACTIVE" => (3, OrderLookupError::Refused { status: 200 }),
            _ if message.eq_ignore_ascii_case("throttled") => (1, OrderLookupError::Throttled { retry_after: None }),
            _ if message.contains("access") => {
                (0, OrderLookupError::MissingScope { missing: describe_missing_scope(&message) })
            }
            _ => (4, OrderLookupError::UnsupportedQuery),
        }
    }
}

/// The scopes that a refusal names. The text itself is Shopify's and must not enter the log.
fn describe_missing_scope(text: &str) -> String {
    let scopes: Vec<&str> = text
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| ["read_", "write_"].iter().any(|start| word.starts_with(start) && word.len() > start.len()))
        .collect();
    if scopes.is_empty() {
        "access to protected customer data, or a scope that the store does not name".to_owned()
    } else {
        format!("the access scope {}", scopes.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tellonce_core::fault::{ClassifyFault, Fault};

    use super::*;
    use crate::{
        lookup::tests::{order_json, parse_response, response_body, sample_pickup, sample_scan},
        samples::expect_event,
    };

    #[test]
    fn the_sample_response_completes_the_sample_event() {
        let sample_answer = tellonce_samples::read_sample("stores/shopify/_graphql_fulfillment_order.response.json");
        let ready = expect_event(parse_response(&sample_pickup(), sample_answer).unwrap());
        assert_eq!((ready.milestone, &*ready.order_id), (Milestone::Ready, "5223452934380"));
        assert_eq!(ready.order_number.as_deref(), Some("#1050"));
        assert_eq!(ready.contact.require_phone().unwrap().expose(), "+972525550101");
        assert_eq!((ready.contact.name.as_deref(), ready.contact.locale.as_deref()), (Some("Dana"), Some("en")));
        assert_eq!(ready.values["pickup_location"], "Dizengoff store");
        assert_eq!(ready.values["pickup_address"], "99 Dizengoff St, Tel Aviv-Yafo");
    }

    #[test]
    fn a_scan_is_completed_with_its_customer_and_tracking() {
        let out = expect_event(parse_response(&sample_scan(), response_body(&json!({}))).unwrap());
        assert_eq!((out.milestone, out.order_number.as_deref()), (Milestone::OutForDelivery, Some("#1042")));
        assert_eq!(out.contact.require_phone().unwrap().expose(), "+972545550199");
        assert_eq!(out.contact.locale.as_deref(), Some("he-IL"));
        assert_eq!(
            (&*out.values["tracking_number"], &*out.values["tracking_url"]),
            ("RR1", "https://track.example/RR1")
        );
        assert_eq!((&*out.values["total"], &*out.values["currency"]), ("118.0", "ILS"));
    }

    #[test]
    fn the_current_state_of_the_order_decides() {
        let cancelled = json!({"cancelledAt": "2026-11-20T07:00:00Z"});
        assert_eq!(
            parse_response(&sample_scan(), response_body(&cancelled)).unwrap(),
            ParsedOrder::Skipped(OrderSkipReason::StaleTransition)
        );
        assert_eq!(
            parse_response(&sample_scan(), response_body(&json!({"test": true}))).unwrap(),
            ParsedOrder::Skipped(OrderSkipReason::TestOrder)
        );
        let refunded = PartialOrderEvent { milestone: Milestone::Refunded, ..sample_scan() };
        assert!(
            matches!(parse_response(&refunded, response_body(&cancelled)).unwrap(), ParsedOrder::Event(_)),
            "a refund is still true after a cancellation"
        );
    }

    #[test]
    fn an_uncertain_fulfillment_is_a_parcel_only_with_an_address() {
        let unclear = PartialOrderEvent { milestone: Milestone::Shipped, is_certain: false, ..sample_scan() };
        assert!(matches!(parse_response(&unclear, response_body(&json!({}))).unwrap(), ParsedOrder::Event(_)));
        let pickup = json!({"shippingAddress": null, "phone": "+972545550199"});
        assert!(matches!(
            parse_response(&unclear, response_body(&pickup)).unwrap(),
            ParsedOrder::Suppressed(event, OrderSkipReason::PickupFulfilled) if event.milestone == Milestone::Delivered
        ));
        let download = json!({"shippingAddress": null, "shippingLine": null});
        assert_eq!(
            parse_response(&unclear, response_body(&download)).unwrap(),
            ParsedOrder::Skipped(OrderSkipReason::NothingToShip)
        );
    }

    #[test]
    fn a_refusal_names_only_the_missing_scope() {
        let denied = json!({"data": {"fulfillmentOrder": null}, "errors": [
            {"message": "Throttled", "extensions": {"code": "THROTTLED"}},
            {"message": "Access denied for fulfillmentOrder field. Required access: `read_assigned_fulfillment_orders` \
                or `read_merchant_managed_fulfillment_orders`. Ask noa@example.com", "extensions": {"code": "ACCESS_DENIED"}},
        ]});
        let error = parse_response(&sample_pickup(), denied.to_string()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store's token lacks the access scope read_assigned_fulfillment_orders or \
             read_merchant_managed_fulfillment_orders"
        );
        assert_eq!(error.fault(), Fault::Permanent);
        let customer = json!({"data": {"order": null}, "errors": [
            {"message": "This app is not approved to access the Customer object."}]});
        assert!(
            parse_response(&sample_scan(), customer.to_string())
                .unwrap_err()
                .to_string()
                .contains("protected customer data")
        );
    }

    #[test]
    fn a_partial_response_is_enough_if_it_has_a_phone_number() {
        let mut partial = json!({"data": {"order": order_json(&json!({"customer": null}))}});
        partial["errors"] = json!([{"message": "Access denied", "extensions": {"code": "ACCESS_DENIED"}}]);
        assert!(matches!(parse_response(&sample_scan(), partial.to_string()).unwrap(), ParsedOrder::Event(_)));
        partial["data"]["order"]["shippingAddress"] = Value::Null;
        assert!(matches!(
            parse_response(&sample_scan(), partial.to_string()),
            Err(OrderLookupError::MissingScope { .. })
        ));
    }

    #[test]
    fn every_other_response_is_a_classified_error_or_a_missing_order() {
        for (body, fault) in [
            (json!({"errors": [{"message": "Throttled"}], "extensions": {"cost": {}}}), Fault::Transient),
            (json!({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}), Fault::Transient),
            (json!({"errors": [{"message": "Field 'x' doesn't exist on type 'Order'"}]}), Fault::Permanent),
            (json!({"errors": "Not Found"}), Fault::Permanent),
            (json!([]), Fault::Permanent),
            (json!({"data": {"order": 5}}), Fault::Permanent),
        ] {
            assert_eq!(parse_response(&sample_scan(), body.to_string()).unwrap_err().fault(), fault, "{body}");
        }
        for body in [json!({"data": {"order": null}}), json!({"data": null}), json!({})] {
            let parsed = parse_response(&sample_scan(), body.to_string()).unwrap();
            assert_eq!(parsed, ParsedOrder::Skipped(OrderSkipReason::OrderNotFound), "{body}");
        }
        let withheld = json!({"email": null, "customer": null, "shippingAddress": null});
        let withheld = expect_event(parse_response(&sample_scan(), response_body(&withheld)).unwrap());
        assert_eq!(withheld.contact.require_phone(), Err(OrderSkipReason::PersonalDataRedacted));
    }
}
