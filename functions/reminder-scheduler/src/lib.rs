//! reminder-scheduler: turns appointments into reminders and sends every message that is due.
//!
//! Flow: three events wake the function.
//!
//! 1. A batch of the booking inbox's stream. [`booking_parser`] parses a delivery,
//!    [`lookup`] requests what the delivery leaves out, and `booking_flow` writes the appointment
//!    header.
//! 2. The feed schedule. [`feed`] reads the calendars that post nothing. Changes go into the same
//!    headers.
//! 3. The minute schedule. `minute_flow` lists what is due or waits, and writes the gauges of
//!    `waiting`. `sweep_flow` processes all lines concurrently. It plans the reminders
//!    that are due from what is known *at that moment*. It sends them together with the messages
//!    that waited, most useful first, at the line's rate. A sweep of a line ends when nothing is
//!    due, the line is blocked, or the time is up.
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
//! Not covered: replies of customers. The client's team reads them.

mod appointment_log;
pub mod booking;
mod booking_flow;
pub mod booking_outcome;
pub mod booking_parser;
pub mod feed;
mod feed_flow;
pub mod lookup;
mod minute_flow;
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
    time::Duration,
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
    dispatch::{Dispatcher, Invocation},
    feed::FeedStore,
    inbox::Inbox,
    telemetry,
};

use feed::PollSummary;
use lookup::BookingLookupClient;
use waiting::WaitAlarm;

pub use booking_flow::BookingError;
pub use sweep_flow::SweepSummary;

/// The least time that must remain to start another booking. A booking may need two lookups, each
/// with its own timeout.
const MIN_TIME_FOR_BOOKING: Duration = Duration::from_secs(15);

/// The function's configuration and connections.
pub struct ReminderScheduler {
    /// Sends messages.
    pub dispatcher: Dispatcher,
    /// Stores the bookings and their outcomes.
    pub inbox: Inbox,
    /// Calls the APIs of booking systems.
    pub lookup_client: BookingLookupClient,
    /// Stores the feed snapshots.
    pub feed_store: FeedStore,
    pub(crate) http: reqwest::Client,
    /// Replaces the origins of feed addresses in local runs and tests.
    pub(crate) feed_base_urls: BaseUrls,
    /// When a push last made this process poll a feed, by calendar.
    pub(crate) feeds_polled_at: Mutex<BTreeMap<String, Timestamp>>,
    /// Which alarm this process raised for a line on which messages wait.
    pub(crate) raised_alarms: Mutex<BTreeMap<String, WaitAlarm>>,
    /// Since when this process cannot read the queue of a line.
    pub(crate) unread_since: Mutex<BTreeMap<String, Timestamp>>,
}

/// The event of an invocation.
enum WakeEvent {
    /// A batch of the booking inbox's stream.
    Bookings(StreamEvent),
    /// The feed schedule.
    Feeds,
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
}

impl WakeEvent {
    fn from_payload(payload: &str) -> Result<Self, serde_json::Error> {
        let fields: WakeFields<'_> = serde_json::from_str(payload)?;
        Ok(if fields.records.is_some() {
            Self::Bookings(serde_json::from_str(payload)?)
        } else if fields.poll.is_some_and(|poll| poll.get() == "\"feeds\"") {
            Self::Feeds
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
    Minute(SweepSummary),
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let scheduler = ReminderScheduler::from_environment().await?;
    let scheduler = &scheduler;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let now = scheduler.dispatcher.clock.now();
        let invocation = Invocation::for_sweep(&event.context.request_id, deadline, now);
        // Boxed, because each of these futures is already deep for the compiler to lay out.
        Ok::<_, lambda_runtime::Error>(match WakeEvent::from_payload(event.payload.get())? {
            WakeEvent::Bookings(batch) => {
                SchedulerResponse::Bookings(Box::pin(scheduler.process_batch(deadline, batch)).await)
            }
            WakeEvent::Feeds => {
                let summary = Box::pin(scheduler.poll_feeds(None, deadline)).await;
                SchedulerResponse::Feeds(summary)
            }
            WakeEvent::Minute => SchedulerResponse::Minute(Box::pin(scheduler.run_minute(&invocation)).await?),
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
        let inbox = Inbox::new(
            aws.dynamodb(),
            bootstrap::require_variable("BOOKING_INBOX_TABLE")?,
            config.retention.inbox_days,
        );
        let dispatcher = Dispatcher::from_environment(config, http.clone(), &aws, |_| BTreeSet::new()).await?;
        let feed_base_urls = BaseUrls::from_variable("CALENDAR_BASE_URL");
        let lookup_client = BookingLookupClient::new(http.clone(), feed_base_urls.clone());
        let feed_store = FeedStore::new(aws.dynamodb(), bootstrap::require_variable("LEDGER_TABLE")?);
        Ok(Self {
            dispatcher,
            inbox,
            lookup_client,
            feed_store,
            http,
            feed_base_urls,
            feeds_polled_at: Mutex::default(),
            raised_alarms: Mutex::default(),
            unread_since: Mutex::default(),
        })
    }

    /// Processes a batch of bookings. Returns the deliveries to retry.
    async fn process_batch(&self, deadline: Deadline, event: StreamEvent) -> BatchFailures {
        let work = BatchProcessor {
            inbox: &self.inbox,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
        };
        let has_time = || deadline.remaining() >= MIN_TIME_FOR_BOOKING;
        work.process_batch(event, 1, has_time, async |entry| self.process_delivery(entry, deadline).await).await
    }
}
