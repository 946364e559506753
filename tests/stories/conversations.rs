//! Line events: what is written on the line reaches the CRMs and the team once, and what was sent is followed to the phone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::stream::StreamExt as _;
use jiff::SignedDuration;
use local::{
    fake_ezw::{Direction, Fault},
    peers::{Peer, Trouble},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde_json::{Value, json};

use crate::world::{LINE_PATH, Post, Setup, World};

const NOA: &str = "+972545550199";
const ADI: &str = "+972525550101";
/// Signs the calls to the CRM and to the target that take signed ones.
const SIGNED: &str = "whsec_c3Rvcmllcy1vZi1jb252ZXJzYXRpb25zLTAx";

/// A CRM of each kind, at a pace that plays no part.
const CRMS: &str = r#"
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

/// A target of each kind, and an escalation of each trigger that a message sets off.
const TEAM: &str = r#"
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
within = "1h"
"#;

fn secrets() -> Vec<(&'static str, String)> {
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
        ("crms/own", SIGNED.to_owned()),
        ("targets/slack", "https://hooks.slack.com/services/T0STORY/B0STORY/storystorystory".to_owned()),
        (
            "targets/teams",
            "https://story.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/1/triggers/manual/paths/invoke?sig=story".to_owned(),
        ),
        ("targets/desk", SIGNED.to_owned()),
    ]
}

async fn world(tail: &[&str]) -> World {
    let tail = tail.concat();
    World::start_with(Setup { tail: tail.leak(), events: true, secrets: secrets(), ..Setup::default() }).await
}

/// Waits until everything that follows is done: the fake's couriers deliver by themselves, and what is delivered may make the
/// line say more.
async fn settled(world: &World) {
    loop {
        let told = world.stack.ezw().wait_for(Duration::from_mins(1), |ezw| ezw.under_way() == 0).await;
        assert!(told, "a webhook's target does not answer");
        world.settle().await;
        if world.stack.ezw().under_way() == 0 {
            return;
        }
    }
}

/// How often each message stands in a CRM.
fn entries(world: &World, crm: &str) -> BTreeMap<String, usize> {
    let mut entries = BTreeMap::new();
    for entry in world.stack.crms().entries(crm) {
        *entries.entry(entry.reference.unwrap_or_else(|| "no reference".to_owned())).or_default() += 1;
    }
    entries
}

/// Every message on the fake's phones is in each of these CRMs once, and nothing else is.
fn assert_each_once(world: &World, crms: &[&str]) {
    let messages: BTreeMap<String, usize> =
        world.messages().iter().map(|message| (format!("main:{}", message.provider_id), 1)).collect();
    for crm in crms {
        assert_eq!(entries(world, crm), messages, "{crm}");
    }
}

fn notices(world: &World) -> Vec<(String, String)> {
    world.stack.team().notices().into_iter().map(|notice| (notice.target, notice.text)).collect()
}

fn targets(world: &World) -> Vec<String> {
    let mut targets: Vec<String> = notices(world).into_iter().map(|(target, _)| target).collect();
    targets.sort();
    targets
}

fn write(world: &World, phone: &str, text: &str) {
    world.stack.ezw().write_from_phone(phone, text, "line_story").unwrap();
}

/// A delivery of the line, as it is posted.
fn event(delivery: &str, kind: &str, body: &Value) -> Post {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Post {
        path: format!("/lines/main/{LINE_PATH}"),
        headers: vec![
            header("Content-Type", "application/json"),
            header("X-EZW-Delivery-Id", delivery),
            header("X-EZW-Webhook-Event", kind),
            header("X-EZW-Line-Id", "line_story"),
            header("X-EZW-Webhook-Id", "hook_1"),
        ],
        body: body.to_string().into_bytes(),
    }
}

fn message(id: &str, text: &str, at: i64) -> Value {
    json!({"event": "messages.post", "messages": [{
        "id": id, "message_id": id, "chat_id": "c1", "from": "c1", "conversationId": "conv_noa",
        "contactPhoneNumber": NOA, "from_me": false, "timestamp": at, "type": "text", "text": {"body": text},
    }]})
}

