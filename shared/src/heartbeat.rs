//! Heartbeats: a small item that takes the path of deliveries, so that a path that stopped shows.
//!
//! Main types: [`HeartbeatPath`] is a path that must work; [`HeartbeatReceipts`] writes that a
//! heartbeat arrived; [`HeartbeatMonitor`] sends heartbeats and publishes the age of the oldest.
//!
//! Flow: every seven minutes reminder-scheduler overwrites the item [`HEARTBEAT_ID`] in each inbox
//! that the client uses. The inbox's stream passes it on like a delivery, and the function that
//! reads the inbox writes a receipt. The clock of conversation-sync and the feed poll write
//! receipts of their own when they have done their work. Every minute reminder-scheduler reads all
//! receipts and publishes the gauge [`Gauge::OldestHeartbeatSeconds`].
//!
//! The ledger holds all of it under the subject [`HEARTBEAT_SUBJECT`]: one row for each path, and
//! the row `heartbeat` / `sent` with the time of the last heartbeats and since when each path is
//! expected to have one.
//!
//! Promises: an overlapping or repeated minute does no harm, because it writes the same items. A
//! path without a receipt counts since its first heartbeat: a new stack is not late while it
//! starts, and a mapping that never worked is. A path that the client no longer uses does not
//! count. An inbox never treats a heartbeat as a delivery: the id of a delivery contains a `#`.
//! Does **not** find out whether the provider, a CRM or a target works.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{put_item::PutItemError, query::QueryError, update_item::UpdateItemError},
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::{
    attributes::{
        Item, ItemReader, ItemWriter, NumberAttribute, TextAttribute, send_if_current, text_value, time_value,
    },
    client_config::ClientConfig,
    clock::from_millis,
    fault::{ClassifyFault, Fault, error_chain},
    telemetry::{self, Gauge},
};

/// The id of the heartbeat in each inbox. The role of reminder-scheduler may put no other item.
pub const HEARTBEAT_ID: &str = "heartbeat";
/// The subject of the receipts in the ledger.
pub const HEARTBEAT_SUBJECT: &str = "heartbeat";
/// The stage of the row that says when heartbeats were last sent.
const SENT_STAGE: &str = "sent";
/// The least time between two heartbeats: seven minutes, so that the alarm at ten minutes allows
/// for a slow one, and an idle client costs little. It is half a minute less, because a minute of a
/// schedule is not exactly as long as the one before.
const MIN_INTERVAL: SignedDuration = SignedDuration::from_secs(390);
/// The same for the feed schedule, which runs every five minutes.
const MIN_FEED_INTERVAL: SignedDuration = SignedDuration::from_secs(270);
/// The longest image of a heartbeat, in bytes. Longer images are not parsed for it.
const MAX_IMAGE_BYTES: usize = 256;

/// A path that must work, so that customers and teams are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeartbeatPath {
    /// The inbox of stores, to order-notifier.
    StoreInbox,
    /// The inbox of calendars, to reminder-scheduler.
    BookingInbox,
    /// The inbox of forms, to lead-first-touch.
    LeadInbox,
    /// The inbox of lines, to conversation-sync.
    LineInbox,
    /// The minute schedule of conversation-sync.
    ConversationSyncMinute,
    /// The schedule that reads feeds.
    Feeds,
}

impl HeartbeatPath {
    /// All paths.
    pub const ALL: [Self; 6] = [
        Self::StoreInbox,
        Self::BookingInbox,
        Self::LeadInbox,
        Self::LineInbox,
        Self::ConversationSyncMinute,
        Self::Feeds,
    ];

