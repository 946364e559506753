//! The replays of deliveries that wait for a lookup, of all inboxes.
//!
//! Flow: every minute [`LookupReplays::replay_due`] reads what waits and ends the lookups that have
//! become useless. It replays one delivery of each sender with something due. If the lookup of that
//! one succeeds, it replays the others of the sender at once. So what waited goes out within
//! minutes after the sender works again, and a sender that still fails costs one lookup.
//!
//! Promises: a delivery is replayed only if its outcome still says that it waits, so two sweeps at
//! once replay it once. Reads no delivery: the role may only update.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tellonce_core::{
    client_config::ClientConfig,
    clock::{Clock, Deadline},
    fault::{ClassifyFault, Fault, error_chain},
    inbox::{Inbox, InboxError},
    telemetry::Gauge,
    waiting_lookup::{
        LookupInbox, ReplayPlan, SenderReplays, UnansweredLookup, UnreadableRows, WAITING_CODE, WaitingLookup,
        WaitingLookupError, WaitingLookups, report_ended_lookup,
    },
};

/// How long a replayed delivery may take before it is due again. Its function writes the row before
/// that, unless the function itself fails. Then Lambda repeats the record.
const TIME_TO_PROCESS: SignedDuration = SignedDuration::from_mins(10);
/// How long a delivery without the outcome of a waiting one may still be in progress: longer than
/// any function runs. After that its row is left over, for example from a record that Lambda
/// repeated.
const TIME_IN_PROGRESS: SignedDuration = SignedDuration::from_mins(5);
/// The pauses between two looks at the delivery that is replayed first. Their sum covers a cold
/// start and a lookup that takes its whole time.
const LOOK_PAUSES_MS: [u64; 12] = [50, 100, 200, 400, 750, 1000, 1000, 1000, 1000, 1500, 1500, 1500];
/// The most replays of one sender at the same time, and the most lookups that end at the same time.
const MAX_CONCURRENT: usize = 8;

/// The replays failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupReplayError {
    /// The rows could not be read or written.
    #[error(transparent)]
    Rows(#[from] WaitingLookupError),
    /// The outcome of a delivery could not be changed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

impl ClassifyFault for LookupReplayError {
    fn fault(&self) -> Fault {
        match self {
            Self::Rows(error) => error.fault(),
            Self::Inbox(error) => error.fault(),
        }
    }
}

/// What one minute did about waiting lookups.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ReplayedLookups {
    /// Deliveries that are processed again.
    pub(crate) replayed: usize,
    /// Deliveries whose lookup has become useless.
    pub(crate) ended: usize,
    /// What waited before this minute for longer than usual.
    pub(crate) waits: Vec<LookupWait>,
}

/// The longest wait of a sender, or that of rows that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LookupWait {
    /// When the lookup failed first.
    pub(crate) since: Timestamp,
    /// Who waits, and why. For people.
    pub(crate) reason: String,
}

/// Replays the deliveries of a client's inboxes.
pub(crate) struct LookupReplays<'a> {
    pub(crate) rows: &'a WaitingLookups,
    pub(crate) stores: &'a Inbox,
    pub(crate) bookings: &'a Inbox,
    pub(crate) leads: &'a Inbox,
    pub(crate) config: &'a ClientConfig,
    pub(crate) clock: &'a Clock,
}

