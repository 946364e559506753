//! Polling: which feeds are due, and one look at each. Effects; what a look means, `ics` and `diff` say.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tellonce_core::{
    appointment::AppointmentReport,
    client_config::{CalendarConfig, CalendarKind, ClientConfig, FeedRule, ReminderStage},
    clock::{Clock, Deadline},
    fault::{ClassifyFault, Fault, error_chain},
    feed::{FeedSnapshot, FeedStore, FeedStoreError},
    ledger::IdempotencyKey,
    secret::{Secret, SecretStore},
    telemetry::{self, Metric},
};

use super::{
    diff::{FeedChanges, FeedOrigin, FeedVerdict, compare_feed},
    fetch::{FETCH_TIMEOUT, FeedFetchError, FeedResponse, fetch_feed},
    ics::{self, ParsedFeed, TimeWindow},
};

/// With less time left than this, no further feed is begun: patience with its host, and time to read and write.
const MIN_TIME_FOR_FEED: Duration = Duration::from_secs(25);
/// With less time left than this, no further report is handed over.
const MIN_TIME_FOR_REPORT: Duration = Duration::from_secs(4);
/// The schedule comes a moment earlier or later; a feed that is due within this is due.
const DUE_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// A feed that could not be had, or is in doubt, is asked for again this soon, however seldom it is asked for otherwise.
const FAILING_POLL_INTERVAL: SignedDuration = SignedDuration::from_mins(15);
/// How often a look is made again because somebody else looked at the same time.
const MAX_READ_ATTEMPTS: usize = 3;
/// How far back a look goes: an appointment that was moved to an hour ago is still that appointment.
const WINDOW_PAST: SignedDuration = SignedDuration::from_hours(24);
/// How much further ahead than the earliest reminder a look goes: for so long a feed may be unreadable and nobody misses one.
const WINDOW_AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);
/// The longest reason that is kept, in characters.
const MAX_PROBLEM_CHARS: usize = 300;

/// Asks for feeds, and hands on what changed.
#[derive(Clone, Copy)]
pub struct FeedPoller<'a> {
    /// The client.
    pub config: &'a ClientConfig,
    /// Asks.
    pub http: &'a reqwest::Client,
    /// Knows the addresses.
    pub secrets: &'a SecretStore,
    /// Remembers.
    pub feed_store: &'a FeedStore,
    /// Says when a feed was asked for.
    pub clock: &'a Clock,
    /// Instead of the origin of every feed's address, for tests.
    pub base_url: Option<&'a str>,
}

/// What came of polling.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PollSummary {
    /// Feeds that were due.
    pub due: usize,
    /// Whose host says that nothing changed.
    pub unchanged: usize,
    /// That were read and believed, whatever changed.
    pub read: usize,
    /// Reports that were handed on.
    pub reports: usize,
    /// Feeds that say something too unlikely to act on.
    pub suspect: usize,
    /// Feeds that could not be had or read.
    pub unreadable: usize,
    /// Feeds, or rests of them, that there was no time for.
    pub deferred: usize,
    /// Feeds that we failed at: what is remembered could not be read or written, or a report was not taken.
    pub failed: usize,
}

/// One feed.
#[derive(Clone, Copy)]
struct FeedSource<'a> {
    name: &'a str,
    calendar: &'a CalendarConfig,
    rule: &'a FeedRule,
}

/// The part of a calendar that matters now: from a day ago to two weeks before the earliest reminder of what begins then.
pub fn build_window(calendar: &CalendarConfig, now: Timestamp) -> TimeWindow {
    let lead = calendar.reminders.keys().map(ReminderStage::lead_time).max().unwrap_or_default();
    TimeWindow {
        from: now.checked_sub(WINDOW_PAST).unwrap_or(Timestamp::MIN),
        until: now.checked_add(lead + WINDOW_AHEAD).unwrap_or(Timestamp::MAX),
    }
}

fn is_due(snapshot: &FeedSnapshot, rule: &FeedRule, now: Timestamp) -> bool {
    let interval = if snapshot.failures > 0 || snapshot.suspect_since.is_some() {
        rule.poll_every.0.min(FAILING_POLL_INTERVAL)
    } else {
        rule.poll_every.0
    };
    snapshot.polled_at.is_none_or(|polled_at| now.duration_since(polled_at) >= interval - DUE_TOLERANCE)
}

