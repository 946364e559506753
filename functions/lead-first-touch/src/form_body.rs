//! Parses a body in any of the three encodings of a form: JSON, urlencoded, or multipart.
//!
//! Nested JSON becomes dotted names (`contact.phone`). The brackets of PHP become the same
//! (`contact[phone]`).
//!
//! No body makes this module panic or recurse deeply. No error quotes the body.
//!
//! A body that starts like JSON is parsed as JSON whatever its `Content-Type`: many hand-made
//! senders omit the header, and no urlencoded or multipart body begins with a brace.

use std::{borrow::Cow, convert::Infallible};

use futures::{FutureExt as _, stream};
use multer::Multipart;
use tellonce_core::{
    client_config::FormConfig,
    content_type::find_charset,
    inbox,
    json::{self, RawJson},
};

use crate::{
    charset::{self, FormOrigin, RawField},
    field_search,
    lead::LeadDelivery,
    lead_outcome::LeadSkipReason,
    submission::{MAX_FIELDS, MAX_NAME_BYTES, SubmittedField, field_values},
};

/// JSON nested deeper than this is ignored.
const MAX_DEPTH: usize = 8;

/// A body after its syntax was parsed.
pub(crate) enum FormBody<'a> {
    /// A JSON document.
    Json(RawJson<'a>),
    /// The pairs of a form, in their order.
    Pairs(Vec<(String, String)>),
}

/// Parses the body of a delivery.
pub(crate) fn parse_body<'a>(delivery: &LeadDelivery<'a>) -> Result<FormBody<'a>, LeadSkipReason> {
    let content_type = inbox::find_header(delivery.headers, "content-type").unwrap_or_default();
    let is = |kind: &str| content_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    if is("multipart/") {
        return parse_multipart(content_type, delivery).map(FormBody::Pairs);
    }
    let first_byte = delivery.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(delivery.body).trim_ascii_start().first();
    if matches!(first_byte, Some(b'{' | b'[')) || is("application/json") {
        return json::parse_document(delivery.body).map(FormBody::Json).map_err(LeadSkipReason::NotUnderstood);
    }
    let fields = parse_urlencoded(delivery.body);
    Ok(FormBody::Pairs(charset::decode_fields(&fields, origin_of(delivery, content_type))))
}

fn origin_of<'d>(delivery: &LeadDelivery<'d>, content_type: &'d str) -> FormOrigin<'d> {
    let charset = find_charset(content_type);
    FormOrigin { charset, languages: &delivery.config.languages, country: delivery.country() }
}

/// The fields of a body that is one object or one form. A list of objects that may be leads is
/// refused, at the top or nested.
pub(crate) fn parse_fields(delivery: &LeadDelivery<'_>) -> Result<Vec<SubmittedField>, LeadSkipReason> {
    let fields = match parse_body(delivery)? {
        FormBody::Json(document) if document.list_elements().is_some() => return Err(LeadSkipReason::List),
        FormBody::Json(document) => parse_single_lead(document, delivery.form)?,
        FormBody::Pairs(pairs) => merge_pairs(pairs),
    };
    if fields.is_empty() { Err(LeadSkipReason::missing_field("the body")) } else { Ok(fields) }
}

/// The fields of an object about one lead. An object that contains a list of further leads is
/// refused.
pub(crate) fn parse_single_lead(object: RawJson<'_>, form: &FormConfig) -> Result<Vec<SubmittedField>, LeadSkipReason> {
    let mut collector = FieldCollector { fields: Vec::new(), single_lead_form: Some(form) };
    collector.add_value(object, "", 0)?;
    Ok(collector.fields)
}

/// The fields of any JSON value.
pub(crate) fn flatten_json(document: RawJson<'_>) -> Vec<SubmittedField> {
    let mut collector = FieldCollector { fields: Vec::new(), single_lead_form: None };
    collector.add_value(document, "", 0).unwrap_or_default();
    collector.fields
}

/// The fields of a form's pairs. Pairs with the same name become one field with several values.
pub(crate) fn merge_pairs(pairs: Vec<(String, String)>) -> Vec<SubmittedField> {
    let mut fields: Vec<SubmittedField> = Vec::new();
    for (name, value) in pairs {
        let path = to_dotted_path(&name).map(Cow::Owned);
        let field = SubmittedField::new([Cow::Borrowed(&*name)].into_iter().chain(path), vec![value]);
        match fields.iter_mut().find(|existing| existing.names == field.names) {
            Some(known) => known.values.extend(field.values),
            None => fields.push(field),
        }
    }
    fields.retain(|field| !field.names.is_empty());
    fields
}

