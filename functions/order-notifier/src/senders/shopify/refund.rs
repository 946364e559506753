//! The topic about refunds.

use serde::Deserialize;
use tellonce_core::client_config::Milestone;

use super::body_checks::check_signed_time;
use crate::{
    amount::Amount,
    order_event::{
        CustomerContact, EventValues, OrderDelivery, OrderReference, ParsedOrder, PartialOrderEvent, insert_some,
    },
    order_outcome::OrderSkipReason,
};
use tellonce_core::json::{self, RawJson};

/// The refund resource.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyRefund<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    order_id: RawJson<'a>,
    created_at: RawJson<'a>,
    processed_at: RawJson<'a>,
    refund_line_items: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    transactions: Vec<ShopifyTransaction<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShopifyTransaction<'a> {
    #[serde(borrow)]
    kind: RawJson<'a>,
    status: RawJson<'a>,
    test: RawJson<'a>,
    amount: RawJson<'a>,
    currency: RawJson<'a>,
}

pub(super) fn parse_refund(delivery: &OrderDelivery<'_>) -> Result<ParsedOrder, OrderSkipReason> {
    let refund: ShopifyRefund<'_> = delivery.parse_body()?;
    let id = refund.id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/id"))?;
    let order = refund.order_id.owned_text().ok_or_else(|| OrderSkipReason::missing_field("/order_id"))?;
    if refund.transactions.is_empty() && !refund.refund_line_items.is_present() {
        return Err(OrderSkipReason::TopicContradictsBody("transactions"));
    }
    check_signed_time(delivery, [("created_at", refund.created_at), ("processed_at", refund.processed_at)])?;
    let equals = |raw: RawJson<'_>, what: &str| raw.text().is_some_and(|text| text.eq_ignore_ascii_case(what));
    let successful: Vec<&ShopifyTransaction<'_>> = refund
        .transactions
        .iter()
        .filter(|transaction| equals(transaction.kind, "refund") && equals(transaction.status, "success"))
        .collect();
    if !successful.is_empty() && successful.iter().all(|transaction| transaction.test.is_true()) {
        return Err(OrderSkipReason::TestOrder);
    }
    let sum = successful.iter().try_fold(Amount::default(), |sum, transaction| {
        sum.checked_add(transaction.amount.text().and_then(|amount| amount.parse().ok())?)
    });
    let amount = sum.ok_or_else(|| OrderSkipReason::missing_field("/transactions/*/amount"))?;
    if !amount.is_positive() {
        return Err(OrderSkipReason::RefundWithoutMoney);
    }
    let mut values = EventValues::new();
    let currency = successful.first().and_then(|first| first.currency.owned_text());
    // A sum over several currencies is not an amount, so the text gets none.
    if successful.iter().all(|transaction| transaction.currency.owned_text() == currency) {
        values.insert("refund_amount".to_owned(), amount.to_string());
        insert_some(&mut values, "currency", currency);
    }
    Ok(ParsedOrder::NeedsLookup(Box::new(PartialOrderEvent {
        milestone: Milestone::Refunded,
        order: OrderReference::Id(order),
        parcel: None,
        instance: Some(id),
        occurred_at: delivery.event_time(refund.processed_at.as_time().or_else(|| refund.created_at.as_time())),
        contact: CustomerContact::default(),
        order_number: None,
        values,
        is_certain: true,
        is_repeated_by_changes: false,
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        samples::{expect_partial, parse_as},
        senders::shopify::tests::{changed_sample, expect_skip_code},
    };

    #[test]
    fn only_successful_refund_transactions_are_counted() {
        let transaction = |kind: &str, status: &str, amount: &str, currency: &str| json!({"kind": kind, "status": status, "amount": amount, "currency": currency});
        let refund = |transactions: Value| {
            parse_as(
                "shop",
                Some("refunds/create"),
                changed_sample("refunds_create", &json!({"transactions": transactions})),
            )
        };
        let two = expect_partial(refund(json!([
            transaction("refund", "success", "59.00", "ILS"),
            transaction("refund", "success", "0.9", "ILS"),
            transaction("refund", "failure", "7.00", "ILS"),
            transaction("void", "success", "8.00", "ILS"),
        ])));
        assert_eq!(two.values["refund_amount"], "59.90");
        for none in [
            json!([]),
            json!(null),
            json!([transaction("refund", "pending", "5.00", "ILS")]),
            json!([transaction("refund", "success", "0.00", "ILS")]),
        ] {
            assert_eq!(expect_skip_code(refund(none)), "refund-without-money");
        }
        assert_eq!(
            expect_skip_code(refund(json!([transaction("refund", "success", "five", "ILS")]))),
            "not-understood"
        );
        let mixed = expect_partial(refund(json!([
            transaction("refund", "success", "5.00", "ILS"),
            transaction("refund", "success", "5.00", "USD"),
        ])));
        assert!(!mixed.values.contains_key("refund_amount"), "amounts in shekels and dollars have no sum");
    }
}
