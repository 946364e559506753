//! The outcome of a line event that was not used completely.

use tellonce_core::{inbox::DeliveryOutcome, json::JsonError, provider::ContentKind};

/// What of a delivery was not used, and why. `Display` writes the explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineEventOutcome {
    /// The configuration has no line of this name any more.
    #[error("the configuration no longer has a line of this name")]
    LineRemoved,
    /// The body does not have a documented shape.
    #[error("{0}")]
    NotUnderstood(JsonError),
    /// Some items were not used, or not as the message of a customer.
    #[error("{}", .0.explanation())]
    Noted(EventNotes),
}

impl LineEventOutcome {
    const fn code(&self) -> &'static str {
        match self {
            Self::LineRemoved | Self::NotUnderstood(_) => NoteKind::Unreadable.code(),
            Self::Noted(notes) => notes.kind.code(),
        }
    }

    /// Whether an operator should act.
    pub(crate) fn needs_attention(&self) -> bool {
        match self {
            Self::LineRemoved | Self::NotUnderstood(_) => true,
            Self::Noted(notes) => notes.kind <= NoteKind::OptOutNotApplied,
        }
    }
}

impl From<LineEventOutcome> for DeliveryOutcome {
    fn from(outcome: LineEventOutcome) -> Self {
        Self::new(outcome.code(), &outcome).needing_person(outcome.needs_attention())
    }
}

/// Why an item is noted. Of several in one delivery, the first in this order gives the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoteKind {
    /// It should be readable and is not.
    Unreadable,
    /// The customer asked for an opt-out, and only an operator can apply it.
    OptOutNotApplied,
    /// The customer's number is not known yet.
    NumberUnknown,
    /// It was written long before it arrived.
    OldMessage,
    /// Its type is not known, and it has no text. It counts as a message.
    UnknownType,
    /// It is a reaction, an edit, a notice or another event that no customer writes.
    NotWritten,
    /// tellonce does not handle it.
    Irrelevant,
}

impl NoteKind {
    const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "quarantined",
            Self::OptOutNotApplied => "opt-out-not-applied",
            Self::NumberUnknown => "number-unknown",
            Self::OldMessage => "old-message",
            Self::UnknownType => "unknown-type",
            Self::NotWritten => "not-written",
            Self::Irrelevant => "skipped",
        }
    }
}

/// The notes on the items of one delivery. They quote nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventNotes {
    kind: NoteKind,
    reasons: Vec<&'static str>,
}

impl Default for EventNotes {
    fn default() -> Self {
        Self { kind: NoteKind::Irrelevant, reasons: Vec::new() }
    }
}

impl EventNotes {
    /// Adds a note.
    pub(crate) fn add(&mut self, kind: NoteKind, reason: &'static str) {
        self.kind = self.kind.min(kind);
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// The outcome of the delivery; none if there is no note.
    pub(crate) fn into_outcome(self) -> Option<LineEventOutcome> {
        (!self.reasons.is_empty()).then_some(LineEventOutcome::Noted(self))
    }

    fn explanation(&self) -> String {
        let reasons = self.reasons.join("; ");
        if self.kind == NoteKind::Unreadable { format!("skipped: {reasons}") } else { reasons }
    }
}

/// The note on a message that is not simply written; none for others.
pub(crate) const fn describe_content(content: ContentKind) -> Option<(NoteKind, &'static str)> {
    let reason = match content {
        ContentKind::Written => return None,
        ContentKind::Unknown => {
            return Some((NoteKind::UnknownType, "unknown type without a text: it counts as a message"));
        }
        ContentKind::Edit => "edit: it changes the text of an earlier message",
        ContentKind::Deletion => "deletion of an earlier message",
        ContentKind::Reaction => "reaction to an earlier message",
        ContentKind::Action => "unknown action on an earlier message",
        ContentKind::Poll => "poll, or a vote in one",
        ContentKind::Call => "call",
        ContentKind::Notice => "notice of WhatsApp",
        ContentKind::Empty => "text message without a text",
    };
    Some((NoteKind::NotWritten, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_important_note_gives_the_code_and_every_note_is_explained() {
        let mut notes = EventNotes::default();
        assert_eq!(notes.clone().into_outcome(), None);
        notes.add(NoteKind::Irrelevant, "chat summary");
        notes.add(NoteKind::OldMessage, "old");
        notes.add(NoteKind::NotWritten, "call");
        notes.add(NoteKind::NotWritten, "call");
        let outcome = notes.clone().into_outcome().unwrap();
        assert!(!outcome.needs_attention());
        assert_eq!(DeliveryOutcome::from(outcome), DeliveryOutcome::new("old-message", "chat summary; old; call"));
        notes.add(NoteKind::OptOutNotApplied, "old opt-out");
        let outcome = notes.clone().into_outcome().unwrap();
        assert!(outcome.needs_attention());
        assert_eq!(DeliveryOutcome::from(outcome).code, "opt-out-not-applied");
        notes.add(NoteKind::Unreadable, "no id");
        let outcome = notes.into_outcome().unwrap();
        assert!(outcome.needs_attention());
        assert_eq!(DeliveryOutcome::from(outcome).text, "skipped: chat summary; old; call; old opt-out; no id");
    }
}
