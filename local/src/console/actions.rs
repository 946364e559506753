//! What the console can do. Each answers with a sentence about what happened, or about what to do instead.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Case, Console, Failed, Id, Shared,
    bookings::{self, Deed, Desk},
    leads, said,
    samples::{self, Batch},
    view,
};
use crate::{
    Stack,
    fake_ezw::{Fault, HealthPreset},
};

/// The function that knows leads.
const GREETER: &str = "lead-first-touch";
/// What `EZWhatsApp` asks for when the console lets it answer 429, in seconds.
const RETRY_AFTER_S: u64 = 60;

#[derive(Deserialize)]
pub(super) struct Try {
    case: Case,
    #[serde(default)]
    same_order: bool,
}

pub(super) async fn try_case(State(console): Shared, Json(wanted): Json<Try>) -> Answer {
    let now = console.stack.clock().now_ms();
    let batch = console.book.make(wanted.case, &console.targets()?, wanted.same_order, now);
    let batch = batch.map_err(|error| Failed::wrong(format!("{error:#}")))?;
    posted(&console, batch).await
}

#[derive(Deserialize)]
pub(super) struct Book {
    calendar: String,
    deed: Deed,
    /// `2026-11-24T10:30`, on the client's clocks.
    start: DateTime,
}

/// Books, moves or cancels an appointment, and posts what the calendar would post about it.
pub(super) async fn book(State(console): Shared, Json(wanted): Json<Book>) -> Answer {
    let client = console.client.as_ref().map_err(Failed::wrong)?;
    let Book { calendar, deed, start } = wanted;
    let zone = client.zone_or_own(None).unwrap_or(TimeZone::UTC);
    let start = start.to_zoned(zone).map_err(|error| Failed::wrong(error.to_string()))?.timestamp();
    let now = Timestamp::from_millisecond(console.stack.clock().now_ms())?;
    let secret = |name: &str| console.stack.secrets().current(name);
    let desk = Desk { config: client, secret: &secret, calendars: console.stack.calendars() };
    let batch = console.bookings.make(&desk, &calendar, deed, start, now);
    let batch = batch.map_err(|error| Failed::wrong(format!("{error:#}")))?;
    if batch.deliveries.is_empty() {
        console.stack.poll_feeds().await?;
        return said(format!("Written into the feed of {calendar}. It is read as often as its settings say"));
    }
    posted(&console, batch).await
}

#[derive(Deserialize)]
pub(super) struct Feeds {
    /// The calendar whose feed is meant; all of them when absent.
    calendar: Option<String>,
    /// Believe what the feed says the next time, however unlikely it is.
    #[serde(default)]
    believe: bool,
}

/// Has feeds looked at: after the file was edited, or although one is in doubt.
pub(super) async fn feeds(State(console): Shared, Json(wanted): Json<Feeds>) -> Answer {
    let client = console.client.as_ref().map_err(Failed::wrong)?;
    let Some(calendar) = wanted.calendar else {
        console.stack.poll_feeds().await?;
        return said("The feeds whose time has come were read");
    };
    if wanted.believe {
        let update = json!({
            "TableName": console.table("Ledger")?,
            "Key": {"subject": {"S": format!("feed:{calendar}")}, "stage": {"S": "state"}},
            "UpdateExpression": "SET believe = :yes",
            "ExpressionAttributeValues": {":yes": {"BOOL": true}},
        });
        console.stack.dynamo().call("UpdateItem", &update)?;
    }
    let secret = |name: &str| console.stack.secrets().current(name);
    let desk = Desk { config: client, secret: &secret, calendars: console.stack.calendars() };
    let push = bookings::push(&desk, &calendar).map_err(|error| Failed::wrong(format!("{error:#}")))?;
    let Some(push) = push else {
        console.stack.poll_feeds().await?;
        return said(format!("The feed of {calendar} is read as often as its settings say"));
    };
    let about = format!("word that the feed of {calendar} has changed");
    posted(&console, Batch { deliveries: vec![push], about, at_once: false }).await
}

