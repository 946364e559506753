//! Rows as items of the table.
//!
//! Attribute names are part of the table's contract: console, indexes and alarms use them.

use super::{
    delivery_status::DeliveryStatus,
    erasure::Erasure,
    idempotency_key::IdempotencyKey,
    row::{ClaimOwner, Consent, LedgerRow, MessageContext, MessageState},
    trail::StepCode,
};
use crate::{
    attributes::{Item, ItemReader, ItemWriter, UnknownAttributes},
    client_config::Precedence,
    contact::Phone,
    fault::{ClassifyFault, Fault},
    provider::{Payload, SendRoute},
    trail::Trail,
};

/// The value of `due_queue` of a settled row that a person should look at. No line has this name,
/// because it contains a colon. The entry's time is that of the row's last write.
pub const NEEDS_PERSON_QUEUE: &str = "queue:needs-person";

/// Every attribute of a row that this version knows. A row keeps all others.
const KNOWN_ATTRIBUTES: [&str; 52] = [
    "accepted_at",
    "attempts",
    "consent",
    "consent_at",
    "contact",
    "conversation_id",
    "created_at",
    "deleted",
    "delivery",
    "delivery_status",
    "delivery_status_at",
    "due_at",
    "due_queue",
    "erased",
    "failed",
    "first_attempt_at",
    "generation",
    "handled_at",
    "ignores_quiet_hours",
    "instance",
    "latest_only",
    "lease_until",
    "line",
    "locale",
    "made_by",
    "message_id",
    "name",
    "occurred_at",
    "order_number",
    "owner",
    "parcel",
    "priority",
    "provider_id",
    "rank",
    "reason",
    "released_at",
    "request",
    "route",
    "stage",
    "state",
    "subject",
    "supersedes",
    "text_zone",
    "to",
    "trail",
    "ttl",
    "updated_at",
    "useful_until",
    "values",
    "version",
    "waiting_since",
    "zone",
];

/// An item of the ledger cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerItemError {
    /// It lacks a required attribute, or the attribute does not parse.
    #[error("the ledger row {key} has no usable `{attribute}`")]
    Unusable {
        /// The item's key.
        key: String,
        /// The attribute.
        attribute: &'static str,
    },
    /// A newer version of tellonce wrote it, and only that version can read it.
    #[error("the ledger row {key} has a `{attribute}` of a newer version of tellonce")]
    NewerVersion {
        /// The item's key.
        key: String,
        /// The attribute.
        attribute: &'static str,
    },
}

impl LedgerItemError {
    pub(super) fn new(key: String, attribute: &'static str) -> Self {
        Self::Unusable { key, attribute }
    }

    /// The key of the item.
    pub fn key(&self) -> &str {
        match self {
            Self::Unusable { key, .. } | Self::NewerVersion { key, .. } => key,
        }
    }

    /// The error of an attribute whose word is missing, or not a word of this version.
    pub(super) fn of_word(key: String, attribute: &'static str, item: ItemReader<'_>) -> Self {
        if item.text(attribute).is_some() { Self::NewerVersion { key, attribute } } else { Self::new(key, attribute) }
    }

    /// The error of a JSON document. One that is JSON was written by another version.
    pub(super) fn of_document(key: String, attribute: &'static str, error: &serde_json::Error) -> Self {
        if error.is_data() { Self::NewerVersion { key, attribute } } else { Self::new(key, attribute) }
    }
}

impl ClassifyFault for LedgerItemError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unusable { .. } => Fault::Permanent,
            Self::NewerVersion { .. } => Fault::NewerVersion,
        }
    }
}

