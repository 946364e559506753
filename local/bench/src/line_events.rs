//! How long the sender of line events waits while the CRMs respond and while they hang, and how
//! long a message takes into a CRM.
//!
//! While the CRMs respond, each event is sent when the one before is in all of them. Each event
//! still wakes conversation-sync, on the receiver's processors. So in a third part
//! conversation-sync is paused, which shows the receiver's time alone.
//!
//! All parts are measured in interleaved rounds of one run. The run fails if conversation-sync
//! stopped waiting in a hanging part, or if a message is not in every CRM at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tellonce_fakes::crms::FakeCrmEntry;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    bench_run::{BenchRun, StreamMode, WRITERS},
    end_to_end::{milliseconds_between, post_delivery},
    job::CONVERSATION_SYNC,
    process::{send_signal, wait_for_quiet},
    rounds::{BenchEffort, QUIET_TIMEOUT},
    settings::LineEventMode,
    stats::median_over_rounds,
};

/// How long a part of a round lasts at most. Shorter than the timeout of conversation-sync, so that
/// its first calls hang during the whole part.
const PART_LIMIT: Duration = Duration::from_secs(8);
/// Longer than the pause of a queue after one failure.
const RETRY_PAUSE: Duration = Duration::from_secs(61);
/// How long to wait until every CRM was called, and until a hanging part is over.
const WAIT_LIMIT: Duration = Duration::from_mins(2);
/// Minutes in which every message must come into the CRMs that hung.
const MAX_MINUTES: usize = 30;

/// The state behind the inbox during a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CrmCondition {
    /// conversation-sync is paused.
    SyncStopped,
    /// The CRMs respond, and each event is sent when the one before is in all of them.
    Responding,
    /// All CRMs accept calls and never respond.
    Hanging,
}

impl CrmCondition {
    /// The parts of a round.
    pub(crate) const ALL: [Self; 3] = [Self::SyncStopped, Self::Responding, Self::Hanging];
}

/// The figures in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct LineEventTimes {
    /// Most events per second.
    pub(crate) rate: u32,
    /// From an event to its 2xx response, by round.
    pub(crate) acknowledged: BTreeMap<CrmCondition, Vec<Vec<f64>>>,
    /// By CRM: from an event's 2xx response to its entry, while the CRMs respond and no other entry
    /// waits.
    pub(crate) entered_ms: BTreeMap<String, Vec<f64>>,
    /// Rounds that began while nothing else was running.
    pub(crate) quiet_rounds: usize,
}

impl LineEventTimes {
    /// The ratio of the p99 while the CRMs hang to the p99 of `usual`. 0 if nothing was measured.
    pub(crate) fn hanging_ratio(&self, usual: CrmCondition) -> f64 {
        let p99 = |meanwhile| self.acknowledged.get(&meanwhile).map_or(0.0, |rounds| median_over_rounds(rounds, 0.99));
        if p99(usual) > 0.0 { p99(CrmCondition::Hanging) / p99(usual) } else { 0.0 }
    }
}

/// For each reference in CRMs: the unix milliseconds of the 2xx response, on the stack's clock.
type AcceptedEvents = BTreeMap<String, i64>;

/// Sends at most `rate` events per second in `effort.rounds` rounds, at most `effort.warm` in each
/// part.
pub(crate) async fn measure_line_events(
    root: &Path,
    binaries: &Path,
    effort: BenchEffort,
    rate: u32,
) -> anyhow::Result<LineEventTimes> {
    let bench_run = BenchRun::start("line events", root, binaries, StreamMode::On, LineEventMode::On).await?;
    let sender =
        LineSender { bench_run: &bench_run, http: tellonce_core::bootstrap::build_http_client()?, rate: rate.max(1) };
    let result = sender.measure_rounds(effort).await;
    bench_run.shut_down().await;
    result
}

/// The sender of a line's events.
struct LineSender<'a> {
    bench_run: &'a BenchRun,
    http: reqwest::Client,
    rate: u32,
}

