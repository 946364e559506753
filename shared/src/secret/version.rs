//! One version of a secret, as Secrets Manager returns it.

use std::{collections::BTreeMap, sync::Arc};

use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;

use super::{Secret, layout::SecretLocation, secret_error::SecretError};

/// The version of a secret that counts, and the one before it.
/// Source: docs.aws.amazon.com, "What's in a Secrets Manager secret?", "Version".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Current,
    Previous,
}

impl Stage {
    fn label(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Previous => "AWSPREVIOUS",
        }
    }
}

/// The values in one version of a secret, by member: one without a member, or those of a JSON
/// object. `None` for a member that is not a text, or blank.
#[derive(Clone)]
pub(super) struct SecretContent(Arc<BTreeMap<Option<String>, Option<Secret>>>);

impl SecretContent {
    /// The value at a location of this secret.
    pub(super) fn find_value(&self, location: &SecretLocation) -> Result<Secret, SecretError> {
        match self.0.get(&location.member) {
            Some(Some(value)) => Ok(value.clone()),
            Some(None) => Err(SecretError::Empty { location: location.clone(), remembered: false }),
            None => Err(SecretError::Missing { location: location.clone(), remembered: false }),
        }
    }

    /// Parses the text of a secret that holds one value, or a JSON object of members. `None` if it
    /// is not a JSON object.
    fn parse(text: &str, has_members: bool) -> Option<Self> {
        if !has_members {
            return Some(Self(Arc::new(BTreeMap::from([(None, Some(Secret::new(text)))]))));
        }
        // The parser's error may quote a value, so it is dropped.
        let members: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).ok()?;
        let value = |value: serde_json::Value| match value {
            serde_json::Value::String(text) if !text.trim().is_empty() => Some(Secret::new(text)),
            _ => None,
        };
        Some(Self(Arc::new(members.into_iter().map(|(name, member)| (Some(name), value(member))).collect())))
    }
}

/// One version of a secret.
#[derive(Clone)]
pub(super) struct SecretVersion {
    /// The id that Secrets Manager gave it.
    pub(super) id: Option<String>,
    pub(super) content: SecretContent,
    /// When it was stored.
    pub(super) created_at: Option<Timestamp>,
}

/// Reads one version of the secret at a location.
pub(super) async fn request_version(
    client: Client,
    location: SecretLocation,
    stage: Stage,
) -> Result<SecretVersion, SecretError> {
    let whole = location.whole();
    let answer = client.get_secret_value().secret_id(&whole.secret).version_stage(stage.label()).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            return Err(match error.as_service_error() {
                Some(service)
                    if service.is_resource_not_found_exception() || service.is_invalid_request_exception() =>
                {
                    SecretError::Missing { location: whole, remembered: false }
                }
                Some(service) if service.meta().code() == Some("AccessDeniedException") => {
                    SecretError::Forbidden { location: whole, remembered: false }
                }
                _ => SecretError::Unavailable { location: whole, source: Arc::new(error) },
            });
        }
    };
    let text = answer.secret_string().filter(|text| !text.trim().is_empty());
    let Some(text) = text else { return Err(SecretError::Empty { location: whole, remembered: false }) };
    let content = SecretContent::parse(text, location.member.is_some());
    let content = content.ok_or(SecretError::Malformed { location: whole, remembered: false })?;
    Ok(SecretVersion {
        id: answer.version_id().map(str::to_owned),
        content,
        created_at: answer.created_date().and_then(|at| Timestamp::from_second(at.secs()).ok()),
    })
}
