//! The values that several tables of `client.toml` share: times, spans, names, pointers, templates.

use std::{collections::BTreeMap, str::FromStr};

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// A time of day to the minute, written `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub jiff::civil::Time);

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        jiff::civil::Time::strptime("%H:%M", &text)
            .map(Self)
            .map_err(|_| de::Error::custom(format!("`{text}` is not a time of day; write it like \"21:30\"")))
    }
}

/// The default id scope. Its keys do not contain it: `order:{id}:{stage}`,
/// `appointment:{id}:{stage}`.
pub const MAIN_ID_SCOPE: &str = "main";

/// A JSON pointer (RFC 6901), such as `/data/orderId` or `/items/0/id`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// The value in the document; `None` if it is absent.
    pub fn find_in<'a>(&self, document: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        document.pointer(&self.0)
    }

    /// The pointer as written in `client.toml`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for JsonPointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with('/') {
            Ok(Self(text))
        } else {
            Err(de::Error::custom(format!("`{text}` is not a JSON pointer; start it with `/`, like \"/data/orderId\"")))
        }
    }
}

/// The templates of a message, reminder or acknowledgement.
#[derive(Debug, Clone, Copy)]
pub struct MessageTemplates<'a> {
    /// The text by language, a template.
    pub text: &'a BTreeMap<String, String>,
    /// A button that opens a link.
    pub button: Option<&'a ButtonTemplate>,
    /// The variable that holds the link of a document.
    pub document: Option<&'a str>,
}

/// A button below the text that opens a link. It is left out if its variable has no value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ButtonTemplate {
    /// The variable that holds the link, such as `tracking_url`.
    pub url: String,
    /// The label by language, a Jinja template. At most 20 characters.
    pub text: BTreeMap<String, String>,
}

/// A span of time in minutes, hours or days: `"90m"`, `"48h"`, `"3d"`. At most 3650 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub SignedDuration);

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse_error = || format!("`{text}` is not a span of time; write it like \"90m\", \"48h\" or \"3d\"");
        let unit = text.chars().last().ok_or_else(parse_error)?;
        let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| parse_error())?;
        let minutes = match unit {
            'm' => Some(count),
            'h' => count.checked_mul(60),
            'd' => count.checked_mul(60 * 24),
            _ => None,
        };
        match minutes {
            Some(minutes @ 1..=5_256_000) => Ok(Self(SignedDuration::from_mins(minutes))),
            _ => Err(parse_error()),
        }
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whether a name can be part of URLs, secret names and keys: at most `longest` lower-case letters,
/// digits, `-` and `_`, with a letter or digit first.
pub fn is_plain_name(name: &str, longest: usize) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    name.len() <= longest
        && name.bytes().all(inside)
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_parsed_or_rejected_with_an_explanation() {
        assert_eq!("90m".parse(), Ok(TimeSpan(SignedDuration::from_mins(90))));
        assert_eq!("3d".parse(), Ok(TimeSpan(SignedDuration::from_hours(72))));
        for wrong in ["", "h", "0h", "-1h", "1.5h", "9999999999999d", "3w", "٣d", "5é"] {
            assert!(wrong.parse::<TimeSpan>().is_err(), "{wrong}");
        }
    }
}
