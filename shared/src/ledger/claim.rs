//! Claiming a reminder: in one transaction with the header that it speaks for and the wish of whoever it is for.
//!
//! A reminder is true only while its appointment's header says so, and welcome only while its reader has not asked to be
//! left alone. Both are checked by the very write that claims it, directly before it is sent: there is no moment in between
//! in which a move could be overlooked, and no further read.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue as Value, CancellationReason, ConditionCheck, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, builders::PutBuilder,
    },
};

use super::{
    header,
    item::{from_item, to_item},
    row::Row,
    store::{Ledger, LedgerError, Still},
};
use crate::{
    appointment::{Appointment, HEADER_STAGE},
    contact::Phone,
    digest::sha256_hex,
};

/// What came of claiming a reminder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Yes,
    /// Its reader has asked not to be written to.
    OptedOut,
    /// The header says something else by now; nothing if it is gone.
    HeaderChanged(Option<Box<Appointment>>),
    /// The row is another's by now; nothing if it is gone.
    RowChanged(Option<Box<Row>>),
}

/// How often a claim is tried again that met another write of the same rows.
const TRIES: u32 = 4;

/// The row that says that whoever has this number does not want to be written to: `contact:{hash}`. It holds
/// `opted_out_at`. The hash keeps numbers out of keys; it is no secret, since numbers can be guessed.
pub fn contact_subject(client: &str, phone: &Phone) -> String {
    format!("contact:{}", sha256_hex(format!("{client}:{}", phone.expose()).as_bytes(), 16))
}

impl Ledger {
    /// Opens a reminder's row, and writes beside it in the header that it was opened: if the header is still `before`, no
    /// row of this key exists, and its reader (`contact`, see [`contact_subject`]) may be written to.
    pub async fn open_reminder(
        &self,
        row: &Row,
        before: &Appointment,
        after: &Appointment,
        contact: &str,
    ) -> Result<Claim, LedgerError> {
        let put = self.put(to_item(row, self.ttl(row))).condition_expression("attribute_not_exists(subject)");
        let head = still(self.put(self.header_item(after)), Still::header(before));
        self.transact(put, Header::Put(head), contact).await
    }

    /// Claims a reminder's row again: if it is still `before`, the header still is of the generation that it was made for,
    /// and its reader may be written to.
    pub async fn claim_reminder(&self, before: &Row, after: &Row, contact: &str) -> Result<Claim, LedgerError> {
        let put = still(self.put(to_item(after, self.ttl(after))), Still::row(before));
        let generation = after.generation.unwrap_or_default();
        let head = self
            .check(after.key.subject(), "generation = :generation")
            .expression_attribute_values(":generation", Value::N(generation.to_string()));
        self.transact(put, Header::Check(head), contact).await
    }

    fn put(&self, item: HashMap<String, Value>) -> PutBuilder {
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn check(&self, subject: &str, condition: &str) -> aws_sdk_dynamodb::types::builders::ConditionCheckBuilder {
        ConditionCheck::builder()
            .table_name(&self.table)
            .key("subject", Value::S(subject.to_owned()))
            .key("stage", Value::S(HEADER_STAGE.to_owned()))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    async fn transact(&self, row: PutBuilder, head: Header, contact: &str) -> Result<Claim, LedgerError> {
        let incomplete =
            |error| LedgerError::Claim(Box::new(aws_sdk_dynamodb::error::SdkError::construction_failure(error)));
        let head = match head {
            Header::Put(put) => TransactWriteItem::builder().put(put.build().map_err(incomplete)?).build(),
            Header::Check(check) => {
                TransactWriteItem::builder().condition_check(check.build().map_err(incomplete)?).build()
            }
        };
        let row = TransactWriteItem::builder().put(row.build().map_err(incomplete)?).build();
        let contact = self.check(contact, "attribute_not_exists(opted_out_at)").build().map_err(incomplete)?;
        let contact = TransactWriteItem::builder().condition_check(contact).build();
        for attempt in 0..TRIES {
            let items = vec![row.clone(), head.clone(), contact.clone()];
            // The SDK gives each call a token of its own and repeats it with a lost answer's call, so our own write never
            // stands in our way.
            let Err(error) = self.db.transact_write_items().set_transact_items(Some(items)).send().await else {
                return Ok(Claim::Yes);
            };
            let reasons = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    cancelled.cancellation_reasons()
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => &[],
                _ => return Err(LedgerError::Claim(Box::new(error))),
            };
            if let Some(claim) = refused(reasons)? {
                return Ok(claim);
            }
            let passing = |reason: &CancellationReason| {
                matches!(
                    reason.code(),
                    None | Some("None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
                )
            };
            if !reasons.iter().all(passing) {
                return Err(LedgerError::Claim(Box::new(error)));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20 << attempt)).await;
        }
        Err(LedgerError::Contended)
    }
}

/// A write that goes through only if the item still is what was read.
fn still(put: PutBuilder, still: Still) -> PutBuilder {
    put.condition_expression(still.condition)
        .set_expression_attribute_names(Some(still.names))
        .set_expression_attribute_values(Some(still.values))
}

enum Header {
    Put(PutBuilder),
    Check(aws_sdk_dynamodb::types::builders::ConditionCheckBuilder),
}

/// Which condition did not hold, if one did not: of row, header and contact, in this order.
fn refused(reasons: &[CancellationReason]) -> Result<Option<Claim>, LedgerError> {
    let item_in_the_way = |index: usize| {
        let reason: &CancellationReason = reasons.get(index)?;
        (reason.code() == Some("ConditionalCheckFailed")).then(|| reason.item().filter(|item| !item.is_empty()))
    };
    if let Some(item) = item_in_the_way(1) {
        let header = item.map(header::from_item).transpose()?;
        return Ok(Some(Claim::HeaderChanged(header.map(Box::new))));
    }
    if let Some(item) = item_in_the_way(0) {
        let row = item.map(from_item).transpose()?;
        return Ok(Some(Claim::RowChanged(row.map(Box::new))));
    }
    Ok(item_in_the_way(2).map(|_| Claim::OptedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_to_be_left_alone_is_found_under_the_hash_that_the_operations_page_computes() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        // printf '%s' 'story:+972545550199' | sha256sum | cut -c1-32
        assert_eq!(contact_subject("story", &phone), "contact:67e3e2bfdaa616820e15921795d48481");
        assert_ne!(contact_subject("other", &phone), contact_subject("story", &phone));
    }
}
