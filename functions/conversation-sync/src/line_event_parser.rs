//! Parses a delivery of a line into messages and status reports.
//!
//! The provider publishes one sample of each event, and names as their format an interface that
//! differs from the samples in details. So the parser accepts both: the event's name as text or as
//! an object, times as numbers or as texts, members in either spelling. Two spellings that
//! contradict each other make the item unreadable. The outcome beside the delivery names everything
//! that was not used; the raw bytes stay there too. What a message is, and who its customer is,
//! `tellonce_core::provider` reads.

use jiff::Timestamp;
use tellonce_core::{
    clock::choose_event_time,
    json::{JsonError, RawJson},
    ledger::DeliveryStatus,
    provider::{LineEventItem, LineEventKind, PROVIDER},
};

use crate::line_event::{LineMessage, MessageDirection, ParsedLineEvent, StatusReport};

/// The longest id that is accepted, in bytes. The provider makes none that is longer.
const MAX_ID_BYTES: usize = 256;
/// The longest text that is kept, in characters: more than people type, and less than a table row
/// holds.
const MAX_TEXT_CHARS: usize = 10_000;
/// Numbers from this on are milliseconds: as seconds they would lie in the year 5138, as
/// milliseconds in 1973.
const MILLISECONDS_THRESHOLD: i64 = 100_000_000_000;
/// Numbers from this on are microseconds, by the same reason.
const MICROSECONDS_THRESHOLD: i64 = 100_000_000_000_000;
/// Numbers from this on are nanoseconds, by the same reason.
const NANOSECONDS_THRESHOLD: i64 = 100_000_000_000_000_000;

/// Parses a delivery. `topic` is the event that its header names.
pub fn parse_line_event(
    topic: Option<&str>,
    body: &[u8],
    received_at: Timestamp,
) -> Result<ParsedLineEvent, JsonError> {
    let delivery = PROVIDER.parse_line_event(body)?;
    let event = match delivery.event {
        Some(event) if topic.is_none_or(|topic| topic == event) => event,
        // If header and body disagree, neither is accepted.
        Some(_) => return Ok(ParsedLineEvent::unreadable("header and body name different events")),
        None => topic.ok_or(JsonError::NoTopic)?.to_owned(),
    };
    let mut parsed = ParsedLineEvent::default();
    match PROVIDER.line_event_kind(&event) {
        Some(LineEventKind::Messages) => {
            for item in delivery.messages.list_elements().ok_or_else(|| JsonError::Missing("/messages".into()))? {
                match parse_message(item, received_at) {
                    Ok((message, has_time)) => {
                        parsed.has_unreadable_times |= !has_time;
                        parsed.messages.push(message);
                    }
                    Err(reason) => parsed.skip_item(reason),
                }
            }
        }
        Some(LineEventKind::Statuses) => {
            for item in delivery.statuses.list_elements().ok_or_else(|| JsonError::Missing("/statuses".into()))? {
                match parse_status(item, received_at) {
                    Ok(status) => parsed.status_reports.push(status),
                    Err(reason) => parsed.skip_item(reason),
                }
            }
        }
        Some(LineEventKind::Chats) => {
            if delivery.chats.list_elements().is_none() {
                return Err(JsonError::Missing("/chats".into()));
            }
            // Each message also comes with its own event, which has the number that this one lacks.
            parsed.skip_reasons.push("chat summary: each message has its own event");
        }
        None => parsed.skip_reasons.push("unknown kind of event"),
    }
    Ok(parsed)
}