impl LookupReplays<'_> {
    /// Replays what is due, all senders at the same time. A row that fails does not stop the
    /// others.
    pub(crate) async fn replay_due(&self, deadline: Deadline) -> Result<ReplayedLookups, LookupReplayError> {
        let now = self.clock.now();
        let mut plan = self.rows.plan_replays(now, deadline).await?;
        let senders = plan.take_replays(now).into_iter().map(|sender| self.replay_sender(sender, deadline));
        let ends = plan.ended.iter().map(async |lookup| {
            let is_ended =
                deadline.has_time_for_call() && log_failure(lookup, self.end_lookup(lookup).await).unwrap_or(false);
            usize::from(is_ended)
        });
        let ends = futures::stream::iter(ends).buffer_unordered(MAX_CONCURRENT);
        let (replayed, ended, waits) = tokio::join!(
            futures::future::join_all(senders),
            ends.fold(0, async |sum, one| sum + one),
            self.describe_waits(&plan, now)
        );
        Ok(ReplayedLookups { replayed: replayed.into_iter().sum(), ended, waits })
    }

    /// The longest wait of each sender, if it is longer than usual. None in quiet hours, when the
    /// messages would wait in any case.
    async fn describe_waits(&self, plan: &ReplayPlan, now: Timestamp) -> Vec<LookupWait> {
        if let Some(UnreadableRows { count, subject, .. }) = &plan.unreadable {
            tracing::error!("could not read {count} rows of waiting lookups, the first is {subject}");
        }
        if self.config.quiet_hours_end(now).is_some() {
            return Vec::new();
        }
        let is_unusual = |since: Timestamp| now.duration_since(since) >= Gauge::USUAL_WAIT;
        let oldest = plan.oldest_of_senders().filter(|lookup| is_unusual(lookup.waiting_since));
        let waits = oldest.map(async |lookup| {
            let reason = match self.rows.read_reason(lookup).await {
                Ok(reason) => reason.unwrap_or_else(|| "its row has no reason".to_owned()),
                Err(error) => error_chain(&error),
            };
            let reason = format!("lookups of {}: {reason}", lookup.sender());
            LookupWait { since: lookup.waiting_since, reason }
        });
        let mut waits = futures::future::join_all(waits).await;
        let unreadable = plan.unreadable.iter().filter(|rows| is_unusual(rows.waiting_since));
        waits.extend(unreadable.map(|UnreadableRows { count, subject, waiting_since }| LookupWait {
            since: *waiting_since,
            reason: format!("{count} rows of waiting lookups cannot be read, the first is {subject}"),
        }));
        waits
    }

    /// Replays the deliveries of one sender, and returns how many.
    async fn replay_sender(&self, SenderReplays { first, others }: SenderReplays, deadline: Deadline) -> usize {
        let now = self.clock.now();
        let mut waiting = std::iter::once(first).chain(others);
        let replayed = loop {
            let is_due = |lookup: &WaitingLookup| lookup.due_at <= now && deadline.has_time_for_call();
            let Some(lookup) = waiting.next().filter(is_due) else { return 0 };
            match log_failure(&lookup, self.replay_lookup(&lookup).await) {
                Some(Some(replayed)) => break replayed,
                // It does not wait. The next one finds out whether the sender works.
                Some(None) => {}
                None => return 0,
            }
        };
        let others: Vec<WaitingLookup> = waiting.collect();
        if others.is_empty() || log_failure(&replayed, self.lookup_succeeds(&replayed, deadline).await) != Some(true) {
            return 1;
        }
        let replays = others.iter().map(async |lookup| {
            if !deadline.has_time_for_call() {
                return 0;
            }
            usize::from(matches!(log_failure(lookup, self.replay_lookup(lookup).await), Some(Some(_))))
        });
        let replays = futures::stream::iter(replays).buffer_unordered(MAX_CONCURRENT);
        1 + replays.fold(0, async |sum, one| sum + one).await
    }

    /// Replays a delivery and makes its row due later. Returns the row as it is then, or `None` if
    /// the delivery does not wait.
    ///
    /// The replay comes first: if this ends in between, the next minute replays again, and finds no
    /// outcome to remove.
    async fn replay_lookup(&self, lookup: &WaitingLookup) -> Result<Option<WaitingLookup>, LookupReplayError> {
        let now = self.clock.now();
        if !self.inbox(lookup.inbox).replay_delivery(&lookup.delivery_id, Some(WAITING_CODE), now).await? {
            if is_left_over(lookup, now) {
                self.rows.settle_unchanged(lookup).await?;
            }
            return Ok(None);
        }
        // If its function was faster, its row or the lack of one is the answer.
        Ok(Some(self.rows.postpone(lookup, now + TIME_TO_PROCESS).await?.unwrap_or_else(|| lookup.clone())))
    }

    /// Whether the lookup of a replayed delivery succeeds: its function settles the row then. After
    /// another failure the function writes the row again.
    async fn lookup_succeeds(&self, replayed: &WaitingLookup, deadline: Deadline) -> Result<bool, LookupReplayError> {
        for pause in LOOK_PAUSES_MS {
            if !deadline.has_time_for_call() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match self.rows.reread(replayed).await? {
                None => return Ok(true),
                Some(now) if now != *replayed => return Ok(false),
                Some(_) => {}
            }
        }
        Ok(false)
    }

    /// Ends a lookup that has become useless. The outcome comes first, so that a delivery without a
    /// row does not wait. Returns whether the delivery waited.
    async fn end_lookup(&self, lookup: &WaitingLookup) -> Result<bool, LookupReplayError> {
        let WaitingLookup { inbox, delivery_id, .. } = lookup;
        let now = self.clock.now();
        let ended = UnansweredLookup::ended("the sender's API could not be asked in time").into();
        let is_ended = self.inbox(*inbox).replace_outcome(delivery_id, WAITING_CODE, &ended, now).await?;
        if is_ended {
            report_ended_lookup(self.config, delivery_id, lookup.waiting_since, now);
        }
        // A delivery in progress may be about to get the outcome that needs the row.
        if is_ended || is_left_over(lookup, now) {
            self.rows.settle_unchanged(lookup).await?;
        }
        Ok(is_ended)
    }

    fn inbox(&self, inbox: LookupInbox) -> &Inbox {
        match inbox {
            LookupInbox::Stores => self.stores,
            LookupInbox::Bookings => self.bookings,
            LookupInbox::Leads => self.leads,
        }
    }
}

/// Whether no function can still process the delivery of a row.
fn is_left_over(lookup: &WaitingLookup, now: Timestamp) -> bool {
    now.duration_since(lookup.due_at) > TIME_IN_PROGRESS
}

/// Logs the failure of one delivery. The next minute tries again.
fn log_failure<T>(lookup: &WaitingLookup, result: Result<T, LookupReplayError>) -> Option<T> {
    let id = &lookup.delivery_id;
    result
        .inspect_err(|error| {
            tracing::error!(delivery.id = id, "could not replay delivery {id}: {}", error_chain(error));
        })
        .ok()
}
