//! Conversations as the console shows them: the messages of both sides, their CRM entries, and the
//! alerts to the team.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::console_state::{ConsoleError, ConsoleResponse, ConsoleState, SharedConsole, reply_with_message};
use tellonce_core::provider::PROVIDER_NAME;
use tellonce_fakes::{
    crms::FakeCrmEntry,
    provider::{PhoneMessage, PhoneMessageDirection},
    team::TeamAlert,
};

/// Conversations that are shown, the latest first.
const MAX_CONVERSATIONS: usize = 60;
/// Messages that are shown of each conversation.
const MAX_MESSAGES: usize = 60;

struct ConversationSources<'a> {
    messages: &'a [PhoneMessage],
    /// The name of each line, by the provider's id.
    lines: &'a BTreeMap<String, String>,
    /// Every CRM with its entries.
    crms: &'a [(String, Vec<FakeCrmEntry>)],
    alerts: &'a [TeamAlert],
    silent: &'a BTreeSet<String>,
}

impl ConversationSources<'_> {
    /// The latest conversations, each with its entries and alerts.
    fn build_conversations(&self) -> Vec<Value> {
        let mut by_id: BTreeMap<(&str, &str), Vec<&PhoneMessage>> = BTreeMap::new();
        for message in self.messages.iter().filter(|message| self.lines.contains_key(&message.line)) {
            by_id.entry((&message.line, &message.conversation_id)).or_default().push(message);
        }
        let mut entries: BTreeMap<&str, Vec<(&str, &FakeCrmEntry)>> = BTreeMap::new();
        for (crm, written) in self.crms {
            for entry in written {
                if let Some(reference) = &entry.reference {
                    entries.entry(reference).or_default().push((crm, entry));
                }
            }
        }
        let mut all: Vec<_> = by_id.into_values().collect();
        all.sort_by_key(|messages| std::cmp::Reverse(messages.last().map(|message| message.queued_at)));
        all.into_iter().take(MAX_CONVERSATIONS).map(|messages| self.build_conversation(&messages, &entries)).collect()
    }

    fn build_conversation(
        &self,
        messages: &[&PhoneMessage],
        entries: &BTreeMap<&str, Vec<(&str, &FakeCrmEntry)>>,
    ) -> Value {
        let Some(last) = messages.last() else { return Value::Null };
        let line = self.lines.get(&last.line).map(String::as_str).unwrap_or_default();
        let mut entry_counts: BTreeMap<&str, usize> = self.crms.iter().map(|(crm, _)| (crm.as_str(), 0)).collect();
        let message = |message: &&PhoneMessage| {
            let author = match (message.direction, &message.key) {
                (PhoneMessageDirection::FromCustomer, _) => "customer",
                (PhoneMessageDirection::ToCustomer, Some(_)) => "tellonce",
                (PhoneMessageDirection::ToCustomer, None) => "team",
            };
            let found = entries.get(format!("{line}:{}", message.provider_id).as_str());
            let found = found.map(Vec::as_slice).unwrap_or_default();
            for (crm, _) in found {
                *entry_counts.entry(crm).or_default() += 1;
            }
            let entry = |(crm, entry): &(&str, &FakeCrmEntry)| json!({"crm": crm, "text": entry.text, "at": entry.created_ms, "repeats": entry.repeats});
            json!({
                "id": message.id, "author": author, "kind": message.kind, "body": message.body, "at": message.queued_at,
                "status": message.status, "observed": message.observed_at.is_some(),
                "entries": found.iter().map(entry).collect::<Vec<_>>(),
            })
        };
        let rendered: Vec<Value> = messages.iter().map(message).collect();
        let rendered = &rendered[rendered.len().saturating_sub(MAX_MESSAGES)..];
        let entry_counts: Vec<Value> =
            entry_counts.into_iter().map(|(crm, count)| json!({"crm": crm, "entries": count})).collect();
        json!({
            "id": last.conversation_id, "line": line, "line_id": last.line, "contact": last.contact, "group": last.group,
            "phone_off": self.silent.contains(&last.contact), "count": messages.len(), "messages": rendered,
            "entry_counts": entry_counts,
            "alerts": self.alerts.iter().filter(|alert| is_about_conversation(alert, last)).collect::<Vec<_>>(),
        })
    }
}

