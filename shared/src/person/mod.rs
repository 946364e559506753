//! Privacy requests: everything that the tables hold about one person is found, and erased on
//! request.
//!
//! Flow: an operator invokes each function that has an inbox with `{"person": {…}}`.
//! [`search_inbox`] walks through its deliveries, and conversation-sync walks through the ledger.
//! What is found leads to more: a row names the order, an event the private id. So the operator's
//! tool repeats the walks with the grown [`PersonTraces`] until nothing new is found.
//!
//! Promises: a body is searched as text, so a delivery that no parser reads is found too. Every
//! step can be repeated: a walk that was interrupted begins again and finds what is left. Does
//! **not** find data that holds neither the number nor anything that leads to it.

mod body_search;
mod traces;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{
    attributes::Item,
    clock::{Clock, Deadline},
    contact::{Phone, PhoneError},
    fault::{ClassifyFault, Fault},
    inbox::{Inbox, InboxError, InboxItem, ScannedDelivery},
    ledger::LedgerError,
};

use body_search::body_mentions;
pub use traces::{DeliveryPart, PersonTraces};

/// After so many bytes of data a page of an export ends. A response of Lambda has 6 MB at most.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// A privacy request was not carried out as a whole. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// The command names no number.
    #[error("invalid phone number: {0}; write it with its country code, like +972545550199")]
    InvalidPhone(#[from] PhoneError),
    /// The position is not one of a response.
    #[error("`position` must be that of the last response")]
    InvalidPosition,
    /// The function has no ledger to search.
    #[error("only conversation-sync searches the ledger")]
    OtherTable,
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl ClassifyFault for PersonError {
    fn fault(&self) -> Fault {
        match self {
            Self::InvalidPhone(_) | Self::InvalidPosition | Self::OtherTable => Fault::Permanent,
            Self::Inbox(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
        }
    }
}

/// Which table is walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonTable {
    /// The inbox of the function.
    Inbox,
    /// The ledger. Only conversation-sync does it.
    Ledger,
}

/// What happens to what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonAction {
    /// It is counted.
    Find,
    /// It is returned as it is stored.
    Export,
    /// Its personal data is erased.
    Forget,
}

/// The command of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonCommand {
    /// The table.
    pub table: PersonTable,
    /// What happens.
    pub action: PersonAction,
    /// What is known to be the person's.
    pub traces: PersonTraces,
    /// The `position` of the last response, if it had `more`.
    pub position: Option<String>,
}

/// The payload of an invocation with a [`PersonCommand`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonPayload {
    /// The command.
    pub person: PersonCommand,
}

/// The response to a [`PersonCommand`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonPage {
    /// What was found and still holds personal data.
    pub items: Vec<PersonItem>,
    /// What is known to be the person's now.
    pub traces: PersonTraces,
    /// How many of them are in use and were left as they are. They can be erased in a minute.
    pub in_use: usize,
    /// Whether the time ran out before the whole table was read. Then the command is repeated with
    /// `position`.
    pub more: bool,
    /// Where the table is read on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

/// Something that a table holds about a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonItem {
    /// What it is, in the plural: `messages`.
    pub kind: String,
    /// Its key.
    pub key: String,
    /// When it came or was made.
    pub at: Option<Timestamp>,
    /// As it is stored. Only of an export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
}

impl fmt::Debug for PersonItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonItem").field("kind", &self.kind).field("key", &self.key).finish_non_exhaustive()
    }
}

/// A page that is being filled.
#[derive(Debug)]
pub struct PersonPageBuilder {
    action: PersonAction,
    page: PersonPage,
    bytes: usize,
}

impl PersonPageBuilder {
    /// An empty page for a command.
    pub fn new(command: &PersonCommand) -> Self {
        let page =
            PersonPage { items: Vec::new(), traces: command.traces.clone(), in_use: 0, more: false, position: None };
        Self { action: command.action, page, bytes: 0 }
    }

    /// What is known to be the person's until now.
    pub fn traces(&mut self) -> &mut PersonTraces {
        &mut self.page.traces
    }

    /// Adds something that was found. `data` is called for an export.
    pub fn add(&mut self, kind: &str, key: String, at: Option<Timestamp>, data: impl FnOnce() -> Json) {
        let data = (self.action == PersonAction::Export).then(data);
        self.bytes += data.as_ref().map_or(0, |data| data.to_string().len());
        self.page.items.push(PersonItem { kind: kind.to_owned(), key, at, data });
    }

