//! The local console at work: what its buttons do, done.

use jiff::{SignedDuration, ToSpan as _, tz::TimeZone};
use local::calendars::Event;
use serde_json::{Value, json};

use crate::world::{Post, Setup, World};

/// Presses a button.
async fn press(world: &World, button: &str, what: Value) {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    let post = Post { path: format!("/_console/{button}"), headers, body: what.to_string().into_bytes() };
    assert_eq!(world.post(post).await, 200, "{button} {what}");
    world.settle().await;
}

async fn book(world: &World, calendar: &str, deed: &str, start: &str) {
    press(world, "book", json!({"calendar": calendar, "deed": deed, "start": start})).await;
}

/// The standing of every appointment of a calendar, oldest first.
fn standings(world: &World, calendar: &str) -> Vec<String> {
    let headers = world.items("Ledger").into_iter().filter(|row| row["stage"] == "state");
    let mut known: Vec<Value> =
        headers.filter_map(|row| serde_json::from_str(row["appointment"].as_str()?).ok()).collect();
    known.retain(|appointment| appointment["calendar"] == calendar);
    known.sort_by_key(|appointment| appointment["created_at"].to_string());
    known.iter().map(|appointment| appointment["standing"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn whatever_the_console_books_moves_and_cancels_is_reminded_as_it_stands_in_the_end() {
    let world = World::start().await;
    let zone = TimeZone::get("Asia/Jerusalem").unwrap();
    // So that the feed is never empty: nobody's event, which nobody is reminded of.
    world.stack.calendars().put_event("diary.ics", somebody_s_event(&world)).unwrap();
    for calendar in ["clinic", "intro", "studio", "salon", "crm", "diary"] {
        let today = world.now().to_zoned(zone.clone()).date();
        let at = |days: i64, time: &str| format!("{}T{time}", today.saturating_add(days.days()));
        book(&world, calendar, "book", &at(3, "10:30")).await;
        book(&world, calendar, "move", &at(4, "16:45")).await;
        let before = world.messages().len();
        press(&world, "clock", json!({"to_next": true})).await;
        let texts: Vec<String> = world.messages().split_off(before).into_iter().map(|message| message.body).collect();
        assert_eq!(texts.len(), 1, "{calendar}: {texts:?}");
        assert!(texts[0].contains("16:45"), "{calendar}: {texts:?}");
        book(&world, calendar, "cancel", &at(4, "16:45")).await;
        let renamed = matches!(calendar, "clinic" | "intro");
        let expected: &[&str] = if renamed { &["moved", "cancelled"] } else { &["cancelled"] };
        assert_eq!(standings(&world, calendar), expected, "{calendar}");
    }
    assert_eq!(world.messages().len(), 6, "and nothing else");
}

#[tokio::test]
async fn a_feed_that_is_empty_all_at_once_cancels_nothing_until_somebody_says_so() {
    let world = World::start().await;
    let day = world.now().to_zoned(TimeZone::UTC).date().saturating_add(3.days());
    let start = format!("{day}T10:30");
    book(&world, "diary", "book", &start).await;
    book(&world, "diary", "cancel", &start).await;
    assert_eq!(standings(&world, "diary"), ["booked"]);
    press(&world, "feeds", json!({"calendar": "diary"})).await;
    assert_eq!(standings(&world, "diary"), ["booked"]);
    press(&world, "feeds", json!({"calendar": "diary", "believe": true})).await;
    assert_eq!(standings(&world, "diary"), ["cancelled"]);
}

async fn lead(world: &World, form: &str, deed: &str, phone: &str) {
    press(world, "lead", json!({"form": form, "deed": deed, "phone": phone})).await;
}

/// What the page is shown.
async fn state(world: &World) -> Value {
    let (status, _, text) = world.get("/_console/state").await;
    assert_eq!(status, 200);
    serde_json::from_str(&text).unwrap()
}

/// How the newest leads ended, by form: the state of the message, else the outcome's code.
fn ended(state: &Value) -> Vec<(String, String)> {
    let code = |lead: &Value| match lead["messages"][0]["state"].as_str() {
        Some(state) => state.to_owned(),
        None => lead["outcome"].as_str().map_or("being read", |outcome| outcome.split(':').next().unwrap()).to_owned(),
    };
    let leads = state["leads"].as_array().unwrap();
    leads.iter().map(|lead| (lead["form"].as_str().unwrap().to_owned(), code(lead))).collect()
}

#[tokio::test]
async fn whoever_leaves_a_number_on_any_form_of_the_console_is_greeted_once() {
    let world = World::start().await;
    let forms = state(&world).await["forms"].as_array().unwrap().clone();
    assert!(forms.len() >= 9, "{forms:?}");
    for (place, form) in forms.iter().enumerate() {
        assert_eq!(form["available"], true, "{form}");
        let (form, phone) = (form["name"].as_str().unwrap(), format!("052-555-02{place:02}"));
        lead(&world, form, "leave", &phone).await;
        lead(&world, form, "same-person", &phone).await;
        let ended = ended(&state(&world).await);
        assert_eq!(ended[1], (form.to_owned(), "accepted".to_owned()), "{form}");
        // Without an id of the sender's two submissions of a minute are one lead.
        assert!(["noted", "already-known"].contains(&ended[0].1.as_str()), "{form}: {ended:?}");
        assert_eq!(world.texts(&format!("+97252555{:04}", 200 + place)).len(), 1, "{form}");
    }
    let whole = state(&world).await;
    assert_eq!(whole["leads"].as_array().unwrap().len(), 2 * forms.len());
    let accepted = |lead: &&Value| lead["messages"][0]["state"] == "accepted";
    for lead in whole["leads"].as_array().unwrap().iter().filter(accepted) {
        assert!(lead["messages"][0]["took_ms"].as_i64().unwrap() < 30_000, "{lead}");
    }
    // What is remembered of numbers and forms is no message.
    let rows = whole["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["subject"].as_str().unwrap().starts_with("lead:")));
    let first = whole["leads"][0]["id"].as_str().unwrap().replace('#', "%23");
    let (status, _, body) = world.get(&format!("/_console/delivery?id={first}")).await;
    assert!(status == 200 && body.contains("052-555"), "{body}");
}

#[tokio::test]
async fn two_hundred_at_once_a_trial_and_a_refusal_are_one_greeting() {
    let quiet = "[forms.site]\nkind = \"web\"\nline = \"main\"\nbook = \"site\"\nverify = { scheme = \"secret-path\" }\n\
                 fields = { test = \"trial\" }\nconsent = { field = \"ok\" }\nburst = { leads = 1000, within = \"1h\" }\n\
                 first_touch = { useful_for = \"1d\", text = { en = \"Hi\", he = \"היי\" } }\n";
    let world = World::start_with(Setup { tail: quiet, ..Setup::default() }).await;
    world.stack.secrets().rotate("tellonce/story/webhooks/site", "story-address-0123456789-0123456789");
    lead(&world, "site", "test", "052-555-0101").await;
    lead(&world, "site", "refuse", "052-555-0101").await;
    assert_eq!(ended(&state(&world).await).into_iter().map(|(_, end)| end).collect::<Vec<_>>(), ["no-consent", "test"]);
    lead(&world, "site", "crowd", "052-555-0101").await;
    lead(&world, "site", "again", "052-555-0101").await;
    assert_eq!(world.texts("+972525550101").len(), 1);
    let ended = ended(&state(&world).await);
    assert_eq!((ended.len(), ended.iter().filter(|(_, end)| end == "noted").count()), (202, 199));
}

#[tokio::test]
async fn a_flood_holds_a_form_until_a_button_is_pressed() {
    let world = World::start().await;
    let form = async |name: &str| {
        let forms = state(&world).await["forms"].take();
        forms.as_array().unwrap().iter().find(|form| form["name"] == name).unwrap().clone()
    };
    // Two windows of the counter that meet would let more through: both floods are within one.
    let window = 600;
    world.pass(SignedDuration::from_secs(window - world.now().as_second() % window));
    lead(&world, "typeform", "flood", "052-555-0301").await;
    let held = form("typeform").await;
    assert!(held["held_since"].is_i64() && held["waiting"] == 5, "{held}");
    assert_eq!(world.messages().len(), 30);
    press(&world, "release", json!({"form": "typeform"})).await;
    assert_eq!(world.messages().len(), 35);
    let free = form("typeform").await;
    assert!(free["held_since"].is_null() && free["waiting"] == 0, "{free}");
    lead(&world, "tally", "flood", "052-555-0401").await;
    press(&world, "release", json!({"form": "tally", "drop": true})).await;
    assert_eq!(world.messages().len(), 65);
    assert_eq!(form("tally").await["waiting"], 0);
}

fn somebody_s_event(world: &World) -> Event {
    Event {
        uid: "nobody".to_owned(),
        start: world.now() + SignedDuration::from_hours(24 * 12),
        zone: "Asia/Jerusalem".to_owned(),
        sequence: 0,
        changed_at: world.now(),
        texts: [("summary".to_owned(), "Stocktaking".to_owned())].into(),
    }
}
