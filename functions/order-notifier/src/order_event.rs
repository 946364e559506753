//! What a store reported, in our own words: [`OrderEvent`], and why some deliveries are none.
//!
//! [`read`] turns a verified delivery into a [`ParsedOrder`]. It is a pure function of the delivery and the client's
//! configuration; it never fails and never panics. A body that cannot be understood is a reading too
//! ([`SkipReason::NotUnderstood`]), so that it is recorded with its reason instead of blocking those behind it.
//!
//! Not promised: that the event is news. The same fact arrives through several topics and as repeats; the ledger's
//! idempotency key (`order`, [`Milestone`], [`OrderEvent::reminder_instance`]) is what tells it once.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ClientConfig, Milestone, StoreConfig, StoreKind},
    clock,
    contact::{self, Phone, PhoneCandidate, PhoneError},
    json::JsonError,
    telemetry::LogLabel,
};

use crate::{custom, shopify, woocommerce};

/// Something happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvent {
    /// What happened.
    pub milestone: Milestone,
    /// The order's id in its order book, opaque.
    pub order_id: String,
    /// The number that the customer knows (`#1042`), free format; absent when the sender doesn't say.
    pub order_number: Option<String>,
    /// The parcel that it is about, when not the whole order. For [`tellonce_core::load_client_config::Place`]: what is known of one
    /// parcel doesn't make news of another untrue.
    pub parcel: Option<String>,
    /// What tells it apart from others of the same milestone and order: a parcel, a refund, an invoice, a change. Part of
    /// the idempotency key.
    pub instance: Option<String>,
    /// When it happened, by the sender's account. Never more than ten minutes after the delivery was received.
    pub occurred_at: Timestamp,
    /// Whom to tell.
    pub contact: CustomerContact,
    /// Values for texts by variable name, e.g. `tracking_url`. Only what the sender said; none is empty, and every
    /// `…_url` begins with `https://`.
    pub values: EventValues,
}

impl OrderEvent {
    /// Its name for people: `order.ready`.
    pub fn event_name(&self) -> String {
        format!("order.{}", self.milestone.name())
    }

    /// Fills what this event lacks from what is already known of the order: a parcel's scan says neither language nor
    /// name. What the event itself says wins.
    pub fn fill_missing_from(&mut self, known: &CustomerContact, order_number: Option<&str>) {
        self.contact.fill_missing_from(known);
        if self.order_number.is_none() {
            self.order_number = order_number.map(str::to_owned);
        }
    }
}

/// Values for texts by variable name.
pub type EventValues = BTreeMap<String, String>;

/// Whom to tell. [`fmt::Debug`] shows neither number nor name, nor what else somebody typed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CustomerContact {
    /// The number to write to.
    pub phone: Option<Phone>,
    /// Why there is no number although one was given: what was wrong with the first one tried.
    pub phone_problem: Option<PhoneError>,
    /// The store withholds personal data from us, so a missing number says nothing about the customer.
    pub redacted: bool,
    /// The customer's name.
    pub name: Option<String>,
    /// The customer's language as the store has it: `he`, `he-IL`.
    pub locale: Option<String>,
}

impl CustomerContact {
    /// The number to write to, or why there is none.
    pub fn require_phone(&self) -> Result<&Phone, SkipReason> {
        match (&self.phone, self.phone_problem, self.redacted) {
            (Some(phone), _, _) => Ok(phone),
            (None, Some(problem), _) => Err(SkipReason::PhoneUnusable(problem)),
            (None, None, true) => Err(SkipReason::PersonalDataRedacted),
            (None, None, false) => Err(SkipReason::NoPhone),
        }
    }

