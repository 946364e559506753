//! Greetings of one contact, and its state: opt-out and first contact. Items of the table.
//!
//! The two are separate items, because an opt-out must outlive every window of greetings.

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue as Value};
use jiff::Timestamp;

use super::{Ledger, LedgerError, item::LedgerItemError, table::Consistency};
use crate::{
    appointment::HEADER_STAGE,
    attributes::{Item, ItemReader, ItemWriter, UnknownAttributes, replace_document, send_if_current},
    clock::UnixMillis,
    greeting::{Greeting, GreetingHistory, MAX_WINDOW},
};

/// Stage of the item that holds the greetings of a `contact:{pseudonym}`.
const GREETINGS_STAGE: &str = "greetings";
/// Every attribute of that item that this version knows.
const KNOWN_ATTRIBUTES: [&str; 5] = ["subject", "stage", "version", "greetings", "ttl"];

/// What is known of a contact, besides its greetings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactState {
    /// tellonce wrote to the contact before, or the contact to a line.
    pub had_first_contact: bool,
    /// The contact has opted out.
    pub has_opted_out: bool,
}

/// The item of a contact's greetings. The table deletes it when no window reaches it.
pub(super) fn to_item(contact: &str, history: &GreetingHistory, now: Timestamp) -> Item {
    let mut item = ItemWriter::default();
    item.text("subject", contact);
    item.text("stage", GREETINGS_STAGE);
    item.number("version", history.version);
    let before = history.unknown_attributes.document("greetings");
    let known = before.and_then(|text| Some((text, serde_json::from_str::<Vec<Greeting>>(text).ok()?)));
    let before = known.as_ref().map(|(text, known)| (*text, known));
    // Strings and times only, so serialising cannot fail.
    item.text("greetings", replace_document(&history.greetings, before).unwrap_or_default());
    item.number("ttl", now.as_second() + MAX_WINDOW.as_secs());
    history.unknown_attributes.add_to(&mut item);
    item.into_item()
}

/// The greetings of an item.
pub(super) fn from_item(item: &Item) -> Result<GreetingHistory, LedgerItemError> {
    let unknown_attributes = UnknownAttributes::of_item(item, &KNOWN_ATTRIBUTES);
    let item = ItemReader(item);
    let key = || format!("{}:{GREETINGS_STAGE}", item.text("subject").unwrap_or_default());
    let missing = |attribute: &'static str| LedgerItemError::new(key(), attribute);
    let text = item.text("greetings").ok_or_else(|| missing("greetings"))?;
    let greetings: Vec<Greeting> =
        serde_json::from_str(text).map_err(|error| LedgerItemError::of_document(key(), "greetings", &error))?;
    Ok(GreetingHistory {
        version: item.number("version").ok_or_else(|| missing("version"))?,
        unknown_attributes: unknown_attributes.with_document("greetings", text, &greetings),
        greetings,
    })
}

impl Ledger {
    /// The greetings of a contact (see `Ledger::contact_subject`).
    pub(super) async fn read_greetings(&self, contact: &str) -> Result<GreetingHistory, LedgerError> {
        let item = self.get_item(contact, GREETINGS_STAGE).await?;
        Ok(item.as_ref().map(from_item).transpose()?.unwrap_or_default())
    }

    /// Whether a contact (see `Ledger::contact_subject`) has opted out.
    pub async fn has_opted_out(&self, contact: &str) -> Result<bool, LedgerError> {
        Ok(self.get_item(contact, HEADER_STAGE).await?.is_some_and(|item| item.contains_key("opted_out_at")))
    }

    /// What is known of a contact. The answer may be some moments old, for half the price.
    pub async fn read_contact_state(&self, contact: &str) -> Result<ContactState, LedgerError> {
        let item = self.get_item_with(contact, HEADER_STAGE, Consistency::Eventual).await?.unwrap_or_default();
        Ok(ContactState {
            had_first_contact: item.contains_key("first_contact_at"),
            has_opted_out: item.contains_key("opted_out_at"),
        })
    }

