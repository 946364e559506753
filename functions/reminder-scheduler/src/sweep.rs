//! Every minute: whatever is due goes out, line by line, most useful first.

use std::{cmp::Reverse, collections::HashSet};

use serde::Serialize;
use shared::{
    appointment::{Appointment, Outcome},
    fault::chain,
    ledger::{Due, State, Waiting},
    observe::{self, Metric},
    telling::{Reminded, Shift, Slots, TellError, Told},
};

use crate::{Scheduler, plan};

/// How many due messages and appointments of a line one sweep looks at in one go, to choose the most useful from.
const LOOK_AT: i32 = 10_000;
/// How often a header that others keep writing is looked at anew before it is left for the next sweep.
const TRIES: usize = 5;

/// What one sweep did, over all lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sweep {
    /// Messages and reminders that were due.
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

    /// Counts one that was due. Says whether its line takes more.
    fn count(&mut self, told: &Told) -> bool {
        self.due += 1;
        match told {
            Told::Accepted(_) => self.accepted += 1,
            Told::Ended(..) | Told::Noted(_) => self.ended += 1,
            Told::Waits(..) => self.waiting += 1,
            Told::LineClosed(..) => {
                self.waiting += 1;
                return false;
            }
            // The index is behind the table by a moment.
            Told::Known(..) | Told::Differs(..) => self.due -= 1,
        }
        true
    }
}

