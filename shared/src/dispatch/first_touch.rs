//! Sends first touches: a contact is greeted once, however many invocations process the lead.

use jiff::{SignedDuration, Timestamp};

use super::{DispatchError, DispatchResult, Dispatcher, Invocation, OPTED_OUT_REASON, SendSlots};
use crate::{
    client_config::{LeadLimit, RepeatRule},
    greeting::{Greeting, GreetingDecision, GreetingHistory},
    ledger::{
        ClaimOutcome, ClaimOwner, Content, IdempotencyKey, LedgerRow, MessageState, OpenOutcome, OutboundMessage,
        RowChange, SaveOutcome,
    },
};

/// Name in [`crate::ledger::MessageContext::values`] of the time when an operator released a lead.
pub const RELEASED_AT: &str = "released_at";

/// Attempts when other invocations write the contact's greetings at the same time.
const MAX_TRIES: usize = 8;

/// Rules for a contact who was greeted before.
#[derive(Debug, Clone, Copy)]
pub struct GreetingRules {
    /// When a lead counts as a repeat.
    pub repeat: RepeatRule,
    /// How many greetings one number may get.
    pub per_phone: LeadLimit,
}

/// The outcome of a greeting, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstTouchDispatchResult {
    /// Its row is in the ledger, with this outcome.
    Dispatched(DispatchResult),
    /// The contact was already greeted, and nothing is sent. The row names the lead.
    AlreadyGreeted,
    /// The number has reached the limit of greetings, and nothing is sent. The row says so.
    LimitReached,
    /// The contact has opted out. No row was opened.
    OptedOut,
}

impl Dispatcher {
    /// Sends a greeting, once. One transaction opens the lead's row and records the greeting. It
    /// fails if the contact was greeted meanwhile or has opted out. `form` is the form's name.
    /// `message` has a payload and a number.
    pub async fn dispatch_first_touch(
        &self,
        invocation: &Invocation,
        message: &OutboundMessage,
        form: &str,
        rules: GreetingRules,
    ) -> Result<FirstTouchDispatchResult, DispatchError> {
        self.find_line(&message.line, &message.key)?;
        let slots = &mut SendSlots::for_messages(1);
        let contact = self.contact_subject(message.to.as_ref());
        // Most contacts are new, so that case is tried before anything is read.
        let mut history = GreetingHistory::default();
        for _ in 0..MAX_TRIES {
            let now = self.clock.now();
            let next = Greeting { form: form.to_owned(), lead: message.key.subject().to_owned(), at: now };
            let mut row = LedgerRow::from_message(
                message,
                message.key.clone(),
                invocation.owner.clone(),
                invocation.lease_until(now),
                now,
            );
            // If this function crashes, a repeated delivery may stop earlier, because its form may
            // be held by then.
            row.due_at = row.due_at.or(row.lease_until);
            let after = match history.decide_greeting(&next, rules.repeat, rules.per_phone) {
                GreetingDecision::Greet(after) => after,
                GreetingDecision::Repeat(before) if before.lead == next.lead => {
                    return match self.ledger.read_row(&message.key).await? {
                        Some(there) => self
                            .dispatch_existing_row(invocation, slots, there, &row)
                            .await
                            .map(FirstTouchDispatchResult::Dispatched),
                        // The row's ttl has passed. The greeting was sent long ago.
                        None => Ok(FirstTouchDispatchResult::Dispatched(DispatchResult::AlreadyKnown(
                            message.key.clone(),
                            MessageState::Expired,
                        ))),
                    };
                }
                GreetingDecision::Repeat(before) if !self.is_sent_or_pending(&before).await? => {
                    history = history.without_lead(&before.lead);
                    continue;
                }
                GreetingDecision::Repeat(before) => {
                    let reason = before.already_greeted_reason();
                    return Ok(self
                        .record_suppressed(invocation, slots, message, reason)
                        .await?
                        .unwrap_or(FirstTouchDispatchResult::AlreadyGreeted));
                }
                GreetingDecision::TooOften(limit) => {
                    let reason = format!("too-often: this number was greeted {} times already", limit.leads);
                    return Ok(self
                        .record_suppressed(invocation, slots, message, reason)
                        .await?
                        .unwrap_or(FirstTouchDispatchResult::LimitReached));
                }
            };
            match self.ledger.open_greeting(&row, &history, &after, &contact).await? {
                ClaimOutcome::Claimed => {
                    return self
                        .dispatch_new_row(invocation, slots, row)
                        .await
                        .map(FirstTouchDispatchResult::Dispatched);
                }
                ClaimOutcome::OptedOut => return Ok(FirstTouchDispatchResult::OptedOut),
                ClaimOutcome::RowChanged(Some(there)) => {
                    return self
                        .dispatch_existing_row(invocation, slots, *there, &row)
                        .await
                        .map(FirstTouchDispatchResult::Dispatched);
                }
                ClaimOutcome::HeaderChanged(now) => history = now.map(|now| *now).unwrap_or_default(),
                ClaimOutcome::RowChanged(None) => {}
            }
        }
        Err(DispatchError::TooManyConflicts(message.key.clone()))
    }

