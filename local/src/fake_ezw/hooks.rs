//! Deliveries to webhook targets: `EZWhatsApp`'s payloads and headers, and everything that can go wrong on the way.
//!
//! Payloads and the four `X-EZW-*` headers follow the documented samples. When a delivery is repeated, and how often, is
//! invented. No signature header is sent, because none is documented.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;

use super::{
    Shared,
    records::{Direction, HookAttempt, PhoneMessage, TEXT, Webhook},
    settings::WebhookSettings,
    world::new_id,
};

/// How long a target may take to answer. Invented.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something a webhook is to be told.
#[derive(Clone, Debug)]
pub(super) struct Raised {
    event: &'static str,
    item: Value,
}

/// `messages.post` and `chats.post` for a message either side wrote.
///
/// `EZWhatsApp` shows neither a group nor anything but texts. That `from` is the group where one writes in a group, that the
/// author's number stands beside it, and what a picture looks like, is **invented**, after whapi.cloud:
/// <https://support.whapi.cloud/help-desk/receiving/webhooks/incoming-webhooks-format>.
pub(super) fn message_events(message: &PhoneMessage, settings: &WebhookSettings) -> Vec<Raised> {
    let from_me = message.direction == Direction::ToCustomer;
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
    vec![Raised { event: "messages.post", item: post }, Raised { event: "chats.post", item: chats }]
}

/// `statuses.post`.
pub(super) fn status_event(message: &PhoneMessage, status: &str, now_ms: i64, settings: &WebhookSettings) -> Raised {
    let seconds = now_ms.div_euclid(1000);
    let timestamp = if settings.whapi_event_object { json!(seconds.to_string()) } else { json!(seconds) };
    let id = &message.provider_id;
    Raised {
        event: "statuses.post",
        item: json!({"id": id, "message_id": id, "status": status, "timestamp": timestamp}),
    }
}

/// The statuses a message that reached the phone goes through, by the switches.
pub(super) fn statuses(settings: &WebhookSettings) -> Vec<&'static str> {
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

/// Where on this machine an address leads, without its port and its secret last step; `None` for any other machine.
pub(super) fn place(target_url: &str) -> Option<String> {
    let url = Url::parse(target_url).ok().filter(|url| url.host_str() == Some("127.0.0.1"))?;
    Some(url.path().rsplit_once('/')?.0.to_owned())
}

/// Starts the courier of one webhook; it ends when the returned sender is dropped.
pub(super) fn courier(shared: &Arc<Shared>, webhook: Webhook) -> UnboundedSender<Raised> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(run(Arc::downgrade(shared), webhook, receiver));
    sender
}

async fn run(shared: Weak<Shared>, webhook: Webhook, mut queue: UnboundedReceiver<Raised>) {
    while let Some(first) = queue.recv().await {
        let Some(settings) = shared.upgrade().map(|shared| shared.world().settings.webhooks.clone()) else { return };
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
        let raised = group.len();
        for (event, items) in deliveries(group, settings.batch) {
            if settings.late_ms > 0 {
                tokio::time::sleep(Duration::from_millis(settings.late_ms)).await;
            }
            let Some(shared) = shared.upgrade() else { return };
            let delivery = Delivery {
                id: new_id("delivery"),
                event,
                body: payload(event, items, settings.whapi_event_object).to_string(),
                webhook: webhook.clone(),
            };
            let accepted = attempt(&shared, &delivery, 1).await;
            if settings.duplicate {
                attempt(&shared, &delivery, 1).await;
            }
            if !accepted {
                tokio::spawn(redeliver(Arc::downgrade(&shared), delivery, settings.clone()));
            }
        }
        let Some(shared) = shared.upgrade() else { return };
        let mut world = shared.world();
        // It may have been wiped meanwhile.
        world.under_way = world.under_way.saturating_sub(raised);
    }
}

fn deliveries(group: Vec<Raised>, batch: bool) -> Vec<(&'static str, Vec<Value>)> {
    let mut grouped: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for Raised { event, item } in group {
        match grouped.iter_mut().find(|(known, _)| batch && *known == event) {
            Some((_, items)) => items.push(item),
            None => grouped.push((event, vec![item])),
        }
    }
    grouped
}

fn payload(event: &str, items: Vec<Value>, event_object: bool) -> Value {
    let kind = event.split('.').next().unwrap_or(event);
    let mut body = Map::new();
    let name = if event_object { json!({"type": kind, "event": "post"}) } else { json!(event) };
    body.insert("event".to_owned(), name);
    body.insert(kind.to_owned(), Value::Array(items));
    Value::Object(body)
}

struct Delivery {
    id: String,
    event: &'static str,
    body: String,
    webhook: Webhook,
}

async fn redeliver(shared: Weak<Shared>, delivery: Delivery, settings: WebhookSettings) {
    for number in 2..=settings.attempts {
        tokio::time::sleep(Duration::from_millis(settings.redeliver_after_ms * u64::from(number - 1))).await;
        let Some(shared) = shared.upgrade() else { return };
        if attempt(&shared, &delivery, number).await {
            return;
        }
    }
}

/// One POST; true for any 2xx.
async fn attempt(shared: &Shared, delivery: &Delivery, number: u32) -> bool {
    let answer = shared
        .http
        .post(&delivery.webhook.target_url)
        .timeout(PATIENCE)
        .header("content-type", "application/json")
        .header("x-ezw-webhook-event", delivery.event)
        .header("x-ezw-line-id", &delivery.webhook.line_id)
        .header("x-ezw-webhook-id", &delivery.webhook.id)
        .header("x-ezw-delivery-id", &delivery.id)
        .body(delivery.body.clone())
        .send()
        .await;
    let status = match answer {
        Ok(answer) => Some(answer.status()),
        Err(error) => {
            tracing::debug!(error = %error.without_url(), webhook = delivery.webhook.id, "a webhook target gave no answer");
            None
        }
    };
    let mut world = shared.world();
    let at = world.now();
    world.note_attempt(HookAttempt {
        delivery_id: delivery.id.clone(),
        event: delivery.event.to_owned(),
        webhook_id: delivery.webhook.id.clone(),
        attempt: number,
        status: status.map(|status| status.as_u16()),
        at,
    });
    status.is_some_and(|status| status.is_success())
}

/// Whether a webhook of this line wants this.
pub(super) fn wants(webhook: &Webhook, line: &str, raised: &Raised) -> bool {
    webhook.enabled && webhook.line_id == line && webhook.events.iter().any(|event| event == raised.event)
}
