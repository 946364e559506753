//! `tellonce preview`: runs recorded deliveries through the deployed code and shows the messages
//! that they would send.
//!
//! Flow: [`cases`] reads the recordings. `webhook_receiver::verify_request` verifies each. Then the
//! function that owns the delivery reads and plans it:
//!
//! - [`orders`] uses `order_notifier`
//! - [`bookings`] uses `reminder_scheduler`
//! - [`leads`] uses `lead_first_touch`
//!
//! Each message is sent with the decisions of `tellonce_core::dispatch`. [`people`] shows the
//! result to people, and [`report`] as JSON.
//!
//! Two things are simulated: the tables are in memory ([`in_memory_ledger`]), and the responses of
//! stores, booking systems and forms to lookups come from files (`--lookup`).

mod bookings;
mod cases;
mod feed;
mod in_memory_ledger;
mod inbound_route;
mod leads;
mod orders;
mod people;
mod report;
mod simulator;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tellonce_check::{Severity, check_file};
use tellonce_core::{
    client_config::{ClientConfig, FormScheme},
    clock::Clock,
};
use webhook_receiver::{SenderKind, route_request};

use crate::{command_output::CommandOutput, secrets::SecretsFile};
use cases::RecordedDelivery;
use inbound_route::InboundRoute;
use people::PeopleReport;
use report::DeliveryPreview;
use simulator::simulate_deliveries;

#[derive(clap::Args)]
pub(crate) struct PreviewArguments {
    /// The client's folder, e.g. clients/demo.
    #[arg(long, value_name = "DIR")]
    client: PathBuf,
    /// The secrets to verify with: a JSON object, full secret name → "value" or {"current",
    /// "previous"}. Default: secrets.json in the client's folder.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// The path that the deliveries were posted to, e.g. /stores/shop, /bookings/clinic or
    /// /leads/contact, including the secret of a secret address. With --ics: the path of the
    /// calendar.
    #[arg(long, value_name = "PATH")]
    route: String,
    /// Headers of a delivery, one `Name: value` a line. May be repeated, each time with a --body.
    #[arg(long, value_name = "FILE", requires = "body", conflicts_with = "folder")]
    headers: Vec<PathBuf>,
    /// The raw body of a delivery.
    #[arg(long, value_name = "FILE", requires = "headers")]
    body: Vec<PathBuf>,
    /// Instead of pairs: a folder of CASE.headers.txt and CASE.json (or .form, .multipart), in the
    /// order of their names.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["headers", "ics"])]
    folder: Option<PathBuf>,
    /// Instead of deliveries: a calendar's feed as a file. May be repeated; each file is one read
    /// of the feed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["headers", "folder"])]
    ics: Vec<PathBuf>,
    /// The time at which a delivery arrives, e.g. 2026-11-19T10:00:02Z. Once for all deliveries, or
    /// once for each in ascending order.
    #[arg(long, value_name = "TIME")]
    now: Vec<Timestamp>,
    /// The response to a lookup: JSON of a store's Admin API, of a booking system or of a form's
    /// sender. May be repeated.
    #[arg(long, value_name = "FILE")]
    lookup: Vec<PathBuf>,
    /// Print one line of JSON for each delivery, or for each appointment of a feed.
    #[arg(long)]
    json: bool,
}

/// The exit code if a delivery is refused, as a forged one is.
const CODE_OF_REFUSAL: u8 = 2;

/// Prints each delivery, or each appointment of a feed, with its messages.
pub(crate) fn run_preview(arguments: &PreviewArguments) -> anyhow::Result<CommandOutput> {
    let config = load_config(&arguments.client)?;
    let present = arguments.now.is_empty().then(|| Clock::default().now());
    let report = PeopleReport::new(&config, present);
    if arguments.ics.is_empty() {
        let cases = match &arguments.folder {
            Some(folder) => cases::read_folder(folder)?,
            None => cases::read_pairs(&arguments.headers, &arguments.body)?,
        };
        let deliveries = preview_deliveries(arguments, &config, &cases)?;
        let text = if arguments.json { render_json_lines(&deliveries)? } else { report.of_deliveries(&deliveries)? };
        let is_refused = deliveries.iter().any(|delivery| delivery.refused.is_some());
        let code = if is_refused { ExitCode::from(CODE_OF_REFUSAL) } else { ExitCode::SUCCESS };
        Ok(CommandOutput { text, code })
    } else {
        let times = resolve_times(&arguments.now, arguments.ics.len())?;
        let calendar = find_calendar(&config, &arguments.route)?;
        let appointments = feed::preview_feed(&config, calendar, &arguments.ics, &times)?;
        let text = if arguments.json { render_json_lines(&appointments)? } else { report.of_feed(&appointments)? };
        Ok(CommandOutput::from_text(text))
    }
}

fn render_json_lines<T: Serialize>(shown: &[T]) -> anyhow::Result<String> {
    let mut text = String::new();
    for one in shown {
        text.push_str(&serde_json::to_string(one)?);
        text.push('\n');
    }
    Ok(text)
}

const LINES_NOT_PREVIEWED: &str = "line events are not previewed: they send customers no order updates, reminders or \
                                   greetings. To check escalations, run `tellonce check`";

