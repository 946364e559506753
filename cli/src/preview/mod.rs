//! `tellonce preview`: recorded deliveries go through the code that is deployed, and what would be said is shown.
//!
//! Verifying is `webhook_receiver::judge`. For orders, reading is `order_notifier::order_event::read`, words and keys
//! `order_notifier::plan`, and what may still be said `shared::ledger`; for appointments all of it is
//! `reminder_scheduler`'s, and for leads `lead_first_touch`'s and `shared::greeting`'s. What stands in is what they write to,
//! which is in memory here, and the answers of stores, booking systems and forms to look-ups, which come from files.

mod bookings;
mod cases;
mod leads;
mod orders;
mod scratch;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use shared::{
    check::{Severity, examine},
    client_config::{ClientConfig, FormScheme},
    clock::Clock,
    delivery::{Checked, Refusal, Verified},
    inbox::item_id,
    ledger::{Key, Payload, Row},
    secret::Secret,
};
use webhook_receiver::{NotAccepted, SenderKind, judge, route};

use crate::{Said, secrets::SecretsFile};
use cases::Case;

/// What to preview.
#[derive(clap::Args)]
pub(crate) struct Arguments {
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
struct Shown {
    /// Which recorded delivery.
    case: String,
    verified: bool,
    /// The HTTP status that its sender would get.
    status: u16,
    refused: Option<String>,
    delivery_id: Option<String>,
    duplicate: bool,
    event: Option<EventShown>,
    messages: Vec<MessageShown>,
    /// Reminders of it that nobody would get, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<bookings::LeftOut>,
    nothing_because: Option<String>,
    /// Where to look in the ledger when all is over.
    #[serde(skip)]
    key: Option<Key>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EventShown {
    Order(OrderShown),
    Appointment(bookings::AppointmentShown),
    Leads(leads::LeadsShown),
}

#[derive(Serialize)]
struct OrderShown {
    kind: String,
    id: Option<String>,
    occurred_at: Timestamp,
    number: Option<String>,
    milestone: &'static str,
    /// Masked.
    phone: Option<String>,
}

#[derive(Serialize)]
struct MessageShown {
    idempotency_key: String,
    line: String,
    /// In full: a preview is for the developer at the desk.
    to: String,
    text: String,
    button: Option<ButtonShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    send_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize)]
struct ButtonShown {
    text: String,
    url: String,
}

/// Runs a preview: a line of JSON for each delivery, or for each appointment of a feed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Said> {
    let config = configuration(&arguments.client)?;
    if arguments.ics.is_empty() {
        let cases = match &arguments.folder {
            Some(folder) => cases::folder(folder)?,
            None => cases::pairs(&arguments.headers, &arguments.body)?,
        };
        lines(&deliveries(arguments, &config, &cases)?, arguments.pretty)
    } else {
        let times = times(&arguments.now, arguments.ics.len())?;
        let calendar = calendar_of(&config, &arguments.route)?;
        lines(&bookings::feed(&config, calendar, &arguments.ics, &times)?, arguments.pretty)
    }
}

fn lines<T: Serialize>(shown: &[T], pretty: bool) -> anyhow::Result<Said> {
    let mut text = String::new();
    for one in shown {
        let json = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
        text.push_str(&json(one)?);
        text.push('\n');
    }
    Ok(Said::well(text))
}

/// Why there is none.
const NO_PREVIEW_OF_LINES: &str = "what EZWhatsApp reports of a line is not previewed: it tells customers nothing. `tellonce \
                                   check` reads the words and answers of escalations";

fn deliveries(arguments: &Arguments, config: &ClientConfig, cases: &[Case]) -> anyhow::Result<Vec<Shown>> {
    let times = times(&arguments.now, cases.len())?;
    let sender = route(config, &Method::POST, &arguments.route).map_err(|_| no_route(config, &arguments.route))?;
    if sender.kind == SenderKind::Line {
        bail!(NO_PREVIEW_OF_LINES);
    }
    let usual = arguments.client.join("secrets.json");
    let file = arguments.secrets.as_deref().unwrap_or(&usual);
    let secret_name = config.webhook_secret(sender.name);
    // What may stand behind the name is a secret.
    let shown_route = without_secret(&arguments.route);
    let secrets = SecretsFile::read(file)?;
    let secrets = secrets.values(&secret_name).with_context(|| {
        format!(
            "{} does not have `{secret_name}`, which deliveries to {shown_route} are verified with; add it",
            file.display()
        )
    })?;
    let lookups = arguments.lookup.iter().map(|file| answer(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let inbox = BTreeMap::new();
    let door = Door { config, name: sender.name, route: &arguments.route, secrets, lookups, inbox };
    let taken = cases.iter().zip(&times);
    Ok(match sender.kind {
        SenderKind::Store => {
            let mut desk = orders::Desk::new(door, &config.stores[sender.name]);
            let mut shown: Vec<Shown> = taken.map(|(case, now)| desk.take(case, *now)).collect();
            desk.close(&mut shown);
            shown
        }
        SenderKind::Calendar => {
            let mut desk = bookings::Desk::new(door, &config.calendars[sender.name]);
            let mut shown: Vec<Shown> = taken.map(|(case, now)| desk.take(case, *now)).collect();
            desk.close(&mut shown);
            shown
        }
        SenderKind::Line => bail!(NO_PREVIEW_OF_LINES),
        SenderKind::Form(_) => {
            let mut desk = leads::Desk::new(door, &config.forms[sender.name]);
            let mut shown: Vec<Shown> = taken.map(|(case, now)| desk.take(case, *now)).collect();
            desk.close(&mut shown);
            shown
        }
    })
}

/// The calendar whose route this is; a feed's needs no webhook.
fn calendar_of<'c>(config: &'c ClientConfig, route: &str) -> anyhow::Result<&'c str> {
    let found = route.strip_prefix("/bookings/").and_then(|name| config.calendars.get_key_value(name));
    let (name, _) = found.with_context(|| {
        format!("`{}` is no calendar of this client; write --route /bookings/<calendar>", without_secret(route))
    })?;
    Ok(name)
}

