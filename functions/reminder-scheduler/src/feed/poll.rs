//! Polling: which feeds are due, and one look at each. Effects; what a look means, `ics` and `diff` say.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::{
    appointment::Report,
    client_config::{Calendar, CalendarKind, ClientConfig, FeedRule, Stage},
    clock::{Clock, Deadline},
    fault::{Fault, Faulty, chain},
    feed::{Feeds, FeedsError, Memory},
    ledger::Key,
    observe::{self, Metric},
    secret::{Secret, Secrets},
};

use super::{
    diff::{Changes, Origin, Verdict, compare},
    fetch::{Answer, PATIENCE, UnreadableFeed, fetch},
    ics::{self, Feed, Window},
};

/// With less time left than this, no further feed is begun: patience with its host, and time to read and write.
const TIME_FOR_A_FEED: Duration = Duration::from_secs(25);
/// With less time left than this, no further report is handed over.
const TIME_TO_FINISH: Duration = Duration::from_secs(4);
/// The schedule comes a moment earlier or later; a feed that is due within this is due.
const EARLY: SignedDuration = SignedDuration::from_secs(60);
/// A feed that could not be had, or is in doubt, is asked for again this soon, however seldom it is asked for otherwise.
const WHILE_FAILING: SignedDuration = SignedDuration::from_mins(15);
/// How often a look is made again because somebody else looked at the same time.
const TRIES: usize = 3;
/// How far back a look goes: an appointment that was moved to an hour ago is still that appointment.
const BACK: SignedDuration = SignedDuration::from_hours(24);
/// How much further ahead than the earliest reminder a look goes: for so long a feed may be unreadable and nobody misses one.
const AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);
/// The longest reason that is kept, in characters.
const MAX_PROBLEM: usize = 300;

/// Asks for feeds, and hands on what changed.
#[derive(Clone, Copy)]
pub struct Poller<'a> {
    /// The client.
    pub config: &'a ClientConfig,
    /// Asks.
    pub http: &'a reqwest::Client,
    /// Knows the addresses.
    pub secrets: &'a Secrets,
    /// Remembers.
    pub feeds: &'a Feeds,
    /// Says when a feed was asked for.
    pub clock: &'a Clock,
    /// Instead of the origin of every feed's address, for tests.
    pub base_url: Option<&'a str>,
}

/// What came of polling.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Polled {
    /// Feeds that were due.
    pub due: usize,
    /// Whose host says that nothing changed.
    pub unchanged: usize,
    /// That were read and believed, whatever changed.
    pub read: usize,
    /// Reports that were handed on.
    pub reports: usize,
    /// Feeds that say something too unlikely to act on.
    pub doubtful: usize,
    /// Feeds that could not be had or read.
    pub unreadable: usize,
    /// Feeds, or rests of them, that there was no time for.
    pub left: usize,
    /// Feeds that we failed at: what is remembered could not be read or written, or a report was not taken.
    pub failed: usize,
}

/// One feed.
#[derive(Clone, Copy)]
struct Source<'a> {
    name: &'a str,
    calendar: &'a Calendar,
    rule: &'a FeedRule,
}

/// The part of a calendar that matters now: from a day ago to two weeks before the earliest reminder of what begins then.
pub fn window(calendar: &Calendar, now: Timestamp) -> Window {
    let lead = calendar.reminders.keys().map(Stage::lead).max().unwrap_or_default();
    Window {
        from: now.checked_sub(BACK).unwrap_or(Timestamp::MIN),
        until: now.checked_add(lead + AHEAD).unwrap_or(Timestamp::MAX),
    }
}

fn is_due(memory: &Memory, rule: &FeedRule, now: Timestamp) -> bool {
    let every = if memory.failures > 0 || memory.doubted_since.is_some() {
        rule.every.0.min(WHILE_FAILING)
    } else {
        rule.every.0
    };
    memory.polled_at.is_none_or(|polled| now.duration_since(polled) >= every - EARLY)
}

