//! The text of a form whose page is not UTF-8.
//!
//! A browser sends the bytes of the page's charset. It names the charset only in a field called
//! `_charset_`, if the page has one (HTML, "Form submission", 4.10.21). Other senders may name it
//! in `Content-Type`. Without a name, a detector decides by the bytes and by the form's country.
//!
//! A charset that is named and does not fit counts as not named. All fields of a form have one
//! charset, so it is chosen for all of them together. If a few bytes of UTF-8 were lost, such as
//! the end of a message that was cut, the others are still read as UTF-8. What no charset explains
//! keeps U+FFFD, and [`crate::field_search`] uses no name with it.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};

/// The field in which a browser names the charset.
const CHARSET_FIELD: &[u8] = b"_charset_";
/// The longest number of a character (`1114111`), with its semicolon.
const MAX_REFERENCE_BYTES: usize = 8;

/// A field as its bytes.
pub(crate) struct RawField {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Decodes the fields of a form. `named` is the charset that its headers name, and `country` is the
/// form's (ISO 3166-1 alpha-2).
pub(crate) fn decode_fields(fields: &[RawField], named: Option<&str>, country: &str) -> Vec<(String, String)> {
    let encoding = choose_encoding(fields, named, country);
    let decode = |bytes: &[u8]| decode_references(&encoding.decode_without_bom_handling(bytes).0);
    fields.iter().map(|field| (decode(&field.name), decode(&field.value))).collect()
}

/// The charset in a `Content-Type`.
pub(crate) fn find_charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
    })
}

fn choose_encoding(fields: &[RawField], named: Option<&str>, country: &str) -> &'static Encoding {
    let texts = || fields.iter().flat_map(|field| [&*field.name, &*field.value]);
    let fits = |encoding: &'static Encoding| {
        texts().all(|bytes| encoding.decode_without_bom_handling_and_without_replacement(bytes).is_some())
    };
    let in_form = fields.iter().find(|field| field.name.eq_ignore_ascii_case(CHARSET_FIELD));
    let in_form = in_form.and_then(|field| Encoding::for_label(&field.value));
    let in_headers = named.and_then(|label| Encoding::for_label(label.as_bytes()));
    // UTF-8 comes first, because bytes of another charset are hardly ever valid UTF-8 by accident.
    // Except that of ISO-2022-JP, which looks like ASCII.
    let named = [in_form, in_headers].into_iter().flatten().map(Encoding::output_encoding);
    let seven_bit = named.clone().filter(|encoding| !encoding.is_ascii_compatible());
    // Every byte fits a charset with one byte a character, so that it fits proves nothing.
    let strict = named.clone().filter(|encoding| !encoding.is_single_byte());
    if let Some(encoding) = seven_bit.chain([UTF_8]).chain(strict).find(|encoding| fits(encoding)) {
        return encoding;
    }
    if is_damaged_utf_8(texts(), named.clone().any(|encoding| encoding == UTF_8)) {
        return UTF_8;
    }
    if let Some(encoding) = named.into_iter().find(|encoding| fits(encoding)) {
        return encoding;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    for bytes in texts() {
        detector.feed(bytes, false);
        detector.feed(b"\n", false);
    }
    detector.feed(b"", true);
    let country = country.to_ascii_lowercase();
    // Britain's code is not its domain.
    let domain = if country == "gb" { "uk" } else { &country };
    let is_domain = domain.len() == 2 && domain.bytes().all(|byte| byte.is_ascii_lowercase());
    detector.guess(is_domain.then_some(domain.as_bytes()), Utf8Detection::Deny)
}

/// Whether texts are UTF-8 in which some bytes were lost. Two bytes of another charset are seldom a
/// character of UTF-8 by accident. So its characters must outnumber the other bytes, or be there at
/// all if the sender names UTF-8.
fn is_damaged_utf_8<'t>(texts: impl Iterator<Item = &'t [u8]>, is_named: bool) -> bool {
    let (mut characters, mut lost_bytes) = (0_usize, 0_usize);
    for chunk in texts.flat_map(<[u8]>::utf8_chunks) {
        characters += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        lost_bytes += chunk.invalid().len();
    }
    characters > if is_named { 0 } else { lost_bytes }
}

