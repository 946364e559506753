//! Line events: each message reaches the CRMs and the team once, and sent messages are tracked to
//! the phone.
//!
//! Long because every way of a line event is a story of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::stream::StreamExt as _;
use jiff::SignedDuration;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde_json::{Value, json};
use tellonce_fakes::{
    provider::{PhoneMessageDirection, SendFault},
    services::{FakeFault, FakeService},
};
use tellonce_samples::{SenderProof, WebhookPost};

use crate::world::{LINE_SECRET_PATH, World, WorldSetup};

const NOA_PHONE: &str = "+972545550199";
const ADI_PHONE: &str = "+972525550101";
/// Signs the calls to the CRM and the target of kind `webhook`.
const SIGNING_SECRET: &str = "whsec_c3Rvcmllcy1vZi1jb252ZXJzYXRpb25zLTAx";

/// A CRM of each kind, with a rate limit that has no effect.
pub(crate) const CRMS_TOML: &str = r#"
[crms.hub]
kind = "hubspot"
requests_per_minute = 60000
text = "full"
[crms.pipe]
kind = "pipedrive"
company = "story"
requests_per_minute = 60000
[crms.zoho]
kind = "zoho"
data_centre = "eu"
requests_per_minute = 60000
[crms.sheet]
kind = "google-sheets"
spreadsheet = "1StorySheet"
sheet = "WhatsApp"
requests_per_minute = 60000
[crms.own]
kind = "webhook"
url = "https://crm.example.com/events"
requests_per_minute = 60000
text = "off"
"#;

/// A CRM without persons of its own.
pub(crate) const OWN_CRM_TOML: &str = r#"
[crms.own]
kind = "webhook"
url = "https://crm.example.com/events"
requests_per_minute = 60000
"#;

/// A target of each kind, and escalations with four triggers.
const TEAM_TOML: &str = r#"
[targets.slack]
kind = "slack"
[targets.teams]
kind = "teams"
[targets.mail]
kind = "email"
from = "alerts@story.example"
to = ["team@story.example"]
[targets.topic]
kind = "sns"
topic_arn = "arn:aws:sns:eu-central-1:123456789012:calls"
[targets.desk]
kind = "webhook"
url = "https://desk.example.com/calls"
text = "full"

[escalations.urgent]
when = { words = { en = ["urgent", "as soon as possible"], he = ["דחוף"] } }
to = ["slack", "teams", "mail", "topic", "desk"]
acknowledge = { text = { en = "Thanks{% if first_name %}, {{ first_name }}{% endif %}! Somebody is coming.", he = "תודה! מישהו מגיע." } }
[escalations.slow]
when = { unanswered = "15m" }
to = ["desk"]
[escalations.failed]
when = "failed-delivery"
to = ["desk"]
[escalations.cancelled]
when = { order = ["cancelled"] }
to = ["desk"]
cooldown = "1h"
"#;

pub(crate) fn crm_and_target_secrets() -> Vec<(&'static str, String)> {
    let key = include_str!("../../functions/conversation-sync/src/crm/testing/key.pem");
    let account = json!({
        "type": "service_account", "client_email": "sync@story.iam.gserviceaccount.com", "private_key": key,
        "private_key_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
    });
    let zoho = json!({"client_id": "1000.STORY", "client_secret": "story-zoho", "refresh_token": "1000.story.refresh"});
    vec![
        ("crms/hub", "pat-eu1-story".to_owned()),
        ("crms/pipe", "story-pipedrive-token".to_owned()),
        ("crms/zoho", zoho.to_string()),
        ("crms/sheet", account.to_string()),
        ("crms/own", SIGNING_SECRET.to_owned()),
        ("targets/slack", "https://hooks.slack.com/services/T0STORY/B0STORY/storystorystory".to_owned()),
        (
            "targets/teams",
            "https://story.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/1/triggers/manual/paths/invoke?sig=story".to_owned(),
        ),
        ("targets/desk", SIGNING_SECRET.to_owned()),
    ]
}

pub(crate) async fn start_world(tail: &[&str]) -> World {
    let tail = tail.concat();
    World::start_with(WorldSetup {
        extra_toml: tail.leak(),
        line_events: true,
        extra_secrets: crm_and_target_secrets(),
        ..WorldSetup::default()
    })
    .await
}

/// Waits until no work is left. The fake delivers line events in the background, and a delivery may
/// cause further events.
pub(crate) async fn settle_line_events(world: &World) {
    loop {
        let delivered = world
            .stack
            .provider()
            .wait_for(Duration::from_mins(1), |provider| provider.pending_deliveries() == 0)
            .await;
        assert!(delivered, "the receiver does not accept the fake's line events");
        world.settle().await;
        if world.stack.provider().pending_deliveries() == 0 {
            return;
        }
    }
}

/// The number of entries of each message in a CRM.
pub(crate) fn entry_counts(world: &World, crm: &str) -> BTreeMap<String, usize> {
    let mut entries = BTreeMap::new();
    for entry in world.stack.crms().entries(crm) {
        *entries.entry(entry.reference.unwrap_or_else(|| "no reference".to_owned())).or_default() += 1;
    }
    entries
}

/// Asserts that each of these CRMs holds every message of the fake's phones once, and no other
/// entry.
pub(crate) fn assert_each_message_once(world: &World, crms: &[&str]) {
    let messages: BTreeMap<String, usize> =
        world.messages().iter().map(|message| (format!("main:{}", message.provider_id), 1)).collect();
    for crm in crms {
        assert_eq!(entry_counts(world, crm), messages, "{crm}");
    }
}

pub(crate) fn team_notifications(world: &World) -> Vec<(String, String)> {
    world.stack.team().alerts().into_iter().map(|notification| (notification.target, notification.text)).collect()
}

