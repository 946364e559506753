//! Checks a `client.toml` before it is deployed. Each finding names its line in the file and the
//! remedy.
//!
//! [`check_file`] takes a file as typed: a part that does not parse becomes a [`Finding`], and the
//! rest is still checked. It reads the file as the functions do, and renders every text with their
//! code ([`tellonce_core::wording`], [`tellonce_core::provider::RenderedMessage`]).
//! [`list_needed_secrets`] lists the secrets that a client needs, and [`find_secret_problem`] says
//! whether a value can work.
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
mod finding;
mod forms;
mod id_scopes;
mod kind_settings;
mod line_list;
mod lines;
mod messages;
mod names;
mod needed_secrets;
mod reminders;
mod secret_values;
mod shape;
mod source;
mod stores;
mod targets;
mod texts;
mod words;

pub use finding::{Finding, Severity};
pub use needed_secrets::{NeededSecret, list_needed_secrets};
pub use secret_values::{SecretProblem, find_secret_problem};

use finding::FindingCollector;
use names::{nearest_name, suggest_name};
use source::ConfigSource;

use tellonce_core::client_config::ClientConfig;

/// The result of [`check_file`].
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// The configuration, if the functions could load it.
    pub config: Option<ClientConfig>,
    /// All findings, in the order of the file.
    pub findings: Vec<Finding>,
}

/// The line (from 1) of a key in a file. `path` is the keys that lead to it. `None` if the file has
/// no such key, or is not TOML.
pub fn find_line(text: &str, path: &[&str]) -> Option<usize> {
    let source = ConfigSource::parse(text).ok()?;
    source.has_key(path).then(|| source.line_of(path))
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
    // The functions read the file by way of JSON. A value may have a form that only TOML has.
    if !findings.wrong_shape
        && let Err(error) = ClientConfig::parse(text)
    {
        findings.wrong_shape = true;
        let problem = format!("the functions cannot read this file: {}", shape::one_line(error.message()));
        findings.add_error(&[], problem, "write the value in the form that docs/configuration.md shows");
    }
    CheckReport { config: rest.filter(|_| !findings.wrong_shape), findings: findings.into_sorted() }
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

#[cfg(test)]
mod tests;
