//! The fake as its callers see it: over HTTP on the loopback.
//!
//! Long because it shows every documented response of the Channel API.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::*;

pub(super) const PHONE: &str = "+972501234567";
pub(super) const SOON: Duration = Duration::from_secs(5);

pub(super) struct FakeProviderClient {
    http: Client,
    base: String,
    /// How long it waits for the response to a send.
    timeout: Duration,
}

impl FakeProviderClient {
    fn for_fake(fake: &FakeProvider) -> Self {
        Self { http: fake.http().clone(), base: fake.base_url(), timeout: Duration::from_millis(400) }
    }

    pub(super) async fn send_text(&self, key: &str, body: &Value) -> reqwest::Result<Response> {
        self.http
            .post(format!("{}/api/v1/messages/text", self.base))
            .bearer_auth("ezw_line_demo")
            .header("idempotency-key", key)
            .json(body)
            .timeout(self.timeout)
            .send()
            .await
    }

    async fn get_health(&self, query: &str) -> Response {
        let url = format!("{}/api/v1/health{query}", self.base);
        self.http.get(url).bearer_auth("ezw_line_demo").send().await.expect("answer")
    }

    async fn register_webhook(&self, body: &Value) -> Response {
        let url = format!("{}/api/v1/webhooks", self.base);
        self.http.post(url).bearer_auth("ezw_line_demo").json(body).send().await.expect("answer")
    }

    pub(super) async fn call_control(&self, method: reqwest::Method, path: &str, body: &Value) -> Response {
        self.http.request(method, format!("{}/_fake/{path}", self.base)).json(body).send().await.expect("answer")
    }
}

async fn start_fake() -> (FakeProvider, FakeProviderClient) {
    let fake = FakeProvider::start(0, None).await.expect("starts");
    let caller = FakeProviderClient::for_fake(&fake);
    (fake, caller)
}

pub(super) fn text_to_phone(text: &str) -> Value {
    json!({"to": PHONE, "body": text})
}

async fn response_json(response: Response) -> Value {
    response.json().await.expect("JSON")
}

#[tokio::test]
async fn a_text_is_queued_with_202_and_reaches_the_phone() {
    let (fake, caller) = start_fake().await;
    let button = json!({"displayText": "Track", "url": "https://shop.example.com/o/1"});
    let body = json!({"to": PHONE, "body": "ההזמנה מוכנה", "ctaUrlButton": button});
    let answer = caller.send_text("order:1001:ready", &body).await.expect("answer");
    assert_eq!(answer.status(), 202);
    let answer = response_json(answer).await;
    assert_eq!(answer["status"], "queued");

    let phone = fake.phone_messages(PHONE);
    assert_eq!(phone.len(), 1);
    assert_eq!(phone[0].id, answer["id"].as_str().expect("id"));
    assert_eq!((phone[0].body.as_str(), phone[0].line.as_str()), ("ההזמנה מוכנה", "line_demo"));
    assert_eq!(phone[0].key.as_deref(), Some("order:1001:ready"));
    assert_eq!(phone[0].button.as_ref().expect("button").display_text, "Track");
    assert_eq!(phone[0].status.as_deref(), Some("delivered"));
    assert_eq!(fake.counters().requests["POST /api/v1/messages/text"], 1);
}

#[tokio::test]
async fn the_good_health_response_is_the_documented_sample() {
    let (fake, caller) = start_fake().await;
    let answer = caller.get_health("?wakeup=false&channel_type=web").await;
    assert_eq!(answer.status(), 200);
    let sample = json!({
        "health": {"status": {"code": 4, "text": "AUTH"}},
        "line": {"lifecycleState": "connected", "effectiveSendState": "sendable", "sendable": true}
    });
    assert_eq!(response_json(answer).await, sample);
    assert_eq!(fake.counters().wakeups, 0);
}

#[tokio::test]
async fn only_a_literal_false_keeps_a_health_check_from_waking_the_line() {
    let (fake, caller) = start_fake().await;
    for query in ["", "?wakeup=true", "?channel_type=web", "?wakeup=0", "?wakeup=False"] {
        assert_eq!(caller.get_health(query).await.status(), 200);
    }
    assert_eq!(fake.counters().wakeups, 5);
    caller.get_health("?wakeup=false").await;
    assert_eq!(fake.counters().wakeups, 5);
    assert_eq!(fake.counters().requests["GET /api/v1/health"], 6);
}

#[tokio::test]
async fn every_health_preset_applies_only_to_its_line() {
    let (fake, caller) = start_fake().await;
    fake.set_tokens(BTreeMap::from([
        ("ezw_line_demo".into(), "line_demo".into()),
        ("ezw_line_other".into(), "line_other".into()),
    ]));
    for preset in HealthPreset::ALL {
        fake.set_health(Some("line_demo"), preset).expect("set");
        let answer = caller.get_health("?wakeup=false").await;
        let (status, body) = preset.health_response();
        assert_eq!(answer.status().as_u16(), status, "{preset:?}");
        if let Some(body) = body {
            assert_eq!(response_json(answer).await, body, "{preset:?}");
        }
        let url = format!("{}/api/v1/health?wakeup=false", caller.base);
        let other = caller.http.get(url).bearer_auth("ezw_line_other").send().await.expect("answer");
        assert_eq!(response_json(other).await["line"]["sendable"], true, "{preset:?}");
    }
    fake.set_health(None, HealthPreset::Good).expect("set");
    assert_eq!(response_json(caller.get_health("?wakeup=false").await).await["line"]["sendable"], true);
}

