//! Orders of the past that were put into a store later: a shop that moved, or sales of elsewhere.
//!
//! Their customers know of them. So an import leads to no message, and neither do the payments and
//! parcels that come with it. What happens to a young order later is news again.

use jiff::{SignedDuration, Timestamp};
use tellonce_core::client_config::Milestone;

/// How much older than its entry in the store an imported order is, at least. A counter without
/// network reports its sales hours later.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(24);
/// An order that is closed so soon after its creation was closed by what created it.
const CREATION_TIME: SignedDuration = SignedDuration::from_secs(60);
/// How long an import may take to add payments and parcels.
const IMPORT_TIME: SignedDuration = SignedDuration::from_hours(24);
/// An order that was placed longer ago is history, whatever happens to it.
const MAX_PURCHASE_AGE: SignedDuration = SignedDuration::from_hours(60 * 24);

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
    ) -> Option<Self> {
        let imported_at = created_at?;
        let purchased_at = happened_at.into_iter().flatten().min()?;
        (imported_at.duration_since(purchased_at) > MIN_AGE).then_some(Self { purchased_at, imported_at })
    }

    /// The import of an order that an app closed as soon as it was created.
    pub(crate) fn at_creation(created_at: Timestamp, closed_at: Option<Timestamp>) -> Option<Self> {
        let is_at_once = closed_at?.duration_since(created_at) < CREATION_TIME;
        is_at_once.then_some(Self { purchased_at: created_at, imported_at: created_at })
    }

    /// Whether an event at `at` belongs to the import or to its history, and so is no news.
    pub(crate) fn covers(self, milestone: Milestone, at: Timestamp) -> bool {
        milestone == Milestone::Received
            || at.duration_since(self.imported_at) < IMPORT_TIME
            || at.duration_since(self.purchased_at) > MAX_PURCHASE_AGE
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
        let import = |times: [Option<&str>; 3]| OrderImport::from_times(times.map(|time| time.map(at)), created);
        assert_eq!(import([None, None, None]), None);
        assert_eq!(import([Some("2026-11-20T06:00:00Z"), None, Some("2026-11-21T06:00:00Z")]), None);
        assert_eq!(import([Some("2026-11-19T06:00:00Z"), None, None]), None, "a day");
        let old = import([Some("2026-11-20T06:00:00Z"), Some("2026-11-19T05:59:59Z"), None]).unwrap();
        assert_eq!(old.purchased_at, at("2026-11-19T05:59:59Z"));
        assert_eq!(OrderImport::from_times([created], None), None);
    }

    #[test]
    fn what_happens_to_a_young_imported_order_later_counts() {
        let import = OrderImport { purchased_at: at("2026-11-10T06:00:00Z"), imported_at: at("2026-11-20T06:00:00Z") };
        assert!(import.covers(Milestone::Shipped, at("2026-11-21T05:59:59Z")));
        assert!(!import.covers(Milestone::Shipped, at("2026-11-21T06:00:00Z")));
        assert!(import.covers(Milestone::Received, at("2026-11-22T06:00:00Z")));
        assert!(import.covers(Milestone::Shipped, at("2027-01-10T06:00:00Z")), "after sixty days it is history");
    }
}
