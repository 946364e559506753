//! `client.toml` as the stack read it last, with what is wrong with it.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use tellonce_check::{Finding, Severity, check_file, list_needed_secrets};
use tellonce_core::client_config::ClientConfig;

/// `client.toml` as it was last read.
#[derive(Debug, Clone)]
pub struct LoadedClient {
    /// The configuration that the functions have: that of the start, or of the last change without
    /// errors. `None` if no function can read the file.
    pub config: Option<Arc<ClientConfig>>,
    /// The text of the file, to find its lines.
    pub text: String,
    /// What is wrong with the file, in the order of its lines.
    pub findings: Vec<Finding>,
    /// Secrets that the client needs and that are not in the secrets file.
    pub missing_secrets: Vec<String>,
    /// When it was read, by the stack's clock, in unix milliseconds.
    pub read_at_ms: i64,
}

impl LoadedClient {
    /// Reads and checks the file. `before` is the configuration that the functions have, or `None`
    /// at the start: then they load every file that they can read, also one with errors.
    pub fn read(
        path: &Path,
        before: Option<Arc<ClientConfig>>,
        has_secret: impl Fn(&str) -> bool,
        now_ms: i64,
    ) -> Self {
        let (text, findings, config) = match std::fs::read_to_string(path) {
            Ok(text) => {
                let report = check_file(&text);
                (text, report.findings, report.config)
            }
            Err(error) => {
                let problem = format!("the file cannot be read: {error}");
                let remedy = "write the file again, or stop the run".to_owned();
                (String::new(), vec![Finding { severity: Severity::Error, line: 1, problem, remedy }], None)
            }
        };
        let needed = config.as_ref().map(list_needed_secrets).unwrap_or_default();
        let mut missing_secrets: Vec<String> = needed.into_iter().map(|secret| secret.name).collect();
        missing_secrets.retain(|name| !has_secret(name));
        let mut loaded = Self { config: before, text, findings, missing_secrets, read_at_ms: now_ms };
        if loaded.config.is_none() || !loaded.has_errors() {
            loaded.config = config.map(Arc::new);
        }
        loaded
    }

    /// Whether the functions do not have what is in the file.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// The file, and what was read of it.
#[derive(Debug)]
pub(super) struct ClientFile {
    /// Time of the last change and length.
    pub(super) seen: Mutex<Option<(SystemTime, u64)>>,
    pub(super) loaded: Mutex<Arc<LoadedClient>>,
}

impl ClientFile {
    pub(super) fn new(loaded: LoadedClient, path: &Path) -> Self {
        Self { seen: Mutex::new(read_stamp(path)), loaded: Mutex::new(Arc::new(loaded)) }
    }
}

/// Time of the last change and length.
pub(super) fn read_stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
