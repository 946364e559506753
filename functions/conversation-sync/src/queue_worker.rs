//! The courier: takes what waits in a queue to whom it is for.
//!
//! ```text
//! take the queue's row ──► claim ──► (was it there before?) ──► call ──► settle ──► … ──► let the row go
//!        1 write          1 write       1 call, if in doubt     1–2      1 write
//! ```
//!
//! Promises that one task is told once, as far as whoever is told can be asked or recognises a repeat; that a CRM which fails
//! loses nothing, and one that hangs holds up no other. Whom a customer's system belongs to is not touched.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    bootstrap::{self, AwsClients, StartError},
    client_config::{ClientConfig, CrmConfig, TargetConfig, TargetKind},
    clock::Deadline,
    dispatch::{Dispatcher, Invocation},
    fault::{ClassifyFault as _, Fault, error_chain},
    hash::sha256_hex,
    secret::Secret,
    telemetry::{self, Metric},
};

use crate::{
    api_client::{ApiClient, ApiError, RateLimiter},
    crm::{self, AccessTokenStore, CrmClient, CrmEntry},
    queue_lease::{FailureStreak, LeaseRefusal, QueueLease, RunEnd},
    record_store::{ItemKey, Persisted, RecordStore, RecordStoreError, StoredRecord},
    target::{self, TargetClient},
    task::{AttemptOutcome, QueueTask, TaskContent, TaskState},
};

/// With less time left than this no task is begun: most take three calls at the most.
const MIN_TIME_PER_TASK: Duration = Duration::from_secs(35);
/// So long before the function's end a task is given up for now, so that it can be written down.
const SETTLE_RESERVE: Duration = Duration::from_secs(5);
/// Tries after which an operator is told of a task that still does not get through.
const ATTEMPTS_BEFORE_METRIC: u32 = 12;
/// Whoever asks for no more patience than this is waited for.
const MAX_INLINE_WAIT: Duration = Duration::from_secs(12);
/// How many tasks are looked up at once.
const TASKS_PER_QUERY: i32 = 50;
/// How many people's ids are remembered without asking the table.
const MAX_CACHED_PEOPLE: usize = 5_000;
/// How long a person's id is remembered after it was last written.
const PERSON_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);

/// Takes what waits to whom it is for.
pub struct QueueWorker {
    /// Where tasks are.
    pub store: RecordStore,
    http: reqwest::Client,
    aws: AwsClients,
    /// Stands in for the CRMs' origins in local runs and tests.
    crm_base_url: Option<String>,
    /// The same for targets.
    target_base_url: Option<String>,
    /// Access tokens of CRMs that give them out.
    access_tokens: AccessTokenStore,
    /// Every queue of the client, with how fast it may be called.
    rate_limiters: BTreeMap<String, RateLimiter>,
    person_ids: Mutex<HashMap<ItemKey, String>>,
}

/// One invocation's right to work.
#[derive(Debug)]
pub struct RunBudget<'a> {
    /// Who works, and until when.
    pub invocation: &'a Invocation,
    /// When to begin nothing more: a batch of the stream is not kept waiting by a slow CRM.
    pub stop_at: Deadline,
    /// Whether whatever is due is worked off, or just what was made now.
    pub include_due_tasks: bool,
}

impl RunBudget<'_> {
    fn has_time(&self) -> bool {
        self.invocation.deadline.remaining() > MIN_TIME_PER_TASK && !self.stop_at.remaining().is_zero()
    }

    fn lease_owner(&self) -> &str {
        &self.invocation.owner.0
    }
}

/// Whom a queue is for.
enum Destination<'a> {
    Crm(&'a str, &'a CrmConfig),
    Target(&'a str, &'a TargetConfig),
}

/// The queue of a CRM.
pub fn crm_queue_name(name: &str) -> String {
    format!("crm:{name}")
}

/// The queue of a target.
pub fn target_queue_name(name: &str) -> String {
    format!("target:{name}")
}

/// The id that a CRM has for a number.
#[derive(Serialize, Deserialize)]
struct CrmPerson {
    id: String,
    saved_at: Timestamp,
}

impl Persisted for CrmPerson {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        None
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.saved_at.saturating_add(PERSON_RETENTION).ok()
    }
}

