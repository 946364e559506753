//! Deliveries to webhook targets: EZWhatsApp's payloads and headers, and the faults on the way.
//!
//! Payloads and the four `X-EZW-*` headers follow the documented samples. When and how often a
//! delivery is repeated is invented. Deliveries are not signed, because no signature is documented.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tellonce_core::hash::sha256_hex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::lock_mutex;

use super::{
    records::{RegisteredWebhook, WebhookAttempt},
    settings::WebhookSettings,
    state::FakeState,
    webhook_events::RaisedEvent,
};

/// How long a target may take to respond. Invented.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the delivery task of one webhook. It ends when the returned sender is dropped.
pub(super) fn start_delivery_task(
    state: Weak<Mutex<FakeState>>,
    http: reqwest::Client,
    webhook: String,
) -> UnboundedSender<RaisedEvent> {
    let (queue, receiver) = unbounded_channel();
    tokio::spawn(deliver_events(state, http, webhook, receiver));
    queue
}

async fn deliver_events(
    state: Weak<Mutex<FakeState>>,
    http: reqwest::Client,
    webhook: String,
    mut queue: UnboundedReceiver<RaisedEvent>,
) {
    while let Some(first) = queue.recv().await {
        let Some(settings) = state.upgrade().map(|state| lock_mutex(&state).settings.webhooks.clone()) else {
            return;
        };
        let mut group = vec![first];
        if settings.batch || settings.reorder {
            tokio::time::sleep(Duration::from_millis(settings.gather_ms)).await;
            while let Ok(next) = queue.try_recv() {
                group.push(next);
            }
        }
        if settings.reorder {
            group.reverse();
        }
        let event_count = group.len();
        for delivery in group_deliveries(group, &settings, &webhook) {
            if settings.delay_ms > 0 {
                tokio::time::sleep(Duration::from_millis(settings.delay_ms)).await;
            }
            let Some(state) = state.upgrade() else { return };
            let is_done = attempt_delivery(&state, &http, &delivery, 1).await;
            if settings.duplicate {
                attempt_delivery(&state, &http, &delivery, 1).await;
            }
            if is_done {
                record_posted(&state, delivery);
            } else {
                tokio::spawn(retry_delivery(Arc::downgrade(&state), http.clone(), delivery, settings.clone()));
            }
        }
        let Some(state) = state.upgrade() else { return };
        let mut state = lock_mutex(&state);
        // A reset may have set it to zero in between.
        state.webhooks.pending_count = state.webhooks.pending_count.saturating_sub(event_count);
    }
}

/// A delivery of one event, or of several of the same kind.
struct WebhookDelivery {
    id: String,
    event: String,
    body: String,
    /// The webhook's id.
    webhook: String,
    raised: Vec<String>,
}

fn group_deliveries(group: Vec<RaisedEvent>, settings: &WebhookSettings, webhook: &str) -> Vec<WebhookDelivery> {
    let mut grouped: Vec<Vec<RaisedEvent>> = Vec::new();
    for raised in group {
        match grouped.iter_mut().find(|known| settings.batch && known[0].event == raised.event) {
            Some(known) => known.push(raised),
            None => grouped.push(vec![raised]),
        }
    }
    grouped.into_iter().map(|group| build_delivery(group, settings, webhook)).collect()
}

fn build_delivery(group: Vec<RaisedEvent>, settings: &WebhookSettings, webhook: &str) -> WebhookDelivery {
    let event = group.first().map(|raised| raised.event.clone()).unwrap_or_default();
    let (raised, items): (Vec<String>, Vec<Value>) = group.into_iter().map(|raised| (raised.id, raised.item)).unzip();
    // The same events have the same id after a restart, and other events another one.
    let id = match raised.as_slice() {
        [id] => id.clone(),
        several => format!("delivery_{}", sha256_hex(several.join("\n").as_bytes(), 8)),
    };
    let body = build_payload(&event, items, settings.whapi_event_object).to_string();
    WebhookDelivery { id, event, body, webhook: webhook.to_owned(), raised }
}

/// Records that a delivery is done, so that the next run does not post it.
fn record_posted(state: &Mutex<FakeState>, delivery: WebhookDelivery) {
    if let Err(error) = lock_mutex(state).record_posted(delivery.raised) {
        tracing::warn!("the fake provider will post delivery {} again after a restart: {error:#}", delivery.id);
    }
}

fn build_payload(event: &str, items: Vec<Value>, event_object: bool) -> Value {
    let kind = event.split('.').next().unwrap_or(event);
    let mut body = Map::new();
    let name = if event_object { json!({"type": kind, "event": "post"}) } else { json!(event) };
    body.insert("event".to_owned(), name);
    body.insert(kind.to_owned(), Value::Array(items));
    Value::Object(body)
}

async fn retry_delivery(
    state: Weak<Mutex<FakeState>>,
    http: reqwest::Client,
    delivery: WebhookDelivery,
    settings: WebhookSettings,
) {
    for number in 2..=settings.attempts {
        tokio::time::sleep(Duration::from_millis(settings.redeliver_after_ms * u64::from(number - 1))).await;
        let Some(state) = state.upgrade() else { return };
        if attempt_delivery(&state, &http, &delivery, number).await {
            break;
        }
    }
    if let Some(state) = state.upgrade() {
        record_posted(&state, delivery);
    }
}

fn find_webhook(state: &Mutex<FakeState>, id: &str) -> Option<RegisteredWebhook> {
    lock_mutex(state).webhooks.list().find(|webhook| webhook.id == id).cloned()
}

/// Makes one POST to the webhook's current target. Returns true for any 2xx, and if the webhook is
/// gone.
async fn attempt_delivery(
    state: &Mutex<FakeState>,
    http: &reqwest::Client,
    delivery: &WebhookDelivery,
    number: u32,
) -> bool {
    let Some(webhook) = find_webhook(state, &delivery.webhook) else { return true };
    let RegisteredWebhook { id: webhook_id, line_id, target_url, .. } = webhook;
    let response = http
        .post(target_url)
        .timeout(TIMEOUT)
        .header("content-type", "application/json")
        .header("x-ezw-webhook-event", &delivery.event)
        .header("x-ezw-line-id", line_id)
        .header("x-ezw-webhook-id", &webhook_id)
        .header("x-ezw-delivery-id", &delivery.id)
        .body(delivery.body.clone())
        .send()
        .await;
    let status = match response {
        Ok(response) => Some(response.status()),
        Err(error) => {
            tracing::debug!(error = %error.without_url(), webhook = webhook_id, "a webhook target did not respond");
            None
        }
    };
    let mut state = lock_mutex(state);
    let at = state.now_ms();
    state.record_attempt(WebhookAttempt {
        delivery_id: delivery.id.clone(),
        event: delivery.event.clone(),
        webhook_id,
        attempt: number,
        status: status.map(|status| status.as_u16()),
        at,
    });
    status.is_some_and(|status| status.is_success())
}
