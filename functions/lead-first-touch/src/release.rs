//! Letting go what was held: a human has looked at a form's leads, and says what becomes of them.
//!
//! The function is invoked by hand (`aws lambda invoke`, the console of a local run) with `{"release": "form"}` to greet
//! whoever waits, or `{"drop": "form"}` to greet none of them. Either way the form greets again from then on.

use serde::{Deserialize, Serialize};
use shared::{clock::Deadline, inbox::InboxError, ledger::LedgerError};

use crate::{Greeter, greet::HELD};

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
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The form.
    pub form: String,
    /// Leads that are greeted now, each as if it had just come in.
    pub released: usize,
    /// Leads that nobody is greeted for.
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
        let (form, greet) = match order {
            Order::Release(form) => (form, true),
            Order::Drop(form) => (form, false),
        };
        if !self.teller.config.forms.contains_key(&form) {
            return Err(ReleaseError::NoSuchForm(form));
        }
        // First, or the first of them would be counted, and held again.
        self.teller.ledger.release_form(&form, self.teller.clock.now()).await?;
        let mut done = Done { form, released: 0, dropped: 0, more: false };
        let mut from = None;
        loop {
            let (held, next) = self.inbox.ended_as(&done.form, HELD, from).await?;
            for id in held {
                if greet {
                    done.released += usize::from(self.inbox.replay(&id, HELD).await?);
                } else {
                    let outcome = "dropped: somebody looked at it and dropped it";
                    self.inbox.record(&id, outcome, self.teller.clock.now()).await?;
                    done.dropped += 1;
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
            "somebody has looked at a form's leads"
        );
        Ok(done)
    }
}
