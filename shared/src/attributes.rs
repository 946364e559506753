//! Attributes of table items: one way to read them and one way to write them.
//!
//! Main types: [`ItemReader`] reads the attributes of an item; [`ItemWriter`] builds an item;
//! [`UnknownAttributes`] are those of another version of tellonce. [`send_if_current`] sends a
//! conditional update, [`read_batch`] reads several items.
//!
//! Promises: a missing attribute and one of another type are read alike, as `None` or `false`.
//! Times are milliseconds since 1970. Two versions may work on one table, during a deployment and
//! after a rollback: what this version does not know stays in the items that it writes. Does
//! **not** know which attributes an item needs.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        batch_get_item::BatchGetItemError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    primitives::Blob,
    types::{AttributeValue as Value, KeysAndAttributes},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

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

/// The item of a stream record's image. `None` if it holds a type that tellonce does not use.
pub fn parse_image(image: &Json) -> Option<Item> {
    image.as_object()?.iter().map(|(name, value)| Some((name.clone(), parse_value(value)?))).collect()
}

fn parse_value(value: &Json) -> Option<Value> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "S" => Value::S(value.as_str()?.to_owned()),
        "N" => Value::N(value.as_str()?.to_owned()),
        "BOOL" => Value::Bool(value.as_bool()?),
        "M" => Value::M(parse_image(value)?),
        _ => return None,
    })
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

/// Reads the items of these keys that a table has, at most 100, in one request. An item that the
/// table is too busy to read is missing.
pub async fn read_batch(
    db: &Client,
    table: &str,
    keys: Vec<Item>,
    projection: Option<&str>,
) -> Result<Vec<Item>, Box<SdkError<BatchGetItemError>>> {
    let keys =
        KeysAndAttributes::builder().set_keys(Some(keys)).set_projection_expression(projection.map(str::to_owned));
    let keys = keys.build().map_err(|error| Box::new(SdkError::construction_failure(error)))?;
    let answer = db.batch_get_item().request_items(table, keys).send().await.map_err(Box::new)?;
    Ok(answer.responses.unwrap_or_default().remove(table).unwrap_or_default())
}

/// Sends an update. Returns whether its condition was met.
pub async fn send_if_current(update: UpdateItemFluentBuilder) -> Result<bool, Box<SdkError<UpdateItemError>>> {
    match update.send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(false)
        }
        Err(error) => Err(Box::new(error)),
    }
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

/// The attributes of an item that this version of tellonce does not know. A writer of the whole
/// item adds them again. `Debug` shows their names only.
#[derive(Clone, Default, PartialEq)]
pub struct UnknownAttributes(Item);

impl UnknownAttributes {
    /// The attributes of an item that are not among these names.
    pub fn of_item(item: &Item, known: &[&str]) -> Self {
        let is_unknown = |(name, _): &(&String, &Value)| !known.contains(&name.as_str());
        Self(item.iter().filter(is_unknown).map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Keeps the text of a JSON document that has members which this version does not know. `known`
    /// is what this version read from it.
    #[must_use]
    pub fn with_document<T: Serialize>(mut self, name: &str, text: &str, known: &T) -> Self {
        if serde_json::to_string(known).is_ok_and(|known| known != text) {
            self.0.insert(name.to_owned(), text_value(text));
        }
        self
    }

    /// The kept text of a document.
    pub fn document(&self, name: &str) -> Option<&str> {
        ItemReader(&self.0).text(name)
    }

    /// Adds the attributes to an item, except those that it has.
    pub fn add_to(&self, item: &mut ItemWriter) {
        for (name, value) in &self.0 {
            item.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn names(&self) -> BTreeSet<&String> {
        self.0.keys().collect()
    }
}

impl Eq for UnknownAttributes {}

impl Hash for UnknownAttributes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.names().hash(state);
    }
}

impl fmt::Debug for UnknownAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The JSON text of a document that replaces another one. `before` is the text that was read, and
/// what this version read from it: members that this version does not know stay. Members of list
/// elements that are the same as before stay too.
pub fn replace_document<T: Serialize>(after: &T, before: Option<(&str, &T)>) -> serde_json::Result<String> {
    let Some((text, known)) = before else { return serde_json::to_string(after) };
    // Usually this version wrote the text.
    if serde_json::to_string(known)? == text {
        return serde_json::to_string(after);
    }
    let mut after = serde_json::to_value(after)?;
    carry_members(&mut after, &serde_json::to_value(known)?, &serde_json::from_str(text)?);
    serde_json::to_string(&after)
}

/// Adds to `after` what `text` has and `known` does not.
fn carry_members(after: &mut Json, known: &Json, text: &Json) {
    match (after, known, text) {
        (Json::Object(after), Json::Object(known), Json::Object(text)) => {
            for (name, value) in text {
                match (known.get(name), after.get_mut(name)) {
                    (Some(known), Some(after)) => carry_members(after, known, value),
                    (None, None) => drop(after.insert(name.clone(), value.clone())),
                    (Some(_), None) | (None, Some(_)) => {}
                }
            }
        }
        (Json::Array(after), Json::Array(known), Json::Array(text)) => {
            for element in after {
                let same = known.iter().position(|known| known == element).and_then(|index| text.get(index));
                if let Some(same) = same {
                    element.clone_from(same);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Document {
        state: String,
        link: Option<Link>,
        parts: Vec<Link>,
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct Link {
        id: u8,
    }

    fn replace(text: &Json, change: impl FnOnce(&mut Document)) -> Json {
        let text = text.to_string();
        let known: Document = serde_json::from_str(&text).unwrap();
        let mut after: Document = serde_json::from_str(&text).unwrap();
        change(&mut after);
        serde_json::from_str(&replace_document(&after, Some((&text, &known))).unwrap()).unwrap()
    }

    #[test]
    fn members_of_another_version_stay_where_their_document_stays() {
        let read = json!({"state": "a", "link": {"id": 1, "new": true}, "parts": [{"id": 1, "new": 1}, {"id": 2, "new": 2}], "new": [3]});
        let kept = replace(&read, |document| {
            document.state = "b".into();
            document.parts.remove(0);
        });
        let expected =
            json!({"state": "b", "link": {"id": 1, "new": true}, "parts": [{"id": 2, "new": 2}], "new": [3]});
        assert_eq!(kept, expected);
        let without = replace(&read, |document| (document.link, document.parts) = (None, vec![Link { id: 7 }]));
        assert_eq!(without, json!({"state": "a", "link": null, "parts": [{"id": 7}], "new": [3]}));
        let same = json!({"state": "a", "link": null, "parts": []});
        assert_eq!(replace(&same, |document| document.state = "b".into())["state"], "b");
    }

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
