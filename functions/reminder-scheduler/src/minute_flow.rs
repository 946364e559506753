//! The flow of the minute: list the queues of all lines, sweep, report what still waits and what
//! only a person can end, then check the heartbeats.
//!
//! The report comes after the sweep, which ends in time. So after an outage of the sweep itself,
//! which raised the alarm of late heartbeats, what goes out at once raises no further alarm.
//!
//! Promises: a part that fails, panics or takes too long stops no other part. Such a minute does
//! not check the heartbeats, so minutes that keep failing raise the alarm of late heartbeats, and
//! no other.

use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tellonce_core::{
    clock::{Deadline, RESPONSE_TIME},
    dispatch::{Dispatcher, Invocation},
    fault::{ClassifyFault, Fault, Panicked, catch_failure, error_chain},
    ledger::{LedgerError, QueueKind},
    telemetry::{self, Gauge},
};

use crate::{
    ReminderScheduler,
    lookup_replays::{LookupReplayError, LookupReplays, ReplayedLookups},
    sweep_flow::{LineQueue, SweepFlow, SweepSummary},
    waiting::{self, Wait, WaitKind},
};

/// How long the queues may be listed before the sweep. A call to a table ends within eight seconds.
const LIST_TIME: Duration = Duration::from_secs(15);
/// The time that the sweep leaves for the reports.
const REPORT_TIME: Duration = Duration::from_secs(9);
/// The minute of each hour in which personal data is erased. Most schedules of others run at the
/// full hour.
const ERASURE_MINUTE: i64 = 17;
/// The time that the reports leave for the heartbeats.
const HEARTBEAT_TIME: Duration = Duration::from_secs(4);

/// A part of the minute was not done. The next minute does it.
#[derive(Debug, thiserror::Error)]
#[error("the minute was not completed: {0}")]
pub(crate) struct MinuteError(String);

impl ClassifyFault for MinuteError {
    fn fault(&self) -> Fault {
        Fault::Transient
    }
}

/// The parts of one minute that failed.
#[derive(Default)]
struct FailedParts(Vec<String>);

impl FailedParts {
    /// The result of a part, if it did not fail. A failure is logged.
    fn collect<T>(&mut self, part: &str, result: Result<T, String>) -> Option<T> {
        result
            .map_err(|failure| {
                tracing::error!("could not {part}: {failure}");
                self.0.push(format!("could not {part}"));
            })
            .ok()
    }
}

/// Runs a part of the minute until shortly before a deadline.
async fn run_part<T, E: std::error::Error>(
    deadline: Deadline,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    let ended = deadline.run_until(RESPONSE_TIME, catch_failure(work)).await;
    ended.unwrap_or_else(|| Err("the time was up".to_owned()))
}

/// The same for a part that cannot fail, but may panic or take too long.
async fn run_report<T>(deadline: Deadline, work: impl Future<Output = T>) -> Result<T, String> {
    run_part(deadline, async { Ok::<_, Panicked>(work.await) }).await
}

impl ReminderScheduler {
    /// Sends what is due, and reports what waits.
    pub(crate) async fn run_minute(&self, request_id: &str, deadline: Deadline) -> Result<SweepSummary, MinuteError> {
        let report_end = deadline.earlier(HEARTBEAT_TIME);
        let sweep_end = report_end.earlier(REPORT_TIME);
        let mut failed = FailedParts::default();
        let queues = self.list_queues(Deadline::from_now(LIST_TIME).min(sweep_end), &mut failed).await;
        let waits = run_report(sweep_end, async { self.has_waits(&queues) }).await;
        let has_waits = failed.collect("find out what waits", waits).unwrap_or(true);
        let invocation = Invocation::for_sweep(request_id, sweep_end, self.dispatcher.clock.now());
        let sweep = SweepFlow { dispatcher: &self.dispatcher };
        let (summary, replayed) = tokio::join!(
            sweep.sweep_all_lines(&invocation, queues),
            run_part(sweep_end, Box::pin(self.replay_lookups(sweep_end)))
        );
        failed.collect("replay waiting lookups", replayed);
        // Most minutes find nothing that waits, and need no second query.
        let queues = if has_waits { self.list_queues(report_end, &mut failed).await } else { Vec::new() };
        let (waits, problems) = tokio::join!(
            run_report(report_end, Box::pin(self.report_waits(&queues))),
            run_report(report_end, Box::pin(self.report_problems()))
        );
        failed.collect("report what waits", waits);
        failed.collect("report open problems", problems);
        if !failed.0.is_empty() {
            return Err(MinuteError(failed.0.join("; ")));
        }
        // A failure of these two is logged. The next hour erases what this one did not. Without the
        // gauge of the heartbeats the alarm is raised.
        let erased = run_part(report_end, Box::pin(self.erase_aged_data(report_end))).await;
        failed.collect("erase aged personal data", erased);
        let now = self.dispatcher.clock.now();
        let heartbeats =
            run_part(deadline, Box::pin(self.heartbeats.check_heartbeats(&self.dispatcher.config, now))).await;
        failed.collect("check the heartbeats", heartbeats);
        Ok(summary)
    }

