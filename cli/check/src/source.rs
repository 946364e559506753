//! The lines of keys and values in a file.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, Error},
};

/// The text of a file with the places of its keys and values.
pub(super) struct ConfigSource<'a> {
    text: &'a str,
    /// The file as a tree, in which every key and value has its place.
    pub(super) table: Spanned<DeTable<'a>>,
}

impl<'a> ConfigSource<'a> {
    /// Parses a file. Fails only if it is not TOML.
    pub(super) fn parse(text: &'a str) -> Result<Self, Error> {
        DeTable::parse(text).map(|table| Self { text, table })
    }

    /// The line (from 1) of a byte of the file.
    pub(super) fn line_at(&self, byte: usize) -> usize {
        line_at(self.text, byte)
    }

    /// The line of a key, or of the nearest existing key above it. `path` is the keys that lead to
    /// it.
    pub(super) fn line_of(&self, path: &[&str]) -> usize {
        let mut table = Some(self.table.get_ref());
        let mut line = 1;
        for name in path {
            let Some((key, value)) = table.and_then(|table| find_entry(table, name)) else { break };
            line = line_at(self.text, key.span().start);
            table = as_table(value.get_ref());
        }
        line
    }

    /// The line of the file for line `line` (from 1) of a text value.
    pub(super) fn line_in_text(&self, path: &[&str], line: usize) -> usize {
        let Some(value) = self.find_value(path) else { return self.line_of(path) };
        let raw_text = self.text.get(value.span()).unwrap_or_default();
        // A line break right after the opening quotes is not part of the value.
        let begins_below = [r#"""""#, "'''"].iter().any(|quotes| {
            raw_text.strip_prefix(quotes).is_some_and(|rest| rest.starts_with('\n') || rest.starts_with("\r\n"))
        });
        line_at(self.text, value.span().start) + usize::from(begins_below) + line.saturating_sub(1)
    }

    /// Whether the file contains a key.
    pub(super) fn has_key(&self, path: &[&str]) -> bool {
        self.find_value(path).is_some()
    }

    /// The text at a key, if the file has one there.
    pub(super) fn text_of(&self, path: &[&str]) -> Option<&str> {
        match self.find_value(path)?.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of the list at a key, if the file has one there.
    pub(super) fn texts_of<'s>(&'s self, path: &[&str]) -> Vec<&'s str> {
        let Some(DeValue::Array(list)) = self.find_value(path).map(Spanned::get_ref) else { return Vec::new() };
        let as_text = |value: &'s Spanned<DeValue<'a>>| -> Option<&'s str> {
            match value.get_ref() {
                DeValue::String(text) => Some(text),
                _ => None,
            }
        };
        list.iter().filter_map(as_text).collect()
    }

    /// The keys of the table at a key, if the file has one there.
    pub(super) fn keys_of(&self, path: &[&str]) -> Option<Vec<&str>> {
        let table = as_table(self.find_value(path)?.get_ref())?;
        Some(table.keys().map(|key| &**key.get_ref()).collect())
    }

    fn find_value(&self, path: &[&str]) -> Option<&Spanned<DeValue<'a>>> {
        let (last, above) = path.split_last()?;
        let mut table = self.table.get_ref();
        for name in above {
            table = as_table(find_entry(table, name)?.1.get_ref())?;
        }
        find_entry(table, last).map(|(_, value)| value)
    }
}

fn find_entry<'t, 'a>(
    table: &'t DeTable<'a>,
    name: &str,
) -> Option<(&'t Spanned<DeString<'a>>, &'t Spanned<DeValue<'a>>)> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

fn as_table<'t, 'a>(value: &'t DeValue<'a>) -> Option<&'t DeTable<'a>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// The line (from 1) of a byte of a text.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

/// Removes the key at a place of the file from a table, at any depth. Returns the keys that lead to
/// it.
pub(super) fn remove_key_at(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let key_at_span = table.iter().find(|(key, _)| key.span() == *span).map(|(key, _)| key.clone());
    if let Some(key) = key_at_span {
        table.remove(&key);
        return Some(vec![key.into_inner().into_owned()]);
    }
    let mut names: Vec<_> = table.iter().map(|(key, _)| key.clone()).collect();
    // A table contains each key once, so the text of the key is enough to find it.
    names.retain(|key| matches!(table.get(key).map(Spanned::get_ref), Some(DeValue::Table(_))));
    for key in names {
        let Some(value) = table.get_mut(&key) else { continue };
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(mut path) = remove_key_at(inner, span)
        {
            path.insert(0, key.into_inner().into_owned());
            return Some(path);
        }
    }
    None
}
