//! An item of the ledger, as a privacy request sees it: what it is, whose it is, and what it leads
//! to.

use jiff::Timestamp;
use serde_json::Value as Json;
use tellonce_core::{
    appointment::{Appointment, SeatHolder},
    attributes::{Item, ItemReader},
    contact::Phone,
    ledger::{LedgerEntry, LedgerRow, MESSAGE_KINDS},
    person::{PersonTraces, item_to_json},
};

use super::search_error::PersonSearchError;
use crate::{
    conversation::Conversation,
    lid_contact::LidContact,
    message_record::{LedgerLink, MessageRecord, ObservedMessage},
    record_store::{ItemKey, RECORD, RecordStoreError, StoredRecord},
    task::{QueueTask, TaskContent},
};

/// An item of the ledger.
pub(super) enum PersonRow {
    /// A message.
    Message(Box<LedgerRow>),
    /// The header of an appointment.
    Appointment(Box<Appointment>),
    /// An entry for a CRM, or an alert.
    Task(Box<StoredRecord<QueueTask>>),
    /// What the line reported of a message.
    Record(Box<MessageRecord>),
    /// A conversation.
    Conversation(Box<Conversation>),
    /// The number behind a private id.
    Lid(Box<LidContact>),
    /// The id of a customer in a CRM.
    CrmId,
    /// The opt-out, the greetings and the counts of a contact. They stay.
    Contact,
    /// Anything else.
    Other,
}

impl PersonRow {
    /// Reads an item. One that only a newer version can read is an error: nothing may be left out.
    pub(super) fn read(key: &ItemKey, item: &Item) -> Result<Self, PersonSearchError> {
        let (kind, stage) = (key.subject.split(':').next().unwrap_or_default(), key.stage.as_str());
        Ok(match (kind, stage) {
            ("contact", _) if stage.starts_with("crm:") => Self::CrmId,
            ("contact", _) => Self::Contact,
            ("lid", _) => Self::Lid(Box::new(read_record(key, item)?.value)),
            ("message", "state") => Self::Record(Box::new(read_record(key, item)?.value)),
            ("conversation", "state") => Self::Conversation(Box::new(read_record(key, item)?.value)),
            ("message" | "conversation", _) => Self::Task(Box::new(read_record(key, item)?)),
            _ if MESSAGE_KINDS.contains(&kind) => match LedgerEntry::from_item(item) {
                Ok(Some(LedgerEntry::Message(row))) => Self::Message(row),
                Ok(Some(LedgerEntry::Appointment(header))) => Self::Appointment(header),
                Ok(None) => Self::Other,
                Err(error) => return Err(tellonce_core::ledger::LedgerError::from(error).into()),
            },
            _ => Self::Other,
        })
    }

