//! The inbox: every accepted delivery, once, with its verified bytes.
//!
//! Long because deliveries are stored, read, listed and replayed here.
//!
//! Main types: [`Inbox`] stores a [`Verified`] delivery; [`InboxItem`] is a delivery from the
//! table's stream.
//!
//! Flow: a conditional write stores a delivery. A repeat fails at the condition. The table's stream
//! passes a new item to the function that processes it. A delivery that leads to no message gets
//! its reason as its [`DeliveryOutcome`]. Removing the outcome sends the delivery down the same
//! path again (a replay). The replay sets `replayed_at`, so that the item changes in any case.
//!
//! Promises: a delivery that was answered with 2xx is stored, and one delivery id of one sender is
//! stored once. Does **not** order deliveries. The table deletes them after the configured days.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, PoisonError},
};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        put_item::PutItemError,
        scan::ScanError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::ReturnValuesOnConditionCheckFailure,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use libdeflater::{CompressionLvl, Compressor};
use serde::Deserialize;

use crate::{
    attributes::{
        Item, ItemReader, ItemWriter, NumberAttribute, TextAttribute, send_if_current, text_value, time_value,
    },
    clock::from_millis,
    delivery::Verified,
    fault::{ClassifyFault, Fault, error_chain},
};

/// The largest accepted body, in bytes. The largest real orders have some hundred kilobytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The code of a delivery whose body was deleted because its customer was forgotten.
pub const FORGOTTEN_CODE: &str = "forgotten";
/// Compression level of bodies, 1 to 12. At 1 an order of 5 KB fits two write units. A higher level
/// saves no write unit and costs time in every event.
const COMPRESSION_LEVEL: i32 = 1;
/// The value of `needs_person`, by which an index lists the deliveries that need a person.
const NEEDS_PERSON: &str = "yes";
/// The most items of one page of a scan.
const PAGE_ITEMS: i32 = 250;
/// The largest body after compression, in bytes. `DynamoDB` items have at most 400 KB.
const MAX_COMPRESSED_BYTES: usize = 380 * 1024;

/// The inbox failed.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The write failed.
    #[error("the delivery could not be stored in the inbox")]
    Store(#[source] Box<SdkError<PutItemError>>),
    /// The outcome could not be written.
    #[error("the outcome of a delivery could not be recorded")]
    Record(#[source] Box<SdkError<UpdateItemError>>),
    /// The scan failed.
    #[error("the inbox could not be scanned")]
    Scan(#[source] Box<SdkError<ScanError>>),
    /// The compressed body is too large for an item.
    #[error("the delivery is too large for the inbox ({0} bytes after compression; at most {MAX_COMPRESSED_BYTES})")]
    TooLarge(usize),
}

impl ClassifyFault for InboxError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(_) | Self::Record(_) | Self::Scan(_) => Fault::Transient,
            Self::TooLarge(_) => Fault::Permanent,
        }
    }
}

/// The outcome of storing a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// The delivery is new.
    New,
    /// The delivery was already stored.
    Duplicate,
}

/// Why a delivery led to no message, as the inbox stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryOutcome {
    /// Stable: operators find and replay deliveries by it. `docs/operations.md` lists all codes.
    pub code: &'static str,
    /// The explanation for people. Holds no personal data.
    pub text: String,
    /// The subject that the delivery is about, such as `order:1001`, if it is known. An index finds
    /// the deliveries of a subject by it. Of several subjects, it is the last one.
    pub about: Option<String>,
    /// Whether a person should look at it. An index lists these deliveries.
    pub needs_person: bool,
}

impl DeliveryOutcome {
    /// An outcome with the explanation that a reason displays.
    pub fn new(code: &'static str, reason: impl fmt::Display) -> Self {
        Self { code, text: reason.to_string(), about: None, needs_person: false }
    }

    /// The outcome of a delivery that can never be processed.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        Self::new("failed", error_chain(error)).needing_person(true)
    }

    /// The outcome of a delivery whose customer was forgotten.
    pub fn forgotten() -> Self {
        Self::new(FORGOTTEN_CODE, "its customer was forgotten, and its body is deleted")
    }

    /// The outcome, and whether a person should look at the delivery.
    #[must_use]
    pub fn needing_person(self, needs_person: bool) -> Self {
        Self { needs_person, ..self }
    }

    /// The outcome, and the subject of the delivery if it is known.
    #[must_use]
    pub fn about(self, subject: Option<String>) -> Self {
        Self { about: subject, ..self }
    }
}

