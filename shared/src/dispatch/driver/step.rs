//! What a dispatch does, and what happened when it was done.

use jiff::Timestamp;

use crate::{
    appointment::Appointment,
    dispatch::dispatch_result::{DispatchResult, LineCondition},
    greeting::GreetingHistory,
    ledger::{ClaimOutcome, IdempotencyKey, LedgerRow, OpenOutcome, Reason, RowChange, SaveOutcome, StepCode},
    line::{LineBlocked, SlotReservation},
    provider::SendOutcome,
};

/// What to do next. `L` is an access to the line: a token and good health.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextStep<L> {
    /// Write a row that must be new.
    Open {
        /// The row.
        row: LedgerRow,
        /// Whether its key names its instance, because another instance has the plain key.
        has_instance_key: bool,
    },
    /// Write a row over the one that was read.
    Save(Box<RowWrite>),
    /// The same, in one transaction with the check of the contact's opt-out.
    ClaimGreeting(Box<RowWrite>),
    /// The same, in one transaction with the checks of the appointment's header and the opt-out.
    /// The claim uses up the slot.
    ClaimReminder(ReminderClaim<L>),
    /// Read all rows of the subject of a claimed row. A slot may be reserved at the same time.
    ReadHistory {
        /// The row.
        row: LedgerRow,
        /// Now.
        read_at: Timestamp,
    },
    /// Reserve a slot of the line. A claimed row uses it up.
    ReserveSlot {
        /// The row.
        row: LedgerRow,
        /// When its history was read.
        read_at: Timestamp,
    },
    /// Read history and opt-out again, because the wait for a slot was long.
    Recheck {
        /// The row.
        row: LedgerRow,
        /// The line's good health, if it is known.
        recent_health: Option<String>,
    },
    /// Read the line's token and check its health.
    OpenLine {
        /// The row.
        row: LedgerRow,
        /// The line's good health, if it is known.
        recent_health: Option<String>,
    },
    /// Submit a claimed row.
    Submit(LedgerRow, L),
    /// Delay the next slot of the row's line until then, because the provider asked for that.
    DelayLine(LedgerRow, Timestamp),
    /// Block the row's line, because its token was refused.
    BlockLine(LedgerRow),
    /// Report the row as it is written now. It is the result.
    Recorded {
        /// The row.
        row: LedgerRow,
        /// What its line does, if the row waits.
        line: LineCondition,
    },
    /// Nothing. This is the result.
    Done(DispatchResult),
    /// Fail, because other invocations keep writing the same row.
    GiveUp(IdempotencyKey),
}

/// What happened. Most events follow a step, and begin with its values.
#[derive(Debug)]
pub enum DispatchEvent<L> {
    /// After [`NextStep::Open`].
    Opened(LedgerRow, bool, OpenOutcome),
    /// A row that waited is due.
    Due(LedgerRow),
    /// After [`NextStep::Save`].
    Saved(Box<RowWrite>, SaveOutcome),
    /// After [`NextStep::ClaimGreeting`].
    GreetingClaimed(Box<RowWrite>, ClaimOutcome<GreetingHistory>),
    /// After [`NextStep::ClaimReminder`].
    ReminderClaimed(ReminderClaim<L>, ClaimOutcome<Appointment>),
    /// After [`NextStep::ReadHistory`]. A lead has no history: it has only its first touch.
    HistoryRead(LedgerRow, Timestamp, Vec<LedgerRow>),
    /// After [`NextStep::ReserveSlot`].
    SlotReserved(LedgerRow, Timestamp, SlotReservation),
    /// After [`NextStep::Recheck`].
    Rechecked {
        /// The row.
        row: LedgerRow,
        /// The line's good health, if it is known.
        recent_health: Option<String>,
        /// Whether a lead has opted out.
        has_opted_out: bool,
        /// All rows of its subject.
        history: Vec<LedgerRow>,
    },
    /// After [`NextStep::OpenLine`].
    LineOpened(LedgerRow, LineOpening<L>),
    /// After [`NextStep::DelayLine`] and [`NextStep::BlockLine`].
    LineBlocked(LedgerRow, LineUnavailable),
    /// After [`NextStep::Submit`].
    Sent(LedgerRow, SendOutcome),
}

/// A row, the row to write over it, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowWrite {
    /// The row that was read.
    pub before: LedgerRow,
    /// The row to write.
    pub after: LedgerRow,
    pub(in crate::dispatch) purpose: WritePurpose,
}

/// Why a row is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::dispatch) enum WritePurpose {
    /// To claim it and send the message.
    Send,
    /// To claim it and record a change.
    Record(RowChange),
    /// To replace an incomplete row.
    Complete,
    /// To record a change.
    Settle { change: RowChange, line: LineCondition, retries_left: u8 },
}

/// The claim of a reminder's row, directly before its send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReminderClaim<L> {
    /// The row and its claim.
    pub write: Box<RowWrite>,
    /// The line.
    pub access: L,
    /// Whether the header was found changed before.
    pub(super) is_retry: bool,
}

/// Whether a message may be sent over its line now.
#[derive(Debug)]
pub enum LineOpening<L> {
    /// It may.
    Open(L),
    /// It may not.
    Unavailable(LineUnavailable),
    /// Not to this customer. Others may be written to.
    Held(LineUnavailable),
}

/// A line that may not be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineUnavailable {
    /// When to try again.
    pub until: Timestamp,
    /// Why.
    pub reason: Reason,
}

impl From<LineBlocked> for LineUnavailable {
    fn from(blocked: LineBlocked) -> Self {
        let code = match &blocked {
            LineBlocked::RateLimited { .. } => StepCode::RateLimit,
            LineBlocked::Stopped { .. } => StepCode::LineStopped,
            LineBlocked::BreakerOpen { .. } => StepCode::TokenRefused,
            LineBlocked::Down { .. } => StepCode::LineDown,
        };
        Self { until: blocked.until(), reason: Reason::new(code, blocked.reason()) }
    }
}
