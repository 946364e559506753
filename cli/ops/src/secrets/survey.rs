//! How the secrets of a client are: which exist, how old they are, when they were last read, and
//! what is missing.

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::Serialize;
use serde_json::{Map, Value};
use tellonce_check::{NeededSecret, Severity, find_secret_problem, list_needed_secrets};
use tellonce_core::{client_config::ClientConfig, secret::PREVIOUS_VALID_SECONDS};

use super::{
    known_secret::{CURRENT, KnownSecret, PREVIOUS, SecretText, VersionReport},
    secrets_error::SecretsError,
};
use crate::client_stack::ClientStack;

/// All secrets of a client.
#[derive(Debug, Clone, Serialize)]
pub struct SecretsReport {
    /// When it was made.
    pub at: Timestamp,
    /// In the order in which an operator creates them.
    pub secrets: Vec<SecretReport>,
}

/// One secret of Secrets Manager.
#[derive(Debug, Clone, Serialize)]
pub struct SecretReport {
    /// Its name.
    pub name: String,
    /// Whether it exists and can be read.
    pub exists: bool,
    /// When its deletion was asked for.
    pub deleted_at: Option<Timestamp>,
    /// When its current version was stored.
    pub stored_at: Option<Timestamp>,
    /// The day of its last read, in UTC, before this report read it.
    pub last_read_on: Option<Date>,
    /// Until when the version before the current one is accepted, while it is. Only signatures and
    /// secrets of senders are checked with it.
    pub previous_accepted_until: Option<Timestamp>,
    /// The client's own key, if it is encrypted with one.
    pub kms_key: Option<String>,
    /// Its versions, the current one first.
    pub versions: Vec<VersionReport>,
    /// What is wrong with the whole secret.
    pub problem: Option<&'static str>,
    /// The values that belong into it, and those that `client.toml` does not name.
    pub values: Vec<ValueReport>,
}

/// One value.
#[derive(Debug, Clone, Serialize)]
pub struct ValueReport {
    /// Its full name, as `tellonce check` lists it.
    pub name: String,
    /// The member of the secret's JSON object.
    pub member: Option<String>,
    /// What it is for, and where it comes from. Empty if nothing needs it.
    pub description: String,
    /// Whether the client works without it.
    pub is_optional: bool,
    /// Whether it is there.
    pub state: ValueState,
    /// Why it cannot work, without the value.
    pub problem: Option<&'static str>,
}

/// Whether a value is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueState {
    /// It is stored.
    Stored,
    /// Its secret exists and was not read.
    NotRead,
    /// It is not stored.
    Missing,
    /// It is stored and cannot work.
    Unusable,
    /// It is stored and `client.toml` does not name it.
    Unused,
}

impl SecretsReport {
    /// How many values the client needs and does not have.
    pub fn count_faults(&self) -> usize {
        let is_fault = |value: &&ValueReport| match value.state {
            ValueState::Missing => !value.is_optional,
            ValueState::Unusable => true,
            ValueState::Stored | ValueState::NotRead | ValueState::Unused => false,
        };
        self.secrets.iter().flat_map(|secret| &secret.values).filter(is_fault).count()
    }
}

impl ClientStack {
    /// How each secret is that the client needs. `reads_members` reads the secrets of roles to
    /// compare their members, which AWS counts as a use of them. A caller who may not read them
    /// gets a report without their members.
    pub async fn survey_secrets(
        &self,
        config: &ClientConfig,
        reads_members: bool,
    ) -> Result<SecretsReport, SecretsError> {
        let mut secrets = Vec::new();
        for group in group_by_secret(config) {
            secrets.push(self.survey_secret(group, reads_members).await?);
        }
        Ok(SecretsReport { at: self.now(), secrets })
    }

