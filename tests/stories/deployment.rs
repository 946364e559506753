//! What a deployment needs to be right: the settings of its own client, roles that suffice, and log
//! lines that Lambda and operators can use.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tellonce_fakes::provider::HealthPreset;

use crate::{
    conversations::{CRMS_TOML, line_event, message_body, settle_line_events, start_world},
    lead_endpoint::website_json_post,
    world::{CRM_SECRET, World, WorldSetup},
};

const PHONE: &str = "+972545550199";
const FUNCTIONS: [&str; 5] =
    ["webhook-receiver", "order-notifier", "reminder-scheduler", "lead-first-touch", "conversation-sync"];

/// The lines of all functions that are not metrics.
fn all_lines(world: &World) -> Vec<(&'static str, Value)> {
    let lines = |name: &'static str| {
        let lines = world.stack.log_lines(name).into_iter();
        lines.filter_map(move |line| Some((name, serde_json::from_str::<Value>(&line.text).ok()?)))
    };
    FUNCTIONS.into_iter().flat_map(lines).filter(|(_, line)| line.get("_aws").is_none()).collect()
}

/// Function and text of each line at `INFO` that names the delivery.
fn lines_of_delivery(world: &World, delivery: &str) -> BTreeSet<String> {
    let lines = all_lines(world).into_iter();
    let of_delivery = lines.filter(|(_, line)| line["delivery.id"] == delivery && line["level"] == "INFO");
    of_delivery.map(|(function, line)| format!("{function}: {}", line["message"].as_str().unwrap())).collect()
}

#[track_caller]
fn assert_followed(world: &World, delivery: &str, expected: &[&str]) {
    let found = lines_of_delivery(world, delivery);
    for wanted in expected {
        assert!(found.iter().any(|line| line.starts_with(wanted)), "{wanted}: {found:#?}");
    }
}

#[tokio::test]
async fn a_function_with_the_settings_of_another_client_does_not_start_and_names_both() {
    let parameters = [("Client".to_owned(), "other".to_owned())].into();
    let world = World::start_with(WorldSetup { parameters, ..WorldSetup::default() }).await;
    assert!(world.post(world.erp_post("m-1", "ready", "1", PHONE)).await >= 500);
    assert!(world.stack.tick_messages().await.is_err());
    for function in ["webhook-receiver", "reminder-scheduler"] {
        let lines = world.stack.log_lines(function);
        let named =
            |text: &str| text.contains("is of client `story`") && text.contains("the stack is of client `other`");
        assert!(lines.iter().any(|line| named(&line.text)), "{function}: {lines:#?}");
    }
    assert!(world.table_items("StoreInbox").is_empty());
}

#[tokio::test]
async fn an_order_is_followed_by_one_id_from_its_delivery_to_a_send_that_had_to_wait() {
    let world = World::start().await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(5));
    world.tick().await;
    assert_followed(
        &world,
        "erp#m-1",
        &[
            "webhook-receiver: stored delivery erp#m-1",
            "order-notifier: recorded message order:1:ready as held",
            "reminder-scheduler: recorded message order:1:ready as accepted",
        ],
    );
    // A repeat stores nothing, so it gets no line.
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    let stored = all_lines(&world).into_iter().filter(|(_, line)| line["message"] == "stored delivery erp#m-1");
    assert_eq!(stored.count(), 1);
}

#[tokio::test]
async fn a_booking_is_followed_by_one_id_to_its_reminder() {
    let world = World::start().await;
    let start = world.now() + SignedDuration::from_mins(150);
    let body = json!({
        "id": "88", "start": start.to_string(), "zone": "Asia/Jerusalem", "phone": PHONE, "name": "Noa Levi",
        "locale": "en", "status": "booked", "at": world.now().to_string(),
    });
    world.deliver(world.standard_webhooks_post("/bookings/crm", CRM_SECRET, "m-1", &body)).await;
    world.advance_time(SignedDuration::from_mins(31));
    world.tick().await;
    assert_followed(
        &world,
        "crm#m-1",
        &[
            "webhook-receiver: stored delivery crm#m-1",
            "reminder-scheduler: recorded appointment:88 as booked",
            "reminder-scheduler: recorded reminder 2h of appointment:88 as opened",
            "reminder-scheduler: recorded message appointment:88:2h as accepted",
        ],
    );
}

#[tokio::test]
async fn a_lead_is_followed_by_one_id_to_its_first_touch() {
    let world = World::start().await;
    let body = json!({"lead_id": "L-1", "name": "Noa Levi", "phone": PHONE, "consent": {"whatsapp": true}});
    world.deliver(website_json_post(&body)).await;
    world.deliver(website_json_post(&json!({"lead_id": "L-2", "phone": PHONE, "consent": {"whatsapp": false}}))).await;
    let deliveries: Vec<String> =
        world.table_items("LeadInbox").iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(deliveries.len(), 2);
    for delivery in &deliveries {
        let declined = world.delivery_outcome(delivery).is_some();
        let decision = if declined { "recorded outcome no-consent" } else { "recorded message lead:" };
        let lines = [format!("webhook-receiver: stored delivery {delivery}"), format!("lead-first-touch: {decision}")];
        assert_followed(&world, delivery, &lines.each_ref().map(String::as_str));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_event_is_followed_by_one_id_to_the_entries_of_the_crms() {
    let world = start_world(&[CRMS_TOML]).await;
    world
        .deliver(line_event("dlv-1", "messages.post", &message_body("wamid_1", "Hello", world.now().as_second())))
        .await;
    settle_line_events(&world).await;
    assert_followed(
        &world,
        "main#dlv-1",
        &["webhook-receiver: stored delivery main#dlv-1", "conversation-sync: attempted task"],
    );
}

/// Lambda counts a line without a valid time as `INFO`, whatever its level.
#[tokio::test]
async fn every_log_line_has_a_level_and_a_time_that_lambda_accepts() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = World::start_with(WorldSetup { env, ..WorldSetup::default() }).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.post(world.erp_post_with_secret("whsec_d3Jvbmc=", "m-2", "ready", "2", PHONE)).await;
    world.tick().await;
    let lines = all_lines(&world);
    assert!(lines.len() > 5, "{lines:?}");
    for (function, line) in lines {
        let level = line["level"].as_str().unwrap();
        assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level), "{function}: {line}");
        let time = line["timestamp"].as_str().unwrap();
        assert_eq!((time.len(), &time[10..11], &time[23..]), (24, "T", "Z"), "{function}: {line}");
        let time: Timestamp = time.parse().unwrap();
        assert!(world.now().duration_since(time).abs() < SignedDuration::from_mins(5), "{function}: {line}");
    }
}

/// The bytes that go into the log groups. docs/logging.md compares them with Lambda's own lines.
#[tokio::test]
async fn an_order_and_an_idle_minute_write_few_bytes_of_log() {
    let world = World::start().await;
    world.deliver(world.erp_post("m-0", "ready", "0", PHONE)).await;
    world.tick().await;
    world.tick_conversations().await;
    let bytes = || -> usize {
        FUNCTIONS.iter().flat_map(|name| world.stack.log_lines(name)).map(|line| line.text.len() + 1).sum()
    };
    let start = bytes();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    let after_order = bytes();
    world.tick().await;
    world.tick_conversations().await;
    let (order, minute) = (after_order - start, bytes() - after_order);
    println!("an order writes {order} bytes of log, an idle minute {minute}");
    assert!((400..1_100).contains(&order), "{order}");
    assert!(minute < 300, "{minute}");
}