fn preview_deliveries(
    arguments: &PreviewArguments,
    config: &ClientConfig,
    cases: &[RecordedDelivery],
) -> anyhow::Result<Vec<DeliveryPreview>> {
    let times = resolve_times(&arguments.now, cases.len())?;
    let sender = route_request(config, &Method::POST, &arguments.route)
        .map_err(|_| unknown_route_error(config, &arguments.route))?;
    let inbound = || open_route(arguments, config, sender.name);
    Ok(match sender.kind {
        SenderKind::Store => {
            let simulator = orders::OrderSimulator::new(inbound()?, &config.stores[sender.name]);
            simulate_deliveries(simulator, cases, &times)
        }
        SenderKind::Calendar => {
            let simulator = bookings::BookingSimulator::new(inbound()?, &config.calendars[sender.name]);
            simulate_deliveries(simulator, cases, &times)
        }
        SenderKind::Form => {
            let simulator = leads::LeadSimulator::new(inbound()?, &config.forms[sender.name]);
            simulate_deliveries(simulator, cases, &times)
        }
        SenderKind::Line => bail!(LINES_NOT_PREVIEWED),
    })
}

/// The route of a sender, with its secrets and the responses to its lookups.
fn open_route<'a>(
    arguments: &'a PreviewArguments,
    config: &'a ClientConfig,
    sender_name: &'a str,
) -> anyhow::Result<InboundRoute<'a>> {
    let usual = arguments.client.join("secrets.json");
    let file = arguments.secrets.as_deref().unwrap_or(&usual);
    let secret_name = config.webhook_secret_name(sender_name);
    // The route may end in a secret.
    let shown_route = mask_route_secret(&arguments.route);
    let secrets = SecretsFile::read(file)?;
    let secrets = secrets.values(&secret_name).with_context(|| {
        format!(
            "{} does not contain `{secret_name}`, which verifies deliveries to {shown_route}; add it",
            file.display()
        )
    })?;
    let lookups = arguments.lookup.iter().map(|file| read_lookup_file(file)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(InboundRoute::new(config, sender_name, &arguments.route, secrets.to_vec(), lookups))
}

/// The calendar of a route. A feed has a route here although it receives no webhooks.
fn find_calendar<'c>(config: &'c ClientConfig, route: &str) -> anyhow::Result<&'c str> {
    let found = route.strip_prefix("/bookings/").and_then(|name| config.calendars.get_key_value(name));
    let (name, _) = found.with_context(|| {
        format!("`{}` is not a calendar of this client; write --route /bookings/<calendar>", mask_route_secret(route))
    })?;
    Ok(name)
}

/// Reads the configuration in a client's folder.
///
/// # Errors
///
/// Fails with the first finding of `tellonce check` if the functions could not load the file.
pub(crate) fn load_config(folder: &Path) -> anyhow::Result<ClientConfig> {
    let file = folder.join("client.toml");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("could not read {}; name the client's folder with --client DIR", file.display()))?;
    let examined = check_file(&text);
    let first = examined.findings.into_iter().find(|finding| finding.severity == Severity::Error);
    examined.config.with_context(|| {
        let first = first.map(|it| format!("{}:{}: {}\n  → {}\n", file.display(), it.line, it.problem, it.remedy));
        format!("{}run `tellonce check {}` and fix its errors first", first.unwrap_or_default(), folder.display())
    })
}

fn resolve_times(given: &[Timestamp], cases: usize) -> anyhow::Result<Vec<Timestamp>> {
    ensure!(
        given.len() <= 1 || given.len() == cases,
        "{} --now for {cases} deliveries; give one for all deliveries, or one for each",
        given.len()
    );
    ensure!(given.is_sorted(), "--now goes back in time; give the times in ascending order");
    Ok(match given {
        [] => vec![Clock::default().now(); cases],
        [now] => vec![*now; cases],
        each => each.to_vec(),
    })
}

fn unknown_route_error(config: &ClientConfig, route: &str) -> anyhow::Error {
    let stores = config.stores.keys().map(|name| format!("/stores/{name}"));
    let calendars = config.calendars.iter().filter(|(_, calendar)| calendar.kind.proof().is_some());
    let calendars = calendars.map(|(name, _)| format!("/bookings/{name}"));
    let forms = config.forms.iter().map(|(name, form)| match form.verify {
        FormScheme::SecretPath => format!("/leads/{name}/<secret>"),
        FormScheme::Signature | FormScheme::StandardWebhooks | FormScheme::StaticHeader { .. } => {
            format!("/leads/{name}")
        }
    });
    let lines = config.lines.iter().filter(|(_, line)| line.events);
    let lines = lines.map(|(name, _)| format!("/lines/{name}/<secret> (the provider's, not previewed)"));
    let known: Vec<_> = stores.chain(calendars).chain(forms).chain(lines).collect();
    let route = mask_route_secret(route);
    anyhow::anyhow!("`{route}` is not a route of this client; its routes are {}", known.join(", "))
}

/// A route for output: the secret after the name of a form or line is replaced by `…`.
fn mask_route_secret(route: &str) -> String {
    let masked = ["/leads/", "/lines/"].iter().find_map(|kind| {
        let (name, _) = route.strip_prefix(kind)?.split_once('/')?;
        Some(format!("{kind}{name}/…"))
    });
    masked.unwrap_or_else(|| route.to_owned())
}

fn read_lookup_file(file: &Path) -> anyhow::Result<(Vec<u8>, Value)> {
    let bytes = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let value = serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", file.display()))?;
    Ok((bytes, value))
}
