//! Replays by an operator: the deliveries of a time, an outcome or a sender are processed again.
//!
//! Flow: an operator invokes the function of an inbox with `{"replay": {…}}`. [`replay_deliveries`]
//! walks through the inbox ([`walk_inbox`]) and removes the outcomes of the deliveries that match.
//! The inbox's stream wakes the function with each of them.
//!
//! Promises: a delivery is replayed only if its outcome is still the one that was read. One that
//! was processed already sends nothing twice, because the ledger has a row for each message. Does
//! **not** find deliveries that the inbox has forgotten.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    clock::{Clock, Deadline},
    fault::{ClassifyFault, Fault},
    inbox::{DeliveryFilter, Inbox, InboxError, ListedDelivery, NO_OUTCOME},
};

/// The most deliveries that are changed concurrently.
const MAX_CONCURRENT_CHANGES: usize = 8;
/// After this many deliveries a dry run ends, because its response lists them.
const MAX_LISTED: usize = 1000;

/// The command of an operator. Times are RFC 3339, such as `2026-11-29T10:00:00Z`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayCommand {
    /// Received at this time or later.
    pub from: Option<Timestamp>,
    /// Received before this time.
    pub to: Option<Timestamp>,
    /// With an outcome of this code; `none` for those without an outcome.
    pub outcome: Option<String>,
    /// Of this sender: the name of a store, calendar, form or line.
    pub sender: Option<String>,
    /// Lists the deliveries and replays none.
    #[serde(default)]
    pub dry_run: bool,
    /// The `position` of the last response, if it had `more`.
    pub position: Option<String>,
}

/// The payload of an invocation with a [`ReplayCommand`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayPayload {
    /// The command.
    pub replay: ReplayCommand,
}

/// The response to a [`ReplayCommand`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaySummary {
    /// The number of deliveries that are processed again.
    pub replayed: usize,
    /// The number of deliveries that match, by the code of their outcome. Those without an outcome
    /// count as `none`.
    pub outcomes: BTreeMap<String, usize>,
    /// The keys of the deliveries that match. Only of a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Whether the time ran out before the whole inbox was read. Then the operator repeats the
    /// command with `position`.
    pub more: bool,
    /// Where the inbox is read on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

/// A replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The command would replay the whole inbox.
    #[error("a replay needs `from` or `outcome`")]
    NoLimit,
    /// The times are in the wrong order.
    #[error("`from` of a replay must be before `to`")]
    EmptyTime,
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

impl ClassifyFault for ReplayError {
    fn fault(&self) -> Fault {
        match self {
            Self::NoLimit | Self::EmptyTime => Fault::Permanent,
            Self::Inbox(error) => error.fault(),
        }
    }
}

impl ReplayCommand {
    /// Checks that the command is limited and that its times are in order.
    fn to_filter(&self) -> Result<DeliveryFilter<'_>, ReplayError> {
        let (outcome, sender) = (self.outcome.as_deref(), self.sender.as_deref());
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => Err(ReplayError::EmptyTime),
            (None, _) if outcome.is_none_or(|outcome| outcome == NO_OUTCOME) => Err(ReplayError::NoLimit),
            (from, to) => Ok(DeliveryFilter { sender, outcome, from, to }),
        }
    }
}

/// Where a walk through an inbox ended.
#[derive(Debug, PartialEq, Eq)]
pub struct WalkEnd {
    /// Whether it ended before the whole inbox was read.
    pub more: bool,
    /// Where the inbox is read on: behind the last delivery that was acted on.
    pub position: Option<String>,
}

/// Acts on the deliveries of an inbox that match, as long as there is time. `act` gets as many as
/// it may change concurrently. It returns whether the walk goes on.
pub async fn walk_inbox(
    inbox: &Inbox,
    filter: &DeliveryFilter<'_>,
    mut position: Option<String>,
    deadline: Deadline,
    mut act: impl AsyncFnMut(&[ListedDelivery]) -> Result<bool, InboxError>,
) -> Result<WalkEnd, InboxError> {
    loop {
        let (deliveries, next) = inbox.scan_deliveries(filter, position.as_deref()).await?;
        for some in deliveries.chunks(MAX_CONCURRENT_CHANGES) {
            if !deadline.has_time_for_call() {
                return Ok(WalkEnd { more: true, position });
            }
            let goes_on = act(some).await?;
            // The inbox is read on behind any of its keys.
            position = some.last().map(|delivery| delivery.id.clone());
            if !goes_on {
                return Ok(WalkEnd { more: true, position });
            }
        }
        position = next;
        if position.is_none() || !deadline.has_time_for_call() {
            return Ok(WalkEnd { more: position.is_some(), position });
        }
    }
}

/// Makes changes of deliveries concurrently, and returns how many were made.
pub async fn count_changes(
    changes: impl IntoIterator<Item = impl Future<Output = Result<bool, InboxError>>>,
) -> Result<usize, InboxError> {
    Ok(futures::future::try_join_all(changes).await?.into_iter().filter(|is_made| *is_made).count())
}

