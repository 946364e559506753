//! `tellonce preview`, run as a process with the recorded deliveries in `events/`.
//!
//! Long because each kind of sender has its own recorded deliveries.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use common::{ClientFolder, copy_demo_client, repository_root, run_tellonce};
use serde_json::Value;

/// The lines of a preview.
fn run_preview(arguments: &[&str]) -> Vec<Value> {
    let run = run_tellonce(&[&["preview", "--json"], arguments].concat());
    let lines: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_refused = lines.iter().any(|delivery| delivery["refused"].is_string());
    assert_eq!(run.code, if is_refused { 2 } else { 0 }, "{}", run.stderr);
    lines
}

/// The arguments for cases of a folder of samples: headers file, body file and time of each.
fn case_arguments(folder: &str, cases: &[(&str, &str, &str)]) -> Vec<String> {
    let mut arguments = Vec::new();
    for (headers, body, now) in cases {
        arguments.extend(["--headers".to_owned(), format!("events/{folder}/{headers}.headers.txt")]);
        arguments.extend(["--body".to_owned(), format!("events/{folder}/{body}")]);
        arguments.extend(["--now".to_owned(), (*now).to_owned()]);
    }
    arguments
}

fn preview_cases(route: &str, folder: &str, cases: &[(&str, &str, &str)], more: &[&str]) -> Vec<Value> {
    let case_list = case_arguments(folder, cases);
    let mut arguments = vec!["--client", "clients/demo", "--route", route];
    arguments.extend(case_list.iter().map(String::as_str));
    arguments.extend(more);
    run_preview(&arguments)
}

