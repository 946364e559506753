//! Order updates: each is sent once, and never after a later event made it untrue.

use jiff::SignedDuration;
use serde_json::json;
use tellonce_fakes::provider::SendFault;
use tellonce_samples::{SenderProof, WebhookPost};

use crate::world::{ERP_SECRET, World};

const PHONE: &str = "+972545550199";

#[tokio::test]
async fn a_repeated_delivery_sends_one_message() {
    let world = World::start().await;
    let paid = world.shopify_post("orders/paid", "d-1", &world.shopify_order(1001, PHONE));
    world.deliver(paid.clone()).await;
    world.deliver(paid).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1001: paid."]);
    assert_eq!(world.message_state("order:1001:paid"), "accepted");
    assert_eq!(world.table_items("StoreInbox").len(), 1);
}

#[tokio::test]
async fn a_copy_of_a_signed_order_under_another_topic_sends_nothing() {
    let world = World::start().await;
    let mut order = world.shopify_order(1003, PHONE);
    order["financial_status"] = json!("pending");
    world.deliver(world.shopify_post("orders/create", "d-1", &order)).await;
    for (id, topic) in [
        ("d-2", "orders/paid"),
        ("d-3", "orders/partially_fulfilled"),
        ("d-4", "orders/fulfilled"),
        ("d-5", "orders/cancelled"),
    ] {
        world.deliver(world.shopify_post(topic, id, &order)).await;
        assert_eq!(world.delivery_outcome(&format!("shop#{id}")).as_deref(), Some("topic-contradicts-body"), "{topic}");
    }
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1003: received."]);
}

#[tokio::test]
async fn a_copy_of_a_signed_refund_or_of_an_old_order_sends_nothing() {
    let world = World::start().await;
    let order = world.shopify_order(1003, PHONE);
    let refund = json!({ "id": 5, "order_id": 1003, "created_at": world.now().to_string(), "refund_line_items": [],
        "transactions": [{ "kind": "refund", "status": "success", "amount": "5.00", "currency": "ILS" }] });
    world.deliver(world.shopify_post("fulfillments/create", "d-1", &refund)).await;
    assert_eq!(world.delivery_outcome("shop#d-1").as_deref(), Some("topic-contradicts-body"));
    world.advance_time(SignedDuration::from_hours(3 * 24 + 1));
    world.deliver(world.shopify_post("orders/paid", "d-2", &order)).await;
    assert_eq!(world.delivery_outcome("shop#d-2").as_deref(), Some("body-too-old"));
    assert_eq!(world.messages(), []);
}

#[tokio::test]
async fn one_event_on_several_topics_sends_one_message() {
    let world = World::start().await;
    let mut order = world.shopify_order(1002, PHONE);
    let parcel = json!({ "id": 77, "order_id": 1002, "status": "success", "name": "#1002.1",
        "created_at": world.now().to_string(), "updated_at": world.now().to_string(),
        "tracking_url": "https://track.example.com/1", "tracking_number": "1",
        "destination": { "name": "Noa Levi", "phone": PHONE, "country_code": "IL" } });
    order["fulfillments"] = json!([parcel.clone()]);
    order["fulfillment_status"] = json!("fulfilled");
    world.deliver(world.shopify_post("fulfillments/create", "d-1", &parcel)).await;
    world.deliver(world.shopify_post("orders/fulfilled", "d-2", &order)).await;
    world.deliver(world.shopify_post("orders/updated", "d-3", &order)).await;
    let messages = world.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].button.as_ref().map(|button| button.url.as_str()), Some("https://track.example.com/1"));
    assert_eq!(world.delivery_outcome("shop#d-2").as_deref(), Some("already-known"));
    assert!(world.delivery_outcome_text("shop#d-2").unwrap().starts_with("order:1002:shipped"));
    assert_eq!(world.delivery_outcome("shop#d-3").as_deref(), Some("update-without-transition"));
}

