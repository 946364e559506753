//! Logs and metrics: JSON lines on standard output.
//!
//! Metrics are CloudWatch's embedded metric format (a log line with an `_aws` member), in the
//! namespace [`NAMESPACE`] with the dimension `Client`. They need no request and no agent.
//! Source: docs.aws.amazon.com, "Specification: Embedded metric format".
//!
//! Main types: a [`Metric`] is an event that is counted; a [`Gauge`] is a state that lasts, written
//! once a minute while it lasts; a [`Measurement`] is a duration that was measured.
//!
//! Promises: logs carry ids and keys, never a body, a token, a phone number, a name or an address.
//! The types that hold such values mask themselves.

use std::{fmt, io::Write};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
};

use crate::clock::Clock;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "tellonce";

/// The metric of all events that a person should look at. Its property `reason` says which.
const ATTENTION: &str = "attention";

/// An event that is counted. `docs/operations.md` lists all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The provider accepted a message.
    MessagesAccepted,
    /// A message waits until a time.
    MessagesHeld,
    /// A message's outcome is unknown.
    MessagesUnknown,
    /// A message is no longer useful.
    MessagesExpired,
    /// A person must find out whether a message arrived.
    MessagesNeedingHuman,
    /// The provider refused a message for good.
    SendRefused,
    /// A payload differs from the one stored under the same key.
    PayloadConflict,
    /// A delivery was verified and could not be parsed.
    DeliveriesQuarantined,
    /// A reminder was due, and its text could not be made.
    RemindersIncomplete,
    /// A lead that was greeted before submitted again, and the client handles repeats in person.
    LeadsEscalated,
    /// A message that was accepted could not be delivered.
    MessagesFailed,
    /// A CRM or a target refused a task for good.
    TasksRefused,
    /// A delivery came in that an inbox had already.
    DeliveriesRepeated,
    /// A delivery was refused.
    DeliveriesRefused,
}

/// How an event is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    /// In a metric of its own, for the dashboard.
    Counter(&'static str),
    /// In [`ATTENTION`], with this reason: a person should look.
    Attention(&'static str),
}

impl Metric {
    const fn kind(self) -> MetricKind {
        match self {
            Self::MessagesAccepted => MetricKind::Counter("messages_accepted"),
            Self::MessagesHeld => MetricKind::Counter("messages_held"),
            Self::MessagesUnknown => MetricKind::Counter("messages_unknown"),
            Self::MessagesExpired => MetricKind::Attention("expired"),
            Self::MessagesNeedingHuman => MetricKind::Attention("needs-human"),
            Self::SendRefused => MetricKind::Attention("refused"),
            Self::PayloadConflict => MetricKind::Attention("conflict"),
            Self::DeliveriesQuarantined => MetricKind::Attention("quarantined"),
            Self::RemindersIncomplete => MetricKind::Attention("incomplete"),
            Self::LeadsEscalated => MetricKind::Attention("lead-escalated"),
            Self::MessagesFailed => MetricKind::Attention("failed"),
            Self::TasksRefused => MetricKind::Attention("task-refused"),
            Self::DeliveriesRepeated => MetricKind::Counter("deliveries_repeated"),
            Self::DeliveriesRefused => MetricKind::Counter("deliveries_refused"),
        }
    }

    /// The name in CloudWatch.
    pub const fn name(self) -> &'static str {
        match self.kind() {
            MetricKind::Counter(name) => name,
            MetricKind::Attention(_) => ATTENTION,
        }
    }

    /// The property `reason` of its line, if it is counted in `attention`.
    pub const fn attention_reason(self) -> Option<&'static str> {
        match self.kind() {
            MetricKind::Counter(_) => None,
            MetricKind::Attention(reason) => Some(reason),
        }
    }
}

/// A state that lasts. It is written once a minute while it lasts, and is absent otherwise:
/// `CloudWatch` charges for a metric in each hour in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gauge {
    /// How long the oldest message has waited since it should have gone, outside of quiet hours.
    OldestDueSeconds,
    /// The same for first touches alone.
    OldestFirstTouchSeconds,
    /// How long the oldest task of the client's CRMs or targets has waited.
    OldestTaskSeconds(DestinationKind),
    /// The age of the oldest heartbeat. The one gauge that is always written: if it is missing, the
    /// minute itself does not run.
    OldestHeartbeatSeconds,
    /// States that only a person can end, and that no waiting message shows.
    OpenProblems,
}

/// The kind of a destination: the dimension `Kind` of a gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DestinationKind {
    /// A CRM.
    Crm,
    /// A target of alerts.
    Target,
}

