//! `tellonce webhook register`, as it is run, against somebody on the loopback who answers like EZWhatsApp.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use std::fmt::Write as _;

use common::{Folder, Said, client, tellonce};
use loopback::{Peer, response};
use serde_json::Value;

const TOKEN: &str = "ezw_line_hunter2";
const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
const CLIENT: &str = r#"
client = "demo"
name = "Demo"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
lines.main = { line_id = "line_demo", events = true }
lines.deaf = { line_id = "line_deaf" }
crms.hub = { kind = "hubspot" }
"#;

fn acme() -> Folder {
    let secrets = serde_json::json!({
        "tellonce/demo/lines/main": TOKEN,
        "tellonce/demo/webhooks/main/line": { "current": SECRET, "previous": "hunter2-old" },
    });
    client(&[("client.toml", CLIENT), ("secrets.json", &secrets.to_string())])
}

fn arguments<'a>(folder: &'a str, base_url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["webhook", "register", "--client", folder, "--base-url", base_url];
    let mut all = usual.to_vec();
    for (name, value) in [("--line", "main"), ("--url", "https://api.example.com/lines/")] {
        if !more.contains(&name) {
            all.extend([name, value]);
        }
    }
    all.extend(more);
    all
}

/// What a run said, with what differs from run to run replaced, and nothing secret in it.
fn shown(said: &Said, folder: &Folder, base_url: &str) -> String {
    let all = format!("{}\n--- to the screen, code {}:\n{}", said.out, said.code, said.err);
    assert!(!all.contains("hunter2"), "{all}");
    let all = all.replace(folder.path().to_str().unwrap(), "clients/demo").replace(base_url, "http://127.0.0.1:3010");
    let Some(at) = at(folder) else { return all };
    all.replace(&at, "2026-11-20T10:00:00Z")
}

fn kept(folder: &Folder) -> Option<Value> {
    let text = std::fs::read_to_string(folder.path().join("webhooks.json")).ok()?;
    assert!(!text.contains("hunter2"), "{text}");
    serde_json::from_str(&text).unwrap()
}

fn at(folder: &Folder) -> Option<String> {
    kept(folder)?.get(0)?.get("at")?.as_str().map(str::to_owned)
}

