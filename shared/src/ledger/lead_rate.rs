//! Counts of leads per form, one item each: `form:{name}`. The decisions are in
//! [`crate::greeting`].

use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::{AttributeValue as Value, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;

use super::{Ledger, LedgerError};
use crate::{
    appointment::HEADER_STAGE,
    attributes::{Item, ItemReader},
    client_config::LeadLimit,
    clock::UnixMillis,
    greeting::LeadRate,
};

impl Ledger {
    /// Counts a lead of a form and returns the count. A lead that an operator has decided about is
    /// not counted again. [`Self::uncount_lead`] takes a lead back that turns out to be known.
    pub async fn count_lead(
        &self,
        form: &str,
        limit: LeadLimit,
        received_at: Timestamp,
        now: Timestamp,
    ) -> Result<LeadRate, LedgerError> {
        let window = LeadRate::window_start(limit, now);
        let count = |expression: &str, condition: &str| {
            self.update_form_item(form)
                .update_expression(expression)
                .condition_expression(format!(
                    "{condition} AND (attribute_not_exists(released_at) OR released_at < :received) \
                     AND (attribute_not_exists(dropped_at) OR dropped_at < :received)"
                ))
                .expression_attribute_names("#window", "window")
                .expression_attribute_values(":window", Value::N(window.to_string()))
                .expression_attribute_values(":one", Value::N("1".to_owned()))
                .expression_attribute_values(":received", Value::N(received_at.unix_millis().to_string()))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .send()
        };
        let mut known = LeadRate::default();
        // Twice, because two leads may begin a window at the same time.
        for _ in 0..2 {
            for (expression, condition) in [
                ("ADD leads :one", "#window = :window"),
                ("SET #window = :window, leads = :one", "(attribute_not_exists(#window) OR #window < :window)"),
            ] {
                known = match read_form_update(count(expression, condition).await)? {
                    FormUpdate::Written(lead_rate) => return Ok(lead_rate),
                    FormUpdate::Unchanged(there) if there.operator_decision(received_at).is_some() => return Ok(there),
                    FormUpdate::Unchanged(there) => there,
                };
            }
        }
        // Another invocation's clock has begun a newer window. This lead counts there.
        Ok(known)
    }

    /// Holds a form: its leads are not greeted from now on. Returns whether that changed anything.
    pub async fn hold_form(&self, form: &str, now: Timestamp) -> Result<bool, LedgerError> {
        let update = self
            .update_form_item(form)
            .update_expression("SET held_since = :now")
            .condition_expression("attribute_not_exists(held_since)")
            .expression_attribute_values(":now", Value::N(now.unix_millis().to_string()));
        Ok(matches!(read_form_update(update.send().await)?, FormUpdate::Written(_)))
    }

    /// Takes back the count of a lead at `counted_at`, because the lead had been counted before.
    pub async fn uncount_lead(&self, form: &str, limit: LeadLimit, counted_at: Timestamp) -> Result<(), LedgerError> {
        let update = self
            .update_form_item(form)
            .update_expression("ADD leads :less")
            .condition_expression("#window = :window AND leads > :none")
            .expression_attribute_names("#window", "window")
            .expression_attribute_values(":window", Value::N(LeadRate::window_start(limit, counted_at).to_string()))
            .expression_attribute_values(":less", Value::N("-1".to_owned()))
            .expression_attribute_values(":none", Value::N("0".to_owned()));
        read_form_update(update.send().await).map(drop)
    }

    /// Resumes a held form. Leads received until now are greeted if `greet`, else dropped. A form
    /// that is not held stays unchanged, so a repeated command has the time of the first one.
    pub async fn resume_form(&self, form: &str, greet: bool, now: Timestamp) -> Result<(), LedgerError> {
        let decision = if greet { "released_at" } else { "dropped_at" };
        let update = self
            .update_form_item(form)
            .update_expression(format!("SET {decision} = :now REMOVE held_since, #window, leads"))
            .condition_expression("attribute_exists(held_since)")
            .expression_attribute_names("#window", "window")
            .expression_attribute_values(":now", Value::N(now.unix_millis().to_string()));
        read_form_update(update.send().await).map(drop)
    }

    /// Reads the count and the decisions of a form.
    pub async fn read_lead_rate(&self, form: &str) -> Result<LeadRate, LedgerError> {
        Ok(self
            .get_item(&form_subject(form), HEADER_STAGE)
            .await?
            .as_ref()
            .map(lead_rate_from_item)
            .unwrap_or_default())
    }

    fn update_form_item(&self, form: &str) -> UpdateItemFluentBuilder {
        self.db
            .update_item()
            .table_name(&self.table)
            .key("subject", Value::S(form_subject(form)))
            .key("stage", Value::S(HEADER_STAGE.to_owned()))
    }
}

fn form_subject(form: &str) -> String {
    format!("form:{form}")
}

/// The outcome of a conditional update of a form's item.
enum FormUpdate {
    /// The item is updated, to this.
    Written(LeadRate),
    /// The condition did not hold for this item.
    Unchanged(LeadRate),
}

fn read_form_update(
    answer: Result<
        aws_sdk_dynamodb::operation::update_item::UpdateItemOutput,
        aws_sdk_dynamodb::error::SdkError<UpdateItemError>,
    >,
) -> Result<FormUpdate, LedgerError> {
    match answer {
        Ok(answer) => Ok(FormUpdate::Written(answer.attributes().map(lead_rate_from_item).unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                Ok(FormUpdate::Unchanged(refused.item().map(lead_rate_from_item).unwrap_or_default()))
            }
            _ => Err(LedgerError::Update(Box::new(error))),
        },
    }
}

fn lead_rate_from_item(item: &Item) -> LeadRate {
    let item = ItemReader(item);
    LeadRate {
        leads: item.number("leads").unwrap_or(0),
        held_since: item.time("held_since"),
        released_at: item.time("released_at"),
        dropped_at: item.time("dropped_at"),
    }
}