/// Why an item is skipped.
#[derive(Clone, Copy)]
enum LineEventSkipReason {
    /// tellonce does not handle it.
    Irrelevant(&'static str),
    /// It should be readable and is not.
    Unreadable(&'static str),
}

impl ParsedLineEvent {
    fn unreadable(reason: &'static str) -> Self {
        Self { skip_reasons: vec![reason], has_unreadable_items: true, ..Self::default() }
    }

    fn skip_item(&mut self, reason: LineEventSkipReason) {
        let (text, is_unreadable) = match reason {
            LineEventSkipReason::Irrelevant(text) => (text, false),
            LineEventSkipReason::Unreadable(text) => (text, true),
        };
        self.has_unreadable_items |= is_unreadable;
        if !self.skip_reasons.contains(&text) {
            self.skip_reasons.push(text);
        }
    }
}

/// Two spellings of one member have different values.
const CONTRADICTION: LineEventSkipReason =
    LineEventSkipReason::Unreadable("two spellings of one member contradict each other");

/// The value of a member that has two spellings.
fn merge_spellings((one, other): (RawJson<'_>, RawJson<'_>)) -> Result<Option<String>, LineEventSkipReason> {
    match (one.owned_text(), other.owned_text()) {
        (Some(one), Some(other)) if one != other => Err(CONTRADICTION),
        (one, other) => Ok(one.or(other)),
    }
}

fn parse_id(item: &LineEventItem<'_>) -> Result<String, LineEventSkipReason> {
    let id = merge_spellings(item.id)?;
    id.filter(|id| id.len() <= MAX_ID_BYTES).ok_or(LineEventSkipReason::Unreadable("message without a usable id"))
}

/// The time of an item, and whether it could be read if it was given. A time that could not be read
/// becomes the time of receipt.
fn parse_time(written: RawJson<'_>, received_at: Timestamp) -> (Timestamp, bool) {
    let number = parse_number(written);
    let reported = match number {
        Some(number) => parse_unix_time(number).filter(|at| at.as_second() > 0),
        None => written.as_utc_time(),
    };
    // A number that is not a time, such as 0, stands for a missing one.
    let is_readable = reported.is_some() || number.is_some() || !written.is_present();
    (choose_event_time(reported, received_at), is_readable)
}

/// A whole number, also as text, with a fraction, or as the two halves that protobuf's JavaScript
/// writes.
fn parse_number(written: RawJson<'_>) -> Option<i64> {
    if let Some(text) = written.text() {
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        return whole.parse().ok().filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()));
    }
    let half = |name: &str| written.at_pointer(name).text()?.parse::<i64>().ok();
    let low = u32::try_from(half("/low")? & 0xffff_ffff).ok()?;
    half("/high").unwrap_or(0).checked_mul(1 << 32)?.checked_add(i64::from(low))
}

fn parse_unix_time(number: i64) -> Option<Timestamp> {
    let time = if number >= NANOSECONDS_THRESHOLD {
        Timestamp::from_nanosecond(number.into())
    } else if number >= MICROSECONDS_THRESHOLD {
        Timestamp::from_microsecond(number)
    } else if number >= MILLISECONDS_THRESHOLD {
        Timestamp::from_millisecond(number)
    } else {
        Timestamp::from_second(number)
    };
    time.ok()
}

/// A message, and whether its time could be read.
fn parse_message(item: RawJson<'_>, received_at: Timestamp) -> Result<(LineMessage, bool), LineEventSkipReason> {
    let fields =
        PROVIDER.parse_line_event_item(item).ok_or(LineEventSkipReason::Unreadable("message that is not an object"))?;
    let id = parse_id(&fields)?;
    if fields.contact.is_group {
        return Err(LineEventSkipReason::Irrelevant("message of a group, channel or list"));
    }
    if fields.contact.is_contradictory {
        return Err(CONTRADICTION);
    }
    let text = fields.content.text.map(|text| text.chars().take(MAX_TEXT_CHARS).collect());
    // If our own message counted as a customer's, tellonce would reply to itself.
    let direction = match fields.from_me {
        Some(true) => MessageDirection::Out,
        Some(false) => MessageDirection::In,
        None => return Err(LineEventSkipReason::Unreadable("message without an author")),
    };
    let (sent_at, has_time) = parse_time(fields.timestamp, received_at);
    let target = fields.content.target.filter(|target| target.len() <= MAX_ID_BYTES);
    // An edit may have the id of its message, and is an entry of its own.
    let entry_id = format!("{id}:{}:{}", fields.content.kind.name(), sent_at.as_second());
    let is_same_id = target.as_ref() == Some(&id) && entry_id.len() <= MAX_ID_BYTES;
    let message = LineMessage {
        message_id: if is_same_id { entry_id } else { id },
        conversation_id: merge_spellings(fields.conversation)?.filter(|id| id.len() <= MAX_ID_BYTES),
        phone: fields.contact.phone,
        lid: fields.contact.lid,
        direction,
        sent_at,
        content: fields.content.kind,
        kind: fields.content.name,
        text,
        target,
        age: received_at.duration_since(sent_at),
    };
    Ok((message, has_time))
}