#[tokio::test]
async fn every_parcel_of_an_order_sends_a_message() {
    let world = World::start().await;
    for parcel in [71, 72] {
        let body = json!({ "id": parcel, "order_id": 1003, "status": "success", "name": format!("#1003.{parcel}"),
            "created_at": world.now().to_string(), "updated_at": world.now().to_string(),
            "tracking_url": format!("https://track.example.com/{parcel}"), "tracking_number": "1",
            "destination": { "name": "Noa Levi", "phone": PHONE, "country_code": "IL" } });
        world.deliver(world.shopify_post("fulfillments/create", &format!("d-{parcel}"), &body)).await;
    }
    let keys: Vec<_> = world.message_rows().into_keys().collect();
    assert_eq!(keys, ["order:1003:shipped", "order:1003:shipped-72"]);
    assert_eq!(world.messages().len(), 2);
}

#[tokio::test]
async fn a_fulfillment_that_is_pending_first_sends_one_message_when_it_succeeds() {
    let world = World::start().await;
    let created = world.now().to_string();
    let fulfillment = |status: &str, tracking: Option<&str>| {
        json!({ "id": 81, "order_id": 1010, "status": status, "name": "#1010.1", "service": "far-warehouse",
            "created_at": created, "updated_at": world.now().to_string(), "shipment_status": null,
            "tracking_number": tracking, "line_items": [{ "requires_shipping": true }],
            "destination": { "name": "Noa Levi", "phone": PHONE, "country_code": "IL" } })
    };
    world.deliver(world.shopify_post("fulfillments/create", "d-1", &fulfillment("pending", None))).await;
    assert_eq!(world.messages(), []);
    assert_eq!(world.delivery_outcome("shop#d-1").as_deref(), Some("fulfillment-not-successful"));
    world.advance_time(SignedDuration::from_hours(3));
    world.deliver(world.shopify_post("fulfillments/update", "d-2", &fulfillment("success", Some("RR1")))).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1010: on its way."]);
    // A later change of the parcel is not news, and not a conflict that an operator has to check.
    world.deliver(world.shopify_post("fulfillments/update", "d-3", &fulfillment("success", Some("RR2")))).await;
    world.deliver(world.shopify_post("fulfillments/update", "d-4", &fulfillment("cancelled", None))).await;
    assert_eq!(world.texts_on_phone(PHONE).len(), 1);
    assert_eq!(world.delivery_outcome("shop#d-3").as_deref(), Some("already-known"));
    assert!(world.delivery_outcome_text("shop#d-3").unwrap().contains("this parcel"));
    assert_eq!(world.delivery_outcome("shop#d-4").as_deref(), Some("fulfillment-not-successful"));
    assert_eq!(world.message_rows().into_keys().collect::<Vec<_>>(), ["order:1010:shipped"]);
}

#[tokio::test]
async fn an_imported_order_and_its_parcel_send_nothing_and_a_later_parcel_of_a_young_order_does() {
    let world = World::start().await;
    let ago = |hours: i64| (world.now() - SignedDuration::from_hours(hours)).to_string();
    let mut order = world.shopify_order(1011, PHONE);
    order["processed_at"] = json!(ago(7 * 24));
    world.deliver(world.shopify_post("orders/create", "d-1", &order)).await;
    world.deliver(world.shopify_post("orders/paid", "d-2", &order)).await;
    let parcel = |id: u64| {
        json!({ "id": id, "order_id": 1011, "status": "success", "name": "#1011.1", "tracking_number": "1",
            "created_at": world.now().to_string(), "updated_at": world.now().to_string(),
            "destination": { "name": "Noa Levi", "phone": PHONE, "country_code": "IL" } })
    };
    world.deliver(world.shopify_post("fulfillments/create", "d-3", &parcel(91))).await;
    assert_eq!(world.messages(), []);
    for delivery in ["shop#d-1", "shop#d-2", "shop#d-3"] {
        assert_eq!(world.delivery_outcome(delivery).as_deref(), Some("imported-order"), "{delivery}");
    }
    world.advance_time(SignedDuration::from_hours(25));
    world.deliver(world.shopify_post("fulfillments/create", "d-4", &parcel(92))).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1011: on its way."]);
}

#[tokio::test]
async fn a_marketplace_order_and_its_vendors_shares_send_one_message() {
    let world = World::start().await;
    // The shares may arrive first.
    for (delivery, id, parent) in [("w-1", 92_011, 92_010), ("w-2", 92_010, 0), ("w-3", 92_012, 92_010)] {
        world.deliver(world.woocommerce_order_post(delivery, id, parent, "052-555-0101")).await;
    }
    assert_eq!(world.texts_on_phone("+972525550101"), ["Order 92010: paid."]);
    let outcomes: Vec<_> =
        world.table_items("StoreInbox").iter().filter_map(|item| item["outcome"].as_str().map(str::to_owned)).collect();
    assert_eq!(outcomes, ["part-of-order", "part-of-order"]);
}

