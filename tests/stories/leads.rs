//! Leads, from a form to the first touch on the lead's phone.
//!
//! Long because every way of a lead is a story of its own.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_fakes::{
    provider::{HealthPreset, SendFault},
    services::{FakeFault, FakeService},
};
use tellonce_samples::WebhookPost;

use crate::{
    lead_endpoint::{self as endpoint, recorded_body},
    world::{World, WorldSetup},
};

const NOA_PHONE: &str = "+972545550199";
const ADI_PHONE: &str = "+972525550101";
const SITE_TOKEN: &str = "story-site-token-0123456789";

/// Two forms of one website. A story replaces `RULES` and `LANDING` with its own settings.
const FORMS_TOML: &str = r#"
[forms.site]
kind = "web"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
line = "main"
id_scope = "main"
consent = { field = "consent" }
burst = { leads = 1000, within = "1h" }
RULES
first_touch.useful_for = "12h"
first_touch.text = { en = "{% if first_name %}{{ first_name }}, {% endif %}thanks for writing to {{ business_name }}.", he = "תודה שפנית אל {{ business_name }}." }

[forms.landing]
kind = "web"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
line = "main"
id_scope = "landing"
language = "en"
consent = { stated = "By sending this you agree to hear from us on WhatsApp." }
burst = { leads = 3, within = "1h" }
LANDING
first_touch.useful_for = "12h"
first_touch.text = { en = "Landed.", he = "נחתת." }
"#;

pub(crate) async fn start_world(rules: &str, setup: WorldSetup) -> World {
    start_world_with_landing(rules, "", setup).await
}

async fn start_world_with_landing(rules: &str, landing: &str, setup: WorldSetup) -> World {
    let tail = FORMS_TOML.replace("RULES", rules).replace("LANDING", landing);
    let world = World::start_with(WorldSetup { extra_toml: tail.leak(), ..setup }).await;
    for form in ["site", "landing"] {
        world.stack.secrets().rotate(&format!("tellonce/story/webhooks/{form}"), SITE_TOKEN);
    }
    world
}

/// A submission with consent.
pub(crate) fn lead_post(form: &str, id: &str, phone: &str) -> WebhookPost {
    submission_post(form, &json!({ "leadId": id, "name": "Noa Levi", "phone": phone, "consent": true, "lang": "en" }))
}

fn submission_post(form: &str, body: &Value) -> WebhookPost {
    WebhookPost {
        path: format!("/leads/{form}"),
        headers: vec![
            ("Content-Type".into(), "application/json".into()),
            ("X-Webhook-Token".into(), SITE_TOKEN.into()),
        ],
        body: body.to_string().into_bytes(),
    }
}

/// The key of a lead whose id came from a field: it ends in a pseudonym of the number.
fn lead_key(world: &World, id: &str) -> String {
    let start = format!("lead:{id}-");
    world.message_rows().into_keys().find(|key| key.starts_with(&start)).unwrap_or_else(|| format!("{start}absent"))
}

fn lead_row(world: &World, id: &str) -> Value {
    world.message_rows().remove(&lead_key(world, id)).unwrap()
}

fn lead_state(world: &World, id: &str) -> String {
    world.message_state(&lead_key(world, id))
}

/// The codes of all recorded outcomes, sorted. Leads without an outcome are not included.
fn lead_outcomes(world: &World) -> Vec<String> {
    lead_attributes(world, "outcome")
}

/// The explanations of all recorded outcomes, sorted.
fn lead_outcome_texts(world: &World) -> Vec<String> {
    lead_attributes(world, "outcome_text")
}

fn lead_attributes(world: &World, name: &str) -> Vec<String> {
    let items = world.table_items("LeadInbox");
    let mut values: Vec<String> = items.iter().filter_map(|item| item[name].as_str().map(str::to_owned)).collect();
    values.sort();
    values
}

fn count_logged(world: &World, needle: &str) -> usize {
    world.stack.log_lines("lead-first-touch").iter().filter(|line| line.text.contains(needle)).count()
}

async fn record_opt_out(world: &World, phone: &str) {
    world.stack.invoke("conversation-sync", &json!({ "opt_out": phone })).await.unwrap();
}

#[tokio::test]
async fn a_lead_is_greeted_once_and_its_consent_is_recorded() {
    let world = start_world("", WorldSetup::default()).await;
    world.deliver(lead_post("site", "abc", NOA_PHONE)).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), ["Noa, thanks for writing to Story Shop."]);
    let row = lead_row(&world, "abc");
    assert_eq!((row["state"].as_str(), row["consent"].as_str()), (Some("accepted"), Some("field consent")));
    let consented_at = jiff::Timestamp::from_millisecond(row["consent_at"].as_i64().unwrap()).unwrap();
    assert!(consented_at.to_string().starts_with("20"), "{row}");
    assert_eq!(count_logged(&world, "\"first_touch_seconds\":"), 1, "the time to the first touch is measured");

    // The sender's retry, minutes later.
    world.advance_time(SignedDuration::from_mins(3));
    world.deliver(lead_post("site", "abc", NOA_PHONE)).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    assert_eq!(lead_outcomes(&world), ["already-known"]);
    assert_eq!(lead_outcome_texts(&world), [format!("{} is accepted in the ledger", lead_key(&world, "abc"))]);
    assert_eq!(world.stack.provider().counters().wakeups, 0);
}