    /// Records when tellonce first wrote to a contact, or the contact to a line. The table forgets
    /// it when it forgets messages of that time.
    pub async fn record_first_contact(&self, contact: &str, at: Timestamp) -> Result<(), LedgerError> {
        let is_first = "attribute_not_exists(first_contact_at)";
        // An opt-out is never forgotten.
        let no_opt_out = "attribute_not_exists(opted_out_at) AND attribute_not_exists(opted_in_at)";
        let update = self
            .update_contact_item(contact, at)
            .update_expression("SET first_contact_at = :at, #ttl = :ttl")
            .condition_expression(format!("{is_first} AND {no_opt_out}"))
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":ttl", Value::N(self.expiry_after(at).to_string()));
        if !send_if_current(update).await.map_err(LedgerError::Update)? {
            let update = self.update_contact_item(contact, at).update_expression("SET first_contact_at = :at");
            send_if_current(update.condition_expression(is_first)).await.map_err(LedgerError::Update)?;
        }
        Ok(())
    }

    /// Records that a contact opted out at that time. Returns whether that changed anything: it
    /// does not if the contact has opted out already, or has [opted in](Self::opt_in) since.
    pub async fn opt_out(&self, contact: &str, at: Timestamp) -> Result<bool, LedgerError> {
        let condition =
            "attribute_not_exists(opted_out_at) AND (attribute_not_exists(opted_in_at) OR opted_in_at < :at)";
        self.update_opt_out(contact, "SET opted_out_at = :at REMOVE #ttl", condition, at).await
    }

    /// Removes an opt-out. Returns whether there was one.
    pub async fn opt_in(&self, contact: &str, at: Timestamp) -> Result<bool, LedgerError> {
        let condition = "attribute_exists(opted_out_at)";
        self.update_opt_out(contact, "SET opted_in_at = :at REMOVE opted_out_at, #ttl", condition, at).await
    }

    async fn update_opt_out(
        &self,
        contact: &str,
        expression: &str,
        condition: &str,
        at: Timestamp,
    ) -> Result<bool, LedgerError> {
        let update = self.update_contact_item(contact, at).update_expression(expression);
        let update = update.condition_expression(condition).expression_attribute_names("#ttl", "ttl");
        send_if_current(update).await.map_err(LedgerError::Update)
    }

    /// An update of a contact's state, with its time as `:at`.
    fn update_contact_item(&self, contact: &str, at: Timestamp) -> UpdateItemFluentBuilder {
        self.db
            .update_item()
            .table_name(&self.table)
            .key("subject", Value::S(contact.to_owned()))
            .key("stage", Value::S(HEADER_STAGE.to_owned()))
            .expression_attribute_values(":at", Value::N(at.unix_millis().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_history_round_trips() {
        let at: Timestamp = "2026-11-19T10:00:00.538Z".parse().unwrap();
        let greeting = Greeting { form: "contact".into(), lead: "lead:1".into(), at };
        let history = GreetingHistory { version: 3, greetings: vec![greeting], ..GreetingHistory::default() };
        let item = to_item("contact:ab", &history, at);
        assert_eq!(from_item(&item).unwrap(), history);
        assert!(from_item(&Item::new()).is_err());
        let newer = Item::from([
            ("tomorrow".to_owned(), Value::N("1".into())),
            (
                "greetings".to_owned(),
                Value::S(r#"[{"form":"contact","lead":"lead:1","at":"2026-11-19T10:00:00Z","by":"x"}]"#.into()),
            ),
        ]);
        let item: Item = item.into_iter().chain(newer.clone()).collect();
        let mut history = from_item(&item).unwrap();
        history.version += 1;
        let written = to_item("contact:ab", &history, at);
        assert_eq!(written["tomorrow"], newer["tomorrow"]);
        assert!(written["greetings"].as_s().unwrap().contains(r#""by":"x""#), "{written:?}");
    }
}
