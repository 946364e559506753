//! Feed snapshots: what the last accepted read of each feed contained. Each is one row of the
//! ledger's table (`feed:{calendar}` / `state`).
//!
//! Long because a row is written, read and tested here.
//!
//! Main types: [`FeedSnapshot`] is one row; [`FeedStore`] loads and saves it.
//!
//! A feed shows the present state and no changes, so the next read is compared with the snapshot.
//! The snapshot holds the id and the start of every occurrence, and a [`FactsFingerprint`] of what
//! was reported about it. The row also holds the cache headers of the feed's host, and what failed,
//! for people.
//!
//! An operator accepts a suspect feed ([`FeedStore::accept_next_read`]). Then the next read counts,
//! and the row's attribute of that name is removed.
//!
//! Promises: of two invocations that read a feed at the same time only one saves its snapshot. What
//! an operator writes is not overwritten. Does **not** hold the feed's address.

use std::{borrow::Cow, collections::BTreeMap};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        get_item::GetItemError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::AttributeValue as Value,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    attributes::{Item, ItemReader, ItemWriter, number_value, send_if_current, text_value, time_value},
    fault::{ClassifyFault, Fault},
};

/// Compression level of the occurrences, 0 to 10.
const COMPRESSION_LEVEL: u8 = 6;
/// The largest occurrences after compression, in bytes. `DynamoDB` items have at most 400 KB.
const MAX_PACKED_BYTES: usize = 380 * 1024;
/// The limit for decompressed occurrences, in bytes. Occurrences that fit a row take less.
const MAX_UNPACKED_BYTES: usize = 16 * 1024 * 1024;

/// A hash of facts. Other facts have another fingerprint, except in one case in 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FactsFingerprint(u64);

impl FactsFingerprint {
    /// The fingerprint of these facts in this order. An absent fact is different from an empty
    /// fact.
    pub fn of_facts(facts: &[Option<&str>]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for fact in facts {
            let length = fact.map_or(u64::MAX, |fact| fact.len() as u64);
            context.update(&length.to_be_bytes());
            context.update(fact.unwrap_or_default().as_bytes());
        }
        let hash = context.finish();
        Self(hash.as_ref().iter().take(8).fold(0, |name, byte| name << 8 | u64::from(*byte)))
    }
}

/// What a snapshot holds of one occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOccurrence {
    /// When it begins, to the second.
    pub start: Timestamp,
    /// The fingerprint of what was reported about it. `None` while a report is in progress, so that
    /// an interrupted report is made again.
    pub fingerprint: Option<FactsFingerprint>,
    /// Whether it was reported as cancelled.
    pub cancelled: bool,
    /// The fingerprint of its attendee's number: it finds the occurrence again if the feed gives it
    /// another id. `None` if it had no attendee.
    pub person: Option<FactsFingerprint>,
    /// The id that the feed gave it last, if that is not the id under which it became known.
    pub feed_id: Option<String>,
}

impl KnownOccurrence {
    /// The id that the feed gave it last. `id` is the one under which it became known.
    pub fn id_in_feed<'a>(&'a self, id: &'a str) -> &'a str {
        self.feed_id.as_deref().unwrap_or(id)
    }
}

/// A row as it was loaded, for the condition of the next write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadedFeedRow {
    /// Counts writes; 0 before the first write.
    version: u64,
    /// Whether `accept_next_read` was set.
    accept_next_read: bool,
}