#[tokio::test]
async fn an_unknown_or_missing_token_is_refused_on_every_route() {
    let (fake, caller) = start_fake().await;
    for (method, path) in [
        ("GET", "health"),
        ("POST", "messages/text"),
        ("POST", "messages/media"),
        ("POST", "webhooks"),
        ("GET", "webhooks"),
    ] {
        for token in ["", "Bearer ezw_line_wrong", "Basic ezw_line_demo", "ezw_line_demo"] {
            let method = method.parse::<reqwest::Method>().expect("method");
            let url = format!("{}/api/v1/{path}", caller.base);
            let request = caller.http.request(method, url).header("authorization", token).json(&text_to_phone("x"));
            let answer = request.send().await.expect("answer");
            assert_eq!(answer.status(), 401, "{path} {token}");
            assert_eq!(response_json(answer).await["error"], "invalid_channel_api_token");
        }
    }
    assert_eq!(fake.counters().unauthorized, 20);
    fake.set_tokens(BTreeMap::new());
    assert_eq!(caller.get_health("").await.status(), 401, "a revoked token");
}

#[tokio::test]
async fn a_missing_key_and_a_malformed_send_are_refused_and_counted() {
    let (fake, caller) = start_fake().await;
    let url = format!("{}/api/v1/messages/text", caller.base);
    let request = || caller.http.post(&url).bearer_auth("ezw_line_demo");
    assert_eq!(request().json(&text_to_phone("x")).send().await.expect("answer").status(), 400);
    assert_eq!(
        request().header("idempotency-key", " ").json(&text_to_phone("x")).send().await.expect("answer").status(),
        400
    );
    assert_eq!(fake.counters().missing_key, 2);

    for body in [json!({"to": "0501234567", "body": "x"}), json!({"to": PHONE}), json!({"to": PHONE, "bodyText": "x"})]
    {
        let answer = caller.send_text("k", &body).await.expect("answer");
        assert_eq!(answer.status(), 400);
    }
    let plain =
        request().header("idempotency-key", "k").body(text_to_phone("x").to_string()).send().await.expect("answer");
    assert_eq!(plain.status(), 400);
    assert_eq!(fake.counters().invalid, 4);
    assert!(fake.messages().is_empty());
}

#[tokio::test]
async fn a_repeat_returns_the_same_id_and_queues_nothing() {
    let (fake, caller) = start_fake().await;
    let first = response_json(caller.send_text("k", &text_to_phone("x")).await.expect("answer")).await;
    for (replay, status) in
        [(RepeatResponse::SameAccepted, 202), (RepeatResponse::SameOk, 200), (RepeatResponse::Conflict, 409)]
    {
        fake.change_settings(|settings| settings.repeat_response = replay).expect("set");
        let answer = caller.send_text("k", &text_to_phone("x")).await.expect("answer");
        assert_eq!(answer.status().as_u16(), status);
        if status != 409 {
            assert_eq!(response_json(answer).await["id"], first["id"]);
        }
    }
    assert_eq!(fake.messages().len(), 1);
    assert_eq!(fake.counters().repeats, 3);
    assert_eq!(
        caller.send_text("k2", &text_to_phone("x")).await.expect("answer").status(),
        202,
        "another key is another message"
    );
    assert_eq!(fake.max_messages_per_key(), 1);
}

#[tokio::test]
async fn a_key_with_other_bytes_is_refused_by_either_variant() {
    let (fake, caller) = start_fake().await;
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert_eq!(caller.send_text("k", &text_to_phone("y")).await.expect("answer").status(), 422);
    fake.change_settings(|settings| settings.key_conflict_response = KeyConflictResponse::Conflict).expect("set");
    assert_eq!(caller.send_text("k", &text_to_phone("y")).await.expect("answer").status(), 409);
    assert_eq!(fake.counters().key_conflicts, 2);
    assert_eq!(fake.messages().len(), 1);
}

#[tokio::test]
async fn the_same_key_on_another_line_is_another_message_and_shows_in_the_assertion() {
    let (fake, caller) = start_fake().await;
    fake.set_tokens(BTreeMap::from([("ezw_line_demo".into(), "a".into()), ("ezw_line_two".into(), "b".into())]));
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    let url = format!("{}/api/v1/messages/text", caller.base);
    let request =
        caller.http.post(url).bearer_auth("ezw_line_two").header("idempotency-key", "k").json(&text_to_phone("x"));
    assert_eq!(request.send().await.expect("answer").status(), 202);
    assert_eq!(fake.messages_per_key()["k"], 2);
}

