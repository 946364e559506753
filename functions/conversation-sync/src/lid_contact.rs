//! Private ids of `WhatsApp` ("lids") and the numbers that they stand for.
//!
//! A line names more and more customers by a private id. No rule leads from it to the number, so
//! the number is learned: from an event with both, from earlier messages of the conversation, and
//! from the ledger's row of our own message, when the line reports it in the chat of a private id.
//! One row for each id keeps what is known ([`LidContact`]). Its key is a pseudonym.
//!
//! Until the number is known, the team is alerted as for any customer. An opt-out waits in the row,
//! and so do the deliveries that led to no CRM entry, and the conversations that have no id of
//! their own. When the number is known, the opt-out is applied, the conversations move to the
//! number, and the deliveries are processed again.
//!
//! Events with a number and without a private id read and write nothing here.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    client_config::ClientConfig,
    clock::Clock,
    contact::{Lid, Phone},
    inbox::Inbox,
    ledger::Ledger,
};

use crate::{
    conversation::Conversation,
    message_record::RECORD_QUEUE,
    record_store::{ItemKey, Persisted, RecordStore, RecordUpdate},
    sync_error::SyncError,
};

/// How long a row is kept after its last change.
const LID_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);
/// A known number is written again after this time, so that the row of a customer who writes is
/// kept.
const REFRESH_AFTER: SignedDuration = SignedDuration::from_hours(24 * 30);
/// The most deliveries that wait for the number of one id.
const MAX_WAITING_DELIVERIES: usize = 100;
/// How long a delivery may be in progress. Until then its outcome may still be written.
const DELIVERY_TIME: SignedDuration = SignedDuration::from_mins(10);
/// When deliveries that were in progress are tried again.
const RETRY_DELAY: SignedDuration = SignedDuration::from_mins(1);
/// The most ids in memory.
const MAX_CACHED_LIDS: usize = 5_000;
/// How long a number counts from memory. A customer who gets a new number keeps the id.
const CACHE_TIME: SignedDuration = SignedDuration::from_mins(10);

/// What is known of a private id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LidContact {
    /// The number, and when it was seen beside the id.
    number: Option<LearnedNumber>,
    /// An opt-out that waits for the number.
    opted_out_at: Option<Timestamp>,
    /// Deliveries that wait for the number, the oldest first.
    waiting: Vec<WaitingDelivery>,
    /// The subjects of conversations whose key is the private id.
    #[serde(default)]
    conversations: Vec<String>,
    /// When the row last changed.
    changed_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LearnedNumber {
    phone: String,
    seen_at: Timestamp,
}

impl std::fmt::Debug for LearnedNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LearnedNumber").field("seen_at", &self.seen_at).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WaitingDelivery {
    /// Its key in the inbox.
    id: String,
    /// When it was processed.
    at: Timestamp,
}

impl Persisted for LidContact {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        (self.number.is_some() && self.has_waiting()).then(|| (RECORD_QUEUE.to_owned(), self.changed_at + RETRY_DELAY))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        // An opt-out is never forgotten.
        if self.opted_out_at.is_some() {
            return None;
        }
        self.changed_at.saturating_add(LID_RETENTION).ok()
    }
}

impl LidContact {
    /// The opt-out that waits for the number.
    pub(crate) fn opted_out_at(&self) -> Option<Timestamp> {
        self.opted_out_at
    }

    /// The keys of the deliveries that wait for the number.
    pub(crate) fn waiting_deliveries(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(|waiting| waiting.id.as_str())
    }

    /// The number, if it is known.
    pub(crate) fn phone(&self) -> Option<Phone> {
        Phone::from_e164(&self.number.as_ref()?.phone).ok()
    }

    fn has_waiting(&self) -> bool {
        self.opted_out_at.is_some() || !self.waiting.is_empty() || !self.conversations.is_empty()
    }

    /// The row with this number, which was seen beside the id at that time. A newer sight counts
    /// more.
    fn with_number(&self, phone: &Phone, seen_at: Timestamp, now: Timestamp) -> Self {
        let is_settled = self.number.as_ref().is_some_and(|known| {
            let is_same = self.phone().is_some_and(|known| known.is_same_contact(phone));
            known.seen_at > seen_at || (is_same && now.duration_since(self.changed_at) < REFRESH_AFTER)
        });
        if is_settled {
            return self.clone();
        }
        let number = Some(LearnedNumber { phone: phone.expose().to_owned(), seen_at });
        Self { number, changed_at: now, ..self.clone() }
    }

