//! The contact of a number: its opt-out, and its pseudonym.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tellonce_core::{
    attributes::{ItemReader, text_value},
    contact::{Lid, Phone},
};

use super::{access::StackAccess, operator_error::OperatorError};
use crate::{calls::CallError, client_stack::ClientStack, inbox_kind::InboxKind};

/// A contact, without its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContactReport {
    /// The subject of its rows: `contact:{pseudonym}`.
    pub contact: String,
    /// When it opted out; `None` if it has not.
    pub opted_out_at: Option<Timestamp>,
    /// When an opt-out was last taken back.
    pub opted_in_at: Option<Timestamp>,
    /// How many messages the ledger has for it.
    pub messages: usize,
}

/// How a customer is named: by a number, or by a private id of WhatsApp.
#[derive(Debug, Clone)]
pub enum CustomerAddress {
    /// A number.
    Number(Phone),
    /// A private id, which stands for a number.
    PrivateId(Lid),
}

impl CustomerAddress {
    /// A private id such as `235085806700321@lid`; `None` for other texts.
    pub fn parse_private_id(text: &str) -> Option<Self> {
        Lid::parse(text).map(Self::PrivateId)
    }

    /// As the function reads it.
    pub(crate) fn expose(&self) -> String {
        match self {
            Self::Number(phone) => phone.expose().to_owned(),
            Self::PrivateId(lid) => lid.address(),
        }
    }
}

/// What a command will do to a contact.
#[derive(Debug, Clone, Serialize)]
pub struct OptOutPlan {
    /// The contact.
    pub contact: ContactReport,
    /// Whether it opts out; else its opt-out is taken back.
    pub opts_out: bool,
    /// The customer's number, which is never shown.
    #[serde(skip)]
    pub phone: Phone,
}

/// The response to `contact`.
#[derive(Deserialize)]
struct FoundContact {
    contact: String,
}

/// The response to `opt_in` and `opt_out`.
#[derive(Deserialize)]
struct OptOutChange {
    changed: bool,
}

/// The subject of a customer's rows. The function has the key of the pseudonyms.
pub(crate) async fn find_pseudonym(stack: &ClientStack, customer: &CustomerAddress) -> Result<String, CallError> {
    let question = json!({ "contact": customer.expose() });
    let FoundContact { contact } = stack.command(InboxKind::Lines.function(), &question).await?;
    Ok(contact)
}

/// Finds the contact of a number.
pub(super) async fn find(access: StackAccess<'_>, customer: &CustomerAddress) -> Result<ContactReport, OperatorError> {
    let contact = find_pseudonym(access.stack, customer).await?;
    let get = access.stack.dynamodb.get_item().table_name(&access.tables.names.ledger);
    let get = get.key("subject", text_value(contact.as_str())).key("stage", text_value("state"));
    let row = get.send().await.map_err(|error| OperatorError::Read(Box::new(error)))?.item.unwrap_or_default();
    let messages = access.tables.count_messages_to(&contact).await?;
    let row = ItemReader(&row);
    Ok(ContactReport {
        opted_out_at: row.time("opted_out_at"),
        opted_in_at: row.time("opted_in_at"),
        contact,
        messages,
    })
}

pub(super) async fn plan(access: StackAccess<'_>, phone: Phone, opts_out: bool) -> Result<OptOutPlan, OperatorError> {
    Ok(OptOutPlan { contact: find(access, &CustomerAddress::Number(phone.clone())).await?, opts_out, phone })
}

/// Returns whether the opt-out changed.
pub(super) async fn run(access: StackAccess<'_>, plan: &OptOutPlan) -> Result<bool, OperatorError> {
    let phone = plan.phone.expose();
    let command = if plan.opts_out { json!({ "opt_out": phone }) } else { json!({ "opt_in": phone }) };
    let OptOutChange { changed } = access.stack.command(InboxKind::Lines.function(), &command).await?;
    Ok(changed)
}
