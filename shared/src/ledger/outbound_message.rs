//! News: what becomes a row when it is told for the first time.

use jiff::Timestamp;

use super::{
    delivery_status::DeliveryStatus,
    idempotency_key::IdempotencyKey,
    row::{ClaimOwner, LedgerRow, MessageContext, MessageState},
};
use crate::{client_config::Precedence, contact::Phone, provider::Payload};

/// News to tell, complete with its words.
#[derive(Debug, Clone)]
pub struct OutboundMessage {
    /// Its idempotency key.
    pub key: IdempotencyKey,
    /// Where it stands in its subject's story.
    pub precedence: Precedence,
    /// What tells it apart from others of the same key's stage, if anything does.
    pub instance: Option<String>,
    /// For a reminder: the generation of the appointment that it is made for.
    pub generation: Option<u64>,
    /// The IANA zone in which quiet hours are kept for it, when it is not the client's.
    pub zone: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The line that speaks.
    pub line: String,
    /// Who is told.
    pub to: Option<Phone>,
    /// What is said of it.
    pub content: Content,
    /// When it stops being useful.
    pub useful_until: Timestamp,
    /// Most useful first: 0 to 100.
    pub priority: u8,
    /// Whether it may be told in the client's quiet hours.
    pub ignores_quiet_hours: bool,
    /// Not before then: the end of the quiet hours that it came in.
    pub not_before: Option<Timestamp>,
    /// The delivery it came from.
    pub delivery: String,
    /// For later events of the same subject.
    pub context: MessageContext,
}

/// What is said of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// This.
    Send(Payload),
    /// Nothing, and that is meant: why.
    Suppressed(String),
    /// Nothing, because something is missing: what.
    Incomplete(String),
}

impl Content {
    /// Why nothing is said, if so.
    pub fn unsent_reason(&self) -> Option<&str> {
        match self {
            Self::Send(_) => None,
            Self::Suppressed(reason) | Self::Incomplete(reason) => Some(reason),
        }
    }
}

impl LedgerRow {
    /// The first row of news under `key`: claimed, unless it is only to be known, came too late, or has to wait for the
    /// end of the quiet hours.
    pub fn from_message(
        message: &OutboundMessage,
        key: IdempotencyKey,
        owner: ClaimOwner,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Self {
        let late = message.useful_until <= now;
        let (state, due_at, reason) = match (&message.content, message.not_before.filter(|at| *at > now)) {
            (Content::Suppressed(reason), _) => (MessageState::Suppressed, None, Some(reason.clone())),
            (Content::Incomplete(reason), _) => (MessageState::Incomplete, None, Some(reason.clone())),
            (Content::Send(_), _) if late => {
                (MessageState::Expired, None, Some("no longer useful when it arrived".to_owned()))
            }
            (Content::Send(_), Some(at)) => {
                (MessageState::Held, Some(at.min(message.useful_until)), Some(QUIET_HOURS_REASON.to_owned()))
            }
            (Content::Send(_), None) => (MessageState::Claimed, None, None),
        };
        let payload = match &message.content {
            Content::Send(payload) => Some(payload.clone()),
            Content::Suppressed(_) | Content::Incomplete(_) => None,
        };
        let claimed = state == MessageState::Claimed;
        Self {
            key,
            state,
            version: 1,
            precedence: message.precedence.clone(),
            instance: message.instance.clone(),
            generation: message.generation,
            zone: message.zone.clone(),
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
            attempts: 0,
            first_attempt_at: None,
            reason,
            provider_id: None,
            accepted_at: None,
            message_id: None,
            delivery_status: DeliveryStatus::default(),
            delivery_status_at: None,
            delivery: message.delivery.clone(),
            context: message.context.clone(),
            created_at: now,
            updated_at: now,
        }
    }

    /// This row in the place of one that could not say it, if it can.
    #[must_use]
    pub fn replace_incomplete(&self, incomplete: &Self) -> Option<Self> {
        (incomplete.state == MessageState::Incomplete && self.payload.is_some()).then(|| Self {
            version: incomplete.version + 1,
            created_at: incomplete.created_at,
            ..self.clone()
        })
    }
}

/// The name in [`MessageContext::values_from`] of the zone whose clocks a reminder's text speaks of.
pub const TEXT_TIME_ZONE: &str = "time_zone";

/// Why a message waits for the morning.
pub const QUIET_HOURS_REASON: &str = "these are quiet hours";
