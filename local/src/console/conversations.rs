//! Conversations as the console shows them: what was written both ways, which CRM has it, and when the team was called.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Console, Failed, Shared, said};
use crate::{
    crms::Entry,
    fake_ezw::{Direction, PhoneMessage},
    team::Notice,
};

/// Conversations that are shown, the latest first, and messages of each.
const CONVERSATIONS: usize = 60;
const MESSAGES: usize = 60;

/// What there is to lay out.
struct Heard<'a> {
    messages: &'a [PhoneMessage],
    /// Our name of each line, by its id in `EZWhatsApp`.
    lines: &'a BTreeMap<String, String>,
    /// Every CRM with what was written into it.
    crms: &'a [(String, Vec<Entry>)],
    notices: &'a [Notice],
    silent: &'a BTreeSet<String>,
}

impl Heard<'_> {
    /// The latest conversations, each with its entries and notices.
    fn conversations(&self) -> Vec<Value> {
        let mut by_id: BTreeMap<(&str, &str), Vec<&PhoneMessage>> = BTreeMap::new();
        for message in self.messages.iter().filter(|message| self.lines.contains_key(&message.line)) {
            by_id.entry((&message.line, &message.conversation_id)).or_default().push(message);
        }
        let mut entries: BTreeMap<&str, Vec<(&str, &Entry)>> = BTreeMap::new();
        for (crm, written) in self.crms {
            for entry in written {
                if let Some(reference) = &entry.reference {
                    entries.entry(reference).or_default().push((crm, entry));
                }
            }
        }
        let mut all: Vec<_> = by_id.into_values().collect();
        all.sort_by_key(|messages| std::cmp::Reverse(messages.last().map(|message| message.queued_at)));
        all.into_iter().take(CONVERSATIONS).map(|messages| self.conversation(&messages, &entries)).collect()
    }

    fn conversation(&self, messages: &[&PhoneMessage], entries: &BTreeMap<&str, Vec<(&str, &Entry)>>) -> Value {
        let Some(last) = messages.last() else { return Value::Null };
        let line = self.lines.get(&last.line).map(String::as_str).unwrap_or_default();
        let mut held: BTreeMap<&str, usize> = self.crms.iter().map(|(crm, _)| (crm.as_str(), 0)).collect();
        let message = |message: &&PhoneMessage| {
            let by = match (message.direction, &message.key) {
                (Direction::FromCustomer, _) => "customer",
                (Direction::ToCustomer, Some(_)) => "us",
                (Direction::ToCustomer, None) => "team",
            };
            let found = entries.get(format!("{line}:{}", message.provider_id).as_str());
            let found = found.map(Vec::as_slice).unwrap_or_default();
            for (crm, _) in found {
                *held.entry(crm).or_default() += 1;
            }
            let entry = |(crm, entry): &(&str, &Entry)| json!({"crm": crm, "text": entry.text, "at": entry.made_ms, "repeats": entry.repeats});
            json!({
                "id": message.id, "by": by, "kind": message.kind, "body": message.body, "at": message.queued_at,
                "status": message.status, "seen": message.observed_at.is_some(),
                "entries": found.iter().map(entry).collect::<Vec<_>>(),
            })
        };
        let shown: Vec<Value> = messages.iter().map(message).collect();
        let shown = &shown[shown.len().saturating_sub(MESSAGES)..];
        let held: Vec<Value> = held.into_iter().map(|(crm, count)| json!({"crm": crm, "entries": count})).collect();
        json!({
            "id": last.conversation_id, "line": line, "line_id": last.line, "contact": last.contact, "group": last.group,
            "silent": self.silent.contains(&last.contact), "count": messages.len(), "messages": shown, "held": held,
            "notices": self.notices.iter().filter(|notice| is_about(notice, last)).collect::<Vec<_>>(),
        })
    }
}

/// Whether a call to the team is about this conversation: it names its number or its id.
fn is_about(notice: &Notice, message: &PhoneMessage) -> bool {
    notice.text.contains(&message.contact) || notice.text.contains(&message.conversation_id)
}

impl Console {
    /// The conversations on lines that take events, and all calls to the team, newest first.
    pub(super) fn conversations(&self) -> Value {
        let Ok(client) = &self.client else { return Value::Null };
        let taking = client.lines.iter().filter(|(_, line)| line.events);
        let lines: BTreeMap<String, String> = taking.map(|(name, line)| (line.line_id.clone(), name.clone())).collect();
        let crms = self.stack.crms();
        let crms: Vec<(String, Vec<Entry>)> =
            crms.names().into_iter().map(|(name, _)| (name.to_owned(), crms.entries(name))).collect();
        let mut notices = self.stack.team().notices();
        let (messages, silent) = (self.stack.ezw().messages(), self.stack.ezw().silent());
        let heard = Heard { messages: &messages, lines: &lines, crms: &crms, notices: &notices, silent: &silent };
        let conversations = heard.conversations();
        notices.reverse();
        notices.truncate(CONVERSATIONS);
        json!({"lines": lines, "all": conversations, "notices": notices})
    }
}

