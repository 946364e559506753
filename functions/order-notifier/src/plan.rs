//! Plans the message for an order event: key, text and expiry. Pure.

use jiff::{Timestamp, tz::TimeZone};
use tellonce_core::{
    client_config::{ClientConfig, MessageRule, Precedence, QuietHoursRule, StoreConfig},
    inbox::DeliveryOutcome,
    ledger::{Content, IdempotencyKey, MessageContext, OutboundMessage},
    provider::Payload,
    wording::{self, TemplateValues},
};

use crate::{order_event::OrderEvent, order_outcome::OrderOutcome};

/// The message about an event.
#[derive(Debug, Clone)]
pub struct PlannedOrderMessage {
    /// The message to dispatch.
    pub message: OutboundMessage,
    /// Why the customer gets none, if its content is not to be sent.
    pub not_sent: Option<OrderOutcome>,
}

/// Builds the message for an event, or records why the customer gets none. `delivery` is the key of
/// its delivery in the inbox.
///
/// An event without a message is recorded too, because it supersedes messages that it makes untrue.
pub fn plan_order_message(
    config: &ClientConfig,
    store_name: &str,
    store: &StoreConfig,
    event: &OrderEvent,
    delivery: &str,
    now: Timestamp,
) -> PlannedOrderMessage {
    let Some(rule) = config.messages.get(&event.milestone) else {
        let not_sent = OrderOutcome::NoTextConfigured(event.milestone);
        let message = build_suppressed_message(store, event, not_sent.clone(), delivery, now);
        return PlannedOrderMessage { message, not_sent: Some(not_sent) };
    };
    let (content, not_sent) = match build_payload(config, store_name, store, rule, event) {
        Ok(payload) => (Content::Send(payload), None),
        Err(reason) => (Content::Incomplete(DeliveryOutcome::from(reason.clone()).to_string()), Some(reason)),
    };
    let ignores_quiet_hours = rule.quiet_hours == QuietHoursRule::Ignore;
    let message = OutboundMessage {
        useful_until: event.occurred_at + rule.useful_for.0,
        priority: rule.priority.unwrap_or(event.milestone.default_priority()),
        ignores_quiet_hours,
        not_before: if ignores_quiet_hours { None } else { config.quiet_hours_end(now) },
        ..build_record(store, event, content, delivery, now)
    };
    PlannedOrderMessage { message, not_sent }
}

fn build_payload(
    config: &ClientConfig,
    store_name: &str,
    store: &StoreConfig,
    rule: &MessageRule,
    event: &OrderEvent,
) -> Result<Payload, OrderOutcome> {
    let phone = event.contact.require_phone().map_err(OrderOutcome::Skipped)?;
    let language = config.language_for(event.contact.locale.as_deref());
    let media = config.lines.get(&store.line).map(|line| line.media).unwrap_or_default();
    let values = build_values(config, store_name, store, event);
    let message = wording::build_message(rule.templates(), language, &values, media).map_err(OrderOutcome::Wording)?;
    message.build_payload(phone).map_err(OrderOutcome::TextRejected)
}

/// Builds the record of an event that is known and not sent.
pub fn build_suppressed_message(
    store: &StoreConfig,
    event: &OrderEvent,
    reason: OrderOutcome,
    delivery: &str,
    now: Timestamp,
) -> OutboundMessage {
    let reason = DeliveryOutcome::from(reason).to_string();
    build_record(store, event, Content::Suppressed(reason), delivery, now)
}

/// A message without the settings for a send.
fn build_record(
    store: &StoreConfig,
    event: &OrderEvent,
    content: Content,
    delivery: &str,
    now: Timestamp,
) -> OutboundMessage {
    OutboundMessage {
        key: IdempotencyKey::for_order(store.id_scope(), &event.order_id, event.milestone),
        precedence: Precedence::of_milestone(event.milestone, event.parcel.clone()),
        instance: event.instance.clone(),
        generation: None,
        zone: None,
        text_zone: None,
        consent: None,
        released_at: None,
        occurred_at: event.occurred_at,
        line: store.line.clone(),
        to: event.contact.phone.clone(),
        content,
        useful_until: now,
        priority: 0,
        ignores_quiet_hours: false,
        not_before: None,
        delivery: delivery.to_owned(),
        context: build_context(event),
    }
}

/// The variables about a parcel that later messages may need too.
const LASTING_VARIABLES: [&str; 3] = ["tracking_url", "tracking_number", "tracking_company"];

/// The longest value that is stored for later events, in bytes.
const MAX_VALUE_BYTES: usize = 512;

/// The data that later events of this order may need and may not contain.
fn build_context(event: &OrderEvent) -> MessageContext {
    let lasting = event.values.iter().filter(|(name, _)| LASTING_VARIABLES.contains(&name.as_str()));
    // A sender's values have no length limit, and a ledger row has one.
    let bounded = |value: &Option<String>| value.as_ref().filter(|value| value.len() <= MAX_VALUE_BYTES).cloned();
    MessageContext {
        name: bounded(&event.contact.name),
        locale: bounded(&event.contact.locale),
        order_number: bounded(&event.order_number),
        values: lasting
            .filter(|(_, value)| value.len() <= MAX_VALUE_BYTES)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

fn build_values(config: &ClientConfig, store_name: &str, store: &StoreConfig, event: &OrderEvent) -> TemplateValues {
    let mut values = TemplateValues::new();
    for (name, value) in &event.values {
        match format_local_time(config, value).filter(|_| TIME_VARIABLES.contains(&name.as_str())) {
            Some(time) => values.set(name, &time),
            None => values.set(name, value),
        }
    }
    values.set("order_number", event.order_number.as_deref().unwrap_or(&event.order_id));
    let shop = store.name.as_deref().unwrap_or(&config.name);
    values.set("store_name", if shop.is_empty() { store_name } else { shop });
    if let Some(name) = &event.contact.name {
        values.set_customer(name);
    }
    values
}

/// The variables that may hold a time.
const TIME_VARIABLES: [&str; 3] = ["delivery_from", "delivery_to", "pickup_until"];

/// A time with an offset, in the client's time zone: `2026-11-21 09:00`.
fn format_local_time(config: &ClientConfig, value: &str) -> Option<String> {
    let timestamp: Timestamp = value.parse().ok()?;
    let zone = TimeZone::get(&config.time_zone).ok()?;
    Some(timestamp.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string())
}
