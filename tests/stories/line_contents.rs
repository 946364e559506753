//! What a line event is about, and who its customer is: private ids in place of numbers, old
//! messages after relinking, and events that no customer writes.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    conversations::{
        CRMS_TOML, entry_counts, line_event, settle_line_events, start_world, team_notifications, write_from_phone,
    },
    world::{CRM_SECRET, World},
};

const NOA_PHONE: &str = "+972545550199";
const NOA_LID: &str = "235085806700321@lid";
/// Every escalation that a message may trigger, with an acknowledgement. No time is within the
/// business hours.
const STRICT_TEAM_TOML: &str = r#"
[[business_hours]]
days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
from = "00:00"
to = "00:01"
[opt_out]
en = ["stop"]
[targets.desk]
kind = "webhook"
url = "https://desk.example.com/calls"
text = "full"
[escalations.first]
when = "first-message"
to = ["desk"]
acknowledge = { text = { en = "Thanks for writing.", he = "תודה." } }
[escalations.after-hours]
when = "after-hours"
to = ["desk"]
acknowledge = { text = { en = "We are closed.", he = "סגור." } }
[escalations.urgent]
when = { words = { en = ["urgent"] } }
to = ["desk"]
acknowledge = { text = { en = "We are coming.", he = "באים." } }
[escalations.slow]
when = { unanswered = "15m" }
to = ["desk"]
"#;
const OPT_OUT_TOML: &str = "[opt_out]\nen = [\"stop\"]\n[targets.slack]\nkind = \"slack\"\n\
    text = \"full\"\n[escalations.urgent]\nwhen = { words = { en = [\"urgent\"] } }\nto = [\"slack\"]\n";

/// Longer than `unanswered`, which starts when the next business hours begin.
const UNANSWERED_TIME: SignedDuration = SignedDuration::from_hours(25);

/// A message in Noa's chat. `change` overwrites members.
fn chat_item(id: &str, at: impl Into<Value>, change: &Value) -> Value {
    let mut item = json!({
        "id": id, "message_id": id, "chat_id": "972545550199@s.whatsapp.net", "from": "972545550199@s.whatsapp.net",
        "conversationId": "conv_noa", "contactPhoneNumber": NOA_PHONE, "from_me": false, "timestamp": at.into(),
        "type": "text",
    });
    for (name, value) in change.as_object().unwrap() {
        item[name] = value.clone();
    }
    item
}

fn text_item(id: &str, at: impl Into<Value>, text: &str) -> Value {
    chat_item(id, at, &json!({"text": {"body": text}, "body": text}))
}

async fn deliver_items(world: &World, delivery_id: &str, items: &[Value]) {
    let body = json!({"event": "messages.post", "messages": items});
    world.deliver(line_event(delivery_id, "messages.post", &body)).await;
    settle_line_events(world).await;
}

/// Books an appointment in three days. Returns its start.
async fn book_appointment(world: &World, phone: &str) -> Timestamp {
    let start = world.now() + SignedDuration::from_hours(72);
    let start = Timestamp::from_second(start.as_second().div_euclid(60) * 60).unwrap();
    let body = json!({
        "id": "88", "start": start.to_string(), "zone": "Asia/Jerusalem", "phone": phone, "name": "Noa Levi",
        "locale": "en", "status": "booked", "previous": null, "at": world.now().to_string(),
    });
    world.deliver(world.standard_webhooks_post("/bookings/crm", CRM_SECRET, "m-1", &body)).await;
    start
}

/// Lets time pass until all reminders of the appointment were due.
async fn pass_all_reminders(world: &World, start: Timestamp) {
    for hours in [24, 2] {
        let at = start - SignedDuration::from_hours(hours) + SignedDuration::from_secs(20);
        world.advance_time(at.duration_since(world.now()));
        world.tick().await;
    }
}

fn opt_out_count(world: &World) -> usize {
    world.table_items("Ledger").iter().filter(|row| row.get("opted_out_at").is_some()).count()
}