    /// The row with one more delivery that waits. A delivery that is processed again is in progress
    /// again, so its time counts anew.
    fn with_waiting(&self, delivery_id: &str, now: Timestamp) -> Self {
        let mut next = Self { changed_at: now, ..self.clone() };
        next.waiting.retain(|waiting| waiting.id != delivery_id);
        next.waiting.push(WaitingDelivery { id: delivery_id.to_owned(), at: now });
        if next.waiting.len() > MAX_WAITING_DELIVERIES {
            next.waiting.remove(0);
        }
        next
    }

    /// The row with one more conversation that waits.
    fn with_conversation(&self, subject: &str, now: Timestamp) -> Self {
        if self.conversations.iter().any(|known| known == subject) {
            return self.clone();
        }
        let mut next = Self { changed_at: now, ..self.clone() };
        next.conversations.push(subject.to_owned());
        next
    }

    /// The row after what waited was settled: without this opt-out, these deliveries and these
    /// conversations.
    fn without_settled(&self, settled: &SettledWaiting, now: Timestamp) -> Self {
        let mut next = Self { changed_at: now, ..self.clone() };
        next.waiting.retain(|waiting| !settled.delivery_ids.contains(&waiting.id));
        next.conversations.retain(|subject| !settled.conversations.contains(subject));
        next.opted_out_at = next.opted_out_at.filter(|at| settled.opted_out_at != Some(*at));
        next
    }
}

/// What waited for a number and does not any more.
#[derive(Debug, Default, PartialEq, Eq)]
struct SettledWaiting {
    opted_out_at: Option<Timestamp>,
    delivery_ids: Vec<String>,
    conversations: Vec<String>,
}

/// The numbers of private ids, in memory.
#[derive(Debug, Default)]
pub(crate) struct KnownLids(Mutex<HashMap<ItemKey, CachedNumber>>);

#[derive(Debug)]
struct CachedNumber {
    phone: Phone,
    until: Timestamp,
}

impl KnownLids {
    fn get(&self, key: &ItemKey, now: Timestamp) -> Option<Phone> {
        self.lock().get(key).filter(|cached| cached.until > now).map(|cached| cached.phone.clone())
    }

    fn put(&self, key: &ItemKey, phone: &Phone, now: Timestamp) {
        let mut known = self.lock();
        if known.len() >= MAX_CACHED_LIDS {
            known.clear();
        }
        known.insert(key.clone(), CachedNumber { phone: phone.clone(), until: now + CACHE_TIME });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ItemKey, CachedNumber>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Learns and finds the numbers of private ids.
pub(crate) struct LidContacts<'a> {
    pub(crate) config: &'a ClientConfig,
    pub(crate) ledger: &'a Ledger,
    pub(crate) clock: &'a Clock,
    pub(crate) store: &'a RecordStore,
    pub(crate) inbox: &'a Inbox,
    pub(crate) known: &'a KnownLids,
}

impl LidContacts<'_> {
    /// The number of a private id, if it is known.
    pub(crate) async fn find_number(&self, lid: &Lid) -> Result<Option<Phone>, SyncError> {
        let (key, now) = (self.item_key(lid), self.clock.now());
        if let Some(phone) = self.known.get(&key, now) {
            return Ok(Some(phone));
        }
        let Some(phone) = self.store.get_record::<LidContact>(&key).await?.and_then(|row| row.value.phone()) else {
            return Ok(None);
        };
        self.known.put(&key, &phone, now);
        Ok(Some(phone))
    }

    /// Records that a number was seen beside a private id, and settles what waited for it.
    pub(crate) async fn learn_number(&self, lid: &Lid, phone: &Phone, seen_at: Timestamp) -> Result<(), SyncError> {
        let (key, now) = (self.item_key(lid), self.clock.now());
        if self.known.get(&key, now).is_some_and(|known| known.is_same_contact(phone)) {
            return Ok(());
        }
        let learn = |before: Option<&LidContact>| {
            let next = before.cloned().unwrap_or_default().with_number(phone, seen_at, now);
            RecordUpdate::write_changed(before, next, |row| row)
        };
        let row = self.store.update_record(&key, learn).await?;
        self.settle_waiting(&key, &row).await?;
        if let Some(phone) = row.phone() {
            self.known.put(&key, &phone, now);
        }
        Ok(())
    }

