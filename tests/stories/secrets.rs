//! Secrets in both layouts: how many requests they cost, how they are rotated, and what an operator
//! sees of them.

use jiff::SignedDuration;
use serde_json::json;
use tellonce_core::{client_config::ClientConfig, secret::Secret};
use tellonce_ops::{ClientStack, NewValues, SecretKeeper, SecretsError, SecretsReport, ValueState, list_operations};

use crate::{
    booking_endpoint, lead_endpoint,
    world::{ERP_SECRET, World, WorldSetup, ZAP_HEADER_SECRET},
};

const PHONE: &str = "+972545550199";
const NEW_ERP_SECRET: &str = "whsec_c3RvcmllcyBvZiBhIG5ldyBzZWNyZXQsIDAwMDE=";
const WEBHOOKS: &str = "tellonce/story/webhooks";
/// The stories' client has 19 senders and a line.
const FOUR_FORMS: [&str; 4] = ["spring", "summer", "autumn", "winter"];

/// A client with 24 senders.
async fn large_world(separate_secrets: bool) -> World {
    let form = |name: &str| {
        format!(
            "[forms.{name}]\nkind = \"web\"\nverify = {{ scheme = \"secret-path\" }}\nline = \"main\"\nid_scope = \"{name}\"\n\
             consent = {{ stated = \"…\" }}\nfirst_touch = {{ useful_for = \"1d\", text = {{ en = \"Hi\", he = \"…\" }} }}\n"
        )
    };
    let setup = WorldSetup {
        extra_toml: FOUR_FORMS.map(form).concat().leak(),
        extra_secrets: FOUR_FORMS
            .map(|name| (format!("webhooks/{name}").leak() as &str, format!("{name}-0123456789-0123456789-0123")))
            .to_vec(),
        line_events: true,
        separate_secrets,
        ..WorldSetup::default()
    };
    World::start_with(setup).await
}

#[tokio::test]
async fn a_cold_start_of_a_client_with_24_senders_reads_one_secret() {
    for separate in [false, true] {
        let world = large_world(separate).await;
        let secrets = world.stack.secrets();
        // Another sender's path starts the function and needs no secret.
        assert_eq!(world.post(world.erp_post("m-0", "ready", "1", PHONE).with_header("content-type", None)).await, 415);
        let in_init = secrets.total_request_count();
        assert_eq!(in_init, u64::from(!separate), "separate: {separate}");
        world.stack.dynamo().counters().reset();
        assert_eq!(world.post(world.erp_post("m-1", "ready", "1", PHONE)).await, 200);
        assert_eq!(secrets.total_request_count(), 1, "separate: {separate}");
        let inbox = world.stack.dynamo().counters().operation_usage("PutItem", &world.table_name("StoreInbox"));
        assert_eq!((inbox.requests, inbox.units), (1, 1.0), "a new delivery is one write");
        // The next sender's secret is another one, or another member.
        let lead = lead_endpoint::typeform_post(lead_endpoint::recorded_body("typeform/form_response.json"));
        assert_eq!(world.post(lead).await, 200);
        world.settle().await;
        let webhooks = [format!("{WEBHOOKS}/erp"), format!("{WEBHOOKS}/typeform"), WEBHOOKS.to_owned()];
        let expected = if separate { [1, 1, 0] } else { [0, 0, 1] };
        assert_eq!(webhooks.map(|name| secrets.request_count(&name)), expected);
    }
}

#[tokio::test]
async fn every_kind_of_value_is_found_in_the_secret_of_its_role() {
    let world = World::start().await;
    // A webhook secret and a line token.
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
    // The key of a booking system's API, and an address of a feed.
    world.deliver(booking_endpoint::acuity_post(booking_endpoint::recorded_body("acuity/changed.form"))).await;
    world.stack.poll_feeds().await.unwrap();
    // A Page's token of Meta.
    world.deliver(lead_endpoint::meta_post(lead_endpoint::recorded_body("meta/leadgen.json"))).await;
    let secrets = world.stack.secrets();
    let read: Vec<String> = secrets.list_names().into_iter().filter(|name| secrets.request_count(name) > 0).collect();
    assert_eq!(read, ["tellonce/story/apis", "tellonce/story/lines", "tellonce/story/webhooks"]);
    assert_eq!(secrets.list_names(), read, "no value has a secret of its own");
    let missing = ["order-notifier", "lead-first-touch", "reminder-scheduler", "webhook-receiver"];
    let logs: Vec<String> = missing.iter().flat_map(|name| world.stack.log_lines(name)).map(|line| line.text).collect();
    assert!(!logs.iter().any(|line| line.contains("does not exist")), "{logs:#?}");
}

