//! Delivery status of a message, combined from reports in any order.
//!
//! Promises: reports arrive at least once and in any order, and combine to the same status. No
//! report takes anything back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    attributes::{ItemReader, ItemWriter},
    provider::{DeliveryProgress, PROVIDER, ReportedStatus},
};

/// All reports of a message, combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeliveryStatus {
    /// The furthest progress.
    pub reached: Option<DeliveryProgress>,
    /// Whether a report says that it failed.
    pub failed: bool,
    /// Whether a report says that it was deleted. That does not change the progress.
    pub deleted: bool,
}

impl DeliveryStatus {
    /// The status of one report, by the provider's word; `None` for an unknown word.
    pub fn from_status(word: &str) -> Option<Self> {
        Some(match PROVIDER.parse_status(word)? {
            ReportedStatus::Reached(progress) => Self { reached: Some(progress), ..Self::default() },
            ReportedStatus::Failed => Self { failed: true, ..Self::default() },
            ReportedStatus::Deleted => Self { deleted: true, ..Self::default() },
        })
    }

    /// The status in an item of the ledger, or the attribute that has an unknown word.
    pub(super) fn of_item(item: ItemReader<'_>) -> Result<Self, &'static str> {
        let reached = match item.text("delivery_status") {
            Some(word) => Some(DeliveryProgress::from_name(word).ok_or("delivery_status")?),
            None => None,
        };
        Ok(Self { reached, failed: item.flag("failed"), deleted: item.flag("deleted") })
    }

    /// Adds the status to an item of the ledger.
    pub(super) fn add_to(self, item: &mut ItemWriter) {
        item.optional_text("delivery_status", self.reached.map(DeliveryProgress::name));
        item.flag("failed", self.failed);
        item.flag("deleted", self.deleted);
    }

    /// The status of a message that the line shows.
    pub fn sent() -> Self {
        Self { reached: Some(DeliveryProgress::Sent), ..Self::default() }
    }

    /// Combines two statuses.
    #[must_use]
    pub fn combine_with(self, other: Self) -> Self {
        Self {
            reached: self.reached.max(other.reached),
            failed: self.failed || other.failed,
            deleted: self.deleted || other.deleted,
        }
    }

    /// Whether the phone has it.
    pub fn has_arrived(self) -> bool {
        self.reached >= Some(DeliveryProgress::Delivered)
    }

    /// Whether it failed and the phone does not have it.
    pub fn has_failed(self) -> bool {
        self.failed && !self.has_arrived()
    }

    /// Whether the reports contradict each other: it failed, and the phone has it.
    pub fn is_contradictory(self) -> bool {
        self.failed && self.has_arrived()
    }

    /// Whether there is no report.
    pub fn is_unknown(self) -> bool {
        self == Self::default()
    }

    /// One word for the status; `None` if there is no report.
    pub fn status_name(self) -> Option<&'static str> {
        if self.has_failed() { Some("failed") } else { self.reached.map(DeliveryProgress::name) }
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status_name().unwrap_or("unknown"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUSES: [&str; 7] = ["failed", "pending", "sent", "delivered", "read", "played", "deleted"];

    fn combine_reports(words: &[&str]) -> DeliveryStatus {
        words
            .iter()
            .filter_map(|word| DeliveryStatus::from_status(word))
            .fold(DeliveryStatus::default(), DeliveryStatus::combine_with)
    }

    #[test]
    fn a_failure_counts_only_until_the_phone_has_the_message() {
        assert_eq!(combine_reports(&["sent", "failed"]).status_name(), Some("failed"));
        let both = combine_reports(&["failed", "delivered"]);
        assert_eq!(both.status_name(), Some("delivered"));
        assert!(both.is_contradictory() && !both.has_failed());
        assert_eq!(combine_reports(&["read", "delivered", "sent"]).status_name(), Some("read"));
        assert_eq!(DeliveryStatus::from_status("exploded"), None);
        assert_eq!(combine_reports(&["deleted"]).status_name(), None);
    }

    proptest! {
        #[test]
        fn reports_combine_to_the_same_status_in_every_order_and_number(
            words in prop::collection::vec(prop::sample::select(&STATUSES[..]), 0..12),
            seed in any::<prop::sample::Index>(),
        ) {
            let mut shuffled = words.clone();
            if !shuffled.is_empty() {
                let at = seed.index(shuffled.len());
                shuffled.rotate_left(at);
                shuffled.reverse();
                shuffled.extend_from_slice(&words[..at]);
            }
            prop_assert_eq!(combine_reports(&words), combine_reports(&shuffled));
            let mut before = DeliveryStatus::default();
            for word in &words {
                let after = before.combine_with(DeliveryStatus::from_status(word).unwrap());
                prop_assert!(after.reached >= before.reached, "a report took something back");
                before = after;
            }
        }
    }
}
