//! How a greeting gets its row: the contact's greetings decide whether it is sent.

use jiff::SignedDuration;

use super::{MessageDriver, NextStep, RowWrite};
use crate::{
    client_config::{LeadLimit, RepeatAction, RepeatRule},
    dispatch::dispatch_result::{DispatchResult, GreetingResult},
    greeting::{Greeting, GreetingDecision, GreetingHistory},
    ledger::{ClaimOutcome, LedgerRow, MessageState, OutboundMessage, Reason, StepCode},
};

/// A waiting greeting gives way to a newer lead that is useful for so much longer. A lead that is
/// submitted twice in a row keeps its first greeting.
const MIN_LONGER_USE: SignedDuration = SignedDuration::from_mins(1);
/// Attempts when other invocations write the contact's greetings at the same time.
const MAX_ATTEMPTS: u8 = 8;

/// Rules for a contact who was greeted before.
#[derive(Debug, Clone, Copy)]
pub struct GreetingRules {
    /// When a lead counts as a repeat.
    pub repeat: RepeatRule,
    /// How many greetings one number may get.
    pub per_phone: LeadLimit,
}

/// A greeting without a row.
#[derive(Debug)]
pub struct GreetingOpening<'a> {
    /// The row to open.
    pub row: LedgerRow,
    /// The contact's greetings, as they are known.
    pub history: GreetingHistory,
    form: &'a str,
    rules: GreetingRules,
    tries_left: u8,
}

