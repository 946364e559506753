//! `tellonce webhook`: the webhooks of a line at the provider.
//!
//! Main types: [`LineArguments`] name the line and the stack, and [`LineAccess`] holds what a call
//! needs. [`RegistrationLog`] records an attempt before the call. [`PROVIDER`] makes the calls.
//!
//! Token and path secret come from Secrets Manager, or from a file that the operator names, and are
//! never printed. Neither is an argument, because arguments stay in the shell's history. No file is
//! read by default, because a real token does not belong beside `client.toml`.
//!
//! The provider does not publish how it handles a second webhook for one address. So a call is
//! never repeated automatically: if its outcome is unknown, the operator checks the provider's list
//! first. Neither does it publish how webhooks are listed and deleted: `list` and `remove` say so.

mod addresses;
mod line_access;
mod line_webhooks;
mod registration_log;
mod test_event;

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use tellonce_core::{
    bootstrap,
    clock::Clock,
    provider::{NoResponse, PROVIDER, PROVIDER_NAME, RegistrationError, RegistrationRefusal, WebhookRegistration},
};

use crate::{command_output::CommandOutput, confirmation::confirm, preview::load_config, stack_arguments::block_on};
use addresses::{format_host, line_events_url, parse_stack_url};
use line_access::{LineAccess, LineArguments, find_event_line};
use registration_log::{RegistrationAttempt, RegistrationLog, RegistrationOutcome};

#[derive(clap::Subcommand)]
pub(crate) enum WebhookCommand {
    /// Registers the address of a line's events at the provider, once. Shows the call and asks for
    /// confirmation.
    Register(RegisterArguments),
    /// Lists the webhooks of a line at the provider, and those that webhooks.json records. Changes
    /// nothing.
    List(line_webhooks::ListArguments),
    /// Posts a test event to the address of a line's events, and says whether it is stored and
    /// whether a wrong secret is refused. The event leads to nothing.
    Test(test_event::TestArguments),
    /// Deletes a webhook of a line at the provider. Shows the call and asks for confirmation.
    Remove(line_webhooks::RemoveArguments),
}

#[derive(clap::Args)]
pub(crate) struct RegisterArguments {
    #[command(flatten)]
    line: LineArguments,
    /// The address of the client's stack: https://…, from the stack's outputs, with or without
    /// /lines/ at its end.
    #[arg(long, value_name = "URL")]
    url: String,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Register although webhooks.json records an earlier attempt.
    #[arg(long)]
    again: bool,
}

pub(crate) fn run_command(command: &WebhookCommand) -> anyhow::Result<CommandOutput> {
    match command {
        WebhookCommand::Register(arguments) => block_on(register_line(arguments, Clock::default().now()))?,
        WebhookCommand::List(arguments) => block_on(line_webhooks::list(arguments))?,
        WebhookCommand::Test(arguments) => block_on(test_event::test(arguments))?,
        WebhookCommand::Remove(arguments) => block_on(line_webhooks::remove(arguments))?,
    }
}

async fn register_line(arguments: &RegisterArguments, now: Timestamp) -> anyhow::Result<CommandOutput> {
    let line = &arguments.line.line;
    let folder = arguments.line.stack.client_folder()?;
    let line_id = find_event_line(&load_config(&folder)?, line)?.to_owned();
    let address = parse_stack_url(&arguments.url)?;
    let access = LineAccess::open(&arguments.line).await?;
    let (config, endpoint) = (&access.config, &access.endpoint);
    let (token_name, secret_name) = (config.line_secret_name(line), config.line_webhook_secret_name(line));
    let (token, secret) = (access.read(&token_name).await?, access.read(&secret_name).await?);
    let (token_name, secret_name) = (config.secrets.locate(&token_name), config.secrets.locate(&secret_name));
    let host = format_host(&address);
    let mut log = RegistrationLog::read(&folder)?;
    if let Some(entry) = log.latest_open_attempt(line, &host).filter(|_| !arguments.again) {
        bail!(describe_earlier_attempt(entry, &log));
    }
    let shown = line_events_url(&address, line, "…")?.to_string().replace("%E2%80%A6", "…");
    let mut plan = String::new();
    writeln!(plan, "Registers the address of the line `{line}` at {PROVIDER_NAME}, once.\n")?;
    writeln!(plan, "  POST {endpoint}")?;
    writeln!(plan, "  with the token in {token_name}, of the line {line_id}\n")?;
    for (name, value) in PROVIDER.registration_fields(&format!("{shown}   (… stands for {secret_name})")) {
        writeln!(plan, "  {name:<13}  {value}")?;
    }
    writeln!(plan)?;
    CommandOutput::from_text(plan).print()?;
    confirm("Register this address?", arguments.yes)?;
    // Recorded before the call: if this process is stopped in between, the next run reports an
    // unknown outcome.
    log.begin_attempt(line, &host, now)?;
    let target = line_events_url(&address, line, secret.expose())?;
    let http = bootstrap::build_http_client()?;
    match PROVIDER.register_webhook(&http, endpoint, &token, target.as_str()).await {
        Ok(registration) => {
            let id = registration.id.as_deref();
            log.record_success(id).with_context(|| {
                format!("{PROVIDER_NAME} registered the address ({}), but the record was not updated", describe_id(id))
            })?;
            Ok(CommandOutput::from_text(describe_success(&registration, &log)))
        }
        Err(error) => {
            if !error.may_have_registered() {
                log.withdraw_attempt()?;
            }
            let next = suggest_next_step(&error, &host, &token_name.to_string());
            bail!("{:#}\n  → {next}", anyhow!(error))
        }
    }
}

