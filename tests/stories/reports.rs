//! `tellonce report`: what became of the messages of a month, in the client's language.

use std::{fs, path::Path, process::Stdio};

use jiff::{SignedDuration, tz::TimeZone};
use serde_json::Value;
use tellonce_fakes::provider::{HealthPreset, SendFault};
use tellonce_ops::{ClientStack, MessageKind};
use tokio::process::Command;

use crate::{
    conversations::settle_line_events,
    operator::role_parameters,
    world::{World, WorldSetup},
};

const PHONE: &str = "+972545550199";

async fn tellonce(state: &Path, arguments: &[&str]) -> (String, i32) {
    let programs = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let mut command = Command::new(programs.join("tellonce"));
    command.args(arguments).arg("--state").arg(state).stdin(Stdio::null()).kill_on_drop(true);
    let run = command.output().await.unwrap();
    (String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap(), run.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_with_an_outage_is_reported_in_the_client_s_language_and_names_no_customer() {
    let state = tempfile::tempdir().unwrap();
    let setup = WorldSetup { state: Some(state.path().to_owned()), line_events: true, ..WorldSetup::default() };
    let world = World::start_with(WorldSetup { parameters: role_parameters(), ..setup }).await;
    let month = world.now().to_zoned(TimeZone::get("Asia/Jerusalem").unwrap()).strftime("%Y-%m").to_string();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.stack.provider().fail_next(1, SendFault::DropAfterAccept);
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_mins(1));
    for order in ["3", "4"] {
        world.deliver(world.erp_post(&format!("m-{order}"), "ready", order, PHONE)).await;
    }
    world.tick_after(SignedDuration::from_mins(35)).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.tick_after(SignedDuration::from_mins(35)).await;
    settle_line_events(&world).await;

    let (printed, code) = tellonce(state.path(), &["report", "--month", &month, "--json"]).await;
    assert_eq!(code, 0, "{printed}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    let orders = &report["kinds"]["order-update"];
    assert_eq!((&orders["messages"], &orders["sent"], &orders["arrived"]), (&4.into(), &4.into(), &4.into()));
    assert_eq!(report["repeated_submits"], 1);
    let outage = &report["outages"][0];
    assert_eq!((&outage["messages"], &outage["sent"], &outage["line"]), (&2.into(), &2.into(), &"main".into()));
    assert!(report["waits"]["line"]["longest_seconds"].as_i64().unwrap() >= 30 * 60, "{report:#}");

    let folder = state.path().join("out");
    let out = folder.to_str().unwrap();
    let (written, code) =
        tellonce(state.path(), &["report", "--month", &month, "--language", "he", "--out", out]).await;
    assert_eq!(code, 0, "{written}");
    let read = |ending: &str| fs::read_to_string(folder.join(format!("report-story-{month}.{ending}"))).unwrap();
    let (html, markdown) = (read("html"), read("md"));
    assert!(html.contains("dir=\"rtl\"") && markdown.contains("עדכוני הזמנות"), "{markdown}");
    for text in [printed, written, html, markdown] {
        assert!(!text.contains("545550199") && !text.contains("Amit") && !text.contains("Peretz"), "{text}");
    }
    let (empty, _) = tellonce(state.path(), &["report", "--month", "2020-01"]).await;
    assert!(empty.contains("None in this month."), "{empty}");
    world.stack.shutdown().await;
}

#[tokio::test]
async fn a_reader_may_read_the_report() {
    let world = World::start_with(WorldSetup { parameters: role_parameters(), ..WorldSetup::default() }).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    let stack = ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), "local-ReaderRole");
    let tables = stack.unwrap().find_tables().await.unwrap();
    let (from, until) = (world.now() - SignedDuration::from_hours(1), world.now() + SignedDuration::from_hours(1));
    let report = tables.read_month(from, until, world.now(), &|_| {}).await.unwrap();
    assert_eq!(report.kinds[&MessageKind::OrderUpdate].messages, 1);
    let earlier = tables.read_month(from - SignedDuration::from_hours(9), from, world.now(), &|_| {}).await.unwrap();
    assert!(earlier.kinds.is_empty() && earlier.cost.rows > 0, "{earlier:?}");
}