#[derive(Deserialize)]
pub(super) struct LeaveNumber {
    form: String,
    deed: leads::Deed,
    phone: String,
}

/// Fills in a form, and posts what its sender would post about it.
pub(super) async fn lead(State(console): Shared, Json(wanted): Json<LeaveNumber>) -> Answer {
    let client = console.client.as_ref().map_err(Failed::wrong)?;
    let LeaveNumber { form, deed, phone } = wanted;
    let now = Timestamp::from_millisecond(console.stack.clock().now_ms())?;
    let secret = |name: &str| console.stack.secrets().current(name);
    let desk = leads::Desk { config: client, secret: &secret, leads: console.stack.leads() };
    let batch = console.leads.make(&desk, &form, deed, &phone, now);
    posted(&console, batch.map_err(|error| Failed::wrong(format!("{error:#}")))?).await
}

#[derive(Deserialize)]
pub(super) struct Release {
    form: String,
    /// Greet none of those who wait.
    #[serde(default)]
    drop: bool,
}

/// Somebody has looked at a form that is held.
pub(super) async fn release(State(console): Shared, Json(wanted): Json<Release>) -> Answer {
    let client = console.client.as_ref().map_err(Failed::wrong)?;
    let Release { form, drop } = wanted;
    if !client.forms.contains_key(&form) {
        return Err(Failed::wrong(format!("This client has no form {form}.")));
    }
    let order = if drop { json!({"drop": form}) } else { json!({"release": form}) };
    let done = console.stack.invoke(GREETER, &order).await?;
    let count = |name: &str| done[name].as_u64().unwrap_or_default();
    let more = if done["more"] == true { ". There are more: press it again" } else { "" };
    said(if drop {
        format!("Nobody of {} is greeted; {form} greets again from now on{more}", count("dropped"))
    } else {
        format!("{} leads of {form} are let go, each as if it had just come in{more}", count("released"))
    })
}

async fn posted(console: &Console, batch: Batch) -> Answer {
    let answers = samples::post(&console.http, &console.stack.gateway_url(), batch).await;
    if answers.statuses.contains_key(&0) {
        return Err(Failed::wrong("The gateway gave no answer. Its terminal says why."));
    }
    said(answers.in_words())
}

#[derive(Deserialize)]
pub(super) struct Clock {
    forward_s: Option<u64>,
    /// Forward to the next moment for which something waits.
    #[serde(default)]
    to_next: bool,
    #[serde(default)]
    reset: bool,
}

/// Moving the clock forward runs the schedules too, as they would have run meanwhile.
pub(super) async fn clock(State(console): Shared, Json(wanted): Json<Clock>) -> Answer {
    let stack = &console.stack;
    match wanted {
        Clock { reset: true, .. } => {
            stack.clock().set_offset_ms(0)?;
            console.keep_time()?;
            said("The clock shows the real time again")
        }
        Clock { to_next: true, .. } => {
            let (_, rows) = console.tables()?;
            let now_ms = stack.clock().now_ms();
            let Some(due) = view::next_due(&rows, now_ms) else {
                return Err(Failed::wrong("Nothing waits for a time to come."));
            };
            forward(&console, Duration::from_millis(u64::try_from(due - now_ms).unwrap_or_default())).await
        }
        Clock { forward_s: Some(seconds), .. } => forward(&console, Duration::from_secs(seconds)).await,
        Clock { .. } => Err(Failed::wrong("Say how far the clock is to be moved.")),
    }
}

async fn forward(console: &Console, by: Duration) -> Answer {
    console.stack.clock().advance(by)?;
    console.keep_time()?;
    let ran = async {
        console.stack.poll_feeds().await?;
        run_schedule(&console.stack).await
    };
    let ran = ran.await.map_err(|failed| Failed {
        said: format!("The clock was moved, but a schedule failed. {}", failed.said),
        ..failed
    })?;
    said(format!("The clock was moved. {ran}"))
}

pub(super) async fn tick(State(console): Shared, Json(_nothing): Json<Value>) -> Answer {
    said(run_schedule(&console.stack).await?)
}

