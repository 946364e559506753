//! That the personal data of a message was erased, and why.

use crate::attributes::ItemReader;

/// Why personal data was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErasureCause {
    /// The customer asked for it. Nothing more is sent about the subject.
    Request,
    /// `retention.personal_days` has passed.
    Age,
}

impl ErasureCause {
    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Age => "age",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Request, Self::Age].into_iter().find(|cause| cause.name() == name)
    }
}

/// What a row holds in place of personal data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Erasure {
    /// Why.
    pub cause: ErasureCause,
    /// The subject of the customer's contact: `contact:{pseudonym}`.
    pub contact: Option<String>,
}

impl Erasure {
    /// The erasure of a row's item. An error for a word of another version.
    pub(super) fn of_item(item: ItemReader<'_>) -> Result<Option<Self>, ()> {
        let Some(word) = item.text("erased") else { return Ok(None) };
        Ok(Some(Self { cause: ErasureCause::from_name(word).ok_or(())?, contact: item.owned("contact") }))
    }

    #[cfg(test)]
    pub(super) fn of_age(contact: &str) -> Self {
        Self { cause: ErasureCause::Age, contact: Some(contact.to_owned()) }
    }
}