#[tokio::test]
async fn the_202_body_has_every_variant() {
    let (fake, caller) = start_fake().await;
    for (number, body, pointer) in [
        (1, AcceptedBody::Flat, "/id"),
        (2, AcceptedBody::NestedMessage, "/message/id"),
        (3, AcceptedBody::NestedData, "/data/id"),
    ] {
        fake.change_settings(|settings| settings.accepted_body = body).expect("set");
        let answer = caller.send_text(&format!("k{number}"), &text_to_phone("x")).await.expect("answer");
        assert_eq!(answer.status(), 202);
        assert!(response_json(answer).await.pointer(pointer).is_some_and(Value::is_string), "{body:?}");
    }
    fake.change_settings(|settings| settings.accepted_body = AcceptedBody::Empty).expect("set");
    let answer = caller.send_text("k4", &text_to_phone("x")).await.expect("answer");
    assert_eq!(answer.status(), 202);
    assert!(answer.bytes().await.expect("body").is_empty());
}

#[tokio::test]
async fn errors_come_in_every_envelope() {
    let (fake, caller) = start_fake().await;
    let refused = || async { caller.send_text("k", &json!({})).await.expect("answer") };
    assert_eq!(response_json(refused().await).await["error"], "invalid_channel_message");
    fake.change_settings(|settings| settings.error_envelope = ErrorEnvelope::Object).expect("set");
    assert_eq!(response_json(refused().await).await["error"]["code"], "invalid_channel_message");
    fake.change_settings(|settings| settings.error_envelope = ErrorEnvelope::PlainText).expect("set");
    assert_eq!(refused().await.text().await.expect("text"), "invalid_channel_message");
}

#[tokio::test]
async fn a_webhook_is_deleted_by_the_token_of_its_line_only() {
    let (fake, caller) = start_fake().await;
    fake.change_settings(|settings| settings.webhooks.allow_local_targets = true).expect("set");
    let register =
        |line: &str| fake.register_webhook(line, &json!({"targetUrl": "http://127.0.0.1:9/"})).expect("registered").id;
    let (own, of_another_line) = (register("line_demo"), register("line_of_another_client"));
    let delete = |id: &str, token: &str| {
        caller.http.delete(format!("{}/api/v1/webhooks/{id}", caller.base)).bearer_auth(token).send()
    };
    assert_eq!(delete(&own, "ezw_line_wrong").await.expect("answer").status(), 401);
    assert_eq!(delete(&of_another_line, "ezw_line_demo").await.expect("answer").status(), 404);
    assert_eq!(fake.webhooks().len(), 2);
    assert_eq!(delete(&own, "ezw_line_demo").await.expect("answer").status(), 200);
    assert_eq!(delete(&own, "ezw_line_demo").await.expect("answer").status(), 404);
    assert_eq!(fake.webhooks().len(), 1);
}

#[tokio::test]
async fn media_wrong_methods_and_unknown_paths_get_clear_errors() {
    let (_fake, caller) = start_fake().await;
    let request = |method: &str, path: &str| {
        let method = method.parse::<reqwest::Method>().expect("method");
        caller.http.request(method, format!("{}{path}", caller.base)).bearer_auth("ezw_line_demo").send()
    };
    let media = request("POST", "/api/v1/messages/media").await.expect("answer");
    assert_eq!(media.status(), 501);
    assert_eq!(response_json(media).await["error"], "media_contract_unconfirmed");
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(request(method, "/api/v1/webhooks").await.expect("answer").status(), 405);
    }
    assert_eq!(request("GET", "/api/v1/messages/text").await.expect("answer").status(), 405);
    assert_eq!(request("POST", "/api/v1/health").await.expect("answer").status(), 405);
    assert_eq!(request("GET", "/api/v1/lines").await.expect("answer").status(), 404);
}

#[tokio::test]
async fn a_timeout_after_accepting_leaves_the_message_queued_once() {
    let (fake, caller) = start_fake().await;
    fake.fail_next(1, SendFault::TimeoutAfterAccept { reply_after_ms: None });
    let error = caller.send_text("k", &text_to_phone("x")).await.expect_err("no response");
    assert!(error.is_timeout());
    assert_eq!(fake.messages().len(), 1);
    assert_eq!(fake.messages()[0].fault.as_deref(), Some("timeout_after_accept"));
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 202);
    assert_eq!(fake.max_messages_per_key(), 1);

    fake.fail_next(1, SendFault::TimeoutAfterAccept { reply_after_ms: Some(20) });
    assert_eq!(caller.send_text("k2", &text_to_phone("x")).await.expect("a late response").status(), 202);
}

#[tokio::test]
async fn a_dropped_connection_gets_no_response_and_queues_only_after_accepting() {
    let (fake, caller) = start_fake().await;
    fake.fail_next(1, SendFault::DropBeforeAccept);
    let error = caller.send_text("k", &text_to_phone("x")).await.expect_err("no response");
    assert!(!error.is_timeout(), "the connection must end, not hang: {error:?}");
    assert!(fake.messages().is_empty());

    fake.fail_next(1, SendFault::DropAfterAccept);
    let error = caller.send_text("k", &text_to_phone("x")).await.expect_err("no response");
    assert!(!error.is_timeout());
    assert_eq!(fake.messages().len(), 1);
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("a new connection").status(), 202);
    assert_eq!(fake.max_messages_per_key(), 1);
}

