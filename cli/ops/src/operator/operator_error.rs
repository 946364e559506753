//! Why a command of an operator was not carried out.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{get_item::GetItemError, query::QueryError},
};
use aws_sdk_sqs::operation::{
    delete_message_batch::DeleteMessageBatchError, get_queue_url::GetQueueUrlError,
    receive_message::ReceiveMessageError,
};
use tellonce_core::{feed::FeedStoreError, inbox::InboxError, ledger::ResendRefused, line::LineStateError};

use super::forget_receipt::ForgetReceipt;
use crate::{
    calls::CallError, client_stack::StackError, client_tables::OpsError, operations::OperationsError, sentences::count,
};

/// A command was not carried out, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The stack has no tables that can be found.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The trail of operations failed.
    #[error(transparent)]
    Operations(#[from] OperationsError),
    /// An erasure failed after it had erased something, or could not be recorded.
    #[error("the erasure was not finished or not recorded, after {}; repeat the command", count(.receipt.items(), "item"))]
    ForgetEndedEarly {
        /// What was erased until then.
        receipt: Box<ForgetReceipt>,
        /// Why it ended.
        #[source]
        source: Box<OperatorError>,
    },
    /// The configuration has no such name.
    #[error("`{name}` is not a {what} of this client; known are: {known}")]
    UnknownName {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that are configured.
        known: String,
    },
    /// A feed that needs no decision.
    #[error("the feed `{0}` is not suspect and no appointment of it waits, so there is nothing to accept")]
    NothingToAccept(String),
    /// What is not in the list of what needs a person.
    #[error("`{0}` is not a message or a delivery that needs a person; `tellonce needs` lists them")]
    NeedsNobody(String),
    /// A message that must not be sent again.
    #[error("the message {key} is not sent again: {refused}")]
    NotResent {
        /// Its key.
        key: String,
        /// Why.
        refused: ResendRefused,
    },
    /// The tables could not be read or written.
    #[error(transparent)]
    Tables(#[from] OpsError),
    /// A replay would concern everything.
    #[error("a replay needs a delivery, an outcome, or a time from which on")]
    NoLimit,
    /// The times are in the wrong order.
    #[error("the time from which on deliveries are replayed must be before the time until which")]
    EmptyTime,
    /// The inbox does not have the delivery.
    #[error("no inbox has the delivery `{0}`; its id looks like `shop#b54557e4`: the sender, `#`, and the sender's id")]
    UnknownDelivery(String),
    /// The delivery changed after the plan was made.
    #[error("the delivery `{0}` changed meanwhile and was not replayed; look at it again")]
    ChangedMeanwhile(String),
    /// The line's row failed.
    #[error(transparent)]
    Line(#[from] LineStateError),
    /// The feed's row failed.
    #[error(transparent)]
    Feed(#[from] FeedStoreError),
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// An item could not be read.
    #[error("an item could not be read")]
    Read(#[source] Box<SdkError<GetItemError>>),
    /// What waits could not be counted.
    #[error("what waits could not be counted")]
    Count(#[from] Box<SdkError<QueryError>>),
    /// The queue was not found.
    #[error("the queue of dead letters was not found")]
    FindQueue(#[source] Box<SdkError<GetQueueUrlError>>),
    /// The queue could not be read.
    #[error("the queue of dead letters could not be read")]
    ReadQueue(#[source] Box<SdkError<ReceiveMessageError>>),
    /// The messages could not be deleted.
    #[error("the dead letters could not be deleted from the queue")]
    DeleteLetters(#[source] Box<SdkError<DeleteMessageBatchError>>),
}
