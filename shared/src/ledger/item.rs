//! Rows as items of the table.
//!
//! Attribute names are part of the table's contract: console, indexes and alarms use them.

use super::{
    delivery_status::DeliveryStatus,
    idempotency_key::IdempotencyKey,
    row::{ClaimOwner, Consent, LedgerRow, MessageContext, MessageState},
};
use crate::{
    attributes::{Item, ItemReader, ItemWriter},
    client_config::Precedence,
    contact::Phone,
    provider::{DeliveryProgress, Payload, SendRoute},
};

/// An item of the ledger lacks a required attribute, or the attribute does not parse.
#[derive(Debug, thiserror::Error)]
#[error("the ledger row {key} has no usable `{attribute}`")]
pub struct LedgerItemError {
    key: String,
    attribute: &'static str,
}

impl LedgerItemError {
    pub(super) fn new(key: String, attribute: &'static str) -> Self {
        Self { key, attribute }
    }
}

/// The item of a row. `contact` is its key in the index of messages by contact. `ttl` is when the
/// table deletes the item, in seconds since 1970.
pub(super) fn to_item(row: &LedgerRow, contact: Option<&str>, ttl: i64) -> Item {
    let mut item = ItemWriter::with_capacity(24);
    item.text("subject", row.key.subject());
    item.text("stage", row.key.stage());
    item.text("state", row.state.name());
    item.number("version", row.version);
    item.number("rank", row.precedence.rank);
    item.number("supersedes", row.precedence.supersedes);
    item.optional_text("parcel", row.precedence.parcel.as_deref());
    item.flag("latest_only", row.precedence.latest_only);
    item.optional_text("instance", row.instance.as_deref());
    if let Some(generation) = row.generation {
        item.number("generation", generation);
    }
    item.optional_text("zone", row.zone.as_deref());
    item.optional_text("text_zone", row.text_zone.as_deref());
    if let Some(consent) = &row.consent {
        item.text("consent", consent.source.as_str());
        item.time("consent_at", consent.at);
    }
    item.optional_time("released_at", row.released_at);
    item.time("occurred_at", row.occurred_at);
    item.text("line", row.line.as_str());
    item.optional_text("to", row.to.as_ref().map(Phone::expose));
    if let Some(payload) = &row.payload {
        item.text("route", payload.route.path());
        item.text("request", payload.body.as_str());
    }
    item.time("useful_until", row.useful_until);
    item.number("priority", row.priority);
    item.flag("ignores_quiet_hours", row.ignores_quiet_hours);
    item.optional_text("owner", row.owner.as_ref().map(|owner| owner.0.as_str()));
    item.optional_time("lease_until", row.lease_until);
    item.optional_text("due_queue", row.due_at.map(|_| row.line.as_str()));
    item.optional_time("due_at", row.due_at);
    item.optional_time("waiting_since", row.waiting_since);
    if row.attempts > 0 {
        item.number("attempts", row.attempts);
    }
    item.optional_time("first_attempt_at", row.first_attempt_at);
    item.optional_text("reason", row.reason.as_deref());
    item.optional_text("provider_id", row.provider_id.as_deref());
    item.optional_time("accepted_at", row.accepted_at);
    item.optional_text("message_id", row.message_id.as_deref());
    item.optional_text("delivery_status", row.delivery_status.reached.map(DeliveryProgress::name));
    item.flag("failed", row.delivery_status.failed);
    item.flag("deleted", row.delivery_status.deleted);
    item.optional_time("delivery_status_at", row.delivery_status_at);
    item.text("delivery", row.delivery.as_str());
    item.optional_text("name", row.context.name.as_deref());
    item.optional_text("locale", row.context.locale.as_deref());
    item.optional_text("order_number", row.context.order_number.as_deref());
    item.texts("values", row.context.values.iter());
    item.time("created_at", row.created_at);
    item.time("updated_at", row.updated_at);
    item.optional_text("contact", contact);
    item.number("ttl", ttl);
    item.into_item()
}

/// The row of an item.
pub(super) fn from_item(item: &Item) -> Result<LedgerRow, LedgerItemError> {
    let item = ItemReader(item);
    let key =
        IdempotencyKey::from_parts(item.owned("subject").unwrap_or_default(), item.owned("stage").unwrap_or_default());
    let missing = |attribute: &'static str| LedgerItemError { key: key.to_string(), attribute };
    let small = |name: &'static str| item.number(name).ok_or(missing(name));
    let time = |name: &'static str| item.time(name).ok_or(missing(name));
    let payload = match (item.text("route"), item.owned("request")) {
        (Some(route), Some(body)) => {
            Some(Payload { route: SendRoute::from_path(route).ok_or(missing("route"))?, body })
        }
        _ => None,
    };
    Ok(LedgerRow {
        state: item.text("state").and_then(MessageState::from_name).ok_or(missing("state"))?,
        version: item.number("version").ok_or(missing("version"))?,
        precedence: Precedence {
            rank: small("rank")?,
            supersedes: small("supersedes")?,
            parcel: item.owned("parcel"),
            latest_only: item.flag("latest_only"),
        },
        instance: item.owned("instance"),
        generation: item.number("generation"),
        zone: item.owned("zone"),
        text_zone: item.owned("text_zone"),
        consent: item.owned("consent").zip(item.time("consent_at")).map(|(source, at)| Consent { source, at }),
        released_at: item.time("released_at"),
        occurred_at: time("occurred_at")?,
        line: item.owned("line").ok_or(missing("line"))?,
        to: item.text("to").map(Phone::from_e164).transpose().map_err(|_| missing("to"))?,
        payload,
        useful_until: time("useful_until")?,
        priority: small("priority")?,
        ignores_quiet_hours: item.flag("ignores_quiet_hours"),
        owner: item.owned("owner").map(ClaimOwner),
        lease_until: item.time("lease_until"),
        due_at: item.time("due_at"),
        waiting_since: item.time("waiting_since"),
        attempts: item.number("attempts").unwrap_or(0),
        first_attempt_at: item.time("first_attempt_at"),
        reason: item.owned("reason"),
        provider_id: item.owned("provider_id"),
        accepted_at: item.time("accepted_at"),
        message_id: item.owned("message_id"),
        delivery_status: DeliveryStatus {
            reached: item.text("delivery_status").and_then(DeliveryProgress::from_name),
            failed: item.flag("failed"),
            deleted: item.flag("deleted"),
        },
        delivery_status_at: item.time("delivery_status_at"),
        delivery: item.owned("delivery").unwrap_or_default(),
        context: read_context(item),
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
        key,
    })
}

fn read_context(item: ItemReader<'_>) -> MessageContext {
    MessageContext {
        name: item.owned("name"),
        locale: item.owned("locale"),
        order_number: item.owned("order_number"),
        values: item.texts("values").unwrap_or_default(),
    }
}