/// Converts `contact[phone]` to `contact.phone` and `choices[]` to `choices`. Returns `None` for a
/// name without brackets.
fn to_dotted_path(name: &str) -> Option<String> {
    let (first, rest) = name.strip_suffix(']')?.split_once('[')?;
    let steps = [first].into_iter().chain(rest.split("][")).filter(|step| !step.is_empty());
    Some(steps.collect::<Vec<_>>().join("."))
}

/// The fields of an urlencoded body, in its bytes (URL Standard, "application/x-www-form-urlencoded
/// parsing").
///
/// A `+` that the sender did not escape arrives as a space. The space before a number is kept here,
/// so that [`field_search`] can restore the plus.
fn parse_urlencoded(body: &[u8]) -> Vec<RawField> {
    let decode = |part: &[u8]| -> Vec<u8> {
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        percent_encoding::percent_decode(&spaced).collect()
    };
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).take(MAX_FIELDS);
    pairs
        .map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let [name, value] = [parts.next(), parts.next()].map(|part| decode(part.unwrap_or_default()));
            RawField { name, value: value.trim_ascii_end().to_vec(), charset: None }
        })
        .collect()
}

/// The pairs of a multipart body. Files are skipped.
fn parse_multipart(content_type: &str, delivery: &LeadDelivery<'_>) -> Result<Vec<(String, String)>, LeadSkipReason> {
    let body = delivery.body;
    let not_understood = || LeadSkipReason::missing_field("the parts of the body");
    let boundary = multer::parse_boundary(content_type).map_err(|_| LeadSkipReason::missing_field("the boundary"))?;
    let body_stream = stream::iter([Ok::<_, Infallible>(body.to_vec())]);
    let mut parts = Multipart::new(body_stream, boundary);
    let read = async {
        let mut fields = Vec::new();
        while let Some(part) = parts.next_field().await? {
            let header = |name: &str| part.headers().get(name).map(|value| value.as_bytes().to_vec());
            let disposition = header("content-disposition").unwrap_or_default();
            let is_file = ["filename", "filename*"].iter().any(|name| find_parameter(&disposition, name).is_some());
            let own_type = header("content-type").and_then(|written| String::from_utf8(written).ok());
            if let (Some(name), false) = (find_parameter(&disposition, "name"), is_file)
                && fields.len() < MAX_FIELDS
            {
                let charset = own_type.as_deref().and_then(find_charset).map(str::to_owned);
                let (name, value) = (name.to_vec(), part.bytes().await?);
                // White space of UTF-16 has two bytes.
                let value = if charset.is_some() { value.to_vec() } else { value.trim_ascii().to_vec() };
                fields.push(RawField { name, value, charset });
            }
        }
        Ok::<_, multer::Error>(charset::decode_fields(&fields, origin_of(delivery, content_type)))
    };
    // The whole body is in memory, so the future is ready at once. Only a body without an end would
    // wait for more. The error may quote a field name, which strangers choose.
    read.now_or_never().and_then(Result::ok).ok_or_else(not_understood)
}

/// A parameter of a `Content-Disposition`, in its bytes: a browser writes names in the charset of
/// the page, and `"` as `%22` (HTML, "Multipart form data").
fn find_parameter<'h>(header: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let mut rest = header;
    while let Some(at) = rest.iter().position(|byte| *byte == b';') {
        rest = rest[at + 1..].trim_ascii_start();
        let start = rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
        let value = rest.get(name.len()..).filter(|_| start).map(<[u8]>::trim_ascii_start);
        let Some(value) = value.and_then(|value| value.strip_prefix(b"=")).map(<[u8]>::trim_ascii_start) else {
            // A separator in a quoted text ends nothing.
            let quoted = rest.iter().position(|byte| matches!(byte, b'"' | b';'));
            if let Some(open) = quoted.filter(|open| rest[*open] == b'"') {
                let close = rest[open + 1..].iter().position(|byte| *byte == b'"')?;
                rest = &rest[open + 1 + close..];
            }
            continue;
        };
        return match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.iter().position(|byte| *byte == b'"').map(|end| &quoted[..end]),
            None => value.split(|byte| matches!(byte, b';' | b' ')).next(),
        };
    }
    None
}

/// The fields of a JSON value, collected recursively.
struct FieldCollector<'f> {
    fields: Vec<SubmittedField>,
    /// The form, if the value must describe one lead.
    single_lead_form: Option<&'f FormConfig>,
}

