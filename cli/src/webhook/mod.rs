//! `run_tellonce webhook register`: tells EZWhatsApp where to report what happens on a line.
//!
//! The cast: [`Arguments`] say which line and where; [`registration_api`] makes the one call; [`kept`] writes down, before it, that it is made.
//! Token and path secret come from one file of secrets and are shown nowhere: neither is ever an argument, which stays in the
//! shell's history.
//!
//! What EZWhatsApp does with a second webhook for one address is not published, so nothing here is ever tried twice by itself: who
//! does not know what became of a call is told to look first.

mod registration_api;
mod registration_log;

use std::{
    fmt::Write as _,
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use jiff::Timestamp;
use tellonce_core::{bootstrap, client_config::ClientConfig, clock::Clock, public_address::parse_public_address};
use url::{Host, Url};

use crate::{CommandOutput, preview::load_config, secrets::SecretsFile};
use registration_api::{RegistrationError, RegistrationRequest, WebhookRegistration};
use registration_log::{RegistrationAttempt, RegistrationLog, RegistrationOutcome};

/// What to do with webhooks.
#[derive(clap::Subcommand)]
pub(crate) enum WebhookCommand {
    /// Registers the address of a line's events at EZWhatsApp, once. Shows what it will do, and asks.
    Register(WebhookArguments),
}

/// What to register.
#[derive(clap::Args)]
pub(crate) struct WebhookArguments {
    /// The client's folder, e.g. clients/demo.
    #[arg(long, value_name = "DIR")]
    client: PathBuf,
    /// The line, by its name in client.toml. It needs events = true.
    #[arg(long, value_name = "NAME")]
    line: String,
    /// Where the client's stack is: https://…, as the stack's output says, with or without /lines/ at its end.
    #[arg(long, value_name = "URL")]
    url: String,
    /// The secrets, of which the line's token and the secret of its address are taken: a JSON object, full secret name → "value"
    /// or {"current", "previous"}. Without it, secrets.json in the client's folder.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Where EZWhatsApp is: https, or http on this machine for a stand-in.
    #[arg(long, value_name = "URL", default_value = "https://app.ezw.solutions")]
    base_url: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Register although webhooks.json says that it was done before.
    #[arg(long)]
    again: bool,
}

/// Runs a command.
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
    let file = arguments.secrets.clone().unwrap_or_else(|| arguments.client.join("secrets.json"));
    let secrets = SecretsFile::read(&file)?;
    let (token_name, secret_name) =
        (config.line_secret_name(&arguments.line), config.line_webhook_secret_name(&arguments.line));
    let in_file = || format!("in the secrets file {}", file.display());
    let token = secrets.find_usable(&config, &token_name).with_context(in_file)?;
    let secret = secrets.find_usable(&config, &secret_name).with_context(in_file)?;
    let host = format_host(&address);
    let mut log = RegistrationLog::read(&arguments.client)?;
    if let Some(entry) = log.latest_attempt(&arguments.line, &host).filter(|_| !arguments.again) {
        bail!(describe_earlier_attempt(entry, &log));
    }
    let shown = line_events_url(&address, &arguments.line, "…")?.to_string().replace("%E2%80%A6", "…");
    let mut plan = String::new();
    writeln!(plan, "Registers the address of the line `{}` at EZWhatsApp, once.\n", arguments.line)?;
    writeln!(plan, "  POST {endpoint}")?;
    writeln!(plan, "  with the token in {token_name}, of the line {line_id}\n")?;
    writeln!(plan, "  targetUrl      {shown}   (… stands for {secret_name})")?;
    writeln!(plan, "  events         {}", registration_api::WEBHOOK_EVENTS.join(", "))?;
    writeln!(plan, "  payloadFormat  {}", registration_api::PAYLOAD_FORMAT)?;
    writeln!(plan, "  enabled        true")?;
    writeln!(plan, "  persistent     true\n")?;
    CommandOutput::from_text(plan).print()?;
    if !arguments.yes && !ask_at_terminal()? {
        return Ok(CommandOutput { text: "Nothing was done.\n".to_owned(), code: ExitCode::FAILURE });
    }
    // Written down first: should we be stopped in the middle, the next run knows that somebody has to look.
    log.begin_attempt(&arguments.line, &host, now)?;
    let target = line_events_url(&address, &arguments.line, secret.expose())?;
    let http = bootstrap::build_http_client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(registration_api::register_webhook(
        &http,
        &endpoint,
        token,
        &RegistrationRequest::for_url(target.as_str()),
    )) {
        Ok(registration) => {
            let id = registration.id.as_deref();
            log.record_success(id).with_context(|| {
                format!("EZWhatsApp registered it ({}), and that could not be written down", describe_id(id))
            })?;
            Ok(CommandOutput::from_text(describe_success(&registration, &log)))
        }
        Err(error) => {
            if !error.may_have_registered() {
                log.withdraw_attempt()?;
            }
            let next = suggest_next_step(&error, &host, &token_name);
            bail!("{:#}\n  → {next}", anyhow!(error))
        }
    }
}

/// The id of a line that takes events.
fn find_event_line<'c>(config: &'c ClientConfig, name: &str) -> anyhow::Result<&'c str> {
    let known = || config.lines.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let line = config.lines.get(name).with_context(|| format!("there is no line `{name}`; known here: {}", known()))?;
    ensure!(
        line.events,
        "the line `{name}` takes no events: write events = true in [lines.{name}] and deploy, or nobody will be there to answer"
    );
    Ok(&line.line_id)
}

