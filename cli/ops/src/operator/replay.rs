//! Replays deliveries: one by its id, or those of a time, an outcome or a sender.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    attributes::{ItemReader, text_value},
    replay::{ReplayCommand, ReplayPayload, ReplaySummary},
};

use super::{
    access::{Progress, StackAccess},
    operator_error::OperatorError,
};
use crate::inbox_kind::InboxKind;

/// The outcomes of deliveries that could not be processed.
const FAILED_OUTCOMES: [&str; 4] = ["failed", "lookup-failed", "newer-version", "quarantined"];

/// Which deliveries are replayed. A part that is absent excludes none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplaySelection {
    /// Those of the inbox that this function reads: `order-notifier`.
    pub function: Option<String>,
    /// Those of this store, calendar, form or line.
    pub sender: Option<String>,
    /// Those with this outcome; `none` for those without an outcome.
    pub outcome: Option<String>,
    /// Those that could not be processed, whatever their outcome.
    pub failed: bool,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

impl ReplaySelection {
    /// Checks that the selection is limited and that its times are in order.
    fn check(&self) -> Result<(), OperatorError> {
        let names_outcome = self.failed || self.outcome.as_deref().is_some_and(|code| code != "none");
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => Err(OperatorError::EmptyTime),
            (None, _) if !names_outcome => Err(OperatorError::NoLimit),
            _ => Ok(()),
        }
    }

    fn command_of(&self, outcome: Option<&str>) -> ReplayCommand {
        ReplayCommand {
            from: self.since,
            to: self.until,
            outcome: outcome.map(str::to_owned),
            sender: self.sender.clone(),
            ..ReplayCommand::default()
        }
    }

    /// The commands for each inbox. A function finds one outcome at a time.
    fn commands(&self) -> Vec<ReplayCommand> {
        if self.failed {
            return FAILED_OUTCOMES.into_iter().map(|outcome| self.command_of(Some(outcome))).collect();
        }
        vec![self.command_of(self.outcome.as_deref())]
    }
}

impl fmt::Display for ReplaySelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deliveries")?;
        if let Some(function) = &self.function {
            write!(f, " of {function}")?;
        }
        if let Some(sender) = &self.sender {
            write!(f, " from {sender}")?;
        }
        match &self.outcome {
            _ if self.failed => f.write_str(" that could not be processed")?,
            Some(outcome) => write!(f, " with the outcome {outcome}")?,
            None => {}
        }
        if let Some(since) = self.since {
            write!(f, " since {since}")?;
        }
        match self.until {
            Some(until) => write!(f, " until {until}"),
            None => Ok(()),
        }
    }
}

/// What a replay will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayPlan {
    /// What is replayed.
    pub selection: ReplaySelection,
    /// How many deliveries match, by the code of their outcome. `none` are those without one.
    pub outcomes: BTreeMap<String, usize>,
    /// Their ids.
    pub deliveries: Vec<String>,
}

/// What the replay of one delivery will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryPlan {
    /// Its id.
    pub delivery: String,
    /// The function that processes it.
    pub function: &'static str,
    /// When it came in.
    pub received_at: Option<Timestamp>,
    /// The code of its outcome; `None` if it led to a message, or is not processed yet.
    pub outcome: Option<String>,
    /// What the outcome says.
    pub outcome_text: Option<String>,
}

/// What a walk through an inbox listed or replayed.
#[derive(Debug, Default)]
pub(super) struct WalkedInbox {
    pub(super) replayed: usize,
    outcomes: BTreeMap<String, usize>,
    ids: Vec<String>,
}

impl WalkedInbox {
    /// How many deliveries matched.
    pub(super) fn matches(&self) -> usize {
        self.outcomes.values().sum()
    }

    fn add(&mut self, summary: ReplaySummary) {
        self.replayed += summary.replayed;
        for (outcome, count) in summary.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.ids.extend(summary.ids);
    }
}