/// The item of a row. `contact` is its key in the index of messages by contact. `ttl` is when the
/// table deletes the item, in seconds since 1970.
pub(super) fn to_item(row: &LedgerRow, contact: Option<&str>, ttl: i64) -> Item {
    let mut item = ItemWriter::with_capacity(24);
    item.text("subject", row.key.subject());
    item.text("stage", row.key.stage());
    item.text("state", row.state.name());
    item.number("version", row.version);
    item.number("rank", row.precedence.rank);
    item.number("supersedes", row.precedence.supersedes);
    item.optional_text("parcel", row.precedence.parcel.as_deref());
    item.flag("latest_only", row.precedence.latest_only);
    item.optional_text("instance", row.instance.as_deref());
    if let Some(generation) = row.generation {
        item.number("generation", generation);
    }
    item.optional_text("zone", row.zone.as_deref());
    item.optional_text("text_zone", row.text_zone.as_deref());
    if let Some(consent) = &row.consent {
        item.text("consent", consent.source.as_str());
        item.time("consent_at", consent.at);
    }
    item.optional_time("released_at", row.released_at);
    item.time("occurred_at", row.occurred_at);
    item.text("line", row.line.as_str());
    item.optional_text("to", row.to.as_ref().map(Phone::expose));
    if let Some(payload) = &row.payload {
        item.text("route", payload.route.path());
        item.text("request", payload.body.as_str());
    }
    item.time("useful_until", row.useful_until);
    item.number("priority", row.priority);
    item.flag("ignores_quiet_hours", row.ignores_quiet_hours);
    item.optional_text("owner", row.owner.as_ref().map(|owner| owner.0.as_str()));
    item.optional_time("lease_until", row.lease_until);
    write_queue(&mut item, row);
    item.optional_time("waiting_since", row.waiting_since);
    if row.attempts > 0 {
        item.number("attempts", row.attempts);
    }
    item.optional_time("first_attempt_at", row.first_attempt_at);
    item.optional_text("reason", row.reason.as_deref());
    item.optional_text("trail", row.trail.to_attribute().as_deref());
    item.optional_text("provider_id", row.provider_id.as_deref());
    item.optional_time("accepted_at", row.accepted_at);
    item.optional_text("message_id", row.message_id.as_deref());
    item.optional_text("conversation_id", row.conversation_id.as_deref());
    row.delivery_status.add_to(&mut item);
    item.optional_time("delivery_status_at", row.delivery_status_at);
    item.text("delivery", row.delivery.as_str());
    write_context(&mut item, &row.context);
    item.optional_text("made_by", row.made_by.as_deref());
    item.time("created_at", row.created_at);
    item.time("updated_at", row.updated_at);
    let erasure = row.erasure.as_ref();
    item.optional_text("erased", erasure.map(|it| it.cause.name()));
    item.optional_text("contact", contact.or(erasure.and_then(|it| it.contact.as_deref())));
    item.number("ttl", ttl);
    row.unknown_attributes.add_to(&mut item);
    item.into_item()
}

/// Puts a row that waits into the queue of its line, and one that needs a person into theirs.
fn write_queue(item: &mut ItemWriter, row: &LedgerRow) {
    match row.due_at {
        None if needs_person(row) => {
            item.text("due_queue", NEEDS_PERSON_QUEUE);
            item.time("due_at", row.updated_at);
        }
        due_at => {
            item.optional_text("due_queue", due_at.map(|_| row.line.as_str()));
            item.optional_time("due_at", due_at);
        }
    }
    item.optional_time("handled_at", row.handled_at);
}

/// Whether a person should look at a row: the customer did not get the message, or perhaps not, and
/// it is not settled yet.
fn needs_person(row: &LedgerRow) -> bool {
    let is_undelivered = match row.state {
        MessageState::NeedsHuman | MessageState::Refused => true,
        // An event that came too late is mostly one of the past: an import, a repeat.
        MessageState::Expired => row.last_event() != Some(StepCode::ExpiredOnArrival),
        // Orders without a number are usual. A reminder was due and could not be written.
        MessageState::Incomplete => row.is_reminder(),
        MessageState::Accepted => row.delivery_status.has_failed(),
        MessageState::Held
        | MessageState::Claimed
        | MessageState::Unknown
        | MessageState::Superseded
        | MessageState::Suppressed => false,
    };
    is_undelivered && row.handled_at.is_none()
}

fn write_context(item: &mut ItemWriter, context: &MessageContext) {
    item.optional_text("name", context.name.as_deref());
    item.optional_text("locale", context.locale.as_deref());
    item.optional_text("order_number", context.order_number.as_deref());
    item.texts("values", context.values.iter());
}

