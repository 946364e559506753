//! Schedules: invoke a function at an interval of real time.
//!
//! The function gets the event that EventBridge would send: the rule's own, or the rule's constant
//! input.
//!
//! Event: <https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html>.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    ACCOUNT, REGION,
    clock::LocalClock,
    functions::{FunctionPool, InvokeError},
};

/// A function and its interval.
#[derive(Debug, Clone)]
pub(crate) struct ScheduledFunction {
    pub(crate) function: String,
    pub(crate) id: String,
    pub(crate) interval: Duration,
    pub(crate) input: Option<Value>,
}

impl ScheduledFunction {
    /// Invokes the function at every interval while the stack runs, first after one interval.
    pub(crate) async fn run_forever(self, functions: Arc<FunctionPool>, clock: Arc<LocalClock>) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(e) = self.invoke(&functions, &clock).await {
                tracing::warn!("{} ({}): {e}", self.function, self.id);
            }
        }
    }

    /// Invokes the function once and waits for its response.
    pub(crate) async fn invoke(&self, functions: &FunctionPool, clock: &LocalClock) -> Result<Value, InvokeError> {
        let event = self.input.clone().unwrap_or_else(|| build_schedule_event(&self.id, clock.now_ms()));
        functions.invoke_json(&self.function, &event).await
    }
}

fn build_schedule_event(id: &str, now_ms: i64) -> Value {
    let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    json!({
        "version": "0",
        "id": tellonce_fakes::generate_id(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": REGION,
        "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{}", id.replace('/', "-"))],
        "detail": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_that_of_a_schedule_rule() {
        let event = build_schedule_event("ReminderScheduler/EveryMinute", 1_767_679_201_500);
        assert_eq!(event["time"], "2026-01-06T06:00:01Z");
        assert_eq!(event["detail-type"], "Scheduled Event");
        assert_eq!(event["source"], "aws.events");
    }
}
