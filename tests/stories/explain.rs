//! `tellonce explain`: the rows of the tables say what happened to each message, when and why.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;
use tellonce_core::{client_config::ClientConfig, contact::Phone};
use tellonce_fakes::provider::{HealthPreset, SendFault};
use tellonce_ops::{
    AbsenceReport, ChainLink, ClientStack, CustomerAddress, DeliveryTrace, Explanation, MessageReport, OpsError,
    Standing, SubjectReport,
};

use crate::{
    leads::{lead_post, start_world},
    operator::role_parameters,
    world::{CRM_SECRET, ERP_SECRET, World, WorldSetup},
};

const PHONE: &str = "+972545550199";

async fn explain(world: &World, name: &str) -> Result<SubjectReport, OpsError> {
    let stack =
        ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), "local-ReaderRole").unwrap();
    stack.find_tables().await.unwrap().explain(name).await
}

fn setup() -> WorldSetup {
    WorldSetup { parameters: role_parameters(), ..WorldSetup::default() }
}

fn connect(world: &World, role: &str) -> (ClientStack, ClientConfig) {
    let text = std::fs::read_to_string(world.stack.client_folder().join("client.toml")).unwrap();
    let stack = ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), role).unwrap();
    (stack, ClientConfig::parse(&text).unwrap())
}

/// What happened to a delivery, as a reader sees it, within six requests.
async fn trace(world: &World, id: &str) -> Result<DeliveryTrace, OpsError> {
    let (stack, config) = connect(world, "local-ReaderRole");
    let before = count_requests(world);
    let explained = stack.find_tables().await.unwrap().explain_name(&stack, &config, id).await;
    let requests = count_requests(world) - before;
    assert!((2..=6).contains(&requests), "{id}: {requests} requests");
    let Explanation::Deliveries(mut traces) = explained? else { panic!("{id} is a delivery") };
    assert_eq!(traces.len(), 1, "{traces:?}");
    let trace = traces.remove(0);
    assert_is_masked(&serde_json::to_string(&trace).unwrap());
    assert_eq!(trace.unreadable, [""; 0]);
    Ok(trace)
}

async fn explain_absence(world: &World, key: &str) -> AbsenceReport {
    let (stack, config) = connect(world, "local-ReaderRole");
    let before = count_requests(world);
    let report = stack.find_tables().await.unwrap().explain_absence(&stack, &config, key).await.unwrap();
    let requests = count_requests(world) - before;
    assert!((2..=6).contains(&requests), "{key}: {requests} requests");
    assert_is_masked(&serde_json::to_string(&report).unwrap());
    report
}

