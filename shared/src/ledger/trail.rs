//! The steps of a message's trail: why it came into each of its states.
//!
//! Promises: a write that changes state or reason of a row adds its step, in that same write.

use super::{delivery_status::DeliveryStatus, row::LedgerRow};
use crate::{
    provider::DeliveryProgress,
    trail::{Trail, TrailStep},
};

/// Why a message came into a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepCode {
    /// Its event came, and an invocation sends it.
    Created,
    /// It became due, and an invocation sends it.
    Due,
    /// The invocation that sent it ended without a result. The next one sends it.
    LeaseExpired,
    /// The client's quiet hours.
    QuietHours,
    /// The line wrote to as many new people as a day allows.
    FirstContacts,
    /// An older message of the same subject is in flight and comes first.
    InFlight,
    /// The line's rate.
    RateLimit,
    /// An operator stopped the line.
    LineStopped,
    /// The provider refused the line's token.
    TokenRefused,
    /// The line could not send.
    LineDown,
    /// The time of the invocation ran out.
    OutOfTime,
    /// The line's token could not be read.
    SecretUnreadable,
    /// The provider asked to send more slowly.
    ProviderBusy,
    /// The request never reached the provider.
    NotSent,
    /// It is unknown whether the provider took it.
    OutcomeUnknown,
    /// The outcome stayed unknown for as long as the provider knows the key.
    OutcomeStayedUnknown,
    /// The provider accepted it.
    Accepted,
    /// The provider refused it for good.
    Refused,
    /// The provider says that the key is in use, or was used for another message.
    KeyConflict,
    /// Its event came after the cancellation of its order.
    AfterCancellation,
    /// A newer message of the same subject makes it untrue.
    Superseded,
    /// Its appointment was moved or cancelled.
    AppointmentChanged,
    /// A later lead of the same person is greeted instead.
    NewerLead,
    /// The customer opted out.
    OptedOut,
    /// An operator dropped what waited for the line.
    Dropped,
    /// It was no longer useful when it became due, or after it waited.
    Expired,
    /// It was no longer useful when its event came.
    ExpiredOnArrival,
    /// Known, and not to be sent.
    Suppressed,
    /// The person was greeted before.
    AlreadyGreeted,
    /// The number was greeted as often as is allowed.
    TooOften,
    /// No message could be made of its event.
    Incomplete,
    /// The line shows it.
    Sent,
    /// The phone has it.
    Delivered,
    /// The customer read it.
    Read,
    /// The line reports that it failed.
    Failed,
    /// It was deleted on the line.
    Deleted,
    /// An operator decided to send it again.
    Resent,
    /// The customer was forgotten: number, name and text are deleted.
    Forgotten,
    /// Number, name and text were kept as long as `retention.personal_days` says.
    DataExpired,
}

impl StepCode {
    /// All codes.
    pub const ALL: [Self; 39] = [
        Self::Created,
        Self::Due,
        Self::LeaseExpired,
        Self::QuietHours,
        Self::FirstContacts,
        Self::InFlight,
        Self::RateLimit,
        Self::LineStopped,
        Self::TokenRefused,
        Self::LineDown,
        Self::OutOfTime,
        Self::SecretUnreadable,
        Self::ProviderBusy,
        Self::NotSent,
        Self::OutcomeUnknown,
        Self::OutcomeStayedUnknown,
        Self::Accepted,
        Self::Refused,
        Self::KeyConflict,
        Self::AfterCancellation,
        Self::Superseded,
        Self::AppointmentChanged,
        Self::NewerLead,
        Self::OptedOut,
        Self::Dropped,
        Self::Expired,
        Self::ExpiredOnArrival,
        Self::Suppressed,
        Self::AlreadyGreeted,
        Self::TooOften,
        Self::Incomplete,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Deleted,
        Self::Resent,
        Self::Forgotten,
        Self::DataExpired,
    ];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Due => "due",
            Self::LeaseExpired => "lease-expired",
            Self::QuietHours => "quiet-hours",
            Self::FirstContacts => "first-contacts",
            Self::InFlight => "in-flight",
            Self::RateLimit => "rate-limit",
            Self::LineStopped => "line-stopped",
            Self::TokenRefused => "token-refused",
            Self::LineDown => "line-down",
            Self::OutOfTime => "out-of-time",
            Self::SecretUnreadable => "secret-unreadable",
            Self::ProviderBusy => "provider-busy",
            Self::NotSent => "not-sent",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::OutcomeStayedUnknown => "outcome-stayed-unknown",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::KeyConflict => "key-conflict",
            Self::AfterCancellation => "after-cancellation",
            Self::Superseded => "superseded",
            Self::AppointmentChanged => "appointment-changed",
            Self::NewerLead => "newer-lead",
            Self::OptedOut => "opted-out",
            Self::Dropped => "dropped",
            Self::Expired => "expired",
            Self::ExpiredOnArrival => "expired-on-arrival",
            Self::Suppressed => "suppressed",
            Self::AlreadyGreeted => "already-greeted",
            Self::TooOften => "too-often",
            Self::Incomplete => "incomplete",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
            Self::Resent => "resent",
            Self::Forgotten => "forgotten",
            Self::DataExpired => "data-expired",
        }
    }

    /// The code of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The code of a report: what the status before it does not say, if there is anything.
    pub(super) fn of_report(before: DeliveryStatus, after: DeliveryStatus) -> Option<Self> {
        if after.deleted && !before.deleted {
            return Some(Self::Deleted);
        }
        if after.failed && !before.failed {
            return Some(Self::Failed);
        }
        let reached = after.reached.filter(|_| after.reached != before.reached)?;
        Some(match reached {
            DeliveryProgress::Pending | DeliveryProgress::Sent => Self::Sent,
            DeliveryProgress::Delivered => Self::Delivered,
            DeliveryProgress::Read | DeliveryProgress::Played => Self::Read,
        })
    }

    /// Whether its text is always the same, so that the step needs no detail.
    const fn has_fixed_text(self) -> bool {
        !matches!(
            self,
            Self::InFlight
                | Self::LineDown
                | Self::SecretUnreadable
                | Self::NotSent
                | Self::OutcomeUnknown
                | Self::OutcomeStayedUnknown
                | Self::Refused
                | Self::KeyConflict
                | Self::AfterCancellation
                | Self::Superseded
                | Self::NewerLead
                | Self::Suppressed
                | Self::AlreadyGreeted
                | Self::TooOften
                | Self::Incomplete
        )
    }
}

