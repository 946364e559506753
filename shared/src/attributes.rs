//! Attributes of table items: one way to read them and one way to write them.
//!
//! Main types: [`ItemReader`] reads the attributes of an item; [`ItemWriter`] builds an item.
//!
//! Promises: a missing attribute and one of another type are read alike, as `None` or `false`.
//! Times are milliseconds since 1970. Does **not** know which attributes an item needs.

use std::{borrow::Cow, collections::HashMap, str::FromStr};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue as Value};
use jiff::Timestamp;
use serde::Deserialize;

use crate::clock::{UnixMillis, from_millis};

/// An item of a table.
pub type Item = HashMap<String, Value>;

/// A text in `DynamoDB`'s JSON, as the records of a stream hold it.
#[derive(Deserialize)]
pub struct TextAttribute<'a> {
    /// The text.
    #[serde(rename = "S", borrow)]
    pub s: Cow<'a, str>,
}

/// A number in `DynamoDB`'s JSON, as the records of a stream hold it.
#[derive(Deserialize)]
pub struct NumberAttribute<'a> {
    /// The number, in decimal.
    #[serde(rename = "N", borrow)]
    pub n: Cow<'a, str>,
}

/// A text as an attribute.
pub fn text_value(text: impl Into<String>) -> Value {
    Value::S(text.into())
}

/// A number as an attribute.
pub fn number_value(number: impl ToString + Copy) -> Value {
    Value::N(number.to_string())
}

/// A time as an attribute.
pub fn time_value(at: Timestamp) -> Value {
    number_value(at.unix_millis())
}

/// Reads the attributes of an item.
#[derive(Clone, Copy)]
pub struct ItemReader<'a>(pub &'a Item);

impl<'a> ItemReader<'a> {
    /// A text.
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    /// A text, copied.
    pub fn owned(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// A number; `None` if it does not fit the type.
    pub fn number<N: FromStr>(self, name: &str) -> Option<N> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    /// A time.
    pub fn time(self, name: &str) -> Option<Timestamp> {
        self.number(name).map(from_millis)
    }

    /// A flag.
    pub fn flag(self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.as_bool() == Ok(&true))
    }

    /// Bytes.
    pub fn bytes(self, name: &str) -> Option<&'a [u8]> {
        self.0.get(name)?.as_b().ok().map(Blob::as_ref)
    }

    /// A map of texts. Members of another type are left out.
    pub fn texts<M: FromIterator<(String, String)>>(self, name: &str) -> Option<M> {
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_s().ok()?.clone()));
        Some(self.0.get(name)?.as_m().ok()?.iter().filter_map(text).collect())
    }
}

/// Builds an item. Each method adds one attribute.
#[derive(Debug, Default)]
pub struct ItemWriter(Item);

impl ItemWriter {
    /// An empty item with capacity for this many attributes.
    pub fn with_capacity(attributes: usize) -> Self {
        Self(HashMap::with_capacity(attributes))
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, text_value(value));
    }

    /// Adds a text if there is one.
    pub fn optional_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: impl ToString + Copy) {
        self.put(name, number_value(value));
    }

    /// Adds a time.
    pub fn time(&mut self, name: &str, at: Timestamp) {
        self.put(name, time_value(at));
    }

    /// Adds a time if there is one.
    pub fn optional_time(&mut self, name: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.time(name, at);
        }
    }

    /// Adds a flag if it is set.
    pub fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.put(name, Value::Bool(true));
        }
    }

    /// Adds bytes.
    pub fn bytes(&mut self, name: &str, value: Vec<u8>) {
        self.put(name, Value::B(Blob::new(value)));
    }

    /// Adds a map of texts if it has members.
    pub fn texts<'t, N: AsRef<str> + 't>(&mut self, name: &str, values: impl Iterator<Item = (&'t N, &'t String)>) {
        let values: Item = values.map(|(name, value)| (name.as_ref().to_owned(), text_value(value))).collect();
        if !values.is_empty() {
            self.put(name, Value::M(values));
        }
    }

    /// The item.
    pub fn into_item(self) -> Item {
        self.0
    }

    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_round_trip_and_a_wrong_type_counts_as_missing() {
        let at: Timestamp = "2026-11-19T10:00:00.538Z".parse().unwrap();
        let mut writer = ItemWriter::default();
        writer.text("a", "b");
        writer.number("n", 300);
        writer.time("t", at);
        writer.flag("yes", true);
        writer.flag("no", false);
        let item = writer.into_item();
        let item = ItemReader(&item);
        assert_eq!((item.text("a"), item.time("t")), (Some("b"), Some(at)));
        assert_eq!((item.number::<u16>("n"), item.number::<u8>("n"), item.number::<u8>("a")), (Some(300), None, None));
        assert_eq!((item.flag("yes"), item.flag("no"), item.text("n")), (true, false, None));
    }
}
