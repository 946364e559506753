//! order-notifier: deliveries of stores become our own order events, and those become messages.
//!
//! The story: a batch of the inbox's stream comes in ([`life`]); [`order_event::read`] says in our own words what a
//! delivery reports; what it leaves out is looked up ([`lookup`]); [`plan()`] makes news of it, complete with its words;
//! the [`Teller`] tells it once. What leads to no message leaves its reason beside the delivery.
//!
//! Promises that a delivery is either told, waiting in the ledger, or visible with a reason; that one that can't be
//! read never blocks those behind it. Does not order deliveries: the ledger decides what is still true.

mod amount;
mod custom;
pub mod lookup;
mod notify;
pub mod order_event;
mod plan;
#[cfg(test)]
mod samples;
mod shopify;
mod woocommerce;

use lambda_runtime::{LambdaEvent, service_fn};
use shared::{
    batch::{Failures, StreamEvent, Work},
    clock::Deadline,
    cold_start::{self, Aws, StartError},
    inbox::Inbox,
    observe,
    telling::{Shift, Teller},
};

pub use notify::{Known, Notifier, NotifyError};
pub use plan::{NotTold, note, plan};

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_runtime::Error> {
    observe::start();
    let notifier = Notifier::start().await?;
    let notifier = &notifier;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<StreamEvent>| async move {
        let deadline = Deadline::of(event.context.deadline());
        let shift = Shift::new(&event.context.request_id, deadline, false, notifier.teller.clock.now());
        Ok::<_, lambda_runtime::Error>(notifier.batch(&shift, event.payload).await)
    }))
    .await
}

impl Notifier {
    /// Prepares everything before the first batch: configuration, connections and line tokens.
    async fn start() -> Result<Self, StartError> {
        let config = cold_start::client_config()?;
        let http = cold_start::http_client()?;
        let aws = Aws::from_environment(&http)?;
        let inbox = Inbox::new(aws.dynamodb(), cold_start::required("STORE_INBOX_TABLE")?, config.keep.inbox_days);
        let teller = Teller::from_environment(config, http.clone(), &aws)?;
        let notifier = Self { teller, inbox, http, shopify_base_url: cold_start::variable("SHOPIFY_BASE_URL") };
        let stores = notifier.teller.config.stores.values().map(|store| store.line.as_str());
        tokio::join!(notifier.teller.prepare(stores), aws.open_dynamodb());
        Ok(notifier)
    }

    /// Takes a batch through and says which deliveries shall come again.
    async fn batch(&self, shift: &Shift, event: StreamEvent) -> Failures {
        let work = Work { inbox: &self.inbox, client: &self.teller.config.client, clock: &self.teller.clock };
        // Each look-up and each send looks at the time by itself.
        work.through(event, 1, || true, async |entry| self.notify(shift, entry).await).await
    }
}
