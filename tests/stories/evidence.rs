//! `tellonce evidence`, as a process, after real traffic: what it shows, its signature, and that it
//! names no customer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use jiff::SignedDuration;
use serde_json::Value;
use tellonce_core::contact::Phone;
use tellonce_fakes::provider::{HealthPreset, RepeatResponse, SendFault};
use tellonce_ops::{ClientStack, CommandRunner, EvidenceResult, OperatorCommand, StackEvidence};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    conversations::{settle_line_events, write_from_phone},
    operator::{read_config, role_parameters},
    world::{ERP_SECRET, LINE_SECRET_PATH, LINE_TOKEN, World, WorldSetup},
};

const PHONE: &str = "+972545550199";
const AGENCY_PHONE: &str = "+972525550101";
const FILES: [&str; 4] = ["evidence.html", "evidence.md", "evidence.json", "evidence.intoto.json"];

struct Run {
    stdout: String,
    stderr: String,
    code: i32,
}

/// Runs `tellonce` without a terminal.
async fn tellonce(arguments: &[&str], input: &str) -> Run {
    let programs = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let mut command = Command::new(programs.join("tellonce"));
    command.args(arguments).env("USER", "dana").kill_on_drop(true);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let run = process.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { stdout: text(run.stdout), stderr: text(run.stderr), code: run.status.code().unwrap() }
}

/// Orders that are sent, one whose response is lost, one that waits for a line that is down, a
/// replay, and a customer who writes.
async fn make_traffic(world: &World, state: &str) {
    for number in 1..=3 {
        world.deliver(world.erp_post(&format!("m-{number}"), "ready", &number.to_string(), PHONE)).await;
    }
    world.stack.provider().fail_next(1, SendFault::DropAfterAccept);
    world.deliver(world.erp_post("m-4", "ready", "4", PHONE)).await;
    world.tick_after(SignedDuration::from_mins(3)).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("m-5", "ready", "5", PHONE)).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.tick_after(SignedDuration::from_mins(35)).await;
    write_from_phone(world, PHONE, "Is my order ready?");
    settle_line_events(world).await;
    world.advance_time(SignedDuration::from_mins(1));
    let replayed = tellonce(&["replay", "erp#m-1", "--yes", "--state", state], "").await;
    assert_eq!(replayed.code, 0, "{}", replayed.stderr);
    world.settle().await;
}

fn read_json(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("evidence.json")).unwrap()).unwrap()
}

fn results(document: &Value) -> Vec<(&str, &str)> {
    let areas = document["areas"].as_array().unwrap();
    areas.iter().map(|area| (area["name"].as_str().unwrap(), area["result"].as_str().unwrap())).collect()
}