/// One that tells, with everything that the telling takes.
struct QueueRun<'a> {
    worker: &'a QueueWorker,
    dispatcher: &'a Dispatcher,
    queue: &'a str,
    rate_limiter: &'a RateLimiter,
    destination: Destination<'a>,
}

impl QueueWorker {
    /// For a client, over a function's own clients; the ledger's table and what stands in for the outside come from the
    /// environment.
    pub fn from_environment(
        config: &ClientConfig,
        http: reqwest::Client,
        aws: &AwsClients,
    ) -> Result<Self, StartError> {
        let (db, table) = (aws.dynamodb(), bootstrap::require_variable("LEDGER_TABLE")?);
        let crm_rate_limiter = |(name, crm): (&String, &CrmConfig)| {
            let requests_per_minute =
                crm.requests_per_minute.unwrap_or_else(|| crm::default_requests_per_minute(&crm.kind));
            (crm_queue_name(name), RateLimiter::per_minute(requests_per_minute))
        };
        let target_rate_limiter = |(name, target): (&String, &TargetConfig)| {
            (target_queue_name(name), RateLimiter::per_minute(target::default_requests_per_minute(&target.kind)))
        };
        let rate_limiters =
            config.crms.iter().map(crm_rate_limiter).chain(config.targets.iter().map(target_rate_limiter)).collect();
        Ok(Self {
            store: RecordStore::new(db.clone(), table.clone()),
            http,
            aws: aws.clone(),
            crm_base_url: bootstrap::read_variable("CRM_BASE_URL"),
            target_base_url: bootstrap::read_variable("TARGET_BASE_URL"),
            access_tokens: AccessTokenStore::new(db, table),
            rate_limiters,
            person_ids: Mutex::default(),
        })
    }

    /// Every queue of the client.
    pub fn queue_names(&self) -> impl Iterator<Item = &str> {
        self.rate_limiters.keys().map(String::as_str)
    }

    /// Works off a queue for as long as there is time: these tasks first, which the index may not show yet, then what is due.
    pub async fn work_queue(
        &self,
        dispatcher: &Dispatcher,
        queue: &str,
        new_tasks: Vec<ItemKey>,
        budget: &RunBudget<'_>,
    ) -> Result<(), RecordStoreError> {
        let Dispatcher { config, clock, .. } = dispatcher;
        let destination = match queue.split_once(':') {
            Some(("crm", name)) => config.crms.get_key_value(name).map(|(name, crm)| Destination::Crm(name, crm)),
            Some(("target", name)) => {
                config.targets.get_key_value(name).map(|(name, target)| Destination::Target(name, target))
            }
            _ => None,
        };
        // A queue that was taken out of the configuration keeps what waits in it until it is put in again.
        let (Some(destination), Some(rate_limiter), true) =
            (destination, self.rate_limiters.get(queue), budget.has_time())
        else {
            return Ok(());
        };
        let mut next = new_tasks;
        if budget.include_due_tasks {
            let due = self.store.list_due(queue, clock.now(), TASKS_PER_QUERY).await?;
            next.extend(due.into_iter().filter(|item_key| !next.contains(item_key)).collect::<Vec<_>>());
        }
        if next.is_empty() {
            return Ok(());
        }
        let lease_key = ItemKey::for_state(queue);
        let now = clock.now();
        let acquire = |before: Option<&QueueLease>| {
            let acquired = QueueLease::acquire(before, budget.lease_owner(), budget.invocation.lease_until(now), now);
            (acquired.as_ref().ok().cloned(), acquired)
        };
        let lease = match self.store.update_record(&lease_key, acquire).await? {
            Ok(lease) => lease,
            Err(LeaseRefusal::Paused) => {
                telemetry::count_metric(&config.client, Metric::CrmUnavailable, now);
                return Ok(());
            }
            Err(LeaseRefusal::Taken) => return Ok(()),
        };
        if let Some(next_call_at) = lease.next_call_at {
            rate_limiter.pause_for(Duration::try_from(next_call_at.duration_since(now)).unwrap_or_default());
        }
        let run = QueueRun { worker: self, dispatcher, queue, rate_limiter, destination };
        let result = run.work_tasks(next, budget).await;
        let run_end = match &result {
            Ok(end) => end.clone(),
            Err(_) => RunEnd::Idle,
        };
        run.report_run_end(&run_end);
        let now = clock.now();
        let next_call_at = now + SignedDuration::try_from(rate_limiter.remaining_wait()).unwrap_or_default();
        let release = |before: Option<&QueueLease>| {
            (before.and_then(|lease| lease.release(budget.lease_owner(), &run_end, next_call_at, now)), ())
        };
        self.store.update_record(&lease_key, release).await?;
        result.map(drop)
    }

