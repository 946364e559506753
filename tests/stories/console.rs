//! The pages and the buttons of the local console.
//!
//! Long because each page has its story.

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
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
    // Texts of times have another order: a fraction is as long as it has to be.
    known.sort_by_key(|appointment| appointment["created_at"].as_str().unwrap().parse::<Timestamp>().unwrap());
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

/// What a page shows at its first look.
async fn look_at(world: &World, page: Value) -> Value {
    look(world, &json!({"page": page})).await
}

async fn look(world: &World, request: &Value) -> Value {
    let post = WebhookPost::new("/_console/look", "application/json", request.to_string());
    let (status, text) = world.post_for_response(post).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn rows<'a>(look: &'a Value, list: &str) -> &'a Vec<Value> {
    look[list]["rows"].as_array().unwrap_or_else(|| panic!("no {list} in {look}"))
}

/// The leads of the page "Forms", newest first: the form, and the standing or the outcome.
async fn lead_results(world: &World) -> Vec<(String, String)> {
    let mut results = Vec::new();
    loop {
        let request = json!({"page": {"name": "forms"}, "offset": results.len()});
        let page = look(world, &request).await;
        let total = page["list"]["total"].as_u64().unwrap();
        for lead in rows(&page, "list") {
            let code = lead["standing"].as_str().or(lead["outcome"].as_str()).unwrap_or("being read");
            results.push((lead["form"].as_str().unwrap().to_owned(), code.to_owned()));
        }
        if results.len() as u64 >= total {
            return results;
        }
    }
}

#[tokio::test]
async fn a_lead_of_any_console_form_is_greeted_once() {
    let world = World::start().await;
    let page = look_at(&world, json!({"name": "forms"})).await;
    let forms = rows(&page, "forms");
    assert!(forms.len() >= 9, "{forms:?}");
    for (index, form) in forms.iter().enumerate() {
        assert_eq!(form["available"], true, "{form}");
        let (form, phone) = (form["id"].as_str().unwrap(), format!("052-555-02{index:02}"));
        submit_lead(&world, form, "submit", &phone).await;
        submit_lead(&world, form, "same-person", &phone).await;
        let results = lead_results(&world).await;
        assert_eq!(results[1], (form.to_owned(), "sent".to_owned()), "{form}");
        // If a sender has no ids, two submissions within a minute are one lead.
        assert!(["skipped", "already-known"].contains(&results[0].1.as_str()), "{form}: {results:?}");
        assert_eq!(world.texts_on_phone(&format!("+97252555{:04}", 200 + index)).len(), 1, "{form}");
    }
    // However late it is looked at, the time from the post to the send stays.
    world.advance_time(SignedDuration::from_hours(1));
    world.tick().await;
    let page = look_at(&world, json!({"name": "messages", "standing": "sent"})).await;
    assert_eq!(page["list"]["total"], forms.len());
    for lead in rows(&page, "list") {
        assert!(lead["took_ms"].as_i64().unwrap() < 30_000, "{lead}");
        assert!(lead["id"].as_str().unwrap().starts_with("lead:"), "rows about numbers and forms are not messages");
    }
    let page = look_at(&world, json!({"name": "forms"})).await;
    let first = rows(&page, "list")[0]["id"].as_str().unwrap().replace('#', "%23");
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
    let results: Vec<String> = lead_results(&world).await.into_iter().map(|(_, end)| end).collect();
    assert_eq!(results, ["no-consent", "test"]);
    // The minute is part of a lead's id, so the repeat has to arrive in the crowd's minute.
    world.begin_next(60);
    submit_lead(&world, "site", "crowd", "052-555-0101").await;
    submit_lead(&world, "site", "repeat", "052-555-0101").await;
    assert_eq!(world.texts_on_phone("+972525550101").len(), 1);
    let results = lead_results(&world).await;
    let skipped = results.iter().filter(|(_, end)| end == "skipped").count();
    // A machine under load may need longer than a minute. Then the repeat is a lead of its own.
    assert!((199..=200).contains(&skipped), "{skipped}");
    assert_eq!(results.len(), 3 + skipped);
    let page = look_at(&world, json!({"name": "now"})).await;
    assert!(page["list"]["total"].as_u64().unwrap() < 60, "two hundred leads of one number share few rows: {page}");
}