    /// The name: the stage of its receipt, and the property `heartbeat` of the gauge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StoreInbox => "store-inbox",
            Self::BookingInbox => "booking-inbox",
            Self::LeadInbox => "lead-inbox",
            Self::LineInbox => "line-inbox",
            Self::ConversationSyncMinute => "conversation-sync-minute",
            Self::Feeds => "feeds",
        }
    }

    /// The least time between two receipts of a schedule.
    const fn min_interval(self) -> SignedDuration {
        match self {
            Self::Feeds => MIN_FEED_INTERVAL,
            Self::StoreInbox
            | Self::BookingInbox
            | Self::LeadInbox
            | Self::LineInbox
            | Self::ConversationSyncMinute => MIN_INTERVAL,
        }
    }

    /// Whether anything of the client takes this path.
    pub fn is_used(self, config: &ClientConfig) -> bool {
        let mut calendars = config.calendars.values();
        match self {
            Self::StoreInbox => !config.stores.is_empty(),
            Self::BookingInbox => calendars.any(|calendar| calendar.kind.proof().is_some()),
            Self::LeadInbox => !config.forms.is_empty(),
            // Conversations exist only on a line with events.
            Self::LineInbox | Self::ConversationSyncMinute => config.lines.values().any(|line| line.events),
            Self::Feeds => config.feed_names().next().is_some(),
        }
    }
}

/// A heartbeat could not be sent, recorded or read. The next minute tries again.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// The item could not be written into the inbox, or the row of sent heartbeats into the ledger.
    #[error("could not send a heartbeat")]
    Send(#[source] Box<SdkError<PutItemError>>),
    /// The receipt could not be written.
    #[error("could not record the receipt of a heartbeat")]
    Record(#[source] Box<SdkError<UpdateItemError>>),
    /// The receipts could not be read.
    #[error("could not read the receipts of heartbeats")]
    Read(#[source] Box<SdkError<QueryError>>),
}

impl ClassifyFault for HeartbeatError {
    fn fault(&self) -> Fault {
        match self {
            Self::Send(_) | Self::Record(_) | Self::Read(_) => Fault::Transient,
        }
    }
}

/// When the heartbeat in a stream image was sent; `None` if the image is a delivery.
pub fn find_sent_at(image: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct HeartbeatImage<'a> {
        #[serde(borrow)]
        id: TextAttribute<'a>,
        #[serde(borrow)]
        sent_at: NumberAttribute<'a>,
    }
    let image: HeartbeatImage<'_> =
        (image.len() <= MAX_IMAGE_BYTES).then(|| serde_json::from_str(image)).and_then(Result::ok)?;
    let sent_at = image.sent_at.n.parse().map(from_millis).ok()?;
    (image.id.s == HEARTBEAT_ID).then_some(sent_at)
}

/// Whether it is time for the next heartbeat.
fn is_due(last: Option<Timestamp>, interval: SignedDuration, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= interval)
}

/// Records which heartbeats of one path arrived.
pub struct HeartbeatReceipts {
    db: Client,
    ledger_table: String,
    path: HeartbeatPath,
    /// The code and the settings that record: see `code_version`.
    version: String,
    last_run: Mutex<Option<Timestamp>>,
}

impl HeartbeatReceipts {
    /// The receipts of a path, with the `version` of the configuration that records them.
    pub fn new(db: Client, ledger_table: String, path: HeartbeatPath, version: String) -> Self {
        Self { db, ledger_table, path, version, last_run: Mutex::default() }
    }

    /// Records that a heartbeat arrived, unless a later one did before.
    pub async fn record_receipt(&self, sent_at: Timestamp, now: Timestamp) -> Result<(), HeartbeatError> {
        let update = self
            .db
            .update_item()
            .table_name(&self.ledger_table)
            .key("subject", text_value(HEARTBEAT_SUBJECT))
            .key("stage", text_value(self.path.name()))
            .update_expression("SET sent_at = :sent, received_at = :now, made_by = :version")
            .condition_expression("attribute_not_exists(sent_at) OR sent_at < :sent")
            .expression_attribute_values(":sent", time_value(sent_at))
            .expression_attribute_values(":now", time_value(now))
            .expression_attribute_values(":version", text_value(self.version.as_str()));
        send_if_current(update).await.map(drop).map_err(HeartbeatError::Record)
    }

