//! `tellonce check` and `tellonce schema`, run as a process.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use std::process::Command;

use common::{copy_demo_client, repository_root, run_tellonce};

#[test]
fn the_demo_client_has_no_errors() {
    let run = run_tellonce(&["check", "clients/demo"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn secrets_and_forms_are_listed_on_request() {
    let run = run_tellonce(&["check", "clients/demo", "--list-secrets", "--list-forms"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn separate_secrets_are_listed_one_by_one() {
    let text = std::fs::read_to_string(repository_root().join("clients/demo/client.toml")).unwrap();
    let folder = copy_demo_client(&[("client.toml", &format!("secrets = \"separate\"\n{text}"))]);
    let run = run_tellonce(&["check", folder.path().to_str().unwrap(), "--list-secrets"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let (_, listed) = run.stdout.split_once("\nSecrets of").unwrap();
    insta::assert_snapshot!(listed.split("\nTo store all").next().unwrap());
}

#[test]
fn all_errors_of_a_broken_client_are_reported_at_once() {
    let run = run_tellonce(&["check", "cli/tests/clients/bakery"]);
    assert_eq!(run.code, 1);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn secrets_are_checked_and_never_shown() {
    let folder = copy_demo_client(&[(
        "secrets.json",
        r#"{
  "tellonce/demo/lines/main": "eyJhunter2hunter2",
  "tellonce/demo/webhooks/shop": "hunter2",
  "tellonce/demo/webhooks/woo": "hunter2-hunter2-hunter2",
  "tellonce/demo/webhooks/erp": {"current": "whsec_hunter2", "previous": "aHVudGVyMg=="},
  "tellonce/demo/webhooks/zapp": "hunter2-hunter2-hunter2"
}"#,
    )]);
    let run = run_tellonce(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{}", run.stdout);
    let out = run.stdout.replace(folder.path().to_str().unwrap(), "demo");
    insta::assert_snapshot!(out);
}

#[test]
fn a_secrets_file_in_git_is_an_error() {
    let folder = copy_demo_client(&[]);
    for arguments in [&["init", "--quiet"][..], &["add", "--force", "secrets.json"]] {
        let git = Command::new("git").arg("-C").arg(folder.path()).args(arguments).output().unwrap();
        assert!(git.status.success(), "{git:?}");
    }
    let run = run_tellonce(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("secrets.json:1: error: secrets.json is in git"), "{}", run.stdout);
    assert!(run.stdout.contains("git rm --cached"), "{}", run.stdout);
}

#[test]
fn a_folder_without_decisions_and_makefile_is_incomplete() {
    let folder = copy_demo_client(&[]);
    std::fs::remove_file(folder.path().join("decisions.md")).unwrap();
    std::fs::remove_file(folder.path().join("Makefile")).unwrap();
    let run = run_tellonce(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("decisions.md:1: error: decisions.md is missing"), "{}", run.stdout);
    assert!(run.stdout.contains("Makefile:1: error: Makefile is missing"), "{}", run.stdout);
}

#[test]
fn a_folder_with_another_name_gets_a_warning() {
    let folder = copy_demo_client(&[]);
    let renamed = folder.path().with_file_name("acme");
    std::fs::rename(folder.path(), &renamed).unwrap();
    let run = run_tellonce(&["check", renamed.to_str().unwrap()]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("the folder is named `acme`, the client `demo`"), "{}", run.stdout);
}

#[test]
fn a_missing_file_is_reported_with_the_next_step() {
    let run = run_tellonce(&["check", "clients/none"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.starts_with("error: could not read clients/none/client.toml"), "{}", run.stderr);
    assert!(run.stderr.contains("tellonce check clients/demo"), "{}", run.stderr);
    let run = run_tellonce(&["check", "clients/demo", "--secrets", "nowhere.json"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("could not read the secrets file nowhere.json; choose one with --secrets FILE"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_schema_is_the_one_that_editors_get() {
    let run = run_tellonce(&["schema"]);
    let committed = std::fs::read_to_string(repository_root().join("clients/client.schema.json")).unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(
        json(&run.stdout),
        json(&committed),
        "run: cargo run --bin tellonce -- schema > clients/client.schema.json"
    );
}