/// What to do next about a greeting without a row.
#[derive(Debug)]
pub enum OpenGreetingStep<'a, L> {
    /// Read the row of an earlier greeting.
    ReadRow(GreetingOpening<'a>, Greeting),
    /// Write this change of an earlier greeting that waits, then read its row.
    Replace(GreetingOpening<'a>, Greeting, Box<RowWrite>),
    /// Open the row and write these greetings over the known ones, in one transaction.
    Open(GreetingOpening<'a>, GreetingHistory),
    /// Open a row that says why the lead is not greeted. This is the result if the row is new.
    Suppress(LedgerRow, GreetingResult),
    /// Dispatch the greeting like any other message.
    Dispatch(NextStep<L>),
    /// Nothing: the contact has opted out.
    OptedOut,
}

impl<'a> GreetingOpening<'a> {
    /// The opening of a greeting, and its first step. `form` is the form's name. Most contacts are
    /// new, so that case is tried before anything is read.
    pub fn begin<L>(
        driver: &MessageDriver<'_>,
        message: &OutboundMessage,
        form: &'a str,
        rules: GreetingRules,
    ) -> OpenGreetingStep<'a, L> {
        let mut row = driver.build_row(message);
        // If this function crashes, a repeated delivery may stop earlier, because its form may be
        // held by then.
        row.due_at = row.due_at.or(row.lease_until);
        Self { row, history: GreetingHistory::default(), form, rules, tries_left: MAX_ATTEMPTS }.decide(driver)
    }

    fn decide<L>(mut self, driver: &MessageDriver<'_>) -> OpenGreetingStep<'a, L> {
        if self.tries_left == 0 {
            return OpenGreetingStep::Dispatch(NextStep::GiveUp(self.row.key));
        }
        self.tries_left -= 1;
        let lead = self.row.key.subject().to_owned();
        let next = Greeting { form: self.form.to_owned(), lead, at: driver.now };
        match self.history.decide_greeting(&next, self.rules.repeat, self.rules.per_phone) {
            GreetingDecision::Greet(after) => OpenGreetingStep::Open(self, after),
            GreetingDecision::Repeat(before) => OpenGreetingStep::ReadRow(self, before),
            GreetingDecision::TooOften(limit) => {
                let text = format!("too-often: this number was greeted {} times already", limit.leads);
                self.suppress(Reason::new(StepCode::TooOften, text), GreetingResult::LimitReached)
            }
        }
    }

    /// The step after [`OpenGreetingStep::ReadRow`].
    pub fn follow_read<L>(
        mut self,
        driver: &MessageDriver<'_>,
        before: &Greeting,
        row: Option<LedgerRow>,
    ) -> OpenGreetingStep<'a, L> {
        let is_same_lead = before.lead == self.row.key.subject();
        match row {
            Some(there) if is_same_lead => self.repeat(driver, there),
            // The row's ttl has passed. The greeting was sent long ago.
            None if is_same_lead => OpenGreetingStep::Dispatch(NextStep::Done(DispatchResult::AlreadyKnown(
                self.row.key,
                MessageState::Expired,
            ))),
            Some(there) if !is_sent_or_pending(&there) => {
                self.history = self.history.without_lead(&before.lead);
                self.decide(driver)
            }
            Some(there) if self.outlives(&there) => match driver.replace_waiting(there, self.row.key.subject()) {
                Some(write) => OpenGreetingStep::Replace(self, before.clone(), Box::new(write)),
                None => self.suppress_repeat(before),
            },
            // A row outlives every window, so a missing row does not undo the greeting.
            Some(_) | None => self.suppress_repeat(before),
        }
    }

    /// Whether this lead should be greeted in place of an earlier one that still waits. Otherwise
    /// the earlier greeting may expire, and the person gets none. A lead that asks twice and is
    /// handled in person stays a repeat.
    fn outlives(&self, waiting: &LedgerRow) -> bool {
        waiting.state == MessageState::Held
            && !waiting.may_have_arrived()
            && self.rules.repeat.then == RepeatAction::Record
            && self.row.useful_until.duration_since(waiting.useful_until) > MIN_LONGER_USE
    }

    /// The step after [`OpenGreetingStep::Open`].
    pub fn follow_open<L>(
        mut self,
        driver: &MessageDriver<'_>,
        outcome: ClaimOutcome<GreetingHistory>,
    ) -> OpenGreetingStep<'a, L> {
        match outcome {
            ClaimOutcome::Claimed => OpenGreetingStep::Dispatch(driver.begin_row(self.row)),
            // Only reminders are counted.
            ClaimOutcome::OptedOut | ClaimOutcome::LimitReached => OpenGreetingStep::OptedOut,
            ClaimOutcome::RowChanged(Some(there)) => self.repeat(driver, *there),
            ClaimOutcome::DependencyChanged(now) => {
                self.history = now.map(|now| *now).unwrap_or_default();
                self.decide(driver)
            }
            ClaimOutcome::RowChanged(None) => self.decide(driver),
        }
    }

    fn repeat<L>(self, driver: &MessageDriver<'_>, before: LedgerRow) -> OpenGreetingStep<'a, L> {
        OpenGreetingStep::Dispatch(driver.repeat_message(before, &self.row))
    }

    fn suppress_repeat<L>(self, before: &Greeting) -> OpenGreetingStep<'a, L> {
        let reason = Reason::new(StepCode::AlreadyGreeted, before.already_greeted_reason());
        self.suppress(reason, GreetingResult::AlreadyGreeted)
    }

    fn suppress<L>(self, reason: Reason, result: GreetingResult) -> OpenGreetingStep<'a, L> {
        let row = LedgerRow {
            state: MessageState::Suppressed,
            payload: None,
            owner: None,
            lease_until: None,
            due_at: None,
            reason: Some(reason.text),
            ..self.row
        };
        OpenGreetingStep::Suppress(row.begin_trail(reason.code), result)
    }
}

/// Whether a greeting was sent, may have been sent, or still will be.
fn is_sent_or_pending(row: &LedgerRow) -> bool {
    row.may_have_arrived()
        || match row.state {
            MessageState::Held
            | MessageState::Claimed
            | MessageState::Unknown
            | MessageState::Accepted
            | MessageState::NeedsHuman => true,
            MessageState::Refused
            | MessageState::Superseded
            | MessageState::Expired
            | MessageState::Suppressed
            | MessageState::Incomplete => false,
        }
}
