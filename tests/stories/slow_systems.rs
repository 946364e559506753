//! A table or Secrets Manager that hangs: the receiver asks the sender to retry in time, and no
//! process is killed. Transactions that meet other writes: nothing is lost or sent twice.

use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use jiff::SignedDuration;
use serde_json::json;
use tellonce_samples::WebhookPost;

use crate::{
    leads::{lead_post, start_world},
    world::{CRM_SECRET, World, WorldSetup},
};

const PHONE: &str = "+972545550199";
/// Real time that the receiver gets beyond its timeout: a machine under load may run it late, and
/// the stories are about its own decision.
const SPARE_TIME: Duration = Duration::from_secs(25);
/// Longer than anything waits.
const HANG: Duration = Duration::from_mins(1);

fn patient_setup() -> WorldSetup {
    WorldSetup { spare_time: SPARE_TIME, ..WorldSetup::default() }
}

/// Posts, and asserts that the receiver itself gave up with 503 and that the process lives on.
#[expect(clippy::print_stdout, reason = "figures of a story, for a person who reads its output")]
async fn assert_asked_to_retry(world: &World, post: WebhookPost, what: &str) {
    let pids = world.stack.functions().running_pids("webhook-receiver");
    let known = world.stack.log_lines("webhook-receiver").last().map_or(0, |line| line.number);
    let begun = Instant::now();
    let (status, text) = world.post_for_response(post).await;
    println!("{what}: {status} after {:.1?}", begun.elapsed());
    assert_eq!(status, 503, "{what}");
    assert!(text.contains("temporarily unavailable; please retry"), "{what}: {text}");
    let lines = world.stack.log_lines("webhook-receiver");
    let causes = ["could not store the delivery", "could not read the secret of this sender"];
    let gave_up = |text: &str| text.contains("\"ERROR\"") && causes.iter().any(|cause| text.contains(cause));
    assert!(lines.iter().any(|line| line.number > known && gave_up(&line.text)), "{what}: {lines:?}");
    let now = world.stack.functions().running_pids("webhook-receiver");
    assert!(pids.iter().all(|pid| now.contains(pid)), "{what}: the process was killed");
    assert_eq!(world.stack.invocation_counts("webhook-receiver").failed, 0, "{what}");
}

#[tokio::test]
async fn an_inbox_that_hangs_is_a_503_in_time_and_the_process_lives_on() {
    let world = World::start_with(patient_setup()).await;
    let signed = |id: &str| world.erp_post(id, "ready", id, PHONE);
    assert_eq!(world.post(signed("m-1")).await, 200);
    let faults = world.stack.dynamo().faults();
    faults.delay(Some(&world.table_name("StoreInbox")), HANG);
    assert_asked_to_retry(&world, signed("m-2"), "the inbox hangs").await;
    faults.clear();
    world.deliver(signed("m-2")).await;
    // A table that is slow and works: the write may land after the receiver has given up on it.
    faults.delay(Some(&world.table_name("StoreInbox")), Duration::from_millis(1500));
    let status = world.post(signed("m-3")).await;
    assert!([200, 503].contains(&status), "{status}");
    faults.clear();
    world.deliver(signed("m-3")).await;
    assert_eq!(world.texts_on_phone(PHONE).len(), 3, "each once");
}

#[tokio::test]
async fn a_secrets_manager_that_hangs_is_a_503_in_time_also_at_a_cold_start() {
    for separate_secrets in [false, true] {
        let world = World::start_with(WorldSetup { separate_secrets, ..patient_setup() }).await;
        world.stack.secrets().delay(HANG);
        let post = world.erp_post("m-1", "ready", "1", PHONE);
        // The start of the process is not part of the invocation.
        assert_eq!(world.post(world.erp_post("m-0", "ready", "1", PHONE).with_header("content-type", None)).await, 415);
        assert_asked_to_retry(&world, post.clone(), &format!("a cold start, separate secrets: {separate_secrets}"))
            .await;
        world.stack.secrets().delay(Duration::ZERO);
        world.deliver(post).await;
        assert_eq!(world.texts_on_phone(PHONE).len(), 1);
        // Values that are known go on working.
        world.stack.secrets().delay(HANG);
        world.advance_time(SignedDuration::from_mins(16));
        world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
        assert_eq!(world.texts_on_phone(PHONE).len(), 2);
    }
}

