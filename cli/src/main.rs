//! `run_tellonce`, the agency's tool: checks a client's configuration and shows what would be said, without sending anything.
//!
//! `check` is to be run before every deployment, `run_preview` while texts and stores are set up, `schema` when the
//! configuration's types change. These work offline and touch no account. `webhook register` is the exception: run once for each
//! line, it makes one call to EZWhatsApp, after having asked.
#![expect(clippy::print_stderr, reason = "a command line tells its errors on standard error")]

mod check;
mod forms;
mod preview;
mod schema;
mod secrets;
mod webhook;

use std::{
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
/// Checks and previews the configuration of a tellonce client, and registers its lines at EZWhatsApp.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct CliArguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Says what is wrong with a client's folder, and which secrets it needs. Exit code 1 if anything is an error.
    Check {
        /// The client's folder, e.g. clients/demo.
        folder: PathBuf,
        /// A file of secrets to check as well: a JSON object, full secret name → "value" or {"current", "previous"}.
        /// Without it, secrets.json in the folder, if there is one.
        #[arg(long, value_name = "FILE")]
        secrets: Option<PathBuf>,
    },
    /// Prints the JSON schema of client.toml, for editors.
    Schema,
    /// Runs recorded deliveries through the code that is deployed and shows, as a line of JSON each, what would be said.
    /// Nothing is sent.
    Preview(preview::PreviewArguments),
    /// Tells EZWhatsApp where to report what happens on a line.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
}

fn main() -> ExitCode {
    let done = match CliArguments::parse().command {
        CliCommand::Check { folder, secrets } => check::run_check(&folder, secrets.as_deref()),
        CliCommand::Schema => schema::render_schema().map(CommandOutput::from_text),
        CliCommand::Preview(arguments) => preview::run_preview(&arguments),
        CliCommand::Webhook(command) => webhook::run_command(&command),
    };
    match done.and_then(CommandOutput::print) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What a command has to say.
struct CommandOutput {
    text: String,
    code: ExitCode,
}

impl CommandOutput {
    fn from_text(text: String) -> Self {
        Self { text, code: ExitCode::SUCCESS }
    }

    /// Prints it. Whoever stops reading early (`| head`) has read enough.
    fn print(self) -> anyhow::Result<ExitCode> {
        match std::io::stdout().lock().write_all(self.text.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(self.code),
        }
    }
}