/// The way in, as webhook-receiver guards it.
struct Door<'a> {
    config: &'a ClientConfig,
    /// The store, calendar or form.
    name: &'a str,
    route: &'a str,
    secrets: &'a [Secret],
    lookups: Vec<(Vec<u8>, Value)>,
    /// Bodies by the delivery's key in the inbox.
    inbox: BTreeMap<String, Vec<Vec<u8>>>,
}

impl<'a> Door<'a> {
    /// Verifies a delivery and files it: gives it with its key in the inbox, or what its sender is told instead.
    fn open(&mut self, case: &'a Case, now: Timestamp) -> Result<(Verified<'a>, String, Shown), Box<Shown>> {
        let shown = Shown { case: case.name.clone(), status: 200, ..Shown::default() };
        let verified = match judge(self.config, &Method::POST, self.route, &case.headers, &case.body, self.secrets, now)
        {
            Ok(Checked::Verified(verified)) => verified,
            Ok(Checked::Ping) => return Err(Box::new(Shown { nothing_because: Some("ping".to_owned()), ..shown })),
            Err(reason) => {
                let refused = Some(refusal(&reason, case, now));
                return Err(Box::new(Shown { status: reason.status(), refused, ..shown }));
            }
        };
        let shown = Shown { verified: true, delivery_id: Some(verified.delivery_id.clone()), ..shown };
        let id = item_id(verified.sender, &verified.delivery_id);
        // A delivery id that comes again with another body is new.
        let bodies = self.inbox.entry(id.clone()).or_default();
        if bodies.iter().any(|body| body == verified.body) {
            let because = Some("duplicate: this delivery is in the inbox already".to_owned());
            return Err(Box::new(Shown { duplicate: true, nothing_because: because, ..shown }));
        }
        bodies.push(verified.body.to_owned());
        Ok((verified, id, shown))
    }
}

/// The configuration in a client's folder, if the functions could load it.
pub(crate) fn configuration(folder: &Path) -> anyhow::Result<ClientConfig> {
    let file = folder.join("client.toml");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read; name the client's folder with --client DIR", file.display()))?;
    let examined = examine(&text);
    let first = examined.findings.into_iter().find(|finding| finding.severity == Severity::Error);
    examined.config.with_context(|| {
        let first = first.map(|it| format!("{}:{}: {}\n  → {}\n", file.display(), it.line, it.what, it.remedy));
        format!("{}run `tellonce check {}` and mend it first", first.unwrap_or_default(), folder.display())
    })
}

fn times(given: &[Timestamp], cases: usize) -> anyhow::Result<Vec<Timestamp>> {
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

fn no_route(config: &ClientConfig, route: &str) -> anyhow::Error {
    let stores = config.stores.keys().map(|name| format!("/stores/{name}"));
    let calendars = config.calendars.iter().filter(|(_, calendar)| calendar.kind.posts());
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
    let route = without_secret(route);
    anyhow::anyhow!("`{route}` leads to nothing of this client; its routes are {}", known.join(", "))
}

/// A route as it may be shown: behind the name of a form or line stands a secret.
fn without_secret(route: &str) -> String {
    let masked = ["/leads/", "/lines/"].iter().find_map(|kind| {
        let (name, _) = route.strip_prefix(kind)?.split_once('/')?;
        Some(format!("{kind}{name}/…"))
    });
    masked.unwrap_or_else(|| route.to_owned())
}

fn answer(file: &Path) -> anyhow::Result<(Vec<u8>, Value)> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let value = serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", file.display()))?;
    Ok((bytes, value))
}

/// Why a delivery was refused, and what would make it pass.
fn refusal(reason: &NotAccepted, case: &Case, now: Timestamp) -> String {
    let hint = match reason {
        NotAccepted::NotBelieved(Refusal::Stale { seconds, .. }) => {
            let signed_at = now.as_second().checked_sub(*seconds).and_then(|at| Timestamp::from_second(at).ok());
            signed_at.map(|at| format!("; with --now {at} it would pass"))
        }
        NotAccepted::NotBelieved(Refusal::Mismatch) if case.body.ends_with(b"\n") => {
            Some("; the body file ends with a line break, which the signed body may not have had".to_owned())
        }
        _ => None,
    };
    format!("{reason}{}", hint.unwrap_or_default())
}

/// A message as its very request has it.
fn message(row: &Row, payload: &Payload, send_at: Timestamp) -> MessageShown {
    let request: Value = serde_json::from_str(&payload.body).unwrap_or_default();
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let button = text("/ctaUrlButton/displayText").zip(text("/ctaUrlButton/url"));
    MessageShown {
        idempotency_key: row.key.to_string(),
        line: row.line.clone(),
        to: text("/to").unwrap_or_default(),
        // A document's text is its caption.
        text: text("/body").or_else(|| text("/caption")).unwrap_or_default(),
        button: button.map(|(text, url)| ButtonShown { text, url }),
        document: text("/mediaUrl"),
        send_at,
        expires_at: row.useful_until,
    }
}
