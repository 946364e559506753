//! What happened in a run, as rows for people: each post at the gateway, what its delivery led to,
//! and each step of a message.
//!
//! Main types: an [`ActivityLog`] numbers [`ActivityEntry`]s, keeps the last ones and counts all;
//! [`ActivityEvent`] is what happened. [`ActivityLog::subscribe`] returns each new entry as it
//! comes, and [`ActivityLog::entries_after`] the ones behind a number. An entry displays as one
//! line for a terminal.
//!
//! Promises: an entry names no customer, and holds no text, number or secret. The log is bounded.
//! In a state folder its last entries survive a restart. A loss of some does not matter: the ledger
//! and the inboxes keep what must stay.

mod follower;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::Path,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use tellonce_fakes::json_lines::JsonLines;
use tokio::sync::broadcast;

use crate::{clock::LocalClock, stored_deliveries::StoredDelivery};

pub(crate) use follower::follow_tables;

/// Entries that are kept.
const MAX_ENTRIES: usize = 3_000;
/// Entries that a subscriber may be behind before it loses the oldest.
const MAX_BEHIND: usize = 1_000;
/// Counters are kept for each quarter of an hour, because the time zones of the world differ by
/// whole quarters.
const BUCKET_MS: i64 = 15 * 60 * 1000;
/// Quarters of an hour that are kept: four days.
const MAX_BUCKETS: usize = 4 * 24 * 4;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityEntry {
    /// Counts entries from 1.
    pub number: u64,
    /// When, by the stack's clock, in unix milliseconds.
    pub at_ms: i64,
    /// What.
    #[serde(flatten)]
    pub event: ActivityEvent,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ActivityEvent {
    /// A sender posted at the gateway.
    Post(GatewayPost),
    /// A function recorded why a delivery led to no message.
    Outcome {
        /// The delivery, by its key in the inbox.
        delivery: String,
        /// The code of the outcome.
        code: String,
        /// Why, for people.
        text: String,
    },
    /// A message took a step of its trail. The claim of a message is not a step here.
    Message {
        /// Its idempotency key: `order:1001:ready`.
        key: String,
        /// The delivery that it came from.
        delivery: String,
        /// The order number that the customer knows.
        order_number: Option<String>,
        /// Its state in the ledger after the step.
        state: String,
        /// The code of the step: `accepted`, `line-down`, `delivered`.
        code: String,
        /// What the code does not say.
        detail: Option<String>,
    },
    /// The run itself changed: its clock was moved, `client.toml` was loaded.
    Run {
        /// A sentence without its full stop.
        text: String,
    },
}

/// A post at the gateway, and the response to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPost {
    /// The part of the path before the sender's name: `stores`, `bookings`, `leads`, `lines`. Empty
    /// for an address that no route takes.
    pub kind: String,
    /// The name of the sender in the path, cut to 64 characters.
    pub sender: String,
    /// What the delivery is about in the sender's words: `orders/create`.
    pub topic: Option<String>,
    /// The HTTP status of the response.
    pub status: u16,
    /// What became of it.
    pub result: PostResult,
    /// The reason in the response to a refused post.
    pub reason: Option<String>,
    /// The delivery, by its key in the inbox, if it is stored.
    pub delivery: Option<String>,
    /// When a repeated delivery came in first, in unix milliseconds.
    pub first_at_ms: Option<i64>,
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostResult {
    /// The delivery was new and is stored.
    CameIn,
    /// The delivery was stored before. Nothing follows from it.
    Repeat,
    /// Accepted, and nothing is to be stored: a ping, a handshake.
    Answered,
    /// Its proof is wrong: 401 or 403.
    Forged,
    /// Refused for another reason: another status from 400 to 499.
    Refused,
    /// The function failed: a status from 500.
    Failed,
}

impl PostResult {
    fn of_response(status: u16, stored: Option<&StoredDelivery>) -> Self {
        match (status, stored) {
            (401 | 403, _) => Self::Forged,
            (400..=499, _) => Self::Refused,
            (500.., _) => Self::Failed,
            (_, Some(StoredDelivery { first_at_ms: Some(_), .. })) => Self::Repeat,
            (_, Some(_)) => Self::CameIn,
            (_, None) => Self::Answered,
        }
    }
}

impl GatewayPost {
    /// A post to a sender's address, after its response.
    pub(crate) fn new(
        address: (&str, &str),
        status: u16,
        reason: Option<String>,
        stored: Option<StoredDelivery>,
    ) -> Self {
        let result = PostResult::of_response(status, stored.as_ref());
        let (kind, sender) = address;
        let stored = stored.unwrap_or_default();
        Self {
            kind: kind.to_owned(),
            sender: sender.chars().take(64).collect(),
            topic: stored.topic,
            status,
            result,
            reason,
            delivery: Some(stored.id).filter(|id| !id.is_empty()),
            first_at_ms: stored.first_at_ms,
        }
    }
}

/// The log of a run.
#[derive(Debug)]
pub struct ActivityLog {
    clock: Arc<LocalClock>,
    held: Mutex<HeldEntries>,
    news: broadcast::Sender<Arc<ActivityEntry>>,
}

#[derive(Debug, Default)]
struct HeldEntries {
    file: Option<JsonLines>,
    last_number: u64,
    entries: VecDeque<Arc<ActivityEntry>>,
    /// Posts by the quarter of an hour.
    posts: BTreeMap<i64, BTreeMap<PostResult, u64>>,
}

impl ActivityLog {
    /// Opens the log in a file, with the last entries of earlier runs, or one in memory.
    pub(crate) fn open(clock: Arc<LocalClock>, file: Option<&Path>) -> anyhow::Result<Self> {
        let (news, _) = broadcast::channel(MAX_BEHIND);
        let mut held = HeldEntries::default();
        if let Some(path) = file {
            let opened = JsonLines::open::<ActivityEntry>(path).or_else(|error| {
                // Of another version. Nothing depends on it.
                tracing::warn!("starting a new activity: {error:#}");
                std::fs::remove_file(path)?;
                JsonLines::open(path)
            });
            let (mut lines, mut entries) = opened?;
            if entries.len() > MAX_ENTRIES {
                entries.drain(..entries.len() - MAX_ENTRIES);
                lines.clear()?;
                lines.append(&entries)?;
            }
            for entry in entries {
                held.keep(Arc::new(entry));
            }
            held.file = Some(lines);
        }
        Ok(Self { clock, held: Mutex::new(held), news })
    }

    /// Adds an entry of now.
    pub fn add(&self, event: ActivityEvent) {
        let mut held = tellonce_fakes::lock_mutex(&self.held);
        let entry = Arc::new(ActivityEntry { number: held.last_number + 1, at_ms: self.clock.now_ms(), event });
        if let Some(file) = &mut held.file
            && let Err(error) = file.append(std::slice::from_ref(&*entry))
        {
            tracing::warn!("could not keep the activity: {error:#}");
        }
        held.keep(entry.clone());
        // Sent under the lock, so that subscribers get the entries in their order. Without a
        // subscriber, the send fails.
        drop(self.news.send(entry));
    }

    /// Returns each entry from now on. A subscriber that is a thousand entries behind loses the
    /// oldest, and `recv` tells how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<ActivityEntry>> {
        self.news.subscribe()
    }

    /// The kept entries behind a number, oldest first. 0: all.
    pub fn entries_after(&self, number: u64) -> Vec<Arc<ActivityEntry>> {
        let held = tellonce_fakes::lock_mutex(&self.held);
        held.entries.iter().skip_while(|entry| entry.number <= number).cloned().collect()
    }

    /// The number of the last entry.
    pub fn last_number(&self) -> u64 {
        tellonce_fakes::lock_mutex(&self.held).last_number
    }

    /// How many posts had each result since the quarter of an hour of a time, in unix milliseconds.
    /// Posts of more than four days ago are forgotten.
    pub fn count_posts_since(&self, since_ms: i64) -> BTreeMap<PostResult, u64> {
        let held = tellonce_fakes::lock_mutex(&self.held);
        let mut counts = BTreeMap::new();
        for (result, count) in held.posts.range(since_ms.div_euclid(BUCKET_MS)..).flat_map(|(_, counts)| counts) {
            *counts.entry(*result).or_default() += count;
        }
        counts
    }
}

