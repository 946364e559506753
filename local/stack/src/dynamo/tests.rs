use std::time::Duration;

use futures::FutureExt as _;

use super::*;

fn sample_table() -> TemplateTable {
    TemplateTable {
        id: "Ledger".to_owned(),
        name: "Ledger".to_owned(),
        definition: json!({
            "TableName": "Ledger",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "subject", "AttributeType": "S"},
                {"AttributeName": "line", "AttributeType": "S"},
                {"AttributeName": "due_at", "AttributeType": "N"},
            ],
            "KeySchema": [{"AttributeName": "subject", "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": [{
                "IndexName": "due",
                "KeySchema": [{"AttributeName": "line", "KeyType": "HASH"}, {"AttributeName": "due_at", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["state", "priority"]},
            }],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
        }),
        ttl_attribute: Some("ttl".to_owned()),
    }
}

fn open_dynamo(dir: &tempfile::TempDir, file: Option<&str>) -> Arc<EmbeddedDynamo> {
    let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
    let dynamo = EmbeddedDynamo::open(file.map(|name| dir.path().join(name)).as_deref(), clock).unwrap();
    dynamo.create_tables(&[sample_table()]).unwrap();
    Arc::new(dynamo)
}

async fn put_item(dynamo: &Arc<EmbeddedDynamo>, subject: &str, condition: Option<&str>) -> (StatusCode, Value) {
    let mut request = json!({"TableName": "Ledger", "Item": {"subject": {"S": subject}}});
    if let Some(condition) = condition {
        request["ConditionExpression"] = json!(condition);
    }
    dynamo.clone().serve_request("PutItem".to_owned(), request, 1).await
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_table_with_their_capacity() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    let (status, answer) = put_item(&dynamo, "a", None).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({})));
    assert_eq!(put_item(&dynamo, "a", Some("attribute_not_exists(subject)")).await.0, StatusCode::BAD_REQUEST);
    let usage = dynamo.counters().operation_usage("PutItem", "Ledger");
    assert_eq!(usage.requests, 2);
    assert!((usage.units - 1.0).abs() < f64::EPSILON, "{usage:?}");
    assert_eq!(usage.errors, [("ConditionalCheckFailedException".to_owned(), 1)].into());
    assert_eq!((dynamo.counters().write_requests(), dynamo.counters().read_requests()), (2, 0));
    dynamo.counters().reset();
    assert_eq!(dynamo.counters().write_requests(), 0);
}

#[tokio::test]
async fn a_query_counts_read_units_and_hides_them_unless_requested() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    put_item(&dynamo, "a", None).await;
    let query = json!({"TableName": "Ledger", "KeyConditionExpression": "subject = :s", "ExpressionAttributeValues": {":s": {"S": "a"}}});
    let (_, answer) = dynamo.clone().serve_request("Query".to_owned(), query, 1).await;
    assert_eq!(answer["Count"], 1);
    assert!(answer.get("ConsumedCapacity").is_none());
    assert!((dynamo.counters().read_units() - 0.5).abs() < f64::EPSILON);
}

/// A transaction that puts `subject` if it is missing, while `guard` is missing.
async fn transact_put(dynamo: &Arc<EmbeddedDynamo>, subject: &str, token: &str) -> (StatusCode, Value) {
    let put = json!({"TableName": "Ledger", "Item": {"subject": {"S": subject}}, "ConditionExpression": "attribute_not_exists(subject)"});
    let check = json!({"TableName": "Ledger", "Key": {"subject": {"S": "guard"}}, "ConditionExpression": "attribute_not_exists(subject)"});
    let request = json!({"ClientRequestToken": token, "TransactItems": [{"Put": put}, {"ConditionCheck": check}]});
    dynamo.clone().serve_request("TransactWriteItems".to_owned(), request, 1).await
}

#[tokio::test]
async fn a_transaction_is_one_request_of_its_table_and_costs_double() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    assert_eq!(transact_put(&dynamo, "a", "1").await, (StatusCode::OK, json!({})));
    let (status, answer) = transact_put(&dynamo, "a", "2").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["__type"].as_str().unwrap().ends_with("#TransactionCanceledException"), "{answer}");
    let codes: Vec<&str> = answer["CancellationReasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["Code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["ConditionalCheckFailed", "None"]);
    let usage = dynamo.counters().operation_usage("TransactWriteItems", "Ledger");
    assert_eq!((usage.requests, usage.errors["TransactionCanceledException"]), (2, 1));
    assert!((usage.units - 4.0).abs() < f64::EPSILON, "{usage:?}");
    assert_eq!(dynamo.counters().write_requests(), 2);
}

