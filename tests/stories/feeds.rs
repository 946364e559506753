//! Feeds that strangers write into, that are too large or that are slow.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_core::hash::sha256_hex;
use tellonce_fakes::{calendars::FakeFeedEvent, services::FakeService};

use crate::{
    booking_endpoint::google_push,
    calendars::{ADI_PHONE, NOA_PHONE, advance_to_day_before, diary_event, whole_minute_in_hours},
    world::{World, WorldSetup},
};

/// A second feed, of a calendar whose owner is known from its address.
pub(crate) const ANNA_TOML: &str = r#"
[calendars.anna]
kind = "ics"
line = "main"
id_scope = "anna"
poll_every = "5m"
phone = { field = "description", after = ["Phone:"] }
organizers = ["@branch.example"]
new_per_day = 2

[calendars.anna.reminders."24h"]
text = { en = "Tomorrow at {{ time }}.", he = "מחר בשעה {{ time }}." }
"#;

/// The secret address of the feed of [`ANNA_TOML`].
pub(crate) fn anna_secrets() -> Vec<(&'static str, String)> {
    let address = "https://calendar.example/ical/anna%40clinic.example/private-1/anna.ics";
    vec![("calendars/anna", address.to_owned())]
}

async fn start_world_of_anna() -> World {
    let extra_secrets = anna_secrets();
    World::start_with(WorldSetup { extra_toml: ANNA_TOML, extra_secrets, ..WorldSetup::default() }).await
}

/// The row of a feed.
fn feed_row(world: &World, name: &str) -> Value {
    world.message_rows()[&format!("feed:{name}:state")].clone()
}

fn feed_problem(world: &World, name: &str) -> String {
    feed_row(world, name)["problem"].as_str().unwrap_or_default().to_owned()
}

/// Lets the feeds become due and polls them.
pub(crate) async fn poll_later(world: &World) -> Value {
    world.advance_time(SignedDuration::from_mins(15));
    world.stack.poll_feeds().await.unwrap()
}

fn with_property(mut event: FakeFeedEvent, name: &str, value: &str) -> FakeFeedEvent {
    event.texts.insert(name.to_owned(), value.to_owned());
    event
}

#[tokio::test]
async fn an_invitation_of_a_stranger_sends_nothing_to_the_number_in_it() {
    let world = start_world_of_anna().await;
    let fake_calendars = world.stack.calendars();
    let start = whole_minute_in_hours(&world, 50);
    let invite = |uid: &str, phone: &str, organizer: &str| {
        with_property(diary_event(&world, uid, start, phone), "organizer", organizer)
    };
    // Eve invites both calendars, and her event names the number of a victim.
    for feed in ["diary.ics", "anna.ics"] {
        let invitation = invite("eve", "052-555-0101", "mailto:eve@evil.example");
        fake_calendars.put_event(feed, invitation).unwrap();
        fake_calendars.put_event(feed, diary_event(&world, "plain", start, "054-555-0199")).unwrap();
    }
    fake_calendars.put_event("anna.ics", invite("own", "054-555-0142", "mailto:Anna@clinic.example")).unwrap();
    fake_calendars.put_event("anna.ics", invite("branch", "054-555-0143", "mailto:dana@branch.example")).unwrap();
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["read"], &polled["reports"]), (&json!(2), &json!(4)), "{polled}");
    for feed in ["diary", "anna"] {
        let problem = feed_problem(&world, feed);
        assert!(problem.starts_with("1 events with a phone number have another organizer"), "{problem}");
        assert!(problem.contains("`organizers`") && !problem.contains("eve@"), "{problem}");
    }
    advance_to_day_before(&world, start).await;
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 0, "the victim");
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 2, "events without an organizer are the owner's");
    assert_eq!(world.messages().len(), 4);
    // An invitation that takes over a known event ends its reminders.
    let taken = invite("own", "052-555-0101", "mailto:eve@evil.example");
    fake_calendars.put_event("anna.ics", FakeFeedEvent { sequence: 1, ..taken }).unwrap();
    poll_later(&world).await;
    assert_eq!(world.message_rows()["appointment:anna..own:state"]["state"], "cancelled");
}

