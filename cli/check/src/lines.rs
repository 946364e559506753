//! The lines: ids, rate limits, and how documents are sent.

use super::{FindingCollector, names::check_name};
use tellonce_core::{
    client_config::{ClientConfig, MediaMode},
    provider::{PROVIDER, SendRoute},
};

pub(super) fn check_lines(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    let provider = PROVIDER.facts();
    if config.lines.is_empty() {
        let remedy = "add [lines.main] with its line_id";
        findings.add_error(&["lines"], "there is no line, so no message can be sent", remedy);
    }
    for (name, line) in &config.lines {
        let at = |field: &'static str| ["lines", name.as_str(), field];
        check_name(["lines", name], "a line", "a secret's name", findings);
        if line.line_id.trim().is_empty() || line.line_id.trim() != line.line_id {
            let remedy = format!("copy the line's id from {}; {}", provider.name, provider.line_id_source);
            findings.add_error(&at("line_id"), "the line's id is empty or has spaces around it", remedy);
        }
        let twin = config.lines.iter().find(|(other, twin)| *other < name && twin.line_id == line.line_id);
        if let Some((twin, _)) = twin {
            findings.add_error(
                &at("line_id"),
                format!("the line `{twin}` has the same id: two rate limits and two tokens for one number"),
                "give each line its own id, or keep only one of them",
            );
        }
        check_rate(name, line.messages_per_minute, findings);
        if !(1..=100_000).contains(&line.first_contacts_per_day) {
            let what = format!("a line cannot write to {} new people a day", line.first_contacts_per_day);
            findings.add_error(&at("first_contacts_per_day"), what, "write 1 to 100000; the default is 250");
        }
        if line.media == MediaMode::AttachmentExperimental {
            findings.add_warning(
                &at("media"),
                format!(
                    "documents go through {}, whose fields {} does not publish; tellonce assumes them",
                    SendRoute::Media.path(),
                    provider.name
                ),
                "send one to yourself first, or write media = \"link\", which uses only published fields",
            );
        }
        let stores = config.stores.values().map(|store| &store.line);
        let calendars = config.calendars.values().map(|calendar| &calendar.line);
        let forms = config.forms.values().map(|form| &form.line);
        // A line that only receives events is useful too.
        if !line.events && !stores.chain(calendars).chain(forms).any(|line| line == name) {
            let what = "no store, calendar or form uses this line";
            findings.add_warning(&["lines", name], what, "remove it, or name it in a store, calendar or form");
        }
    }
}

fn check_rate(line: &str, messages_per_minute: u32, findings: &mut FindingCollector<'_>) {
    let provider = PROVIDER.facts();
    let field = ["lines", line, "messages_per_minute"];
    if !(1..=provider.max_messages_per_minute).contains(&messages_per_minute) {
        findings.add_error(
            &field,
            format!("a line cannot send {messages_per_minute} messages a minute: at most one a second is safe"),
            "write 1 to 60; 20 is a cautious rate for a line that a person also uses",
        );
    } else if messages_per_minute > provider.default_messages_per_minute {
        findings.add_warning(
            &field,
            format!("{messages_per_minute} messages a minute are more than a cautious rate for a line that a person also uses; {} publishes no limit", provider.name),
            format!("stay at 20 or less unless {} agreed to more: a line that looks like a robot may be blocked", provider.name),
        );
    }
}