impl fmt::Display for DeliveryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// The inbox of one kind of sender.
pub struct Inbox {
    db: Client,
    table: String,
    retention_days: u16,
    compressor: BodyCompressor,
}

/// Compresses bodies (raw deflate). Its tables take some hundred kilobytes, so they are created
/// once.
struct BodyCompressor(Mutex<Option<Compressor>>);

impl BodyCompressor {
    fn compress_body(&self, body: &[u8]) -> Result<Vec<u8>, InboxError> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let compressor =
            cached.get_or_insert_with(|| Compressor::new(CompressionLvl::new(COMPRESSION_LEVEL).unwrap_or_default()));
        let mut packed = vec![0; compressor.deflate_compress_bound(body.len())];
        let packed_bytes = compressor.deflate_compress(body, &mut packed);
        packed.truncate(packed_bytes.map_err(|_| InboxError::TooLarge(packed.len()))?);
        Ok(packed)
    }
}

/// The body that was compressed; `None` if it is damaged, or larger than any that is accepted.
fn unpack_body(packed: &[u8]) -> Option<Vec<u8>> {
    miniz_oxide::inflate::decompress_to_vec_with_limit(packed, MAX_BODY_BYTES).ok()
}

impl Inbox {
    /// An inbox in a table.
    pub fn new(db: Client, table: String, retention_days: u16) -> Self {
        Self { db, table, retention_days, compressor: BodyCompressor(Mutex::default()) }
    }

    /// Stores a delivery, once.
    ///
    /// A delivery id that arrives again with *another* body is a new delivery. It is stored next to
    /// the first, under its id and body hash. The ledger prevents that a message is sent twice.
    pub async fn store_delivery(&self, delivery: &Verified<'_>, now: Timestamp) -> Result<StoreOutcome, InboxError> {
        let compressed = self.compressor.compress_body(delivery.body)?;
        if compressed.len() > MAX_COMPRESSED_BYTES {
            return Err(InboxError::TooLarge(compressed.len()));
        }
        let id = build_item_id(delivery.sender, &delivery.delivery_id);
        let Some(before) = self.put_delivery(&id, delivery, compressed.clone(), now).await? else {
            return Ok(log_new_delivery(&id));
        };
        // Bodies are compared unpacked: another version of tellonce may compress into other bytes.
        let is_same_body = |stored: &[u8]| unpack_body(stored).as_deref() == Some(delivery.body);
        if ItemReader(&before).bytes("body").is_none_or(is_same_body) {
            return Ok(StoreOutcome::Duplicate);
        }
        tracing::warn!(delivery.id = id, "stored delivery {id} again: it arrived with another body");
        let hash = ring::digest::digest(&ring::digest::SHA256, delivery.body);
        let id = format!("{id}~{}", &BASE64.encode(hash)[..22]);
        Ok(if self.put_delivery(&id, delivery, compressed, now).await?.is_none() {
            log_new_delivery(&id)
        } else {
            StoreOutcome::Duplicate
        })
    }