/// The row of an item.
pub(super) fn from_item(item: &Item) -> Result<LedgerRow, LedgerItemError> {
    let unknown_attributes = UnknownAttributes::of_item(item, &KNOWN_ATTRIBUTES);
    let item = ItemReader(item);
    let key =
        IdempotencyKey::from_parts(item.owned("subject").unwrap_or_default(), item.owned("stage").unwrap_or_default());
    let missing = |attribute: &'static str| LedgerItemError::new(key.to_string(), attribute);
    let unknown_word = |attribute: &'static str| LedgerItemError::of_word(key.to_string(), attribute, item);
    let time = |name: &'static str| item.time(name).ok_or(missing(name));
    let payload = match item.text("route").zip(item.owned("request")) {
        Some((route, body)) => {
            Some(Payload { route: SendRoute::from_path(route).ok_or_else(|| unknown_word("route"))?, body })
        }
        None => None,
    };
    let to = item.text("to").map(Phone::from_e164).transpose().map_err(|_| missing("to"))?;
    let delivery_status = DeliveryStatus::of_item(item).map_err(unknown_word)?;
    Ok(LedgerRow {
        state: item.text("state").and_then(MessageState::from_name).ok_or_else(|| unknown_word("state"))?,
        version: item.number("version").ok_or(missing("version"))?,
        precedence: read_precedence(item).map_err(missing)?,
        instance: item.owned("instance"),
        generation: item.number("generation"),
        zone: item.owned("zone"),
        text_zone: item.owned("text_zone"),
        consent: item.owned("consent").zip(item.time("consent_at")).map(|(source, at)| Consent { source, at }),
        released_at: item.time("released_at"),
        occurred_at: time("occurred_at")?,
        line: item.owned("line").ok_or(missing("line"))?,
        to,
        payload,
        useful_until: time("useful_until")?,
        priority: item.number("priority").ok_or(missing("priority"))?,
        ignores_quiet_hours: item.flag("ignores_quiet_hours"),
        owner: item.owned("owner").map(ClaimOwner),
        lease_until: item.time("lease_until"),
        due_at: item.time("due_at").filter(|_| item.text("due_queue") != Some(NEEDS_PERSON_QUEUE)),
        handled_at: item.time("handled_at"),
        waiting_since: item.time("waiting_since"),
        attempts: item.number("attempts").unwrap_or(0),
        first_attempt_at: item.time("first_attempt_at"),
        reason: item.owned("reason"),
        trail: item.text("trail").map(Trail::from_attribute).unwrap_or_default(),
        provider_id: item.owned("provider_id"),
        accepted_at: item.time("accepted_at"),
        message_id: item.owned("message_id"),
        conversation_id: item.owned("conversation_id"),
        delivery_status,
        delivery_status_at: item.time("delivery_status_at"),
        delivery: item.owned("delivery").unwrap_or_default(),
        context: read_context(item),
        made_by: item.owned("made_by"),
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
        erasure: Erasure::of_item(item).map_err(|()| unknown_word("erased"))?,
        unknown_attributes,
        key,
    })
}

