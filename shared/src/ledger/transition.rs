//! What may become of a message: one pure function from a row and a change to the next row.
//!
//! **Invariant:** only the owner of a claim changes a claimed row, until its lease ends. **Invariant:** a settled row
//! never goes back to a state from which it could be sent. **Invariant:** the payload is written once. **Invariant:** a
//! message that may have arrived is never dropped as if it had not: it is asked for again under the same key, or put
//! before a human.
//!
//! **Exception:** a message of which the line was seen saying it is accepted, even if a human was asked already.
//!
//! Holds no policy about *when*: that is [`super::decide()`]'s. The model checker in this folder's tests walks every
//! interleaving of two senders, crashes and lost answers through this function.

use jiff::{SignedDuration, Timestamp};

use super::{
    fate::Fate,
    row::{Owner, Row, State},
};

/// Submits of unknown outcome after which a human is asked (`EZWhatsApp` publishes no advice; five is cautious).
pub const MAX_ATTEMPTS: u32 = 5;
/// How long after the first such submit the same key may be used again. How long `EZWhatsApp` remembers a key is not
/// published, so this is short of a day.
pub const UNKNOWN_WINDOW: SignedDuration = SignedDuration::from_hours(23);

/// Something that happens to a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// Somebody wants to send it now.
    Claim {
        /// Who.
        owner: Owner,
        /// When their claim ends by itself.
        lease_until: Timestamp,
    },
    /// Somebody found it claimed by another and asks the clock to look when that claim has ended.
    Watch,
    /// Its owner could not submit it, and nothing was sent: it waits.
    Hold {
        /// Who holds the claim.
        owner: Owner,
        /// Until when it waits.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// Its owner's submit was accepted.
    Accept {
        /// Who holds the claim.
        owner: Owner,
        /// The id in the answer, if there was one.
        provider_id: Option<String>,
    },
    /// Its owner's submit ended so that nobody knows whether it arrived.
    LoseSight {
        /// Who holds the claim.
        owner: Owner,
        /// When to look into it again, if it may be looked into at all.
        retry_at: Timestamp,
        /// What happened.
        reason: String,
    },
    /// Its owner's submit was refused for good.
    Refuse {
        /// Who holds the claim.
        owner: Owner,
        /// With which answer.
        reason: String,
    },
    /// `EZWhatsApp` says that the key was used for something else, or is in use: nobody but a human can tell.
    Contest {
        /// Who holds the claim.
        owner: Owner,
        /// With which answer.
        reason: String,
    },
    /// Its owner found that it is no longer true.
    Supersede {
        /// Who holds the claim.
        owner: Owner,
        /// What made it untrue.
        reason: String,
    },
    /// A phone reported something of it, or the line was seen saying it: so it was sent.
    Observe {
        /// The message's id on the line.
        message_id: String,
        /// What was reported.
        fate: Fate,
        /// When.
        at: Timestamp,
    },
    /// It is no longer useful.
    Expire {
        /// Who holds the claim, if anybody.
        owner: Option<Owner>,
    },
}

/// A change that may not happen to this row now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// It is settled.
    #[error("the message is settled")]
    Settled,
    /// Somebody else holds it.
    #[error("somebody else holds the message")]
    NotYours,
    /// Nobody holds it: the claim must come first.
    #[error("nobody holds the message")]
    NotClaimed,
    /// It waits for a time that has not come.
    #[error("the message is not due yet")]
    NotDue,
}

