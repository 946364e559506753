//! Tally: a list of fields with keys, labels and types; chosen options stand there by their ids.
//!
//! Shape: tally.so/help/webhooks.

use serde::Deserialize;
use shared::json::{self, Raw};

use super::expect_event;
use crate::{
    lead::{Delivery, NothingBecause},
    submission::{Field, Submission, answers, names},
};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    event_type: Raw<'a>,
    created_at: Raw<'a>,
    data: Raw<'a>,
}

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    let Body { event_type, created_at, data } = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    expect_event(event_type, "FORM_RESPONSE")?;
    let fields = data.at("/fields").elements().ok_or_else(|| NothingBecause::missing("/data/fields"))?;
    Ok(Submission {
        id: data.at("/responseId").string().or_else(|| data.at("/submissionId").string()),
        form_id: data.at("/formId").string(),
        submitted_at: data.at("/createdAt").time().or_else(|| created_at.time()),
        test: false,
        fields: fields.into_iter().map(field).collect(),
    })
}

fn field(field: Raw<'_>) -> Field {
    let options = field.at("/options").elements().unwrap_or_default();
    let text = |said: String| {
        let chosen = options.iter().find(|option| option.at("/id").text().is_some_and(|id| id == said));
        chosen.and_then(|option| option.at("/text").string()).unwrap_or(said)
    };
    let said = answers(field.at("/value")).into_iter().map(text).collect();
    let telephone = field.at("/type").text().is_some_and(|kind| kind == "INPUT_PHONE_NUMBER");
    Field::new(names([field.at("/key"), field.at("/label")]), said).known_as(telephone)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::samples::{lead, read_as, reason, sample};

    fn with(at: usize, value: &Value) -> String {
        let mut body = sample("tally", "form_response");
        for (name, value) in value.as_object().unwrap() {
            body["data"]["fields"][at][name] = value.clone();
        }
        body.to_string()
    }

    #[test]
    fn what_was_chosen_is_read_by_its_text_and_not_by_its_id() {
        let options = json!([{"id": "8f1c", "text": "Haifa"}, {"id": "9a2b", "text": "Eilat"}]);
        for (kind, value) in
            [("MULTIPLE_CHOICE", json!(["8f1c"])), ("DROPDOWN", json!("8f1c")), ("CHECKBOXES", json!(["9a2b", "8f1c"]))]
        {
            let branch = json!({"label": "Branch", "type": kind, "value": value, "options": options});
            assert_eq!(lead(read_as("tally", with(0, &branch))).choice.as_deref(), Some("Haifa"), "{kind}");
        }
        let unknown = json!({"label": "Branch", "type": "DROPDOWN", "value": ["0000"], "options": options});
        assert_eq!(lead(read_as("tally", with(0, &unknown))).choice, None);
    }

    #[test]
    fn a_box_is_ticked_only_if_it_is() {
        for (value, code) in [
            (json!(false), "no-consent"),
            (Value::Null, "no-consent"),
            (json!([]), "no-consent"),
            (json!(["perhaps"]), "consent-unclear"),
        ] {
            assert_eq!(reason(read_as("tally", with(3, &json!({"value": value})))).code(), code, "{value}");
        }
    }

    #[test]
    fn a_telephone_is_one_by_its_type_whatever_its_label() {
        let labelled = with(1, &json!({"label": "How do we reach you?"}));
        assert_eq!(lead(read_as("tally", labelled)).phone.expose(), "+972505550101");
        assert_eq!(reason(read_as("tally", with(1, &json!({"value": null})))).code(), "no-phone");
    }
}