#[tokio::test]
async fn the_same_person_is_greeted_again_on_any_form_only_after_the_window() {
    let world = start_world("repeat = { within = \"7d\", then = \"escalate\" }", WorldSetup::default()).await;
    world.deliver(lead_post("landing", "1", NOA_PHONE)).await;
    world.advance_time(SignedDuration::from_hours(24));
    world.deliver(lead_post("site", "2", "054-555-0199")).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), ["Landed."]);
    assert_eq!(lead_state(&world, "2"), "suppressed");
    let reason = lead_row(&world, "2")["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("already-greeted") && reason.contains("lead:landing..1-"), "{reason}");
    assert_eq!(lead_outcomes(&world), ["already-greeted"]);
    assert_eq!(
        lead_outcome_texts(&world),
        [format!("the number was greeted before; row {} names the earlier lead", lead_key(&world, "2"))]
    );
    assert_eq!(count_logged(&world, "\"reason\":\"lead-escalated\""), 1, "the team is alerted");
    world.advance_time(SignedDuration::from_hours(6 * 24));
    world.deliver(lead_post("site", "3", NOA_PHONE)).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 2);
}

#[tokio::test]
async fn forms_that_greet_independently_respect_the_limit_per_phone() {
    let each = "repeat = { within = \"7d\", across = \"form\" }\nper_phone = { leads = 1, within = \"1d\" }";
    let world = start_world_with_landing(each, "repeat = { across = \"form\" }", WorldSetup::default()).await;
    world.deliver(lead_post("site", "1", NOA_PHONE)).await;
    world.deliver(lead_post("landing", "2", NOA_PHONE)).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 2, "the other form has its own limit of three a day");
    world.advance_time(SignedDuration::from_hours(7 * 24));
    world.deliver(lead_post("landing", "3", NOA_PHONE)).await;
    world.deliver(lead_post("site", "4", NOA_PHONE)).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 3);
    assert_eq!(lead_outcomes(&world)[0], "too-often");
}

#[tokio::test]
async fn two_hundred_submissions_of_one_number_at_once_are_one_message() {
    let world = start_world("", WorldSetup::default()).await;
    let posts = (0..200).map(|number| {
        let (form, phone) = [("site", NOA_PHONE), ("site", "0545550199"), ("site", "+972 54-555-0199")][number % 3];
        world.post_until_stored(lead_post(form, &format!("l{number}"), phone))
    });
    futures::future::join_all(posts).await;
    world.settle().await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    let rows = world.message_rows();
    let leads = |state: &str| {
        rows.values()
            .filter(|row| row["subject"].as_str().unwrap().starts_with("lead:") && row["state"] == state)
            .count()
    };
    assert_eq!((leads("accepted"), leads("suppressed")), (1, 199), "every other lead has a row with its reason");
}

#[tokio::test]
async fn two_hundred_copies_of_one_submission_at_once_are_one_delivery() {
    let world = start_world("", WorldSetup::default()).await;
    let body = json!({ "name": "Noa Levi", "phone": NOA_PHONE, "consent": "on" });
    let posts = (0..200).map(|_| world.post_until_stored(submission_post("site", &body)));
    futures::future::join_all(posts).await;
    world.settle().await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    // A new minute may have begun meanwhile.
    assert!(world.table_items("LeadInbox").len() <= 2, "{}", world.table_items("LeadInbox").len());
}

