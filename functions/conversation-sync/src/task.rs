//! Tasks: an entry that a CRM is to have, or a notice that a target is to get, and what has become of it.
//!
//! **Invariant:** a task is worked on by whoever claimed it, until their lease ends. **Invariant:** whoever takes over a claim,
//! or tries again after an answer was lost, knows that the earlier try may have arrived. **Invariant:** what is done or left
//! out stays so. What was refused waits, in a queue of its own, for a human to say that it shall be tried again.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{crm::Item, notice::Notice, store::Kept};

/// How long after each try the next one is made.
const WAITS: [SignedDuration; 5] = [
    SignedDuration::from_secs(15),
    SignedDuration::from_secs(45),
    SignedDuration::from_mins(3),
    SignedDuration::from_mins(10),
    SignedDuration::from_mins(30),
];

/// Something that somebody outside is to be told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Whose it is: `crm:{name}` or `target:{name}`.
    pub queue: String,
    /// What they are told.
    pub what: What,
    /// Where it is.
    pub state: TaskState,
    /// Tries that were begun.
    pub tries: u32,
    /// Whether one of them may have arrived although we hold no answer.
    pub doubtful: bool,
    /// Who is at it.
    pub owner: Option<String>,
    /// When to look at it again: the next try's time, or the end of a claim.
    pub due_at: Option<Timestamp>,
    /// Why it is where it is, for people.
    pub reason: Option<String>,
    /// The id that it got there.
    pub result: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// For how many days it is remembered.
    pub keep_days: u16,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A message, to a CRM.
    Entry(Box<Item>),
    /// That somebody is needed, to a target.
    Notice(Box<Notice>),
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
    LeftOut,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// They know, under this id if they gave one.
    Done(Option<String>),
    /// It is not meant for them.
    LeftOut(&'static str),
    /// They refuse it for good.
    Refused(String),
    /// It did not work now.
    NotNow {
        /// Not before then, if they said so.
        until: Option<Timestamp>,
        /// Whether it may have arrived all the same.
        doubtful: bool,
        /// Why.
        reason: String,
    },
}

/// A task that is not to be worked on, or not by whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotYours;

impl Task {
    /// A new one, due at once.
    pub fn new(queue: String, what: What, keep_days: u16, now: Timestamp) -> Self {
        Self {
            queue,
            what,
            state: TaskState::Waiting,
            tries: 0,
            doubtful: false,
            owner: None,
            due_at: Some(now),
            reason: None,
            result: None,
            created_at: now,
            keep_days,
        }
    }

    /// Takes it on until the lease ends.
    pub fn claim(&self, owner: &str, lease_until: Timestamp, now: Timestamp) -> Result<Self, NotYours> {
        if self.due_at.is_none_or(|due| now < due) {
            return Err(NotYours);
        }
        Ok(Self {
            state: TaskState::Claimed,
            tries: self.tries + 1,
            // Whoever held it until now died at it, perhaps after the call.
            doubtful: self.doubtful || self.state == TaskState::Claimed,
            owner: Some(owner.to_owned()),
            due_at: Some(lease_until),
            ..self.clone()
        })
    }

    /// Writes down how a try of this owner ended.
    pub fn settle(&self, owner: &str, outcome: Outcome, now: Timestamp) -> Result<Self, NotYours> {
        if self.state != TaskState::Claimed || self.owner.as_deref() != Some(owner) {
            return Err(NotYours);
        }
        let mut next = Self { owner: None, due_at: None, reason: None, ..self.clone() };
        match outcome {
            Outcome::Done(result) => {
                next.state = TaskState::Done;
                next.result = result;
            }
            Outcome::LeftOut(reason) => {
                next.state = TaskState::LeftOut;
                next.reason = Some(reason.to_owned());
            }
            Outcome::Refused(reason) => {
                next.state = TaskState::Refused;
                next.reason = Some(reason);
            }
            Outcome::NotNow { until, doubtful, reason } => {
                next.state = TaskState::Waiting;
                next.doubtful |= doubtful;
                next.due_at = Some(until.unwrap_or(now).max(now + self.wait()));
                next.reason = Some(reason);
            }
        }
        if matches!(next.state, TaskState::Done | TaskState::LeftOut) {
            next.what.forget_words();
        }
        Ok(next)
    }

    /// Tries again what was refused: whatever was wrong is mended.
    pub fn again(&self, now: Timestamp) -> Option<Self> {
        (self.state == TaskState::Refused).then(|| Self {
            state: TaskState::Waiting,
            tries: 0,
            due_at: Some(now),
            reason: None,
            ..self.clone()
        })
    }