impl FieldCollector<'_> {
    /// Adds the fields of `value`, whose own name is `path`.
    fn add_value(&mut self, value: RawJson<'_>, path: &str, depth: usize) -> Result<(), LeadSkipReason> {
        // A long path would be copied for each of its members.
        if depth > MAX_DEPTH || self.fields.len() >= MAX_FIELDS || path.len() > MAX_NAME_BYTES {
            return Ok(());
        }
        let child_path = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
        if let Some(members) = value.object_members() {
            for (name, value) in members {
                self.add_value(value, &child_path(&name), depth + 1)?;
            }
            // It may be a list of answers, as PHP writes one.
            self.add_field(value, path);
            return Ok(());
        }
        if let Some(elements) = value.list_elements() {
            for (index, element) in elements.into_iter().enumerate() {
                let Some(members) = element.object_members() else { continue };
                if self
                    .single_lead_form
                    .is_some_and(|form| members.iter().any(|(name, _)| field_search::is_phone_field(form, name)))
                {
                    return Err(LeadSkipReason::List);
                }
                self.add_value(element, &child_path(&index.to_string()), depth + 1)?;
            }
        }
        self.add_field(value, path);
        Ok(())
    }

    fn add_field(&mut self, value: RawJson<'_>, path: &str) {
        let field = SubmittedField::new([Cow::Borrowed(path)], field_values(value));
        let is_other_object = field.values.is_empty() && value.object_members().is_some();
        if !(field.names.is_empty() || is_other_object) {
            self.fields.push(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_path_segments() {
        for (name, path) in [
            ("contact[phone]", Some("contact.phone")),
            ("fields[a][raw_value]", Some("fields.a.raw_value")),
            ("choices[]", Some("choices")),
            ("phone", None),
            ("a]", None),
            ("a[b", None),
        ] {
            assert_eq!(to_dotted_path(name).as_deref(), path, "{name}");
        }
    }

    #[test]
    fn answers_that_arrive_as_an_object_with_numbers_are_a_list() {
        let fields = |json: &str| {
            let fields = flatten_json(json::parse_document(json.as_bytes()).unwrap());
            let shown = fields.iter().map(|field| format!("{}={}", field.primary_name(), field.values.join("+")));
            shown.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(fields(r#"{"ok":{"0":"a","2":"yes"}}"#), "ok.0=a ok.2=yes ok=a+yes");
        assert_eq!(fields(r#"{"ok":["a","yes"]}"#), "ok=a+yes");
        assert_eq!(fields(r#"{"name":{"first":"Noa"},"1":"x","3":"y"}"#), "name.first=Noa 1=x 3=y");
        assert_eq!(fields(r#"{"1":"x","3":"y"}"#), "1=x 3=y", "the numbers of a form's fields");
    }

    #[test]
    fn an_urlencoded_body_has_the_pairs_that_the_url_standard_says() {
        for body in ["a=1&b=2", "&&a&=b&a=b=c&", "a+b=%2B+%zz%4", "%D7%90=%d7%91&a=%00", ""] {
            let ours: Vec<(String, String)> = {
                let origin = FormOrigin { charset: None, languages: &[], country: "IL" };
                charset::decode_fields(&parse_urlencoded(body.as_bytes()), origin)
            };
            let theirs: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            assert_eq!(ours, theirs, "{body}");
        }
    }

    #[test]
    fn a_parameter_is_found_in_its_bytes() {
        let find = |header: &[u8], name: &str| find_parameter(header, name).map(<[u8]>::to_vec);
        let header = b"form-data; name=\"\xf9\xed; filename=x\"; filename=\"a.txt\"";
        assert_eq!(find(header, "name"), Some(b"\xf9\xed; filename=x".to_vec()));
        assert_eq!(find(header, "filename"), Some(b"a.txt".to_vec()));
        assert_eq!(find(b"form-data; Name = phone; x=y", "name"), Some(b"phone".to_vec()));
        assert_eq!(find(b"form-data; name=\"a; filename=b\"", "filename"), None);
        for broken in [&b"form-data"[..], b"form-data; name", b"form-data; name=\"a", b"; \"", b""] {
            assert_eq!(find(broken, "name"), None, "{broken:?}");
        }
    }

    #[test]
    fn an_endless_form_is_parsed_up_to_the_limits() {
        let body = "a=1&b=2&".repeat(MAX_FIELDS);
        assert_eq!(parse_urlencoded(body.as_bytes()).len(), MAX_FIELDS);
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert!(flatten_json(json::parse_document(deep.as_bytes()).unwrap()).is_empty());
        let wide = format!("[{}1]", "{\"a\":1},".repeat(MAX_FIELDS * 2));
        assert_eq!(flatten_json(json::parse_document(wide.as_bytes()).unwrap()).len(), MAX_FIELDS);
    }
}
