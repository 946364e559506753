//! Keyboard commands of a local run: a letter and Enter.

use anyhow::Context as _;
use tellonce_console::samples::{self, ConsoleSample, OrderSampleFactory, SampleTargets};
use tellonce_core::client_config::ClientConfig;
use tellonce_fakes::provider::HealthPreset;
use tellonce_stack::LocalStack;

/// The keys and their effects.
pub(crate) const KEYS_HELP: &str =
    "o send a signed sample order · d send the same again · l take the line down or up · q quit";

/// Samples of a ready order, one per kind of store. The first one with a configured store is sent.
const READY_SAMPLES: [ConsoleSample; 4] =
    [ConsoleSample::ShopifyReady, ConsoleSample::WooReady, ConsoleSample::ErpReady, ConsoleSample::ZapReady];

/// Remembers the last sample for "the same again".
#[derive(Default)]
pub(crate) struct KeyboardCommands {
    samples: OrderSampleFactory,
}

impl KeyboardCommands {
    /// Runs a key's command and returns a line for the terminal.
    pub(crate) async fn run_key(&self, stack: &LocalStack, key: &str) -> anyhow::Result<String> {
        match key {
            "o" => self.send_sample(stack, None).await,
            "d" => self.send_sample(stack, Some(ConsoleSample::RepeatLast)).await,
            "l" => toggle_lines(stack),
            other => Ok(format!("Unknown key {other}: {KEYS_HELP}")),
        }
    }

    async fn send_sample(&self, stack: &LocalStack, case: Option<ConsoleSample>) -> anyhow::Result<String> {
        let path = stack.client_folder().join("client.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let config = ClientConfig::parse(&text).with_context(|| format!("in {}", path.display()))?;
        let targets = SampleTargets::from_config(&config, |name| stack.secrets().current_value(name));
        let case = case.or_else(|| READY_SAMPLES.into_iter().find(|case| targets.has_store_for(*case)));
        let case = case.context("this client has no store with a known secret for a sample")?;
        let batch = self.samples.build_batch(case, &targets, false, stack.clock().now_ms())?;
        Ok(samples::post_batch(stack.provider().http(), &stack.webhook_url(), batch).await.to_sentence())
    }
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
