//! Every kind of calendar, from its delivery or feed to the reminder.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tellonce_fakes::{
    calendars::{FakeAcuityAppointment, FakeFeedEvent, FakeSquareCustomer},
    services::{FakeFault, FakeService},
};

use crate::{
    booking_endpoint::{acuity_post, calcom_post, calendly_post, google_push, recorded_body, square_post},
    world::{World, WorldSetup},
};

pub(crate) const NOA_PHONE: &str = "+972545550199";
pub(crate) const ADI_PHONE: &str = "+972525550101";

/// The time in `hours` hours, rounded down to the minute.
pub(crate) fn whole_minute_in_hours(world: &World, hours: i64) -> Timestamp {
    let at = world.now() + SignedDuration::from_hours(hours);
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap()
}

/// Lets time pass until a day before a start, then runs the minute schedule.
pub(crate) async fn advance_to_day_before(world: &World, start: Timestamp) {
    let at = start - SignedDuration::from_hours(24) + SignedDuration::from_secs(30);
    world.advance_time(at.duration_since(world.now()));
    world.tick().await;
}

/// A recorded delivery with other values at these JSON pointers.
pub(crate) fn recorded_body_with(file: &str, changes: &[(&str, Value)]) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(&recorded_body(file)).unwrap();
    for (pointer, value) in changes {
        *body.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} in {file}")) = value.clone();
    }
    body.to_string().into_bytes()
}

#[tokio::test]
async fn a_booking_of_calcom_that_moves_to_a_new_id_is_reminded_at_its_new_time_only() {
    let world = World::start().await;
    let (first, second) = (whole_minute_in_hours(&world, 50), whole_minute_in_hours(&world, 80));
    let booked = |file: &str, start: Timestamp| {
        recorded_body_with(
            file,
            &[
                ("/createdAt", json!(world.now().to_string())),
                ("/payload/startTime", json!(start.to_string())),
                ("/payload/attendees/0/language/locale", json!("en")),
            ],
        )
    };
    world.deliver(calcom_post(booked("calcom/booking_created.json", first))).await;
    world.advance_time(SignedDuration::from_secs(30));
    let moved = booked("calcom/booking_rescheduled.json", second);
    world.deliver(calcom_post(moved.clone())).await;
    advance_to_day_before(&world, first).await;
    assert_eq!(world.messages().len(), 0, "no reminder for the old time");
    advance_to_day_before(&world, second).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    assert!(
        world.texts_on_phone(NOA_PHONE)[0].starts_with("Maya, tomorrow at"),
        "{:?}",
        world.texts_on_phone(NOA_PHONE)
    );
    world.advance_time(SignedDuration::from_secs(30));
    world.deliver(calcom_post(booked("calcom/booking_cancelled.json", second))).await;
    world.advance_time(second.duration_since(world.now()) - SignedDuration::from_hours(2));
    world.tick().await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1, "no reminder after the cancellation");
}

#[tokio::test]
async fn a_confirmation_of_calcom_without_answers_is_reminded_at_the_requested_number() {
    let world = World::start().await;
    let start = whole_minute_in_hours(&world, 50);
    let body = |event: &str, status: &str| {
        let changes = [
            ("/triggerEvent", json!(event)),
            ("/createdAt", json!(world.now().to_string())),
            ("/payload/status", json!(status)),
            ("/payload/startTime", json!(start.to_string())),
        ];
        recorded_body_with("calcom/booking_created.json", &changes)
    };
    world.deliver(calcom_post(body("BOOKING_REQUESTED", "PENDING"))).await;
    world.advance_time(SignedDuration::from_secs(30));
    let mut confirmed: Value = serde_json::from_slice(&body("BOOKING_CREATED", "ACCEPTED")).unwrap();
    confirmed["payload"].as_object_mut().unwrap().remove("responses");
    confirmed["payload"]["attendees"][0].as_object_mut().unwrap().remove("phoneNumber");
    world.deliver(calcom_post(confirmed.to_string().into_bytes())).await;
    advance_to_day_before(&world, start).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
}

