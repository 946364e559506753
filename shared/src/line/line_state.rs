//! The row of a line in the ledger's table (`line:{name}` / `state`).
//!
//! The row holds the next free slot of the line's rate, the last health, how long the line counts
//! as down, the breaker that a refused token opens, and the kill switch.
//! [`LineState::reserve_slots`] checks all of it and reserves a slot with one conditional write. An
//! operator sets the kill switch, `stopped`, and drops all messages that have waited until a time,
//! `drop_before` (`tellonce hold`, `release` and `drop`).

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{get_item::GetItemError, update_item::UpdateItemError},
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    attributes::{Item, ItemReader, number_value, send_if_current, text_value, time_value},
    clock::UnixMillis,
    fault::{ClassifyFault, Fault},
    provider::{LineHealth, PROVIDER},
};

/// How long a line is blocked after its token was refused.
const BREAKER_MINUTES: i64 = 15;
/// How long messages of a stopped line wait before the switch is checked again.
const STOPPED_RECHECK_MINUTES: i64 = 1;

/// The line's row could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LineStateError {
    /// The read failed.
    #[error("the state of line {line} could not be read")]
    Read {
        /// The line.
        line: String,
        /// Why.
        #[source]
        source: Box<SdkError<GetItemError>>,
    },
    /// The write failed.
    #[error("the state of line {line} could not be written")]
    Write {
        /// The line.
        line: String,
        /// Why.
        #[source]
        source: Box<SdkError<UpdateItemError>>,
    },
}

impl ClassifyFault for LineStateError {
    fn fault(&self) -> Fault {
        Fault::Transient
    }
}

/// The outcome of reserving a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotReservation {
    /// The slots are reserved: the first is now, the others follow at [`slot_interval`].
    Granted {
        /// The line's good health, if it is at most
        /// [`crate::provider::ProviderFacts::health_valid_seconds`] old.
        recent_health: Option<String>,
        /// An operator dropped all messages that were created before then.
        drop_before: Option<Timestamp>,
    },
    /// No slot was reserved.
    Blocked(LineBlocked),
}

/// Why no message may be sent over a line now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineBlocked {
    /// The rate allows the next message then.
    RateLimited {
        /// When the next slot is free.
        until: Timestamp,
    },
    /// An operator stopped the line.
    Stopped {
        /// When to check again.
        until: Timestamp,
    },
    /// The line's token was refused.
    BreakerOpen {
        /// When to try again.
        until: Timestamp,
    },
    /// The line could not send at the last health request.
    Down {
        /// When to request health again.
        until: Timestamp,
        /// Summary of the health.
        health: String,
    },
}

impl LineBlocked {
    /// When to try again.
    pub fn until(&self) -> Timestamp {
        match self {
            Self::RateLimited { until }
            | Self::Stopped { until }
            | Self::BreakerOpen { until }
            | Self::Down { until, .. } => *until,
        }
    }

    /// Why, for people.
    pub fn reason(&self) -> String {
        match self {
            Self::RateLimited { .. } => "the line's rate limit".to_owned(),
            Self::Stopped { .. } => "the line is stopped by its kill switch".to_owned(),
            Self::BreakerOpen { .. } => {
                format!("{} refused the line's token; store the new one", PROVIDER.facts().name)
            }
            Self::Down { health, .. } => format!("the line could not send ({health})"),
        }
    }
}

/// What operators should know of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineStatus {
    /// Why no message may be sent over it now.
    pub blocked: Option<LineBlocked>,
    /// The day of the client on which it last refused a message, because it wrote to as many new
    /// people as a day allows: `2026-11-29`.
    pub first_contacts_refused_on: Option<String>,
    /// The first contacts of the last day that had any.
    pub first_contacts: u32,
}

impl LineStatus {
    /// The status in a line's row, which is empty before the first message.
    pub fn from_item(row: &Item, now: Timestamp) -> Self {
        let blocked = find_block_reason(row, false, now);
        Self {
            blocked: (blocked.until() > now).then_some(blocked),
            first_contacts_refused_on: ItemReader(row).owned("first_contacts_refused_on"),
            first_contacts: ItemReader(row).number("first_contacts").unwrap_or(0),
        }
    }
}

/// The time between two slots of a line.
pub fn slot_interval(messages_per_minute: u32) -> SignedDuration {
    SignedDuration::from_millis(slot_millis(messages_per_minute))
}

fn slot_millis(messages_per_minute: u32) -> i64 {
    60_000 / i64::from(messages_per_minute.max(1))
}

/// The rows of all lines of a client.
#[derive(Debug, Clone)]
pub struct LineState {
    db: Client,
    table: String,
}

