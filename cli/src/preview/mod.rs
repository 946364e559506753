//! `run_tellonce run_preview`: recorded deliveries go through the code that is deployed, and what would be said is shown.
//!
//! Verifying is `webhook_receiver::interpret_response`. For orders, reading is `order_notifier::order_event::read_case`, words and keys
//! `order_notifier::plan`, and what may still be said `tellonce_core::scan_ledger`; for appointments all of it is
//! `reminder_scheduler`'s, and for leads `lead_first_touch`'s and `tellonce_core::greeting`'s. What stands in is what they write to,
//! which is in memory here, and the answers of stores, booking systems and forms to look-ups, which come from files.

mod bookings;
mod cases;
mod in_memory_ledger;
mod leads;
mod orders;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
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
    delivery::{Refusal, VerificationOutcome, Verified},
    inbox::build_item_id,
    ledger::{IdempotencyKey, LedgerRow, Payload},
    secret::Secret,
};
use webhook_receiver::{ReceiveError, SenderKind, route_request, verify_request};

use crate::{CommandOutput, secrets::SecretsFile};
use cases::RecordedDelivery;

/// What to preview.
#[derive(clap::Args)]
pub(crate) struct PreviewArguments {
    /// The client's folder, e.g. clients/demo.
    #[arg(long, value_name = "DIR")]
    client: PathBuf,
    /// The secrets to verify with: a JSON object, full secret name → "value" or {"current", "previous"}. Without it,
    /// secrets.json in the client's folder.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// The path that the deliveries were posted to, e.g. /stores/shop, /bookings/clinic or /leads/contact, with its secret if
    /// it ends in one; for --ics that of its calendar.
    #[arg(long, value_name = "PATH")]
    route: String,
    /// Headers of a delivery, one `Name: value` a line. May be repeated, each with its --body.
    #[arg(long, value_name = "FILE", requires = "body", conflicts_with = "folder")]
    headers: Vec<PathBuf>,
    /// The raw body of a delivery.
    #[arg(long, value_name = "FILE", requires = "headers")]
    body: Vec<PathBuf>,
    /// Instead of pairs: a folder of CASE.headers.txt and CASE.json (or .form, .multipart), taken by name.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["headers", "ics"])]
    folder: Option<PathBuf>,
    /// Instead of deliveries: a calendar's feed as a file. May be repeated, for one read after the other.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["headers", "folder"])]
    ics: Vec<PathBuf>,
    /// The time to pretend, like 2026-11-19T10:00:02Z. Once for all deliveries, or once for each of them, not going back.
    #[arg(long, value_name = "TIME")]
    now: Vec<Timestamp>,
    /// A store's answer to a look-up (the Admin API's JSON), or what a booking system or a form's sender says when it is asked.
    /// May be repeated.
    #[arg(long, value_name = "FILE")]
    lookup: Vec<PathBuf>,
    /// Print for people instead of for programs.
    #[arg(long)]
    pretty: bool,
}

/// What would become of one delivery.
#[derive(Default, Serialize)]
struct DeliveryPreview {
    /// Which recorded delivery.
    case: String,
    verified: bool,
    /// The HTTP status that its sender would get.
    status: u16,
    refused: Option<String>,
    delivery_id: Option<String>,
    duplicate: bool,
    event: Option<EventPreview>,
    messages: Vec<MessagePreview>,
    /// Reminders of it that nobody would get, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped_reminders: Vec<bookings::SkippedReminder>,
    skip_reason: Option<String>,
    /// Where to look in the ledger when all is over.
    #[serde(skip)]
    key: Option<IdempotencyKey>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EventPreview {
    Order(OrderPreview),
    Appointment(bookings::AppointmentPreview),
    Leads(leads::LeadsPreview),
}

#[derive(Serialize)]
struct OrderPreview {
    kind: String,
    id: Option<String>,
    occurred_at: Timestamp,
    number: Option<String>,
    milestone: &'static str,
    /// Masked.
    phone: Option<String>,
}

#[derive(Serialize)]
struct MessagePreview {
    idempotency_key: String,
    line: String,
    /// In full: a preview is for the developer at the desk.
    to: String,
    text: String,
    button: Option<ButtonPreview>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    send_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize)]
struct ButtonPreview {
    text: String,
    url: String,
}

/// Runs a preview: a line of JSON for each delivery, or for each appointment of a feed.
pub(crate) fn run_preview(arguments: &PreviewArguments) -> anyhow::Result<CommandOutput> {
    let config = load_config(&arguments.client)?;
    if arguments.ics.is_empty() {
        let cases = match &arguments.folder {
            Some(folder) => cases::read_folder(folder)?,
            None => cases::read_pairs(&arguments.headers, &arguments.body)?,
        };
        render_json_lines(&preview_deliveries(arguments, &config, &cases)?, arguments.pretty)
    } else {
        let times = resolve_times(&arguments.now, arguments.ics.len())?;
        let calendar = find_calendar(&config, &arguments.route)?;
        render_json_lines(&bookings::preview_feed(&config, calendar, &arguments.ics, &times)?, arguments.pretty)
    }
}

