//! Every kind of calendar, from what it posts, or holds, to the reminder.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use local::{
    calendars::{Appointment, Customer, Event},
    peers::{Peer, Trouble},
};
use serde_json::{Value, json};

use crate::{
    bookings_door::{acuity, calcom, calendly, google, recorded, square},
    world::World,
};

const NOA: &str = "+972545550199";
const ADI: &str = "+972525550101";

/// A whole minute in so many hours.
fn in_hours(world: &World, hours: i64) -> Timestamp {
    let at = world.now() + SignedDuration::from_hours(hours);
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap()
}

/// Lets time pass up to a day before a start, and the clock do what it does.
async fn a_day_before(world: &World, start: Timestamp) {
    let at = start - SignedDuration::from_hours(24) + SignedDuration::from_secs(30);
    world.pass(at.duration_since(world.now()));
    world.tick().await;
}

/// A recorded delivery with other values.
fn changed(file: &str, changes: &[(&str, Value)]) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(&recorded(file)).unwrap();
    for (pointer, value) in changes {
        *body.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} in {file}")) = value.clone();
    }
    body.to_string().into_bytes()
}

#[tokio::test]
async fn a_booking_of_calcom_that_moves_to_a_new_id_is_reminded_at_its_new_time_only() {
    let world = World::start().await;
    let (first, second) = (in_hours(&world, 50), in_hours(&world, 80));
    let booked = |file: &str, start: Timestamp| {
        changed(
            file,
            &[
                ("/createdAt", json!(world.now().to_string())),
                ("/payload/startTime", json!(start.to_string())),
                ("/payload/attendees/0/language/locale", json!("en")),
            ],
        )
    };
    world.deliver(calcom(booked("calcom/booking_created.json", first))).await;
    world.pass(SignedDuration::from_secs(30));
    let moved = booked("calcom/booking_rescheduled.json", second);
    world.deliver(calcom(moved.clone())).await;
    a_day_before(&world, first).await;
    assert_eq!(world.messages().len(), 0, "nothing for the time that was");
    a_day_before(&world, second).await;
    assert_eq!(world.texts(NOA).len(), 1);
    assert!(world.texts(NOA)[0].starts_with("Maya, tomorrow at"), "{:?}", world.texts(NOA));
    world.pass(SignedDuration::from_secs(30));
    world.deliver(calcom(booked("calcom/booking_cancelled.json", second))).await;
    world.pass(second.duration_since(world.now()) - SignedDuration::from_hours(2));
    world.tick().await;
    assert_eq!(world.texts(NOA).len(), 1, "nothing after the cancellation");
}

#[tokio::test]
async fn both_halves_of_a_move_at_calendly_lead_to_one_reminder_whichever_comes_first() {
    for cancelled_first in [true, false] {
        let world = World::start().await;
        let (first, second) = (in_hours(&world, 50), in_hours(&world, 80));
        let body = |file: &str, start: Timestamp| {
            let created_at = ("/created_at", json!(world.now().to_string()));
            changed(file, &[created_at, ("/payload/scheduled_event/start_time", json!(start.to_string()))])
        };
        world.deliver(calendly(&world, body("calendly/invitee_created.json", first))).await;
        world.pass(SignedDuration::from_secs(30));
        let old_half = body("calendly/reschedule_1_canceled.json", first);
        let new_half = body("calendly/reschedule_2_created.json", second);
        let halves = if cancelled_first { [old_half, new_half] } else { [new_half, old_half] };
        for half in halves {
            world.deliver(calendly(&world, half)).await;
        }
        a_day_before(&world, first).await;
        assert_eq!(world.messages().len(), 0, "nothing for the time that was");
        a_day_before(&world, second).await;
        assert_eq!(world.texts(ADI).len(), 1, "cancelled first: {cancelled_first}");
    }
}

