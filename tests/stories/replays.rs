//! Replays: an operator lets the deliveries of a time, an outcome or a sender be processed again.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_stack::dynamo::{DynamoFault, FaultFrequency, FaultRule};

use crate::{
    booking_endpoint::crm_post,
    conversations::{line_event, message_body, settle_line_events},
    lead_endpoint::website_lead_of,
    world::{World, WorldSetup},
};

const PHONE: &str = "+972545550199";
const FUNCTIONS: [&str; 4] = ["order-notifier", "reminder-scheduler", "lead-first-touch", "conversation-sync"];

async fn replay(world: &World, function: &str, command: &Value) -> Value {
    world.stack.invoke(function, &json!({ "replay": command })).await.unwrap()
}

#[tokio::test]
async fn dead_letters_of_every_inbox_are_replayed_by_their_time() {
    let setup = WorldSetup { line_events: true, retries_at_once: true, ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    // Processed before the outage, and not a dead letter.
    world.deliver(world.erp_post("m-0", "ready", "1", PHONE)).await;
    world.advance_time(SignedDuration::from_mins(5));
    settle_line_events(&world).await;

    world.stack.dynamo().faults().inject_rule(FaultRule {
        operation: None,
        table: Some(world.table_name("Ledger")),
        fault: DynamoFault::Outage,
        frequency: FaultFrequency::Fraction(1.0),
    });
    let begun = world.now();
    let posts = [
        world.erp_post("m-1", "ready", "2", PHONE),
        crm_post(&world, "b-1"),
        website_lead_of("+972525550155"),
        line_event("e-1", "messages.post", &message_body("wamid-1", "Hello", begun.as_second())),
    ];
    for status in futures::future::join_all(posts.map(|post| world.post(post))).await {
        assert_eq!(status, 200);
    }
    world.settle().await;
    let ended = world.now() + SignedDuration::from_secs(1);
    world.stack.dynamo().faults().clear();

    let failures = world.stack.failures();
    let mut given_up: Vec<&str> = failures.iter().map(|batch| batch.function.as_str()).collect();
    given_up.sort_unstable();
    let mut expected = FUNCTIONS.to_vec();
    expected.sort_unstable();
    assert_eq!(given_up, expected);
    for batch in &failures {
        assert_eq!(batch.queue.as_deref(), Some("tellonce-story-failures"));
    }
    world.settle().await;
    assert_eq!(world.messages().len(), 1);

    for function in FUNCTIONS {
        let command = json!({ "from": begun.to_string(), "to": ended.to_string(), "outcome": "none" });
        let mut dry = command.clone();
        dry["dry_run"] = json!(true);
        let listed = replay(&world, function, &dry).await;
        let ids: Vec<&str> = listed["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(listed["replayed"], 0, "{function}");
        let done = replay(&world, function, &command).await;
        if function == "conversation-sync" {
            // The line also reported the first message to the phone, in the same time.
            assert!(ids.contains(&"main#e-1") && done["replayed"].as_u64() >= Some(1), "{listed} {done}");
        } else {
            assert_eq!(ids.len(), 1, "{function}: {listed}");
            assert_eq!(done, json!({ "replayed": 1, "outcomes": { "none": 1 }, "more": false }), "{function}");
        }
    }
    settle_line_events(&world).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready.", "Amit, order 2: ready."]);
    assert_eq!(world.texts_on_phone("+972525550155").len(), 1);
    assert_eq!(world.message_rows()["appointment:a-1:state"]["state"], "booked");
    let rows = world.table_items("Ledger");
    assert!(rows.iter().any(|row| row["subject"].as_str().unwrap().contains("conv_noa")), "the line event");
    // Once more, with those that were processed: nothing is sent twice.
    for function in FUNCTIONS {
        let done = replay(&world, function, &json!({ "from": "2020-01-01T00:00:00Z" })).await;
        assert_eq!(done["more"], false);
    }
    settle_line_events(&world).await;
    assert_eq!((world.messages().len(), world.stack.provider().max_messages_per_key()), (3, 1));
    assert_eq!(world.stack.failures().len(), 4);
}

#[tokio::test]
async fn deliveries_are_replayed_by_outcome_and_sender_and_the_heartbeat_never() {
    let world = World::start().await;
    for number in 1..=3 {
        world.deliver(world.erp_post(&format!("m-{number}"), "ready", &number.to_string(), "03-555-0199")).await;
    }
    world.deliver(world.woocommerce_post("w-1", 9, "processing", "03-555-0199")).await;
    let heartbeat = json!({ "TableName": world.table_name("StoreInbox"), "Item": { "id": { "S": "heartbeat" },
        "sent_at": { "N": world.now().as_millisecond().to_string() } } });
    world.stack.dynamo().call_operation("PutItem", &heartbeat).unwrap();
    let by_outcome = json!({ "outcome": "phone-unusable", "sender": "erp" });
    let mut dry = by_outcome.clone();
    dry["dry_run"] = json!(true);
    let listed = replay(&world, "order-notifier", &dry).await;
    let mut ids: Vec<&str> = listed["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["erp#m-1", "erp#m-2", "erp#m-3"]);
    assert_eq!(listed["outcomes"], json!({ "phone-unusable": 3 }));
    let all = replay(&world, "order-notifier", &json!({ "from": "2020-01-01T00:00:00Z", "dry_run": true })).await;
    assert_eq!(all["outcomes"], json!({ "phone-unusable": 4 }), "not the heartbeat");
    let replayed = || world.table_items("StoreInbox").iter().filter(|item| item["replayed_at"].is_i64()).count();
    assert_eq!(replayed(), 0, "a dry run changes nothing");
    let done = replay(&world, "order-notifier", &by_outcome).await;
    assert_eq!(done["replayed"], 3);
    world.settle().await;
    assert_eq!((replayed(), world.delivery_outcome("erp#m-1").as_deref()), (3, Some("phone-unusable")));
    for wrong in [json!({}), json!({ "sender": "erp" }), json!({ "outcome": "failed", "form": "x" })] {
        for function in FUNCTIONS {
            assert!(world.stack.invoke(function, &json!({ "replay": wrong })).await.is_err(), "{function}: {wrong}");
        }
    }
}
