//! The parts of a `Content-Type`: the media type and the charset. Source: RFC 9110, section 8.3.

/// The media type in lower case, without its parameters: `text/calendar`. Also of a range in
/// `Accept`.
pub fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The charset that it names: `text/calendar; charset="windows-1255"`.
pub fn find_charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_no_parameters_and_no_capitals() {
        for (content_type, expected) in [
            ("application/json", "application/json"),
            (" Text/Calendar ; charset=utf-8", "text/calendar"),
            ("text/html;q=0.5", "text/html"),
            ("", ""),
        ] {
            assert_eq!(media_type(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn a_charset_is_a_parameter_of_the_content_type() {
        for (content_type, charset) in [
            ("application/x-www-form-urlencoded; charset=windows-1255", Some("windows-1255")),
            ("text/calendar; charset=windows-1255", Some("windows-1255")),
            ("text/calendar;method=PUBLISH; CHARSET=\"iso-8859-8\"", Some("iso-8859-8")),
            ("text/plain;x=1; Charset=\"utf-8\"", Some("utf-8")),
            ("text/calendar; charset", None),
            ("text/plain; charset=", None),
            ("text/plain", None),
            ("text/calendar", None),
            ("charset=utf-8", None),
        ] {
            assert_eq!(find_charset(content_type), charset, "{content_type}");
        }
    }
}