/// The snapshot of one feed, and the state of its reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedSnapshot {
    /// The row that it was loaded from.
    pub row: LoadedFeedRow,
    /// Every occurrence that was reported and may still matter, by id.
    pub occurrences: BTreeMap<String, KnownOccurrence>,
    /// The `ETag` of the last accepted read.
    pub etag: Option<String>,
    /// The `Last-Modified` of the last accepted read.
    pub last_modified: Option<String>,
    /// A hash of the address, and of the settings that a read depends on, to which these two
    /// headers belong.
    pub address: Option<FactsFingerprint>,
    /// When the feed was last requested, with any result.
    pub polled_at: Option<Timestamp>,
    /// When a complete read was last accepted.
    pub read_at: Option<Timestamp>,
    /// Since when the feed is suspect.
    pub suspect_since: Option<Timestamp>,
    /// Whether an operator decided that the next read counts. Clearing it removes the attribute.
    pub accept_next_read: bool,
    /// How many reads in a row failed.
    pub failures: u32,
    /// Since when reads fail, or end the function.
    pub failing_since: Option<Timestamp>,
    /// Since when new appointments wait, because a day has too many.
    pub postponing_since: Option<Timestamp>,
    /// What failed, for people. Holds no content of the feed and no address.
    pub problem: Option<String>,
    /// When a read last began ([`FeedStore::mark_read`]).
    pub tried_at: Option<Timestamp>,
    /// How many reads in a row began without a result: they ended the function.
    pub unfinished_reads: u32,
    /// When the count of new appointments began.
    pub new_since: Option<Timestamp>,
    /// How many appointments became known since then.
    pub new_count: u32,
}

/// How long new appointments are counted.
const NEW_COUNT_PERIOD: SignedDuration = SignedDuration::from_hours(24);

impl FeedSnapshot {
    /// How many appointments became known in the current period.
    pub fn recent_new_count(&self, now: Timestamp) -> u32 {
        let is_current = self.new_since.is_some_and(|since| now.duration_since(since) < NEW_COUNT_PERIOD);
        if is_current { self.new_count } else { 0 }
    }

    /// Counts appointments that became known.
    pub fn count_new(&mut self, new: u32, now: Timestamp) {
        let before = self.recent_new_count(now);
        if before == 0 && new > 0 {
            self.new_since = Some(now);
        }
        self.new_count = before.saturating_add(new);
    }
}

