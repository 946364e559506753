//! Jotform: one part of a multipart body, `rawRequest`, holds the answers as JSON under
//! `q<number>_<slug>`.
//!
//! Shape: api.jotform.com/docs and jotform.com/help/245, without a guarantee. Some set-ups post the
//! answers as parts of the body itself, with brackets. Both forms are parsed.

use std::borrow::Cow;

use tellonce_core::json;

use super::body::parse_unix_millis;
use crate::{
    form_body::{self, FormBody},
    lead::LeadDelivery,
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField},
};

pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let body_pairs = match form_body::parse_body(delivery)? {
        FormBody::Pairs(pairs) => pairs,
        FormBody::Json(object) => {
            let members = object.object_members().ok_or(LeadSkipReason::List)?;
            members.into_iter().filter_map(|(name, value)| Some((name, value.owned_text()?))).collect()
        }
    };
    let pair_value = |name: &str| {
        let mut found = body_pairs.iter().filter(|(key, value)| key == name && !value.trim().is_empty());
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let id = pair_value("submissionID");
    let form_id = pair_value("formID");
    let raw = pair_value("rawRequest");
    if id.is_none() && form_id.is_none() && raw.is_none() {
        return Err(LeadSkipReason::missing_field("submissionID"));
    }
    let fields = match &raw {
        Some(raw) => {
            form_body::flatten_json(json::parse_document(raw.as_bytes()).map_err(LeadSkipReason::NotUnderstood)?)
        }
        None => form_body::merge_pairs(body_pairs),
    };
    let sent = fields.iter().find(|field| field.body_path() == "submitDate");
    let submitted_at = sent.and_then(|field| parse_unix_millis(field.values.first()?));
    Ok(LeadSubmission { id, form_id, submitted_at, is_test: false, fields: collect_questions(&fields) })
}

/// The questions among the fields, each with its key, slug and number as names. A question with
/// several boxes also becomes one joined field.
fn collect_questions(fields: &[SubmittedField]) -> Vec<SubmittedField> {
    let mut questions: Vec<SubmittedField> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for field in fields {
        let (key, sub_path) =
            field.body_path().split_once('.').map_or((field.body_path(), None), |(key, below)| (key, Some(below)));
        let Some((number, slug)) = split_question_key(key) else { continue };
        if sub_path.is_some() && !keys.contains(&key) {
            keys.push(key);
            questions.extend(join_parts(fields, key, [key, slug, number]));
        }
        let names = [key, slug, number].map(|name| match sub_path {
            Some(below) => Cow::Owned(format!("{name}.{below}")),
            None => Cow::Borrowed(name),
        });
        questions.push(SubmittedField::new(names, field.values.clone()));
    }
    questions
}

/// The number and the slug of a question's key, `q5_phoneNumber`.
fn split_question_key(key: &str) -> Option<(&str, &str)> {
    let (number, slug) = key.strip_prefix('q')?.split_once('_')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((number, slug))
}

/// A phone number or a name, joined from its boxes.
fn join_parts(fields: &[SubmittedField], key: &str, names: [&str; 3]) -> Option<SubmittedField> {
    let part = |name: &str| {
        let path = format!("{key}.{name}");
        fields.iter().find(|field| field.body_path() == path)?.values.first().map(|answer| answer.trim().to_owned())
    };
    let joined =
        |parts: [Option<String>; 3], between: &str| parts.into_iter().flatten().collect::<Vec<_>>().join(between);
    let (value, is_telephone) = match (part("full"), part("phone")) {
        (Some(full), _) => (full, true),
        (None, Some(phone)) => {
            let calling_code = part("country").map(|code| code.trim_start_matches('+').to_owned());
            let calling_code =
                calling_code.filter(|code| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit()));
            (joined([calling_code.map(|code| format!("+{code}")), part("area"), Some(phone)], " "), true)
        }
        (None, None) => (joined([part("first"), part("middle"), part("last")], " "), false),
    };
    (!value.is_empty()).then(|| SubmittedField::new(names.map(Cow::Borrowed), vec![value]).with_telephone(is_telephone))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        lead::ParsedLead,
        samples::{build_posted_form, expect_lead, expect_skip, parse_posted_form},
    };

    const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

    fn parse_posted(raw: &Value) -> ParsedLead {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("formID", "263221000000001").append_pair("submissionID", "6100000000000000001");
        body.append_pair("rawRequest", &raw.to_string());
        parse_posted_form(&build_posted_form("jotform", FORM_CONTENT_TYPE, body.finish().as_bytes()))
    }

    fn with_phone(phone: &Value) -> Value {
        json!({"q3_fullName": {"first": "Lior", "middle": "", "last": "Ben David"}, "q5_howToReachYou": phone,
               "q6_consent": ["I agree to WhatsApp messages"]})
    }

    #[test]
    fn both_telephone_controls_are_recognized_whatever_their_name() {
        for (phone, means) in [
            (json!({"full": "(054) 555-0199"}), "+972545550199"),
            (json!({"country": "972", "area": "054", "phone": "5550199"}), "+972545550199"),
            (json!({"country": "+49", "area": "171", "phone": "39200123"}), "+4917139200123"),
            (json!({"country": "", "area": "054", "phone": "555-0199"}), "+972545550199"),
            (json!({"area": "054", "phone": "5550199"}), "+972545550199"),
        ] {
            assert_eq!(expect_lead(parse_posted(&with_phone(&phone))).phone.expose(), means, "{phone}");
        }
        assert_eq!(expect_skip(parse_posted(&with_phone(&json!({"area": "054", "phone": ""})))).code(), "no-phone");
    }

    #[test]
    fn fields_in_the_body_itself_are_parsed_too() {
        let body = "formID=263221000000001&submissionID=6100000000000000002&q3_fullName[first]=Lior&q3_fullName[last]=Ben+David\
                    &q5_phoneNumber[full]=(054)+555-0199&q6_consent[]=I+agree+to+WhatsApp+messages";
        let lead = expect_lead(parse_posted_form(&build_posted_form("jotform", FORM_CONTENT_TYPE, body.as_bytes())));
        assert_eq!((&*lead.id, lead.name.as_deref()), ("6100000000000000002", Some("Lior Ben David")));
        assert_eq!(lead.phone.expose(), "+972545550199");
    }

    #[test]
    fn a_body_without_a_submission_is_not_understood() {
        let read = |body: &str| {
            expect_skip(parse_posted_form(&build_posted_form("jotform", FORM_CONTENT_TYPE, body.as_bytes()))).code()
        };
        assert_eq!(read("phone=0545550199"), "not-understood");
        assert_eq!(read("submissionID=1&formID=263221000000001&rawRequest={"), "not-understood");
        assert_eq!(read("submissionID=1&formID=1&rawRequest={}"), "other-form");
    }
}
