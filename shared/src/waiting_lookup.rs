//! Lookups that wait: a delivery needs facts from its sender's API, and the API cannot be asked
//! now.
//!
//! Long because a row is written, read, planned and tested here.
//!
//! Main types: [`WaitingLookup`] is a delivery that waits; [`LookupQueue`] is what a function does
//! with its own deliveries; [`WaitingLookups`] are the rows of all inboxes, for the sweep.
//!
//! Flow: a function makes each lookup by [`LookupQueue::attempt`]. If it fails for a reason outside
//! of tellonce, [`LookupQueue::wait`] writes a row (`lookup:{inbox}:{delivery}` / `state`), and the
//! function gives the delivery the outcome `waiting-for-lookup`. Every minute the sweep reads the
//! rows into a [`ReplayPlan`], and replays what the plan selects. A replay removes the outcome, so
//! that the inbox's stream wakes the function again. A delivery that needs no further lookup
//! settles the row ([`LookupQueue::settle`]).
//!
//! The row is written before the outcome. An outcome without a row would never be replayed. A row
//! without an outcome is harmless: its replay finds no outcome to remove, and Lambda repeats the
//! record.
//!
//! Promises: no record of a stream fails for a sender's trouble, and one sender that does not
//! respond takes [`MAX_LOOKUP_TIME`] from a batch. A missing or refused credential waits as well,
//! because a message is still useful when the operator has stored a valid one. What waits is in a
//! gauge, whose alarm names the cause, so a lookup that ends after that alarm is not counted again.
//! Does **not** cover the tables and secrets of AWS: if they fail, the record is repeated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        get_item::GetItemError,
        query::QueryError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::AttributeValue,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    attributes::{Item, ItemReader, number_value, send_if_current, text_value, time_value},
    client_config::ClientConfig,
    clock::Deadline,
    fault::{ClassifyFault, Fault, error_chain},
    inbox::{DeliveryOutcome, InboxItem},
    lookup::LookupTrouble,
    telemetry::{self, Metric},
};

/// The code of a delivery that waits.
pub const WAITING_CODE: &str = "waiting-for-lookup";
/// The longest time of a lookup, with its repetition under a newer credential. A response takes
/// well below a second, and the deliveries behind must not wait for an API that hangs.
pub const MAX_LOOKUP_TIME: Duration = Duration::from_secs(5);
/// The value of `due_queue`. No line has this name, because it contains a colon.
pub const LOOKUP_QUEUE: &str = "queue:lookups";
const STAGE: &str = "state";
/// How long a delivery waits after each failure, in minutes. The last one repeats. The sweep asks
/// each sender with one delivery only, so a short pause costs little, and all that waits goes out
/// soon after the sender works again.
const PAUSE_MINUTES: [i64; 4] = [1, 2, 5, 10];
/// The longest pause that a sender may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// How long no other delivery of a sender calls its API after it did not respond. Shorter than the
/// shortest pause, so that a replay calls.
const SENDER_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// The least time that must remain for a lookup: its own, and that of the sends behind it.
const MIN_TIME_FOR_LOOKUP: Duration = Duration::from_secs(25);
/// How long a settled or ended row is kept, for people.
const KEPT_SECONDS: i64 = 2 * 86_400;
/// How often a row that other writers change is read again.
const MAX_ATTEMPTS: usize = 5;
/// The most deliveries of one sender that are replayed in a minute: so many lookups, one after the
/// other, leave the stream time for new deliveries.
const MAX_REPLAYS_PER_SENDER: usize = 200;
/// The most lookups that end in a minute.
const MAX_ENDED: usize = 5_000;
/// The least time that must remain to read another page of rows.
const MIN_TIME_FOR_PAGE: Duration = Duration::from_secs(20);

/// Reading or writing a row failed.
#[derive(Debug, thiserror::Error)]
pub enum WaitingLookupError {
    /// A row could not be read.
    #[error("a waiting lookup could not be read")]
    Read(#[source] Box<SdkError<GetItemError>>),
    /// The rows could not be listed.
    #[error("the waiting lookups could not be listed")]
    List(#[source] Box<SdkError<QueryError>>),
    /// A row could not be changed.
    #[error("a waiting lookup could not be changed")]
    Update(#[source] Box<SdkError<UpdateItemError>>),
    /// Other invocations kept writing the same row.
    #[error("a waiting lookup could not be written: too many conflicting writes")]
    TooManyConflicts,
}

impl ClassifyFault for WaitingLookupError {
    fn fault(&self) -> Fault {
        match self {
            Self::Read(_) | Self::List(_) | Self::Update(_) | Self::TooManyConflicts => Fault::Transient,
        }
    }
}

/// An inbox whose deliveries may need a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookupInbox {
    /// The inbox of stores.
    Stores,
    /// The inbox of calendars.
    Bookings,
    /// The inbox of forms.
    Leads,
}

impl LookupInbox {
    const ALL: [Self; 3] = [Self::Stores, Self::Bookings, Self::Leads];

    const fn name(self) -> &'static str {
        match self {
            Self::Stores => "store-inbox",
            Self::Bookings => "booking-inbox",
            Self::Leads => "lead-inbox",
        }
    }
}

/// A delivery whose lookup is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingLookup {
    /// The inbox of the delivery.
    pub inbox: LookupInbox,
    /// The delivery's key in the inbox.
    pub delivery_id: String,
    /// When it is tried again.
    pub due_at: Timestamp,
    /// When its lookup failed first.
    pub waiting_since: Timestamp,
    /// Until when its lookup is useful.
    pub useful_until: Timestamp,
    version: u64,
}

