//! What fakes need from the program that runs them.

use std::fmt;

/// The clock and the secrets of the program that runs the fakes.
///
/// A fake reads a secret again for every request, so a rotated secret counts at once.
pub trait FakeHost: fmt::Debug + Send + Sync {
    /// The time that functions see, in unix milliseconds.
    fn now_ms(&self) -> i64;

    /// The current value of a secret by its full name.
    fn secret_value(&self, name: &str) -> Option<String>;
}

#[cfg(test)]
pub(crate) mod test_host {
    use std::{
        collections::BTreeMap,
        sync::{
            Mutex,
            atomic::{AtomicI64, Ordering},
        },
        time::Duration,
    };

    use serde_json::Value;

    use super::FakeHost;
    use crate::{lock_mutex, system_now_ms};

    /// A host with secrets and a time that a test can change.
    #[derive(Debug)]
    pub(crate) struct TestHost {
        secrets: Mutex<BTreeMap<String, String>>,
        offset_ms: AtomicI64,
    }

    impl TestHost {
        /// `secrets` is a client's secrets file: full secret name → the value, or an object with
        /// the value in `current`.
        pub(crate) fn new(secrets: &str) -> Self {
            let file: BTreeMap<String, Value> = serde_json::from_str(secrets).unwrap();
            let current = |value: Value| value.as_str().or(value["current"].as_str()).unwrap().to_owned();
            let secrets = file.into_iter().map(|(name, value)| (name, current(value))).collect();
            Self { secrets: Mutex::new(secrets), offset_ms: AtomicI64::new(0) }
        }

        pub(crate) fn set_secret(&self, name: &str, value: &str) {
            lock_mutex(&self.secrets).insert(name.to_owned(), value.to_owned());
        }

        pub(crate) fn advance(&self, by: Duration) {
            self.offset_ms.fetch_add(by.as_millis().try_into().unwrap(), Ordering::SeqCst);
        }
    }

    impl FakeHost for TestHost {
        fn now_ms(&self) -> i64 {
            system_now_ms() + self.offset_ms.load(Ordering::SeqCst)
        }

        fn secret_value(&self, name: &str) -> Option<String> {
            lock_mutex(&self.secrets).get(name).cloned()
        }
    }
}