    fn lock_person_ids(&self) -> std::sync::MutexGuard<'_, HashMap<ItemKey, String>> {
        self.person_ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueRun<'_> {
    fn current_time(&self) -> Timestamp {
        self.dispatcher.clock.now()
    }

    /// Takes tasks through, one after the other, until none is due.
    async fn work_tasks(
        &self,
        mut item_keys: Vec<ItemKey>,
        budget: &RunBudget<'_>,
    ) -> Result<RunEnd, RecordStoreError> {
        let secret_name = match &self.destination {
            Destination::Crm(name, _) => Some(self.dispatcher.config.crm_secret_name(name)),
            Destination::Target(name, target) => match target.kind {
                TargetKind::Slack | TargetKind::Teams | TargetKind::Webhook { .. } => {
                    Some(self.dispatcher.config.target_secret_name(name))
                }
                TargetKind::Email { .. } | TargetKind::Sns { .. } => None,
            },
        };
        let mut credential = None;
        if let Some(secret_name) = &secret_name {
            match self.dispatcher.secrets.get_current(secret_name, self.current_time()).await {
                Ok(value) => credential = Some(value),
                Err(error) => return Ok(run_end_from_error(&ApiError::from(error), false, self.current_time())),
            }
        }
        let (mut run_end, mut streak) = (RunEnd::Idle, FailureStreak::default());
        let mut refreshed = false;
        loop {
            let mut progress = false;
            for item_key in item_keys {
                if !budget.has_time() {
                    return Ok(run_end);
                }
                let attempt = match self.work_task(&item_key, credential.as_ref(), secret_name.as_deref(), budget).await
                {
                    Ok(attempt) => attempt,
                    // What is wrong with one row holds up no other.
                    Err(error) => {
                        tracing::error!(task.id = %item_key, "{}", error_chain(&error));
                        continue;
                    }
                };
                progress |= !matches!(attempt, TaskAttempt::NotAttempted);
                let error = match attempt {
                    TaskAttempt::NotAttempted => continue,
                    TaskAttempt::Completed => {
                        streak.reset();
                        run_end = RunEnd::Working;
                        continue;
                    }
                    TaskAttempt::Failed(error) => error,
                };
                // The secret may have been rotated since it was read.
                if let (ApiError::CredentialRejected { .. }, Some(secret_name), false) =
                    (&error, &secret_name, refreshed)
                {
                    refreshed = true;
                    if let Ok(Some(newer)) = self.dispatcher.secrets.refetch(secret_name, self.current_time()).await {
                        credential = Some(newer);
                        continue;
                    }
                }
                // Whoever refuses this very thing works, and takes the next one perhaps.
                if error.fault() == Fault::Permanent {
                    run_end = RunEnd::Working;
                    continue;
                }
                let failed = streak.record_failure();
                if let (Some(wait), false) = (inline_wait(&error), failed) {
                    self.rate_limiter.pause_for(wait);
                } else if failed || error.is_system_wide() || error.is_timeout() {
                    return Ok(run_end_from_error(&error, run_end == RunEnd::Working, self.current_time()));
                }
            }
            // The index may still show what was done a moment ago.
            if !budget.include_due_tasks || !progress {
                return Ok(run_end);
            }
            item_keys = self.worker.store.list_due(self.queue, self.current_time(), TASKS_PER_QUERY).await?;
            if item_keys.is_empty() {
                return Ok(run_end);
            }
        }
    }

