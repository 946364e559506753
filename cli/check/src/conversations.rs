//! The settings that use line events: CRMs, targets, escalations, business hours and opt-out.

use tellonce_core::client_config::ClientConfig;

use super::{FindingCollector, crms, escalations, targets, words};

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
