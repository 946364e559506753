//! Searches the body of a delivery as text, whatever its format.

use serde_json::Value as Json;

/// How deep documents inside documents are read.
const MAX_DEPTH: u8 = 8;

/// Whether a text of a body is one that `is_wanted` finds: a value, a name, or a part of a body
/// that is not JSON.
pub(super) fn body_mentions(body: &[u8], is_wanted: &impl Fn(&str) -> bool) -> bool {
    if let Ok(document) = serde_json::from_slice::<Json>(body) {
        return json_mentions(&document, is_wanted, MAX_DEPTH);
    }
    // UTF-16 has a zero beside each digit.
    let bytes: Vec<u8> = body.iter().copied().filter(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&bytes);
    is_wanted(&text) || is_wanted(&decode_form(&text))
}

fn json_mentions(value: &Json, is_wanted: &impl Fn(&str) -> bool, depth: u8) -> bool {
    let Some(deeper) = depth.checked_sub(1) else { return is_wanted(&value.to_string()) };
    match value {
        Json::Null | Json::Bool(_) => false,
        Json::Number(number) => is_wanted(&number.to_string()),
        Json::String(text) => {
            let nested = text.starts_with(['{', '[']).then(|| serde_json::from_str::<Json>(text).ok()).flatten();
            is_wanted(text) || nested.is_some_and(|nested| json_mentions(&nested, is_wanted, deeper))
        }
        Json::Array(list) => list.iter().any(|element| json_mentions(element, is_wanted, deeper)),
        Json::Object(members) => {
            members.iter().any(|(name, value)| is_wanted(name) || json_mentions(value, is_wanted, deeper))
        }
    }
}

/// A form's text without its encoding: `%2B972` and `052+555`.
fn decode_form(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::Phone;

    #[test]
    fn a_number_is_found_in_bodies_of_every_format() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        let finds = |body: &[u8]| body_mentions(body, &|text: &str| phone.occurs_in(text));
        let utf16: Vec<u8> = "<Tel>054-5550199</Tel>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for body in [
            br#"{"customer": {"phone": "\u002b972 54-555-0199"}}"#.as_slice(),
            br#"[{"from": 972545550199}]"#,
            br#"{"raw": "{\"q5_phone\": {\"full\": \"(054) 555-0199\"}}"}"#,
            b"name=Noa&phone=%2B972545550199",
            b"phone=054+555+0199",
            b"--x\r\nContent-Disposition: form-data; name=\"phone\"\r\n\r\n0545550199\r\n--x--",
            &utf16,
            b"\xff\xfe broken 0545550199",
        ] {
            assert!(finds(body), "{}", String::from_utf8_lossy(body));
        }
        assert!(!finds(br#"{"id": 820982911946154508, "phone": "0545550198"}"#) && !finds(b"") && !finds(b"%"));
    }
}
