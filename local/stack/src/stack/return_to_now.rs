//! Back to the present after the clock was moved ahead.
//!
//! What was recorded ahead would hold later messages back until its time comes: the next slot of a
//! line, the due time of a message that waits, a lease, a window of a limit. These times are set to
//! now, so that everything is tried again. What happened stays as it was recorded. The due times of
//! appointments stay too: they follow from their starts.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};

use super::LocalStack;
use crate::activity::ActivityEvent;

/// Times in unix milliseconds that hold something back, or say that something was done lately.
const HOLDING_TIMES: [&str; 16] = [
    "breaker_until",
    "down_until",
    "dropped_at",
    "due_at",
    "failing_since",
    "health_at",
    "held_since",
    "lease_until",
    "next_call_at",
    "next_slot",
    "polled_at",
    "released_at",
    "sent_at",
    "sustained_window",
    "tried_at",
    "window",
];
/// Days of the client on which a limit was counted: `2026-11-29`.
const COUNTED_DAYS: [&str; 2] = ["first_contact_day", "first_contacts_refused_on"];
/// How long running functions may take to end.
const DRAIN_TIME: Duration = Duration::from_secs(5);

impl LocalStack {
    /// Sets the clock to the present, and everything that was recorded ahead and would wait for its
    /// time. Every function gets new processes, because they remember times too. Returns how many
    /// items were ahead.
    pub async fn return_to_now(&self) -> anyhow::Result<usize> {
        if let Err(error) = self.drain_within(DRAIN_TIME).await {
            tracing::warn!("the clock goes back while functions run: {error:#}");
        }
        self.clock.set_offset_ms(0)?;
        let now_ms = self.clock.now_ms();
        let mut changed = 0;
        if let Some(tables) = self.table_names() {
            for item in self.dynamo.scan_items(&tables.ledger)? {
                let set = times_to_reset(&item, now_ms);
                if !set.is_empty() {
                    self.dynamo.call_operation("UpdateItem", &build_update(&tables.ledger, &item, &set))?;
                    changed += 1;
                }
            }
        }
        self.functions.replace_instances();
        self.dynamo.wake_readers();
        let text = format!("the clock is back at the present; {changed} recorded times were ahead and count from now");
        self.activity.add(ActivityEvent::Run { text });
        Ok(changed)
    }
}

/// The attributes to change, with their new values.
fn times_to_reset(item: &Value, now_ms: i64) -> Map<String, Value> {
    let mut set = Map::new();
    // The due time of an appointment follows from its start.
    if item["appointment"].is_string() {
        return set;
    }
    for name in HOLDING_TIMES {
        if item[name].as_i64().is_some_and(|at| at > now_ms) {
            set.insert(name.to_owned(), json!({"N": now_ms.to_string()}));
        }
    }
    // Any zone is at most 14 hours ahead of UTC.
    let latest = Timestamp::from_millisecond(now_ms + 14 * 3_600_000).unwrap_or_default();
    let today = latest.to_zoned(TimeZone::UTC).date().to_string();
    for name in COUNTED_DAYS {
        if item[name].as_str().is_some_and(|day| day > today.as_str()) {
            set.insert(name.to_owned(), json!({"S": ""}));
        }
    }
    set
}

fn build_update(table: &str, item: &Value, set: &Map<String, Value>) -> Value {
    let names: Map<String, Value> = set.keys().enumerate().map(|(at, name)| (format!("#n{at}"), json!(name))).collect();
    let values: Map<String, Value> =
        set.values().enumerate().map(|(at, value)| (format!(":v{at}"), value.clone())).collect();
    let assignments: Vec<String> = (0..set.len()).map(|at| format!("#n{at} = :v{at}")).collect();
    json!({
        "TableName": table,
        "Key": {"subject": {"S": item["subject"]}, "stage": {"S": item["stage"]}},
        "UpdateExpression": format!("SET {}", assignments.join(", ")),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ahead_are_reset_and_those_of_appointments_and_facts_stay() {
        let now_ms = 1_795_000_000_000;
        let row = json!({
            "subject": "line:main", "stage": "state", "next_slot": now_ms + 5, "health_at": now_ms - 5,
            "accepted_at": now_ms + 9, "first_contact_day": "2026-12-20", "first_contacts_refused_on": "2026-11-18",
        });
        let set = times_to_reset(&row, now_ms);
        assert_eq!(json!(set), json!({"next_slot": {"N": now_ms.to_string()}, "first_contact_day": {"S": ""}}));
        let update = build_update("ledger", &row, &set);
        assert_eq!(update["UpdateExpression"], "SET #n0 = :v0, #n1 = :v1");
        assert_eq!(update["Key"]["subject"]["S"], "line:main");
        let header = json!({"subject": "appointment:1", "stage": "state", "appointment": "{}", "due_at": now_ms + 5});
        assert!(times_to_reset(&header, now_ms).is_empty());
    }
}