impl WaitingLookup {
    /// The sender's name in the configuration.
    pub fn sender(&self) -> &str {
        self.delivery_id.split_once('#').map_or(self.delivery_id.as_str(), |(sender, _)| sender)
    }

    /// Reads a row or an entry of the index. `None` if it does not wait any more.
    fn from_item(item: &Item) -> Option<Self> {
        let item = ItemReader(item);
        let (inbox, delivery_id) = item.text("subject")?.strip_prefix("lookup:")?.split_once(':')?;
        item.text("due_queue").filter(|queue| *queue == LOOKUP_QUEUE)?;
        Some(Self {
            inbox: LookupInbox::ALL.into_iter().find(|known| known.name() == inbox)?,
            delivery_id: delivery_id.to_owned(),
            due_at: item.time("due_at")?,
            waiting_since: item.time("waiting_since")?,
            useful_until: item.time("useful_until")?,
            version: item.number("version")?,
        })
    }
}

fn build_subject(inbox: LookupInbox, delivery_id: &str) -> String {
    format!("lookup:{}:{delivery_id}", inbox.name())
}

/// The result of one try of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupAttempt<T> {
    /// It succeeded.
    Answered(T),
    /// It was not possible now.
    Failed(LookupFailure),
}

/// Why a lookup was not possible now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupFailure {
    /// What may pass.
    pub trouble: LookupTrouble,
    /// The reason, for people.
    pub reason: String,
}

/// The outcome of a delivery whose lookup was not possible. `Display` writes the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnansweredLookup {
    /// Why not.
    pub reason: String,
    /// Until when it is tried again; `None` if it has become useless.
    pub waits_until: Option<Timestamp>,
}

impl UnansweredLookup {
    /// A lookup that is not tried again, because its facts have become useless.
    pub fn ended(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), waits_until: None }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self.waits_until {
            Some(_) => WAITING_CODE,
            None => "lookup-failed",
        }
    }
}

impl std::fmt::Display for UnansweredLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.waits_until {
            Some(until) => write!(f, "{}; the lookup is tried again until {until:.0}", self.reason),
            None => write!(f, "{}; the lookup has become useless", self.reason),
        }
    }
}

impl From<UnansweredLookup> for DeliveryOutcome {
    fn from(lookup: UnansweredLookup) -> Self {
        let has_ended = lookup.waits_until.is_none();
        Self::new(lookup.code(), lookup).needing_person(has_ended)
    }
}

/// When a lookup is tried again after this many failures; `None` if it is not useful any more.
fn next_try_at(failures: usize, trouble: LookupTrouble, useful_until: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let pause = PAUSE_MINUTES[failures.clamp(1, PAUSE_MINUTES.len()) - 1];
    let pause = SignedDuration::from_mins(pause).max(requested_pause(trouble));
    (now < useful_until).then_some((now + pause).min(useful_until))
}

/// The pause that the sender asks for.
fn requested_pause(trouble: LookupTrouble) -> SignedDuration {
    let LookupTrouble::Throttled { retry_after: Some(wait) } = trouble else { return SignedDuration::ZERO };
    SignedDuration::try_from(wait.min(MAX_RETRY_AFTER)).unwrap_or_default()
}

/// What the sweep does about the waiting lookups. One delivery of each sender finds out whether its
/// API works again: a hundred would hold up the stream, one timeout after the other.
#[derive(Debug, Default)]
pub struct ReplayPlan {
    /// Useless by now.
    pub ended: Vec<WaitingLookup>,
    /// Rows that this version cannot read, and does not replay.
    pub unreadable: Option<UnreadableRows>,
    senders: BTreeMap<(LookupInbox, String), SenderLookups>,
}

/// Rows that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRows {
    /// How many there are.
    pub count: usize,
    /// The key of the first one.
    pub subject: String,
    /// Since when one of them waits.
    pub waiting_since: Timestamp,
}

/// The waiting lookups of one sender.
#[derive(Debug)]
struct SenderLookups {
    oldest: WaitingLookup,
    /// The longest due first, and no more than are replayed in a minute.
    useful: Vec<WaitingLookup>,
}

