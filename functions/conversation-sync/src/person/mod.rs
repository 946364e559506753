//! Privacy requests: walks through the ledger, and through the line's inbox.
//!
//! Flow: `PersonSearch` reads a table page by page. `PersonRow` says whether an item of
//! the ledger is the person's and what it leads to. On request each is erased: messages, headers
//! and tasks keep their keys, so that nothing is sent or made again; records, conversations and
//! ids are deleted.
//!
//! Promises: every write names what it read. What is in use is left alone and counted.

mod person_row;
mod search_error;

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tellonce_core::{
    attributes::{Item, ItemReader},
    clock::Deadline,
    contact::Phone,
    dispatch::Dispatcher,
    inbox::{Inbox, InboxItem},
    ledger::{ErasureCause, ErasureResult, IdempotencyKey, LedgerPosition},
    person::{
        DeliveryPart, PersonAction, PersonCommand, PersonError, PersonPage, PersonPageBuilder, PersonTable,
        search_inbox,
    },
};

use crate::{
    line_event_parser::parse_line_event,
    record_store::{ItemKey, RecordStore, VERSION},
};
use person_row::PersonRow;
pub use search_error::PersonSearchError;

/// What a privacy request may touch.
pub(crate) struct PersonSearch<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) store: &'a RecordStore,
    pub(crate) inbox: &'a Inbox,
}

/// A walk through the ledger for one person.
struct LedgerWalk<'a> {
    command: &'a PersonCommand,
    /// The subject of the person's contact.
    contact: String,
    phone: Phone,
    page: PersonPageBuilder,
}

