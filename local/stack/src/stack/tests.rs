//! The stack around a function that is this test program. `tests/stories` runs the real functions.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::functions::child;

const TEMPLATE: &str = r#"
Resources:
  Child:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: child}}
    Properties:
      Timeout: 5
      Environment:
        Variables: {CLIENT_CONFIG: /opt/client.toml, PROVIDER_BASE_URL: "https://elsewhere.example", LEAD_BASE_URL: "", CRM_BASE_URL: "", TABLE: !Ref Inbox, OWN: "1"}
      Events:
        Order: {Type: HttpApi, Properties: {Path: "/orders/{order}", Method: POST}}
        Line: {Type: HttpApi, Properties: {Path: "/lines/{line}/{secret}", Method: POST}}
        Poll: {Type: Schedule, Properties: {Schedule: rate(5 minutes), Input: '{"poll": "feeds", "do": "echo"}'}}
        EveryMinute: {Type: Schedule, Properties: {Schedule: rate(1 minute)}}
        Inbox:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Inbox.StreamArn
            StartingPosition: TRIM_HORIZON
            BatchSize: 2
            MaximumRetryAttempts: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
  Inbox:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
"#;

/// A workspace with a client and the function.
fn temp_workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let client = dir.path().join("clients/demo");
    std::fs::create_dir_all(&client).unwrap();
    std::fs::write(dir.path().join("template.yaml"), TEMPLATE).unwrap();
    std::fs::write(client.join("client.toml"), "client = \"demo\"\n[lines.main]\nline_id = \"line_1\"\n").unwrap();
    std::fs::write(client.join("secrets.json"), r#"{"tellonce/demo/lines/main": "token"}"#).unwrap();
    child::install_binary(dir.path(), child::FUNCTION_NAME);
    dir
}

fn test_options(dir: &tempfile::TempDir) -> StackOptions {
    StackOptions { binaries: Some(dir.path().to_owned()), ..StackOptions::new(dir.path()) }
}

fn put_item(stack: &LocalStack, id: &str, what: &str) {
    let item = json!({"id": {"S": id}, "do": {"S": what}});
    stack.dynamo().call_operation("PutItem", &json!({"TableName": "Inbox", "Item": item})).unwrap();
}

