//! Claiming what somebody may not want: in one transaction with what it depends on and the wish of whoever it is for.
//!
//! A reminder is true only while its appointment's header says so; a greeting is the first one only while nobody has written
//! down another; both are welcome only while their reader has not asked to be left alone. All of that is checked by the very
//! write that claims it: there is no moment in between in which a move or a second greeting could be overlooked, and no
//! further read.

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue as Value, CancellationReason, ConditionCheck, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, builders::PutBuilder,
    },
};

use super::{
    appointment_header, greeting_history,
    item::from_item,
    row::LedgerRow,
    table::{Ledger, LedgerError, WriteCondition},
};
use crate::{
    appointment::{Appointment, HEADER_STAGE},
    attributes::Item,
    greeting::GreetingHistory,
};

/// What came of a claim that depends on `H`: an [`Appointment`] for a reminder, what was [`GreetingHistory`] for a greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome<H> {
    /// It is ours.
    Claimed,
    /// Its reader has asked not to be written to.
    OptedOut,
    /// What it depends on is something else by now; nothing if it is gone.
    HeaderChanged(Option<Box<H>>),
    /// The row is another's by now; nothing if it is gone.
    RowChanged(Option<Box<LedgerRow>>),
}

/// Which condition of a transaction did not hold, with the item in the way if there is one.
enum FailedCondition {
    Row(Option<Item>),
    Header(Option<Item>),
    Contact,
}

/// How often a claim is tried again that met another write of the same rows.
const MAX_TRIES: u32 = 4;

impl Ledger {
    /// Opens a reminder's row, and writes beside it in the header that it was opened: if the header is still `before`, no
    /// row of this key exists, and its reader (`contact_subject`, see [`super::contact_subject`]) may be written to.
    pub async fn open_reminder(
        &self,
        row: &LedgerRow,
        before: &Appointment,
        after: &Appointment,
        contact: &str,
    ) -> Result<ClaimOutcome<Appointment>, LedgerError> {
        let put = self.build_put(self.row_to_item(row)).condition_expression(IF_NEW);
        let head = put_if_unchanged(
            self.build_put(self.header_to_item(after)),
            WriteCondition::version_unchanged(before.version),
        );
        to_reminder_claim(&self.write_transaction(put, Some(HeaderWrite::Put(head)), contact).await?)
    }

