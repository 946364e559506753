//! The queue of dead letters, as SQS shows it: a message is a pointer to a batch of a stream.
//!
//! A message that was received is hidden for the visibility timeout, by the system clock.
//!
//! Shapes: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/> and, for a
//! message, <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    ACCOUNT, REGION,
    iam::RequestedAction,
    streams::{FailedBatch, FailureLog},
};

/// The visibility timeout of a queue that sets none.
const USUAL_VISIBILITY_SECONDS: u64 = 30;

/// The actions that an operation needs. A batch needs the permission of its single operation.
pub(super) fn required_actions(operation: &str, request: &Value) -> Vec<RequestedAction> {
    let queue = queue_name(request);
    let operation = operation.strip_suffix("Batch").unwrap_or(operation);
    vec![RequestedAction::new(&format!("sqs:{operation}"), format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"))]
}

pub(super) fn answer(failures: &FailureLog, operation: &str, request: &Value) -> (StatusCode, Value) {
    let queue = queue_name(request);
    let reply = match operation {
        "GetQueueUrl" => json!({"QueueUrl": format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue}")}),
        "ReceiveMessage" => {
            let most = request["MaxNumberOfMessages"].as_u64().unwrap_or(1);
            let hidden = request["VisibilityTimeout"].as_u64().unwrap_or(USUAL_VISIBILITY_SECONDS);
            let batches = failures.receive(queue, usize::try_from(most).unwrap_or(1), Duration::from_secs(hidden));
            let messages: Vec<Value> = batches.iter().map(describe_message).collect();
            json!({"Messages": messages})
        }
        "ChangeMessageVisibilityBatch" => answer_batch(request, |entry, id| {
            let hidden = entry["VisibilityTimeout"].as_u64().unwrap_or(USUAL_VISIBILITY_SECONDS);
            failures.hide(id, Duration::from_secs(hidden));
            Ok(())
        }),
        "DeleteMessageBatch" => answer_batch(request, |_, id| failures.delete(id)),
        other => {
            let message = format!("the local stack has no SQS operation {other}");
            return (StatusCode::BAD_REQUEST, json!({"__type": "com.amazonaws.sqs#InvalidAction", "message": message}));
        }
    };
    (StatusCode::OK, reply)
}

/// The name of the queue: the last part of its address.
pub(super) fn queue_name(request: &Value) -> &str {
    let address = request["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next());
    address.or_else(|| request["QueueName"].as_str()).unwrap_or_default()
}

fn answer_batch(request: &Value, apply: impl Fn(&Value, &str) -> anyhow::Result<()>) -> Value {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for entry in request["Entries"].as_array().into_iter().flatten() {
        match apply(entry, entry["ReceiptHandle"].as_str().unwrap_or_default()) {
            Ok(()) => done.push(json!({"Id": entry["Id"]})),
            Err(error) => failed.push(json!({
                "Id": entry["Id"], "SenderFault": false, "Code": "InternalError", "Message": error.to_string(),
            })),
        }
    }
    json!({"Successful": done, "Failed": failed})
}

/// When the delivery of a record was stored or replayed, to the second. The engine dates its
/// records by the system clock, and the functions by the stack's.
fn find_arrival(record: &Value) -> Option<Timestamp> {
    let image = &record["dynamodb"]["NewImage"];
    let millis = |name: &str| image[name]["N"].as_str()?.parse::<i64>().ok();
    Timestamp::from_second(millis("replayed_at").or_else(|| millis("received_at"))? / 1000).ok()
}

/// A message. Its receipt handle is its id here.
fn describe_message(batch: &FailedBatch) -> Value {
    let arrivals: Vec<Timestamp> = batch.records.iter().filter_map(find_arrival).collect();
    let time = |at: Option<&Timestamp>| at.map(Timestamp::to_string);
    let number = |record: Option<&Value>| record.map_or(Value::Null, |it| it["dynamodb"]["SequenceNumber"].clone());
    let given_up = Timestamp::from_millisecond(batch.at_ms).ok().map(|at| at.to_string());
    let body = json!({
        "requestContext": {
            "requestId": batch.id,
            "functionArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", batch.function),
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": batch.attempts,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": given_up,
        "DDBStreamBatchInfo": {
            "shardId": "shardId-local",
            "startSequenceNumber": number(batch.records.first()),
            "endSequenceNumber": number(batch.records.last()),
            "approximateArrivalOfFirstRecord": time(arrivals.first()),
            "approximateArrivalOfLastRecord": time(arrivals.last()),
            "batchSize": batch.records.len(),
            "streamArn": batch.mapping,
        },
    });
    json!({"MessageId": batch.id, "ReceiptHandle": batch.id, "Body": body.to_string()})
}
