//! Reads senders' JSON without loss. Ids of any length keep their digits. A field of an unexpected
//! type counts as an absent fact, and the rest of the delivery is still read.
//!
//! Only requested values are decoded. The rest is skipped without recursion, so nesting has no
//! limit.

use std::{borrow::Cow, fmt};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Why a body could not be read, and where. Never holds a value of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("the body is not JSON from column {column} of line {line} on")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// JSON, but a value has another shape than documented.
    #[error("unexpected shape before column {column} of line {line}")]
    Shape {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// A required fact is missing.
    #[error("no usable value at `{0}`")]
    Missing(Box<str>),
    /// The delivery does not say what it is about.
    #[error("the delivery has no topic")]
    NoTopic,
}

/// Parses a body that must be an object.
pub fn parse_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, JsonError> {
    let text = decode_utf8(body)?;
    // serde accepts a list in place of an object, member by member in the order of declaration.
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| to_json_error(&error))
    } else {
        parse_document(body).and(Err(JsonError::Shape { line: 1, column: 1 }))
    }
}

/// Parses a body that is any JSON.
pub fn parse_document(body: &[u8]) -> Result<RawJson<'_>, JsonError> {
    serde_json::from_str(decode_utf8(body)?).map_err(|error| to_json_error(&error))
}

fn decode_utf8(body: &[u8]) -> Result<&str, JsonError> {
    let text = std::str::from_utf8(body).map_err(|_| JsonError::NotUtf8)?;
    // Senders on .NET often begin with a byte order mark. JSON forbids it, and it means nothing
    // here.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The place of an error. The text of the error may quote the body, so it is dropped.
fn to_json_error(error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    if error.is_data() { JsonError::Shape { line, column } } else { JsonError::NotJson { line, column } }
}

/// The unchanged text of a value, or no value.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub struct RawJson<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl<'a> RawJson<'a> {
    /// The text of a string, or a number or boolean as it was written. Without space around it;
    /// `None` if it is empty.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let raw_text = self.0?.get();
        match raw_text.as_bytes().first()? {
            b'"' => {
                if let Ok(plain) = serde_json::from_str::<&str>(raw_text) {
                    return Some(plain.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed);
                }
                // A string with escapes cannot be borrowed.
                let escaped: String = serde_json::from_str(raw_text).ok()?;
                Some(escaped.trim().to_owned()).filter(|text| !text.is_empty()).map(Cow::Owned)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' => Some(Cow::Borrowed(raw_text)),
            _ => None,
        }
    }

    /// As [`Self::text`], owned.
    pub fn owned_text(self) -> Option<String> {
        self.text().map(Cow::into_owned)
    }

    /// As [`Self::owned_text`], but only if it is a link (see [`is_link`]).
    pub fn owned_link(self) -> Option<String> {
        self.owned_text().filter(|text| is_link(text))
    }

    /// Whether there is a value other than null.
    pub fn is_present(self) -> bool {
        self.0.is_some_and(|value| value.get() != "null")
    }

    /// Whether the value means yes: `true`, `yes` or `1`.
    pub fn is_true(self) -> bool {
        self.text()
            .is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("yes"))
    }

    /// The value as a time, RFC 3339.
    pub fn as_time(self) -> Option<Timestamp> {
        self.text()?.parse().ok()
    }

    /// The value as a time. Without a zone it is UTC.
    pub fn as_utc_time(self) -> Option<Timestamp> {
        let text = self.text()?;
        text.parse::<Timestamp>()
            .or_else(|_| text.parse::<DateTime>().and_then(|at| at.to_zoned(TimeZone::UTC)).map(|at| at.timestamp()))
            .ok()
    }

    /// The value as another type; `None` if it has another shape.
    pub fn deserialize_as<T: Deserialize<'a>>(self) -> Option<T> {
        serde_json::from_str(self.0?.get()).ok()
    }

    /// The members of an object, in their order; `None` for another value.
    pub fn object_members(self) -> Option<Vec<(String, Self)>> {
        let mut reader = serde_json::Deserializer::from_str(self.0?.get());
        reader.deserialize_map(MembersVisitor).ok()
    }

    /// The elements of a list; `None` for another value.
    pub fn list_elements(self) -> Option<Vec<Self>> {
        self.deserialize_as()
    }

    /// The elements of a list, also of one that PHP writes as an object: an array from which
    /// elements were removed has numbers as keys (`{"0":…,"2":…}`). Its order is that of the
    /// text. `None` for another value.
    pub fn php_list_elements(self) -> Option<Vec<Self>> {
        let is_index = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        self.list_elements().or_else(|| {
            let members = self.object_members()?;
            let is_list = !members.is_empty() && members.iter().all(|(name, _)| is_index(name));
            is_list.then(|| members.into_iter().map(|(_, value)| value).collect())
        })
    }

    /// The value at a JSON pointer (RFC 6901). `null` counts as no value.
    #[must_use]
    pub fn at_pointer(self, pointer: &str) -> Self {
        let mut here = self.0;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            here = here.and_then(|value| {
                let mut reader = serde_json::Deserializer::from_str(value.get());
                reader.deserialize_any(PointerStep(&token)).ok().flatten()
            });
        }
        Self(here.filter(|_| Self(here).is_present()))
    }
}

