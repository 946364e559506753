//! The pages "Messages" and "one message".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tellonce_core::ledger::IdempotencyKey;
use tellonce_ops::{ClientStack, ReportStep, SubjectReport};

use super::{
    config_lines::find_section,
    console_state::ConsoleState,
    parts::ListPart,
    people::matches_search,
    snapshot::{Snapshot, message_key},
    standing::{Standing, explain_row},
};

/// Which messages are shown.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct MessageFilter {
    /// `None`: all.
    standing: Option<Standing>,
    /// Part of an order number, a key, a name or a number.
    #[serde(default)]
    pub(super) search: String,
}

impl Snapshot<'_> {
    /// The messages from `offset`, the last changed first, with how many stand how.
    pub(super) fn list_messages(&self, filter: &MessageFilter, offset: usize, limit: usize) -> ListPart {
        let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
        let mut total = 0;
        let mut rows = Vec::new();
        for row in self.view.message_rows() {
            if !self.is_found(row, &filter.search) {
                continue;
            }
            let standing = Standing::of_row(row);
            *counts.entry(standing).or_default() += 1;
            if filter.standing.is_some_and(|wanted| wanted != standing) {
                continue;
            }
            if (offset..offset + limit).contains(&total) {
                rows.push(self.render_message(row));
            }
            total += 1;
        }
        ListPart { head: json!({"total": total, "counts": counts}), rows }
    }

    fn is_found(&self, row: &Value, search: &str) -> bool {
        if search.is_empty() {
            return true;
        }
        let name = self.person_of(row).and_then(|person| person.name.as_deref());
        let key = message_key(row);
        matches_search(search, &[Some(&key), row["order_number"].as_str(), row["to"].as_str(), name])
    }

    /// One message, with its trail in words, what decided, and the raw row.
    fn render_message_page(&self, key: &str, report: &SubjectReport) -> Option<Value> {
        let row = self.find_message(key)?;
        let message = report.messages.iter().find(|message| message.key == key)?;
        let sender = message.delivery.split('#').next().unwrap_or_default();
        // A feed is read and not delivered: `feed:diary`.
        let sender = sender.strip_prefix("feed:").unwrap_or(sender);
        let config = self.client();
        let section = config.and_then(|config| find_section(config, &self.loaded.text, key, sender));
        let request = row["request"].as_str().and_then(|request| serde_json::from_str::<Value>(request).ok());
        let mut page = self.render_message(row);
        let siblings = report.messages.iter().filter(|other| other.key != key);
        let siblings = siblings.filter_map(|other| Some(self.render_message(self.find_message(&other.key)?)));
        page["headline"] = json!(self.headline(row));
        page["subject"] = json!(report.subject);
        page["appointment"] = json!(self.find_header(&report.subject).map(|header| self.appointment_words(&header)));
        page["key"] = json!(key);
        page["line"] = json!(message.line);
        page["to"] = row["to"].clone();
        page["state"] = row["state"].clone();
        page["steps"] = json!(message.steps.iter().map(render_step).collect::<Vec<_>>());
        page["may_lack_steps"] = json!(message.may_lack_steps);
        page["useful_until"] = json!(message.useful_until.as_millisecond());
        page["next"] = json!(message.next_try.map(Timestamp::as_millisecond));
        page["section"] = json!(section.map(|section| json!({"title": section.title, "line": section.line})));
        page["language"] = row["locale"].clone();
        page["text"] = json!(request.as_ref().and_then(|request| request["body"].as_str()));
        page["button"] = request.as_ref().map_or(Value::Null, |request| request["ctaUrlButton"].clone());
        page["delivery"] = row["delivery"].clone();
        page["has_delivery"] = json!(self.view.delivery(self.tables(), &message.delivery).is_some());
        page["siblings"] = json!(siblings.collect::<Vec<_>>());
        page["row"] = row.clone();
        Some(page)
    }

    /// How the message stands, in one sentence.
    fn headline(&self, row: &Value) -> String {
        let why = explain_row(row).unwrap_or_default();
        let at = row["accepted_at"].as_i64().or(row["updated_at"].as_i64()).unwrap_or_default();
        let at = self.clock_text(at);
        match Standing::of_row(row) {
            Standing::Arrived if row["delivery_status"] == "read" => format!("Sent at {at}, and read."),
            Standing::Arrived => format!("Sent at {at}, and on the phone."),
            Standing::Sent => format!("Sent at {at}. The phone has not reported it yet."),
            Standing::Waiting => {
                let next = row["due_at"].as_i64().map(|due| format!(" Next try {}.", self.clock_text(due)));
                format!("Not sent yet: {why}.{}", next.unwrap_or_default())
            }
            Standing::Skipped => format!("Not sent, on purpose: {why}."),
            Standing::NeedsYou if row["failed"] == true => format!("Sent at {at}, and did not arrive: {why}."),
            Standing::NeedsYou if row["state"] == "needs-human" => {
                format!("It is unknown whether it arrived: {why}. Look at the phone, and decide.")
            }
            Standing::NeedsYou => format!("Not sent: {why}."),
        }
    }

    /// One appointment with its reminders.
    fn render_appointment_page(&self, subject: &str, report: &SubjectReport) -> Option<Value> {
        let header = self.find_header(subject)?;
        let appointment = report.appointment.as_ref()?;
        let calendar = &appointment.calendar;
        let line = tellonce_check::find_line(&self.loaded.text, &["calendars", calendar]);
        let unsent = appointment.unsent_reminders.iter().map(|reminder| {
            json!({
                "stage": reminder.stage, "begins_at": reminder.begins_at.as_millisecond(), "why": reminder.explanation,
                "code": reminder.code,
            })
        });
        let messages = report.messages.iter().filter_map(|message| self.find_message(&message.key));
        let mut page = self.render_appointment(&header);
        page["headline"] = json!(self.appointment_headline(&header));
        page["steps"] = json!(appointment.steps.iter().map(render_step).collect::<Vec<_>>());
        page["unsent"] = json!(unsent.collect::<Vec<_>>());
        page["messages"] = json!(messages.map(|row| self.render_message(row)).collect::<Vec<_>>());
        page["section"] = json!(line.map(|line| json!({"title": format!("[calendars.{calendar}]"), "line": line})));
        page["has_delivery"] =
            json!(header["delivery"].as_str().is_some_and(|id| self.view.delivery(self.tables(), id).is_some()));
        page["row"] = header;
        Some(page)
    }
}

