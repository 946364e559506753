//! The customer's phone and the team, as a webhook target sees them.

use serde_json::json;

use super::{
    tests::{PHONE, SOON, TestWebhookTarget, start_with_webhook, text_to_phone},
    *,
};

fn customer_message(kind: &str, group: Option<&str>) -> InboundPhoneMessage {
    InboundPhoneMessage {
        from: PHONE.to_owned(),
        text: "Look".to_owned(),
        kind: kind.to_owned(),
        group: group.map(str::to_owned),
    }
}

/// The received items of one kind, oldest first.
fn received_items(target: &TestWebhookTarget, kind: &str) -> Vec<Value> {
    target.received_deliveries().iter().filter_map(|(_, body)| body[kind].as_array().cloned()).flatten().collect()
}

#[tokio::test]
async fn a_customer_reads_arrived_messages_once() {
    let (fake, caller, target) = start_with_webhook(|_| {}).await;
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    fake.write_from_phone(PHONE, "Thanks", "line_demo").expect("written");
    assert_eq!((fake.read_messages(PHONE).expect("read"), fake.read_messages(PHONE).expect("read")), (1, 0));
    assert_eq!(fake.read_messages("+972501234568").expect("nobody"), 0);
    assert!(
        fake.wait_for(SOON, |_| target.received_statuses() == ["sent", "delivered", "read"]).await,
        "{:?}",
        target.received_statuses()
    );
    assert_eq!(fake.messages()[0].status.as_deref(), Some("read"));
}

#[tokio::test]
async fn a_silent_phone_receives_everything_when_it_is_on_again() {
    let dir = tempfile::tempdir().expect("folder");
    {
        let fake = FakeProvider::start(0, Some(dir.path())).await.expect("starts");
        fake.set_silent(PHONE, true).expect("silent");
    }
    let fake = FakeProvider::start(0, Some(dir.path())).await.expect("starts again");
    assert_eq!(fake.silent_contacts(), [PHONE.to_owned()].into(), "the phone is still off");

    let (fake, caller, target) = start_with_webhook(|_| {}).await;
    fake.set_silent(PHONE, true).expect("silent");
    for key in ["one", "two"] {
        assert_eq!(caller.send_text(key, &text_to_phone(key)).await.expect("answer").status(), 202);
    }
    assert!(
        fake.wait_for(SOON, |_| received_items(&target, "messages").len() == 2).await,
        "the line's own phone has them"
    );
    assert!(target.received_statuses().is_empty() && fake.phone_messages(PHONE).is_empty());
    let second = fake.messages()[1].id.clone();
    fake.report_status(&second, "failed").expect("failed");
    fake.set_silent(PHONE, false).expect("back");
    assert!(
        fake.wait_for(SOON, |_| target.received_statuses() == ["failed", "sent", "delivered"]).await,
        "{:?}",
        target.received_statuses()
    );
    assert_eq!(fake.phone_messages(PHONE).len(), 1, "a failed message does not arrive");
    assert_eq!(received_items(&target, "messages").len(), 2, "no message is reported twice");
    fake.set_silent(PHONE, true).expect("silent");
    fake.write_from_phone(PHONE, "Hi", "line_demo").expect("written");
    assert_eq!(fake.silent_contacts(), BTreeSet::new(), "a customer who writes has the phone on");
}

#[tokio::test]
async fn a_team_reply_is_a_line_message_without_a_key() {
    let (fake, _caller, target) = start_with_webhook(|_| {}).await;
    let asked = fake.write_from_phone(PHONE, "When?", "line_demo").expect("written");
    let answer = fake.reply_as_team(PHONE, "At five", "line_demo").expect("answered");
    assert_eq!((answer.key, answer.status.as_deref()), (None, Some("delivered")));
    assert_eq!(answer.conversation_id, asked.conversation_id);
    assert!(
        fake.wait_for(SOON, |_| received_items(&target, "messages").len() == 2
            && target.received_statuses().len() == 2)
            .await
    );
    let item = &received_items(&target, "messages")[1];
    assert_eq!((&item["from_me"], &item["body"]), (&json!(true), &json!("At five")));
    assert_eq!((fake.counters().queued, fake.max_messages_per_key()), (0, 0), "it was not sent through the API");
}

