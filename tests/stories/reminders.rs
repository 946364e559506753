//! Appointments, from a booking to the reminder on the customer's phone.
//!
//! Long because every way of an appointment is a story of its own.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tellonce_fakes::provider::{HealthPreset, SendFault};
use tellonce_samples::WebhookPost;

use crate::world::{CRM_SECRET, FORM_SETTINGS, World, WorldSetup};

const NOA_PHONE: &str = "+972545550199";
const ADI_PHONE: &str = "+972525550101";

/// A booking of the CRM calendar.
struct CrmBooking {
    id: &'static str,
    start: Timestamp,
    phone: &'static str,
    status: &'static str,
    previous_id: Option<&'static str>,
    changed_at: Timestamp,
}

impl CrmBooking {
    /// Booked now by Noa, for a start in `hours` hours.
    fn new(world: &World, id: &'static str, hours: i64) -> Self {
        let start = world.now() + SignedDuration::from_hours(hours);
        // Rounded to the minute, as in a calendar.
        let start = Timestamp::from_second(start.as_second().div_euclid(60) * 60).unwrap();
        Self { id, start, phone: NOA_PHONE, status: "booked", previous_id: None, changed_at: world.now() }
    }

    fn to_post(&self, world: &World, delivery_id: &str) -> WebhookPost {
        let body = json!({
            "id": self.id, "start": self.start.to_string(), "zone": "Asia/Jerusalem", "phone": self.phone, "name": "Noa Levi",
            "locale": "en", "status": self.status, "previous": self.previous_id, "at": self.changed_at.to_string(),
        });
        world.standard_webhooks_post("/bookings/crm", CRM_SECRET, delivery_id, &body)
    }

    async fn deliver(&self, world: &World, delivery_id: &str) {
        world.deliver(self.to_post(world, delivery_id)).await;
    }

    /// The start in local time.
    fn local_start_time(&self) -> String {
        self.start.to_zoned(TimeZone::get("Asia/Jerusalem").unwrap()).strftime("%-H:%M").to_string()
    }
}

/// The header of an appointment.
fn appointment_header(world: &World, id: &str) -> Value {
    let row = world.message_rows().remove(&format!("appointment:{id}:state")).unwrap_or_default();
    let mut header: Value = serde_json::from_str(row["appointment"].as_str().unwrap_or("{}")).unwrap();
    header["version"] = row["version"].clone();
    header
}

/// Lets time pass until `hours_before` hours before a start, then runs the minute schedule.
async fn advance_to_hours_before(world: &World, start: Timestamp, hours_before: i64) -> Value {
    let at = start - SignedDuration::from_hours(hours_before) + SignedDuration::from_secs(20);
    world.advance_time(at.duration_since(world.now()));
    world.tick().await
}

#[tokio::test]
async fn an_appointment_is_reminded_at_its_stages_and_at_no_other_time() {
    let world = World::start().await;
    let booking = CrmBooking::new(&world, "88", 72);
    booking.deliver(&world, "m-1").await;
    assert_eq!(appointment_header(&world, "88")["status"], "booked");
    world.tick().await;
    world.advance_time(SignedDuration::from_hours(40));
    world.tick().await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), Vec::<String>::new());

    advance_to_hours_before(&world, booking.start, 24).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), [format!("Noa, tomorrow at {}.", booking.local_start_time())]);
    assert_eq!(world.message_state("appointment:88:24h"), "accepted");
    world.advance_time(SignedDuration::from_mins(10));
    world.tick().await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1, "sent once");

    advance_to_hours_before(&world, booking.start, 2).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE)[1], format!("Today at {}.", booking.local_start_time()));
    assert_eq!(world.message_state("appointment:88:2h"), "accepted");
    let header = appointment_header(&world, "88");
    assert_eq!(header["due_at"], Value::Null, "no reminder is left: {header}");
    assert_eq!(world.stack.provider().counters().wakeups, 0);
}

