//! The messages about orders: who reports what they wait for, and until when they are worth saying.

use jiff::SignedDuration;

use super::{Findings, stores::can_report, texts};
use crate::{
    client_config::{ClientConfig, MessageRule, QuietHours},
    wording::Topic,
};

/// When it is too late to say something, and why.
pub(super) struct TooLate {
    /// After so many days.
    pub(super) days: i64,
    /// What it is by then.
    pub(super) is: &'static str,
    /// How long is long enough.
    pub(super) plenty: &'static str,
}

/// Of news about an order.
const OLD_NEWS: TooLate = TooLate {
    days: 14,
    is: "hardly news any more",
    plenty: "think of a customer who hears it after a long outage; 14 days are plenty",
};

pub(super) fn look(config: &ClientConfig, findings: &mut Findings<'_>) {
    if config.messages.is_empty() && !config.stores.is_empty() {
        findings.warn(&[], "there is no message, so nothing of an order will ever be told", "add [messages.ready]");
    }
    // A client who has none at all has been told so already.
    let has_senders = !config.stores.is_empty() || !config.calendars.is_empty() || !config.forms.is_empty();
    for (milestone, rule) in &config.messages {
        let name = milestone.name();
        if has_senders && !config.stores.values().any(|it| can_report(it).contains(milestone)) {
            let remedy = "map a status or event of a store to it, or remove the message";
            findings.warn(&["messages", name], format!("no store ever reports `{name}`"), remedy);
        }
        timing(config, rule, &["messages", name], &OLD_NEWS, findings);
        texts::priority(rule.priority, &["messages", name], findings);
        texts::look(config, Topic::Order, &["messages", name], rule.texts(), findings);
    }
}

/// Looks at until when something is worth saying, by the keys that lead to its rule.
pub(super) fn timing(
    config: &ClientConfig,
    rule: &MessageRule,
    at: &[&str],
    too_late: &TooLate,
    findings: &mut Findings<'_>,
) {
    let path = [at, &["useful_for"]].concat();
    let span = rule.useful_for.0;
    if span.as_hours() / 24 >= i64::from(config.keep.ledger_days) {
        let what = "a message that waits so long is forgotten before it is sent";
        findings.error(
            &path,
            what,
            format!("make it shorter than keep.ledger_days ({} days)", config.keep.ledger_days),
        );
    } else if span > SignedDuration::from_hours(too_late.days * 24) {
        let what = format!("after {} days this is {}", span.as_hours() / 24, too_late.is);
        findings.warn(&path, what, too_late.plenty);
    }
    texts::lasts(span, &path, findings);
    if let Some(hours) = config.quiet_hours
        && !rule.even_in_quiet_hours
        && span <= length(hours)
    {
        findings.warn(
            &path,
            "what happens when the quiet hours begin is no longer useful when they end, and is told to nobody",
            "make it longer than the quiet hours, or write even_in_quiet_hours = true",
        );
    }
}

fn length(hours: QuietHours) -> SignedDuration {
    let day = SignedDuration::from_hours(24);
    let span = hours.to.0.duration_since(hours.from.0);
    if span.is_negative() { span + day } else { span }
}
