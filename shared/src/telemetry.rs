//! Logs and metrics: JSON lines on standard output.
//!
//! Logs carry ids and keys, never a body, a token, a phone number, a name or an address; the types that hold such
//! things mask themselves. Metrics are CloudWatch's embedded metric format (a log line with an `_aws` member), in the
//! namespace [`NAMESPACE`] with the dimension `StackClient`: no request, no agent.
//! Source: docs.aws.amazon.com, "Specification: Embedded metric format".

use std::{fmt, io::Write};

use jiff::Timestamp;
use serde_json::json;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
};

/// The namespace of all our metrics.
pub const NAMESPACE: &str = "tellonce";

/// Something counted. One line of the list in `docs/operations.md` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// A message was accepted by `EZWhatsApp`.
    MessagesAccepted,
    /// A message waits for a time.
    MessagesHeld,
    /// A message outlived its use.
    MessagesExpired,
    /// Nobody but a human can say what became of a message.
    MessagesNeedingHuman,
    /// A message's outcome is unknown and is looked into.
    MessagesUnknown,
    /// `EZWhatsApp` refused a message for good.
    SendRefused,
    /// A line could not send.
    LineUnsendable,
    /// A line's token was refused.
    LineUnauthorized,
    /// Another text under an idempotency key that was used before.
    PayloadConflict,
    /// A delivery was verified and not understood.
    DeliveriesQuarantined,
    /// A reminder fell due of which no text could be made.
    RemindersIncomplete,
    /// A feed says something too unlikely to act on.
    FeedSuspect,
    /// A feed could not be fetched or read.
    FeedUnreadable,
    /// A lead waits for a human, because its form had too many.
    LeadsHeld,
    /// Somebody who was greeted already left their number again, and the client wants to see to it.
    LeadsEscalated,
    /// A message that was accepted could not be delivered.
    MessagesFailed,
    /// A CRM or a target does not accept our credential.
    CrmUnauthorized,
    /// A CRM or a target does not work now; what is for it waits.
    CrmUnavailable,
    /// A CRM or a target refused something for good.
    EntriesRefused,
}

impl Metric {
    /// Its name in CloudWatch.
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
            Self::CrmUnauthorized => "destination_unauthorized",
            Self::CrmUnavailable => "destination_unavailable",
            Self::EntriesRefused => "tasks_refused",
        }
    }
}

/// Something measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measurement {
    /// From the submission of a form to its first touch being accepted by `EZWhatsApp`; quiet hours are left out.
    FirstTouchSeconds,
    /// From a message being accepted by `EZWhatsApp` to its arrival at the phone, by the phone's report.
    DeliverySeconds,
}

impl Measurement {
    /// Its name in CloudWatch.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstTouchSeconds => "first_touch_seconds",
            Self::DeliverySeconds => "delivery_seconds",
        }
    }

    /// Its unit, as CloudWatch calls it.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::FirstTouchSeconds | Self::DeliverySeconds => "Seconds",
        }
    }
}

/// The crates whose words `LOG_LEVEL` turns up. Libraries stay at warnings: the AWS SDK's traces quote whole answers,
/// secrets included.
const OUR_CRATES: [&str; 6] = [
    "tellonce_core",
    "webhook_receiver",
    "order_notifier",
    "reminder_scheduler",
    "lead_first_touch",
    "conversation_sync",
];

/// Starts logging: JSON on standard output, at the level that `LOG_LEVEL` names (`info` when it names none).
///
/// Times are left out: CloudWatch gives every line its own.
pub fn start_logging() {
    let level = crate::bootstrap::read_variable("LOG_LEVEL").and_then(|level| level.parse().ok());
    let level = level.unwrap_or(LevelFilter::INFO);
    let targets =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(OUR_CRATES.map(|name| (name, level)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .without_time()
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    // A second start in one process (tests) keeps the first subscriber.
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging had already been started");
    }
}

/// Counts something once, for one client.
pub fn count_metric(client: &str, metric: Metric, now: Timestamp) {
    write_metric(client, metric.name(), "Count", &json!(1), now);
}

/// Writes down what something measured, for one client.
pub fn record_measurement(client: &str, measure: Measurement, value: f64, now: Timestamp) {
    write_metric(client, measure.name(), measure.unit(), &json!(value), now);
}

fn write_metric(client: &str, name: &str, unit: &str, value: &serde_json::Value, now: Timestamp) {
    let line = json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["Client"]],
                "Metrics": [{ "Name": name, "Unit": unit }],
            }],
        },
        "Client": client,
        name: value,
    });
    let mut out = std::io::stdout().lock();
    // A closed standard output must not cost a customer their message.
    if writeln!(out, "{line}").is_err() {
        tracing::debug!("a metric could not be written");
    }
}

/// A name from outside, made fit for records: at most 60 characters of `A-Z a-z 0-9 . _ / : -`, others shown as `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLabel(String);

impl LogLabel {
    /// Makes a name fit for records.
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