    /// Records that a schedule did its work, in each process at most once in seven minutes, or in
    /// five for the feed schedule. A failure is logged: the run itself succeeded, and the next one
    /// records again.
    pub async fn record_run(&self, now: Timestamp) {
        let lock_last_run = || self.last_run.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(*lock_last_run(), self.path.min_interval(), now) {
            return;
        }
        match self.record_receipt(now, now).await {
            Ok(()) => *lock_last_run() = Some(now),
            Err(error) => log_failure(self.path, &error),
        }
    }

    /// Records the heartbeat of a stream record. A failure is logged: deliveries do not wait for
    /// it, and the next heartbeat comes in seven minutes.
    pub(crate) async fn record_heartbeat(&self, sent_at: Timestamp, now: Timestamp) {
        if let Err(error) = self.record_receipt(sent_at, now).await {
            log_failure(self.path, &error);
        }
    }
}

fn log_failure(path: HeartbeatPath, error: &HeartbeatError) {
    let name = path.name();
    tracing::error!(heartbeat.path = name, "could not keep up the heartbeat {name}: {}", error_chain(error));
}

/// Sends the heartbeats of a client and watches their receipts.
pub struct HeartbeatMonitor {
    db: Client,
    ledger_table: String,
    /// The table of each inbox.
    inboxes: [(HeartbeatPath, String); 4],
}

impl HeartbeatMonitor {
    /// A monitor with the table of each inbox.
    pub fn new(db: Client, ledger_table: String, inboxes: [(HeartbeatPath, String); 4]) -> Self {
        Self { db, ledger_table, inboxes }
    }

    /// Publishes the age of the oldest heartbeat, and sends the next ones if it is time.
    pub async fn check_heartbeats(&self, config: &ClientConfig, now: Timestamp) -> Result<(), HeartbeatError> {
        let used: Vec<HeartbeatPath> = HeartbeatPath::ALL.into_iter().filter(|path| path.is_used(config)).collect();
        let log = self.read_log().await?;
        let oldest = log.find_oldest(&used, now);
        let (seconds, path) = oldest.map_or((0, ""), |(path, age)| (age.as_secs(), path.name()));
        let path = [("heartbeat", json!(path))];
        telemetry::write_gauge(&config.client, Gauge::OldestHeartbeatSeconds, seconds, &path, now);
        if !is_due(log.sent_at, MIN_INTERVAL, now) {
            return Ok(());
        }
        let used_inboxes = self.inboxes.iter().filter(|(path, _)| used.contains(path));
        let sent = used_inboxes.map(|(path, table)| async move {
            // One inbox must not stop the heartbeats of the others. Its own receipt gets old.
            if let Err(error) = self.send_heartbeat(table, now).await {
                log_failure(*path, &error);
            }
        });
        futures::future::join_all(sent).await;
        self.put_item(&self.ledger_table, log.sent_row(&used, now)).await
    }

    async fn send_heartbeat(&self, inbox_table: &str, now: Timestamp) -> Result<(), HeartbeatError> {
        let mut item = ItemWriter::with_capacity(2);
        item.text("id", HEARTBEAT_ID);
        item.time("sent_at", now);
        self.put_item(inbox_table, item.into_item()).await
    }

    async fn put_item(&self, table: &str, item: Item) -> Result<(), HeartbeatError> {
        let put = self.db.put_item().table_name(table).set_item(Some(item));
        put.send().await.map(drop).map_err(|error| HeartbeatError::Send(Box::new(error)))
    }

