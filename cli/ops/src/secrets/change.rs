//! Stores values: which secrets change and how, and the change itself.
//!
//! A new version of a secret first gets a stage of tellonce's own. Then `AWSCURRENT` moves to it
//! from the version that was read, and from no other: Secrets Manager refuses the move if
//! `AWSCURRENT` moved meanwhile. So a change of another caller between the plan and its effect is
//! never overwritten. Source: `UpdateSecretVersionStage`, `RemoveFromVersionId`, in the AWS Secrets
//! Manager API Reference. A caller that stores without such a check can still overwrite this
//! change.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::{Client, types::Tag};
use jiff::Timestamp;
use rand::random;
use serde::Serialize;
use serde_json::{Map, Value};
use tellonce_check::NeededSecret;
use tellonce_core::{client_config::ClientConfig, secret::Secret};

use super::{
    known_secret::{CURRENT, KnownSecret, PREVIOUS, SecretText},
    secrets_error::{SecretsError, has_code},
    survey::{SecretGroup, accepted_until, group_by_secret},
};
use crate::client_stack::ClientStack;

/// The stage of a version that is not current yet.
const PENDING: &str = "TELLONCE_PENDING";

/// What will be stored.
#[derive(Debug, Clone, Default)]
pub struct NewValues {
    /// By their full names, as `tellonce check` lists them.
    pub values: BTreeMap<String, Secret>,
    /// The key for secrets that do not exist yet. Without one, the key of the client's others.
    pub kms_key: Option<String>,
    /// Whether the values before end at once: each secret is stored twice, so that both versions
    /// hold the new value.
    pub ends_old: bool,
}

/// What a command will do to secrets.
#[derive(Debug, Clone, Serialize)]
pub struct SecretsPlan {
    /// The secrets that change.
    pub changes: Vec<SecretChange>,
    /// The values that are stored already, by their full names.
    pub unchanged: Vec<String>,
    /// Whether the values before end at once.
    pub ends_old: bool,
}

/// What will change in one secret.
#[derive(Debug, Clone, Serialize)]
pub struct SecretChange {
    /// The secret.
    pub secret: String,
    /// Whether it does not exist yet.
    pub is_new: bool,
    /// The values that it gets, by their full names.
    pub values: Vec<String>,
    /// Which of its values have an older value that is accepted now and will not be afterwards.
    pub ends_early: Vec<String>,
    /// Until when the older values would be accepted.
    pub accepted_until: Option<Timestamp>,
    /// The key of a new secret, if it is not the key of AWS.
    pub kms_key: Option<String>,
    #[serde(skip)]
    text: Secret,
    /// The version that was read.
    #[serde(skip)]
    version: String,
}

impl SecretsPlan {
    /// How many values are stored.
    pub fn count_values(&self) -> usize {
        self.changes.iter().map(|change| change.values.len()).sum()
    }
}

/// A value with its place in a secret.
struct PlacedValue<'v> {
    name: String,
    member: Option<String>,
    value: &'v Secret,
}

pub(super) async fn plan(
    stack: &ClientStack,
    config: &ClientConfig,
    new: &NewValues,
) -> Result<SecretsPlan, SecretsError> {
    let mut plan = SecretsPlan { changes: Vec::new(), unchanged: Vec::new(), ends_old: new.ends_old };
    let mut keys: Vec<Option<String>> = Vec::new();
    let mut others = Vec::new();
    for group in group_by_secret(config) {
        let change = PlacedChange::new(group, &new.values);
        if change.values.is_empty() {
            others.push(change.secret);
            continue;
        }
        let known = KnownSecret::find(&stack.secrets_manager, &change.secret).await?;
        keys.extend(known.as_ref().map(|known| known.kms_key.clone()));
        match known {
            None => plan.changes.push(change.create(new.kms_key.clone())),
            Some(KnownSecret { deleted_at: Some(_), .. }) => return Err(SecretsError::Deleted(change.secret)),
            Some(known) => {
                let planned = change.replace(stack, &known, &mut plan).await?;
                plan.changes.extend(planned);
            }
        }
    }
    // A new secret has the key of the client's others.
    if plan.changes.iter().any(|change| change.is_new && change.kms_key.is_none()) {
        for secret in others {
            keys.extend(KnownSecret::find(&stack.secrets_manager, &secret).await?.map(|known| known.kms_key));
        }
    }
    if let [Some(key), rest @ ..] = &keys[..]
        && rest.iter().all(|other| other.as_ref() == Some(key))
    {
        for change in plan.changes.iter_mut().filter(|change| change.is_new && change.kms_key.is_none()) {
            change.kms_key = Some(key.clone());
        }
    }
    Ok(plan)
}