/// The precedence of a row, or the attribute that is not usable.
fn read_precedence(item: ItemReader<'_>) -> Result<Precedence, &'static str> {
    Ok(Precedence {
        rank: item.number("rank").ok_or("rank")?,
        supersedes: item.number("supersedes").ok_or("supersedes")?,
        parcel: item.owned("parcel"),
        latest_only: item.flag("latest_only"),
    })
}

fn read_context(item: ItemReader<'_>) -> MessageContext {
    MessageContext {
        name: item.owned("name"),
        locale: item.owned("locale"),
        order_number: item.owned("order_number"),
        values: item.texts("values").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::DeliveryProgress;
    use crate::{
        attributes::{number_value, text_value},
        ledger::{apply_change, row::waiting_row, transition::tests::any_change},
    };

    /// A row that uses every attribute.
    fn full_row() -> LedgerRow {
        let row = waiting_row();
        let (at, word) = (Some(row.created_at), || Some("a".to_owned()));
        LedgerRow {
            precedence: Precedence { parcel: word(), latest_only: true, ..row.precedence },
            instance: word(),
            generation: Some(1),
            zone: word(),
            text_zone: word(),
            consent: Some(Consent { source: "a".into(), at: row.created_at }),
            released_at: at,
            to: Some(Phone::from_e164("+972545550199").unwrap()),
            ignores_quiet_hours: true,
            owner: Some(ClaimOwner("a".into())),
            lease_until: at,
            due_at: at,
            handled_at: at,
            attempts: 1,
            first_attempt_at: at,
            reason: word(),
            trail: Trail::from_attribute(r#"[[0,"held","line-down","a"]]"#),
            provider_id: word(),
            accepted_at: at,
            message_id: word(),
            conversation_id: word(),
            delivery_status: DeliveryStatus { reached: Some(DeliveryProgress::Read), failed: true, deleted: true },
            delivery_status_at: at,
            context: MessageContext {
                name: word(),
                locale: word(),
                order_number: word(),
                values: [("a".to_owned(), "b".to_owned())].into(),
            },
            erasure: Some(Erasure::of_age("contact:ab")),
            ..row
        }
    }

    #[test]
    fn a_full_row_round_trips_and_the_list_of_known_attributes_is_complete() {
        let (row, item) = (full_row(), to_item(&full_row(), Some("contact:ab"), 1));
        assert_eq!(from_item(&item).unwrap(), row);
        let unknown = UnknownAttributes::of_item(&item, &KNOWN_ATTRIBUTES);
        assert!(unknown.is_empty(), "not in the list: {unknown:?}");
    }

    /// A row is billed by the kilobyte at each of its writes.
    #[test]
    fn the_row_of_a_usual_message_stays_below_a_kilobyte_with_its_whole_trail() {
        let text = "היי נועה, תודה שקנית אצלנו! ההזמנה #1001 מוכנה לאיסוף בחנות, רחוב הרצל 5, חיפה. נתראה!";
        let body = serde_json::json!({"to": "+972545550199", "text": text}).to_string();
        let row = waiting_row();
        let mut row = LedgerRow {
            to: Some(Phone::from_e164("+972545550199").unwrap()),
            payload: Some(Payload { body, ..row.payload.clone().unwrap() }),
            delivery: "shop#b54557e4-bdd9-4b37-8a5f-bf7d70bcd043".into(),
            provider_id: Some("wamid.HBgMOTcyNTQ1NTUwMTk5".into()),
            message_id: Some("wamid.HBgMOTcyNTQ1NTUwMTk5".into()),
            conversation_id: Some("conv_8f3b2c".into()),
            delivery_status: DeliveryStatus { reached: Some(DeliveryProgress::Read), failed: false, deleted: false },
            accepted_at: Some(row.created_at),
            delivery_status_at: Some(row.created_at),
            context: MessageContext {
                name: Some("Noa Levi".into()),
                locale: Some("he-IL".into()),
                order_number: Some("#1001".into()),
                values: [].into(),
            },
            due_at: None,
            ..row
        };
        let health = "the line could not send (HTTP 200, sendable false, effectiveSendState blocked, status QR)";
        for (state, code) in [
            (MessageState::Claimed, StepCode::Created),
            (MessageState::Held, StepCode::LineDown),
            (MessageState::Accepted, StepCode::Accepted),
            (MessageState::Accepted, StepCode::Sent),
            (MessageState::Accepted, StepCode::Delivered),
            (MessageState::Accepted, StepCode::Read),
        ] {
            row.updated_at += jiff::SignedDuration::from_hours(500_000);
            row.state = state;
            row.add_step(code, Some(health));
            row.updated_at -= jiff::SignedDuration::from_hours(499_999);
        }
        let item = to_item(&row, Some("contact:0123456789abcdef0123456789abcdef"), 1_800_000_000);
        let bytes: usize = item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum();
        assert!(bytes < 1024, "{bytes} bytes, {} of them the trail", item["trail"].as_s().unwrap().len());
    }

    /// The size of a value. Source: docs.aws.amazon.com, "`DynamoDB` item sizes and formats".
    fn value_bytes(value: &aws_sdk_dynamodb::types::AttributeValue) -> usize {
        use aws_sdk_dynamodb::types::AttributeValue as Value;
        match value {
            Value::S(text) => text.len(),
            Value::N(number) => number.len() / 2 + 2,
            Value::M(members) => {
                3 + members.iter().map(|(name, value)| name.len() + value_bytes(value) + 1).sum::<usize>()
            }
            _ => 1,
        }
    }

    #[test]
    fn a_word_of_a_newer_version_is_a_passing_fault_and_a_missing_one_is_damage() {
        for attribute in ["state", "route", "delivery_status", "erased"] {
            let mut item = to_item(&full_row(), None, 1);
            item.insert(attribute.to_owned(), text_value("of tomorrow"));
            let error = from_item(&item).unwrap_err();
            assert_eq!(error.fault(), Fault::NewerVersion, "{error}");
            assert!(error.to_string().contains("newer version") && !error.to_string().contains("of tomorrow"));
        }
        let mut item = to_item(&full_row(), None, 1);
        item.remove("state");
        assert_eq!(from_item(&item).unwrap_err().fault(), Fault::Permanent);
    }

    #[test]
    fn a_row_that_needs_a_person_is_in_their_queue_until_it_is_settled() {
        let settled = LedgerRow { due_at: None, state: MessageState::NeedsHuman, ..waiting_row() };
        let queue = |row: &LedgerRow| ItemReader(&to_item(row, None, 1)).owned("due_queue");
        assert_eq!(queue(&waiting_row()).as_deref(), Some("main"));
        assert_eq!(queue(&settled).as_deref(), Some(NEEDS_PERSON_QUEUE));
        assert_eq!(from_item(&to_item(&settled, None, 1)).unwrap(), settled, "it is not due");
        let handled = LedgerRow { handled_at: Some(settled.updated_at), ..settled.clone() };
        assert_eq!(queue(&handled), None);
        let mut failed_later = LedgerRow { state: MessageState::Accepted, ..handled };
        failed_later.take_delivery_status(DeliveryStatus::sent(), settled.updated_at);
        assert_eq!(queue(&failed_later), None);
        let failed = DeliveryStatus { failed: true, ..DeliveryStatus::default() };
        failed_later.take_delivery_status(failed, settled.updated_at);
        assert_eq!(queue(&failed_later).as_deref(), Some(NEEDS_PERSON_QUEUE), "it did not arrive after all");
        for (row, needs_person) in [
            (LedgerRow { state: MessageState::Accepted, ..settled.clone() }, false),
            (LedgerRow { state: MessageState::Accepted, delivery_status: failed, ..settled.clone() }, true),
            (LedgerRow { state: MessageState::Incomplete, ..settled.clone() }, false),
            (LedgerRow { state: MessageState::Incomplete, generation: Some(1), ..settled.clone() }, true),
            (LedgerRow { state: MessageState::Superseded, ..settled }, false),
        ] {
            assert_eq!(queue(&row).is_some(), needs_person, "{row:?}");
        }
    }

    proptest! {
        #[test]
        fn a_row_keeps_the_attributes_of_another_version_over_every_transition(
            changes in prop::collection::vec((any_change(), 0..400i64), 1..40),
            names in prop::collection::btree_set("tomorrow_[a-z]{1,6}", 1..4),
        ) {
            let mut item = to_item(&waiting_row(), None, 1);
            for (index, name) in names.iter().enumerate() {
                item.insert(name.clone(), number_value(index));
            }
            let mut now = waiting_row().created_at;
            for (change, seconds) in changes {
                now += jiff::SignedDuration::from_secs(seconds);
                if let Ok(next) = apply_change(&from_item(&item).unwrap(), &change, now) {
                    item = to_item(&next, None, 1);
                }
                for (index, name) in names.iter().enumerate() {
                    prop_assert_eq!(item.get(name), Some(&number_value(index)));
                }
            }
        }
    }
}
