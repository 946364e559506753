//! The events that signed webhooks receive: a message for a CRM, and an alert for a target.
//!
//! Both name the same things alike: line, conversation, customer, messages. What is not known is
//! null. `docs/webhooks.schema.json` describes both, and every body of a story is checked by it.

use jiff::Timestamp;
use serde::Serialize;

/// One event.
#[derive(Serialize)]
pub(crate) struct WebhookEvent<D> {
    /// `conversation.message` or `conversation.alert`.
    pub(crate) r#type: &'static str,
    /// When the message was written, or when the customer's situation began.
    pub(crate) timestamp: Timestamp,
    pub(crate) data: D,
}

/// A message of a conversation, for a CRM.
#[derive(Serialize)]
pub(crate) struct MessageEventData<'a> {
    /// `{line}:{message id}`, the same for each attempt.
    pub(crate) id: &'a str,
    pub(crate) line: &'a str,
    pub(crate) conversation_id: Option<&'a str>,
    pub(crate) customer: EventCustomer<'a>,
    pub(crate) message: EventMessage,
}

/// An alert of the team.
#[derive(Serialize)]
pub(crate) struct AlertEventData<'a> {
    /// The same for each attempt.
    pub(crate) id: &'a str,
    pub(crate) line: &'a str,
    pub(crate) conversation_id: Option<String>,
    pub(crate) customer: EventCustomer<'a>,
    /// The conversation's last messages, oldest first.
    pub(crate) messages: Vec<EventMessage>,
    pub(crate) escalation: &'a str,
    /// In words that continue "a customer …".
    pub(crate) reason: String,
    pub(crate) business_name: &'a str,
    /// What tellonce sent this customer last, newest first.
    pub(crate) sent_messages: Vec<EventSentMessage>,
    pub(crate) may_be_repeat: bool,
}

#[derive(Serialize)]
pub(crate) struct EventCustomer<'a> {
    /// E.164.
    pub(crate) phone: Option<&'a str>,
    /// The private id that `WhatsApp` has for the customer, while the number is not known:
    /// `235085806700321@lid`.
    pub(crate) private_id: Option<String>,
    pub(crate) name: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct EventMessage {
    /// `in` or `out`.
    pub(crate) direction: &'static str,
    /// `text`, `image`, …
    pub(crate) kind: String,
    pub(crate) sent_at: Timestamp,
    pub(crate) text: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct EventSentMessage {
    /// The idempotency key.
    pub(crate) key: String,
    pub(crate) state: String,
    pub(crate) updated_at: Timestamp,
}