#[tokio::test]
async fn a_location_that_a_visitor_of_calcom_types_is_never_sent() {
    let text = "{{ time }}{% if title %} {{ title }}{% endif %}{% if place %} at {{ place }}{% endif %}";
    let reminder = |calendar: &str| {
        format!("[calendars.{calendar}.reminders.\"3h\"]\ntext = {{ en = \"{text}\", he = \"{text}\" }}\n")
    };
    let extra_toml = (reminder("clinic") + &reminder("diary")).leak();
    let words = "Call +972 2-555-0123 urgently about your bank card";
    for (kind, typed, location, place) in [
        (words, "", words, None),
        ("attendeeInPerson", words, words, None),
        ("inPerson", words, words, None),
        ("inPerson", "", "Herzl 12, Haifa", Some("Herzl 12, Haifa")),
    ] {
        let world = World::start_with(WorldSetup { extra_toml, ..WorldSetup::default() }).await;
        let start = whole_minute_in_hours(&world, 20);
        let changes = [
            ("/createdAt", json!(world.now().to_string())),
            ("/payload/startTime", json!(start.to_string())),
            ("/payload/location", json!(location)),
            ("/payload/responses/location/value", json!({"value": kind, "optionValue": typed})),
        ];
        world.deliver(calcom_post(recorded_body_with("calcom/booking_created.json", &changes))).await;
        // The same words in an event of the feed.
        let mut event = diary_event(&world, "one", start, "052-555-0101");
        event.texts.insert("location".to_owned(), words.to_owned());
        world.stack.calendars().put_event("diary.ics", event).unwrap();
        world.stack.poll_feeds().await.unwrap();
        world.advance_time(start.duration_since(world.now()) - SignedDuration::from_hours(3));
        world.tick().await;
        let texts = [world.texts_on_phone(NOA_PHONE), world.texts_on_phone(ADI_PHONE)].concat();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(!texts.iter().any(|text| text.contains("bank card") || text.contains("Haircut")), "{texts:?}");
        let sent_place = world.texts_on_phone(NOA_PHONE)[0].split_once(" at ").map(|(_, place)| place.to_owned());
        assert_eq!(sent_place.as_deref(), place, "{texts:?}");
    }
}

#[tokio::test]
async fn both_halves_of_a_move_at_calendly_lead_to_one_reminder_whichever_comes_first() {
    for cancelled_first in [true, false] {
        let world = World::start().await;
        let (first, second) = (whole_minute_in_hours(&world, 50), whole_minute_in_hours(&world, 80));
        let body = |file: &str, start: Timestamp| {
            let created_at = ("/created_at", json!(world.now().to_string()));
            recorded_body_with(file, &[created_at, ("/payload/scheduled_event/start_time", json!(start.to_string()))])
        };
        world.deliver(calendly_post(&world, body("calendly/invitee_created.json", first))).await;
        world.advance_time(SignedDuration::from_secs(30));
        let old_half = body("calendly/reschedule_1_canceled.json", first);
        let new_half = body("calendly/reschedule_2_created.json", second);
        let halves = if cancelled_first { [old_half, new_half] } else { [new_half, old_half] };
        for half in halves {
            world.deliver(calendly_post(&world, half)).await;
        }
        advance_to_day_before(&world, first).await;
        assert_eq!(world.messages().len(), 0, "no reminder for the old time");
        advance_to_day_before(&world, second).await;
        assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 1, "cancelled first: {cancelled_first}");
    }
}

#[tokio::test]
async fn an_acuity_appointment_is_looked_up_despite_repeated_posts_and_an_api_outage() {
    let world = World::start().await;
    let fake_calendars = world.stack.calendars();
    let start = whole_minute_in_hours(&world, 50);
    fake_calendars
        .put_appointment(FakeAcuityAppointment::from_recording(1_126_438_001, start, "Asia/Jerusalem"))
        .unwrap();
    let post = |action: &str| {
        acuity_post(format!("action={action}&id=1126438001&calendarID=4210001&appointmentTypeID=3310002").into_bytes())
    };
    world.stack.fakes().fail_next(FakeService::Acuity, FakeFault::Status(503), 2);
    world.deliver(post("scheduled")).await;
    world.deliver(post("changed")).await;
    assert_eq!(world.waiting_lookups().len(), 2);
    world.tick_after(SignedDuration::from_mins(1)).await;
    assert_eq!(world.waiting_lookups().len(), 0);
    let header = &world.message_rows()["appointment:studio..1126438001:state"];
    assert_eq!(
        (&header["generation"], &header["state"]),
        (&json!(1), &json!("booked")),
        "the second delivery changes nothing"
    );
    advance_to_day_before(&world, start).await;
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 1);
    assert_eq!(world.message_state("appointment:studio..1126438001:24h"), "accepted");

    let cancelled = FakeAcuityAppointment { canceled: true, ..fake_calendars.find_appointment(1_126_438_001).unwrap() };
    fake_calendars.put_appointment(cancelled).unwrap();
    world.deliver(post("canceled")).await;
    world.advance_time(start.duration_since(world.now()) - SignedDuration::from_hours(2));
    world.tick().await;
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 1);
    assert_eq!(world.stack.failures().len(), 0);
}

