//! `webhooks.json` beside `copy_demo_client.toml`: which webhooks were made, without anything secret.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One try to register a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrationAttempt {
    /// The line, by our name.
    pub(super) line: String,
    /// The host that is posted to, with its port if that is not the usual one.
    pub(super) host: String,
    /// When.
    pub(super) at: Timestamp,
    /// What became of it.
    pub(super) outcome: RegistrationOutcome,
    /// The webhook's id in `EZWhatsApp`, if its answer named one.
    pub(super) id: Option<String>,
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RegistrationOutcome {
    /// It is registered.
    Registered,
    /// Nobody knows.
    Unknown,
}

/// The file. What was refused is not in it.
pub(super) struct RegistrationLog {
    path: PathBuf,
    entries: Vec<RegistrationAttempt>,
}

impl RegistrationLog {
    /// That of a client's folder; empty if there is none yet.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("webhooks.json");
        let entries = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not as this command writes it; mend it by hand", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        Ok(Self { path, entries })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last try for a line and host.
    pub(super) fn latest_attempt(&self, line: &str, host: &str) -> Option<&RegistrationAttempt> {
        self.entries.iter().rev().find(|entry| entry.line == line && entry.host == host)
    }

    /// Writes down that a try is made now.
    pub(super) fn begin_attempt(&mut self, line: &str, host: &str, now: Timestamp) -> anyhow::Result<()> {
        let (line, host) = (line.to_owned(), host.to_owned());
        self.entries.push(RegistrationAttempt { line, host, at: now, outcome: RegistrationOutcome::Unknown, id: None });
        self.write()
    }

    /// Writes down that the try which began last has registered a webhook.
    pub(super) fn record_success(&mut self, id: Option<&str>) -> anyhow::Result<()> {
        if let Some(entry) = self.entries.last_mut() {
            entry.outcome = RegistrationOutcome::Registered;
            entry.id = id.map(str::to_owned);
        }
        self.write()
    }

    /// Takes the try that began last out again: it has registered nothing.
    pub(super) fn withdraw_attempt(&mut self) -> anyhow::Result<()> {
        self.entries.pop();
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let cannot = || format!("{} cannot be written", self.path.display());
        if self.entries.is_empty() {
            return fs::remove_file(&self.path).with_context(cannot);
        }
        // Whole or not at all.
        let beside = self.path.with_extension("json.new");
        let text = format!("{}\n", serde_json::to_string_pretty(&self.entries)?);
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, &self.path)).with_context(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_known_to_the_next_run_until_it_was_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = || RegistrationLog::read(folder.path()).unwrap();
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let mut log = read();
        log.begin_attempt("main", "api.example.com", now).unwrap();
        assert_eq!(read().latest_attempt("main", "api.example.com").unwrap().outcome, RegistrationOutcome::Unknown);
        assert!(
            read().latest_attempt("main", "other.example.com").is_none()
                && read().latest_attempt("two", "api.example.com").is_none()
        );
        log.record_success(Some("wh_1")).unwrap();
        log.begin_attempt("main", "api.example.com", now).unwrap();
        log.withdraw_attempt().unwrap();
        let entry = read().latest_attempt("main", "api.example.com").unwrap().clone();
        assert_eq!((entry.outcome, entry.id.as_deref()), (RegistrationOutcome::Registered, Some("wh_1")));
        log.withdraw_attempt().unwrap();
        assert!(!log.path().exists());
    }

    #[test]
    fn a_file_of_another_shape_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("webhooks.json"), "{}").unwrap();
        let error = RegistrationLog::read(folder.path()).err().unwrap().to_string();
        assert!(error.contains("mend it by hand"), "{error}");
    }
}
