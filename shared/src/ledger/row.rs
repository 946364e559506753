//! A row of the ledger: one message, from the moment we know of it until nobody remembers it.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

use super::{IdempotencyKey, delivery_status::DeliveryStatus};
use crate::{client_config::Precedence, contact::Phone, provider::Payload};

/// Where a message is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageState {
    /// Waits until its `due_at`.
    Held,
    /// Somebody is sending it, until their lease ends.
    Claimed,
    /// A submit went wrong so that nobody knows whether it arrived; looked into at `due_at`.
    Unknown,
    /// `EZWhatsApp` took it.
    Accepted,
    /// `EZWhatsApp` refused it for good.
    Refused,
    /// Another fact made it untrue before it was sent.
    Superseded,
    /// It was not sent, and is no longer worth sending.
    Expired,
    /// The fact is known, and is not to be told.
    Suppressed,
    /// The fact is known, and could not be told: a number or a value was missing. A later report of it that has them may.
    Incomplete,
    /// Only a human can say what became of it.
    NeedsHuman,
}

impl MessageState {
    /// All of them.
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

    /// Its name in the table, in logs and in the console.
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

    /// Whether nothing of ours will be sent from here on.
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

/// Who holds a claim: one invocation of one function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimOwner(pub String);

/// What later events of the same order may need and do not carry themselves.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct MessageContext {
    /// The customer's name.
    pub name: Option<String>,
    /// The customer's locale.
    pub locale: Option<String>,
    /// The order number that the customer knows.
    pub order_number: Option<String>,
    /// Values for texts that hold for the rest of the story: how a parcel is followed.
    pub values: BTreeMap<String, String>,
}

impl fmt::Debug for MessageContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("name", &self.name.as_ref().map(|_| "…")).finish_non_exhaustive()
    }
}

/// One message, as the ledger holds it. Times are to the millisecond.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LedgerRow {
    /// Its idempotency key, and its place in the table.
    pub key: IdempotencyKey,
    /// Where it is in its life.
    pub state: MessageState,
    /// Counts writes: every write names the one it read.
    pub version: u64,
    /// Where it stands in its subject's story.
    pub precedence: Precedence,
    /// What tells it apart from others of the same stage (a parcel, a refund, an invoice), if anything does.
    pub instance: Option<String>,
    /// For a reminder: the generation of the appointment that it was made for.
    pub generation: Option<u64>,
    /// The IANA zone in which quiet hours are kept for it, when it is not the client's.
    pub zone: Option<String>,
    /// When the fact became one.
    pub occurred_at: Timestamp,
    /// The line that speaks.
    pub line: String,
    /// Who is told.
    pub to: Option<Phone>,
    /// What is said; nothing for a [`MessageState::Noted`] fact.
    pub payload: Option<Payload>,
    /// When it stops being useful.
    pub useful_until: Timestamp,
    /// Most useful first: 0 to 100.
    pub priority: u8,
    /// Whether it may be told in the client's quiet hours.
    pub ignores_quiet_hours: bool,
    /// Who holds the claim, while claimed.
    pub owner: Option<ClaimOwner>,
    /// When the claim ends by itself, while claimed.
    pub lease_until: Option<Timestamp>,
    /// When the clock looks at it again, while it waits.
    pub due_at: Option<Timestamp>,
    /// Submits of which we do not know that they did not arrive.
    pub attempts: u32,
    /// When the first of those was made.
    pub first_attempt_at: Option<Timestamp>,
    /// Why it is where it is, for people.
    pub reason: Option<String>,
    /// The id that `EZWhatsApp` gave it.
    pub provider_id: Option<String>,
    /// When it did.
    pub accepted_at: Option<Timestamp>,
    /// The id under which the line was seen saying it, which may be another.
    pub message_id: Option<String>,
    /// What a phone reported of it.
    pub delivery_status: DeliveryStatus,
    /// When a phone first reported something that made it what it is.
    pub delivery_status_at: Option<Timestamp>,
    /// The delivery it came from, by its key in the inbox.
    pub delivery: String,
    /// For later events of the same subject.
    pub context: MessageContext,
    /// When we learned of it.
    pub created_at: Timestamp,
    /// When this row was last written.
    pub updated_at: Timestamp,
}

impl LedgerRow {
    /// Whether a submit may have arrived although we hold no answer.
    pub fn may_have_arrived(&self) -> bool {
        self.attempts > 0
    }
}

/// A message that waits since 1970 and is due, for tests to change.
#[cfg(test)]
pub(super) fn waiting_row() -> LedgerRow {
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
        attempts: 0,
        first_attempt_at: None,
        reason: None,
        provider_id: None,
        accepted_at: None,
        message_id: None,
        delivery_status: DeliveryStatus::default(),
        delivery_status_at: None,
        delivery: String::new(),
        context: MessageContext::default(),
        created_at: epoch,
        updated_at: epoch,
    }
}
