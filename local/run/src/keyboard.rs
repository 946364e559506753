//! Keyboard commands of a local run.

use anyhow::Context as _;
use tellonce_console::samples;
use tellonce_fakes::provider::HealthPreset;
use tellonce_stack::LocalStack;

use crate::first_message::{FirstMessage, SampleFactory};

/// The keys and their effects.
pub(crate) const KEYS_HELP: &str = "o send a signed sample · d send the same again · l take the line down or up · \
                                    r run the schedule now · c show the console's address · q quit";

/// Remembers the last sample for "the same again".
#[derive(Default)]
pub(crate) struct KeyboardCommands {
    samples: SampleFactory,
}

impl KeyboardCommands {
    /// Runs a key's command and returns a line for the terminal.
    pub(crate) async fn run_key(&self, stack: &LocalStack, key: &str) -> anyhow::Result<String> {
        match key {
            "o" => self.send_sample(stack).await,
            "d" => {
                let last = self.samples.last_delivery().context("no delivery was sent yet; press o first")?;
                Ok(post(stack, last).await)
            }
            "l" => toggle_lines(stack),
            "r" => run_schedule(stack).await,
            "c" => Ok(format!("The console is at {}/", stack.gateway_url())),
            other => Ok(format!("Unknown key {other}: {KEYS_HELP}")),
        }
    }

    async fn send_sample(&self, stack: &LocalStack) -> anyhow::Result<String> {
        let FirstMessage { batch, is_in_feed, hint } = self.samples.build(stack)?;
        if is_in_feed {
            stack.poll_feeds().await?;
            return Ok(format!("{}: added to the feed, and read. {hint}", batch.about));
        }
        let sentence = post(stack, batch).await;
        Ok(if hint.is_empty() { sentence } else { format!("{sentence}. {hint}") })
    }
}

async fn post(stack: &LocalStack, batch: samples::DeliveryBatch) -> String {
    samples::post_batch(stack.provider().http(), &stack.webhook_url(), batch).await.to_sentence()
}

/// Runs what the clock runs every minute, and reads the feeds.
async fn run_schedule(stack: &LocalStack) -> anyhow::Result<String> {
    stack.poll_feeds().await?;
    stack.tick_messages().await?;
    stack.tick_conversations().await?;
    Ok("The schedule has run: feeds are read, and what was due is sent.".to_owned())
}

fn toggle_lines(stack: &LocalStack) -> anyhow::Result<String> {
    let (provider, lines) = (stack.provider(), stack.provider().line_ids());
    let up = lines.iter().any(|line| provider.settings().health_of_line(line) == HealthPreset::Good);
    for line in &lines {
        provider.set_health(Some(line), if up { HealthPreset::Qr } else { HealthPreset::Good })?;
    }
    Ok(if up {
        "The line is down: its phone must be linked again. Messages are held."
    } else {
        "The line is up again. Held messages are sent with the schedule of the next minutes."
    }
    .to_owned())
}