#[tokio::test]
async fn a_flood_holds_a_form_until_a_button_is_pressed() {
    let world = World::start().await;
    let form_state = async |name: &str| {
        let page = look_at(&world, json!({"name": "forms"})).await;
        rows(&page, "forms").iter().find(|form| form["id"] == name).unwrap().clone()
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

#[tokio::test]
async fn the_page_now_says_that_a_repeat_was_recognised_and_a_forgery_refused() {
    let world = World::start().await;
    press_button(&world, "try", json!({"case": "shopify-received"})).await;
    for _ in 0..3 {
        press_button(&world, "try", json!({"case": "repeat-last"})).await;
    }
    press_button(&world, "try", json!({"case": "bad-signature"})).await;
    let page = look_at(&world, json!({"name": "now"})).await;
    let shown: Vec<(&str, u64, String)> = rows(&page, "list")
        .iter()
        .map(|row| {
            let text = row["text"].as_str().unwrap_or_default().split([',', ':', ';']).next().unwrap_or_default();
            (row["tone"].as_str().unwrap(), row["count"].as_u64().unwrap(), text.to_owned())
        })
        .collect();
    let expected =
        [("refused", 1, "refused 401".to_owned()), ("repeat", 3, "recognised".to_owned()), ("sent", 1, String::new())];
    assert_eq!(shown, expected);
    let repeat = rows(&page, "list")[1]["text"].as_str().unwrap();
    assert!(repeat.starts_with("recognised, nothing sent (sent "), "{repeat}");
    assert_eq!(
        (&page["bar"]["repeats"], &page["bar"]["forged"], &page["bar"]["sent"]),
        (&json!(3), &json!(1), &json!(1))
    );
    for (filter, total) in [("repeats", 1), ("refused", 1), ("waiting", 0), ("needs-you", 0)] {
        let page = look_at(&world, json!({"name": "now", "filter": filter})).await;
        assert_eq!(page["list"]["total"], total, "{filter}");
    }
}

#[tokio::test]
async fn from_a_number_to_the_reason_why_a_customer_got_nothing() {
    let world = World::start().await;
    world.stack.provider().set_health(None, tellonce_fakes::provider::HealthPreset::Qr).unwrap();
    world.deliver(world.erp_post("d-1", "ready", "1001", "+972545550199")).await;
    let page = look_at(&world, json!({"name": "messages", "search": "054-555-0199"})).await;
    let [row] = &rows(&page, "list")[..] else { panic!("one message in {page}") };
    assert_eq!((&row["standing"], &row["why"]), (&json!("waiting"), &json!("the phone must be linked again")));
    assert_eq!((&page["bar"]["waiting"], &page["bar"]["lines"][0]["can_send"]), (&json!(1), &json!(false)));

    let page = look_at(&world, json!({"name": "message", "id": row["id"]})).await;
    let detail = &page["detail"];
    assert!(
        detail["headline"].as_str().unwrap().starts_with("Not sent yet: the phone must be linked again."),
        "{detail}"
    );
    let labels: Vec<&str> =
        detail["steps"].as_array().unwrap().iter().map(|step| step["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["came in", "sending", "waits"]);
    assert_eq!(detail["section"]["title"], "[messages.ready]");
    assert!(detail["text"].as_str().unwrap().contains("1001") && detail["row"]["state"] == "held", "{detail}");

    let page = look_at(&world, json!({"name": "customer", "id": row["customer"]})).await;
    assert_eq!(
        (&page["detail"]["name"], &page["detail"]["messages"][0]["title"]),
        (&json!("Amit Peretz"), &json!("#1001 ready"))
    );

    // A delivery that led to no message is found by what is in its body, with its reason.
    world.deliver(world.erp_post("d-2", "unknown-event", "1002", "+972525550101")).await;
    let page = look_at(&world, json!({"name": "messages", "search": "052-555-0101"})).await;
    let [delivery] = &rows(&page, "deliveries")[..] else { panic!("one delivery in {page}") };
    assert_eq!((&page["list"]["total"], &delivery["id"]), (&json!(0), &json!("erp#d-2")));
    assert!(delivery["text"].as_str().unwrap().contains("unknown-event"), "{delivery}");
    let page = look_at(&world, json!({"name": "delivery", "id": "erp#d-2"})).await;
    assert!(page["detail"]["headline"].as_str().unwrap().starts_with("No message: "), "{page}");
    let page = look_at(&world, json!({"name": "delivery", "id": "erp#d-1"})).await;
    assert_eq!(page["detail"]["messages"][0]["id"], row["id"]);
    for missing in [json!({"name": "message", "id": "order:9:ready"}), json!({"name": "customer", "id": "0"})] {
        assert_eq!(look_at(&world, missing).await["detail"]["missing"], true);
    }
}

#[tokio::test]
async fn an_appointment_has_a_page_with_its_moves_and_reminders() {
    let world = World::start().await;
    let today = world.now().to_zoned(TimeZone::get("Asia/Jerusalem").unwrap()).date();
    let at = |days: i64| format!("{}T10:30", today.saturating_add(days.days()));
    change_booking(&world, "crm", "book", &at(3)).await;
    change_booking(&world, "crm", "move", &at(4)).await;
    press_button(&world, "clock", json!({"to_next": true})).await;
    let page = look_at(&world, json!({"name": "appointments"})).await;
    let [row] = &rows(&page, "list")[..] else { panic!("one appointment in {page}") };
    assert_eq!(row["status"], "booked");
    let page = look_at(&world, json!({"name": "appointment", "id": row["id"]})).await;
    let detail = &page["detail"];
    assert!(detail["headline"].as_str().unwrap().starts_with("Takes place on "), "{detail}");
    let codes: Vec<&str> =
        detail["steps"].as_array().unwrap().iter().map(|step| step["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["booked", "rescheduled"]);
    assert_eq!(
        (&detail["messages"][0]["standing"], &detail["section"]["title"]),
        (&json!("sent"), &json!("[calendars.crm]"))
    );
    // Back at the present, the clock is right and a line of the activity says so.
    press_button(&world, "clock", json!({"reset": true})).await;
    let page = look_at(&world, json!({"name": "now"})).await;
    assert_eq!(page["bar"]["offset_ms"], 0);
    assert!(rows(&page, "list")[0]["title"].as_str().unwrap().starts_with("the clock is back"), "{page}");
}

#[tokio::test]
async fn a_delivery_that_is_processed_again_sends_nothing_twice() {
    let world = World::start().await;
    press_button(&world, "try", json!({"case": "shopify-received"})).await;
    let page = look_at(&world, json!({"name": "messages"})).await;
    let key = rows(&page, "list")[0]["id"].clone();
    let detail = look_at(&world, json!({"name": "message", "id": key})).await["detail"].take();
    assert_eq!(detail["has_delivery"], true);
    press_button(&world, "replay", json!({"id": detail["delivery"]})).await;
    assert_eq!(world.messages().len(), 1);
}

/// What a page has after an answer, as the page's script keeps it.
fn learn(known: &mut Value, answer: &Value) {
    for (name, part) in answer.as_object().unwrap() {
        if let Some(hash) = part["hash"].as_str() {
            known[name] = json!(hash);
        }
        for row in part["rows"].as_array().into_iter().flatten() {
            known[format!("{name}/{}", row["id"].as_str().unwrap())] = row["hash"].clone();
        }
    }
}

#[tokio::test]
async fn two_thousand_messages_are_counted_in_full_and_a_change_costs_few_bytes() {
    const ROWS: usize = 2_000;
    let world = World::start().await;
    let ledger = world.table_name("Ledger");
    let put = |n: usize, state: &str| {
        let row = json!({
            "subject": { "S": format!("order:{n}") }, "stage": { "S": "ready" }, "state": { "S": state },
            "request": { "S": format!("{{\"body\":\"{}\"}}", "x".repeat(500)) }, "line": { "S": "main" },
            "to": { "S": format!("+97254{n:07}") }, "name": { "S": "Noa Levi" },
            "reason": { "S": "the line could not send (status QR)" }, "updated_at": { "N": n.to_string() },
        });
        world.stack.dynamo().call_operation("PutItem", &json!({ "TableName": ledger, "Item": row })).unwrap();
    };
    for n in 0..ROWS {
        put(n, "held");
    }
    for page in [json!({"name": "messages"}), json!({"name": "now"}), json!({"name": "customers"})] {
        let mut known = json!({});
        let first = look(&world, &json!({"page": page})).await;
        assert_eq!(first["bar"]["waiting"], ROWS, "{page}");
        assert!(first.to_string().len() < 40_000, "{page}: {}", first.to_string().len());
        learn(&mut known, &first);
        let idle = look(&world, &json!({"page": page, "known": known, "seen": first["seen"]})).await;
        // A quarter of an hour may begin between the two looks, and then the bar is made again.
        assert!(idle["list"].is_null() && idle["phones"].is_null(), "{page}: {idle}");
        for n in 0..20 {
            put(n, "refused");
        }
        let changed = look(&world, &json!({"page": page, "known": known, "seen": first["seen"]})).await;
        assert!(changed.to_string().len() < 20_000, "{page}: {}", changed.to_string().len());
        assert_eq!((&changed["bar"]["waiting"], &changed["bar"]["needs_you"]), (&json!(ROWS - 20), &json!(20)));
        for n in 0..20 {
            put(n, "held");
        }
    }
    let page = look(&world, &json!({"page": {"name": "messages", "standing": "waiting"}, "offset": 1_990})).await;
    assert_eq!((&page["list"]["total"], rows(&page, "list").len()), (&json!(ROWS), 10));
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
