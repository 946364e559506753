//! The time, read once per invocation at the edge and passed on as `test_now`.
//!
//! The variable `TELLONCE_CLOCK` exists for local runs and tests: it names a file with a signed number of milliseconds
//! that is added to the system clock, so that three hours can pass in three seconds through the very binaries that
//! are deployed. It is not set in the cloud.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use jiff::{SignedDuration, Timestamp};

/// Where `test_now` comes from.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_file: Option<PathBuf>,
}

impl Clock {
    /// The system clock, moved by the file that `TELLONCE_CLOCK` names, if it is set.
    pub fn from_environment() -> Self {
        Self { offset_file: crate::bootstrap::read_variable("TELLONCE_CLOCK").map(PathBuf::from) }
    }

    /// The time now, to the millisecond, as the tables hold it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> Timestamp {
        let now = from_millis(Timestamp::now().unix_millis());
        let Some(file) = &self.offset_file else { return now };
        let offset = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        now.checked_add(SignedDuration::from_millis(offset)).unwrap_or(now)
    }
}

/// Milliseconds since 1970, as the tables hold times.
pub trait UnixMillis {
    /// Milliseconds since 1970-01-01T00:00Z.
    fn unix_millis(self) -> i64;
}

impl UnixMillis for Timestamp {
    fn unix_millis(self) -> i64 {
        self.as_millisecond()
    }
}

/// A time from the tables' milliseconds; out of range (a damaged row) reads as the epoch, which is long past.
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A sender's clock may be this much ahead of ours before its times are not believed.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// The time that something happened at: what the sender of a delivery says, unless that is in the future or not said at
/// all; then the time of receipt.
pub fn choose_event_time(reported_at: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    reported_at.filter(|at| at.duration_since(received_at) <= CLOCK_SKEW).unwrap_or(received_at)
}

/// When this invocation must have ended, by the real clock.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// From the deadline that Lambda gives with an invocation.
    #[expect(clippy::disallowed_methods, reason = "Lambda gives its deadline as a time of the system clock")]
    pub fn from_system_time(deadline: SystemTime) -> Self {
        Self(Instant::now() + deadline.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// This long from now.
    pub fn from_now(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// How much time is left.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}
