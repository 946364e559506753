//! conversation-sync: what a line reports becomes visible where the client works, and nobody who waits is overlooked.
//!
//! The story: a batch of the line inbox's stream comes in ([`life`]); [`event::read`] says in our own words what the line
//! reports; a [`record::Record`] joins statuses to the ledger's messages; a [`conversation::Conversation`] knows who waits;
//! [`rules`] say whether the team is called. What CRMs and targets are to be told becomes a [`task::Task`] each, in the queue of
//! whoever it is for, and the [`courier::Courier`] takes it there: at once, and once a minute whatever is still due.
//!
//! Promises that a message becomes one entry in each CRM however often it is delivered, that a call becomes one notice for each
//! target, and that whoever does not work delays and loses nothing. The truth stays in `EZWhatsApp`: no owner and no
//! assignment is ever written, and what is kept here of a conversation is as much as a notice needs.

mod answer;
pub mod call;
pub mod conversation;
pub mod courier;
pub mod crm;
mod e164;
pub mod event;
mod follow;
pub mod notice;
pub mod outward;
pub mod queue;
pub mod record;
pub mod rules;
pub mod store;
pub mod sync;
pub mod target;
pub mod task;
pub mod wish;

use std::time::Duration;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::{
    batch::{self, Failures, StreamEvent},
    clock::Deadline,
    cold_start::{self, Aws, StartError},
    inbox::Inbox,
    observe,
    telling::{Shift, Teller},
};

use courier::Courier;
use store::StoreError;
use sync::{Fresh, Work};
use wish::{Done, Wish, WishError};

/// Deliveries that are taken through side by side: each has its own message, and those that meet make their change again.
const AT_ONCE: usize = 4;
/// For how long a batch of the stream waits for CRMs and targets. What is not done by then is done by the clock.
const TIME_FOR_QUEUES: Duration = Duration::from_secs(5);
/// For how long the clock looks at records and conversations before it turns to the queues.
const TIME_TO_LOOK: Duration = Duration::from_secs(30);

/// The function.
pub struct Sync {
    /// Answers, and has what all functions share.
    pub teller: Teller,
    /// Where deliveries come from and outcomes go.
    pub inbox: Inbox,
    /// Takes what waits to whom it is for.
    pub courier: Courier,
}

/// What EventBridge says every minute.
#[derive(Deserialize)]
struct Tick {
    source: String,
}

/// Who says so.
const EVENTBRIDGE: &str = "aws.events";

/// What an invocation answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Events(Failures),
    Done(Done),
    Tick,
}

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_runtime::Error> {
    observe::start();
    let sync = Sync::start().await?;
    let sync = &sync;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::of(event.context.deadline());
        let shift = Shift::new(&event.context.request_id, deadline, false, sync.teller.clock.now());
        let payload = event.payload.get();
        Ok::<_, lambda_runtime::Error>(if let Ok(batch) = serde_json::from_str::<StreamEvent>(payload) {
            Answer::Events(Box::pin(sync.batch(&shift, batch)).await)
        } else if serde_json::from_str::<Tick>(payload).is_ok_and(|tick| tick.source == EVENTBRIDGE) {
            Box::pin(sync.clock(&shift)).await?;
            Answer::Tick
        } else {
            // A human, who may have mistyped what they want.
            let wish = serde_json::from_str::<Wish>(payload).map_err(|_| WishError::Unknown)?;
            Answer::Done(sync.grant(&wish).await?)
        })
    }))
    .await
}

impl Sync {
    /// Prepares everything before the first batch. Line tokens are not read here: most clients give this function none.
    async fn start() -> Result<Self, StartError> {
        let config = cold_start::client_config()?;
        let http = cold_start::http_client()?;
        let aws = Aws::from_environment(&http)?;
        let inbox = Inbox::new(aws.dynamodb(), cold_start::required("LINE_INBOX_TABLE")?, config.keep.inbox_days);
        let courier = Courier::from_environment(&config, http.clone(), &aws)?;
        let sync = Self { teller: Teller::from_environment(config, http, &aws)?, inbox, courier };
        aws.open_dynamodb().await;
        Ok(sync)
    }

    /// Takes a batch through, then what it made, and says which deliveries shall come again.
    async fn batch(&self, shift: &Shift, event: StreamEvent) -> Failures {
        let fresh = Fresh::default();
        let work = Work { fresh: &fresh, shift };
        let through = batch::Work { inbox: &self.inbox, client: &self.teller.config.client, clock: &self.teller.clock };
        let failures = through.through(event, AT_ONCE, || true, async |entry| self.take(&work, entry).await).await;
        self.work_off(&work, false, Deadline::after(TIME_FOR_QUEUES)).await;
        failures
    }

    /// Whatever is due now.
    async fn clock(&self, shift: &Shift) -> Result<(), StoreError> {
        let fresh = Fresh::default();
        let work = Work { fresh: &fresh, shift };
        let ticked = self.tick(&work, Deadline::after(TIME_TO_LOOK)).await;
        self.work_off(&work, true, shift.deadline).await;
        ticked
    }
}
