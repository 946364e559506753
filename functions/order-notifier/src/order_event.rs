//! What a store reported, in our own words: [`OrderEvent`], and why some deliveries are none.
//!
//! [`read`] turns a verified delivery into a [`Reading`]. It is a pure function of the delivery and the client's
//! configuration; it never fails and never panics. A body that cannot be understood is a reading too
//! ([`NothingBecause::NotUnderstood`]), so that it is recorded with its reason instead of blocking those behind it.
//!
//! Not promised: that the event is news. The same fact arrives through several topics and as repeats; the ledger's
//! idempotency key (`order`, [`Milestone`], [`OrderEvent::instance`]) is what tells it once.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use shared::{
    client_config::{ClientConfig, Milestone, Store, StoreKind},
    clock,
    contact::{self, Candidate, Phone, PhoneError},
    json::Misread,
    observe::Label,
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
    /// The parcel that it is about, when not the whole order. For [`shared::client_config::Place`]: what is known of one
    /// parcel doesn't make news of another untrue.
    pub thread: Option<String>,
    /// What tells it apart from others of the same milestone and order: a parcel, a refund, an invoice, a change. Part of
    /// the idempotency key.
    pub instance: Option<String>,
    /// When it happened, by the sender's account. Never more than ten minutes after the delivery was received.
    pub occurred_at: Timestamp,
    /// Whom to tell.
    pub contact: Contact,
    /// Values for texts by variable name, e.g. `tracking_url`. Only what the sender said; none is empty, and every
    /// `…_url` begins with `https://`.
    pub values: Values,
}

impl OrderEvent {
    /// Its name for people: `order.ready`.
    pub fn kind(&self) -> String {
        format!("order.{}", self.milestone.name())
    }

    /// Fills what this event lacks from what is already known of the order: a parcel's scan says neither language nor
    /// name. What the event itself says wins.
    pub fn fill_from(&mut self, known: &Contact, order_number: Option<&str>) {
        self.contact.fill_from(known);
        if self.order_number.is_none() {
            self.order_number = order_number.map(str::to_owned);
        }
    }
}

/// Values for texts by variable name.
pub type Values = BTreeMap<String, String>;

/// Whom to tell. [`fmt::Debug`] shows neither number nor name, nor what else somebody typed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contact {
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

impl Contact {
    /// The number to write to, or why there is none.
    pub fn reachable(&self) -> Result<&Phone, NothingBecause> {
        match (&self.phone, self.phone_problem, self.redacted) {
            (Some(phone), _, _) => Ok(phone),
            (None, Some(problem), _) => Err(NothingBecause::PhoneUnusable(problem)),
            (None, None, true) => Err(NothingBecause::PersonalDataRedacted),
            (None, None, false) => Err(NothingBecause::NoPhone),
        }
    }

