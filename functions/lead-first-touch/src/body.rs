//! What a body holds, whichever of the three ways to write a form it is written in: JSON, urlencoded, or multipart.
//!
//! Nested JSON becomes dotted names (`contact.phone`), as do the brackets of PHP (`contact[phone]`). Promised: no body
//! makes this panic or recurse deeply, and no error quotes it.
//!
//! A JSON body is believed to be one whatever its `Content-Type` says: many a hand-made sender leaves out the header, and
//! no form begins with a brace.

use std::{borrow::Cow, convert::Infallible};

use futures::{FutureExt as _, stream};
use multer::Multipart;
use shared::{
    client_config::Form,
    json::{self, Raw},
};
use url::form_urlencoded;

use crate::{
    facts,
    lead::{Delivery, NothingBecause},
    submission::{Field, MOST_FIELDS, answers},
};

/// Deeper JSON is left out.
const DEEPEST: usize = 8;

/// A body, understood as far as its syntax goes.
pub(crate) enum Body<'a> {
    /// Any JSON.
    Json(Raw<'a>),
    /// The pairs of a form, in their order.
    Form(Vec<(String, String)>),
}

/// Opens the body of a delivery.
pub(crate) fn open<'a>(delivery: &Delivery<'a>) -> Result<Body<'a>, NothingBecause> {
    let content_type = delivery.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = content_type.map_or("", |(_, value)| value.as_str());
    let is = |kind: &str| content_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    if is("multipart/") {
        return multipart(content_type, delivery.body).map(Body::Form);
    }
    let begins = delivery.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(delivery.body).trim_ascii_start().first();
    if matches!(begins, Some(b'{' | b'[')) || is("application/json") {
        return json::document(delivery.body).map(Body::Json).map_err(NothingBecause::NotUnderstood);
    }
    Ok(Body::Form(urlencoded(delivery.body)))
}

/// The fields of a body that is one object or one form. A list, at the top or inside, of what may be leads is refused.
pub(crate) fn fields(delivery: &Delivery<'_>) -> Result<Vec<Field>, NothingBecause> {
    let fields = match open(delivery)? {
        Body::Json(document) if document.elements().is_some() => return Err(NothingBecause::List),
        Body::Json(document) => one_lead(document, delivery.form)?,
        Body::Form(pairs) => form(pairs),
    };
    if fields.is_empty() { Err(NothingBecause::missing("the body")) } else { Ok(fields) }
}

/// The fields of an object that must be about one lead: no list in it holds objects that look like more of them.
pub(crate) fn one_lead(object: Raw<'_>, form: &Form) -> Result<Vec<Field>, NothingBecause> {
    let mut flat = Flat { fields: Vec::new(), one_lead_of: Some(form) };
    flat.add(object, "", 0)?;
    Ok(flat.fields)
}

/// The fields of any JSON.
pub(crate) fn flat(document: Raw<'_>) -> Vec<Field> {
    let mut flat = Flat { fields: Vec::new(), one_lead_of: None };
    flat.add(document, "", 0).unwrap_or_default();
    flat.fields
}

/// The fields of a form's pairs; what is there several times is one field with several answers.
pub(crate) fn form(pairs: Vec<(String, String)>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for (name, answer) in pairs {
        let path = dotted(&name).map(Cow::Owned);
        let field = Field::new([Cow::Borrowed(&*name)].into_iter().chain(path), vec![answer]);
        match fields.iter_mut().find(|known| known.names == field.names) {
            Some(known) => known.answers.extend(field.answers),
            None => fields.push(field),
        }
    }
    fields.retain(|field| !field.names.is_empty());
    fields
}

/// `contact[phone]` as `contact.phone`, and `choices[]` as `choices`; none of what has no brackets.
fn dotted(name: &str) -> Option<String> {
    let (first, rest) = name.strip_suffix(']')?.split_once('[')?;
    let steps = [first].into_iter().chain(rest.split("][")).filter(|step| !step.is_empty());
    Some(steps.collect::<Vec<_>>().join("."))
}

/// The pairs of an urlencoded body.
///
/// A `+` that its sender did not escape reads as a space. A space before a number is kept here for that reason, and
/// [`facts`] gives it back its plus.
fn urlencoded(body: &[u8]) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(body).take(MOST_FIELDS);
    pairs.map(|(name, answer)| (name.into_owned(), answer.trim_end().to_owned())).collect()
}

/// The pairs of a multipart body. Files are skipped.
fn multipart(content_type: &str, body: &[u8]) -> Result<Vec<(String, String)>, NothingBecause> {
    let not_understood = || NothingBecause::missing("the parts of the body");
    let boundary = multer::parse_boundary(content_type).map_err(|_| NothingBecause::missing("the boundary"))?;
    let whole = stream::iter([Ok::<_, Infallible>(body.to_vec())]);
    let mut parts = Multipart::new(whole, boundary);
    let read = async {
        let mut pairs = Vec::new();
        while let Some(part) = parts.next_field().await? {
            let name = part.name().map(str::to_owned);
            if let (Some(name), None) = (name, part.file_name())
                && pairs.len() < MOST_FIELDS
            {
                pairs.push((name, part.text().await?.trim().to_owned()));
            }
        }
        Ok::<_, multer::Error>(pairs)
    };
    // All of it is in memory, so that there is nothing to wait for; a body without an end would be waited for in vain. The
    // error may quote the name of a field, which anybody can choose.
    read.now_or_never().and_then(Result::ok).ok_or_else(not_understood)
}

/// The fields of a JSON value, as they are found.
struct Flat<'f> {
    fields: Vec<Field>,
    /// The form that it must be one lead of.
    one_lead_of: Option<&'f Form>,
}

impl Flat<'_> {
    /// Adds what is in `value`, which goes by `path`.
    fn add(&mut self, value: Raw<'_>, path: &str, depth: usize) -> Result<(), NothingBecause> {
        if depth > DEEPEST || self.fields.len() >= MOST_FIELDS {
            return Ok(());
        }
        let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
        if let Some(members) = value.members() {
            for (name, value) in members {
                self.add(value, &below(&name), depth + 1)?;
            }
            return Ok(());
        }
        if let Some(elements) = value.elements() {
            for (at, element) in elements.into_iter().enumerate() {
                let Some(members) = element.members() else { continue };
                if self.one_lead_of.is_some_and(|form| members.iter().any(|(name, _)| facts::names_a_phone(form, name)))
                {
                    return Err(NothingBecause::List);
                }
                self.add(element, &below(&at.to_string()), depth + 1)?;
            }
        }
        let field = Field::new([Cow::Borrowed(path)], answers(value));
        if !field.names.is_empty() {
            self.fields.push(field);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_steps() {
        for (name, path) in [
            ("contact[phone]", Some("contact.phone")),
            ("fields[a][raw_value]", Some("fields.a.raw_value")),
            ("choices[]", Some("choices")),
            ("phone", None),
            ("a]", None),
            ("a[b", None),
        ] {
            assert_eq!(dotted(name).as_deref(), path, "{name}");
        }
    }

    #[test]
    fn only_so_much_is_read_of_a_form_without_end() {
        let body = "a=1&b=2&".repeat(MOST_FIELDS);
        assert_eq!(form(urlencoded(body.as_bytes())).len(), 2);
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert!(flat(json::document(deep.as_bytes()).unwrap()).is_empty());
        let wide = format!("[{}1]", "{\"a\":1},".repeat(MOST_FIELDS * 2));
        assert_eq!(flat(json::document(wide.as_bytes()).unwrap()).len(), MOST_FIELDS);
    }
}
