//! `tellonce explain`: the rows of the tables say what happened to each message, when and why.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;
use tellonce_fakes::provider::{HealthPreset, SendFault};
use tellonce_ops::{ClientStack, MessageReport, OpsError, Standing, SubjectReport};

use crate::{
    leads::start_world,
    world::{CRM_SECRET, ERP_SECRET, World, WorldSetup},
};

const PHONE: &str = "+972545550199";

async fn explain(world: &World, name: &str) -> Result<SubjectReport, OpsError> {
    let stack =
        ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), "local-ReaderRole").unwrap();
    stack.find_tables().await.unwrap().explain(name).await
}

fn find_message<'a>(report: &'a SubjectReport, key: &str) -> &'a MessageReport {
    report.messages.iter().find(|message| message.key == key).unwrap_or_else(|| panic!("no {key} in {report:?}"))
}

fn codes_of(message: &MessageReport) -> Vec<&str> {
    message.steps.iter().map(|step| step.code.as_str()).collect()
}

#[tokio::test]
async fn a_message_that_waited_for_three_hours_says_when_and_why() {
    let world = World::start().await;
    let provider = world.stack.provider();
    provider.set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1001", PHONE)).await;
    world.deliver(world.erp_post("m-2", "shipped", "1001", PHONE)).await;
    let waiting = explain(&world, "order:1001:shipped").await.unwrap();
    let waiting = find_message(&waiting, "order:1001:shipped");
    assert_eq!((waiting.standing, codes_of(waiting)), (Standing::Waiting, vec!["came-in", "created", "line-down"]));
    assert!(waiting.next_try.is_some());

    // However often it is tried, the wait is one step.
    for _ in 0..5 {
        world.advance_time(SignedDuration::from_mins(35));
        world.tick().await;
    }
    provider.set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(35));
    world.tick().await;
    world.tick().await;
    let report = explain(&world, "order:1001").await.unwrap();
    let shipped = find_message(&report, "order:1001:shipped");
    assert_eq!((shipped.standing, shipped.next_try), (Standing::Sent, None));
    assert_eq!(codes_of(shipped), ["came-in", "created", "line-down", "accepted"]);
    let times: Vec<_> = shipped.steps.iter().map(|step| step.at).collect();
    assert!(times.is_sorted() && times[3].duration_since(times[2]) > SignedDuration::from_hours(3), "{times:?}");
    assert!(shipped.steps[2].explanation.contains("the line could not send ("), "{:?}", shipped.steps[2]);
    assert!(shipped.steps[0].explanation.contains("a delivery of `erp`"), "{:?}", shipped.steps[0]);

    let older = find_message(&report, "order:1001:ready");
    assert_eq!((older.standing, older.state), (Standing::Skipped, "superseded"));
    let last = older.steps.last().unwrap();
    assert!(last.explanation.contains("`shipped` of the same order"), "{last:?}");
}

#[tokio::test]
async fn a_lost_response_and_a_missing_number_are_explained_and_name_no_customer() {
    let world = World::start().await;
    world.stack.provider().fail_next(1, SendFault::DropAfterAccept);
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.advance_time(SignedDuration::from_mins(3));
    world.tick().await;
    world.deliver(world.erp_post("m-2", "ready", "2", "")).await;
    let lost = explain(&world, "order:1").await.unwrap();
    assert_eq!(codes_of(find_message(&lost, "order:1:ready")), ["came-in", "created", "outcome-unknown", "accepted"]);
    let incomplete = explain(&world, "order:2").await.unwrap();
    let message = find_message(&incomplete, "order:2:ready");
    assert_eq!((message.standing, codes_of(message)), (Standing::NotSent, vec!["came-in", "incomplete"]));
    assert_names_nobody(&lost);
    assert_names_nobody(&incomplete);
}

#[tokio::test]
async fn every_row_ends_in_a_step_that_agrees_with_it_within_six_requests() {
    let world = World::start().await;
    for (number, event) in ["ready", "shipped", "late", "invoice", "arrived"].into_iter().enumerate() {
        for order in 0..=number {
            world.deliver(world.erp_post(&format!("m-{number}-{order}"), event, &order.to_string(), PHONE)).await;
        }
    }
    let rows = world.message_rows();
    let subjects: BTreeSet<&str> = rows.keys().map(|key| key.rsplit_once(':').unwrap().0).collect();
    assert!(subjects.len() == 5, "{subjects:?}");
    for subject in subjects {
        let before = count_reads(&world);
        let report = explain(&world, subject).await.unwrap();
        let requests = count_reads(&world) - before;
        assert!((2..=6).contains(&requests), "{subject}: {requests} requests");
        assert_eq!(report.unreadable, [""; 0]);
        assert_names_nobody(&report);
        for message in report.messages {
            assert_eq!(rows[&message.key]["state"], message.state);
            let last = message.steps.last().unwrap_or_else(|| panic!("{} has no steps", message.key));
            assert!(!last.explanation.is_empty(), "{last:?}");
        }
    }
    for nothing in ["order:9", "line:main", "order:9:9", "orders", ""] {
        let error = explain(&world, nothing).await.unwrap_err();
        assert!(matches!(error, OpsError::NotFound(_)), "{nothing}: {error}");
    }
}

