//! What a delivery of a line reports, in our own words.
//!
//! `EZWhatsApp` shows one sample of each event and calls their format after an interface that differs from its samples in
//! details. So both are read: a name of the event that is text or an object, times that are numbers or texts, members in
//! either spelling. Two spellings that contradict each other are no fact, and what is read nowhere is said by the outcome that
//! stands beside the delivery, where its raw bytes are.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use shared::{
    clock::happened,
    contact::Phone,
    json::{self, Misread, Raw},
    ledger::Fate,
};

use crate::crm::Direction;

/// Longer ids than this are none that the provider makes, in bytes.
const LONGEST_ID: usize = 256;
/// As much of a text is kept, in characters: more than anybody types, and less than a row of the table holds.
const LONGEST_TEXT: usize = 10_000;
/// Seconds above this are milliseconds: the year 5138 in the one, 1973 in the other.
const MILLISECONDS_FROM: i64 = 100_000_000_000;
/// How the provider's ids of chats end that are no person's. Nobody is told anything of those.
const NO_PERSON: [&str; 3] = ["@g.us", "@newsletter", "@broadcast"];

/// What a delivery reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Messages, ours and theirs.
    pub messages: Vec<Message>,
    /// Reports of what became of messages.
    pub statuses: Vec<Status>,
    /// What was left out, and why: words for an operator, nothing of the delivery in them.
    pub left_out: Vec<&'static str>,
    /// Whether something of it cannot be read although it should be.
    pub odd: bool,
}

/// A message that was written on a line.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The provider's id.
    pub id: String,
    /// `EZWhatsApp`'s id of the conversation.
    pub conversation: Option<String>,
    /// The customer, where the number is one.
    pub phone: Option<Phone>,
    /// Who wrote.
    pub direction: Direction,
    /// When.
    pub at: Timestamp,
    /// What it is: `text`, `image`, …
    pub kind: String,
    /// Its text.
    pub text: Option<String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("direction", &self.direction)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The provider's id of the message.
    pub id: String,
    /// What is reported.
    pub fate: Fate,
    /// When it happened.
    pub at: Timestamp,
}

#[derive(Deserialize)]
struct Delivery<'a> {
    #[serde(borrow, default)]
    event: Raw<'a>,
    #[serde(borrow, default)]
    messages: Raw<'a>,
    #[serde(borrow, default)]
    statuses: Raw<'a>,
    #[serde(borrow, default)]
    chats: Raw<'a>,
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    id: Raw<'a>,
    #[serde(borrow, default)]
    message_id: Raw<'a>,
    #[serde(borrow, default)]
    chat_id: Raw<'a>,
    #[serde(borrow, default, rename = "conversationId")]
    conversation: Raw<'a>,
    #[serde(borrow, default, rename = "conversation_id")]
    conversation_snake: Raw<'a>,
    #[serde(borrow, default, rename = "contactPhoneNumber")]
    phone: Raw<'a>,
    #[serde(borrow, default, rename = "contact_phone_number")]
    phone_snake: Raw<'a>,
    #[serde(borrow, default)]
    from_me: Raw<'a>,
    #[serde(borrow, default)]
    timestamp: Raw<'a>,
    #[serde(borrow, default, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow, default)]
    text: Raw<'a>,
    #[serde(borrow, default)]
    body: Raw<'a>,
    #[serde(borrow, default)]
    status: Raw<'a>,
}

/// Reads a delivery. `topic` is what its header says it is.
pub fn read(topic: Option<&str>, body: &[u8], received_at: Timestamp) -> Result<Reading, Misread> {
    let delivery: Delivery<'_> = json::parse(body)?;
    let event = match event_name(delivery.event) {
        Some(event) if topic.is_none_or(|topic| topic == event) => event,
        // A body that says something else than its header is believed in neither.
        Some(_) => return Ok(Reading::odd("the body is of another event than its header says")),
        None => topic.ok_or(Misread::NoTopic)?.to_owned(),
    };
    let mut reading = Reading::default();
    match event.as_str() {
        "messages.post" => {
            for item in delivery.messages.elements().ok_or_else(|| Misread::Missing("/messages".into()))? {
                match message(item, received_at) {
                    Ok(message) => reading.messages.push(message),
                    Err(left) => reading.leave_out(left),
                }
            }
        }
        "statuses.post" => {
            for item in delivery.statuses.elements().ok_or_else(|| Misread::Missing("/statuses".into()))? {
                match status(item, received_at) {
                    Ok(status) => reading.statuses.push(status),
                    Err(left) => reading.leave_out(left),
                }
            }
        }
        "chats.post" => {
            if delivery.chats.elements().is_none() {
                return Err(Misread::Missing("/chats".into()));
            }
            // The message that it shows comes with an event of its own, with the number that this one lacks.
            reading.left_out.push("a chat's summary: its messages are reported by themselves");
        }
        _ => reading.left_out.push("an event of a kind that is not known here"),
    }
    Ok(reading)
}

