//! A submission in its sender's words, flattened: one list of fields, whatever the body looked like.
//!
//! Each sender's reader makes one ([`crate::senders`]); [`crate::facts`] looks in it for what we need to know. It holds
//! what people typed, so it has no `Debug`.

use std::borrow::Cow;

use jiff::Timestamp;
use shared::json::Raw;

/// More fields than any form has. What comes after them is left out.
pub(crate) const MOST_FIELDS: usize = 1000;
/// No longer name is looked at: labels may be whole sentences of consent.
const LONGEST_NAME: usize = 2000;
/// No longer answer is: everything that we look for is short.
const LONGEST_ANSWER: usize = 10_000;

/// What somebody sent.
#[derive(Default)]
pub(crate) struct Submission {
    /// The sender's id of it, where the sender has a place of its own for one.
    pub(crate) id: Option<String>,
    /// The form's id, likewise.
    pub(crate) form_id: Option<String>,
    /// When it was sent, likewise.
    pub(crate) submitted_at: Option<Timestamp>,
    /// Whether the sender calls it a trial.
    pub(crate) test: bool,
    /// What was asked and answered.
    pub(crate) fields: Vec<Field>,
}

/// One field.
#[derive(Clone, Default)]
pub(crate) struct Field {
    /// All that it goes by: key, reference, id, label.
    pub(crate) names: Vec<String>,
    /// Whether its sender knows it to be a telephone number.
    pub(crate) telephone: bool,
    /// The answers, none of them empty: one, or those of a list.
    pub(crate) answers: Vec<String>,
}

impl Field {
    /// A field that is not known to be anything in particular.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = Cow<'n, str>>, answers: Vec<String>) -> Self {
        let fits = |name: &Cow<'n, str>| !name.trim().is_empty() && name.len() <= LONGEST_NAME;
        let answers = answers.into_iter().filter(|answer| !answer.trim().is_empty() && answer.len() <= LONGEST_ANSWER);
        Self {
            names: names.into_iter().filter(fits).map(Cow::into_owned).collect(),
            telephone: false,
            answers: answers.collect(),
        }
    }

    /// The same, known to be a telephone number if `telephone`.
    pub(crate) fn known_as(self, telephone: bool) -> Self {
        Self { telephone, ..self }
    }

    /// The name that it goes by first.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The name that its place in the body gives it: `contact.phone`.
    pub(crate) fn path(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }
}

/// The answers that a JSON value holds: its text, or those of a list's elements. An object is none.
pub(crate) fn answers(value: Raw<'_>) -> Vec<String> {
    match value.elements() {
        Some(elements) => elements.into_iter().filter_map(Raw::string).collect(),
        None => value.string().into_iter().collect(),
    }
}

/// The names among these values that are there.
pub(crate) fn names<'a>(values: impl IntoIterator<Item = Raw<'a>>) -> impl Iterator<Item = Cow<'a, str>> {
    values.into_iter().filter_map(Raw::text)
}