/// The replays of one sender.
#[derive(Debug, PartialEq, Eq)]
pub struct SenderReplays {
    /// Is replayed first: the one that has been due for longest. A failure makes it due later, so
    /// that the next one is another.
    pub first: WaitingLookup,
    /// Are replayed at once if the lookup of the first succeeds, due or not.
    pub others: Vec<WaitingLookup>,
}

impl ReplayPlan {
    /// Adds an entry of the index. The entries come in the order of their due time.
    fn add_entry(&mut self, item: &Item, now: Timestamp) {
        let Some(lookup) = WaitingLookup::from_item(item) else {
            let item = ItemReader(item);
            let waiting_since = item.time("waiting_since").or_else(|| item.time("due_at")).unwrap_or(now);
            let subject = item.text("subject").unwrap_or_default();
            let new = || UnreadableRows { count: 0, subject: subject.to_owned(), waiting_since };
            let rows = self.unreadable.get_or_insert_with(new);
            rows.count += 1;
            rows.waiting_since = rows.waiting_since.min(waiting_since);
            return;
        };
        let sender = (lookup.inbox, lookup.sender().to_owned());
        let new = || SenderLookups { oldest: lookup.clone(), useful: Vec::new() };
        let of_sender = self.senders.entry(sender).or_insert_with(new);
        if lookup.waiting_since < of_sender.oldest.waiting_since {
            of_sender.oldest = lookup.clone();
        }
        if lookup.useful_until <= now {
            if self.ended.len() < MAX_ENDED {
                self.ended.push(lookup);
            }
        } else if of_sender.useful.len() <= MAX_REPLAYS_PER_SENDER {
            of_sender.useful.push(lookup);
        }
    }

    /// The lookup of each sender that failed first.
    pub fn oldest_of_senders(&self) -> impl Iterator<Item = &WaitingLookup> {
        self.senders.values().map(|of_sender| &of_sender.oldest)
    }

    /// One entry for each sender with a delivery that is due.
    pub fn take_replays(&mut self, now: Timestamp) -> Vec<SenderReplays> {
        let senders = self.senders.values_mut().filter_map(|of_sender| {
            let mut useful = std::mem::take(&mut of_sender.useful).into_iter();
            let first = useful.next().filter(|first| first.due_at <= now)?;
            Some(SenderReplays { first, others: useful.collect() })
        });
        senders.collect()
    }
}

/// The rows of waiting lookups in the ledger's table.
#[derive(Debug, Clone)]
pub struct WaitingLookups {
    db: Client,
    table: String,
}