#[tokio::test]
async fn leads_that_may_not_be_greeted_record_a_reason() {
    let world = start_world("fields = { test = \"trial\" }", WorldSetup::default()).await;
    let body_with = |changes: Value| {
        let mut body = json!({ "name": "Noa Levi", "phone": NOA_PHONE, "consent": true });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    let cases = [
        (body_with(json!({ "consent": false })), "no-consent"),
        (body_with(json!({ "consent": null })), "no-consent"),
        (body_with(json!({ "consent": "call me maybe" })), "consent-unclear"),
        (body_with(json!({ "trial": "true" })), "test"),
        (body_with(json!({ "phone": "03-555-0199" })), "phone-unusable"),
        (body_with(json!({ "phone": "*2700" })), "phone-unusable"),
        (body_with(json!({ "phone": "+12025550123" })), "country-not-allowed"),
        (body_with(json!({ "phone": "" })), "no-phone"),
        (json!([body_with(json!({})), body_with(json!({}))]), "list"),
        (json!({ "leads": [body_with(json!({})), body_with(json!({}))] }), "list"),
        (json!("hello"), "not-understood"),
    ];
    for (body, code) in &cases {
        assert_eq!(world.post(submission_post("site", body)).await, 200, "any content is stored: {body}");
        world.settle().await;
        let all = lead_outcomes(&world);
        assert!(all.iter().any(|outcome| outcome == code), "{code}: {all:?}");
    }
    record_opt_out(&world, NOA_PHONE).await;
    world.deliver(lead_post("site", "9", NOA_PHONE)).await;
    assert!(lead_outcomes(&world).iter().any(|outcome| outcome == "opted-out"), "{:?}", lead_outcomes(&world));
    assert_eq!(world.messages().len(), 0);
    assert_eq!(lead_outcomes(&world).len(), world.table_items("LeadInbox").len(), "each delivery has a reason");
}

#[tokio::test]
async fn in_quiet_hours_a_lead_waits_until_morning_but_not_past_its_usefulness() {
    let setup = WorldSetup { quiet_hours: Some(("00:00", "23:59")), ..WorldSetup::default() };
    let world = start_world("", setup).await;
    // Neither now nor 13 hours later is the last minute of the day.
    world.leave_hours("Asia/Jerusalem", 10..11);
    world.leave_hours("Asia/Jerusalem", 23..24);
    world.deliver(lead_post("site", "1", NOA_PHONE)).await;
    assert_eq!((world.texts_on_phone(NOA_PHONE).len(), lead_state(&world, "1").as_str()), (0, "held"));
    world.deliver(lead_post("site", "2", NOA_PHONE)).await;
    assert_eq!(lead_state(&world, "2"), "suppressed", "one greeting is enough");
    world.advance_time(SignedDuration::from_hours(13));
    world.tick().await;
    assert_eq!((world.texts_on_phone(NOA_PHONE).len(), lead_state(&world, "1").as_str()), (0, "expired"));
    // A greeting that was never sent does not block the next one.
    world.deliver(lead_post("site", "3", NOA_PHONE)).await;
    assert_eq!(lead_state(&world, "3"), "held");
}

#[tokio::test]
async fn a_person_who_submits_again_is_greeted_although_the_first_greeting_would_expire_while_the_line_is_down() {
    let world = start_world("", WorldSetup::default()).await;
    let provider = world.stack.provider();
    provider.set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(lead_post("site", "1", NOA_PHONE)).await;
    world.advance_time(SignedDuration::from_hours(6));
    world.deliver(lead_post("site", "2", NOA_PHONE)).await;
    assert_eq!((lead_state(&world, "1"), lead_state(&world, "2")), ("superseded".into(), "held".into()));
    assert!(lead_row(&world, "1")["reason"].as_str().unwrap().contains("lead:2-"));
    // Twelve hours after the first submission its greeting would have expired.
    world.advance_time(SignedDuration::from_hours(7));
    provider.set_health(None, HealthPreset::Good).unwrap();
    world.tick().await;
    assert_eq!(lead_state(&world, "2"), "accepted");
    // A third submission is a repeat, because a greeting was sent.
    world.deliver(lead_post("site", "3", NOA_PHONE)).await;
    assert_eq!((lead_state(&world, "3").as_str(), world.texts_on_phone(NOA_PHONE).len()), ("suppressed", 1));
}

#[tokio::test]
async fn a_waiting_lead_is_greeted_unless_it_opts_out_meanwhile() {
    let world = start_world("", WorldSetup::default()).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(lead_post("site", "1", NOA_PHONE)).await;
    world.deliver(lead_post("site", "2", ADI_PHONE)).await;
    assert_eq!((lead_state(&world, "1"), lead_state(&world, "2")), ("held".into(), "held".into()));
    record_opt_out(&world, ADI_PHONE).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_hours(1));
    world.tick().await;
    assert_eq!((world.texts_on_phone(NOA_PHONE).len(), world.texts_on_phone(ADI_PHONE).len()), (1, 0));
    assert_eq!(lead_state(&world, "2"), "superseded");
    let waited = world
        .stack
        .log_lines("reminder-scheduler")
        .into_iter()
        .find(|line| line.text.contains("\"first_touch_seconds\":"));
    let waited: Value = serde_json::from_str(&waited.unwrap().text).unwrap();
    assert!(waited["first_touch_seconds"].as_f64().unwrap() >= 3600.0, "{waited}");
}

