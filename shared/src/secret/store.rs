//! Reads secrets and caches their values.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_sdk_secretsmanager::Client;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Secret,
    layout::{SecretLayout, SecretLocation},
    secret_error::SecretError,
    version::{SecretContent, SecretVersion, Stage, request_version},
};
use crate::fault::error_chain;

/// How long a value is used without another read, in seconds.
pub const CACHE_SECONDS: i64 = 15 * 60;
/// Shortest time between two reads after refused values or failures, in seconds.
pub const REFETCH_SECONDS: i64 = 30;
/// How long after a rotation the value before it is valid, in seconds.
pub const PREVIOUS_VALID_SECONDS: i64 = 24 * 3600;

/// A read that callers share while it runs.
type SharedRead = Shared<BoxFuture<'static, Result<SecretVersion, SecretError>>>;
type WeakRead = WeakShared<BoxFuture<'static, Result<SecretVersion, SecretError>>>;

#[derive(Clone)]
struct CachedSecret {
    current: SecretVersion,
    /// When the current version was read.
    fetched_at: Timestamp,
    /// When a read was last tried: later than `fetched_at` if that read failed.
    tried_at: Timestamp,
    /// The version before it, once it was read.
    previous: PreviousVersion,
}

impl CachedSecret {
    /// Whether it is used without another read. After a failed read the next is tried a while
    /// later.
    fn is_fresh(&self, now: Timestamp) -> bool {
        seconds_since(self.fetched_at, now) < CACHE_SECONDS
            || (self.tried_at > self.fetched_at && self.was_just_tried(now))
    }

    fn was_just_tried(&self, now: Timestamp) -> bool {
        seconds_since(self.tried_at, now) < REFETCH_SECONDS
    }

    /// The value at this place, if it is not the refused one.
    fn find_other(&self, location: &SecretLocation, refused: &Secret) -> Option<Secret> {
        self.current.content.find_value(location).ok().filter(|value| value != refused)
    }
}

#[derive(Clone)]
enum PreviousVersion {
    NotFetched,
    /// A read failed at this time.
    Unavailable(Timestamp),
    Absent,
    Known(SecretContent),
}

/// The secrets a function may read.
pub struct SecretStore {
    client: Client,
    layout: SecretLayout,
    /// By the name of the secret.
    cache: Mutex<HashMap<String, CachedSecret>>,
    /// Values that are not usable, and when that was read.
    unusable: Mutex<HashMap<SecretLocation, (SecretError, Timestamp)>>,
    /// The reads that run.
    reads: Mutex<HashMap<(String, Stage), WeakRead>>,
}

impl SecretStore {
    /// A store that reads values of this layout with this client.
    pub fn new(client: Client, layout: SecretLayout) -> Self {
        Self { client, layout, cache: Mutex::default(), unusable: Mutex::default(), reads: Mutex::default() }
    }

    /// The value of this name, at most [`CACHE_SECONDS`] old. That it has none is remembered for
    /// [`REFETCH_SECONDS`], because strangers may decide how often it is needed.
    pub async fn get_current(&self, name: &str, now: Timestamp) -> Result<Secret, SecretError> {
        let location = self.layout.locate(name);
        let cached = self.find_cached(&location.secret);
        let known = cached.as_ref().map(|cached| cached.current.content.find_value(&location));
        if let (Some(cached), Some(Ok(value))) = (&cached, &known)
            && cached.is_fresh(now)
        {
            return Ok(value.clone());
        }
        if let Some(error) = self.find_unusable(&location, now) {
            return Err(error);
        }
        let value = match (&cached, known) {
            // The secret was just read, and has no such member.
            (Some(cached), Some(Err(error))) if cached.was_just_tried(now) => Err(error),
            (_, known) => match self.fetch_current(&location, now).await {
                Ok(fetched) => fetched.content.find_value(&location),
                Err(error @ SecretError::Unavailable { .. }) => {
                    // An older value is better than none while Secrets Manager is unavailable.
                    let Some(Ok(older)) = known else { return Err(error) };
                    tracing::warn!("used an older value of secret {location}: {}", error_chain(&error));
                    return Ok(older);
                }
                Err(error) => Err(error),
            },
        };
        value.inspect_err(|error| self.remember_unusable(error, now))
    }

