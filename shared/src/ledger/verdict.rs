//! Whether a claimed message may be sent now, given all rows of its subject.
//!
//! Promises: two invocations that claim two messages of one order at the same time never send both
//! in the wrong order. Both write their claim *before* they read the history, so at least one sees
//! the other's claim. The older message is superseded, or the newer one waits until the older one
//! is settled. It also waits for an older message without a response, which may be accepted late.

use jiff::Timestamp;

use super::{
    row::{ClaimOwner, LedgerRow, MessageState},
    trail::{Reason, StepCode},
    transition::RowChange,
};
use crate::{client_config::Milestone, provider::PROVIDER};

const CANCELLED_RANK: u8 = Milestone::Cancelled.precedence_ranks().0;

/// What to do with a claimed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageVerdict {
    /// Send it.
    Send,
    /// Another row of the subject makes it untrue.
    Superseded {
        /// The stage of that row.
        stage: String,
    },
    /// The order was cancelled, and this happened after that. A person checks whether it was
    /// reinstated.
    AfterCancellation {
        /// The stage of the cancellation.
        stage: String,
    },
    /// The customer of its subject was forgotten.
    Forgotten,
    /// It is no longer useful.
    Expired,
    /// An older message of the same subject is being sent, or may still be accepted. It must come
    /// first.
    Wait {
        /// When the lease of the older message ends, or when it can no longer be accepted.
        until: Timestamp,
        /// The stage of the older message.
        stage: String,
    },
}

impl MessageVerdict {
    /// The change that follows from a verdict; `None` if the message is to be sent.
    pub fn into_change(self, owner: ClaimOwner) -> Option<RowChange> {
        Some(match self {
            Self::Send => return None,
            Self::Superseded { stage: because } => {
                let text = format!("`{because}` of the same order supersedes it");
                RowChange::Supersede { owner, reason: Reason::new(StepCode::Superseded, text) }
            }
            Self::AfterCancellation { stage: because } => {
                let text = format!(
                    "the event came after `{because}`, which may have been sent; check whether the order was reinstated"
                );
                RowChange::Conflict { owner, reason: Reason::new(StepCode::AfterCancellation, text) }
            }
            Self::Forgotten => {
                let text = "the customer was forgotten, and nothing more is sent about it";
                RowChange::Supersede { owner, reason: Reason::new(StepCode::Forgotten, text) }
            }
            Self::Expired => RowChange::Expire { owner: Some(owner) },
            Self::Wait { until, stage } => {
                let text = format!("`{stage}` is in flight and comes first");
                RowChange::Hold { owner, until, reason: Reason::new(StepCode::InFlight, text) }
            }
        })
    }
}

/// Decides about a claimed message, given all rows of its subject. The message may be among them.
pub fn decide_message(row: &LedgerRow, history: &[LedgerRow], now: Timestamp) -> MessageVerdict {
    if row.useful_until <= now {
        return MessageVerdict::Expired;
    }
    let others = || history.iter().filter(|other| other.key != row.key);
    if others().any(LedgerRow::is_forgotten) {
        return MessageVerdict::Forgotten;
    }
    if let Some(newer) = others().find(|other| row_supersedes(other, row)) {
        let because = newer.key.stage().to_owned();
        // A payment may arrive after a shop cancelled an unpaid order automatically. A message
        // would contradict the cancellation. Without a message the paying customer learns nothing.
        return if newer.precedence.rank == CANCELLED_RANK && row.occurred_at > newer.occurred_at {
            MessageVerdict::AfterCancellation { stage: because }
        } else {
            MessageVerdict::Superseded { stage: because }
        };
    }
    let in_flight = others()
        .filter(|other| row_supersedes(row, other))
        .filter_map(|other| Some((in_flight_until(other).filter(|until| now < *until)?, other)))
        .max_by_key(|(until, _)| *until);
    match in_flight {
        Some((until, other)) => MessageVerdict::Wait { until, stage: other.key.stage().to_owned() },
        None => MessageVerdict::Send,
    }
}

/// Until when a message may still reach the phone without a further submit. A message of unknown
/// outcome may be accepted late, and would then contradict a newer message that is there already.
fn in_flight_until(row: &LedgerRow) -> Option<Timestamp> {
    match row.state {
        MessageState::Claimed => row.lease_until,
        MessageState::Unknown => row.updated_at.checked_add(PROVIDER.facts().late_acceptance).ok(),
        MessageState::Held
        | MessageState::Accepted
        | MessageState::Refused
        | MessageState::Superseded
        | MessageState::Expired
        | MessageState::Suppressed
        | MessageState::Incomplete
        | MessageState::NeedsHuman => None,
    }
}