#[tokio::test]
async fn a_sender_that_signs_as_svix_is_verified_and_its_repeat_recognised() {
    let world = World::start().await;
    let post = world.erp_post("m-1", "ready", "SV-1", PHONE);
    let body = post.body.clone();
    let bare = |body: Vec<u8>| WebhookPost::new("/stores/erp", "application/json", body);
    let svix = bare(body.clone()).sign(SenderProof::Svix { id: "m-1", at: world.now() }, ERP_SECRET).unwrap();
    world.deliver(svix.clone()).await;
    world.deliver(svix.clone()).await;
    // The same delivery with the other headers is a repeat, too.
    world.deliver(post.clone()).await;
    assert_eq!(world.texts_on_phone(PHONE).len(), 1);
    assert_eq!(world.table_items("StoreInbox").len(), 1);
    let mixed = svix.clone().with_header("svix-id", None).with_header("webhook-id", Some("m-1"));
    assert_eq!(world.post(mixed).await, 401);
    let mut changed = body;
    changed.push(b' ');
    assert_eq!(world.post(svix.with_body(changed)).await, 401);
}

#[tokio::test]
async fn a_parcel_that_arrived_does_not_silence_the_change_of_another() {
    for names_its_parcel in [true, false] {
        let world = World::start().await;
        let changed_parcel = if names_its_parcel { json!(2) } else { json!(null) };
        let tuesday = "2026-11-24 09:00";
        for (id, kind, parcel, moved_to) in [
            ("m-1", "shipped", json!(1), json!(null)),
            ("m-2", "shipped", json!(2), json!(null)),
            ("m-3", "arrived", json!(1), json!(null)),
            ("m-4", "moved", changed_parcel, json!(tuesday)),
            ("m-5", "moved", json!(1), json!("2026-11-23 09:00")),
        ] {
            let body = json!({ "type": kind, "order": "1", "parcel": parcel, "phone": PHONE,
                "at": world.now().to_string(), "moved_to": moved_to });
            world.deliver(world.erp_post_with_body(ERP_SECRET, id, &body)).await;
            world.advance_time(SignedDuration::from_mins(1));
        }
        let on_its_way = "Order 1: on its way.";
        let comes = format!("Order 1: comes {tuesday}.");
        assert_eq!(world.texts_on_phone(PHONE), [on_its_way, on_its_way, &comes], "{names_its_parcel}");
        let superseded: Vec<_> =
            world.message_rows().into_values().filter(|row| row["state"] == json!("superseded")).collect();
        assert_eq!(superseded.len(), 1, "the change of the parcel that arrived is untrue: {superseded:?}");
    }
}

#[tokio::test]
async fn twenty_woocommerce_updates_at_once_send_one_message() {
    let world = World::start().await;
    let posts =
        (0..20).map(|n| world.post(world.woocommerce_post(&format!("{n:032}"), 7271, "completed", "052-555-0101")));
    let statuses = futures::future::join_all(posts).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    world.settle().await;
    assert_eq!(world.texts_on_phone("+972525550101"), ["Order 7271: on its way."]);
    let known = world.table_items("StoreInbox").iter().filter(|item| item["outcome"].is_string()).count();
    assert_eq!(known, 19, "each of the other deliveries has its reason");
}

#[tokio::test]
async fn two_woocommerce_orders_of_one_second_with_one_delivery_id_are_both_sent() {
    let world = World::start().await;
    world.deliver(world.woocommerce_post("b4e60818a2b3c4d5e6f708192a3b4c5d", 1, "ready", "052-555-0101")).await;
    world.deliver(world.woocommerce_post("b4e60818a2b3c4d5e6f708192a3b4c5d", 2, "ready", "052-555-0101")).await;
    assert_eq!(world.texts_on_phone("+972525550101"), ["Dana, order 1: ready.", "Dana, order 2: ready."]);
}