#[tokio::test]
async fn an_appointment_of_acuity_is_read_back_however_often_it_posts_and_when_its_api_was_away() {
    let world = World::start().await;
    let standin = world.stack.calendars();
    let start = in_hours(&world, 50);
    standin.put_appointment(Appointment::recorded(1_126_438_001, start, "Asia/Jerusalem")).unwrap();
    let post = |action: &str| {
        acuity(format!("action={action}&id=1126438001&calendarID=4210001&appointmentTypeID=3310002").into_bytes())
    };
    world.stack.peers().fail_next(Peer::Acuity, Trouble::Status(503), 2);
    world.deliver(post("scheduled")).await;
    world.deliver(post("changed")).await;
    let header = &world.rows()["appointment:studio..1126438001:state"];
    assert_eq!((&header["generation"], &header["state"]), (&json!(1), &json!("booked")), "the second says nothing new");
    a_day_before(&world, start).await;
    assert_eq!(world.texts(ADI).len(), 1);
    assert_eq!(world.state("appointment:studio..1126438001:24h"), "accepted");

    let gone = Appointment { canceled: true, ..standin.appointment(1_126_438_001).unwrap() };
    standin.put_appointment(gone).unwrap();
    world.deliver(post("canceled")).await;
    world.pass(start.duration_since(world.now()) - SignedDuration::from_hours(2));
    world.tick().await;
    assert_eq!(world.texts(ADI).len(), 1);
    assert_eq!(world.stack.failures().len(), 0);
}

#[tokio::test]
async fn a_customer_of_square_is_read_back() {
    let world = World::start().await;
    let start = in_hours(&world, 50);
    let customer = Customer {
        id: "EX2QSVGTZN4K1E5QE1CBFNVQ8M".into(),
        given_name: "Adi".into(),
        family_name: "Sela".into(),
        phone_number: Some("052-555-0101".into()),
    };
    world.stack.calendars().put_customer(customer).unwrap();
    let at = ("/data/object/booking/updated_at", json!(world.now().to_string()));
    let starts = ("/data/object/booking/start_at", json!(start.to_string()));
    world.deliver(square(changed("square/booking_created.json", &[at, starts]))).await;
    a_day_before(&world, start).await;
    assert_eq!(world.texts(ADI).len(), 1, "{:?}", world.rows().keys());
    assert!(world.texts(ADI)[0].starts_with("Adi, tomorrow at"));
}

fn event(world: &World, uid: &str, start: Timestamp, phone: &str) -> Event {
    let texts = [("summary", "Haircut".to_owned()), ("description", format!("Name: Noa\nPhone: {phone}"))];
    Event {
        uid: uid.to_owned(),
        start,
        zone: "Asia/Jerusalem".into(),
        sequence: 0,
        changed_at: world.now(),
        texts: BTreeMap::from(texts.map(|(name, text)| (name.to_owned(), text))),
    }
}

#[tokio::test]
async fn a_feed_is_asked_for_again_and_again_and_what_changed_in_it_is_reminded() {
    let world = World::start().await;
    let feed = world.stack.calendars();
    let (first, second, third) = (in_hours(&world, 50), in_hours(&world, 75), in_hours(&world, 51));
    feed.put_event("diary.ics", event(&world, "one", first, "054-555-0199")).unwrap();
    feed.put_event("diary.ics", event(&world, "two", third, "052-555-0101")).unwrap();
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["read"], &polled["reports"]), (&json!(1), &json!(2)), "{polled}");
    // Asked for too soon, it is left alone; later it says that nothing changed.
    assert_eq!(world.stack.poll_feeds().await.unwrap()["due"], 0);
    world.pass(SignedDuration::from_mins(15));
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["unchanged"], &polled["reports"]), (&json!(1), &json!(0)), "{polled}");

    // One moves, and Google says so at once; the other vanishes.
    let moved = Event { sequence: 1, changed_at: world.now(), ..event(&world, "one", second, "054-555-0199") };
    feed.put_event("diary.ics", moved).unwrap();
    feed.remove_event("diary.ics", "two").unwrap();
    world.deliver(google("exists", 2)).await;
    assert_eq!(world.outcome("diary#4ba78bf0.2").as_deref(), Some("feed-asked: 2 appointments changed"));
    a_day_before(&world, first).await;
    a_day_before(&world, third).await;
    assert_eq!(world.messages().len(), 0);
    a_day_before(&world, second).await;
    assert_eq!(world.texts(NOA).len(), 1, "{:?}", world.rows().keys());
    assert_eq!(world.texts(ADI).len(), 0);
}

