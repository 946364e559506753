//! The states of a message: one pure function from a row and a change to the next row.
//!
//! **Invariants:**
//! - Only the owner of a claim changes a claimed row, until its lease ends.
//! - A settled row never returns to a state from which it could be sent. Only an operator's
//!   decision does that, which is not one of these changes (`resend`).
//! - The payload is written once.
//! - A message that may have arrived is never dropped as if it had not. It is sent again under the
//!   same key, or a person decides.
//! - A row that waits although it should have gone says since when (`waiting_since`), however often
//!   it is held, and still does when it has expired. A row that is settled otherwise, or that waits
//!   for the end of the quiet hours, does not. One that becomes useless in them keeps it.
//!
//! **Exception:** a message that was observed on the line becomes accepted, even if it needed a
//! person or was superseded.
//!
//! Does **not** decide *when* a message is sent: [`super::decide_message()`] does. The model
//! checker in `dispatch` walks every interleaving of two senders, crashes and lost responses
//! through this function.
//!
//! Long because every change of a row stands here, each with its tests.

use jiff::{SignedDuration, Timestamp};

use super::{
    delivery_status::DeliveryStatus,
    row::{ClaimOwner, LedgerRow, MessageState},
    trail::{Reason, StepCode},
};
use crate::provider::PROVIDER;

/// Something that happens to a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowChange {
    /// A function invocation wants to send it now.
    Claim {
        /// The invocation.
        owner: ClaimOwner,
        /// When the claim expires.
        lease_until: Timestamp,
    },
    /// An invocation found it claimed by another one. The sweep checks it when that claim has
    /// expired.
    Recheck,
    /// The owner could not submit it, and nothing was sent. It waits.
    Hold {
        /// The holder of the claim.
        owner: ClaimOwner,
        /// When it becomes due again.
        until: Timestamp,
        /// Why. In the quiet hours, and above the first contacts of a day, the message should not
        /// go yet. For any other reason it should have gone, and waits.
        reason: Reason,
    },
    /// The owner's submit was accepted.
    Accept {
        /// The holder of the claim.
        owner: ClaimOwner,
        /// The id in the response, if there was one.
        provider_id: Option<String>,
    },
    /// The owner submitted it, and it is unknown whether it arrived.
    OutcomeUnknown {
        /// The holder of the claim.
        owner: ClaimOwner,
        /// When to submit it again, if that is still allowed then.
        retry_at: Timestamp,
        /// What happened.
        reason: String,
    },
    /// The owner's submit was refused for good.
    Refuse {
        /// The holder of the claim.
        owner: ClaimOwner,
        /// The response.
        reason: String,
    },
    /// The provider reports that the key was used for another message, or is in use. A person
    /// decides.
    Conflict {
        /// The holder of the claim.
        owner: ClaimOwner,
        /// The response, or what came too late.
        reason: Reason,
    },
    /// The owner found that it is no longer true.
    Supersede {
        /// The holder of the claim.
        owner: ClaimOwner,
        /// What made it untrue.
        reason: Reason,
    },
    /// A newer message takes its place while it waits without a claim.
    Replace {
        /// What takes its place.
        reason: String,
    },
    /// A phone reported a status of it, or it was observed on the line. So it was sent.
    StatusReported {
        /// The message's id on the line.
        message_id: String,
        /// The provider's id of its conversation, if it was reported.
        conversation_id: Option<String>,
        /// What was reported.
        delivery_status: DeliveryStatus,
        /// When.
        at: Timestamp,
    },
    /// It is no longer useful.
    Expire {
        /// The holder of the claim, if it is claimed.
        owner: Option<ClaimOwner>,
    },
}

/// The longest time for which an obstacle holds a message without another check. So the sweep's
/// query of the next hours ([`super::Ledger::list_queue`]) shows every message that waits. What
/// blocks a line for longer is in the row of the line.
pub(super) const MAX_OBSTACLE_HOLD: SignedDuration = SignedDuration::from_mins(30);

/// A change that this row does not allow now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefused {
    /// It is settled.
    #[error("the message is settled")]
    Settled,
    /// Another invocation holds it.
    #[error("another invocation holds the message")]
    HeldByAnother,
    /// It is not claimed: the claim must come first.
    #[error("the message is not claimed")]
    NotClaimed,
    /// Its due time has not come.
    #[error("the message is not due yet")]
    NotDue,
}

