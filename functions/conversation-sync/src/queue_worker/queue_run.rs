//! One run over the tasks of a queue, while its lease is held.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use tellonce_core::{
    dispatch::Dispatcher,
    fault::{ClassifyFault as _, Fault, catch_failure, error_chain},
    secret::Secret,
    telemetry::{self, Metric},
};

use super::{
    destination::{Destination, DestinationConnections},
    entry_writer::EntryWriter,
    run_budget::RunBudget,
};
use crate::{
    api_client::{ApiClient, ApiError, RateLimiter},
    crm::CrmClient,
    queue_worker::queue_lease::{FailureStreak, RunEnd},
    record_store::{ItemKey, PageStart, RecordStoreError, StoredRecord},
    target::TargetClient,
    task::{AttemptOutcome, QueueTask, TaskContent, TaskState, created_tasks::NewTask},
};

/// The most due tasks of one query.
pub(super) const TASKS_PER_QUERY: i32 = 50;

/// A task is given up this long before the function's deadline, so that its row can be settled.
const SETTLE_RESERVE: Duration = Duration::from_secs(5);
/// A `retry-after` up to this long is waited for in place.
const MAX_INLINE_WAIT: Duration = Duration::from_secs(12);

/// One run over a queue.
pub(super) struct QueueRun<'a> {
    pub(super) connections: &'a DestinationConnections,
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) queue: &'a str,
    pub(super) rate_limiter: &'a RateLimiter,
    pub(super) destination: Destination<'a>,
}

/// The credential of a run.
#[derive(Default)]
struct RunCredential {
    /// None for e-mail and SNS.
    secret_name: Option<String>,
    /// Where an operator stores a valid one. Empty for e-mail and SNS.
    location: String,
    value: Option<Secret>,
    is_refreshed: bool,
}

/// What happened to a task.
enum TaskAttempt {
    /// Another invocation has it, it is settled, or the time ran out.
    NotAttempted,
    Completed,
    Failed(ApiError),
}

/// Whether a run goes on after a failed task.
enum AfterFailure {
    Continue,
    Stop(RunEnd),
}

/// The state of a run between its tasks.
struct RunProgress {
    credential: RunCredential,
    run_end: RunEnd,
    streak: FailureStreak,
}

