//! Commands that an operator sends by `aws lambda invoke`.
//!
//! | command | effect |
//! | --- | --- |
//! | `{"contact": "+972545550199"}` | returns the subject of the customer's rows |
//! | `{"opt_in": "+972545550199"}` | removes the customer's opt-out |
//! | `{"opt_out": "+972545550199"}` | records an opt-out |
//! | `{"replay": {…}}` | processes deliveries again: see [`tellonce_core::replay`] |
//! | `{"person": {…}}` | finds or erases what is stored of a person: [`tellonce_core::person`] |
//! | `{"retry": "crm:hubspot"}` | lets all refused tasks of a CRM or target wait again |
//! | `{"drop": "crm:hubspot"}` | ends its waiting and its refused tasks without doing them |

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    clock::{Clock, Deadline},
    contact::{Lid, Phone, PhoneError},
    fault::error_chain,
    inbox::Inbox,
    ledger::{Ledger, LedgerError, refused_queue_name},
    person::{PersonCommand, PersonPage},
    replay::{ReplayCommand, ReplayError, ReplaySummary, replay_deliveries},
};

use crate::{
    person::{PersonSearch, PersonSearchError},
    record_store::{RecordStore, RecordStoreError, RecordUpdate},
    task::QueueTask,
};

/// The most tasks that one command reads at once.
const TASKS_PER_PAGE: i32 = 500;
/// Tasks wait for minutes or hours. So all of a queue are due before this.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24 * 400);

/// A command. Numbers are E.164.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SyncCommand {
    /// Returns the subject of a customer's rows.
    Contact(String),
    /// Removes a customer's opt-out.
    OptIn(String),
    /// Records a customer's opt-out.
    OptOut(String),
    /// Processes deliveries again.
    Replay(ReplayCommand),
    /// Retries the refused tasks of a queue: `crm:{name}` or `target:{name}`.
    Retry(String),
    /// Drops the waiting and the refused tasks of a queue, which `client.toml` need not have.
    Drop(String),
    /// Finds or erases what is stored of a person.
    Person(PersonCommand),
}

