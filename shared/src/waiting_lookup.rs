//! Lookups that wait: a delivery needs facts from its sender's API, and the API cannot be asked
//! now.
//!
//! Long because a row is written, read, planned and tested here.
//!
//! Main types: [`WaitingLookup`] is a delivery that waits; [`LookupQueue`] is what a function does
//! with its own deliveries; [`WaitingLookups`] are the rows of all inboxes, for the sweep.
//!
//! Flow: if a lookup fails for somebody else's trouble, [`LookupQueue::wait`] writes a row
//! (`lookup:{inbox}:{delivery}` / `state`), and the function gives the delivery the outcome
//! `waiting-for-lookup`. Every minute the sweep lists the rows, and replays what [`plan_replays`]
//! selects. A replay removes the outcome, so that the inbox's stream wakes the function again. A
//! lookup that succeeds settles the row ([`LookupQueue::settle`]).
//!
//! The row is written before the outcome. An outcome without a row would never be replayed. A row
//! without an outcome is harmless: its replay finds no outcome to remove, and Lambda repeats the
//! record.
//!
//! Promises: no record of a stream fails for a sender's trouble, and one sender that does not
//! respond takes [`MAX_LOOKUP_TIME`](crate::lookup::MAX_LOOKUP_TIME) from a batch. A missing or
//! refused credential waits as well, because a message is still useful when the operator has stored
//! a valid one. An operator is alerted at the first failure. Does **not** cover the tables and
//! secrets of AWS: if they fail, the record is repeated.

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
        put_item::PutItemError,
        query::QueryError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    attributes::{Item, ItemReader, ItemWriter, number_value, text_value, time_value},
    clock::Deadline,
    fault::{ClassifyFault, Fault},
    inbox::{DeliveryOutcome, InboxItem},
    lookup::LookupTrouble,
    telemetry::{self, Metric},
};

/// The code of a delivery that waits.
pub const WAITING_CODE: &str = "waiting-for-lookup";
/// The value of `due_queue`. No line has this name, because it contains a colon.
const QUEUE: &str = "queue:lookups";
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
/// The most rows that one list returns.
const MAX_ROWS: usize = 5_000;

/// Reading or writing a row failed.
#[derive(Debug, thiserror::Error)]
pub enum WaitingLookupError {
    /// A row could not be read.
    #[error("a waiting lookup could not be read")]
    Read(#[source] Box<SdkError<GetItemError>>),
    /// The rows could not be listed.
    #[error("the waiting lookups could not be listed")]
    List(#[source] Box<SdkError<QueryError>>),
    /// A row could not be written.
    #[error("a waiting lookup could not be written")]
    Write(#[source] Box<SdkError<PutItemError>>),
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
            Self::Read(_) | Self::List(_) | Self::Write(_) | Self::Update(_) | Self::TooManyConflicts => {
                Fault::Transient
            }
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
        item.text("due_queue").filter(|queue| *queue == QUEUE)?;
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

/// The outcome of a delivery whose lookup was not possible. `Display` writes the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnansweredLookup {
    /// Why not.
    pub reason: String,
    /// Until when it is tried again; `None` if it is no longer useful.
    pub waits_until: Option<Timestamp>,
}

impl UnansweredLookup {
    /// A lookup that is not tried again, because its facts are no longer useful.
    pub fn ended(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), waits_until: None }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self.waits_until {
            Some(_) => "waiting-for-lookup",
            None => "lookup-failed",
        }
    }
}

impl std::fmt::Display for UnansweredLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.waits_until {
            Some(until) => write!(f, "{}; the lookup is tried again until {until:.0}", self.reason),
            None => write!(f, "{}; the lookup is no longer useful", self.reason),
        }
    }
}

