//! `webhooks.json` beside `client.toml`: the record of registered webhooks. It holds no secret.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One attempt to register a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrationAttempt {
    /// The line's name in `client.toml`.
    pub(super) line: String,
    /// The stack's host, with its port unless it is the scheme's default.
    pub(super) host: String,
    pub(super) at: Timestamp,
    pub(super) outcome: RegistrationOutcome,
    /// The provider's id of the webhook, if the response had one.
    pub(super) id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RegistrationOutcome {
    Registered,
    /// The attempt began, and its result was not recorded.
    Unknown,
    /// The webhook was deleted with this command line.
    Removed,
}

/// The attempts of a client. A refused attempt is not recorded.
pub(super) struct RegistrationLog {
    path: PathBuf,
    entries: Vec<RegistrationAttempt>,
}

impl RegistrationLog {
    /// Reads `webhooks.json` of a client's folder. A missing file is an empty log.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("webhooks.json");
        let entries = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is not in the format that this command writes; fix the file by hand", path.display())
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("could not read {}", path.display())),
        };
        Ok(Self { path, entries })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn entries(&self) -> &[RegistrationAttempt] {
        &self.entries
    }

    /// Records that a webhook was deleted. Whether it was known.
    pub(super) fn record_removal(&mut self, id: &str) -> anyhow::Result<bool> {
        let mut found = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.id.as_deref() == Some(id)) {
            entry.outcome = RegistrationOutcome::Removed;
            found = true;
        }
        if found {
            self.write()?;
        }
        Ok(found)
    }

    /// The newest attempt at an address whose webhook was not deleted. A deleted webhook does not
    /// hide an older one.
    pub(super) fn latest_open_attempt(&self, line: &str, host: &str) -> Option<&RegistrationAttempt> {
        let is_open = |entry: &&RegistrationAttempt| entry.outcome != RegistrationOutcome::Removed;
        self.entries.iter().rev().filter(is_open).find(|entry| entry.line == line && entry.host == host)
    }

    /// Records an attempt with an unknown outcome.
    pub(super) fn begin_attempt(&mut self, line: &str, host: &str, now: Timestamp) -> anyhow::Result<()> {
        let (line, host) = (line.to_owned(), host.to_owned());
        self.entries.push(RegistrationAttempt { line, host, at: now, outcome: RegistrationOutcome::Unknown, id: None });
        self.write()
    }

    /// Records that the latest attempt registered a webhook.
    pub(super) fn record_success(&mut self, id: Option<&str>) -> anyhow::Result<()> {
        if let Some(entry) = self.entries.last_mut() {
            entry.outcome = RegistrationOutcome::Registered;
            entry.id = id.map(str::to_owned);
        }
        self.write()
    }

    /// Removes the latest attempt, which registered nothing.
    pub(super) fn withdraw_attempt(&mut self) -> anyhow::Result<()> {
        self.entries.pop();
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let could_not = || format!("could not write {}", self.path.display());
        if self.entries.is_empty() {
            return fs::remove_file(&self.path).with_context(could_not);
        }
        // A crash must not leave half a file.
        let beside = self.path.with_extension("json.new");
        let text = format!("{}\n", serde_json::to_string_pretty(&self.entries)?);
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, &self.path)).with_context(could_not)
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
        assert_eq!(
            read().latest_open_attempt("main", "api.example.com").unwrap().outcome,
            RegistrationOutcome::Unknown
        );
        assert!(
            read().latest_open_attempt("main", "other.example.com").is_none()
                && read().latest_open_attempt("two", "api.example.com").is_none()
        );
        log.record_success(Some("wh_1")).unwrap();
        log.begin_attempt("main", "api.example.com", now).unwrap();
        log.withdraw_attempt().unwrap();
        let entry = read().latest_open_attempt("main", "api.example.com").unwrap().clone();
        assert_eq!((entry.outcome, entry.id.as_deref()), (RegistrationOutcome::Registered, Some("wh_1")));
        log.withdraw_attempt().unwrap();
        assert!(!log.path().exists());
    }

    #[test]
    fn a_deleted_webhook_does_not_hide_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let mut log = RegistrationLog::read(folder.path()).unwrap();
        for id in ["wh_1", "wh_2"] {
            log.begin_attempt("main", "api.example.com", now).unwrap();
            log.record_success(Some(id)).unwrap();
        }
        for (removed, left) in [("wh_2", Some("wh_1")), ("wh_1", None)] {
            assert!(log.record_removal(removed).unwrap());
            let open = log.latest_open_attempt("main", "api.example.com").map(|entry| entry.id.as_deref().unwrap());
            assert_eq!(open, left);
        }
    }

    #[test]
    fn a_file_of_another_shape_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("webhooks.json"), "{}").unwrap();
        let error = RegistrationLog::read(folder.path()).err().unwrap().to_string();
        assert!(error.contains("fix the file by hand"), "{error}");
    }
}