fn parse_status(item: RawJson<'_>, received_at: Timestamp) -> Result<StatusReport, LineEventSkipReason> {
    let fields =
        PROVIDER.parse_line_event_item(item).ok_or(LineEventSkipReason::Unreadable("status that is not an object"))?;
    let id = parse_id(&fields)?;
    let word = fields.status.owned_text().ok_or(LineEventSkipReason::Unreadable("status without a value"))?;
    let delivery_status =
        DeliveryStatus::from_status(&word).ok_or(LineEventSkipReason::Irrelevant("unknown status"))?;
    let (reported_at, _) = parse_time(fields.timestamp, received_at);
    Ok(StatusReport { message_id: id, delivery_status, reported_at, lid: fields.contact.lid })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn received_time() -> Timestamp {
        "2026-11-19T10:00:00Z".parse().unwrap()
    }

    fn parse_json_event(topic: &str, body: &Value) -> ParsedLineEvent {
        parse_line_event(Some(topic), body.to_string().as_bytes(), received_time()).unwrap()
    }

    fn sample_message() -> Value {
        json!({
            "id": "wamid_1", "message_id": "wamid_1", "chat_id": "c1", "from": "c1",
            "conversationId": "conv_1", "conversation_id": "conv_1",
            "contactPhoneNumber": "+972501234567", "contact_phone_number": "+972501234567",
            "from_me": false, "timestamp": 1_778_580_000, "type": "text", "text": {"body": "Hello"}, "body": "Hello",
        })
    }

    fn parse_changed_message(change: impl FnOnce(&mut Value)) -> ParsedLineEvent {
        let mut item = sample_message();
        change(&mut item);
        parse_json_event("messages.post", &json!({"event": "messages.post", "messages": [item]}))
    }

    #[test]
    fn the_published_samples_are_parsed_as_intended() {
        let parsed = parse_changed_message(|_| {});
        let [message] = &parsed.messages[..] else { panic!("{parsed:?}") };
        assert_eq!((message.message_id.as_str(), message.conversation_id.as_deref()), ("wamid_1", Some("conv_1")));
        assert_eq!((message.direction, message.text.as_deref()), (MessageDirection::In, Some("Hello")));
        assert_eq!(message.sent_at.to_string(), "2026-05-12T10:00:00Z");
        assert!(!parsed.has_unreadable_items && message.phone.is_some());
        let delivered = json!({"event": "statuses.post", "statuses": [{"id": "w", "message_id": "w", "status": "delivered", "timestamp": 1_778_580_000}]});
        let parsed = parse_json_event("statuses.post", &delivered);
        assert_eq!(parsed.status_reports[0].delivery_status, DeliveryStatus::from_status("delivered").unwrap());
        let chat = json!({"event": "chats.post", "chats": [{"id": "c", "last_message": {"id": "w"}}]});
        assert!(parse_json_event("chats.post", &chat).messages.is_empty());
    }

    #[test]
    fn spellings_of_the_other_interface_are_parsed_too() {
        let parsed = parse_json_event(
            "statuses.post",
            &json!({"event": {"type": "statuses", "event": "post"}, "statuses": [
                {"id": "w1", "code": 3, "status": "DELIVERED", "recipient_id": "x", "timestamp": "1778580000"},
                {"id": "w2", "status": "read", "timestamp": 1_778_580_000_123_i64},
                {"id": "w3", "status": "exploded"}, {"status": "read"}, 7,
            ]}),
        );
        let times: Vec<String> = parsed.status_reports.iter().map(|status| status.reported_at.to_string()).collect();
        assert_eq!(times, ["2026-05-12T10:00:00Z", "2026-05-12T10:00:00.123Z"]);
        assert!(parsed.has_unreadable_items && parsed.skip_reasons.len() == 3, "{parsed:?}");
        let snake = parse_changed_message(|item| {
            let item = item.as_object_mut().unwrap();
            for name in ["conversationId", "contactPhoneNumber", "message_id", "text"] {
                item.remove(name);
            }
        });
        let [message] = &snake.messages[..] else { panic!("{snake:?}") };
        assert!(message.phone.is_some() && message.text.as_deref() == Some("Hello"));
    }

    #[test]
    fn contradictions_and_groups_are_skipped_and_unreadable_items_are_flagged() {
        let contradictory = parse_changed_message(|item| item["conversation_id"] = json!("conv_2"));
        assert!(contradictory.messages.is_empty() && contradictory.has_unreadable_items);
        let group = parse_changed_message(|item| item["chat_id"] = json!("1203@g.us"));
        assert!(group.messages.is_empty() && !group.has_unreadable_items);
        let image = parse_changed_message(|item| {
            item["type"] = json!("image");
            item["text"] = Value::Null;
            item["body"] = Value::Null;
        });
        assert_eq!((image.messages[0].kind.as_str(), image.messages[0].text.as_deref()), ("image", None));
        let bare = parse_changed_message(|item| {
            item["contactPhoneNumber"] = json!("972501234567");
            item["contact_phone_number"] = json!("972501234567");
        });
        assert_eq!(bare.messages[0].phone, None, "a number needs its plus");
        let edit = parse_changed_message(|item| {
            item["type"] = json!("edit");
            item["edit"] = json!({"original_message_id": "wamid_1", "message": {"text": {"body": "New"}}});
        });
        assert_eq!(edit.messages[0].message_id, "wamid_1:edit:1778580000", "an entry of its own");
        assert!(
            parse_json_event("messages.post", &json!({"event": "statuses.post", "statuses": []})).has_unreadable_items
        );
        assert!(!parse_json_event("calls.post", &json!({"event": "calls.post", "calls": []})).has_unreadable_items);
        for body in ["", "[]", "{}", "hello", r#"{"event":"messages.post"}"#, r#"{"messages":{}}"#] {
            assert!(parse_line_event(Some("messages.post"), body.as_bytes(), received_time()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_time_is_read_as_a_number_in_any_unit_or_as_text() {
        for written in [
            json!(1_778_580_000),
            json!("1778580000"),
            json!("1778580000.25"),
            json!(1_778_580_000_000_i64),
            json!(1_778_580_000_000_000_i64),
            json!(1_778_580_000_000_000_000_i64),
            json!("1778580000000000000"),
            json!("2026-05-12T10:00:00Z"),
            json!("2026-05-12T10:00:00.000Z"),
            json!("2026-05-12T12:00:00+02:00"),
            json!("2026-05-12T10:00:00"),
            json!({"low": 1_778_580_000, "high": 0, "unsigned": true}),
        ] {
            let parsed = parse_changed_message(|item| item["timestamp"] = written.clone());
            assert_eq!(parsed.messages[0].sent_at.as_second(), 1_778_580_000, "{written}");
            assert!(!parsed.has_unreadable_times && parsed.messages[0].is_old(), "{written}");
        }
        let high = json!({"low": -1_i64, "high": 0, "unsigned": true});
        let parsed = parse_changed_message(|item| item["timestamp"] = high);
        assert_eq!(parsed.messages[0].sent_at, received_time(), "in the future");
    }

    #[test]
    fn a_message_is_old_from_a_day_on() {
        let is_old = |hours: i64| {
            let at = (received_time() - jiff::SignedDuration::from_hours(hours)).as_second();
            parse_changed_message(|item| item["timestamp"] = json!(at)).messages[0].is_old()
        };
        assert!(!is_old(0) && !is_old(23) && is_old(24) && is_old(24 * 400));
    }

    #[test]
    fn a_future_or_invalid_time_becomes_the_time_of_receipt() {
        for written in [json!(99_999_999_999_i64), json!(-1), json!(0), json!("soon"), json!({}), Value::Null] {
            let parsed = parse_changed_message(|item| item["timestamp"] = written.clone());
            assert_eq!(parsed.messages[0].sent_at, received_time(), "{written}");
            let is_other = written.is_string() || written.is_object();
            assert_eq!(parsed.has_unreadable_times, is_other, "{written}");
        }
    }

    #[test]
    fn debug_output_shows_nothing_personal() {
        let shown = format!("{:?}", parse_changed_message(|_| {}));
        assert!(!shown.contains("Hello") && !shown.contains("501234567"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_values_in_any_field_are_parsed_or_explained(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            member in prop::sample::select(&["id", "message_id", "chat_id", "conversationId", "contactPhoneNumber", "from_me", "timestamp", "type", "text", "body"][..]),
            value in prop_oneof![
                Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), ".{0,300}".prop_map(Value::from),
                Just(json!([])), Just(json!({"body": 1})), Just(json!(1e300)),
            ],
        ) {
            drop(parse_line_event(Some("messages.post"), &bytes, received_time()));
            drop(parse_line_event(None, &bytes, received_time()));
            let reading = parse_changed_message(|item| item[member] = value);
            prop_assert!(reading.messages.len() == 1 || !reading.skip_reasons.is_empty());
            prop_assert!(reading.messages.iter().all(|message| message.sent_at <= received_time() + jiff::SignedDuration::from_mins(10)));
        }
    }
}
