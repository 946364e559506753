//! A ledger in memory, for one preview.
//!
//! Executes the steps of [`MessageDriver`] as the functions do, over a line that accepts every
//! message. Time advances to the next delivery, and at the end of the preview to the last waiting
//! message. A waiting message is sent at its due time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::{
    appointment::Appointment,
    client_config::ClientConfig,
    contact::Phone,
    dispatch::{
        DispatchEvent, DispatchResult, GreetingOpening, GreetingResult, GreetingRules, LineOpening, MessageDriver,
        NextStep, OpenGreetingStep, OpenReminderStep, ReminderDispatchResult, ReminderOpening,
    },
    greeting::GreetingHistory,
    ledger::{
        ClaimOutcome, ClaimOwner, IdempotencyKey, LedgerRow, MessageState, OpenOutcome, OutboundMessage, SaveOutcome,
    },
    line::SlotReservation,
    provider::SendOutcome,
};

use super::report::{MessagePreview, preview_message};

const GRANTED_SLOT: SlotReservation = SlotReservation::Granted { recent_health: None, drop_before: None };

pub(super) struct InMemoryLedger<'a> {
    config: &'a ClientConfig,
    owner: ClaimOwner,
    rows: BTreeMap<IdempotencyKey, LedgerRow>,
    /// By phone number.
    greeting_histories: BTreeMap<String, GreetingHistory>,
}

impl<'a> InMemoryLedger<'a> {
    pub(super) fn new(config: &'a ClientConfig) -> Self {
        let owner = ClaimOwner("preview".to_owned());
        Self { config, owner, rows: BTreeMap::new(), greeting_histories: BTreeMap::new() }
    }

    /// All rows of a subject.
    pub(super) fn history(&self, subject: &str) -> Vec<LedgerRow> {
        self.rows.values().filter(|row| row.key.subject() == subject).cloned().collect()
    }

    /// The message that was sent under a key, or the reason why none was.
    pub(super) fn final_result(&self, key: &IdempotencyKey) -> Option<Result<MessagePreview, String>> {
        let row = self.rows.get(key)?;
        if row.state == MessageState::Accepted {
            return Some(Ok(preview_message(row, row.payload.as_ref()?, row.updated_at)));
        }
        let reason = row.reason.as_deref().unwrap_or_default();
        // The reasons of these two states begin with their own code.
        let has_own_code = matches!(row.state, MessageState::Suppressed | MessageState::Incomplete);
        Some(Err(if has_own_code { reason.to_owned() } else { format!("{}: {reason}", row.state.name()) }))
    }

    /// Opens a row for a message, unless its key is taken.
    pub(super) fn dispatch(&mut self, message: &OutboundMessage, now: Timestamp) -> DispatchResult {
        let row = self.driver(now).build_row(message);
        self.execute_steps(NextStep::Open { row, has_instance_key: false }, now)
    }

    /// Greets a number, unless its greetings forbid it.
    pub(super) fn dispatch_greeting(
        &mut self,
        message: &OutboundMessage,
        form: &str,
        rules: GreetingRules,
        now: Timestamp,
    ) -> GreetingResult {
        let number = message.to.as_ref().map_or("", Phone::expose).to_owned();
        let mut step = GreetingOpening::begin(&self.driver(now), message, form, rules);
        loop {
            step = match step {
                OpenGreetingStep::Open(opening, after) => {
                    let known = self.greeting_histories.get(&number).cloned().unwrap_or_default();
                    let outcome = match self.rows.get(&opening.row.key) {
                        Some(there) => ClaimOutcome::RowChanged(Some(Box::new(there.clone()))),
                        None if known.version != opening.history.version => {
                            ClaimOutcome::DependencyChanged(Some(Box::new(known)))
                        }
                        None => ClaimOutcome::Claimed,
                    };
                    if outcome == ClaimOutcome::Claimed {
                        self.store_row(opening.row.clone());
                        self.greeting_histories.insert(number.clone(), after);
                    }
                    opening.follow_open(&self.driver(now), outcome)
                }
                OpenGreetingStep::ReadRow(opening, before) => {
                    let row = self.rows.get(&IdempotencyKey::for_lead_subject(&before.lead)).cloned();
                    opening.follow_read(&self.driver(now), &before, row)
                }
                OpenGreetingStep::Replace(opening, before, write) => {
                    self.store_row(write.after);
                    OpenGreetingStep::ReadRow(opening, before)
                }
                OpenGreetingStep::Suppress(row, result) => {
                    return match self.execute_steps(NextStep::Open { row, has_instance_key: false }, now) {
                        DispatchResult::RecordedOnly(_) => result,
                        repeated => GreetingResult::Dispatched(repeated),
                    };
                }
                OpenGreetingStep::Dispatch(step) => {
                    return GreetingResult::Dispatched(self.execute_steps(step, now));
                }
                OpenGreetingStep::OptedOut => return GreetingResult::OptedOut,
            }
        }
    }