#[tokio::test]
async fn a_message_that_does_not_exist_is_explained_by_the_deliveries_about_its_subject() {
    let world = World::start().await;
    world.deliver(world.erp_post("m-1", "ready", "7", PHONE)).await;
    world.deliver(world.erp_post("m-2", "seen-on-the-shelf", "7", PHONE)).await;
    world.deliver(world.erp_post("m-3", "ready", "7", PHONE)).await;
    let report = explain(&world, "order:7:shipped").await.unwrap();
    let absent = report.absent.as_ref().unwrap();
    assert_eq!((absent.stage.as_str(), absent.other_stages.as_slice()), ("shipped", &["ready".to_owned()][..]));
    let found: Vec<(&str, &str)> =
        report.without_message.iter().map(|delivery| (delivery.id.as_str(), delivery.outcome.as_str())).collect();
    assert_eq!(found, [("erp#m-2", "event-not-mapped"), ("erp#m-3", "already-known")]);
    assert_names_nobody(&report);
    // The order has no message at all.
    world.deliver(world.erp_post("m-4", "seen-on-the-shelf", "8", PHONE)).await;
    for name in ["order:8", "order:8:ready"] {
        let report = explain(&world, name).await.unwrap();
        assert!(report.messages.is_empty() && report.without_message.len() == 1, "{report:?}");
    }
}

#[tokio::test]
async fn many_deliveries_that_the_inbox_forgot_cost_no_further_requests() {
    let world = World::start().await;
    for (number, event) in ["ready", "shipped", "late", "invoice", "arrived", "moved"].into_iter().enumerate() {
        let body = json!({
            "type": event, "order": "1", "phone": PHONE, "at": world.now().to_string(), "moved_to": "Thursday",
        });
        world.deliver(world.erp_post_with_body(ERP_SECRET, &format!("m-{number}"), &body)).await;
    }
    for item in world.table_items("StoreInbox") {
        let key = json!({"TableName": world.table_name("StoreInbox"), "Key": {"id": {"S": item["id"]}}});
        world.stack.dynamo().call_operation("DeleteItem", &key).unwrap();
    }
    let before = count_reads(&world);
    let report = explain(&world, "order:1").await.unwrap();
    assert_eq!((report.messages.len(), count_reads(&world) - before), (6, 3));
    assert_eq!(report.unreadable, [""; 0]);
}

#[tokio::test]
async fn an_appointment_says_when_it_moved_and_which_reminders_it_did_not_get() {
    let world = start_world("", WorldSetup::default()).await;
    let book = async |delivery: &str, hours: i64| {
        let start = world.now() + SignedDuration::from_hours(hours);
        let booking = json!({
            "id": "a-1", "start": start.to_string(), "zone": "Asia/Jerusalem", "phone": PHONE, "name": "Noa Levi",
            "status": "booked", "at": world.now().to_string(),
        });
        world.deliver(world.standard_webhooks_post("/bookings/crm", CRM_SECRET, delivery, &booking)).await;
    };
    book("b-1", 72).await;
    world.advance_time(SignedDuration::from_mins(1));
    book("b-2", 3).await;
    let subject = world.message_rows().keys().find_map(|key| Some(key.strip_suffix(":state")?.to_owned())).unwrap();
    let report = explain(&world, &subject).await.unwrap();
    assert_names_nobody(&report);
    let appointment = report.appointment.unwrap();
    let codes: Vec<&str> = appointment.steps.iter().map(|step| step.code.as_str()).collect();
    assert_eq!((appointment.status, codes), ("booked", vec!["booked", "rescheduled"]));
    assert_eq!(appointment.steps[1].begins_at, appointment.begins_at);
    let unsent: Vec<_> =
        appointment.unsent_reminders.iter().map(|unsent| (unsent.stage.as_str(), unsent.code)).collect();
    assert_eq!(unsent, [("24h", "skipped")]);
}

fn assert_names_nobody(report: &SubjectReport) {
    let text = serde_json::to_string(report).unwrap();
    assert!(!["545550199", "Amit", "Noa"].iter().any(|personal| text.contains(personal)), "{text}");
}

/// The requests so far that read.
fn count_reads(world: &World) -> u64 {
    let used = world.stack.dynamo().counters().snapshot();
    let reads =
        used.iter().filter(|((operation, _), _)| ["Query", "GetItem", "BatchGetItem"].contains(&operation.as_str()));
    reads.map(|(_, usage)| usage.requests).sum()
}
