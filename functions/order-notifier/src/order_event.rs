//! Main types: [`OrderEvent`], the event that a store reported; the verified `OrderDelivery` that
//! it comes from; and [`ParsedOrder`], what the delivery contains.
//!
//! The same event arrives through several topics and as repeats. The ledger's idempotency key
//! (order, [`Milestone`], [`OrderEvent::instance`]) ensures that its message is sent once.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::Deserialize;
use tellonce_core::{
    client_config::Milestone,
    clock,
    contact::{self, Phone, PhoneCandidate, PhoneError, PhoneRule},
    inbox, json,
};

use crate::order_outcome::OrderSkipReason;

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvent {
    /// The milestone that the order reached.
    pub milestone: Milestone,
    /// The order's id in its id scope, opaque.
    pub order_id: String,
    /// The number that the customer knows (`#1042`), in free format. Absent if the sender does not
    /// report it.
    pub order_number: Option<String>,
    /// The parcel that the event is about, if it is not about the whole order.
    /// [`tellonce_core::client_config::Precedence`] uses it: a fact about one parcel does not make
    /// messages about another untrue.
    pub parcel: Option<String>,
    /// Distinguishes events of the same milestone and order: a parcel, a refund, an invoice, a
    /// change. Part of the idempotency key.
    pub instance: Option<String>,
    /// When it happened, by the sender's clock. At most ten minutes after the receipt of the
    /// delivery.
    pub occurred_at: Timestamp,
    /// The customer.
    pub contact: CustomerContact,
    /// Values for texts by variable name, for example `tracking_url`. They come only from the
    /// sender. None is empty, and every `…_url` begins with `https://`.
    pub values: EventValues,
    /// Whether any change of the parcel reports it again. It counts only if no message reported it.
    pub is_repeated_by_changes: bool,
}

impl OrderEvent {
    /// The event's name for people: `order.ready`.
    pub fn event_name(&self) -> String {
        format!("order.{}", self.milestone.name())
    }

    /// Whether its language can only come from the ledger. A parcel's delivery contains no
    /// language, and a customer who got Hebrew messages must not get an English one.
    pub fn needs_known_language(&self) -> bool {
        self.parcel.is_some() && self.contact.locale.is_none()
    }

    /// Fills missing data from what is known of the order. A parcel's scan reports neither language
    /// nor name. The event's own data comes first.
    pub fn fill_missing_from(&mut self, known: &CustomerContact, order_number: Option<&str>) {
        self.contact.fill_missing_from(known);
        if self.order_number.is_none() {
            self.order_number = order_number.map(str::to_owned);
        }
    }
}

/// Values for texts by variable name.
pub type EventValues = BTreeMap<String, String>;

/// Adds a value if there is one.
pub(crate) fn insert_some(values: &mut EventValues, name: &str, value: Option<String>) {
    if let Some(value) = value {
        values.insert(name.to_owned(), value);
    }
}

/// A customer's contact data. `Debug` shows neither number nor name, nor anything else that the
/// customer typed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CustomerContact {
    /// The number to message.
    pub phone: Option<Phone>,
    /// Why the given number is not usable. If several were tried, the problem of the first.
    pub phone_problem: Option<PhoneError>,
    /// The store withholds personal data, so the customer may still have a number.
    pub redacted: bool,
    /// The customer's name.
    pub name: Option<String>,
    /// The customer's language in the store: `he`, `he-IL`.
    pub locale: Option<String>,
}

impl CustomerContact {
    /// The number to message, or why it is missing.
    pub fn require_phone(&self) -> Result<&Phone, OrderSkipReason> {
        match (&self.phone, self.phone_problem, self.redacted) {
            (Some(phone), _, _) => Ok(phone),
            (None, Some(problem), _) => Err(OrderSkipReason::PhoneUnusable(problem)),
            (None, None, true) => Err(OrderSkipReason::PersonalDataRedacted),
            (None, None, false) => Err(OrderSkipReason::NoPhone),
        }
    }

    /// Fills missing data from `known`.
    pub fn fill_missing_from(&mut self, known: &Self) {
        if self.phone.is_none() {
            self.phone.clone_from(&known.phone);
            self.phone_problem = if self.phone.is_some() { None } else { self.phone_problem.or(known.phone_problem) };
        }
        self.redacted = self.phone.is_none() && (self.redacted || known.redacted);
        if self.name.is_none() {
            self.name.clone_from(&known.name);
        }
        if self.locale.is_none() {
            self.locale.clone_from(&known.locale);
        }
    }
}