fn render_step(step: &ReportStep) -> Value {
    json!({
        "at": step.at.as_millisecond(), "label": step.label, "why": step.explanation, "code": step.code,
        "begins_at": step.begins_at.map(Timestamp::as_millisecond),
    })
}

impl ConsoleState {
    /// The report of a subject or a key, from the tables, as `tellonce explain` reads it.
    async fn explain(&self, name: &str) -> Option<SubjectReport> {
        let report = async {
            let stack = ClientStack::on_this_machine(self.stack.client_id(), &self.stack.describe(), "console")?;
            anyhow::Ok(stack.find_tables().await?.explain(name).await?)
        };
        report.await.inspect_err(|error| tracing::debug!("could not explain {name}: {error:#}")).ok()
    }

    /// The page of a message by its key; `None` if there is none.
    pub(super) async fn render_message_by_key(&self, key: &str) -> anyhow::Result<Option<Value>> {
        let parsed = IdempotencyKey::parse(key);
        // The key of an acknowledgement is its subject.
        let subject = parsed.as_ref().map_or(key, IdempotencyKey::subject);
        let Some(report) = self.explain(subject).await else { return Ok(None) };
        Ok(Snapshot::take(self)?.render_message_page(key, &report))
    }

    /// The page of an appointment by its subject; `None` if there is none.
    pub(super) async fn render_appointment_by_subject(&self, subject: &str) -> anyhow::Result<Option<Value>> {
        let Some(report) = self.explain(subject).await else { return Ok(None) };
        Ok(Snapshot::take(self)?.render_appointment_page(subject, &report))
    }
}
