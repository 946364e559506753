//! Secrets Manager on this machine: `GetSecretValue` over the values of a local file.
//!
//! A secret has two versions, `AWSCURRENT` and `AWSPREVIOUS`. Requests are counted, so that a test
//! can check the functions' cache. The file is never written: a rotation lasts as long as the
//! stack. Signatures are not verified, but a function can read only the secrets of its role
//! ([`crate::iam`]).
//!
//! Shapes:
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    clock::LocalClock,
    iam::{self, FunctionRoles},
};

/// The secrets of a stack.
#[derive(Debug)]
pub struct FakeSecretsManager {
    values: Mutex<BTreeMap<String, StoredSecret>>,
    requests: Mutex<BTreeMap<String, u64>>,
    failures_left: AtomicU32,
    changes: AtomicU64,
    clock: Arc<LocalClock>,
}

#[derive(Debug, Clone)]
struct StoredSecret {
    current: String,
    previous: Option<String>,
    /// When the current value was set, in unix milliseconds.
    created_ms: i64,
    version: u32,
}

impl FakeSecretsManager {
    /// Reads the file: a JSON object that maps the full name of a secret to `"value"` or to
    /// `{"current": "…", "previous": "…"}`.
    pub fn read(path: &Path, clock: Arc<LocalClock>) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("could not read the secrets file {} (choose one with --secrets FILE)", path.display())
        })?;
        Self::parse(&text, clock).with_context(|| format!("in the secrets file {}", path.display()))
    }

    /// Parses the content of the file. Errors name a secret and never show its value.
    pub fn parse(text: &str, clock: Arc<LocalClock>) -> anyhow::Result<Self> {
        // The parser's message may quote a value, so the error has only its position.
        let file: BTreeMap<String, Value> = serde_json::from_str(text)
            .map_err(|e| anyhow::anyhow!("not a JSON object (line {}, column {})", e.line(), e.column()))?;
        let created_ms = clock.now_ms();
        let mut values = BTreeMap::new();
        for (name, value) in file {
            let text = |v: Option<&Value>| v.and_then(Value::as_str).map(str::to_owned);
            let (current, previous) = match &value {
                Value::String(current) => (Some(current.clone()), None),
                Value::Object(versions) => (text(versions.get("current")), text(versions.get("previous"))),
                _ => (None, None),
            };
            let current = current.with_context(|| {
                format!("`{name}` should be a string or {{\"current\": \"…\", \"previous\": \"…\"}}")
            })?;
            values.insert(name, StoredSecret { current, previous, created_ms, version: 1 });
        }
        Ok(Self {
            values: Mutex::new(values),
            requests: Mutex::default(),
            failures_left: AtomicU32::new(0),
            changes: AtomicU64::new(0),
            clock,
        })
    }

    /// The current value of a secret.
    pub fn current_value(&self, name: &str) -> Option<String> {
        tellonce_fakes::lock_mutex(&self.values).get(name).map(|secret| secret.current.clone())
    }

    /// Names of all secrets.
    pub fn list_names(&self) -> Vec<String> {
        tellonce_fakes::lock_mutex(&self.values).keys().cloned().collect()
    }

    /// Rotates a secret: `value` becomes current, the current value becomes previous. Adds an
    /// unknown name.
    pub fn rotate(&self, name: &str, value: &str) {
        let mut values = tellonce_fakes::lock_mutex(&self.values);
        let old = values.get(name);
        let secret = StoredSecret {
            current: value.to_owned(),
            previous: old.map(|secret| secret.current.clone()),
            created_ms: self.clock.now_ms(),
            version: old.map_or(1, |secret| secret.version + 1),
        };
        values.insert(name.to_owned(), secret);
        self.count_change();
    }

    fn count_change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// How often a secret was requested or changed.
    pub(crate) fn change_count(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Removes a secret.
    pub fn remove(&self, name: &str) {
        tellonce_fakes::lock_mutex(&self.values).remove(name);
        self.count_change();
    }

    /// Makes the next `n` requests fail with `InternalServiceError` (HTTP 500), as in an outage.
    pub fn fail_next(&self, n: u32) {
        self.failures_left.store(n, Ordering::SeqCst);
    }

    /// Requests for this secret since the start or the last [`Self::reset_requests`].
    pub fn request_count(&self, name: &str) -> u64 {
        tellonce_fakes::lock_mutex(&self.requests).get(name).copied().unwrap_or(0)
    }

    /// Requests for all secrets since the start or the last [`Self::reset_requests`].
    pub fn total_request_count(&self) -> u64 {
        tellonce_fakes::lock_mutex(&self.requests).values().sum()
    }

    /// Resets the counts.
    pub fn reset_requests(&self) {
        tellonce_fakes::lock_mutex(&self.requests).clear();
        self.count_change();
    }

    /// The HTTP endpoint, for callers with these roles.
    pub(crate) fn build_router(self: Arc<Self>, roles: Arc<FunctionRoles>) -> Router {
        Router::new().route("/", post(handle_http)).with_state((self, roles))
    }

    fn get_secret_value(&self, body: &[u8]) -> (StatusCode, Value) {
        let request: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let Some(id) = request["SecretId"].as_str() else {
            return error_reply("InvalidParameterException", "SecretId is missing");
        };
        *tellonce_fakes::lock_mutex(&self.requests).entry(id.to_owned()).or_default() += 1;
        self.count_change();
        if self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let body = json!({"__type": "InternalServiceError", "Message": "An error occurred on the server side."});
            return (StatusCode::INTERNAL_SERVER_ERROR, body);
        }
        let values = tellonce_fakes::lock_mutex(&self.values);
        let Some(secret) = values.get(id) else {
            return error_reply("ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
        };
        let stage = request["VersionStage"].as_str().unwrap_or("AWSCURRENT");
        let (value, version, age_ms) = match (stage, &secret.previous) {
            ("AWSCURRENT", _) => (&secret.current, secret.version, 0),
            // The date of the previous value is not known here. It counts as one day older.
            ("AWSPREVIOUS", Some(previous)) => (previous, secret.version.saturating_sub(1), 86_400_000),
            _ => {
                let message =
                    format!("Secrets Manager can't find the specified secret value for staging label: {stage}");
                return error_reply("ResourceNotFoundException", &message);
            }
        };
        let created_ms = secret.created_ms - age_ms;
        #[expect(clippy::cast_precision_loss, reason = "AWS itself sends seconds as a double")]
        let created = created_ms as f64 / 1000.0;
        let body = json!({
            "ARN": format!("arn:aws:secretsmanager:{}:{}:secret:{id}-AbCdEf", crate::REGION, crate::ACCOUNT),
            "Name": id,
            "VersionId": format!("00000000-0000-4000-8000-{version:012}"),
            "SecretString": value,
            "VersionStages": [stage],
            "CreatedDate": created,
        });
        (StatusCode::OK, body)
    }
}

