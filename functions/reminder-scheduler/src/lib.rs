//! reminder-scheduler: appointments become reminders, and whatever is due goes out. The one function with a clock.
//!
//! The story has three beginnings. A batch of the booking inbox's stream: [`expect_booking::read`] says what a delivery reports,
//! what it leaves out is read back ([`read_back`]), and `book` takes it into what is known of the appointment. The feeds'
//! schedule: [`feed`] asks the calendars that post nothing, and what changed goes the same way. And the minute's
//! schedule: [`ReminderScheduler::sweep`] goes through the lines at the same time, makes the reminders that are due of what is
//! known *then*, and sends them beside the messages that waited, most useful first, at the line's pace, until nothing is
//! due, the line takes nothing more, or the time is up.
//!
//! [`plan_reminders()`](plan::plan) decides which reminder is due when; it is pure.
//!
//! Promises that nobody is reminded of a time that is not the appointment's as far as we have been told, nor twice of one
//! stage and start; that sweeps stop in time before their deadline, and ask a line that is down once; and that it sends
//! through the very same claims as everybody else, so that two sweeps at once do no harm. Does not interpret answers:
//! they are for the client's team.

pub mod booking;
mod booking_flow;
pub mod feed;
pub mod lookup;
pub mod plan;
mod senders;
mod sweep;

#[cfg(test)]
mod random_histories;
#[cfg(test)]
mod samples;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tellonce_core::{
    batch::{BatchFailures, BatchProcessor, StreamEvent},
    bootstrap::{self, AwsClients, StartError},
    clock::Deadline,
    dispatch::{Dispatcher, Invocation},
    feed::FeedStore,
    inbox::Inbox,
    telemetry,
};

use feed::{FeedPoller, PollSummary};
use lookup::LookupClient;

pub use booking_flow::BookingError;
pub use sweep::SweepSummary;

/// With less time left than this no further booking is begun: one may be read back twice, with patience for each.
const MIN_TIME_FOR_BOOKING: Duration = Duration::from_secs(15);

/// The function.
pub struct ReminderScheduler {
    /// Tells messages.
    pub dispatcher: Dispatcher,
    /// Where bookings come from and outcomes go.
    pub inbox: Inbox,
    /// For what has to be read back.
    pub lookup_client: LookupClient,
    /// What is remembered of feeds.
    pub feed_store: FeedStore,
    http: reqwest::Client,
    /// Instead of the origin of Acuity, Square and feed addresses, for tests.
    calendar_base_url: Option<String>,
    /// When a push last made this process ask for a feed.
    feeds_polled_at: Mutex<BTreeMap<String, Timestamp>>,
}

/// What wakes the function.
enum WakeEvent {
    /// The booking inbox's stream.
    Bookings(StreamEvent),
    /// The feeds' schedule.
    Feeds,
    /// The minute's schedule, whatever it says.
    Minute,
}

/// What tells them apart.
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

/// What an invocation answers.
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
    let scheduler = ReminderScheduler::from_environment()?;
    let scheduler = &scheduler;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let now = scheduler.dispatcher.clock.now();
        let invocation = Invocation::new(&event.context.request_id, deadline, true, now);
        // Boxed: each of them is deep enough by itself for the compiler to lay out.
        Ok::<_, lambda_runtime::Error>(match WakeEvent::from_payload(event.payload.get())? {
            WakeEvent::Bookings(batch) => {
                SchedulerResponse::Bookings(Box::pin(scheduler.process_batch(deadline, batch)).await)
            }
            WakeEvent::Feeds => {
                let polled = Box::pin(scheduler.poll_feeds(None, deadline)).await;
                SchedulerResponse::Feeds(polled)
            }
            WakeEvent::Minute => SchedulerResponse::Minute(Box::pin(scheduler.sweep_all_lines(&invocation)).await?),
        })
    }))
    .await
}

impl ReminderScheduler {
    fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox = Inbox::new(
            aws.dynamodb(),
            bootstrap::require_variable("BOOKING_INBOX_TABLE")?,
            config.retention.inbox_days,
        );
        let dispatcher = Dispatcher::from_environment(config, http.clone(), &aws)?;
        let calendar_base_url = bootstrap::read_variable("CALENDAR_BASE_URL");
        let lookup_client = LookupClient::new(http.clone(), calendar_base_url.clone());
        let feed_store = FeedStore::new(aws.dynamodb(), bootstrap::require_variable("LEDGER_TABLE")?);
        Ok(Self {
            dispatcher,
            inbox,
            lookup_client,
            feed_store,
            http,
            calendar_base_url,
            feeds_polled_at: Mutex::default(),
        })
    }

    /// Asks for the feeds that are due, or for one whether it is due or not, and takes what changed into what is known.
    pub(crate) async fn poll_feeds(&self, only: Option<&str>, deadline: Deadline) -> PollSummary {
        let poller = FeedPoller {
            config: &self.dispatcher.config,
            http: &self.http,
            secrets: &self.dispatcher.secrets,
            feed_store: &self.feed_store,
            clock: &self.dispatcher.clock,
            base_url: self.calendar_base_url.as_deref(),
        };
        poller.poll_feeds(only, deadline, async |report| self.apply_report(&report).await.map(drop)).await
    }

    /// Asks for a feed because a push of then says that something changed; not if it was asked for since. Gives what is to
    /// be recorded beside the push.
    pub(crate) async fn poll_pushed_feed(&self, calendar: &str, pushed_at: Timestamp, deadline: Deadline) -> String {
        let now = self.dispatcher.clock.now();
        let lock_polled_at = || self.feeds_polled_at.lock().unwrap_or_else(PoisonError::into_inner);
        if lock_polled_at().get(calendar).is_some_and(|at| *at > pushed_at) {
            return "feed-polled: the feed was asked for since".to_owned();
        }
        let polled = self.poll_feeds(Some(calendar), deadline).await;
        lock_polled_at().insert(calendar.to_owned(), now);
        match polled {
            PollSummary { unreadable: 0, failed: 0, deferred: 0, suspect: 0, reports, .. } => {
                format!("feed-polled: {reports} appointments changed")
            }
            _ => "feed-polled: it could not be read, or not believed; it is asked for again on its schedule".to_owned(),
        }
    }

    /// Takes a batch of bookings through and says which shall come again.
    async fn process_batch(&self, deadline: Deadline, event: StreamEvent) -> BatchFailures {
        let work = BatchProcessor {
            inbox: &self.inbox,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
        };
        let has_time = || deadline.remaining() >= MIN_TIME_FOR_BOOKING;
        work.process_batch(event, 1, has_time, async |entry| self.process_booking(entry, deadline).await).await
    }
}
