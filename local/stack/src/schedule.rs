//! Schedules: invoke a function at an interval of real time.
//!
//! The function gets the event that EventBridge would send: the rule's own, or the rule's constant
//! input.
//!
//! Event: <https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html>.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

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
    /// Invokes the function at every interval while the stack runs, first after one interval. As
    /// EventBridge does, it does not wait for the end of the invocation before, and leaves out no
    /// interval: an invocation without a free instance waits for one.
    pub(crate) async fn run_forever(self, functions: Arc<FunctionPool>, clock: Arc<LocalClock>) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        // Its invocations end with this task.
        let mut running = JoinSet::new();
        loop {
            ticks.tick().await;
            while running.try_join_next().is_some() {}
            let (scheduled, functions, clock) = (self.clone(), functions.clone(), clock.clone());
            running.spawn(async move {
                if let Err(e) = scheduled.invoke(&functions, &clock).await {
                    tracing::warn!("{} ({}): {e}", scheduled.function, scheduled.id);
                }
            });
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
    use crate::functions::child::{self, FUNCTION_NAME};

    #[tokio::test]
    async fn an_invocation_that_outlasts_its_interval_delays_no_other() {
        let dir = tempfile::tempdir().unwrap();
        child::install_binary(dir.path(), FUNCTION_NAME);
        let functions = child::create_pool(dir.path(), Duration::from_mins(2), 2);
        let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
        let scheduled = ScheduledFunction {
            function: FUNCTION_NAME.to_owned(),
            id: "Child/Often".to_owned(),
            interval: Duration::from_millis(20),
            input: Some(json!({ "do": "hang" })),
        };
        let task = tokio::spawn(scheduled.run_forever(functions.clone(), clock));
        // The first two hang in the two instances, and the others wait for one.
        while functions.invocation_counts(FUNCTION_NAME).started < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(functions.invocation_counts(FUNCTION_NAME).succeeded, 0);
        task.abort();
        functions.stop_all().await;
    }

    #[test]
    fn the_event_is_that_of_a_schedule_rule() {
        let event = build_schedule_event("ReminderScheduler/EveryMinute", 1_767_679_201_500);
        assert_eq!(event["time"], "2026-01-06T06:00:01Z");
        assert_eq!(event["detail-type"], "Scheduled Event");
        assert_eq!(event["source"], "aws.events");
    }
}
