//! What Secrets Manager says about one secret: its versions without their values, and the text of
//! one version.

use aws_sdk_secretsmanager::{Client, primitives::DateTime};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use tellonce_core::{client_config::ClientConfig, secret::Secret};

use super::secrets_error::{SecretsError, has_code};
use crate::client_stack::ClientStack;

pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
const NOT_FOUND: &str = "ResourceNotFoundException";

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionReport {
    /// Its id.
    pub id: String,
    /// Its stages: `AWSCURRENT`, `AWSPREVIOUS`, or others.
    pub stages: Vec<String>,
    /// When it was stored.
    pub stored_at: Option<Timestamp>,
    /// The day of its last read, in UTC. AWS keeps no time of it.
    pub last_read_on: Option<Date>,
}

/// A secret that exists.
#[derive(Debug, Clone)]
pub(super) struct KnownSecret {
    pub(super) last_read_on: Option<Date>,
    /// When its deletion was asked for. It cannot be read since.
    pub(super) deleted_at: Option<Timestamp>,
    /// The client's own key, if it is encrypted with one.
    pub(super) kms_key: Option<String>,
    pub(super) versions: Vec<VersionReport>,
}

impl KnownSecret {
    /// Asks about a secret; `None` if it does not exist. Reads no value.
    pub(super) async fn find(client: &Client, name: &str) -> Result<Option<Self>, SecretsError> {
        let described = match client.describe_secret().secret_id(name).send().await {
            Ok(described) => described,
            Err(error) if has_code(&error, NOT_FOUND) => return Ok(None),
            Err(error) => return Err(SecretsError::of_call("look at", name, error)),
        };
        let listed = client.list_secret_version_ids().secret_id(name).send().await;
        let listed = listed.map_err(|error| SecretsError::of_call("list the versions of", name, error))?;
        let version = |version: &aws_sdk_secretsmanager::types::SecretVersionsListEntry| VersionReport {
            id: version.version_id().unwrap_or_default().to_owned(),
            stages: version.version_stages().to_vec(),
            stored_at: version.created_date().and_then(timestamp),
            last_read_on: version.last_accessed_date().and_then(day),
        };
        Ok(Some(Self {
            last_read_on: described.last_accessed_date().and_then(day),
            deleted_at: described.deleted_date().and_then(timestamp),
            kms_key: described.kms_key_id().map(str::to_owned),
            versions: listed.versions().iter().map(version).collect(),
        }))
    }

    pub(super) fn find_version(&self, stage: &str) -> Option<&VersionReport> {
        self.versions.iter().find(|version| version.stages.iter().any(|of| of == stage))
    }
}

/// The text of one version.
pub(super) struct SecretText {
    /// The id of the version.
    pub(super) version: String,
    pub(super) text: Secret,
}

impl SecretText {
    /// Reads the version of a stage; `None` if there is none, or if the secret does not exist. AWS
    /// counts it as a use of the secret.
    pub(super) async fn read(client: &Client, name: &str, stage: &str) -> Result<Option<Self>, SecretsError> {
        match client.get_secret_value().secret_id(name).version_stage(stage).send().await {
            Ok(answer) => Ok(Some(Self {
                version: answer.version_id().unwrap_or_default().to_owned(),
                text: Secret::new(answer.secret_string().unwrap_or_default()),
            })),
            Err(error) if has_code(&error, NOT_FOUND) => Ok(None),
            Err(error) => Err(SecretsError::of_call("read", name, error)),
        }
    }

    /// The members of a JSON object; `None` if the text is not one.
    pub(super) fn members(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        // The parser's error may quote a value, so it is dropped.
        serde_json::from_str(self.text.expose()).ok()
    }
}

impl ClientStack {
    /// The current value of a name, for a call that needs it.
    pub async fn read_secret(&self, config: &ClientConfig, name: &str) -> Result<Secret, SecretsError> {
        let location = config.secrets.locate(name);
        let missing = || SecretsError::Missing(location.to_string());
        let read = SecretText::read(&self.secrets_manager, &location.secret, CURRENT).await?.ok_or_else(missing)?;
        let Some(member) = &location.member else { return Ok(read.text) };
        let members = read.members().ok_or_else(|| SecretsError::Malformed(location.secret.clone()))?;
        members.get(member).and_then(serde_json::Value::as_str).map(Secret::new).ok_or_else(missing)
    }
}

fn timestamp(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
}

fn day(at: &DateTime) -> Option<Date> {
    Some(timestamp(at)?.to_zoned(TimeZone::UTC).date())
}
