//! lead-first-touch greets leads: a lead who consented gets one first message, however often the
//! form is submitted.
//!
//! Flow: [`run`] takes a batch of the lead inbox's stream, or an operator's command ([`operator`]).
//! [`lead_parser`] turns a delivery into a [`lead::Lead`] with its consent. [`lookup`] requests a
//! lead that a delivery only names. [`plan`] builds the message. The [`Dispatcher`] sends it, in
//! one transaction with the greetings that the number got before. Deliveries are processed
//! concurrently, so a slow lookup delays no other delivery.
//!
//! - Every delivery leads to a message, waits in the ledger, or carries a reason.
//! - A number is greeted once in its form's window, however many leads share it at the same moment.
//! - A form with too many leads greets none of them until an operator has checked them.
//!
//! Time: an invocation has 60 s. A batch ends in time as [`tellonce_core::batch`] says.
//!
//! Not covered: imports and second messages. See `docs/boundaries.md`.
//!
//! [`Dispatcher`]: tellonce_core::dispatch::Dispatcher

mod charset;
pub mod facts;
mod field_search;
mod form_body;
pub mod lead;
mod lead_fact;
mod lead_flow;
mod lead_outcome;
pub mod lead_parser;
pub mod lookup;
pub mod operator;
mod person;
pub mod plan;
mod senders;
mod submission;
mod undeclared_charset;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod unusual_samples;

use std::collections::BTreeSet;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;
use tellonce_core::{
    base_urls::BaseUrls,
    batch::{BatchFailures, BatchProcessor, StreamEvent},
    bootstrap::{self, AwsClients, StartError},
    client_config::ClientConfig,
    clock::Deadline,
    dispatch::{Dispatcher, Invocation},
    heartbeat::{HeartbeatPath, HeartbeatReceipts},
    inbox::Inbox,
    json::parse_object,
    person::{PersonPage, PersonPayload},
    telemetry,
    waiting_lookup::{LookupInbox, LookupQueue, WaitingLookups},
};

use lookup::LeadLookupClient;
use operator::{LeadCommand, LeadCommandResult, LeadOperator};

pub use lead_flow::LeadError;
pub use lead_outcome::{LeadOutcome, LeadSkipReason};

/// The most deliveries that are processed concurrently: a batch of the stream. Each usually belongs
/// to another lead. A repeated submission finds its own row in the ledger.
const MAX_CONCURRENT_DELIVERIES: usize = 10;

/// The response of an invocation.
#[derive(Serialize)]
#[serde(untagged)]
enum FirstTouchResponse {
    Batch(BatchFailures),
    Operator(LeadCommandResult),
    Person(PersonPage),
}

/// The function's configuration and connections.
pub struct LeadFirstTouch {
    /// Sends messages.
    pub dispatcher: Dispatcher,
    /// Holds deliveries and their outcomes.
    pub inbox: Inbox,
    /// Records the heartbeats of the inbox.
    pub receipts: HeartbeatReceipts,
    /// Looks up leads in the senders' APIs.
    pub lookup_client: LeadLookupClient,
    /// Deliveries whose leads cannot be looked up now.
    pub lookups: LookupQueue,
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let greeter = LeadFirstTouch::from_environment().await?;
    let greeter = &greeter;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let now = greeter.dispatcher.clock.now();
        let invocation = Invocation::for_deliveries(&event.context.request_id, deadline, now);
        Ok::<_, lambda_runtime::Error>(if let Ok(batch) = serde_json::from_str::<StreamEvent>(event.payload.get()) {
            FirstTouchResponse::Batch(Box::pin(greeter.process_batch(&invocation, batch)).await)
        } else if let Ok(PersonPayload { person }) = serde_json::from_str(event.payload.get()) {
            FirstTouchResponse::Person(Box::pin(greeter.search_person(&invocation, &person, deadline)).await?)
        } else {
            // An operator wrote it, perhaps mistyped: the error holds none of its values.
            let command = parse_object::<LeadCommand>(event.payload.get().as_bytes())?;
            let operator = LeadOperator { dispatcher: &greeter.dispatcher, inbox: &greeter.inbox };
            FirstTouchResponse::Operator(operator.run_command(command, deadline).await?)
        })
    }))
    .await
}

impl LeadFirstTouch {
    /// Prepares everything before the first batch: configuration, connections and line tokens.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox =
            Inbox::new(aws.dynamodb(), bootstrap::require_variable("LEAD_INBOX_TABLE")?, config.retention.inbox_days);
        let lookup_client = LeadLookupClient::new(http.clone(), BaseUrls::from_variable("LEAD_BASE_URL"));
        let ledger_table = bootstrap::require_variable("LEDGER_TABLE")?;
        let path = HeartbeatPath::LeadInbox;
        let receipts = HeartbeatReceipts::new(aws.dynamodb(), ledger_table.clone(), path, config.version.clone());
        let rows = WaitingLookups::new(aws.dynamodb(), ledger_table);
        let lookups = LookupQueue::new(rows, LookupInbox::Leads);
        let dispatcher = Dispatcher::from_environment(config, http, &aws, find_form_lines).await?;
        Ok(Self { dispatcher, inbox, receipts, lookup_client, lookups })
    }

    /// Processes a batch and returns the deliveries to retry.
    async fn process_batch(&self, invocation: &Invocation, event: StreamEvent) -> BatchFailures {
        let work = BatchProcessor {
            inbox: &self.inbox,
            receipts: &self.receipts,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
            deadline: invocation.deadline,
        };
        // Each send checks the remaining time.
        work.process_batch(event, MAX_CONCURRENT_DELIVERIES, async |entry| {
            self.process_delivery(invocation, entry).await
        })
        .await
    }
}

/// The lines that a client's forms use.
fn find_form_lines(config: &ClientConfig) -> BTreeSet<&str> {
    config.forms.values().map(|form| form.line.as_str()).collect()
}
