//! Jotform: the answers are JSON in one part of a multipart body, `rawRequest`, under `q<number>_<slug>`.
//!
//! Shape: api.jotform.com/docs and jotform.com/help/245; not promised there. Some set-ups post the answers as parts of the
//! body itself, with brackets, and that is read too.

use std::borrow::Cow;

use shared::json;

use super::unix_millis;
use crate::{
    body::{self, Body},
    lead::{Delivery, NothingBecause},
    submission::{Field, Submission},
};

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    let outside = match body::open(delivery)? {
        Body::Form(pairs) => pairs,
        Body::Json(object) => {
            let members = object.members().ok_or(NothingBecause::List)?;
            members.into_iter().filter_map(|(name, value)| Some((name, value.string()?))).collect()
        }
    };
    let of_submission = |name: &str| {
        let mut found = outside.iter().filter(|(key, value)| key == name && !value.trim().is_empty());
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let id = of_submission("submissionID");
    let form_id = of_submission("formID");
    let raw = of_submission("rawRequest");
    if id.is_none() && form_id.is_none() && raw.is_none() {
        return Err(NothingBecause::missing("submissionID"));
    }
    let inside = match &raw {
        Some(raw) => body::flat(json::document(raw.as_bytes()).map_err(NothingBecause::NotUnderstood)?),
        None => body::form(outside),
    };
    let sent = inside.iter().find(|field| field.path() == "submitDate");
    let submitted_at = sent.and_then(|field| unix_millis(field.answers.first()?));
    Ok(Submission { id, form_id, submitted_at, test: false, fields: questions(&inside) })
}

/// The questions among the fields, each findable by its key, its slug and its number; and those made of several boxes as
/// one as well.
fn questions(fields: &[Field]) -> Vec<Field> {
    let mut questions: Vec<Field> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for field in fields {
        let (key, below) = field.path().split_once('.').map_or((field.path(), None), |(key, below)| (key, Some(below)));
        let Some((number, slug)) = question(key) else { continue };
        if below.is_some() && !keys.contains(&key) {
            keys.push(key);
            questions.extend(control(fields, key, [key, slug, number]));
        }
        let names = [key, slug, number].map(|name| match below {
            Some(below) => Cow::Owned(format!("{name}.{below}")),
            None => Cow::Borrowed(name),
        });
        questions.push(Field::new(names, field.answers.clone()));
    }
    questions
}

/// The number and the slug of a question's key, `q5_phoneNumber`.
fn question(key: &str) -> Option<(&str, &str)> {
    let (number, slug) = key.strip_prefix('q')?.split_once('_')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((number, slug))
}

/// A telephone or a name, put together from its boxes.
fn control(fields: &[Field], key: &str, names: [&str; 3]) -> Option<Field> {
    let part = |name: &str| {
        let path = format!("{key}.{name}");
        fields.iter().find(|field| field.path() == path)?.answers.first().map(|answer| answer.trim().to_owned())
    };
    let joined =
        |parts: [Option<String>; 3], between: &str| parts.into_iter().flatten().collect::<Vec<_>>().join(between);
    let (answer, telephone) = match (part("full"), part("phone")) {
        (Some(full), _) => (full, true),
        (None, Some(phone)) => {
            let calling_code = part("country").map(|code| code.trim_start_matches('+').to_owned());
            let calling_code =
                calling_code.filter(|code| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit()));
            (joined([calling_code.map(|code| format!("+{code}")), part("area"), Some(phone)], " "), true)
        }
        (None, None) => (joined([part("first"), part("middle"), part("last")], " "), false),
    };
    (!answer.is_empty()).then(|| Field::new(names.map(Cow::Borrowed), vec![answer]).known_as(telephone))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        lead::Reading,
        samples::{form_delivery, lead, read_delivery, reason},
    };

    const FORM: &str = "application/x-www-form-urlencoded";

    fn posted(raw: &Value) -> Reading {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("formID", "263221000000001").append_pair("submissionID", "6100000000000000001");
        body.append_pair("rawRequest", &raw.to_string());
        read_delivery(&form_delivery("jotform", FORM, body.finish().as_bytes()))
    }

    fn with_phone(phone: &Value) -> Value {
        json!({"q3_fullName": {"first": "Lior", "middle": "", "last": "Ben David"}, "q5_howToReachYou": phone,
               "q6_consent": ["I agree to WhatsApp messages"]})
    }

    #[test]
    fn both_telephone_boxes_are_telephones_whatever_they_are_called() {
        for (phone, means) in [
            (json!({"full": "(054) 555-0199"}), "+972545550199"),
            (json!({"country": "972", "area": "054", "phone": "5550199"}), "+972545550199"),
            (json!({"country": "+49", "area": "171", "phone": "39200123"}), "+4917139200123"),
            (json!({"country": "", "area": "054", "phone": "555-0199"}), "+972545550199"),
            (json!({"area": "054", "phone": "5550199"}), "+972545550199"),
        ] {
            assert_eq!(lead(posted(&with_phone(&phone))).phone.expose(), means, "{phone}");
        }
        assert_eq!(reason(posted(&with_phone(&json!({"area": "054", "phone": ""})))).code(), "no-phone");
    }

    #[test]
    fn answers_that_are_parts_of_the_body_itself_are_read_too() {
        let body = "formID=263221000000001&submissionID=6100000000000000002&q3_fullName[first]=Lior&q3_fullName[last]=Ben+David\
                    &q5_phoneNumber[full]=(054)+555-0199&q6_consent[]=I+agree+to+WhatsApp+messages";
        let lead = lead(read_delivery(&form_delivery("jotform", FORM, body.as_bytes())));
        assert_eq!((&*lead.id, lead.name.as_deref()), ("6100000000000000002", Some("Lior Ben David")));
        assert_eq!(lead.phone.expose(), "+972545550199");
    }

    #[test]
    fn what_is_no_submission_is_not_understood() {
        let read = |body: &str| reason(read_delivery(&form_delivery("jotform", FORM, body.as_bytes()))).code();
        assert_eq!(read("phone=0545550199"), "not-understood");
        assert_eq!(read("submissionID=1&formID=263221000000001&rawRequest={"), "not-understood");
        assert_eq!(read("submissionID=1&formID=1&rawRequest={}"), "other-form");
    }
}