/// New values in their places of one secret.
struct PlacedChange<'v> {
    secret: String,
    values: Vec<PlacedValue<'v>>,
    /// Whether they are all values that belong into the secret.
    is_whole: bool,
}

impl<'v> PlacedChange<'v> {
    fn new(group: SecretGroup, new: &'v BTreeMap<String, Secret>) -> Self {
        let count = group.values.len();
        let place = |(needed, member): (NeededSecret, Option<String>)| {
            let value = new.get(&needed.name)?;
            Some(PlacedValue { name: needed.name, member, value })
        };
        let values: Vec<PlacedValue<'_>> = group.values.into_iter().filter_map(place).collect();
        Self { secret: group.name, is_whole: values.len() == count, values }
    }

    fn create(self, kms_key: Option<String>) -> SecretChange {
        SecretChange {
            is_new: true,
            values: self.values.iter().map(|value| value.name.clone()).collect(),
            ends_early: Vec::new(),
            accepted_until: None,
            kms_key,
            text: write_text(None, &self.values),
            version: String::new(),
            secret: self.secret,
        }
    }

    /// The change of a secret that exists; `None` if it holds these values already.
    async fn replace(
        self,
        stack: &ClientStack,
        known: &KnownSecret,
        plan: &mut SecretsPlan,
    ) -> Result<Option<SecretChange>, SecretsError> {
        let (client, secret) = (&stack.secrets_manager, self.secret);
        let Some(current) = SecretText::read(client, &secret, CURRENT).await? else {
            return Err(SecretsError::NoValue(secret));
        };
        let has_members = self.values.iter().any(|value| value.member.is_some());
        let members = current.members().filter(|_| has_members);
        if has_members && members.is_none() && !self.is_whole {
            return Err(SecretsError::Malformed(secret));
        }
        let stored = |member: &Option<String>| match (member, &members) {
            (None, _) => Some(current.text.expose()),
            (Some(member), Some(members)) => members.get(member).and_then(Value::as_str),
            (Some(_), None) => None,
        };
        let is_same = |value: &&PlacedValue<'_>| stored(&value.member) == Some(value.value.expose());
        let (same, changed): (Vec<_>, Vec<_>) = self.values.iter().partition(is_same);
        if changed.is_empty() && !plan.ends_old {
            plan.unchanged.extend(same.iter().map(|value| value.name.clone()));
            return Ok(None);
        }
        let stored_at = known.find_version(CURRENT).and_then(|version| version.stored_at);
        let until = accepted_until(&secret, stored_at).filter(|until| *until > stack.now());
        let ends_early = match (until, known.find_version(PREVIOUS)) {
            (Some(_), Some(_)) => SecretText::read(client, &secret, PREVIOUS).await?,
            _ => None,
        };
        let ends_early = ends_early.map(|previous| list_differences(&secret, &current, &previous, has_members));
        let ends_early = ends_early.unwrap_or_default();
        Ok(Some(SecretChange {
            is_new: false,
            values: if changed.is_empty() { same } else { changed }.iter().map(|value| value.name.clone()).collect(),
            accepted_until: until.filter(|_| !ends_early.is_empty()),
            ends_early,
            kms_key: None,
            text: write_text(members.as_ref(), &self.values),
            version: current.version,
            secret,
        }))
    }
}

