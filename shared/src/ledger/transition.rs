//! What may become of a message: one pure function from a row and a change to the next row.
//!
//! **Invariant:** only the owner of a claim changes a claimed row, until its lease ends. **Invariant:** a settled row
//! never goes back to a state from which it could be sent. **Invariant:** the payload is written once. **Invariant:** a
//! message that may have arrived is never dropped as if it had not: it is asked for again under the same key, or put
//! before a human.
//!
//! Holds no policy about *when*: that is [`super::decide()`]'s. The model checker in this folder's tests walks every
//! interleaving of two senders, crashes and lost answers through this function.

use jiff::{SignedDuration, Timestamp};

use super::row::{Owner, Row, State};

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
    if row.state.is_settled() {
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
    }
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
