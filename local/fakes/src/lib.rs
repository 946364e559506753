//! Fakes of the services that tellonce calls, for `cargo run` and for tests. Never deployed.
//!
//! Main types: [`provider::FakeProvider`] is EZWhatsApp and the customer's phone.
//! [`calendars::FakeCalendars`], [`leads::FakeLeadApis`], [`crms::FakeCrms`], [`team::FakeTeam`]
//! and [`shopify`] answer the calls of functions. [`services::FakeServices`] has what these share:
//! accounts, counters, faults. [`server`] has the HTTP server, [`json_lines`] a file that survives
//! a kill. [`FakeHost`] gives them the time and the secrets.
//!
//! Everything listens on 127.0.0.1 only.

pub mod calendars;
pub mod crms;
mod host;
pub mod json_lines;
pub mod leads;
pub mod provider;
pub mod server;
pub mod services;
pub mod shopify;
pub mod team;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use rand::Rng as _;

pub use host::FakeHost;

/// The AWS region of the local stack.
pub const REGION: &str = "eu-central-1";

/// Locks a mutex, even if a holder panicked.
///
/// Use it only for data that each holder changes in one step: such data is valid after a panic.
pub fn lock_mutex<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces a file's content in one step.
///
/// A reader, or a restart after a kill, finds the old or the new content, and never a part of it.
pub fn replace_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().context("the path does not name a file")?.to_owned();
    name.push(".new");
    let next = path.with_file_name(name);
    std::fs::write(&next, content)
        .and_then(|()| std::fs::rename(&next, path))
        .with_context(|| format!("could not write {}", path.display()))
}

/// The clock of the machine, in unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "the one place of the local stack that reads the clock")]
pub fn system_now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A random id in the form of a version 4 UUID.
pub fn generate_id() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = tellonce_core::hash::encode_hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_uuids_and_differ() {
        let id = generate_id();
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'4');
        assert_ne!(id, generate_id());
    }

    #[test]
    fn a_file_is_replaced_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