    /// Puts an item that must be new. Returns the existing item if there is one.
    async fn put_delivery(
        &self,
        id: &str,
        delivery: &Verified<'_>,
        compressed: Vec<u8>,
        now: Timestamp,
    ) -> Result<Option<Item>, InboxError> {
        let mut item = ItemWriter::with_capacity(8);
        item.text("id", id);
        item.text("sender", delivery.sender);
        item.text("delivery_id", delivery.delivery_id.as_str());
        item.time("received_at", now);
        item.bytes("body", compressed);
        item.number("ttl", now.as_second() + i64::from(self.retention_days) * 86_400);
        item.optional_text("topic", delivery.topic.as_deref());
        item.texts("headers", delivery.headers.iter());
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.into_item()))
            .condition_expression("attribute_not_exists(id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Some(refused.item().cloned().unwrap_or_default()))
                }
                _ => Err(InboxError::Store(Box::new(error))),
            },
        }
    }

    /// Records the outcome of a delivery.
    pub async fn record_outcome(&self, id: &str, outcome: &DeliveryOutcome, now: Timestamp) -> Result<(), InboxError> {
        // An update must not create a fragment of an item that the table has deleted.
        let update = self.update_outcome(id, outcome, now).condition_expression("attribute_exists(id)");
        send_if_current(update).await.map(drop).map_err(InboxError::Record)
    }

    /// Reads a page of items and returns the deliveries among them that match, with the position of
    /// the next page. An item without a sender in its key is not a delivery.
    pub async fn scan_deliveries(
        &self,
        filter: &DeliveryFilter<'_>,
        from: Option<&str>,
    ) -> Result<(Vec<ListedDelivery>, Option<String>), InboxError> {
        let mut scan = self
            .db
            .scan()
            .table_name(&self.table)
            .projection_expression("id, outcome")
            .consistent_read(true)
            .limit(PAGE_ITEMS);
        let mut conditions = Vec::new();
        if let Some(sender) = filter.sender {
            conditions.push("sender = :sender");
            scan = scan.expression_attribute_values(":sender", text_value(sender));
        }
        match filter.outcome {
            None => {}
            Some(NO_OUTCOME) => conditions.push("attribute_not_exists(outcome)"),
            Some(code) => {
                conditions.push("outcome = :code");
                scan = scan.expression_attribute_values(":code", text_value(code));
            }
        }
        if let Some(from) = filter.from {
            conditions.push("received_at >= :from");
            scan = scan.expression_attribute_values(":from", time_value(from));
        }
        if let Some(to) = filter.to {
            conditions.push("received_at < :to");
            scan = scan.expression_attribute_values(":to", time_value(to));
        }
        if !conditions.is_empty() {
            scan = scan.filter_expression(conditions.join(" AND "));
        }
        if let Some(from) = from {
            scan = scan.exclusive_start_key("id", text_value(from));
        }
        let page = scan.send().await.map_err(|error| InboxError::Scan(Box::new(error)))?;
        let deliveries = page.items().iter().filter_map(|item| {
            let item = ItemReader(item);
            let id = item.owned("id").filter(|id| id.contains('#'))?;
            Some(ListedDelivery { id, outcome: item.owned("outcome") })
        });
        let next = page.last_evaluated_key.as_ref().and_then(|key| ItemReader(key).owned("id"));
        Ok((deliveries.collect(), next))
    }

    /// Reads a page of deliveries with their bodies, with the position of the next page. One that
    /// was forgotten, or that this version cannot read, is an error with its id.
    pub async fn scan_bodies(&self, from: Option<&str>) -> Result<(Vec<ScannedDelivery>, Option<String>), InboxError> {
        let mut scan = self.db.scan().table_name(&self.table).consistent_read(true).limit(PAGE_ITEMS);
        if let Some(from) = from {
            scan = scan.exclusive_start_key("id", text_value(from));
        }
        let page = scan.send().await.map_err(|error| InboxError::Scan(Box::new(error)))?;
        let deliveries = page.items().iter().filter_map(ScannedDelivery::from_item);
        let next = page.last_evaluated_key.as_ref().and_then(|key| ItemReader(key).owned("id"));
        Ok((deliveries.collect(), next))
    }

    /// Deletes the body and the headers of a delivery. Its id stays, so that a repeat is known, and
    /// its outcome says why it leads to nothing. `about` is its subject, if it is known.
    pub async fn forget_delivery(&self, id: &str, about: Option<String>, now: Timestamp) -> Result<bool, InboxError> {
        let outcome = DeliveryOutcome::forgotten().about(about);
        let update = self.update_and_remove(id, &outcome, &["body", "headers"], now);
        let update = update.condition_expression("attribute_exists(body)");
        send_if_current(update).await.map_err(InboxError::Record)
    }

    /// Replays a delivery if its outcome is still this one. Returns whether it did.
    pub async fn replay_delivery(&self, id: &str, outcome: Option<&str>, now: Timestamp) -> Result<bool, InboxError> {
        let update = self.update_for_replay(id, now);
        let update = match outcome {
            Some(code) => require_code(update, code),
            None => update.condition_expression("attribute_exists(id) AND attribute_not_exists(outcome)"),
        };
        send_if_current(update).await.map_err(InboxError::Record)
    }

    /// Replays a delivery if it has an outcome, whatever its code. Returns whether it did. A
    /// delivery in progress has none.
    pub async fn replay_processed_delivery(&self, id: &str, now: Timestamp) -> Result<bool, InboxError> {
        let update = self.update_for_replay(id, now).condition_expression("attribute_exists(outcome)");
        send_if_current(update).await.map_err(InboxError::Record)
    }

    /// Replaces the outcome of a delivery if it still has this code. Returns whether it did.
    pub async fn replace_outcome(
        &self,
        id: &str,
        code: &str,
        then: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<bool, InboxError> {
        send_if_current(require_code(self.update_outcome(id, then, now), code)).await.map_err(InboxError::Record)
    }

    /// An update that sets the outcome of a delivery.
    fn update_outcome(&self, id: &str, outcome: &DeliveryOutcome, now: Timestamp) -> UpdateItemFluentBuilder {
        self.update_and_remove(id, outcome, &[], now)
    }

    /// An update that sets the outcome of a delivery and removes attributes.
    fn update_and_remove(
        &self,
        id: &str,
        outcome: &DeliveryOutcome,
        removed: &[&str],
        now: Timestamp,
    ) -> UpdateItemFluentBuilder {
        let mut set = String::from("SET outcome = :outcome, outcome_text = :text, outcome_at = :now");
        let mut removed = removed.to_vec();
        let mut update = self
            .update_item(id)
            .expression_attribute_values(":outcome", text_value(outcome.code))
            .expression_attribute_values(":text", text_value(outcome.text.as_str()))
            .expression_attribute_values(":now", time_value(now));
        if let Some(subject) = &outcome.about {
            set.push_str(", about = :about");
            update = update.expression_attribute_values(":about", text_value(subject.as_str()));
        }
        if outcome.needs_person {
            set.push_str(", needs_person = :yes");
            update = update.expression_attribute_values(":yes", text_value(NEEDS_PERSON));
        } else {
            removed.push("needs_person");
        }
        let remove = if removed.is_empty() { String::new() } else { format!(" REMOVE {}", removed.join(", ")) };
        update.update_expression(set + &remove)
    }

    /// An update that removes the outcome of a delivery, which wakes its function.
    fn update_for_replay(&self, id: &str, now: Timestamp) -> UpdateItemFluentBuilder {
        self.update_item(id)
            .update_expression("REMOVE outcome, outcome_text, outcome_at, needs_person SET replayed_at = :now")
            .expression_attribute_values(":now", time_value(now))
    }

    fn update_item(&self, id: &str) -> UpdateItemFluentBuilder {
        self.db.update_item().table_name(&self.table).key("id", text_value(id))
    }
}