impl LineSender<'_> {
    async fn measure_rounds(&self, effort: BenchEffort) -> anyhow::Result<LineEventTimes> {
        let mut all = LineEventTimes { rate: self.rate, ..LineEventTimes::default() };
        // Each customer has written before, and both functions are warm.
        let mut known = AcceptedEvents::new();
        for writer in 0..WRITERS {
            self.send_event(writer, &mut known).await?;
        }
        self.wait_until_entered(&known).await?;
        for round in 0..effort.rounds {
            eprintln!("line events: round {} of {}", round + 1, effort.rounds);
            if wait_for_quiet(QUIET_TIMEOUT).await? {
                all.quiet_rounds += 1;
            }
            let mut parts = CrmCondition::ALL;
            parts.rotate_left(round % CrmCondition::ALL.len());
            for condition in parts {
                let mut accepted = AcceptedEvents::new();
                let took = match condition {
                    CrmCondition::SyncStopped => self.measure_while_stopped(effort.warm, &mut accepted).await?,
                    CrmCondition::Responding => self.send_events(effort.warm, condition, &mut accepted).await?,
                    CrmCondition::Hanging => self.measure_while_hanging(effort.warm, &mut accepted).await?,
                };
                self.wait_until_entered(&accepted).await?;
                all.acknowledged.entry(condition).or_default().push(took);
                if condition == CrmCondition::Responding {
                    self.record_entry_times(&accepted, &mut all.entered_ms);
                }
            }
        }
        Ok(all)
    }

    async fn measure_while_stopped(&self, most: usize, accepted: &mut AcceptedEvents) -> anyhow::Result<Vec<f64>> {
        let pid = self.bench_run.find_pid(CONVERSATION_SYNC)?;
        send_signal(pid, "STOP").await?;
        let took = self.send_events(most, CrmCondition::SyncStopped, accepted).await;
        send_signal(pid, "CONT").await?;
        took
    }

    async fn measure_while_hanging(&self, most: usize, accepted: &mut AcceptedEvents) -> anyhow::Result<Vec<f64>> {
        let stack = &self.bench_run.stack;
        self.set_crms_hanging(true);
        stack.fakes().reset_counts();
        self.send_event(0, accepted).await?;
        let begun = Instant::now();
        while stack.crms().names_and_services().iter().any(|(_, peer)| stack.fakes().request_count(*peer) == 0) {
            ensure!(begun.elapsed() < WAIT_LIMIT, "not every CRM was called in time");
            sleep(Duration::from_millis(2)).await;
        }
        let ended = stack.invocation_counts(CONVERSATION_SYNC).succeeded;
        let took = self.send_events(most, CrmCondition::Hanging, accepted).await?;
        ensure!(
            stack.invocation_counts(CONVERSATION_SYNC).succeeded == ended,
            "{CONVERSATION_SYNC} stopped waiting for hanging CRMs before the part was over"
        );
        self.set_crms_hanging(false);
        Ok(took)
    }

    /// Records when each of these messages came into each CRM.
    fn record_entry_times(&self, accepted: &AcceptedEvents, entered: &mut BTreeMap<String, Vec<f64>>) {
        let crms = self.bench_run.stack.crms();
        for (crm, _) in crms.names_and_services() {
            entered.entry(crm.to_owned()).or_default().extend(entry_times(accepted, &crms.entries(crm)));
        }
    }

    fn set_crms_hanging(&self, hang: bool) {
        for (_, peer) in self.bench_run.stack.crms().names_and_services() {
            self.bench_run.stack.fakes().set_hanging(peer, hang);
        }
    }

    /// Sends events one after the other and returns how long each waited for its 2xx response.
    async fn send_events(
        &self,
        most: usize,
        condition: CrmCondition,
        accepted: &mut AcceptedEvents,
    ) -> anyhow::Result<Vec<f64>> {
        let mut took = Vec::with_capacity(most);
        let mut ticks = interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        for writer in (0..WRITERS).cycle().take(most) {
            if condition == CrmCondition::Responding {
                self.bench_run.stack.drain_within(WAIT_LIMIT).await?;
            }
            ticks.tick().await;
            if begun.elapsed() > PART_LIMIT {
                break;
            }
            took.push(self.send_event(writer, accepted).await?);
        }
        Ok(took)
    }

    async fn send_event(&self, writer: u32, accepted: &mut AcceptedEvents) -> anyhow::Result<f64> {
        let stack = &self.bench_run.stack;
        let message = self.bench_run.line.build_message(writer, stack.clock().now_ms())?;
        let reference = self.bench_run.line.crm_reference(&message);
        let took = post_delivery(&self.http, &stack.gateway_url(), message).await?;
        accepted.insert(reference, stack.clock().now_ms());
        Ok(took)
    }

    /// Waits until these messages are in every CRM. The schedule of conversations retries those
    /// that failed.
    async fn wait_until_entered(&self, accepted: &AcceptedEvents) -> anyhow::Result<()> {
        let stack = &self.bench_run.stack;
        stack.drain_within(WAIT_LIMIT).await?;
        for minute in 0..MAX_MINUTES {
            if self.list_missing(accepted).is_empty() {
                return Ok(());
            }
            if minute > 0 {
                stack.clock().advance(RETRY_PAUSE)?;
            }
            stack.tick_conversations().await.context("could not run the schedule of conversations")?;
        }
        bail!("after {MAX_MINUTES} minutes {}", self.list_missing(accepted).join(", "))
    }

    /// The missing messages, by CRM.
    fn list_missing(&self, accepted: &AcceptedEvents) -> Vec<String> {
        let crms = self.bench_run.stack.crms();
        let of = |crm: &str| {
            let there: BTreeSet<String> = crms.entries(crm).into_iter().filter_map(|entry| entry.reference).collect();
            let lacks = accepted.keys().filter(|reference| !there.contains(*reference)).count();
            (lacks > 0).then(|| format!("{crm} lacks {lacks} of {}", accepted.len()))
        };
        crms.names_and_services().into_iter().filter_map(|(crm, _)| of(crm)).collect()
    }
}