/// Whether an alert is about the conversation of this message: its text contains the customer's
/// number or the conversation's id.
fn is_about_conversation(alert: &TeamAlert, message: &PhoneMessage) -> bool {
    alert.text.contains(&message.contact) || alert.text.contains(&message.conversation_id)
}

impl ConsoleState {
    /// The conversations on lines with `events = true`, and all alerts, newest first.
    pub(super) fn render_conversations(&self) -> Value {
        let Ok(client) = &self.client else { return Value::Null };
        let taking = client.lines.iter().filter(|(_, line)| line.events);
        let lines: BTreeMap<String, String> = taking.map(|(name, line)| (line.line_id.clone(), name.clone())).collect();
        let crms = self.stack.crms();
        let crms: Vec<(String, Vec<FakeCrmEntry>)> =
            crms.names_and_services().into_iter().map(|(name, _)| (name.to_owned(), crms.entries(name))).collect();
        let mut alerts = self.stack.team().alerts();
        let silent = self.stack.provider().silent_contacts();
        let conversations = self.stack.provider().read_all_messages(|messages| {
            let sources =
                ConversationSources { messages, lines: &lines, crms: &crms, alerts: &alerts, silent: &silent };
            sources.build_conversations()
        });
        alerts.reverse();
        alerts.truncate(MAX_CONVERSATIONS);
        json!({"lines": lines, "all": conversations, "alerts": alerts})
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConversationAction {
    /// The customer writes.
    Write,
    /// The team replies in the provider's app.
    TeamReply,
    /// The customer sends a picture.
    Picture,
    /// The customer reads all messages that arrived.
    Read,
    /// The customer's phone is switched off.
    PhoneOff,
    /// The customer's phone is switched on.
    PhoneOn,
    /// The last message to the customer fails.
    Fail,
}

impl ConversationAction {
    #[cfg(test)]
    pub(super) const ALL: [Self; 7] =
        [Self::Write, Self::TeamReply, Self::Picture, Self::Read, Self::PhoneOff, Self::PhoneOn, Self::Fail];
}

#[derive(Deserialize)]
pub(super) struct ConversationRequest {
    action: ConversationAction,
    contact: String,
    /// The provider's id of the line.
    line: String,
    #[serde(default)]
    text: String,
}

/// Performs an action on the customer's phone or in the provider's app.
pub(super) async fn act_in_conversation(
    State(console): SharedConsole,
    Json(wanted): Json<ConversationRequest>,
) -> ConsoleResponse {
    console.sync_fake_clock()?;
    let (provider, ConversationRequest { action, contact, line, text }) = (console.stack.provider(), wanted);
    let digits = contact.strip_prefix('+').unwrap_or_default();
    if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ConsoleError::bad_request("Write the number with its country code, like +972525550101."));
    }
    if text.trim().is_empty() && matches!(action, ConversationAction::Write | ConversationAction::TeamReply) {
        return Err(ConsoleError::bad_request("Write a text first."));
    }
    match action {
        ConversationAction::Write => {
            provider.write_from_phone(&contact, &text, &line)?;
            reply_with_message("The customer wrote to the line")
        }
        ConversationAction::TeamReply => {
            provider.reply_as_team(&contact, &text, &line)?;
            reply_with_message(format!("The team replied in {PROVIDER_NAME}"))
        }
        ConversationAction::Picture => {
            let picture = tellonce_fakes::provider::InboundPhoneMessage {
                from: contact,
                text,
                kind: "image".to_owned(),
                group: None,
            };
            provider.write_message(picture, &line)?;
            reply_with_message("The customer sent a picture")
        }
        ConversationAction::Read => reply_with_message(match provider.read_messages(&contact)? {
            0 => "This customer has no unread message".to_owned(),
            1 => "The customer read one message".to_owned(),
            read => format!("The customer read {read} messages"),
        }),
        ConversationAction::PhoneOff => {
            provider.set_silent(&contact, true)?;
            reply_with_message("The customer’s phone is off: messages wait, and no delivery status is reported")
        }
        ConversationAction::PhoneOn => {
            provider.set_silent(&contact, false)?;
            reply_with_message("The customer’s phone is on again and receives the waiting messages")
        }
        ConversationAction::Fail => {
            let messages = provider.messages();
            let is_meant = |message: &&PhoneMessage| {
                message.contact == contact
                    && message.line == line
                    && message.direction == PhoneMessageDirection::ToCustomer
            };
            let Some(last) = messages.iter().rfind(is_meant) else {
                return Err(ConsoleError::bad_request("This customer has no message yet."));
            };
            provider.report_status(&last.id, "failed")?;
            reply_with_message("The last message to this customer failed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone_message(id: &str, contact: &str, direction: PhoneMessageDirection, at: i64) -> PhoneMessage {
        PhoneMessage {
            id: id.to_owned(),
            provider_id: id.to_owned(),
            line: "line_1".to_owned(),
            contact: contact.to_owned(),
            conversation_id: format!("conv_{contact}"),
            direction,
            kind: "text".to_owned(),
            group: None,
            body: "Hi".to_owned(),
            button: None,
            key: None,
            queued_at: at,
            observed_at: Some(at),
            delivered_at: None,
            status: None,
            fault: None,
        }
    }

    fn crm_entry(reference: &str) -> FakeCrmEntry {
        FakeCrmEntry {
            id: "1".to_owned(),
            person: None,
            reference: Some(reference.to_owned()),
            text: "Customer: Hi".to_owned(),
            created_ms: 5,
            repeats: 0,
        }
    }

    #[test]
    fn a_conversation_is_shown_with_its_crm_entries_and_team_alerts() {
        let ours = PhoneMessage {
            key: Some("order:1:ready".to_owned()),
            ..phone_message("c", "+1", PhoneMessageDirection::ToCustomer, 3)
        };
        let other = PhoneMessage {
            line: "line_2".to_owned(),
            ..phone_message("x", "+9", PhoneMessageDirection::FromCustomer, 9)
        };
        let messages = [
            phone_message("a", "+1", PhoneMessageDirection::FromCustomer, 1),
            phone_message("b", "+2", PhoneMessageDirection::FromCustomer, 2),
            ours,
            phone_message("d", "+1", PhoneMessageDirection::ToCustomer, 4),
            other,
        ];
        let alert = TeamAlert {
            target: "slack".to_owned(),
            id: None,
            subject: None,
            text: "+2 has waited for 15 minutes".to_owned(),
            at_ms: 6,
            repeats: 0,
        };
        let sources = ConversationSources {
            messages: &messages,
            lines: &[("line_1".to_owned(), "main".to_owned())].into(),
            crms: &[
                ("hub".to_owned(), vec![crm_entry("main:a"), crm_entry("main:d"), crm_entry("main:d")]),
                ("own".to_owned(), vec![]),
            ],
            alerts: &[alert],
            silent: &["+2".to_owned()].into(),
        };
        let conversations = sources.build_conversations();
        assert_eq!(conversations.len(), 2, "a line without events is left out");
        let [first, second] = [&conversations[0], &conversations[1]];
        assert_eq!((&first["contact"], &second["contact"]), (&json!("+1"), &json!("+2")), "the latest is first");
        let authors: Vec<_> =
            first["messages"].as_array().unwrap().iter().map(|message| message["author"].clone()).collect();
        assert_eq!(authors, ["customer", "tellonce", "team"]);
        assert_eq!(first["entry_counts"], json!([{"crm": "hub", "entries": 3}, {"crm": "own", "entries": 0}]));
        assert_eq!(first["messages"][2]["entries"].as_array().unwrap().len(), 2, "a second entry is shown too");
        assert_eq!((&first["phone_off"], &second["phone_off"]), (&json!(false), &json!(true)));
        assert_eq!((first["alerts"].as_array().unwrap().len(), &second["alerts"][0]["target"]), (0, &json!("slack")));
    }
}