/// The values of a secret whose older value differs from the current one.
fn list_differences(secret: &str, current: &SecretText, previous: &SecretText, has_members: bool) -> Vec<String> {
    if !has_members {
        return if current.text == previous.text { Vec::new() } else { vec![secret.to_owned()] };
    }
    let (current, previous) = (current.members().unwrap_or_default(), previous.members().unwrap_or_default());
    let differs = |(member, value): &(&String, &Value)| current.get(*member).is_some_and(|now| now != *value);
    previous.iter().filter(differs).map(|(member, _)| format!("{secret}/{member}")).collect()
}

/// The text of a secret with these values. Other members stay as they are.
fn write_text(members: Option<&Map<String, Value>>, values: &[PlacedValue<'_>]) -> Secret {
    let mut members = members.cloned().unwrap_or_default();
    for PlacedValue { member, value, .. } in values {
        match member {
            None => return Secret::new(value.expose()),
            Some(member) => members.insert(member.clone(), Value::String(value.expose().to_owned())),
        };
    }
    Secret::new(Value::Object(members).to_string())
}

/// Stores what a plan says, one secret after the other.
pub(super) async fn apply(stack: &ClientStack, plan: &SecretsPlan) -> Result<(), SecretsError> {
    for change in &plan.changes {
        let client = &stack.secrets_manager;
        let stored = if change.is_new {
            create(client, stack.client(), change).await?
        } else {
            replace(client, change, &change.version).await?
        };
        if plan.ends_old && !change.is_new {
            replace(client, change, &stored).await?;
        }
    }
    Ok(())
}

/// The id of a new version.
fn new_version_id() -> String {
    format!("{:032x}", random::<u128>())
}

async fn create(client: &Client, owner: &str, change: &SecretChange) -> Result<String, SecretsError> {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let id = new_version_id();
    let created = client
        .create_secret()
        .name(&change.secret)
        .client_request_token(&id)
        .secret_string(change.text.expose())
        .set_kms_key_id(change.kms_key.clone())
        .tags(tag("project", "tellonce"))
        .tags(tag("client", owner));
    match created.send().await {
        Ok(_) => Ok(id),
        Err(error) if has_code(&error, "ResourceExistsException") => {
            Err(SecretsError::ChangedMeanwhile(change.secret.clone()))
        }
        Err(error) => Err(SecretsError::of_call("create", &change.secret, error)),
    }
}

/// Stores a new version in place of the version `before`, if that is still the current one.
async fn replace(client: &Client, change: &SecretChange, before: &str) -> Result<String, SecretsError> {
    let (secret, id) = (&change.secret, new_version_id());
    let put = client
        .put_secret_value()
        .secret_id(secret)
        .client_request_token(&id)
        .secret_string(change.text.expose())
        .version_stages(PENDING);
    put.send().await.map_err(|error| SecretsError::of_call("store a version of", secret, error))?;
    let moved = client
        .update_secret_version_stage()
        .secret_id(secret)
        .version_stage(CURRENT)
        .move_to_version_id(&id)
        .remove_from_version_id(before);
    let moved = moved.send().await;
    let released =
        client.update_secret_version_stage().secret_id(secret).version_stage(PENDING).remove_from_version_id(&id);
    let released = released.send().await;
    match moved {
        Ok(_) => {}
        // The version `before` is not the current one any more.
        Err(error) if has_code(&error, "InvalidParameterException") => {
            return Err(SecretsError::ChangedMeanwhile(secret.clone()));
        }
        Err(error) => return Err(SecretsError::of_call("make a version current of", secret, error)),
    }
    let action = "store a version of, which is done, and remove the stage TELLONCE_PENDING from";
    released.map_err(|error| SecretsError::of_call(action, secret, error))?;
    Ok(id)
}
