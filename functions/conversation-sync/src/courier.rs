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
use shared::{
    client_config::{ClientConfig, Crm, Target, TargetKind},
    clock::Deadline,
    cold_start::{self, Aws, StartError},
    digest::sha256_hex,
    fault::{Fault, Faulty as _, chain},
    observe::{self, Metric},
    secret::Secret,
    telling::{Shift, Teller},
};

use crate::{
    call::{CallError, Caller, Pace},
    crm::{self, CrmClient, Item, Tokens},
    queue::{End, Gate, NotFree, Streak},
    store::{Kept, Place, Store, StoreError, Stored},
    target::{self, TargetClient},
    task::{Outcome, Task, TaskState, What},
};

/// With less time left than this no task is begun: most take three calls at the most.
const TIME_FOR_A_TASK: Duration = Duration::from_secs(35);
/// So long before the function's end a task is given up for now, so that it can be written down.
const TIME_TO_SETTLE: Duration = Duration::from_secs(5);
/// Tries after which an operator is told of a task that still does not get through.
const TOO_MANY_TRIES: u32 = 12;
/// Whoever asks for no more patience than this is waited for.
const SHORT_WAIT: Duration = Duration::from_secs(12);
/// How many tasks are looked up at once.
const PAGE: i32 = 50;
/// How many people's ids are remembered without asking the table.
const PEOPLE: usize = 5_000;
/// How long a person's id is remembered after it was last written.
const KEEP_PERSON: SignedDuration = SignedDuration::from_hours(24 * 400);

/// Takes what waits to whom it is for.
pub struct Courier {
    /// Where tasks are.
    pub store: Store,
    http: reqwest::Client,
    aws: Aws,
    /// Stands in for the CRMs' origins in local runs and tests.
    crm_base_url: Option<String>,
    /// The same for targets.
    target_base_url: Option<String>,
    /// Access tokens of CRMs that give them out.
    tokens: Tokens,
    /// Every queue of the client, with how fast it may be called.
    paces: BTreeMap<String, Pace>,
    people: Mutex<HashMap<Place, String>>,
}

/// One invocation's right to work.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Who works, and until when.
    pub shift: &'a Shift,
    /// When to begin nothing more: a batch of the stream is not kept waiting by a slow CRM.
    pub until: Deadline,
    /// Whether whatever is due is worked off, or just what was made now.
    pub all: bool,
}

impl Turn<'_> {
    fn has_time(&self) -> bool {
        self.shift.deadline.remaining() > TIME_FOR_A_TASK && !self.until.remaining().is_zero()
    }

    fn owner(&self) -> &str {
        &self.shift.owner.0
    }
}

/// Whom a queue is for.
enum Whom<'a> {
    Crm(&'a str, &'a Crm),
    Target(&'a str, &'a Target),
}

/// The queue of a CRM.
pub fn crm_queue(name: &str) -> String {
    format!("crm:{name}")
}

/// The queue of a target.
pub fn target_queue(name: &str) -> String {
    format!("target:{name}")
}

/// The id that a CRM has for a number.
#[derive(Serialize, Deserialize)]
struct Person {
    id: String,
    at: Timestamp,
}

impl Kept for Person {
    fn due(&self) -> Option<(String, Timestamp)> {
        None
    }

    fn forget_at(&self) -> Option<Timestamp> {
        self.at.saturating_add(KEEP_PERSON).ok()
    }
}

/// One that tells, with everything that the telling takes.
struct Working<'a> {
    courier: &'a Courier,
    teller: &'a Teller,
    queue: &'a str,
    pace: &'a Pace,
    whom: Whom<'a>,
}

impl Courier {
    /// For a client, over a function's own clients; the ledger's table and what stands in for the outside come from the
    /// environment.
    pub fn from_environment(config: &ClientConfig, http: reqwest::Client, aws: &Aws) -> Result<Self, StartError> {
        let (db, table) = (aws.dynamodb(), cold_start::required("LEDGER_TABLE")?);
        let crm_pace = |(name, crm): (&String, &Crm)| {
            let calls = crm.requests_per_minute.unwrap_or_else(|| crm::default_requests_per_minute(&crm.kind));
            (crm_queue(name), Pace::per_minute(calls))
        };
        let target_pace = |(name, target): (&String, &Target)| {
            (target_queue(name), Pace::per_minute(target::default_requests_per_minute(&target.kind)))
        };
        let paces = config.crms.iter().map(crm_pace).chain(config.targets.iter().map(target_pace)).collect();
        Ok(Self {
            store: Store::new(db.clone(), table.clone()),
            http,
            aws: aws.clone(),
            crm_base_url: cold_start::variable("CRM_BASE_URL"),
            target_base_url: cold_start::variable("TARGET_BASE_URL"),
            tokens: Tokens::new(db, table),
            paces,
            people: Mutex::default(),
        })
    }

