//! The current time. Callers read it once and pass it on as `now`.
//!
//! The variable `TELLONCE_CLOCK` exists for local runs and tests. It names a file with a signed
//! number of milliseconds, which is added to the system clock. So three hours can pass in three
//! seconds in the same binaries that are deployed. The variable is not set in the cloud.
//!
//! Promises: no other module reads the clock.

use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use jiff::{SignedDuration, Timestamp};

use crate::bootstrap::AwsTimeouts;

/// The source of the current time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_file: Option<PathBuf>,
}

impl Clock {
    /// The system clock, moved by the file that `TELLONCE_CLOCK` names, if it is set.
    pub fn from_environment() -> Self {
        Self { offset_file: crate::bootstrap::read_variable("TELLONCE_CLOCK").map(PathBuf::from) }
    }

    /// The system clock, moved by this file.
    pub fn moved_by(offset_file: PathBuf) -> Self {
        Self { offset_file: Some(offset_file) }
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

/// A time from the tables' milliseconds. A value out of range (a damaged row) becomes the epoch,
/// which is long past.
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How far a sender's clock may be ahead of the system clock. Later times are not used.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// The time of an event: the sender's time, or the time of receipt if the sender's time is missing
/// or in the future.
pub fn choose_event_time(reported_at: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    reported_at.filter(|at| at.duration_since(received_at) <= CLOCK_SKEW).unwrap_or(received_at)
}

/// The part of an invocation's time that is left to log and return what was done. A send may end
/// two seconds before the deadline, and its row is settled before this.
pub const RESPONSE_TIME: Duration = Duration::from_secs(1);

/// When this invocation must have ended, by the real clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that Lambda gives with an invocation.
    #[expect(clippy::disallowed_methods, reason = "Lambda gives its deadline as a time of the system clock")]
    pub fn from_system_time(deadline: SystemTime) -> Self {
        Self(Instant::now() + deadline.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// A deadline this long from now.
    pub fn from_now(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// The deadline of work that must end this long before.
    #[must_use]
    pub fn earlier(self, reserve: Duration) -> Self {
        Self(self.0.checked_sub(reserve).unwrap_or(self.0))
    }

    /// How much time is left.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether a call to a table may hang and time out, and the function can still return what it
    /// did.
    pub fn has_time_for_call(self) -> bool {
        self.remaining() > AwsTimeouts::default().operation + RESPONSE_TIME
    }

    /// Runs work that must end this long before the deadline. `None` if it did not. Then it was
    /// dropped, which leaves what the end of the process would have left, and the process goes on.
    pub async fn run_until<T>(self, reserve: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.remaining().saturating_sub(reserve), work).await.ok()
    }
}