async fn post_json(stack: &LocalStack, path: &str, body: &'static str) -> (u16, Value) {
    let request = stack.provider().http().post(format!("{}{path}", stack.gateway_url())).body(body);
    let response = request.header("content-type", "application/json").send().await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn a_request_reaches_the_function_with_this_machine_around_it() {
    let dir = temp_workspace();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    let (status, answer) = post_json(&stack, "/orders/front", "{\"do\": \"echo\"}").await;
    assert_eq!(status, 200);
    assert_eq!(answer["event"]["pathParameters"]["order"], "front");
    let env = &answer["env"];
    let client = dir.path().canonicalize().unwrap().join("clients/demo/client.toml");
    assert_eq!(env["CLIENT_CONFIG"], client.to_str().unwrap());
    assert_eq!(env["PROVIDER_BASE_URL"], stack.provider().base_url());
    assert_eq!(env["LEAD_BASE_URL"], stack.gateway_url());
    assert_eq!(env["CRM_BASE_URL"], stack.gateway_url());
    assert_eq!(
        (&env["AWS_ENDPOINT_URL_SNS"], &env["AWS_ENDPOINT_URL_SESV2"]),
        (&env["CRM_BASE_URL"], &env["CRM_BASE_URL"])
    );
    assert!(env.get("CALENDAR_BASE_URL").is_none(), "the template does not give it");
    assert_eq!((&env["TABLE"], &env["AWS_LAMBDA_FUNCTION_NAME"]), (&json!("Inbox"), &json!("child")));
    assert_eq!(env["TELLONCE_CLOCK"], stack.clock().path().to_str().unwrap());
    assert!(env["AWS_ENDPOINT_URL_DYNAMODB"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(post_json(&stack, "/orders", "{}").await, (404, json!({"message": "Not Found"})));
    assert_eq!(stack.provider().line_ids(), ["line_1"]);
    stack.shutdown().await;
}

#[tokio::test]
async fn a_request_for_a_lead_needs_the_secret_of_the_form() {
    let dir = temp_workspace();
    let client = dir.path().join("clients/demo");
    let forms = "client = \"demo\"\n[forms.ads]\nkind = \"meta\"\n[forms.crm]\nkind = \"hubspot\"\n[forms.site]\nkind = \"web\"\n";
    std::fs::write(client.join("client.toml"), forms).unwrap();
    let secrets =
        r#"{"tellonce/demo/forms/ads": "page", "tellonce/demo/forms/crm": "app", "tellonce/demo/forms/site": "x"}"#;
    std::fs::write(client.join("secrets.json"), secrets).unwrap();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    let status = async |path: &str, token: &str| {
        let request = stack.provider().http().get(format!("{}{path}", stack.gateway_url())).bearer_auth(token);
        let response: Value = request.send().await.unwrap().json().await.unwrap();
        response["error"]["code"].as_u64().map_or_else(|| response["category"].to_string(), |code| code.to_string())
    };
    for (token, lead, contact) in [
        ("page", "100", "\"INVALID_AUTHENTICATION\""),
        ("app", "190", "\"OBJECT_NOT_FOUND\""),
        ("x", "190", "\"INVALID_AUTHENTICATION\""),
    ] {
        assert_eq!(status("/v26.0/1", token).await, lead, "{token}");
        assert_eq!(status("/crm/v3/objects/contacts/1", token).await, contact, "{token}");
    }
    stack.shutdown().await;
}

#[tokio::test]
async fn the_fakes_for_crms_and_the_team_respond_before_the_gateway() {
    let dir = temp_workspace();
    let client = dir.path().join("clients/demo");
    let config = "client = \"demo\"\n[crms.hub]\nkind = \"hubspot\"\n[targets.team]\nkind = \"slack\"\n";
    std::fs::write(client.join("client.toml"), config).unwrap();
    let secrets = r#"{"tellonce/demo/crms/hub": "hub-token", "tellonce/demo/targets/team": "https://hooks.slack.com/services/a/b/c"}"#;
    std::fs::write(client.join("secrets.json"), secrets).unwrap();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    let contacts = format!("{}/crm/v3/objects/contacts", stack.gateway_url());
    let contact = serde_json::json!({ "properties": { "phone": "+972545550199" }, "associations": [] });
    let made = stack.provider().http().post(&contacts).bearer_auth("hub-token").json(&contact);
    assert_eq!(made.send().await.unwrap().status(), 201);
    assert_eq!((stack.crms().names_and_services().len(), stack.crms().people("hub").len()), (1, 1));
    assert_eq!(post_json(&stack, "/services/a/b/c", "{\"text\": \"Noa waits\"}").await.0, 200);
    assert_eq!(stack.team().alerts()[0].target, "team");
    stack.fakes().fail_next(
        tellonce_fakes::services::FakeService::Target("slack"),
        tellonce_fakes::services::FakeFault::DroppedAfter,
        1,
    );
    let url = format!("{}/services/a/b/c", stack.gateway_url());
    let cut = stack.provider().http().post(url).json(&serde_json::json!({ "text": "x" }));
    assert!(cut.send().await.is_err());
    assert_eq!(stack.team().alerts().len(), 2);
    assert!(stack.provider().webhooks().is_empty(), "no line takes events");
    stack.shutdown().await;
}

#[tokio::test]
async fn a_line_with_events_has_a_webhook_and_its_messages_reach_the_function() {
    let dir = temp_workspace();
    let client = dir.path().join("clients/demo");
    let config =
        "client = \"demo\"\n[lines.main]\nline_id = \"line_1\"\nevents = true\n[lines.quiet]\nline_id = \"line_2\"\n";
    std::fs::write(client.join("client.toml"), config).unwrap();
    let secrets = r#"{"tellonce/demo/lines/main": "token", "tellonce/demo/webhooks/main/line": "hush"}"#;
    std::fs::write(client.join("secrets.json"), secrets).unwrap();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    let webhooks = stack.provider().webhooks();
    assert_eq!(webhooks.len(), 1);
    assert_eq!(
        (webhooks[0].line_id.as_str(), &webhooks[0].target_url),
        ("line_1", &format!("{}/lines/main/hush", stack.gateway_url()))
    );
    stack.provider().write_from_phone("+972501234567", "Hi", "line_1").unwrap();
    let arrived =
        stack.provider().wait_for(Duration::from_secs(5), |provider| provider.webhook_attempts().len() == 2).await;
    assert!(arrived && stack.invocation_counts(child::FUNCTION_NAME).started >= 2);
    stack.shutdown().await;
}

#[tokio::test]
async fn a_tick_invokes_what_is_scheduled_and_returns_its_response() {
    let dir = temp_workspace();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    assert_eq!(stack.tick_messages().await.unwrap()["event"]["source"], "aws.events");
    assert_eq!(stack.invocation_counts(child::FUNCTION_NAME).succeeded, 1);
    stack.shutdown().await;
}

#[tokio::test]
async fn a_poll_of_the_feeds_is_the_schedule_with_that_input() {
    let dir = temp_workspace();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    assert_eq!(stack.poll_feeds().await.unwrap()["event"], json!({"poll": "feeds", "do": "echo"}));
    assert_eq!(stack.invocation_counts(child::FUNCTION_NAME).succeeded, 1);
    stack.shutdown().await;
}

#[tokio::test]
async fn drain_returns_when_every_record_was_read_or_given_up() {
    let dir = temp_workspace();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    for (id, what) in [("a", "x"), ("b", "x"), ("c", "poison"), ("d", "x")] {
        put_item(&stack, id, what);
    }
    stack.drain().await.unwrap();
    assert!(stack.stream_states().unwrap().iter().all(MappingState::is_caught_up));
    // Without bisecting, the batch of two is given up together.
    let failures = stack.failures();
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].records.len(), failures[0].attempts), (2, 2));
    stack.shutdown().await;
}

