//! `tellonce webhook register`, run as a process against a fake EZWhatsApp on the loopback.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use std::fmt::Write as _;

use common::{CliRun, ClientFolder, copy_demo_client, run_tellonce, run_tellonce_with_input};
use loopback::{FakeApi, http_response};
use serde_json::Value;
use tellonce_ops::{LocalEndpoints, LocalStackFile};

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

fn register_folder() -> ClientFolder {
    let secrets = serde_json::json!({
        "tellonce/demo/lines/main": TOKEN,
        "tellonce/demo/lines/deaf": TOKEN,
        "tellonce/demo/webhooks/main/line": { "current": SECRET, "previous": "hunter2-old" },
    });
    copy_demo_client(&[("client.toml", CLIENT), ("secrets.json", &secrets.to_string())])
}

fn build_arguments<'a>(folder: &'a ClientFolder, base_url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let (folder, secrets) = (folder.path().to_str().unwrap(), folder.secrets_file().to_str().unwrap());
    let usual = ["webhook", "register", "--client", folder, "--base-url", base_url];
    let mut all = usual.to_vec();
    if !more.contains(&"--secrets") {
        all.extend(["--secrets", secrets]);
    }
    for (name, value) in [("--line", "main"), ("--url", "https://api.example.com/lines/")] {
        if !more.contains(&name) {
            all.extend([name, value]);
        }
    }
    all.extend(more);
    all
}

/// The output of a run, without the values that differ from run to run. Fails if it shows a secret.
fn format_output(output: &CliRun, folder: &ClientFolder, base_url: &str) -> String {
    let all = format!("{}\n--- stderr, code {}:\n{}", output.stdout, output.code, output.stderr);
    assert!(!all.contains("hunter2"), "{all}");
    let all = all.replace(folder.path().to_str().unwrap(), "clients/demo").replace(base_url, "http://127.0.0.1:3010");
    let Some(at) = first_attempt_time(folder) else { return all };
    all.replace(&at, "2026-11-20T10:00:00Z")
}

fn read_registrations(folder: &ClientFolder) -> Option<Value> {
    let text = std::fs::read_to_string(folder.path().join("webhooks.json")).ok()?;
    assert!(!text.contains("hunter2"), "{text}");
    serde_json::from_str(&text).unwrap()
}

fn first_attempt_time(folder: &ClientFolder) -> Option<String> {
    read_registrations(folder)?.get(0)?.get("at")?.as_str().map(str::to_owned)
}

