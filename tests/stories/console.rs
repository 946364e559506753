//! The buttons of the local console.

use jiff::{SignedDuration, ToSpan as _, tz::TimeZone};
use serde_json::{Value, json};
use tellonce_fakes::calendars::FakeFeedEvent;
use tellonce_samples::WebhookPost;

use crate::world::{World, WorldSetup};

async fn press_button(world: &World, button: &str, request_body: Value) {
    let post = WebhookPost::new(format!("/_console/{button}"), "application/json", request_body.to_string());
    assert_eq!(world.post(post).await, 200, "{button} {request_body}");
    world.settle().await;
}

async fn change_booking(world: &World, calendar: &str, action: &str, start: &str) {
    press_button(world, "book", json!({"calendar": calendar, "action": action, "start": start})).await;
}

/// The status of every appointment of a calendar, oldest first.
fn appointment_statuses(world: &World, calendar: &str) -> Vec<String> {
    let headers = world.table_items("Ledger").into_iter().filter(|row| row["stage"] == "state");
    let mut known: Vec<Value> =
        headers.filter_map(|row| serde_json::from_str(row["appointment"].as_str()?).ok()).collect();
    known.retain(|appointment| appointment["calendar"] == calendar);
    known.sort_by_key(|appointment| appointment["created_at"].to_string());
    known.iter().map(|appointment| appointment["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn reminders_follow_the_final_state_of_console_bookings_moves_and_cancellations() {
    let world = World::start().await;
    let zone = TimeZone::get("Asia/Jerusalem").unwrap();
    // Keeps the feed from being empty: an event without a customer, which has no reminders.
    world.stack.calendars().put_event("diary.ics", event_without_customer(&world)).unwrap();
    for calendar in ["clinic", "intro", "studio", "salon", "crm", "diary"] {
        let today = world.now().to_zoned(zone.clone()).date();
        let at = |days: i64, time: &str| format!("{}T{time}", today.saturating_add(days.days()));
        change_booking(&world, calendar, "book", &at(3, "10:30")).await;
        change_booking(&world, calendar, "move", &at(4, "16:45")).await;
        let before = world.messages().len();
        press_button(&world, "clock", json!({"to_next": true})).await;
        let texts: Vec<String> = world.messages().split_off(before).into_iter().map(|message| message.body).collect();
        assert_eq!(texts.len(), 1, "{calendar}: {texts:?}");
        assert!(texts[0].contains("16:45"), "{calendar}: {texts:?}");
        change_booking(&world, calendar, "cancel", &at(4, "16:45")).await;
        let new_id_on_move = matches!(calendar, "clinic" | "intro");
        let expected: &[&str] = if new_id_on_move { &["moved", "cancelled"] } else { &["cancelled"] };
        assert_eq!(appointment_statuses(&world, calendar), expected, "{calendar}");
    }
    assert_eq!(world.messages().len(), 6, "one message for each calendar");
}

#[tokio::test]
async fn a_suddenly_empty_feed_cancels_nothing_until_the_console_accepts_it() {
    let world = World::start().await;
    let day = world.now().to_zoned(TimeZone::UTC).date().saturating_add(3.days());
    let start = format!("{day}T10:30");
    change_booking(&world, "diary", "book", &start).await;
    change_booking(&world, "diary", "cancel", &start).await;
    assert_eq!(appointment_statuses(&world, "diary"), ["booked"]);
    press_button(&world, "feeds", json!({"calendar": "diary"})).await;
    assert_eq!(appointment_statuses(&world, "diary"), ["booked"]);
    press_button(&world, "feeds", json!({"calendar": "diary", "accept_next_read": true})).await;
    assert_eq!(appointment_statuses(&world, "diary"), ["cancelled"]);
}

async fn submit_lead(world: &World, form: &str, action: &str, phone: &str) {
    press_button(world, "lead", json!({"form": form, "action": action, "phone": phone})).await;
}

/// The state that the page shows.
async fn console_state(world: &World) -> Value {
    let (status, _, text) = world.get_path("/_console/state").await;
    assert_eq!(status, 200);
    serde_json::from_str(&text).unwrap()
}

/// The results of the newest leads with their forms: the state of the message, else the outcome.
fn lead_results(state: &Value) -> Vec<(String, String)> {
    let code = |lead: &Value| match lead["messages"][0]["state"].as_str() {
        Some(state) => state.to_owned(),
        None => lead["outcome"].as_str().unwrap_or("being read").to_owned(),
    };
    let leads = state["leads"].as_array().unwrap();
    leads.iter().map(|lead| (lead["form"].as_str().unwrap().to_owned(), code(lead))).collect()
}

#[tokio::test]
async fn a_lead_of_any_console_form_is_greeted_once() {
    let world = World::start().await;
    let forms = console_state(&world).await["forms"].as_array().unwrap().clone();
    assert!(forms.len() >= 9, "{forms:?}");
    for (index, form) in forms.iter().enumerate() {
        assert_eq!(form["available"], true, "{form}");
        let (form, phone) = (form["name"].as_str().unwrap(), format!("052-555-02{index:02}"));
        submit_lead(&world, form, "submit", &phone).await;
        submit_lead(&world, form, "same-person", &phone).await;
        let results = lead_results(&console_state(&world).await);
        assert_eq!(results[1], (form.to_owned(), "accepted".to_owned()), "{form}");
        // If a sender has no ids, two submissions within a minute are one lead.
        assert!(["suppressed", "already-known"].contains(&results[0].1.as_str()), "{form}: {results:?}");
        assert_eq!(world.texts_on_phone(&format!("+97252555{:04}", 200 + index)).len(), 1, "{form}");
    }
    let final_state = console_state(&world).await;
    assert_eq!(final_state["leads"].as_array().unwrap().len(), 2 * forms.len());
    let accepted = |lead: &&Value| lead["messages"][0]["state"] == "accepted";
    for lead in final_state["leads"].as_array().unwrap().iter().filter(accepted) {
        assert!(lead["messages"][0]["took_ms"].as_i64().unwrap() < 30_000, "{lead}");
    }
    // Rows about numbers and forms are not messages.
    let rows = final_state["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["subject"].as_str().unwrap().starts_with("lead:")));
    let first = final_state["leads"][0]["id"].as_str().unwrap().replace('#', "%23");
    let (status, _, body) = world.get_path(&format!("/_console/delivery?id={first}")).await;
    assert!(status == 200 && body.contains("052-555"), "{body}");
}

#[tokio::test]
async fn two_hundred_leads_at_once_a_test_lead_and_a_refusal_cause_one_greeting() {
    let form_toml = "[forms.site]\nkind = \"web\"\nline = \"main\"\nid_scope = \"site\"\nverify = { scheme = \"secret-path\" }\n\
                 fields = { test = \"trial\" }\nconsent = { field = \"ok\" }\nburst = { leads = 1000, within = \"1h\" }\n\
                 first_touch = { useful_for = \"1d\", text = { en = \"Hi\", he = \"היי\" } }\n";
    let world = World::start_with(WorldSetup { extra_toml: form_toml, ..WorldSetup::default() }).await;
    world.stack.secrets().rotate("tellonce/story/webhooks/site", "story-address-0123456789-0123456789");
    submit_lead(&world, "site", "test", "052-555-0101").await;
    submit_lead(&world, "site", "without-consent", "052-555-0101").await;
    assert_eq!(
        lead_results(&console_state(&world).await).into_iter().map(|(_, end)| end).collect::<Vec<_>>(),
        ["no-consent", "test"]
    );
    // The minute is part of a lead's id, so the repeat has to arrive in the crowd's minute.
    world.begin_next(60);
    submit_lead(&world, "site", "crowd", "052-555-0101").await;
    submit_lead(&world, "site", "repeat", "052-555-0101").await;
    assert_eq!(world.texts_on_phone("+972525550101").len(), 1);
    let results = lead_results(&console_state(&world).await);
    let suppressed = results.iter().filter(|(_, end)| end == "suppressed").count();
    // A machine under load may need longer than a minute. Then the repeat is a lead of its own.
    assert!((199..=200).contains(&suppressed), "{suppressed}");
    assert_eq!(results.len(), 3 + suppressed);
}

#[tokio::test]
async fn a_flood_holds_a_form_until_a_button_is_pressed() {
    let world = World::start().await;
    let form_state = async |name: &str| {
        let forms = console_state(&world).await["forms"].take();
        forms.as_array().unwrap().iter().find(|form| form["name"] == name).unwrap().clone()
    };
    // Each flood has to be within one window of the counter. Across two windows more leads would be
    // greeted.
    world.begin_next(600);
    submit_lead(&world, "typeform", "flood", "052-555-0301").await;
    let held = form_state("typeform").await;
    assert!(held["held_since"].is_i64() && held["waiting"] == 5, "{held}");
    assert_eq!(world.messages().len(), 30);
    press_button(&world, "release", json!({"form": "typeform"})).await;
    assert_eq!(world.messages().len(), 35);
    let released = form_state("typeform").await;
    assert!(released["held_since"].is_null() && released["waiting"] == 0, "{released}");
    submit_lead(&world, "tally", "flood", "052-555-0401").await;
    press_button(&world, "release", json!({"form": "tally", "drop": true})).await;
    assert_eq!(world.messages().len(), 65);
    assert_eq!(form_state("tally").await["waiting"], 0);
}

fn event_without_customer(world: &World) -> FakeFeedEvent {
    FakeFeedEvent {
        uid: "stocktaking".to_owned(),
        start: world.now() + SignedDuration::from_hours(24 * 12),
        zone: "Asia/Jerusalem".to_owned(),
        sequence: 0,
        changed_at: world.now(),
        texts: [("summary".to_owned(), "Stocktaking".to_owned())].into(),
    }
}

/// Prints what a look costs on a full table.
#[tokio::test]
#[ignore = "a measurement, not a test: run it with --ignored --nocapture"]
async fn a_look_costs_what_was_written_since_the_look_before() {
    const ROWS: usize = 20_000;
    let world = World::start().await;
    let ledger = world.table_name("Ledger");
    let put = |n: usize, state: &str| {
        let text = "x".repeat(600);
        let row = json!({
            "subject": { "S": format!("order:{n}") }, "stage": { "S": "ready" }, "state": { "S": state },
            "payload": { "S": text }, "updated_at": { "N": n.to_string() },
        });
        let request = json!({ "TableName": ledger, "Item": row });
        world.stack.dynamo().call_operation("PutItem", &request).unwrap();
    };
    for n in 0..ROWS {
        put(n, "accepted");
    }
    let scan = std::time::Instant::now();
    world.stack.dynamo().scan_items(&ledger).unwrap();
    println!("{ROWS} rows: reading all of them takes {:?}", scan.elapsed());
    let mut version = String::new();
    for what in ["the first look", "a look without a write", "a look after one write", "a look without a write"] {
        if what.ends_with("one write") {
            put(7, "refused");
        }
        let start = std::time::Instant::now();
        let (status, _, text) = world.get_path(&format!("/_console/state?known_version={version}")).await;
        println!("{what}: {:?}, HTTP {status}, {} kB", start.elapsed(), text.len() / 1024);
        if let Ok(state) = serde_json::from_str::<Value>(&text) {
            state["version"].as_str().unwrap().clone_into(&mut version);
        }
    }
}
