//! A ledger in memory, for one preview.
//!
//! Takes a message through [`apply_change`] and [`decide_message`] as `tellonce_core::dispatch`
//! does, over a line that accepts every message. Time advances to the next delivery, and at the end
//! of the preview to the last waiting message. A waiting message is sent at its due time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::ledger::{
    ClaimOwner, IdempotencyKey, LedgerRow, MessageState, OutboundMessage, RowChange, apply_change, decide_message,
};

use super::{MessagePreview, preview_message};

#[derive(Default)]
pub(super) struct InMemoryLedger {
    rows: BTreeMap<IdempotencyKey, LedgerRow>,
}

/// Whether the ledger already had a message, and under which key.
pub(super) enum LedgerLookup {
    New(IdempotencyKey),
    Known(IdempotencyKey, MessageState),
    /// Known, with another text.
    Conflicting(IdempotencyKey, MessageState),
}

impl InMemoryLedger {
    /// All rows of a subject.
    pub(super) fn history(&self, subject: &str) -> Vec<LedgerRow> {
        self.rows.values().filter(|row| row.key.subject() == subject).cloned().collect()
    }

    pub(super) fn find_row(&self, key: &IdempotencyKey) -> Option<&LedgerRow> {
        self.rows.get(key)
    }

    /// The message that was sent under a key, or the reason why none was.
    pub(super) fn final_result(&self, key: &IdempotencyKey) -> Option<Result<MessagePreview, String>> {
        let row = self.find_row(key)?;
        if row.state == MessageState::Accepted {
            return Some(Ok(preview_message(row, row.payload.as_ref()?, row.updated_at)));
        }
        let reason = row.reason.as_deref().unwrap_or_default();
        // The reasons of these two states begin with their own code.
        let has_own_code = matches!(row.state, MessageState::Suppressed | MessageState::Incomplete);
        Some(Err(if has_own_code { reason.to_owned() } else { format!("{}: {reason}", row.state.name()) }))
    }

    /// Opens a row for a message, unless its key is taken.
    pub(super) fn dispatch_message(&mut self, message: &OutboundMessage, now: Timestamp) -> LedgerLookup {
        let mut key = message.key.clone();
        loop {
            let Some(before) = self.rows.get(&key) else {
                self.begin_row(LedgerRow::from_message(message, key.clone(), preview_owner(), now, now), now);
                return LedgerLookup::New(key);
            };
            match (&message.instance, &before.instance) {
                (Some(mine), Some(theirs)) if mine != theirs && key == message.key => key = key.with_instance(mine),
                _ => {
                    let mine = LedgerRow::from_message(message, key.clone(), preview_owner(), now, now);
                    if let Some(next) = mine.replace_incomplete(before) {
                        self.begin_row(next, now);
                        return LedgerLookup::New(key);
                    }
                    let state = before.state;
                    let differs = matches!((&before.payload, &mine.payload), (Some(a), Some(b)) if a != b);
                    return if differs {
                        LedgerLookup::Conflicting(key, state)
                    } else {
                        LedgerLookup::Known(key, state)
                    };
                }
            }
        }
    }

    /// Lets time pass until `until`. Each message that is due before is sent, superseded or
    /// expired.
    pub(super) fn advance_to(&mut self, until: Timestamp) {
        loop {
            let due = self.rows.values().filter_map(|row| Some((row.due_at.filter(|due| *due <= until)?, row)));
            let first = due.min_by_key(|(due, row)| (*due, std::cmp::Reverse(row.priority)));
            let Some((now, row)) = first.map(|(due, row)| (due, row.clone())) else { return };
            let change = if row.useful_until <= now {
                RowChange::Expire { owner: None }
            } else {
                RowChange::Claim { owner: preview_owner(), lease_until: now }
            };
            match apply_change(&row, &change, now) {
                Ok(next) if next.state == MessageState::Claimed => self.send_row(next, now),
                Ok(next) => self.store_row(next),
                // No other worker can hold this row. Without a due time the loop ends.
                Err(_) => self.store_row(LedgerRow { due_at: None, ..row }),
            }
        }
    }

    fn begin_row(&mut self, row: LedgerRow, now: Timestamp) {
        if row.state == MessageState::Claimed { self.send_row(row, now) } else { self.store_row(row) }
    }

    /// Sends a claimed row, unless its history forbids it.
    fn send_row(&mut self, row: LedgerRow, now: Timestamp) {
        let verdict = decide_message(&row, &self.history(row.key.subject()), now);
        let change = verdict
            .into_change(preview_owner())
            .unwrap_or(RowChange::Accept { owner: preview_owner(), provider_id: None });
        let next = apply_change(&row, &change, now).unwrap_or(row);
        self.store_row(next);
    }

    fn store_row(&mut self, row: LedgerRow) {
        self.rows.insert(row.key.clone(), row);
    }
}

fn preview_owner() -> ClaimOwner {
    ClaimOwner("preview".to_owned())
}