/// Runs the command against a fake that gives one response. Returns the formatted output, the run
/// and the request.
async fn run_with_response(folder: &ClientFolder, answer: &str, more: &[&str]) -> (String, CliRun, String) {
    let fake_api = FakeApi::start().await.unwrap();
    let base_url = fake_api.base_url().unwrap();
    let all: Vec<String> = build_arguments(folder, &base_url, more).iter().map(ToString::to_string).collect();
    let run = tokio::task::spawn_blocking(move || run_tellonce(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    let (request, output) = tokio::join!(fake_api.reply_once(answer), run);
    let output = output.unwrap();
    (format_output(&output, folder, &base_url), output, request.unwrap())
}

/// Runs the command without a server, because it must not make a call.
fn run_without_server(folder: &ClientFolder, more: &[&str]) -> (String, CliRun) {
    let base_url = "http://127.0.0.1:9";
    let output = run_tellonce(&build_arguments(folder, base_url, more));
    (format_output(&output, folder, base_url), output)
}

#[tokio::test]
async fn a_line_is_registered_once_and_recorded() {
    let folder = register_folder();
    let created = http_response("201 Created\r\ncontent-type: application/json", r#"{"id":"wh_7","secret":"hunter2"}"#);
    let (shown, output, request) = run_with_response(&folder, &created, &["--yes"]).await;
    assert_eq!(output.code, 0, "{shown}");
    insta::assert_snapshot!(shown);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /api/v1/webhooks HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains(&format!("authorization: bearer {TOKEN}\r\n")), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let target = format!("https://api.example.com/lines/main/{SECRET}");
    let expected = serde_json::json!({
        "targetUrl": target, "events": ["messages.post", "statuses.post"],
        "payloadFormat": "whapi", "enabled": true, "persistent": true,
    });
    assert_eq!(body, expected);
    let entry = &read_registrations(&folder).unwrap()[0];
    let at = entry["at"].clone();
    let expected = serde_json::json!([
        { "line": "main", "host": "api.example.com", "at": at, "outcome": "registered", "id": "wh_7" }
    ]);
    assert_eq!(read_registrations(&folder).unwrap(), expected);

    let (second, output) = run_without_server(&folder, &["--yes"]);
    assert_eq!(output.code, 1);
    insta::assert_snapshot!("a_second_time_it_stops", second);

    let (again, output, _) = run_with_response(&folder, &http_response("200 OK", ""), &["--yes", "--again"]).await;
    assert_eq!(output.code, 0);
    insta::assert_snapshot!("an_answer_without_an_id", again);
    assert_eq!(read_registrations(&folder).unwrap().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refusal_explains_the_next_step_and_is_not_recorded() {
    for (name, answer) in [
        (
            "address",
            http_response("400 Bad Request", r#"{"error":{"code":"invalid_channel_webhook","message":"hunter2"}}"#),
        ),
        ("token", http_response("401 Unauthorized", r#"{"error":"invalid_channel_api_token"}"#)),
        ("rate", http_response("429 Too Many Requests", "")),
        ("route", http_response("404 Not Found", "<html>hunter2</html>")),
    ] {
        let folder = register_folder();
        let (shown, output, _) = run_with_response(&folder, &answer, &["--yes"]).await;
        assert_eq!((output.code, read_registrations(&folder)), (1, None), "{shown}");
        insta::assert_snapshot!(format!("refused_for_its_{name}"), output.stderr);
    }
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_never_repeated() {
    for (name, answer) in [("server-error", http_response("502 Bad Gateway", "")), ("no-response", String::new())] {
        let folder = register_folder();
        let (shown, output, _) = run_with_response(&folder, &answer, &["--yes"]).await;
        assert_eq!(output.code, 1, "{shown}");
        assert!(output.stderr.contains("the outcome is unknown"), "{shown}");
        assert_eq!(read_registrations(&folder).unwrap()[0]["outcome"], "unknown");
        let (second, output) = run_without_server(&folder, &["--yes"]);
        assert_eq!(output.code, 1);
        // The text of a broken connection comes from a library, so it is not in a snapshot.
        if name == "server-error" {
            insta::assert_snapshot!(format!("{shown}\n=== second run:\n{second}"));
        }
    }
}

#[test]
fn a_request_that_was_never_sent_is_not_recorded() {
    let folder = register_folder();
    let (shown, output) = run_without_server(&folder, &["--yes"]);
    assert_eq!((output.code, read_registrations(&folder)), (1, None), "{shown}");
    assert!(
        output.stderr.contains("nothing was registered. Repeat the command when EZWhatsApp is reachable"),
        "{shown}"
    );
}

#[test]
fn without_a_terminal_and_yes_it_shows_the_plan_and_stops() {
    let folder = register_folder();
    let (shown, output) = run_without_server(&folder, &[]);
    assert_eq!((output.code, read_registrations(&folder)), (3, None), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn invalid_arguments_are_refused_before_anything_is_shown() {
    let folder = register_folder();
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
        let (_, output) = run_without_server(&folder, &[&more[..], &["--yes"]].concat());
        assert_eq!((output.code, output.stdout.as_str(), read_registrations(&folder)), (1, "", None), "{more:?}");
        writeln!(all, "{} {}\n{}", more[0], more[1], output.stderr).unwrap();
    }
    insta::assert_snapshot!(all);
    let output = run_tellonce(&build_arguments(&folder, "http://app.ezw.solutions", &["--yes"]));
    assert!(output.code == 1 && output.stderr.contains("the call carries the line's token"), "{}", output.stderr);
}

#[test]
fn no_file_of_secrets_is_read_unless_it_is_named() {
    let folder = register_folder();
    let path = folder.path().to_str().unwrap();
    let arguments =
        ["webhook", "register", "--state", path, "--line", "main", "--url", "https://api.example.com", "--yes"];
    let output = run_tellonce(&arguments);
    assert!(output.code == 1 && output.stderr.contains("no stack runs with the state folder"), "{}", output.stderr);
    assert_eq!(read_registrations(&folder), None);
}

#[tokio::test]
async fn secrets_of_a_file_for_a_stack_on_this_machine_reach_only_its_fake() {
    let folder = register_folder();
    let (state, secrets) = (folder.path().to_str().unwrap(), folder.secrets_file().to_str().unwrap());
    let run = |more: &[&str]| {
        let usual = ["webhook", "register", "--state", state, "--line", "main", "--url", "https://api.example.com"];
        run_tellonce(&[&usual[..], &["--secrets", secrets], more].concat())
    };
    let endpoints = |endpoints: LocalEndpoints| {
        let (client, clock) = (folder.path().to_owned(), folder.path().join("clock"));
        LocalStackFile { client, clock, endpoints }.write(folder.path()).unwrap();
    };
    let nowhere = || "http://127.0.0.1:9".to_owned();
    endpoints(LocalEndpoints::new(nowhere(), nowhere(), "http://127.0.0.1:9"));
    let without_fake = run(&[]);
    assert!(
        without_fake.stderr.contains("the stack on this machine has no fake EZWhatsApp"),
        "{}",
        without_fake.stderr
    );
    endpoints(LocalEndpoints::new(nowhere(), nowhere(), "http://127.0.0.1:9").with_addresses(nowhere(), nowhere()));
    let plan = run(&[]);
    assert!(plan.code == 3 && plan.stdout.contains("POST http://127.0.0.1:9/api/v1/webhooks"), "{}", plan.stdout);
}

#[tokio::test]
async fn a_removal_with_an_unknown_outcome_or_a_lost_record_says_so() {
    let folder = register_folder();
    let (client, secrets) = (folder.path().to_str().unwrap(), folder.secrets_file().to_str().unwrap());
    let remove = async |answer: &str, line: &str| {
        let fake_api = FakeApi::start().await.unwrap();
        let base_url = fake_api.base_url().unwrap();
        let all = ["webhook", "remove", "--client", client, "--secrets", secrets, "--line", line, "--id", "wh_7"];
        let all: Vec<String> =
            [&all[..], &["--base-url", &base_url, "--yes"]].concat().iter().map(ToString::to_string).collect();
        let run =
            tokio::task::spawn_blocking(move || run_tellonce(&all.iter().map(String::as_str).collect::<Vec<_>>()));
        let (request, output) = tokio::join!(fake_api.reply_once(answer), run);
        request.unwrap();
        output.unwrap()
    };
    let failed = remove(&http_response("502 Bad Gateway", ""), "main").await;
    assert!(failed.code == 1 && failed.stderr.contains("the webhook may be deleted"), "{}", failed.stderr);
    // The events of this line are off.
    let done = remove(&http_response("204 No Content", ""), "deaf").await;
    assert!(done.code == 0 && done.stdout.ends_with("Deleted: webhook wh_7.\n"), "{}{}", done.stdout, done.stderr);
    let recorded =
        r#"[{"line":"main","host":"a.example","at":"2026-11-20T10:00:00Z","outcome":"registered","id":"wh_7"}]"#;
    std::fs::write(folder.path().join("webhooks.json"), recorded).unwrap();
    std::fs::create_dir(folder.path().join("webhooks.json.new")).unwrap();
    let lost = remove(&http_response("204 No Content", ""), "main").await;
    assert!(lost.code == 1 && lost.stderr.contains("deleted the webhook wh_7, but the record"), "{}", lost.stderr);
}

#[test]
fn the_secrets_may_come_from_standard_input() {
    let folder = register_folder();
    let secrets = std::fs::read_to_string(folder.secrets_file()).unwrap();
    let run = |input: &str| {
        let arguments = build_arguments(&folder, "http://127.0.0.1:9", &["--secrets", "-", "--yes"]);
        let output = run_tellonce_with_input(&arguments, input);
        (format_output(&output, &folder, "http://127.0.0.1:9"), output)
    };
    let (shown, output) = run(&secrets);
    assert!(output.stderr.contains("nothing was registered. Repeat the command"), "{shown}");
    let (shown, output) = run("{}");
    let problem = "in the secrets on standard input: `tellonce/demo/lines/main` is missing";
    assert!(output.code == 1 && output.stdout.is_empty() && output.stderr.contains(problem), "{shown}");
}

#[test]
fn the_secrets_may_be_those_of_the_roles() {
    let lines = serde_json::json!({ "main": TOKEN }).to_string();
    let secrets =
        serde_json::json!({ "tellonce/demo/lines": lines, "tellonce/demo/webhooks": { "main/line": SECRET } });
    let folder = copy_demo_client(&[("client.toml", CLIENT), ("secrets.json", "{}")]);
    let arguments = build_arguments(&folder, "http://127.0.0.1:9", &["--secrets", "-", "--yes"]);
    let output = run_tellonce_with_input(&arguments, &secrets.to_string());
    let shown = format_output(&output, &folder, "http://127.0.0.1:9");
    assert!(shown.contains("with the token in tellonce/demo/lines (member `main`)"), "{shown}");
    assert!(shown.contains("(… stands for tellonce/demo/webhooks (member `main/line`))"), "{shown}");
    assert!(output.stderr.contains("nothing was registered. Repeat the command"), "{shown}");
}

#[test]
fn invalid_secrets_are_named_and_not_shown() {
    for (secrets, problem) in [
        ("{}", "`tellonce/demo/lines/main` is missing"),
        (r#"{"tellonce/demo/lines/main": "eyJhunter2"}"#, "`tellonce/demo/lines/main` is not a line token"),
        (r#"{"tellonce/demo/lines/main": "ezw_line_hunter2"}"#, "`tellonce/demo/webhooks/main/line` is missing"),
        (
            r#"{"tellonce/demo/lines/main": "ezw_line_hunter2", "tellonce/demo/webhooks/main/line": "hunter2"}"#,
            "`tellonce/demo/webhooks/main/line` is too short for an address",
        ),
    ] {
        let folder = copy_demo_client(&[("client.toml", CLIENT), ("secrets.json", secrets)]);
        let (shown, output) = run_without_server(&folder, &["--yes"]);
        assert!(output.code == 1 && output.stdout.is_empty() && output.stderr.contains(problem), "{shown}");
    }
}
