//! The flow of feeds: poll them and apply their reports to the appointment headers.

use std::sync::PoisonError;

use jiff::Timestamp;
use tellonce_core::{clock::Deadline, lookup::MAX_LOOKUP_TIME};

use crate::{
    ReminderScheduler,
    booking_outcome::BookingOutcome,
    feed::{FETCH_TIMEOUT, FeedPoller, PollSummary},
};

impl ReminderScheduler {
    /// Reads the feeds that are due and writes their changes into the headers. If `only` is set, it
    /// reads that calendar's feed, due or not.
    pub(crate) async fn poll_feeds(&self, only: Option<&str>, deadline: Deadline) -> PollSummary {
        let poller = FeedPoller {
            config: &self.dispatcher.config,
            http: &self.http,
            secrets: &self.dispatcher.secrets,
            feed_store: &self.feed_store,
            clock: &self.dispatcher.clock,
            base_urls: &self.feed_base_urls,
            // Bookings wait behind a push. A feed that takes longer is read on its schedule.
            fetch_time: if only.is_some() { MAX_LOOKUP_TIME } else { FETCH_TIMEOUT },
        };
        let summary =
            poller.poll_feeds(only, deadline, async |report| self.apply_report(&report).await.map(drop)).await;
        if only.is_none() {
            self.write_problems(&summary.problems);
        }
        summary
    }

    /// Reads a feed because a push reported a change, unless the feed was read after the push.
    /// Returns the outcome to store with the push. If the feed cannot be read now, its row says
    /// when the schedule reads it again, so the push has nothing to wait for.
    pub(crate) async fn poll_pushed_feed(
        &self,
        calendar: &str,
        pushed_at: Timestamp,
        deadline: Deadline,
    ) -> BookingOutcome {
        let now = self.dispatcher.clock.now();
        let lock_polled_at = || self.feeds_polled_at.lock().unwrap_or_else(PoisonError::into_inner);
        if lock_polled_at().get(calendar).is_some_and(|at| *at > pushed_at) {
            return BookingOutcome::FeedAlreadyPolled;
        }
        let summary = self.poll_feeds(Some(calendar), deadline).await;
        lock_polled_at().insert(calendar.to_owned(), now);
        match summary {
            PollSummary { unreadable: 0, failed: 0, deferred: 0, suspect: 0, reports, .. } => {
                BookingOutcome::FeedPolled(reports)
            }
            _ => BookingOutcome::FeedUnusable,
        }
    }
}
