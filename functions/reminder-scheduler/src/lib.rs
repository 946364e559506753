//! reminder-scheduler: turns appointments into reminders and sends every message that is due.
//!
//! Flow: three events wake the function, and an operator gives commands (`operator`).
//!
//! 1. A batch of the booking inbox's stream. [`booking_parser`] parses a delivery,
//!    [`lookup`] requests what the delivery leaves out, and `booking_flow` writes the appointment
//!    header.
//! 2. The feed schedule. [`feed`] reads the calendars that post nothing. Changes go into the same
//!    headers.
//! 3. The minute schedule. `minute_flow` lists what is due or waits. `sweep_flow` processes all
//!    lines concurrently. It plans the reminders
//!    that are due from what is known *at that moment*. It sends them together with the messages
//!    that waited, most useful first, at the line's rate. A sweep of a line ends when nothing is
//!    due, the line is blocked, or the time is up. At the same time `lookup_replays` replays the
//!    deliveries of all inboxes whose lookup is tried again. Then the gauges of `waiting` are
//!    written. At last the heartbeats are checked, and the next ones are sent.
//!
//! [`plan_reminders`](plan::plan_reminders) decides which reminder is due when. It is pure.
//!
//! Main types: [`ReminderScheduler`], [`BookingError`], [`SweepSummary`], [`feed::PollSummary`].
//!
//! Promises:
//!
//! - No customer is reminded of a time that contradicts the delivered reports, and none receives
//!   two reminders of one stage and start.
//! - Sweeps stop before their deadline and request the health of a blocked line once.
//! - Messages go through the same claims as in every other function, so two concurrent sweeps are
//!   safe.
//!
//! Time: an invocation has 85 s. A batch ends in time as [`tellonce_core::batch`] says. A feed is
//! begun with at least 25 s left, a message of a sweep with more than 26 s. A feed is given up 1 s
//! before the deadline. A sweep is given up 14 s before, so that its minute reports what waits and
//! checks the heartbeats. So a table that hangs ends no process.
//!
//! Not covered: replies of customers. The client's team reads them.

mod appointment_log;
pub mod booking;
mod booking_flow;
pub mod booking_outcome;
pub mod booking_parser;
pub mod feed;
mod feed_flow;
pub mod lookup;
mod lookup_replays;
mod minute_flow;
mod operator;
mod person;
pub mod plan;
mod report_flow;
mod senders;
mod sweep_flow;
mod waiting;

#[cfg(test)]
mod random_histories;
#[cfg(test)]
mod samples;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tellonce_core::{
    base_urls::BaseUrls,
    batch::{BatchFailures, BatchProcessor, StreamEvent},
    bootstrap::{self, AwsClients, StartError},
    clock::Deadline,
    dispatch::Dispatcher,
    feed::FeedStore,
    heartbeat::{HeartbeatMonitor, HeartbeatPath, HeartbeatReceipts},
    inbox::Inbox,
    json::{JsonError, parse_object},
    person::{PersonPage, PersonPayload},
    telemetry,
    waiting_lookup::{LookupInbox, LookupQueue, WaitingLookups},
};

use feed::PollSummary;
use lookup::BookingLookupClient;
use operator::{CommandResult, SchedulerCommand, run_command};

pub use booking_flow::BookingError;
pub use sweep_flow::SweepSummary;

/// What became of the last push of a feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PushedPoll {
    /// Every push until then has nothing to wait for: when the read began, or, if it was left to
    /// the schedule, when it ended.
    pub(crate) at: Timestamp,
    /// Whether the feed was left to its schedule, for want of time.
    pub(crate) is_deferred: bool,
}

/// The function's configuration and connections.
pub struct ReminderScheduler {
    /// Sends messages.
    pub dispatcher: Dispatcher,
    /// Stores the bookings and their outcomes.
    pub inbox: Inbox,
    /// Records the heartbeats of the inbox.
    pub receipts: HeartbeatReceipts,
    /// Records the runs of the feed schedule.
    pub feed_receipts: HeartbeatReceipts,
    /// Sends heartbeats and publishes the age of the oldest.
    pub heartbeats: HeartbeatMonitor,
    /// Calls the APIs of booking systems.
    pub lookup_client: BookingLookupClient,
    /// Bookings that cannot be looked up now.
    pub lookups: LookupQueue,
    /// All deliveries that wait for a lookup.
    pub(crate) waiting_lookups: WaitingLookups,
    /// The inboxes of stores and forms, whose waiting deliveries are replayed.
    pub(crate) store_inbox: Inbox,
    pub(crate) lead_inbox: Inbox,
    /// Stores the feed snapshots.
    pub feed_store: FeedStore,
    pub(crate) http: reqwest::Client,
    /// Replaces the origins of feed addresses in local runs and tests.
    pub(crate) feed_base_urls: BaseUrls,
    /// What this process last did about a push, by calendar.
    pub(crate) pushed_polls: Mutex<BTreeMap<String, PushedPoll>>,
}

/// The event of an invocation.
enum WakeEvent {
    /// A batch of the booking inbox's stream.
    Bookings(StreamEvent),
    /// The feed schedule.
    Feeds,
    /// The command of an operator.
    Command(SchedulerCommand),
    /// The command of an operator about a person.
    Person(PersonPayload),
    /// The minute schedule: every other payload.
    Minute,
}

/// The payload's fields that distinguish the events.
#[derive(Deserialize)]
struct WakeFields<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<&'a RawValue>,
    #[serde(borrow)]
    poll: Option<&'a RawValue>,
    #[serde(borrow)]
    replay: Option<&'a RawValue>,
    #[serde(borrow)]
    resend: Option<&'a RawValue>,
    #[serde(borrow)]
    line_health: Option<&'a RawValue>,
    #[serde(borrow)]
    line_test: Option<&'a RawValue>,
    #[serde(borrow)]
    person: Option<&'a RawValue>,
}

