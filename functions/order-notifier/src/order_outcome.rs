//! The outcome of an order delivery that the ledger's row does not explain.

use std::fmt;

use jiff::Timestamp;
use tellonce_core::{
    client_config::Milestone,
    contact::PhoneError,
    inbox::DeliveryOutcome,
    json::JsonError,
    ledger::{IdempotencyKey, MessageState},
    provider::MessageRejected,
    telemetry::LogLabel,
    waiting_lookup::UnansweredLookup,
    wording::WordingError,
};

/// Why a delivery led to no new message. `Display` writes the explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderOutcome {
    /// The configuration has no store of this name any more.
    #[error("this store is not in the configuration any more")]
    StoreRemoved,
    /// The delivery or the lookup contains no event to send, or the customer has no usable number.
    #[error("{0}")]
    Skipped(OrderSkipReason),
    /// The client configured no text for the milestone.
    #[error("no text is configured for `{}`", .0.name())]
    NoTextConfigured(Milestone),
    /// The text could not be built.
    #[error("{0}")]
    Wording(WordingError),
    /// The text breaks a limit of the provider.
    #[error("{0}")]
    TextRejected(MessageRejected),
    /// The message's row is already in the ledger, in this state.
    #[error("{0} is {state} in the ledger", state = .1.name())]
    AlreadyKnown(IdempotencyKey, MessageState),
    /// The message's row is already in the ledger, in this state and with another text.
    #[error("{0} is {state} in the ledger, with another text", state = .1.name())]
    PayloadConflict(IdempotencyKey, MessageState),
    /// The order could not be looked up.
    #[error("{0}")]
    Unanswered(UnansweredLookup),
}

impl OrderOutcome {
    fn code(&self) -> &'static str {
        match self {
            Self::StoreRemoved => "store-removed",
            Self::Skipped(reason) => reason.code(),
            Self::NoTextConfigured(_) => "no-text-configured",
            Self::Wording(error) => error.code(),
            Self::TextRejected(error) => error.code(),
            Self::AlreadyKnown(..) | Self::PayloadConflict(..) => "already-known",
            Self::Unanswered(lookup) => lookup.code(),
        }
    }

    /// Whether an operator should act.
    const fn needs_attention(&self) -> bool {
        matches!(self, Self::Skipped(reason) if reason.needs_attention())
    }
}

impl From<OrderOutcome> for DeliveryOutcome {
    fn from(outcome: OrderOutcome) -> Self {
        match outcome {
            OrderOutcome::Unanswered(lookup) => lookup.into(),
            outcome => Self::new(outcome.code(), &outcome).needing_person(outcome.needs_attention()),
        }
    }
}