    /// Every queue of the client.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        self.paces.keys().map(String::as_str)
    }

    /// Works off a queue for as long as there is time: these tasks first, which the index may not show yet, then what is due.
    pub async fn work_off(
        &self,
        teller: &Teller,
        queue: &str,
        fresh: Vec<Place>,
        turn: &Turn<'_>,
    ) -> Result<(), StoreError> {
        let Teller { config, clock, .. } = teller;
        let whom = match queue.split_once(':') {
            Some(("crm", name)) => config.crms.get_key_value(name).map(|(name, crm)| Whom::Crm(name, crm)),
            Some(("target", name)) => {
                config.targets.get_key_value(name).map(|(name, target)| Whom::Target(name, target))
            }
            _ => None,
        };
        // A queue that was taken out of the configuration keeps what waits in it until it is put in again.
        let (Some(whom), Some(pace), true) = (whom, self.paces.get(queue), turn.has_time()) else { return Ok(()) };
        let mut next = fresh;
        if turn.all {
            let due = self.store.due(queue, clock.now(), PAGE).await?;
            next.extend(due.into_iter().filter(|place| !next.contains(place)).collect::<Vec<_>>());
        }
        if next.is_empty() {
            return Ok(());
        }
        let row = Place::state(queue);
        let now = clock.now();
        let take = |before: Option<&Gate>| {
            let taken = Gate::take(before, turn.owner(), turn.shift.lease_until(now), now);
            (taken.as_ref().ok().cloned(), taken)
        };
        let gate = match self.store.change(&row, take).await? {
            Ok(gate) => gate,
            Err(NotFree::Closed) => {
                observe::count(&config.client, Metric::CrmUnavailable, now);
                return Ok(());
            }
            Err(NotFree::Held) => return Ok(()),
        };
        if let Some(next_turn) = gate.next_turn {
            pace.hold(Duration::try_from(next_turn.duration_since(now)).unwrap_or_default());
        }
        let working = Working { courier: self, teller, queue, pace, whom };
        let worked = working.through(next, turn).await;
        let end = match &worked {
            Ok(end) => end.clone(),
            Err(_) => End::Idle,
        };
        working.report(&end);
        let now = clock.now();
        let next_turn = now + SignedDuration::try_from(pace.wait()).unwrap_or_default();
        let release =
            |before: Option<&Gate>| (before.and_then(|gate| gate.release(turn.owner(), &end, next_turn, now)), ());
        self.store.change(&row, release).await?;
        worked.map(drop)
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<Place, String>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Working<'_> {
    fn now(&self) -> Timestamp {
        self.teller.clock.now()
    }

    /// Takes tasks through, one after the other, until none is due.
    async fn through(&self, mut next: Vec<Place>, turn: &Turn<'_>) -> Result<End, StoreError> {
        let secret = match &self.whom {
            Whom::Crm(name, _) => Some(self.teller.config.crm_secret(name)),
            Whom::Target(name, target) => match target.kind {
                TargetKind::Slack | TargetKind::Teams | TargetKind::Webhook { .. } => {
                    Some(self.teller.config.target_secret(name))
                }
                TargetKind::Email { .. } | TargetKind::Sns { .. } => None,
            },
        };
        let mut credential = None;
        if let Some(secret) = &secret {
            match self.teller.secrets.current(secret, self.now()).await {
                Ok(value) => credential = Some(value),
                Err(error) => return Ok(trouble(&CallError::from(error), false, self.now())),
            }
        }
        let (mut end, mut streak) = (End::Idle, Streak::default());
        let mut refreshed = false;
        loop {
            let mut progress = false;
            for place in next {
                if !turn.has_time() {
                    return Ok(end);
                }
                let tried = match self.one(&place, credential.as_ref(), secret.as_deref(), turn).await {
                    Ok(tried) => tried,
                    // What is wrong with one row holds up no other.
                    Err(error) => {
                        tracing::error!(task.id = %place, "{}", chain(&error));
                        continue;
                    }
                };
                progress |= !matches!(tried, Tried::Not);
                let error = match tried {
                    Tried::Not => continue,
                    Tried::Told => {
                        streak.broken();
                        end = End::Works;
                        continue;
                    }
                    Tried::Failed(error) => error,
                };
                // The secret may have been rotated since it was read.
                if let (CallError::Credential { .. }, Some(secret), false) = (&error, &secret, refreshed) {
                    refreshed = true;
                    if let Ok(Some(newer)) = self.teller.secrets.refetch(secret, self.now()).await {
                        credential = Some(newer);
                        continue;
                    }
                }
                // Whoever refuses this very thing works, and takes the next one perhaps.
                if error.fault() == Fault::Permanent {
                    end = End::Works;
                    continue;
                }
                let failed = streak.failed();
                if let (Some(wait), false) = (short_wait(&error), failed) {
                    self.pace.hold(wait);
                } else if failed || error.is_systems() || error.hung() {
                    return Ok(trouble(&error, end == End::Works, self.now()));
                }
            }
            // The index may still show what was done a moment ago.
            if !turn.all || !progress {
                return Ok(end);
            }
            next = self.courier.store.due(self.queue, self.now(), PAGE).await?;
            if next.is_empty() {
                return Ok(end);
            }
        }
    }

    /// Takes one task through.
    async fn one(
        &self,
        place: &Place,
        credential: Option<&Secret>,
        secret: Option<&str>,
        turn: &Turn<'_>,
    ) -> Result<Tried, StoreError> {
        let store = &self.courier.store;
        let Some(before) = store.get::<Task>(place).await? else { return Ok(Tried::Not) };
        let now = self.now();
        let Ok(claimed) = before.value.claim(turn.owner(), turn.shift.lease_until(now), now) else {
            return Ok(Tried::Not);
        };
        let Some(claimed) = store.put(place, claimed, Some(&before)).await? else { return Ok(Tried::Not) };
        let patience = turn.shift.deadline.remaining().saturating_sub(TIME_TO_SETTLE);
        let told = tokio::time::timeout(patience, self.tell(&claimed.value, credential, secret)).await;
        let now = self.now();
        let (outcome, tried) = match told {
            Ok(Ok(outcome)) => (outcome, Tried::Told),
            Ok(Err(error)) => (not_told(&error, now), Tried::Failed(error)),
            Err(_) => {
                let reason = "it takes longer than the function has".to_owned();
                (Outcome::NotNow { until: None, doubtful: true, reason }, Tried::Not)
            }
        };
        self.settle(place, &claimed, turn.owner(), outcome, now).await?;
        Ok(tried)
    }

    async fn settle(
        &self,
        place: &Place,
        claimed: &Stored<Task>,
        owner: &str,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Ok(next) = claimed.value.settle(owner, outcome, now) else { return Ok(()) };
        tracing::info!(
            task.id = %place,
            task.queue = next.queue,
            task.state = ?next.state,
            task.tries = next.tries,
            task.reason = next.reason,
            task.result = next.result,
            "task was tried"
        );
        if next.state == TaskState::Refused {
            observe::count(&self.teller.config.client, Metric::EntriesRefused, now);
        } else if next.state == TaskState::Waiting && next.tries >= TOO_MANY_TRIES {
            observe::count(&self.teller.config.client, Metric::CrmUnavailable, now);
        }
        if self.courier.store.put(place, next, Some(claimed)).await?.is_none() {
            // Our lease ended before we did; whoever took over looks first.
            tracing::warn!(task.id = %place, "a task was taken over by somebody else");
        }
        Ok(())
    }

    /// Tells what a task says, unless they know already.
    async fn tell(&self, task: &Task, credential: Option<&Secret>, secret: Option<&str>) -> Result<Outcome, CallError> {
        let courier = self.courier;
        let secret = secret.unwrap_or_default();
        let caller = |base_url| Caller { http: &courier.http, base_url, pace: self.pace, secret };
        match (&self.whom, &task.what) {
            (Whom::Crm(name, crm), What::Entry(item)) => {
                let client = CrmClient {
                    name,
                    kind: &crm.kind,
                    caller: caller(courier.crm_base_url.as_deref()),
                    credential: credential.cloned().unwrap_or_else(|| Secret::new("")),
                    tokens: &courier.tokens,
                };
                self.enter(&client, item, task.doubtful).await
            }
            (Whom::Target(_, target), What::Notice(notice)) => {
                let client = TargetClient {
                    kind: &target.kind,
                    caller: caller(courier.target_base_url.as_deref()),
                    credential: credential.cloned(),
                    aws: &courier.aws,
                };
                let mut notice = notice.clone();
                notice.repeated = task.doubtful;
                client.call(&notice, self.now()).await.map(|()| Outcome::Done(None))
            }
            (Whom::Crm(..), What::Notice(_)) | (Whom::Target(..), What::Entry(_)) => {
                Ok(Outcome::Refused("it stands in the queue of somebody else".to_owned()))
            }
        }
    }

    /// Writes an entry, with the person that it hangs on.
    async fn enter(&self, client: &CrmClient<'_>, item: &Item, doubtful: bool) -> Result<Outcome, CallError> {
        if !client.has_people() {
            return self.enter_at(client, None, item, doubtful).await.map(Outcome::Done);
        }
        let contact = self.teller.ledger.contact(&item.phone);
        // Another account of the same system has other people under the same ids. A credential that was only replaced costs
        // a look-up for each.
        let account = format!("{:?} {}", client.kind, client.credential.expose());
        let account = sha256_hex(account.as_bytes(), 4);
        let place = Place::new(contact, format!("{}-{account}", self.queue));
        let known = self.person(&place).await;
        if let Some(person) = &known {
            match self.enter_at(client, Some(person), item, doubtful).await {
                // Somebody deleted or merged the person that we knew.
                Err(CallError::Gone) => {}
                entered => return entered.map(Outcome::Done),
            }
        }
        let now = self.now();
        let Some(person) = client.person(&item.phone, item.name.as_deref(), now).await? else {
            return Ok(Outcome::LeftOut("nobody has this number there, and the configuration says to make nobody"));
        };
        self.remember(&place, &person, now).await;
        self.enter_at(client, Some(&person), item, doubtful).await.map(Outcome::Done)
    }

    async fn enter_at(
        &self,
        client: &CrmClient<'_>,
        person: Option<&str>,
        item: &Item,
        doubtful: bool,
    ) -> Result<Option<String>, CallError> {
        let now = self.now();
        if doubtful && let Some(there) = client.find_entry(person, item, now).await? {
            return Ok(Some(there));
        }
        client.create_entry(person, item, now).await
    }

    /// The person that a number was the last time.
    async fn person(&self, place: &Place) -> Option<String> {
        if let Some(id) = self.courier.remembered().get(place) {
            return Some(id.clone());
        }
        match self.courier.store.get::<Person>(place).await {
            Ok(stored) => stored.map(|stored| stored.value.id),
            // Asking the CRM costs a call more, and says the same.
            Err(error) => {
                tracing::warn!("{}", chain(&error));
                None
            }
        }
    }

    async fn remember(&self, place: &Place, person: &str, now: Timestamp) {
        let id = person.to_owned();
        let write = |_: Option<&Person>| (Some(Person { id: id.clone(), at: now }), ());
        if let Err(error) = self.courier.store.change(place, write).await {
            tracing::warn!("{}", chain(&error));
        }
        let mut people = self.courier.remembered();
        if people.len() >= PEOPLE {
            people.clear();
        }
        people.insert(place.clone(), id);
    }

    fn report(&self, end: &End) {
        if let End::Trouble { unauthorized, reason, .. } = end {
            let metric = if *unauthorized { Metric::CrmUnauthorized } else { Metric::CrmUnavailable };
            observe::count(&self.teller.config.client, metric, self.now());
            tracing::warn!(queue = self.queue, "what is for it waits: {reason}");
        }
    }
}