/// Why a message is in its state: for the trail and for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason {
    /// For the trail.
    pub code: StepCode,
    /// For people. Holds no personal data.
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: StepCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The reason of a message that waits for the end of the quiet hours.
    pub fn quiet_hours() -> Self {
        Self::new(StepCode::QuietHours, "quiet hours")
    }
}

impl LedgerRow {
    /// The code of the last step that says something of the message. `None` if a newer version
    /// wrote it. That its data was erased says nothing of the message.
    pub(super) fn last_event(&self) -> Option<StepCode> {
        let is_event = |step: &&TrailStep| step.code != StepCode::DataExpired.name();
        StepCode::from_name(&self.trail.steps().iter().rev().find(is_event)?.code)
    }

    /// Adds the step of the write of this row.
    pub(super) fn add_step(&mut self, code: StepCode, text: Option<&str>) {
        // The result of an attempt says that there was one.
        self.trail.remove_last_if(|last| last.code == StepCode::Due.name());
        let detail = text.filter(|_| !code.has_fixed_text());
        self.trail.add_step(TrailStep::new(self.updated_at, self.state.name(), code.name(), detail));
    }

    /// This row, as one that is written for the first time.
    #[must_use]
    pub(crate) fn begin_trail(mut self, code: StepCode) -> Self {
        self.trail = Trail::default();
        let reason = self.reason.clone();
        self.add_step(code, reason.as_deref());
        self
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::ledger::{MessageState, waiting_row};

    fn row_with_steps(codes: &[(StepCode, MessageState, Option<&str>)]) -> LedgerRow {
        let mut row = waiting_row();
        for (minute, (code, state, text)) in codes.iter().enumerate() {
            let minutes = SignedDuration::from_mins(i64::try_from(minute).unwrap());
            row.updated_at = Timestamp::UNIX_EPOCH + minutes;
            row.state = *state;
            row.add_step(*code, *text);
        }
        row
    }

    fn codes_of(trail: &Trail) -> Vec<&str> {
        trail.steps().iter().map(|step| &*step.code).collect()
    }

    #[test]
    fn names_of_codes_are_unique_and_known() {
        assert_eq!(StepCode::DataExpired as usize + 1, StepCode::ALL.len(), "the last code is the last of all");
        for code in StepCode::ALL {
            assert_eq!(StepCode::from_name(code.name()), Some(code));
        }
    }

    #[test]
    fn an_erasure_does_not_hide_what_happened_to_the_message() {
        let refused = (StepCode::KeyConflict, MessageState::NeedsHuman, None);
        let erased = (StepCode::DataExpired, MessageState::NeedsHuman, None);
        assert_eq!(row_with_steps(&[refused, erased, erased]).last_event(), Some(StepCode::KeyConflict));
        assert_eq!(row_with_steps(&[erased]).last_event(), None);
    }

    #[test]
    fn a_report_is_a_step_only_if_it_says_something_new() {
        let of = |word: &str| DeliveryStatus::from_status(word).unwrap();
        let none = DeliveryStatus::default();
        for (before, after, expected) in [
            (none, of("sent"), Some(StepCode::Sent)),
            (of("sent"), of("read"), Some(StepCode::Read)),
            (none, of("failed"), Some(StepCode::Failed)),
            (of("failed"), of("failed"), None),
            (of("read"), of("read"), None),
            (of("delivered"), of("delivered").combine_with(of("failed")), Some(StepCode::Failed)),
        ] {
            assert_eq!(StepCode::of_report(before, after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_wait_is_one_step_however_often_the_message_is_tried() {
        let down = (StepCode::LineDown, MessageState::Held, Some("the phone must be linked again"));
        let due = (StepCode::Due, MessageState::Claimed, None);
        let steps = [
            (StepCode::Created, MessageState::Claimed, None),
            down,
            due,
            down,
            due,
            down,
            due,
            (StepCode::Accepted, MessageState::Accepted, None),
        ];
        let trail = row_with_steps(&steps).trail;
        assert_eq!(codes_of(&trail), ["created", "line-down", "accepted"]);
        assert_eq!(trail.steps()[1].at, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1));
        assert_eq!(trail.steps()[1].detail.as_deref(), Some("the phone must be linked again"));
    }

    #[test]
    fn a_crashed_attempt_stays() {
        let steps = [
            (StepCode::Created, MessageState::Claimed, None),
            (StepCode::LeaseExpired, MessageState::Claimed, None),
            (StepCode::Accepted, MessageState::Accepted, None),
        ];
        assert_eq!(codes_of(&row_with_steps(&steps).trail), ["created", "lease-expired", "accepted"]);
    }
}
