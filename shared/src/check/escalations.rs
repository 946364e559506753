//! The escalations: when the team is called, who, how often, and what the customer is answered.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{Findings, conversations, instead, stores::can_report, texts, words};
use crate::{
    client_config::{Acknowledgement, ClientConfig, Escalation, Milestone, Span, Trigger},
    wording::Topic,
};

/// For how long one call may stand for others, and how long somebody can be without an answer.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// An answer at once that comes later than this is none.
const AT_ONCE: SignedDuration = SignedDuration::from_hours(2);

pub(super) fn look(config: &ClientConfig, name: &str, escalation: &Escalation, findings: &mut Findings<'_>) {
    let at = |field: &'static str| ["escalations", name, field];
    conversations::named("escalations", name, "an escalation", findings);
    conversations::lines(config, &escalation.lines, &at("lines"), findings);
    called(config, escalation, &at("to"), findings);
    if escalation.within.0 > LONGEST {
        let remedy = "write \"1m\" to \"7d\"; \"4h\" is usual";
        findings.error(&at("within"), "one call stands for those that follow for seven days at most", remedy);
    }
    trigger(config, name, &escalation.when, findings);
    if let Some(rule) = &escalation.acknowledge {
        acknowledge(config, name, &escalation.when, rule, findings);
    }
}

fn called(config: &ClientConfig, escalation: &Escalation, path: &[&str], findings: &mut Findings<'_>) {
    if escalation.to.is_empty() {
        findings.error(path, "nobody is called", "name a target, like to = [\"team\"]");
    }
    let mut seen = BTreeSet::new();
    for name in &escalation.to {
        if !config.targets.contains_key(name) {
            let what = format!("there is no target `{name}`");
            findings.error(path, what, instead(name, config.targets.keys().map(String::as_str)));
        }
        if !seen.insert(name) {
            findings.warn(path, format!("`{name}` is there twice"), "remove one of them");
        }
    }
}

fn trigger(config: &ClientConfig, name: &str, when: &Trigger, findings: &mut Findings<'_>) {
    let path = ["escalations", name, "when"];
    let no_hours = config.business_hours.is_empty();
    match when {
        Trigger::Words(by_language) => {
            words::calling(config, by_language, &["escalations", name, "when", "words"], findings);
        }
        Trigger::AfterHours if no_hours => findings.error(
            &path,
            "there are no business hours, so nothing is ever after them",
            "add [[business_hours]] with days, from and to",
        ),
        Trigger::Unanswered(Span(span)) => {
            if *span > LONGEST {
                let what = "whoever has waited for more than seven days is not waiting any more";
                findings.error(&path, what, "write \"1m\" to \"7d\"; \"15m\" is usual");
            }
            if no_hours {
                findings.warn(
                    &path,
                    "there are no business hours, so the team is called for whoever writes at night as well",
                    "add [[business_hours]], unless somebody answers at all hours",
                );
            }
        }
        Trigger::Order(milestones) => orders(config, milestones, &path, findings),
        Trigger::Appointment(states) => {
            once_each(states, "state of an appointment", "[\"booked\"]", &path, findings);
            if config.calendars.is_empty() {
                let what = "there is no calendar, so nobody has an appointment that we know of";
                findings.warn(&path, what, "add [calendars.…], or choose another `when`");
            }
        }
        Trigger::FirstMessage | Trigger::AfterHours | Trigger::FailedDelivery => {}
    }
}

fn orders(config: &ClientConfig, milestones: &[Milestone], path: &[&str], findings: &mut Findings<'_>) {
    once_each(milestones, "milestone", "[\"cancelled\"]", path, findings);
    let reported = |milestone: &Milestone| config.stores.values().any(|it| can_report(it).contains(milestone));
    for milestone in milestones.iter().filter(|milestone| !reported(milestone)) {
        let what = format!("no store ever reports `{}`", milestone.name());
        findings.warn(path, what, "map a status or event of a store to it, or remove it");
    }
}

/// A list that is not empty and names nothing twice.
fn once_each<T: PartialEq>(list: &[T], what: &str, like: &str, path: &[&str], findings: &mut Findings<'_>) {
    if list.is_empty() {
        findings.error(
            path,
            format!("there is no {what}, so nobody is ever called"),
            format!("write one, like {like}"),
        );
    }
    if list.iter().enumerate().any(|(place, one)| list[..place].contains(one)) {
        findings.warn(path, format!("a {what} is there twice"), "remove one of them");
    }
}

/// What is answered at once, and whether there is anything to answer.
fn acknowledge(config: &ClientConfig, name: &str, when: &Trigger, rule: &Acknowledgement, findings: &mut Findings<'_>) {
    let at = ["escalations", name, "acknowledge"];
    let path = ["escalations", name, "acknowledge", "useful_for"];
    let Span(useful) = rule.useful_for;
    match when {
        Trigger::FailedDelivery => {
            let what = "nobody wrote when a delivery failed, so there is nothing to answer";
            findings.error(&at, what, "remove it");
        }
        Trigger::Unanswered(_) => {
            let what = "an answer that nobody wrote to whoever has waited says just that";
            findings.error(&at, what, "remove it; answer at once, with an escalation by words or after hours");
        }
        Trigger::Words(_)
        | Trigger::FirstMessage
        | Trigger::AfterHours
        | Trigger::Order(_)
        | Trigger::Appointment(_) => {
            if useful > AT_ONCE {
                let what = "an answer that may come hours later tells somebody that we have just noticed";
                findings.warn(&path, what, "write at most 2h; 15m is usual");
            }
        }
    }
    texts::look(config, Topic::Conversation, &at, rule.texts(), findings);
}