impl PersonSearch<'_> {
    /// Finds what a table holds of a person, and erases it on request.
    pub(crate) async fn search(
        &self,
        command: &PersonCommand,
        deadline: Deadline,
    ) -> Result<PersonPage, PersonSearchError> {
        if command.table == PersonTable::Ledger {
            return self.search_ledger(command, deadline).await;
        }
        let (clock, keep) = (&self.dispatcher.clock, async |_: &InboxItem| Ok(()));
        Ok(search_inbox(self.inbox, clock, command, deadline, read_parts, keep).await?)
    }

    async fn search_ledger(
        &self,
        command: &PersonCommand,
        deadline: Deadline,
    ) -> Result<PersonPage, PersonSearchError> {
        let ledger = &self.dispatcher.ledger;
        let phone = Phone::from_e164(&command.traces.phone)?;
        let position = command.position.as_deref().map(serde_json::from_str::<LedgerPosition>).transpose();
        let mut position = position.map_err(|_| PersonError::InvalidPosition)?;
        let (contact, page) = (ledger.contact_subject(&phone), PersonPageBuilder::new(command));
        let mut walk = LedgerWalk { command, contact, phone, page };
        loop {
            let (items, next) = ledger.scan_items(position.as_ref(), true).await?;
            for item in &items {
                if walk.page.is_full() || !deadline.has_time_for_call() {
                    return Ok(walk.page.finish(true, write_position(position.as_ref())));
                }
                self.visit_item(&mut walk, item).await?;
                position = LedgerPosition::of_item(item).or(position);
            }
            position = next;
            if position.is_none() || !deadline.has_time_for_call() {
                return Ok(walk.page.finish(position.is_some(), write_position(position.as_ref())));
            }
        }
    }

    /// Adds an item to the page if it is the person's, and erases it on request.
    async fn visit_item(&self, walk: &mut LedgerWalk<'_>, item: &Item) -> Result<(), PersonSearchError> {
        let ledger = &self.dispatcher.ledger;
        let reader = ItemReader(item);
        let Some(key) = reader.text("subject").zip(reader.text("stage")).map(|(of, at)| ItemKey::new(of, at)) else {
            return Ok(());
        };
        let is_mentioned = |text: &str| walk.command.traces.is_mentioned_in(text);
        let row = match PersonRow::read(&key, item) {
            Ok(row) => row,
            // It is not the person's, as far as its texts say.
            Err(_) if !person_row::has_text(item, &is_mentioned) => return Ok(()),
            Err(error) => return Err(error),
        };
        let lid_subjects = || {
            let lids = walk.command.traces.lids.iter().filter_map(|lid| tellonce_core::contact::Lid::parse(lid));
            lids.map(|lid| ledger.lid_subject(&lid)).collect::<Vec<_>>()
        };
        let is_own_lid = key.subject.starts_with("lid:") && lid_subjects().contains(&key.subject);
        let contact = walk.contact.clone();
        if !row.is_of(&key, &contact, is_own_lid, walk.page.traces()) {
            return self.visit_mention(walk, &key, &row, item).await;
        }
        let is_export = walk.command.action == PersonAction::Export;
        let is_listed = row.holds_personal_data() || (is_export && row.is_worth_exporting());
        if !is_listed {
            return Ok(());
        }
        let at = ["created_at", "updated_at"].into_iter().find_map(|name| reader.time(name));
        let (kind, name) = (row.kind(), format!("{} / {}", key.subject, key.stage));
        let data = if is_export { row.export(item, &walk.phone) } else { Json::Null };
        if walk.command.action == PersonAction::Forget {
            match self.erase_row(walk, &key, row, item).await? {
                ErasureResult::Erased => {}
                ErasureResult::Nothing => return Ok(()),
                ErasureResult::InUse => {
                    walk.page.count_in_use();
                    return Ok(());
                }
            }
        }
        walk.page.add(kind, name, at, || data);
        Ok(())
    }

    async fn erase_row(
        &self,
        walk: &LedgerWalk<'_>,
        key: &ItemKey,
        row: PersonRow,
        item: &Item,
    ) -> Result<ErasureResult, PersonSearchError> {
        let (ledger, now) = (&self.dispatcher.ledger, self.dispatcher.clock.now());
        Ok(match row {
            PersonRow::Message(row) => {
                ledger.erase_message(&row, ErasureCause::Request, Some(&walk.contact), now).await?
            }
            PersonRow::Appointment(header) => {
                let is_own = |phone: &Phone| phone.is_same_contact(&walk.phone);
                ledger.erase_attendees(&header, is_own, Some(&walk.contact), now).await?
            }
            // The number in a key, such as a conversation's id, can only go with the key.
            PersonRow::Task(_) if walk.command.traces.is_mentioned_in(&key.subject) => {
                self.delete_row(key, item).await?
            }
            PersonRow::Task(task) => match task.value.forget(now) {
                Err(_) => ErasureResult::InUse,
                Ok(None) => ErasureResult::Nothing,
                Ok(Some(after)) => match self.store.put_record(key, after, Some(&task)).await? {
                    Some(_) => ErasureResult::Erased,
                    None => ErasureResult::InUse,
                },
            },
            PersonRow::Lid(lid) => {
                // An opt-out is never forgotten.
                if let Some(at) = lid.opted_out_at() {
                    ledger.opt_out(&walk.contact, at).await?;
                }
                self.delete_row(key, item).await?
            }
            PersonRow::Record(_) | PersonRow::Conversation(_) | PersonRow::CrmId => self.delete_row(key, item).await?,
            PersonRow::Contact | PersonRow::Other => ErasureResult::Nothing,
        })
    }

    async fn delete_row(&self, key: &ItemKey, item: &Item) -> Result<ErasureResult, PersonSearchError> {
        let Some(version) = item.get(VERSION) else { return Ok(ErasureResult::Nothing) };
        let row_key = IdempotencyKey::from_parts(key.subject.as_str(), key.stage.as_str());
        let deleted = self.dispatcher.ledger.delete_unchanged(&row_key, (VERSION, version)).await?;
        Ok(if deleted { ErasureResult::Erased } else { ErasureResult::InUse })
    }

    /// A text of another person may contain the number. Only that text is exported and erased.
    async fn visit_mention(
        &self,
        walk: &mut LedgerWalk<'_>,
        key: &ItemKey,
        row: &PersonRow,
        item: &Item,
    ) -> Result<(), PersonSearchError> {
        let traces = walk.page.traces().clone();
        let Some(redacted) = person_row::redact_record(item, &|text: &str| traces.is_mentioned_in(text)) else {
            return Ok(());
        };
        if walk.command.action == PersonAction::Forget {
            // A worker that settles its task must find the task as it claimed it.
            let is_free = !row.is_claimed(self.dispatcher.clock.now());
            if !is_free || !self.store.replace_record(key, item, &redacted.record).await? {
                walk.page.count_in_use();
                return Ok(());
            }
        }
        let name = format!("{} / {}", key.subject, key.stage);
        walk.page.add("mentions", name, None, || json!({ "texts": redacted.texts }));
        Ok(())
    }
}

fn write_position(position: Option<&LedgerPosition>) -> Option<String> {
    serde_json::to_string(position?).ok()
}

/// The people of a line event: of each message its customer, and of each status the private id.
fn read_parts(delivery: &InboxItem) -> Vec<DeliveryPart> {
    let InboxItem { topic, body, received_at, .. } = delivery;
    let received_at: Timestamp = *received_at;
    let Ok(event) = parse_line_event(topic.as_deref(), body, received_at) else { return Vec::new() };
    let messages = event.messages.into_iter().map(|message| DeliveryPart {
        phone: message.phone,
        lid: message.lid,
        conversation: message.conversation_id,
        subject: None,
    });
    let statuses =
        event.status_reports.into_iter().map(|status| DeliveryPart { lid: status.lid, ..DeliveryPart::default() });
    messages.chain(statuses).collect()
}