#[tokio::test]
async fn a_change_of_one_member_leaves_its_old_value_valid_until_the_next_change_of_its_secret() {
    let world = World::start().await;
    let signed_with = |secret: &str, id: &str| world.erp_post_with_secret(secret, id, "ready", id, PHONE);
    let zap = |id: &str| {
        let body = json!({"event": "ready", "order": {"id": id}, "event_id": id, "phone": PHONE});
        tellonce_samples::WebhookPost::new("/stores/zap", "application/json", body.to_string())
            .with_header("X-Webhook-Token", Some(ZAP_HEADER_SECRET))
    };
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-1")).await, 200);
    world.stack.secrets().rotate(&format!("{WEBHOOKS}/erp"), NEW_ERP_SECRET);
    world.advance_time(SignedDuration::from_secs(31));
    assert_eq!(world.post(signed_with(NEW_ERP_SECRET, "m-2")).await, 200);
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-3")).await, 200, "the version before holds it");
    assert_eq!(world.post(zap("z-1")).await, 200, "the other members are as they were");
    // Another member changes within the day: now the version before holds the new value.
    world.stack.secrets().rotate(&format!("{WEBHOOKS}/woo"), "another-secret-of-the-shop");
    world.advance_time(SignedDuration::from_mins(16));
    let read_at = world.now();
    assert_eq!(world.post(signed_with(NEW_ERP_SECRET, "m-4")).await, 200);
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-5")).await, 401, "the limit of one previous version");
    // Strangers cause at most one read in half a minute. Other functions read other secrets.
    world.stack.secrets().reset_requests();
    for number in 0..20 {
        assert_eq!(world.post(signed_with(ERP_SECRET, &format!("f-{number}"))).await, 401);
    }
    let half_minutes = world.now().duration_since(read_at).as_secs() / 30;
    assert!(world.stack.secrets().request_count(WEBHOOKS) <= u64::try_from(half_minutes).unwrap());
}