    /// Fills what is missing from `known`.
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
        f.debug_struct("Contact")
            .field("phone", &self.phone)
            .field("phone_problem", &self.phone_problem)
            .field("redacted", &self.redacted)
            .field("name", &self.name.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedOrder {
    /// Something that the customer may be told. Whether there is a number for it, [`CustomerContact::require_phone`] says.
    Event(Box<OrderEvent>),
    /// It happened, so whatever it makes untrue must not be said any more; but it is not to be told itself.
    Suppressed(Box<OrderEvent>, SkipReason),
    /// Something happened to an order that the delivery says too little about: look it up.
    NeedsLookup(Box<PartialOrderEvent>),
    /// Nothing to tell.
    Skipped(SkipReason),
}

/// An event whose order has to be looked up, in the ledger or in the store: see [`crate::lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialOrderEvent {
    /// What happened.
    pub milestone: Milestone,
    /// How to find the order.
    pub order: OrderReference,
    /// As in [`OrderEvent::parcel`].
    pub parcel: Option<String>,
    /// As in [`OrderEvent::reminder_instance`].
    pub instance: Option<String>,
    /// As in [`OrderEvent::occurred_at`].
    pub occurred_at: Timestamp,
    /// What the delivery says of the customer, if anything.
    pub contact: CustomerContact,
    /// The order number, if the delivery says it.
    pub order_number: Option<String>,
    /// As in [`OrderEvent::build_values`].
    pub values: EventValues,
    /// Whether it is certain that this is what happened. If not (a fulfilment without destination and tracking may be a
    /// parcel or a pickup), only the store can tell, and a contact from the ledger is not enough.
    pub is_certain: bool,
}

/// How to find an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderReference {
    /// By its id.
    Id(String),
    /// By the global id of one of its Shopify fulfillment orders, `gid://shopify/FulfillmentOrder/…`.
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

/// Why a delivery is no message. [`Self::code`] is what is recorded; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// An order that is only a trial.
    #[error("a test order")]
    TestOrder,
    /// An order that isn't placed yet.
    #[error("a draft, not an order yet")]
    Draft,
    /// A sale over the counter, to nobody in particular.
    #[error("a sale over the counter without a customer")]
    PosWithoutCustomer,
    /// Neither number nor name nor e-mail arrived.
    #[error(
        "the store withholds personal data: the app needs access to protected customer data (name, phone, address, e-mail)"
    )]
    PersonalDataRedacted,
    /// The customer left no number.
    #[error("the order has no phone number")]
    NoPhone,
    /// The customer's number can't be messaged.
    #[error("the order's phone number can't be used: {0}")]
    PhoneUnusable(PhoneError),
    /// Deliveries of this kind are of no use to us.
    #[error("deliveries of topic `{0}` are not told")]
    UnknownTopic(LogLabel),
    /// A Shopify `check_order_trigger/parse_updated_fulfillment`: something changed, but not which.
    #[error("`orders/updated` doesn't say what changed; the topics beside it do")]
    UpdateWithoutTransition,
    /// A `WooCommerce` status without a milestone.
    #[error("order status `{0}` is no milestone in this client's configuration")]
    StatusNotMapped(LogLabel),
    /// A custom event without a milestone.
    #[error("event `{0}` is no milestone in this client's configuration")]
    EventNotMapped(LogLabel),
    /// The order was deleted; which says nothing about what the customer should think.
    #[error("the order was deleted")]
    Deleted,
    /// A duty under privacy law; `docs/operations.md` says how it is met.
    #[error("a privacy request: {0}")]
    PrivacyRequest(PrivacyRequest),
    /// Not of the shape that this sender documents. Holds where, never what.
    #[error("not understood: {0}")]
    NotUnderstood(JsonError),
    /// The customer took it over the counter and knows.
    #[error("the customer has just picked it up")]
    PickupFulfilled,
    /// Fulfilled, and nothing travels: a download, a gift card.
    #[error("nothing to ship: an order without address and tracking")]
    NothingToShip,
    /// A stage of the journey that customers aren't told.
    #[error("shipment status `{0}` is not told")]
    ShipmentStatusIgnored(LogLabel),
    /// The fulfilment didn't succeed, or hasn't yet.
    #[error("fulfilment status `{0}` is not a shipment")]
    FulfillmentNotSuccessful(LogLabel),
    /// When this was sent, the order was already cancelled.
    #[error("the order was cancelled in the meantime")]
    StaleTransition,
    /// An order from long ago that was only touched: whatever it is by now, it became so before we came.
    #[error("the order is too old for this to be news")]
    OldOrder,
    /// A refund without a payment: items returned to stock, a failed or pending transaction.
    #[error("a refund that moved no money")]
    RefundWithoutMoney,
    /// The sender tries the line.
    #[error("a ping")]
    Ping,
    /// A `WooCommerce` `action.*` hook: names an order, says nothing about it.
    #[error("`action` hooks carry only an id; use the topics `order.created` and `order.updated`")]
    ActionHook,
    /// The order must be looked up, and there is no token for the store's API.
    #[error("the order is not known yet and there is no token for the store's API to look it up with")]
    LookupNotConfigured,
    /// The store doesn't know the order, or doesn't show it.
    #[error("the store shows no such order")]
    OrderNotFound,
}

