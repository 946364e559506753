//! Commands of operators, which `tellonce` gives.
//!
//! | command | effect |
//! | --- | --- |
//! | `{"replay": {…}}` | processes bookings again: see [`tellonce_core::replay`] |
//! | `{"resend": {…}}` | sends a message again that ended: see [`resend_row`] |
//! | `{"line_health": "main"}` | asks for the health of a line now |
//! | `{"line_test": {…}}` | sends one message twice under one key: see [`Dispatcher::test_line`] |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tellonce_core::{
    clock::Deadline,
    contact::{Phone, PhoneError},
    dispatch::{Dispatcher, Invocation, LineCheck, LineTest, LineTestError},
    inbox::Inbox,
    ledger::{IdempotencyKey, LedgerError, ResendDecision, ResendOutcome, ResendRefused, SaveOutcome, resend_row},
    replay::{ReplayCommand, ReplayError, ReplaySummary, replay_deliveries},
};

/// A command. Numbers are E.164.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SchedulerCommand {
    /// Processes bookings again.
    Replay(ReplayCommand),
    /// Sends a message again that ended.
    Resend(ResendCommand),
    /// Asks for the health of a line.
    LineHealth(String),
    /// Tests a line with a number of the agency's.
    LineTest { line: String, to: String, id: String },
}

/// A message to send again, as the operator saw it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResendCommand {
    key: String,
    /// The version of its row. Nothing is done if it has another one.
    version: u64,
    useful_until: Option<Timestamp>,
    is_absent: bool,
}

/// The result of a command.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum CommandResult {
    Replayed(ReplaySummary),
    Resent {
        /// The key of the message.
        resent: String,
    },
    LineHealth(LineCheck),
    LineTest(LineTest),
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchedulerOperatorError {
    /// Not a phone number.
    #[error("invalid phone number: {0}; write it with its country code, like +972545550199")]
    InvalidPhone(#[from] PhoneError),
    /// The replay failed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The ledger has no such message, or it changed since the operator saw it.
    #[error("the message {0} changed meanwhile, and was not sent again; look at it again")]
    Changed(String),
    /// The message must not be sent again.
    #[error("the message {0} is not sent again: {1}")]
    NotResent(String, #[source] ResendRefused),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The line could not be asked or tested.
    #[error(transparent)]
    Line(#[from] LineTestError),
}

/// Runs a command.
pub(crate) async fn run_command(
    dispatcher: &Dispatcher,
    inbox: &Inbox,
    command: &SchedulerCommand,
    request_id: &str,
    deadline: Deadline,
) -> Result<CommandResult, SchedulerOperatorError> {
    let clock = &dispatcher.clock;
    Ok(match command {
        SchedulerCommand::Replay(replay) => {
            CommandResult::Replayed(replay_deliveries(inbox, clock, replay, deadline).await?)
        }
        SchedulerCommand::Resend(command) => resend_message(dispatcher, command).await?,
        SchedulerCommand::LineHealth(line) => CommandResult::LineHealth(dispatcher.check_line(line).await?),
        SchedulerCommand::LineTest { line, to, id } => {
            // As a sweep it waits for a slot of the line.
            let invocation = Invocation::for_sweep(request_id, deadline, clock.now());
            CommandResult::LineTest(dispatcher.test_line(&invocation, line, &Phone::from_e164(to)?, id).await?)
        }
    })
}

/// Lets a message wait again, if its row is the one that the operator saw.
async fn resend_message(
    dispatcher: &Dispatcher,
    command: &ResendCommand,
) -> Result<CommandResult, SchedulerOperatorError> {
    let ResendCommand { key: name, version, useful_until, is_absent } = command;
    let changed = || SchedulerOperatorError::Changed(name.clone());
    let key = IdempotencyKey::parse(name).ok_or_else(changed)?;
    let row = dispatcher.ledger.read_row(&key).await?.filter(|row| row.version == *version).ok_or_else(changed)?;
    let decision = ResendDecision { useful_until: *useful_until, is_absent: *is_absent };
    let next = resend_row(&row, decision, dispatcher.clock.now())
        .map_err(|refused| SchedulerOperatorError::NotResent(name.clone(), refused))?;
    let outcome = if key.is_greeting() {
        dispatcher.ledger.resend_greeting(&row, &next).await?
    } else if dispatcher.ledger.save(&row, &next).await? == SaveOutcome::Saved {
        ResendOutcome::Resent
    } else {
        ResendOutcome::Changed
    };
    match outcome {
        ResendOutcome::Resent => {}
        ResendOutcome::Changed => return Err(changed()),
        ResendOutcome::Refused(refused) => return Err(SchedulerOperatorError::NotResent(name.clone(), refused)),
    }
    tracing::info!(message.key = %key, message.state = next.state.name(), "operator sent message {key} again");
    Ok(CommandResult::Resent { resent: key.to_string() })
}