    /// Reads all rows of heartbeats: they fit one page.
    async fn read_log(&self) -> Result<HeartbeatLog, HeartbeatError> {
        let query = self
            .db
            .query()
            .table_name(&self.ledger_table)
            .key_condition_expression("subject = :subject")
            .expression_attribute_values(":subject", text_value(HEARTBEAT_SUBJECT));
        let page = query.send().await.map_err(|error| HeartbeatError::Read(Box::new(error)))?;
        Ok(HeartbeatLog::from_rows(page.items()))
    }
}

/// What the ledger knows of heartbeats.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeartbeatLog {
    /// When heartbeats were last sent.
    sent_at: Option<Timestamp>,
    /// Since when each path is expected to have a heartbeat.
    expected_since: BTreeMap<HeartbeatPath, Timestamp>,
    /// When the last heartbeat that arrived was sent, by path.
    received: BTreeMap<HeartbeatPath, Timestamp>,
}

impl HeartbeatLog {
    /// Reads the rows of the subject `heartbeat`.
    pub fn from_rows(rows: &[Item]) -> Self {
        let find_row = |stage: &str| rows.iter().map(ItemReader).find(|row| row.text("stage") == Some(stage));
        let sent = find_row(SENT_STAGE);
        let collect_times = |time: &dyn Fn(HeartbeatPath) -> Option<Timestamp>| {
            HeartbeatPath::ALL.into_iter().filter_map(|path| Some((path, time(path)?))).collect()
        };
        Self {
            sent_at: sent.and_then(|row| row.time("sent_at")),
            expected_since: collect_times(&|path| sent.and_then(|row| row.time(path.name()))),
            received: collect_times(&|path| find_row(path.name()).and_then(|row| row.time("sent_at"))),
        }
    }

    /// The path whose last heartbeat is the oldest, and its age. A path that is not expected yet
    /// has none.
    fn find_oldest(&self, used: &[HeartbeatPath], now: Timestamp) -> Option<(HeartbeatPath, SignedDuration)> {
        let ages = used.iter().filter_map(|path| Some((*path, self.age_of(*path, now)?)));
        ages.max_by_key(|(_, age)| *age)
    }

    /// How long ago the last heartbeat of a path was sent that arrived. A path that is not expected
    /// yet has none.
    pub fn age_of(&self, path: HeartbeatPath, now: Timestamp) -> Option<SignedDuration> {
        let since = *self.expected_since.get(&path)?;
        // A receipt from before the path was in use says nothing about it now.
        let last = self.received.get(&path).map_or(since, |received| since.max(*received));
        Some(now.duration_since(last).max(SignedDuration::ZERO))
    }