#[tokio::test]
async fn a_secret_of_a_role_that_does_not_parse_is_named_and_never_shown() {
    let world = World::start().await;
    let secrets = world.stack.secrets();
    let before: Vec<(&str, String)> =
        [("erp", ERP_SECRET), ("zap", ZAP_HEADER_SECRET)].map(|(name, value)| (name, value.to_owned())).to_vec();
    for (id, text, message) in [
        ("m-1", r#"{"erp": "hunter2",}"#, "the secret tellonce/story/webhooks is not a JSON object"),
        ("m-2", r#"{"erpp": "hunter2"}"#, "the secret tellonce/story/webhooks (member `erp`) does not exist"),
        ("m-3", r#"{"erp": ["hunter2"]}"#, "the secret tellonce/story/webhooks (member `erp`) holds no text"),
    ] {
        secrets.store_text(WEBHOOKS, text);
        world.stack.kill_function("webhook-receiver").await;
        assert_eq!(world.post(world.erp_post(id, "ready", id, PHONE)).await, 503, "{text}");
        let logs = world.stack.log_lines("webhook-receiver");
        assert!(logs.iter().any(|line| line.text.contains(message)), "{logs:#?}");
        assert!(!logs.iter().any(|line| line.text.contains("hunter")), "{logs:#?}");
    }
    // Once it is stored correctly, it is read within half a minute.
    let whole: serde_json::Map<_, _> = before.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    secrets.store_text(WEBHOOKS, &json!(whole).to_string());
    world.advance_time(SignedDuration::from_secs(31));
    world.deliver(world.erp_post("m-4", "ready", "m-4", PHONE)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order m-4: ready."]);
}

/// The parameters of a stack whose operator keeps the secrets.
fn role_parameters(keeps_secrets: bool) -> std::collections::BTreeMap<String, String> {
    let principal = "arn:aws:iam::000000000000:root".to_owned();
    [
        ("ReaderPrincipalArn", principal.clone()),
        ("OperatorPrincipalArn", principal),
        ("OperatorSecrets", keeps_secrets.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn connect(world: &World, caller: &str) -> (ClientStack, ClientConfig) {
    let stack = ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), caller).unwrap();
    let text = std::fs::read_to_string(world.stack.client_folder().join("client.toml")).unwrap();
    (stack, ClientConfig::parse(&text).unwrap())
}

/// The state of each value of a secret that is not simply stored.
fn list_states<'r>(report: &'r SecretsReport, secret: &str) -> Vec<(&'r str, ValueState)> {
    let secret = report.secrets.iter().find(|of| of.name == secret).unwrap();
    let values = secret.values.iter().filter(|value| value.state != ValueState::Stored);
    values.map(|value| (value.member.as_deref().unwrap_or_default(), value.state)).collect()
}

#[tokio::test]
async fn a_list_of_secrets_shows_no_value_and_each_role_sees_what_it_may() {
    let parameters = role_parameters(true);
    let world = World::start_with(WorldSetup { parameters, ..WorldSetup::default() }).await;
    let secrets = world.stack.secrets();
    secrets.remove(&format!("{WEBHOOKS}/zap"));
    secrets.rotate(&format!("{WEBHOOKS}/old-shop"), "hunter2-hunter2-hunter2");
    secrets.rotate(&format!("{WEBHOOKS}/woo"), "hunter2");
    let (operator, config) = connect(&world, "local-OperatorRole");
    let report = operator.survey_secrets(&config, true).await.unwrap();
    let expected = [
        ("woo", ValueState::Unusable),
        ("zap", ValueState::Missing),
        // The line reports no events.
        ("main/line", ValueState::Unused),
        ("old-shop", ValueState::Unused),
    ];
    assert_eq!(list_states(&report, WEBHOOKS), expected);
    assert!(list_states(&report, "tellonce/story/lines").is_empty());
    let webhooks = report.secrets.iter().find(|secret| secret.name == WEBHOOKS).unwrap();
    assert_eq!((webhooks.last_read_on, webhooks.versions.len()), (None, 2), "the report was the first to read it");
    assert!(webhooks.previous_accepted_until.unwrap() > world.now());
    assert!(!serde_json::to_string(&report).unwrap().contains("hunter"), "{report:?}");

    // A function reads it, and a later list says so.
    world.advance_time(SignedDuration::from_hours(25));
    assert_eq!(world.post(world.erp_post("m-1", "ready", "1", PHONE)).await, 200);
    let (reader, _) = connect(&world, "local-ReaderRole");
    let report = reader.survey_secrets(&config, true).await.unwrap();
    assert!(world.stack.roles().take_refused_calls().iter().all(|call| call.contains("GetSecretValue")));
    let webhooks = report.secrets.iter().find(|secret| secret.name == WEBHOOKS).unwrap();
    assert!(webhooks.values.iter().all(|value| value.state == ValueState::NotRead), "{webhooks:?}");
    assert_eq!(
        (webhooks.last_read_on, webhooks.previous_accepted_until),
        (Some(world.now().to_zoned(jiff::tz::TimeZone::UTC).date()), None)
    );
}

#[tokio::test]
async fn separate_secrets_are_listed_without_reading_any() {
    let parameters = role_parameters(false);
    let setup = WorldSetup { parameters, separate_secrets: true, ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    world.stack.secrets().remove(&format!("{WEBHOOKS}/zap"));
    let (operator, config) = connect(&world, "local-OperatorRole");
    let report = operator.survey_secrets(&config, true).await.unwrap();
    assert_eq!(list_states(&report, &format!("{WEBHOOKS}/zap")), [("", ValueState::Missing)]);
    assert_eq!((report.count_faults(), world.stack.secrets().total_request_count()), (1, 0));
}

const ERP: &str = "tellonce/story/webhooks/erp";
const CURRENT_HOOK: &str = "whsec_c3RvcmllcyBvZiBhIG5ldyBzZWNyZXQsIDAwMDI=";

fn new_value(name: &str, value: &str) -> NewValues {
    NewValues { values: [(name.to_owned(), Secret::new(value))].into(), ..NewValues::default() }
}

#[tokio::test]
async fn a_stored_value_is_used_beside_the_old_one_and_a_second_one_in_a_day_warns() {
    let parameters = role_parameters(true);
    let world = World::start_with(WorldSetup { parameters, ..WorldSetup::default() }).await;
    let signed_with = |secret: &str, id: &str| world.erp_post_with_secret(secret, id, "ready", id, PHONE);
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-1")).await, 200);
    let (stack, config) = connect(&world, "local-OperatorRole");
    let keeper = SecretKeeper::connect(&stack, &config, false).await.unwrap();
    let plan = keeper.plan(&new_value(ERP, NEW_ERP_SECRET)).await.unwrap();
    assert_eq!((plan.changes.len(), plan.changes[0].accepted_until), (1, None));
    assert!(!format!("{plan:?}{}", serde_json::to_string(&plan).unwrap()).contains("whsec_"), "{plan:?}");
    keeper.run(&plan, Some("a story")).await.unwrap();
    let report = keeper.report_rotation(ERP).await.unwrap();
    assert!(report.stored_at.is_some() && !report.is_read && report.old_accepted_until.is_some(), "{report:?}");
    world.advance_time(SignedDuration::from_secs(31));
    assert_eq!(world.post(signed_with(NEW_ERP_SECRET, "m-2")).await, 200);
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-3")).await, 200, "the value before is accepted for a day");
    assert!(keeper.report_rotation(ERP).await.unwrap().is_read);
    let zap = keeper.plan(&new_value(&format!("{WEBHOOKS}/zap"), "another-header-value-1")).await.unwrap();
    assert_eq!(zap.changes[0].ends_early, [ERP], "a change of another member ends it");
    let same = keeper.plan(&new_value(ERP, NEW_ERP_SECRET)).await.unwrap();
    assert_eq!((same.changes.len(), same.unchanged), (0, vec![ERP.to_owned()]));
    let recorded = list_operations(&stack, 5).await.unwrap();
    assert_eq!(recorded.len(), 1);
    assert_eq!(
        (recorded[0].command.as_str(), recorded[0].outcome.as_deref()),
        ("store the value tellonce/story/webhooks/erp", Some("stored 1 value"))
    );
    assert!(!format!("{recorded:?}").contains("whsec_"));
}

#[tokio::test]
async fn a_change_of_another_caller_between_plan_and_effect_is_not_overwritten() {
    let parameters = role_parameters(true);
    let world = World::start_with(WorldSetup { parameters, ..WorldSetup::default() }).await;
    let (stack, config) = connect(&world, "local-OperatorRole");
    let keeper = SecretKeeper::connect(&stack, &config, false).await.unwrap();
    let plan = keeper.plan(&new_value(ERP, NEW_ERP_SECRET)).await.unwrap();
    world.stack.secrets().rotate(&format!("{WEBHOOKS}/zap"), "another-header-value-1");
    let refused = keeper.run(&plan, None).await.unwrap_err();
    assert!(matches!(refused, SecretsError::ChangedMeanwhile(_)), "{refused}");
    assert_eq!(world.stack.secrets().current_value(ERP).as_deref(), Some(ERP_SECRET));
    let webhooks = stack.survey_secrets(&config, false).await.unwrap();
    let stages = webhooks.secrets.iter().find(|secret| secret.name == WEBHOOKS).unwrap().versions.len();
    assert_eq!(stages, 2, "the version that was not used is gone");
    let again = keeper.plan(&new_value(ERP, NEW_ERP_SECRET)).await.unwrap();
    keeper.run(&again, None).await.unwrap();
    assert_eq!(world.stack.secrets().current_value(ERP).as_deref(), Some(NEW_ERP_SECRET));
    let zap = world.stack.secrets().current_value(&format!("{WEBHOOKS}/zap"));
    assert_eq!(zap.as_deref(), Some("another-header-value-1"));
}

#[tokio::test]
async fn a_leaked_value_ends_at_once_and_a_missing_secret_is_made() {
    let parameters = role_parameters(true);
    let world = World::start_with(WorldSetup { parameters, separate_secrets: true, ..WorldSetup::default() }).await;
    let signed_with = |secret: &str, id: &str| world.erp_post_with_secret(secret, id, "ready", id, PHONE);
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-1")).await, 200);
    let (stack, config) = connect(&world, "local-OperatorRole");
    let keeper = SecretKeeper::connect(&stack, &config, false).await.unwrap();
    let leaked = NewValues { ends_old: true, ..new_value(ERP, CURRENT_HOOK) };
    let done = keeper.run(&keeper.plan(&leaked).await.unwrap(), Some("in a screenshot")).await.unwrap();
    assert_eq!(done.to_string(), "stored 1 value, and started webhook-receiver again");
    assert_eq!(world.post(signed_with(ERP_SECRET, "m-2")).await, 401);
    assert_eq!(world.post(signed_with(CURRENT_HOOK, "m-3")).await, 200);
    let report = keeper.report_rotation(ERP).await.unwrap();
    assert!(report.stored_at.is_some() && report.old_accepted_until.is_none(), "{report:?}");

    world.stack.secrets().remove(&format!("{WEBHOOKS}/zap"));
    let zap = format!("{WEBHOOKS}/zap");
    let leaked = NewValues { ends_old: true, ..new_value(&zap, ZAP_HEADER_SECRET) };
    let plan = keeper.plan(&leaked).await.unwrap();
    assert!(plan.changes[0].is_new, "{plan:?}");
    keeper.run(&plan, None).await.unwrap();
    let report = stack.survey_secrets(&config, true).await.unwrap();
    let versions = report.secrets.iter().find(|secret| secret.name == zap).unwrap().versions.len();
    assert_eq!(versions, 1, "a new secret has no older value to end");
    assert_eq!(stack.survey_secrets(&config, true).await.unwrap().count_faults(), 0);
}

#[tokio::test]
async fn an_operator_without_the_parameter_stores_no_secret() {
    let world = World::start_with(WorldSetup { parameters: role_parameters(false), ..WorldSetup::default() }).await;
    let (stack, config) = connect(&world, "local-OperatorRole");
    let keeper = SecretKeeper::connect(&stack, &config, false).await.unwrap();
    let refused = keeper.plan(&new_value(ERP, NEW_ERP_SECRET)).await.unwrap_err();
    assert!(refused.to_string().starts_with("you may not read the secret tellonce/story/webhooks"), "{refused}");
    assert_eq!(world.stack.roles().take_refused_calls().len(), 1);
}