/// The result of a command.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum CommandResult {
    /// Of `contact`.
    Contact {
        /// The subject: `contact:{pseudonym}`.
        contact: String,
    },
    /// Of `opt_in` and `opt_out`.
    OptOutChange {
        /// Whether the opt-out changed.
        changed: bool,
    },
    /// Of `replay`.
    Replayed(ReplaySummary),
    /// Of `retry`.
    Retried {
        /// How many tasks wait again.
        retried: usize,
        /// Whether there may be more: repeat the command.
        more: bool,
    },
    /// Of `drop`.
    Dropped {
        /// How many tasks were dropped.
        dropped: usize,
        /// Whether there may be more: repeat the command.
        more: bool,
    },
    /// Of `person`.
    Person(PersonPage),
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncOperatorError {
    /// Not a known command.
    #[error(
        "unknown command: use {{\"contact\": \"+972…\"}}, {{\"opt_in\": \"+972…\"}}, {{\"opt_out\": \"+972…\"}}, \
         {{\"replay\": {{…}}}}, {{\"person\": {{…}}}}, {{\"retry\": \"crm:…\"}} or {{\"drop\": \"crm:…\"}}"
    )]
    UnknownCommand,
    /// Not a phone number.
    #[error("invalid phone number: {0}; write it with its country code, like +972545550199")]
    InvalidPhone(#[from] PhoneError),
    /// Not a configured queue. Holds those that are.
    #[error("unknown queue: use one of {0}")]
    UnknownQueue(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The table failed.
    #[error(transparent)]
    Store(#[from] RecordStoreError),
    /// The replay failed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The privacy request failed.
    #[error(transparent)]
    Person(#[from] PersonSearchError),
}

/// What operator commands may touch.
pub(crate) struct SyncOperator<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) clock: &'a Clock,
    pub(crate) store: &'a RecordStore,
    pub(crate) inbox: &'a Inbox,
    /// Every queue of the client.
    pub(crate) queue_names: Vec<&'a str>,
    pub(crate) person: PersonSearch<'a>,
}

impl SyncOperator<'_> {
    /// Runs a command.
    pub(crate) async fn run_command(
        &self,
        command: &SyncCommand,
        deadline: Deadline,
    ) -> Result<CommandResult, SyncOperatorError> {
        match command {
            SyncCommand::Contact(phone) => {
                let contact = match Lid::parse(phone) {
                    Some(lid) => self.ledger.lid_subject(&lid),
                    None => self.ledger.contact_subject(&Phone::from_e164(phone)?),
                };
                Ok(CommandResult::Contact { contact })
            }
            SyncCommand::OptIn(phone) => self.set_opt_out(phone, false).await,
            SyncCommand::OptOut(phone) => self.set_opt_out(phone, true).await,
            SyncCommand::Replay(replay) => {
                Ok(CommandResult::Replayed(replay_deliveries(self.inbox, self.clock, replay, deadline).await?))
            }
            SyncCommand::Person(command) => Ok(CommandResult::Person(self.person.search(command, deadline).await?)),
            SyncCommand::Retry(queue) => self.retry_refused_tasks(queue).await,
            SyncCommand::Drop(queue) => self.drop_tasks(queue).await,
        }
    }

    async fn set_opt_out(&self, phone: &str, is_opt_out: bool) -> Result<CommandResult, SyncOperatorError> {
        let (contact, now) = (self.ledger.contact_subject(&Phone::from_e164(phone)?), self.clock.now());
        let changed = if is_opt_out {
            self.ledger.opt_out(&contact, now).await?
        } else {
            self.ledger.opt_in(&contact, now).await?
        };
        tracing::info!(
            contact.key = contact,
            contact.opted_out = is_opt_out,
            contact.changed = changed,
            "operator set opt-out of {contact} to {is_opt_out}"
        );
        Ok(CommandResult::OptOutChange { changed })
    }

    async fn retry_refused_tasks(&self, queue: &str) -> Result<CommandResult, SyncOperatorError> {
        if !self.queue_names.contains(&queue) {
            return Err(SyncOperatorError::UnknownQueue(self.queue_names.join(", ")));
        }
        let now = self.clock.now();
        let (retried, more) = self.change_tasks(&refused_queue_name(queue), now, QueueTask::retry).await?;
        tracing::info!(
            queue.name = queue,
            tasks.retried = retried,
            "operator retried {retried} refused tasks of queue {queue}"
        );
        Ok(CommandResult::Retried { retried, more })
    }

    async fn drop_tasks(&self, queue: &str) -> Result<CommandResult, SyncOperatorError> {
        let (mut dropped, mut more) = (0, false);
        for queue in [queue, &refused_queue_name(queue)] {
            let (of_queue, has_more) = self.change_tasks(queue, self.clock.now(), QueueTask::drop).await?;
            dropped += of_queue;
            more |= has_more;
        }
        tracing::info!(
            queue.name = queue,
            tasks.dropped = dropped,
            "operator dropped {dropped} tasks of queue {queue}"
        );
        Ok(CommandResult::Dropped { dropped, more })
    }

    /// Changes the tasks of an index queue, at most a page with changes. Returns how many were
    /// changed, and whether there may be more.
    async fn change_tasks(
        &self,
        queue: &str,
        now: Timestamp,
        change: fn(&QueueTask, Timestamp) -> Option<QueueTask>,
    ) -> Result<(usize, bool), SyncOperatorError> {
        let (mut changed, mut from) = (0, None);
        loop {
            let page = self.store.list_due(queue, now + LONGEST_WAIT, TASKS_PER_PAGE, from.take()).await?;
            for item_key in &page.keys {
                let update = |before: Option<&QueueTask>| match before.and_then(|task| change(task, now)) {
                    Some(next) => RecordUpdate::write(next, true),
                    None => RecordUpdate::keep(false),
                };
                // A row that fails does not stop the others.
                match self.store.update_record(item_key, update).await {
                    Ok(is_changed) => changed += usize::from(is_changed),
                    Err(error) => {
                        let problem = error_chain(&error);
                        tracing::error!(task.id = %item_key, "could not change task {item_key}: {problem}");
                    }
                }
            }
            match page.next {
                Some(next) if changed == 0 => from = Some(next),
                next => return Ok((changed, next.is_some())),
            }
        }
    }
}
