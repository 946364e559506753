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

    /// Where it stands in the order's story; see [`Place`].
    ///
    /// A refund says nothing about parcels (it may be for one item of many), so it only makes "received" and "paid"
    /// untrue; an invoice is about the past and is always true.
    pub const fn rank(self) -> (u8, u8) {
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
    pub const fn weight(self) -> u8 {
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
pub struct Place {
    /// How far along the story it is.
    pub rank: u8,
    /// Everything up to this rank is old news once this is known. 0: nothing.
    pub settles: u8,
    /// The parcel that it is about, if not the whole.
    pub thread: Option<String>,
    /// Whether only the latest of its kind is true: a delivery that was moved twice is where it was moved last.
    pub latest_only: bool,
}

impl Place {
    /// The place of a milestone, for one parcel (refund, change) or for the whole order.
    pub fn of(milestone: Milestone, thread: Option<String>) -> Self {
        let (rank, settles) = milestone.rank();
        Self { rank, settles, thread, latest_only: milestone == Milestone::DeliveryChanged }
    }

    /// The place of what no story makes untrue: a reminder is true for as long as its appointment's header says so, whatever
    /// other reminders say, and a lead has one message.
    pub const fn apart() -> Self {
        Self { rank: 1, settles: 0, thread: None, latest_only: false }
    }

    /// Whether knowing `other` makes a message at this place untrue.
    pub fn is_untrue_beside(&self, other: &Self) -> bool {
        other.settles >= self.rank && !self.is_apart_from(other)
    }

    /// Whether a later fact at `other` replaces this one.
    pub fn is_replaced_by_later(&self, other: &Self) -> bool {
        self.latest_only && self.rank == other.rank && !self.is_apart_from(other)
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        matches!((&self.thread, &other.thread), (Some(mine), Some(theirs)) if mine != theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(milestone: Milestone) -> Place {
        Place::of(milestone, None)
    }

    #[test]
    fn nothing_before_a_cancellation_is_true_after_it() {
        for milestone in Milestone::ALL {
            let old_news = !matches!(milestone, Milestone::Cancelled | Milestone::Refunded | Milestone::Invoice);
            assert_eq!(place(milestone).is_untrue_beside(&place(Milestone::Cancelled)), old_news, "{milestone:?}");
        }
    }

    #[test]
    fn the_second_parcel_is_still_told_after_the_first_arrived() {
        let second = Place::of(Milestone::Shipped, Some("2".into()));
        assert!(!second.is_untrue_beside(&Place::of(Milestone::Delivered, Some("1".into()))));
        assert!(second.is_untrue_beside(&Place::of(Milestone::Delivered, Some("2".into()))));
        assert!(second.is_untrue_beside(&place(Milestone::Cancelled)));
    }

    #[test]
    fn no_milestone_makes_itself_untrue() {
        for milestone in Milestone::ALL {
            assert!(!place(milestone).is_untrue_beside(&place(milestone)), "{milestone:?}");
        }
    }

    #[test]
    fn a_partial_refund_does_not_silence_the_parcel() {
        assert!(!place(Milestone::Shipped).is_untrue_beside(&place(Milestone::Refunded)));
        assert!(place(Milestone::Paid).is_untrue_beside(&place(Milestone::Refunded)));
    }
}
