//! Claiming what somebody may not want: in one transaction with what it depends on and the wish of whoever it is for.
//!
//! A reminder is true only while its appointment's header says so; a greeting is the first one only while nobody has written
//! down another; both are welcome only while their reader has not asked to be left alone. All of that is checked by the very
//! write that claims it: there is no moment in between in which a move or a second greeting could be overlooked, and no
//! further read.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue as Value, CancellationReason, ConditionCheck, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, builders::PutBuilder,
    },
};

use super::{
    header, heard,
    item::from_item,
    row::Row,
    store::{Ledger, LedgerError, Still},
};
use crate::{
    appointment::{Appointment, HEADER_STAGE},
    contact::Phone,
    digest::sha256_hex,
    greeting::Heard,
};

/// What came of a claim that depends on `H`: an [`Appointment`] for a reminder, what was [`Heard`] for a greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim<H> {
    /// It is ours.
    Yes,
    /// Its reader has asked not to be written to.
    OptedOut,
    /// What it depends on is something else by now; nothing if it is gone.
    HeaderChanged(Option<Box<H>>),
    /// The row is another's by now; nothing if it is gone.
    RowChanged(Option<Box<Row>>),
}

/// Which condition of a transaction did not hold, with the item in the way if there is one.
enum Refused {
    Row(Option<Item>),
    Header(Option<Item>),
    Contact,
}

type Item = HashMap<String, Value>;

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
    ) -> Result<Claim<Appointment>, LedgerError> {
        let put = self.put(self.item(row)).condition_expression(NEW);
        let head = still(self.put(self.header_item(after)), Still::version(before.version));
        reminder(&self.transact(put, Some(Header::Put(head)), contact).await?)
    }

    /// Claims a reminder's row again: if it is still `before`, the header still is of the generation that it was made for,
    /// and its reader may be written to.
    pub async fn claim_reminder(
        &self,
        before: &Row,
        after: &Row,
        contact: &str,
    ) -> Result<Claim<Appointment>, LedgerError> {
        let put = still(self.put(self.item(after)), Still::row(before));
        let generation = after.generation.unwrap_or_default();
        let head = self
            .check(after.key.subject(), "generation = :generation")
            .expression_attribute_values(":generation", Value::N(generation.to_string()));
        reminder(&self.transact(put, Some(Header::Check(head)), contact).await?)
    }

    /// Opens a greeting's row, and writes beside it what its reader has heard with it: if they have heard what they had
    /// `before`, no row of this key exists, and they (`contact`, see [`contact_subject`]) may be written to.
    pub async fn open_greeting(
        &self,
        row: &Row,
        before: &Heard,
        after: &Heard,
        contact: &str,
    ) -> Result<Claim<Heard>, LedgerError> {
        let put = self.put(self.item(row)).condition_expression(NEW);
        let head = self.put(heard::to_item(contact, after, row.created_at));
        let head = match before.version {
            0 => head.condition_expression(NEW),
            version => still(head, Still::version(version)),
        };
        let refused = self.transact(put, Some(Header::Put(head)), contact).await?;
        // A lead that is in the ledger already has written down its greeting, too: what became of it is in its row.
        if let Some(Some(row)) =
            refused.iter().find_map(|refused| if let Refused::Row(row) = refused { Some(row) } else { None })
        {
            return Ok(Claim::RowChanged(Some(Box::new(from_item(row)?))));
        }
        Ok(match refused.first() {
            None => Claim::Yes,
            Some(Refused::Header(item)) => {
                Claim::HeaderChanged(item.as_ref().map(heard::from_item).transpose()?.map(Box::new))
            }
            Some(Refused::Row(_)) => Claim::RowChanged(None),
            Some(Refused::Contact) => Claim::OptedOut,
        })
    }

    /// Claims a greeting's row again: if it is still `before`, and its reader may be written to.
    pub async fn claim_greeting(&self, before: &Row, after: &Row, contact: &str) -> Result<Claim<Heard>, LedgerError> {
        let put = still(self.put(self.item(after)), Still::row(before));
        Ok(match self.transact(put, None, contact).await?.first() {
            None => Claim::Yes,
            Some(Refused::Row(item)) => Claim::RowChanged(item.as_ref().map(from_item).transpose()?.map(Box::new)),
            Some(Refused::Header(_) | Refused::Contact) => Claim::OptedOut,
        })
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

    /// Writes a row, and what it depends on, unless a condition does not hold: then those that don't, the header's first.
    async fn transact(
        &self,
        row: PutBuilder,
        head: Option<Header>,
        contact: &str,
    ) -> Result<Vec<Refused>, LedgerError> {
        let incomplete =
            |error| LedgerError::Claim(Box::new(aws_sdk_dynamodb::error::SdkError::construction_failure(error)));
        let head = match head {
            Some(Header::Put(put)) => Some(TransactWriteItem::builder().put(put.build().map_err(incomplete)?).build()),
            Some(Header::Check(check)) => {
                Some(TransactWriteItem::builder().condition_check(check.build().map_err(incomplete)?).build())
            }
            None => None,
        };
        let row = TransactWriteItem::builder().put(row.build().map_err(incomplete)?).build();
        let contact = self.check(contact, "attribute_not_exists(opted_out_at)").build().map_err(incomplete)?;
        let contact = TransactWriteItem::builder().condition_check(contact).build();
        let with_header = head.is_some();
        let items: Vec<TransactWriteItem> = [row, contact].into_iter().chain(head).collect();
        for attempt in 0..TRIES {
            // The SDK gives each call a token of its own and repeats it with a lost answer's call, so our own write never
            // stands in our way.
            let call = self.db.transact_write_items().set_transact_items(Some(items.clone()));
            let Err(error) = call.send().await else { return Ok(Vec::new()) };
            let reasons = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    cancelled.cancellation_reasons()
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => &[],
                _ => return Err(LedgerError::Claim(Box::new(error))),
            };
            let refused = refused(reasons, with_header);
            if !refused.is_empty() {
                return Ok(refused);
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

/// The condition that nothing stands there yet.
const NEW: &str = "attribute_not_exists(subject)";

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

/// Which conditions did not hold: of header, row and contact. The transaction has them as row, contact and header.
fn refused(reasons: &[CancellationReason], with_header: bool) -> Vec<Refused> {
    let in_the_way = |index: usize| {
        let reason: &CancellationReason = reasons.get(index)?;
        let item = || reason.item().filter(|item| !item.is_empty()).cloned();
        (reason.code() == Some("ConditionalCheckFailed")).then(item)
    };
    let header = if with_header { in_the_way(2).map(Refused::Header) } else { None };
    let row = in_the_way(0).map(Refused::Row);
    let contact = in_the_way(1).map(|_| Refused::Contact);
    header.into_iter().chain(row).chain(contact).collect()
}

/// What came of a reminder's claim.
fn reminder(refused: &[Refused]) -> Result<Claim<Appointment>, LedgerError> {
    Ok(match refused.first() {
        None => Claim::Yes,
        Some(Refused::Header(item)) => {
            Claim::HeaderChanged(item.as_ref().map(header::from_item).transpose()?.map(Box::new))
        }
        Some(Refused::Row(item)) => Claim::RowChanged(item.as_ref().map(from_item).transpose()?.map(Box::new)),
        Some(Refused::Contact) => Claim::OptedOut,
    })
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
