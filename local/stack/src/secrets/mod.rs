//! Secrets Manager on this machine, over the values of a local file: the reads of functions, and
//! what an operator calls (`api`).
//!
//! The file and the methods name values. If the client stores its values by role, they are members
//! of JSON objects. Reads are counted, so that a test can check the functions' cache. The file is
//! never written: a change lasts as long as the stack. Signatures are not verified, but a function
//! can read only the secrets of its role ([`crate::iam`]).

mod api;
mod stored_secret;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
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
use tellonce_core::secret::{SecretLayout, SecretLocation, list_values};

use crate::{
    clock::LocalClock,
    iam::{self, FunctionRoles},
};

use stored_secret::{CURRENT, SecretVersion, StoredSecret};

/// The secrets of a stack.
#[derive(Debug)]
pub struct FakeSecretsManager {
    layout: SecretLayout,
    /// By the name of the secret.
    stored: Mutex<api::Stored>,
    requests: Mutex<BTreeMap<String, u64>>,
    failures_left: AtomicU32,
    delay_ms: AtomicU64,
    changes: AtomicU64,
    /// How many versions the methods made.
    versions: AtomicU64,
    clock: Arc<LocalClock>,
}

/// The texts of a secret in the file.
struct FileSecret {
    current: String,
    previous: Option<String>,
}

impl FakeSecretsManager {
    /// Reads the file: a JSON object that maps the full name of a secret to `"value"` or to
    /// `{"current": "…", "previous": "…"}`.
    pub fn read(path: &Path, layout: SecretLayout, clock: Arc<LocalClock>) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("could not read the secrets file {} (choose one with --secrets FILE)", path.display())
        })?;
        Self::parse(&text, layout, clock).with_context(|| format!("in the secrets file {}", path.display()))
    }

    /// Parses the content of the file. Errors name a secret and never show its value.
    pub fn parse(text: &str, layout: SecretLayout, clock: Arc<LocalClock>) -> anyhow::Result<Self> {
        // The parser's message may quote a value, so the error has only its position.
        let file: BTreeMap<String, Value> = serde_json::from_str(text)
            .map_err(|e| anyhow::anyhow!("not a JSON object (line {}, column {})", e.line(), e.column()))?;
        let file =
            list_values(file).map_err(|name| anyhow::anyhow!("`{name}` should be a JSON object of its members"))?;
        let created_ms = clock.now_ms();
        let mut stored: BTreeMap<String, FileSecret> = BTreeMap::new();
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
            let location = layout.locate(&name);
            let known = stored.remove(&location.secret);
            let known_previous = known.as_ref().map(|known| known.previous.as_ref().unwrap_or(&known.current));
            let has_previous = previous.is_some() || known.as_ref().is_some_and(|known| known.previous.is_some());
            let before = with_value(known_previous, &location, Some(previous.as_ref().unwrap_or(&current)));
            let secret = FileSecret {
                current: with_value(known.as_ref().map(|known| &known.current), &location, Some(&current)),
                previous: has_previous.then_some(before),
            };
            stored.insert(location.secret, secret);
        }
        let store = |FileSecret { current, previous }: FileSecret| {
            let secret = StoredSecret::new(SecretVersion::new(version_id(1), current, created_ms, CURRENT));
            match previous {
                Some(previous) => secret.with_previous(version_id(0), previous),
                None => secret,
            }
        };
        Ok(Self {
            layout,
            stored: Mutex::new(stored.into_iter().map(|(name, secret)| (name, store(secret))).collect()),
            requests: Mutex::default(),
            failures_left: AtomicU32::new(0),
            delay_ms: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            versions: AtomicU64::new(1),
            clock,
        })
    }

    /// The current value of this name.
    pub fn current_value(&self, name: &str) -> Option<String> {
        let location = self.layout.locate(name);
        let stored = tellonce_fakes::lock_mutex(&self.stored);
        let text = stored.get(&location.secret)?.current_text();
        match location.member {
            None => Some(text.to_owned()),
            Some(member) => parse_members(text).get(&member)?.as_str().map(str::to_owned),
        }
    }

    /// Names of all secrets.
    pub fn list_names(&self) -> Vec<String> {
        tellonce_fakes::lock_mutex(&self.stored).keys().cloned().collect()
    }

    /// Replaces or adds a value: the secret's version becomes previous, and one with `value`
    /// becomes current.
    pub fn rotate(&self, name: &str, value: &str) {
        self.store_value(name, Some(value));
    }

    fn store_value(&self, name: &str, value: Option<&str>) {
        let location = self.layout.locate(name);
        self.store_version(&location.secret, |before| with_value(before, &location, value));
    }

    /// Stores a new version of a whole secret, such as the JSON object of a role.
    pub fn store_text(&self, secret: &str, text: &str) {
        self.store_version(secret, |_| text.to_owned());
    }

    fn store_version(&self, secret: &str, text: impl FnOnce(Option<&String>) -> String) {
        let mut stored = tellonce_fakes::lock_mutex(&self.stored);
        let id = version_id(self.versions.fetch_add(1, Ordering::SeqCst) + 1);
        let before = stored.get(secret).map(|secret| secret.current_text().to_owned());
        let (text, now) = (text(before.as_ref()), self.clock.now_ms());
        match stored.get_mut(secret) {
            // The id is new, so no version of it can contradict this one.
            Some(known) => known.put(&id, &text, &[CURRENT], now).unwrap_or_default(),
            None => {
                stored.insert(secret.to_owned(), StoredSecret::new(SecretVersion::new(id, text, now, CURRENT)));
            }
        }
        self.count_change();
    }

    fn count_change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// How often a secret was requested or changed.
    pub(crate) fn change_count(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Removes a value, and its secret if that holds nothing else.
    pub fn remove(&self, name: &str) {
        if self.layout.locate(name).member.is_some() {
            self.store_value(name, None);
        } else {
            tellonce_fakes::lock_mutex(&self.stored).remove(name);
            self.count_change();
        }
    }

    /// Makes the next `n` requests fail with `InternalServiceError` (HTTP 500), as in an outage.
    pub fn fail_next(&self, n: u32) {
        self.failures_left.store(n, Ordering::SeqCst);
    }

    /// Delays every response by this time. Zero ends the delay.
    pub fn delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
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

    fn answer(&self, operation: &str, request: &Value) -> (StatusCode, Value) {
        if operation == "GetSecretValue" {
            let id = request["SecretId"].as_str().unwrap_or_default();
            *tellonce_fakes::lock_mutex(&self.requests).entry(id.to_owned()).or_default() += 1;
            self.count_change();
            if self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                let body =
                    json!({"__type": "InternalServiceError", "Message": "An error occurred on the server side."});
                return (StatusCode::INTERNAL_SERVER_ERROR, body);
            }
        }
        let done = api::answer(&mut tellonce_fakes::lock_mutex(&self.stored), operation, request, self.clock.now_ms());
        match done {
            Ok(reply) => {
                self.count_change();
                (StatusCode::OK, reply)
            }
            Err((kind, message)) => (StatusCode::BAD_REQUEST, json!({"__type": kind, "Message": message})),
        }
    }
}

