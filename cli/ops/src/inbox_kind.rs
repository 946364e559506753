//! The four inboxes, each with the function that reads it.

/// A function with the inbox that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InboxKind {
    Stores,
    Calendars,
    Forms,
    Lines,
}

impl InboxKind {
    pub(crate) const ALL: [Self; 4] = [Self::Stores, Self::Calendars, Self::Forms, Self::Lines];

    /// The name of the function.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Stores => "order-notifier",
            Self::Calendars => "reminder-scheduler",
            Self::Forms => "lead-first-touch",
            Self::Lines => "conversation-sync",
        }
    }

    pub(crate) fn of_function(function: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.function() == function)
    }
}
