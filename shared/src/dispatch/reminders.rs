//! Sends reminders: the claim is the last step before the send and checks the appointment's header.

use jiff::Timestamp;

use super::{
    DispatchError, DispatchResult, Dispatcher, Invocation, LineUnavailable, OPTED_OUT_REASON, SendSlots,
    result_of_refused_claim, result_of_row,
};
use crate::{
    appointment::{Appointment, ReminderOutcome},
    client_config::LineConfig,
    contact::Phone,
    ledger::{ClaimOutcome, LedgerRow, MessageState, OutboundMessage, QUIET_HOURS_REASON, RowChange, TEXT_TIME_ZONE},
    line::SlotReservation,
    telemetry::{self, Metric},
};

/// The outcome of a reminder, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReminderDispatchResult {
    /// Its row was opened, with this outcome. The new header was written with it.
    Opened(DispatchResult),
    /// The appointment's header has changed; `None` if it is gone. No row was opened.
    HeaderChanged(Option<Box<Appointment>>),
    /// It is not to be sent: the customer has opted out, or an operator dropped what waited for
    /// this line. No row was opened.
    Skipped(ReminderOutcome),
    /// The line is blocked. The next message for this line would wait as well. No row was opened.
    LineBlocked {
        /// Why, for people.
        reason: String,
    },
}

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
        let line = self.find_line(&message.line, &message.key)?;
        let access = if message.content.unsent_reason().is_some() {
            None
        } else {
            match self.reserve_line_access(invocation, slots, &message.line, line, message.occurred_at).await? {
                LineReservation::Granted(access) => Some(access),
                LineReservation::Unavailable(LineUnavailable { reason, .. }) => {
                    return Ok(ReminderDispatchResult::LineBlocked { reason });
                }
                LineReservation::Dropped => return Ok(ReminderDispatchResult::Skipped(ReminderOutcome::Dropped)),
            }
        };
        let now = self.clock.now();
        // During the wait for a slot the quiet hours began, or the message became useless. No row
        // was opened, so the caller plans it again.
        let quiet =
            !message.ignores_quiet_hours && self.config.quiet_hours_end_in_zone(message.zone.as_deref(), now).is_some();
        if access.is_some() && (quiet || message.useful_until <= now) {
            return Ok(ReminderDispatchResult::HeaderChanged(Some(Box::new(before.clone()))));
        }
        let mut row = LedgerRow::from_message(
            message,
            message.key.clone(),
            invocation.owner.clone(),
            invocation.lease_until(now),
            now,
        );
        // The header records that the row was opened, and no delivery repeats it. If this function
        // crashes, only the sweep finds the claim.
        row.due_at = row.due_at.or(row.lease_until);
        let contact = self.contact_subject(message.to.as_ref());
        match self.ledger.open_reminder(&row, before, after, &contact).await? {
            ClaimOutcome::Claimed => {}
            ClaimOutcome::OptedOut => return Ok(ReminderDispatchResult::Skipped(ReminderOutcome::OptedOut)),
            ClaimOutcome::HeaderChanged(now) => return Ok(ReminderDispatchResult::HeaderChanged(now)),
            // The row exists although the header does not record it. It was opened before and is
            // not sent again.
            ClaimOutcome::RowChanged(there) => {
                let already_known = there.map_or(DispatchResult::AlreadyKnown(row.key, MessageState::Expired), |row| {
                    DispatchResult::AlreadyKnown(row.key, row.state)
                });
                return Ok(match self.ledger.save_appointment(Some(before), after).await? {
                    Ok(()) => ReminderDispatchResult::Opened(already_known),
                    Err(now) => ReminderDispatchResult::HeaderChanged(now),
                });
            }
        }
        let (MessageState::Claimed, Some(access)) = (row.state, access) else {
            if row.state == MessageState::Incomplete {
                telemetry::count_metric(&self.config.client, Metric::RemindersIncomplete, now);
            }
            self.report_row(&row);
            return Ok(ReminderDispatchResult::Opened(result_of_row(row)));
        };
        slots.spend_slot();
        let attempt = self.submit_payload(invocation, &row, access).await?;
        Ok(ReminderDispatchResult::Opened(self.settle_attempt(row, attempt).await?))
    }

    /// Resumes a reminder that has a row and is not sent yet.
    pub(super) async fn resume_reminder(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        mut row: LedgerRow,
    ) -> Result<DispatchResult, DispatchError> {
        let owner = || invocation.owner.clone();
        if let Some(change) = self.expire_if_late(invocation, &row) {
            return self.claim_and_settle(invocation, row, &change).await;
        }
        let now = self.clock.now();
        if let Some(until) =
            self.config.quiet_hours_end_in_zone(row.zone.as_deref(), now).filter(|_| !row.ignores_quiet_hours)
        {
            let change = RowChange::Hold { owner: owner(), until, reason: QUIET_HOURS_REASON.to_owned() };
            return self.claim_and_settle(invocation, row, &change).await;
        }
        let untrue = |reason: &str| RowChange::Supersede { owner: owner(), reason: reason.to_owned() };
        let line = self.find_line(&row.line, &row.key)?;
        let access = match self.reserve_line_access(invocation, slots, &row.line, line, row.created_at).await? {
            LineReservation::Granted(access) => access,
            // It stays due, so nothing has to be written.
            LineReservation::Unavailable(_) => return Ok(DispatchResult::LineBlocked(row.key, row.state)),
            LineReservation::Dropped if row.may_have_arrived() => {
                return Ok(DispatchResult::Waiting(row.key, row.state));
            }
            LineReservation::Dropped => {
                return self
                    .claim_and_settle(
                        invocation,
                        row,
                        &untrue("an operator dropped everything that waited for this line"),
                    )
                    .await;
            }
        };
        // The wait for a slot may have been long.
        if let Some(change) = self.expire_if_late(invocation, &row) {
            return self.claim_and_settle(invocation, row, &change).await;
        }
        let contact = self.contact_subject(row.to.as_ref());
        let now = self.clock.now();
        // Twice, for a header that was written again while the reminder stayed true.
        for _ in 0..2 {
            let next = match invocation.claim_row(&row, now) {
                Ok(next) if next.state == MessageState::Claimed => next,
                Ok(_) => return self.claim_and_submit(invocation, slots, row).await,
                Err(why) => return Ok(result_of_refused_claim(row, why)),
            };
            match self.ledger.claim_reminder(&row, &next, &contact).await? {
                ClaimOutcome::Claimed => {
                    slots.spend_slot();
                    let attempt = self.submit_payload(invocation, &next, access).await?;
                    return self.settle_attempt(next, attempt).await;
                }
                ClaimOutcome::RowChanged(Some(now)) => return Ok(DispatchResult::Waiting(now.key, now.state)),
                ClaimOutcome::RowChanged(None) => return Ok(DispatchResult::Ended(row.key, MessageState::Expired)),
                ClaimOutcome::OptedOut => {
                    return self.claim_and_settle(invocation, row, &untrue(OPTED_OUT_REASON)).await;
                }
                ClaimOutcome::HeaderChanged(known) => {
                    let holds = |known: &Appointment| {
                        let (instance, phone) = (row.instance.as_deref(), row.to.as_ref());
                        let same_clocks = row.context.values.get(TEXT_TIME_ZONE) == Some(&known.zone);
                        same_clocks
                            && instance
                                .zip(phone)
                                .is_some_and(|(instance, phone)| known.is_still_valid(instance, phone))
                    };
                    let Some(known) = known.filter(|known| holds(known)) else {
                        let change = untrue("the appointment was moved or cancelled before the reminder was due");
                        return self.claim_and_settle(invocation, row, &change).await;
                    };
                    row.generation = Some(known.generation);
                }
            }
        }
        Err(DispatchError::TooManyConflicts(row.key))
    }

    /// The change for a row that is no longer useful, even if a crashed invocation holds it.
    fn expire_if_late(&self, invocation: &Invocation, row: &LedgerRow) -> Option<RowChange> {
        let late = row.useful_until <= self.clock.now();
        late.then(|| RowChange::Expire { owner: Some(invocation.owner.clone()) })
    }

    /// The subject of a contact's opt-out. A message without a number has a subject that is never
    /// opted out.
    pub(super) fn contact_subject(&self, phone: Option<&Phone>) -> String {
        phone.map_or_else(|| "contact:nobody".to_owned(), |phone| self.ledger.contact_subject(phone))
    }

    /// Claims a row only to record a change.
    async fn claim_and_settle(
        &self,
        invocation: &Invocation,
        row: LedgerRow,
        change: &RowChange,
    ) -> Result<DispatchResult, DispatchError> {
        match self.claim_row(invocation, row).await? {
            Ok(row) => self.settle_row(row, change).await,
            Err(result) => Ok(result),
        }
    }

    /// Reserves a slot and checks the line's health. `since` is when the message was created.
    async fn reserve_line_access(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        line_name: &str,
        line: &LineConfig,
        since: Timestamp,
    ) -> Result<LineReservation, DispatchError> {
        let (known_good, drop_before) = match self.reserve_slot(invocation, slots, line_name, line).await? {
            SlotReservation::Granted { recent_health: known_good, drop_before } => (known_good, drop_before),
            SlotReservation::Blocked(blocked) => {
                return Ok(LineReservation::Unavailable(LineUnavailable {
                    until: blocked.until(),
                    reason: blocked.reason(),
                }));
            }
        };
        if drop_before.is_some_and(|before| since < before) {
            return Ok(LineReservation::Dropped);
        }
        Ok(match self.open_line_access(invocation, line_name, known_good).await? {
            Ok(access) => LineReservation::Granted(access),
            Err(unavailable) => LineReservation::Unavailable(unavailable),
        })
    }
}

/// Whether a message may be sent over its line now.
enum LineReservation {
    Granted(super::LineAccess),
    Unavailable(LineUnavailable),
    /// An operator dropped messages as old as this one.
    Dropped,
}
