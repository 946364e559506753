//! Walks every interleaving of two senders, their crashes, lost answers and the passing of time through
//! [`transition`], and holds the ledger's promises in every state that can be reached.
//!
//! The table is modelled as what it is: a row that is only written over the version that was read. `EZWhatsApp` is
//! modelled as honouring its key: the first submit that arrives queues the message, later ones change nothing.

use jiff::{SignedDuration, Timestamp};
use stateright::{Checker, Model, Property};

use super::{
    Change,
    row::{Owner, Row, State, waiting},
    transition,
};

const STEP: SignedDuration = SignedDuration::from_secs(10);
const LAST_STEP: u8 = 3;
const LEASE_STEPS: u8 = 1;
const USEFUL_STEPS: u8 = 2;
const CRASHES: u8 = 1;
const CLAIMS: u8 = 3;

fn at(step: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH + STEP * i32::from(step)
}

/// One invocation of a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Sender {
    /// Has nothing in hand.
    Idle,
    /// Has read the row and not yet written.
    HasRead(Row),
    /// Has claimed it.
    Holds(Row),
    /// Has an answer, or knows that it will get none, and has not yet written that down.
    Answered(Row, Change),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    row: Row,
    senders: [Sender; 2],
    /// Counts claims, so that every claim has an owner of its own.
    claims: u8,
    step: u8,
    crashes: u8,
    /// Whether the message was queued.
    arrived: bool,
    /// Whether a submit was made by somebody whose lease had ended, after the row was settled: nothing can undo that.
    by_a_zombie: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Act {
    Read(usize),
    Claim(usize),
    Watch(usize),
    /// The submit arrives and its answer too.
    Accepted(usize),
    /// The submit arrives, its answer does not.
    AnswerLost(usize),
    /// The submit does not arrive, and nobody can tell.
    SubmitLost(usize),
    /// It certainly did not arrive: line down, slow down, no connection.
    NotSent(usize),
    Refused(usize),
    Superseded(usize),
    TooLate(usize),
    Settle(usize),
    Crash(usize),
    Time,
}

struct Senders;

impl Senders {
    fn submit(world: &mut World, which: usize, arrives: bool, change: impl FnOnce(Owner) -> Change) -> Option<()> {
        let Sender::Holds(row) = world.senders[which].clone() else { return None };
        if arrives {
            world.by_a_zombie |= world.row.state.is_settled() && !world.arrived;
            world.arrived = true;
        }
        let change = change(row.owner.clone()?);
        world.senders[which] = Sender::Answered(row, change);
        Some(())
    }
}

impl Model for Senders {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let row = Row { useful_until: at(USEFUL_STEPS), ..waiting() };
        let senders = [Sender::Idle, Sender::Idle];
        vec![World { row, senders, claims: 0, step: 0, crashes: 0, arrived: false, by_a_zombie: false }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Act>) {
        if world.step < LAST_STEP {
            actions.push(Act::Time);
        }
        for which in 0..2 {
            match &world.senders[which] {
                Sender::Idle if !world.row.state.is_settled() => actions.push(Act::Read(which)),
                Sender::Idle => {}
                Sender::HasRead(_) => actions.extend([Act::Claim(which), Act::Watch(which)]),
                Sender::Holds(_) => {
                    actions.extend([
                        Act::Accepted(which),
                        Act::AnswerLost(which),
                        Act::SubmitLost(which),
                        Act::NotSent(which),
                        Act::Refused(which),
                        Act::Superseded(which),
                        Act::TooLate(which),
                    ]);
                }
                Sender::Answered(..) => actions.push(Act::Settle(which)),
            }
            if world.crashes < CRASHES && world.senders[which] != Sender::Idle {
                actions.push(Act::Crash(which));
            }
        }
    }