fn notified_targets(world: &World) -> Vec<String> {
    let mut targets: Vec<String> = team_notifications(world).into_iter().map(|(target, _)| target).collect();
    targets.sort();
    targets
}

pub(crate) fn write_from_phone(world: &World, phone: &str, text: &str) {
    world.stack.provider().write_from_phone(phone, text, "line_story").unwrap();
}

/// A delivery of the line, as it is posted.
pub(crate) fn line_event(delivery_id: &str, kind: &str, body: &Value) -> WebhookPost {
    let proof = SenderProof::Line { line_id: "line_story", event: kind, delivery_id };
    WebhookPost::new("/lines/main", "application/json", body.to_string())
        .with_header("X-EZW-Webhook-Id", Some("hook_1"))
        .sign(proof, LINE_SECRET_PATH)
        .unwrap()
}

pub(crate) fn message_body(id: &str, text: &str, timestamp: i64) -> Value {
    json!({"event": "messages.post", "messages": [{
        "id": id, "message_id": id, "chat_id": "c1", "from": "c1", "conversationId": "conv_noa",
        "contactPhoneNumber": NOA_PHONE, "from_me": false, "timestamp": timestamp, "type": "text", "text": {"body": text},
    }]})
}

pub(crate) const ALL_CRM_NAMES: [&str; 5] = ["hub", "pipe", "zoho", "sheet", "own"];

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_in_every_crm_once_regardless_of_its_author() {
    let world = start_world(&[CRMS_TOML]).await;
    write_from_phone(&world, NOA_PHONE, "Hello, is my order ready?");
    world.deliver(world.erp_post("erp-1", "ready", "1001", ADI_PHONE)).await;
    world.stack.provider().reply_as_team(NOA_PHONE, "Yes, come by!", "line_story").unwrap();
    settle_line_events(&world).await;
    assert_eq!(world.messages().len(), 3);
    assert_each_message_once(&world, &ALL_CRM_NAMES);
    // Repeat the message in other deliveries, as the provider may do.
    let at = world.now().as_second();
    let id = world.messages()[0].provider_id.clone();
    for delivery in ["again-1", "again-2", "again-2"] {
        world.deliver(line_event(delivery, "messages.post", &message_body(&id, "Hello, is my order ready?", at))).await;
    }
    settle_line_events(&world).await;
    assert_each_message_once(&world, &ALL_CRM_NAMES);
    let crms = world.stack.crms();
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!(crms.people(crm).len(), 2, "{crm}");
    }
    assert_eq!(crms.owner_assignments(), 0);
    // Each CRM gets as much of the text as configured.
    let texts = |crm: &str| crms.entries(crm).into_iter().map(|entry| entry.text).collect::<String>();
    assert!(texts("hub").contains("is my order ready?") && texts("pipe").contains("is my order ready?"));
    assert!(!texts("own").contains("is my order ready?"));
    assert!(world.stack.failures().is_empty());
}

