//! The settings that use line events: CRMs, targets, escalations, business hours and opt-out.

use std::collections::BTreeSet;

use super::{FindingCollector, client, crms, escalations, targets, words};
use tellonce_core::client_config::{ClientConfig, is_plain_name};

pub(super) fn check_conversations(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    check_events_enabled(config, findings);
    for (name, crm) in &config.crms {
        crms::check_crm(config, name, crm, findings);
    }
    for (name, target) in &config.targets {
        targets::check_target(config, name, target, findings);
    }
    for (name, escalation) in &config.escalations {
        escalations::check_escalation(config, name, escalation, findings);
    }
    check_business_hours(config, findings);
    words::check_opt_out_words(config, findings);
}

/// Reports settings that need line events if no line has `events = true`.
fn check_events_enabled(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    if config.lines.values().any(|line| line.events) {
        return;
    }
    let remedy = "write events = true in [lines.…], and register the address with `tellonce webhook register`";
    for (table, there) in [
        ("crms", !config.crms.is_empty()),
        ("escalations", !config.escalations.is_empty()),
        ("opt_out", !config.opt_out.is_empty()),
    ] {
        if there {
            findings.add_error(&[table], "no line accepts events, so messages of customers are not received", remedy);
        }
    }
}

/// Reports a name that cannot be part of secrets and keys.
pub(super) fn check_name(table: &str, name: &str, what: &str, findings: &mut FindingCollector<'_>) {
    if !is_plain_name(name, 40) {
        findings.add_error(
            &[table, name],
            format!("`{name}` cannot be the name of {what}: it becomes part of the names of secrets and keys"),
            "use lower-case letters, digits, `-` and `_`, at most 40",
        );
    }
}

/// Checks a list of lines: each exists, has `events = true`, and is listed once.
pub(super) fn check_line_list(
    config: &ClientConfig,
    lines: &[String],
    path: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    let mut seen = BTreeSet::new();
    for name in lines {
        client::check_line_exists(config, name, path, findings);
        if !seen.insert(name) {
            findings.add_warning(path, format!("`{name}` is listed twice"), "remove one of them");
        }
        // If no line has events, [`check_events_enabled`] reports it once.
        let others = config.lines.values().any(|line| line.events);
        if others && config.lines.get(name).is_some_and(|line| !line.events) {
            let what = format!("the line `{name}` does not accept events, so no message is received from it");
            findings.add_error(path, what, format!("write events = true in [lines.{name}], or remove it here"));
        }
    }
}

fn check_business_hours(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    for hours in &config.business_hours {
        if hours.days.is_empty() {
            let remedy = "name them: days = [\"sun\", \"mon\"]; or remove these hours";
            findings.add_error(&["business_hours"], "the business hours have no day", remedy);
        }
        if hours.days.iter().enumerate().any(|(place, day)| hours.days[..place].contains(day)) {
            findings.add_warning(&["business_hours"], "a day is listed twice", "remove one of them");
        }
        if hours.from >= hours.to {
            findings.add_error(
                &["business_hours"],
                "business hours end before they begin",
                "write a `to` that is later than `from`; hours over midnight are two entries, the second on the next day",
            );
        }
    }
}
