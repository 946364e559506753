//! How far the rotation of a value is. Reads no value, so that the last read of the new version is
//! that of a function.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    keeper::{ENDS_OLD, SecretKeeper},
    known_secret::{CURRENT, KnownSecret, PREVIOUS},
    secrets_error::SecretsError,
    survey::accepted_until,
};
use crate::operations::Operation;

/// The most operations that are searched for the last change of a value.
const MAX_OPERATIONS: u16 = 200;

/// How far the rotation of one value is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotationReport {
    /// When `tellonce` last stored this value, if the version of then is the current one.
    pub stored_at: Option<Timestamp>,
    /// Whether a function has read the current version. AWS reports it after some time.
    pub is_read: bool,
    /// Until when the value before is accepted, while it is.
    pub old_accepted_until: Option<Timestamp>,
}

impl SecretKeeper<'_> {
    /// How far the rotation of a value is.
    pub async fn report_rotation(&self, name: &str) -> Result<RotationReport, SecretsError> {
        let secret = self.config().secrets.locate(name).secret;
        let known = KnownSecret::find(&self.stack().secrets_manager, &secret).await?;
        let current = known.as_ref().and_then(|known| known.find_version(CURRENT));
        let version_at = current.and_then(|version| version.stored_at);
        let has_previous = known.as_ref().is_some_and(|known| known.find_version(PREVIOUS).is_some());
        let last = self.find_last_change(name).await?;
        // A later change of the secret, of another value or by another tool, ends the old value.
        let is_current = |change: &Operation| {
            version_at
                .is_some_and(|version_at| version_at.duration_since(change.at).abs() < SignedDuration::from_secs(60))
        };
        let last = last.filter(is_current);
        // Such a command stored the new value twice, so the version before has it, too.
        let has_old = has_previous && !last.as_ref().is_some_and(|change| change.command.ends_with(ENDS_OLD));
        let until = accepted_until(&secret, version_at).filter(|until| has_old && *until > self.stack().now());
        Ok(RotationReport {
            stored_at: last.map(|change| change.at),
            is_read: current.is_some_and(|version| version.last_read_on.is_some()),
            old_accepted_until: until,
        })
    }

    async fn find_last_change(&self, name: &str) -> Result<Option<Operation>, SecretsError> {
        let Some(log) = self.log() else { return Ok(None) };
        let operations = log.list_newest(MAX_OPERATIONS).await?;
        let names_it =
            |command: &str| command.starts_with("store ") && command.split([' ', ',']).any(|word| word == name);
        let done = |outcome: &Option<String>| outcome.as_ref().is_some_and(|outcome| outcome.starts_with("stored"));
        Ok(operations.into_iter().find(|operation| names_it(&operation.command) && done(&operation.outcome)))
    }
}
