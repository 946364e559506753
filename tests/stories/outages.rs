//! Outages of the line, of the inbox and of the ledger delay messages and lose none.

use std::{ops::RangeInclusive, time::Instant};

use jiff::SignedDuration;
use serde_json::json;
use tellonce_fakes::provider::{HealthPreset, SendFault};

use crate::world::{World, WorldSetup};

const PHONE: &str = "+972545550199";

#[tokio::test]
async fn after_a_three_hour_outage_the_rest_drains_at_the_line_s_rate_most_useful_first() {
    // Two messages a second.
    let world = World::start_with(WorldSetup { messages_per_minute: Some(120), ..WorldSetup::default() }).await;
    let provider = world.stack.provider();
    provider.set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(world.shopify_post("orders/paid", "d-1", &world.shopify_order(1, PHONE))).await;
    world.deliver(world.erp_post("m-2", "late", "2", PHONE)).await;
    world.deliver(world.erp_post("m-3", "ready", "3", PHONE)).await;
    world.deliver(world.shopify_post("orders/create", "d-4", &world.shopify_order(4, PHONE))).await;
    // Order 4 is paid while the line is down, which supersedes "received".
    world.deliver(world.shopify_post("orders/paid", "d-5", &world.shopify_order(4, PHONE))).await;
    for key in ["order:1:paid", "order:2:out-for-delivery", "order:3:ready", "order:4:received", "order:4:paid"] {
        assert_eq!(world.message_state(key), "held", "{key}");
    }
    let line_requests = provider.counters().requests.values().sum::<u64>();
    assert_eq!(
        line_requests,
        1,
        "one health request, then no request while the line is down: {:?}",
        provider.counters().requests
    );

    world.advance_time(SignedDuration::from_hours(3));
    let sweep = world.tick().await;
    assert_eq!(sweep["ended"], 1, "{sweep}");
    assert_eq!(world.message_state("order:2:out-for-delivery"), "expired");
    assert_eq!(world.messages().len(), 0);
    let attempts = world.message_rows().values().map(|row| row["attempts"].as_i64().unwrap_or(0)).sum::<i64>();
    assert_eq!(attempts, 0, "waiting burns no attempts");

    provider.set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(2));
    let drain_started_at = world.now().as_millisecond() - world.stack.clock().offset_ms();
    let sweep = world.tick().await;
    assert_eq!(sweep["accepted"], 3, "{sweep}");
    assert_eq!(
        world.texts_on_phone(PHONE),
        ["Amit, order 3: ready.", "Order #1: paid.", "Order #4: paid."],
        "most useful first; among equals the one that expires first"
    );
    assert_eq!(world.message_state("order:4:received"), "superseded");
    // A send may be late on a busy machine, and the next one on time. No send is early.
    let times: Vec<i64> = world.messages().iter().map(|message| message.queued_at - drain_started_at).collect();
    for (earliest, time) in (0..).step_by(500).zip(&times) {
        assert!(*time >= earliest, "faster than two a second: {times:?}");
    }
    assert_eq!(provider.counters().wakeups, 0);
}

#[tokio::test]
async fn messages_are_sent_only_while_the_line_is_healthy() {
    let world = World::start().await;
    let presets = HealthPreset::ALL.into_iter().filter(|preset| *preset != HealthPreset::Good);
    for (number, preset) in presets.enumerate() {
        world.stack.provider().set_health(None, preset).unwrap();
        // By then, the cached health of the line is out of date.
        world.advance_time(SignedDuration::from_mins(2));
        world.deliver(world.erp_post(&format!("m-{number}"), "ready", &number.to_string(), PHONE)).await;
        assert_eq!(world.message_state(&format!("order:{number}:ready")), "held", "{preset:?}");
    }
    assert_eq!(world.stack.provider().counters().queued, 0);
}

#[tokio::test]
async fn a_line_that_answers_429_gets_no_request_until_its_retry_time() {
    let world = World::start().await;
    world.stack.provider().fail_next(1, SendFault::TooManyRequests { retry_after_s: Some(600) });
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    assert_eq!(
        (world.message_state("order:1:ready"), world.message_state("order:2:ready")),
        ("held".into(), "held".into())
    );
    world.advance_time(SignedDuration::from_mins(9));
    world.tick().await;
    assert_eq!(world.messages().len(), 0);
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.messages().len(), 2);
}

#[tokio::test]
async fn a_refused_token_opens_the_breaker_and_loses_nothing() {
    let world = World::start().await;
    world.stack.provider().set_tokens([("ezw_line_other".to_owned(), "line_story".to_owned())].into());
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    let unauthorized = world.stack.provider().counters().unauthorized;
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    assert_eq!(world.stack.provider().counters().unauthorized, unauthorized, "the breaker is open");
    assert!(world.message_rows()["order:2:ready"]["reason"].as_str().unwrap().contains("token"));
    world.stack.secrets().rotate("tellonce/story/lines/main", "ezw_line_other");
    world.advance_time(SignedDuration::from_mins(16));
    world.tick().await;
    assert_eq!(world.texts_on_phone(PHONE).len(), 2);
}