/// Why a delivery contains no event to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderSkipReason {
    /// The order is a test order.
    #[error("test orders lead to no message")]
    TestOrder,
    /// The order is not placed yet.
    #[error("drafts lead to no message")]
    Draft,
    /// A sale over the counter without a customer.
    #[error("sale over the counter without a customer")]
    PosWithoutCustomer,
    /// The delivery contains neither number nor name nor e-mail address.
    #[error(
        "the store withholds personal data; give the app access to protected customer data (name, phone, address, e-mail)"
    )]
    PersonalDataRedacted,
    /// The customer left no number.
    #[error("the order has no phone number")]
    NoPhone,
    /// The customer's number cannot receive messages.
    #[error("could not use the order's phone number: {0}")]
    PhoneUnusable(PhoneError),
    /// The topic leads to no messages.
    #[error("topic `{0}` leads to no message")]
    UnknownTopic(LogLabel),
    /// Shopify's `orders/updated` reports a change without naming it.
    #[error("`orders/updated` does not name the change; other topics report it")]
    UpdateWithoutTransition,
    /// The client maps this `WooCommerce` status to no milestone.
    #[error("order status `{0}` is not mapped to a milestone in `client.toml`")]
    StatusNotMapped(LogLabel),
    /// The client maps this custom event to no milestone.
    #[error("event `{0}` is not mapped to a milestone in `client.toml`")]
    EventNotMapped(LogLabel),
    /// The order was deleted in the store. The deletion does not mean a cancellation.
    #[error("the order was deleted")]
    Deleted,
    /// A duty under privacy law. `docs/operations.md` describes the answer.
    #[error("privacy request: {0}; see docs/operations.md")]
    PrivacyRequest(PrivacyRequest),
    /// The body does not have the shape that this sender documents. Holds the place in the body,
    /// never its content.
    #[error("could not parse the delivery: {0}")]
    NotUnderstood(JsonError),
    /// The customer picked the order up over the counter and knows.
    #[error("the customer has picked up the order")]
    PickupFulfilled,
    /// Fulfilled without a shipment: a download, a gift card.
    #[error("the order has no address and no tracking, so nothing is shipped")]
    NothingToShip,
    /// A shipment status that customers get no message about.
    #[error("shipment status `{0}` leads to no message")]
    ShipmentStatusIgnored(LogLabel),
    /// The fulfilment failed or is not complete.
    #[error("fulfilment with status `{0}` is not a shipment")]
    FulfillmentNotSuccessful(LogLabel),
    /// A member of the signed body contradicts the topic, which is not signed.
    #[error("the topic contradicts `{0}` in the signed body, or the webhook leaves `{0}` out")]
    TopicContradictsBody(&'static str),
    /// The signed body is older than the store's repeats can be. Holds its newest time.
    #[error("the signed body is of {0}, days before it arrived, so it may be a copy")]
    BodyTooOld(Timestamp),
    /// The order was already cancelled when the delivery was sent.
    #[error("the order was cancelled before this delivery was sent")]
    StaleTransition,
    /// An order of the past that was put into the store now.
    #[error("the order was imported: it is older than its entry in the store")]
    ImportedOrder,
    /// The parcel has its message. A later change of the parcel is not news.
    #[error("the message about this parcel is in the ledger already")]
    ParcelAlreadyKnown,
    /// The order is a part of another order: a vendor's share in a marketplace.
    #[error("the order is a part of order {0}, which reports it")]
    PartOfOrder(LogLabel),
    /// The order has no date of payment: cash on delivery, a bank transfer that has not come.
    #[error("the order has no date of payment, so it is not paid")]
    NotPaid,
    /// An old order that was only edited. It reached its status before tellonce ran.
    #[error("the order is too old for a message")]
    OldOrder,
    /// A refund without a payment: items returned to stock, a failed or pending transaction.
    #[error("the refund moved no money")]
    RefundWithoutMoney,
    /// The sender tests the connection.
    #[error("the delivery is a ping")]
    Ping,
    /// A `WooCommerce` `action.*` hook names an order without its data.
    #[error("`action` hooks contain only an id; use the topics `order.created` and `order.updated`")]
    ActionHook,
    /// The order must be looked up, and no token for the store's API is stored.
    #[error("the order is unknown and no token for the store's API is stored to look it up")]
    LookupNotConfigured,
    /// The store does not know the order, or the token may not read it.
    #[error("the store did not find the order")]
    OrderNotFound,
}

impl OrderSkipReason {
    /// The reason for a required field without a usable value.
    pub(crate) fn missing_field(location: &str) -> Self {
        Self::NotUnderstood(JsonError::Missing(location.into()))
    }

    /// The stable code.
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
            Self::TopicContradictsBody(_) => "topic-contradicts-body",
            Self::BodyTooOld(_) => "body-too-old",
            Self::StaleTransition => "stale-transition",
            Self::ImportedOrder => "imported-order",
            Self::ParcelAlreadyKnown => "already-known",
            Self::PartOfOrder(_) => "part-of-order",
            Self::NotPaid => "not-paid",
            Self::OldOrder => "old-order",
            Self::RefundWithoutMoney => "refund-without-money",
            Self::Ping => "ping",
            Self::ActionHook => "action-hook",
            Self::LookupNotConfigured => "lookup-not-configured",
            Self::OrderNotFound => "order-not-found",
        }
    }

    /// Whether an operator should act, because the store sent data that cannot be used.
    pub const fn needs_attention(&self) -> bool {
        match self {
            Self::PersonalDataRedacted
            | Self::NotUnderstood(_)
            | Self::PrivacyRequest(_)
            | Self::TopicContradictsBody(_)
            | Self::BodyTooOld(_)
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
            | Self::ImportedOrder
            | Self::ParcelAlreadyKnown
            | Self::PartOfOrder(_)
            | Self::NotPaid
            | Self::OldOrder
            | Self::RefundWithoutMoney
            | Self::Ping
            | Self::ActionHook
            | Self::OrderNotFound => false,
        }
    }
}

/// What a privacy law requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivacyRequest {
    /// Erase a customer.
    CustomerRedact,
    /// Report what is stored about a customer.
    CustomerDataRequest,
    /// Erase a shop.
    ShopRedact,
}

impl fmt::Display for PrivacyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CustomerRedact => "erase a customer",
            Self::CustomerDataRequest => "report what is stored about a customer",
            Self::ShopRedact => "erase the shop",
        })
    }
}
