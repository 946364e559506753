//! Claims in one transaction with what they depend on.
//!
//! A reminder is true only while its appointment's header is unchanged. A greeting is the first one
//! only while no other greeting of the contact is recorded. Both are sent only while the contact
//! has not opted out. A reminder also counts for its number, up to a limit a day.
//!
//! Promises: the write that claims a message checks all of that. No change or second greeting can
//! slip in between, and no further read is needed.

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue as Value, CancellationReason, ConditionCheck, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, Update,
        builders::{PutBuilder, UpdateBuilder},
    },
};
use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{
    appointment_header, greeting_history,
    item::from_item,
    resend::{ResendOutcome, ResendRefused},
    row::LedgerRow,
    table::{IF_NEW, ItemUpdate, Ledger, LedgerError, SaveOutcome, WriteCondition},
};
use crate::{
    appointment::{Appointment, HEADER_STAGE},
    attributes::Item,
    greeting::GreetingHistory,
};

/// The outcome of a claim that depends on `H`: an [`Appointment`] for a reminder, a
/// [`GreetingHistory`] for a greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome<H> {
    /// The claim succeeded.
    Claimed,
    /// The contact has opted out.
    OptedOut,
    /// The contact has as many reminders of this stage and day as one number may.
    LimitReached,
    /// The item that it depends on has changed; `None` if it is gone.
    DependencyChanged(Option<Box<H>>),
    /// The row has changed; `None` if it is gone.
    RowChanged(Option<Box<LedgerRow>>),
}

/// A condition of a transaction that did not hold, with the conflicting item if there is one.
enum FailedCondition {
    Row(Option<Item>),
    Header(Option<Item>),
    Contact,
    Limit,
}

/// The most reminders of one stage that one number receives in a day. More appointments of one
/// person on one day are unlikely, and a stranger may book a victim's number again and again.
const MAX_REMINDERS_PER_DAY: u32 = 3;
/// How long the count of a day is stored: longer than a day in any zone.
const REMINDER_COUNT_RETENTION: SignedDuration = SignedDuration::from_hours(3 * 24);

/// The day and the stage in which a reminder counts for its number.
#[derive(Debug, Clone)]
pub struct ReminderDay {
    /// The name of the stage, as in keys.
    pub stage: String,
    /// The day of the client.
    pub day: Date,
    /// The current time.
    pub now: Timestamp,
}

impl Ledger {
    /// Opens a reminder's row and records in the header that it was opened.
    ///
    /// Conditions: the header is still `before`, no row of this key exists, and `contact` (see
    /// `Ledger::contact_subject`) has not opted out. If the reminder is `counted`, the number has
    /// fewer reminders of this stage and day than one number may.
    pub async fn open_reminder(
        &self,
        row: &LedgerRow,
        (before, after): (&Appointment, &Appointment),
        contact: &str,
        counted: Option<&ReminderDay>,
    ) -> Result<ClaimOutcome<Appointment>, LedgerError> {
        let put = self.build_put(self.row_to_item(row)).condition_expression(IF_NEW);
        let condition = WriteCondition::version_unchanged(before.version);
        let update =
            ItemUpdate::of_item(self.header_to_item(after), &appointment_header::OPTIONAL_ATTRIBUTES, &condition);
        let head = Update::builder()
            .table_name(&self.table)
            .set_key(Some(update.key))
            .update_expression(update.expression)
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let head = Some(HeaderWrite::Update(head));
        let count = counted.map(|counted| self.build_reminder_count(contact, counted));
        to_reminder_claim(&self.write_transaction(put, head, contact, count).await?)
    }

    /// Claims a reminder's row again.
    ///
    /// Conditions: the row is still `before`, the header still has the row's generation, and the
    /// contact has not opted out.
    pub async fn claim_reminder(
        &self,
        before: &LedgerRow,
        after: &LedgerRow,
        contact: &str,
    ) -> Result<ClaimOutcome<Appointment>, LedgerError> {
        let put = put_if_unchanged(self.build_put(self.row_to_item(after)), WriteCondition::row_unchanged(before));
        let generation = after.generation.unwrap_or_default();
        let head = self
            .build_condition_check(after.key.subject(), "generation = :generation")
            .expression_attribute_values(":generation", Value::N(generation.to_string()));
        to_reminder_claim(&self.write_transaction(put, Some(HeaderWrite::Check(head)), contact, None).await?)
    }

