//! A submission in its sender's words, flattened to one list of fields for every kind of body.
//!
//! Each parser in [`crate::senders`] builds one. [`crate::facts`] searches it. It holds what the
//! lead typed, so it has no `Debug`.

use std::borrow::Cow;

use jiff::Timestamp;
use tellonce_core::json::RawJson;

use crate::lead::LeadReference;

/// The most fields of a submission. Further fields are ignored.
pub(crate) const MAX_FIELDS: usize = 1000;
/// The longest name that is used, in bytes. A label may be a whole consent sentence.
pub(crate) const MAX_NAME_BYTES: usize = 2000;
/// The longest answer that is used, in bytes. Every fact is short.
const MAX_VALUE_BYTES: usize = 10_000;

/// The content of a delivery.
pub(crate) enum DeliveryContent {
    /// The data of a lead.
    Submission(LeadSubmission),
    /// The ids of leads that have to be looked up.
    References(Vec<LeadReference>),
}

/// What a lead submitted.
#[derive(Default)]
pub(crate) struct LeadSubmission {
    /// The sender's id of the submission, if the sender has a fixed place for it.
    pub(crate) id: Option<String>,
    /// The sender's id of the form, if the sender has a fixed place for it.
    pub(crate) form_id: Option<String>,
    /// The time of the submission, if the sender has a fixed place for it.
    pub(crate) submitted_at: Option<Timestamp>,
    /// Whether the sender marks the submission as a test.
    pub(crate) is_test: bool,
    pub(crate) fields: Vec<SubmittedField>,
}

#[derive(Clone, Default)]
pub(crate) struct SubmittedField {
    /// All names of the field: key, reference, id, label.
    pub(crate) names: Vec<String>,
    /// Whether the sender declares the field a telephone field.
    pub(crate) is_telephone: bool,
    /// The answers, one or several. None is empty.
    pub(crate) values: Vec<String>,
}

impl SubmittedField {
    /// A field of no particular type.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = Cow<'n, str>>, values: Vec<String>) -> Self {
        let fits = |name: &Cow<'n, str>| !name.trim().is_empty() && name.len() <= MAX_NAME_BYTES;
        let values = values.into_iter().filter(|value| !value.trim().is_empty() && value.len() <= MAX_VALUE_BYTES);
        Self {
            names: names.into_iter().filter(fits).map(Cow::into_owned).collect(),
            is_telephone: false,
            values: values.collect(),
        }
    }

    /// Sets whether the sender declares the field a telephone field.
    pub(crate) fn with_telephone(self, is_telephone: bool) -> Self {
        Self { is_telephone, ..self }
    }

    /// The first name of the field.
    pub(crate) fn primary_name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The name that the field's place in the body gives it: `contact.phone`.
    pub(crate) fn body_path(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }
}

/// The answers in a JSON value: its text, or the texts of a list, also of one that PHP writes as an
/// object. Another object has no answers.
pub(crate) fn field_values(value: RawJson<'_>) -> Vec<String> {
    match value.php_list_elements() {
        Some(elements) => elements.into_iter().filter_map(RawJson::owned_text).collect(),
        None => value.owned_text().into_iter().collect(),
    }
}

/// The names among these values that are texts.
pub(crate) fn field_names<'a>(values: impl IntoIterator<Item = RawJson<'a>>) -> impl Iterator<Item = Cow<'a, str>> {
    values.into_iter().filter_map(RawJson::text)
}
