//! The command line of an operator, as a process, against a stack on this machine.

use std::{path::Path, process::Stdio, time::Duration};

use jiff::SignedDuration;
use serde_json::Value;
use tellonce_ops::{API_LOG, FUNCTIONS, LogRequest};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::Command,
};

use crate::{
    operator::{connect, role_parameters},
    world::{World, WorldSetup},
};

const PHONE: &str = "+972525550101";

struct Run {
    stdout: String,
    stderr: String,
    code: i32,
}

/// `tellonce`, which cargo builds for the tests of its own package.
fn command(state: &Path, arguments: &[&str]) -> Command {
    let programs = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let mut command = Command::new(programs.join("tellonce"));
    command.args(arguments).arg("--state").arg(state).env("USER", "dana").kill_on_drop(true);
    command
}

/// The next line of a process that goes on.
async fn next_line(lines: &mut Lines<impl AsyncBufRead + Unpin>) -> String {
    let line = tokio::time::timeout(Duration::from_mins(1), lines.next_line()).await;
    line.expect("a line within a minute").unwrap().expect("the process goes on")
}

/// Runs it without a terminal.
async fn tellonce(state: &Path, arguments: &[&str], input: &str) -> Run {
    let mut command = command(state, arguments);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let run = process.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let run = Run { stdout: text(run.stdout), stderr: text(run.stderr), code: run.status.code().unwrap() };
    assert!(!run.stdout.contains("52555") && !run.stderr.contains("52555"), "{}{}", run.stdout, run.stderr);
    run
}

#[tokio::test]
async fn a_command_shows_its_plan_and_has_an_effect_only_when_it_is_confirmed() {
    let state = tempfile::tempdir().unwrap();
    let world = World::start_with(WorldSetup { state: Some(state.path().to_owned()), ..WorldSetup::default() }).await;
    let run = async |arguments: &[&str]| tellonce(state.path(), arguments, "").await;
    let hold = ["hold", "main", "--because", "wrong price"];
    let shown = run(&hold).await;
    assert_eq!(shown.code, 3, "{}", shown.stderr);
    assert!(shown.stdout.starts_with("Plan: hold the line main\n  as arn:aws:iam::000000000000:user/dana\n"));
    assert!(shown.stderr.contains("repeat the command with --yes"), "{}", shown.stderr);
    assert_eq!(run(&["operations"]).await.stdout, "No operation is recorded.\n");

    let done = run(&[&hold[..], &["--yes"]].concat()).await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert!(done.stdout.ends_with("Done: the line is stopped.\n"), "{}", done.stdout);
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.tick_after(SignedDuration::from_mins(5)).await;
    assert!(world.messages().is_empty());

    let released = run(&["release", "main", "--yes", "--json"]).await;
    let report: Value = serde_json::from_str(&released.stdout).unwrap();
    assert_eq!((&report["command"], &report["plan"]["line"]["waiting"]), (&"release the line main".into(), &1.into()));
    assert_eq!(report["outcome"]["line"], "release");
    world.tick_after(SignedDuration::from_mins(5)).await;
    assert_eq!(world.texts_on_phone(PHONE).len(), 1);
    assert_eq!(run(&["release", "main"]).await.stdout.lines().last(), Some("There is nothing to do."));

    let recorded = run(&["operations"]).await.stdout;
    let lines: Vec<&str> = recorded.lines().collect();
    assert!(lines[2].ends_with("  release the line main") && lines[6].ends_with("  hold the line main"), "{recorded}");
    assert_eq!(
        lines[7..],
        ["  by arn:aws:iam::000000000000:user/dana", "  because wrong price", "  the line is stopped"]
    );

    let mistyped = run(&["hold", "second", "--because", "x"]).await;
    assert_eq!((mistyped.code, mistyped.stdout.as_str()), (1, ""));
    assert_eq!(mistyped.stderr, "error: `second` is not a line of this client; known are: main\n");
    assert_eq!(run(&["hold", "main"]).await.code, 2, "a hold needs a reason");
    world.stack.shutdown().await;
    assert!(run(&["operations"]).await.stderr.contains("no stack runs with the state folder"));
}