#[tokio::test]
async fn a_moved_appointment_is_reminded_at_its_new_time_only_with_its_own_key_if_one_was_sent() {
    let world = World::start().await;
    let first = CrmBooking::new(&world, "88", 72);
    first.deliver(&world, "m-1").await;
    // Moved before a reminder was sent: the plain key is still free.
    let second = CrmBooking {
        start: first.start + SignedDuration::from_hours(26),
        changed_at: world.now(),
        ..CrmBooking::new(&world, "88", 0)
    };
    world.advance_time(SignedDuration::from_secs(5));
    let second = CrmBooking { changed_at: world.now(), ..second };
    second.deliver(&world, "m-2").await;
    advance_to_hours_before(&world, first.start, 24).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), Vec::<String>::new(), "no reminder for the old time");
    advance_to_hours_before(&world, second.start, 24).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), [format!("Noa, tomorrow at {}.", second.local_start_time())]);
    assert_eq!(world.message_state("appointment:88:24h"), "accepted");

    // Moved after the first reminder was sent.
    let third = CrmBooking { start: second.start + SignedDuration::from_hours(25), ..CrmBooking::new(&world, "88", 0) };
    third.deliver(&world, "m-3").await;
    advance_to_hours_before(&world, second.start, 2).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    advance_to_hours_before(&world, third.start, 24).await;
    let key = format!("appointment:88:24h-{}", third.start.strftime("%Y%m%dT%H%MZ"));
    assert_eq!(world.message_state(&key), "accepted", "{:?}", world.message_rows().keys());
    assert_eq!(world.texts_on_phone(NOA_PHONE)[1], format!("Noa, tomorrow at {}.", third.local_start_time()));
    advance_to_hours_before(&world, third.start, 2).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 3);
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
}

#[tokio::test]
async fn no_reminder_is_sent_after_a_cancellation_in_any_order_of_arrival() {
    let world = World::start().await;
    let booking = CrmBooking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    world.advance_time(SignedDuration::from_secs(5));
    let cancelled = CrmBooking { status: "cancelled", changed_at: world.now(), ..CrmBooking::new(&world, "88", 48) };
    cancelled.deliver(&world, "m-2").await;
    // The booking arrives again, late, under another delivery id.
    booking.deliver(&world, "m-3").await;
    assert!(
        world.delivery_outcome("crm#m-3").as_deref() == Some("out-of-date"),
        "{:?}",
        world.delivery_outcome("crm#m-3")
    );
    // Another appointment is cancelled before its booking arrives.
    let other = CrmBooking { phone: ADI_PHONE, ..CrmBooking::new(&world, "89", 48) };
    world.advance_time(SignedDuration::from_secs(5));
    CrmBooking { status: "cancelled", phone: ADI_PHONE, changed_at: world.now(), ..CrmBooking::new(&world, "89", 48) }
        .deliver(&world, "m-4")
        .await;
    other.deliver(&world, "m-5").await;
    for hours in [24, 2] {
        advance_to_hours_before(&world, booking.start, hours).await;
    }
    assert_eq!(world.messages().len(), 0);
    assert_eq!(
        (appointment_header(&world, "88")["status"].clone(), appointment_header(&world, "89")["status"].clone()),
        (json!("cancelled"), json!("cancelled"))
    );

    // Booked again, the appointment is reminded again.
    let again = CrmBooking::new(&world, "88", 30);
    again.deliver(&world, "m-6").await;
    advance_to_hours_before(&world, again.start, 24).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), [format!("Noa, tomorrow at {}.", again.local_start_time())]);
}

#[tokio::test]
async fn an_appointment_booked_after_a_stage_began_skips_that_stage() {
    let world = World::start().await;
    let booking = CrmBooking::new(&world, "88", 5);
    booking.deliver(&world, "m-1").await;
    world.tick().await;
    assert_eq!(world.messages().len(), 0);
    let header = appointment_header(&world, "88");
    assert_eq!(header["stage_outcomes"][0]["outcome"], "skipped", "the header shows it: {header}");
    advance_to_hours_before(&world, booking.start, 2).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), [format!("Today at {}.", booking.local_start_time())]);
}