fn use_private_ids(world: &World) {
    world.stack.provider().change_settings(|settings| settings.webhooks.private_ids = true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_behind_a_private_id_who_opts_out_is_not_reminded() {
    let world = start_world(&[CRMS_TOML, OPT_OUT_TOML]).await;
    use_private_ids(&world);
    let start = book_appointment(&world, NOA_PHONE).await;
    // Our own message shows which number the private id stands for.
    world.deliver(world.erp_post("erp-1", "ready", "1001", NOA_PHONE)).await;
    settle_line_events(&world).await;
    write_from_phone(&world, NOA_PHONE, "This is urgent");
    write_from_phone(&world, NOA_PHONE, "Stop");
    settle_line_events(&world).await;
    assert_eq!(opt_out_count(&world), 1);
    let alerts = team_notifications(&world);
    assert!(alerts.len() == 1 && alerts[0].1.contains(NOA_PHONE) && alerts[0].1.contains("order:1001:ready"));
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!(world.stack.crms().people(crm).len(), 1, "{crm} has one customer");
    }
    assert_eq!(entry_counts(&world, "sheet").len(), 3);
    let texts = world.texts_on_phone(NOA_PHONE).len();
    pass_all_reminders(&world, start).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), texts, "no reminder");
    for row in world.table_items("Ledger").iter().chain(&world.table_items("LineInbox")) {
        let key = format!("{} {} {}", row["subject"], row["stage"], row["outcome_text"]);
        assert!(!key.contains("545550199") && !key.contains("@lid"), "{key}");
    }
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_and_entries_wait_for_the_number_of_a_private_id() {
    let world = start_world(&[CRMS_TOML, OPT_OUT_TOML]).await;
    let start = book_appointment(&world, NOA_PHONE).await;
    let private = json!({
        "chat_id": NOA_LID, "from": NOA_LID, "contactPhoneNumber": "+235085806700321", "conversationId": "conv_lid",
    });
    let now = world.now().as_second();
    let private_text = |id: &str, text: &str| {
        let mut item = chat_item(id, now, &private);
        item["text"] = json!({ "body": text });
        item
    };
    deliver_items(&world, "d-1", &[private_text("m1", "This is urgent")]).await;
    deliver_items(&world, "d-2", &[private_text("m2", "stop")]).await;
    for delivery in ["main#d-1", "main#d-2"] {
        assert_eq!(world.delivery_outcome(delivery).as_deref(), Some("number-unknown"));
    }
    let alerts = team_notifications(&world);
    assert!(alerts.len() == 1 && alerts[0].1.contains(NOA_LID), "{alerts:?}");
    assert!(!alerts[0].1.contains("+235085806700321"));
    assert!(entry_counts(&world, "sheet").is_empty(), "no CRM has a person with an invented number");
    // The line names both.
    let both = chat_item("m3", now, &json!({"chat_id": NOA_LID, "from": NOA_LID, "text": {"body": "Hello"}}));
    deliver_items(&world, "d-3", &[both]).await;
    assert_eq!(opt_out_count(&world), 1, "the opt-out moved from the private id to the number");
    for delivery in ["main#d-1", "main#d-2", "main#d-3"] {
        assert_eq!(world.delivery_outcome(delivery), None, "{delivery}");
    }
    let expected = ["m1", "m2", "m3"].map(|id| (format!("main:{id}"), 1));
    assert_eq!(entry_counts(&world, "sheet"), expected.into());
    assert_eq!(world.stack.crms().people("hub").len(), 1);
    assert_eq!(team_notifications(&world).len(), 1, "not alerted again");
    pass_all_reminders(&world, start).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE), Vec::<String>::new(), "no reminder");
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_a_number_are_one_customer_and_the_message_goes_to_the_given_one() {
    const GIVEN_PHONE: &str = "+5511987654321";
    const REPORTED_PHONE: &str = "+551187654321";
    let world = start_world(&[CRMS_TOML, OPT_OUT_TOML]).await;
    let start = book_appointment(&world, GIVEN_PHONE).await;
    world.deliver(world.erp_post("erp-1", "ready", "1001", GIVEN_PHONE)).await;
    settle_line_events(&world).await;
    assert_eq!(world.texts_on_phone(GIVEN_PHONE).len(), 1);
    let now = world.now().as_second();
    let written = |id: &str, text: &str| {
        let chat = format!("{}@s.whatsapp.net", &REPORTED_PHONE[1..]);
        let mut item = text_item(id, now, text);
        (item["chat_id"], item["from"], item["contactPhoneNumber"]) = (json!(chat), json!(chat), json!(REPORTED_PHONE));
        item
    };
    deliver_items(&world, "d-1", &[written("m1", "This is urgent")]).await;
    deliver_items(&world, "d-2", &[written("m2", "stop")]).await;
    let alerts = team_notifications(&world);
    assert!(alerts.len() == 1 && alerts[0].1.contains("order:1001:ready"), "{alerts:?}");
    for crm in ["hub", "pipe", "zoho"] {
        assert_eq!(world.stack.crms().people(crm).len(), 1, "{crm} has one customer");
    }
    pass_all_reminders(&world, start).await;
    assert_eq!((opt_out_count(&world), world.messages().len()), (1, 1), "no reminder");
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_after_relinking_alert_no_team_and_opt_no_customer_out() {
    let world = start_world(&[CRMS_TOML, STRICT_TEAM_TOML]).await;
    let days_ago = |days: i64| world.now() - SignedDuration::from_hours(24 * days);
    let items = [
        text_item("old-1", days_ago(3).as_second(), "This is urgent"),
        text_item("old-2", days_ago(21).as_millisecond(), "stop"),
        text_item("old-3", days_ago(2).to_string(), "urgent, hello?"),
        text_item("old-4", days_ago(400).as_second(), "urgent"),
    ];
    deliver_items(&world, "d-1", &items).await;
    world.advance_time(UNANSWERED_TIME);
    world.tick_conversations().await;
    assert_eq!(team_notifications(&world), Vec::new());
    assert_eq!((world.messages().len(), opt_out_count(&world)), (0, 0));
    assert_eq!(world.delivery_outcome("main#d-1").as_deref(), Some("opt-out-not-applied"), "an operator decides");
    let outcome = world.delivery_outcome_text("main#d-1").unwrap();
    assert!(outcome.contains("opt-out older than a week"), "{outcome}");
    deliver_items(&world, "d-0", &[text_item("old-5", days_ago(2).as_second(), "Hello")]).await;
    assert_eq!(world.delivery_outcome("main#d-0").as_deref(), Some("old-message"));
    // The CRM has what it may not have yet, with its own dates.
    let expected = ["old-1", "old-2", "old-3", "old-5"].map(|id| (format!("main:{id}"), 1));
    assert_eq!(entry_counts(&world, "sheet"), expected.into());
    // What the customer writes now counts, and is not the first message.
    deliver_items(&world, "d-2", &[text_item("new-1", world.now().as_second(), "This is urgent")]).await;
    assert_eq!(team_notifications(&world).len(), 2, "after hours, and a word");
    world.advance_time(UNANSWERED_TIME);
    world.tick_conversations().await;
    assert_eq!(team_notifications(&world).len(), 3, "unanswered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_that_a_phone_reports_days_later_counts_from_when_it_was_written() {
    let world = start_world(&[CRMS_TOML, STRICT_TEAM_TOML]).await;
    let start = book_appointment(&world, NOA_PHONE).await;
    let written_at = world.now() - SignedDuration::from_hours(25);
    deliver_items(&world, "d-1", &[text_item("m1", written_at.as_second(), "Stop")]).await;
    let rows = world.table_items("Ledger");
    let opted_out: Vec<i64> = rows.iter().filter_map(|row| row.get("opted_out_at")?.as_i64()).collect();
    assert_eq!(opted_out, [written_at.as_second() * 1000], "its own time");
    assert_eq!(world.delivery_outcome("main#d-1").as_deref(), Some("old-message"));
    assert_eq!((team_notifications(&world), world.messages().len()), (Vec::new(), 0), "all else stays as it was");
    pass_all_reminders(&world, start).await;
    assert_eq!(world.messages().len(), 0, "no reminder");
    // An operator who opted the customer in since then counts more.
    let opt_in = json!({ "opt_in": NOA_PHONE });
    assert_eq!(world.stack.invoke("conversation-sync", &opt_in).await.unwrap(), json!({"changed": true}));
    let before = (world.now() - SignedDuration::from_hours(24 * 6)).as_second();
    deliver_items(&world, "d-2", &[text_item("m2", before, "stop")]).await;
    assert_eq!(opt_out_count(&world), 0);
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_of_a_customer_without_a_number_or_a_private_id_is_shown_to_an_operator() {
    let world = start_world(&[OPT_OUT_TOML]).await;
    let named = json!({"chat_id": "noa.levi", "from": "noa.levi", "contactPhoneNumber": null});
    let mut item = chat_item("m1", world.now().as_second(), &named);
    item["text"] = json!({"body": "stop"});
    deliver_items(&world, "d-1", &[item]).await;
    assert_eq!(world.delivery_outcome("main#d-1").as_deref(), Some("opt-out-not-applied"));
    assert_eq!(opt_out_count(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_private_id_are_made_whatever_else_their_delivery_holds() {
    let world = start_world(&[CRMS_TOML]).await;
    let now = world.now().as_second();
    let private = json!({
        "chat_id": NOA_LID, "from": NOA_LID, "contactPhoneNumber": null, "text": {"body": "Hello"},
        "conversationId": "conv_lid",
    });
    let private = |id: &str| chat_item(id, now, &private);
    deliver_items(&world, "d-1", &[private("m1"), json!({"type": "text", "from_me": false})]).await;
    deliver_items(&world, "d-2", &[private("m2")]).await;
    assert_eq!(world.delivery_outcome("main#d-1").as_deref(), Some("quarantined"));
    assert_eq!(world.delivery_outcome("main#d-2").as_deref(), Some("number-unknown"));
    world.advance_time(SignedDuration::from_mins(30));
    let both = chat_item("m3", now, &json!({"chat_id": NOA_LID, "from": NOA_LID, "text": {"body": "Hello"}}));
    deliver_items(&world, "d-3", &[both]).await;
    let expected = ["m1", "m2", "m3"].map(|id| (format!("main:{id}"), 1));
    assert_eq!(entry_counts(&world, "sheet"), expected.into());
    assert_eq!(world.delivery_outcome("main#d-1").as_deref(), Some("quarantined"), "the other item");
    assert_eq!(world.delivery_outcome("main#d-2"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_without_a_conversation_id_has_one_conversation_before_and_after_the_number_is_known() {
    for is_answered in [true, false] {
        let world = start_world(&[CRMS_TOML, STRICT_TEAM_TOML]).await;
        let now = world.now().as_second();
        let without_id = |id: &str, at: i64, change: Value| {
            let mut item = chat_item(id, at, &json!({"chat_id": NOA_LID, "from": NOA_LID, "text": {"body": "Hello"}}));
            item.as_object_mut().unwrap().remove("conversationId");
            for (name, value) in change.as_object().unwrap() {
                item[name] = value.clone();
            }
            item
        };
        let private = |id: &str| without_id(id, now, json!({ "contactPhoneNumber": null }));
        deliver_items(&world, "d-1", &[private("m1")]).await;
        let alerts = team_notifications(&world).len();
        assert_eq!(alerts, 2, "first message, after hours");
        if is_answered {
            // The team answers, and the line names both.
            let answer = json!({"from_me": true, "from": "me", "to": NOA_LID, "text": {"body": "We are coming."}});
            deliver_items(&world, "d-2", &[without_id("o1", now + 5, answer)]).await;
            for _ in 0..3 {
                world.advance_time(SignedDuration::from_mins(2));
                world.tick_conversations().await;
            }
        } else {
            // The customer writes again, and the line names both.
            deliver_items(&world, "d-2", &[without_id("m2", now + 5, json!({}))]).await;
        }
        assert_eq!(world.delivery_outcome("main#d-1"), None, "processed again");
        assert_eq!(team_notifications(&world).len(), alerts, "not alerted again");
        world.advance_time(UNANSWERED_TIME);
        world.tick_conversations().await;
        assert_eq!(team_notifications(&world).len(), alerts + usize::from(!is_answered), "answered: {is_answered}");
        world.advance_time(UNANSWERED_TIME);
        world.tick_conversations().await;
        assert_eq!(team_notifications(&world).len(), alerts + usize::from(!is_answered), "one alert for a wait");
        let counts = entry_counts(&world, "sheet");
        assert!(counts.len() == 2 && counts.values().all(|count| *count == 1), "{counts:?}");
        assert!(world.stack.failures().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_an_unknown_type_without_a_text_alerts_the_team() {
    for kind in ["ciphertext", "unsupported", "hologram"] {
        let world = start_world(&[CRMS_TOML, STRICT_TEAM_TOML]).await;
        let now = world.now().as_second();
        deliver_items(&world, "d-1", &[chat_item("m1", now, &json!({ "type": kind }))]).await;
        assert_eq!(world.delivery_outcome("main#d-1").as_deref(), Some("unknown-type"), "{kind}");
        assert_eq!(team_notifications(&world).len(), 2, "first message, after hours: {kind}");
        world.advance_time(UNANSWERED_TIME);
        world.tick_conversations().await;
        assert_eq!(team_notifications(&world).len(), 3, "unanswered: {kind}");
    }
    let world = start_world(&[STRICT_TEAM_TOML]).await;
    let action = json!({"type": "action", "action": {"type": "levitate", "target": "m0"}});
    deliver_items(&world, "d-1", &[chat_item("m1", world.now().as_second(), &action)]).await;
    world.advance_time(UNANSWERED_TIME);
    world.tick_conversations().await;
    assert_eq!(team_notifications(&world), Vec::new());
    assert_eq!(world.delivery_outcome("main#d-1").as_deref(), Some("not-written"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_edits_deletions_notices_and_calls_alert_no_team() {
    let world = start_world(&[CRMS_TOML, STRICT_TEAM_TOML]).await;
    let now = world.now().as_second();
    let action_at = |now: i64, id: &str, action: Value| {
        chat_item(id, now, &json!({"type": "action", "action": action, "text": null}))
    };
    let action = |id: &str, action: Value| action_at(now, id, action);
    let events = [
        ("reaction", action("r1", json!({"type": "reaction", "target": "ours", "emoji": "👍"}))),
        ("deletion", action("r2", json!({"type": "delete", "target": "ours"}))),
        ("vote", action("r3", json!({"type": "vote", "target": "ours", "votes": ["yes"]}))),
        ("notice", chat_item("r4", now, &json!({"type": "system", "system": {"type": "e2e_encrypted", "body": ""}}))),
        ("call", chat_item("r5", now, &json!({"type": "call", "call": {"status": "missed"}}))),
        ("empty", chat_item("r6", now, &json!({"text": {"body": ""}}))),
        ("edit", action("r7", json!({"type": "edit", "target": "ours", "edited_content": {"body": "Hello?"}}))),
    ];
    for (name, item) in events {
        deliver_items(&world, name, &[item]).await;
        assert_eq!(world.delivery_outcome(&format!("main#{name}")).as_deref(), Some("not-written"), "{name}");
    }
    world.advance_time(UNANSWERED_TIME);
    world.tick_conversations().await;
    assert_eq!((team_notifications(&world), world.messages().len()), (Vec::new(), 0));
    let expected = ["r1", "r2", "r3", "r5", "r7"].map(|id| (format!("main:{id}"), 1));
    assert_eq!(entry_counts(&world, "sheet"), expected.into(), "notices and empty texts are in no CRM");
    // A message, its edit and its deletion: one first message, and no wait for an answer.
    let now = world.now().as_second();
    deliver_items(&world, "m-1", &[text_item("m1", now, "Where is my order")]).await;
    let alerts = team_notifications(&world).len();
    assert_eq!(alerts, 2, "first message, after hours");
    let edited = json!({"type": "edit", "target": "m1", "edited_content": {"body": "Where is my order?"}});
    let deleted = json!({"type": "delete", "target": "m1"});
    deliver_items(&world, "m-2", &[action_at(now, "m2", edited)]).await;
    deliver_items(&world, "m-3", &[action_at(now, "m3", deleted)]).await;
    world.advance_time(UNANSWERED_TIME);
    world.tick_conversations().await;
    assert_eq!(team_notifications(&world).len(), alerts);
    assert!(world.stack.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_number_reads_nothing_about_private_ids() {
    let world = start_world(&[]).await;
    let now = world.now().as_second();
    let plain = |id: &str| text_item(id, now, "Hello");
    let both = |id: &str| {
        let mut item = plain(id);
        (item["chat_id"], item["from"]) = (json!(NOA_LID), json!(NOA_LID));
        item
    };
    deliver_items(&world, "d-1", &[plain("m1")]).await;
    deliver_items(&world, "d-2", &[both("m2")]).await;
    let counters = world.stack.dynamo().counters();
    let mut used = Vec::new();
    for (delivery, item) in [("d-3", plain("m3")), ("d-4", both("m4"))] {
        counters.reset();
        deliver_items(&world, delivery, &[item]).await;
        let usage = counters.snapshot();
        let requests: u64 = usage
            .iter()
            .filter(|((_, table), _)| *table == world.table_name("Ledger"))
            .map(|(_, usage)| usage.requests)
            .sum();
        used.push(requests);
    }
    assert_eq!(used, [2, 2], "one read and one write of the conversation, with a known private id as well");
}
