//! Two versions of tellonce at work on one table, as during a deployment and after a rollback.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_fakes::services::{FakeFault, FakeService};

use crate::{
    conversations::{
        OWN_CRM_TOML, entry_counts, settle_line_events, start_world, team_notifications, write_from_phone,
    },
    world::World,
};

const NOA_PHONE: &str = "+972545550199";
const ADI_PHONE: &str = "+972525550101";

const TEAM_TOML: &str = r#"
[targets.desk]
kind = "webhook"
url = "https://desk.example.com/calls"
[escalations.urgent]
when = { words = { en = ["urgent"] } }
to = ["desk"]
[escalations.slow]
when = { unanswered = "15m" }
to = ["desk"]
[escalations.cancelled]
when = { order = ["cancelled"] }
to = ["desk"]
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

/// Puts copies of an item that are due first.
fn put_copies(world: &World, item: &Value, count: u32) {
    let mut copy = item.clone();
    copy["due_at"] = json!({"N": "1"});
    for number in 0..count {
        copy["subject"] = json!({"S": format!("{}-{number}", item["subject"]["S"].as_str().unwrap())});
        put_item(world, &copy);
    }
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
    // One page of the queue and one more. They come first.
    put_copies(&world, &parked, 51);
    // The ledger's stream reports them as new.
    world.settle().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_waits_is_noticed_behind_more_than_a_page_of_conversations_of_a_newer_version() {
    let world = start_world(&[TEAM_TOML]).await;
    write_from_phone(&world, NOA_PHONE, "Anybody there?");
    settle_line_events(&world).await;
    let waiting =
        world.table_items("Ledger").into_iter().find(|row| row["due_queue"] == "queue:conversations").unwrap();
    let mut item = typed_item(&world, waiting["subject"].as_str().unwrap(), waiting["stage"].as_str().unwrap());
    let record = item["record"]["S"].as_str().unwrap().replace(r#""line":"main""#, r#""line":{"of":"tomorrow"}"#);
    item["record"] = json!({"S": record});
    put_copies(&world, &item, 201);
    world.advance_time(SignedDuration::from_mins(17));
    world.tick_conversations().await;
    let alerts = team_notifications(&world);
    assert!(alerts.len() == 1 && alerts[0].1.contains("Anybody there?"), "{alerts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_row_of_a_newer_version_stops_is_done_when_that_version_is_back_and_nothing_else_waits() {
    let world = start_world(&[TEAM_TOML]).await;
    let begun = world.now();
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    settle_line_events(&world).await;
    let set_state = |state: &str| {
        let mut row = typed_item(&world, "order:1001", "ready");
        row["state"] = json!({"S": state});
        put_item(&world, &row);
        row
    };
    let parked = set_state("parked");
    world.stack.provider().read_messages(NOA_PHONE).unwrap();
    write_from_phone(&world, NOA_PHONE, "It is urgent");
    write_from_phone(&world, ADI_PHONE, "This is urgent, too");
    settle_line_events(&world).await;
    let alerts = team_notifications(&world);
    assert_eq!(alerts.len(), 2, "{alerts:#?}");
    world.deliver(world.erp_post("erp-2", "late", "1001", NOA_PHONE)).await;
    world.deliver(world.erp_post("erp-3", "ready", "1002", ADI_PHONE)).await;
    settle_line_events(&world).await;
    assert_eq!(world.message_state("order:1002:ready"), "accepted");
    assert_eq!(world.delivery_outcome("erp#erp-2").as_deref(), Some("newer-version"));
    let text = world.delivery_outcome_text("erp#erp-2").unwrap();
    assert!(text.contains("order:1001:ready") && text.contains("newer version"), "{text}");
    assert_eq!(typed_item(&world, "order:1001", "ready"), parked);
    assert!(world.stack.failures().is_empty());

    set_state("accepted");
    world.advance_time(SignedDuration::from_mins(2));
    world.tick_conversations().await;
    assert_eq!(world.message_rows()["order:1001:ready"]["delivery_status"], "read");
    let replay = json!({"from": begun.to_string(), "to": world.now().to_string(), "outcome": "newer-version"});
    world.stack.invoke("order-notifier", &json!({ "replay": replay })).await.unwrap();
    settle_line_events(&world).await;
    assert_eq!(world.delivery_outcome("erp#erp-2"), None);
    assert!(world.texts_on_phone(NOA_PHONE).contains(&"Order 1001: today.".to_owned()));
}
