//! Commands of operators, which `tellonce` gives.
//!
//! | command | effect |
//! | --- | --- |
//! | `{"replay": {…}}` | processes bookings again: see [`tellonce_core::replay`] |
//! | `{"line_health": "main"}` | asks for the health of a line now |
//! | `{"line_test": {…}}` | sends one message twice under one key: see [`Dispatcher::test_line`] |

use serde::{Deserialize, Serialize};
use tellonce_core::{
    clock::Deadline,
    contact::{Phone, PhoneError},
    dispatch::{Dispatcher, Invocation, LineCheck, LineTest, LineTestError},
    inbox::Inbox,
    replay::{ReplayCommand, ReplayError, ReplaySummary, replay_deliveries},
};

/// A command. Numbers are E.164.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SchedulerCommand {
    /// Processes bookings again.
    Replay(ReplayCommand),
    /// Asks for the health of a line.
    LineHealth(String),
    /// Tests a line with a number of the agency's.
    LineTest { line: String, to: String, id: String },
}

/// The result of a command.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum CommandResult {
    Replayed(ReplaySummary),
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
        SchedulerCommand::LineHealth(line) => CommandResult::LineHealth(dispatcher.check_line(line).await?),
        SchedulerCommand::LineTest { line, to, id } => {
            // As a sweep it waits for a slot of the line.
            let invocation = Invocation::for_sweep(request_id, deadline, clock.now());
            CommandResult::LineTest(dispatcher.test_line(&invocation, line, &Phone::from_e164(to)?, id).await?)
        }
    })
}