fn require_code(update: UpdateItemFluentBuilder, code: &str) -> UpdateItemFluentBuilder {
    update.condition_expression("outcome = :code").expression_attribute_values(":code", text_value(code))
}

/// In a [`DeliveryFilter`]: a delivery without an outcome.
pub const NO_OUTCOME: &str = "none";

/// Which deliveries a scan returns. A part that is absent excludes none.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveryFilter<'a> {
    /// The sender's name in the configuration.
    pub sender: Option<&'a str>,
    /// The code of the outcome, or [`NO_OUTCOME`].
    pub outcome: Option<&'a str>,
    /// Received at this time or later.
    pub from: Option<Timestamp>,
    /// Received before this time.
    pub to: Option<Timestamp>,
}

/// A delivery that a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDelivery {
    /// The key in the inbox.
    pub id: String,
    /// The code of the outcome.
    pub outcome: Option<String>,
}

/// Logs that a delivery is stored. The lines of its decision and its send have the same
/// `delivery.id`.
fn log_new_delivery(id: &str) -> StoreOutcome {
    tracing::info!(delivery.id = id, "stored delivery {id}");
    StoreOutcome::New
}

/// The key of a delivery in the inbox.
pub fn build_item_id(sender: &str, delivery_id: &str) -> String {
    format!("{sender}#{delivery_id}")
}

/// A delivery from the inbox's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// The key in the inbox.
    pub id: String,
    /// The sender's name in the configuration.
    pub sender: String,
    /// The topic that the sender gives.
    pub topic: Option<String>,
    /// The stored headers.
    pub headers: BTreeMap<String, String>,
    /// The raw bytes that were verified.
    pub body: Vec<u8>,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// When it was replayed last.
    pub replayed_at: Option<Timestamp>,
}

/// A delivery of a scan, with what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedDelivery {
    /// The delivery. If its body does not decompress, the body is as it is stored.
    pub item: InboxItem,
    /// The code and the explanation of its outcome.
    pub outcome: Option<(String, String)>,
    /// The subject that its outcome names.
    pub about: Option<String>,
}

