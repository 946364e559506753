//! Mistakes in the file's shape, because of which the functions could not load it.

use serde::Deserialize;
use toml::de::{Deserializer, Error};

use super::{
    Finding, FindingCollector, Severity,
    source::{line_at, remove_key_at},
    suggest_name,
};
use tellonce_core::client_config::{ClientConfig, Milestone};

/// Most wrong keys that are reported.
const MAX_WRONG_KEYS: usize = 50;

/// The finding for a file that is not TOML.
pub(super) fn build_syntax_finding(text: &str, error: &Error) -> Finding {
    Finding {
        severity: Severity::Error,
        line: error.span().map_or(1, |span| line_at(text, span.start.min(text.len()))),
        problem: format!("this is not TOML: {}", one_line(error.message())),
        remedy: "fix the syntax here, or in the lines just above (an open quote or bracket?)".to_owned(),
    }
}

/// The configuration without its wrong keys. Reports every wrong key, and the first wrong value.
pub(super) fn read_config(findings: &mut FindingCollector<'_>) -> Option<ClientConfig> {
    let mut table = findings.source.table.clone();
    for span in findings.source.refused_spans() {
        remove_key_at(table.get_mut(), &span);
        findings.wrong_shape = true;
    }
    for _ in 0..MAX_WRONG_KEYS {
        let error = match ClientConfig::deserialize(Deserializer::from(table.clone())) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        findings.wrong_shape = true;
        let span = error.span().unwrap_or_default();
        let line = findings.source.line_at(span.start);
        let message = one_line(error.message());
        let wrong = quoted_words(&message).first().copied().unwrap_or_default().to_owned();
        let is_key = ["unknown field", "unknown variant"].iter().any(|begin| message.starts_with(begin))
            || message.contains("is not a time before an appointment");
        let path = if is_key { remove_key_at(table.get_mut(), &span) } else { None };
        let (what, remedy) = explain_error(&message, &wrong, path.as_deref());
        findings.add_finding(Severity::Error, line, what, remedy);
        // A value in a list cannot be left out, and neither can the only key of a `when`. The rest
        // then stays unread.
        path.filter(|path| !matches!(path.as_slice(), [.., above, _] if above == "when"))?;
    }
    None
}

/// The parser's message in words for people, and the remedy.
fn explain_error(message: &str, wrong: &str, path: Option<&[String]>) -> (String, String) {
    let known: Vec<&str> = quoted_words(message).into_iter().skip(1).collect();
    let above = path.and_then(|path| path.split_last()).map(|(_, above)| above.join(".")).unwrap_or_default();
    if message.starts_with("unknown field") {
        let owner = if above.is_empty() { "a client.toml".to_owned() } else { format!("`{above}`") };
        let what = format!("`{wrong}` is not a setting of {owner}");
        return (what, format!("{}; or remove it", suggest_name(wrong, known)));
    }
    if message.starts_with("unknown variant") && above == "messages" {
        let milestones = Milestone::ALL.map(Milestone::name);
        return (format!("`{wrong}` is not a milestone of an order"), suggest_name(wrong, milestones));
    }
    if message.starts_with("unknown variant") {
        return (format!("`{wrong}` is not one of the values that are possible here"), suggest_name(wrong, known));
    }
    if message.starts_with("missing field") {
        let what = format!("`{wrong}` is missing here");
        if wrong == "consent" {
            let remedy = "add consent = { field = \"…\" } with the name of the checkbox, or consent = { stated = \"…\" } with the \
                          sentence above the button";
            return (what, remedy.to_owned());
        }
        return (what, format!("add `{wrong} = …`; docs/configuration.md says what it means"));
    }
    if message.starts_with("invalid type: unit variant") || message.starts_with("wanted exactly 1 element") {
        let what = "this is not a single trigger".to_owned();
        return (what, "write one, like \"first-message\" or { unanswered = \"15m\" }".to_owned());
    }
    if let Some((given, wanted)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        let (wanted, remedy) = match wanted {
            "a string" => ("a text", "write it in quotes".to_owned()),
            "a boolean" => ("true or false", "write true or false, without quotes".to_owned()),
            "u8" | "u16" | "u32" | "u64" | "i64" => {
                ("a whole number", "write a number without quotes, such as 20".to_owned())
            }
            _ => (wanted, format!("write {wanted}")),
        };
        return (format!("this is {}, and should be {wanted}", describe_kind(given)), remedy);
    }
    (message.to_owned(), "docs/configuration.md shows every field with an example".to_owned())
}

/// The kind of value that serde describes, without the value itself.
fn describe_kind(given: &str) -> &str {
    match given.split([' ', '`']).next().unwrap_or_default() {
        "integer" => "a whole number",
        "floating" => "a number with a fraction",
        "boolean" => "true or false",
        "string" => "a text",
        "map" => "a table",
        "sequence" => "a list",
        _ => given,
    }
}

/// The texts between backticks.
fn quoted_words(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
