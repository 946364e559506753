//! Every minute: whatever is due goes out, line by line, most useful first.

use std::{cmp::Reverse, collections::HashSet};

use serde::Serialize;
use tellonce_core::{
    appointment::{Appointment, ReminderOutcome},
    dispatch::{DispatchError, DispatchResult, Invocation, ReminderDispatchResult, SendSlots},
    fault::error_chain,
    ledger::{DueItem, DueKind, MessageState},
    telemetry::{self, Metric},
};

use crate::{ReminderScheduler, plan};

/// How many due messages and appointments of a line one sweep looks at in one go, to choose the most useful from.
const MAX_DUE_PER_QUERY: i32 = 10_000;
/// How often a header that others keep writing is looked at anew before it is left for the next sweep.
const MAX_HEADER_CONFLICTS: usize = 5;

/// What one sweep did, over all lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SweepSummary {
    /// Messages and reminders that were due.
    pub due: usize,
    /// Accepted by `EZWhatsApp`.
    pub accepted: usize,
    /// No longer useful, superseded, refused, or put before a human.
    pub ended: usize,
    /// Still waiting: the line takes nothing now, or an outcome is still unknown.
    pub waiting: usize,
    /// Left for the next sweep because the time was up or the line closed.
    pub deferred: usize,
    /// Could not be processed: see the log.
    pub failed: usize,
}

impl SweepSummary {
    fn add_counts(&mut self, other: Self) {
        self.due += other.due;
        self.accepted += other.accepted;
        self.ended += other.ended;
        self.waiting += other.waiting;
        self.deferred += other.deferred;
        self.failed += other.failed;
    }

    /// Counts one that was due. Says whether its line takes more.
    fn count_result(&mut self, result: &DispatchResult) -> bool {
        self.due += 1;
        match result {
            DispatchResult::Accepted(_) => self.accepted += 1,
            DispatchResult::Ended(..) | DispatchResult::RecordedOnly(_) => self.ended += 1,
            DispatchResult::Waiting(..) => self.waiting += 1,
            DispatchResult::LineBlocked(..) => {
                self.waiting += 1;
                return false;
            }
            // The index is behind the table by a moment.
            DispatchResult::AlreadyKnown(..) | DispatchResult::PayloadConflict(..) => self.due -= 1,
        }
        true
    }
}

impl ReminderScheduler {
    /// Goes through all lines at the same time: each has a pace of its own.
    pub async fn sweep_all_lines(&self, invocation: &Invocation) -> Result<SweepSummary, DispatchError> {
        let lines = self.dispatcher.config.lines.keys().map(|line| self.sweep_line(invocation, line));
        let mut sweep = SweepSummary::default();
        for line in futures::future::join_all(lines).await {
            sweep.add_counts(line?);
        }
        tracing::info!(
            sweep.due = sweep.due,
            sweep.accepted = sweep.accepted,
            sweep.ended = sweep.ended,
            sweep.waiting = sweep.waiting,
            sweep.deferred = sweep.deferred,
            sweep.failed = sweep.failed,
            "sweep is over"
        );
        Ok(sweep)
    }

    async fn sweep_line(&self, invocation: &Invocation, line: &str) -> Result<SweepSummary, DispatchError> {
        let mut sweep = SweepSummary::default();
        let mut seen = HashSet::new();
        loop {
            let due = self.dispatcher.ledger.list_due(line, self.dispatcher.clock.now(), MAX_DUE_PER_QUERY).await?;
            let is_last_batch = due.len() < usize::try_from(MAX_DUE_PER_QUERY).unwrap_or(usize::MAX);
            // The index lags: what was dealt with a moment ago may show again.
            let fresh: Vec<DueItem> = due.into_iter().filter(|due| seen.insert(due.key.clone())).collect();
            let nothing_new = fresh.is_empty();
            let more = self.process_due(invocation, fresh, &mut sweep).await;
            if is_last_batch || nothing_new || !more {
                return Ok(sweep);
            }
        }
    }

    /// Goes through what is due of a line. Says whether there is time and line for more.
    async fn process_due(&self, invocation: &Invocation, mut due: Vec<DueItem>, sweep: &mut SweepSummary) -> bool {
        let now = self.dispatcher.clock.now();
        // What is useless costs a write and no slot, whatever the line is like; then most useful first, and among
        // equals what will be useless soonest.
        due.sort_by_key(|due| (due.useful_until > now, Reverse(due.priority), due.useful_until));
        let mut slots = SendSlots::for_messages(due.len());
        let mut open = true;
        for (index, next) in due.iter().enumerate() {
            let is_useless = next.useful_until <= now;
            if !invocation.has_time_for_send() || (!open && !is_useless) {
                sweep.due += due.len() - index;
                sweep.deferred += due.len() - index;
                return false;
            }
            let takes_more = match &next.kind {
                DueKind::Message => {
                    self.resume_message(invocation, &mut slots, next).await.map(|result| sweep.count_result(&result))
                }
                DueKind::Appointment(appointment) => {
                    self.send_due_reminders(invocation, &mut slots, appointment.as_ref().clone(), sweep).await
                }
            };
            match takes_more {
                Ok(more) => open &= more,
                Err(error) => {
                    tracing::error!(message.key = %next.key, "{}", error_chain(&error));
                    sweep.due += 1;
                    sweep.failed += 1;
                }
            }
        }
        open
    }