#[tokio::test]
async fn an_unconfirmed_appointment_is_reminded_once_it_is_confirmed() {
    let world = World::start().await;
    let unconfirmed = CrmBooking { status: "asked", ..CrmBooking::new(&world, "88", 48) };
    unconfirmed.deliver(&world, "m-1").await;
    world.advance_time(SignedDuration::from_hours(1));
    world.tick().await;
    let confirmed = CrmBooking { status: "booked", changed_at: world.now(), ..unconfirmed };
    confirmed.deliver(&world, "m-2").await;
    advance_to_hours_before(&world, confirmed.start, 24).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
}

#[tokio::test]
async fn an_outage_that_spans_two_stages_drops_only_the_older_one() {
    let world = World::start().await;
    let booking = CrmBooking::new(&world, "88", 48);
    let later = CrmBooking { phone: ADI_PHONE, ..CrmBooking::new(&world, "89", 60) };
    booking.deliver(&world, "m-1").await;
    later.deliver(&world, "m-2").await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    advance_to_hours_before(&world, booking.start, 24).await;
    advance_to_hours_before(&world, later.start, 24).await;
    assert_eq!(world.messages().len(), 0);
    assert!(
        !world.message_rows().keys().any(|key| key.starts_with("appointment") && !key.ends_with(":state")),
        "no reminder's row is opened"
    );

    advance_to_hours_before(&world, booking.start, 1).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    // One hour before the start, "tomorrow" is not true any more. The other reminder is late but
    // useful.
    assert_eq!(world.texts_on_phone(NOA_PHONE), [format!("Today at {}.", booking.local_start_time())]);
    assert_eq!(world.texts_on_phone(ADI_PHONE), [format!("Noa, tomorrow at {}.", later.local_start_time())]);
    let stage_outcomes = appointment_header(&world, "88")["stage_outcomes"].clone();
    assert_eq!(
        (&stage_outcomes[0]["stage"], &stage_outcomes[0]["outcome"]),
        (&json!("24h"), &json!("missed")),
        "{stage_outcomes}"
    );

    // An appointment that has passed when the line recovers is not reminded.
    let third = CrmBooking::new(&world, "90", 30);
    third.deliver(&world, "m-3").await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    advance_to_hours_before(&world, third.start, 24).await;
    advance_to_hours_before(&world, third.start, -1).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    assert_eq!(appointment_header(&world, "90")["due_at"], Value::Null);
}

#[tokio::test]
async fn a_waiting_reminder_is_dropped_if_its_appointment_moves_and_sent_if_only_its_header_changed() {
    let world = World::start().await;
    let moved = CrmBooking::new(&world, "88", 48);
    let unmoved = CrmBooking { phone: ADI_PHONE, ..CrmBooking::new(&world, "89", 48) };
    moved.deliver(&world, "m-1").await;
    unmoved.deliver(&world, "m-2").await;
    // The line answers the sends with 429, so both rows are open and wait.
    let too_many_requests = SendFault::TooManyRequests { retry_after_s: Some(600) };
    world.stack.provider().fail_next(1, too_many_requests);
    advance_to_hours_before(&world, moved.start, 24).await;
    world.advance_time(SignedDuration::from_mins(11));
    world.stack.provider().fail_next(1, too_many_requests);
    world.tick().await;
    let waiting: Vec<_> = ["88", "89"].iter().map(|id| world.message_state(&format!("appointment:{id}:24h"))).collect();
    assert!(waiting.contains(&"held".to_owned()), "{waiting:?}");
    let held = if waiting[0] == "held" { "88" } else { "89" };
    let (phone, booking) = if held == "88" { (NOA_PHONE, &moved) } else { (ADI_PHONE, &unmoved) };
    let before = world.texts_on_phone(phone).len();

    // A report without a change for the customer writes a new version of the header.
    let same = CrmBooking {
        changed_at: world.now(),
        status: "booked",
        id: if held == "88" { "88" } else { "89" },
        phone,
        start: booking.start,
        previous_id: None,
    };
    same.deliver(&world, "m-3").await;
    world.advance_time(SignedDuration::from_mins(11));
    world.tick().await;
    assert_eq!(world.texts_on_phone(phone).len(), before + 1, "the reminder is still true");

    let third = CrmBooking { id: "90", phone, ..CrmBooking::new(&world, "90", 30) };
    third.deliver(&world, "m-4").await;
    world.stack.provider().fail_next(1, too_many_requests);
    advance_to_hours_before(&world, third.start, 24).await;
    assert_eq!(world.message_state("appointment:90:24h"), "held");
    let elsewhere = CrmBooking {
        start: third.start + SignedDuration::from_hours(50),
        changed_at: world.now(),
        phone,
        ..CrmBooking::new(&world, "90", 0)
    };
    elsewhere.deliver(&world, "m-5").await;
    let texts_before = world.texts_on_phone(phone).len();
    world.advance_time(SignedDuration::from_mins(11));
    world.tick().await;
    assert_eq!(world.message_state("appointment:90:24h"), "superseded");
    assert_eq!(world.texts_on_phone(phone).len(), texts_before);
}

