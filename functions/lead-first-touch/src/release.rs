//! Letting go what was held: a human has looked at a form's leads, and says what becomes of them.
//!
//! The function is invoked by hand (`aws lambda invoke`, the console of a local run) with `{"release": "form"}` to greet
//! whoever waits, or `{"drop": "form"}` to greet none of them. Either way the form greets again from then on. With
//! `{"replay": {"form": "form", "outcome": "credential-refused"}}` every delivery whose outcome begins so goes through once
//! more, after whatever was wrong is mended.

use serde::{Deserialize, Serialize};
use shared::{clock::Deadline, inbox::InboxError, ledger::LedgerError};

use crate::{
    Greeter,
    greet::{DROPPED, HELD},
};

/// With less time left than this no further page of the inbox is looked at.
const TIME_FOR_A_PAGE: std::time::Duration = std::time::Duration::from_secs(5);

/// What a human says of a form's leads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
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
pub struct Done {
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
pub enum ReleaseError {
    /// There is no such form.
    #[error("the configuration has no form `{0}`")]
    NoSuchForm(String),
    /// Every outcome begins with nothing.
    #[error("say how the outcomes begin, like \"credential-refused\"")]
    NoOutcome,
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

impl Greeter {
    /// Does what a human says of a form's leads.
    pub(crate) async fn release(&self, order: Order, deadline: Deadline) -> Result<Done, ReleaseError> {
        let (form, outcome, held) = match order {
            Order::Release(form) => (form, HELD.to_owned(), Some(true)),
            Order::Drop(form) => (form, HELD.to_owned(), Some(false)),
            Order::Replay { form, outcome } => (form, outcome, None),
        };
        if !self.teller.config.forms.contains_key(&form) {
            return Err(ReleaseError::NoSuchForm(form));
        }
        if outcome.trim().is_empty() {
            return Err(ReleaseError::NoOutcome);
        }
        if let Some(greet) = held {
            // First, or the first of them would be counted, and held again.
            self.teller.ledger.open_form(&form, greet, self.teller.clock.now()).await?;
        }
        let mut done = Done { form, released: 0, dropped: 0, more: false };
        let mut from = None;
        loop {
            let (ids, next) = self.inbox.ended_as(&done.form, &outcome, from).await?;
            for id in ids {
                if held == Some(false) {
                    let now = self.teller.clock.now();
                    done.dropped += usize::from(self.inbox.amend(&id, HELD, DROPPED, now).await?);
                } else {
                    done.released += usize::from(self.inbox.replay(&id, &outcome).await?);
                }
            }
            match next {
                None => break,
                Some(_) if deadline.remaining() < TIME_FOR_A_PAGE => {
                    done.more = true;
                    break;
                }
                next => from = next,
            }
        }
        tracing::info!(
            form.name = done.form,
            leads.released = done.released,
            leads.dropped = done.dropped,
            "somebody has said what becomes of a form's leads"
        );
        Ok(done)
    }
}
