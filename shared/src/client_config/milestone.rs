//! The milestones of an order, and which messages make which others untrue.
//!
//! Main types: [`Milestone`], [`Precedence`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A point in the life of an order that a message may report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// The order was placed.
    Received,
    /// The order was paid.
    Paid,
    /// The order can be picked up.
    Ready,
    /// The order, or a parcel of it, is on its way.
    Shipped,
    /// The carrier delivers the order today.
    OutForDelivery,
    /// The delivery was moved, or an attempt to deliver failed.
    DeliveryChanged,
    /// The order arrived, or was picked up.
    Delivered,
    /// The order was cancelled.
    Cancelled,
    /// Money was paid back.
    Refunded,
    /// A document about the order exists, such as an invoice.
    Invoice,
}

impl Milestone {
    /// All milestones, in the order in which they usually occur.
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Paid,
        Self::Ready,
        Self::Shipped,
        Self::OutForDelivery,
        Self::DeliveryChanged,
        Self::Delivered,
        Self::Cancelled,
        Self::Refunded,
        Self::Invoice,
    ];

    /// The name in keys, tables and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Paid => "paid",
            Self::Ready => "ready",
            Self::Shipped => "shipped",
            Self::OutForDelivery => "out-for-delivery",
            Self::DeliveryChanged => "delivery-changed",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
            Self::Invoice => "invoice",
        }
    }

    /// The `rank` and `supersedes` of its [`Precedence`].
    ///
    /// A refund says nothing about parcels, because it may be for one item of many. It supersedes
    /// only "received" and "paid". An invoice is about the past and always true.
    pub const fn precedence_ranks(self) -> (u8, u8) {
        match self {
            Self::Received => (10, 0),
            Self::Paid => (20, 10),
            Self::Ready => (30, 20),
            Self::Shipped => (40, 30),
            Self::OutForDelivery => (50, 40),
            Self::DeliveryChanged => (55, 0),
            Self::Delivered => (60, 55),
            Self::Cancelled => (90, 60),
            Self::Refunded => (100, 20),
            Self::Invoice => (100, 0),
        }
    }

    /// The `latest_only` of its [`Precedence`]: a later message of the same milestone replaces it.
    const fn is_latest_only(self) -> bool {
        match self {
            Self::DeliveryChanged => true,
            Self::Received
            | Self::Paid
            | Self::Ready
            | Self::Shipped
            | Self::OutForDelivery
            | Self::Delivered
            | Self::Cancelled
            | Self::Refunded
            | Self::Invoice => false,
        }
    }

    /// Whether its message is still true once the order is cancelled: it is about the money, or it
    /// is the cancellation.
    pub const fn stays_true_after_cancellation(self) -> bool {
        match self {
            Self::Cancelled | Self::Refunded | Self::Invoice => true,
            Self::Received
            | Self::Paid
            | Self::Ready
            | Self::Shipped
            | Self::OutForDelivery
            | Self::DeliveryChanged
            | Self::Delivered => false,
        }
    }

    /// How useful the message is after an outage, 0 to 100. Messages that make a customer act come
    /// first.
    pub const fn default_priority(self) -> u8 {
        match self {
            Self::Cancelled => 90,
            Self::DeliveryChanged => 85,
            Self::Ready => 80,
            Self::OutForDelivery => 75,
            Self::Shipped => 60,
            Self::Refunded => 50,
            Self::Delivered => 40,
            Self::Invoice => 35,
            Self::Paid => 30,
            Self::Received => 20,
        }
    }
}

/// Which messages of a subject make which others untrue.
///
/// **Invariant:** a message is not sent if the ledger knows another message of its subject whose
/// `supersedes` is at least its `rank`. The exception: both may be about different parcels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Precedence {
    /// How late in the life of the subject the message belongs.
    pub rank: u8,
    /// Messages up to this rank are untrue once this one is known. 0: none.
    pub supersedes: u8,
    /// The parcel that the message is about; `None` if it is about the whole order.
    pub parcel: Option<String>,
    /// Whether only the latest message of this rank is true. The second change of a delivery makes
    /// the first one untrue.
    pub latest_only: bool,
}

impl Precedence {
    /// The precedence of a milestone, for one parcel (or refund, or change) or for the whole order.
    pub fn of_milestone(milestone: Milestone, parcel: Option<String>) -> Self {
        let (rank, supersedes) = milestone.precedence_ranks();
        Self { rank, supersedes, parcel, latest_only: milestone.is_latest_only() }
    }