#[tokio::test]
async fn a_lost_response_is_retried_under_the_same_key_and_reminds_once() {
    let world = World::start().await;
    let booking = CrmBooking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    world.stack.provider().fail_next(1, SendFault::DropAfterAccept);
    advance_to_hours_before(&world, booking.start, 24).await;
    assert_eq!(world.message_state("appointment:88:24h"), "unknown");
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.message_state("appointment:88:24h"), "accepted");
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
}

#[tokio::test]
async fn an_opted_out_customer_is_not_reminded_and_waiting_reminders_are_dropped() {
    let world = World::start().await;
    let opt_out = async |phone: &str| {
        world.stack.invoke("conversation-sync", &json!({ "opt_out": phone })).await.unwrap();
    };
    let booking = CrmBooking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    let other = CrmBooking { phone: ADI_PHONE, ..CrmBooking::new(&world, "89", 48) };
    other.deliver(&world, "m-2").await;
    opt_out(NOA_PHONE).await;
    advance_to_hours_before(&world, booking.start, 24).await;
    assert_eq!((world.texts_on_phone(NOA_PHONE).len(), world.texts_on_phone(ADI_PHONE).len()), (0, 1));
    assert_eq!(appointment_header(&world, "88")["stage_outcomes"][0]["outcome"], "opted-out");
    // The next reminder already waits when the customer opts out.
    world.stack.provider().fail_next(1, SendFault::TooManyRequests { retry_after_s: Some(300) });
    advance_to_hours_before(&world, booking.start, 2).await;
    opt_out(ADI_PHONE).await;
    world.advance_time(SignedDuration::from_mins(6));
    world.tick().await;
    assert_eq!(world.texts_on_phone(ADI_PHONE).len(), 1);
    assert_eq!(world.message_state("appointment:89:2h"), "superseded");
}