#[tokio::test]
async fn pending_work_is_named_when_drain_fails() {
    let dir = temp_workspace();
    let stack = LocalStack::start(test_options(&dir)).await.unwrap();
    let hanging = tokio::spawn({
        let stack = stack.clone();
        async move { stack.invoke(child::FUNCTION_NAME, &json!({"do": "hang"})).await }
    });
    while stack.invocation_counts(child::FUNCTION_NAME).running == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = stack.drain_within(Duration::from_millis(50)).await.unwrap_err().to_string();
    assert!(error.contains("child has 1 invocation(s) running"), "{error}");
    stack.shutdown().await;
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn state_survives_a_restart_and_fresh_forgets_it() {
    let dir = temp_workspace();
    let kept = StackOptions { state: Some(dir.path().join("state")), ..test_options(&dir) };
    let stack = LocalStack::start(kept.clone()).await.unwrap();
    put_item(&stack, "a", "x");
    stack.drain().await.unwrap();
    stack.clock().advance(Duration::from_mins(1)).unwrap();
    // Written after the last batch: the next stack has to find it.
    stack.shutdown().await;
    put_item(&stack, "b", "x");

    let stack = LocalStack::start(kept.clone()).await.unwrap();
    stack.drain().await.unwrap();
    assert_eq!(stack.invocation_counts(child::FUNCTION_NAME).started, 1);
    assert_eq!(stack.dynamo().call_operation("Scan", &json!({"TableName": "Inbox"})).unwrap()["Count"], 2);
    assert_eq!(stack.clock().offset_ms(), 60_000);
    stack.shutdown().await;

    let stack = LocalStack::start(StackOptions { fresh: true, ..kept }).await.unwrap();
    assert_eq!(stack.dynamo().call_operation("Scan", &json!({"TableName": "Inbox"})).unwrap()["Count"], 0);
    assert_eq!(stack.clock().offset_ms(), 0);
    stack.shutdown().await;
}

#[tokio::test]
async fn a_missing_binary_is_named_with_the_way_to_build_it() {
    let dir = temp_workspace();
    std::fs::remove_file(dir.path().join(child::FUNCTION_NAME)).unwrap();
    let error = LocalStack::start(test_options(&dir)).await.unwrap_err().to_string();
    assert!(error.contains("child") && error.contains("cargo build"), "{error}");
}

#[tokio::test]
async fn extra_environment_wins() {
    let dir = temp_workspace();
    let env = BTreeMap::from([("OWN".to_owned(), "2".to_owned())]);
    let stack = LocalStack::start(StackOptions { env, ..test_options(&dir) }).await.unwrap();
    let response = stack.invoke(child::FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
    assert_eq!(response["env"]["OWN"], "2");
    stack.shutdown().await;
}
