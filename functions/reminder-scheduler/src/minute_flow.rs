//! The flow of the minute: list the queues of all lines, report what waits and what only a person
//! can end, then sweep.
//!
//! The report comes first. So it is written even if the sweep runs out of time or fails, and it
//! shows what the sweep of the minute before left.

use std::sync::PoisonError;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use tellonce_core::{
    dispatch::{DispatchError, Invocation},
    fault::error_chain,
    ledger::{IdempotencyKey, QueueKind},
    telemetry::{self, Gauge},
};

use crate::{
    ReminderScheduler,
    lookup_replays::ReplayedLookups,
    sweep_flow::{LineQueue, SweepFlow, SweepSummary},
    waiting::{self, LineWait, Wait, WaitAlarm, WaitKind},
};

impl ReminderScheduler {
    /// Reports what waits, and sends what is due.
    pub(crate) async fn run_minute(&self, invocation: &Invocation) -> Result<SweepSummary, DispatchError> {
        let queues = self.list_queues().await;
        self.report_waits(&queues).await;
        self.report_problems().await;
        let sweep = SweepFlow { dispatcher: &self.dispatcher };
        let (summary, replayed) = tokio::join!(
            sweep.sweep_all_lines(invocation, queues),
            self.lookup_replays.replay_due(invocation.deadline)
        );
        match replayed {
            Ok(replayed) => self.report_lookups(&replayed),
            // The messages that are due do not depend on it, and the next minute tries again.
            Err(error) => tracing::error!("could not replay waiting lookups: {}", error_chain(&error)),
        }
        let summary = summary?;
        // After the sweep: without a sweep there must be no heartbeat either.
        self.check_heartbeats().await;
        Ok(summary)
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

    /// Publishes the age of the oldest heartbeat, and sends the next ones if it is time. A failure
    /// is logged: without the gauge the alarm is raised.
    async fn check_heartbeats(&self) {
        let now = self.dispatcher.clock.now();
        if let Err(error) = self.heartbeats.check_heartbeats(&self.dispatcher.config, now).await {
            tracing::error!("could not check the heartbeats: {}", error_chain(&error));
        }
    }

    /// Lists the queues of all lines, also of those that are no longer configured.
    async fn list_queues(&self) -> Vec<LineQueue> {
        let ledger = &self.dispatcher.ledger;
        let configured = || self.dispatcher.config.lines.keys().cloned().collect();
        let lines = ledger.remember_queues(QueueKind::Lines, configured()).await.unwrap_or_else(|error| {
            tracing::error!("could not read which lines there were: {}", error_chain(&error));
            configured()
        });
        let now = self.dispatcher.clock.now();
        let list = |line: String| async move { LineQueue { items: ledger.list_queue(&line, now).await, line } };
        join_all(lines.into_iter().map(list)).await
    }

    /// Writes the gauges of what waits, and a log line that names the cause for each line.
    async fn report_waits(&self, queues: &[LineQueue]) {
        let config = &self.dispatcher.config;
        let now = self.dispatcher.clock.now();
        let found = queues.iter().filter_map(|queue| Some((&queue.line, queue.items.as_ref().ok()?)));
        let mut waits: Vec<Wait> =
            found.flat_map(|(line, items)| waiting::find_waits(config, line, items, now)).collect();
        waits.extend(self.find_unread(queues, now));
        let lines = {
            let mut raised = self.raised_alarms.lock().unwrap_or_else(PoisonError::into_inner);
            waiting::measure_lines(waits, &mut raised, now)
        };
        let mut reported = Vec::new();
        for line in &lines {
            let seconds = now.duration_since(line.oldest.since).as_secs();
            let reason = self.find_reason(line).await;
            let (place, key, count) = (&line.oldest.place, &line.oldest.key, line.count);
            tracing::warn!(
                line.name = place,
                message.key = %key,
                wait.seconds = seconds,
                "{count} messages wait for line {place}, {key} since {seconds} s: {reason}"
            );
            reported.push((line.alarm, seconds, format!("{place}: {reason}")));
        }
        for alarm in WaitAlarm::ALL {
            let of_alarm = || reported.iter().filter(|(of_line, ..)| *of_line == alarm);
            let reasons: Vec<String> = of_alarm().map(|(_, _, reason)| reason.clone()).collect();
            if let Some(seconds) = of_alarm().map(|(_, seconds, _)| *seconds).max() {
                telemetry::write_gauge(&config.client, alarm.gauge(), seconds, &[("reasons", json!(reasons))], now);
            }
        }
    }

    /// The queues that could not be read, with the time since which this process could not.
    fn find_unread(&self, queues: &[LineQueue], now: Timestamp) -> Vec<Wait> {
        let mut unread_since = self.unread_since.lock().unwrap_or_else(PoisonError::into_inner);
        unread_since.retain(|line, _| queues.iter().any(|queue| queue.line == *line && queue.items.is_err()));
        let unread = queues.iter().filter(|queue| queue.items.is_err()).map(|LineQueue { line, .. }| Wait {
            place: line.clone(),
            key: IdempotencyKey::from_parts(format!("line:{line}"), "state"),
            since: *unread_since.entry(line.clone()).or_insert(now),
            kind: WaitKind::UnreadQueue,
        });
        unread.collect()
    }

    /// Why a line's oldest message waits, for people: the reason in its row, or what blocks the
    /// line.
    async fn find_reason(&self, line: &LineWait) -> String {
        let wait = &line.oldest;
        match wait.kind {
            WaitKind::Damaged => return format!("the header of {} is damaged", wait.key),
            WaitKind::UnreadQueue => return "its queue cannot be read".to_owned(),
            WaitKind::RemovedLine => return "client.toml no longer has the line".to_owned(),
            WaitKind::Held => match self.dispatcher.ledger.read_row(&wait.key).await {
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
