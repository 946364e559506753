//! Letting go what was held: a human has looked at a form's leads, and says what becomes of them.
//!
//! The function is invoked by hand (`aws lambda invoke`, the console of a local run) with `{"release": "form"}` to greet
//! whoever waits, or `{"drop": "form"}` to greet none of them. Either way the form greets again from then on. With
//! `{"replay": {"form": "form", "outcome": "credential-refused"}}` every delivery whose outcome begins so goes through once
//! more, after whatever was wrong is mended.

use serde::{Deserialize, Serialize};
use tellonce_core::{clock::Deadline, inbox::InboxError, ledger::LedgerError};

use crate::{
    LeadGreeter,
    lead_flow::{DROPPED_OUTCOME, HELD_OUTCOME},
};

/// With less time left than this no further page of the inbox is looked at.
const MIN_TIME_FOR_PAGE: std::time::Duration = std::time::Duration::from_secs(5);

/// What a human says of a form's leads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorCommand {
    /// Greet them.
    Release(String),
    /// Greet none of them.
    Drop(String),
    /// Take deliveries through again that ended in one way.
    Replay {
        /// The form.
        form: String,
        /// How their outcome begins.
        outcome: String,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorSummary {
    /// The form.
    pub form: String,
    /// Deliveries that go through now, each as if it had just come in.
    pub released: usize,
    /// Deliveries that nobody is greeted for.
    pub dropped: usize,
    /// Whether the time was up before all were seen: say it again.
    pub more: bool,
}

/// It could not be done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no such form.
    #[error("the configuration has no form `{0}`")]
    UnknownForm(String),
    /// Every outcome begins with nothing.
    #[error("say how the outcomes begin, like \"credential-refused\"")]
    EmptyOutcome,
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

impl LeadGreeter {
    /// Does what a human says of a form's leads.
    pub(crate) async fn run_operator_command(
        &self,
        command: OperatorCommand,
        deadline: Deadline,
    ) -> Result<OperatorSummary, OperatorError> {
        let (form, outcome, decision) = match command {
            OperatorCommand::Release(form) => (form, HELD_OUTCOME.to_owned(), Some(true)),
            OperatorCommand::Drop(form) => (form, HELD_OUTCOME.to_owned(), Some(false)),
            OperatorCommand::Replay { form, outcome } => (form, outcome, None),
        };
        if !self.dispatcher.config.forms.contains_key(&form) {
            return Err(OperatorError::UnknownForm(form));
        }
        if outcome.trim().is_empty() {
            return Err(OperatorError::EmptyOutcome);
        }
        if let Some(greets_leads) = decision {
            // First, or the first of them would be counted, and held again.
            self.dispatcher.ledger.resume_form(&form, greets_leads, self.dispatcher.clock.now()).await?;
        }
        let mut summary = OperatorSummary { form, released: 0, dropped: 0, more: false };
        let mut page_start = None;
        loop {
            let (ids, next) = self.inbox.find_by_outcome(&summary.form, &outcome, page_start).await?;
            for id in ids {
                if decision == Some(false) {
                    let now = self.dispatcher.clock.now();
                    summary.dropped +=
                        usize::from(self.inbox.replace_outcome(&id, HELD_OUTCOME, DROPPED_OUTCOME, now).await?);
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
            "somebody has said what becomes of a form's leads"
        );
        Ok(summary)
    }
}
