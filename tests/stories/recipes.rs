//! The recipes of CONTRIBUTING.md list the files that a new kind touches. An existing kind shows
//! which files these are.

use std::{collections::BTreeSet, fs, path::Path};

use crate::sources::{code_without_tests, rust_files, workspace_root};

/// The Rust files whose code contains one of these words, and those named after one. Tests and the
/// sample code of `local/` do not count: the console and the benchmark show a selection of the
/// demo's kinds.
fn files_with(words: &[&str]) -> BTreeSet<String> {
    files_below(&["cli", "functions", "shared", "local/fakes", "local/stack"], words)
}

fn files_below(folders: &[&str], words: &[&str]) -> BTreeSet<String> {
    let root = workspace_root();
    let mentions = |path: &Path| {
        let code = code_without_tests(path).to_lowercase();
        words.iter().any(|word| code.contains(word) || path.ends_with(format!("{word}.rs")))
    };
    let is_test = |path: &str| path.contains("/tests") || path.ends_with("samples.rs");
    let files = folders.iter().flat_map(|folder| rust_files(&root.join(folder))).filter(|path| mentions(path));
    let relative = files.map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
    relative.filter(|path| !is_test(path)).collect()
}

/// The paths in the first table of a recipe, for this kind or provider.
fn recipe_paths(title: &str, kind: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(workspace_root().join("CONTRIBUTING.md")).unwrap();
    let section = text.split(&format!("\n### {title}\n\n")).nth(1).unwrap();
    let table = section.lines().take_while(|line| line.starts_with('|'));
    let paths = table.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    paths.map(|path| path.replace("<kind>", kind).replace("<provider>", kind)).collect()
}

/// The Rust files among them.
fn recipe_files(title: &str, kind: &str) -> BTreeSet<String> {
    let paths = recipe_paths(title, kind).into_iter();
    paths.filter(|path| Path::new(path).extension().is_some_and(|kind| kind == "rs")).collect()
}

#[test]
fn a_store_kind_is_in_the_files_of_its_recipe_and_no_others() {
    assert_eq!(files_with(&["woocommerce"]), recipe_files("Add a store kind", "woocommerce"));
    assert!(workspace_root().join("events/stores/woocommerce/manifest.json").is_file());
}

#[test]
fn a_milestone_is_in_the_files_of_its_recipe_and_no_others() {
    assert_eq!(files_with(&["deliverychanged"]), recipe_files("Add a milestone", ""));
}

#[test]
fn a_crm_is_in_the_files_of_its_recipe_and_no_others() {
    assert_eq!(files_with(&["pipedrive"]), recipe_files("Add a CRM", "pipedrive"));
}

#[test]
fn the_provider_is_named_only_in_the_files_of_its_recipe() {
    let listed = recipe_paths("Add a WhatsApp provider", "ezwhatsapp");
    let named = files_below(&["cli", "functions", "local", "shared"], &["ezw"]);
    assert!(named.iter().any(|path| path.starts_with("shared/src/provider/ezwhatsapp/")), "{named:?}");
    for place in &listed {
        assert!(named.iter().any(|path| path.starts_with(place)) || place.starts_with("docs/"), "{place}");
    }
    let elsewhere = named.iter().filter(|path| !listed.iter().any(|place| path.starts_with(place)));
    assert_eq!(elsewhere.collect::<Vec<_>>(), Vec::<&String>::new());
}