    /// In one minute of each hour, walks on through the ledger and erases personal data that was
    /// kept as long as is allowed.
    async fn erase_aged_data(&self, deadline: Deadline) -> Result<(), LedgerError> {
        let Dispatcher { config, clock, ledger, .. } = &self.dispatcher;
        let now = clock.now();
        if now.as_second().rem_euclid(3600) / 60 != ERASURE_MINUTE {
            return Ok(());
        }
        let age = SignedDuration::from_hours(24 * i64::from(config.retention.personal_days()));
        let erased = ledger.erase_aged(age, now, deadline).await?;
        if erased > 0 {
            tracing::info!(rows.erased = erased, "erased the personal data of {erased} rows after their retention");
        }
        Ok(())
    }

    /// Replays the deliveries that wait for a lookup, and reports them.
    async fn replay_lookups(&self, deadline: Deadline) -> Result<(), LookupReplayError> {
        let Dispatcher { config, clock, .. } = &self.dispatcher;
        let replays = LookupReplays {
            rows: &self.waiting_lookups,
            stores: &self.store_inbox,
            bookings: &self.inbox,
            leads: &self.lead_inbox,
            config,
            clock,
        };
        self.report_lookups(&replays.replay_due(deadline).await?);
        Ok(())
    }

    /// Reports the deliveries that wait for a lookup, and those that were replayed.
    fn report_lookups(&self, lookups: &ReplayedLookups) {
        let ReplayedLookups { replayed, ended, waits } = lookups;
        if replayed + ended > 0 {
            tracing::info!(
                lookups.replayed = replayed,
                lookups.ended = ended,
                "replayed {replayed} deliveries that waited for a lookup, and ended {ended}"
            );
        }
        let now = self.dispatcher.clock.now();
        let Some(since) = waits.iter().map(|wait| wait.since).min() else { return };
        let seconds = now.duration_since(since).as_secs();
        let reasons: Vec<&str> = waits.iter().map(|wait| wait.reason.as_str()).collect();
        let client = &self.dispatcher.config.client;
        telemetry::write_gauge(client, Gauge::OldestDueSeconds, seconds, &[("reasons", json!(reasons))], now);
    }

    /// Lists the queues of all lines, also of those that were removed from `client.toml`.
    async fn list_queues(&self, deadline: Deadline, failed: &mut FailedParts) -> Vec<LineQueue> {
        let ledger = &self.dispatcher.ledger;
        let configured = || self.dispatcher.config.lines.keys().cloned().collect();
        let lines = run_part(deadline, Box::pin(ledger.remember_queues(QueueKind::Lines, configured()))).await;
        let lines = failed.collect("read which lines there were", lines).unwrap_or_else(configured);
        let now = self.dispatcher.clock.now();
        let lists = lines.into_iter().map(|line| async move {
            let items = run_part(deadline, Box::pin(ledger.list_queue(&line, now))).await;
            (line, items)
        });
        let listed = join_all(lists).await.into_iter().filter_map(|(line, items)| {
            let items = failed.collect(&format!("read the queue of line {line}"), items)?;
            Some(LineQueue { line, items })
        });
        listed.collect()
    }

    /// What waits in the queues of all lines.
    fn find_waits(&self, queues: &[LineQueue], now: Timestamp) -> Vec<Wait> {
        let config = &self.dispatcher.config;
        queues.iter().flat_map(|LineQueue { line, items }| waiting::find_waits(config, line, items, now)).collect()
    }

    /// Whether anything has waited longer than usual.
    fn has_waits(&self, queues: &[LineQueue]) -> bool {
        let now = self.dispatcher.clock.now();
        !waiting::measure_lines(self.find_waits(queues, now), now).is_empty()
    }

