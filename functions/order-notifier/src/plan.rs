//! Plans the message for an order event: key, text and expiry. Pure.

use jiff::{Timestamp, tz::TimeZone};
use tellonce_core::{
    client_config::{ClientConfig, Milestone, Precedence, QuietHoursRule, StoreConfig},
    ledger::{Content, IdempotencyKey, MessageContext, OutboundMessage},
    wording::{self, TemplateValues, WordingError},
};

use crate::order_event::{OrderEvent, SkipReason};

/// Why a customer gets no message about an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The customer has no usable number.
    #[error("{0}")]
    Unreachable(SkipReason),
    /// The client configured no text for the milestone.
    #[error("no text is configured for `{}`", .0.name())]
    NoTextConfigured(Milestone),
    /// The text could not be built.
    #[error("{0}")]
    Wording(WordingError),
    /// The text breaks a limit of the provider.
    #[error("{0}")]
    TextRejected(tellonce_core::provider::MessageRejected),
}

impl NotSent {
    /// A stable name for rows and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(reason) => reason.code(),
            Self::NoTextConfigured(_) => "no-text-configured",
            Self::Wording(error) => error.code(),
            Self::TextRejected(error) => error.code(),
        }
    }

    /// The outcome that is stored with the delivery: code and explanation.
    pub fn to_outcome(&self) -> String {
        format!("{}: {self}", self.code())
    }
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
) -> OutboundMessage {
    let Some(rule) = config.messages.get(&event.milestone) else {
        return build_suppressed_message(
            store,
            event,
            NotSent::NoTextConfigured(event.milestone).to_outcome(),
            delivery,
            now,
        );
    };
    let content = event.contact.require_phone().map_err(NotSent::Unreachable).and_then(|phone| {
        let language = config.language_for(event.contact.locale.as_deref());
        let media = config.lines.get(&store.line).map(|line| line.media).unwrap_or_default();
        let values = build_values(config, store_name, store, event);
        let message = wording::build_message(rule.templates(), language, &values, media).map_err(NotSent::Wording)?;
        message.build_payload(phone).map_err(NotSent::TextRejected)
    });
    let ignores_quiet_hours = rule.quiet_hours == QuietHoursRule::Ignore;
    OutboundMessage {
        content: content.map_or_else(|reason| Content::Incomplete(reason.to_outcome()), Content::Send),
        useful_until: event.occurred_at + rule.useful_for.0,
        priority: rule.priority.unwrap_or(event.milestone.default_priority()),
        ignores_quiet_hours,
        not_before: if ignores_quiet_hours { None } else { config.quiet_hours_end(now) },
        ..build_suppressed_message(store, event, String::new(), delivery, now)
    }
}

/// Builds the record of an event that is known and not sent.
pub fn build_suppressed_message(
    store: &StoreConfig,
    event: &OrderEvent,
    reason: String,
    delivery: &str,
    now: Timestamp,
) -> OutboundMessage {
    OutboundMessage {
        key: IdempotencyKey::for_order(store.id_scope(), &event.order_id, event.milestone),
        precedence: Precedence::of_milestone(event.milestone, event.parcel.clone()),
        instance: event.instance.clone(),
        generation: None,
        zone: None,
        occurred_at: event.occurred_at,
        line: store.line.clone(),
        to: event.contact.phone.clone(),
        content: Content::Suppressed(reason),
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
