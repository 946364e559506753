//! Slots of a line's pace: one asked for by whoever has one message, several at once by whoever has many.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{DispatchError, Dispatcher, Invocation, MIN_TIME_FOR_SEND};
use crate::{
    client_config::LineConfig,
    line::{LineBlocked, SlotReservation, slot_interval},
};

/// How long a function waits for its slot of the line's pace before it leaves the message to the clock.
const MAX_SLOT_WAIT: SignedDuration = SignedDuration::from_secs(6);
/// How far ahead a sweep takes slots, in seconds: half the writes at the usual pace and next to none at a fast one, and
/// fresh news of an order still gets its turn within the time that it waits.
const RESERVE_AHEAD_SECONDS: u32 = 6;

/// The slots of one line that somebody holds, and how many messages they are for.
#[derive(Debug)]
pub struct SendSlots {
    messages_left: usize,
    held: VecDeque<Timestamp>,
    known_good: Option<String>,
    drop_before: Option<Timestamp>,
}

impl SendSlots {
    /// For so many messages.
    pub fn for_messages(messages_left: usize) -> Self {
        Self { messages_left: messages_left, held: VecDeque::new(), known_good: None, drop_before: None }
    }

    /// The slot in front was used.
    pub(super) fn spend_slot(&mut self) {
        self.held.pop_front();
        self.messages_left = self.messages_left.saturating_sub(1);
    }
}

impl Dispatcher {
    /// A slot of the line's pace, which stays in front of `send_slots` until it is spent; waits for one that is near.
    pub(super) async fn reserve_slot(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        line_name: &str,
        line: &LineConfig,
    ) -> Result<SlotReservation, DispatchError> {
        loop {
            let now = self.clock.now();
            let until = match slots.held.front() {
                Some(slot) if *slot <= now => {
                    let (known_good, drop_before) = (slots.known_good.take(), slots.drop_before);
                    return Ok(SlotReservation::Granted { recent_health: known_good, drop_before });
                }
                Some(slot) => *slot,
                None => {
                    let ahead = (line.messages_per_minute * RESERVE_AHEAD_SECONDS / 60).max(1);
                    let count = u32::try_from(slots.messages_left).unwrap_or(u32::MAX).clamp(1, ahead);
                    let messages_per_minute = line.messages_per_minute;
                    match self
                        .line_state
                        .reserve_slots(line_name, messages_per_minute, count, invocation.probe_down_lines, now)
                        .await?
                    {
                        SlotReservation::Granted { recent_health: known_good, drop_before } => {
                            (slots.known_good, slots.drop_before) = (known_good, drop_before);
                            let step = slot_interval(messages_per_minute);
                            slots.held = std::iter::successors(Some(now), |slot| slot.checked_add(step).ok())
                                .take(usize::try_from(count).unwrap_or(1))
                                .collect();
                            continue;
                        }
                        SlotReservation::Blocked(LineBlocked::RateLimited { until }) => until,
                        blocked @ SlotReservation::Blocked(_) => return Ok(blocked),
                    }
                }
            };
            let wait = until.duration_since(now);
            let will_wait = invocation.probe_down_lines || wait <= MAX_SLOT_WAIT;
            let wait = Duration::try_from(wait).unwrap_or_default();
            if !will_wait || invocation.deadline.remaining() < wait + MIN_TIME_FOR_SEND {
                return Ok(SlotReservation::Blocked(LineBlocked::RateLimited { until }));
            }
            tokio::time::sleep(wait.max(Duration::from_millis(5))).await;
        }
    }
}
