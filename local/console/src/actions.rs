//! The actions of the console. Each responds with a sentence: its effect, or what to do instead.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
};
use jiff::{Timestamp, civil::DateTime};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    bookings::{self, BookingAction, BookingSampleContext},
    console_state::{
        ConsoleError, ConsoleResponse, ConsoleState, DeliveryQuery, DeliverySelector, SharedConsole, reply_with_message,
    },
    leads,
    samples::{self, ConsoleSample, DeliveryBatch},
};
use tellonce_core::{inbox::InboxItem, provider::PROVIDER_NAME};
use tellonce_fakes::provider::{HealthPreset, SendFault};
use tellonce_stack::{LocalStack, activity::ActivityEvent};

/// The function that greets leads.
const GREETING_FUNCTION: &str = "lead-first-touch";
/// `Retry-After` of the fault 429, in seconds.
const RETRY_AFTER_S: u64 = 60;

#[derive(Deserialize)]
pub(super) struct SampleRequest {
    case: ConsoleSample,
    #[serde(default)]
    same_order: bool,
}

pub(super) async fn post_sample(State(console): SharedConsole, Json(request): Json<SampleRequest>) -> ConsoleResponse {
    let now = console.stack.clock().now_ms();
    let batch = console.order_samples.build_batch(request.case, &console.sample_targets()?, request.same_order, now);
    let batch = batch.map_err(|error| ConsoleError::bad_request(format!("{error:#}")))?;
    post_and_report(&console, batch).await
}

#[derive(Deserialize)]
pub(super) struct BookingRequest {
    calendar: String,
    action: BookingAction,
    /// `2026-11-24T10:30`, in the client's time zone.
    start: DateTime,
}

/// Books, moves or cancels an appointment, and posts the delivery that the calendar would post.
pub(super) async fn change_booking(
    State(console): SharedConsole,
    Json(request): Json<BookingRequest>,
) -> ConsoleResponse {
    let client = console.client()?;
    let BookingRequest { calendar, action, start } = request;
    let zone = client.own_zone();
    let start = start.to_zoned(zone).map_err(|error| ConsoleError::bad_request(error.to_string()))?.timestamp();
    let now = Timestamp::from_millisecond(console.stack.clock().now_ms())?;
    let secret = |name: &str| console.stack.secrets().current_value(name);
    let context = BookingSampleContext { config: &client, secret: &secret, calendars: console.stack.calendars() };
    let batch = console.booking_samples.apply_action(&context, &calendar, action, start, now);
    let batch = batch.map_err(|error| ConsoleError::bad_request(format!("{error:#}")))?;
    if batch.deliveries.is_empty() {
        console.stack.poll_feeds().await?;
        return reply_with_message(format!(
            "The feed of {calendar} has the event. tellonce reads it at the interval `poll_every`"
        ));
    }
    post_and_report(&console, batch).await
}

#[derive(Deserialize)]
pub(super) struct FeedRequest {
    /// The calendar of the feed. `None`: all feeds that are due.
    calendar: Option<String>,
    /// Accept the next read of the feed, even if it is suspect.
    #[serde(default)]
    accept_next_read: bool,
}

/// Has feeds read: after a change of the file, or to accept a suspect feed.
pub(super) async fn read_feeds(State(console): SharedConsole, Json(request): Json<FeedRequest>) -> ConsoleResponse {
    let client = console.client()?;
    let Some(calendar) = request.calendar else {
        console.stack.poll_feeds().await?;
        return reply_with_message("The feeds that were due were read");
    };
    if request.accept_next_read {
        let update = json!({
            "TableName": console.tables.ledger,
            "Key": {"subject": {"S": format!("feed:{calendar}")}, "stage": {"S": "state"}},
            "UpdateExpression": "SET accept_next_read = :yes",
            "ExpressionAttributeValues": {":yes": {"BOOL": true}},
        });
        console.stack.dynamo().call_operation("UpdateItem", &update)?;
    }
    let secret = |name: &str| console.stack.secrets().current_value(name);
    let context = BookingSampleContext { config: &client, secret: &secret, calendars: console.stack.calendars() };
    let push =
        bookings::build_push(&context, &calendar).map_err(|error| ConsoleError::bad_request(format!("{error:#}")))?;
    let Some(push) = push else {
        console.stack.poll_feeds().await?;
        return reply_with_message(format!("tellonce reads the feed of {calendar} at the interval `poll_every`"));
    };
    let about = format!("the push notification of {calendar}");
    post_and_report(&console, DeliveryBatch { deliveries: vec![push], about, at_once: false }).await
}

