//! The queue worker: delivers the tasks of a queue to its CRM or target.
//!
//! ```text
//! acquire the lease ──► claim ──► (already there?) ──► call ──► settle ──► … ──► release the lease
//!      1 write         1 write    1 call, in doubt     1–2      1 write              1 write
//! ```
//!
//! Flow: [`QueueWorker::work_queues`] works queues side by side. `queue_run` works the tasks of one
//! queue, `entry_writer` writes an entry with its person, and `person_ids` keeps the ids of
//! persons. [`QueueWorker::report_waits`] writes how long the oldest task waits.
//!
//! Promises:
//! - A task takes effect once, as far as the destination can be asked or recognises a repeat.
//! - A CRM that fails loses nothing, and a CRM that hangs delays no other.
//! - Owners and assignments in the client's systems stay untouched.

mod destination;
mod entry_writer;
mod person_ids;
pub mod queue_lease;
mod queue_run;
mod run_budget;
mod wait_report;

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use tellonce_core::{
    bootstrap::AwsClients,
    client_config::{ClientConfig, CrmConfig, TargetConfig},
    dispatch::Dispatcher,
    fault::error_chain,
    ledger::{crm_queue_name, target_queue_name},
};

use destination::{Destination, DestinationConnections};
use queue_run::{QueueRun, TASKS_PER_QUERY};
pub use run_budget::RunBudget;
pub use wait_report::WaitReport;

use crate::{
    api_client::RateLimiter,
    queue_worker::queue_lease::{QueueLeases, RunEnd},
    record_store::{ItemKey, RecordStore, RecordStoreError},
    task::created_tasks::{CreatedTasks, NewTask},
};

/// Delivers tasks to CRMs and targets.
pub struct QueueWorker {
    connections: DestinationConnections,
    leases: QueueLeases,
    /// Every queue of the client, with the rate limiter of its calls.
    rate_limiters: BTreeMap<String, RateLimiter>,
}

impl QueueWorker {
    /// Creates the worker over the function's own clients. `CRM_BASE_URL` and `TARGET_BASE_URL`
    /// redirect all calls in local runs.
    pub fn from_environment(
        config: &ClientConfig,
        http: reqwest::Client,
        aws: &AwsClients,
        store: RecordStore,
        ledger_table: String,
    ) -> Self {
        let crm_rate_limiter = |(name, crm): (&String, &CrmConfig)| {
            let requests_per_minute = crm.requests_per_minute.unwrap_or(crm.kind.facts().default_requests_per_minute);
            (crm_queue_name(name), RateLimiter::per_minute(requests_per_minute))
        };
        let target_rate_limiter = |(name, target): (&String, &TargetConfig)| {
            (target_queue_name(name), RateLimiter::per_minute(target.kind.facts().requests_per_minute))
        };
        let rate_limiters =
            config.crms.iter().map(crm_rate_limiter).chain(config.targets.iter().map(target_rate_limiter)).collect();
        let leases = QueueLeases::new(aws.dynamodb(), ledger_table.clone());
        let connections = DestinationConnections::from_environment(http, aws, store, ledger_table);
        Self { connections, leases, rate_limiters }
    }

    /// Every queue of the client.
    pub fn queue_names(&self) -> impl Iterator<Item = &str> {
        self.rate_limiters.keys().map(String::as_str)
    }

    /// Works queues side by side: those with new tasks, or all of them if due tasks are included.
    pub async fn work_queues(&self, dispatcher: &Dispatcher, created: &CreatedTasks, budget: &RunBudget<'_>) {
        let each = self.queue_names().map(|queue| async move {
            let new_tasks = created.list_for_queue(queue);
            if !budget.include_due_tasks && new_tasks.is_empty() {
                return;
            }
            // The tasks stay in the queue: the next minute delivers them.
            if let Err(error) = self.work_queue(dispatcher, queue, new_tasks, budget).await {
                tracing::error!(queue.name = queue, "could not work queue {queue}: {}", error_chain(&error));
            }
        });
        futures::future::join_all(each).await;
    }

    /// Works a queue while there is time: first the new tasks, which the index may not show yet,
    /// then the due ones.
    async fn work_queue(
        &self,
        dispatcher: &Dispatcher,
        queue: &str,
        new_tasks: Vec<NewTask>,
        budget: &RunBudget<'_>,
    ) -> Result<(), RecordStoreError> {
        let Dispatcher { config, clock, .. } = dispatcher;
        // A queue that is no longer configured keeps its tasks until it is configured again.
        let (Some(destination), Some(rate_limiter), true) =
            (Destination::of_queue(config, queue), self.rate_limiters.get(queue), budget.has_time())
        else {
            return Ok(());
        };
        let (mut next, mut next_page) = (new_tasks, None);
        if budget.include_due_tasks && !budget.empty_queues.contains(queue) {
            let due = self.connections.store.list_due(queue, clock.now(), TASKS_PER_QUERY, None).await?;
            let is_new = |key: &ItemKey| next.iter().any(|task| task.key == *key);
            let keys: Vec<_> = due.keys.into_iter().filter(|key| !is_new(key)).collect();
            next.extend(keys.into_iter().map(|key| NewTask { key, row: None }));
            next_page = due.next;
        }
        if next.is_empty() {
            return Ok(());
        }
        let now = clock.now();
        let (owner, lease_until) = (budget.lease_owner(), budget.invocation.lease_until(now));
        let Some(lease) = self.leases.acquire(queue, owner, lease_until, now).await? else { return Ok(()) };
        if let Some(next_call_at) = lease.next_call_at {
            rate_limiter.pause_for(Duration::try_from(next_call_at.duration_since(now)).unwrap_or_default());
        }
        let run = QueueRun { connections: &self.connections, dispatcher, queue, rate_limiter, destination };
        let result = run.work_tasks(next, next_page, budget).await;
        let run_end = result.as_ref().map_or(RunEnd::Idle, Clone::clone);
        run.report_run_end(&run_end);
        let now = clock.now();
        let next_call_at = now + SignedDuration::try_from(rate_limiter.remaining_wait()).unwrap_or_default();
        let pause = lease.change_pause(&run_end, now);
        self.leases.release(queue, owner, &pause, next_call_at, now).await?;
        result.map(drop)
    }
}
