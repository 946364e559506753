//! `tellonce secrets`: the secrets of a client in Secrets Manager.
//!
//! `list` changes nothing. No command prints a value.

mod list_text;

use std::process::ExitCode;

use crate::{
    command_output::CommandOutput,
    people_time::PeopleTime,
    stack_arguments::{ConnectedStack, StackArguments, block_on},
};

#[derive(clap::Subcommand)]
pub(crate) enum SecretsCommand {
    /// Lists the secrets that the client needs: which exist, their age, their last read, and what
    /// is missing. Shows no value. Exits with code 1 if a value is missing or cannot work.
    List(ListArguments),
}

#[derive(clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    stack: StackArguments,
    /// Do not read the secrets of roles. Their members are then not compared, and their last read
    /// stays as it is.
    #[arg(long)]
    no_read: bool,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run_command(command: &SecretsCommand) -> anyhow::Result<CommandOutput> {
    match command {
        SecretsCommand::List(arguments) => block_on(list(arguments))?,
    }
}

async fn list(arguments: &ListArguments) -> anyhow::Result<CommandOutput> {
    let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
    let report = stack.survey_secrets(&config, !arguments.no_read).await?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        list_text::render(&config.client, &report, &PeopleTime::of_client(&config)?)?
    };
    let code = if report.count_faults() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(CommandOutput { text, code })
}