#[tokio::test]
async fn an_invitation_that_the_owner_has_not_answered_is_reminded_after_it_is_accepted() {
    let world = start_world_of_anna().await;
    let fake_calendars = world.stack.calendars();
    let start = whole_minute_in_hours(&world, 50);
    let feed_with = |answer: &str| {
        let local = start.strftime("%Y%m%dT%H%M%SZ");
        let text = format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:visit\r\nDTSTART:{local}\r\n\
             DESCRIPTION:Phone: 054-555-0199\r\nORGANIZER:mailto:dana@branch.example\r\n\
             ATTENDEE;PARTSTAT={answer}:mailto:anna@clinic.example\r\n\
             ATTENDEE;PARTSTAT=ACCEPTED:mailto:noa@mail.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        );
        fake_calendars.override_feed("anna.ics", &text);
    };
    for (answer, state) in [("NEEDS-ACTION", "unconfirmed"), ("DECLINED", "unconfirmed"), ("ACCEPTED", "booked")] {
        feed_with(answer);
        poll_later(&world).await;
        assert_eq!(world.message_rows()["appointment:anna..visit:state"]["state"], state, "{answer}");
    }
    advance_to_day_before(&world, start).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    feed_with("DECLINED");
    poll_later(&world).await;
    assert_eq!(world.message_rows()["appointment:anna..visit:state"]["state"], "unconfirmed");
}

#[tokio::test]
async fn a_flood_of_new_appointments_waits_until_an_operator_accepts_it() {
    let world = start_world_of_anna().await;
    let fake_calendars = world.stack.calendars();
    let start = whole_minute_in_hours(&world, 80);
    let put = |ids: std::ops::Range<u32>| {
        for id in ids {
            let event = diary_event(&world, &format!("e{id}"), start, &format!("052-555-01{id:02}"));
            fake_calendars.put_event("anna.ics", event).unwrap();
        }
    };
    put(0..5);
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!(polled["reports"], 5, "the first read has no limit: {polled}");
    // A stranger books and books at a public page.
    put(5..40);
    let polled = poll_later(&world).await;
    assert_eq!((&polled["reports"], &polled["waiting"]), (&json!(2), &json!(33)), "{polled}");
    let problem = feed_problem(&world, "anna");
    assert!(problem.contains("33 new appointments wait") && problem.contains("`new_per_day`"), "{problem}");
    let headers =
        |world: &World| world.message_rows().keys().filter(|key| key.starts_with("appointment:anna..")).count();
    // No row is written for an appointment that waits, however often the feed is read.
    let polled = poll_later(&world).await;
    assert_eq!((&polled["reports"], headers(&world)), (&json!(0), 7), "{polled}");
    assert!(polled["problems"][0].as_str().unwrap().contains("33 new appointments wait"), "{polled}");
    assert!(world.read_gauge("reminder-scheduler", "open_problems").is_some(), "the gauge of the alarm");

    accept_next_read(&world, "anna");
    let polled = poll_later(&world).await;
    assert_eq!((&polled["reports"], headers(&world)), (&json!(33), 40), "{polled}");
    assert_eq!(feed_problem(&world, "anna"), "");
}

