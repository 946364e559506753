//! `tellonce webhook register`: registers the address of a line's events at the provider.
//!
//! Main types: [`WebhookArguments`] name the line and the stack. [`RegistrationLog`] records the
//! attempt before the call. [`PROVIDER`] makes the one call.
//!
//! Token and path secret come from a file that the operator names, or from standard input, and are
//! never printed. Neither is an argument, because arguments stay in the shell's history. No file is
//! read by default, because a real token does not belong beside `client.toml`.
//!
//! The provider does not publish how it handles a second webhook for one address. So a call is
//! never repeated automatically: if its outcome is unknown, the operator checks the provider's list
//! first.

mod registration_log;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use jiff::Timestamp;
use tellonce_core::{
    bootstrap,
    client_config::ClientConfig,
    clock::Clock,
    provider::{PROVIDER, PROVIDER_NAME, RegistrationError, RegistrationRefusal, WebhookRegistration},
    public_address::parse_public_address,
};
use url::{Host, Url};

use crate::{
    command_output::CommandOutput, confirmation::confirm, preview::load_config, secrets::SecretsFile,
    stack_arguments::block_on,
};
use registration_log::{RegistrationAttempt, RegistrationLog, RegistrationOutcome};

#[derive(clap::Subcommand)]
pub(crate) enum WebhookCommand {
    /// Registers the address of a line's events at the provider, once. Shows the call and asks for
    /// confirmation.
    Register(WebhookArguments),
}

#[derive(clap::Args)]
pub(crate) struct WebhookArguments {
    /// The client's folder, e.g. clients/demo.
    #[arg(long, value_name = "DIR")]
    client: PathBuf,
    /// The line, by its name in client.toml. It needs events = true.
    #[arg(long, value_name = "NAME")]
    line: String,
    /// The address of the client's stack: https://…, from the stack's outputs, with or without
    /// /lines/ at its end.
    #[arg(long, value_name = "URL")]
    url: String,
    /// The file with the line's token and the secret of its address, or - for standard input: a
    /// JSON object, full secret name → "value" or {"current", "previous"}. A secret of a role
    /// stands in it as in Secrets Manager.
    #[arg(long, value_name = "FILE")]
    secrets: PathBuf,
    /// The address of the provider: https, or http for a fake on this machine.
    #[arg(long, value_name = "URL", default_value = PROVIDER.facts().base_url)]
    base_url: String,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Register although webhooks.json records an earlier attempt.
    #[arg(long)]
    again: bool,
}

pub(crate) fn run_command(command: &WebhookCommand) -> anyhow::Result<CommandOutput> {
    match command {
        WebhookCommand::Register(arguments) => register_line(arguments, Clock::default().now()),
    }
}

fn register_line(arguments: &WebhookArguments, now: Timestamp) -> anyhow::Result<CommandOutput> {
    let config = load_config(&arguments.client)?;
    let line_id = find_event_line(&config, &arguments.line)?;
    let address = parse_stack_url(&arguments.url)?;
    let endpoint = registration_endpoint(&arguments.base_url)?;
    let (secrets, source) = read_secrets(&arguments.secrets)?;
    let (token_name, secret_name) =
        (config.line_secret_name(&arguments.line), config.line_webhook_secret_name(&arguments.line));
    let token = secrets.find_usable(&config, &token_name).with_context(|| format!("in {source}"))?;
    let secret = secrets.find_usable(&config, &secret_name).with_context(|| format!("in {source}"))?;
    let (token_name, secret_name) = (config.secrets.locate(&token_name), config.secrets.locate(&secret_name));
    let host = format_host(&address);
    let mut log = RegistrationLog::read(&arguments.client)?;
    if let Some(entry) = log.latest_attempt(&arguments.line, &host).filter(|_| !arguments.again) {
        bail!(describe_earlier_attempt(entry, &log));
    }
    let shown = line_events_url(&address, &arguments.line, "…")?.to_string().replace("%E2%80%A6", "…");
    let mut plan = String::new();
    writeln!(plan, "Registers the address of the line `{}` at {PROVIDER_NAME}, once.\n", arguments.line)?;
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
    log.begin_attempt(&arguments.line, &host, now)?;
    let target = line_events_url(&address, &arguments.line, secret.expose())?;
    let http = bootstrap::build_http_client()?;
    match block_on(PROVIDER.register_webhook(&http, &endpoint, token, target.as_str()))? {
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

/// The secrets, and the name of their source.
fn read_secrets(source: &Path) -> anyhow::Result<(SecretsFile, String)> {
    Ok(if source == Path::new("-") {
        (SecretsFile::read_stdin()?, "the secrets on standard input".to_owned())
    } else {
        (SecretsFile::read(source)?, format!("the secrets file {}", source.display()))
    })
}

/// The id of a line with `events = true`.
fn find_event_line<'c>(config: &'c ClientConfig, name: &str) -> anyhow::Result<&'c str> {
    let known = || config.lines.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let line = config
        .lines
        .get(name)
        .with_context(|| format!("`{name}` is not a line of this client; its lines are {}", known()))?;
    ensure!(
        line.events,
        "the line `{name}` does not accept events; write events = true in [lines.{name}] and deploy first"
    );
    Ok(&line.line_id)
}