impl WaitingLookups {
    /// The rows in the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// Plans the replays of what waits. Reads on until each sender with a due delivery is known,
    /// because a sender with many more than others must not hide them. The index lags the table by
    /// moments.
    pub async fn plan_replays(&self, now: Timestamp, deadline: Deadline) -> Result<ReplayPlan, WaitingLookupError> {
        let (mut plan, mut from) = (ReplayPlan::default(), None);
        loop {
            let page = self
                .db
                .query()
                .table_name(&self.table)
                .index_name("due")
                .key_condition_expression("due_queue = :queue")
                .expression_attribute_values(":queue", text_value(LOOKUP_QUEUE))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| WaitingLookupError::List(Box::new(error)))?;
            for item in page.items() {
                plan.add_entry(item, now);
            }
            let last_due_at = page.items().last().and_then(|item| ItemReader(item).time("due_at"));
            let is_more_due = last_due_at.is_none_or(|due_at| due_at <= now);
            match page.last_evaluated_key {
                Some(key) if is_more_due && deadline.remaining() >= MIN_TIME_FOR_PAGE => from = Some(key),
                _ => return Ok(plan),
            }
        }
    }

    /// Why a lookup waits, for people.
    pub async fn read_reason(&self, lookup: &WaitingLookup) -> Result<Option<String>, WaitingLookupError> {
        let item = self.get_item(&build_subject(lookup.inbox, &lookup.delivery_id)).await?;
        Ok(item.and_then(|item| ItemReader(&item).owned("reason")))
    }

    /// Reads a row again, consistently. `None` if it does not wait any more.
    pub async fn reread(&self, lookup: &WaitingLookup) -> Result<Option<WaitingLookup>, WaitingLookupError> {
        let item = self.get_item(&build_subject(lookup.inbox, &lookup.delivery_id)).await?;
        Ok(item.as_ref().and_then(WaitingLookup::from_item))
    }

    /// Makes a row due later, unless it was written since it was read. Returns it as it is then, or
    /// `None` if it was written.
    pub async fn postpone(
        &self,
        lookup: &WaitingLookup,
        due_at: Timestamp,
    ) -> Result<Option<WaitingLookup>, WaitingLookupError> {
        let later = WaitingLookup { due_at, version: lookup.version + 1, ..lookup.clone() };
        let update = self
            .update_row(lookup.inbox, &lookup.delivery_id)
            .update_expression("SET due_at = :due_at, version = :next")
            .condition_expression("version = :version AND attribute_exists(due_queue)")
            .expression_attribute_values(":due_at", time_value(due_at))
            .expression_attribute_values(":version", number_value(lookup.version))
            .expression_attribute_values(":next", number_value(later.version));
        Ok(send_if_current(update).await.map_err(WaitingLookupError::Update)?.then_some(later))
    }

    /// Takes a row out of the queue. The table deletes it two days after the lookup is useless.
    pub async fn settle(&self, inbox: LookupInbox, delivery_id: &str) -> Result<(), WaitingLookupError> {
        let update = self.settle_update(inbox, delivery_id).condition_expression("attribute_exists(due_queue)");
        send_if_current(update).await.map(drop).map_err(WaitingLookupError::Update)
    }

    /// Takes a row out of the queue, unless it was written since it was read: its function may be
    /// about to store the outcome that needs the row.
    pub async fn settle_unchanged(&self, lookup: &WaitingLookup) -> Result<(), WaitingLookupError> {
        let update = self
            .settle_update(lookup.inbox, &lookup.delivery_id)
            .condition_expression("version = :version AND attribute_exists(due_queue)")
            .expression_attribute_values(":version", number_value(lookup.version));
        send_if_current(update).await.map(drop).map_err(WaitingLookupError::Update)
    }

    fn settle_update(&self, inbox: LookupInbox, delivery_id: &str) -> UpdateItemFluentBuilder {
        self.update_row(inbox, delivery_id)
            .update_expression("REMOVE due_queue, due_at SET version = version + :one")
            .expression_attribute_values(":one", number_value(1))
    }

    fn update_row(&self, inbox: LookupInbox, delivery_id: &str) -> UpdateItemFluentBuilder {
        let update = self.db.update_item().table_name(&self.table);
        update.key("subject", text_value(build_subject(inbox, delivery_id))).key("stage", text_value(STAGE))
    }

    async fn get_item(&self, subject: &str) -> Result<Option<Item>, WaitingLookupError> {
        let get = self
            .db
            .get_item()
            .table_name(&self.table)
            .key("subject", text_value(subject))
            .key("stage", text_value(STAGE))
            .consistent_read(true);
        get.send().await.map(|answer| answer.item).map_err(|error| WaitingLookupError::Read(Box::new(error)))
    }

    /// Writes a row over the one that was read. What another version of tellonce added to it stays.
    /// Returns whether it did.
    async fn write_row(
        &self,
        row: &WaitingLookup,
        tries: usize,
        reason: &str,
        version_before: Option<&AttributeValue>,
    ) -> Result<bool, WaitingLookupError> {
        let update = self
            .update_row(row.inbox, &row.delivery_id)
            .update_expression(
                "SET due_queue = :queue, due_at = :due_at, waiting_since = :since, useful_until = :until, \
                 tries = :tries, reason = :reason, version = :next, #ttl = :ttl",
            )
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":queue", text_value(LOOKUP_QUEUE))
            .expression_attribute_values(":due_at", time_value(row.due_at))
            .expression_attribute_values(":since", time_value(row.waiting_since))
            .expression_attribute_values(":until", time_value(row.useful_until))
            .expression_attribute_values(":tries", number_value(tries))
            .expression_attribute_values(":reason", text_value(reason))
            .expression_attribute_values(":next", number_value(row.version))
            .expression_attribute_values(":ttl", number_value(row.useful_until.as_second() + KEPT_SECONDS));
        let update = match version_before {
            None => update.condition_expression("attribute_not_exists(version)"),
            Some(version) => update
                .condition_expression("version = :version")
                .expression_attribute_values(":version", version.clone()),
        };
        send_if_current(update).await.map_err(WaitingLookupError::Update)
    }
}

/// The waiting lookups of one function's inbox.
#[derive(Debug)]
pub struct LookupQueue {
    rows: WaitingLookups,
    inbox: LookupInbox,
    /// Until when this process calls no API of a sender, by the sender's name.
    paused_until: Mutex<HashMap<String, Timestamp>>,
    /// The longest time for a lookup; shorter in tests.
    max_lookup_time: Duration,
}

impl LookupQueue {
    /// The queue of an inbox.
    pub fn new(rows: WaitingLookups, inbox: LookupInbox) -> Self {
        Self { rows, inbox, paused_until: Mutex::default(), max_lookup_time: MAX_LOOKUP_TIME }
    }