impl From<UnansweredLookup> for DeliveryOutcome {
    fn from(lookup: UnansweredLookup) -> Self {
        Self::new(lookup.code(), lookup)
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

/// What the sweep does about the waiting lookups.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReplayPlan {
    /// No longer useful.
    pub ended: Vec<WaitingLookup>,
    /// One entry for each sender with a due delivery.
    pub senders: Vec<SenderReplays>,
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

/// Decides which waiting lookups are replayed. One delivery finds out whether its sender works
/// again: a hundred would hold up the stream, one timeout after the other.
pub fn plan_replays(waiting: Vec<WaitingLookup>, now: Timestamp) -> ReplayPlan {
    let mut plan = ReplayPlan::default();
    let mut by_sender: BTreeMap<(LookupInbox, String), Vec<WaitingLookup>> = BTreeMap::new();
    for lookup in waiting {
        if lookup.useful_until <= now {
            plan.ended.push(lookup);
        } else {
            by_sender.entry((lookup.inbox, lookup.sender().to_owned())).or_default().push(lookup);
        }
    }
    for mut of_sender in by_sender.into_values() {
        of_sender.sort_by_key(|lookup| lookup.due_at);
        let mut of_sender = of_sender.into_iter();
        if let Some(first) = of_sender.next().filter(|first| first.due_at <= now) {
            plan.senders.push(SenderReplays { first, others: of_sender.collect() });
        }
    }
    plan
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

    /// Lists what waits, the longest due first. The index lags the table by moments.
    pub async fn list(&self) -> Result<Vec<WaitingLookup>, WaitingLookupError> {
        let (mut waiting, mut from) = (Vec::new(), None);
        loop {
            let page = self
                .db
                .query()
                .table_name(&self.table)
                .index_name("due")
                .key_condition_expression("due_queue = :queue")
                .expression_attribute_values(":queue", text_value(QUEUE))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| WaitingLookupError::List(Box::new(error)))?;
            waiting.extend(page.items().iter().filter_map(WaitingLookup::from_item));
            match page.last_evaluated_key {
                Some(key) if waiting.len() < MAX_ROWS => from = Some(key),
                _ => return Ok(waiting),
            }
        }
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
        Ok(send_if_current(update).await?.then_some(later))
    }

    /// Takes a row out of the queue. The table deletes it two days after the lookup is useless.
    pub async fn settle(&self, inbox: LookupInbox, delivery_id: &str) -> Result<(), WaitingLookupError> {
        let update = self
            .update_row(inbox, delivery_id)
            .update_expression("REMOVE due_queue, due_at SET version = version + :one")
            .condition_expression("attribute_exists(due_queue)")
            .expression_attribute_values(":one", number_value(1));
        send_if_current(update).await.map(drop)
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

    /// Writes a row over the version that was read. Returns whether it did.
    async fn put_row(
        &self,
        row: &WaitingLookup,
        tries: usize,
        reason: &str,
        before: Option<u64>,
    ) -> Result<bool, WaitingLookupError> {
        let mut item = ItemWriter::with_capacity(10);
        item.text("subject", build_subject(row.inbox, &row.delivery_id));
        item.text("stage", STAGE);
        item.text("due_queue", QUEUE);
        item.time("due_at", row.due_at);
        item.time("waiting_since", row.waiting_since);
        item.time("useful_until", row.useful_until);
        item.number("tries", tries);
        item.text("reason", reason);
        item.number("version", row.version);
        item.number("ttl", row.useful_until.as_second() + KEPT_SECONDS);
        let put = self.db.put_item().table_name(&self.table).set_item(Some(item.into_item()));
        let put = match before {
            None => put.condition_expression("attribute_not_exists(subject)"),
            Some(version) => put
                .condition_expression("version = :version")
                .expression_attribute_values(":version", number_value(version)),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(false)
            }
            Err(error) => Err(WaitingLookupError::Write(Box::new(error))),
        }
    }
}

/// Sends an update. Returns whether its condition was met.
async fn send_if_current(update: UpdateItemFluentBuilder) -> Result<bool, WaitingLookupError> {
    match update.send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(false)
        }
        Err(error) => Err(WaitingLookupError::Update(Box::new(error))),
    }
}

/// The waiting lookups of one function's inbox.
#[derive(Debug)]
pub struct LookupQueue {
    rows: WaitingLookups,
    inbox: LookupInbox,
    client: String,
    /// Until when this process calls no API of a sender, by the sender's name.
    paused_until: Mutex<HashMap<String, Timestamp>>,
}

impl LookupQueue {
    /// The queue of an inbox. `client` is the client's id.
    pub fn new(rows: WaitingLookups, inbox: LookupInbox, client: &str) -> Self {
        Self { rows, inbox, client: client.to_owned(), paused_until: Mutex::default() }
    }