/// Whether a text is a link that may be sent: `https`, and no character that could end it early.
pub fn is_link(text: &str) -> bool {
    text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
        && text.len() > 8
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// A list that may be null, missing, or written by PHP: see [`RawJson::php_list_elements`].
pub fn deserialize_list_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let Some(raw) = Option::<&RawValue>::deserialize(deserializer)? else { return Ok(Vec::new()) };
    let raw_json = RawJson(Some(raw));
    // An empty object may have spaces within.
    let is_empty_object = || raw_json.object_members().is_some_and(|members| members.is_empty());
    if matches!(raw.get(), "null" | "\"\"" | "false") || is_empty_object() {
        return Ok(Vec::new());
    }
    let elements = raw_json.php_list_elements();
    let elements = elements.ok_or_else(|| de::Error::custom("the value is not a list"))?;
    // The error of serde_json could quote the value.
    let parsed = elements.into_iter().map(|element| serde_json::from_str(element.0.map_or("null", RawValue::get)));
    parsed.collect::<Result<_, _>>().map_err(|_| de::Error::custom("an element has another shape"))
}

/// An object that may be null, missing, or an empty object as PHP writes it: `[]`, `""`, `false`.
pub fn deserialize_object_or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(deserializer)?;
    match raw.map(RawValue::get) {
        None | Some("null" | "\"\"" | "false") => Ok(None),
        Some(_) if RawJson(raw).list_elements().is_some_and(|elements| elements.is_empty()) => Ok(None),
        Some(written) if written.starts_with('{') => {
            // The error of serde_json could quote the value.
            serde_json::from_str(written).map(Some).map_err(|_| de::Error::custom("a member has another shape"))
        }
        Some(_) => Err(de::Error::custom("the value is not an object")),
    }
}

/// One step of a pointer: a member's name or an element's index.
struct PointerStep<'t>(&'t str);

