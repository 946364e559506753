//! What is made of line events: who is told of messages, when the team is called, and what takes somebody off the list.

use std::collections::BTreeSet;

use super::{Findings, client, crms, escalations, is_plain_name, targets, words};
use crate::client_config::ClientConfig;

pub(super) fn look(config: &ClientConfig, findings: &mut Findings<'_>) {
    heard(config, findings);
    for (name, crm) in &config.crms {
        crms::look(config, name, crm, findings);
    }
    for (name, target) in &config.targets {
        targets::look(config, name, target, findings);
    }
    for (name, escalation) in &config.escalations {
        escalations::look(config, name, escalation, findings);
    }
    business_hours(config, findings);
    words::opt_out(config, findings);
}

/// Whether anything at all is reported of a line: without it nobody is told, called or taken off.
fn heard(config: &ClientConfig, findings: &mut Findings<'_>) {
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
            findings.error(&[table], "no line takes events, so nobody hears what customers write", remedy);
        }
    }
}

/// A name that is fit for secrets and keys.
pub(super) fn named(table: &str, name: &str, what: &str, findings: &mut Findings<'_>) {
    if !is_plain_name(name, 40) {
        findings.error(
            &[table, name],
            format!("`{name}` cannot be the name of {what}: it becomes part of the names of secrets and keys"),
            "use lower-case letters, digits, `-` and `_`, at most 40",
        );
    }
}

/// Lines that something is limited to: they exist, take events, and are there once.
pub(super) fn lines(config: &ClientConfig, lines: &[String], path: &[&str], findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for name in lines {
        client::line_exists(config, name, path, findings);
        if !seen.insert(name) {
            findings.warn(path, format!("`{name}` is there twice"), "remove one of them");
        }
        // That none does has been said once for all.
        let others = config.lines.values().any(|line| line.events);
        if others && config.lines.get(name).is_some_and(|line| !line.events) {
            let what = format!("the line `{name}` takes no events, so nothing of it is ever heard");
            findings.error(path, what, format!("write events = true in [lines.{name}], or remove it here"));
        }
    }
}

fn business_hours(config: &ClientConfig, findings: &mut Findings<'_>) {
    for hours in &config.business_hours {
        if hours.days.is_empty() {
            let remedy = "name them: days = [\"sun\", \"mon\"]; or remove these hours";
            findings.error(&["business_hours"], "business hours of no day", remedy);
        }
        if hours.days.iter().enumerate().any(|(place, day)| hours.days[..place].contains(day)) {
            findings.warn(&["business_hours"], "a day is there twice", "remove one of them");
        }
        if hours.from >= hours.to {
            findings.error(
                &["business_hours"],
                "business hours end before they begin",
                "write a `to` that is later than `from`; hours over midnight are two entries, the second on the next day",
            );
        }
    }
}