/// A feed's row could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FeedStoreError {
    /// The read failed.
    #[error("the snapshot of a feed could not be read")]
    Load(#[source] Box<SdkError<GetItemError>>),
    /// The write failed.
    #[error("the snapshot of a feed could not be written")]
    Save(#[source] Box<SdkError<UpdateItemError>>),
    /// Another invocation wrote the row since it was loaded.
    #[error("another invocation changed the snapshot of the feed at the same time")]
    Conflict,
    /// The row holds a value that tellonce did not write.
    #[error("the row of the feed {calendar} is damaged at `{attribute}`; delete the row, and the feed is read again")]
    Damaged {
        /// The calendar.
        calendar: String,
        /// The damaged attribute.
        attribute: &'static str,
    },
    /// A newer version of tellonce wrote the row, and only that version can read it.
    #[error("the row of the feed {calendar} has occurrences of a newer version of tellonce")]
    NewerVersion {
        /// The calendar.
        calendar: String,
    },
    /// The occurrences do not fit a row.
    #[error("the feed has too many occurrences for a row ({0} bytes after compression; at most {MAX_PACKED_BYTES})")]
    TooLarge(usize),
}

impl ClassifyFault for FeedStoreError {
    fn fault(&self) -> Fault {
        match self {
            Self::Load(_) | Self::Save(_) | Self::Conflict => Fault::Transient,
            Self::NewerVersion { .. } => Fault::NewerVersion,
            Self::Damaged { .. } | Self::TooLarge(_) => Fault::Permanent,
        }
    }
}

/// The rows of all feeds.
#[derive(Debug, Clone)]
pub struct FeedStore {
    db: Client,
    table: String,
}

impl FeedStore {
    /// A store in the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table }
    }

    /// Loads the snapshot of a calendar's feed. It is empty if the feed was never read.
    pub async fn load(&self, calendar: &str) -> Result<FeedSnapshot, FeedStoreError> {
        let output = self
            .db
            .get_item()
            .table_name(&self.table)
            .key("subject", text_value(feed_subject(calendar)))
            .key("stage", text_value(FEED_STAGE))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| FeedStoreError::Load(Box::new(error)))?;
        match output.item {
            Some(item) => FeedSnapshot::from_item(&item).map_err(|attribute| {
                let calendar = calendar.to_owned();
                if attribute == OCCURRENCES && has_json_occurrences(&item) {
                    FeedStoreError::NewerVersion { calendar }
                } else {
                    FeedStoreError::Damaged { calendar, attribute }
                }
            }),
            None => Ok(FeedSnapshot::default()),
        }
    }

    /// Records that a read begins, before anything of the feed is in memory: a feed that ends the
    /// function must not be the first again. `problem` describes an earlier read without a result.
    pub async fn mark_read(&self, calendar: &str, now: Timestamp, problem: Option<&str>) -> Result<(), FeedStoreError> {
        let set_problem = match problem {
            Some(_) => ", problem = :problem, failing_since = if_not_exists(failing_since, :now)",
            None => "",
        };
        let update = self
            .update_row(calendar)
            .update_expression(format!("SET tried_at = :now{set_problem} ADD unfinished_reads :one"))
            .expression_attribute_values(":now", time_value(now))
            .expression_attribute_values(":one", number_value(1));
        let update = match problem {
            Some(problem) => update.expression_attribute_values(":problem", text_value(problem)),
            None => update,
        };
        update.send().await.map(drop).map_err(|error| FeedStoreError::Save(Box::new(error)))
    }

    /// Records why the result of a read could not be saved. The occurrences stay as they were.
    pub async fn record_failure(&self, calendar: &str, now: Timestamp, problem: &str) -> Result<(), FeedStoreError> {
        let update = self
            .update_row(calendar)
            .update_expression(
                "SET problem = :problem, polled_at = :now, failing_since = if_not_exists(failing_since, :now) \
                 REMOVE unfinished_reads ADD failures :one",
            )
            .expression_attribute_values(":now", time_value(now))
            .expression_attribute_values(":one", number_value(1))
            .expression_attribute_values(":problem", text_value(problem));
        update.send().await.map(drop).map_err(|error| FeedStoreError::Save(Box::new(error)))
    }

    /// Lets the schedule read a feed as soon as possible, after a read that was not completed for
    /// want of time. A read in progress may still save its result.
    pub async fn leave_due(&self, calendar: &str) -> Result<(), FeedStoreError> {
        let update = self.update_row(calendar).update_expression("REMOVE polled_at, unfinished_reads");
        update.send().await.map(drop).map_err(|error| FeedStoreError::Save(Box::new(error)))
    }

    /// Records an operator's decision that the next read counts. Returns whether the feed was ever
    /// read.
    pub async fn accept_next_read(&self, calendar: &str) -> Result<bool, FeedStoreError> {
        let update = self
            .update_row(calendar)
            .update_expression("SET accept_next_read = :yes")
            .condition_expression("attribute_exists(subject)")
            .expression_attribute_values(":yes", Value::Bool(true));
        send_if_current(update).await.map_err(FeedStoreError::Save)
    }

    fn update_row(&self, calendar: &str) -> UpdateItemFluentBuilder {
        self.db
            .update_item()
            .table_name(&self.table)
            .key("subject", text_value(feed_subject(calendar)))
            .key("stage", text_value(FEED_STAGE))
    }

    /// Saves a snapshot, unless another invocation wrote the row since it was loaded.
    pub async fn save(&self, calendar: &str, snapshot: &mut FeedSnapshot) -> Result<(), FeedStoreError> {
        let mut item = snapshot.to_item()?;
        let mut update = self.update_row(calendar);
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for (number, name) in ATTRIBUTES.into_iter().enumerate() {
            match item.remove(name) {
                Some(value) => {
                    set.push(format!("#a{number} = :v{number}"));
                    update = update.expression_attribute_values(format!(":v{number}"), value);
                }
                None => remove.push(format!("#a{number}")),
            }
            update = update.expression_attribute_names(format!("#a{number}"), name);
        }
        // Only if it was set when the row was loaded: an operator may have set it since.
        if snapshot.row.accept_next_read && !snapshot.accept_next_read {
            remove.push("accept_next_read".to_owned());
        }
        let mut expression = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            expression = format!("{expression} REMOVE {}", remove.join(", "));
        }
        update = update.update_expression(expression);
        update = match snapshot.row.version {
            0 => update.condition_expression("attribute_not_exists(version)"),
            read => {
                update.condition_expression("version = :read").expression_attribute_values(":read", number_value(read))
            }
        };
        match update.send().await {
            Ok(_) => {
                snapshot.row =
                    LoadedFeedRow { version: snapshot.row.version + 1, accept_next_read: snapshot.accept_next_read };
                Ok(())
            }
            Err(error) => Err(match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => FeedStoreError::Conflict,
                _ => FeedStoreError::Save(Box::new(error)),
            }),
        }
    }
}

