//! Gauges: how long the oldest thing waits that should have gone. Each outage is in the right gauge
//! for as long as it lasts, with the cause in words, and in no gauge afterwards.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_fakes::{
    provider::{HealthPreset, SendFault},
    services::{FakeFault, FakeService},
};

use crate::{
    conversations::{settle_line_events, start_world, write_from_phone},
    world::{LINE_TOKEN, World, WorldSetup},
};

const NOA_PHONE: &str = "+972545550199";
const ADI_PHONE: &str = "+972525550101";

const HUBSPOT_TOML: &str = "[crms.hub]\nkind = \"hubspot\"\nrequests_per_minute = 60000\n";
const SLACK_TOML: &str = "[targets.slack]\nkind = \"slack\"\n[escalations.urgent]\n\
                          when = { words = { en = [\"urgent\"] } }\nto = [\"slack\"]\n";

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// The seconds and the explanation of the gauge of messages that a minute later's sweep writes.
async fn due_gauge(world: &World) -> Option<(i64, String)> {
    world.advance_time(minutes(1));
    world.tick().await;
    let line = world.read_gauge("reminder-scheduler", "oldest_due_seconds")?;
    Some((line["oldest_due_seconds"].as_i64().unwrap(), line["reasons"].to_string()))
}

/// The seconds and the explanation of the gauge of tasks that conversation-sync writes now.
async fn task_gauge(world: &World, kind: &str) -> Option<(i64, String)> {
    world.tick_conversations().await;
    let line = world.read_gauge("conversation-sync", "oldest_task_seconds").filter(|line| line["Kind"] == kind)?;
    Some((line["oldest_task_seconds"].as_i64().unwrap(), line["reasons"].to_string()))
}

fn assert_about(minutes: i64, seconds: i64) {
    assert!((minutes * 60 - 5..=minutes * 60 + 90).contains(&seconds), "{seconds} s instead of {minutes} min");
}

/// Writes to the line as a customer, and waits until everything but a failing destination is done.
async fn write_message(world: &World, text: &str) {
    write_from_phone(world, NOA_PHONE, text);
    settle_line_events(world).await;
}

#[tokio::test]
async fn while_the_token_of_a_line_is_missing_the_gauge_grows_whatever_expires_and_ends_with_it() {
    let world = World::start().await;
    world.stack.secrets().remove("tellonce/story/lines/main");
    world.deliver(world.erp_post("m-1", "ready", "1", NOA_PHONE)).await;
    assert_eq!(world.message_state("order:1:ready"), "held");
    let since = world.message_rows()["order:1:ready"]["waiting_since"].as_i64().unwrap();
    assert_eq!(due_gauge(&world).await, None, "a minute is usual");
    for hour in 1..=3 {
        world.advance_time(minutes(59));
        let (seconds, reasons) = due_gauge(&world).await.unwrap();
        assert_about(60 * hour + 1, seconds);
        assert!(reasons.contains("main: ") && reasons.contains("tellonce/story/lines (member `main`)"), "{reasons}");
        world.deliver(world.erp_post(&format!("late-{hour}"), "late", &format!("2{hour}"), NOA_PHONE)).await;
    }
    assert_eq!(world.message_rows()["order:1:ready"]["waiting_since"].as_i64(), Some(since), "kept over the holds");
    world.stack.secrets().rotate("tellonce/story/lines/main", LINE_TOKEN);
    world.advance_time(minutes(2));
    world.tick().await;
    assert_eq!(world.message_state("order:1:ready"), "accepted");
    assert_eq!(world.message_rows()["order:1:ready"].get("waiting_since"), None);
    assert_eq!(due_gauge(&world).await, None, "the outage is over");
}

