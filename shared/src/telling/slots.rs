//! Slots of a line's pace: one asked for by whoever has one message, several at once by whoever has many.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Shift, TIME_FOR_A_SEND, TellError, Teller};
use crate::{
    client_config::Line,
    line::{Closed, Reservation, interval},
};

/// How long a function waits for its slot of the line's pace before it leaves the message to the clock.
const WORTH_WAITING: SignedDuration = SignedDuration::from_secs(6);
/// How far ahead a sweep takes slots, in seconds: half the writes at the usual pace and next to none at a fast one, and
/// fresh news of an order still gets its turn within the time that it waits.
const AHEAD_SECONDS: u32 = 6;

/// The slots of one line that somebody holds, and how many messages they are for.
#[derive(Debug)]
pub struct Slots {
    wanted: usize,
    held: VecDeque<Timestamp>,
    known_good: Option<String>,
    drop_before: Option<Timestamp>,
}

impl Slots {
    /// For so many messages.
    pub fn of(wanted: usize) -> Self {
        Self { wanted, held: VecDeque::new(), known_good: None, drop_before: None }
    }

    /// The slot in front was used.
    pub(super) fn spend(&mut self) {
        self.held.pop_front();
        self.wanted = self.wanted.saturating_sub(1);
    }
}

impl Teller {
    /// A slot of the line's pace, which stays in front of `slots` until it is spent; waits for one that is near.
    pub(super) async fn slot(
        &self,
        shift: &Shift,
        slots: &mut Slots,
        line_name: &str,
        line: &Line,
    ) -> Result<Reservation, TellError> {
        loop {
            let now = self.clock.now();
            let until = match slots.held.front() {
                Some(slot) if *slot <= now => {
                    let (known_good, drop_before) = (slots.known_good.take(), slots.drop_before);
                    return Ok(Reservation::Granted { known_good, drop_before });
                }
                Some(slot) => *slot,
                None => {
                    let ahead = (line.pace_per_minute * AHEAD_SECONDS / 60).max(1);
                    let count = u32::try_from(slots.wanted).unwrap_or(u32::MAX).clamp(1, ahead);
                    let pace = line.pace_per_minute;
                    match self.desk.reserve(line_name, pace, count, shift.look_anyway, now).await? {
                        Reservation::Granted { known_good, drop_before } => {
                            (slots.known_good, slots.drop_before) = (known_good, drop_before);
                            let step = interval(pace);
                            slots.held = std::iter::successors(Some(now), |slot| slot.checked_add(step).ok())
                                .take(usize::try_from(count).unwrap_or(1))
                                .collect();
                            continue;
                        }
                        Reservation::Closed(Closed::Busy { until }) => until,
                        closed @ Reservation::Closed(_) => return Ok(closed),
                    }
                }
            };
            let wait = until.duration_since(now);
            let patient = shift.look_anyway || wait <= WORTH_WAITING;
            let wait = Duration::try_from(wait).unwrap_or_default();
            if !patient || shift.deadline.remaining() < wait + TIME_FOR_A_SEND {
                return Ok(Reservation::Closed(Closed::Busy { until }));
            }
            tokio::time::sleep(wait.max(Duration::from_millis(5))).await;
        }
    }
}