#[tokio::test]
async fn a_square_customer_is_looked_up() {
    let world = World::start().await;
    let start = whole_minute_in_hours(&world, 50);
    let customer = FakeSquareCustomer {
        id: "EX2QSVGTZN4K1E5QE1CBFNVQ8M".into(),
        given_name: "Adi".into(),
        family_name: "Sela".into(),
        phone_number: Some("052-555-0101".into()),
    };
    world.stack.calendars().put_customer(customer).unwrap();
    let at = ("/data/object/booking/updated_at", json!(world.now().to_string()));
    let starts = ("/data/object/booking/start_at", json!(start.to_string()));
    world.deliver(square_post(recorded_body_with("square/booking_created.json", &[at, starts]))).await;
    advance_to_day_before(&world, start).await;
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 1, "{:?}", world.message_rows().keys());
    assert!(world.texts_on_phone(ADI_PHONE)[0].starts_with("Adi, tomorrow at"));
}

pub(crate) fn diary_event(world: &World, uid: &str, start: Timestamp, phone: &str) -> FakeFeedEvent {
    let texts = [("summary", "Haircut".to_owned()), ("description", format!("Name: Noa\nPhone: {phone}"))];
    FakeFeedEvent {
        uid: uid.to_owned(),
        start,
        zone: "Asia/Jerusalem".into(),
        sequence: 0,
        changed_at: world.now(),
        texts: BTreeMap::from(texts.map(|(name, text)| (name.to_owned(), text))),
    }
}

#[tokio::test]
async fn a_feed_is_polled_repeatedly_and_its_changes_lead_to_reminders() {
    let world = World::start().await;
    let fake_calendars = world.stack.calendars();
    let (first, second, third) =
        (whole_minute_in_hours(&world, 50), whole_minute_in_hours(&world, 75), whole_minute_in_hours(&world, 51));
    fake_calendars.put_event("diary.ics", diary_event(&world, "one", first, "054-555-0199")).unwrap();
    fake_calendars.put_event("diary.ics", diary_event(&world, "two", third, "052-555-0101")).unwrap();
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["read"], &polled["reports"]), (&json!(1), &json!(2)), "{polled}");
    // Too early, the feed is not due. Later it is unchanged.
    assert_eq!(world.stack.poll_feeds().await.unwrap()["due"], 0);
    world.advance_time(SignedDuration::from_mins(15));
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["unchanged"], &polled["reports"]), (&json!(1), &json!(0)), "{polled}");

    // One event moves, and Google reports it at once. The other event disappears.
    let moved =
        FakeFeedEvent { sequence: 1, changed_at: world.now(), ..diary_event(&world, "one", second, "054-555-0199") };
    fake_calendars.put_event("diary.ics", moved).unwrap();
    fake_calendars.remove_event("diary.ics", "two").unwrap();
    world.deliver(google_push("exists", 2)).await;
    assert_eq!(world.delivery_outcome("diary#4ba78bf0.2").as_deref(), Some("feed-polled"));
    assert_eq!(world.delivery_outcome_text("diary#4ba78bf0.2").as_deref(), Some("2 appointments changed"));
    advance_to_day_before(&world, first).await;
    advance_to_day_before(&world, third).await;
    assert_eq!(world.messages().len(), 0);
    advance_to_day_before(&world, second).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1, "{:?}", world.message_rows().keys());
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 0);
}

