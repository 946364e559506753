//! Appointments, from a booking to the reminder on the customer's phone.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use local::fake_ezw::{Fault, HealthPreset};
use serde_json::{Value, json};
use shared::{contact::Phone, ledger::contact_subject};

use crate::world::{CRM_SECRET, Post, Setup, World};

const NOA: &str = "+972545550199";
const ADI: &str = "+972525550101";

/// A booking of the CRM, as it stands.
struct Booking {
    id: &'static str,
    start: Timestamp,
    phone: &'static str,
    status: &'static str,
    previous: Option<&'static str>,
    at: Timestamp,
}

impl Booking {
    /// Booked now for in so many hours, by Noa.
    fn new(world: &World, id: &'static str, hours: i64) -> Self {
        let start = world.now() + SignedDuration::from_hours(hours);
        // To the minute, as people book.
        let start = Timestamp::from_second(start.as_second().div_euclid(60) * 60).unwrap();
        Self { id, start, phone: NOA, status: "booked", previous: None, at: world.now() }
    }

    fn post(&self, world: &World, delivery: &str) -> Post {
        let body = json!({
            "id": self.id, "start": self.start.to_string(), "zone": "Asia/Jerusalem", "phone": self.phone, "name": "Noa Levi",
            "locale": "en", "status": self.status, "previous": self.previous, "at": self.at.to_string(),
        });
        world.signed("/bookings/crm", CRM_SECRET, delivery, &body)
    }

    async fn deliver(&self, world: &World, delivery: &str) {
        world.deliver(self.post(world, delivery)).await;
    }

    /// Its start on the clocks of the place.
    fn time(&self) -> String {
        self.start.to_zoned(TimeZone::get("Asia/Jerusalem").unwrap()).strftime("%-H:%M").to_string()
    }
}

/// The header of an appointment.
fn header(world: &World, id: &str) -> Value {
    let row = world.rows().remove(&format!("appointment:{id}:state")).unwrap_or_default();
    let mut header: Value = serde_json::from_str(row["appointment"].as_str().unwrap_or("{}")).unwrap();
    header["version"] = row["version"].clone();
    header
}

/// Lets time pass up to so many hours before a start, and the clock do what it does.
async fn until(world: &World, start: Timestamp, hours_before: i64) -> Value {
    let at = start - SignedDuration::from_hours(hours_before) + SignedDuration::from_secs(20);
    world.pass(at.duration_since(world.now()));
    world.tick().await
}

#[tokio::test]
async fn an_appointment_is_reminded_at_its_stages_and_at_no_other_time() {
    let world = World::start().await;
    let booking = Booking::new(&world, "88", 72);
    booking.deliver(&world, "m-1").await;
    assert_eq!(header(&world, "88")["standing"], "booked");
    world.tick().await;
    world.pass(SignedDuration::from_hours(40));
    world.tick().await;
    assert_eq!(world.texts(NOA), Vec::<String>::new());

    until(&world, booking.start, 24).await;
    assert_eq!(world.texts(NOA), [format!("Noa, tomorrow at {}.", booking.time())]);
    assert_eq!(world.state("appointment:88:24h"), "accepted");
    world.pass(SignedDuration::from_mins(10));
    world.tick().await;
    assert_eq!(world.texts(NOA).len(), 1, "told once");

    until(&world, booking.start, 2).await;
    assert_eq!(world.texts(NOA)[1], format!("Today at {}.", booking.time()));
    assert_eq!(world.state("appointment:88:2h"), "accepted");
    let header = header(&world, "88");
    assert_eq!(header["due_at"], Value::Null, "nothing is left to do: {header}");
    assert_eq!(world.stack.ezw().counters().wakeups, 0);
}

