//! Decodes a body into UTF-8.
//!
//! iCalendar is UTF-8 (RFC 5545, section 3.1.4). Some hosts send another character set and say so
//! in `Content-Type`, or write a byte order mark. If a host says nothing, nothing is guessed: a
//! wrong guess would put a wrong name into a message.

use encoding_rs::Encoding;

use super::{
    parse_error::{FeedParseError, MAX_BODY_BYTES},
    text_lines,
};

/// The largest decoded body, in bytes: an Asian character of two bytes has three in UTF-8.
const MAX_TEXT_BYTES: usize = 2 * MAX_BODY_BYTES;

/// Decodes and unfolds a body. `declared` is the character set in the response's `Content-Type`.
/// Bytes that belong to no known character set stay as they are.
pub(super) fn decode_body(mut body: Vec<u8>, declared: Option<&str>) -> Result<Vec<u8>, FeedParseError> {
    let declared = declared.and_then(|label| Encoding::for_label(label.as_bytes()));
    let (encoding, mark_length) = match Encoding::for_bom(&body) {
        Some((encoding, length)) => (Some(encoding), length),
        None => (find_wide_encoding(&body).or(declared), 0),
    };
    body.drain(..mark_length);
    match encoding {
        // Lines are folded at any byte, so these cannot be unfolded before they are decoded.
        Some(encoding) if !encoding.is_ascii_compatible() => {
            decode(&body, encoding).map(|text| text_lines::unfold_lines(text.into_bytes()))
        }
        Some(encoding) => {
            let text = text_lines::unfold_lines(body);
            // Some hosts declare ISO-8859-1 for every file. Such a text is hardly ever valid UTF-8.
            if std::str::from_utf8(&text).is_ok() { Ok(text) } else { decode(&text, encoding).map(String::into_bytes) }
        }
        None => Ok(text_lines::unfold_lines(body)),
    }
}

/// UTF-16 without a byte order mark, by the zeros in its first characters.
fn find_wide_encoding(body: &[u8]) -> Option<&'static Encoding> {
    match body {
        [b'B' | b'b', 0, ..] => Some(encoding_rs::UTF_16LE),
        [0, b'B' | b'b', ..] => Some(encoding_rs::UTF_16BE),
        _ => None,
    }
}

fn decode(bytes: &[u8], encoding: &'static Encoding) -> Result<String, FeedParseError> {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    if text.len() > MAX_TEXT_BYTES { Err(FeedParseError::TooLarge) } else { Ok(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "BEGIN:VCALENDAR\nSUMMARY:תור - נועה\n";

    fn decoded(body: &[u8], declared: Option<&str>) -> String {
        String::from_utf8_lossy(&decode_body(body.to_vec(), declared).unwrap()).into_owned()
    }

    fn utf_16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn a_body_is_decoded_as_its_mark_or_its_host_says() {
        let hebrew = encoding_rs::WINDOWS_1255.encode(TEXT).0.into_owned();
        for label in ["windows-1255", "Windows-1255", " cp1255 "] {
            assert_eq!(decoded(&hebrew, Some(label)), TEXT, "{label}");
        }
        assert_eq!(decoded(&encoding_rs::ISO_8859_8.encode(TEXT).0, Some("iso-8859-8-i")), TEXT);
        let japanese = TEXT.replace("תור - נועה", "予約");
        assert_eq!(decoded(&encoding_rs::SHIFT_JIS.encode(&japanese).0, Some("shift_jis")), japanese);
        assert_eq!(decoded(&encoding_rs::ISO_2022_JP.encode(&japanese).0, Some("iso-2022-jp")), japanese);
        let with_mark = format!("\u{feff}{TEXT}");
        assert_eq!(decoded(with_mark.as_bytes(), None), TEXT);
        assert_eq!(decoded(with_mark.as_bytes(), Some("windows-1255")), TEXT, "the mark counts");
        for text in [TEXT, &with_mark] {
            assert_eq!(decoded(&utf_16(text, u16::to_le_bytes), Some("utf-8")), TEXT);
            assert_eq!(decoded(&utf_16(text, u16::to_be_bytes), None), TEXT);
        }
    }

    #[test]
    fn text_in_utf_8_stays_whatever_the_host_says() {
        for label in [None, Some("iso-8859-1"), Some("windows-1255"), Some("klingon"), Some("")] {
            assert_eq!(decoded(TEXT.as_bytes(), label), TEXT, "{label:?}");
        }
    }

    #[test]
    fn lines_are_unfolded_in_every_character_set() {
        for cut in 0..TEXT.len() - 1 {
            let folded = [&TEXT.as_bytes()[..cut], b"\r\n ", &TEXT.as_bytes()[cut..]].concat();
            assert_eq!(decoded(&folded, Some("iso-8859-1")), TEXT, "{cut}");
        }
        let folded = TEXT.replace("נועה", "נו\r\n עה");
        assert_eq!(decoded(&encoding_rs::WINDOWS_1255.encode(&folded).0, Some("windows-1255")), TEXT);
        assert_eq!(decoded(&utf_16(&folded, u16::to_le_bytes), None), TEXT);
    }

    #[test]
    fn bytes_of_no_known_character_set_stay() {
        let hebrew = encoding_rs::WINDOWS_1255.encode(TEXT).0.into_owned();
        for label in [None, Some("klingon"), Some("utf-8")] {
            assert!(decoded(&hebrew, label).contains('\u{fffd}'), "{label:?}");
        }
        let wide = [&b"B\0"[..], &0x0915_u16.to_le_bytes().repeat(3 << 20)].concat();
        assert!(decode_body(wide, None).is_ok());
        assert_eq!(decode_body(vec![0x80; 6 << 20], Some("windows-1252")), Err(FeedParseError::TooLarge));
    }
}
