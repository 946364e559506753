//! Queues: whoever is outside is told one thing after the other, by one writer at a time.
//!
//! A queue is a CRM's or a target's. Whoever takes its row ([`Gate::take`]) is the only one that calls there until it lets go or
//! its lease ends: so two of us never make the same contact twice, calls keep their pace, and one that does not work is left
//! alone for a while by all of us. What is in the queue waits meanwhile; nothing in it is ever given up.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::store::Kept;

/// Calls in a row that failed after which a queue is left alone.
const FAILURES: u32 = 8;
/// For how long it is left alone, the first time and those that follow.
const REST: [SignedDuration; 4] = [
    SignedDuration::from_secs(50),
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(10),
];
/// The same where a credential is not accepted: somebody has to store another one.
const REST_UNAUTHORIZED: SignedDuration = SignedDuration::from_mins(5);
/// How long a queue's row is remembered, which is only there to be found.
const KEEP: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The row of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Who calls there, and until when.
    pub holder: Option<(String, Timestamp)>,
    /// Not before then: it did not work, or asked for patience.
    pub closed_until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// How often it was closed in a row.
    pub closed: u32,
    /// When the next call's turn is, by its pace.
    pub next_turn: Option<Timestamp>,
    /// When it was last used.
    pub touched_at: Timestamp,
}

/// How a queue's turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It works.
    Works,
    /// Nothing was tried.
    Idle,
    /// It does not work now.
    Trouble {
        /// Whether it did a moment ago.
        worked: bool,
        /// Not before then, if it said so.
        until: Option<Timestamp>,
        /// Whether somebody has to store another credential.
        unauthorized: bool,
        /// Why.
        reason: String,
    },
}

/// Why a queue cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFree {
    /// It is left alone for a while.
    Closed,
    /// Somebody else has it.
    Held,
}

impl Gate {
    /// Takes the queue, if nobody has it and it may be called; `before` is its row.
    pub fn take(before: Option<&Self>, owner: &str, lease_until: Timestamp, now: Timestamp) -> Result<Self, NotFree> {
        let mut next = before.cloned().unwrap_or(Self {
            holder: None,
            closed_until: None,
            reason: None,
            closed: 0,
            next_turn: None,
            touched_at: now,
        });
        if next.closed_until.is_some_and(|until| now < until) {
            return Err(NotFree::Closed);
        }
        if next.holder.as_ref().is_some_and(|(holder, until)| holder != owner && now < *until) {
            return Err(NotFree::Held);
        }
        next.holder = Some((owner.to_owned(), lease_until));
        next.touched_at = now;
        Ok(next)
    }

    /// Lets it go; nothing if it is another's by now.
    pub fn release(&self, owner: &str, end: &End, next_turn: Timestamp, now: Timestamp) -> Option<Self> {
        self.holder.as_ref().filter(|(holder, _)| holder == owner)?;
        let mut next = Self { holder: None, next_turn: Some(next_turn), touched_at: now, ..self.clone() };
        match end {
            End::Idle => {}
            End::Works => {
                next.closed = 0;
                next.closed_until = None;
                next.reason = None;
            }
            End::Trouble { worked, until, unauthorized, reason } => {
                let closed = if *worked { 0 } else { self.closed };
                let nth = usize::try_from(closed).unwrap_or(usize::MAX).min(REST.len() - 1);
                let rest = if *unauthorized { REST_UNAUTHORIZED } else { REST[nth] };
                next.closed = closed + 1;
                next.closed_until = Some(until.unwrap_or(now + rest));
                next.reason = Some(reason.clone());
            }
        }
        Some(next)
    }
}

impl Kept for Gate {
    fn due(&self) -> Option<(String, Timestamp)> {
        None
    }

    fn forget_at(&self) -> Option<Timestamp> {
        self.touched_at.saturating_add(KEEP).ok()
    }
}

/// Counts what fails in a row.
#[derive(Debug, Default)]
pub struct Streak(u32);

impl Streak {
    /// A call worked.
    pub fn broken(&mut self) {
        self.0 = 0;
    }

    /// A call failed; says whether it is time to leave the queue alone.
    pub fn failed(&mut self) -> bool {
        self.0 += 1;
        self.0 >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn trouble() -> End {
        End::Trouble { worked: false, until: None, unauthorized: false, reason: "it did not answer".into() }
    }

    #[test]
    fn a_queue_has_one_writer_until_it_lets_go_or_dies() {
        let held = Gate::take(None, "a", at(60), at(0)).unwrap();
        assert_eq!(Gate::take(Some(&held), "b", at(70), at(10)), Err(NotFree::Held));
        assert!(Gate::take(Some(&held), "a", at(70), at(10)).is_ok(), "its own");
        assert!(Gate::take(Some(&held), "b", at(120), at(60)).is_ok(), "it died");
        let taken = Gate::take(Some(&held), "b", at(120), at(60)).unwrap();
        assert_eq!(taken.release("a", &End::Works, at(61), at(61)), None, "whoever slept changes nothing");
        let free = held.release("a", &End::Works, at(3), at(2)).unwrap();
        assert!(free.next_turn == Some(at(3)) && Gate::take(Some(&free), "b", at(70), at(2)).is_ok());
    }

    #[test]
    fn one_that_does_not_work_is_left_alone_longer_each_time_until_it_works() {
        let mut gate = Gate::take(None, "a", at(60), at(0)).unwrap();
        let mut now = at(0);
        let mut rests = Vec::new();
        for _ in 0..6 {
            gate = gate.release("a", &trouble(), now, now).unwrap();
            let until = gate.closed_until.unwrap();
            rests.push(until.duration_since(now).as_secs());
            assert_eq!(Gate::take(Some(&gate), "a", now, now), Err(NotFree::Closed));
            now = until;
            gate = Gate::take(Some(&gate), "a", now + SignedDuration::from_secs(60), now).unwrap();
        }
        assert_eq!(rests, [50, 120, 300, 600, 600, 600]);
        let said = End::Trouble {
            worked: false,
            until: Some(now + SignedDuration::from_secs(7)),
            unauthorized: false,
            reason: String::new(),
        };
        assert_eq!(gate.release("a", &said, now, now).unwrap().closed_until, Some(now + SignedDuration::from_secs(7)));
        let End::Trouble { until, unauthorized, reason, .. } = trouble() else { panic!() };
        let again = End::Trouble { worked: true, until, unauthorized, reason };
        assert_eq!(gate.release("a", &again, now, now).unwrap().closed_until, Some(now + REST[0]));
        let works = gate.release("a", &End::Works, now, now).unwrap();
        assert_eq!((works.closed, works.closed_until), (0, None));
    }
}
