//! `examples/make.md` and `examples/zapier.md` are true: what they post is sent by the client that
//! `tellonce new` makes, and what they name of a webhook is in its schema.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{repository_root, run_tellonce};
use serde_json::Value;

const PAGES: [&str; 2] = ["make", "zapier"];

fn read_page(page: &str) -> String {
    fs::read_to_string(repository_root().join("examples").join(format!("{page}.md"))).unwrap()
}

/// The blocks of a language, in their order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().trim().to_owned()).collect()
}

/// Runs the command of a page in an empty project, and returns its client's folder.
fn make_client(page: &str, project: &Path) -> std::path::PathBuf {
    for file in ["template.yaml", "samconfig.toml"] {
        fs::copy(repository_root().join(file), project.join(file)).unwrap();
    }
    let command = blocks(page, "sh").remove(0);
    let arguments = command.strip_prefix("cargo run --bin tellonce -- ").unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_tellonce"));
    let made = run.args(arguments.split_whitespace()).current_dir(project).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    project.join("clients/acme")
}

/// Previews a body as the page posts it, with the secret of a sender in the header.
fn preview(client: &Path, route: &str, sender: &str, body: &str) -> Value {
    let secrets: Value = serde_json::from_str(&fs::read_to_string(client.join("secrets.json")).unwrap()).unwrap();
    let token = secrets[format!("tellonce/acme/webhooks/{sender}")].as_str().unwrap();
    let (headers_file, body_file) = (client.join("post.headers.txt"), client.join("post.json"));
    fs::write(&headers_file, format!("Content-Type: application/json\nX-Webhook-Token: {token}\n")).unwrap();
    fs::write(&body_file, body).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (client, headers, body) = (path(client), path(&headers_file), path(&body_file));
    let run = run_tellonce(&[
        "preview",
        "--json",
        "--client",
        &client,
        "--route",
        route,
        "--headers",
        &headers,
        "--body",
        &body,
        "--now",
        "2026-11-19T09:31:00Z",
    ]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    serde_json::from_str(run.stdout.trim()).unwrap()
}

#[test]
fn what_the_pages_post_is_sent_by_a_new_client() {
    for page in PAGES {
        let text = read_page(page);
        let [order, lead] = &blocks(&text, "json")[..] else { panic!("{page}: two bodies") };
        let project = tempfile::tempdir().unwrap();
        let client = make_client(&text, project.path());
        let order = preview(&client, "/stores/shop", "shop", order);
        assert_eq!(order["messages"][0]["idempotency_key"], "order:SO-77:ready", "{page}: {order:#}");
        let lead = preview(&client, "/leads/contact", "contact", lead);
        assert_eq!(lead["messages"][0]["to"], "+972525550101", "{page}: {lead:#}");
        assert_eq!(lead["event"]["leads"][0]["found"]["submitted_at"]["field"], "submitted_at", "{page}: {lead:#}");
        let events = fs::read_to_string(client.join("client.toml")).unwrap();
        for event in ["order.paid", "order.ready", "order.shipped", "order.cancelled"] {
            assert!(
                text.contains(&format!("`{event}`")) && events.contains(&format!("\"{event}\"")),
                "{page}: {event}"
            );
        }
    }
}

/// Whether an event of the schema has this member: `data.customer.phone`.
fn has_member(schema: &Value, path: &str) -> bool {
    let resolve = |part: &'_ Value| -> Value {
        let name = part["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/"));
        name.map_or_else(|| part.clone(), |name| schema["$defs"][name].clone())
    };
    ["message_event", "alert_event"].iter().any(|event| {
        let mut part = schema["$defs"][event].clone();
        path.split('.').all(|name| {
            part = resolve(&part["properties"][name]);
            part.is_object()
        })
    })
}

#[test]
fn the_members_that_the_pages_name_are_in_the_schema() {
    let schema = fs::read_to_string(repository_root().join("docs/webhooks.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert!(!has_member(&schema, "data.nothing"));
    for page in PAGES {
        let text = read_page(page);
        let members: Vec<&str> = text.split('`').filter(|word| word.starts_with("data.")).collect();
        assert!(members.len() >= 6, "{page}: {members:?}");
        for member in members {
            assert!(has_member(&schema, member), "{page}: {member}");
        }
    }
}

#[test]
fn the_targets_of_the_pages_pass_the_check() {
    for page in PAGES {
        let text = read_page(page);
        let project = tempfile::tempdir().unwrap();
        let client = make_client(&text, project.path());
        let target = blocks(&text, "toml").remove(0);
        let settings = fs::read_to_string(client.join("client.toml")).unwrap();
        let rule = format!("[escalations.first]\nwhen = \"first-message\"\nto = [\"{page}\"]\ncooldown = \"1h\"\n");
        fs::write(client.join("client.toml"), format!("{settings}\n{target}\n\n{rule}")).unwrap();
        fs::remove_file(client.join("secrets.json")).unwrap();
        let run = run_tellonce(&["check", client.to_str().unwrap()]);
        assert!(run.code == 0 && run.stdout.contains("0 errors, 0 warnings"), "{page}: {}", run.stdout);
    }
}