    fn next_state(&self, before: &World, act: Act) -> Option<World> {
        let mut world = before.clone();
        let now = at(world.step);
        match act {
            Act::Time => world.step += 1,
            Act::Read(which) => world.senders[which] = Sender::HasRead(world.row.clone()),
            Act::Crash(which) => {
                world.crashes += 1;
                world.senders[which] = Sender::Idle;
            }
            Act::Claim(which) => {
                let Sender::HasRead(row) = world.senders[which].clone() else { return None };
                world.claims += 1;
                let owner = Owner(format!("claim {}", world.claims));
                let lease_until = now + STEP * i32::from(LEASE_STEPS);
                world.senders[which] = Sender::Idle;
                if let Ok(next) = transition(&row, &Change::Claim { owner, lease_until }, now)
                    && world.row.version == row.version
                {
                    if next.state == State::Claimed {
                        world.senders[which] = Sender::Holds(next.clone());
                    }
                    world.row = next;
                }
            }
            Act::Watch(which) => {
                let Sender::HasRead(row) = world.senders[which].clone() else { return None };
                world.senders[which] = Sender::Idle;
                if let Ok(next) = transition(&row, &Change::Watch, now)
                    && world.row.version == row.version
                    && row.due_at.is_none()
                {
                    world.row = next;
                }
            }
            Act::Accepted(which) => {
                Self::submit(&mut world, which, true, |owner| Change::Accept {
                    owner,
                    provider_id: Some("m1".into()),
                })?;
            }
            Act::AnswerLost(which) => Self::submit(&mut world, which, true, |owner| Change::LoseSight {
                owner,
                retry_at: now + STEP,
                reason: "no answer".into(),
            })?,
            Act::SubmitLost(which) => Self::submit(&mut world, which, false, |owner| Change::LoseSight {
                owner,
                retry_at: now + STEP,
                reason: "no answer".into(),
            })?,
            Act::NotSent(which) => Self::submit(&mut world, which, false, |owner| Change::Hold {
                owner,
                until: now + STEP,
                reason: "the line is down".into(),
            })?,
            Act::Refused(which) => {
                Self::submit(&mut world, which, false, |owner| Change::Refuse { owner, reason: "400".into() })?;
            }
            Act::Superseded(which) => {
                Self::submit(&mut world, which, false, |owner| Change::Supersede { owner, reason: "x".into() })?;
            }
            Act::TooLate(which) => {
                if now < world.row.useful_until {
                    return None;
                }
                Self::submit(&mut world, which, false, |owner| Change::Expire { owner: Some(owner) })?;
            }
            Act::Settle(which) => {
                let Sender::Answered(row, change) = world.senders[which].clone() else { return None };
                match transition(&row, &change, now) {
                    Ok(next) if world.row.version == row.version => {
                        world.row = next;
                        world.senders[which] = Sender::Idle;
                    }
                    // Overtaken: once more, over what the row is now, as `Teller::settle` does.
                    Ok(_) if transition(&world.row, &change, now).is_ok() => {
                        world.senders[which] = Sender::Answered(world.row.clone(), change);
                    }
                    _ => world.senders[which] = Sender::Idle,
                }
            }
        }
        // When a row was written decides nothing, and would only multiply the states.
        world.row.updated_at = at(0);
        Some(world)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.claims <= CLAIMS
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("two senders never hold the claim of one version", |_, world| {
                let held = |sender: &Sender| match sender {
                    Sender::Holds(row) | Sender::Answered(row, _) => row.owner.clone(),
                    Sender::Idle | Sender::HasRead(_) => None,
                };
                match (held(&world.senders[0]), held(&world.senders[1])) {
                    (Some(one), Some(other)) => one != other,
                    _ => true,
                }
            }),
            Property::<Self>::always("what arrived is never written down as not sent", |_, world| {
                let at_rest = world.senders.iter().all(|sender| matches!(sender, Sender::Idle | Sender::HasRead(_)));
                let not_sent = match world.row.state {
                    State::Held | State::Expired | State::Refused => true,
                    State::Superseded => !world.row.may_have_arrived(),
                    _ => false,
                };
                !(at_rest && world.arrived && not_sent) || world.by_a_zombie
            }),
            Property::<Self>::always("what is accepted has arrived", |_, world| {
                world.row.state != State::Accepted || world.arrived
            }),
            Property::<Self>::always(
                "whatever is not settled is found again by the clock or by its owner",
                |_, world| {
                    let in_hand = world.senders.iter().any(|sender| *sender != Sender::Idle);
                    match world.row.state {
                        State::Held | State::Unknown => world.row.due_at.is_some(),
                        State::Claimed => world.row.due_at.is_some() && world.row.owner.is_some(),
                        _ => world.row.due_at.is_none() || in_hand,
                    }
                },
            ),
            Property::<Self>::always("attempts are bounded", |_, world| world.row.attempts <= super::MAX_ATTEMPTS),
            Property::<Self>::sometimes("a lost answer is made good", |_, world| {
                world.row.state == State::Accepted && world.row.attempts > 0
            }),
            Property::<Self>::sometimes("a crashed claim is taken over", |_, world| {
                world.crashes > 0 && world.row.state == State::Accepted
            }),
            Property::<Self>::sometimes("a message that waited too long expires", |_, world| {
                world.row.state == State::Expired
            }),
            Property::<Self>::sometimes("a human is asked", |_, world| world.row.state == State::NeedsHuman),
        ]
    }
}

#[test]
fn no_interleaving_of_two_senders_breaks_a_promise() {
    let checked = Senders.checker().threads(2).spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
}
