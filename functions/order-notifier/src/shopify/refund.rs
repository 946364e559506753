//! The topic about money that went back.

use serde::Deserialize;
use shared::client_config::Milestone;

use super::{missing, parse, put};
use crate::{
    amount::Amount,
    order_event::{Contact, Delivery, NothingBecause, OrderRef, PartialEvent, Reading, Values},
};
use shared::json::{self, Raw};

/// The refund resource.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refund<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    order_id: Raw<'a>,
    created_at: Raw<'a>,
    processed_at: Raw<'a>,
    #[serde(deserialize_with = "json::list")]
    transactions: Vec<Transaction<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transaction<'a> {
    #[serde(borrow)]
    kind: Raw<'a>,
    status: Raw<'a>,
    test: Raw<'a>,
    amount: Raw<'a>,
    currency: Raw<'a>,
}

pub(super) fn made(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let refund: Refund<'_> = parse(delivery)?;
    let id = refund.id.string().ok_or_else(|| missing("/id"))?;
    let order = refund.order_id.string().ok_or_else(|| missing("/order_id"))?;
    let is = |raw: Raw<'_>, what: &str| raw.text().is_some_and(|text| text.eq_ignore_ascii_case(what));
    let paid: Vec<&Transaction<'_>> = refund
        .transactions
        .iter()
        .filter(|transaction| is(transaction.kind, "refund") && is(transaction.status, "success"))
        .collect();
    if !paid.is_empty() && paid.iter().all(|transaction| transaction.test.is_true()) {
        return Err(NothingBecause::TestOrder);
    }
    let sum = paid.iter().try_fold(Amount::default(), |sum, transaction| {
        sum.plus(transaction.amount.text().and_then(|amount| amount.parse().ok())?)
    });
    let amount = sum.ok_or_else(|| missing("/transactions/*/amount"))?;
    if !amount.is_positive() {
        return Err(NothingBecause::RefundWithoutMoney);
    }
    let mut values = Values::new();
    let currency = paid.first().and_then(|first| first.currency.string());
    // A sum over several currencies is no amount; the text then has none to show.
    if paid.iter().all(|transaction| transaction.currency.string() == currency) {
        values.insert("refund_amount".to_owned(), amount.to_string());
        put(&mut values, "currency", currency);
    }
    Ok(Reading::NeedsOrder(Box::new(PartialEvent {
        milestone: Milestone::Refunded,
        order: OrderRef::Id(order),
        thread: None,
        instance: Some(id),
        occurred_at: delivery.happened(refund.processed_at.time().or_else(|| refund.created_at.time())),
        contact: Contact::default(),
        order_number: None,
        values,
        certain: true,
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        samples::{partial, read_as},
        shopify::tests::{changed, reason},
    };

    #[test]
    fn only_money_that_went_back_is_a_refund() {
        let transaction = |kind: &str, status: &str, amount: &str, currency: &str| json!({"kind": kind, "status": status, "amount": amount, "currency": currency});
        let refund = |transactions: Value| {
            read_as("shop", Some("refunds/create"), changed("refunds_create", &json!({"transactions": transactions})))
        };
        let two = partial(refund(json!([
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
            assert_eq!(reason(refund(none)), "refund-without-money");
        }
        assert_eq!(reason(refund(json!([transaction("refund", "success", "five", "ILS")]))), "not-understood");
        let mixed = partial(refund(json!([
            transaction("refund", "success", "5.00", "ILS"),
            transaction("refund", "success", "5.00", "USD"),
        ])));
        assert!(!mixed.values.contains_key("refund_amount"), "shekels and dollars don't add up");
    }
}