#[tokio::test]
async fn a_number_comes_from_standard_input_and_is_printed_nowhere() {
    let state = tempfile::tempdir().unwrap();
    let world = World::start_with(WorldSetup { state: Some(state.path().to_owned()), ..WorldSetup::default() }).await;
    let run = async |arguments: &[&str], input: &str| tellonce(state.path(), arguments, input).await;
    let contact = run(&["contact", "--phone-file", "-"], &format!("{PHONE}\n")).await;
    assert!(contact.stdout.contains("contact:") && contact.stdout.contains("Not opted out."), "{}", contact.stderr);
    let changed = run(&["opt-out", "--phone-file", "-", "--yes"], PHONE).await;
    assert!(changed.stdout.ends_with("Done: the opt-out is changed.\n"), "{}{}", changed.stdout, changed.stderr);
    let contact = run(&["contact", "--phone-file", "-", "--json"], PHONE).await;
    assert!(serde_json::from_str::<Value>(&contact.stdout).unwrap()["opted_out_at"].is_string(), "{}", contact.stdout);
    let refused = run(&["opt-out", "--phone-file", "-", "--yes"], "Noa 052-555-0101").await;
    assert!(refused.code == 1 && refused.stderr.contains("with its country code"), "{}", refused.stderr);

    world.deliver(world.erp_post("m-1", "ready", "1", "")).await;
    let dry = run(&["replay", "--outcome", "no-phone", "--dry-run"], "").await;
    assert!(
        dry.stdout.contains("1 delivery matches") && dry.stdout.contains("erp#m-1"),
        "{}{}",
        dry.stdout,
        dry.stderr
    );
    assert!(dry.stdout.ends_with("Nothing was done: this is a dry run.\n"), "{}", dry.stdout);
    let replayed = run(&["replay", "--sender", "erp", "--since", "1h", "--yes"], "").await;
    assert!(replayed.stdout.ends_with("Done: replayed 1 delivery.\n"), "{}{}", replayed.stdout, replayed.stderr);
    let dead = run(&["dead"], "").await;
    assert_eq!(dead.stdout, "  0 dead letters (times in Asia/Jerusalem)\n", "{}", dead.stderr);
    world.stack.shutdown().await;
}

#[tokio::test]
async fn a_secret_comes_from_standard_input_and_is_printed_nowhere() {
    let state = tempfile::tempdir().unwrap();
    let world = World::start_with(WorldSetup { state: Some(state.path().to_owned()), ..WorldSetup::default() }).await;
    let run = async |arguments: &[&str], input: &str| tellonce(state.path(), arguments, input).await;
    let name = "webhooks/zap";
    let value = || world.stack.secrets().current_value("tellonce/story/webhooks/zap").unwrap();
    let before = value();
    let shown = run(&["secrets", "put", name], "hunter2-hunter2-hunter2\n").await;
    assert_eq!((shown.code, value()), (3, before.clone()), "{}", shown.stderr);
    let put = ["secrets", "put", name, "--yes", "--because", "a new agency"];
    let refused = run(&put, "hunter2\n").await;
    assert!(refused.code == 1 && refused.stderr.contains("is so short that it could be guessed"), "{}", refused.stderr);
    let stored = run(&put, "hunter2-hunter2-hunter2\n").await;
    assert!(stored.stdout.ends_with("Done: stored 1 value.\n"), "{}{}", stored.stdout, stored.stderr);
    assert_eq!(value(), "hunter2-hunter2-hunter2");
    let unknown = run(&["secrets", "put", "webhooks/none"], "x").await;
    assert!(unknown.stderr.contains("known are: lines/main, webhooks/erp"), "{}", unknown.stderr);

    // A rotation that began says how far it is, and stores nothing.
    let goes_on = run(&["secrets", "rotate", name, "--generate"], "").await;
    assert!(goes_on.stdout.contains("What is left to do:"), "{}{}", goes_on.stdout, goes_on.stderr);
    assert_eq!(value(), "hunter2-hunter2-hunter2");
    let file = state.path().join("new.txt");
    let rotate = ["secrets", "rotate", name, "--again", "--generate", "--yes", "--write-value", file.to_str().unwrap()];
    let rotated = run(&rotate, "").await;
    assert_eq!(rotated.code, 0, "{}", rotated.stderr);
    let generated = std::fs::read_to_string(&file).unwrap();
    assert_eq!(generated.trim_end(), value());
    let listed = run(&["secrets", "list"], "").await;
    for output in [shown, refused, stored, goes_on, rotated, listed] {
        let text = output.stdout + &output.stderr;
        assert!(!text.contains("hunter2") && !text.contains(generated.trim_end()), "{text}");
    }
    world.stack.shutdown().await;
}