/// The row of a message that was accepted and is on the phone.
fn delivered_row(world: &World, key: &str) -> Value {
    let row = world.message_rows()[key].clone();
    assert_eq!(
        (row["state"].as_str(), row["delivery_status"].as_str()),
        (Some("accepted"), Some("delivered")),
        "{row}"
    );
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_status_is_tracked_whichever_message_id_the_line_reports() {
    for own_ids in [false, true] {
        let world = start_world(&[]).await;
        world.stack.provider().change_settings(|settings| settings.separate_provider_ids = own_ids).unwrap();
        world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
        settle_line_events(&world).await;
        let row = delivered_row(&world, "order:1001:ready");
        assert_eq!(row["message_id"].as_str(), Some(world.messages()[0].provider_id.as_str()));
        world.stack.provider().read_messages(NOA_PHONE).unwrap();
        settle_line_events(&world).await;
        assert_eq!(world.message_rows()["order:1001:ready"]["delivery_status"], "read", "{own_ids}");
        let logs: String = world.stack.log_lines("conversation-sync").into_iter().map(|line| line.text).collect();
        assert_eq!(logs.matches("\"delivery_seconds\":").count(), 1, "delivery time is measured once");
        // A row that has the reported id needs no record beside it.
        let is_record = |row: &Value| row["subject"].as_str().is_some_and(|subject| subject.starts_with("message:"));
        let record = world.table_items("Ledger").into_iter().find(is_record);
        assert_eq!(record.is_some(), own_ids, "{record:?}");
        assert!(record.is_none_or(|record| record["record"].as_str().unwrap().contains("\"weak\":true")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_message_that_arrived_nevertheless_is_confirmed_by_the_line_s_event() {
    let world = start_world(&[]).await;
    let provider = world.stack.provider();
    provider.fail_next(1, SendFault::AcceptLate { after_ms: 4000 });
    assert_eq!(world.post(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await, 200);
    world.settle().await;
    assert_eq!(world.post(world.erp_post("erp-2", "late", "1001", NOA_PHONE)).await, 200);
    world.settle().await;
    world.advance_time(SignedDuration::from_secs(61));
    world.tick().await;
    assert_eq!(world.message_state("order:1001:ready"), "superseded");
    let arrived = provider.wait_for(Duration::from_secs(20), |fake| fake.counters().queued == 2).await;
    assert!(arrived, "the late message was not accepted");
    settle_line_events(&world).await;
    let row = delivered_row(&world, "order:1001:ready");
    assert!(row["reason"].as_str().unwrap().starts_with("the message counted as superseded until"), "{row}");
    assert_eq!(provider.max_messages_per_key(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_with_a_lost_response_is_confirmed_by_the_line_s_event() {
    let world = start_world(&[]).await;
    let provider = world.stack.provider();
    provider.fail_next(1, SendFault::DropAfterAccept);
    assert_eq!(world.post(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await, 200);
    settle_line_events(&world).await;
    let row = delivered_row(&world, "order:1001:ready");
    assert!(row.get("due_at").is_none(), "no retry is due");
    world.advance_time(SignedDuration::from_mins(5));
    world.tick().await;
    assert_eq!((provider.messages().len(), provider.counters().repeats), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undelivered_message_alerts_the_team_and_names_its_subject() {
    let world = start_world(&[TEAM_TOML]).await;
    let provider = world.stack.provider();
    provider.set_silent(NOA_PHONE, true).unwrap();
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    settle_line_events(&world).await;
    provider.report_status(&provider.messages()[0].id, "failed").unwrap();
    provider.report_status(&provider.messages()[0].id, "failed").unwrap();
    settle_line_events(&world).await;
    let row = world.message_rows()["order:1001:ready"].clone();
    assert_eq!((row["failed"].as_bool(), row["delivery_status"].as_str()), (Some(true), Some("sent")), "{row}");
    let notifications = team_notifications(&world);
    assert_eq!(notifications.len(), 1, "{notifications:?}");
    assert!(
        notifications[0].1.contains("order:1001:ready") && notifications[0].1.contains(NOA_PHONE),
        "{notifications:?}"
    );
    let logs: String = world.stack.log_lines("conversation-sync").into_iter().map(|line| line.text).collect();
    assert_eq!(logs.matches("\"reason\":\"failed\"").count(), 1);
    // The message arrives later, and the row records it.
    provider.report_status(&provider.messages()[0].id, "delivered").unwrap();
    settle_line_events(&world).await;
    assert_eq!(world.message_rows()["order:1001:ready"]["delivery_status"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_message_alerts_every_target_once_per_cooldown_and_is_acknowledged_once() {
    let world = start_world(&[TEAM_TOML]).await;
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    write_from_phone(&world, NOA_PHONE, "It's URGENT, please call me");
    write_from_phone(&world, NOA_PHONE, "urgent!!");
    settle_line_events(&world).await;
    assert_eq!(notified_targets(&world), ["desk", "mail", "slack", "teams", "topic"]);
    let (_, text) = team_notifications(&world).into_iter().find(|(target, _)| target == "slack").unwrap();
    assert!(
        text.contains("please call me") && text.contains("order:1001:ready") && text.contains("Amit Peretz"),
        "{text}"
    );
    let acknowledgements =
        world.texts_on_phone(NOA_PHONE).into_iter().filter(|text| text.starts_with("Thanks, Amit")).count();
    assert_eq!(acknowledgements, 1);
    let key = world.messages().into_iter().find(|message| message.body.starts_with("Thanks")).unwrap().key.unwrap();
    assert!(key.starts_with("webhook-reply:"), "{key}");
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
    // The same message in another delivery has no effect.
    let first = world.messages().into_iter().find(|message| message.body.contains("URGENT")).unwrap();
    let mut again = message_body(&first.provider_id, &first.body, first.queued_at / 1000);
    again["messages"][0]["conversationId"] = json!(first.conversation_id);
    world.deliver(line_event("another", "messages.post", &again)).await;
    settle_line_events(&world).await;
    assert_eq!(
        (
            notified_targets(&world).len(),
            world.texts_on_phone(NOA_PHONE).iter().filter(|text| text.starts_with("Thanks")).count()
        ),
        (5, 1)
    );
    // A message that is not urgent, and an urgent one in another conversation.
    write_from_phone(&world, NOA_PHONE, "thank you");
    write_from_phone(&world, ADI_PHONE, "זה דחוף");
    settle_line_events(&world).await;
    assert_eq!(notified_targets(&world).len(), 10);
    assert!(
        world.texts_on_phone(ADI_PHONE).iter().any(|text| text.starts_with("תודה")),
        "{:?}",
        world.texts_on_phone(ADI_PHONE)
    );
    // A message of the line itself alerts no target.
    world.stack.provider().reply_as_team(NOA_PHONE, "This is not urgent", "line_story").unwrap();
    settle_line_events(&world).await;
    assert_eq!(notified_targets(&world).len(), 10);
    // The cooldown has passed, by the functions' clock and by the fake's.
    world.advance_time(SignedDuration::from_hours(4));
    world.stack.provider().change_settings(|settings| settings.clock_offset_ms = 4 * 3_600_000).unwrap();
    write_from_phone(&world, NOA_PHONE, "urgent again");
    settle_line_events(&world).await;
    assert_eq!(notified_targets(&world).iter().filter(|target| *target == "slack").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_customer_alerts_the_team_unless_the_team_replies() {
    let world = start_world(&[TEAM_TOML]).await;
    write_from_phone(&world, NOA_PHONE, "Anybody there?");
    write_from_phone(&world, ADI_PHONE, "Hello?");
    settle_line_events(&world).await;
    world.advance_time(SignedDuration::from_mins(5));
    world.stack.provider().reply_as_team(ADI_PHONE, "Hello Adi!", "line_story").unwrap();
    // An order update is not an answer.
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    settle_line_events(&world).await;
    world.advance_time(SignedDuration::from_mins(2));
    world.tick_conversations().await;
    assert_eq!(team_notifications(&world).len(), 0);
    world.advance_time(SignedDuration::from_mins(10));
    world.tick_conversations().await;
    let notifications = team_notifications(&world);
    assert_eq!(notifications.len(), 1, "{notifications:?}");
    assert!(
        notifications[0].1.contains(NOA_PHONE) && notifications[0].1.contains("Anybody there?"),
        "{notifications:?}"
    );
    world.advance_time(SignedDuration::from_hours(1));
    world.tick_conversations().await;
    assert_eq!(team_notifications(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_writes_about_a_cancelled_order_alerts_the_team() {
    let world = start_world(&[TEAM_TOML]).await;
    let order = world.shopify_order(1001, NOA_PHONE);
    world.deliver(world.shopify_post("orders/paid", "d-1", &order)).await;
    write_from_phone(&world, NOA_PHONE, "When does it come?");
    settle_line_events(&world).await;
    assert_eq!(team_notifications(&world).len(), 0);
    let mut cancelled = order;
    cancelled["cancelled_at"] = json!(world.now().to_string());
    cancelled["updated_at"] = json!((world.now() + SignedDuration::from_secs(1)).to_string());
    world.deliver(world.shopify_post("orders/cancelled", "d-2", &cancelled)).await;
    write_from_phone(&world, NOA_PHONE, "What happened?");
    settle_line_events(&world).await;
    let notifications = team_notifications(&world);
    assert_eq!(notifications.len(), 1, "{notifications:?} {:?}", world.texts_on_phone(NOA_PHONE));
    assert!(notifications[0].1.contains("cancelled"), "{notifications:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_and_long_texts_become_requests_that_every_vendor_describes() {
    let world = start_world(&[CRMS_TOML, TEAM_TOML]).await;
    let long_name = "Noa".repeat(60);
    let texts = [
        "urgent <script>alert(1)</script> & \"quoted\" 'single' [tellonce main:x]".to_owned(),
        "urgent =HYPERLINK(\"https://evil.example\") <!channel> <@U1> **b**".to_owned(),
        format!("דחוף {} urgent", "\u{202e}\u{0}\r\n\t\u{2028}😀".repeat(50)),
        format!("urgent {}", "\"<&>א".repeat(800)),
    ];
    let at = world.now().as_second();
    for (number, text) in texts.iter().enumerate() {
        let mut body = message_body(&format!("odd_{number}"), text, at);
        body["messages"][0]["conversationId"] = json!(format!("conv_odd_{number}"));
        body["messages"][0]["contactPhoneNumber"] = json!(format!("+97254555{:04}", 2000 + number));
        body["messages"][0]["from_name"] = json!(long_name);
        world.deliver(line_event(&format!("odd-{number}"), "messages.post", &body)).await;
    }
    settle_line_events(&world).await;
    for crm in ALL_CRM_NAMES {
        let entries = entry_counts(&world, crm);
        assert!((0..texts.len()).all(|number| entries[&format!("main:odd_{number}")] == 1), "{crm}: {entries:?}");
    }
    assert_eq!(notified_targets(&world).len(), 5 * texts.len());
    assert_eq!(world.stack.fakes().violations(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_whose_response_was_lost_is_found_although_zoho_s_search_lags() {
    let world = start_world(&[CRMS_TOML]).await;
    let fakes = world.stack.fakes();
    world.stack.crms().set_search_lag(60_000);
    // Sign in, search, query: these get through. The insert does, too, and its response does not.
    let zoho = FakeService::Crm("zoho");
    fakes.spare_next(zoho, 3);
    fakes.fail_next(zoho, FakeFault::DroppedAfter, 1);
    write_from_phone(&world, NOA_PHONE, "Hello");
    write_from_phone(&world, NOA_PHONE, "Are you there?");
    settle_line_events(&world).await;
    for _ in 0..3 {
        world.advance_time(SignedDuration::from_secs(15));
        world.tick_conversations().await;
    }
    assert_eq!(world.stack.crms().people("zoho").len(), 1, "{:?}", fakes.replies_by_status(zoho));
    assert_each_message_once(&world, &["zoho"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_was_deleted_in_a_crm_is_made_again_and_no_entry_is_refused() {
    let world = start_world(&[CRMS_TOML]).await;
    write_from_phone(&world, NOA_PHONE, "Hello");
    settle_line_events(&world).await;
    let crms = world.stack.crms();
    let first: Vec<String> = ["hub", "pipe", "zoho"].map(|crm| crms.people(crm)[0].id.clone()).to_vec();
    for (crm, id) in ["hub", "pipe", "zoho"].into_iter().zip(&first) {
        crms.remove_person(crm, id).unwrap();
    }
    world.advance_time(SignedDuration::from_mins(11));
    write_from_phone(&world, NOA_PHONE, "Are you there?");
    settle_line_events(&world).await;
    assert_each_message_once(&world, &ALL_CRM_NAMES);
    for (crm, id) in ["hub", "pipe", "zoho"].into_iter().zip(&first) {
        let people = crms.people(crm);
        assert!(people.len() == 1 && people[0].id != *id, "{crm}: {people:?}");
        assert_eq!(crms.entries(crm)[1].person.as_ref(), Some(&people[0].id), "{crm}");
    }
    // So is one that was made a moment ago.
    for crm in ["hub", "pipe", "zoho"] {
        crms.remove_person(crm, &crms.people(crm)[0].id).unwrap();
    }
    write_from_phone(&world, NOA_PHONE, "And now?");
    settle_line_events(&world).await;
    assert_each_message_once(&world, &ALL_CRM_NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_a_crm_refuses_makes_no_second_customer() {
    let world = start_world(&[CRMS_TOML]).await;
    let (crms, fakes) = (world.stack.crms(), world.stack.fakes());
    write_from_phone(&world, NOA_PHONE, "Hello");
    settle_line_events(&world).await;
    // A user gave the customer another number, so that no search finds the customer.
    let other = json!("+972545550111");
    let phones = json!([{"value": other, "primary": true, "label": "mobile"}]);
    for (crm, field, value) in [("hub", "phone", &other), ("pipe", "phones", &phones), ("zoho", "Mobile", &other)] {
        crms.change_person(crm, &crms.people(crm)[0].id, field, value).unwrap();
    }
    world.advance_time(SignedDuration::from_mins(30));
    let kinds = ["hubspot", "pipedrive", "zoho"];
    for crm in kinds {
        fakes.fail_next(FakeService::Crm(crm), FakeFault::Status(400), 1);
    }
    write_from_phone(&world, NOA_PHONE, "A text that the CRM does not take");
    settle_line_events(&world).await;
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!((crms.people(crm).len(), entry_counts(&world, crm).len()), (1, 1), "{crm}");
    }
    // The CRM may refuse to name the person as well.
    for crm in kinds {
        fakes.fail_next(FakeService::Crm(crm), FakeFault::Status(400), 2);
    }
    write_from_phone(&world, NOA_PHONE, "Another one");
    settle_line_events(&world).await;
    fakes.heal();
    write_from_phone(&world, NOA_PHONE, "Thanks");
    settle_line_events(&world).await;
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!((crms.people(crm).len(), entry_counts(&world, crm).len()), (1, 2), "{crm}");
    }
    assert_eq!(fakes.violations(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_each_crm_one_request_and_a_new_customer_up_to_four_more() {
    let world = start_world(&[CRMS_TOML]).await;
    let fakes = world.stack.fakes();
    let crms = ["hubspot", "pipedrive", "zoho", "google-sheets", "webhook"];
    let count_requests = async |phone: &str| {
        fakes.reset_counts();
        write_from_phone(&world, phone, "Hello");
        settle_line_events(&world).await;
        crms.map(|crm| fakes.request_count(FakeService::Crm(crm)))
    };
    // Search, make, write. Zoho is also queried before it makes a lead. Zoho and Google sign in.
    assert_eq!(count_requests(NOA_PHONE).await, [3, 3, 5, 2, 1]);
    assert_eq!(count_requests(ADI_PHONE).await, [3, 3, 4, 1, 1]);
    assert_eq!(count_requests(NOA_PHONE).await, [1; 5], "the customer is known");
    assert_eq!(count_requests("+5511987654321").await, [4, 4, 5, 1, 1], "a search for each form of the number");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_is_down_for_a_day_delays_and_loses_nothing() {
    let world = start_world(&[CRMS_TOML]).await;
    let fakes = world.stack.fakes();
    for peer in [FakeService::Crm("hubspot"), FakeService::Crm("google-sheets")] {
        fakes.fail_next(peer, FakeFault::Status(503), 100_000);
    }
    for number in 0..12 {
        write_from_phone(&world, if number % 2 == 0 { NOA_PHONE } else { ADI_PHONE }, &format!("message {number}"));
    }
    settle_line_events(&world).await;
    assert_each_message_once(&world, &["pipe", "zoho", "own"]);
    assert!(entry_counts(&world, "hub").is_empty() && entry_counts(&world, "sheet").is_empty());
    // Six runs stand for the minutes of a day.
    fakes.reset_counts();
    for _ in 0..6 {
        world.advance_time(SignedDuration::from_hours(4));
        world.tick_conversations().await;
    }
    assert!(fakes.request_count(FakeService::Crm("hubspot")) <= 6 * 8, "few calls while it is down");
    assert!(entry_counts(&world, "hub").is_empty());
    fakes.heal();
    for _ in 0..3 {
        world.advance_time(SignedDuration::from_hours(1));
        world.tick_conversations().await;
    }
    assert_each_message_once(&world, &ALL_CRM_NAMES);
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_and_an_opt_out_wait_for_no_slow_crm() {
    let slow_crms = [FakeService::Crm("hubspot"), FakeService::Crm("pipedrive"), FakeService::Crm("zoho")];
    let world = start_world(&[CRMS_TOML, TEAM_TOML, "[opt_out]\nen = [\"stop\"]\n"]).await;
    for crm in slow_crms {
        world.stack.fakes().set_delay(crm, Duration::from_secs(1));
    }
    for number in 0..30 {
        write_from_phone(&world, ADI_PHONE, &format!("message {number}"));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written_at = Instant::now();
    write_from_phone(&world, NOA_PHONE, "urgent, please call");
    write_from_phone(&world, ADI_PHONE, "stop");
    let has_opt_out = || world.table_items("Ledger").iter().any(|row| row.get("opted_out_at").is_some());
    while notified_targets(&world).len() < 5 || !has_opt_out() {
        assert!(written_at.elapsed() < Duration::from_secs(30), "{:?}", notified_targets(&world));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("alert and opt-out under three CRMs at 1 s: {} ms after the webhook", written_at.elapsed().as_millis());
    // The entries are still on their way, so nothing waited for them.
    let entries: usize = entry_counts(&world, "hub").values().sum();
    assert!(entries < 32, "the CRM was too fast to show anything");
    for crm in slow_crms {
        world.stack.fakes().set_delay(crm, Duration::ZERO);
    }
    settle_line_events(&world).await;
    for _ in 0..3 {
        world.advance_time(SignedDuration::from_mins(1));
        world.tick_conversations().await;
    }
    assert_each_message_once(&world, &ALL_CRM_NAMES);
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_is_logged_and_its_tasks_wait_for_a_valid_one() {
    let world = start_world(&[CRMS_TOML]).await;
    world.stack.fakes().fail_next(FakeService::Crm("hubspot"), FakeFault::Status(401), 1);
    write_from_phone(&world, NOA_PHONE, "Hello");
    settle_line_events(&world).await;
    assert_each_message_once(&world, &["pipe", "zoho", "sheet", "own"]);
    assert!(entry_counts(&world, "hub").is_empty());
    let logs: String = world.stack.log_lines("conversation-sync").into_iter().map(|line| line.text).collect();
    assert!(logs.contains("store a valid one in tellonce/story/crms (member `hub`)"), "{logs}");
    world.advance_time(SignedDuration::from_mins(10));
    world.tick_conversations().await;
    assert_each_message_once(&world, &ALL_CRM_NAMES);
    // A replaced secret is fetched at once.
    world.stack.secrets().rotate("tellonce/story/crms/hub", "pat-eu1-story-2");
    write_from_phone(&world, NOA_PHONE, "Hello again");
    settle_line_events(&world).await;
    world.advance_time(SignedDuration::from_mins(1));
    world.tick_conversations().await;
    assert_each_message_once(&world, &ALL_CRM_NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_a_crm_refuses_are_retried_on_an_operator_command() {
    let world = start_world(&[CRMS_TOML]).await;
    world.stack.fakes().fail_next(FakeService::Crm("hubspot"), FakeFault::Status(400), 100);
    write_from_phone(&world, NOA_PHONE, "Hello");
    settle_line_events(&world).await;
    for _ in 0..3 {
        world.advance_time(SignedDuration::from_mins(30));
        world.tick_conversations().await;
    }
    world.stack.fakes().heal();
    // A refused task is not retried automatically, because it would be refused again.
    let states = || queued_tasks(&world).into_iter().filter(|(queue, _)| queue == "crm:hub").map(|(_, state)| state);
    assert_eq!(states().collect::<Vec<_>>(), ["refused"]);
    let retry = |queue: &str| json!({ "retry": queue });
    let retried = world.stack.invoke("conversation-sync", &retry("crm:hub")).await.unwrap();
    assert_eq!(retried, json!({"retried": 1, "more": false}));
    let unknown = world.stack.invoke("conversation-sync", &retry("crm:none")).await.unwrap_err();
    assert!(format!("{unknown:#}").contains("crm:hub"), "{unknown:#}");
    world.advance_time(SignedDuration::from_mins(1));
    world.tick_conversations().await;
    assert_each_message_once(&world, &ALL_CRM_NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opted_out_customer_is_not_greeted_until_the_agency_opts_them_in() {
    let form = r#"
[opt_out]
en = ["stop", "no more messages"]
[forms.site]
kind = "web"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
line = "main"
id_scope = "main"
consent = { stated = "By sending this you agree to hear from us on WhatsApp." }
first_touch.useful_for = "12h"
first_touch.text = { en = "Thanks for writing.", he = "תודה." }
"#;
    let tail = [form, TEAM_TOML].concat();
    let mut secrets = crm_and_target_secrets();
    secrets.push(("webhooks/site", "story-site-token-0123456789".to_owned()));
    let world = World::start_with(WorldSetup {
        extra_toml: tail.leak(),
        line_events: true,
        extra_secrets: secrets,
        ..WorldSetup::default()
    })
    .await;
    let lead = |id: &str| WebhookPost {
        path: "/leads/site".into(),
        headers: vec![
            ("Content-Type".into(), "application/json".into()),
            ("X-Webhook-Token".into(), "story-site-token-0123456789".into()),
        ],
        body: json!({"leadId": id, "name": "Noa", "phone": NOA_PHONE}).to_string().into_bytes(),
    };
    write_from_phone(&world, NOA_PHONE, "please don't stop");
    settle_line_events(&world).await;
    write_from_phone(&world, NOA_PHONE, " Stop! ");
    settle_line_events(&world).await;
    world.deliver(lead("l1")).await;
    // An opt-out does not stop order updates.
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    settle_line_events(&world).await;
    let sent_texts: Vec<String> = world
        .messages()
        .into_iter()
        .filter(|m| m.direction == PhoneMessageDirection::ToCustomer)
        .map(|m| m.body)
        .collect();
    assert_eq!(sent_texts, ["Amit, order 1001: ready."]);
    let opt_in = |phone: &str| json!({ "opt_in": phone });
    let function = "conversation-sync";
    assert_eq!(world.stack.invoke(function, &opt_in(NOA_PHONE)).await.unwrap(), json!({"changed": true}));
    assert_eq!(world.stack.invoke(function, &opt_in(NOA_PHONE)).await.unwrap(), json!({"changed": false}));
    // The old opt-out arrives again and is older than the opt-in.
    let stop = world.messages().into_iter().find(|m| m.body == " Stop! ").unwrap();
    let at = stop.queued_at / 1000 - 1;
    world.deliver(line_event("late", "messages.post", &message_body(&stop.provider_id, " Stop! ", at))).await;
    world.advance_time(SignedDuration::from_hours(24 * 8));
    world.deliver(lead("l2")).await;
    assert!(world.texts_on_phone(NOA_PHONE).contains(&"תודה.".to_owned()), "{:?}", world.texts_on_phone(NOA_PHONE));
}

#[tokio::test(flavor = "multi_thread")]
async fn line_events_are_verified_by_address_filed_once_and_kept_even_when_malformed() {
    let world = start_world(&[CRMS_TOML]).await;
    let at = world.now().as_second();
    let valid_event = || line_event("d-1", "messages.post", &message_body("m1", "Hello", at));
    assert_eq!(world.post(WebhookPost { path: "/lines/main/a-guess".into(), ..valid_event() }).await, 404);
    for missing in ["X-EZW-Delivery-Id", "X-EZW-Webhook-Event", "X-EZW-Line-Id"] {
        assert_eq!(world.post(valid_event().with_header(missing, None)).await, 400, "{missing}");
    }
    assert_eq!(world.post(valid_event().with_header("X-EZW-Line-Id", Some("line_other"))).await, 403);
    for _ in 0..3 {
        world.deliver(valid_event()).await;
    }
    assert_eq!(world.table_items("LineInbox").len(), 1);
    assert_eq!(entry_counts(&world, "sheet"), [("main:m1".to_owned(), 1)].into());
    for (delivery, kind, body, outcome) in [
        ("odd-1", "messages.post", json!("hello"), Some("quarantined")),
        ("odd-2", "messages.post", json!({"event": "statuses.post", "statuses": []}), Some("quarantined")),
        ("odd-3", "messages.post", json!({"event": "messages.post", "messages": [{}, 7]}), Some("quarantined")),
        ("new-1", "calls.post", json!({"event": "calls.post"}), Some("skipped")),
        ("chat-1", "chats.post", json!({"event": "chats.post", "chats": [{"id": "c1"}]}), Some("skipped")),
        (
            "whapi-1",
            "statuses.post",
            json!({"event": {"type": "statuses", "event": "post"}, "statuses": [{"id": "m9", "status": "read", "timestamp": at.to_string()}]}),
            None,
        ),
    ] {
        world.deliver(line_event(delivery, kind, &body)).await;
        assert_eq!(world.delivery_outcome(&format!("main#{delivery}")).as_deref(), outcome, "{delivery}");
    }
    assert_eq!(world.delivery_outcome_text("main#new-1").as_deref(), Some("unknown kind of event"));
    assert!(world.delivery_outcome_text("main#chat-1").unwrap().starts_with("chat summary"));
    assert!(world.stack.failures().is_empty());
}

/// Deliveries of the storm. `REPEATS` of them repeat others.
const DELIVERIES: usize = 2_000;
const REPEATS: usize = 800;
const CONVERSATIONS: usize = 100;

/// Queue and state of every task in the ledger.
fn queued_tasks(world: &World) -> Vec<(String, String)> {
    let task = |row: Value| {
        let record: Value = serde_json::from_str(row["record"].as_str()?).ok()?;
        Some((record["queue"].as_str()?.to_owned(), record["state"].as_str()?.to_owned()))
    };
    world.table_items("Ledger").into_iter().filter_map(task).collect()
}

#[expect(clippy::too_many_lines, reason = "one story, from its first delivery to its figures")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_events_with_failing_crms_and_two_kills_make_each_entry_and_notification_once() {
    const URGENT_TOML: &str = r#"
[targets.desk]
kind = "webhook"
url = "https://desk.example.com/calls"
[escalations.urgent]
when = { words = { en = ["urgent"] } }
to = ["desk"]
"#;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let world = start_world(&[CRMS_TOML, URGENT_TOML]).await;
    let now = world.now().as_second();

    // Messages of customers and of the team, statuses of the team's messages, and chat summaries.
    let (mut posts, mut messages, mut urgent) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut people = BTreeSet::new();
    for number in 0..(DELIVERIES - REPEATS) {
        let person = number % CONVERSATIONS;
        let (id, delivery) = (format!("wamid_{number}"), format!("dlv-{number}"));
        posts.push(match number % 10 {
            7 => {
                let status = ["sent", "delivered", "read"][number / 10 % 3];
                let of = format!("wamid_{}", number - 2);
                line_event(
                    &delivery,
                    "statuses.post",
                    &json!({"event": "statuses.post", "statuses": [{"id": of, "status": status, "timestamp": now}]}),
                )
            }
            8 => line_event(
                &delivery,
                "chats.post",
                &json!({"event": "chats.post", "chats": [{"id": "c", "last_message": {"id": id}}]}),
            ),
            kind => {
                let is_urgent = random.random_bool(0.1);
                let mut body = message_body(
                    &id,
                    if is_urgent && kind != 5 { "this is urgent" } else { "hello" },
                    now - i64::try_from(number % 900).unwrap(),
                );
                let item = &mut body["messages"][0];
                item["conversationId"] = json!(format!("conv_{person}"));
                item["contactPhoneNumber"] = json!(format!("+97254555{:04}", 1000 + person));
                // A message of the team alerts no target.
                item["from_me"] = json!(kind == 5);
                if is_urgent && kind != 5 {
                    urgent.insert(person);
                }
                messages.insert(format!("main:{id}"), 1);
                people.insert(person);
                line_event(&delivery, "messages.post", &body)
            }
        });
    }
    for _ in 0..REPEATS {
        posts.push(posts[random.random_range(0..DELIVERIES - REPEATS)].clone());
    }
    posts.shuffle(&mut random);

    let fakes = world.stack.fakes();
    let crm_fakes = [
        FakeService::Crm("hubspot"),
        FakeService::Crm("pipedrive"),
        FakeService::Crm("zoho"),
        FakeService::Crm("google-sheets"),
        FakeService::Crm("webhook"),
    ];
    for peer in crm_fakes {
        fakes.fail_share(peer, 0.2, random.random());
    }
    // The CRMs are slow as well, until the last events are posted.
    for peer in crm_fakes {
        fakes.set_delay(peer, Duration::from_secs(1));
    }
    let (begun, mut killed) = (Instant::now(), 0);
    for (part, chunk) in posts.chunks(DELIVERIES / 5).enumerate() {
        let statuses = futures::stream::iter(chunk.iter().cloned().map(|post| world.post(post)));
        let statuses: Vec<u16> = statuses.buffer_unordered(8).collect().await;
        assert!(statuses.iter().all(|status| *status == 200));
        if part == 1 || part == 3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            killed += world.stack.kill_function("conversation-sync").await;
        }
    }
    let accepted_in = begun.elapsed();
    for peer in crm_fakes {
        fakes.set_delay(peer, Duration::ZERO);
    }
    world.stack.drain_within(Duration::from_mins(10)).await.unwrap();
    let processed_in = begun.elapsed();
    println!("accepted in {accepted_in:.1?}, read in {processed_in:.1?}");

    // Let time pass until no task waits.
    let mut ticks = 0;
    loop {
        let mut waiting = BTreeMap::new();
        for (queue, state) in queued_tasks(&world) {
            if matches!(state.as_str(), "waiting" | "claimed") {
                *waiting.entry(queue).or_insert(0) += 1;
            }
        }
        if waiting.is_empty() {
            break;
        }
        ticks += 1;
        println!("{:.1?}: tick {ticks}: {waiting:?}", begun.elapsed());
        assert!(ticks < 120, "still waiting after {ticks} ticks: {waiting:?}");
        world.advance_time(SignedDuration::from_mins(5));
        world.tick_conversations().await;
    }
    for crm in ALL_CRM_NAMES {
        let found = entry_counts(&world, crm);
        let wrong: Vec<_> = messages.keys().filter(|id| found.get(*id) != Some(&1)).take(5).collect();
        assert!(found == messages, "{crm}: {} of {}, such as {wrong:?}", found.len(), messages.len());
    }
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!(world.stack.crms().people(crm).len(), people.len(), "{crm} has each person once");
    }
    assert_eq!(team_notifications(&world).len(), urgent.len(), "one alert for each conversation");
    assert!(queued_tasks(&world).iter().all(|(_, state)| state == "done"));
    // A killed function gives new tasks up without a retry, because they stay due.
    assert!(world.stack.failures().iter().all(|batch| batch.queue.is_none()));
    assert_eq!(world.stack.crms().owner_assignments(), 0);
    assert_eq!(fakes.violations(), [], "every request is as its vendor describes it");

    let call_counts: Vec<String> = crm_fakes
        .iter()
        .map(|peer| {
            let status_counts = fakes.replies_by_status(*peer);
            let failed: u64 =
                status_counts.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, n)| n).sum();
            format!("{peer:?} {} calls as described, {failed} failed", fakes.request_count(*peer))
        })
        .collect();
    println!(
        "{DELIVERIES} deliveries ({REPEATS} repeats), {} messages, {} entries in {} CRMs, {} alerts, {killed} functions killed; \
         accepted in {accepted_in:.1?}, read in {processed_in:.1?}, all tasks done in {:.1?} and {ticks} ticks; {}",
        messages.len(),
        messages.len() * ALL_CRM_NAMES.len(),
        ALL_CRM_NAMES.len(),
        urgent.len(),
        begun.elapsed(),
        call_counts.join("; ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_metrics_and_reasons_hold_no_conversation_data() {
    let tail = [CRMS_TOML, TEAM_TOML, "[opt_out]\nen = [\"stop\"]\n"].concat();
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let setup = WorldSetup {
        extra_toml: tail.leak(),
        line_events: true,
        extra_secrets: crm_and_target_secrets(),
        env,
        ..WorldSetup::default()
    };
    let world = World::start_with(setup).await;
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    let fakes = world.stack.fakes();
    let crms = [
        FakeService::Crm("hubspot"),
        FakeService::Crm("pipedrive"),
        FakeService::Crm("zoho"),
        FakeService::Crm("google-sheets"),
        FakeService::Crm("webhook"),
    ];
    let team = [
        FakeService::Target("slack"),
        FakeService::Target("teams"),
        FakeService::Target("email"),
        FakeService::Target("sns"),
        FakeService::Target("webhook"),
    ];
    for peer in crms.into_iter().chain(team) {
        for trouble in [FakeFault::Status(400), FakeFault::Status(401), FakeFault::HalfBody, FakeFault::DroppedAfter] {
            fakes.fail_next(peer, trouble, 1);
        }
    }
    for text in ["urgent, call Noa Levi at 052-555-0101", "stop"] {
        write_from_phone(&world, NOA_PHONE, text);
        settle_line_events(&world).await;
    }
    let mut odd = message_body("wamid_972545550199", "Levi is urgent", world.now().as_second());
    odd["messages"][0]["contactPhoneNumber"] = json!("Noa 0525550101");
    world.deliver(line_event("odd", "messages.post", &odd)).await;
    for _ in 0..6 {
        world.advance_time(SignedDuration::from_mins(12));
        world.tick_conversations().await;
    }
    let lines = ["webhook-receiver", "conversation-sync", "order-notifier"].map(|name| world.stack.log_lines(name));
    let lines: Vec<String> = lines.into_iter().flatten().map(|line| line.text).collect();
    assert!(lines.iter().any(|line| line.contains("attempted task")), "{lines:?}");
    let reasons = world.table_items("Ledger").into_iter().filter_map(|row| {
        let record: Value = serde_json::from_str(row["record"].as_str()?).ok()?;
        record["reason"].as_str().map(str::to_owned)
    });
    let outcomes =
        world.table_items("LineInbox").into_iter().filter_map(|item| item["outcome_text"].as_str().map(str::to_owned));
    let secrets = crm_and_target_secrets();
    let mut private = vec!["545550199", "525550101", "52-555-0101", "Noa", "Levi", "Amit", "Peretz", "call "];
    private.extend([
        "PRIVATE KEY",
        "1000.story.refresh",
        "story-zoho",
        "sig=story",
        "storystorystory",
        LINE_SECRET_PATH,
    ]);
    private.extend(secrets.iter().map(|(_, value)| value.as_str()).filter(|value| value.len() < 60));
    for line in lines.iter().cloned().chain(reasons).chain(outcomes) {
        for word in &private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
