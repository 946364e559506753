//! Tasks: an entry for a CRM or a notification for a target, with its state.
//!
//! Invariants:
//! - Only the owner of a claim works on a task, until the lease ends.
//! - An owner that takes over a claim, or repeats a call without a response, knows that the earlier
//!   attempt may have arrived.
//! - A task that is done or skipped stays so. A refused task waits in a separate queue until an
//!   operator retries it.

pub mod created_tasks;
pub(crate) mod crm_tasks;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::ledger::refused_queue_name;

use crate::{
    crm::CrmEntry,
    notification::Notification,
    record_store::{Persisted, days_after},
};

/// How long after each try the next one is made.
const RETRY_DELAYS: [SignedDuration; 5] = [
    SignedDuration::from_secs(15),
    SignedDuration::from_secs(45),
    SignedDuration::from_mins(3),
    SignedDuration::from_mins(10),
    SignedDuration::from_mins(30),
];

/// One call to a CRM or target that must take effect once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTask {
    /// `crm:{name}` or `target:{name}`.
    pub queue: String,
    /// The entry or notification.
    pub content: TaskContent,
    /// The state.
    pub state: TaskState,
    /// Attempts that were started.
    pub attempts: u32,
    /// Whether an attempt may have arrived without a response.
    pub may_have_arrived: bool,
    /// The owner of the claim.
    pub owner: Option<String>,
    /// When the claim ends.
    #[serde(default)]
    pub lease_until: Option<Timestamp>,
    /// The time of the next attempt. A claim leaves it as it is: the index of due rows is written
    /// only when a task waits for another time.
    pub due_at: Option<Timestamp>,
    /// Why it is in this state, for operators.
    pub reason: Option<String>,
    /// The id that the CRM gave it.
    pub external_id: Option<String>,
    /// The delivery that caused it, by its key in the inbox, for the log. None: time caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Since when it should be done: since it was created, or since an operator retried it.
    pub waiting_since: Timestamp,
    /// How long the row is kept, in days.
    pub retention_days: u16,
}

/// The content of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskContent {
    /// A message, for a CRM.
    Entry(Box<CrmEntry>),
    /// An alert, for a target.
    Notification(Box<Notification>),
    /// Nothing: the customer was forgotten. The key stays, so that it is not made again.
    Erased,
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// Waits until it is due.
    Waiting,
    /// An owner works on it, until it is due.
    Claimed,
    /// The destination has it.
    Done,
    /// The destination refused it. An operator must find out why.
    Refused,
    /// The destination does not need it.
    Skipped,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The destination has it, under this id if it gives ids.
    Done(Option<String>),
    /// The destination does not need it, for this reason.
    Skipped(&'static str),
    /// The destination refused it for good.
    Refused(String),
    /// It failed for now.
    RetryLater {
        /// When to retry, if the destination states it.
        not_before: Option<Timestamp>,
        /// Whether it may have arrived nevertheless.
        may_have_arrived: bool,
        /// Why it failed.
        reason: String,
    },
}

/// The task is not due, or the caller does not own its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskUnavailable;

impl QueueTask {
    /// A new task, due at once.
    pub fn new(queue: String, content: TaskContent, retention_days: u16, now: Timestamp) -> Self {
        Self {
            queue,
            content,
            state: TaskState::Waiting,
            attempts: 0,
            may_have_arrived: false,
            owner: None,
            lease_until: None,
            due_at: Some(now),
            reason: None,
            external_id: None,
            delivery: None,
            created_at: now,
            waiting_since: now,
            retention_days,
        }
    }

    /// The task with the delivery that caused it.
    #[must_use]
    pub fn for_delivery(self, delivery: String) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// Claims the task until the lease ends.
    pub fn claim(&self, owner: &str, lease_until: Timestamp, now: Timestamp) -> Result<Self, TaskUnavailable> {
        let is_claimed = self.lease_until.is_some_and(|lease| now < lease);
        if is_claimed || self.due_at.is_none_or(|due| now < due) {
            return Err(TaskUnavailable);
        }
        Ok(Self {
            state: TaskState::Claimed,
            attempts: self.attempts + 1,
            // The former owner died, perhaps after its call.
            may_have_arrived: self.may_have_arrived || self.state == TaskState::Claimed,
            owner: Some(owner.to_owned()),
            lease_until: Some(lease_until),
            ..self.clone()
        })
    }

    /// Records how an attempt of this owner ended.
    pub fn settle(&self, owner: &str, outcome: AttemptOutcome, now: Timestamp) -> Result<Self, TaskUnavailable> {
        if self.state != TaskState::Claimed || self.owner.as_deref() != Some(owner) {
            return Err(TaskUnavailable);
        }
        let mut next = Self { owner: None, lease_until: None, due_at: None, reason: None, ..self.clone() };
        match outcome {
            AttemptOutcome::Done(external_id) => {
                next.state = TaskState::Done;
                next.external_id = external_id;
            }
            AttemptOutcome::Skipped(reason) => {
                next.state = TaskState::Skipped;
                next.reason = Some(reason.to_owned());
            }
            AttemptOutcome::Refused(reason) => {
                next.state = TaskState::Refused;
                next.reason = Some(reason);
            }
            AttemptOutcome::RetryLater { not_before, may_have_arrived, reason } => {
                next.state = TaskState::Waiting;
                next.may_have_arrived |= may_have_arrived;
                next.due_at = Some(not_before.unwrap_or(now).max(now + self.retry_delay()));
                next.reason = Some(reason);
            }
        }
        if matches!(next.state, TaskState::Done | TaskState::Skipped) {
            next.content.clear_texts();
        }
        Ok(next)
    }