    /// Takes one task through.
    async fn work_task(
        &self,
        item_key: &ItemKey,
        credential: Option<&Secret>,
        secret_name: Option<&str>,
        budget: &RunBudget<'_>,
    ) -> Result<TaskAttempt, RecordStoreError> {
        let store = &self.worker.store;
        let Some(before) = store.get_record::<QueueTask>(item_key).await? else { return Ok(TaskAttempt::NotAttempted) };
        let now = self.current_time();
        let Ok(claimed) = before.value.claim(budget.lease_owner(), budget.invocation.lease_until(now), now) else {
            return Ok(TaskAttempt::NotAttempted);
        };
        let Some(claimed) = store.put_record(item_key, claimed, Some(&before)).await? else {
            return Ok(TaskAttempt::NotAttempted);
        };
        let time_left = budget.invocation.deadline.remaining().saturating_sub(SETTLE_RESERVE);
        let delivered =
            tokio::time::timeout(time_left, self.deliver_task(&claimed.value, credential, secret_name)).await;
        let now = self.current_time();
        let (outcome, attempt) = match delivered {
            Ok(Ok(outcome)) => (outcome, TaskAttempt::Completed),
            Ok(Err(error)) => (outcome_from_error(&error, now), TaskAttempt::Failed(error)),
            Err(_) => {
                let reason = "it takes longer than the function has".to_owned();
                (
                    AttemptOutcome::RetryLater { not_before: None, may_have_arrived: true, reason },
                    TaskAttempt::NotAttempted,
                )
            }
        };
        self.settle_task(item_key, &claimed, budget.lease_owner(), outcome, now).await?;
        Ok(attempt)
    }

