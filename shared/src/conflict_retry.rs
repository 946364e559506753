//! Which refusals of `DynamoDB` the SDK repeats in addition to its own.
//!
//! The SDK repeats throttled requests, `TransactionInProgressException`, 5xx and lost responses. It
//! leaves two kinds of errors to the caller: `TransactionConflictException`, by which a single
//! write meets a transaction on the same item, and `TransactionCanceledException`, which may have
//! any reason. [`ConflictClassifier`] repeats both if only time was the problem: a conflict, or
//! throttling inside of the transaction.
//!
//! A cancelled transaction in which a condition failed is an answer, whatever else happened, and is
//! never repeated.
//!
//! The SDK pauses for a random time before each repeat, up to a limit that doubles each time, and
//! gives all attempts of a transaction one client token. So an attempt whose response was lost
//! counts once. A cancelled attempt has changed nothing.
//!
//! Sources: `aws-runtime`, `retries/classifiers.rs`, for what the SDK repeats;
//! docs.aws.amazon.com, `TransactWriteItems`, "Errors", for the reasons and their codes.

use aws_sdk_dynamodb::{
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError, update_item::UpdateItemError},
    types::CancellationReason,
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};

/// Repeats writes that met a transaction, and transactions that met other writes or throttling.
#[derive(Debug)]
pub(crate) struct ConflictClassifier;

impl ClassifyRetry for ConflictClassifier {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(|e| e.as_operation_error());
        let Some(error) = error else { return RetryAction::NoActionIndicated };
        let put = error.downcast_ref().is_some_and(PutItemError::is_transaction_conflict_exception);
        let update = error.downcast_ref().is_some_and(UpdateItemError::is_transaction_conflict_exception);
        let cancelled = match error.downcast_ref() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                may_succeed_later(cancelled.cancellation_reasons())
            }
            _ => false,
        };
        if put || update || cancelled { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "writes that met a transaction"
    }
}

/// Whether a transaction was cancelled only for reasons that pass.
fn may_succeed_later(reasons: &[CancellationReason]) -> bool {
    let mut codes = reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").peekable();
    let has_reason = codes.peek().is_some();
    has_reason
        && codes.all(|code| matches!(code, "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aws_sdk_dynamodb::{
        Client,
        types::{AttributeValue, Put, TransactWriteItem},
    };
    use loopback::{FakeApi, http_response};
    use serde_json::{Value, json};

    use crate::bootstrap::tests::start_fake_aws;

    async fn fake_table() -> (FakeApi, Client) {
        let (fake_api, aws) = start_fake_aws().await;
        (fake_api, aws.dynamodb())
    }

    fn refusal(kind: &str, more: &Value) -> String {
        let mut body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "Message": "…"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        http_response("400 Bad Request\r\ncontent-type: application/x-amz-json-1.0", &body.to_string())
    }

    fn cancelled(codes: &[&str]) -> String {
        let reasons: Vec<Value> = codes.iter().map(|code| json!({ "Code": code })).collect();
        refusal("TransactionCanceledException", &json!({ "CancellationReasons": reasons }))
    }

    fn accepted() -> String {
        http_response("200 OK\r\ncontent-type: application/x-amz-json-1.0", "{}")
    }

    async fn serve(fake_api: &FakeApi, replies: &[String]) -> Vec<String> {
        let mut requests = Vec::new();
        for reply in replies {
            requests.push(fake_api.reply_once(reply).await.unwrap());
        }
        requests
    }

    async fn write_transaction(client: &Client) -> bool {
        let id = AttributeValue::S("1".to_owned());
        let put = Put::builder().table_name("Ledger").item("id", id).build().unwrap();
        let items = vec![TransactWriteItem::builder().put(put).build()];
        client.transact_write_items().set_transact_items(Some(items)).send().await.is_ok()
    }

    #[tokio::test]
    async fn a_transaction_is_repeated_under_one_token_while_only_time_is_the_problem() {
        let (fake_api, client) = fake_table().await;
        let replies = [
            cancelled(&["None", "TransactionConflict"]),
            cancelled(&["ThrottlingError", "TransactionConflict"]),
            cancelled(&["ProvisionedThroughputExceeded"]),
            accepted(),
        ];
        let (requests, is_written) = tokio::join!(serve(&fake_api, &replies), write_transaction(&client));
        assert!(is_written);
        let token = |request: &String| {
            let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            body["ClientRequestToken"].as_str().unwrap().to_owned()
        };
        assert_eq!(requests.iter().map(token).collect::<BTreeSet<_>>().len(), 1);
        // Two calls are two transactions.
        let accepted = [accepted()];
        let (again, _) = tokio::join!(serve(&fake_api, &accepted), write_transaction(&client));
        assert_ne!(token(&again[0]), token(&requests[0]));
    }

    #[tokio::test]
    async fn a_transaction_whose_condition_failed_or_that_is_invalid_is_not_repeated() {
        for codes in [
            &["ConditionalCheckFailed", "None"][..],
            &["ConditionalCheckFailed", "TransactionConflict"],
            &["TransactionConflict", "ValidationError"],
            &["None", "None"],
            &[],
        ] {
            let (fake_api, client) = fake_table().await;
            // The fake replies once, so a second attempt would succeed or wait.
            let replies = [cancelled(codes)];
            let (_, is_written) = tokio::join!(serve(&fake_api, &replies), write_transaction(&client));
            assert!(!is_written, "{codes:?}");
        }
    }

    #[tokio::test]
    async fn a_single_write_that_meets_a_transaction_is_repeated() {
        let conflict = refusal("TransactionConflictException", &json!({}));
        let replies = [conflict.clone(), conflict, accepted()];
        let key = || AttributeValue::S("1".to_owned());
        let (fake_api, client) = fake_table().await;
        let put = client.put_item().table_name("Ledger").item("id", key()).send();
        tokio::join!(serve(&fake_api, &replies), put).1.unwrap();
        let update = client.update_item().table_name("Ledger").key("id", key()).send();
        tokio::join!(serve(&fake_api, &replies), update).1.unwrap();
        let refused = [refusal("ConditionalCheckFailedException", &json!({}))];
        let put = client.put_item().table_name("Ledger").item("id", key()).send();
        tokio::join!(serve(&fake_api, &refused), put).1.unwrap_err();
    }
}