impl FeedPoller<'_> {
    /// Looks at every feed that is due, or at `only` one whether it is due or not; the one that waited longest first.
    ///
    /// What changed is handed to `apply_bookings`, report by report, and remembered when it was taken. What was not, because of an
    /// error or because there is no time left, is handed over by the next look, which then is due at once.
    pub async fn poll_feeds<E: ClassifyFault>(
        &self,
        only: Option<&str>,
        deadline: Deadline,
        apply_report: impl AsyncFn(AppointmentReport) -> Result<(), E>,
    ) -> PollSummary {
        let now = self.clock.now();
        let mut summary = PollSummary::default();
        let mut due = Vec::new();
        for (name, calendar) in &self.config.calendars {
            let CalendarKind::Ics(rule) = &calendar.kind else { continue };
            if only.is_some_and(|only| only != name) {
                continue;
            }
            match self.feed_store.load(name).await {
                Ok(snapshot) if only.is_some() || is_due(&snapshot, rule, now) => {
                    due.push((FeedSource { name, calendar, rule }, snapshot));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(calendar = name, "{}", error_chain(&error));
                    summary.failed += 1;
                }
            }
        }
        due.sort_by_key(|(_, snapshot)| snapshot.polled_at);
        summary.due = due.len();
        for (number, (source, snapshot)) in due.into_iter().enumerate() {
            if deadline.remaining() < MIN_TIME_FOR_FEED {
                summary.deferred += summary.due - number;
                break;
            }
            if let Err(error) = self.read_feed(source, snapshot, deadline, &apply_report, &mut summary).await {
                tracing::error!(calendar = source.name, "{}", error_chain(&error));
                summary.failed += 1;
            }
        }
        summary
    }

    async fn read_feed<E: ClassifyFault>(
        &self,
        source: FeedSource<'_>,
        snapshot: FeedSnapshot,
        deadline: Deadline,
        apply_report: &impl AsyncFn(AppointmentReport) -> Result<(), E>,
        summary: &mut PollSummary,
    ) -> Result<(), FeedStoreError> {
        let mut outcome = self.read_feed_once(source, snapshot, deadline, apply_report, summary).await;
        for _ in 1..MAX_READ_ATTEMPTS {
            // What the other one saw may be older than what we were sent for.
            let Err(FeedStoreError::Conflict) = outcome else { break };
            let snapshot = self.feed_store.load(source.name).await?;
            outcome = self.read_feed_once(source, snapshot, deadline, apply_report, summary).await;
        }
        outcome
    }

    async fn read_feed_once<E: ClassifyFault>(
        &self,
        source: FeedSource<'_>,
        mut snapshot: FeedSnapshot,
        deadline: Deadline,
        apply_report: &impl AsyncFn(AppointmentReport) -> Result<(), E>,
        summary: &mut PollSummary,
    ) -> Result<(), FeedStoreError> {
        let asked_at = self.clock.now();
        let fetch_deadline = Deadline::from_now(FETCH_TIMEOUT.min(deadline.remaining()));
        let (body, validators) = match self.fetch_source(source.name, &snapshot, asked_at, fetch_deadline).await {
            Ok(FeedResponse::Body { body, validators }) => (body, validators),
            Ok(FeedResponse::Unchanged) => {
                if snapshot.failures > 0 {
                    (snapshot.failures, snapshot.failing_since, snapshot.problem) = (0, None, None);
                }
                snapshot.polled_at = Some(asked_at);
                self.feed_store.save(source.name, &mut snapshot).await?;
                summary.unchanged += 1;
                return Ok(());
            }
            Err(error) => return self.record_unreadable(source, snapshot, &error, asked_at, summary).await,
        };
        let window = build_window(source.calendar, asked_at);
        // Only what lies ahead is looked for outside the window, so that what is over can be forgotten.
        let is_upcoming = |id: &str| snapshot.occurrences.get(id).is_some_and(|known| known.start > asked_at);
        let feed = match ics::parse_feed(&body, source.rule, source.calendar, self.config, window, &is_upcoming) {
            Ok(feed) => feed,
            Err(error) => return self.record_unreadable(source, snapshot, &error.into(), asked_at, summary).await,
        };
        drop(body);
        snapshot.polled_at = Some(asked_at);
        (snapshot.failures, snapshot.failing_since) = (0, None);
        let origin = FeedOrigin { name: source.name, calendar: source.calendar };
        let (suspect, FeedChanges { pending, changes }) = match compare_feed(&snapshot, &feed, origin, window, asked_at)
        {
            FeedVerdict::Changes(changes) => (None, changes),
            FeedVerdict::Suspect(suspect, changes) => (Some(suspect), changes),
        };
        if let Some(suspect) = suspect {
            tracing::warn!(calendar = source.name, "the feed is in doubt: {suspect}");
            telemetry::count_metric(&self.config.client, Metric::FeedSuspect, asked_at);
            snapshot.suspect_since.get_or_insert(asked_at);
            snapshot.problem = Some(suspect.to_string());
        }
        snapshot.occurrences = pending;
        if !changes.is_empty() {
            // Should we end here, the next look is due at once.
            let polled_at = snapshot.polled_at.take();
            self.feed_store.save(source.name, &mut snapshot).await?;
            snapshot.polled_at = polled_at;
        }
        let (mut left, mut failed) = (false, false);
        for change in changes {
            if deadline.remaining() < MIN_TIME_FOR_REPORT {
                left = true;
                break;
            }
            match apply_report(change.report.clone()).await {
                Ok(()) => {
                    summary.reports += 1;
                    change.record_reported(&mut snapshot.occurrences);
                }
                Err(error) => {
                    tracing::error!(
                        calendar = source.name,
                        appointment = change.report.subject,
                        "{}",
                        error_chain(&error)
                    );
                    if error.fault() == Fault::Permanent {
                        // It will not be taken the next time either, and must not keep the rest from being remembered.
                        telemetry::count_metric(&self.config.client, Metric::DeliveriesQuarantined, asked_at);
                        change.record_reported(&mut snapshot.occurrences);
                    } else {
                        failed = true;
                    }
                }
            }
        }
        if left || failed {
            snapshot.polled_at = None;
            summary.deferred += usize::from(left);
            summary.failed += usize::from(failed);
        } else if suspect.is_some() {
            summary.suspect += 1;
        } else {
            validators.save_to(&mut snapshot);
            snapshot.read_at = Some(asked_at);
            snapshot.suspect_since = None;
            snapshot.accept_next_read = false;
            snapshot.problem = describe_unparsed(source, &feed);
            summary.read += 1;
        }
        self.feed_store.save(source.name, &mut snapshot).await
    }

    async fn fetch_source(
        &self,
        name: &str,
        snapshot: &FeedSnapshot,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<FeedResponse, FeedFetchError> {
        let secret = self.config.calendar_secret_name(name);
        let address = self.secrets.get_current(&secret, now).await?;
        let or_invalid_address =
            |error: Option<FeedFetchError>| error.unwrap_or(FeedFetchError::InvalidAddress { secret: secret.clone() });
        let fetch_with = async |address: &Secret| {
            fetch_feed(self.http, address, self.base_url, snapshot, now, deadline).await.map_err(or_invalid_address)
        };
        // The calendar's owner may have reset the address, and stored the new one since.
        let is_refused = |error: &FeedFetchError| {
            matches!(error, FeedFetchError::Refused { .. } | FeedFetchError::InvalidAddress { .. })
        };
        self.secrets.retry_with_newer(&secret, &address, now, is_refused, fetch_with).await
    }

    /// Writes down that a feed could not be had or read. Nothing else changes.
    async fn record_unreadable(
        &self,
        source: FeedSource<'_>,
        mut snapshot: FeedSnapshot,
        error: &FeedFetchError,
        now: Timestamp,
        summary: &mut PollSummary,
    ) -> Result<(), FeedStoreError> {
        let problem = error_chain(error);
        tracing::warn!(calendar = source.name, "the feed is unreadable: {problem}");
        telemetry::count_metric(&self.config.client, Metric::FeedUnreadable, now);
        snapshot.polled_at = Some(now);
        snapshot.failures = snapshot.failures.saturating_add(1);
        snapshot.failing_since.get_or_insert(now);
        snapshot.problem = Some(problem.chars().take(MAX_PROBLEM_CHARS).collect());
        self.feed_store.save(source.name, &mut snapshot).await?;
        summary.unreadable += 1;
        Ok(())
    }
}

