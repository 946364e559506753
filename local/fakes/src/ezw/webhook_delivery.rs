//! Deliveries to webhook targets: EZWhatsApp's payloads and headers, and the faults on the way.
//!
//! Payloads and the four `X-EZW-*` headers follow the documented samples. When and how often a
//! delivery is repeated is invented. Deliveries are not signed, because no signature is documented.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;

use super::{
    FakeCore,
    records::{EzwWebhook, PhoneMessage, PhoneMessageDirection, TEXT, WebhookAttempt},
    settings::WebhookSettings,
    state::new_id,
};

/// How long a target may take to respond. Invented.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An event for a webhook.
#[derive(Clone, Debug)]
pub(super) struct QueuedWebhookEvent {
    event: &'static str,
    item: Value,
}

/// `messages.post` and `chats.post` for a message of either side.
///
/// EZWhatsApp documents neither groups nor anything but texts. **Invented**, after whapi.cloud:
/// `from` is the group of a group message, the author's number is beside it, and the format of a
/// picture. <https://support.whapi.cloud/help-desk/receiving/webhooks/incoming-webhooks-format>
pub(super) fn build_message_events(message: &PhoneMessage, settings: &WebhookSettings) -> Vec<QueuedWebhookEvent> {
    let from_me = message.direction == PhoneMessageDirection::ToCustomer;
    let chat = chat_id(message);
    let seconds = message.observed_at.unwrap_or(message.queued_at).div_euclid(1000);
    let (id, kind) = (&message.provider_id, &message.kind);
    let mut post = json!({
        "id": id, "message_id": id, "chat_id": chat, "from": chat,
        "conversationId": message.conversation_id, "conversation_id": message.conversation_id,
        "contactPhoneNumber": message.contact, "contact_phone_number": message.contact,
        "from_me": from_me, "timestamp": seconds, "type": kind
    });
    let mut last = json!({"id": id, "type": kind, "from_me": from_me});
    if kind == TEXT {
        post["text"] = json!({"body": message.body});
        post["body"] = json!(message.body);
        last["body"] = json!(message.body);
    } else {
        post[kind] = json!({"id": format!("media-{id}"), "caption": message.body});
    }
    let chat_type = if message.group.is_some() { "group" } else { "individual" };
    let mut chats = json!({
        "id": chat, "chat_id": chat, "conversationId": message.conversation_id, "type": chat_type,
        "timestamp": seconds, "last_message": last
    });
    if settings.omit_conversation_id {
        for item in [&mut post, &mut chats] {
            if let Value::Object(fields) = item {
                fields.remove("conversationId");
                fields.remove("conversation_id");
            }
        }
    }
    vec![
        QueuedWebhookEvent { event: "messages.post", item: post },
        QueuedWebhookEvent { event: "chats.post", item: chats },
    ]
}

/// `statuses.post`.
pub(super) fn build_status_event(
    message: &PhoneMessage,
    status: &str,
    now_ms: i64,
    settings: &WebhookSettings,
) -> QueuedWebhookEvent {
    let seconds = now_ms.div_euclid(1000);
    let timestamp = if settings.whapi_event_object { json!(seconds.to_string()) } else { json!(seconds) };
    let id = &message.provider_id;
    QueuedWebhookEvent {
        event: "statuses.post",
        item: json!({"id": id, "message_id": id, "status": status, "timestamp": timestamp}),
    }
}

/// The statuses of a message that reached the phone, as configured.
pub(super) fn reported_statuses(settings: &WebhookSettings) -> Vec<&'static str> {
    let delivered = if settings.unknown_status { "teleported" } else { "delivered" };
    [(settings.report_sent, "sent"), (settings.report_delivered, delivered), (settings.report_read, "read")]
        .into_iter()
        .filter_map(|(on, status)| on.then_some(status))
        .collect()
}

fn chat_id(message: &PhoneMessage) -> String {
    match &message.group {
        Some(group) => format!("{group}@g.us"),
        None => format!("{}@s.whatsapp.net", message.contact.trim_start_matches('+')),
    }
}

/// The path of an address on this machine, without its last segment, the secret. `None` for any
/// other machine.
pub(super) fn local_target_path(target_url: &str) -> Option<String> {
    let url = Url::parse(target_url).ok().filter(|url| url.host_str() == Some("127.0.0.1"))?;
    Some(url.path().rsplit_once('/')?.0.to_owned())
}

/// Starts the delivery task of one webhook. It ends when the returned sender is dropped.
pub(super) fn start_delivery_task(shared: &Arc<FakeCore>, webhook: EzwWebhook) -> UnboundedSender<QueuedWebhookEvent> {
    let (queue, receiver) = unbounded_channel();
    tokio::spawn(deliver_events(Arc::downgrade(shared), webhook, receiver));
    queue
}

async fn deliver_events(shared: Weak<FakeCore>, webhook: EzwWebhook, mut queue: UnboundedReceiver<QueuedWebhookEvent>) {
    while let Some(first) = queue.recv().await {
        let Some(settings) = shared.upgrade().map(|shared| shared.lock_state().settings.webhooks.clone()) else {
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
            let Some(shared) = shared.upgrade() else { return };
            let delivery = EzwWebhookDelivery {
                id: new_id("delivery"),
                event,
                body: build_payload(event, items, settings.whapi_event_object).to_string(),
                webhook: webhook.clone(),
            };
            let accepted = attempt_delivery(&shared, &delivery, 1).await;
            if settings.duplicate {
                attempt_delivery(&shared, &delivery, 1).await;
            }
            if !accepted {
                tokio::spawn(retry_delivery(Arc::downgrade(&shared), delivery, settings.clone()));
            }
        }
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.lock_state();
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

struct EzwWebhookDelivery {
    id: String,
    event: &'static str,
    body: String,
    webhook: EzwWebhook,
}

async fn retry_delivery(shared: Weak<FakeCore>, delivery: EzwWebhookDelivery, settings: WebhookSettings) {
    for number in 2..=settings.attempts {
        tokio::time::sleep(Duration::from_millis(settings.redeliver_after_ms * u64::from(number - 1))).await;
        let Some(shared) = shared.upgrade() else { return };
        if attempt_delivery(&shared, &delivery, number).await {
            return;
        }
    }
}

/// Makes one POST. Returns true for any 2xx.
async fn attempt_delivery(shared: &FakeCore, delivery: &EzwWebhookDelivery, number: u32) -> bool {
    let response = shared
        .http
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
    let mut state = shared.lock_state();
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

/// Whether a webhook of this line receives this event.
pub(super) fn wants_event(webhook: &EzwWebhook, line: &str, raised: &QueuedWebhookEvent) -> bool {
    webhook.enabled && webhook.line_id == line && webhook.events.iter().any(|event| event == raised.event)
}