#[tokio::test]
async fn a_reminder_to_a_new_person_above_the_line_s_limit_is_held_and_stops_no_other() {
    let setup = WorldSetup { first_contacts_per_day: Some(1), ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    // Twenty hours later it must be another day.
    world.leave_hours("Asia/Jerusalem", 0..4);
    let booking = CrmBooking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    for (id, phone) in [("89", ADI_PHONE), ("90", NOA_PHONE)] {
        CrmBooking { phone, ..CrmBooking::new(&world, id, 48) }.deliver(&world, &format!("m-{id}")).await;
    }
    advance_to_hours_before(&world, booking.start, 24).await;
    let mut states = ["88", "89", "90"].map(|id| world.message_state(&format!("appointment:{id}:24h")));
    states.sort();
    let held = world.message_rows().into_values().find(|row| row["state"] == "held").unwrap();
    assert!(held["reason"].as_str().unwrap().contains("`first_contacts_per_day`"), "{held}");
    let reminded = [NOA_PHONE, ADI_PHONE].map(|phone| world.texts_on_phone(phone).len());
    assert_eq!(reminded.iter().filter(|count| **count > 0).count(), 1, "one new person: {states:?}");
    assert!(states.iter().filter(|state| *state == "held").count() < 3, "{states:?}");
    // The next day has its own limit. What is held is sent as long as it is useful.
    world.advance_time(SignedDuration::from_hours(20));
    world.tick().await;
    let waiting = world.message_rows().into_values().filter(|row| row["state"] == "held").count();
    assert_eq!((waiting, world.stack.provider().max_messages_per_key()), (0, 1));
}

#[tokio::test]
async fn quiet_hours_follow_the_local_time_and_delay_a_reminder_to_their_end() {
    let world = World::start_with(WorldSetup { quiet_hours: Some(("21:00", "08:00")), ..WorldSetup::default() }).await;
    // Two hours before 09:00 is within quiet hours.
    let zone = TimeZone::get("Asia/Jerusalem").unwrap();
    let day = world.now().to_zoned(zone.clone()).date().checked_add(jiff::Span::new().days(3)).unwrap();
    let start = day.at(9, 0, 0, 0).to_zoned(zone).unwrap().timestamp();
    CrmBooking { start, ..CrmBooking::new(&world, "88", 0) }.deliver(&world, "m-1").await;
    advance_to_hours_before(&world, start, 24).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    advance_to_hours_before(&world, start, 2).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1, "07:00 is within quiet hours");
    advance_to_hours_before(&world, start, 1).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE)[1], "Today at 9:00.");
}

#[tokio::test]
async fn a_sweep_that_is_killed_in_the_middle_of_a_send_reminds_once() {
    let world = World::start().await;
    let booking = CrmBooking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    world.advance_time(
        (booking.start - SignedDuration::from_hours(24)).duration_since(world.now()) + SignedDuration::from_secs(10),
    );
    world.stack.provider().set_latency(std::time::Duration::from_secs(3)).unwrap();
    let sweep = tokio::spawn({
        let stack = world.stack.clone();
        async move { stack.tick_messages().await }
    });
    // The scheduler requests the line's health, claims the row and sends.
    for _ in 0..1000 {
        if world.message_state("appointment:88:24h") == "claimed" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.message_state("appointment:88:24h"), "claimed");
    world.stack.kill_function("reminder-scheduler").await;
    assert!(sweep.await.unwrap().is_err(), "the sweep was killed");
    world.stack.provider().set_latency(std::time::Duration::ZERO).unwrap();
    // The claim's lease ends with the function's deadline.
    world.advance_time(SignedDuration::from_mins(3));
    world.tick().await;
    assert_eq!(
        world.message_state("appointment:88:24h"),
        "accepted",
        "{:?}",
        world.message_rows().get("appointment:88:24h")
    );
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1);
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
}

#[tokio::test]
async fn a_reminder_costs_three_requests_besides_the_send() {
    let world = World::start().await;
    // Before the minute of the hour in which the sweep also erases aged data.
    world.begin_next(3600);
    let warm = CrmBooking::new(&world, "1", 26);
    warm.deliver(&world, "m-0").await;
    let counters = world.stack.dynamo().counters();
    counters.reset();
    let start = warm.start + SignedDuration::from_mins(3);
    let booking = CrmBooking { start, ..CrmBooking::new(&world, "88", 26) };
    booking.deliver(&world, "m-1").await;
    let used = counters.snapshot();
    let all: u64 = used.values().map(|usage| usage.requests).sum();
    assert_eq!(all, 3, "stored, header read and header written: {used:?}");

    let advance_to = |at: Timestamp| world.advance_time(at.duration_since(world.now()));
    let remind_at = |booking: &CrmBooking| booking.start - SignedDuration::from_hours(24);
    // The heartbeats are sent now, and wake further processes.
    advance_to(remind_at(&warm) - SignedDuration::from_mins(1));
    world.tick().await;
    world.settle().await;
    // Warm: one new process knows the customer, the token, the line's health and the queues.
    world.stack.kill_function("reminder-scheduler").await;
    advance_to(remind_at(&warm));
    world.tick().await;
    advance_to(remind_at(&booking));
    // The line's health is requested again if it is older than half a minute.
    let requests_of_tick = async || {
        counters.reset();
        world.tick().await;
        let used = counters.snapshot();
        ["TransactWriteItems", "PutItem", "GetItem", "Query", "UpdateItem"].map(|operation| -> u64 {
            used.iter().filter(|((name, _), _)| name == operation).map(|(_, usage)| usage.requests).sum()
        })
    };
    let [claims, puts, gets, queries, updates] = requests_of_tick().await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 2);
    let [_, _, idle_gets, idle_queries, _] = requests_of_tick().await;
    assert_eq!(claims, 1, "the claim, with the header and the opt-out");
    assert_eq!(puts, 1, "the settlement");
    assert_eq!(gets - idle_gets, 0, "the process knows that the customer is not new");
    assert_eq!((queries, idle_queries), (3, 3), "what is due or waits, waiting lookups, and heartbeats");
    assert_eq!(updates, 2, "the line's rate, and its health once for the sweep");
    let forms = u64::try_from(FORM_SETTINGS.len()).unwrap();
    assert_eq!(idle_gets, 1 + forms, "the state of the line and of each form");
}

