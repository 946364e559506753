//! Waits until nothing is under way.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use super::LocalStack;
use crate::streams::MappingState;

impl LocalStack {
    /// Waits until every stream is read to its end and no invocation runs; at most 30 s.
    pub async fn drain(&self) -> anyhow::Result<()> {
        self.drain_within(Duration::from_secs(30)).await
    }

    /// [`Self::drain`] with another limit. The error names the pending work.
    pub async fn drain_within(&self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        self.dynamo.wake_readers();
        loop {
            let begun = self.count_started();
            let pending = self.list_pending()?;
            // Nothing is pending, and nothing began during the check.
            if pending.is_empty() && begun == self.count_started() && self.functions.running_invocations() == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("not drained after {limit:?}: {}", pending.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn count_started(&self) -> u64 {
        self.functions.list_names().iter().map(|name| self.functions.invocation_counts(name).started).sum()
    }

    fn list_pending(&self) -> anyhow::Result<Vec<String>> {
        let mut pending = Vec::new();
        for name in self.functions.list_names() {
            let running = self.functions.invocation_counts(&name).running;
            if running > 0 {
                pending.push(format!("{name} has {running} invocation(s) running"));
            }
        }
        for state in self.stream_states()?.into_iter().filter(|state| state.enabled && !state.is_caught_up()) {
            let MappingState { id, position, end, attempts, .. } = state;
            pending.push(format!("{id} is at {position:?} of {end:?} after {attempts} failed attempt(s)"));
        }
        Ok(pending)
    }
}