/// The stack's address, without the `/lines/` that the stack's output may end in.
fn parse_stack_url(text: &str) -> anyhow::Result<Url> {
    let mut url = parse_public_address(text).map_err(|error| {
        anyhow!("--url cannot be registered: {error}; {PROVIDER_NAME} posts over the internet, so use the address in the stack's outputs")
    })?;
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "--url has a query or a fragment; use the address in the stack's outputs"
    );
    let mut steps: Vec<String> = url.path_segments().into_iter().flatten().map(str::to_owned).collect();
    steps.retain(|step| !step.is_empty());
    if steps.last().is_some_and(|step| step == "lines") {
        steps.pop();
    }
    url.path_segments_mut().map_err(|()| anyhow!("--url has no path"))?.clear().extend(&steps);
    Ok(url)
}

fn line_events_url(address: &Url, line: &str, secret: &str) -> anyhow::Result<Url> {
    let mut url = address.clone();
    url.path_segments_mut().map_err(|()| anyhow!("--url has no path"))?.pop_if_empty().extend(["lines", line, secret]);
    Ok(url)
}

/// The host as recorded, with its port unless it is the scheme's default.
fn format_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The provider's address for webhooks. A token is sent only over https or within this machine.
fn registration_endpoint(base: &str) -> anyhow::Result<Url> {
    let url = Url::parse(base).ok().filter(Url::has_host).context("--base-url is not a URL")?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    ensure!(
        url.scheme() == "https" || here,
        "--base-url is neither https nor on this machine, and the call carries the line's token; use https"
    );
    let mut url = url;
    url.set_query(None);
    url.path_segments_mut()
        .map_err(|()| anyhow!("--base-url has no path"))?
        .pop_if_empty()
        .extend(PROVIDER.registration_path());
    Ok(url)
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
        RegistrationOutcome::Unknown => format!(
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
         To test it, write to the line from your own phone and check that the event is in the line's inbox.\n",
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
        RegistrationError::Unreachable { .. } => {
            format!("nothing was registered. Repeat the command when {PROVIDER_NAME} is reachable")
        }
        RegistrationError::NoResponse { .. } | RegistrationError::ServerError { .. } => {
            format!(
                "the outcome is unknown. Check {PROVIDER_NAME}'s list of the line's webhooks first; if the address is not listed, \
             repeat the command with --again"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_line_is_below_every_spelling_of_the_stack_url() {
        for (given, full) in [
            ("https://api.example.com", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com/", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com/lines", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com/lines/", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com:8443/prod/", "https://api.example.com:8443/prod/lines/main/s3cret"),
            // With the address segment of a stack.
            ("https://api.example.com/Zk3x-1/lines/", "https://api.example.com/Zk3x-1/lines/main/s3cret"),
        ] {
            assert_eq!(line_events_url(&parse_stack_url(given).unwrap(), "main", "s3cret").unwrap().as_str(), full);
        }
        assert_eq!(
            format_host(&parse_stack_url("https://api.example.com:8443/prod/").unwrap()),
            "api.example.com:8443"
        );
        assert_eq!(format_host(&parse_stack_url("https://api.example.com:443/").unwrap()), "api.example.com");
        assert!(
            parse_stack_url("https://api.example.com/?x=1").is_err()
                && parse_stack_url("https://api.example.com/#x").is_err()
        );
    }

    #[test]
    fn a_token_leaves_this_machine_only_over_https() {
        for good in ["https://app.ezw.solutions", "http://127.0.0.1:3010", "http://localhost:3010/", "http://[::1]:1"] {
            assert!(registration_endpoint(good).unwrap().path() == "/api/v1/webhooks", "{good}");
        }
        for bad in ["http://app.ezw.solutions", "http://10.0.0.1", "app.ezw.solutions", "http://localhost.example.com"]
        {
            assert!(registration_endpoint(bad).is_err(), "{bad}");
        }
    }
}
