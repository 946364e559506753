//! What a human says by `aws_errors lambda invoke`.
//!
//! `{"opt_in": "+972545550199"}` takes a customer's opt-out back, `{"opt_out": "…"}` writes one down, and
//! `{"retry_refused_tasks": "crm_name:build_hubspot"}` has a CRM, or a target, told once more of everything that it refused.

use serde::{Deserialize, Serialize};
use tellonce_core::{
    contact::{Phone, PhoneError},
    fault::error_chain,
    ledger::LedgerError,
};

use crate::{
    ConversationSync,
    record_store::RecordStoreError,
    task::{QueueTask, refused_queue_name},
};

/// How much of what was refused is tried again at once.
const TASKS_PER_RETRY: i32 = 500;

/// What is wanted. Numbers are E.164.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OperatorCommand {
    /// They may be written to again.
    OptIn(String),
    /// They are not to be written to.
    OptOut(String),
    /// A queue whose refused tasks are to be tried again: `crm_name:{name}` or `target:{name}`.
    Retry(String),
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum CommandResult {
    /// To a customer's wish.
    OptOutChange {
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
pub enum OperatorError {
    /// Nothing that is known.
    #[error("say {{\"opt_in\": \"+972…\"}}, {{\"opt_out\": \"+972…\"}} or {{\"retry\": \"crm:…\"}}")]
    UnknownCommand,
    /// Not a phone number.
    #[error("write the number with its country, like +972545550199: {0}")]
    InvalidPhone(#[from] PhoneError),
    /// No such queue.
    #[error("the configuration has no such queue; those it has are {0}")]
    UnknownQueue(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The table failed.
    #[error(transparent)]
    Store(#[from] RecordStoreError),
}

impl ConversationSync {
    /// Does what is wanted.
    pub async fn run_command(&self, command: &OperatorCommand) -> Result<CommandResult, OperatorError> {
        match command {
            OperatorCommand::OptIn(phone) => self.set_opt_out(phone, false).await,
            OperatorCommand::OptOut(phone) => self.set_opt_out(phone, true).await,
            OperatorCommand::Retry(queue) => self.retry_refused_tasks(queue).await,
        }
    }

    async fn set_opt_out(&self, phone: &str, is_opt_out: bool) -> Result<CommandResult, OperatorError> {
        let Self { dispatcher, .. } = self;
        let (contact, now) = (dispatcher.ledger.contact_subject(&Phone::from_e164(phone)?), dispatcher.clock.now());
        let changed = if is_opt_out {
            dispatcher.ledger.opt_out(&contact, now).await?
        } else {
            dispatcher.ledger.opt_in(&contact, now).await?
        };
        tracing::info!(contact = contact, opted_out = is_opt_out, changed, "somebody wrote down a customer's wish");
        Ok(CommandResult::OptOutChange { changed })
    }

    async fn retry_refused_tasks(&self, queue: &str) -> Result<CommandResult, OperatorError> {
        if !self.queue_worker.queue_names().any(|name| name == queue) {
            return Err(OperatorError::UnknownQueue(self.queue_worker.queue_names().collect::<Vec<_>>().join(", ")));
        }
        let (store, now) = (&self.queue_worker.store, self.dispatcher.clock.now());
        let refused_tasks = store.list_due(&refused_queue_name(queue), now, TASKS_PER_RETRY).await?;
        let mut retried = 0;
        for item_key in &refused_tasks {
            let retry_task = |before: Option<&QueueTask>| {
                let next = before.and_then(|task| task.retry(now));
                let changed = next.is_some();
                (next, changed)
            };
            // What is wrong with one row holds up no other.
            match store.update_record(item_key, retry_task).await {
                Ok(changed) => retried += usize::from(changed),
                Err(error) => tracing::error!(task.id = %item_key, "{}", error_chain(&error)),
            }
        }
        let more = usize::try_from(TASKS_PER_RETRY).is_ok_and(|most| refused_tasks.len() >= most);
        tracing::info!(queue = queue, retried, "somebody had what was refused tried again");
        Ok(CommandResult::Retried { retried, more })
    }
}