/// Replays the deliveries of an inbox that match, as long as there is time.
pub async fn replay_deliveries(
    inbox: &Inbox,
    clock: &Clock,
    command: &ReplayCommand,
    deadline: Deadline,
) -> Result<ReplaySummary, ReplayError> {
    let filter = command.to_filter()?;
    let mut summary = ReplaySummary::default();
    let act = async |some: &[ListedDelivery]| {
        if command.dry_run {
            summary.ids.extend(some.iter().map(|delivery| delivery.id.clone()));
        } else {
            let now = clock.now();
            let replays =
                some.iter().map(|delivery| inbox.replay_delivery(&delivery.id, delivery.outcome.as_deref(), now));
            summary.replayed += count_changes(replays).await?;
        }
        for delivery in some {
            let code = delivery.outcome.as_deref().unwrap_or(NO_OUTCOME);
            *summary.outcomes.entry(code.to_owned()).or_default() += 1;
        }
        Ok(summary.ids.len() < MAX_LISTED)
    };
    let WalkEnd { more, position } = walk_inbox(inbox, &filter, command.position.clone(), deadline, act).await?;
    let replayed = summary.replayed;
    tracing::info!(deliveries.replayed = replayed, "operator replayed {replayed} deliveries of the inbox");
    Ok(ReplaySummary { more, position, ..summary })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use loopback::http_response;
    use serde_json::json;

    use super::*;
    use crate::{
        bootstrap::{AwsTimeouts, tests::start_fake_aws},
        clock::RESPONSE_TIME,
    };

    fn parse(replay: &str) -> ReplayCommand {
        serde_json::from_str::<ReplayPayload>(&format!("{{\"replay\": {replay}}}")).unwrap().replay
    }

    #[test]
    fn a_replay_is_limited_by_a_time_or_by_an_outcome() {
        let error = |replay: &str| parse(replay).to_filter().unwrap_err().to_string();
        for unlimited in ["{}", r#"{"sender": "shop"}"#, r#"{"to": "2026-11-29T10:00:00Z"}"#, r#"{"outcome": "none"}"#]
        {
            assert!(error(unlimited).contains("`from` or `outcome`"), "{unlimited}");
        }
        let reversed = r#"{"from": "2026-11-29T10:00:00Z", "to": "2026-11-29T10:00:00Z"}"#;
        assert!(error(reversed).contains("before `to`"));
        let command = parse(r#"{"from": "2026-11-29T12:00:00+02:00", "outcome": "none", "dry_run": true}"#);
        let filter = command.to_filter().unwrap();
        assert_eq!(filter.from.map(|from| from.to_string()).as_deref(), Some("2026-11-29T10:00:00Z"));
        assert_eq!((filter.outcome, filter.sender, command.dry_run), (Some("none"), None, true));
        assert!(parse(r#"{"outcome": "failed"}"#).to_filter().is_ok());
    }

    #[tokio::test]
    async fn a_replay_ends_within_a_page_and_says_where_it_goes_on() {
        let (fake_api, aws) = start_fake_aws().await;
        let inbox = Inbox::new(aws.dynamodb(), "Inbox".to_owned(), 30);
        let reply = |body: &serde_json::Value| {
            http_response("200 OK\r\ncontent-type: application/x-amz-json-1.0", &body.to_string())
        };
        let id = |number: usize| format!("shop#{number:02}");
        let items: Vec<_> =
            (0..20).map(|number| json!({"id": {"S": id(number)}, "outcome": {"S": "failed"}})).collect();
        let page = reply(&json!({"Items": items, "LastEvaluatedKey": {"id": {"S": "shop#99"}}}));
        let updated = reply(&json!({}));
        // The time is up while the first deliveries are replayed.
        let time = Duration::from_millis(300);
        let call = AwsTimeouts::default().operation;
        let deadline = Deadline::from_now(call + RESPONSE_TIME + time);
        let replies = async {
            fake_api.reply_once(&page).await.unwrap();
            for number in 0..MAX_CONCURRENT_CHANGES {
                if number == 1 {
                    tokio::time::sleep(time).await;
                }
                fake_api.reply_once(&updated).await.unwrap();
            }
        };
        let (command, clock) = (parse(r#"{"outcome": "failed"}"#), Clock::from_environment());
        let (summary, ()) = tokio::join!(replay_deliveries(&inbox, &clock, &command, deadline), replies);
        let summary = summary.unwrap();
        assert_eq!((summary.replayed, &summary.outcomes["failed"]), (8, &8));
        assert_eq!((summary.more, summary.position), (true, Some(id(7))));
        // Without any time nothing is replayed, and the position stays.
        let command = ReplayCommand { position: Some(id(7)), ..command };
        let late = Deadline::from_now(Duration::from_secs(1));
        let (summary, request) =
            tokio::join!(replay_deliveries(&inbox, &clock, &command, late), fake_api.reply_once(&page));
        assert!(request.unwrap().contains(&id(7)));
        let summary = summary.unwrap();
        assert_eq!((summary.replayed, summary.more, summary.position), (0, true, Some(id(7))));
    }

    #[test]
    fn a_misspelled_command_is_refused() {
        for payload in
            [r#"{"replay": {"form": "contact"}}"#, r#"{"replay": {"from": "yesterday"}}"#, r#"{"repaly": {}}"#]
        {
            assert!(serde_json::from_str::<ReplayPayload>(payload).is_err(), "{payload}");
        }
    }
}
