//! Model checker: walks every interleaving of two senders, their crashes, lost responses and the
//! passing of time through [`MessageDriver`], and checks the ledger's promises in every reachable
//! state.
//!
//! The table is modelled as a row that is only written over the version that was read. The provider
//! is modelled as honouring its key: the first submit that arrives queues the message, later ones
//! change nothing.

use jiff::{SignedDuration, Timestamp};
use stateright::{Checker, Model, Property};

use super::{DispatchEvent, LineOpening, LineUnavailable, MessageDriver, NextStep, driver::WritePurpose};
use crate::{
    client_config::{ClientConfig, Milestone, Precedence},
    ledger::{
        ClaimOwner, IdempotencyKey, LedgerRow, MessageState, OpenOutcome, Reason, ResendDecision, RowChange,
        SaveOutcome, StepCode, apply_change, resend_row, waiting_row,
    },
    line::SlotReservation,
    provider::{PROVIDER, SendOutcome},
    trail::Trail,
};

const STEP_LENGTH: SignedDuration = SignedDuration::from_mins(1);
const LAST_STEP: u8 = 3;
const LEASE_STEPS: u8 = 1;
const USEFUL_STEPS: u8 = 2;
const MAX_CRASHES: u8 = 1;
const MAX_INVOCATIONS: u8 = 3;
const FIRST_CONTACTS: &str = "first contacts";

fn at_step(step: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH + STEP_LENGTH * i32::from(step)
}

/// One invocation of a function, and the step that it has not yet done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ModelSender {
    owner: ClaimOwner,
    step: NextStep<()>,
}

impl ModelSender {
    /// The row that it has claimed, as it knows it.
    fn claimed_row(&self) -> Option<&LedgerRow> {
        let row = match &self.step {
            NextStep::ReadHistory { row, .. } | NextStep::Submit(row, ()) => row,
            NextStep::Save(write) if matches!(write.purpose, WritePurpose::Settle { .. }) => &write.before,
            _ => return None,
        };
        (row.owner.as_ref() == Some(&self.owner)).then_some(row)
    }
}

