//! What the fake keeps of messages and webhooks, and what it shows of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::validate::PhoneButton;

/// What a message is that is no picture, no recording and the like.
pub(super) const TEXT: &str = "text";

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneMessageDirection {
    /// The line wrote to the customer.
    ToCustomer,
    /// The customer wrote to the line.
    FromCustomer,
}

/// One message as the customer's phone knows it. Times are unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneMessage {
    /// The id of the 202.
    pub id: String,
    /// The id used in webhooks.
    pub provider_id: String,
    /// Line that wrote or was written to.
    pub line: String,
    /// The customer's number, or the conversation id when the fake doesn't know the number behind it.
    pub contact: String,
    /// Conversation of this line and this contact.
    pub conversation_id: String,
    /// Who wrote it.
    pub direction: PhoneMessageDirection,
    /// What it is: `text`, `image`, … as whapi.cloud names them; EZWhatsApp shows texts alone.
    #[serde(default = "text_kind")]
    pub kind: String,
    /// The group that it was written in; none where two talk.
    #[serde(default)]
    pub group: Option<String>,
    /// The text, or what stands below a picture.
    pub body: String,
    /// The link button.
    pub button: Option<PhoneButton>,
    /// Idempotency key of the send; none for what the customer wrote, and for what the team wrote in EZWhatsApp.
    pub key: Option<String>,
    /// When it was queued (or written by the customer).
    pub queued_at: i64,
    /// When the line's own phone had it and webhooks were told; none while the line can't send.
    #[serde(default)]
    pub observed_at: Option<i64>,
    /// When it reached the customer's phone; none while the line can't send or the phone is silent.
    pub delivered_at: Option<i64>,
    /// Last status reported, none before the first.
    pub status: Option<String>,
    /// The fault that struck the request which queued it.
    pub fault: Option<String>,
}

pub(super) fn text_kind() -> String {
    TEXT.to_owned()
}

/// What a customer writes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InboundPhoneMessage {
    /// The customer's number.
    pub from: String,
    /// The text, or what stands below a picture.
    #[serde(default)]
    pub text: String,
    /// What it is: `text`, `image`, `audio`, `location`, …
    #[serde(default = "text_kind")]
    pub kind: String,
    /// The id of the group that it is written in, without `@g.us`; none where two talk.
    #[serde(default)]
    pub group: Option<String>,
}

/// A registered webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EzwWebhook {
    /// Sent as `X-EZW-Webhook-Id`.
    pub id: String,
    /// Line whose token registered it, sent as `X-EZW-Line-Id`.
    pub line_id: String,
    /// Where deliveries go.
    pub target_url: String,
    /// The events it gets.
    pub events: Vec<String>,
    /// Always `whapi`.
    pub payload_format: String,
    /// Off means: no deliveries.
    pub enabled: bool,
    /// Stored and shown; EZWhatsApp doesn't explain it and the fake gives it no effect.
    pub persistent: bool,
}

/// One attempt to hand a delivery to a webhook target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAttempt {
    /// `X-EZW-Delivery-DeliverySelector`
    pub delivery_id: String,
    /// `X-EZW-EzwWebhook-FakeFeedEvent`
    pub event: String,
    /// `X-EZW-EzwWebhook-DeliverySelector`
    pub webhook_id: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// HTTP status; none when no answer came.
    pub status: Option<u16>,
    /// Unix milliseconds.
    pub at: i64,
}

/// What has been asked of the fake since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FakeCounters {
    /// Requests by `METHOD path`.
    pub requests: BTreeMap<String, u64>,
    /// Health requests that would have woken the line (anything but `wakeup=false`). Must stay zero.
    pub wakeups: u64,
    /// Sends without `Idempotency-Key`. Must stay zero.
    pub missing_key: u64,
    /// Requests with a missing or unknown line token.
    pub unauthorized: u64,
    /// Sends refused for their form.
    pub invalid: u64,
    /// Messages queued.
    pub queued: u64,
    /// Repeats of a key with the same bytes.
    pub repeats: u64,
    /// Keys that came back with other bytes. Must stay zero.
    pub key_conflicts: u64,
    /// Messages queued while the line's health was anything but good.
    pub queued_while_not_good: u64,
    /// Faults that struck, by name.
    pub faults: BTreeMap<String, u64>,
}