/// Runs it, answered once with this, and gives what was said and what was asked.
async fn run(folder: &Folder, answer: &str, more: &[&str]) -> (String, Said, String) {
    let peer = Peer::start().await.unwrap();
    let base_url = peer.url().unwrap();
    let all: Vec<String> =
        arguments(folder.path().to_str().unwrap(), &base_url, more).iter().map(ToString::to_string).collect();
    let run = tokio::task::spawn_blocking(move || tellonce(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    let (asked, said) = tokio::join!(peer.answer(answer), run);
    let said = said.unwrap();
    (shown(&said, folder, &base_url), said, asked.unwrap())
}

/// Runs it where nobody answers, because nobody shall be asked.
fn run_alone(folder: &Folder, more: &[&str]) -> (String, Said) {
    let base_url = "http://127.0.0.1:9";
    let said = tellonce(&arguments(folder.path().to_str().unwrap(), base_url, more));
    (shown(&said, folder, base_url), said)
}

#[tokio::test]
async fn a_line_is_registered_once_and_remembered() {
    let folder = acme();
    let created = response("201 Created\r\ncontent-type: application/json", r#"{"id":"wh_7","secret":"hunter2"}"#);
    let (shown, said, asked) = run(&folder, &created, &["--yes"]).await;
    assert_eq!(said.code, 0, "{shown}");
    insta::assert_snapshot!(shown);
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /api/v1/webhooks HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains(&format!("authorization: bearer {TOKEN}\r\n")), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let target = format!("https://api.example.com/lines/main/{SECRET}");
    let expected = serde_json::json!({
        "targetUrl": target, "events": ["messages.post", "statuses.post"],
        "payloadFormat": "whapi", "enabled": true, "persistent": true,
    });
    assert_eq!(body, expected);
    let entry = &kept(&folder).unwrap()[0];
    let at = entry["at"].clone();
    let expected = serde_json::json!([
        { "line": "main", "host": "api.example.com", "at": at, "outcome": "registered", "id": "wh_7" }
    ]);
    assert_eq!(kept(&folder).unwrap(), expected);

    let (second, said) = run_alone(&folder, &["--yes"]);
    assert_eq!(said.code, 1);
    insta::assert_snapshot!("a_second_time_it_stops", second);

    let (again, said, _) = run(&folder, &response("200 OK", ""), &["--yes", "--again"]).await;
    assert_eq!(said.code, 0);
    insta::assert_snapshot!("an_answer_without_an_id", again);
    assert_eq!(kept(&folder).unwrap().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_next_and_is_not_remembered() {
    for (name, answer) in [
        ("address", response("400 Bad Request", r#"{"error":{"code":"invalid_channel_webhook","message":"hunter2"}}"#)),
        ("token", response("401 Unauthorized", r#"{"error":"invalid_channel_api_token"}"#)),
        ("pace", response("429 Too Many Requests", "")),
        ("route", response("404 Not Found", "<html>hunter2</html>")),
    ] {
        let folder = acme();
        let (shown, said, _) = run(&folder, &answer, &["--yes"]).await;
        assert_eq!((said.code, kept(&folder)), (1, None), "{shown}");
        insta::assert_snapshot!(format!("refused_for_its_{name}"), said.err);
    }
}

#[tokio::test]
async fn what_may_have_arrived_is_never_tried_twice() {
    for (name, answer) in [("trouble", response("502 Bad Gateway", "")), ("silence", String::new())] {
        let folder = acme();
        let (shown, said, _) = run(&folder, &answer, &["--yes"]).await;
        assert_eq!(said.code, 1, "{shown}");
        assert!(said.err.contains("it may be registered, or not"), "{shown}");
        assert_eq!(kept(&folder).unwrap()[0]["outcome"], "unknown");
        let (second, said) = run_alone(&folder, &["--yes"]);
        assert_eq!(said.code, 1);
        // What the connection says when it breaks is not ours.
        if name == "trouble" {
            insta::assert_snapshot!(format!("{shown}\n=== and again:\n{second}"));
        }
    }
}

#[test]
fn what_was_never_sent_is_not_remembered() {
    let folder = acme();
    let (shown, said) = run_alone(&folder, &["--yes"]);
    assert_eq!((said.code, kept(&folder)), (1, None), "{shown}");
    assert!(said.err.contains("nothing was registered. Repeat it when EZWhatsApp can be reached"), "{shown}");
}

#[test]
fn without_a_terminal_and_a_yes_it_shows_and_stops() {
    let folder = acme();
    let (shown, said) = run_alone(&folder, &[]);
    assert_eq!((said.code, kept(&folder)), (1, None), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_shown() {
    let folder = acme();
    let mut all = String::new();
    for more in [
        ["--url", "http://api.example.com"],
        ["--url", "https://localhost/"],
        ["--url", "https://127.0.0.1/"],
        ["--url", "https://192.168.1.4/"],
        ["--url", "https://169.254.169.254/"],
        ["--url", "https://[::1]/"],
        ["--url", "https://stack.internal/"],
        ["--url", "https://api.example.com/?a=b"],
        ["--line", "mian"],
        ["--line", "deaf"],
        ["--secrets", "nowhere.json"],
    ] {
        let (_, said) = run_alone(&folder, &[&more[..], &["--yes"]].concat());
        assert_eq!((said.code, said.out.as_str(), kept(&folder)), (1, "", None), "{more:?}");
        writeln!(all, "{} {}\n{}", more[0], more[1], said.err).unwrap();
    }
    insta::assert_snapshot!(all);
    let said = tellonce(&arguments(folder.path().to_str().unwrap(), "http://app.ezw.solutions", &["--yes"]));
    assert!(said.code == 1 && said.err.contains("it would get the line's token"), "{}", said.err);
}

#[test]
fn secrets_that_cannot_work_are_named_and_not_shown() {
    for (secrets, says) in [
        ("{}", "`tellonce/demo/lines/main` is missing"),
        (r#"{"tellonce/demo/lines/main": "eyJhunter2"}"#, "`tellonce/demo/lines/main` is no line token"),
        (r#"{"tellonce/demo/lines/main": "ezw_line_hunter2"}"#, "`tellonce/demo/webhooks/main/line` is missing"),
        (
            r#"{"tellonce/demo/lines/main": "ezw_line_hunter2", "tellonce/demo/webhooks/main/line": "hunter2"}"#,
            "`tellonce/demo/webhooks/main/line` is so short for an address",
        ),
    ] {
        let folder = client(&[("client.toml", CLIENT), ("secrets.json", secrets)]);
        let (shown, said) = run_alone(&folder, &["--yes"]);
        assert!(said.code == 1 && said.out.is_empty() && said.err.contains(says), "{shown}");
    }
}