impl QueueRun<'_> {
    fn current_time(&self) -> Timestamp {
        self.dispatcher.clock.now()
    }

    /// Works tasks one after the other until none is due. The due tasks after them begin at
    /// `next_page`.
    pub(super) async fn work_tasks(
        &self,
        mut tasks: Vec<NewTask>,
        mut next_page: Option<PageStart>,
        budget: &RunBudget<'_>,
    ) -> Result<RunEnd, RecordStoreError> {
        let credential = match self.load_credential().await {
            Ok(credential) => credential,
            Err(error) => return Ok(run_end_from_error(&error, false, self.current_time())),
        };
        let mut run = RunProgress { credential, run_end: RunEnd::Idle, streak: FailureStreak::default() };
        let (mut has_progress, mut unworkable) = (false, BTreeSet::new());
        loop {
            for NewTask { key, row } in tasks {
                if !budget.has_time() {
                    return Ok(run.run_end);
                }
                // A row that fails does not stop the others.
                let attempt = match catch_failure(self.work_task(&key, row, &run.credential, budget)).await {
                    Ok(attempt) => attempt,
                    Err(failure) => {
                        tracing::error!(task.id = %key, "could not work task {key}: {failure}");
                        unworkable.insert(key);
                        continue;
                    }
                };
                has_progress |= !matches!(attempt, TaskAttempt::NotAttempted);
                match attempt {
                    TaskAttempt::NotAttempted => {}
                    TaskAttempt::Completed => {
                        run.streak.reset();
                        run.run_end = RunEnd::Working;
                    }
                    TaskAttempt::Failed(error) => {
                        if let AfterFailure::Stop(run_end) = self.handle_failure(&mut run, &error).await {
                            return Ok(run_end);
                        }
                    }
                }
            }
            // The index may still show tasks that were settled a moment ago.
            if !budget.include_due_tasks || !budget.has_time() || (next_page.is_none() && !has_progress) {
                return Ok(run.run_end);
            }
            if next_page.is_none() {
                // Again from the beginning: more tasks may have become due meanwhile.
                has_progress = false;
            }
            let (store, now) = (&self.connections.store, self.current_time());
            let due = store.list_due(self.queue, now, TASKS_PER_QUERY, next_page.take()).await?;
            let keys = due.keys.into_iter().filter(|key| !unworkable.contains(key));
            tasks = keys.map(|key| NewTask { key, row: None }).collect();
            next_page = due.next;
        }
    }

    async fn handle_failure(&self, run: &mut RunProgress, error: &ApiError) -> AfterFailure {
        // The secret may have been rotated since it was read.
        if let (ApiError::CredentialRejected { .. }, Some(secret_name), Some(refused), false) =
            (error, &run.credential.secret_name, &run.credential.value, run.credential.is_refreshed)
        {
            run.credential.is_refreshed = true;
            if let Ok(Some(newer)) = self.dispatcher.secrets.refetch(secret_name, refused, self.current_time()).await {
                run.credential.value = Some(newer);
                return AfterFailure::Continue;
            }
        }
        // A receiver that refuses one task works, and may accept the next.
        if error.fault() == Fault::Permanent {
            run.run_end = RunEnd::Working;
            return AfterFailure::Continue;
        }
        let is_failing = run.streak.record_failure();
        if let (Some(wait), false) = (inline_wait(error), is_failing) {
            self.rate_limiter.pause_for(wait);
        } else if is_failing || error.is_system_wide() || error.is_timeout() {
            let worked_before = run.run_end == RunEnd::Working;
            return AfterFailure::Stop(run_end_from_error(error, worked_before, self.current_time()));
        }
        AfterFailure::Continue
    }

    async fn load_credential(&self) -> Result<RunCredential, ApiError> {
        let config = &self.dispatcher.config;
        let secret_name = match &self.destination {
            Destination::Crm(name, _) => config.crm_secret_name(name),
            Destination::Target(_, target) if target.kind.facts().secret.is_none() => {
                return Ok(RunCredential::default());
            }
            Destination::Target(name, _) => config.target_secret_name(name),
        };
        let value = self.dispatcher.secrets.get_current(&secret_name, self.current_time()).await?;
        let location = config.secrets.locate(&secret_name).to_string();
        Ok(RunCredential { secret_name: Some(secret_name), location, value: Some(value), is_refreshed: false })
    }

    async fn work_task(
        &self,
        key: &ItemKey,
        row: Option<StoredRecord<QueueTask>>,
        credential: &RunCredential,
        budget: &RunBudget<'_>,
    ) -> Result<TaskAttempt, RecordStoreError> {
        let store = &self.connections.store;
        // A new task's row is known. If it has changed since, the claim fails.
        let before = match row {
            Some(row) => Some(row),
            None => store.get_record::<QueueTask>(key).await?,
        };
        let Some(before) = before else { return Ok(TaskAttempt::NotAttempted) };
        let now = self.current_time();
        let Ok(claimed) = before.value.claim(budget.lease_owner(), budget.invocation.lease_until(now), now) else {
            return Ok(TaskAttempt::NotAttempted);
        };
        let Some(claimed) = store.put_record(key, claimed, Some(&before)).await? else {
            return Ok(TaskAttempt::NotAttempted);
        };
        let time_left = budget.invocation.deadline.remaining().saturating_sub(SETTLE_RESERVE);
        let delivered = tokio::time::timeout(time_left, self.deliver_task(&claimed.value, credential)).await;
        let now = self.current_time();
        let (outcome, attempt) = match delivered {
            Ok(Ok(outcome)) => (outcome, TaskAttempt::Completed),
            Ok(Err(error)) => (outcome_from_error(&error, now), TaskAttempt::Failed(error)),
            Err(_) => {
                let reason = "the function's time ended during the call".to_owned();
                let outcome = AttemptOutcome::RetryLater { not_before: None, may_have_arrived: true, reason };
                (outcome, TaskAttempt::NotAttempted)
            }
        };
        self.settle_task(key, &claimed, budget.lease_owner(), outcome, now).await?;
        Ok(attempt)
    }

    async fn settle_task(
        &self,
        key: &ItemKey,
        claimed: &StoredRecord<QueueTask>,
        owner: &str,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Result<(), RecordStoreError> {
        let Ok(next) = claimed.value.settle(owner, outcome, now) else { return Ok(()) };
        tracing::info!(
            task.id = %key,
            queue.name = next.queue,
            task.state = ?next.state,
            task.attempts = next.attempts,
            task.reason = next.reason,
            task.result = next.external_id,
            delivery.id = next.delivery,
            "attempted task"
        );
        let client = &self.dispatcher.config.client;
        if next.state == TaskState::Refused {
            telemetry::count_metric(client, Metric::TasksRefused, now);
        }
        if self.connections.store.put_record(key, next, Some(claimed)).await?.is_none() {
            // The claim ended before the call did. The next owner asks the destination first.
            tracing::warn!(task.id = %key, "lost the claim of task {key} to another invocation");
        }
        Ok(())
    }

    async fn deliver_task(&self, task: &QueueTask, credential: &RunCredential) -> Result<AttemptOutcome, ApiError> {
        let connections = self.connections;
        let secret_name = credential.location.as_str();
        let api_client =
            |base_url| ApiClient { http: &connections.http, base_url, rate_limiter: self.rate_limiter, secret_name };
        match (&self.destination, &task.content) {
            (Destination::Crm(name, crm), TaskContent::Entry(entry)) => {
                let client = CrmClient {
                    name,
                    kind: &crm.kind,
                    api_client: api_client(connections.crm_base_urls.for_name(name)),
                    credential: credential.value.clone().unwrap_or_else(|| Secret::new("")),
                    access_tokens: &connections.access_tokens,
                };
                let writer = EntryWriter {
                    client,
                    queue: self.queue,
                    person_ids: &connections.person_ids,
                    ledger: &self.dispatcher.ledger,
                    clock: &self.dispatcher.clock,
                    may_have_arrived: task.may_have_arrived,
                };
                writer.deliver_entry(entry).await
            }
            (Destination::Target(name, target), TaskContent::Notification(notification)) => {
                let client = TargetClient {
                    kind: &target.kind,
                    api_client: api_client(connections.target_base_urls.for_name(name)),
                    credential: credential.value.clone(),
                    aws: &connections.aws,
                };
                let mut notification = notification.clone();
                notification.may_be_repeat = task.may_have_arrived;
                client.send_notification(&notification, self.current_time()).await?;
                Ok(AttemptOutcome::Done(None))
            }
            (_, TaskContent::Erased) => Ok(AttemptOutcome::Skipped("the customer was forgotten")),
            (Destination::Crm(..), TaskContent::Notification(_)) | (Destination::Target(..), TaskContent::Entry(_)) => {
                Ok(AttemptOutcome::Refused("the task is in a queue of the other kind".to_owned()))
            }
        }
    }

    /// Logs a run that ended with a failing receiver.
    pub(super) fn report_run_end(&self, run_end: &RunEnd) {
        if let RunEnd::Failing { reason, .. } = run_end {
            tracing::warn!(queue.name = self.queue, "paused queue {}: {reason}", self.queue);
        }
    }
}

