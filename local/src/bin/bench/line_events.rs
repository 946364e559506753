//! What the sender of line events waits for while the CRMs answer and while they hang, and how long a message takes into a CRM.
//!
//! While the CRMs answer, an event is sent when the one before is in all of them. Still conversation-sync is woken by each, on
//! the receiver's processors; so a third part, in which conversation-sync stands still, says what the receiver takes alone.
//!
//! Promises that all parts were measured in interleaved rounds of one run, that the CRMs did hang throughout theirs, and that
//! everything was in every CRM in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use local::crms::Entry;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    end_to_end::{post, span},
    job::SYNC,
    process::{signal, wait_for_quiet},
    rounds::{Effort, PATIENCE},
    stats::over_rounds,
    world::{Events, Streams, WRITERS, World},
};

/// How long a part of a round lasts at most: less than conversation-sync waits for an answer, so that its first calls hang
/// throughout.
const PART: Duration = Duration::from_secs(8);
/// Longer than a queue is left alone that did not answer once.
const A_MINUTE: Duration = Duration::from_secs(61);
/// How long to wait until every CRM was asked, and until what hung has been given up.
const LONGEST: Duration = Duration::from_mins(2);
/// Minutes in which everything must have come into the CRMs that are asked again.
const MINUTES: usize = 30;

/// What happens behind the inbox meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum While {
    /// Nothing: conversation-sync stands still.
    Still,
    /// The CRMs answer, and an event is sent when the one before is in all of them.
    Answering,
    /// All CRMs take calls and never answer.
    Hanging,
}

impl While {
    /// The parts of a round.
    pub(crate) const ALL: [Self; 3] = [Self::Still, Self::Answering, Self::Hanging];
}

/// What was measured, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct LineEvents {
    /// Events a second, at most.
    pub(crate) rate: u32,
    /// From an event to its 2xx, by round.
    pub(crate) answered: BTreeMap<While, Vec<Vec<f64>>>,
    /// From an event's 2xx to its entry while the CRMs answer and nothing comes before it, by CRM.
    pub(crate) entered: BTreeMap<String, Vec<f64>>,
    /// Rounds that began when nothing else was running.
    pub(crate) quiet_rounds: usize,
}

impl LineEvents {
    /// How much longer the slowest of a hundred wait while the CRMs hang; 0 if nothing was measured.
    pub(crate) fn hanging_to(&self, usual: While) -> f64 {
        let p99 = |meanwhile| self.answered.get(&meanwhile).map_or(0.0, |rounds| over_rounds(rounds, 0.99));
        if p99(usual) > 0.0 { p99(While::Hanging) / p99(usual) } else { 0.0 }
    }
}

/// When messages were answered 2xx, by the references that CRMs have for them: unix milliseconds on the stack's clock.
type Accepted = BTreeMap<String, i64>;

/// Sends at most `rate` events a second in `effort.rounds` rounds, at most `effort.warm` in each part.
pub(crate) async fn measure(root: &Path, binaries: &Path, effort: Effort, rate: u32) -> anyhow::Result<LineEvents> {
    let world = World::start("line events", root, binaries, Streams::On, Events::On).await?;
    let sender = Sender { world: &world, http: shared::cold_start::http_client()?, rate: rate.max(1) };
    let result = sender.measure(effort).await;
    world.end().await;
    result
}

/// The line, sending.
struct Sender<'a> {
    world: &'a World,
    http: reqwest::Client,
    rate: u32,
}

