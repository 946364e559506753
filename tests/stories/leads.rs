//! Leads, from a form to the first touch on somebody's phone.

use jiff::SignedDuration;
use local::{
    fake_ezw::{Fault, HealthPreset},
    peers::{Peer, Trouble},
};
use serde_json::{Value, json};
use shared::{contact::Phone, ledger::contact_subject};

use crate::{
    leads_door::{self as door, recorded},
    world::{Post, Setup, World},
};

const NOA: &str = "+972545550199";
const ADI: &str = "+972525550101";
const TOKEN: &str = "story-site-token-0123456789";

/// Two forms of one website; `RULES` of the first is what a story changes.
const FORMS: &str = r#"
[forms.site]
kind = "web"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
line = "main"
book = "main"
consent = { field = "consent" }
burst = { leads = 1000, within = "1h" }
RULES
first_touch.useful_for = "12h"
first_touch.text = { en = "{% if first_name %}{{ first_name }}, {% endif %}thanks for writing to {{ business_name }}.", he = "תודה שפנית אל {{ business_name }}." }

[forms.landing]
kind = "web"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
line = "main"
book = "landing"
language = "en"
consent = { stated = "By sending this you agree to hear from us on WhatsApp." }
burst = { leads = 3, within = "1h" }
LANDING
first_touch.useful_for = "12h"
first_touch.text = { en = "Landed.", he = "נחתת." }
"#;

async fn world(rules: &str, setup: Setup) -> World {
    world_with(rules, "", setup).await
}

async fn world_with(rules: &str, landing: &str, setup: Setup) -> World {
    let tail = FORMS.replace("RULES", rules).replace("LANDING", landing);
    let world = World::start_with(Setup { tail: tail.leak(), ..setup }).await;
    for form in ["site", "landing"] {
        world.stack.secrets().rotate(&format!("tellonce/story/webhooks/{form}"), TOKEN);
    }
    world
}

/// Somebody leaves a number.
fn lead(form: &str, id: &str, phone: &str) -> Post {
    submission(form, &json!({ "leadId": id, "name": "Noa Levi", "phone": phone, "consent": true, "lang": "en" }))
}

fn submission(form: &str, body: &Value) -> Post {
    Post {
        path: format!("/leads/{form}"),
        headers: vec![("Content-Type".into(), "application/json".into()), ("X-Webhook-Token".into(), TOKEN.into())],
        body: body.to_string().into_bytes(),
    }
}

/// The outcomes of all leads, those without one left out.
fn outcomes(world: &World) -> Vec<String> {
    let items = world.items("LeadInbox");
    let mut outcomes: Vec<String> =
        items.iter().filter_map(|item| item["outcome"].as_str().map(str::to_owned)).collect();
    outcomes.sort();
    outcomes
}

fn logged(world: &World, what: &str) -> usize {
    world.stack.logs("lead-first-touch").iter().filter(|line| line.text.contains(what)).count()
}

fn opt_out(world: &World, phone: &str) {
    let phone = Phone::from_e164(phone).unwrap();
    let item = json!({
        "subject": { "S": contact_subject("story", &phone) }, "stage": { "S": "state" }, "opted_out_at": { "N": "1" },
    });
    let request = json!({ "TableName": world.table("Ledger"), "Item": item });
    world.stack.dynamo().call("PutItem", &request).unwrap();
}

#[tokio::test]
async fn whoever_leaves_a_number_is_greeted_once_and_what_they_agreed_by_is_kept() {
    let world = world("", Setup::default()).await;
    world.deliver(lead("site", "abc", NOA)).await;
    assert_eq!(world.texts(NOA), ["Noa, thanks for writing to Story Shop."]);
    let row = world.rows().remove("lead:abc:first-touch").unwrap();
    assert_eq!((row["state"].as_str(), row["values"]["consent"].as_str()), (Some("accepted"), Some("field consent")));
    assert!(row["values"]["consent_at"].as_str().unwrap().starts_with("20"), "{row}");
    assert_eq!(logged(&world, "\"first_touch_seconds\":"), 1, "how long it took is measured");

    // The sender's retry, minutes later.
    world.pass(SignedDuration::from_mins(3));
    world.deliver(lead("site", "abc", NOA)).await;
    assert_eq!(world.texts(NOA).len(), 1);
    assert_eq!(outcomes(&world), ["already-known: lead:abc:first-touch is accepted in the ledger"]);
    assert_eq!(world.stack.ezw().counters().wakeups, 0);
}

