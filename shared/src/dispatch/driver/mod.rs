//! What happens next to a message: from its row and from what just happened to the next step. Pure.
//!
//! Main types: [`MessageDriver`] decides; a [`NextStep`] is what to do; a [`DispatchEvent`] is what
//! happened when it was done. [`GreetingOpening`] and [`ReminderOpening`] decide how a message of
//! their kind gets its row.
//!
//! Promises: every decision between two effects of a dispatch is here. The dispatcher executes the
//! steps with tables and requests, `tellonce preview` in memory, and the model checker in every
//! order. So these three never differ. Does **not** decide what follows from a [`RowChange`]
//! ([`apply_change()`]) or from the history ([`decide_message()`]).

mod greeting;
mod reminder;
mod step;

use jiff::{SignedDuration, Timestamp};

use super::dispatch_result::{DispatchResult, LineCondition};
use crate::{
    appointment::Appointment,
    client_config::ClientConfig,
    greeting::GreetingHistory,
    ledger::{
        ClaimOutcome, ClaimOwner, LedgerRow, MessageState, OpenOutcome, OutboundMessage, Reason, RowChange,
        SaveOutcome, StepCode, TransitionRefused, apply_change, decide_message,
    },
    line::SlotReservation,
    provider::{PROVIDER, SendOutcome},
};

pub use greeting::{GreetingOpening, GreetingRules, OpenGreetingStep};
pub use reminder::{OpenReminderStep, ReminderOpening};
pub(super) use step::WritePurpose;
pub use step::{DispatchEvent, LineOpening, LineUnavailable, NextStep, ReminderClaim, RowWrite};

/// A history older than this is read again before a message is sent.
const HISTORY_MAX_AGE: SignedDuration = SignedDuration::from_secs(1);
/// Recorded reason of a message to a contact who has opted out.
const OPTED_OUT_REASON: (StepCode, &str) = (StepCode::OptedOut, "the customer has opted out");
/// Recorded reason of a message that waited for a line while an operator dropped all of them.
const DROPPED_REASON: (StepCode, &str) =
    (StepCode::Dropped, "an operator dropped everything that waited for this line");
/// How long a message waits after a submit that never left this process.
const NOT_SENT_RETRY_MINUTES: i64 = 1;
/// How often a change is applied again to a row that other invocations keep writing.
const MAX_SETTLE_RETRIES: u8 = 3;

/// Decides the next step of a message. Made anew for each decision, because time passes.
#[derive(Debug, Clone, Copy)]
pub struct MessageDriver<'a> {
    /// The client.
    pub config: &'a ClientConfig,
    /// The invocation that claims.
    pub owner: &'a ClaimOwner,
    /// When a claim that is made now expires.
    pub lease_until: Timestamp,
    /// The current time.
    pub now: Timestamp,
}