#[derive(Deserialize)]
pub(super) struct LeadRequest {
    form: String,
    action: leads::LeadAction,
    phone: String,
}

/// Submits a form, and posts the delivery that its sender would post.
pub(super) async fn submit_lead(State(console): SharedConsole, Json(request): Json<LeadRequest>) -> ConsoleResponse {
    let client = console.client()?;
    let LeadRequest { form, action, phone } = request;
    let now = Timestamp::from_millisecond(console.stack.clock().now_ms())?;
    let secret = |name: &str| console.stack.secrets().current_value(name);
    let context = leads::LeadSampleContext { config: &client, secret: &secret, leads: console.stack.leads() };
    let batch = console.lead_samples.apply_action(&context, &form, action, &phone, now);
    post_and_report(&console, batch.map_err(|error| ConsoleError::bad_request(format!("{error:#}")))?).await
}

#[derive(Deserialize)]
pub(super) struct ReleaseRequest {
    form: String,
    /// Drop the waiting leads without a greeting.
    #[serde(default)]
    drop: bool,
}

/// Releases or drops the waiting leads of a held form.
pub(super) async fn release_leads(
    State(console): SharedConsole,
    Json(request): Json<ReleaseRequest>,
) -> ConsoleResponse {
    let client = console.client()?;
    let ReleaseRequest { form, drop } = request;
    if !client.forms.contains_key(&form) {
        return Err(ConsoleError::bad_request(format!("This client has no form {form}.")));
    }
    let command = if drop { json!({"drop": form}) } else { json!({"release": form}) };
    let done = console.stack.invoke(GREETING_FUNCTION, &command).await?;
    let count = |name: &str| done[name].as_u64().unwrap_or_default();
    let more = if done["more"] == true { ". More leads wait: press the button again" } else { "" };
    reply_with_message(if drop {
        format!("Dropped {} waiting leads; {form} greets new leads again{more}", count("dropped"))
    } else {
        format!("Released {} leads of {form}; each is greeted like a new one{more}", count("released"))
    })
}

async fn post_and_report(console: &ConsoleState, batch: DeliveryBatch) -> ConsoleResponse {
    let responses = samples::post_batch(&console.http, &console.stack.webhook_url(), batch).await;
    if responses.statuses.contains_key(&0) {
        return Err(ConsoleError::bad_request("The gateway did not respond. The terminal shows why."));
    }
    reply_with_message(responses.to_sentence())
}

#[derive(Deserialize)]
pub(super) struct ClockRequest {
    forward_s: Option<u64>,
    /// Move forward to the next due time.
    #[serde(default)]
    to_next: bool,
    #[serde(default)]
    reset: bool,
}

/// Moves the clock forward. The schedules that would have run in between run too.
pub(super) async fn move_clock(State(console): SharedConsole, Json(request): Json<ClockRequest>) -> ConsoleResponse {
    let stack = &console.stack;
    match request {
        ClockRequest { reset: true, .. } => {
            let ahead = stack.return_to_now().await?;
            console.sync_fake_clock()?;
            reply_with_message(match ahead {
                0 => "The clock shows the real time again".to_owned(),
                1 => "The clock shows the real time again. One time was ahead and counts from now".to_owned(),
                _ => format!("The clock shows the real time again. {ahead} times were ahead and count from now"),
            })
        }
        ClockRequest { to_next: true, .. } => {
            let now_ms = stack.clock().now_ms();
            let next_due = console.look_at_tables()?.next_due(now_ms);
            let Some(due) = next_due else {
                return Err(ConsoleError::bad_request("No message and no appointment has a due time."));
            };
            advance_clock(&console, Duration::from_millis(u64::try_from(due - now_ms).unwrap_or_default())).await
        }
        ClockRequest { forward_s: Some(seconds), .. } => advance_clock(&console, Duration::from_secs(seconds)).await,
        ClockRequest { .. } => Err(ConsoleError::bad_request("Choose how far to move the clock.")),
    }
}

