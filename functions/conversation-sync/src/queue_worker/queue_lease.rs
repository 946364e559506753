//! The lease of a queue: one CRM or target has one writer at a time.
//!
//! The invocation that acquires the queue's row ([`QueueLeases::acquire`]) is the only one that
//! calls its CRM or target until it releases the row or its lease ends. So two instances never
//! create the same contact twice, calls keep the rate limit, and all instances pause a queue that
//! fails. The tasks of the queue wait meanwhile; none is given up.
//!
//! A run costs two writes, whatever the number of its tasks: one update acquires the row if it is
//! free and not paused, and one releases it. Attributes of other versions of tellonce stay.

use aws_sdk_dynamodb::{
    Client,
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::ReturnValue,
};
use jiff::{SignedDuration, Timestamp};
use tellonce_core::attributes::{Item, ItemReader, number_value, send_if_current, text_value, time_value};

use crate::record_store::{ItemKey, RecordStoreError};

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

/// The lease of a queue, as its holder knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueLease {
    /// How often the queue was paused in a row.
    pub pause_count: u32,
    /// When the rate limit allows the next call.
    pub next_call_at: Option<Timestamp>,
}

/// What the end of a run writes into the row of its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseChange {
    /// The pause stays as it was.
    Keep,
    /// The queue works.
    End,
    /// The queue is paused.
    Pause {
        /// No call before then.
        until: Timestamp,
        /// How often it was paused in a row.
        count: u32,
        /// Why, for operators.
        reason: String,
    },
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

impl QueueLease {
    /// What a run that ended this way means for the queue's pause.
    pub fn change_pause(&self, run_end: &RunEnd, now: Timestamp) -> PauseChange {
        match run_end {
            RunEnd::Idle => PauseChange::Keep,
            RunEnd::Working => PauseChange::End,
            RunEnd::Failing { worked_before, not_before, needs_credential, reason } => {
                let pause_count = if *worked_before { 0 } else { self.pause_count };
                let nth = usize::try_from(pause_count).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
                let pause = if *needs_credential { UNAUTHORIZED_PAUSE } else { PAUSES[nth] };
                PauseChange::Pause {
                    until: not_before.unwrap_or(now + pause),
                    count: pause_count + 1,
                    reason: reason.clone(),
                }
            }
        }
    }
}

/// The rows of all queues, in the ledger's table.
#[derive(Debug, Clone)]
pub struct QueueLeases {
    db: Client,
    table: String,
}

impl QueueLeases {
    /// Uses the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// Acquires a queue. `None` if it is paused, or if another invocation holds it.
    pub async fn acquire(
        &self,
        queue: &str,
        owner: &str,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<QueueLease>, RecordStoreError> {
        let update = self
            .update_row(queue, owner, now)
            .update_expression("SET #owner = :owner, lease_until = :until, #ttl = :ttl")
            .condition_expression(
                "(attribute_not_exists(paused_until) OR paused_until <= :now) \
                 AND (attribute_not_exists(#owner) OR #owner = :owner OR lease_until <= :now)",
            )
            .expression_attribute_values(":until", time_value(lease_until))
            .expression_attribute_values(":now", time_value(now))
            .return_values(ReturnValue::AllNew);
        match update.send().await {
            Ok(written) => Ok(Some(read_lease(written.attributes().unwrap_or(&Item::new())))),
            Err(error)
                if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(RecordStoreError::UpdateFailed(Box::new(error))),
        }
    }

    /// Releases a queue. Changes nothing if another owner holds it by now.
    pub async fn release(
        &self,
        queue: &str,
        owner: &str,
        pause: &PauseChange,
        next_call_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), RecordStoreError> {
        let (set, remove) = match pause {
            PauseChange::Keep => ("", ""),
            PauseChange::End => ("", ", paused_until, reason, pause_count"),
            PauseChange::Pause { .. } => (", paused_until = :paused, reason = :reason, pause_count = :count", ""),
        };
        let mut update = self
            .update_row(queue, owner, now)
            .update_expression(format!("SET next_call_at = :next, #ttl = :ttl{set} REMOVE #owner, lease_until{remove}"))
            .condition_expression("#owner = :owner")
            .expression_attribute_values(":next", time_value(next_call_at));
        if let PauseChange::Pause { until, count, reason } = pause {
            update = update
                .expression_attribute_values(":paused", time_value(*until))
                .expression_attribute_values(":count", number_value(*count))
                .expression_attribute_values(":reason", text_value(reason.as_str()));
        }
        // The condition fails if the lease ended and another owner has it, or if the response to
        // this write was lost.
        send_if_current(update).await.map(drop).map_err(RecordStoreError::UpdateFailed)
    }

    /// Why a queue was paused last, for people; none since it works.
    pub async fn read_reason(&self, queue: &str) -> Result<Option<String>, RecordStoreError> {
        let ItemKey { subject, stage } = ItemKey::for_state(queue);
        let get = self.db.get_item().table_name(&self.table).consistent_read(true);
        let get = get.key("subject", text_value(subject)).key("stage", text_value(stage));
        let row = get.send().await.map_err(|error| RecordStoreError::GetFailed(Box::new(error)))?.item;
        Ok(row.and_then(|row| ItemReader(&row).owned("reason")))
    }

    fn update_row(&self, queue: &str, owner: &str, now: Timestamp) -> UpdateItemFluentBuilder {
        let ItemKey { subject, stage } = ItemKey::for_state(queue);
        let ttl = now.as_second() + LEASE_ROW_RETENTION.as_secs();
        self.db
            .update_item()
            .table_name(&self.table)
            .key("subject", text_value(subject))
            .key("stage", text_value(stage))
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":owner", text_value(owner))
            .expression_attribute_values(":ttl", number_value(ttl))
    }
}

fn read_lease(row: &Item) -> QueueLease {
    let row = ItemReader(row);
    QueueLease { pause_count: row.number("pause_count").unwrap_or(0), next_call_at: row.time("next_call_at") }
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

    fn at_second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn failing_run(worked_before: bool, not_before: Option<Timestamp>) -> RunEnd {
        RunEnd::Failing { worked_before, not_before, needs_credential: false, reason: "no response".into() }
    }

    fn pause_after(lease: &QueueLease, run_end: &RunEnd, now: Timestamp) -> (i64, u32) {
        match lease.change_pause(run_end, now) {
            PauseChange::Pause { until, count, .. } => (until.duration_since(now).as_secs(), count),
            PauseChange::Keep | PauseChange::End => panic!("the queue is not paused"),
        }
    }

    #[test]
    fn a_failing_queue_is_paused_longer_each_time_until_it_works() {
        let now = at_second(0);
        let mut lease = QueueLease::default();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let (seconds, count) = pause_after(&lease, &failing_run(false, None), now);
            pauses.push(seconds);
            lease.pause_count = count;
        }
        assert_eq!(pauses, [50, 120, 300, 600, 600, 600]);
        assert_eq!(pause_after(&lease, &failing_run(false, Some(at_second(7))), now), (7, 7), "as the system asked");
        assert_eq!(pause_after(&lease, &failing_run(true, None), now), (50, 1), "it worked in this run");
        assert_eq!(lease.change_pause(&RunEnd::Working, now), PauseChange::End);
        assert_eq!(lease.change_pause(&RunEnd::Idle, now), PauseChange::Keep);
    }
}
