//! A submission in its sender's words, flattened: one list of fields, whatever the body looked like.
//!
//! Each sender's reader makes one ([`crate::senders`]); [`crate::facts`] looks in it for what we need to know. It holds
//! what people typed, so it has no `Debug`.

use std::borrow::Cow;

use jiff::Timestamp;
use tellonce_core::json::RawJson;

/// More fields than any form has. What comes after them is left out.
pub(crate) const MAX_FIELDS: usize = 1000;
/// No longer name is looked at: labels may be whole sentences of consent.
const MAX_NAME_BYTES: usize = 2000;
/// No longer answer is: everything that we look for is short.
const MAX_VALUE_BYTES: usize = 10_000;

/// What somebody sent.
#[derive(Default)]
pub(crate) struct LeadSubmission {
    /// The sender's id of it, where the sender has a place of its own for one.
    pub(crate) id: Option<String>,
    /// The form's id, likewise.
    pub(crate) form_id: Option<String>,
    /// When it was sent, likewise.
    pub(crate) submitted_at: Option<Timestamp>,
    /// Whether the sender calls it a trial.
    pub(crate) is_test: bool,
    /// What was asked and answered.
    pub(crate) fields: Vec<SubmittedField>,
}

/// One field.
#[derive(Clone, Default)]
pub(crate) struct SubmittedField {
    /// All that it goes by: key, reference, id, label.
    pub(crate) names: Vec<String>,
    /// Whether its sender knows it to be a telephone number.
    pub(crate) is_telephone: bool,
    /// The answers, none of them empty: one, or those of a list.
    pub(crate) values: Vec<String>,
}

impl SubmittedField {
    /// A field that is not known to be anything in particular.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = Cow<'n, str>>, values: Vec<String>) -> Self {
        let fits = |name: &Cow<'n, str>| !name.trim().is_empty() && name.len() <= MAX_NAME_BYTES;
        let values = values.into_iter().filter(|value| !value.trim().is_empty() && value.len() <= MAX_VALUE_BYTES);
        Self {
            names: names.into_iter().filter(fits).map(Cow::into_owned).collect(),
            is_telephone: false,
            values: values.collect(),
        }
    }

    /// The same, known to be a telephone number if `is_telephone`.
    pub(crate) fn with_telephone(self, is_telephone: bool) -> Self {
        Self { is_telephone, ..self }
    }

    /// The name that it goes by first.
    pub(crate) fn primary_name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The name that its place in the body gives it: `parse_contact.phone`.
    pub(crate) fn body_path(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }
}

/// The answers that a JSON value holds: its text, or those of a list's elements. An object is none.
pub(crate) fn field_values(value: RawJson<'_>) -> Vec<String> {
    match value.list_elements() {
        Some(elements) => elements.into_iter().filter_map(RawJson::owned_text).collect(),
        None => value.owned_text().into_iter().collect(),
    }
}

/// The names among these values that are there.
pub(crate) fn field_names<'a>(values: impl IntoIterator<Item = RawJson<'a>>) -> impl Iterator<Item = Cow<'a, str>> {
    values.into_iter().filter_map(RawJson::text)
}
