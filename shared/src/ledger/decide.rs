//! Whether a claimed message may be sent now, given everything else the ledger knows of its subject.
//!
//! Two senders that claim two messages of one order at the same time each see the other's claim or are seen by it,
//! because both write their claim *before* they read the story. So one of them gives way: the older news is dropped,
//! or the newer waits until the older is out.

use jiff::Timestamp;

use super::{
    row::{Owner, Row, State},
    transition::Change,
};
use crate::client_config::Milestone;

const CANCELLED_RANK: u8 = Milestone::Cancelled.rank().0;

/// What to do with a claimed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// It is untrue beside what is known.
    Untrue {
        /// The stage that made it so.
        because: String,
    },
    /// The order was cancelled, and this happened after that: a human has to see whether it was reinstated.
    Reinstated {
        /// The stage that says so.
        because: String,
    },
    /// It is no longer useful.
    Expired,
    /// An older message of the same subject is on its way; it must come first.
    Wait {
        /// Until when.
        until: Timestamp,
        /// For which stage.
        stage: String,
    },
}

impl Verdict {
    /// The change that a verdict asks of the row's owner; nothing if it is to be sent.
    pub fn change(self, owner: Owner) -> Option<Change> {
        Some(match self {
            Self::Send => return None,
            Self::Untrue { because } => Change::Supersede {
                owner,
                reason: format!("`{because}` of the same order was known when its turn came"),
            },
            Self::Reinstated { because } => Change::Contest {
                owner,
                reason: format!(
                    "it happened after `{because}`, which the customer may have been told; was the order reinstated?"
                ),
            },
            Self::Expired => Change::Expire { owner: Some(owner) },
            Self::Wait { until, stage } => {
                Change::Hold { owner, until, reason: format!("`{stage}` is on its way and comes first") }
            }
        })
    }
}

/// Decides about a claimed message beside all rows of its subject (it may be among them).
pub fn decide(row: &Row, story: &[Row], now: Timestamp) -> Verdict {
    if row.useful_until <= now {
        return Verdict::Expired;
    }
    let others = || story.iter().filter(|other| other.key != row.key);
    if let Some(newer) = others().find(|other| makes_untrue(other, row)) {
        let because = newer.key.stage().to_owned();
        // Payment may come after a shop cancelled an unpaid order by itself. To send would contradict what was told, to
        // be silent may leave a paying customer in the dark.
        return if newer.place.rank == CANCELLED_RANK && row.occurred_at > newer.occurred_at {
            Verdict::Reinstated { because }
        } else {
            Verdict::Untrue { because }
        };
    }
    let on_its_way = others()
        .filter(|other| other.state == State::Claimed && makes_untrue(row, other))
        .filter_map(|other| other.lease_until.filter(|lease| now < *lease).map(|lease| (lease, other)))
        .max_by_key(|(lease, _)| *lease);
    match on_its_way {
        Some((until, other)) => Verdict::Wait { until, stage: other.key.stage().to_owned() },
        None => Verdict::Send,
    }
}

/// Whether knowing `known` makes `message` untrue.
fn makes_untrue(known: &Row, message: &Row) -> bool {
    message.place.is_untrue_beside(&known.place)
        || (message.place.is_replaced_by_later(&known.place) && known.occurred_at > message.occurred_at)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        client_config::{Milestone, Place},
        ledger::{Key, row::waiting},
    };

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn row(milestone: Milestone, instance: Option<&str>, occurred: i64, state: State) -> Row {
        let key = Key::order("main", "1", milestone);
        let claimed = state == State::Claimed;
        Row {
            key: instance.map_or(key.clone(), |instance| key.for_instance(instance)),
            state,
            place: Place::of(milestone, None),
            instance: instance.map(str::to_owned),
            occurred_at: at(occurred),
            useful_until: at(100),
            owner: claimed.then(|| Owner("somebody".into())),
            lease_until: claimed.then(|| at(50)),
            due_at: None,
            ..waiting()
        }
    }

    #[test]
    fn of_two_claimed_at_once_the_older_is_dropped_and_the_newer_waits() {
        let paid = row(Milestone::Paid, None, 1, State::Claimed);
        let cancelled = row(Milestone::Cancelled, None, 2, State::Claimed);
        let story = [paid.clone(), cancelled.clone()];
        assert_eq!(decide(&paid, &story, at(3)), Verdict::Untrue { because: "cancelled".into() });
        assert_eq!(decide(&cancelled, &story, at(3)), Verdict::Wait { until: at(50), stage: "paid".into() });
        assert_eq!(decide(&cancelled, &story, at(50)), Verdict::Send, "the lease is over");
    }

    #[test]
    fn what_happens_after_a_cancellation_is_put_before_a_human() {
        let cancelled = row(Milestone::Cancelled, None, 2, State::Accepted);
        let paid = row(Milestone::Paid, None, 3, State::Claimed);
        let verdict = decide(&paid, &[cancelled, paid.clone()], at(4));
        assert_eq!(verdict, Verdict::Reinstated { because: "cancelled".into() });
    }

    #[test]
    fn only_the_latest_change_of_a_delivery_is_told() {
        let tuesday = row(Milestone::DeliveryChanged, None, 1, State::Claimed);
        let thursday = row(Milestone::DeliveryChanged, Some("thu"), 2, State::Accepted);
        let story = [tuesday.clone(), thursday.clone()];
        assert_eq!(decide(&tuesday, &story, at(3)), Verdict::Untrue { because: "delivery-changed-thu".into() });
        let comes_first = Verdict::Wait { until: at(50), stage: "delivery-changed".into() };
        assert_eq!(decide(&thursday, &story, at(3)), comes_first);
        assert_eq!(decide(&thursday, &story, at(50)), Verdict::Send);
    }

    #[test]
    fn a_message_is_useless_from_the_moment_it_says() {
        let row = row(Milestone::Paid, None, 1, State::Claimed);
        assert_eq!(decide(&row, &[], at(100)), Verdict::Expired);
        assert_eq!(decide(&row, &[], at(99)), Verdict::Send);
    }
}