    /// What it is, in the plural.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Message(row) if !row.state.is_settled() => "waiting-messages",
            Self::Message(_) => "messages",
            Self::Appointment(_) => "appointments",
            Self::Task(task) => match task.value.content {
                TaskContent::Notification(_) => "alerts",
                TaskContent::Entry(_) | TaskContent::Erased => "crm-entries",
            },
            Self::Record(_) => "line-messages",
            Self::Conversation(_) => "conversations",
            Self::Lid(_) => "private-ids",
            Self::CrmId => "crm-ids",
            Self::Contact => "contact",
            Self::Other => "others",
        }
    }

    /// Whether it is the person's, who has this contact. What else it names becomes known.
    pub(super) fn is_of(&self, key: &ItemKey, contact: &str, is_own_lid: bool, traces: &mut PersonTraces) -> bool {
        let is_number = |phone: Option<Phone>, traces: &PersonTraces| phone.map(|phone| traces.is_number(&phone));
        match self {
            Self::Message(row) => {
                let erased = row.erasure.as_ref().and_then(|erasure| erasure.contact.as_deref());
                let is_own = is_number(row.to.clone(), traces)
                    .or(erased.map(|erased| erased == contact))
                    .unwrap_or_else(|| traces.subjects.contains(&key.subject));
                if is_own {
                    // Others may take part in the same appointment: its header knows.
                    traces.subjects.extend(Some(key.subject.clone()).filter(|it| !it.starts_with("appointment:")));
                    traces.deliveries.insert(row.delivery.clone());
                    traces.conversations.extend(row.conversation_id.clone());
                }
                is_own
            }
            Self::Appointment(header) => is_of_header(header, contact, traces),
            Self::Task(task) => is_of_task(&task.value, traces),
            Self::Record(record) => {
                let observed = record.observed.as_ref();
                let phone = observed.and_then(ObservedMessage::phone);
                let conversation = observed.and_then(|observed| observed.conversation_id.clone());
                let is_linked = || match &record.link {
                    LedgerLink::Row { subject, .. } => traces.subjects.contains(subject),
                    LedgerLink::Unknown | LedgerLink::Foreign => false,
                };
                let (lid, is_linked) = (record.lid.clone(), is_linked());
                is_of_chat(is_number(phone, traces), lid, conversation, is_linked, traces)
            }
            Self::Conversation(conversation) => {
                let Conversation { lid, id, .. } = &**conversation;
                is_of_chat(is_number(conversation.phone(), traces), lid.clone(), id.clone(), false, traces)
            }
            Self::Lid(lid) => {
                let is_own = is_own_lid || is_number(lid.phone(), traces) == Some(true);
                if is_own {
                    traces.deliveries.extend(lid.waiting_deliveries().map(str::to_owned));
                }
                is_own
            }
            Self::CrmId | Self::Contact => key.subject == contact,
            Self::Other => false,
        }
    }

    /// Whether it holds something to erase.
    pub(super) fn holds_personal_data(&self) -> bool {
        match self {
            Self::Message(row) => !row.is_forgotten(),
            Self::Appointment(header) => header.attendees.iter().any(|seat| match &seat.holder {
                SeatHolder::Known(_) => true,
                SeatHolder::Erased { at_request, .. } => !at_request,
            }),
            Self::Task(task) => task.value.content != TaskContent::Erased,
            Self::Record(_) | Self::Conversation(_) | Self::Lid(_) | Self::CrmId => true,
            Self::Contact | Self::Other => false,
        }
    }

    /// Whether an owner works on it.
    pub(super) fn is_claimed(&self, now: Timestamp) -> bool {
        matches!(self, Self::Task(task) if task.value.is_claimed(now))
    }

    /// The item for an export: without the other people of an appointment.
    pub(super) fn export(&self, item: &Item, phone: &Phone) -> Json {
        let mut data = item_to_json(item);
        let document = data.get_mut("appointment").and_then(Json::as_object_mut);
        let (Self::Appointment(header), Some(document)) = (self, document) else { return data };
        let is_own = |number: &Phone| number.is_same_contact(phone);
        let seats = document.get_mut("attendees").and_then(Json::as_array_mut);
        let number = |seat: &Json| Phone::from_e164(seat["phone"].as_str()?).ok();
        let has_seat = seats.is_some_and(|seats| {
            seats.retain(|seat| number(seat).is_some_and(|number| is_own(&number)));
            !seats.is_empty()
        });
        for name in ["title", "place"] {
            let text = document.get(name).and_then(Json::as_str);
            if text.is_some_and(|text| !has_seat || header.names_another(text, is_own)) {
                document.remove(name);
            }
        }
        data
    }

    /// Whether an export shows it although nothing of it is erased.
    pub(super) fn is_worth_exporting(&self) -> bool {
        matches!(self, Self::Contact | Self::Message(_))
    }
}

fn read_record<T: crate::record_store::Persisted>(
    key: &ItemKey,
    item: &Item,
) -> Result<StoredRecord<T>, RecordStoreError> {
    StoredRecord::from_item(key, item)
}

/// An appointment is the person's if a seat is. It leads to the deliveries about it only if no one
/// else takes part.
fn is_of_header(header: &Appointment, contact: &str, traces: &mut PersonTraces) -> bool {
    let has_seat = header.attendees.iter().filter_map(|seat| seat.attendee()).any(|it| traces.is_number(&it.phone));
    // A request also counts for a seat whose data aged before.
    let has_seat = has_seat || header.has_aged_seat_of(contact);
    if !has_seat && header.erased_contacts().all(|erased| erased != contact) {
        return false;
    }
    let others = header.attendees.iter().filter_map(|seat| seat.attendee()).any(|it| !traces.is_number(&it.phone));
    if !others && header.erased_contacts().all(|erased| erased == contact) {
        traces.subjects.insert(header.subject.clone());
        traces.deliveries.insert(header.delivery.clone());
    }
    has_seat
}

fn is_of_task(task: &QueueTask, traces: &mut PersonTraces) -> bool {
    let is_own = match &task.content {
        TaskContent::Entry(entry) => {
            let is_own = traces.is_number(&entry.phone);
            traces.conversations.extend(entry.conversation_id.clone().filter(|_| is_own));
            is_own
        }
        TaskContent::Notification(alert) => {
            let is_number = alert.phone.as_ref().map(|phone| traces.is_number(phone));
            is_of_chat(is_number, alert.lid.clone(), alert.conversation_id.clone(), false, traces)
        }
        TaskContent::Erased => false,
    };
    if is_own {
        traces.deliveries.extend(task.delivery.clone());
    }
    is_own
}

/// Whether something of a conversation is the person's: by the number if it has one, else by the
/// private id, the conversation, or the row that it belongs to.
fn is_of_chat(
    is_number: Option<bool>,
    lid: Option<String>,
    conversation: Option<String>,
    is_linked: bool,
    traces: &mut PersonTraces,
) -> bool {
    let is_own = is_number.unwrap_or_else(|| {
        is_linked
            || lid.as_ref().is_some_and(|lid| traces.is_lid(lid))
            || conversation.as_ref().is_some_and(|id| traces.conversations.contains(id))
    });
    if is_own {
        traces.lids.extend(lid);
        traces.conversations.extend(conversation);
    }
    is_own
}

