//! order-notifier: deliveries of stores become our own order events, and those become messages.
//!
//! The story: a batch of the inbox's stream comes in ([`run`]); [`order_event::read`] says in our own words what a
//! delivery reports; what it leaves out is looked up ([`lookup`]); [`plan_order_message()`] makes news of it, complete with its words;
//! the [`Dispatcher`] tells it once. What leads to no message leaves its reason beside the delivery.
//!
//! Promises that a delivery is either told, waiting in the ledger, or visible with a reason; that one that can't be
//! read never blocks those behind it. Does not order deliveries: the ledger decides what is still true.

mod amount;
mod custom;
pub mod lookup;
pub mod order_event;
mod order_flow;
mod plan;
#[cfg(test)]
mod samples;
mod shopify;
mod woocommerce;

use lambda_runtime::{LambdaEvent, service_fn};
use tellonce_core::{
    batch::{BatchFailures, BatchProcessor, StreamEvent},
    bootstrap::{self, AwsClients, StartError},
    clock::Deadline,
    dispatch::{Dispatcher, Invocation},
    inbox::Inbox,
    telemetry,
};

pub use order_flow::{KnownOrder, OrderError, OrderNotifier};
pub use plan::{NotSent, build_suppressed_message, plan_order_message};

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let notifier = OrderNotifier::from_environment().await?;
    let notifier = &notifier;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<StreamEvent>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let invocation = Invocation::new(&event.context.request_id, deadline, false, notifier.dispatcher.clock.now());
        Ok::<_, lambda_runtime::Error>(notifier.process_batch(&invocation, event.payload).await)
    }))
    .await
}

impl OrderNotifier {
    /// Prepares everything before the first batch: configuration, connections and line tokens.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox =
            Inbox::new(aws.dynamodb(), bootstrap::require_variable("STORE_INBOX_TABLE")?, config.retention.inbox_days);
        let dispatcher = Dispatcher::from_environment(config, http.clone(), &aws)?;
        let notifier = Self { dispatcher, inbox, http, shopify_base_url: bootstrap::read_variable("SHOPIFY_BASE_URL") };
        let stores = notifier.dispatcher.config.stores.values().map(|store| store.line.as_str());
        tokio::join!(notifier.dispatcher.prefetch_line_tokens(stores), aws.preconnect_dynamodb());
        Ok(notifier)
    }

    /// Takes a batch through and says which deliveries shall come again.
    async fn process_batch(&self, invocation: &Invocation, event: StreamEvent) -> BatchFailures {
        let work = BatchProcessor {
            inbox: &self.inbox,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
        };
        // Each look-up and each send looks at the time by itself.
        work.process_batch(event, 1, || true, async |entry| self.process_delivery(invocation, entry).await).await
    }
}