#[tokio::test]
async fn every_obstacle_of_a_line_is_in_the_gauge_and_quiet_hours_are_not() {
    let world = World::start_with(WorldSetup { quiet_hours: Some(("21:00", "08:00")), ..WorldSetup::default() }).await;
    let advance_to = |hour: i8| {
        let now = world.now().to_zoned(jiff::tz::TimeZone::get("Asia/Jerusalem").unwrap());
        let today = now.date().at(hour, 0, 0, 0).in_tz("Asia/Jerusalem").unwrap();
        let next = if today > now { today } else { today.tomorrow().unwrap() };
        world.advance_time(next.timestamp().duration_since(world.now()));
    };
    advance_to(10);
    let provider = world.stack.provider();
    let too_many = SendFault::TooManyRequests { retry_after_s: Some(7200) };
    provider.fail_next(1, too_many);
    world.deliver(world.erp_post("m-1", "ready", "1", NOA_PHONE)).await;
    world.advance_time(minutes(60));
    let (seconds, _) = due_gauge(&world).await.unwrap();
    assert_about(61, seconds);
    assert_eq!(world.messages().len(), 0, "the line is asked for nothing before the two hours are over");
    world.advance_time(minutes(65));
    world.tick().await;
    assert_eq!(world.messages().len(), 1);

    provider.set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(minutes(2));
    world.deliver(world.erp_post("m-2", "ready", "2", NOA_PHONE)).await;
    world.advance_time(minutes(14));
    let (seconds, reasons) = due_gauge(&world).await.unwrap();
    assert_about(15, seconds);
    assert!(reasons.contains("could not send"), "{reasons}");
    // In the night the message could not be sent anyway.
    advance_to(23);
    world.tick().await;
    assert_eq!(due_gauge(&world).await, None, "{}", world.message_rows()["order:2:ready"]);
    assert_eq!(world.message_rows()["order:2:ready"].get("waiting_since"), None);
    advance_to(8);
    world.advance_time(minutes(20));
    world.tick().await;
    let (seconds, _) = due_gauge(&world).await.unwrap();
    assert_about(21, seconds);
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_leaves_the_gauge_after_an_hour_and_ends_in_attention() {
    let world = World::start().await;
    world.stack.provider().fail_fraction(1.0, SendFault::ServerErrorBeforeAccept, 1).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1", NOA_PHONE)).await;
    for pause in [1, 4, 21] {
        world.advance_time(minutes(pause));
        world.tick().await;
    }
    let (seconds, reasons) = due_gauge(&world).await.unwrap();
    assert_about(27, seconds);
    assert!(reasons.contains("main: "), "{reasons}");
    world.advance_time(minutes(35));
    assert_eq!(due_gauge(&world).await, None, "it hides no outage that begins now");
    assert_eq!(world.message_state("order:1:ready"), "unknown");
    let is_listed = |line: &str| line.contains("line main, outcome unknown") && line.contains("order:1:ready");
    assert!(world.stack.log_lines("reminder-scheduler").iter().any(|line| is_listed(&line.text)));
    assert_eq!(world.metric_values("attention", 70), [0.0; 0]);
    world.advance_time(minutes(90));
    world.tick().await;
    assert_eq!(world.message_state("order:1:ready"), "needs-human");
    assert_eq!(world.metric_values("attention", 2), [1.0]);
}

#[tokio::test]
async fn a_removed_line_a_damaged_header_and_a_damaged_row_wait_and_stop_no_sweep() {
    let world = World::start().await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    for order in ["1", "2"] {
        world.deliver(world.erp_post(&format!("m-{order}"), "ready", order, NOA_PHONE)).await;
    }
    let update = |subject: &str, stage: &str, expression: &str, values: Value| {
        let request = json!({
            "TableName": world.table_name("Ledger"), "Key": { "subject": {"S": subject}, "stage": {"S": stage} },
            "UpdateExpression": expression, "ExpressionAttributeValues": values,
            "ExpressionAttributeNames": { "#state": "state" },
        });
        world.stack.dynamo().call_operation("UpdateItem", &request).unwrap();
    };
    world.tick().await;
    // What an older deployment left for a line that is gone.
    update(
        "queues",
        "lines",
        "ADD queue_names :names SET #state = :any",
        json!({ ":names": {"SS": ["old"]}, ":any": {"S": "x"} }),
    );
    update(
        "order:1",
        "ready",
        "SET due_queue = :old, #state = :held",
        json!({ ":old": {"S": "old"}, ":held": {"S": "held"} }),
    );
    update("order:2", "ready", "SET #state = :bad", json!({ ":bad": {"S": "no such state"} }));
    let due = (world.now() - minutes(90)).as_millisecond().to_string();
    update(
        "appointment:9",
        "state",
        "SET #state = :booked, appointment = :bad, due_queue = :main, due_at = :due",
        json!({ ":booked": {"S": "booked"}, ":bad": {"S": "{"}, ":main": {"S": "main"}, ":due": {"N": due} }),
    );
    // Another configuration comes with another process.
    world.stack.kill_function("reminder-scheduler").await;
    world.advance_time(minutes(20));
    let (seconds, reasons) = due_gauge(&world).await.unwrap();
    assert_about(111, seconds);
    for reason in [
        "main, unreadable: the ledger row appointment:9:state has no usable `appointment`",
        "main: the ledger row order:2:ready",
        "old: client.toml no longer has the line",
    ] {
        assert!(reasons.contains(reason), "{reason} in {reasons}");
    }
    // The line works again, and the others are served.
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.deliver(world.erp_post("m-3", "ready", "3", ADI_PHONE)).await;
    world.advance_time(minutes(2));
    world.tick().await;
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_answers_503_to_one_message_an_hour_is_in_the_gauge_until_it_works() {
    let world = start_world(&[HUBSPOT_TOML]).await;
    world.stack.fakes().fail_next(FakeService::Crm("hubspot"), FakeFault::Status(503), 1000);
    for hour in 1..=4 {
        write_message(&world, &format!("hello {hour}")).await;
        for _ in 0..4 {
            world.advance_time(minutes(15));
            world.tick_conversations().await;
        }
        let (seconds, reasons) = task_gauge(&world, "crm").await.unwrap();
        assert_about(60 * hour, seconds);
        assert!(reasons.contains("crm:hub: ") && reasons.contains("503"), "{reasons}");
    }
    world.stack.fakes().heal();
    for _ in 0..3 {
        world.advance_time(minutes(31));
        world.tick_conversations().await;
    }
    world.advance_time(minutes(2));
    assert_eq!(task_gauge(&world, "crm").await, None, "every entry is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_limits_the_rate_or_refuses_its_credential_is_in_the_gauge_until_it_works() {
    for (fault, cause) in [(500, "500"), (429, "429"), (403, "tellonce/story/targets (member `slack`)")] {
        let world = start_world(&[SLACK_TOML]).await;
        world.stack.fakes().fail_next(FakeService::Target("slack"), FakeFault::Status(fault), 1000);
        write_message(&world, "urgent, please call").await;
        for _ in 0..4 {
            world.advance_time(SignedDuration::from_hours(6));
            world.tick_conversations().await;
        }
        let (seconds, reasons) = task_gauge(&world, "target").await.unwrap();
        assert_about(24 * 60, seconds);
        assert!(reasons.contains("target:slack: ") && reasons.contains(cause), "{fault}: {reasons}");
        world.stack.fakes().heal();
        for _ in 0..2 {
            world.advance_time(minutes(31));
            world.tick_conversations().await;
        }
        world.advance_time(minutes(2));
        assert_eq!(task_gauge(&world, "target").await, None, "the team is alerted");
    }
}