/// A span in its two largest units: `1 h`, `2 days 3 h`.
fn describe_span(span: Duration) -> String {
    let minutes = span.as_secs().div_ceil(60);
    let parts = [
        (minutes / 1440, if minutes / 1440 == 1 { "day" } else { "days" }),
        (minutes / 60 % 24, "h"),
        (minutes % 60, "min"),
    ];
    let shown: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).take(2).map(|(count, unit)| format!("{count} {unit}")).collect();
    if shown.is_empty() { "not at all".to_owned() } else { shown.join(" ") }
}

async fn advance_clock(console: &ConsoleState, by: Duration) -> ConsoleResponse {
    console.stack.clock().advance(by)?;
    console.sync_fake_clock()?;
    console
        .stack
        .activity()
        .add(ActivityEvent::Run { text: format!("the clock was moved {} ahead", describe_span(by)) });
    let report = async {
        console.stack.poll_feeds().await?;
        run_schedule(&console.stack).await
    };
    let report = report.await.map_err(|failed| ConsoleError {
        message: format!("The clock was moved, but a schedule failed. {}", failed.message),
        ..failed
    })?;
    reply_with_message(format!("The clock was moved. {report}"))
}

pub(super) async fn run_schedule_now(State(console): SharedConsole, Json(_nothing): Json<Value>) -> ConsoleResponse {
    reply_with_message(run_schedule(&console.stack).await?)
}

async fn run_schedule(stack: &LocalStack) -> Result<String, ConsoleError> {
    let response = stack.tick_messages().await?;
    let counts = response.as_object().map(|fields| {
        let counts = fields.iter().filter(|(_, value)| value.as_i64().is_some_and(|n| n > 0));
        counts.map(|(name, value)| format!("{} {value}", name.replace('_', " "))).collect::<Vec<_>>()
    });
    Ok(match counts {
        Some(counts) if !counts.is_empty() => format!("The schedule ran: {}", counts.join(", ")),
        _ => "The schedule ran".to_owned(),
    })
}

#[derive(Deserialize)]
pub(super) struct LineChange {
    line: String,
    health: Option<HealthPreset>,
    stopped: Option<bool>,
}

pub(super) async fn change_line(State(console): SharedConsole, Json(request): Json<LineChange>) -> ConsoleResponse {
    let client = console.client()?;
    let Some(line) = client.lines.get(&request.line) else {
        return Err(ConsoleError::bad_request(format!("This client has no line {}.", request.line)));
    };
    if let Some(preset) = request.health {
        console.stack.provider().set_health(Some(&line.line_id), preset)?;
        return reply_with_message(if preset == HealthPreset::Good {
            "The line is back. Waiting messages are sent within two minutes, at the line’s rate; “+1 min” moves the clock there"
        } else {
            "The line cannot send. Messages are held until it is back"
        });
    }
    let Some(stopped) = request.stopped else {
        return Err(ConsoleError::bad_request("Choose what to change about the line."));
    };
    let mut update = json!({
        "TableName": console.tables.ledger,
        "Key": {"subject": {"S": format!("line:{}", request.line)}, "stage": {"S": "state"}},
        "UpdateExpression": "REMOVE stopped",
    });
    if stopped {
        update["UpdateExpression"] = json!("SET stopped = :by");
        update["ExpressionAttributeValues"] = json!({":by": {"S": "at the console"}});
    }
    console.stack.dynamo().call_operation("UpdateItem", &update)?;
    console.stack.dynamo().wake_readers();
    reply_with_message(if stopped {
        "The kill switch is on: no message is sent over this line"
    } else {
        "The kill switch is off. Waiting messages are sent within two minutes; “+1 min” moves the clock there"
    })
}

