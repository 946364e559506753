//! Checks a `client.toml` before it is deployed. Each finding names its line in the file and the
//! remedy.
//!
//! [`check_file`] takes a file as typed: a part that does not parse becomes a [`Finding`], and the
//! rest is still checked. [`check_config`] takes a file that parsed. Both read the file exactly as
//! the functions do. They render every text with the same code ([`tellonce_core::wording`],
//! [`tellonce_core::provider::RenderedMessage`]). [`list_needed_secrets`] lists the secrets that a
//! client needs.
//!
//! A file without errors loads, each of its texts can be rendered when every value is known, and it
//! has no refused setting (`docs/boundaries.md`). The check does not know whether the secrets
//! exist, whether a shop's domain is the right one, or whether a text reads well. No deployed code
//! depends on this crate.

mod boundaries;
mod calendars;
mod client;
mod conversations;
mod crms;
mod escalations;
mod forms;
mod id_scopes;
mod lines;
mod messages;
mod needed_secrets;
mod reminders;
mod shape;
mod source;
mod stores;
mod targets;
mod texts;
mod words;

pub use needed_secrets::{NeededSecret, SecretPurpose, list_needed_secrets};
use source::ConfigSource;

use tellonce_core::client_config::ClientConfig;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A deployment would lose or misdirect messages, or not work at all.
    Error,
    /// It works, but is probably not intended.
    Warning,
}

/// One problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// Line in the file, from 1.
    pub line: usize,
    /// The problem.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// The result of [`check_file`].
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// The configuration, if the functions could load it.
    pub config: Option<ClientConfig>,
    /// All findings, in the order of the file.
    pub findings: Vec<Finding>,
}

/// Checks a file as typed.
pub fn check_file(text: &str) -> CheckReport {
    let source = match ConfigSource::parse(text) {
        Ok(source) => source,
        Err(error) => return CheckReport { config: None, findings: vec![shape::build_syntax_finding(text, &error)] },
    };
    let mut findings = FindingCollector::new(&source);
    boundaries::check_boundaries(&mut findings);
    // Reads what remains without the wrong keys, so that one mistake does not hide the others.
    let rest = shape::read_config(&mut findings);
    if let Some(config) = &rest {
        check_sections(config, &mut findings);
    }
    CheckReport { config: rest.filter(|_| !findings.wrong_shape), findings: findings.into_sorted() }
}

/// Checks a parsed file against its own text.
pub fn check_config(text: &str, config: &ClientConfig) -> Vec<Finding> {
    let source = match ConfigSource::parse(text) {
        Ok(source) => source,
        Err(error) => return vec![shape::build_syntax_finding(text, &error)],
    };
    let mut findings = FindingCollector::new(&source);
    boundaries::check_boundaries(&mut findings);
    check_sections(config, &mut findings);
    findings.into_sorted()
}

fn check_sections(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    client::check_client(config, findings);
    lines::check_lines(config, findings);
    stores::check_stores(config, findings);
    messages::check_messages(config, findings);
    calendars::check_calendars(config, findings);
    forms::check_forms(config, findings);
    conversations::check_conversations(config, findings);
}

/// The findings so far, with the file to find their lines.
struct FindingCollector<'a> {
    source: &'a ConfigSource<'a>,
    findings: Vec<Finding>,
    /// The functions could not load the file.
    wrong_shape: bool,
}

impl<'a> FindingCollector<'a> {
    fn new(source: &'a ConfigSource<'a>) -> Self {
        Self { source, findings: Vec::new(), wrong_shape: false }
    }

    /// Adds an error at a key. `path` is the keys that lead to it.
    fn add_error(&mut self, path: &[&str], what: impl Into<String>, remedy: impl Into<String>) {
        self.add_finding(Severity::Error, self.source.line_of(path), what.into(), remedy.into());
    }

    /// Adds a warning at a key. `path` is the keys that lead to it.
    fn add_warning(&mut self, path: &[&str], what: impl Into<String>, remedy: impl Into<String>) {
        self.add_finding(Severity::Warning, self.source.line_of(path), what.into(), remedy.into());
    }

    fn add_finding(&mut self, severity: Severity, line: usize, what: String, remedy: String) {
        let finding = Finding { severity, line, problem: what, remedy };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn into_sorted(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.line);
        self.findings
    }
}

/// The known name that is most similar to a mistyped one, if any is similar.
fn nearest_name<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).clamp(1, 4);
    let close = |name: &str| {
        let name = name.to_lowercase();
        // A part of a name counts as one typing error.
        let is_prefix = word.len() >= 3 && (name.starts_with(&word) || word.starts_with(&name));
        if is_prefix { near.min(1) } else { edit_distance(&word, &name) }
    };
    let distances = known.into_iter().map(|name| (close(name), name));
    distances.filter(|(distance, _)| *distance <= near).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The remedy for an unknown name.
fn suggest_name<'n>(word: &str, known: impl IntoIterator<Item = &'n str> + Clone) -> String {
    if let Some(name) = nearest_name(word, known.clone()) {
        return format!("did you mean `{name}`?");
    }
    let known: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
    if known.is_empty() { "there is none yet".to_owned() } else { format!("known here: {}", known.join(", ")) }
}

/// The number of characters to add, remove, replace or swap with the next one, to change one word
/// into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replaced = rows[i][j] + usize::from(from[i] != to[j]);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

/// Whether a name can be part of URLs, secret names and keys: at most `longest` lower-case letters,
/// digits, `-` and `_`, with a letter or digit first.
fn is_plain_name(name: &str, longest: usize) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    name.len() <= longest
        && name.bytes().all(inside)
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