impl Sender<'_> {
    async fn measure(&self, effort: Effort) -> anyhow::Result<LineEvents> {
        let mut all = LineEvents { rate: self.rate, ..LineEvents::default() };
        // Whoever writes has written before, and both functions are warm.
        let mut known = Accepted::new();
        for writer in 0..WRITERS {
            self.send(writer, &mut known).await?;
        }
        self.enter_all(&known).await?;
        for round in 0..effort.rounds {
            eprintln!("line events: round {} of {}", round + 1, effort.rounds);
            if wait_for_quiet(PATIENCE).await? {
                all.quiet_rounds += 1;
            }
            let mut parts = While::ALL;
            parts.rotate_left(round % While::ALL.len());
            for meanwhile in parts {
                let mut accepted = Accepted::new();
                let took = match meanwhile {
                    While::Still => self.still(effort.warm, &mut accepted).await?,
                    While::Answering => self.part(effort.warm, meanwhile, &mut accepted).await?,
                    While::Hanging => self.hanging(effort.warm, &mut accepted).await?,
                };
                self.enter_all(&accepted).await?;
                all.answered.entry(meanwhile).or_default().push(took);
                if meanwhile == While::Answering {
                    self.look_up(&accepted, &mut all.entered);
                }
            }
        }
        Ok(all)
    }

    async fn still(&self, most: usize, accepted: &mut Accepted) -> anyhow::Result<Vec<f64>> {
        let pid = self.world.pid(SYNC)?;
        signal(pid, "STOP").await?;
        let took = self.part(most, While::Still, accepted).await;
        signal(pid, "CONT").await?;
        took
    }

    async fn hanging(&self, most: usize, accepted: &mut Accepted) -> anyhow::Result<Vec<f64>> {
        let stack = &self.world.stack;
        self.crms_hang(true);
        stack.peers().reset_requests();
        self.send(0, accepted).await?;
        let begun = Instant::now();
        while stack.crms().names().iter().any(|(_, peer)| stack.peers().requests(*peer) == 0) {
            ensure!(begun.elapsed() < LONGEST, "not every CRM was asked");
            sleep(Duration::from_millis(2)).await;
        }
        let ended = stack.invocations(SYNC).succeeded;
        let took = self.part(most, While::Hanging, accepted).await?;
        ensure!(
            stack.invocations(SYNC).succeeded == ended,
            "{SYNC} stopped waiting for CRMs that hang before it was over"
        );
        self.crms_hang(false);
        Ok(took)
    }

    /// When each of these came into each CRM.
    fn look_up(&self, accepted: &Accepted, entered: &mut BTreeMap<String, Vec<f64>>) {
        let crms = self.world.stack.crms();
        for (crm, _) in crms.names() {
            entered.entry(crm.to_owned()).or_default().extend(spans(accepted, &crms.entries(crm)));
        }
    }

    fn crms_hang(&self, hang: bool) {
        for (_, peer) in self.world.stack.crms().names() {
            self.world.stack.peers().hang(peer, hang);
        }
    }

    /// Sends events one after the other and gives what each waited for its 2xx.
    async fn part(&self, most: usize, meanwhile: While, accepted: &mut Accepted) -> anyhow::Result<Vec<f64>> {
        let mut took = Vec::with_capacity(most);
        let mut ticks = interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        for writer in (0..WRITERS).cycle().take(most) {
            if meanwhile == While::Answering {
                self.world.stack.drain_within(LONGEST).await?;
            }
            ticks.tick().await;
            if begun.elapsed() > PART {
                break;
            }
            took.push(self.send(writer, accepted).await?);
        }
        Ok(took)
    }

    async fn send(&self, writer: u32, accepted: &mut Accepted) -> anyhow::Result<f64> {
        let stack = &self.world.stack;
        let message = self.world.line.message(writer, stack.clock().now_ms());
        let reference = self.world.line.reference(&message);
        let took = post(&self.http, &stack.gateway_url(), message).await?;
        accepted.insert(reference, stack.clock().now_ms());
        Ok(took)
    }

    /// Waits until these are in every CRM. What was not told at once is told by the clock of conversations.
    async fn enter_all(&self, accepted: &Accepted) -> anyhow::Result<()> {
        let stack = &self.world.stack;
        stack.drain_within(LONGEST).await?;
        for minute in 0..MINUTES {
            if self.missing(accepted).is_empty() {
                return Ok(());
            }
            if minute > 0 {
                stack.clock().advance(A_MINUTE)?;
            }
            stack.tick_conversations().await.context("the clock of conversations")?;
        }
        bail!("after {MINUTES} minutes {}", self.missing(accepted).join(", "))
    }

    /// What is missing, by CRM.
    fn missing(&self, accepted: &Accepted) -> Vec<String> {
        let crms = self.world.stack.crms();
        let of = |crm: &str| {
            let there: BTreeSet<String> = crms.entries(crm).into_iter().filter_map(|entry| entry.reference).collect();
            let lacks = accepted.keys().filter(|reference| !there.contains(*reference)).count();
            (lacks > 0).then(|| format!("{crm} lacks {lacks} of {}", accepted.len()))
        };
        crms.names().into_iter().filter_map(|(crm, _)| of(crm)).collect()
    }
}

/// Milliseconds from 2xx to entry, for each of these that is there. An entry may be quicker than the answer to its sender.
fn spans(accepted: &Accepted, entries: &[Entry]) -> Vec<f64> {
    let of = |entry: &Entry| Some(span(*accepted.get(entry.reference.as_deref()?)?, entry.made_ms));
    entries.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_into_a_crm_is_measured_for_what_was_sent_in_this_part_alone() {
        let entry = |reference: &str, made_ms| Entry {
            id: String::new(),
            person: None,
            reference: Some(reference.to_owned()),
            text: String::new(),
            made_ms,
            repeats: 0,
        };
        let accepted = Accepted::from([("main:a".to_owned(), 100), ("main:b".to_owned(), 200)]);
        let entries = [entry("main:before", 50), entry("main:a", 130), entry("main:b", 199)];
        let found = spans(&accepted, &entries);
        assert!(found.len() == 2 && (found[0] - 30.0).abs() < 1e-9 && found[1].abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_ratio_compares_the_slow_ones_of_two_parts() {
        let rounds = |slow: f64| vec![vec![1.0, 1.0, slow]];
        let answered = BTreeMap::from([(While::Answering, rounds(4.0)), (While::Hanging, rounds(5.0))]);
        let events = LineEvents { answered, ..LineEvents::default() };
        assert!((events.hanging_to(While::Answering) - 1.25).abs() < 1e-9);
        assert!(events.hanging_to(While::Still).abs() < 1e-9, "not measured");
    }
}
