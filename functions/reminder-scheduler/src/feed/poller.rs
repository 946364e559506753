//! Polling: which feeds are due, and one read of each.
//!
//! Long because one read is one story, from its mark to the saved snapshot.
//!
//! Flow: load the snapshot, fetch the feed, parse it ([`super::ics`]), compare it
//! ([`diff`](super::diff)), hand on the reports, save the snapshot.
//!
//! Main types: [`FeedPoller`], [`PollSummary`].

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tellonce_core::{
    appointment::AppointmentReport,
    base_urls::BaseUrls,
    client_config::{CalendarConfig, CalendarKind, ClientConfig, FeedRule, ReminderStage},
    clock::{Clock, Deadline, RESPONSE_TIME},
    contact::PhoneError,
    fault::{ClassifyFault, Fault, catch_failure, error_chain},
    feed::{FeedSnapshot, FeedStore, FeedStoreError, KnownOccurrence},
    ledger::IdempotencyKey,
    secret::{Secret, SecretStore},
    telemetry::{self, Metric},
};

use super::{
    diff::{FeedChange, FeedChanges, FeedOrigin, FeedVerdict, SuspectRead, compare_feed},
    fetch::{CacheValidators, FETCH_TIMEOUT, FeedAddress, FeedBody, FeedFetchError, FeedResponse, fetch_feed},
    ics,
    occurrence::{FeedScope, KnownIds, ParsedFeed, TimeWindow},
    parse_error::{FeedParseError, UnparsedEvents},
};

/// The least time that must remain to start another feed: the fetch timeout, and time to parse and
/// write.
const MIN_TIME_FOR_FEED: Duration = Duration::from_secs(25);
/// The least time that must remain to hand on another report.
const MIN_TIME_FOR_REPORT: Duration = Duration::from_secs(4);
/// A read that began longer ago has ended: the function's timeout is 85 s.
const MAX_READ_TIME: SignedDuration = SignedDuration::from_secs(90);
/// The schedule is not exact to the second: a feed that will be due within this time is due.
const DUE_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// The longest interval for a feed that is unreadable or suspect, whatever its `poll_every`.
const FAILING_POLL_INTERVAL: SignedDuration = SignedDuration::from_mins(15);
/// How often a feed is read when another reader saves its snapshot at the same time.
const MAX_READ_ATTEMPTS: usize = 3;
/// How far the window reaches back: an appointment that was moved to an hour ago still exists.
const WINDOW_PAST: SignedDuration = SignedDuration::from_hours(24);
/// How far the window reaches beyond the earliest reminder. For so long a feed may be unreadable
/// without a missed reminder.
const WINDOW_AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long a feed may be unreadable before it is an open problem. A booking system's outage or
/// maintenance is mostly over by then, and the reminders go on from the last good read.
const UNREADABLE_PATIENCE: SignedDuration = SignedDuration::from_hours(2);
/// The longest stored problem, in characters.
const MAX_PROBLEM_CHARS: usize = 600;

/// Reads feeds and hands on their changes.
#[derive(Clone, Copy)]
pub struct FeedPoller<'a> {
    /// The client's configuration.
    pub config: &'a ClientConfig,
    /// Fetches the feeds.
    pub http: &'a reqwest::Client,
    /// Contains the feeds' addresses.
    pub secrets: &'a SecretStore,
    /// Stores the snapshots.
    pub feed_store: &'a FeedStore,
    /// The time of each read.
    pub clock: &'a Clock,
    /// Replaces the origins of the feeds' addresses in local runs and tests.
    pub base_urls: &'a BaseUrls,
    /// The longest time of one fetch, with its redirects.
    pub fetch_time: Duration,
}

/// The counts of one poll.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct PollSummary {
    /// Feeds that were due.
    pub due: usize,
    /// Feeds without a change, according to their host.
    pub unchanged: usize,
    /// Feeds that were read and accepted.
    pub read: usize,
    /// Reports that were handed on.
    pub reports: usize,
    /// Feeds that lost too much at once.
    pub suspect: usize,
    /// New appointments that wait, because their feed has too many at once.
    pub waiting: usize,
    /// Feeds that could not be fetched or parsed.
    pub unreadable: usize,
    /// Feeds that were not read, or not read to the end, because the time was up.
    pub deferred: usize,
    /// Feeds whose snapshot could not be loaded or saved, or with a report that was not applied.
    pub failed: usize,
    /// What only a person can end, before this poll: `feed diary: …`.
    pub problems: Vec<String>,
}

