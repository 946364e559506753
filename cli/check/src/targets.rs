//! The targets: the addresses of alerts.

use std::collections::BTreeSet;

use super::{FindingCollector, kind_settings::check_kind_settings, names::check_name};
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
    check_name(["targets", name], "a target", "the names of secrets and keys", findings);
    if !config.escalations.values().any(|escalation| escalation.to.iter().any(|to| to == name)) {
        let remedy = "name it in an escalation's `to`, or remove it";
        findings.add_warning(&["targets", name], "no escalation alerts this target", remedy);
    }
    let facts = target.kind.facts();
    check_kind_settings(["targets", name], facts.label, facts.settings, findings);
    if let TargetKind::Email(mail) = &target.kind {
        check_email(&mail.from, &mail.to, &at("from"), &at("to"), findings);
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