impl MessageDriver<'_> {
    /// The step that follows from an event.
    pub fn next_step<L>(&self, event: DispatchEvent<L>) -> NextStep<L> {
        match event {
            DispatchEvent::Opened(row, _, OpenOutcome::New) => self.begin_row(row),
            DispatchEvent::Opened(mut row, has_instance_key, OpenOutcome::Exists(before)) => {
                match (&row.instance, &before.instance) {
                    // A second parcel, refund or invoice of the same milestone finds the first
                    // one's row under its key and takes its own key.
                    (Some(mine), Some(theirs)) if mine != theirs && !has_instance_key => {
                        row.key = row.key.with_instance(mine);
                        NextStep::Open { row, has_instance_key: true }
                    }
                    _ => self.repeat_message(*before, &row),
                }
            }
            DispatchEvent::Due(row) => self.resume_row(row),
            DispatchEvent::Saved(write, outcome) => self.follow_write(*write, outcome),
            DispatchEvent::GreetingClaimed(write, outcome) => self.follow_greeting_claim(write, outcome),
            DispatchEvent::ReminderClaimed(claim, outcome) => self.follow_reminder_claim(claim, outcome),
            DispatchEvent::HistoryRead(row, read_at, history) => match self.find_obstacle(&row, &history) {
                Some(change) => self.settle(row, change),
                None => NextStep::ReserveSlot { row, read_at },
            },
            DispatchEvent::SlotReserved(row, read_at, slot) => self.use_slot(row, read_at, slot),
            DispatchEvent::Rechecked { row, has_opted_out: true, .. } => {
                self.settle(row, self.supersede(OPTED_OUT_REASON))
            }
            DispatchEvent::Rechecked { row, recent_health, history, .. } => match self.find_obstacle(&row, &history) {
                Some(change) => self.settle(row, change),
                None => NextStep::OpenLine { row, recent_health },
            },
            DispatchEvent::LineOpened(row, LineOpening::Open(access)) if row.is_reminder() => {
                self.claim_reminder(row, access, false)
            }
            DispatchEvent::LineOpened(row, LineOpening::Open(access)) => NextStep::Submit(row, access),
            DispatchEvent::LineOpened(row, LineOpening::Unavailable(_)) if row.is_reminder() => postpone_reminder(row),
            DispatchEvent::LineOpened(row, LineOpening::Held(LineUnavailable { until, reason })) => {
                let change = self.hold_until(until, reason);
                if row.is_reminder() { self.claim(row, WritePurpose::Record(change)) } else { self.settle(row, change) }
            }
            DispatchEvent::LineOpened(row, LineOpening::Unavailable(unavailable))
            | DispatchEvent::LineBlocked(row, unavailable) => {
                self.hold_for_line(row, unavailable, LineCondition::Blocked)
            }
            DispatchEvent::Sent(row, outcome) => self.follow_submit(row, outcome),
        }
    }

    /// The first row of a message.
    pub fn build_row(&self, message: &OutboundMessage) -> LedgerRow {
        let row = LedgerRow::from_message(message, self.owner.clone(), self.lease_until, self.now);
        let version = Some(&self.config.version).filter(|version| !version.is_empty());
        LedgerRow { made_by: version.cloned(), ..row }
    }

    /// A row that was opened a moment ago.
    fn begin_row<L>(&self, row: LedgerRow) -> NextStep<L> {
        match row.state {
            MessageState::Claimed => self.check_row(row),
            MessageState::Suppressed | MessageState::Incomplete => {
                NextStep::Done(DispatchResult::RecordedOnly(row.key))
            }
            _ => NextStep::Recorded { row, line: LineCondition::Open },
        }
    }

    /// A message that has a row already.
    fn repeat_message<L>(&self, before: LedgerRow, mine: &LedgerRow) -> NextStep<L> {
        match before.state {
            MessageState::Claimed if before.lease_until.is_some_and(|lease| self.now < lease) => {
                if before.due_at.is_some() {
                    return NextStep::Done(DispatchResult::Waiting(before.key, before.state));
                }
                // Another invocation is sending it, or has just crashed. The sweep checks it when
                // the lease has ended.
                self.settle(before, RowChange::Recheck)
            }
            MessageState::Claimed => self.claim(before, WritePurpose::Send),
            MessageState::Incomplete if let Some(after) = mine.replace_incomplete(&before) => {
                NextStep::Save(Box::new(RowWrite { before, after, purpose: WritePurpose::Complete }))
            }
            state => {
                let differs = matches!((&before.payload, &mine.payload), (Some(theirs), Some(mine)) if theirs != mine);
                NextStep::Done(if differs {
                    DispatchResult::PayloadConflict(before.key, state)
                } else {
                    DispatchResult::AlreadyKnown(before.key, state)
                })
            }
        }
    }

    /// A row that waited.
    fn resume_row<L>(&self, row: LedgerRow) -> NextStep<L> {
        if row.useful_until <= self.now && row.state != MessageState::Claimed {
            return self.settle(row, RowChange::Expire { owner: None });
        }
        if !row.is_reminder() {
            return self.claim(row, WritePurpose::Send);
        }
        // A reminder takes slot and health first and is claimed last.
        match self.expire_if_late(&row).or_else(|| self.hold_in_quiet_hours(&row)) {
            Some(change) => self.claim(row, WritePurpose::Record(change)),
            None => NextStep::ReserveSlot { row, read_at: self.now },
        }
    }

    /// Claims a row that waits.
    fn claim<L>(&self, row: LedgerRow, purpose: WritePurpose) -> NextStep<L> {
        let claim = RowChange::Claim { owner: self.owner.clone(), lease_until: self.lease_until };
        let after = match apply_change(&row, &claim, self.now) {
            Ok(after) => after,
            Err(TransitionRefused::Settled) => {
                return NextStep::Done(DispatchResult::AlreadyKnown(row.key, row.state));
            }
            Err(TransitionRefused::HeldByAnother | TransitionRefused::NotDue | TransitionRefused::NotClaimed) => {
                return NextStep::Done(DispatchResult::Waiting(row.key, row.state));
            }
        };
        let is_greeting = row.key.is_greeting() && after.state == MessageState::Claimed;
        let write = Box::new(RowWrite { before: row, after, purpose });
        if is_greeting { NextStep::ClaimGreeting(write) } else { NextStep::Save(write) }
    }

    /// Claims a reminder whose line is open.
    fn claim_reminder<L>(&self, row: LedgerRow, access: L, is_retry: bool) -> NextStep<L> {
        // The wait for a slot may have been long.
        if let Some(change) = self.expire_if_late(&row) {
            return self.claim(row, WritePurpose::Record(change));
        }
        match self.claim(row, WritePurpose::Send) {
            NextStep::Save(write) if write.after.state == MessageState::Claimed => {
                NextStep::ClaimReminder(ReminderClaim { write, access, is_retry })
            }
            step => step,
        }
    }

    fn follow_write<L>(&self, write: RowWrite, outcome: SaveOutcome) -> NextStep<L> {
        let RowWrite { before, after, purpose } = write;
        let is_claimed = after.state == MessageState::Claimed;
        match (purpose, outcome) {
            (WritePurpose::Send, SaveOutcome::Saved) if is_claimed => self.check_row(after),
            (WritePurpose::Record(change), SaveOutcome::Saved) if is_claimed => self.settle(after, change),
            (WritePurpose::Send | WritePurpose::Record(_), SaveOutcome::Saved) => {
                NextStep::Recorded { row: after, line: LineCondition::Open }
            }
            // Another function was faster and handles it.
            (WritePurpose::Send | WritePurpose::Record(_), SaveOutcome::Overtaken(now)) => {
                NextStep::Done(DispatchResult::Waiting(now.key, now.state))
            }
            (WritePurpose::Complete, SaveOutcome::Saved) => self.begin_row(after),
            // Another report of the same event was faster.
            (WritePurpose::Complete, SaveOutcome::Overtaken(now)) => {
                NextStep::Done(DispatchResult::AlreadyKnown(now.key, now.state))
            }
            (WritePurpose::Settle { line, .. }, SaveOutcome::Saved) => NextStep::Recorded { row: after, line },
            (WritePurpose::Complete, SaveOutcome::Gone)
            | (WritePurpose::Settle { retries_left: 0, .. }, SaveOutcome::Overtaken(_)) => NextStep::GiveUp(before.key),
            (WritePurpose::Settle { change, line, retries_left }, SaveOutcome::Overtaken(now)) => {
                self.settle_again(*now, change, line, retries_left - 1)
            }
            (_, SaveOutcome::Gone) => NextStep::Done(DispatchResult::Ended(before.key, MessageState::Expired)),
        }
    }

    fn follow_greeting_claim<L>(
        &self,
        mut write: Box<RowWrite>,
        outcome: ClaimOutcome<GreetingHistory>,
    ) -> NextStep<L> {
        match outcome {
            ClaimOutcome::Claimed => self.check_row(write.after),
            ClaimOutcome::RowChanged(Some(now)) => NextStep::Done(DispatchResult::Waiting(now.key, now.state)),
            ClaimOutcome::RowChanged(None) | ClaimOutcome::DependencyChanged(_) => {
                NextStep::Done(DispatchResult::Ended(write.before.key, MessageState::Expired))
            }
            ClaimOutcome::OptedOut | ClaimOutcome::LimitReached => {
                // Claimed like any other row, only to record the opt-out.
                write.purpose = WritePurpose::Record(self.supersede(OPTED_OUT_REASON));
                NextStep::Save(write)
            }
        }
    }

    fn follow_reminder_claim<L>(&self, claim: ReminderClaim<L>, outcome: ClaimOutcome<Appointment>) -> NextStep<L> {
        let ReminderClaim { write, access, is_retry } = claim;
        let RowWrite { mut before, after, .. } = *write;
        match outcome {
            ClaimOutcome::Claimed => NextStep::Submit(after, access),
            ClaimOutcome::RowChanged(Some(now)) => NextStep::Done(DispatchResult::Waiting(now.key, now.state)),
            ClaimOutcome::RowChanged(None) => NextStep::Done(DispatchResult::Ended(before.key, MessageState::Expired)),
            // A row was counted when it was opened, so a limit is never reached here.
            ClaimOutcome::OptedOut | ClaimOutcome::LimitReached => {
                self.claim(before, WritePurpose::Record(self.supersede(OPTED_OUT_REASON)))
            }
            // The header was written again, and the reminder may still be true.
            ClaimOutcome::DependencyChanged(Some(known)) if reminder_is_true(&before, &known) => {
                if is_retry {
                    return NextStep::GiveUp(before.key);
                }
                before.generation = Some(known.generation);
                self.claim_reminder(before, access, true)
            }
            ClaimOutcome::DependencyChanged(_) => {
                let change = self.supersede((
                    StepCode::AppointmentChanged,
                    "the appointment was moved or cancelled before the reminder was due",
                ));
                self.claim(before, WritePurpose::Record(change))
            }
        }
    }

    /// Checks a claimed row before it is sent.
    fn check_row<L>(&self, row: LedgerRow) -> NextStep<L> {
        match self.hold_in_quiet_hours(&row) {
            Some(change) => self.settle(row, change),
            None => NextStep::ReadHistory { row, read_at: self.now },
        }
    }

    fn use_slot<L>(&self, row: LedgerRow, read_at: Timestamp, slot: SlotReservation) -> NextStep<L> {
        let (recent_health, drop_before) = match slot {
            SlotReservation::Granted { recent_health, drop_before } => (recent_health, drop_before),
            SlotReservation::Blocked(_) if row.is_reminder() => return postpone_reminder(row),
            SlotReservation::Blocked(blocked) => {
                return self.hold_for_line(row, blocked.into(), LineCondition::Blocked);
            }
        };
        if drop_before.is_some_and(|before| row.created_at < before) {
            let change = self.supersede(DROPPED_REASON);
            match (row.is_reminder(), row.may_have_arrived()) {
                (true, true) => return NextStep::Done(DispatchResult::Waiting(row.key, row.state)),
                (true, false) => return self.claim(row, WritePurpose::Record(change)),
                (false, true) => {}
                (false, false) => return self.settle(row, change),
            }
        }
        // The wait for a slot may be long enough for the history to change. A reminder is true
        // while its claim succeeds.
        if row.is_reminder() || self.now.duration_since(read_at) < HISTORY_MAX_AGE {
            return NextStep::OpenLine { row, recent_health };
        }
        match self.hold_in_quiet_hours(&row) {
            Some(change) => self.settle(row, change),
            None => NextStep::Recheck { row, recent_health },
        }
    }

    fn follow_submit<L>(&self, row: LedgerRow, outcome: SendOutcome) -> NextStep<L> {
        let owner = self.owner.clone();
        match outcome {
            SendOutcome::Accepted { provider_id } => self.settle(row, RowChange::Accept { owner, provider_id }),
            SendOutcome::Refused(reason) => self.settle(row, RowChange::Refuse { owner, reason }),
            SendOutcome::Conflict(text) => {
                let reason = Reason::new(StepCode::KeyConflict, text);
                self.settle(row, RowChange::Conflict { owner, reason })
            }
            SendOutcome::RateLimited { retry_after } => {
                let wait = retry_after.unwrap_or(SignedDuration::from_mins(1)).max(SignedDuration::from_secs(1));
                NextStep::DelayLine(row, self.now + wait)
            }
            SendOutcome::Unauthorized => NextStep::BlockLine(row),
            SendOutcome::NotSent(text) => {
                let until = self.now + SignedDuration::from_mins(NOT_SENT_RETRY_MINUTES);
                let reason = Reason::new(StepCode::NotSent, text);
                self.hold_for_line(row, LineUnavailable { until, reason }, LineCondition::Unanswered)
            }
            SendOutcome::Unknown(reason) => {
                let retry_at = self.now + PROVIDER.facts().unknown_outcome.retry_delay(row.attempts);
                let change = RowChange::OutcomeUnknown { owner, retry_at, reason };
                self.settle_again(row, change, LineCondition::Unanswered, MAX_SETTLE_RETRIES)
            }
        }
    }

    fn hold_for_line<L>(&self, row: LedgerRow, unavailable: LineUnavailable, line: LineCondition) -> NextStep<L> {
        let change = self.hold_until(unavailable.until, unavailable.reason);
        self.settle_again(row, change, line, MAX_SETTLE_RETRIES)
    }

    fn hold_until(&self, until: Timestamp, reason: Reason) -> RowChange {
        RowChange::Hold { owner: self.owner.clone(), until, reason }
    }

    fn settle<L>(&self, row: LedgerRow, change: RowChange) -> NextStep<L> {
        self.settle_again(row, change, LineCondition::Open, MAX_SETTLE_RETRIES)
    }

    /// Applies a change to a row, or to the row that replaced it meanwhile, as long as the change
    /// is allowed.
    fn settle_again<L>(
        &self,
        before: LedgerRow,
        change: RowChange,
        line: LineCondition,
        retries_left: u8,
    ) -> NextStep<L> {
        match apply_change(&before, &change, self.now) {
            Ok(after) => {
                let purpose = WritePurpose::Settle { change, line, retries_left };
                NextStep::Save(Box::new(RowWrite { before, after, purpose }))
            }
            // Another invocation holds it, or it is settled. That write stands.
            Err(
                TransitionRefused::Settled
                | TransitionRefused::HeldByAnother
                | TransitionRefused::NotClaimed
                | TransitionRefused::NotDue,
            ) => NextStep::Done(DispatchResult::AlreadyKnown(before.key, before.state)),
        }
    }

    /// The write by which a newer lead takes the place of a greeting that waits.
    fn replace_waiting(&self, before: LedgerRow, by_lead: &str) -> Option<RowWrite> {
        let reason = format!("the same person submitted {by_lead} later, which is greeted instead");
        let change = RowChange::Replace { reason };
        let after = apply_change(&before, &change, self.now).ok()?;
        Some(RowWrite { before, after, purpose: WritePurpose::Record(change) })
    }

    /// The change for a claimed row that its history does not allow to be sent.
    fn find_obstacle(&self, row: &LedgerRow, history: &[LedgerRow]) -> Option<RowChange> {
        decide_message(row, history, self.now).into_change(self.owner.clone())
    }

    fn hold_in_quiet_hours(&self, row: &LedgerRow) -> Option<RowChange> {
        let until = self.find_quiet_hours_end(row.ignores_quiet_hours, row.zone.as_deref())?;
        Some(self.hold_until(until, Reason::quiet_hours()))
    }

    /// The end of the quiet hours that hold a message now.
    fn find_quiet_hours_end(&self, ignores_quiet_hours: bool, zone: Option<&str>) -> Option<Timestamp> {
        if ignores_quiet_hours { None } else { self.config.quiet_hours_end_in_zone(zone, self.now) }
    }

    /// The change for a row that is no longer useful, even if a crashed invocation holds it.
    fn expire_if_late(&self, row: &LedgerRow) -> Option<RowChange> {
        (row.useful_until <= self.now).then(|| RowChange::Expire { owner: Some(self.owner.clone()) })
    }

    fn supersede(&self, (code, text): (StepCode, &str)) -> RowChange {
        RowChange::Supersede { owner: self.owner.clone(), reason: Reason::new(code, text) }
    }
}

/// The result of a reminder whose line is blocked. It stays due, so nothing has to be written.
fn postpone_reminder<L>(row: LedgerRow) -> NextStep<L> {
    NextStep::Done(DispatchResult::LineBlocked(row.key, row.state))
}

/// Whether a reminder is still true for this header.
fn reminder_is_true(row: &LedgerRow, known: &Appointment) -> bool {
    row.text_zone.as_ref() == Some(&known.zone)
        && row
            .instance
            .as_deref()
            .zip(row.to.as_ref())
            .is_some_and(|(instance, phone)| known.is_still_valid(instance, phone))
}