    async fn survey_secret(
        &self,
        SecretGroup { name, values }: SecretGroup,
        reads_members: bool,
    ) -> Result<SecretReport, SecretsError> {
        let known = KnownSecret::find(&self.secrets_manager, &name).await?;
        let is_there = known.as_ref().is_some_and(|known| known.deleted_at.is_none());
        let has_members = values.iter().any(|(_, member)| member.is_some());
        let content = if is_there && has_members && reads_members {
            match SecretText::read(&self.secrets_manager, &name, CURRENT).await {
                Ok(Some(text)) => text.members().map_or(SecretContent::Malformed, SecretContent::Members),
                Ok(None) => SecretContent::Absent,
                Err(SecretsError::Forbidden { .. }) => SecretContent::NotRead,
                Err(error) => return Err(error),
            }
        } else if is_there {
            if has_members { SecretContent::NotRead } else { SecretContent::Whole }
        } else {
            SecretContent::Absent
        };
        Ok(describe_secret(name, known, values, &content, self.now()))
    }
}

/// What is known of the values in a secret.
enum SecretContent {
    Absent,
    NotRead,
    /// One value, which was not read.
    Whole,
    Members(Map<String, Value>),
    Malformed,
}

/// The values that belong into one secret, with their members.
pub(super) struct SecretGroup {
    pub(super) name: String,
    pub(super) values: Vec<(NeededSecret, Option<String>)>,
}

/// The secrets of a client, in the order in which an operator creates them.
pub(super) fn group_by_secret(config: &ClientConfig) -> Vec<SecretGroup> {
    let mut groups: Vec<SecretGroup> = Vec::new();
    for needed in list_needed_secrets(config) {
        let location = config.secrets.locate(&needed.name);
        let value = (needed, location.member);
        match groups.iter_mut().find(|group| group.name == location.secret) {
            Some(group) => group.values.push(value),
            None => groups.push(SecretGroup { name: location.secret, values: vec![value] }),
        }
    }
    groups
}

fn describe_secret(
    name: String,
    known: Option<KnownSecret>,
    needed: Vec<(NeededSecret, Option<String>)>,
    content: &SecretContent,
    now: Timestamp,
) -> SecretReport {
    let mut values: Vec<ValueReport> =
        needed.into_iter().map(|(needed, member)| describe_value(needed, member, content)).collect();
    if let SecretContent::Members(members) = content {
        let is_known = |member: &&String| values.iter().any(|value| value.member.as_ref() == Some(*member));
        let unused: Vec<String> = members.keys().filter(|member| !is_known(member)).cloned().collect();
        // The members of `apis` begin with their kind.
        let prefix = name.strip_suffix("/apis").unwrap_or(&name);
        values.extend(unused.into_iter().map(|member| ValueReport {
            name: format!("{prefix}/{member}"),
            member: Some(member),
            description: String::new(),
            is_optional: true,
            state: ValueState::Unused,
            problem: None,
        }));
    }
    let current = known.as_ref().and_then(|known| known.find_version(CURRENT));
    let stored_at = current.and_then(|version| version.stored_at);
    let has_previous = known.as_ref().is_some_and(|known| known.find_version(PREVIOUS).is_some());
    let is_malformed = matches!(content, SecretContent::Malformed);
    let mut versions = known.as_ref().map(|known| known.versions.clone()).unwrap_or_default();
    versions.sort_by_key(|version| std::cmp::Reverse(version.stored_at));
    SecretReport {
        exists: known.as_ref().is_some_and(|known| known.deleted_at.is_none()),
        deleted_at: known.as_ref().and_then(|known| known.deleted_at),
        stored_at,
        last_read_on: known.as_ref().and_then(|known| known.last_read_on),
        previous_accepted_until: accepted_until(&name, stored_at).filter(|until| has_previous && *until > now),
        kms_key: known.and_then(|known| known.kms_key),
        versions,
        problem: is_malformed.then_some("is not a JSON object"),
        values,
        name,
    }
}

/// Until when the version before one that was stored at this time is accepted. Only the receiver
/// accepts it, so only for the secrets of senders and of lines' addresses.
pub(super) fn accepted_until(secret: &str, stored_at: Option<Timestamp>) -> Option<Timestamp> {
    let is_of_webhooks = secret.split('/').nth(2) == Some("webhooks");
    stored_at.filter(|_| is_of_webhooks).map(|at| at + SignedDuration::from_secs(PREVIOUS_VALID_SECONDS))
}