impl ScannedDelivery {
    /// `None` for an item without a body: a heartbeat, or a delivery that was forgotten.
    fn from_item(item: &Item) -> Option<Self> {
        let item = ItemReader(item);
        let (id, stored) = (item.owned("id").filter(|id| id.contains('#'))?, item.bytes("body")?);
        Some(Self {
            outcome: item.owned("outcome").map(|code| (code, item.owned("outcome_text").unwrap_or_default())),
            about: item.owned("about"),
            item: InboxItem {
                sender: item.owned("sender").unwrap_or_default(),
                topic: item.owned("topic"),
                headers: item.texts("headers").unwrap_or_default(),
                body: unpack_body(stored).unwrap_or_else(|| stored.to_vec()),
                received_at: item.time("received_at").unwrap_or_default(),
                replayed_at: item.time("replayed_at"),
                id,
            },
        })
    }
}

/// A stream record is not a delivery.
#[derive(Debug, thiserror::Error)]
pub enum InboxItemError {
    /// The body of the delivery with this id is deleted.
    #[error("the body of the delivery is deleted")]
    Forgotten(String),
    /// The attributes are not those of an inbox item.
    #[error("the record is not an inbox item")]
    NotAnItem(#[from] serde_json::Error),
    /// The body does not decompress.
    #[error("the body of the delivery could not be decompressed")]
    InvalidBody,
}

impl InboxItem {
    /// The sender's id of the delivery.
    pub fn delivery_id(&self) -> &str {
        self.id.split_once('#').map_or(self.id.as_str(), |(_, id)| id)
    }

    /// Reads the new image of a stream record.
    pub fn from_image(image: &str) -> Result<Self, InboxItemError> {
        let image: StreamImage<'_> = serde_json::from_str(image)?;
        let Some(body) = image.body else { return Err(InboxItemError::Forgotten(image.id.s.into_owned())) };
        let compressed = BASE64.decode(body.b.as_bytes()).map_err(|_| InboxItemError::InvalidBody)?;
        let body = unpack_body(&compressed).ok_or(InboxItemError::InvalidBody)?;
        let received_at = image.received_at.n.parse().map(from_millis).map_err(|_| InboxItemError::InvalidBody)?;
        let replayed_at = image.replayed_at.and_then(|at| at.n.parse().ok()).map(from_millis);
        let headers = image.headers.map(|map| map.m).unwrap_or_default();
        Ok(Self {
            id: image.id.s.into_owned(),
            sender: image.sender.s.into_owned(),
            topic: image.topic.map(|topic| topic.s.into_owned()),
            headers: headers.into_iter().map(|(name, value)| (name.into_owned(), value.s.into_owned())).collect(),
            body,
            received_at,
            replayed_at,
        })
    }
}

/// The value of a stored header by its name, in upper or lower case.
pub fn find_header<'a>(headers: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[derive(Deserialize)]
struct StreamImage<'a> {
    #[serde(borrow)]
    id: TextAttribute<'a>,
    #[serde(borrow)]
    sender: TextAttribute<'a>,
    #[serde(borrow, default)]
    topic: Option<TextAttribute<'a>>,
    #[serde(borrow, default)]
    headers: Option<MapAttribute<'a>>,
    #[serde(borrow, default)]
    body: Option<BinaryAttribute<'a>>,
    #[serde(borrow)]
    received_at: NumberAttribute<'a>,
    #[serde(borrow, default)]
    replayed_at: Option<NumberAttribute<'a>>,
}

#[derive(Deserialize)]
struct BinaryAttribute<'a> {
    #[serde(rename = "B", borrow)]
    b: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MapAttribute<'a> {
    #[serde(rename = "M", borrow)]
    m: HashMap<Cow<'a, str>, TextAttribute<'a>>,
}

#[cfg(test)]
mod tests {
    use loopback::http_response;

    use super::*;
    use crate::bootstrap::tests::start_fake_aws;

