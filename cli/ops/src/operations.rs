//! The operations of a stack: who gave which command, when and why, and what came of it. One row of
//! the ledger each: `operations` / `{time}-{random}`.
//!
//! A row is written before the command has an effect, and gets its outcome afterwards. So a command
//! that was interrupted shows as one without an outcome. The rows hold no personal data, except the
//! name of the operator. They stay for 400 days.

use std::{error::Error, fmt::Display};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{put_item::PutItemError, query::QueryError, update_item::UpdateItemError},
};
use jiff::Timestamp;
use rand::random;
use serde::Serialize;
use tellonce_core::{
    attributes::{ItemReader, ItemWriter, text_value, time_value},
    fault::error_chain,
};

use crate::{client_stack::ClientStack, client_tables::ClientTables};

const SUBJECT: &str = "operations";
const RETENTION_DAYS: i64 = 400;

/// A command of an operator, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// When it began.
    pub at: Timestamp,
    /// The ARN of the operator.
    pub who: String,
    /// The command in words: `hold the line main`.
    pub command: String,
    /// The reason that the operator gave.
    pub because: Option<String>,
    /// What came of it, in words. `None` if it still runs or was interrupted.
    pub outcome: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// The operations could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OperationsError {
    /// The command could not be recorded, so it had no effect.
    #[error("the command could not be recorded, and nothing was done")]
    Begin(#[source] Box<SdkError<PutItemError>>),
    /// The outcome could not be recorded.
    #[error("the outcome of the command could not be recorded: {outcome}")]
    End {
        /// What came of the command.
        outcome: String,
        /// Why.
        #[source]
        source: Box<SdkError<UpdateItemError>>,
    },
    /// The list could not be read.
    #[error("the operations could not be read")]
    List(#[source] Box<SdkError<QueryError>>),
}

/// A row without an outcome yet.
#[derive(Debug)]
struct OpenOperation {
    stage: String,
}

/// The operations in a ledger.
#[derive(Debug, Clone)]
pub(crate) struct OperationLog {
    db: Client,
    table: String,
}

impl ClientTables {
    /// The operations in the ledger.
    pub(crate) fn operation_log(&self) -> OperationLog {
        OperationLog { db: self.db.clone(), table: self.names.ledger.clone() }
    }
}

impl OperationLog {
    /// Runs a command and records it: before its effect, and with the outcome after it.
    pub(crate) async fn record<T: Display, E: Error + From<OperationsError>>(
        &self,
        stack: &ClientStack,
        who: &str,
        command: &str,
        because: Option<&str>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let operation = self.begin(who, command, because, stack.now()).await?;
        let done = work.await;
        let outcome = match &done {
            Ok(outcome) => outcome.to_string(),
            Err(error) => format!("failed: {}", error_chain(error)),
        };
        let recorded = self.end(operation, &outcome, stack.now()).await;
        let done = done?;
        recorded?;
        Ok(done)
    }

    /// Records that a command begins.
    async fn begin(
        &self,
        who: &str,
        command: &str,
        because: Option<&str>,
        now: Timestamp,
    ) -> Result<OpenOperation, OperationsError> {
        // The stages are in the order of time. Two commands of one moment have two rows.
        let stage = format!("{now:.3}-{:08x}", random::<u32>());
        let mut item = ItemWriter::with_capacity(7);
        item.text("subject", SUBJECT);
        item.text("stage", stage.as_str());
        item.time("at", now);
        item.text("who", who);
        item.text("command", command);
        item.optional_text("because", because);
        item.number("ttl", now.as_second() + RETENTION_DAYS * 86_400);
        let put = self.db.put_item().table_name(&self.table).set_item(Some(item.into_item()));
        put.send().await.map_err(|error| OperationsError::Begin(Box::new(error)))?;
        Ok(OpenOperation { stage })
    }

    /// Records what came of a command.
    async fn end(&self, operation: OpenOperation, outcome: &str, now: Timestamp) -> Result<(), OperationsError> {
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .key("subject", text_value(SUBJECT))
            .key("stage", text_value(operation.stage))
            .update_expression("SET outcome = :outcome, ended_at = :now")
            .expression_attribute_values(":outcome", text_value(outcome))
            .expression_attribute_values(":now", time_value(now));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(OperationsError::End { outcome: outcome.to_owned(), source: Box::new(error) }),
        }
    }

    /// The newest operations, the newest first.
    pub(crate) async fn list_newest(&self, most: u16) -> Result<Vec<Operation>, OperationsError> {
        let query = self
            .db
            .query()
            .table_name(&self.table)
            .key_condition_expression("subject = :subject")
            .expression_attribute_values(":subject", text_value(SUBJECT))
            .scan_index_forward(false)
            .limit(i32::from(most));
        let page = query.send().await.map_err(|error| OperationsError::List(Box::new(error)))?;
        let read = |item| {
            let item = ItemReader(item);
            Some(Operation {
                at: item.time("at")?,
                who: item.owned("who")?,
                command: item.owned("command")?,
                because: item.owned("because"),
                outcome: item.owned("outcome"),
                ended_at: item.time("ended_at"),
            })
        };
        Ok(page.items().iter().filter_map(read).collect())
    }
}