#[tokio::test]
async fn the_kill_switch_stops_a_line_and_keeps_waiting_messages() {
    let world = World::start().await;
    let line = json!({ "subject": { "S": "line:main" }, "stage": { "S": "state" } });
    let update_kill_switch = |expression: &str| {
        let mut request =
            json!({ "TableName": world.table_name("Ledger"), "Key": line, "UpdateExpression": expression });
        if expression.starts_with("SET") {
            request["ExpressionAttributeValues"] = json!({ ":why": { "S": "try" } });
        }
        world.stack.dynamo().call_operation("UpdateItem", &request).unwrap();
    };
    update_kill_switch("SET stopped = :why");
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.message_state("order:1:ready"), "held");
    assert!(world.message_rows()["order:1:ready"]["reason"].as_str().unwrap().contains("kill switch"));
    assert_eq!(world.stack.provider().counters().requests.len(), 0, "no health request either");
    update_kill_switch("REMOVE stopped");
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.message_state("order:1:ready"), "accepted");
}

#[tokio::test]
async fn waiting_messages_can_be_dropped_before_a_line_resumes() {
    let world = World::start().await;
    let provider = world.stack.provider();
    provider.set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.advance_time(SignedDuration::from_mins(5));
    let line = json!({ "subject": { "S": "line:main" }, "stage": { "S": "state" } });
    let request = json!({ "TableName": world.table_name("Ledger"), "Key": line, "UpdateExpression": "SET drop_before = :now",
        "ExpressionAttributeValues": { ":now": { "N": world.now().as_millisecond().to_string() } } });
    world.stack.dynamo().call_operation("UpdateItem", &request).unwrap();
    provider.set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    world.tick().await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 2: ready."]);
    assert_eq!(world.message_state("order:1:ready"), "superseded");
}

#[tokio::test]
async fn a_killed_sweep_is_completed_by_a_later_one() {
    let world = World::start().await;
    let provider = world.stack.provider();
    provider.set_health(None, HealthPreset::Qr).unwrap();
    for number in 1..=3 {
        world.deliver(world.erp_post(&format!("m-{number}"), "ready", &number.to_string(), PHONE)).await;
    }
    provider.set_health(None, HealthPreset::Good).unwrap();
    provider.set_latency(std::time::Duration::from_secs(1)).unwrap();
    world.advance_time(SignedDuration::from_mins(2));
    let (swept, ()) = tokio::join!(world.stack.tick_messages(), async {
        let sending = |provider: &tellonce_fakes::provider::FakeProvider| {
            provider.counters().requests.keys().any(|path| path.contains("/text"))
        };
        assert!(world.stack.provider().wait_for(std::time::Duration::from_secs(20), sending).await);
        world.stack.kill_function("reminder-scheduler").await;
    });
    assert!(swept.is_err(), "the sweep was killed");
    provider.set_latency(std::time::Duration::ZERO).unwrap();
    world.advance_time(SignedDuration::from_mins(3));
    world.tick().await;
    let mut texts = world.texts_on_phone(PHONE);
    texts.sort();
    assert_eq!(texts, ["Amit, order 1: ready.", "Amit, order 2: ready.", "Amit, order 3: ready."]);
    assert_eq!(provider.max_messages_per_key(), 1);
}

#[tokio::test]
async fn one_send_without_a_response_does_not_end_a_sweep_and_two_in_a_row_do() {
    let world = World::start().await;
    let provider = world.stack.provider();
    let hold_orders = async |orders: RangeInclusive<u32>| {
        provider.set_health(None, HealthPreset::Qr).unwrap();
        // By then no earlier good health counts.
        world.advance_time(SignedDuration::from_mins(1));
        for order in orders {
            world.deliver(world.erp_post(&format!("m-{order}"), "ready", &order.to_string(), PHONE)).await;
        }
        provider.set_health(None, HealthPreset::Good).unwrap();
        world.advance_time(SignedDuration::from_mins(2));
    };
    hold_orders(1..=12).await;
    provider.fail_next(1, SendFault::ServerErrorBeforeAccept);
    world.tick().await;
    assert_eq!(world.messages().len(), 11, "all but the one without a response");
    // The same key settles the unknown outcome.
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.messages().len(), 12);

    hold_orders(13..=18).await;
    provider.fail_next(2, SendFault::ServerErrorBeforeAccept);
    world.tick().await;
    assert_eq!(world.messages().len(), 12, "the sweep ended after two");
    world.advance_time(SignedDuration::from_mins(5));
    world.tick().await;
    assert_eq!(world.messages().len(), 18);
    assert_eq!(provider.max_messages_per_key(), 1);
}

