//! reminder-scheduler: appointments become reminders, and whatever is due goes out. The one function with a clock.
//!
//! The story has three beginnings. A batch of the booking inbox's stream: [`booking::read`] says what a delivery reports,
//! what it leaves out is read back ([`read_back`]), and `book` takes it into what is known of the appointment. The feeds'
//! schedule: [`feed`] asks the calendars that post nothing, and what changed goes the same way. And the minute's
//! schedule: [`Scheduler::sweep`] goes through the lines at the same time, makes the reminders that are due of what is
//! known *then*, and sends them beside the messages that waited, most useful first, at the line's pace, until nothing is
//! due, the line takes nothing more, or the time is up.
//!
//! [`plan()`](plan::plan) decides which reminder is due when; it is pure.
//!
//! Promises that nobody is reminded of a time that is not the appointment's as far as we have been told, nor twice of one
//! stage and start; that sweeps stop in time before their deadline, and ask a line that is down once; and that it sends
//! through the very same claims as everybody else, so that two sweeps at once do no harm. Does not interpret answers:
//! they are for the client's team.

mod book;
pub mod booking;
pub mod feed;
pub mod plan;
pub mod read_back;
mod senders;
mod sweep;

#[cfg(test)]
mod histories;
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
use shared::{
    batch::{Failures, StreamEvent, Work},
    clock::Deadline,
    cold_start::{self, Aws, StartError},
    feed::Feeds,
    inbox::Inbox,
    observe,
    telling::{Shift, Teller},
};

use feed::{Polled, Poller};
use read_back::ReadBackClient;

pub use book::BookError;
pub use sweep::Sweep;

/// With less time left than this no further booking is begun: one may be read back twice, with patience for each.
const TIME_FOR_A_BOOKING: Duration = Duration::from_secs(15);

/// The function.
pub struct Scheduler {
    /// Tells messages.
    pub teller: Teller,
    /// Where bookings come from and outcomes go.
    pub inbox: Inbox,
    /// For what has to be read back.
    pub read_back: ReadBackClient,
    /// What is remembered of feeds.
    pub feeds: Feeds,
    http: reqwest::Client,
    /// Instead of the origin of Acuity, Square and feed addresses, for tests.
    calendar_base_url: Option<String>,
    /// When a push last made this process ask for a feed.
    asked: Mutex<BTreeMap<String, Timestamp>>,
}

/// What wakes the function.
enum Wake {
    /// The booking inbox's stream.
    Bookings(StreamEvent),
    /// The feeds' schedule.
    Feeds,
    /// The minute's schedule, whatever it says.
    Minute,
}

/// What tells them apart.
#[derive(Deserialize)]
struct Sign<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<&'a RawValue>,
    #[serde(borrow)]
    poll: Option<&'a RawValue>,
}

impl Wake {
    fn of(payload: &str) -> Result<Self, serde_json::Error> {
        let sign: Sign<'_> = serde_json::from_str(payload)?;
        Ok(if sign.records.is_some() {
            Self::Bookings(serde_json::from_str(payload)?)
        } else if sign.poll.is_some_and(|poll| poll.get() == "\"feeds\"") {
            Self::Feeds
        } else {
            Self::Minute
        })
    }
}

/// What an invocation answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Bookings(Failures),
    Feeds(Polled),
    Minute(Sweep),
}

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_runtime::Error> {
    observe::start();
    let scheduler = Scheduler::start()?;
    let scheduler = &scheduler;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::of(event.context.deadline());
        let now = scheduler.teller.clock.now();
        let shift = Shift::new(&event.context.request_id, deadline, true, now);
        // Boxed: each of them is deep enough by itself for the compiler to lay out.
        Ok::<_, lambda_runtime::Error>(match Wake::of(event.payload.get())? {
            Wake::Bookings(batch) => Answer::Bookings(Box::pin(scheduler.batch(deadline, batch)).await),
            Wake::Feeds => {
                let polled = Box::pin(scheduler.poll(None, deadline)).await;
                Answer::Feeds(polled)
            }
            Wake::Minute => Answer::Minute(Box::pin(scheduler.sweep(&shift)).await?),
        })
    }))
    .await
}

impl Scheduler {
    fn start() -> Result<Self, StartError> {
        let config = cold_start::client_config()?;
        let http = cold_start::http_client()?;
        let aws = Aws::from_environment(&http)?;
        let inbox = Inbox::new(aws.dynamodb(), cold_start::required("BOOKING_INBOX_TABLE")?, config.keep.inbox_days);
        let teller = Teller::from_environment(config, http.clone(), &aws)?;
        let calendar_base_url = cold_start::variable("CALENDAR_BASE_URL");
        let read_back = ReadBackClient::new(http.clone(), calendar_base_url.clone());
        let feeds = Feeds::new(aws.dynamodb(), cold_start::required("LEDGER_TABLE")?);
        Ok(Self { teller, inbox, read_back, feeds, http, calendar_base_url, asked: Mutex::default() })
    }

    /// Asks for the feeds that are due, or for one whether it is due or not, and takes what changed into what is known.
    pub(crate) async fn poll(&self, only: Option<&str>, deadline: Deadline) -> Polled {
        let poller = Poller {
            config: &self.teller.config,
            http: &self.http,
            secrets: &self.teller.secrets,
            feeds: &self.feeds,
            clock: &self.teller.clock,
            base_url: self.calendar_base_url.as_deref(),
        };
        poller.poll(only, deadline, async |report| self.learn(&report).await.map(drop)).await
    }

    /// Asks for a feed because a push of then says that something changed; not if it was asked for since. Gives what is to
    /// be recorded beside the push.
    pub(crate) async fn sync(&self, calendar: &str, pushed_at: Timestamp, deadline: Deadline) -> String {
        let now = self.teller.clock.now();
        let asked = || self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked().get(calendar).is_some_and(|at| *at > pushed_at) {
            return "feed-asked: the feed was asked for since".to_owned();
        }
        let polled = self.poll(Some(calendar), deadline).await;
        asked().insert(calendar.to_owned(), now);
        match polled {
            Polled { unreadable: 0, failed: 0, left: 0, doubtful: 0, reports, .. } => {
                format!("feed-asked: {reports} appointments changed")
            }
            _ => "feed-asked: it could not be read, or not believed; it is asked for again on its schedule".to_owned(),
        }
    }

    /// Takes a batch of bookings through and says which shall come again.
    async fn batch(&self, deadline: Deadline, event: StreamEvent) -> Failures {
        let work = Work { inbox: &self.inbox, client: &self.teller.config.client, clock: &self.teller.clock };
        let has_time = || deadline.remaining() >= TIME_FOR_A_BOOKING;
        work.through(event, 1, has_time, async |entry| self.book(entry, deadline).await).await
    }
}
