//! The code has the structure that docs/architecture.md describes: which module uses which, and
//! what the template grants each function.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use tellonce_stack::template::SamTemplate;

/// The packages under `local/`, in alphabetical order.
const LOCAL_PACKAGES: [&str; 5] = ["local", "tellonce-bench", "tellonce-console", "tellonce-fakes", "tellonce-stack"];

fn workspace_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

/// The code of a file, without comments and tests.
fn code_without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first names after `crate::` in a piece of code, including those in `crate::{a::b, c}`.
fn modules_used(code: &str) -> BTreeSet<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if !rest.starts_with('{') {
            used.insert(name(rest));
            continue;
        }
        let mut depth = 0;
        let mut fresh = false;
        for (offset, c) in rest.char_indices() {
            match c {
                '{' => {
                    depth += 1;
                    fresh = depth == 1;
                }
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                ',' => fresh = depth == 1,
                c if c.is_whitespace() => {}
                _ if fresh => {
                    used.insert(name(&rest[offset..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    used
}

#[test]
fn modules_use_only_the_modules_that_the_architecture_lists() {
    let plan = fs::read_to_string(workspace_root().join("docs/architecture.md")).unwrap();
    let listed: BTreeMap<String, BTreeSet<String>> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | uses: "))
        .map(|(module, uses)| {
            let uses = uses.split(" |").next().unwrap_or_default();
            let uses = uses.split(',').map(|name| name.trim().trim_matches('`').to_owned());
            (module.to_owned(), uses.filter(|name| !name.is_empty() && name != "nothing").collect())
        })
        .collect();
    let source = workspace_root().join("shared/src");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in rust_files(&source) {
        let relative_path = path.strip_prefix(&source).unwrap();
        let module =
            relative_path.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        if module == "lib" || relative_path.file_name().is_some_and(|name| name == "tests.rs" || name == "model.rs") {
            continue;
        }
        let uses = found.entry(module.clone()).or_default();
        uses.extend(modules_used(&code_without_tests(&path)).into_iter().filter(|used| *used != module));
    }
    assert_eq!(found, listed, "docs/architecture.md lists which room of `shared` uses which");
    // No cycles.
    let mut remaining = found;
    while !remaining.is_empty() {
        let without_dependencies: Vec<String> = remaining
            .iter()
            .filter(|(_, uses)| !uses.iter().any(|used| remaining.contains_key(used)))
            .map(|(module, _)| module.clone())
            .collect();
        assert!(!without_dependencies.is_empty(), "these modules use each other in a cycle: {:?}", remaining.keys());
        for module in without_dependencies {
            remaining.remove(&module);
        }
    }
}

#[test]
fn functions_do_not_depend_on_each_other_and_no_deployed_crate_depends_on_local() {
    let function_names = function_names();
    for function in &function_names {
        // Cargo builds a function's binary for the stories only if the function has an integration
        // test.
        assert!(workspace_root().join("functions").join(function).join("tests/start.rs").is_file(), "{function}");
        let uses = dependencies(&format!("functions/{function}"));
        assert!(uses.contains("tellonce-core"), "{function}");
        let forbidden = function_names.iter().map(String::as_str).chain(LOCAL_PACKAGES).chain([
            "tellonce",
            "tellonce-check",
            "stories",
        ]);
        for other in forbidden {
            assert!(!uses.contains(other), "{function} uses {other}");
        }
    }
    assert!(!dependencies("shared").contains("tellonce-check"), "shared uses the checks of configuration");
    for folder in ["shared", "cli", "cli/check"] {
        assert!(
            LOCAL_PACKAGES.iter().all(|local| !dependencies(folder).contains(*local)),
            "{folder} uses a local crate"
        );
    }
}

#[test]
fn local_crates_depend_on_each_other_in_one_direction() {
    for (folder, allowed) in [
        ("fakes", &[] as &[&str]),
        ("stack", &["tellonce-fakes"]),
        ("console", &["tellonce-fakes", "tellonce-stack"]),
        ("bench", &["tellonce-fakes", "tellonce-stack"]),
        ("run", &["tellonce-console", "tellonce-fakes", "tellonce-stack"]),
    ] {
        let used = dependencies(&format!("local/{folder}"));
        let used: Vec<&str> = LOCAL_PACKAGES.into_iter().filter(|local| used.contains(*local)).collect();
        assert_eq!(used, allowed, "local/{folder}");
    }
}

/// The packages that a package's code depends on.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(workspace_root().join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let table = manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
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
        for stream in &function.streams {
            assert!(stream.reports_failures, "{} does not report partial failures", stream.id);
            assert!(stream.bisect && stream.max_retries.is_some() && stream.on_failure.is_some(), "{}", stream.id);
            assert!(stream.from_start, "{} would miss records from before its deployment", stream.id);
        }
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
        ("ReminderScheduler", ["webhooks/", "stores/", "forms/", "StoreInbox", "LeadInbox"]),
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
    let text = fs::read_to_string(workspace_root().join("template.yaml")).unwrap();
    let role = text.split(&format!("\n  {function}Role:\n")).nth(1).unwrap();
    role.split("Type: AWS::").take(2).collect()
}