#[tokio::test]
async fn more_due_reminders_than_a_sweep_can_send_go_out_at_the_configured_rate_over_several() {
    // A sweep begins messages for 59 s. A machine under load reaches the rate, too.
    const REMINDERS: u32 = 1_500;
    const MESSAGES_PER_MINUTE: u32 = 1_200;
    let world =
        World::start_with(WorldSetup { messages_per_minute: Some(MESSAGES_PER_MINUTE), ..WorldSetup::default() }).await;
    let start = CrmBooking::new(&world, "0", 30).start;
    for number in 0..REMINDERS {
        put_header(&world, &format!("n{number}"), start, number);
    }
    world.advance_time(
        (start - SignedDuration::from_hours(24)).duration_since(world.now()) + SignedDuration::from_secs(5),
    );
    let counters = world.stack.dynamo().counters();
    counters.reset();
    let mut sweeps = Vec::new();
    while sweeps.iter().map(|sweep: &Value| sweep["accepted"].as_u64().unwrap()).sum::<u64>() < u64::from(REMINDERS) {
        assert!(sweeps.len() < 30, "too many sweeps: {sweeps:?}");
        sweeps.push(world.tick().await);
        assert_eq!(sweeps.last().unwrap()["failed"], 0, "{sweeps:?}");
    }
    assert!(
        sweeps.len() > 1 && sweeps[0]["deferred"].as_u64() > Some(0),
        "the first sweep stops before its deadline: {sweeps:?}"
    );
    let used = counters.snapshot();
    let requests: u64 = used.values().map(|usage| usage.requests).sum();
    println!("{REMINDERS} reminders in {} sweeps, {requests} requests: {used:?}", sweeps.len());
    // Each is a first contact: one read, its count and its record, besides slot, claim and
    // settlement.
    assert!(requests <= 6 * u64::from(REMINDERS), "{requests} requests");
    assert_eq!(world.messages().len(), usize::try_from(REMINDERS).unwrap());
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
    // Slots are reserved for six seconds at a time, so after a delay several may be used at once.
    let times: Vec<i64> = world.messages().iter().map(|message| message.queued_at).collect();
    let least_ms =
        60_000 * (i64::from(REMINDERS) - i64::from(MESSAGES_PER_MINUTE) / 5) / i64::from(MESSAGES_PER_MINUTE);
    let took_ms = times.iter().max().unwrap() - times.iter().min().unwrap();
    assert!(took_ms >= least_ms, "{took_ms} ms for all reminders, at this rate at least {least_ms} ms");
}

