//! lead-first-touch: whoever leaves their number in a form is greeted, once, and never who did not ask for it.
//!
//! The story: a batch of the lead inbox's stream comes in ([`life`]); [`lead::read`] says in our own words who left their
//! number and by what they agreed to be written to; a lead that a delivery only names is read back ([`read_back`]);
//! [`plan()`](plan::plan) makes news of it, complete with its words; and the
//! [`Teller`] greets, in one transaction with what the number has heard before.
//! Deliveries go through side by side: whoever waits for an answer waits for nobody else's.
//!
//! Promises that a delivery is either greeted, waiting in the ledger, or visible with a reason; that a number is greeted
//! once in its form's window, however many submit it at the same moment; and that a form that is flooded greets nobody
//! until a human has looked ([`release`]). Does not import, and sends no second message: see `docs/boundaries.md`.

mod body;
pub mod facts;
mod greet;
pub mod lead;
pub mod plan;
pub mod read_back;
pub mod release;
mod senders;
mod submission;

#[cfg(test)]
mod samples;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    batch::{Failures, StreamEvent, Work},
    clock::Deadline,
    cold_start::{self, Aws, StartError},
    inbox::Inbox,
    observe,
    telling::{Shift, Teller},
};

use read_back::LeadApi;
use release::{Done, Order};

pub use greet::GreetError;

/// Deliveries that are taken through side by side: a batch of the stream. Each has its own person, and whoever submits twice
/// meets their own row.
const AT_ONCE: usize = 10;

/// The function.
pub struct Greeter {
    /// Tells messages.
    pub teller: Teller,
    /// Where deliveries come from and outcomes go.
    pub inbox: Inbox,
    /// For leads that have to be asked for.
    pub leads: LeadApi,
}

/// What an invocation answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Leads(Failures),
    Done(Done),
}

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_runtime::Error> {
    observe::start();
    let greeter = Greeter::start().await?;
    let greeter = &greeter;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::of(event.context.deadline());
        let shift = Shift::new(&event.context.request_id, deadline, false, greeter.teller.clock.now());
        // A batch of the stream is no order of a human's, whatever is in it.
        Ok::<_, lambda_runtime::Error>(if let Ok(order) = serde_json::from_str::<Order>(event.payload.get()) {
            Answer::Done(greeter.release(order, deadline).await?)
        } else {
            let batch = serde_json::from_str(event.payload.get())?;
            Answer::Leads(Box::pin(greeter.batch(&shift, batch)).await)
        })
    }))
    .await
}

impl Greeter {
    /// Prepares everything before the first batch: configuration, connections and line tokens.
    async fn start() -> Result<Self, StartError> {
        let config = cold_start::client_config()?;
        let http = cold_start::http_client()?;
        let aws = Aws::from_environment(&http)?;
        let inbox = Inbox::new(aws.dynamodb(), cold_start::required("LEAD_INBOX_TABLE")?, config.keep.inbox_days);
        let leads = LeadApi::new(http.clone(), cold_start::variable("LEAD_BASE_URL"));
        let teller = Teller::from_environment(config, http, &aws)?;
        let greeter = Self { teller, inbox, leads };
        let forms = greeter.teller.config.forms.values().map(|form| form.line.as_str());
        tokio::join!(greeter.teller.prepare(forms), aws.open_dynamodb());
        Ok(greeter)
    }

    /// Takes a batch through and says which deliveries shall come again.
    async fn batch(&self, shift: &Shift, event: StreamEvent) -> Failures {
        let work = Work { inbox: &self.inbox, client: &self.teller.config.client, clock: &self.teller.clock };
        // Each send looks at the time by itself.
        work.through(event, AT_ONCE, || true, async |entry| self.greet(shift, entry).await).await
    }
}
