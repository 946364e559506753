//! What the access to lines may touch.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::DispatchError;
use crate::{
    client_config::{ClientConfig, LineConfig},
    clock::Clock,
    ledger::IdempotencyKey,
    line::LineState,
    provider::{PROVIDER, ProviderClient},
    secret::SecretStore,
};

/// The good health of lines that this process has requested, by the line's name.
#[derive(Debug, Default)]
pub(super) struct HealthCache(Mutex<HashMap<String, (Timestamp, String)>>);

impl HealthCache {
    /// Summary of a line's good health, at most
    /// [`crate::provider::ProviderFacts::health_valid_seconds`] old.
    pub(super) fn get(&self, line: &str, now: Timestamp) -> Option<String> {
        let valid = SignedDuration::from_secs(PROVIDER.facts().health_valid_seconds);
        self.lock().get(line).filter(|(at, _)| now.duration_since(*at) < valid).map(|(_, summary)| summary.clone())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of a dispatcher that know lines.
#[derive(Clone, Copy)]
pub(super) struct LineTools<'a> {
    pub(super) config: &'a ClientConfig,
    pub(super) secrets: &'a SecretStore,
    pub(super) clock: &'a Clock,
    pub(super) line_state: &'a LineState,
    pub(super) provider: &'a ProviderClient,
    pub(super) healthy_lines: &'a HealthCache,
}

impl<'a> LineTools<'a> {
    /// The line of a name. Checked before every claim, so that no row is claimed for a removed
    /// line.
    pub(super) fn find_line(
        self,
        name: &str,
        key: &IdempotencyKey,
    ) -> Result<(&'a str, &'a LineConfig), DispatchError> {
        let line = self.config.lines.get_key_value(name).map(|(name, line)| (name.as_str(), line));
        line.ok_or_else(|| DispatchError::UnknownLine { key: key.clone(), line: name.to_owned() })
    }
}
