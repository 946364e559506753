//! Reloads `client.toml` after a change, as a deployment would.
//!
//! A changed file without errors is loaded: each function gets new processes. A file with errors is
//! not loaded. The processes that run keep the last version, and the findings say where the file is
//! wrong.

use std::{sync::Arc, time::Duration};

use tellonce_check::{Finding, Severity};

use super::{
    LocalStack,
    client::read_client,
    client_file::{LoadedClient, read_stamp},
};
use crate::activity::ActivityEvent;

/// How often the file is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl LocalStack {
    /// `client.toml` as it was last read.
    pub fn loaded_client(&self) -> Arc<LoadedClient> {
        tellonce_fakes::lock_mutex(&self.client_file.loaded).clone()
    }

    /// Reads `client.toml` now. If it has no errors, every function gets new processes, and lines
    /// that are new can send and report. New CRMs, targets and calendars need a restart of the
    /// stack, which makes their fakes.
    pub fn reload_client(&self) {
        let path = self.options.client.join("client.toml");
        *tellonce_fakes::lock_mutex(&self.client_file.seen) = read_stamp(&path);
        let has_secret = |name: &str| self.secrets.current_value(name).is_some();
        let before = self.loaded_client().config.clone();
        let mut loaded = LoadedClient::read(&path, before.clone(), has_secret, self.clock.now_ms());
        if !loaded.has_errors()
            && let Err(problem) = self.take_lines_of(&loaded)
        {
            let remedy = "undo it, or restart the run".to_owned();
            loaded.findings.insert(0, Finding { severity: Severity::Error, line: 1, problem, remedy });
            loaded.config = before;
        }
        let first_error = loaded.findings.iter().find(|finding| finding.severity == Severity::Error);
        let text = match first_error {
            None => "client.toml changed: loaded".to_owned(),
            Some(Finding { line, problem, remedy, .. }) => {
                format!("client.toml changed: not loaded; line {line}: {problem}; {remedy}")
            }
        };
        let is_loaded = !loaded.has_errors();
        *tellonce_fakes::lock_mutex(&self.client_file.loaded) = Arc::new(loaded);
        if is_loaded {
            self.functions.replace_instances();
        }
        self.activity.add(ActivityEvent::Run { text });
    }

    /// Gives the fake provider the lines of a changed file.
    fn take_lines_of(&self, loaded: &LoadedClient) -> Result<(), String> {
        let Some(config) = &loaded.config else { return Ok(()) };
        if config.client != self.client.id {
            return Err(format!("`client` was `{}` at the start, and names all tables and secrets", self.client.id));
        }
        let client = read_client(&self.options.client).map_err(|error| format!("{error:#}"))?;
        self.provider.set_tokens(client.line_tokens(|name| self.secrets.current_value(name)));
        self.register_line_webhooks(&client).map_err(|error| format!("{error:#}"))
    }

    /// Reloads `client.toml` after each change, until the task is aborted.
    pub(super) async fn watch_client(self: Arc<Self>) {
        let path = self.options.client.join("client.toml");
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let stamp = read_stamp(&path);
            if stamp != *tellonce_fakes::lock_mutex(&self.client_file.seen) {
                self.reload_client();
            }
        }
    }
}