impl<'de> Visitor<'de> for PointerStep<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(matches) = map.next_key_seed(KeyMatcher(self.0))? {
            if matches {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // RFC 6901 forbids leading zeros.
        let index = self.0.parse::<usize>().ok().filter(|index| index.to_string() == self.0);
        let mut found = None;
        let mut at = 0;
        while let Some(value) = seq.next_element()? {
            if Some(at) == index {
                found = Some(value);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// All members of an object.
struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, RawJson<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// Compares a member's name without storing it.
struct KeyMatcher<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for KeyMatcher<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyMatcher<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn parse_raw(text: &str) -> RawJson<'_> {
        parse_document(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        for written in ["5223452934372", "92233720368547758079999", "1.0E+6", "-0.10"] {
            assert_eq!(parse_raw(written).owned_text().unwrap(), written);
        }
        assert_eq!(parse_raw("\"1.0E+6\"").owned_text().unwrap(), "1.0E+6");
        assert_eq!(
            parse_raw("{\"a\":[0,123456789012345678901234]}").at_pointer("/a/1").owned_text().unwrap(),
            "123456789012345678901234"
        );
    }

    #[test]
    fn values_without_text_give_none() {
        for written in ["null", "\"\"", "\"  \"", "{}", "[]", "\"\\ud83d\""] {
            assert_eq!(parse_raw(written).text(), None, "{written}");
        }
    }

    #[test]
    fn a_pointer_goes_through_objects_arrays_and_escapes() {
        let document = r#"{"a":{"b/c":[{"x~y":" hi "}]},"n":null,"a2":1,"a":{"b/c":[{"x~y":"last wins"}]}}"#;
        assert_eq!(parse_raw(document).at_pointer("/a/b~1c/0/x~0y").text().unwrap(), "last wins");
        for nowhere in ["/a/b", "/a/b~1c/1/x~0y", "/a/b~1c/00/x~0y", "/n", "/n/x", "/a2/0", "/"] {
            assert!(parse_raw(document).at_pointer(nowhere).text().is_none(), "{nowhere}");
        }
    }

    #[test]
    fn members_and_elements_are_returned_in_order_and_unchanged() {
        let members = parse_raw(r#"{"b":1,"a":{"c":[]},"b":123456789012345678901234}"#).object_members().unwrap();
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!(members[2].1.text().unwrap(), "123456789012345678901234");
        assert_eq!(parse_raw("[null,2]").list_elements().unwrap()[1].text().unwrap(), "2");
        assert!(
            parse_raw("[]").object_members().is_none()
                && parse_raw("{}").list_elements().is_none()
                && RawJson::default().object_members().is_none()
        );
    }

    #[derive(Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "deserialize_list_or_null")]
        list: Vec<u8>,
    }

    #[test]
    fn an_object_with_numbers_as_keys_is_a_list_of_php() {
        let texts = |json: &str| {
            let elements = parse_raw(json).php_list_elements()?;
            Some(elements.into_iter().filter_map(RawJson::owned_text).collect::<Vec<_>>().join(","))
        };
        for (json, list) in [
            (r#"["a","b"]"#, Some("a,b")),
            (r#"{"0":"a","2":"b"}"#, Some("a,b")),
            (r#"{"10":"a","9":"b"}"#, Some("a,b")),
            ("[]", Some("")),
            ("{}", None),
            (r#"{"0":"a","x":"b"}"#, None),
            (r#"{"":"a"}"#, None),
            (r#"{"-1":"a"}"#, None),
            ("\"a\"", None),
        ] {
            assert_eq!(texts(json).as_deref(), list, "{json}");
        }
        let list = |json: &str| serde_json::from_str::<Holder>(json).map(|holder| holder.list).ok();
        for (json, expected) in [
            (r#"{"list":[1,2]}"#, Some(vec![1, 2])),
            (r#"{"list":{"1":1,"7":2}}"#, Some(vec![1, 2])),
            (r#"{"list":null}"#, Some(vec![])),
            (r#"{"list":{}}"#, Some(vec![])),
            ("{\"list\":{ \n}}", Some(vec![])),
            (r#"{"list":false}"#, Some(vec![])),
            ("{}", Some(vec![])),
            (r#"{"list":{"a":1}}"#, None),
            (r#"{"list":7}"#, None),
            (r#"{"list":{"0":"x"}}"#, None),
        ] {
            assert_eq!(list(json), expected, "{json}");
        }
    }

    #[test]
    fn an_empty_list_of_php_is_an_empty_object() {
        #[derive(Deserialize)]
        struct ObjectHolder {
            #[serde(default, deserialize_with = "deserialize_object_or_empty")]
            object: Option<BTreeMap<String, u8>>,
        }
        let object = |json: &str| serde_json::from_str::<ObjectHolder>(json).map(|holder| holder.object).ok();
        for json in ["{}", r#"{"object":null}"#, r#"{"object":[]}"#, "{\"object\":[ \n]}", r#"{"object":""}"#] {
            assert_eq!(object(json), Some(None), "{json}");
        }
        assert_eq!(object(r#"{"object":{ }}"#), Some(Some(BTreeMap::new())));
        assert_eq!(object(r#"{"object":[1]}"#), None);
    }

    #[test]
    fn only_secure_links_are_links() {
        assert!(is_link("https://track.example.com/RR1"));
        for text in ["http://x.example", "javascript:alert(1)", "https://", "https://a b", "https://a\nb", "ה"] {
            assert!(!is_link(text), "{text}");
        }
    }

    #[test]
    fn a_bomb_of_brackets_is_skipped_or_refused_without_recursion() {
        let deep = format!("{{\"a\":1,\"b\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(parse_raw(&deep).at_pointer("/a").text().unwrap(), "1");
        assert!(parse_raw(&deep).at_pointer("/b/0/0/0").text().is_none());
        assert!(matches!(parse_document("[".repeat(200_000).as_bytes()), Err(JsonError::NotJson { .. })));
    }

    proptest! {
        #[test]
        fn a_pointer_finds_what_serde_json_finds(
            keys in prop::collection::vec("[ab~/0]{0,3}", 1..4),
            leaf in "[a-z]{1,5}",
        ) {
            let mut document = serde_json::Value::from(leaf.as_str());
            let mut pointer = String::new();
            for key in keys.iter().rev() {
                document = serde_json::json!({ key: document });
                pointer = format!("/{}{pointer}", key.replace('~', "~0").replace('/', "~1"));
            }
            let text = document.to_string();
            let found = parse_raw(&text).at_pointer(&pointer);
            prop_assert_eq!(found.text().unwrap(), leaf.as_str());
        }
    }
}
