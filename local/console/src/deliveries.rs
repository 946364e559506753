//! The page of a delivery, and the search for deliveries that led to no message.
//!
//! The search reads bodies: a number that heard nothing may be in no message.

use serde_json::{Value, json};
use tellonce_core::{heartbeat::HEARTBEAT_ID, inbox::InboxItem};

use super::{parts::ListPart, people::matches_search, snapshot::Snapshot};

/// Deliveries that are shown, the newest.
const MAX_FOUND: usize = 20;
/// The shortest search that reads bodies. A shorter one is in nearly every body.
const MIN_SEARCH: usize = 3;

impl Snapshot<'_> {
    /// One delivery: what it led to, or why it led to no message. `None` if it is forgotten.
    pub(super) fn render_delivery_page(&self, id: &str) -> Option<Value> {
        let delivery = self.view.delivery(self.tables(), id)?;
        let messages = self.view.rows_of_delivery(id);
        let appointment = self.find_appointment_of(id);
        let text = delivery["outcome_text"].as_str().or(delivery["outcome"].as_str());
        let headline = match (messages.len(), text, &appointment) {
            (0, Some(text), _) => format!("No message: {text}."),
            (0, None, Some(header)) => format!("Recorded in its appointment on {}.", self.appointment_words(header)),
            (0, None, None) => "Came in; nothing is recorded about it yet.".to_owned(),
            (1, ..) => "It led to one message.".to_owned(),
            (count, ..) => format!("It led to {count} messages."),
        };
        Some(json!({
            "id": id, "sender": delivery["sender"], "topic": delivery["topic"], "at": delivery["received_at"],
            "outcome": delivery["outcome"], "headline": headline,
            "messages": messages.into_iter().map(|row| self.render_message(row)).collect::<Vec<_>>(),
            "appointment": appointment.map(|header| header["subject"].clone()), "row": delivery,
        }))
    }

    /// The deliveries without a message whose bodies have the searched text in a value.
    pub(super) fn search_deliveries(&self, search: &str) -> anyhow::Result<ListPart> {
        let mut found = Vec::new();
        if search.trim().chars().count() >= MIN_SEARCH {
            for inbox in &self.tables().inboxes {
                for item in self.stack().dynamo().scan_typed_items(inbox)? {
                    let id = item["id"]["S"].as_str().unwrap_or_default();
                    if id == HEARTBEAT_ID || !self.view.rows_of_delivery(id).is_empty() {
                        continue;
                    }
                    let Ok(entry) = InboxItem::from_image(&item.to_string()) else { continue };
                    if has_value(&entry.body, search) {
                        found.extend(self.view.delivery(self.tables(), id));
                    }
                }
            }
        }
        found.sort_by_key(|delivery| std::cmp::Reverse(delivery["received_at"].as_i64()));
        let rows = found.iter().take(MAX_FOUND).map(|delivery| {
            json!({
                "id": delivery["id"], "at": delivery["received_at"], "sender": delivery["sender"],
                "topic": delivery["topic"], "text": delivery["outcome_text"].as_str().or(delivery["outcome"].as_str()),
            })
        });
        Ok(ListPart { head: json!({"total": found.len()}), rows: rows.collect() })
    }
}

/// Whether a value of a body, as JSON or as a posted form, has the text.
fn has_value(body: &[u8], search: &str) -> bool {
    match serde_json::from_slice::<Value>(body) {
        Ok(json) => has_json_value(&json, search),
        Err(_) => url::form_urlencoded::parse(body).any(|(_, value)| matches_search(search, &[Some(&value)])),
    }
}

fn has_json_value(value: &Value, search: &str) -> bool {
    match value {
        Value::String(text) => matches_search(search, &[Some(text)]),
        Value::Number(number) => matches_search(search, &[Some(&number.to_string())]),
        Value::Array(items) => items.iter().any(|item| has_json_value(item, search)),
        Value::Object(fields) => fields.values().any(|field| has_json_value(field, search)),
        Value::Null | Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_in_a_value_of_a_json_or_a_form_and_not_across_values() {
        let json = br#"{"customer":{"phone":"054-555-0199","name":"Noa Levi"},"ids":[5450, 1990]}"#;
        for found in ["+972 54 555 0199", "noa", "5450"] {
            assert!(has_value(json, found), "{found}");
        }
        assert!(!has_value(json, "54501990") && !has_value(json, "dana"));
        assert!(has_value(b"name=Noa+Levi&phone=054-555-0199", "0545550199"));
        assert!(has_value(b"name=Noa+Levi&phone=054-555-0199", "Noa Levi"));
    }
}