impl LineState {
    /// The rows in the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// Reserves the next `count` slots of a line at its rate, or returns why none is free.
    /// `probe_down_lines` reserves a slot of a line that is down, too: the sweep finds out that way
    /// that the line is back.
    pub async fn reserve_slots(
        &self,
        line: &str,
        messages_per_minute: u32,
        count: u32,
        probe_down_lines: bool,
        now: Timestamp,
    ) -> Result<SlotReservation, LineStateError> {
        let slot = now.unix_millis() + slot_millis(messages_per_minute) * i64::from(count.max(1));
        let down = if probe_down_lines { "" } else { " AND (attribute_not_exists(down_until) OR down_until <= :now)" };
        let answer = self
            .update_line_item(line)
            .update_expression("SET next_slot = :slot")
            .condition_expression(format!(
                "(attribute_not_exists(next_slot) OR next_slot <= :now) AND attribute_not_exists(stopped) \
                 AND (attribute_not_exists(breaker_until) OR breaker_until <= :now){down}"
            ))
            .expression_attribute_values(":slot", number_value(slot))
            .expression_attribute_values(":now", time_value(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let attributes = answer.attributes.unwrap_or_default();
                let row = ItemReader(&attributes);
                let fresh = now.unix_millis() - PROVIDER.facts().health_valid_seconds * 1000;
                let good = row.number("health_at").is_some_and(|at: i64| at > fresh)
                    && row.number::<i64>("down_until").is_none();
                Ok(SlotReservation::Granted {
                    recent_health: if good { row.owned("health") } else { None },
                    drop_before: row.time("drop_before"),
                })
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => Ok(SlotReservation::Blocked(
                    find_block_reason(refused.item().unwrap_or(&Item::new()), probe_down_lines, now),
                )),
                _ => Err(LineStateError::Write { line: line.to_owned(), source: Box::new(error) }),
            },
        }
    }

    /// Reads what operators should know of a line.
    pub async fn read_status(&self, line: &str, now: Timestamp) -> Result<LineStatus, LineStateError> {
        Ok(LineStatus::from_item(&self.read_row(line).await?, now))
    }

    async fn read_row(&self, line: &str) -> Result<Item, LineStateError> {
        let get = self
            .db
            .get_item()
            .table_name(&self.table)
            .key("subject", text_value(line_subject(line)))
            .key("stage", text_value(LINE_STAGE));
        match get.send().await {
            Ok(answer) => Ok(answer.item.unwrap_or_default()),
            Err(error) => Err(LineStateError::Read { line: line.to_owned(), source: Box::new(error) }),
        }
    }

    /// Why an operator stopped a line; `None` if it is not stopped.
    pub async fn read_stop(&self, line: &str) -> Result<Option<String>, LineStateError> {
        Ok(ItemReader(&self.read_row(line).await?).owned("stopped"))
    }

    /// Sets the kill switch of a line. From the next slot on, nothing is sent over it.
    pub async fn stop(&self, line: &str, because: &str) -> Result<(), LineStateError> {
        let update = self.update_line_item(line).update_expression("SET stopped = :because");
        self.send_update(line, update.expression_attribute_values(":because", text_value(because))).await
    }

    /// Removes the kill switch of a line.
    pub async fn start(&self, line: &str) -> Result<(), LineStateError> {
        self.send_update(line, self.update_line_item(line).update_expression("REMOVE stopped")).await
    }

    /// Drops the messages of a line that were recorded before this time and wait, each when its
    /// turn comes.
    pub async fn drop_waiting(&self, line: &str, before: Timestamp) -> Result<(), LineStateError> {
        let update = self.update_line_item(line).update_expression("SET drop_before = :before");
        self.send_update(line, update.expression_attribute_values(":before", time_value(before))).await
    }

