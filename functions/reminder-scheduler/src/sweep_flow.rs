//! The sweep: every minute, all messages and reminders that are due are sent, most useful first.
//!
//! Flow: [`SweepFlow::sweep_all_lines`] sweeps the queues of all lines concurrently. It resumes
//! waiting messages, and plans and sends the reminders of due appointments.
//!
//! Main types: [`SweepFlow`], [`SweepSummary`].

use std::cmp::Reverse;

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    appointment::{Appointment, HEADER_STAGE, ReminderOutcome},
    clock::RESPONSE_TIME,
    dispatch::{DispatchError, DispatchResult, Dispatcher, Invocation, ReminderDispatchResult, SendSlots},
    fault::catch_failure,
    ledger::{DueItem, DueKind, IdempotencyKey, MessageState, SaveOutcome},
};

use crate::{
    appointment_log::log_outcomes,
    plan::{self, DueReminder, ReminderPlan},
};

/// How often a header that other writers change is read again before the next sweep takes over.
const MAX_ATTEMPTS: usize = 5;

/// After so many sends in a row without a usable response, the sweep of a line ends.
const MAX_UNANSWERED_IN_A_ROW: u32 = 2;

/// What one sweep did on all lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SweepSummary {
    /// Messages and reminders that were due.
    pub due: usize,
    /// Accepted by the provider.
    pub accepted: usize,
    /// Expired, superseded, refused, or left to a person to decide.
    pub ended: usize,
    /// Still waiting: the line is blocked, or an outcome is unknown.
    pub waiting: usize,
    /// Left to the next sweep because the time was up or the line was blocked.
    pub deferred: usize,
    /// Could not be processed; the log contains the error.
    pub failed: usize,
}

/// What the sweep did with one appointment in one step.
enum ReminderStep {
    /// Nothing more is due.
    Done,
    /// The line is blocked.
    LineBlocked,
    /// One reminder is dealt with. This is the header now.
    Advanced(Box<Appointment>),
    /// Another writer changed the header. This is the header now.
    Conflict(Box<Appointment>),
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
}

/// The sweep of one line so far.
#[derive(Default)]
struct LineSweep {
    summary: SweepSummary,
    unanswered_in_a_row: u32,
}

impl LineSweep {
    /// Counts one due message. Returns whether its line takes more.
    ///
    /// One send without a usable response says little about the line: the next message requests
    /// fresh health first. After two in a row the provider is in trouble, and each further send
    /// would leave one more message of unknown outcome.
    fn count_result(&mut self, result: &DispatchResult) -> bool {
        self.summary.due += 1;
        match result {
            DispatchResult::Accepted(_) => {
                self.summary.accepted += 1;
                self.unanswered_in_a_row = 0;
            }
            DispatchResult::Ended(..) | DispatchResult::RecordedOnly(_) => self.summary.ended += 1,
            DispatchResult::Waiting(..) => self.summary.waiting += 1,
            DispatchResult::Unanswered(..) => {
                self.summary.waiting += 1;
                self.unanswered_in_a_row += 1;
                return self.unanswered_in_a_row < MAX_UNANSWERED_IN_A_ROW;
            }
            DispatchResult::LineBlocked(..) => {
                self.summary.waiting += 1;
                return false;
            }
            // The index lags behind the table, so this one was not due.
            DispatchResult::AlreadyKnown(..) | DispatchResult::PayloadConflict(..) => self.summary.due -= 1,
        }
        true
    }
}

/// The queue of a line.
pub(crate) struct LineQueue {
    /// The line, also one that was removed from `client.toml`.
    pub(crate) line: String,
    /// What is due or waits.
    pub(crate) items: Vec<DueItem>,
}

/// What a sweep may touch.
pub(crate) struct SweepFlow<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
}

