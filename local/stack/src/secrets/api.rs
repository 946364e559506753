//! The operations of Secrets Manager that functions and operators call.
//!
//! Shapes: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Operations.html>.
//! Not imitated: rotation, deletion, resource policies, replicas, and the encryption itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::stored_secret::{CURRENT, Refusal, SecretVersion, StoredSecret, seconds};
use crate::iam;

/// The most bytes of a secret.
const MAX_BYTES: usize = 65_536;

/// By the name of the secret.
pub(super) type Stored = BTreeMap<String, StoredSecret>;

/// The response to an operation, or the kind of its error and the message.
pub(super) fn answer(stored: &mut Stored, operation: &str, request: &Value, now_ms: i64) -> Result<Value, Refusal> {
    if operation == "CreateSecret" {
        create(stored, request, now_ms)
    } else {
        change(stored, operation, request, now_ms)
    }
}

fn text<'r>(request: &'r Value, name: &str) -> Option<&'r str> {
    request[name].as_str()
}

fn invalid(message: impl Into<String>) -> Refusal {
    ("InvalidParameterException", message.into())
}

/// The id of a new version: the caller's token, as in AWS, where the SDK makes one.
fn new_version(request: &Value) -> Result<(&str, &str), Refusal> {
    let id = text(request, "ClientRequestToken").filter(|id| (32..=64).contains(&id.len()));
    let id = id.ok_or_else(|| invalid("ClientRequestToken should have 32 to 64 characters"))?;
    let value = text(request, "SecretString").ok_or_else(|| invalid("You must provide SecretString"))?;
    if value.len() > MAX_BYTES {
        return Err(invalid("SecretString is longer than 65536 bytes"));
    }
    Ok((id, value))
}

fn create(stored: &mut Stored, request: &Value, now_ms: i64) -> Result<Value, Refusal> {
    let name = text(request, "Name").filter(|name| !name.is_empty()).ok_or_else(|| invalid("Name is missing"))?;
    let (id, value) = new_version(request)?;
    if let Some(known) = stored.get(name) {
        let is_repeat = known.find_version(id).is_some_and(|version| version.text == value);
        let message = format!("The operation failed because the secret {name} already exists.");
        return if is_repeat { Ok(named(name, id)) } else { Err(("ResourceExistsException", message)) };
    }
    let mut secret = StoredSecret::new(SecretVersion::new(id.to_owned(), value.to_owned(), now_ms, CURRENT));
    secret.kms_key = text(request, "KmsKeyId").map(str::to_owned);
    secret.tags = request["Tags"].as_array().map_or_else(|| json!([]), |tags| json!(tags));
    stored.insert(name.to_owned(), secret);
    Ok(named(name, id))
}

fn change(stored: &mut Stored, operation: &str, request: &Value, now_ms: i64) -> Result<Value, Refusal> {
    let name = text(request, "SecretId").ok_or_else(|| invalid("SecretId is missing"))?;
    let not_found = || ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.".to_owned());
    let secret = stored.get_mut(name).ok_or_else(not_found)?;
    match operation {
        "GetSecretValue" => read(secret, name, request, now_ms),
        "DescribeSecret" => Ok(with_name(secret.describe(), name)),
        "ListSecretVersionIds" => Ok(with_name(json!({"Versions": secret.list_versions()}), name)),
        "PutSecretValue" => {
            let (id, value) = new_version(request)?;
            let stages: Vec<&str> = match request["VersionStages"].as_array() {
                Some(stages) => stages.iter().filter_map(Value::as_str).collect(),
                None => vec![CURRENT],
            };
            secret.put(id, value, &stages, now_ms)?;
            Ok(named(name, id))
        }
        "UpdateSecretVersionStage" => {
            let stage = text(request, "VersionStage").ok_or_else(|| invalid("VersionStage is missing"))?;
            secret.move_stage(stage, text(request, "RemoveFromVersionId"), text(request, "MoveToVersionId"))?;
            Ok(with_name(json!({}), name))
        }
        other => {
            Err(("UnknownOperationException", format!("the local stack has no Secrets Manager operation {other}")))
        }
    }
}

fn read(secret: &mut StoredSecret, name: &str, request: &Value, now_ms: i64) -> Result<Value, Refusal> {
    let stage = text(request, "VersionStage").unwrap_or(CURRENT);
    let found = match text(request, "VersionId") {
        Some(id) => secret.find_version(id),
        None => secret.find(stage),
    };
    let Some(version) = found.cloned() else {
        let message = format!("Secrets Manager can't find the specified secret value for staging label: {stage}");
        return Err(("ResourceNotFoundException", message));
    };
    secret.note_access(&version.id, now_ms);
    let reply = json!({
        "VersionId": version.id, "SecretString": version.text, "VersionStages": version.stages,
        "CreatedDate": seconds(version.created_ms),
    });
    Ok(with_name(reply, name))
}

fn named(name: &str, version: &str) -> Value {
    with_name(json!({"VersionId": version}), name)
}

fn with_name(mut reply: Value, name: &str) -> Value {
    reply["ARN"] = iam::secret_arn(name).into();
    reply["Name"] = name.into();
    reply
}
