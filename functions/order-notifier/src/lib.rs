//! order-notifier sends order updates: a store's delivery becomes an order event, and the event
//! becomes a message.
//!
//! Flow: [`run`] takes a batch of the store inbox's stream, or an operator's replay.
//! [`order_parser`] turns a delivery into an [`order_event::OrderEvent`]. [`lookup`] adds data that
//! the delivery lacks. If the store cannot be asked now, the delivery waits.
//! [`plan_order_message()`] builds the message. The [`Dispatcher`] sends it once. A delivery
//! without a message gets a reason.
//!
//! - Every delivery leads to a message, waits in the ledger, or carries a reason.
//! - A delivery that cannot be parsed never blocks later ones.
//!
//! Time: an invocation has 60 s. A batch ends in time as [`tellonce_core::batch`] says.
//!
//! Not covered: the order of deliveries. The ledger decides which messages are still true.

mod amount;
mod known_order;
pub mod lookup;
pub mod order_event;
mod order_flow;
mod order_import;
mod order_outcome;
pub mod order_parser;
mod person;
mod plan;
mod senders;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod unusual_samples;

use std::collections::BTreeSet;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
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
    person::{PersonCommand, PersonPage},
    replay::{ReplayCommand, ReplaySummary, replay_deliveries},
    telemetry,
    waiting_lookup::{LookupInbox, LookupQueue, WaitingLookups},
};

pub use known_order::KnownOrder;
pub use order_flow::OrderError;
pub use order_outcome::{OrderOutcome, OrderSkipReason, PrivacyRequest};
pub use plan::{PlannedOrderMessage, build_suppressed_message, plan_order_message};

/// The function's configuration and connections.
pub struct OrderNotifier {
    /// Sends messages.
    pub dispatcher: Dispatcher,
    /// Holds deliveries and their outcomes.
    pub inbox: Inbox,
    /// Records the heartbeats of the inbox.
    pub receipts: HeartbeatReceipts,
    /// Looks up orders in stores.
    pub http: reqwest::Client,
    /// Replaces `https://{shop_domain}` in local runs and tests, by store.
    pub shopify_base_urls: BaseUrls,
    /// Deliveries whose order cannot be looked up now.
    pub lookups: LookupQueue,
}

/// The response of an invocation.
#[derive(Serialize)]
#[serde(untagged)]
enum NotifierResponse {
    Batch(BatchFailures),
    Replay(ReplaySummary),
    Person(PersonPage),
}

/// The command of an operator.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderCommand {
    /// Processes deliveries again.
    Replay(ReplayCommand),
    /// Finds or empties the deliveries of a person.
    Person(PersonCommand),
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let notifier = OrderNotifier::from_environment().await?;
    let notifier = &notifier;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let clock = &notifier.dispatcher.clock;
        let invocation = Invocation::for_deliveries(&event.context.request_id, deadline, clock.now());
        Ok::<_, lambda_runtime::Error>(if let Ok(batch) = serde_json::from_str::<StreamEvent>(event.payload.get()) {
            NotifierResponse::Batch(notifier.process_batch(&invocation, batch).await)
        } else {
            // An operator wrote it, perhaps mistyped: the error holds none of its values.
            match parse_object(event.payload.get().as_bytes())? {
                OrderCommand::Replay(replay) => {
                    NotifierResponse::Replay(replay_deliveries(&notifier.inbox, clock, &replay, deadline).await?)
                }
                OrderCommand::Person(command) => {
                    NotifierResponse::Person(notifier.search_person(&invocation, &command, deadline).await?)
                }
            }
        })
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
        let ledger_table = bootstrap::require_variable("LEDGER_TABLE")?;
        let path = HeartbeatPath::StoreInbox;
        let receipts = HeartbeatReceipts::new(aws.dynamodb(), ledger_table.clone(), path, config.version.clone());
        let rows = WaitingLookups::new(aws.dynamodb(), ledger_table);
        let lookups = LookupQueue::new(rows, LookupInbox::Stores);
        let shopify_base_urls = BaseUrls::from_variable("SHOPIFY_BASE_URL");
        let dispatcher = Dispatcher::from_environment(config, http.clone(), &aws, find_store_lines).await?;
        Ok(Self { dispatcher, inbox, receipts, http, shopify_base_urls, lookups })
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
        // Each lookup and each send checks the remaining time.
        work.process_batch(event, 1, async |entry| self.process_delivery(invocation, entry).await).await
    }
}

/// The lines that a client's stores use.
fn find_store_lines(config: &ClientConfig) -> BTreeSet<&str> {
    config.stores.values().map(|store| store.line.as_str()).collect()
}
