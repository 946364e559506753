//! The escalations: triggers, targets, cooldowns and acknowledgements.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    FindingCollector, line_list,
    names::{check_name, suggest_name},
    texts, words,
};
use tellonce_core::{
    client_config::{AcknowledgementRule, ClientConfig, EscalationRule, EscalationTrigger, Milestone, TimeSpan},
    wording::TemplateTopic,
};

/// The longest cooldown, and the longest time without a reply that triggers an alert.
const MAX_COOLDOWN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// An acknowledgement after this time is useless.
const MAX_ACKNOWLEDGEMENT_AGE: SignedDuration = SignedDuration::from_hours(2);

pub(super) fn check_escalation(
    config: &ClientConfig,
    name: &str,
    escalation: &EscalationRule,
    findings: &mut FindingCollector<'_>,
) {
    let at = |field: &'static str| ["escalations", name, field];
    check_name(["escalations", name], "an escalation", "the names of secrets and keys", findings);
    line_list::check_line_list(config, &escalation.lines, &at("lines"), findings);
    check_targets(config, escalation, &at("to"), findings);
    if escalation.cooldown.0 > MAX_COOLDOWN {
        let remedy = "write \"1m\" to \"7d\"; \"4h\" is usual";
        findings.add_error(&at("cooldown"), "a cooldown lasts seven days at most", remedy);
    }
    check_trigger(config, name, &escalation.when, findings);
    if let Some(rule) = &escalation.acknowledge {
        check_acknowledgement(config, name, &escalation.when, rule, findings);
    }
}

fn check_targets(
    config: &ClientConfig,
    escalation: &EscalationRule,
    path: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    if escalation.to.is_empty() {
        findings.add_error(path, "this escalation alerts no target", "name a target, like to = [\"team\"]");
    }
    let mut seen = BTreeSet::new();
    for name in &escalation.to {
        if !config.targets.contains_key(name) {
            let what = format!("there is no target `{name}`");
            findings.add_error(path, what, suggest_name(name, config.targets.keys().map(String::as_str)));
        }
        if !seen.insert(name) {
            findings.add_warning(path, format!("`{name}` is listed twice"), "remove one of them");
        }
    }
}

fn check_trigger(config: &ClientConfig, name: &str, when: &EscalationTrigger, findings: &mut FindingCollector<'_>) {
    let path = ["escalations", name, "when"];
    let no_hours = config.business_hours.is_empty();
    match when {
        EscalationTrigger::Words(by_language) => {
            words::check_trigger_words(config, by_language, &["escalations", name, "when", "words"], findings);
        }
        EscalationTrigger::AfterHours if no_hours => findings.add_error(
            &path,
            "there are no business hours, so this escalation never applies",
            "add [[business_hours]] with days, from and to",
        ),
        EscalationTrigger::Unanswered(TimeSpan(span)) => {
            if *span > MAX_COOLDOWN {
                let what = "an unanswered customer is watched for seven days at most";
                findings.add_error(&path, what, "write \"1m\" to \"7d\"; \"15m\" is usual");
            }
            if no_hours {
                findings.add_warning(
                    &path,
                    "there are no business hours, so the team is alerted at night as well",
                    "add [[business_hours]], unless the team answers at all hours",
                );
            }
        }
        EscalationTrigger::Order(milestones) => check_order_trigger(config, milestones, &path, findings),
        EscalationTrigger::Appointment(states) => {
            check_unique_list(states, "state of an appointment", "[\"booked\"]", &path, findings);
            if config.calendars.is_empty() {
                let what = "there is no calendar, so no appointment is ever reported";
                findings.add_warning(&path, what, "add [calendars.…], or choose another `when`");
            }
        }
        EscalationTrigger::FirstMessage | EscalationTrigger::AfterHours | EscalationTrigger::FailedDelivery => {}
    }
}

fn check_order_trigger(
    config: &ClientConfig,
    milestones: &[Milestone],
    path: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    check_unique_list(milestones, "milestone", "[\"cancelled\"]", path, findings);
    let reported =
        |milestone: &Milestone| config.stores.values().any(|it| it.kind.reportable_milestones().contains(milestone));
    for milestone in milestones.iter().filter(|milestone| !reported(milestone)) {
        let what = format!("no store ever reports `{}`", milestone.name());
        findings.add_warning(path, what, "map a status or event of a store to it, or remove it");
    }
}

/// Checks a list that must not be empty and should not have duplicates.
fn check_unique_list<T: PartialEq>(
    list: &[T],
    what: &str,
    like: &str,
    path: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    if list.is_empty() {
        findings.add_error(
            path,
            format!("there is no {what}, so the team is never alerted"),
            format!("write one, like {like}"),
        );
    }
    if list.iter().enumerate().any(|(place, one)| list[..place].contains(one)) {
        findings.add_warning(path, format!("a {what} is listed twice"), "remove one of them");
    }
}

/// Checks the text of the acknowledgement, and whether the trigger has a message to acknowledge.
fn check_acknowledgement(
    config: &ClientConfig,
    name: &str,
    when: &EscalationTrigger,
    rule: &AcknowledgementRule,
    findings: &mut FindingCollector<'_>,
) {
    let at = ["escalations", name, "acknowledge"];
    let path = ["escalations", name, "acknowledge", "useful_for"];
    let TimeSpan(useful) = rule.useful_for;
    match when {
        EscalationTrigger::FailedDelivery => {
            let what = "a failed delivery is not a customer message, so there is nothing to acknowledge";
            findings.add_error(&at, what, "remove it");
        }
        EscalationTrigger::Unanswered(_) => {
            let what = "an automatic reply after a long wait only shows that the team has not answered";
            findings.add_error(&at, what, "remove it; answer at once, with an escalation by words or after hours");
        }
        EscalationTrigger::Words(_)
        | EscalationTrigger::FirstMessage
        | EscalationTrigger::AfterHours
        | EscalationTrigger::Order(_)
        | EscalationTrigger::Appointment(_) => {
            if useful > MAX_ACKNOWLEDGEMENT_AGE {
                let what = "an acknowledgement that arrives hours later is useless to the customer";
                findings.add_warning(&path, what, "write at most 2h; 15m is usual");
            }
        }
    }
    texts::check_templates(config, TemplateTopic::Conversation, &at, rule.templates(), findings);
}
