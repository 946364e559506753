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

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use tellonce_core::content_type::find_charset;

use crate::undeclared_charset;

/// The field in which a browser names the charset.
const CHARSET_FIELD: &[u8] = b"_charset_";
/// The longest number of a character (`1114111`), with its semicolon.
const MAX_REFERENCE_BYTES: usize = 8;

/// A field as its bytes.
pub(crate) struct RawField {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// The charset that its own part of the body names.
    pub(crate) charset: Option<String>,
}

/// What is known of a form beside its bytes.
#[derive(Clone, Copy)]
pub(crate) struct FormOrigin<'a> {
    /// The charset that the headers name.
    pub(crate) charset: Option<&'a str>,
    /// The client's languages, as tags.
    pub(crate) languages: &'a [String],
    /// The form's country, ISO 3166-1 alpha-2.
    pub(crate) country: &'a str,
}

/// Decodes the fields of a form.
pub(crate) fn decode_fields(fields: &[RawField], origin: FormOrigin<'_>) -> Vec<(String, String)> {
    let own: Vec<Option<&'static Encoding>> = fields.iter().map(find_own_encoding).collect();
    let without: Vec<&RawField> = fields.iter().zip(&own).filter(|(_, own)| own.is_none()).map(|(it, _)| it).collect();
    let common = choose_encoding(&without, origin);
    let decode = |bytes: &[u8], encoding: Option<&'static Encoding>| {
        decode_references(&encoding.unwrap_or(UTF_8).decode_without_bom_handling(bytes).0)
    };
    let decode_field = |(field, own): (&RawField, Option<&'static Encoding>)| {
        let name = decode(&field.name, own.filter(|own| own.is_ascii_compatible()).or(common));
        let value = decode(&field.value, own.or(common));
        (name, if own.is_some() { value.trim().to_owned() } else { value })
    };
    fields.iter().zip(own).map(decode_field).collect()
}

/// The charset that a field's own part names, if the field has one and it fits.
fn find_own_encoding(field: &RawField) -> Option<&'static Encoding> {
    let named = Encoding::for_label(field.charset.as_deref()?.as_bytes())?;
    let value = &field.value;
    let is_wide = !named.is_ascii_compatible();
    // Text that looks like ASCII has none of the bytes that these charsets need.
    let is_ascii = value.is_ascii() && !value.iter().any(|byte| matches!(byte, 0 | 0x1b));
    let candidates = if is_wide && !is_ascii { [named, UTF_8] } else { [UTF_8, named] };
    candidates.into_iter().find(|encoding| fits(encoding, value))
}

/// Whether bytes can be of a charset. Every byte fits windows-1252, so its text must look like one.
fn fits(encoding: &'static Encoding, bytes: &[u8]) -> bool {
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .is_some_and(|text| encoding != WINDOWS_1252 || undeclared_charset::is_plausible_latin(&text))
}

/// The body of a JSON document as UTF-8, if `content_type` names its charset or a byte order mark
/// does. JSON itself allows only UTF-8 between systems (RFC 8259, 8.1).
pub(crate) fn recode_json<'b>(body: &'b [u8], content_type: &str) -> Cow<'b, [u8]> {
    let has_json = content_type.to_ascii_lowercase().contains("json");
    let from_label = || Encoding::for_label(find_charset(content_type)?.as_bytes());
    let by_mark = Encoding::for_bom(body).map(|(encoding, _)| encoding).filter(|encoding| *encoding != UTF_8);
    let is_utf_8 = std::str::from_utf8(body).is_ok_and(|text| !text.contains('\0'));
    let encoding = by_mark.or_else(|| from_label().filter(|_| has_json && !is_utf_8));
    let recoded = encoding.and_then(|encoding| {
        let (text, _, has_errors) = encoding.decode(body);
        (!has_errors).then(|| text.into_owned().into_bytes())
    });
    recoded.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// The charset of the fields that name none of their own; `None` if it is not sure.