impl fmt::Debug for CustomerContact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerContact")
            .field("phone", &self.phone)
            .field("phone_problem", &self.phone_problem)
            .field("redacted", &self.redacted)
            .field("name", &self.name.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

/// What a delivery contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedOrder {
    /// An event that the customer may get a message about. [`CustomerContact::require_phone`]
    /// checks the number.
    Event(Box<OrderEvent>),
    /// An event without a message of its own. It still supersedes messages that it makes untrue.
    Suppressed(Box<OrderEvent>, OrderSkipReason),
    /// An event whose order must be looked up, because the delivery lacks its data.
    NeedsLookup(Box<PartialOrderEvent>),
    /// No event.
    Skipped(OrderSkipReason),
}

/// An event whose order has to be looked up in the ledger or in the store. See [`crate::lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialOrderEvent {
    /// The milestone that the order reached.
    pub milestone: Milestone,
    /// How to find the order.
    pub order: OrderReference,
    /// As in [`OrderEvent::parcel`].
    pub parcel: Option<String>,
    /// As in [`OrderEvent::instance`].
    pub instance: Option<String>,
    /// As in [`OrderEvent::occurred_at`].
    pub occurred_at: Timestamp,
    /// The contact data in the delivery, if there is any.
    pub contact: CustomerContact,
    /// The order number, if the delivery contains it.
    pub order_number: Option<String>,
    /// As in [`OrderEvent::values`].
    pub values: EventValues,
    /// Whether the milestone is certain. A fulfilment without destination and tracking may be a
    /// parcel or a pickup. Then only the store knows, and a contact from the ledger is not enough.
    pub is_certain: bool,
    /// As in [`OrderEvent::is_repeated_by_changes`].
    pub is_repeated_by_changes: bool,
}

impl PartialOrderEvent {
    /// Adds the order's id and fills missing data from `known`.
    pub(crate) fn complete_with(
        self,
        order_id: String,
        known: &CustomerContact,
        order_number: Option<&str>,
    ) -> OrderEvent {
        let mut event = OrderEvent {
            milestone: self.milestone,
            order_id,
            order_number: self.order_number,
            parcel: self.parcel,
            instance: self.instance,
            occurred_at: self.occurred_at,
            contact: self.contact,
            values: self.values,
            is_repeated_by_changes: self.is_repeated_by_changes,
        };
        event.fill_missing_from(known, order_number);
        event
    }
}

/// How to find an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderReference {
    /// By the order's id.
    Id(String),
    /// By the global id of one of its Shopify fulfillment orders,
    /// `gid://shopify/FulfillmentOrder/…`.
    FulfillmentOrder(String),
}

impl OrderReference {
    /// The order's id, if it is known.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::FulfillmentOrder(_) => None,
        }
    }
}

/// A delivery and the settings that are needed to parse it.
#[derive(Clone, Copy)]
pub(crate) struct OrderDelivery<'a> {
    pub(crate) topic: Option<&'a str>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
    pub(crate) received_at: Timestamp,
    /// The country for numbers without a country of their own.
    pub(crate) country: &'a str,
    pub(crate) phone_rule: PhoneRule,
}

impl<'a> OrderDelivery<'a> {
    /// The body as a JSON object.
    pub(crate) fn parse_body<T: Deserialize<'a>>(&self) -> Result<T, OrderSkipReason> {
        json::parse_object(self.body).map_err(OrderSkipReason::NotUnderstood)
    }

    /// As [`inbox::find_header`], in this delivery.
    pub(crate) fn find_header(&self, name: &str) -> Option<&str> {
        inbox::find_header(self.headers, name)
    }

    /// The time of an event: the time that the sender reports, or the time of receipt if the sender
    /// reports none or one in the future.
    pub(crate) fn event_time(&self, reported_at: Option<Timestamp>) -> Timestamp {
        clock::choose_event_time(reported_at, self.received_at)
    }

    /// As [`contact::first_usable_phone`], with this store's rules.
    pub(crate) fn first_usable_phone<'c>(
        &self,
        candidates: impl IntoIterator<Item = PhoneCandidate<'c>>,
    ) -> (Option<Phone>, Option<PhoneError>) {
        contact::first_usable_phone(candidates, self.country, self.phone_rule)
    }
}
