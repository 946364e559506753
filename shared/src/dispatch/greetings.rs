//! Sends first touches: a contact is greeted once, however many invocations process the lead.

use jiff::{SignedDuration, Timestamp};

use super::{
    DispatchError, DispatchResult, Dispatcher, GreetingOpening, GreetingResult, GreetingRules, Invocation, NextStep,
    OpenGreetingStep, RowWrite, SendSlots,
};
use crate::{
    contact::Phone,
    greeting::GreetingHistory,
    ledger::{ClaimOutcome, IdempotencyKey, LedgerRow, OutboundMessage, SaveOutcome},
};

impl Dispatcher {
    /// Sends a greeting, once. One transaction opens the lead's row and records the greeting. It
    /// fails if the contact was greeted meanwhile or has opted out. `form` is the form's name.
    /// `message` has a payload and a number.
    pub async fn dispatch_greeting(
        &self,
        invocation: &Invocation,
        message: &OutboundMessage,
        form: &str,
        rules: GreetingRules,
    ) -> Result<GreetingResult, DispatchError> {
        self.line_tools().find_line(&message.line, &message.key)?;
        let slots = &mut SendSlots::for_messages(1);
        let contact = self.contact_subject(message.to.as_ref());
        let mut step = GreetingOpening::begin(&self.driver(invocation), message, form, rules);
        loop {
            step = match step {
                OpenGreetingStep::Open(opening, after) => {
                    let GreetingOpening { row, history, .. } = &opening;
                    let outcome = self.ledger.open_greeting(row, history, &after, &contact).await?;
                    opening.follow_open(&self.driver(invocation), outcome)
                }
                OpenGreetingStep::ReadRow(opening, before) => {
                    let row = self.ledger.read_row(&IdempotencyKey::for_lead_subject(&before.lead)).await?;
                    opening.follow_read(&self.driver(invocation), &before, row)
                }
                OpenGreetingStep::Replace(opening, before, write) => {
                    // If another invocation was faster, its row says what becomes of the greeting.
                    if self.ledger.save(&write.before, &write.after).await? == SaveOutcome::Saved {
                        self.report_row(&write.after);
                    }
                    OpenGreetingStep::ReadRow(opening, before)
                }
                OpenGreetingStep::Suppress(row, result) => {
                    let open = NextStep::Open { row, has_instance_key: false };
                    return Ok(match self.execute_steps(invocation, slots, open).await?.in_flight_as_known() {
                        DispatchResult::RecordedOnly(_) => result,
                        repeated => GreetingResult::Dispatched(repeated),
                    });
                }
                OpenGreetingStep::Dispatch(step) => {
                    let result = self.execute_steps(invocation, slots, step).await?.in_flight_as_known();
                    return Ok(GreetingResult::Dispatched(result));
                }
                OpenGreetingStep::OptedOut => return Ok(GreetingResult::OptedOut),
            }
        }
    }

    /// Claims a greeting that has a row.
    pub(super) async fn claim_greeting(
        &self,
        write: &RowWrite,
    ) -> Result<ClaimOutcome<GreetingHistory>, DispatchError> {
        let contact = self.contact_subject(write.after.to.as_ref());
        Ok(self.ledger.claim_greeting(&write.before, &write.after, &contact).await?)
    }

    /// The subject of a contact's opt-out. A message without a number has a subject that is never
    /// opted out.
    pub(super) fn contact_subject(&self, phone: Option<&Phone>) -> String {
        phone.map_or_else(|| "contact:none".to_owned(), |phone| self.ledger.contact_subject(phone))
    }

    /// Whether the contact of a greeting has opted out.
    pub(super) async fn has_opted_out(&self, row: &LedgerRow) -> Result<bool, DispatchError> {
        Ok(row.key.is_greeting() && self.ledger.has_opted_out(&self.contact_subject(row.to.as_ref())).await?)
    }

    /// How long a lead has waited for an accepted greeting, in seconds: from the submission, from
    /// the end of the quiet hours in which it arrived, or from its release by an operator.
    pub(super) fn seconds_waited(&self, row: &LedgerRow) -> f64 {
        let quiet_until = self
            .config
            .quiet_hours_end_in_zone(row.zone.as_deref(), row.occurred_at)
            .filter(|_| !row.ignores_quiet_hours);
        let from: Timestamp =
            [quiet_until, row.released_at].into_iter().flatten().fold(row.occurred_at, Timestamp::max);
        row.updated_at.duration_since(from).max(SignedDuration::ZERO).as_secs_f64()
    }
}
