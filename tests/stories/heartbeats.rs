//! Heartbeats pass every inbox that the client uses, and their age shows a path that stopped.

use std::{collections::BTreeSet, time::Instant};

use jiff::SignedDuration;
use serde_json::Value;
use tellonce_bench::cost::{LAMBDA_REQUESTS, MONTHLY_TICKS, READ_UNITS, WRITE_UNITS};
use tellonce_core::{
    heartbeat::{HEARTBEAT_ID, HEARTBEAT_SUBJECT, HeartbeatPath},
    telemetry::Gauge,
};

use crate::{conversations::start_world, world::World};

const INBOXES: [&str; 4] = ["StoreInbox", "BookingInbox", "LeadInbox", "LineInbox"];
const PHONE: &str = "+972545550199";
const OLDEST: &str = Gauge::OldestHeartbeatSeconds.name();

/// The stages of the ledger's rows of heartbeats.
fn receipt_stages(world: &World) -> BTreeSet<String> {
    let rows = world.table_items("Ledger").into_iter().filter(|row| row["subject"] == HEARTBEAT_SUBJECT);
    rows.map(|row| row["stage"].as_str().unwrap().to_owned()).collect()
}

/// The age and the path of the oldest heartbeat, if the last minute's sweep published it.
fn oldest_heartbeat(world: &World) -> Option<(i64, String)> {
    let line = world.read_gauge("reminder-scheduler", OLDEST)?;
    Some((line[OLDEST].as_i64().unwrap(), line["heartbeat"].as_str().unwrap().to_owned()))
}

#[tokio::test]
async fn a_heartbeat_passes_every_inbox_and_leaves_no_trace_of_a_delivery() {
    let world = start_world(&[]).await;
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
    assert!(ages.len() >= 8 && ages.iter().all(|age| (0.0..500.0).contains(age)), "{ages:?}");
    assert_eq!(world.metric_values("attention", 20), [0.0; 0]);
    assert!(world.messages().is_empty() && world.stack.failures().is_empty());
}

#[tokio::test]
async fn a_mapping_that_stopped_makes_the_oldest_heartbeat_older_until_it_runs_again() {
    let world = start_world(&[]).await;
    world.run_minutes(2).await;
    world.stack.set_mapping_enabled("OrderNotifier/Inbox", false).unwrap();
    assert_eq!(world.post(world.erp_post("m-1", "ready", "1", PHONE)).await, 200);
    world.run_minutes(14).await;
    let (age, path) = oldest_heartbeat(&world).unwrap();
    assert!(age > 720 && path == "store-inbox", "{path}: {age} s");
    world.stack.set_mapping_enabled("OrderNotifier/Inbox", true).unwrap();
    world.settle().await;
    world.run_minutes(1).await;
    let (age, path) = oldest_heartbeat(&world).unwrap();
    assert!(age < 500, "{path}: {age} s");
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
}

#[tokio::test]
async fn a_function_that_fails_on_every_batch_has_no_new_heartbeat() {
    let world = start_world(&[]).await;
    world.run_minutes(1).await;
    let faults = world.stack.dynamo().faults();
    let others = ["ReminderScheduler/Inbox", "LeadFirstTouch/Inbox", "ConversationSync/Inbox"];
    let set_others = |enabled: bool| {
        for mapping in others {
            world.stack.set_mapping_enabled(mapping, enabled).unwrap();
        }
    };
    for _ in 0..8 {
        world.advance_time(SignedDuration::from_mins(1));
        // order-notifier's receipt is refused, as if the ledger were gone for this function. The
        // other functions read their inboxes afterwards.
        set_others(false);
        faults.inject_rule(tellonce_stack::dynamo::FaultRule {
            operation: Some("UpdateItem".to_owned()),
            table: Some(world.table_name("Ledger")),
            fault: tellonce_stack::dynamo::DynamoFault::Throttle,
            frequency: tellonce_stack::dynamo::FaultFrequency::Next(1_000_000),
        });
        world.tick().await;
        world.settle().await;
        faults.clear();
        set_others(true);
        world.settle().await;
        world.tick_conversations().await;
        world.stack.poll_feeds().await.unwrap();
    }
    let (age, path) = oldest_heartbeat(&world).unwrap();
    assert!(age >= 480 && path == "store-inbox", "{path}: {age} s");
    assert_eq!(world.stack.failures().len(), 0, "no batch is repeated for it");
    world.run_minutes(7).await;
    let (age, path) = oldest_heartbeat(&world).unwrap();
    assert!(age < 500, "the function works again; {path}: {age} s");
}

#[tokio::test]
async fn heartbeats_cost_ten_writes_in_seven_minutes() {
    let world = start_world(&[]).await;
    // Before the minute of the hour in which the sweep also erases aged data.
    world.begin_next(3600);
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
    let writes = puts.iter().map(|usage| usage.units).sum::<f64>() + sent.units + receipts.units;
    // The feeds have one receipt, every five minutes. Each minute has one query of half a read
    // unit.
    let feeds = 1.0;
    let (rounds, polls) = (MONTHLY_TICKS / 7.0, MONTHLY_TICKS / 5.0);
    let requests = (rounds * writes + polls * feeds) * WRITE_UNITS + MONTHLY_TICKS * 0.5 * READ_UNITS;
    let woken = rounds * f64::from(u32::try_from(woken).unwrap()) * LAMBDA_REQUESTS;
    let dollars = (requests + woken) / 1e6;
    println!("heartbeats: {writes} writes in seven minutes, {dollars:.3} US$ a month for requests and invocations");
    assert!(dollars < 0.056, "{dollars}");
}