#[tokio::test]
async fn a_feed_that_fails_or_is_suddenly_empty_cancels_nothing_until_somebody_says_so() {
    let world = World::start().await;
    let feed = world.stack.calendars();
    let start = in_hours(&world, 60);
    for number in 0..5 {
        let uid = format!("e{number}");
        feed.put_event("diary.ics", event(&world, &uid, start, &format!("052-555-010{number}"))).unwrap();
    }
    assert_eq!(world.stack.poll_feeds().await.unwrap()["reports"], 5);
    let whole = feed.feed("diary.ics").unwrap().unwrap();
    let emptied = format!("{}END:VCALENDAR\r\n", &whole[..whole.find("BEGIN:VEVENT").unwrap()]);
    for trouble in [Trouble::Status(500), Trouble::Status(404), Trouble::Empty, Trouble::Half] {
        world.pass(SignedDuration::from_mins(15));
        // Something changed, or it would be answered that nothing did.
        feed.put_event("diary.ics", Event { changed_at: world.now(), ..event(&world, "e0", start, "052-555-0100") })
            .unwrap();
        world.stack.peers().fail_next(Peer::Feed, trouble, 1);
        let polled = world.stack.poll_feeds().await.unwrap();
        assert_eq!((&polled["unreadable"], &polled["reports"]), (&json!(1), &json!(0)), "{trouble:?}: {polled}");
    }
    feed.set_feed("diary.ics", &emptied);
    for _ in 0..3 {
        world.pass(SignedDuration::from_mins(15));
        let polled = world.stack.poll_feeds().await.unwrap();
        assert_eq!((&polled["doubtful"], &polled["reports"]), (&json!(1), &json!(0)), "{polled}");
    }
    a_day_before(&world, start).await;
    assert_eq!(world.messages().len(), 5, "all of them were reminded");

    let believe = json!({
        "TableName": world.table("Ledger"), "Key": { "subject": {"S": "feed:diary"}, "stage": {"S": "state"} },
        "UpdateExpression": "SET believe = :yes", "ExpressionAttributeValues": { ":yes": {"BOOL": true} },
    });
    world.stack.dynamo().call("UpdateItem", &believe).unwrap();
    world.pass(SignedDuration::from_mins(15));
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["read"], &polled["reports"]), (&json!(1), &json!(5)), "{polled}");
    world.pass(start.duration_since(world.now()) - SignedDuration::from_hours(2));
    world.tick().await;
    assert_eq!(world.messages().len(), 5, "and nothing after it was believed");
}

#[tokio::test]
async fn what_a_delivery_says_by_itself_counts_while_nobody_can_be_asked() {
    let world = World::start().await;
    let standin = world.stack.calendars();
    let (first, second) = (in_hours(&world, 50), in_hours(&world, 80));
    let customer = Customer {
        id: "EX2QSVGTZN4K1E5QE1CBFNVQ8M".into(),
        given_name: "Adi".into(),
        family_name: "Sela".into(),
        phone_number: Some("052-555-0101".into()),
    };
    standin.put_customer(customer).unwrap();
    let booked = |start: Timestamp| {
        let at = ("/data/object/booking/updated_at", json!(world.now().to_string()));
        let event = ("/event_id", json!(format!("event-{start}")));
        let starts = ("/data/object/booking/start_at", json!(start.to_string()));
        square(changed("square/booking_created.json", &[at, event, starts]))
    };
    world.deliver(booked(first)).await;
    // Moved while Square's customers are not to be had: whoever took part still does, at the new time.
    world.pass(SignedDuration::from_secs(30));
    world.stack.peers().fail_next(Peer::Square, Trouble::Status(400), 1);
    world.deliver(booked(second)).await;
    a_day_before(&world, first).await;
    assert_eq!(world.messages().len(), 0, "nothing for the time that was");

    // Cancelled while Acuity is not to be had.
    let start = in_hours(&world, 40);
    standin.put_appointment(Appointment::recorded(7, start, "Asia/Jerusalem")).unwrap();
    world.deliver(acuity(b"action=scheduled&id=7".to_vec())).await;
    assert_eq!(world.rows()["appointment:studio..7:state"]["state"], "booked");
    world.stack.peers().fail_next(Peer::Acuity, Trouble::Status(503), 1);
    world.pass(SignedDuration::from_secs(30));
    world.deliver(acuity(b"action=canceled&id=7".to_vec())).await;
    assert_eq!(world.rows()["appointment:studio..7:state"]["state"], "cancelled");

    a_day_before(&world, start).await;
    assert_eq!(world.messages().len(), 0);
    a_day_before(&world, second).await;
    assert_eq!(world.texts(ADI).len(), 1);
}
