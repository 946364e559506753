//! Values in samples of every kind: unique numbers, and the secrets that sign deliveries.

use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Context as _;
use tellonce_core::client_config::ClientConfig;

/// Unique numbers: the time in milliseconds, or one more than the last number.
#[derive(Default)]
pub(crate) struct UniqueNumbers(AtomicI64);

impl UniqueNumbers {
    pub(crate) fn next(&self, now_ms: i64) -> i64 {
        let next = |last: i64| now_ms.max(last + 1);
        let last = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)))
            .unwrap_or_else(|last| last);
        next(last)
    }
}

/// The secret that verifies deliveries of a sender. `secret` has the values of this run.
pub(crate) fn read_webhook_secret(
    config: &ClientConfig,
    secret: impl Fn(&str) -> Option<String>,
    sender: &str,
) -> anyhow::Result<String> {
    let name = config.webhook_secret_name(sender);
    secret(&name).with_context(|| format!("the secret {name} is missing"))
}