/// For snapshots: the main values, one delivery a paragraph.
fn format_previews(deliveries: &[Value]) -> String {
    let paragraph = |delivery: &Value| {
        let text = |pointer: &str| delivery.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        let mut lines = vec![format!(
            "{} → {}{}{}",
            text("/case"),
            delivery["status"].as_u64().map_or("read".to_owned(), |status| status.to_string()),
            if delivery["verified"] == true { ", verified" } else { "" },
            if delivery["duplicate"] == true { ", duplicate" } else { "" },
        )];
        for lead in delivery["event"]["leads"].as_array().into_iter().flatten() {
            lines.extend(format_lead(lead));
        }
        if delivery["event"].is_object() && delivery["event"]["leads"].is_null() {
            let order = ["kind", "id", "number", "phone", "occurred_at"];
            let appointment = ["kind", "id", "status", "phones/0", "start", "time_zone", "previous_id"];
            let is_order = delivery["event"]["milestone"].is_string();
            let facts = if is_order { &order[..] } else { &appointment[..] };
            let facts: Vec<_> = facts.iter().map(|fact| text(&format!("/event/{fact}"))).collect();
            lines.push(format!("  {}", facts.join(" ")));
        }
        for skipped in delivery["skipped_reminders"].as_array().into_iter().flatten() {
            lines.push(format!("  skipped: {} {}", skipped["idempotency_key"], skipped["reason"]));
        }
        for reason in ["refused", "skip_reason"] {
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

/// The facts of a lead with their fields, and the names of all fields.
fn format_lead(lead: &Value) -> Vec<String> {
    let mut lines: Vec<String> =
        lead["lookup_request"].as_str().map(|request| format!("  lookup {request}")).into_iter().collect();
    for (fact, preview) in lead["found"].as_object().into_iter().flatten() {
        let text = |what: &str| preview[what].as_str().unwrap_or("-");
        lines.push(format!("  {fact}: {} in {}", text("value"), text("field")));
    }
    let fields: Vec<_> = lead["fields"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    lines.extend((!fields.is_empty()).then(|| format!("  fields: {}", fields.join(", "))));
    lines.extend(lead["key"].as_str().map(|key| format!("  key {key}")));
    lines
}

#[test]
fn each_step_of_a_shopify_order_is_sent_once() {
    let deliveries = preview_cases(
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
    insta::assert_snapshot!(format_previews(&deliveries));
}

#[test]
fn a_pickup_is_looked_up_in_the_lookup_file() {
    let case = [(
        "fulfillment_orders_line_items_prepared_for_pickup",
        "fulfillment_orders_line_items_prepared_for_pickup.json",
        "2026-11-19T09:00:05Z",
    )];
    let lookup_file = "events/stores/shopify/_graphql_fulfillment_order.response.json";
    let found = preview_cases("/stores/shop", "stores/shopify", &case, &["--lookup", lookup_file]);
    assert_eq!(found[0]["messages"][0]["idempotency_key"], "order:5223452934380:ready");
    insta::assert_snapshot!(format_previews(&found));
    let skipped = preview_cases("/stores/shop", "stores/shopify", &case, &[]);
    let because = skipped[0]["skip_reason"].as_str().unwrap();
    assert!(because.starts_with("lookup-skipped: "), "{because}");
    assert!(because.contains("--lookup FILE"), "{because}");
}

#[test]
fn a_folder_of_woocommerce_is_taken_by_name() {
    let arguments = ["--client", "clients/demo", "--route", "/stores/woo", "--folder", "events/stores/woocommerce"];
    let deliveries = run_preview(&[&arguments[..], &["--now", "2026-11-19T10:00:02Z"]].concat());
    insta::assert_snapshot!(format_previews(&deliveries));
    let ping = deliveries.iter().find(|delivery| delivery["case"] == "ping").unwrap();
    assert_eq!((&ping["status"], &ping["verified"], &ping["refused"]), (&200.into(), &false.into(), &Value::Null));
    assert_eq!(ping["skip_reason"], "ping");
}

#[test]
fn an_erp_that_rotates_its_secret_is_accepted_with_either_value() {
    let deliveries = preview_cases(
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
    assert!(stale.contains("it passes with --now 2026-11-19T10:00:00Z"), "{stale}");
    insta::assert_snapshot!(format_previews(&deliveries));
}

#[test]
fn an_order_from_a_workflow_with_a_header_is_sent() {
    let case = [("zapier_order", "zapier_order.json", "2026-11-19T10:00:00Z")];
    insta::assert_snapshot!(format_previews(&preview_cases("/stores/zap", "stores/static_header", &case, &[])));
}

/// A client with quiet hours, and deliveries of the Zapier flow: `(event, now)` each.
fn preview_at_night(events: &[(&str, &str)]) -> Vec<Value> {
    let toml = std::fs::read_to_string(repository_root().join("clients/demo/client.toml")).unwrap();
    let toml = toml.replace("# quiet_hours", "quiet_hours");
    let folder: ClientFolder = copy_demo_client(&[("client.toml", &toml)]);
    let file = |name: String, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let headers = file(
        "h.headers.txt".to_owned(),
        "Content-Type: application/json\nX-Webhook-Token: test-static-header-token-1\n",
    );
    let mut arguments = vec![
        "preview".to_owned(),
        "--json".to_owned(),
        "--client".to_owned(),
        folder.path().to_str().unwrap().to_owned(),
    ];
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
    let run = run_tellonce(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_event_in_quiet_hours_is_sent_when_they_end() {
    // 23:30 in Jerusalem.
    let deliveries = preview_at_night(&[("order.ready", "2026-11-19T21:30:00Z")]);
    assert_eq!(deliveries[0]["messages"][0]["send_at"], "2026-11-20T06:00:00Z");
}

#[test]
fn a_message_superseded_by_morning_is_not_sent() {
    let deliveries =
        preview_at_night(&[("order.ready", "2026-11-19T21:30:00Z"), ("order.cancelled", "2026-11-19T22:30:00Z")]);
    assert_eq!(deliveries[0]["messages"].as_array().unwrap().len(), 0);
    assert_eq!(deliveries[0]["skip_reason"], "superseded: `cancelled` of the same order supersedes it");
    assert_eq!(deliveries[1]["messages"][0]["idempotency_key"], "order:77:cancelled");
}

#[test]
fn a_phone_number_shows_only_where_the_message_goes() {
    for delivery in
        preview_at_night(&[("order.ready", "2026-11-19T10:00:00Z"), ("order.ready", "2026-11-19T10:00:01Z")])
    {
        let mut delivery = delivery;
        if let Some(message) = delivery["messages"].get_mut(0) {
            assert_eq!(message["to"], "+972525550101");
            message["to"] = Value::Null;
        }
        assert!(!delivery.to_string().contains("525550101"), "{delivery}");
    }
}

#[test]
fn missing_inputs_are_named_and_no_secret_is_shown() {
    let secrets = r#"{"tellonce/demo/webhooks/shop": "hunter2-hunter2-hunter2"}"#;
    let folder = copy_demo_client(&[("secrets.json", secrets)]);
    let path = folder.path().to_str().unwrap();
    let on = |route: &str, more: &[&str]| {
        let run = run_tellonce(&[&["preview", "--client", path, "--route", route], more].concat());
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stdout);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
        run.stderr.replace(path, "demo")
    };
    let samples = ["--folder", "events/stores/static_header"];
    assert_eq!(
        on("/stores/zap", &samples),
        "error: demo/secrets.json does not contain `tellonce/demo/webhooks/zap`, which verifies deliveries to /stores/zap; \
         add it\n"
    );
    assert_eq!(
        on("/stores/zip", &samples),
        "error: `/stores/zip` is not a route of this client; its routes are /stores/erp, /stores/shop, /stores/woo, \
         /stores/zap, /bookings/clinic, /bookings/crm, /bookings/diary, /bookings/intro, /bookings/salon, /bookings/studio, \
         /leads/cf7, /leads/elementor/<secret>, /leads/google, /leads/gravity, /leads/hubspot, /leads/jotform/<secret>, \
         /leads/meta, /leads/tally, /leads/typeform, /leads/webflow, /leads/website, /leads/wpforms, /leads/zapier, \
         /lines/main/<secret> (the provider's, not previewed)\n"
    );
    assert_eq!(
        on(
            "/stores/shop",
            &[&samples[..], &["--now", "2026-11-19T10:00:00Z", "--now", "2026-11-19T10:00:00Z"]].concat()
        ),
        "error: 2 --now for 1 deliveries; give one for all deliveries, or one for each\n"
    );
    let empty = tempfile::tempdir().unwrap();
    let none = on("/stores/shop", &["--folder", empty.path().to_str().unwrap()]);
    assert!(none.starts_with("error: the folder ") && none.ends_with(" contains no <case>.headers.txt\n"), "{none}");
}

#[test]
fn a_client_that_does_not_load_is_not_previewed() {
    let client = "cli/tests/clients/bakery";
    let run =
        run_tellonce(&["preview", "--client", client, "--route", "/stores/shop", "--folder", "events/stores/shopify"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("cli/tests/clients/bakery/client.toml:2: "), "{}", run.stderr);
    assert!(run.stderr.contains("run `tellonce check cli/tests/clients/bakery`"), "{}", run.stderr);
}

#[test]
fn the_current_time_is_used_without_now() {
    let arguments =
        ["--client", "clients/demo", "--route", "/stores/erp", "--folder", "events/stores/standardwebhooks"];
    let deliveries = run_preview(&arguments);
    assert!(deliveries.iter().all(|delivery| delivery["status"] == 401), "{deliveries:#?}");
}

#[test]
fn an_old_recording_of_shopify_names_the_time_that_it_passes_with() {
    let arguments = [
        "--client",
        "clients/demo",
        "--route",
        "/stores/shop",
        "--headers",
        "events/stores/shopify/orders_paid.headers.txt",
        "--body",
        "events/stores/shopify/orders_paid.json",
    ];
    let deliveries = run_preview(&arguments);
    let reason = deliveries[0]["skip_reason"].as_str().unwrap();
    assert!(
        reason.starts_with("body-too-old") && reason.contains("it passes with --now 2026-11-18T08:15:09Z"),
        "{reason}"
    );
    let deliveries = run_preview(&[&arguments[..], &["--now", "2026-11-18T08:15:09Z"]].concat());
    assert_eq!(deliveries[0]["skip_reason"], serde_json::Value::Null, "{deliveries:#?}");
}

#[test]
fn an_appointment_that_is_moved_is_reminded_at_its_new_time_only() {
    let deliveries = preview_cases(
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
    insta::assert_snapshot!(format_previews(&deliveries));
}

#[test]
fn nothing_is_sent_for_a_cancelled_appointment_whatever_arrives_later() {
    let deliveries = preview_cases(
        "/bookings/clinic",
        "bookings/calcom",
        &[
            ("booking_cancelled", "booking_cancelled.json", "2026-11-20T08:00:01Z"),
            ("booking_rescheduled", "booking_rescheduled.json", "2026-11-20T09:00:00Z"),
            ("ping", "ping.json", "2026-11-20T09:00:00Z"),
        ],
        &[],
    );
    insta::assert_snapshot!(format_previews(&deliveries));
}

#[test]
fn missing_booking_details_come_from_the_lookup_file() {
    let scheduled = [("scheduled", "scheduled.form", "2026-11-23T17:30:00Z")];
    let without = preview_cases("/bookings/studio", "bookings/acuity", &scheduled, &[]);
    let lookup_arguments = ["--lookup", "events/bookings/acuity/_appointment.response.json"];
    let with = preview_cases("/bookings/studio", "bookings/acuity", &scheduled, &lookup_arguments);
    insta::assert_snapshot!(format_previews(&[without, with].concat()));
}

#[test]
fn a_feed_is_shown_appointment_by_appointment_and_a_halved_one_cancels_nothing() {
    let folder = copy_demo_client(&[]);
    let whole = std::fs::read_to_string(repository_root().join("events/bookings/ics/feed.ics")).unwrap();
    let end = whole.find("BEGIN:VEVENT").unwrap();
    let empty = folder.path().join("emptied.ics");
    std::fs::write(&empty, format!("{}END:VCALENDAR\r\n", &whole[..end])).unwrap();
    let times = ["--now", "2026-11-20T00:00:00Z", "--now", "2026-11-20T06:00:00Z"];
    let mut arguments = vec!["--client", "clients/demo", "--route", "/bookings/diary"];
    arguments.extend(["--ics", "events/bookings/ics/feed.ics", "--ics", empty.to_str().unwrap()]);
    arguments.extend(times);
    insta::assert_snapshot!(format_previews(&run_preview(&arguments)));
}

#[test]
fn an_event_of_a_feed_that_is_not_understood_is_named() {
    let reasons = |file: &str| {
        let file = format!("events/unusual/ics/{file}.ics");
        let mut arguments = vec!["--client", "clients/demo", "--route", "/bookings/diary", "--ics", &file];
        arguments.extend(["--now", "2026-11-20T06:00:00Z"]);
        let shown = run_preview(&arguments);
        shown.iter().filter_map(|one| Some(one["skip_reason"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let zones = [
        "not-understood: ms-2@h2: time zone `Customized?Time?Zone` is unknown",
        "not-understood: ms-3@h2: time zone `local?VALUE?DATE-TIME` is unknown",
    ];
    assert_eq!(reasons("exchange_odd_zones"), zones);
    // The recorded headers beside the file name its character set. The demo's label is another one.
    let no_label = reasons("windows_1255");
    assert!(no_label.len() == 1 && no_label[0].starts_with("no-recipient: he-1@h2 at"), "{no_label:?}");
    let unknown = reasons("unknown_character_set");
    assert!(
        unknown.iter().any(|reason| reason.starts_with("not-understood: cs-1@d.example: text with")),
        "{unknown:?}"
    );
}

#[test]
fn a_push_of_google_has_no_body_and_asks_for_the_feed() {
    let folder =
        ["--client", "clients/demo", "--route", "/bookings/diary", "--folder", "events/bookings/google_calendar"];
    let deliveries = run_preview(&folder);
    let because: Vec<_> = deliveries.iter().map(|delivery| delivery["skip_reason"].as_str().unwrap()).collect();
    assert!(because[0].starts_with("sync-feed: ") && because[1] == "ping", "{because:?}");
}

/// The deliveries of a form of the demo.
fn preview_form(form: &str, folder: &str, cases: &[(&str, &str, &str)], more: &[&str]) -> String {
    format_previews(&preview_cases(&format!("/leads/{form}"), &format!("leads/{folder}"), cases, more))
}

#[test]
fn every_form_shows_which_fact_was_found_in_which_field() {
    let now = "2026-11-19T13:00:00Z";
    for (form, folder, cases) in [
        (
            "typeform",
            "typeform",
            &[("form_response", "form_response.json", now), ("form_response.unsigned", "form_response.json", now)][..],
        ),
        (
            "google",
            "google_ads",
            &[
                ("lead", "lead.json", now),
                ("lead_as_documented", "lead_as_documented.json", now),
                ("lead_test", "lead_test.json", now),
                ("lead_wrong_key", "lead_wrong_key.json", now),
            ],
        ),
        ("webflow", "webflow", &[("form_submission", "form_submission.json", "2026-11-19T09:00:00.623Z")]),
        ("tally", "tally", &[("form_response", "form_response.json", now)]),
        ("jotform/test-jotform-address-Bn3dY6sFg1Wx5Jk0Ve", "jotform", &[("submission", "submission.multipart", now)]),
        (
            "elementor/test-elementor-address-Hq7vT2mXw9Kc4Lr8Zp",
            "wordpress",
            &[
                ("elementor_advanced", "elementor_advanced.form", now),
                ("elementor_simple", "elementor_simple.form", "2026-11-19T13:00:30Z"),
            ],
        ),
        ("gravity", "wordpress", &[("gravityforms_entry", "gravityforms_entry.json", now)]),
        ("wpforms", "wordpress", &[("wpforms_json", "wpforms_json.json", now)]),
        ("cf7", "wordpress", &[("contactform7_json", "contactform7_json.json", now)]),
        ("website", "web", &[("lead_form", "lead_form.form", now)]),
        ("zapier", "web", &[("lead_json", "lead_json.json", now)]),
    ] {
        let name = form.split('/').next().unwrap();
        insta::assert_snapshot!(format!("a_lead_of_{name}"), preview_form(form, folder, cases, &[]));
    }
}

#[test]
fn a_lead_that_meta_only_names_comes_from_the_lookup_file() {
    let named = [
        ("leadgen", "leadgen.json", "2026-11-19T10:00:05Z"),
        ("leadgen_batch", "leadgen_batch.json", "2026-11-19T10:00:06Z"),
    ];
    let without = preview_form("meta", "meta", &named[..1], &[]);
    let with = preview_form("meta", "meta", &named, &["--lookup", "events/leads/meta/_graph_lead.response.json"]);
    insta::assert_snapshot!(format!("{without}\n\n{with}"));
}

#[test]
fn a_contact_that_hubspot_only_names_comes_from_the_lookup_file() {
    let toml = std::fs::read_to_string(repository_root().join("clients/demo/client.toml")).unwrap();
    let (before, hubspot) = toml.split_once("[forms.hubspot]").unwrap();
    let signed = "notification_url = \"https://hooks.example.com/t/demo/hubspot\"";
    let header = "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }";
    let toml = format!("{before}[forms.hubspot]{}", hubspot.replacen(header, signed, 1));
    let secrets = r#"{"tellonce/demo/webhooks/hubspot": "test-hubspot-client-secret-1"}"#;
    let contact = r#"{"id": "123", "properties": {"mobilephone": "054-555-0199", "firstname": "Noa", "lastname": null, "whatsapp_consent": "true"}}"#;
    let folder: ClientFolder =
        copy_demo_client(&[("client.toml", &toml), ("secrets.json", secrets), ("contact.json", contact)]);
    let path = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let (client, lookup_file) = (path(""), path("contact.json"));
    let mut arguments = vec!["--client", &client, "--route", "/leads/hubspot"];
    arguments.extend(["--folder", "events/leads/hubspot", "--now", "2026-11-19T09:10:01.300Z"]);
    let without = run_preview(&arguments);
    let with = run_preview(&[&arguments[..], &["--lookup", &lookup_file]].concat());
    insta::assert_snapshot!(format_previews(&[without, with].concat()));
}

/// Submissions of the demo's website, `(body, now)` each, with some of the client's lines changed.
fn preview_website_leads(changes: &[(&str, &str)], submissions: &[(&str, &str)]) -> Vec<Value> {
    let mut toml = std::fs::read_to_string(repository_root().join("clients/demo/client.toml")).unwrap();
    for (from, to) in changes {
        assert!(toml.contains(from), "{from}");
        toml = toml.replacen(from, to, 1);
    }
    let folder: ClientFolder = copy_demo_client(&[("client.toml", &toml)]);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let headers = file(
        "h.headers.txt",
        "Content-Type: application/x-www-form-urlencoded\nX-Webhook-Token: test-website-header-token-1\n",
    );
    let mut arguments = vec!["--client".to_owned(), folder.path().to_str().unwrap().to_owned()];
    arguments.extend(["--route".to_owned(), "/leads/website".to_owned()]);
    for (place, (body, now)) in submissions.iter().enumerate() {
        let body = file(&format!("{place}.form"), body);
        for argument in ["--headers", &headers, "--body", &body, "--now", now] {
            arguments.push(argument.to_owned());
        }
    }
    run_preview(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn ineligible_leads_are_not_greeted_and_their_facts_are_shown() {
    let now = "2026-11-19T13:00:00Z";
    insta::assert_snapshot!(format_previews(&preview_website_leads(
        &[],
        &[
            ("lead_id=1&whatsapp_consent=off&phone=052-555-0101&name=Noa", now),
            ("lead_id=2&consent=on&phone=052-555-0101", now),
            ("lead_id=3&whatsapp_consent=I+do&phone=052-555-0101", now),
            ("lead_id=4&whatsapp_consent=on&phone=12", now),
            ("lead_id=5&whatsapp_consent=on&cellular=052-555-0101", now),
            ("lead_id=6&whatsapp_consent=on&phone=%2B12025550123", now),
        ],
    )));
}

#[test]
fn the_same_number_is_greeted_once_and_a_flooded_form_waits() {
    let person = |id: u32, phone: u32| format!("lead_id={id}&whatsapp_consent=on&phone=052555{phone:04}");
    let bodies = [person(1, 101), person(2, 101), person(1, 101), person(3, 102), person(4, 103)];
    let times = [
        "2026-11-19T13:00:00Z",
        "2026-11-19T13:01:00Z",
        "2026-11-19T13:02:00Z",
        "2026-11-19T13:03:00Z",
        "2026-11-26T13:00:01Z",
    ];
    let submissions: Vec<_> = bodies.iter().map(String::as_str).zip(times).collect();
    let four = "id_scope = \"website\"\nburst = { leads = 3, within = \"1d\" }";
    let deliveries = preview_website_leads(&[("id_scope = \"website\"", four)], &submissions);
    let codes: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery["skip_reason"].as_str().map_or("greeted", |why| why.split(':').next().unwrap()))
        .collect();
    assert_eq!(codes, ["greeted", "already-greeted", "already-known", "held-for-review", "held-for-review"]);
    let again = preview_website_leads(&[], &[submissions[0], (&person(2, 101), "2026-11-26T13:00:01Z")]);
    assert!(again.iter().all(|delivery| delivery["messages"].as_array().unwrap().len() == 1), "a week has passed");
}

#[test]
fn at_night_a_lead_waits_for_the_morning_unless_that_is_too_late() {
    let night = [("lead_id=1&whatsapp_consent=on&phone=0525550101", "2026-11-19T21:30:00Z")];
    let quiet = ("# quiet_hours", "quiet_hours");
    let waits = preview_website_leads(&[quiet], &night);
    assert_eq!(waits[0]["messages"][0]["send_at"], "2026-11-20T06:00:00Z");
    assert_eq!(waits[0]["messages"][0]["expires_at"], "2026-11-20T21:30:00Z");
    let short =
        preview_website_leads(&[quiet, ("useful_for = \"1d\"             # counted", "useful_for = \"2h\" #")], &night);
    assert!(short[0]["skip_reason"].as_str().unwrap().starts_with("expired"), "{short:?}");
    // The phone number shows only where the message goes.
    let mut delivery = waits[0].clone();
    delivery["messages"][0]["to"] = Value::Null;
    assert!(!delivery.to_string().contains("525550101"), "{delivery}");
}

#[test]
fn a_secret_in_an_address_is_not_shown() {
    for route in ["/leads/jotforms/hunter2", "/leads/website/hunter2"] {
        let run =
            run_tellonce(&["preview", "--client", "clients/demo", "--route", route, "--folder", "events/leads/web"]);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""));
        assert!(
            run.stderr.contains("/…` is not a route") && run.stderr.contains("/leads/jotform/<secret>"),
            "{}",
            run.stderr
        );
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
    let route = "/leads/jotform/hunter2-hunter2-hunter2-hunter2-hunter2";
    let wrong = run_preview(&["--client", "clients/demo", "--route", route, "--folder", "events/leads/jotform"]);
    assert!(wrong[0]["refused"].is_string() && !wrong[0].to_string().contains("hunter2"), "{wrong:?}");
}

#[test]
fn line_events_are_listed_and_not_previewed() {
    let config = "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\nlanguages = [\"en\"]\n\
                  lines.main = { line_id = \"line_demo\", events = true }\n";
    let folder = copy_demo_client(&[("client.toml", config)]);
    let folder = folder.path().to_str().unwrap();
    let preview_error = |route: &str, from: [&str; 2]| {
        let run = run_tellonce(&[&["preview", "--client", folder, "--route", route][..], &from[..]].concat());
        assert!(run.code == 1 && run.stdout.is_empty() && !run.stderr.contains("hunter2"), "{}", run.stderr);
        run.stderr
    };
    let recorded = ["--folder", "events/leads/web"];
    assert!(
        preview_error("/leads/none", recorded)
            .contains("its routes are /lines/main/<secret> (the provider's, not previewed)")
    );
    assert!(preview_error("/lines/main/hunter2", recorded).contains("line events are not previewed"));
    let feed = preview_error("/lines/main/hunter2", ["--ics", "clients/demo/feeds/diary.ics"]);
    assert!(feed.contains("`/lines/main/…` is not a calendar"), "{feed}");
}

/// A preview for people, without `--json`: its exit code, and what it prints.
fn preview_for_people(arguments: &[&str]) -> (i32, String) {
    let run = run_tellonce(&[&["preview", "--client", "clients/demo"], arguments].concat());
    assert_eq!(run.stderr, "");
    (run.code, run.stdout)
}

#[test]
fn a_person_sees_each_message_as_on_the_phone_and_why_a_delivery_sends_nothing() {
    let list = case_arguments(
        "stores/shopify",
        &[
            ("orders_paid", "orders_paid.json", "2026-11-18T08:15:10Z"),
            ("orders_paid", "orders_paid.json", "2026-11-18T08:15:12Z"),
            ("orders_create.bad_signature", "orders_create.json", "2026-11-18T08:16:05Z"),
            ("fulfillments_create", "fulfillments_create.json", "2026-11-19T07:30:05Z"),
        ],
    );
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let (code, orders) = preview_for_people(&[&["--route", "/stores/shop"], &list[..]].concat());
    assert_eq!(code, 2, "one is refused");
    let feed = ["--route", "/bookings/diary", "--ics", "events/bookings/ics/feed.ics", "--now", "2026-11-20T00:00:00Z"];
    let (feed_code, feed) = preview_for_people(&feed);
    let lead = case_arguments("leads/typeform", &[("form_response", "form_response.json", "2026-11-19T10:00:00Z")]);
    let lead: Vec<&str> = lead.iter().map(String::as_str).collect();
    let (lead_code, lead) = preview_for_people(&[&["--route", "/leads/typeform"], &lead[..]].concat());
    assert_eq!((feed_code, lead_code), (0, 0));
    insta::assert_snapshot!([orders, feed, lead].join("--------\n"));
}

#[test]
fn an_old_recording_names_the_option_that_shows_it_as_it_was() {
    let arguments = ["--route", "/stores/woo", "--folder", "events/stores/woocommerce"];
    let (_, shown) = preview_for_people(&arguments);
    assert!(shown.contains("To see it as it was on that day, add --now 2026-11-18T"), "{shown}");
    let (_, at_its_time) = preview_for_people(&[&arguments[..], &["--now", "2026-11-19T10:00:02Z"]].concat());
    assert!(!at_its_time.contains("add --now"), "{at_its_time}");
}