/// Checks that each delivery of the stores ends in a sentence that agrees with the tables. Returns
/// how many there are.
pub(crate) async fn assert_explains_each_delivery(world: &World) -> usize {
    let rows = world.message_rows();
    let items = world.table_items("StoreInbox");
    let deliveries = items.iter().filter(|item| item["id"].as_str().unwrap().contains('#'));
    let mut explained = 0;
    for item in deliveries {
        let id = item["id"].as_str().unwrap();
        let trace = trace(world, id).await.unwrap();
        assert_eq!(trace.id, id);
        let expected = rows.iter().filter(|(_, row)| row["delivery"] == item["id"]);
        for (key, row) in expected {
            let message = trace.messages.iter().find(|message| message.key == *key);
            let message = message.unwrap_or_else(|| panic!("{id}: no {key} in {}", trace.conclusion));
            assert_eq!(row["state"], message.state, "{id}");
            assert!(trace.conclusion.contains(&format!("{key} ({})", message.standing.name())), "{}", trace.conclusion);
        }
        match item["outcome"].as_str() {
            Some(code) => assert!(trace.conclusion.contains(&format!("({code})")), "{id}: {}", trace.conclusion),
            None => assert!(!trace.messages.is_empty(), "{id}: {}", trace.conclusion),
        }
        explained += 1;
    }
    explained
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

#[tokio::test]
async fn a_delivery_is_explained_by_what_it_led_to() {
    let world = start_world("", setup()).await;
    world.deliver(world.erp_post("m-1", "ready", "1001", PHONE)).await;
    world.deliver(world.erp_post("m-2", "ready", "2", "")).await;
    world.deliver(world.erp_post("m-3", "seen-on-the-shelf", "3", PHONE)).await;
    world.deliver(lead_post("landing", "77", PHONE)).await;
    let booking = json!({
        "id": "a-1", "start": (world.now() + SignedDuration::from_hours(72)).to_string(), "zone": "Asia/Jerusalem",
        "phone": PHONE, "name": "Noa Levi", "status": "booked", "at": world.now().to_string(),
    });
    world.deliver(world.standard_webhooks_post("/bookings/crm", CRM_SECRET, "b-1", &booking)).await;

    let sent = trace(&world, "erp#m-1").await.unwrap();
    assert_eq!(sent.conclusion, "the delivery led to 1 message: order:1001:ready (sent)");
    assert_eq!((sent.kind, sent.sender.as_str(), sent.received_at <= world.now()), ("store", "erp", true));
    // The sender's own id.
    assert_eq!(trace(&world, "m-1").await.unwrap(), sent);
    let without_number = trace(&world, "erp#m-2").await.unwrap();
    assert!(without_number.conclusion.contains("order:2:ready (not sent)"), "{}", without_number.conclusion);
    let unmapped = trace(&world, "erp#m-3").await.unwrap();
    assert!(unmapped.conclusion.starts_with("the delivery led to no message: "), "{}", unmapped.conclusion);
    assert_eq!(unmapped.about.as_deref(), Some("order:3"));
    let booked = trace(&world, "crm#b-1").await.unwrap();
    assert!(
        booked.conclusion.contains("changed appointment:") && booked.conclusion.contains("(now booked)"),
        "{booked:?}"
    );
    let leads = world.table_items("LeadInbox");
    let lead = leads.iter().find_map(|item| item["id"].as_str().filter(|id| id.contains('#'))).unwrap();
    assert!(trace(&world, lead).await.unwrap().conclusion.contains("first-touch (sent)"));

    // After a refused post, an id that no inbox has says so.
    let absent = trace(&world, "erp#m-9").await.unwrap_err().to_string();
    assert!(absent.contains("no post was refused in the last 24 hours"), "{absent}");
    let forged =
        world.erp_post_with_body("whsec_b3RoZXIgc2VjcmV0IG9mIGEgc3RyYW5nZXI=", "m-9", &json!({"type": "ready"}));
    assert_eq!(world.post(forged).await, 401);
    let absent = trace(&world, "erp#m-9").await.unwrap_err().to_string();
    assert!(absent.contains("in the last 24 hours, erp was refused 1 time, last with 401: "), "{absent}");
}

#[tokio::test]
async fn an_absent_message_names_the_first_link_that_broke() {
    let world = World::start_with(setup()).await;
    let broken = async |key: &str| {
        let report = explain_absence(&world, key).await;
        let step = report.broken_link().unwrap_or_else(|| panic!("{report:?}")).clone();
        (step.link, step.explanation, report.setting.map(|setting| setting.path.join(".")))
    };
    let (link, why, _) = broken("order:1002:ready").await;
    assert_eq!(link, ChainLink::Posted);
    assert!(why.contains("no post of erp, shop was refused"), "{why}");
    let forged =
        world.erp_post_with_body("whsec_b3RoZXIgc2VjcmV0IG9mIGEgc3RyYW5nZXI=", "m-1", &json!({"type": "ready"}));
    assert_eq!(world.post(forged).await, 401);
    let (link, why, _) = broken("order:1002:ready").await;
    assert_eq!(link, ChainLink::Verified);
    assert!(why.contains("erp was refused 1 time") && why.contains("tellonce/story/webhooks/erp"), "{why}");
    // Known orders.
    world.deliver(world.erp_post("m-2", "seen-on-the-shelf", "3", PHONE)).await;
    let (link, why, setting) = broken("order:3:ready").await;
    assert_eq!((link, setting.as_deref()), (ChainLink::Planned, Some("stores.erp.events")));
    assert!(why.contains("erp#m-2 led to no message"), "{why}");
    let (link, _, setting) = broken("order:3:refunded").await;
    assert_eq!((link, setting.as_deref()), (ChainLink::Planned, Some("messages.refunded")));
    world.deliver(world.erp_post("m-3", "late", "4", PHONE)).await;
    let (link, why, _) = broken("order:4:ready").await;
    assert_eq!(
        (link, why.as_str()),
        (ChainLink::Posted, "its deliveries reported out-for-delivery, and none reported `ready`")
    );
    assert_eq!(broken("order:4:out-for-delivery").await.0, ChainLink::Arrived);
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("m-4", "ready", "5", PHONE)).await;
    let (link, why, _) = broken("order:5:ready").await;
    assert_eq!(link, ChainLink::Sent);
    assert!(why.starts_with("it waits: "), "{why}");
    let (stack, config) = connect(&world, "local-ReaderRole");
    let error = stack.find_tables().await.unwrap().explain_absence(&stack, &config, "order").await.unwrap_err();
    assert!(matches!(error, OpsError::NotAKey(_)), "{error}");
}

#[tokio::test]
async fn the_messages_of_a_customer_are_listed_the_newest_first() {
    let world = World::start_with(setup()).await;
    for order in 1..=3 {
        world.deliver(world.erp_post(&format!("m-{order}"), "ready", &order.to_string(), PHONE)).await;
        world.advance_time(SignedDuration::from_mins(1));
    }
    world.deliver(world.erp_post("m-9", "ready", "9", "+972545550198")).await;
    let customer = CustomerAddress::Number(Phone::from_e164(PHONE).unwrap());
    let (stack, _) = connect(&world, "local-OperatorRole");
    let before = count_requests(&world);
    let report = stack.find_tables().await.unwrap().explain_customer(&stack, &customer).await.unwrap();
    assert!(count_requests(&world) - before <= 6);
    let keys: Vec<&str> = report.messages.iter().map(|message| message.key.as_str()).collect();
    assert_eq!(keys, ["order:3:ready", "order:2:ready", "order:1:ready"]);
    assert!(!report.has_more && report.contact.starts_with("contact:"));
    assert_is_masked(&serde_json::to_string(&report).unwrap());
    // A reader may not ask the function that knows the pseudonyms.
    let (reader, _) = connect(&world, "local-ReaderRole");
    assert!(reader.find_tables().await.unwrap().explain_customer(&reader, &customer).await.is_err());
    assert_eq!(world.stack.roles().take_refused_calls().len(), 1);
}

fn assert_names_nobody(report: &SubjectReport) {
    assert_is_masked(&serde_json::to_string(report).unwrap());
}

fn assert_is_masked(text: &str) {
    assert!(!["545550199", "Amit", "Noa"].iter().any(|personal| text.contains(personal)), "{text}");
}

/// The requests so far that read.
fn count_reads(world: &World) -> u64 {
    let used = world.stack.dynamo().counters().snapshot();
    let reads =
        used.iter().filter(|((operation, _), _)| ["Query", "GetItem", "BatchGetItem"].contains(&operation.as_str()));
    reads.map(|(_, usage)| usage.requests).sum()
}

/// The requests of operators and functions so far.
fn count_requests(world: &World) -> u64 {
    count_reads(world) + world.stack.operator_request_count()
}
