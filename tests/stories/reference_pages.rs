//! The pages that operators look things up in list what the code has: codes of outcomes in
//! docs/operations.md, alarms and metrics there and in template.yaml, fields of log lines in
//! docs/logging.md, crates in docs/dependencies.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use tellonce_core::{ledger::StepCode, telemetry::NAMESPACE};

use crate::sources::{code_without_tests, rust_files, template_alarms, workspace_root};

/// The files that define codes besides `functions/*/src/*_outcome.rs`.
const SHARED_CODES: [&str; 5] = [
    "shared/src/batch.rs",
    "shared/src/inbox.rs",
    "shared/src/wording/mod.rs",
    "shared/src/provider/message.rs",
    "shared/src/waiting_lookup.rs",
];

/// The names in the first column of the tables below a heading, each in backticks. The tables of
/// smaller headings below it do not count.
fn listed_names(page: &str, heading: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(workspace_root().join(page)).unwrap();
    let mark = heading.chars().take_while(|c| *c == '#').count().max(2);
    let title = heading.trim_start_matches(['#', ' ']);
    let (_, section) = text.split_once(&format!("\n{} {title}\n", "#".repeat(mark))).unwrap();
    let section = section.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_operations_page_lists_every_code_of_an_outcome() {
    let mut files = rust_files(&workspace_root().join("functions"));
    files.retain(|path| path.to_string_lossy().ends_with("_outcome.rs"));
    files.extend(SHARED_CODES.map(|path| workspace_root().join(path)));
    let mut codes = BTreeSet::new();
    for file in files {
        let code = code_without_tests(&file);
        for body in code.split("fn code(").skip(1).map(|body| body.split("\n    }\n").next().unwrap()) {
            codes.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
        }
        let constants = code.lines().filter_map(|line| line.split_once("_CODE: &str = \"")?.1.split('"').next());
        codes.extend(constants.map(str::to_owned));
    }
    assert!(codes.len() > 40, "{codes:?}");
    assert_eq!(codes, listed_names("docs/operations.md", "Outcomes"));
}

#[test]
fn the_operations_page_explains_every_code_of_a_message_s_trail() {
    let codes = StepCode::ALL.map(|code| code.name().to_owned());
    assert_eq!(BTreeSet::from(codes), listed_names("docs/operations.md", "### The trail of a message"));
}

/// The names that `telemetry` writes: metrics, and the reasons of `attention`.
fn written_metrics() -> (BTreeSet<String>, BTreeSet<String>) {
    let code = code_without_tests(&workspace_root().join("shared/src/telemetry.rs"));
    let names = |before: &str| -> BTreeSet<String> {
        let found = code.split(before).skip(1).filter_map(|rest| rest.split('"').next());
        found
            .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || "_-".contains(c)))
            .map(str::to_owned)
            .collect()
    };
    let reasons = names("MetricKind::Attention(\"");
    let mut metrics = names("MetricKind::Counter(\"");
    metrics.extend(names("const ATTENTION: &str = \""));
    for owner in ["Gauge", "Measurement"] {
        let body = code.split(&format!("impl {owner} {{")).nth(1).unwrap();
        let body = body.split("fn name(").nth(1).unwrap().split("\n    }\n").next().unwrap();
        metrics.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
    }
    (metrics, reasons)
}

#[test]
fn the_operations_page_explains_every_alarm_and_there_are_few() {
    let alarms: BTreeSet<String> =
        template_alarms().into_iter().map(|alarm| alarm.name.replace("tellonce-story-", "")).collect();
    assert!((8..=12).contains(&alarms.len()), "{alarms:?}");
    assert_eq!(alarms, listed_names("docs/operations.md", "Alarms"));
    let page = fs::read_to_string(workspace_root().join("docs/operations.md")).unwrap();
    for name in &alarms {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        let section = row.rsplit_once("](#").unwrap().1.trim_end_matches([')', ' ', '|']);
        let is_section = |line: &&str| {
            line.strip_prefix("### ").is_some_and(|title| title.to_lowercase().replace(' ', "-") == section)
        };
        let heading = page.lines().find(is_section).unwrap_or_else(|| panic!("{name}: no section {section}"));
        let steps = page.split_once(&format!("\n{heading}\n")).unwrap().1.split("\n### ").next().unwrap();
        assert!(steps.contains("```sh"), "{heading} does not say what to type");
    }
}