fn render_json_lines<T: Serialize>(shown: &[T], pretty: bool) -> anyhow::Result<CommandOutput> {
    let mut text = String::new();
    for one in shown {
        let json = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
        text.push_str(&json(one)?);
        text.push('\n');
    }
    Ok(CommandOutput::from_text(text))
}

/// Why there is none.
const LINES_NOT_PREVIEWED: &str = "what EZWhatsApp reports of a line is not previewed: it tells customers nothing. `tellonce \
                                   check` reads the words and answers of escalations";

fn preview_deliveries(
    arguments: &PreviewArguments,
    config: &ClientConfig,
    cases: &[RecordedDelivery],
) -> anyhow::Result<Vec<DeliveryPreview>> {
    let times = resolve_times(&arguments.now, cases.len())?;
    let sender = route_request(config, &Method::POST, &arguments.route)
        .map_err(|_| unknown_route_error(config, &arguments.route))?;
    if sender.kind == SenderKind::Line {
        bail!(LINES_NOT_PREVIEWED);
    }
    let usual = arguments.client.join("secrets.json");
    let file = arguments.secrets.as_deref().unwrap_or(&usual);
    let secret_name = config.webhook_secret_name(sender.name);
    // What may stand behind the name is a secret.
    let shown_route = mask_route_secret(&arguments.route);
    let secrets = SecretsFile::read(file)?;
    let secrets = secrets.values(&secret_name).with_context(|| {
        format!(
            "{} does not have `{secret_name}`, which deliveries to {shown_route} are verified with; add it",
            file.display()
        )
    })?;
    let lookups = arguments.lookup.iter().map(|file| read_lookup_file(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let inbox = BTreeMap::new();
    let inbound = InboundRoute { config, sender_name: sender.name, route: &arguments.route, secrets, lookups, inbox };
    let timed_cases = cases.iter().zip(&times);
    Ok(match sender.kind {
        SenderKind::Store => {
            let mut simulator = orders::OrderSimulator::new(inbound, &config.stores[sender.name]);
            let mut previews: Vec<DeliveryPreview> =
                timed_cases.map(|(case, now)| simulator.simulate_delivery(case, *now)).collect();
            simulator.finish(&mut previews);
            previews
        }
        SenderKind::Calendar => {
            let mut simulator = bookings::BookingSimulator::new(inbound, &config.calendars[sender.name]);
            let mut previews: Vec<DeliveryPreview> =
                timed_cases.map(|(case, now)| simulator.simulate_delivery(case, *now)).collect();
            simulator.finish(&mut previews);
            previews
        }
        SenderKind::Line => bail!(LINES_NOT_PREVIEWED),
        SenderKind::Form(_) => {
            let mut simulator = leads::LeadSimulator::new(inbound, &config.forms[sender.name]);
            let mut previews: Vec<DeliveryPreview> =
                timed_cases.map(|(case, now)| simulator.simulate_delivery(case, *now)).collect();
            simulator.finish(&mut previews);
            previews
        }
    })
}

/// The calendar whose route this is; a feed's needs no webhook.
fn find_calendar<'c>(config: &'c ClientConfig, route: &str) -> anyhow::Result<&'c str> {
    let found = route.strip_prefix("/bookings/").and_then(|name| config.calendars.get_key_value(name));
    let (name, _) = found.with_context(|| {
        format!("`{}` is no calendar of this client; write --route /bookings/<calendar>", mask_route_secret(route))
    })?;
    Ok(name)
}

/// The way in, as webhook-receiver guards it.
struct InboundRoute<'a> {
    config: &'a ClientConfig,
    /// The store, calendar or form.
    sender_name: &'a str,
    route: &'a str,
    secrets: &'a [Secret],
    lookups: Vec<(Vec<u8>, Value)>,
    /// Bodies by the delivery's key in the inbox.
    inbox: BTreeMap<String, Vec<Vec<u8>>>,
}

impl<'a> InboundRoute<'a> {
    /// Verifies a delivery and files it: gives it with its key in the inbox, or what its sender is told instead.
    fn accept_delivery(
        &mut self,
        case: &'a RecordedDelivery,
        now: Timestamp,
    ) -> Result<(Verified<'a>, String, DeliveryPreview), Box<DeliveryPreview>> {
        let shown = DeliveryPreview { case: case.name.clone(), status: 200, ..DeliveryPreview::default() };
        let verified = match verify_request(
            self.config,
            &Method::POST,
            self.route,
            &case.headers,
            &case.body,
            self.secrets,
            now,
        ) {
            Ok(VerificationOutcome::Verified(verified)) => verified,
            Ok(VerificationOutcome::Ping) => {
                return Err(Box::new(DeliveryPreview { skip_reason: Some("ping".to_owned()), ..shown }));
            }
            Err(reason) => {
                let refused = Some(explain_refusal(&reason, case, now));
                return Err(Box::new(DeliveryPreview { status: reason.http_status(), refused, ..shown }));
            }
        };
        let shown = DeliveryPreview { verified: true, delivery_id: Some(verified.delivery_id.clone()), ..shown };
        let id = build_item_id(verified.sender, &verified.delivery_id);
        // A delivery id that comes again with another body is new.
        let bodies = self.inbox.entry(id.clone()).or_default();
        if bodies.iter().any(|body| body == verified.body) {
            let because = Some("duplicate: this delivery is in the inbox already".to_owned());
            return Err(Box::new(DeliveryPreview { duplicate: true, skip_reason: because, ..shown }));
        }
        bodies.push(verified.body.to_owned());
        Ok((verified, id, shown))
    }
}

