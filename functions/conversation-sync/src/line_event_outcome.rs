//! The outcome of a line event that was not used completely.

use tellonce_core::{inbox::DeliveryOutcome, json::JsonError};

/// What of a delivery was not used, and why. `Display` writes the explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineEventOutcome {
    /// The configuration has no line of this name any more.
    #[error("the configuration no longer has a line of this name")]
    LineRemoved,
    /// The body does not have a documented shape.
    #[error("{0}")]
    NotUnderstood(JsonError),
    /// Some items should be readable and are not.
    #[error("skipped: {}", .0.join("; "))]
    ItemsNotUnderstood(Vec<&'static str>),
    /// tellonce does not handle some items.
    #[error("{}", .0.join("; "))]
    Skipped(Vec<&'static str>),
}

impl LineEventOutcome {
    const fn code(&self) -> &'static str {
        if self.needs_attention() { "quarantined" } else { "skipped" }
    }

    /// Whether an operator should act.
    pub(crate) const fn needs_attention(&self) -> bool {
        match self {
            Self::LineRemoved | Self::NotUnderstood(_) | Self::ItemsNotUnderstood(_) => true,
            Self::Skipped(_) => false,
        }
    }
}

impl From<LineEventOutcome> for DeliveryOutcome {
    fn from(outcome: LineEventOutcome) -> Self {
        Self::new(outcome.code(), outcome)
    }
}
