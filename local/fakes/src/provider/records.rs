//! The fake's records of messages and webhooks, and its counters.

use std::collections::BTreeMap;

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::validate::PhoneButton;

/// A new id of the fake, e.g. `queued_…`.
pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{:016x}", rand::rng().random::<u64>())
}

/// The kind of a message that is a plain text.
pub(super) const TEXT: &str = "text";

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneMessageDirection {
    /// From the line to the customer.
    ToCustomer,
    /// From the customer to the line.
    FromCustomer,
}

/// One message on the customer's phone. Times are unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneMessage {
    /// The id in the 202 response.
    pub id: String,
    /// The id in webhooks.
    pub provider_id: String,
    /// The line of the conversation.
    pub line: String,
    /// The customer's number, or the conversation id if the fake does not know the number.
    pub contact: String,
    /// Conversation of this line and this contact.
    pub conversation_id: String,
    /// The direction of the message.
    pub direction: PhoneMessageDirection,
    /// The kind: `text`, `image`, … The names are whapi.cloud's, because EZWhatsApp documents only
    /// texts.
    #[serde(default = "text_kind")]
    pub kind: String,
    /// The group of the message, if it was written in a group.
    #[serde(default)]
    pub group: Option<String>,
    /// The text, or the caption of a picture.
    pub body: String,
    /// The link button.
    pub button: Option<PhoneButton>,
    /// The idempotency key of the send. Messages of the customer, and of the team in EZWhatsApp,
    /// have none.
    pub key: Option<String>,
    /// When it was queued, or written by the customer.
    pub queued_at: i64,
    /// When it reached the line's own phone and webhooks were raised. `None` while the line is
    /// down.
    #[serde(default)]
    pub observed_at: Option<i64>,
    /// When it reached the customer's phone. `None` while the line is down or the phone is off.
    pub delivered_at: Option<i64>,
    /// The last reported status.
    pub status: Option<String>,
    /// The fault of the request that queued it.
    pub fault: Option<String>,
}

pub(super) fn text_kind() -> String {
    TEXT.to_owned()
}

/// A message that a customer writes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InboundPhoneMessage {
    /// The customer's number.
    pub from: String,
    /// The text, or the caption of a picture.
    #[serde(default)]
    pub text: String,
    /// The kind: `text`, `image`, `audio`, `location`, …
    #[serde(default = "text_kind")]
    pub kind: String,
    /// The id of the group, without `@g.us`. `None` outside of groups.
    #[serde(default)]
    pub group: Option<String>,
}

/// A registered webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredWebhook {
    /// Sent as `X-EZW-Webhook-Id`.
    pub id: String,
    /// The line of the token that registered it. Sent as `X-EZW-Line-Id`.
    pub line_id: String,
    /// The address of the target.
    pub target_url: String,
    /// The events that it receives.
    pub events: Vec<String>,
    /// Always `whapi`.
    pub payload_format: String,
    /// If false, nothing is delivered.
    pub enabled: bool,
    /// Stored and shown. EZWhatsApp does not document it, so the fake gives it no effect.
    pub persistent: bool,
}

/// One attempt to deliver an event to a webhook target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAttempt {
    /// Sent as `X-EZW-Delivery-Id`.
    pub delivery_id: String,
    /// Sent as `X-EZW-Webhook-Event`.
    pub event: String,
    /// Sent as `X-EZW-Webhook-Id`.
    pub webhook_id: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// HTTP status. `None` if the target did not respond.
    pub status: Option<u16>,
    /// Unix milliseconds.
    pub at: i64,
}

/// Requests and messages since the start of the fake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FakeCounters {
    /// Requests by `METHOD path`.
    pub requests: BTreeMap<String, u64>,
    /// Health requests that would have woken the line: all but `wakeup=false`. Must stay zero.
    pub wakeups: u64,
    /// Sends without `Idempotency-Key`. Must stay zero.
    pub missing_key: u64,
    /// Requests with a missing or unknown line token.
    pub unauthorized: u64,
    /// Sends that were refused as malformed.
    pub invalid: u64,
    /// Messages queued.
    pub queued: u64,
    /// Repeats of a key with the same body.
    pub repeats: u64,
    /// Repeats of a key with another body. Must stay zero.
    pub key_conflicts: u64,
    /// Messages queued while the line's health was not good.
    pub queued_while_not_good: u64,
    /// Faults that struck, by name.
    pub faults: BTreeMap<String, u64>,
}