#[tokio::test]
async fn the_same_person_is_greeted_again_only_after_the_window_whatever_form_they_use() {
    let world = world("repeat = { within = \"7d\", then = \"escalate\" }", Setup::default()).await;
    world.deliver(lead("landing", "1", NOA)).await;
    world.pass(SignedDuration::from_hours(24));
    world.deliver(lead("site", "2", "054-555-0199")).await;
    assert_eq!(world.texts(NOA), ["Landed."]);
    assert_eq!(world.state("lead:2:first-touch"), "noted");
    let reason = world.rows()["lead:2:first-touch"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("already-greeted") && reason.ends_with("lead:landing..1"), "{reason}");
    assert_eq!(outcomes(&world), ["already-greeted: lead:2:first-touch says by which lead"]);
    assert_eq!(logged(&world, "\"leads_escalated\":1"), 1, "and the team is called");
    world.pass(SignedDuration::from_hours(6 * 24));
    world.deliver(lead("site", "3", NOA)).await;
    assert_eq!(world.texts(NOA).len(), 2);
}

#[tokio::test]
async fn forms_that_greet_each_for_itself_stop_at_the_numbers_limit() {
    let each = "repeat = { within = \"7d\", across = \"form\" }\nper_phone = { leads = 1, within = \"1d\" }";
    let world = world_with(each, "repeat = { across = \"form\" }", Setup::default()).await;
    world.deliver(lead("site", "1", NOA)).await;
    world.deliver(lead("landing", "2", NOA)).await;
    assert_eq!(world.texts(NOA).len(), 2, "another form, and its limit is three a day");
    world.pass(SignedDuration::from_hours(7 * 24));
    world.deliver(lead("landing", "3", NOA)).await;
    world.deliver(lead("site", "4", NOA)).await;
    assert_eq!(world.texts(NOA).len(), 3);
    assert!(outcomes(&world)[0].starts_with("too-often"), "{:?}", outcomes(&world));
}

#[tokio::test]
async fn two_hundred_submissions_of_one_number_at_once_are_one_message() {
    let world = world("", Setup::default()).await;
    let posts = (0..200).map(|number| {
        let (form, phone) = [("site", NOA), ("site", "0545550199"), ("site", "+972 54-555-0199")][number % 3];
        world.post(lead(form, &format!("l{number}"), phone))
    });
    let statuses = futures::future::join_all(posts).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    world.settle().await;
    assert_eq!(world.texts(NOA).len(), 1);
    let rows = world.rows();
    let leads = |state: &str| {
        rows.values()
            .filter(|row| row["subject"].as_str().unwrap().starts_with("lead:") && row["state"] == state)
            .count()
    };
    assert_eq!((leads("accepted"), leads("noted")), (1, 199), "and of every other one it is known why not");
}

#[tokio::test]
async fn a_copy_of_one_submission_two_hundred_times_at_once_is_one_delivery() {
    let world = world("", Setup::default()).await;
    let body = json!({ "name": "Noa Levi", "phone": NOA, "consent": "on" });
    let statuses = futures::future::join_all((0..200).map(|_| world.post(submission("site", &body)))).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    world.settle().await;
    assert_eq!(world.texts(NOA).len(), 1);
    // A minute may have turned meanwhile.
    assert!(world.items("LeadInbox").len() <= 2, "{}", world.items("LeadInbox").len());
}

