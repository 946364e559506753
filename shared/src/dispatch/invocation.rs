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
    is_sweep: bool,
}

impl Invocation {
    /// An invocation for new deliveries. Lines that are known to be down are left alone.
    /// `request_id` is the id that Lambda gives.
    pub fn for_deliveries(request_id: &str, deadline: Deadline, now: Timestamp) -> Self {
        Self::new(request_id, deadline, false, now)
    }

    /// An invocation for everything that is due. It requests the health of lines that are known to
    /// be down, which finds out that they are back.
    pub fn for_sweep(request_id: &str, deadline: Deadline, now: Timestamp) -> Self {
        Self::new(request_id, deadline, true, now)
    }

    /// Lambda repeats the id when it retries an invocation, so the time is part of the owner.
    fn new(request_id: &str, deadline: Deadline, is_sweep: bool, now: Timestamp) -> Self {
        let owner = ClaimOwner(format!("{request_id}@{}", now.as_microsecond()));
        Self { owner, deadline, is_sweep }
    }

    /// Whether it sends everything that is due.
    pub fn is_sweep(&self) -> bool {
        self.is_sweep
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