impl SkipReason {
    /// A stable name for records and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TestOrder => "test-order",
            Self::Draft => "draft",
            Self::PosWithoutCustomer => "pos-without-customer",
            Self::PersonalDataRedacted => "personal-data-redacted",
            Self::NoPhone => "no-phone",
            Self::PhoneUnusable(_) => "phone-unusable",
            Self::UnknownTopic(_) => "unknown-topic",
            Self::UpdateWithoutTransition => "update-without-transition",
            Self::StatusNotMapped(_) => "status-not-mapped",
            Self::EventNotMapped(_) => "event-not-mapped",
            Self::Deleted => "deleted",
            Self::PrivacyRequest(_) => "privacy-request",
            Self::NotUnderstood(_) => "not-understood",
            Self::PickupFulfilled => "pickup-fulfilled",
            Self::NothingToShip => "nothing-to-ship",
            Self::ShipmentStatusIgnored(_) => "shipment-status-not-announced",
            Self::FulfillmentNotSuccessful(_) => "fulfillment-not-successful",
            Self::StaleTransition => "stale-transition",
            Self::OldOrder => "old-order",
            Self::RefundWithoutMoney => "refund-without-money",
            Self::Ping => "ping",
            Self::ActionHook => "action-hook",
            Self::LookupNotConfigured => "lookup-not-configured",
            Self::OrderNotFound => "order-not-found",
        }
    }

    /// Whether a human should look: the store says something that we can't use, as opposed to nothing of interest.
    pub const fn needs_attention(&self) -> bool {
        match self {
            Self::PersonalDataRedacted
            | Self::NotUnderstood(_)
            | Self::PrivacyRequest(_)
            | Self::LookupNotConfigured => true,
            Self::TestOrder
            | Self::Draft
            | Self::PosWithoutCustomer
            | Self::NoPhone
            | Self::PhoneUnusable(_)
            | Self::UnknownTopic(_)
            | Self::UpdateWithoutTransition
            | Self::StatusNotMapped(_)
            | Self::EventNotMapped(_)
            | Self::Deleted
            | Self::PickupFulfilled
            | Self::NothingToShip
            | Self::ShipmentStatusIgnored(_)
            | Self::FulfillmentNotSuccessful(_)
            | Self::StaleTransition
            | Self::OldOrder
            | Self::RefundWithoutMoney
            | Self::Ping
            | Self::ActionHook
            | Self::OrderNotFound => false,
        }
    }
}

/// What a privacy law asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivacyRequest {
    /// Forget a customer.
    CustomerRedact,
    /// Say what is known about a customer.
    CustomerDataRequest,
    /// Forget a shop.
    ShopRedact,
}

impl fmt::Display for PrivacyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CustomerRedact => "forget a customer",
            Self::CustomerDataRequest => "say what is known about a customer",
            Self::ShopRedact => "forget the shop",
        })
    }
}

/// Reads a verified delivery of `store`. `topic` and `headers` are what the inbox kept of it; `received_at` is when it
/// was accepted.
pub fn parse_order_event(
    store: &StoreConfig,
    config: &ClientConfig,
    topic: Option<&str>,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    received_at: Timestamp,
) -> ParsedOrder {
    let delivery = OrderDelivery {
        topic,
        headers,
        body,
        received_at,
        country: store.country.as_deref().unwrap_or(&config.country),
        phone_rule: config.phones,
    };
    let parsed = match &store.kind {
        StoreKind::Shopify { .. } => shopify::parse_delivery(&delivery),
        StoreKind::WooCommerce { statuses, .. } => woocommerce::parse_delivery(&delivery, statuses),
        StoreKind::Custom { fields, events, .. } => custom::parse_delivery(&delivery, fields, events),
    };
    parsed.unwrap_or_else(ParsedOrder::Skipped)
}

/// A delivery and what is needed to understand it.
#[derive(Clone, Copy)]
pub(crate) struct OrderDelivery<'a> {
    pub(crate) topic: Option<&'a str>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
    pub(crate) received_at: Timestamp,
    /// Country for numbers that stand beside no country.
    pub(crate) country: &'a str,
    pub(crate) phone_rule: tellonce_core::contact::PhoneRule,
}

impl OrderDelivery<'_> {
    /// A header by its lower-case name.
    pub(crate) fn find_header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The time that something happened at: what the sender says, unless that is in the future or not said at all.
    pub(crate) fn event_time(&self, reported_at: Option<Timestamp>) -> Timestamp {
        clock::choose_event_time(reported_at, self.received_at)
    }

    /// As [`build_contact::first_usable_phone`], for this store.
    pub(crate) fn first_usable_phone<'a>(
        &self,
        candidates: impl IntoIterator<Item = PhoneCandidate<'a>>,
    ) -> (Option<Phone>, Option<PhoneError>) {
        contact::first_usable_phone(candidates, self.country, self.phone_rule)
    }
}
