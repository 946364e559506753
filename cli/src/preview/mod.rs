//! `tellonce preview`: recorded deliveries go through the code that is deployed, and what would be said is shown.
//!
//! Verifying is `webhook_receiver::judge`, reading `order_notifier::order_event::read`, words and keys
//! `order_notifier::plan`, and what may still be said `shared::ledger`. Only two things stand in: a ledger and an inbox
//! in memory ([`scratch`]), and the answers of stores to look-ups, which come from files.

mod cases;
mod scratch;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use http::Method;
use jiff::Timestamp;
use order_notifier::{
    Known,
    lookup::{complete_from_ledger, read_order_answer},
    note,
    order_event::{NothingBecause, OrderEvent, OrderRef, PartialEvent, Reading, read},
    plan,
};
use serde::Serialize;
use serde_json::Value;
use shared::{
    check::{Severity, examine},
    client_config::{ClientConfig, Milestone, Store},
    clock::Clock,
    delivery::{Checked, Refusal, Verified},
    fault::chain,
    ledger::News,
    ledger::{Key, Payload, Row, State},
    secret::Secret,
};
use webhook_receiver::{NotAccepted, judge, route};

use crate::{Said, secrets::SecretsFile};
use cases::Case;
use scratch::{Met, Scratch};

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
    /// The path that the deliveries were posted to, e.g. /stores/shop.
    #[arg(long, value_name = "PATH")]
    route: String,
    /// Headers of a delivery, one `Name: value` a line. May be repeated, each with its --body.
    #[arg(long, value_name = "FILE", requires = "body", conflicts_with = "folder")]
    headers: Vec<PathBuf>,
    /// The raw body of a delivery.
    #[arg(long, value_name = "FILE", requires = "headers")]
    body: Vec<PathBuf>,
    /// Instead of pairs: a folder of CASE.headers.txt and CASE.json (or .form), taken by name.
    #[arg(long, value_name = "DIR", required_unless_present = "headers")]
    folder: Option<PathBuf>,
    /// The time to pretend, like 2026-11-19T10:00:02Z. Once for all deliveries, or once for each of them, not going back.
    #[arg(long, value_name = "TIME")]
    now: Vec<Timestamp>,
    /// A store's answer to a look-up (the Admin API's JSON). May be repeated.
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
    nothing_because: Option<String>,
    /// Where to look in the ledger when all is over.
    #[serde(skip)]
    key: Option<Key>,
}

#[derive(Serialize)]
struct EventShown {
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

/// Runs a preview: a line of JSON for each delivery.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Said> {
    let config = configuration(&arguments.client)?;
    let cases = match &arguments.folder {
        Some(folder) => cases::folder(folder)?,
        None => cases::pairs(&arguments.headers, &arguments.body)?,
    };
    let times = times(&arguments.now, cases.len())?;
    let (name, store) =
        route(&config, &Method::POST, &arguments.route).map_err(|_| no_route(&config, &arguments.route))?;
    let usual = arguments.client.join("secrets.json");
    let file = arguments.secrets.as_deref().unwrap_or(&usual);
    let secret_name = config.webhook_secret(name);
    let secrets = SecretsFile::read(file)?;
    let secrets = secrets.values(&secret_name).with_context(|| {
        format!(
            "{} does not have `{secret_name}`, which deliveries to {} are verified with; add it",
            file.display(),
            arguments.route
        )
    })?;
    let lookups = arguments.lookup.iter().map(|file| answer(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut desk =
        Desk { config: &config, name, store, route: &arguments.route, secrets, lookups, scratch: Scratch::default() };
    let mut shown: Vec<Shown> = cases.iter().zip(&times).map(|(case, now)| desk.take(case, *now)).collect();
    desk.scratch.pass(Timestamp::MAX);
    let mut text = String::new();
    for delivery in &mut shown {
        desk.fate(delivery);
        let json = if arguments.pretty { serde_json::to_string_pretty } else { serde_json::to_string };
        text.push_str(&json(delivery)?);
        text.push('\n');
    }
    Ok(Said::well(text))
}

fn configuration(folder: &Path) -> anyhow::Result<ClientConfig> {
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
    let known: Vec<_> = config.stores.keys().map(|name| format!("/stores/{name}")).collect();
    anyhow::anyhow!("`{route}` leads to no store of this client; its routes are {}", known.join(", "))
}

fn answer(file: &Path) -> anyhow::Result<(Vec<u8>, Value)> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let value = serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", file.display()))?;
    Ok((bytes, value))
}

/// Everything that one preview needs.
struct Desk<'a> {
    config: &'a ClientConfig,
    name: &'a str,
    store: &'a Store,
    route: &'a str,
    secrets: &'a [Secret],
    lookups: Vec<(Vec<u8>, Value)>,
    scratch: Scratch,
}