#[tokio::test]
async fn a_feed_that_fails_or_is_suddenly_empty_cancels_nothing_until_an_operator_accepts_it() {
    let world = World::start().await;
    let fake_calendars = world.stack.calendars();
    let start = whole_minute_in_hours(&world, 60);
    for number in 0..5 {
        let uid = format!("e{number}");
        fake_calendars
            .put_event("diary.ics", diary_event(&world, &uid, start, &format!("052-555-010{number}")))
            .unwrap();
    }
    assert_eq!(world.stack.poll_feeds().await.unwrap()["reports"], 5);
    let full_feed = fake_calendars.read_feed("diary.ics").unwrap().unwrap();
    let empty_feed = format!("{}END:VCALENDAR\r\n", &full_feed[..full_feed.find("BEGIN:VEVENT").unwrap()]);
    for trouble in [FakeFault::Status(500), FakeFault::Status(404), FakeFault::EmptyBody, FakeFault::HalfBody] {
        world.advance_time(SignedDuration::from_mins(15));
        // Change an event. Otherwise the fake answers 304.
        fake_calendars
            .put_event(
                "diary.ics",
                FakeFeedEvent { changed_at: world.now(), ..diary_event(&world, "e0", start, "052-555-0100") },
            )
            .unwrap();
        world.stack.fakes().fail_next(FakeService::Feed, trouble, 1);
        let polled = world.stack.poll_feeds().await.unwrap();
        assert_eq!((&polled["unreadable"], &polled["reports"]), (&json!(1), &json!(0)), "{trouble:?}: {polled}");
    }
    fake_calendars.override_feed("diary.ics", &empty_feed);
    for _ in 0..3 {
        world.advance_time(SignedDuration::from_mins(15));
        let polled = world.stack.poll_feeds().await.unwrap();
        assert_eq!((&polled["suspect"], &polled["reports"]), (&json!(1), &json!(0)), "{polled}");
    }
    advance_to_day_before(&world, start).await;
    assert_eq!(world.messages().len(), 5, "each appointment was reminded");

    let accept_next_read = json!({
        "TableName": world.table_name("Ledger"), "Key": { "subject": {"S": "feed:diary"}, "stage": {"S": "state"} },
        "UpdateExpression": "SET accept_next_read = :yes", "ExpressionAttributeValues": { ":yes": {"BOOL": true} },
    });
    world.stack.dynamo().call_operation("UpdateItem", &accept_next_read).unwrap();
    world.advance_time(SignedDuration::from_mins(15));
    let polled = world.stack.poll_feeds().await.unwrap();
    assert_eq!((&polled["read"], &polled["reports"]), (&json!(1), &json!(5)), "{polled}");
    world.advance_time(start.duration_since(world.now()) - SignedDuration::from_hours(2));
    world.tick().await;
    assert_eq!(world.messages().len(), 5, "no reminder after the empty feed was accepted");
}

#[tokio::test]
async fn a_delivery_s_own_data_is_used_while_the_calendar_api_is_down() {
    let world = World::start().await;
    let fake_calendars = world.stack.calendars();
    let (first, second) = (whole_minute_in_hours(&world, 50), whole_minute_in_hours(&world, 80));
    let customer = FakeSquareCustomer {
        id: "EX2QSVGTZN4K1E5QE1CBFNVQ8M".into(),
        given_name: "Adi".into(),
        family_name: "Sela".into(),
        phone_number: Some("052-555-0101".into()),
    };
    fake_calendars.put_customer(customer).unwrap();
    let booked = |start: Timestamp| {
        let at = ("/data/object/booking/updated_at", json!(world.now().to_string()));
        let event = ("/event_id", json!(format!("event-{start}")));
        let starts = ("/data/object/booking/start_at", json!(start.to_string()));
        square_post(recorded_body_with("square/booking_created.json", &[at, event, starts]))
    };
    world.deliver(booked(first)).await;
    // Moved while the customer lookup fails: the known attendees stay and are reminded at the new
    // time.
    world.advance_time(SignedDuration::from_secs(30));
    world.stack.fakes().fail_next(FakeService::Square, FakeFault::Status(400), 1);
    world.deliver(booked(second)).await;
    advance_to_day_before(&world, first).await;
    assert_eq!(world.messages().len(), 0, "no reminder for the old time");

    // Cancelled while Acuity's API is down.
    let start = whole_minute_in_hours(&world, 40);
    fake_calendars.put_appointment(FakeAcuityAppointment::from_recording(7, start, "Asia/Jerusalem")).unwrap();
    world.deliver(acuity_post(b"action=scheduled&id=7".to_vec())).await;
    assert_eq!(world.message_rows()["appointment:studio..7:state"]["state"], "booked");
    world.stack.fakes().fail_next(FakeService::Acuity, FakeFault::Status(503), 1);
    world.advance_time(SignedDuration::from_secs(30));
    world.deliver(acuity_post(b"action=canceled&id=7".to_vec())).await;
    assert_eq!(world.message_rows()["appointment:studio..7:state"]["state"], "cancelled");

    advance_to_day_before(&world, start).await;
    assert_eq!(world.messages().len(), 0);
    advance_to_day_before(&world, second).await;
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 1);
}