    /// Counts a first contact of a line on this day of the client, `2026-11-29`. Returns whether it
    /// is within the limit; else nothing is counted, and the row says that the line refused a
    /// message on this day.
    pub async fn count_first_contact(&self, line: &str, day: &str, limit: u32) -> Result<bool, LineStateError> {
        // Most first contacts are not the first of a day.
        for (expression, condition) in [
            ("ADD first_contacts :one", "first_contact_day = :day AND first_contacts < :limit"),
            (
                "SET first_contact_day = :day, first_contacts = :one",
                "(attribute_not_exists(first_contact_day) OR first_contact_day <> :day) AND :one <= :limit",
            ),
            // Another invocation began the day meanwhile.
            ("ADD first_contacts :one", "first_contact_day = :day AND first_contacts < :limit"),
        ] {
            let counted = self
                .update_line_item(line)
                .update_expression(expression)
                .condition_expression(condition)
                .expression_attribute_values(":day", text_value(day))
                .expression_attribute_values(":one", number_value(1))
                .expression_attribute_values(":limit", number_value(limit))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .send()
                .await;
            match counted {
                Ok(_) => return Ok(true),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        let day_is_full = refused.item().is_some_and(|row| {
                            let row = ItemReader(row);
                            row.text("first_contact_day") == Some(day)
                                && row.number::<u32>("first_contacts").is_some_and(|count| count >= limit)
                        });
                        if day_is_full {
                            self.record_refused_first_contact(line, day).await?;
                            return Ok(false);
                        }
                    }
                    _ => return Err(LineStateError::Write { line: line.to_owned(), source: Box::new(error) }),
                },
            }
        }
        Ok(false)
    }

    async fn record_refused_first_contact(&self, line: &str, day: &str) -> Result<(), LineStateError> {
        let update = self.update_line_item(line).update_expression("SET first_contacts_refused_on = :day");
        self.send_update(line, update.expression_attribute_values(":day", text_value(day))).await
    }

    /// Records the health of a line.
    pub async fn record_health(&self, line: &str, health: &LineHealth, now: Timestamp) -> Result<(), LineStateError> {
        let (expression, until) = if health.sendable {
            ("SET health = :health, health_at = :now REMOVE down_until, breaker_until", None)
        } else {
            (
                "SET health = :health, health_at = :now, down_until = :until",
                Some(now.unix_millis() + PROVIDER.facts().down_recheck_seconds * 1000),
            )
        };
        let mut update = self
            .update_line_item(line)
            .update_expression(expression)
            .expression_attribute_values(":health", text_value(health.summary.clone()))
            .expression_attribute_values(":now", time_value(now));
        if let Some(until) = until {
            update = update.expression_attribute_values(":until", number_value(until));
        }
        self.send_update(line, update).await
    }

    /// Opens the breaker of a line after its token was refused.
    pub async fn open_breaker(&self, line: &str, now: Timestamp) -> Result<LineBlocked, LineStateError> {
        let until = now + SignedDuration::from_mins(BREAKER_MINUTES);
        let update = self
            .update_line_item(line)
            .update_expression("SET breaker_until = :until")
            .expression_attribute_values(":until", time_value(until));
        self.send_update(line, update).await?;
        Ok(LineBlocked::BreakerOpen { until })
    }

    /// Blocks a line until then, because the provider limited the rate.
    pub async fn delay_next_slot(&self, line: &str, until: Timestamp) -> Result<(), LineStateError> {
        let update = self
            .update_line_item(line)
            .update_expression("SET next_slot = :until")
            .condition_expression("attribute_not_exists(next_slot) OR next_slot < :until")
            .expression_attribute_values(":until", time_value(until));
        // The condition fails if it is already blocked for longer.
        let sent = send_if_current(update).await;
        sent.map(drop).map_err(|source| LineStateError::Write { line: line.to_owned(), source })
    }

    /// Removes the good health of a line after a failed send.
    pub async fn forget_health(&self, line: &str) -> Result<(), LineStateError> {
        self.send_update(line, self.update_line_item(line).update_expression("REMOVE health_at")).await
    }

    fn update_line_item(
        &self,
        line: &str,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.db
            .update_item()
            .table_name(&self.table)
            .key("subject", text_value(line_subject(line)))
            .key("stage", text_value(LINE_STAGE))
    }

    async fn send_update(
        &self,
        line: &str,
        update: aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder,
    ) -> Result<(), LineStateError> {
        let answer = update.send().await;
        answer.map(drop).map_err(|error| LineStateError::Write { line: line.to_owned(), source: Box::new(error) })
    }
}

const LINE_STAGE: &str = "state";

fn line_subject(line: &str) -> String {
    format!("line:{line}")
}

/// Why a row's condition failed, the longest-lasting reason first.
fn find_block_reason(row: &Item, probe_down_lines: bool, now: Timestamp) -> LineBlocked {
    let attributes = ItemReader(row);
    let later = |name: &str| attributes.time(name).filter(|until| *until > now);
    if row.contains_key("stopped") {
        LineBlocked::Stopped { until: now + SignedDuration::from_mins(STOPPED_RECHECK_MINUTES) }
    } else if let Some(until) = later("breaker_until") {
        LineBlocked::BreakerOpen { until }
    } else if let (false, Some(until)) = (probe_down_lines, later("down_until")) {
        LineBlocked::Down { until, health: attributes.owned("health").unwrap_or_else(|| "health unknown".to_owned()) }
    } else {
        LineBlocked::RateLimited { until: later("next_slot").unwrap_or(now) }
    }
}