impl<'a> Desk<'a> {
    /// One delivery: verify it, file it, read it, tell it.
    fn take(&mut self, case: &'a Case, now: Timestamp) -> Shown {
        self.scratch.pass(now);
        let shown = Shown { case: case.name.clone(), status: 200, ..Shown::default() };
        let verified = match judge(self.config, &Method::POST, self.route, &case.headers, &case.body, self.secrets, now)
        {
            Ok(Checked::Verified(verified)) => verified,
            Ok(Checked::Ping) => return Shown { nothing_because: Some("ping".to_owned()), ..shown },
            Err(reason) => {
                return Shown { status: reason.status(), refused: Some(refusal(&reason, case, now)), ..shown };
            }
        };
        let shown = Shown { verified: true, delivery_id: Some(verified.delivery_id.clone()), ..shown };
        let Some(id) = self.scratch.file(&verified) else {
            let because = Some("duplicate: this delivery is in the inbox already".to_owned());
            return Shown { duplicate: true, nothing_because: because, ..shown };
        };
        self.process(&verified, &id, now, shown)
    }

    fn process(&mut self, delivery: &Verified<'_>, id: &str, now: Timestamp, shown: Shown) -> Shown {
        let headers = delivery.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let reading = read(self.store, self.config, delivery.topic.as_deref(), &headers, delivery.body, now);
        let (reading, partial) = match reading {
            Reading::NeedsOrder(partial) => (self.complete(&partial), Some(partial)),
            enough => (Ok(enough), None),
        };
        let reading = match reading {
            Ok(reading) => reading,
            Err(skipped) => {
                let event = partial.map(|partial| part(&partial));
                return Shown { event, nothing_because: Some(skipped), ..shown };
            }
        };
        match reading {
            Reading::Event(mut event) => {
                if event.thread.is_some() && event.contact.locale.is_none() {
                    self.known(&event.order_id, event.milestone, event.thread.as_deref()).fill(&mut event);
                }
                let news = plan(self.config, self.name, self.store, &event, id, now);
                self.tell(&news, now, Shown { event: Some(whole(&event)), ..shown })
            }
            Reading::Quiet(event, because) => {
                let news = note(self.store, &event, record(&because), id, now);
                self.tell(&news, now, Shown { event: Some(whole(&event)), ..shown })
            }
            Reading::Nothing(because) => {
                let event = partial.map(|partial| part(&partial));
                Shown { event, nothing_because: Some(record(&because)), ..shown }
            }
            // A look-up either completes an event or ends it.
            Reading::NeedsOrder(partial) => {
                let because = Some(record(&NothingBecause::OrderNotFound));
                Shown { event: Some(part(&partial)), nothing_because: because, ..shown }
            }
        }
    }

    fn tell(&mut self, news: &News, now: Timestamp, shown: Shown) -> Shown {
        let because = match self.scratch.tell(news, now) {
            Met::New(key) => return Shown { key: Some(key), ..shown },
            Met::Known(..) | Met::Differs(..) if news.words.silence().is_some() => {
                news.words.silence().unwrap_or_default().to_owned()
            }
            Met::Known(key, state) => format!("already-known: {key} is {} in the ledger", state.name()),
            Met::Differs(key, state) => {
                format!("already-known: {key} is {} in the ledger, with another text", state.name())
            }
        };
        Shown { nothing_because: Some(because), ..shown }
    }

