//! Gives a recorded body new ids, times and values.
//!
//! It works on the text and not on parsed JSON, because senders sign bytes. So a sender's JSON
//! style stays.

use anyhow::Context as _;
use jiff::civil::{Date, DateTime};
use rand::Rng as _;
use serde_json::{Map, Value};

/// Replaces all pairs in one pass, so inserted text is not replaced again.
pub fn replace_all(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut swapped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((from, to)) = pairs.iter().find(|(from, _)| rest.starts_with(from)) {
            swapped.push_str(to);
            rest = &rest[from.len()..];
        } else {
            swapped.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    swapped
}

/// Moves every date and time in the text by the same number of seconds. An offset and fractions of
/// a second stay. Dates without a time move by whole days.
pub fn shift_times(text: &str, seconds: i64) -> String {
    let mut shifted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        shifted.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some((time, after)) = split_time_prefix::<DateTime>(rest, 19, b'T') {
            shifted.push_str(&time.saturating_add(jiff::Span::new().seconds(seconds)).strftime("%FT%T").to_string());
            rest = after;
        } else if let Some((date, after)) = split_time_prefix::<Date>(rest, 10, b'-') {
            let days = jiff::Span::new().days(seconds.div_euclid(86_400));
            shifted.push_str(&date.saturating_add(days).to_string());
            rest = after;
        } else {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            shifted.push_str(&rest[..digits]);
            rest = &rest[digits..];
        }
    }
    shifted.push_str(rest);
    shifted
}

/// The date or time at the start of the text. `separator` tells `2026-11-18T…` and a lone
/// `2026-11-18` apart.
fn split_time_prefix<T: std::str::FromStr>(text: &str, length: usize, separator: u8) -> Option<(T, &str)> {
    let head = text.get(..length)?;
    let bytes = head.as_bytes();
    let shaped = bytes[4] == b'-' && bytes[7] == b'-' && (separator == b'-' || bytes[10] == separator);
    if !shaped {
        return None;
    }
    Some((head.parse().ok()?, &text[length..]))
}

/// Hex digits for a new id.
pub fn random_hex(digits: usize) -> String {
    let mut rng = rand::rng();
    (0..digits).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect()
}

/// Puts a value at a JSON pointer, and creates the objects on the way.
pub fn put_at_pointer(document: &mut Value, pointer: &str, value: Value) {
    let mut target = document;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !target.is_object() {
            *target = Value::Object(Map::new());
        }
        target = &mut target[part];
    }
    *target = value;
}

/// Seconds since 1970 of a recorded time, `…+02:00` or `…Z`.
///
/// # Errors
///
/// If the text is not a time.
pub fn parse_seconds(time: &str) -> anyhow::Result<i64> {
    let at: jiff::Timestamp = time.parse().with_context(|| format!("{time} is not a time"))?;
    Ok(at.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_times_shift_together_and_stay_in_their_format() {
        let text = r#"{"at":"2026-11-18T10:15:02+02:00","gmt":"2026-11-18T08:15:02","z":"2026-11-19T10:00:00.000000Z","until":"2026-11-26","id":5223452934372,"v":"2026-10","tel":"054-555-0199"}"#;
        let day = 86_400;
        let moved = shift_times(text, 3 * day + 60);
        assert_eq!(
            moved,
            r#"{"at":"2026-11-21T10:16:02+02:00","gmt":"2026-11-21T08:16:02","z":"2026-11-22T10:01:00.000000Z","until":"2026-11-29","id":5223452934372,"v":"2026-10","tel":"054-555-0199"}"#
        );
        assert_eq!(shift_times(text, 0), text);
    }

    #[test]
    fn a_replacement_is_not_replaced_again() {
        assert_eq!(replace_all("a→b, b→a", &[("a", "b"), ("b", "a")]), "b→a, a→b");
    }

    #[test]
    fn text_of_any_script_passes_unharmed() {
        assert_eq!(shift_times("שלום 2026-1 ₪12 — ‏2026", 5), "שלום 2026-1 ₪12 — ‏2026");
    }
}
