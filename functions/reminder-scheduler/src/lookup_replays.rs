//! The replays of deliveries that wait for a lookup, of all inboxes.
//!
//! Flow: every minute [`LookupReplays::replay_due`] lists what waits and ends what is no longer
//! useful. Of each sender with something due it replays one delivery. If the lookup of that one
//! succeeds, it replays the others of the sender at once. So what waited goes out within minutes
//! after the sender works again, and a sender that still fails costs one lookup.
//!
//! Promises: a delivery is replayed only if its outcome still says that it waits, so two sweeps at
//! once replay it once. Reads no delivery: the role may only update.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tellonce_core::{
    clock::{Clock, Deadline},
    fault::{ClassifyFault, Fault, error_chain},
    inbox::{Inbox, InboxError},
    waiting_lookup::{
        LookupInbox, ReplayPlan, SenderReplays, UnansweredLookup, WAITING_CODE, WaitingLookup, WaitingLookupError,
        WaitingLookups, plan_replays, report_ended_lookup,
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
/// The most deliveries of one sender that are replayed in a minute: so many lookups, one after the
/// other, leave the stream time for new deliveries.
const MAX_REPLAYS_PER_SENDER: usize = 200;
/// The most replays of one sender at the same time.
const MAX_CONCURRENT_REPLAYS: usize = 8;
/// With less time left than this, nothing more is replayed.
const MIN_TIME: Duration = Duration::from_secs(5);

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
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplayedLookups {
    /// Deliveries that are processed again.
    pub(crate) replayed: usize,
    /// Deliveries whose lookup is no longer useful.
    pub(crate) ended: usize,
    /// When the lookup that waits for longest failed first. `None` if none waited before this
    /// minute.
    pub(crate) oldest_waiting_since: Option<Timestamp>,
}

/// Replays the deliveries of a client's inboxes.
pub(crate) struct LookupReplays {
    pub(crate) rows: WaitingLookups,
    pub(crate) stores: Inbox,
    pub(crate) bookings: Inbox,
    pub(crate) leads: Inbox,
    pub(crate) client: String,
    pub(crate) clock: Clock,
}

impl LookupReplays {
    /// Replays what is due, all senders at the same time. A row that fails does not stop the
    /// others.
    pub(crate) async fn replay_due(&self, deadline: Deadline) -> Result<ReplayedLookups, LookupReplayError> {
        let waiting = self.rows.list().await?;
        let oldest_waiting_since = waiting.iter().map(|lookup| lookup.waiting_since).min();
        let ReplayPlan { ended, senders } = plan_replays(waiting, self.clock.now());
        let mut summary = ReplayedLookups { oldest_waiting_since, ..ReplayedLookups::default() };
        for lookup in &ended {
            let result = self.end_lookup(lookup).await;
            summary.ended += usize::from(log_failure(lookup, result).unwrap_or(false));
        }
        let senders = senders.into_iter().map(|sender| self.replay_sender(sender, deadline));
        summary.replayed = futures::future::join_all(senders).await.into_iter().sum();
        Ok(summary)
    }

    /// Replays the deliveries of one sender, and returns how many.
    async fn replay_sender(&self, SenderReplays { first, others }: SenderReplays, deadline: Deadline) -> usize {
        let now = self.clock.now();
        let mut waiting = std::iter::once(first).chain(others);
        let replayed = loop {
            let Some(lookup) = waiting.next().filter(|lookup| lookup.due_at <= now) else { return 0 };
            match log_failure(&lookup, self.replay_lookup(&lookup).await) {
                Some(Some(replayed)) => break replayed,
                // It does not wait. The next one finds out whether the sender works.
                Some(None) => {}
                None => return 0,
            }
        };
        let others: Vec<WaitingLookup> = waiting.take(MAX_REPLAYS_PER_SENDER).collect();
        if others.is_empty() || log_failure(&replayed, self.lookup_succeeds(&replayed, deadline).await) != Some(true) {
            return 1;
        }
        let replays = others.iter().map(async |lookup| {
            if deadline.remaining() < MIN_TIME {
                return 0;
            }
            usize::from(matches!(log_failure(lookup, self.replay_lookup(lookup).await), Some(Some(_))))
        });
        let replays = futures::stream::iter(replays).buffer_unordered(MAX_CONCURRENT_REPLAYS);
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
            if now.duration_since(lookup.due_at) > TIME_IN_PROGRESS {
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
            if deadline.remaining() < MIN_TIME {
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

    /// Ends a lookup that is no longer useful. The outcome comes first, so that a delivery without
    /// a row does not wait. Returns whether the delivery waited.
    async fn end_lookup(&self, lookup: &WaitingLookup) -> Result<bool, LookupReplayError> {
        let WaitingLookup { inbox, delivery_id, .. } = lookup;
        let now = self.clock.now();
        let ended = UnansweredLookup::ended("the sender's API could not be asked in time").into();
        let is_ended = self.inbox(*inbox).replace_outcome(delivery_id, WAITING_CODE, &ended, now).await?;
        if is_ended {
            report_ended_lookup(&self.client, delivery_id, now);
        }
        self.rows.settle_unchanged(lookup).await?;
        Ok(is_ended)
    }

    fn inbox(&self, inbox: LookupInbox) -> &Inbox {
        match inbox {
            LookupInbox::Stores => &self.stores,
            LookupInbox::Bookings => &self.bookings,
            LookupInbox::Leads => &self.leads,
        }
    }
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