    /// The precedence of a message that no other message supersedes. The header of the appointment
    /// decides about a reminder, and a lead gets one message.
    pub const fn independent() -> Self {
        Self { rank: 1, supersedes: 0, parcel: None, latest_only: false }
    }

    /// Whether a known message with precedence `other` makes this one untrue.
    pub fn is_superseded_by(&self, other: &Self) -> bool {
        other.supersedes >= self.rank && !self.may_concern_other_parcel_than(other)
    }

    /// Whether a later message with precedence `other` replaces this one.
    pub fn is_replaced_by_later(&self, other: &Self) -> bool {
        self.latest_only && self.rank == other.rank && !self.may_concern_other_parcel_than(other)
    }

    /// A change that names no parcel may be about any of them, so a fact about one parcel says
    /// nothing about it. Every other message without a parcel is about the whole order.
    fn may_concern_other_parcel_than(&self, other: &Self) -> bool {
        match (&self.parcel, &other.parcel) {
            (Some(mine), Some(theirs)) => mine != theirs,
            (None, Some(_)) => self.latest_only,
            (Some(_), None) => other.latest_only,
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precedence_of(milestone: Milestone) -> Precedence {
        Precedence::of_milestone(milestone, None)
    }

    #[test]
    fn a_cancellation_supersedes_everything_before_it() {
        for milestone in Milestone::ALL {
            let superseded = !matches!(milestone, Milestone::Cancelled | Milestone::Refunded | Milestone::Invoice);
            assert_eq!(
                precedence_of(milestone).is_superseded_by(&precedence_of(Milestone::Cancelled)),
                superseded,
                "{milestone:?}"
            );
        }
    }

    #[test]
    fn the_second_parcel_is_still_reported_after_the_first_arrived() {
        let second = Precedence::of_milestone(Milestone::Shipped, Some("2".into()));
        assert!(!second.is_superseded_by(&Precedence::of_milestone(Milestone::Delivered, Some("1".into()))));
        assert!(second.is_superseded_by(&Precedence::of_milestone(Milestone::Delivered, Some("2".into()))));
        assert!(second.is_superseded_by(&precedence_of(Milestone::Cancelled)));
    }

    #[test]
    fn a_fact_about_one_parcel_never_silences_another_parcel() {
        for (milestone, known) in Milestone::ALL.into_iter().flat_map(|it| Milestone::ALL.map(|known| (it, known))) {
            let message = Precedence::of_milestone(milestone, Some("2".into()));
            let other = Precedence::of_milestone(known, Some("1".into()));
            let silenced = message.is_superseded_by(&other) || message.is_replaced_by_later(&other);
            assert!(!silenced, "{milestone:?} {known:?}");
        }
    }

    #[test]
    fn a_change_without_a_parcel_is_untrue_only_after_facts_about_the_whole_order() {
        let change = precedence_of(Milestone::DeliveryChanged);
        for parcel in Milestone::ALL.map(|milestone| Precedence::of_milestone(milestone, Some("1".into()))) {
            assert!(!change.is_superseded_by(&parcel) && !change.is_replaced_by_later(&parcel), "{parcel:?}");
        }
        assert!(change.is_superseded_by(&precedence_of(Milestone::Delivered)));
        assert!(change.is_superseded_by(&precedence_of(Milestone::Cancelled)));
        assert!(change.is_replaced_by_later(&change));
        // A fact about the whole order holds for each parcel, and a parcel proves the payment.
        let of_parcel = Precedence::of_milestone(Milestone::DeliveryChanged, Some("1".into()));
        assert!(of_parcel.is_superseded_by(&precedence_of(Milestone::Delivered)));
        assert!(!of_parcel.is_replaced_by_later(&change));
        let shipped = Precedence::of_milestone(Milestone::Shipped, Some("1".into()));
        assert!(precedence_of(Milestone::Paid).is_superseded_by(&shipped));
    }

    #[test]
    fn no_milestone_supersedes_itself() {
        for milestone in Milestone::ALL {
            assert!(!precedence_of(milestone).is_superseded_by(&precedence_of(milestone)), "{milestone:?}");
        }
    }

    #[test]
    fn a_partial_refund_does_not_supersede_the_parcel() {
        assert!(!precedence_of(Milestone::Shipped).is_superseded_by(&precedence_of(Milestone::Refunded)));
        assert!(precedence_of(Milestone::Paid).is_superseded_by(&precedence_of(Milestone::Refunded)));
    }
}