/// The row after a change, or why the change may not happen.
pub fn transition(row: &Row, change: &Change, now: Timestamp) -> Result<Row, NotNow> {
    if row.state.is_settled() && !matches!(change, Change::Observe { .. }) {
        return Err(NotNow::Settled);
    }
    let mut next = row.clone();
    next.version += 1;
    next.updated_at = now;
    match change {
        Change::Claim { owner, lease_until } => {
            match row.state {
                State::Claimed if row.lease_until.is_some_and(|lease| now < lease) => return Err(NotNow::NotYours),
                State::Claimed => {
                    // The one before us may have got as far as submitting.
                    next.attempts += 1;
                    next.first_attempt_at = next.first_attempt_at.or(row.lease_until);
                }
                _ if row.due_at.is_some_and(|due| now < due) => return Err(NotNow::NotDue),
                _ => {}
            }
            if exhausted(&next, now) {
                return Ok(give_up(next, "its outcome stayed unknown"));
            }
            next.state = State::Claimed;
            next.owner = Some(owner.clone());
            next.lease_until = Some(*lease_until);
            // What waited is in the index already, and stays: nobody but the clock comes back for it.
            next.due_at = Some(*lease_until);
        }
        Change::Watch => {
            if row.state != State::Claimed {
                return Err(NotNow::NotClaimed);
            }
            // Only the index entry is added: owner and lease stay, so the owner's own write still goes through
            // or fails by the version and is made again on the row as it then is.
            next.due_at = row.lease_until;
        }
        Change::Hold { owner, until, reason } => {
            owned(row, owner)?;
            release(&mut next);
            next.state = if row.may_have_arrived() { State::Unknown } else { State::Held };
            next.due_at = Some((*until).min(row.useful_until).max(now));
            next.reason = Some(reason.clone());
        }
        Change::Accept { owner, provider_id } => {
            owned(row, owner)?;
            release(&mut next);
            next.state = State::Accepted;
            next.accepted_at = Some(now);
            next.reason = None;
            next.provider_id = provider_id.clone().or(next.provider_id);
        }
        Change::LoseSight { owner, retry_at, reason } => {
            owned(row, owner)?;
            release(&mut next);
            next.attempts += 1;
            next.first_attempt_at = next.first_attempt_at.or(Some(now));
            if exhausted(&next, *retry_at) {
                return Ok(give_up(next, reason));
            }
            next.state = State::Unknown;
            next.due_at = Some(*retry_at);
            next.reason = Some(reason.clone());
        }
        Change::Refuse { owner, reason } => {
            owned(row, owner)?;
            release(&mut next);
            // A refusal says what became of *this* submit; an earlier one may have arrived all the same.
            next.state = if row.may_have_arrived() { State::NeedsHuman } else { State::Refused };
            next.reason = Some(reason.clone());
        }
        Change::Contest { owner, reason } => {
            owned(row, owner)?;
            release(&mut next);
            next.state = State::NeedsHuman;
            next.reason = Some(reason.clone());
        }
        Change::Supersede { owner, reason } => {
            owned(row, owner)?;
            release(&mut next);
            next.state = State::Superseded;
            next.reason = Some(if row.may_have_arrived() {
                format!("{reason}; an earlier submit may have arrived")
            } else {
                reason.clone()
            });
        }
        Change::Expire { owner } => {
            match (row.state, owner) {
                (State::Claimed, Some(owner)) => owned(row, owner)?,
                (State::Claimed, None) => return Err(NotNow::NotYours),
                _ => {}
            }
            if row.may_have_arrived() {
                return Ok(give_up(next, "it is no longer useful, and whether it arrived is unknown"));
            }
            release(&mut next);
            next.state = State::Expired;
            next.reason = Some(match &row.reason {
                Some(reason) => format!("no longer useful; it had waited because {reason}"),
                None => "no longer useful when its turn came".to_owned(),
            });
        }
        Change::Observe { message_id, fate, at } => return observed(row, message_id, *fate, *at, now),
    }
    Ok(next)
}

/// A message of which somebody saw that it was sent. That ends all doubt about it, and changes nothing for one that
/// somebody holds, waits to be sent, or is not to be.
fn observed(row: &Row, message_id: &str, fate: Fate, at: Timestamp, now: Timestamp) -> Result<Row, NotNow> {
    if row.message_id.as_deref().is_some_and(|known| known != message_id) {
        return Err(NotNow::Settled);
    }
    let mut next = row.clone();
    match row.state {
        State::Accepted => {}
        State::Unknown => next.reason = Some("its outcome was unknown until the line was seen saying it".to_owned()),
        State::NeedsHuman if row.may_have_arrived() => {
            next.reason = Some("it needed a human until the line was seen saying it".to_owned());
        }
        State::Claimed => return Err(NotNow::NotYours),
        State::Held
        | State::Refused
        | State::Superseded
        | State::Expired
        | State::Noted
        | State::Unsaid
        | State::NeedsHuman => return Err(NotNow::Settled),
    }
    release(&mut next);
    next.state = State::Accepted;
    next.message_id = Some(message_id.to_owned());
    // The moment it was sent is not known then; when it was first seen comes close.
    next.accepted_at = row.accepted_at.or(Some(at));
    next.fate = row.fate.with(fate);
    if next.fate != row.fate {
        next.fate_at = Some(at);
    }
    next.version += 1;
    next.updated_at = now;
    Ok(next)
}