#[tokio::test]
async fn a_flood_of_leads_is_held_until_an_operator_reviews_it() {
    let world = start_world("", WorldSetup::default()).await;
    let phone = |number: usize| format!("+9725255501{number:02}");
    // The limit counts by the hour.
    world.begin_next(3600);
    for number in 0..10 {
        world.deliver(lead_post("landing", &number.to_string(), &phone(number))).await;
    }
    assert_eq!(world.messages().len(), 3, "the form's limit");
    let held_count =
        |world: &World| lead_outcomes(world).iter().filter(|outcome| *outcome == "held-for-review").count();
    assert_eq!(held_count(&world), 7);
    world.tick().await;
    let problem = world.read_gauge("reminder-scheduler", "open_problems").unwrap();
    assert!(problem["problems"][0].as_str().unwrap().starts_with("form landing: its leads are held"), "{problem}");
    // The form stays held without a flood.
    world.advance_time(SignedDuration::from_hours(5));
    world.deliver(lead_post("landing", "11", &phone(11))).await;
    assert_eq!((world.messages().len(), held_count(&world)), (3, 8));
    world.deliver(lead_post("site", "12", "+972525550399")).await;
    assert_eq!(world.messages().len(), 4, "another form is not held");

    let released = world.stack.invoke("lead-first-touch", &json!({ "release": "landing" })).await.unwrap();
    assert_eq!(released, json!({ "form": "landing", "released": 8, "dropped": 0, "more": false }));
    world.settle().await;
    assert_eq!((world.messages().len(), held_count(&world)), (12, 0), "{:?}", lead_outcomes(&world));
    world.deliver(lead_post("landing", "13", &phone(13))).await;
    assert_eq!(world.messages().len(), 13, "the form greets again and its count starts at zero");

    for number in 20..30 {
        world.deliver(lead_post("landing", &number.to_string(), &phone(number))).await;
    }
    let dropped = world.stack.invoke("lead-first-touch", &json!({ "drop": "landing" })).await.unwrap();
    assert_eq!((dropped["released"].clone(), dropped["dropped"].clone()), (json!(0), json!(8)));
    world.settle().await;
    assert_eq!((world.messages().len(), held_count(&world)), (15, 0));
    assert!(world.stack.invoke("lead-first-touch", &json!({ "release": "none" })).await.is_err());
}

#[tokio::test]
async fn a_slow_flood_of_leads_is_held_by_the_longer_window() {
    let sustained = "sustained = { leads = 5, within = \"24h\" }";
    let world = start_world_with_landing("", sustained, WorldSetup::default()).await;
    // The longer window is a day of UTC, and must not end within the story.
    world.leave_hours("UTC", 19..24);
    // Two an hour stay below `burst`, which allows three.
    for number in 0..8 {
        world.deliver(lead_post("landing", &format!("slow-{number}"), &format!("+97254555{:04}", 3000 + number))).await;
        if number % 2 == 1 {
            world.advance_time(SignedDuration::from_mins(61));
        }
    }
    assert_eq!(world.messages().len(), 5, "{:?}", lead_outcomes(&world));
    assert_eq!(lead_outcomes(&world), ["held-for-review"; 3]);
}

#[tokio::test]
async fn a_line_writes_to_few_new_people_a_day_and_still_to_those_it_knows() {
    let setup = WorldSetup { first_contacts_per_day: Some(3), line_events: true, ..WorldSetup::default() };
    let world = start_world("", setup).await;
    // The client's day must not end within the story.
    world.leave_hours("Asia/Jerusalem", 23..24);
    for number in 0..5 {
        world.deliver(lead_post("site", &format!("new-{number}"), &format!("+97254555{:04}", 4000 + number))).await;
    }
    assert_eq!(world.messages().len(), 3);
    assert_eq!(lead_state(&world, "new-4"), "held");
    assert!(lead_row(&world, "new-4")["reason"].as_str().unwrap().contains("`first_contacts_per_day`"));
    world.advance_time(SignedDuration::from_mins(20));
    world.tick().await;
    let problem = world.read_gauge("reminder-scheduler", "open_problems").unwrap();
    assert!(problem["problems"][0].as_str().unwrap().starts_with("line main: wrote to 3 new people"), "{problem}");
    for gauge in ["oldest_first_touch_seconds", "oldest_due_seconds"] {
        assert_eq!(world.read_gauge("reminder-scheduler", gauge), None, "{gauge}: the line is the problem");
    }
    // A stranger's order is held, too, and stops no other message.
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    assert_eq!(world.message_state("order:1001:ready"), "held");
    // Those who got a message before, or wrote themselves, are no strangers.
    world.deliver(world.erp_post("erp-2", "ready", "1002", "+972545554000")).await;
    let provider = world.stack.provider();
    provider.write_from_phone(ADI_PHONE, "hello", "line_story").unwrap();
    assert!(provider.wait_for(Duration::from_mins(1), |provider| provider.pending_deliveries() == 0).await);
    world.settle().await;
    world.deliver(world.erp_post("erp-3", "ready", "1003", ADI_PHONE)).await;
    assert_eq!(world.message_state("order:1002:ready"), "accepted");
    assert_eq!(world.message_state("order:1003:ready"), "accepted");
    // The next day has its own limit.
    world.advance_time(SignedDuration::from_hours(24));
    world.tick().await;
    assert_eq!(world.message_state("order:1001:ready"), "accepted");
}

#[tokio::test]
async fn a_visitor_who_invents_a_lead_id_does_not_take_the_place_of_another_lead() {
    let world = start_world("", WorldSetup::default()).await;
    world.deliver(lead_post("site", "1001", ADI_PHONE)).await;
    world.deliver(lead_post("site", "1001", NOA_PHONE)).await;
    assert_eq!((world.texts_on_phone(ADI_PHONE).len(), world.texts_on_phone(NOA_PHONE).len()), (1, 1));
    // The same submission posted again is still one lead.
    let again = submission_post("site", &json!({ "leadId": "1001", "phone": NOA_PHONE, "consent": true, "again": 1 }));
    world.deliver(again).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    assert_eq!(lead_outcomes(&world), ["already-known"]);
}