fn choose_encoding(fields: &[&RawField], origin: FormOrigin<'_>) -> Option<&'static Encoding> {
    let texts = || fields.iter().flat_map(|field| [&*field.name, &*field.value]);
    let fits = |encoding: &'static Encoding| texts().all(|bytes| fits(encoding, bytes));
    let in_form = fields.iter().find(|field| field.name.eq_ignore_ascii_case(CHARSET_FIELD));
    let in_form = in_form.and_then(|field| Encoding::for_label(&field.value));
    let in_headers = origin.charset.and_then(|label| Encoding::for_label(label.as_bytes()));
    // UTF-8 comes first, because bytes of another charset are hardly ever valid UTF-8 by accident.
    // Except that of ISO-2022-JP, which looks like ASCII.
    let named = [in_form, in_headers].into_iter().flatten().map(Encoding::output_encoding);
    let seven_bit = named.clone().filter(|encoding| !encoding.is_ascii_compatible());
    // Every byte fits a charset with one byte a character, so that it fits proves nothing.
    let strict = named.clone().filter(|encoding| !encoding.is_single_byte());
    if let Some(encoding) = seven_bit.chain([UTF_8]).chain(strict).find(|encoding| fits(encoding)) {
        return Some(encoding);
    }
    if is_damaged_utf_8(texts(), named.clone().any(|encoding| encoding == UTF_8)) {
        return Some(UTF_8);
    }
    if let Some(encoding) = named.into_iter().find(|encoding| fits(encoding)) {
        return Some(encoding);
    }
    undeclared_charset::find_encoding(&texts().collect::<Vec<_>>(), origin.languages, origin.country)
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
pub(crate) mod tests {
    use super::*;

    pub(crate) fn encode(text: &str, label: &str) -> Vec<u8> {
        let (bytes, _, has_errors) = Encoding::for_label(label.as_bytes()).unwrap().encode(text);
        assert!(!has_errors, "{text} in {label}");
        bytes.into_owned()
    }

    fn decode_name(name: &[u8], in_form: Option<&str>, named: Option<&str>, country: &str) -> String {
        let field = |name: &str, value: &[u8]| RawField { name: name.into(), value: value.into(), charset: None };
        let mut fields = vec![field("full_name", name), field("phone", b"054-555-0406"), field("consent", b"on")];
        fields.extend(in_form.map(|charset| field("_charset_", charset.as_bytes())));
        decode_fields(&fields, FormOrigin { charset: named, languages: &[], country }).swap_remove(0).1
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
            let field = |name: &str, value: &[u8]| RawField { name: name.into(), value: value.into(), charset: None };
            let fields = [
                field("שם", "נועה".as_bytes()),
                field("message", message),
                field("consent", consent.as_bytes()),
                field("city", "Haifa".as_bytes()),
            ];
            let fields = decode_fields(&fields, FormOrigin { charset: named, languages: &[], country: "IL" });
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
        for named in [None, Some("iso-8859-1")] {
            let read = decode_name(&encode(odd, "windows-1252"), None, named, "DE");
            assert!(read == odd || read.contains(char::REPLACEMENT_CHARACTER), "{named:?}: {read}");
        }
        let usual = encode("Jörg Müller", "windows-1252");
        assert_eq!(decode_name(&usual, None, None, "DE"), "Jörg Müller");
        let chinese = encode("联通张伟", "gbk");
        assert_eq!(decode_name(&chinese, None, Some("gbk"), "IL"), "联通张伟");
    }

    #[test]
    fn a_latin_charset_does_not_fit_words_of_another_script() {
        for (name, label) in [("נועה לוי", "windows-1255"), ("טל", "windows-1255"), ("José", "windows-1252")]
        {
            assert_eq!(decode_name(&encode(name, label), None, Some("iso-8859-1"), "IL"), name, "{label}");
        }
    }

    #[test]
    fn a_charset_that_is_not_sure_loses_the_letters() {
        for (name, label, country) in [("Zdeněk Ö", "windows-1250", "DE"), ("Олег", "windows-1251", "US")] {
            let read = decode_name(&encode(name, label), None, None, country);
            assert!(read == name || read.contains(char::REPLACEMENT_CHARACTER), "{read}");
        }
    }

    #[test]
    fn each_part_is_read_in_its_own_charset() {
        let part = |value: Vec<u8>, charset: Option<&str>| {
            let charset = charset.map(str::to_owned);
            RawField { name: b"field".to_vec(), value, charset }
        };
        let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let fields = [
            part(encode("נועה לוי", "windows-1255"), Some("windows-1255")),
            part(b"054-555-0199".to_vec(), Some("ISO-8859-1")),
            part(encode("Иван", "windows-1251"), Some("windows-1251")),
            part("שלום".into(), Some("windows-1255")),
            part("Zoë".into(), None),
            part(utf_16("נועה לוי"), Some("utf-16le")),
            part(utf_16("Noa"), Some("utf-16le")),
            part(b"Noa1".to_vec(), Some("utf-16le")),
        ];
        let fields = decode_fields(&fields, FormOrigin { charset: None, languages: &[], country: "IL" });
        let values: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["נועה לוי", "054-555-0199", "Иван", "שלום", "Zoë", "נועה לוי", "Noa", "Noa1"]);
    }

    #[test]
    fn a_json_body_is_recoded_if_its_charset_is_known() {
        let json = r#"{"full_name":"נועה"}"#;
        let utf_16 = |mark: &str, to_bytes: fn(u16) -> [u8; 2]| {
            format!("{mark}{json}").encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>()
        };
        for (body, content_type) in [
            (json.as_bytes().to_vec(), "application/json"),
            (json.as_bytes().to_vec(), "application/json; charset=windows-1255"),
            (encode(json, "windows-1255"), "application/json; charset=windows-1255"),
            (utf_16("", u16::to_le_bytes), "application/json; charset=utf-16le"),
            (utf_16("", u16::to_be_bytes), "application/json; charset=\"UTF-16BE\""),
            (utf_16("\u{feff}", u16::to_le_bytes), "application/json"),
            (utf_16("\u{feff}", u16::to_be_bytes), "text/plain"),
        ] {
            assert_eq!(&*recode_json(&body, content_type), json.as_bytes(), "{content_type}");
        }
        let latin = encode(r#"{"name":"Zoë"}"#, "iso-8859-1");
        assert_eq!(&*recode_json(&latin, "application/json; charset=iso-8859-1"), r#"{"name":"Zoë"}"#.as_bytes());
        for content_type in ["application/json", "application/json; charset=utf-8", "application/json; charset=x"] {
            assert_eq!(&*recode_json(&latin, content_type), latin, "{content_type}");
        }
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
}