/// Whether an operator sent the message again. It happens once at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ModelResend {
    Not,
    Rightly,
    /// It had arrived, and no person could have known that.
    Blindly,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ModelState {
    row: Option<LedgerRow>,
    senders: [Option<ModelSender>; 2],
    /// Counts invocations, so that every one has its own owner.
    invocations: u8,
    step: u8,
    crashes: u8,
    /// Whether an invocation has processed the delivery to its end. Until then the delivery is
    /// repeated.
    delivered: bool,
    /// Whether the message was queued.
    arrived: bool,
    /// Whether a sender submitted after its lease had ended and the row was settled. Nothing can
    /// undo that.
    sent_after_lease: bool,
    resend: ModelResend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ModelAction {
    /// The delivery comes, or comes again.
    Deliver(usize),
    /// The sweep finds the row.
    Resume(usize),
    Write(usize),
    Cleared(usize),
    Superseded(usize),
    /// The submit arrives, and so does the response.
    Accepted(usize),
    /// The submit arrives, the response does not.
    AnswerLost(usize),
    /// The submit does not arrive, and the sender does not know.
    SubmitLost(usize),
    /// The submit certainly did not arrive: no connection.
    NotSent(usize),
    RateLimited(usize),
    Refused(usize),
    /// The line may not write to this customer today.
    Held(usize),
    /// A newer message takes the place of the row while it waits.
    Replace,
    /// An operator sends a message again that ended.
    Resend,
    Crash(usize),
    AdvanceTime,
}

struct SenderModel {
    config: ClientConfig,
}

impl SenderModel {
    /// Lets a new invocation decide about an event.
    fn start(&self, state: &mut ModelState, which: usize, event: impl FnOnce(&ClaimOwner) -> DispatchEvent<()>) {
        state.invocations += 1;
        let owner = ClaimOwner(format!("invocation {}", state.invocations));
        let event = event(&owner);
        self.proceed(state, which, owner, event);
    }

    /// Decides about an event, and does every step that has only one outcome.
    fn proceed(&self, state: &mut ModelState, which: usize, owner: ClaimOwner, mut event: DispatchEvent<()>) {
        let now = at_step(state.step);
        let lease_until = now + STEP_LENGTH * i32::from(LEASE_STEPS);
        loop {
            let driver = MessageDriver { config: &self.config, owner: &owner, lease_until, now };
            event = match driver.next_step(event) {
                NextStep::ReserveSlot { row, read_at } => {
                    let slot = SlotReservation::Granted { recent_health: None, drop_before: None };
                    DispatchEvent::SlotReserved(row, read_at, slot)
                }
                NextStep::OpenLine { row, .. } => DispatchEvent::LineOpened(row, LineOpening::Open(())),
                NextStep::Recheck { row, recent_health } => {
                    DispatchEvent::Rechecked { row, recent_health, has_opted_out: false, history: Vec::new() }
                }
                NextStep::DelayLine(row, until) => DispatchEvent::LineBlocked(
                    row,
                    LineUnavailable { until, reason: Reason::new(StepCode::ProviderBusy, "429") },
                ),
                NextStep::Done(_) | NextStep::Recorded { .. } | NextStep::GiveUp(_) => {
                    state.delivered = true;
                    return;
                }
                mut step => {
                    forget_trails(&mut step);
                    state.senders[which] = Some(ModelSender { owner, step });
                    return;
                }
            };
        }
    }

    fn submit(&self, state: &mut ModelState, which: usize, arrives: bool, outcome: SendOutcome) -> Option<()> {
        let ModelSender { owner, step: NextStep::Submit(row, ()) } = state.senders[which].take()? else { return None };
        if arrives {
            state.sent_after_lease |= state.row.as_ref()?.state.is_settled() && !state.arrived;
            state.arrived = true;
        }
        self.proceed(state, which, owner, DispatchEvent::Sent(row, outcome));
        Some(())
    }

    fn write(&self, state: &mut ModelState, which: usize) -> Option<()> {
        let ModelSender { owner, step: NextStep::Save(write) } = state.senders[which].take()? else { return None };
        let row = state.row.as_mut()?;
        let outcome = if row.version == write.before.version {
            *row = write.after.clone();
            SaveOutcome::Saved
        } else {
            SaveOutcome::Overtaken(Box::new(row.clone()))
        };
        self.proceed(state, which, owner, DispatchEvent::Saved(write, outcome));
        Some(())
    }

    fn hold(&self, state: &mut ModelState, which: usize) -> Option<()> {
        let ModelSender { owner, step: NextStep::Submit(row, ()) } = state.senders[which].take()? else { return None };
        let held = LineUnavailable {
            until: at_step(state.step + 1),
            reason: Reason::new(StepCode::FirstContacts, FIRST_CONTACTS),
        };
        self.proceed(state, which, owner, DispatchEvent::LineOpened(row, LineOpening::Held(held)));
        Some(())
    }

    fn check_history(&self, state: &mut ModelState, which: usize, history: Vec<LedgerRow>) -> Option<()> {
        let ModelSender { owner, step } = state.senders[which].take()?;
        let NextStep::ReadHistory { row, read_at } = step else { return None };
        self.proceed(state, which, owner, DispatchEvent::HistoryRead(row, read_at, history));
        Some(())
    }

    fn deliver(&self, state: &mut ModelState, which: usize) {
        let now = at_step(state.step);
        let outcome = state.row.clone().map_or(OpenOutcome::New, |row| OpenOutcome::Exists(Box::new(row)));
        self.start(state, which, |owner| {
            let row = LedgerRow {
                state: MessageState::Claimed,
                useful_until: at_step(USEFUL_STEPS),
                owner: Some(owner.clone()),
                lease_until: Some(now + STEP_LENGTH * i32::from(LEASE_STEPS)),
                due_at: None,
                ..waiting_row()
            };
            DispatchEvent::Opened(row, false, outcome)
        });
        if state.row.is_none() {
            state.row = state.senders[which].as_ref().and_then(ModelSender::claimed_row).cloned();
        }
    }
}

/// Removes the trails of a step's rows. Only people read them, and rows that differ in nothing else
/// would be states of their own.
fn forget_trails(step: &mut NextStep<()>) {
    match step {
        NextStep::Save(write) => {
            write.before.trail = Trail::default();
            write.after.trail = Trail::default();
        }
        NextStep::ReadHistory { row, .. } | NextStep::Submit(row, ()) => row.trail = Trail::default(),
        _ => {}
    }
}

/// The row after an operator sends it again; `None` if that is refused. The person sees what is on
/// the phone at this moment, and not what is on its way.
fn resend(state: &ModelState) -> Option<LedgerRow> {
    let row = state.row.as_ref().filter(|_| state.resend == ModelResend::Not)?;
    let decision = ResendDecision { useful_until: Some(at_step(LAST_STEP + 1)), is_absent: !state.arrived };
    resend_row(row, decision, at_step(state.step)).ok()
}

fn replace() -> RowChange {
    RowChange::Replace { reason: "a newer lead".to_owned() }
}

/// The row of an order that was cancelled.
fn cancelled_row() -> LedgerRow {
    LedgerRow {
        key: IdempotencyKey::for_order("main", "1", Milestone::Cancelled),
        precedence: Precedence::of_milestone(Milestone::Cancelled, None),
        state: MessageState::Accepted,
        ..waiting_row()
    }
}

impl Model for SenderModel {
    type State = ModelState;
    type Action = ModelAction;

    fn init_states(&self) -> Vec<ModelState> {
        vec![ModelState {
            row: None,
            senders: [None, None],
            invocations: 0,
            step: 0,
            crashes: 0,
            delivered: false,
            arrived: false,
            sent_after_lease: false,
            resend: ModelResend::Not,
        }]
    }

    fn actions(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        if state.step < LAST_STEP {
            actions.push(ModelAction::AdvanceTime);
        }
        let replaced = |row: &LedgerRow| apply_change(row, &replace(), at_step(state.step)).is_ok();
        if state.row.as_ref().is_some_and(replaced) {
            actions.push(ModelAction::Replace);
        }
        if resend(state).is_some() {
            actions.push(ModelAction::Resend);
        }
        let is_due = state.row.as_ref().and_then(|row| row.due_at).is_some_and(|due| due <= at_step(state.step));
        for which in 0..2 {
            let Some(sender) = &state.senders[which] else {
                // Every delivery may come twice.
                actions.push(ModelAction::Deliver(which));
                actions.extend(is_due.then_some(ModelAction::Resume(which)));
                continue;
            };
            match &sender.step {
                NextStep::Save(_) => actions.push(ModelAction::Write(which)),
                NextStep::ReadHistory { .. } => {
                    actions.extend([ModelAction::Cleared(which), ModelAction::Superseded(which)]);
                }
                NextStep::Submit(..) => actions.extend([
                    ModelAction::Accepted(which),
                    ModelAction::AnswerLost(which),
                    ModelAction::SubmitLost(which),
                    ModelAction::NotSent(which),
                    ModelAction::RateLimited(which),
                    ModelAction::Refused(which),
                    // Nothing is written between this answer and the submit.
                    ModelAction::Held(which),
                ]),
                step => panic!("an order has no such step: {step:?}"),
            }
            if state.crashes < MAX_CRASHES {
                actions.push(ModelAction::Crash(which));
            }
        }
    }

    fn next_state(&self, before: &ModelState, action: ModelAction) -> Option<ModelState> {
        let mut state = before.clone();
        let lost = || SendOutcome::Unknown("no answer".into());
        match action {
            ModelAction::AdvanceTime => state.step += 1,
            ModelAction::Crash(which) => {
                state.crashes += 1;
                state.senders[which] = None;
            }
            ModelAction::Deliver(which) => self.deliver(&mut state, which),
            ModelAction::Resume(which) => {
                let row = state.row.clone()?;
                self.start(&mut state, which, |_| DispatchEvent::Due(row));
            }
            ModelAction::Write(which) => self.write(&mut state, which)?,
            ModelAction::Cleared(which) => self.check_history(&mut state, which, Vec::new())?,
            ModelAction::Superseded(which) => self.check_history(&mut state, which, vec![cancelled_row()])?,
            ModelAction::Accepted(which) => {
                self.submit(&mut state, which, true, SendOutcome::Accepted { provider_id: Some("m1".into()) })?;
            }
            ModelAction::AnswerLost(which) => self.submit(&mut state, which, true, lost())?,
            ModelAction::SubmitLost(which) => self.submit(&mut state, which, false, lost())?,
            ModelAction::NotSent(which) => {
                self.submit(&mut state, which, false, SendOutcome::NotSent("no connection".into()))?;
            }
            ModelAction::RateLimited(which) => {
                self.submit(&mut state, which, false, SendOutcome::RateLimited { retry_after: None })?;
            }
            ModelAction::Refused(which) => {
                self.submit(&mut state, which, false, SendOutcome::Refused("400".into()))?;
            }
            ModelAction::Held(which) => self.hold(&mut state, which)?,
            ModelAction::Resend => {
                let resent = resend(&state)?;
                let is_looked_at = is_in(&state, MessageState::NeedsHuman);
                let is_blind = state.arrived && !state.sent_after_lease && !is_looked_at;
                state.resend = if is_blind { ModelResend::Blindly } else { ModelResend::Rightly };
                state.row = Some(LedgerRow { trail: Trail::default(), ..resent });
            }
            ModelAction::Replace => {
                let row = state.row.as_ref()?;
                let replaced = apply_change(row, &replace(), at_step(state.step)).ok()?;
                state.row = Some(LedgerRow { trail: Trail::default(), ..replaced });
            }
        }
        // The time of a write decides nothing and would only multiply the states.
        if let Some(row) = &mut state.row {
            row.updated_at = at_step(0);
            row.waiting_since = row.waiting_since.map(|_| at_step(0));
        }
        Some(state)
    }

    fn within_boundary(&self, state: &ModelState) -> bool {
        state.invocations <= MAX_INVOCATIONS
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("two senders never hold the claim of one version", |_, state| {
                let held = |which: usize| state.senders[which].as_ref()?.claimed_row().map(|row| row.version);
                held(0).is_none_or(|version| held(1) != Some(version))
            }),
            Property::<Self>::always("a message that arrived is never recorded as not sent", |_, state| {
                let in_hand = state.senders.iter().flatten().any(|sender| sender.claimed_row().is_some());
                let not_sent = state.row.as_ref().is_none_or(|row| match row.state {
                    MessageState::Held | MessageState::Expired | MessageState::Refused => true,
                    MessageState::Superseded => !row.may_have_arrived(),
                    _ => false,
                });
                in_hand || !state.arrived || !not_sent || state.sent_after_lease
            }),
            Property::<Self>::always("an accepted message has arrived", |_, state| {
                !is_in(state, MessageState::Accepted) || state.arrived
            }),
            Property::<Self>::always("the sweep, the owner or the delivery finds every row", |_, state| {
                let in_hand = state.senders.iter().any(Option::is_some);
                state.row.as_ref().is_none_or(|row| match row.state {
                    MessageState::Held | MessageState::Unknown => row.due_at.is_some(),
                    MessageState::Claimed => {
                        row.owner.is_some() && (row.due_at.is_some() || in_hand || !state.delivered)
                    }
                    _ => row.due_at.is_none() || in_hand,
                })
            }),
            Property::<Self>::always(
                "a row says that it waits, until it is settled or waits for the next day",
                |_, state| {
                    state.row.as_ref().is_none_or(|row| match row.state {
                        MessageState::Held | MessageState::Unknown => {
                            row.waiting_since.is_none() == (row.reason.as_deref() == Some(FIRST_CONTACTS))
                        }
                        MessageState::Claimed | MessageState::Expired => true,
                        _ => row.waiting_since.is_none(),
                    })
                },
            ),
            Property::<Self>::always("what arrived is sent again only if a person looked", |_, state| {
                state.resend != ModelResend::Blindly
            }),
            Property::<Self>::sometimes("a message that ended is sent again and arrives", |_, state| {
                state.resend != ModelResend::Not && is_in(state, MessageState::Accepted)
            }),
            Property::<Self>::always("attempts are bounded", |_, state| {
                let attempts = state.row.as_ref().map_or(0, |row| row.attempts);
                attempts <= PROVIDER.facts().unknown_outcome.max_attempts
            }),
            Property::<Self>::sometimes("a lost response is recovered", |_, state| {
                is_in(state, MessageState::Accepted) && state.row.as_ref().is_some_and(LedgerRow::may_have_arrived)
            }),
            Property::<Self>::sometimes("a crashed claim is taken over", |_, state| {
                state.crashes > 0 && is_in(state, MessageState::Accepted)
            }),
            Property::<Self>::sometimes("a message that waited too long expires", |_, state| {
                is_in(state, MessageState::Expired)
            }),
            Property::<Self>::sometimes("a message needs a person", |_, state| is_in(state, MessageState::NeedsHuman)),
        ]
    }
}

fn is_in(state: &ModelState, wanted: MessageState) -> bool {
    state.row.as_ref().is_some_and(|row| row.state == wanted)
}

#[test]
fn no_interleaving_of_two_senders_breaks_a_promise() {
    let toml = "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\n\
                languages = [\"en\"]\n[lines.main]\nline_id = \"line_1\"\n";
    let model = SenderModel { config: ClientConfig::parse(toml).unwrap() };
    let checked = model.checker().threads(2).spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
}