    /// Why a lookup must not be made in this invocation, if so: its sender did not respond a moment
    /// ago, or the time is short and the deliveries behind need it.
    pub fn find_obstacle(&self, sender: &str, deadline: Deadline, now: Timestamp) -> Option<&'static str> {
        let paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.get(sender).is_some_and(|until| now < *until) {
            Some("the sender's API did not respond a moment ago")
        } else {
            (deadline.remaining() < MIN_TIME_FOR_LOOKUP).then_some("the function's time was short for a lookup")
        }
    }

    /// Lets a delivery wait whose lookup failed, or ends it if the lookup is no longer useful.
    /// Returns the outcome to store with it.
    pub async fn wait(
        &self,
        delivery: &InboxItem,
        trouble: LookupTrouble,
        reason: String,
        useful_until: Timestamp,
        now: Timestamp,
    ) -> Result<UnansweredLookup, WaitingLookupError> {
        self.pause_sender(&delivery.sender, trouble, now);
        for _ in 0..MAX_ATTEMPTS {
            let item = self.rows.get_item(&build_subject(self.inbox, &delivery.id)).await?;
            let waiting = item.as_ref().and_then(WaitingLookup::from_item);
            let read = item.as_ref().map(ItemReader);
            let version: Option<u64> = read.and_then(|row| row.number("version"));
            let tries =
                read.filter(|_| waiting.is_some()).and_then(|row| row.number::<usize>("tries")).unwrap_or(0) + 1;
            let Some(due_at) = next_try_at(tries, trouble, useful_until, now) else {
                self.rows.settle(self.inbox, &delivery.id).await?;
                self.report_ended(&delivery.id, now);
                return Ok(UnansweredLookup::ended(reason));
            };
            let row = WaitingLookup {
                inbox: self.inbox,
                delivery_id: delivery.id.clone(),
                due_at,
                waiting_since: waiting.map_or(now, |waiting| waiting.waiting_since),
                useful_until,
                version: version.unwrap_or(0) + 1,
            };
            if self.rows.put_row(&row, tries, &reason, version).await? {
                self.report_waiting(&row, tries, trouble, &reason, now);
                return Ok(UnansweredLookup { reason, waits_until: Some(useful_until) });
            }
        }
        Err(WaitingLookupError::TooManyConflicts)
    }

    /// Settles the row of a delivery whose lookup succeeded. Only a replayed delivery has one.
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

    /// Logs a delivery that waits. Alerts the operator once if only a person can end it.
    fn report_waiting(&self, row: &WaitingLookup, tries: usize, trouble: LookupTrouble, reason: &str, now: Timestamp) {
        let WaitingLookup { delivery_id: id, due_at, .. } = row;
        if tries == 1 && trouble == LookupTrouble::Credential {
            telemetry::count_metric(&self.client, Metric::DeliveriesQuarantined, now);
        }
        tracing::warn!(
            delivery.id = id,
            lookup.tries = tries,
            lookup.due_at = %due_at,
            "delivery {id} waits for its lookup until {due_at}: {reason}"
        );
    }

    fn report_ended(&self, delivery_id: &str, now: Timestamp) {
        report_ended_lookup(&self.client, delivery_id, now);
    }
}

/// Logs a delivery that led to no message, because its lookup did not work in time, and alerts the
/// operator.
pub fn report_ended_lookup(client: &str, delivery_id: &str, now: Timestamp) {
    telemetry::count_metric(client, Metric::DeliveriesQuarantined, now);
    tracing::error!(delivery.id = delivery_id, "ended the lookup of delivery {delivery_id}: it is no longer useful");
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn one_delivery_of_each_sender_is_replayed_first_and_useless_ones_end() {
        let (shop, erp) = (LookupInbox::Stores, LookupInbox::Leads);
        let plan = plan_replays(
            vec![
                waiting(shop, "shop#2", -1, 50),
                waiting(shop, "shop#1", -2, 50),
                waiting(shop, "shop#3", 9, 50),
                waiting(erp, "shop#1", 0, 50),
                waiting(erp, "meta#1", 1, 50),
                waiting(erp, "meta#2", 0, 0),
            ],
            at_minute(0),
        );
        let ids = |lookups: &[WaitingLookup]| -> Vec<String> {
            lookups.iter().map(|lookup| lookup.delivery_id.clone()).collect()
        };
        assert_eq!(ids(&plan.ended), ["meta#2"]);
        let senders: Vec<_> =
            plan.senders.iter().map(|s| (s.first.inbox, s.first.delivery_id.as_str(), ids(&s.others))).collect();
        let others = vec!["shop#2".to_owned(), "shop#3".to_owned()];
        assert_eq!(senders, [(shop, "shop#1", others), (erp, "shop#1", vec![])], "nothing of meta is due");
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
        let mut writer = ItemWriter::default();
        writer.text("subject", "lookup:store-inbox:shop#a:b");
        writer.text("due_queue", QUEUE);
        for name in ["due_at", "waiting_since", "useful_until"] {
            writer.time(name, at_minute(1));
        }
        writer.number("version", 1);
        let item = writer.into_item();
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
        let queue = LookupQueue::new(WaitingLookups::new(db, "Ledger".to_owned()), LookupInbox::Stores, "demo");
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
}
