//! Operator commands: what becomes of held leads, and replays.
//!
//! An operator invokes the function (`aws lambda invoke`, or the console of a local run) with one
//! of these payloads:
//!
//! - `{"release": "form"}` greets the held leads.
//! - `{"drop": "form"}` greets none of them.
//! - `{"replay": {…}}` processes deliveries again: see [`tellonce_core::replay`].
//!
//! After a release or a drop, the form greets new leads again.

use serde::{Deserialize, Serialize};
use tellonce_core::{
    clock::Deadline,
    dispatch::Dispatcher,
    inbox::{DeliveryFilter, Inbox, InboxError, ListedDelivery},
    ledger::LedgerError,
    replay::{ReplayCommand, ReplayError, ReplaySummary, WalkEnd, count_changes, replay_deliveries, walk_inbox},
};

use crate::lead_outcome::LeadOutcome;

/// The command of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeadCommand {
    /// Greet the held leads of this form.
    Release(String),
    /// Greet none of the held leads of this form.
    Drop(String),
    /// Process deliveries again.
    Replay(ReplayCommand),
}

/// The response to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LeadCommandResult {
    /// Of a release or a drop.
    Held(HeldSummary),
    /// Of a replay.
    Replayed(ReplaySummary),
}

/// The result of a release or a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldSummary {
    /// The form.
    pub form: String,
    /// The number of deliveries that are processed again, as if they had just arrived.
    pub released: usize,
    /// The number of deliveries that were dropped.
    pub dropped: usize,
    /// Whether the time ran out before all deliveries were read. The operator then repeats the
    /// command.
    pub more: bool,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum LeadOperatorError {
    /// The configuration has no such form.
    #[error("form `{0}` is not configured")]
    UnknownForm(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The replay failed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// What operator commands may touch.
pub(crate) struct LeadOperator<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) inbox: &'a Inbox,
}

impl LeadOperator<'_> {
    /// Runs a command.
    pub(crate) async fn run_command(
        &self,
        command: LeadCommand,
        deadline: Deadline,
    ) -> Result<LeadCommandResult, LeadOperatorError> {
        Ok(match command {
            LeadCommand::Release(form) => LeadCommandResult::Held(self.decide_held(form, true, deadline).await?),
            LeadCommand::Drop(form) => LeadCommandResult::Held(self.decide_held(form, false, deadline).await?),
            LeadCommand::Replay(replay) => LeadCommandResult::Replayed(
                replay_deliveries(self.inbox, &self.dispatcher.clock, &replay, deadline).await?,
            ),
        })
    }

    /// Releases or drops the held leads of a form.
    async fn decide_held(
        &self,
        form: String,
        greets_leads: bool,
        deadline: Deadline,
    ) -> Result<HeldSummary, LeadOperatorError> {
        if !self.dispatcher.config.forms.contains_key(&form) {
            return Err(LeadOperatorError::UnknownForm(form));
        }
        // The form resumes first. Otherwise the first released lead would be counted and held
        // again.
        self.dispatcher.ledger.resume_form(&form, greets_leads, self.dispatcher.clock.now()).await?;
        let held = LeadOutcome::HeldForReview.code();
        let dropped_outcome = LeadOutcome::Dropped.into();
        let filter = DeliveryFilter { sender: Some(&form), outcome: Some(held), ..DeliveryFilter::default() };
        let mut decided = 0;
        let act = async |some: &[ListedDelivery]| {
            let now = self.dispatcher.clock.now();
            let changes = some.iter().map(async |delivery| {
                if greets_leads {
                    self.inbox.replay_delivery(&delivery.id, Some(held), now).await
                } else {
                    self.inbox.replace_outcome(&delivery.id, held, &dropped_outcome, now).await
                }
            });
            decided += count_changes(changes).await?;
            Ok(true)
        };
        let WalkEnd { more, .. } = walk_inbox(self.inbox, &filter, None, deadline, act).await?;
        let (released, dropped) = if greets_leads { (decided, 0) } else { (0, decided) };
        let summary = HeldSummary { form, released, dropped, more };
        tracing::info!(
            form.name = summary.form,
            leads.released = summary.released,
            leads.dropped = summary.dropped,
            "operator released {} and dropped {} leads of form {}",
            summary.released,
            summary.dropped,
            summary.form
        );
        Ok(summary)
    }
}