fn owned(row: &Row, owner: &Owner) -> Result<(), NotNow> {
    match (row.state, &row.owner) {
        (State::Claimed, Some(holder)) if holder == owner => Ok(()),
        (State::Claimed, _) => Err(NotNow::NotYours),
        _ => Err(NotNow::NotClaimed),
    }
}

fn release(row: &mut Row) {
    row.owner = None;
    row.lease_until = None;
    row.due_at = None;
}

fn exhausted(row: &Row, at: Timestamp) -> bool {
    row.attempts >= MAX_ATTEMPTS || row.first_attempt_at.is_some_and(|first| at.duration_since(first) > UNKNOWN_WINDOW)
}

fn give_up(mut row: Row, reason: &str) -> Row {
    release(&mut row);
    row.state = State::NeedsHuman;
    row.reason = Some(format!("{reason}; look in EZWhatsApp whether it arrived"));
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::row::waiting;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn held() -> Row {
        let useful_until = at(1000);
        Row { useful_until, ..waiting() }
    }

    fn owner() -> impl Strategy<Value = Owner> {
        (0..3u8).prop_map(|number| Owner(format!("owner {number}")))
    }

    fn change() -> impl Strategy<Value = Change> {
        let reason = || "[a-z ]{0,8}";
        prop_oneof![
            3 => (owner(), 0..2000i64).prop_map(|(owner, lease)| Change::Claim { owner, lease_until: at(lease) }),
            1 => Just(Change::Watch),
            1 => (owner(), 0..2000i64, reason())
                .prop_map(|(owner, until, reason)| Change::Hold { owner, until: at(until), reason }),
            1 => (owner(), prop::option::of("[a-z]{1,4}"))
                .prop_map(|(owner, provider_id)| Change::Accept { owner, provider_id }),
            2 => (owner(), 0..200_000i64, reason())
                .prop_map(|(owner, retry, reason)| Change::LoseSight { owner, retry_at: at(retry), reason }),
            1 => (owner(), reason()).prop_map(|(owner, reason)| Change::Refuse { owner, reason }),
            1 => (owner(), reason()).prop_map(|(owner, reason)| Change::Contest { owner, reason }),
            1 => (owner(), reason()).prop_map(|(owner, reason)| Change::Supersede { owner, reason }),
            1 => prop::option::of(owner()).prop_map(|owner| Change::Expire { owner }),
            1 => (prop::sample::select(&["sent", "delivered", "read", "failed"][..]), "[ab]", 0..2000i64).prop_map(
                |(word, message_id, when)| {
                    Change::Observe { message_id, fate: Fate::of(word).unwrap(), at: at(when) }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_in_whatever_order_the_invariants_hold(changes in prop::collection::vec((change(), 0..400i64), 1..40)) {
            let mut row = held();
            let mut now = 0;
            for (change, passed) in changes {
                now += passed;
                let Ok(next) = transition(&row, &change, at(now)) else { continue };
                if let Change::Observe { .. } = change {
                    let doubtful = row.state != State::Accepted;
                    prop_assert!(!doubtful || row.may_have_arrived(), "{:?} was never tried", row.state);
                    prop_assert_eq!(next.state, State::Accepted);
                    prop_assert!(row.message_id.is_none() || row.message_id == next.message_id);
                } else {
                    prop_assert!(!row.state.is_settled(), "{:?} left {:?}", change, row.state);
                }
                prop_assert_eq!(next.version, row.version + 1);
                prop_assert_eq!(&next.payload, &row.payload);
                prop_assert_eq!(&next.key, &row.key);
                prop_assert!(next.attempts >= row.attempts && next.attempts <= MAX_ATTEMPTS);
                prop_assert_eq!(next.state == State::Claimed, next.owner.is_some());
                prop_assert_eq!(next.state.is_settled(), next.due_at.is_none(), "{:?}", next.state);
                if next.may_have_arrived() {
                    let as_if_not_sent = matches!(next.state, State::Held | State::Expired | State::Refused);
                    prop_assert!(!as_if_not_sent, "{:?}", next.state);
                }
                if row.state == State::Claimed && next.owner != row.owner {
                    let lease_over = row.lease_until.is_none_or(|lease| at(now) >= lease);
                    let by_owner = next.owner.is_none() && change != Change::Watch;
                    prop_assert!(lease_over || by_owner, "{:?} took a claim that was not over", change);
                }
                row = next;
            }
        }
    }
}
