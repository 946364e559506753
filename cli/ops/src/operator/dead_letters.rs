//! The queue of dead letters: what it holds, and the replay of it.
//!
//! A message of the queue names a function and a time, and no delivery. So all deliveries of that
//! time without an outcome are replayed. Those that led to a message have none either, and a replay
//! of them sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::replay::ReplayCommand;

use super::{access::StackAccess, operator_error::OperatorError, replay::walk};
use crate::inbox_kind::InboxKind;

/// How long a listed message is hidden at most, in seconds.
const LIST_HIDDEN_SECONDS: i32 = 60;
/// How long a message is hidden while its deliveries are replayed, in seconds.
const REPLAY_HIDDEN_SECONDS: i32 = 900;
/// The most messages of one request.
const BATCH: usize = 10;
/// After this many messages the list ends.
const MAX_LISTED: usize = 1000;
/// What is replayed before and after the time that a message names.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// A batch that a function gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The id of its message in the queue.
    pub id: String,
    /// The function: `order-notifier`.
    pub function: String,
    /// When the first of its deliveries came in, to the second.
    pub first: Option<Timestamp>,
    /// When the last of them came in.
    pub last: Option<Timestamp>,
    /// How many changes of deliveries the batch holds.
    pub records: usize,
    /// When it was given up.
    pub given_up_at: Option<Timestamp>,
    /// How often the function was tried.
    pub tries: u32,
    /// Why it was given up, in the word of Lambda: `RetryAttemptsExhausted`.
    pub reason: String,
}

/// What a command will do to the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLettersPlan {
    /// What the queue holds.
    pub letters: Vec<DeadLetter>,
    /// The times whose deliveries are replayed. Empty if the messages are only deleted.
    pub spans: Vec<ReplaySpan>,
    /// Whether deliveries are replayed before the messages are deleted.
    pub replays: bool,
}

/// A time of an inbox that is replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplaySpan {
    /// The function.
    pub function: &'static str,
    /// From this time on.
    pub from: Timestamp,
    /// Before this time.
    pub to: Timestamp,
    /// The messages that it is for.
    pub letters: Vec<String>,
    /// How many changes of deliveries they hold.
    pub records: usize,
    /// How many deliveries of that time have no outcome.
    pub matches: usize,
}

/// What a replay of dead letters did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DeadLettersResult {
    /// Deliveries that were replayed.
    pub replayed: usize,
    /// Messages that were deleted.
    pub deleted: usize,
    /// Messages that stay: fewer deliveries were found than they hold.
    pub kept: usize,
}

/// A message, and the handle to delete it.
struct ReceivedLetter {
    letter: DeadLetter,
    receipt: String,
}

/// Lists what the queue holds. Hides the messages from others for moments.
pub(super) async fn list(access: StackAccess<'_>) -> Result<Vec<DeadLetter>, OperatorError> {
    let queue = find_queue(access).await?;
    let received = receive_all(access, &queue, LIST_HIDDEN_SECONDS).await?;
    show_again(access, &queue, received.iter()).await;
    Ok(received.into_iter().map(|received| received.letter).collect())
}

pub(super) async fn plan(access: StackAccess<'_>, replays: bool) -> Result<DeadLettersPlan, OperatorError> {
    let letters = list(access).await?;
    let mut spans = if replays { find_spans(&letters) } else { Vec::new() };
    for span in &mut spans {
        if let Some(kind) = InboxKind::of_function(span.function) {
            span.matches = walk(access, kind, span.command(true)).await?.matches();
        }
    }
    Ok(DeadLettersPlan { letters, spans, replays })
}

/// Replays what the plan says, and deletes the messages of the plan.
pub(super) async fn run(access: StackAccess<'_>, plan: &DeadLettersPlan) -> Result<DeadLettersResult, OperatorError> {
    let queue = find_queue(access).await?;
    let received = receive_all(access, &queue, REPLAY_HIDDEN_SECONDS).await?;
    let planned: BTreeSet<&str> = plan.letters.iter().map(|letter| letter.id.as_str()).collect();
    let (planned, others): (Vec<_>, Vec<_>) =
        received.into_iter().partition(|received| planned.contains(received.letter.id.as_str()));
    show_again(access, &queue, others.iter()).await;
    let mut result = DeadLettersResult::default();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for span in &plan.spans {
        let Some(kind) = InboxKind::of_function(span.function) else { continue };
        let replayed = walk(access, kind, span.command(false)).await?.replayed;
        result.replayed += replayed;
        if replayed >= span.records {
            done.extend(span.letters.iter().map(String::as_str));
        }
    }
    let (delete, keep): (Vec<_>, Vec<_>) =
        planned.into_iter().partition(|received| !plan.replays || done.contains(received.letter.id.as_str()));
    show_again(access, &queue, keep.iter()).await;
    result.deleted = delete_all(access, &queue, &delete).await?;
    result.kept = keep.len() + delete.len() - result.deleted;
    Ok(result)
}