/// Writes the header of an appointment that is due 24 hours before its start.
fn put_header(world: &World, id: &str, start: Timestamp, number: u32) {
    let phone = format!("+97254{number:07}");
    let now = world.now().to_string();
    let due = start - SignedDuration::from_hours(24);
    let document = json!({
        "calendar": "crm", "line": "main", "generation": 1, "status": "booked", "start": start.to_string(),
        "zone": "Asia/Jerusalem", "attendees": [{ "phone": phone, "attending": true }], "as_of": now, "booked_at": now,
        "due_at": due.to_string(), "priority": 70, "delivery": "crm#1", "created_at": now, "updated_at": now,
    });
    let number_attribute = |at: Timestamp| json!({ "N": at.as_millisecond().to_string() });
    let item = json!({
        "subject": { "S": format!("appointment:{id}") }, "stage": { "S": "state" }, "state": { "S": "booked" },
        "version": { "N": "1" }, "generation": { "N": "1" }, "useful_until": number_attribute(start), "priority": { "N": "70" },
        "due_queue": { "S": "main" }, "due_at": number_attribute(due), "appointment": { "S": document.to_string() },
    });
    let put = json!({ "TableName": world.table_name("Ledger"), "Item": item });
    world.stack.dynamo().call_operation("PutItem", &put).unwrap();
}

#[tokio::test]
async fn a_reminder_whose_send_failed_is_not_sent_after_the_appointment_began() {
    let world = World::start().await;
    let booking = CrmBooking::new(&world, "88", 48);
    booking.deliver(&world, "m-1").await;
    // The send fails, and then the line is down until the appointment is over.
    world.stack.provider().fail_next(1, SendFault::DropBeforeAccept);
    advance_to_hours_before(&world, booking.start, 2).await;
    assert_ne!(world.message_state("appointment:88:2h"), "accepted");
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    advance_to_hours_before(&world, booking.start, -1).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.messages().len(), 0);
    assert!(
        ["expired", "needs-human"].contains(&&*world.message_state("appointment:88:2h")),
        "{}",
        world.message_state("appointment:88:2h")
    );
}

#[tokio::test]
async fn a_number_that_is_booked_again_and_again_gets_three_reminders_of_a_stage_a_day() {
    let world = World::start().await;
    let ids = ["b0", "b1", "b2", "b3", "b4", "b5"];
    for (minute, id) in ids.into_iter().enumerate() {
        let mut booking = CrmBooking::new(&world, id, 40);
        booking.start += SignedDuration::from_mins(i64::try_from(minute).unwrap());
        booking.deliver(&world, id).await;
    }
    let last = CrmBooking::new(&world, "last", 40).start + SignedDuration::from_mins(6);
    advance_to_hours_before(&world, last, 24).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 3, "a victim gets three");
    let outcomes: Vec<String> = ids
        .iter()
        .map(|id| appointment_header(&world, id)["stage_outcomes"][0]["outcome"].as_str().unwrap().to_owned())
        .collect();
    let count = |outcome: &str| outcomes.iter().filter(|it| *it == outcome).count();
    assert_eq!((count("opened"), count("limit-reached")), (3, 3), "{outcomes:?}");
    // The next stage has a count of its own.
    advance_to_hours_before(&world, last, 2).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 6);
    assert_eq!(world.stack.failures().len(), 0);
}

#[tokio::test]
async fn an_incomplete_reminder_records_its_reason_in_the_ledger_and_a_metric() {
    let text = "[calendars.crm.reminders.\"3h\"]\ntext = { en = \"At {{ place }}.\", he = \"ב{{ place }}.\" }\n";
    let world = World::start_with(WorldSetup { extra_toml: text, ..WorldSetup::default() }).await;
    let booking = CrmBooking::new(&world, "88", 20);
    booking.deliver(&world, "m-1").await;
    advance_to_hours_before(&world, booking.start, 3).await;
    assert_eq!(world.message_state("appointment:88:3h"), "incomplete");
    let row = &world.message_rows()["appointment:88:3h"];
    assert!(row["reason"].as_str().unwrap().starts_with("value-missing"), "{row}");
    let counted =
        world.stack.log_lines("reminder-scheduler").iter().any(|line| line.text.contains("\"reason\":\"incomplete\""));
    assert!(counted, "the metric of the alarm");
    // The next reminder is sent.
    advance_to_hours_before(&world, booking.start, 2).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), [format!("Today at {}.", booking.local_start_time())]);
}