/// Gives a function a replay as often as it takes to reach the end of its inbox.
pub(super) async fn walk(
    access: StackAccess<'_>,
    kind: InboxKind,
    mut replay: ReplayCommand,
) -> Result<WalkedInbox, OperatorError> {
    let function = kind.function();
    let mut walked = WalkedInbox::default();
    loop {
        let payload = serde_json::json!(ReplayPayload { replay: replay.clone() });
        let mut summary: ReplaySummary = access.stack.command(function, &payload).await?;
        let next = summary.position.take().filter(|_| summary.more);
        walked.add(summary);
        match next {
            Some(position) => replay.position = Some(position),
            None => return Ok(walked),
        }
        (access.on_progress)(Progress { function, deliveries: walked.matches() });
    }
}

/// Lists what a selection replays.
pub(super) async fn plan(access: StackAccess<'_>, selection: ReplaySelection) -> Result<ReplayPlan, OperatorError> {
    selection.check()?;
    let WalkedInbox { outcomes, ids: deliveries, .. } = walk_all(access, &selection, true).await?;
    Ok(ReplayPlan { selection, outcomes, deliveries })
}

/// Walks through all inboxes of a selection.
async fn walk_all(
    access: StackAccess<'_>,
    selection: &ReplaySelection,
    dry_run: bool,
) -> Result<WalkedInbox, OperatorError> {
    let mut all = WalkedInbox::default();
    for kind in find_inboxes(access, selection)? {
        for command in selection.commands() {
            let WalkedInbox { replayed, outcomes, ids } =
                walk(access, kind, ReplayCommand { dry_run, ..command }).await?;
            all.add(ReplaySummary { replayed, outcomes, ids, ..ReplaySummary::default() });
        }
    }
    Ok(all)
}

/// The inboxes of a selection: those of the function, or with the sender, or all that have senders.
fn find_inboxes(access: StackAccess<'_>, selection: &ReplaySelection) -> Result<Vec<InboxKind>, OperatorError> {
    if let Some(function) = &selection.function {
        StackAccess::require_known("function with an inbox", function, InboxKind::ALL.map(InboxKind::function))?;
    }
    let chosen = selection.function.as_deref().and_then(InboxKind::of_function);
    let kinds = || InboxKind::ALL.into_iter().filter(move |kind| chosen.is_none_or(|chosen| chosen == *kind));
    if let Some(sender) = &selection.sender {
        StackAccess::require_known("sender", sender, kinds().flat_map(|kind| access.list_senders(kind)))?;
        return Ok(kinds().filter(|kind| access.list_senders(*kind).contains(&sender.as_str())).collect());
    }
    Ok(kinds().filter(|kind| !access.list_senders(*kind).is_empty()).collect())
}

/// Returns how many deliveries were replayed.
pub(super) async fn run(access: StackAccess<'_>, plan: &ReplayPlan) -> Result<usize, OperatorError> {
    Ok(walk_all(access, &plan.selection, false).await?.replayed)
}

/// Finds one delivery by its id.
pub(super) async fn plan_delivery(access: StackAccess<'_>, delivery: String) -> Result<DeliveryPlan, OperatorError> {
    let sender = delivery.split('#').next().unwrap_or_default();
    for kind in InboxKind::ALL.into_iter().filter(|kind| access.list_senders(*kind).contains(&sender)) {
        let get = access.stack.dynamodb.get_item().table_name(access.tables.inbox_table(kind));
        let get = get.key("id", text_value(delivery.as_str()));
        let get = get.projection_expression("id, received_at, outcome, outcome_text");
        let item = get.send().await.map_err(|error| OperatorError::Read(Box::new(error)))?.item;
        if let Some(item) = item {
            let item = ItemReader(&item);
            return Ok(DeliveryPlan {
                function: kind.function(),
                received_at: item.time("received_at"),
                outcome: item.owned("outcome"),
                outcome_text: item.owned("outcome_text"),
                delivery,
            });
        }
    }
    Err(OperatorError::UnknownDelivery(delivery))
}

/// Replays one delivery if its outcome is still the one of the plan.
pub(super) async fn run_delivery(access: StackAccess<'_>, plan: &DeliveryPlan) -> Result<(), OperatorError> {
    let unknown = || OperatorError::UnknownDelivery(plan.delivery.clone());
    let inbox = access.inbox(InboxKind::of_function(plan.function).ok_or_else(unknown)?);
    if inbox.replay_delivery(&plan.delivery, plan.outcome.as_deref(), access.stack.now()).await? {
        return Ok(());
    }
    Err(OperatorError::ChangedMeanwhile(plan.delivery.clone()))
}

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};
    use serde_json::json;

    use super::*;
    use crate::{
        client_stack::ClientStack,
        client_tables::{ClientTables, TableNames},
        local_stack::{LocalEndpoints, LocalStackFile},
    };

    const CLIENT_TOML: &str = r#"