#[tokio::test]
async fn a_late_paid_event_after_a_cancellation_is_not_sent() {
    let world = World::start().await;
    let paid = world.shopify_post("orders/paid", "d-2", &world.shopify_order(1004, PHONE));
    world.advance_time(SignedDuration::from_mins(10));
    let mut cancelled = world.shopify_order(1004, PHONE);
    cancelled["cancelled_at"] = json!(world.now().to_string());
    world.deliver(world.shopify_post("orders/cancelled", "d-1", &cancelled)).await;
    world.deliver(paid).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1004: cancelled."]);
    assert_eq!(world.message_state("order:1004:paid"), "superseded");
    assert!(world.message_rows()["order:1004:paid"]["reason"].as_str().unwrap().contains("cancelled"));
}

#[tokio::test]
async fn an_order_paid_after_its_cancellation_needs_a_human() {
    let world = World::start().await;
    world.deliver(world.woocommerce_post("w-1", 8, "cancelled", PHONE)).await;
    world.advance_time(SignedDuration::from_mins(10));
    world.deliver(world.woocommerce_post("w-2", 8, "processing", PHONE)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Order 8: cancelled."]);
    assert_eq!(world.message_state("order:woo..8:paid"), "needs-human");
    assert!(world.message_rows()["order:woo..8:paid"]["reason"].as_str().unwrap().contains("reinstated"));
}

#[tokio::test]
async fn a_timed_out_send_that_did_arrive_is_one_message() {
    let world = World::start().await;
    world.stack.provider().fail_next(1, SendFault::TimeoutAfterAccept { reply_after_ms: None });
    world.deliver(world.shopify_post("orders/paid", "d-1", &world.shopify_order(1005, PHONE))).await;
    assert_eq!(world.message_state("order:1005:paid"), "unknown");
    world.tick().await;
    assert_eq!(world.message_state("order:1005:paid"), "unknown", "not retried before its due time");
    world.advance_time(SignedDuration::from_mins(1));
    world.tick().await;
    assert_eq!(world.message_state("order:1005:paid"), "accepted");
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1005: paid."]);
    let counters = world.stack.provider().counters();
    assert_eq!((counters.repeats, counters.key_conflicts, counters.missing_key), (1, 0, 0));
}

#[tokio::test]
async fn a_newer_message_waits_until_an_older_one_can_no_longer_be_accepted_late() {
    let world = World::start().await;
    let provider = world.stack.provider();
    provider.fail_next(1, SendFault::AcceptLate { after_ms: 1500 });
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    assert_eq!(world.message_state("order:1:ready"), "unknown");
    world.deliver(world.erp_post("m-2", "late", "1", PHONE)).await;
    assert_eq!(world.message_state("order:1:out-for-delivery"), "held");
    let reason = world.message_rows()["order:1:out-for-delivery"]["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason, "`ready` is in flight and comes first");
    let arrived = provider.wait_for(std::time::Duration::from_secs(20), |fake| fake.counters().queued == 1).await;
    assert!(arrived, "the late message was not accepted");
    world.advance_time(SignedDuration::from_secs(61));
    world.tick().await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready.", "Order 1: today."]);
    assert_eq!(provider.max_messages_per_key(), 1);
}

#[tokio::test]
async fn a_function_that_is_killed_between_claim_and_settlement_loses_and_repeats_nothing() {
    let world = World::start().await;
    world.stack.provider().set_latency(std::time::Duration::from_secs(2)).unwrap();
    let post = world.shopify_post("orders/paid", "d-1", &world.shopify_order(1006, PHONE));
    assert_eq!(world.post(post).await, 200);
    let send_started = |provider: &tellonce_fakes::provider::FakeProvider| {
        provider.counters().requests.keys().any(|request| request.contains("/messages/text"))
            || provider.counters().queued > 0
    };
    let submitted = world.stack.provider().wait_for(std::time::Duration::from_secs(20), send_started).await;
    assert!(submitted, "no send began");
    assert_eq!(world.message_state("order:1006:paid"), "claimed");
    assert!(world.stack.kill_function("order-notifier").await >= 1);
    world.stack.provider().set_latency(std::time::Duration::ZERO).unwrap();
    world.settle().await;
    assert_eq!(world.message_state("order:1006:paid"), "claimed", "its lease has not ended");
    // Another delivery of the same fact gets its outcome while the first one is in flight.
    let again = world.shopify_post("orders/paid", "d-2", &world.shopify_order(1006, PHONE));
    assert_eq!(world.post(again).await, 200);
    world.settle().await;
    assert_eq!(world.delivery_outcome("shop#d-2").as_deref(), Some("already-known"));
    world.advance_time(SignedDuration::from_mins(2));
    world.tick().await;
    assert_eq!(world.message_state("order:1006:paid"), "accepted");
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1006: paid."]);
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
}

#[tokio::test]
async fn a_name_reaches_the_phone_without_style_and_never_with_a_disguised_link() {
    let world = World::start().await;
    for (id, name) in [("1", "*Ｎｏａ*\u{200d} Levi"), ("2", "Win at evil。com"), ("3", "Win evil.\u{fe0f}com")] {
        let body = json!({ "type": "ready", "order": id, "phone": PHONE, "name": name, "at": world.now().to_string() });
        world.deliver(world.erp_post_with_body(ERP_SECRET, &format!("m-{id}"), &body)).await;
    }
    assert_eq!(world.texts_on_phone(PHONE), ["Noa, order 1: ready.", "order 2: ready.", "order 3: ready."]);
}

#[tokio::test]
async fn rotating_a_line_token_between_messages_loses_nothing() {
    let world = World::start().await;
    world.deliver(world.erp_post("m-1", "ready", "SO-1", PHONE)).await;
    world.stack.provider().set_tokens([("ezw_line_story2".to_owned(), "line_story".to_owned())].into());
    world.stack.secrets().rotate("tellonce/story/lines/main", "ezw_line_story2");
    world.deliver(world.erp_post("m-2", "ready", "SO-2", PHONE)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order SO-1: ready.", "Amit, order SO-2: ready."]);
    assert_eq!(world.message_state("order:SO-2:ready"), "accepted");
}

#[tokio::test]
async fn old_and_new_webhook_secrets_are_both_valid_during_rotation() {
    let world = World::start().await;
    let new = "whsec_dGhlIHNlY3JldCB0aGF0IHJlcGxhY2VkIHRoZSBvbmU=";
    world.deliver(world.erp_post("m-1", "ready", "SO-1", PHONE)).await;
    world.stack.secrets().rotate("tellonce/story/webhooks/erp", new);
    world.deliver(world.erp_post("m-2", "ready", "SO-2", PHONE)).await;
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post_with_secret(new, "m-3", "ready", "SO-3", PHONE)).await;
    world.deliver(world.erp_post_with_secret(ERP_SECRET, "m-4", "ready", "SO-4", PHONE)).await;
    world.advance_time(SignedDuration::from_hours(25));
    assert_eq!(
        world.post(world.erp_post_with_secret(ERP_SECRET, "m-5", "ready", "SO-5", PHONE)).await,
        401,
        "the old secret is valid for a day"
    );
    assert_eq!(world.post(world.erp_post_with_secret(new, "m-6", "ready", "SO-6", PHONE)).await, 200);
    world.settle().await;
    assert_eq!(world.texts_on_phone(PHONE).len(), 5);
}

#[tokio::test]
async fn an_event_without_a_phone_is_recorded_and_sent_when_a_later_event_has_one() {
    let world = World::start().await;
    world.deliver(world.shopify_post("orders/paid", "d-1", &world.shopify_order(1010, "555-555-SHIP"))).await;
    assert_eq!(world.message_state("order:1010:paid"), "incomplete");
    assert_eq!(world.delivery_outcome("shop#d-1").as_deref(), Some("phone-unusable"));
    world.deliver(world.shopify_post("orders/create", "d-2", &world.shopify_order(1010, PHONE))).await;
    assert_eq!(world.message_state("order:1010:received"), "superseded", "the order is known to be paid");
    world.deliver(world.shopify_post("orders/paid", "d-3", &world.shopify_order(1010, PHONE))).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Order #1010: paid."]);
    assert_eq!(world.message_state("order:1010:paid"), "accepted");
}

#[tokio::test]
async fn an_invoice_goes_out_as_a_link() {
    let world = World::start().await;
    world.deliver(world.erp_post("m-1", "invoice", "SO-9", PHONE)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Invoice of order SO-9.\nhttps://story.example/invoices/1.pdf"]);
}
