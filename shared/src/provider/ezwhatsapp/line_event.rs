//! Webhook deliveries of a line.
//!
//! `EZWhatsApp` publishes one sample of each event, and names the format after an interface (whapi)
//! that differs from its samples in details. So both are accepted: the name of an event is text or
//! an object, and fields have either spelling.

use serde::Deserialize;

use crate::{
    json::{self, JsonError, RawJson},
    provider::{DeliveryProgress, LineEventBody, LineEventItem, LineEventKind, ReportedStatus},
};

/// Ends of chat ids that belong to groups, channels and lists.
const GROUP_CHAT_SUFFIXES: [&str; 3] = ["@g.us", "@newsletter", "@broadcast"];

#[derive(Deserialize)]
struct Delivery<'a> {
    #[serde(borrow, default)]
    event: RawJson<'a>,
    #[serde(borrow, default)]
    messages: RawJson<'a>,
    #[serde(borrow, default)]
    statuses: RawJson<'a>,
    #[serde(borrow, default)]
    chats: RawJson<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    id: RawJson<'a>,
    #[serde(borrow, default)]
    message_id: RawJson<'a>,
    #[serde(borrow, default)]
    chat_id: RawJson<'a>,
    #[serde(borrow, default, rename = "conversationId")]
    conversation: RawJson<'a>,
    #[serde(borrow, default, rename = "conversation_id")]
    conversation_snake: RawJson<'a>,
    #[serde(borrow, default, rename = "contactPhoneNumber")]
    phone: RawJson<'a>,
    #[serde(borrow, default, rename = "contact_phone_number")]
    phone_snake: RawJson<'a>,
    #[serde(borrow, default)]
    from_me: RawJson<'a>,
    #[serde(borrow, default)]
    timestamp: RawJson<'a>,
    #[serde(borrow, default, rename = "type")]
    kind: RawJson<'a>,
    #[serde(borrow, default)]
    text: RawJson<'a>,
    #[serde(borrow, default)]
    body: RawJson<'a>,
    #[serde(borrow, default)]
    status: RawJson<'a>,
}

pub(in crate::provider) fn parse_body(body: &[u8]) -> Result<LineEventBody<'_>, JsonError> {
    let delivery: Delivery<'_> = json::parse_object(body)?;
    let Delivery { event, messages, statuses, chats } = delivery;
    Ok(LineEventBody { event: parse_event_name(event), messages, statuses, chats })
}

/// `messages.post`, or `{"type": "messages", "event": "post"}`.
fn parse_event_name(event: RawJson<'_>) -> Option<String> {
    let part = |name: &str| event.at_pointer(name).owned_text();
    event.owned_text().or_else(|| Some(format!("{}.{}", part("/type")?, part("/event")?)))
}

pub(in crate::provider) fn kind_of(name: &str) -> Option<LineEventKind> {
    match name {
        "messages.post" => Some(LineEventKind::Messages),
        "statuses.post" => Some(LineEventKind::Statuses),
        "chats.post" => Some(LineEventKind::Chats),
        _ => None,
    }
}

pub(in crate::provider) fn parse_item(item: RawJson<'_>) -> Option<LineEventItem<'_>> {
    let item: Item<'_> = item.deserialize_as()?;
    let is_group = |chat: &str| GROUP_CHAT_SUFFIXES.iter().any(|end| chat.ends_with(end));
    Some(LineEventItem {
        id: (item.id, item.message_id),
        conversation: (item.conversation, item.conversation_snake),
        phone: (item.phone, item.phone_snake),
        is_group: item.chat_id.text().is_some_and(|chat| is_group(&chat)),
        from_me: item.from_me,
        timestamp: item.timestamp,
        kind: item.kind,
        texts: [item.text.at_pointer("/body"), item.body, item.text],
        status: item.status,
    })
}

/// The meaning of a status word. Only `delivered` is documented. The others are those of whapi, the
/// interface that `EZWhatsApp` imitates (`docs/ezwhatsapp.md`).
pub(in crate::provider) fn parse_status(word: &str) -> Option<ReportedStatus> {
    let known = [
        ("pending", ReportedStatus::Reached(DeliveryProgress::Pending)),
        ("sent", ReportedStatus::Reached(DeliveryProgress::Sent)),
        ("delivered", ReportedStatus::Reached(DeliveryProgress::Delivered)),
        ("read", ReportedStatus::Reached(DeliveryProgress::Read)),
        ("played", ReportedStatus::Reached(DeliveryProgress::Played)),
        ("failed", ReportedStatus::Failed),
        ("deleted", ReportedStatus::Deleted),
    ];
    known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, status)| status)
}