#[tokio::test]
async fn a_move_is_reminded_at_its_new_time_only_and_under_a_key_of_its_own_if_the_old_was_told() {
    let world = World::start().await;
    let first = Booking::new(&world, "88", 72);
    first.deliver(&world, "m-1").await;
    // Moved before anything was said: the plain key is still free.
    let second = Booking {
        start: first.start + SignedDuration::from_hours(26),
        at: world.now(),
        ..Booking::new(&world, "88", 0)
    };
    world.pass(SignedDuration::from_secs(5));
    let second = Booking { at: world.now(), ..second };
    second.deliver(&world, "m-2").await;
    until(&world, first.start, 24).await;
    assert_eq!(world.texts(NOA), Vec::<String>::new(), "nothing for the time that was");
    until(&world, second.start, 24).await;
    assert_eq!(world.texts(NOA), [format!("Noa, tomorrow at {}.", second.time())]);
    assert_eq!(world.state("appointment:88:24h"), "accepted");

    // Moved after that.
    let third = Booking { start: second.start + SignedDuration::from_hours(25), ..Booking::new(&world, "88", 0) };
    third.deliver(&world, "m-3").await;
    until(&world, second.start, 2).await;
    assert_eq!(world.texts(NOA).len(), 1);
    until(&world, third.start, 24).await;
    let key = format!("appointment:88:24h-{}", third.start.strftime("%Y%m%dT%H%MZ"));
    assert_eq!(world.state(&key), "accepted", "{:?}", world.rows().keys());
    assert_eq!(world.texts(NOA)[1], format!("Noa, tomorrow at {}.", third.time()));
    until(&world, third.start, 2).await;
    assert_eq!(world.texts(NOA).len(), 3);
    assert_eq!(world.stack.ezw().most_per_key(), 1);
}

#[tokio::test]
async fn nothing_is_said_after_a_cancellation_in_whatever_order_it_comes() {
    let world = World::start().await;
    let booking = Booking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    world.pass(SignedDuration::from_secs(5));
    let cancelled = Booking { status: "cancelled", at: world.now(), ..Booking::new(&world, "88", 48) };
    cancelled.deliver(&world, "m-2").await;
    // The booking comes once more, late, under another delivery id.
    booking.deliver(&world, "m-3").await;
    assert!(world.outcome("crm#m-3").unwrap().starts_with("out-of-date"), "{:?}", world.outcome("crm#m-3"));
    // Another one is cancelled before its booking arrives.
    let other = Booking { phone: ADI, ..Booking::new(&world, "89", 48) };
    world.pass(SignedDuration::from_secs(5));
    Booking { status: "cancelled", phone: ADI, at: world.now(), ..Booking::new(&world, "89", 48) }
        .deliver(&world, "m-4")
        .await;
    other.deliver(&world, "m-5").await;
    for hours in [24, 2] {
        until(&world, booking.start, hours).await;
    }
    assert_eq!(world.messages().len(), 0);
    assert_eq!(
        (header(&world, "88")["standing"].clone(), header(&world, "89")["standing"].clone()),
        (json!("cancelled"), json!("cancelled"))
    );

    // Booked again, it is reminded again.
    let again = Booking::new(&world, "88", 30);
    again.deliver(&world, "m-6").await;
    until(&world, again.start, 24).await;
    assert_eq!(world.texts(NOA), [format!("Noa, tomorrow at {}.", again.time())]);
}

#[tokio::test]
async fn an_appointment_that_is_booked_inside_a_stage_is_not_reminded_of_it() {
    let world = World::start().await;
    let booking = Booking::new(&world, "88", 5);
    booking.deliver(&world, "m-1").await;
    world.tick().await;
    assert_eq!(world.messages().len(), 0);
    let header = header(&world, "88");
    assert_eq!(header["marks"][0]["outcome"], "skipped", "and that is visible: {header}");
    until(&world, booking.start, 2).await;
    assert_eq!(world.texts(NOA), [format!("Today at {}.", booking.time())]);
}

