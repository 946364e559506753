//! Model checker: walks every interleaving of two senders, their crashes, lost responses and the
//! passing of time through [`apply_change`], and checks the ledger's promises in every reachable
//! state.
//!
//! The table is modelled as a row that is only written over the version that was read. The provider
//! is modelled as honouring its key: the first submit that arrives queues the message, later ones
//! change nothing.

use jiff::{SignedDuration, Timestamp};
use stateright::{Checker, Model, Property};

use super::{
    RowChange,
    row::{ClaimOwner, LedgerRow, MessageState, waiting_row},
    transition::apply_change,
};
use crate::provider::PROVIDER;

const STEP_LENGTH: SignedDuration = SignedDuration::from_secs(10);
const LAST_STEP: u8 = 3;
const LEASE_STEPS: u8 = 1;
const USEFUL_STEPS: u8 = 2;
const MAX_CRASHES: u8 = 1;
const MAX_CLAIMS: u8 = 3;

fn at_step(step: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH + STEP_LENGTH * i32::from(step)
}

/// One invocation of a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ModelSender {
    /// Holds nothing.
    Idle,
    /// Has read the row and not yet written.
    HasRead(LedgerRow),
    /// Has claimed it.
    Holds(LedgerRow),
    /// Has a response, or knows that none comes, and has not yet recorded it.
    Answered(LedgerRow, RowChange),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ModelState {
    row: LedgerRow,
    senders: [ModelSender; 2],
    /// Counts claims, so that every claim has its own owner.
    claims: u8,
    step: u8,
    crashes: u8,
    /// Whether the message was queued.
    arrived: bool,
    /// Whether a sender submitted after its lease had ended and the row was settled. Nothing can
    /// undo that.
    sent_after_lease: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ModelAction {
    Read(usize),
    Claim(usize),
    Recheck(usize),
    /// The submit arrives, and so does the response.
    Accepted(usize),
    /// The submit arrives, the response does not.
    AnswerLost(usize),
    /// The submit does not arrive, and the sender does not know.
    SubmitLost(usize),
    /// The submit certainly did not arrive: line down, rate limit, no connection.
    NotSent(usize),
    Refused(usize),
    Superseded(usize),
    Expired(usize),
    Settle(usize),
    Crash(usize),
    AdvanceTime,
}

struct SenderModel;

impl SenderModel {
    fn submit_message(
        state: &mut ModelState,
        which: usize,
        arrives: bool,
        change: impl FnOnce(ClaimOwner) -> RowChange,
    ) -> Option<()> {
        let ModelSender::Holds(row) = state.senders[which].clone() else { return None };
        if arrives {
            state.sent_after_lease |= state.row.state.is_settled() && !state.arrived;
            state.arrived = true;
        }
        let change = change(row.owner.clone()?);
        state.senders[which] = ModelSender::Answered(row, change);
        Some(())
    }
}

impl Model for SenderModel {
    type State = ModelState;
    type Action = ModelAction;

    fn init_states(&self) -> Vec<ModelState> {
        let row = LedgerRow { useful_until: at_step(USEFUL_STEPS), ..waiting_row() };
        let senders = [ModelSender::Idle, ModelSender::Idle];
        vec![ModelState { row, senders, claims: 0, step: 0, crashes: 0, arrived: false, sent_after_lease: false }]
    }

    fn actions(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        if state.step < LAST_STEP {
            actions.push(ModelAction::AdvanceTime);
        }
        for which in 0..2 {
            match &state.senders[which] {
                ModelSender::Idle if !state.row.state.is_settled() => actions.push(ModelAction::Read(which)),
                ModelSender::Idle => {}
                ModelSender::HasRead(_) => actions.extend([ModelAction::Claim(which), ModelAction::Recheck(which)]),
                ModelSender::Holds(_) => {
                    actions.extend([
                        ModelAction::Accepted(which),
                        ModelAction::AnswerLost(which),
                        ModelAction::SubmitLost(which),
                        ModelAction::NotSent(which),
                        ModelAction::Refused(which),
                        ModelAction::Superseded(which),
                        ModelAction::Expired(which),
                    ]);
                }
                ModelSender::Answered(..) => actions.push(ModelAction::Settle(which)),
            }
            if state.crashes < MAX_CRASHES && state.senders[which] != ModelSender::Idle {
                actions.push(ModelAction::Crash(which));
            }
        }
    }

    fn next_state(&self, before: &ModelState, action: ModelAction) -> Option<ModelState> {
        let mut state = before.clone();
        let now = at_step(state.step);
        match action {
            ModelAction::AdvanceTime => state.step += 1,
            ModelAction::Read(which) => state.senders[which] = ModelSender::HasRead(state.row.clone()),
            ModelAction::Crash(which) => {
                state.crashes += 1;
                state.senders[which] = ModelSender::Idle;
            }
            ModelAction::Claim(which) => {
                let ModelSender::HasRead(row) = state.senders[which].clone() else { return None };
                state.claims += 1;
                let owner = ClaimOwner(format!("claim {}", state.claims));
                let lease_until = now + STEP_LENGTH * i32::from(LEASE_STEPS);
                state.senders[which] = ModelSender::Idle;
                if let Ok(next) = apply_change(&row, &RowChange::Claim { owner, lease_until }, now)
                    && state.row.version == row.version
                {
                    if next.state == MessageState::Claimed {
                        state.senders[which] = ModelSender::Holds(next.clone());
                    }
                    state.row = next;
                }
            }
            ModelAction::Recheck(which) => {
                let ModelSender::HasRead(row) = state.senders[which].clone() else { return None };
                state.senders[which] = ModelSender::Idle;
                if let Ok(next) = apply_change(&row, &RowChange::Recheck, now)
                    && state.row.version == row.version
                    && row.due_at.is_none()
                {
                    state.row = next;
                }
            }
            ModelAction::Accepted(which) => {
                Self::submit_message(&mut state, which, true, |owner| RowChange::Accept {
                    owner,
                    provider_id: Some("m1".into()),
                })?;
            }
            ModelAction::AnswerLost(which) => Self::submit_message(&mut state, which, true, |owner| {
                RowChange::OutcomeUnknown { owner, retry_at: now + STEP_LENGTH, reason: "no answer".into() }
            })?,
            ModelAction::SubmitLost(which) => Self::submit_message(&mut state, which, false, |owner| {
                RowChange::OutcomeUnknown { owner, retry_at: now + STEP_LENGTH, reason: "no answer".into() }
            })?,
            ModelAction::NotSent(which) => Self::submit_message(&mut state, which, false, |owner| RowChange::Hold {
                owner,
                until: now + STEP_LENGTH,
                reason: "the line is down".into(),
            })?,
            ModelAction::Refused(which) => {
                Self::submit_message(&mut state, which, false, |owner| RowChange::Refuse {
                    owner,
                    reason: "400".into(),
                })?;
            }
            ModelAction::Superseded(which) => {
                Self::submit_message(&mut state, which, false, |owner| RowChange::Supersede {
                    owner,
                    reason: "x".into(),
                })?;
            }
            ModelAction::Expired(which) => {
                if now < state.row.useful_until {
                    return None;
                }
                Self::submit_message(&mut state, which, false, |owner| RowChange::Expire { owner: Some(owner) })?;
            }
            ModelAction::Settle(which) => {
                let ModelSender::Answered(row, change) = state.senders[which].clone() else { return None };
                match apply_change(&row, &change, now) {
                    Ok(next) if state.row.version == row.version => {
                        state.row = next;
                        state.senders[which] = ModelSender::Idle;
                    }
                    // Overtaken: try again on the current row, as `Dispatcher::settle_row` does.
                    Ok(_) if apply_change(&state.row, &change, now).is_ok() => {
                        state.senders[which] = ModelSender::Answered(state.row.clone(), change);
                    }
                    _ => state.senders[which] = ModelSender::Idle,
                }
            }
        }
        // The time of a write decides nothing and would only multiply the states.
        state.row.updated_at = at_step(0);
        Some(state)
    }

    fn within_boundary(&self, state: &ModelState) -> bool {
        state.claims <= MAX_CLAIMS
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("two senders never hold the claim of one version", |_, state| {
                let held = |sender: &ModelSender| match sender {
                    ModelSender::Holds(row) | ModelSender::Answered(row, _) => row.owner.clone(),
                    ModelSender::Idle | ModelSender::HasRead(_) => None,
                };
                match (held(&state.senders[0]), held(&state.senders[1])) {
                    (Some(one), Some(other)) => one != other,
                    _ => true,
                }
            }),
            Property::<Self>::always("a message that arrived is never recorded as not sent", |_, state| {
                let at_rest =
                    state.senders.iter().all(|sender| matches!(sender, ModelSender::Idle | ModelSender::HasRead(_)));
                let not_sent = match state.row.state {
                    MessageState::Held | MessageState::Expired | MessageState::Refused => true,
                    MessageState::Superseded => !state.row.may_have_arrived(),
                    _ => false,
                };
                !(at_rest && state.arrived && not_sent) || state.sent_after_lease
            }),
            Property::<Self>::always("an accepted message has arrived", |_, state| {
                state.row.state != MessageState::Accepted || state.arrived
            }),
            Property::<Self>::always("the sweep or the owner finds every row that is not settled", |_, state| {
                let in_hand = state.senders.iter().any(|sender| *sender != ModelSender::Idle);
                match state.row.state {
                    MessageState::Held | MessageState::Unknown => state.row.due_at.is_some(),
                    MessageState::Claimed => state.row.due_at.is_some() && state.row.owner.is_some(),
                    _ => state.row.due_at.is_none() || in_hand,
                }
            }),
            Property::<Self>::always("attempts are bounded", |_, state| {
                state.row.attempts <= PROVIDER.facts().unknown_outcome.max_attempts
            }),
            Property::<Self>::sometimes("a lost response is recovered", |_, state| {
                state.row.state == MessageState::Accepted && state.row.attempts > 0
            }),
            Property::<Self>::sometimes("a crashed claim is taken over", |_, state| {
                state.crashes > 0 && state.row.state == MessageState::Accepted
            }),
            Property::<Self>::sometimes("a message that waited too long expires", |_, state| {
                state.row.state == MessageState::Expired
            }),
            Property::<Self>::sometimes("a message needs a person", |_, state| {
                state.row.state == MessageState::NeedsHuman
            }),
        ]
    }
}

#[test]
fn no_interleaving_of_two_senders_breaks_a_promise() {
    let checked = SenderModel.checker().threads(2).spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
}
