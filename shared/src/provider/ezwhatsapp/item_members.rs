//! The members of an item, by names that may have several spellings.

use crate::json::RawJson;

/// The members of an object. Names are compared without case, underscores and hyphens: `chat_id`
/// is `chatId`.
#[derive(Clone, Default)]
pub(super) struct ItemMembers<'a>(Vec<(String, RawJson<'a>)>);

impl<'a> ItemMembers<'a> {
    /// The members of a value; `None` if it is not an object.
    pub(super) fn of(value: RawJson<'a>) -> Option<Self> {
        let members = value.object_members()?;
        Some(Self(members.into_iter().map(|(name, value)| (plain_name(&name), value)).collect()))
    }

    /// The first of these members that has a value. Names are plain names.
    pub(super) fn first(&self, names: &[&str]) -> RawJson<'a> {
        names.iter().map(|name| self.get(name)).find(|value| value.is_present()).unwrap_or_default()
    }

    /// A member by its plain name. If it occurs more than once, the last counts.
    pub(super) fn get(&self, name: &str) -> RawJson<'a> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value).unwrap_or_default()
    }

    /// The first two members of one plain name: two spellings of it.
    pub(super) fn spellings(&self, name: &str) -> (RawJson<'a>, RawJson<'a>) {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| *value);
        (values.next().unwrap_or_default(), values.next().unwrap_or_default())
    }

    /// All members, with their plain names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, RawJson<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// A name in lower case, letters and digits only.
pub(super) fn plain_name(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
