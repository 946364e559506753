//! From an order event to news for the ledger: key, words, and until when they are worth saying. Pure.

use jiff::{Timestamp, tz::TimeZone};
use shared::{
    client_config::{ClientConfig, Milestone, Place, Store},
    ledger::{Context, Key, News, Words},
    wording::{self, Values, WordingError},
};

use crate::order_event::{NothingBecause, OrderEvent};

/// Why nobody is told of an event that we understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTold {
    /// There is nobody to tell.
    #[error("{0}")]
    Nobody(NothingBecause),
    /// The client has no text for it.
    #[error("no text is configured for `{}`", .0.name())]
    NoRule(Milestone),
    /// The text could not be made.
    #[error("{0}")]
    Wording(WordingError),
    /// `EZWhatsApp` would not take the text.
    #[error("{0}")]
    Refused(shared::line::EzwError),
}

impl NotTold {
    /// What is recorded: stable, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Nobody(because) => because.code(),
            Self::NoRule(_) => "no-text-configured",
            Self::Wording(error) => error.code(),
            Self::Refused(error) => error.code(),
        }
    }

    /// The record that is kept beside the delivery: code and explanation.
    pub fn record(&self) -> String {
        format!("{}: {self}", self.code())
    }
}

/// News of an event of a store: what the customer is told of it, or why nothing is said. `delivery` is the key of its
/// delivery in the inbox.
///
/// A fact that nobody is told is news all the same: what it makes untrue must not be said any more.
pub fn plan(
    config: &ClientConfig,
    store_name: &str,
    store: &Store,
    event: &OrderEvent,
    delivery: &str,
    now: Timestamp,
) -> News {
    let Some(rule) = config.messages.get(&event.milestone) else {
        return note(store, event, NotTold::NoRule(event.milestone).record(), delivery, now);
    };
    let words = event.contact.reachable().map_err(NotTold::Nobody).and_then(|phone| {
        let language = config.language_for(event.contact.locale.as_deref());
        let media = config.lines.get(&store.line).map(|line| line.media).unwrap_or_default();
        let values = values(config, store_name, store, event);
        let message = wording::message(rule.texts(), language, &values, media).map_err(NotTold::Wording)?;
        message.payload(phone).map_err(NotTold::Refused)
    });
    News {
        words: words.map_or_else(|reason| Words::NotYet(reason.record()), Words::Say),
        useful_until: event.occurred_at + rule.useful_for.0,
        priority: rule.priority.unwrap_or(event.milestone.weight()),
        any_hour: rule.even_in_quiet_hours,
        not_before: if rule.even_in_quiet_hours { None } else { config.quiet_until(now) },
        ..note(store, event, String::new(), delivery, now)
    }
}

/// A fact that is to be known and not told.
pub fn note(store: &Store, event: &OrderEvent, because: String, delivery: &str, now: Timestamp) -> News {
    News {
        key: Key::order(store.order_book(), &event.order_id, event.milestone),
        place: Place::of(event.milestone, event.thread.clone()),
        instance: event.instance.clone(),
        generation: None,
        zone: None,
        occurred_at: event.occurred_at,
        line: store.line.clone(),
        to: event.contact.phone.clone(),
        words: Words::Never(because),
        useful_until: now,
        priority: 0,
        any_hour: false,
        not_before: None,
        delivery: delivery.to_owned(),
        context: context(event),
    }
}

/// What a text about a parcel says of it, however it was told first.
const LASTING: [&str; 3] = ["tracking_url", "tracking_number", "tracking_company"];

/// The longest value that is kept for later events, in bytes.
const LONGEST: usize = 512;

/// What later events of this order may need and may not say themselves.
fn context(event: &OrderEvent) -> Context {
    let lasting = event.values.iter().filter(|(name, _)| LASTING.contains(&name.as_str()));
    // A sender may say anything at any length; a row of the ledger has its limits.
    let short = |value: &Option<String>| value.as_ref().filter(|value| value.len() <= LONGEST).cloned();
    Context {
        name: short(&event.contact.name),
        locale: short(&event.contact.locale),
        order_number: short(&event.order_number),
        values: lasting
            .filter(|(_, value)| value.len() <= LONGEST)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

fn values(config: &ClientConfig, store_name: &str, store: &Store, event: &OrderEvent) -> Values {
    let mut values = Values::new();
    for (name, value) in &event.values {
        match local_time(config, value).filter(|_| TIMES.contains(&name.as_str())) {
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

/// Variables that may hold a moment.
const TIMES: [&str; 3] = ["delivery_from", "delivery_to", "pickup_until"];

/// A moment with an offset as the client's customers would read it off a clock: `2026-11-21 09:00`.
fn local_time(config: &ClientConfig, value: &str) -> Option<String> {
    let moment: Timestamp = value.parse().ok()?;
    let zone = TimeZone::get(&config.time_zone).ok()?;
    Some(moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string())
}