    /// The value after one that did not fit a stranger's proof. `None` if the value is the same, or
    /// if its secret was read less than [`REFETCH_SECONDS`] ago.
    pub async fn refetch_rate_limited(
        &self,
        name: &str,
        refused: &Secret,
        now: Timestamp,
    ) -> Result<Option<Secret>, SecretError> {
        let location = self.layout.locate(name);
        match self.find_cached(&location.secret) {
            Some(cached) if cached.was_just_tried(now) => Ok(cached.find_other(&location, refused)),
            _ => self.refetch(name, refused, now).await,
        }
    }

    /// The value after one that was refused. `None` if the stored value is still the refused one.
    /// Another caller may have read the newer value since: then it costs no request.
    pub async fn refetch(&self, name: &str, refused: &Secret, now: Timestamp) -> Result<Option<Secret>, SecretError> {
        let location = self.layout.locate(name);
        let cached = self.find_cached(&location.secret);
        if let Some(newer) = cached.and_then(|cached| cached.find_other(&location, refused)) {
            return Ok(Some(newer));
        }
        let fetched = self.fetch_current(&location, now).await?.content.find_value(&location)?;
        Ok((fetched != *refused).then_some(fetched))
    }

    /// Runs `attempt` with a value. If the value is refused and a newer one is stored, runs it
    /// again with that.
    pub async fn retry_with_newer<T, E: From<SecretError>>(
        &self,
        name: &str,
        value: &Secret,
        now: Timestamp,
        refused: impl Fn(&E) -> bool,
        attempt: impl AsyncFn(&Secret) -> Result<T, E>,
    ) -> Result<T, E> {
        match attempt(value).await {
            Err(error) if refused(&error) => match self.refetch(name, value, now).await? {
                Some(newer) => attempt(&newer).await,
                None => Err(error),
            },
            done => done,
        }
    }

    /// The value before the last rotation, while it is valid. If a secret holds several values,
    /// this is the value in its version before, if it differs from the current one.
    pub async fn get_previous(&self, name: &str, now: Timestamp) -> Result<Option<Secret>, SecretError> {
        let location = self.layout.locate(name);
        let (current, previous) = match self.find_cached(&location.secret) {
            Some(cached) => (cached.current, cached.previous),
            None => (self.fetch_current(&location, now).await?, PreviousVersion::NotFetched),
        };
        let still_counts = current
            .created_at
            .is_some_and(|at| now.duration_since(at) < SignedDuration::from_secs(PREVIOUS_VALID_SECONDS));
        if !still_counts {
            return Ok(None);
        }
        let previous = match previous {
            PreviousVersion::Known(content) => content,
            PreviousVersion::Absent => return Ok(None),
            // Strangers may decide how often this is needed.
            PreviousVersion::Unavailable(at) if seconds_since(at, now) < REFETCH_SECONDS => return Ok(None),
            PreviousVersion::Unavailable(_) | PreviousVersion::NotFetched => {
                match self.fetch_previous(&location, now).await? {
                    Some(content) => content,
                    None => return Ok(None),
                }
            }
        };
        // A member that the version before does not have is new.
        let older = previous.find_value(&location).ok();
        let newer = current.content.find_value(&location).ok();
        Ok(older.filter(|older| newer.as_ref() != Some(older)))
    }

    fn find_cached(&self, secret: &str) -> Option<CachedSecret> {
        lock(&self.cache).get(secret).cloned()
    }

    /// The remembered error of a value or of its whole secret.
    fn find_unusable(&self, location: &SecretLocation, now: Timestamp) -> Option<SecretError> {
        let unusable = lock(&self.unusable);
        let (error, read_at) = unusable.get(location).or_else(|| unusable.get(&location.whole()))?;
        (seconds_since(*read_at, now) < REFETCH_SECONDS).then(|| error.to_remembered()).flatten()
    }

    fn remember_unusable(&self, error: &SecretError, now: Timestamp) {
        lock(&self.unusable).insert(error.location().clone(), (error.clone(), now));
    }