const FEED_STAGE: &str = "state";

/// The attributes that a write sets or removes.
const ATTRIBUTES: [&str; 15] = [
    "version",
    "occurrences",
    "etag",
    "last_modified",
    "address",
    "polled_at",
    "read_at",
    "suspect_since",
    "failures",
    "failing_since",
    "postponing_since",
    "problem",
    "new_since",
    "new_count",
    // Never set here, and so always removed.
    "unfinished_reads",
];

fn feed_subject(calendar: &str) -> String {
    format!("feed:{calendar}")
}

/// A packed occurrence: id, start in seconds, fingerprint, cancelled, person, id in the feed.
type PackedOccurrence<'a> =
    (Cow<'a, str>, i64, Option<FactsFingerprint>, bool, Option<FactsFingerprint>, Option<Cow<'a, str>>);

impl FeedSnapshot {
    /// The attributes of the next version.
    fn to_item(&self) -> Result<Item, FeedStoreError> {
        let occurrences: Vec<PackedOccurrence<'_>> = self
            .occurrences
            .iter()
            .map(|(id, known)| {
                let KnownOccurrence { start, fingerprint, cancelled, person, feed_id } = known;
                let feed_id = feed_id.as_deref().map(Cow::Borrowed);
                (id.into(), start.as_second(), *fingerprint, *cancelled, *person, feed_id)
            })
            .collect();
        // Strings, numbers and lists only, so serialising cannot fail.
        let occurrences = serde_json::to_vec(&occurrences).unwrap_or_default();
        let packed = miniz_oxide::deflate::compress_to_vec(&occurrences, COMPRESSION_LEVEL);
        if packed.len() > MAX_PACKED_BYTES {
            return Err(FeedStoreError::TooLarge(packed.len()));
        }
        let mut item = ItemWriter::with_capacity(ATTRIBUTES.len());
        item.number("version", self.row.version + 1);
        item.bytes("occurrences", packed);
        item.optional_text("etag", self.etag.as_deref());
        item.optional_text("last_modified", self.last_modified.as_deref());
        if let Some(FactsFingerprint(hash)) = self.address {
            item.number("address", hash);
        }
        item.optional_time("polled_at", self.polled_at);
        item.optional_time("read_at", self.read_at);
        item.optional_time("suspect_since", self.suspect_since);
        if self.failures > 0 {
            item.number("failures", self.failures);
        }
        item.optional_time("failing_since", self.failing_since);
        item.optional_time("postponing_since", self.postponing_since);
        item.optional_text("problem", self.problem.as_deref());
        item.optional_time("new_since", self.new_since);
        if self.new_count > 0 {
            item.number("new_count", self.new_count);
        }
        Ok(item.into_item())
    }