impl Poller<'_> {
    /// Looks at every feed that is due, or at `only` one whether it is due or not; the one that waited longest first.
    ///
    /// What changed is handed to `take`, report by report, and remembered when it was taken. What was not, because of an
    /// error or because there is no time left, is handed over by the next look, which then is due at once.
    pub async fn poll<E: Faulty>(
        &self,
        only: Option<&str>,
        deadline: Deadline,
        take: impl AsyncFn(Report) -> Result<(), E>,
    ) -> Polled {
        let now = self.clock.now();
        let mut polled = Polled::default();
        let mut due = Vec::new();
        for (name, calendar) in &self.config.calendars {
            let CalendarKind::Ics(rule) = &calendar.kind else { continue };
            if only.is_some_and(|only| only != name) {
                continue;
            }
            match self.feeds.load(name).await {
                Ok(memory) if only.is_some() || is_due(&memory, rule, now) => {
                    due.push((Source { name, calendar, rule }, memory));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(calendar = name, "{}", chain(&error));
                    polled.failed += 1;
                }
            }
        }
        due.sort_by_key(|(_, memory)| memory.polled_at);
        polled.due = due.len();
        for (number, (source, memory)) in due.into_iter().enumerate() {
            if deadline.remaining() < TIME_FOR_A_FEED {
                polled.left += polled.due - number;
                break;
            }
            if let Err(error) = self.look(source, memory, deadline, &take, &mut polled).await {
                tracing::error!(calendar = source.name, "{}", chain(&error));
                polled.failed += 1;
            }
        }
        polled
    }

    async fn look<E: Faulty>(
        &self,
        source: Source<'_>,
        memory: Memory,
        deadline: Deadline,
        take: &impl AsyncFn(Report) -> Result<(), E>,
        polled: &mut Polled,
    ) -> Result<(), FeedsError> {
        let mut looked = self.look_once(source, memory, deadline, take, polled).await;
        for _ in 1..TRIES {
            // What the other one saw may be older than what we were sent for.
            let Err(FeedsError::Outrun) = looked else { break };
            let memory = self.feeds.load(source.name).await?;
            looked = self.look_once(source, memory, deadline, take, polled).await;
        }
        looked
    }

    async fn look_once<E: Faulty>(
        &self,
        source: Source<'_>,
        mut memory: Memory,
        deadline: Deadline,
        take: &impl AsyncFn(Report) -> Result<(), E>,
        polled: &mut Polled,
    ) -> Result<(), FeedsError> {
        let asked_at = self.clock.now();
        let patience = Deadline::after(PATIENCE.min(deadline.remaining()));
        let (body, validators) = match self.ask(source.name, &memory, asked_at, patience).await {
            Ok(Answer::Body { body, validators }) => (body, validators),
            Ok(Answer::Unchanged) => {
                if memory.failures > 0 {
                    (memory.failures, memory.failing_since, memory.problem) = (0, None, None);
                }
                memory.polled_at = Some(asked_at);
                self.feeds.save(source.name, &mut memory).await?;
                polled.unchanged += 1;
                return Ok(());
            }
            Err(error) => return self.unreadable(source, memory, &error, asked_at, polled).await,
        };
        let window = window(source.calendar, asked_at);
        // Only what lies ahead is looked for outside the window, so that what is over can be forgotten.
        let ahead = |id: &str| memory.occurrences.get(id).is_some_and(|known| known.start > asked_at);
        let feed = match ics::read(&body, source.rule, source.calendar, self.config, window, &ahead) {
            Ok(feed) => feed,
            Err(error) => return self.unreadable(source, memory, &error.into(), asked_at, polled).await,
        };
        drop(body);
        memory.polled_at = Some(asked_at);
        (memory.failures, memory.failing_since) = (0, None);
        let origin = Origin { name: source.name, calendar: source.calendar };
        let (doubt, Changes { begun, changes }) = match compare(&memory, &feed, origin, window, asked_at) {
            Verdict::Changes(changes) => (None, changes),
            Verdict::Doubtful(doubt, changes) => (Some(doubt), changes),
        };
        if let Some(doubt) = doubt {
            tracing::warn!(calendar = source.name, "the feed is in doubt: {doubt}");
            observe::count(&self.config.client, Metric::FeedDoubtful, asked_at);
            memory.doubted_since.get_or_insert(asked_at);
            memory.problem = Some(doubt.to_string());
        }
        memory.occurrences = begun;
        if !changes.is_empty() {
            // Should we end here, the next look is due at once.
            let polled_at = memory.polled_at.take();
            self.feeds.save(source.name, &mut memory).await?;
            memory.polled_at = polled_at;
        }
        let (mut left, mut failed) = (false, false);
        for change in changes {
            if deadline.remaining() < TIME_TO_FINISH {
                left = true;
                break;
            }
            match take(change.report.clone()).await {
                Ok(()) => {
                    polled.reports += 1;
                    change.taken(&mut memory.occurrences);
                }
                Err(error) => {
                    tracing::error!(calendar = source.name, appointment = change.report.subject, "{}", chain(&error));
                    if error.fault() == Fault::Permanent {
                        // It will not be taken the next time either, and must not keep the rest from being remembered.
                        observe::count(&self.config.client, Metric::DeliveriesQuarantined, asked_at);
                        change.taken(&mut memory.occurrences);
                    } else {
                        failed = true;
                    }
                }
            }
        }
        if left || failed {
            memory.polled_at = None;
            polled.left += usize::from(left);
            polled.failed += usize::from(failed);
        } else if doubt.is_some() {
            polled.doubtful += 1;
        } else {
            validators.keep(&mut memory);
            memory.read_at = Some(asked_at);
            memory.doubted_since = None;
            memory.believe = false;
            memory.problem = not_understood(source, &feed);
            polled.read += 1;
        }
        self.feeds.save(source.name, &mut memory).await
    }

    async fn ask(
        &self,
        name: &str,
        memory: &Memory,
        now: Timestamp,
        patience: Deadline,
    ) -> Result<Answer, UnreadableFeed> {
        let secret = self.config.calendar_secret(name);
        let address = self.secrets.current(&secret, now).await?;
        let none = |error: Option<UnreadableFeed>| error.unwrap_or(UnreadableFeed::Address { secret: secret.clone() });
        let ask = async |address: &Secret| {
            fetch(self.http, address, self.base_url, memory, now, patience).await.map_err(none)
        };
        // The calendar's owner may have reset the address, and stored the new one since.
        let refused =
            |error: &UnreadableFeed| matches!(error, UnreadableFeed::Refused { .. } | UnreadableFeed::Address { .. });
        self.secrets.retry_refused(&secret, &address, now, refused, ask).await
    }

    /// Writes down that a feed could not be had or read. Nothing else changes.
    async fn unreadable(
        &self,
        source: Source<'_>,
        mut memory: Memory,
        error: &UnreadableFeed,
        now: Timestamp,
        polled: &mut Polled,
    ) -> Result<(), FeedsError> {
        let problem = chain(error);
        tracing::warn!(calendar = source.name, "the feed is unreadable: {problem}");
        observe::count(&self.config.client, Metric::FeedUnreadable, now);
        memory.polled_at = Some(now);
        memory.failures = memory.failures.saturating_add(1);
        memory.failing_since.get_or_insert(now);
        memory.problem = Some(problem.chars().take(MAX_PROBLEM).collect());
        self.feeds.save(source.name, &mut memory).await?;
        polled.unreadable += 1;
        Ok(())
    }
}