    /// Opens a greeting's row and records the greeting with the contact.
    ///
    /// Conditions: the contact's greetings are still `before`, no row of this key exists, and
    /// `contact` (see `Ledger::contact_subject`) has not opted out.
    pub async fn open_greeting(
        &self,
        row: &LedgerRow,
        before: &GreetingHistory,
        after: &GreetingHistory,
        contact: &str,
    ) -> Result<ClaimOutcome<GreetingHistory>, LedgerError> {
        let put = self.build_put(self.row_to_item(row)).condition_expression(IF_NEW);
        let head = self.build_put(greeting_history::to_item(contact, after, row.created_at));
        let head = match before.version {
            0 => head.condition_expression(IF_NEW),
            version => put_if_unchanged(head, WriteCondition::version_unchanged(version)),
        };
        let failed = self.write_transaction(put, Some(HeaderWrite::Put(head)), contact, None).await?;
        // A lead that has a row has recorded its greeting, too. Its row says what happened.
        if let Some(Some(row)) =
            failed.iter().find_map(|refused| if let FailedCondition::Row(row) = refused { Some(row) } else { None })
        {
            return Ok(ClaimOutcome::RowChanged(Some(Box::new(from_item(row)?))));
        }
        Ok(match failed.first() {
            None => ClaimOutcome::Claimed,
            Some(FailedCondition::Header(item)) => ClaimOutcome::DependencyChanged(
                item.as_ref().map(greeting_history::from_item).transpose()?.map(Box::new),
            ),
            Some(FailedCondition::Row(_)) => ClaimOutcome::RowChanged(None),
            Some(FailedCondition::Contact | FailedCondition::Limit) => ClaimOutcome::OptedOut,
        })
    }

    /// Lets a greeting wait again, and records it with the contact. `next` is the row after
    /// [`super::resend_row`].
    ///
    /// Conditions: the row is still `row`, and the contact got no other greeting since the row was
    /// opened.
    pub async fn resend_greeting(&self, row: &LedgerRow, next: &LedgerRow) -> Result<ResendOutcome, LedgerError> {
        let Some(phone) = &row.to else { return Ok(ResendOutcome::Refused(ResendRefused::NoText)) };
        let contact = self.contact_subject(phone);
        let history = self.read_greetings(&contact).await?;
        let after = match history.resend_greeting(row.key.subject(), row.created_at, next.updated_at) {
            Ok(after) => after,
            Err(other) => return Ok(ResendOutcome::Refused(ResendRefused::AlreadyGreeted(other.lead))),
        };
        let put = put_if_unchanged(self.build_put(self.row_to_item(next)), WriteCondition::row_unchanged(row));
        let head = self.build_put(greeting_history::to_item(&contact, &after, next.updated_at));
        let head = match history.version {
            0 => head.condition_expression(IF_NEW),
            version => put_if_unchanged(head, WriteCondition::version_unchanged(version)),
        };
        Ok(match self.write_transaction(put, Some(HeaderWrite::Put(head)), &contact, None).await?.first() {
            None => ResendOutcome::Resent,
            Some(FailedCondition::Row(_) | FailedCondition::Header(_)) => ResendOutcome::Changed,
            // It opted out. The dispatch sees that, too, and suppresses the message.
            Some(FailedCondition::Contact | FailedCondition::Limit) => match self.save(row, next).await? {
                SaveOutcome::Saved => ResendOutcome::Resent,
                SaveOutcome::Overtaken(_) | SaveOutcome::Gone => ResendOutcome::Changed,
            },
        })
    }

    /// Claims a greeting's row again.
    ///
    /// Conditions: the row is still `before`, and the contact has not opted out.
    pub async fn claim_greeting(
        &self,
        before: &LedgerRow,
        after: &LedgerRow,
        contact: &str,
    ) -> Result<ClaimOutcome<GreetingHistory>, LedgerError> {
        let put = put_if_unchanged(self.build_put(self.row_to_item(after)), WriteCondition::row_unchanged(before));
        Ok(match self.write_transaction(put, None, contact, None).await?.first() {
            None => ClaimOutcome::Claimed,
            Some(FailedCondition::Row(item)) => {
                ClaimOutcome::RowChanged(item.as_ref().map(from_item).transpose()?.map(Box::new))
            }
            Some(FailedCondition::Header(_) | FailedCondition::Contact | FailedCondition::Limit) => {
                ClaimOutcome::OptedOut
            }
        })
    }

