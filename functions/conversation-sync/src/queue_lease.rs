//! Queues: whoever is outside is told one thing after the other, by one writer at a time.
//!
//! A queue is a CRM's or a target's. Whoever takes its row ([`QueueLease::take`]) is the only one that calls there until it lets go or
//! its lease ends: so two of us never make the same contact twice, calls keep their pace, and one that does not work is left
//! alone for a while by all of us. What is in the queue waits meanwhile; nothing in it is ever given up.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::record_store::Persisted;

/// Calls in a row that failed after which a queue is left alone.
const MAX_FAILURES_IN_A_ROW: u32 = 8;
/// For how long it is left alone, the first time and those that follow.
const PAUSES: [SignedDuration; 4] = [
    SignedDuration::from_secs(50),
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(10),
];
/// The same where a credential is not accepted: somebody has to store another one.
const UNAUTHORIZED_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// How long a queue's row is remembered, which is only there to be found.
const LEASE_ROW_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The row of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLease {
    /// Who calls there, and until when.
    pub holder: Option<(String, Timestamp)>,
    /// Not before then: it did not work, or asked for patience.
    pub paused_until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// How often it was closed in a row.
    pub pause_count: u32,
    /// When the next call's turn is, by its pace.
    pub next_call_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Timestamp,
}

/// How a queue's turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// It works.
    Working,
    /// Nothing was tried.
    Idle,
    /// It does not work now.
    Failing {
        /// Whether it did a moment ago.
        worked_before: bool,
        /// Not before then, if it said so.
        not_before: Option<Timestamp>,
        /// Whether somebody has to store another credential.
        needs_credential: bool,
        /// Why.
        reason: String,
    },
}

/// Why a queue cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseRefusal {
    /// It is left alone for a while.
    Paused,
    /// Somebody else has it.
    Taken,
}

impl QueueLease {
    /// Takes the queue, if nobody has it and it may be called; `before` is its row.
    pub fn acquire(
        before: Option<&Self>,
        owner: &str,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Self, LeaseRefusal> {
        let mut next = before.cloned().unwrap_or(Self {
            holder: None,
            paused_until: None,
            reason: None,
            pause_count: 0,
            next_call_at: None,
            last_used_at: now,
        });
        if next.paused_until.is_some_and(|until| now < until) {
            return Err(LeaseRefusal::Paused);
        }
        if next.holder.as_ref().is_some_and(|(holder, until)| holder != owner && now < *until) {
            return Err(LeaseRefusal::Taken);
        }
        next.holder = Some((owner.to_owned(), lease_until));
        next.last_used_at = now;
        Ok(next)
    }

    /// Lets it go; nothing if it is another's by now.
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
            RunEnd::Failing { worked_before: worked, not_before: until, needs_credential: unauthorized, reason } => {
                let pause_count = if *worked { 0 } else { self.pause_count };
                let nth = usize::try_from(pause_count).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
                let pause = if *unauthorized { UNAUTHORIZED_PAUSE } else { PAUSES[nth] };
                next.pause_count = pause_count + 1;
                next.paused_until = Some(until.unwrap_or(now + pause));
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

/// Counts what fails in a row.
#[derive(Debug, Default)]
pub struct FailureStreak(u32);

impl FailureStreak {
    /// A call worked.
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    /// A call failed; says whether it is time to leave the queue alone.
    pub fn record_failure(&mut self) -> bool {
        self.0 += 1;
        self.0 >= MAX_FAILURES_IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn failing_run() -> RunEnd {
        RunEnd::Failing {
            worked_before: false,
            not_before: None,
            needs_credential: false,
            reason: "it did not answer".into(),
        }
    }

    #[test]
    fn a_queue_has_one_writer_until_it_releases_the_lease_or_dies() {
        let held = QueueLease::acquire(None, "a", at_second(60), at_second(0)).unwrap();
        assert_eq!(QueueLease::acquire(Some(&held), "b", at_second(70), at_second(10)), Err(LeaseRefusal::Taken));
        assert!(QueueLease::acquire(Some(&held), "a", at_second(70), at_second(10)).is_ok(), "its own");
        assert!(QueueLease::acquire(Some(&held), "b", at_second(120), at_second(60)).is_ok(), "it died");
        let taken = QueueLease::acquire(Some(&held), "b", at_second(120), at_second(60)).unwrap();
        assert_eq!(
            taken.release("a", &RunEnd::Working, at_second(61), at_second(61)),
            None,
            "whoever slept changes nothing"
        );
        let free = held.release("a", &RunEnd::Working, at_second(3), at_second(2)).unwrap();
        assert!(
            free.next_call_at == Some(at_second(3))
                && QueueLease::acquire(Some(&free), "b", at_second(70), at_second(2)).is_ok()
        );
    }

    #[test]
    fn a_failing_queue_is_paused_longer_each_time_until_it_works() {
        let mut lease = QueueLease::acquire(None, "a", at_second(60), at_second(0)).unwrap();
        let mut now = at_second(0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            lease = lease.release("a", &failing_run(), now, now).unwrap();
            let until = lease.paused_until.unwrap();
            pauses.push(until.duration_since(now).as_secs());
            assert_eq!(QueueLease::acquire(Some(&lease), "a", now, now), Err(LeaseRefusal::Paused));
            now = until;
            lease = QueueLease::acquire(Some(&lease), "a", now + SignedDuration::from_secs(60), now).unwrap();
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