    /// Reads a credential and makes the lookup with it, for [`MAX_LOOKUP_TIME`] at most, unless an
    /// obstacle forbids it. The time is that of the sender: Secrets Manager has its own. `trouble`
    /// says which errors may pass. The others are returned.
    pub async fn attempt<C, T, E: std::error::Error>(
        &self,
        sender: &str,
        deadline: Deadline,
        now: Timestamp,
        trouble: impl Fn(&E) -> Option<LookupTrouble>,
        credential: impl Future<Output = Result<C, E>>,
        lookup: impl AsyncFnOnce(C) -> Result<T, E>,
    ) -> Result<LookupAttempt<T>, E> {
        let fail = |trouble, reason| Ok(LookupAttempt::Failed(LookupFailure { trouble, reason }));
        if let Some(obstacle) = self.find_obstacle(sender, deadline, now) {
            return fail(LookupTrouble::NotTried, obstacle.to_owned());
        }
        let answer = match credential.await {
            Ok(credential) => tokio::time::timeout(self.max_lookup_time, lookup(credential)).await,
            Err(error) => Ok(Err(error)),
        };
        match answer {
            Ok(Ok(answer)) => Ok(LookupAttempt::Answered(answer)),
            Ok(Err(error)) => match trouble(&error) {
                Some(trouble) => fail(trouble, error_chain(&error)),
                None => Err(error),
            },
            Err(_) => {
                let reason = format!("the lookup took more than {} s", self.max_lookup_time.as_secs_f64());
                fail(LookupTrouble::NoResponse, reason)
            }
        }
    }

    /// Why a lookup must not be made in this invocation, if so: its sender did not respond a moment
    /// ago, or the time is short and the deliveries behind need it.
    fn find_obstacle(&self, sender: &str, deadline: Deadline, now: Timestamp) -> Option<&'static str> {
        let paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.get(sender).is_some_and(|until| now < *until) {
            Some("the sender's API did not respond a moment ago")
        } else {
            (deadline.remaining() < MIN_TIME_FOR_LOOKUP).then_some("the function's time was short for a lookup")
        }
    }

    /// Lets a delivery wait whose lookup failed, or ends a lookup that has become useless or whose
    /// delivery the inbox forgets. Returns the outcome to store with it.
    pub async fn wait(
        &self,
        config: &ClientConfig,
        delivery: &InboxItem,
        LookupFailure { trouble, reason }: LookupFailure,
        useful_until: Timestamp,
        now: Timestamp,
    ) -> Result<UnansweredLookup, WaitingLookupError> {
        let kept_for = SignedDuration::from_hours(24 * i64::from(config.retention.inbox_days));
        let useful_until = useful_until.min(delivery.received_at + kept_for);
        self.pause_sender(&delivery.sender, trouble, now);
        for _ in 0..MAX_ATTEMPTS {
            let item = self.rows.get_item(&build_subject(self.inbox, &delivery.id)).await?;
            let waiting = item.as_ref().and_then(WaitingLookup::from_item);
            let read = item.as_ref().map(ItemReader);
            let version = read.and_then(|row| row.number::<u64>("version")).unwrap_or(0);
            let tries =
                read.filter(|_| waiting.is_some()).and_then(|row| row.number::<usize>("tries")).unwrap_or(0) + 1;
            let waiting_since = waiting.map_or(now, |waiting| waiting.waiting_since);
            let Some(due_at) = next_try_at(tries, trouble, useful_until, now) else {
                self.rows.settle(self.inbox, &delivery.id).await?;
                report_ended_lookup(config, &delivery.id, waiting_since, now);
                return Ok(UnansweredLookup::ended(reason));
            };
            let row = WaitingLookup {
                inbox: self.inbox,
                delivery_id: delivery.id.clone(),
                due_at,
                waiting_since,
                useful_until,
                version: version + 1,
            };
            let version_before = item.as_ref().and_then(|item| item.get("version"));
            if self.rows.write_row(&row, tries, &reason, version_before).await? {
                report_waiting(&row, tries, &reason);
                return Ok(UnansweredLookup { reason, waits_until: Some(useful_until) });
            }
        }
        Err(WaitingLookupError::TooManyConflicts)
    }

    /// Settles the row of a delivery that needs no further lookup: its lookup succeeded or failed
    /// for good, or its sender was removed from `client.toml`. Only a replayed delivery has a row.
    pub async fn settle(&self, delivery: &InboxItem) -> Result<(), WaitingLookupError> {
        if delivery.replayed_at.is_none() { Ok(()) } else { self.rows.settle(self.inbox, &delivery.id).await }
    }

    /// Calls a sender no more for a while that did not respond or limits the rate. After another
    /// failure the next call costs no time.
    fn pause_sender(&self, sender: &str, trouble: LookupTrouble, now: Timestamp) {
        let pause = match trouble {
            LookupTrouble::NoResponse => SENDER_PAUSE,
            LookupTrouble::Throttled { .. } => SENDER_PAUSE.max(requested_pause(trouble)),
            LookupTrouble::ServerError | LookupTrouble::Credential | LookupTrouble::NotTried => return,
        };
        self.paused_until.lock().unwrap_or_else(PoisonError::into_inner).insert(sender.to_owned(), now + pause);
    }
}

