//! conversation-sync: what a line reports becomes visible where the client works, and nobody who waits is overlooked.
//!
//! The story: a batch of the line inbox's stream comes in ([`run`]); [`event::read`] says in our own words what the line
//! reports; a [`message_record::MessageRecord`] joins statuses to the ledger's messages; a [`conversation_id::Conversation`] knows who waits;
//! [`escalation_rules`] say whether the team is called. What CRMs and targets are to be told becomes a [`task::QueueTask`] each, in the queue of
//! whoever it is for, and the [`courier::QueueWorker`] takes it there: at once, and once a minute whatever is still due.
//!
//! Promises that a message becomes one entry in each CRM however often it is delivered, that a call becomes one notice for each
//! target, and that whoever does not work delays and loses nothing. The truth stays in `EZWhatsApp`: no owner and no
//! assignment is ever written, and what is kept here of a conversation is as much as a notice needs.

mod acknowledgement;
pub mod address_guard;
pub mod api_client;
pub mod conversation;
pub mod crm;
pub mod delivery_flow;
mod delivery_status;
mod e164;
pub mod escalation_rules;
pub mod line_event;
pub mod message_record;
pub mod notification;
pub mod operator;
pub mod queue_lease;
pub mod queue_worker;
pub mod record_store;
pub mod target;
pub mod task;

use std::time::Duration;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tellonce_core::{
    batch::{self, BatchFailures, StreamEvent},
    bootstrap::{self, AwsClients, StartError},
    clock::Deadline,
    dispatch::{Dispatcher, Invocation},
    inbox::Inbox,
    telemetry,
};

use delivery_flow::{NewTasks, WorkContext};
use operator::{CommandResult, OperatorCommand, OperatorError};
use queue_worker::QueueWorker;
use record_store::RecordStoreError;

/// Deliveries that are taken through side by side: each has its own message, and those that meet make their change again.
const CONCURRENT_DELIVERIES: usize = 4;
/// For how long a batch of the stream waits for CRMs and targets. What is not done by then is done by the clock.
const QUEUE_TIME_PER_BATCH: Duration = Duration::from_secs(5);
/// For how long the clock looks at records and conversations before it turns to the queues.
const DUE_CHECK_TIME: Duration = Duration::from_secs(30);

/// The function.
pub struct ConversationSync {
    /// Answers, and has what all functions share.
    pub dispatcher: Dispatcher,
    /// Where deliveries come from and outcomes go.
    pub inbox: Inbox,
    /// Takes what waits to whom it is for.
    pub queue_worker: QueueWorker,
}

/// What EventBridge says every minute.
#[derive(Deserialize)]
struct ScheduleEvent {
    source: String,
}

/// Who says so.
const EVENTBRIDGE_SOURCE: &str = "aws.events";

/// What an invocation answers.
#[derive(Serialize)]
#[serde(untagged)]
enum SyncResponse {
    Batch(BatchFailures),
    Command(CommandResult),
    Scheduled,
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let sync = ConversationSync::from_environment().await?;
    let sync = &sync;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let invocation = Invocation::new(&event.context.request_id, deadline, false, sync.dispatcher.clock.now());
        let payload = event.payload.get();
        Ok::<_, lambda_runtime::Error>(if let Ok(batch) = serde_json::from_str::<StreamEvent>(payload) {
            SyncResponse::Batch(Box::pin(sync.process_batch(&invocation, batch)).await)
        } else if serde_json::from_str::<ScheduleEvent>(payload).is_ok_and(|tick| tick.source == EVENTBRIDGE_SOURCE) {
            Box::pin(sync.run_scheduled(&invocation)).await?;
            SyncResponse::Scheduled
        } else {
            // A human, who may have mistyped what they want.
            let command =
                serde_json::from_str::<OperatorCommand>(payload).map_err(|_| OperatorError::UnknownCommand)?;
            SyncResponse::Command(sync.run_command(&command).await?)
        })
    }))
    .await
}

impl ConversationSync {
    /// Prepares everything before the first batch. Line tokens are not read here: most clients give this function none.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox =
            Inbox::new(aws.dynamodb(), bootstrap::require_variable("LINE_INBOX_TABLE")?, config.retention.inbox_days);
        let queue_worker = QueueWorker::from_environment(&config, http.clone(), &aws)?;
        let sync = Self { dispatcher: Dispatcher::from_environment(config, http, &aws)?, inbox, queue_worker };
        aws.preconnect_dynamodb().await;
        Ok(sync)
    }

    /// Takes a batch through, then what it made, and says which deliveries shall come again.
    async fn process_batch(&self, invocation: &Invocation, event: StreamEvent) -> BatchFailures {
        let new_tasks = NewTasks::default();
        let work = WorkContext { new_tasks: &new_tasks, invocation };
        let batch_work = batch::BatchProcessor {
            inbox: &self.inbox,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
        };
        let failures = batch_work
            .process_batch(
                event,
                CONCURRENT_DELIVERIES,
                || true,
                async |entry| self.process_delivery(&work, entry).await,
            )
            .await;
        self.work_queues(&work, false, Deadline::from_now(QUEUE_TIME_PER_BATCH)).await;
        failures
    }

    /// Whatever is due now.
    async fn run_scheduled(&self, invocation: &Invocation) -> Result<(), RecordStoreError> {
        let new_tasks = NewTasks::default();
        let work = WorkContext { new_tasks: &new_tasks, invocation };
        let checked = self.run_due_checks(&work, Deadline::from_now(DUE_CHECK_TIME)).await;
        self.work_queues(&work, true, invocation.deadline).await;
        checked
    }
}
