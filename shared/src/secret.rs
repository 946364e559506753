//! Secrets from Secrets Manager, cached, and aware of rotation.
//!
//! Main types: [`Secret`] is a masked value; [`SecretStore`] reads and caches values.
//!
//! A value is cached for [`CACHE_SECONDS`]. After a value was refused, the caller calls
//! [`SecretStore::refetch`]. Where strangers decide how often that happens,
//! [`SecretStore::refetch_rate_limited`] calls Secrets Manager at most once in [`REFETCH_SECONDS`]
//! per secret, so a flood of forged signatures costs nothing.
//!
//! For [`PREVIOUS_VALID_SECONDS`] after a rotation [`SecretStore::get_previous`] offers the value
//! before it (`AWSPREVIOUS`), because senders sign with the old value for a while (Shopify: up to
//! an hour).
//!
//! Promises: no log and no error shows a value. Does **not** rotate anything.

use std::{collections::HashMap, fmt, sync::Mutex};

use aws_sdk_secretsmanager::{Client, error::SdkError, operation::get_secret_value::GetSecretValueError};
use jiff::{SignedDuration, Timestamp};

use crate::fault::{ClassifyFault, Fault, error_chain};

/// How long a value is used without another read, in seconds.
pub const CACHE_SECONDS: i64 = 15 * 60;
/// Shortest time between two reads after refused values, in seconds.
pub const REFETCH_SECONDS: i64 = 30;
/// How long after a rotation the value before it is valid, in seconds.
pub const PREVIOUS_VALID_SECONDS: i64 = 24 * 3600;

/// A secret value. Only [`Secret::expose`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value, without the line break that a text file or a paste may have left at its end.
    pub fn new(value: impl Into<String>) -> Self {
        let mut value = value.into();
        value.truncate(value.trim_end_matches(['\r', '\n']).len());
        Self(value)
    }

    /// The value, at the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret could not be read. Names the secret, never its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The secret does not exist, or is being deleted.
    #[error("the secret {name} does not exist; create it in Secrets Manager")]
    Missing {
        /// Its name.
        name: String,
        /// Whether this is the answer to an earlier read.
        remembered: bool,
    },
    /// The role may not read it.
    #[error("this function's role may not read the secret {name}; add it to the role in template.yaml")]
    Forbidden {
        /// Its name.
        name: String,
        /// As of `Missing`.
        remembered: bool,
    },
    /// It holds bytes or nothing instead of text.
    #[error("the secret {name} holds no text; store it as a plain SecretString")]
    Empty {
        /// Its name.
        name: String,
        /// As of `Missing`.
        remembered: bool,
    },
    /// Secrets Manager did not respond.
    #[error("could not read the secret {name} from Secrets Manager")]
    Unavailable {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: Box<SdkError<GetSecretValueError>>,
    },
}

impl ClassifyFault for SecretError {
    fn fault(&self) -> Fault {
        match self {
            // An operator can repair each of them without a deployment (create a secret, grant a
            // role), so the sender is asked to retry.
            Self::Missing { .. } | Self::Forbidden { .. } | Self::Empty { .. } | Self::Unavailable { .. } => {
                Fault::Transient
            }
        }
    }
}

impl SecretError {
    /// Whether this is the answer to an earlier read, which was logged then.
    pub fn is_remembered(&self) -> bool {
        match self {
            Self::Missing { remembered, .. } | Self::Forbidden { remembered, .. } | Self::Empty { remembered, .. } => {
                *remembered
            }
            Self::Unavailable { .. } => false,
        }
    }

    /// The same error for a caller that asks again. None for a failure that the next read may not
    /// have.
    fn to_remembered(&self) -> Option<Self> {
        match self {
            Self::Missing { name, .. } => Some(Self::Missing { name: name.clone(), remembered: true }),
            Self::Forbidden { name, .. } => Some(Self::Forbidden { name: name.clone(), remembered: true }),
            Self::Empty { name, .. } => Some(Self::Empty { name: name.clone(), remembered: true }),
            Self::Unavailable { .. } => None,
        }
    }
}

#[derive(Clone)]
struct CachedSecret {
    current: Secret,
    /// When the current value became current.
    rotated_at: Option<Timestamp>,
    fetched_at: Timestamp,
    /// The value before it, once it was read.
    previous: PreviousSecret,
}

#[derive(Clone)]
enum PreviousSecret {
    NotFetched,
    Absent,
    Known(Secret),
}

/// The secrets a function may read.
pub struct SecretStore {
    client: Client,
    cache: Mutex<HashMap<String, CachedSecret>>,
    /// Secrets that have no usable value, and when that was read.
    unusable: Mutex<HashMap<String, (SecretError, Timestamp)>>,
}

impl SecretStore {
    /// A store that reads with this client.
    pub fn new(client: Client) -> Self {
        Self { client, cache: Mutex::default(), unusable: Mutex::default() }
    }

    /// The value of a secret, at most [`CACHE_SECONDS`] old. That it has none is remembered for
    /// [`REFETCH_SECONDS`], because strangers may decide how often it is needed.
    pub async fn get_current(&self, name: &str, now: Timestamp) -> Result<Secret, SecretError> {
        match self.find_cached(name) {
            Some(cached) if age_seconds(&cached, now) < CACHE_SECONDS => Ok(cached.current),
            Some(cached) => match self.fetch_current(name, now).await {
                // An older value is better than none while Secrets Manager is unavailable.
                Err(error @ SecretError::Unavailable { .. }) => {
                    tracing::warn!("used an older value of secret {name}: {}", error_chain(&error));
                    Ok(cached.current)
                }
                fetched => Ok(fetched?.current),
            },
            None => match self.find_unusable(name, now) {
                Some(error) => Err(error),
                None => Ok(self.fetch_current(name, now).await?.current),
            },
        }
    }