/// Where the stack is, without the `/render_json_lines/` that its output may end in.
fn parse_stack_url(text: &str) -> anyhow::Result<Url> {
    let mut url = parse_public_address(text).map_err(|error| {
        anyhow!("--url cannot be registered: {error}. EZWhatsApp posts to the internet; take the address from the stack's outputs")
    })?;
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "--url has something behind its path; take the address from the stack's outputs"
    );
    let mut steps: Vec<String> = url.path_segments().into_iter().flatten().map(str::to_owned).collect();
    steps.retain(|step| !step.is_empty());
    if steps.last().is_some_and(|step| step == "lines") {
        steps.pop();
    }
    url.path_segments_mut().map_err(|()| anyhow!("--url has no path"))?.clear().extend(&steps);
    Ok(url)
}

/// The address of a line's events.
fn line_events_url(address: &Url, line: &str, secret: &str) -> anyhow::Result<Url> {
    let mut url = address.clone();
    url.path_segments_mut().map_err(|()| anyhow!("--url has no path"))?.pop_if_empty().extend(["lines", line, secret]);
    Ok(url)
}

/// The host as it is written down, with its port if that is not the usual one.
fn format_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where webhooks are made. A token goes over https alone, or stays on this machine.
fn registration_endpoint(base: &str) -> anyhow::Result<Url> {
    let url = Url::parse(base).ok().filter(Url::has_host).context("--base-url is no URL")?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    ensure!(
        url.scheme() == "https" || here,
        "--base-url is neither https nor on this machine: it would get the line's token"
    );
    let mut url = url;
    url.set_query(None);
    url.path_segments_mut()
        .map_err(|()| anyhow!("--base-url has no path"))?
        .pop_if_empty()
        .extend(["api", "v1", "webhooks"]);
    Ok(url)
}

/// Asks whoever sits at the terminal.
fn ask_at_terminal() -> anyhow::Result<bool> {
    ensure!(
        std::io::stdin().is_terminal(),
        "there is no terminal to ask at: read what is shown above, and repeat it with --yes"
    );
    let mut screen = std::io::stderr();
    write!(screen, "Register it? [y/N] ")?;
    screen.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    Ok(is_yes(&typed))
}

fn is_yes(typed: &str) -> bool {
    matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Why nothing is done about an address that was registered before, or may have been.
fn describe_earlier_attempt(
    RegistrationAttempt { line, host, at, outcome, id }: &RegistrationAttempt,
    log: &RegistrationLog,
) -> String {
    let file = log.path().display();
    match outcome {
        RegistrationOutcome::Registered => format!(
            "the line `{line}` was registered at {host} already, at {at} ({}; {file}). What EZWhatsApp does with two for one \
             address is not known. If its secret has changed, or the webhook was deleted: delete what is left of it in \
             EZWhatsApp's list of the line's webhooks, then repeat this with --again",
            describe_id(id.as_deref())
        ),
        RegistrationOutcome::Unknown => format!(
            "it is not known what became of the try at {at} to register the line `{line}` at {host} ({file}). Look into \
             EZWhatsApp's list of the line's webhooks. It is there: write its \"id\" and \"outcome\": \"registered\" into that \
             file. It is not: repeat this with --again"
        ),
    }
}

fn describe_id(id: Option<&str>) -> String {
    id.map_or_else(|| "its answer named no id".to_owned(), |id| format!("webhook {id}"))
}

fn describe_success(WebhookRegistration { id }: &WebhookRegistration, log: &RegistrationLog) -> String {
    let file = log.path().display();
    let lookup_hint = match id {
        Some(_) => "",
        None => "Look the id up in EZWhatsApp's list of the line's webhooks, and write it into that file.\n",
    };
    format!(
        "Registered: {}. {file} says so, without anything secret: keep it in git.\n{lookup_hint}\
         Now write to the line from a phone of your own, and see the message in the line's inbox.\n",
        describe_id(id.as_deref())
    )
}

/// What to do about a call that failed.
fn suggest_next_step(error: &RegistrationError, host: &str, token_name: &str) -> String {
    match error {
        RegistrationError::Refused { status: 400, .. } => format!(
            "nothing was registered. EZWhatsApp takes no address that is on an inner network: does {host} lead to the internet for \
             everybody? If it does, compare what is shown above with EZWhatsApp's help page on webhooks"
        ),
        RegistrationError::Refused { status: 401, .. } => format!(
            "nothing was registered. The token is not complete, was revoked, or its line is not active: look at the line in \
             EZWhatsApp, make a new token if need be, and store it as {token_name}"
        ),
        RegistrationError::Refused { status: 429, .. } => "nothing was registered. Wait a minute, and repeat it".to_owned(),
        RegistrationError::Refused { .. } => "nothing was registered. Is --base-url right?".to_owned(),
        RegistrationError::Unreachable(_) => "nothing was registered. Repeat it when EZWhatsApp can be reached".to_owned(),
        RegistrationError::NoResponse(_) | RegistrationError::ServerError { .. } => {
            "it may be registered, or not. Look into EZWhatsApp's list of the line's webhooks before anything else; if it is not \
             there, repeat this with --again"
                .to_owned()
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

    #[test]
    fn only_a_yes_confirms() {
        assert!(is_yes("y\n") && is_yes(" YES\r\n"));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("n\n") && !is_yes("yess\n"));
    }
}
