//! Webflow: answers under the labels that a designer chose. Both versions of its webhooks.
//!
//! Shape: developers.webflow.com, "Working with webhooks", `form_submission`. The first version has neither an event nor
//! the form's id; there the form goes by its name.

use serde::Deserialize;
use shared::json::{self, Raw};

use super::expect_event;
use crate::{
    lead::{Delivery, NothingBecause},
    submission::{Field, Submission, answers},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(rename = "triggerType", borrow)]
    trigger: Raw<'a>,
    payload: Raw<'a>,
    name: Raw<'a>,
    data: Raw<'a>,
    d: Raw<'a>,
    #[serde(rename = "_id")]
    id: Raw<'a>,
}

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    let body: Body<'_> = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let (data, at) = match body.data.members() {
        Some(first) if body.trigger.text().is_none() => (Some(first), [body.id, body.name, body.d]),
        _ => {
            expect_event(body.trigger, "form_submission")?;
            let payload = body.payload;
            (payload.at("/data").members(), [payload.at("/id"), payload.at("/formId"), payload.at("/submittedAt")])
        }
    };
    let data = data.ok_or_else(|| NothingBecause::missing("/payload/data"))?;
    let [id, form_id, submitted_at] = at;
    Ok(Submission {
        id: id.string(),
        form_id: form_id.string(),
        submitted_at: submitted_at.time(),
        test: false,
        fields: data.into_iter().map(|(label, value)| Field::new([label.into()], answers(value))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::samples::{lead, read_as, reason, sample};

    #[test]
    fn the_first_version_is_read_as_well() {
        let mut body = sample("webflow", "form_submission_v1");
        assert_eq!(reason(read_as("webflow", body.to_string())).code(), "consent-field-missing");
        body["data"]["WhatsApp consent"] = json!(true);
        let lead = lead(read_as("webflow", body.to_string()));
        assert_eq!((&*lead.id, lead.phone.expose()), ("6321ca84df3949bfc6752327", "+972545550199"));
        assert_eq!(lead.name.as_deref(), Some("Tamar Golan"), "and not the form's");
        assert_eq!(lead.submitted_at.to_string(), "2026-11-19T09:00:00.117Z");
    }

    #[test]
    fn a_phone_that_is_a_json_number_is_a_phone() {
        let body = sample("webflow", "form_submission");
        assert!(body["payload"]["data"]["Phone Number"].is_number());
        assert_eq!(lead(read_as("webflow", body.to_string())).phone.expose(), "+972545550199");
    }

    #[test]
    fn other_events_of_a_site_are_none_of_ours() {
        let mut body = sample("webflow", "form_submission");
        body["triggerType"] = json!("site_publish");
        assert_eq!(reason(read_as("webflow", body.to_string())).code(), "unknown-event");
        assert_eq!(reason(read_as("webflow", "{}")).code(), "not-understood");
    }
}
