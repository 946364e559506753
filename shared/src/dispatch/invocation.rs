//! One invocation of a function: the owner of its claims, and its deadline.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{clock::Deadline, ledger::ClaimOwner, provider::PROVIDER};

/// Time that one more send needs: the send itself and its settlement.
pub(super) const MIN_TIME_FOR_SEND: Duration = Duration::from_secs(13);

/// Owner and deadline of one function invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The owner of its claims.
    pub owner: ClaimOwner,
    /// When it must have ended.
    pub deadline: Deadline,
    /// What it works on.
    pub kind: InvocationKind,
}

/// What an invocation works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvocationKind {
    /// New deliveries. Lines that are known to be down are left alone.
    Deliveries,
    /// Everything that is due. The health of lines that are known to be down is requested, which
    /// finds out that they are back.
    Sweep,
}

impl Invocation {
    /// An invocation with the id that Lambda gives. Lambda repeats the id when it retries an
    /// invocation, so the time is part of the owner.
    pub fn new(request_id: &str, deadline: Deadline, kind: InvocationKind, now: Timestamp) -> Self {
        let owner = ClaimOwner(format!("{request_id}@{}", now.as_microsecond()));
        Self { owner, deadline, kind }
    }

    /// Whether it sends everything that is due.
    pub fn is_sweep(&self) -> bool {
        self.kind == InvocationKind::Sweep
    }

    /// Whether there is time for one more send.
    pub fn has_time_for_send(&self) -> bool {
        self.deadline.remaining() > MIN_TIME_FOR_SEND
    }

    /// Whether there is time for the send itself and its settlement.
    pub(super) fn has_time_to_submit(&self) -> bool {
        self.deadline.remaining() > PROVIDER.facts().send_timeout + Duration::from_secs(2)
    }

    /// When a claim made at `now` expires.
    pub fn lease_until(&self, now: Timestamp) -> Timestamp {
        // After the deadline Lambda has ended the process. The extra second covers rounding.
        let millis = i64::try_from(self.deadline.remaining().as_millis()).unwrap_or(i64::MAX / 2);
        now + SignedDuration::from_millis(millis.min(3_600_000)) + SignedDuration::from_secs(1)
    }
}
