//! What is made of line events: who is told of messages, when the team is called, and what takes somebody off the list.

use std::collections::BTreeSet;

use super::{FindingCollector, client, crms, escalations, is_plain_name, targets, words};
use tellonce_core::client_config::ClientConfig;

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

/// Whether anything at all is reported of a line: without it nobody is told, called or taken off.
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
            findings.add_error(&[table], "no line takes events, so what customers write is never received", remedy);
        }
    }
}

/// A name that is fit for secrets and keys.
pub(super) fn check_name(table: &str, name: &str, what: &str, findings: &mut FindingCollector<'_>) {
    if !is_plain_name(name, 40) {
        findings.add_error(
            &[table, name],
            format!("`{name}` cannot be the name of {what}: it becomes part of the names of secrets and keys"),
            "use lower-case letters, digits, `-` and `_`, at most 40",
        );
    }
}

/// Lines that something is limited to: they exist, take events, and are there once.
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
            findings.add_warning(path, format!("`{name}` is there twice"), "remove one of them");
        }
        // That none does has been said once for all.
        let others = config.lines.values().any(|line| line.events);
        if others && config.lines.get(name).is_some_and(|line| !line.events) {
            let what = format!("the line `{name}` takes no events, so nothing is received from it");
            findings.add_error(path, what, format!("write events = true in [lines.{name}], or remove it here"));
        }
    }
}

fn check_business_hours(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    for hours in &config.business_hours {
        if hours.days.is_empty() {
            let remedy = "name them: days = [\"sun\", \"mon\"]; or remove these hours";
            findings.add_error(&["business_hours"], "business hours of no day", remedy);
        }
        if hours.days.iter().enumerate().any(|(place, day)| hours.days[..place].contains(day)) {
            findings.add_warning(&["business_hours"], "a day is there twice", "remove one of them");
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
