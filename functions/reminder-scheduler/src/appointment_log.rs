//! The log lines of appointments and of the outcomes of their reminders.

use jiff::Timestamp;
use tellonce_core::{
    appointment::{Appointment, AppointmentStatus, ReminderOutcome},
    client_config::ClientConfig,
    telemetry::{self, Metric},
};

/// Logs a header that was written, and what changed in its reminders.
pub(crate) fn log_appointment(
    config: &ClientConfig,
    before: Option<&Appointment>,
    after: &Appointment,
    now: Timestamp,
) {
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
        tracing::warn!(appointment.key = after.subject, "found no attendee of {} who can be messaged", after.subject);
    }
    if let Some(before) = before {
        log_outcomes(config, before, after);
    } else {
        let before = Appointment { stage_outcomes: Vec::new(), ..after.clone() };
        log_outcomes(config, &before, after);
    }
}

/// Logs each new outcome of a reminder, and counts the missed ones. It does not count one for which
/// the alarm of waiting messages was raised. An appointment that is due is in its gauge in quiet
/// hours too.
pub(crate) fn log_outcomes(config: &ClientConfig, before: &Appointment, after: &Appointment) {
    let new_outcomes = after.stage_outcomes.iter().filter(|outcome| !before.stage_outcomes.contains(outcome));
    let was_paged = before.due_at.is_some_and(|due| telemetry::was_paged(due, None, after.updated_at));
    for stage_outcome in new_outcomes {
        if stage_outcome.outcome == ReminderOutcome::Missed && !was_paged {
            telemetry::count_metric(&config.client, Metric::MessagesExpired, after.updated_at);
        }
        if stage_outcome.outcome == ReminderOutcome::LimitReached {
            tracing::warn!(
                appointment.key = after.subject,
                "sent no reminder {} of {}: its number has reached the limit of a day",
                stage_outcome.stage,
                after.subject
            );
        }
        tracing::info!(
            appointment.key = after.subject,
            appointment.start = %stage_outcome.start,
            reminder.stage = stage_outcome.stage,
            reminder.attendee = stage_outcome.attendee,
            reminder.outcome = stage_outcome.outcome.name(),
            delivery.id = after.delivery,
            "recorded reminder {} of {} as {}", stage_outcome.stage, after.subject, stage_outcome.outcome.name()
        );
    }
}