fn seen<'a>(document: &'a Value, area: &str, checked: &str) -> &'a str {
    let areas = document["areas"].as_array().unwrap();
    let checks = areas.iter().find(|known| known["name"] == area).unwrap()["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["checked"].as_str().unwrap().contains(checked));
    check.unwrap_or_else(|| panic!("no {checked} in {checks:#?}"))["seen"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_evidence_of_real_traffic_is_signed_verified_offline_and_names_no_customer() {
    let (state, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state_folder = state.path().to_str().unwrap();
    let setup = WorldSetup { state: Some(state.path().to_owned()), line_events: true, ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    fs::write(world.stack.client_folder().join("decisions.md"), "## Refused\n\n### A campaign\n").unwrap();
    make_traffic(&world, state_folder).await;

    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let (key, public, out) = (path("agency.key"), path("agency.key.pub"), path("evidence"));
    let made = tellonce(&["evidence", "key", &key], "").await;
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    let run = ["evidence", "--out", &out, "--key", &key, "--state", state_folder];
    let live = [&run[..], &["--live-test", "--phone-file", "-"]].concat();
    let asked = tellonce(&live, AGENCY_PHONE).await;
    assert_eq!(asked.code, 3, "{}", asked.stderr);
    assert!(asked.stderr.contains("Plan: test the line main") && world.texts_on_phone(AGENCY_PHONE).is_empty());
    let done = tellonce(&[&live[..], &["--yes"]].concat(), AGENCY_PHONE).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let texts = world.texts_on_phone(AGENCY_PHONE);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("must arrive exactly once"), "{texts:?}");

    let document = read_json(Path::new(&out));
    let expected = [
        ("Auth", "not-checked"),
        ("Health", "passed"),
        ("Idempotency", "to-sign"),
        ("Webhooks", "passed"),
        ("Workspace", "to-sign"),
        ("Boundary", "to-sign"),
        ("Dedupe", "passed"),
        ("Usable ids", "passed"),
    ];
    assert_eq!(results(&document), expected, "{document:#}");
    assert!(seen(&document, "Auth", "token of the line").contains("`tellonce/story/lines`, member `main`"));
    assert!(seen(&document, "Health", "`main`").contains("sendable true"));
    assert!(seen(&document, "Health", "not good").starts_with("1 message waited"));
    assert!(seen(&document, "Idempotency", "keys").starts_with("6 messages, 6 keys"));
    assert!(seen(&document, "Idempotency", "without a response").starts_with("1 submit had"));
    assert!(seen(&document, "Idempotency", "submitted twice").contains("returned the same id"));
    assert!(seen(&document, "Webhooks", "inbound").contains("with its conversation"));
    assert!(seen(&document, "Dedupe", "erp#m-1").contains("order:1:ready was accepted before"));

    let verified = tellonce(&["evidence", "verify", &out, "--key", &public], "").await;
    assert_eq!((verified.code, verified.stderr.as_str()), (0, ""), "{}", verified.stdout);
    assert_names_no_customer(&world, &out, &[&asked, &done, &verified]);
    for name in FILES {
        assert_tampering_is_found(&PathBuf::from(&out).join(name), &out, &public).await;
    }
    let again = tellonce(&run, "").await;
    assert!(again.code == 1 && again.stderr.contains("is not empty"), "{}", again.stderr);
    world.stack.shutdown().await;
    assert_eq!(tellonce(&["evidence", "verify", &out, "--key", &public], "").await.code, 0, "offline");
}

/// Changes one byte, and changes it back.
async fn assert_tampering_is_found(file: &Path, out: &str, public: &str) {
    let content = fs::read(file).unwrap();
    let mut changed = content.clone();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'a' { b'b' } else { b'a' };
    fs::write(file, changed).unwrap();
    let refused = tellonce(&["evidence", "verify", out, "--key", public], "").await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{}", file.display());
    fs::write(file, content).unwrap();
}

fn assert_names_no_customer(world: &World, out: &str, runs: &[&Run]) {
    let mut outputs: Vec<String> = runs.iter().flat_map(|run| [run.stdout.clone(), run.stderr.clone()]).collect();
    outputs.extend(FILES.map(|name| fs::read_to_string(Path::new(out).join(name)).unwrap()));
    let operations = world.table_items("Ledger").into_iter().filter(|row| row["subject"] == "operations");
    outputs.extend(operations.map(|row| row.to_string()));
    let mut private: Vec<String> =
        ["545550199", "525550101", "Amit", "Peretz", "Is my order", "must arrive exactly", ERP_SECRET, LINE_TOKEN]
            .map(str::to_owned)
            .into();
    private.push(LINE_SECRET_PATH.to_owned());
    private.extend(world.messages().into_iter().map(|message| message.body));
    for output in outputs {
        for word in &private {
            assert!(!output.contains(word.as_str()), "`{word}` in: {output}");
        }
    }
}

async fn read_as(world: &World, caller: &str) -> StackEvidence {
    let stack = ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), caller).unwrap();
    stack.find_tables().await.unwrap().read_evidence(&stack, &read_config(world), &|_| {}).await.unwrap()
}

#[tokio::test]
async fn a_stack_without_traffic_claims_nothing_and_a_reader_asks_no_function() {
    let world = World::start_with(WorldSetup { parameters: role_parameters(), ..WorldSetup::default() }).await;
    let evidence = read_as(&world, "local-OperatorRole").await;
    let result_of = |evidence: &StackEvidence, name: &str| {
        evidence.areas.iter().find(|area| area.name == name).map(|area| area.result).unwrap()
    };
    for (area, result) in [
        ("Auth", EvidenceResult::Passed),
        ("Health", EvidenceResult::Passed),
        ("Idempotency", EvidenceResult::NotChecked),
        ("Webhooks", EvidenceResult::NotChecked),
        ("Dedupe", EvidenceResult::NotChecked),
        ("Usable ids", EvidenceResult::NotChecked),
    ] {
        assert_eq!(result_of(&evidence, area), result, "{area}: {evidence:#?}");
    }
    let evidence = read_as(&world, "local-ReaderRole").await;
    assert_eq!(result_of(&evidence, "Health"), EvidenceResult::NotChecked);
    let health = &evidence.areas[1].checks[0];
    assert!(health.seen.contains("a function last saw: HTTP 200") && health.at.is_some(), "{health:?}");
    assert_eq!(world.stack.roles().take_refused_calls().len(), 1, "a reader invokes no function");
}

/// Tests the line with the operator's role.
async fn test_line(world: &World) -> String {
    let stack = ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), "local-OperatorRole");
    let (stack, config) = (stack.unwrap(), read_config(world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let phone = Phone::from_e164(AGENCY_PHONE).unwrap();
    let plan = runner.plan(OperatorCommand::TestLine { line: "main".to_owned(), phone }).await.unwrap();
    runner.run(&plan, None).await.unwrap().to_string()
}

#[tokio::test]
async fn a_refused_repeat_leaves_the_verdict_to_the_phone_and_a_line_that_is_down_fails_the_test() {
    let world = World::start_with(WorldSetup { parameters: role_parameters(), ..WorldSetup::default() }).await;
    world.stack.provider().change_settings(|settings| settings.repeat_response = RepeatResponse::Conflict).unwrap();
    let refused = test_line(&world).await;
    assert!(refused.starts_with("the phone decides: ") && refused.contains("not its repeat ("), "{refused}");
    assert_eq!((world.texts_on_phone(AGENCY_PHONE).len(), world.stack.provider().max_messages_per_key()), (1, 1));
    let idempotency = read_as(&world, "local-OperatorRole").await.areas.swap_remove(2);
    assert_eq!(idempotency.checks[2].result, EvidenceResult::ToSign, "{idempotency:#?}");

    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_mins(1));
    let down = test_line(&world).await;
    assert!(down.starts_with("not passed: ") && down.contains("held: the line could not send"), "{down}");
    let evidence = read_as(&world, "local-OperatorRole").await;
    let failed = |index: usize| evidence.areas[index].result == EvidenceResult::Failed;
    assert!(failed(1) && failed(2), "{evidence:#?}");
    assert_eq!(world.texts_on_phone(AGENCY_PHONE).len(), 1);
}