impl ReplaySpan {
    fn command(&self, dry_run: bool) -> ReplayCommand {
        ReplayCommand {
            from: Some(self.from),
            to: Some(self.to),
            outcome: Some("none".to_owned()),
            dry_run,
            ..ReplayCommand::default()
        }
    }
}

/// The times to replay, one for all messages of a function whose times meet.
fn find_spans(letters: &[DeadLetter]) -> Vec<ReplaySpan> {
    let mut by_function: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
    for letter in letters.iter().filter(|letter| letter.first.is_some()) {
        by_function.entry(letter.function.as_str()).or_default().push(letter);
    }
    let mut spans: Vec<ReplaySpan> = Vec::new();
    for (function, mut letters) in by_function {
        let Some(kind) = InboxKind::of_function(function) else { continue };
        letters.sort_by_key(|letter| letter.first);
        for letter in letters {
            let Some(first) = letter.first else { continue };
            let (from, to) = (first - MARGIN, letter.last.unwrap_or(first) + MARGIN);
            match spans.last_mut().filter(|span| span.function == kind.function() && span.to >= from) {
                Some(span) => {
                    span.to = span.to.max(to);
                    span.letters.push(letter.id.clone());
                    span.records += letter.records;
                }
                None => spans.push(ReplaySpan {
                    function: kind.function(),
                    from,
                    to,
                    letters: vec![letter.id.clone()],
                    records: letter.records,
                    matches: 0,
                }),
            }
        }
    }
    spans
}

async fn find_queue(access: StackAccess<'_>) -> Result<String, OperatorError> {
    let name = format!("tellonce-{}-failures", access.stack.client());
    let found = access.stack.sqs.get_queue_url().queue_name(name).send().await;
    let found = found.map_err(|error| OperatorError::FindQueue(Box::new(error)))?;
    Ok(found.queue_url.unwrap_or_default())
}

/// Receives until the queue shows no more messages, and hides what it received for so long.
async fn receive_all(
    access: StackAccess<'_>,
    queue: &str,
    hidden_seconds: i32,
) -> Result<Vec<ReceivedLetter>, OperatorError> {
    let mut received: Vec<ReceivedLetter> = Vec::new();
    while received.len() < MAX_LISTED {
        // A wait asks all servers of the queue.
        let receive = access.stack.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
        let page = receive.visibility_timeout(hidden_seconds).wait_time_seconds(1).send().await;
        let page = page.map_err(|error| OperatorError::ReadQueue(Box::new(error)))?;
        if page.messages().is_empty() {
            break;
        }
        received.extend(page.messages().iter().map(|message| parse_message(access, message)));
    }
    received.sort_by(|a, b| (a.letter.first, &a.letter.id).cmp(&(b.letter.first, &b.letter.id)));
    received.dedup_by(|a, b| a.letter.id == b.letter.id);
    Ok(received)
}

/// Shows messages again. If that fails, they appear by themselves when their time is over.
async fn show_again(access: StackAccess<'_>, queue: &str, letters: impl Iterator<Item = &ReceivedLetter>) {
    let receipts: Vec<&str> = letters.map(|received| received.receipt.as_str()).collect();
    for some in receipts.chunks(BATCH) {
        let entries = some.iter().enumerate().filter_map(|(number, receipt)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(*receipt).visibility_timeout(0).build().ok()
        });
        let change = access.stack.sqs.change_message_visibility_batch().queue_url(queue);
        let change = change.set_entries(Some(entries.collect()));
        change.send().await.map(drop).unwrap_or_default();
    }
}

/// Returns how many messages were deleted.
async fn delete_all(access: StackAccess<'_>, queue: &str, letters: &[ReceivedLetter]) -> Result<usize, OperatorError> {
    let mut deleted = 0;
    for some in letters.chunks(BATCH) {
        let entries = some.iter().enumerate().filter_map(|(number, received)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(received.receipt.as_str()).build().ok()
        });
        let delete = access.stack.sqs.delete_message_batch().queue_url(queue);
        let answer = delete.set_entries(Some(entries.collect())).send().await;
        deleted += answer.map_err(|error| OperatorError::DeleteLetters(Box::new(error)))?.successful.len();
    }
    Ok(deleted)
}

