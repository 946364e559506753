//! Two versions of tellonce at work on one table, as during a deployment and after a rollback.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_fakes::services::{FakeFault, FakeService};

use crate::{
    conversations::{entry_counts, settle_line_events, start_world, write_from_phone},
    world::World,
};

const NOA_PHONE: &str = "+972545550199";
const ADI_PHONE: &str = "+972525550101";

const OWN_CRM_TOML: &str = r#"
[crms.own]
kind = "webhook"
url = "https://crm.example.com/events"
requests_per_minute = 60000
"#;

/// An item of the ledger, typed.
fn typed_item(world: &World, subject: &str, stage: &str) -> Value {
    let key = json!({"subject": {"S": subject}, "stage": {"S": stage}});
    let request = json!({"TableName": world.table_name("Ledger"), "Key": key, "ConsistentRead": true});
    world.stack.dynamo().call_operation("GetItem", &request).unwrap()["Item"].clone()
}

fn put_item(world: &World, item: &Value) {
    let request = json!({"TableName": world.table_name("Ledger"), "Item": item});
    world.stack.dynamo().call_operation("PutItem", &request).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_keeps_the_attributes_of_a_newer_version_and_its_unknown_state_stops_no_other_row() {
    let world = start_world(&[]).await;
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    settle_line_events(&world).await;
    let mut row = typed_item(&world, "order:1001", "ready");
    row["tomorrow"] = json!({"N": "7"});
    put_item(&world, &row);
    world.stack.provider().read_messages(NOA_PHONE).unwrap();
    settle_line_events(&world).await;
    let row = world.message_rows()["order:1001:ready"].clone();
    assert_eq!((row["delivery_status"].as_str(), row["tomorrow"].as_i64()), (Some("read"), Some(7)), "{row}");

    // Two messages are due. The state of the first is a word of the newer version.
    let due = |subject: &str, state: &str| {
        let mut row = typed_item(&world, "order:1001", "ready");
        for sent in ["provider_id", "message_id", "accepted_at", "delivery_status", "delivery_status_at"] {
            row.as_object_mut().unwrap().remove(sent);
        }
        (row["subject"], row["state"]) = (json!({"S": subject}), json!({"S": state}));
        (row["due_queue"], row["due_at"]) = (json!({"S": "main"}), json!({"N": "1"}));
        put_item(&world, &row);
    };
    due("order:2001", "parked");
    due("order:2002", "held");
    let parked = typed_item(&world, "order:2001", "ready");
    world.tick().await;
    world.settle().await;
    assert_eq!(world.message_state("order:2002:ready"), "accepted");
    assert_eq!(world.message_rows()["order:2002:ready"]["tomorrow"], 7);
    assert_eq!(typed_item(&world, "order:2001", "ready"), parked);
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_newer_version_waits_for_that_version_and_delays_no_other() {
    let world = start_world(&[OWN_CRM_TOML]).await;
    world.stack.fakes().fail_next(FakeService::Crm("webhook"), FakeFault::Status(401), 1);
    write_from_phone(&world, NOA_PHONE, "Hello");
    write_from_phone(&world, ADI_PHONE, "Good morning");
    settle_line_events(&world).await;
    assert!(entry_counts(&world, "own").is_empty(), "the queue is paused");
    let tasks = world.table_items("Ledger").into_iter().filter(|row| row["stage"] == "crm-own");
    let keys: Vec<String> = tasks.map(|row| row["subject"].as_str().unwrap().to_owned()).collect();
    let change_record = |from: &str, to: &str| {
        let mut item = typed_item(&world, &keys[0], "crm-own");
        let record = item["record"]["S"].as_str().unwrap().replace(from, to);
        item["record"] = json!({"S": record});
        put_item(&world, &item);
    };
    change_record(r#""state":"waiting""#, r#""state":"parked","shelf":{"row":2}"#);
    let parked = typed_item(&world, &keys[0], "crm-own");
    world.advance_time(SignedDuration::from_mins(6));
    world.tick_conversations().await;
    assert_eq!(entry_counts(&world, "own").len(), 1);
    assert_eq!(typed_item(&world, &keys[0], "crm-own"), parked);

    // The newer version lets it wait again, with a member of its own.
    change_record(r#""state":"parked""#, r#""state":"waiting""#);
    world.advance_time(SignedDuration::from_mins(1));
    world.tick_conversations().await;
    assert_eq!(entry_counts(&world, "own").len(), 2);
    let done = typed_item(&world, &keys[0], "crm-own")["record"]["S"].to_string();
    assert!(done.contains(r#"\"state\":\"done\""#) && done.contains("shelf"), "{done}");
}
