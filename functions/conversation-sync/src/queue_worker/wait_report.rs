//! How long the oldest task of the client's CRMs and of its targets has waited, once a minute.
//!
//! A queue that is paused, whose worker died, or whose destination was removed from the
//! configuration counts like any other. A queue that cannot be read fails the minute. Then the
//! minute leaves no receipt, and the alarm of late heartbeats is raised.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;
use tellonce_core::{
    dispatch::Dispatcher,
    fault::error_chain,
    ledger::{QueueKind, target_queue_name},
    telemetry::{self, DestinationKind, Gauge},
};

use super::{QueueWorker, destination::Destination};
use crate::{
    record_store::{ItemKey, RecordStoreError},
    task::QueueTask,
};

/// What the report found. The default is that of a report that was not made.
#[derive(Debug, Default)]
pub struct WaitReport {
    /// The queues in which nothing waits.
    pub empty: BTreeSet<String>,
    /// Whether all queues could be read.
    pub is_complete: bool,
}

impl QueueWorker {
    /// Writes the gauges of the tasks that wait, and a log line that names the cause for each
    /// queue. A failure is logged.
    pub async fn report_waits(&self, dispatcher: &Dispatcher) -> WaitReport {
        let Dispatcher { config, clock, ledger, .. } = dispatcher;
        let now = clock.now();
        let configured = || self.queue_names().map(str::to_owned).collect();
        let mut report = WaitReport { empty: BTreeSet::new(), is_complete: true };
        let queues = ledger.remember_queues(QueueKind::Destinations, configured()).await.unwrap_or_else(|error| {
            tracing::error!("could not read which CRMs and targets there were: {}", error_chain(&error));
            report.is_complete = false;
            configured()
        });
        let mut waiting = Vec::new();
        let oldest = queues.into_iter().map(|queue| async move {
            let oldest = self.connections.store.find_oldest(&queue, now).await;
            (queue, oldest)
        });
        for (queue, found) in join_all(oldest).await {
            let oldest = match found {
                Ok(Some(oldest)) if now.duration_since(oldest.since) >= Gauge::USUAL_WAIT => oldest,
                Ok(Some(_)) => continue,
                Ok(None) => {
                    report.empty.insert(queue);
                    continue;
                }
                Err(error) => {
                    tracing::error!(
                        queue.name = queue,
                        "could not read what waits in {queue}: {}",
                        error_chain(&error)
                    );
                    report.is_complete = false;
                    continue;
                }
            };
            let kind =
                if queue.starts_with(&target_queue_name("")) { DestinationKind::Target } else { DestinationKind::Crm };
            let seconds = now.duration_since(oldest.since).as_secs();
            let reason = match Destination::of_queue(config, &queue) {
                Some(_) => self.find_reason(&queue, &oldest.key).await.unwrap_or_else(|error| error_chain(&error)),
                None => "client.toml no longer has the destination".to_owned(),
            };
            tracing::warn!(
                queue.name = queue,
                task.id = %oldest.key,
                wait.seconds = seconds,
                "{} tasks of {queue} wait, the oldest since {seconds} s: {reason}", oldest.count
            );
            waiting.push((kind, seconds, format!("{queue}: {reason}")));
        }
        for kind in DestinationKind::ALL {
            let of_kind = || waiting.iter().filter(|(of_queue, ..)| *of_queue == kind);
            let reasons: Vec<String> = of_kind().map(|(_, _, reason)| reason.clone()).collect();
            if let Some(seconds) = of_kind().map(|(_, seconds, _)| *seconds).max() {
                let properties = [("reasons", json!(reasons))];
                telemetry::write_gauge(&config.client, Gauge::OldestTaskSeconds(kind), seconds, &properties, now);
            }
        }
        report
    }

    /// Why the oldest task of a queue waits: what paused the queue, or how the last attempt ended.
    async fn find_reason(&self, queue: &str, oldest: &ItemKey) -> Result<String, RecordStoreError> {
        if let Some(reason) = self.leases.read_reason(queue).await? {
            return Ok(reason);
        }
        let task = self.connections.store.get_record::<QueueTask>(oldest).await?;
        Ok(task.and_then(|task| task.value.reason).unwrap_or_else(|| "no worker has finished it yet".to_owned()))
    }
}
