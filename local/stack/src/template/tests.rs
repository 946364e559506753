use super::*;

const FIXTURE: &str = r#"
AWSTemplateFormatVersion: 2010-09-09
Transform: AWS::Serverless-2016-10-31
Parameters:
  Client: {Type: String}
  ClientDir: {Type: String, Default: clients/demo}
  ProviderBaseUrl: {Type: String, Default: "https://app.ezw.solutions"}
  LogLevel: {Type: String, Default: info}
  NotifierTimeout: {Type: Number, Default: 30}
Conditions:
  Quiet: !Equals [!Ref LogLevel, "off"]
Globals:
  Function:
    Runtime: provided.al2023
    MemorySize: 128
    Environment:
      Variables:
        SECRETS_PREFIX: !Sub "tellonce/${Client}"
        LOG_LEVEL: !If [Quiet, error, !Ref LogLevel]
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
  Receiver:
    Type: AWS::Serverless::Function
    Metadata:
      BuildMethod: rust-cargolambda
      BuildProperties: {Binary: webhook-receiver}
    Properties:
      CodeUri: .
      Handler: bootstrap
      Timeout: 5
      Policies: [{Statement: [{Effect: Allow, Action: x, Resource: !GetAtt Somewhere.Arn}]}]
      Environment:
        Variables:
          STORE_INBOX_TABLE: !Ref StoreInbox
          LOG_LEVEL: debug
      Events:
        Delivery:
          Type: HttpApi
          Properties: {ApiId: !Ref Api, Method: post, Path: "/stores/{store}"}
  Notifier:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: order-notifier}}
    Properties:
      Timeout: !Ref NotifierTimeout
      Events:
        Inbox:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt StoreInbox.StreamArn
            StartingPosition: TRIM_HORIZON
            BatchSize: 10
            BisectBatchOnFunctionError: true
            MaximumRetryAttempts: 10
            FunctionResponseTypes: [ReportBatchItemFailures]
            FilterCriteria:
              Filters:
                - Pattern: '{"eventName": ["INSERT"]}'
            DestinationConfig:
              OnFailure: {Type: SQS, Destination: !GetAtt Failures.Arn}
  Scheduler:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: reminder-scheduler}}
    Properties:
      Events:
        EveryMinute: {Type: Schedule, Properties: {Schedule: rate(1 minute)}}
        Poll: {Type: Schedule, Properties: {Schedule: rate(5 minutes), Input: '{"poll": "feeds"}'}}
        Inbox:
          Type: DynamoDB
          Properties: {Stream: !GetAtt StoreInbox.StreamArn, StartingPosition: LATEST}
  Skipped:
    Type: AWS::Lambda::Url
    Condition: Quiet
  Failures: {Type: AWS::SQS::Queue}
  StoreInbox:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
      TimeToLiveSpecification: {AttributeName: ttl, Enabled: true}
      PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}
"#;

fn test_parameters() -> BTreeMap<String, String> {
    BTreeMap::from([("Client".to_owned(), "demo".to_owned())])
}

fn parse_template(text: &str) -> anyhow::Result<SamTemplate> {
    SamTemplate::parse(text, &test_parameters())
}

#[test]
fn functions_come_with_their_environment_routes_and_limits() {
    let template = parse_template(FIXTURE).unwrap();
    let receiver = template.find_function("webhook-receiver").unwrap();
    assert_eq!(receiver.routes, [HttpRoute { method: "POST".into(), path: "/stores/{store}".into() }]);
    assert_eq!(receiver.env["STORE_INBOX_TABLE"], "StoreInbox");
    assert_eq!(receiver.env["SECRETS_PREFIX"], "tellonce/demo");
    assert_eq!(receiver.env["LOG_LEVEL"], "debug");
    assert_eq!((receiver.timeout, receiver.memory_mb), (Duration::from_secs(5), 128));
    let notifier = template.find_function("order-notifier").unwrap();
    assert_eq!(notifier.env["LOG_LEVEL"], "info");
    assert_eq!(notifier.timeout, Duration::from_secs(30));
}

#[test]
fn a_stream_mapping_keeps_every_setting() {
    let template = parse_template(FIXTURE).unwrap();
    let mapping = &template.find_function("order-notifier").unwrap().streams[0];
    assert_eq!(mapping.id, "Notifier/Inbox");
    assert_eq!(mapping.table, "StoreInbox");
    assert_eq!((mapping.batch_size, mapping.max_retries), (10, Some(10)));
    assert!(mapping.bisect && mapping.reports_failures && mapping.from_start);
    assert_eq!(mapping.on_failure.as_deref(), Some("Failures"));
    assert_eq!(mapping.filters.len(), 1);
}