#[tokio::test]
async fn killed_functions_and_lost_responses_neither_lose_nor_repeat_a_greeting() {
    let world = start_world("", WorldSetup::default()).await;
    for number in 0..12 {
        assert_eq!(world.post(lead_post("site", &format!("k{number}"), &format!("+9725255502{number:02}"))).await, 200);
        match number {
            3 | 8 => drop(world.stack.kill_function("lead-first-touch").await),
            5 => world.stack.provider().fail_next(1, SendFault::DropAfterAccept),
            7 => world.stack.provider().fail_next(1, SendFault::ServerErrorAfterAccept),
            _ => {}
        }
    }
    world.settle().await;
    for _ in 0..6 {
        world.advance_time(SignedDuration::from_mins(10));
        world.tick().await;
    }
    for number in 0..12 {
        assert_eq!(
            world.texts_on_phone(&format!("+9725255502{number:02}")).len(),
            1,
            "{number}: {}",
            lead_state(&world, &format!("k{number}"))
        );
    }
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
}

#[tokio::test]
async fn a_greeting_of_a_new_person_costs_six_writes_and_one_read() {
    let world = start_world("", WorldSetup::default()).await;
    world.deliver(lead_post("site", "0", ADI_PHONE)).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    world.stack.provider().reset_counters();
    world.stack.secrets().reset_requests();
    assert_eq!(world.post(lead_post("site", "1", NOA_PHONE)).await, 200);
    let inbox = counters.operation_usage("PutItem", &world.table_name("LeadInbox"));
    assert_eq!((inbox.requests, inbox.units), (1, 1.0), "a new lead costs the receiver one write");
    world.settle().await;
    let used = counters.snapshot();
    let requests_of = |operation: &str, table: &str| {
        used.get(&(operation.to_owned(), world.table_name(table))).map_or(0, |usage| usage.requests)
    };
    let updates = "the form's count, the line's rate, and the count and record of a first contact";
    assert_eq!(requests_of("UpdateItem", "Ledger"), 4, "{updates}: {used:?}");
    assert_eq!(requests_of("PutItem", "Ledger"), 1, "the settlement: {used:?}");
    assert_eq!(requests_of("GetItem", "Ledger"), 1, "whether the person is new: {used:?}");
    assert_eq!(requests_of("Query", "Ledger"), 0, "{used:?}");
    let requests = world.stack.provider().counters().requests;
    assert_eq!(requests.values().sum::<u64>(), 1, "one send, no health request: {requests:?}");
    assert_eq!(world.stack.secrets().total_request_count(), 0);
}

/// A recorded body with its times moved to today.
pub(crate) fn recorded_body_of_today(world: &World, file: &str) -> Vec<u8> {
    let today = world.now().strftime("%Y-%m-%dT").to_string();
    let body = recorded_body(file);
    // The recorded multipart body is UTF-8 too.
    let text = String::from_utf8(body).unwrap();
    let now = world.now();
    text.replace("2026-11-19T", &today)
        .replace("1795082400", &now.as_second().to_string())
        .replace("1795079400000", &now.as_millisecond().to_string())
        .into_bytes()
}

pub(crate) fn meta_lead(world: &World, id: &str, phone: &str) -> tellonce_fakes::leads::FakeMetaLead {
    let field = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    tellonce_fakes::leads::FakeMetaLead {
        id: id.into(),
        form_id: "123123123000".into(),
        created_at: world.now(),
        fields: vec![field("full_name", "Shira Cohen"), field("phone_number", phone)],
        disclaimers: [("optional_1".to_owned(), true)].into(),
    }
}

