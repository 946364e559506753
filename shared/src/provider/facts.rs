//! What differs between providers and is a constant: names, limits, rates and retry rules.

use std::time::Duration;

use jiff::SignedDuration;

/// Constants of one provider.
#[derive(Debug)]
pub struct ProviderFacts {
    /// Its name, for people.
    pub name: &'static str,
    /// Where its API is when nothing else is configured, without the path of a version.
    pub base_url: &'static str,
    /// How every token of a line begins.
    pub token_prefix: &'static str,
    /// Messages a minute over a line when the client configures none.
    pub default_messages_per_minute: u32,
    /// The most messages a minute that a client may configure.
    pub max_messages_per_minute: u32,
    /// Longest duration of a send.
    pub send_timeout: Duration,
    /// How long a good health response counts, in seconds.
    pub health_valid_seconds: i64,
    /// How long a line that could not send is left alone before the next health request, in
    /// seconds.
    pub down_recheck_seconds: i64,
    /// How long after a submit without a response the message may still be accepted.
    pub late_acceptance: SignedDuration,
    /// When a submit of unknown outcome is repeated.
    pub unknown_outcome: UnknownOutcomeRules,
    /// The headers of a line event.
    pub line_event_headers: LineEventHeaders,
    /// How an operator gets a token of a line, as an imperative sentence without a full stop.
    pub token_advice: &'static str,
    /// Where an operator finds the id of a line, as the end of a sentence.
    pub line_id_source: &'static str,
}

/// When a submit of unknown outcome is repeated, always with the same key and the same bytes.
#[derive(Debug)]
pub struct UnknownOutcomeRules {
    /// Submits of unknown outcome after which a person decides.
    pub max_attempts: u32,
    /// How long after the first such submit the same key may be used again.
    pub window: SignedDuration,
    /// The wait after each such submit; the last entry repeats.
    pub retry_delays: &'static [SignedDuration],
}

impl UnknownOutcomeRules {
    /// The wait before the next attempt after `attempts` earlier submits of unknown outcome.
    pub fn retry_delay(&self, attempts: u32) -> SignedDuration {
        let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(self.retry_delays.len().saturating_sub(1));
        self.retry_delays.get(index).copied().unwrap_or(self.window)
    }
}

/// Names of the headers of a line event, in lower case.
#[derive(Debug)]
pub struct LineEventHeaders {
    /// Holds the delivery id, by which repeats are found.
    pub delivery_id: &'static str,
    /// Holds the name of the event.
    pub event: &'static str,
    /// Holds the provider's id of the line.
    pub line_id: &'static str,
    /// Holds the id of the webhook. Optional.
    pub webhook_id: &'static str,
}