#[tokio::test]
async fn a_picture_has_no_text_and_a_group_has_an_id_of_its_own() {
    let (fake, _caller, target) = start_with_webhook(|_| {}).await;
    fake.write_message(customer_message("image", None), "line_demo").expect("written");
    let group = fake.write_message(customer_message("text", Some("120363001")), "line_demo").expect("written");
    assert!(fake.wait_for(SOON, |_| received_items(&target, "chats").len() == 2).await);
    let items = received_items(&target, "messages");
    assert_eq!((&items[0]["type"], &items[0]["image"]["caption"]), (&json!("image"), &json!("Look")));
    assert!(items[0].get("body").is_none() && items[0].get("text").is_none());
    assert_eq!((&items[1]["chat_id"], &items[1]["body"]), (&json!("120363001@g.us"), &json!("Look")));
    assert_ne!(items[0]["conversationId"].as_str(), Some(group.conversation_id.as_str()));
    assert_eq!(received_items(&target, "chats")[1]["type"], "group");
}

#[tokio::test]
async fn the_phone_can_be_controlled_over_http() {
    let (fake, caller, _target) = start_with_webhook(|_| {}).await;
    let post = async |path: &str, body: Value| caller.call_control(reqwest::Method::POST, path, &body).await;
    assert_eq!(post("phone", json!({"from": PHONE, "kind": "audio", "group": "12"})).await.status(), 200);
    assert_eq!((fake.messages()[0].kind.as_str(), fake.messages()[0].group.as_deref()), ("audio", Some("12")));
    assert_eq!(post("phone", json!({"from": PHONE})).await.status(), 400, "a text message needs a text");
    assert_eq!(post("answer", json!({"to": PHONE, "text": "Yes"})).await.status(), 200);
    let read: Value = post("read", json!({"contact": PHONE})).await.json().await.expect("JSON");
    assert_eq!(read, json!({"read": 1}));
    assert_eq!(post("answer", json!({"to": "054", "text": "Yes"})).await.status(), 400);
    post("silent", json!({"contact": PHONE, "silent": true})).await;
    assert_eq!(fake.silent_contacts(), [PHONE.to_owned()].into());
}

#[tokio::test]
async fn the_stack_s_own_webhook_is_registered_once_and_follows_its_port() {
    let dir = tempfile::tempdir().expect("folder");
    let (first, second) = (TestWebhookTarget::default(), TestWebhookTarget::default());
    let (here, there) = (first.start(), second.start());
    {
        let fake = FakeProvider::start(0, Some(dir.path())).await.expect("starts");
        let one = fake.ensure_webhook("line_demo", &here).expect("registered");
        assert_eq!(fake.ensure_webhook("line_demo", &here).expect("known"), one);
        assert_ne!(fake.ensure_webhook("line_other", &here).expect("another line").id, one.id);
    }
    let fake = FakeProvider::start(0, Some(dir.path())).await.expect("starts again");
    fake.ensure_webhook("line_demo", &there).expect("directed");
    let targets: Vec<String> = fake.webhooks().into_iter().map(|webhook| webhook.target_url).collect();
    assert_eq!(targets, [there.clone(), here.clone()]);
    fake.write_from_phone(PHONE, "Hi", "line_demo").expect("written");
    assert!(fake.wait_for(SOON, |_| second.received_deliveries().len() == 2).await);
    assert!(first.received_deliveries().is_empty());
    let again = FakeProvider::start(0, Some(dir.path())).await.expect("starts once more");
    assert_eq!(again.webhooks().len(), 2, "one webhook of each line");
    let foreign = json!({"targetUrl": "https://agency.example.com/hook"});
    again.register_webhook("line_demo", &foreign).expect("registered");
    again.ensure_webhook("line_demo", &there).expect("known");
    assert_eq!(again.webhooks().len(), 3);
}