impl Scheduler {
    /// Goes through all lines at the same time: each has a pace of its own.
    pub async fn sweep(&self, shift: &Shift) -> Result<Sweep, TellError> {
        let lines = self.teller.config.lines.keys().map(|line| self.sweep_line(shift, line));
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

    async fn sweep_line(&self, shift: &Shift, line: &str) -> Result<Sweep, TellError> {
        let mut sweep = Sweep::default();
        let mut seen = HashSet::new();
        loop {
            let due = self.teller.ledger.due(line, self.teller.clock.now(), LOOK_AT).await?;
            let all = due.len() < usize::try_from(LOOK_AT).unwrap_or(usize::MAX);
            // The index lags: what was dealt with a moment ago may show again.
            let fresh: Vec<Due> = due.into_iter().filter(|due| seen.insert(due.key.clone())).collect();
            let none = fresh.is_empty();
            let more = self.go_through(shift, fresh, &mut sweep).await;
            if all || none || !more {
                return Ok(sweep);
            }
        }
    }

    /// Goes through what is due of a line. Says whether there is time and line for more.
    async fn go_through(&self, shift: &Shift, mut due: Vec<Due>, sweep: &mut Sweep) -> bool {
        let now = self.teller.clock.now();
        // What is useless costs a write and no slot, whatever the line is like; then most useful first, and among
        // equals what will be useless soonest.
        due.sort_by_key(|due| (due.useful_until > now, Reverse(due.priority), due.useful_until));
        let mut slots = Slots::of(due.len());
        let mut open = true;
        for (index, next) in due.iter().enumerate() {
            let useless = next.useful_until <= now;
            if !shift.has_time() || (!open && !useless) {
                sweep.due += due.len() - index;
                sweep.left += due.len() - index;
                return false;
            }
            let went_on = match &next.what {
                Waiting::Message => self.go_on(shift, &mut slots, next).await.map(|told| sweep.count(&told)),
                Waiting::Appointment(appointment) => {
                    self.remind(shift, &mut slots, appointment.as_ref().clone(), sweep).await
                }
            };
            match went_on {
                Ok(more) => open &= more,
                Err(error) => {
                    tracing::error!(message.key = %next.key, "{}", chain(&error));
                    sweep.due += 1;
                    sweep.failed += 1;
                }
            }
        }
        open
    }

    async fn go_on(&self, shift: &Shift, slots: &mut Slots, due: &Due) -> Result<Told, TellError> {
        match self.teller.ledger.read(&due.key).await? {
            Some(row) => self.teller.resume(shift, slots, row).await,
            None => Ok(Told::Ended(due.key.clone(), State::Expired)),
        }
    }

    /// Sends what is due of an appointment, seat by seat, and writes down when it is to be looked at again. Says whether
    /// its line takes more.
    async fn remind(
        &self,
        shift: &Shift,
        slots: &mut Slots,
        mut known: Appointment,
        sweep: &mut Sweep,
    ) -> Result<bool, TellError> {
        let config = &self.teller.config;
        let mut overtaken = 0;
        while overtaken < TRIES {
            let now = self.teller.clock.now();
            // A header of another line's index has other slots and another health: it is found there from now on.
            let calendar = config.calendars.get(&known.calendar).filter(|calendar| calendar.line == known.line);
            let planned = calendar.map(|calendar| (calendar, plan::plan(config, calendar, &known, now)));
            let due = planned.as_ref().and_then(|(calendar, plan)| Some((*calendar, plan, plan.due.first()?)));
            let Some((calendar, plan, reminder)) = due else {
                if !config.calendars.contains_key(&known.calendar) {
                    tracing::warn!(
                        appointment.key = known.subject,
                        calendar.name = known.calendar,
                        "the configuration has this calendar no more: nobody is reminded of its appointments"
                    );
                }
                let after = plan::planned(config, known.clone(), now);
                if after == known {
                    return Ok(true);
                }
                match self.write(&known, after.written(now)).await? {
                    Ok(()) | Err(None) => return Ok(true),
                    Err(Some(newer)) => {
                        known = *newer;
                        overtaken += 1;
                        continue;
                    }
                }
            };
            let news = plan::news(config, calendar, &known, reminder);
            let dealt_with = |outcome| plan::with_mark(config, &known, plan, reminder, outcome, now);
            let after = dealt_with(Outcome::Opened);
            let next = match self.teller.remind(shift, slots, &news, &known, &after).await? {
                Reminded::Opened(told) => {
                    self.report(&known, &after);
                    let more = sweep.count(&told);
                    if !more {
                        return Ok(false);
                    }
                    Ok(after)
                }
                Reminded::LineClosed { reason } => {
                    tracing::info!(appointment.key = known.subject, line.name = known.line, "reminder waits: {reason}");
                    sweep.due += 1;
                    sweep.waiting += 1;
                    return Ok(false);
                }
                Reminded::LeftOut(outcome) => {
                    sweep.due += 1;
                    sweep.ended += 1;
                    let after = dealt_with(outcome);
                    self.write(&known, after.clone()).await?.map(|()| after)
                }
                Reminded::HeaderChanged(newer) => Err(newer),
            };
            match next {
                Ok(after) => known = after,
                Err(Some(newer)) => {
                    known = *newer;
                    overtaken += 1;
                }
                Err(None) => return Ok(true),
            }
        }
        Err(TellError::Contended(shared::ledger::Key::reminder(&known.subject, shared::appointment::HEADER_STAGE)))
    }

    /// Writes a header over what was known.
    async fn write(
        &self,
        before: &Appointment,
        after: Appointment,
    ) -> Result<Result<(), Option<Box<Appointment>>>, TellError> {
        let written = self.teller.ledger.know(Some(before), &after).await?;
        if written.is_ok() {
            self.report(before, &after);
        }
        Ok(written)
    }

    /// One log line for each reminder that was dealt with, and a count for those that nobody will hear.
    pub(crate) fn report(&self, before: &Appointment, after: &Appointment) {
        for mark in after.marks.iter().filter(|mark| !before.marks.contains(mark)) {
            if mark.outcome == Outcome::Missed {
                observe::count(&self.teller.config.client, Metric::MessagesExpired, after.updated_at);
            }
            tracing::info!(
                appointment.key = after.subject,
                appointment.start = %mark.start,
                reminder.stage = mark.stage,
                reminder.seat = mark.seat,
                reminder.outcome = mark.outcome.name(),
                "reminder is {}", mark.outcome.name()
            );
        }
    }
}
