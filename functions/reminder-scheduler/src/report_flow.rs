//! The flow of one report: apply it to the appointment header, plan the next check, save the header
//! and log what changed. Bookings and feeds end here.

use jiff::Timestamp;
use tellonce_core::{
    appointment::{Appointment, AppointmentReport, AppointmentStatus, ReminderOutcome, ReportResult},
    ledger::{LedgerError, SaveOutcome},
    telemetry::{self, Metric},
};

use crate::{ReminderScheduler, plan::with_schedule};

/// How often a report is applied again when other writers change the header at the same time.
const MAX_WRITE_ATTEMPTS: usize = 8;

impl ReminderScheduler {
    /// Applies a report to the header. Retries if another writer changes the header meanwhile.
    pub(crate) async fn apply_report(&self, report: &AppointmentReport) -> Result<ReportResult, LedgerError> {
        let mut known = self.dispatcher.ledger.read_appointment(&report.subject).await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let now = self.dispatcher.clock.now();
            let updated = match Appointment::apply_report(known.as_ref(), report, now) {
                ReportResult::Updated(updated) => updated,
                unchanged => return Ok(unchanged),
            };
            let after = with_schedule(&self.dispatcher.config, *updated, now);
            match self.dispatcher.ledger.save_appointment(known.as_ref(), &after).await? {
                SaveOutcome::Saved => {
                    self.log_appointment(known.as_ref(), &after, now);
                    return Ok(ReportResult::Updated(Box::new(after)));
                }
                SaveOutcome::Overtaken(newer) => known = Some(*newer),
                SaveOutcome::Gone => known = None,
            }
        }
        Err(LedgerError::TooManyConflicts)
    }

    fn log_appointment(&self, before: Option<&Appointment>, after: &Appointment, now: Timestamp) {
        let is_upcoming = after.status == AppointmentStatus::Booked && after.start > now;
        tracing::info!(
            appointment.key = after.subject,
            appointment.status = after.status.name(),
            appointment.start = %after.start,
            appointment.generation = after.generation,
            appointment.due_at = after.due_at.map(tracing::field::display),
            delivery.id = after.delivery,
            "recorded {} as {}", after.subject, after.status.name()
        );
        if is_upcoming && after.attendees.iter().all(|seat| !seat.attending) {
            tracing::warn!(
                appointment.key = after.subject,
                "found no attendee of {} who can be messaged",
                after.subject
            );
        }
        match before {
            Some(before) => self.log_outcomes(before, after),
            None => self.log_outcomes(&Appointment { stage_outcomes: Vec::new(), ..after.clone() }, after),
        }
    }

    /// Logs each new outcome of a reminder, and counts the missed ones.
    pub(crate) fn log_outcomes(&self, before: &Appointment, after: &Appointment) {
        let new_outcomes = after.stage_outcomes.iter().filter(|outcome| !before.stage_outcomes.contains(outcome));
        for stage_outcome in new_outcomes {
            if stage_outcome.outcome == ReminderOutcome::Missed {
                telemetry::count_metric(&self.dispatcher.config.client, Metric::MessagesExpired, after.updated_at);
            }
            tracing::info!(
                appointment.key = after.subject,
                appointment.start = %stage_outcome.start,
                reminder.stage = stage_outcome.stage,
                reminder.attendee = stage_outcome.attendee,
                reminder.outcome = stage_outcome.outcome.name(),
                "recorded reminder {} of {} as {}", stage_outcome.stage, after.subject, stage_outcome.outcome.name()
            );
        }
    }
}