    /// Claims a reminder's row again: if it is still `before`, the header still is of the generation that it was made for,
    /// and its reader may be written to.
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
        to_reminder_claim(&self.write_transaction(put, Some(HeaderWrite::Check(head)), contact).await?)
    }

    /// Opens a greeting's row, and writes beside it what its reader has heard with it: if they have heard what they had
    /// `before`, no row of this key exists, and they (`contact_subject`, see [`super::contact_subject`]) may be written to.
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
        let failed = self.write_transaction(put, Some(HeaderWrite::Put(head)), contact).await?;
        // A lead that is in the ledger already has written down its greeting, too: what became of it is in its row.
        if let Some(Some(row)) =
            failed.iter().find_map(|refused| if let FailedCondition::Row(row) = refused { Some(row) } else { None })
        {
            return Ok(ClaimOutcome::RowChanged(Some(Box::new(from_item(row)?))));
        }
        Ok(match failed.first() {
            None => ClaimOutcome::Claimed,
            Some(FailedCondition::Header(item)) => {
                ClaimOutcome::HeaderChanged(item.as_ref().map(greeting_history::from_item).transpose()?.map(Box::new))
            }
            Some(FailedCondition::Row(_)) => ClaimOutcome::RowChanged(None),
            Some(FailedCondition::Contact) => ClaimOutcome::OptedOut,
        })
    }

    /// Claims a greeting's row again: if it is still `before`, and its reader may be written to.
    pub async fn claim_greeting(
        &self,
        before: &LedgerRow,
        after: &LedgerRow,
        contact: &str,
    ) -> Result<ClaimOutcome<GreetingHistory>, LedgerError> {
        let put = put_if_unchanged(self.build_put(self.row_to_item(after)), WriteCondition::row_unchanged(before));
        Ok(match self.write_transaction(put, None, contact).await?.first() {
            None => ClaimOutcome::Claimed,
            Some(FailedCondition::Row(item)) => {
                ClaimOutcome::RowChanged(item.as_ref().map(from_item).transpose()?.map(Box::new))
            }
            Some(FailedCondition::Header(_) | FailedCondition::Contact) => ClaimOutcome::OptedOut,
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

    /// Writes a row, and what it depends on, unless a condition does not hold: then those that don't, the header's first.
    async fn write_transaction(
        &self,
        row: PutBuilder,
        head: Option<HeaderWrite>,
        contact: &str,
    ) -> Result<Vec<FailedCondition>, LedgerError> {
        let incomplete =
            |error| LedgerError::Transact(Box::new(aws_sdk_dynamodb::error::SdkError::construction_failure(error)));
        let head = match head {
            Some(HeaderWrite::Put(put)) => {
                Some(TransactWriteItem::builder().put(put.build().map_err(incomplete)?).build())
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
        let with_header = head.is_some();
        let items: Vec<TransactWriteItem> = [row, contact].into_iter().chain(head).collect();
        for attempt in 0..MAX_TRIES {
            // The SDK gives each call a token of its own and repeats it with a lost answer's call, so our own write never
            // stands in our way.
            let call = self.db.transact_write_items().set_transact_items(Some(items.clone()));
            let Err(error) = call.send().await else { return Ok(Vec::new()) };
            let reasons = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    cancelled.cancellation_reasons()
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => &[],
                _ => return Err(LedgerError::Transact(Box::new(error))),
            };
            let failed = find_failed_conditions(reasons, with_header);
            if !failed.is_empty() {
                return Ok(failed);
            }
            let passing = |reason: &CancellationReason| {
                matches!(
                    reason.code(),
                    None | Some("None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
                )
            };
            if !reasons.iter().all(passing) {
                return Err(LedgerError::Transact(Box::new(error)));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20 << attempt)).await;
        }
        Err(LedgerError::TooManyConflicts)
    }
}

/// The condition that nothing stands there yet.
const IF_NEW: &str = "attribute_not_exists(subject)";

/// A write that goes through only if the item still is what was read.
fn put_if_unchanged(put: PutBuilder, still: WriteCondition) -> PutBuilder {
    put.condition_expression(still.expression)
        .set_expression_attribute_names(Some(still.names))
        .set_expression_attribute_values(Some(still.values))
}

enum HeaderWrite {
    Put(PutBuilder),
    Check(aws_sdk_dynamodb::types::builders::ConditionCheckBuilder),
}

/// Which conditions did not hold: of header, row and contact. The transaction has them as row, contact and header.
fn find_failed_conditions(reasons: &[CancellationReason], with_header: bool) -> Vec<FailedCondition> {
    let failed_item = |index: usize| {
        let reason: &CancellationReason = reasons.get(index)?;
        let item = || reason.item().filter(|item| !item.is_empty()).cloned();
        (reason.code() == Some("ConditionalCheckFailed")).then(item)
    };
    let header = if with_header { failed_item(2).map(FailedCondition::Header) } else { None };
    let row = failed_item(0).map(FailedCondition::Row);
    let contact = failed_item(1).map(|_| FailedCondition::Contact);
    header.into_iter().chain(row).chain(contact).collect()
}

/// What came of a reminder's claim.
fn to_reminder_claim(failed: &[FailedCondition]) -> Result<ClaimOutcome<Appointment>, LedgerError> {
    Ok(match failed.first() {
        None => ClaimOutcome::Claimed,
        Some(FailedCondition::Header(item)) => {
            ClaimOutcome::HeaderChanged(item.as_ref().map(appointment_header::from_item).transpose()?.map(Box::new))
        }
        Some(FailedCondition::Row(item)) => {
            ClaimOutcome::RowChanged(item.as_ref().map(from_item).transpose()?.map(Box::new))
        }
        Some(FailedCondition::Contact) => ClaimOutcome::OptedOut,
    })
}
