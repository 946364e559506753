//! The points in an order's life that a customer may be told of, and which of them make others untrue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A point in an order's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// The order was placed.
    Received,
    /// It was paid.
    Paid,
    /// It can be picked up.
    Ready,
    /// It, or a parcel of it, is on its way.
    Shipped,
    /// A courier has it for today.
    OutForDelivery,
    /// Its delivery was moved or tried in vain.
    DeliveryChanged,
    /// It arrived, or was picked up.
    Delivered,
    /// It was cancelled.
    Cancelled,
    /// Money was paid back.
    Refunded,
    /// A document about it exists.
    Invoice,
}

impl Milestone {
    /// All of them, in the order of an order's life.
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

    /// Its name in keys, tables and configuration.
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

    /// Where it stands in the order's story; see `Precedence`.
    ///
    /// A refund says nothing about parcels (it may be for one item of many), so it only makes "received" and "paid"
    /// untrue; an invoice is about the past and is always true.
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

    /// How useful the news is after an outage, 0 to 100: what a customer would act on comes first.
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

/// Where a message stands in the story of its subject: what makes it untrue, and what it makes untrue.
///
/// **Invariant:** a message is not sent once the ledger knows another of its subject whose `settles` reaches its
/// `rank`, unless both belong to different threads (two parcels of one order).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Precedence {
    /// How far along the story it is.
    pub rank: u8,
    /// Everything up to this rank is old news once this is known. 0: nothing.
    pub supersedes: u8,
    /// The parcel that it is about, if not the whole.
    pub parcel: Option<String>,
    /// Whether only the latest of its kind is true: a delivery that was moved twice is where it was moved last.
    pub latest_only: bool,
}

impl Precedence {
    /// The place of a milestone, for one parcel (refund, change) or for the whole order.
    pub fn of_milestone(milestone: Milestone, parcel: Option<String>) -> Self {
        let (rank, supersedes) = milestone.precedence_ranks();
        Self { rank, supersedes, parcel, latest_only: milestone == Milestone::DeliveryChanged }
    }

    /// The place of what no story makes untrue: a reminder is true for as long as its appointment's header says so, whatever
    /// other reminders say, and a lead has one message.
    pub const fn independent() -> Self {
        Self { rank: 1, supersedes: 0, parcel: None, latest_only: false }
    }

    /// Whether knowing `other` makes a message at this place untrue.
    pub fn is_superseded_by(&self, other: &Self) -> bool {
        other.supersedes >= self.rank && !self.concerns_other_parcel_than(other)
    }

    /// Whether a later fact at `other` replaces this one.
    pub fn is_replaced_by_later(&self, other: &Self) -> bool {
        self.latest_only && self.rank == other.rank && !self.concerns_other_parcel_than(other)
    }

    fn concerns_other_parcel_than(&self, other: &Self) -> bool {
        matches!((&self.parcel, &other.parcel), (Some(mine), Some(theirs)) if mine != theirs)
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