impl HeldEntries {
    fn keep(&mut self, entry: Arc<ActivityEntry>) {
        self.last_number = entry.number;
        if let ActivityEvent::Post(post) = &entry.event {
            let bucket = self.posts.entry(entry.at_ms.div_euclid(BUCKET_MS)).or_default();
            *bucket.entry(post.result).or_default() += 1;
            if self.posts.len() > MAX_BUCKETS {
                self.posts.pop_first();
            }
        }
        self.entries.push_back(entry);
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
        }
    }
}

impl fmt::Display for ActivityEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Post(post) => post.fmt(f),
            Self::Outcome { delivery, text, .. } => write!(f, "{delivery}: no message: {text}"),
            Self::Message { key, code, detail, .. } => {
                let detail = detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
                write!(f, "{key}: {code}{detail}")
            }
            Self::Run { text } => f.write_str(text),
        }
    }
}

impl fmt::Display for GatewayPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.sender.is_empty() { "unknown address" } else { &self.sender };
        let about = self.topic.as_deref().map(|topic| format!(" {topic}")).unwrap_or_default();
        let reason = self.reason.as_deref().unwrap_or("no reason given");
        match self.result {
            PostResult::CameIn => write!(f, "{name}{about}: came in"),
            PostResult::Repeat => write!(f, "{name}{about}: again: recognised, nothing sent"),
            PostResult::Answered => write!(f, "{name}: answered, nothing to store"),
            PostResult::Forged | PostResult::Refused => write!(f, "{name}: refused {}: {reason}", self.status),
            PostResult::Failed => write!(f, "{name}: failed {}: {reason}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_log(folder: &Path) -> ActivityLog {
        let clock = Arc::new(LocalClock::open(&folder.join("clock")).unwrap());
        ActivityLog::open(clock, Some(&folder.join("activity.jsonl"))).unwrap()
    }

    fn stored(first_at_ms: Option<i64>) -> StoredDelivery {
        StoredDelivery { id: "shop#1".to_owned(), topic: Some("orders/create".to_owned()), first_at_ms }
    }

    fn post(status: u16, reason: Option<&str>, stored: Option<StoredDelivery>) -> GatewayPost {
        GatewayPost::new(("stores", "shop"), status, reason.map(str::to_owned), stored)
    }

    #[test]
    fn a_post_says_what_became_of_it() {
        let forged = Some("the signature does not match");
        for (made, result, line) in [
            (post(200, None, Some(stored(None))), PostResult::CameIn, "shop orders/create: came in"),
            (
                post(200, None, Some(stored(Some(5)))),
                PostResult::Repeat,
                "shop orders/create: again: recognised, nothing sent",
            ),
            (post(200, None, None), PostResult::Answered, "shop: answered, nothing to store"),
            (post(401, forged, None), PostResult::Forged, "shop: refused 401: the signature does not match"),
            (post(415, Some("post JSON"), None), PostResult::Refused, "shop: refused 415: post JSON"),
            (post(503, None, None), PostResult::Failed, "shop: failed 503: no reason given"),
            (
                GatewayPost::new(("", ""), 404, Some("Not Found".to_owned()), None),
                PostResult::Refused,
                "unknown address: refused 404: Not Found",
            ),
        ] {
            assert_eq!((made.result, made.to_string().as_str()), (result, line));
        }
    }

    #[test]
    fn the_log_keeps_the_last_entries_and_counts_all() {
        let folder = tempfile::tempdir().unwrap();
        let log = open_log(folder.path());
        let mut news = log.subscribe();
        for _ in 0..MAX_ENTRIES + 2 {
            log.add(ActivityEvent::Post(post(200, None, Some(stored(Some(1))))));
        }
        log.add(ActivityEvent::Post(post(401, None, None)));
        let last = log.last_number();
        assert_eq!(last, MAX_ENTRIES as u64 + 3);
        assert_eq!(log.entries_after(0).len(), MAX_ENTRIES);
        let numbers: Vec<u64> = log.entries_after(last - 2).iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [last - 1, last]);
        let counts = log.count_posts_since(0);
        assert_eq!((counts[&PostResult::Repeat], counts[&PostResult::Forged]), (last - 1, 1));
        assert!(log.count_posts_since(i64::MAX / 2).is_empty());
        assert!(matches!(news.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
        assert!(news.try_recv().unwrap().number > 1);

        let again = open_log(folder.path());
        assert_eq!(again.entries_after(last - 1), log.entries_after(last - 1), "a restart keeps the last entries");
        assert_eq!((again.entries_after(0).len(), again.count_posts_since(0)[&PostResult::Forged]), (MAX_ENTRIES, 1));
        std::fs::write(folder.path().join("activity.jsonl"), "{\"of\": \"another version\"}\n").unwrap();
        assert_eq!(open_log(folder.path()).last_number(), 0);
        again.add(ActivityEvent::Run { text: "the clock was moved".to_owned() });
        assert_eq!(again.last_number(), last + 1);
    }
}
