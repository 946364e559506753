//! The packages use each other as docs/architecture.md describes, and the template grants each
//! function what it needs and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use tellonce_core::heartbeat::HEARTBEAT_ID;
use tellonce_stack::template::SamTemplate;

use crate::sources::{code_without_tests, package_folders, rust_files, workspace_root};

/// The packages of the workspace that each package may use. A function uses `shared` alone.
fn allowed_packages(folder: &str) -> &'static [&'static str] {
    match folder {
        "local/samples" | "shared" | "tests/loopback" => &[],
        "cli" => &[
            "lead-first-touch",
            "order-notifier",
            "reminder-scheduler",
            "tellonce-check",
            "tellonce-core",
            "tellonce-ops",
            "webhook-receiver",
        ],
        "cli/ops" => &["tellonce-check", "tellonce-core"],
        "local/fakes" => &["tellonce-core", "tellonce-samples"],
        "local/stack" => &["tellonce-check", "tellonce-core", "tellonce-fakes", "tellonce-ops"],
        "local/console" => {
            &["tellonce-check", "tellonce-core", "tellonce-fakes", "tellonce-ops", "tellonce-samples", "tellonce-stack"]
        }
        "local/bench" => &["tellonce-core", "tellonce-fakes", "tellonce-samples", "tellonce-stack"],
        "local/run" => &[
            "tellonce-check",
            "tellonce-console",
            "tellonce-core",
            "tellonce-fakes",
            "tellonce-ops",
            "tellonce-samples",
            "tellonce-stack",
        ],
        "tests" => &[
            "tellonce-bench",
            "tellonce-check",
            "tellonce-console",
            "tellonce-core",
            "tellonce-fakes",
            "tellonce-ops",
            "tellonce-samples",
            "tellonce-stack",
        ],
        _ => &["tellonce-core"],
    }
}

#[test]
fn packages_use_only_the_packages_below_them() {
    let folders = package_folders();
    let names: BTreeSet<String> = folders.iter().map(|folder| package_name(folder)).collect();
    for folder in &folders {
        let used = dependencies(folder);
        let used: Vec<&String> = used.intersection(&names).collect();
        assert_eq!(used, allowed_packages(folder), "{folder}");
    }
}

#[test]
fn every_function_has_an_integration_test() {
    // Else cargo does not build the function's binary for the stories.
    for function in function_names() {
        assert!(workspace_root().join("functions").join(&function).join("tests/start.rs").is_file(), "{function}");
    }
}

fn manifest(folder: &str) -> toml::Table {
    fs::read_to_string(workspace_root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
}

fn package_name(folder: &str) -> String {
    manifest(folder)["package"]["name"].as_str().unwrap().to_owned()
}

/// The packages that a package's code depends on, outside tests.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let table = manifest(folder).get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    table.keys().cloned().collect()
}