    /// Sends a reminder. The caller stores the header.
    pub(super) fn dispatch_reminder(
        &mut self,
        message: &OutboundMessage,
        before: &Appointment,
        after: &Appointment,
        now: Timestamp,
    ) -> ReminderDispatchResult {
        let opening = ReminderOpening { message, before, after };
        let mut step = opening.begin(&self.driver(now));
        loop {
            step = match step {
                OpenReminderStep::ReserveSlot => opening.follow_slot(GRANTED_SLOT),
                OpenReminderStep::OpenLine(_) => opening.follow_line(&self.driver(now), LineOpening::Open(())),
                OpenReminderStep::Open(row, access) => {
                    let outcome = match self.rows.get(&row.key) {
                        Some(there) => ClaimOutcome::RowChanged(Some(Box::new(there.clone()))),
                        None => ClaimOutcome::Claimed,
                    };
                    if outcome == ClaimOutcome::Claimed {
                        self.store_row(row.clone());
                    }
                    ReminderOpening::follow_open(row, access, outcome)
                }
                OpenReminderStep::SaveHeader(result) => {
                    return ReminderOpening::follow_header(result, SaveOutcome::Saved);
                }
                OpenReminderStep::Dispatch(step) => {
                    return ReminderDispatchResult::Opened(self.execute_steps(step, now));
                }
                OpenReminderStep::Done(result) => return result,
            }
        }
    }

    /// Lets time pass until `until`. Each message that is due before is sent, superseded or
    /// expired.
    pub(super) fn advance_to(&mut self, until: Timestamp) {
        loop {
            let due = self.rows.values().filter_map(|row| Some((row.due_at.filter(|due| *due <= until)?, row)));
            let first = due.min_by_key(|(due, row)| (*due, std::cmp::Reverse(row.priority)));
            let Some((now, row)) = first.map(|(due, row)| (due, row.clone())) else { return };
            let first = self.driver(now).next_step(DispatchEvent::Due(row));
            self.execute_steps(first, now);
        }
    }

    fn driver(&self, now: Timestamp) -> MessageDriver<'_> {
        MessageDriver { config: self.config, owner: &self.owner, lease_until: now, now }
    }

    /// Executes a step, and all steps that follow from it.
    fn execute_steps(&mut self, mut step: NextStep<()>, now: Timestamp) -> DispatchResult {
        loop {
            let event = match step {
                NextStep::Open { row, has_instance_key } => {
                    let outcome = match self.rows.get(&row.key) {
                        Some(before) => OpenOutcome::Exists(Box::new(before.clone())),
                        None => OpenOutcome::New,
                    };
                    if outcome == OpenOutcome::New {
                        self.store_row(row.clone());
                    }
                    DispatchEvent::Opened(row, has_instance_key, outcome)
                }
                NextStep::Save(write) => {
                    self.store_row(write.after.clone());
                    DispatchEvent::Saved(write, SaveOutcome::Saved)
                }
                NextStep::ClaimGreeting(write) => {
                    self.store_row(write.after.clone());
                    DispatchEvent::GreetingClaimed(write, ClaimOutcome::Claimed)
                }
                NextStep::ClaimReminder(claim) => {
                    self.store_row(claim.write.after.clone());
                    DispatchEvent::ReminderClaimed(claim, ClaimOutcome::Claimed)
                }
                NextStep::ReadHistory { row, read_at } => {
                    let history = self.history(row.key.subject());
                    DispatchEvent::HistoryRead(row, read_at, history)
                }
                NextStep::ReserveSlot { row, read_at } => DispatchEvent::SlotReserved(row, read_at, GRANTED_SLOT),
                NextStep::Recheck { row, recent_health } => {
                    let history = self.history(row.key.subject());
                    DispatchEvent::Rechecked { row, recent_health, has_opted_out: false, history }
                }
                NextStep::OpenLine { row, .. } => DispatchEvent::LineOpened(row, LineOpening::Open(())),
                NextStep::Submit(row, ()) => DispatchEvent::Sent(row, SendOutcome::Accepted { provider_id: None }),
                NextStep::Recorded { row, line } => return DispatchResult::of_row(row, line),
                NextStep::Done(result) => return result,
                // The line accepts every message, and there is no other worker.
                NextStep::DelayLine(row, _) | NextStep::BlockLine(row) => {
                    return DispatchResult::Waiting(row.key, row.state);
                }
                NextStep::GiveUp(key) => return DispatchResult::Waiting(key, MessageState::Held),
            };
            step = self.driver(now).next_step(event);
        }
    }

    fn store_row(&mut self, row: LedgerRow) {
        self.rows.insert(row.key.clone(), row);
    }
}