/// Whether `known` makes `message` untrue.
fn row_supersedes(known: &LedgerRow, message: &LedgerRow) -> bool {
    message.precedence.is_superseded_by(&known.precedence)
        || (message.precedence.is_replaced_by_later(&known.precedence) && known.occurred_at > message.occurred_at)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        client_config::{Milestone, Precedence},
        ledger::{IdempotencyKey, row::waiting_row},
    };

    fn at_minute(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn build_row(milestone: Milestone, instance: Option<&str>, occurred: i64, state: MessageState) -> LedgerRow {
        let key = IdempotencyKey::for_order("main", "1", milestone);
        let claimed = state == MessageState::Claimed;
        LedgerRow {
            key: instance.map_or(key.clone(), |instance| key.with_instance(instance)),
            state,
            precedence: Precedence::of_milestone(milestone, None),
            instance: instance.map(str::to_owned),
            occurred_at: at_minute(occurred),
            useful_until: at_minute(100),
            owner: claimed.then(|| ClaimOwner("another invocation".into())),
            lease_until: claimed.then(|| at_minute(50)),
            due_at: None,
            ..waiting_row()
        }
    }

    #[test]
    fn a_newer_message_waits_while_an_older_one_may_still_be_accepted() {
        let unknown =
            LedgerRow { updated_at: at_minute(10), ..build_row(Milestone::Received, None, 1, MessageState::Unknown) };
        let paid = build_row(Milestone::Paid, None, 2, MessageState::Claimed);
        let history = [unknown.clone(), paid.clone()];
        let until = at_minute(11);
        let before = until - SignedDuration::from_secs(1);
        assert_eq!(decide_message(&paid, &history, before), MessageVerdict::Wait { until, stage: "received".into() });
        assert_eq!(decide_message(&paid, &history, until), MessageVerdict::Send);
        // A message that does not contradict it need not wait.
        let invoice = build_row(Milestone::Invoice, None, 2, MessageState::Claimed);
        assert_eq!(decide_message(&invoice, &history, before), MessageVerdict::Send);
    }

    #[test]
    fn when_two_are_claimed_at_once_the_older_is_superseded_and_the_newer_waits() {
        let paid = build_row(Milestone::Paid, None, 1, MessageState::Claimed);
        let cancelled = build_row(Milestone::Cancelled, None, 2, MessageState::Claimed);
        let history = [paid.clone(), cancelled.clone()];
        assert_eq!(
            decide_message(&paid, &history, at_minute(3)),
            MessageVerdict::Superseded { stage: "cancelled".into() }
        );
        assert_eq!(
            decide_message(&cancelled, &history, at_minute(3)),
            MessageVerdict::Wait { until: at_minute(50), stage: "paid".into() }
        );
        assert_eq!(decide_message(&cancelled, &history, at_minute(50)), MessageVerdict::Send, "the lease has ended");
    }

    #[test]
    fn an_event_after_a_cancellation_needs_a_person() {
        let cancelled = build_row(Milestone::Cancelled, None, 2, MessageState::Accepted);
        let paid = build_row(Milestone::Paid, None, 3, MessageState::Claimed);
        let verdict = decide_message(&paid, &[cancelled, paid.clone()], at_minute(4));
        assert_eq!(verdict, MessageVerdict::AfterCancellation { stage: "cancelled".into() });
    }

    #[test]
    fn only_the_latest_change_of_a_delivery_is_sent() {
        let tuesday = build_row(Milestone::DeliveryChanged, None, 1, MessageState::Claimed);
        let thursday = build_row(Milestone::DeliveryChanged, Some("thu"), 2, MessageState::Accepted);
        let history = [tuesday.clone(), thursday.clone()];
        assert_eq!(
            decide_message(&tuesday, &history, at_minute(3)),
            MessageVerdict::Superseded { stage: "delivery-changed-thu".into() }
        );
        let comes_first = MessageVerdict::Wait { until: at_minute(50), stage: "delivery-changed".into() };
        assert_eq!(decide_message(&thursday, &history, at_minute(3)), comes_first);
        assert_eq!(decide_message(&thursday, &history, at_minute(50)), MessageVerdict::Send);
    }

    #[test]
    fn a_message_expires_at_its_useful_until() {
        let row = build_row(Milestone::Paid, None, 1, MessageState::Claimed);
        assert_eq!(decide_message(&row, &[], at_minute(100)), MessageVerdict::Expired);
        assert_eq!(decide_message(&row, &[], at_minute(99)), MessageVerdict::Send);
    }
}