async fn handle_http(
    State((secrets, roles)): State<(Arc<FakeSecretsManager>, Arc<FunctionRoles>)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix("secretsmanager.").unwrap_or(target);
    let request = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, body) = match roles.check_request(&headers, &iam::secret_actions(operation, &request)) {
        Some(refusal) => (StatusCode::BAD_REQUEST, refusal),
        None => secrets.answer(operation, &request),
    };
    tokio::time::sleep(Duration::from_millis(secrets.delay_ms.load(Ordering::SeqCst))).await;
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body.to_string()).into_response()
}

/// The text of a secret with another value at a location; `None` removes a member.
fn with_value(text: Option<&String>, location: &SecretLocation, value: Option<&(impl AsRef<str> + ?Sized)>) -> String {
    let value = value.map(AsRef::as_ref);
    let Some(member) = &location.member else { return value.unwrap_or_default().to_owned() };
    let mut members = text.map(|text| parse_members(text)).unwrap_or_default();
    match value {
        Some(value) => members.insert(member.clone(), json!(value)),
        None => members.remove(member),
    };
    Value::Object(members).to_string()
}

fn parse_members(text: &str) -> serde_json::Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// The id of a version that was not stored by a caller.
fn version_id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_secrets(text: &str) -> (tempfile::TempDir, FakeSecretsManager) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
        let secrets = FakeSecretsManager::parse(text, SecretLayout::Separate, clock).unwrap();
        (dir, secrets)
    }

    fn get_value(secrets: &FakeSecretsManager, id: &str, stage: Option<&str>) -> (StatusCode, Value) {
        secrets.answer("GetSecretValue", &json!({"SecretId": id, "VersionStage": stage}))
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
        let error = format!(
            "{:#}",
            FakeSecretsManager::parse(r#"{"a": ["hush"]}"#, SecretLayout::Separate, clock).unwrap_err()
        );
        assert!(error.contains("`a`") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn values_by_role_are_members_and_share_their_versions() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
        let file = r#"{"tellonce/a/webhooks/shop": {"current": "s2", "previous": "s1"}, "tellonce/a/webhooks/other": "o1",
                       "tellonce/a/apis": {"stores/shop": "t1"}}"#;
        let secrets = FakeSecretsManager::parse(file, SecretLayout::ByRole, clock).unwrap();
        let text = |stage| get_value(&secrets, "tellonce/a/webhooks", Some(stage)).1["SecretString"].clone();
        assert_eq!(text("AWSCURRENT"), r#"{"other":"o1","shop":"s2"}"#);
        assert_eq!(text("AWSPREVIOUS"), r#"{"other":"o1","shop":"s1"}"#);
        assert_eq!(secrets.list_names(), ["tellonce/a/apis", "tellonce/a/webhooks"]);
        assert_eq!(secrets.current_value("tellonce/a/stores/shop").as_deref(), Some("t1"));
        secrets.rotate("tellonce/a/webhooks/other", "o2");
        assert_eq!(text("AWSCURRENT"), r#"{"other":"o2","shop":"s2"}"#);
        assert_eq!(text("AWSPREVIOUS"), r#"{"other":"o1","shop":"s2"}"#);
        secrets.remove("tellonce/a/webhooks/shop");
        assert_eq!(text("AWSCURRENT"), r#"{"other":"o2"}"#);
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
