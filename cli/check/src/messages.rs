//! The messages about orders: the stores that report them, and how long they are useful.

use jiff::SignedDuration;

use super::{FindingCollector, texts};
use tellonce_core::{
    client_config::{ClientConfig, MessageRule, QuietHours, QuietHoursRule},
    wording::TemplateTopic,
};

/// When a message is too late to be useful.
pub(super) struct LatenessRule {
    /// The message is too late after this number of days.
    pub(super) days: i64,
    /// Says in the finding what the message is by then.
    pub(super) description: &'static str,
    /// Says in the finding which value is usual.
    pub(super) advice: &'static str,
}

/// For messages about an order.
const ORDER_MESSAGE_LATENESS: LatenessRule = LatenessRule {
    days: 14,
    description: "too late to be useful",
    advice: "a customer may receive it after a long outage; 14 days are the most that make sense",
};

pub(super) fn check_messages(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    if config.messages.is_empty() && !config.stores.is_empty() {
        findings.add_warning(&[], "there is no message, so no order update is ever sent", "add [messages.ready]");
    }
    // A client without any sender has a finding already.
    let has_senders = !config.stores.is_empty() || !config.calendars.is_empty() || !config.forms.is_empty();
    for (milestone, rule) in &config.messages {
        let name = milestone.name();
        if has_senders && !config.stores.values().any(|it| it.kind.reportable_milestones().contains(milestone)) {
            let remedy = "map a status or event of a store to it, or remove the message";
            findings.add_warning(&["messages", name], format!("no store ever reports `{name}`"), remedy);
        }
        check_useful_for(config, rule, &["messages", name], &ORDER_MESSAGE_LATENESS, findings);
        texts::check_priority(rule.priority, &["messages", name], findings);
        texts::check_templates(config, TemplateTopic::Order, &["messages", name], rule.templates(), findings);
    }
}

/// Checks how long a message is useful. `at` is the keys that lead to its rule.
pub(super) fn check_useful_for(
    config: &ClientConfig,
    rule: &MessageRule,
    at: &[&str],
    too_late: &LatenessRule,
    findings: &mut FindingCollector<'_>,
) {
    let path = [at, &["useful_for"]].concat();
    let span = rule.useful_for.0;
    if span.as_hours() / 24 >= i64::from(config.retention.ledger_days) {
        let what = "a message that waits so long is forgotten before it is sent";
        findings.add_error(
            &path,
            what,
            format!("make it shorter than retention.ledger_days ({} days)", config.retention.ledger_days),
        );
    } else if span > SignedDuration::from_hours(too_late.days * 24) {
        let what = format!("after {} days this is {}", span.as_hours() / 24, too_late.description);
        findings.add_warning(&path, what, too_late.advice);
    }
    texts::check_minimum_duration(span, &path, findings);
    if rule.quiet_hours == QuietHoursRule::Before {
        findings.add_error(
            &[at, &["quiet_hours"]].concat(),
            "only a reminder can be sent before the quiet hours: its time is known in advance",
            "write quiet_hours = \"wait\" or quiet_hours = \"ignore\"",
        );
    }
    if let Some(hours) = config.quiet_hours
        && rule.quiet_hours != QuietHoursRule::Ignore
        && span <= quiet_hours_length(hours)
    {
        findings.add_warning(
            &path,
            "a message from the start of the quiet hours expires before they end and is never sent",
            "make it longer than the quiet hours, or write quiet_hours = \"ignore\"",
        );
    }
}

fn quiet_hours_length(hours: QuietHours) -> SignedDuration {
    let day = SignedDuration::from_hours(24);
    let span = hours.to.0.duration_since(hours.from.0);
    if span.is_negative() { span + day } else { span }
}