#[tokio::test]
async fn retries_of_a_table_and_of_secrets_manager_together_end_in_time() {
    let world = World::start_with(patient_setup()).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.stack.secrets().delay(HANG);
    world.stack.dynamo().faults().delay(None, HANG);
    world.advance_time(SignedDuration::from_mins(16));
    let stranger = "whsec_c3RvcmllcyBvZiBhIHN0cmFuZ2VyLCBzZWNyZXQ=";
    assert_asked_to_retry(&world, world.erp_post("m-2", "ready", "2", PHONE), "both hang").await;
    world.advance_time(SignedDuration::from_mins(16));
    let forged = world.erp_post_with_secret(stranger, "m-3", "ready", "3", PHONE);
    assert_asked_to_retry(&world, forged, "a refused proof while both hang").await;
    world.stack.secrets().delay(Duration::ZERO);
    world.stack.dynamo().faults().clear();
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    assert_eq!(world.texts_on_phone(PHONE).len(), 2);
}

/// Of each: orders, leads and appointments.
const EACH: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_meet_other_writes_lose_nothing_and_send_nothing_twice() {
    let world = start_world("", WorldSetup::default()).await;
    let start = world.now() + SignedDuration::from_hours(26);
    let mut posts = Vec::new();
    for number in 0..EACH {
        let order = format!("SO-{number}");
        posts.push(world.erp_post(&format!("o-{number}"), "ready", &order, &format!("+97254555{number:04}")));
        posts.push(lead_post("site", &format!("lead-{number}"), &format!("+97252555{number:04}")));
        let booking = json!({
            "id": format!("a-{number}"), "start": start.to_string(), "zone": "Asia/Jerusalem",
            "phone": format!("+97253555{number:04}"), "name": "Noa Levi", "status": "booked", "at": world.now().to_string(),
        });
        posts.push(world.standard_webhooks_post("/bookings/crm", CRM_SECRET, &format!("b-{number}"), &booking));
    }
    let faults = world.stack.dynamo().faults();
    faults.conflict_fraction(&world.table_name("Ledger"), 0.15);
    let statuses: Vec<u16> =
        futures::stream::iter(posts).map(|post| world.post(post)).buffer_unordered(8).collect().await;
    assert_eq!(statuses, vec![200; 3 * EACH]);
    world.stack.drain_within(Duration::from_mins(2)).await.unwrap();
    let mut ticks = 0;
    while world.now() < start - SignedDuration::from_hours(23) {
        world.advance_time(SignedDuration::from_mins(20));
        world.tick().await;
        ticks += 1;
    }
    world.settle().await;
    let used = world.stack.dynamo().counters().snapshot();
    let errors = |operation: &str, error: &str| -> u64 {
        let of_operation = used.iter().filter(|((name, _), _)| name == operation);
        of_operation
            .filter_map(|(_, usage)| usage.errors.iter().find(|(name, _)| name.ends_with(error)))
            .map(|(_, n)| *n)
            .sum()
    };
    let (cancelled, conflicts) = (
        errors("TransactWriteItems", "TransactionCanceledException"),
        errors("PutItem", "TransactionConflictException") + errors("UpdateItem", "TransactionConflictException"),
    );
    let per_key = world.stack.provider().messages_per_key();
    let functions = ["order-notifier", "lead-first-touch", "reminder-scheduler"];
    let retried = functions
        .iter()
        .flat_map(|name| world.stack.log_lines(name))
        .filter(|line| line.text.contains("will be retried") || line.text.contains("could not process"))
        .count();
    println!(
        "{} messages of {} keys; {cancelled} transactions cancelled, {conflicts} single writes refused; {retried} records or \
         messages left to a retry; {ticks} sweeps",
        world.messages().len(),
        per_key.len()
    );
    assert!(cancelled > 20 && conflicts > 30, "{cancelled} and {conflicts}");
    assert_eq!((per_key.len(), world.messages().len()), (3 * EACH, 3 * EACH));
    assert_eq!(world.stack.failures().len(), 0, "{:?}", world.stack.failures());
    // The header of an appointment has the state of the booking.
    let is_unsettled = |row: &serde_json::Value| {
        row["stage"] != "state" && row["state"].as_str().is_some_and(|state| state != "accepted")
    };
    let unsettled: Vec<_> = world.message_rows().into_iter().filter(|(_, row)| is_unsettled(row)).collect();
    assert!(unsettled.is_empty(), "{unsettled:?}");
}
