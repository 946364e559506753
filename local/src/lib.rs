//! The whole house on one machine: `traffic run` starts it for a person, `LocalStack::start` for a test.
//!
//! The wiring is read from `template.yaml`; the functions are the very binaries that are deployed, each in its own process
//! behind a Lambda Runtime API endpoint. Around them: an embedded DynamoDB with its streams, Secrets Manager over a
//! local file, API Gateway routes, the schedules, a fake EZWhatsApp, stand-ins for calendars, for the senders of leads, for
//! CRMs and for the places where the team is called, and a web console. Everything listens on 127.0.0.1 only; no account, no Docker.
//!
//! Not imitated: IAM (a function here may do anything), memory and CPU limits, concurrency limits.

mod abort;
pub mod build;
pub mod calendars;
pub mod clock;
pub mod console;
pub mod crms;
pub mod dynamo;
pub mod fake_ezw;
pub mod fakes;
pub mod functions;
mod gateway;
pub mod keyboard;
pub mod leads;
pub mod ports;
mod schedule;
pub mod secrets;
mod stack;
mod state;
pub mod streams;
pub mod team;
pub mod template;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use rand::Rng as _;

pub use stack::{LocalStack, StackOptions};

/// The region everything claims to be in.
pub const REGION: &str = "eu-central-1";
/// The account everything claims to belong to.
pub const ACCOUNT: &str = "000000000000";

/// Locks a mutex whose data stays sound when a holder panics, which holds for every one in this crate: none is changed in
/// several steps.
fn lock_mutex<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces a file's content in one step: a reader, or a restart after a kill, finds the old or the new one, never half.
fn replace_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().context("not a file's path")?.to_owned();
    name.push(".new");
    let next = path.with_file_name(name);
    std::fs::write(&next, content)
        .and_then(|()| std::fs::rename(&next, path))
        .with_context(|| format!("can't write {}", path.display()))
}

/// A random id in the form of a version 4 UUID.
fn generate_id() -> String {
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
