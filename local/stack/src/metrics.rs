//! Metrics as CloudWatch would have them: what the functions print, and what the local stack itself
//! knows of AWS's own metrics.
//!
//! Functions print log lines in the embedded metric format. Each value counts at the line's own
//! time
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! Of AWS's metrics the local stack has [`LOCAL_AWS_METRICS`].

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{clock::LocalClock, template::MetricId};

/// The metrics of AWS that the local stack has: namespace and name.
pub const LOCAL_AWS_METRICS: [(&str, &str); 3] =
    [("AWS/ApiGateway", "4xx"), ("AWS/ApiGateway", "5xx"), ("AWS/SQS", "ApproximateNumberOfMessagesVisible")];

const MINUTE_MS: i64 = 60_000;

/// All metric values since the start of the stack.
#[derive(Debug)]
pub struct MetricLog {
    clock: Arc<LocalClock>,
    held: Mutex<HeldMetrics>,
}

#[derive(Debug, Default)]
struct HeldMetrics {
    /// The values of each minute.
    values: BTreeMap<MetricId, BTreeMap<i64, Vec<f64>>>,
    /// Levels that stay until they change, by the minute of the change. AWS reports them every
    /// minute.
    levels: BTreeMap<MetricId, BTreeMap<i64, f64>>,
}

impl MetricLog {
    /// An empty log.
    pub(crate) fn new(clock: Arc<LocalClock>) -> Self {
        Self { clock, held: Mutex::default() }
    }

    /// Takes the values of a log line in the embedded metric format. Ignores every other line.
    pub(crate) fn add_line(&self, line: &str) {
        if !line.contains("\"_aws\"") {
            return;
        }
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        let Some(at_ms) = line["_aws"]["Timestamp"].as_i64() else { return };
        let mut held = tellonce_fakes::lock_mutex(&self.held);
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            for (id, value) in read_directive(&line, directive) {
                held.values.entry(id).or_default().entry(at_ms.div_euclid(MINUTE_MS)).or_default().push(value);
            }
        }
    }

    /// Counts one event of a metric of AWS, now.
    pub(crate) fn count_event(&self, namespace: &str, name: &str, dimension: (&str, &str)) {
        let mut held = tellonce_fakes::lock_mutex(&self.held);
        let values = held.values.entry(aws_metric(namespace, name, dimension)).or_default();
        values.entry(self.current_minute()).or_default().push(1.0);
    }

    /// Sets how many messages a queue of SQS holds from now on.
    pub(crate) fn set_queue_depth(&self, queue: &str, messages: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a queue holds far fewer than 2^52 messages")]
        let level = messages as f64;
        let metric = aws_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", ("QueueName", queue));
        let mut held = tellonce_fakes::lock_mutex(&self.held);
        held.levels.entry(metric).or_default().insert(self.current_minute(), level);
    }

    /// The values of a metric in these minutes (since 1970).
    pub fn values_in(&self, id: &MetricId, minutes: Range<i64>) -> Vec<f64> {
        let held = tellonce_fakes::lock_mutex(&self.held);
        let values = held.values.get(id).into_iter().flat_map(|values| values.range(minutes.clone()));
        let mut found: Vec<f64> = values.flat_map(|(_, values)| values.iter().copied()).collect();
        if let Some(levels) = held.levels.get(id) {
            found.extend(minutes.filter_map(|minute| levels.range(..=minute).next_back().map(|(_, level)| *level)));
        }
        found
    }

    /// The minute of the stack's clock, since 1970.
    pub fn current_minute(&self) -> i64 {
        self.clock.now_ms().div_euclid(MINUTE_MS)
    }
}

fn aws_metric(namespace: &str, name: &str, (dimension, value): (&str, &str)) -> MetricId {
    MetricId {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: BTreeMap::from([(dimension.to_owned(), value.to_owned())]),
    }
}

/// The values of one metric directive: each of its metrics with each of its sets of dimensions.
fn read_directive(line: &Value, directive: &Value) -> Vec<(MetricId, f64)> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    for dimensions in directive["Dimensions"].as_array().into_iter().flatten().map(texts) {
        let value_of = |name: &String| Some((name.clone(), line[name].as_str()?.to_owned()));
        let dimensions: BTreeMap<String, String> = dimensions.iter().filter_map(value_of).collect();
        for name in directive["Metrics"].as_array().into_iter().flatten().filter_map(|metric| metric["Name"].as_str()) {
            let id = MetricId {
                namespace: directive["Namespace"].as_str().unwrap_or_default().to_owned(),
                name: name.to_owned(),
                dimensions: dimensions.clone(),
            };
            let values = match &line[name] {
                Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
                value => Vec::from_iter(value.as_f64()),
            };
            found.extend(values.into_iter().map(|value| (id.clone(), value)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metric(name: &str, dimensions: &[(&str, &str)]) -> MetricId {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        MetricId { namespace: "tellonce".to_owned(), name: name.to_owned(), dimensions }
    }

    fn empty_log() -> (MetricLog, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let clock = LocalClock::open(&folder.path().join("clock")).unwrap();
        (MetricLog::new(Arc::new(clock)), folder)
    }

    #[test]
    fn values_count_at_the_line_s_own_time_and_under_their_own_dimensions() {
        let (log, _folder) = empty_log();
        let line = |minute: i64, kind: &str, seconds: i64| {
            json!({
                "_aws": {"Timestamp": minute * MINUTE_MS + 59_999, "CloudWatchMetrics": [{
                    "Namespace": "tellonce", "Dimensions": [["Client", "Kind"]], "Metrics": [{"Name": "oldest_task_seconds"}],
                }]},
                "Client": "demo", "Kind": kind, "oldest_task_seconds": seconds, "reasons": "the CRM is unavailable",
            })
        };
        for line in [line(7, "crm", 90), line(7, "target", 5), line(8, "crm", 150)] {
            log.add_line(&line.to_string());
        }
        log.add_line("no metric, but it names \"_aws\"");
        log.add_line(r#"{"level":"INFO","message":"sent"}"#);
        let crm = metric("oldest_task_seconds", &[("Client", "demo"), ("Kind", "crm")]);
        assert_eq!(log.values_in(&crm, 7..9), [90.0, 150.0]);
        assert_eq!(log.values_in(&crm, 7..8), [90.0]);
        assert_eq!(log.values_in(&metric("oldest_task_seconds", &[("Client", "demo")]), 0..100), [0.0; 0]);
    }

    #[test]
    fn an_event_counts_once_and_a_level_counts_in_every_minute_until_it_changes() {
        let (log, _folder) = empty_log();
        let now = log.current_minute();
        log.count_event("AWS/ApiGateway", "5xx", ("ApiId", "Api"));
        assert_eq!(log.values_in(&aws_metric("AWS/ApiGateway", "5xx", ("ApiId", "Api")), now..now + 2), [1.0]);
        log.set_queue_depth("Failures", 2);
        let depth = aws_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", ("QueueName", "Failures"));
        assert_eq!(log.values_in(&depth, now - 1..now), [0.0; 0]);
        assert_eq!(log.values_in(&depth, now + 5..now + 8), [2.0, 2.0, 2.0]);
        log.set_queue_depth("Failures", 0);
        assert_eq!(log.values_in(&depth, now + 5..now + 6), [0.0]);
    }
}
