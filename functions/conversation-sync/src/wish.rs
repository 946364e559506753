//! What a human says by `aws lambda invoke`.
//!
//! `{"opt_in": "+972545550199"}` takes a customer's opt-out back, `{"opt_out": "…"}` writes one down, and
//! `{"retry": "crm:hubspot"}` has a CRM, or a target, told once more of everything that it refused.

use serde::{Deserialize, Serialize};
use shared::{
    contact::{Phone, PhoneError},
    fault::chain,
    ledger::LedgerError,
};

use crate::{
    Sync,
    store::StoreError,
    task::{Task, refused},
};

/// How much of what was refused is tried again at once.
const AT_ONCE: i32 = 500;

/// What is wanted. Numbers are E.164.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// They may be written to again.
    OptIn(String),
    /// They are not to be written to.
    OptOut(String),
    /// A queue whose refused tasks are to be tried again: `crm:{name}` or `target:{name}`.
    Retry(String),
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// To a customer's wish.
    Wish {
        /// Whether it was otherwise before.
        changed: bool,
    },
    /// To what was refused.
    Retried {
        /// How many tasks wait again.
        retried: usize,
        /// Whether there may be more: say it again.
        more: bool,
    },
}

/// It could not be done.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// Nothing that is known.
    #[error("say {{\"opt_in\": \"+972…\"}}, {{\"opt_out\": \"+972…\"}} or {{\"retry\": \"crm:…\"}}")]
    Unknown,
    /// Not a phone number.
    #[error("write the number with its country, like +972545550199: {0}")]
    Phone(#[from] PhoneError),
    /// No such queue.
    #[error("the configuration has no such queue; those it has are {0}")]
    NoSuchQueue(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sync {
    /// Does what is wanted.
    pub async fn grant(&self, wish: &Wish) -> Result<Done, WishError> {
        match wish {
            Wish::OptIn(phone) => self.write_wish(phone, false).await,
            Wish::OptOut(phone) => self.write_wish(phone, true).await,
            Wish::Retry(queue) => self.retry(queue).await,
        }
    }

    async fn write_wish(&self, phone: &str, out: bool) -> Result<Done, WishError> {
        let Self { teller, .. } = self;
        let (contact, now) = (teller.ledger.contact(&Phone::from_e164(phone)?), teller.clock.now());
        let changed =
            if out { teller.ledger.opt_out(&contact, now).await? } else { teller.ledger.opt_in(&contact, now).await? };
        tracing::info!(contact = contact, opted_out = out, changed, "somebody wrote down a customer's wish");
        Ok(Done::Wish { changed })
    }

    async fn retry(&self, queue: &str) -> Result<Done, WishError> {
        if !self.courier.queues().any(|name| name == queue) {
            return Err(WishError::NoSuchQueue(self.courier.queues().collect::<Vec<_>>().join(", ")));
        }
        let (store, now) = (&self.courier.store, self.teller.clock.now());
        let found = store.due(&refused(queue), now, AT_ONCE).await?;
        let mut retried = 0;
        for place in &found {
            let again = |before: Option<&Task>| {
                let next = before.and_then(|task| task.again(now));
                let changed = next.is_some();
                (next, changed)
            };
            // What is wrong with one row holds up no other.
            match store.change(place, again).await {
                Ok(changed) => retried += usize::from(changed),
                Err(error) => tracing::error!(task.id = %place, "{}", chain(&error)),
            }
        }
        let more = usize::try_from(AT_ONCE).is_ok_and(|most| found.len() >= most);
        tracing::info!(queue = queue, retried, "somebody had what was refused tried again");
        Ok(Done::Retried { retried, more })
    }
}