/// How many reports of a feed were applied, and why some were not.
#[derive(Default)]
struct ReportProgress {
    applied: usize,
    /// Reports are left because the time was up.
    is_deferred: bool,
    /// A report could not be applied now.
    is_failed: bool,
}

/// One feed.
#[derive(Clone, Copy)]
struct FeedSource<'a> {
    name: &'a str,
    calendar: &'a CalendarConfig,
    rule: &'a FeedRule,
}

impl FeedSource<'_> {
    fn compare(self, snapshot: &FeedSnapshot, feed: &ParsedFeed, asked_at: Timestamp) -> FeedVerdict {
        let Self { name, calendar, rule } = self;
        let origin = FeedOrigin { name, calendar, rule };
        compare_feed(snapshot, feed, origin, build_window(calendar, asked_at), asked_at)
    }
}

/// The window that matters now: from a day ago to two weeks beyond the longest lead time.
pub fn build_window(calendar: &CalendarConfig, now: Timestamp) -> TimeWindow {
    let lead = calendar.reminders.keys().map(ReminderStage::lead_time).max().unwrap_or_default();
    TimeWindow {
        from: now.checked_sub(WINDOW_PAST).unwrap_or(Timestamp::MIN),
        until: now.checked_add(lead + WINDOW_AHEAD).unwrap_or(Timestamp::MAX),
    }
}

/// The problem of a feed that only a person can end, as the last poll left it.
fn find_problem(name: &str, loaded: &Result<FeedSnapshot, FeedStoreError>, now: Timestamp) -> Option<String> {
    let problem = match loaded {
        Ok(feed) => {
            let is_failing = feed.failing_since.is_some_and(|since| now.duration_since(since) >= UNREADABLE_PATIENCE);
            let is_odd = feed.suspect_since.is_some() || feed.postponing_since.is_some();
            let described = || feed.problem.clone().unwrap_or_else(|| "could not be read".to_owned());
            (is_failing || is_odd).then(described)?
        }
        Err(error) if error.fault() == Fault::Permanent => error_chain(error),
        Err(_) => return None,
    };
    Some(format!("feed {name}: {problem}"))
}

fn is_due(snapshot: &FeedSnapshot, rule: &FeedRule, now: Timestamp) -> bool {
    let is_failing = snapshot.failures > 0 || snapshot.suspect_since.is_some() || snapshot.unfinished_reads > 0;
    let interval = if is_failing { rule.poll_every.0.min(FAILING_POLL_INTERVAL) } else { rule.poll_every.0 };
    let last = if snapshot.unfinished_reads > 0 { snapshot.tried_at } else { snapshot.polled_at };
    last.is_none_or(|last| now.duration_since(last) >= interval - DUE_TOLERANCE)
}