#[tokio::test]
async fn a_hostile_event_costs_only_itself_and_a_hostile_feed_no_other_feed() {
    let world = start_world_of_anna().await;
    let fake_calendars = world.stack.calendars();
    let start = whole_minute_in_hours(&world, 50);
    let good = diary_event(&world, "good", start, "054-555-0199");
    fake_calendars.put_event("diary.ics", diary_event(&world, "other", start, "052-555-0142")).unwrap();
    // One event with a million dates.
    let dates = "20261124,".repeat(900_000);
    let hostile = with_property(diary_event(&world, "bad", start, "052-555-0101"), "exdate", "20261124");
    fake_calendars.put_event("anna.ics", hostile).unwrap();
    fake_calendars.put_event("anna.ics", good.clone()).unwrap();
    let text = fake_calendars.read_feed("anna.ics").unwrap().unwrap();
    fake_calendars.override_feed("anna.ics", &text.replace("EXDATE:20261124", &format!("EXDATE:{dates}20261124")));
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["reports"], &polled["unreadable"]), (&json!(2), &json!(0)), "{polled}");
    assert!(feed_problem(&world, "anna").contains("larger than an appointment can be"));

    // A feed whose snapshot fits no row. The other feed is read all the same.
    let mut random = String::new();
    let events = (0..900).map(|number| {
        let uid: String = (0..15).map(|part| sha256_hex(format!("{number} {part}").as_bytes(), 32)).collect();
        format!(
            "BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTART:{}\r\nDESCRIPTION:Phone: 054-555-0199\r\nEND:VEVENT\r\n",
            (start + SignedDuration::from_mins(number)).strftime("%Y%m%dT%H%M%SZ")
        )
    });
    random.extend(events);
    accept_next_read(&world, "anna");
    fake_calendars.override_feed("anna.ics", &format!("BEGIN:VCALENDAR\r\n{random}END:VCALENDAR\r\n"));
    fake_calendars.put_event("diary.ics", good).unwrap();
    let polled = poll_later(&world).await;
    assert_eq!((&polled["failed"], &polled["read"], &polled["reports"]), (&json!(1), &json!(1), &json!(1)), "{polled}");
    let problem = feed_problem(&world, "anna");
    assert!(problem.contains("too many occurrences for a row"), "{problem}");
    assert_eq!(polled["problems"], json!([]), "{polled}");
    world.advance_time(SignedDuration::from_hours(2));
    let polled = world.stack.poll_feeds().await.unwrap();
    assert!(polled["problems"][0].as_str().unwrap().starts_with("feed anna: "), "after two hours: {polled}");
    advance_to_day_before(&world, start).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 2, "both good events");
}

#[tokio::test]
async fn a_feed_that_ended_the_function_is_named_and_read_less_often() {
    let world = start_world_of_anna().await;
    let start = whole_minute_in_hours(&world, 50);
    for feed in ["anna.ics", "diary.ics"] {
        world.stack.calendars().put_event(feed, diary_event(&world, "one", start, "054-555-0199")).unwrap();
    }
    assert_eq!(world.stack.poll_feeds().await.unwrap()["read"], 2);
    assert_eq!(feed_row(&world, "anna").get("unfinished_reads"), None, "the read has a result");
    // A read begins and ends the function.
    let update = json!({
        "TableName": world.table_name("Ledger"), "Key": { "subject": {"S": "feed:anna"}, "stage": {"S": "state"} },
        "UpdateExpression": "SET tried_at = :now ADD unfinished_reads :one",
        "ExpressionAttributeValues": {
            ":now": {"N": world.now().as_millisecond().to_string()}, ":one": {"N": "1"},
        },
    });
    world.stack.dynamo().call_operation("UpdateItem", &update).unwrap();
    world.advance_time(SignedDuration::from_mins(3));
    assert_eq!(world.stack.poll_feeds().await.unwrap()["due"], 0);
    let polled = poll_later(&world).await;
    assert_eq!(polled["due"], 2, "{polled}");
    let logged = |text: &str| world.stack.log_lines("reminder-scheduler").iter().any(|line| line.text.contains(text));
    assert!(logged("the last 1 reads of feed anna ended the function"));
    assert_eq!(feed_row(&world, "anna").get("unfinished_reads"), None);
}

/// A feed with one event for each of these lines.
fn put_feed(world: &World, file: &str, events: impl Iterator<Item = String>) {
    let events: Vec<String> = events.map(|lines| format!("BEGIN:VEVENT\r\n{lines}\r\nEND:VEVENT\r\n")).collect();
    let events = events.concat();
    let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n");
    world.stack.calendars().override_feed(file, &text);
}

