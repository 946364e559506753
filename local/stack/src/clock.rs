//! The clock of the local stack: the system clock plus an offset.
//!
//! The offset is in a small file, which `TELLONCE_CLOCK` in the functions' environment names: a
//! signed integer, milliseconds to add to the system clock. Functions read it once per invocation.
//! A test or a person at the console moves it between two invocations to see tomorrow without
//! waiting. Timeouts of the runtime and of the stack run on real time, because they concern
//! processes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tellonce_fakes::{lock_mutex, replace_file, system_now_ms};

/// A system clock with an offset that every function process reads from the same file.
#[derive(Debug)]
pub struct LocalClock {
    path: PathBuf,
    offset_ms: Mutex<i64>,
    changes: AtomicU64,
}

impl LocalClock {
    /// Opens the clock in the file `path`. A missing file means no offset.
    ///
    /// The file is written at once, so that functions always find it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let offset_ms = match std::fs::read_to_string(path) {
            Ok(text) => text.trim().parse().with_context(|| {
                format!("{} should hold a whole number of milliseconds; delete it to start afresh", path.display())
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e).with_context(|| format!("could not read {}", path.display())),
        };
        let clock = Self { path: path.to_owned(), offset_ms: Mutex::new(offset_ms), changes: AtomicU64::new(0) };
        clock.set_offset_ms(offset_ms)?;
        Ok(clock)
    }

    /// Path of the file: the value of `TELLONCE_CLOCK`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Milliseconds by which this clock is ahead of the system's (negative: behind).
    pub fn offset_ms(&self) -> i64 {
        *lock_mutex(&self.offset_ms)
    }

    /// Moves the clock forward. Returns the new offset in milliseconds.
    pub fn advance(&self, by: Duration) -> anyhow::Result<i64> {
        let by = i64::try_from(by.as_millis()).context("could not move the clock: the time is out of range")?;
        let offset = self.offset_ms().saturating_add(by);
        self.set_offset_ms(offset)?;
        Ok(offset)
    }

    /// Sets the offset, in milliseconds.
    pub fn set_offset_ms(&self, offset_ms: i64) -> anyhow::Result<()> {
        let mut held = lock_mutex(&self.offset_ms);
        replace_file(&self.path, offset_ms.to_string().as_bytes())?;
        *held = offset_ms;
        self.changes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// How often the offset was set.
    pub(crate) fn change_count(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// The time of this clock, in unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        system_now_ms().saturating_add(self.offset_ms())
    }
}

/// The embedded database expires items by this clock too.
impl dynoxide::storage_backend::Clock for LocalClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.now_ms() / 1000).unwrap_or(0)
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double for the next 280,000 years")]
    fn now_unix_secs_f64(&self) -> f64 {
        self.now_ms() as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_a_plain_number_in_the_file_and_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clock");
        let clock = LocalClock::open(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0");
        assert_eq!(clock.advance(Duration::from_secs(90)).unwrap(), 90_000);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "90000");
        assert!(clock.now_ms() - system_now_ms() >= 89_000);
        assert_eq!(LocalClock::open(&path).unwrap().offset_ms(), 90_000);
    }

    #[test]
    fn a_clock_file_with_something_else_in_it_is_refused_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clock");
        std::fs::write(&path, "noon").unwrap();
        let error = LocalClock::open(&path).unwrap_err().to_string();
        assert!(error.contains("delete it"), "{error}");
    }
}