impl FeedPoller<'_> {
    /// Reads every feed that is due, or `only` one, due or not. The feed whose last read began
    /// longest ago comes first, whatever became of that read.
    ///
    /// Each change is passed to `apply_report` and saved in the snapshot when it was applied. A
    /// change that was not applied, because of an error or because the time was up, is passed on by
    /// the next read. That read is due at once.
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
            if !deadline.has_time_for_call() {
                summary.deferred += 1;
                continue;
            }
            let loaded = self.feed_store.load(name).await;
            summary.problems.extend(find_problem(name, &loaded, now));
            match loaded {
                Ok(snapshot) if only.is_some() || is_due(&snapshot, rule, now) => {
                    due.push((FeedSource { name, calendar, rule }, snapshot));
                }
                Ok(_) => {}
                Err(error) => {
                    self.record_failure(name, &error_chain(&error), now).await;
                    summary.failed += 1;
                }
            }
        }
        due.sort_by_key(|(_, snapshot)| snapshot.tried_at);
        summary.due = due.len();
        for (number, (source, snapshot)) in due.into_iter().enumerate() {
            if deadline.remaining() < MIN_TIME_FOR_FEED {
                summary.deferred += summary.due - number;
                break;
            }
            let read = self.read_feed(source, snapshot, deadline, &apply_report, &mut summary);
            match deadline.run_until(RESPONSE_TIME, catch_failure(Box::pin(read))).await {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    self.record_failure(source.name, &failure, self.clock.now()).await;
                    summary.failed += 1;
                }
                None => {
                    let name = source.name;
                    tracing::error!(calendar.name = name, "gave up reading feed {name}: the time was up");
                    summary.deferred += summary.due - number;
                    break;
                }
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
        self.mark_read(source.name, &snapshot).await?;
        let mut outcome = self.read_feed_once(source, snapshot, deadline, apply_report, summary).await;
        for _ in 1..MAX_READ_ATTEMPTS {
            // The other read may be older than the change that this read is for.
            let Err(FeedStoreError::Conflict) = outcome else { break };
            let snapshot = self.feed_store.load(source.name).await?;
            outcome = self.read_feed_once(source, snapshot, deadline, apply_report, summary).await;
        }
        outcome
    }

    /// Records that a read begins. Logs and counts an earlier one that ended the function.
    async fn mark_read(&self, name: &str, snapshot: &FeedSnapshot) -> Result<(), FeedStoreError> {
        let now = self.clock.now();
        // A read that began a moment ago may still run: a calendar pushes several changes at once.
        let is_over = snapshot.tried_at.is_some_and(|at| now.duration_since(at) > MAX_READ_TIME);
        let problem = (snapshot.unfinished_reads > 0 && is_over).then(|| {
            let count = snapshot.unfinished_reads;
            tracing::error!(calendar.name = name, "the last {count} reads of feed {name} ended the function");
            format!("the last {count} reads ended the function, for want of memory or time; let the feed contain less")
        });
        self.feed_store.mark_read(name, now, problem.as_deref()).await
    }

    /// Logs a read whose result could not be saved, and describes it in the feed's row.
    async fn record_failure(&self, name: &str, problem: &str, now: Timestamp) {
        tracing::error!(calendar.name = name, "could not read feed {name}: {problem}");
        let problem: String = problem.chars().take(MAX_PROBLEM_CHARS).collect();
        if let Err(error) = self.feed_store.record_failure(name, now, &problem).await {
            let error = error_chain(&error);
            tracing::error!(calendar.name = name, "could not record the failure of feed {name}: {error}");
        }
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
        let fetch_deadline = Deadline::from_now(self.fetch_time.min(deadline.remaining()));
        let (body, validators) = match self.fetch_source(source, &snapshot, asked_at, fetch_deadline).await {
            Ok(FeedResponse::Body(body, validators)) => (body, validators),
            Ok(FeedResponse::Unchanged) => return self.record_unchanged(source, snapshot, asked_at, summary).await,
            Err(error) => return self.record_unreadable(source, snapshot, &error, asked_at, summary).await,
        };
        let feed = match self.parse_body(source, body, &snapshot, asked_at) {
            Ok(feed) => feed,
            Err(error) => return self.record_unreadable(source, snapshot, &error.into(), asked_at, summary).await,
        };
        snapshot.polled_at = Some(asked_at);
        (snapshot.failures, snapshot.failing_since) = (0, None);
        let (suspect, changes) = match source.compare(&snapshot, &feed, asked_at) {
            FeedVerdict::Changes(changes) => (None, changes),
            FeedVerdict::Suspect(suspect, changes) => (Some(suspect), changes),
        };
        let FeedChanges { pending, changes, new_count, waiting_count } = changes;
        snapshot.count_new(new_count, asked_at);
        snapshot.problem = Self::describe_problems(source, &feed, suspect.as_ref(), waiting_count, asked_at);
        drop(feed);
        summary.waiting += waiting_count;
        if suspect.is_some() {
            snapshot.suspect_since.get_or_insert(asked_at);
        }
        snapshot.postponing_since = (waiting_count > 0).then(|| snapshot.postponing_since.unwrap_or(asked_at));
        snapshot.occurrences = pending;
        if !changes.is_empty() {
            // If the process ends after this, the next read is due at once.
            let polled_at = snapshot.polled_at.take();
            self.feed_store.save(source.name, &mut snapshot).await?;
            snapshot.polled_at = polled_at;
        }
        let progress =
            self.report_changes(source, changes, &mut snapshot.occurrences, asked_at, deadline, apply_report).await;
        summary.reports += progress.applied;
        if progress.is_deferred || progress.is_failed {
            snapshot.polled_at = None;
            summary.deferred += usize::from(progress.is_deferred);
            summary.failed += usize::from(progress.is_failed);
        } else if suspect.is_some() {
            summary.suspect += 1;
        } else {
            accept_read(&mut snapshot, validators, asked_at);
            if waiting_count > 0 {
                // The same body has more to report later.
                snapshot.address = None;
            }
            summary.read += 1;
        }
        self.feed_store.save(source.name, &mut snapshot).await
    }

    fn parse_body(
        &self,
        source: FeedSource<'_>,
        body: FeedBody,
        snapshot: &FeedSnapshot,
        asked_at: Timestamp,
    ) -> Result<ParsedFeed, FeedParseError> {
        let FeedSource { calendar, rule, .. } = source;
        let FeedBody { bytes, calendar_id, charset } = body;
        let window = build_window(calendar, asked_at);
        // Outside the window only upcoming occurrences are searched for, so that past ones are
        // forgotten.
        let known = KnownIds::of_upcoming(snapshot, asked_at);
        let scope = FeedScope {
            rule,
            calendar,
            config: self.config,
            window,
            known: &known,
            calendar_id: calendar_id.as_deref(),
            charset: charset.as_deref(),
        };
        ics::parse_feed(bytes, scope)
    }

    async fn fetch_source(
        &self,
        source: FeedSource<'_>,
        snapshot: &FeedSnapshot,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<FeedResponse, FeedFetchError> {
        let secret_name = self.config.calendar_secret_name(source.name);
        let settings = self.read_settings(source);
        let address = self.secrets.get_current(&secret_name, now).await?;
        let fetch_with = async |address: &Secret| {
            let secret_name = &secret_name;
            let base_url = self.base_urls.for_name(source.name);
            let feed_address = FeedAddress { address, secret_name, base_url, settings: &settings };
            fetch_feed(self.http, feed_address, snapshot, now, deadline).await
        };
        // The client may have reset the address and stored the new one since.
        let is_refused = |error: &FeedFetchError| {
            matches!(error, FeedFetchError::Refused { .. } | FeedFetchError::InvalidAddress { .. })
        };
        self.secrets.retry_with_newer(&secret_name, &address, now, is_refused, fetch_with).await
    }

    /// The settings that a read depends on, for comparison.
    fn read_settings(&self, source: FeedSource<'_>) -> String {
        let FeedSource { calendar, rule, .. } = source;
        let ClientConfig { country, time_zone, phones, .. } = self.config;
        format!("{rule:?} {:?} {:?} {country} {time_zone} {phones:?}", calendar.country, calendar.time_zone)
    }

    /// Passes the changes on, one by one, and saves each applied one in `occurrences`.
    async fn report_changes<E: ClassifyFault>(
        &self,
        source: FeedSource<'_>,
        changes: Vec<FeedChange>,
        occurrences: &mut BTreeMap<String, KnownOccurrence>,
        asked_at: Timestamp,
        deadline: Deadline,
        apply_report: &impl AsyncFn(AppointmentReport) -> Result<(), E>,
    ) -> ReportProgress {
        let mut progress = ReportProgress::default();
        for change in changes {
            if deadline.remaining() < MIN_TIME_FOR_REPORT {
                progress.is_deferred = true;
                break;
            }
            let Err(error) = apply_report(change.report.clone()).await else {
                progress.applied += 1;
                change.record_reported(occurrences);
                continue;
            };
            tracing::error!(
                calendar.name = source.name,
                appointment.key = change.report.subject,
                "could not apply the report of {} from feed {}: {}",
                change.report.subject,
                source.name,
                error_chain(&error)
            );
            if error.fault() == Fault::Permanent {
                // The next try would fail too, and the other changes must be saved.
                telemetry::count_metric(&self.config.client, Metric::DeliveriesQuarantined, asked_at);
                change.record_reported(occurrences);
            } else {
                progress.is_failed = true;
            }
        }
        progress
    }

    /// Saves that the host reported no change. The feed is readable again.
    async fn record_unchanged(
        &self,
        source: FeedSource<'_>,
        mut snapshot: FeedSnapshot,
        now: Timestamp,
        summary: &mut PollSummary,
    ) -> Result<(), FeedStoreError> {
        if snapshot.failing_since.is_some() {
            (snapshot.failures, snapshot.failing_since, snapshot.problem) = (0, None, None);
        }
        snapshot.polled_at = Some(now);
        self.feed_store.save(source.name, &mut snapshot).await?;
        summary.unchanged += 1;
        Ok(())
    }

    /// Saves that a feed could not be fetched or parsed. Nothing else changes. A host that is only
    /// too slow for a push is not a failure.
    async fn record_unreadable(
        &self,
        source: FeedSource<'_>,
        mut snapshot: FeedSnapshot,
        error: &FeedFetchError,
        now: Timestamp,
        summary: &mut PollSummary,
    ) -> Result<(), FeedStoreError> {
        // The schedule gives the host more time.
        if error.is_timeout() && self.fetch_time < FETCH_TIMEOUT {
            let name = source.name;
            tracing::info!(calendar.name = name, "left feed {name} to its schedule: its host is slow");
            summary.deferred += 1;
            return Ok(());
        }
        let problem = error_chain(error);
        tracing::warn!(calendar.name = source.name, "could not read feed {}: {problem}", source.name);
        snapshot.polled_at = Some(now);
        snapshot.failures = snapshot.failures.saturating_add(1);
        snapshot.failing_since.get_or_insert(now);
        snapshot.problem = Some(problem.chars().take(MAX_PROBLEM_CHARS).collect());
        self.feed_store.save(source.name, &mut snapshot).await?;
        summary.unreadable += 1;
        Ok(())
    }

    /// Logs what an operator should know of a read, and describes it for the row.
    fn describe_problems(
        source: FeedSource<'_>,
        feed: &ParsedFeed,
        suspect: Option<&SuspectRead>,
        waiting_count: usize,
        now: Timestamp,
    ) -> Option<String> {
        let name = source.name;
        let mut problems = Vec::new();
        if let Some(suspect) = suspect {
            tracing::warn!(calendar.name = name, "marked feed {name} as suspect: {suspect}");
            problems.push(suspect.to_string());
        }
        if waiting_count > 0 {
            tracing::warn!(calendar.name = name, "postponed {waiting_count} new appointments of feed {name}");
            problems.push(format!(
                "{waiting_count} new appointments wait, because a day has more than `new_per_day` allows; set \
                 `accept_next_read` if they are right"
            ));
        }
        let foreign_count = feed.foreign_appointment_count();
        if foreign_count > 0 {
            tracing::warn!(calendar.name = name, "skipped {foreign_count} events of other organizers in feed {name}");
            problems.push(format!(
                "{foreign_count} events with a phone number have another organizer; if they are appointments of the \
                 client, list their organizer in `organizers`"
            ));
        }
        problems.extend(describe_unparsed(source, feed));
        problems.extend(describe_ignored(source, feed));
        problems.extend(describe_unnumbered(feed, now));
        Some(problems.join("; ").chars().take(MAX_PROBLEM_CHARS).collect()).filter(|text: &String| !text.is_empty())
    }
}