#[tokio::test]
async fn too_many_requests_comes_with_and_without_retry_after() {
    let (fake, caller) = start_fake().await;
    fake.fail_next(1, SendFault::TooManyRequests { retry_after_s: Some(7) });
    fake.fail_next(1, SendFault::TooManyRequests { retry_after_s: None });
    let first = caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().ok()), (429, Some("7")));
    let second = caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert_eq!((second.status().as_u16(), second.headers().get("retry-after")), (429, None));
    assert!(fake.messages().is_empty());
    assert_eq!(
        caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(),
        202,
        "no fault is planned any more"
    );
}

#[tokio::test]
async fn a_server_error_strikes_before_or_after_accepting() {
    let (fake, caller) = start_fake().await;
    fake.fail_next(1, SendFault::ServerErrorBeforeAccept);
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 500);
    assert!(fake.messages().is_empty());
    fake.fail_next(2, SendFault::ServerErrorAfterAccept);
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 500);
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 500);
    assert_eq!(fake.messages().len(), 1);
    assert_eq!(fake.counters().faults["server_error_after_accept"], 2);
}

#[tokio::test]
async fn faults_affect_only_sends_that_would_have_been_accepted() {
    let (fake, caller) = start_fake().await;
    fake.fail_next(1, SendFault::ServerErrorBeforeAccept);
    assert_eq!(caller.send_text("k", &json!({})).await.expect("answer").status(), 400);
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 500, "still planned");
    fake.fail_next(9, SendFault::ServerErrorBeforeAccept);
    fake.heal().expect("healed");
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 202);
}

#[tokio::test]
async fn a_fault_share_is_repeatable_by_its_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (fake, caller) = start_fake().await;
        fake.fail_fraction(0.5, SendFault::ServerErrorBeforeAccept, 7).expect("set");
        let mut run = Vec::new();
        for number in 0..40 {
            run.push(
                caller.send_text(&format!("k{number}"), &text_to_phone("x")).await.expect("answer").status().as_u16(),
            );
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&500) && runs[0].contains(&202));
}

#[tokio::test]
async fn latency_delays_every_response() {
    let (fake, caller) = start_fake().await;
    fake.set_latency(Duration::from_millis(60)).expect("set");
    let start = Instant::now();
    caller.get_health("?wakeup=false").await;
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_message_queued_while_a_line_is_down_arrives_late_and_is_counted() {
    let (fake, caller) = start_fake().await;
    fake.set_health(None, HealthPreset::Qr).expect("set");
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 202);
    assert!(fake.phone_messages(PHONE).is_empty());
    assert_eq!(fake.counters().queued_while_not_good, 1);
    fake.set_health(None, HealthPreset::Good).expect("set");
    assert_eq!(fake.phone_messages(PHONE).len(), 1);
}

#[tokio::test]
async fn a_hundred_racing_repeats_queue_one_message() {
    let (fake, _) = start_fake().await;
    let caller = Arc::new(FakeProviderClient { timeout: SOON, ..FakeProviderClient::for_fake(&fake) });
    let racers: Vec<_> = (0..100)
        .map(|_| {
            let caller = Arc::clone(&caller);
            tokio::spawn(
                async move { caller.send_text("k", &text_to_phone("x")).await.expect("answer").status().as_u16() },
            )
        })
        .collect();
    for racer in racers {
        assert_eq!(racer.await.expect("task"), 202);
    }
    assert_eq!(fake.messages().len(), 1);
}

#[tokio::test]
async fn a_key_is_queued_at_most_once_despite_faults_and_repeats() {
    for seed in 0..5 {
        let (fake, caller) = start_fake().await;
        let caller = FakeProviderClient { timeout: Duration::from_millis(40), ..caller };
        let mut rng = StdRng::seed_from_u64(seed);
        let faults = [
            SendFault::TimeoutAfterAccept { reply_after_ms: Some(1) },
            SendFault::TimeoutAfterAccept { reply_after_ms: None },
            SendFault::DropBeforeAccept,
            SendFault::DropAfterAccept,
            SendFault::TooManyRequests { retry_after_s: None },
            SendFault::ServerErrorBeforeAccept,
            SendFault::ServerErrorAfterAccept,
        ];
        let mut accepted_keys = BTreeSet::<String>::new();
        for _ in 0..60 {
            match rng.random_range(0..10) {
                0..3 => fake.fail_next(rng.random_range(1..3), *faults.choose(&mut rng).expect("some")),
                3 => fake.set_health(None, *HealthPreset::ALL.choose(&mut rng).expect("some")).expect("set"),
                4 => {
                    let replay = [RepeatResponse::SameAccepted, RepeatResponse::SameOk, RepeatResponse::Conflict];
                    fake.change_settings(|settings| settings.repeat_response = *replay.choose(&mut rng).expect("some"))
                        .expect("set");
                }
                _ => {
                    let key = format!("order:{}:ready", rng.random_range(0..6));
                    let body = text_to_phone(if rng.random_bool(0.15) { "changed" } else { "same" });
                    if let Ok(answer) = caller.send_text(&key, &body).await
                        && answer.status().is_success()
                    {
                        accepted_keys.insert(key);
                    }
                }
            }
        }
        assert!(fake.max_messages_per_key() <= 1, "seed {seed}: {:?}", fake.messages_per_key());
        for key in &accepted_keys {
            assert_eq!(
                fake.messages_per_key().get(key),
                Some(&1),
                "seed {seed}: {key} was accepted, so it must be queued"
            );
        }
    }
}

