//! Operator commands for the leads of a form that were held for review.
//!
//! An operator invokes the function (`aws lambda invoke`, or the console of a local run) with one
//! of these payloads:
//!
//! - `{"release": "form"}` greets the held leads.
//! - `{"drop": "form"}` greets none of them.
//! - `{"replay": {"form": "form", "outcome": "credential-refused"}}` processes again every delivery
//!   whose outcome has that code, after the operator has fixed the cause.
//!
//! After a release or a drop, the form greets new leads again.

use serde::{Deserialize, Serialize};
use tellonce_core::{
    clock::Deadline,
    dispatch::Dispatcher,
    inbox::{Inbox, InboxError},
    ledger::LedgerError,
};

use crate::lead_outcome::LeadOutcome;

/// With less time left than this, no further page of the inbox is read.
const MIN_TIME_FOR_PAGE: std::time::Duration = std::time::Duration::from_secs(5);

/// The command of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeadCommand {
    /// Greet the held leads of this form.
    Release(String),
    /// Greet none of the held leads of this form.
    Drop(String),
    /// Process deliveries with this outcome again.
    Replay {
        /// The form.
        form: String,
        /// The code of the outcome.
        outcome: String,
    },
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorSummary {
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
    ) -> Result<OperatorSummary, LeadOperatorError> {
        let held = LeadOutcome::HeldForReview.code();
        let (form, outcome, decision) = match command {
            LeadCommand::Release(form) => (form, held.to_owned(), Some(true)),
            LeadCommand::Drop(form) => (form, held.to_owned(), Some(false)),
            LeadCommand::Replay { form, outcome } => (form, outcome, None),
        };
        if !self.dispatcher.config.forms.contains_key(&form) {
            return Err(LeadOperatorError::UnknownForm(form));
        }
        if let Some(greets_leads) = decision {
            // The form resumes first. Otherwise the first released lead would be counted and held
            // again.
            self.dispatcher.ledger.resume_form(&form, greets_leads, self.dispatcher.clock.now()).await?;
        }
        let mut summary = OperatorSummary { form, released: 0, dropped: 0, more: false };
        let dropped_outcome = LeadOutcome::Dropped.into();
        let mut page_start = None;
        loop {
            let (ids, next) = self.inbox.find_by_outcome(&summary.form, &outcome, page_start).await?;
            for id in ids {
                if decision == Some(false) {
                    let now = self.dispatcher.clock.now();
                    summary.dropped += usize::from(self.inbox.replace_outcome(&id, held, &dropped_outcome, now).await?);
                } else {
                    summary.released += usize::from(self.inbox.replay_delivery(&id, &outcome).await?);
                }
            }
            match next {
                None => break,
                Some(_) if deadline.remaining() < MIN_TIME_FOR_PAGE => {
                    summary.more = true;
                    break;
                }
                next => page_start = next,
            }
        }
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
