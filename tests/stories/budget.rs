//! The requests and write units of a message. A slower or more expensive path fails these tests.

use crate::{booking_endpoint, world::World};

const PHONE: &str = "+972545550199";

#[tokio::test]
async fn a_message_costs_three_writes_and_two_reads_besides_the_rate_limit() {
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
    let requests_of = |operation: &str, table: &str| {
        used.get(&(operation.to_owned(), world.table_name(table))).map_or(0, |usage| usage.requests)
    };
    assert_eq!(requests_of("PutItem", "Ledger"), 2, "claim and settlement: {used:?}");
    assert_eq!(requests_of("Query", "Ledger"), 1, "the history: {used:?}");
    assert_eq!(requests_of("UpdateItem", "Ledger"), 1, "the line's rate: {used:?}");
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(requests_of("GetItem", "Ledger"), 1, "whether the customer is new: {used:?}");
    assert_eq!(all, 6, "no other request: {used:?}");
    let requests = world.stack.provider().counters().requests;
    assert_eq!(requests.values().sum::<u64>(), 1, "one send, no health request: {requests:?}");
    assert_eq!(world.stack.secrets().total_request_count(), 0);
    let units = counters.operation_usage("PutItem", &world.table_name("Ledger")).units;
    assert!(units <= 4.0, "{units} write units");

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
    let secret_requests = world.stack.secrets().request_count("tellonce/story/webhooks/crm");
    assert_eq!(secret_requests, 0, "a secret is read once");

    counters.reset();
    assert_eq!(world.post(booked).await, 200);
    world.settle().await;
    let used = counters.snapshot();
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(all, 1, "a duplicate is one write and starts no function: {used:?}");
}
