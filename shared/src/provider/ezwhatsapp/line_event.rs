//! Webhook deliveries of a line.
//!
//! `EZWhatsApp` publishes one sample of each event, and names the format after an interface (whapi)
//! that differs from its samples in details. So both are accepted: the name of an event is text or
//! an object, and fields have either spelling.

use serde::Deserialize;

use super::{item_contact::parse_contact, item_content::parse_content, item_members::ItemMembers};
use crate::{
    json::{self, JsonError, RawJson},
    provider::{DeliveryProgress, LineEventBody, LineEventItem, LineEventKind, ReportedStatus},
};

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

/// The members that hold the time of a message.
const TIME_NAMES: [&str; 4] = ["timestamp", "messagetimestamp", "sentat", "t"];
/// Where `key` may be, with the id and the author of a message in Baileys' form.
const KEY_PLACES: [&str; 4] = ["/key", "/_data/key", "/_data/id", "/data/key"];

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
    let members = ItemMembers::of(item)?;
    let in_key = |name: &'static str| KEY_PLACES.iter().map(move |place| item.at_pointer(place).at_pointer(name));
    let from_me = std::iter::once(members.get("fromme")).chain(in_key("/fromMe")).find_map(parse_flag);
    let id = (members.get("id"), members.get("messageid"));
    let has_id = id.0.text().is_some() || id.1.text().is_some();
    let key_id = || in_key("/id").find(|id| id.text().is_some()).unwrap_or_default();
    Some(LineEventItem {
        id: if has_id { id } else { (key_id(), RawJson::default()) },
        conversation: members.spellings("conversationid"),
        // A status is about a message of the line.
        contact: parse_contact(item, &members, from_me.unwrap_or(true)),
        from_me,
        timestamp: members.first(&TIME_NAMES),
        content: parse_content(&members),
        status: members.get("status"),
    })
}

fn parse_flag(value: RawJson<'_>) -> Option<bool> {
    match value.text().as_deref()? {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
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
