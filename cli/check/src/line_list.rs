//! The lines that a CRM or an escalation is for.

use std::collections::BTreeSet;

use tellonce_core::client_config::ClientConfig;

use super::{FindingCollector, client};

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
        // If no line has events, `check_conversations` reports it once.
        let others = config.lines.values().any(|line| line.events);
        if others && config.lines.get(name).is_some_and(|line| !line.events) {
            let what = format!("the line `{name}` does not accept events, so no message is received from it");
            findings.add_error(path, what, format!("write events = true in [lines.{name}], or remove it here"));
        }
    }
}
