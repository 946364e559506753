//! What is measured: nine kinds of events, each the everyday work of one function.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use serde_json::Value;

use crate::{
    usage::{CRMS, Usage},
    world::Events,
};

pub(crate) const RECEIVER: &str = "webhook-receiver";
pub(crate) const NOTIFIER: &str = "order-notifier";
pub(crate) const SCHEDULER: &str = "reminder-scheduler";
pub(crate) const GREETER: &str = "lead-first-touch";
pub(crate) const SYNC: &str = "conversation-sync";
/// All functions, in the order of their work.
pub(crate) const FUNCTIONS: [&str; 5] = [RECEIVER, NOTIFIER, SCHEDULER, GREETER, SYNC];

/// How many messages wait for a tick that finds some.
pub(crate) const DUE: usize = 20;

/// A kind of event, and the function that gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Job {
    /// A signed Shopify delivery that was never seen before: verified, filed, answered.
    NewDelivery,
    /// One that is in the inbox already.
    Duplicate,
    /// A record of the inbox's stream: one message is told.
    Message,
    /// A minute in which nothing is due.
    IdleTick,
    /// A minute in which 20 messages are due, because their line was down.
    DueTick,
    /// A record of the bookings' stream: an appointment is learned of.
    Booking,
    /// A minute in which 20 reminders are due.
    ReminderTick,
    /// A record of the leads' stream: somebody is greeted.
    Lead,
    /// A record of the lines' stream: what a customer wrote is entered in every CRM.
    LineMessage,
}

impl Job {
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

    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::NewDelivery | Self::Duplicate => RECEIVER,
            Self::Message => NOTIFIER,
            Self::IdleTick | Self::DueTick | Self::Booking | Self::ReminderTick => SCHEDULER,
            Self::Lead => GREETER,
            Self::LineMessage => SYNC,
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

    /// Whether it needs a line that reports events. All others are measured without, so that what they send stays what it was.
    pub(crate) fn events(self) -> Events {
        if self == Self::LineMessage { Events::On } else { Events::Off }
    }

    /// Whether each event needs the world made ready for it, so that events can't be made in advance.
    pub(crate) fn one_by_one(self) -> bool {
        matches!(self, Self::DueTick | Self::ReminderTick)
    }

    /// How many of `wanted` events are enough: a tick with 20 messages is 20 events' work.
    pub(crate) fn enough(self, wanted: usize) -> usize {
        if self.one_by_one() { (wanted / 10).max(2) } else { wanted.max(2) }
    }

    /// Whether an event did what it is measured for. A benchmark of failures would be fast.
    pub(crate) fn check(self, answer: &Bytes, usage: &Usage) -> anyhow::Result<()> {
        let answer: Value = serde_json::from_slice(answer).context("the answer is no JSON")?;
        let did = match self {
            Self::NewDelivery => answer["statusCode"] == 200 && usage.refused == 0,
            Self::Duplicate => answer["statusCode"] == 200 && usage.refused == 1,
            Self::Message | Self::Lead => {
                answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty) && usage.sends == 1
            }
            Self::IdleTick => answer["due"] == 0,
            Self::DueTick | Self::ReminderTick => answer["accepted"] == DUE && usage.sends == DUE as u64,
            Self::LineMessage => {
                answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty)
                    && CRMS.iter().all(|crm| usage.peers.contains_key(crm))
                    && usage.peers_failed == 0
            }
            Self::Booking => answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty) && usage.refused == 0,
        };
        ensure!(did, "{} did something else: {answer} with {usage:?}", self.title());
        Ok(())
    }
}