/// What can be done in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deed {
    /// The customer writes.
    Write,
    /// Somebody of the team answers in `EZWhatsApp`.
    Answer,
    /// The customer sends a picture.
    Picture,
    /// The customer reads what arrived.
    Read,
    /// The customer's phone is switched off.
    Silence,
    /// It is on again.
    Back,
    /// The last message to the customer fails.
    Fail,
}

impl Deed {
    #[cfg(test)]
    pub(super) const ALL: [Self; 7] =
        [Self::Write, Self::Answer, Self::Picture, Self::Read, Self::Silence, Self::Back, Self::Fail];
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    deed: Deed,
    contact: String,
    /// The line's id in `EZWhatsApp`.
    line: String,
    #[serde(default)]
    text: String,
}

/// Something happens on the customer's phone, or in `EZWhatsApp`.
pub(super) async fn conversation(State(console): Shared, Json(wanted): Json<Wanted>) -> Answer {
    console.keep_time()?;
    let (ezw, Wanted { deed, contact, line, text }) = (console.stack.ezw(), wanted);
    let digits = contact.strip_prefix('+').unwrap_or_default();
    if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failed::wrong("Write the number with its country, like +972525550101."));
    }
    if text.trim().is_empty() && matches!(deed, Deed::Write | Deed::Answer) {
        return Err(Failed::wrong("Write something first."));
    }
    match deed {
        Deed::Write => {
            ezw.write_from_phone(&contact, &text, &line)?;
            said("The customer wrote to the line")
        }
        Deed::Answer => {
            ezw.answer_as_team(&contact, &text, &line)?;
            said("The team answered in EZWhatsApp")
        }
        Deed::Picture => {
            let picture = crate::fake_ezw::Written { from: contact, text, kind: "image".to_owned(), group: None };
            ezw.write(picture, &line)?;
            said("The customer sent a picture")
        }
        Deed::Read => said(match ezw.read(&contact)? {
            0 => "There is nothing that this customer has not read".to_owned(),
            1 => "The customer read one message".to_owned(),
            read => format!("The customer read {read} messages"),
        }),
        Deed::Silence => {
            ezw.set_silent(&contact, true)?;
            said("The customer’s phone is off: what is sent waits, and nothing is reported")
        }
        Deed::Back => {
            ezw.set_silent(&contact, false)?;
            said("The customer’s phone is on again, and gets what waited")
        }
        Deed::Fail => {
            let messages = ezw.messages();
            let is_meant = |message: &&PhoneMessage| {
                message.contact == contact && message.line == line && message.direction == Direction::ToCustomer
            };
            let Some(last) = messages.iter().rfind(is_meant) else {
                return Err(Failed::wrong("Nothing was sent to this customer yet."));
            };
            ezw.report_status(&last.id, "failed")?;
            said("The last message to this customer failed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, contact: &str, direction: Direction, at: i64) -> PhoneMessage {
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

    fn entry(reference: &str) -> Entry {
        Entry {
            id: "1".to_owned(),
            person: None,
            reference: Some(reference.to_owned()),
            text: "Customer: Hi".to_owned(),
            made_ms: 5,
            repeats: 0,
        }
    }

    #[test]
    fn a_conversation_is_shown_with_what_crms_and_the_team_have_of_it() {
        let ours =
            PhoneMessage { key: Some("order:1:ready".to_owned()), ..message("c", "+1", Direction::ToCustomer, 3) };
        let other = PhoneMessage { line: "line_2".to_owned(), ..message("x", "+9", Direction::FromCustomer, 9) };
        let messages = [
            message("a", "+1", Direction::FromCustomer, 1),
            message("b", "+2", Direction::FromCustomer, 2),
            ours,
            message("d", "+1", Direction::ToCustomer, 4),
            other,
        ];
        let notice = Notice {
            target: "slack".to_owned(),
            id: None,
            subject: None,
            text: "+2 has waited for 15 minutes".to_owned(),
            at_ms: 6,
            repeats: 0,
        };
        let heard = Heard {
            messages: &messages,
            lines: &[("line_1".to_owned(), "main".to_owned())].into(),
            crms: &[
                ("hub".to_owned(), vec![entry("main:a"), entry("main:d"), entry("main:d")]),
                ("own".to_owned(), vec![]),
            ],
            notices: &[notice],
            silent: &["+2".to_owned()].into(),
        };
        let shown = heard.conversations();
        assert_eq!(shown.len(), 2, "a line without events is left out");
        let [first, second] = [&shown[0], &shown[1]];
        assert_eq!((&first["contact"], &second["contact"]), (&json!("+1"), &json!("+2")), "the latest first");
        let by: Vec<_> = first["messages"].as_array().unwrap().iter().map(|message| message["by"].clone()).collect();
        assert_eq!(by, ["customer", "us", "team"]);
        assert_eq!(first["held"], json!([{"crm": "hub", "entries": 3}, {"crm": "own", "entries": 0}]));
        assert_eq!(first["messages"][2]["entries"].as_array().unwrap().len(), 2, "twice is shown twice");
        assert_eq!((&first["silent"], &second["silent"]), (&json!(false), &json!(true)));
        assert_eq!((first["notices"].as_array().unwrap().len(), &second["notices"][0]["target"]), (0, &json!("slack")));
    }
}
