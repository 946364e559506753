//! Typeform: answers with their types, questions and hidden fields.
//!
//! Shape: typeform.com/developers/webhooks/example-payload.

use serde::Deserialize;
use shared::json::{self, Raw};

use super::expect_event;
use crate::{
    lead::{Delivery, NothingBecause},
    submission::{Field, Submission, answers, names},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_type: Raw<'a>,
    form_response: Raw<'a>,
}

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    let Envelope { event_type, form_response } = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    if event_type.text().is_some_and(|event| event == "form_response_partial") {
        return Err(NothingBecause::Partial);
    }
    expect_event(event_type, "form_response")?;
    let given = form_response.at("/answers").elements().unwrap_or_default();
    let questions = form_response.at("/definition/fields").elements().unwrap_or_default();
    let hidden = form_response.at("/hidden").members().unwrap_or_default();
    let hidden = hidden.into_iter().map(|(name, value)| Field::new([name.into()], answers(value)));
    Ok(Submission {
        id: form_response.at("/token").string(),
        form_id: form_response.at("/form_id").string(),
        submitted_at: form_response.at("/submitted_at").time(),
        test: false,
        fields: given.into_iter().map(|answer| field(answer, &questions)).chain(hidden).collect(),
    })
}

/// An answer. It names its question by reference and id; the question's words stand in the definition.
fn field(answer: Raw<'_>, questions: &[Raw<'_>]) -> Field {
    let of = answer.at("/field");
    let id = of.at("/id");
    let question = questions.iter().find(|question| id.text().is_some() && question.at("/id").text() == id.text());
    let title = question.map(|question| question.at("/title")).unwrap_or_default();
    let kind = answer.at("/type").text().unwrap_or_default();
    let said = match &*kind {
        "choice" => [answer.at("/choice/label"), answer.at("/choice/other")].into_iter().flat_map(answers).collect(),
        "choices" => {
            [answer.at("/choices/labels"), answer.at("/choices/other")].into_iter().flat_map(answers).collect()
        }
        // The answer stands under its type's name.
        kind => answer
            .members()
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, _)| name == kind)
            .flat_map(|(_, value)| answers(value))
            .collect(),
    };
    let telephone = [&*kind, &*of.at("/type").text().unwrap_or_default()].contains(&"phone_number");
    Field::new(names([of.at("/ref"), id, title]), said).known_as(telephone)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{config, delivery, lead, read_as, reason, sample};

    fn with_answer(answer: &Value) -> String {
        let mut body = sample("typeform", "form_response");
        body["form_response"]["answers"].as_array_mut().unwrap().push(answer.clone());
        body.to_string()
    }

    #[test]
    fn what_was_begun_and_not_sent_is_no_lead() {
        let mut body = sample("typeform", "form_response");
        for (event, code) in [("form_response_partial", "partial"), ("form_opened", "unknown-event")] {
            body["event_type"] = json!(event);
            assert_eq!(reason(read_as("typeform", body.to_string())).code(), code);
        }
        body["event_type"] = Value::Null;
        assert_eq!(reason(read_as("typeform", body.to_string())).code(), "not-understood");
    }

    #[test]
    fn answers_of_every_type_are_found() {
        for (answer, said) in [
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
            let body = with_answer(&answer);
            let submission = read(&delivery(config(), "typeform", body.as_bytes())).ok().unwrap();
            let hidden = 2;
            assert_eq!(submission.fields[submission.fields.len() - 1 - hidden].answers, said, "{answer}");
        }
    }

    #[test]
    fn hidden_fields_are_fields_too() {
        assert_eq!(lead(read_as("typeform", sample("typeform", "form_response").to_string())).locale.unwrap(), "he");
    }

    #[test]
    fn who_did_not_agree_is_not_written_to() {
        let mut body = sample("typeform", "form_response");
        body["form_response"]["answers"][3]["boolean"] = json!(false);
        assert_eq!(reason(read_as("typeform", body.to_string())).code(), "no-consent");
        body["form_response"]["answers"].as_array_mut().unwrap().pop();
        assert_eq!(
            reason(read_as("typeform", body.to_string())).code(),
            "no-consent",
            "unanswered questions are missing"
        );
    }
}