    /// Reads a secret again after a stranger's proof failed with the cached value. `None` if the
    /// value is the same, or if it was read less than [`REFETCH_SECONDS`] ago.
    pub async fn refetch_rate_limited(&self, name: &str, now: Timestamp) -> Result<Option<Secret>, SecretError> {
        match self.find_cached(name) {
            Some(cached) if age_seconds(&cached, now) < REFETCH_SECONDS => Ok(None),
            _ => self.refetch(name, now).await,
        }
    }

    /// Reads a secret again after the cached value was refused. `None` if the value is the same.
    pub async fn refetch(&self, name: &str, now: Timestamp) -> Result<Option<Secret>, SecretError> {
        let before = self.find_cached(name);
        let fetched = self.fetch_current(name, now).await?;
        Ok((before.is_none_or(|before| before.current != fetched.current)).then_some(fetched.current))
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
            Err(error) if refused(&error) => match self.refetch(name, now).await? {
                Some(newer) => attempt(&newer).await,
                None => Err(error),
            },
            done => done,
        }
    }

    /// The value before the last rotation, while it is valid.
    pub async fn get_previous(&self, name: &str, now: Timestamp) -> Result<Option<Secret>, SecretError> {
        let cached = match self.find_cached(name) {
            Some(cached) => cached,
            None => self.fetch_current(name, now).await?,
        };
        let still_counts = cached
            .rotated_at
            .is_some_and(|at| now.duration_since(at) < SignedDuration::from_secs(PREVIOUS_VALID_SECONDS));
        if !still_counts {
            return Ok(None);
        }
        let previous = match cached.previous {
            PreviousSecret::Known(value) => return Ok(Some(value)),
            PreviousSecret::Absent => return Ok(None),
            PreviousSecret::NotFetched => match self.fetch_version(name, "AWSPREVIOUS").await {
                Ok((value, _)) => Some(value),
                // A secret that was never rotated has no previous version.
                Err(SecretError::Missing { .. } | SecretError::Empty { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        if let Some(entry) = self.lock_cache().get_mut(name) {
            entry.previous = previous.clone().map_or(PreviousSecret::Absent, PreviousSecret::Known);
        }
        Ok(previous)
    }

    fn find_cached(&self, name: &str) -> Option<CachedSecret> {
        self.lock_cache().get(name).cloned()
    }

    fn lock_cache(&self) -> std::sync::MutexGuard<'_, HashMap<String, CachedSecret>> {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_unusable(&self) -> std::sync::MutexGuard<'_, HashMap<String, (SecretError, Timestamp)>> {
        self.unusable.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn find_unusable(&self, name: &str, now: Timestamp) -> Option<SecretError> {
        let unusable = self.lock_unusable();
        let (error, read_at) = unusable.get(name)?;
        (now.duration_since(*read_at).as_secs() < REFETCH_SECONDS).then(|| error.to_remembered()).flatten()
    }

    async fn fetch_current(&self, name: &str, now: Timestamp) -> Result<CachedSecret, SecretError> {
        let (current, rotated_at) = match self.fetch_version(name, "AWSCURRENT").await {
            Ok(fetched) => fetched,
            Err(error) => {
                if let Some(remembered) = error.to_remembered() {
                    self.lock_unusable().insert(name.to_owned(), (remembered, now));
                }
                return Err(error);
            }
        };
        self.lock_unusable().remove(name);
        let cached = CachedSecret { current, rotated_at, fetched_at: now, previous: PreviousSecret::NotFetched };
        self.lock_cache().insert(name.to_owned(), cached.clone());
        Ok(cached)
    }

    async fn fetch_version(&self, name: &str, stage: &str) -> Result<(Secret, Option<Timestamp>), SecretError> {
        let owned = || name.to_owned();
        let answer = self.client.get_secret_value().secret_id(name).version_stage(stage).send().await;
        let answer = answer.map_err(|error| match error.as_service_error() {
            Some(service) if service.is_resource_not_found_exception() || service.is_invalid_request_exception() => {
                SecretError::Missing { name: owned(), remembered: false }
            }
            Some(service) if service.meta().code() == Some("AccessDeniedException") => {
                SecretError::Forbidden { name: owned(), remembered: false }
            }
            _ => SecretError::Unavailable { name: owned(), source: Box::new(error) },
        })?;
        let value = answer.secret_string().filter(|text| !text.trim().is_empty());
        let value = value.ok_or_else(|| SecretError::Empty { name: owned(), remembered: false })?;
        let rotated_at = answer.created_date().and_then(|at| Timestamp::from_second(at.secs()).ok());
        Ok((Secret::new(value), rotated_at))
    }
}

fn age_seconds(cached: &CachedSecret, now: Timestamp) -> i64 {
    now.duration_since(cached.fetched_at).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_line_break_at_the_end_is_not_part_of_a_secret() {
        assert_eq!(Secret::new("abc\r\n").expose(), "abc");
        assert_eq!(Secret::new(" a b ").expose(), " a b ");
    }
}