impl SweepFlow<'_> {
    /// Sweeps the queues of all lines concurrently, because each line has a separate rate.
    pub(crate) async fn sweep_all_lines(&self, invocation: &Invocation, queues: Vec<LineQueue>) -> SweepSummary {
        let lines = queues
            .into_iter()
            .map(|LineQueue { line, items }| async move { self.sweep_line(invocation, &line, items).await });
        let mut sweep = SweepSummary::default();
        for of_line in futures::future::join_all(lines).await {
            sweep.add_counts(of_line);
        }
        // A line for each idle minute would cost as much as the minute.
        if sweep != SweepSummary::default() {
            tracing::info!(
                sweep.due = sweep.due,
                sweep.accepted = sweep.accepted,
                sweep.ended = sweep.ended,
                sweep.waiting = sweep.waiting,
                sweep.deferred = sweep.deferred,
                sweep.failed = sweep.failed,
                "swept all lines: {} due, {} accepted",
                sweep.due,
                sweep.accepted
            );
        }
        sweep
    }

    /// Processes what is due on a line while there is time and the line takes messages.
    async fn sweep_line(&self, invocation: &Invocation, line: &str, queue: Vec<DueItem>) -> SweepSummary {
        let now = self.dispatcher.clock.now();
        let mut sweep = LineSweep::default();
        // A line that was removed from `client.toml` sends nothing. Its useless messages expire,
        // and its appointments move to the line of their calendar.
        let is_configured = self.dispatcher.config.lines.contains_key(line);
        let needs_no_line = |item: &DueItem| item.useful_until <= now || item.kind != DueKind::Message;
        let is_due = |item: &DueItem| item.due_at <= now && (is_configured || needs_no_line(item));
        let mut due: Vec<DueItem> = queue.into_iter().filter(is_due).collect();
        // Useless messages come first: they cost a write and no slot, whatever state the line is
        // in. Then the most useful first, and among equals the one that becomes useless soonest.
        due.sort_by_key(|due| (due.useful_until > now, Reverse(due.priority), due.useful_until));
        let due_count = due.len();
        let mut slots = SendSlots::for_messages(due_count);
        let mut line_takes_more = true;
        for (index, DueItem { key, kind, useful_until, .. }) in due.into_iter().enumerate() {
            let is_useless = useful_until <= now;
            if !invocation.has_time_for_send() || (!line_takes_more && !is_useless) {
                sweep.summary.due += due_count - index;
                sweep.summary.deferred += due_count - index;
                break;
            }
            let process = async {
                match kind {
                    DueKind::Message => self
                        .resume_message(invocation, &mut slots, &key)
                        .await
                        .map(|result| sweep.count_result(&result)),
                    DueKind::Appointment(appointment) => {
                        self.send_due_reminders(invocation, &mut slots, *appointment, &mut sweep).await
                    }
                    DueKind::Unreadable(error) => Err(DispatchError::Ledger(error.into())),
                }
            };
            match invocation.deadline.run_until(RESPONSE_TIME, catch_failure(Box::pin(process))).await {
                Some(Ok(more)) => line_takes_more &= more,
                None => {
                    tracing::error!(message.key = %key, "gave up {key}: the time was up");
                    sweep.summary.due += due_count - index;
                    sweep.summary.failed += 1;
                    sweep.summary.deferred += due_count - index - 1;
                    break;
                }
                Some(Err(failure)) => {
                    tracing::error!(message.key = %key, "could not process {key}: {failure}");
                    sweep.summary.due += 1;
                    sweep.summary.failed += 1;
                }
            }
        }
        sweep.summary
    }

    async fn resume_message(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        key: &IdempotencyKey,
    ) -> Result<DispatchResult, DispatchError> {
        match self.dispatcher.ledger.read_row(key).await? {
            Some(row) => self.dispatcher.resume_message(invocation, slots, row).await,
            None => Ok(DispatchResult::Ended(key.clone(), MessageState::Expired)),
        }
    }

    /// Sends the due reminders of an appointment, attendee by attendee, and writes when the sweep
    /// must check the appointment next. Returns whether the line takes more.
    async fn send_due_reminders(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        mut known: Appointment,
        sweep: &mut LineSweep,
    ) -> Result<bool, DispatchError> {
        let mut conflicts = 0;
        while conflicts < MAX_ATTEMPTS {
            match self.send_next_reminder(invocation, slots, &known, sweep).await? {
                ReminderStep::Done => return Ok(true),
                ReminderStep::LineBlocked => return Ok(false),
                ReminderStep::Advanced(after) => known = *after,
                ReminderStep::Conflict(newer) => {
                    known = *newer;
                    conflicts += 1;
                }
            }
        }
        Err(DispatchError::TooManyConflicts(IdempotencyKey::for_reminder(&known.subject, HEADER_STAGE)))
    }

    /// Sends the first due reminder of an appointment. If none is due, it writes the next check.
    async fn send_next_reminder(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        known: &Appointment,
        sweep: &mut LineSweep,
    ) -> Result<ReminderStep, DispatchError> {
        let config = &self.dispatcher.config;
        let now = self.dispatcher.clock.now();
        // A header in another line's index has other slots and another health. Writing it moves it
        // to the index of the calendar's line.
        let calendar = config.calendars.get(&known.calendar).filter(|calendar| calendar.line == known.line);
        let calendar_plan = calendar.map(|calendar| (calendar, plan::plan_reminders(config, calendar, known, now)));
        let due = calendar_plan.as_ref().and_then(|(calendar, plan)| Some((*calendar, plan, plan.due.first()?)));
        let Some((calendar, plan, reminder)) = due else { return self.write_next_check(known, now).await };
        let message = plan::build_reminder_message(config, calendar, known, reminder);
        let opened = self.with_outcome(known, plan, reminder, ReminderOutcome::Opened, now);
        match self.dispatcher.dispatch_reminder(invocation, slots, &message, known, &opened).await? {
            ReminderDispatchResult::Opened(result) => {
                log_outcomes(&self.dispatcher.config, known, &opened);
                let takes_more = sweep.count_result(&result);
                Ok(if takes_more { ReminderStep::Advanced(Box::new(opened)) } else { ReminderStep::LineBlocked })
            }
            ReminderDispatchResult::LineBlocked { reason } => {
                tracing::info!(
                    appointment.key = known.subject,
                    line.name = known.line,
                    delivery.id = known.delivery,
                    "postponed reminder of {}: {reason}",
                    known.subject
                );
                sweep.summary.due += 1;
                sweep.summary.waiting += 1;
                Ok(ReminderStep::LineBlocked)
            }
            ReminderDispatchResult::Skipped(outcome) => {
                sweep.summary.due += 1;
                sweep.summary.ended += 1;
                let after = self.with_outcome(known, plan, reminder, outcome, now);
                Ok(match self.write_header(known, &after).await? {
                    SaveOutcome::Saved => ReminderStep::Advanced(Box::new(after)),
                    SaveOutcome::Overtaken(newer) => ReminderStep::Conflict(newer),
                    SaveOutcome::Gone => ReminderStep::Done,
                })
            }
            ReminderDispatchResult::HeaderChanged(Some(newer)) => Ok(ReminderStep::Conflict(newer)),
            ReminderDispatchResult::HeaderChanged(None) => Ok(ReminderStep::Done),
        }
    }

    /// The header after one reminder of its plan got this outcome.
    fn with_outcome(
        &self,
        known: &Appointment,
        plan: &ReminderPlan<'_>,
        reminder: &DueReminder<'_>,
        outcome: ReminderOutcome,
        now: Timestamp,
    ) -> Appointment {
        plan::with_stage_outcome(&self.dispatcher.config, known, plan, reminder, outcome, now)
    }

    /// Writes when the sweep must check an appointment next that has no due reminder.
    async fn write_next_check(&self, known: &Appointment, now: Timestamp) -> Result<ReminderStep, DispatchError> {
        let config = &self.dispatcher.config;
        if !config.calendars.contains_key(&known.calendar) {
            tracing::warn!(
                appointment.key = known.subject,
                calendar.name = known.calendar,
                "sent no reminder of {}: calendar {} is no longer in the configuration",
                known.subject,
                known.calendar
            );
        }
        let after = plan::with_schedule(config, known.clone(), now);
        if after == *known {
            return Ok(ReminderStep::Done);
        }
        Ok(match self.write_header(known, &after.next_version(now)).await? {
            SaveOutcome::Saved | SaveOutcome::Gone => ReminderStep::Done,
            SaveOutcome::Overtaken(newer) => ReminderStep::Conflict(newer),
        })
    }

    /// Writes a header over `before`, and over nothing else.
    async fn write_header(
        &self,
        before: &Appointment,
        after: &Appointment,
    ) -> Result<SaveOutcome<Appointment>, DispatchError> {
        let outcome = self.dispatcher.ledger.save_appointment(Some(before), after).await?;
        if outcome == SaveOutcome::Saved {
            log_outcomes(&self.dispatcher.config, before, after);
        }
        Ok(outcome)
    }
}
