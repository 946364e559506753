//! The path from an accepted delivery to a message at the provider, through gateway, receiver,
//! stream and the function that sends it, at a given rate. Measured for orders, and for leads with
//! a slow provider.
//!
//! Times are in whole milliseconds, as the ledger and the fake keep them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tellonce_fakes::system_now_ms;
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{
    bench_run::{BenchRun, StreamMode},
    deliveries::BenchDelivery,
    settings::LineEventMode,
    stats::mean,
};

/// Deliveries before the measurement, so that both functions are warm.
const WARM_UP_DELIVERIES: usize = 5;

/// The measured kind of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrafficKind {
    /// Orders of a shop. The provider responds at once.
    Orders,
    /// Submissions of a form, each of another person. The provider responds after `latency_ms`.
    Leads {
        /// Milliseconds until the provider responds.
        latency_ms: u64,
    },
}

impl TrafficKind {
    /// The function that sends the message.
    pub(crate) const fn sending_function(self) -> &'static str {
        match self {
            Self::Orders => "order-notifier",
            Self::Leads { .. } => "lead-first-touch",
        }
    }

    fn build_delivery(self, bench_run: &BenchRun) -> anyhow::Result<BenchDelivery> {
        match self {
            Self::Orders => bench_run.build_delivery(),
            Self::Leads { .. } => bench_run.site.build_submission(bench_run.stack.clock().now_ms()),
        }
    }
}

/// The figures in milliseconds, one value for every message.
#[derive(Debug)]
pub(crate) struct EndToEndTimes {
    /// The measured kind of delivery.
    pub(crate) traffic: TrafficKind,
    /// Deliveries per second.
    pub(crate) rate: u32,
    /// From the request to the 2xx response.
    pub(crate) acknowledged_ms: Vec<f64>,
    /// From the 2xx response until the function has claimed the message.
    pub(crate) waited_ms: Vec<f64>,
    /// From the 2xx response until the provider has the message.
    pub(crate) sent_ms: Vec<f64>,
}

impl EndToEndTimes {
    /// The share of the time between 2xx response and message that passed before the function
    /// claimed the message.
    pub(crate) fn waiting_share(&self) -> f64 {
        let mean_sent_ms = mean(&self.sent_ms);
        if mean_sent_ms > 0.0 { mean(&self.waited_ms) / mean_sent_ms } else { 0.0 }
    }
}

/// For each id in the inbox: milliseconds until the response, and the unix milliseconds of the
/// response.
type AcceptedDeliveries = Arc<Mutex<BTreeMap<String, (f64, i64)>>>;