    /// Reads a row. The error is the name of the attribute that does not parse.
    fn from_item(item: &Item) -> Result<Self, &'static str> {
        let item = ItemReader(item);
        let time = |name| read_intact(item, name, ItemReader::time);
        let accept_next_read = item.flag("accept_next_read");
        let unpack = |item: ItemReader<'_>, name: &str| unpack_occurrences(item.bytes(name)?);
        Ok(Self {
            row: LoadedFeedRow {
                version: read_intact(item, "version", ItemReader::number)?.unwrap_or(0),
                accept_next_read,
            },
            occurrences: read_intact(item, OCCURRENCES, unpack)?.unwrap_or_default(),
            etag: item.owned("etag"),
            last_modified: item.owned("last_modified"),
            address: read_intact(item, "address", ItemReader::number)?.map(FactsFingerprint),
            polled_at: time("polled_at")?,
            read_at: time("read_at")?,
            suspect_since: time("suspect_since")?,
            accept_next_read,
            failures: read_intact(item, "failures", ItemReader::number)?.unwrap_or(0),
            failing_since: time("failing_since")?,
            postponing_since: time("postponing_since")?,
            problem: item.owned("problem"),
            tried_at: time("tried_at")?,
            unfinished_reads: read_intact(item, "unfinished_reads", ItemReader::number)?.unwrap_or(0),
            new_since: time("new_since")?,
            new_count: read_intact(item, "new_count", ItemReader::number)?.unwrap_or(0),
        })
    }
}

/// An attribute that may be missing. The error is the name of one that does not parse.
fn read_intact<'a, T>(
    item: ItemReader<'a>,
    name: &'static str,
    read: impl FnOnce(ItemReader<'a>, &str) -> Option<T>,
) -> Result<Option<T>, &'static str> {
    match read(item, name) {
        None if item.0.contains_key(name) => Err(name),
        value => Ok(value),
    }
}

/// The attribute that holds the packed occurrences.
const OCCURRENCES: &str = "occurrences";

/// Whether the occurrences are JSON: then some version of tellonce wrote them.
fn has_json_occurrences(item: &Item) -> bool {
    let packed = ItemReader(item).bytes(OCCURRENCES);
    let text =
        packed.and_then(|packed| miniz_oxide::inflate::decompress_to_vec_with_limit(packed, MAX_UNPACKED_BYTES).ok());
    text.is_some_and(|text| serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok())
}

