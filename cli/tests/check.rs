//! `tellonce check` and `tellonce schema`, as they are run.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use common::{client, root, tellonce};

#[test]
fn the_demo_holds() {
    let said = tellonce(&["check", "clients/demo"]);
    assert_eq!(said.code, 0, "{}", said.out);
    insta::assert_snapshot!(said.out);
}

#[test]
fn a_broken_client_is_told_everything_at_once() {
    let said = tellonce(&["check", "cli/tests/clients/bakery"]);
    assert_eq!(said.code, 1);
    insta::assert_snapshot!(said.out);
}

#[test]
fn secrets_are_checked_and_never_shown() {
    let folder = client(&[(
        "secrets.json",
        r#"{
  "tellonce/demo/lines/main": "eyJhunter2hunter2",
  "tellonce/demo/webhooks/shop": "hunter2",
  "tellonce/demo/webhooks/woo": "hunter2-hunter2-hunter2",
  "tellonce/demo/webhooks/erp": {"current": "whsec_hunter2", "previous": "aHVudGVyMg=="},
  "tellonce/demo/webhooks/zapp": "hunter2-hunter2-hunter2"
}"#,
    )]);
    let said = tellonce(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert!(!said.out.contains("hunter2") && !said.err.contains("hunter2"), "{}", said.out);
    let out = said.out.replace(folder.path().to_str().unwrap(), "demo");
    insta::assert_snapshot!(out.split("\nSecrets of").next().unwrap());
}

#[test]
fn a_folder_without_its_papers_is_incomplete() {
    let folder = client(&[]);
    std::fs::remove_file(folder.path().join("decisions.md")).unwrap();
    std::fs::remove_file(folder.path().join("Makefile")).unwrap();
    let said = tellonce(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("decisions.md:1: error: decisions.md is missing"), "{}", said.out);
    assert!(said.out.contains("Makefile:1: error: Makefile is missing"), "{}", said.out);
}

#[test]
fn a_folder_of_another_name_is_seen() {
    let folder = client(&[]);
    let renamed = folder.path().with_file_name("acme");
    std::fs::rename(folder.path(), &renamed).unwrap();
    let said = tellonce(&["check", renamed.to_str().unwrap()]);
    assert_eq!(said.code, 0);
    assert!(said.out.contains("the folder is called `acme` and the client `demo`"), "{}", said.out);
}

#[test]
fn what_is_not_there_is_said_with_the_next_step() {
    let said = tellonce(&["check", "clients/nobody"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.starts_with("error: clients/nobody/client.toml cannot be read"), "{}", said.err);
    assert!(said.err.contains("tellonce check clients/demo"), "{}", said.err);
    let said = tellonce(&["check", "clients/demo", "--secrets", "nowhere.json"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("nowhere.json cannot be read; choose one with --secrets FILE"), "{}", said.err);
}

#[test]
fn the_schema_is_the_one_that_editors_get() {
    let said = tellonce(&["schema"]);
    let kept = std::fs::read_to_string(root().join("clients/client.schema.json")).unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(&said.out), json(&kept), "run: cargo run --bin tellonce -- schema > clients/client.schema.json");
}
