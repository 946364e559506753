//! A slow walk through the ledger that erases personal data after `retention.personal_days`.
//!
//! Flow: each call reads some pages from where the last one ended. A pass through the whole ledger
//! begins at most once a day. So no message costs a further write while it is sent, and a row loses
//! its data within a day or two of its age.
//!
//! Promises: a row is erased only over what was read. A position that is lost costs a new pass.

use jiff::{SignedDuration, Timestamp};

use super::{
    Ledger, LedgerError,
    erasure::ErasureCause,
    row_erasure::{ErasureResult, LedgerEntry, LedgerPosition},
};
use crate::{
    attributes::{ItemReader, text_value, time_value},
    clock::Deadline,
};

/// The row with the position of the walk.
const WALK_SUBJECT: &str = "retention";
const WALK_STAGE: &str = "state";
/// How long after its begin a pass is followed by the next one.
const PASS_TIME: SignedDuration = SignedDuration::from_hours(20);
/// The most pages of one call. A page has a megabyte, so 24 calls a day read a ledger of 1.5 GB, or
/// about a million rows. A call takes some ten seconds then.
const MAX_PAGES: usize = 64;

/// Where the walk is.
#[derive(Debug, Default, PartialEq, Eq)]
struct WalkState {
    /// When the present or last pass began.
    began_at: Option<Timestamp>,
    /// Where it goes on; `None` if it has ended.
    position: Option<LedgerPosition>,
}

impl WalkState {
    /// The walk at its next call; `None` if there is nothing to do yet.
    fn resume(self, now: Timestamp) -> Option<Self> {
        let is_next = self.began_at.is_none_or(|began_at| now.duration_since(began_at) >= PASS_TIME);
        match self.position {
            Some(_) => Some(self),
            None if is_next => Some(Self { began_at: Some(now), position: None }),
            None => None,
        }
    }
}

impl Ledger {
    /// Walks on and erases what has been kept for `age`, as long as there is time. Returns how many
    /// rows lost their data.
    pub async fn erase_aged(
        &self,
        age: SignedDuration,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<usize, LedgerError> {
        let Some(mut walk) = self.read_walk().await?.resume(now) else { return Ok(0) };
        let mut erased = 0;
        for _ in 0..MAX_PAGES {
            let (items, next) = self.scan_items(walk.position.as_ref(), false).await?;
            for item in &items {
                if !deadline.has_time_for_call() {
                    self.save_walk(&walk).await?;
                    return Ok(erased);
                }
                // A row of a newer version, or a damaged one, stays as it is.
                if let Ok(Some(entry)) = LedgerEntry::from_item(item) {
                    erased += usize::from(self.erase_if_aged(entry, age, now).await? == ErasureResult::Erased);
                }
                walk.position = LedgerPosition::of_item(item).or(walk.position);
            }
            walk.position = next;
            if walk.position.is_none() {
                break;
            }
        }
        self.save_walk(&walk).await?;
        Ok(erased)
    }

    async fn erase_if_aged(
        &self,
        entry: LedgerEntry,
        age: SignedDuration,
        now: Timestamp,
    ) -> Result<ErasureResult, LedgerError> {
        match entry {
            LedgerEntry::Message(row) if row.has_aged(age, now) => {
                self.erase_message(&row, ErasureCause::Age, None, now).await
            }
            LedgerEntry::Appointment(header) if header.has_aged(age, now) => {
                self.erase_attendees(&header, |_| true, None, now).await
            }
            LedgerEntry::Message(_) | LedgerEntry::Appointment(_) => Ok(ErasureResult::Nothing),
        }
    }

    async fn read_walk(&self) -> Result<WalkState, LedgerError> {
        let Some(item) = self.get_item(WALK_SUBJECT, WALK_STAGE).await? else { return Ok(WalkState::default()) };
        let item = ItemReader(&item);
        let position = item.text("position").and_then(|text| serde_json::from_str(text).ok());
        Ok(WalkState { began_at: item.time("began_at"), position })
    }

    async fn save_walk(&self, walk: &WalkState) -> Result<(), LedgerError> {
        let began_at = walk.began_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .key("subject", text_value(WALK_SUBJECT))
            .key("stage", text_value(WALK_STAGE))
            .expression_attribute_names("#position", "position")
            .expression_attribute_values(":began_at", time_value(began_at));
        let update = match walk.position.as_ref().and_then(|position| serde_json::to_string(position).ok()) {
            Some(position) => update
                .update_expression("SET began_at = :began_at, #position = :position")
                .expression_attribute_values(":position", text_value(position)),
            None => update.update_expression("SET began_at = :began_at REMOVE #position"),
        };
        update.send().await.map(drop).map_err(|error| LedgerError::Update(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_begins_once_a_day_and_one_that_has_not_ended_goes_on() {
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let ended = |began: i64| WalkState { began_at: Some(at(began)), position: None };
        assert_eq!(WalkState::default().resume(at(1)), Some(ended(1)));
        assert_eq!(ended(1).resume(at(20)), None);
        assert_eq!(ended(1).resume(at(21)), Some(ended(21)));
        let position: Option<LedgerPosition> = serde_json::from_str(r#"{"subject":"order:1","stage":"ready"}"#).ok();
        let half = || WalkState { began_at: Some(at(1)), position: position.clone() };
        assert_eq!(half().resume(at(2)), Some(half()));
        assert_eq!(half().resume(at(99)), Some(half()), "it began late and goes on");
    }
}