    fn build_put(&self, item: Item) -> PutBuilder {
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn build_condition_check(
        &self,
        subject: &str,
        condition: &str,
    ) -> aws_sdk_dynamodb::types::builders::ConditionCheckBuilder {
        ConditionCheck::builder()
            .table_name(&self.table)
            .key("subject", Value::S(subject.to_owned()))
            .key("stage", Value::S(HEADER_STAGE.to_owned()))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// Counts a reminder of a number. The item has no personal data, and the table deletes it.
    fn build_reminder_count(&self, contact: &str, counted: &ReminderDay) -> UpdateBuilder {
        let ReminderDay { stage, day, now } = counted;
        let ttl = now.as_second() + REMINDER_COUNT_RETENTION.as_secs();
        Update::builder()
            .table_name(&self.table)
            .key("subject", Value::S(contact.to_owned()))
            .key("stage", Value::S(format!("reminders-{stage}-{day}")))
            .update_expression("SET #ttl = :ttl ADD reminders :one")
            .condition_expression("attribute_not_exists(reminders) OR reminders < :most")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":ttl", Value::N(ttl.to_string()))
            .expression_attribute_values(":one", Value::N("1".to_owned()))
            .expression_attribute_values(":most", Value::N(MAX_REMINDERS_PER_DAY.to_string()))
    }

    /// Writes a row and what it depends on. Returns the conditions that did not hold, the header's
    /// first. `count` needs a header.
    async fn write_transaction(
        &self,
        row: PutBuilder,
        head: Option<HeaderWrite>,
        contact: &str,
        count: Option<UpdateBuilder>,
    ) -> Result<Vec<FailedCondition>, LedgerError> {
        let incomplete =
            |error| LedgerError::Transact(Box::new(aws_sdk_dynamodb::error::SdkError::construction_failure(error)));
        let head = match head {
            Some(HeaderWrite::Put(put)) => {
                Some(TransactWriteItem::builder().put(put.build().map_err(incomplete)?).build())
            }
            Some(HeaderWrite::Update(update)) => {
                Some(TransactWriteItem::builder().update(update.build().map_err(incomplete)?).build())
            }
            Some(HeaderWrite::Check(check)) => {
                Some(TransactWriteItem::builder().condition_check(check.build().map_err(incomplete)?).build())
            }
            None => None,
        };
        let row = TransactWriteItem::builder().put(row.build().map_err(incomplete)?).build();
        let contact =
            self.build_condition_check(contact, "attribute_not_exists(opted_out_at)").build().map_err(incomplete)?;
        let contact = TransactWriteItem::builder().condition_check(contact).build();
        let count = match count {
            Some(count) => Some(TransactWriteItem::builder().update(count.build().map_err(incomplete)?).build()),
            None => None,
        };
        let with_header = head.is_some();
        let items: Vec<TransactWriteItem> = [row, contact].into_iter().chain(head).chain(count).collect();
        // The SDK repeats conflicts and throttling, and gives each call its own token. It repeats
        // the token with the call, so a repeat never conflicts with its own write.
        let call = self.db.transact_write_items().set_transact_items(Some(items));
        let Err(error) = call.send().await else { return Ok(Vec::new()) };
        let failed = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                find_failed_conditions(cancelled.cancellation_reasons(), with_header)
            }
            _ => Vec::new(),
        };
        if failed.is_empty() { Err(LedgerError::Transact(Box::new(error))) } else { Ok(failed) }
    }
}

/// A write that succeeds only if the item is unchanged since it was read.
fn put_if_unchanged(put: PutBuilder, still: WriteCondition) -> PutBuilder {
    put.condition_expression(still.expression)
        .set_expression_attribute_names(Some(still.names))
        .set_expression_attribute_values(Some(still.values))
}

enum HeaderWrite {
    Put(PutBuilder),
    Update(UpdateBuilder),
    Check(aws_sdk_dynamodb::types::builders::ConditionCheckBuilder),
}

/// The conditions that did not hold: header, row, contact, limit. The transaction's order is row,
/// contact, header, limit.
fn find_failed_conditions(reasons: &[CancellationReason], with_header: bool) -> Vec<FailedCondition> {
    let failed_item = |index: usize| {
        let reason: &CancellationReason = reasons.get(index)?;
        let item = || reason.item().filter(|item| !item.is_empty()).cloned();
        (reason.code() == Some("ConditionalCheckFailed")).then(item)
    };
    let header = if with_header { failed_item(2).map(FailedCondition::Header) } else { None };
    let row = failed_item(0).map(FailedCondition::Row);
    let contact = failed_item(1).map(|_| FailedCondition::Contact);
    let limit = failed_item(3).map(|_| FailedCondition::Limit);
    header.into_iter().chain(row).chain(contact).chain(limit).collect()
}

/// The outcome of a reminder's claim.
fn to_reminder_claim(failed: &[FailedCondition]) -> Result<ClaimOutcome<Appointment>, LedgerError> {
    Ok(match failed.first() {
        None => ClaimOutcome::Claimed,
        Some(FailedCondition::Header(item)) => {
            ClaimOutcome::DependencyChanged(item.as_ref().map(appointment_header::from_item).transpose()?.map(Box::new))
        }
        Some(FailedCondition::Row(item)) => {
            ClaimOutcome::RowChanged(item.as_ref().map(from_item).transpose()?.map(Box::new))
        }
        Some(FailedCondition::Contact) => ClaimOutcome::OptedOut,
        Some(FailedCondition::Limit) => ClaimOutcome::LimitReached,
    })
}
