//! Rows as items of the table. Attribute names are part of the table's contract: console, indexes and alarms use them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue as Value;
use jiff::Timestamp;

use super::{
    delivery_status::{DeliveryProgress, DeliveryStatus},
    idempotency_key::IdempotencyKey,
    row::{ClaimOwner, LedgerRow, MessageContext, MessageState},
};
use crate::{
    client_config::Precedence,
    clock::{UnixMillis, from_millis},
    contact::Phone,
    provider::{Payload, SendRoute},
};

/// An item of the ledger cannot be read.
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

/// The item of a row. `contact_subject` is by whom it is found in the index of what one customer was told; `ttl` is when the table
/// forgets it, in seconds since 1970.
pub(super) fn to_item(row: &LedgerRow, contact: Option<String>, ttl: i64) -> HashMap<String, Value> {
    let mut item = HashMap::with_capacity(24);
    let mut put = |name: &str, value: Value| {
        item.insert(name.to_owned(), value);
    };
    let text = |value: &str| Value::S(value.to_owned());
    let number = |value: i64| Value::N(value.to_string());
    let time = |at: Timestamp| Value::N(at.unix_millis().to_string());
    put("subject", text(row.key.subject()));
    put("stage", text(row.key.stage()));
    put("state", text(row.state.name()));
    put("version", Value::N(row.version.to_string()));
    put("rank", number(row.precedence.rank.into()));
    put("supersedes", number(row.precedence.supersedes.into()));
    put("occurred_at", time(row.occurred_at));
    put("line", text(&row.line));
    put("useful_until", time(row.useful_until));
    put("priority", number(row.priority.into()));
    put("delivery", text(&row.delivery));
    put("created_at", time(row.created_at));
    put("updated_at", time(row.updated_at));
    put("ttl", number(ttl));
    if let Some(contact) = contact {
        put("contact", Value::S(contact));
    }
    if let Some(reached) = row.delivery_status.reached {
        put("delivery_status", text(reached.name()));
    }
    for (name, truth) in [("failed", row.delivery_status.failed), ("deleted", row.delivery_status.deleted)] {
        if truth {
            put(name, Value::Bool(true));
        }
    }
    if row.ignores_quiet_hours {
        put("ignores_quiet_hours", Value::Bool(true));
    }
    if row.precedence.latest_only {
        put("latest_only", Value::Bool(true));
    }
    if !row.context.values.is_empty() {
        let values = row.context.values.iter().map(|(name, value)| (name.clone(), text(value)));
        put("values", Value::M(values.collect()));
    }
    if row.attempts > 0 {
        put("attempts", number(row.attempts.into()));
    }
    if let Some(payload) = &row.payload {
        put("route", text(payload.route.path()));
        put("request", text(&payload.body));
    }
    if let Some(generation) = row.generation {
        put("generation", Value::N(generation.to_string()));
    }
    if let Some(due) = row.due_at {
        put("due_queue", text(&row.line));
        put("due_at", time(due));
    }
    let texts = [
        ("parcel", row.precedence.parcel.as_deref()),
        ("instance", row.instance.as_deref()),
        ("zone", row.zone.as_deref()),
        ("to", row.to.as_ref().map(Phone::expose)),
        ("owner", row.owner.as_ref().map(|owner| owner.0.as_str())),
        ("reason", row.reason.as_deref()),
        ("provider_id", row.provider_id.as_deref()),
        ("message_id", row.message_id.as_deref()),
        ("name", row.context.name.as_deref()),
        ("locale", row.context.locale.as_deref()),
        ("order_number", row.context.order_number.as_deref()),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            put(name, text(value));
        }
    }
    let times = [
        ("lease_until", row.lease_until),
        ("first_attempt_at", row.first_attempt_at),
        ("accepted_at", row.accepted_at),
        ("delivery_status_at", row.delivery_status_at),
    ];
    for (name, value) in times {
        if let Some(at) = value {
            put(name, time(at));
        }
    }
    item
}

/// The row of an item.
pub(super) fn from_item(item: &HashMap<String, Value>) -> Result<LedgerRow, LedgerItemError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let owned = |name: &str| text(name).cloned();
    let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok()).and_then(|n| n.parse::<i64>().ok());
    let time = |name: &str| number(name).map(from_millis);
    let truth = |name: &str| item.get(name).is_some_and(|value| value.as_bool() == Ok(&true));
    let key = IdempotencyKey::from_parts(owned("subject").unwrap_or_default(), owned("stage").unwrap_or_default());
    let missing = |attribute: &'static str| LedgerItemError { key: key.to_string(), attribute };
    let small = |name: &'static str| number(name).and_then(|n| u8::try_from(n).ok()).ok_or(missing(name));
    let payload = match (text("route"), owned("request")) {
        (Some(route), Some(body)) => {
            Some(Payload { route: SendRoute::from_path(route).ok_or(missing("route"))?, body })
        }
        _ => None,
    };
    Ok(LedgerRow {
        state: text("state").and_then(|name| MessageState::from_name(name)).ok_or(missing("state"))?,
        version: number("version").and_then(|n| u64::try_from(n).ok()).ok_or(missing("version"))?,
        precedence: Precedence {
            rank: small("rank")?,
            supersedes: small("supersedes")?,
            parcel: owned("parcel"),
            latest_only: truth("latest_only"),
        },
        instance: owned("instance"),
        generation: number("generation").and_then(|n| u64::try_from(n).ok()),
        zone: owned("zone"),
        occurred_at: time("occurred_at").ok_or(missing("occurred_at"))?,
        line: owned("line").ok_or(missing("line"))?,
        to: match text("to") {
            Some(phone) => Some(Phone::from_e164(phone).map_err(|_| missing("to"))?),
            None => None,
        },
        payload,
        useful_until: time("useful_until").ok_or(missing("useful_until"))?,
        priority: small("priority")?,
        ignores_quiet_hours: truth("ignores_quiet_hours"),
        owner: owned("owner").map(ClaimOwner),
        lease_until: time("lease_until"),
        due_at: time("due_at"),
        attempts: number("attempts").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        first_attempt_at: time("first_attempt_at"),
        reason: owned("reason"),
        provider_id: owned("provider_id"),
        accepted_at: time("accepted_at"),
        message_id: owned("message_id"),
        delivery_status: DeliveryStatus {
            reached: text("delivery_status").and_then(|name| DeliveryProgress::from_name(name)),
            failed: truth("failed"),
            deleted: truth("deleted"),
        },
        delivery_status_at: time("delivery_status_at"),
        delivery: owned("delivery").unwrap_or_default(),
        context: MessageContext {
            name: owned("name"),
            locale: owned("locale"),
            order_number: owned("order_number"),
            values: item
                .get("values")
                .and_then(|value| value.as_m().ok())
                .map(|values| {
                    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_s().ok()?.clone()));
                    values.iter().filter_map(text).collect()
                })
                .unwrap_or_default(),
        },
        created_at: time("created_at").ok_or(missing("created_at"))?,
        updated_at: time("updated_at").ok_or(missing("updated_at"))?,
        key,
    })
}