client = "acme"
name = "Acme"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
lines = { main = { line_id = "line_acme" } }
"#;

    #[tokio::test]
    async fn a_walk_goes_on_from_the_position_of_the_last_response_and_adds_up() {
        let api = FakeApi::start().await.unwrap();
        let url = api.base_url().unwrap();
        let endpoints = LocalEndpoints::new(url.clone(), url.clone(), &url);
        let file = LocalStackFile { client: "clients/acme".into(), clock: "no-clock".into(), endpoints };
        let stack = ClientStack::on_this_machine("acme", &file, "dana").unwrap();
        let names = ["LEDGER", "STORE_INBOX", "BOOKING_INBOX", "LEAD_INBOX", "LINE_INBOX"];
        let names = TableNames::from_variables(|name| names.iter().any(|it| name.starts_with(it)).then(|| name.into()));
        let tables = ClientTables::new(stack.dynamodb.clone(), names.unwrap());
        let config = tellonce_core::client_config::ClientConfig::parse(CLIENT_TOML).unwrap();
        let seen = std::sync::Mutex::new(Vec::new());
        let on_progress = |progress: Progress| seen.lock().unwrap().push(progress.deliveries);
        let access = StackAccess { stack: &stack, tables: &tables, config: &config, on_progress: &on_progress };

        let reply = |summary: &serde_json::Value| http_response("200 OK", &summary.to_string());
        let first = reply(&json!({"replayed": 2, "outcomes": {"failed": 2}, "more": true, "position": "shop#2"}));
        let last = reply(&json!({"replayed": 1, "outcomes": {"failed": 1, "none": 1}, "more": false}));
        let replies = async {
            let asked = api.reply_once(&first).await.unwrap();
            assert!(
                asked.starts_with("POST /2015-03-31/functions/tellonce-acme-order-notifier/invocations "),
                "{asked}"
            );
            let asked = api.reply_once(&last).await.unwrap();
            assert!(asked.contains(r#""position":"shop#2""#), "{asked}");
        };
        let command = ReplayCommand { outcome: Some("failed".to_owned()), ..ReplayCommand::default() };
        let (walked, ()) = tokio::join!(walk(access, InboxKind::Stores, command), replies);
        let walked = walked.unwrap();
        assert_eq!((walked.replayed, walked.matches()), (3, 4));
        assert_eq!(*seen.lock().unwrap(), [2]);
    }

    #[test]
    fn a_replay_is_limited_by_a_time_or_by_an_outcome() {
        let at = |text: &str| Some(text.parse().unwrap());
        let check = |selection: ReplaySelection| selection.check().map_err(|error| error.to_string());
        let since = || ReplaySelection { since: at("2026-11-29T10:00:00Z"), ..ReplaySelection::default() };
        assert!(check(since()).is_ok());
        assert!(check(ReplaySelection { failed: true, ..ReplaySelection::default() }).is_ok());
        let reversed = ReplaySelection { until: since().since, ..since() };
        assert!(check(reversed).unwrap_err().contains("must be before"));
        for outcome in [None, Some("none".to_owned())] {
            let all = ReplaySelection { outcome, sender: Some("shop".to_owned()), ..ReplaySelection::default() };
            assert!(check(all).unwrap_err().contains("needs a delivery"));
        }
    }

    #[test]
    fn a_selection_is_read_as_words_and_names_each_failed_outcome_to_the_function() {
        let selection = ReplaySelection {
            sender: Some("shop".to_owned()),
            failed: true,
            since: Some("2026-11-29T10:00:00Z".parse().unwrap()),
            ..ReplaySelection::default()
        };
        let words = "the deliveries from shop that could not be processed since 2026-11-29T10:00:00Z";
        assert_eq!(selection.to_string(), words);
        let outcomes: Vec<_> = selection.commands().into_iter().filter_map(|command| command.outcome).collect();
        assert_eq!(outcomes, FAILED_OUTCOMES);
    }
}