/// Marks a read as accepted in its snapshot, in memory.
fn accept_read(snapshot: &mut FeedSnapshot, validators: CacheValidators, now: Timestamp) {
    validators.save_to(snapshot);
    snapshot.read_at = Some(now);
    snapshot.suspect_since = None;
    snapshot.accept_next_read = false;
}

/// Logs the events that could not be parsed, and describes them for people.
fn describe_unparsed(source: FeedSource<'_>, feed: &ParsedFeed) -> Option<String> {
    for (uid, error) in &feed.unparsed_events {
        let subject = IdempotencyKey::appointment_subject(source.calendar.id_scope(), uid);
        tracing::warn!(
            calendar.name = source.name,
            appointment.key = subject,
            "skipped event {subject} of feed {}: {error}",
            source.name
        );
    }
    let count = feed.unparsed_events.len();
    let named = UnparsedEvents::new(feed.unparsed_events.iter());
    (count > 0).then(|| format!("{count} of {} events could not be parsed: {named}", feed.event_count))
}

/// How many `UID`s a problem names.
const MAX_NAMED_EVENTS: usize = 3;

/// Logs the events that do not count, and describes them for people.
fn describe_ignored(source: FeedSource<'_>, feed: &ParsedFeed) -> Option<String> {
    let subject_of = |uid: &str| IdempotencyKey::appointment_subject(source.calendar.id_scope(), uid);
    for (uid, reason) in &feed.ignored_events {
        let subject = subject_of(uid);
        tracing::warn!(
            calendar.name = source.name,
            appointment.key = subject,
            "ignored an event of {subject} in feed {}: {reason}",
            source.name
        );
    }
    let named = feed.ignored_events.iter().take(MAX_NAMED_EVENTS);
    let named: Vec<String> = named.map(|(uid, reason)| format!("{}: {reason}", subject_of(uid))).collect();
    let count = feed.ignored_events.len();
    (count > 0).then(|| format!("events of {count} UIDs were ignored: {}", named.join(", ")))
}

