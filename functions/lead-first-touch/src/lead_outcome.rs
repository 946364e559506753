//! The outcome of a lead delivery that the ledger's rows do not explain.

use std::fmt;

use tellonce_core::ledger::{IdempotencyKey, MessageState};

use crate::{lead::SkipReason, plan::NotSent};

/// Why a lead got no new message. `Display` writes the text that is stored with the delivery:
/// [`Self::code`], a colon and an explanation. Operators find deliveries by the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadOutcome {
    /// The configuration has no form of this name any more.
    FormRemoved,
    /// The delivery or the lookup contains no lead to greet.
    Skipped(SkipReason),
    /// The text could not be built.
    NotSent(NotSent),
    /// The form had too many leads, and the lead waits for an operator.
    HeldForReview,
    /// An operator dropped the held leads of the form.
    Dropped,
    /// The lead's row is already in the ledger, in this state.
    AlreadyKnown(IdempotencyKey, MessageState),
    /// The number was greeted for an earlier lead. The row of this key names that lead.
    AlreadyGreeted(IdempotencyKey),
    /// As many forms as allowed have greeted the number. The row of this key has the count.
    TooOften(IdempotencyKey),
    /// The lead opted out.
    OptedOut,
    /// The lookup or the dispatch failed for good. Holds the chain of errors.
    Failed(String),
}

impl LeadOutcome {
    /// A stable name for rows and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FormRemoved => "form-removed",
            Self::Skipped(reason) => reason.code(),
            Self::NotSent(reason) => reason.code(),
            Self::HeldForReview => "held-for-review",
            Self::Dropped => "dropped",
            Self::AlreadyKnown(..) => "already-known",
            Self::AlreadyGreeted(_) => "already-greeted",
            Self::TooOften(_) => "too-often",
            Self::OptedOut => "opted-out",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for LeadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        match self {
            Self::FormRemoved => f.write_str("this form is not in the configuration any more"),
            Self::Skipped(reason) => reason.fmt(f),
            Self::NotSent(reason) => reason.fmt(f),
            Self::HeldForReview => f.write_str(
                "the form had too many leads at once; check them, then release or drop them (docs/operations.md)",
            ),
            Self::Dropped => f.write_str("an operator checked the form's leads and dropped them"),
            Self::AlreadyKnown(key, state) => write!(f, "{key} is {} in the ledger", state.name()),
            Self::AlreadyGreeted(key) => write!(f, "{key} names the earlier lead"),
            Self::TooOften(key) => write!(f, "{key} has the number of greetings"),
            Self::OptedOut => f.write_str("the lead asked not to be messaged"),
            Self::Failed(errors) => f.write_str(errors),
        }
    }
}