impl WakeEvent {
    /// An error holds no value: an operator may have mistyped a command with a number.
    fn from_payload(payload: &str) -> Result<Self, JsonError> {
        let payload = payload.as_bytes();
        let fields: WakeFields<'_> = parse_object(payload)?;
        Ok(if fields.records.is_some() {
            Self::Bookings(parse_object(payload)?)
        } else if fields.poll.is_some_and(|poll| poll.get() == "\"feeds\"") {
            Self::Feeds
        } else if fields.replay.or(fields.resend).or(fields.line_health).or(fields.line_test).is_some() {
            Self::Command(parse_object(payload)?)
        } else if fields.person.is_some() {
            Self::Person(parse_object(payload)?)
        } else {
            Self::Minute
        })
    }
}

/// The result of an invocation.
#[derive(Serialize)]
#[serde(untagged)]
enum SchedulerResponse {
    Bookings(BatchFailures),
    Feeds(PollSummary),
    Command(CommandResult),
    Person(PersonPage),
    Minute(SweepSummary),
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let scheduler = ReminderScheduler::from_environment().await?;
    let scheduler = &scheduler;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        // Boxed, because each of these futures is already deep for the compiler to lay out.
        Ok::<_, lambda_runtime::Error>(match WakeEvent::from_payload(event.payload.get())? {
            WakeEvent::Bookings(batch) => {
                SchedulerResponse::Bookings(Box::pin(scheduler.process_batch(deadline, batch)).await)
            }
            WakeEvent::Feeds => {
                let summary = Box::pin(scheduler.poll_feeds(None, deadline)).await;
                scheduler.feed_receipts.record_run(scheduler.dispatcher.clock.now()).await;
                SchedulerResponse::Feeds(summary)
            }
            WakeEvent::Command(command) => {
                let (dispatcher, request_id) = (&scheduler.dispatcher, &event.context.request_id);
                let work = run_command(dispatcher, &scheduler.inbox, &command, request_id, deadline);
                SchedulerResponse::Command(Box::pin(work).await?)
            }
            WakeEvent::Person(PersonPayload { person }) => {
                SchedulerResponse::Person(Box::pin(scheduler.search_person(&person, deadline)).await?)
            }
            WakeEvent::Minute => {
                let request_id = &event.context.request_id;
                SchedulerResponse::Minute(Box::pin(scheduler.run_minute(request_id, deadline)).await?)
            }
        })
    }))
    .await
}

impl ReminderScheduler {
    /// Prepares everything before the first event: configuration and connections.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox_days = config.retention.inbox_days;
        let inbox_tables = read_inbox_tables()?;
        let [store_inbox, inbox, lead_inbox, _] =
            inbox_tables.clone().map(|(_, table)| Inbox::new(aws.dynamodb(), table, inbox_days));
        let dispatcher = Dispatcher::from_environment(config, http.clone(), &aws, |_| BTreeSet::new()).await?;
        let feed_base_urls = BaseUrls::from_variable("CALENDAR_BASE_URL");
        let lookup_client = BookingLookupClient::new(http.clone(), feed_base_urls.clone());
        let ledger_table = bootstrap::require_variable("LEDGER_TABLE")?;
        let feed_store = FeedStore::new(aws.dynamodb(), ledger_table.clone());
        let version = dispatcher.config.version.clone();
        let new_receipts = |path| HeartbeatReceipts::new(aws.dynamodb(), ledger_table.clone(), path, version.clone());
        let heartbeats = HeartbeatMonitor::new(aws.dynamodb(), ledger_table.clone(), inbox_tables);
        let waiting_lookups = WaitingLookups::new(aws.dynamodb(), ledger_table.clone());
        let lookups = LookupQueue::new(waiting_lookups.clone(), LookupInbox::Bookings);
        Ok(Self {
            dispatcher,
            inbox,
            receipts: new_receipts(HeartbeatPath::BookingInbox),
            feed_receipts: new_receipts(HeartbeatPath::Feeds),
            heartbeats,
            lookup_client,
            lookups,
            waiting_lookups,
            store_inbox,
            lead_inbox,
            feed_store,
            http,
            feed_base_urls,
            pushed_polls: Mutex::default(),
        })
    }

    /// Processes a batch of bookings. Returns the deliveries to retry.
    async fn process_batch(&self, deadline: Deadline, event: StreamEvent) -> BatchFailures {
        let work = BatchProcessor {
            inbox: &self.inbox,
            receipts: &self.receipts,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
            deadline,
        };
        work.process_batch(event, 1, async |entry| self.process_delivery(entry, deadline).await).await
    }
}

/// The table of each inbox.
fn read_inbox_tables() -> Result<[(HeartbeatPath, String); 4], StartError> {
    Ok([
        (HeartbeatPath::StoreInbox, bootstrap::require_variable("STORE_INBOX_TABLE")?),
        (HeartbeatPath::BookingInbox, bootstrap::require_variable("BOOKING_INBOX_TABLE")?),
        (HeartbeatPath::LeadInbox, bootstrap::require_variable("LEAD_INBOX_TABLE")?),
        (HeartbeatPath::LineInbox, bootstrap::require_variable("LINE_INBOX_TABLE")?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_mistyped_command_does_not_hold_its_number() {
        for payload in [r#"{"line_test":"+972545550199"}"#, r#"{"person":"+972545550199"}"#, r#""+972545550199""#] {
            let error = WakeEvent::from_payload(payload).err().unwrap();
            assert!(!format!("{error:?} {error}").contains("545550199"), "{error}");
        }
        assert!(matches!(WakeEvent::from_payload("{}"), Ok(WakeEvent::Minute)));
    }
}