/// The outcome of a failed call for its task.
fn outcome_from_error(error: &ApiError, now: Timestamp) -> AttemptOutcome {
    let reason = error_chain(error);
    match error.fault() {
        Fault::Permanent => AttemptOutcome::Refused(reason),
        fault => AttemptOutcome::RetryLater {
            not_before: retry_not_before(error, now),
            may_have_arrived: fault == Fault::Ambiguous,
            reason,
        },
    }
}

/// The end of a run over its queue after a failed call.
fn run_end_from_error(error: &ApiError, worked_before: bool, now: Timestamp) -> RunEnd {
    RunEnd::Failing {
        worked_before,
        not_before: retry_not_before(error, now),
        needs_credential: error.needs_credential(),
        reason: error_chain(error),
    }
}

/// The wait that a throttled call asks for, if it is short enough to wait in place.
fn inline_wait(error: &ApiError) -> Option<Duration> {
    match error {
        ApiError::Throttled { retry_after: Some(wait), .. } => {
            Duration::try_from(*wait).ok().filter(|wait| *wait <= MAX_INLINE_WAIT)
        }
        _ => None,
    }
}

fn retry_not_before(error: &ApiError, now: Timestamp) -> Option<Timestamp> {
    match error {
        ApiError::Throttled { retry_after: Some(wait), .. } => Some(now + *wait),
        _ => None,
    }
}
