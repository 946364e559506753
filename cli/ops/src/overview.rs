//! The state of a client's stack: what waits, and whether its parts work.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tellonce_core::{
    attributes::{Item, ItemReader},
    client_config::ClientConfig,
    heartbeat::{HEARTBEAT_SUBJECT, HeartbeatLog, HeartbeatPath},
    ledger::{KNOWN_QUEUES_SUBJECT, QueueKind, destination_queues, known_queue_names, read_rows, refused_queue_name},
    line::{LineBlocked, LineStatus},
    waiting_lookup::LOOKUP_QUEUE,
};

use crate::{
    client_tables::{ClientTables, Entries, OpsError, QueueEntry},
    report::{MessageReport, report_message},
};

/// The most messages of a line that are listed with their reasons.
pub const MAX_LISTED: usize = 50;
/// A part that has not answered for longer does not run. The alarm `heartbeat-late` has the same
/// limit, and is raised some minutes later.
const LATE_HEARTBEAT: SignedDuration = SignedDuration::from_mins(10);

/// The state of a client's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// When it was read.
    pub at: Timestamp,
    /// The lines, by name; also those that `client.toml` no longer has, if something waits for
    /// them.
    pub lines: Vec<LineOverview>,
    /// The CRMs and the targets, by name.
    pub queues: Vec<QueueOverview>,
    /// Deliveries whose lookup waits for a sender's API.
    pub lookups: Wait,
    /// The forms.
    pub forms: Vec<FormOverview>,
    /// The feeds.
    pub feeds: Vec<FeedOverview>,
    /// The parts of the stack that answer heartbeats.
    pub parts: Vec<PartOverview>,
}

/// How much waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// How many.
    pub count: usize,
    /// Whether there are more than were counted.
    pub has_more: bool,
    /// Since when the oldest one waits although it should have gone. `None` if all of them wait for
    /// their time, such as the end of the quiet hours.
    pub oldest_since: Option<Timestamp>,
    /// When the next one is tried.
    pub next_try: Option<Timestamp>,
}

impl Wait {
    fn of_entries(entries: &Entries<QueueEntry>, now: Timestamp) -> Self {
        Self {
            count: entries.list.len(),
            has_more: entries.has_more,
            oldest_since: entries.list.iter().filter_map(|entry| entry.overdue_since(now)).min(),
            next_try: entries.list.iter().map(|entry| entry.due_at.max(now)).min(),
        }
    }
}

/// The state of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineOverview {
    /// Its name.
    pub name: String,
    /// Whether `client.toml` has it.
    pub is_configured: bool,
    /// Why an operator stopped it.
    pub stopped: Option<String>,
    /// Why no message may be sent over it now.
    pub blocked: Option<String>,
    /// Whether the provider refused its token.
    pub is_token_refused: bool,
    /// Until when, at the latest check.
    pub blocked_until: Option<Timestamp>,
    /// The messages that wait.
    pub wait: Wait,
    /// When all of them have gone at the line's rate, if it can send from now on.
    pub out_by: Option<Timestamp>,
    /// The messages that are tried first, at most [`MAX_LISTED`].
    pub messages: Vec<MessageReport>,
}

/// The state of a CRM or a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueOverview {
    /// `crm:sales`, `target:team`.
    pub name: String,
    /// Why it is paused.
    pub problem: Option<String>,
    /// Until when.
    pub paused_until: Option<Timestamp>,
    /// The tasks that it refused for good.
    pub refused: usize,
    /// The tasks that wait.
    pub wait: Wait,
}

/// The state of a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormOverview {
    /// Its name.
    pub name: String,
    /// Since when its leads are held.
    pub held_since: Option<Timestamp>,
}

/// The state of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedOverview {
    /// The calendar.
    pub name: String,
    /// When a complete read was last accepted.
    pub read_at: Option<Timestamp>,
    /// What is wrong.
    pub problem: Option<String>,
    /// Whether a person has to decide about it.
    pub is_suspect: bool,
}

/// A part of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartOverview {
    /// The name of its heartbeat: `store-inbox`.
    pub name: &'static str,
    /// When it last answered.
    pub answered_at: Option<Timestamp>,
    /// Whether it should have answered since.
    pub is_late: bool,
    /// The commit of its code and the hash of its client.toml: `1a2b3c4d5e6f-89abcdef`.
    pub version: Option<String>,
}

