//! The flow of feeds: poll them and apply their reports to the appointment headers.

use std::sync::PoisonError;

use jiff::Timestamp;
use tellonce_core::{clock::Deadline, fault::error_chain, waiting_lookup::MAX_LOOKUP_TIME};

use crate::{
    PushedPoll, ReminderScheduler,
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

    /// Reads a feed because a push reported a change, unless a read began after the push, or a read
    /// that was too slow ended after it. Returns the outcome to store with the push. If the feed
    /// cannot be read now, its row says when the schedule reads it again, so the push has nothing
    /// to wait for.
    pub(crate) async fn poll_pushed_feed(
        &self,
        calendar: &str,
        pushed_at: Timestamp,
        deadline: Deadline,
    ) -> BookingOutcome {
        let began_at = self.dispatcher.clock.now();
        let lock_polls = || self.pushed_polls.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lock_polls().get(calendar).copied().filter(|last| last.at > pushed_at);
        match last {
            Some(PushedPoll { is_deferred: false, .. }) => return BookingOutcome::FeedAlreadyPolled,
            // Each push of a slow feed would hold up the bookings behind it.
            Some(PushedPoll { is_deferred: true, .. }) => return BookingOutcome::FeedUnusable,
            None => {}
        }
        let summary = self.poll_feeds(Some(calendar), deadline).await;
        let is_deferred = summary.deferred > 0;
        // The schedule reads a deferred feed later, with all changes until now.
        let at = if is_deferred { self.dispatcher.clock.now() } else { began_at };
        let is_left_due = !is_deferred || self.leave_feed_due(calendar).await;
        if is_left_due {
            lock_polls().insert(calendar.to_owned(), PushedPoll { at, is_deferred });
        }
        match summary {
            PollSummary { unreadable: 0, failed: 0, deferred: 0, suspect: 0, reports, .. } => {
                BookingOutcome::FeedPolled(reports)
            }
            _ => BookingOutcome::FeedUnusable,
        }
    }
    /// Lets the schedule read a feed at once. Returns whether it will.
    async fn leave_feed_due(&self, calendar: &str) -> bool {
        let saved = self.feed_store.leave_due(calendar).await.inspect_err(|error| {
            let error = error_chain(error);
            tracing::error!(calendar.name = calendar, "could not let feed {calendar} be read at once: {error}");
        });
        saved.is_ok()
    }
}
