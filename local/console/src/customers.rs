//! The pages "Customers" and "one customer", and the phone at the side.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tellonce_fakes::{
    crms::FakeCrmEntry,
    provider::{PhoneMessage, PhoneMessageDirection},
    team::TeamAlert,
};

use super::{
    parts::ListPart,
    people::{Person, matches_search},
    snapshot::{Snapshot, person_name},
    standing::Standing,
};

/// Customers that the phone offers, the latest first.
const MAX_PHONES: usize = 12;
/// Messages that a phone shows, the newest.
const MAX_CHAT: usize = 60;

impl Snapshot<'_> {
    /// The customers from `offset`, the latest first.
    pub(super) fn list_customers(&self, search: &str, offset: usize, limit: usize) -> ListPart {
        let all = self.people.latest_first();
        let found: Vec<&Person> = all
            .into_iter()
            .filter(|person| matches_search(search, &[Some(&person.contact), person.name.as_deref()]))
            .collect();
        let shown: Vec<&Person> = found.iter().skip(offset).take(limit).copied().collect();
        let mut counts: BTreeMap<&str, BTreeMap<Standing, usize>> = BTreeMap::new();
        for row in self.view.message_rows() {
            if let Some(contact) = row["to"].as_str() {
                *counts.entry(contact).or_default().entry(Standing::of_row(row)).or_default() += 1;
            }
        }
        let rows = shown.iter().map(|person| {
            let counts = counts.get(person.contact.as_str());
            json!({
                "id": person.id, "name": person.name, "phone": person.contact, "at": person.last_at,
                "counts": counts, "last": self.last_text(&person.contact),
            })
        });
        ListPart { head: json!({"total": found.len()}), rows: rows.collect() }
    }

    fn last_text(&self, contact: &str) -> Option<String> {
        self.stack().provider().read_all_messages(|messages| {
            let last = messages.iter().rev().find(|message| message.contact == contact)?;
            let text = if last.body.is_empty() { &last.kind } else { &last.body };
            Some(text.chars().take(90).collect())
        })
    }

    /// One customer: what happened to each message, what was written, and what CRMs and the team
    /// got. `None` if the customer is not known.
    pub(super) fn render_customer_page(&self, id: &str) -> Option<Value> {
        let person = self.people.of_id(id)?;
        let rows = self.view.message_rows().filter(|row| row["to"] == person.contact.as_str());
        let rows: Vec<Value> = rows.take(MAX_CHAT).map(|row| self.render_message(row)).collect();
        let crms = self.stack().crms();
        let crms: Vec<(String, Vec<FakeCrmEntry>)> =
            crms.names_and_services().into_iter().map(|(name, _)| (name.to_owned(), crms.entries(name))).collect();
        let messages = self.messages_of(&person.contact);
        let conversation: Vec<Value> =
            messages.iter().map(|message| self.render_conversation_message(message, &crms)).collect();
        let ids: Vec<&str> = messages.iter().map(|message| message.conversation_id.as_str()).collect();
        let mut alerts = self.stack().team().alerts();
        alerts.retain(|alert| alert.text.contains(&person.contact) || ids.iter().any(|id| alert.text.contains(id)));
        alerts.reverse();
        alerts.truncate(MAX_CHAT);
        let waits = self.view.conversation(&person.contact).and_then(|(record, due)| {
            let since = record["waiting_since"]["at"].as_str()?.parse::<jiff::Timestamp>().ok()?;
            Some(json!({"since": since.as_millisecond(), "next_check": due}))
        });
        Some(json!({
            "id": person.id, "name": person.name, "phone": person.contact, "waits": waits,
            "phone_off": self.stack().provider().silent_contacts().contains(&person.contact),
            "messages": rows, "conversation": conversation, "alerts": alerts.iter().map(render_alert).collect::<Vec<_>>(),
            "crms": crms.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        }))
    }

    fn messages_of(&self, contact: &str) -> Vec<PhoneMessage> {
        self.stack().provider().read_all_messages(|messages| {
            let all: Vec<&PhoneMessage> = messages.iter().filter(|message| message.contact == contact).collect();
            all[all.len().saturating_sub(MAX_CHAT)..].iter().map(|message| (*message).clone()).collect()
        })
    }

    /// A message of either side with its entries in CRMs. Only lines with events are copied.
    fn render_conversation_message(&self, message: &PhoneMessage, crms: &[(String, Vec<FakeCrmEntry>)]) -> Value {
        let mut lines = self.client().into_iter().flat_map(|client| &client.lines);
        let line = lines.find(|(_, line)| line.line_id == message.line);
        let is_copied = line.is_some_and(|(_, line)| line.events);
        let reference = line.map(|(name, _)| format!("{name}:{}", message.provider_id)).unwrap_or_default();
        let entries: BTreeMap<&str, Vec<&FakeCrmEntry>> = crms
            .iter()
            .map(|(crm, written)| {
                let own = written.iter().filter(|entry| entry.reference.as_deref() == Some(&reference));
                (crm.as_str(), own.collect())
            })
            .collect();
        let entries: Vec<Value> = entries
            .iter()
            .map(|(crm, entries)| {
                let repeats: u64 = entries.iter().map(|entry| u64::from(entry.repeats)).sum();
                let task = self.view.crm_task(&reference, crm).unwrap_or_default();
                json!({
                    "crm": crm, "count": entries.len(), "repeats": repeats, "state": task["state"],
                    "reason": task["reason"],
                })
            })
            .collect();
        let author = match (message.direction, &message.key) {
            (PhoneMessageDirection::FromCustomer, _) => "customer",
            (PhoneMessageDirection::ToCustomer, Some(_)) => "tellonce",
            (PhoneMessageDirection::ToCustomer, None) => "team",
        };
        let mut rendered = render_bubble(message);
        rendered["author"] = json!(author);
        rendered["crms"] = if is_copied { json!(entries) } else { json!([]) };
        rendered
    }

    /// The phones of the latest customers. Each has the number of the messages that it got.
    pub(super) fn list_phones(&self) -> Value {
        let last = self.stack().provider().read_all_messages(|messages| {
            let mut last: BTreeMap<String, (i64, usize)> = BTreeMap::new();
            for message in messages {
                let known = last.entry(message.contact.clone()).or_default();
                known.0 = known.0.max(message.queued_at);
                known.1 += usize::from(message.direction == PhoneMessageDirection::ToCustomer);
            }
            last
        });
        let mut phones: Vec<(&String, &(i64, usize))> = last.iter().collect();
        phones.sort_by_key(|(_, (at, _))| std::cmp::Reverse(*at));
        let phone = |(contact, (at, received)): &(&String, &(i64, usize))| {
            let person = self.people.of_contact(contact);
            json!({
                "id": person.map(|person| &person.id), "name": person.map(person_name), "phone": contact, "at": at,
                "received": received,
            })
        };
        json!({"total": phones.len(), "all": phones.iter().take(MAX_PHONES).map(phone).collect::<Vec<_>>()})
    }

    /// The newest messages on the phone of a customer; with `None`, of the one with the newest.
    pub(super) fn list_chat(&self, customer: Option<&str>) -> ListPart {
        let latest = || {
            let newest = self.stack().provider().read_all_messages(|messages| {
                messages.iter().max_by_key(|message| message.queued_at).map(|message| message.contact.clone())
            });
            self.people.of_contact(&newest?)
        };
        let Some(person) = customer.and_then(|id| self.people.of_id(id)).or_else(latest) else {
            return ListPart { head: json!({"person": null}), rows: Vec::new() };
        };
        let messages = self.messages_of(&person.contact);
        let line = messages.last().map(|message| &message.line);
        let head = json!({"person": person.id, "phone": person.contact, "name": person.name, "line": line});
        ListPart { head, rows: messages.iter().map(render_bubble).collect() }
    }
}

