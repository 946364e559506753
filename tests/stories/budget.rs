//! The requests and write units of a message. A slower or more expensive path fails these tests.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tellonce_fakes::services::{FakeFault, FakeService};
use tellonce_stack::dynamo::OperationUsage;

use crate::{
    booking_endpoint,
    conversations::{OWN_CRM_TOML, entry_counts, settle_line_events, start_world, write_from_phone},
    world::World,
};

const PHONE: &str = "+972545550199";

/// The usage since the last reset, by operation and table.
type Usage = BTreeMap<(String, String), OperationUsage>;

fn requests_of(world: &World, used: &Usage, operation: &str, table: &str) -> u64 {
    used.get(&(operation.to_owned(), world.table_name(table))).map_or(0, |usage| usage.requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_for_a_crm_costs_five_requests_and_a_run_acquires_its_queue_once() {
    let world = start_world(&[OWN_CRM_TOML]).await;
    // Warm: the conversation is known, and the secret is read.
    write_from_phone(&world, PHONE, "Hello");
    settle_line_events(&world).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    write_from_phone(&world, PHONE, "Is it ready?");
    settle_line_events(&world).await;
    let used = counters.snapshot();
    let ledger = |operation: &str| requests_of(&world, &used, operation, "Ledger");
    assert_eq!(ledger("GetItem"), 1, "the conversation; no task and no queue is read: {used:?}");
    assert_eq!(ledger("PutItem"), 1 + 3, "the conversation; the task is created, claimed and settled: {used:?}");
    assert_eq!(ledger("UpdateItem"), 2, "the queue is acquired and released: {used:?}");
    assert_eq!(ledger("Query"), 0, "{used:?}");
    // The delivery 1, the conversation 1, the task 5 (two for its way in and out of the index), the
    // queue 2. The summary of the chat, for which tellonce does not register, is 2 more.
    let units = counters.write_units() - 2.0;
    assert!(units <= 9.0, "{units} write units: {used:?}");

    // Ten tasks that waited for the CRM: one run delivers them all.
    world.stack.fakes().fail_next(FakeService::Crm("webhook"), FakeFault::Status(401), 1);
    for number in 0..10 {
        write_from_phone(&world, PHONE, &format!("Message {number}"));
    }
    settle_line_events(&world).await;
    // Warm: the names of queues are remembered, and the minute's receipt is written. The queue is
    // paused.
    world.tick_conversations().await;
    world.advance_time(SignedDuration::from_mins(6));
    counters.reset();
    world.tick_conversations().await;
    let used = counters.snapshot();
    assert_eq!(requests_of(&world, &used, "UpdateItem", "Ledger"), 2, "once per run: {used:?}");
    assert_eq!(entry_counts(&world, "own").len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_reports_of_a_message_together_cost_eight_write_units() {
    let world = start_world(&[]).await;
    // Warm: the conversation is known.
    world.deliver(world.erp_post("erp-1", "ready", "1001", PHONE)).await;
    settle_line_events(&world).await;
    world.stack.provider().read_messages(PHONE).unwrap();
    settle_line_events(&world).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    world.deliver(world.erp_post("erp-2", "ready", "1002", PHONE)).await;
    settle_line_events(&world).await;
    world.stack.provider().read_messages(PHONE).unwrap();
    settle_line_events(&world).await;
    assert_eq!(world.message_rows()["order:1002:ready"]["delivery_status"], "read");
    let used = counters.snapshot();
    // The message, sent, delivered and read. Local webhooks also get the summary of the chat.
    assert_eq!(requests_of(&world, &used, "PutItem", "LineInbox"), 4 + 1, "{used:?}");
    assert_eq!(requests_of(&world, &used, "UpdateItem", "LineInbox"), 1, "the summary's outcome: {used:?}");
    // Each delivery 1. The row 3: sent, delivered, read. The conversation 1. The message itself 6.
    let units = counters.write_units() - 2.0 - 6.0;
    assert!(units <= 8.0, "{units} write units: {used:?}");
    assert!(!world.table_items("Ledger").iter().any(|row| row["subject"].as_str().unwrap().starts_with("message:")));

    counters.reset();
    let id = world.messages()[1].provider_id.clone();
    world.stack.provider().report_status(&id, "delivered").unwrap();
    settle_line_events(&world).await;
    assert!(counters.write_units() <= 1.0, "a report that adds nothing is only stored: {:?}", counters.snapshot());
}

#[tokio::test]
async fn a_message_costs_the_claim_the_settlement_one_read_and_the_rate_limit() {
    let world = World::start().await;
    // Warm: the token and the line's health are cached.
    world.deliver(world.shopify_post("orders/paid", "d-0", &world.shopify_order(1000, PHONE))).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    world.stack.provider().reset_counters();
    world.stack.secrets().reset_requests();

    let paid = world.shopify_post("orders/paid", "d-1", &world.shopify_order(1001, PHONE));
    assert_eq!(world.post(paid.clone()).await, 200);
    let inbox = counters.operation_usage("PutItem", &world.table_name("StoreInbox"));
    assert_eq!((inbox.requests, inbox.units), (1, 1.0), "a new delivery is one write");
    world.settle().await;
    let used = counters.snapshot();
    let ledger = |operation: &str| requests_of(&world, &used, operation, "Ledger");
    assert_eq!(ledger("PutItem"), 2, "claim and settlement: {used:?}");
    assert_eq!(ledger("Query"), 1, "the history: {used:?}");
    assert_eq!(ledger("UpdateItem"), 1, "the line's rate: {used:?}");
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(all, 5, "no other request, the inbox included: {used:?}");
    let requests = world.stack.provider().counters().requests;
    assert_eq!(requests.values().sum::<u64>(), 1, "one send, no health request: {requests:?}");
    assert_eq!(world.stack.secrets().total_request_count(), 0);
    // The inbox 1, the claim 2 (with the index of the customer's messages), the settlement 2 (with
    // the index of the provider's ids), the rate 1.
    assert!(counters.write_units() <= 6.0, "{} write units: {used:?}", counters.write_units());

    counters.reset();
    assert_eq!(world.post(paid).await, 200);
    world.settle().await;
    let used = counters.snapshot();
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(all, 1, "a duplicate is one write and starts no function: {used:?}");
}

#[tokio::test]
async fn a_repeated_event_costs_a_refused_write_and_its_reason() {
    let world = World::start().await;
    world.deliver(world.woocommerce_post("a", 1, "completed", PHONE)).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    world.deliver(world.woocommerce_post("b", 1, "completed", PHONE)).await;
    let used = counters.snapshot();
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(all, 3, "stored, refused by the ledger, reason recorded: {used:?}");
}

#[tokio::test]
async fn a_booking_costs_the_receiver_one_write() {
    let world = World::start().await;
    // Warm: the secrets are cached.
    world.deliver(booking_endpoint::crm_post(&world, "m-0")).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    world.stack.secrets().reset_requests();

    let booked = booking_endpoint::crm_post(&world, "m-1");
    assert_eq!(world.post(booked.clone()).await, 200);
    let inbox = counters.operation_usage("PutItem", &world.table_name("BookingInbox"));
    assert_eq!((inbox.requests, inbox.units), (1, 1.0), "a new delivery is one write");
    world.settle().await;
    let used = counters.snapshot();
    let reads =
        used.keys().any(|(operation, table)| *table == world.table_name("BookingInbox") && operation.contains("Get"));
    assert!(!reads, "no read: {used:?}");
    let secret_requests = world.stack.secrets().request_count("tellonce/story/webhooks");
    assert_eq!(secret_requests, 0, "a secret is read once");

    counters.reset();
    assert_eq!(world.post(booked).await, 200);
    world.settle().await;
    let used = counters.snapshot();
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(all, 1, "a duplicate is one write and starts no function: {used:?}");
}
