//! The keyboard of a local run: a letter and Enter, for whoever would rather not open the console.

use anyhow::Context as _;
use shared::client_config::ClientConfig;

use crate::{
    Stack,
    console::samples::{self, Case, SampleBook, Targets},
    fake_ezw::HealthPreset,
};

/// What the keys do, for people.
pub const HELP: &str = "o send a signed sample order · d send the same again · l take the line down or up · q quit";

/// Orders that are ready, the one thing every kind of store can say; the first that this client has a store for is sent.
const READY: [Case; 4] = [Case::ShopifyReady, Case::WooReady, Case::ErpReady, Case::ZapReady];

/// Remembers what was sent, for "the same again".
#[derive(Default)]
pub struct Keys {
    book: SampleBook,
}

impl Keys {
    /// Does what a key stands for; returns a line for the terminal.
    pub async fn press(&self, stack: &Stack, key: &str) -> anyhow::Result<String> {
        match key {
            "o" => self.send(stack, None).await,
            "d" => self.send(stack, Some(Case::Again)).await,
            "l" => toggle_lines(stack),
            other => Ok(format!("There is no key {other}: {HELP}")),
        }
    }

    async fn send(&self, stack: &Stack, case: Option<Case>) -> anyhow::Result<String> {
        let path = stack.client_folder().join("client.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        let config = ClientConfig::parse(&text).with_context(|| format!("in {}", path.display()))?;
        let targets = Targets::of(&config, |name| stack.secrets().current(name));
        let case = case.or_else(|| READY.into_iter().find(|case| targets.has(*case)));
        let case = case.context("this client has no store with a known secret that a sample could come from")?;
        let batch = self.book.make(case, &targets, false, stack.clock().now_ms())?;
        Ok(samples::post(stack.ezw().http(), &stack.gateway_url(), batch).await.in_words())
    }
}

fn toggle_lines(stack: &Stack) -> anyhow::Result<String> {
    let (ezw, lines) = (stack.ezw(), stack.ezw().lines());
    let up = lines.iter().any(|line| ezw.settings().health_of(line) == HealthPreset::Good);
    for line in &lines {
        ezw.set_health(Some(line), if up { HealthPreset::Qr } else { HealthPreset::Good })?;
    }
    Ok(if up {
        "The line is down: its phone has to be linked again. Messages are held."
    } else {
        "The line is up again. What was held goes out with the next minutes' schedule."
    }
    .to_owned())
}