fn unpack_occurrences(packed: &[u8]) -> Option<BTreeMap<String, KnownOccurrence>> {
    let occurrences = miniz_oxide::inflate::decompress_to_vec_with_limit(packed, MAX_UNPACKED_BYTES).ok()?;
    let occurrences: Vec<PackedOccurrence<'_>> = serde_json::from_slice(&occurrences).ok()?;
    occurrences
        .into_iter()
        .map(|(id, start, fingerprint, cancelled, person, feed_id)| {
            let feed_id = feed_id.map(Cow::into_owned);
            let start = Timestamp::from_second(start).ok()?;
            Some((id.into_owned(), KnownOccurrence { start, fingerprint, cancelled, person, feed_id }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;
    use proptest::prelude::*;

    use super::*;

    fn at_second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    proptest! {
        #[test]
        fn a_snapshot_reads_back_as_it_was_written(
            occurrences in prop::collection::btree_map(".{0,40}", (0i64..4_000_000_000, any::<(Option<u64>, Option<u64>, Option<String>)>(), any::<bool>()), 0..30),
            texts in prop::collection::vec(prop::option::of("[ -~]{1,40}"), 3),
            times in prop::collection::vec(prop::option::of(0i64..4_000_000_000), 6),
            address in any::<Option<u64>>(),
            (failures, new_count) in any::<(u32, u32)>(),
        ) {
            let snapshot = FeedSnapshot {
                row: LoadedFeedRow { version: 8, accept_next_read: false },
                occurrences: occurrences
                    .into_iter()
                    .map(|(id, (start, (said, person, feed_id), cancelled))| {
                        let (fingerprint, person) = (said.map(FactsFingerprint), person.map(FactsFingerprint));
                        (id, KnownOccurrence { start: at_second(start), fingerprint, cancelled, person, feed_id })
                    })
                    .collect(),
                etag: texts[0].clone(),
                last_modified: texts[1].clone(),
                address: address.map(FactsFingerprint),
                polled_at: times[0].map(at_second),
                read_at: times[1].map(at_second),
                suspect_since: times[2].map(at_second),
                accept_next_read: false,
                failures,
                failing_since: times[3].map(at_second),
                postponing_since: times[5].map(at_second),
                problem: texts[2].clone(),
                tried_at: None,
                unfinished_reads: 0,
                new_since: times[4].map(at_second),
                new_count,
            };
            let read = FeedSnapshot::from_item(&snapshot.to_item().unwrap()).unwrap();
            prop_assert_eq!(read, FeedSnapshot { row: LoadedFeedRow { version: 9, accept_next_read: false }, ..snapshot });
        }
    }

    #[test]
    fn a_row_made_by_an_operator_is_read_and_a_damaged_attribute_is_named() {
        let operator_row = Item::from([("accept_next_read".to_owned(), Value::Bool(true))]);
        let snapshot = FeedSnapshot::from_item(&operator_row).unwrap();
        assert!(snapshot.accept_next_read && snapshot.row.version == 0 && snapshot.occurrences.is_empty());
        let mut damaged = FeedSnapshot::default().to_item().unwrap();
        damaged.insert("occurrences".to_owned(), Value::B(Blob::new(b"no deflate")));
        assert_eq!(FeedSnapshot::from_item(&damaged), Err("occurrences"));
        assert!(!has_json_occurrences(&damaged));
        let newer = miniz_oxide::deflate::compress_to_vec(br#"{"of":"tomorrow"}"#, COMPRESSION_LEVEL);
        damaged.insert("occurrences".to_owned(), Value::B(Blob::new(newer)));
        assert!(FeedSnapshot::from_item(&damaged) == Err("occurrences") && has_json_occurrences(&damaged));
        damaged.insert("polled_at".to_owned(), text_value("soon"));
        assert!(FeedSnapshot::from_item(&damaged).is_err());
    }

    #[test]
    fn a_row_takes_five_thousand_occurrences_with_long_ids() {
        let occurrences = (0..5_000_u64).map(|number| {
            let hash = FactsFingerprint::of_facts(&[Some(&number.to_string())]);
            let id = format!("{:016x}{:08x}@calendar.example.com/20261123T070000Z", hash.0, number * 7919);
            // A feed that gives each event another id at every read.
            let person = FactsFingerprint::of_facts(&[Some(&id)]);
            let feed_id = Some(format!("{:016x}@calendar.example.com", person.0));
            let (fingerprint, person) = (Some(hash), Some(person));
            let start = at_second(1_800_000_000);
            (id, KnownOccurrence { start, fingerprint, cancelled: false, person, feed_id })
        });
        let snapshot = FeedSnapshot { occurrences: occurrences.collect(), ..FeedSnapshot::default() };
        assert!(snapshot.to_item().is_ok());
    }

    #[test]
    fn new_appointments_are_counted_for_a_day_from_the_first() {
        let mut snapshot = FeedSnapshot::default();
        snapshot.count_new(2, at_second(0));
        snapshot.count_new(3, at_second(86_399));
        assert_eq!(
            (snapshot.recent_new_count(at_second(86_399)), snapshot.recent_new_count(at_second(86_400))),
            (5, 0)
        );
        snapshot.count_new(1, at_second(86_400));
        assert_eq!((snapshot.new_since, snapshot.new_count), (Some(at_second(86_400)), 1));
    }

    #[test]
    fn other_facts_have_another_fingerprint() {
        let of = FactsFingerprint::of_facts;
        assert_eq!(of(&[Some("a"), None]), of(&[Some("a"), None]));
        assert_ne!(of(&[Some("a"), None]), of(&[Some("a"), Some("")]));
        assert_ne!(of(&[Some("ab"), Some("c")]), of(&[Some("a"), Some("bc")]));
    }
}