fn function_names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(workspace_root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_template_has_every_function_with_every_variable_that_it_requires() {
    let template = SamTemplate::read(&workspace_root().join("template.yaml"), &BTreeMap::new()).unwrap();
    let mut named: Vec<String> = template.functions.iter().map(|function| function.name.clone()).collect();
    named.sort();
    assert_eq!(named, function_names());
    let required_variables = |path: &Path| -> BTreeSet<String> {
        let code = code_without_tests(path);
        let calls =
            code.match_indices("require_variable(\"").map(|(at, call)| code[at + call.len()..].split('"').next());
        calls.flatten().filter(|name| !name.starts_with("AWS_")).map(str::to_owned).collect()
    };
    for function in &template.functions {
        let mut required = required_variables(&workspace_root().join("shared/src/bootstrap.rs"));
        let source = rust_files(&workspace_root().join("functions").join(&function.name).join("src"));
        if source.iter().any(|path| code_without_tests(path).contains("Dispatcher::from_environment")) {
            required.extend(required_variables(&workspace_root().join("shared/src/dispatch/mod.rs")));
        }
        for path in source {
            required.extend(required_variables(&path));
        }
        for variable in &required {
            assert!(function.env.contains_key(variable), "{} does not get {variable}", function.name);
        }
        // A mapping without retries only wakes the function: nothing depends on it.
        for stream in function.streams.iter().filter(|stream| stream.max_retries != Some(0)) {
            assert!(stream.reports_failures, "{} does not report partial failures", stream.id);
            assert!(stream.bisect && stream.max_retries.is_some() && stream.on_failure.is_some(), "{}", stream.id);
            assert!(stream.from_start, "{} would miss records from before its deployment", stream.id);
        }
    }
}

#[test]
fn every_response_of_another_system_is_read_up_to_a_size() {
    // The parts of a form are in memory already: the receiver limits a delivery.
    let exempt = "functions/lead-first-touch/src/form_body.rs";
    for folder in package_folders().iter().filter(|folder| !folder.starts_with("local") && !folder.starts_with("tests"))
    {
        for path in rust_files(&workspace_root().join(folder).join("src")) {
            let code: String = code_without_tests(&path).split_whitespace().collect();
            for unlimited in [".bytes().await", ".text().await", ".json().await", ".bytes_stream("] {
                assert!(
                    path.ends_with(exempt) || !code.contains(unlimited),
                    "{} reads a response without a limit: use http_body",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn each_role_reads_the_secrets_of_its_function_in_both_layouts_and_no_others() {
    for (resource, separate, by_role) in [
        ("WebhookReceiverRole", &["webhooks"][..], &["webhooks"][..]),
        ("OrderNotifierRole", &["lines", "stores"], &["lines", "apis"]),
        ("ReminderSchedulerRole", &["calendars", "lines"], &["lines", "apis"]),
        ("LeadFirstTouchRole", &["forms", "lines"], &["lines", "apis"]),
        ("ConversationSyncRole", &["crms", "targets"], &["crms", "targets"]),
        ("ConversationSyncAcknowledges", &["lines"], &["lines"]),
    ] {
        let text = resource_text(resource);
        let mut granted: BTreeSet<&str> = BTreeSet::new();
        for line in text.lines().filter(|line| line.contains("secretsmanager:${AWS::Region}")) {
            granted.insert(line.split_once("secret:tellonce/${Client}/").unwrap().1.trim_end_matches('"'));
        }
        // Secrets Manager adds a hyphen and six random characters to a name. A star would also
        // match the secrets of other names that begin so.
        let separate = separate.iter().map(|kind| format!("{kind}/*"));
        let expected: BTreeSet<String> = separate.chain(by_role.iter().map(|role| format!("{role}-??????"))).collect();
        assert_eq!(granted, expected.iter().map(String::as_str).collect(), "{resource}");
    }
}

#[test]
fn the_public_function_may_not_read_a_line_token() {
    let role = role_text("WebhookReceiver");
    assert!(role.contains("webhooks/*"));
    for forbidden in ["lines/", "stores/*", "calendars/", "forms/", "dynamodb:Query", "dynamodb:GetItem", "Ledger"] {
        assert!(!role.contains(forbidden), "the receiver's role mentions {forbidden}");
    }
}

#[test]
fn sending_functions_cannot_read_webhook_secrets_or_each_other_s_credentials() {
    for (function, forbidden) in [
        ("OrderNotifier", ["webhooks/", "calendars/", "forms/", "BookingInbox", "LeadInbox"]),
        ("ReminderScheduler", ["webhooks/", "stores/", "forms/", "StoreInbox.StreamArn", "LeadInbox.StreamArn"]),
        ("LeadFirstTouch", ["webhooks/", "stores/", "calendars/", "StoreInbox", "BookingInbox"]),
    ] {
        let role = role_text(function);
        assert!(role.contains("lines/*"));
        for forbidden in forbidden {
            assert!(!role.contains(forbidden), "the role of {function} mentions {forbidden}");
        }
    }
    // IAM permits each part of a transaction separately.
    for function in ["ReminderScheduler", "LeadFirstTouch"] {
        assert!(role_text(function).contains("dynamodb:ConditionCheckItem"), "{function}");
    }
}

#[test]
fn reminder_scheduler_may_put_heartbeats_into_inboxes_and_no_delivery() {
    let role = role_text("ReminderScheduler");
    let puts: Vec<&str> = role
        .split("- Effect: Allow")
        .filter(|statement| statement.contains("PutItem") && statement.contains("Inbox.Arn"))
        .collect();
    let [put] = puts.as_slice() else { panic!("{puts:?}") };
    let condition = format!("ForAllValues:StringEquals: {{ \"dynamodb:LeadingKeys\": [{HEARTBEAT_ID}] }}");
    assert!(put.contains(&condition), "{put}");
}

#[test]
fn the_minute_may_change_the_outcomes_of_other_inboxes_and_reads_no_delivery_of_them() {
    let role = role_text("ReminderScheduler");
    let statements: Vec<&str> = role.split("- Effect: Allow").collect();
    let of_other_inboxes: Vec<&str> = statements
        .into_iter()
        .filter(|text| text.contains("StoreInbox.Arn") && text.contains("dynamodb:UpdateItem"))
        .collect();
    let [statement] = of_other_inboxes.as_slice() else { panic!("{of_other_inboxes:?}") };
    assert!(statement.contains("[id, outcome, outcome_text, outcome_at, needs_person, replayed_at]"), "{statement}");
    for forbidden in ["Scan", "GetItem", "Query", "ALL_OLD", "body"] {
        assert!(!statement.contains(forbidden), "{forbidden} in {statement}");
    }
}

#[test]
fn every_stream_that_retries_has_the_same_queue_for_what_it_gives_up() {
    let template = SamTemplate::read(&workspace_root().join("template.yaml"), &BTreeMap::new()).unwrap();
    let streams = template.functions.iter().flat_map(|function| &function.streams);
    let queues: Vec<_> = streams.filter(|stream| stream.max_retries != Some(0)).map(|s| s.on_failure.clone()).collect();
    assert_eq!(queues, vec![Some("tellonce-demo-failures".to_owned()); 4]);
}

#[test]
fn conversation_sync_reads_line_tokens_only_when_acknowledgements_are_on() {
    let role = role_text("ConversationSync");
    assert!(role.contains("crms/*") && role.contains("targets/*") && role.contains("index/contact"));
    for forbidden in
        ["lines/", "webhooks/", "stores/", "calendars/", "forms/", "StoreInbox", "BookingInbox", "LeadInbox"]
    {
        assert!(!role.contains(forbidden), "the role mentions {forbidden}");
    }
    let text = fs::read_to_string(workspace_root().join("template.yaml")).unwrap();
    for (policy_name, condition, permission) in [
        ("Acknowledges", "AcknowledgementsOn", "/lines/*"),
        ("Email", "HasNotificationIdentity", "ses:SendEmail"),
        ("Publish", "HasNotificationTopic", "sns:Publish"),
    ] {
        let policy = text.split(&format!("\n  ConversationSync{policy_name}:\n")).nth(1).unwrap();
        let policy: String = policy.split("\n\n").take(1).collect();
        assert!(policy.contains(&format!("Condition: {condition}")) && policy.contains(permission), "{policy}");
    }
}

fn role_text(function: &str) -> String {
    resource_text(&format!("{function}Role"))
}

fn resource_text(resource: &str) -> String {
    let text = fs::read_to_string(workspace_root().join("template.yaml")).unwrap();
    let rest = text.split(&format!("\n  {resource}:\n")).nth(1).unwrap();
    rest.split("Type: AWS::").take(2).collect()
}