    /// Reads the current version of a secret into the cache.
    async fn fetch_current(&self, location: &SecretLocation, now: Timestamp) -> Result<SecretVersion, SecretError> {
        let read = self.read_version(location, Stage::Current).await;
        let mut cache = lock(&self.cache);
        match &read {
            Ok(current) => {
                lock(&self.unusable).retain(|unusable, _| unusable.secret != location.secret);
                let known = cache.remove(&location.secret);
                let same = known.filter(|known| known.current.id.is_some() && known.current.id == current.id);
                let previous = same.map_or(PreviousVersion::NotFetched, |known| known.previous);
                let fetched = CachedSecret { current: current.clone(), fetched_at: now, tried_at: now, previous };
                cache.insert(location.secret.clone(), fetched);
            }
            Err(SecretError::Unavailable { .. }) => {
                if let Some(known) = cache.get_mut(&location.secret) {
                    known.tried_at = now;
                }
            }
            // The secret was deleted, or the function's role may not read it any more. Its older
            // value ends too.
            Err(_) => {
                cache.remove(&location.secret);
            }
        }
        read
    }

    /// Reads the version before the current one into the cache; `None` if there is none that can be
    /// used.
    async fn fetch_previous(
        &self,
        location: &SecretLocation,
        now: Timestamp,
    ) -> Result<Option<SecretContent>, SecretError> {
        let (read, previous) = match self.read_version(location, Stage::Previous).await {
            Ok(version) => (Ok(Some(version.content.clone())), PreviousVersion::Known(version.content)),
            // A secret that was never rotated has no previous version.
            Err(SecretError::Missing { .. } | SecretError::Empty { .. } | SecretError::Malformed { .. }) => {
                (Ok(None), PreviousVersion::Absent)
            }
            Err(error @ (SecretError::Forbidden { .. } | SecretError::Unavailable { .. })) => {
                (Err(error), PreviousVersion::Unavailable(now))
            }
        };
        if let Some(entry) = lock(&self.cache).get_mut(&location.secret) {
            entry.previous = previous;
        }
        read
    }

    /// Reads a version, or waits for the same read of another caller. A read whose callers are all
    /// gone ends.
    async fn read_version(&self, location: &SecretLocation, stage: Stage) -> Result<SecretVersion, SecretError> {
        let read: SharedRead = {
            let mut reads = lock(&self.reads);
            let key = (location.secret.clone(), stage);
            let running = reads.get(&key).and_then(WeakShared::upgrade);
            running.unwrap_or_else(|| {
                let read = request_version(self.client.clone(), location.clone(), stage).boxed().shared();
                if let Some(weak) = read.downgrade() {
                    reads.insert(key, weak);
                }
                read
            })
        };
        read.await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds_since(at: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(at).as_secs()
}

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};
    use serde_json::json;

    use super::*;
    use crate::bootstrap::tests::start_fake_aws;

