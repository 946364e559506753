//! Privacy requests: what is stored of a person, and how it is erased.
//!
//! Flow: each function walks through its inbox, and conversation-sync through the ledger. What is
//! found leads to more, so the walks are repeated until nothing new is found. To forget, they are
//! repeated until nothing is left: a delivery may be on its way, and a message may be in use.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tellonce_core::{
    contact::Phone,
    person::{PersonAction, PersonCommand, PersonItem, PersonPage, PersonPayload, PersonTable, PersonTraces},
    provider::PROVIDER_NAME,
};

use super::{
    access::{Progress, StackAccess},
    contact::{ContactReport, CustomerAddress, find},
    forget_receipt::{ForgetReceipt, PersonCount},
    operator_error::OperatorError,
};
use crate::{inbox_kind::InboxKind, sentences::count};

/// How often the tables are walked through until nothing new is found, or nothing is left.
const MAX_ROUNDS: usize = 12;
/// How long to wait for what is in use. A claim ends with its invocation, within two minutes.
const PAUSE: Duration = Duration::from_secs(10);

/// What will be erased.
#[derive(Debug, Clone, Serialize)]
pub struct ForgetPlan {
    /// The contact.
    pub contact: ContactReport,
    /// What was found.
    pub found: Vec<PersonCount>,
    /// What is known to be the person's. Never shown.
    #[serde(skip)]
    pub traces: PersonTraces,
}

impl ForgetPlan {
    /// How many items of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.found.iter().filter(|count| count.kind == kind).map(|count| count.items).sum()
    }
}

/// What stays of a person who was forgotten.
fn list_what_stays() -> Vec<String> {
    vec![
        "the key and the state of each message, appointment, delivery and entry, so that nothing is sent again".into(),
        "the opt-out and the greetings of the contact under its pseudonym, so that the customer is not written to"
            .into(),
        "backups of the tables for 35 days (point-in-time recovery): repeat this command after a restore".into(),
        format!("what CRMs, targets and {PROVIDER_NAME} received from tellonce: erase it there"),
        "what the senders still hold: erase it there first, because what they post later is stored again".into(),
    ]
}

/// Something that is stored of a person.
#[derive(Debug, Clone, Serialize)]
pub struct PersonEntry {
    /// The table: `ledger`, or the function whose inbox it is.
    pub table: String,
    /// What it is, its key, and its data.
    #[serde(flatten)]
    pub item: PersonItem,
}

/// Everything that is stored of a person. Holds personal data.
#[derive(Debug, Clone, Serialize)]
pub struct PersonExport {
    /// When it was read.
    pub at: Timestamp,
    /// The client.
    pub client: String,
    /// The contact, by its pseudonym, with its opt-out.
    pub contact: ContactReport,
    /// What is stored.
    pub entries: Vec<PersonEntry>,
}

/// What walks through the tables found.
#[derive(Debug, Default)]
struct Found {
    entries: Vec<PersonEntry>,
    in_use: usize,
}

impl Found {
    fn count(&self) -> Vec<PersonCount> {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for PersonEntry { table, item } in &self.entries {
            *counts.entry((table, &item.kind)).or_default() += 1;
        }
        let count = |((table, kind), items): ((&str, &str), usize)| PersonCount {
            table: table.to_owned(),
            kind: kind.to_owned(),
            items,
        };
        counts.into_iter().map(count).collect()
    }
}

/// The name of a table in counts.
fn table_name(kind: InboxKind, table: PersonTable) -> &'static str {
    match (table, kind) {
        (PersonTable::Ledger, _) => "ledger",
        (PersonTable::Inbox, InboxKind::Stores) => "store-inbox",
        (PersonTable::Inbox, InboxKind::Calendars) => "booking-inbox",
        (PersonTable::Inbox, InboxKind::Forms) => "lead-inbox",
        (PersonTable::Inbox, InboxKind::Lines) => "line-inbox",
    }
}