const ALL_CRMS: [&str; 5] = ["hub", "pipe", "zoho", "sheet", "own"];

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_in_every_crm_once_whoever_wrote_it() {
    let world = world(&[CRMS]).await;
    write(&world, NOA, "Hello, is my order ready?");
    world.deliver(world.erp("erp-1", "ready", "1001", ADI)).await;
    world.stack.ezw().answer_as_team(NOA, "Yes, come by!", "line_story").unwrap();
    settled(&world).await;
    assert_eq!(world.messages().len(), 3);
    assert_each_once(&world, &ALL_CRMS);
    // Each delivery once more, as EZWhatsApp may do.
    let at = world.now().as_second();
    let id = world.messages()[0].provider_id.clone();
    for delivery in ["again-1", "again-2", "again-2"] {
        world.deliver(event(delivery, "messages.post", &message(&id, "Hello, is my order ready?", at))).await;
    }
    settled(&world).await;
    assert_each_once(&world, &ALL_CRMS);
    let crms = world.stack.crms();
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!(crms.people(crm).len(), 2, "{crm}");
    }
    assert_eq!(crms.owners_set(), 0);
    // As much of the text as each is told.
    let texts = |crm: &str| crms.entries(crm).into_iter().map(|entry| entry.text).collect::<String>();
    assert!(texts("hub").contains("is my order ready?") && texts("pipe").contains("is my order ready?"));
    assert!(!texts("own").contains("is my order ready?"));
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_followed_to_the_phone_whatever_its_id_there_is() {
    for own_ids in [false, true] {
        let world = world(&[]).await;
        world.stack.ezw().change(|settings| settings.own_provider_ids = own_ids).unwrap();
        world.deliver(world.erp("erp-1", "ready", "1001", NOA)).await;
        settled(&world).await;
        let row = world.rows()["order:1001:ready"].clone();
        assert_eq!(
            (row["state"].as_str(), row["reached"].as_str()),
            (Some("accepted"), Some("delivered")),
            "{own_ids}"
        );
        assert_eq!(row["message_id"].as_str(), Some(world.messages()[0].provider_id.as_str()));
        world.stack.ezw().read(NOA).unwrap();
        settled(&world).await;
        assert_eq!(world.rows()["order:1001:ready"]["reached"], "read", "{own_ids}");
        let logs: String = world.stack.logs("conversation-sync").into_iter().map(|line| line.text).collect();
        assert_eq!(logs.matches("\"delivery_seconds\":").count(), 1, "measured once");
        let record = world
            .items("Ledger")
            .into_iter()
            .find(|row| row["subject"].as_str().is_some_and(|s| s.starts_with("message:")))
            .unwrap();
        assert!(record["record"].as_str().unwrap().contains(&format!("\"weak\":{own_ids}")), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_answer_was_lost_is_known_once_the_line_was_seen_saying_it() {
    let world = world(&[]).await;
    let ezw = world.stack.ezw();
    ezw.fail_next(1, Fault::DropAfterAccept);
    assert_eq!(world.post(world.erp("erp-1", "ready", "1001", NOA)).await, 200);
    settled(&world).await;
    let row = world.rows()["order:1001:ready"].clone();
    assert_eq!((row["state"].as_str(), row["reached"].as_str()), (Some("accepted"), Some("delivered")), "{row}");
    assert!(row.get("due_at").is_none(), "nobody tries again");
    world.pass(SignedDuration::from_mins(5));
    world.tick().await;
    assert_eq!((ezw.messages().len(), ezw.counters().replays), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_could_not_be_delivered_calls_the_team_with_what_it_was_about() {
    let world = world(&[TEAM]).await;
    let ezw = world.stack.ezw();
    ezw.set_silent(NOA, true).unwrap();
    world.deliver(world.erp("erp-1", "ready", "1001", NOA)).await;
    settled(&world).await;
    ezw.report_status(&ezw.messages()[0].id, "failed").unwrap();
    ezw.report_status(&ezw.messages()[0].id, "failed").unwrap();
    settled(&world).await;
    let row = world.rows()["order:1001:ready"].clone();
    assert_eq!((row["failed"].as_bool(), row["reached"].as_str()), (Some(true), None), "{row}");
    let told = notices(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("order:1001:ready") && told[0].1.contains(NOA), "{told:?}");
    let logs: String = world.stack.logs("conversation-sync").into_iter().map(|line| line.text).collect();
    assert_eq!(logs.matches("\"messages_failed\":").count(), 1);
    // It did arrive after all: that is written down as what it is.
    ezw.report_status(&ezw.messages()[0].id, "delivered").unwrap();
    settled(&world).await;
    assert_eq!(world.rows()["order:1001:ready"]["reached"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_message_calls_everybody_once_in_its_window_and_is_answered_once() {
    let world = world(&[TEAM]).await;
    world.deliver(world.erp("erp-1", "ready", "1001", NOA)).await;
    write(&world, NOA, "It's URGENT, please call me");
    write(&world, NOA, "urgent!!");
    settled(&world).await;
    assert_eq!(targets(&world), ["desk", "mail", "slack", "teams", "topic"]);
    let (_, text) = notices(&world).into_iter().find(|(target, _)| target == "slack").unwrap();
    assert!(
        text.contains("please call me") && text.contains("order:1001:ready") && text.contains("Amit Peretz"),
        "{text}"
    );
    let answers = world.texts(NOA).into_iter().filter(|text| text.starts_with("Thanks, Amit")).count();
    assert_eq!(answers, 1);
    let key = world.messages().into_iter().find(|message| message.body.starts_with("Thanks")).unwrap().key.unwrap();
    assert!(key.starts_with("webhook-reply:"), "{key}");
    assert_eq!(world.stack.ezw().most_per_key(), 1);
    // The same message in another delivery is no other message.
    let first = world.messages().into_iter().find(|message| message.body.contains("URGENT")).unwrap();
    let mut again = message(&first.provider_id, &first.body, first.queued_at / 1000);
    again["messages"][0]["conversationId"] = json!(first.conversation_id);
    world.deliver(event("another", "messages.post", &again)).await;
    settled(&world).await;
    assert_eq!(
        (targets(&world).len(), world.texts(NOA).iter().filter(|text| text.starts_with("Thanks")).count()),
        (5, 1)
    );
    // Not urgent, and another conversation.
    write(&world, NOA, "thank you");
    write(&world, ADI, "זה דחוף");
    settled(&world).await;
    assert_eq!(targets(&world).len(), 10);
    assert!(world.texts(ADI).iter().any(|text| text.starts_with("תודה")), "{:?}", world.texts(ADI));
    // What the line says itself calls nobody.
    world.stack.ezw().answer_as_team(NOA, "This is not urgent", "line_story").unwrap();
    settled(&world).await;
    assert_eq!(targets(&world).len(), 10);
    // The window is over, by the clocks of all of them.
    world.pass(SignedDuration::from_hours(4));
    world.stack.ezw().change(|settings| settings.clock_offset_ms = 4 * 3_600_000).unwrap();
    write(&world, NOA, "urgent again");
    settled(&world).await;
    assert_eq!(targets(&world).iter().filter(|target| *target == "slack").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_answer_is_called_for_unless_the_team_answers() {
    let world = world(&[TEAM]).await;
    write(&world, NOA, "Anybody there?");
    write(&world, ADI, "Hello?");
    settled(&world).await;
    world.pass(SignedDuration::from_mins(5));
    world.stack.ezw().answer_as_team(ADI, "Hello Adi!", "line_story").unwrap();
    // Ours is no answer.
    world.deliver(world.erp("erp-1", "ready", "1001", NOA)).await;
    settled(&world).await;
    world.pass(SignedDuration::from_mins(2));
    world.tick_conversations().await;
    assert_eq!(notices(&world).len(), 0);
    world.pass(SignedDuration::from_mins(10));
    world.tick_conversations().await;
    let told = notices(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains(NOA) && told[0].1.contains("Anybody there?"), "{told:?}");
    world.pass(SignedDuration::from_hours(1));
    world.tick_conversations().await;
    assert_eq!(notices(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_about_an_order_that_was_cancelled_is_called_for() {
    let world = world(&[TEAM]).await;
    let order = world.order(1001, NOA);
    world.deliver(world.shopify("orders/paid", "d-1", &order)).await;
    write(&world, NOA, "When does it come?");
    settled(&world).await;
    assert_eq!(notices(&world).len(), 0);
    let mut cancelled = order;
    cancelled["cancelled_at"] = json!(world.now().to_string());
    cancelled["updated_at"] = json!((world.now() + SignedDuration::from_secs(1)).to_string());
    world.deliver(world.shopify("orders/cancelled", "d-2", &cancelled)).await;
    write(&world, NOA, "What happened?");
    settled(&world).await;
    let told = notices(&world);
    assert_eq!(told.len(), 1, "{told:?} {:?}", world.texts(NOA));
    assert!(told[0].1.contains("cancelled"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_is_down_for_a_day_delays_and_loses_nothing() {
    let world = world(&[CRMS]).await;
    let peers = world.stack.peers();
    for peer in [Peer::HubSpotCrm, Peer::Sheets] {
        peers.fail_next(peer, Trouble::Status(503), 100_000);
    }
    for number in 0..12 {
        write(&world, if number % 2 == 0 { NOA } else { ADI }, &format!("message {number}"));
    }
    settled(&world).await;
    assert_each_once(&world, &["pipe", "zoho", "own"]);
    assert!(entries(&world, "hub").is_empty() && entries(&world, "sheet").is_empty());
    // A day of minutes would be long: a few looks of it.
    peers.reset_requests();
    for _ in 0..6 {
        world.pass(SignedDuration::from_hours(4));
        world.tick_conversations().await;
    }
    assert!(peers.requests(Peer::HubSpotCrm) <= 6 * 8, "left alone while it is down");
    assert!(entries(&world, "hub").is_empty());
    peers.heal();
    for _ in 0..3 {
        world.pass(SignedDuration::from_hours(1));
        world.tick_conversations().await;
    }
    assert_each_once(&world, &ALL_CRMS);
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_refused_waits_for_the_right_one_and_says_so() {
    let world = world(&[CRMS]).await;
    world.stack.peers().fail_next(Peer::HubSpotCrm, Trouble::Status(401), 1);
    write(&world, NOA, "Hello");
    settled(&world).await;
    assert_each_once(&world, &["pipe", "zoho", "sheet", "own"]);
    assert!(entries(&world, "hub").is_empty());
    let logs: String = world.stack.logs("conversation-sync").into_iter().map(|line| line.text).collect();
    assert!(logs.contains("\"crm_unauthorized\":") && logs.contains("store a valid one in tellonce/story/crms/hub"));
    world.pass(SignedDuration::from_mins(10));
    world.tick_conversations().await;
    assert_each_once(&world, &ALL_CRMS);
    // One that was replaced is fetched at once.
    world.stack.secrets().rotate("tellonce/story/crms/hub", "pat-eu1-story-2");
    write(&world, NOA, "Hello again");
    settled(&world).await;
    world.pass(SignedDuration::from_mins(1));
    world.tick_conversations().await;
    assert_each_once(&world, &ALL_CRMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crm_refuses_is_tried_again_when_somebody_says_so() {
    let world = world(&[CRMS]).await;
    world.stack.peers().fail_next(Peer::HubSpotCrm, Trouble::Status(400), 100);
    write(&world, NOA, "Hello");
    settled(&world).await;
    for _ in 0..3 {
        world.pass(SignedDuration::from_mins(30));
        world.tick_conversations().await;
    }
    world.stack.peers().heal();
    // Nobody tries it again by himself: it would be refused again.
    let states = || tasks(&world).into_iter().filter(|(queue, _)| queue == "crm:hub").map(|(_, state)| state);
    assert_eq!(states().collect::<Vec<_>>(), ["refused"]);
    let retry = |queue: &str| json!({ "retry": queue });
    let wished = world.stack.invoke("conversation-sync", &retry("crm:hub")).await.unwrap();
    assert_eq!(wished, json!({"retried": 1, "more": false}));
    let unknown = world.stack.invoke("conversation-sync", &retry("crm:none")).await.unwrap_err();
    assert!(format!("{unknown:#}").contains("crm:hub"), "{unknown:#}");
    world.pass(SignedDuration::from_mins(1));
    world.tick_conversations().await;
    assert_each_once(&world, &ALL_CRMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_to_be_left_alone_hears_no_greeting_until_the_agency_takes_it_back() {
    let form = r#"
[opt_out]
en = ["stop", "no more messages"]
[forms.site]
kind = "web"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
line = "main"
book = "main"
consent = { stated = "By sending this you agree to hear from us on WhatsApp." }
first_touch.useful_for = "12h"
first_touch.text = { en = "Thanks for writing.", he = "תודה." }
"#;
    let tail = [form, TEAM].concat();
    let mut secrets = secrets();
    secrets.push(("webhooks/site", "story-site-token-0123456789".to_owned()));
    let world = World::start_with(Setup { tail: tail.leak(), events: true, secrets, ..Setup::default() }).await;
    let lead = |id: &str| Post {
        path: "/leads/site".into(),
        headers: vec![
            ("Content-Type".into(), "application/json".into()),
            ("X-Webhook-Token".into(), "story-site-token-0123456789".into()),
        ],
        body: json!({"leadId": id, "name": "Noa", "phone": NOA}).to_string().into_bytes(),
    };
    write(&world, NOA, "please don't stop");
    settled(&world).await;
    write(&world, NOA, " Stop! ");
    settled(&world).await;
    world.deliver(lead("l1")).await;
    // An order is what they asked for.
    world.deliver(world.erp("erp-1", "ready", "1001", NOA)).await;
    settled(&world).await;
    let heard: Vec<String> =
        world.messages().into_iter().filter(|m| m.direction == Direction::ToCustomer).map(|m| m.body).collect();
    assert_eq!(heard, ["Amit, order 1001: ready."]);
    let undo = |phone: &str| json!({ "opt_in": phone });
    let function = "conversation-sync";
    assert_eq!(world.stack.invoke(function, &undo(NOA)).await.unwrap(), json!({"changed": true}));
    assert_eq!(world.stack.invoke(function, &undo(NOA)).await.unwrap(), json!({"changed": false}));
    // The old wish comes once more, and is old.
    let stop = world.messages().into_iter().find(|m| m.body == " Stop! ").unwrap();
    let at = stop.queued_at / 1000 - 1;
    world.deliver(event("late", "messages.post", &message(&stop.provider_id, " Stop! ", at))).await;
    world.pass(SignedDuration::from_hours(24 * 8));
    world.deliver(lead("l2")).await;
    assert!(world.texts(NOA).contains(&"תודה.".to_owned()), "{:?}", world.texts(NOA));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_believed_at_their_address_kept_once_and_never_lost_for_being_odd() {
    let world = world(&[CRMS]).await;
    let at = world.now().as_second();
    let right = || event("d-1", "messages.post", &message("m1", "Hello", at));
    assert_eq!(world.post(Post { path: "/lines/main/a-guess".into(), ..right() }).await, 404);
    for missing in ["X-EZW-Delivery-Id", "X-EZW-Webhook-Event", "X-EZW-Line-Id"] {
        assert_eq!(world.post(right().with(missing, None)).await, 400, "{missing}");
    }
    assert_eq!(world.post(right().with("X-EZW-Line-Id", Some("line_other"))).await, 403);
    for _ in 0..3 {
        world.deliver(right()).await;
    }
    assert_eq!(world.items("LineInbox").len(), 1);
    assert_eq!(entries(&world, "sheet"), [("main:m1".to_owned(), 1)].into());
    for (delivery, kind, body, outcome) in [
        ("odd-1", "messages.post", json!("hello"), Some("quarantined")),
        ("odd-2", "messages.post", json!({"event": "statuses.post", "statuses": []}), Some("quarantined")),
        ("odd-3", "messages.post", json!({"event": "messages.post", "messages": [{}, 7]}), Some("quarantined")),
        ("new-1", "calls.post", json!({"event": "calls.post"}), Some("left out: an event of a kind")),
        ("chat-1", "chats.post", json!({"event": "chats.post", "chats": [{"id": "c1"}]}), Some("left out: a chat's")),
        (
            "whapi-1",
            "statuses.post",
            json!({"event": {"type": "statuses", "event": "post"}, "statuses": [{"id": "m9", "status": "read", "timestamp": at.to_string()}]}),
            None,
        ),
    ] {
        world.deliver(event(delivery, kind, &body)).await;
        let recorded = world.outcome(&format!("main#{delivery}"));
        assert_eq!(recorded.is_some(), outcome.is_some(), "{delivery}: {recorded:?}");
        assert!(outcome.is_none_or(|begins| recorded.unwrap().starts_with(begins)), "{delivery}");
    }
    assert!(world.stack.failures().is_empty());
}

/// Deliveries of the storm, and how many of them come again.
const DELIVERIES: usize = 5_000;
const AGAIN: usize = 2_000;
const CONVERSATIONS: usize = 150;

/// The tasks of the table, as (queue, state).
fn tasks(world: &World) -> Vec<(String, String)> {
    let task = |row: Value| {
        let record: Value = serde_json::from_str(row["record"].as_str()?).ok()?;
        Some((record["queue"].as_str()?.to_owned(), record["state"].as_str()?.to_owned()))
    };
    world.items("Ledger").into_iter().filter_map(task).collect()
}

#[expect(clippy::too_many_lines, reason = "one story, told from its first delivery to its figures")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_events_through_failing_crms_and_two_kills_make_each_entry_and_each_notice_once() {
    const URGENT: &str = r#"
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
    let world = world(&[CRMS, URGENT]).await;
    let now = world.now().as_second();

    // Messages of some people and of the team, statuses of the team's, and chats' summaries.
    let (mut posts, mut messages, mut urgent) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut people = BTreeSet::new();
    for number in 0..(DELIVERIES - AGAIN) {
        let person = number % CONVERSATIONS;
        let (id, delivery) = (format!("wamid_{number}"), format!("dlv-{number}"));
        posts.push(match number % 10 {
            7 => {
                let status = ["sent", "delivered", "read"][number / 10 % 3];
                let of = format!("wamid_{}", number - 2);
                event(
                    &delivery,
                    "statuses.post",
                    &json!({"event": "statuses.post", "statuses": [{"id": of, "status": status, "timestamp": now}]}),
                )
            }
            8 => event(
                &delivery,
                "chats.post",
                &json!({"event": "chats.post", "chats": [{"id": "c", "last_message": {"id": id}}]}),
            ),
            kind => {
                let calls = random.random_bool(0.1);
                let mut body = message(
                    &id,
                    if calls && kind != 5 { "this is urgent" } else { "hello" },
                    now - i64::try_from(number % 900).unwrap(),
                );
                let item = &mut body["messages"][0];
                item["conversationId"] = json!(format!("conv_{person}"));
                item["contactPhoneNumber"] = json!(format!("+97254555{:04}", 1000 + person));
                // The team's own words call nobody.
                item["from_me"] = json!(kind == 5);
                if calls && kind != 5 {
                    urgent.insert(person);
                }
                messages.insert(format!("main:{id}"), 1);
                people.insert(person);
                event(&delivery, "messages.post", &body)
            }
        });
    }
    for _ in 0..AGAIN {
        posts.push(posts[random.random_range(0..DELIVERIES - AGAIN)].clone());
    }
    posts.shuffle(&mut random);

    let peers = world.stack.peers();
    let of_crms = [Peer::HubSpotCrm, Peer::Pipedrive, Peer::Zoho, Peer::Sheets, Peer::CrmWebhook];
    for peer in of_crms {
        peers.fail_share(peer, 0.2, random.random());
    }
    let (begun, mut killed) = (Instant::now(), 0);
    for (part, chunk) in posts.chunks(DELIVERIES / 5).enumerate() {
        let answers = futures::stream::iter(chunk.iter().cloned().map(|post| world.post(post)));
        let answers: Vec<u16> = answers.buffer_unordered(8).collect().await;
        assert!(answers.iter().all(|status| *status == 200));
        if part == 1 || part == 3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            killed += world.stack.kill("conversation-sync").await;
        }
    }
    let accepted = begun.elapsed();
    world.stack.drain_within(Duration::from_mins(10)).await.unwrap();
    let read = begun.elapsed();
    println!("accepted in {accepted:.1?}, read in {read:.1?}");

    // Then time passes until nothing waits any more.
    let mut ticks = 0;
    loop {
        let mut waiting = BTreeMap::new();
        for (queue, state) in tasks(&world) {
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
        world.pass(SignedDuration::from_mins(5));
        world.tick_conversations().await;
    }
    for crm in ALL_CRMS {
        let there = entries(&world, crm);
        let wrong: Vec<_> = messages.keys().filter(|id| there.get(*id) != Some(&1)).take(5).collect();
        assert!(there == messages, "{crm}: {} of {}, such as {wrong:?}", there.len(), messages.len());
    }
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!(world.stack.crms().people(crm).len(), people.len(), "{crm} has each person once");
    }
    assert_eq!(notices(&world).len(), urgent.len(), "each conversation called once");
    assert!(tasks(&world).iter().all(|(_, state)| state == "done"));
    assert!(world.stack.failures().is_empty() && world.stack.crms().owners_set() == 0);

    let calls: Vec<String> = of_crms
        .iter()
        .map(|peer| {
            let answers = peers.answers(*peer);
            let failed: u64 = answers.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, n)| n).sum();
            format!("{peer:?} {} calls, {failed} failed", peers.requests(*peer))
        })
        .collect();
    println!(
        "{DELIVERIES} deliveries ({AGAIN} again), {} messages, {} entries in {} CRMs, {} notices, {killed} functions killed; \
         accepted in {accepted:.1?}, read in {read:.1?}, all told in {:.1?} and {ticks} ticks; {}",
        messages.len(),
        messages.len() * ALL_CRMS.len(),
        ALL_CRMS.len(),
        urgent.len(),
        begun.elapsed(),
        calls.join("; ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_conversation_shows_in_a_log_a_metric_or_a_reason() {
    let tail = [CRMS, TEAM, "[opt_out]\nen = [\"stop\"]\n"].concat();
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let setup = Setup { tail: tail.leak(), events: true, secrets: secrets(), env, ..Setup::default() };
    let world = World::start_with(setup).await;
    world.deliver(world.erp("erp-1", "ready", "1001", NOA)).await;
    let peers = world.stack.peers();
    let crms = [Peer::HubSpotCrm, Peer::Pipedrive, Peer::Zoho, Peer::Sheets, Peer::CrmWebhook];
    let team = [Peer::Slack, Peer::Teams, Peer::Ses, Peer::Sns, Peer::TargetWebhook];
    for peer in crms.into_iter().chain(team) {
        for trouble in [Trouble::Status(400), Trouble::Status(401), Trouble::Half, Trouble::DroppedAfter] {
            peers.fail_next(peer, trouble, 1);
        }
    }
    for text in ["urgent, call Noa Levi at 052-555-0101", "stop"] {
        write(&world, NOA, text);
        settled(&world).await;
    }
    let mut odd = message("wamid_972545550199", "Levi is urgent", world.now().as_second());
    odd["messages"][0]["contactPhoneNumber"] = json!("Noa 0525550101");
    world.deliver(event("odd", "messages.post", &odd)).await;
    for _ in 0..6 {
        world.pass(SignedDuration::from_mins(12));
        world.tick_conversations().await;
    }
    let lines = ["webhook-receiver", "conversation-sync", "order-notifier"].map(|name| world.stack.logs(name));
    let lines: Vec<String> = lines.into_iter().flatten().map(|line| line.text).collect();
    assert!(lines.iter().any(|line| line.contains("task was tried")), "{lines:?}");
    let reasons = world.items("Ledger").into_iter().filter_map(|row| {
        let record: Value = serde_json::from_str(row["record"].as_str()?).ok()?;
        record["reason"].as_str().map(str::to_owned)
    });
    let outcomes = world.items("LineInbox").into_iter().filter_map(|item| item["outcome"].as_str().map(str::to_owned));
    let secrets = secrets();
    let mut private = vec!["545550199", "525550101", "52-555-0101", "Noa", "Levi", "Amit", "Peretz", "call "];
    private.extend(["PRIVATE KEY", "1000.story.refresh", "story-zoho", "sig=story", "storystorystory", LINE_PATH]);
    private.extend(secrets.iter().map(|(_, value)| value.as_str()).filter(|value| value.len() < 60));
    for line in lines.iter().cloned().chain(reasons).chain(outcomes) {
        for word in &private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