#[tokio::test]
async fn who_did_not_ask_to_be_greeted_is_not_and_the_reason_is_kept() {
    let world = world("fields = { test = \"trial\" }", Setup::default()).await;
    let person = |changes: Value| {
        let mut body = json!({ "name": "Noa Levi", "phone": NOA, "consent": true });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    let cases = [
        (person(json!({ "consent": false })), "no-consent"),
        (person(json!({ "consent": null })), "no-consent"),
        (person(json!({ "consent": "call me maybe" })), "consent-unclear"),
        (person(json!({ "trial": "true" })), "test"),
        (person(json!({ "phone": "03-555-0199" })), "phone-unusable"),
        (person(json!({ "phone": "*2700" })), "phone-unusable"),
        (person(json!({ "phone": "+12025550123" })), "country-not-allowed"),
        (person(json!({ "phone": "" })), "no-phone"),
        (json!([person(json!({})), person(json!({}))]), "list"),
        (json!({ "leads": [person(json!({})), person(json!({}))] }), "list"),
        (json!("hello"), "not-understood"),
    ];
    for (body, code) in &cases {
        assert_eq!(world.post(submission("site", body)).await, 200, "whatever is in it is filed: {body}");
        world.settle().await;
        let all = outcomes(&world);
        assert!(all.iter().any(|outcome| outcome.starts_with(&format!("{code}:"))), "{code}: {all:?}");
    }
    opt_out(&world, NOA);
    world.deliver(lead("site", "9", NOA)).await;
    assert!(outcomes(&world).iter().any(|outcome| outcome.starts_with("opted-out")), "{:?}", outcomes(&world));
    assert_eq!(world.messages().len(), 0);
    assert_eq!(outcomes(&world).len(), world.items("LeadInbox").len(), "nothing without a reason");
}

#[tokio::test]
async fn at_night_a_lead_waits_for_the_morning_and_not_past_its_use() {
    let quiet = Setup { quiet: Some(("00:00", "23:59")), ..Setup::default() };
    let world = world("", quiet).await;
    world.deliver(lead("site", "1", NOA)).await;
    assert_eq!((world.texts(NOA).len(), world.state("lead:1:first-touch").as_str()), (0, "held"));
    world.deliver(lead("site", "2", NOA)).await;
    assert_eq!(world.state("lead:2:first-touch"), "noted", "one of them is enough");
    world.pass(SignedDuration::from_hours(13));
    world.tick().await;
    assert_eq!((world.texts(NOA).len(), world.state("lead:1:first-touch").as_str()), (0, "expired"));
    // What was never said does not stand in the way of the next.
    world.deliver(lead("site", "3", NOA)).await;
    assert_eq!(world.state("lead:3:first-touch"), "held");
}

#[tokio::test]
async fn a_lead_that_waited_is_greeted_unless_they_asked_not_to_be_meanwhile() {
    let world = world("", Setup::default()).await;
    world.stack.ezw().set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(lead("site", "1", NOA)).await;
    world.deliver(lead("site", "2", ADI)).await;
    assert_eq!((world.state("lead:1:first-touch"), world.state("lead:2:first-touch")), ("held".into(), "held".into()));
    opt_out(&world, ADI);
    world.stack.ezw().set_health(None, HealthPreset::Good).unwrap();
    world.pass(SignedDuration::from_hours(1));
    world.tick().await;
    assert_eq!((world.texts(NOA).len(), world.texts(ADI).len()), (1, 0));
    assert_eq!(world.state("lead:2:first-touch"), "superseded");
    let waited =
        world.stack.logs("reminder-scheduler").into_iter().find(|line| line.text.contains("first_touch_seconds"));
    let waited: Value = serde_json::from_str(&waited.unwrap().text).unwrap();
    assert!(waited["first_touch_seconds"].as_f64().unwrap() >= 3600.0, "{waited}");
}

#[tokio::test]
async fn a_flood_is_held_until_a_human_has_looked() {
    let world = world("", Setup::default()).await;
    let phone = |number: usize| format!("+9725255501{number:02}");
    for number in 0..10 {
        world.deliver(lead("landing", &number.to_string(), &phone(number))).await;
    }
    assert_eq!(world.messages().len(), 3, "its limit");
    let held = |world: &World| outcomes(world).iter().filter(|outcome| outcome.starts_with("held-for-review")).count();
    assert_eq!(held(&world), 7);
    assert_eq!(logged(&world, "\"leads_held\":1"), 7, "and an alarm rings");
    // It stays so, however quiet it gets.
    world.pass(SignedDuration::from_hours(5));
    world.deliver(lead("landing", "11", &phone(11))).await;
    assert_eq!((world.messages().len(), held(&world)), (3, 8));
    world.deliver(lead("site", "12", "+972525550399")).await;
    assert_eq!(world.messages().len(), 4, "another form is not held up");

    let done = world.stack.invoke("lead-first-touch", &json!({ "release": "landing" })).await.unwrap();
    assert_eq!(done, json!({ "form": "landing", "released": 8, "dropped": 0, "more": false }));
    world.settle().await;
    assert_eq!((world.messages().len(), held(&world)), (12, 0), "{:?}", outcomes(&world));
    world.deliver(lead("landing", "13", &phone(13))).await;
    assert_eq!(world.messages().len(), 13, "and it greets again, counting anew");

    for number in 20..30 {
        world.deliver(lead("landing", &number.to_string(), &phone(number))).await;
    }
    let done = world.stack.invoke("lead-first-touch", &json!({ "drop": "landing" })).await.unwrap();
    assert_eq!((done["released"].clone(), done["dropped"].clone()), (json!(0), json!(8)));
    world.settle().await;
    assert_eq!((world.messages().len(), held(&world)), (15, 0));
    assert!(world.stack.invoke("lead-first-touch", &json!({ "release": "none" })).await.is_err());
}

#[tokio::test]
async fn a_function_that_dies_and_an_answer_that_is_lost_cost_nobody_their_greeting_and_give_nobody_two() {
    let world = world("", Setup::default()).await;
    for number in 0..12 {
        assert_eq!(world.post(lead("site", &format!("k{number}"), &format!("+9725255502{number:02}"))).await, 200);
        match number {
            3 | 8 => drop(world.stack.kill("lead-first-touch").await),
            5 => world.stack.ezw().fail_next(1, Fault::DropAfterAccept),
            7 => world.stack.ezw().fail_next(1, Fault::ServerErrorAfterAccept),
            _ => {}
        }
    }
    world.settle().await;
    for _ in 0..6 {
        world.pass(SignedDuration::from_mins(10));
        world.tick().await;
    }
    for number in 0..12 {
        assert_eq!(
            world.texts(&format!("+9725255502{number:02}")).len(),
            1,
            "{number}: {}",
            world.state(&format!("lead:k{number}:first-touch"))
        );
    }
    assert_eq!(world.stack.ezw().most_per_key(), 1);
}

#[tokio::test]
async fn a_greeting_costs_four_writes_and_no_read() {
    let world = world("", Setup::default()).await;
    world.deliver(lead("site", "0", ADI)).await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    world.stack.ezw().reset_counters();
    world.stack.secrets().reset_requests();
    assert_eq!(world.post(lead("site", "1", NOA)).await, 200);
    let inbox = counters.usage("PutItem", &world.table("LeadInbox"));
    assert_eq!((inbox.requests, inbox.units), (1, 1.0), "a new lead is one write at the door");
    world.settle().await;
    let used = counters.snapshot();
    let of = |operation: &str, table: &str| {
        used.get(&(operation.to_owned(), world.table(table))).map_or(0, |usage| usage.requests)
    };
    assert_eq!(of("UpdateItem", "Ledger"), 2, "the form's count, and the line's pace: {used:?}");
    assert_eq!(of("PutItem", "Ledger"), 1, "settled: {used:?}");
    assert_eq!(of("GetItem", "Ledger") + of("Query", "Ledger"), 0, "nothing is read: {used:?}");
    let requests = world.stack.ezw().counters().requests;
    assert_eq!(requests.values().sum::<u64>(), 1, "one send, no question about health: {requests:?}");
    assert_eq!(world.stack.secrets().total_requests(), 0);
}

/// A recorded body with times that are not of last week.
fn fresh(world: &World, file: &str) -> Vec<u8> {
    let today = world.now().strftime("%Y-%m-%dT").to_string();
    let body = recorded(file);
    // A multipart body is UTF-8, too.
    let text = String::from_utf8(body).unwrap();
    let now = world.now();
    text.replace("2026-11-19T", &today)
        .replace("1795082400", &now.as_second().to_string())
        .replace("1795079400000", &now.as_millisecond().to_string())
        .into_bytes()
}

fn graph_lead(world: &World, id: &str, phone: &str) -> local::leads::Lead {
    let field = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    local::leads::Lead {
        id: id.into(),
        form_id: "123123123000".into(),
        created_at: world.now(),
        fields: vec![field("full_name", "Shira Cohen"), field("phone_number", phone)],
        disclaimers: [("optional_1".to_owned(), true)].into(),
    }
}

#[tokio::test]
async fn whoever_leaves_a_number_with_any_sender_is_greeted_at_it() {
    let world = world("", Setup::default()).await;
    world.stack.leads().put_lead(graph_lead(&world, "444444444444000", ADI)).unwrap();
    let hubspot_contact = local::leads::Contact {
        id: "123".into(),
        created_at: world.now(),
        properties: [("firstname", "Dana"), ("lastname", "Katz"), ("phone", "054-555-0155")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    world.stack.leads().put_contact(hubspot_contact).unwrap();
    // Their numbers repeat, and each is greeted once: so one number for each sender.
    let numbered = |file: &str, phone: &str| {
        let body = String::from_utf8(fresh(&world, file)).unwrap();
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
        (door::typeform(numbered("typeform/form_response.json", "+972545550141")), "+972545550141"),
        (door::google(numbered("google_ads/lead_as_documented.json", "054-5550142")), "+972545550142"),
        (door::google(numbered("google_ads/lead.json", "0545550143")), "+972545550143"),
        (door::meta(fresh(&world, "meta/leadgen.json")), ADI),
        (door::webflow(&world, numbered("webflow/form_submission.json", "972545550144")), "+972545550144"),
        (door::tally(numbered("tally/form_response.json", "+972 54 555 0145")), "+972545550145"),
        (
            door::jotform(crate::world::JOTFORM_PATH, numbered("jotform/submission.multipart", "054 555 0146")),
            "+972545550146",
        ),
        (door::elementor(numbered("wordpress/elementor_simple.form", "0545550147")), "+972545550147"),
        (door::web("application/json", numbered("web/lead_json.json", "0545550148")), "+972545550148"),
        (door::hubspot(&world, fresh(&world, "hubspot/contact_creation.json")), "+972545550155"),
    ];
    for (post, phone) in posts {
        let path = post.path.split('/').nth(2).unwrap().to_owned();
        world.deliver(post).await;
        assert_eq!(world.texts(phone).len(), 1, "{path}: {:?}", outcomes(&world));
    }
    assert_eq!(outcomes(&world), Vec::<String>::new());
    assert_eq!(world.messages().len(), 10);
    assert!(world.texts("+972545550155")[0].ends_with("Story Shop."));
}

#[tokio::test]
async fn leads_that_are_only_named_are_asked_for_until_they_are_told_and_each_is_greeted_once() {
    let world = world("", Setup::default()).await;
    let (leads, peers) = (world.stack.leads(), world.stack.peers());
    leads.put_lead(graph_lead(&world, "444444444444001", NOA)).unwrap();
    leads.put_lead(graph_lead(&world, "444444444444002", ADI)).unwrap();
    let batch = || door::meta(fresh(&world, "meta/leadgen_batch.json"));
    peers.fail_next(Peer::Graph, Trouble::Status(500), 1);
    peers.fail_next(Peer::Graph, Trouble::Status(429), 1);
    world.deliver(batch()).await;
    assert_eq!((world.texts(NOA).len(), world.texts(ADI).len()), (1, 1), "{:?}", outcomes(&world));
    assert!(peers.requests(Peer::Graph) >= 4, "{:?}", peers.answers(Peer::Graph));
    // Meta sends the same leads again in another batch, and once one that it has deleted since.
    world.pass(SignedDuration::from_mins(7));
    world.deliver(batch()).await;
    leads.forget_lead("444444444444002").unwrap();
    world.pass(SignedDuration::from_mins(7));
    world.deliver(batch()).await;
    assert_eq!((world.texts(NOA).len(), world.texts(ADI).len()), (1, 1));
    assert!(outcomes(&world).iter().any(|outcome| outcome.contains("lead-not-there")), "{:?}", outcomes(&world));

    // What Meta's test tool sends holds dummy data.
    let dummy = |name: &str| (name.to_owned(), vec![format!("<test lead: dummy data for {name}>")]);
    let test = local::leads::Lead {
        fields: vec![dummy("full_name"), dummy("phone_number")],
        ..graph_lead(&world, "444444444444000", NOA)
    };
    leads.put_lead(test).unwrap();
    world.deliver(door::meta(fresh(&world, "meta/leadgen.json"))).await;
    assert!(outcomes(&world).iter().any(|outcome| outcome.starts_with("test:")), "{:?}", outcomes(&world));
    assert_eq!(world.messages().len(), 2);
}

#[tokio::test]
async fn a_token_that_was_renewed_is_used_at_once_and_one_that_is_missing_is_said() {
    let world = world("", Setup::default()).await;
    world.stack.leads().put_lead(graph_lead(&world, "444444444444000", NOA)).unwrap();
    world.stack.secrets().rotate("tellonce/story/forms/meta", "an-older-token");
    world.stack.leads().put_lead(graph_lead(&world, "444444444444001", ADI)).unwrap();
    world.stack.leads().put_lead(graph_lead(&world, "444444444444002", "+972525550177")).unwrap();
    world.deliver(door::meta(fresh(&world, "meta/leadgen.json"))).await;
    assert_eq!(world.texts(NOA).len(), 1);
    world.stack.secrets().rotate("tellonce/story/forms/meta", "a-newer-token");
    world.deliver(door::meta(fresh(&world, "meta/leadgen_batch.json"))).await;
    assert_eq!(world.messages().len(), 3, "{:?}", outcomes(&world));

    world.stack.secrets().remove("tellonce/story/forms/hubspot");
    world.deliver(door::hubspot(&world, fresh(&world, "hubspot/contact_creation.json"))).await;
    assert!(outcomes(&world)[0].starts_with("read-back-not-set-up"), "{:?}", outcomes(&world));
}

#[tokio::test]
async fn contacts_that_no_form_has_made_are_nobodys_leads() {
    let world = world("", Setup::default()).await;
    let events: Vec<Value> = ["IMPORT", "CRM_UI", "API", "INTEGRATION"]
        .iter()
        .zip(1..)
        .map(|(source, id)| {
            json!({ "eventId": id, "subscriptionId": 25, "portalId": 33, "appId": 1, "occurredAt": world.now().as_millisecond(),
                "subscriptionType": "contact.creation", "attemptNumber": 0, "objectId": id, "changeFlag": "CREATED",
                "changeSource": source })
        })
        .collect();
    world.deliver(door::hubspot(&world, json!(events).to_string().into_bytes())).await;
    assert!(outcomes(&world)[0].starts_with("not-from-a-form"), "{:?}", outcomes(&world));
    assert_eq!(world.stack.peers().requests(Peer::HubSpot), 0, "nobody is even looked at");
}

#[tokio::test]
async fn nothing_of_a_lead_shows_on_the_way_to_its_greeting() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = world("", Setup { env, ..Setup::default() }).await;
    world.stack.leads().put_lead(graph_lead(&world, "444444444444000", ADI)).unwrap();
    world.stack.peers().fail_next(Peer::Graph, Trouble::Half, 1);
    for post in [
        door::meta(fresh(&world, "meta/leadgen.json")),
        door::google(fresh(&world, "google_ads/lead.json")),
        door::jotform(crate::world::JOTFORM_PATH, fresh(&world, "jotform/submission.multipart")),
        lead("site", "1", NOA),
        lead("site", "2", NOA),
        submission("site", &json!({ "name": "Noa Levi", "phone": "call Noa 0545550199", "consent": true })),
        submission("site", &json!({ "name": "Noa Levi", "phone": NOA, "consent": "Noa says 0545550199" })),
        submission("site", &json!("Noa Levi 0545550199")),
    ] {
        world.deliver(post).await;
    }
    world.stack.ezw().set_health(None, HealthPreset::Qr).unwrap();
    world.pass(SignedDuration::from_hours(8 * 24));
    world.deliver(lead("site", "3", NOA)).await;
    world.tick().await;
    let functions = ["webhook-receiver", "lead-first-touch", "reminder-scheduler"];
    let lines: Vec<String> = functions.iter().flat_map(|name| world.stack.logs(name)).map(|line| line.text).collect();
    assert!(lines.iter().filter(|line| line.contains("message is accepted")).count() == 2, "{lines:?}");
    let reasons = world.rows().into_values().filter_map(|row| row["reason"].as_str().map(str::to_owned));
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
        TOKEN,
        crate::world::JOTFORM_PATH,
        crate::world::META_TOKEN,
        crate::world::GOOGLE_KEY,
        crate::world::LINE_TOKEN,
    ];
    for line in lines.iter().cloned().chain(reasons).chain(outcomes(&world)) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
