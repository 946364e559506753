//! Deliveries to webhook targets: EZWhatsApp's payloads and headers, and the faults on the way.
//!
//! Payloads and the four `X-EZW-*` headers follow the documented samples. When and how often a
//! delivery is repeated is invented. Deliveries are not signed, because no signature is documented.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::lock_mutex;

use super::{
    records::{RegisteredWebhook, WebhookAttempt},
    settings::WebhookSettings,
    state::{FakeState, new_id},
    webhook_events::QueuedWebhookEvent,
};

/// How long a target may take to respond. Invented.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the delivery task of one webhook. It ends when the returned sender is dropped.
pub(super) fn start_delivery_task(
    state: &Arc<Mutex<FakeState>>,
    http: &reqwest::Client,
    webhook: RegisteredWebhook,
) -> UnboundedSender<QueuedWebhookEvent> {
    let (queue, receiver) = unbounded_channel();
    tokio::spawn(deliver_events(Arc::downgrade(state), http.clone(), webhook, receiver));
    queue
}

async fn deliver_events(
    state: Weak<Mutex<FakeState>>,
    http: reqwest::Client,
    webhook: RegisteredWebhook,
    mut queue: UnboundedReceiver<QueuedWebhookEvent>,
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
        for (event, items) in group_deliveries(group, settings.batch) {
            if settings.delay_ms > 0 {
                tokio::time::sleep(Duration::from_millis(settings.delay_ms)).await;
            }
            let Some(state) = state.upgrade() else { return };
            let delivery = SignedWebhookDelivery {
                id: new_id("delivery"),
                event,
                body: build_payload(event, items, settings.whapi_event_object).to_string(),
                webhook: webhook.clone(),
            };
            let accepted = attempt_delivery(&state, &http, &delivery, 1).await;
            if settings.duplicate {
                attempt_delivery(&state, &http, &delivery, 1).await;
            }
            if !accepted {
                tokio::spawn(retry_delivery(Arc::downgrade(&state), http.clone(), delivery, settings.clone()));
            }
        }
        let Some(state) = state.upgrade() else { return };
        let mut state = lock_mutex(&state);
        // A reset may have set it to zero in between.
        state.pending_deliveries = state.pending_deliveries.saturating_sub(event_count);
    }
}

fn group_deliveries(group: Vec<QueuedWebhookEvent>, batch: bool) -> Vec<(&'static str, Vec<Value>)> {
    let mut grouped: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for QueuedWebhookEvent { event, item } in group {
        match grouped.iter_mut().find(|(known, _)| batch && *known == event) {
            Some((_, items)) => items.push(item),
            None => grouped.push((event, vec![item])),
        }
    }
    grouped
}

fn build_payload(event: &str, items: Vec<Value>, event_object: bool) -> Value {
    let kind = event.split('.').next().unwrap_or(event);
    let mut body = Map::new();
    let name = if event_object { json!({"type": kind, "event": "post"}) } else { json!(event) };
    body.insert("event".to_owned(), name);
    body.insert(kind.to_owned(), Value::Array(items));
    Value::Object(body)
}

struct SignedWebhookDelivery {
    id: String,
    event: &'static str,
    body: String,
    webhook: RegisteredWebhook,
}

async fn retry_delivery(
    state: Weak<Mutex<FakeState>>,
    http: reqwest::Client,
    delivery: SignedWebhookDelivery,
    settings: WebhookSettings,
) {
    for number in 2..=settings.attempts {
        tokio::time::sleep(Duration::from_millis(settings.redeliver_after_ms * u64::from(number - 1))).await;
        let Some(state) = state.upgrade() else { return };
        if attempt_delivery(&state, &http, &delivery, number).await {
            return;
        }
    }
}

/// Makes one POST. Returns true for any 2xx.
async fn attempt_delivery(
    state: &Mutex<FakeState>,
    http: &reqwest::Client,
    delivery: &SignedWebhookDelivery,
    number: u32,
) -> bool {
    let response = http
        .post(&delivery.webhook.target_url)
        .timeout(TIMEOUT)
        .header("content-type", "application/json")
        .header("x-ezw-webhook-event", delivery.event)
        .header("x-ezw-line-id", &delivery.webhook.line_id)
        .header("x-ezw-webhook-id", &delivery.webhook.id)
        .header("x-ezw-delivery-id", &delivery.id)
        .body(delivery.body.clone())
        .send()
        .await;
    let status = match response {
        Ok(response) => Some(response.status()),
        Err(error) => {
            tracing::debug!(error = %error.without_url(), webhook = delivery.webhook.id, "a webhook target did not respond");
            None
        }
    };
    let mut state = lock_mutex(state);
    let at = state.now_ms();
    state.record_attempt(WebhookAttempt {
        delivery_id: delivery.id.clone(),
        event: delivery.event.to_owned(),
        webhook_id: delivery.webhook.id.clone(),
        attempt: number,
        status: status.map(|status| status.as_u16()),
        at,
    });
    status.is_some_and(|status| status.is_success())
}