    async fn settle_task(
        &self,
        item_key: &ItemKey,
        claimed: &StoredRecord<QueueTask>,
        owner: &str,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Result<(), RecordStoreError> {
        let Ok(next) = claimed.value.settle(owner, outcome, now) else { return Ok(()) };
        tracing::info!(
            task.id = %item_key,
            task.queue = next.queue,
            task.state = ?next.state,
            task.attempts = next.attempts,
            task.reason = next.reason,
            task.result = next.external_id,
            "task was tried"
        );
        if next.state == TaskState::Refused {
            telemetry::count_metric(&self.dispatcher.config.client, Metric::EntriesRefused, now);
        } else if next.state == TaskState::Waiting && next.attempts >= ATTEMPTS_BEFORE_METRIC {
            telemetry::count_metric(&self.dispatcher.config.client, Metric::CrmUnavailable, now);
        }
        if self.worker.store.put_record(item_key, next, Some(claimed)).await?.is_none() {
            // Our lease ended before we did; whoever took over looks first.
            tracing::warn!(task.id = %item_key, "a task was taken over by somebody else");
        }
        Ok(())
    }

    /// Tells what a task says, unless they know already.
    async fn deliver_task(
        &self,
        task: &QueueTask,
        credential: Option<&Secret>,
        secret_name: Option<&str>,
    ) -> Result<AttemptOutcome, ApiError> {
        let worker = self.worker;
        let secret_name = secret_name.unwrap_or_default();
        let api_client =
            |base_url| ApiClient { http: &worker.http, base_url, rate_limiter: self.rate_limiter, secret_name };
        match (&self.destination, &task.content) {
            (Destination::Crm(name, crm), TaskContent::Entry(item)) => {
                let client = CrmClient {
                    name,
                    kind: &crm.kind,
                    api_client: api_client(worker.crm_base_url.as_deref()),
                    credential: credential.cloned().unwrap_or_else(|| Secret::new("")),
                    access_tokens: &worker.access_tokens,
                };
                self.deliver_entry(&client, item, task.may_have_arrived).await
            }
            (Destination::Target(_, target), TaskContent::Notification(notice)) => {
                let client = TargetClient {
                    kind: &target.kind,
                    api_client: api_client(worker.target_base_url.as_deref()),
                    credential: credential.cloned(),
                    aws: &worker.aws,
                };
                let mut notice = notice.clone();
                notice.may_be_repeat = task.may_have_arrived;
                client.send_notification(&notice, self.current_time()).await.map(|()| AttemptOutcome::Done(None))
            }
            (Destination::Crm(..), TaskContent::Notification(_)) | (Destination::Target(..), TaskContent::Entry(_)) => {
                Ok(AttemptOutcome::Refused("it stands in the queue of somebody else".to_owned()))
            }
        }
    }

    /// Writes an entry, with the person that it hangs on.
    async fn deliver_entry(
        &self,
        client: &CrmClient<'_>,
        item: &CrmEntry,
        may_have_arrived: bool,
    ) -> Result<AttemptOutcome, ApiError> {
        if !client.has_people() {
            return self.write_entry(client, None, item, may_have_arrived).await.map(AttemptOutcome::Done);
        }
        let contact = self.dispatcher.ledger.contact_subject(&item.phone);
        // Another account of the same system has other people under the same ids. A credential that was only replaced costs
        // a look-up for each.
        let account = format!("{:?} {}", client.kind, client.credential.expose());
        let account = sha256_hex(account.as_bytes(), 4);
        let item_key = ItemKey::new(contact, format!("{}-{account}", self.queue));
        let known_person = self.load_person(&item_key).await;
        if let Some(person) = &known_person {
            match self.write_entry(client, Some(person), item, may_have_arrived).await {
                // Somebody deleted or merged the person that we knew.
                Err(ApiError::Gone) => {}
                result => return result.map(AttemptOutcome::Done),
            }
        }
        let now = self.current_time();
        let Some(person) = client.find_or_create_person(&item.phone, item.name.as_deref(), now).await? else {
            return Ok(AttemptOutcome::Skipped(
                "nobody has this number there, and the configuration says to make nobody",
            ));
        };
        self.save_person(&item_key, &person, now).await;
        self.write_entry(client, Some(&person), item, may_have_arrived).await.map(AttemptOutcome::Done)
    }

    async fn write_entry(
        &self,
        client: &CrmClient<'_>,
        person: Option<&str>,
        item: &CrmEntry,
        may_have_arrived: bool,
    ) -> Result<Option<String>, ApiError> {
        let now = self.current_time();
        if may_have_arrived && let Some(existing_id) = client.find_entry(person, item, now).await? {
            return Ok(Some(existing_id));
        }
        client.create_entry(person, item, now).await
    }

    /// The person that a number was the last time.
    async fn load_person(&self, item_key: &ItemKey) -> Option<String> {
        if let Some(id) = self.worker.lock_person_ids().get(item_key) {
            return Some(id.clone());
        }
        match self.worker.store.get_record::<CrmPerson>(item_key).await {
            Ok(stored) => stored.map(|stored| stored.value.id),
            // Asking the CRM costs a call more, and says the same.
            Err(error) => {
                tracing::warn!("{}", error_chain(&error));
                None
            }
        }
    }

    async fn save_person(&self, item_key: &ItemKey, person: &str, now: Timestamp) {
        let id = person.to_owned();
        let write = |_: Option<&CrmPerson>| (Some(CrmPerson { id: id.clone(), saved_at: now }), ());
        if let Err(error) = self.worker.store.update_record(item_key, write).await {
            tracing::warn!("{}", error_chain(&error));
        }
        let mut person_ids = self.worker.lock_person_ids();
        if person_ids.len() >= MAX_CACHED_PEOPLE {
            person_ids.clear();
        }
        person_ids.insert(item_key.clone(), id);
    }

    fn report_run_end(&self, run_end: &RunEnd) {
        if let RunEnd::Failing { needs_credential: unauthorized, reason, .. } = run_end {
            let metric = if *unauthorized { Metric::CrmUnauthorized } else { Metric::CrmUnavailable };
            telemetry::count_metric(&self.dispatcher.config.client, metric, self.current_time());
            tracing::warn!(queue = self.queue, "what is for it waits: {reason}");
        }
    }
}

/// What came of a task.
enum TaskAttempt {
    /// It is somebody else's, or done.
    NotAttempted,
    /// It is known there now, or refused.
    Completed,
    /// It is not, or nobody knows.
    Failed(ApiError),
}

/// What a failed call means for its task.
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

/// What a failed call means for its queue.
fn run_end_from_error(error: &ApiError, worked_before: bool, now: Timestamp) -> RunEnd {
    RunEnd::Failing {
        worked_before,
        not_before: retry_not_before(error, now),
        needs_credential: error.needs_credential(),
        reason: error_chain(error),
    }
}

/// How long to wait in place for whoever asks for so little patience that it is no trouble.
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
