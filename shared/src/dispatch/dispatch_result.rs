//! The outcomes of dispatching a message.

use crate::{
    appointment::{Appointment, ReminderOutcome},
    ledger::{IdempotencyKey, LedgerRow, MessageState},
};

/// The outcome of dispatching a message, for now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DispatchResult {
    /// The provider accepted it.
    Accepted(IdempotencyKey),
    /// It waits, or another invocation holds it.
    Waiting(IdempotencyKey, MessageState),
    /// It waits because its line is blocked. The next message for this line would wait as well.
    LineBlocked(IdempotencyKey, MessageState),
    /// It waits because its send got no usable response. The next message for this line may well be
    /// accepted.
    Unanswered(IdempotencyKey, MessageState),
    /// It will not be sent. The row holds the reason.
    Ended(IdempotencyKey, MessageState),
    /// It was already in the ledger.
    AlreadyKnown(IdempotencyKey, MessageState),
    /// Its payload differs from the one stored under the same key.
    PayloadConflict(IdempotencyKey, MessageState),
    /// It is recorded and not sent.
    RecordedOnly(IdempotencyKey),
}

/// What a line does after a message, as far as the message shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineCondition {
    /// It takes messages.
    Open,
    /// A send got no usable response.
    Unanswered,
    /// It takes no messages.
    Blocked,
}

/// The outcome of a greeting, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GreetingResult {
    /// Its row is in the ledger, with this outcome.
    Dispatched(DispatchResult),
    /// The contact was already greeted, and nothing is sent. The row names the lead.
    AlreadyGreeted,
    /// The number has reached the limit of greetings, and nothing is sent. The row says so.
    LimitReached,
    /// The contact has opted out. No row was opened.
    OptedOut,
}

/// The outcome of a reminder, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReminderDispatchResult {
    /// Its row was opened, with this outcome. The new header was written with it.
    Opened(DispatchResult),
    /// The appointment's header has changed; `None` if it is gone. No row was opened.
    HeaderChanged(Option<Box<Appointment>>),
    /// It is not to be sent: the customer has opted out, or an operator dropped what waited for
    /// this line. No row was opened.
    Skipped(ReminderOutcome),
    /// The line is blocked. The next message for this line would wait as well. No row was opened.
    LineBlocked {
        /// Why, for people.
        reason: String,
    },
}

impl DispatchResult {
    /// The row that another invocation holds now, or has handled meanwhile, becomes a row that was
    /// already in the ledger. For a message that this invocation wanted to open: a delivery that
    /// repeats a fact in flight gets the same outcome as a later one.
    #[must_use]
    pub fn in_flight_as_known(self) -> Self {
        match self {
            Self::Waiting(key, state) if !matches!(state, MessageState::Held | MessageState::Unknown) => {
                Self::AlreadyKnown(key, state)
            }
            other => other,
        }
    }

    /// The outcome of a row that was written. `line` counts if the row waits.
    pub fn of_row(row: LedgerRow, line: LineCondition) -> Self {
        match row.state {
            MessageState::Accepted => Self::Accepted(row.key),
            MessageState::Suppressed | MessageState::Incomplete => Self::RecordedOnly(row.key),
            MessageState::Refused | MessageState::Superseded | MessageState::Expired | MessageState::NeedsHuman => {
                Self::Ended(row.key, row.state)
            }
            MessageState::Held | MessageState::Claimed | MessageState::Unknown => match line {
                LineCondition::Open => Self::Waiting(row.key, row.state),
                LineCondition::Unanswered => Self::Unanswered(row.key, row.state),
                LineCondition::Blocked => Self::LineBlocked(row.key, row.state),
            },
        }
    }
}