    fn known(&self, order_id: &str, milestone: Milestone, thread: Option<&str>) -> Known {
        let key = Key::order(self.store.order_book(), order_id, milestone);
        Known::of(&self.scratch.story(key.subject()), thread)
    }

    /// Completes an event from the scratch ledger, else from the answers that were given; or says why not.
    fn complete(&self, partial: &PartialEvent) -> Result<Reading, String> {
        if let Some(order_id) = partial.order.id() {
            let known = self.known(order_id, partial.milestone, partial.thread.as_deref());
            if let Some(mut event) = complete_from_ledger(partial, &known.contact, known.order_number.as_deref()) {
                known.fill(&mut event);
                return Ok(Reading::Event(Box::new(event)));
            }
        }
        let Some((answer, _)) = self.lookups.iter().find(|(_, answer)| answers(answer, &partial.order)) else {
            return Err(format!(
                "look-up-skipped: the delivery does not say enough and {} is not known yet; a preview asks no store, so \
                 give its answer with --lookup FILE",
                match &partial.order {
                    OrderRef::Id(id) => format!("order {id}"),
                    OrderRef::FulfillmentOrder(gid) => gid.clone(),
                }
            ));
        };
        read_order_answer(partial, answer, self.store, self.config)
            .map_err(|error| format!("look-up-failed: {}", chain(&error)))
    }

    /// Says what became of a delivery's message when all is over.
    fn fate(&self, shown: &mut Shown) {
        let Some(row) = shown.key.as_ref().and_then(|key| self.scratch.row(key)) else { return };
        if row.state == State::Accepted {
            shown.messages.extend(row.payload.as_ref().map(|payload| message(row, payload)));
        } else {
            let reason = row.reason.as_deref().unwrap_or_default();
            // What is only noted has its own code in front already.
            let noted = matches!(row.state, State::Noted | State::Unsaid);
            let because = if noted { reason.to_owned() } else { format!("{}: {reason}", row.state.name()) };
            shown.nothing_because = Some(because);
        }
    }
}

/// Whether an answer is about this order. One that names no id (ours does not ask for a fulfillment order's) fits any.
fn answers(answer: &Value, order: &OrderRef) -> bool {
    let at = |pointers: [&str; 2]| {
        pointers.iter().find_map(|pointer| answer.pointer(pointer)).map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        })
    };
    match order {
        OrderRef::Id(id) => {
            let told = at(["/data/order/legacyResourceId", "/data/fulfillmentOrder/order/legacyResourceId"]);
            told.is_some_and(|told| told == *id)
        }
        OrderRef::FulfillmentOrder(gid) => {
            let told = at(["/data/fulfillmentOrder/id", "/data/node/id"]);
            answer.pointer("/data/fulfillmentOrder").is_some() && told.is_none_or(|told| told == *gid)
        }
    }
}

/// Why a delivery was refused, and what would make it pass.
fn refusal(reason: &NotAccepted, case: &Case, now: Timestamp) -> String {
    let hint = match reason {
        NotAccepted::NotBelieved(Refusal::Stale { seconds }) => {
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

fn whole(event: &OrderEvent) -> EventShown {
    EventShown {
        kind: event.kind(),
        id: Some(event.order_id.clone()),
        occurred_at: event.occurred_at,
        number: event.order_number.clone(),
        milestone: event.milestone.name(),
        phone: event.contact.phone.as_ref().map(ToString::to_string),
    }
}

fn part(event: &PartialEvent) -> EventShown {
    EventShown {
        kind: format!("order.{}", event.milestone.name()),
        id: event.order.id().map(str::to_owned),
        occurred_at: event.occurred_at,
        number: event.order_number.clone(),
        milestone: event.milestone.name(),
        phone: event.contact.phone.as_ref().map(ToString::to_string),
    }
}

/// A message as its very request has it.
fn message(row: &Row, payload: &Payload) -> MessageShown {
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
        send_at: row.updated_at,
        expires_at: row.useful_until,
    }
}

fn record(because: &NothingBecause) -> String {
    format!("{}: {because}", because.code())
}