/// Walks once through all tables. The traces grow, and so does what was found, also if it ends with
/// an error.
async fn walk_all(
    access: StackAccess<'_>,
    action: PersonAction,
    traces: &mut PersonTraces,
    found: &mut Found,
) -> Result<(), OperatorError> {
    found.in_use = 0;
    let ledger = [(InboxKind::Lines, PersonTable::Ledger)];
    // The ledger first: what waits there is not sent while the inboxes are read.
    for (kind, table) in ledger.into_iter().chain(InboxKind::ALL.map(|kind| (kind, PersonTable::Inbox))) {
        let mut position = None;
        loop {
            let person = PersonCommand { table, action, traces: traces.clone(), position: position.take() };
            let page: PersonPage = access.stack.command(kind.function(), &json!(PersonPayload { person })).await?;
            let entry = |item| PersonEntry { table: table_name(kind, table).to_owned(), item };
            found.entries.extend(page.items.into_iter().map(entry));
            found.in_use += page.in_use;
            *traces = page.traces;
            if !page.more {
                break;
            }
            position = page.position;
            (access.on_progress)(Progress { function: kind.function(), deliveries: found.entries.len() });
        }
    }
    Ok(())
}

/// Walks through all tables until nothing new leads to more.
async fn discover(
    access: StackAccess<'_>,
    action: PersonAction,
    traces: &mut PersonTraces,
) -> Result<Found, OperatorError> {
    let mut found = Found::default();
    for _ in 0..MAX_ROUNDS {
        let before = traces.clone();
        found = Found::default();
        walk_all(access, action, traces, &mut found).await?;
        if *traces == before {
            break;
        }
    }
    Ok(found)
}

pub(super) async fn plan(access: StackAccess<'_>, phone: &Phone) -> Result<ForgetPlan, OperatorError> {
    let contact = find(access, &CustomerAddress::Number(phone.clone())).await?;
    let mut traces = PersonTraces::of_number(phone);
    let found = discover(access, PersonAction::Find, &mut traces).await?.count();
    Ok(ForgetPlan { contact, found, traces })
}

/// Erases what a plan names, and what came since. If it ends early, the error has the receipt of
/// what was erased until then: that cannot be found again.
pub(super) async fn run(access: StackAccess<'_>, plan: &ForgetPlan) -> Result<ForgetReceipt, OperatorError> {
    let mut traces = plan.traces.clone();
    let mut erased = Found::default();
    let ended = erase_all(access, &mut traces, &mut erased).await;
    // What a sender posts again meanwhile is erased again, and counts once.
    erased.entries.sort_by(|one, other| (&one.table, &one.item.key).cmp(&(&other.table, &other.item.key)));
    erased.entries.dedup_by(|one, other| one.table == other.table && one.item.key == other.item.key);
    let receipt = ForgetReceipt {
        at: access.stack.now(),
        client: access.stack.client().to_owned(),
        contact: plan.contact.contact.clone(),
        erased: erased.count(),
        in_use: erased.in_use,
        complete: matches!(ended, Ok(true)),
        stays: list_what_stays(),
    };
    match ended {
        Err(source) if !receipt.erased.is_empty() => {
            Err(OperatorError::ForgetEndedEarly { receipt: Box::new(receipt), source: Box::new(source) })
        }
        ended => ended.map(|_| receipt),
    }
}

/// Walks until nothing is left that can be erased. Returns whether that was reached.
async fn erase_all(
    access: StackAccess<'_>,
    traces: &mut PersonTraces,
    erased: &mut Found,
) -> Result<bool, OperatorError> {
    for round in 0..MAX_ROUNDS {
        let (before, count) = (traces.clone(), erased.entries.len());
        walk_all(access, PersonAction::Forget, traces, erased).await?;
        if erased.entries.len() == count && erased.in_use == 0 && *traces == before {
            return Ok(true);
        }
        if erased.in_use > 0 && round + 1 < MAX_ROUNDS {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(false)
}

/// Reads everything that is stored of a person.
pub(super) async fn export(
    access: StackAccess<'_>,
    contact: ContactReport,
    phone: &Phone,
) -> Result<PersonExport, OperatorError> {
    let mut traces = PersonTraces::of_number(phone);
    discover(access, PersonAction::Find, &mut traces).await?;
    let mut found = Found::default();
    walk_all(access, PersonAction::Export, &mut traces, &mut found).await?;
    let client = access.stack.client().to_owned();
    Ok(PersonExport { at: access.stack.now(), client, contact, entries: found.entries })
}

/// What came of it, as the ledger records it.
impl fmt::Display for PersonExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exported {}", count(self.entries.len(), "item"))
    }
}

impl PersonEntry {
    /// The stored data; null if there is none.
    pub fn data(&self) -> &Value {
        self.item.data.as_ref().unwrap_or(&Value::Null)
    }
}