    /// Lets a refused task wait again.
    pub fn retry(&self, now: Timestamp) -> Option<Self> {
        (self.state == TaskState::Refused).then(|| Self {
            state: TaskState::Waiting,
            attempts: 0,
            due_at: Some(now),
            waiting_since: now,
            reason: None,
            ..self.clone()
        })
    }

    /// The task as an operator drops it: it is never done. None if it is done, or while an owner
    /// works on it.
    pub fn drop(&self, now: Timestamp) -> Option<Self> {
        if self.is_claimed(now) || matches!(self.state, TaskState::Done | TaskState::Skipped) {
            return None;
        }
        let mut next = Self { owner: None, lease_until: None, due_at: None, ..self.clone() };
        next.state = TaskState::Skipped;
        next.reason = Some("an operator dropped it".to_owned());
        next.content.clear_texts();
        Some(next)
    }

    /// The task without what it holds of its customer, and not to be done. None if it holds
    /// nothing. While an owner works on it, it is unavailable.
    pub fn forget(&self, now: Timestamp) -> Result<Option<Self>, TaskUnavailable> {
        if self.content == TaskContent::Erased {
            return Ok(None);
        }
        if self.is_claimed(now) {
            return Err(TaskUnavailable);
        }
        let mut next = Self { owner: None, lease_until: None, due_at: None, external_id: None, ..self.clone() };
        next.content = TaskContent::Erased;
        if !matches!(self.state, TaskState::Done | TaskState::Skipped) {
            next.state = TaskState::Skipped;
            next.reason = Some("the customer was forgotten".to_owned());
        }
        Ok(Some(next))
    }

    /// Whether an owner works on it.
    pub fn is_claimed(&self, now: Timestamp) -> bool {
        self.state == TaskState::Claimed && self.lease_until.is_some_and(|lease| now < lease)
    }

    fn retry_delay(&self) -> SignedDuration {
        let nth = usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        RETRY_DELAYS[nth.min(RETRY_DELAYS.len() - 1)]
    }
}

impl TaskContent {
    /// Removes texts that are no longer needed.
    fn clear_texts(&mut self) {
        match self {
            Self::Entry(entry) => entry.text = None,
            Self::Notification(notification) => notification.messages.clear(),
            Self::Erased => {}
        }
    }
}

impl Persisted for QueueTask {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        match self.state {
            TaskState::Refused => Some((refused_queue_name(&self.queue), self.created_at)),
            TaskState::Waiting | TaskState::Claimed => self.due_at.map(|at| (self.queue.clone(), at)),
            TaskState::Done | TaskState::Skipped => None,
        }
    }

    fn waiting_since(&self) -> Option<Timestamp> {
        matches!(self.state, TaskState::Waiting | TaskState::Claimed).then_some(self.waiting_since)
    }

    /// A task that waits, or that an operator may retry, is kept without limit.
    fn expires_at(&self) -> Option<Timestamp> {
        match self.state {
            TaskState::Waiting | TaskState::Claimed | TaskState::Refused => None,
            TaskState::Done | TaskState::Skipped => days_after(self.created_at, self.retention_days),
        }
    }
}