/// The row after a change, or why the row does not allow the change.
pub fn apply_change(row: &LedgerRow, change: &RowChange, now: Timestamp) -> Result<LedgerRow, TransitionRefused> {
    if row.state.is_settled() && !matches!(change, RowChange::StatusReported { .. }) {
        return Err(TransitionRefused::Settled);
    }
    let next = LedgerRow { version: row.version + 1, updated_at: now, ..row.clone() };
    match change {
        RowChange::Claim { owner, lease_until } => claim_row(row, next, owner, *lease_until, now),
        RowChange::Recheck if row.state != MessageState::Claimed => Err(TransitionRefused::NotClaimed),
        // Adds only the index entry. Owner and lease stay, so the owner's own write succeeds, or
        // fails by the version and is repeated on the current row.
        RowChange::Recheck => Ok(LedgerRow { due_at: row.lease_until, ..next }),
        RowChange::Hold { owner, until, reason } => {
            check_owner(row, owner)?;
            Ok(hold_row(row, next, *until, reason, now))
        }
        RowChange::Accept { owner, provider_id } => {
            check_owner(row, owner)?;
            let mut next = settle_row(next, MessageState::Accepted);
            next.add_step(StepCode::Accepted, None);
            let provider_id = provider_id.clone().or(next.provider_id);
            Ok(LedgerRow { accepted_at: Some(now), provider_id, ..next })
        }
        RowChange::OutcomeUnknown { owner, retry_at, reason } => {
            check_owner(row, owner)?;
            Ok(doubt_row(row, next, *retry_at, reason, now))
        }
        RowChange::Refuse { owner, reason } => {
            check_owner(row, owner)?;
            // A refusal settles *this* submit. An earlier one may still have arrived.
            let state = if row.may_have_arrived() { MessageState::NeedsHuman } else { MessageState::Refused };
            Ok(settle_because(next, state, &Reason::new(StepCode::Refused, reason)))
        }
        RowChange::Conflict { owner, reason } => {
            check_owner(row, owner)?;
            Ok(settle_because(next, MessageState::NeedsHuman, reason))
        }
        RowChange::Supersede { owner, reason } => {
            check_owner(row, owner)?;
            let doubt = if row.may_have_arrived() { "; an earlier submit may have arrived" } else { "" };
            let reason = Reason::new(reason.code, format!("{}{doubt}", reason.text));
            Ok(settle_because(next, MessageState::Superseded, &reason))
        }
        // What may have arrived is not replaced: the person would get both.
        RowChange::Replace { .. } if row.state == MessageState::Claimed || row.may_have_arrived() => {
            Err(TransitionRefused::HeldByAnother)
        }
        RowChange::Replace { reason } => {
            Ok(settle_because(next, MessageState::Superseded, &Reason::new(StepCode::NewerLead, reason)))
        }
        RowChange::Expire { owner } => expire_row(row, next, owner.as_ref()),
        RowChange::StatusReported { message_id, conversation_id, delivery_status, at } => {
            let next = apply_status_report(row, next, message_id, *delivery_status, *at)?;
            // A late report does not bring back what was erased.
            let reported = conversation_id.clone().filter(|_| row.erasure.is_none());
            let conversation_id = next.conversation_id.or(reported);
            Ok(LedgerRow { conversation_id, ..next })
        }
    }
}