/// Logs a delivery that waits.
fn report_waiting(row: &WaitingLookup, tries: usize, reason: &str) {
    let WaitingLookup { delivery_id: id, due_at, .. } = row;
    tracing::warn!(
        delivery.id = id,
        lookup.tries = tries,
        lookup.due_at = %due_at,
        "delivery {id} waits for its lookup until {due_at}: {reason}"
    );
}

/// Logs a delivery that led to no message, because its lookup did not work in time. Alerts the
/// operator, unless the wait did.
pub fn report_ended_lookup(config: &ClientConfig, delivery_id: &str, waiting_since: Timestamp, now: Timestamp) {
    if !telemetry::was_paged(waiting_since, config.quiet_hours_start_in_zone(None, now), now) {
        telemetry::count_metric(&config.client, Metric::DeliveriesQuarantined, now);
    }
    tracing::error!(delivery.id = delivery_id, "ended the lookup of delivery {delivery_id}: it has become useless");
}

#[cfg(test)]
mod tests {
    use loopback::http_response;
    use serde_json::json;

    use super::*;
    use crate::{attributes::ItemWriter, bootstrap::tests::start_fake_aws};

    fn at_minute(minute: i64) -> Timestamp {
        "2026-11-29T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn waiting(inbox: LookupInbox, delivery_id: &str, due: i64, useful: i64) -> WaitingLookup {
        WaitingLookup {
            inbox,
            delivery_id: delivery_id.to_owned(),
            due_at: at_minute(due),
            waiting_since: at_minute(-5),
            useful_until: at_minute(useful),
            version: 3,
        }
    }

    #[test]
    fn pauses_grow_up_to_ten_minutes_and_a_sender_may_ask_for_more_up_to_an_hour() {
        let next = |failures, trouble| next_try_at(failures, trouble, at_minute(1000), at_minute(0)).unwrap();
        for (failures, minutes) in [(0, 1), (1, 1), (2, 2), (3, 5), (4, 10), (5, 10), (1000, 10)] {
            assert_eq!(next(failures, LookupTrouble::NoResponse), at_minute(minutes), "{failures}");
        }
        let throttled = |seconds| LookupTrouble::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(next(1, throttled(2)), at_minute(1));
        assert_eq!(next(1, throttled(180)), at_minute(3));
        assert_eq!(next(1, throttled(1_000_000)), at_minute(60));
        assert_eq!(next(1, LookupTrouble::Throttled { retry_after: None }), at_minute(1));
    }

    #[test]
    fn a_lookup_is_tried_until_it_is_useless() {
        let next = |now| next_try_at(9, LookupTrouble::ServerError, at_minute(100), at_minute(now));
        assert_eq!(next(80), Some(at_minute(90)));
        assert_eq!(next(95), Some(at_minute(100)), "ended on time");
        assert_eq!((next(100), next(101)), (None, None));
    }

    fn entry(lookup: &WaitingLookup) -> Item {
        let mut writer = ItemWriter::default();
        writer.text("subject", build_subject(lookup.inbox, &lookup.delivery_id));
        writer.text("due_queue", LOOKUP_QUEUE);
        writer.time("due_at", lookup.due_at);
        writer.time("waiting_since", lookup.waiting_since);
        writer.time("useful_until", lookup.useful_until);
        writer.number("version", lookup.version);
        writer.into_item()
    }

    fn ids(lookups: &[WaitingLookup]) -> Vec<&str> {
        lookups.iter().map(|lookup| lookup.delivery_id.as_str()).collect()
    }

    #[test]
    fn one_delivery_of_each_sender_is_replayed_first_and_useless_ones_end() {
        let (shop, erp) = (LookupInbox::Stores, LookupInbox::Leads);
        let mut plan = ReplayPlan::default();
        let older = WaitingLookup { waiting_since: at_minute(-9), ..waiting(shop, "shop#2", -1, 50) };
        for lookup in [
            waiting(shop, "shop#1", -2, 50),
            older,
            waiting(erp, "shop#1", 0, 50),
            waiting(erp, "meta#2", 0, 0),
            waiting(erp, "meta#1", 1, 50),
            waiting(shop, "shop#3", 9, 50),
        ] {
            plan.add_entry(&entry(&lookup), at_minute(0));
        }
        assert_eq!(ids(&plan.ended), ["meta#2"]);
        let oldest: Vec<&str> = plan.oldest_of_senders().map(|oldest| oldest.delivery_id.as_str()).collect();
        assert_eq!(oldest, ["shop#2", "meta#2", "shop#1"]);
        let replays = plan.take_replays(at_minute(0));
        let senders: Vec<_> =
            replays.iter().map(|s| (s.first.inbox, s.first.delivery_id.as_str(), ids(&s.others))).collect();
        let others = vec!["shop#2", "shop#3"];
        assert_eq!(senders, [(shop, "shop#1", others), (erp, "shop#1", vec![])], "nothing of meta is due");
    }