/// Which events of a feed are not understood, for people.
fn describe_unparsed(source: FeedSource<'_>, feed: &ParsedFeed) -> Option<String> {
    for (uid, error) in &feed.unparsed_events {
        let subject = IdempotencyKey::appointment_subject(source.calendar.id_scope(), uid);
        tracing::warn!(
            calendar = source.name,
            appointment = subject,
            "an event of the feed is not understood: {error}"
        );
    }
    let (_, first) = feed.unparsed_events.first_key_value()?;
    let count = feed.unparsed_events.len();
    Some(format!("{count} of {} events are not understood; of the first: {first}", feed.event_count))
}

#[cfg(test)]
mod tests {
    use tellonce_core::feed::FeedSnapshot;

    use super::*;
    use crate::feed::tests::feed_config;

    #[test]
    fn the_window_reaches_from_yesterday_to_two_weeks_beyond_the_earliest_reminder() {
        let (config, now) = (feed_config(), "2026-11-20T12:00:00Z".parse().unwrap());
        let span = |calendar: &str| {
            let TimeWindow { from, until } = build_window(&config.calendars[calendar], now);
            (from.to_string(), until.to_string())
        };
        assert_eq!(span("clinic"), ("2026-11-19T12:00:00Z".to_owned(), "2026-12-05T12:00:00Z".to_owned()));
        assert_eq!(span("abroad"), ("2026-11-19T12:00:00Z".to_owned(), "2026-12-04T12:00:00Z".to_owned()));
        assert!(build_window(&config.calendars["clinic"], Timestamp::MAX).until == Timestamp::MAX);
    }

    #[test]
    fn a_feed_is_due_within_one_minute_of_its_interval() {
        let config = feed_config();
        let CalendarKind::Ics(rule) = &config.calendars["clinic"].kind else { panic!() };
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let polled = |seconds| FeedSnapshot {
            polled_at: Some(now - SignedDuration::from_secs(seconds)),
            ..FeedSnapshot::default()
        };
        assert!(is_due(&FeedSnapshot::default(), rule, now));
        let daily = FeedRule { poll_every: "1d".parse().unwrap(), ..rule.clone() };
        assert!(!is_due(&polled(3600), &daily, now));
        assert!(
            is_due(&FeedSnapshot { failures: 1, ..polled(900) }, &daily, now),
            "while it fails it is asked for sooner"
        );
        assert!(is_due(&polled(15 * 60), rule, now) && is_due(&polled(14 * 60), rule, now));
        assert!(!is_due(&polled(14 * 60 - 1), rule, now));
    }
}