/// Claims a row. If its outcome stayed unknown for too long, a person decides instead.
fn claim_row(
    row: &LedgerRow,
    mut next: LedgerRow,
    owner: &ClaimOwner,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<LedgerRow, TransitionRefused> {
    match row.state {
        MessageState::Claimed if row.lease_until.is_some_and(|lease| now < lease) => {
            return Err(TransitionRefused::HeldByAnother);
        }
        MessageState::Claimed => {
            // The previous owner may have submitted it.
            next.attempts += 1;
            next.first_attempt_at = next.first_attempt_at.or(row.lease_until);
        }
        _ if row.due_at.is_some_and(|due| now < due) => return Err(TransitionRefused::NotDue),
        _ => {}
    }
    if is_exhausted(&next, now) {
        return Ok(ask_human(next, StepCode::OutcomeStayedUnknown, "the outcome stayed unknown"));
    }
    next.state = MessageState::Claimed;
    // A row that waited should have gone when it became due.
    next.waiting_since = row.waiting_since.or(row.due_at).or(row.lease_until);
    next.owner = Some(owner.clone());
    next.lease_until = Some(lease_until);
    // Stays in the index of due items: if this owner crashes, only the sweep finds the row.
    next.due_at = Some(lease_until);
    let code = if row.state == MessageState::Claimed { StepCode::LeaseExpired } else { StepCode::Due };
    next.add_step(code, None);
    Ok(next)
}

/// A row after a submit of unknown outcome. It is submitted again, or a person decides.
fn doubt_row(row: &LedgerRow, mut next: LedgerRow, retry_at: Timestamp, reason: &str, now: Timestamp) -> LedgerRow {
    release_claim(&mut next);
    next.attempts += 1;
    next.first_attempt_at = next.first_attempt_at.or(Some(now));
    if is_exhausted(&next, retry_at) {
        return ask_human(next, StepCode::OutcomeStayedUnknown, reason);
    }
    next.state = MessageState::Unknown;
    next.waiting_since = row.waiting_since.or(Some(now));
    next.due_at = Some(retry_at);
    next.reason = Some(reason.to_owned());
    next.add_step(StepCode::OutcomeUnknown, Some(reason));
    next
}

/// Settles a row in a state.
fn settle_row(mut next: LedgerRow, state: MessageState) -> LedgerRow {
    release_claim(&mut next);
    LedgerRow { state, reason: None, ..next }
}

/// Settles a row in a state that needs a reason.
fn settle_because(next: LedgerRow, state: MessageState, reason: &Reason) -> LedgerRow {
    let mut next = LedgerRow { reason: Some(reason.text.clone()), ..settle_row(next, state) };
    next.add_step(reason.code, Some(&reason.text));
    next
}

/// Holds a row. Only an obstacle makes it wait: in quiet hours it should not go yet. A row that
/// expires in them keeps since when it waited before.
fn hold_row(row: &LedgerRow, mut next: LedgerRow, until: Timestamp, reason: &Reason, now: Timestamp) -> LedgerRow {
    release_claim(&mut next);
    next.state = if row.may_have_arrived() { MessageState::Unknown } else { MessageState::Held };
    let mut due_at = until.min(row.useful_until);
    match reason.code {
        StepCode::QuietHours if until > row.useful_until => next.waiting_since = row.waiting_since,
        StepCode::QuietHours | StepCode::FirstContacts => {}
        _ => {
            due_at = due_at.min(now + MAX_OBSTACLE_HOLD);
            next.waiting_since = row.waiting_since.or(Some(now));
        }
    }
    next.due_at = Some(due_at.max(now));
    next.add_step(reason.code, Some(&reason.text));
    next.reason = Some(reason.text.clone());
    next
}

/// Expires a row. A message that may have arrived needs a person instead. It keeps since when it
/// waited, which says whether an alarm was raised for it.
fn expire_row(
    row: &LedgerRow,
    mut next: LedgerRow,
    owner: Option<&ClaimOwner>,
) -> Result<LedgerRow, TransitionRefused> {
    match (row.state, owner) {
        (MessageState::Claimed, Some(owner)) => check_owner(row, owner)?,
        (MessageState::Claimed, None) => return Err(TransitionRefused::HeldByAnother),
        _ => {}
    }
    if row.may_have_arrived() {
        let text = "the message is useless now, and it is unknown whether it arrived";
        return Ok(ask_human(next, StepCode::OutcomeStayedUnknown, text));
    }
    let reason = match &row.reason {
        Some(reason) => format!("no longer useful after waiting ({reason})"),
        None => "no longer useful when it became due".to_owned(),
    };
    next = settle_because(next, MessageState::Expired, &Reason::new(StepCode::Expired, reason));
    next.waiting_since = row.waiting_since;
    Ok(next)
}

/// Applies a report that a message was sent. It resolves an unknown outcome. It changes nothing for
/// a message that is claimed, waits to be sent, or is not to be sent.
fn apply_status_report(
    row: &LedgerRow,
    mut next: LedgerRow,
    message_id: &str,
    delivery_status: DeliveryStatus,
    at: Timestamp,
) -> Result<LedgerRow, TransitionRefused> {
    if row.message_id.as_deref().is_some_and(|known| known != message_id) {
        return Err(TransitionRefused::Settled);
    }
    match row.state {
        MessageState::Accepted => {}
        MessageState::Unknown => {
            next.reason = Some("the outcome was unknown until the message was observed on the line".to_owned());
        }
        MessageState::NeedsHuman if row.may_have_arrived() => {
            next.reason = Some("the message needed a person until it was observed on the line".to_owned());
        }
        // It was superseded after a submit without a response, which arrived.
        MessageState::Superseded if row.may_have_arrived() => {
            next.reason = Some("the message counted as superseded until it was observed on the line".to_owned());
        }
        MessageState::Claimed => return Err(TransitionRefused::HeldByAnother),
        MessageState::Held
        | MessageState::Refused
        | MessageState::Superseded
        | MessageState::Expired
        | MessageState::Suppressed
        | MessageState::Incomplete
        | MessageState::NeedsHuman => return Err(TransitionRefused::Settled),
    }
    release_claim(&mut next);
    next.state = MessageState::Accepted;
    // The id may contain the number, so a late report does not bring back one that was erased.
    next.message_id = row.message_id.clone().or_else(|| row.erasure.is_none().then(|| message_id.to_owned()));
    // The time of the send is unknown then. The first observation comes close.
    next.accepted_at = row.accepted_at.or(Some(at));
    next.take_delivery_status(delivery_status, at);
    // A message of unknown outcome is accepted by its first report, whatever that says.
    let code = StepCode::of_report(row.delivery_status, next.delivery_status);
    if let Some(code) = code.or((row.state != next.state).then_some(StepCode::Sent)) {
        next.add_step(code, None);
    }
    Ok(next)
}

fn check_owner(row: &LedgerRow, owner: &ClaimOwner) -> Result<(), TransitionRefused> {
    match (row.state, &row.owner) {
        (MessageState::Claimed, Some(holder)) if holder == owner => Ok(()),
        (MessageState::Claimed, _) => Err(TransitionRefused::HeldByAnother),
        _ => Err(TransitionRefused::NotClaimed),
    }
}

fn release_claim(row: &mut LedgerRow) {
    row.owner = None;
    row.lease_until = None;
    row.due_at = None;
    row.waiting_since = None;
}

fn is_exhausted(row: &LedgerRow, at: Timestamp) -> bool {
    let rules = &PROVIDER.facts().unknown_outcome;
    row.attempts >= rules.max_attempts
        || row.first_attempt_at.is_some_and(|first| at.duration_since(first) > rules.window)
}

fn ask_human(row: LedgerRow, code: StepCode, text: &str) -> LedgerRow {
    let text = format!("{text}; check in {} whether it arrived", PROVIDER.facts().name);
    settle_because(row, MessageState::NeedsHuman, &Reason::new(code, text))
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::row::waiting_row;

    fn at_second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn held_row() -> LedgerRow {
        let useful_until = at_second(1000);
        LedgerRow { useful_until, ..waiting_row() }
    }

    fn any_owner() -> impl Strategy<Value = ClaimOwner> {
        (0..3u8).prop_map(|number| ClaimOwner(format!("owner {number}")))
    }

    fn any_hold_reason() -> impl Strategy<Value = Reason> {
        prop_oneof![
            1 => Just(Reason::quiet_hours()),
            1 => Just(Reason::new(StepCode::FirstContacts, "too many")),
            2 => "[a-z ]{0,8}".prop_map(|text| Reason::new(StepCode::LineDown, text)),
        ]
    }

    /// Whether a change lets a row wait for a time that is not over yet.
    fn is_planned_wait(change: &RowChange) -> bool {
        let planned = [StepCode::QuietHours, StepCode::FirstContacts];
        matches!(change, RowChange::Hold { reason, .. } if planned.contains(&reason.code))
    }

    /// Whether a row became or becomes useless while it waits. It keeps since when it waits.
    fn is_useless(row: &LedgerRow, change: &RowChange) -> bool {
        match change {
            RowChange::Expire { .. } => row.state == MessageState::Expired,
            RowChange::Hold { until, reason: Reason { code: StepCode::QuietHours, .. }, .. } => {
                *until > row.useful_until
            }
            _ => false,
        }
    }

    pub(in crate::ledger) fn any_change() -> impl Strategy<Value = RowChange> {
        let reason = || "[a-z ]{0,8}";
        prop_oneof![
            3 => (any_owner(), 0..2000i64).prop_map(|(owner, lease)| RowChange::Claim { owner, lease_until: at_second(lease) }),
            1 => Just(RowChange::Recheck),
            1 => (any_owner(), 0..9000i64, any_hold_reason())
                .prop_map(|(owner, until, reason)| RowChange::Hold { owner, until: at_second(until), reason }),
            1 => (any_owner(), prop::option::of("[a-z]{1,4}"))
                .prop_map(|(owner, provider_id)| RowChange::Accept { owner, provider_id }),
            2 => (any_owner(), 0..200_000i64, reason())
                .prop_map(|(owner, retry, reason)| RowChange::OutcomeUnknown { owner, retry_at: at_second(retry), reason }),
            1 => (any_owner(), reason()).prop_map(|(owner, reason)| RowChange::Refuse { owner, reason }),
            1 => (any_owner(), reason()).prop_map(|(owner, text)| RowChange::Conflict { owner, reason: Reason::new(StepCode::KeyConflict, text) }),
            1 => (any_owner(), reason()).prop_map(|(owner, text)| RowChange::Supersede { owner, reason: Reason::new(StepCode::Superseded, text) }),
            1 => reason().prop_map(|reason| RowChange::Replace { reason }),
            1 => prop::option::of(any_owner()).prop_map(|owner| RowChange::Expire { owner }),
            1 => (prop::sample::select(&["sent", "delivered", "read", "failed"][..]), "[ab]", 0..2000i64).prop_map(
                |(word, message_id, when)| {
                    RowChange::StatusReported { message_id, conversation_id: None, delivery_status: DeliveryStatus::from_status(word).unwrap(), at: at_second(when) }
                }
            ),
        ]
    }

    #[test]
    fn a_late_report_does_not_bring_back_the_ids_of_a_forgotten_row() {
        let row = LedgerRow { state: MessageState::Accepted, due_at: None, ..waiting_row() };
        let row = row.erase(crate::ledger::erasure::ErasureCause::Request, None, at_second(1)).unwrap().unwrap();
        let change = RowChange::StatusReported {
            message_id: "true_972545550199@c.us_3EB0".into(),
            conversation_id: Some("972545550199@c.us".into()),
            delivery_status: DeliveryStatus::from_status("read").unwrap(),
            at: at_second(2),
        };
        let next = apply_change(&row, &change, at_second(2)).unwrap();
        assert_eq!((next.message_id, next.conversation_id), (None, None));
        assert_eq!(next.delivery_status.to_string(), "read");
    }

    proptest! {
        #[test]
        fn the_invariants_hold_after_any_changes_in_any_order(changes in prop::collection::vec((any_change(), 0..400i64), 1..40)) {
            let mut row = held_row();
            let mut now = 0;
            for (change, passed) in changes {
                now += passed;
                let Ok(next) = apply_change(&row, &change, at_second(now)) else { continue };
                if let RowChange::StatusReported { .. } = change {
                    let doubtful = row.state != MessageState::Accepted;
                    prop_assert!(!doubtful || row.may_have_arrived(), "{:?} was never submitted", row.state);
                    prop_assert_eq!(next.state, MessageState::Accepted);
                    prop_assert!(row.message_id.is_none() || row.message_id == next.message_id);
                } else {
                    prop_assert!(!row.state.is_settled(), "{:?} left {:?}", change, row.state);
                }
                prop_assert_eq!(next.version, row.version + 1);
                prop_assert_eq!(&next.payload, &row.payload);
                prop_assert_eq!(&next.key, &row.key);
                prop_assert!(next.attempts >= row.attempts && next.attempts <= PROVIDER.facts().unknown_outcome.max_attempts);
                prop_assert_eq!(next.state == MessageState::Claimed, next.owner.is_some());
                prop_assert_eq!(next.state.is_settled(), next.due_at.is_none(), "{:?}", next.state);
                let waits = matches!(next.state, MessageState::Held | MessageState::Unknown);
                if is_useless(&next, &change) {
                    prop_assert_eq!(next.waiting_since, row.waiting_since);
                } else if next.state.is_settled() || is_planned_wait(&change) {
                    prop_assert_eq!(next.waiting_since, None, "{:?}", change);
                } else if waits || row.waiting_since.is_some() {
                    prop_assert!(next.waiting_since.is_some_and(|since| since <= at_second(now)), "{:?}", change);
                    prop_assert!(row.waiting_since.is_none() || next.waiting_since == row.waiting_since, "{:?}", change);
                }
                if waits && !is_planned_wait(&change) && !matches!(change, RowChange::OutcomeUnknown { .. }) {
                    prop_assert!(next.due_at.unwrap() <= at_second(now) + MAX_OBSTACLE_HOLD);
                }
                if next.may_have_arrived() {
                    let as_if_not_sent = matches!(next.state, MessageState::Held | MessageState::Expired | MessageState::Refused);
                    prop_assert!(!as_if_not_sent, "{:?}", next.state);
                }
                if row.state == MessageState::Claimed && next.owner != row.owner {
                    let lease_over = row.lease_until.is_none_or(|lease| at_second(now) >= lease);
                    let by_owner = next.owner.is_none() && change != RowChange::Recheck;
                    prop_assert!(lease_over || by_owner, "{:?} took a claim that had not expired", change);
                }
                let steps = next.trail.steps();
                prop_assert!(steps.len() <= 16);
                prop_assert!(steps.last().is_none_or(|last| last.state == next.state.name()), "{:?}", change);
                prop_assert!(!steps.is_empty() || next.state == row.state, "{:?}", change);
                row = next;
            }
        }
    }
}
