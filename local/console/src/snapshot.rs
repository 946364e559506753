//! What the pages are made of, at one moment.

use std::sync::{Arc, MutexGuard};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tellonce_core::client_config::ClientConfig;
use tellonce_stack::{LoadedClient, LocalStack};

use super::{
    console_state::ConsoleState,
    people::{People, Person},
    standing::{Standing, explain_row},
    tables_view::{ShownTables, TablesView},
};

/// The tables, the client and the customers at one moment.
pub(super) struct Snapshot<'c> {
    pub(super) console: &'c ConsoleState,
    pub(super) view: MutexGuard<'c, TablesView>,
    pub(super) loaded: Arc<LoadedClient>,
    pub(super) people: People,
    pub(super) zone: TimeZone,
    pub(super) now_ms: i64,
}

impl<'c> Snapshot<'c> {
    pub(super) fn take(console: &'c ConsoleState) -> anyhow::Result<Self> {
        console.sync_fake_clock()?;
        let view = console.look_at_tables()?;
        let loaded = console.stack.loaded_client();
        let zone = loaded.config.as_ref().map_or(TimeZone::UTC, |client| client.own_zone());
        let messages = |messages: &[_]| People::collect(view.message_rows(), messages);
        let people = console.stack.provider().read_all_messages(messages);
        Ok(Self { people, zone, now_ms: console.stack.clock().now_ms(), console, view, loaded })
    }

    pub(super) fn stack(&self) -> &LocalStack {
        &self.console.stack
    }

    pub(super) fn tables(&self) -> &ShownTables {
        &self.console.tables
    }

    pub(super) fn client(&self) -> Option<&ClientConfig> {
        self.loaded.config.as_deref()
    }

    /// A time of day in the client's zone: `18:28:43`, with the day if it is another one.
    pub(super) fn clock_text(&self, at_ms: i64) -> String {
        let zoned = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(self.zone.clone());
        let (at, now) = (zoned(at_ms), zoned(self.now_ms));
        let format = if at.date() == now.date() { "%H:%M:%S" } else { "%a %-d %b %H:%M" };
        at.strftime(format).to_string()
    }

    /// The first moment of today in the client's zone, in unix milliseconds.
    pub(super) fn start_of_today(&self) -> i64 {
        let now = Timestamp::from_millisecond(self.now_ms).unwrap_or_default().to_zoned(self.zone.clone());
        now.start_of_day().map_or(self.now_ms, |start| start.timestamp().as_millisecond())
    }

    /// The customer of a row.
    pub(super) fn person_of(&self, row: &Value) -> Option<&Person> {
        self.people.of_contact(row["to"].as_str()?)
    }

    /// A message for a list. `took_ms` is the time from its delivery to the send.
    pub(super) fn render_message(&self, row: &Value) -> Value {
        let standing = Standing::of_row(row);
        let person = self.person_of(row);
        let received = row["delivery"].as_str().and_then(|id| self.view.delivery(self.tables(), id));
        let received = received.and_then(|delivery| delivery["received_at"].as_i64());
        let took = row["accepted_at"].as_i64().zip(received).map(|(sent, came)| (sent - came).max(0));
        json!({
            "id": message_key(row),
            "title": message_title(row),
            "who": person.map(person_name),
            "customer": person.map(|person| &person.id),
            "standing": standing,
            "why": explain_row(row),
            "at": row["accepted_at"].as_i64().filter(|_| went_out(standing)).or(row["updated_at"].as_i64()),
            "took_ms": took.filter(|_| went_out(standing)),
            "next": row["due_at"].as_i64().filter(|_| standing == Standing::Waiting),
        })
    }
}

fn went_out(standing: Standing) -> bool {
    matches!(standing, Standing::Sent | Standing::Arrived)
}

/// The idempotency key of a row.
pub(super) fn message_key(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    tellonce_core::ledger::IdempotencyKey::from_parts(text("subject"), text("stage")).to_string()
}

/// What a message is about, in a few words: `#1001 ready`, `reminder 24h`.
pub(super) fn message_title(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let (kind, id) = text("subject").split_once(':').unwrap_or_default();
    let stage = text("stage").replace(".20", " ").replace(".3a", ":");
    match kind {
        "order" => {
            let number = row["order_number"].as_str().unwrap_or(id);
            let sign = if number.starts_with('#') || number.contains(|c: char| c.is_alphabetic()) { "" } else { "#" };
            format!("{sign}{number} {stage}")
        }
        "appointment" => format!("reminder {stage}"),
        "lead" => "first reply".to_owned(),
        "webhook-reply" => "acknowledgement".to_owned(),
        "line-test" => "test of the line".to_owned(),
        _ => format!("{id} {stage}"),
    }
}

/// A customer's name, else the number.
pub(super) fn person_name(person: &Person) -> &str {
    person.name.as_deref().unwrap_or(&person.contact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_in_words() {
        for (subject, stage, number, title) in [
            ("order:820982911", "ready", Some("#5436"), "#5436 ready"),
            ("order:1001", "delivery-changed", None, "#1001 delivery-changed"),
            ("order:outlet..SO-7", "shipped", Some("SO-7"), "SO-7 shipped"),
            ("appointment:clinic..88", "24h", None, "reminder 24h"),
            ("appointment:1", "morning.20of.20at.2008.3a00", None, "reminder morning of at 08:00"),
            ("lead:abc", "first-touch", None, "first reply"),
        ] {
            let row = json!({"subject": subject, "stage": stage, "order_number": number});
            assert_eq!(message_title(&row), title);
        }
    }
}
