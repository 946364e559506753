//! What all functions share about a line, in one row of the ledger's table (`verify_line_event:{name}` / `state`).
//!
//! The row holds the next free slot of the line's pace, the last health answer, how long the line is known to be down,
//! the breaker that a refused token opens, and the kill switch. [`LineState::reserve_slots`] asks for all of it and takes a slot
//! with one conditional write. Pulling the switch is writing `stopped`; writing `drop_before`
//! drops what has waited until then (see `docs/operations.md`).

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue as Value, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    attributes::{Item, ItemReader},
    clock::UnixMillis,
    fault::{ClassifyFault, Fault},
    provider::{LineHealth, PROVIDER},
};

/// How long a line whose token was refused is left alone.
const BREAKER_MINUTES: i64 = 15;
/// How long a stopped line's messages wait before somebody looks at the switch again.
const STOPPED_RECHECK_MINUTES: i64 = 1;

/// The line's row could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the state of the line {line} could not be read or written")]
pub struct LineStateError {
    line: String,
    #[source]
    source: Box<SdkError<UpdateItemError>>,
}

impl ClassifyFault for LineStateError {
    fn fault(&self) -> Fault {
        Fault::Transient
    }
}

/// What came of asking for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotReservation {
    /// The slots are ours: send now, and the others [`slot_interval`] by interval.
    Granted {
        /// Whether somebody saw the line in good health less than [`crate::provider::ProviderFacts::health_valid_seconds`] ago: what it said.
        recent_health: Option<String>,
        /// What was written down before then is not to be sent any more: an operator's decision.
        drop_before: Option<Timestamp>,
    },
    /// Not now.
    Blocked(LineBlocked),
}

/// Why a line does not take a message now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineBlocked {
    /// The pace: the next slot is free then.
    RateLimited {
        /// When.
        until: Timestamp,
    },
    /// Somebody stopped the line.
    Stopped {
        /// When to look again.
        until: Timestamp,
    },
    /// The line's token was refused.
    BreakerOpen {
        /// When to try again.
        until: Timestamp,
    },
    /// The line could not send when it was last asked.
    Down {
        /// When to ask again.
        until: Timestamp,
        /// What it said.
        health: String,
    },
}

impl LineBlocked {
    /// When to look again.
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
            Self::RateLimited { .. } => "the line's pace allows no more for the moment".to_owned(),
            Self::Stopped { .. } => "the line was stopped by its kill switch".to_owned(),
            Self::BreakerOpen { .. } => {
                format!("{} refused the line's token; store the new one", PROVIDER.facts().name)
            }
            Self::Down { health, .. } => format!("the line could not send ({health})"),
        }
    }
}

/// How far apart the slots of a line are.
pub fn slot_interval(messages_per_minute: u32) -> SignedDuration {
    SignedDuration::from_millis(60_000 / i64::from(messages_per_minute.max(1)))
}

/// The rows of all lines.
#[derive(Debug, Clone)]
pub struct LineState {
    db: Client,
    table: String,
}

impl LineState {
    /// In the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// Takes the next `count_metric` slots of a line, one after the other at its pace, or says why there is none. `probe_down_lines`
    /// asks a line that is down too: the clock's way to find out that it is back.
    pub async fn reserve_slots(
        &self,
        line: &str,
        messages_per_minute: u32,
        count: u32,
        probe_down_lines: bool,
        now: Timestamp,
    ) -> Result<SlotReservation, LineStateError> {
        let slot = now.unix_millis() + 60_000 / i64::from(messages_per_minute.max(1)) * i64::from(count.max(1));
        let down = if probe_down_lines { "" } else { " AND (attribute_not_exists(down_until) OR down_until <= :now)" };
        let answer = self
            .update_line_item(line)
            .update_expression("SET next_slot = :slot")
            .condition_expression(format!(
                "(attribute_not_exists(next_slot) OR next_slot <= :now) AND attribute_not_exists(stopped) \
                 AND (attribute_not_exists(breaker_until) OR breaker_until <= :now){down}"
            ))
            .expression_attribute_values(":slot", Value::N(slot.to_string()))
            .expression_attribute_values(":now", Value::N(now.unix_millis().to_string()))
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
                _ => Err(LineStateError { line: line.to_owned(), source: Box::new(error) }),
            },
        }
    }

    /// Writes down what a line said of its health.
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
            .expression_attribute_values(":health", Value::S(health.summary.clone()))
            .expression_attribute_values(":now", Value::N(now.unix_millis().to_string()));
        if let Some(until) = until {
            update = update.expression_attribute_values(":until", Value::N(until.to_string()));
        }
        self.send_update(line, update).await
    }

    /// Opens the breaker of a line whose token was refused.
    pub async fn open_breaker(&self, line: &str, now: Timestamp) -> Result<LineBlocked, LineStateError> {
        let until = now + SignedDuration::from_mins(BREAKER_MINUTES);
        let update = self
            .update_line_item(line)
            .update_expression("SET breaker_until = :until")
            .expression_attribute_values(":until", Value::N(until.unix_millis().to_string()));
        self.send_update(line, update).await?;
        Ok(LineBlocked::BreakerOpen { until })
    }

    /// Leaves a line alone until then: it said that we were too fast.
    pub async fn delay_next_slot(&self, line: &str, until: Timestamp) -> Result<(), LineStateError> {
        let update = self
            .update_line_item(line)
            .update_expression("SET next_slot = :until")
            .condition_expression("attribute_not_exists(next_slot) OR next_slot < :until")
            .expression_attribute_values(":until", Value::N(until.unix_millis().to_string()))
            .send()
            .await;
        match update {
            Ok(_) => Ok(()),
            // It is to be left alone for even longer already.
            Err(error)
                if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(LineStateError { line: line.to_owned(), source: Box::new(error) }),
        }
    }

    /// Forgets that a line was in good health: something went wrong with a send.
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
            .key("subject", Value::S(format!("line:{line}")))
            .key("stage", Value::S("state".to_owned()))
    }

    async fn send_update(
        &self,
        line: &str,
        update: aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder,
    ) -> Result<(), LineStateError> {
        let answer = update.send().await;
        answer.map(drop).map_err(|error| LineStateError { line: line.to_owned(), source: Box::new(error) })
    }
}

/// Why a row did not let us in: the most lasting reason first.
fn find_block_reason(row: &Item, probe_down_lines: bool, now: Timestamp) -> LineBlocked {
    let attributes = ItemReader(row);
    let later = |name: &str| attributes.time(name).filter(|until| *until > now);
    if row.contains_key("stopped") {
        LineBlocked::Stopped { until: now + SignedDuration::from_mins(STOPPED_RECHECK_MINUTES) }
    } else if let Some(until) = later("breaker_until") {
        LineBlocked::BreakerOpen { until }
    } else if let (false, Some(until)) = (probe_down_lines, later("down_until")) {
        LineBlocked::Down {
            until,
            health: attributes.owned("health").unwrap_or_else(|| "it did not say why".to_owned()),
        }
    } else {
        LineBlocked::RateLimited { until: later("next_slot").unwrap_or(now) }
    }
}