/// Why an item is left out.
#[derive(Clone, Copy)]
enum Left {
    /// It is nobody's business here.
    Meant(&'static str),
    /// It cannot be read.
    Odd(&'static str),
}

impl Reading {
    fn odd(why: &'static str) -> Self {
        Self { left_out: vec![why], odd: true, ..Self::default() }
    }

    fn leave_out(&mut self, left: Left) {
        let (why, odd) = match left {
            Left::Meant(why) => (why, false),
            Left::Odd(why) => (why, true),
        };
        self.odd |= odd;
        if !self.left_out.contains(&why) {
            self.left_out.push(why);
        }
    }
}

/// `messages.post`, or `{"type": "messages", "event": "post"}`.
fn event_name(event: Raw<'_>) -> Option<String> {
    let part = |name: &str| event.at(name).string();
    event.string().or_else(|| Some(format!("{}.{}", part("/type")?, part("/event")?)))
}

/// What both spellings say, if they don't contradict each other.
fn either(one: Raw<'_>, other: Raw<'_>) -> Result<Option<String>, Left> {
    match (one.string(), other.string()) {
        (Some(one), Some(other)) if one != other => Err(Left::Odd("two spellings of one member contradict each other")),
        (one, other) => Ok(one.or(other)),
    }
}

fn id(written: &Written<'_>) -> Result<String, Left> {
    let id = either(written.id, written.message_id)?;
    id.filter(|id| id.len() <= LONGEST_ID).ok_or(Left::Odd("a message without a usable id"))
}

fn time(written: Raw<'_>, received_at: Timestamp) -> Timestamp {
    let said = written.text().and_then(|text| {
        let number: i64 = text.split('.').next()?.parse().ok()?;
        if number >= MILLISECONDS_FROM { Timestamp::from_millisecond(number) } else { Timestamp::from_second(number) }
            .ok()
    });
    happened(said.filter(|at| at.as_second() > 0), received_at)
}

fn message(item: Raw<'_>, received_at: Timestamp) -> Result<Message, Left> {
    let written: Written<'_> = item.as_shape().ok_or(Left::Odd("a message that is no object"))?;
    let id = id(&written)?;
    if written.chat_id.text().is_some_and(|chat| NO_PERSON.iter().any(|end| chat.ends_with(end))) {
        return Err(Left::Meant("a message of a group, a channel or a list: nobody is told of those"));
    }
    let phone = either(written.phone, written.phone_snake)?;
    let text = [written.text.at("/body"), written.body, written.text].into_iter().find_map(Raw::string);
    let text = text.map(|text| text.chars().take(LONGEST_TEXT).collect());
    let unsigned = Left::Odd("a message that doesn't say who wrote it");
    // Taken for a customer's, our own words would be answered.
    let direction = match written.from_me.text().as_deref() {
        Some("true" | "1") => Direction::Out,
        Some("false" | "0") => Direction::In,
        _ => return Err(unsigned),
    };
    Ok(Message {
        id,
        conversation: either(written.conversation, written.conversation_snake)?.filter(|id| id.len() <= LONGEST_ID),
        phone: phone.and_then(|phone| Phone::from_e164(&phone).ok()),
        direction,
        at: time(written.timestamp, received_at),
        kind: kind(written.kind),
        text,
    })
}

/// A word for what a message is, whatever was written there.
fn kind(written: Raw<'_>) -> String {
    let plain = |kind: &String| kind.len() <= 30 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    written.string().filter(plain).unwrap_or_else(|| "unknown".to_owned())
}

fn status(item: Raw<'_>, received_at: Timestamp) -> Result<Status, Left> {
    let written: Written<'_> = item.as_shape().ok_or(Left::Odd("a status that is no object"))?;
    let id = id(&written)?;
    let word = written.status.string().ok_or(Left::Odd("a status that says nothing"))?;
    let fate = Fate::of(&word.to_ascii_lowercase()).ok_or(Left::Meant("a status whose word is not known here"))?;
    Ok(Status { id, fate, at: time(written.timestamp, received_at) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn received() -> Timestamp {
        "2026-11-19T10:00:00Z".parse().unwrap()
    }

    fn of(topic: &str, body: &Value) -> Reading {
        read(Some(topic), body.to_string().as_bytes(), received()).unwrap()
    }

    fn sample() -> Value {
        json!({
            "id": "wamid_1", "message_id": "wamid_1", "chat_id": "c1", "from": "c1",
            "conversationId": "conv_1", "conversation_id": "conv_1",
            "contactPhoneNumber": "+972501234567", "contact_phone_number": "+972501234567",
            "from_me": false, "timestamp": 1_778_580_000, "type": "text", "text": {"body": "Hello"}, "body": "Hello",
        })
    }

    fn message_of(change: impl FnOnce(&mut Value)) -> Reading {
        let mut item = sample();
        change(&mut item);
        of("messages.post", &json!({"event": "messages.post", "messages": [item]}))
    }

    #[test]
    fn the_published_samples_read_as_they_are_meant() {
        let reading = message_of(|_| {});
        let [message] = &reading.messages[..] else { panic!("{reading:?}") };
        assert_eq!((message.id.as_str(), message.conversation.as_deref()), ("wamid_1", Some("conv_1")));
        assert_eq!((message.direction, message.text.as_deref()), (Direction::In, Some("Hello")));
        assert_eq!(message.at.to_string(), "2026-05-12T10:00:00Z");
        assert!(!reading.odd && message.phone.is_some());
        let delivered = json!({"event": "statuses.post", "statuses": [{"id": "w", "message_id": "w", "status": "delivered", "timestamp": 1_778_580_000}]});
        let reading = of("statuses.post", &delivered);
        assert_eq!(reading.statuses[0].fate, Fate::of("delivered").unwrap());
        let chat = json!({"event": "chats.post", "chats": [{"id": "c", "last_message": {"id": "w"}}]});
        assert!(of("chats.post", &chat).messages.is_empty());
    }

    #[test]
    fn what_the_other_interface_writes_otherwise_is_read_too() {
        let reading = of(
            "statuses.post",
            &json!({"event": {"type": "statuses", "event": "post"}, "statuses": [
                {"id": "w1", "code": 3, "status": "DELIVERED", "recipient_id": "x", "timestamp": "1778580000"},
                {"id": "w2", "status": "read", "timestamp": 1_778_580_000_123_i64},
                {"id": "w3", "status": "exploded"}, {"status": "read"}, 7,
            ]}),
        );
        let times: Vec<String> = reading.statuses.iter().map(|status| status.at.to_string()).collect();
        assert_eq!(times, ["2026-05-12T10:00:00Z", "2026-05-12T10:00:00.123Z"]);
        assert!(reading.odd && reading.left_out.len() == 3, "{reading:?}");
        let snake = message_of(|item| {
            let item = item.as_object_mut().unwrap();
            for name in ["conversationId", "contactPhoneNumber", "message_id", "text"] {
                item.remove(name);
            }
        });
        let [message] = &snake.messages[..] else { panic!("{snake:?}") };
        assert!(message.phone.is_some() && message.text.as_deref() == Some("Hello"));
    }

    #[test]
    fn contradictions_and_groups_are_left_out_and_odd_things_said_to_be_odd() {
        let contradictory = message_of(|item| item["conversation_id"] = json!("conv_2"));
        assert!(contradictory.messages.is_empty() && contradictory.odd);
        let group = message_of(|item| item["chat_id"] = json!("1203@g.us"));
        assert!(group.messages.is_empty() && !group.odd);
        let image = message_of(|item| {
            item["type"] = json!("image");
            item["text"] = Value::Null;
            item["body"] = Value::Null;
        });
        assert_eq!((image.messages[0].kind.as_str(), image.messages[0].text.as_deref()), ("image", None));
        let bare = message_of(|item| {
            item["contactPhoneNumber"] = json!("972501234567");
            item["contact_phone_number"] = json!("972501234567");
        });
        assert_eq!(bare.messages[0].phone, None, "digits alone are no number here");
        assert!(of("messages.post", &json!({"event": "statuses.post", "statuses": []})).odd);
        assert!(!of("calls.post", &json!({"event": "calls.post", "calls": []})).odd);
        for body in ["", "[]", "{}", "hello", r#"{"event":"messages.post"}"#, r#"{"messages":{}}"#] {
            assert!(read(Some("messages.post"), body.as_bytes(), received()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_time_of_the_future_or_of_nonsense_is_the_time_of_receipt() {
        for written in [json!(99_999_999_999_i64), json!(-1), json!(0), json!("soon"), json!({}), Value::Null] {
            let reading = message_of(|item| item["timestamp"] = written.clone());
            assert_eq!(reading.messages[0].at, received(), "{written}");
        }
    }

    #[test]
    fn nothing_personal_shows() {
        let shown = format!("{:?}", message_of(|_| {}));
        assert!(!shown.contains("Hello") && !shown.contains("501234567"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_values_in_any_place_are_read_or_explained(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            member in prop::sample::select(&["id", "message_id", "chat_id", "conversationId", "contactPhoneNumber", "from_me", "timestamp", "type", "text", "body"][..]),
            value in prop_oneof![
                Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), ".{0,300}".prop_map(Value::from),
                Just(json!([])), Just(json!({"body": 1})), Just(json!(1e300)),
            ],
        ) {
            drop(read(Some("messages.post"), &bytes, received()));
            drop(read(None, &bytes, received()));
            let reading = message_of(|item| item[member] = value);
            prop_assert!(reading.messages.len() == 1 || !reading.left_out.is_empty());
            prop_assert!(reading.messages.iter().all(|message| message.at <= received() + jiff::SignedDuration::from_mins(10)));
        }
    }
}
