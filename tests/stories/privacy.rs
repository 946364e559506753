//! Logs, metrics, reasons and outcomes hold no personal data and no secrets.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_fakes::{
    calendars::{FakeAcuityAppointment, FakeFeedEvent},
    provider::{HealthPreset, SendFault},
    services::{FakeFault, FakeService},
};

use crate::{
    booking_endpoint::acuity_post,
    world::{ACUITY_KEY, ERP_SECRET, LINE_TOKEN, SHOPIFY_SECRET, WOO_SECRET, World, ZAP_HEADER_SECRET},
};

#[tokio::test]
async fn logs_and_metrics_hold_neither_people_nor_secrets() {
    let world = World::start_with(crate::world::WorldSetup {
        env: [("LOG_LEVEL".to_owned(), "trace".to_owned())].into(),
        ..Default::default()
    })
    .await;
    let provider = world.stack.provider();
    world.deliver(world.shopify_post("orders/paid", "d-1", &world.shopify_order(1, "+972545550199"))).await;
    world.deliver(world.shopify_post("orders/paid", "d-2", &world.shopify_order(2, "not a number 0545550188"))).await;
    world.deliver(world.woocommerce_post("w-1", 3, "completed", "052-555-0101")).await;
    world
        .post(
            world
                .shopify_post("orders/paid", "d-3", &world.shopify_order(4, "+972545550199"))
                .with_header("X-Shopify-Hmac-Sha256", Some("d3Jvbmc=")),
        )
        .await;
    provider.fail_next(1, SendFault::ServerErrorAfterAccept);
    world.deliver(world.erp_post("m-1", "ready", "5", "+972585550142")).await;
    provider.fail_next(1, SendFault::DropBeforeAccept);
    world.deliver(world.erp_post("m-2", "ready", "6", "+972585550142")).await;
    provider.set_tokens([("ezw_line_else".to_owned(), "line_story".to_owned())].into());
    world.deliver(world.erp_post("m-3", "ready", "7", "+972585550142")).await;
    provider.set_health(None, HealthPreset::UnknownStrings).unwrap();
    world.tick().await;
    let mut odd = world.shopify_order(8, "+972545550199");
    odd["id"] = json!({ "secret name": "Noa Levi" });
    world.deliver(world.shopify_post("orders/paid", "d-4", &odd)).await;

    let functions = ["webhook-receiver", "order-notifier", "reminder-scheduler"];
    let lines: Vec<String> =
        functions.iter().flat_map(|name| world.stack.log_lines(name)).map(|line| line.text).collect();
    assert!(lines.len() > 20, "only {} lines were logged", lines.len());
    let reasons: Vec<String> = world
        .table_items("StoreInbox")
        .iter()
        .filter_map(|item| item["outcome_text"].as_str().map(str::to_owned))
        .chain(world.message_rows().values().filter_map(|row| row["reason"].as_str().map(str::to_owned)))
        .collect();
    let private = [
        "545550199",
        "545550188",
        "525550101",
        "585550142",
        "Noa",
        "Levi",
        "Dana",
        "Cohen",
        "Amit",
        "Peretz",
        SHOPIFY_SECRET,
        WOO_SECRET,
        ERP_SECRET,
        ZAP_HEADER_SECRET,
        LINE_TOKEN,
        "ezw_line_",
        "story-shop-api-token",
    ];
    for line in lines.iter().chain(&reasons) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}

#[tokio::test]
async fn logs_reasons_and_outcomes_hold_no_appointment_data() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = World::start_with(crate::world::WorldSetup { env, ..Default::default() }).await;
    let fake_calendars = world.stack.calendars();
    let start = world.now() + SignedDuration::from_hours(26);
    let appointment = |id: u64| FakeAcuityAppointment::from_recording(id, start, "Asia/Jerusalem");
    let changed = |id: u64| acuity_post(format!("action=changed&id={id}").into_bytes());
    fake_calendars.put_appointment(appointment(1)).unwrap();
    fake_calendars
        .put_appointment(FakeAcuityAppointment { phone: "call Adi 0525550101".into(), ..appointment(2) })
        .unwrap();
    world.stack.fakes().fail_next(FakeService::Acuity, FakeFault::HalfBody, 1);
    for id in [1, 1, 2] {
        world.deliver(changed(id)).await;
    }
    let texts = [("summary", "Adi Sela"), ("description", "Name: Adi\nPhone: 052-555-0101")];
    let event = FakeFeedEvent {
        uid: "one".into(),
        start,
        zone: "Asia/Jerusalem".into(),
        sequence: 0,
        changed_at: world.now(),
        texts: texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
    };
    fake_calendars.put_event("diary.ics", event).unwrap();
    let mut reasons = Vec::new();
    let mut record_reasons = || {
        let reasons_of = |row: &Value| ["reason", "problem"].map(|name| row[name].as_str().map(str::to_owned));
        reasons.extend(world.message_rows().into_values().flat_map(|row| reasons_of(&row)).flatten());
    };
    for trouble in [FakeFault::Status(401), FakeFault::HalfBody, FakeFault::EmptyBody, FakeFault::Status(301)] {
        world.stack.fakes().fail_next(FakeService::Feed, trouble, 1);
        world.advance_time(SignedDuration::from_mins(6));
        world.stack.poll_feeds().await.unwrap();
        record_reasons();
    }
    world.advance_time(SignedDuration::from_mins(6));
    world.stack.poll_feeds().await.unwrap();
    world.stack.provider().fail_next(1, SendFault::DropAfterAccept);
    for _ in 0..3 {
        world.advance_time(SignedDuration::from_hours(2));
        world.tick().await;
        record_reasons();
    }
    assert_eq!(world.texts_on_phone("+972525550101").len(), 2, "both appointments were reminded");

    let lines: Vec<String> = world.stack.log_lines("reminder-scheduler").into_iter().map(|line| line.text).collect();
    assert!(lines.iter().any(|line| line.contains("as booked")), "{lines:?}");
    assert!(reasons.len() > 4, "{reasons:?}");
    let outcomes = world
        .table_items("BookingInbox")
        .into_iter()
        .filter_map(|item| item["outcome_text"].as_str().map(str::to_owned));
    let private = ["525550101", "52-555-0101", "Adi", "Sela", "diary.example", "secret/diary", ACUITY_KEY, LINE_TOKEN];
    for line in lines.into_iter().chain(reasons).chain(outcomes) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
