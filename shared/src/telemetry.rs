//! Logs and metrics: JSON lines on standard output.
//!
//! Metrics are CloudWatch's embedded metric format (a log line with an `_aws` member), in the
//! namespace [`NAMESPACE`] with the dimension `Client`. They need no request and no agent.
//! Source: docs.aws.amazon.com, "Specification: Embedded metric format".
//!
//! Promises: logs carry ids and keys, never a body, a token, a phone number, a name or an address.
//! The types that hold such values mask themselves.

use std::{fmt, io::Write};

use jiff::Timestamp;
use serde_json::json;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
};

use crate::clock::Clock;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "tellonce";

/// A counter. `docs/operations.md` lists all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The provider accepted a message.
    MessagesAccepted,
    /// A message waits until a time.
    MessagesHeld,
    /// A message is no longer useful.
    MessagesExpired,
    /// A person must find out whether a message arrived.
    MessagesNeedingHuman,
    /// A message's outcome is unknown.
    MessagesUnknown,
    /// The provider refused a message for good.
    SendRefused,
    /// A line could not send.
    LineUnsendable,
    /// A line's token was refused.
    LineUnauthorized,
    /// A payload differs from the one stored under the same key.
    PayloadConflict,
    /// A delivery was verified and could not be parsed.
    DeliveriesQuarantined,
    /// A reminder was due, and its text could not be made.
    RemindersIncomplete,
    /// A feed changed in a way too unlikely to act on.
    FeedSuspect,
    /// A feed could not be fetched or read.
    FeedUnreadable,
    /// A lead waits for an operator because its form had too many, or a message waits for the next
    /// day because its line wrote to too many new people.
    LeadsHeld,
    /// A lead that was greeted before submitted again, and the client handles repeats in person.
    LeadsEscalated,
    /// A message that was accepted could not be delivered.
    MessagesFailed,
    /// A CRM or a target refused the credential.
    DestinationUnauthorized,
    /// A CRM or a target is unavailable. Its tasks wait.
    DestinationUnavailable,
    /// A CRM or a target refused a task for good.
    TasksRefused,
}

impl Metric {
    /// The name in CloudWatch.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessagesAccepted => "messages_accepted",
            Self::MessagesHeld => "messages_held",
            Self::MessagesExpired => "messages_expired",
            Self::MessagesNeedingHuman => "messages_needing_human",
            Self::MessagesUnknown => "messages_unknown",
            Self::SendRefused => "send_refused",
            Self::LineUnsendable => "line_unsendable",
            Self::LineUnauthorized => "line_unauthorized",
            Self::PayloadConflict => "payload_conflict",
            Self::DeliveriesQuarantined => "deliveries_quarantined",
            Self::RemindersIncomplete => "reminders_incomplete",
            Self::FeedSuspect => "feed_suspect",
            Self::FeedUnreadable => "feed_unreadable",
            Self::LeadsHeld => "leads_held",
            Self::LeadsEscalated => "leads_escalated",
            Self::MessagesFailed => "messages_failed",
            Self::DestinationUnauthorized => "destination_unauthorized",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::TasksRefused => "tasks_refused",
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

/// Adds one to a counter of a client.
pub fn count_metric(client: &str, metric: Metric, now: Timestamp) {
    write_metric(client, metric.name(), "Count", &json!(1), now);
}

/// Records a measured value of a client.
pub fn record_measurement(client: &str, measure: Measurement, value: f64, now: Timestamp) {
    write_metric(client, measure.name(), measure.unit(), &json!(value), now);
}

/// Publishes a gauge of a client: a value that describes the minute of `now`. The unit follows from
/// the name: seconds if it ends in `_seconds`, else a count. `properties` are in the log line only.
pub fn write_gauge(
    client: &str,
    name: &str,
    dimensions: &[(&str, &str)],
    value: i64,
    properties: &[(&str, &str)],
    now: Timestamp,
) {
    let dimension_names: Vec<&str> =
        std::iter::once("Client").chain(dimensions.iter().map(|(name, _)| *name)).collect();
    let unit = if name.ends_with("_seconds") { "Seconds" } else { "Count" };
    let mut line = build_metric_line(client, &dimension_names, name, unit, &json!(value), now);
    for (name, value) in dimensions.iter().chain(properties) {
        line[*name] = json!(value);
    }
    write_line(name, &line);
}

fn write_metric(client: &str, name: &str, unit: &str, value: &serde_json::Value, now: Timestamp) {
    write_line(name, &build_metric_line(client, &["Client"], name, unit, value, now));
}

fn build_metric_line(
    client: &str,
    dimension_names: &[&str],
    name: &str,
    unit: &str,
    value: &serde_json::Value,
    now: Timestamp,
) -> serde_json::Value {
    json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [dimension_names],
                "Metrics": [{ "Name": name, "Unit": unit }],
            }],
        },
        "Client": client,
        name: value,
    })
}

fn write_line(name: &str, line: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    // A closed standard output must not stop a message.
    if writeln!(out, "{line}").is_err() {
        tracing::debug!("could not write metric {name}");
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
}
