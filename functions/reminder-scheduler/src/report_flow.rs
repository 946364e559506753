//! The flow of one report: apply it to the appointment header, plan the next check, save the header
//! and log what changed. Bookings and feeds end here.

use tellonce_core::{
    appointment::{Appointment, AppointmentReport, ReportResult},
    contact::Phone,
    ledger::{LedgerError, SaveOutcome},
};

use crate::{ReminderScheduler, appointment_log::log_appointment, plan::with_schedule};

/// How often a report is applied again when other writers change the header at the same time.
const MAX_ATTEMPTS: usize = 8;

impl ReminderScheduler {
    /// Applies a report to the header. Retries if another writer changes the header meanwhile.
    pub(crate) async fn apply_report(&self, report: &AppointmentReport) -> Result<ReportResult, LedgerError> {
        let mut known = self.dispatcher.ledger.read_appointment(&report.subject).await?;
        for _ in 0..MAX_ATTEMPTS {
            let now = self.dispatcher.clock.now();
            let contact_of = |phone: &Phone| self.dispatcher.ledger.contact_subject(phone);
            let report = &match &known {
                Some(known) => report.clone().without_erased(known, contact_of),
                None => report.clone(),
            };
            let updated = match Appointment::apply_report(known.as_ref(), report, now) {
                ReportResult::Updated(updated) => updated,
                unchanged => return Ok(unchanged),
            };
            let after = with_schedule(&self.dispatcher.config, *updated, now);
            match self.dispatcher.ledger.save_appointment(known.as_ref(), &after).await? {
                SaveOutcome::Saved => {
                    log_appointment(&self.dispatcher.config, known.as_ref(), &after, now);
                    return Ok(ReportResult::Updated(Box::new(after)));
                }
                SaveOutcome::Overtaken(newer) => known = Some(*newer),
                SaveOutcome::Gone => known = None,
            }
        }
        Err(LedgerError::TooManyConflicts)
    }
}