/// The body of a message, as Lambda writes it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LetterBody {
    request_context: RequestContext,
    timestamp: Option<Timestamp>,
    #[serde(rename = "DDBStreamBatchInfo")]
    batch: BatchInfo,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestContext {
    function_arn: String,
    condition: String,
    approximate_invoke_count: u32,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BatchInfo {
    approximate_arrival_of_first_record: Option<Timestamp>,
    approximate_arrival_of_last_record: Option<Timestamp>,
    batch_size: usize,
}

fn parse_message(access: StackAccess<'_>, message: &Message) -> ReceivedLetter {
    let body = message.body().unwrap_or_default();
    let LetterBody { request_context, timestamp, batch } = serde_json::from_str(body).unwrap_or_default();
    let name = request_context.function_arn.split(":function:").nth(1).unwrap_or("an unknown function");
    let name = name.split(':').next().unwrap_or(name);
    let prefix = access.stack.function_name("");
    let letter = DeadLetter {
        id: message.message_id().unwrap_or_default().to_owned(),
        function: name.strip_prefix(prefix.as_str()).unwrap_or(name).to_owned(),
        first: batch.approximate_arrival_of_first_record,
        last: batch.approximate_arrival_of_last_record,
        records: batch.batch_size,
        given_up_at: timestamp,
        tries: request_context.approximate_invoke_count,
        reason: request_context.condition,
    };
    ReceivedLetter { letter, receipt: message.receipt_handle().unwrap_or_default().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: &str, function: &str, first: &str, last: &str) -> DeadLetter {
        DeadLetter {
            id: id.to_owned(),
            function: function.to_owned(),
            first: Some(first.parse().unwrap()),
            last: Some(last.parse().unwrap()),
            records: 1,
            given_up_at: None,
            tries: 11,
            reason: "RetryAttemptsExhausted".to_owned(),
        }
    }

    #[test]
    fn messages_of_a_function_whose_times_meet_are_replayed_together() {
        let letters = [
            letter("b", "order-notifier", "2026-11-29T10:03:00Z", "2026-11-29T10:04:00Z"),
            letter("a", "order-notifier", "2026-11-29T10:00:00Z", "2026-11-29T10:01:30Z"),
            letter("c", "order-notifier", "2026-11-29T12:00:00Z", "2026-11-29T12:00:00Z"),
            letter("d", "lead-first-touch", "2026-11-29T10:01:00Z", "2026-11-29T10:01:00Z"),
            letter("e", "another", "2026-11-29T10:01:00Z", "2026-11-29T10:01:00Z"),
            DeadLetter { first: None, ..letter("f", "order-notifier", "2026-11-29T10:01:00Z", "2026-11-29T10:01:00Z") },
        ];
        let spans = find_spans(&letters);
        let shown: Vec<String> = spans
            .iter()
            .map(|span| {
                format!("{} {}..{} {} {}", span.function, span.from, span.to, span.letters.join("+"), span.records)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "lead-first-touch 2026-11-29T10:00:00Z..2026-11-29T10:02:00Z d 1",
                "order-notifier 2026-11-29T09:59:00Z..2026-11-29T10:05:00Z a+b 2",
                "order-notifier 2026-11-29T11:59:00Z..2026-11-29T12:01:00Z c 1",
            ]
        );
    }

    #[test]
    fn a_message_is_read_as_lambda_writes_it() {
        // The example of the Lambda Developer Guide, "Retaining discarded batches".
        let body = r#"{"requestContext":{"requestId":"316aa6d0","functionArn":
            "arn:aws:lambda:us-east-2:123456789012:function:myfunction","condition":"RetryAttemptsExhausted",
            "approximateInvokeCount":1},"responseContext":{"statusCode":200,"executedVersion":"$LATEST",
            "functionError":"Unhandled"},"version":"1.0","timestamp":"2019-11-14T00:13:49.717Z","DDBStreamBatchInfo":
            {"shardId":"shardId-00000001573689847184-864758bb","startSequenceNumber":"800000000003126276362",
            "endSequenceNumber":"800000000003126276362","approximateArrivalOfFirstRecord":"2019-11-14T00:13:19Z",
            "approximateArrivalOfLastRecord":"2019-11-14T00:13:19Z","batchSize":1,"streamArn":"arn:aws:dynamodb:…"}}"#;
        let LetterBody { request_context, timestamp, batch } = serde_json::from_str(body).unwrap();
        assert_eq!(request_context.condition, "RetryAttemptsExhausted");
        assert_eq!(timestamp.unwrap().to_string(), "2019-11-14T00:13:49.717Z");
        assert_eq!(batch.approximate_arrival_of_first_record.unwrap().to_string(), "2019-11-14T00:13:19Z");
        assert_eq!(batch.batch_size, 1);
    }
}
