//! The local console at work: what its buttons do, done.

use jiff::{SignedDuration, ToSpan as _, tz::TimeZone};
use local::calendars::Event;
use serde_json::{Value, json};

use crate::world::{Post, World};

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
