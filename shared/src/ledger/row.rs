//! A row of the ledger: one message, from its first event until the table deletes it.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

use super::{IdempotencyKey, delivery_status::DeliveryStatus, erasure::Erasure};
use crate::{
    attributes::UnknownAttributes, client_config::Precedence, contact::Phone, provider::Payload, trail::Trail,
};

/// The state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageState {
    /// Waits until `due_at`.
    Held,
    /// An invocation sends it, until its lease ends.
    Claimed,
    /// Submitted, and it is unknown whether it arrived. Submitted again at `due_at`.
    Unknown,
    /// The provider accepted it.
    Accepted,
    /// The provider refused it for good.
    Refused,
    /// Another event made it untrue before it was sent.
    Superseded,
    /// Not sent, and no longer useful.
    Expired,
    /// Known and not to be sent.
    Suppressed,
    /// Known and not sent, because a number or a value is missing. A later report that has it
    /// completes the message.
    Incomplete,
    /// A person must find out whether it arrived.
    NeedsHuman,
}

impl MessageState {
    /// All states.
    pub const ALL: [Self; 10] = [
        Self::Held,
        Self::Claimed,
        Self::Unknown,
        Self::Accepted,
        Self::Refused,
        Self::Superseded,
        Self::Expired,
        Self::Suppressed,
        Self::Incomplete,
        Self::NeedsHuman,
    ];

    /// The name in the table, in logs and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Claimed => "claimed",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
            Self::Incomplete => "incomplete",
            Self::NeedsHuman => "needs-human",
        }
    }

    /// The state of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether tellonce submits nothing more for this message.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Held | Self::Claimed | Self::Unknown => false,
            Self::Accepted
            | Self::Refused
            | Self::Superseded
            | Self::Expired
            | Self::Suppressed
            | Self::Incomplete
            | Self::NeedsHuman => true,
        }
    }
}

/// The holder of a claim: one invocation of one function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimOwner(pub String);

/// The consent of a lead, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Consent {
    /// `field consent`, or `stated on the form`. It names the configured field and never an answer.
    pub source: String,
    /// When the lead consented.
    pub at: Timestamp,
}

/// Values that later events of the same order may need and do not carry.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct MessageContext {
    /// The customer's name.
    pub name: Option<String>,
    /// The customer's locale.
    pub locale: Option<String>,
    /// The order number that the customer knows.
    pub order_number: Option<String>,
    /// Values for texts of all later messages, such as the tracking link of a parcel.
    pub values: BTreeMap<String, String>,
}

impl fmt::Debug for MessageContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("name", &self.name.as_ref().map(|_| "…")).finish_non_exhaustive()
    }
}