/// Describes the upcoming events whose label has no number behind it.
fn describe_unnumbered(feed: &ParsedFeed, now: Timestamp) -> Option<String> {
    let has_label = |(start, problem): &&(Timestamp, PhoneError)| {
        *start > now && matches!(problem, PhoneError::NoNumber | PhoneError::DialIn)
    };
    let count = feed.unreachable.values().filter(has_label).count();
    let (_, first) = feed.unreachable.values().find(has_label)?;
    Some(format!("{count} upcoming events have the words of a label of `phone` and no number; first: {first}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{parse_error::IcsEventError, tests::feed_config};

    #[test]
    fn the_window_reaches_from_yesterday_to_two_weeks_beyond_the_earliest_reminder() {
        let (config, now) = (feed_config(), "2026-11-20T12:00:00Z".parse().unwrap());
        let window_of = |calendar: &str| {
            let TimeWindow { from, until } = build_window(&config.calendars[calendar], now);
            (from.to_string(), until.to_string())
        };
        assert_eq!(window_of("clinic"), ("2026-11-19T12:00:00Z".to_owned(), "2026-12-05T12:00:00Z".to_owned()));
        assert_eq!(window_of("abroad"), ("2026-11-19T12:00:00Z".to_owned(), "2026-12-04T12:00:00Z".to_owned()));
        assert!(build_window(&config.calendars["clinic"], Timestamp::MAX).until == Timestamp::MAX);
    }

    #[test]
    fn the_row_of_a_feed_names_the_events_that_are_not_understood() {
        let config = feed_config();
        let calendar = &config.calendars["clinic"];
        let CalendarKind::Ics(rule) = &calendar.kind else { panic!() };
        let describe = |unparsed_events: BTreeMap<String, IcsEventError>| {
            let feed = ParsedFeed { unparsed_events, event_count: 9, ..ParsedFeed::default() };
            describe_unparsed(FeedSource { name: "clinic", calendar, rule }, &feed)
        };
        let unparsed = |count| (0..count).map(|n| (format!("a-{n}@b`\u{202e}"), IcsEventError::NoStart)).collect();
        assert_eq!(describe(unparsed(0)), None);
        let two = "2 of 9 events could not be parsed: `a-0@b??` (event has no start), `a-1@b??` (event has no start)";
        assert_eq!(describe(unparsed(2)).as_deref(), Some(two));
        assert!(describe(unparsed(8)).unwrap().ends_with("`a-4@b??` (event has no start) and 3 more"));
    }

    #[test]
    fn a_feed_is_due_within_one_minute_of_its_interval() {
        let config = feed_config();
        let CalendarKind::Ics(rule) = &config.calendars["clinic"].kind else { panic!() };
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let polled_ago = |seconds| FeedSnapshot {
            polled_at: Some(now - SignedDuration::from_secs(seconds)),
            ..FeedSnapshot::default()
        };
        assert!(is_due(&FeedSnapshot::default(), rule, now));
        let daily = FeedRule { poll_every: "1d".parse().unwrap(), ..rule.clone() };
        assert!(!is_due(&polled_ago(3600), &daily, now));
        assert!(
            is_due(&FeedSnapshot { failures: 1, ..polled_ago(900) }, &daily, now),
            "a failing feed is polled sooner"
        );
        // A read that ended the function counts as a failing one, whenever the last result was.
        let unfinished = |minutes| FeedSnapshot {
            tried_at: Some(now - SignedDuration::from_mins(minutes)),
            unfinished_reads: 1,
            ..polled_ago(86_400)
        };
        assert!(is_due(&unfinished(15), &daily, now) && !is_due(&unfinished(5), &daily, now));
        assert!(is_due(&polled_ago(15 * 60), rule, now) && is_due(&polled_ago(14 * 60), rule, now));
        assert!(!is_due(&polled_ago(14 * 60 - 1), rule, now));
    }
}