fn error_reply(kind: &str, message: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({"__type": kind, "Message": message}))
}

async fn handle_http(
    State((secrets, roles)): State<(Arc<FakeSecretsManager>, Arc<FunctionRoles>)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let request = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, body) = match target {
        "secretsmanager.GetSecretValue" => match roles.check_request(&headers, &iam::secret_action(&request)) {
            Some(refusal) => (StatusCode::BAD_REQUEST, refusal),
            None => secrets.get_secret_value(&body),
        },
        other => error_reply(
            "UnknownOperationException",
            &format!("the local stack has no Secrets Manager operation {other}"),
        ),
    };
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_secrets(text: &str) -> (tempfile::TempDir, FakeSecretsManager) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
        let secrets = FakeSecretsManager::parse(text, clock).unwrap();
        (dir, secrets)
    }

    fn get_value(secrets: &FakeSecretsManager, id: &str, stage: Option<&str>) -> (StatusCode, Value) {
        secrets.get_secret_value(json!({"SecretId": id, "VersionStage": stage}).to_string().as_bytes())
    }

    #[test]
    fn a_rotation_moves_current_to_previous_and_dates_the_new_value() {
        let (_dir, secrets) = parse_secrets(r#"{"a": "one"}"#);
        let (status, before) = get_value(&secrets, "a", None);
        assert_eq!((status, &before["SecretString"]), (StatusCode::OK, &json!("one")));
        assert_eq!(get_value(&secrets, "a", Some("AWSPREVIOUS")).0, StatusCode::BAD_REQUEST);
        secrets.clock.advance(std::time::Duration::from_hours(1)).unwrap();
        secrets.rotate("a", "two");
        let (_, after) = get_value(&secrets, "a", Some("AWSCURRENT"));
        assert_eq!(after["SecretString"], "two");
        assert!(after["CreatedDate"].as_f64().unwrap() - before["CreatedDate"].as_f64().unwrap() >= 3600.0);
        assert_eq!(get_value(&secrets, "a", Some("AWSPREVIOUS")).1["SecretString"], "one");
        assert_eq!(secrets.request_count("a"), 4);
    }

    #[test]
    fn an_unknown_secret_is_not_found() {
        let (_dir, secrets) = parse_secrets("{}");
        let (status, body) = get_value(&secrets, "nope", None);
        assert_eq!((status, &body["__type"]), (StatusCode::BAD_REQUEST, &json!("ResourceNotFoundException")));
    }

    #[test]
    fn both_versions_can_come_from_the_file() {
        let (_dir, secrets) = parse_secrets(r#"{"a": {"current": "new", "previous": "old"}}"#);
        assert_eq!(get_value(&secrets, "a", None).1["SecretString"], "new");
        assert_eq!(get_value(&secrets, "a", Some("AWSPREVIOUS")).1["SecretString"], "old");
    }

    #[test]
    fn a_secret_that_is_not_a_text_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
        let error = format!("{:#}", FakeSecretsManager::parse(r#"{"a": ["hush"]}"#, clock).unwrap_err());
        assert!(error.contains("`a`") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn an_outage_lasts_as_many_requests_as_asked_for() {
        let (_dir, secrets) = parse_secrets(r#"{"a": "one"}"#);
        secrets.fail_next(2);
        assert_eq!(get_value(&secrets, "a", None).0, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(get_value(&secrets, "a", None).0, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(get_value(&secrets, "a", None).0, StatusCode::OK);
    }
}