    fn wait(&self) -> SignedDuration {
        let nth = usize::try_from(self.tries.saturating_sub(1)).unwrap_or(usize::MAX);
        WAITS[nth.min(WAITS.len() - 1)]
    }
}

impl What {
    /// Nothing of what was said is kept longer than it is needed.
    fn forget_words(&mut self) {
        match self {
            Self::Entry(item) => item.text = None,
            Self::Notice(notice) => notice.messages.clear(),
        }
    }
}

/// Where what a queue's owner refused waits for a human.
pub fn refused(queue: &str) -> String {
    format!("refused:{queue}")
}

impl Kept for Task {
    fn due(&self) -> Option<(String, Timestamp)> {
        match self.state {
            TaskState::Refused => Some((refused(&self.queue), self.created_at)),
            TaskState::Waiting | TaskState::Claimed => self.due_at.map(|at| (self.queue.clone(), at)),
            TaskState::Done | TaskState::LeftOut => None,
        }
    }

    /// What waits is not forgotten, however long it does, nor what a human may have tried again.
    fn forget_at(&self) -> Option<Timestamp> {
        let kept = SignedDuration::from_hours(24 * i64::from(self.keep_days));
        match self.state {
            TaskState::Waiting | TaskState::Claimed | TaskState::Refused => None,
            TaskState::Done | TaskState::LeftOut => self.created_at.saturating_add(kept).ok(),
        }
    }
}

/// An entry of a CRM that waits since then, for tests.
#[cfg(test)]
pub(crate) fn waiting(now: Timestamp) -> Task {
    let item = Item {
        reference: "main:wamid_1".into(),
        line: "main".into(),
        conversation: Some("conv_1".into()),
        phone: shared::contact::Phone::from_e164("+972545550199").unwrap(),
        name: None,
        direction: crate::crm::Direction::In,
        kind: "text".into(),
        at: now,
        text: Some("Hello".into()),
    };
    Task::new("crm:sheet".into(), What::Entry(Box::new(item)), 30, now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Claim(u8, i64),
        Settle(u8, Outcome),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![
            Just(Outcome::Done(Some("1".into()))),
            Just(Outcome::LeftOut("unknown there")),
            Just(Outcome::Refused("no".into())),
            (any::<bool>(), prop::option::of(0..4000i64)).prop_map(|(doubtful, until)| Outcome::NotNow {
                until: until.map(at),
                doubtful,
                reason: "trouble".into()
            }),
        ];
        prop_oneof![
            (0..3u8, 1..60i64).prop_map(|(who, lease)| Step::Claim(who, lease)),
            (0..3u8, outcome).prop_map(|(who, outcome)| Step::Settle(who, outcome)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_a_try_that_may_have_arrived_is_never_forgotten(
            steps in prop::collection::vec((step(), 0..100i64), 1..40),
        ) {
            let mut task = waiting(at(0));
            let mut now = 0;
            // Who really is at it, and whether one of them may have done it.
            let (mut may_be_there, mut done) = (false, 0);
            for (step, passed) in steps {
                now += passed;
                let (next, what) = match step {
                    Step::Claim(who, lease) => (task.claim(&who.to_string(), at(now + lease), at(now)), None),
                    Step::Settle(who, outcome) => (task.settle(&who.to_string(), outcome.clone(), at(now)), Some(outcome)),
                };
                let Ok(next) = next else { continue };
                prop_assert!(task.due_at.is_some(), "{:?} came back", task.state);
                match what {
                    None => {
                        prop_assert!(task.due_at.unwrap() <= at(now), "a claim that was not over was taken");
                        may_be_there |= task.state == TaskState::Claimed;
                        prop_assert!(next.doubtful == may_be_there, "the next one would not look first");
                    }
                    Some(Outcome::Done(_)) => done += 1,
                    Some(Outcome::NotNow { doubtful, .. }) => {
                        may_be_there |= doubtful;
                        prop_assert!(next.due_at.unwrap() > at(now));
                    }
                    Some(_) => {}
                }
                if matches!(next.state, TaskState::Done | TaskState::LeftOut) {
                    prop_assert!(matches!(&next.what, What::Entry(item) if item.text.is_none()));
                    prop_assert!(next.due().is_none() && next.forget_at().is_some());
                } else {
                    prop_assert!(next.due().is_some(), "nobody finds it again");
                }
                task = next;
            }
            prop_assert!(done <= 1);
        }
    }

    #[test]
    fn a_task_reads_back_as_it_was_written_and_shows_nothing_personal() {
        let task = waiting(at(7));
        let written = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&written).unwrap(), task);
        let shown = format!("{task:?}");
        assert!(!shown.contains("Hello") && !shown.contains("545550199"), "{shown}");
    }
}
