//! What is wrong with a client, as the terminal shows it when a run starts.

use std::path::Path;

use tellonce_check::{Finding, Severity};
use tellonce_stack::LoadedClient;

/// More findings scroll the rest of the start away. `tellonce check` prints all.
const MAX_SHOWN: usize = 5;

/// The errors in the settings with line and remedy, and the missing secrets. `None` if all is well.
pub(crate) fn render_problems(client: &Path, loaded: &LoadedClient) -> Option<String> {
    let file = client.join("client.toml");
    let LoadedClient { config, findings, missing_secrets: missing, .. } = loaded;
    let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    let mut lines = Vec::new();
    if !errors.is_empty() {
        let effect = if config.is_none() { ", so the functions cannot load it" } else { "" };
        lines.push(format!("{}: {}{effect}", file.display(), count(errors.len(), "error")));
    }
    for Finding { line, problem, remedy, .. } in errors.iter().take(MAX_SHOWN) {
        lines.push(format!("  line {line}: {problem}\n    → {remedy}"));
    }
    if !missing.is_empty() {
        lines.push(format!(
            "{} missing in secrets.json, so what needs one does not work:",
            count(missing.len(), "secret")
        ));
        lines.extend(missing.iter().take(MAX_SHOWN).map(|name| format!("  {name}")));
    }
    if lines.is_empty() {
        return None;
    }
    lines.push(format!("`tellonce check {}` prints everything, with the remedies.", client.display()));
    Some(lines.join("\n"))
}

fn count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../../../clients/demo/client.toml");

    fn render(text: &str, has_secret: bool) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("client.toml"), text).unwrap();
        let loaded = LoadedClient::read(&folder.path().join("client.toml"), None, |_| has_secret, 0);
        let shown = render_problems(folder.path(), &loaded)?;
        Some(shown.replace(folder.path().to_str().unwrap(), "clients/demo"))
    }

    #[test]
    fn a_client_without_problems_prints_nothing() {
        assert_eq!(render(DEMO, true), None);
    }

    #[test]
    fn an_error_is_shown_with_its_line_and_remedy() {
        let broken = DEMO.replacen("country =", "contry =", 1);
        let shown = render(&broken, true).unwrap();
        assert!(shown.starts_with("clients/demo/client.toml: 2 errors, so the functions cannot load it\n"), "{shown}");
        assert!(shown.contains("`contry` is not a setting of a client.toml\n    → did you mean `country`?"), "{shown}");
    }

    #[test]
    fn missing_secrets_are_counted_and_the_first_are_named() {
        let shown = render(DEMO, false).unwrap();
        assert!(shown.starts_with("40 secrets missing in secrets.json"), "{shown}");
        assert!(shown.contains("\n  tellonce/demo/lines/main\n"), "{shown}");
        assert_eq!(shown.lines().count(), MAX_SHOWN + 2, "{shown}");
    }
}