/// Decodes the numbers (`&#1504;`) that a browser writes for characters that the page's charset
/// lacks. A semicolon is searched near its number only, because a body may have many numbers
/// without one.
fn decode_references(text: &str) -> String {
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("&#") {
        decoded.push_str(before);
        let end = after.bytes().take(MAX_REFERENCE_BYTES).position(|byte| byte == b';');
        let reference = end.and_then(|end| {
            let (digits, after) = (&after[..end], &after[end + 1..]);
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            let character = char::from_u32(digits.parse().ok().filter(|_| is_number)?)?;
            (!character.is_control()).then_some((character, after))
        });
        if let Some((character, after)) = reference {
            decoded.push(character);
            rest = after;
        } else {
            decoded.push_str("&#");
            rest = after;
        }
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str, label: &str) -> Vec<u8> {
        let (bytes, _, has_errors) = Encoding::for_label(label.as_bytes()).unwrap().encode(text);
        assert!(!has_errors, "{text} in {label}");
        bytes.into_owned()
    }

    fn decode_name(name: &[u8], in_form: Option<&str>, named: Option<&str>, country: &str) -> String {
        let field = |name: &str, value: &[u8]| RawField { name: name.into(), value: value.into() };
        let mut fields = vec![field("full_name", name), field("phone", b"054-555-0406"), field("consent", b"on")];
        fields.extend(in_form.map(|charset| field("_charset_", charset.as_bytes())));
        decode_fields(&fields, named, country).swap_remove(0).1
    }

    #[test]
    fn a_name_in_an_old_charset_is_detected() {
        for (name, label, country) in [
            ("נועה לוי", "windows-1255", "IL"),
            ("נועה", "windows-1255", "IL"),
            ("אורי כהן", "windows-1255", "US"),
            ("José Müller", "windows-1252", "IL"),
            ("José", "windows-1252", "IL"),
            ("José", "windows-1252", "MX"),
            ("Müller", "windows-1252", "DE"),
            ("Jürgen Groß", "iso-8859-1", "GB"),
            ("Łukasz Żółć", "iso-8859-2", "PL"),
            ("Šárka Nováková", "windows-1250", "CZ"),
            ("Наталья Иванова", "windows-1251", "RU"),
            ("Наталья Иванова", "koi8-r", "RU"),
            ("محمد علي", "windows-1256", "AE"),
            ("Γιώργος", "windows-1253", "GR"),
            ("Gökçe Şahin", "windows-1254", "TR"),
            ("田中太郎", "shift_jis", "JP"),
            ("田中太郎", "euc-jp", "JP"),
            ("张伟", "gbk", "CN"),
            ("김철수", "euc-kr", "KR"),
        ] {
            assert_eq!(decode_name(&encode(name, label), None, None, country), name, "{label} {country}");
        }
    }

    #[test]
    fn a_named_charset_comes_before_the_detector_if_it_fits() {
        let hebrew = encode("נועה לוי", "windows-1255");
        for (in_form, in_headers) in
            [(Some("windows-1255"), None), (None, Some("Windows-1255")), (Some("iso-8859-8-i"), Some("utf-8"))]
        {
            assert_eq!(decode_name(&hebrew, in_form, in_headers, "US"), "נועה לוי", "{in_form:?} {in_headers:?}");
        }
        // A name that does not fit, and one that no charset has.
        for wrong in ["utf-8", "no-charset", ""] {
            assert_eq!(decode_name(&hebrew, Some(wrong), Some(wrong), "IL"), "נועה לוי", "{wrong}");
        }
        let utf_8 = "נועה לוי".as_bytes();
        assert_eq!(
            decode_name(utf_8, Some("windows-1255"), Some("iso-8859-1"), "IL"),
            "נועה לוי",
            "the bytes are UTF-8"
        );
        let japanese = encode("田中", "iso-2022-jp");
        assert_eq!(decode_name(&japanese, Some("ISO-2022-JP"), None, "JP"), "田中");
    }

    #[test]
    fn lost_bytes_of_utf_8_damage_only_their_own_field() {
        let decode = |message: &[u8], consent: &str, named: Option<&str>| {
            let field = |name: &str, value: &[u8]| RawField { name: name.into(), value: value.into() };
            let fields = [
                field("שם", "נועה".as_bytes()),
                field("message", message),
                field("consent", consent.as_bytes()),
                field("city", "Haifa".as_bytes()),
            ];
            let fields = decode_fields(&fields, named, "IL");
            assert_eq!((&*fields[0].0, &*fields[0].1), ("שם", "נועה"), "{named:?}");
            assert_eq!((&*fields[2].1, &*fields[3].1), (consent, "Haifa"), "{named:?}");
            fields[1].1.clone()
        };
        for named in [None, Some("utf-8"), Some("windows-1255"), Some("iso-8859-1")] {
            let message = "שלום".as_bytes();
            assert_eq!(decode(&message[..message.len() - 1], "כן", named), "שלו\u{fffd}");
            assert_eq!(decode(b"a\xffb", "כן", named), "a\u{fffd}b");
            assert_eq!(decode("😀".as_bytes().split_last().unwrap().1, "yes", named), "\u{fffd}");
        }
        // Many lost bytes, but the sender names UTF-8.
        assert_eq!(decode(&[0xff; 40], "כן", Some("utf-8")), "\u{fffd}".repeat(40));
    }

    #[test]
    fn a_few_bytes_that_are_utf_8_by_accident_prove_nothing() {
        // `Ã©` is a character of UTF-8.
        let odd = "Ã© Müller Jörg Ägäis größer";
        assert_eq!(decode_name(&encode(odd, "windows-1252"), None, None, "DE"), odd);
        assert_eq!(decode_name(&encode(odd, "windows-1252"), None, Some("iso-8859-1"), "IL"), odd);
        let chinese = encode("联通张伟", "gbk");
        assert_eq!(decode_name(&chinese, None, Some("gbk"), "IL"), "联通张伟");
    }

    #[test]
    fn characters_that_the_page_lacks_arrive_as_numbers() {
        for (text, decoded) in [
            ("&#1504;&#1493;&#1506;&#1492; L.", "נועה L."),
            (
                "A & B &# &#; &#x5d0; &#10; &#999999999; &#55357; &amp;",
                "A & B &# &#; &#x5d0; &#10; &#999999999; &#55357; &amp;",
            ),
            ("&#1114109;&#00064;&#000000064;", "\u{10fffd}@&#000000064;"),
            ("&#ה;&#12ה;&#123456ה;", "&#ה;&#12ה;&#123456ה;"),
            ("", ""),
        ] {
            assert_eq!(decode_references(text), decoded);
        }
    }

    #[test]
    fn a_charset_is_found_in_a_content_type() {
        for (content_type, charset) in [
            ("application/x-www-form-urlencoded; charset=windows-1255", Some("windows-1255")),
            ("text/plain;x=1; Charset=\"utf-8\"", Some("utf-8")),
            ("text/plain; charset=", None),
            ("text/plain", None),
            ("charset=utf-8", None),
        ] {
            assert_eq!(find_charset(content_type), charset, "{content_type}");
        }
    }
}
