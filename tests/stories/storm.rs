//! A thousand signed deliveries in random order, with duplicates, several parcels, invitations of
//! strangers, faults of every system and three killed functions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::stream::StreamExt;
use jiff::SignedDuration;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;
use tellonce_fakes::provider::SendFault;
use tellonce_samples::WebhookPost;
use tellonce_stack::dynamo::{FaultFrequency, FaultRule};

use crate::{
    calendars::{diary_event, whole_minute_in_hours},
    explain::assert_explains_each_delivery,
    world::{ERP_SECRET, World},
};

const DELIVERIES: usize = 1000;
const DUPLICATES: usize = 300;
const APPOINTMENTS: usize = 40;

#[expect(clippy::too_many_lines, reason = "one story, from its first delivery to its figures")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_deliveries_through_every_kind_of_fault_are_sent_once_or_have_a_reason() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::start().await;

    // 700 events of 350 orders at three kinds of store, and 300 of them repeated. Half of the ERP's
    // orders have two parcels.
    let mut posts: Vec<(String, WebhookPost)> = Vec::new();
    for number in 0..(DELIVERIES - DUPLICATES) {
        let order = number / 2;
        let phone = format!("+97254555{order:04}");
        let id = format!("d-{number}");
        let later = number % 2 == 1;
        posts.push(match order % 3 {
            0 => {
                let topic = if later { "orders/paid" } else { "orders/create" };
                (
                    format!("shop#{id}"),
                    world.shopify_post(topic, &id, &world.shopify_order(100_000 + order as u64, &phone)),
                )
            }
            1 => {
                let post =
                    world.woocommerce_post(&id, order as u64, if later { "completed" } else { "processing" }, &phone);
                (format!("woo#{id}"), post)
            }
            _ if order % 2 == 0 => {
                let post = world.erp_post(&id, if later { "ready" } else { "late" }, &format!("SO-{order}"), &phone);
                (format!("erp#{id}"), post)
            }
            _ => {
                let (kind, parcel) = if later { ("moved", 2) } else { ("arrived", 1) };
                let body = json!({ "type": kind, "order": format!("PARCELS-{order}"), "parcel": parcel, "phone": phone,
                    "at": world.now().to_string(), "moved_to": (world.now() + SignedDuration::from_hours(48)).to_string() });
                (format!("erp#{id}"), world.erp_post_with_body(ERP_SECRET, &id, &body))
            }
        });
    }
    let event_count = posts.len();
    for _ in 0..DUPLICATES {
        let again = posts[random.random_range(0..event_count)].clone();
        posts.push(again);
    }
    posts.shuffle(&mut random);

    // A calendar with appointments of the client, and as many invitations of strangers.
    let start = whole_minute_in_hours(&world, 26);
    for number in 0..APPOINTMENTS {
        let own = diary_event(&world, &format!("own-{number}"), start, &format!("+97253555{number:04}"));
        let mut invitation = diary_event(&world, &format!("invite-{number}"), start, &victim_phone(number));
        invitation.texts.insert("organizer".to_owned(), "stranger@elsewhere.example".to_owned());
        for event in [own, invitation] {
            world.stack.calendars().put_event("diary.ics", event).unwrap();
        }
    }

    let provider = world.stack.provider();
    world.stack.dynamo().faults().throttle_fraction(0.05);
    world.stack.dynamo().faults().conflict_fraction(&world.table_name("Ledger"), 0.05);
    let faults = [
        SendFault::DropAfterAccept,
        SendFault::ServerErrorAfterAccept,
        SendFault::ServerErrorBeforeAccept,
        SendFault::TooManyRequests { retry_after_s: Some(1) },
        SendFault::AcceptLate { after_ms: 300 },
    ];

    let mut unavailable_count = 0;
    for (part, chunk) in posts.chunks(posts.len().div_ceil(faults.len())).enumerate() {
        provider.fail_fraction(0.05, faults[part], random.random()).unwrap();
        // In the second part two sends time out, and a burst of throttling outlasts the SDK's
        // retries.
        if part == 1 {
            provider.fail_next(2, SendFault::TimeoutAfterAccept { reply_after_ms: None });
            world.stack.dynamo().faults().inject_rule(FaultRule {
                operation: Some("PutItem".to_owned()),
                table: Some(world.table_name("StoreInbox")),
                fault: tellonce_stack::dynamo::DynamoFault::Throttle,
                frequency: FaultFrequency::Next(60),
            });
        }
        let posted = futures::stream::iter(chunk.iter().map(|(_, post)| world.post_until_stored(post.clone())));
        unavailable_count += posted.buffer_unordered(8).fold(0, async |sum, repeats| sum + repeats).await;
        if part == 1 || part == 2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.stack.kill_function("order-notifier").await;
        }
        // Drain now, so that each part's sends meet that part's faults.
        world.stack.drain_within(Duration::from_mins(4)).await.unwrap();
    }

    // Let time pass until no message waits, and the reminders of a day before are due.
    let mut ticks = 0;
    loop {
        drop(world.stack.poll_feeds().await);
        let waiting = world.message_rows().values().filter(|row| row["state"].as_str().is_some_and(is_waiting)).count();
        if waiting == 0 && world.now() > start - SignedDuration::from_hours(23) {
            break;
        }
        ticks += 1;
        assert!(ticks < 60, "{waiting} messages still wait after {ticks} sweeps");
        world.advance_time(SignedDuration::from_mins(10));
        if ticks == 1 {
            // The third killed function: a running sweep.
            let (_, killed) = tokio::join!(world.stack.tick_messages(), async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                world.stack.kill_function("reminder-scheduler").await
            });
            println!("{killed} killed in a sweep");
        } else {
            world.tick().await;
        }
    }
    world.settle().await;

    let (rows, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        world.message_rows().into_iter().partition(|(key, _)| key.starts_with("order:"));
    let reminders = others.iter().filter(|(key, row)| key.ends_with(":24h") && row["state"] == "accepted").count();
    assert_eq!(reminders, APPOINTMENTS, "each appointment of the client is reminded of: {:?}", others.keys());
    let victims: Vec<_> =
        (0..APPOINTMENTS).map(victim_phone).filter(|phone| !world.texts_on_phone(phone).is_empty()).collect();
    assert!(victims.is_empty(), "a stranger chose the reader: {victims:?}");
    let silenced_parcels: Vec<_> =
        rows.iter().filter(|(key, row)| key.contains("PARCELS") && row["state"] == "superseded").collect();
    assert!(silenced_parcels.is_empty(), "one parcel silenced another: {silenced_parcels:?}");
    let items = world.table_items("StoreInbox");
    let recorded_deliveries: BTreeSet<&str> = rows.values().filter_map(|row| row["delivery"].as_str()).collect();
    let mut lost = Vec::new();
    for item in &items {
        let id = item["id"].as_str().unwrap();
        if !recorded_deliveries.contains(id) && !item["outcome"].is_string() {
            lost.push(id);
        }
    }
    let per_key = provider.messages_per_key();
    let duplicates: Vec<_> = per_key.iter().filter(|(_, count)| **count > 1).collect();
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows.values() {
        *states.entry(row["state"].as_str().unwrap()).or_default() += 1;
    }
    let accepted_but_not_sent: Vec<_> = rows
        .iter()
        .filter(|(key, row)| row["state"] == "accepted" && per_key.get(*key).copied().unwrap_or(0) != 1)
        .map(|(key, _)| key)
        .collect();
    let without_reason: Vec<_> = rows
        .iter()
        .filter(|(_, row)| row["state"] != "accepted" && !row["reason"].is_string())
        .map(|(key, _)| key)
        .collect();
    let counters = provider.counters();
    println!(
        "{} posts of {event_count} events, {unavailable_count} answered 503 and repeated; {} deliveries stored; ledger: {states:?}; \
         {} messages queued at the provider, {} sends repeated under their key, faults {:?}; {ticks} sweeps; \
         {} duplicates, {} lost",
        posts.len(),
        items.len(),
        counters.queued,
        counters.repeats,
        counters.faults,
        duplicates.len(),
        lost.len(),
    );
    assert_eq!(items.len(), event_count, "each event is stored once");
    assert_eq!(rows.len(), event_count, "each event has its row");
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(duplicates.is_empty(), "sent twice: {duplicates:?}");
    assert!(accepted_but_not_sent.is_empty(), "accepted but not sent: {accepted_but_not_sent:?}");
    assert!(without_reason.is_empty(), "without a reason: {without_reason:?}");
    assert_eq!((counters.missing_key, counters.key_conflicts, counters.wakeups), (0, 0, 0));
    assert_eq!(world.stack.failures().len(), 0, "{:?}", world.stack.failures());
    assert_eq!(assert_explains_each_delivery(&world).await, event_count);
    assert!(states.get("accepted").copied().unwrap_or(0) > event_count / 2, "{states:?}");
}

/// A number that a stranger writes into an invitation.
fn victim_phone(number: usize) -> String {
    format!("+97250555{number:04}")
}

fn is_waiting(state: &str) -> bool {
    matches!(state, "held" | "claimed" | "unknown")
}