/// One message. Times have millisecond precision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LedgerRow {
    /// The idempotency key: partition key and sort key of the row.
    pub key: IdempotencyKey,
    /// Its state.
    pub state: MessageState,
    /// Counts writes. Every write is conditional on the version that it read.
    pub version: u64,
    /// Its place among the messages of its subject: what supersedes it and what it supersedes.
    pub precedence: Precedence,
    /// What distinguishes it from others of the same stage: a parcel, a refund, an invoice.
    pub instance: Option<String>,
    /// For a reminder: the generation of the appointment that it was made for.
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
    /// The bytes to submit; `None` for [`MessageState::Suppressed`] and
    /// [`MessageState::Incomplete`].
    pub payload: Option<Payload>,
    /// When it stops being useful.
    pub useful_until: Timestamp,
    /// Most useful first: 0 to 100.
    pub priority: u8,
    /// Whether it is sent in the client's quiet hours.
    pub ignores_quiet_hours: bool,
    /// The holder of the claim, while claimed.
    pub owner: Option<ClaimOwner>,
    /// When the claim expires, while claimed.
    pub lease_until: Option<Timestamp>,
    /// When the sweep processes it, while it waits.
    pub due_at: Option<Timestamp>,
    /// When a person settled what it needed. `None` if it is not settled.
    pub handled_at: Option<Timestamp>,
    /// Since when it waits although it should have gone. `None` while it waits for the end of the
    /// quiet hours, or for the next day because of the line's first contacts.
    pub waiting_since: Option<Timestamp>,
    /// Submits that may have arrived.
    pub attempts: u32,
    /// When the first of those was made.
    pub first_attempt_at: Option<Timestamp>,
    /// Why it is in this state, for people.
    pub reason: Option<String>,
    /// What happened to it.
    pub trail: Trail,
    /// The provider's id from the response to the send.
    pub provider_id: Option<String>,
    /// When the provider accepted it.
    pub accepted_at: Option<Timestamp>,
    /// The id under which it was observed on the line. May differ from `provider_id`.
    pub message_id: Option<String>,
    /// The provider's id of its conversation, once the line reported the message.
    pub conversation_id: Option<String>,
    /// What the phone reported.
    pub delivery_status: DeliveryStatus,
    /// When the report came that last changed `delivery_status`.
    pub delivery_status_at: Option<Timestamp>,
    /// The delivery it came from, by its key in the inbox.
    pub delivery: String,
    /// For later events of the same subject.
    pub context: MessageContext,
    /// The code and the settings that made the message: see `code_version`.
    pub made_by: Option<String>,
    /// When the row was created.
    pub created_at: Timestamp,
    /// When this row was last written.
    pub updated_at: Timestamp,
    /// Whether its personal data was erased.
    pub erasure: Option<Erasure>,
    /// What another version of tellonce stored in the row. Every write keeps it.
    pub unknown_attributes: UnknownAttributes,
}

impl LedgerRow {
    /// Whether a submit may have arrived although no response confirms it.
    pub fn may_have_arrived(&self) -> bool {
        self.attempts > 0
    }

    /// Takes what the phone reported. If it is news that the message failed, it needs a person
    /// again: the person who settled it believed that it had arrived.
    pub(super) fn take_delivery_status(&mut self, reported: DeliveryStatus, at: Timestamp) {
        let before = self.delivery_status;
        self.delivery_status = before.combine_with(reported);
        if self.delivery_status != before {
            self.delivery_status_at = Some(at);
        }
        if self.delivery_status.has_failed() && !before.has_failed() {
            self.handled_at = None;
        }
    }

    /// Whether it reminds of an appointment.
    pub fn is_reminder(&self) -> bool {
        self.generation.is_some()
    }
}

/// A message that has waited since 1970 and is due, for tests to change.
#[cfg(test)]
pub(crate) fn waiting_row() -> LedgerRow {
    let milestone = crate::client_config::Milestone::Ready;
    let epoch = Timestamp::UNIX_EPOCH;
    LedgerRow {
        key: IdempotencyKey::for_order("main", "1", milestone),
        state: MessageState::Held,
        version: 1,
        precedence: Precedence::of_milestone(milestone, None),
        instance: None,
        generation: None,
        zone: None,
        text_zone: None,
        consent: None,
        released_at: None,
        occurred_at: epoch,
        line: "main".into(),
        to: None,
        payload: Some(Payload { route: crate::provider::SendRoute::Text, body: "{}".into() }),
        useful_until: epoch,
        priority: 0,
        ignores_quiet_hours: false,
        owner: None,
        lease_until: None,
        due_at: Some(epoch),
        handled_at: None,
        waiting_since: None,
        attempts: 0,
        first_attempt_at: None,
        reason: None,
        trail: Trail::default(),
        provider_id: None,
        accepted_at: None,
        message_id: None,
        conversation_id: None,
        delivery_status: DeliveryStatus::default(),
        delivery_status_at: None,
        delivery: String::new(),
        context: MessageContext::default(),
        made_by: None,
        created_at: epoch,
        updated_at: epoch,
        erasure: None,
        unknown_attributes: UnknownAttributes::default(),
    }
}
