//! One build of each dependency for `cargo run`, `cargo run --bin tellonce` and `cargo test`.

use std::{collections::BTreeSet, fs, path::Path};

use toml::{Table, Value};

use crate::sources::workspace_root;

fn read_manifest(path: &Path) -> Table {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).parse().unwrap()
}

fn names_in(manifest: &Table, section: &str) -> BTreeSet<String> {
    manifest.get(section).and_then(Value::as_table).into_iter().flat_map(Table::keys).cloned().collect()
}

/// The manifests of all members.
fn member_manifests() -> Vec<Table> {
    let root = workspace_root();
    let workspace = read_manifest(&root.join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    let folders = members.flat_map(|member| match member.strip_suffix("/*") {
        Some(folder) => fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect(),
        None => vec![root.join(member)],
    });
    folders
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .map(|at| read_manifest(&at.join("Cargo.toml")))
        .collect()
}

#[test]
fn every_development_dependency_is_a_normal_dependency_of_the_stories() {
    let stories = read_manifest(&workspace_root().join("tests/Cargo.toml"));
    let manifests = member_manifests();
    assert!(manifests.len() > 10, "the members are found");
    // Cargo resolves the features of all selected members together, so a dependency of any member
    // counts.
    let normal: BTreeSet<String> = manifests.iter().flat_map(|manifest| names_in(manifest, "dependencies")).collect();
    let members: BTreeSet<String> =
        manifests.iter().map(|manifest| manifest["package"]["name"].as_str().unwrap().to_owned()).collect();
    let development = manifests.iter().flat_map(|manifest| names_in(manifest, "dev-dependencies"));
    let missing: BTreeSet<String> =
        development.filter(|name| !members.contains(name) && !normal.contains(name)).collect();
    assert_eq!(missing, BTreeSet::new(), "add them to tests/Cargo.toml: see the comment there");
    assert_eq!(names_in(&stories, "dev-dependencies"), BTreeSet::new());
}

#[test]
fn crates_of_build_scripts_have_the_debug_information_of_all_others() {
    let workspace = read_manifest(&workspace_root().join("Cargo.toml"));
    let dev = &workspace["profile"]["dev"];
    assert_eq!(dev["debug"], dev["build-override"]["debug"]);
}

#[test]
fn the_receiver_is_deployed_from_the_folder_whose_settings_optimise_it_for_speed() {
    let root = workspace_root();
    let settings = read_manifest(&root.join("functions/webhook-receiver/.cargo/config.toml"));
    assert_eq!(settings["profile"]["release"]["opt-level"].as_integer(), Some(3));
    let template = fs::read_to_string(root.join("template.yaml")).unwrap();
    let (_, receiver) = template.split_once("\n  WebhookReceiver:\n").unwrap();
    let (receiver, _) = receiver.split_once("\n\n  ").unwrap();
    assert!(receiver.contains("CodeUri: functions/webhook-receiver\n"), "{receiver}");
}