/// What came of a task.
enum Tried {
    /// It is somebody else's, or done.
    Not,
    /// It is known there now, or refused.
    Told,
    /// It is not, or nobody knows.
    Failed(CallError),
}

/// What a failed call means for its task.
fn not_told(error: &CallError, now: Timestamp) -> Outcome {
    let reason = chain(error);
    match error.fault() {
        Fault::Permanent => Outcome::Refused(reason),
        fault => Outcome::NotNow { until: rest(error, now), doubtful: fault == Fault::Ambiguous, reason },
    }
}

/// What a failed call means for its queue.
fn trouble(error: &CallError, worked: bool, now: Timestamp) -> End {
    End::Trouble { worked, until: rest(error, now), unauthorized: error.wants_credential(), reason: chain(error) }
}

/// How long to wait in place for whoever asks for so little patience that it is no trouble.
fn short_wait(error: &CallError) -> Option<Duration> {
    match error {
        CallError::Throttled { retry_after: Some(wait), .. } => {
            Duration::try_from(*wait).ok().filter(|wait| *wait <= SHORT_WAIT)
        }
        _ => None,
    }
}

fn rest(error: &CallError, now: Timestamp) -> Option<Timestamp> {
    match error {
        CallError::Throttled { retry_after: Some(wait), .. } => Some(now + *wait),
        _ => None,
    }
}