async fn run_schedule(stack: &Stack) -> Result<String, Failed> {
    let response = stack.tick().await?;
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

pub(super) async fn line(State(console): Shared, Json(wanted): Json<LineChange>) -> Answer {
    let client = console.client.as_ref().map_err(Failed::wrong)?;
    let Some(line) = client.lines.get(&wanted.line) else {
        return Err(Failed::wrong(format!("This client has no line {}.", wanted.line)));
    };
    if let Some(preset) = wanted.health {
        console.stack.ezw().set_health(Some(&line.line_id), preset)?;
        return said(if preset == HealthPreset::Good {
            "The line is back. What waits goes out within two minutes, at the line’s pace; “+1 min” takes you there"
        } else {
            "The line can’t send. Messages are held until it is back"
        });
    }
    let Some(stopped) = wanted.stopped else { return Err(Failed::wrong("Say what is to change about the line.")) };
    let mut update = json!({
        "TableName": console.table("Ledger")?,
        "Key": {"subject": {"S": format!("line:{}", wanted.line)}, "stage": {"S": "state"}},
        "UpdateExpression": "REMOVE stopped",
    });
    if stopped {
        update["UpdateExpression"] = json!("SET stopped = :by");
        update["ExpressionAttributeValues"] = json!({":by": {"S": "by hand, at the console"}});
    }
    console.stack.dynamo().call("UpdateItem", &update)?;
    console.stack.dynamo().wake_readers();
    said(if stopped {
        "The kill switch is on: nothing is sent over this line"
    } else {
        "The kill switch is off. What waits goes out within two minutes; “+1 min” takes you there"
    })
}

/// A fault that every send meets from now on, or none.
#[derive(Deserialize)]
pub(super) struct Failing {
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    TooManyRequests,
    TimeoutAfterAccept,
    ServerErrorBeforeAccept,
    DropBeforeAccept,
}

pub(super) async fn fault(State(console): Shared, Json(wanted): Json<Failing>) -> Answer {
    let ezw = console.stack.ezw();
    ezw.heal()?;
    let Some(kind) = wanted.kind else { return said("EZWhatsApp answers as usual") };
    let fault = match kind {
        Kind::TooManyRequests => Fault::TooManyRequests { retry_after_s: Some(RETRY_AFTER_S) },
        Kind::TimeoutAfterAccept => Fault::TimeoutAfterAccept { answer_after_ms: None },
        Kind::ServerErrorBeforeAccept => Fault::ServerErrorBeforeAccept,
        Kind::DropBeforeAccept => Fault::DropBeforeAccept,
    };
    ezw.fail_fraction(1.0, fault, 0)?;
    said("Every send meets this until it is switched off")
}

#[derive(Deserialize)]
pub(super) struct Written {
    from: String,
    text: String,
    line: String,
}

pub(super) async fn phone(State(console): Shared, Json(written): Json<Written>) -> Answer {
    console.keep_time()?;
    console.stack.ezw().write_from_phone(&written.from, &written.text, &written.line)?;
    said("The customer wrote to the line")
}

/// Takes a delivery's outcome away, which sends it down the same path again.
pub(super) async fn replay(State(console): Shared, Json(wanted): Json<Id>) -> Answer {
    for inbox in console.inboxes() {
        let update = json!({
            "TableName": inbox,
            "Key": {"id": {"S": wanted.id}},
            "UpdateExpression": "REMOVE outcome, outcome_at",
            "ConditionExpression": "attribute_exists(id) AND attribute_exists(outcome)",
        });
        match console.stack.dynamo().call("UpdateItem", &update) {
            Ok(_) => {
                console.stack.dynamo().wake_readers();
                return said("The delivery is being processed again");
            }
            // in another inbox, or in none
            Err(dynoxide::errors::DynoxideError::ConditionalCheckFailedException(..)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failed {
        status: StatusCode::CONFLICT,
        said: "This delivery has no outcome yet, or the inbox has forgotten it.".to_owned(),
    })
}