#[tokio::test]
async fn messages_keys_settings_and_webhooks_survive_a_restart_but_tokens_are_not_written() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = FakeProvider::start(0, Some(dir.path())).await.expect("starts");
    let caller = FakeProviderClient::for_fake(&fake);
    fake.set_tokens(BTreeMap::from([("ezw_line_demo".into(), "line_demo".into())]));
    fake.change_settings(|settings| settings.accepted_body = AcceptedBody::NestedData).expect("set");
    fake.change_settings(|settings| settings.webhooks.allow_local_targets = true).expect("set");
    fake.register_webhook("line_demo", &json!({"targetUrl": "http://127.0.0.1:9/"})).expect("registered");
    let first = response_json(caller.send_text("k", &text_to_phone("x")).await.expect("answer")).await;
    fake.write_from_phone(PHONE, "thanks", "line_demo").expect("written");
    let before = (fake.messages(), fake.settings(), fake.webhooks());
    // A forgotten handle imitates a killed process.
    std::mem::forget(fake);

    let again = FakeProvider::start(0, Some(dir.path())).await.expect("starts again");
    assert_eq!((again.messages(), again.settings(), again.webhooks()), before);
    let caller = FakeProviderClient::for_fake(&again);
    assert_eq!(response_json(caller.send_text("k", &text_to_phone("x")).await.expect("answer")).await, first);
    assert_eq!(caller.send_text("k", &text_to_phone("y")).await.expect("answer").status(), 422);
    assert_eq!(again.max_messages_per_key(), 1);
    let written = std::fs::read_to_string(dir.path().join("fake-provider.jsonl")).expect("journal");
    assert!(!written.contains("ezw_line_"));

    again.reset_state().expect("wiped");
    assert!(again.messages().is_empty() && again.webhooks().is_empty());
    assert_eq!(again.settings(), FakeSettings::default());
    assert_eq!(caller.send_text("k", &text_to_phone("y")).await.expect("answer").status(), 202);
    let third = FakeProvider::start(0, Some(dir.path())).await.expect("starts once more");
    assert_eq!(third.messages().len(), 1);
}

/// Starts a fake that posts to `target_url` on a state folder, with the same webhook over restarts.
async fn start_on_folder(dir: &Path, target_url: &str) -> FakeProvider {
    let fake = FakeProvider::start(0, Some(dir)).await.expect("starts");
    fake.ensure_webhook("line_demo", target_url).expect("registered");
    fake.resume_deliveries().expect("resumed");
    fake
}