/// Why the command stops at an address with an earlier attempt, and what to do.
fn describe_earlier_attempt(
    RegistrationAttempt { line, host, at, outcome, id }: &RegistrationAttempt,
    log: &RegistrationLog,
) -> String {
    let file = log.path().display();
    match outcome {
        RegistrationOutcome::Registered => format!(
            "the line `{line}` was already registered at {host} on {at} ({}; {file}). {PROVIDER_NAME} does not publish how it \
             handles two webhooks for one address. If the secret has changed or the webhook was deleted, delete the \
             webhook in {PROVIDER_NAME}'s list of the line's webhooks, then repeat the command with --again",
            describe_id(id.as_deref())
        ),
        RegistrationOutcome::Unknown | RegistrationOutcome::Removed => format!(
            "the attempt on {at} to register the line `{line}` at {host} has an unknown outcome ({file}). Check \
             {PROVIDER_NAME}'s list of the line's webhooks. If the webhook is listed, write its \"id\" and \"outcome\": \
             \"registered\" into that file. If not, repeat the command with --again"
        ),
    }
}

fn describe_id(id: Option<&str>) -> String {
    id.map_or_else(|| "the response has no id".to_owned(), |id| format!("webhook {id}"))
}

fn describe_success(WebhookRegistration { id }: &WebhookRegistration, log: &RegistrationLog) -> String {
    let file = log.path().display();
    let lookup_hint = match id {
        Some(_) => String::new(),
        None => format!("Find the id in {PROVIDER_NAME}'s list of the line's webhooks and write it into that file.\n"),
    };
    format!(
        "Registered: {}. The registration is recorded in {file}, which holds no secret: commit it to git.\n{lookup_hint}\
         To test it: tellonce webhook test. Then write to the line from your own phone and check that the event is in the \
         line's inbox.\n",
        describe_id(id.as_deref())
    )
}

/// What to do after a failed call.
fn suggest_next_step(error: &RegistrationError, host: &str, token_name: &str) -> String {
    match error {
        RegistrationError::Refused { refusal: RegistrationRefusal::Address, .. } => format!(
            "nothing was registered. {PROVIDER_NAME} refuses addresses in private networks: check that {host} is public. If it \
             is, compare the call above with {PROVIDER_NAME}'s help page on webhooks"
        ),
        RegistrationError::Refused { refusal: RegistrationRefusal::Token, .. } => format!(
            "nothing was registered. The token is incomplete or revoked, or its line is not active: check the line in \
             {PROVIDER_NAME}, create a new token if necessary, and store it as {token_name}"
        ),
        RegistrationError::Refused { refusal: RegistrationRefusal::RateLimited, .. } => {
            "nothing was registered. Wait a minute and repeat the command".to_owned()
        }
        RegistrationError::Refused { .. } => "nothing was registered. Check --base-url".to_owned(),
        RegistrationError::NoResponse(NoResponse::Unreachable { .. }) => {
            format!("nothing was registered. Repeat the command when {PROVIDER_NAME} is reachable")
        }
        RegistrationError::NoResponse(NoResponse::Lost { .. }) | RegistrationError::ServerError { .. } => {
            format!(
                "the outcome is unknown. Check {PROVIDER_NAME}'s list of the line's webhooks first; if the address is not listed, \
             repeat the command with --again"
            )
        }
    }
}