    /// Records that a lead is not greeted, with the reason. Returns the outcome of the existing row
    /// if there is one.
    async fn record_suppressed(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        message: &OutboundMessage,
        reason: String,
    ) -> Result<Option<FirstTouchDispatchResult>, DispatchError> {
        let now = self.clock.now();
        let suppressed = OutboundMessage { content: Content::Suppressed(reason), ..message.clone() };
        let row = LedgerRow::from_message(
            &suppressed,
            message.key.clone(),
            invocation.owner.clone(),
            invocation.lease_until(now),
            now,
        );
        Ok(match self.ledger.open(&row).await? {
            OpenOutcome::New => None,
            OpenOutcome::Exists(there) => Some(FirstTouchDispatchResult::Dispatched(
                self.dispatch_existing_row(invocation, slots, *there, &row).await?,
            )),
        })
    }

    /// Whether a greeting was sent, may have been sent, or still will be.
    async fn is_sent_or_pending(&self, greeting: &Greeting) -> Result<bool, DispatchError> {
        let row = self.ledger.read_row(&IdempotencyKey::for_lead_subject(&greeting.lead)).await?;
        // A row outlives every window, so a missing row does not undo the greeting.
        let Some(row) = row else { return Ok(true) };
        Ok(row.may_have_arrived()
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
            })
    }

    /// Claims a greeting that waited. The inner `Err` is the outcome if it may not be sent.
    pub(super) async fn claim_greeting(
        &self,
        row: LedgerRow,
        next: LedgerRow,
    ) -> Result<Result<LedgerRow, DispatchResult>, DispatchError> {
        let contact = self.contact_subject(row.to.as_ref());
        Ok(match self.ledger.claim_greeting(&row, &next, &contact).await? {
            ClaimOutcome::Claimed => Ok(next),
            ClaimOutcome::RowChanged(Some(now)) => Err(DispatchResult::Waiting(now.key, now.state)),
            ClaimOutcome::RowChanged(None) | ClaimOutcome::HeaderChanged(_) => {
                Err(DispatchResult::Ended(row.key, MessageState::Expired))
            }
            ClaimOutcome::OptedOut => {
                // Claimed like any other row, only to record the opt-out.
                match self.ledger.save(&row, &next).await? {
                    SaveOutcome::Saved => {
                        let owner = next.owner.clone().unwrap_or(ClaimOwner(String::new()));
                        let reason = OPTED_OUT_REASON.to_owned();
                        Err(self.settle_row(next, &RowChange::Supersede { owner, reason }).await?)
                    }
                    SaveOutcome::Overtaken(now) => Err(DispatchResult::Waiting(now.key, now.state)),
                    SaveOutcome::Gone => Err(DispatchResult::Ended(row.key, MessageState::Expired)),
                }
            }
        })
    }

    /// Whether the contact of a greeting has opted out.
    pub(super) async fn has_opted_out(&self, row: &LedgerRow) -> Result<bool, DispatchError> {
        Ok(row.key.is_first_touch() && self.ledger.has_opted_out(&self.contact_subject(row.to.as_ref())).await?)
    }

    /// How long a lead has waited for an accepted greeting, in seconds: from the submission, from
    /// the end of the quiet hours in which it arrived, or from its release by an operator.
    pub(super) fn seconds_waited(&self, row: &LedgerRow) -> f64 {
        let quiet_until = self
            .config
            .quiet_hours_end_in_zone(row.zone.as_deref(), row.occurred_at)
            .filter(|_| !row.ignores_quiet_hours);
        let released = row.context.values.get(RELEASED_AT).and_then(|at| at.parse().ok());
        let from: Timestamp = [quiet_until, released].into_iter().flatten().fold(row.occurred_at, Timestamp::max);
        row.updated_at.duration_since(from).max(SignedDuration::ZERO).as_secs_f64()
    }
}
