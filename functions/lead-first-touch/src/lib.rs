//! lead-first-touch: whoever leaves their number in a form is greeted, once, and never who did not ask for it.
//!
//! The story: a batch of the lead inbox's stream comes in ([`run`]); [`lead::read`] says in our own words who left their
//! number and by what they agreed to be written to; a lead that a delivery only names is read back ([`read_back`]);
//! [`plan_first_touch()`](plan::plan) makes news of it, complete with its words; and the
//! [`Dispatcher`] greets, in one transaction with what the number has heard before.
//! Deliveries go through side by side: whoever waits for an answer waits for nobody else's.
//!
//! Promises that a delivery is either greeted, waiting in the ledger, or visible with a reason; that a number is greeted
//! once in its form's window, however many submit it at the same moment; and that a form that is flooded greets nobody
//! until a human has looked ([`release`]). Does not import, and sends no second message: see `docs/boundaries.md`.

pub mod facts;
mod form_body;
pub mod lead;
mod lead_flow;
pub mod lookup;
pub mod operator;
pub mod plan;
mod senders;
mod submission;

#[cfg(test)]
mod samples;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;
use tellonce_core::{
    batch::{BatchFailures, BatchProcessor, StreamEvent},
    bootstrap::{self, AwsClients, StartError},
    clock::Deadline,
    dispatch::{Dispatcher, Invocation},
    inbox::Inbox,
    telemetry,
};

use lookup::LeadLookupClient;
use operator::{OperatorCommand, OperatorSummary};

pub use lead_flow::LeadError;

/// Deliveries that are taken through side by side: a batch of the stream. Each has its own person, and whoever submits twice
/// meets their own row.
const MAX_CONCURRENT_DELIVERIES: usize = 10;

/// The function.
pub struct LeadGreeter {
    /// Tells messages.
    pub dispatcher: Dispatcher,
    /// Where deliveries come from and outcomes go.
    pub inbox: Inbox,
    /// For leads that have to be asked for.
    pub lookup_client: LeadLookupClient,
}

/// What an invocation answers.
#[derive(Serialize)]
#[serde(untagged)]
enum GreeterResponse {
    Batch(BatchFailures),
    Operator(OperatorSummary),
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let greeter = LeadGreeter::from_environment().await?;
    let greeter = &greeter;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let invocation = Invocation::new(&event.context.request_id, deadline, false, greeter.dispatcher.clock.now());
        // A batch of the stream is no order of a human's, whatever is in it.
        Ok::<_, lambda_runtime::Error>(
            if let Ok(command) = serde_json::from_str::<OperatorCommand>(event.payload.get()) {
                GreeterResponse::Operator(greeter.run_operator_command(command, deadline).await?)
            } else {
                let batch = serde_json::from_str(event.payload.get())?;
                GreeterResponse::Batch(Box::pin(greeter.process_batch(&invocation, batch)).await)
            },
        )
    }))
    .await
}

impl LeadGreeter {
    /// Prepares everything before the first batch: configuration, connections and line tokens.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox =
            Inbox::new(aws.dynamodb(), bootstrap::require_variable("LEAD_INBOX_TABLE")?, config.retention.inbox_days);
        let lookup_client = LeadLookupClient::new(http.clone(), bootstrap::read_variable("LEAD_BASE_URL"));
        let dispatcher = Dispatcher::from_environment(config, http, &aws)?;
        let greeter = Self { dispatcher, inbox, lookup_client };
        let forms = greeter.dispatcher.config.forms.values().map(|form| form.line.as_str());
        tokio::join!(greeter.dispatcher.prefetch_line_tokens(forms), aws.preconnect_dynamodb());
        Ok(greeter)
    }

    /// Takes a batch through and says which deliveries shall come again.
    async fn process_batch(&self, invocation: &Invocation, event: StreamEvent) -> BatchFailures {
        let work = BatchProcessor {
            inbox: &self.inbox,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
        };
        // Each send looks at the time by itself.
        work.process_batch(
            event,
            MAX_CONCURRENT_DELIVERIES,
            || true,
            async |entry| self.process_delivery(invocation, entry).await,
        )
        .await
    }
}
