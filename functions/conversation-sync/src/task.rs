//! Tasks: an entry that a CRM is to have, or a notice that a target is to get, and what has become of it.
//!
//! **Invariant:** a task is worked on by whoever claimed it, until their lease ends. **Invariant:** whoever takes over a claim,
//! or tries again after an answer was lost, knows that the earlier try may have arrived. **Invariant:** what is done or left
//! out stays so. What was refused waits, in a queue of its own, for a human to say that it shall be tried again.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{crm::CrmEntry, notification::Notification, record_store::Persisted};

/// How long after each try the next one is made.
const RETRY_DELAYS: [SignedDuration; 5] = [
    SignedDuration::from_secs(15),
    SignedDuration::from_secs(45),
    SignedDuration::from_mins(3),
    SignedDuration::from_mins(10),
    SignedDuration::from_mins(30),
];

/// Something that somebody outside is to be told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTask {
    /// Whose it is: `crm_name:{name}` or `target:{name}`.
    pub queue: String,
    /// What they are told.
    pub content: TaskContent,
    /// Where it is.
    pub state: TaskState,
    /// Tries that were begun.
    pub attempts: u32,
    /// Whether one of them may have arrived although we hold no answer.
    pub may_have_arrived: bool,
    /// Who is at it.
    pub owner: Option<String>,
    /// When to look at it again: the next try's time, or the end of a claim.
    pub due_at: Option<Timestamp>,
    /// Why it is where it is, for people.
    pub reason: Option<String>,
    /// The id that it got there.
    pub external_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// For how many days it is remembered.
    pub retention_days: u16,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskContent {
    /// A message, to a CRM.
    Entry(Box<CrmEntry>),
    /// That somebody is needed, to a target.
    Notification(Box<Notification>),
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// Until it is due.
    Waiting,
    /// Somebody is at it, until it is due.
    Claimed,
    /// They know.
    Done,
    /// They don't want it, and a human has to see why.
    Refused,
    /// It is not meant for them.
    Skipped,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// They know, under this id if they gave one.
    Done(Option<String>),
    /// It is not meant for them.
    Skipped(&'static str),
    /// They refuse it for good.
    Refused(String),
    /// It did not work now.
    RetryLater {
        /// Not before then, if they said so.
        not_before: Option<Timestamp>,
        /// Whether it may have arrived all the same.
        may_have_arrived: bool,
        /// Why.
        reason: String,
    },
}

/// A task that is not to be worked on, or not by whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskUnavailable;

impl QueueTask {
    /// A new one, due at once.
    pub fn new(queue: String, content: TaskContent, retention_days: u16, now: Timestamp) -> Self {
        Self {
            queue,
            content: content,
            state: TaskState::Waiting,
            attempts: 0,
            may_have_arrived: false,
            owner: None,
            due_at: Some(now),
            reason: None,
            external_id: None,
            created_at: now,
            retention_days: retention_days,
        }
    }

    /// Takes it on until the lease ends.
    pub fn claim(&self, owner: &str, lease_until: Timestamp, now: Timestamp) -> Result<Self, TaskUnavailable> {
        if self.due_at.is_none_or(|due| now < due) {
            return Err(TaskUnavailable);
        }
        Ok(Self {
            state: TaskState::Claimed,
            attempts: self.attempts + 1,
            // Whoever held it until now died at it, perhaps after the call.
            may_have_arrived: self.may_have_arrived || self.state == TaskState::Claimed,
            owner: Some(owner.to_owned()),
            due_at: Some(lease_until),
            ..self.clone()
        })
    }

    /// Writes down how a try of this owner ended.
    pub fn settle(&self, owner: &str, outcome: AttemptOutcome, now: Timestamp) -> Result<Self, TaskUnavailable> {
        if self.state != TaskState::Claimed || self.owner.as_deref() != Some(owner) {
            return Err(TaskUnavailable);
        }
        let mut next = Self { owner: None, due_at: None, reason: None, ..self.clone() };
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

    /// Tries again what was refused: whatever was wrong is mended.
    pub fn retry(&self, now: Timestamp) -> Option<Self> {
        (self.state == TaskState::Refused).then(|| Self {
            state: TaskState::Waiting,
            attempts: 0,
            due_at: Some(now),
            reason: None,
            ..self.clone()
        })
    }

    fn retry_delay(&self) -> SignedDuration {
        let nth = usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        RETRY_DELAYS[nth.min(RETRY_DELAYS.len() - 1)]
    }
}

impl TaskContent {
    /// Nothing of what was said is kept longer than it is needed.
    fn clear_texts(&mut self) {
        match self {
            Self::Entry(item) => item.text = None,
            Self::Notification(notification) => notification.messages.clear(),
        }
    }
}

/// Where what a queue's owner refused waits for a human.
pub fn refused_queue_name(queue: &str) -> String {
    format!("refused:{queue}")
}

impl Persisted for QueueTask {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        match self.state {
            TaskState::Refused => Some((refused_queue_name(&self.queue), self.created_at)),
            TaskState::Waiting | TaskState::Claimed => self.due_at.map(|at| (self.queue.clone(), at)),
            TaskState::Done | TaskState::Skipped => None,
        }
    }

    /// What waits is not forgotten, however long it does, nor what a human may have tried again.
    fn expires_at(&self) -> Option<Timestamp> {
        let kept = SignedDuration::from_hours(24 * i64::from(self.retention_days));
        match self.state {
            TaskState::Waiting | TaskState::Claimed | TaskState::Refused => None,
            TaskState::Done | TaskState::Skipped => self.created_at.saturating_add(kept).ok(),
        }
    }
}

/// An entry of a CRM that waits since then, for tests.
#[cfg(test)]
pub(crate) fn waiting_task(now: Timestamp) -> QueueTask {
    let item = CrmEntry {
        reference: "main:wamid_1".into(),
        line: "main".into(),
        conversation_id: Some("conv_1".into()),
        phone: tellonce_core::contact::Phone::from_e164("+972545550199").unwrap(),
        name: None,
        direction: crate::crm::MessageDirection::In,
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

    proptest! {
        #[test]
        fn an_attempt_that_may_have_arrived_is_never_forgotten(
            steps in prop::collection::vec((any_step(), 0..100i64), 1..40),
        ) {
            let mut task = waiting_task(at_second(0));
            let mut now = 0;
            // Who really is at it, and whether one of them may have done it.
            let (mut may_be_there, mut done) = (false, 0);
            for (step, passed) in steps {
                now += passed;
                let (next, what) = match step {
                    TaskStep::Claim(who, lease) => (task.claim(&who.to_string(), at_second(now + lease), at_second(now)), None),
                    TaskStep::Settle(who, outcome) => (task.settle(&who.to_string(), outcome.clone(), at_second(now)), Some(outcome)),
                };
                let Ok(next) = next else { continue };
                prop_assert!(task.due_at.is_some(), "{:?} came back", task.state);
                match what {
                    None => {
                        prop_assert!(task.due_at.unwrap() <= at_second(now), "a claim that was not over was taken");
                        may_be_there |= task.state == TaskState::Claimed;
                        prop_assert!(next.may_have_arrived == may_be_there, "the next one would not look first");
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
                    prop_assert!(next.due_in_queue().is_some(), "nobody finds it again");
                }
                task = next;
            }
            prop_assert!(done <= 1);
        }
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
