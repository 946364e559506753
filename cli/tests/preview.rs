//! `tellonce preview`, as it is run: the recorded deliveries in `events/` through the code that is deployed.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use common::{Folder, client, root, tellonce};
use serde_json::Value;

/// The lines of a preview that succeeded.
fn preview(arguments: &[&str]) -> Vec<Value> {
    let said = tellonce(&[&["preview"], arguments].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The arguments for these cases of a folder of samples, each at its time.
fn story(folder: &str, cases: &[(&str, &str, &str)]) -> Vec<String> {
    let mut arguments = Vec::new();
    for (headers, body, now) in cases {
        arguments.extend(["--headers".to_owned(), format!("events/{folder}/{headers}.headers.txt")]);
        arguments.extend(["--body".to_owned(), format!("events/{folder}/{body}")]);
        arguments.extend(["--now".to_owned(), (*now).to_owned()]);
    }
    arguments
}

fn preview_story(route: &str, folder: &str, cases: &[(&str, &str, &str)], more: &[&str]) -> Vec<Value> {
    let story = story(folder, cases);
    let mut arguments = vec!["--client", "clients/demo", "--route", route];
    arguments.extend(story.iter().map(String::as_str));
    arguments.extend(more);
    preview(&arguments)
}

/// For snapshots: what matters, one delivery a paragraph.
fn shown(deliveries: &[Value]) -> String {
    let paragraph = |delivery: &Value| {
        let text = |pointer: &str| delivery.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        let mut lines = vec![format!(
            "{} → {}{}{}",
            text("/case"),
            delivery["status"].as_u64().map_or("read".to_owned(), |status| status.to_string()),
            if delivery["verified"] == true { ", verified" } else { "" },
            if delivery["duplicate"] == true { ", duplicate" } else { "" },
        )];
        if delivery["event"].is_object() {
            let order = ["kind", "id", "number", "phone", "occurred_at"];
            let appointment = ["kind", "id", "standing", "phones/0", "start", "time_zone", "previous_id"];
            let is_order = delivery["event"]["milestone"].is_string();
            let facts = if is_order { &order[..] } else { &appointment[..] };
            let facts: Vec<_> = facts.iter().map(|fact| text(&format!("/event/{fact}"))).collect();
            lines.push(format!("  {}", facts.join(" ")));
        }
        for left_out in delivery["left_out"].as_array().into_iter().flatten() {
            lines.push(format!("  left out: {} {}", left_out["idempotency_key"], left_out["why"]));
        }
        for reason in ["refused", "nothing_because"] {
            lines.extend(delivery[reason].as_str().map(|because| format!("  {reason}: {because}")));
        }
        for message in delivery["messages"].as_array().unwrap() {
            let field = |name: &str| message[name].as_str().unwrap_or("-").to_owned();
            let times = format!("{} until {}", field("send_at"), field("expires_at"));
            lines.push(format!("  {} over {} to {}, {times}", field("idempotency_key"), field("line"), field("to")));
            lines.extend(field("text").lines().map(|line| format!("    | {line}")));
            if let Some(button) = message["button"].as_object() {
                lines.push(format!("    [{}] {}", button["text"], button["url"]));
            }
        }
        lines.join("\n")
    };
    deliveries.iter().map(paragraph).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn an_order_of_shopify_is_told_step_by_step_and_each_step_once() {
    let deliveries = preview_story(
        "/stores/shop",
        "stores/shopify",
        &[
            ("orders_create", "orders_create.json", "2026-11-18T08:15:05Z"),
            ("orders_create.retry", "orders_create.json", "2026-11-18T08:16:05Z"),
            ("orders_create.bad_signature", "orders_create.json", "2026-11-18T08:16:05Z"),
            ("orders_paid", "orders_paid.json", "2026-11-18T08:16:10Z"),
            ("orders_updated", "orders_updated.json", "2026-11-18T08:16:10Z"),
            ("fulfillments_create", "fulfillments_create.json", "2026-11-19T07:30:05Z"),
            ("orders_fulfilled", "orders_fulfilled.json", "2026-11-19T07:30:06Z"),
            (
                "fulfillment_events_create.out_for_delivery",
                "fulfillment_events_create.out_for_delivery.json",
                "2026-11-20T06:20:00Z",
            ),
            ("fulfillment_events_create.delivered", "fulfillment_events_create.delivered.json", "2026-11-20T12:00:00Z"),
            ("refunds_create", "refunds_create.json", "2026-11-21T08:30:00Z"),
            ("customers_redact", "customers_redact.json", "2026-11-21T08:30:00Z"),
        ],
        &[],
    );
    insta::assert_snapshot!(shown(&deliveries));
}

#[test]
fn a_pickup_is_looked_up_in_the_answer_that_is_given() {
    let case = [(
        "fulfillment_orders_line_items_prepared_for_pickup",
        "fulfillment_orders_line_items_prepared_for_pickup.json",
        "2026-11-19T09:00:05Z",
    )];
    let answer = "events/stores/shopify/_graphql_fulfillment_order.response.json";
    let found = preview_story("/stores/shop", "stores/shopify", &case, &["--lookup", answer]);
    assert_eq!(found[0]["messages"][0]["idempotency_key"], "order:5223452934380:ready");
    insta::assert_snapshot!(shown(&found));
    let skipped = preview_story("/stores/shop", "stores/shopify", &case, &[]);
    let because = skipped[0]["nothing_because"].as_str().unwrap();
    assert!(because.starts_with("look-up-skipped: "), "{because}");
    assert!(because.contains("--lookup FILE"), "{because}");
}

#[test]
fn a_folder_of_woocommerce_is_taken_by_name() {
    let arguments = ["--client", "clients/demo", "--route", "/stores/woo", "--folder", "events/stores/woocommerce"];
    let deliveries = preview(&[&arguments[..], &["--now", "2026-11-19T10:00:02Z"]].concat());
    insta::assert_snapshot!(shown(&deliveries));
    let ping = deliveries.iter().find(|delivery| delivery["case"] == "ping").unwrap();
    assert_eq!((&ping["status"], &ping["verified"], &ping["refused"]), (&200.into(), &false.into(), &Value::Null));
    assert_eq!(ping["nothing_because"], "ping");
}

#[test]
fn an_erp_that_is_changing_its_secret_is_believed_with_either() {
    let deliveries = preview_story(
        "/stores/erp",
        "stores/standardwebhooks",
        &[
            ("order_ready", "order_ready.json", "2026-11-19T10:00:02Z"),
            ("order_ready.partial_signature", "order_ready.json", "2026-11-19T10:00:02Z"),
            ("order_ready.stale", "order_ready.json", "2026-11-19T10:05:01Z"),
            ("delivery_changed", "delivery_changed.json", "2026-11-19T11:00:02Z"),
            ("invoice_issued", "invoice_issued.json", "2026-11-19T12:00:02Z"),
        ],
        &[],
    );
    let stale = deliveries[2]["refused"].as_str().unwrap();
    assert!(stale.contains("with --now 2026-11-19T10:00:00Z it would pass"), "{stale}");
    insta::assert_snapshot!(shown(&deliveries));
}

#[test]
fn a_workflow_with_a_header_is_told() {
    let case = [("zapier_order", "zapier_order.json", "2026-11-19T10:00:00Z")];
    insta::assert_snapshot!(shown(&preview_story("/stores/zap", "stores/static_header", &case, &[])));
}

/// A client with quiet hours, and deliveries of the Zapier flow: `(event, now)` each.
fn at_night(events: &[(&str, &str)]) -> Vec<Value> {
    let toml = std::fs::read_to_string(root().join("clients/demo/client.toml")).unwrap();
    let toml = toml.replace("# quiet_hours", "quiet_hours");
    let folder: Folder = client(&[("client.toml", &toml)]);
    let file = |name: String, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let headers = file(
        "h.headers.txt".to_owned(),
        "Content-Type: application/json\nX-Webhook-Token: test-static-header-token-1\n",
    );
    let mut arguments = vec!["preview".to_owned(), "--client".to_owned(), folder.path().to_str().unwrap().to_owned()];
    arguments.extend(["--route".to_owned(), "/stores/zap".to_owned()]);
    for (place, (event, now)) in events.iter().enumerate() {
        let body = format!(
            r#"{{"event":"{event}","event_id":"e{place}","order":{{"id":"77"}},"customer":{{"phone":"0525550101"}}}}"#
        );
        let body = file(format!("{place}.json"), &body);
        for argument in ["--headers", &headers, "--body", &body, "--now", now] {
            arguments.push(argument.to_owned());
        }
    }
    let said = tellonce(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.err);
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_happens_in_quiet_hours_is_told_when_they_end() {
    // 23:30 in Jerusalem.
    let deliveries = at_night(&[("order.ready", "2026-11-19T21:30:00Z")]);
    assert_eq!(deliveries[0]["messages"][0]["send_at"], "2026-11-20T06:00:00Z");
}

#[test]
fn what_is_no_longer_true_in_the_morning_is_not_told() {
    let deliveries = at_night(&[("order.ready", "2026-11-19T21:30:00Z"), ("order.cancelled", "2026-11-19T22:30:00Z")]);
    assert_eq!(deliveries[0]["messages"].as_array().unwrap().len(), 0);
    assert_eq!(
        deliveries[0]["nothing_because"],
        "superseded: `cancelled` of the same order was known when its turn came"
    );
    assert_eq!(deliveries[1]["messages"][0]["idempotency_key"], "order:77:cancelled");
}

#[test]
fn a_phone_number_shows_only_where_the_message_goes() {
    for delivery in at_night(&[("order.ready", "2026-11-19T10:00:00Z"), ("order.ready", "2026-11-19T10:00:01Z")]) {
        let mut delivery = delivery;
        if let Some(message) = delivery["messages"].get_mut(0) {
            assert_eq!(message["to"], "+972525550101");
            message["to"] = Value::Null;
        }
        assert!(!delivery.to_string().contains("525550101"), "{delivery}");
    }
}

#[test]
fn what_is_missing_is_named_and_nothing_secret_is_shown() {
    let secrets = r#"{"tellonce/demo/webhooks/shop": "hunter2-hunter2-hunter2"}"#;
    let folder = client(&[("secrets.json", secrets)]);
    let path = folder.path().to_str().unwrap();
    let on = |route: &str, more: &[&str]| {
        let said = tellonce(&[&["preview", "--client", path, "--route", route], more].concat());
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.out);
        assert!(!said.err.contains("hunter2"), "{}", said.err);
        said.err.replace(path, "demo")
    };
    let samples = ["--folder", "events/stores/static_header"];
    assert_eq!(
        on("/stores/zap", &samples),
        "error: demo/secrets.json does not have `tellonce/demo/webhooks/zap`, which deliveries to /stores/zap are verified \
         with; add it\n"
    );
    assert_eq!(
        on("/stores/zip", &samples),
        "error: `/stores/zip` leads to nothing of this client; its routes are /stores/erp, /stores/shop, /stores/woo, \
         /stores/zap, /bookings/clinic, /bookings/crm, /bookings/diary, /bookings/intro, /bookings/salon, /bookings/studio\n"
    );
    assert_eq!(
        on(
            "/stores/shop",
            &[&samples[..], &["--now", "2026-11-19T10:00:00Z", "--now", "2026-11-19T10:00:00Z"]].concat()
        ),
        "error: there are 2 --now for 1 deliveries; give one for all of them, or one for each\n"
    );
    let empty = tempfile::tempdir().unwrap();
    let none = on("/stores/shop", &["--folder", empty.path().to_str().unwrap()]);
    assert!(none.starts_with("error: there is no <case>.headers.txt in "), "{none}");
}

#[test]
fn a_client_that_does_not_load_is_not_previewed() {
    let client = "cli/tests/clients/bakery";
    let said =
        tellonce(&["preview", "--client", client, "--route", "/stores/shop", "--folder", "events/stores/shopify"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("cli/tests/clients/bakery/client.toml:2: "), "{}", said.err);
    assert!(said.err.contains("run `tellonce check cli/tests/clients/bakery`"), "{}", said.err);
}

#[test]
fn the_present_time_is_the_real_one_unless_told_otherwise() {
    let arguments =
        ["--client", "clients/demo", "--route", "/stores/erp", "--folder", "events/stores/standardwebhooks"];
    let deliveries = preview(&arguments);
    assert!(deliveries.iter().all(|delivery| delivery["status"] == 401), "{deliveries:#?}");
}

#[test]
fn an_appointment_that_is_moved_is_reminded_at_its_new_time_only() {
    let deliveries = preview_story(
        "/bookings/clinic",
        "bookings/calcom",
        &[
            ("booking_created", "booking_created.json", "2026-11-19T10:00:02Z"),
            ("booking_created.no_secret", "booking_created.no_secret.json", "2026-11-19T10:05:01Z"),
            ("booking_created", "booking_created.json", "2026-11-19T10:06:00Z"),
            ("booking_rescheduled", "booking_rescheduled.json", "2026-11-20T07:00:01Z"),
        ],
        &[],
    );
    insta::assert_snapshot!(shown(&deliveries));
}

#[test]
fn nothing_is_said_of_an_appointment_that_was_cancelled_whatever_comes_behind() {
    let deliveries = preview_story(
        "/bookings/clinic",
        "bookings/calcom",
        &[
            ("booking_cancelled", "booking_cancelled.json", "2026-11-20T08:00:01Z"),
            ("booking_rescheduled", "booking_rescheduled.json", "2026-11-20T09:00:00Z"),
            ("ping", "ping.json", "2026-11-20T09:00:00Z"),
        ],
        &[],
    );
    insta::assert_snapshot!(shown(&deliveries));
}

#[test]
fn what_a_booking_system_keeps_to_itself_comes_from_its_answer() {
    let scheduled = [("scheduled", "scheduled.form", "2026-11-23T17:30:00Z")];
    let without = preview_story("/bookings/studio", "bookings/acuity", &scheduled, &[]);
    let answer = ["--lookup", "events/bookings/acuity/_appointment.response.json"];
    let with = preview_story("/bookings/studio", "bookings/acuity", &scheduled, &answer);
    insta::assert_snapshot!(shown(&[without, with].concat()));
}

#[test]
fn a_feed_is_shown_appointment_by_appointment_and_a_halved_one_cancels_nothing() {
    let folder = client(&[]);
    let whole = std::fs::read_to_string(root().join("events/bookings/ics/feed.ics")).unwrap();
    let end = whole.find("BEGIN:VEVENT").unwrap();
    let empty = folder.path().join("emptied.ics");
    std::fs::write(&empty, format!("{}END:VCALENDAR\r\n", &whole[..end])).unwrap();
    let times = ["--now", "2026-11-20T00:00:00Z", "--now", "2026-11-20T06:00:00Z"];
    let mut arguments = vec!["--client", "clients/demo", "--route", "/bookings/diary"];
    arguments.extend(["--ics", "events/bookings/ics/feed.ics", "--ics", empty.to_str().unwrap()]);
    arguments.extend(times);
    insta::assert_snapshot!(shown(&preview(&arguments)));
}

#[test]
fn a_push_of_google_has_no_body_and_asks_for_the_feed() {
    let folder =
        ["--client", "clients/demo", "--route", "/bookings/diary", "--folder", "events/bookings/google_calendar"];
    let deliveries = preview(&folder);
    let because: Vec<_> = deliveries.iter().map(|delivery| delivery["nothing_because"].as_str().unwrap()).collect();
    assert!(because[0].starts_with("sync-feed: ") && because[1] == "ping", "{because:?}");
}