    /// Keeps an opt-out until the number is known.
    pub(crate) async fn hold_opt_out(&self, lid: &Lid, at: Timestamp) -> Result<(), SyncError> {
        let now = self.clock.now();
        let hold = |mut row: LidContact| {
            if row.opted_out_at.is_none() {
                (row.opted_out_at, row.changed_at) = (Some(at), now);
            }
            row
        };
        self.hold(&self.item_key(lid), hold).await
    }

    /// Keeps the key of a delivery until the number is known. Then it is processed again.
    pub(crate) async fn hold_delivery(&self, lid: &Lid, delivery_id: &str) -> Result<(), SyncError> {
        let now = self.clock.now();
        self.hold(&self.item_key(lid), |row: LidContact| row.with_waiting(delivery_id, now)).await
    }

    /// Keeps the key of a conversation until the number is known. Then the conversation moves.
    pub(crate) async fn hold_conversation(&self, lid: &Lid, key: &ItemKey) -> Result<(), SyncError> {
        let now = self.clock.now();
        self.hold(&self.item_key(lid), |row: LidContact| row.with_conversation(&key.subject, now)).await
    }

    /// Settles a row whose number is known and for which something waits.
    pub(crate) async fn settle_due_row(&self, key: &ItemKey) -> Result<(), SyncError> {
        match self.store.get_record::<LidContact>(key).await? {
            Some(row) => self.settle_waiting(key, &row.value).await,
            None => Ok(()),
        }
    }

    /// Whether a due row belongs to a private id.
    pub(crate) fn owns_row(key: &ItemKey) -> bool {
        key.subject.starts_with("lid:")
    }

    fn item_key(&self, lid: &Lid) -> ItemKey {
        ItemKey::for_state(self.ledger.lid_subject(lid))
    }

    async fn hold(&self, key: &ItemKey, change: impl Fn(LidContact) -> LidContact) -> Result<(), SyncError> {
        let hold = |before: Option<&LidContact>| {
            RecordUpdate::write_changed(before, change(before.cloned().unwrap_or_default()), |row| row)
        };
        // Another invocation may have learned the number meanwhile.
        let row = self.store.update_record(key, hold).await?;
        self.settle_waiting(key, &row).await
    }

    /// Applies the opt-out, moves the conversations, and lets the deliveries be processed again. A
    /// delivery has other notes at times, so its outcome may have any code. Every step can be
    /// repeated.
    async fn settle_waiting(&self, key: &ItemKey, row: &LidContact) -> Result<(), SyncError> {
        let Some(phone) = row.phone().filter(|_| row.has_waiting()) else { return Ok(()) };
        let now = self.clock.now();
        if let Some(at) = row.opted_out_at {
            let contact = self.ledger.contact_subject(&phone);
            if self.ledger.opt_out(&contact, at).await? {
                tracing::info!(contact.key = contact, "recorded opt-out of {contact}, whose number was not known");
            }
        }
        let mut settled = SettledWaiting { opted_out_at: row.opted_out_at, ..SettledWaiting::default() };
        // Before the deliveries: their messages are known in the conversation then.
        for subject in &row.conversations {
            if self.move_conversation(&ItemKey::for_state(subject), &phone).await? {
                settled.conversations.push(subject.clone());
            }
        }
        for waiting in &row.waiting {
            let is_replayed = self.inbox.replay_processed_delivery(&waiting.id, now).await?;
            if is_replayed || now.duration_since(waiting.at) > DELIVERY_TIME {
                settled.delivery_ids.push(waiting.id.clone());
            }
        }
        let forget = |before: Option<&LidContact>| match before {
            Some(row) => RecordUpdate::write_changed(before, row.without_settled(&settled, now), drop),
            None => RecordUpdate::keep(()),
        };
        Ok(self.store.update_record(key, forget).await?)
    }