    /// The row of heartbeats that were sent now. It forgets the paths that are no longer used.
    fn sent_row(&self, used: &[HeartbeatPath], now: Timestamp) -> Item {
        let mut row = ItemWriter::with_capacity(3 + used.len());
        row.text("subject", HEARTBEAT_SUBJECT);
        row.text("stage", SENT_STAGE);
        row.time("sent_at", now);
        for path in used {
            row.time(path.name(), self.expected_since.get(path).copied().unwrap_or(now));
        }
        row.into_item()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORES: &[HeartbeatPath] = &[HeartbeatPath::StoreInbox];
    const STORES_AND_LEADS: &[HeartbeatPath] = &[HeartbeatPath::StoreInbox, HeartbeatPath::LeadInbox];

    fn at(minute: i64) -> Timestamp {
        "2026-11-29T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    /// The log after heartbeats were sent, and received on these paths.
    fn log_after(
        before: HeartbeatLog,
        used: &[HeartbeatPath],
        now: Timestamp,
        arrived: &[HeartbeatPath],
    ) -> HeartbeatLog {
        let mut rows = vec![before.sent_row(used, now)];
        let mut received = before.received;
        received.extend(arrived.iter().map(|path| (*path, now)));
        for (path, sent_at) in received {
            let mut row = ItemWriter::default();
            row.text("stage", path.name());
            row.time("sent_at", sent_at);
            rows.push(row.into_item());
        }
        HeartbeatLog::from_rows(&rows)
    }

    fn minutes_late(log: &HeartbeatLog, used: &[HeartbeatPath], minute: i64) -> Option<(HeartbeatPath, i64)> {
        log.find_oldest(used, at(minute)).map(|(path, age)| (path, age.as_mins()))
    }

    #[test]
    fn a_new_stack_is_not_late_and_a_mapping_that_never_worked_is() {
        let new = HeartbeatLog::default();
        assert_eq!(minutes_late(&new, STORES_AND_LEADS, 0), None);
        let first = log_after(new, STORES_AND_LEADS, at(0), STORES);
        let second = log_after(first, STORES_AND_LEADS, at(5), STORES);
        assert_eq!(minutes_late(&second, STORES_AND_LEADS, 8), Some((HeartbeatPath::LeadInbox, 8)));
        assert_eq!(minutes_late(&second, STORES, 8), Some((HeartbeatPath::StoreInbox, 3)));
    }

    #[test]
    fn a_path_that_the_client_stopped_using_is_not_late() {
        let both = log_after(HeartbeatLog::default(), STORES_AND_LEADS, at(0), STORES_AND_LEADS);
        let without_leads = log_after(both, STORES, at(100), STORES);
        assert_eq!(minutes_late(&without_leads, STORES, 101), Some((HeartbeatPath::StoreInbox, 1)));
        // In use again: the old receipt does not count, and the new heartbeat is expected from now.
        let again = log_after(without_leads, STORES_AND_LEADS, at(200), STORES);
        assert_eq!(minutes_late(&again, STORES_AND_LEADS, 203), Some((HeartbeatPath::LeadInbox, 3)));
    }

    #[test]
    fn heartbeats_are_due_every_seventh_minute_although_minutes_differ_a_little() {
        for (path, minutes) in [(HeartbeatPath::ConversationSyncMinute, 7), (HeartbeatPath::Feeds, 5)] {
            let interval = path.min_interval();
            assert!(is_due(None, interval, at(0)));
            assert!(!is_due(Some(at(0)), interval, at(minutes - 1)));
            assert!(is_due(Some(at(0)), interval, at(minutes) - SignedDuration::from_secs(2)));
        }
    }

    #[test]
    fn only_the_heartbeat_s_own_item_is_a_heartbeat() {
        let image = r#"{"id":{"S":"heartbeat"},"sent_at":{"N":"1795082402000"}}"#;
        assert_eq!(find_sent_at(image), Some(from_millis(1_795_082_402_000)));
        let delivery = image.replace("heartbeat", "heartbeat#1");
        let unreadable = image.replace("1795082402000", "soon");
        let long = image.replace("heartbeat", &"heartbeat".repeat(30));
        for other in [delivery.as_str(), &unreadable, &long, "{}", "no JSON"] {
            assert_eq!(find_sent_at(other), None, "{other}");
        }
    }

    #[test]
    fn a_path_is_used_if_something_of_the_client_takes_it() {
        let used = |toml: &str| -> Vec<&str> {
            let config = ClientConfig::parse(&format!(
                "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\nlanguages = [\"en\"]\n{toml}"
            ));
            let config = config.unwrap();
            HeartbeatPath::ALL.into_iter().filter(|path| path.is_used(&config)).map(HeartbeatPath::name).collect()
        };
        let line = "[lines.main]\nline_id = \"line_1\"\n";
        assert_eq!(used(line), [""; 0]);
        assert_eq!(used(&format!("{line}events = true\n")), ["line-inbox", "conversation-sync-minute"]);
        let feed = format!(
            "{line}[calendars.diary]\nkind = \"ics\"\nline = \"main\"\nphone = {{ field = \"description\" }}\n"
        );
        assert_eq!(used(&feed), ["feeds"]);
        assert_eq!(used(&feed.replace("kind", "google_push = true\nkind")), ["booking-inbox", "feeds"]);
    }
}