impl Gauge {
    /// A wait that is shorter is usual: the sweep and the queue worker run once a minute.
    pub const USUAL_WAIT: SignedDuration = SignedDuration::from_mins(2);

    /// The name in CloudWatch.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OldestDueSeconds => "oldest_due_seconds",
            Self::OldestFirstTouchSeconds => "oldest_first_touch_seconds",
            Self::OldestTaskSeconds(_) => "oldest_task_seconds",
            Self::OldestHeartbeatSeconds => "oldest_heartbeat_seconds",
            Self::OpenProblems => "open_problems",
        }
    }

    /// The unit, as CloudWatch calls it.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::OldestDueSeconds
            | Self::OldestFirstTouchSeconds
            | Self::OldestTaskSeconds(_)
            | Self::OldestHeartbeatSeconds => "Seconds",
            Self::OpenProblems => "Count",
        }
    }

    const fn destination_kind(self) -> Option<DestinationKind> {
        match self {
            Self::OldestTaskSeconds(kind) => Some(kind),
            Self::OldestDueSeconds
            | Self::OldestFirstTouchSeconds
            | Self::OldestHeartbeatSeconds
            | Self::OpenProblems => None,
        }
    }
}

/// After a wait of this length the alarm `messages-waiting` was raised. It is raised at ten
/// minutes, and the last gauge may be from two minutes before.
const PAGED_WAIT: SignedDuration = SignedDuration::from_mins(13);

/// Whether the alarm `messages-waiting` was raised for a wait that ends now: `PAGED_WAIT` of it
/// was in the gauge. `quiet_since` is when the quiet hours began that hold what waits. The gauge
/// does not show it in them.
pub fn was_paged(waiting_since: Timestamp, quiet_since: Option<Timestamp>, now: Timestamp) -> bool {
    quiet_since.unwrap_or(now).duration_since(waiting_since) >= PAGED_WAIT
}

impl DestinationKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Crm, Self::Target];

    /// The value of the dimension `Kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Target => "target",
        }
    }
}

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measurement {
    /// From the submission of a form until the provider accepts the first touch, without quiet
    /// hours.
    FirstTouchSeconds,
    /// From the acceptance of a message until its arrival at the phone, as the phone reports it.
    DeliverySeconds,
}

impl Measurement {
    /// The name in CloudWatch.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstTouchSeconds => "first_touch_seconds",
            Self::DeliverySeconds => "delivery_seconds",
        }
    }

    /// The unit, as CloudWatch calls it.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::FirstTouchSeconds | Self::DeliverySeconds => "Seconds",
        }
    }
}

/// The crates that log at `LOG_LEVEL`. Libraries log warnings only, because the AWS SDK's traces
/// quote whole responses, secrets included.
const OUR_CRATES: [&str; 6] = [
    "tellonce_core",
    "webhook_receiver",
    "order_notifier",
    "reminder_scheduler",
    "lead_first_touch",
    "conversation_sync",
];

/// The time of a log line.
///
/// Lambda takes the level of a line only if the line has a valid time as well. Otherwise it counts
/// as `INFO`. Source: docs.aws.amazon.com, AWS Lambda Developer Guide, "Log-level filtering".
struct LogTime(Clock);

impl FormatTime for LogTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write_log_time(writer, self.0.now())
    }
}

/// Writes a time as RFC 3339 in UTC, with milliseconds.
fn write_log_time(writer: &mut impl fmt::Write, time: Timestamp) -> fmt::Result {
    write!(writer, "{time:.3}")
}

