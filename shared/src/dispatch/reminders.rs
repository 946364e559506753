//! Sends reminders: the claim is the last step before the send and checks the appointment's header.

use super::{
    DispatchError, Dispatcher, Invocation, OpenReminderStep, ReminderDispatchResult, ReminderOpening, RowWrite,
    SendSlots,
};

use crate::{
    appointment::{Appointment, ReminderOutcome, StageOutcome},
    ledger::{ClaimOutcome, OutboundMessage, ReminderDay},
};

impl Dispatcher {
    /// Sends a reminder of an appointment, once. One transaction opens its row and writes `after`
    /// over `before`, directly before the send. A message without a payload opens its row with the
    /// reason and is not sent.
    pub async fn dispatch_reminder(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        message: &OutboundMessage,
        before: &Appointment,
        after: &Appointment,
    ) -> Result<ReminderDispatchResult, DispatchError> {
        let (line, key) = (&message.line, &message.key);
        self.line_tools().find_line(line, key)?;
        let opening = ReminderOpening { message, before, after };
        let mut step = opening.begin(&self.driver(invocation));
        loop {
            step = match step {
                OpenReminderStep::ReserveSlot => {
                    opening.follow_slot(self.line_tools().reserve_slot(invocation, slots, line, key).await?)
                }
                OpenReminderStep::OpenLine(recent_health) => {
                    // A person who got an earlier reminder of the appointment is not new.
                    let was_reminded =
                        before.stage_outcomes.iter().any(|stage| stage.outcome == ReminderOutcome::Opened);
                    let stranger = message.to.as_ref().filter(|_| !was_reminded);
                    let access = self.open_line(invocation, line, key, recent_health, stranger).await?;
                    opening.follow_line(&self.driver(invocation), access)
                }
                OpenReminderStep::Open(row, access) => {
                    let contact = self.contact_subject(row.to.as_ref());
                    // A reminder that is only recorded does not count. One that is held does: it is
                    // sent later without another count.
                    let is_sent = message.content.unsent_reason().is_none();
                    let counted = is_sent.then(|| self.reminder_day(before, after));
                    let headers = (before, after);
                    let outcome = self.ledger.open_reminder(&row, headers, &contact, counted.as_ref()).await?;
                    if access.is_some() && outcome == ClaimOutcome::Claimed {
                        slots.spend_slot();
                    }
                    ReminderOpening::follow_open(row, access, outcome)
                }
                OpenReminderStep::SaveHeader(result) => {
                    let outcome = self.ledger.save_appointment(Some(before), after).await?;
                    return Ok(ReminderOpening::follow_header(result, outcome));
                }
                OpenReminderStep::Dispatch(step) => {
                    let result = self.execute_steps(invocation, slots, step).await?;
                    return Ok(ReminderDispatchResult::Opened(result));
                }
                OpenReminderStep::Done(result) => return Ok(result),
            }
        }
    }

    /// The day and the stage of the reminder that `after` records as opened.
    fn reminder_day(&self, before: &Appointment, after: &Appointment) -> ReminderDay {
        let now = self.clock.now();
        let is_new = |outcome: &&StageOutcome| {
            outcome.outcome == ReminderOutcome::Opened && !before.stage_outcomes.contains(outcome)
        };
        let stage = after.stage_outcomes.iter().find(is_new).map(|outcome| outcome.stage.clone()).unwrap_or_default();
        ReminderDay { stage, day: self.config.local_day(now), now }
    }

    /// Claims a reminder that has a row. The claim uses up the slot.
    pub(super) async fn claim_reminder(
        &self,
        slots: &mut SendSlots,
        write: &RowWrite,
    ) -> Result<ClaimOutcome<Appointment>, DispatchError> {
        let contact = self.contact_subject(write.after.to.as_ref());
        let outcome = self.ledger.claim_reminder(&write.before, &write.after, &contact).await?;
        if outcome == ClaimOutcome::Claimed {
            slots.spend_slot();
        }
        Ok(outcome)
    }
}