#[tokio::test]
async fn a_transaction_hits_the_faults_of_its_table_and_is_recognized_by_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    for fault in [DynamoFault::Outage, DynamoFault::LoseResponse] {
        let (operation, table) = (Some("TransactWriteItems".to_owned()), Some("Ledger".to_owned()));
        dynamo.faults().inject_rule(FaultRule { operation, table, fault, frequency: FaultFrequency::Next(1) });
    }
    // refused, carried out without an answer, and recognised
    for expected in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK] {
        assert_eq!(transact_put(&dynamo, "a", "1").await.0, expected);
    }
    assert_eq!(transact_put(&dynamo, "a", "2").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_conflict_is_worded_as_for_the_operation_and_never_meets_a_read() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    let inject = |fault| {
        dynamo.faults().inject_rule(FaultRule {
            operation: None,
            table: None,
            fault,
            frequency: FaultFrequency::Next(1),
        });
    };
    inject(DynamoFault::TransactionConflict);
    let read = json!({"TableName": "Ledger", "Key": {"subject": {"S": "a"}}});
    assert_eq!(dynamo.clone().serve_request("GetItem".to_owned(), read, 1).await.0, StatusCode::OK);
    let (status, answer) = put_item(&dynamo, "a", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["__type"].as_str().unwrap().ends_with("#TransactionConflictException"), "{answer}");
    for (fault, code) in [
        (DynamoFault::TransactionConflict, "TransactionConflict"),
        (DynamoFault::TransactionThrottled, "ThrottlingError"),
    ] {
        inject(fault);
        let (status, answer) = transact_put(&dynamo, "a", "1").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["__type"].as_str().unwrap().ends_with("#TransactionCanceledException"), "{answer}");
        let codes =
            answer["CancellationReasons"].as_array().unwrap().iter().map(|reason| reason["Code"].as_str().unwrap());
        assert_eq!(codes.collect::<Vec<_>>(), [code, "None"]);
    }
    // A single write meets no throttling of transactions.
    inject(DynamoFault::TransactionThrottled);
    assert_eq!(put_item(&dynamo, "a", None).await.0, StatusCode::OK);
    assert_eq!(dynamo.faults().list_rules().len(), 1);
}

#[tokio::test]
async fn a_delayed_write_takes_effect_although_the_caller_gave_up() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    dynamo.faults().delay(Some("Ledger"), Duration::from_millis(5));
    let request = json!({"TableName": "Ledger", "Item": {"subject": {"S": "a"}}}).to_string();
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", "DynamoDB_20120810.PutItem".parse().unwrap());
    let (roles, hash_keys, stored) = (Arc::default(), BTreeMap::new(), Arc::default());
    let endpoint = DynamoEndpoint { dynamo: dynamo.clone(), roles, hash_keys, stored };
    let answer = handle_http(State(Arc::new(endpoint)), headers, request.into());
    // The caller gives up at once.
    assert!(answer.now_or_never().is_none());
    let key = json!({"TableName": "Ledger", "Key": {"subject": {"S": "a"}}});
    let is_written = || dynamo.call_operation("GetItem", &key).unwrap()["Item"].is_object();
    assert!(!is_written());
    for _ in 0..4000 {
        if is_written() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the write never took effect");
}

#[tokio::test]
async fn throttling_ends_after_as_many_requests_as_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    dynamo.faults().throttle_next(1);
    let (status, answer) = put_item(&dynamo, "a", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["__type"].as_str().unwrap().ends_with("#ThrottlingException"));
    assert_eq!(put_item(&dynamo, "a", None).await.0, StatusCode::OK);
    assert!(dynamo.faults().list_rules().is_empty());
}

#[tokio::test]
async fn a_lost_response_still_does_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    let rule = FaultRule {
        operation: Some("PutItem".to_owned()),
        table: Some("Ledger".to_owned()),
        fault: DynamoFault::LoseResponse,
        frequency: FaultFrequency::Next(1),
    };
    dynamo.faults().inject_rule(rule);
    assert_eq!(put_item(&dynamo, "a", None).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let item =
        dynamo.call_operation("GetItem", &json!({"TableName": "Ledger", "Key": {"subject": {"S": "a"}}})).unwrap();
    assert_eq!(to_plain_item(&item["Item"]).unwrap(), json!({"subject": "a"}));
}

#[tokio::test]
async fn a_fraction_hits_about_that_share() {
    let dir = tempfile::tempdir().unwrap();
    let dynamo = open_dynamo(&dir, None);
    dynamo.faults().throttle_fraction(0.3);
    let mut refused = 0;
    for _ in 0..200 {
        refused += u32::from(put_item(&dynamo, "a", None).await.0 != StatusCode::OK);
    }
    assert!((30..=90).contains(&refused), "{refused}");
}

#[tokio::test]
async fn tables_in_a_file_are_kept_and_another_shape_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    put_item(&open_dynamo(&dir, Some("dynamo.db")), "kept", None).await;
    let dynamo = open_dynamo(&dir, Some("dynamo.db"));
    assert_eq!(dynamo.call_operation("Scan", &json!({"TableName": "Ledger"})).unwrap()["Count"], 1);
    let mut other = sample_table();
    other.definition["GlobalSecondaryIndexes"][0]["Projection"] = json!({"ProjectionType": "KEYS_ONLY"});
    let error = format!("{:#}", dynamo.create_tables(&[other]).unwrap_err());
    assert!(error.contains("--fresh"), "{error}");
}

#[tokio::test]
async fn items_in_memory_expire_by_the_clock_of_the_stack() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
    let dynamo = EmbeddedDynamo::open(None, clock.clone()).unwrap();
    dynamo.create_tables(&[sample_table()]).unwrap();
    let ttl = (clock.now_ms() / 1000 + 3600).to_string();
    dynamo
        .call_operation("PutItem", &json!({"TableName": "Ledger", "Item": {"subject": {"S": "a"}, "ttl": {"N": ttl}}}))
        .unwrap();
    assert_eq!(dynamo.sweep_ttl().unwrap(), 0);
    clock.advance(Duration::from_hours(2)).unwrap();
    assert_eq!(dynamo.sweep_ttl().unwrap(), 1);
}

#[test]
fn typed_attributes_become_plain_json() {
    let typed = json!({"a": {"N": "3"}, "b": {"L": [{"S": "x"}, {"BOOL": true}]}, "c": {"M": {"d": {"NULL": true}}}});
    assert_eq!(to_plain_item(&typed).unwrap(), json!({"a": 3, "b": ["x", true], "c": {"d": null}}));
}
