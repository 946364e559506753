//! All messages of one customer, by the contact index of the ledger.

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    attributes::{Item, ItemReader, text_value},
    ledger::{IdempotencyKey, read_rows},
};

use crate::{
    client_stack::ClientStack,
    client_tables::{ClientTables, OpsError},
    operator::{CustomerAddress, OperatorError, find_pseudonym},
    report::{MessageReport, report_message},
};

/// The most messages that are listed.
const MAX_MESSAGES: usize = 50;

/// What the ledger has of a customer, without the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomerReport {
    /// The subject of the customer's rows: `contact:{pseudonym}`.
    pub contact: String,
    /// When the customer opted out; `None` if that is not so.
    pub opted_out_at: Option<Timestamp>,
    /// The messages, the newest first.
    pub messages: Vec<MessageReport>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
}

impl ClientTables {
    /// The messages of a customer, the newest first. Four requests: one for a function, because it
    /// has the key of the pseudonyms. So the caller needs the role of an operator.
    pub async fn explain_customer(
        &self,
        stack: &ClientStack,
        customer: &CustomerAddress,
    ) -> Result<CustomerReport, OperatorError> {
        let contact = find_pseudonym(stack, customer).await?;
        let state = self.read_states(std::slice::from_ref(&contact)).await?.remove(&contact).unwrap_or_default();
        let query = self
            .db
            .query()
            .table_name(&self.names.ledger)
            .index_name("contact")
            .key_condition_expression("contact = :contact")
            .expression_attribute_values(":contact", text_value(contact.as_str()))
            .scan_index_forward(false)
            .limit(i32::try_from(MAX_MESSAGES).unwrap_or(i32::MAX));
        let page = query.send().await.map_err(|error| OpsError::Query(Box::new(error)))?;
        let key = |item: &Item| {
            let item = ItemReader(item);
            Some(IdempotencyKey::from_parts(item.text("subject")?, item.text("stage")?))
        };
        let keys: Vec<IdempotencyKey> = page.items().iter().filter_map(key).collect();
        let rows = read_rows(&self.db, &self.names.ledger, &keys).await.map_err(OpsError::from)?;
        let position = |message: &MessageReport| keys.iter().position(|key| key.to_string() == message.key);
        let mut messages: Vec<MessageReport> = rows.messages.iter().map(|row| report_message(row, &[])).collect();
        messages.sort_by_key(position);
        Ok(CustomerReport {
            opted_out_at: ItemReader(&state).time("opted_out_at"),
            contact,
            messages,
            has_more: page.last_evaluated_key.is_some(),
            unreadable: rows.unreadable.iter().map(ToString::to_string).collect(),
        })
    }
}
