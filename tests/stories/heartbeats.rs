//! Heartbeats pass every inbox that the client uses, and their age shows a path that stopped.

use std::{collections::BTreeSet, time::Instant};

use jiff::SignedDuration;
use serde_json::Value;
use tellonce_core::{
    heartbeat::{HEARTBEAT_ID, HEARTBEAT_SUBJECT, HeartbeatPath},
    telemetry::Gauge,
};

use crate::world::{World, WorldSetup};

const INBOXES: [&str; 4] = ["StoreInbox", "BookingInbox", "LeadInbox", "LineInbox"];
const PHONE: &str = "+972545550199";
const OLDEST: &str = Gauge::OldestHeartbeatSeconds.name();

/// A client with stores, calendars, a feed, forms and a line with events.
async fn start_world() -> World {
    World::start_with(WorldSetup { line_events: true, ..WorldSetup::default() }).await
}

/// The stages of the ledger's rows of heartbeats.
fn receipt_stages(world: &World) -> BTreeSet<String> {
    let rows = world.table_items("Ledger").into_iter().filter(|row| row["subject"] == HEARTBEAT_SUBJECT);
    rows.map(|row| row["stage"].as_str().unwrap().to_owned()).collect()
}

/// The largest age that was published in the last minutes.
fn oldest_in(world: &World, minutes: i64) -> f64 {
    world.metric_values(OLDEST, minutes).into_iter().fold(0.0, f64::max)
}

#[tokio::test]
async fn a_heartbeat_passes_every_inbox_and_leaves_no_trace_of_a_delivery() {
    let world = start_world().await;
    world.run_minutes(11).await;
    let expected: BTreeSet<String> =
        HeartbeatPath::ALL.into_iter().map(|path| path.name().to_owned()).chain(["sent".to_owned()]).collect();
    assert_eq!(receipt_stages(&world), expected);
    for inbox in INBOXES {
        let items = world.stack.dynamo().scan_items(&world.table_name(inbox)).unwrap();
        let [heartbeat] = items.as_slice() else { panic!("{inbox}: {items:?}") };
        assert_eq!((&heartbeat["id"], &heartbeat["outcome"]), (&HEARTBEAT_ID.into(), &Value::Null), "{inbox}");
    }
    let ages = world.metric_values(OLDEST, 9);
    assert!(ages.len() >= 8 && ages.iter().all(|age| (0.0..400.0).contains(age)), "{ages:?}");
    assert_eq!(world.metric_values("attention", 20), [0.0; 0]);
    assert!(world.messages().is_empty() && world.stack.failures().is_empty());
}

#[tokio::test]
async fn a_mapping_that_stopped_makes_the_oldest_heartbeat_older_until_it_runs_again() {
    let world = start_world().await;
    world.run_minutes(2).await;
    world.stack.set_mapping_enabled("OrderNotifier/Inbox", false).unwrap();
    assert_eq!(world.post(world.erp_post("m-1", "ready", "1", PHONE)).await, 200);
    world.run_minutes(14).await;
    assert!(oldest_in(&world, 1) > 720.0, "{}", oldest_in(&world, 1));
    let lines = world.stack.log_lines("reminder-scheduler");
    let last = lines.iter().rev().find(|line| line.text.contains(OLDEST)).unwrap();
    assert!(last.text.contains("store-inbox"), "the line names the path: {}", last.text);
    world.stack.set_mapping_enabled("OrderNotifier/Inbox", true).unwrap();
    world.settle().await;
    world.run_minutes(1).await;
    assert!(oldest_in(&world, 1) < 400.0, "{}", oldest_in(&world, 1));
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
}

#[tokio::test]
async fn a_function_that_fails_on_every_batch_has_no_new_heartbeat() {
    let world = start_world().await;
    world.run_minutes(1).await;
    // The receipt of the inbox is refused, as if the ledger were gone for this function.
    world.stack.dynamo().faults().inject_rule(tellonce_stack::dynamo::FaultRule {
        operation: Some("UpdateItem".to_owned()),
        table: Some(world.table_name("Ledger")),
        fault: tellonce_stack::dynamo::DynamoFault::Throttle,
        frequency: tellonce_stack::dynamo::FaultFrequency::Next(1_000_000),
    });
    world.advance_time(SignedDuration::from_mins(6));
    world.tick().await;
    world.settle().await;
    world.stack.dynamo().faults().clear();
    world.advance_time(SignedDuration::from_mins(1));
    world.tick().await;
    assert!(oldest_in(&world, 1) > 400.0, "{}", oldest_in(&world, 1));
    assert_eq!(world.stack.failures().len(), 0, "no batch is repeated for it");
}

#[tokio::test]
async fn heartbeats_cost_ten_writes_in_seven_minutes() {
    let world = start_world().await;
    world.run_minutes(6).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    let invocations = |world: &World| -> u64 {
        ["order-notifier", "lead-first-touch", "reminder-scheduler", "conversation-sync"]
            .map(|function| world.stack.invocation_counts(function).started)
            .iter()
            .sum()
    };
    let (begun, before) = (Instant::now(), invocations(&world));
    for _ in 0..7 {
        world.advance_time(SignedDuration::from_mins(1));
        world.tick().await;
        // A second process of conversation-sync would write a receipt of its own.
        world.settle().await;
        world.tick_conversations().await;
    }
    println!("seven minutes of schedules in {:.0?}", begun.elapsed());
    let used = counters.snapshot();
    let puts = INBOXES.map(|inbox| counters.operation_usage("PutItem", &world.table_name(inbox)));
    assert!(puts.iter().all(|usage| (usage.requests, usage.units) == (1, 1.0)), "one item in each inbox: {used:?}");
    let ledger = world.table_name("Ledger");
    let sent = counters.operation_usage("PutItem", &ledger);
    assert_eq!((sent.requests, sent.units), (1, 1.0), "when heartbeats were sent: {used:?}");
    let receipts = counters.operation_usage("UpdateItem", &ledger);
    assert_eq!((receipts.requests, receipts.units), (5, 5.0), "four inboxes and conversation-sync: {used:?}");
    let woken = invocations(&world) - before - 14;
    assert_eq!(woken, 4, "one for each inbox, besides the minutes");
    // The receipt of the feeds is written every five minutes. Each minute has one query of half a
    // read unit.
    let writes = 4 + 1 + 5;
    let minutes = 43_200.0;
    let (per_month, feeds) = (minutes / 7.0, minutes / 5.0);
    let write_units = per_month * f64::from(writes) + feeds;
    let dollars = write_units * 0.625e-6 + minutes * 0.5 * 0.125e-6 + per_month * 4.0 * 0.2e-6;
    println!("heartbeats: {writes} writes in seven minutes, {dollars:.3} US$ a month for requests and invocations");
    assert!(dollars < 0.055, "{dollars}");
}
