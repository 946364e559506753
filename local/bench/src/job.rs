//! The measured kinds of events, each the everyday work of one function.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use serde_json::Value;
use tellonce_fakes::crms::FakeCrms;

use crate::{settings::LineEventMode, usage::RequestUsage};

pub(crate) const RECEIVER: &str = "webhook-receiver";
pub(crate) const NOTIFIER: &str = "order-notifier";
pub(crate) const SCHEDULER: &str = "reminder-scheduler";
pub(crate) const FIRST_TOUCH: &str = "lead-first-touch";
pub(crate) const CONVERSATION_SYNC: &str = "conversation-sync";
/// All functions, in the order of their work.
pub(crate) const FUNCTIONS: [&str; 5] = [RECEIVER, NOTIFIER, SCHEDULER, FIRST_TOUCH, CONVERSATION_SYNC];

/// The number of waiting messages for a tick that finds some.
pub(crate) const DUE_MESSAGES: usize = 20;

/// A kind of event of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum BenchJob {
    /// A signed Shopify delivery that is new: verified, stored, answered.
    NewDelivery,
    /// A delivery that is in the inbox already.
    Duplicate,
    /// A record of the stream of store deliveries: one message is sent.
    Message,
    /// A minute in which nothing is due.
    IdleTick,
    /// A minute in which 20 messages are due, because their line was down.
    DueTick,
    /// A record of the stream of booking deliveries: an appointment is recorded.
    Booking,
    /// A minute in which 20 reminders are due.
    ReminderTick,
    /// A record of the stream of lead deliveries: one lead is greeted.
    Lead,
    /// A record of the stream of line events: a customer's message is entered in every CRM.
    LineMessage,
}

impl BenchJob {
    pub(crate) const ALL: [Self; 9] = [
        Self::NewDelivery,
        Self::Duplicate,
        Self::Message,
        Self::IdleTick,
        Self::DueTick,
        Self::Booking,
        Self::ReminderTick,
        Self::Lead,
        Self::LineMessage,
    ];

    pub(crate) fn function_name(self) -> &'static str {
        match self {
            Self::NewDelivery | Self::Duplicate => RECEIVER,
            Self::Message => NOTIFIER,
            Self::IdleTick | Self::DueTick | Self::Booking | Self::ReminderTick => SCHEDULER,
            Self::Lead => FIRST_TOUCH,
            Self::LineMessage => CONVERSATION_SYNC,
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::NewDelivery => "receiver: new delivery",
            Self::Duplicate => "receiver: duplicate",
            Self::Message => "notifier: one message",
            Self::IdleTick => "scheduler: idle tick",
            Self::DueTick => "scheduler: 20 due",
            Self::Booking => "scheduler: one booking",
            Self::ReminderTick => "scheduler: 20 reminders",
            Self::Lead => "first touch: one lead",
            Self::LineMessage => "sync: one message",
        }
    }

    /// Whether the job needs a line with `events = true`. All others are measured without it, so
    /// their requests stay comparable with earlier runs.
    pub(crate) fn line_event_mode(self) -> LineEventMode {
        if self == Self::LineMessage { LineEventMode::On } else { LineEventMode::Off }
    }

    /// Whether each event needs its own preparation, so that events cannot be built in advance.
    pub(crate) fn needs_preparation(self) -> bool {
        matches!(self, Self::DueTick | Self::ReminderTick)
    }

    /// How many of `wanted` events are enough. A tick with 20 messages is the work of 20 events.
    pub(crate) fn enough_events(self, wanted: usize) -> usize {
        if self.needs_preparation() { (wanted / 10).max(2) } else { wanted.max(2) }
    }

    /// Fails if an event did not do its work. A benchmark of failures would be fast.
    pub(crate) fn check_outcome(self, response: &Bytes, usage: &RequestUsage, crms: &FakeCrms) -> anyhow::Result<()> {
        let response: Value = serde_json::from_slice(response).context("the response is not JSON")?;
        let did = match self {
            Self::NewDelivery => response["statusCode"] == 200 && usage.refused == 0,
            Self::Duplicate => response["statusCode"] == 200 && usage.refused == 1,
            Self::Message | Self::Lead => {
                response["batchItemFailures"].as_array().is_some_and(Vec::is_empty) && usage.sends == 1
            }
            Self::IdleTick => response["due"] == 0,
            Self::DueTick | Self::ReminderTick => {
                response["accepted"] == DUE_MESSAGES && usage.sends == DUE_MESSAGES as u64
            }
            Self::LineMessage => {
                response["batchItemFailures"].as_array().is_some_and(Vec::is_empty)
                    && crms.names_and_services().iter().all(|(_, crm)| usage.fake_requests.contains_key(crm))
                    && usage.failed_fake_requests == 0
            }
            Self::Booking => response["batchItemFailures"].as_array().is_some_and(Vec::is_empty) && usage.refused == 0,
        };
        ensure!(did, "{} did not do its work: {response} with {usage:?}", self.title());
        Ok(())
    }
}