/// Starts logging: JSON on standard output, at the level that `LOG_LEVEL` names (`info` when it
/// names none).
pub fn start_logging() {
    let level = crate::bootstrap::read_variable("LOG_LEVEL").and_then(|level| level.parse().ok());
    let level = level.unwrap_or(LevelFilter::INFO);
    let targets =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(OUR_CRATES.map(|name| (name, level)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_timer(LogTime(Clock::from_environment()))
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    // A second start in one process (tests) keeps the first subscriber.
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging was already started");
    }
}

/// Counts an event of a client.
pub fn count_metric(client: &str, metric: Metric, now: Timestamp) {
    let reason = metric.attention_reason();
    let properties = reason.map(|reason| ("reason".to_owned(), json!(reason))).into_iter().collect();
    write_line(&metric_line(client, None, (metric.name(), "Count"), &json!(1), properties, now));
}

/// Records a measured value of a client.
pub fn record_measurement(client: &str, measure: Measurement, value: f64, now: Timestamp) {
    write_line(&metric_line(client, None, (measure.name(), measure.unit()), &json!(value), Map::new(), now));
}

/// Writes the value of a gauge. `properties` explain the value, and hold no personal data. They are
/// in the log line only.
pub fn write_gauge(client: &str, gauge: Gauge, value: i64, properties: &[(&str, Value)], now: Timestamp) {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let metric = (gauge.name(), gauge.unit());
    write_line(&metric_line(client, gauge.destination_kind(), metric, &json!(value), properties, now));
}

/// The line of one metric: its name and unit, its value, and members that are no metrics.
fn metric_line(
    client: &str,
    kind: Option<DestinationKind>,
    (name, unit): (&str, &str),
    value: &Value,
    properties: Map<String, Value>,
    now: Timestamp,
) -> Value {
    let mut line = properties;
    let mut dimensions = vec!["Client"];
    line.insert("Client".to_owned(), json!(client));
    if let Some(kind) = kind {
        dimensions.push("Kind");
        line.insert("Kind".to_owned(), json!(kind.name()));
    }
    line.insert(name.to_owned(), value.clone());
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [dimensions],
                "Metrics": [{ "Name": name, "Unit": unit }],
            }],
        }),
    );
    Value::Object(line)
}

fn write_line(line: &Value) {
    // A closed standard output must not stop a message.
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        tracing::debug!("could not write a metric");
    }
}

/// A name from outside, safe for logs: at most 60 characters of `A-Z a-z 0-9 . _ / : -`, others
/// become `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLabel(String);

impl LogLabel {
    /// Makes a name safe for logs.
    pub fn new(text: &str) -> Self {
        let fit = |c: char| if c.is_ascii_alphanumeric() || "._/:-".contains(c) { c } else { '?' };
        Self(text.chars().take(60).map(fit).collect())
    }
}

impl fmt::Display for LogLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_log_line_has_three_digits_of_a_second_and_is_utc() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_979_835_120, "2026-11-29T19:17:15.120Z"),
            (1_795_979_835_009, "2026-11-29T19:17:15.009Z"),
        ] {
            let mut text = String::new();
            write_log_time(&mut text, Timestamp::from_millisecond(millis).unwrap()).unwrap();
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_wait_counts_as_paged_after_the_alarm_was_raised_for_it() {
        let template = include_str!("../../template.yaml");
        let (_, alarm) = template.split_once("MetricName: oldest_due_seconds\n").unwrap();
        let threshold: i64 = alarm.split_once("Threshold: ").unwrap().1.lines().next().unwrap().parse().unwrap();
        // The gauge of a minute is written more than a minute before the next sweep ends.
        assert!(PAGED_WAIT >= SignedDuration::from_secs(threshold) + SignedDuration::from_mins(3));
        let at_minute = |minute| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let paged = |quiet: Option<i64>, now| was_paged(at_minute(0), quiet.map(at_minute), at_minute(now));
        assert_eq!((paged(None, 12), paged(None, 13)), (false, true));
        assert_eq!((paged(Some(12), 90), paged(Some(13), 90), paged(Some(-5), 90)), (false, true, false));
    }

    fn line(kind: Option<DestinationKind>, name: &str, unit: &str, property: (&str, Value)) -> Value {
        let properties = Map::from_iter([(property.0.to_owned(), property.1)]);
        metric_line("acme", kind, (name, unit), &json!(7), properties, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_metric_line_names_its_dimensions_and_keeps_its_reason_out_of_them() {
        let attention = line(None, ATTENTION, "Count", ("reason", json!("expired")));
        let expected = json!({
            "_aws": { "Timestamp": 0, "CloudWatchMetrics": [{
                "Namespace": "tellonce", "Dimensions": [["Client"]], "Metrics": [{ "Name": "attention", "Unit": "Count" }],
            }] },
            "Client": "acme", "attention": 7, "reason": "expired",
        });
        assert_eq!(attention, expected);
        let gauge = Gauge::OldestTaskSeconds(DestinationKind::Crm);
        let tasks = line(gauge.destination_kind(), gauge.name(), gauge.unit(), ("reasons", json!(["crm:sales: 503"])));
        assert_eq!(tasks["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Client", "Kind"]]));
        assert_eq!(
            (&tasks["Kind"], &tasks["oldest_task_seconds"], &tasks["reasons"][0]),
            (&json!("crm"), &json!(7), &json!("crm:sales: 503"))
        );
    }
}
