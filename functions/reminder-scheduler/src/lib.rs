//! reminder-scheduler: the one function with a clock. Every minute it sends what is due.
//!
//! What is due: messages that waited for their line, for the end of quiet hours, for their turn in the pace, or for
//! news of a submit whose outcome is unknown; and claims whose owner died. The story: [`Scheduler::sweep`] goes through
//! the lines at the same time; `sweep_line` drops what is useless, then goes on with the rest, most
//! useful first, at the line's pace, until nothing is due, the line takes nothing more, or the time is up.
//!
//! Promises to stop in time before its deadline, to ask a line that is down once per sweep, and to send through the
//! very same claims as everybody else, so that two sweeps at once do no harm.

use std::cmp::Reverse;

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::IgnoredAny;
use shared::{
    clock::Deadline,
    cold_start::{self, Aws, StartError},
    fault::chain,
    ledger::{Due, State},
    observe,
    telling::{Shift, TellError, Teller, Told},
};

/// How many due messages of a line one sweep looks at: more than any line's pace lets through.
const LOOK_AT: i32 = 1000;

/// The function.
pub struct Scheduler {
    teller: Teller,
}

/// What one sweep did, over all lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sweep {
    /// Messages that were due.
    pub due: usize,
    /// Accepted by `EZWhatsApp`.
    pub accepted: usize,
    /// No longer useful, superseded, refused, or put before a human.
    pub ended: usize,
    /// Still waiting: the line takes nothing now, or an outcome is still unknown.
    pub waiting: usize,
    /// Left for the next sweep because the time was up or the line closed.
    pub left: usize,
    /// Could not be processed: see the log.
    pub failed: usize,
}

impl Sweep {
    fn add(&mut self, other: Self) {
        self.due += other.due;
        self.accepted += other.accepted;
        self.ended += other.ended;
        self.waiting += other.waiting;
        self.left += other.left;
        self.failed += other.failed;
    }
}

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_runtime::Error> {
    observe::start();
    let scheduler = Scheduler::start()?;
    let scheduler = &scheduler;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<IgnoredAny>| async move {
        let deadline = Deadline::of(event.context.deadline());
        Ok::<_, lambda_runtime::Error>(scheduler.sweep(&event.context.request_id, deadline).await?)
    }))
    .await
}

impl Scheduler {
    fn start() -> Result<Self, StartError> {
        let config = cold_start::client_config()?;
        let http = cold_start::http_client()?;
        let aws = Aws::from_environment(&http)?;
        Ok(Self { teller: Teller::from_environment(config, http, &aws)? })
    }

    /// Goes through all lines at the same time: each has a pace of its own.
    pub async fn sweep(&self, request_id: &str, deadline: Deadline) -> Result<Sweep, TellError> {
        let now = self.teller.clock.now();
        let shift = Shift::new(request_id, deadline, true, now);
        let lines = self.teller.config.lines.keys().map(|line| self.sweep_line(&shift, line, now));
        let mut sweep = Sweep::default();
        for line in futures::future::join_all(lines).await {
            sweep.add(line?);
        }
        tracing::info!(
            sweep.due = sweep.due,
            sweep.accepted = sweep.accepted,
            sweep.ended = sweep.ended,
            sweep.waiting = sweep.waiting,
            sweep.left = sweep.left,
            sweep.failed = sweep.failed,
            "sweep is over"
        );
        Ok(sweep)
    }

    async fn sweep_line(&self, shift: &Shift, line: &str, now: Timestamp) -> Result<Sweep, TellError> {
        let mut due = self.teller.ledger.due(line, now, LOOK_AT).await?;
        // What is useless costs a write and no slot, whatever the line is like; then most useful first, and among
        // equals what will be useless soonest.
        due.sort_by_key(|due| (due.useful_until > now, Reverse(due.priority), due.useful_until));
        let mut sweep = Sweep { due: due.len(), ..Sweep::default() };
        let mut open = true;
        for (index, next) in due.iter().enumerate() {
            let useless = next.useful_until <= now;
            if !shift.has_time() || (!open && !useless) {
                sweep.left = due.len() - index;
                break;
            }
            match self.go_on(shift, next).await {
                Ok(Told::Accepted(_)) => sweep.accepted += 1,
                Ok(Told::Ended(..) | Told::Noted(_)) => sweep.ended += 1,
                Ok(Told::Waits(..)) => sweep.waiting += 1,
                Ok(Told::LineClosed(..)) => {
                    sweep.waiting += 1;
                    open = false;
                }
                // The index is behind the table by a moment.
                Ok(Told::Known(..) | Told::Differs(..)) => sweep.due = sweep.due.saturating_sub(1),
                Err(error) => {
                    tracing::error!(message.key = %next.key, "{}", chain(&error));
                    sweep.failed += 1;
                }
            }
        }
        Ok(sweep)
    }

    async fn go_on(&self, shift: &Shift, due: &Due) -> Result<Told, TellError> {
        match self.teller.ledger.read(&due.key).await? {
            Some(row) => self.teller.resume(shift, row).await,
            None => Ok(Told::Ended(due.key.clone(), State::Expired)),
        }
    }
}
