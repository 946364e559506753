//! A message to send, before it has a row, and the first row that it becomes.

use jiff::Timestamp;

use super::{
    delivery_status::DeliveryStatus,
    idempotency_key::IdempotencyKey,
    row::{ClaimOwner, Consent, LedgerRow, MessageContext, MessageState},
    trail::{Reason, StepCode},
};
use crate::{
    attributes::UnknownAttributes, client_config::Precedence, contact::Phone, provider::Payload, trail::Trail,
};

/// A message to send, with its content.
#[derive(Debug, Clone)]
pub struct OutboundMessage {
    /// Its idempotency key.
    pub key: IdempotencyKey,
    /// Its place among the messages of its subject: what supersedes it and what it supersedes.
    pub precedence: Precedence,
    /// What distinguishes it from others of the same key and stage: a parcel, a refund, an invoice.
    pub instance: Option<String>,
    /// For a reminder: the generation of the appointment that it is made for.
    pub generation: Option<u64>,
    /// The IANA zone of its quiet hours, if it is not the client's.
    pub zone: Option<String>,
    /// For a reminder: the IANA zone in which its text names its times.
    pub text_zone: Option<String>,
    /// For a first touch: the lead's consent.
    pub consent: Option<Consent>,
    /// For a first touch: when an operator released the lead, if its form was held.
    pub released_at: Option<Timestamp>,
    /// When the reported event happened.
    pub occurred_at: Timestamp,
    /// The line that sends it.
    pub line: String,
    /// The customer's number.
    pub to: Option<Phone>,
    /// The text, or why there is none.
    pub content: Content,
    /// When it stops being useful.
    pub useful_until: Timestamp,
    /// Most useful first: 0 to 100.
    pub priority: u8,
    /// Whether it is sent in the client's quiet hours.
    pub ignores_quiet_hours: bool,
    /// The end of the quiet hours in which it arrived, if it arrived in any. It is not sent before
    /// then.
    pub not_before: Option<Timestamp>,
    /// The delivery it came from.
    pub delivery: String,
    /// For later events of the same subject.
    pub context: MessageContext,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// To be sent.
    Send(Payload),
    /// Known and not to be sent, with the reason.
    Suppressed(String),
    /// Not to be sent because a value is missing, with the reason.
    Incomplete(String),
}

impl Content {
    /// Why it is not sent; `None` if it is to be sent.
    pub fn unsent_reason(&self) -> Option<&str> {
        match self {
            Self::Send(_) => None,
            Self::Suppressed(reason) | Self::Incomplete(reason) => Some(reason),
        }
    }
}

impl OutboundMessage {
    /// The state of its first row, when that is due, and why.
    fn first_state(&self, now: Timestamp) -> (MessageState, Option<Timestamp>, StepCode, Option<String>) {
        let late = self.useful_until <= now;
        match (&self.content, self.not_before.filter(|at| *at > now)) {
            (Content::Suppressed(reason), _) => {
                (MessageState::Suppressed, None, StepCode::Suppressed, Some(reason.clone()))
            }
            (Content::Incomplete(reason), _) => {
                (MessageState::Incomplete, None, StepCode::Incomplete, Some(reason.clone()))
            }
            (Content::Send(_), _) if late => {
                let reason = "no longer useful when it arrived".to_owned();
                (MessageState::Expired, None, StepCode::ExpiredOnArrival, Some(reason))
            }
            (Content::Send(_), Some(at)) => {
                let due = at.min(self.useful_until);
                (MessageState::Held, Some(due), StepCode::QuietHours, Some(Reason::quiet_hours().text))
            }
            (Content::Send(_), None) => (MessageState::Claimed, None, StepCode::Created, None),
        }
    }
}

impl LedgerRow {
    /// The first row of a message. It is claimed, unless the message is not to be sent,
    /// arrived too late, or waits for the end of the quiet hours.
    pub fn from_message(message: &OutboundMessage, owner: ClaimOwner, lease_until: Timestamp, now: Timestamp) -> Self {
        let (state, due_at, code, reason) = message.first_state(now);
        let payload = match &message.content {
            Content::Send(payload) => Some(payload.clone()),
            Content::Suppressed(_) | Content::Incomplete(_) => None,
        };
        let claimed = state == MessageState::Claimed;
        let row = Self {
            key: message.key.clone(),
            state,
            version: 1,
            precedence: message.precedence.clone(),
            instance: message.instance.clone(),
            generation: message.generation,
            zone: message.zone.clone(),
            text_zone: message.text_zone.clone(),
            consent: message.consent.clone(),
            released_at: message.released_at,
            occurred_at: message.occurred_at,
            line: message.line.clone(),
            to: message.to.clone(),
            payload,
            useful_until: message.useful_until,
            priority: message.priority,
            ignores_quiet_hours: message.ignores_quiet_hours,
            owner: claimed.then_some(owner),
            lease_until: claimed.then_some(lease_until),
            due_at,
            handled_at: None,
            waiting_since: None,
            attempts: 0,
            first_attempt_at: None,
            reason,
            trail: Trail::default(),
            provider_id: None,
            accepted_at: None,
            message_id: None,
            conversation_id: None,
            delivery_status: DeliveryStatus::default(),
            delivery_status_at: None,
            delivery: message.delivery.clone(),
            context: message.context.clone(),
            made_by: None,
            created_at: now,
            updated_at: now,
            erasure: None,
            unknown_attributes: UnknownAttributes::default(),
        };
        row.begin_trail(code)
    }

    /// This row in place of an incomplete one, if this one has a payload.
    #[must_use]
    pub fn replace_incomplete(&self, incomplete: &Self) -> Option<Self> {
        (incomplete.state == MessageState::Incomplete && self.payload.is_some()).then(|| Self {
            version: incomplete.version + 1,
            created_at: incomplete.created_at,
            trail: incomplete.trail.followed_by(&self.trail),
            unknown_attributes: incomplete.unknown_attributes.clone(),
            ..self.clone()
        })
    }
}
