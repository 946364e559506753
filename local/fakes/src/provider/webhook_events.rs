//! The events that webhooks get, in EZWhatsApp's documented payloads.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tellonce_core::hash::sha256_hex;
use url::Url;

use super::{
    records::{PhoneMessage, PhoneMessageDirection, RegisteredWebhook, TEXT},
    settings::WebhookSettings,
};

/// What happened, for all webhooks that ask for it.
#[derive(Clone, Debug)]
pub(super) struct WebhookEvent {
    pub(super) event: &'static str,
    pub(super) item: Value,
}

/// An event that one webhook has to get.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RaisedEvent {
    /// The delivery id, also after a restart.
    pub(super) id: String,
    /// The webhook's id.
    pub(super) webhook: String,
    pub(super) event: String,
    pub(super) item: Value,
}

/// `messages.post` and `chats.post` for a message of either side.
///
/// EZWhatsApp documents neither groups nor anything but texts. **Invented**, after whapi.cloud:
/// `from` is the group of a group message, the author's number is beside it, and the format of a
/// picture. <https://support.whapi.cloud/help-desk/receiving/webhooks/incoming-webhooks-format>
pub(super) fn build_message_events(message: &PhoneMessage, settings: &WebhookSettings) -> Vec<WebhookEvent> {
    let from_me = message.direction == PhoneMessageDirection::ToCustomer;
    let private_id = settings.private_ids.then(|| private_id_of(&message.contact));
    let chat = chat_id(message, private_id.as_deref());
    let contact = private_id.map_or_else(|| message.contact.clone(), |id| format!("+{id}"));
    let seconds = message.observed_at.unwrap_or(message.queued_at).div_euclid(1000);
    let (id, kind) = (&message.provider_id, &message.kind);
    let mut post = json!({
        "id": id, "message_id": id, "chat_id": chat, "from": chat,
        "conversationId": message.conversation_id, "conversation_id": message.conversation_id,
        "contactPhoneNumber": contact, "contact_phone_number": contact,
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
    vec![WebhookEvent { event: "messages.post", item: post }, WebhookEvent { event: "chats.post", item: chats }]
}

/// `statuses.post`.
pub(super) fn build_status_event(
    message: &PhoneMessage,
    status: &str,
    now_ms: i64,
    settings: &WebhookSettings,
) -> WebhookEvent {
    let seconds = now_ms.div_euclid(1000);
    let timestamp = if settings.whapi_event_object { json!(seconds.to_string()) } else { json!(seconds) };
    let id = &message.provider_id;
    WebhookEvent {
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

fn chat_id(message: &PhoneMessage, private_id: Option<&str>) -> String {
    match (&message.group, private_id) {
        (Some(group), _) => format!("{group}@g.us"),
        (None, Some(id)) => format!("{id}@lid"),
        (None, None) => format!("{}@s.whatsapp.net", message.contact.trim_start_matches('+')),
    }
}

/// The private id of a customer: 15 digits that stay the same and do not show the number.
pub(super) fn private_id_of(contact: &str) -> String {
    let hash = sha256_hex(contact.as_bytes(), 6);
    let number = u64::from_str_radix(&hash, 16).unwrap_or_default();
    format!("2{:014}", number % 100_000_000_000_000)
}

/// The path of an address on this machine, without its last segment, the secret. `None` for any
/// other machine.
pub(super) fn local_target_path(target_url: &str) -> Option<String> {
    let url = Url::parse(target_url).ok().filter(|url| url.host_str() == Some("127.0.0.1"))?;
    Some(url.path().rsplit_once('/')?.0.to_owned())
}

/// Whether a webhook of this line receives this event.
pub(super) fn wants_event(webhook: &RegisteredWebhook, line: &str, raised: &WebhookEvent) -> bool {
    webhook.enabled && webhook.line_id == line && webhook.events.iter().any(|event| event == raised.event)
}
