//! Counts of leads per form, one item each: `form:{name}`. The decisions are in
//! [`crate::greeting`].

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    types::{AttributeValue as Value, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;

use super::{Ledger, LedgerError};
use crate::{
    appointment::HEADER_STAGE,
    attributes::{Item, ItemReader},
    client_config::FormLimits,
    clock::UnixMillis,
    greeting::LeadRate,
};

/// A window of a form's counter: the attributes of its start and its count.
#[derive(Clone, Copy)]
struct WindowAttributes {
    start: &'static str,
    leads: &'static str,
}

const BURST: WindowAttributes = WindowAttributes { start: "window", leads: "leads" };
const SUSTAINED: WindowAttributes = WindowAttributes { start: "sustained_window", leads: "sustained_leads" };

/// A counter at one moment: the window and its start then.
struct OpenWindow {
    attributes: WindowAttributes,
    start: i64,
}

fn open_windows(limits: FormLimits, now: Timestamp) -> [OpenWindow; 2] {
    let open = |attributes, limit| OpenWindow { attributes, start: LeadRate::window_start(limit, now) };
    [open(BURST, limits.burst), open(SUSTAINED, limits.sustained)]
}

impl OpenWindow {
    /// Whether the item counts this window, or a newer one that another invocation's clock began.
    fn is_counted_in(&self, item: &Item) -> bool {
        ItemReader(item).number::<i64>(self.attributes.start).is_some_and(|start| self.start <= start)
    }

    /// Gives an update the name and the value of the window's start.
    fn bind_start(&self, update: UpdateItemFluentBuilder, name: &str, value: &str) -> UpdateItemFluentBuilder {
        update
            .expression_attribute_names(name, self.attributes.start)
            .expression_attribute_values(value, Value::N(self.start.to_string()))
    }
}

impl Ledger {
    /// Counts a lead of a form and returns the counts. A lead that an operator has decided about is
    /// not counted again. [`Self::uncount_lead`] takes a lead back that turns out to be known.
    pub async fn count_lead(
        &self,
        form: &str,
        limits: FormLimits,
        received_at: Timestamp,
        now: Timestamp,
    ) -> Result<LeadRate, LedgerError> {
        let windows = open_windows(limits, now);
        // Most leads are not the first of a window.
        let mut is_counted = [true; 2];
        // Two leads may begin a window at the same time.
        for _ in 0..3 {
            match read_form_update(self.add_lead(form, &windows, is_counted, received_at).await)? {
                FormUpdate::Written(lead_rate) => return Ok(lead_rate),
                FormUpdate::Unchanged(there) => {
                    let known = lead_rate_from_item(&there);
                    if known.operator_decision(received_at).is_some() {
                        return Ok(known);
                    }
                    is_counted = [0, 1].map(|index| windows[index].is_counted_in(&there));
                }
            }
        }
        Err(LedgerError::TooManyConflicts)
    }

    async fn add_lead(
        &self,
        form: &str,
        windows: &[OpenWindow; 2],
        is_counted: [bool; 2],
        received_at: Timestamp,
    ) -> FormUpdateResult {
        let (mut set, mut add, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        let mut update = self.update_form_item(form);
        for (index, (window, is_counted)) in windows.iter().zip(is_counted).enumerate() {
            let (leads, name, value) = (window.attributes.leads, format!("#start{index}"), format!(":start{index}"));
            update = window.bind_start(update, &name, &value);
            if is_counted {
                add.push(format!("{leads} :one"));
                conditions.push(format!("{name} >= {value}"));
            } else {
                set.push(format!("{name} = {value}, {leads} = :one"));
                conditions.push(format!("(attribute_not_exists({name}) OR {name} < {value})"));
            }
        }
        for decision in ["released_at", "dropped_at"] {
            conditions.push(format!("(attribute_not_exists({decision}) OR {decision} < :received)"));
        }
        let clause = |word: &str, parts: &[String]| {
            if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
        };
        update
            .update_expression(format!("{}{}", clause("SET", &set), clause("ADD", &add)))
            .condition_expression(conditions.join(" AND "))
            .expression_attribute_values(":one", Value::N("1".to_owned()))
            .expression_attribute_values(":received", Value::N(received_at.unix_millis().to_string()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await
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
    pub async fn uncount_lead(&self, form: &str, limits: FormLimits, counted_at: Timestamp) -> Result<(), LedgerError> {
        let [burst, sustained] = open_windows(limits, counted_at);
        let both = self.subtract_lead(form, &[&burst, &sustained]).await;
        if let FormUpdate::Unchanged(_) = read_form_update(both)? {
            // One window may have ended since.
            for window in [&burst, &sustained] {
                read_form_update(self.subtract_lead(form, &[window]).await)?;
            }
        }
        Ok(())
    }

    async fn subtract_lead(&self, form: &str, windows: &[&OpenWindow]) -> FormUpdateResult {
        let (mut add, mut conditions, mut update) = (Vec::new(), Vec::new(), self.update_form_item(form));
        for (index, window) in windows.iter().enumerate() {
            let (leads, name, value) = (window.attributes.leads, format!("#start{index}"), format!(":start{index}"));
            update = window.bind_start(update, &name, &value);
            add.push(format!("{leads} :less"));
            conditions.push(format!("{name} = {value} AND {leads} > :none"));
        }
        update
            .update_expression(format!("ADD {}", add.join(", ")))
            .condition_expression(conditions.join(" AND "))
            .expression_attribute_values(":less", Value::N("-1".to_owned()))
            .expression_attribute_values(":none", Value::N("0".to_owned()))
            .send()
            .await
    }

    /// Resumes a held form. Leads received until now are greeted if `greet`, else dropped. A form
    /// that is not held stays unchanged, so a repeated command has the time of the first one.
    pub async fn resume_form(&self, form: &str, greet: bool, now: Timestamp) -> Result<(), LedgerError> {
        let decision = if greet { "released_at" } else { "dropped_at" };
        let update = self
            .update_form_item(form)
            .update_expression(format!(
                "SET {decision} = :now REMOVE held_since, #window, leads, sustained_window, sustained_leads"
            ))
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
    Unchanged(Item),
}

/// The answer to an update of a form's item.
type FormUpdateResult = Result<UpdateItemOutput, SdkError<UpdateItemError>>;

fn read_form_update(answer: FormUpdateResult) -> Result<FormUpdate, LedgerError> {
    match answer {
        Ok(answer) => Ok(FormUpdate::Written(answer.attributes().map(lead_rate_from_item).unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                Ok(FormUpdate::Unchanged(refused.item().cloned().unwrap_or_default()))
            }
            _ => Err(LedgerError::Update(Box::new(error))),
        },
    }
}

fn lead_rate_from_item(item: &Item) -> LeadRate {
    let item = ItemReader(item);
    LeadRate {
        leads: item.number(BURST.leads).unwrap_or(0),
        sustained_leads: item.number(SUSTAINED.leads).unwrap_or(0),
        held_since: item.time("held_since"),
        released_at: item.time("released_at"),
        dropped_at: item.time("dropped_at"),
    }
}