#[tokio::test]
async fn a_lead_of_any_sender_is_greeted_at_its_number() {
    let world = start_world("", WorldSetup::default()).await;
    world.stack.leads().put_lead(meta_lead(&world, "444444444444000", ADI_PHONE)).unwrap();
    let hubspot_contact = tellonce_fakes::leads::FakeHubspotContact {
        id: "123".into(),
        created_at: world.now(),
        properties: [("firstname", "Dana"), ("lastname", "Katz"), ("phone", "054-555-0155")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    world.stack.leads().put_contact(hubspot_contact).unwrap();
    // The recordings share numbers, and a number is greeted once. So each sender gets its own
    // number.
    let body_with_phone = |file: &str, phone: &str| {
        let body = String::from_utf8(recorded_body_of_today(&world, file)).unwrap();
        [
            "+972545550199",
            "+972535550110",
            "+972505550101",
            "972545550199",
            "052-555-0101",
            "(054) 555-0199",
            "0545550199",
        ]
        .iter()
        .fold(body, |body, known| body.replace(known, phone))
        .into_bytes()
    };
    let posts = [
        (endpoint::typeform_post(body_with_phone("typeform/form_response.json", "+972545550141")), "+972545550141"),
        (
            endpoint::google_ads_post(body_with_phone("google_ads/lead_as_documented.json", "054-5550142")),
            "+972545550142",
        ),
        (endpoint::google_ads_post(body_with_phone("google_ads/lead.json", "0545550143")), "+972545550143"),
        (endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen.json")), ADI_PHONE),
        (
            endpoint::webflow_post(&world, body_with_phone("webflow/form_submission.json", "972545550144")),
            "+972545550144",
        ),
        (endpoint::tally_post(body_with_phone("tally/form_response.json", "+972 54 555 0145")), "+972545550145"),
        (
            endpoint::jotform_post(
                crate::world::JOTFORM_SECRET_PATH,
                body_with_phone("jotform/submission.multipart", "054 555 0146"),
            ),
            "+972545550146",
        ),
        (endpoint::elementor_post(body_with_phone("wordpress/elementor_simple.form", "0545550147")), "+972545550147"),
        (
            endpoint::website_post("application/json", body_with_phone("web/lead_json.json", "0545550148")),
            "+972545550148",
        ),
        (
            endpoint::hubspot_post(&world, recorded_body_of_today(&world, "hubspot/contact_creation.json")),
            "+972545550155",
        ),
    ];
    for (post, phone) in posts {
        let path = post.path.split('/').nth(2).unwrap().to_owned();
        world.deliver(post).await;
        assert_eq!(world.texts_on_phone(phone).len(), 1, "{path}: {:?}", lead_outcomes(&world));
    }
    assert_eq!(lead_outcomes(&world), Vec::<String>::new());
    assert_eq!(world.messages().len(), 10);
    assert!(world.texts_on_phone("+972545550155")[0].ends_with("Story Shop."));
}

#[tokio::test]
async fn leads_posted_as_ids_are_looked_up_until_found_and_greeted_once_each() {
    let world = start_world("", WorldSetup::default()).await;
    let (leads, fakes) = (world.stack.leads(), world.stack.fakes());
    leads.put_lead(meta_lead(&world, "444444444444001", NOA_PHONE)).unwrap();
    leads.put_lead(meta_lead(&world, "444444444444002", ADI_PHONE)).unwrap();
    let batch = || endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen_batch.json"));
    fakes.fail_next(FakeService::Graph, FakeFault::Status(500), 1);
    fakes.fail_next(FakeService::Graph, FakeFault::Status(429), 1);
    world.deliver(batch()).await;
    assert_eq!((lead_outcomes(&world)[0].as_str(), world.messages().len()), ("waiting-for-lookup", 0));
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(
        (world.texts_on_phone(NOA_PHONE).len(), world.texts_on_phone(ADI_PHONE).len()),
        (1, 1),
        "{:?}",
        lead_outcomes(&world)
    );
    assert!(fakes.request_count(FakeService::Graph) >= 4, "{:?}", fakes.replies_by_status(FakeService::Graph));
    // Meta posts the same leads in another batch, and later again after it deleted one of them.
    world.advance_time(SignedDuration::from_mins(7));
    world.deliver(batch()).await;
    leads.forget_lead("444444444444002").unwrap();
    world.advance_time(SignedDuration::from_mins(7));
    world.deliver(batch()).await;
    assert_eq!((world.texts_on_phone(NOA_PHONE).len(), world.texts_on_phone(ADI_PHONE).len()), (1, 1));
    assert!(
        lead_outcome_texts(&world).iter().any(|text| text.contains("lead-not-found")),
        "{:?}",
        lead_outcome_texts(&world)
    );

    // A lead of Meta's test tool holds dummy data.
    let dummy = |name: &str| (name.to_owned(), vec![format!("<test lead: dummy data for {name}>")]);
    let test_lead = tellonce_fakes::leads::FakeMetaLead {
        fields: vec![dummy("full_name"), dummy("phone_number")],
        ..meta_lead(&world, "444444444444000", NOA_PHONE)
    };
    leads.put_lead(test_lead).unwrap();
    world.deliver(endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen.json"))).await;
    assert!(lead_outcomes(&world).iter().any(|outcome| outcome == "test"), "{:?}", lead_outcomes(&world));
    assert_eq!(world.messages().len(), 2);
}

#[tokio::test]
async fn a_renewed_token_is_used_at_once_and_a_missing_one_is_reported() {
    let world = start_world("", WorldSetup::default()).await;
    world.stack.leads().put_lead(meta_lead(&world, "444444444444000", NOA_PHONE)).unwrap();
    world.stack.secrets().rotate("tellonce/story/forms/meta", "an-older-token");
    world.stack.leads().put_lead(meta_lead(&world, "444444444444001", ADI_PHONE)).unwrap();
    world.stack.leads().put_lead(meta_lead(&world, "444444444444002", "+972525550177")).unwrap();
    world.deliver(endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen.json"))).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    world.stack.secrets().rotate("tellonce/story/forms/meta", "a-newer-token");
    world.deliver(endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen_batch.json"))).await;
    assert_eq!(world.messages().len(), 3, "{:?}", lead_outcomes(&world));

    world.stack.secrets().remove("tellonce/story/forms/hubspot");
    world
        .deliver(endpoint::hubspot_post(&world, recorded_body_of_today(&world, "hubspot/contact_creation.json")))
        .await;
    assert_eq!(lead_outcomes(&world)[0], "waiting-for-lookup");
    assert!(
        lead_outcome_texts(&world)[0].contains("tellonce/story/apis (member `forms/hubspot`)"),
        "{:?}",
        lead_outcome_texts(&world)
    );
    let contact = tellonce_fakes::leads::FakeHubspotContact {
        id: "123".into(),
        created_at: world.now(),
        properties: [("firstname", "Dana"), ("phone", "054-555-0155")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
    };
    world.stack.leads().put_contact(contact).unwrap();
    world.stack.secrets().rotate("tellonce/story/forms/hubspot", crate::world::HUBSPOT_TOKEN);
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(
        world.texts_on_phone("+972545550155").len(),
        1,
        "a stored token repairs it: {:?}",
        lead_outcomes(&world)
    );
}

#[tokio::test]
async fn held_leads_of_a_flooding_batch_are_found_and_released() {
    let form_toml = "[forms.ads]\nkind = \"meta\"\nline = \"main\"\nid_scope = \"ads\"\nconsent = { field = \"optional_1\" }\n\
               burst = { leads = 1, within = \"1d\" }\nfirst_touch.useful_for = \"12h\"\n\
               first_touch.text = { en = \"Hello.\", he = \"שלום.\" }\n";
    let world = World::start_with(WorldSetup { extra_toml: form_toml, ..WorldSetup::default() }).await;
    world.stack.secrets().rotate("tellonce/story/webhooks/ads", crate::world::META_SECRET);
    world.stack.secrets().rotate("tellonce/story/forms/ads", crate::world::META_TOKEN);
    // The limit counts by the day of UTC, which must not end within the story.
    world.leave_hours("UTC", 23..24);
    world.stack.leads().put_lead(meta_lead(&world, "444444444444001", NOA_PHONE)).unwrap();
    world.stack.leads().put_lead(meta_lead(&world, "444444444444002", ADI_PHONE)).unwrap();
    let post = WebhookPost {
        path: "/leads/ads".into(),
        ..endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen_batch.json"))
    };
    // One of the leads waits for its lookup, and the other is greeted. After the replay the outcome
    // lists the held leads first.
    world.stack.fakes().fail_next(FakeService::Graph, FakeFault::Status(500), 1);
    world.deliver(post).await;
    assert_eq!((world.messages().len(), lead_outcomes(&world)[0].as_str()), (1, "waiting-for-lookup"));
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(world.messages().len(), 1);
    assert_eq!(lead_outcomes(&world)[0], "held-for-review");
    let done = world.stack.invoke("lead-first-touch", &json!({ "release": "ads" })).await.unwrap();
    assert_eq!(done["released"], 1);
    world.settle().await;
    assert_eq!(
        (world.texts_on_phone(NOA_PHONE).len(), world.texts_on_phone(ADI_PHONE).len()),
        (1, 1),
        "{:?}",
        lead_outcomes(&world)
    );
}

#[tokio::test]
async fn leads_behind_a_refused_token_are_greeted_when_it_works_and_block_no_other_lead() {
    let world = start_world("", WorldSetup::default()).await;
    world.stack.leads().put_lead(meta_lead(&world, "444444444444000", NOA_PHONE)).unwrap();
    world.stack.fakes().fail_next(FakeService::Graph, FakeFault::Status(401), 4);
    world.deliver(endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen.json"))).await;
    world.deliver(lead_post("site", "1", ADI_PHONE)).await;
    assert_eq!((world.texts_on_phone(NOA_PHONE).len(), world.texts_on_phone(ADI_PHONE).len()), (0, 1));
    assert_eq!(lead_outcomes(&world), ["waiting-for-lookup"]);
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(lead_outcomes(&world), ["waiting-for-lookup"]);
    assert_eq!(count_logged(&world, "\"reason\":\"quarantined\""), 0, "the gauge of what waits alerts");
    world.stack.fakes().heal();
    world.tick_after(SignedDuration::from_mins(2)).await;
    assert_eq!((world.texts_on_phone(NOA_PHONE).len(), lead_outcomes(&world)), (1, Vec::new()));
}

#[tokio::test]
async fn a_lead_that_needs_a_person_counts_once_however_often_another_of_its_delivery_is_looked_up() {
    let form_toml = "[forms.ads]\nkind = \"meta\"\nline = \"main\"\nid_scope = \"ads\"\nconsent = { field = \"optional_1\" }\n\
               repeat = { within = \"14d\", then = \"escalate\" }\nfirst_touch.useful_for = \"12h\"\n\
               first_touch.text = { en = \"Hello.\", he = \"שלום.\" }\n";
    let world = World::start_with(WorldSetup { extra_toml: form_toml, ..WorldSetup::default() }).await;
    world.stack.secrets().rotate("tellonce/story/webhooks/ads", crate::world::META_SECRET);
    world.stack.secrets().rotate("tellonce/story/forms/ads", crate::world::META_TOKEN);
    let put = |id: &str, consents: bool| {
        let mut lead = meta_lead(&world, id, NOA_PHONE);
        if !consents {
            lead.disclaimers.clear();
        }
        world.stack.leads().put_lead(lead).unwrap();
    };
    let post = |file: &str, ids: [&str; 2]| {
        let body = String::from_utf8(recorded_body_of_today(&world, file)).unwrap();
        let body = body.replace("444444444444001", ids[0]).replace("444444444444002", ids[1]);
        WebhookPost { path: "/leads/ads".into(), ..endpoint::meta_post(body.into_bytes()) }
    };
    put("444444444444000", true);
    world.deliver(post("meta/leadgen.json", ["", ""])).await;
    assert_eq!(world.messages().len(), 1);
    let cases = [
        (["444444444444001", "444444444444002"], true, "lead-escalated"),
        (["444444444444011", "444444444444012"], false, "quarantined"),
    ];
    for (ids, consents, reason) in cases {
        for id in ids {
            put(id, consents);
        }
        let fail_one = || world.stack.fakes().fail_next(FakeService::Graph, FakeFault::Status(500), 1);
        fail_one();
        world.deliver(post("meta/leadgen_batch.json", ids)).await;
        for minutes in [1, 2] {
            assert!(lead_outcomes(&world).contains(&"waiting-for-lookup".to_owned()), "{:?}", lead_outcomes(&world));
            fail_one();
            world.tick_after(SignedDuration::from_mins(minutes)).await;
        }
        world.stack.fakes().heal();
        world.tick_after(SignedDuration::from_mins(5)).await;
        assert!(!lead_outcomes(&world).contains(&"waiting-for-lookup".to_owned()));
        assert_eq!(count_logged(&world, &format!("\"reason\":\"{reason}\"")), 2, "{reason}: once for each lead");
    }
    assert_eq!(world.messages().len(), 1);
}

#[tokio::test]
async fn contacts_not_created_by_a_form_are_not_leads() {
    let world = start_world("", WorldSetup::default()).await;
    let events: Vec<Value> = ["IMPORT", "CRM_UI", "API", "INTEGRATION"]
        .iter()
        .zip(1..)
        .map(|(source, id)| {
            json!({ "eventId": id, "subscriptionId": 25, "portalId": 33, "appId": 1, "occurredAt": world.now().as_millisecond(),
                "subscriptionType": "contact.creation", "attemptNumber": 0, "objectId": id, "changeFlag": "CREATED",
                "changeSource": source })
        })
        .collect();
    world.deliver(endpoint::hubspot_post(&world, json!(events).to_string().into_bytes())).await;
    assert_eq!(lead_outcomes(&world)[0], "not-from-a-form");
    assert_eq!(world.stack.fakes().request_count(FakeService::HubSpot), 0, "no contact is looked up");
}

#[tokio::test]
async fn logs_reasons_and_outcomes_hold_no_lead_data() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = start_world("", WorldSetup { env, ..WorldSetup::default() }).await;
    world.stack.leads().put_lead(meta_lead(&world, "444444444444000", ADI_PHONE)).unwrap();
    world.stack.fakes().fail_next(FakeService::Graph, FakeFault::HalfBody, 1);
    for post in [
        endpoint::meta_post(recorded_body_of_today(&world, "meta/leadgen.json")),
        endpoint::google_ads_post(recorded_body_of_today(&world, "google_ads/lead.json")),
        endpoint::jotform_post(
            crate::world::JOTFORM_SECRET_PATH,
            recorded_body_of_today(&world, "jotform/submission.multipart"),
        ),
        lead_post("site", "1", NOA_PHONE),
        lead_post("site", "2", NOA_PHONE),
        submission_post("site", &json!({ "name": "Noa Levi", "phone": "call Noa 0545550199", "consent": true })),
        submission_post("site", &json!({ "name": "Noa Levi", "phone": NOA_PHONE, "consent": "Noa says 0545550199" })),
        submission_post("site", &json!("Noa Levi 0545550199")),
    ] {
        world.deliver(post).await;
    }
    world.tick_after(SignedDuration::from_mins(1)).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_hours(8 * 24));
    world.deliver(lead_post("site", "3", NOA_PHONE)).await;
    world.tick().await;
    let functions = ["webhook-receiver", "lead-first-touch", "reminder-scheduler"];
    let lines: Vec<String> =
        functions.iter().flat_map(|name| world.stack.log_lines(name)).map(|line| line.text).collect();
    assert!(lines.iter().filter(|line| line.contains(":first-touch as accepted")).count() == 2, "{lines:?}");
    let reasons = world.message_rows().into_values().filter_map(|row| row["reason"].as_str().map(str::to_owned));
    let private = [
        "545550199",
        "54-555-0199",
        "555-0199",
        "525550101",
        "Noa",
        "Levi",
        "Shira",
        "Cohen",
        "Eitan",
        "Shalev",
        "Lior",
        "example.com",
        "198.51.100.9",
        SITE_TOKEN,
        crate::world::JOTFORM_SECRET_PATH,
        crate::world::META_TOKEN,
        crate::world::GOOGLE_ADS_KEY,
        crate::world::LINE_TOKEN,
    ];
    for line in lines.iter().cloned().chain(reasons).chain(lead_outcome_texts(&world)) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
