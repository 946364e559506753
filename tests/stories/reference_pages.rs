//! The pages that operators look things up in list what the code has: codes of outcomes in
//! docs/operations.md, fields of log lines in docs/logging.md, crates in docs/dependencies.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::sources::{code_without_tests, rust_files, workspace_root};

/// The files that define codes besides `functions/*/src/*_outcome.rs`.
const SHARED_CODES: [&str; 3] =
    ["shared/src/wording/mod.rs", "shared/src/provider/message.rs", "shared/src/waiting_lookup.rs"];

/// The names in the first column of the tables below a heading, each in backticks.
fn listed_names(page: &str, heading: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(workspace_root().join(page)).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
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
    }
    assert!(codes.len() > 40, "{codes:?}");
    assert_eq!(codes, listed_names("docs/operations.md", "Outcomes"));
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