    #[test]
    fn a_row_that_cannot_be_read_is_counted_and_hides_no_other() {
        let mut plan = ReplayPlan::default();
        for (number, attribute) in ["useful_until", "version", "waiting_since"].into_iter().enumerate() {
            let mut item = entry(&waiting(LookupInbox::Stores, &format!("shop#{number}"), -2, 50));
            item.remove(attribute);
            plan.add_entry(&item, at_minute(0));
        }
        plan.add_entry(&entry(&waiting(LookupInbox::Stores, "shop#9", -1, 50)), at_minute(0));
        let rows = plan.unreadable.clone().unwrap();
        assert_eq!((rows.count, rows.subject.as_str()), (3, "lookup:store-inbox:shop#0"));
        assert_eq!(rows.waiting_since, at_minute(-5));
        assert_eq!(plan.take_replays(at_minute(0))[0].first.delivery_id, "shop#9");
    }

    #[tokio::test]
    async fn a_sender_with_thousands_of_deliveries_hides_no_other_sender() {
        let (fake_api, aws) = start_fake_aws().await;
        let rows = WaitingLookups::new(aws.dynamodb(), "Ledger".to_owned());
        let json = |delivery_id: &str, due: i64| {
            let number = |minute| json!({"N": at_minute(minute).as_millisecond().to_string()});
            json!({
                "subject": {"S": format!("lookup:store-inbox:{delivery_id}")}, "due_queue": {"S": LOOKUP_QUEUE},
                "due_at": number(due), "waiting_since": number(-30), "useful_until": number(50), "version": {"N": "1"},
            })
        };
        let reply = |items: Vec<serde_json::Value>| {
            let body = json!({"Items": items, "LastEvaluatedKey": {"subject": {"S": "s"}}}).to_string();
            http_response("200 OK\r\ncontent-type: application/x-amz-json-1.0", &body)
        };
        let pages = [
            reply((0..6_000).map(|number| json(&format!("busy#{number}"), -9)).collect()),
            // What is not due any more needs no further page.
            reply(vec![json("quiet#1", -1), json("busy#x", 2)]),
        ];
        let replies = async {
            for page in &pages {
                assert!(fake_api.reply_once(page).await.unwrap().contains(LOOKUP_QUEUE));
            }
        };
        let (plan, ()) =
            tokio::join!(rows.plan_replays(at_minute(0), Deadline::from_now(Duration::from_mins(1))), replies);
        let replays = plan.unwrap().take_replays(at_minute(0));
        let found: Vec<_> = replays.iter().map(|s| (s.first.delivery_id.as_str(), s.others.len())).collect();
        assert_eq!(found, [("busy#0", MAX_REPLAYS_PER_SENDER), ("quiet#1", 0)]);
    }

    #[test]
    fn an_outcome_has_the_code_that_its_replay_requires() {
        let waits = UnansweredLookup { reason: "away".to_owned(), waits_until: Some(at_minute(0)) };
        assert_eq!(waits.code(), WAITING_CODE);
        assert_eq!(waits.to_string(), "away; the lookup is tried again until 2026-11-29T10:00:00Z");
        assert_eq!(DeliveryOutcome::from(UnansweredLookup::ended("away")).code, "lookup-failed");
    }

    #[test]
    fn a_row_that_is_settled_or_of_another_kind_does_not_wait() {
        let item = entry(&waiting(LookupInbox::Stores, "shop#a:b", 1, 1));
        let read = WaitingLookup::from_item(&item).unwrap();
        assert_eq!((read.inbox, read.delivery_id.as_str(), read.sender()), (LookupInbox::Stores, "shop#a:b", "shop"));
        for (name, value) in [("due_queue", None), ("subject", Some("lookup:line-inbox:main#1"))] {
            let mut other = item.clone();
            match value {
                Some(value) => other.insert(name.to_owned(), text_value(value)),
                None => other.remove(name),
            };
            assert_eq!(WaitingLookup::from_item(&other), None, "{name}");
        }
    }

    #[test]
    fn a_sender_that_did_not_respond_is_left_alone_for_half_a_minute_and_others_are_not() {
        let db = Client::from_conf(
            aws_sdk_dynamodb::Config::builder()
                .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
                .build(),
        );
        let queue = LookupQueue::new(WaitingLookups::new(db, "Ledger".to_owned()), LookupInbox::Stores);
        let long = Deadline::from_now(Duration::from_mins(1));
        let now = at_minute(0);
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        for trouble in [LookupTrouble::ServerError, LookupTrouble::Credential, LookupTrouble::NotTried] {
            queue.pause_sender("shop", trouble, now);
            assert_eq!(queue.find_obstacle("shop", long, now), None, "{trouble:?} takes no time");
        }
        queue.pause_sender("shop", LookupTrouble::NoResponse, now);
        assert!(queue.find_obstacle("shop", long, after(29)).is_some());
        assert_eq!(queue.find_obstacle("shop", long, after(30)), None);
        assert_eq!(queue.find_obstacle("other", long, now), None);
        let retry_after = Some(Duration::from_secs(90));
        queue.pause_sender("shop", LookupTrouble::Throttled { retry_after }, now);
        assert!(queue.find_obstacle("shop", long, after(89)).is_some());
        let short = Deadline::from_now(Duration::from_secs(20));
        assert!(queue.find_obstacle("other", short, now).is_some(), "the sends behind need the time");
    }