/// Sends `rate` deliveries per second.
pub(crate) async fn measure_end_to_end(
    root: &Path,
    binaries: &Path,
    traffic: TrafficKind,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<EndToEndTimes> {
    let bench_run = BenchRun::start("end to end", root, binaries, StreamMode::On, LineEventMode::Off).await?;
    if let TrafficKind::Leads { latency_ms: answer_ms } = traffic {
        bench_run.stack.provider().set_latency(Duration::from_millis(answer_ms))?;
    }
    let result = send_all(&bench_run, traffic, rate, seconds).await;
    bench_run.stack.shutdown().await;
    result
}

async fn send_all(
    bench_run: &BenchRun,
    traffic: TrafficKind,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<EndToEndTimes> {
    let http = tellonce_core::bootstrap::build_http_client()?;
    let gateway = bench_run.stack.gateway_url();
    let ignored = AcceptedDeliveries::default();
    for _ in 0..WARM_UP_DELIVERIES {
        send_delivery(
            http.clone(),
            gateway.clone(),
            traffic.build_delivery(bench_run)?,
            String::new(),
            ignored.clone(),
        )
        .await?;
        bench_run.stack.drain().await?;
    }
    let accepted = AcceptedDeliveries::default();
    let mut sending = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..rate.max(1) * seconds {
        ticks.tick().await;
        let delivery = traffic.build_delivery(bench_run)?;
        let key = delivery.inbox_key();
        sending.spawn(send_delivery(http.clone(), gateway.clone(), delivery, key, accepted.clone()));
    }
    for sent in sending.join_all().await {
        sent?;
    }
    bench_run.stack.drain().await?;
    let accepted = std::mem::take(&mut *accepted.lock().unwrap_or_else(PoisonError::into_inner));
    join_times(bench_run, traffic, rate, &accepted)
}

async fn send_delivery(
    http: reqwest::Client,
    gateway: String,
    delivery: BenchDelivery,
    key: String,
    accepted: AcceptedDeliveries,
) -> anyhow::Result<()> {
    let took = post_delivery(&http, &gateway, delivery).await?;
    accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (took, system_now_ms()));
    Ok(())
}

/// Posts a delivery and returns the milliseconds until its 2xx response.
pub(crate) async fn post_delivery(
    http: &reqwest::Client,
    gateway: &str,
    delivery: BenchDelivery,
) -> anyhow::Result<f64> {
    let mut request = http.post(format!("{gateway}{}", delivery.post.path));
    for (name, value) in &delivery.post.headers {
        request = request.header(name, value);
    }
    let begun = tokio::time::Instant::now();
    // The address of a line's events contains a secret, so the error must not show it.
    let response = request.body(delivery.post.body).send().await.map_err(reqwest::Error::without_url)?;
    let took = crate::stats::to_milliseconds(begun.elapsed());
    ensure!(response.status().is_success(), "the response to a delivery was {}", response.status());
    Ok(took)
}

/// Joins the times of the sender, the ledger and the fake for each message.
fn join_times(
    bench_run: &BenchRun,
    traffic: TrafficKind,
    rate: u32,
    accepted: &BTreeMap<String, (f64, i64)>,
) -> anyhow::Result<EndToEndTimes> {
    let messages = bench_run.stack.provider().messages();
    let queued: BTreeMap<&str, i64> =
        messages.iter().filter_map(|message| Some((message.key.as_deref()?, message.queued_at))).collect();
    let mut all =
        EndToEndTimes { traffic, rate, acknowledged_ms: Vec::new(), waited_ms: Vec::new(), sent_ms: Vec::new() };
    for row in scan_ledger(bench_run)? {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let Some((answered, accepted_ms)) = accepted.get(text("delivery")) else { continue };
        let key = format!("{}:{}", text("subject"), text("stage"));
        let queued_ms = queued.get(key.as_str()).with_context(|| format!("{key} was not sent"))?;
        let claimed_ms = row["created_at"].as_i64().with_context(|| format!("{key} has no created_at"))?;
        all.acknowledged_ms.push(*answered);
        // The stream may be quicker than the response to the sender.
        all.waited_ms.push(milliseconds_between(*accepted_ms, claimed_ms));
        all.sent_ms.push(milliseconds_between(*accepted_ms, *queued_ms));
    }
    let (message_count, sent) = (all.sent_ms.len(), accepted.len());
    ensure!(message_count == sent, "{message_count} of {sent} deliveries led to a message");
    Ok(all)
}

/// Milliseconds from one time to another. 0 if the second is earlier.
#[expect(clippy::cast_precision_loss, reason = "spans of some milliseconds")]
pub(crate) fn milliseconds_between(from_ms: i64, to_ms: i64) -> f64 {
    (to_ms - from_ms).max(0) as f64
}

/// All rows of the ledger as plain JSON.
fn scan_ledger(bench_run: &BenchRun) -> anyhow::Result<Vec<Value>> {
    let functions = &bench_run.stack.template().functions;
    let table = functions.iter().find_map(|function| function.env.get("LEDGER_TABLE"));
    let table = table.context("no function of the template has LEDGER_TABLE")?;
    bench_run.stack.dynamo().scan_items(table)
}