/// The fault of every send, or none.
#[derive(Deserialize)]
pub(super) struct FaultRequest {
    kind: Option<SendFaultKind>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SendFaultKind {
    TooManyRequests,
    TimeoutAfterAccept,
    ServerErrorBeforeAccept,
    DropBeforeAccept,
}

pub(super) async fn set_fault(State(console): SharedConsole, Json(request): Json<FaultRequest>) -> ConsoleResponse {
    let provider = console.stack.provider();
    provider.heal()?;
    let Some(kind) = request.kind else { return reply_with_message(format!("{PROVIDER_NAME} responds as usual")) };
    let fault = match kind {
        SendFaultKind::TooManyRequests => SendFault::TooManyRequests { retry_after_s: Some(RETRY_AFTER_S) },
        SendFaultKind::TimeoutAfterAccept => SendFault::TimeoutAfterAccept { reply_after_ms: None },
        SendFaultKind::ServerErrorBeforeAccept => SendFault::ServerErrorBeforeAccept,
        SendFaultKind::DropBeforeAccept => SendFault::DropBeforeAccept,
    };
    provider.fail_fraction(1.0, fault, 0)?;
    reply_with_message("Every send has this fault until you switch it off")
}

#[derive(Deserialize)]
pub(super) struct PhoneTextRequest {
    from: String,
    text: String,
    line: String,
}

pub(super) async fn write_from_phone(
    State(console): SharedConsole,
    Json(written): Json<PhoneTextRequest>,
) -> ConsoleResponse {
    console.sync_fake_clock()?;
    console.stack.provider().write_from_phone(&written.from, &written.text, &written.line)?;
    reply_with_message("The customer wrote to the line")
}

/// The raw body of one delivery, indented if it is JSON.
pub(super) async fn get_delivery(State(console): SharedConsole, Query(wanted): DeliveryQuery) -> ConsoleResponse {
    let mut found = None;
    for inbox in console.inbox_table_names() {
        let key = json!({"TableName": inbox, "Key": {"id": {"S": wanted.id}}});
        let response = console.stack.dynamo().call_operation("GetItem", &key)?;
        found = found.or_else(|| response.get("Item").filter(|item| !item.is_null()).map(Value::to_string));
    }
    let Some(item) = found else {
        return Err(ConsoleError {
            status: StatusCode::NOT_FOUND,
            message: "The inbox has forgotten this delivery.".to_owned(),
        });
    };
    let entry = InboxItem::from_image(&item)?;
    let body = match serde_json::from_slice::<Map<String, Value>>(&entry.body) {
        Ok(fields) => serde_json::to_string_pretty(&fields)?,
        Err(_) => String::from_utf8_lossy(&entry.body).into_owned(),
    };
    Ok(Json(json!({"body": body, "bytes": entry.body.len()})))
}

/// Lets the function of a delivery process it again. Its outcome is removed, if it has one.
pub(super) async fn replay_delivery(
    State(console): SharedConsole,
    Json(request): Json<DeliverySelector>,
) -> ConsoleResponse {
    for inbox in console.inbox_table_names() {
        let update = json!({
            "TableName": inbox,
            "Key": {"id": {"S": request.id}},
            "UpdateExpression": "REMOVE outcome, outcome_text, outcome_at SET replayed_at = :now",
            "ConditionExpression": "attribute_exists(id)",
            "ExpressionAttributeValues": {":now": {"N": console.stack.clock().now_ms().to_string()}},
        });
        match console.stack.dynamo().call_operation("UpdateItem", &update) {
            Ok(_) => {
                console.stack.dynamo().wake_readers();
                return reply_with_message(
                    "The delivery is processed again. A message that was sent is not sent twice: its key is in the ledger",
                );
            }
            // The delivery is in another inbox or in none.
            Err(tellonce_stack::dynamo::DynoxideError::ConditionalCheckFailedException(..)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ConsoleError { status: StatusCode::CONFLICT, message: "The inbox has forgotten this delivery.".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_described_in_its_two_largest_units() {
        let minutes = [(1, "1 min"), (60, "1 h"), (90, "1 h 30 min"), (1440, "1 day"), (3061, "2 days 3 h")];
        for (minutes, words) in minutes {
            assert_eq!(describe_span(Duration::from_secs(minutes * 60)), words);
        }
    }
}