    const SHOP: &str = "tellonce/demo/webhooks/shop";
    const OTHER: &str = "tellonce/demo/webhooks/other";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_796_000_000 + seconds).unwrap()
    }

    async fn fake_store(layout: SecretLayout) -> (FakeApi, SecretStore) {
        let (fake_api, aws) = start_fake_aws().await;
        (fake_api, SecretStore::new(aws.secrets_manager(), layout))
    }

    /// A version that was stored at second 0.
    fn version(id: &str, text: &str) -> String {
        let body = json!({ "VersionId": id, "SecretString": text, "CreatedDate": at(0).as_second() });
        http_response("200 OK\r\ncontent-type: application/x-amz-json-1.1", &body.to_string())
    }

    /// Runs `work` while the fake gives these responses, and no other.
    async fn with_replies<T>(fake_api: &FakeApi, replies: &[String], work: impl Future<Output = T>) -> T {
        let serve = async {
            for reply in replies {
                fake_api.reply_once(reply).await.unwrap();
            }
        };
        tokio::join!(serve, work).1
    }

    #[tokio::test]
    async fn values_that_are_needed_at_once_cost_one_request() {
        let (fake_api, store) = fake_store(SecretLayout::ByRole).await;
        let both = async { tokio::join!(store.get_current(SHOP, at(1)), store.get_current(OTHER, at(1))) };
        let reply = version("1", r#"{"shop": "s", "other": "o"}"#);
        let (shop, other) = with_replies(&fake_api, std::slice::from_ref(&reply), both).await;
        assert_eq!((shop.unwrap().expose(), other.unwrap().expose()), ("s", "o"));
        let (fake_api, store) = fake_store(SecretLayout::Separate).await;
        let both = async { tokio::join!(store.get_current(SHOP, at(1)), store.get_current(SHOP, at(1))) };
        let (one, again) = with_replies(&fake_api, &[version("1", "s")], both).await;
        assert_eq!((one.unwrap().expose(), again.unwrap().expose()), ("s", "s"));
    }

    #[tokio::test]
    async fn an_unusable_secret_of_a_role_is_named_with_its_member_and_not_shown() {
        for (text, message) in [
            ("hunter", "the secret tellonce/demo/webhooks is not a JSON object; `tellonce check` shows its members"),
            (
                r#"["hunter"]"#,
                "the secret tellonce/demo/webhooks is not a JSON object; `tellonce check` shows its members",
            ),
            (
                r#"{"shopp": "hunter"}"#,
                "the secret tellonce/demo/webhooks (member `shop`) does not exist; create it in Secrets Manager",
            ),
            (
                r#"{"shop": {"hunter": 2}}"#,
                "the secret tellonce/demo/webhooks (member `shop`) holds no text; store a text that is not blank",
            ),
            (
                r#"{"shop": " "}"#,
                "the secret tellonce/demo/webhooks (member `shop`) holds no text; store a text that is not blank",
            ),
        ] {
            let (fake_api, store) = fake_store(SecretLayout::ByRole).await;
            let asked = with_replies(&fake_api, &[version("1", text)], store.get_current(SHOP, at(1))).await;
            let error = asked.unwrap_err();
            assert_eq!(error_chain(&error), message);
            assert!(!format!("{error:?}").contains("hunter") && !error.is_remembered());
            // For half a minute this is known without a request. Then it may be repaired.
            assert!(store.get_current(SHOP, at(20)).await.unwrap_err().is_remembered());
            let repaired = [version("2", r#"{"shop": "s"}"#)];
            let asked = with_replies(&fake_api, &repaired, store.get_current(SHOP, at(32))).await;
            assert_eq!(asked.unwrap().expose(), "s");
        }
    }

    #[tokio::test]
    async fn a_missing_member_costs_the_others_no_request() {
        let (fake_api, store) = fake_store(SecretLayout::ByRole).await;
        let reply = [version("1", r#"{"shop": "s"}"#)];
        let asked = with_replies(&fake_api, &reply, store.get_current(SHOP, at(1))).await;
        assert_eq!(asked.unwrap().expose(), "s");
        let missing = store.get_current(OTHER, at(2)).await.unwrap_err();
        assert!(matches!(missing, SecretError::Missing { remembered: false, .. }), "{missing}");
        assert!(store.get_current(OTHER, at(3)).await.unwrap_err().is_remembered());
        assert_eq!(store.get_current(SHOP, at(4)).await.unwrap().expose(), "s");
    }

    #[tokio::test]
    async fn the_previous_value_of_a_member_counts_for_a_day_and_only_if_it_differs() {
        let (fake_api, store) = fake_store(SecretLayout::ByRole).await;
        let current = [version("2", r#"{"shop": "s2", "other": "o1", "new": "n1"}"#)];
        with_replies(&fake_api, &current, store.get_current(SHOP, at(1))).await.unwrap();
        let day = PREVIOUS_VALID_SECONDS;
        let previous = [version("1", r#"{"shop": "s1", "other": "o1"}"#)];
        let before = with_replies(&fake_api, &previous, store.get_previous(SHOP, at(day - 1))).await.unwrap();
        assert_eq!(before.as_ref().map(Secret::expose), Some("s1"));
        assert_eq!(store.get_previous(OTHER, at(2)).await.unwrap(), None, "it did not change");
        assert_eq!(store.get_previous("tellonce/demo/webhooks/new", at(2)).await.unwrap(), None, "it is new");
        assert_eq!(store.get_previous(SHOP, at(day)).await.unwrap(), None, "the day is over");
        // The same version again: its previous one is known.
        assert_eq!(
            with_replies(&fake_api, &current, store.refetch(SHOP, &Secret::new("s2"), at(40))).await.unwrap(),
            None
        );
        assert_eq!(store.get_previous(SHOP, at(41)).await.unwrap().as_ref().map(Secret::expose), Some("s1"));
        // Another version follows: the older value is lost.
        let next = [version("3", r#"{"shop": "s2", "other": "o2", "new": "n1"}"#), current[0].clone()];
        let asked = async {
            assert_eq!(store.refetch(SHOP, &Secret::new("s2"), at(80)).await.unwrap(), None);
            store.get_previous(SHOP, at(81)).await.unwrap()
        };
        assert_eq!(with_replies(&fake_api, &next, asked).await, None);
        assert_eq!(store.get_previous(OTHER, at(82)).await.unwrap().as_ref().map(Secret::expose), Some("o1"));
    }

    #[tokio::test]
    async fn each_caller_whose_value_was_refused_gets_the_newer_one_for_one_request() {
        let (fake_api, store) = fake_store(SecretLayout::Separate).await;
        let before = with_replies(&fake_api, &[version("1", "s")], store.get_current(SHOP, at(0))).await.unwrap();
        let newer = with_replies(&fake_api, &[version("2", "t")], store.refetch(SHOP, &before, at(1))).await.unwrap();
        assert_eq!(newer.as_ref().map(Secret::expose), Some("t"));
        // The fake gives no further response.
        assert_eq!(store.refetch(SHOP, &before, at(2)).await.unwrap(), newer, "a send that began before");
        assert_eq!(store.refetch_rate_limited(SHOP, &before, at(2)).await.unwrap(), newer);
        let newer = newer.unwrap();
        assert_eq!(store.refetch_rate_limited(SHOP, &newer, at(3)).await.unwrap(), None);
        let same = with_replies(&fake_api, &[version("2", "t")], store.refetch(SHOP, &newer, at(3))).await;
        assert_eq!(same.unwrap(), None);
    }

    #[tokio::test]
    async fn a_value_whose_secret_is_deleted_or_closed_is_not_used_again() {
        let refusal = |kind: &str| {
            let head = "400 Bad Request\r\ncontent-type: application/x-amz-json-1.1";
            http_response(head, &json!({ "__type": kind, "Message": "…" }).to_string())
        };
        for kind in ["ResourceNotFoundException", "AccessDeniedException"] {
            let (fake_api, store) = fake_store(SecretLayout::Separate).await;
            with_replies(&fake_api, &[version("1", "s")], store.get_current(SHOP, at(0))).await.unwrap();
            let old = CACHE_SECONDS + 1;
            let asked = with_replies(&fake_api, &[refusal(kind)], store.get_current(SHOP, at(old))).await;
            assert!(!asked.unwrap_err().is_remembered(), "{kind}");
            // The fake gives no further response.
            assert!(store.get_current(SHOP, at(old + 1)).await.unwrap_err().is_remembered(), "{kind}");
            let asked = with_replies(&fake_api, &[version("2", "t")], store.get_current(SHOP, at(old + 31))).await;
            assert_eq!(asked.unwrap().expose(), "t");
            let newest = Secret::new("t");
            let refetch = store.refetch(SHOP, &newest, at(old + 32));
            with_replies(&fake_api, &[refusal(kind)], refetch).await.unwrap_err();
            let asked = with_replies(&fake_api, &[refusal(kind)], store.get_current(SHOP, at(old + 33))).await;
            asked.unwrap_err();
        }
    }

    #[tokio::test]
    async fn an_outage_leaves_the_older_value_and_is_not_asked_about_again_at_once() {
        let (fake_api, store) = fake_store(SecretLayout::Separate).await;
        with_replies(&fake_api, &[version("1", "s")], store.get_current(SHOP, at(0))).await.unwrap();
        let outage = vec![http_response("500 Internal Server Error", "{}"); 3];
        let old = CACHE_SECONDS + 1;
        let asked = with_replies(&fake_api, &outage, store.get_current(SHOP, at(old))).await;
        assert_eq!(asked.unwrap().expose(), "s");
        // The fake gives no further response.
        assert_eq!(store.get_current(SHOP, at(old + 1)).await.unwrap().expose(), "s");
        assert_eq!(store.refetch_rate_limited(SHOP, &Secret::new("s"), at(old + 2)).await.unwrap(), None);
        let asked = with_replies(&fake_api, &[version("2", "t")], store.get_current(SHOP, at(old + 31))).await;
        assert_eq!(asked.unwrap().expose(), "t");
    }
}
