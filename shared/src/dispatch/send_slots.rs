//! Slots of a line's rate. An invocation with one message reserves one slot; a sweep reserves
//! several at once.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{DispatchError, Invocation, invocation::MIN_TIME_FOR_SEND, line_tools::LineTools};
use crate::{
    ledger::IdempotencyKey,
    line::{LineBlocked, SlotReservation, slot_interval},
};

/// Longest wait of a delivery's message for its slot. After that the message waits in the ledger
/// for the sweep, because the deliveries behind it must not wait for the line's rate.
const MAX_SLOT_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// How far ahead a sweep reserves slots, in seconds. That halves the writes at the usual rate and
/// saves nearly all at a fast rate. A message of a delivery that arrives meanwhile is sent by the
/// sweep, with the most useful first.
const RESERVE_AHEAD_SECONDS: u32 = 6;

/// Reserved slots of one line, and the number of messages that still need one.
#[derive(Debug)]
pub struct SendSlots {
    messages_left: usize,
    reserved: VecDeque<Timestamp>,
    recent_health: Option<String>,
    drop_before: Option<Timestamp>,
}

impl SendSlots {
    /// Slots for so many messages.
    pub fn for_messages(messages_left: usize) -> Self {
        Self { messages_left, reserved: VecDeque::new(), recent_health: None, drop_before: None }
    }

    /// Removes the slot in front, because it was used.
    pub(super) fn spend_slot(&mut self) {
        self.reserved.pop_front();
        self.messages_left = self.messages_left.saturating_sub(1);
    }
}

impl LineTools<'_> {
    /// Reserves a slot of the line, and waits if the next one is near. It stays in front of `slots`
    /// until it is spent.
    pub(super) async fn reserve_slot(
        self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        line: &str,
        key: &IdempotencyKey,
    ) -> Result<SlotReservation, DispatchError> {
        let messages_per_minute = self.find_line(line, key)?.1.messages_per_minute;
        loop {
            let now = self.clock.now();
            let until = match slots.reserved.front() {
                Some(slot) if *slot <= now => {
                    let (recent_health, drop_before) = (slots.recent_health.take(), slots.drop_before);
                    return Ok(SlotReservation::Granted { recent_health, drop_before });
                }
                Some(slot) => *slot,
                None => {
                    let ahead = (messages_per_minute * RESERVE_AHEAD_SECONDS / 60).max(1);
                    let count = u32::try_from(slots.messages_left).unwrap_or(u32::MAX).clamp(1, ahead);
                    match self
                        .line_state
                        .reserve_slots(line, messages_per_minute, count, invocation.is_sweep(), now)
                        .await?
                    {
                        SlotReservation::Granted { recent_health, drop_before } => {
                            (slots.recent_health, slots.drop_before) = (recent_health, drop_before);
                            let step = slot_interval(messages_per_minute);
                            slots.reserved = std::iter::successors(Some(now), |slot| slot.checked_add(step).ok())
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
            let will_wait = invocation.is_sweep() || wait <= MAX_SLOT_WAIT;
            let wait = Duration::try_from(wait).unwrap_or_default();
            if !will_wait || invocation.deadline.remaining() < wait + MIN_TIME_FOR_SEND {
                return Ok(SlotReservation::Blocked(LineBlocked::RateLimited { until }));
            }
            tokio::time::sleep(wait.max(Duration::from_millis(5))).await;
        }
    }
}
