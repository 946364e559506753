//! The lease of a queue: one CRM or target has one writer at a time.
//!
//! The invocation that acquires the queue's row ([`QueueLease::acquire`]) is the only one that
//! calls its CRM or target until it releases the row or its lease ends. So two instances never
//! create the same contact twice, calls keep the rate limit, and all instances pause a queue that
//! fails. The tasks of the queue wait meanwhile; none is given up.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::record_store::Persisted;

/// After this many failed calls in a row a queue is paused.
const MAX_FAILURES_IN_A_ROW: u32 = 8;
/// How long it is paused, the first time and the next times.
const PAUSES: [SignedDuration; 4] = [
    SignedDuration::from_secs(50),
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(10),
];
/// How long it is paused after a rejected credential: an operator must store another one.
const UNAUTHORIZED_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// How long an unused row is kept.
const LEASE_ROW_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The row of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLease {
    /// The lease's owner, and when the lease ends.
    pub holder: Option<(String, Timestamp)>,
    /// No call before then: the destination failed, or asked to wait.
    pub paused_until: Option<Timestamp>,
    /// Why it is paused.
    pub reason: Option<String>,
    /// How often it was paused in a row.
    pub pause_count: u32,
    /// When the rate limit allows the next call.
    pub next_call_at: Option<Timestamp>,
    /// When the lease was last acquired or released.
    pub last_used_at: Timestamp,
}

/// How a run over a queue ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// The destination works.
    Working,
    /// No task was attempted.
    Idle,
    /// The destination fails.
    Failing {
        /// Whether it worked earlier in this run.
        worked_before: bool,
        /// When to call again, if the destination states it.
        not_before: Option<Timestamp>,
        /// Whether an operator must store another credential.
        needs_credential: bool,
        /// The error, for operators.
        reason: String,
    },
}

/// The result of an attempt to acquire a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAttempt {
    /// The caller holds the lease.
    Acquired(QueueLease),
    /// The queue is paused after failures.
    Paused,
    /// Another invocation holds the lease.
    Taken,
}

impl QueueLease {
    /// Acquires the queue if it is free and not paused. `before` is its row.
    pub fn acquire(before: Option<&Self>, owner: &str, lease_until: Timestamp, now: Timestamp) -> LeaseAttempt {
        let mut next = before.cloned().unwrap_or(Self {
            holder: None,
            paused_until: None,
            reason: None,
            pause_count: 0,
            next_call_at: None,
            last_used_at: now,
        });
        if next.paused_until.is_some_and(|until| now < until) {
            return LeaseAttempt::Paused;
        }
        if next.holder.as_ref().is_some_and(|(holder, until)| holder != owner && now < *until) {
            return LeaseAttempt::Taken;
        }
        next.holder = Some((owner.to_owned(), lease_until));
        next.last_used_at = now;
        LeaseAttempt::Acquired(next)
    }

    /// Releases the queue; none if another owner holds it by now.
    pub fn release(&self, owner: &str, run_end: &RunEnd, next_call_at: Timestamp, now: Timestamp) -> Option<Self> {
        self.holder.as_ref().filter(|(holder, _)| holder == owner)?;
        let mut next = Self { holder: None, next_call_at: Some(next_call_at), last_used_at: now, ..self.clone() };
        match run_end {
            RunEnd::Idle => {}
            RunEnd::Working => {
                next.pause_count = 0;
                next.paused_until = None;
                next.reason = None;
            }
            RunEnd::Failing { worked_before, not_before, needs_credential, reason } => {
                let pause_count = if *worked_before { 0 } else { self.pause_count };
                let nth = usize::try_from(pause_count).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
                let pause = if *needs_credential { UNAUTHORIZED_PAUSE } else { PAUSES[nth] };
                next.pause_count = pause_count + 1;
                next.paused_until = Some(not_before.unwrap_or(now + pause));
                next.reason = Some(reason.clone());
            }
        }
        Some(next)
    }
}

impl Persisted for QueueLease {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        None
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.last_used_at.saturating_add(LEASE_ROW_RETENTION).ok()
    }
}

/// Counts failed calls in a row.
#[derive(Debug, Default)]
pub struct FailureStreak(u32);

impl FailureStreak {
    /// Records a successful call.
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    /// Records a failed call. Returns whether to pause the queue.
    pub fn record_failure(&mut self) -> bool {
        self.0 += 1;
        self.0 >= MAX_FAILURES_IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl LeaseAttempt {
        fn acquired(self) -> Option<QueueLease> {
            match self {
                Self::Acquired(lease) => Some(lease),
                Self::Paused | Self::Taken => None,
            }
        }
    }

    fn at_second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn failing_run() -> RunEnd {
        RunEnd::Failing {
            worked_before: false,
            not_before: None,
            needs_credential: false,
            reason: "no response".into(),
        }
    }

    #[test]
    fn a_queue_has_one_writer_until_it_releases_the_lease_or_dies() {
        let held = QueueLease::acquire(None, "a", at_second(60), at_second(0)).acquired().unwrap();
        assert_eq!(QueueLease::acquire(Some(&held), "b", at_second(70), at_second(10)), LeaseAttempt::Taken);
        assert!(
            QueueLease::acquire(Some(&held), "a", at_second(70), at_second(10)).acquired().is_some(),
            "its own lease"
        );
        assert!(
            QueueLease::acquire(Some(&held), "b", at_second(120), at_second(60)).acquired().is_some(),
            "the owner died"
        );
        let taken = QueueLease::acquire(Some(&held), "b", at_second(120), at_second(60)).acquired().unwrap();
        assert_eq!(
            taken.release("a", &RunEnd::Working, at_second(61), at_second(61)),
            None,
            "a former owner changes nothing"
        );
        let free = held.release("a", &RunEnd::Working, at_second(3), at_second(2)).unwrap();
        assert!(
            free.next_call_at == Some(at_second(3))
                && QueueLease::acquire(Some(&free), "b", at_second(70), at_second(2)).acquired().is_some()
        );
    }

    #[test]
    fn a_failing_queue_is_paused_longer_each_time_until_it_works() {
        let mut lease = QueueLease::acquire(None, "a", at_second(60), at_second(0)).acquired().unwrap();
        let mut now = at_second(0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            lease = lease.release("a", &failing_run(), now, now).unwrap();
            let until = lease.paused_until.unwrap();
            pauses.push(until.duration_since(now).as_secs());
            assert_eq!(QueueLease::acquire(Some(&lease), "a", now, now), LeaseAttempt::Paused);
            now = until;
            lease =
                QueueLease::acquire(Some(&lease), "a", now + SignedDuration::from_secs(60), now).acquired().unwrap();
        }
        assert_eq!(pauses, [50, 120, 300, 600, 600, 600]);
        let with_time = RunEnd::Failing {
            worked_before: false,
            not_before: Some(now + SignedDuration::from_secs(7)),
            needs_credential: false,
            reason: String::new(),
        };
        assert_eq!(
            lease.release("a", &with_time, now, now).unwrap().paused_until,
            Some(now + SignedDuration::from_secs(7))
        );
        let RunEnd::Failing { not_before: until, needs_credential: unauthorized, reason, .. } = failing_run() else {
            panic!()
        };
        let again = RunEnd::Failing { worked_before: true, not_before: until, needs_credential: unauthorized, reason };
        assert_eq!(lease.release("a", &again, now, now).unwrap().paused_until, Some(now + PAUSES[0]));
        let works = lease.release("a", &RunEnd::Working, now, now).unwrap();
        assert_eq!((works.pause_count, works.paused_until), (0, None));
    }
}
