//! From an accepted delivery to a message at EZWhatsApp, through gateway, receiver, stream and the function that tells it, at
//! a given rate: an order's, or a lead's with an EZWhatsApp that takes its time.
//!
//! Times are to the millisecond, as the ledger and the fake keep them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use local::{clock::system_now_ms, dynamo::plain_item};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{
    deliveries::Delivery,
    stats::mean,
    world::{Events, Streams, World},
};

/// Sent before anything is measured, so that both functions are warm.
const WARM_UP: usize = 5;

/// What travels the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// Orders of a shop; EZWhatsApp answers at once.
    Orders,
    /// Submissions of a form, each of a person of its own; EZWhatsApp answers after so many milliseconds.
    Leads {
        /// What it takes.
        answer_ms: u64,
    },
}

impl Cargo {
    /// Who tells it.
    pub(crate) const fn teller(self) -> &'static str {
        match self {
            Self::Orders => "order-notifier",
            Self::Leads { .. } => "lead-first-touch",
        }
    }

    fn delivery(self, world: &World) -> anyhow::Result<Delivery> {
        match self {
            Self::Orders => world.delivery(),
            Self::Leads { .. } => Ok(world.site.submission(world.stack.clock().now_ms())),
        }
    }
}

/// What was measured, in milliseconds, one value for every message.
#[derive(Debug)]
pub(crate) struct EndToEnd {
    /// What travelled.
    pub(crate) cargo: Cargo,
    /// Deliveries a second.
    pub(crate) rate: u32,
    /// From the request to the sender's 2xx.
    pub(crate) answered: Vec<f64>,
    /// From the 2xx until its function has claimed the message.
    pub(crate) waited: Vec<f64>,
    /// From the 2xx until EZWhatsApp has the message.
    pub(crate) told: Vec<f64>,
}

impl EndToEnd {
    /// The share of the time between 2xx and message that passed before the notifier began with it.
    pub(crate) fn share_waited(&self) -> f64 {
        let told = mean(&self.told);
        if told > 0.0 { mean(&self.waited) / told } else { 0.0 }
    }
}

/// When a delivery was accepted, by its key in the inbox: milliseconds that the answer took, and unix milliseconds.
type Accepted = Arc<Mutex<BTreeMap<String, (f64, i64)>>>;

/// Sends `rate` deliveries a second for so many seconds.
pub(crate) async fn measure(
    root: &Path,
    binaries: &Path,
    cargo: Cargo,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<EndToEnd> {
    let world = World::start("end to end", root, binaries, Streams::On, Events::Off).await?;
    if let Cargo::Leads { answer_ms } = cargo {
        world.stack.ezw().set_latency(Duration::from_millis(answer_ms))?;
    }
    let result = send_all(&world, cargo, rate, seconds).await;
    world.stack.shutdown().await;
    result
}

async fn send_all(world: &World, cargo: Cargo, rate: u32, seconds: u32) -> anyhow::Result<EndToEnd> {
    let http = shared::cold_start::http_client()?;
    let gateway = world.stack.gateway_url();
    let ignored = Accepted::default();
    for _ in 0..WARM_UP {
        send(http.clone(), gateway.clone(), cargo.delivery(world)?, String::new(), ignored.clone()).await?;
        world.stack.drain().await?;
    }
    let accepted = Accepted::default();
    let mut sending = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..rate.max(1) * seconds {
        ticks.tick().await;
        let delivery = cargo.delivery(world)?;
        let key = delivery.key();
        sending.spawn(send(http.clone(), gateway.clone(), delivery, key, accepted.clone()));
    }
    for sent in sending.join_all().await {
        sent?;
    }
    world.stack.drain().await?;
    let accepted = std::mem::take(&mut *accepted.lock().unwrap_or_else(PoisonError::into_inner));
    evaluate(world, cargo, rate, &accepted)
}

async fn send(
    http: reqwest::Client,
    gateway: String,
    delivery: Delivery,
    key: String,
    accepted: Accepted,
) -> anyhow::Result<()> {
    let took = post(&http, &gateway, delivery).await?;
    accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (took, system_now_ms()));
    Ok(())
}

/// Posts a delivery and gives the milliseconds until its 2xx.
pub(crate) async fn post(http: &reqwest::Client, gateway: &str, delivery: Delivery) -> anyhow::Result<f64> {
    let mut request = http.post(format!("{gateway}{}", delivery.path));
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    let begun = tokio::time::Instant::now();
    // The address of a line's events is a secret.
    let answer = request.body(delivery.body).send().await.map_err(reqwest::Error::without_url)?;
    let took = crate::stats::ms(begun.elapsed());
    ensure!(answer.status().is_success(), "a delivery was answered {}", answer.status());
    Ok(took)
}

/// Joins what the sender, the ledger and the fake know of each message.
fn evaluate(
    world: &World,
    cargo: Cargo,
    rate: u32,
    accepted: &BTreeMap<String, (f64, i64)>,
) -> anyhow::Result<EndToEnd> {
    let messages = world.stack.ezw().messages();
    let queued: BTreeMap<&str, i64> =
        messages.iter().filter_map(|message| Some((message.key.as_deref()?, message.queued_at))).collect();
    let mut all = EndToEnd { cargo, rate, answered: Vec::new(), waited: Vec::new(), told: Vec::new() };
    for row in ledger(world)? {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let Some((answered, accepted_ms)) = accepted.get(text("delivery")) else { continue };
        let key = format!("{}:{}", text("subject"), text("stage"));
        let queued_ms = queued.get(key.as_str()).with_context(|| format!("{key} was not told"))?;
        let claimed_ms = row["created_at"].as_i64().with_context(|| format!("{key} has no created_at"))?;
        all.answered.push(*answered);
        // the stream may be quicker than the answer to the sender
        all.waited.push(span(*accepted_ms, claimed_ms));
        all.told.push(span(*accepted_ms, *queued_ms));
    }
    let (told, sent) = (all.told.len(), accepted.len());
    ensure!(told == sent, "{told} of {sent} deliveries led to a message");
    Ok(all)
}

/// Milliseconds from one time to another; 0 if that was before.
#[expect(clippy::cast_precision_loss, reason = "spans of some milliseconds")]
pub(crate) fn span(from_ms: i64, to_ms: i64) -> f64 {
    (to_ms - from_ms).max(0) as f64
}

/// All rows of the ledger, as plain JSON.
fn ledger(world: &World) -> anyhow::Result<Vec<Value>> {
    let functions = &world.stack.template().functions;
    let table = functions.iter().find_map(|function| function.env.get("LEDGER_TABLE"));
    let mut request = json!({"TableName": table.context("no function of the template has LEDGER_TABLE")?});
    let mut rows = Vec::new();
    loop {
        let mut page = world.stack.dynamo().call("Scan", &request)?;
        for item in page["Items"].as_array().into_iter().flatten() {
            rows.push(plain_item(item)?);
        }
        match page["LastEvaluatedKey"].take() {
            Value::Null => return Ok(rows),
            key => request["ExclusiveStartKey"] = key,
        }
    }
}
