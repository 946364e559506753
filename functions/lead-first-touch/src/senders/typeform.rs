//! Typeform: answers with their types, questions, and hidden fields.
//!
//! Shape: typeform.com/developers/webhooks/example-payload.

use serde::Deserialize;
use tellonce_core::json::{self, RawJson};

use super::body::expect_event;
use crate::{
    lead::LeadDelivery,
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField, field_names, field_values},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct TypeformWebhook<'a> {
    #[serde(borrow)]
    event_type: RawJson<'a>,
    form_response: RawJson<'a>,
}

pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let TypeformWebhook { event_type, form_response } =
        json::parse_object(delivery.body).map_err(LeadSkipReason::NotUnderstood)?;
    if event_type.text().is_some_and(|event| event == "form_response_partial") {
        return Err(LeadSkipReason::Partial);
    }
    expect_event(event_type, "form_response")?;
    let raw_answers = form_response.at_pointer("/answers").list_elements().unwrap_or_default();
    let questions = form_response.at_pointer("/definition/fields").list_elements().unwrap_or_default();
    let hidden = form_response.at_pointer("/hidden").object_members().unwrap_or_default();
    let hidden = hidden.into_iter().map(|(name, value)| SubmittedField::new([name.into()], field_values(value)));
    Ok(LeadSubmission {
        id: form_response.at_pointer("/token").owned_text(),
        form_id: form_response.at_pointer("/form_id").owned_text(),
        submitted_at: form_response.at_pointer("/submitted_at").as_time(),
        is_test: false,
        fields: raw_answers.into_iter().map(|answer| parse_answer(answer, &questions)).chain(hidden).collect(),
    })
}

/// One answer. It names its question by reference and id. The question's text is in the definition.
fn parse_answer(answer: RawJson<'_>, questions: &[RawJson<'_>]) -> SubmittedField {
    let answered_field = answer.at_pointer("/field");
    let id = answered_field.at_pointer("/id");
    let question =
        questions.iter().find(|question| id.text().is_some() && question.at_pointer("/id").text() == id.text());
    let title = question.map(|question| question.at_pointer("/title")).unwrap_or_default();
    let kind = answer.at_pointer("/type").text().unwrap_or_default();
    let values = match &*kind {
        "choice" => [answer.at_pointer("/choice/label"), answer.at_pointer("/choice/other")]
            .into_iter()
            .flat_map(field_values)
            .collect(),
        "choices" => [answer.at_pointer("/choices/labels"), answer.at_pointer("/choices/other")]
            .into_iter()
            .flat_map(field_values)
            .collect(),
        // The answer is stored under the name of its type.
        kind => answer
            .object_members()
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, _)| name == kind)
            .flat_map(|(_, value)| field_values(value))
            .collect(),
    };
    let is_telephone =
        [&*kind, &*answered_field.at_pointer("/type").text().unwrap_or_default()].contains(&"phone_number");
    SubmittedField::new(field_names([answered_field.at_pointer("/ref"), id, title]), values)
        .with_telephone(is_telephone)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{build_delivery, expect_lead, expect_skip, parse_as, sample_config, sample_json};

    fn body_with_answer(answer: &Value) -> String {
        let mut body = sample_json("typeform", "form_response");
        body["form_response"]["answers"].as_array_mut().unwrap().push(answer.clone());
        body.to_string()
    }

    #[test]
    fn a_partial_response_is_not_a_lead() {
        let mut body = sample_json("typeform", "form_response");
        for (event, code) in [("form_response_partial", "partial"), ("form_opened", "unknown-event")] {
            body["event_type"] = json!(event);
            assert_eq!(expect_skip(parse_as("typeform", body.to_string())).code(), code);
        }
        body["event_type"] = Value::Null;
        assert_eq!(expect_skip(parse_as("typeform", body.to_string())).code(), "not-understood");
    }

    #[test]
    fn answers_of_every_type_are_found() {
        for (answer, expected) in [
            (json!({"type": "choice", "choice": {"id": "x", "label": "Haifa"}}), vec!["Haifa"]),
            (json!({"type": "choice", "choice": {"other": "Eilat"}}), vec!["Eilat"]),
            (json!({"type": "choices", "choices": {"labels": ["A", "B"], "other": "C"}}), vec!["A", "B", "C"]),
            (json!({"type": "number", "number": 12_345}), vec!["12345"]),
            (json!({"type": "boolean", "boolean": false}), vec!["false"]),
            (json!({"type": "date", "date": "2026-11-19"}), vec!["2026-11-19"]),
            (json!({"type": "payment", "payment": {"amount": "1"}}), vec![]),
            (json!({"type": "text", "text": null}), vec![]),
            (json!({"type": "text"}), vec![]),
            (json!(null), vec![]),
        ] {
            let body = body_with_answer(&answer);
            let submission =
                parse_submission(&build_delivery(sample_config(), "typeform", body.as_bytes())).ok().unwrap();
            let hidden = 2;
            assert_eq!(submission.fields[submission.fields.len() - 1 - hidden].values, expected, "{answer}");
        }
    }

    #[test]
    fn hidden_fields_are_fields_too() {
        assert_eq!(
            expect_lead(parse_as("typeform", sample_json("typeform", "form_response").to_string())).locale.unwrap(),
            "he"
        );
    }

    #[test]
    fn a_lead_without_consent_is_skipped() {
        let mut body = sample_json("typeform", "form_response");
        body["form_response"]["answers"][3]["boolean"] = json!(false);
        assert_eq!(expect_skip(parse_as("typeform", body.to_string())).code(), "no-consent");
        body["form_response"]["answers"].as_array_mut().unwrap().pop();
        assert_eq!(
            expect_skip(parse_as("typeform", body.to_string())).code(),
            "no-consent",
            "unanswered questions are omitted"
        );
    }
}