/// Milliseconds from 2xx response to entry, for each message with an entry. An entry may be quicker
/// than the response.
fn entry_times(accepted: &AcceptedEvents, entries: &[FakeCrmEntry]) -> Vec<f64> {
    let of = |entry: &FakeCrmEntry| {
        Some(milliseconds_between(*accepted.get(entry.reference.as_deref()?)?, entry.created_ms))
    };
    entries.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_into_a_crm_is_measured_for_what_was_sent_in_this_part_alone() {
        let entry = |reference: &str, made_ms| FakeCrmEntry {
            id: String::new(),
            person: None,
            reference: Some(reference.to_owned()),
            text: String::new(),
            created_ms: made_ms,
            repeats: 0,
        };
        let accepted = AcceptedEvents::from([("main:a".to_owned(), 100), ("main:b".to_owned(), 200)]);
        let entries = [entry("main:before", 50), entry("main:a", 130), entry("main:b", 199)];
        let found = entry_times(&accepted, &entries);
        assert!(found.len() == 2 && (found[0] - 30.0).abs() < 1e-9 && found[1].abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_ratio_compares_the_slow_ones_of_two_parts() {
        let rounds = |slow: f64| vec![vec![1.0, 1.0, slow]];
        let acknowledged =
            BTreeMap::from([(CrmCondition::Responding, rounds(4.0)), (CrmCondition::Hanging, rounds(5.0))]);
        let events = LineEventTimes { acknowledged, ..LineEventTimes::default() };
        assert!((events.hanging_ratio(CrmCondition::Responding) - 1.25).abs() < 1e-9);
        assert!(events.hanging_ratio(CrmCondition::SyncStopped).abs() < 1e-9, "not measured");
    }
}