#[tokio::test]
async fn what_is_only_asked_for_is_reminded_once_it_is_confirmed() {
    let world = World::start().await;
    let asked = Booking { status: "asked", ..Booking::new(&world, "88", 48) };
    asked.deliver(&world, "m-1").await;
    world.pass(SignedDuration::from_hours(1));
    world.tick().await;
    let confirmed = Booking { status: "booked", at: world.now(), ..asked };
    confirmed.deliver(&world, "m-2").await;
    until(&world, confirmed.start, 24).await;
    assert_eq!(world.texts(NOA).len(), 1);
}

#[tokio::test]
async fn an_outage_that_spans_two_stages_costs_the_older_one_and_never_both() {
    let world = World::start().await;
    let booking = Booking::new(&world, "88", 48);
    let later = Booking { phone: ADI, ..Booking::new(&world, "89", 60) };
    booking.deliver(&world, "m-1").await;
    later.deliver(&world, "m-2").await;
    world.stack.ezw().set_health(None, HealthPreset::Qr).unwrap();
    until(&world, booking.start, 24).await;
    until(&world, later.start, 24).await;
    assert_eq!(world.messages().len(), 0);
    assert!(
        !world.rows().keys().any(|key| key.starts_with("appointment") && !key.ends_with(":state")),
        "nothing is opened"
    );

    until(&world, booking.start, 1).await;
    world.stack.ezw().set_health(None, HealthPreset::Good).unwrap();
    world.pass(SignedDuration::from_mins(2));
    world.tick().await;
    // One hour before, "tomorrow" is no longer true, and the other is late and still useful.
    assert_eq!(world.texts(NOA), [format!("Today at {}.", booking.time())]);
    assert_eq!(world.texts(ADI), [format!("Noa, tomorrow at {}.", later.time())]);
    let marks = header(&world, "88")["marks"].clone();
    assert_eq!((&marks[0]["stage"], &marks[0]["outcome"]), (&json!("24h"), &json!("missed")), "{marks}");

    // One that is over when the line comes back is never heard of.
    let third = Booking::new(&world, "90", 30);
    third.deliver(&world, "m-3").await;
    world.stack.ezw().set_health(None, HealthPreset::Qr).unwrap();
    until(&world, third.start, 24).await;
    until(&world, third.start, -1).await;
    world.stack.ezw().set_health(None, HealthPreset::Good).unwrap();
    world.pass(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.texts(NOA).len(), 1);
    assert_eq!(header(&world, "90")["due_at"], Value::Null);
}