    fn build_image(body: &str) -> String {
        format!(
            r#"{{"id":{{"S":"shop#1"}},"sender":{{"S":"shop"}},"topic":{{"S":"orders\/paid"}},"headers":{{"M":{{"a":{{"S":"b"}}}}}},
            "body":{{"B":"{body}"}},"received_at":{{"N":"1795082402000"}},"ttl":{{"N":"1"}}}}"#
        )
    }

    #[test]
    fn an_inbox_item_contains_the_filed_delivery() {
        let packed = miniz_oxide::deflate::compress_to_vec(b"{\"id\":1}", 6);
        let entry = InboxItem::from_image(&build_image(&BASE64.encode(packed))).unwrap();
        assert_eq!(entry.body, b"{\"id\":1}");
        assert_eq!((entry.id.as_str(), entry.topic.as_deref()), ("shop#1", Some("orders/paid")));
        assert_eq!(entry.headers["a"], "b");
        assert_eq!(entry.received_at.to_string(), "2026-11-19T10:00:02Z");
        assert_eq!(entry.replayed_at, None);
        let replayed = build_image("AwA=").replace(r#""ttl""#, r#""replayed_at":{"N":"1795082403000"},"ttl""#);
        let replayed_at = InboxItem::from_image(&replayed).unwrap().replayed_at.unwrap();
        assert_eq!(replayed_at.to_string(), "2026-11-19T10:00:03Z");
    }

    #[test]
    fn a_delivery_without_a_body_is_restored_without_one() {
        let packed = BodyCompressor(Mutex::default()).compress_body(b"").unwrap();
        assert_eq!(InboxItem::from_image(&build_image(&BASE64.encode(packed))).unwrap().body, b"");
    }

    #[test]
    fn the_compressor_compresses_any_body_again_and_again() {
        let compressor = BodyCompressor(Mutex::default());
        let noise: Vec<u8> = (0..200_000_u32)
            .map(|n| u8::try_from(n.wrapping_mul(n).wrapping_mul(2_654_435_761) >> 24).unwrap())
            .collect();
        for body in [&b""[..], b"x", &vec![b' '; 100_000][..], &noise, b"{\"id\":1}"] {
            let unpacked = miniz_oxide::inflate::decompress_to_vec(&compressor.compress_body(body).unwrap()).unwrap();
            assert!(unpacked == body, "{} bytes", body.len());
        }
    }

    #[tokio::test]
    async fn a_repeat_is_recognised_although_another_version_compressed_its_body_into_other_bytes() {
        let (fake_api, aws) = start_fake_aws().await;
        let inbox = Inbox::new(aws.dynamodb(), "inbox".to_owned(), 30);
        let body = br#"{"id":1}"#;
        let refuse = |stored_body: &[u8]| {
            let packed = miniz_oxide::deflate::compress_to_vec(stored_body, 0);
            let refusal = serde_json::json!({
                "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                "Item": { "id": { "S": "shop#1" }, "body": { "B": BASE64.encode(packed) } },
            });
            http_response("400 Bad Request", &refusal.to_string())
        };
        let (sender, delivery_id) = ("shop", "1".to_owned());
        let delivery = Verified { sender, delivery_id, topic: None, headers: BTreeMap::new(), body };
        let store = || inbox.store_delivery(&delivery, Timestamp::UNIX_EPOCH);
        let refusal = refuse(body);
        let (_, outcome) = tokio::join!(fake_api.reply_once(&refusal), store());
        assert_eq!(outcome.unwrap(), StoreOutcome::Duplicate);

        let (refusal, success) = (refuse(br#"{"id":2}"#), http_response("200 OK", "{}"));
        let replies = async {
            fake_api.reply_once(&refusal).await.unwrap();
            fake_api.reply_once(&success).await.unwrap();
        };
        let ((), outcome) = tokio::join!(replies, store());
        assert_eq!(outcome.unwrap(), StoreOutcome::New);
    }

    #[test]
    fn a_damaged_body_is_an_error_and_not_a_panic() {
        assert!(matches!(InboxItem::from_image(&build_image("!!")), Err(InboxItemError::InvalidBody)));
        assert!(matches!(InboxItem::from_image(&build_image("AAAA")), Err(InboxItemError::InvalidBody)));
        assert!(matches!(InboxItem::from_image("{}"), Err(InboxItemError::NotAnItem(_))));
        let forgotten = build_image("").replace(r#""body":{"B":""},"#, "");
        assert!(matches!(InboxItem::from_image(&forgotten), Err(InboxItemError::Forgotten(id)) if id == "shop#1"));
    }

    #[test]
    fn a_decompression_bomb_is_not_unpacked() {
        let bomb = miniz_oxide::deflate::compress_to_vec(&vec![b' '; MAX_BODY_BYTES + 1], 6);
        assert!(matches!(InboxItem::from_image(&build_image(&BASE64.encode(bomb))), Err(InboxItemError::InvalidBody)));
    }
}
