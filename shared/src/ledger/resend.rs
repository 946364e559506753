//! Sending a message again that ended: a decision of an operator, and a transition of its own.
//!
//! **Invariants:**
//! - The key and the bytes stay. Only the end of the usefulness may move.
//! - What was never submitted waits again as if it were new.
//! - What may have arrived is sent again only if a person looked and did not find it. It stays a
//!   message that may have arrived: the provider still knows its key for a while, and a late report
//!   is linked.
//! - What was accepted, or goes out by itself, is not sent again.
//!
//! The model checker in `dispatch` takes this transition in every state that allows it.

use jiff::Timestamp;

use super::{
    row::{LedgerRow, MessageState},
    trail::StepCode,
};
use crate::provider::{PROVIDER, PROVIDER_NAME};

/// What an operator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResendDecision {
    /// Until when the message is useful from now on; `None` if that does not change.
    pub useful_until: Option<Timestamp>,
    /// Whether a person looked into the conversation, and the message is not there.
    pub is_absent: bool,
}

/// Why a message is not sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResendRefused {
    /// It was accepted, or a phone reported it.
    #[error("{PROVIDER_NAME} accepted it (status {0}), so it would be sent twice")]
    Accepted(String),
    /// It is tried again under its key.
    #[error("it may have arrived, and is tried again by itself under the same key")]
    OutcomeUnknown,
    /// It goes out by itself.
    #[error("it waits and goes out by itself; `tellonce explain` says when")]
    Waiting,
    /// Only a look into the conversation shows whether it arrived.
    #[error(
        "it may have arrived; look into the conversation in {PROVIDER_NAME}, and repeat with --not-there only if the \
         message is not there"
    )]
    MayHaveArrived,
    /// The last submit was a moment ago.
    #[error("its last submit may still arrive; try again after {0}")]
    InFlight(Timestamp),
    /// Its key cannot be used.
    #[error("{PROVIDER_NAME} used its key for another message, so it would be refused again; write to the customer")]
    KeyConflict,
    /// A fact of its subject makes it untrue, or it was never to be sent.
    #[error("it is not to be sent: {0}")]
    NotToBeSent(String),
    /// It has no bytes.
    #[error("it has no text: a value is missing")]
    NoText,
    /// The contact was greeted meanwhile, for this lead.
    #[error("the number was greeted meanwhile for {0}, and gets no second first touch")]
    AlreadyGreeted(String),
    /// Its usefulness is over.
    #[error("it was useful until {0}; give a later time with --useful-until")]
    Useless(Timestamp),
}

/// What became of a resend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResendOutcome {
    /// It waits again.
    Resent,
    /// Its row, or the greetings of its contact, changed meanwhile.
    Changed,
    /// It is not sent again.
    Refused(ResendRefused),
}

/// The row of a message that is sent again, or why it is not.
pub fn resend_row(row: &LedgerRow, decision: ResendDecision, now: Timestamp) -> Result<LedgerRow, ResendRefused> {
    if row.state == MessageState::Accepted || row.message_id.is_some() || !row.delivery_status.is_unknown() {
        return Err(ResendRefused::Accepted(row.delivery_status.to_string()));
    }
    let reason = || row.reason.clone().unwrap_or_else(|| row.state.name().to_owned());
    match row.state {
        MessageState::Accepted => return Err(ResendRefused::Accepted(row.delivery_status.to_string())),
        MessageState::Unknown => return Err(ResendRefused::OutcomeUnknown),
        MessageState::Held | MessageState::Claimed => return Err(ResendRefused::Waiting),
        MessageState::Superseded | MessageState::Suppressed => return Err(ResendRefused::NotToBeSent(reason())),
        MessageState::Incomplete => return Err(ResendRefused::NoText),
        MessageState::NeedsHuman => check_looked_at(row, decision, now)?,
        MessageState::Refused | MessageState::Expired if row.may_have_arrived() => {
            return Err(ResendRefused::MayHaveArrived);
        }
        MessageState::Refused | MessageState::Expired => {}
    }
    if row.payload.is_none() {
        return Err(ResendRefused::NoText);
    }
    let useful_until = decision.useful_until.unwrap_or(row.useful_until);
    if useful_until <= now {
        return Err(ResendRefused::Useless(useful_until));
    }
    let may_have_arrived = row.may_have_arrived();
    let mut next = LedgerRow {
        state: if may_have_arrived { MessageState::Unknown } else { MessageState::Held },
        version: row.version + 1,
        updated_at: now,
        useful_until,
        // The tries and the time in which the provider knows the key begin again.
        attempts: u32::from(may_have_arrived),
        first_attempt_at: may_have_arrived.then_some(now),
        due_at: Some(now),
        waiting_since: Some(now),
        handled_at: None,
        reason: Some("an operator decided to send it again".to_owned()),
        ..row.clone()
    };
    next.add_step(StepCode::Resent, None);
    Ok(next)
}