    /// Moves a conversation from the private id to the number. Returns whether nothing is left.
    async fn move_conversation(&self, from: &ItemKey, phone: &Phone) -> Result<bool, SyncError> {
        let Some(left) = self.store.get_record::<Conversation>(from).await? else { return Ok(true) };
        let left = left.value;
        let contact = self.ledger.contact_subject(phone);
        let Some(to) = Conversation::item_key(&left.line, None, Some(&contact)) else { return Ok(true) };
        let merge = |before: Option<&Conversation>| {
            let mut next = before.cloned().unwrap_or_else(|| left.without_contents());
            next.phone.get_or_insert_with(|| phone.expose().to_owned());
            next.merge(left.clone(), &from.subject);
            next.check_at = next.next_check(self.config);
            RecordUpdate::write_changed(before, next, drop)
        };
        self.store.update_record(&to, merge).await?;
        // What another invocation added meanwhile moves with the next attempt.
        let empty = |before: Option<&Conversation>| match before {
            Some(before) if *before == left => RecordUpdate::write(before.without_contents(), true),
            before => RecordUpdate::keep(before.is_none()),
        };
        Ok(self.store.update_record(from, empty).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_day(day: i64) -> Timestamp {
        "2026-11-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * day)
    }

    fn phone(number: &str) -> Phone {
        Phone::from_e164(number).unwrap()
    }

    #[test]
    fn the_newest_number_seen_beside_an_id_counts_and_a_known_one_is_written_seldom() {
        let (old, new) = (phone("+972545550199"), phone("+972525550101"));
        let row = LidContact::default().with_number(&old, at_day(1), at_day(1));
        assert_eq!(row.with_number(&old, at_day(2), at_day(2)), row, "known");
        assert_ne!(row.with_number(&old, at_day(40), at_day(40)), row, "kept for another year");
        let moved = row.with_number(&new, at_day(3), at_day(3));
        assert_eq!(moved.phone(), Some(new));
        assert_eq!(moved.with_number(&old, at_day(2), at_day(4)), moved, "an older report");
        let brazil = LidContact::default().with_number(&phone("+5511987654321"), at_day(1), at_day(1));
        assert_eq!(brazil.with_number(&phone("+551187654321"), at_day(2), at_day(2)), brazil, "the same number");
    }

    #[test]
    fn what_waits_is_kept_until_it_is_settled_and_an_opt_out_is_never_forgotten() {
        let mut row = LidContact::default().with_waiting("main#1", at_day(1)).with_waiting("main#2", at_day(1));
        let again = row.with_waiting("main#1", at_day(2));
        let times: Vec<_> = again.waiting.iter().map(|waiting| (waiting.id.as_str(), waiting.at)).collect();
        assert_eq!(times, [("main#2", at_day(1)), ("main#1", at_day(2))], "once each, and in progress again");
        row.opted_out_at = Some(at_day(1));
        assert_eq!((row.expires_at(), row.due_in_queue()), (None, None), "no number yet");
        let row = row.with_number(&phone("+972545550199"), at_day(2), at_day(2));
        assert_eq!(row.due_in_queue(), Some((RECORD_QUEUE.to_owned(), at_day(2) + RETRY_DELAY)));
        let settled = SettledWaiting {
            opted_out_at: Some(at_day(1)),
            delivery_ids: vec!["main#1".to_owned()],
            ..SettledWaiting::default()
        };
        let rest = row.without_settled(&settled, at_day(3));
        assert_eq!((rest.opted_out_at, rest.waiting.len()), (None, 1));
        let settled = SettledWaiting { delivery_ids: vec!["main#2".to_owned()], ..SettledWaiting::default() };
        let empty = rest.without_settled(&settled, at_day(3));
        assert!(empty.due_in_queue().is_none() && empty.expires_at().is_some() && empty.phone().is_some());
    }

    #[test]
    fn at_most_a_hundred_deliveries_wait_for_one_number() {
        let many = (0..150).fold(LidContact::default(), |row, n| row.with_waiting(&format!("main#{n}"), at_day(1)));
        assert_eq!((many.waiting.len(), many.waiting[0].id.as_str()), (100, "main#50"));
        assert!(!format!("{:?}", many.with_number(&phone("+972545550199"), at_day(1), at_day(1))).contains("5550199"));
    }

    #[test]
    fn a_number_counts_from_memory_for_some_minutes() {
        let (known, key) = (KnownLids::default(), ItemKey::for_state("lid:ab"));
        known.put(&key, &phone("+972545550199"), at_day(1));
        assert!(known.get(&key, at_day(1)).is_some() && known.get(&key, at_day(2)).is_none());
    }
}
