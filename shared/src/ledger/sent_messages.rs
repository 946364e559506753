//! Messages to one customer, and messages by the provider's id.

use aws_sdk_dynamodb::types::AttributeValue as Value;
use jiff::Timestamp;

use super::{IdempotencyKey, Ledger, LedgerError, LedgerRow};
use crate::{attributes::ItemReader, clock::UnixMillis, contact::Phone};

impl Ledger {
    /// Finds messages to a customer that were created since then, the newest first, at most
    /// `limit`.
    ///
    /// The index lags the table by moments.
    pub async fn find_sent_to(
        &self,
        phone: &Phone,
        since: Timestamp,
        limit: i32,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        let query = self
            .db
            .query()
            .table_name(&self.table)
            .index_name("contact")
            .key_condition_expression("contact = :contact AND created_at >= :since")
            .expression_attribute_values(":contact", Value::S(self.contact_subject(phone)))
            .expression_attribute_values(":since", Value::N(since.unix_millis().to_string()))
            .scan_index_forward(false)
            .limit(limit);
        self.read_query_rows(query).await
    }

    /// Finds messages to which the provider gave this id.
    pub async fn find_by_provider_id(&self, id: &str) -> Result<Vec<LedgerRow>, LedgerError> {
        let query = self
            .db
            .query()
            .table_name(&self.table)
            .index_name("provider")
            .key_condition_expression("provider_id = :id")
            .expression_attribute_values(":id", Value::S(id.to_owned()))
            .limit(2);
        self.read_query_rows(query).await
    }

    /// Reads the rows that one page of an index names.
    async fn read_query_rows(
        &self,
        query: aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        let page = query.send().await.map_err(|error| LedgerError::Query(Box::new(error)))?;
        let mut rows = Vec::new();
        for item in page.items() {
            let item = ItemReader(item);
            let (Some(subject), Some(stage)) = (item.text("subject"), item.text("stage")) else { continue };
            rows.extend(self.read_row(&IdempotencyKey::from_parts(subject, stage)).await?);
        }
        Ok(rows)
    }
}