/// Whether an item has a text that `is_wanted` finds.
pub(super) fn has_text(item: &Item, is_wanted: &impl Fn(&str) -> bool) -> bool {
    item.keys().filter_map(|name| ItemReader(item).text(name)).any(is_wanted)
}

/// A row without some of its texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RedactedRecord {
    /// The JSON text of the row without them.
    pub(super) record: String,
    /// The texts.
    pub(super) texts: Vec<String>,
}

/// A row without the texts that `is_wanted` finds. `None` if it finds none.
pub(super) fn redact_record(item: &Item, is_wanted: &impl Fn(&str) -> bool) -> Option<RedactedRecord> {
    let text = ItemReader(item).text(RECORD).filter(|text| is_wanted(text))?;
    let mut record: Json = serde_json::from_str(text).ok()?;
    let mut texts = Vec::new();
    redact_texts(&mut record, is_wanted, &mut texts);
    (!texts.is_empty()).then(|| RedactedRecord { record: record.to_string(), texts })
}

/// Ids stay as they are: they hold no text of a person.
fn redact_texts(value: &mut Json, is_wanted: &impl Fn(&str) -> bool, texts: &mut Vec<String>) {
    match value {
        Json::Array(list) => list.iter_mut().for_each(|element| redact_texts(element, is_wanted, texts)),
        Json::Object(members) => {
            for (name, member) in members {
                match member {
                    Json::String(text) if name == "text" && is_wanted(text) => {
                        texts.push(std::mem::take(text));
                        *member = Json::Null;
                    }
                    Json::Array(_) | Json::Object(_) => redact_texts(member, is_wanted, texts),
                    Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tellonce_core::attributes::ItemWriter;

    use super::*;

    #[test]
    fn every_kind_of_message_is_read_as_a_message() {
        for kind in MESSAGE_KINDS {
            let mut item = ItemWriter::default();
            for attribute in ["state", "rank", "useful_until"] {
                item.text(attribute, "of another version");
            }
            let key = ItemKey { subject: format!("{kind}:1"), stage: "line-test".to_owned() };
            assert!(PersonRow::read(&key, &item.into_item()).is_err(), "{kind} is read, and not passed over");
        }
    }

    #[test]
    fn an_export_of_an_appointment_holds_no_other_person() {
        let header = json!({
            "calendar": "diary", "line": "main", "generation": 1, "status": "booked",
            "start": "2026-12-01T10:00:00Z", "zone": "Asia/Jerusalem", "as_of": "2026-11-29T10:00:00Z",
            "booked_at": "2026-11-29T10:00:00Z", "priority": 0, "delivery": "erp#1",
            "created_at": "2026-11-29T10:00:00Z", "updated_at": "2026-11-29T10:00:00Z",
            "title": "Class of Noa and Adi", "place": "Herzl 5",
            "attendees": [
                {"phone": "+972545550199", "name": "Noa", "attending": true},
                {"phone": "+972525550101", "name": "Adi", "attending": true},
                {"contact": "contact:ab12", "attending": false},
            ],
        });
        let mut item = ItemWriter::default();
        item.text("subject", "appointment:1");
        item.text("stage", "state");
        item.text("appointment", header.to_string());
        item.number("version", 1);
        let item = item.into_item();
        let key = ItemKey { subject: "appointment:1".to_owned(), stage: "state".to_owned() };
        let row = PersonRow::read(&key, &item).unwrap();
        let data = row.export(&item, &Phone::from_e164("+972545550199").unwrap());
        assert_eq!(data["appointment"]["attendees"].as_array().unwrap().len(), 1);
        assert_eq!(data["appointment"]["attendees"][0]["name"], "Noa");
        assert_eq!((data["appointment"].get("title"), &data["appointment"]["place"]), (None, &json!("Herzl 5")));
        let stranger = row.export(&item, &Phone::from_e164("+972585550142").unwrap());
        assert_eq!(stranger["appointment"].get("place"), None);
    }

    #[test]
    fn only_a_text_with_the_number_is_erased_from_the_record_of_another_person() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        let record = json!({
            "phone": "+972525550101",
            "last_messages": [{"text": "call my sister: 054-555-0199", "kind": "text"}, {"text": "thanks"}],
        });
        let mut item = ItemWriter::default();
        item.text(RECORD, record.to_string());
        let redacted = redact_record(&item.into_item(), &|text: &str| phone.occurs_in(text)).unwrap();
        assert_eq!(redacted.texts, ["call my sister: 054-555-0199"]);
        let redacted: Json = serde_json::from_str(&redacted.record).unwrap();
        let messages = json!([{"text": null, "kind": "text"}, {"text": "thanks"}]);
        assert_eq!((&redacted["phone"], &redacted["last_messages"]), (&json!("+972525550101"), &messages));
        assert_eq!(redact_record(&Item::new(), &|_: &str| true), None);
    }
}