    #[tokio::test]
    async fn a_lookup_fails_for_what_may_pass_and_other_errors_are_returned() {
        let (_, aws) = start_fake_aws().await;
        let queue = LookupQueue::new(WaitingLookups::new(aws.dynamodb(), "Ledger".to_owned()), LookupInbox::Stores);
        let long = Deadline::from_now(Duration::from_mins(1));
        let short = Deadline::from_now(Duration::from_secs(20));
        let failure = |trouble, reason: &str| LookupFailure { trouble, reason: reason.to_owned() };
        let error = || "x".parse::<u8>().unwrap_err();
        let (text, trouble) = ("invalid digit found in string", LookupTrouble::ServerError);
        let obstacle = "the function's time was short for a lookup";
        for (deadline, trouble, result, expected) in [
            (long, Some(trouble), Ok(7), Ok(LookupAttempt::Answered(7))),
            (long, None, Err(error()), Err(error())),
            (long, Some(trouble), Err(error()), Ok(LookupAttempt::Failed(failure(trouble, text)))),
            (short, None, Ok(7), Ok(LookupAttempt::Failed(failure(LookupTrouble::NotTried, obstacle)))),
        ] {
            let (credential, lookup) = (async { Ok(()) }, async |()| result);
            let attempt = queue.attempt("shop", deadline, at_minute(0), |_| trouble, credential, lookup).await;
            assert_eq!(attempt, expected);
        }
    }

    #[tokio::test]
    async fn a_lookup_ends_after_its_time_and_a_credential_has_its_own() {
        let (_, aws) = start_fake_aws().await;
        let queue = LookupQueue::new(WaitingLookups::new(aws.dynamodb(), "Ledger".to_owned()), LookupInbox::Stores);
        assert_eq!(queue.max_lookup_time, Duration::from_secs(5));
        let queue = LookupQueue { max_lookup_time: Duration::from_millis(50), ..queue };
        let deadline = Deadline::from_now(Duration::from_mins(1));
        let slow = async {
            tokio::time::sleep(queue.max_lookup_time * 2).await;
            Ok::<_, std::num::ParseIntError>(())
        };
        let silent = async |()| {
            std::future::pending::<()>().await;
            Ok(())
        };
        let attempt = queue.attempt("shop", deadline, at_minute(0), |_| None, slow, silent).await;
        let reason = "the lookup took more than 0.05 s".to_owned();
        assert_eq!(attempt, Ok(LookupAttempt::Failed(LookupFailure { trouble: LookupTrouble::NoResponse, reason })));
    }

    #[tokio::test]
    async fn a_lookup_waits_no_longer_than_the_inbox_keeps_its_delivery() {
        let (fake_api, aws) = start_fake_aws().await;
        let queue = LookupQueue::new(WaitingLookups::new(aws.dynamodb(), "Ledger".to_owned()), LookupInbox::Stores);
        let config = ClientConfig::parse(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"UTC\"\nlanguages = [\"en\"]\n\
             retention = { inbox_days = 2 }\n[lines.main]\nline_id = \"line_1\"\n",
        )
        .unwrap();
        let delivery = InboxItem {
            id: "shop#1".to_owned(),
            sender: "shop".to_owned(),
            topic: None,
            headers: BTreeMap::new(),
            body: Vec::new(),
            received_at: at_minute(0),
            replayed_at: None,
        };
        for (useful, expected) in [(60, 60), (100_000, 2 * 24 * 60)] {
            let failure = LookupFailure { trouble: LookupTrouble::ServerError, reason: "503".to_owned() };
            let reply = http_response("200 OK\r\ncontent-type: application/x-amz-json-1.0", "{}");
            let replies = async {
                fake_api.reply_once(&reply).await.unwrap();
                fake_api.reply_once(&reply).await.unwrap()
            };
            let wait = queue.wait(&config, &delivery, failure, at_minute(useful), at_minute(1));
            let (lookup, written) = tokio::join!(wait, replies);
            assert_eq!(lookup.unwrap().waits_until, Some(at_minute(expected)));
            assert!(written.contains(&at_minute(expected).as_millisecond().to_string()), "{written}");
        }
    }
}
