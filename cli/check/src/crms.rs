//! The CRMs: names, addresses and rate limits.

use std::ops::RangeInclusive;

use super::{FindingCollector, kind_settings::check_kind_settings, line_list, names::check_name};
use tellonce_core::client_config::{ClientConfig, CrmConfig};

/// Possible requests per minute.
const REQUESTS_RANGE: RangeInclusive<u32> = 1..=6000;
pub(super) fn check_crm(config: &ClientConfig, name: &str, crm: &CrmConfig, findings: &mut FindingCollector<'_>) {
    let at = |field: &'static str| ["crms", name, field];
    check_name(["crms", name], "a CRM", "the names of secrets and keys", findings);
    line_list::check_line_list(config, &crm.lines, &at("lines"), findings);
    check_request_rate(crm, &at("requests_per_minute"), findings);
    let facts = crm.kind.facts();
    check_kind_settings(["crms", name], facts.label, facts.settings, findings);
}

fn check_request_rate(crm: &CrmConfig, path: &[&str], findings: &mut FindingCollector<'_>) {
    let Some(asked) = crm.requests_per_minute else { return };
    if !REQUESTS_RANGE.contains(&asked) {
        let what = format!("a CRM cannot take {asked} requests a minute");
        findings.add_error(path, what, "write 1 to 6000, or remove it: each kind has a cautious default");
        return;
    }
    if let Some((vendor, most)) = crm.kind.facts().vendor_limit.filter(|(_, most)| asked > *most) {
        findings.add_warning(
            path,
            format!("{asked} a minute are more than the {most} that {vendor} allows every account"),
            format!(
                "write {most} or less, unless this account has a higher limit; refused requests wait and are repeated"
            ),
        );
    }
}