    /// Counts something that could not be erased now.
    pub fn count_in_use(&mut self) {
        self.page.in_use += 1;
    }

    /// Whether the page has as much as a response can hold.
    pub fn is_full(&self) -> bool {
        self.bytes > MAX_PAGE_BYTES
    }

    /// The page, and where the table is read on if there is more.
    pub fn finish(self, more: bool, position: Option<String>) -> PersonPage {
        PersonPage { more, position, ..self.page }
    }
}

/// An item as JSON: texts that are JSON become what they say.
pub fn item_to_json(item: &Item) -> Json {
    use aws_sdk_dynamodb::types::AttributeValue as Value;
    let to_json = |value: &Value| match value {
        Value::S(text) => text_to_json(text),
        Value::N(number) => serde_json::from_str(number).unwrap_or_else(|_| json!(number)),
        Value::Bool(flag) => json!(flag),
        Value::M(members) => item_to_json(members),
        Value::Ss(texts) => json!(texts),
        // The tables hold no others, except bodies, which are read as such.
        _ => Json::Null,
    };
    Json::Object(item.iter().map(|(name, value)| (name.clone(), to_json(value))).collect())
}

fn text_to_json(text: &str) -> Json {
    let is_document = text.starts_with('{') || text.starts_with('[');
    serde_json::from_str(text).ok().filter(|_| is_document).unwrap_or_else(|| json!(text))
}

/// Walks through an inbox as long as there is time. `read` reads a delivery as its function does.
/// `keep_keys` does what must be done before a delivery is emptied.
pub async fn search_inbox(
    inbox: &Inbox,
    clock: &Clock,
    command: &PersonCommand,
    deadline: Deadline,
    read: impl Fn(&InboxItem) -> Vec<DeliveryPart>,
    keep_keys: impl AsyncFn(&InboxItem) -> Result<(), LedgerError>,
) -> Result<PersonPage, PersonError> {
    Phone::from_e164(&command.traces.phone)?;
    if command.table != PersonTable::Inbox {
        return Err(PersonError::OtherTable);
    }
    let mut page = PersonPageBuilder::new(command);
    let mut position = command.position.clone();
    loop {
        let (deliveries, next) = inbox.scan_bodies(position.as_deref()).await?;
        for delivery in deliveries {
            if page.is_full() || !deadline.has_time_for_call() {
                return Ok(page.finish(true, position));
            }
            let id = delivery.item.id.clone();
            let parts = read(&delivery.item);
            if is_of_person(&delivery, &parts, page.traces()) {
                page.add("deliveries", id.clone(), Some(delivery.item.received_at), || delivery_to_json(&delivery));
                if command.action == PersonAction::Forget {
                    keep_keys(&delivery.item).await?;
                    let about = delivery.about.clone().or_else(|| parts.last()?.subject.clone());
                    inbox.forget_delivery(&id, about, clock.now()).await?;
                }
            }
            position = Some(id);
        }
        position = next;
        if position.is_none() || !deadline.has_time_for_call() {
            return Ok(page.finish(position.is_some(), position));
        }
    }
}

/// Whether a delivery is the person's. What else its parts name becomes known to be the person's.
fn is_of_person(delivery: &ScannedDelivery, parts: &[DeliveryPart], traces: &mut PersonTraces) -> bool {
    let ScannedDelivery { item, about, .. } = delivery;
    let mut is_found = false;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        is_found |= traces.follow(part);
    }
    let is_text = |text: &str| traces.is_mentioned_in(text);
    let about_person = about.as_ref().is_some_and(|subject| traces.subjects.contains(subject));
    // A delivery that names others too is the person's only if it says so itself.
    let names_others = parts.iter().any(|part| part.subject.as_ref().is_some_and(|it| !traces.subjects.contains(it)));
    let led_to_person = traces.deliveries.contains(&item.id) && !names_others;
    is_found
        || about_person
        || led_to_person
        || body_mentions(&item.body, &is_text)
        || item.headers.values().any(|value| is_text(value))
}

fn delivery_to_json(ScannedDelivery { item, outcome, about }: &ScannedDelivery) -> Json {
    let body = String::from_utf8_lossy(&item.body);
    json!({
        "sender": item.sender,
        "topic": item.topic,
        "received_at": item.received_at,
        "about": about,
        "outcome": outcome.as_ref().map(|(code, text)| format!("{code}: {text}")),
        "body": text_to_json(body.trim()),
    })
}