/// A message on a phone.
fn render_bubble(message: &PhoneMessage) -> Value {
    let status = match (message.status.as_deref(), message.observed_at, message.delivered_at) {
        (Some("sent" | "delivered" | "read" | "failed"), ..) => message.status.as_deref().unwrap_or_default(),
        (_, None, None) => "waits for the line",
        (_, Some(_), None) => "the phone is off",
        _ => "",
    };
    json!({
        "id": message.id, "at": message.delivered_at.unwrap_or(message.queued_at), "kind": message.kind,
        "body": message.body, "button": message.button, "key": message.key, "status": status,
        "mine": message.direction == PhoneMessageDirection::FromCustomer, "line": message.line,
        "waits": message.delivered_at.is_none(),
    })
}

fn render_alert(alert: &TeamAlert) -> Value {
    json!({
        "target": alert.target, "subject": alert.subject, "text": readable_alert(&alert.text), "at": alert.at_ms,
        "repeats": alert.repeats,
    })
}

/// An alert as people read it: of a document, its texts.
fn readable_alert(text: &str) -> String {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let mut texts = Vec::new();
    collect_texts(&document, &mut texts);
    if texts.is_empty() { text.to_owned() } else { texts.join("\n") }
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if matches!(name.as_str(), "text" | "title") => texts.push(text.clone()),
                    _ => collect_texts(value, texts),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_shown_as_text() {
        assert_eq!(readable_alert("Noa waits"), "Noa waits");
        let card =
            json!({"type": "card", "body": [{"type": "TextBlock", "text": "Noa waits"}, {"text": "15 minutes"}]});
        assert_eq!(readable_alert(&card.to_string()), "Noa waits\n15 minutes");
    }
}