#[tokio::test]
async fn held_messages_drain_at_the_line_s_rate_although_some_sends_fail() {
    const HELD: u32 = 300;
    const PER_MINUTE: u32 = 1500;
    let world = World::start_with(WorldSetup { messages_per_minute: Some(PER_MINUTE), ..WorldSetup::default() }).await;
    let provider = world.stack.provider();
    provider.set_health(None, HealthPreset::Qr).unwrap();
    for order in 0..HELD {
        world.deliver(world.erp_post(&format!("m-{order}"), "ready", &order.to_string(), PHONE)).await;
    }
    provider.set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(2));
    // Two in a hundred, never two in a row with this seed.
    provider.fail_fraction(0.02, SendFault::ServerErrorBeforeAccept, 3).unwrap();
    let begun = Instant::now();
    world.tick().await;
    let (sent, elapsed) = (world.messages().len(), begun.elapsed());
    let per_minute = 60.0 * f64::from(u32::try_from(sent).unwrap()) / elapsed.as_secs_f64();
    println!(
        "{sent} of {HELD} in {elapsed:.1?}: {:.0} % of the line's rate",
        100.0 * per_minute / f64::from(PER_MINUTE)
    );
    assert!((270..300).contains(&sent), "{sent} of {HELD} went out in one sweep");
    provider.heal().unwrap();
    world.advance_time(SignedDuration::from_mins(5));
    world.tick().await;
    assert_eq!((world.messages().len(), provider.max_messages_per_key()), (300, 1));
}

#[tokio::test]
async fn a_provider_that_never_responds_holds_up_no_batch() {
    let world = World::start().await;
    let provider = world.stack.provider();
    provider.set_latency(std::time::Duration::from_mins(2)).unwrap();
    let posts =
        (0..10).map(|order| world.post(world.erp_post(&format!("m-{order}"), "ready", &order.to_string(), PHONE)));
    for status in futures::future::join_all(posts).await {
        assert_eq!(status, 200);
    }
    world.settle().await;
    let requests = provider.counters().requests;
    assert!((1..=2).contains(&requests.values().sum::<u64>()), "the messages behind the first wait: {requests:?}");
    let states: Vec<String> = (0..10).map(|order| world.message_state(&format!("order:{order}:ready"))).collect();
    assert_eq!(states, vec!["held".to_owned(); 10]);
    assert_eq!(world.stack.failures().len(), 0);
    provider.set_latency(std::time::Duration::ZERO).unwrap();
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!((world.messages().len(), provider.max_messages_per_key()), (10, 1));
}

#[tokio::test]
async fn a_burst_beyond_the_line_s_rate_waits_in_the_ledger_and_holds_up_no_delivery_behind_it() {
    // A slot every three seconds, and a delivery waits for one second at most.
    let world = World::start_with(WorldSetup { messages_per_minute: Some(20), ..WorldSetup::default() }).await;
    let posts =
        (0..5).map(|order| world.post(world.erp_post(&format!("m-{order}"), "ready", &order.to_string(), PHONE)));
    assert_eq!(futures::future::join_all(posts).await, [200; 5]);
    world.settle().await;
    let sent = world.messages().len();
    assert!((1..5).contains(&sent), "{sent} sent");
    let rows = world.message_rows();
    let held: Vec<_> = rows.values().filter(|row| row["state"] == "held").collect();
    assert_eq!(held.len(), 5 - sent);
    for row in held {
        let wait = row["due_at"].as_i64().unwrap() - world.now().as_millisecond();
        assert!(wait <= 3_000, "due at the next slot: {row}");
    }
    // A sweep in the next minute sends them at the line's rate.
    world.advance_time(SignedDuration::from_mins(1));
    world.tick().await;
    assert_eq!((world.messages().len(), world.stack.provider().max_messages_per_key()), (5, 1));
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_needs_a_human() {
    let world = World::start().await;
    world.stack.provider().fail_fraction(1.0, SendFault::ServerErrorBeforeAccept, 1).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    for _ in 0..8 {
        world.advance_time(SignedDuration::from_mins(40));
        world.tick().await;
    }
    assert_eq!(world.message_state("order:1:ready"), "needs-human");
    assert_eq!(world.message_rows()["order:1:ready"]["attempts"], 5);
    world.stack.provider().heal().unwrap();
    world.advance_time(SignedDuration::from_mins(20));
    world.tick().await;
    assert_eq!(world.messages().len(), 0, "a message that needs a human is not sent automatically");
}

#[tokio::test]
async fn a_store_is_asked_to_retry_while_the_inbox_cannot_be_written() {
    let world = World::start().await;
    world.stack.dynamo().faults().throttle_fraction(1.0);
    let post = world.erp_post("m-1", "ready", "1", PHONE);
    assert_eq!(world.post(post.clone()).await, 503);
    world.stack.dynamo().faults().clear();
    world.deliver(post).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
}

#[tokio::test]
async fn a_ledger_that_throttles_for_a_while_delays_and_loses_nothing() {
    let world = World::start().await;
    let throttle_rule = |table: &str, operation: &str, n| tellonce_stack::dynamo::FaultRule {
        operation: Some(operation.to_owned()),
        table: Some(world.table_name(table)),
        fault: tellonce_stack::dynamo::DynamoFault::Throttle,
        frequency: tellonce_stack::dynamo::FaultFrequency::Next(n),
    };
    world.stack.dynamo().faults().inject_rule(throttle_rule("Ledger", "PutItem", 9));
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
    assert_eq!(world.stack.failures().len(), 0);
}