fn describe_value(needed: NeededSecret, member: Option<String>, content: &SecretContent) -> ValueReport {
    let is_optional = needed.is_optional();
    let (state, problem) = match (content, &member) {
        (SecretContent::Absent, _) => (ValueState::Missing, None),
        (SecretContent::Whole, _) => (ValueState::Stored, None),
        (SecretContent::Members(members), Some(member)) => match members.get(member).map(Value::as_str) {
            None => (ValueState::Missing, None),
            Some(None) => (ValueState::Unusable, Some("is not a text")),
            Some(Some(text)) if text.trim().is_empty() => (ValueState::Unusable, Some("is blank")),
            Some(Some(text)) => match find_secret_problem(needed.purpose, text) {
                Some((Severity::Error, problem, _)) => (ValueState::Unusable, Some(problem)),
                Some((Severity::Warning, ..)) | None => (ValueState::Stored, None),
            },
        },
        (SecretContent::Malformed, _) => (ValueState::Unusable, Some("is in a secret that is not a JSON object")),
        (SecretContent::NotRead | SecretContent::Members(_), _) => (ValueState::NotRead, None),
    };
    ValueReport { name: needed.name, member, description: needed.description, is_optional, state, problem }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tellonce_core::client_config::SecretPurpose;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn needed(name: &str, purpose: SecretPurpose) -> (NeededSecret, Option<String>) {
        let name = format!("tellonce/acme/webhooks/{name}");
        let member = name.rsplit('/').next().map(str::to_owned);
        (NeededSecret { name, description: "`shop`: the secret".to_owned(), purpose, is_chosen: false }, member)
    }

    fn known(stored_at: &str) -> KnownSecret {
        let version = |id: &str, stage: &str| VersionReport {
            id: id.to_owned(),
            stages: vec![stage.to_owned()],
            stored_at: Some(at(stored_at)),
            last_read_on: None,
        };
        KnownSecret {
            last_read_on: None,
            deleted_at: None,
            kms_key: None,
            versions: vec![version("2", CURRENT), version("1", PREVIOUS)],
        }
    }

    #[test]
    fn members_are_stored_missing_unusable_or_unused_and_never_shown() {
        let content =
            json!({"shop": "hunter2-hunter2-hunter2", "zap": "hunter2", "list": ["hunter2"], "old": "hunter2"});
        let names = ["shop", "zap", "list", "gone"];
        let needed = names.map(|name| needed(name, SecretPurpose::WebhookSecret)).to_vec();
        let Value::Object(members) = content else { panic!("an object") };
        let secret = describe_secret(
            "tellonce/acme/webhooks".to_owned(),
            Some(known("2026-11-29T10:00:00Z")),
            needed,
            &SecretContent::Members(members),
            at("2026-11-30T09:00:00Z"),
        );
        let states: Vec<_> =
            secret.values.iter().map(|value| (value.member.as_deref().unwrap(), value.state)).collect();
        let expected = [
            ("shop", ValueState::Stored),
            ("zap", ValueState::Unusable),
            ("list", ValueState::Unusable),
            ("gone", ValueState::Missing),
            ("old", ValueState::Unused),
        ];
        assert_eq!(states, expected);
        assert_eq!(secret.previous_accepted_until, Some(at("2026-11-30T10:00:00Z")));
        let report = SecretsReport { at: at("2026-11-30T09:00:00Z"), secrets: vec![secret] };
        assert_eq!(report.count_faults(), 3);
        assert!(!serde_json::to_string(&report).unwrap().contains("hunter"), "{report:?}");
    }

    #[test]
    fn a_version_before_counts_for_a_day_and_only_for_what_senders_show() {
        let describe = |name: &str, now: &str| {
            let needed = vec![needed("shop", SecretPurpose::WebhookSecret)];
            let known = Some(known("2026-11-29T10:00:00Z"));
            describe_secret(name.to_owned(), known, needed, &SecretContent::NotRead, at(now)).previous_accepted_until
        };
        assert!(describe("tellonce/acme/webhooks/shop", "2026-11-30T09:59:00Z").is_some());
        assert!(describe("tellonce/acme/webhooks", "2026-11-30T10:00:00Z").is_none());
        assert!(describe("tellonce/acme/lines", "2026-11-30T09:59:00Z").is_none());
    }
}