    /// Fills what is missing from `known`.
    pub fn fill_from(&mut self, known: &Self) {
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

impl fmt::Debug for Contact {
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
pub enum Reading {
    /// Something that the customer may be told. Whether there is a number for it, [`Contact::reachable`] says.
    Event(Box<OrderEvent>),
    /// It happened, so whatever it makes untrue must not be said any more; but it is not to be told itself.
    Quiet(Box<OrderEvent>, NothingBecause),
    /// Something happened to an order that the delivery says too little about: look it up.
    NeedsOrder(Box<PartialEvent>),
    /// Nothing to tell.
    Nothing(NothingBecause),
}

/// An event whose order has to be looked up, in the ledger or in the store: see [`crate::lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialEvent {
    /// What happened.
    pub milestone: Milestone,
    /// How to find the order.
    pub order: OrderRef,
    /// As in [`OrderEvent::thread`].
    pub thread: Option<String>,
    /// As in [`OrderEvent::instance`].
    pub instance: Option<String>,
    /// As in [`OrderEvent::occurred_at`].
    pub occurred_at: Timestamp,
    /// What the delivery says of the customer, if anything.
    pub contact: Contact,
    /// The order number, if the delivery says it.
    pub order_number: Option<String>,
    /// As in [`OrderEvent::values`].
    pub values: Values,
    /// Whether it is certain that this is what happened. If not (a fulfilment without destination and tracking may be a
    /// parcel or a pickup), only the store can tell, and a contact from the ledger is not enough.
    pub certain: bool,
}

/// How to find an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderRef {
    /// By its id.
    Id(String),
    /// By the global id of one of its Shopify fulfillment orders, `gid://shopify/FulfillmentOrder/…`.
    FulfillmentOrder(String),
}

impl OrderRef {
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
pub enum NothingBecause {
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
    UnknownTopic(Label),
    /// A Shopify `orders/updated`: something changed, but not which.
    #[error("`orders/updated` doesn't say what changed; the topics beside it do")]
    UpdateWithoutTransition,
    /// A `WooCommerce` status without a milestone.
    #[error("order status `{0}` is no milestone in this client's configuration")]
    StatusNotMapped(Label),
    /// A custom event without a milestone.
    #[error("event `{0}` is no milestone in this client's configuration")]
    EventNotMapped(Label),
    /// The order was deleted; which says nothing about what the customer should think.
    #[error("the order was deleted")]
    Deleted,
    /// A duty under privacy law; `docs/operations.md` says how it is met.
    #[error("a privacy request: {0}")]
    PrivacyRequest(PrivacyRequest),
    /// Not of the shape that this sender documents. Holds where, never what.
    #[error("not understood: {0}")]
    NotUnderstood(Misread),
    /// The customer took it over the counter and knows.
    #[error("the customer has just picked it up")]
    PickupFulfilled,
    /// Fulfilled, and nothing travels: a download, a gift card.
    #[error("nothing to ship: an order without address and tracking")]
    NothingToShip,
    /// A stage of the journey that customers aren't told.
    #[error("shipment status `{0}` is not told")]
    ShipmentStatusNotTold(Label),
    /// The fulfilment didn't succeed, or hasn't yet.
    #[error("fulfilment status `{0}` is not a shipment")]
    FulfillmentNotMade(Label),
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
    LookUpNotSetUp,
    /// The store doesn't know the order, or doesn't show it.
    #[error("the store shows no such order")]
    OrderNotFound,
}

impl NothingBecause {
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
            Self::ShipmentStatusNotTold(_) => "shipment-status-not-told",
            Self::FulfillmentNotMade(_) => "fulfillment-not-made",
            Self::StaleTransition => "stale-transition",
            Self::OldOrder => "old-order",
            Self::RefundWithoutMoney => "refund-without-money",
            Self::Ping => "ping",
            Self::ActionHook => "action-hook",
            Self::LookUpNotSetUp => "look-up-not-set-up",
            Self::OrderNotFound => "order-not-found",
        }
    }

    /// Whether a human should look: the store says something that we can't use, as opposed to nothing of interest.
    pub const fn needs_attention(&self) -> bool {
        match self {
            Self::PersonalDataRedacted | Self::NotUnderstood(_) | Self::PrivacyRequest(_) | Self::LookUpNotSetUp => {
                true
            }
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
            | Self::ShipmentStatusNotTold(_)
            | Self::FulfillmentNotMade(_)
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
pub fn read(
    store: &Store,
    config: &ClientConfig,
    topic: Option<&str>,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    received_at: Timestamp,
) -> Reading {
    let delivery = Delivery {
        topic,
        headers,
        body,
        received_at,
        country: store.country.as_deref().unwrap_or(&config.country),
        phones: config.phones,
    };
    let reading = match &store.kind {
        StoreKind::Shopify { .. } => shopify::read(&delivery),
        StoreKind::WooCommerce { statuses, .. } => woocommerce::read(&delivery, statuses),
        StoreKind::Custom { fields, events, .. } => custom::read(&delivery, fields, events),
    };
    reading.unwrap_or_else(Reading::Nothing)
}

/// A delivery and what is needed to understand it.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) topic: Option<&'a str>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
    pub(crate) received_at: Timestamp,
    /// Country for numbers that stand beside no country.
    pub(crate) country: &'a str,
    pub(crate) phones: shared::client_config::PhoneRule,
}

impl Delivery<'_> {
    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The time that something happened at: what the sender says, unless that is in the future or not said at all.
    pub(crate) fn happened(&self, said: Option<Timestamp>) -> Timestamp {
        clock::happened(said, self.received_at)
    }

    /// As [`contact::first_usable`], for this store.
    pub(crate) fn first_usable<'a>(
        &self,
        candidates: impl IntoIterator<Item = Candidate<'a>>,
    ) -> (Option<Phone>, Option<PhoneError>) {
        contact::first_usable(candidates, self.country, self.phones)
    }
}