#[test]
fn alarms_use_metrics_that_the_code_writes_and_a_gauge_has_an_alarm_unless_the_page_says_otherwise() {
    let (written, reasons) = written_metrics();
    let ours = template_alarms().into_iter().map(|alarm| alarm.metric).filter(|metric| metric.namespace == NAMESPACE);
    let used: BTreeSet<String> = ours.map(|metric| metric.name).collect();
    assert!(used.is_subset(&written), "{used:?} {written:?}");
    let page = fs::read_to_string(workspace_root().join("docs/operations.md")).unwrap();
    let needs_alarm = |name: &&String| {
        let is_state = name.starts_with("oldest_") || *name == "open_problems" || *name == "attention";
        is_state && !page.contains(&format!("\n| `{name}` | gauge, without an alarm |"))
    };
    assert_eq!(used, written.iter().filter(needs_alarm).cloned().collect());
    assert_eq!(written, listed_names("docs/operations.md", "### Metrics"));
    assert_eq!(reasons, listed_names("docs/operations.md", "### Attention"));
    let dashboard = fs::read_to_string(workspace_root().join("template.yaml")).unwrap();
    let dashboard = dashboard.split_once("  Dashboard:\n").unwrap().1;
    for metric in &written {
        assert!(dashboard.contains(&format!("\"{metric}\"")), "{metric} is not on the dashboard");
    }
    // Each event, gauge and measurement is written somewhere.
    let telemetry = code_without_tests(&workspace_root().join("shared/src/telemetry.rs"));
    let files = ["functions", "shared/src"].map(|folder| rust_files(&workspace_root().join(folder)));
    let code: String = files.iter().flatten().map(|file| code_without_tests(file)).collect();
    for owner in ["Metric", "Gauge", "Measurement"] {
        let body = telemetry.split(&format!("pub enum {owner} {{")).nth(1).unwrap().split("\n}\n").next().unwrap();
        let variants = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
        for variant in variants.map(|line| line.split(['(', ',']).next().unwrap()) {
            if variant == "OldestHeartbeatSeconds" {
                continue; // The module of heartbeats writes it.
            }
            assert!(code.contains(&format!("{owner}::{variant}")), "{owner}::{variant} is never written");
        }
    }
}

#[test]
fn the_logging_page_lists_every_field_of_a_log_line() {
    let files = ["functions", "shared/src"].map(|folder| rust_files(&workspace_root().join(folder)));
    let mut fields = BTreeSet::new();
    for file in files.iter().flatten() {
        let code = code_without_tests(file);
        for level in ["error", "warn", "info", "debug"] {
            for arguments in code.split(&format!("tracing::{level}!(")).skip(1) {
                // The fields stand before the message, which is the first literal.
                let before_message = arguments.split('"').next().unwrap();
                let names = before_message.split(',').filter_map(|field| field.trim().split_once(" = "));
                fields.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
    }
    assert_eq!(fields, listed_names("docs/logging.md", "Fields"));
}

fn read_toml(path: &str) -> toml::Table {
    fs::read_to_string(workspace_root().join(path)).unwrap().parse().unwrap()
}

/// The crates of other projects that a deployed function uses directly.
fn deployed_dependencies() -> BTreeSet<String> {
    let functions = fs::read_dir(workspace_root().join("functions")).unwrap().map(|entry| entry.unwrap().file_name());
    let functions = functions.map(|name| format!("functions/{}", name.to_string_lossy()));
    let crates = functions.chain(["shared".to_owned()]).flat_map(|folder| {
        let manifest = read_toml(&format!("{folder}/Cargo.toml"));
        ["dependencies", "build-dependencies"]
            .into_iter()
            .filter_map(|table| Some(manifest.get(table)?.as_table()?.keys().cloned().collect::<Vec<_>>()))
            .flatten()
            .collect::<Vec<_>>()
    });
    crates.filter(|name| name != "tellonce-core").collect()
}

#[test]
fn the_dependencies_page_lists_every_crate_of_the_functions_with_its_version() {
    let deployed = deployed_dependencies();
    assert!(deployed.len() > 30, "{deployed:?}");
    assert_eq!(deployed, listed_names("docs/dependencies.md", "Direct dependencies"));

    let lock = read_toml("Cargo.lock");
    let mut locked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let version = package["version"].as_str().unwrap().split('+').next().unwrap();
        locked.entry(package["name"].as_str().unwrap()).or_default().push(version);
    }
    let page = fs::read_to_string(workspace_root().join("docs/dependencies.md")).unwrap();
    for name in &deployed {
        let row = page.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | "))).unwrap();
        let version = row.split(" |").next().unwrap();
        assert!(locked[&**name].contains(&version), "{name} {version}: Cargo.lock has {:?}", locked[&**name]);
    }
}

#[test]
fn a_crate_is_pinned_exactly_if_the_dependencies_page_says_so() {
    let manifest = read_toml("Cargo.toml");
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    let is_pinned = |entry: &toml::Value| {
        let version = entry.as_str().or_else(|| entry.get("version")?.as_str());
        version.is_some_and(|version| version.starts_with('='))
    };
    let pinned = dependencies.iter().filter(|(_, entry)| is_pinned(entry)).map(|(name, _)| name.clone());
    assert_eq!(pinned.collect::<BTreeSet<_>>(), listed_names("docs/dependencies.md", "Pinned after a review"));
}