#[tokio::test]
async fn a_feed_that_names_its_events_anew_at_each_read_reminds_each_customer_once() {
    let world = start_world_of_anna().await;
    let start = whole_minute_in_hours(&world, 50);
    let lines = |uid: String, hours: i64, phone: &str| {
        let start = (start + SignedDuration::from_hours(hours)).strftime("%Y%m%dT%H%M%SZ");
        format!("{uid}DTSTART:{start}\r\nDESCRIPTION:Business Phone: 052-555-0177\\nPhone : {phone} or 03-555-0123")
    };
    let people = ["052-555-0110", "052-555-0111", "052-555-0112", "052-555-0113"];
    let put = |read: usize| {
        let uids =
            [format!("UID:r{read}-a\r\n"), format!("UID:r{read}-b\r\n"), "UID:none\r\n".to_owned(), String::new()];
        // Two customers at one time.
        let events =
            uids.into_iter().zip([0, 0, 1, 1]).zip(people).map(|((uid, hours), phone)| lines(uid, hours, phone));
        put_feed(&world, "anna.ics", events);
    };
    put(0);
    assert_eq!(world.stack.poll_feeds().await.unwrap()["reports"], 4);
    for read in 1..4 {
        put(read);
        let polled = poll_later(&world).await;
        assert_eq!(
            (&polled["reports"], &polled["suspect"], &polled["waiting"]),
            (&json!(0), &json!(0), &json!(0)),
            "{polled}"
        );
    }
    assert_eq!(feed_problem(&world, "anna"), "");
    advance_to_day_before(&world, start).await;
    // Between the reminders, and after them.
    put(4);
    poll_later(&world).await;
    advance_to_day_before(&world, start + SignedDuration::from_hours(1)).await;
    put(5);
    poll_later(&world).await;
    world.tick().await;
    for phone in people {
        let texts = world.texts_on_phone(&format!("+972{}", phone.trim_start_matches('0').replace('-', "")));
        assert_eq!(texts.len(), 1, "{phone}: {texts:?}");
    }
    assert_eq!(world.messages().len(), 4);
    // Later, one of two customers cancels while the other gets another name.
    world.advance_time(SignedDuration::from_hours(30));
    let start = start + SignedDuration::from_hours(100);
    let later = |uid: &str, phone: &str| {
        let start = start.strftime("%Y%m%dT%H%M%SZ");
        format!("UID:{uid}\r\nDTSTART:{start}\r\nDESCRIPTION:Phone: {phone}")
    };
    put_feed(&world, "anna.ics", [later("x1", people[0]), later("x2", people[1])].into_iter());
    poll_later(&world).await;
    put_feed(&world, "anna.ics", [later("y2", people[1])].into_iter());
    poll_later(&world).await;
    advance_to_day_before(&world, start).await;
    assert_eq!(world.messages().len(), 5);
}