fn received_ids(target: &TestWebhookTarget) -> Vec<String> {
    let received = target.received_deliveries();
    received.iter().map(|(headers, _)| headers["x-ezw-delivery-id"].to_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn events_that_a_killed_fake_did_not_post_are_posted_once_by_the_next_one() {
    let dir = tempfile::tempdir().expect("folder");
    // Listens and answers nothing, so the first run posts nothing.
    let silent = crate::server::bind_port(0, "a test", "").expect("port");
    let fake = start_on_folder(dir.path(), &format!("http://{}/hook", silent.local_addr().expect("address"))).await;
    for text in ["one", "two"] {
        fake.write_from_phone(PHONE, text, "line_demo").expect("written");
    }
    assert_eq!(fake.pending_deliveries(), 4);
    drop(fake);

    let target = TestWebhookTarget::default();
    let again = start_on_folder(dir.path(), &target.start()).await;
    assert!(again.wait_for(SOON, |_| target.received_deliveries().len() == 4).await);
    again.write_from_phone(PHONE, "three", "line_demo").expect("written");
    assert!(
        again.wait_for(SOON, |fake| target.received_deliveries().len() == 6 && fake.pending_deliveries() == 0).await
    );
    let texts: Vec<_> = target
        .received_deliveries()
        .iter()
        .filter_map(|(_, body)| body["messages"][0]["body"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(texts, ["one", "two", "three"]);
    drop(again);

    let third = start_on_folder(dir.path(), &target.start()).await;
    assert_eq!(third.pending_deliveries(), 0, "every event is recorded as posted");
    assert_eq!(received_ids(&target).into_iter().collect::<BTreeSet<_>>().len(), 6);
}

#[tokio::test]
async fn an_event_without_a_recorded_response_is_posted_again_by_the_same_id() {
    let dir = tempfile::tempdir().expect("folder");
    let target = TestWebhookTarget::default();
    let url = target.start();
    let fake = start_on_folder(dir.path(), &url).await;
    fake.write_from_phone(PHONE, "one", "line_demo").expect("written");
    assert!(
        fake.wait_for(SOON, |fake| target.received_deliveries().len() == 2 && fake.pending_deliveries() == 0).await
    );
    drop(fake);
    // As if the kill had come before the responses were recorded.
    let path = dir.path().join("fake-provider.jsonl");
    let journal = std::fs::read_to_string(&path).expect("journal");
    let kept: Vec<_> = journal.lines().filter(|line| !line.contains("\"posted\"")).collect();
    assert_eq!(kept.len() + 2, journal.lines().count());
    std::fs::write(&path, kept.join("\n") + "\n").expect("written");

    let again = start_on_folder(dir.path(), &url).await;
    assert!(again.wait_for(SOON, |_| target.received_deliveries().len() == 4).await);
    let ids = received_ids(&target);
    assert_eq!(ids[..2], ids[2..]);
}

#[tokio::test]
async fn a_truncated_last_journal_line_is_dropped_and_other_damage_is_an_error() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("fake-provider.jsonl");
    {
        let fake = FakeProvider::start(0, Some(dir.path())).await.expect("starts");
        FakeProviderClient::for_fake(&fake).send_text("k", &text_to_phone("x")).await.expect("answer");
    }
    let whole = std::fs::read_to_string(&path).expect("journal");
    std::fs::write(&path, format!("{whole}{{\"message\":{{\"mess")).expect("written");
    let fake = FakeProvider::start(0, Some(dir.path())).await.expect("starts");
    assert_eq!(fake.messages().len(), 1);
    FakeProviderClient::for_fake(&fake).send_text("k2", &text_to_phone("x")).await.expect("answer");
    drop(fake);
    assert_eq!(FakeProvider::start(0, Some(dir.path())).await.expect("starts").messages().len(), 2);

    std::fs::write(&path, format!("nonsense\n{whole}")).expect("written");
    let error = FakeProvider::start(0, Some(dir.path())).await.expect_err("damaged");
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[tokio::test]
async fn every_setting_can_be_changed_over_http_at_run_time() {
    let (fake, caller) = start_fake().await;
    let post = reqwest::Method::POST;
    let change = json!({"latency_ms": 3, "repeat_response": "same_ok", "webhooks": {"duplicate": true}});
    let all = response_json(caller.call_control(reqwest::Method::PATCH, "settings", &change).await).await;
    assert_eq!((&all["latency_ms"], &all["repeat_response"]), (&json!(3), &json!("same_ok")));
    let settings = fake.settings();
    assert!(settings.webhooks.duplicate && settings.webhooks.report_sent, "the other settings stay");
    let wrong = caller.call_control(reqwest::Method::PATCH, "settings", &json!({"repeat_response": "maybe"})).await;
    assert_eq!(wrong.status(), 400);

    caller.call_control(post.clone(), "health", &json!({"preset": "qr", "line": "line_demo"})).await;
    assert_eq!(fake.settings().health_of_line("line_demo"), HealthPreset::Qr);
    caller.call_control(post.clone(), "health", &json!({"preset": "good"})).await;
    assert_eq!(fake.settings().health_of_line("line_demo"), HealthPreset::Good);

    let fault = json!({"kind": "too_many_requests", "retry_after_s": 2});
    caller.call_control(post.clone(), "fail", &json!({"next": 1, "fault": fault})).await;
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 429);
    caller
        .call_control(
            post.clone(),
            "fail",
            &json!({"probability": 1.0, "fault": {"kind": "server_error_before_accept"}}),
        )
        .await;
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 500);
    assert_eq!(caller.call_control(post.clone(), "fail", &json!({"fault": fault})).await.status(), 400);
    caller.call_control(reqwest::Method::DELETE, "fail", &json!({})).await;
    assert_eq!(caller.send_text("k", &text_to_phone("x")).await.expect("answer").status(), 202);

    let id = fake.messages()[0].id.clone();
    caller.call_control(post.clone(), "status", &json!({"id": id, "status": "failed"})).await;
    assert_eq!(fake.messages()[0].status.as_deref(), Some("failed"));
    caller.call_control(post.clone(), "phone", &json!({"from": PHONE, "text": "When?"})).await;
    assert_eq!(fake.messages()[1].direction, PhoneMessageDirection::FromCustomer);

    let state = response_json(caller.call_control(reqwest::Method::GET, "state", &json!({})).await).await;
    assert_eq!(state["per_key"]["k"], 1);
    assert_eq!(state["messages"].as_array().map(Vec::len), Some(2));
    assert!(!state.to_string().contains("ezw_line_"), "tokens are never shown");
    caller.call_control(post, "fresh", &json!({})).await;
    assert!(fake.messages().is_empty());
}

/// A webhook target that records its deliveries and responds as configured.
#[derive(Clone, Default)]
pub(super) struct TestWebhookTarget(Arc<Mutex<TestWebhookTargetState>>);

#[derive(Default)]
struct TestWebhookTargetState {
    received: Vec<(HeaderMap, Value)>,
    refusals: usize,
}

impl TestWebhookTarget {
    pub(super) fn start(&self) -> String {
        let app = Router::new().route("/hook", post(Self::receive_delivery)).with_state(self.clone());
        let listener = crate::server::bind_port(0, "a test", "").expect("port");
        let addr = listener.local_addr().expect("address");
        crate::server::serve_router(app, listener, "a test");
        format!("http://{addr}/hook")
    }

    #[expect(clippy::unused_async, reason = "a handler has to be async")]
    async fn receive_delivery(State(target): State<Self>, headers: HeaderMap, bytes: Bytes) -> StatusCode {
        let mut state = target.0.lock().expect("lock");
        state.received.push((headers, serde_json::from_slice(&bytes).expect("JSON")));
        if state.refusals > 0 {
            state.refusals -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        StatusCode::OK
    }

    pub(super) fn received_deliveries(&self) -> Vec<(HeaderMap, Value)> {
        self.0.lock().expect("lock").received.clone()
    }

    pub(super) fn received_statuses(&self) -> Vec<String> {
        let got = self.received_deliveries();
        let items = got.iter().filter_map(|(_, body)| body["statuses"].as_array()).flatten();
        items.filter_map(|item| item["status"].as_str().map(str::to_owned)).collect()
    }
}

pub(super) async fn start_with_webhook(
    switches: impl FnOnce(&mut WebhookSettings),
) -> (FakeProvider, FakeProviderClient, TestWebhookTarget) {
    let (fake, caller) = start_fake().await;
    let target = TestWebhookTarget::default();
    let url = target.start();
    fake.change_settings(|settings| {
        settings.webhooks.allow_local_targets = true;
        settings.webhooks.redeliver_after_ms = 5;
        settings.webhooks.gather_ms = 60;
        switches(&mut settings.webhooks);
    })
    .expect("set");
    let answer = caller.register_webhook(&json!({"targetUrl": url})).await;
    assert_eq!(answer.status(), 201);
    (fake, caller, target)
}

#[tokio::test]
async fn an_inner_target_is_refused_unless_the_test_switch_is_on() {
    let (fake, caller) = start_fake().await;
    let body = json!({"targetUrl": "http://127.0.0.1:9/hook"});
    let answer = caller.register_webhook(&body).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(response_json(answer).await["error"], "invalid_channel_webhook");
    assert!(fake.register_webhook("line_demo", &body).is_err());
    fake.change_settings(|settings| settings.webhooks.allow_local_targets = true).expect("set");
    assert_eq!(caller.register_webhook(&body).await.status(), 201);
    assert_eq!(caller.register_webhook(&body).await.status(), 201, "two registrations of a target are two webhooks");
    let url = format!("{}/api/v1/webhooks", caller.base);
    let list = response_json(caller.http.get(url).bearer_auth("ezw_line_demo").send().await.expect("answer")).await;
    assert_eq!(list["webhooks"].as_array().map(Vec::len), Some(2));
    assert!(list["guess"].is_string(), "the route is marked as a guess");
}

#[tokio::test]
async fn a_send_raises_the_observed_message_and_its_statuses_with_the_documented_headers() {
    let (fake, caller, target) = start_with_webhook(|hooks| hooks.report_read = true).await;
    caller.send_text("k", &text_to_phone("Hello")).await.expect("answer");
    assert!(
        fake.wait_for(SOON, |_| target.received_deliveries().len() == 5).await,
        "{:?}",
        target.received_deliveries()
    );
    let got = target.received_deliveries();
    let events: Vec<_> =
        got.iter().map(|(headers, _)| headers["x-ezw-webhook-event"].to_str().expect("text")).collect();
    assert_eq!(events, ["messages.post", "chats.post", "statuses.post", "statuses.post", "statuses.post"]);
    assert_eq!(target.received_statuses(), ["sent", "delivered", "read"]);

    let (headers, body) = &got[0];
    assert_eq!(headers["x-ezw-line-id"], "line_demo");
    assert_eq!(headers["x-ezw-webhook-id"].to_str().ok(), Some(fake.webhooks()[0].id.as_str()));
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers.keys().all(|name| !name.as_str().contains("signature")), "no signature is documented");
    assert_eq!(body["event"], "messages.post");
    let item = &body["messages"][0];
    assert_eq!(
        (&item["from_me"], &item["body"], &item["text"]["body"]),
        (&json!(true), &json!("Hello"), &json!("Hello"))
    );
    assert_eq!((&item["contactPhoneNumber"], &item["contact_phone_number"]), (&json!(PHONE), &json!(PHONE)));
    assert_eq!((&item["id"], &item["conversationId"]), (&item["message_id"], &item["conversation_id"]));
    assert!(item["timestamp"].as_i64().is_some_and(|seconds| seconds < 100_000_000_000), "unix seconds");
    assert_eq!(got[2].1["statuses"][0]["id"], item["id"]);
    let ids: BTreeSet<_> = got.iter().map(|(headers, _)| &headers["x-ezw-delivery-id"]).collect();
    assert_eq!(ids.len(), 5, "each delivery has its own id");
}

#[tokio::test]
async fn a_customer_message_arrives_and_can_be_replied_to_by_conversation() {
    let (fake, caller, target) = start_with_webhook(|_| {}).await;
    fake.write_from_phone(PHONE, "מתי?", "line_demo").expect("written");
    assert!(fake.wait_for(SOON, |_| target.received_deliveries().len() == 2).await);
    let item = &target.received_deliveries()[0].1["messages"][0];
    assert_eq!((&item["from_me"], &item["body"]), (&json!(false), &json!("מתי?")));
    let reply = json!({"conversationId": item["conversationId"], "body": "Today"});
    assert_eq!(caller.send_text("webhook-reply:1", &reply).await.expect("answer").status(), 202);
    assert_eq!(fake.phone_messages(PHONE).last().map(|message| message.body.clone()), Some("Today".into()));
}

#[tokio::test]
async fn a_webhook_gets_only_its_events_and_only_while_enabled() {
    let (fake, caller, target) = start_with_webhook(|_| {}).await;
    let quiet = TestWebhookTarget::default();
    let narrow = TestWebhookTarget::default();
    let (quiet_url, narrow_url) = (quiet.start(), narrow.start());
    caller.register_webhook(&json!({"targetUrl": quiet_url, "enabled": false})).await;
    caller.register_webhook(&json!({"targetUrl": narrow_url, "events": ["statuses.post"]})).await;
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert!(
        fake.wait_for(SOON, |_| target.received_deliveries().len() == 4 && narrow.received_deliveries().len() == 2)
            .await
    );
    assert_eq!(narrow.received_statuses(), ["sent", "delivered"]);
    assert!(quiet.received_deliveries().is_empty());
}

#[tokio::test]
async fn a_refused_delivery_is_retried_with_the_same_id() {
    let (fake, _caller, target) = start_with_webhook(|_| {}).await;
    target.0.lock().expect("lock").refusals = 3;
    fake.report_status("none", "sent").expect_err("the message is unknown");
    fake.write_from_phone(PHONE, "x", "line_demo").expect("written");
    assert!(fake.wait_for(SOON, |_| target.received_deliveries().len() == 5).await, "two events, three refusals");
    let mut ids: Vec<_> =
        target.received_deliveries().iter().map(|(headers, _)| headers["x-ezw-delivery-id"].clone()).collect();
    ids.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    ids.dedup();
    assert_eq!(ids.len(), 2);
    assert!(fake.wait_for(SOON, |fake| fake.webhook_attempts().len() == 5).await);
    assert_eq!(fake.webhook_attempts().iter().filter(|attempt| attempt.status == Some(503)).count(), 3);
}

#[tokio::test]
async fn deliveries_can_be_duplicated_batched_reordered_and_delayed() {
    let (fake, caller, target) = start_with_webhook(|hooks| hooks.duplicate = true).await;
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert!(fake.wait_for(SOON, |_| target.received_deliveries().len() == 8).await);
    let got = target.received_deliveries();
    assert_eq!(got[0].0["x-ezw-delivery-id"], got[1].0["x-ezw-delivery-id"]);

    let (fake, caller, target) = start_with_webhook(|hooks| hooks.batch = true).await;
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert!(fake.wait_for(SOON, |_| target.received_deliveries().len() == 3).await);
    assert_eq!(target.received_deliveries()[2].1["statuses"].as_array().map(Vec::len), Some(2));

    let (fake, caller, target) = start_with_webhook(|hooks| hooks.reorder = true).await;
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert!(fake.wait_for(SOON, |_| target.received_deliveries().len() == 4).await);
    assert_eq!(target.received_statuses(), ["delivered", "sent"]);

    let (fake, caller, target) = start_with_webhook(|hooks| hooks.delay_ms = 80).await;
    let start = Instant::now();
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert!(fake.wait_for(SOON, |_| !target.received_deliveries().is_empty()).await);
    assert!(start.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_line_may_name_customers_by_a_private_id() {
    let (fake, caller, target) = start_with_webhook(|hooks| hooks.private_ids = true).await;
    caller.send_text("k", &text_to_phone("x")).await.expect("answer");
    assert!(fake.wait_for(SOON, |_| !target.received_deliveries().is_empty()).await);
    let item = &target.received_deliveries()[0].1["messages"][0];
    let id = webhook_events::private_id_of(PHONE);
    assert_eq!(item["chat_id"], format!("{id}@lid"));
    assert_eq!(item["contactPhoneNumber"], format!("+{id}"));
    assert!(id.len() == 15 && !item.to_string().contains(&PHONE[1..]), "{item}");
}

#[tokio::test]
async fn payload_variants_can_be_switched_on() {
    let (fake, caller, target) = start_with_webhook(|hooks| {
        hooks.unknown_status = true;
        hooks.omit_conversation_id = true;
        hooks.whapi_event_object = true;
    })
    .await;
    fake.change_settings(|settings| settings.separate_provider_ids = true).expect("set");
    let queued = response_json(caller.send_text("k", &text_to_phone("x")).await.expect("answer")).await;
    assert!(fake.wait_for(SOON, |_| target.received_deliveries().len() == 4).await);
    let got = target.received_deliveries();
    assert_eq!(got[0].1["event"], json!({"type": "messages", "event": "post"}));
    let item = &got[0].1["messages"][0];
    assert!(item.get("conversationId").is_none() && item.get("conversation_id").is_none());
    assert_ne!(item["id"], queued["id"], "the provider has its own ids");
    assert_eq!(target.received_statuses(), ["sent", "teleported"]);
    assert!(got[2].1["statuses"][0]["timestamp"].is_string());
}
