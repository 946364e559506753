//! How a reminder gets its row: slot and health come first, and the claim is the last step before
//! the send.

use super::{LineOpening, LineUnavailable, MessageDriver, NextStep};
use crate::{
    appointment::{Appointment, ReminderOutcome},
    dispatch::dispatch_result::{DispatchResult, LineCondition, ReminderDispatchResult},
    ledger::{ClaimOutcome, LedgerRow, MessageState, OutboundMessage, SaveOutcome},
    line::SlotReservation,
};

/// A reminder without a row.
#[derive(Debug, Clone, Copy)]
pub struct ReminderOpening<'a> {
    /// The message.
    pub message: &'a OutboundMessage,
    /// The appointment's header, as it is known.
    pub before: &'a Appointment,
    /// The header that records that the row was opened.
    pub after: &'a Appointment,
}

/// What to do next about a reminder without a row.
#[derive(Debug)]
pub enum OpenReminderStep<L> {
    /// Reserve a slot of the line.
    ReserveSlot,
    /// Read the line's token and check its health, which may be known.
    OpenLine(Option<String>),
    /// Open the row and write the header, in one transaction. A reminder that is sent uses up the
    /// slot.
    Open(LedgerRow, Option<L>),
    /// Write only the header, because the row exists. This is the result.
    SaveHeader(DispatchResult),
    /// Dispatch the reminder like any other message.
    Dispatch(NextStep<L>),
    /// Nothing. This is the result.
    Done(ReminderDispatchResult),
}

impl ReminderOpening<'_> {
    /// The first step.
    pub fn begin<L>(&self, driver: &MessageDriver<'_>) -> OpenReminderStep<L> {
        if self.message.content.unsent_reason().is_some() {
            return self.open_row(driver, None);
        }
        OpenReminderStep::ReserveSlot
    }

    /// The step after [`OpenReminderStep::ReserveSlot`].
    pub fn follow_slot<L>(&self, slot: SlotReservation) -> OpenReminderStep<L> {
        match slot {
            SlotReservation::Granted { drop_before: Some(before), .. } if self.message.occurred_at < before => {
                OpenReminderStep::Done(ReminderDispatchResult::Skipped(ReminderOutcome::Dropped))
            }
            SlotReservation::Granted { recent_health, .. } => OpenReminderStep::OpenLine(recent_health),
            SlotReservation::Blocked(blocked) => {
                OpenReminderStep::Done(ReminderDispatchResult::LineBlocked { reason: blocked.reason() })
            }
        }
    }

    /// The step after [`OpenReminderStep::OpenLine`].
    pub fn follow_line<L>(&self, driver: &MessageDriver<'_>, opening: LineOpening<L>) -> OpenReminderStep<L> {
        let access = match opening {
            LineOpening::Open(access) => access,
            LineOpening::Held(held) => return self.open_held_row(driver, held),
            LineOpening::Unavailable(unavailable) => {
                return OpenReminderStep::Done(ReminderDispatchResult::LineBlocked { reason: unavailable.reason.text });
            }
        };
        let OutboundMessage { ignores_quiet_hours, zone, useful_until, .. } = self.message;
        let is_quiet = driver.find_quiet_hours_end(*ignores_quiet_hours, zone.as_deref()).is_some();
        // During the wait for a slot the quiet hours began, or the message became useless. No row
        // was opened, so the caller plans it again.
        if is_quiet || *useful_until <= driver.now {
            let unchanged = Some(Box::new(self.before.clone()));
            return OpenReminderStep::Done(ReminderDispatchResult::HeaderChanged(unchanged));
        }
        self.open_row(driver, Some(access))
    }

    fn open_row<L>(&self, driver: &MessageDriver<'_>, access: Option<L>) -> OpenReminderStep<L> {
        let mut row = driver.build_row(self.message);
        // The header records that the row was opened, and no delivery repeats it. If this function
        // crashes, only the sweep finds the claim.
        row.due_at = row.due_at.or(row.lease_until);
        OpenReminderStep::Open(row, access)
    }

    /// Opens a row that waits: the header would find the reminder due again every minute.
    fn open_held_row<L>(&self, driver: &MessageDriver<'_>, held: LineUnavailable) -> OpenReminderStep<L> {
        let row = LedgerRow {
            state: MessageState::Held,
            owner: None,
            lease_until: None,
            due_at: Some(held.until),
            reason: Some(held.reason.text),
            ..driver.build_row(self.message)
        };
        OpenReminderStep::Open(row.begin_trail(held.reason.code), None)
    }

    /// The step after [`OpenReminderStep::Open`].
    pub fn follow_open<L>(
        row: LedgerRow,
        access: Option<L>,
        outcome: ClaimOutcome<Appointment>,
    ) -> OpenReminderStep<L> {
        match outcome {
            ClaimOutcome::Claimed => OpenReminderStep::Dispatch(match access {
                Some(access) if row.state == MessageState::Claimed => NextStep::Submit(row, access),
                _ => NextStep::Recorded { row, line: LineCondition::Open },
            }),
            ClaimOutcome::OptedOut => {
                OpenReminderStep::Done(ReminderDispatchResult::Skipped(ReminderOutcome::OptedOut))
            }
            ClaimOutcome::LimitReached => {
                OpenReminderStep::Done(ReminderDispatchResult::Skipped(ReminderOutcome::LimitReached))
            }
            ClaimOutcome::DependencyChanged(now) => OpenReminderStep::Done(ReminderDispatchResult::HeaderChanged(now)),
            // The row exists although the header does not record it. It was opened before and is
            // not sent again.
            ClaimOutcome::RowChanged(Some(there)) => {
                OpenReminderStep::SaveHeader(DispatchResult::AlreadyKnown(there.key, there.state))
            }
            ClaimOutcome::RowChanged(None) => {
                OpenReminderStep::SaveHeader(DispatchResult::AlreadyKnown(row.key, MessageState::Expired))
            }
        }
    }

    /// The result after [`OpenReminderStep::SaveHeader`].
    pub fn follow_header(result: DispatchResult, outcome: SaveOutcome<Appointment>) -> ReminderDispatchResult {
        match outcome {
            SaveOutcome::Saved => ReminderDispatchResult::Opened(result),
            SaveOutcome::Overtaken(now) => ReminderDispatchResult::HeaderChanged(Some(now)),
            SaveOutcome::Gone => ReminderDispatchResult::HeaderChanged(None),
        }
    }
}
