//! `tellonce`, the agency's tool: checks a client's configuration, previews its messages, says what
//! happened to them, and gives the commands of an operator to a stack.
//!
//! `new` makes a client's folder. Run `check` before every deployment, `preview` while you set up
//! texts and senders, and `schema` after the configuration's types change. These commands work
//! offline and touch no account. All others ask a stack. Those that change something show their
//! plan and ask first. `webhook` also calls the provider.
#![expect(clippy::print_stderr, reason = "a command line prints its errors on standard error")]

mod check;
mod command_output;
mod confirmation;
mod evidence;
mod explain;
mod forms;
mod logs;
mod mcp;
mod new;
mod operator;
mod overview;
mod people_time;
mod phone_file;
mod preview;
mod private_file;
mod report;
mod schema;
mod secrets;
mod stack_arguments;
mod stored_secrets;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command_output::CommandOutput;
use confirmation::{NOT_CONFIRMED_CODE, NotConfirmed};
use overview::Question;

/// Checks and previews the configuration of a tellonce client, and operates its stack.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 an error, 2 wrong arguments, 3 the plan was shown and not confirmed."
)]
struct CliArguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Makes a client: its folder with settings, texts and local secrets, and its environment in
    /// samconfig.toml.
    New(new::NewArguments),
    /// Checks a client's folder. Exits with code 1 if there is an error.
    Check(check::CheckArguments),
    /// Prints the JSON schema of client.toml, for editors.
    Schema,
    /// Runs recorded deliveries through the code of the functions and prints the messages that each
    /// would send. Sends nothing.
    Preview(preview::PreviewArguments),
    /// Says what happened to the messages of an order, an appointment, a lead or a customer, what a
    /// delivery led to, or why a message is absent. Changes nothing.
    Explain(explain::ExplainArguments),
    /// Says how a stack is: its lines, CRMs, targets, forms and feeds, what waits, and whether its
    /// parts run.
    Status(overview::OverviewArguments),
    /// Lists what waits, since when, why, and when it is tried next.
    Waiting(overview::OverviewArguments),
    /// Lists what needs a person, the oldest first, with the command that settles it.
    Needs(overview::OverviewArguments),
    /// Lists the log lines of the functions, or of the API. They hold no text, name or number.
    Logs(logs::LogsArguments),
    /// Prints log lines as they are written.
    Tail(logs::TailArguments),
    /// Writes what became of the messages of a month, for the client and in the client's language.
    Report(report::ReportArguments),
    /// Collects what shows that the client's automation does what was agreed, and signs it.
    Evidence(evidence::EvidenceArguments),
    /// Answers an assistant's questions about a stack, over the Model Context Protocol on standard
    /// input and output. Changes nothing.
    Mcp(mcp::McpArguments),
    #[command(flatten)]
    Operator(operator::OperatorCliCommand),
    /// Lists, stores and rotates the secrets of a client in Secrets Manager. Prints no value.
    #[command(subcommand)]
    Secrets(stored_secrets::SecretsCommand),
    /// Registers the address that the provider posts a line's events to, tries it, and lists and
    /// deletes webhooks of a line.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
}

fn main() -> ExitCode {
    let done = match CliArguments::parse().command {
        CliCommand::New(arguments) => new::make_client(&arguments),
        CliCommand::Check(arguments) => check::run_check(&arguments),
        CliCommand::Schema => schema::render_schema().map(CommandOutput::from_text),
        CliCommand::Preview(arguments) => preview::run_preview(&arguments),
        CliCommand::Explain(arguments) => explain::explain(&arguments),
        CliCommand::Status(arguments) => overview::answer_question(Question::Status, &arguments),
        CliCommand::Waiting(arguments) => overview::answer_question(Question::Waiting, &arguments),
        CliCommand::Needs(arguments) => overview::answer_question(Question::Needs, &arguments),
        CliCommand::Logs(arguments) => logs::print_lines(&arguments),
        CliCommand::Tail(arguments) => logs::follow_lines(&arguments),
        CliCommand::Report(arguments) => report::report_month(&arguments),
        CliCommand::Evidence(arguments) => evidence::run_command(&arguments),
        CliCommand::Mcp(arguments) => mcp::serve(&arguments),
        CliCommand::Operator(command) => operator::run_command(&command),
        CliCommand::Secrets(command) => stored_secrets::run_command(&command),
        CliCommand::Webhook(command) => webhook::run_command(&command),
    };
    match done.and_then(CommandOutput::print) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            match error.downcast_ref::<NotConfirmed>() {
                Some(_) => ExitCode::from(NOT_CONFIRMED_CODE),
                None => ExitCode::FAILURE,
            }
        }
    }
}
