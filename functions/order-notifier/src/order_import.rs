//! Orders of the past that were put into a store later: a shop that moved, or sales of elsewhere.
//!
//! Their customers know of them. So an import leads to no message, and neither do the payments and
//! parcels that come with it. What happens to a young order later is news again, and so is every
//! cancellation and refund after the import.
//!
//! A late order is not an import: a connector that was out of order hands over the orders of a
//! weekend.

use jiff::{SignedDuration, Timestamp};
use tellonce_core::client_config::Milestone;

use crate::{
    order_event::{OrderEvent, ParsedOrder},
    order_outcome::OrderSkipReason,
};

/// How much older than its entry in the store an imported order is, at least. A counter without
/// network reports its sales hours later, and a connector some days.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(4 * 24);
/// The same for an order that is marked as imported.
const MIN_MARKED_AGE: SignedDuration = SignedDuration::from_hours(24);
/// An order that is closed so soon after its creation was closed by what created it.
const CREATION_TIME: SignedDuration = SignedDuration::from_secs(60);
/// How long an import may take to add payments and parcels to an order that it created.
const IMPORT_TIME: SignedDuration = SignedDuration::from_hours(1);
/// How long it may take to cancel or refund the order.
const CANCELLATION_TIME: SignedDuration = SignedDuration::from_mins(5);
/// An order that was placed longer ago is history, whatever happens to it.
const MAX_PURCHASE_AGE: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Whether an order carries a mark of an import, such as a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImportMark {
    Marked,
    Unmarked,
}

/// An order that was put into the store later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderImport {
    /// When the customer placed the order.
    pub(crate) purchased_at: Timestamp,
    /// When the store got it.
    pub(crate) imported_at: Timestamp,
}

impl OrderImport {
    /// The import of an order that something happened to long before the store created it.
    /// `happened_at` are the times of purchase, payment, cancellation and closing, if known.
    pub(crate) fn from_times(
        happened_at: impl IntoIterator<Item = Option<Timestamp>>,
        created_at: Option<Timestamp>,
        mark: ImportMark,
    ) -> Option<Self> {
        let min_age = if mark == ImportMark::Marked { MIN_MARKED_AGE } else { MIN_AGE };
        let imported_at = created_at?;
        let purchased_at = happened_at.into_iter().flatten().min()?;
        (imported_at.duration_since(purchased_at) >= min_age).then_some(Self { purchased_at, imported_at })
    }

    /// The import of an order with a mark of an import that was closed as soon as it was created.
    pub(crate) fn at_creation(created_at: Timestamp, closed_at: Option<Timestamp>) -> Option<Self> {
        let is_at_once = closed_at?.duration_since(created_at) < CREATION_TIME;
        is_at_once.then_some(Self { purchased_at: created_at, imported_at: created_at })
    }

    /// The event, recorded and not sent if it belongs to the import or to its history.
    pub(crate) fn judge_event(import: Option<Self>, event: Box<OrderEvent>) -> ParsedOrder {
        if import.is_some_and(|import| import.covers(event.milestone, event.occurred_at)) {
            ParsedOrder::Suppressed(event, OrderSkipReason::ImportedOrder)
        } else {
            ParsedOrder::Event(event)
        }
    }

    /// Whether an event at `at` belongs to the import or to its history, and so is not news.
    fn covers(self, milestone: Milestone, at: Timestamp) -> bool {
        let since_import = at.duration_since(self.imported_at);
        match milestone {
            Milestone::Received => true,
            Milestone::Cancelled | Milestone::Refunded => since_import < CANCELLATION_TIME,
            _ => since_import < IMPORT_TIME || at.duration_since(self.purchased_at) > MAX_PURCHASE_AGE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_order_is_imported_if_anything_happened_long_before_its_entry() {
        let created = Some(at("2026-11-20T06:00:00Z"));
        let import = |times: [Option<&str>; 3], mark| {
            OrderImport::from_times(times.map(|time| time.map(at)), created, mark).map(|import| import.purchased_at)
        };
        let (marked, unmarked) = (ImportMark::Marked, ImportMark::Unmarked);
        let (now, later) = (Some("2026-11-20T06:00:00Z"), Some("2026-11-21T06:00:00Z"));
        for (purchase, with_mark, without_mark) in [
            ("2026-11-19T06:00:01Z", false, false),
            ("2026-11-19T06:00:00Z", true, false),
            // A connector that is 25 hours late, or a weekend.
            ("2026-11-19T05:00:00Z", true, false),
            ("2026-11-17T05:00:00Z", true, false),
            ("2026-11-16T06:00:00Z", true, true),
            ("2019-03-02T09:00:00Z", true, true),
        ] {
            for times in [[Some(purchase), None, later], [now, Some(purchase), None]] {
                assert_eq!(import(times, marked), with_mark.then(|| at(purchase)), "{purchase}");
                assert_eq!(import(times, unmarked), without_mark.then(|| at(purchase)), "{purchase}");
            }
        }
        assert_eq!(import([None, None, None], marked), None);
        assert_eq!(import([now, None, later], marked), None);
        assert_eq!(OrderImport::from_times([created], None, marked), None);
    }

    #[test]
    fn what_happens_to_a_young_imported_order_later_counts() {
        let import = OrderImport { purchased_at: at("2026-11-10T06:00:00Z"), imported_at: at("2026-11-20T06:00:00Z") };
        for milestone in [Milestone::Paid, Milestone::Ready, Milestone::Shipped, Milestone::Delivered] {
            assert!(import.covers(milestone, at("2026-11-20T06:59:59Z")));
            assert!(!import.covers(milestone, at("2026-11-20T07:00:00Z")));
        }
        assert!(import.covers(Milestone::Received, at("2026-11-22T06:00:00Z")));
        assert!(import.covers(Milestone::Shipped, at("2027-01-10T06:00:00Z")), "after sixty days it is history");
        for milestone in [Milestone::Cancelled, Milestone::Refunded] {
            assert!(import.covers(milestone, at("2026-11-11T06:00:00Z")), "before the import");
            assert!(import.covers(milestone, at("2026-11-20T06:04:59Z")), "by the import");
            for later in ["2026-11-20T06:05:00Z", "2026-11-21T06:00:00Z", "2027-01-10T06:00:00Z"] {
                assert!(!import.covers(milestone, at(later)), "{later}");
            }
        }
    }
}
