//! Where in `client.toml` something is written.

use tellonce_check::find_line;
use tellonce_core::{client_config::ClientConfig, ledger::IdempotencyKey};

/// The section of `client.toml` that decided about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecidingSection {
    /// As it stands in the file: `[messages.ready]`.
    pub(super) title: String,
    /// Its line, from 1.
    pub(super) line: usize,
}

/// The section that decided about a message. `sender` is the store, calendar or form of its
/// delivery.
pub(super) fn find_section(config: &ClientConfig, text: &str, key: &str, sender: &str) -> Option<DecidingSection> {
    let key = IdempotencyKey::parse(key)?;
    let path: Vec<String> = match key.subject().split(':').next()? {
        "order" => {
            let names = config.messages.keys().map(|milestone| milestone.name().to_owned());
            vec!["messages".to_owned(), find_stage(names, String::clone, key.stage())?]
        }
        "appointment" => {
            let reminders = config.calendars.get(sender)?.reminders.keys().map(ToString::to_string);
            let stage = |name: &String| IdempotencyKey::for_reminder(key.subject(), name).stage().to_owned();
            let reminder = find_stage(reminders, stage, key.stage())?;
            vec!["calendars".to_owned(), sender.to_owned(), "reminders".to_owned(), reminder]
        }
        "lead" => vec!["forms".to_owned(), sender.to_owned(), "first_touch".to_owned()],
        _ => return None,
    };
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let quoted = path.iter().map(|name| {
        let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if is_bare { (*name).to_owned() } else { format!("\"{name}\"") }
    });
    Some(DecidingSection {
        title: format!("[{}]", quoted.collect::<Vec<_>>().join(".")),
        line: find_line(text, &path)?,
    })
}

/// The name whose stage is that of a key, or the beginning of it: `shipped-RR12` is of `shipped`.
fn find_stage(
    names: impl Iterator<Item = String>,
    stage_of: impl Fn(&String) -> String,
    stage: &str,
) -> Option<String> {
    let fits = |name: &String| {
        let own = stage_of(name);
        stage.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    names.filter(fits).max_by_key(String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_host::{demo_config, demo_config_text};

    #[test]
    fn the_section_of_a_message_is_found_in_the_file() {
        let (config, text) = (demo_config(), demo_config_text());
        for (key, sender, title) in [
            ("order:1001:ready", "shop", "[messages.ready]"),
            ("order:1001:shipped-RR12", "shop", "[messages.shipped]"),
            ("order:1001:delivery-changed-2", "erp", "[messages.delivery-changed]"),
            ("appointment:clinic..88:24h", "clinic", "[calendars.clinic.reminders.\"24h\"]"),
            ("lead:website..7:first-touch", "website", "[forms.website.first_touch]"),
        ] {
            let section = find_section(&config, &text, key, sender).unwrap_or_else(|| panic!("{key}"));
            assert_eq!(section.title, title);
            assert_eq!(text.lines().nth(section.line - 1).unwrap().trim(), title, "{key}");
        }
        assert_eq!(find_section(&config, &text, "webhook-reply:d1-1", "main"), None);
        assert_eq!(find_section(&config, &text, "lead:gone..7:first-touch", "gone"), None);
    }
}