#[tokio::test]
async fn the_webhooks_of_a_line_are_tried_listed_and_removed() {
    let state = tempfile::tempdir().unwrap();
    let setup = WorldSetup { state: Some(state.path().to_owned()), line_events: true, ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    let run = async |arguments: &[&str]| {
        let run = tellonce(state.path(), arguments, "").await;
        assert!(
            !format!("{}{}", run.stdout, run.stderr).contains("story-line_address"),
            "{}{}",
            run.stdout,
            run.stderr
        );
        run
    };
    let line = ["--line", "main"];
    let tested = run(&[&["webhook", "test"], &line[..]].concat()).await;
    assert_eq!(tested.code, 0, "{}{}", tested.stdout, tested.stderr);
    assert!(tested.stdout.contains("and processed: skipped"), "{}", tested.stdout);
    assert!(tested.stdout.contains("with a wrong secret: refused (404)"), "{}", tested.stdout);
    world.settle().await;
    let ledger = world.table_items("Ledger");
    let led_to =
        |prefix: &str| ledger.iter().any(|row| row["subject"].as_str().unwrap_or_default().starts_with(prefix));
    assert!(!led_to("message:") && !led_to("conversation:"), "{ledger:#?}");

    let listed = run(&[&["webhook", "list"], &line[..]].concat()).await;
    assert!(
        listed.code == 0 && listed.stdout.contains("with the secret stored now"),
        "{}{}",
        listed.stdout,
        listed.stderr
    );
    let id = world.stack.provider().webhooks()[0].id.clone();
    let remove = [&["webhook", "remove"], &line[..], &["--id", &id]].concat();
    let asked = run(&remove).await;
    assert_eq!((asked.code, world.stack.provider().webhooks().len()), (3, 1), "{}", asked.stdout);
    let removed = run(&[&remove[..], &["--yes"]].concat()).await;
    assert_eq!((removed.code, world.stack.provider().webhooks().len()), (0, 0), "{}", removed.stderr);
    let again = run(&[&remove[..], &["--yes"]].concat()).await;
    assert!(
        again.code == 1 && again.stderr.contains("nothing was deleted: EZWhatsApp answered with HTTP 404"),
        "{}",
        again.stderr
    );
    let none = run(&[&["webhook", "list"], &line[..]].concat()).await;
    assert!(none.stdout.contains("  none\n"), "{}", none.stdout);
    world.stack.shutdown().await;
}

#[tokio::test]
async fn a_person_is_exported_into_a_private_file_and_forgotten_with_a_receipt() {
    let state = tempfile::tempdir().unwrap();
    let world = World::start_with(WorldSetup { state: Some(state.path().to_owned()), ..WorldSetup::default() }).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    let path = |name: &str| state.path().join(name).to_str().unwrap().to_owned();
    let run = async |arguments: &[&str]| tellonce(state.path(), arguments, PHONE).await;
    let (out, receipt) = (path("person.json"), path("receipt.json"));
    let export = ["person", "export", "--phone-file", "-", "--out", &out];
    let exported = run(&export).await;
    assert!(exported.code == 0 && exported.stdout.contains("deliveries (store-inbox)"), "{}", exported.stderr);
    assert!(!exported.stdout.contains("Amit"), "{}", exported.stdout);
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert!(stored.to_string().contains("Amit Peretz"), "{stored}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = run(&export).await;
    assert!(again.code == 1 && again.stderr.contains("could not make the new file"), "{}", again.stderr);
    let words = path("person.txt");
    assert_eq!(run(&["person", "export", "--phone-file", "-", "--out", &words, "--text"]).await.code, 0);
    let words = std::fs::read_to_string(&words).unwrap();
    assert!(words.starts_with("What story stores") && words.contains("name: Amit Peretz"), "{words}");

    let nowhere = path("none/receipt.json");
    let refused = run(&["person", "forget", "--phone-file", "-", "--receipt", &nowhere, "--yes"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("could not make the new file"), "{}", refused.stderr);
    let forget = ["person", "forget", "--phone-file", "-", "--receipt", &receipt];
    assert_eq!(run(&forget).await.code, 3);
    assert!(!std::path::Path::new(&receipt).exists(), "it was not confirmed");
    let forgotten = run(&[&forget[..], &["--yes"]].concat()).await;
    assert!(forgotten.stdout.ends_with("Done: erased 2 items.\n"), "{}{}", forgotten.stdout, forgotten.stderr);
    let receipt: Value = serde_json::from_str(&std::fs::read_to_string(&receipt).unwrap()).unwrap();
    assert_eq!((&receipt["in_use"], receipt["erased"][0]["kind"].as_str()), (&0.into(), Some("messages")));
    let left = run(&["person", "forget", "--phone-file", "-", "--yes"]).await;
    assert_eq!(left.stdout.lines().last(), Some("There is nothing to do."));
    assert!(left.stdout.contains("Nothing of this person is stored"), "{}", left.stdout);
    let nothing = path("nothing.json");
    let left = run(&["person", "forget", "--phone-file", "-", "--receipt", &nothing, "--yes"]).await;
    assert!(left.stdout.ends_with("Done: erased 0 items.\n"), "{}{}", left.stdout, left.stderr);
    let nothing: Value = serde_json::from_str(&std::fs::read_to_string(&nothing).unwrap()).unwrap();
    assert_eq!((&nothing["in_use"], &nothing["erased"]), (&0.into(), &serde_json::json!([])));
    let explained = run(&["explain", "order:1"]).await.stdout;
    assert!(explained.contains("the customer was forgotten"), "{explained}");
    assert!(!format!("{}{explained}{receipt}", forgotten.stdout).contains("52555"), "{explained}");
    world.stack.shutdown().await;
}

#[tokio::test]
async fn log_lines_are_listed_by_text_problem_and_time_and_followed_as_they_are_written() {
    let state = tempfile::tempdir().unwrap();
    let setup =
        WorldSetup { state: Some(state.path().to_owned()), parameters: role_parameters(), ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    assert_eq!(world.post(world.erp_post_with_secret("whsec_AAAA", "m-2", "ready", "1", PHONE)).await, 401);
    let logs = async |arguments: &[&str]| tellonce(state.path(), &[&["logs"], arguments].concat(), "").await;

    let way = logs(&["erp#m-1"]).await;
    let lines: Vec<&str> = way.stdout.lines().collect();
    assert!(lines[0].ends_with(" (Asia/Jerusalem)"), "{}{}", way.stdout, way.stderr);
    assert!(lines[1].contains("  webhook-receiver   INFO  stored delivery erp#m-1"), "{}", way.stdout);
    assert!(lines[2..].iter().any(|line| line.contains("order-notifier") && line.contains("order:1:ready")));
    assert_eq!(way.stderr, "");
    let problems = logs(&["--problems"]).await.stdout;
    let lines: Vec<&str> = problems.lines().collect();
    assert!(lines.len() == 2 && lines[1].contains("WARN  refused a delivery: "), "{problems}");
    assert!(lines[1].ends_with("  http.status=401  sender.name=erp"), "{problems}");
    let answered = logs(&["--log", "api", "--json"]).await.stdout;
    let messages: Vec<Value> =
        answered.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].clone()).collect();
    assert_eq!(messages, ["POST /stores/{store} was answered 200", "POST /stores/{store} was answered 401"]);
    let earlier = logs(&["--since", "2h", "--until", "1h"]).await.stdout;
    assert!(earlier.starts_with("No such lines since "), "{earlier}");
    assert_eq!(logs(&["--log", "notifier"]).await.code, 2);

    let mut tail = command(state.path(), &["tail", "m-3"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = BufReader::new(tail.stderr.take().unwrap()).lines();
    let mut followed = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(next_line(&mut notes).await.starts_with("Following the log of story."));
    world.deliver(world.erp_post("m-3", "ready", "3", PHONE)).await;
    assert!(next_line(&mut followed).await.ends_with(" (Asia/Jerusalem)"));
    assert!(next_line(&mut followed).await.ends_with("stored delivery erp#m-3"));
    tail.kill().await.unwrap();

    // A reader may read all of them.
    let request = LogRequest {
        logs: [&FUNCTIONS[..], &[API_LOG]].concat().into_iter().map(str::to_owned).collect(),
        text: None,
        only_problems: false,
    };
    let reader = connect(&world, "local-ReaderRole");
    let found = reader.read_log_lines(&request, world.now() - SignedDuration::from_hours(1), None).await.unwrap();
    assert!(found.lines.iter().any(|line| line.function == API_LOG) && found.complete_until.is_none(), "{found:?}");
    world.stack.shutdown().await;
}
