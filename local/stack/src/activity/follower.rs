//! Follows the tables: each new step of a message and each outcome of a delivery becomes an entry.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use tellonce_core::{
    ledger::IdempotencyKey,
    trail::{Trail, TrailStep},
};
use tellonce_ops::TableNames;

use super::{ActivityEvent, ActivityLog};
use crate::dynamo::{EmbeddedDynamo, TableChanges, to_plain_item};

/// Writes of so long are read together.
const PAUSE: Duration = Duration::from_millis(50);
/// The kinds of subjects that messages have.
const MESSAGE_KINDS: [&str; 5] = ["order:", "appointment:", "lead:", "webhook-reply:", "line-test:"];
/// Steps that only say that a function took a message.
const CLAIM_CODES: [&str; 2] = ["created", "due"];

/// Follows the tables until the task is aborted. What was written before the start of the run is
/// not repeated.
pub(crate) async fn follow_tables(log: Arc<ActivityLog>, dynamo: Arc<EmbeddedDynamo>, tables: TableNames) {
    let mut writes = dynamo.watch_writes();
    let mut follower =
        Follower { since: log.clock.now_ms(), position: dynamo.change_position(), ..Follower::new(tables) };
    while writes.changed().await.is_ok() {
        tokio::time::sleep(PAUSE).await;
        writes.mark_unchanged();
        let (dynamo, log) = (dynamo.clone(), log.clone());
        let read = tokio::task::spawn_blocking(move || (follower.read_changes(&dynamo), follower));
        let Ok((events, next)) = read.await else { return };
        follower = next;
        match events {
            Ok(events) => events.into_iter().for_each(|event| log.add(event)),
            Err(error) => tracing::warn!("could not follow the tables: {error:#}"),
        }
    }
}

#[derive(Debug)]
struct Follower {
    tables: TableNames,
    position: u64,
    /// Steps of before the run are known.
    since: i64,
    /// The last known step of each message.
    last_steps: HashMap<String, TrailStep>,
    /// The outcome of each delivery.
    outcomes: HashMap<String, String>,
}

impl Follower {
    fn new(tables: TableNames) -> Self {
        Self { tables, position: 0, since: 0, last_steps: HashMap::new(), outcomes: HashMap::new() }
    }

    fn read_changes(&mut self, dynamo: &EmbeddedDynamo) -> anyhow::Result<Vec<ActivityEvent>> {
        let position = dynamo.change_position();
        let TableChanges::Items(mut changed) = dynamo.changes_since(self.position) else {
            // Expired items were removed: that is not a step of a message.
            self.position = position;
            return Ok(Vec::new());
        };
        self.position = position;
        let mut events = Vec::new();
        let mut seen = std::collections::HashSet::new();
        changed.retain(|item| self.is_followed(&item.table) && seen.insert(format!("{}{}", item.table, item.key)));
        for item in changed {
            if let Some(found) = dynamo.find_item(&item)? {
                self.read_item(&item.table, &found, &mut events);
            } else if item.table == self.tables.ledger {
                self.last_steps.remove(&message_key(&to_plain_item(&item.key)?));
            }
        }
        Ok(events)
    }

    fn is_followed(&self, table: &str) -> bool {
        // Events of lines are steps of messages.
        let TableNames { ledger, store_inbox, booking_inbox, lead_inbox, line_inbox: _ } = &self.tables;
        [ledger, store_inbox, booking_inbox, lead_inbox].into_iter().any(|name| name == table)
    }

    fn read_item(&mut self, table: &str, item: &Value, events: &mut Vec<ActivityEvent>) {
        let text = |name: &str| item[name].as_str().map(str::to_owned);
        if table != self.tables.ledger {
            let (delivery, code) = (text("id").unwrap_or_default(), text("outcome").unwrap_or_default());
            let before = self.outcomes.insert(delivery.clone(), code.clone()).unwrap_or_default();
            let is_new = item["outcome_at"].as_i64().is_none_or(|at| at >= self.since);
            if !code.is_empty() && code != before && is_new {
                events.push(ActivityEvent::Outcome { delivery, code, text: text("outcome_text").unwrap_or_default() });
            }
            return;
        }
        let subject = text("subject").unwrap_or_default();
        let Some(trail) = item["trail"].as_str().filter(|_| MESSAGE_KINDS.iter().any(|kind| subject.starts_with(kind)))
        else {
            return;
        };
        let (key, trail) = (message_key(item), Trail::from_attribute(trail));
        let since = Timestamp::from_millisecond(self.since).unwrap_or_default();
        for step in new_steps(trail.steps(), self.last_steps.get(&key), since) {
            if !CLAIM_CODES.contains(&&*step.code) {
                events.push(ActivityEvent::Message {
                    key: key.clone(),
                    delivery: text("delivery").unwrap_or_default(),
                    order_number: text("order_number"),
                    state: step.state.to_string(),
                    code: step.code.to_string(),
                    detail: step.detail.clone(),
                });
            }
        }
        if let Some(last) = trail.steps().last() {
            self.last_steps.insert(key, last.clone());
        }
    }
}

fn message_key(item: &Value) -> String {
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    IdempotencyKey::from_parts(text("subject"), text("stage")).to_string()
}

/// The steps behind the last known one. If that is no longer in the trail, those that are later.
fn new_steps<'t>(steps: &'t [TrailStep], known: Option<&TrailStep>, since: Timestamp) -> &'t [TrailStep] {
    let behind = |at: Timestamp| steps.iter().position(|step| step.at >= at).map_or(&steps[..0], |from| &steps[from..]);
    match known {
        None => behind(since),
        Some(known) => match steps.iter().rposition(|step| step == known) {
            Some(at) => &steps[at + 1..],
            None => behind(known.at),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tables() -> TableNames {
        let name = |name: &str| name.to_owned();
        TableNames {
            ledger: name("ledger"),
            store_inbox: name("stores"),
            booking_inbox: name("bookings"),
            lead_inbox: name("leads"),
            line_inbox: name("lines"),
        }
    }

    fn lines(events: &[ActivityEvent]) -> Vec<String> {
        events.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_new_step_of_a_message_is_an_event_once() {
        let mut follower = Follower { since: 10, ..Follower::new(tables()) };
        let row = |trail: &str| json!({"subject": "order:1", "stage": "ready", "delivery": "shop#1", "trail": trail});
        let mut read = |table: &str, item: &Value| {
            let mut events = Vec::new();
            follower.read_item(table, item, &mut events);
            lines(&events)
        };
        let held = r#"[[5,"claimed","created"],[12,"held","line-down","QR"]]"#;
        assert_eq!(read("ledger", &row(held)), ["order:1:ready: line-down: QR"]);
        assert!(read("ledger", &row(held)).is_empty());
        let sent =
            r#"[[5,"claimed","created"],[12,"held","line-down","QR"],[9,"claimed","due"],[9,"accepted","accepted"]]"#;
        assert_eq!(read("ledger", &row(sent)), ["order:1:ready: accepted"], "the clock went back");
        assert!(read("ledger", &json!({"subject": "line:main", "stage": "state", "trail": sent})).is_empty());
        let outcome = json!({"id": "shop#2", "outcome": "no-text", "outcome_text": "no text for `paid`"});
        assert_eq!(read("stores", &outcome), ["shop#2: no message: no text for `paid`"]);
        assert!(read("stores", &outcome).is_empty());
        let old = json!({"id": "shop#3", "outcome": "no-text", "outcome_at": 3});
        assert!(read("stores", &old).is_empty(), "of an earlier run");
    }
}
