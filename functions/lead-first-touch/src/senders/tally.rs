//! Tally: a list of fields with keys, labels and types. A chosen option is stored by its id.
//!
//! Shape: tally.so/help/webhooks.

use serde::Deserialize;
use tellonce_core::json::{self, RawJson};

use super::body::expect_event;
use crate::{
    lead::LeadDelivery,
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField, field_names, field_values},
};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TallyWebhook<'a> {
    #[serde(borrow)]
    event_type: RawJson<'a>,
    created_at: RawJson<'a>,
    data: RawJson<'a>,
}

pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let TallyWebhook { event_type, created_at, data } =
        json::parse_object(delivery.body).map_err(LeadSkipReason::NotUnderstood)?;
    expect_event(event_type, "FORM_RESPONSE")?;
    let fields =
        data.at_pointer("/fields").list_elements().ok_or_else(|| LeadSkipReason::missing_field("/data/fields"))?;
    Ok(LeadSubmission {
        id: data.at_pointer("/responseId").owned_text().or_else(|| data.at_pointer("/submissionId").owned_text()),
        form_id: data.at_pointer("/formId").owned_text(),
        submitted_at: data.at_pointer("/createdAt").as_time().or_else(|| created_at.as_time()),
        is_test: false,
        fields: fields.into_iter().map(parse_field).collect(),
    })
}

fn parse_field(field: RawJson<'_>) -> SubmittedField {
    let options = field.at_pointer("/options").list_elements().unwrap_or_default();
    let option_text = |value: String| {
        let chosen = options.iter().find(|option| option.at_pointer("/id").text().is_some_and(|id| id == value));
        chosen.and_then(|option| option.at_pointer("/text").owned_text()).unwrap_or(value)
    };
    let values = field_values(field.at_pointer("/value")).into_iter().map(option_text).collect();
    let is_telephone = field.at_pointer("/type").text().is_some_and(|kind| kind == "INPUT_PHONE_NUMBER");
    SubmittedField::new(field_names([field.at_pointer("/key"), field.at_pointer("/label")]), values)
        .with_telephone(is_telephone)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::samples::{expect_lead, expect_skip, parse_as, sample_json};

    fn with_field(at: usize, value: &Value) -> String {
        let mut body = sample_json("tally", "form_response");
        for (name, value) in value.as_object().unwrap() {
            body["data"]["fields"][at][name] = value.clone();
        }
        body.to_string()
    }

    #[test]
    fn a_chosen_option_is_parsed_by_its_text_and_not_its_id() {
        let options = json!([{"id": "8f1c", "text": "Haifa"}, {"id": "9a2b", "text": "Eilat"}]);
        for (kind, value) in
            [("MULTIPLE_CHOICE", json!(["8f1c"])), ("DROPDOWN", json!("8f1c")), ("CHECKBOXES", json!(["9a2b", "8f1c"]))]
        {
            let branch = json!({"label": "Branch", "type": kind, "value": value, "options": options});
            assert_eq!(
                expect_lead(parse_as("tally", with_field(0, &branch))).choice.as_deref(),
                Some("Haifa"),
                "{kind}"
            );
        }
        let unknown = json!({"label": "Branch", "type": "DROPDOWN", "value": ["0000"], "options": options});
        assert_eq!(expect_lead(parse_as("tally", with_field(0, &unknown))).choice, None);
    }

    #[test]
    fn only_a_ticked_box_counts_as_consent() {
        for (value, code) in [
            (json!(false), "no-consent"),
            (Value::Null, "no-consent"),
            (json!([]), "no-consent"),
            (json!(["perhaps"]), "consent-unclear"),
        ] {
            assert_eq!(expect_skip(parse_as("tally", with_field(3, &json!({"value": value})))).code(), code, "{value}");
        }
    }

    #[test]
    fn a_telephone_field_is_recognized_by_its_type_whatever_its_label() {
        let labelled = with_field(1, &json!({"label": "How do we reach you?"}));
        assert_eq!(expect_lead(parse_as("tally", labelled)).phone.expose(), "+972505550101");
        assert_eq!(expect_skip(parse_as("tally", with_field(1, &json!({"value": null})))).code(), "no-phone");
    }
}
