//! What a number has heard, as an item of the table: beside its opt-out, in a row of its own, because that one must outlive
//! every window.

use std::collections::HashMap;

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::AttributeValue as Value};
use jiff::Timestamp;

use super::{Ledger, LedgerError, item::LedgerItemError};
use crate::{
    appointment::HEADER_STAGE,
    clock::UnixMillis,
    greeting::{GreetingHistory, MAX_WINDOW},
};

/// The stage of the row that holds the greetings of a `contact_subject:{hash}`.
const GREETINGS_STAGE: &str = "greetings";

/// The item of what a contact has heard. The table forgets it when no window reaches it any more.
pub(super) fn to_item(contact: &str, history: &GreetingHistory, now: Timestamp) -> HashMap<String, Value> {
    // Made of strings and times: it cannot fail to be JSON.
    let greetings = serde_json::to_string(&history.greetings).unwrap_or_default();
    let ttl = now.as_second() + MAX_WINDOW.as_secs();
    HashMap::from([
        ("subject".to_owned(), Value::S(contact.to_owned())),
        ("stage".to_owned(), Value::S(GREETINGS_STAGE.to_owned())),
        ("version".to_owned(), Value::N(history.version.to_string())),
        ("greetings".to_owned(), Value::S(greetings)),
        ("ttl".to_owned(), Value::N(ttl.to_string())),
    ])
}

/// What a contact has heard.
pub(super) fn from_item(item: &HashMap<String, Value>) -> Result<GreetingHistory, LedgerItemError> {
    let subject = item.get("subject").and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let missing = |attribute: &'static str| LedgerItemError::new(format!("{subject}:{GREETINGS_STAGE}"), attribute);
    let version = item.get("version").and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok());
    let greetings = item.get("greetings").and_then(|value| value.as_s().ok());
    let greetings = greetings.and_then(|text| serde_json::from_str(text).ok());
    Ok(GreetingHistory {
        version: version.ok_or(missing("version"))?,
        greetings: greetings.ok_or(missing("greetings"))?,
    })
}

impl Ledger {
    /// Whether a contact (see [`super::contact_subject`]) has asked not to be written to.
    pub async fn has_opted_out(&self, contact: &str) -> Result<bool, LedgerError> {
        Ok(self.get_item(contact, HEADER_STAGE).await?.is_some_and(|item| item.contains_key("opted_out_at")))
    }

    /// Writes down that a contact asked at that time not to be written to. Says whether that is news: it is not if they had
    /// asked before, or were [let in again](Self::opt_in) since.
    pub async fn opt_out(&self, contact: &str, at: Timestamp) -> Result<bool, LedgerError> {
        let condition =
            "attribute_not_exists(opted_out_at) AND (attribute_not_exists(opted_in_at) OR opted_in_at < :at)";
        self.update_opt_out(contact, "SET opted_out_at = :at", condition, at).await
    }

    /// Takes an opt-out back. Says whether there was one.
    pub async fn opt_in(&self, contact: &str, at: Timestamp) -> Result<bool, LedgerError> {
        let condition = "attribute_exists(opted_out_at)";
        self.update_opt_out(contact, "SET opted_in_at = :at REMOVE opted_out_at", condition, at).await
    }

    async fn update_opt_out(
        &self,
        contact: &str,
        expression: &str,
        condition: &str,
        at: Timestamp,
    ) -> Result<bool, LedgerError> {
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .key("subject", Value::S(contact.to_owned()))
            .key("stage", Value::S(HEADER_STAGE.to_owned()))
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_values(":at", Value::N(at.unix_millis().to_string()));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(LedgerError::Update(Box::new(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::greeting::Greeting;

    #[test]
    fn a_greeting_history_round_trips() {
        let at: Timestamp = "2026-11-19T10:00:00.538Z".parse().unwrap();
        let greeting = Greeting { form: "contact".into(), lead: "lead:1".into(), at };
        let history = GreetingHistory { version: 3, greetings: vec![greeting] };
        assert_eq!(from_item(&to_item("contact:ab", &history, at)).unwrap(), history);
        assert!(from_item(&HashMap::new()).is_err());
    }
}