/// Which events of a feed are not understood, for people.
fn not_understood(source: Source<'_>, feed: &Feed) -> Option<String> {
    for (uid, error) in &feed.unreadable {
        let subject = Key::appointment(source.calendar.book(), uid);
        tracing::warn!(
            calendar = source.name,
            appointment = subject,
            "an event of the feed is not understood: {error}"
        );
    }
    let (_, first) = feed.unreadable.first_key_value()?;
    let count = feed.unreadable.len();
    Some(format!("{count} of {} events are not understood; of the first: {first}", feed.events))
}

#[cfg(test)]
mod tests {
    use shared::feed::Memory;

    use super::*;
    use crate::feed::tests::config;

    #[test]
    fn a_look_goes_from_yesterday_to_two_weeks_ahead_of_the_earliest_reminder() {
        let (config, now) = (config(), "2026-11-20T12:00:00Z".parse().unwrap());
        let span = |calendar: &str| {
            let Window { from, until } = window(&config.calendars[calendar], now);
            (from.to_string(), until.to_string())
        };
        assert_eq!(span("clinic"), ("2026-11-19T12:00:00Z".to_owned(), "2026-12-05T12:00:00Z".to_owned()));
        assert_eq!(span("abroad"), ("2026-11-19T12:00:00Z".to_owned(), "2026-12-04T12:00:00Z".to_owned()));
        assert!(window(&config.calendars["clinic"], Timestamp::MAX).until == Timestamp::MAX);
    }

    #[test]
    fn a_feed_is_due_when_its_time_has_come_give_or_take_a_minute() {
        let config = config();
        let CalendarKind::Ics(rule) = &config.calendars["clinic"].kind else { panic!() };
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let polled =
            |seconds| Memory { polled_at: Some(now - SignedDuration::from_secs(seconds)), ..Memory::default() };
        assert!(is_due(&Memory::default(), rule, now));
        let daily = FeedRule { every: "1d".parse().unwrap(), ..rule.clone() };
        assert!(!is_due(&polled(3600), &daily, now));
        assert!(is_due(&Memory { failures: 1, ..polled(900) }, &daily, now), "while it fails it is asked for sooner");
        assert!(is_due(&polled(15 * 60), rule, now) && is_due(&polled(14 * 60), rule, now));
        assert!(!is_due(&polled(14 * 60 - 1), rule, now));
    }
}
