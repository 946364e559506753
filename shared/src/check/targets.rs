//! The targets: where the team is called.

use std::collections::BTreeSet;

use super::{Findings, conversations, crms};
use crate::client_config::{ClientConfig, Target, TargetKind};

/// The most that SES takes for one message: <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>.
const MOST_RECIPIENTS: usize = 50;

pub(super) fn look(config: &ClientConfig, name: &str, target: &Target, findings: &mut Findings<'_>) {
    let at = |field: &'static str| ["targets", name, field];
    conversations::named("targets", name, "a target", findings);
    if !config.escalations.values().any(|escalation| escalation.to.iter().any(|to| to == name)) {
        let remedy = "name it in an escalation's `to`, or remove it";
        findings.warn(&["targets", name], "no escalation calls this target", remedy);
    }
    match &target.kind {
        TargetKind::Slack | TargetKind::Teams => {}
        TargetKind::Email { from, to } => email(from, to, &at("from"), &at("to"), findings),
        TargetKind::Sns { topic_arn } => sns(topic_arn, &at("topic_arn"), findings),
        TargetKind::Webhook { url } => crms::address(url, &at("url"), findings),
    }
}

fn email(from: &str, to: &[String], from_path: &[&str], to_path: &[&str], findings: &mut Findings<'_>) {
    let remedy = "write it like \"team@acme.co.il\", without a name beside it";
    if !is_email(from) {
        findings.error(from_path, "who writes is no e-mail address", remedy);
    }
    if to.is_empty() {
        findings.error(to_path, "nobody is written to", "add at least one address");
    } else if to.len() > MOST_RECIPIENTS {
        let what = format!("{} addresses are more than one message can have", to.len());
        findings.error(to_path, what, "write at most 50; one address of a group is better");
    }
    let mut seen = BTreeSet::new();
    for address in to {
        // Not repeated: what finds errors may end up in a log.
        if !is_email(address) {
            findings.error(to_path, "one of those who are written to is no e-mail address", remedy);
        } else if !seen.insert(address.to_ascii_lowercase()) {
            findings.warn(to_path, "one of the addresses is there twice", "remove one of them");
        }
    }
}

/// Whether SES could take it: ASCII, one `@`, a domain of two labels or more.
/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Destination.html>
fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let in_local = |byte: u8| byte.is_ascii_graphic() && !b"@<>()[],;:\\\"".contains(&byte);
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (1..=64).contains(&local.len())
        && local.bytes().all(in_local)
        && domain.contains('.')
        && domain.split('.').all(label)
}

/// <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>
fn sns(arn: &str, path: &[&str], findings: &mut Findings<'_>) {
    let name = |name: &str| {
        let name = name.strip_suffix(".fifo").unwrap_or(name);
        (1..=256).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let fits = match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "sns", region, account, topic] => {
            partition.starts_with("aws")
                && region.split('-').count() >= 3
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && name(topic)
        }
        _ => false,
    };
    if !fits {
        findings.error(
            path,
            "this is not the ARN of a topic",
            "copy it from SNS, Topics: \"arn:aws:sns:eu-central-1:111122223333:acme-team\"",
        );
    }
}