/// The configuration in a client's folder, if the functions could load it.
pub(crate) fn load_config(folder: &Path) -> anyhow::Result<ClientConfig> {
    let file = folder.join("client.toml");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read; name the client's folder with --client DIR", file.display()))?;
    let examined = check_file(&text);
    let first = examined.findings.into_iter().find(|finding| finding.severity == Severity::Error);
    examined.config.with_context(|| {
        let first = first.map(|it| format!("{}:{}: {}\n  → {}\n", file.display(), it.line, it.problem, it.remedy));
        format!("{}run `tellonce check {}` and mend it first", first.unwrap_or_default(), folder.display())
    })
}

fn resolve_times(given: &[Timestamp], cases: usize) -> anyhow::Result<Vec<Timestamp>> {
    ensure!(
        given.len() <= 1 || given.len() == cases,
        "there are {} --now for {cases} deliveries; give one for all of them, or one for each",
        given.len()
    );
    ensure!(given.is_sorted(), "time cannot go back: give --now in the order of the deliveries, the earliest first");
    Ok(match given {
        [] => vec![Clock::default().now(); cases],
        [now] => vec![*now; cases],
        each => each.to_vec(),
    })
}

fn unknown_route_error(config: &ClientConfig, route: &str) -> anyhow::Error {
    let stores = config.stores.keys().map(|name| format!("/stores/{name}"));
    let calendars = config.calendars.iter().filter(|(_, calendar)| calendar.kind.posts_webhooks());
    let calendars = calendars.map(|(name, _)| format!("/bookings/{name}"));
    let forms = config.forms.iter().map(|(name, form)| match form.verify {
        FormScheme::SecretPath => format!("/leads/{name}/<secret>"),
        FormScheme::Signature | FormScheme::StandardWebhooks | FormScheme::StaticHeader { .. } => {
            format!("/leads/{name}")
        }
    });
    let lines = config.lines.iter().filter(|(_, line)| line.events);
    let lines = lines.map(|(name, _)| format!("/lines/{name}/<secret> (EZWhatsApp's, not previewed)"));
    let known: Vec<_> = stores.chain(calendars).chain(forms).chain(lines).collect();
    let route = mask_route_secret(route);
    anyhow::anyhow!("`{route}` leads to nothing of this client; its routes are {}", known.join(", "))
}

/// A route as it may be shown: behind the name of a form or line stands a secret.
fn mask_route_secret(route: &str) -> String {
    let masked = ["/leads/", "/lines/"].iter().find_map(|kind| {
        let (name, _) = route.strip_prefix(kind)?.split_once('/')?;
        Some(format!("{kind}{name}/…"))
    });
    masked.unwrap_or_else(|| route.to_owned())
}

fn read_lookup_file(file: &Path) -> anyhow::Result<(Vec<u8>, Value)> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let value = serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", file.display()))?;
    Ok((bytes, value))
}

/// Why a delivery was refused, and what would make it pass.
fn explain_refusal(reason: &ReceiveError, case: &RecordedDelivery, now: Timestamp) -> String {
    let hint = match reason {
        ReceiveError::Refused(Refusal::TimestampOutOfRange { seconds, .. }) => {
            let signed_at = now.as_second().checked_sub(*seconds).and_then(|at| Timestamp::from_second(at).ok());
            signed_at.map(|at| format!("; with --now {at} it would pass"))
        }
        ReceiveError::Refused(Refusal::ProofMismatch) if case.body.ends_with(b"\n") => {
            Some("; the body file ends with a line break, which the signed body may not have had".to_owned())
        }
        _ => None,
    };
    format!("{reason}{}", hint.unwrap_or_default())
}

/// A message as its very request has it.
fn preview_message(row: &LedgerRow, payload: &Payload, send_at: Timestamp) -> MessagePreview {
    let request: Value = serde_json::from_str(&payload.body).unwrap_or_default();
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let button = text("/ctaUrlButton/displayText").zip(text("/ctaUrlButton/url"));
    MessagePreview {
        idempotency_key: row.key.to_string(),
        line: row.line.clone(),
        to: text("/to").unwrap_or_default(),
        // A document's text is its caption.
        text: text("/body").or_else(|| text("/caption")).unwrap_or_default(),
        button: button.map(|(text, url)| ButtonPreview { text, url }),
        document: text("/mediaUrl"),
        send_at,
        expires_at: row.useful_until,
    }
}
