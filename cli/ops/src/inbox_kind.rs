//! The four inboxes, each with the function that reads it.

use std::collections::BTreeMap;

use tellonce_core::client_config::ClientConfig;

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

    /// What a sender of the inbox is called.
    pub(crate) fn sender_word(self) -> &'static str {
        match self {
            Self::Stores => "store",
            Self::Calendars => "calendar",
            Self::Forms => "form",
            Self::Lines => "line",
        }
    }

    /// The inbox of the deliveries about a subject: `order:1001`.
    pub(crate) fn of_subject(subject: &str) -> Option<Self> {
        match subject.split(':').next() {
            Some("order") => Some(Self::Stores),
            Some("appointment") => Some(Self::Calendars),
            Some("lead") => Some(Self::Forms),
            _ => None,
        }
    }

    /// The names of its senders in client.toml.
    pub(crate) fn list_senders(self, config: &ClientConfig) -> Vec<&str> {
        fn names<T>(of: &BTreeMap<String, T>) -> Vec<&str> {
            of.keys().map(String::as_str).collect()
        }
        match self {
            Self::Stores => names(&config.stores),
            Self::Calendars => names(&config.calendars),
            Self::Forms => names(&config.forms),
            Self::Lines => names(&config.lines),
        }
    }
}