impl ClientTables {
    /// What waits, and whether the parts of the stack work. Four requests, one for each line, one
    /// more for each line with messages that wait, and two for each CRM and target.
    pub async fn read_overview(&self, config: &ClientConfig, now: Timestamp) -> Result<Overview, OpsError> {
        let known = self.read_subject_items(KNOWN_QUEUES_SUBJECT).await?;
        let lines = queue_names(&known, QueueKind::Lines, config.lines.keys().cloned());
        let configured = destination_queues(config);
        let destinations = queue_names(&known, QueueKind::Destinations, configured.iter().cloned());
        let feeds: Vec<&str> = config.feed_names().collect();
        let subjects = (lines.iter().map(|name| format!("line:{name}")))
            .chain(destinations.iter().cloned())
            .chain(config.forms.keys().map(|name| format!("form:{name}")))
            .chain(feeds.iter().map(|name| format!("feed:{name}")))
            .collect::<Vec<_>>();
        let states = self.read_states(&subjects).await?;
        let state_of = |subject: String| states.get(&subject);
        let mut line_overviews = Vec::new();
        for name in lines {
            let overview = self.read_line(config, &name, state_of(format!("line:{name}")), now).await?;
            let is_over = !overview.is_configured && overview.wait.count == 0;
            line_overviews.extend((!is_over).then_some(overview));
        }
        let mut queues = Vec::new();
        for name in destinations {
            let wait = Wait::of_entries(&self.read_queue(&name).await?, now);
            let refused = self.count_due(&refused_queue_name(&name), None).await.map_err(OpsError::Query)?;
            let queue = QueueOverview { refused, ..read_queue_state(name, state_of, wait, now) };
            let is_over = !configured.contains(&queue.name) && queue.wait.count + refused == 0;
            queues.extend((!is_over).then_some(queue));
        }
        let forms = config.forms.keys().map(|name| FormOverview {
            name: name.clone(),
            held_since: state_of(format!("form:{name}")).and_then(|item| ItemReader(item).time("held_since")),
        });
        Ok(Overview {
            at: now,
            lines: line_overviews,
            queues,
            lookups: Wait::of_entries(&self.read_queue(LOOKUP_QUEUE).await?, now),
            forms: forms.collect(),
            feeds: feeds.into_iter().map(|name| read_feed_state(name, state_of(format!("feed:{name}")))).collect(),
            parts: read_parts(config, &self.read_subject_items(HEARTBEAT_SUBJECT).await?, now),
        })
    }

    async fn read_line(
        &self,
        config: &ClientConfig,
        name: &str,
        state: Option<&Item>,
        now: Timestamp,
    ) -> Result<LineOverview, OpsError> {
        let entries = self.read_queue(name).await?;
        let wait = Wait::of_entries(&entries, now);
        let keys: Vec<_> = entries.list.iter().take(MAX_LISTED).map(|entry| entry.key.clone()).collect();
        let rows = read_rows(&self.db, &self.names.ledger, &keys).await?;
        let mut messages: Vec<MessageReport> = rows.messages.iter().map(|row| report_message(row, &[])).collect();
        messages.sort_by_key(|message| (message.next_try, message.key.clone()));
        let empty = Item::new();
        let status = LineStatus::from_item(state.unwrap_or(&empty), now);
        let is_overdue = |entry: &QueueEntry| entry.overdue_since(now).is_some();
        let is_all_due = wait.count > 0 && !wait.has_more && entries.list.iter().all(is_overdue);
        let rate = config.lines.get(name).map(|line| i64::from(line.messages_per_minute));
        let seconds = rate.map(|rate| i64::try_from(wait.count).unwrap_or(i64::MAX).saturating_mul(60) / rate.max(1));
        Ok(LineOverview {
            name: name.to_owned(),
            is_configured: config.lines.contains_key(name),
            stopped: state.and_then(|item| ItemReader(item).owned("stopped")),
            blocked: status.blocked.as_ref().map(LineBlocked::reason),
            is_token_refused: matches!(status.blocked, Some(LineBlocked::BreakerOpen { .. })),
            blocked_until: status.blocked.as_ref().map(LineBlocked::until),
            // What waits for its time goes later, whatever the line can do.
            out_by: seconds.filter(|_| is_all_due).map(|seconds| now + SignedDuration::from_secs(seconds)),
            wait,
            messages,
        })
    }
}

/// The configured queues, and those that were configured once.
fn queue_names(known: &[Item], kind: QueueKind, configured: impl Iterator<Item = String>) -> BTreeSet<String> {
    let row = known.iter().find(|item| ItemReader(item).text("stage") == Some(kind.stage()));
    configured.chain(known_queue_names(row)).collect()
}

fn read_queue_state<'a>(
    name: String,
    state_of: impl Fn(String) -> Option<&'a Item>,
    wait: Wait,
    now: Timestamp,
) -> QueueOverview {
    let state = state_of(name.clone()).map(ItemReader);
    let paused_until = state.and_then(|state| state.time("paused_until")).filter(|until| *until > now);
    QueueOverview { name, refused: 0, problem: state.and_then(|state| state.owned("reason")), paused_until, wait }
}

fn read_feed_state(name: &str, state: Option<&Item>) -> FeedOverview {
    let state = state.map(ItemReader);
    let time = |attribute| state.and_then(|state| state.time(attribute));
    FeedOverview {
        name: name.to_owned(),
        read_at: time("read_at"),
        problem: state.and_then(|state| state.owned("problem")),
        is_suspect: time("suspect_since").is_some() || time("postponing_since").is_some(),
    }
}

fn read_parts(config: &ClientConfig, rows: &[Item], now: Timestamp) -> Vec<PartOverview> {
    let log = HeartbeatLog::from_rows(rows);
    let used = HeartbeatPath::ALL.into_iter().filter(|path| path.is_used(config));
    let part = |path: HeartbeatPath| {
        let row = rows.iter().map(ItemReader).find(|row| row.text("stage") == Some(path.name()));
        PartOverview {
            name: path.name(),
            answered_at: row.and_then(|row| row.time("received_at")),
            // The first heartbeat of a new stack is sent within minutes.
            version: row.and_then(|row| row.owned("made_by")),
            is_late: log.age_of(path, now).is_some_and(|age| age > LATE_HEARTBEAT),
        }
    };
    used.map(part).collect()
}