/// Whether a message that needs a person may be sent again.
fn check_looked_at(row: &LedgerRow, decision: ResendDecision, now: Timestamp) -> Result<(), ResendRefused> {
    match row.last_event() {
        Some(StepCode::KeyConflict) => return Err(ResendRefused::KeyConflict),
        Some(StepCode::AfterCancellation) => {
            let reason = row.reason.as_deref().unwrap_or("its order was cancelled").to_owned();
            return Err(ResendRefused::NotToBeSent(reason));
        }
        _ => {}
    }
    if !decision.is_absent {
        return Err(ResendRefused::MayHaveArrived);
    }
    match row.updated_at.checked_add(PROVIDER.facts().late_acceptance) {
        Ok(settled) if now < settled => Err(ResendRefused::InFlight(settled)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::{
        delivery_status::DeliveryStatus,
        row::waiting_row,
        transition::{apply_change, tests::any_change},
    };

    fn at_second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn ended_row(state: MessageState, code: StepCode) -> LedgerRow {
        let mut row = LedgerRow { state, due_at: None, useful_until: at_second(1000), ..waiting_row() };
        row.add_step(code, None);
        row
    }

    fn resend(row: &LedgerRow, decision: ResendDecision) -> Result<LedgerRow, ResendRefused> {
        resend_row(row, decision, at_second(900))
    }

    const AS_IT_IS: ResendDecision = ResendDecision { useful_until: None, is_absent: false };
    const ABSENT: ResendDecision = ResendDecision { useful_until: None, is_absent: true };

    #[test]
    fn what_was_never_submitted_waits_again_with_its_key_and_bytes() {
        let refused = ended_row(MessageState::Refused, StepCode::Refused);
        let next = resend(&refused, AS_IT_IS).unwrap();
        assert_eq!((next.state, next.due_at, next.attempts), (MessageState::Held, Some(at_second(900)), 0));
        assert_eq!((&next.key, &next.payload, next.version), (&refused.key, &refused.payload, refused.version + 1));
        let expired = LedgerRow { useful_until: at_second(800), ..ended_row(MessageState::Expired, StepCode::Expired) };
        assert_eq!(resend(&expired, AS_IT_IS), Err(ResendRefused::Useless(at_second(800))));
        let later = ResendDecision { useful_until: Some(at_second(2000)), ..AS_IT_IS };
        assert_eq!(resend(&expired, later).unwrap().useful_until, at_second(2000));
    }

    #[test]
    fn what_needs_a_person_is_sent_again_only_after_a_look_and_may_still_have_arrived() {
        let row = LedgerRow { attempts: 5, ..ended_row(MessageState::NeedsHuman, StepCode::OutcomeStayedUnknown) };
        assert_eq!(resend(&row, AS_IT_IS), Err(ResendRefused::MayHaveArrived));
        let next = resend(&row, ABSENT).unwrap();
        assert_eq!((next.state, next.attempts), (MessageState::Unknown, 1));
        let fresh = LedgerRow { updated_at: at_second(890), ..row };
        assert!(matches!(resend(&fresh, ABSENT), Err(ResendRefused::InFlight(_))));
        let conflict = ended_row(MessageState::NeedsHuman, StepCode::KeyConflict);
        assert_eq!(resend(&conflict, ABSENT), Err(ResendRefused::KeyConflict));
        let cancelled = ended_row(MessageState::NeedsHuman, StepCode::AfterCancellation);
        assert!(matches!(resend(&cancelled, ABSENT), Err(ResendRefused::NotToBeSent(_))));
    }

    #[test]
    fn what_would_be_sent_twice_or_goes_out_by_itself_is_refused() {
        for (state, expected) in [
            (MessageState::Accepted, ResendRefused::Accepted("unknown".to_owned())),
            (MessageState::Unknown, ResendRefused::OutcomeUnknown),
            (MessageState::Held, ResendRefused::Waiting),
            (MessageState::Claimed, ResendRefused::Waiting),
            (MessageState::Superseded, ResendRefused::NotToBeSent("superseded".to_owned())),
            (MessageState::Suppressed, ResendRefused::NotToBeSent("suppressed".to_owned())),
            (MessageState::Incomplete, ResendRefused::NoText),
        ] {
            assert_eq!(resend(&ended_row(state, StepCode::Created), ABSENT), Err(expected), "{state:?}");
        }
        let delivery_status = DeliveryStatus::from_status("delivered").unwrap();
        let reported = LedgerRow { delivery_status, ..ended_row(MessageState::NeedsHuman, StepCode::Delivered) };
        assert_eq!(resend(&reported, ABSENT), Err(ResendRefused::Accepted("delivered".to_owned())));
    }

    proptest! {
        #[test]
        fn after_any_changes_only_what_ended_unsent_is_sent_again(
            changes in prop::collection::vec((any_change(), 0..400i64), 1..40),
            is_absent in any::<bool>(),
        ) {
            let mut row = LedgerRow { useful_until: at_second(1000), ..waiting_row() };
            let mut now = 0;
            for (change, passed) in changes {
                now += passed;
                row = apply_change(&row, &change, at_second(now)).unwrap_or(row);
                let decision = ResendDecision { useful_until: Some(at_second(now + 100)), is_absent };
                let Ok(next) = resend_row(&row, decision, at_second(now)) else { continue };
                prop_assert!(row.state.is_settled() && row.state != MessageState::Accepted);
                prop_assert!(!row.may_have_arrived() || is_absent);
                prop_assert_eq!(next.may_have_arrived(), row.may_have_arrived());
                prop_assert!(!next.state.is_settled() && next.due_at.is_some() && next.owner.is_none());
                prop_assert_eq!((&next.key, &next.payload), (&row.key, &row.payload));
                prop_assert_eq!(next.version, row.version + 1);
                row = next;
            }
        }
    }
}