    async fn resume_message(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        due: &DueItem,
    ) -> Result<DispatchResult, DispatchError> {
        match self.dispatcher.ledger.read_row(&due.key).await? {
            Some(row) => self.dispatcher.resume_message(invocation, slots, row).await,
            None => Ok(DispatchResult::Ended(due.key.clone(), MessageState::Expired)),
        }
    }

    /// Sends what is due of an appointment, seat by seat, and writes down when it is to be looked at again. Says whether
    /// its line takes more.
    async fn send_due_reminders(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        mut known: Appointment,
        sweep: &mut SweepSummary,
    ) -> Result<bool, DispatchError> {
        let config = &self.dispatcher.config;
        let mut conflicts = 0;
        while conflicts < MAX_HEADER_CONFLICTS {
            let now = self.dispatcher.clock.now();
            // A header of another line's index has other slots and another health: it is found there from now on.
            let calendar = config.calendars.get(&known.calendar).filter(|calendar| calendar.line == known.line);
            let calendar_plan =
                calendar.map(|calendar| (calendar, plan::plan_reminders(config, calendar, &known, now)));
            let due = calendar_plan.as_ref().and_then(|(calendar, plan)| Some((*calendar, plan, plan.due.first()?)));
            let Some((calendar, plan, reminder)) = due else {
                if !config.calendars.contains_key(&known.calendar) {
                    tracing::warn!(
                        appointment.key = known.subject,
                        calendar.name = known.calendar,
                        "the configuration has this calendar no more: nobody is reminded of its appointments"
                    );
                }
                let after = plan::with_schedule(config, known.clone(), now);
                if after == known {
                    return Ok(true);
                }
                match self.write_header(&known, after.next_version(now)).await? {
                    Ok(()) | Err(None) => return Ok(true),
                    Err(Some(newer)) => {
                        known = *newer;
                        conflicts += 1;
                        continue;
                    }
                }
            };
            let message = plan::build_reminder_message(config, calendar, &known, reminder);
            let with_outcome = |outcome| plan::with_stage_outcome(config, &known, plan, reminder, outcome, now);
            let after = with_outcome(ReminderOutcome::Opened);
            let next = match self.dispatcher.dispatch_reminder(invocation, slots, &message, &known, &after).await? {
                ReminderDispatchResult::Opened(result) => {
                    self.log_outcomes(&known, &after);
                    let more = sweep.count_result(&result);
                    if !more {
                        return Ok(false);
                    }
                    Ok(after)
                }
                ReminderDispatchResult::LineBlocked { reason } => {
                    tracing::info!(appointment.key = known.subject, line.name = known.line, "reminder waits: {reason}");
                    sweep.due += 1;
                    sweep.waiting += 1;
                    return Ok(false);
                }
                ReminderDispatchResult::Skipped(outcome) => {
                    sweep.due += 1;
                    sweep.ended += 1;
                    let after = with_outcome(outcome);
                    self.write_header(&known, after.clone()).await?.map(|()| after)
                }
                ReminderDispatchResult::HeaderChanged(newer) => Err(newer),
            };
            match next {
                Ok(after) => known = after,
                Err(Some(newer)) => {
                    known = *newer;
                    conflicts += 1;
                }
                Err(None) => return Ok(true),
            }
        }
        Err(DispatchError::TooManyConflicts(tellonce_core::ledger::IdempotencyKey::for_reminder(
            &known.subject,
            tellonce_core::appointment::HEADER_STAGE,
        )))
    }

    /// Writes a header over what was known.
    async fn write_header(
        &self,
        before: &Appointment,
        after: Appointment,
    ) -> Result<Result<(), Option<Box<Appointment>>>, DispatchError> {
        let written = self.dispatcher.ledger.save_appointment(Some(before), &after).await?;
        if written.is_ok() {
            self.log_outcomes(before, &after);
        }
        Ok(written)
    }

    /// One log line for each reminder that was dealt with, and a count for those that nobody will hear.
    pub(crate) fn log_outcomes(&self, before: &Appointment, after: &Appointment) {
        for stage_outcome in after.stage_outcomes.iter().filter(|mark| !before.stage_outcomes.contains(mark)) {
            if stage_outcome.outcome == ReminderOutcome::Missed {
                telemetry::count_metric(&self.dispatcher.config.client, Metric::MessagesExpired, after.updated_at);
            }
            tracing::info!(
                appointment.key = after.subject,
                appointment.start = %stage_outcome.start,
                reminder.stage = stage_outcome.stage,
                reminder.attendee = stage_outcome.attendee,
                reminder.outcome = stage_outcome.outcome.name(),
                "reminder is {}", stage_outcome.outcome.name()
            );
        }
    }
}
