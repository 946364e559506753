//! Nothing personal and nothing secret leaves through a log, a metric, an error or an answer.

use jiff::SignedDuration;
use local::{
    calendars::{Appointment, Event},
    fake_ezw::{Fault, HealthPreset},
    peers::{Peer, Trouble},
};
use serde_json::{Value, json};

use crate::{
    bookings_door::acuity,
    world::{ACUITY_KEY, ERP_SECRET, LINE_TOKEN, SHOPIFY_SECRET, WOO_SECRET, World, ZAP_SECRET},
};

#[tokio::test]
async fn logs_and_metrics_hold_neither_people_nor_secrets() {
    let world = World::start_with(crate::world::Setup {
        env: [("LOG_LEVEL".to_owned(), "trace".to_owned())].into(),
        ..Default::default()
    })
    .await;
    let ezw = world.stack.ezw();
    world.deliver(world.shopify("orders/paid", "d-1", &world.order(1, "+972545550199"))).await;
    world.deliver(world.shopify("orders/paid", "d-2", &world.order(2, "not a number 0545550188"))).await;
    world.deliver(world.woo("w-1", 3, "completed", "052-555-0101")).await;
    world
        .post(
            world
                .shopify("orders/paid", "d-3", &world.order(4, "+972545550199"))
                .with("X-Shopify-Hmac-Sha256", Some("d3Jvbmc=")),
        )
        .await;
    ezw.fail_next(1, Fault::ServerErrorAfterAccept);
    world.deliver(world.erp("m-1", "ready", "5", "+972585550142")).await;
    ezw.fail_next(1, Fault::DropBeforeAccept);
    world.deliver(world.erp("m-2", "ready", "6", "+972585550142")).await;
    ezw.set_tokens([("ezw_line_else".to_owned(), "line_story".to_owned())].into());
    world.deliver(world.erp("m-3", "ready", "7", "+972585550142")).await;
    ezw.set_health(None, HealthPreset::UnknownStrings).unwrap();
    world.tick().await;
    let mut odd = world.order(8, "+972545550199");
    odd["id"] = json!({ "secret name": "Noa Levi" });
    world.deliver(world.shopify("orders/paid", "d-4", &odd)).await;

    let functions = ["webhook-receiver", "order-notifier", "reminder-scheduler"];
    let lines: Vec<String> = functions.iter().flat_map(|name| world.stack.logs(name)).map(|line| line.text).collect();
    assert!(lines.len() > 20, "only {} lines were logged", lines.len());
    let reasons: Vec<String> = world
        .items("StoreInbox")
        .iter()
        .filter_map(|item| item["outcome"].as_str().map(str::to_owned))
        .chain(world.rows().values().filter_map(|row| row["reason"].as_str().map(str::to_owned)))
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
        ZAP_SECRET,
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
async fn nothing_of_an_appointment_shows_on_the_way_to_its_reminder() {
    let env = [("LOG_LEVEL".to_owned(), "trace".to_owned())].into();
    let world = World::start_with(crate::world::Setup { env, ..Default::default() }).await;
    let standin = world.stack.calendars();
    let start = world.now() + SignedDuration::from_hours(26);
    let appointment = |id: u64| Appointment::recorded(id, start, "Asia/Jerusalem");
    let changed = |id: u64| acuity(format!("action=changed&id={id}").into_bytes());
    standin.put_appointment(appointment(1)).unwrap();
    standin.put_appointment(Appointment { phone: "call Adi 0525550101".into(), ..appointment(2) }).unwrap();
    world.stack.peers().fail_next(Peer::Acuity, Trouble::Half, 1);
    for id in [1, 1, 2] {
        world.deliver(changed(id)).await;
    }
    let texts = [("summary", "Adi Sela"), ("description", "Name: Adi\nPhone: 052-555-0101")];
    let event = Event {
        uid: "one".into(),
        start,
        zone: "Asia/Jerusalem".into(),
        sequence: 0,
        changed_at: world.now(),
        texts: texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
    };
    standin.put_event("diary.ics", event).unwrap();
    let mut reasons = Vec::new();
    let mut note_reasons = || {
        let said = |row: &Value| ["reason", "problem"].map(|name| row[name].as_str().map(str::to_owned));
        reasons.extend(world.rows().into_values().flat_map(|row| said(&row)).flatten());
    };
    for trouble in [Trouble::Status(401), Trouble::Half, Trouble::Empty, Trouble::Status(301)] {
        world.stack.peers().fail_next(Peer::Feed, trouble, 1);
        world.pass(SignedDuration::from_mins(6));
        world.stack.poll_feeds().await.unwrap();
        note_reasons();
    }
    world.pass(SignedDuration::from_mins(6));
    world.stack.poll_feeds().await.unwrap();
    world.stack.ezw().fail_next(1, Fault::DropAfterAccept);
    for _ in 0..3 {
        world.pass(SignedDuration::from_hours(2));
        world.tick().await;
        note_reasons();
    }
    assert_eq!(world.texts("+972525550101").len(), 2, "both were reminded");

    let lines: Vec<String> = world.stack.logs("reminder-scheduler").into_iter().map(|line| line.text).collect();
    assert!(lines.iter().any(|line| line.contains("appointment is booked")), "{lines:?}");
    assert!(reasons.len() > 4, "{reasons:?}");
    let outcomes =
        world.items("BookingInbox").into_iter().filter_map(|item| item["outcome"].as_str().map(str::to_owned));
    let private = ["525550101", "52-555-0101", "Adi", "Sela", "diary.example", "secret/diary", ACUITY_KEY, LINE_TOKEN];
    for line in lines.into_iter().chain(reasons).chain(outcomes) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
