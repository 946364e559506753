//! Batches of a table's stream: one record after the other, and only the failed ones come again.
//!
//! Lambda hands over some records of a shard in order. What we answer names the records that failed; Lambda then
//! sends everything from the first of them again, so handling a record twice must be harmless (it is: the ledger's
//! claims see to that). A record that can never be handled is recorded by its function and counted as done, so that
//! it never blocks the ones behind it.
//! Source: docs.aws.amazon.com, "Configuring partial batch response with DynamoDB and Lambda".

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What Lambda hands over.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    /// The records, in order.
    #[serde(rename = "Records")]
    pub records: Vec<Record>,
}

/// One change of the table.
#[derive(Debug, Deserialize)]
pub struct Record {
    /// The change.
    pub dynamodb: Change,
}

/// One change of the table.
#[derive(Debug, Deserialize)]
pub struct Change {
    /// The record's place in the shard, by which a failure is named.
    #[serde(rename = "SequenceNumber")]
    pub sequence_number: String,
    /// The item after the change, in `DynamoDB`'s JSON; absent for deletions.
    #[serde(rename = "NewImage")]
    pub new_image: Option<Box<RawValue>>,
}

/// Which records shall come again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// They, by sequence number.
    #[serde(rename = "batchItemFailures")]
    pub failed: Vec<Failure>,
}

/// A record that shall come again.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its sequence number.
    #[serde(rename = "itemIdentifier")]
    pub sequence_number: String,
}

impl Failures {
    /// Asks for a record again.
    pub fn again(&mut self, record: Change) {
        self.failed.push(Failure { sequence_number: record.sequence_number });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_named_as_lambda_wants_them() {
        let mut failures = Failures::default();
        assert_eq!(serde_json::to_string(&failures).unwrap(), r#"{"batchItemFailures":[]}"#);
        failures.again(Change { sequence_number: "42".into(), new_image: None });
        assert_eq!(serde_json::to_string(&failures).unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":"42"}]}"#);
    }
}
