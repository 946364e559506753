//! The targets: the addresses of alerts.

use std::collections::BTreeSet;

use super::{FindingCollector, conversations, crms};
use tellonce_core::client_config::{ClientConfig, TargetConfig, TargetKind};

/// Most recipients of one message in SES:
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>.
const MAX_RECIPIENTS: usize = 50;

pub(super) fn check_target(
    config: &ClientConfig,
    name: &str,
    target: &TargetConfig,
    findings: &mut FindingCollector<'_>,
) {
    let at = |field: &'static str| ["targets", name, field];
    conversations::check_name("targets", name, "a target", findings);
    if !config.escalations.values().any(|escalation| escalation.to.iter().any(|to| to == name)) {
        let remedy = "name it in an escalation's `to`, or remove it";
        findings.add_warning(&["targets", name], "no escalation alerts this target", remedy);
    }
    match &target.kind {
        TargetKind::Slack | TargetKind::Teams => {}
        TargetKind::Email { from, to } => check_email(from, to, &at("from"), &at("to"), findings),
        TargetKind::Sns { topic_arn } => check_sns_topic(topic_arn, &at("topic_arn"), findings),
        TargetKind::Webhook { url } => crms::check_address(url, &at("url"), findings),
    }
}

fn check_email(from: &str, to: &[String], from_path: &[&str], to_path: &[&str], findings: &mut FindingCollector<'_>) {
    let remedy = "write it like \"team@acme.co.il\", without a name beside it";
    if !is_email(from) {
        findings.add_error(from_path, "`from` is not an e-mail address", remedy);
    }
    if to.is_empty() {
        findings.add_error(to_path, "the list of recipients is empty", "add at least one address");
    } else if to.len() > MAX_RECIPIENTS {
        let what = format!("{} addresses are more than one message can have", to.len());
        findings.add_error(to_path, what, "write at most 50; a group address is better");
    }
    let mut seen = BTreeSet::new();
    for address in to {
        // The finding does not contain the address, because findings may end up in a log.
        if !is_email(address) {
            findings.add_error(to_path, "an address in `to` is not an e-mail address", remedy);
        } else if !seen.insert(address.to_ascii_lowercase()) {
            findings.add_warning(to_path, "an address is listed twice", "remove one of them");
        }
    }
}

/// Whether SES accepts the address: ASCII, one `@`, a domain of two labels or more.
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
fn check_sns_topic(arn: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
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
        findings.add_error(
            path,
            "this is not the ARN of a topic",
            "copy it from SNS, Topics: \"arn:aws:sns:eu-central-1:111122223333:acme-team\"",
        );
    }
}