#[tokio::test]
async fn series_that_are_moved_by_an_hour_remind_each_customer_at_the_new_time_only() {
    let world = start_world_of_anna().await;
    let start = whole_minute_in_hours(&world, 50);
    let put = |start: jiff::Timestamp| {
        let series = (0..10).map(|person| {
            let start = start.strftime("%Y%m%dT%H%M%SZ");
            format!(
                "UID:series-{person}\r\nDTSTART:{start}\r\nRRULE:FREQ=DAILY;COUNT=5\r\n\
                 DESCRIPTION:Phone: 052-555-01{person:02}"
            )
        });
        put_feed(&world, "anna.ics", series);
    };
    put(start);
    assert_eq!(world.stack.poll_feeds().await.unwrap()["reports"], 50);
    let moved = start + SignedDuration::from_hours(1);
    put(moved);
    // Fifty moves, none of them a new appointment: a day has at most two.
    let polled = poll_later(&world).await;
    assert_eq!(
        (&polled["reports"], &polled["suspect"], &polled["waiting"]),
        (&json!(50), &json!(0), &json!(0)),
        "{polled}"
    );
    assert_eq!(feed_problem(&world, "anna"), "");
    let rows = world.message_rows();
    let states: Vec<&str> = rows
        .iter()
        .filter(|(key, _)| key.starts_with("appointment:anna..") && key.ends_with(":state"))
        .map(|(_, row)| row["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["booked"; 50]);
    advance_to_day_before(&world, start).await;
    assert_eq!(world.messages().len(), 0, "no reminder for the old time");
    for day in 0..5_i64 {
        advance_to_day_before(&world, moved + SignedDuration::from_hours(24 * day)).await;
        assert_eq!(world.messages().len(), 10 * usize::try_from(day + 1).unwrap(), "day {day}");
    }
    for person in 0..10 {
        assert_eq!(world.texts_on_phone(&format!("+9725255501{person:02}")).len(), 5);
    }
}

#[tokio::test]
async fn a_slow_feed_that_is_pushed_often_is_read_by_its_schedule() {
    let world = World::start().await;
    let fake_calendars = world.stack.calendars();
    let start = whole_minute_in_hours(&world, 50);
    let put = |number: u32| {
        let start = start + SignedDuration::from_mins(15 * i64::from(number));
        let event = FakeFeedEvent {
            sequence: number,
            changed_at: world.now(),
            ..diary_event(&world, "one", start, "054-555-0199")
        };
        fake_calendars.put_event("diary.ics", event).unwrap();
    };
    put(0);
    assert_eq!(world.stack.poll_feeds().await.unwrap()["read"], 1);
    for number in 1..=2 {
        world.advance_time(SignedDuration::from_mins(4));
        put(number);
        // The host is slower than a push may be, and no slower than the schedule allows.
        world.stack.fakes().set_hanging(FakeService::Feed, true);
        let reads_before = world.stack.fakes().request_count(FakeService::Feed);
        let pushes = [10 * number, 10 * number + 1];
        for push in pushes {
            assert_eq!(world.post(google_push("exists", push)).await, 200);
            // The second push comes in while the read of the first one hangs.
            let read_began = async {
                while world.stack.fakes().request_count(FakeService::Feed) == reads_before {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), read_began).await.unwrap();
        }
        world.settle().await;
        let reads = world.stack.fakes().request_count(FakeService::Feed) - reads_before;
        assert_eq!(reads, 1, "the second push waits for no second read");
        world.stack.fakes().set_hanging(FakeService::Feed, false);
        for push in pushes {
            let outcome = world.delivery_outcome_text(&format!("diary#4ba78bf0.{push}")).unwrap();
            assert!(outcome.contains("on its schedule"), "{outcome}");
        }
        let row = feed_row(&world, "diary");
        assert!(row["failures"].as_i64().is_none_or(|failures| failures == 0), "{row}");
        assert_eq!((&row["failing_since"], &row["polled_at"]), (&Value::Null, &Value::Null), "{row}");
        world.advance_time(SignedDuration::from_mins(1));
        let polled = world.stack.poll_feeds().await.unwrap();
        assert_eq!((&polled["read"], &polled["reports"]), (&json!(1), &json!(1)), "{polled}");
    }
    advance_to_day_before(&world, start + SignedDuration::from_mins(30)).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
}

/// An operator accepts the next read of a feed.
fn accept_next_read(world: &World, feed: &str) {
    let update = json!({
        "TableName": world.table_name("Ledger"),
        "Key": { "subject": {"S": format!("feed:{feed}")}, "stage": {"S": "state"} },
        "UpdateExpression": "SET accept_next_read = :yes", "ExpressionAttributeValues": { ":yes": {"BOOL": true} },
    });
    world.stack.dynamo().call_operation("UpdateItem", &update).unwrap();
}