#[tokio::test]
async fn a_reminder_that_waits_is_dropped_when_its_appointment_moves_and_sent_when_only_its_header_was_written() {
    let world = World::start().await;
    let moved = Booking::new(&world, "88", 48);
    let kept = Booking { phone: ADI, ..Booking::new(&world, "89", 48) };
    moved.deliver(&world, "m-1").await;
    kept.deliver(&world, "m-2").await;
    // The line asks for patience in the very moment of sending, so that both rows are open and wait.
    let patience = Fault::TooManyRequests { retry_after_s: Some(600) };
    world.stack.ezw().fail_next(1, patience);
    until(&world, moved.start, 24).await;
    world.pass(SignedDuration::from_mins(11));
    world.stack.ezw().fail_next(1, patience);
    world.tick().await;
    let waiting: Vec<_> = ["88", "89"].iter().map(|id| world.state(&format!("appointment:{id}:24h"))).collect();
    assert!(waiting.contains(&"held".to_owned()), "{waiting:?}");
    let held = if waiting[0] == "held" { "88" } else { "89" };
    let (phone, booking) = if held == "88" { (NOA, &moved) } else { (ADI, &kept) };
    let before = world.texts(phone).len();

    // Another title, say: the header is written anew and says the same.
    let same = Booking {
        at: world.now(),
        status: "booked",
        id: if held == "88" { "88" } else { "89" },
        phone,
        start: booking.start,
        previous: None,
    };
    same.deliver(&world, "m-3").await;
    world.pass(SignedDuration::from_mins(11));
    world.tick().await;
    assert_eq!(world.texts(phone).len(), before + 1, "as true as before");

    let third = Booking { id: "90", phone, ..Booking::new(&world, "90", 30) };
    third.deliver(&world, "m-4").await;
    world.stack.ezw().fail_next(1, patience);
    until(&world, third.start, 24).await;
    assert_eq!(world.state("appointment:90:24h"), "held");
    let elsewhere = Booking {
        start: third.start + SignedDuration::from_hours(50),
        at: world.now(),
        phone,
        ..Booking::new(&world, "90", 0)
    };
    elsewhere.deliver(&world, "m-5").await;
    let heard = world.texts(phone).len();
    world.pass(SignedDuration::from_mins(11));
    world.tick().await;
    assert_eq!(world.state("appointment:90:24h"), "superseded");
    assert_eq!(world.texts(phone).len(), heard);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_under_the_same_key_and_reminds_once() {
    let world = World::start().await;
    let booking = Booking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    world.stack.ezw().fail_next(1, Fault::DropAfterAccept);
    until(&world, booking.start, 24).await;
    assert_eq!(world.state("appointment:88:24h"), "unknown");
    world.pass(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.state("appointment:88:24h"), "accepted");
    assert_eq!(world.texts(NOA).len(), 1);
    assert_eq!(world.stack.ezw().most_per_key(), 1);
}

#[tokio::test]
async fn whoever_asked_to_be_left_alone_is_not_reminded_and_what_waits_for_them_is_dropped() {
    let world = World::start().await;
    let opt_out = |phone: &str| {
        let subject = contact_subject("story", &Phone::from_e164(phone).unwrap());
        let item = json!({ "subject": {"S": subject}, "stage": {"S": "state"}, "opted_out_at": {"N": world.now().as_millisecond().to_string()} });
        let put = json!({ "TableName": world.table("Ledger"), "Item": item });
        world.stack.dynamo().call("PutItem", &put).unwrap();
    };
    let booking = Booking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    let other = Booking { phone: ADI, ..Booking::new(&world, "89", 48) };
    other.deliver(&world, "m-2").await;
    opt_out(NOA);
    until(&world, booking.start, 24).await;
    assert_eq!((world.texts(NOA).len(), world.texts(ADI).len()), (0, 1));
    assert_eq!(header(&world, "88")["marks"][0]["outcome"], "opted-out");
    // The next one was on its way when they said so.
    world.stack.ezw().fail_next(1, Fault::TooManyRequests { retry_after_s: Some(300) });
    until(&world, booking.start, 2).await;
    opt_out(ADI);
    world.pass(SignedDuration::from_mins(6));
    world.tick().await;
    assert_eq!(world.texts(ADI).len(), 1);
    assert_eq!(world.state("appointment:89:2h"), "superseded");
}

#[tokio::test]
async fn quiet_hours_are_those_of_the_place_and_move_a_reminder_to_their_end() {
    let world = World::start_with(Setup { quiet: Some(("21:00", "08:00")), ..Setup::default() }).await;
    // Two hours before nine is seven in the morning.
    let zone = TimeZone::get("Asia/Jerusalem").unwrap();
    let day = world.now().to_zoned(zone.clone()).date().checked_add(jiff::Span::new().days(3)).unwrap();
    let start = day.at(9, 0, 0, 0).to_zoned(zone).unwrap().timestamp();
    Booking { start, ..Booking::new(&world, "88", 0) }.deliver(&world, "m-1").await;
    until(&world, start, 24).await;
    assert_eq!(world.texts(NOA).len(), 1);
    until(&world, start, 2).await;
    assert_eq!(world.texts(NOA).len(), 1, "it is seven in the morning");
    until(&world, start, 1).await;
    assert_eq!(world.texts(NOA)[1], "Today at 9:00.");
}

#[tokio::test]
async fn a_sweep_that_is_killed_in_the_middle_of_a_send_reminds_once() {
    let world = World::start().await;
    let booking = Booking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    world.pass(
        (booking.start - SignedDuration::from_hours(24)).duration_since(world.now()) + SignedDuration::from_secs(10),
    );
    world.stack.ezw().set_latency(std::time::Duration::from_secs(3)).unwrap();
    let sweep = tokio::spawn({
        let stack = world.stack.clone();
        async move { stack.tick().await }
    });
    // The line is asked for its health, then its row is claimed, and the send is on its way.
    for _ in 0..1000 {
        if world.state("appointment:88:24h") == "claimed" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.state("appointment:88:24h"), "claimed");
    world.stack.kill("reminder-scheduler").await;
    assert!(sweep.await.unwrap().is_err(), "the sweep died");
    world.stack.ezw().set_latency(std::time::Duration::ZERO).unwrap();
    // Its claim ends with the function's time.
    world.pass(SignedDuration::from_mins(3));
    world.tick().await;
    assert_eq!(world.state("appointment:88:24h"), "accepted", "{:?}", world.rows().get("appointment:88:24h"));
    assert_eq!(world.texts(NOA).len(), 1);
    assert_eq!(world.stack.ezw().most_per_key(), 1);
}

#[tokio::test]
async fn a_reminder_costs_three_requests_besides_the_send() {
    let world = World::start().await;
    // Warm: the token is read, the line's health is known.
    let warm = Booking::new(&world, "1", 26);
    warm.deliver(&world, "m-0").await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    let booking = Booking::new(&world, "88", 27);
    booking.deliver(&world, "m-1").await;
    let used = counters.snapshot();
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(all, 3, "filed, header read, header written: {used:?}");

    until(&world, warm.start, 24).await;
    world.pass((booking.start - SignedDuration::from_hours(24)).duration_since(world.now()));
    // The line's health is asked for again when it is older than half a minute.
    counters.reset();
    world.stack.ezw().reset_counters();
    world.tick().await;
    assert_eq!(world.texts(NOA).len(), 2);
    let used = counters.snapshot();
    let of = |operation: &str| -> u64 {
        used.iter().filter(|((name, _), _)| name == operation).map(|(_, usage)| usage.requests).sum()
    };
    assert_eq!(of("TransactWriteItems"), 1, "the claim, with the header and the opt-out: {used:?}");
    assert_eq!(of("PutItem"), 1, "the settlement: {used:?}");
    assert_eq!(of("GetItem"), 0, "{used:?}");
    assert_eq!(of("Query"), 1, "what is due, for the whole sweep: {used:?}");
    assert_eq!(of("UpdateItem"), 2, "the line's pace, and its health for the whole sweep: {used:?}");
}

#[tokio::test]
async fn ten_thousand_that_are_due_at_once_go_out_at_the_pace_and_over_as_many_sweeps_as_it_takes() {
    const REMINDERS: u32 = 10_000;
    // Somewhat more than fit into one sweep before its deadline, however fast the machine.
    const PACE: u32 = 9_000;
    let world = World::start_with(Setup { pace: Some(PACE), ..Setup::default() }).await;
    let start = Booking::new(&world, "0", 30).start;
    for number in 0..REMINDERS {
        put_header(&world, &format!("n{number}"), start, number);
    }
    world.pass((start - SignedDuration::from_hours(24)).duration_since(world.now()) + SignedDuration::from_secs(5));
    let counters = world.stack.dynamo().counters();
    counters.reset();
    let mut sweeps = Vec::new();
    while sweeps.iter().map(|sweep: &Value| sweep["accepted"].as_u64().unwrap()).sum::<u64>() < u64::from(REMINDERS) {
        assert!(sweeps.len() < 30, "it does not get done: {sweeps:?}");
        sweeps.push(world.tick().await);
        assert_eq!(sweeps.last().unwrap()["failed"], 0, "{sweeps:?}");
    }
    assert!(sweeps.len() > 1 && sweeps[0]["left"].as_u64() > Some(0), "the first one stops in time: {sweeps:?}");
    let used = counters.snapshot();
    let requests: u64 = used.values().map(|usage| usage.requests).sum();
    println!("{REMINDERS} reminders in {} sweeps, {requests} requests: {used:?}", sweeps.len());
    assert!(requests <= 3 * u64::from(REMINDERS), "{requests} requests");
    assert_eq!(world.messages().len(), usize::try_from(REMINDERS).unwrap());
    assert_eq!(world.stack.ezw().most_per_key(), 1);
    // Slots are taken for six seconds at a time, so a few of them may come together after a hold-up.
    let times: Vec<i64> = world.messages().iter().map(|message| message.queued_at).collect();
    let least = 60_000 * (i64::from(REMINDERS) - i64::from(PACE) / 5) / i64::from(PACE);
    let took = times.iter().max().unwrap() - times.iter().min().unwrap();
    assert!(took >= least, "{took} ms for all of them, at this pace at least {least} ms");
}

/// Writes the header of an appointment that is due 24 hours before its start.
fn put_header(world: &World, id: &str, start: Timestamp, number: u32) {
    let phone = format!("+97254{number:07}");
    let now = world.now().to_string();
    let due = start - SignedDuration::from_hours(24);
    let document = json!({
        "calendar": "crm", "line": "main", "generation": 1, "standing": "booked", "start": start.to_string(),
        "zone": "Asia/Jerusalem", "seats": [{ "phone": phone, "taken": true }], "as_of": now, "booked_at": now,
        "due_at": due.to_string(), "priority": 70, "delivery": "crm#1", "created_at": now, "updated_at": now,
    });
    let number = |at: Timestamp| json!({ "N": at.as_millisecond().to_string() });
    let item = json!({
        "subject": { "S": format!("appointment:{id}") }, "stage": { "S": "state" }, "state": { "S": "booked" },
        "version": { "N": "1" }, "generation": { "N": "1" }, "useful_until": number(start), "priority": { "N": "70" },
        "due_line": { "S": "main" }, "due_at": number(due), "appointment": { "S": document.to_string() },
    });
    let put = json!({ "TableName": world.table("Ledger"), "Item": item });
    world.stack.dynamo().call("PutItem", &put).unwrap();
}

#[tokio::test]
async fn a_reminder_whose_sender_died_is_not_sent_after_the_appointment_began() {
    let world = World::start().await;
    let booking = Booking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    // The answer is lost, and then the line is away until it is over.
    world.stack.ezw().fail_next(1, Fault::DropBeforeAccept);
    until(&world, booking.start, 2).await;
    assert_ne!(world.state("appointment:88:2h"), "accepted");
    world.stack.ezw().set_health(None, HealthPreset::Qr).unwrap();
    until(&world, booking.start, -1).await;
    world.stack.ezw().set_health(None, HealthPreset::Good).unwrap();
    world.pass(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.messages().len(), 0);
    assert!(
        ["expired", "needs-human"].contains(&&*world.state("appointment:88:2h")),
        "{}",
        world.state("appointment:88:2h")
    );
}

#[tokio::test]
async fn a_reminder_that_cannot_be_said_says_why_in_the_ledger_and_in_a_metric() {
    let text = "[calendars.crm.reminders.\"3h\"]\ntext = { en = \"At {{ place }}.\", he = \"ב{{ place }}.\" }\n";
    let world = World::start_with(Setup { tail: text, ..Setup::default() }).await;
    let booking = Booking::new(&world, "88", 20);
    booking.deliver(&world, "m-1").await;
    until(&world, booking.start, 3).await;
    assert_eq!(world.state("appointment:88:3h"), "unsaid");
    let row = &world.rows()["appointment:88:3h"];
    assert!(row["reason"].as_str().unwrap().starts_with("value-missing"), "{row}");
    let counted =
        world.stack.logs("reminder-scheduler").iter().any(|line| line.text.contains("\"reminders_unsaid\":1"));
    assert!(counted, "an alarm hangs on it");
    // The next one is said.
    until(&world, booking.start, 2).await;
    assert_eq!(world.texts(NOA), [format!("Today at {}.", booking.time())]);
}