    /// Writes the gauges of what waits, and a log line that names the cause for each line.
    async fn report_waits(&self, queues: &[LineQueue]) {
        let config = &self.dispatcher.config;
        let now = self.dispatcher.clock.now();
        let waits = self.find_waits(queues, now);
        let gauges = waiting::measure_gauges(&waits, now);
        let lines = waiting::measure_lines(waits, now);
        let causes = join_all(lines.iter().map(|line| self.find_reason(&line.oldest))).await;
        let mut reasons = Vec::new();
        for (line, reason) in lines.iter().zip(causes) {
            let seconds = now.duration_since(line.oldest.since).as_secs();
            let (place, key, count) = (&line.oldest.place, &line.oldest.key, line.count);
            tracing::warn!(
                line.name = place,
                message.key = %key,
                wait.seconds = seconds,
                "{count} messages wait for line {place}, {key} since {seconds} s: {reason}"
            );
            if line.oldest.is_in_gauge() {
                reasons.push(format!("{place}: {reason}"));
            }
        }
        for (gauge, seconds) in gauges {
            telemetry::write_gauge(&config.client, gauge, seconds, &[("reasons", json!(reasons))], now);
        }
    }

    /// Why a line's oldest message waits, for people: the reason in its row, or what blocks the
    /// line.
    async fn find_reason(&self, wait: &Wait) -> String {
        match &wait.kind {
            WaitKind::Unreadable(error) => return error.clone(),
            WaitKind::RemovedLine => return "client.toml no longer has the line".to_owned(),
            WaitKind::Held | WaitKind::LongUnknown => match self.dispatcher.ledger.read_row(&wait.key).await {
                Ok(Some(row)) if row.reason.is_some() => return row.reason.unwrap_or_default(),
                Ok(_) => {}
                Err(error) => return error_chain(&error),
            },
            WaitKind::Due => {}
        }
        match self.dispatcher.read_line_status(&wait.place).await {
            Ok(status) => status.blocked.map_or_else(
                || format!("{} is due, and no sweep has sent it yet", wait.key),
                |blocked| blocked.reason(),
            ),
            Err(error) => error_chain(&error),
        }
    }

    /// Writes the gauge of held forms, and of lines that wrote to as many new people as a day
    /// allows. The feed schedule writes the same gauge for feeds.
    async fn report_problems(&self) {
        let config = &self.dispatcher.config;
        let now = self.dispatcher.clock.now();
        let today = config.local_day(now).to_string();
        let forms = join_all(config.forms.keys().map(|form| async move {
            match self.dispatcher.ledger.read_lead_rate(form).await {
                Ok(rate) => rate.held_since.map(|_| format!("form {form}: its leads are held, release or drop them")),
                Err(error) => log_unread(&error),
            }
        }));
        let today = &today;
        let lines = join_all(config.lines.iter().map(|(name, line)| async move {
            let limit = line.first_contacts_per_day;
            match self.dispatcher.read_line_status(name).await {
                Ok(status) => (status.first_contacts_refused_on.as_ref() == Some(today)
                    && status.first_contacts >= limit)
                    .then(|| format!("line {name}: wrote to {limit} new people today, others wait for tomorrow")),
                Err(error) => log_unread(&error),
            }
        }));
        let (forms, lines) = tokio::join!(forms, lines);
        let problems: Vec<String> = forms.into_iter().chain(lines).flatten().collect();
        self.write_problems(&problems);
    }

    /// Writes the gauge of open problems if there are any, and a log line for each.
    pub(crate) fn write_problems(&self, problems: &[String]) {
        let Ok(count @ 1..) = i64::try_from(problems.len()) else { return };
        for problem in problems {
            tracing::warn!("open problem: {problem}");
        }
        let now = self.dispatcher.clock.now();
        let properties = [("problems", json!(problems))];
        telemetry::write_gauge(&self.dispatcher.config.client, Gauge::OpenProblems, count, &properties, now);
    }
}

fn log_unread(error: &dyn std::error::Error) -> Option<String> {
    tracing::error!("could not read whether a form or a line has a problem: {}", error_chain(error));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_or_hangs_fails_alone() {
        let mut failed = FailedParts::default();
        let deadline = Deadline::from_now(RESPONSE_TIME + Duration::from_millis(20));
        let seven = run_part(deadline, async { Ok::<_, Panicked>(7) }).await;
        assert_eq!(failed.collect("count", seven), Some(7));
        let panicked = run_part(deadline, async {
            Ok::<_, Panicked>([7][usize::from(deadline > deadline.earlier(RESPONSE_TIME))])
        });
        assert_eq!(failed.collect("report", panicked.await), None);
        let hanging = run_part(deadline, std::future::pending::<Result<(), Panicked>>()).await;
        assert_eq!(failed.collect("replay", hanging), None);
        assert_eq!(failed.0, ["could not report", "could not replay"]);
    }
}