#[test]
fn a_table_becomes_a_create_table_request() {
    let template = parse_template(FIXTURE).unwrap();
    let table = &template.tables[0];
    assert_eq!(table.ttl_attribute.as_deref(), Some("ttl"));
    assert_eq!(table.definition["StreamSpecification"], json!({"StreamViewType": "NEW_IMAGE", "StreamEnabled": true}));
    assert_eq!(table.definition["TableName"], "StoreInbox");
    assert!(table.definition.get("PointInTimeRecoverySpecification").is_none());
}

#[test]
fn a_schedule_is_read_as_an_interval() {
    let template = parse_template(FIXTURE).unwrap();
    let every = |n| Duration::from_secs(n);
    let schedules = &template.find_function("reminder-scheduler").unwrap().schedules;
    assert_eq!((schedules[0].interval, &schedules[0].input), (every(60), &None));
    assert_eq!((schedules[1].interval, &schedules[1].input), (every(300), &Some(json!({"poll": "feeds"}))));
    assert_eq!(parse_interval("rate(5 minutes)").unwrap(), every(300));
    assert!(parse_interval("cron(0 8 * * ? *)").is_err());
    assert!(parse_interval("rate(0 minutes)").is_err());
}

#[test]
fn a_function_may_have_a_stream_beside_its_schedules() {
    let template = parse_template(FIXTURE).unwrap();
    let scheduler = template.find_function("reminder-scheduler").unwrap();
    let ids: Vec<&str> = scheduler.schedules.iter().map(|schedule| schedule.id.as_str()).collect();
    assert_eq!(ids, ["Scheduler/EveryMinute", "Scheduler/Poll"]);
    let mapping = &scheduler.streams[0];
    assert_eq!((mapping.id.as_str(), mapping.table.as_str()), ("Scheduler/Inbox", "StoreInbox"));
    assert_eq!((mapping.batch_size, mapping.from_start, mapping.max_retries), (100, false, None));
}

#[test]
fn a_parameter_without_a_value_is_named() {
    let error = format!("{:#}", SamTemplate::parse(FIXTURE, &BTreeMap::new()).unwrap_err());
    assert!(error.contains("parameter Client"), "{error}");
}