/// A waiting CRM entry, for tests.
#[cfg(test)]
pub(crate) fn waiting_task(now: Timestamp) -> QueueTask {
    let item = CrmEntry {
        reference: "main:wamid_1".into(),
        line: "main".into(),
        conversation_id: Some("conv_1".into()),
        phone: tellonce_core::contact::Phone::from_e164("+972545550199").unwrap(),
        name: None,
        direction: crate::line_event::MessageDirection::In,
        kind: "text".into(),
        sent_at: now,
        text: Some("Hello".into()),
    };
    QueueTask::new("crm:sheet".into(), TaskContent::Entry(Box::new(item)), 30, now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at_second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    #[derive(Debug, Clone)]
    enum TaskStep {
        Claim(u8, i64),
        Settle(u8, AttemptOutcome),
    }

    fn any_step() -> impl Strategy<Value = TaskStep> {
        let outcome = prop_oneof![
            Just(AttemptOutcome::Done(Some("1".into()))),
            Just(AttemptOutcome::Skipped("unknown there")),
            Just(AttemptOutcome::Refused("no".into())),
            (any::<bool>(), prop::option::of(0..4000i64)).prop_map(|(may_have_arrived, until)| {
                AttemptOutcome::RetryLater {
                    not_before: until.map(at_second),
                    may_have_arrived,
                    reason: "trouble".into(),
                }
            }),
        ];
        prop_oneof![
            (0..3u8, 1..60i64).prop_map(|(who, lease)| TaskStep::Claim(who, lease)),
            (0..3u8, outcome).prop_map(|(who, outcome)| TaskStep::Settle(who, outcome)),
        ]
    }

    #[test]
    fn a_task_is_dropped_unless_it_is_done_or_being_attempted() {
        let task = waiting_task(at_second(0));
        let claimed = task.claim("a", at_second(60), at_second(0)).unwrap();
        let settle = |outcome| claimed.settle("a", outcome, at_second(1)).unwrap();
        let refused = settle(AttemptOutcome::Refused("no".into()));
        for (task, is_dropped) in
            [(&task, true), (&refused, true), (&claimed, false), (&settle(AttemptOutcome::Done(None)), false)]
        {
            let dropped = task.drop(at_second(59));
            assert_eq!(dropped.is_some(), is_dropped, "{task:?}");
            if let Some(dropped) = dropped {
                assert_eq!((dropped.state, dropped.due_in_queue()), (TaskState::Skipped, None));
                assert!(dropped.expires_at().is_some());
            }
        }
        let given_up = claimed.drop(at_second(60)).unwrap();
        assert!(given_up.claim("b", at_second(120), at_second(61)).is_err());
        assert!(given_up.settle("a", AttemptOutcome::Done(None), at_second(61)).is_err(), "its owner lost it");
    }

    proptest! {
        #[test]
        fn an_attempt_that_may_have_arrived_is_never_forgotten(
            steps in prop::collection::vec((any_step(), 0..100i64), 1..40),
        ) {
            let mut task = waiting_task(at_second(0));
            let mut now = 0;
            // Whether an attempt may have arrived, and how often one is done.
            let (mut may_be_there, mut done) = (false, 0);
            for (step, passed) in steps {
                now += passed;
                let (next, what) = match step {
                    TaskStep::Claim(who, lease) => (task.claim(&who.to_string(), at_second(now + lease), at_second(now)), None),
                    TaskStep::Settle(who, outcome) => (task.settle(&who.to_string(), outcome.clone(), at_second(now)), Some(outcome)),
                };
                let Ok(next) = next else { continue };
                prop_assert!(task.due_at.is_some(), "a task in {:?} was changed", task.state);
                match what {
                    None => {
                        prop_assert!(task.lease_until.is_none_or(|lease| lease <= at_second(now)), "a running claim was taken over");
                        prop_assert_eq!(next.due_in_queue(), task.due_in_queue(), "a claim writes the index");
                        may_be_there |= task.state == TaskState::Claimed;
                        prop_assert!(next.may_have_arrived == may_be_there, "the next owner would not check first");
                    }
                    Some(AttemptOutcome::Done(_)) => done += 1,
                    Some(AttemptOutcome::RetryLater { may_have_arrived, .. }) => {
                        may_be_there |= may_have_arrived;
                        prop_assert!(next.due_at.unwrap() > at_second(now));
                    }
                    Some(_) => {}
                }
                if matches!(next.state, TaskState::Done | TaskState::Skipped) {
                    prop_assert!(matches!(&next.content, TaskContent::Entry(item) if item.text.is_none()));
                    prop_assert!(next.due_in_queue().is_none() && next.expires_at().is_some());
                } else {
                    prop_assert!(next.due_in_queue().is_some(), "no queue finds it again");
                }
                task = next;
            }
            prop_assert!(done <= 1);
        }
    }

    #[test]
    fn a_forgotten_task_is_never_done_and_holds_nothing_of_its_customer() {
        let waiting = waiting_task(at_second(0));
        let forgotten = waiting.forget(at_second(1)).unwrap().unwrap();
        assert!(forgotten.state == TaskState::Skipped && forgotten.due_in_queue().is_none());
        let written = serde_json::to_string(&forgotten).unwrap();
        assert!(!written.contains("545550199") && !written.contains("Hello"), "{written}");
        assert_eq!(serde_json::from_str::<QueueTask>(&written).unwrap(), forgotten);
        assert_eq!(forgotten.forget(at_second(2)), Ok(None));
        let claimed = waiting.claim("a", at_second(9), at_second(1)).unwrap();
        assert_eq!(claimed.forget(at_second(5)), Err(TaskUnavailable), "its owner may be calling");
        assert!(claimed.forget(at_second(9)).is_ok());
        let done = claimed.settle("a", AttemptOutcome::Done(Some("1".into())), at_second(5)).unwrap();
        assert_eq!(done.forget(at_second(6)).unwrap().unwrap().state, TaskState::Done);
    }

    #[test]
    fn a_task_round_trips_through_json_and_shows_nothing_personal() {
        let task = waiting_task(at_second(7));
        let written = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<QueueTask>(&written).unwrap(), task);
        let shown = format!("{task:?}");
        assert!(!shown.contains("Hello") && !shown.contains("545550199"), "{shown}");
    }
}