#[test]
fn wiring_the_stack_does_not_know_is_refused_by_name() {
    for (from, to, wanted) in [
        ("Type: HttpApi\n", "Type: SNS\n", "type \"SNS\""),
        ("BatchSize: 10", "BatchSize: 10\n            TumblingWindowInSeconds: 3", "TumblingWindowInSeconds"),
        ("BatchSize: 10", "ParallelizationFactor: 2", "ParallelizationFactor"),
        ("'{\"poll\": \"feeds\"}'", "feeds", "Input is not JSON"),
        ("'{\"poll\": \"feeds\"}'", "{poll: feeds}", "Input should be JSON as text"),
        ("Condition: Quiet", "DependsOn: Api", "AWS::Lambda::Url"),
        ("!GetAtt StoreInbox.StreamArn", "!Ref Elsewhere", "Elsewhere"),
        ("BuildProperties: {Binary: webhook-receiver}", "BuildProperties: {}", "Receiver"),
        ("StreamSpecification: {StreamViewType: NEW_IMAGE}", "TableClass: STANDARD", "no StreamSpecification"),
        ("!Sub \"tellonce/${Client}\"", "!Transform x", "!Transform"),
        ("!Ref StoreInbox\n", "{Ref: StoreInbox}\n", "short form of Ref"),
        ("Method: post", "Method: any", "method ANY"),
        ("/stores/{store}", "/stores/{rest+}", "/stores/{rest+}"),
    ] {
        let text = FIXTURE.replace(from, to);
        assert_ne!(text, FIXTURE, "{from}");
        let error = format!("{:#}", parse_template(&text).unwrap_err());
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn the_template_of_this_project_is_understood() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let template = SamTemplate::read(&path, &test_parameters()).unwrap();
    let names: Vec<&str> = template.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(
        names,
        ["conversation-sync", "lead-first-touch", "order-notifier", "reminder-scheduler", "webhook-receiver"]
    );
    let inboxes = [
        ("order-notifier", "StoreInbox"),
        ("reminder-scheduler", "BookingInbox"),
        ("lead-first-touch", "LeadInbox"),
        ("conversation-sync", "LineInbox"),
    ];
    for (function, table) in inboxes {
        let streams = &template.find_function(function).unwrap().streams;
        let inbox = streams.iter().find(|stream| stream.table == table).unwrap();
        assert_eq!(streams.len(), if function == "conversation-sync" { 2 } else { 1 }, "{function}");
        let image = |event: &str, image: Value| json!({"eventName": event, "dynamodb": {"NewImage": image}});
        let passes = |record: &Value| inbox.filters.iter().any(|filter| filter.matches(record));
        assert!(passes(&image("INSERT", json!({"id": {"S": "1"}}))));
        assert!(passes(&image("MODIFY", json!({"id": {"S": "1"}}))));
        assert!(!passes(&image("MODIFY", json!({"id": {"S": "1"}, "outcome": {"S": "sent"}}))));
        assert!(!passes(&json!({"eventName": "REMOVE", "dynamodb": {"Keys": {"id": {"S": "1"}}}})));
    }
    let routes: Vec<&str> =
        template.find_function("webhook-receiver").unwrap().routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(
        routes,
        [
            "/bookings/{calendar}",
            "/leads/{form}",
            "/leads/{form}/{secret}",
            "/leads/{form}",
            "/lines/{line}/{secret}",
            "/stores/{store}"
        ]
    );
    let schedules = &template.find_function("reminder-scheduler").unwrap().schedules;
    let schedules: Vec<(u64, Option<Value>)> =
        schedules.iter().map(|schedule| (schedule.interval.as_secs(), schedule.input.clone())).collect();
    assert_eq!(schedules, [(60, None), (300, Some(json!({"poll": "feeds"})))]);
}

/// The template of this project, as one client deploys it.
fn project_template(parameters: &[(&str, &str)]) -> SamTemplate {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let given = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    SamTemplate::read(&path, &test_parameters().into_iter().chain(given).collect()).unwrap()
}

/// Everything that the roles allow: the function or the role of people, action and resource.
fn list_permissions(template: &SamTemplate) -> BTreeSet<String> {
    let account = format!("{}:{}:", crate::REGION, crate::ACCOUNT);
    let of_role = |(role, statements): (&String, &Vec<RoleStatement>)| {
        let function = template.functions.iter().find(|function| function.role.as_deref() == Some(role));
        let name = function.map_or(role, |function| &function.name);
        let lines: String = statements.iter().map(ToString::to_string).collect();
        let lines = lines.replace("arn:aws:", "").replace(&account, "");
        lines.lines().map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
    };
    template.roles.iter().flat_map(of_role).collect()
}

fn join_lines<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    lines.into_iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_role_allows_exactly_these_actions() {
    insta::assert_snapshot!(join_lines(&list_permissions(&project_template(&[]))));
}

#[test]
fn each_parameter_with_a_permission_adds_only_that_permission() {
    let without = list_permissions(&project_template(&[]));
    let added = [
        ("Acknowledgements", "true"),
        ("NotificationIdentityArn", "arn:aws:ses:eu-west-1:1:identity/agency.example"),
        ("NotificationConfigurationSetArn", "arn:aws:ses:eu-west-1:1:configuration-set/default"),
        ("NotificationInSandbox", "true"),
        ("NotificationTopicArn", "arn:aws:sns:eu-west-1:1:team"),
        ("KmsKeyArn", "arn:aws:kms:eu-west-1:1:key/1"),
        ("ReaderPrincipalArn", "arn:aws:iam::1:role/agency"),
        ("OperatorPrincipalArn", "arn:aws:iam::1:role/agency"),
    ]
    .map(|(parameter, value)| {
        let with = list_permissions(&project_template(&[(parameter, value)]));
        assert!(with.is_superset(&without), "{parameter} takes a permission away");
        format!("{parameter}\n{}", join_lines(with.difference(&without)))
    });
    // Secrets are for a role that exists. Under a key of the client's own, it also encrypts them.
    let operator = ("OperatorPrincipalArn", "arn:aws:iam::1:role/agency");
    let key = ("KmsKeyArn", "arn:aws:kms:eu-west-1:1:key/1");
    let keeps = ("OperatorSecrets", "true");
    assert_eq!(list_permissions(&project_template(&[keeps])), without);
    let before = list_permissions(&project_template(&[operator, key]));
    let with = list_permissions(&project_template(&[operator, key, keeps]));
    let of_secrets = format!("OperatorSecrets\n{}", join_lines(with.difference(&before)));
    insta::assert_snapshot!([added.join("\n\n"), of_secrets].join("\n\n"));
}

#[test]
fn no_role_allows_every_action_or_every_resource_of_a_service() {
    // AWS limits the first to no resource, and the second to none for a search by prefix.
    let unlimited = ["cloudwatch:GetMetricData on *", "cloudwatch:DescribeAlarms on *"];
    for line in list_permissions(&project_template(&[
        ("Acknowledgements", "true"),
        ("ReaderPrincipalArn", "arn:aws:iam::1:role/agency"),
        ("OperatorPrincipalArn", "arn:aws:iam::1:role/agency"),
        ("OperatorSecrets", "true"),
    ])) {
        let is_unlimited = line.ends_with(" on *") && !unlimited.iter().any(|action| line.ends_with(action));
        assert!(!line.contains(":* on ") && !is_unlimited, "{line}");
    }
}

/// Keys, indexes and projections as the functions of the last release know them. While a stack is
/// updated, two versions of a function work on the same tables. A change of a line here needs the
/// steps of docs/decisions/0010-changes-of-a-table.md.
const RECORDED_TABLES: &str = "\
BookingInbox/about: about (S), received_at (N); INCLUDE outcome, outcome_at, outcome_text, sender, topic
BookingInbox/needs-person: needs_person (S), outcome_at (N); INCLUDE outcome, outcome_text, received_at, sender, topic
BookingInbox: id (S)
LeadInbox/about: about (S), received_at (N); INCLUDE outcome, outcome_at, outcome_text, sender, topic
LeadInbox/needs-person: needs_person (S), outcome_at (N); INCLUDE outcome, outcome_text, received_at, sender, topic
LeadInbox: id (S)
Ledger/contact: contact (S), created_at (N); KEYS_ONLY
Ledger/due: due_queue (S), due_at (N); INCLUDE appointment, ignores_quiet_hours, priority, state, useful_until, version, waiting_since, zone
Ledger/provider: provider_id (S); KEYS_ONLY
Ledger: subject (S), stage (S)
LineInbox/needs-person: needs_person (S), outcome_at (N); INCLUDE outcome, outcome_text, received_at, sender, topic
LineInbox: id (S)
StoreInbox/about: about (S), received_at (N); INCLUDE outcome, outcome_at, outcome_text, sender, topic
StoreInbox/needs-person: needs_person (S), outcome_at (N); INCLUDE outcome, outcome_text, received_at, sender, topic
StoreInbox: id (S)
";

#[test]
fn keys_indexes_and_projections_are_the_recorded_ones() {
    let mut lines = BTreeSet::new();
    for table in &project_template(&[]).tables {
        let attributes = table.definition["AttributeDefinitions"].as_array().unwrap();
        let kind_of = |name: &Value| {
            let attribute = attributes.iter().find(|attribute| attribute["AttributeName"] == *name).unwrap();
            format!("{} ({})", name.as_str().unwrap(), attribute["AttributeType"].as_str().unwrap())
        };
        let keys = |schema: &Value| {
            let names = schema.as_array().unwrap().iter().map(|key| kind_of(&key["AttributeName"]));
            names.collect::<Vec<_>>().join(", ")
        };
        lines.insert(format!("{}: {}", table.id, keys(&table.definition["KeySchema"])));
        for index in table.definition["GlobalSecondaryIndexes"].as_array().into_iter().flatten() {
            let projection = &index["Projection"];
            let mut included: Vec<&str> =
                projection["NonKeyAttributes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            included.sort_unstable();
            lines.insert(
                format!(
                    "{}/{}: {}; {} {}",
                    table.id,
                    index["IndexName"].as_str().unwrap(),
                    keys(&index["KeySchema"]),
                    projection["ProjectionType"].as_str().unwrap(),
                    included.join(", ")
                )
                .trim_end()
                .to_owned(),
            );
        }
    }
    let found: String = lines.into_iter().map(|line| line + "\n").collect();
    assert_eq!(found, RECORDED_TABLES, "see docs/decisions/0010-changes-of-a-table.md");
}
